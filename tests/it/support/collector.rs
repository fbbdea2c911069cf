//! A collector on 127.0.0.1: takes OTLP over HTTP and reads it with the protocol's own message types.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::trace::v1::Span as Told;
use prost::Message as _;
use serde_json::{Value, json};

use super::{Received, Receiver, Relay, Reply, Workplace, eventually};

/// Takes whatever comes.
pub struct Collector(Receiver);

/// A span as it came.
#[derive(Debug, Clone)]
pub struct Span {
    pub name: String,
    pub trace_id: String,
    pub span_id: String,
    /// Empty where it has none.
    pub parent: String,
    /// Ids of trace and span of what it is linked to.
    pub links: Vec<(String, String)>,
    pub attributes: BTreeMap<String, Value>,
    /// Of what it tells.
    pub resource: BTreeMap<String, Value>,
    pub is_error: bool,
    pub kind: i32,
    pub start_unix_nanos: u64,
    pub end_unix_nanos: u64,
}

impl Span {
    fn new(span: &Told, resource: &BTreeMap<String, Value>) -> Self {
        Self {
            name: span.name.clone(),
            trace_id: hex::encode(&span.trace_id),
            span_id: hex::encode(&span.span_id),
            parent: hex::encode(&span.parent_span_id),
            links: span
                .links
                .iter()
                .map(|link| (hex::encode(&link.trace_id), hex::encode(&link.span_id)))
                .collect(),
            attributes: attributes(&span.attributes),
            resource: resource.clone(),
            is_error: span.status.as_ref().is_some_and(|status| status.code == 2),
            kind: span.kind,
            start_unix_nanos: span.start_time_unix_nano,
            end_unix_nanos: span.end_time_unix_nano,
        }
    }

    pub fn attribute(&self, name: &str) -> &Value {
        self.attributes.get(name).unwrap_or(&Value::Null)
    }

    /// As a link to it tells it.
    pub fn context(&self) -> (String, String) {
        (self.trace_id.clone(), self.span_id.clone())
    }

    /// As the header of that name tells it.
    pub fn traceparent(&self) -> String {
        format!("00-{}-{}-01", self.trace_id, self.span_id)
    }
}

impl Collector {
    pub fn start() -> Self {
        Self(Receiver::start())
    }

    /// Answers by `script`.
    pub fn scripted(script: impl Fn(usize, &Received) -> Reply + Send + Sync + 'static) -> Self {
        Self(Receiver::scripted(script))
    }

    /// For `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub fn endpoint(&self) -> String {
        self.0.url("").trim_end_matches('/').to_owned()
    }

    /// Starts the relay of a workplace, so that it tells this collector all it has to tell without delay.
    pub fn watch(&self, place: &Workplace, variables: &[(&str, &str)]) -> Relay {
        let endpoint = self.endpoint();
        let mut all = vec![
            ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
            ("OTEL_BSP_SCHEDULE_DELAY", "20"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "200"),
        ];
        all.extend(variables);
        let relay = place.start(&all);
        relay.wait_for_log("\"ready\"");
        relay
    }

    /// What came, in the order of coming.
    pub fn received(&self) -> Vec<Received> {
        self.0.received()
    }

    /// All spans that were taken.
    pub fn spans(&self) -> Vec<Span> {
        let mut spans = Vec::new();
        for request in self.taken("/v1/traces") {
            let read = ExportTraceServiceRequest::decode(&*request.body).expect("a request for traces");
            for resource in read.resource_spans {
                let of = resource.resource.map(|found| attributes(&found.attributes)).unwrap_or_default();
                let told = resource.scope_spans.iter().flat_map(|scope| &scope.spans);
                spans.extend(told.map(|span| Span::new(span, &of)));
            }
        }
        spans
    }

    /// All metrics that were taken, request by request.
    pub fn metrics(&self) -> Vec<Vec<Metric>> {
        let requests = self.taken("/v1/metrics");
        let read = requests.iter().map(|request| {
            let read = ExportMetricsServiceRequest::decode(&*request.body).expect("a request for metrics");
            let scopes = read.resource_metrics.into_iter().flat_map(|resource| resource.scope_metrics);
            scopes.flat_map(|scope| scope.metrics).collect()
        });
        read.collect()
    }

    fn taken(&self, path: &str) -> Vec<Received> {
        let is_taken = |request: &Received| request.path == path && request.status == 200;
        self.0.received().into_iter().filter(is_taken).collect()
    }

    /// Waits until there are `count` spans of this name, and gives them.
    pub fn wait_for(&self, name: &str, count: usize) -> Vec<Span> {
        eventually(&format!("{count} spans called {name}"), || {
            let found: Vec<Span> = self.spans().into_iter().filter(|span| span.name == name).collect();
            (found.len() >= count).then_some(found)
        })
    }

    /// The spans below this one.
    pub fn below(&self, parent: &Span) -> Vec<Span> {
        let is_below = |span: &Span| span.parent == parent.span_id && span.trace_id == parent.trace_id;
        self.spans().into_iter().filter(is_below).collect()
    }
}

/// Attributes as JSON.
pub fn attributes(pairs: &[KeyValue]) -> BTreeMap<String, Value> {
    pairs.iter().map(|pair| (pair.key.clone(), value(pair.value.as_ref()))).collect()
}

/// A value as JSON.
pub fn value(any: Option<&AnyValue>) -> Value {
    match any.and_then(|any| any.value.as_ref()) {
        Some(Any::StringValue(text)) => json!(text),
        Some(Any::BoolValue(flag)) => json!(flag),
        Some(Any::IntValue(number)) => json!(number),
        Some(Any::DoubleValue(number)) => json!(number),
        Some(Any::ArrayValue(array)) => array.values.iter().map(|item| value(Some(item))).collect(),
        Some(Any::KvlistValue(list)) => json!(attributes(&list.values)),
        Some(Any::BytesValue(bytes)) => json!(hex::encode(bytes)),
        None => Value::Null,
        Some(other) => panic!("a value that is not expected: {other:?}"),
    }
}
