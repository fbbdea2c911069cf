//! Ids of spans. Those of an acceptance are fixed before its commit, since the journal keeps them, and the span is
//! made after it.

use std::cell::Cell;

use opentelemetry::trace::{SpanContext, SpanId, TraceId};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};

thread_local! {
    static FIXED: Cell<Option<(TraceId, SpanId)>> = const { Cell::new(None) };
}

/// Random ids, or those that were fixed for the span that is being made: see [`with_ids_of`].
#[derive(Debug, Clone, Default)]
pub struct Ids(RandomIdGenerator);

impl IdGenerator for Ids {
    fn new_trace_id(&self) -> TraceId {
        FIXED.get().map_or_else(|| self.0.new_trace_id(), |(trace, _)| trace)
    }

    fn new_span_id(&self) -> SpanId {
        FIXED.get().map_or_else(|| self.0.new_span_id(), |(_, span)| span)
    }
}

/// Gives the one span that `make` makes the ids of `context`.
pub(super) fn with_ids_of<T>(context: &SpanContext, make: impl FnOnce() -> T) -> T {
    FIXED.set(Some((context.trace_id(), context.span_id())));
    let made = make();
    FIXED.set(None);
    made
}
