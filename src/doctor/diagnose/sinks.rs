//! Whether what Flipt sends is what the relay reads.

use std::path::Path;

use super::{Pushes, Relayed, poorer, severe};
use crate::admin::Finding;
use crate::admin::words::brief;
use crate::config::plan::HttpSourcePlan;
use crate::doctor::facts::{ConfigFacts, Facts, INTAKE, WebhookFacts};
use crate::event::Framing;

/// How much of a path of Flipt's is shown.
const SHOWN: usize = 200;
/// Where containers' own logs are kept by nodes.
const CONTAINER_LOGS: [&str; 3] = ["/var/log/pods/", "/var/log/containers/", "/var/lib/docker/containers/"];

pub(super) fn findings(facts: &Facts, relayed: &Relayed<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    if facts.read_only {
        let storage = facts.storage.as_deref().filter(|kind| *kind != "database");
        let why = storage.map_or_else(String::new, |kind| format!(" (`storage.type: {}`)", brief(kind, 20)));
        found.push(severe(
            "flipt_read_only",
            format!("Flipt's flags cannot be changed through it{why}: what changes them elsewhere makes no audit event."),
            "FLIPT_STORAGE_TYPE=database FLIPT_STORAGE_READ_ONLY=false",
        ));
    }
    let Some(config) = &facts.config else { return found };
    if !config.log && config.webhook.is_none() {
        found.push(no_sink(config, relayed));
        return found;
    }
    match (relayed.files.is_empty(), relayed.pushes.is_empty(), config.log, config.webhook.is_some()) {
        (false, _, false, true) if relayed.pushes.is_empty() => found.push(log_off(relayed)),
        (_, false, true, false) if relayed.files.is_empty() => found.push(webhook_off(relayed)),
        (false, false, true, true) => found.push(both()),
        _ => {}
    }
    if config.log {
        found.extend(file(config, relayed));
    }
    if let Some(webhook) = &config.webhook {
        found.extend(relayed.pushes.iter().flat_map(|pushes| belief(webhook, pushes)));
        found.extend(target(webhook, relayed));
    }
    found
}

fn log_on(relayed: &Relayed<'_>) -> String {
    let path = relayed.files.first().and_then(|(_, file)| file.paths.first());
    let path = path.filter(|path| !path.contains(['*', '?', '['])).map_or("/var/log/flipt/audit.log", |v| v);
    format!("FLIPT_AUDIT_SINKS_LOG_ENABLED=true FLIPT_AUDIT_SINKS_LOG_FILE={path}")
}

fn webhook_on(relayed: &Relayed<'_>) -> String {
    let port = relayed.pushes.first().map_or(8_787, |pushes| pushes.plan.listen.port());
    format!(
        "FLIPT_AUDIT_SINKS_WEBHOOK_ENABLED=true FLIPT_AUDIT_SINKS_WEBHOOK_URL=http://RELAY:{port}{INTAKE}   # RELAY: where the relay is, as Flipt sees it"
    )
}

fn no_sink(config: &ConfigFacts, relayed: &Relayed<'_>) -> Finding {
    let others = match config.kafka {
        true => ": only its Kafka sink is on, which the relay does not read",
        false => ": its log sink and its webhook sink are both off",
    };
    let remedy = match relayed.files.is_empty() && !relayed.pushes.is_empty() {
        true => webhook_on(relayed),
        false => log_on(relayed),
    };
    severe("flipt_no_sink", format!("Flipt sends its audit events nowhere the relay looks{others}."), remedy)
}

fn log_off(relayed: &Relayed<'_>) -> Finding {
    severe(
        "flipt_log_sink_off",
        format!(
            "Flipt's log sink is off, and the relay reads files alone ({}): Flipt's webhook sink, which is on, does not reach it.",
            sources(relayed.files.iter().map(|(name, _)| *name))
        ),
        log_on(relayed),
    )
}

fn webhook_off(relayed: &Relayed<'_>) -> Finding {
    severe(
        "flipt_webhook_sink_off",
        format!(
            "Flipt's webhook sink is off, and the relay takes pushes alone ({}): it does not read the log that Flipt's log sink, which is on, writes.",
            sources(relayed.pushes.iter().map(|pushes| pushes.name))
        ),
        webhook_on(relayed),
    )
}

fn both() -> Finding {
    poorer(
        "flipt_both_sinks",
        "Flipt's log sink and its webhook sink are both on and the relay reads both: each event comes twice.",
        "FLIPT_AUDIT_SINKS_WEBHOOK_ENABLED=false   # and leave out the source of type http",
    )
}

fn sources<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.map(|name| format!("source {name}")).collect::<Vec<_>>().join(", ")
}

