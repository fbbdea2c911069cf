//! Carries out the requests of one group, one after another, and reads the answers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::engine::Report;
use super::meter::Meter;
use super::sender::{SendError, Sender};
use crate::destination::{Destination, Outcome, Reason, Rendered};
use crate::event::Timestamp;

/// Sends until something is not delivered.
pub(super) async fn carry(
    destination: Arc<dyn Destination>,
    sender: Sender,
    rendered: Rendered,
    timeout: Duration,
    meter: Meter,
) -> Report {
    let Rendered { requests, unrenderable, left_out } = rendered;
    let mut report = Report { left_out, unrenderable, ..Report::default() };
    for outbound in requests {
        let begun = Instant::now();
        let (status, outcome) = match sender.send(outbound.request, timeout).await {
            Ok(response) => (response.status(), destination.classify(&response, Timestamp::now())),
            Err(error) => (None, outcome_of(error)),
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
    report
}

/// What it means that nothing came back.
pub(crate) fn outcome_of(error: SendError) -> Outcome {
    match error {
        SendError::Failed(message) => {
            Outcome::Retry { not_before: None, reason: Reason { code: "network", message } }
        }
        SendError::Untrusted(message) => {
            Outcome::Blocked { gone: false, reason: Reason { code: "untrusted", message } }
        }
        SendError::Impossible(message) => Outcome::Rejected(Reason { code: "impossible", message }),
    }
}
