//! What the journal keeps of each destination: the seam between it and the lanes, the replays, and whoever
//! looks after dead letters.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::event::{BatchId, EventId, Sequence, StoredRecord, Timestamp};

/// No record further than this beyond a lane's cursor is ever settled: what the bitmap of a lane can hold.
pub const MAX_WINDOW: u64 = 4_096;

/// The row of a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DestinationId(pub i64);

/// A destination, as the journal knows it, configured or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DestinationRow {
    /// Its row.
    pub id: DestinationId,
    /// Its name.
    pub name: String,
    /// When this journal first saw it.
    pub first_seen_at: Timestamp,
    /// The first sequence that its books count.
    pub first_sequence: Sequence,
    /// Everything up to this sequence is settled; nothing after it is removed.
    pub cursor: Sequence,
    /// What is settled beyond the cursor, ascending; all within [`MAX_WINDOW`] of it, never `cursor + 1`.
    pub acked: Vec<Sequence>,
    /// Its numbers since it was first seen.
    pub books: Books,
    /// Groups that were tried and are not settled, or were about to be tried first.
    pub open_batches: Vec<OpenBatch>,
    /// How its endpoint was when it was last told.
    pub endpoint: Endpoint,
    /// Words under which it tells nothing for a while, and until when.
    pub quiet: Vec<(String, Timestamp)>,
    /// Whether, and how, a person paused it.
    pub paused: Option<Pause>,
    /// Since when it is no longer configured: the wall clock, and the relay's running time.
    pub orphaned: Option<(Timestamp, Duration)>,
}

impl DestinationRow {
    /// How many records wait for it, where `last` is the last sequence that was given: all that is neither
    /// behind its cursor nor settled beyond it, whether or not it was decided on.
    #[must_use]
    pub fn waiting(&self, last: Sequence) -> u64 {
        last.saturating_sub(self.cursor).saturating_sub(self.acked.len() as u64)
    }
}

/// The numbers of one destination (promise 5): accepted = not routed + delivered + dead + purged + waiting,
/// where accepted is counted from its `first_sequence` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Books {
    /// Records that are not for it, whatever the reason.
    pub not_routed: u64,
    /// Of these: records from before its `deliver_since`.
    pub before_since: u64,
    /// Of these: rendered and counted under `observe: true`.
    pub observed: u64,
    /// Of these: left out by the destination's own documented rules.
    pub left_out: u64,
    /// Records that it took.
    pub delivered: u64,
    /// Dead letters that are kept in the journal.
    pub dead: u64,
    /// Dead letters that a person purged or that moved to a file, and what `discard` dropped.
    pub purged: u64,
    /// Records that were delivered once more, by replays; no part of the sum.
    pub replayed: u64,
}

impl Books {
    /// All that is settled: what was accepted since its `first_sequence`, without what waits.
    #[must_use]
    pub const fn sum(&self) -> u64 {
        self.not_routed + self.delivered + self.dead + self.purged
    }
}

/// A group of records on its way, or about to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenBatch {
    /// Its id: in every attempt and after every restart the same.
    pub id: BatchId,
    /// Its records, ascending.
    pub members: Vec<Sequence>,
    /// How often it was tried.
    pub attempts: u32,
    /// When it may be tried again.
    pub not_before: Option<Timestamp>,
}

/// How an endpoint answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndpointState {
    /// Well, as far as is known.
    #[default]
    Running,
    /// Not now: the next attempt has a time.
    Waiting,
    /// Not as things are: it is probed now and then.
    Blocked,
    /// It said that it wants nothing any more (410): it waits for another configuration, or a person.
    Gone,
}

impl EndpointState {
    /// As the journal and the status spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Blocked => "blocked",
            Self::Gone => "gone",
        }
    }

    /// From what the journal stored; an unknown word reads as running.
    #[must_use]
    pub fn from_stored(word: &str) -> Self {
        match word {
            "waiting" => Self::Waiting,
            "blocked" => Self::Blocked,
            "gone" => Self::Gone,
            _ => Self::Running,
        }
    }
}

/// How an endpoint is, kept over restarts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Endpoint {
    /// How it answers.
    pub state: EndpointState,
    /// Why: a stable word, and a sentence that holds no secret.
    pub reason: Option<(String, String)>,
    /// Since when.
    pub since: Option<Timestamp>,
    /// Failed attempts since it last answered well.
    pub attempts: u32,
    /// When it may be asked again.
    pub not_before: Option<Timestamp>,
    /// The configuration that this was found with; a state of another one is not believed.
    pub fingerprint: String,
    /// When it last took something.
    pub last_success_at: Option<Timestamp>,
    /// When, and with what, it last failed.
    pub last_error: Option<(Timestamp, String)>,
}

/// A person's decision to send nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Since when.
    pub at: Timestamp,
    /// Until when, by the wall clock; `None`: until resumed.
    pub until: Option<Timestamp>,
    /// Who.
    pub by: Option<String>,
    /// Why.
    pub reason: Option<String>,
}

