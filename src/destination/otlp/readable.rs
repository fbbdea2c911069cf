//! A request in a form that people can read: OTLP's own JSON
//! (<https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>), in which a receiver would take it, too.

use std::fmt::Write as _;
use std::io::Read as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use flate2::read::GzDecoder;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use prost::Message as _;
use serde_json::{Value as Json, json};

/// What every gzip file begins with; no request in protobuf does.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// The body of a request of this destination as JSON, an attribute a line; `None` of anything else.
#[must_use]
pub fn readable(body: &[u8]) -> Option<String> {
    let request = match body.starts_with(&GZIP) {
        true => {
            let mut plain = Vec::new();
            GzDecoder::new(body).read_to_end(&mut plain).ok()?;
            ExportLogsServiceRequest::decode(&*plain).ok()?
        }
        false => ExportLogsServiceRequest::decode(body).ok()?,
    };
    let logs = list(1, request.resource_logs.iter().map(resource_logs));
    Some(format!("{{\"resourceLogs\":{logs}}}"))
}

/// Items on lines of their own, so far to the right.
fn list(depth: usize, items: impl Iterator<Item = String>) -> String {
    let lines: Vec<String> = items.map(|item| format!("\n{:depth$}{item}", "")).collect();
    format!("[{}]", lines.join(","))
}

fn resource_logs(logs: &ResourceLogs) -> String {
    let attributes = logs.resource.as_ref().map_or(&[][..], |resource| &resource.attributes);
    format!(
        "{{\"resource\":{{\"attributes\":{}}},\n  \"scopeLogs\":{},\n  \"schemaUrl\":{}}}",
        list(3, attributes.iter().map(|one| attribute(one).to_string())),
        list(3, logs.scope_logs.iter().map(scope_logs)),
        Json::from(logs.schema_url.as_str())
    )
}

fn scope_logs(logs: &ScopeLogs) -> String {
    let scope = logs.scope.clone().unwrap_or_default();
    format!(
        "{{\"scope\":{},\n    \"logRecords\":{},\n    \"schemaUrl\":{}}}",
        json!({"name": scope.name, "version": scope.version}),
        list(5, logs.log_records.iter().map(log_record)),
        Json::from(logs.schema_url.as_str())
    )
}

fn log_record(record: &LogRecord) -> String {
    let mut text = format!(
        "{{\"timeUnixNano\":\"{}\",\"observedTimeUnixNano\":\"{}\",\n      \"severityNumber\":{},\"severityText\":{},\"eventName\":{},\n",
        record.time_unix_nano,
        record.observed_time_unix_nano,
        record.severity_number,
        Json::from(record.severity_text.as_str()),
        Json::from(record.event_name.as_str()),
    );
    let body = record.body.as_ref().map_or_else(|| json!({}), value);
    let attributes = list(7, record.attributes.iter().map(|one| attribute(one).to_string()));
    let _ = write!(text, "      \"body\":{body},\n      \"attributes\":{attributes}");
    if !record.trace_id.is_empty() {
        let (trace, span) = (hex::encode(&record.trace_id), hex::encode(&record.span_id));
        let _ =
            write!(text, ",\n      \"traceId\":\"{trace}\",\"spanId\":\"{span}\",\"flags\":{}", record.flags);
    }
    text + "}"
}

fn attribute(attribute: &KeyValue) -> Json {
    json!({"key": attribute.key, "value": attribute.value.as_ref().map_or_else(|| json!({}), value)})
}

fn value(any: &AnyValue) -> Json {
    match &any.value {
        None => json!({}),
        Some(Value::StringValue(text)) => json!({"stringValue": text}),
        Some(Value::BoolValue(truth)) => json!({"boolValue": truth}),
        Some(Value::IntValue(number)) => json!({"intValue": number.to_string()}),
        Some(Value::DoubleValue(number)) => json!({"doubleValue": number}),
        Some(Value::BytesValue(bytes)) => json!({"bytesValue": BASE64_STANDARD.encode(bytes)}),
        Some(Value::ArrayValue(array)) => {
            json!({"arrayValue": {"values": array.values.iter().map(value).collect::<Vec<_>>()}})
        }
        Some(Value::KvlistValue(list)) => {
            json!({"kvlistValue": {"values": list.values.iter().map(attribute).collect::<Vec<_>>()}})
        }
        // Of tables of texts, which this destination does not send, nothing is known here.
        Some(_) => json!({}),
    }
}
