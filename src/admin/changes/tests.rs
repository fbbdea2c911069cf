//! Change sets that are interleaved, and reach over pages.

use std::collections::BTreeMap;

use super::*;
use crate::destination::Delivery;
use crate::event::{
    EntityKind, EventId, Framing, Incarnation, Namespace, OrderKey, Sequence, StoredRecord, Timestamp,
};

/// Seconds after an arbitrary moment.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix_micros((1_795_332_739 + seconds) * 1_000_000)
}

/// An event of a change set, at a moment, accepted at another.
fn event(sequence: Sequence, set: Option<&str>, seconds: i64, accepted: i64) -> Delivery {
    let line = r#"{"type":"flag","action":"updated","metadata":{"actor":{"name":"Ann","email":"ann@example.com"}},"payload":{"key":"a"}}"#;
    let incarnation = Incarnation::name("r", "s", b"first", 0);
    let record = StoredRecord {
        sequence,
        id: EventId::of_line(incarnation, sequence, line.as_bytes()),
        kind: RecordKind::Event,
        source: "flipt".into(),
        instance: "flipt".into(),
        epoch: "epoch".into(),
        accepted_at: at(accepted),
        event_time: Some(at(seconds)),
        namespace: Namespace::Known("default".to_owned()),
        entity: None,
        order_key: Some(OrderKey::new("flipt", "default", EntityKind::Flag, "a")),
        framing: Framing::Auto,
        original: line.into(),
        detail: None,
        trace: None,
        origin: None,
        known: None,
        change_set: set.map(Into::into),
        running: std::time::Duration::ZERO,
    };
    Delivery { record, environment: Some("production".into()) }
}

fn outline(delivery: &Delivery) -> Outline {
    let record = &delivery.record;
    Outline {
        sequence: record.sequence,
        kind: record.kind,
        source: std::sync::Arc::clone(&record.source),
        accepted_at: record.accepted_at,
        event_time: record.event_time,
        namespace: record.namespace.clone(),
        detail: None,
        size_bytes: 0,
        original: None,
        order_key: None,
        known: None,
    }
}

/// Tells events page by page, each page of so many records.
fn told(events: &[Delivery], page: usize) -> Vec<Vec<Sequence>> {
    let by_sequence: BTreeMap<Sequence, &Delivery> =
        events.iter().map(|event| (event.record.sequence, event)).collect();
    let sequences = |members: Vec<Delivery>| members.iter().map(|member| member.record.sequence).collect();
    let (mut told, mut held) = (Vec::new(), Vec::new());
    let pages = events.chunks(page).count();
    for (index, events) in events.chunks(page).enumerate() {
        let mut stories = Stories::default();
        for sequence in &held {
            stories.push(by_sequence[sequence].clone());
        }
        for event in events {
            stories.pass(&outline(event));
            stories.push(event.clone());
            while let Some(members) = stories.pop() {
                told.push(sequences(members));
            }
        }
        if index + 1 == pages {
            while let Some(members) = stories.pop_any() {
                told.push(sequences(members));
            }
        }
        held = stories.sequences();
    }
    told
}

#[test]
fn a_change_set_is_one_story_wherever_pages_end() {
    let events = [
        event(1, None, 0, 0),
        event(2, Some("cs_a"), 1, 1),
        event(3, Some("cs_b"), 2, 2),
        event(4, None, 3, 3),
        event(5, Some("cs_a"), 50, 50),
        event(6, Some("cs_b"), 51, 51),
        event(7, Some("cs_a"), 100, 100),
        event(8, None, 1_000, 1_000),
        event(9, Some("cs_c"), 1_001, 1_001),
    ];
    let expected: Vec<Vec<Sequence>> = vec![vec![1], vec![2, 5, 7], vec![3, 6], vec![4], vec![8], vec![9]];
    for page in 1..=events.len() {
        assert_eq!(told(&events, page), expected, "pages of {page}");
    }
}

#[test]
fn what_is_imported_all_at_once_is_told_all_the_same_as_time_goes_on() {
    let mut events: Vec<Delivery> =
        (0..5_000).map(|n| event(n + 1, Some(&format!("cs_{}", n / 2)), n as i64 * 300, 0)).collect();
    let mut stories = Stories::default();
    let mut longest = 0;
    for event in events.drain(..) {
        stories.pass(&outline(&event));
        stories.push(event);
        while let Some(members) = stories.pop() {
            assert_eq!(members.len(), 2);
        }
        longest = longest.max(stories.sequences().len());
    }
    assert!(longest < 10, "{longest} waited");
}

#[test]
fn too_much_is_never_held() {
    let mut stories = Stories::default();
    let mut told = 0;
    for n in 0..10_000 {
        stories.push(event(n + 1, Some("cs_endless"), 0, 0));
        while let Some(members) = stories.pop() {
            told += members.len();
        }
        assert!(stories.sequences().len() <= 5_000);
    }
    assert_eq!(told + stories.sequences().len(), 10_000);
}

#[test]
fn each_list_that_is_asked_for_must_fit() {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let asks = |environments: &[&str], flags: &[&str], segments: &[&str], actors: &[&str]| {
        Filter::new(&ChangeSelection {
            environments: words(environments),
            flags: words(flags),
            segments: words(segments),
            actors: words(actors),
            ..ChangeSelection::default()
        })
    };
    let event = event(1, None, 0, 0);
    for (filter, expected) in [
        (asks(&[], &[], &[], &[]), Fit::Yes),
        (asks(&["staging", "prod*"], &[], &[], &[]), Fit::Yes),
        (asks(&["staging"], &[], &[], &[]), Fit::No),
        (asks(&[], &["b", "a*"], &[], &[]), Fit::Yes),
        (asks(&[], &["b"], &[], &[]), Fit::No),
        (asks(&[], &[], &["a"], &[]), Fit::No),
        (asks(&[], &["a"], &["b"], &[]), Fit::Yes),
        (asks(&[], &[], &[], &["bob", "ANN@"]), Fit::Yes),
        (asks(&[], &[], &[], &["bob"]), Fit::No),
        (asks(&["production"], &["a"], &[], &["bob"]), Fit::No),
    ] {
        assert_eq!(filter.fits(&event), expected);
    }
    let mut vague = event;
    (vague.environment, vague.record.order_key) = (None, None);
    assert_eq!(asks(&["production"], &[], &[], &[]).fits(&vague), Fit::Unknown);
    assert_eq!(asks(&["production", "unknown"], &[], &[], &[]).fits(&vague), Fit::Yes);
    assert_eq!(asks(&[], &["a"], &[], &[]).fits(&vague), Fit::Unknown);
    assert_eq!(asks(&["production"], &[], &[], &["bob"]).fits(&vague), Fit::No);
}
