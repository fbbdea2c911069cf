//! Traces and metrics on their way to a collector by OTLP (<https://opentelemetry.io/docs/specs/otlp/>).
//!
//! Nothing here ever holds up a delivery: what waits is bounded, and what is lost is counted. Spans go through the SDK
//! and its exporter; metrics are read from the one list of instruments and sent as they are.

mod channel;
mod client;
mod counts;
mod ledger;
mod metrics;
mod overheard;
mod pipeline;
mod push;
mod spans;
mod teller;

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::TelemetryResourceDetector;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::settings::{Settings, Signal};
use super::traces::Tracer;
use crate::event::Timestamp;
use pipeline::Pipeline;
use push::Pushing;
use teller::Teller;

pub use counts::{Counts, MetricCounts, SpanCounts};
pub use push::{Gather, Gathered};

/// How long what a reload has replaced waits for its open spans to end: longer than a request takes.
const OPEN_SPANS: Duration = Duration::from_secs(60);

/// What sends traces and metrics. When it is dropped without [`Telemetry::shut_down`], what waits is lost.
pub struct Telemetry {
    tracer: Tracer,
    counts: Counts,
    started_at: Timestamp,
    settings: Option<Settings>,
    /// What the files held that the settings name, when they were applied.
    certificates: Certificates,
    pipeline: Option<Pipeline>,
    pushing: Option<Pushing>,
    gather: Option<Gather>,
    span_teller: Arc<Teller>,
    metric_teller: Arc<Teller>,
    /// Pipelines that a reload has replaced, and that still send.
    retired: JoinSet<()>,
    /// Those wait for nothing any more.
    hurry: CancellationToken,
    /// When the end has to be over, once it has begun.
    deadline: Option<Instant>,
}

impl Telemetry {
    /// Starts by these settings, on the runtime in which this is called. Where something of them cannot be used, it is
    /// logged, and that signal is off.
    #[must_use]
    pub fn start(settings: &Settings) -> Self {
        let mut telemetry = Self {
            tracer: Tracer::default(),
            counts: Counts::default(),
            started_at: Timestamp::now(),
            settings: None,
            certificates: Certificates::default(),
            pipeline: None,
            pushing: None,
            gather: None,
            span_teller: Arc::new(Teller::of_spans()),
            metric_teller: Arc::new(Teller::of_metrics()),
            retired: JoinSet::new(),
            hurry: CancellationToken::new(),
            deadline: None,
        };
        telemetry.apply(settings);
        telemetry
    }

    /// What makes spans.
    #[must_use]
    pub fn tracer(&self) -> &Tracer {
        &self.tracer
    }

    /// What became of what was to be sent.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Goes on by other settings. What they do not change goes on undisturbed; what is replaced sends what it has in
    /// the background.
    pub fn apply(&mut self, settings: &Settings) {
        while self.retired.try_join_next().is_some() {}
        let old = self.settings.replace(settings.clone());
        let had = std::mem::replace(&mut self.certificates, Certificates::of(settings));
        let differs = had.traces != self.certificates.traces;
        if differs || old.as_ref().is_none_or(|old| of_traces(old) != of_traces(settings)) {
            self.replace_pipeline(settings);
        }
        let differs = had.metrics != self.certificates.metrics;
        if differs || old.as_ref().is_none_or(|old| of_metrics(old) != of_metrics(settings)) {
            self.replace_pushing(settings);
        }
    }

    /// Reads metrics by this from now on; before that none are sent.
    pub fn gather_by(&mut self, gather: Gather) {
        self.gather = Some(gather);
        if let Some(settings) = self.settings.clone() {
            self.replace_pushing(&settings);
        }
    }

    fn replace_pipeline(&mut self, settings: &Settings) {
        let started = settings.traces.as_ref().map(|signal| {
            self.counts.begin_traces();
            let (counts, teller) = (self.counts.clone(), Arc::clone(&self.span_teller));
            Pipeline::start(settings, signal, resource(settings), counts, teller)
        });
        let pipeline = started.transpose().unwrap_or_else(|why| {
            tracing::error!("telemetry: no traces are sent: {why}");
            None
        });
        self.tracer.switch(pipeline.as_ref().map(|pipeline| pipeline.live(settings)));
        if let Some(replaced) = std::mem::replace(&mut self.pipeline, pipeline) {
            let (hurry, within) = (self.hurry.clone(), settings.shutdown_timeout);
            self.retired.spawn(async move {
                tokio::select! {
                    () = replaced.idle() => {}
                    () = tokio::time::sleep(OPEN_SPANS) => {}
                    () = hurry.cancelled() => {}
                }
                replaced.end(Instant::now() + within).await;
            });
        }
    }

