mod hostile;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{FILES, act, deliveries, fixture, gap, oversized, record, unparsed};
use crate::config::plan::TemplatePlan;
use crate::config::secret::Secret;
use crate::destination::Delivery;
use crate::destination::envelope::envelope;
use crate::destination::template::{Made, Template, TemplateError, samples};
use crate::event::RecordKind;

fn plan(body: &str, content_type: &str) -> TemplatePlan {
    TemplatePlan { body: Secret::new(body), headers: Vec::new(), content_type: content_type.into() }
}

fn json_template(body: &str) -> Template {
    Template::new(&plan(body, "application/json")).unwrap()
}

fn made(template: &Template, delivery: &Delivery) -> String {
    let Made { body, .. } = template.render(delivery).unwrap().unwrap();
    String::from_utf8(body).unwrap()
}

fn value(body: &str, delivery: &Delivery) -> Value {
    serde_json::from_str(&made(&json_template(body), delivery)).unwrap()
}

fn fails(body: &str, delivery: &Delivery) -> String {
    json_template(body).render(delivery).unwrap_err().message.to_string()
}

fn flag() -> Delivery {
    deliveries(&fixture("v0.2_webhook_bodies.ndjson")).remove(5)
}

fn denied() -> Delivery {
    deliveries(&fixture("v0.2_webhook_bodies.ndjson")).remove(32)
}

/// An event whose actor has this name.
fn named(name: &str) -> Delivery {
    let event = json!({"type": "flag", "action": "updated", "payload": {"key": "checkout", "namespace_key": "default"},
        "metadata": {"actor": {"name": name}}});
    deliveries(&event.to_string()).remove(0)
}

#[test]
fn every_field_of_the_envelope_is_a_variable() {
    let names = [
        "spec",
        "id",
        "type",
        "timestamp",
        "received_at",
        "sequence",
        "journal",
        "source",
        "instance",
        "environment",
        "namespace",
        "entity",
        "actor",
        "change",
        "summary",
        "change_set",
        "data",
    ];
    let body = names.map(|name| format!("\"{name}\": {{{{ {name} }}}}")).join(", ");
    for delivery in [flag(), denied(), gap(), act()] {
        let mut expected = Vec::new();
        envelope(&delivery, &mut expected);
        let expected: Value = serde_json::from_slice(&expected).unwrap();
        assert_eq!(value(&format!("{{{body}}}"), &delivery), expected);
        assert_eq!(
            value("{{ payload }}", &delivery),
            expected["data"].get("payload").cloned().unwrap_or_default()
        );
    }
}

#[test]
fn an_error_says_in_its_own_words_nothing_of_values() {
    let of = |body: &str| json_template(body).render(&named("7001")).unwrap_err().message;
    let said = of("{{ actor.name | int ** 1000 }}");
    assert_eq!(said, "line 1: invalid operation: unable to calculate 7001 ** 1000");
    assert_eq!(said.own_words(), "line 1: invalid operation: …");
    let said = of("{{ actor.name.x.y }}");
    assert_eq!(said.own_words(), *said, "{said}");
}

#[test]
fn data_json_is_what_flipt_wrote() {
    let compact = fixture("v0.2_logfile_encoding-json.log");
    let template = json_template("{{ data_json }}");
    let text = Template::new(&plan("{{ data_json }}", "text/plain")).unwrap();
    for (delivery, line) in deliveries(&compact).iter().zip(compact.lines()) {
        assert_eq!(made(&template, delivery), line);
        assert_eq!(made(&text, delivery), line);
    }
    let numbers =
        r#"{"type":"flag","action":"updated","payload":{"n":1.50,"m":123456789012345678901234567890}}"#;
    assert_eq!(made(&template, &deliveries(numbers)[0]), numbers);
}

