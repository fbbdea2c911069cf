//! What the journal takes from sources and operators, and gives to readers: with `destination_types.rs` the seam
//! that every other room is built against.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::event::{
    EventId, Framing, Incarnation, Namespace, NewRecord, OrderKey, Placed, RecordKind, Sequence,
    StoredRecord, Timestamp,
};

/// How a journal is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// The directory that holds `journal.db`, `lock` and `reserve`; created with mode 0700 if missing.
    pub data_dir: PathBuf,
    /// Records older than this are removed once every destination that was ever registered has passed them.
    pub keep: Duration,
    /// Used pages and WAL together stay below this, in bytes.
    pub max_size_bytes: u64,
    /// How long to wait for another process to let go of the lock.
    pub lock_wait: Duration,
    /// Whether nothing is removed: nobody knows to whom it is owed. At the limit nothing more is accepted.
    pub keeps_all: bool,
}

/// The row of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SourceId(pub i64);

/// A source, as the journal knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceRow {
    /// Its row.
    pub id: SourceId,
    /// Whether an earlier run of the relay already looked at its files.
    pub started: bool,
}

/// How a source stands, for the status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceBooks {
    /// Its name.
    pub name: String,
    /// The Flipt it belongs to.
    pub instance: String,
    /// Lines read and not kept.
    pub ignored: u64,
    /// Inputs that could not be read.
    pub unparsed: u64,
    /// When it last gave a record.
    pub last_event_at: Option<Timestamp>,
    /// The files that are followed still: path, position.
    pub files: Vec<(PathBuf, u64)>,
}

/// The row of one incarnation of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IncarnationId(pub i64);

/// What identifies a file's content up to a position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    /// How many first bytes `head_hash` covers (at most 1 KiB; grows with the file until then).
    pub head_len: u64,
    /// SHA-256 of the first `head_len` bytes.
    pub head_hash: [u8; 32],
    /// How many bytes before the position `tail_hash` covers (at most 1 KiB).
    pub tail_len: u64,
    /// SHA-256 of the `tail_len` bytes before the position.
    pub tail_hash: [u8; 32],
}

/// One incarnation of one file, as the journal knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncarnationRow {
    /// Its row.
    pub id: IncarnationId,
    /// Its name.
    pub name: Incarnation,
    /// SHA-256 of its first line cut at 1 KiB: what ordinals are counted among.
    pub first_line_hash: [u8; 32],
    /// How many incarnations of this source began alike before it.
    pub ordinal: u32,
    /// The configured path under which it was first met.
    pub path: String,
    /// Where it was last seen (it may have been renamed).
    pub last_path: String,
    /// Its inode, a help to find it, nothing more.
    pub inode: u64,
    /// Everything before this byte is journaled.
    pub position: u64,
    /// What it looks like up to the position.
    pub fingerprint: Fingerprint,
    /// Nothing before this byte was ever read: reading began there.
    pub read_from: u64,
    /// When it last grew, as far as was seen.
    pub grown_at: Timestamp,
    /// Whether nothing more is expected of it.
    pub finished: bool,
}

/// An incarnation that a source has met for the first time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewIncarnation {
    /// Its source.
    pub source: SourceId,
    /// The relay's name and the source's: part of the incarnation's name.
    pub relay_name: String,
    /// The source's name.
    pub source_name: String,
    /// Its first line cut at 1 KiB, without the newline.
    pub first_line: Vec<u8>,
    /// The configured path under which it was met.
    pub path: String,
    /// Its inode.
    pub inode: u64,
    /// Where reading begins.
    pub position: u64,
    /// What is before this byte is in no journal: as `position` where that was skipped, 0 where another incarnation
    /// has it.
    pub read_from: u64,
    /// What it looks like up to there.
    pub fingerprint: Fingerprint,
}

/// Moves the committed position of a file on: compare-and-set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advance {
    /// Which incarnation.
    pub incarnation: IncarnationId,
    /// The position that must be the committed one.
    pub from: u64,
    /// The position to commit.
    pub to: u64,
    /// What the file looks like up to `to`.
    pub fingerprint: Fingerprint,
    /// Where it was last seen.
    pub last_path: String,
    /// Its inode.
    pub inode: u64,
    /// Whether nothing more is expected of it after this.
    pub finished: bool,
}

