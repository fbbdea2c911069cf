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

impl TraceContext {
    /// How long a `tracestate` may be, in bytes; the specification asks for 512 characters at least to be passed on.
    const MAX_STATE_BYTES: usize = 512;
    /// How long a `traceparent` of a later version may be, in bytes.
    const MAX_PARENT_BYTES: usize = 128;

    /// What came from outside, as two headers have it; `None` where `traceparent` is not valid. A `tracestate` that
    /// is empty, too long or not printable ASCII is left out.
    #[must_use]
    pub fn received(traceparent: &str, tracestate: Option<&str>) -> Option<Self> {
        let is_state = |state: &&str| {
            !state.is_empty()
                && state.len() <= Self::MAX_STATE_BYTES
                && state.bytes().all(|byte| (b' '..=b'~').contains(&byte))
        };
        is_traceparent(traceparent).then(|| Self {
            traceparent: traceparent.to_owned(),
            tracestate: tracestate.filter(is_state).map(str::to_owned),
        })
    }
}

/// `version-trace-parent-flags` in lower-case hex; later versions may have more behind it.
fn is_traceparent(text: &str) -> bool {
    let mut parts = text.splitn(5, '-');
    let mut part = |length: usize| {
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        parts.next().filter(|part| part.len() == length && part.bytes().all(is_hex))
    };
    let (Some(version), Some(trace), Some(parent), Some(_)) = (part(2), part(32), part(16), part(2)) else {
        return false;
    };
    let more = parts.next();
    let is_zero = |part: &str| part.bytes().all(|byte| byte == b'0');
    version != "ff"
        && (version != "00" || more.is_none())
        && more.is_none_or(|more| more.bytes().all(|byte| byte.is_ascii_graphic()))
        && !is_zero(trace)
        && !is_zero(parent)
        && text.len() <= TraceContext::MAX_PARENT_BYTES
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

/// What became of a record in the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Its id.
    pub id: EventId,
    /// Its place in the journal; `None` where the journal had it already.
    pub sequence: Option<Sequence>,
    /// What it stays in order with, as resolved; `None` is a barrier for its instance.
    pub order_key: Option<OrderKey>,
    /// The change set that it is part of.
    pub change_set: Option<Box<str>>,
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
    /// The file has a hole: bytes that were given back to the file system, or never written.
    Hole,
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

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn only_a_valid_trace_is_taken() {
        let is_valid = |text: &str| TraceContext::received(text, None).is_some();
        assert!(is_valid(PARENT));
        assert!(is_valid("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more"));
        for wrong in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-\r\nx-evil: 1",
        ] {
            assert!(!is_valid(wrong), "{wrong}");
        }
        assert!(!is_valid(&format!("01{}-{}", &PARENT[2..], "x".repeat(100))));
    }

    #[test]
    fn a_state_that_no_header_can_carry_is_left_out() {
        let state = |state: &str| TraceContext::received(PARENT, Some(state)).unwrap().tracestate;
        assert_eq!(state("a=1,b=2").as_deref(), Some("a=1,b=2"));
        for wrong in ["", "a=1\r\nx: y", "a=é", &"x".repeat(513)] {
            assert_eq!(state(wrong), None, "{wrong}");
        }
    }
}
