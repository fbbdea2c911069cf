//! A request as it may be shown: exact, but for what nobody should see.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::report::{ExplainedBody, ExplainedRequest, Size};
use crate::config::plan::{DestinationKind, DestinationPlan, TemplatePlan, WebhookFormat, WebhookPlan};
use crate::config::secret::{Secret, address};
use crate::destination::{Request, otlp};

/// Headers that hold no secret, unless the configuration sets them itself.
const PLAIN: [&str; 8] = [
    "audit-relay-replay",
    "audit-relay-test",
    "content-encoding",
    "content-type",
    "traceparent",
    "tracestate",
    "user-agent",
    "webhook-id",
];

/// Headers that prove where a request comes from.
const SIGNATURES: [&str; 3] = ["webhook-signature", "x-flipt-webhook-signature", "x-hub-signature-256"];

/// When it was signed, which is another time with every attempt.
const SIGNED_AT: &str = "webhook-timestamp";

/// What stands for a secret.
const SECRET: &str = "[secret]";

/// Shorter than this is no secret worth the name, and would hide ordinary words.
const SHORTEST_SECRET: usize = 6;

/// A word this long that holds letters and digits may be a token, …
const SHORTEST_TOKEN: usize = 16;

/// … and this long, any.
const SURELY_A_TOKEN: usize = 32;

pub(super) fn shown(request: Request, plan: &DestinationPlan, size: Size) -> ExplainedRequest {
    match request {
        Request::Http(http) => {
            let hide = Hide::of(plan);
            let headers = http.headers.iter().map(|(name, value)| (name.clone(), hide.header(name, value)));
            ExplainedRequest {
                to: format!("{} {}", http.method, address(http.url.expose())),
                headers: headers.collect(),
                size: Size { body_bytes: http.body.len(), ..size },
                body: body(readable(http.body, plan), &hide),
            }
        }
        Request::Stdout(bytes) => written("standard output".to_owned(), bytes, size),
        Request::AppendFile { path, bytes } => written(format!("append to {}", path.display()), bytes, size),
    }
}

fn written(to: String, bytes: Vec<u8>, size: Size) -> ExplainedRequest {
    let size = Size { body_bytes: bytes.len(), ..size };
    ExplainedRequest { to, headers: Vec::new(), body: body(bytes, &Hide::default()), size }
}

/// What is sent in protobuf shows as the same in JSON.
fn readable(body: Vec<u8>, plan: &DestinationPlan) -> Vec<u8> {
    match plan.kind {
        Ok(DestinationKind::Otlp(_)) => otlp::readable(&body).map_or(body, String::into_bytes),
        _ => body,
    }
}

fn body(bytes: Vec<u8>, hide: &Hide) -> ExplainedBody {
    match String::from_utf8(bytes) {
        Ok(text) => ExplainedBody::Text(hide.text(text)),
        Err(error) => ExplainedBody::Base64(BASE64_STANDARD.encode(error.as_bytes())),
    }
}

/// What must not be seen of one destination's requests.
#[derive(Default)]
struct Hide {
    /// Headers that the configuration sets.
    configured: Vec<String>,
    /// What may stand in a body because somebody wrote it into a template; the longest first.
    written: Vec<String>,
}

impl Hide {
    fn of(plan: &DestinationPlan) -> Self {
        let webhook = match &plan.kind {
            Ok(DestinationKind::Webhook(webhook)) => webhook,
            Ok(DestinationKind::Relay(relay)) => &relay.webhook,
            Ok(DestinationKind::Otlp(otlp)) => {
                let configured = otlp.headers.iter().map(|(name, _)| name.clone()).collect();
                return Self { configured, written: Vec::new() };
            }
            _ => return Self::default(),
        };
        let template = match &webhook.format {
            WebhookFormat::Template(template) => Some(template.as_ref()),
            _ => None,
        };
        let of_template = template.map(|template| &template.headers[..]).unwrap_or_default();
        let configured = webhook.headers.iter().chain(of_template).map(|(name, _)| name.clone()).collect();
        Self { configured, written: template.map(|template| secrets(webhook, template)).unwrap_or_default() }
    }

    fn header(&self, name: &str, value: &Secret) -> String {
        match name {
            _ if self.configured.iter().any(|configured| configured == name) => SECRET.to_owned(),
            SIGNED_AT => "[time of sending]".to_owned(),
            name if SIGNATURES.contains(&name) => "[signature]".to_owned(),
            name if PLAIN.contains(&name) => value.expose().to_owned(),
            _ => SECRET.to_owned(),
        }
    }

    fn text(&self, text: String) -> String {
        self.written.iter().fold(text, |text, secret| text.replace(secret, SECRET))
    }
}

/// What a template can tell: all that this destination knows of secrets, and what looks like one in its text.
fn secrets(webhook: &WebhookPlan, template: &TemplatePlan) -> Vec<String> {
    let mut secrets = tokens(template.body.expose());
    secrets.push(webhook.url.expose().to_owned());
    for (_, value) in webhook.headers.iter().chain(&template.headers) {
        secrets.push(value.expose().to_owned());
        secrets.extend(value.expose().split_whitespace().map(str::to_owned));
    }
    let signing = webhook.signing.iter().flat_map(|signing| &signing.secrets);
    secrets.extend(signing.map(|secret| secret.expose().to_owned()));
    secrets.retain(|secret| secret.len() >= SHORTEST_SECRET);
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets
}

/// The words of a template's own text that look as if somebody had made them up to be secret.
fn tokens(template: &str) -> Vec<String> {
    let mut text = String::new();
    let mut rest = template;
    while let Some(begin) = rest.find("{{").into_iter().chain(rest.find("{%")).chain(rest.find("{#")).min() {
        text.push_str(&rest[..begin]);
        text.push(' ');
        let end = ["}}", "%}", "#}"].iter().filter_map(|end| rest[begin..].find(end)).min();
        rest = end.map_or("", |end| &rest[begin + end + 2..]);
    }
    text.push_str(rest);
    let is_part = |character: char| character.is_ascii_alphanumeric() || "_-+/=.".contains(character);
    let words = text.split(|character| !is_part(character));
    let looks_secret = |word: &&str| {
        let has = |what: fn(&u8) -> bool| word.bytes().any(|byte| what(&byte));
        word.len() >= SURELY_A_TOKEN
            || word.len() >= SHORTEST_TOKEN && has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic)
    };
    words.filter(looks_secret).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_secret_in_a_template_is_found_and_nothing_else() {
        let template = r#"{"key": "9f8e7d6c5b4a3f2e1d0c", "title": "{{ actor.name | default('Someone0123456789abcdef') }}",
            "plain": "an-ordinary-description", "env": {{ environment }} {% if x %}"A1b2C3d4E5f6G7h8"{% endif %}}"#;
        assert_eq!(tokens(template), ["9f8e7d6c5b4a3f2e1d0c", "A1b2C3d4E5f6G7h8"]);
    }
}
