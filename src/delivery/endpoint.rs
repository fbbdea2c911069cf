//! What a lane believes about its endpoint, and when it asks it next. Pure: clocks are handed in.
//!
//! An answer that speaks of one event says nothing here; network trouble, 5xx and 429 make the endpoint
//! *wait*, a wrong address or credential makes it *blocked*. Both are left by one request that passes.

use std::time::Duration;

use super::clock::Now;
use super::retry::retry_delay;
use crate::config::plan::RetryPlan;
use crate::destination::Reason;
use crate::event::Timestamp;
use crate::journal::{Endpoint as Stored, EndpointState};

/// Every so many-th probe is made with a record of another key than the oldest.
const OTHER_KEY_EVERY: u32 = 3;

/// See the module.
#[derive(Debug)]
pub(super) struct Endpoint {
    retry: RetryPlan,
    state: EndpointState,
    reason: Option<(String, String)>,
    since: Option<Timestamp>,
    /// Failures since it last answered well.
    attempts: u32,
    /// When it may be asked again, by the steady clock and by the wall clock.
    not_before: Option<(Duration, Timestamp)>,
    /// How many requests were made.
    issued: u64,
    /// How many had been made when it got worse last: what they say is nothing new.
    judged: u64,
    probes: u32,
    fingerprint: String,
    last_success_at: Option<Timestamp>,
    last_error: Option<(Timestamp, String)>,
    /// Whether what the journal knows is another.
    is_changed: bool,
}

/// What may be sent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Permit {
    /// Whatever is ready.
    All,
    /// One request alone: the oldest, or (`other_key`) one that has no key in common with it.
    Probe {
        /// See above.
        other_key: bool,
    },
    /// Nothing.
    Nothing,
}

impl Endpoint {
    /// As it was left, where the configuration is still the same; asked at once where it is not.
    pub(super) fn restore(stored: Stored, retry: RetryPlan, fingerprint: &str, now: Now) -> Self {
        let is_same = stored.fingerprint == fingerprint;
        let state = if is_same { stored.state } else { EndpointState::Running };
        let is_well = state == EndpointState::Running;
        Self {
            state,
            reason: stored.reason.filter(|_| !is_well),
            since: stored.since.filter(|_| !is_well),
            attempts: if is_well { 0 } else { stored.attempts },
            not_before: stored.not_before.filter(|_| !is_well).map(|until| now.due(until, &retry)),
            issued: 0,
            judged: 0,
            probes: 0,
            fingerprint: fingerprint.to_owned(),
            last_success_at: stored.last_success_at,
            last_error: stored.last_error,
            is_changed: !is_same && stored.state != EndpointState::Running,
            retry,
        }
    }

    /// What may be sent now.
    pub(super) fn permit(&self, now: Now) -> Permit {
        let is_due = self.not_before.is_none_or(|(until, _)| now.steady >= until);
        match self.state {
            EndpointState::Running => Permit::All,
            EndpointState::Waiting | EndpointState::Blocked if is_due => {
                Permit::Probe { other_key: self.probes % OTHER_KEY_EVERY == OTHER_KEY_EVERY - 1 }
            }
            EndpointState::Waiting | EndpointState::Blocked | EndpointState::Gone => Permit::Nothing,
        }
    }

    /// A request goes out; its number is asked for with what comes back.
    pub(super) fn issue(&mut self) -> u64 {
        if self.state != EndpointState::Running {
            self.probes = self.probes.wrapping_add(1);
        }
        self.issued += 1;
        self.issued
    }

    /// How often a record of another key was asked with since the endpoint is unwell.
    pub(super) fn other_key_probes(&self) -> usize {
        (self.probes / OTHER_KEY_EVERY) as usize
    }

    /// Request `number` passed. Whether the endpoint is well again by that.
    pub(super) fn passed(&mut self, number: u64, now: Now) -> bool {
        self.last_success_at = Some(now.wall);
        if self.state == EndpointState::Running || self.is_of_before(number) {
            return false;
        }
        self.recover();
        true
    }

    /// Whether request `number` went out before the endpoint was found unwell, and tells nothing new of it.
    pub(super) fn is_of_before(&self, number: u64) -> bool {
        self.state == EndpointState::Gone || self.state != EndpointState::Running && number <= self.judged
    }

    /// Request `number` was answered, if not well: it is there. Whether it was blocked until now.
    pub(super) fn answered(&mut self, number: u64) -> bool {
        let was_blocked = self.state == EndpointState::Blocked;
        let is_news = !self.is_of_before(number);
        if is_news {
            self.recover();
        }
        is_news && was_blocked
    }

