//! Spans on their way: the gate that bounds what waits, and the exporter that counts what became of it.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_otlp::{
    Compression, Protocol, SpanExporter as Otlp, WithExportConfig, WithHttpConfig, WithTonicConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{BatchSpanProcessor, Span, SpanData, SpanExporter, SpanProcessor};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tracing::Dispatch;
use tracing::instrument::WithSubscriber as _;

use super::channel;
use super::client::{Client, Problem};
use super::counts::Lost;
use super::ledger::{Ledger, estimated_bytes};
use super::overheard::Overheard;
use super::teller::rejected;
use crate::config::plan::OtlpProtocol;
use crate::telemetry::settings::Signal;

/// Spans in one request, at most, by [`estimated_bytes`]: collectors take 4 MiB over gRPC by default.
const MAX_REQUEST_BYTES: usize = 2 << 20;

/// Lets a span through to those that wait while there is room.
#[derive(Debug)]
pub(super) struct Gate {
    ledger: Arc<Ledger>,
    inner: BatchSpanProcessor,
}

impl Gate {
    /// In front of those that wait.
    pub(super) fn new(ledger: Arc<Ledger>, inner: BatchSpanProcessor) -> Self {
        Self { ledger, inner }
    }
}

impl SpanProcessor for Gate {
    fn on_start(&self, _span: &mut Span, _context: &Context) {
        self.ledger.begin();
    }

    fn on_end(&self, span: SpanData) {
        if self.ledger.admit(&span) {
            self.inner.on_end(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// Sends spans, and counts what became of them.
///
/// The SDK calls it on a thread of its own, where it waits. The work is done on the relay's runtime: there a request
/// and the pauses between its repetitions are bounded, and can be given up.
#[derive(Debug)]
pub(super) struct Exporter {
    inner: Arc<Otlp>,
    runtime: Handle,
    ledger: Arc<Ledger>,
    /// All of what it still is to send is lost.
    stop: CancellationToken,
    timeout: Duration,
    overheard: Overheard,
    dispatch: Dispatch,
    problem: Option<Problem>,
}

impl Exporter {
    /// By the settings of a signal, on the runtime in which this is called.
    ///
    /// # Errors
    /// What of them cannot be used, without secrets.
    pub(super) fn new(signal: &Signal, ledger: Arc<Ledger>, stop: CancellationToken) -> Result<Self, String> {
        let (inner, problem) = otlp(signal)?;
        let overheard = Overheard::default();
        Ok(Self {
            inner: Arc::new(inner),
            runtime: Handle::current(),
            ledger,
            stop,
            timeout: signal.timeout,
            dispatch: overheard.dispatch(),
            overheard,
            problem,
        })
    }

    async fn send(&self, spans: Vec<SpanData>) -> OTelSdkResult {
        let (count, bytes) = (spans.len(), spans.iter().map(estimated_bytes).sum());
        let given_up = || {
            self.ledger.fail(count, bytes, Lost::Shutdown, "");
            Err(OTelSdkError::AlreadyShutdown)
        };
        if self.stop.is_cancelled() {
            return given_up();
        }
        let (inner, timeout) = (Arc::clone(&self.inner), self.timeout);
        let export = async move { tokio::time::timeout(timeout, inner.export(spans)).await };
        let mut task = self.runtime.spawn(export.with_subscriber(self.dispatch.clone()));
        let ended = tokio::select! {
            biased;
            ended = &mut task => ended,
            () = self.stop.cancelled() => {
                task.abort();
                return given_up();
            }
        };
        let rejection = self.overheard.take();
        let problem = self.problem.as_ref().and_then(Problem::take);
        let error = match ended {
            Ok(Ok(Ok(()))) => {
                let reason = rejected(&rejection.message);
                self.ledger.export(count, bytes, rejection.spans, &reason);
                return Ok(());
            }
            Ok(Ok(Err(error))) => error,
            Ok(Err(_)) => OTelSdkError::Timeout(timeout),
            // The runtime has ended before the relay has, which is about to.
            Err(_) => return given_up(),
        };
        let reason = match (&error, problem) {
            (OTelSdkError::Timeout(_), None) => "no answer in time".to_owned(),
            (_, Some(problem)) => problem,
            (other, None) => in_plain_words(&other.to_string()),
        };
        self.ledger.fail(count, bytes, Lost::ExportFailed, &reason);
        Err(error)
    }
}

impl SpanExporter for Exporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let mut result = Ok(());
        for part in parts(batch) {
            result = result.and(self.send(part).await);
        }
        result
    }

    fn set_resource(&mut self, resource: &Resource) {
        // It is told before there are any spans, while nobody else holds it.
        if let Some(inner) = Arc::get_mut(&mut self.inner) {
            inner.set_resource(resource);
        }
    }
}

/// What the SDK says of a failure over gRPC: its code, and the cause where it lies on this side.
fn in_plain_words(error: &str) -> String {
    let Some((_, code)) = error.split_once("gRPC code: ") else { return error.to_owned() };
    match code.split_once(": ") {
        Some((_, cause)) => cause.to_owned(),
        None => format!("the collector answers {code}"),
    }
}

/// As few requests as keep to [`MAX_REQUEST_BYTES`], where that is possible.
fn parts(batch: Vec<SpanData>) -> Vec<Vec<SpanData>> {
    let (mut parts, mut bytes) = (vec![Vec::new()], 0);
    for span in batch {
        let more = estimated_bytes(&span);
        if bytes > 0 && bytes + more > MAX_REQUEST_BYTES {
            parts.push(Vec::new());
            bytes = 0;
        }
        bytes += more;
        parts.last_mut().expect("there is one from the beginning").push(span);
    }
    parts.retain(|part| !part.is_empty());
    parts
}

/// The exporter of the SDK, with nothing left to it that it would look up in the environment by itself.
fn otlp(signal: &Signal) -> Result<(Otlp, Option<Problem>), String> {
    // What it says may hold the address.
    let unusable = |_| "the exporter cannot be set up".to_owned();
    match signal.protocol {
        OtlpProtocol::HttpProtobuf => {
            let client = Client::new(signal)?;
            let problem = client.problem();
            let mut builder = Otlp::builder()
                .with_http()
                .with_protocol(Protocol::HttpBinary)
                .with_endpoint(client.address())
                .with_timeout(signal.timeout)
                .with_http_client(client);
            if signal.gzip {
                builder = builder.with_compression(Compression::Gzip);
            }
            Ok((builder.build().map_err(unusable)?, Some(problem)))
        }
        OtlpProtocol::Grpc => {
            let (channel, metadata) = channel::connect(signal)?;
            let mut builder = Otlp::builder()
                .with_tonic()
                .with_protocol(Protocol::Grpc)
                .with_timeout(signal.timeout)
                .with_channel(channel)
                .with_interceptor(metadata);
            if signal.gzip {
                builder = builder.with_compression(Compression::Gzip);
            }
            Ok((builder.build().map_err(unusable)?, None))
        }
    }
}
