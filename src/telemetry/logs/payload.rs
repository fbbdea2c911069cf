//! What events hold, in lines of the log: only with `log.payloads`, and only at `DEBUG`.
//!
//! These lines have their own target, so that one filter shows them: `info,audit_relay::payload=debug`. What
//! they hold of events is personal data. No secret is among it: what is shown of answers was redacted before,
//! and what was sent, which may be made by a template that holds one, is not shown.

use crate::event::text::escaped;
use crate::event::{EventId, NewRecord};

/// The target of these lines.
const TARGET: &str = "audit_relay::payload";
/// How much of an original is shown.
const MAX_BYTES: usize = 4 * 1024;
/// How many of the records that one request carried are named.
const MAX_IDS: usize = 50;

/// Whether anybody would see such a line.
fn is_shown() -> bool {
    super::payloads() && tracing::enabled!(target: TARGET, tracing::Level::DEBUG)
}

/// Records that `source` hands to the journal.
pub fn taken(source: &str, records: &[NewRecord]) {
    if !is_shown() {
        return;
    }
    for record in records {
        tracing::debug!(
            target: TARGET,
            source,
            event = record.id.map(tracing::field::display),
            kind = record.kind.as_str(),
            bytes = record.original.len(),
            trace_id = record.trace.as_ref().and_then(|trace| trace.traceparent.split('-').nth(1)),
            original = %shown(&record.original),
            "a record for the journal"
        );
    }
}

/// The records that `destination` did not take, and what came back: a sentence that may quote the receiver, without
/// secrets.
pub fn refused(destination: &str, events: &[EventId], code: &str, answer: &str) {
    if !is_shown() {
        return;
    }
    let events: Vec<String> = events.iter().take(MAX_IDS).map(ToString::to_string).collect();
    tracing::debug!(target: TARGET, destination, code, events = events.join(" "), "not taken: {}", escaped(answer));
}

/// The beginning of something, on one line.
fn shown(bytes: &[u8]) -> String {
    let head = &bytes[..bytes.len().min(MAX_BYTES)];
    let mut shown = escaped(&String::from_utf8_lossy(head));
    if head.len() < bytes.len() {
        shown.push('…');
    }
    shown
}
