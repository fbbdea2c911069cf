//! Configurations of Flipt, and what becomes of them.

use std::collections::BTreeSet;

use super::*;
use crate::config::plan::{DestinationKind, Plan, WebhookFormat};
use crate::config::{LoadOptions, References, load};
use crate::destination::template::{Template as Ours, samples};
use crate::event::RecordKind;

/// In every secret of every configuration below.
const PLANTED: &str = "PLANTED";

const URL_MODE: &str = r#"
version: "1.0"
log: {encoding: json}
server: {http_port: 9000}
audit:
  sinks:
    webhook:
      enabled: true
      url: https://audit.example.com/flipt
      signing_secret: PLANTED-secret
      max_backoff_duration: 1m30s
  events: ["flag:created", "flag:updated", "segment:*", "flag:created"]
authentication: {required: true}
"#;

const TEMPLATES_MODE: &str = r#"
audit:
  sinks:
    log: {enabled: true, file: /var/opt/flipt/audit.log}
    webhook:
      enabled: true
      templates:
        - url: https://hooks.slack.com/services/T0/B0/PLANTED
          body: |
            {"text": "{{ .Type }} {{ .Action }} by {{ .Metadata.Actor.Email }}"}
        - url: https://audit.example.com/hook?key=PLANTED
          method: POST
          body: '{"version":"{{ .Version }}","type":"{{ .Type }}","action":"{{ .Action }}","status":"{{ .Status }}","metadata":{{ toJson .Metadata }},"payload":{{ toJson .Payload }},"timestamp":"{{ .Timestamp }}"}'
          headers:
            Content-Type: application/json
            Authorization: Bearer PLANTED
            X-Team: payments
        - url: https://audit.example.com/deep
          body: |-
            {{- /* what people see */ -}}
            {
              {{ if eq .Type "flag" "variant" -}}
              "flag": {{ toJson (index .Payload "key") }},
              {{- else if ne .Action "deleted" }}
              "what": {{ .Payload.name | toJson }},
              {{- else }}
              "gone": true,
              {{- end }}
              "percentage": {{ toJson .Payload.threshold.percentage }}
              {{- range $key, $value := .Payload }}, "p_{{ $key }}": {{ toJson $value }}{{ end }}
            }
"#;

