//! One record as it goes from relay to relay: our envelope, and beside it `record`, which holds what the envelope
//! does not say. What is written here is read by `source::http::envelope`.

use std::borrow::Cow;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};

use crate::destination::Delivery;
use crate::destination::envelope::{envelope_of_origin, write_json};
use crate::event::{Framing, Origin, RecordKind, StoredRecord};

/// `record` of an envelope from another relay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handover<'a> {
    /// What kind it is.
    pub kind: RecordKind,
    /// How its line was wrapped.
    pub framing: FramingWord,
    /// The bytes as they came; `None` where they are those of `data`.
    #[serde(borrow)]
    pub original: Option<Cow<'a, str>>,
    /// How they stand in `original`.
    pub encoding: Encoding,
    /// JSON, as text, about records that are no event.
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Cow<'a, str>>,
    /// The `traceparent` header that came with it.
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<Cow<'a, str>>,
    /// The `tracestate` header that came with it.
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub tracestate: Option<Cow<'a, str>>,
}

/// How a line was wrapped, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum FramingWord {
    Auto,
    Cri,
}

impl From<Framing> for FramingWord {
    fn from(framing: Framing) -> Self {
        match framing {
            Framing::Auto => Self::Auto,
            Framing::Cri => Self::Cri,
        }
    }
}

impl From<FramingWord> for Framing {
    fn from(word: FramingWord) -> Self {
        match word {
            FramingWord::Auto => Self::Auto,
            FramingWord::Cri => Self::Cri,
        }
    }
}

/// How the bytes of a record stand in its hand-over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// `data`, byte for byte as it is written there.
    Data,
    /// As text.
    #[serde(rename = "utf-8")]
    Utf8,
    /// In base64: what is no text, and what would be longer as text.
    Base64,
}

/// Appends one record for another relay, on one line without a newline at its end. `relay` is this one's name,
/// which is told where nobody took the record in before.
pub fn write(delivery: &Delivery, relay: &str, out: &mut Vec<u8>) {
    let record = &delivery.record;
    let origin = record.origin.clone().unwrap_or_else(|| own(record, relay));
    envelope_of_origin(delivery, &origin, out, |stands_in_data, out| {
        out.extend_from_slice(b",\"record\":");
        write_json(&handover(record, stands_in_data), out);
    });
}

fn own(record: &StoredRecord, relay: &str) -> Origin {
    Origin {
        relay: relay.to_owned(),
        epoch: record.epoch.to_string(),
        sequence: record.sequence,
        accepted_at: record.accepted_at,
    }
}

fn handover(record: &StoredRecord, stands_in_data: bool) -> Handover<'_> {
    let (original, encoding) = match std::str::from_utf8(&record.original) {
        _ if stands_in_data => (None, Encoding::Data),
        Ok(text) if length_as_text(text) <= length_in_base64(text) => {
            (Some(Cow::Borrowed(text)), Encoding::Utf8)
        }
        _ => (Some(BASE64_STANDARD.encode(&record.original).into()), Encoding::Base64),
    };
    let trace = record.trace.as_ref();
    Handover {
        kind: record.kind,
        framing: record.framing.into(),
        original,
        encoding,
        detail: record.detail.as_deref().map(Cow::Borrowed),
        traceparent: trace.map(|trace| trace.traceparent.as_str().into()),
        tracestate: trace.and_then(|trace| trace.tracestate.as_deref()).map(Cow::Borrowed),
    }
}

/// Bytes of a text as a JSON string, about: four megabytes of control characters are 24 that way.
fn length_as_text(text: &str) -> usize {
    let escaped = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' => 2,
        0..=0x1f => 6,
        _ => 1,
    };
    text.bytes().map(escaped).sum()
}

fn length_in_base64(text: &str) -> usize {
    text.len().div_ceil(3) * 4
}
