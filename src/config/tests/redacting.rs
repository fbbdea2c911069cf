//! What destinations are not to see.
use super::*;
use crate::config::plan::Redaction::{Drop, Mask};

fn yaml(redact: &str) -> String {
    format!(
        "{SOURCES}destinations:\n  d: {{type: webhook, url: https://a.example.com, redact: {redact}}}\nroutes: {{r: {{to: d}}}}\n"
    )
}

#[test]
fn what_is_dropped_and_masked() {
    let redact = "{drop: [actor.ip, description], mask: [actor.email, attachment]}";
    let loaded = Desk::new().load(&yaml(redact)).unwrap();
    assert_eq!((&loaded.notes, &loaded.warnings), (&vec![], &vec![]));
    let plan = &loaded.plan.destinations["d"];
    assert!(plan.kind.is_ok());
    let redact = plan.redact.as_ref().unwrap();
    assert_eq!((redact.email, redact.ip, redact.name), (Some(Mask), Some(Drop), None));
    let fields: Vec<_> = redact.fields.iter().map(|(name, how)| (name.as_str(), *how)).collect();
    assert_eq!(fields, [("attachment", Mask), ("description", Drop)]);
    let one = Desk::new().load(&yaml("{mask: actor.name}")).unwrap().plan;
    assert_eq!(one.destinations["d"].redact.as_ref().unwrap().name, Some(Mask));
    assert!(Desk::new().load(&yaml("{}")).unwrap().plan.destinations["d"].redact.is_none());
}

#[test]
fn names_that_would_hide_nothing_are_refused() {
    for (redact, expected) in [
        ("{drop: atachment}", "redact.drop[0]: no event has such a field; expected `actor.email`"),
        ("{drop: atachment}", "did you mean `attachment`?"),
        ("{mask: [name, actor.mail]}", "redact.mask[1]: no event has such a field"),
        ("{drop: 'a*'}", "redact.drop[0]: no pattern here; expected the name of a field"),
        ("{drop: flag_key}", "it says which one it is, and would still stand in ids, keys and subjects"),
        (
            "{drop: [name], mask: [value, name]}",
            "redact.mask[1]: dropped already; expected either `drop` or `mask`",
        ),
        ("{fields: name}", "redact.fields: unknown key"),
        ("[actor.email]", "redact: this is a list; expected a map"),
    ] {
        let told = Desk::new().problems(&yaml(redact));
        assert!(told.contains(expected), "{redact}: {told}");
    }
    // Tokens may carry anything.
    let loaded = Desk::new().load(&yaml("{drop: reviewers}")).unwrap();
    assert!(
        loaded.warnings[0].to_string().contains("no event that Flipt is known to write has such a field")
    );
    assert!(loaded.plan.destinations["d"].redact.as_ref().unwrap().fields.contains_key("reviewers"));
}

#[test]
fn what_sends_events_as_they_came_redacts_nothing() {
    let yaml = yaml("{drop: actor.ip}").replace("redact", "format: flipt, redact");
    let told = Desk::new().problems(&yaml);
    assert!(told.contains("destinations.d.redact: `format: flipt` sends the event as it came"), "{told}");
    for format in ["envelope", "cloudevents", "template, template: '{{ id }}'"] {
        let yaml = yaml.replace("format: flipt", &format!("format: {format}"));
        assert!(Desk::new().load(&yaml).is_ok(), "{format}");
    }
}
