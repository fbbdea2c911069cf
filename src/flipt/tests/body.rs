use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::fixture;
use crate::event::Framing;
use crate::flipt::{event_data, unwrap, webhook_body};

fn body(json: &str) -> String {
    let mut out = Vec::new();
    webhook_body(json.as_bytes(), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn both_encodings_of_the_log_file_give_the_bodies_that_flipt_sent() {
    let bodies = fixture("v0.2_webhook_bodies.ndjson");
    for file in ["v0.2_logfile_encoding-json.log", "v0.2_logfile_encoding-console_DEFAULT.log"] {
        let text = fixture(file);
        assert_eq!(text.lines().count(), 34);
        for (line, expected) in text.lines().zip(bodies.lines()) {
            assert_eq!(body(line), expected, "{file}");
            assert_eq!(body(expected), expected, "what is in this form stays as it is");
        }
    }
}

#[test]
fn standard_output_gives_them_too_but_for_the_time_of_capture() {
    let bodies =
        fixture("v0.2_webhook_bodies.ndjson").replace("2026-11-22T08:32:19+01:00", "2026-11-22T07:40:09Z");
    for file in ["v0.2_stdout_json.txt", "v0.2_stdout_console.txt"] {
        for (line, expected) in fixture(file).lines().zip(bodies.lines()) {
            let json = unwrap(line.as_bytes(), Framing::Auto).unwrap();
            assert_eq!(body(std::str::from_utf8(&json).unwrap()), expected, "{file}");
        }
    }
}

#[test]
fn tokens_are_copied_to_the_letter() {
    let cases = [
        // Numbers.
        (
            r#"{"type":"a","action":"b","payload":[1.0, 1E400,-0,12345678901234567890123]}"#,
            r#"{"type":"a","action":"b","payload":[1.0,1E400,-0,12345678901234567890123]}"#,
        ),
        // Keys are escaped as values are; what is escaped stays; whitespace inside strings stays.
        (
            r#"{"type":"a","action":"b","payload":{"<k>&":"\u003C \/ \" \\","x":"\\"}}"#,
            r#"{"type":"a","action":"b","payload":{"\u003ck\u003e\u0026":"\u003C \/ \" \\","x":"\\"}}"#,
        ),
        (
            "{\"type\":\"a\",\"action\":\"b\",\"payload\":\"\u{2028}\u{2029}\u{2030}☃\"}",
            "{\"type\":\"a\",\"action\":\"b\",\"payload\":\"\\u2028\\u2029\u{2030}☃\"}",
        ),
        // A lone surrogate: Flipt never writes one, so it came from elsewhere and is passed on.
        (
            r#"{"type":"a","action":"b","payload":"\ud800 \udc00\ud800"}"#,
            r#"{"type":"a","action":"b","payload":"\ud800 \udc00\ud800"}"#,
        ),
        // The top level: known keys in Flipt's order under their plain names, others after them.
        (
            r#"{"x":1,"status":"s","<y>":{"T":1},"\u0074ype":"a","action":"b","version":"v"}"#,
            r#"{"version":"v","type":"a","action":"b","status":"s","x":1,"\u003cy\u003e":{"T":1}}"#,
        ),
        // A key that is written twice has its last value.
        (r#"{"type":"a","action":"b","type":"c","x":1,"x":2}"#, r#"{"type":"c","action":"b","x":1,"x":2}"#),
        // `T` and `M` are framing where `M` says so, and unknown keys elsewhere.
        (
            r#"{"T":"t","M":"AUDIT","type":"a","action":"b","payload":{"T":1,"M":2}}"#,
            r#"{"type":"a","action":"b","payload":{"T":1,"M":2}}"#,
        ),
        (
            r#"{"T":"t","M":"other","type":"a","action":"b"}"#,
            r#"{"type":"a","action":"b","T":"t","M":"other"}"#,
        ),
    ];
    for (given, expected) in cases {
        assert_eq!(body(given), expected, "{given}");
    }
}

#[test]
fn what_is_no_event_has_no_such_form() {
    for json in [
        "",
        "{}",
        "null",
        "[]",
        r#"{"type":"flag"}"#,
        r#"{"type":"flag","action":"x""#,
        r#"{"type":1,"action":2}"#,
    ] {
        let mut out = b"before".to_vec();
        assert!(webhook_body(json.as_bytes(), &mut out).is_err(), "{json}");
        assert!(event_data(json.as_bytes(), &mut out).is_err(), "{json}");
        assert_eq!(out, b"before");
    }
}

#[test]
fn data_is_the_event_in_its_own_order() {
    let data = |json: &str| {
        let mut out = Vec::new();
        event_data(json.as_bytes(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    };
    assert_eq!(
        data(r#" {"status": "<s>", "type": "a" ,"n":1.50,"action":"b", "T": 1} "#),
        r#"{"status":"<s>","type":"a","n":1.50,"action":"b","T":1}"#
    );
    assert_eq!(data(r#"{"T":"t","M":"AUDIT","type": "a","action":"b"}"#), r#"{"type":"a","action":"b"}"#);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        "[ -~<>&\"\\\\\u{2027}-\u{202a}\n\t☃]{0,12}".prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 48, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::hash_map("[a-z<>&\u{2028}\"]{0,5}", inner, 0..6)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn every_object_means_the_same_afterwards(
        entries in proptest::collection::hash_map("(version|status|metadata|payload|timestamp|T|[a-z<&\"]{0,6})", any_json(), 0..9),
        noun: String,
        pretty: bool,
    ) {
        let mut object: Map<String, Value> = entries.into_iter().collect();
        object.insert("type".into(), noun.into());
        object.insert("action".into(), "updated".into());
        let value = Value::Object(object);
        let json = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        let body = body(&json);
        prop_assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), serde_json::from_str::<Value>(&json).unwrap());
        let unsafe_in_html = body.contains(['<', '>', '&', '\u{2028}', '\u{2029}']);
        prop_assert!(!unsafe_in_html);
        let mut data = Vec::new();
        event_data(json.as_bytes(), &mut data).unwrap();
        prop_assert_eq!(serde_json::from_slice::<Value>(&data).unwrap(), value);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>, prefix in "(|\\{\"type\":\"flag\",\"action\":\"x\",)") {
        let mut json = prefix.into_bytes();
        json.extend(bytes);
        let _ = webhook_body(&json, &mut Vec::new());
        let _ = event_data(&json, &mut Vec::new());
    }
}
