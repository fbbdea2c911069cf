//! Metrics, sent every so often. Nothing waits: what was not taken is made up for by the next request, since all
//! values are cumulative.

use std::io::Write as _;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry_http::Bytes;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_sdk::Resource;
use prost::Message as _;
use reqwest::header::HeaderValue;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tonic::codec::CompressionEncoding;
use tonic::transport::Channel;

use super::channel::{self, OwnMetadata};
use super::client::{self, Client, MAX_ANSWER_BYTES};
use super::counts::Counts;
use super::metrics::{Beginnings, request};
use super::teller::{Teller, rejected};
use crate::config::plan::OtlpProtocol;
use crate::event::Timestamp;
use crate::telemetry::instruments::Reading;
use crate::telemetry::settings::Signal;

/// What was read at one moment.
#[derive(Debug, Clone)]
pub struct Gathered {
    /// Of all instruments.
    pub readings: Vec<Reading>,
    /// When the journal was made: since then it counts what outlives the process.
    pub journal_began_at: Timestamp,
}

/// Reads all instruments; `None` when that fails.
pub type Gather = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Option<Gathered>> + Send>> + Send + Sync>;

/// Where what becomes of requests is counted and told.
pub(super) struct Books {
    pub(super) counts: Counts,
    pub(super) teller: Arc<Teller>,
    /// Since when the process counts.
    pub(super) started_at: Timestamp,
}

/// Sends metrics until it is dropped or ended.
pub(super) struct Pushing {
    pusher: Arc<Mutex<Pusher>>,
    gather: Gather,
    task: JoinHandle<()>,
    last: Option<Gathered>,
}

impl Pushing {
    /// Sends what `gather` reads once in an interval, the first time after one.
    ///
    /// # Errors
    /// What of the signal cannot be used, without secrets.
    pub(super) fn start(
        signal: &Signal,
        interval: Duration,
        resource: Resource,
        gather: Gather,
        books: Books,
    ) -> Result<Self, String> {
        let pusher = Pusher {
            transport: Transport::new(signal)?,
            timeout: signal.timeout,
            resource,
            beginnings: Beginnings::new(books.started_at),
            books,
        };
        let pusher = Arc::new(Mutex::new(pusher));
        let task = tokio::spawn({
            let (pusher, gather) = (Arc::clone(&pusher), Arc::clone(&gather));
            async move {
                let mut ticks = interval_at(Instant::now() + interval, interval);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                loop {
                    ticks.tick().await;
                    if let Some(gathered) = gather().await {
                        pusher.lock().await.push(&gathered).await;
                    }
                }
            }
        });
        Ok(Self { pusher, gather, task, last: None })
    }

    /// Reads once more what [`Pushing::end`] then sends.
    pub(super) async fn read_last(&mut self, within: Duration) {
        self.task.abort();
        self.last = tokio::time::timeout(within, (self.gather)()).await.ok().flatten();
    }

    /// Sends what was read last.
    pub(super) async fn end(mut self) {
        self.task.abort();
        if let Some(last) = self.last.take() {
            // What the task was sending is given up: this is newer.
            self.pusher.lock().await.push(&last).await;
        }
    }
}

impl Drop for Pushing {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Pusher {
    transport: Transport,
    timeout: Duration,
    resource: Resource,
    beginnings: Beginnings,
    books: Books,
}

impl Pusher {
    async fn push(&mut self, gathered: &Gathered) {
        let request = request(gathered, &self.resource, &mut self.beginnings, Timestamp::now());
        let sent = tokio::time::timeout(self.timeout, self.transport.send(request)).await;
        let sent = sent.unwrap_or_else(|_| Err("no answer in time".to_owned()));
        self.books.counts.metric_request(sent.is_ok());
        match sent {
            Ok(()) => self.books.teller.sent(),
            Err(reason) => self.books.teller.lost(1, &reason),
        }
    }
}

enum Transport {
    Http { client: Client, gzip: bool },
    Grpc { client: MetricsServiceClient<Channel>, metadata: OwnMetadata },
}

impl Transport {
    fn new(signal: &Signal) -> Result<Self, String> {
        if signal.protocol == OtlpProtocol::HttpProtobuf {
            return Ok(Self::Http { client: Client::new(signal)?, gzip: signal.gzip });
        }
        let (channel, metadata) = channel::connect(signal)?;
        let client = MetricsServiceClient::new(channel)
            .accept_compressed(CompressionEncoding::Gzip)
            .max_decoding_message_size(MAX_ANSWER_BYTES);
        let client = match signal.gzip {
            true => client.send_compressed(CompressionEncoding::Gzip),
            false => client,
        };
        Ok(Self::Grpc { client, metadata })
    }

    /// Sends a request, once.
    async fn send(&mut self, request: ExportMetricsServiceRequest) -> Result<(), String> {
        let response = match self {
            Self::Http { client, gzip } => {
                let (body, encoding) = match gzip {
                    true => (compressed(&request.encode_to_vec())?, Some(HeaderValue::from_static("gzip"))),
                    false => (request.encode_to_vec().into(), None),
                };
                let answer = client.post(body, encoding).await?;
                if let Some(refusal) = client::refusal(answer.status) {
                    return Err(refusal);
                }
                // One that cannot be read says nothing: the request was taken.
                ExportMetricsServiceResponse::decode(answer.body).unwrap_or_default()
            }
            Self::Grpc { client, metadata } => {
                let answer = client.export(metadata.on(request)).await;
                answer.map_err(|status| channel::refusal(&status))?.into_inner()
            }
        };
        match response.partial_success {
            Some(partial) if partial.rejected_data_points > 0 => Err(rejected(&partial.error_message)),
            _ => Ok(()),
        }
    }
}

fn compressed(body: &[u8]) -> Result<Bytes, String> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    let done = encoder.write_all(body).and_then(|()| encoder.finish());
    done.map(Bytes::from).map_err(|error| error.to_string())
}
