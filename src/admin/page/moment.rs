//! Moments, as the page shows them: always UTC, as short as can be.

use serde::Serialize;
use time::UtcOffset;

use crate::event::Timestamp;

/// A moment for people and for programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Moment {
    /// RFC 3339, in whole seconds.
    pub(super) iso: String,
    /// `14:14:20` of today, else `2026-11-20 14:14`.
    pub(super) text: String,
}

impl Moment {
    pub(super) fn of(time: Timestamp, now: Timestamp) -> Self {
        let utc = time.to_utc().to_offset(UtcOffset::UTC);
        let clock = format!("{:02}:{:02}", utc.hour(), utc.minute());
        let text = match utc.date() == now.to_utc().date() {
            true => format!("{clock}:{:02}", utc.second()),
            false => format!("{} {clock}", utc.date()),
        };
        Self { iso: Timestamp::from_unix_micros(time.unix_seconds() * 1_000_000).to_string(), text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn today_has_seconds_and_other_days_have_a_date() {
        let at = |text| Timestamp::parse_rfc3339(text).unwrap();
        let now = at("2026-11-22T14:21:07Z");
        let today = Moment::of(at("2026-11-22T00:00:00.9Z"), now);
        assert_eq!((today.text.as_str(), today.iso.as_str()), ("00:00:00", "2026-11-22T00:00:00Z"));
        assert_eq!(Moment::of(at("2026-11-21T23:59:59Z"), now).text, "2026-11-21 23:59");
    }
}
