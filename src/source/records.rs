//! From bytes to records, in one way for lines of files and for what is pushed.

use sha2::{Digest, Sha256};

use crate::event::{
    EventId, Framing, GapDetail, Incarnation, Keys, Namespace, NewRecord, OversizedDetail, RecordKind,
    UnparsedDetail,
};
use crate::flipt::{LineKind, read_line};

/// The longest event that is kept whole, in bytes: what Flipt itself writes at most.
pub(crate) const MAX_EVENT_BYTES: usize = 4 << 20;

/// How much of an oversized event is kept, in bytes.
pub const OVERSIZED_KEPT_BYTES: usize = 64 * 1024;

/// The record that a whole line of the Flipt called `instance`, or an event by itself, is; `None` where it is
/// not kept.
pub(super) fn whole(
    id: Option<EventId>,
    offset: u64,
    text: &[u8],
    framing: Framing,
    instance: &str,
) -> Option<NewRecord> {
    match read_line(text, framing, instance) {
        LineKind::Event { time, keys, news } => Some(NewRecord {
            event_time: time,
            keys,
            news,
            ..bare(id, RecordKind::Event, offset, text, framing)
        }),
        LineKind::Unparsed { reason } => Some(unparsed(id, offset, text, framing, reason)),
        LineKind::Ignored => None,
    }
}

/// What claims to be an event, and cannot be read as one.
pub(super) fn unparsed(
    id: Option<EventId>,
    offset: u64,
    text: &[u8],
    framing: Framing,
    reason: String,
) -> NewRecord {
    let detail = serde_json::to_string(&UnparsedDetail { reason }).ok();
    NewRecord { detail, ..bare(id, RecordKind::Unparsed, offset, text, framing) }
}

/// What is too long to be kept whole: its head, with length and hash of all of it.
pub(super) fn oversized(
    id: Option<EventId>,
    offset: u64,
    head: &[u8],
    length_bytes: u64,
    sha256: &[u8; 32],
    framing: Framing,
) -> NewRecord {
    let detail = OversizedDetail { length_bytes, sha256: hex::encode(sha256), kept_bytes: head.len() as u64 };
    NewRecord {
        detail: serde_json::to_string(&detail).ok(),
        ..bare(id, RecordKind::Oversized, offset, head, framing)
    }
}

/// What came whole, and is too long to be kept so.
pub(super) fn oversized_whole(id: Option<EventId>, whole: &[u8], framing: Framing) -> NewRecord {
    let head = &whole[..whole.len().min(OVERSIZED_KEPT_BYTES)];
    oversized(id, 0, head, whole.len() as u64, &Sha256::digest(whole).into(), framing)
}

/// What is missing, or may be, of the file called `name`.
pub(super) fn gap(name: Incarnation, detail: &GapDetail) -> NewRecord {
    let original = serde_json::to_vec(detail).unwrap_or_default();
    let id = EventId::of_line(name, detail.from, &original);
    bare(Some(id), RecordKind::Gap, detail.from, &original, Framing::Auto)
}

fn bare(id: Option<EventId>, kind: RecordKind, offset: u64, original: &[u8], framing: Framing) -> NewRecord {
    NewRecord {
        id,
        kind,
        offset,
        framing,
        original: original.to_vec(),
        detail: None,
        event_time: None,
        keys: Keys::barrier(Namespace::None),
        news: None,
        trace: None,
        origin: None,
    }
}
