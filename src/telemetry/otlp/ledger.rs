//! Where every span is accounted for: open, waiting, exported, or lost.

use std::mem::size_of;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use opentelemetry::trace::{Event, Link};
use opentelemetry::{Array, KeyValue, StringValue, Value};
use opentelemetry_sdk::trace::SpanData;
use tokio::sync::Notify;

use super::counts::{Counts, Lost};
use super::teller::Teller;

/// What spans that wait may take, by [`estimated_bytes`]. While they are sent it is a few times as much.
const MAX_BYTES: usize = 8 << 20;

/// The accounts of one pipeline.
#[derive(Debug)]
pub(super) struct Ledger {
    max_spans: usize,
    counts: Counts,
    teller: Arc<Teller>,
    state: Mutex<State>,
    idle: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Begun, and not ended.
    open: u64,
    /// Ended, and neither exported nor lost.
    spans: usize,
    bytes: usize,
    /// Nothing is admitted any more, and what was there is counted.
    is_closed: bool,
}

impl Ledger {
    /// Lets so many spans wait.
    pub(super) fn new(max_spans: usize, counts: Counts, teller: Arc<Teller>) -> Self {
        Self { max_spans, counts, teller, state: Mutex::default(), idle: Notify::new() }
    }

    /// A span is begun.
    pub(super) fn begin(&self) {
        let mut state = self.state();
        if state.is_closed {
            self.counts.lose(1, Lost::Shutdown);
        } else {
            state.open += 1;
        }
    }

    /// A span has ended. Whether there is room for it; where there is none, it is lost.
    pub(super) fn admit(&self, span: &SpanData) -> bool {
        let bytes = estimated_bytes(span);
        let mut state = self.state();
        // It was counted as lost when this was closed, or when it was begun after that.
        if state.is_closed {
            return false;
        }
        state.open = state.open.saturating_sub(1);
        if state.open == 0 {
            self.idle.notify_one();
        }
        if state.spans >= self.max_spans || state.bytes.saturating_add(bytes) > MAX_BYTES {
            drop(state);
            self.counts.lose(1, Lost::QueueFull);
            self.teller.lost(1, "more are made than are sent");
            return false;
        }
        state.spans += 1;
        state.bytes += bytes;
        true
    }

    /// The collector took a request with so many spans, save those that it rejected.
    pub(super) fn export(&self, spans: usize, bytes: usize, rejected: u64, reason: &str) {
        if !self.give_back(spans, bytes) {
            return;
        }
        let rejected = rejected.min(spans as u64);
        self.counts.export(spans as u64 - rejected);
        if rejected == 0 {
            return self.teller.sent();
        }
        self.counts.lose(rejected, Lost::Rejected);
        self.teller.lost(rejected, reason);
    }

    /// So many spans were not taken.
    pub(super) fn fail(&self, spans: usize, bytes: usize, why: Lost, reason: &str) {
        if !self.give_back(spans, bytes) {
            return;
        }
        self.counts.lose(spans as u64, why);
        // A shutdown tells of its own.
        if why != Lost::Shutdown {
            self.teller.lost(spans as u64, reason);
        }
    }

    fn give_back(&self, spans: usize, bytes: usize) -> bool {
        let mut state = self.state();
        state.spans = state.spans.saturating_sub(spans);
        state.bytes = state.bytes.saturating_sub(bytes);
        !state.is_closed
    }

    /// Counts as lost what is still open, or waits, and whatever comes later.
    pub(super) fn close(&self) {
        let mut state = self.state();
        if !state.is_closed {
            self.counts.lose(state.open + state.spans as u64, Lost::Shutdown);
            state.is_closed = true;
        }
    }

    /// Returns once no span is open.
    pub(super) async fn idle(&self) {
        loop {
            let ended = self.idle.notified();
            if self.state().open == 0 {
                return;
            }
            ended.await;
        }
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> (usize, usize) {
        let state = self.state();
        (state.spans, state.bytes)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a span takes in memory, about.
pub(super) fn estimated_bytes(span: &SpanData) -> usize {
    let events = span.events.iter();
    let links = span.links.iter();
    let of_events: usize =
        events.map(|event| size_of::<Event>() + event.name.len() + of_all(&event.attributes)).sum();
    let of_links: usize = links.map(|link| size_of::<Link>() + of_all(&link.attributes)).sum();
    size_of::<SpanData>() + span.name.len() + of_all(&span.attributes) + of_events + of_links
}

fn of_all(attributes: &[KeyValue]) -> usize {
    let of_one = |one: &KeyValue| size_of::<KeyValue>() + one.key.as_str().len() + of_value(&one.value);
    attributes.iter().map(of_one).sum()
}

fn of_value(value: &Value) -> usize {
    let of_text = |text: &StringValue| size_of::<StringValue>() + text.as_str().len();
    match value {
        Value::String(text) => text.as_str().len(),
        Value::Array(Array::String(texts)) => texts.iter().map(of_text).sum(),
        Value::Array(Array::Bool(all)) => all.len(),
        Value::Array(Array::I64(all)) => all.len() * size_of::<i64>(),
        Value::Array(Array::F64(all)) => all.len() * size_of::<f64>(),
        _ => 0,
    }
}
