//! Slack's mrkdwn: lines made of pieces, in which nothing but the pieces' own styles is markup.
//!
//! `&`, `<` and `>` are escaped (<https://docs.slack.dev/messaging/formatting-message-text>). Slack has no escape
//! for what else it takes for markup, so that stands in its full-width form, which people and searches read
//! alike: see [`harmless`].

use std::fmt::Write as _;
use std::time::Duration;

use crate::event::Timestamp;

/// Longer addresses are no links: a link is never cut.
const LONGEST_URL: usize = 1_000;

/// A time that is no longer ago goes without its day.
const FRESH: Duration = Duration::from_secs(6 * 3_600);

/// A line in the making.
#[derive(Debug, Clone, Default)]
pub(super) struct Line(Vec<Piece>);

#[derive(Debug, Clone)]
struct Piece {
    text: String,
    is_bold: bool,
    form: Form,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    Words,
    /// A picture before the words: notifications do without.
    Emoji,
    Link(String),
    /// The reader's own time; the text is for who cannot show it.
    Date {
        unix: i64,
        format: &'static str,
    },
}

impl Line {
    fn add(&mut self, text: &str, is_bold: bool, form: Form) -> &mut Self {
        if !text.is_empty() {
            self.0.push(Piece { text: text.to_owned(), is_bold, form });
        }
        self
    }

    pub(super) fn emoji(&mut self, emoji: &'static str) -> &mut Self {
        self.add(emoji, false, Form::Emoji)
    }

    pub(super) fn plain(&mut self, text: &str) -> &mut Self {
        self.add(text, false, Form::Words)
    }

    pub(super) fn bold(&mut self, text: &str) -> &mut Self {
        self.add(text, true, Form::Words)
    }

    /// A link, where the address can be one.
    pub(super) fn link(&mut self, url: &str, text: &str, is_bold: bool) -> &mut Self {
        let is_fit = url.len() <= LONGEST_URL
            && (url.starts_with("https://") || url.starts_with("http://"))
            && url.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'<' | b'>' | b'|' | b'"'));
        self.add(text, is_bold, if is_fit { Form::Link(url.to_owned()) } else { Form::Words })
    }

    /// A time, in the time zone of who reads it; with its day, where that may not be `now`'s.
    pub(super) fn date(&mut self, at: Timestamp, now: Timestamp) -> &mut Self {
        let utc = at.to_utc();
        let clock = format!("{:02}:{:02} UTC", utc.hour(), utc.minute());
        // Who reads it elsewhere may have another day by then.
        let is_fresh = now.since(at) <= FRESH && utc.date() == now.to_utc().date();
        let (format, text) = match is_fresh {
            true => ("{time}", clock),
            false => {
                let month = utc.month().to_string();
                let day = format!("{} {}, {}", &month[..3], utc.day(), utc.year());
                ("{date_short_pretty} {time}", format!("{day} {clock}"))
            }
        };
        let unix = at.unix_seconds();
        self.add(&text, false, if unix > 0 { Form::Date { unix, format } } else { Form::Words })
    }

    pub(super) fn append(&mut self, mut other: Self) -> &mut Self {
        self.0.append(&mut other.0);
        self
    }

    /// The same without the pictures before it.
    pub(super) fn without_emoji(mut self) -> Self {
        self.0.retain(|piece| piece.form != Form::Emoji);
        self
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The words as they stand in a message, escaped, without markup.
    pub(super) fn text(&self, room: usize) -> String {
        self.written(room, false)
    }

    /// Words and markup in at most so many characters (UTF-16 units, which nobody counts more of): what has no
    /// room is cut at a character, with a mark, outside of entities and markup.
    pub(super) fn markup(&self, room: usize) -> String {
        self.written(room, true)
    }

    fn written(&self, room: usize, with_markup: bool) -> String {
        let mut out = String::new();
        // The last character of the room is for the mark.
        let mut left = room.saturating_sub(1);
        let mut was_bold = false;
        for (piece, text) in self.0.iter().zip(self.harmless(with_markup)) {
            if piece.form == Form::Emoji && !with_markup {
                continue;
            }
            let is_bold = piece.is_bold && with_markup && !was_bold;
            let (spaces, words) = text.split_at(text.len() - text.trim_start().len());
            was_bold = is_bold && words.trim_end() == words && !words.is_empty();
            let form = if with_markup { &piece.form } else { &Form::Words };
            if left < spaces.len() {
                return marked(out, room);
            }
            out.push_str(spaces);
            left -= spaces.len();
            let whole = fenced(words, is_bold, form);
            if width(&whole) <= left {
                left -= width(&whole);
                out.push_str(&whole);
                continue;
            }
            if !matches!(form, Form::Date { .. } | Form::Emoji) {
                let fences = if is_bold { 2 } else { 0 };
                let cut = cut(words, left.saturating_sub(fences));
                if !cut.is_empty() {
                    // The mark stands inside of the bold.
                    let fence = if is_bold { "*" } else { "" };
                    let _ = write!(out, "{fence}{}…{fence}", escaped(cut));
                    return out;
                }
            }
            return marked(out, room);
        }
        out
    }

    /// The texts of all pieces, made harmless. What one begins, none of the following ends.
    fn harmless(&self, with_emoji: bool) -> Vec<String> {
        let mut colons = 0;
        let mut texts: Vec<String> = Vec::with_capacity(self.0.len());
        let first = self
            .0
            .iter()
            .position(|piece| (with_emoji || piece.form != Form::Emoji) && !piece.text.trim().is_empty());
        for (at, piece) in self.0.iter().enumerate().rev() {
            texts.push(match piece.form {
                Form::Emoji | Form::Date { .. } => {
                    colons = 0;
                    piece.text.clone()
                }
                Form::Words | Form::Link(_) => harmless(&piece.text, Some(at) == first, &mut colons),
            });
        }
        texts.reverse();
        texts
    }
}

