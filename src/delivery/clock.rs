//! The three clocks of a lane, read together.

use std::time::{Duration, Instant};

use super::retry::longest_delay;
use crate::config::plan::RetryPlan;
use crate::event::Timestamp;
use crate::journal::Journal;

/// The wall clock may run ahead of the steady one, or behind it, by this much.
const MAX_CLOCK_STEP: Duration = Duration::from_secs(60);

/// How long nothing is judged by the wall clock after it has jumped.
const CLOCK_FREEZE: Duration = Duration::from_secs(600);

/// One moment by three clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Now {
    /// The wall clock: for what is shown, sent or kept.
    pub(super) wall: Timestamp,
    /// Since the lane began; never goes back: for waits.
    pub(super) steady: Duration,
    /// How long the relay has run with its journal, summed over restarts: for ages.
    pub(super) running: Duration,
    /// Whether the wall clock may be believed: it has not jumped of late.
    pub(super) is_wall_sure: bool,
}

impl Now {
    /// A stored time of the next attempt, by the steady clock and as it is stored. A wall clock that was set
    /// back meanwhile must not make the wait longer than any can be.
    pub(super) fn due(self, until: Timestamp, retry: &RetryPlan) -> (Duration, Timestamp) {
        (self.steady + until.since(self.wall).min(longest_delay(retry)), until)
    }

    /// The time after a wait, by the steady clock and by the wall clock.
    pub(super) fn after(self, wait: Duration) -> (Duration, Timestamp) {
        (self.steady + wait, self.wall.plus(wait))
    }
}

/// Reads the clocks.
#[derive(Debug)]
pub(super) struct Clock {
    journal: Journal,
    began: Instant,
    /// Both clocks at the last look.
    last: (Duration, Timestamp),
    frozen_until: Option<Duration>,
}

impl Clock {
    pub(super) fn new(journal: Journal) -> Self {
        Self { journal, began: Instant::now(), last: (Duration::ZERO, Timestamp::now()), frozen_until: None }
    }

    pub(super) fn now(&mut self) -> Now {
        let (steady, wall) = (self.began.elapsed(), Timestamp::now());
        if jumped(self.last, (steady, wall)) {
            self.frozen_until = Some(steady + CLOCK_FREEZE);
        }
        self.last = (steady, wall);
        let is_wall_sure = self.frozen_until.is_none_or(|until| steady >= until);
        Now { wall, steady, running: self.journal.running(), is_wall_sure }
    }
}

/// Whether the wall clock went another way than the steady one.
fn jumped(before: (Duration, Timestamp), now: (Duration, Timestamp)) -> bool {
    let expected = before.1.plus(now.0.saturating_sub(before.0));
    now.1.since(expected).max(expected.since(now.1)) > MAX_CLOCK_STEP
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_is_told_from_time_that_passed() {
        let at = |seconds: u64| Timestamp::from_unix_micros(0).plus(Duration::from_secs(seconds));
        let before = (Duration::from_secs(100), at(1_000));
        let after = |steady, wall| jumped(before, (Duration::from_secs(steady), at(wall)));
        assert!(!after(100, 1_000) && !after(4_100, 5_000) && !after(160, 1_001) && !after(101, 1_060));
        assert!(after(101, 1_062) && after(101, 900) && after(4_100, 1_000));
    }
}
