//! How long commits take: counted by the writer, read by whoever tells.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::Journal;

/// The upper bounds of the buckets of commit durations, in seconds; a last one has none.
pub const COMMIT_BOUNDS_SECONDS: [f64; 6] = [0.001, 0.005, 0.025, 0.1, 0.5, 2.5];

/// Counts commits. One thread counts, others read; the parts of a reading may be a commit apart.
#[derive(Debug, Default)]
pub(super) struct Commits {
    buckets: [AtomicU64; COMMIT_BOUNDS_SECONDS.len() + 1],
    sum_nanos: AtomicU64,
}

/// How long commits took since the journal was opened.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CommitReading {
    /// Commits that took no longer than [`COMMIT_BOUNDS_SECONDS`] each, not cumulated; the last took longer.
    pub durations: [u64; COMMIT_BOUNDS_SECONDS.len() + 1],
    /// How long all took together.
    pub duration_sum: Duration,
}

impl Commits {
    pub(super) fn count(&self, took: Duration) {
        let bucket = COMMIT_BOUNDS_SECONDS.partition_point(|bound| *bound < took.as_secs_f64());
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_nanos.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn read(&self) -> CommitReading {
        CommitReading {
            durations: std::array::from_fn(|index| self.buckets[index].load(Ordering::Relaxed)),
            duration_sum: Duration::from_nanos(self.sum_nanos.load(Ordering::Relaxed)),
        }
    }
}

impl Journal {
    /// How long it took to have what was written on the disk, a group of requests at a time.
    #[must_use]
    pub fn commits(&self) -> CommitReading {
        self.inner.shared.commits.read()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_fall_into_the_bucket_that_holds_them() {
        let commits = Commits::default();
        commits.count(Duration::from_millis(1));
        commits.count(Duration::from_millis(2));
        commits.count(Duration::from_secs(3));
        let reading = commits.read();
        assert_eq!(reading.durations, [1, 1, 0, 0, 0, 0, 1]);
        assert_eq!(reading.duration_sum, Duration::from_millis(3_003));
    }
}
