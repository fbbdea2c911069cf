//! All that is Flipt's: how audit events are wrapped, what shapes they have had since v1.21, what each is
//! about, and the very bytes that Flipt's own webhook sink would send.
//!
//! Nothing here builds a tree of a payload: an event is read as slices of its line, and written by copying
//! those slices.

mod change;
mod event;
pub mod family;
mod fields;
mod framing;
mod go;
mod keys;
mod line;
#[cfg(test)]
pub(crate) mod mini;
mod news;
mod payload;
mod rewrite;
mod tokens;
mod webhook_body;

#[cfg(test)]
mod tests;

pub use change::{ActorKind, Change, ChangeFacts, ChangeKind, Difference, apply, change, facts};
pub(crate) use change::{
    Compared, Differences, MAX_DIFFERENCES, compare, compared, deed, hides_segments, identity,
};
pub(crate) use event::with_event;
pub use event::{Actor, AuditEvent, ParseEventError};
pub(crate) use fields::{Fields, in_compact_form};
pub use framing::{CriLine, Found, FramingError, find, unwrap};
pub use go::go_duration;
pub use keys::{keys, keys_and_news};
pub use line::{LineKind, read_line};
pub use news::MAX_STATE_BYTES;
pub(crate) use news::actor_mark;
pub use payload::Payload;
pub(crate) use payload::child_list;
pub(crate) use rewrite::{Ahead, Fate, rewrite_event, rewrite_fields};
pub(crate) use tokens::{compact, compacted, copy_compact, text};
pub use webhook_body::{NoFliptForm, event_data, webhook_body};
