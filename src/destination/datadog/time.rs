//! The time of an event: always that of the change, never that of its sending, unless somebody asked for it.

use std::time::Duration;

use ::time::OffsetDateTime;

use super::MAX_EVENT_AGE;
use crate::event::Timestamp;

/// A clock that goes no further ahead than this is taken at its word.
const MOST_AHEAD: Duration = Duration::from_secs(5 * 60);

/// When something happened, and what is said of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// Then.
    At(Timestamp),
    /// Then, which Datadog would not take: it counts as happening now, and the title says when it did.
    TooOld(Timestamp),
    /// Flipt's clock says a time that lies ahead: Datadog takes it as happening now (API v1 refuses what is two
    /// hours ahead, and no graph goes into the future).
    Ahead(Timestamp),
}

impl When {
    pub(super) fn of(at: Timestamp, now: Timestamp, with_current_time: bool) -> Self {
        match () {
            () if at.since(now) > MOST_AHEAD => Self::Ahead(at),
            () if with_current_time && now.since(at) > MAX_EVENT_AGE => Self::TooOld(at),
            () => Self::At(at),
        }
    }

    /// What Datadog is told; `None` lets it take the time of receipt.
    pub(super) const fn told(self) -> Option<Timestamp> {
        match self {
            Self::At(at) => Some(at),
            Self::TooOld(_) | Self::Ahead(_) => None,
        }
    }

    /// What the title ends with.
    pub(super) fn suffix(self) -> String {
        match self {
            Self::TooOld(at) => format!(" (happened {} UTC)", minute(at)),
            Self::At(_) | Self::Ahead(_) => String::new(),
        }
    }

    /// What the message adds.
    pub(super) fn note(self) -> Option<String> {
        match self {
            Self::Ahead(at) => {
                Some(format!("Flipt's clock says {} UTC, which lies ahead of the relay's", minute(at)))
            }
            Self::At(_) | Self::TooOld(_) => None,
        }
    }
}

/// `2026-11-22T14:14:02.000Z`.
pub(super) fn iso(at: Timestamp) -> String {
    let at = at.to_utc();
    let day = date(at);
    let (hour, minute, second, millisecond) = (at.hour(), at.minute(), at.second(), at.millisecond());
    format!("{day}T{hour:02}:{minute:02}:{second:02}.{millisecond:03}Z")
}

/// `14:14:02Z`.
pub(super) fn clock(at: Timestamp) -> String {
    let at = at.to_utc();
    format!("{:02}:{:02}:{:02}Z", at.hour(), at.minute(), at.second())
}

fn minute(at: Timestamp) -> String {
    let at = at.to_utc();
    format!("{} {:02}:{:02}", date(at), at.hour(), at.minute())
}

fn date(at: OffsetDateTime) -> String {
    format!("{:04}-{:02}-{:02}", at.year(), u8::from(at.month()), at.day())
}
