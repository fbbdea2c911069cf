use proptest::prelude::*;
use serde_json::{Value, json};

use crate::flipt::{Ahead, Fate, rewrite_event, rewrite_fields};

fn fate(name: &str, _: Ahead<'_>) -> Fate {
    match name {
        "drop" => Fate::Drop,
        "mask" => Fate::Mask("\"[x]\"".into()),
        _ => Fate::Keep,
    }
}

#[test]
fn fields_go_and_the_rest_is_copied_token_for_token() {
    for (json, expected) in [
        ("{}", "{}"),
        (r#" { "a" : [ 1 , 2.50 , { } ] , "b" : "x , y" } "#, r#"{"a":[1,2.50,{}],"b":"x , y"}"#),
        (r#"{"drop": {"a": [1, "}"]}, "b": 1}"#, r#"{"b":1}"#),
        (r#"{"b": 1, "drop": "\"]}"}"#, r#"{"b":1}"#),
        (r#"{"drop": 1, "drop": [2]}"#, "{}"),
        (r#"{"mask": {"drop": 1}, "a": {"mask": null, "drop": 2}}"#, r#"{"mask":"[x]","a":{"mask":"[x]"}}"#),
        (r#"[{"drop": 1}, [{"mask": 1.0}], true]"#, r#"[{},[{"mask":"[x]"}],true]"#),
        (r#"{"dr\u006fp": "s", "m\u0061sk": 1}"#, r#"{"m\u0061sk":"[x]"}"#),
        (r#""drop""#, r#""drop""#),
        ("7", "7"),
        (r#"{"a": "drop", "b": "\\"}"#, r#"{"a":"drop","b":"\\"}"#),
    ] {
        assert_eq!(rewrite_fields(json, &mut fate), expected, "{json}");
    }
}

#[test]
fn nesting_costs_no_stack() {
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    assert_eq!(rewrite_fields(&deep, &mut fate), deep);
    let objects = format!("{}1{}", "{\"a\":".repeat(200_000), "}".repeat(200_000));
    assert_eq!(rewrite_fields(&objects, &mut fate), objects);
    let dropped = format!("{{\"drop\":{deep},\"a\":1}}");
    assert_eq!(rewrite_fields(&dropped, &mut fate), r#"{"a":1}"#);
}

#[test]
fn an_event_keeps_all_but_actor_and_payload() {
    let event = r#"{"T":"x","metadata":{"drop":1,"actor":{"drop":"a","mask":"b","k":{"drop":1}}},"drop":2,"payload":{"drop":3,"p":{"drop":4}},"payload":{"drop":5}}"#;
    assert_eq!(
        rewrite_event(event, fate, fate).unwrap(),
        r#"{"T":"x","metadata":{"drop":1,"actor":{"mask":"[x]","k":{"drop":1}}},"drop":2,"payload":{"p":{}},"payload":{}}"#
    );
    assert_eq!(rewrite_event("[1]", fate, fate), None);
    let odd = r#"{"metadata":"ann","payload":null}"#;
    assert_eq!(rewrite_event(odd, fate, fate).unwrap(), r#"{"metadata":null,"payload":null}"#);
    let odd = r#"{"metadata":{"actor":"ann"}}"#;
    assert_eq!(rewrite_event(odd, fate, fate).unwrap(), r#"{"metadata":{"actor":null}}"#);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i32>().prop_map(Value::from),
        "[a-z\"\\\\{},: é\u{1F600}]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("drop|mask|[a-c\"{]{1,2}", inner, 0..5)
                .prop_map(|entries| json!(entries)),
        ]
    })
}

/// The same by a tree.
fn by_tree(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(by_tree).collect(),
        Value::Object(entries) => entries
            .into_iter()
            .filter(|(key, _)| key != "drop")
            .map(|(key, value)| if key == "mask" { (key, json!("[x]")) } else { (key, by_tree(value)) })
            .collect(),
        other => other,
    }
}

proptest! {
    #[test]
    fn it_does_what_a_tree_would(value in any_json(), pretty: bool) {
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
        let rewritten = rewrite_fields(&text.unwrap(), &mut fate);
        prop_assert_eq!(rewritten, by_tree(value).to_string());
    }
}
