//! What the SDK's exporter says in its own log, and nowhere else: that the collector rejected a part of a request.
//!
//! It hears the one task in which a request is made, so that everything else that is logged there ends here too.

use std::sync::{Arc, Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Dispatch, Event, Metadata, Subscriber};

/// The crate that says it.
const TARGET: &str = "opentelemetry-otlp";
/// As it is called for HTTP and for gRPC.
const EVENTS: [&str; 2] = ["HttpTraceClient.PartialSuccess", "TonicTracesClient.PartialSuccess"];

/// What was heard since it was last asked.
#[derive(Debug, Clone, Default)]
pub(super) struct Overheard(Arc<Mutex<Rejection>>);

/// A part that was rejected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Rejection {
    /// How many spans.
    pub(super) spans: u64,
    /// What the collector says about it.
    pub(super) message: String,
}

impl Overheard {
    /// What a task is to be run with in order to be heard.
    pub(super) fn dispatch(&self) -> Dispatch {
        Dispatch::new(Ear(self.clone()))
    }

    /// Gives what was heard, and forgets it.
    pub(super) fn take(&self) -> Rejection {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

struct Ear(Overheard);

fn is_heard(metadata: &Metadata<'_>) -> bool {
    metadata.target() == TARGET && EVENTS.contains(&metadata.name())
}

impl Subscriber for Ear {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if is_heard(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        is_heard(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::WARN)
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut heard = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        event.record(&mut *heard);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

impl Visit for Rejection {
    fn record_i64(&mut self, field: &Field, value: i64) {
        if field.name() == "rejected_spans" {
            self.spans = self.spans.saturating_add(value.max(0).unsigned_abs());
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "error_message" {
            value.clone_into(&mut self.message);
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}