    fn replace_pushing(&mut self, settings: &Settings) {
        self.pushing = None;
        let (Some(signal), Some(gather)) = (&settings.metrics, &self.gather) else { return };
        self.counts.begin_metrics();
        let started = Pushing::start(
            signal,
            settings.metric_interval,
            resource(settings),
            Arc::clone(gather),
            push::Books {
                counts: self.counts.clone(),
                teller: Arc::clone(&self.metric_teller),
                started_at: self.started_at,
            },
        );
        match started {
            Ok(pushing) => self.pushing = Some(pushing),
            Err(why) => tracing::error!("telemetry: no metrics are sent: {why}"),
        }
    }

    /// Reads metrics for the last time, while there is something to read them from. [`Telemetry::shut_down`] sends them.
    pub async fn read_last(&mut self) {
        if let (Some(pushing), Some(settings)) = (&mut self.pushing, &self.settings) {
            self.deadline = Some(Instant::now() + settings.shutdown_timeout);
            pushing.read_last(settings.shutdown_timeout).await;
        }
    }

    /// Sends what waits, as far as that is done within `shutdown_timeout`; the rest is lost, and told of.
    pub async fn shut_down(mut self) {
        let Some(settings) = self.settings.take() else { return };
        let deadline = self.deadline.unwrap_or_else(|| Instant::now() + settings.shutdown_timeout);
        let lost = |counts: &Counts| counts.spans().map_or(0, |spans| spans.shutdown);
        let lost_before = lost(&self.counts);
        self.tracer.switch(None);
        self.hurry.cancel();
        let (pipeline, pushing, mut retired) = (self.pipeline.take(), self.pushing.take(), self.retired);
        let spans = async {
            if let Some(pipeline) = pipeline {
                pipeline.end(deadline).await;
            }
        };
        let metrics = async {
            if let Some(pushing) = pushing {
                let _ = tokio::time::timeout_at(deadline, pushing.end()).await;
            }
        };
        let replaced = async {
            let all = async { while retired.join_next().await.is_some() {} };
            let _ = tokio::time::timeout_at(deadline, all).await;
            retired.shutdown().await;
        };
        tokio::join!(spans, metrics, replaced);
        let lost = lost(&self.counts) - lost_before;
        if lost > 0 {
            tracing::warn!(lost, "spans were not sent before the end");
        }
    }
}

/// What the files of each signal hold; `None` for one that cannot be read.
#[derive(Default)]
struct Certificates {
    traces: Vec<Option<Vec<u8>>>,
    metrics: Vec<Option<Vec<u8>>>,
}

impl Certificates {
    fn of(settings: &Settings) -> Self {
        let read = |signal: &Option<Signal>| {
            signal.as_ref().map_or_else(Vec::new, |signal| crate::client::certificates(&signal.tls))
        };
        Self { traces: read(&settings.traces), metrics: read(&settings.metrics) }
    }
}

/// The attributes that all spans and metrics have.
fn resource(settings: &Settings) -> Resource {
    let own = settings.resource.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
    Resource::builder_empty().with_detector(Box::new(TelemetryResourceDetector)).with_attributes(own).build()
}

/// What a pipeline of spans depends on.
fn of_traces(settings: &Settings) -> impl PartialEq {
    let Settings { traces, resource, sampler, propagates, queue, max_links, .. } = settings.clone();
    traces.map(|traces| (traces, resource, sampler, propagates, queue, max_links))
}

/// What sending metrics depends on.
fn of_metrics(settings: &Settings) -> impl PartialEq {
    let Settings { metrics, resource, metric_interval, .. } = settings.clone();
    metrics.map(|metrics| (metrics, resource, metric_interval))
}

#[cfg(test)]
mod tests;
