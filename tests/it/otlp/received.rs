//! Requests of OTLP as a receiver reads them.

use std::collections::BTreeMap;
use std::io::Read as _;

use flate2::read::GzDecoder;
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use prost::Message as _;
use serde_json::{Value, json};

use crate::support::{Received, Reply};

/// A log record with what stands around it.
#[derive(Debug, Clone)]
pub(super) struct Log {
    pub(super) resource: BTreeMap<String, Value>,
    pub(super) scope: (String, String),
    pub(super) event_name: String,
    pub(super) severity: (i32, String),
    pub(super) time_unix_nano: u64,
    pub(super) observed_time_unix_nano: u64,
    pub(super) body: Value,
    pub(super) attributes: BTreeMap<String, Value>,
    pub(super) trace_id: String,
    pub(super) span_id: String,
    pub(super) flags: u32,
}

impl Log {
    pub(super) fn id(&self) -> &str {
        self.attributes["log.record.uid"].as_str().unwrap()
    }
}

/// The log records of a request, in order; every attribute stands there once.
pub(super) fn logs(request: &Received) -> Vec<Log> {
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/v1/logs"));
    assert_eq!(request.header("content-type"), Some("application/x-protobuf"));
    assert!(request.header("user-agent").unwrap().starts_with("audit-relay/"));
    assert_eq!((request.header("traceparent"), request.header("baggage")), (None, None));
    let mut body = Vec::new();
    match request.header("content-encoding") {
        Some("gzip") => drop(GzDecoder::new(&*request.body).read_to_end(&mut body).unwrap()),
        None => body = request.body.clone(),
        other => panic!("{other:?}"),
    }
    let request = ExportLogsServiceRequest::decode(&*body).unwrap();
    let mut logs = Vec::new();
    for resource_logs in request.resource_logs {
        assert!(resource_logs.schema_url.starts_with("https://opentelemetry.io/schemas/1."));
        let resource = map(resource_logs.resource.unwrap().attributes);
        for scope_logs in resource_logs.scope_logs {
            let scope = scope_logs.scope.unwrap();
            for record in scope_logs.log_records {
                assert_eq!(record.dropped_attributes_count, 0);
                logs.push(Log {
                    resource: resource.clone(),
                    scope: (scope.name.clone(), scope.version.clone()),
                    event_name: record.event_name,
                    severity: (record.severity_number, record.severity_text),
                    time_unix_nano: record.time_unix_nano,
                    observed_time_unix_nano: record.observed_time_unix_nano,
                    body: value(record.body.unwrap()),
                    attributes: map(record.attributes),
                    trace_id: hex::encode(record.trace_id),
                    span_id: hex::encode(record.span_id),
                    flags: record.flags,
                });
            }
        }
    }
    logs
}

/// All that was taken, in the order of coming.
pub(super) fn taken(requests: &[Received]) -> Vec<Log> {
    requests.iter().filter(|request| request.status == 200).flat_map(logs).collect()
}

fn map(attributes: Vec<KeyValue>) -> BTreeMap<String, Value> {
    let count = attributes.len();
    let map: BTreeMap<_, _> =
        attributes.into_iter().map(|attribute| (attribute.key, value(attribute.value.unwrap()))).collect();
    assert_eq!(map.len(), count, "an attribute twice");
    map
}

fn value(any: AnyValue) -> Value {
    match any.value.unwrap() {
        Any::StringValue(text) => text.into(),
        Any::BoolValue(truth) => truth.into(),
        Any::IntValue(number) => number.into(),
        Any::BytesValue(bytes) => json!({"bytes": bytes}),
        Any::ArrayValue(array) => array.values.into_iter().map(value).collect::<Vec<_>>().into(),
        Any::KvlistValue(list) => map(list.values).into_iter().collect(),
        other => panic!("{other:?}"),
    }
}

/// An answer that takes a request but for so many records.
pub(super) fn partial_success(rejected_log_records: i64, error_message: &str) -> Reply {
    let partial_success =
        Some(ExportLogsPartialSuccess { rejected_log_records, error_message: error_message.to_owned() });
    let body = ExportLogsServiceResponse { partial_success }.encode_to_vec();
    let body = String::from_utf8(body).expect("small numbers and a short text are ASCII");
    Reply::Answer(200, vec![("content-type", "application/x-protobuf".to_owned())], body)
}
