//! All that is Flipt's: how audit events are wrapped, what shapes they have had since v1.21, what each is
//! about, and the very bytes that Flipt's own webhook sink would send.
//!
//! Nothing here builds a tree of a payload: an event is read as slices of its line, and written by copying
//! those slices.

mod event;
mod framing;
mod keys;
mod line;
mod payload;
mod tokens;
mod webhook_body;

#[cfg(test)]
mod tests;

pub use event::{Actor, AuditEvent, ParseEventError};
pub use framing::{CriLine, Found, FramingError, find, unwrap};
pub use keys::keys;
pub use line::{LineKind, read_line};
pub use payload::Payload;
pub(crate) use tokens::compact;
pub use webhook_body::{NoFliptForm, event_data, webhook_body};
