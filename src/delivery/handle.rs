//! How others see a lane, and what they may tell it.

use tokio::sync::{mpsc, watch};

use super::meter::Meter;
use crate::event::{Sequence, Timestamp};
use crate::journal::{Books, Pause, ReplayRow};

/// What a lane is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LaneState {
    /// Delivering, or waiting for something to deliver.
    Running,
    /// The endpoint does not take anything now: the next attempt has a time.
    Waiting,
    /// The endpoint, or the configuration, is wrong: probed now and then, where it can be.
    Blocked,
    /// A person's decision.
    Paused(Pause),
    /// No longer configured.
    Orphaned,
}

impl LaneState {
    /// As the status spells it.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Blocked => "blocked",
            Self::Paused(_) => "paused",
            Self::Orphaned => "orphaned",
        }
    }
}

/// How a lane stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneStatus {
    /// What it is doing.
    pub state: LaneState,
    /// Why it waits, is blocked: a stable word, and a sentence without secrets.
    pub reason: Option<(String, String)>,
    /// Since when it is so, where it is not running.
    pub since: Option<Timestamp>,
    /// Everything up to this sequence is settled.
    pub cursor: Sequence,
    /// Its numbers, those of records decided on ahead of their turn among them.
    pub books: Books,
    /// Records that wait: decided to be for it, or not decided on yet.
    pub waiting: u64,
    /// Of these: not decided on yet.
    pub undecided: u64,
    /// When the oldest of them was accepted, as far as is known.
    pub oldest_waiting_at: Option<Timestamp>,
    /// Records that are held back, and until when the first of them: see [`crate::destination::Seldom`].
    pub held: (u64, Option<Timestamp>),
    /// Requests under way.
    pub in_flight: usize,
    /// Failed attempts since the endpoint last answered well.
    pub attempts: u32,
    /// When it is tried next.
    pub next_attempt_at: Option<Timestamp>,
    /// When it last took something.
    pub last_success_at: Option<Timestamp>,
    /// When, and with what, it last failed.
    pub last_error: Option<(Timestamp, String)>,
    /// Replays under way.
    pub replays: Vec<ReplayRow>,
}

/// What a lane is told; what it says is in the journal already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LaneOrder {
    /// Send nothing.
    Pause(Pause),
    /// Go on, and ask the endpoint at once, whatever was found about it.
    Resume,
    /// Look for replays.
    Replay,
    /// Some of its dead letters were purged.
    Purged,
}

/// A lane, for those who ask or tell.
#[derive(Debug, Clone)]
pub struct LaneHandle {
    /// The destination's name.
    pub name: String,
    /// How it stands.
    pub status: watch::Receiver<LaneStatus>,
    /// What to tell it; a lane that has ended hears nothing.
    pub orders: mpsc::Sender<LaneOrder>,
    /// What its requests came to.
    pub meter: Meter,
}