/// How many records were settled, by what became of them; dead ones are counted by their letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Taken by the receiver.
    pub delivered: u64,
    /// Not for it: no route.
    pub not_routed: u64,
    /// Not for it: from before its `deliver_since`.
    pub before_since: u64,
    /// Rendered and counted under `observe: true`.
    pub observed: u64,
    /// Left out by the destination's own rules.
    pub left_out: u64,
    /// Dropped by `discard: true`.
    pub discarded: u64,
}

/// What a lane commits: all of it, or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneCommit {
    /// Whose lane.
    pub destination: DestinationId,
    /// Everything up to this sequence is settled now.
    pub cursor: Sequence,
    /// All that is settled beyond the cursor now, ascending.
    pub acked: Vec<Sequence>,
    /// What was settled since the last commit.
    pub counts: Counts,
    /// What died since the last commit.
    pub dead: Vec<DeadLetter>,
    /// Groups to remember, new or changed.
    pub opened: Vec<OpenBatch>,
    /// Groups to forget.
    pub closed: Vec<BatchId>,
    /// How the endpoint is, where that changed.
    pub endpoint: Option<Endpoint>,
    /// All words under which nothing is told for a while, where that changed.
    pub quiet: Option<Vec<(String, Timestamp)>>,
}

/// A record that one destination will not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Which.
    pub sequence: Sequence,
    /// A stable word.
    pub code: String,
    /// A sentence for people.
    pub message: String,
    /// How often it was tried.
    pub attempts: u32,
}

/// A dead letter as it is shown.
#[derive(Debug, Clone)]
pub struct DeadLetterRow {
    /// Whose.
    pub destination: DestinationId,
    /// The destination's name.
    pub destination_name: String,
    /// A stable word: `rejected`, `expired`, `backlog_limit`, ….
    pub code: String,
    /// A sentence for people.
    pub message: String,
    /// How often it was tried.
    pub attempts: u32,
    /// When it died.
    pub died_at: Timestamp,
    /// Its place.
    pub sequence: Sequence,
    /// The record; `None` where it was altered or is gone.
    pub record: Option<Box<StoredRecord>>,
}

/// Which dead letters are meant.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DeadLetterSelection {
    /// Those of this destination alone, by name.
    pub destination: Option<String>,
    /// Those of these records alone.
    pub ids: Vec<EventId>,
    /// Those with this code alone.
    pub code: Option<String>,
}

/// A row of [`DeadLetterRow`]s begins after this, in the order of dying.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetterPlace {
    /// When the one before died.
    pub died_at: Timestamp,
    /// Its destination.
    pub destination: i64,
    /// Its sequence.
    pub sequence: Sequence,
}

/// What a replay sends once more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplaySelection {
    /// These records.
    Ids(Vec<EventId>),
    /// All that was dead at this destination when the replay was asked for.
    DeadLetters,
    /// What was accepted in a time.
    Range {
        /// Accepted at or after this.
        since: Option<Timestamp>,
        /// Accepted before this.
        until: Option<Timestamp>,
        /// Flipt's `noun:verb`, `*` for any; empty for all.
        events: Vec<String>,
    },
}

/// The row of a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ReplayId(pub i64);

/// A replay to be carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewReplay {
    /// To where, by name.
    pub destination: String,
    /// What.
    pub selection: ReplaySelection,
    /// Records a second, at most.
    pub rate: Option<u32>,
}

/// How a replay stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayRow {
    /// Its row.
    pub id: ReplayId,
    /// To where, by name.
    pub destination: String,
    /// What.
    pub selection: ReplaySelection,
    /// Nothing after this sequence is part of it: fixed when it was asked for.
    pub through: Sequence,
    /// How many records it means, as counted when it was asked for (of events that match a pattern: at most).
    pub total: u64,
    /// Everything up to this sequence is done.
    pub position: Sequence,
    /// Records a second, at most.
    pub rate: Option<u32>,
    /// How many were taken.
    pub replayed: u64,
    /// How many were not taken.
    pub failed: u64,
    /// Who asked.
    pub asked_by: Option<String>,
    /// When.
    pub created_at: Timestamp,
    /// When it was done.
    pub finished_at: Option<Timestamp>,
}

/// What a replay commits: all of it, or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayCommit {
    /// Whose.
    pub id: ReplayId,
    /// Everything up to this sequence is done.
    pub position: Sequence,
    /// Records that were taken; a dead letter of this destination among them becomes delivered.
    pub taken: Vec<Sequence>,
    /// Records that were not; a dead letter among them keeps its place with the new reason.
    pub refused: Vec<DeadLetter>,
    /// Records passed over because the pattern does not fit.
    pub passed: u64,
    /// Whether nothing is left.
    pub finished: bool,
}

/// What became of a destination that was let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Released {
    /// Records that waited for it.
    pub waiting: u64,
    /// Its dead letters.
    pub dead: u64,
}
