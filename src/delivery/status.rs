//! How a lane stands, for people and for shutdown.

use std::time::Duration;

use crate::event::Timestamp;
use crate::journal::Books;

/// What a lane is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LaneState {
    /// Delivering, or waiting for something to deliver.
    Running,
    /// Waiting until the next attempt.
    Waiting {
        /// When that is.
        until: Timestamp,
        /// Why the last attempt failed.
        reason: String,
    },
    /// It cannot work until something is changed.
    Blocked {
        /// What.
        reason: String,
    },
}

/// How a lane stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneStatus {
    /// What it is doing.
    pub state: LaneState,
    /// Everything up to this sequence is settled.
    pub cursor: u64,
    /// Its numbers, as committed.
    pub books: Books,
    /// When it last delivered something.
    pub last_success_at: Option<Timestamp>,
}

impl LaneStatus {
    pub(super) fn wait(&mut self, wait: Duration, reason: &str) {
        self.state = LaneState::Waiting { until: Timestamp::now().plus(wait), reason: reason.to_owned() };
    }
}
