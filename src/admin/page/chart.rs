//! The last hour of a destination, minute by minute, as two paths of SVG and a sentence.

use std::fmt::Write as _;

use serde::Serialize;

use crate::admin::words::{count, number};
use crate::delivery::Minute;
use crate::event::Timestamp;

/// Minutes that are shown; each is [`STEP`] wide.
const MINUTES: i64 = 60;

/// How wide a minute is, in units of the drawing.
pub(super) const STEP: i64 = 4;

/// How tall the tallest bar is.
const TALL: u64 = 18;

/// The ground that bars stand on.
const GROUND: i64 = 20;

/// What is drawn, and the same in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Chart {
    /// Bars of what was delivered.
    pub(super) bars: String,
    /// A cross in each minute in which an attempt failed.
    pub(super) crosses: String,
    /// All of it in a sentence.
    pub(super) words: String,
}

/// Draws the hour that ends at `now`.
pub(super) fn chart<'a>(minutes: impl IntoIterator<Item = &'a Minute>, now: Timestamp) -> Chart {
    let last = now.unix_micros().div_euclid(60_000_000);
    let shown = |minute: &&Minute| (last - MINUTES + 1..=last).contains(&minute.minute);
    let minutes: Vec<&Minute> = minutes.into_iter().filter(shown).collect();
    let most = minutes.iter().map(|minute| minute.delivered).max().unwrap_or_default().max(1);
    let (mut bars, mut crosses) = (String::new(), String::new());
    for minute in &minutes {
        let left = (minute.minute - (last - MINUTES + 1)) * STEP;
        if minute.delivered > 0 {
            let height = (minute.delivered * TALL).div_ceil(most).max(2);
            let _ = write!(bars, "M{left} {GROUND}v-{height}h3v{height}z");
        }
        if minute.failed > 0 {
            // Beneath the ground line, so that a bar never hides it.
            let _ = write!(crosses, "M{left} 22l3 6m0-6l-3 6");
        }
    }
    Chart { bars, crosses, words: words(&minutes) }
}

fn words(minutes: &[&Minute]) -> String {
    let delivered: u64 = minutes.iter().map(|minute| minute.delivered).sum();
    let failing: Vec<&&Minute> = minutes.iter().filter(|minute| minute.failed > 0).collect();
    let mut text = format!("last hour: {} delivered", number(delivered));
    if let (Some(first), Some(last)) = (failing.first(), failing.last()) {
        let attempts = failing.iter().map(|minute| minute.failed).sum();
        let clock = |minute: i64| {
            let of_day = minute.rem_euclid(1_440);
            format!("{:02}:{:02}", of_day / 60, of_day % 60)
        };
        let _ = write!(text, ", {} between {} and", count(attempts, "failed attempt"), clock(first.minute));
        let _ = write!(text, " {} UTC", clock(last.minute + 1));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_is_drawn_and_said() {
        let now = Timestamp::parse_rfc3339("2026-11-22T14:21:07Z").unwrap();
        let last = now.unix_micros() / 60_000_000;
        let minute = |ago: i64, delivered, failed| Minute { minute: last - ago, delivered, failed };
        let minutes =
            [minute(60, 99, 99), minute(59, 1, 0), minute(12, 36, 0), minute(1, 0, 2), minute(0, 0, 1)];
        let chart = chart(&minutes, now);
        assert_eq!(chart.bars, "M0 20v-2h3v2zM188 20v-18h3v18z", "what is older is not drawn");
        assert_eq!(chart.crosses, "M232 22l3 6m0-6l-3 6M236 22l3 6m0-6l-3 6");
        assert_eq!(chart.words, "last hour: 37 delivered, 3 failed attempts between 14:20 and 14:22 UTC");
        assert_eq!(super::chart([], now).words, "last hour: 0 delivered");
    }
}
