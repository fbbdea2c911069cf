//! What a destination is not to see is nowhere in what it renders.
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::config::plan::{
    BatchEncoding, ConsolePlan, FileDestinationPlan, RedactPlan, Redaction, TemplatePlan, WebhookFormat,
    WebhookPlan,
};
use crate::config::secret::Secret;
use crate::destination::console::Console;
use crate::destination::file::NdjsonFile;
use crate::destination::redact::{Redacted, redacted};
use crate::destination::webhook::Webhook;
use crate::destination::{Destination, Request};
use crate::event::{Known, Without};
use crate::flipt;

fn plan(drop: &[&str], mask: &[&str]) -> RedactPlan {
    let mut plan = RedactPlan { email: None, ip: None, name: None, fields: Default::default() };
    let all = mask.iter().map(|name| (*name, Redaction::Mask));
    for (name, how) in drop.iter().map(|name| (*name, Redaction::Drop)).chain(all) {
        match name {
            "actor.email" => plan.email = Some(how),
            "actor.ip" => plan.ip = Some(how),
            "actor.name" => plan.name = Some(how),
            field => drop_in(&mut plan, field, how),
        }
    }
    plan
}

fn drop_in(plan: &mut RedactPlan, field: &str, how: Redaction) {
    plan.fields.insert(field.to_owned(), how);
}

fn delivery(event: &Value, known: Option<Value>) -> Delivery {
    let mut record = record(RecordKind::Event, 0, event.to_string(), None);
    record.known = known.map(|known| known.to_string().into());
    Delivery { record, environment: Some("production".into()) }
}

fn event_of(delivery: &Delivery) -> Value {
    serde_json::from_slice(&delivery.record.original).unwrap()
}

fn known_of(delivery: &Delivery) -> Known {
    Known::read(delivery.record.known.as_deref())
}

fn flag(description: &str) -> Value {
    json!({"description": description, "enabled": true, "key": "checkout", "name": "Checkout", "namespace_key": "default"})
}

fn actor() -> Value {
    json!({"authentication": "oidc", "email": "ann@example.com", "ip": "10.0.0.7", "name": "Ann", "picture": "https://p.example.com/ann"})
}

#[test]
fn both_shapes_of_an_actor() {
    let event = |actor: Value| json!({"type": "flag", "action": "updated", "metadata": {"actor": actor}, "payload": null});
    let seen = |actor: Value, plan: &RedactPlan| {
        event_of(&redacted(&delivery(&event(actor), None), plan))["metadata"]["actor"].clone()
    };
    assert_eq!(
        seen(actor(), &plan(&["actor.ip"], &["actor.email"])),
        json!({"authentication": "oidc", "email": "[redacted]", "name": "Ann", "picture": "[redacted]"})
    );
    assert_eq!(
        seen(actor(), &plan(&["actor.name", "actor.email", "actor.ip"], &[])),
        json!({"authentication": "oidc"})
    );
    let old = json!({
        "authentication": "github", "ip": "10.0.0.7", "io.flipt.auth.github.email": "ann@example.com",
        "io.flipt.auth.github.name": "Ann", "io.flipt.auth.github.preferred_username": "ann",
        "io.flipt.auth.github.sub": "7", "io.flipt.auth.oidc.provider": "google", "io.flipt.auth.k8s.serviceaccount.name": "sa",
    });
    assert_eq!(
        seen(old.clone(), &plan(&["actor.name"], &[])),
        json!({"authentication": "github", "ip": "10.0.0.7", "io.flipt.auth.github.email": "ann@example.com", "io.flipt.auth.oidc.provider": "google"})
    );
    assert_eq!(
        seen(old, &plan(&["actor.email"], &["actor.ip"])),
        json!({
            "authentication": "github", "ip": "[redacted]", "io.flipt.auth.github.name": "Ann",
            "io.flipt.auth.oidc.provider": "google", "io.flipt.auth.k8s.serviceaccount.name": "sa",
        })
    );
}

