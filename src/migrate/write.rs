//! Writes our configuration, with a comment for each decision.

use std::time::Duration;

use url::Url;

use super::go_template::translated;
use super::verify::{body_problem, problems};
use super::{FliptConfig, Template, Webhook};
use crate::config::secret::{Secret, address};
use crate::config::{LONGEST, address_problem, is_header_name};
use crate::event::text::one_line;

/// Where Flipt's documentation has its log, and most people.
const LOG: &str = "/var/log/flipt/audit.log";
const NOUNS: [&str; 10] = [
    "*",
    "constraint",
    "distribution",
    "flag",
    "namespace",
    "rollout",
    "rule",
    "segment",
    "token",
    "variant",
];
const VERBS: [&str; 4] = ["*", "created", "updated", "deleted"];
/// Headers that belong to the connection, or that Flipt's template sink sets itself.
const NOT_OURS: [&str; 6] =
    ["connection", "content-length", "content-type", "host", "transfer-encoding", "upgrade"];
/// Where nobody listens: in place of an address that is not there.
const NOWHERE: &str = "    url: http://127.0.0.1:9/";
/// So much of a name is shown.
const SHOWN_CHARACTERS: usize = 80;
/// A part of a path that is so long is likely a key.
const LONG: usize = 20;

/// Our configuration, and what could not be carried over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The YAML.
    pub yaml: String,
    /// What a person has to do by hand, a sentence each; it stands in the YAML too.
    pub by_hand: Vec<String>,
}

/// Writes the configuration for a Flipt.
#[must_use]
pub fn written(flipt: &FliptConfig) -> Written {
    let mut writer = Writer { out: String::new(), by_hand: Vec::new(), names: Vec::new() };
    writer.head(flipt);
    writer.sources(flipt);
    writer.destinations(flipt);
    writer.routes(flipt);
    for problem in problems(&writer.out) {
        writer.by_hand("", problem);
    }
    Written { yaml: writer.out, by_hand: writer.by_hand }
}

struct Writer {
    out: String,
    by_hand: Vec<String>,
    names: Vec<String>,
}

impl Writer {
    fn line(&mut self, text: impl AsRef<str>) {
        self.out.push_str(text.as_ref().trim_end());
        self.out.push('\n');
    }

    fn by_hand(&mut self, indent: &str, what: String) {
        self.line(format!("{indent}# by hand: {what}"));
        self.by_hand.push(what);
    }

    /// What to change in Flipt.
    fn head(&mut self, flipt: &FliptConfig) {
        let file = flipt.log_file.as_deref().filter(|file| is_file(file)).unwrap_or(LOG);
        self.line("# For audit-relay, in place of Flipt's own webhook sink: made by `audit-relay migrate`.");
        self.line("#");
        self.line("# In Flipt's configuration, once the relay runs:");
        self.line("#   audit:");
        self.line("#     sinks:");
        self.line(format!(
            "#       log: {{enabled: true, file: {}}}   # Flipt's side of `sources`",
            quoted(file)
        ));
        if flipt.webhook.is_some() {
            self.line("#       webhook: {enabled: false}   # else each event goes out twice");
        }
        if flipt.kafka {
            self.line("# Its Kafka sink may stay on: the relay neither reads nor replaces it.");
        }
        self.line("# Both must see that file: one directory, mounted in both.");
        self.line("");
        self.line("# why: links, states from before the first event, and `audit-relay doctor`");
        self.line("flipt:");
        self.line(format!("  url: {}", quoted(&flipt.url)));
        if flipt.authentication_required {
            self.line("  # why: this Flipt requires authentication; any of its static tokens will do");
            self.line("  # token: {env: FLIPT_TOKEN}");
        }
        self.line("");
    }

    fn sources(&mut self, flipt: &FliptConfig) {
        let file = flipt.log_file.as_deref().filter(|file| is_file(file)).unwrap_or(LOG);
        self.line("sources:");
        self.line(
            "  # why: a file waits while the relay is away; Flipt gives a push up after 15 s, and forgets it",
        );
        self.line(format!("  flipt: {{type: file, path: {}}}", quoted(file)));
        self.line("  # Where no file can be shared, leave Flipt's webhook sink on and point it at the relay instead, with");
        self.line("  # `url: http://RELAY:8787/v1/events` and a `signing_secret`, without templates:");
        self.line("  # flipt:");
        self.line("  #   type: http");
        self.line(
            "  #   signing: [{scheme: flipt, secrets: [{env: FLIPT_AUDIT_SINKS_WEBHOOK_SIGNING_SECRET}]}]",
        );
        self.line("");
    }

