//! Carries out the requests of one group, one after another, and reads the answers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::engine::Report;
use super::meter::Meter;
use super::sender::{SendError, Sender};
use crate::config::secret::Secret;
use crate::destination::{Destination, Outcome, Reason, Rendered, Request};
use crate::event::Timestamp;
use crate::telemetry::traces::{Attempt, Sending, Target};

/// Sends until something is not delivered.
pub(super) async fn carry(
    destination: Arc<dyn Destination>,
    sender: Sender,
    rendered: Rendered,
    timeout: Duration,
    meter: Meter,
    sending: Sending,
) -> Report {
    let Rendered { requests, unrenderable, left_out } = rendered;
    let mut report = Report { left_out, unrenderable, ..Report::default() };
    for mut outbound in requests {
        let begun = Instant::now();
        let attempt = begin(&sending, &mut outbound.request);
        let (status, outcome) = match sender.send(outbound.request, timeout).await {
            Ok(response) => {
                report.remark = report.remark.or_else(|| destination.remark(&response));
                let status = response.status();
                if let Some(status) = status {
                    attempt.answered(status);
                }
                (status, destination.classify(&response, Timestamp::now()))
            }
            Err(error) => {
                attempt.failed(error.kind());
                (None, outcome_of(error))
            }
        };
        let delivered = if outcome == Outcome::Delivered { outbound.members.len() as u64 } else { 0 };
        meter.count(outcome.word(), status, begun.elapsed(), delivered);
        match outcome {
            Outcome::Delivered => report.delivered.extend(outbound.members),
            other => {
                report.failed = Some((outbound.members, other));
                break;
            }
        }
    }
    report.thread = sending.thread();
    match &report.failed {
        None => sending.ended(Outcome::Delivered.word(), None),
        Some((_, outcome)) => sending.ended(outcome.word(), outcome.reason().map(|reason| reason.code)),
    }
    report
}

/// The span of one request, and the header that names it to a receiver that may know.
fn begin(sending: &Sending, request: &mut Request) -> Attempt {
    let Request::Http(request) = request else { return Attempt::default() };
    let target = Target { method: request.method, url: &request.url, size_bytes: request.body.len() };
    let attempt = sending.attempt(&target);
    if request.propagates && sending.is_on() {
        request.headers.retain(|(name, _)| name != "traceparent" && name != "tracestate");
        if let Some(context) = sending.header(&attempt) {
            let headers = [("traceparent", Some(context.traceparent)), ("tracestate", context.tracestate)];
            let headers = headers.into_iter().filter_map(|(name, value)| Some((name, value?)));
            request.headers.extend(headers.map(|(name, value)| (name.to_owned(), Secret::new(value))));
        }
    }
    attempt
}

/// What it means that nothing came back.
pub(crate) fn outcome_of(error: SendError) -> Outcome {
    match error {
        SendError::Failed { message, .. } => {
            Outcome::Retry { not_before: None, reason: Reason { code: "network", message: message.into() } }
        }
        SendError::Untrusted(message) => {
            Outcome::Blocked { gone: false, reason: Reason { code: "untrusted", message: message.into() } }
        }
        SendError::Impossible(message) => {
            Outcome::Rejected(Reason { code: "impossible", message: message.into() })
        }
    }
}
