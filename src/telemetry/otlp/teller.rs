//! Says in the log when telemetry begins to be lost, and when it works again, and not more.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::telemetry::logs;

/// Between two warnings about one signal, at least: a collector that comes and goes does not fill the log.
const BETWEEN: Duration = Duration::from_secs(60);

/// What is told of what a collector says.
const MAX_REASON_CHARS: usize = 200;

/// That a collector took a request without a part of it. Its own words may repeat what it was sent: they are for those
/// who ask for that (`log.payloads`).
pub(super) fn rejected(message: &str) -> String {
    const OURS: &str = "the collector rejects a part of them";
    match message.chars().take(MAX_REASON_CHARS).collect::<String>() {
        said if said.is_empty() => OURS.to_owned(),
        said if logs::payloads() => format!("{OURS}: {said}"),
        _ => format!("{OURS}: …"),
    }
}

/// Tells of one signal.
#[derive(Debug)]
pub(super) struct Teller {
    lost_what: &'static str,
    sent_what: &'static str,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Whether the last thing that was told is that something is lost.
    is_told: bool,
    told_at: Option<Instant>,
    /// Lost since the last time that anything was told.
    untold: u64,
}

impl Teller {
    /// Of spans.
    pub(super) fn of_spans() -> Self {
        Self {
            lost_what: "spans are lost on their way to the collector; deliveries are not held up by it",
            sent_what: "spans reach the collector again",
            state: Mutex::default(),
        }
    }

    /// Of metrics.
    pub(super) fn of_metrics() -> Self {
        Self {
            lost_what: "metrics do not reach the collector; the next ones are sent in their place",
            sent_what: "metrics reach the collector again",
            state: Mutex::default(),
        }
    }

    /// So many were lost.
    pub(super) fn lost(&self, count: u64, reason: &str) {
        if let Some(lost) = self.note_loss(count, Instant::now()) {
            tracing::warn!(lost, reason, "{}", self.lost_what);
        }
    }

    /// Some were sent, and none of them lost.
    pub(super) fn sent(&self) {
        if let Some(lost) = self.note_success() {
            tracing::info!(lost, "{}", self.sent_what);
        }
    }

    /// How many are to be told of now, if anything is.
    fn note_loss(&self, count: u64, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.untold += count;
        let is_too_soon = state.told_at.is_some_and(|told_at| now.duration_since(told_at) < BETWEEN);
        if state.is_told || is_too_soon {
            return None;
        }
        state.is_told = true;
        state.told_at = Some(now);
        Some(std::mem::take(&mut state.untold))
    }

    /// How many were lost since, if it was told that any are.
    fn note_success(&self) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut state.is_told).then(|| std::mem::take(&mut state.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_begin_and_the_end_of_a_loss_are_told() {
        let (teller, now) = (Teller::of_spans(), Instant::now());
        assert_eq!(teller.note_success(), None);
        assert_eq!(teller.note_loss(3, now), Some(3));
        assert_eq!(teller.note_loss(4, now + 2 * BETWEEN), None);
        assert_eq!(teller.note_success(), Some(4));
        assert_eq!(teller.note_success(), None);
    }

    #[test]
    fn what_comes_and_goes_is_told_once_a_minute() {
        let (teller, now) = (Teller::of_metrics(), Instant::now());
        assert_eq!(teller.note_loss(1, now), Some(1));
        assert_eq!(teller.note_success(), Some(0));
        assert_eq!(teller.note_loss(2, now + BETWEEN / 2), None);
        assert_eq!(teller.note_success(), None);
        assert_eq!(teller.note_loss(3, now + BETWEEN), Some(5));
    }
}
