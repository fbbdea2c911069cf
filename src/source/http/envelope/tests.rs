//! What one relay writes, another reads.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::destination::Delivery;
use crate::destination::relay::handover::write;
use crate::event::{Incarnation, StoredRecord};

const LINES: [&str; 3] = [
    include_str!("../../../../tests/fixtures/flipt/v0.2_logfile_encoding-json.log"),
    include_str!("../../../../tests/fixtures/flipt/v0.2_stdout_console.txt"),
    include_str!("../../../../tests/fixtures/flipt/v0.1_logfile_flipt-v1.21.0.log"),
];

/// Lines that hold events.
fn events() -> Vec<&'static str> {
    let lines = LINES.iter().flat_map(|text| text.lines());
    lines
        .filter(|line| matches!(read_line(line.as_bytes(), Framing::Auto, "f"), LineKind::Event { .. }))
        .collect()
}

fn stored(kind: RecordKind, framing: Framing, original: Vec<u8>) -> StoredRecord {
    StoredRecord {
        sequence: 42,
        id: EventId::of_line(Incarnation::name("pod-1", "flipt", b"first", 0), 7, &original),
        kind,
        source: "flipt".into(),
        instance: "sidecar".into(),
        epoch: "4f1c".into(),
        accepted_at: Timestamp::from_unix_micros(1_795_332_740_104_382),
        event_time: None,
        namespace: Namespace::None,
        entity: None,
        order_key: None,
        framing,
        original,
        detail: None,
        trace: None,
        origin: None,
        known: None,
        change_set: None,
        running: Duration::ZERO,
    }
}

fn written(record: StoredRecord) -> Vec<u8> {
    let mut out = Vec::new();
    write(&Delivery { record, environment: Some(Arc::from("production")) }, "pod-1", &mut out);
    assert!(!out.contains(&b'\n'));
    out
}

fn handed_on(record: StoredRecord) -> NewRecord {
    read(&written(record)).unwrap().unwrap().into_record("flipt")
}

fn an_origin() -> impl Strategy<Value = Origin> {
    ("\\PC{1,40}", "[0-9a-f]{1,32}", any::<u64>(), -62_167_219_200_000_000_i64..253_402_300_799_999_999)
        .prop_map(|(relay, epoch, sequence, at)| Origin {
            relay,
            epoch,
            sequence,
            accepted_at: Timestamp::from_unix_micros(at),
        })
}

/// What a journal may hold: events as Flipt wrote them, in any wrapping, and anything at all of other kinds.
fn a_record() -> impl Strategy<Value = StoredRecord> {
    let events = events();
    let event = (0..events.len(), 0_usize..4).prop_map(move |(index, wrapping)| {
        let line = events[index];
        let time = "2026-11-22T07:32:30.123456789Z";
        let (head, tail) = line.split_at(line.char_indices().nth(30).unwrap().0);
        let (framing, text) = match wrapping {
            0 => (Framing::Auto, line.to_owned()),
            1 => (Framing::Auto, format!("  {line}\t")),
            2 => (Framing::Cri, format!("{time} stdout F {line}")),
            _ => (Framing::Cri, format!("{time} stdout P {head}\n{time} stdout F {tail}")),
        };
        (RecordKind::Event, framing, text.into_bytes())
    });
    let bytes = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        "\\PC{0,80}".prop_map(String::into_bytes),
        "[\\x00-\\x1f\"\\\\{}]{0,80}".prop_map(String::into_bytes),
    ];
    let other = (1_usize..5, any::<bool>(), bytes).prop_map(|(kind, cri, bytes)| {
        (RecordKind::ALL[kind], if cri { Framing::Cri } else { Framing::Auto }, bytes)
    });
    let text = || prop::option::of("\\PC{0,60}");
    let parent = prop_oneof![
        Just(None),
        "0[0-9a-f]-[0-9a-f]{32}-[0-9a-f]{16}-0[01](-[a-z]{1,9})?".prop_map(Some),
        "\\PC{0,60}".prop_map(Some)
    ];
    let record =
        prop_oneof![event, other].prop_map(|(kind, framing, original)| stored(kind, framing, original));
    (record, text(), parent, text(), prop::option::of(an_origin())).prop_map(
        |(mut record, detail, traceparent, tracestate, origin)| {
            record.trace = traceparent.map(|traceparent| TraceContext { traceparent, tracestate });
            (record.detail, record.origin) = (detail, origin);
            record
        },
    )
}

