//! Records that tell of no change: refused attempts, what cannot be read, what is missing.

use std::borrow::Cow;

use super::phrase::Line;
use super::reading::Reading;
use super::words::{list, name, with_article};
use super::{Role, Sentence, Tone, acts};
use crate::destination::Delivery;
use crate::destination::envelope::{infinitive, oversized, unparsed_reason};
use crate::event::text::{one_line, thousands};
use crate::event::{EntityKind, GapDetail, RecordKind, StoredRecord};

/// Reasons and messages are shown up to here.
const MESSAGE_CHARACTERS: usize = 300;
/// Kinds of refused attempts that are named.
const MOST_ATTEMPTS: usize = 4;

/// Tells what is no event, or none that can be read.
pub(super) fn tell(delivery: &Delivery) -> Sentence {
    let record = &delivery.record;
    let warning = |what: &str, message: &str| {
        let mut line = Line::new();
        let message = one_line(message, MESSAGE_CHARACTERS);
        let origin = record.origin.as_ref().map(|origin| format!(", from relay {}", name(&origin.relay)));
        let origin = origin.unwrap_or_default();
        line.plain(&format!("{what} (source {}{origin}): {message}", name(&record.source)));
        line.end(Tone::Warning)
    };
    match record.kind {
        RecordKind::Event => warning("An audit event cannot be read any more", "its bytes are kept"),
        RecordKind::Unparsed => {
            warning("A line could not be read as an audit event", &unparsed_reason(record))
        }
        RecordKind::Oversized => warning("A line is too long for an audit event", &length(record)),
        RecordKind::Gap => warning("Audit events may be missing", &gap_message(record)),
        RecordKind::Act => acts::tell(record),
    }
}

fn length(record: &StoredRecord) -> String {
    match oversized(record) {
        Some(detail) => {
            format!("it has {} bytes, of which the first {} are kept", detail.length_bytes, detail.kept_bytes)
        }
        None => "only its beginning is kept".to_owned(),
    }
}

fn gap_message(record: &StoredRecord) -> String {
    let detail = serde_json::from_slice::<GapDetail>(&record.original);
    detail.map_or_else(|_| "it is not known what".to_owned(), |detail| detail.message)
}

/// `Ann was not allowed to update a flag in production · Flipt does not say which flag`.
pub(super) fn denied(reading: &Reading<'_>) -> Sentence {
    let noun = noun(reading);
    let mut line = Line::new();
    line.add(Role::Actor, &reading.who());
    line.plain(&format!(
        " was not allowed to {} {}",
        name(infinitive(&reading.event.action)),
        with_article(&noun)
    ));
    place(&mut line, reading);
    line.plain(&format!(" · Flipt does not say which {noun}"));
    line.end(Tone::Denied)
}

/// `Ann was refused 4 times (update a flag 3 times and delete a segment; Flipt does not say which)`; of whom events
/// do not name: `4 attempts by someone not named here were refused (…)`.
pub(super) fn refused(readings: &[Reading<'_>]) -> Sentence {
    let mut attempts: Vec<(String, u64)> = Vec::new();
    for reading in readings {
        let attempt = format!("{} {}", name(infinitive(&reading.event.action)), with_article(&noun(reading)));
        match attempts.iter_mut().find(|(said, _)| *said == attempt) {
            Some((_, times)) => *times += 1,
            None => attempts.push((attempt, 1)),
        }
    }
    // What was tried most often is named first.
    attempts.sort_by_key(|(_, times)| std::cmp::Reverse(*times));
    let is_one = attempts.len() == 1;
    let said = |(said, times): &(String, u64)| match times {
        _ if is_one || *times == 1 => said.clone(),
        times => format!("{said} {times} times"),
    };
    let tried: Vec<String> = attempts.iter().map(said).collect();
    let tried = list(&tried, tried.len(), "and", MOST_ATTEMPTS);
    let who = readings.first().map(Reading::who).unwrap_or_default();
    let mut line = Line::new();
    let times = thousands(readings.len());
    match readings.first().and_then(Reading::unnamed) {
        // They may be several.
        Some(who) => line.plain(&format!("{times} attempts ")).add(Role::Actor, who).plain(" were refused"),
        None => line.add(Role::Actor, &who).plain(&format!(" was refused {times} times")),
    };
    line.plain(&format!(" ({tried}; Flipt does not say which)"));
    line.end(Tone::Denied)
}

/// An event of a type or action that no known Flipt has, or one without a payload.
pub(super) fn unknown(reading: &Reading<'_>) -> Sentence {
    let noun = noun(reading);
    let mut line = Line::new();
    line.add(Role::Actor, &reading.who());
    line.plain(&format!(" {} ", name(&reading.event.action)));
    match &reading.payload.key {
        Some(key) => line.plain(&format!("{noun} ")).add(Role::Subject, &name(key)),
        None => line.plain(&with_article(&noun)),
    };
    place(&mut line, reading);
    line.end(Tone::Other)
}

fn noun<'r>(reading: &'r Reading<'_>) -> Cow<'r, str> {
    match reading.kind {
        Some(EntityKind::Token) => "API token".into(),
        Some(kind) => kind.as_str().into(),
        None => name(&reading.event.noun),
    }
}

/// ` in production`, ` in production (payments)`, ` in namespace payments`.
pub(super) fn place(line: &mut Line, reading: &Reading<'_>) {
    let delivery = reading.delivery;
    let is_namespace = reading.kind == Some(EntityKind::Namespace);
    let namespace = delivery.record.namespace.known();
    match (delivery.environment.as_deref(), namespace) {
        // Namespace production in production is said once.
        (Some(environment), Some(namespace)) if is_namespace && environment == namespace => line,
        (Some(environment), Some(namespace)) if !is_namespace && environment != namespace => {
            let line = line.plain(" in ").add(Role::Environment, &name(environment));
            line.plain(&format!(" ({})", name(namespace)))
        }
        (Some(environment), _) => line.plain(" in ").add(Role::Environment, &name(environment)),
        (None, Some(namespace)) if !is_namespace => line.plain(&format!(" in namespace {}", name(namespace))),
        (None, _) => line,
    };
}
