//! The standard variables as they are read: what is empty is not set, and what is not understood is told.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

/// A day: a longer time is a mistake.
const LONGEST_MS: u64 = 86_400_000;

/// Something that is not understood, or has no effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// The variable that it is about (it begins with `OTEL_`), or the key of the configuration.
    pub about: String,
    /// What is not understood, and what holds instead. It never holds a value that may be a secret.
    pub message: String,
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.about, self.message)
    }
}

/// The variables, and what was found wrong with them.
pub(super) struct Variables<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    pub(super) remarks: Vec<Remark>,
}

impl<'a> Variables<'a> {
    pub(super) fn new(lookup: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { lookup, remarks: Vec::new() }
    }

    /// Tells of something once, however often it is met: two signals read the same general variables.
    pub(super) fn remark(&mut self, about: &str, message: impl Into<String>) {
        let remark = Remark { about: about.to_owned(), message: message.into() };
        if !self.remarks.contains(&remark) {
            self.remarks.push(remark);
        }
    }

    /// The value of a variable; one that is empty is not set.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        let text = (self.lookup)(name)?;
        let text = text.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// The first of these variables that is set and understood.
    pub(super) fn first<T>(
        &mut self,
        names: &[String],
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        for name in names {
            match self.text(name).map(|text| read(&text)) {
                Some(Ok(value)) => return Some(value),
                Some(Err(why)) => self.remark(name, format!("{why}; it is ignored")),
                None => {}
            }
        }
        None
    }

    /// Only `true` is true.
    pub(super) fn is_true(&mut self, names: &[String]) -> bool {
        let read = |text: &str| match text.to_ascii_lowercase().as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err("neither `true` nor `false`".to_owned()),
        };
        self.first(names, read).unwrap_or(false)
    }

    /// A whole number within bounds.
    pub(super) fn number(&mut self, name: &str, bounds: RangeInclusive<u64>) -> Option<u64> {
        let read = |text: &str| number(text, &bounds, "");
        self.first(&[name.to_owned()], read)
    }

    /// A length of time in milliseconds; none at all and more than a day are mistakes.
    pub(super) fn milliseconds(&mut self, names: &[String]) -> Option<Duration> {
        let read = |text: &str| number(text, &(1..=LONGEST_MS), " of milliseconds");
        self.first(names, read).map(Duration::from_millis)
    }

    /// The words of a list, in lower case; `None` where the variable is not set.
    pub(super) fn words(&self, name: &str) -> Option<Vec<String>> {
        let text = self.text(name)?.to_ascii_lowercase();
        Some(text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect())
    }
}

fn number(text: &str, bounds: &RangeInclusive<u64>, of_what: &str) -> Result<u64, String> {
    let number = text.parse().ok().filter(|number| bounds.contains(number));
    number.ok_or_else(|| format!("not a whole number{of_what} from {} to {}", bounds.start(), bounds.end()))
}

/// A word for people: nothing that could be a secret or leave its line.
pub(super) fn shown(word: &str) -> String {
    let is_word =
        word.len() <= 48 && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-./:".contains(&byte));
    if is_word { format!("`{word}`") } else { "what is written".to_owned() }
}

/// `name=value` of a list such as `OTEL_RESOURCE_ATTRIBUTES`, values percent-decoded
/// (<https://www.w3.org/TR/baggage/>, without properties). `Err` holds what is wrong with that entry.
pub(super) fn pairs(text: &str) -> impl Iterator<Item = Result<(String, String), &'static str>> {
    text.split(',').map(str::trim).filter(|entry| !entry.is_empty()).map(|entry| {
        let (name, value) = entry.split_once('=').ok_or("an entry is not `name=value`")?;
        let (name, value) = (decoded(name.trim()), decoded(value.trim()));
        let (name, value) = name.zip(value).ok_or("an entry is not percent-encoded as it should be")?;
        if name.is_empty() { Err("an entry has no name") } else { Ok((name, value)) }
    })
}

/// Percent-decodes; `None` where a `%` stands alone or the result is not UTF-8.
fn decoded(text: &str) -> Option<String> {
    let is_code =
        |rest: &str| rest.as_bytes().get(..2).is_some_and(|code| code.iter().all(u8::is_ascii_hexdigit));
    if !text.split('%').skip(1).all(is_code) {
        return None;
    }
    percent_encoding::percent_decode_str(text).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}
