//! Moments, as people write them on a command line.

use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, Time};

use crate::event::Timestamp;

/// Reads RFC 3339, a time of day (today, UTC), a day (its beginning, UTC), or how long ago.
pub(crate) fn time(text: &str) -> Result<Timestamp, String> {
    read(text.trim(), Timestamp::now())
}

fn read(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    if let Some(time) = Timestamp::parse_rfc3339(text) {
        return Ok(time);
    }
    if let Some(time) = Timestamp::parse_rfc3339(&format!("{text}T00:00:00Z")) {
        return Ok(time);
    }
    if let Some(time) = time_of_day(text) {
        let moment = OffsetDateTime::new_utc(now.to_utc().date(), time);
        let moment = moment.format(&Rfc3339).ok().and_then(|text| Timestamp::parse_rfc3339(&text));
        return moment.ok_or_else(|| "no such moment".to_owned());
    }
    let ago = humantime::parse_duration(text).map_err(|_| {
        "expected a time such as `2026-11-22T14:00:00Z`, `13:50` (today, UTC) or `2026-11-22`, or how long \
         ago, such as `2h`"
    })?;
    let micros = i64::try_from(ago.as_micros()).map_err(|_| "too long ago")?;
    Ok(Timestamp::from_unix_micros(now.unix_micros().saturating_sub(micros)))
}

/// `13:50` or `13:50:07`.
fn time_of_day(text: &str) -> Option<Time> {
    let parts: Vec<&str> = text.split(':').collect();
    if !(2..=3).contains(&parts.len()) || parts.iter().any(|part| part.len() != 2) {
        return None;
    }
    let part = |index: usize| parts.get(index).map_or(Some(0), |part| part.parse::<u8>().ok());
    Time::from_hms(part(0)?, part(1)?, part(2)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_write_times_in_four_ways() {
        let now = Timestamp::parse_rfc3339("2026-11-22T14:21:07.5Z").unwrap();
        for (text, expected) in [
            ("2026-11-22T13:50:00+01:00", "2026-11-22T12:50:00Z"),
            ("13:50", "2026-11-22T13:50:00Z"),
            ("23:59:58", "2026-11-22T23:59:58Z"),
            ("2026-07-01", "2026-07-01T00:00:00Z"),
            ("2h", "2026-11-22T12:21:07.5Z"),
            ("30d", "2026-10-23T14:21:07.5Z"),
        ] {
            assert_eq!(read(text, now).map(|time| time.to_string()), Ok(expected.to_owned()), "{text}");
        }
        for text in ["", "13:5", "24:00", "13:50:60", "2026-13-01", "2026-02-30", "yesterday", "1:2:3:4"] {
            assert!(read(text, now).is_err(), "{text}");
        }
    }
}
