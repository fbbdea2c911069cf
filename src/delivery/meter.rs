//! What a destination's requests came to: counted as they end, read by whoever tells.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::event::Timestamp;

/// The upper bounds of the buckets of attempt durations, in seconds; a last one has none.
pub const DURATION_BOUNDS_SECONDS: [f64; 6] = [0.05, 0.25, 1.0, 5.0, 15.0, 60.0];

/// How many minutes are remembered one by one.
const MINUTES: usize = 60;

/// Counts the attempts of one destination. Cheap to clone; all clones count together.
#[derive(Debug, Clone, Default)]
pub struct Meter(Arc<Mutex<MeterReading>>);

/// What was counted since the relay was started.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct MeterReading {
    /// Attempts by outcome: `delivered`, `retry`, `rejected`, `blocked`.
    pub outcomes: BTreeMap<&'static str, u64>,
    /// Attempts by HTTP status code, where there was an answer.
    pub status_codes: BTreeMap<u16, u64>,
    /// Attempts that took no longer than [`DURATION_BOUNDS_SECONDS`] each, not cumulated; the last took longer.
    pub durations: [u64; DURATION_BOUNDS_SECONDS.len() + 1],
    /// How long all attempts took together.
    pub duration_sum: Duration,
    /// The last hour, oldest first; minutes without an attempt are left out.
    pub minutes: VecDeque<Minute>,
}

/// One minute of a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Minute {
    /// Minutes since 1970.
    pub minute: i64,
    /// Records that were delivered in it.
    pub delivered: u64,
    /// Attempts that failed in it.
    pub failed: u64,
}

impl Meter {
    /// An attempt has ended: its outcome, the answer's status code if there was one, how long it took, and how
    /// many records it delivered.
    pub fn count(&self, outcome: &'static str, status: Option<u16>, took: Duration, delivered: u64) {
        let mut reading = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *reading.outcomes.entry(outcome).or_default() += 1;
        if let Some(status) = status {
            *reading.status_codes.entry(status).or_default() += 1;
        }
        let bucket = DURATION_BOUNDS_SECONDS.partition_point(|bound| *bound < took.as_secs_f64());
        reading.durations[bucket] += 1;
        reading.duration_sum += took;
        let minute = Timestamp::now().unix_micros().div_euclid(60_000_000);
        if reading.minutes.back().is_none_or(|last| last.minute < minute) {
            reading.minutes.push_back(Minute { minute, ..Minute::default() });
            if reading.minutes.len() > MINUTES {
                reading.minutes.pop_front();
            }
        }
        if let Some(last) = reading.minutes.back_mut() {
            last.delivered += delivered;
            last.failed += u64::from(outcome != "delivered");
        }
    }

    /// What was counted so far.
    #[must_use]
    pub fn read(&self) -> MeterReading {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_fall_into_the_bucket_that_holds_them() {
        let meter = Meter::default();
        meter.count("delivered", Some(200), Duration::from_millis(50), 3);
        meter.count("retry", None, Duration::from_secs(61), 0);
        let reading = meter.read();
        assert_eq!(reading.durations, [1, 0, 0, 0, 0, 0, 1]);
        assert_eq!(reading.outcomes, BTreeMap::from([("delivered", 1), ("retry", 1)]));
        assert_eq!(reading.status_codes, BTreeMap::from([(200, 1)]));
        let (delivered, failed) = reading
            .minutes
            .iter()
            .fold((0, 0), |sum, minute| (sum.0 + minute.delivered, sum.1 + minute.failed));
        assert_eq!((delivered, failed), (3, 1));
    }
}
