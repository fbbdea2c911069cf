//! Patterns of text.

use std::fmt;

/// Text with `*` for any run of characters; everything else stands for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    /// In lower case, where that is another text.
    lower: Option<Box<str>>,
}

impl Pattern {
    /// Takes a pattern as it is written.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        let lower = Some(text.to_lowercase()).filter(|lower| *lower != text).map(Into::into);
        Self { text, lower }
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the whole of `text` fits.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        fits(&self.text, text)
    }

    /// Whether the whole of a text in lower case fits, whatever the case of letters in the pattern.
    #[must_use]
    pub fn matches_lower_case(&self, text: &str) -> bool {
        fits(self.lower.as_deref().unwrap_or(&self.text), text)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(rest) = parts.next().and_then(|prefix| text.strip_prefix(prefix)) else {
        return false;
    };
    let Some(suffix) = pattern.rsplit_once('*').map(|(_, suffix)| suffix) else {
        return rest.is_empty();
    };
    let Some(mut middle) = rest.strip_suffix(suffix) else { return false };
    let inner = pattern.matches('*').count() - 1;
    for part in parts.take(inner) {
        match middle.find(part) {
            Some(at) => middle = &middle[at + part.len()..],
            None => return false,
        }
    }
    true
}

/// A pair of Flipt's noun and verb, either of which may be `*`: `flag:updated`, `*:deleted`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventPattern {
    /// The noun, or `*`.
    pub noun: String,
    /// The verb, or `*`.
    pub verb: String,
}

impl EventPattern {
    /// Whether noun and verb fit.
    #[must_use]
    pub fn matches(&self, noun: &str, verb: &str) -> bool {
        let fits = |pattern: &str, word: &str| pattern == "*" || pattern == word;
        fits(&self.noun, noun) && fits(&self.verb, verb)
    }
}

impl fmt::Display for EventPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.noun, self.verb)
    }
}
