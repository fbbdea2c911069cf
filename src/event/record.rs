//! Records: what a source hands to the journal, and what the journal gives back.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Entity, EventId, Keys, Namespace, News, OrderKey, Timestamp};

/// The place of a record in its journal: 1, 2, 3, without gaps except where retention or salvage removed rows.
pub type Sequence = u64;

/// What kind of record it is. The numbers are stored: never reuse one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum RecordKind {
    /// One audit event of Flipt.
    Event = 0,
    /// An input that claims to be an audit event and cannot be read.
    Unparsed = 1,
    /// An input longer than the limit: its head is kept, with its length and hash.
    Oversized = 2,
    /// Something known to be missing, or that may be missing.
    Gap = 3,
    /// An act of an operator: replay, purge, applied configuration.
    Act = 4,
}

impl RecordKind {
    /// All kinds, in the order of their stored numbers.
    pub const ALL: [Self; 5] = [Self::Event, Self::Unparsed, Self::Oversized, Self::Gap, Self::Act];

    /// As configuration and envelope spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Unparsed => "unparsed",
            Self::Oversized => "oversized",
            Self::Gap => "gap",
            Self::Act => "act",
        }
    }

    /// From the stored number.
    #[must_use]
    pub fn from_stored(number: i64) -> Option<Self> {
        usize::try_from(number).ok().and_then(|index| Self::ALL.get(index).copied())
    }
}

/// How the lines of a source are wrapped. The numbers are stored with each record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Framing {
    /// Flipt's own forms, told apart by looking: bare JSON, `{"T":…,"M":"AUDIT",…}`, `time<TAB>AUDIT<TAB>{…}`.
    #[default]
    Auto = 0,
    /// Each line carries the prefix of a container runtime (`time stdout F …`); partial lines are joined.
    Cri = 1,
}

impl Framing {
    /// From the stored number; unknown numbers read as [`Framing::Auto`].
    #[must_use]
    pub const fn from_stored(number: i64) -> Self {
        if number == 1 { Self::Cri } else { Self::Auto }
    }
}

/// W3C trace context that came with a record (<https://www.w3.org/TR/trace-context/>).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    /// The `traceparent` header.
    pub traceparent: String,
    /// The `tracestate` header, where there was one.
    pub tracestate: Option<String>,
}

/// Where a record was first taken in, and how it is found in that relay's journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The relay's name.
    pub relay: String,
    /// The epoch of its journal.
    #[serde(rename = "journal")]
    pub epoch: String,
    /// The record's place there.
    pub sequence: Sequence,
    /// When it was accepted there.
    #[serde(rename = "received_at")]
    pub accepted_at: Timestamp,
}

/// A record that a source asks the journal to accept.
#[derive(Debug, Clone)]
pub struct NewRecord {
    /// Its id, for ever; `None` for what was pushed without one: the journal gives it one, from its epoch and
    /// the record's sequence ([`EventId::of_sequence`]).
    pub id: Option<EventId>,
    /// What kind it is.
    pub kind: RecordKind,
    /// Where it begins in its file; 0 for records without a file.
    pub offset: u64,
    /// How its line was wrapped.
    pub framing: Framing,
    /// The bytes as they came, without the final newline. For a gap: its [`GapDetail`] as JSON.
    pub original: Vec<u8>,
    /// JSON about records that are no event ([`UnparsedDetail`], [`OversizedDetail`]).
    pub detail: Option<String>,
    /// The event's own time, where it tells one.
    pub event_time: Option<Timestamp>,
    /// Where it belongs.
    pub keys: Keys,
    /// What it brings to the state of things.
    pub news: Option<Box<News>>,
    /// The trace it is part of.
    pub trace: Option<TraceContext>,
    /// Where another relay took it in, before this one.
    pub origin: Option<Origin>,
}

/// A record as the journal holds it, its digest verified.
#[derive(Debug, Clone)]
pub struct StoredRecord {
    /// Its place in this journal.
    pub sequence: Sequence,
    /// Its id.
    pub id: EventId,
    /// What kind it is.
    pub kind: RecordKind,
    /// The name of the source it entered by.
    pub source: Arc<str>,
    /// The Flipt it belongs to.
    pub instance: Arc<str>,
    /// The epoch of the journal that accepted it.
    pub epoch: Arc<str>,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// The event's own time, where it tells one.
    pub event_time: Option<Timestamp>,
    /// The namespace, as resolved at acceptance.
    pub namespace: Namespace,
    /// What it is about.
    pub entity: Option<Entity>,
    /// What it stays in order with; `None` is a barrier for its instance.
    pub order_key: Option<OrderKey>,
    /// How its line was wrapped.
    pub framing: Framing,
    /// The bytes as they came.
    pub original: Vec<u8>,
    /// JSON about records that are no event.
    pub detail: Option<String>,
    /// The trace it is part of.
    pub trace: Option<TraceContext>,
    /// The relay that first took it in, where that was another one.
    pub origin: Option<Origin>,
    /// What was known around it when it was accepted, as JSON: see [`super::Known::read`].
    pub known: Option<Box<str>>,
    /// The change set that it is part of: `cs_` and the id of its first event without `evt_`.
    pub change_set: Option<Box<str>>,
    /// How long the relay had run with its journal when it was accepted, summed over restarts.
    pub running: std::time::Duration,
}

impl StoredRecord {
    /// About how much there is of it, in bytes: the original, and what was known around it.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.original.len() + self.known.as_ref().map_or(0, |known| known.len())
    }
}

/// What an `unparsed` record says beside its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnparsedDetail {
    /// Why it could not be read, for a person.
    pub reason: String,
}

/// What an `oversized` record says beside the head that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OversizedDetail {
    /// The whole length of the line in bytes.
    pub length_bytes: u64,
    /// SHA-256 of the whole line, in hex.
    pub sha256: String,
    /// How many of its first bytes are kept.
    pub kept_bytes: u64,
}

/// Why something is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapReason {
    /// The file was emptied, and no copy of what it held was found.
    Truncated,
    /// The file was gone, and found under no other name.
    Missing,
    /// The journal was damaged; some of its records could not be read.
    JournalDamaged,
}

/// The `original` of a gap record: what is, or may be, missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GapDetail {
    /// Why.
    pub reason: GapReason,
    /// The path of the file, as it was last known.
    pub path: Option<String>,
    /// The first byte (or, for a damaged journal, sequence) that is missing.
    pub from: u64,
    /// The first byte that is not missing any more; `None` where the end is not known, and then perhaps
    /// nothing is missing at all.
    pub to: Option<u64>,
    /// What a person should know, in a sentence.
    pub message: String,
}
