//! The body that Flipt's own webhook sink would send, and the event as we pass it on.

use serde_json::value::RawValue;

use super::event::TopLevel;
use super::tokens::{Escaping, copy, for_each_entry, key_name};

/// The record is no audit event, so Flipt would never have sent it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Flipt's own webhook form exists only for audit events; this record is none ({why})")]
pub struct NoFliptForm {
    why: String,
}

/// Appends to `out` the very body that Flipt's own webhook sink sends for the event `json` (as
/// [`super::unwrap`] gives it), by copying tokens: no number is read, so none changes.
///
/// Flipt's log sink orders the top level differently from its webhook sink and leaves `<`, `>` and `&`
/// as they are (`audit/log/log.go`, `audit/webhook/client.go`, v1.44 to v1.61). What an event lacks is not
/// made up; unknown keys of the top level follow in their order; a repeated key has its last value.
///
/// Escapes are copied to the letter, those of lone surrogates (`\ud800`) too: Go's decoder would have
/// replaced them by U+FFFD, and so Flipt itself never writes one; what somebody else wrote is passed on.
///
/// # Errors
/// If `json` is no audit event; `out` is then unchanged.
pub fn webhook_body(json: &[u8], out: &mut Vec<u8>) -> Result<(), NoFliptForm> {
    let json = std::str::from_utf8(json).map_err(|error| NoFliptForm { why: error.to_string() })?;
    let mut unknown: Vec<(&RawValue, &RawValue)> = Vec::new();
    let top = TopLevel::read(json, |key, value| unknown.push((key, value)))
        .map_err(|error| NoFliptForm { why: error.to_string() })?;
    let framed = top.is_framed();
    let known = [
        ("version", top.version),
        ("type", top.noun),
        ("action", top.action),
        ("metadata", top.metadata),
        ("payload", top.payload),
        ("timestamp", top.timestamp),
        ("status", top.status),
    ];
    top.into_event().map_err(|error| NoFliptForm { why: error.to_string() })?;

    let mut object = ObjectWriter::new(out, Escaping::Go);
    for (name, value) in known {
        if let Some(value) = value {
            object.entry(&format!("\"{name}\""), value.get());
        }
    }
    for (key, value) in unknown {
        if !(framed && is_framing(key)) {
            object.entry(key.get(), value.get());
        }
    }
    object.end();
    Ok(())
}

/// Appends to `out` the event `json` token for token, in its own order, without whitespace between tokens
/// and without the framing keys `T` and `M` of Flipt's standard output.
///
/// # Errors
/// If `json` is no audit event; `out` is then unchanged.
pub fn event_data(json: &[u8], out: &mut Vec<u8>) -> Result<(), NoFliptForm> {
    let json = std::str::from_utf8(json).map_err(|error| NoFliptForm { why: error.to_string() })?;
    let top = TopLevel::read(json, |_, _| ()).map_err(|error| NoFliptForm { why: error.to_string() })?;
    let framed = top.is_framed();
    top.into_event().map_err(|error| NoFliptForm { why: error.to_string() })?;
    if !framed {
        copy(json, Escaping::Verbatim, out);
        return Ok(());
    }
    let mut object = ObjectWriter::new(out, Escaping::Verbatim);
    let _ = for_each_entry(json, |key, value| {
        if !is_framing(key) {
            object.entry(key.get(), value.get());
        }
    });
    object.end();
    Ok(())
}

fn is_framing(key: &RawValue) -> bool {
    matches!(&*key_name(key), "T" | "M")
}

struct ObjectWriter<'o> {
    out: &'o mut Vec<u8>,
    escaping: Escaping,
    next: u8,
}

impl<'o> ObjectWriter<'o> {
    fn new(out: &'o mut Vec<u8>, escaping: Escaping) -> Self {
        Self { out, escaping, next: b'{' }
    }

    fn entry(&mut self, key: &str, value: &str) {
        self.out.push(self.next);
        self.next = b',';
        copy(key, self.escaping, self.out);
        self.out.push(b':');
        copy(value, self.escaping, self.out);
    }

    fn end(self) {
        if self.next == b'{' {
            self.out.push(b'{');
        }
        self.out.push(b'}');
    }
}
