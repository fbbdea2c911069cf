//! What the log says of a lane. ERROR means data at risk, or a person needed.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::delivery::engine::Notice;
use crate::destination::Reason;
use crate::event::EventId;

/// How often deaths in numbers are told.
const INTERVAL: Duration = Duration::from_secs(10);

/// Deaths that are told together: a backlog that dies does so in many steps.
#[derive(Debug, Default)]
pub(super) struct Deaths {
    untold: BTreeMap<&'static str, u64>,
    next_at: Duration,
}

impl Deaths {
    /// Tells what happened, deaths in numbers at once or a little later.
    pub(super) fn tell(&mut self, destination: &str, notices: Vec<Notice>, now: Duration) {
        for notice in notices {
            match notice {
                Notice::ManyDead { count, code } => *self.untold.entry(code).or_insert(0) += count,
                other => tell(destination, &other),
            }
        }
        if now >= self.next_at {
            self.tell_all(destination, now);
        }
    }

    /// When there is something to tell, by the lane's steady clock.
    pub(super) fn due_at(&self) -> Option<Duration> {
        (!self.untold.is_empty()).then_some(self.next_at)
    }

    /// Tells what is untold.
    pub(super) fn tell_all(&mut self, destination: &str, now: Duration) {
        for (code, count) in std::mem::take(&mut self.untold) {
            self.next_at = now + INTERVAL;
            tracing::error!(destination, count, code, "records became dead letters without being delivered");
        }
    }
}

/// Records from before a destination's `deliver_since`, told once all of them are counted.
#[derive(Debug, Default)]
pub(super) struct History {
    untold: u64,
    quiet_at: Duration,
}

impl History {
    /// How long no more of them came, before they are told.
    const QUIET: Duration = Duration::from_secs(2);

    /// So many more were passed over.
    pub(super) fn add(&mut self, records: u64, now: Duration) {
        if records > 0 {
            self.untold += records;
            self.quiet_at = now + Self::QUIET;
        }
    }

    /// When there is something to tell, by the lane's steady clock.
    pub(super) fn due_at(&self) -> Option<Duration> {
        (self.untold > 0).then_some(self.quiet_at)
    }

    /// Tells how many there are.
    pub(super) fn tell(&mut self, destination: &str) {
        let records = std::mem::take(&mut self.untold);
        if records > 0 {
            tracing::info!(
                destination,
                records,
                "older records are kept as history, and not sent here (`deliver_since`)"
            );
        }
    }
}

/// Under `observe: true` nothing dies.
pub(super) fn tell_observed(destination: &str, event: EventId, reason: &Reason) {
    tracing::warn!(destination, %event, code = reason.code, "observed; it would be a dead letter: {}", reason.message);
}

fn tell(destination: &str, notice: &Notice) {
    match notice {
        Notice::Blocked { gone: true, reason } => {
            tracing::error!(
                destination,
                code = reason.code,
                "blocked until the configuration changes or `audit-relay resume {destination}`: {}",
                reason.message
            );
        }
        Notice::Blocked { reason, .. } => {
            tracing::error!(
                destination,
                code = reason.code,
                "blocked, probing now and then: {}",
                reason.message
            );
        }
        Notice::Unblocked => tracing::info!(destination, "no longer blocked"),
        Notice::Waits { attempts, wait, reason } => {
            tracing::warn!(
                destination,
                attempts,
                ?wait,
                code = reason.code,
                "not delivered, trying again: {}",
                reason.message
            );
        }
        Notice::Parked { id, attempts, wait, reason } => {
            tracing::warn!(
                destination,
                batch = id.as_str(),
                attempts,
                ?wait,
                code = reason.code,
                "not delivered while others are, trying this one again: {}",
                reason.message
            );
        }
        Notice::Dead { id, reason } => {
            tracing::warn!(destination, event = %id, code = reason.code, "dead letter: {}", reason.message);
        }
        Notice::Corrupt { sequence } => {
            tracing::error!(
                destination,
                sequence,
                "not sent: the record was altered, or is gone, since it was accepted"
            );
        }
        Notice::ManyDead { .. } => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn history_is_told_when_no_more_of_it_comes() {
        let mut history = History::default();
        let at = Duration::from_secs;
        assert_eq!(history.due_at(), None);
        history.add(0, at(1));
        assert_eq!(history.due_at(), None);
        history.add(5, at(1));
        history.add(3, at(2));
        assert_eq!((history.untold, history.due_at()), (8, Some(at(4))));
        history.tell("slack");
        assert_eq!((history.untold, history.due_at()), (0, None));
    }
}
