//! OTLP: audit events as log records, for Loki, Datadog or whatever stands behind a collector
//! (<https://opentelemetry.io/docs/specs/otlp/>, <https://opentelemetry.io/docs/specs/otel/logs/data-model/>).
//!
//! `http/protobuf`, one `ExportLogsServiceRequest` a request. `docs/otlp.md` has the whole mapping.

mod answer;
mod attributes;
mod problem;
mod readable;
mod record;
mod trace;

use std::io::Write as _;
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;

use super::webhook::USER_AGENT;
use super::{
    Delivery, Destination, HttpRequest, Limits, Message, Notice, Outbound, Outcome, RenderContext, Rendered,
    Request, Response,
};
use crate::config::plan::{BatchPlan, OtlpCompression, OtlpPlan};
use crate::config::secret::Secret;
use crate::event::Timestamp;
use attributes::Attributes;

pub use readable::readable;

/// What is added to an address without a path: where receivers take logs.
pub const PATH: &str = "/v1/logs";

/// What a request calls itself. Neither may be set by the configuration.
pub const OWN_HEADERS: [&str; 2] = ["content-encoding", "content-type"];

/// The semantic conventions that attribute names are from.
const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.42.0";
/// The service that problems of the relay itself are told of.
const OWN_SERVICE: &str = "audit-relay";

/// A receiver of log records.
#[derive(Debug)]
pub struct Otlp {
    plan: OtlpPlan,
    limits: Limits,
}

impl Otlp {
    /// As planned.
    #[must_use]
    pub fn new(plan: OtlpPlan, batch: BatchPlan) -> Self {
        Self { plan, limits: batch.into() }
    }

    /// Log records of one service, in order.
    fn resource_logs(&self, service: &str, log_records: Vec<LogRecord>) -> ResourceLogs {
        ResourceLogs {
            resource: Some(Resource { attributes: self.resource(service), ..Resource::default() }),
            scope_logs: vec![ScopeLogs {
                scope: Some(InstrumentationScope {
                    name: env!("CARGO_PKG_NAME").to_owned(),
                    version: env!("CARGO_PKG_VERSION").to_owned(),
                    ..InstrumentationScope::default()
                }),
                log_records,
                schema_url: SCHEMA_URL.to_owned(),
            }],
            schema_url: SCHEMA_URL.to_owned(),
        }
    }

    /// Attributes of the configuration stand in the place of the relay's own.
    fn resource(&self, service: &str) -> Vec<KeyValue> {
        let mut attributes = Attributes::default();
        for (key, value) in [("service.name", service), ("audit_relay.name", &self.plan.name)] {
            if !self.plan.attributes.contains_key(key) {
                attributes.text(key, value);
            }
        }
        self.plan.attributes.iter().for_each(|(key, value)| attributes.text(key, value));
        attributes.into()
    }

    fn posted(&self, resource_logs: Vec<ResourceLogs>, is_replay: bool) -> Request {
        let body = ExportLogsServiceRequest { resource_logs }.encode_to_vec();
        let mut headers = Vec::with_capacity(4 + self.plan.headers.len());
        let mut add = |name: &str, value: &str| headers.push((name.to_owned(), Secret::new(value)));
        add("content-type", "application/x-protobuf");
        let body = match self.plan.compression {
            OtlpCompression::None => body,
            OtlpCompression::Gzip => {
                add("content-encoding", "gzip");
                gzipped(&body)
            }
        };
        if is_replay {
            add("audit-relay-replay", "true");
        }
        if !self.plan.headers.iter().any(|(name, _)| name == "user-agent") {
            add("user-agent", USER_AGENT);
        }
        headers.extend(self.plan.headers.iter().cloned());
        Request::Http(HttpRequest {
            url: Arc::clone(&self.plan.url),
            method: "POST",
            headers,
            body,
            propagates: false,
        })
    }
}

impl Destination for Otlp {
    fn limits(&self) -> Limits {
        self.limits
    }

    fn render(&self, deliveries: &[Delivery], context: &RenderContext) -> Rendered {
        // By instance, in order within each: no order goes beyond an instance.
        let mut services: Vec<(&str, Vec<LogRecord>)> = Vec::new();
        for delivery in deliveries {
            let log_record = record::log_record(delivery, context.replay);
            let instance = &*delivery.record.instance;
            match services.iter_mut().find(|(service, _)| *service == instance) {
                Some((_, log_records)) => log_records.push(log_record),
                None => services.push((instance, vec![log_record])),
            }
        }
        let logs = services.into_iter().map(|(service, records)| self.resource_logs(service, records));
        let request = self.posted(logs.collect(), context.replay);
        let members = deliveries.iter().map(|delivery| delivery.record.id).collect();
        Rendered { requests: vec![Outbound { members, request }], ..Rendered::default() }
    }

    fn notice(&self, notice: &Notice, _: &RenderContext) -> Option<Vec<Request>> {
        let logs = self.resource_logs(OWN_SERVICE, vec![problem::log_record(notice)]);
        Some(vec![self.posted(vec![logs], false)])
    }

    fn classify(&self, response: &Response, now: Timestamp) -> Outcome {
        answer::classify(response, now, &self.plan)
    }

    fn remark(&self, response: &Response) -> Option<Message> {
        answer::remark(response, &self.plan)
    }

    fn excerpt(&self, body: &[u8]) -> String {
        answer::excerpt(body, &self.plan)
    }
}

/// Fast rather than small: the texts of audit events repeat themselves enough.
fn gzipped(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    let written = encoder.write_all(body).and_then(|()| encoder.finish());
    written.expect("a Vec takes all bytes")
}
