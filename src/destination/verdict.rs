//! What the status of an HTTP answer means, for receivers of whom nothing particular is known.

use super::retry_after::retry_after;
use super::{Message, Outcome, Reason};
use crate::event::Timestamp;

/// What an answer means that came at `now` with this `Retry-After`; `message` is asked for where there is
/// something to explain, must hold no secret, and must say what it quotes.
///
/// | status | speaks of | so |
/// |---|---|---|
/// | 2xx | – | delivered |
/// | 3xx, 401, 402, 403, 404, 405, 407, 415, 421, 501 | the endpoint: address, credentials, what it can do at all | blocked, probed |
/// | 410 | the endpoint, for good (Standard Webhooks, CloudEvents) | blocked, not probed |
/// | 408, 425, 429, any other 5xx | this moment | tried again, not before `Retry-After` |
/// | 400, 413, 422, 431, any other 4xx | these records | rejected |
/// | anything else | no HTTP that we know | tried again |
///
/// A 403 may be a firewall's word about one event, and a 400 that of an endpoint that is broken for all:
/// the lane finds out which (probes with another record; so many rejections in a row).
#[must_use]
pub fn verdict<M: Into<Message>>(
    status: u16,
    retry_header: Option<&str>,
    now: Timestamp,
    message: impl FnOnce() -> M,
) -> Outcome {
    let (meaning, code) = match status {
        200..=299 => return Outcome::Delivered,
        300..=399 => (Meaning::Blocked, "http_3xx"),
        401 => (Meaning::Blocked, "http_401"),
        402 => (Meaning::Blocked, "http_402"),
        403 => (Meaning::Blocked, "http_403"),
        404 => (Meaning::Blocked, "http_404"),
        405 => (Meaning::Blocked, "http_405"),
        407 => (Meaning::Blocked, "http_407"),
        410 => (Meaning::Blocked, "http_410"),
        415 => (Meaning::Blocked, "http_415"),
        421 => (Meaning::Blocked, "http_421"),
        501 => (Meaning::Blocked, "http_501"),
        408 => (Meaning::Retry, "http_408"),
        425 => (Meaning::Retry, "http_425"),
        429 => (Meaning::Retry, "http_429"),
        400..=499 => (Meaning::Rejected, "rejected"),
        500..=599 => (Meaning::Retry, "http_5xx"),
        _ => (Meaning::Retry, "http_odd"),
    };
    let reason = Reason { code, message: message().into() };
    match meaning {
        Meaning::Blocked => Outcome::Blocked { gone: status == 410, reason },
        Meaning::Rejected => Outcome::Rejected(reason),
        Meaning::Retry => {
            Outcome::Retry { not_before: retry_header.and_then(|value| retry_after(value, now)), reason }
        }
    }
}

enum Meaning {
    Blocked,
    Rejected,
    Retry,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::time::Duration;

    const BLOCKED: [u16; 10] = [401, 402, 403, 404, 405, 407, 410, 415, 421, 501];
    const RETRIED: [u16; 3] = [408, 425, 429];

    fn of(status: u16, retry_header: Option<&str>) -> Outcome {
        let now = Timestamp::parse_rfc3339("2026-11-22T08:00:00Z").unwrap();
        verdict(status, retry_header, now, || format!("said {status}"))
    }

    #[test]
    fn every_status_has_its_meaning() {
        let mut codes = BTreeSet::new();
        for status in 100..=599 {
            let outcome = of(status, None);
            let (expected, code) = match &outcome {
                Outcome::Delivered => ((200..300).contains(&status), None),
                Outcome::Blocked { gone, reason } => {
                    assert_eq!(*gone, status == 410);
                    ((300..400).contains(&status) || BLOCKED.contains(&status), Some(reason))
                }
                Outcome::Retry { not_before, reason } => {
                    assert_eq!(*not_before, None);
                    let expected = status < 200
                        || RETRIED.contains(&status)
                        || status == 500
                        || (502..600).contains(&status);
                    (expected, Some(reason))
                }
                Outcome::Rejected(reason) => {
                    let other = BLOCKED.contains(&status) || RETRIED.contains(&status);
                    ((400..500).contains(&status) && !other, Some(reason))
                }
            };
            assert!(expected, "{status}: {outcome:?}");
            if let Some(reason) = code {
                assert_eq!(reason.message, format!("said {status}"));
                codes.insert(reason.code);
            }
        }
        let expected = [
            "http_3xx", "http_401", "http_402", "http_403", "http_404", "http_405", "http_407", "http_408",
            "http_410", "http_415", "http_421", "http_425", "http_429", "http_501", "http_5xx", "http_odd",
            "rejected",
        ];
        assert!(codes.into_iter().eq(expected), "a bounded set of words");
        for odd in [0, 99, 600, u16::MAX] {
            assert!(matches!(of(odd, None), Outcome::Retry { reason, .. } if reason.code == "http_odd"));
        }
    }

    #[test]
    fn a_receiver_may_name_the_wait_with_every_retry() {
        for status in [408, 425, 429, 500, 502, 503, 504, 599, 100] {
            for (header, expected) in [
                ("7", Some(7)),
                ("Sun, 22 Nov 2026 08:01:00 GMT", Some(60)),
                ("Sun, 22 Nov 2026 07:00:00 GMT", Some(0)),
                ("999999999", Some(3_600)),
                ("soon", None),
            ] {
                let Outcome::Retry { not_before, .. } = of(status, Some(header)) else { panic!("{status}") };
                assert_eq!(not_before, expected.map(Duration::from_secs), "{status} {header}");
            }
        }
    }
}