/// What a source asks to be accepted in one piece: all of it, or nothing.
#[derive(Debug, Clone)]
pub struct Append {
    /// The source.
    pub source: SourceId,
    /// The position that the records bring it to; `None` for what has no position (pushes).
    pub advance: Option<Advance>,
    /// The records, in order; may be empty (a position can move over blank lines alone). A record whose
    /// id is in the journal already is passed over.
    pub records: Vec<NewRecord>,
    /// Lines that were read and are not kept (the application log of Flipt).
    pub ignored: u64,
}

/// What was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// Records that are new.
    pub accepted: u64,
    /// Records that the journal had already, by id.
    pub known: u64,
    /// The last sequence of the journal now.
    pub last_sequence: Sequence,
    /// What became of those that are part of a trace, in order; `None` for one that was only counted.
    pub placed: Vec<Option<Placed>>,
}

/// What was pushed in one request: all of it is accepted, or nothing.
#[derive(Debug, Clone)]
pub struct Push {
    /// The source.
    pub source: SourceId,
    /// The records, in order; one whose id is in the journal already is passed over.
    pub records: Vec<NewRecord>,
    /// What a repetition of the request is known by.
    pub key: Option<PushKey>,
}

/// What a repetition of a request is known by for 24 hours: a hash over the name that the client gave it and
/// its body. A name that is used again for another body names another request, so that nothing is lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushKey(pub(super) String);

/// What became of a [`Push`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// The ids of the records that are kept, in order; those that the journal had already are among them.
    pub ids: Vec<EventId>,
    /// How many of them are new.
    pub accepted: u64,
    /// Whether the request came before: the ids are those of then.
    pub is_repeated: bool,
    /// What became of those that are part of a trace, in order; nothing for a repetition, `None` for one that was
    /// only counted.
    pub placed: Vec<Option<Placed>>,
}

/// Why nothing of an [`Append`] or a [`Push`] was accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The committed position is another: read on from there.
    #[error("the committed position is {committed}, not the one this append began at")]
    Moved {
        /// The committed position.
        committed: u64,
    },
    /// The journal is at its size limit, and a destination that was ever registered still needs what it
    /// holds.
    #[error(
        "the journal is full ({used_bytes} of {max_bytes} bytes) and a destination still needs all of it"
    )]
    Full {
        /// What it uses.
        used_bytes: u64,
        /// Its limit.
        max_bytes: u64,
    },
    /// The disk is full.
    #[error("the disk that holds the journal is full")]
    DiskFull,
    /// The journal could not be written; it has been reopened, and the committed positions stand.
    #[error("the journal could not be written: {0}")]
    Io(String),
    /// The journal is closed.
    #[error("the journal is closed")]
    Closed,
}

/// What an operator did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActKind {
    /// Paused a destination.
    Pause,
    /// Resumed one.
    Resume,
    /// Purged dead letters.
    Purge,
    /// Asked for a replay.
    Replay,
    /// Let go of a destination that is no longer configured (after seven days, or by `discard: true`).
    Release,
    /// Took over a destination's place under a new name (`renamed_from`).
    Rename,
    /// Applied another configuration, by a reload or at a start.
    Configure,
}

/// An act of an operator, kept as a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Act {
    /// What was done.
    pub act: ActKind,
    /// To which destination.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// Who did it: a login name with its uid, or `audit-relay` itself.
    pub by: String,
    /// Why, in the operator's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How many records it concerned; filled in by the journal where it counts them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records: Option<u64>,
    /// What else there is to say.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub detail: serde_json::Value,
}

impl Act {
    /// An act on a destination, done by `by`, without a reason or anything else to say.
    #[must_use]
    pub fn new(act: ActKind, destination: &str, by: &str) -> Self {
        Self {
            act,
            destination: Some(destination.to_owned()),
            by: by.to_owned(),
            reason: None,
            records: None,
            detail: serde_json::Value::Null,
        }
    }

    /// What the relay does by itself, and why.
    #[must_use]
    pub fn by_relay(act: ActKind, destination: &str, reason: &str) -> Self {
        Self { reason: Some(reason.to_owned()), ..Self::new(act, destination, Self::RELAY) }
    }

    /// Who does what no person asked for.
    pub const RELAY: &'static str = "audit-relay";
}

/// A row as a reader found it.
#[derive(Debug, Clone)]
pub enum ReadRow {
    /// Whole: its digest fits, and its link to the record before.
    Record(Box<StoredRecord>),
    /// Altered or missing since it was accepted: never to be sent.
    Corrupt {
        /// Its sequence.
        sequence: Sequence,
    },
}

