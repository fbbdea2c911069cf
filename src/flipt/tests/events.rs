use super::{V0_1, fixture};
use crate::flipt::{Actor, AuditEvent, ParseEventError};

fn actor_of(actor: &str) -> String {
    let json = format!(r#"{{"type":"flag","action":"updated","metadata":{{"actor":{actor}}}}}"#);
    let event = AuditEvent::parse(&json).unwrap();
    serde_json::to_string(&event.actor()).unwrap()
}

#[test]
fn reads_either_form_of_the_actor() {
    let ann = r#"{"authentication":"oidc","ip":"10.1.2.3","email":"ann@example.com","name":"Ann"}"#;
    assert_eq!(actor_of(ann), ann);
    let flat = r#"{"authentication":"oidc","io.flipt.auth.oidc.email":"ann@example.com","io.flipt.auth.oidc.email_verified":"true","io.flipt.auth.oidc.name":"Ann","io.flipt.auth.oidc.provider":"google","ip":"10.1.2.3"}"#;
    assert_eq!(actor_of(flat), ann);
    assert_eq!(
        actor_of(r#"{"authentication":"token","io.flipt.auth.token.name":"ci"}"#),
        r#"{"authentication":"token","name":"ci"}"#
    );
    assert_eq!(
        actor_of(
            r#"{"io.flipt.auth.k8s.pod.name":"pod-1","io.flipt.auth.k8s.serviceaccount.name":"deployer"}"#
        ),
        r#"{"name":"deployer"}"#
    );
    assert_eq!(
        actor_of(r#"{"io.flipt.auth.name":"A","name":"B","io.flipt.auth.jwt.name":"C"}"#),
        r#"{"name":"B"}"#
    );
    for nothing in ["null", "5", "[]", "{}", r#"{"name":"","ip":7}"#] {
        assert_eq!(actor_of(nothing), "{}", "{nothing}");
    }
}

#[test]
fn actors_of_v0_1_files_are_known_by_name() {
    for file in V0_1 {
        for line in fixture(file).lines() {
            let actor = AuditEvent::parse(line).unwrap().actor();
            assert_eq!(actor.name.as_deref(), Some("Ann"), "{file}");
            assert_eq!(actor.email.as_deref(), Some("ann@example.com"), "{file}");
            assert_eq!(actor.authentication.as_deref(), Some("oidc"), "{file}");
        }
    }
}

#[test]
fn asks_for_no_more_than_type_and_action() {
    let event = AuditEvent::parse(r#"{"action":"created","new":{"x":[1]},"type":"flag"}"#).unwrap();
    assert_eq!((&*event.noun, &*event.action, &*event.status), ("flag", "created", "success"));
    assert_eq!((&*event.version, event.time), ("", None));
    assert!(event.metadata.is_none() && event.payload.is_none());
    assert_eq!(event.actor(), Actor::default());

    let missing = |json| AuditEvent::parse(json).unwrap_err();
    assert_eq!(missing(r#"{"action":"created"}"#), ParseEventError::Missing("type"));
    assert_eq!(missing(r#"{"type":"flag","action":null}"#), ParseEventError::Missing("action"));
    assert_eq!(missing(r#"{"type":"flag""#), ParseEventError::Truncated { bytes: 14 });
}

#[test]
fn reads_escaped_and_repeated_keys_as_go_does() {
    let event = AuditEvent::parse(r#"{"type":"x","\u0074ype":"fl\u0061g","action":"created"}"#).unwrap();
    assert_eq!(event.noun, "flag");
}

#[test]
fn nesting_costs_no_stack() {
    let deep = format!("{}{}", "[".repeat(1_000_000), "]".repeat(1_000_000));
    for field in ["payload", "metadata", "other"] {
        let json = format!(r#"{{"type":"flag","action":"updated","{field}":{deep}}}"#);
        let event = AuditEvent::parse(&json).unwrap();
        let _ = (event.actor(), crate::flipt::keys(&event, "f"));
        for write in [crate::flipt::webhook_body, crate::flipt::event_data] {
            let mut out = Vec::new();
            write(json.as_bytes(), &mut out).unwrap();
            assert_eq!(out.len(), json.len());
        }
    }
    let json = format!(r#"{{"type":"rule","action":"updated","payload":{{"distributions":{deep}}}}}"#);
    let _ = crate::flipt::keys(&AuditEvent::parse(&json).unwrap(), "f");
}