/// Where the log sink writes, against where the relay reads.
fn file(config: &ConfigFacts, relayed: &Relayed<'_>) -> Option<Finding> {
    let (_, first) = relayed.files.first()?;
    let written = config.log_file.as_deref().map(|file| file.strip_prefix("file://").unwrap_or(file));
    let written = written.filter(|file| !matches!(*file, "stdout" | "stderr"));
    let Some(written) = written else {
        let reads_container_logs = relayed.files.iter().any(|(_, file)| {
            let is_log = |path: &String| CONTAINER_LOGS.iter().any(|logs| path.starts_with(logs));
            file.framing == Framing::Cri || file.paths.iter().any(is_log)
        });
        return (!reads_container_logs).then(|| {
            severe(
                "flipt_log_to_stdout",
                "Flipt's log sink has no file: it writes to standard output, not where the relay reads.",
                log_on(relayed),
            )
        });
    };
    let reads = |path: &String| {
        let pattern = glob::Pattern::new(path).ok();
        path == written
            || pattern.is_some_and(|pattern| pattern.matches(written))
            // The directory may be mounted elsewhere.
            || Path::new(path).file_name() == Path::new(written).file_name()
            || pattern_name_fits(path, written)
    };
    let is_read = relayed.files.iter().any(|(_, file)| file.paths.iter().any(reads));
    (!is_read).then(|| {
        let shown = brief(written, SHOWN);
        poorer(
            "flipt_log_file_elsewhere",
            format!(
                "Flipt writes its audit log to {shown}, and the relay reads {}: unless one is mounted as the other, nothing comes.",
                brief(&first.paths.join(", "), SHOWN)
            ),
            format!("sources: {{flipt: {{type: file, path: {shown}}}}}   # as the relay sees that file"),
        )
    })
}

/// Whether the last part of a glob takes the name of a file.
fn pattern_name_fits(pattern: &str, path: &str) -> bool {
    let name = |path: &str| path.rsplit('/').next().map(str::to_owned);
    match (name(pattern), name(path)) {
        (Some(pattern), Some(name)) => glob::Pattern::new(&pattern).is_ok_and(|glob| glob.matches(&name)),
        _ => false,
    }
}

/// Whether pushes are believed.
fn belief(webhook: &WebhookFacts, pushes: &Pushes<'_>) -> Option<Finding> {
    let (name, plan) = (pushes.name, pushes.plan);
    let demands_signature = plan.signing.as_ref().map_or(true, |signing| !signing.is_empty());
    let is_certain = |code: &str, sentence: String, remedy: String| Some(severe(code, sentence, remedy));
    match webhook.templates {
        true if demands_signature => is_certain(
            "flipt_templates_unsigned",
            format!(
                "Flipt never signs what its templates make, and source {name} takes only what is signed: every push is refused."
            ),
            format!(
                "sources: {{{name}: {{signing: none, bearer: {{file: /etc/audit-relay/secrets/push-token}}}}}}   # and headers: {{authorization: \"Bearer …\"}} in each template"
            ),
        ),
        true if plan.bearer.is_some() && !webhook.bears_token => is_certain(
            "flipt_templates_without_token",
            format!(
                "Source {name} takes only pushes with its token, and not all of Flipt's templates send a header `authorization`."
            ),
            "headers: {authorization: \"Bearer …\"}   # in each of Flipt's audit.sinks.webhook.templates"
                .to_owned(),
        ),
        false if plan.bearer.is_some() => is_certain(
            "flipt_cannot_bear_token",
            format!(
                "Source {name} takes only pushes with its token, and Flipt's webhook sink with a URL sends none: every push is refused."
            ),
            signed_remedy(name),
        ),
        false if demands_signature && webhook.signs == Some(false) => is_certain(
            "flipt_webhook_unsigned",
            format!(
                "Flipt does not sign its pushes, and source {name} takes only what is signed: every push is refused."
            ),
            "FLIPT_AUDIT_SINKS_WEBHOOK_SIGNING_SECRET=…   # the secret of the source's `signing`".to_owned(),
        ),
        _ if pushes.refused > 0 => is_certain(
            "flipt_pushes_refused",
            format!(
                "Source {name} has refused every push so far: Flipt does not sign, or not with this secret, and drops what is refused."
            ),
            "FLIPT_AUDIT_SINKS_WEBHOOK_SIGNING_SECRET=…   # the secret of the source's `signing`".to_owned(),
        ),
        false if is_open(plan) && webhook.signs == Some(true) => Some(poorer(
            "relay_does_not_verify",
            format!("Flipt signs its pushes, and source {name} does not look at signatures."),
            signed_remedy(name),
        )),
        _ => None,
    }
}

fn is_open(plan: &HttpSourcePlan) -> bool {
    plan.signing.as_ref().is_ok_and(Vec::is_empty) && plan.bearer.is_none()
}

fn signed_remedy(name: &str) -> String {
    format!(
        "sources: {{{name}: {{signing: [{{scheme: flipt, secrets: [{{file: /etc/audit-relay/secrets/flipt}}]}}]}}}}   # in place of `bearer`"
    )
}

/// Where pushes go.
fn target(webhook: &WebhookFacts, relayed: &Relayed<'_>) -> Option<Finding> {
    if relayed.pushes.is_empty() || webhook.targets.is_empty() {
        return None;
    }
    let elsewhere: Vec<&str> =
        webhook.targets.iter().filter(|target| !target.is_intake).map(|target| &*target.shown).collect();
    (elsewhere.len() == webhook.targets.len()).then(|| {
        poorer(
            "flipt_webhook_elsewhere",
            format!("Flipt's webhook sink sends to {}, and a relay takes pushes at {INTAKE}: unless a proxy between them changes the path, they go elsewhere.", elsewhere[0]),
            webhook_on(relayed),
        )
    })
}