/// With the mark that something is left out; the room for it was kept.
fn marked(mut out: String, room: usize) -> String {
    if room > 0 {
        out.truncate(out.trim_end().len());
        out.push('…');
    }
    out
}

fn fenced(words: &str, is_bold: bool, form: &Form) -> String {
    // Slack wants no space inside of its stars.
    let (words, tail) = words.split_at(words.trim_end().len());
    if words.is_empty() {
        return tail.to_owned();
    }
    let text = escaped(words);
    let body = match form {
        Form::Words | Form::Emoji => text,
        Form::Link(url) => format!("<{}|{text}>", escaped(url)),
        Form::Date { unix, format } => format!("<!date^{unix}^{format}|{text}>"),
    };
    if is_bold { format!("*{body}*{tail}") } else { format!("{body}{tail}") }
}

/// Text that Slack takes for nothing but text, character for character. Full-width stand
///
/// * `*`, `~` and the backtick, always, and `_` but between two letters or digits (`new_checkout` is none of
///   Slack's markup, `_new` may be);
/// * `:` that another one follows without a space between (`:fire:`; `14:14` and `14:14:02` stay);
/// * `@` at the beginning of a word (`@channel`; addresses stay);
/// * `>` at the beginning of a line, where Slack quotes.
///
/// `colons` is how many follow the text without a space, and then how many follow its beginning.
fn harmless(text: &str, is_first: bool, colons: &mut usize) -> String {
    let all: Vec<char> = text.chars().collect();
    let is_word = |at: Option<usize>| at.and_then(|at| all.get(at)).is_some_and(char::is_ascii_alphanumeric);
    let begins = |at: usize| is_first && all[..at].iter().all(|before| before.is_whitespace());
    let is_digit = |at: Option<usize>| at.and_then(|at| all.get(at)).is_some_and(char::is_ascii_digit);
    let is_clock = |at: usize| {
        let places = [at.checked_sub(1), Some(at + 1), Some(at + 2)];
        places.into_iter().all(is_digit) && all.get(at + 3) == Some(&':')
    };
    let mut made: Vec<char> = Vec::with_capacity(all.len());
    for (at, character) in all.iter().copied().enumerate().rev() {
        let before = at.checked_sub(1);
        made.push(match character {
            _ if character.is_whitespace() || character.is_control() => ' ',
            '*' => '＊',
            '~' => '～',
            '`' => '｀',
            '_' if !is_word(before) || !is_word(Some(at + 1)) => '＿',
            ':' if *colons > 0 && !(*colons == 1 && is_clock(at)) => '：',
            '@' if !is_word(before) => '＠',
            '>' if begins(at) => '＞',
            other => other,
        });
        match character {
            ':' => *colons += 1,
            _ if made.last() == Some(&' ') => *colons = 0,
            _ => {}
        }
    }
    made.into_iter().rev().collect()
}

/// The three characters that Slack wants escaped.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// As much of a text as has so much room when it is escaped.
fn cut(text: &str, room: usize) -> &str {
    let mut used = 0;
    for (at, character) in text.char_indices() {
        used += match character {
            '&' => 5,
            '<' | '>' => 4,
            other => other.len_utf16(),
        };
        if used > room {
            return text[..at].trim_end();
        }
    }
    text
}

/// How much of Slack's room a text takes.
pub(super) fn width(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

#[cfg(test)]
mod tests;