#[test]
fn without_name_and_address_it_was_someone() {
    let event =
        json!({"type": "flag", "action": "updated", "metadata": {"actor": actor()}, "payload": flag("")});
    let line = |plan: RedactPlan| {
        let console = Redacted::new(Arc::new(Console::new(ConsolePlan { json: false }, batch())), plan);
        text(&console, &delivery(&event, None))
    };
    let told = line(plan(&["actor.name", "actor.email"], &[]));
    assert!(!told.contains("Ann") && !told.contains("ann@"), "{told}");
}

#[test]
fn a_masked_field_still_shows_that_it_changed() {
    let event = json!({"type": "flag", "action": "updated", "payload": flag("new")});
    let known = |before: &str| Some(json!({"before": flag(before)}));
    let masked = plan(&[], &["description"]);
    let seen = |before: &str| {
        let redacted = redacted(&delivery(&event, known(before)), &masked);
        let before: Value = serde_json::from_str(known_of(&redacted).before.unwrap().get()).unwrap();
        (event_of(&redacted)["payload"]["description"].clone(), before["description"].clone())
    };
    assert_eq!(seen("old"), (json!("[redacted]"), json!("[redacted 2]")));
    assert_eq!(seen("new"), (json!("[redacted]"), json!("[redacted]")));
}

#[test]
fn a_dropped_field_that_changed_is_named_and_its_values_are_not() {
    let mut now = flag("new");
    now["enabled"] = json!(false);
    let event = json!({"type": "flag", "action": "updated", "payload": now});
    let told = |before: &str, plan: &RedactPlan| {
        let redacted = redacted(&delivery(&event, Some(json!({"before": flag(before)}))), plan);
        let known = known_of(&redacted);
        let json = event_of(&redacted).to_string();
        let facts = flipt::facts(&flipt::AuditEvent::parse(&json).unwrap(), &known);
        assert_eq!(facts.kind, Some(flipt::ChangeKind::Behaviour), "the flag was turned off");
        (facts.changed.unwrap(), known.withheld)
    };
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let dropped = plan(&["description"], &[]);
    assert_eq!(told("old", &dropped), (words(&["description", "enabled"]), words(&["description"])));
    let all = plan(&["description", "enabled"], &[]);
    assert_eq!(told("new", &all), (words(&["enabled"]), words(&["enabled"])));
    assert_eq!(told("new", &dropped), (words(&["enabled"]), vec![]));
    let masked = plan(&[], &["description", "enabled"]);
    assert_eq!(told("old", &masked), (words(&["description", "enabled"]), vec![]));
    assert_eq!(told("new", &masked), (words(&["enabled"]), vec![]));
}

#[test]
fn what_is_withheld_is_told_without_a_value_and_never_as_nothing() {
    let event = |action: &str| json!({"type": "flag", "action": action, "metadata": {"actor": actor()}, "payload": flag("new plan")});
    let line = |plan: RedactPlan, action: &str, known: Value| {
        let console = Redacted::new(Arc::new(Console::new(ConsolePlan { json: false }, batch())), plan);
        let mut delivery = delivery(&event(action), Some(known));
        delivery.record.namespace = Namespace::Known("default".into());
        delivery.record.order_key =
            Some(crate::event::OrderKey::new("flipt", "default", crate::event::EntityKind::Flag, "checkout"));
        text(&console, &delivery).split_once("  ").unwrap().1.trim_end().to_owned()
    };
    let dropped = || plan(&["description"], &[]);
    let told = line(dropped(), "updated", json!({"before": flag("old plan")}));
    assert_eq!(
        told,
        "Ann saved checkout in production (default) · description changed, which is not shown here"
    );
    let told = line(dropped(), "updated", json!({"before": flag("new plan")}));
    assert_eq!(told, "Ann saved checkout in production (default) · nothing that Flipt shows changed");
    let told = line(dropped(), "created", json!({"without": "created"}));
    assert!(told.starts_with("Ann created") && !told.contains("not shown"), "{told}");
    let told = line(plan(&[], &["description"]), "updated", json!({"before": flag("old plan")}));
    assert!(told.contains("description") && !told.contains("nothing") && !told.contains("plan"), "{told}");
}

/// A dropped part of a field that stays.
#[test]
fn of_a_field_that_changed_inside_the_name_is_told() {
    let segment = |value: &str| json!({"key": "beta", "constraints": [{"id": "c", "property": "country", "value": value}]});
    let event = json!({"type": "segment", "action": "updated", "payload": segment("CA")});
    let redacted =
        redacted(&delivery(&event, Some(json!({"before": segment("DE")}))), &plan(&["value"], &[]));
    assert_eq!(known_of(&redacted).withheld, ["constraints"]);
}

