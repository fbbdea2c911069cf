//! Carries out the requests of one group, one after another, and reads the answers.

use std::sync::Arc;
use std::time::Duration;

use super::sender::{SendError, Sender};
use crate::destination::{Destination, Outcome, Reason, Rendered};
use crate::event::{EventId, Timestamp};

/// What became of a group.
#[derive(Debug)]
pub(super) struct Carried {
    /// Taken by the receiver.
    pub(super) delivered: Vec<EventId>,
    /// Left out by the destination's own rules.
    pub(super) left_out: Vec<EventId>,
    /// Cannot be rendered.
    pub(super) unrenderable: Vec<(EventId, Reason)>,
    /// The request that ended it, if one did: its members, and the outcome, which is not `Delivered`.
    pub(super) failed: Option<(Vec<EventId>, Outcome)>,
}

/// Sends until something is not delivered.
pub(super) async fn carry(
    destination: Arc<dyn Destination>,
    sender: Sender,
    rendered: Rendered,
    timeout: Duration,
) -> Carried {
    let Rendered { requests, unrenderable, left_out } = rendered;
    let mut carried = Carried { delivered: Vec::new(), left_out, unrenderable, failed: None };
    for outbound in requests {
        let outcome = match sender.send(outbound.request, timeout).await {
            Ok(response) => destination.classify(&response, Timestamp::now()),
            Err(error) => outcome_of(error),
        };
        match outcome {
            Outcome::Delivered => carried.delivered.extend(outbound.members),
            other => {
                carried.failed = Some((outbound.members, other));
                break;
            }
        }
    }
    carried
}

/// What it means that nothing came back.
pub(super) fn outcome_of(error: SendError) -> Outcome {
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
