//! Secrets show nowhere: not in problems, warnings or notes, not in a plan.
use super::*;

/// Wherever it is planted, this must not be seen.
const SECRET: &str = "hunter2";

fn everything_said(desk: &Desk, yaml: &str) -> String {
    match desk.load(yaml) {
        Ok(loaded) => format!("{loaded:?}\n{}", crate::cli::check::report(&loaded)),
        Err(problems) => format!("{problems:?}\n{problems}"),
    }
}

#[test]
fn planted_secrets_are_never_shown() {
    let webhook = |rest: &str| {
        format!("{SOURCES}destinations: {{siem: {{type: webhook, {rest}}}}}\nroutes: {{all: {{to: siem}}}}\n")
    };
    let right = "url: https://a.example.com";
    let cases = [
        webhook("url: https://u:hunter2@a.example.com/x"),
        webhook("url: https://a.example.com/?key=hunter2"),
        webhook("url: 'https://a.example.com:hunter2/'"),
        webhook("url: hunter2"),
        webhook("url: [hunter2]"),
        webhook("url: {value: hunter2}"),
        webhook("url: {env: SECRET, value: hunter2}"),
        webhook("url: {env: SECRET}"),
        webhook("url: {file: SECRET_FILE}"),
        webhook("bearer: hunter2, url: https://a.example.com"),
        webhook(&format!("{right}, bearer: {{env: SECRET}}, berer: x")),
        webhook(&format!("{right}, headers: {{Authorization: hunter2}}")),
        webhook(&format!("{right}, headers: {{X-Team: 7, X-Other: \"hunter2\\n\"}}")),
        webhook(&format!("{right}, headers: {{x-a: {{env: SECRET}}}}")),
        webhook(&format!("{right}, headers: {{x-a: {{env: LINES}}}}")),
        webhook(&format!("{right}, signing: [{{scheme: flipt, secrets: hunter2}}]")),
        webhook(&format!("{right}, signing: [{{scheme: flipt, secrets: [hunter2, hunter2]}}]")),
        webhook(&format!("{right}, signing: hunter2")),
        webhook(&format!("{right}, signing: [{{scheme: hunter2, secrets: {{env: SECRET}}}}]")),
        webhook(&format!(
            "{right}, signing: [{{scheme: flipt, secrets: [{{env: SECRET}}, {{env: SECRET}}]}}]"
        )),
        webhook(&format!("{right}, basic: {{username: {{env: SECRET}}, password: hunter2}}")),
        webhook(&format!("{right}, basic: {{username: a, password: {{file: SECRET_FILE}}}}")),
        webhook(&format!("{right}, timeout: {{env: SECRET}}, batch: {{max_events: {{env: SECRET}}}}")),
        webhook(&format!("{right}, format: {{env: SECRET}}, deliver_since: hunter2")),
        webhook(&format!("{right}, proxy: http://u:hunter2@p.example.com")),
        webhook(&format!("{right}, proxy: {{env: SECRET}}")),
        webhook(&format!("{right}, signing: [{{scheme: standard_webhooks, secrets: [{{env: SECRET}}]}}]")),
        webhook(&format!("{right}, format: template, template: {{file: SECRET_FILE}}")),
        webhook(&format!("{right}, format: template, template: hunter2")),
        webhook(&format!("{right}, format: template, template: {{body: a, headers: {{x-token: hunter2}}}}")),
        webhook(&format!(
            "{right}, format: template, template: {{body: 1, headers: {{x-a: {{env: SECRET}}}}}}"
        )),
        webhook(&format!(
            "{right}, format: template, template: {{body: 1, headers: {{x-a: '{{{{ hunter2 }}}}'}}}}"
        )),
        webhook(&format!("{right}, tls: {{ca: [hunter2], cert: {{env: LINES}}}}")),
        format!("{SOURCES}log: {{level: hunter2, format: {{env: SECRET}}}}\n"),
        format!("{SOURCES}admin: {{token: hunter2}}\nflipt: {{token: [hunter2], url: 'ftp://hunter2/'}}\n"),
        format!("{SOURCES}name: [hunter2]\ndata_dir: {{a: hunter2}}\nenvironment: hunter2-\n"),
        format!(
            "{SOURCES}destinations: {{s: {{type: slack, webhook_url: https://hooks.slack.com/hunter2}}}}"
        ),
        format!("{SOURCES}destinations: {{s: {{type: slack, webhook_url: {{env: SECRET}}}}}}"),
        format!("{SOURCES}destinations: {{s: {{type: hunter2}}}}"),
        format!("{SOURCES}routes: {{all: {{to: {{env: SECRET}}, when: {{types: {{env: SECRET}}}}}}}}"),
        format!("{SOURCES}token: &a hunter2\nother: *a\n"),
        "hunter2".into(),
        "- hunter2".into(),
        "a: \"hunter2".into(),
        "a: {b: hunter2".into(),
    ];
    for allow_inline_secrets in [false, true] {
        for references in [References::Resolve, References::Require, References::Ignore] {
            for case in &cases {
                let mut desk = Desk::new()
                    .variable("SECRET", SECRET)
                    .variable("LINES", "hunter2\nhunter2")
                    .variable("AUDIT_RELAY__ADMIN__TOKEN", SECRET)
                    .variable("AUDIT_RELAY__SHUTDOWN_TIMEOUT", "hunter2");
                desk.references = references;
                desk.allow_inline_secrets = allow_inline_secrets;
                let file = desk.write("secret", "hunter2\n");
                let yaml = case.replace("SECRET_FILE", file.to_str().unwrap());
                let said = everything_said(&desk, &yaml);
                assert!(!said.contains(SECRET), "{yaml}\n{said}");
                desk.environment.pop();
                let said = everything_said(&desk, &yaml);
                assert!(!said.contains(SECRET), "{yaml}\n{said}");
            }
        }
    }
}