    fn destinations(&mut self, flipt: &FliptConfig) {
        self.line("destinations:");
        match &flipt.webhook {
            None => {
                self.line(
                    "  # why: this Flipt has no webhook sink to carry over; begin with what can be seen",
                );
                self.line("  screen: {type: console}");
                self.names.push("screen".to_owned());
            }
            Some(webhook) => match &webhook.url {
                Some(url) => self.by_url(flipt, webhook, url),
                None => {
                    for (index, template) in webhook.templates.iter().enumerate() {
                        self.by_template(flipt, webhook, template, index);
                    }
                }
            },
        }
        self.line("");
    }

    fn by_url(&mut self, flipt: &FliptConfig, webhook: &Webhook, url: &Secret) {
        let name = "webhook".to_owned();
        self.line(format!("  {name}:"));
        self.line("    type: webhook");
        self.url(&name, url, "FLIPT_AUDIT_SINKS_WEBHOOK_URL");
        self.line("    format: flipt                # why: the very request that Flipt sent");
        if webhook.signs {
            self.line("    # why: the receiver knows this signature; the secret stays where Flipt has it");
            self.line("    signing:");
            self.line("      - scheme: flipt");
            self.line("        secrets: [{env: FLIPT_AUDIT_SINKS_WEBHOOK_SIGNING_SECRET}]");
        }
        self.common(&name, flipt, webhook);
        self.names.push(name);
    }

    fn by_template(&mut self, flipt: &FliptConfig, webhook: &Webhook, template: &Template, index: usize) {
        let name = format!("template_{}", index + 1);
        let variable = |what: &str| format!("FLIPT_TEMPLATE_{}_{what}", index + 1);
        self.line(format!("  {name}:"));
        self.line("    type: webhook");
        match &template.url {
            Some(url) => self.url(&name, url, &variable("URL")),
            None => {
                self.by_hand("    ", format!("{name}: Flipt's template has no url"));
                self.line(NOWHERE);
            }
        }
        if template.url.as_ref().is_some_and(|url| is_slack(url.expose())) {
            self.line("    # `type: slack` with the same address as `webhook_url` tells more: who, what, before and after.");
        }
        self.headers(&name, template, variable);
        let body = match template.body.trim() {
            "" => Err(vec!["it has no body".to_owned()]),
            _ => translated(&template.body),
        };
        let body = body.and_then(|body| body_problem(&body).map_or(Ok(body), |why| Err(vec![why])));
        match body {
            Ok(body) => {
                self.line("    format: template             # why: Flipt's template in the relay's language");
                self.line(
                    "    # A token in the body had better stand in a file: template: {body: {file: …}}.",
                );
                self.line("    template:");
                self.body(&body);
            }
            Err(problems) => {
                self.by_hand(
                    "    ",
                    format!("{name}: its template cannot be translated wholly ({}): the relay's envelope goes out until you write one", problems.join(", ")),
                );
                self.line("    format: envelope");
                self.line("    # Flipt's template was:");
                for line in template.body.lines() {
                    let line: String = line.chars().filter(|c| !c.is_control()).collect();
                    self.line(format!("    #   {line}"));
                }
            }
        }
        if webhook.signs {
            self.line("    # why no `signing`: Flipt never signs what its templates make");
        }
        self.common(&name, flipt, webhook);
        self.names.push(name);
    }

    /// As it stands, where anybody may see it; else a reference.
    fn url(&mut self, name: &str, url: &Secret, variable: &str) {
        if let Some(why) = address_problem(url.expose()) {
            self.by_hand("    ", format!("{name}: the relay cannot send to Flipt's url: {why}"));
            return self.line(NOWHERE);
        }
        match may_be_seen(url.expose()) {
            true => self.line(format!("    url: {}", quoted(url.expose()))),
            false => {
                self.line(format!("    # why: this address is a secret, that of {}", address(url.expose())));
                self.line(format!("    url: {{env: {variable}}}"));
            }
        }
    }

    fn headers(&mut self, destination: &str, template: &Template, variable: impl Fn(&str) -> String) {
        let mut kept: Vec<(&str, String)> = Vec::new();
        for (name, _) in &template.headers {
            let part = name.to_ascii_uppercase().replace(|c: char| !c.is_ascii_alphanumeric(), "_");
            let why = match kept.iter().find(|(other, taken)| *other == name || *taken == part) {
                _ if NOT_OURS.contains(&name.as_str()) => continue,
                _ if !is_header_name(name) => "no request can carry it".to_owned(),
                Some((other, _)) => format!("too much like {}", quoted(other)),
                None => {
                    kept.push((name, part));
                    continue;
                }
            };
            let shown = quoted(&one_line(name, SHOWN_CHARACTERS));
            self.by_hand("    ", format!("{destination}: the header {shown} is left out: {why}"));
        }
        if kept.is_empty() {
            return;
        }
        self.line("    # why: values of headers may be secrets; they stay out of this file");
        self.line("    headers:");
        for (name, part) in kept {
            self.line(format!("      {}: {{env: {}}}", quoted(name), variable(&part)));
        }
    }

