//! A problem of the relay, or its end, as a log record.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, SeverityNumber};

use super::attributes::{Attributes, any};
use super::record::{nanoseconds, severity_text};
use crate::destination::notice::{Notice, NoticeKind};

/// The body is the sentence that people read everywhere.
pub(super) fn log_record(notice: &Notice) -> LogRecord {
    let (event_name, severity) = match (notice.kind, notice.severe) {
        (NoticeKind::Recovery, _) => ("audit_relay.recovery", SeverityNumber::Info),
        (NoticeKind::Problem, true) => ("audit_relay.problem", SeverityNumber::Error),
        (NoticeKind::Problem, false) => ("audit_relay.problem", SeverityNumber::Warn),
    };
    let mut attributes = Attributes::default();
    attributes.text("log.record.uid", &notice.id);
    attributes.text("audit_relay.problem.code", &notice.code);
    attributes.text("audit_relay.problem.key", &notice.key);
    attributes.said("audit_relay.problem.about", notice.about.as_deref());
    attributes.truth("audit_relay.problem.severe", notice.severe);
    attributes.text("audit_relay.problem.since", &notice.since.to_string());
    attributes.mark("audit_relay.problem.repeated", notice.is_repeated);
    let remedy = notice.remedy.as_deref().filter(|_| notice.kind == NoticeKind::Problem);
    attributes.said("audit_relay.problem.remedy", remedy);
    attributes.said("audit_relay.problem.status_url", notice.status_url.as_deref());
    let at = nanoseconds(notice.at).unwrap_or_default();
    LogRecord {
        time_unix_nano: at,
        observed_time_unix_nano: at,
        severity_number: severity.into(),
        severity_text: severity_text(severity).to_owned(),
        body: Some(any(Value::StringValue(notice.sentence.clone()))),
        attributes: attributes.into(),
        event_name: event_name.to_owned(),
        ..LogRecord::default()
    }
}