proptest! {
    #[test]
    fn what_is_handed_on_is_what_was_stored(record in a_record()) {
        let there = handed_on(record.clone());
        prop_assert_eq!((there.id, there.kind, there.framing), (Some(record.id), record.kind, record.framing));
        prop_assert_eq!(&there.original, &record.original);
        // What no request could have brought goes no further.
        let trace = record.trace.as_ref().and_then(|trace| {
            TraceContext::received(&trace.traceparent, trace.tracestate.as_deref())
        });
        prop_assert_eq!((&there.detail, &there.trace), (&record.detail, &trace));
        let own = Origin { relay: "pod-1".into(), epoch: "4f1c".into(), sequence: 42, accepted_at: record.accepted_at };
        prop_assert_eq!(there.origin, Some(record.origin.unwrap_or(own)));
    }

    #[test]
    fn nothing_that_comes_ends_the_reading(bytes in prop::collection::vec(any::<u8>(), 0..300), cut in 0_usize..2_000) {
        let _ = read(&bytes);
        let whole = written(stored(RecordKind::Event, Framing::Auto, events()[5].into()));
        let _ = read(&whole[..cut.min(whole.len())]);
        let mut altered = whole.clone();
        let at = cut % whole.len();
        altered[at] = altered[at].wrapping_add(1 + (bytes.len() % 250) as u8);
        if let Some(Ok(handed)) = read(&altered) {
            prop_assert!(handed.id.fits(&handed.original));
        }
    }
}

#[test]
fn an_event_belongs_where_its_bytes_say_at_the_hub() {
    for line in events() {
        let there = handed_on(stored(RecordKind::Event, Framing::Auto, line.into()));
        let LineKind::Event { time, keys, news } = read_line(line.as_bytes(), Framing::Auto, "flipt") else {
            panic!("{line}")
        };
        assert_eq!((there.event_time, there.keys, there.news), (time, keys, news));
    }
}

#[test]
fn what_flipt_pushes_is_none_of_ours() {
    let bodies = include_str!("../../../../tests/fixtures/flipt/v0.2_webhook_bodies.ndjson");
    for body in bodies.lines() {
        assert_eq!(read(body.as_bytes()), None);
    }
    for other in [
        "",
        "{",
        "[]",
        "1",
        r#""spec""#,
        r#"{"spec":"1"}"#,
        r#"{"spec":1,"id":"evt_"}"#,
        r#"{"spec":"1","id":"of something else"}"#,
    ] {
        assert_eq!(read(other.as_bytes()), None, "{other}");
    }
    assert_eq!(read(b"{\"spec\":\"1\",\"id\":\"evt_\xff\"}"), None);
}

/// What is said of an envelope that `change` was done to.
fn told(change: impl FnOnce(&mut Value)) -> String {
    let whole = written(stored(RecordKind::Gap, Framing::Auto, b"not {json".to_vec()));
    let mut envelope: Value = serde_json::from_slice(&whole).unwrap();
    assert_eq!(envelope["record"]["encoding"], "utf-8");
    change(&mut envelope);
    read(envelope.to_string().as_bytes()).unwrap().unwrap_err()
}

#[test]
fn an_envelope_that_cannot_be_taken_says_why() {
    let changed = |envelope: &mut Value| envelope["record"]["original"] = json!("not {jsom");
    assert!(told(changed).contains("changed on the way"));
    assert!(told(|envelope| envelope["spec"] = json!("2")).contains("version"));
    assert!(told(|envelope| envelope["id"] = json!("evt_")).contains("not whole"));
    let webhook = told(|envelope| drop(envelope.as_object_mut().unwrap().remove("record")));
    assert!(webhook.contains("only a destination of `type: relay` sends"), "{webhook}");
    assert!(told(|envelope| drop(envelope.as_object_mut().unwrap().remove("origin"))).contains("not whole"));
    assert!(told(|envelope| envelope["origin"]["relay"] = json!("")).contains("which relay"));
    assert!(
        told(|envelope| envelope["origin"]["journal"] = json!("x".repeat(513))).contains("which journal")
    );
    assert!(told(|envelope| envelope["record"]["encoding"] = json!("base64")).contains("base64"));
    assert!(told(|envelope| envelope["record"]["original"] = Value::Null).contains("without the bytes"));
    assert!(told(|envelope| envelope["record"]["encoding"] = json!("data")).contains("without the bytes"));
    assert!(told(|envelope| envelope["record"]["kind"] = json!("<secret>")).contains("not whole"));
}

