use super::{V0_1, V0_2, fixture};
use crate::event::{Framing, Keys, OrderRef};
use crate::flipt::{AuditEvent, LineKind, keys, read_line};

/// Keys as one line: namespace, entity, order, what is taught.
fn told(keys: &Keys) -> String {
    let namespace = match &keys.namespace {
        crate::event::Namespace::Known(key) => key.as_str(),
        crate::event::Namespace::Unknown => "?",
        crate::event::Namespace::None => "-",
    };
    let entity = |entity: &crate::event::Entity| {
        let id = if entity.id.len() == 36 { &entity.id[..4] } else { &entity.id };
        format!("{}:{id}", entity.kind.as_str())
    };
    let about = keys.entity.as_ref().map_or("-".to_owned(), entity);
    let order = match &keys.order {
        OrderRef::Known(key) => key.to_string(),
        OrderRef::Through(by) => format!("through {}", by.iter().map(entity).collect::<Vec<_>>().join(",")),
        OrderRef::Barrier => "barrier".to_owned(),
    };
    let teaches: Vec<_> = keys
        .teaches
        .iter()
        .map(|lesson| {
            assert_eq!(Some(lesson.namespace.as_str()), keys.namespace.known());
            assert_eq!(OrderRef::Known(lesson.order_key.clone()), keys.order);
            entity(&lesson.entity)
        })
        .collect();
    format!("{namespace} | {about} | {order} | {}", teaches.join(","))
}

#[test]
fn every_captured_event_of_v0_2_has_its_keys_in_every_wrapping() {
    let checkout = "f/default/flag/checkout";
    let beta = "f/default/segment/beta";
    let team = "team-a | namespace:team-a | f/team-a/namespace/team-a | ";
    let expected = [
        team.to_owned(),
        team.to_owned(),
        team.to_owned(),
        team.to_owned(),
        format!("default | flag:checkout | {checkout} | "),
        format!("default | flag:checkout | {checkout} | "),
        format!("default | flag:checkout | {checkout} | "),
        format!("default | variant:7f4f | {checkout} | variant:7f4f"),
        format!("default | variant:7f4f | {checkout} | variant:7f4f"),
        format!("default | variant:7f4f | {checkout} | variant:7f4f"),
        format!("default | segment:beta | {beta} | "),
        format!("default | segment:beta | {beta} | constraint:c0c0"),
        format!("default | segment:beta | {beta} | "),
        format!("default | constraint:c0c0 | {beta} | constraint:c0c0"),
        format!("default | constraint:c0c0 | {beta} | constraint:c0c0"),
        format!("default | constraint:c0c0 | {beta} | constraint:c0c0"),
        format!("default | rule:a1b2 | {checkout} | rule:a1b2"),
        format!("default | rule:a1b2 | {checkout} | rule:a1b2,distribution:d1d1"),
        format!("default | - | {checkout} | rule:a1b2,rule:b1b2"),
        format!("default | rule:a1b2 | {checkout} | rule:a1b2,distribution:d1d1"),
        format!("default | rule:a1b2 | {checkout} | rule:a1b2"),
        "? | distribution:d1d1 | through rule:a1b2,variant:7f4f,distribution:d1d1 | ".to_owned(),
        "? | distribution:d1d1 | through rule:a1b2,variant:7f4f,distribution:d1d1 | ".to_owned(),
        format!("default | distribution:d1d1 | {checkout} | distribution:d1d1"),
        format!("default | rollout:e1e2 | {checkout} | rollout:e1e2"),
        format!("default | rollout:e1e2 | {checkout} | rollout:e1e2"),
        format!("default | rollout:e1e2 | {checkout} | rollout:e1e2"),
        format!("default | - | {checkout} | rollout:e1e2,rollout:f1"),
        format!("default | rollout:e1e2 | {checkout} | rollout:e1e2"),
        format!("default | rollout:e1e2 | {checkout} | rollout:e1e2"),
        "- | token:ci | f//token/ci | ".to_owned(),
        "- | token:ci | f//token/ci | ".to_owned(),
        "? | - | barrier | ".to_owned(),
        "default | flag:x | f/default/flag/x | ".to_owned(),
    ];
    for file in V0_2 {
        let text = fixture(file);
        assert_eq!(text.lines().count(), expected.len(), "{file}");
        for (number, (line, expected)) in text.lines().zip(&expected).enumerate() {
            match read_line(line.as_bytes(), Framing::Auto, "f") {
                LineKind::Event { time, keys, .. } => {
                    assert!(time.is_some(), "{file}:{}", number + 1);
                    assert_eq!(told(&keys), *expected, "{file}:{}", number + 1);
                }
                other => panic!("{file}:{}: {other:?}", number + 1),
            }
        }
    }
}

