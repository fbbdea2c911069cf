//! What the log says of a lane. ERROR means data at risk, or a person needed. What receivers say is not repeated
//! there: it may hold what they were sent.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::delivery::engine::{Notice, Report};
use crate::destination::{Message, Outcome, Reason};
use crate::event::EventId;
use crate::telemetry::logs::{self, payload};
use crate::telemetry::traces::Thread;

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

/// What a receiver said to what it did not take, for those who ask for it (`log.payloads`).
pub(super) fn tell_payload(destination: &str, report: &Report) {
    let Some((members, outcome)) = &report.failed else { return };
    let (Outcome::Retry { reason, .. } | Outcome::Rejected(reason) | Outcome::Blocked { reason, .. }) =
        outcome
    else {
        return;
    };
    if reason.message.is_quoting() {
        payload::refused(destination, members, reason.code, &reason.message);
    }
}

/// What a receiver warns of though it takes everything: it may do so with every answer.
#[derive(Debug, Default)]
pub(super) struct Remarks {
    last: Option<(String, Duration)>,
}

impl Remarks {
    /// Between two of them, at least.
    const PAUSE: Duration = Duration::from_secs(60);
    /// The same is not told again before.
    const REPEAT: Duration = Duration::from_secs(3_600);

    /// Tells it, unless it was told only now.
    pub(super) fn tell(&mut self, destination: &str, remark: Option<Message>, now: Duration) {
        let Some(remark) = remark else { return };
        if self.is_news(&remark, now) {
            let words = if logs::payloads() { remark.to_string() } else { remark.own_words() };
            tracing::warn!(destination, "{words}");
            self.last = Some((remark.to_string(), now));
        }
    }

    fn is_news(&self, said: &str, now: Duration) -> bool {
        self.last
            .as_ref()
            .is_none_or(|(last, at)| now >= *at + if last == said { Self::REPEAT } else { Self::PAUSE })
    }
}

/// Under `observe: true` nothing dies.
pub(super) fn tell_observed(destination: &str, event: EventId, reason: &Reason) {
    tracing::warn!(destination, %event, code = reason.code, "observed; it would be a dead letter: {}", reason.message.own_words());
}

fn tell(destination: &str, notice: &Notice) {
    match notice {
        Notice::Blocked { gone: true, reason, thread } => {
            tracing::error!(
                destination,
                code = reason.code,
                trace_id = thread.as_ref().map(Thread::trace_id),
                "blocked until the configuration changes or `audit-relay resume {destination}`: {}",
                reason.message.own_words()
            );
        }
        Notice::Blocked { reason, thread, .. } => {
            tracing::error!(
                destination,
                code = reason.code,
                trace_id = thread.as_ref().map(Thread::trace_id),
                "blocked, probing now and then: {}",
                reason.message.own_words()
            );
        }
        Notice::Unblocked => tracing::info!(destination, "no longer blocked"),
        Notice::Waits { attempts, wait, reason, thread } => {
            tracing::warn!(
                destination,
                attempts,
                ?wait,
                code = reason.code,
                trace_id = thread.as_ref().map(Thread::trace_id),
                "not delivered, trying again: {}",
                reason.message.own_words()
            );
        }
        Notice::Parked { id, attempts, wait, reason, thread } => {
            tracing::warn!(
                destination,
                batch = id.as_str(),
                attempts,
                ?wait,
                code = reason.code,
                trace_id = thread.as_ref().map(Thread::trace_id),
                "not delivered while others are, trying this one again: {}",
                reason.message.own_words()
            );
        }
        Notice::Dead { id, reason, thread } => {
            let trace_id = thread.as_ref().map(Thread::trace_id);
            tracing::warn!(destination, event = %id, code = reason.code, trace_id, "dead letter: {}", reason.message.own_words());
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
    fn a_receiver_that_always_warns_fills_no_log() {
        let mut remarks = Remarks::default();
        let at = Duration::from_secs;
        let mut told = |said: &str, now| {
            let is_news = remarks.is_news(said, at(now));
            remarks.tell("logs", Some(said.into()), at(now));
            is_news
        };
        assert!(told("slow down", 0));
        assert!(!told("slow down", 61) && !told("slow down", 3_599));
        assert!(told("old schema", 3_599) && !told("slow down", 3_600));
        assert!(told("slow down", 3_660));
    }

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