#[test]
fn values_stand_in_quotes_or_without() {
    let odd = "A\"n\\n\n, \u{1}{\"x\":1}\u{2} é";
    let clean = odd.replace(['\u{1}', '\u{2}'], "\u{FFFD}");
    let delivery = named(odd);
    assert_eq!(value("{{ actor.name }}", &delivery), json!(clean));
    assert_eq!(value("[\"{{ actor.name }}\"]", &delivery), json!([clean]));
    assert_eq!(
        value(r#"{"\"{{ actor.name }}": "by {{ actor.name }}!"}"#, &delivery),
        json!({format!("\"{clean}"): format!("by {clean}!")})
    );
    assert_eq!(value("{{ actor.name | tojson }}", &delivery), json!(clean));
    assert_eq!(value("\"{{ actor.name | tojson }}\"", &delivery), json!(clean));
    assert_eq!(value("{{ actor.name | safe }}", &named("a\"b")), json!("a\"b"));
    assert_eq!(
        value("\"{{ sequence }} {{ actor }} {{ namespace }}\"", &named("x")),
        json!("1 {\"name\":\"x\"} default")
    );
    assert_eq!(
        value("{\"a\": {{ actor.name if false }}, \"b\": \"{{ actor.name if false }}\"}", &delivery),
        json!({"a": null, "b": ""})
    );
    let captured =
        "{% set text %}{{ actor.name }} did {{ sequence }}{% endset %}[{{ text }}, \"{{ text | upper }}\"]";
    assert_eq!(value(captured, &named("a\"b")), json!(["a\"b did 1", "A\"B DID 1"]));
    let listed = "{{ [actor.name, 1, none] | join('/') }}";
    assert_eq!(value(listed, &named("a\"b")), json!("a\"b/1/None"));
    let alone = "{% autoescape false %}\"{{ actor.name | safe }}\"{% endautoescape %}";
    assert_eq!(value(alone, &named("\",\"")), json!("\",\""));
}

#[test]
fn what_is_not_there_is_told_and_may_have_a_default() {
    let denied = denied();
    assert_eq!(fails("{\n\"key\": {{ payload.key }}}", &denied), "line 2: `payload.key` is undefined");
    assert_eq!(fails("{{ nonsense }}", &denied), "line 1: `nonsense` is undefined");
    assert_eq!(fails("{{ entity.key | upper }}", &denied), "line 1: `entity.key` is undefined");
    let with_defaults = "{\"key\": {{ payload.key | default('-') }}, \"about\": {{ entity.key | default(none) }}, \
                         \"known\": {{ payload.key is defined }}, \"if\": {% if payload.key %}1{% else %}0{% endif %}}";
    assert_eq!(value(with_defaults, &denied), json!({"key": "-", "about": null, "known": false, "if": 0}));
    assert_eq!(value(with_defaults, &flag())["key"], "checkout");
}

#[test]
fn what_is_not_json_is_not_sent() {
    let delivery = named("Ann");
    assert!(fails("{\"a\": {{ id }}", &delivery).starts_with("the body is not JSON: EOF"));
    assert!(fails("{{ id }} {{ id }}", &delivery).starts_with("the body is not JSON: trailing characters"));
    let lines = Template::new(&plan("{{ id }}\n{{ sequence }}\n", "application/x-ndjson")).unwrap();
    assert_eq!(made(&lines, &delivery).lines().count(), 2);
    let broken = Template::new(&plan("{{ id }}\n{", "application/x-ndjson")).unwrap();
    assert!(broken.render(&delivery).unwrap_err().message.starts_with("the body is not JSON"));
    let vendor = Template::new(&plan("{{ id }}}", "application/vnd.x+json; charset=utf-8")).unwrap();
    assert!(vendor.render(&delivery).is_err());
}

#[test]
fn other_content_types_have_their_own_rules() {
    let delivery = named("<Ann>");
    let of =
        |body: &str, content_type: &str| made(&Template::new(&plan(body, content_type)).unwrap(), &delivery);
    assert_eq!(of("by {{ actor.name }}", "text/plain; charset=utf-8"), "by <Ann>");
    assert_eq!(of("<b>{{ actor.name }}</b>", "text/html"), "<b>&lt;Ann&gt;</b>");
    assert_eq!(of("by={{ actor.name | urlencode }}", "application/x-www-form-urlencoded"), "by=%3CAnn%3E");
}

#[test]
fn blank_leaves_the_record_out() {
    let template = json_template("{% if entity.type | default == 'flag' %}{{ id }}{% endif %}\n");
    assert_eq!(template.render(&denied()), Ok(None));
    assert!(template.render(&flag()).unwrap().is_some());
}

#[test]
fn no_template_runs_long_or_becomes_large() {
    let delivery = flag();
    for endless in [
        "{% for a in range(10000) %}{% for b in range(10000) %}{{ a }}{% endfor %}{% endfor %}",
        "{% for a in range(100000) %}{% endfor %}{% for a in range(100000) %}{% endfor %}{% for a in range(100000) %}{% endfor %}",
        "{{ 'x' * 100000000 }}",
        "{% for a in range(9000) %}{{ 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx' * 100 }}{% endfor %}",
    ] {
        let begun = std::time::Instant::now();
        let why = json_template(endless).render(&delivery).unwrap_err().message;
        assert!(
            why.ends_with("it takes too long, or makes too much") || why.contains("range"),
            "{endless}: {why}"
        );
        assert!(begun.elapsed().as_secs() < 5);
    }
    let large = "{{ 'x' * 1048577 }}";
    assert_eq!(fails(large, &delivery), "the body has 1048579 bytes, more than 1 MiB");
    let nested = "{% for a in [1] %}".repeat(1000) + &"{% endfor %}".repeat(1000);
    assert!(Template::new(&plan(&nested, "text/plain")).is_err());
}

#[test]
fn headers_are_templates_too() {
    let with = |value: &str, content_type: &str| {
        let headers = vec![("x-kind".to_owned(), Secret::new(value))];
        Template::new(&TemplatePlan { headers, ..plan("{{ id }}", content_type) })
    };
    for content_type in ["application/json", "text/plain"] {
        let template = with(" {{ type }}/{{ sequence }} ", content_type).unwrap();
        let Made { headers, .. } = template.render(&flag()).unwrap().unwrap();
        let expected = format!("flipt.flag.updated/{}", flag().record.sequence);
        assert_eq!((headers[0].0.as_str(), headers[0].1.expose()), ("x-kind", expected.as_str()));
    }
    let header = |value: &str, delivery: &Delivery| {
        with(value, "application/json").unwrap().render(delivery).unwrap_err()
    };
    let error = header("{{ actor.name }}", &named("Zoë"));
    assert_eq!(
        (error.key.as_str(), error.message.as_str()),
        ("headers.x-kind", "header x-kind: the value is not visible ASCII in one line")
    );
    for odd in ["a\r\nb: c", "", "\u{1}"] {
        assert_eq!(header("{{ actor.name }}", &named(odd)).key, "headers.x-kind");
    }
    // They may hold secrets, so nothing of them is repeated.
    assert_eq!(header("{{ hunter2 }}", &flag()).message, "header x-kind: line 1: undefined value");
    let error = with("{{ hunter2 +", "application/json").unwrap_err();
    assert_eq!(error.message, "header x-kind: line 1: syntax error");
}

#[test]
fn what_is_no_template_is_told_with_its_line() {
    let told = |body: &str| Template::new(&plan(body, "application/json")).unwrap_err();
    let error = told("{\n  \"a\": {{ id }\n}");
    assert_eq!(error.key, "body");
    assert!(error.message.starts_with("line 2: syntax error: "), "{error}");
    assert!(
        matches!(told("\u{1}"), TemplateError { message, .. } if message.starts_with("a control character"))
    );
    let secret = TemplatePlan {
        headers: vec![("x-token".into(), Secret::new("hunter2"))],
        ..plan("{\"token\": \"hunter2\"}", "application/json")
    };
    let template = Template::new(&secret).unwrap();
    let made = template.render(&flag()).unwrap().unwrap();
    assert!(!format!("{secret:?} {template:?} {:?}", made.headers).contains("hunter2"));
}

#[test]
fn there_is_a_sample_of_every_kind() {
    let samples = samples();
    let mut kinds: Vec<_> = samples.iter().map(crate::destination::envelope::record_type).collect();
    for noun in ["flag", "variant", "segment", "constraint", "rule", "distribution", "rollout", "namespace"] {
        for verb in ["created", "updated", "deleted"] {
            assert!(kinds.contains(&format!("flipt.{noun}.{verb}")), "{noun} {verb}");
        }
    }
    for other in [
        "flipt.token.created",
        "flipt.token.deleted",
        "flipt.flag.update_denied",
        "audit_relay.gap",
        "audit_relay.unparsed",
        "audit_relay.oversized",
    ] {
        assert!(kinds.contains(&other.to_owned()), "{other}");
    }
    kinds.sort();
    kinds.dedup();
    assert_eq!(kinds.len(), samples.len());
}

#[test]
fn samples_tell_changes_as_events_do() {
    let template = json_template(
        "{\"said\": {{ summary }}, \"set\": {{ change_set }}, \"known\": {{ change is not none }}, \
          \"before\": {{ change.before if change else none }}}",
    );
    let all: Vec<Value> =
        samples().iter().map(|sample| serde_json::from_str(&made(&template, sample)).unwrap()).collect();
    let said: Vec<&str> = all.iter().map(|made| made["said"].as_str().unwrap()).collect();
    assert!(said.contains(&"Someone turned checkout ON in production (default) · default variant none → on · name “Checkout <A&B>” → “Checkout” · description “new \"flow\" ☃” → none"), "{said:#?}");
    assert!(said.iter().any(|said| said.starts_with("Someone changed the split of checkout")), "{said:#?}");
    for (made, sample) in all.iter().zip(samples()) {
        let is_denied = made["said"].as_str().unwrap().contains("not allowed");
        let changes = sample.record.kind == RecordKind::Event && !is_denied;
        assert_eq!(made["known"], changes);
        assert_eq!(made["set"].is_string(), changes);
    }
    assert!(all.iter().any(|made| made["known"] == true && made["before"].is_null()), "some have none");
    assert!(all.iter().any(|made| made["before"].is_object()), "some have one");
}

#[test]
fn the_template_of_the_documentation_serves_all() {
    let template = json_template(
        "{\"text\": \"{{ actor.name | default('Someone') }}: {{ type }} {{ entity.key | default('') }}\", \"at\": {{ timestamp }}}",
    );
    for file in FILES {
        for delivery in deliveries(&fixture(file)) {
            made(&template, &delivery);
        }
    }
    for delivery in [gap(), unparsed(b"{\xff}"), oversized(), act()] {
        made(&template, &delivery);
    }
}

proptest! {
    #[test]
    fn no_value_breaks_out(name: String) {
        let delivery = named(&name);
        let clean = name.replace(['\u{1}', '\u{2}'], "\u{FFFD}");
        let body = "{\"a\": \"{{ actor.name }}\", \"b\": [\"{{ actor.name }}\"], \"{{ actor.name }}c\": {{ actor.name }}}";
        let expected = json!({"a": clean, "b": [clean], format!("{clean}c"): clean});
        if name.is_empty() {
            return Ok(()); // then the event has no name
        }
        prop_assert_eq!(value(body, &delivery), expected);
    }

    #[test]
    fn any_template_ends_well(body: String, kind in 0_i64..5, original: Vec<u8>) {
        let kind = RecordKind::from_stored(kind).unwrap();
        let delivery = Delivery { record: record(kind, 0, original, None), environment: None };
        if let Ok(template) = Template::new(&plan(&body, "application/json"))
            && let Ok(Some(made)) = template.render(&delivery)
        {
            prop_assert!(serde_json::from_slice::<Value>(&made.body).is_ok());
        }
    }
}
