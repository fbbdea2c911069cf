//! Collectors: one by HTTP, one by gRPC.

use std::collections::VecDeque;
use std::io::Read as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Response, StatusCode};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::sync::watch;
use tonic::codec::CompressionEncoding;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Server, ServerTlsConfig};

use crate::config::plan::OtlpProtocol;

/// What a collector does with a request.
#[derive(Debug, Clone)]
pub(super) enum Reply {
    /// Takes all of it.
    Taken,
    /// Takes it, save so many spans or points.
    Rejects(i64),
    /// Answers with this status of HTTP and these headers, or its counterpart of gRPC.
    Status(u16, &'static [(&'static str, &'static str)]),
    /// Answers with a body that is longer than any should be.
    Endless,
    /// Never answers.
    Nothing,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(super) struct Came {
    pub(super) at: Instant,
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) traces: ExportTraceServiceRequest,
    pub(super) metrics: ExportMetricsServiceRequest,
    pub(super) bytes: usize,
}

impl Came {
    pub(super) fn spans(&self) -> Vec<Span> {
        let scopes = self.traces.resource_spans.iter().flat_map(|of_one| &of_one.scope_spans);
        scopes.flat_map(|scope| scope.spans.clone()).collect()
    }
}

/// Answers by a script, and takes everything after it.
#[derive(Clone)]
pub(super) struct Collector {
    pub(super) address: SocketAddr,
    script: Arc<Mutex<VecDeque<Reply>>>,
    came: Arc<watch::Sender<Vec<Came>>>,
}

impl Collector {
    pub(super) async fn start(protocol: OtlpProtocol, script: impl IntoIterator<Item = Reply>) -> Self {
        Self::with(protocol, script, None).await
    }

    pub(super) async fn with(
        protocol: OtlpProtocol,
        script: impl IntoIterator<Item = Reply>,
        tls: Option<ServerTlsConfig>,
    ) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let collector = Self {
            address: listener.local_addr().unwrap(),
            script: Arc::new(Mutex::new(script.into_iter().collect())),
            came: Arc::new(watch::Sender::new(Vec::new())),
        };
        let it = collector.clone();
        match protocol {
            OtlpProtocol::HttpProtobuf => {
                let routes = axum::Router::new().fallback(http).with_state(it);
                tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
            }
            OtlpProtocol::Grpc => {
                let mut server = Server::builder();
                if let Some(tls) = tls {
                    server = server.tls_config(tls).unwrap();
                }
                let traces = TraceServiceServer::new(it.clone()).accept_compressed(CompressionEncoding::Gzip);
                let metrics = MetricsServiceServer::new(it).accept_compressed(CompressionEncoding::Gzip);
                let served = server.add_service(traces).add_service(metrics);
                tokio::spawn(served.serve_with_incoming(TcpIncoming::from(listener)));
            }
        }
        collector
    }

    /// Everything that came.
    pub(super) fn came(&self) -> Vec<Came> {
        self.came.borrow().clone()
    }

    /// Waits for so many requests.
    pub(super) async fn wait_for(&self, count: usize) -> Vec<Came> {
        let mut came = self.came.subscribe();
        came.wait_for(|came| came.len() >= count).await.unwrap().clone()
    }

    /// The names of all spans that came, in their order.
    pub(super) fn span_names(&self) -> Vec<String> {
        self.came().iter().flat_map(Came::spans).map(|span| span.name).collect()
    }

    fn take(&self, came: Came) -> Reply {
        self.came.send_modify(|all| all.push(came));
        self.script.lock().unwrap().pop_front().unwrap_or(Reply::Taken)
    }
}

async fn http(State(collector): State<Collector>, request: Request) -> Response<axum::body::Body> {
    let (parts, body) = request.into_parts();
    let mut bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap().to_vec();
    if parts.headers.get("content-encoding").is_some_and(|encoding| encoding == "gzip") {
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(bytes.as_slice()).read_to_end(&mut plain).unwrap();
        bytes = plain;
    }
    let mut came = Came {
        at: Instant::now(),
        path: parts.uri.path().to_owned(),
        headers: parts.headers,
        traces: ExportTraceServiceRequest::default(),
        metrics: ExportMetricsServiceRequest::default(),
        bytes: bytes.len(),
    };
    let is_metrics = came.path.ends_with("metrics");
    if is_metrics {
        came.metrics = Message::decode(bytes.as_slice()).unwrap();
    } else {
        came.traces = Message::decode(bytes.as_slice()).unwrap();
    }
    let body = match collector.take(came) {
        Reply::Taken => Vec::new(),
        Reply::Rejects(count) if is_metrics => partial_metrics(count).encode_to_vec(),
        Reply::Rejects(count) => partial_traces(count).encode_to_vec(),
        Reply::Endless => {
            let pieces = std::iter::repeat_with(|| Ok::<_, std::io::Error>(vec![b'x'; 1 << 16]));
            return Response::new(axum::body::Body::from_stream(tokio_stream::iter(pieces)));
        }
        Reply::Nothing => std::future::pending().await,
        Reply::Status(status, headers) => {
            let mut response = Response::builder().status(StatusCode::from_u16(status).unwrap());
            for (name, value) in headers {
                response = response.header(*name, *value);
            }
            return response.body("PLANTED answer".into()).unwrap();
        }
    };
    Response::new(body.into())
}

fn partial_traces(rejected_spans: i64) -> ExportTraceServiceResponse {
    let error_message = "too old".to_owned();
    ExportTraceServiceResponse {
        partial_success: Some(ExportTracePartialSuccess { rejected_spans, error_message }),
    }
}

fn partial_metrics(rejected_data_points: i64) -> ExportMetricsServiceResponse {
    let error_message = "too old".to_owned();
    ExportMetricsServiceResponse {
        partial_success: Some(ExportMetricsPartialSuccess { rejected_data_points, error_message }),
    }
}

impl Collector {
    async fn grpc<T: Default>(
        &self,
        came: Came,
        partial: fn(i64) -> T,
    ) -> Result<tonic::Response<T>, tonic::Status> {
        match self.take(came) {
            Reply::Taken => Ok(tonic::Response::new(T::default())),
            Reply::Rejects(count) => Ok(tonic::Response::new(partial(count))),
            Reply::Status(503, _) => Err(tonic::Status::unavailable("PLANTED answer")),
            Reply::Status(..) => Err(tonic::Status::invalid_argument("PLANTED answer")),
            Reply::Endless | Reply::Nothing => std::future::pending().await,
        }
    }
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        let (metadata, _, traces) = request.into_parts();
        let came = Came {
            at: Instant::now(),
            path: "grpc".to_owned(),
            headers: metadata.into_headers(),
            bytes: traces.encoded_len(),
            traces,
            metrics: ExportMetricsServiceRequest::default(),
        };
        self.grpc(came, partial_traces).await
    }
}

#[tonic::async_trait]
impl MetricsService for Collector {
    async fn export(
        &self,
        request: tonic::Request<ExportMetricsServiceRequest>,
    ) -> Result<tonic::Response<ExportMetricsServiceResponse>, tonic::Status> {
        let (metadata, _, metrics) = request.into_parts();
        let came = Came {
            at: Instant::now(),
            path: "grpc".to_owned(),
            headers: metadata.into_headers(),
            bytes: metrics.encoded_len(),
            traces: ExportTraceServiceRequest::default(),
            metrics,
        };
        self.grpc(came, partial_metrics).await
    }
}
