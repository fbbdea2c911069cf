//! How long to wait before the next attempt: the whole policy on one screen.

use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff;

use crate::config::plan::RetryPlan;

/// No receiver may silence the relay for longer than this by `Retry-After`.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60 * 60);

/// The wait after attempt number `attempt` (1 for the first) failed.
///
/// What the receiver asked for (`Retry-After`) counts first, up to an hour; up to a tenth is added, so that
/// many relays do not come back at one moment. Otherwise *full jitter*: a random wait between zero and an
/// upper bound that doubles from `initial_backoff` to `max_backoff`. Neither is ever less than a tenth of
/// `initial_backoff`, lest `Retry-After: 0` be taken at its word all day long (<https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>).
#[must_use]
pub fn retry_delay(plan: &RetryPlan, attempt: u32, retry_after: Option<Duration>) -> Duration {
    let floor = plan.initial_backoff / 10;
    if let Some(asked) = retry_after {
        let asked = asked.min(MAX_RETRY_AFTER);
        return (asked + jitter(asked / 10)).max(floor);
    }
    let doublings = attempt.saturating_sub(1).min(30);
    let bound = plan.initial_backoff.saturating_mul(1 << doublings).min(plan.max_backoff);
    jitter(bound).max(floor).min(plan.max_backoff)
}

/// The longest wait that [`retry_delay`] gives.
#[must_use]
pub(super) fn longest_delay(plan: &RetryPlan) -> Duration {
    plan.max_backoff.max(MAX_RETRY_AFTER + MAX_RETRY_AFTER / 10)
}

/// A random wait from zero to `bound`: the first step of `backoff`'s sequence around the middle.
fn jitter(bound: Duration) -> Duration {
    let mut sequence = ExponentialBackoff {
        current_interval: bound / 2,
        initial_interval: bound / 2,
        randomization_factor: 1.0,
        max_elapsed_time: None,
        ..ExponentialBackoff::default()
    };
    sequence.next_backoff().unwrap_or(bound).min(bound)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PLAN: RetryPlan =
        RetryPlan { initial_backoff: Duration::from_secs(1), max_backoff: Duration::from_secs(300) };

    proptest! {
        #[test]
        fn waits_stay_within_their_bounds(attempt in 1_u32..200) {
            let bound = Duration::from_secs(1 << (attempt - 1).min(20)).min(PLAN.max_backoff);
            let wait = retry_delay(&PLAN, attempt, None);
            prop_assert!(wait >= Duration::from_millis(100) && wait <= bound, "{wait:?} of {bound:?}");
        }

        #[test]
        fn the_receiver_is_never_asked_early(seconds in 0_u64..1_000_000) {
            let asked = Duration::from_secs(seconds).min(MAX_RETRY_AFTER);
            let wait = retry_delay(&PLAN, 1, Some(Duration::from_secs(seconds)));
            let floor = PLAN.initial_backoff / 10;
            prop_assert!(wait >= asked.max(floor) && wait <= (asked + asked / 10).max(floor));
        }
    }

    #[test]
    fn waits_are_spread() {
        let waits: std::collections::BTreeSet<_> = (0..32).map(|_| retry_delay(&PLAN, 8, None)).collect();
        assert!(waits.len() > 16);
    }
}
