//! What destinations are told about delivering: limits, certificates, signatures, formats.
use std::time::Duration;

use super::*;
use crate::config::plan::{
    DestinationKind, DestinationPlan, RatePlan, SigningScheme, WebhookFormat, WebhookPlan,
};

/// A configuration whose destination `d` is a webhook with these keys.
fn webhook(keys: &str) -> String {
    format!(
        "{SOURCES}destinations: {{d: {{type: webhook, url: https://a.example.com, {keys}}}}}\nroutes: {{r: {{to: d}}}}\n"
    )
}

fn planned(desk: &Desk, yaml: &str) -> DestinationPlan {
    let loaded = desk.load(yaml).unwrap();
    assert_eq!(loaded.notes, [], "{yaml}");
    loaded.plan.destinations["d"].clone()
}

fn webhook_plan(plan: &DestinationPlan) -> &WebhookPlan {
    let DestinationKind::Webhook(webhook) = plan.kind.as_ref().unwrap() else { panic!() };
    webhook
}

/// The message of the only problem.
fn told(yaml: &str) -> String {
    let problems = Desk::new().variable("A", "a").variable("B", "b").load(yaml).unwrap_err();
    assert_eq!(problems.0.len(), 1, "{problems}");
    format!("{}: {}", problems.0[0].key, problems.0[0].message)
}

#[test]
fn defaults() {
    let desk = Desk::new();
    let plan = planned(&desk, &webhook(""));
    assert_eq!((plan.concurrency, plan.rate_limit, plan.reject_limit), (4, None, 20));
    assert_eq!(plan.expire_after, Some(Duration::from_secs(7 * 86_400)));
    assert_eq!(plan.backlog_max_bytes, Some(1 << 28), "a quarter of the journal");
    assert!(!plan.observe && !plan.discard);
    assert_eq!((plan.renamed_from, plan.proxy, plan.tls), (None, None, Default::default()));
    let yaml = |kind: &str| {
        format!(
            "{SOURCES}destinations: {{d: {{type: {kind}}}}}\nroutes: {{r: {{to: d}}}}\njournal: {{max_size: 64MiB}}\n"
        )
    };
    for kind in ["console", "file, path: /var/x.ndjson"] {
        let plan = planned(&desk, &yaml(kind));
        assert_eq!((plan.expire_after, plan.backlog_max_bytes), (None, None), "{kind}");
    }
    let plan = planned(&desk, &yaml("console, expire_after: 1h"));
    assert_eq!(plan.backlog_max_bytes, Some(16 << 20));
    assert_eq!(
        desk.load(&yaml("console")).unwrap().plan.dead_letters_max_bytes,
        8 << 20,
        "an eighth of the journal"
    );
}

#[test]
fn every_key_arrives() {
    let keys = "concurrency: 2, rate_limit: 30/m, expire_after: 12h, backlog: {max_size: 5MiB}, \
                reject_limit: 3, observe: true, renamed_from: former, \
                tls: {ca: /ca.pem, cert: /cert.pem, key: /key.pem}, proxy: {env: PROXY}";
    let desk = Desk::new().variable("PROXY", "http://user:pass@proxy.example.com:3128");
    let plan = planned(&desk, &webhook(keys));
    assert_eq!((plan.concurrency, plan.reject_limit), (2, 3));
    assert_eq!(plan.rate_limit, Some(RatePlan { requests: 30, per: Duration::from_secs(60) }));
    assert_eq!(plan.expire_after, Some(Duration::from_secs(12 * 3_600)));
    assert_eq!(plan.backlog_max_bytes, Some(5 << 20));
    assert!(plan.observe && !plan.discard);
    assert_eq!(plan.renamed_from.as_deref(), Some("former"));
    assert_eq!(plan.tls.ca, Some("/ca.pem".into()));
    assert_eq!(plan.tls.identity, Some(("/cert.pem".into(), "/key.pem".into())));
    assert_eq!(plan.proxy.as_ref().unwrap().expose(), "http://user:pass@proxy.example.com:3128");
    assert!(!format!("{plan:?}").contains("user"));
    assert!(planned(&desk, &webhook("discard: true")).discard);
    let yaml = format!("{SOURCES}dead_letters: {{max_size: 1MiB}}\n");
    assert_eq!(desk.load(&yaml).unwrap().plan.dead_letters_max_bytes, 1 << 20);
}

