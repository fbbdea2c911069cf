//! Records, their names and their clocks: the words every other room uses.
//!
//! A *record* is whatever the journal keeps in order: an audit event, an input that claims to be one
//! and cannot be read, one that is too long, a gap (something known to be missing), or the act of an
//! operator.

mod id;
mod keys;
mod record;
mod state;
pub(crate) mod text;
mod timestamp;

pub use id::{BatchId, EventId, Incarnation, ParseIdError};
pub use keys::{Entity, EntityKind, Keys, Namespace, OrderKey, OrderRef, Teaching};
pub use record::{
    Framing, GapDetail, GapReason, NewRecord, Origin, OversizedDetail, Placed, RecordKind, Sequence,
    StoredRecord, TraceContext, UnparsedDetail,
};
pub use state::{
    Closed, Deed, Imported, Known, Late, News, Place, RawText, RuleLabel, Seen, SeenBy, Several, Without,
};
pub use timestamp::Timestamp;