const WITH_SECRETS: &str = "\
sources: {flipt: {type: file, path: /a}}
destinations:
  siem:
    type: webhook
    url: {env: URL}
    bearer: {file: token}
  screen: {type: console}
routes: {all: {to: [siem, screen]}}
";

#[test]
fn references_are_resolved_and_one_newline_is_dropped() {
    let desk = Desk::new().variable("URL", "https://a.example.com/?k=hunter2");
    let file = desk.write("token", "hunter2\n");
    let yaml = WITH_SECRETS.replace("file: token", &format!("file: {}", file.display()));
    let loaded = desk.load(&yaml).unwrap();
    let plan::DestinationKind::Webhook(webhook) = loaded.plan.destinations["siem"].kind.as_ref().unwrap()
    else {
        panic!()
    };
    assert_eq!(webhook.url.expose(), "https://a.example.com/?k=hunter2");
    assert_eq!(webhook.headers[0].1.expose(), "Bearer hunter2");
    assert_eq!(loaded.secret_files, [file]);
    desk.write("token", "hunter2\n\n");
    let loaded = desk.load(&yaml).unwrap();
    let reason = loaded.plan.destinations["siem"].kind.as_ref().unwrap_err();
    assert_eq!(reason, "bearer: a value that no header can carry");
}

#[test]
fn a_missing_reference_stops_its_destination_alone() {
    let mut desk = Desk::new();
    let loaded = desk.load(WITH_SECRETS).unwrap();
    let reason = loaded.plan.destinations["siem"].kind.as_ref().unwrap_err();
    assert!(reason.contains("is not set") || reason.contains("does not exist"), "{reason}");
    assert!(loaded.plan.destinations["screen"].kind.is_ok());
    assert!(loaded.warnings.iter().any(|warning| warning.key == "destinations.siem.url"));
    desk.references = References::Require;
    assert_eq!(
        desk.problems(WITH_SECRETS),
        "\
audit-relay.yaml:5:10: destinations.siem.url: the environment variable `URL` is not set
audit-relay.yaml:6:13: destinations.siem.bearer: the file `token` does not exist"
    );
    desk.references = References::Ignore;
    assert_eq!(desk.load(WITH_SECRETS).unwrap().warnings, []);
    let elsewhere = format!("{SOURCES}log: {{level: {{env: LEVEL}}}}\n");
    desk.references = References::Resolve;
    assert_eq!(
        desk.problems(&elsewhere),
        "audit-relay.yaml:2:14: log.level: the environment variable `LEVEL` is not set"
    );
}

#[test]
fn secrets_in_place_are_refused_unless_allowed() {
    let yaml = format!(
        "{SOURCES}\
destinations:
  siem: {{type: webhook, url: 'https://u:p@a.example.com', headers: {{X-Api-Key: k, X-Team: a}}}}
  slack: {{type: slack, webhook_url: https://hooks.example.com/x}}
admin: {{token: t}}
"
    );
    let mut desk = Desk::new();
    assert_eq!(
        desk.problems(&yaml),
        "\
audit-relay.yaml:3:30: destinations.siem.url: a secret is written in place; expected `{env: NAME}` or `{file: PATH}`
audit-relay.yaml:3:80: destinations.siem.headers.X-Api-Key: a secret is written in place; expected `{env: NAME}` or `{file: PATH}`
audit-relay.yaml:4:37: destinations.slack.webhook_url: a secret is written in place; expected `{env: NAME}` or `{file: PATH}`
audit-relay.yaml:5:16: admin.token: a secret is written in place; expected `{env: NAME}` or `{file: PATH}`"
    );
    desk.allow_inline_secrets = true;
    assert!(desk.load(&yaml).is_ok());
}
