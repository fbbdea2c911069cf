//! The conditions of `when` and `unless`: lists are alternatives, keys hold together.

use super::Facts;
use crate::event::{Namespace, RecordKind};

/// Text with `*` for any run of characters; everything else stands for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// Takes a pattern as it is written.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the whole of `text` fits.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let mut parts = self.0.split('*');
        let Some(rest) = parts.next().and_then(|prefix| text.strip_prefix(prefix)) else {
            return false;
        };
        let Some(suffix) = self.0.rsplit_once('*').map(|(_, suffix)| suffix) else {
            return rest.is_empty();
        };
        let Some(mut middle) = rest.strip_suffix(suffix) else { return false };
        let inner = self.0.matches('*').count() - 1;
        for part in parts.take(inner) {
            match middle.find(part) {
                Some(at) => middle = &middle[at + part.len()..],
                None => return false,
            }
        }
        true
    }
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
    fn matches(&self, noun: &str, verb: &str) -> bool {
        let fits = |pattern: &str, word: &str| pattern == "*" || pattern == word;
        fits(&self.noun, noun) && fits(&self.verb, verb)
    }
}

/// What conditions say about one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// All hold.
    Match,
    /// One does not hold, or asks for what is not known.
    NoMatch,
}

/// Conditions that must hold together; an empty list asks for nothing.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Conditions {
    /// Pairs of noun and verb.
    pub events: Vec<EventPattern>,
    /// Nouns.
    pub types: Vec<Pattern>,
    /// Verbs.
    pub actions: Vec<Pattern>,
    /// `success`, `denied`.
    pub statuses: Vec<Pattern>,
    /// Namespace keys; the word `unknown` stands for a namespace that is not known.
    pub namespaces: Vec<Pattern>,
    /// Environments; the word `unknown` stands for one that is not known.
    pub environments: Vec<Pattern>,
    /// Names of sources.
    pub sources: Vec<Pattern>,
    /// Kinds of record.
    pub record: Vec<RecordKind>,
    /// How many conditions ask for facts that this version does not find out (`live`, `keys`, …): they
    /// are unknown for every record.
    pub asks_unknown_facts: bool,
    /// Whether a condition on a fact that is not known counts as holding (`unknown: match`).
    pub unknown_matches: bool,
}

/// The word by which a list takes what is not known.
const UNKNOWN: &str = "unknown";

impl Conditions {
    /// Whether all conditions hold for a record with these facts.
    #[must_use]
    pub fn verdict(&self, facts: &Facts<'_>) -> Verdict {
        let event = facts.event.as_ref();
        let namespace = match facts.namespace {
            Namespace::Known(key) => Some(key.as_str()),
            Namespace::Unknown => None,
            // It has none: a list of namespaces asks for something that is not there.
            Namespace::None if !self.namespaces.is_empty() && facts.record == RecordKind::Event => {
                return Verdict::NoMatch;
            }
            Namespace::None => None,
        };
        let holds = self.list(&self.types, event.map(|event| event.noun))
            && self.list(&self.actions, event.map(|event| event.verb))
            && self.list(&self.statuses, event.map(|event| event.status))
            && self.list(&self.namespaces, namespace)
            && self.list(&self.environments, facts.environment)
            && self.list(&self.sources, Some(facts.source))
            && (self.record.is_empty() || self.record.contains(&facts.record))
            && (self.events.is_empty()
                || event.map_or(self.unknown_matches, |event| {
                    self.events.iter().any(|pattern| pattern.matches(event.noun, event.verb))
                }))
            && (!self.asks_unknown_facts || self.unknown_matches);
        if holds { Verdict::Match } else { Verdict::NoMatch }
    }

    /// Whether it asks for type, action or status: what only the event itself can tell.
    #[must_use]
    pub fn asks_event_words(&self) -> bool {
        !(self.events.is_empty()
            && self.types.is_empty()
            && self.actions.is_empty()
            && self.statuses.is_empty())
    }

    /// Whether an empty list, or one of its patterns, takes the value.
    fn list(&self, patterns: &[Pattern], value: Option<&str>) -> bool {
        match value {
            _ if patterns.is_empty() => true,
            Some(value) => patterns.iter().any(|pattern| pattern.matches(value)),
            None => self.unknown_matches || patterns.iter().any(|pattern| pattern.as_str() == UNKNOWN),
        }
    }
}