#[test]
fn equal_values_have_equal_masks_wherever_they_stand() {
    let constraint = |id: &str, value: &str| json!({"id": id, "property": "country", "value": value});
    let segment = |values: [&str; 3]| {
        let constraints: Vec<Value> =
            values.iter().enumerate().map(|(n, value)| constraint(&n.to_string(), value)).collect();
        json!({"key": "beta", "constraints": constraints})
    };
    let event = json!({"type": "segment", "action": "updated", "payload": segment(["CA", "DE", "CA"])});
    let known = json!({"before": segment(["CA", "FR", "DE"])});
    let redacted = redacted(&delivery(&event, Some(known)), &plan(&[], &["value"]));
    let one = "[redacted]";
    assert_eq!(event_of(&redacted)["payload"], segment([one, "[redacted 2]", one]));
    let before: Value = serde_json::from_str(known_of(&redacted).before.unwrap().get()).unwrap();
    assert_eq!(before, segment([one, "[redacted 3]", "[redacted 2]"]));
}

#[test]
fn what_was_known_is_redacted_in_every_place() {
    let rollout = |description: &str| json!({"description": description, "id": "r", "rank": 1, "threshold": {"percentage": 10, "value": true}});
    let event =
        json!({"type": "rollout", "action": "deleted", "payload": {"flag_key": "checkout", "id": "r"}});
    let known = json!({
        "before": rollout("a"), "late": {"newest": "2026-11-22T07:40:10Z", "current": rollout("b")},
        "owner_name": "Checkout", "live": true, "variants": {"v": "on"},
        "rule": {"rank": 2, "segment_key": "beta", "segment_operator": "AND_SEGMENT_OPERATOR"},
        "order": [{"id": "r", "was": 2, "state": rollout("c")}],
        "closed": {"count": 1, "first": [{"type": "rollout", "name": "d"}]}
    });
    let plan = plan(&["description", "name", "rank", "segment_operator"], &["percentage"]);
    let told: Value = serde_json::from_str(
        redacted(&delivery(&event, Some(known)), &plan).record.known.as_deref().unwrap(),
    )
    .unwrap();
    let state = json!({"id": "r", "threshold": {"percentage": "[redacted]", "value": true}});
    assert_eq!(
        told,
        json!({
            "before": state, "late": {"newest": "2026-11-22T07:40:10Z", "current": state}, "live": true,
            "variants": {"v": "on"}, "rule": {"segment_key": "beta"}, "order": [{"id": "r", "state": state}],
            "closed": {"count": 1, "first": [{"type": "rollout"}]}
        })
    );
}

