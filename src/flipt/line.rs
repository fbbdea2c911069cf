//! What one line of a source is.

use super::event::{ParseEventError, TopLevel};
use super::framing::{Found, FramingError, find, strip_container_prefix};
use super::keys::keys_and_news;
use crate::event::{Framing, Keys, News, Timestamp};

/// What one line is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LineKind {
    /// An audit event.
    Event {
        /// The event's own time, where it tells one.
        time: Option<Timestamp>,
        /// Where it belongs.
        keys: Keys,
        /// What it brings to the state of things.
        news: Option<Box<News>>,
    },
    /// Blank, or a line of Flipt's application log: counted, not kept.
    Ignored,
    /// Anything else: kept as it came.
    Unparsed {
        /// Why it could not be read, for a person; does not repeat the line.
        reason: String,
    },
}

/// Reads one line (without its newline) of the Flipt called `instance`; under [`Framing::Cri`] it may be
/// several raw lines joined by newlines, see [`super::unwrap`].
#[must_use]
pub fn read_line(line: &[u8], framing: Framing, instance: &str) -> LineKind {
    if line.trim_ascii().is_empty() {
        return LineKind::Ignored;
    }
    let unparsed = |reason: String| LineKind::Unparsed { reason };
    let line = match strip_container_prefix(line, framing) {
        Ok(line) => line,
        Err(error) => return unparsed(error.to_string()),
    };
    let json = match find(&line) {
        Found::Json(json) => json,
        Found::Blank | Found::Application => return LineKind::Ignored,
        Found::Other => return unparsed(FramingError::NoJson.to_string()),
    };
    let json = match std::str::from_utf8(json) {
        Ok(json) => json,
        Err(error) => return unparsed(format!("not valid UTF-8 at byte {}", error.valid_up_to() + 1)),
    };
    let top = match TopLevel::read(json, |_, _| ()) {
        Ok(top) => top,
        // Flipt's JSON encoder writes the level first: a cut line of the application log is still one.
        Err(ParseEventError::Truncated { .. }) if json.starts_with("{\"L\":\"") => return LineKind::Ignored,
        Err(error) => return unparsed(error.to_string()),
    };
    if top.is_application_log() {
        return LineKind::Ignored;
    }
    match top.into_event() {
        Ok(event) => {
            let (keys, news) = keys_and_news(&event, instance);
            LineKind::Event { time: event.time, keys, news: news.map(Box::new) }
        }
        Err(error) => unparsed(error.to_string()),
    }
}
