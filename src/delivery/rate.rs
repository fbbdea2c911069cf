//! The token bucket of `rate_limit`. Pure: the clock is handed in.

use std::time::Duration;

use crate::config::plan::RatePlan;

/// Holds as many requests as the plan names, at most what a second brings (or one), and refills evenly: a
/// pause lets no burst of a whole hour's requests through.
#[derive(Debug)]
pub(super) struct Bucket {
    /// Between two requests, once the bucket is empty.
    interval: Duration,
    /// When the bucket is full, by the steady clock.
    full_at: Duration,
    /// How far from full it may be: its size in time.
    depth: Duration,
}

impl Bucket {
    pub(super) fn new(plan: RatePlan) -> Self {
        let interval = plan.per / plan.requests.max(1);
        let depth = Duration::from_secs(1).min(plan.per).max(interval);
        Self { interval, full_at: Duration::ZERO, depth }
    }

    /// When the next request may go.
    pub(super) fn due_at(&self) -> Duration {
        (self.full_at + self.interval).saturating_sub(self.depth)
    }

    /// Takes one request, where one may go.
    pub(super) fn take(&mut self, now: Duration) -> bool {
        if now < self.due_at() {
            return false;
        }
        self.full_at = self.full_at.max(now) + self.interval;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn never_more_than_the_rate_and_one_second_of_burst(
            requests in 1_u32..200, per in prop_oneof![Just(1_u64), Just(60), Just(3600)],
            looks in proptest::collection::vec(0_u64..2_000, 1..400),
        ) {
            let mut bucket = Bucket::new(RatePlan { requests, per: Duration::from_secs(per) });
            let (mut now, mut sent) = (Duration::ZERO, 0_u64);
            for step in looks {
                now += Duration::from_millis(step);
                while bucket.take(now) {
                    sent += 1;
                }
                prop_assert!(bucket.due_at() > now);
            }
            let rate = f64::from(requests) / per as f64;
            prop_assert!(sent as f64 <= rate * (now.as_secs_f64() + 1.0) + 1.0);
        }
    }

    #[test]
    fn an_idle_minute_saves_up_one_second_only() {
        let mut bucket = Bucket::new(RatePlan { requests: 5, per: Duration::from_secs(1) });
        let now = Duration::from_secs(60);
        assert_eq!((0..10).filter(|_| bucket.take(now)).count(), 5);
        assert_eq!(bucket.due_at(), now + Duration::from_millis(200));
    }
}