#[test]
fn of_what_is_no_event_nothing_is_passed_on() {
    let plan = plan(&["actor.email"], &[]);
    let unreadable = unparsed(br#"{"type":"flag","metadata":{"actor":{"email":"ann@example.com""#);
    for delivery in [unreadable, oversized()] {
        let redacted = redacted(&delivery, &plan);
        assert_eq!(redacted.record.original, b"[redacted]");
        assert_eq!(redacted.record.detail, delivery.record.detail);
    }
    for delivery in [gap(), act()] {
        assert_eq!(redacted(&delivery, &plan).record.original, delivery.record.original);
    }
    let damaged =
        Delivery { record: record(RecordKind::Event, 0, "ann@example.com", None), environment: None };
    assert_eq!(redacted(&damaged, &plan).record.original, b"[redacted]");
}

#[test]
fn what_is_not_redacted_is_passed_on_token_for_token() {
    for name in FILES {
        for delivery in deliveries(&fixture(name)) {
            let told = redacted(&delivery, &plan(&["no_such_field"], &[]));
            let mut as_it_came = Vec::new();
            super::super::envelope::envelope(&delivery, &mut as_it_came);
            let mut as_told = Vec::new();
            super::super::envelope::envelope(&told, &mut as_told);
            assert_eq!(String::from_utf8(as_told).unwrap(), String::from_utf8(as_it_came).unwrap());
        }
    }
}

fn batch() -> BatchPlan {
    BatchPlan { max_events: 100, max_bytes: 1 << 20, timeout: Duration::ZERO }
}

fn text(destination: &dyn Destination, delivery: &Delivery) -> String {
    let context = RenderContext {
        now: time("2026-11-22T08:00:00Z"),
        attempt: 1,
        batch_id: BatchId::of("", &[delivery.record.id]),
        replay: false,
    };
    let rendered = destination.render(std::slice::from_ref(delivery), &context);
    let mut text = String::new();
    for outbound in rendered.requests {
        let bytes = match outbound.request {
            Request::Http(request) => {
                for (name, value) in &request.headers {
                    text.push_str(&format!("{name}: {}\n", value.expose()));
                }
                request.body
            }
            Request::Stdout(bytes) | Request::AppendFile { bytes, .. } => bytes,
        };
        text.push_str(&String::from_utf8(bytes).unwrap());
    }
    for (_, reason) in rendered.unrenderable {
        text.push_str(&reason.message);
    }
    text
}

/// Every form in which an event leaves, but the one that is Flipt's own.
fn destinations(plan: &RedactPlan) -> Vec<(&'static str, Redacted)> {
    let webhook = |format| {
        Webhook::new(
            WebhookPlan {
                url: Arc::new(Secret::new("https://a.example.com")),
                format,
                encoding: BatchEncoding::Array,
                headers: Vec::new(),
                signing: Vec::new(),
            },
            batch(),
            "test",
        )
    };
    let template = TemplatePlan {
        body: Secret::new(
            r#"{"all": {{ data_json }}, "who": {{ actor.name | default(actor.email) | default("") }}, "ip": {{ actor.ip | default("") }}}"#,
        ),
        headers: vec![("x-who".into(), Secret::new(r#"{{ actor.email | default("nobody") }}"#))],
        content_type: "application/json".into(),
    };
    let all: Vec<(&'static str, Arc<dyn Destination>)> = vec![
        ("envelope", Arc::new(webhook(WebhookFormat::Envelope))),
        ("cloudevents", Arc::new(webhook(WebhookFormat::CloudEvents))),
        ("template", Arc::new(webhook(WebhookFormat::Template(Arc::new(template))))),
        ("console", Arc::new(Console::new(ConsolePlan { json: false }, batch()))),
        ("console as JSON", Arc::new(Console::new(ConsolePlan { json: true }, batch()))),
        ("file", Arc::new(NdjsonFile::new(FileDestinationPlan { path: "/a".into() }, batch()))),
    ];
    all.into_iter().map(|(name, inner)| (name, Redacted::new(inner, plan.clone()))).collect()
}

/// Plants secrets, and remembers what hides each.
#[derive(Default)]
struct Planter {
    planted: Vec<(Vec<&'static str>, String)>,
}

impl Planter {
    fn plant(&mut self, hidden_by: &[&'static str]) -> String {
        let secret = format!("zq{}qz", self.planted.len());
        self.planted.push((hidden_by.to_vec(), secret.clone()));
        secret
    }

    fn actor(&mut self, old: bool) -> Value {
        let (email, name, ip) =
            (self.plant(&["actor.email"]), self.plant(&["actor.name"]), self.plant(&["actor.ip"]));
        let both = ["actor.email", "actor.name"];
        let picture = self.plant(&both);
        if !old {
            return json!({"authentication": "oidc", "email": email, "ip": ip, "name": name, "picture": picture});
        }
        json!({
            "authentication": "oidc", "ip": ip, "io.flipt.auth.oidc.email": email, "io.flipt.auth.oidc.name": name,
            "io.flipt.auth.oidc.picture": picture, "io.flipt.auth.oidc.sub": self.plant(&both),
            "io.flipt.auth.oidc.preferred_username": self.plant(&both), "io.flipt.auth.token.description": self.plant(&["actor.name"]),
        })
    }

    fn payload(&mut self, noun: &str) -> Value {
        match noun {
            "flag" => json!({
                "key": "checkout", "name": self.plant(&["name"]), "description": self.plant(&["description"]),
                "default_variant": self.plant(&["default_variant"]), "enabled": true,
            }),
            "variant" => json!({
                "id": "v", "key": "on", "flag_key": "checkout", "name": self.plant(&["name"]),
                "attachment": json!({"deep": [{"a\"b": self.plant(&["attachment"])}]}).to_string(),
            }),
            "segment" => json!({
                "key": "beta", "match_type": self.plant(&["match_type"]), "constraints": [{
                    "id": "c", "property": self.plant(&["property", "constraints"]),
                    "operator": self.plant(&["operator", "constraints"]),
                    "value": self.plant(&["value", "constraints"]),
                }, [{"value": {"value": self.plant(&["value", "constraints"])}}]],
            }),
            _ => json!({
                "id": "r", "flag_key": "checkout", "description": self.plant(&["description"]),
                "segment": {"key": "beta", "operator": self.plant(&["operator", "segment"]), "value": true},
            }),
        }
    }

    fn known(&mut self, noun: &str) -> Value {
        json!({
            "before": self.payload(noun), "late": {"newest": "2026-11-22T07:40:10Z", "current": self.payload(noun)},
            "owner_name": self.plant(&["name"]),
            "order": [{"id": "r", "was": 2, "state": self.payload(noun)}],
            "closed": {"count": 1, "first": [{"type": "rollout", "name": self.plant(&["description", "name", "property"])}]}
        })
    }
}

const NAMES: [&str; 14] = [
    "actor.email",
    "actor.ip",
    "actor.name",
    "attachment",
    "constraints",
    "default_variant",
    "description",
    "match_type",
    "name",
    "operator",
    "property",
    "segment",
    "value",
    "type",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn planted_secrets_never_leave(
        noun in prop::sample::select(vec!["flag", "variant", "segment", "rollout"]),
        old: bool,
        form in 0..4_usize,
        late: bool,
        names in prop::sample::subsequence(NAMES.to_vec(), 1..NAMES.len()),
        masks in prop::collection::vec(any::<bool>(), NAMES.len()),
    ) {
        let mut planter = Planter::default();
        let mut event = json!({
            "version": "0.2", "type": noun, "action": "updated", "status": "success",
            "metadata": {"actor": planter.actor(old)}, "payload": planter.payload(noun),
            "timestamp": "2026-11-22T07:40:10Z",
        });
        let of_event = planter.planted.len();
        let mut known = planter.known(noun);
        if !late {
            known.as_object_mut().unwrap().remove("late");
        }
        if form == 1 {
            event["T"] = json!("2026-11-22T07:40:10Z");
            event["M"] = json!("AUDIT");
        }
        let mut delivery = delivery(&event, Some(known));
        match form {
            2 => delivery.record.original = format!("2026-11-22T07:40:10Z\tAUDIT\t{event}").into_bytes(),
            3 => {
                delivery.record.framing = Framing::Cri;
                delivery.record.original = format!("2026-11-22T07:40:10.0Z stdout F {event}").into_bytes();
            }
            _ => {}
        }
        let chosen = |mask: bool| -> Vec<&str> {
            names.iter().zip(&masks).filter(|(_, masked)| **masked == mask).map(|(name, _)| *name).collect()
        };
        let plan = plan(&chosen(false), &chosen(true));
        for (form, destination) in destinations(&plan) {
            let text = text(&destination, &delivery);
            prop_assert!(!text.is_empty());
            for (place, (hidden_by, secret)) in planter.planted.iter().enumerate() {
                let hidden = hidden_by.iter().any(|name| names.contains(name));
                if hidden {
                    prop_assert!(!text.contains(secret.as_str()), "{form}: {hidden_by:?} in {text}");
                } else if form == "envelope" && place < of_event {
                    prop_assert!(text.contains(secret.as_str()), "{form}: {hidden_by:?} not in {text}");
                }
            }
        }
    }
}

#[test]
fn what_was_known_of_nothing_stays_so() {
    let event = json!({"type": "flag", "action": "updated", "payload": flag("a")});
    let plan = plan(&["description"], &[]);
    assert!(redacted(&delivery(&event, None), &plan).record.known.is_none());
    let redacted = redacted(&delivery(&event, Some(json!({"without": "first_seen"}))), &plan);
    assert_eq!(known_of(&redacted).without, Some(Without::FirstSeen));
}
