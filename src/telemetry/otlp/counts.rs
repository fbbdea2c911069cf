//! What became of spans and of requests with metrics, counted: the SDK does not say.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Why a span was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lost {
    /// Too many, or too large ones, waited.
    QueueFull,
    /// The collector was not reached, or did not take the request.
    ExportFailed,
    /// The collector took the request without it.
    Rejected,
    /// The relay, or this way to the collector, ended before it was sent.
    Shutdown,
}

/// Counts for the life of the process, over all reloads. Cheap to clone; all clones count together.
#[derive(Debug, Clone, Default)]
pub struct Counts(Arc<Cells>);

#[derive(Debug, Default)]
struct Cells {
    has_traces: AtomicBool,
    exported: AtomicU64,
    queue_full: AtomicU64,
    export_failed: AtomicU64,
    rejected: AtomicU64,
    shutdown: AtomicU64,
    has_metrics: AtomicBool,
    metrics_exported: AtomicU64,
    metrics_failed: AtomicU64,
}

/// Spans that have ended, by what became of them; those that still wait are not among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SpanCounts {
    /// The collector took them.
    pub exported: u64,
    /// Too many, or too large ones, waited.
    pub queue_full: u64,
    /// The collector was not reached, or did not take the request.
    pub export_failed: u64,
    /// The collector took the request without them.
    pub rejected: u64,
    /// The relay, or the way to a collector, ended before they were sent.
    pub shutdown: u64,
}

/// Requests with metrics, by what became of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MetricCounts {
    /// The collector took them.
    pub exported: u64,
    /// The collector was not reached, did not take the request, or only a part of it.
    pub failed: u64,
}

impl Counts {
    /// Of spans; `None` where none were ever to be sent.
    #[must_use]
    pub fn spans(&self) -> Option<SpanCounts> {
        let cells = &self.0;
        let is_there = cells.has_traces.load(Ordering::Relaxed);
        is_there.then(|| SpanCounts {
            exported: cells.exported.load(Ordering::Relaxed),
            queue_full: cells.queue_full.load(Ordering::Relaxed),
            export_failed: cells.export_failed.load(Ordering::Relaxed),
            rejected: cells.rejected.load(Ordering::Relaxed),
            shutdown: cells.shutdown.load(Ordering::Relaxed),
        })
    }

    /// Of requests with metrics; `None` where none were ever to be sent.
    #[must_use]
    pub fn metrics(&self) -> Option<MetricCounts> {
        let cells = &self.0;
        let is_there = cells.has_metrics.load(Ordering::Relaxed);
        is_there.then(|| MetricCounts {
            exported: cells.metrics_exported.load(Ordering::Relaxed),
            failed: cells.metrics_failed.load(Ordering::Relaxed),
        })
    }

    pub(super) fn begin_traces(&self) {
        self.0.has_traces.store(true, Ordering::Relaxed);
    }

    pub(super) fn begin_metrics(&self) {
        self.0.has_metrics.store(true, Ordering::Relaxed);
    }

    pub(super) fn export(&self, spans: u64) {
        self.0.exported.fetch_add(spans, Ordering::Relaxed);
    }

    pub(super) fn lose(&self, spans: u64, why: Lost) {
        let cell = match why {
            Lost::QueueFull => &self.0.queue_full,
            Lost::ExportFailed => &self.0.export_failed,
            Lost::Rejected => &self.0.rejected,
            Lost::Shutdown => &self.0.shutdown,
        };
        cell.fetch_add(spans, Ordering::Relaxed);
    }

    pub(super) fn metric_request(&self, is_taken: bool) {
        let cell = if is_taken { &self.0.metrics_exported } else { &self.0.metrics_failed };
        cell.fetch_add(1, Ordering::Relaxed);
    }
}

impl SpanCounts {
    /// By the `outcome` that instruments tell.
    #[must_use]
    pub const fn by_outcome(&self) -> [(&'static str, u64); 5] {
        [
            ("exported", self.exported),
            ("queue_full", self.queue_full),
            ("export_failed", self.export_failed),
            ("rejected", self.rejected),
            ("shutdown", self.shutdown),
        ]
    }
}

impl MetricCounts {
    /// By the `outcome` that instruments tell.
    #[must_use]
    pub const fn by_outcome(&self) -> [(&'static str, u64); 2] {
        [("exported", self.exported), ("failed", self.failed)]
    }
}
