//! One way of spans to a collector, from the tracer that makes them on. A reload that changes it makes another one.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::InstrumentationScope;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::counts::Counts;
use super::ledger::Ledger;
use super::spans::{Exporter, Gate};
use super::teller::Teller;
use crate::telemetry::settings::{Settings, Signal};
use crate::telemetry::traces::{Ids, Live, Sampling};

/// How the relay's own spans and metrics are scoped.
pub(super) const SCOPE: &str = "audit-relay";

/// More than enough for the SDK's thread to end once nothing is sent any more.
const ENDING: Duration = Duration::from_secs(1);

/// Makes, keeps and sends spans. When it is dropped, what it has not sent is lost, and counted as that.
#[derive(Debug)]
pub(super) struct Pipeline {
    provider: SdkTracerProvider,
    ledger: Arc<Ledger>,
    stop: CancellationToken,
}

impl Pipeline {
    /// By these settings, on the runtime in which this is called.
    ///
    /// # Errors
    /// What of them cannot be used, without secrets.
    pub(super) fn start(
        settings: &Settings,
        signal: &Signal,
        resource: Resource,
        counts: Counts,
        teller: Arc<Teller>,
    ) -> Result<Self, String> {
        let stop = CancellationToken::new();
        let queue = settings.queue;
        let ledger = Arc::new(Ledger::new(queue.max_spans, counts, teller));
        let exporter = Exporter::new(signal, Arc::clone(&ledger), stop.clone())?;
        // The gate lets no more through than fit; all of it is said here, or the SDK would look it up in the environment.
        let config = BatchConfigBuilder::default()
            .with_max_queue_size(queue.max_spans)
            .with_max_export_batch_size(queue.max_batch)
            .with_scheduled_delay(queue.delay)
            .build();
        let batches = BatchSpanProcessor::builder(exporter).with_batch_config(config).build();
        let provider = SdkTracerProvider::builder()
            .with_resource(resource)
            .with_id_generator(Ids::default())
            .with_sampler(Sampling::new(settings.sampler))
            .with_max_links_per_span(settings.max_links)
            .with_span_processor(Gate::new(Arc::clone(&ledger), batches))
            .build();
        Ok(Self { provider, ledger, stop })
    }

    /// What makes its spans.
    pub(super) fn live(&self, settings: &Settings) -> Live {
        let scope = InstrumentationScope::builder(SCOPE).with_version(env!("CARGO_PKG_VERSION")).build();
        Live {
            tracer: self.provider.tracer_with_scope(scope),
            sampling: Sampling::new(settings.sampler),
            propagates: settings.propagates,
        }
    }

    /// Returns once none of its spans is open.
    pub(super) async fn idle(&self) {
        self.ledger.idle().await;
    }

    #[cfg(test)]
    pub(super) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Sends what waits, as far as that is done by the deadline.
    pub(super) async fn end(self, deadline: Instant) {
        let provider = self.provider.clone();
        let within = deadline.saturating_duration_since(Instant::now());
        // It tells nothing that the ledger does not know.
        let flush = tokio::task::spawn_blocking(move || drop(provider.shutdown_with_timeout(within)));
        let _ = tokio::time::timeout_at(deadline, flush).await;
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        // From here on nothing takes time any more: the SDK's thread gives up what it sends, and ends.
        self.stop.cancel();
        let _ = self.provider.shutdown_with_timeout(ENDING);
        self.ledger.close();
    }
}
