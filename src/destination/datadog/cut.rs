//! Texts within Datadog's limits, which are counted in characters, and without what Datadog would act on.

use std::borrow::Cow;

use sha2::{Digest, Sha256};

use crate::event::text::one_line;

/// The mark of what was cut off.
const MARK: char = '…';
/// No name is looked at any further, before it is cut.
const LONGEST_NAME: usize = 4_096;
/// Hex digits of the hash that tells cut names apart.
const HASH_DIGITS: usize = 8;

/// At most `limit` characters; what is cut off shows as `…`.
pub(super) fn cut(text: &str, limit: usize) -> Cow<'_, str> {
    match text.char_indices().nth(limit) {
        None => Cow::Borrowed(text),
        Some(_) => text.chars().take(limit.saturating_sub(1)).chain([MARK]).collect::<String>().into(),
    }
}

/// A name on one line of at most `limit` characters; longer ones end in `~` and a hash, so that two long names
/// stay two. `None` of what says nothing.
pub(super) fn name(text: &str, limit: usize) -> Option<String> {
    let line = one_line(text, LONGEST_NAME);
    if line.is_empty() {
        return None;
    }
    if line.char_indices().nth(limit).is_none() {
        return Some(line);
    }
    let hash = hex::encode(Sha256::digest(text.as_bytes()));
    let kept = line.chars().take(limit - HASH_DIGITS - 1);
    Some(kept.chain(['~']).chain(hash.chars().take(HASH_DIGITS)).collect())
}

/// Lines of at most `room` characters together, line ends included; those that have no room are counted.
pub(super) fn fitted(lines: &[String], room: usize, more: impl Fn(usize) -> String) -> Vec<String> {
    let length = |line: &str| line.chars().count() + 1;
    let whole: usize = lines.iter().map(|line| length(line)).sum();
    if whole <= room {
        return lines.to_vec();
    }
    // The count of all is the longest that can be needed.
    let mut left = room.saturating_sub(length(&more(lines.len())));
    let mut fitted = Vec::new();
    for line in lines {
        let Some(rest) = left.checked_sub(length(line)) else { break };
        left = rest;
        fitted.push(line.clone());
    }
    fitted.push(more(lines.len() - fitted.len()));
    fitted
}

/// A text in which nothing begins or ends Markdown (`%%%`), nothing notifies anybody (Datadog reads `@name` in an
/// event as a mention), and no address can be followed or taken for one of the relay's. Characters are replaced one
/// by one, so that lengths stay.
pub(super) fn quiet(text: &str) -> String {
    let characters: Vec<char> = text.chars().collect();
    let mut run = 0;
    let mut quiet = String::with_capacity(text.len());
    for (place, &character) in characters.iter().enumerate() {
        run = if character == '%' { run + 1 } else { 0 };
        let follows_word = place > 0 && characters[place - 1].is_alphanumeric();
        quiet.push(match character {
            '%' if run > 2 => {
                run = 0;
                '％'
            }
            '@' if !follows_word => '＠',
            ':' if characters[place + 1..].starts_with(&['/', '/']) => '：',
            '.' if follows_www(&characters[..place]) => '․',
            other => other,
        });
    }
    quiet
}

/// Whether `www` ends it, which begins an address without a scheme.
fn follows_www(before: &[char]) -> bool {
    let last = before.len().checked_sub(3).map(|at| &before[at..]);
    last.is_some_and(|last| last.iter().all(|character| character.eq_ignore_ascii_case(&'w')))
}

/// A text of others inside Markdown: what would mean something there is replaced by what looks like it, one by one.
pub(super) fn plain(text: &str) -> String {
    let characters: Vec<char> = text.chars().collect();
    let replaced = characters.iter().enumerate().map(|(place, &character)| match character {
        '`' => '\'',
        '[' => '［',
        ']' => '］',
        '|' => '¦',
        '<' => '‹',
        '>' => '›',
        '*' => '∗',
        '\\' => '＼',
        '~' => '∼',
        '_' if !is_inside_word(&characters, place) => '＿',
        ':' if begins_emoji(&characters[place + 1..]) => '：',
        '&' if begins_reference(&characters[place + 1..]) => '＆',
        other => other,
    });
    replaced.collect()
}

/// A paragraph of its own, which its first character makes no heading, list or line.
pub(super) fn paragraph(text: &str) -> String {
    let mut characters = text.chars();
    let first = match characters.next() {
        Some('#') => '＃',
        Some('-') => '‐',
        Some('+') => '＋',
        Some('=') => '＝',
        Some(other) => other,
        None => return String::new(),
    };
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let mark = |place: usize, character: char| match character {
        '.' if digits > 0 && place == digits => '․',
        ')' if digits > 0 && place == digits => '）',
        other => other,
    };
    let all = std::iter::once(first).chain(characters);
    all.enumerate().map(|(place, character)| mark(place, character)).collect()
}

/// Whether a run of `_` has a letter or digit on either side: Markdown stresses nothing there.
fn is_inside_word(characters: &[char], place: usize) -> bool {
    let is_word = |character: Option<&char>| character.is_some_and(|it| it.is_alphanumeric());
    let before = characters[..place].iter().rev().find(|it| **it != '_');
    let after = characters[place..].iter().find(|it| **it != '_');
    is_word(before) && is_word(after)
}

/// `fire:` of `:fire:`; a time of day has no letters.
fn begins_emoji(rest: &[char]) -> bool {
    let is_name = |it: &&char| it.is_ascii_alphanumeric() || matches!(it, '_' | '-' | '+');
    let name: Vec<&char> = rest.iter().take_while(is_name).collect();
    let is_named = name.iter().any(|it| !it.is_ascii_digit()) || name.len() > 2;
    is_named && rest.get(name.len()) == Some(&':')
}

/// `#64;` of `&#64;`, `lt;` of `&lt;`.
fn begins_reference(rest: &[char]) -> bool {
    let is_name = |it: &&char| it.is_ascii_alphanumeric() || **it == '#';
    let length = rest.iter().take_while(is_name).count();
    length > 0 && rest.get(length) == Some(&';')
}