    /// How many requests were made.
    pub(super) fn issued(&self) -> u64 {
        self.issued
    }

    /// It answers, if not always well: back to running.
    pub(super) fn recover(&mut self) {
        if self.state != EndpointState::Running {
            self.is_changed = true;
        }
        self.state = EndpointState::Running;
        (self.reason, self.since, self.not_before) = (None, None, None);
        (self.attempts, self.probes) = (0, 0);
    }

    /// It did not take request `number`, for now. Returns how long to
    /// wait, where that is news.
    pub(super) fn failed(
        &mut self,
        number: u64,
        asked: Option<Duration>,
        reason: &Reason,
        now: Now,
    ) -> Option<Duration> {
        self.note(reason, now);
        let left = self.not_before.map_or(Duration::ZERO, |(until, _)| until.saturating_sub(now.steady));
        // Others of the same moment tell nothing new, but may ask for a longer wait.
        let is_news = self.state == EndpointState::Running || number > self.judged;
        if is_news && self.state != EndpointState::Gone {
            self.attempts = self.attempts.saturating_add(1);
            self.judged = self.issued;
        }
        if self.state == EndpointState::Running {
            self.state = EndpointState::Waiting;
            self.since = Some(now.wall);
        }
        let wait = match (is_news, asked) {
            (true, asked) => retry_delay(&self.retry, self.attempts, asked),
            (false, Some(_)) => retry_delay(&self.retry, self.attempts, asked).max(left),
            (false, None) => left,
        };
        if self.state != EndpointState::Gone {
            self.wait(wait, now);
        }
        is_news.then_some(wait)
    }

    /// It will not take anything as things are. Whether that is news.
    pub(super) fn block(&mut self, number: u64, gone: bool, reason: &Reason, now: Now) -> bool {
        self.note(reason, now);
        let state = if gone { EndpointState::Gone } else { EndpointState::Blocked };
        let is_first = !matches!(self.state, EndpointState::Blocked | EndpointState::Gone);
        if is_first || number > self.judged {
            self.attempts = self.attempts.saturating_add(1);
            self.judged = self.issued;
            let wait = retry_delay(&self.retry, self.attempts, None);
            self.wait(wait, now);
        }
        if is_first {
            self.since = Some(now.wall);
            self.probes = 0;
        }
        if self.state != EndpointState::Gone {
            self.state = state;
        }
        if self.state == EndpointState::Gone {
            self.not_before = None;
        }
        is_first
    }

    fn note(&mut self, reason: &Reason, now: Now) {
        self.reason = Some((reason.code.to_owned(), reason.message.to_string()));
        self.last_error = Some((now.wall, reason.message.to_string()));
        self.is_changed = true;
    }

    fn wait(&mut self, wait: Duration, now: Now) {
        self.not_before = Some(now.after(wait));
    }

    /// A person, or the end of the relay, wants it asked at once.
    pub(super) fn hurry(&mut self, now: Now) {
        if self.not_before.is_some() {
            self.not_before = Some((now.steady, now.wall));
        }
    }

    pub(super) fn state(&self) -> EndpointState {
        self.state
    }

    /// When it may be asked again, where it has to wait.
    pub(super) fn due_at(&self) -> Option<(Duration, Timestamp)> {
        self.not_before
    }

    pub(super) fn reason(&self) -> Option<&(String, String)> {
        self.reason.as_ref()
    }

    pub(super) fn since(&self) -> Option<Timestamp> {
        self.since
    }

    pub(super) fn last_success_at(&self) -> Option<Timestamp> {
        self.last_success_at
    }

    pub(super) fn last_error(&self) -> Option<&(Timestamp, String)> {
        self.last_error.as_ref()
    }

    pub(super) fn attempts(&self) -> u32 {
        self.attempts
    }

    pub(super) fn is_changed(&self) -> bool {
        self.is_changed
    }

    /// As it is to be committed, where it is another than what was committed last.
    pub(super) fn take_changed(&mut self) -> Option<Stored> {
        std::mem::take(&mut self.is_changed).then(|| Stored {
            state: self.state,
            reason: self.reason.clone(),
            since: self.since,
            attempts: self.attempts,
            not_before: self.not_before.map(|(_, until)| until),
            fingerprint: self.fingerprint.clone(),
            last_success_at: self.last_success_at,
            last_error: self.last_error.clone(),
        })
    }
}
