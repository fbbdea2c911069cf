//! What operators ask, and what they are told: the words that go through the control socket.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::changes::{ChangesAsked, ChangesPage};
use super::explain::{ExplainAsked, Explanation};
use super::letters::{Letter, WholeLetter};
use super::preview::Preview;
use super::report::Report;
use crate::event::{EventId, Sequence, Timestamp};
use crate::journal::{
    DeadLetterPlace, DeadLetterSelection, JournalError, NewReplay, OperatorError, ReplayId, ReplayRow,
};

/// What an operator asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// How does everything stand?
    Status,
    /// Dead letters, a page of them.
    DeadLetters {
        /// Which.
        selection: DeadLetterSelection,
        /// After which place the page begins.
        after: Option<DeadLetterPlace>,
        /// How many, at most.
        limit: usize,
    },
    /// One dead letter with all there is to know.
    DeadLetter {
        /// The record's id.
        id: EventId,
        /// At this destination alone.
        destination: Option<String>,
    },
    /// What changed? A page of it.
    Changes(ChangesAsked),
    /// Why do records of the journal go where they go?
    Explain(ExplainAsked),
    /// Drop dead letters for good.
    Purge {
        /// Which.
        selection: DeadLetterSelection,
        /// Whether the operator is sure; otherwise they are only counted.
        confirmed: bool,
    },
    /// Send records once more.
    Replay {
        /// Which, where to, how fast.
        replay: NewReplay,
        /// Only tell what would be sent.
        dry_run: bool,
        /// Whether the operator is sure: asked for where people are called to look.
        confirmed: bool,
    },
    /// How does a replay stand?
    ReplayProgress {
        /// Which.
        id: ReplayId,
    },
    /// Send nothing to a destination.
    Pause {
        /// Its name.
        destination: String,
        /// For how long; until resumed without.
        for_seconds: Option<u64>,
        /// Why.
        reason: Option<String>,
    },
    /// Send again, at once.
    Resume {
        /// Its name.
        destination: String,
        /// Why.
        reason: Option<String>,
    },
    /// Copy the journal.
    Backup {
        /// To this file, an absolute path at which there is nothing.
        file: PathBuf,
    },
    /// Take in one file to its end.
    Import {
        /// The file, by an absolute path.
        file: PathBuf,
        /// As which source.
        source: String,
        /// Deliver none of it.
        journal_only: bool,
    },
}

/// What an operator is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// How everything stands.
    Status(Box<Report>),
    /// Dead letters.
    DeadLetters {
        /// Them.
        letters: Vec<Letter>,
        /// After which place there may be more.
        after: Option<DeadLetterPlace>,
    },
    /// The dead letters of one record.
    DeadLetter(Vec<WholeLetter>),
    /// What changed, a page of it.
    Changes(ChangesPage),
    /// Why records go where they go, a page of it.
    Explained {
        /// Them.
        explanations: Vec<Explanation>,
        /// Records that were altered or removed since they were accepted.
        altered: Vec<Sequence>,
        /// What to ask for next, where there is more.
        more: Option<ExplainAsked>,
    },
    /// So many were purged, or would be.
    Purged {
        /// How many.
        records: u64,
        /// Whether it was done.
        done: bool,
    },
    /// What a replay would send; nothing was sent.
    Preview(Preview),
    /// How a replay stands.
    Replay {
        /// Its row.
        row: ReplayRow,
        /// The state of its destination; `stopped` where no relay runs.
        state: String,
    },
    /// It is paused.
    Paused {
        /// Until when.
        until: Option<Timestamp>,
    },
    /// It goes on.
    Resumed {
        /// The state that was ended.
        was: String,
    },
    /// The journal was copied.
    BackedUp {
        /// How large the copy is.
        bytes: u64,
    },
    /// A file was taken in.
    Imported {
        /// Records that are new.
        accepted: u64,
        /// Records that the journal had already.
        known: u64,
        /// Of all of these, how many could not be read as events.
        unreadable: u64,
        /// Lines that are not kept.
        ignored: u64,
    },
}

/// Whose fault it is that nothing was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// What was asked for makes no sense.
    Usage,
    /// What was asked for failed.
    Failure,
}

/// Why nothing was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// Whose fault it is.
    pub fault: Fault,
    /// A sentence for people.
    pub message: String,
}

impl Refusal {
    /// What was asked for makes no sense.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { fault: Fault::Usage, message: message.into() }
    }

    /// What was asked for failed.
    pub fn failure(message: impl Into<String>) -> Self {
        Self { fault: Fault::Failure, message: message.into() }
    }
}

impl From<JournalError> for Refusal {
    fn from(error: JournalError) -> Self {
        Self::failure(error.to_string())
    }
}

impl From<OperatorError> for Refusal {
    fn from(error: OperatorError) -> Self {
        match error {
            OperatorError::NoSuchDestination(_) => Self::usage(error.to_string()),
            OperatorError::Refused(_) | OperatorError::Journal(_) => Self::failure(error.to_string()),
        }
    }
}
