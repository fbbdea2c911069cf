//! How times, numbers and other people's text are shown on a terminal.

use std::fmt::Write as _;
use std::time::Duration;

use crate::event::Timestamp;
use crate::event::text::thousands;

/// Text as a terminal may have it: control characters, invisible ones and those that change the direction
/// of writing are written as JSON would escape them, so that nothing hides and nothing moves the cursor.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        if is_harmless(character) {
            safe.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            let _ = write!(safe, "\\u{unit:04x}");
        }
    }
    safe
}

/// The same, cut to one line of at most `limit` characters.
#[must_use]
pub fn brief(text: &str, limit: usize) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let line = escaped(&words.join(" "));
    if line.chars().count() <= limit {
        return line;
    }
    let kept: String = line.chars().take(limit.saturating_sub(1)).collect();
    kept + "…"
}

fn is_harmless(character: char) -> bool {
    !character.is_control()
        && !matches!(character,
            '\u{AD}' | '\u{61C}' | '\u{180E}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E0FFF}')
}

/// A moment in whole seconds, and how far from `now` it is: `2026-11-22T14:14:20Z (3 min ago)`.
#[must_use]
pub fn moment(time: Timestamp, now: Timestamp) -> String {
    let shown = Timestamp::from_unix_micros(time.unix_seconds() * 1_000_000);
    match time > now {
        true => format!("{shown} (in {})", age(time.since(now))),
        false => format!("{shown} ({} ago)", age(now.since(time))),
    }
}

/// The time of day of a moment not far from `now`, else its day.
#[must_use]
pub fn about(time: Timestamp, now: Timestamp) -> String {
    let (utc, today) = (time.to_utc(), now.to_utc());
    match utc.date() == today.date() || now.since(time) < Duration::from_secs(12 * 3_600) && time < now {
        true => format!("{:02}:{:02} UTC", utc.hour(), utc.minute()),
        false => utc.date().to_string(),
    }
}

/// A length of time in its largest unit, or two where one is too coarse.
#[must_use]
pub fn age(length: Duration) -> String {
    match length.as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..3_600 => format!("{} min", seconds / 60),
        seconds @ 3_600..36_000 if seconds % 3_600 >= 60 => {
            format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60)
        }
        seconds @ 3_600..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

/// A number with its thousands apart.
#[must_use]
pub fn number(number: u64) -> String {
    thousands(number)
}

/// How many of something: `1 record`, `2 records`.
#[must_use]
pub fn count(how_many: u64, what: &str) -> String {
    format!("{} {what}{}", number(how_many), if how_many == 1 { "" } else { "s" })
}

/// A number of bytes in its unit.
#[must_use]
#[allow(clippy::cast_precision_loss)]
pub fn bytes(bytes: u64) -> String {
    match bytes {
        0..1_024 => format!("{bytes} B"),
        1_024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1_024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
        _ => format!("{:.1} GiB", bytes as f64 / 1_073_741_824.0),
    }
}

/// Rows below one another: every column as wide as its widest cell, those in `right` set to the right.
#[must_use]
pub fn table(rows: &[Vec<String>], right: &[usize]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = widths[column];
            let _ = match right.contains(&column) {
                true => write!(line, "{cell:>width$}  "),
                false => write!(line, "{cell:<width$}  "),
            };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// The name that was most likely meant, if any is near enough.
#[must_use]
pub fn nearest<'a>(written: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (written.chars().count() / 3).clamp(1, 3);
    let contains = |name: &str| {
        written.len() >= 3 && name.len() >= 3 && (name.contains(written) || written.contains(name))
    };
    names
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(written, name), name))
        .filter(|(distance, name)| *distance <= limit || contains(name))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_moves_the_cursor_or_hides() {
        assert_eq!(
            escaped("a\u{1b}[31mb\r\u{9b}c\u{202e}d\u{e0041}"),
            "a\\u001b[31mb\\u000d\\u009bc\\u202ed\\udb40\\udc41"
        );
        assert_eq!(brief("  a \n b\u{7}c ", 99), "a b\\u0007c");
        assert_eq!(brief("abcdefg", 6), "abcde…");
    }

    #[test]
    fn times_and_numbers_are_short() {
        let at = |text| Timestamp::parse_rfc3339(text).unwrap();
        let now = at("2026-11-22T14:21:07Z");
        assert_eq!(moment(at("2026-11-22T14:14:20.5Z"), now), "2026-11-22T14:14:20Z (6 min ago)");
        assert_eq!(moment(at("2026-11-22T14:24:07Z"), now), "2026-11-22T14:24:07Z (in 3 min)");
        assert_eq!(about(at("2026-11-22T14:02:59Z"), now), "14:02 UTC");
        assert_eq!(about(at("2026-11-20T14:02:59Z"), now), "2026-11-20");
        let ages = [59, 60, 3_659, 7_199, 172_799, 172_800].map(|seconds| age(Duration::from_secs(seconds)));
        assert_eq!(ages, ["59 s", "1 min", "1 h", "1 h 59 min", "47 h", "2 d"]);
        assert_eq!([0, 999, 1_000, 1_234_567].map(number), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([1, 2].map(|n| count(n, "record")), ["1 record", "2 records"]);
        assert_eq!([7, 1_536, 40 << 20, 1 << 30].map(bytes), ["7 B", "1.5 KiB", "40.0 MiB", "1.0 GiB"]);
    }

    #[test]
    fn the_nearest_name_is_near() {
        let names = ["siem", "slack", "datadog"];
        assert_eq!(nearest("sime", names), Some("siem"));
        assert_eq!(nearest("data", names), Some("datadog"));
        assert_eq!(nearest("archive", names), None);
    }
}
