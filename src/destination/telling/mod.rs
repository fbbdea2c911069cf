//! A record in plain words, alike wherever it is told: console, Slack, Datadog, status page, command line.

mod account;
mod acts;
mod compose;
mod effects;
mod late;
mod opening;
mod order;
mod phrase;
mod reading;
mod records;
mod splits;
mod states;
mod units;
mod words;

use std::{fmt, slice};

use super::Delivery;
use super::envelope::Opened;
pub use account::{Account, Accounts, Doer, EventFacts, Nature, Subject, accounts, is_urgent, refused};
pub(super) use reading::{Reading, Source};

/// What a piece of a sentence is, so that a destination may stress it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Nothing in particular.
    Plain,
    /// Who did it.
    Actor,
    /// The flag or segment (or what else has a page of its own in Flipt).
    Subject,
    /// ON or OFF, or a new value.
    Value,
    /// The environment.
    Environment,
}

/// What a sentence is about at first sight: for an emoji, a colour or a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Tone {
    On,
    Off,
    Rollout,
    Split,
    Segment,
    Text,
    Access,
    Denied,
    Late,
    Deleted,
    Other,
    /// Something is missing or unreadable.
    Warning,
}

/// One sentence about one record, without its time: subject, verb, object. At most 500 characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sentence {
    /// What it is about at first sight.
    pub tone: Tone,
    /// Its pieces, in order; every one is fit to be shown on one line.
    pub pieces: Vec<(Role, String)>,
}

impl fmt::Display for Sentence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pieces.iter().try_for_each(|(_, piece)| f.write_str(piece))
    }
}

/// One changed thing of a story: `Rollout`, `10 %`, `50 % of everyone gets true`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// What changed, in words.
    pub label: String,
    /// What it was; `None`: nothing, or not known.
    pub old: Option<String>,
    /// What it is; `None`: it is gone.
    pub new: Option<String>,
    /// Whether a side of it is an object or a list of JSON, and no text that people wrote.
    pub is_raw: bool,
}

/// The records of one change set, told as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Story {
    /// The first line: says it all.
    pub headline: Sentence,
    /// What changed from the beginning to the end of it, biggest effect first.
    pub rows: Vec<Row>,
}

/// The source and epoch of the event that `send-test` makes: no source's epoch is called so.
pub const TEST: &str = "send-test";

/// Whether a record is the event of a test, about a flag that does not exist.
#[must_use]
pub fn is_test(delivery: &Delivery) -> bool {
    *delivery.record.epoch == *TEST && *delivery.record.source == *TEST
}

/// Tells one record.
#[must_use]
pub fn sentence(delivery: &Delivery) -> Sentence {
    tell_alone(&Source::open(delivery)).headline
}

/// Tells one record that is read already, as far as it can be.
pub(super) fn sentence_of(delivery: &Delivery, reading: Option<&Reading<'_>>) -> Sentence {
    tell_one(delivery, reading).headline
}

/// Tells the records of one change set, in their order, as one; never empty. One record alone is told by its
/// sentence. What is late, refused or unreadable is counted, not told.
#[must_use]
pub fn story(deliveries: &[Delivery]) -> Story {
    let [first, others @ ..] = deliveries else {
        return Story { headline: Sentence { tone: Tone::Other, pieces: Vec::new() }, rows: Vec::new() };
    };
    if others.is_empty() {
        return tell_alone(&Source::open(first));
    }
    let sources: Vec<Source<'_>> = deliveries.iter().map(Source::open).collect();
    let opened: Vec<Opened<'_>> = sources.iter().map(Source::opened).collect();
    let both = sources.iter().zip(&opened);
    let mut readings: Vec<_> = both.filter_map(|(source, opened)| Reading::of(source, opened)).collect();
    readings.retain(|reading| reading.is_told_with_others());
    let owner = readings.first().map(Reading::owner);
    readings.retain(|reading| Some(reading.owner()) == owner);
    if readings.is_empty() {
        return tell_alone(&sources[0]);
    }
    compose::story(&readings, deliveries.len() - readings.len())
}

fn tell_alone(source: &Source<'_>) -> Story {
    let opened = source.opened();
    tell_one(source.delivery, Reading::of(source, &opened).as_ref())
}

fn tell_one(delivery: &Delivery, reading: Option<&Reading<'_>>) -> Story {
    let alone = |headline| Story { headline, rows: Vec::new() };
    let Some(reading) = reading else {
        return alone(records::tell(delivery));
    };
    if reading.event.is_denied() {
        return alone(records::denied(reading));
    }
    if !reading.is_known() {
        return alone(records::unknown(reading));
    }
    if reading.known.late.is_some() {
        return alone(late::tell(reading));
    }
    compose::story(slice::from_ref(reading), 0)
}