#[test]
fn what_only_another_release_can_read_is_kept_under_its_id() {
    let record = stored(RecordKind::Event, Framing::Auto, br#"{"kind":"of the future"}"#.to_vec());
    let there = handed_on(record.clone());
    assert_eq!(
        (there.id, there.kind, there.original),
        (Some(record.id), RecordKind::Unparsed, record.original)
    );
    let detail: UnparsedDetail = serde_json::from_str(&there.detail.unwrap()).unwrap();
    assert_eq!(detail.reason, "no audit event: \"type\" is missing, or is no string");
}

#[test]
fn the_largest_lines_fit_through_the_door_of_a_hub() {
    const LINE: usize = 4 << 20;
    const MAX_BODY: usize = 8 << 20;
    let event = |key: &str, fill: &str| {
        let text = format!(
            r#"{{"type":"flag","action":"updated","metadata":{{"actor":{{"name":"{key}"}}}},"payload":{{"key":"{key}","namespace_key":"{key}","description":"{fill}"}}}}"#
        );
        assert!(text.len() <= LINE);
        stored(RecordKind::Event, Framing::Auto, text.into_bytes())
    };
    let quarter = "k".repeat(LINE / 3 - 100);
    let cri = |fill: &str| {
        format!(
            "2026-11-22T07:32:30.123456789Z stdout F {{\"type\":\"flag\",\"action\":\"updated\",\"x\":\"{fill}\"}}"
        )
    };
    let all = [
        event("k", &"x".repeat(LINE - 200)),
        event(&quarter, ""),
        event("k", &"\\\"".repeat(LINE / 2 - 100)),
        stored(RecordKind::Event, Framing::Cri, cri(&"\\\\".repeat(LINE / 2 - 100)).into_bytes()),
        stored(RecordKind::Unparsed, Framing::Auto, vec![1; LINE]),
        stored(RecordKind::Unparsed, Framing::Auto, vec![0xff; LINE]),
        stored(RecordKind::Gap, Framing::Auto, vec![b'"'; LINE]),
    ];
    for record in all {
        let out = written(record.clone());
        assert!(out.len() <= MAX_BODY, "{} bytes", out.len());
        assert!(read(&out).unwrap().unwrap().into_record("flipt").original == record.original);
    }
}

#[test]
fn a_trace_that_is_none_is_dropped_and_its_record_kept() {
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let handed_on = |traceparent: &str, tracestate: &str| {
        let trace =
            TraceContext { traceparent: traceparent.to_owned(), tracestate: Some(tracestate.to_owned()) };
        let record = StoredRecord {
            trace: Some(trace),
            ..stored(RecordKind::Event, Framing::Auto, events()[5].into())
        };
        let there = handed_on(record.clone());
        assert_eq!(
            (there.id, there.kind, &there.original),
            (Some(record.id), RecordKind::Event, &record.original)
        );
        there.trace.map(|trace| (trace.traceparent, trace.tracestate))
    };
    let states = |state: &str| Some((parent.to_owned(), Some(state.to_owned())));
    assert_eq!(handed_on(parent, "a=1"), states("a=1"));
    assert_eq!(handed_on(parent, "a=1\r\nx: y"), Some((parent.to_owned(), None)));
    assert_eq!(handed_on(parent, &"x".repeat(600)), Some((parent.to_owned(), None)));
    for wrong in [
        "",
        "hello",
        "00-0-0-0",
        "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-\n",
        &"x".repeat(9_999),
    ] {
        assert_eq!(handed_on(wrong, "a=1"), None);
    }
}

#[test]
fn what_is_too_long_is_kept_as_its_head_under_its_id() {
    const LINE: usize = 4 << 20;
    let trace = TraceContext::received("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", None);
    let long = format!(r#"{{"type":"flag","action":"updated","payload":{{"key":"{}"}}}}"#, "k".repeat(LINE));
    for (kind, original) in
        [(RecordKind::Event, long.into_bytes()), (RecordKind::Unparsed, vec![0xff; LINE + 1])]
    {
        let record = StoredRecord { trace: trace.clone(), ..stored(kind, Framing::Cri, original) };
        let there = handed_on(record.clone());
        assert_eq!(
            (there.id, there.kind, there.framing),
            (Some(record.id), RecordKind::Oversized, Framing::Cri)
        );
        assert_eq!((&there.trace, there.origin.as_ref().map(|origin| origin.sequence)), (&trace, Some(42)));
        assert!(there.news.is_none() && there.keys == Keys::barrier(Namespace::None));
        let detail: OversizedDetail = serde_json::from_str(there.detail.as_deref().unwrap()).unwrap();
        let kept = detail.kept_bytes as usize;
        assert_eq!((detail.length_bytes, kept), (record.original.len() as u64, 64 << 10));
        assert!(there.original == record.original[..kept]);
        // Another hub behind this one knows it by the same id, though it has the head alone.
        let here = StoredRecord {
            id: record.id,
            detail: there.detail.clone(),
            ..stored(RecordKind::Oversized, Framing::Cri, there.original.clone())
        };
        let further = handed_on(here.clone());
        assert_eq!((further.id, further.kind), (Some(record.id), RecordKind::Oversized));
        assert!((further.original, further.detail) == (there.original, there.detail));
        let other = StoredRecord {
            detail: here.detail.as_ref().map(|detail| detail.replace("\"sha256\":\"", "\"sha256\":\"0")),
            ..here
        };
        assert!(read(&written(other)).unwrap().unwrap_err().contains("changed on the way"));
    }
    for kind in [RecordKind::Oversized, RecordKind::Gap, RecordKind::Act] {
        let whole = written(stored(kind, Framing::Auto, vec![b' '; LINE + 1]));
        assert!(read(&whole).unwrap().unwrap_err().contains("longer than any"), "{kind:?}");
    }
    let talkative = StoredRecord {
        detail: Some("x".repeat(20_000)),
        ..stored(RecordKind::Unparsed, Framing::Auto, b"{".to_vec())
    };
    assert!(read(&written(talkative)).unwrap().unwrap_err().contains("says more"));
}
