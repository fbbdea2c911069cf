//! What people are told of a failure, in which others may be quoted.

use std::fmt;
use std::ops::Range;

/// A sentence about what went wrong. A part of it may quote what others wrote: a receiver may repeat what it was
/// sent, a template what it was given. That part is for those who may see events (the journal, `status`,
/// `explain`), and no log line holds it: see [`Message::own_words`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    text: String,
    quoted: Option<Range<usize>>,
}

impl Message {
    /// `before`, a colon, what others wrote, and `after`; without the colon where they wrote nothing.
    #[must_use]
    pub fn quoting(before: &str, quote: &str, after: &str) -> Self {
        match quote {
            "" => Self { text: format!("{before}{after}"), quoted: None },
            quote => Self::around(&format!("{before}: "), quote, after),
        }
    }

    /// `before`, what others wrote, and `after`, as they are.
    #[must_use]
    pub fn around(before: &str, quote: &str, after: &str) -> Self {
        let quoted = Some(before.len()..before.len() + quote.len());
        Self { text: format!("{before}{quote}{after}"), quoted }
    }

    /// The same sentence behind others.
    #[must_use]
    pub fn behind(&self, before: &str) -> Self {
        let quoted = self.quoted.clone().map(|part| part.start + before.len()..part.end + before.len());
        Self { text: format!("{before}{}", self.text), quoted }
    }

    /// All of it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether anybody is quoted.
    #[must_use]
    pub const fn is_quoting(&self) -> bool {
        self.quoted.is_some()
    }

    /// The sentence with `…` in the place of what it quotes.
    #[must_use]
    pub fn own_words(&self) -> String {
        let mut text = self.text.clone();
        if let Some(quoted) = self.quoted.clone() {
            text.replace_range(quoted, "…");
        }
        text
    }
}

impl fmt::Display for Message {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl std::ops::Deref for Message {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

/// It quotes nobody.
impl From<String> for Message {
    fn from(text: String) -> Self {
        Self { text, quoted: None }
    }
}

/// It quotes nobody.
impl From<&str> for Message {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl PartialEq<str> for Message {
    fn eq(&self, other: &str) -> bool {
        self.text == other
    }
}

impl PartialEq<&str> for Message {
    fn eq(&self, other: &&str) -> bool {
        self.text == *other
    }
}

impl PartialEq<String> for Message {
    fn eq(&self, other: &String) -> bool {
        self.text == *other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_own_words_quote_nobody() {
        let sentence = Message::quoting("the receiver answered 403", "r", "; the key is wrong");
        assert_eq!(sentence, "the receiver answered 403: r; the key is wrong");
        assert_eq!(sentence.own_words(), "the receiver answered 403: …; the key is wrong");
        let behind = sentence.behind("3 in a row; the last time ");
        assert_eq!(behind, "3 in a row; the last time the receiver answered 403: r; the key is wrong");
        assert_eq!(
            behind.own_words(),
            "3 in a row; the last time the receiver answered 403: …; the key is wrong"
        );
        let silent = Message::quoting("the receiver answered 500", "", "");
        assert_eq!((silent.as_str(), silent.own_words().as_str()), ("the receiver answered 500", &*silent));
        assert!(sentence.is_quoting() && behind.is_quoting() && !silent.is_quoting());
        let odd = Message::around("Slack answered `", "ü", "`");
        assert_eq!((odd.as_str(), odd.own_words().as_str()), ("Slack answered `ü`", "Slack answered `…`"));
    }
}
