//! Every place of the configuration where a secret can stand, planted: what the schema marks as secret, addresses,
//! headers and templates. One that is new and not planted here is found.

use std::collections::BTreeSet;
use std::process::Stdio;

use serde_json::{Value, json};

use super::{SECRETS, searched};
use crate::support::{Workplace, eventually};

/// An address as secretive as addresses get.
const URL: &str = "http://user:PLANTED-password@receiver.example.com/PLANTED-path?key=PLANTED-query";

/// What the names of headers look like by the schema.
const HEADER: &str = "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$";

/// Whatever takes a secret has one. Not all of it is right: what refuses it must not repeat it.
fn everything() -> Value {
    let tls = json!({"key": "/run/secrets/tls/key.pem", "cert": "/run/secrets/tls/cert.pem"});
    json!({
        "data_dir": "DIR/data",
        "flipt": {"url": URL, "external_url": URL, "token": "PLANTED-flipt"},
        "admin": {"token": "PLANTED-admin", "external_url": URL},
        "telemetry": {"endpoint": URL, "headers": {"authorization": "PLANTED-telemetry"}, "tls": tls},
        "links": [{"title": "Change", "url": URL}],
        "sources": {
            "file": {"type": "file", "path": "DIR/audit.log"},
            "push": {"type": "http", "listen": "127.0.0.1:0", "bearer": "PLANTED-bearer",
                "signing": [{"scheme": "flipt", "secrets": ["PLANTED-old", "PLANTED-new"]}]},
        },
        "destinations": {
            "webhook": {"type": "webhook", "url": URL, "headers": {"x-api-key": "PLANTED-header"},
                "bearer": "PLANTED-bearer", "basic": {"username": "PLANTED-user", "password": "PLANTED-basic"},
                "signing": [{"scheme": "github", "secrets": "PLANTED-github"}], "proxy": URL, "format": "template",
                "template": {"body": "PLANTED-body {{ }", "headers": {"x-token": "PLANTED-template {{ }"}}},
            "short": {"type": "webhook", "url": URL, "format": "template", "template": "PLANTED-short {% if %}"},
            "slack": {"type": "slack", "webhook_url": URL, "token": "PLANTED-xoxb", "channel": "#a",
                "endpoint": URL, "proxy": URL},
            "datadog": {"type": "datadog", "api_key": "PLANTED-api", "app_key": "PLANTED-app", "endpoint": URL,
                "proxy": URL},
            "relay": {"type": "relay", "url": URL, "bearer": "PLANTED-relay", "proxy": URL,
                "signing": {"scheme": "standard_webhooks", "secrets": "PLANTED-standard"}},
            "otlp": {"type": "otlp", "endpoint": URL, "headers": {"authorization": "PLANTED-otlp"}, "proxy": URL},
        },
        "routes": {"all": {"to": ["webhook", "short", "slack", "datadog", "relay", "otlp"]}},
    })
}

/// Where secrets can stand by the schema, and where `written` has one; both as `destinations.*(webhook).url`.
#[derive(Default)]
struct Found {
    places: BTreeSet<String>,
    planted: BTreeSet<String>,
}

impl Found {
    fn walk(&mut self, schema: &Value, node: &Value, written: &[&Value], path: &str) {
        if let Some(name) = node["$ref"].as_str() {
            let name = name.trim_start_matches("#/$defs/");
            if name != "Reference" {
                self.walk(schema, &schema["$defs"][name], written, path);
            }
        }
        let is_template = path.ends_with(".template") || path.contains(".template.body");
        if node["writeOnly"] == true || is_url(node) || is_template && node["type"] == "string" {
            self.note(written, path);
        }
        if node["propertyNames"]["pattern"] == HEADER {
            self.note(&written.iter().flat_map(|one| values(one)).collect::<Vec<_>>(), path);
        }
        for (name, below) in node["properties"].as_object().into_iter().flatten() {
            let inner: Vec<&Value> = written.iter().filter_map(|one| one.get(name)).collect();
            self.walk(schema, below, &inner, &format!("{path}.{name}"));
        }
        let many: Vec<&Value> = written.iter().flat_map(|one| values(one)).collect();
        if node["additionalProperties"].is_object() {
            self.walk(schema, &node["additionalProperties"], &many, &format!("{path}.*"));
        }
        if node["items"].is_object() {
            self.walk(schema, &node["items"], &many, path);
        }
        for choice in ["anyOf", "oneOf", "allOf"] {
            for below in node[choice].as_array().into_iter().flatten() {
                let kind = below["properties"]["type"]["const"].as_str();
                let inner: Vec<&Value> = match kind {
                    Some(kind) => written.iter().copied().filter(|one| one["type"] == kind).collect(),
                    None => written.to_vec(),
                };
                let inner_path = kind.map_or_else(|| path.to_owned(), |kind| format!("{path}({kind})"));
                self.walk(schema, below, &inner, &inner_path);
            }
        }
    }

    fn note(&mut self, written: &[&Value], path: &str) {
        self.places.insert(path.to_owned());
        if written.iter().any(|one| one.to_string().contains("PLANTED")) {
            self.planted.insert(path.to_owned());
        }
    }
}