    fn body(&mut self, body: &str) {
        let is_plain = !body.trim().is_empty()
            && !body.starts_with(char::is_whitespace)
            && body.chars().all(|c| c == '\n' || !(c.is_control() || c == '\u{feff}'));
        if !is_plain {
            return self.line(format!("      body: {}", quoted(body)));
        }
        self.line("      body: |-");
        for line in body.trim_end_matches('\n').split('\n') {
            // Spaces at the end of a line are part of the text.
            self.out.push_str(if line.is_empty() { "" } else { "        " });
            self.out.push_str(line);
            self.out.push('\n');
        }
    }

    fn common(&mut self, name: &str, flipt: &FliptConfig, webhook: &Webhook) {
        if webhook.max_backoff.is_some_and(|backoff| backoff > LONGEST) {
            self.by_hand(
                "    ",
                format!(
                    "{name}: max_backoff_duration is longer than the relay can wait: it waits 5m at most"
                ),
            );
        } else if let Some(backoff) = webhook.max_backoff.filter(|backoff| !backoff.is_zero()) {
            self.line("    # why: max_backoff_duration; but the relay tries for 7 days (`expire_after`), where Flipt gave up");
            self.line("    # after five times");
            self.line(format!(
                "    retry: {{initial_backoff: {}, max_backoff: {}}}",
                shown(backoff.min(Duration::from_secs(1))),
                shown(backoff)
            ));
        }
        if flipt.log {
            self.line("    # why: the log holds what Flipt's webhook sink has sent already");
            self.line("    deliver_since: now");
        }
        if !webhook.enabled {
            self.line("    # why: the sink is off in Flipt; take this line out to send");
            self.line("    observe: true");
        }
    }

    fn routes(&mut self, flipt: &FliptConfig) {
        let mut events: Vec<&String> = Vec::new();
        let mut unknown = Vec::new();
        for event in &flipt.events {
            let mut parts = event.split(':');
            let is_known = parts.next().is_some_and(|noun| NOUNS.contains(&noun))
                && parts.next().is_some_and(|verb| VERBS.contains(&verb))
                && parts.next().is_none();
            match is_known {
                true if !events.contains(&event) => events.push(event),
                true => {}
                false => unknown.push(event),
            }
        }
        self.line("routes:");
        if !unknown.is_empty() {
            let all: Vec<String> = unknown.iter().map(|event| quoted(event)).collect();
            self.by_hand("  ", format!("audit.events names what Flipt does not have: {}", all.join(", ")));
        }
        let events: Vec<String> = match events.is_empty() {
            true => vec![quoted("*:*")],
            false => events.iter().map(|event| quoted(event)).collect(),
        };
        if flipt.events.is_empty() {
            self.line("  # why: every event, as Flipt's `audit.events` has it by default");
        } else {
            self.line("  # why: Flipt's `audit.events`; set that to \"*:*\", and let the relay keep and see everything");
        }
        self.line(format!(
            "  as_before: {{when: {{events: [{}]}}, to: [{}]}}",
            events.join(", "),
            self.names.join(", ")
        ));
    }
}

fn is_file(path: &str) -> bool {
    !matches!(path, "stdout" | "stderr") && !path.contains("://") && !path.contains(['*', '?', '['])
}

/// A scalar that YAML reads as this text, whatever it holds: JSON's strings are YAML's.
fn quoted(text: &str) -> String {
    let is_plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-'))
        && !matches!(
            text.to_ascii_lowercase().as_str(),
            "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "y" | "n"
        );
    if is_plain { text.to_owned() } else { serde_json::to_string(text).unwrap_or_default() }
}

fn shown(length: Duration) -> String {
    humantime::format_duration(length).to_string()
}

fn is_slack(url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| url.host_str().is_some_and(|host| host.starts_with("hooks.slack")))
}

/// Whether nothing in an address can be a secret.
fn may_be_seen(url: &str) -> bool {
    let Ok(url) = Url::parse(url) else { return false };
    let is_key = |part: &str| part.len() >= LONG && part.chars().any(|c| c.is_ascii_digit());
    url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none()
        && !is_slack(url.as_str())
        && url.path_segments().is_none_or(|mut parts| !parts.any(is_key))
}
