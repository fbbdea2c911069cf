//! The engine under time, outcomes and crashes at will.

mod books;
mod company;
mod judging;
mod model;
mod order;
mod outcomes;
mod receivers;
mod small_receiver;
mod small_relay;

use std::sync::Arc;
use std::time::Duration;

use proptest::test_runner::Config as ProptestConfig;

use super::clock::Now;
use super::engine::{Engine, Rules};
use crate::config::plan::{BatchPlan, RetryPlan};
use crate::destination::{Company, Delivery, Grouping, Limits, Outcome, Reason, Seldom};
use crate::event::{
    EntityKind, EventId, Framing, Incarnation, Namespace, OrderKey, RecordKind, Sequence, StoredRecord,
    Timestamp,
};
use crate::journal::{Books, DestinationId, DestinationRow, Endpoint};

/// So many cases of a property, or as many as `PROPTEST_CASES` says.
fn cases(usual: u32) -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig {
        cases: asked.unwrap_or(usual),
        max_shrink_iters: 1_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

const START: i64 = 1_795_000_000_000_000;

/// A moment: so long after the beginning, by all clocks.
fn at(steady: Duration) -> Now {
    Now { wall: Timestamp::from_unix_micros(START).plus(steady), steady, running: steady, is_wall_sure: true }
}

fn seconds(seconds: u64) -> Now {
    at(Duration::from_secs(seconds))
}

/// A record of flag `key` (`None`: a barrier) that was accepted when the relay had run so long.
fn delivery(sequence: Sequence, key: Option<&str>, running: Duration) -> Delivery {
    let original = format!("{{\"key\":{key:?},\"sequence\":{sequence}}}").into_bytes();
    let incarnation = Incarnation::name("relay", "flipt", b"first", 0);
    let record = StoredRecord {
        sequence,
        id: EventId::of_line(incarnation, sequence * 100, &original),
        kind: RecordKind::Event,
        source: Arc::from("flipt"),
        instance: Arc::from("flipt"),
        epoch: Arc::from("epoch"),
        accepted_at: Timestamp::from_unix_micros(START).plus(running),
        event_time: Some(Timestamp::from_unix_micros(START).plus(running)),
        namespace: Namespace::Known("default".to_owned()),
        entity: None,
        order_key: key.map(|key| OrderKey::new("flipt", "default", EntityKind::Flag, key)),
        framing: Framing::Auto,
        original,
        detail: None,
        trace: None,
        origin: None,
        known: None,
        change_set: None,
        running,
    };
    Delivery { record, environment: None }
}

fn rules(concurrency: usize, max_events: usize) -> Rules {
    let limits: Limits = BatchPlan { max_events, max_bytes: 1 << 20, timeout: Duration::ZERO }.into();
    Rules {
        destination: "siem".to_owned(),
        retry: RetryPlan { initial_backoff: Duration::from_secs(1), max_backoff: Duration::from_secs(300) },
        limits,
        concurrency,
        rate_limit: None,
        expire_after: None,
        backlog_max_bytes: None,
        reject_limit: 20,
        observe: false,
        discard: false,
        fingerprint: "same".to_owned(),
    }
}

fn row() -> DestinationRow {
    DestinationRow {
        id: DestinationId(1),
        name: "siem".to_owned(),
        first_seen_at: Timestamp::from_unix_micros(START),
        first_sequence: 1,
        cursor: 0,
        acked: Vec::new(),
        books: Books::default(),
        open_batches: Vec::new(),
        quiet: Vec::new(),
        endpoint: Endpoint::default(),
        paused: None,
        orphaned: None,
    }
}

fn reason(code: &'static str) -> Reason {
    Reason { code, message: format!("the receiver said {code}").into() }
}

fn retry() -> Outcome {
    Outcome::Retry { not_before: None, reason: reason("http_5xx") }
}

fn rejected() -> Outcome {
    Outcome::Rejected(reason("rejected"))
}

fn blocked() -> Outcome {
    Outcome::Blocked { gone: false, reason: reason("http_403") }
}