impl ReadRow {
    /// Its sequence.
    #[must_use]
    pub fn sequence(&self) -> Sequence {
        match self {
            Self::Record(record) => record.sequence,
            Self::Corrupt { sequence } => *sequence,
        }
    }
}

/// The little of a record that deciding on it needs.
#[derive(Debug, Clone)]
pub struct Outline {
    /// Its place.
    pub sequence: Sequence,
    /// What kind it is.
    pub kind: RecordKind,
    /// The source's name.
    pub source: Arc<str>,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// The event's own time.
    pub event_time: Option<Timestamp>,
    /// The namespace.
    pub namespace: Namespace,
    /// JSON about records that are no event, or imported.
    pub detail: Option<String>,
    /// About how much there is of it, as [`StoredRecord::size_bytes`] tells it.
    pub size_bytes: u64,
    /// What it stays in order with.
    pub order_key: Option<OrderKey>,
    /// How its line was wrapped, and the original, where it was asked for.
    pub original: Option<(Framing, Vec<u8>)>,
    /// What was known around it when it was accepted, where the original was asked for.
    pub known: Option<Box<str>>,
}

/// How much a reader copies at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadLimit {
    /// Rows, at most.
    pub max_rows: usize,
    /// Bytes of originals, at most; the first row is returned whatever its size.
    pub max_bytes: usize,
}

/// Why the journal could not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// SQLite or the file system said no.
    #[error("the journal failed: {0}")]
    Io(String),
    /// It is closed.
    #[error("the journal is closed")]
    Closed,
}

/// Why an operator's wish was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OperatorError {
    /// No destination of that name was ever registered.
    #[error("the journal knows no destination `{0}`")]
    NoSuchDestination(String),
    /// See the message.
    #[error("{0}")]
    Refused(String),
    /// The journal failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// Why a journal could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process holds the data directory, and did not let go in time.
    #[error("{} is in use by {holder}: waited {waited_seconds} s for it to end", data_dir.display())]
    Locked {
        /// The directory.
        data_dir: PathBuf,
        /// What the lock file says about the process that holds it.
        holder: String,
        /// How long was waited, in seconds.
        waited_seconds: u64,
    },
    /// The file system cannot keep a journal: write-ahead logging needs shared memory and locks that hold.
    #[error(
        "{} is on {file_system}, a file system that cannot keep the journal: it needs memory shared between \
         connections, and locks that hold; put data_dir on a local disk", data_dir.display()
    )]
    FileSystem {
        /// The directory.
        data_dir: PathBuf,
        /// The kind of file system.
        file_system: String,
    },
    /// A newer release wrote the journal, and says that this one would misread it.
    #[error(
        "the journal was written by a newer audit-relay (schema {found}, readable since {readable_since}) and \
         this one knows schema {known}: run a newer release, or another data_dir"
    )]
    Newer {
        /// The schema of the file.
        found: i64,
        /// The least schema a reader must know.
        readable_since: i64,
        /// The schema of this release.
        known: i64,
    },
    /// See the message.
    #[error("{0}")]
    Other(String),
}

/// What was found when the journal was opened.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OpenReport {
    /// It is new.
    pub created: bool,
    /// It was damaged: how many records were salvaged into a fresh one, and where the old one lies.
    pub salvaged: Option<(u64, PathBuf)>,
    /// How many of the last 1,000 records no longer fit their digest.
    pub corrupt_records: u64,
}

/// How the journal is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JournalStatus {
    /// The first sequence that is still there (0: none).
    pub first_sequence: Sequence,
    /// The last sequence that was given.
    pub last_sequence: Sequence,
    /// Used pages and WAL, in bytes.
    pub used_bytes: u64,
    /// The limit, in bytes.
    pub max_size_bytes: u64,
    /// Whether it is at its limit: nothing is accepted until a destination moves on.
    pub full: bool,
    /// The destination, configured or not, that has passed the least: what it is owed is not removed. `None`
    /// where every destination has passed everything.
    pub pinned_by: Option<String>,
    /// Whether the disk is full: nothing is accepted until there is room again.
    pub disk_full: bool,
    /// Whether SQLite found the file damaged: it is salvaged at the next start.
    pub damaged: bool,
    /// Records that were altered or are missing, as far as they were met since the start.
    pub corrupt_records: u64,
}
