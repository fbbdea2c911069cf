//! The `Retry-After` header.

use std::time::{Duration, SystemTime};

use crate::event::Timestamp;

/// No receiver makes us wait longer than this before we ask again.
const LONGEST: Duration = Duration::from_secs(3600);

/// How long the receiver asks to wait, counted from `now`: whole seconds, or any of the three forms of an
/// HTTP date (RFC 9110, 10.2.3 and 5.6.7). A date in the past is no wait at all; more than an hour is an
/// hour; what is neither is `None`.
#[must_use]
pub fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // Only a number too large for any clock fails to parse.
        let seconds = value.parse().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(seconds).min(LONGEST));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    let since_epoch = date.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    let until = Timestamp::from_unix_micros(0).plus(since_epoch);
    Some(until.since(now).min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_seconds_and_all_three_dates() {
        let now = Timestamp::parse_rfc3339("1994-11-06T08:49:07Z").unwrap();
        let seconds = |value| retry_after(value, now).map(|wait| wait.as_secs());
        for (value, expected) in [
            ("0", Some(0)),
            (" 120 ", Some(120)),
            ("3601", Some(3600)),
            ("99999999999999999999999", Some(3600)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(30)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(30)),
            ("Sun Nov  6 08:49:37 1994", Some(30)),
            ("Sun, 06 Nov 1994 08:49:00 GMT", Some(0)),
            ("Sun, 06 Nov 2044 08:49:37 GMT", Some(3600)),
            ("", None),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("1994-11-06T08:49:37Z", None),
        ] {
            assert_eq!(seconds(value), expected, "{value:?}");
        }
    }

    proptest! {
        #[test]
        fn is_never_more_than_an_hour(value: String, digits in "[0-9]{0,30}", micros: i64) {
            let now = Timestamp::from_unix_micros(micros);
            for value in [value, digits] {
                prop_assert!(retry_after(&value, now).is_none_or(|wait| wait <= LONGEST));
            }
        }
    }
}
