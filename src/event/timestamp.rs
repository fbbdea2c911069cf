//! One clock type for everything that is stored or shown.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// From 0000-01-01T00:00:00Z to the last microsecond of 9999: all that RFC 3339 can write.
const SHOWABLE: RangeInclusive<i64> = -62_167_219_200_000_000..=253_402_300_799_999_999;

/// A moment in UTC, in whole microseconds since 1970-01-01T00:00:00Z.
///
/// Displays as RFC 3339 with as many fractional digits as it needs (`2026-11-22T14:14:02Z`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The wall clock now.
    #[must_use]
    pub fn now() -> Self {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self(i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX))
    }

    /// From microseconds since the Unix epoch.
    #[must_use]
    pub const fn from_unix_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since the Unix epoch.
    #[must_use]
    pub const fn unix_micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, rounded down.
    #[must_use]
    pub const fn unix_seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// Reads an RFC 3339 date-time with any offset, as Flipt writes it (`2026-11-22T08:32:19+01:00`);
    /// `None` also where UTC would need a year that RFC 3339 cannot write.
    #[must_use]
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let moment = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        let micros = moment.unix_timestamp_nanos().div_euclid(1_000);
        i64::try_from(micros).ok().filter(|micros| SHOWABLE.contains(micros)).map(Self)
    }

    /// How long ago `earlier` was; zero where the clock has gone back since.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// This moment moved ahead by `duration`, at most to the end of representable time.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }

    /// The calendar date and time of day in UTC; outside of the years 0 to 9999, the nearest moment inside.
    #[must_use]
    pub fn to_utc(self) -> OffsetDateTime {
        let micros = self.0.clamp(*SHOWABLE.start(), *SHOWABLE.end());
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1_000)
            .unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse_rfc3339(&text).ok_or_else(|| D::Error::custom("expected an RFC 3339 time"))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.to_utc().format(&Rfc3339).map_err(|_| fmt::Error)?;
        f.write_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_any_offset_and_shows_utc() {
        let moment = Timestamp::parse_rfc3339("2026-11-22T08:32:19+01:00").unwrap();
        assert_eq!(moment.to_string(), "2026-11-22T07:32:19Z");
        assert_eq!(moment.unix_seconds(), 1_795_332_739);
        assert_eq!(Timestamp::parse_rfc3339("yesterday"), None);
    }

    #[test]
    fn shows_whatever_it_holds() {
        assert_eq!(Timestamp::parse_rfc3339("0000-01-01T00:00:00+01:00"), None);
        assert_eq!(Timestamp::parse_rfc3339("9999-12-31T23:59:59-01:00"), None);
        for text in ["0000-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"] {
            assert_eq!(Timestamp::parse_rfc3339(text).unwrap().to_string(), text);
        }
        assert_eq!(Timestamp::from_unix_micros(i64::MIN).to_string(), "0000-01-01T00:00:00Z");
        assert_eq!(Timestamp::from_unix_micros(i64::MAX).to_string(), "9999-12-31T23:59:59.999999Z");
    }

    #[test]
    fn since_never_goes_below_zero() {
        let early = Timestamp::from_unix_micros(5);
        let late = Timestamp::from_unix_micros(9);
        assert_eq!(late.since(early), Duration::from_micros(4));
        assert_eq!(early.since(late), Duration::ZERO);
    }
}