#[test]
fn every_captured_event_of_v0_1_has_its_keys() {
    let expected = [
        "default | flag:checkout | f/default/flag/checkout | ",
        "default | flag:checkout | f/default/flag/checkout | ",
        "default | rule:r1 | f/default/flag/checkout | rule:r1",
        "- | token:ci | f//token/ci | ",
    ];
    for file in V0_1 {
        let text = fixture(file);
        assert_eq!(text.lines().count(), expected.len(), "{file}");
        for (line, expected) in text.lines().zip(expected) {
            let LineKind::Event { keys, .. } = read_line(line.as_bytes(), Framing::Auto, "f") else {
                panic!("{file}: {line}");
            };
            assert_eq!(told(&keys), expected, "{file}");
        }
    }
}

#[test]
fn what_is_not_said_is_not_guessed() {
    let cases = [
        // A missing namespace is `default` where the payload has the key by contract, and only there.
        ("flag", "success", r#"{"key":"a"}"#, "default | flag:a | f/default/flag/a | "),
        ("flag", "success", r#"{"key":"a","namespace_key":""}"#, "default | flag:a | f/default/flag/a | "),
        (
            "distribution",
            "success",
            r#"{"id":"d","rule_id":"r"}"#,
            "? | distribution:d | through rule:r,distribution:d | ",
        ),
        (
            "distribution",
            "success",
            r#"{"id":"d","flag_key":"a"}"#,
            "default | distribution:d | f/default/flag/a | distribution:d",
        ),
        ("distribution", "success", "{}", "? | - | barrier | "),
        // Shapes without a parent are found through the entity itself.
        ("rule", "success", r#"{"id":"r"}"#, "? | rule:r | through rule:r | "),
        ("variant", "success", r#"{"id":"v","namespace_key":"n"}"#, "n | variant:v | through variant:v | "),
        ("constraint", "success", r#"{"id":"c"}"#, "? | constraint:c | through constraint:c | "),
        ("rule", "success", r#"{"rule_ids":["x","y"]}"#, "? | - | through rule:x,rule:y | "),
        // A rollout had no id before v1.58.4.
        ("rollout", "success", r#"{"flag_key":"a","rank":1}"#, "default | - | f/default/flag/a | "),
        // Nothing to go by.
        ("flag", "success", r#"{"namespace_key":"n"}"#, "n | - | barrier | "),
        ("flag", "success", r#"["key","a"]"#, "default | - | barrier | "),
        ("flag", "success", r#"{"key":5}"#, "default | - | barrier | "),
        ("token", "success", r#"{"team":"x"}"#, "- | - | barrier | "),
        ("namespace", "success", "{}", "? | - | barrier | "),
        ("rule", "success", "{}", "? | - | barrier | "),
        // An attempt that was refused changed nothing, and teaches nothing.
        ("flag", "denied", "null", "? | - | barrier | "),
        ("flag", "denied", r#"{"key":"a"}"#, "? | - | barrier | "),
        ("token", "denied", "null", "? | - | barrier | "),
        // Types of a Flipt to come.
        ("dashboard", "success", r#"{"key":"a","namespace_key":"n"}"#, "? | - | barrier | "),
        ("flag", "success", r#"{"key":"a\u002fb","namespace_key":"n"}"#, "n | flag:a/b | f/n/flag/a%2Fb | "),
        ("flag", "success", r#"{"k\u0065y":"a"}"#, "default | flag:a | f/default/flag/a | "),
    ];
    for (noun, status, payload, expected) in cases {
        let json =
            format!(r#"{{"type":"{noun}","action":"updated","status":"{status}","payload":{payload}}}"#);
        let event = AuditEvent::parse(&json).unwrap();
        assert_eq!(told(&keys(&event, "f")), expected, "{json}");
    }
}

#[test]
fn one_event_teaches_within_bounds() {
    let ids = vec![r#"{"id":"d"}"#; 10_000].join(",");
    let json = format!(
        r#"{{"type":"rule","action":"updated","payload":{{"id":"r","flag_key":"a","distributions":[{ids}]}}}}"#
    );
    let event = AuditEvent::parse(&json).unwrap();
    assert_eq!(keys(&event, "f").teaches.len(), 1 + 4096);
}
