use proptest::prelude::*;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::*;
use crate::event::{OversizedDetail, RecordKind, UnparsedDetail};
use crate::source::records::OVERSIZED_KEPT_BYTES;

fn event(key: &str) -> String {
    json!({"version": "0.2", "type": "flag", "action": "updated", "metadata": {"actor": {"authentication": "none"}},
        "payload": {"key": key, "namespace_key": "default"}, "timestamp": "2026-11-22T08:32:19Z", "status": "success"})
    .to_string()
}

fn originals(body: &[u8]) -> Vec<String> {
    let records = read(body, "flipt").unwrap();
    assert!(records.iter().all(|record| record.id.is_none()));
    records.into_iter().map(|record| String::from_utf8(record.original).unwrap()).collect()
}

fn refusal(body: &[u8]) -> String {
    read(body, "flipt").unwrap_err().to_string()
}

#[test]
fn one_an_array_or_one_on_each_line() {
    let (a, b) = (event("a"), event("b"));
    assert_eq!(originals(a.as_bytes()), [a.as_str()]);
    assert_eq!(originals(format!("\r\n {a}\n\n").as_bytes()), [a.as_str()]);
    assert_eq!(originals(format!("[{a} ,\n{b}]").as_bytes()), [a.as_str(), &b]);
    assert_eq!(originals(format!("{a}\n\r\n  {b}\r\n").as_bytes()), [a.as_str(), &b]);
    assert_eq!(originals(b" [ ] "), [""; 0]);
    let pretty = serde_json::to_string_pretty(&serde_json::from_str::<Value>(&a).unwrap()).unwrap();
    assert_eq!(originals(format!("{pretty}\n").as_bytes()), [pretty.as_str()]);
    let records = read(pretty.as_bytes(), "flipt").unwrap();
    assert_eq!(records[0].kind, RecordKind::Event);
    assert!(records[0].news.is_some() && records[0].keys.entity.is_some() && records[0].event_time.is_some());
}

#[test]
fn what_is_not_json_is_refused_as_a_whole() {
    let a = event("a");
    assert_eq!(refusal(b""), "the body is empty");
    assert_eq!(refusal(b" \r\n\t"), "the body is empty");
    for (body, why) in [
        ("hello".to_owned(), "not JSON at line 1, column 1: expected value"),
        (a[..a.len() - 1].to_owned(), "EOF while parsing"),
        (format!("{a}\n{a}\n{{\"cut\""), "not JSON at line 3, column 6: EOF while parsing"),
        (format!("[{a}"), "EOF while parsing"),
        (format!("[{a}] {a}"), "trailing characters"),
        (format!("[{a}]\n[{a}]"), "trailing characters"),
        (format!("{a} {a}"), "trailing characters"),
        (format!("{a}\u{a0}"), "trailing characters"),
        ("\u{feff}{}".to_owned(), "expected value"),
    ] {
        let said = refusal(body.as_bytes());
        assert!(said.contains(why) && said.starts_with("not JSON at line "), "{body}: {said}");
    }
    assert_eq!(refusal(b"{}\n{\"a\":\"\xff\"}"), "not JSON at line 2, column 7: not UTF-8");
}

#[test]
fn json_that_is_no_event_is_kept_with_the_reason() {
    let body = br#"[1, "text", null, [2], {}, {"type":"flag"}, {"L":"INFO","M":"started"}, {"event":"flag created"}]"#;
    let records = read(body, "flipt").unwrap();
    let reasons: Vec<String> = records
        .iter()
        .map(|record| {
            assert_eq!(record.kind, RecordKind::Unparsed);
            serde_json::from_str::<UnparsedDetail>(record.detail.as_deref().unwrap()).unwrap().reason
        })
        .collect();
    let none = "no audit event: not a JSON object";
    let missing = |key: &str| format!("no audit event: \"{key}\" is missing, or is no string");
    assert_eq!(reasons[..4], [none; 4]);
    assert_eq!(reasons[4..6], [missing("type"), missing("action")]);
    assert_eq!(reasons[6], "a line of Flipt's application log, not of its audit log");
    assert_eq!(reasons[7], missing("type"));
}

#[test]
fn what_is_too_long_is_kept_as_its_head() {
    let long = event(&"k".repeat(MAX_EVENT_BYTES));
    let body = format!("[{},{long}]", event("a"));
    let records = read(body.as_bytes(), "flipt").unwrap();
    assert_eq!((records[0].kind, records[1].kind), (RecordKind::Event, RecordKind::Oversized));
    let detail: OversizedDetail = serde_json::from_str(records[1].detail.as_deref().unwrap()).unwrap();
    assert_eq!((detail.length_bytes, detail.kept_bytes), (long.len() as u64, OVERSIZED_KEPT_BYTES as u64));
    assert_eq!(detail.sha256, hex::encode(Sha256::digest(&long)));
    assert_eq!(records[1].original, long.as_bytes()[..OVERSIZED_KEPT_BYTES]);
}

#[test]
fn so_many_and_no_more() {
    let numbers = |count: usize| format!("[{}]", vec!["1"; count].join(","));
    assert_eq!(read(numbers(MAX_ITEMS).as_bytes(), "flipt").unwrap().len(), MAX_ITEMS);
    assert_eq!(read(numbers(MAX_ITEMS + 1).as_bytes(), "flipt").unwrap_err(), BodyError::TooMany);
    assert_eq!(read("1\n".repeat(MAX_ITEMS + 1).as_bytes(), "flipt").unwrap_err(), BodyError::TooMany);
    // Of what nests deeply, nothing is built.
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(read(deep.as_bytes(), "flipt").unwrap().len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_bytes_are_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&body, "flipt");
    }

    #[test]
    fn near_json_is_read_or_refused(body in r#"[\[\]{}",:a\\0-9 \n\t"eE+.-]{0,60}"#) {
        // What serde_json takes for a value is taken here too.
        let is_json = serde_json::from_str::<Value>(&body).is_ok();
        if is_json {
            prop_assert!(read(body.as_bytes(), "flipt").is_ok());
        }
    }

    #[test]
    fn the_form_does_not_matter(
        keys in prop::collection::vec("[a-z\"\\\\\n☃]{0,8}", 1..8),
        space in "[ \t\r]{0,3}",
    ) {
        let events: Vec<String> = keys.iter().map(|key| event(key)).collect();
        let array = format!("{space}[{space}{}{space}]{space}", events.join(&format!("{space},{space}")));
        let lines = events.iter().map(|event| format!("{space}{event}{space}\n")).collect::<String>();
        prop_assert_eq!(originals(array.as_bytes()), events.clone());
        prop_assert_eq!(originals(lines.as_bytes()), events.clone());
        for cut in 1..array.trim_end().len() {
            let Some(part) = array.get(..cut).filter(|part| !part.trim().is_empty()) else { continue };
            prop_assert!(read(part.as_bytes(), "flipt").is_err(), "{}", part);
        }
    }
}