fn variables() -> Vec<(String, String)> {
    [
        ("FLIPT_AUDIT_SINKS_WEBHOOK_SIGNING_SECRET", "x"),
        ("FLIPT_AUDIT_SINKS_WEBHOOK_URL", "https://x.example.com/?k=v"),
        ("FLIPT_TEMPLATE_1_URL", "https://x.example.com/?k=v"),
        ("FLIPT_TEMPLATE_2_URL", "https://x.example.com/?k=v"),
        ("FLIPT_TEMPLATE_2_AUTHORIZATION", "x"),
        ("FLIPT_TEMPLATE_2_X_TEAM", "x"),
        ("FLIPT_TEMPLATE_1_AUTHORIZATION", "x"),
        ("FLIPT_TEMPLATE_1_X_API_KEY", "x"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

/// As `audit-relay check` has it, every reference resolved.
#[track_caller]
fn checked(yaml: &str) -> Plan {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("relay.yaml");
    std::fs::write(&path, yaml).unwrap();
    let options = LoadOptions {
        config: Some(path),
        environment: variables(),
        references: References::Require,
        allow_inline_secrets: false,
    };
    match load(&options) {
        Ok(loaded) => loaded.plan,
        Err(problems) => panic!("{problems}\n{yaml}"),
    }
}

#[track_caller]
fn migrated(flipt: &str) -> (Plan, Written) {
    let written = written(&read(flipt, &[]).unwrap());
    assert!(!written.yaml.contains(PLANTED), "{}", written.yaml);
    (checked(&written.yaml), written)
}

use super::write::Written;

/// `UPDATE_GOLDEN=1` writes the file anew; read it aloud before you commit it.
#[test]
fn what_is_written_reads_well() {
    let mut text = String::new();
    for (name, flipt) in [("URL mode", URL_MODE), ("templates mode", TEMPLATES_MODE), ("no sink", "{}")] {
        text.push_str(&format!("##### {name}\n{}\n", migrated(flipt).1.yaml));
    }
    crate::destination::golden("migrate.yaml.txt", &text);
}

#[test]
fn the_url_mode_sends_what_flipt_sent() {
    let (plan, written) = migrated(URL_MODE);
    assert_eq!(written.by_hand, Vec::<String>::new());
    let destination = &plan.destinations["webhook"];
    let Ok(DestinationKind::Webhook(webhook)) = &destination.kind else { panic!() };
    assert_eq!(webhook.format, WebhookFormat::Flipt);
    assert_eq!(webhook.url.expose(), "https://audit.example.com/flipt");
    assert_eq!(webhook.signing.len(), 1);
    assert_eq!(webhook.signing[0].secrets[0].expose(), "x");
    assert_eq!(destination.retry.max_backoff, Duration::from_secs(90));
    assert_eq!(plan.flipt.as_ref().unwrap().url.expose(), "http://127.0.0.1:9000");
    let conditions = format!("{:?}", plan.routes.routes[0]);
    assert!(conditions.contains("segment") && plan.routes.routes[0].to == ["webhook"], "{conditions}");
    assert!(!destination.observe);
}

#[test]
fn templates_make_what_they_made() {
    let (plan, written) = migrated(TEMPLATES_MODE);
    assert_eq!(written.by_hand, Vec::<String>::new());
    let events: Vec<_> =
        samples().into_iter().filter(|sample| sample.record.kind == RecordKind::Event).collect();
    assert!(events.len() > 20);
    let made = |name: &str, index: usize| -> serde_json::Value {
        let Ok(DestinationKind::Webhook(webhook)) = &plan.destinations[name].kind else { panic!("{name}") };
        let WebhookFormat::Template(template) = &webhook.format else { panic!("{name}") };
        let made = Ours::new(template).unwrap().render(&events[index]).unwrap().unwrap();
        serde_json::from_slice(&made.body).unwrap()
    };
    let mut types = BTreeSet::new();
    for (index, sample) in events.iter().enumerate() {
        let json = crate::flipt::unwrap(&sample.record.original, sample.record.framing).unwrap();
        let event: serde_json::Value = serde_json::from_slice(&json).unwrap();
        let (noun, verb) = (event["type"].as_str().unwrap(), event["action"].as_str().unwrap());
        let email = event["metadata"]["actor"]["email"].as_str().unwrap_or_default();
        assert_eq!(made("template_1", index)["text"], format!("{noun} {verb} by {email}"));
        let whole = made("template_2", index);
        for key in ["version", "type", "action", "metadata", "payload", "timestamp"] {
            assert_eq!(whole[key], event[key], "{key}");
        }
        let deep = made("template_3", index);
        let is_flag = matches!(noun, "flag" | "variant");
        assert_eq!(deep.get("flag").is_some(), is_flag, "{deep}");
        assert_eq!(deep.get("gone").is_some(), !is_flag && verb == "deleted");
        for (key, value) in event["payload"].as_object().into_iter().flatten() {
            assert_eq!(deep[format!("p_{key}")], *value);
        }
        types.insert(noun.to_owned());
    }
    assert_eq!(types.len(), 9, "{types:?}");
    // What Flipt's webhook sink has sent already is not sent once more.
    let since = plan.destinations.values().map(|destination| destination.deliver_since);
    assert!(since.into_iter().all(|since| since == crate::config::plan::DeliverSince::Now));
}

/// Each of them passes `check`, and no secret shows.
#[test]
fn many_configurations_become_right_ones() {
    let webhook = |inner: &str| format!("audit: {{sinks: {{webhook: {{enabled: true, {inner}}}}}}}");
    let template = |body: &str| {
        webhook(&format!(
            "templates: [{{url: 'https://x.example.com/', body: {}}}]",
            serde_json::to_string(body).unwrap()
        ))
    };
    let headers = |headers: &str| {
        webhook(&format!(
            "templates: [{{url: 'https://x.example.com/', body: '{{}}', headers: {{{headers}}}}}]"
        ))
    };
    let by_hand = |flipt: &str| migrated(flipt).1.by_hand.len();
    for (flipt, expected) in [
        ("version: '1.0'".to_owned(), 0),
        ("audit: {sinks: {log: {enabled: true}}}".to_owned(), 0),
        ("audit: {sinks: {log: {enabled: true, file: stdout}}}".to_owned(), 0),
        ("audit: {sinks: {log: {enabled: true, file: '/a b/ü\"x.log'}}}".to_owned(), 0),
        ("audit: {sinks: {kafka: {enabled: true, topic: t, bootstrap_servers: [a]}}}".to_owned(), 0),
        (webhook("url: 'https://user:PLANTED@x.example.com/'"), 0),
        (webhook("url: 'https://x.example.com/hooks/PLANTED0123456789abcdef'"), 0),
        (webhook("url: 'https://x.example.com/?k=PLANTED', signing_secret: PLANTED"), 0),
        (webhook("url: 'http://receiver.example.com:9000/x', max_backoff_duration: 500ms"), 0),
        (webhook("url: 'http://127.0.0.1:9000/x', max_backoff_duration: nonsense"), 0),
        (webhook("url: 'http://127.0.0.1:9000/x'").replace("enabled: true", "enabled: false"), 0),
        (webhook("url: 'http://127.0.0.1:9000/x'") + "\nAUDIT_OTHER: 1", 0),
        ("Audit: {Sinks: {Webhook: {Enabled: true, URL: 'https://x.example.com/'}}, Events: 'flag:created *:deleted'}".to_owned(), 0),
        ("audit: {events: ['flag:created', 'flg:created', 'flag:made', flag]}".to_owned(), 1),
        (webhook("templates: [{url: 'https://x.example.com/', body: '{}', headers: {X-API-Key: PLANTED, Host: a, authorization: PLANTED}}]"), 0),
        (webhook("templates: [{body: '{}'}]"), 1),
        (template(""), 1),
        (template("  {\"a\": 1}\n\n"), 0),
        (template("{\"a\":\t1}"), 0),
        (template("{\"a\": {{ printf \"%q\" .Type }}}"), 1),
        (template("{{ with .Payload }}{\"a\": {{ toJson . }}}{{ end }}"), 1),
        (template("{{ range .Payload }}{{ . }}{{ end }}"), 1),
        (template("{{ .Nope }}"), 1),
        (template("{{ if .Type }}"), 1),
        (template("{{ end }}"), 1),
        (template("{\"a\": \"{{ .Type"), 1),
        (template("{\"a\": \"{% raw %}\"}"), 1),
        (webhook("url: 'ftp://x'"), 1),
        (webhook("url: 'nonsense PLANTED'"), 1),
        (webhook("url: 'https://x.example.com/?k=PLANTED#f'"), 1),
        (webhook("url: 'http://127.0.0.1:9000/x', max_backoff_duration: 99999999999h"), 1),
        (webhook("url: 'http://127.0.0.1:9000/x', max_backoff_duration: 876000h"), 0),
        (webhook("templates: [{url: 'ftp://x', body: '{}'}]"), 1),
        (template("{{/* comment */}}"), 1),
        (template(" {{- /* comment */ -}} \n {{/* another */}}"), 1),
        (template("{\"a\": \"\u{1}\"}"), 1),
        (template(&"{{ .Payload.key }}".repeat(400)), 1),
        (template(&format!("{}1{}", "{{ if .Type }}".repeat(300), "{{ end }}".repeat(300))), 1),
        (template(&"x".repeat(70_000)), 1),
        (headers(r#""x\ny": PLANTED, "": PLANTED, "a b": PLANTED, "X-é": PLANTED, X-Api-Key: PLANTED"#), 4),
        (headers("X-API-Key: PLANTED, x_api_key: PLANTED, x-api-key: PLANTED"), 2),
        (template("{\"a\": {{ $t := .Type }}\"{{ $t }}\"}"), 0),
        (template("{\"a\": {{ if and (eq .Type `flag`) (not .Payload.enabled) }}true{{ else }}false{{ end }}, \"n\": {{ len .Payload }}, \"u\": \"{{ urlquery $.Type }}\"}"), 0),
    ] {
        assert_eq!(by_hand(&flipt), expected, "{flipt}");
    }
}

#[test]
fn variables_count_before_the_file() {
    let variables = [
        ("FLIPT_AUDIT_SINKS_WEBHOOK_ENABLED", "true"),
        ("FLIPT_AUDIT_SINKS_WEBHOOK_URL", "https://other.example.com/"),
        ("FLIPT_AUDIT_SINKS_WEBHOOK_SIGNING_SECRET", "PLANTED"),
        ("FLIPT_AUDIT_EVENTS", "flag:created flag:updated"),
        ("FLIPT_AUDIT_SINKS_LOG_FILE", "/logs/audit.log"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let read = read("audit: {sinks: {webhook: {url: 'https://one.example.com/'}}}", &variables).unwrap();
    let webhook = read.webhook.as_ref().unwrap();
    assert_eq!(webhook.url.as_ref().unwrap().expose(), "https://other.example.com/");
    assert!(webhook.enabled && webhook.signs);
    assert_eq!(read.events, ["flag:created", "flag:updated"]);
    let yaml = written(&read).yaml;
    assert!(yaml.contains("path: /logs/audit.log") && !yaml.contains(PLANTED), "{yaml}");
    checked(&yaml);
}

#[test]
fn what_is_no_flipt_v1_is_refused() {
    for (text, why) in [
        ("version: '2.0'", "Flipt v2"),
        ("- a", "no map"),
        ("a: [", "not YAML"),
        ("a: 1\n---\nb: 2", "second YAML document"),
    ] {
        let error = read(text, &[]).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}

/// What nothing else found, our own loader finds.
#[test]
fn what_check_would_refuse_is_left_to_do_by_hand() {
    let written = written(&read("audit: {sinks: {log: {enabled: true, file: ' '}}}", &[]).unwrap());
    assert_eq!(written.by_hand.len(), 1, "{}", written.yaml);
    assert!(written.by_hand[0].starts_with("line ") && written.by_hand[0].contains("sources.flipt.path"));
    assert!(written.yaml.ends_with(&format!("# by hand: {}\n", written.by_hand[0])), "{}", written.yaml);
}

#[test]
fn parentheses_nest_as_deep_as_anybody_writes_them() {
    use super::go_template::translated;

    let nested = |depth: usize| format!("{{{{ {}.Type{} }}}}", "(".repeat(depth), ")".repeat(depth));
    assert!(translated(&nested(64)).is_ok());
    for depth in [65, 10_000, 30_000] {
        let problems = translated(&nested(depth)).unwrap_err();
        assert!(problems.len() == 1 && problems[0].len() < 300, "{depth}: {problems:?}");
    }
    // Each level says the inner one twice.
    let doubling = format!("{{{{ {}.Type{} }}}}", "(eq ".repeat(50), " 1 2)".repeat(50));
    assert!(translated(&doubling).is_err());
    let many = format!("{{{{ eq .Type{} }}}}", " 1".repeat(30_000));
    assert!(translated(&many).is_err());
    let long = format!("{{{{ .Payload{} }}}}", ".a".repeat(30_000));
    let _ = translated(&long);
    let long = format!("{{{{ index .Payload{} }}}}", " 1".repeat(30_000));
    assert!(translated(&long).is_err());
}