/// Whether it takes an address.
fn is_url(node: &Value) -> bool {
    node["pattern"].as_str().is_some_and(|pattern| pattern.contains("[hH][tT][tT][pP]"))
}

fn values(written: &Value) -> Vec<&Value> {
    match written {
        Value::Array(items) => items.iter().collect(),
        Value::Object(fields) => fields.values().collect(),
        _ => Vec::new(),
    }
}

#[test]
fn every_place_for_a_secret_is_planted() {
    let place = Workplace::new();
    let schema: Value = serde_json::from_slice(&place.command(&["schema"]).output().unwrap().stdout).unwrap();
    let mut found = Found::default();
    found.walk(&schema, &schema, &[&everything()], "");
    let missing: Vec<_> = found.places.difference(&found.planted).collect();
    assert!(found.places.len() > 25, "{:?}", found.places);
    assert!(missing.is_empty(), "no secret is planted at {missing:?} of {:?}", found.places);
}

#[test]
fn what_is_refused_is_not_repeated() {
    let place = Workplace::new();
    let mut outputs = Vec::new();
    // All of it wrong at once, each destination alone, and each value in place of what is none.
    let whole = everything();
    let mut texts = vec![whole.to_string()];
    for name in whole["destinations"].as_object().unwrap().keys() {
        let mut one = whole.clone();
        let kept = one["destinations"][name].take();
        one["destinations"] = json!({name: kept});
        one["routes"]["all"]["to"] = json!(name);
        for section in ["flipt", "admin", "telemetry", "links"] {
            one.as_object_mut().unwrap().remove(section);
        }
        texts.push(one.to_string());
    }
    for pointer in secrets(&whole, "") {
        for wrong in [json!(["PLANTED-list"]), json!({"key": "PLANTED-value"})] {
            let mut one = whole.clone();
            *one.pointer_mut(&pointer).unwrap() = wrong;
            texts.push(one.to_string());
        }
    }
    // A secret that breaks the file itself.
    texts.push("destinations: {siem: {bearer: \"PLANTED-unfinished\n".to_owned());
    texts.push("destinations:\n  siem:\n    bearer: PLANTED-a: PLANTED-b\n".to_owned());
    texts.push("destinations:\n  siem:\n\tbearer: PLANTED-tab\n".to_owned());
    texts.push("destinations:\n  siem:\n    bearer: &PLANTED-anchor\n    token: *PLANTED-alias\n".to_owned());
    for (number, text) in texts.iter().enumerate() {
        place.configure(text);
        for arguments in [
            &["check", "-c", "relay.yaml"][..],
            &["check", "-c", "relay.yaml", "--allow-inline-secrets", "--show-defaults"],
        ] {
            let output = place.command(arguments).output().unwrap();
            let said = [output.stdout, output.stderr].concat();
            assert!(!said.is_empty());
            outputs.push((format!("check of {number}"), String::from_utf8_lossy(&said).into_owned()));
        }
    }
    // And by who goes on with what is right.
    for text in [&texts[0], texts.last().unwrap()] {
        place.configure(text);
        let mut command = place.command(&["run", "--sidecar", "-c", "relay.yaml", "--allow-inline-secrets"]);
        command.env("AUDIT_RELAY__LOG__LEVEL", "trace").stdin(Stdio::null());
        let relay = crate::support::Relay::spawn(command);
        let page = eventually("it answers", || {
            relay.log().contains("\"what\":\"vigil\"").then(|| relay.listens("vigil"))
        });
        for path in ["/readyz", "/metrics", "/"] {
            outputs.push((path.to_owned(), crate::support::web::get(page, path).body));
        }
        let exit = relay.stop();
        outputs.extend([("log".to_owned(), exit.log), ("stdout".to_owned(), exit.stdout)]);
    }
    searched(&outputs, &SECRETS);
}

/// Where texts of `written` hold a secret, as JSON pointers.
fn secrets(written: &Value, at: &str) -> Vec<String> {
    match written {
        Value::String(text) if text.contains("PLANTED") => vec![at.to_owned()],
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(name, value)| {
                secrets(value, &format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")))
            })
            .collect(),
        Value::Array(items) => {
            let each = items.iter().enumerate();
            each.flat_map(|(index, value)| secrets(value, &format!("{at}/{index}"))).collect()
        }
        _ => Vec::new(),
    }
}

#[test]
fn no_panic_tells_a_secret() {
    let place = Workplace::new();
    place.configure(&everything().to_string());
    let options = audit_relay::config::LoadOptions {
        config: Some(place.path("relay.yaml")),
        environment: Vec::new(),
        references: audit_relay::config::References::Resolve,
        allow_inline_secrets: true,
    };
    // As `unwrap` and `expect` show what they got.
    let saved = audit_relay::config::salvage(&options, audit_relay::config::Watched::default());
    let shown = format!("{:?}\n{:#?}", audit_relay::config::load(&options), saved.plan);
    let secret = audit_relay::config::secret::Secret::new("PLANTED-alone");
    let shown = format!("{shown}\n{secret} {secret:?} {secret:#?} {:?}", Err::<(), _>(&secret));
    searched(&[("what a panic would show".to_owned(), shown)], &SECRETS);
}
