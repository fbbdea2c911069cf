//! What a record brings to a decision.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::delivery::judge::Decision;
use crate::delivery::{Judge, decisions, with_facts};
use crate::event::{
    EntityKind, EventId, Framing, Incarnation, Known, Namespace, OrderKey, RecordKind, StoredRecord,
    Timestamp,
};
use crate::flipt::{self, AuditEvent};
use crate::journal::Outline;
use crate::routing::{Conditions, Owner, Owners, Pattern, Route, RouteDecision, RouteTable};

fn patterns(words: &[&str]) -> Vec<Pattern> {
    words.iter().map(|word| Pattern::new(*word)).collect()
}

fn table(when: Conditions) -> RouteTable {
    let owner = Owner {
        flags: patterns(&["check*"]),
        segments: Vec::new(),
        namespaces: Vec::new(),
        team: "payments".into(),
        slack: None,
        services: Vec::new(),
    };
    RouteTable {
        routes: vec![Route { name: "r".into(), when, unless: None, to: vec!["d".into()] }],
        owners: Arc::new(Owners(vec![owner])),
        ..RouteTable::default()
    }
}

/// A rollout of the flag `checkout` in `prod`.
fn rollout(known: Option<&str>) -> StoredRecord {
    let original = br#"{"type":"rollout","action":"updated","payload":{"id":"e1","flag_key":"checkout"}}"#;
    StoredRecord {
        sequence: 1,
        id: EventId::of_line(Incarnation::name("audit-relay", "flipt", b"", 0), 0, original),
        kind: RecordKind::Event,
        source: "flipt".into(),
        instance: "flipt".into(),
        epoch: "epoch".into(),
        accepted_at: Timestamp::from_unix_micros(1_795_332_443_000_000),
        event_time: None,
        namespace: Namespace::Known("prod".into()),
        entity: None,
        order_key: Some(OrderKey::new("flipt", "prod", EntityKind::Flag, "checkout")),
        framing: Framing::Auto,
        original: original.to_vec(),
        detail: None,
        trace: None,
        origin: None,
        known: known.map(Into::into),
        change_set: None,
        running: Duration::ZERO,
    }
}

fn outline(record: &StoredRecord, judge: &Judge) -> Outline {
    Outline {
        sequence: record.sequence,
        kind: record.kind,
        source: record.source.clone(),
        accepted_at: record.accepted_at,
        event_time: record.event_time,
        namespace: record.namespace.clone(),
        detail: record.detail.clone(),
        size_bytes: record.original.len() as u64,
        order_key: record.order_key.clone(),
        original: judge.asks_original().then(|| (record.framing, record.original.clone())),
        known: judge.asks_original().then(|| record.known.clone()).flatten(),
    }
}

/// Whether it goes there, by the record and by its outline.
fn goes(when: Conditions, record: &StoredRecord) -> bool {
    let judge = Judge::new("d", Some(Arc::new(table(when))), Arc::new(BTreeMap::new()), None);
    let decision = judge.decide(record);
    assert_eq!(judge.decide_outline(&outline(record, &judge)), decision);
    decision == Decision::Mine(None)
}

#[test]
fn what_was_known_at_acceptance_decides() {
    let live = || Conditions { live: Some(true), ..Conditions::default() };
    assert!(goes(live(), &rollout(Some(r#"{"live":true}"#))));
    assert!(!goes(live(), &rollout(Some(r#"{"live":false}"#))));
    assert!(!goes(live(), &rollout(None)));
    assert!(!goes(live(), &rollout(Some("damaged"))));
    let lenient = Conditions { unknown_matches: true, ..live() };
    assert!(goes(lenient.clone(), &rollout(None)) && goes(lenient, &rollout(Some("damaged"))));
}

#[test]
fn the_flag_of_its_order_key_decides() {
    let keys = |word: &str| Conditions { keys: patterns(&[word]), ..Conditions::default() };
    assert!(goes(keys("check*"), &rollout(None)));
    assert!(!goes(keys("home"), &rollout(None)));
    let barrier = StoredRecord { order_key: None, ..rollout(None) };
    assert!(!goes(keys("*"), &barrier) && goes(keys("unknown"), &barrier));
    let teams = Conditions { teams: patterns(&["payments"]), ..Conditions::default() };
    assert!(goes(teams.clone(), &rollout(None)) && !goes(teams, &barrier));
}

#[test]
fn an_event_is_read_only_where_a_route_asks() {
    let judge = |when| Judge::new("d", Some(Arc::new(table(when))), Arc::new(BTreeMap::new()), None);
    let keys = Conditions { keys: patterns(&["*"]), ..Conditions::default() };
    assert!(!judge(keys).asks_original());
    for when in [
        Conditions { types: patterns(&["flag"]), ..Conditions::default() },
        Conditions { live: Some(false), ..Conditions::default() },
        Conditions { actors: patterns(&["a"]), ..Conditions::default() },
    ] {
        assert!(judge(when).asks_original());
    }
}

#[test]
fn what_cannot_be_read_has_neither_words_nor_change() {
    let record = StoredRecord { original: b"{".to_vec(), ..rollout(Some(r#"{"live":true}"#)) };
    assert!(!goes(Conditions { live: Some(true), ..Conditions::default() }, &record));
    assert!(!goes(Conditions { types: patterns(&["*"]), ..Conditions::default() }, &record));
}

#[test]
fn an_explanation_decides_as_the_lane_does() {
    let routes = table(Conditions { live: Some(true), keys: patterns(&["home"]), ..Conditions::default() });
    let record = rollout(Some(r#"{"live":true}"#));
    let told = decisions(&routes, &record, Some("production"));
    let [(route, RouteDecision::When(failed))] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!((route.name.as_str(), failed.condition), ("r", "keys"));
    assert_eq!(failed.saw.as_deref(), Some("checkout"));
}

#[test]
fn what_is_found_out_piece_by_piece_is_what_the_change_says() {
    let actor = r#"{"actor":{"authentication":"oidc","name":"Ann","email":"ann@example.com"}}"#;
    let known = r#"{"live":true,"before":{"id":"e1","key":"checkout","name":"a","protected":false}}"#;
    for noun in ["flag", "segment", "token", "namespace", "rollout", "novelty"] {
        for (action, status) in
            [("created", "success"), ("updated", "success"), ("updated", "denied"), ("deleted", "success")]
        {
            for (metadata, known) in [("null", None), (actor, None), (actor, Some(known))] {
                let json = format!(
                    r#"{{"type":"{noun}","action":"{action}","status":"{status}","metadata":{metadata},"payload":{{"id":"e1","key":"checkout","name":"b","protected":true}}}}"#
                );
                let record = StoredRecord { original: json.clone().into_bytes(), ..rollout(known) };
                let expected = flipt::facts(&AuditEvent::parse(&json).unwrap(), &Known::read(known));
                with_facts(&record, None, &Owners::default(), |facts| {
                    let (actor, change) = (facts.actor.get().unwrap(), facts.change.get().unwrap());
                    assert_eq!((actor.kind, actor.names), (expected.actor_kind, &*expected.actors), "{json}");
                    assert_eq!(facts.live.get(), expected.live, "{json}");
                    assert_eq!((change.changed, change.kind), (expected.changed.as_deref(), expected.kind));
                });
            }
        }
    }
}
