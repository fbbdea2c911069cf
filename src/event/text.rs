//! Untrusted text, made fit for a line that people read.

/// Text on one line, at most `limit` characters: runs of whitespace are one space; control characters
/// (so terminal escapes too), invisible characters and those that change the direction of writing show as
/// U+FFFD; what is cut off shows as `…`.
pub(crate) fn one_line(text: &str, limit: usize) -> String {
    let mut line = String::with_capacity(text.len().min(limit * 4));
    let mut length = 0;
    let mut space = false;
    for character in text.chars() {
        if character.is_whitespace() {
            space = length > 0;
            continue;
        }
        if length + usize::from(space) >= limit {
            // The last character gives way to the mark, so that the limit holds.
            line.pop();
            line.push('…');
            return line;
        }
        if std::mem::take(&mut space) {
            line.push(' ');
            length += 1;
        }
        line.push(if is_harmless(character) { character } else { '\u{FFFD}' });
        length += 1;
    }
    line
}

/// Text without control characters; the rest stays as it is.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { '\u{FFFD}' } else { character }).collect()
}

/// Text on one line, with nothing lost: what [`one_line`] replaces is escaped (`\n`, `\u{1b}`).
pub(crate) fn escaped(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            character if is_harmless(character) && !matches!(character, '\u{2028}' | '\u{2029}') => {
                line.push(character);
            }
            character => line.extend(character.escape_default()),
        }
    }
    line
}

fn is_harmless(character: char) -> bool {
    !character.is_control()
        && !matches!(character,
            '\u{AD}' | '\u{61C}' | '\u{180E}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}'
            | '\u{E0000}'..='\u{E0FFF}')
}

/// A whole number with its thousands apart: `12,345`.
pub(crate) fn thousands(number: impl std::fmt::Display) -> String {
    let digits = number.to_string();
    let mut said = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            said.push(',');
        }
        said.push(digit);
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_moves_the_cursor_or_hides() {
        assert_eq!(one_line("  a\u{1b}[31mb\r\n\tc\u{202e}d\u{200b} ", 99), "a�[31mb c�d�");
        assert_eq!(one_line("abcdef", 6), "abcdef");
        assert_eq!(one_line("abcdefg", 6), "abcde…");
        assert_eq!(one_line("abcde g", 6), "abcd…");
        assert_eq!(one_line(" \n ", 6), "");
    }

    #[test]
    fn what_is_escaped_is_on_one_line_and_whole() {
        assert_eq!(escaped("a\u{1b}[31m \r\n\u{2028}ü\\n\u{202e}"), r"a\u{1b}[31m \r\n\u{2028}ü\n\u{202e}");
    }

    proptest! {
        #[test]
        fn any_text_becomes_one_short_line(text: String, limit in 1_usize..40) {
            let line = one_line(&text, limit);
            prop_assert!(line.chars().count() <= limit);
            prop_assert!(!line.chars().any(|character| character.is_control()));
        }
    }
}