#[test]
fn what_does_not_go_together() {
    for (keys, expected) in [
        (
            "expire_after: never, backlog: {max_size: 5MiB}",
            "backlog.max_size: not used where nothing expires (`expire_after: never`)",
        ),
        ("backlog: {max_size: 2GiB}", "backlog.max_size: larger than `journal.max_size`"),
        ("backlog: {max_size: 1KiB}", "backlog.max_size: out of bounds"),
        ("expire_after: 0s", "expire_after: no time at all"),
        ("concurrency: 65", "concurrency: out of bounds"),
        ("reject_limit: 0", "reject_limit: out of bounds"),
        ("reject_limit: 10001", "reject_limit: out of bounds"),
        ("rate_limit: 5", "rate_limit: this is a number"),
        ("observe: true, discard: true", "observe: a destination that discards has nothing to observe"),
        ("renamed_from: d", "renamed_from: it has this very name"),
        ("tls: {cert: /c.pem}", "tls.cert: no `key` beside it"),
        ("tls: {key: /k.pem}", "tls.key: no `cert` beside it"),
        ("proxy: http://u:p@proxy.example.com", "proxy: a secret is written in place"),
        ("proxy: socks5://proxy.example.com", "proxy: not an http or https address"),
        (
            "format: cloudevents, batch: {max_events: 2}",
            "batch.max_events: `format: cloudevents` sends one event a request",
        ),
        (
            "format: template, template: x, batch: {max_events: 2}",
            "batch.max_events: `format: template` sends one event a request",
        ),
        ("format: template", "format: `format: template` without a `template`"),
        ("template: x", "template: not used by this format"),
        ("format: template, template: {content_type: text/plain}", "template: `body` is missing"),
        ("format: template, template: {bdy: x, body: y}", "template.bdy: unknown key"),
        (
            "format: template, template: {body: y, headers: {Host: x}}",
            "template.headers.Host: this header is set by the connection",
        ),
        (
            "signing: [{scheme: github, secrets: {env: A}}, {scheme: github, secrets: {env: B}}]",
            "signing[1].scheme: the same scheme twice",
        ),
    ] {
        assert_eq!(told(&webhook(keys)), format!("destinations.d.{expected}"), "{keys}");
    }
    let two = |keys: &str| {
        format!(
            "{SOURCES}destinations: {{d: {{type: console}}, e: {{type: console, renamed_from: {keys}}}, f: {{type: console, renamed_from: old}}}}\nroutes: {{r: {{to: [d, e, f]}}}}\n"
        )
    };
    assert_eq!(told(&two("d")), "destinations.e.renamed_from: `d` is still configured");
    assert_eq!(told(&two("old")), "destinations.f.renamed_from: `e` takes over from `old` already");
    assert!(Desk::new().load(&two("older")).is_ok());
}

const WHSEC: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

