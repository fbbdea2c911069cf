//! Small words: names, per cents, lists, places and spans of time.

use std::borrow::Cow;
use std::time::Duration;

use crate::event::text::one_line;

/// Names and keys are shown up to here, …
const NAME_CHARACTERS: usize = 80;
/// … texts in quotes up to here, …
const QUOTE_CHARACTERS: usize = 40;
/// … values in rows of a story up to here.
const ROW_CHARACTERS: usize = 200;

/// A key, or a name that people gave.
pub(super) fn name(text: &str) -> Cow<'_, str> {
    on_one_line(text, NAME_CHARACTERS)
}

/// As [`one_line`]: itself, where it is short and clean, as most are.
fn on_one_line(text: &str, limit: usize) -> Cow<'_, str> {
    let is_plain = text.len() <= limit
        && text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
        && !text.starts_with(' ')
        && !text.ends_with(' ')
        && !text.contains("  ");
    if is_plain { Cow::Borrowed(text) } else { Cow::Owned(one_line(text, limit)) }
}

/// A free text in quotes, where it is short enough to be read in a line.
pub(super) fn short_quote(text: &str) -> Option<String> {
    let line = on_one_line(text, QUOTE_CHARACTERS + 1);
    (line.chars().count() <= QUOTE_CHARACTERS).then(|| format!("“{}”", without_ids(&line)))
}

/// A free text for a row.
pub(super) fn row_text(text: &str) -> String {
    without_ids(&on_one_line(text, ROW_CHARACTERS))
}

/// A text with `…` in place of whatever looks like an id (a UUID): ids say nothing to people.
pub(super) fn without_ids(text: &str) -> String {
    const GROUPS: [usize; 5] = [8, 4, 4, 4, 12];
    let is_id = |candidate: &[u8]| {
        let mut groups = candidate.split(|byte| *byte == b'-');
        GROUPS.iter().all(|length| {
            groups
                .next()
                .is_some_and(|group| group.len() == *length && group.iter().all(u8::is_ascii_hexdigit))
        })
    };
    if !text.as_bytes().windows(36).any(is_id) {
        return text.to_owned();
    }
    let mut line = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        if rest.as_bytes().get(..36).is_some_and(is_id) {
            line.push('…');
            rest = &rest[36..];
            continue;
        }
        line.push(character);
        rest = &rest[character.len_utf8()..];
    }
    line
}

/// `50 %`, `33.33 %`.
pub(super) fn percent(number: f64) -> String {
    format!("{} %", bare(number))
}

/// `50`, `33.33`: two decimals, more only where a share would seem whole that is not.
pub(super) fn bare(number: f64) -> String {
    // Beyond all that a share can be, digits help nobody.
    if number.abs() >= 1e9 {
        return format!("{number:e}");
    }
    let text = format!("{number:.2}");
    match text.split_once('.') {
        Some((whole, "00")) if number.fract() == 0.0 => whole.to_owned(),
        Some((_, "00")) => format!("{number}"),
        _ => text.trim_end_matches('0').to_owned(),
    }
}

/// `a`, `a and b`, `a, b and c`, `a, b, c and 4 more`: no more than `most` of them are named.
pub(super) fn list(items: &[impl AsRef<str>], total: usize, joint: &str, most: usize) -> String {
    // One more is better named than counted.
    let is_one_more = items.len() == total && total == most + 1;
    let named = if items.len() > most && !is_one_more { &items[..most] } else { items };
    let more = total.saturating_sub(named.len());
    let mut words: Vec<Cow<'_, str>> = named.iter().map(|item| Cow::Borrowed(item.as_ref())).collect();
    if more > 0 {
        words.push(Cow::Owned(format!("{more} more")));
    }
    match words.as_slice() {
        [] => String::new(),
        [one] => one.to_string(),
        [firsts @ .., last] => format!("{} {joint} {last}", firsts.join(", ")),
    }
}

/// `1st`, `2nd`, `3rd`, `4th`, `11th`, `21st`.
pub(super) fn ordinal(number: u64) -> String {
    let ending = match (number % 100, number % 10) {
        (11..=13, _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

/// `1 rule`, `2 rules`.
pub(super) fn count(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// `a rule`, `an event`.
pub(super) fn with_article(noun: &str) -> String {
    let article = if noun.starts_with(['a', 'e', 'i', 'o', 'u', 'A']) { "an" } else { "a" };
    format!("{article} {noun}")
}

/// `31 h`, `3 d`.
pub(super) fn span(length: Duration) -> String {
    let hours = length.as_secs() / 3_600;
    if hours < 48 { format!("{hours} h") } else { format!("{} d", hours / 24) }
}

/// ON or OFF.
pub(super) fn switch(is_on: bool) -> &'static str {
    if is_on { "ON" } else { "OFF" }
}

/// `default_variant` as people would say it.
pub(super) fn field(name: &str) -> String {
    one_line(&name.replace('_', " "), QUOTE_CHARACTERS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::text::thousands;

    #[test]
    fn numbers_are_short() {
        for (number, said) in [
            (10.0, "10 %"),
            (33.33, "33.33 %"),
            (33.333_333, "33.33 %"),
            (0.5, "0.5 %"),
            (100.0, "100 %"),
            (0.0, "0 %"),
            (0.001, "0.001 %"),
            (99.999, "99.999 %"),
            (1e300, "1e300 %"),
        ] {
            assert_eq!(percent(number), said);
        }
    }

    #[test]
    fn lists_and_places_are_english() {
        assert_eq!(list(&["a"], 1, "and", 3), "a");
        assert_eq!(list(&["a", "b"], 2, "or", 3), "a or b");
        assert_eq!(list(&["a", "b", "c", "d"], 9, "and", 2), "a, b and 7 more");
        let places: Vec<_> = [1, 2, 3, 4, 11, 12, 21, 102, 113].map(ordinal).into();
        assert_eq!(places.join(" "), "1st 2nd 3rd 4th 11th 12th 21st 102nd 113th");
        assert_eq!(
            (span(Duration::from_secs(90_000)), span(Duration::from_secs(260_000))),
            ("25 h".into(), "3 d".into())
        );
    }

    #[test]
    fn clean_text_is_its_own_line() {
        for text in ["", "a", "a b", " a", "a ", "a  b", "a\tb", "a\u{7f}", "é", "abcdefgh", "abcdefghi"] {
            assert_eq!(on_one_line(text, 8), one_line(text, 8));
        }
        assert!(matches!(on_one_line("a b", 8), Cow::Borrowed(_)));
    }

    #[test]
    fn ids_are_not_shown() {
        assert_eq!(without_ids("é7f4f8a1c-2d3e-4b5a-9c6d-0e1f2a3b4c5d!"), "é…!");
        assert_eq!(without_ids("7f4f8a1c-2d3e-4b5a-9c6d-0e1f2a3b4c5"), "7f4f8a1c-2d3e-4b5a-9c6d-0e1f2a3b4c5");
        assert_eq!(without_ids("a-b c"), "a-b c");
    }

    #[test]
    fn large_numbers_are_parted() {
        for (number, said) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(thousands(number), said);
        }
    }
}
