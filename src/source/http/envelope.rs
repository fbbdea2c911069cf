//! Records that another relay hands on: our envelope, as `destination::relay` writes it.

use std::borrow::Cow;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::destination::relay::handover::{Encoding, Handover};
use crate::event::{
    EventId, Framing, Keys, Namespace, NewRecord, Origin, OversizedDetail, RecordKind, Timestamp,
    TraceContext, UnparsedDetail,
};
use crate::flipt::{LineKind, read_line};
use crate::source::records::{self, MAX_EVENT_BYTES};

/// The version of the envelope that this release reads.
const SPEC: &str = "1";

/// Names of relays and journals are short; whatever is longer is none.
const MAX_NAME_BYTES: usize = 512;

/// A reason, or a length and a hash, are short.
const MAX_DETAIL_BYTES: usize = 16 * 1024;

/// A record as another relay has it. What it means here, this relay finds out itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Handed {
    id: EventId,
    kind: RecordKind,
    framing: Framing,
    original: Vec<u8>,
    detail: Option<String>,
    /// The event's own time, as the other relay read it.
    event_time: Option<Timestamp>,
    trace: Option<TraceContext>,
    origin: Origin,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    id: EventId,
    timestamp: Option<Timestamp>,
    origin: Origin,
    #[serde(borrow)]
    data: &'a RawValue,
    #[serde(borrow)]
    record: Handover<'a>,
}

/// Enough to know whose it is.
#[derive(Deserialize)]
struct Claim<'a> {
    #[serde(borrow)]
    spec: Cow<'a, str>,
    #[serde(borrow)]
    id: Cow<'a, str>,
}

/// Reads one JSON text that was pushed. `None`: it is no envelope of ours. The error says what is wrong with one
/// that claims to be; it does not repeat the text.
pub(super) fn read(item: &[u8]) -> Option<Result<Handed, String>> {
    let text = std::str::from_utf8(item).ok()?;
    // What Flipt sends has no such word, and is not read twice.
    if !text.contains("\"spec\"") {
        return None;
    }
    let claim: Claim<'_> = serde_json::from_str(text).ok()?;
    if !claim.id.starts_with("evt_") {
        return None;
    }
    if claim.spec != SPEC {
        return Some(Err("an envelope of a version that this relay does not know".to_owned()));
    }
    Some(match serde_json::from_str::<Envelope<'_>>(text) {
        Ok(envelope) => handed(envelope),
        Err(error) => Err(unreadable(&error)),
    })
}

/// serde tells what it met, which may be anything; where it was met says enough.
fn unreadable(error: &serde_json::Error) -> String {
    let column = error.column();
    format!(
        "an envelope that is not whole (up to byte {column}): only a destination of `type: relay` sends those that are"
    )
}

fn handed(envelope: Envelope<'_>) -> Result<Handed, String> {
    let Envelope { id, timestamp, origin, data, record } = envelope;
    let original = original(&record, data)?;
    if original.len() > MAX_EVENT_BYTES && !matches!(record.kind, RecordKind::Event | RecordKind::Unparsed) {
        return Err("an envelope whose record is longer than any that a relay keeps".to_owned());
    }
    if record.detail.as_ref().is_some_and(|detail| detail.len() > MAX_DETAIL_BYTES) {
        return Err("an envelope that says more about its record than any relay does".to_owned());
    }
    if !id.fits(&original) && !is_head_of(&id, record.kind, record.detail.as_deref()) {
        return Err("an envelope whose id is that of other bytes: they were changed on the way".to_owned());
    }
    let is_name = |name: &str| !name.is_empty() && name.len() <= MAX_NAME_BYTES;
    if !is_name(&origin.relay) || !is_name(&origin.epoch) {
        return Err("an envelope that does not say which relay and which journal it is from".to_owned());
    }
    // One that is none is dropped: it would go out in headers and link spans to nothing.
    let trace = record
        .traceparent
        .and_then(|traceparent| TraceContext::received(&traceparent, record.tracestate.as_deref()));
    Ok(Handed {
        id,
        kind: record.kind,
        framing: record.framing.into(),
        original,
        detail: record.detail.map(Cow::into_owned),
        event_time: timestamp,
        trace,
        origin,
    })
}

/// Whether a record is the kept head of bytes that its id is that of: another hub took them in whole, and found them
/// too long.
fn is_head_of(id: &EventId, kind: RecordKind, detail: Option<&str>) -> bool {
    let whole = || {
        let detail: OversizedDetail = serde_json::from_str(detail?).ok()?;
        let mut sha256 = [0; 32];
        hex::decode_to_slice(&detail.sha256, &mut sha256).ok()?;
        Some(sha256)
    };
    kind == RecordKind::Oversized && whole().is_some_and(|sha256| id.fits_digest(&sha256))
}

fn original(record: &Handover<'_>, data: &RawValue) -> Result<Vec<u8>, String> {
    match (record.encoding, &record.original) {
        (Encoding::Data, None) => Ok(data.get().as_bytes().to_vec()),
        (Encoding::Utf8, Some(text)) => Ok(text.as_bytes().to_vec()),
        (Encoding::Base64, Some(text)) => BASE64_STANDARD
            .decode(text.as_bytes())
            .map_err(|_| "an envelope whose bytes are not the base64 that they are said to be".to_owned()),
        _ => Err("an envelope without the bytes of its record".to_owned()),
    }
}

impl Handed {
    /// The record as a source of `instance` takes it in: where it belongs and what it brings is read from its
    /// bytes, by what reads lines of files.
    pub(super) fn into_record(self, instance: &str) -> NewRecord {
        let Self { id, mut kind, framing, original, mut detail, mut event_time, trace, origin } = self;
        if original.len() > MAX_EVENT_BYTES {
            // No relay of ours has such: it keeps their heads itself.
            let head = records::oversized_whole(Some(id), &original, framing);
            return NewRecord { event_time, trace, origin: Some(origin), ..head };
        }
        let (mut keys, mut news) = (Keys::barrier(Namespace::None), None);
        if kind == RecordKind::Event {
            match read_line(&original, framing, instance) {
                LineKind::Event { time, keys: told, news: brought } => {
                    (event_time, keys, news) = (time, told, brought);
                }
                // Of another release, which reads more than this one.
                other => {
                    let reason = match other {
                        LineKind::Unparsed { reason } => reason,
                        _ => "no audit event to this release".to_owned(),
                    };
                    kind = RecordKind::Unparsed;
                    detail = serde_json::to_string(&UnparsedDetail { reason }).ok();
                }
            }
        }
        NewRecord {
            id: Some(id),
            kind,
            offset: 0,
            framing,
            original,
            detail,
            event_time,
            keys,
            news,
            trace,
            origin: Some(origin),
        }
    }
}

#[cfg(test)]
mod tests;