#[test]
fn signatures_of_every_scheme() {
    let keys = "signing: [{scheme: standard_webhooks, secrets: [{env: NEW}, {env: OLD}]}, \
                {scheme: github, secrets: {env: NEW}}, {scheme: flipt, secrets: {env: NEW}}]";
    let desk = Desk::new().variable("NEW", WHSEC).variable("OLD", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD");
    let plan = planned(&desk, &webhook(keys));
    let schemes: Vec<_> =
        webhook_plan(&plan).signing.iter().map(|item| (item.scheme, item.secrets.len())).collect();
    let expected =
        [(SigningScheme::StandardWebhooks, 2), (SigningScheme::Github, 1), (SigningScheme::Flipt, 1)];
    assert_eq!(schemes, expected);
}

#[test]
fn a_malformed_signing_secret_is_told_and_stops_its_destination_alone() {
    let yaml = webhook("signing: {scheme: standard_webhooks, secrets: [{env: RIGHT}, {env: WRONG}]}");
    let mut desk = Desk::new().variable("RIGHT", WHSEC).variable("WRONG", "whsec_aHVudGVyMg==");
    let loaded = desk.load(&yaml).unwrap();
    let plan = &loaded.plan.destinations["d"];
    let why = "signing[0].secrets[1]: a secret that is not 24 to 64 bytes long";
    assert_eq!(plan.kind.as_ref().unwrap_err(), why);
    assert!(loaded.warnings.iter().any(|warning| warning.key == "destinations.d.signing[0].secrets[1]"));
    desk.references = References::Require;
    let problems = desk.problems(&yaml);
    assert!(problems.contains("destinations.d.signing[0].secrets[1]: a secret that is not"), "{problems}");
    assert!(!problems.contains("aHVud"));
    desk.references = References::Ignore;
    assert!(desk.load(&yaml).is_ok());
}

#[test]
fn templates_in_both_forms() {
    let desk = Desk::new();
    let file = desk.write("body.jinja", "{\"id\": {{ id }}}\n");
    let of = |keys: &str| {
        let plan = planned(&desk, &webhook(&format!("format: template, {keys}")));
        let WebhookFormat::Template(template) = webhook_plan(&plan).format.clone() else { panic!() };
        template
    };
    let short = of("template: '{\"id\": {{ id }}}'");
    assert_eq!(
        (short.body.expose(), short.content_type.as_str()),
        ("{\"id\": {{ id }}}", "application/json")
    );
    assert_eq!(of(&format!("template: {{file: {}}}", file.display())), short);
    assert_eq!(of(&format!("template: {{body: {{file: {}}}}}", file.display())), short);
    let long = of("template: {body: hello, content_type: text/plain, headers: {X-Kind: '{{ type }}'}}");
    assert_eq!((long.body.expose(), long.content_type.as_str()), ("hello", "text/plain"));
    assert_eq!((long.headers[0].0.as_str(), long.headers[0].1.expose()), ("x-kind", "{{ type }}"));
    let variable = Desk::new().variable("AUDIT_RELAY__DESTINATIONS__D__TEMPLATE", "{\"id\": {{ id }}}");
    let plan = planned(&variable, &webhook("format: template"));
    assert_eq!(webhook_plan(&plan).format, WebhookFormat::Template(short));
}

#[test]
fn the_fingerprint_changes_with_all_that_decides() {
    let of = |secret: &str, keys: &str| {
        let desk = Desk::new().variable("A", secret).variable("B", "https://b.example.com/?k=v");
        planned(&desk, &webhook(keys)).fingerprint
    };
    let keys = [
        "",
        "timeout: 7s",
        "bearer: {env: A}",
        "headers: {x-a: {env: A}}",
        "signing: {scheme: flipt, secrets: {env: A}}",
        "signing: {scheme: github, secrets: {env: A}}",
        "proxy: http://p.example.com",
        "tls: {ca: /ca.pem}",
        "format: flipt",
        "format: template, template: a",
        "format: template, template: b",
    ];
    let mut all: Vec<String> = keys.iter().map(|keys| of("one", keys)).collect();
    assert!(all.iter().all(|fingerprint| fingerprint.len() == 16));
    assert_eq!(all[0], of("other", ""), "what is not used decides nothing");
    all.extend(keys[2..5].iter().map(|keys| of("other", keys)));
    let count = all.len();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), count);
}

#[test]
fn a_template_is_tried_out() {
    let yaml = |body: &str| {
        webhook("format: template")
            .replace("format: template", &format!("format: template, template: {body}"))
    };
    let broken = yaml(r#"{body: "{\n{{ id }", headers: {x-a: "{{ id"}}"#);
    assert_eq!(
        Desk::new().problems(&broken),
        "audit-relay.yaml:2:92: destinations.d.template.body: not a template: line 2: syntax error: unexpected `}`, expected end of variable block"
    );
    let short = told(&yaml(r#""{% if %}""#));
    assert!(short.starts_with("destinations.d.template: not a template: line 1: syntax error: "), "{short}");
    let header = told(&yaml(r#"{body: "1", headers: {x-a: "{{ hunter2 +"}}"#));
    assert_eq!(
        header,
        "destinations.d.template.headers.x-a: not a template: header x-a: line 1: syntax error"
    );
    assert_eq!(
        told(&yaml("{body: a, content_type: \"é\"}")),
        "destinations.d.template.content_type: a value that no header can carry"
    );

    let warnings = |body: &str| {
        let loaded = Desk::new().load(&yaml(body)).unwrap();
        let said = |warning: &Problem| format!("{}: {}", warning.key, warning.message);
        loaded.warnings.iter().map(said).collect::<Vec<_>>()
    };
    assert_eq!(warnings(r#""{{ data_json }}""#), Vec::<String>::new());
    assert_eq!(
        warnings(r#""{\n\"is\": {{ data.status }}}""#),
        [
            "destinations.d.template: the template fails for audit_relay.gap, audit_relay.unparsed, audit_relay.oversized (each such becomes a dead letter): line 2: `data.status` is undefined"
        ]
    );
    assert_eq!(
        warnings(r#"{body: "\"a"}"#),
        [
            "destinations.d.template.body: the template fails for every record (each such becomes a dead letter): the body is not JSON: EOF while parsing a string at line 1 column 2"
        ]
    );
    assert!(warnings(r#"{body: "{{ actor.nam }}"}"#)[0].ends_with("line 1: `actor.nam` is undefined"));
    assert!(warnings("{body: '1', headers: {x-a: '{{ timestamp }}'}}").is_empty());
    let desk = Desk { references: References::Ignore, ..Desk::new() };
    assert_eq!(desk.load(&yaml("{file: /none}")).unwrap().warnings, []);
}
