//! Lines as Flipt's log sink writes them.

use audit_relay::event::Timestamp;
use serde_json::{Value, json};

/// An update of the flag `key` whose description is `mark`: unique where the mark is.
pub fn flag_line(key: &str, mark: &str) -> String {
    line_with(
        "flag",
        "updated",
        &format!(
            r#"{{"description":"{mark}","enabled":true,"key":"{key}","name":"{key}","namespace_key":"default"}}"#
        ),
    )
}

/// An event with this payload, by a sample actor.
pub fn line_with(noun: &str, verb: &str, payload: &str) -> String {
    format!(
        r#"{{"version":"0.2","type":"{noun}","action":"{verb}","status":"success","metadata":{{"actor":{{"authentication":"oidc","ip":"10.1.2.3","email":"ann@example.com","name":"Ann"}}}},"payload":{payload},"timestamp":"2026-11-22T08:32:19Z"}}"#
    )
}

/// An event as Flipt's log sink writes it, to be made step by step; now, by Ann, unless told otherwise.
#[derive(Debug, Clone)]
pub struct Line {
    noun: &'static str,
    verb: &'static str,
    payload: Value,
    actor: &'static str,
    at: Timestamp,
    status: &'static str,
}

impl Line {
    pub fn new(noun: &'static str, verb: &'static str, payload: Value) -> Self {
        Self { noun, verb, payload, actor: "Ann", at: Timestamp::now(), status: "success" }
    }

    /// A flag of the namespace `default` in this state.
    pub fn flag(verb: &'static str, key: &str, enabled: bool, description: &str) -> Self {
        Self::new("flag", verb, flag(key, enabled, description))
    }

    /// A refused attempt: Flipt says nothing of what it was about.
    pub fn denied(noun: &'static str, verb: &'static str) -> Self {
        Self { status: "denied", ..Self::new(noun, verb, Value::Null) }
    }

    /// By another, whose address follows from the name.
    pub fn by(self, actor: &'static str) -> Self {
        Self { actor, ..self }
    }

    pub fn at(self, at: Timestamp) -> Self {
        Self { at, ..self }
    }

    /// In another namespace.
    pub fn within(mut self, namespace: &str) -> Self {
        self.payload["namespace_key"] = namespace.into();
        self
    }

    /// With its newline.
    pub fn text(&self) -> String {
        let email = format!("{}@example.com", self.actor.to_lowercase());
        let actor = json!({"authentication": "oidc", "ip": "10.1.2.3", "email": email, "name": self.actor});
        let line = json!({"version": "0.2", "type": self.noun, "action": self.verb, "status": self.status,
            "metadata": {"actor": actor}, "payload": self.payload, "timestamp": whole(self.at).to_string()});
        format!("{line}\n")
    }
}

/// The payload of a flag of the namespace `default`.
pub fn flag(key: &str, enabled: bool, description: &str) -> Value {
    json!({"key": key, "name": key, "namespace_key": "default", "description": description, "enabled": enabled})
}

/// So many seconds ago.
pub fn ago(seconds: i64) -> Timestamp {
    Timestamp::from_unix_micros(Timestamp::now().unix_micros() - seconds * 1_000_000)
}

/// In whole seconds, as Flipt writes times.
pub fn whole(at: Timestamp) -> Timestamp {
    Timestamp::from_unix_micros(at.unix_seconds() * 1_000_000)
}
