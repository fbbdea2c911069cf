//! Pushes that were refused are told of once a minute, with their number: a client that is wrong once is wrong
//! every time.

use std::time::{Duration, Instant};

/// Between two lines of the log.
const INTERVAL: Duration = Duration::from_secs(60);

/// How many were refused since they were told of.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    told_at: Option<Instant>,
    untold: u64,
}

impl Refusals {
    /// Counts one; how many there are to tell of, if it is time to.
    pub(super) fn count(&mut self, now: Instant) -> Option<u64> {
        self.untold += 1;
        if self.told_at.is_some_and(|told_at| now.duration_since(told_at) < INTERVAL) {
            return None;
        }
        self.told_at = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_at_once_and_the_others_by_the_minute() {
        let begun = Instant::now();
        let mut refusals = Refusals::default();
        let told: Vec<_> = [0, 1, 59, 60, 61, 500]
            .map(|seconds| refusals.count(begun + Duration::from_secs(seconds)))
            .to_vec();
        assert_eq!(told, [Some(1), None, None, Some(3), None, Some(2)]);
    }
}
