//! How a line is put together, within its bounds.

use super::{Role, Row, Sentence, Tone};

/// No sentence is longer.
const MAX_CHARACTERS: usize = 500;

/// A sentence in the making.
pub(super) struct Line {
    pieces: Vec<(Role, String)>,
    left: usize,
}

impl Line {
    pub(super) fn new() -> Self {
        Self { pieces: Vec::new(), left: MAX_CHARACTERS }
    }

    /// Adds a piece, as far as there is room: the last character that has any says that there was more.
    pub(super) fn add(&mut self, role: Role, piece: &str) -> &mut Self {
        if piece.is_empty() || self.left == 0 {
            return self;
        }
        let length = piece.chars().count();
        let cut: Option<String> =
            (length > self.left).then(|| piece.chars().take(self.left - 1).chain(['…']).collect());
        let piece = cut.as_deref().unwrap_or(piece);
        self.left = self.left.saturating_sub(length);
        match self.pieces.last_mut() {
            Some((last, text)) if *last == role => text.push_str(piece),
            _ => self.pieces.push((role, piece.to_owned())),
        }
        self
    }

    pub(super) fn plain(&mut self, piece: &str) -> &mut Self {
        self.add(Role::Plain, piece)
    }

    /// ` · rollout 10 % → 50 % of everyone gets true`.
    pub(super) fn part(&mut self, phrase: &Phrase) -> &mut Self {
        self.plain(" · ");
        phrase.write(self);
        self
    }

    pub(super) fn end(self, tone: Tone) -> Sentence {
        Sentence { tone, pieces: self.pieces }
    }
}

/// Part of a sentence: `rollout 10 % → 50 % of everyone gets true`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Phrase {
    pub(super) lead: String,
    pub(super) old: Option<String>,
    pub(super) new: Option<String>,
    pub(super) tail: String,
}

impl Phrase {
    /// Words alone.
    pub(super) fn words(words: impl Into<String>) -> Self {
        Self { lead: words.into(), ..Self::default() }
    }

    /// From one value to another.
    pub(super) fn arrow(lead: &str, old: impl Into<String>, new: impl Into<String>, tail: &str) -> Self {
        Self { lead: lead.into(), old: Some(old.into()), new: Some(new.into()), tail: tail.into() }
    }

    /// One value.
    pub(super) fn value(lead: &str, new: impl Into<String>, tail: &str) -> Self {
        Self { lead: lead.into(), old: None, new: Some(new.into()), tail: tail.into() }
    }

    pub(super) fn write(&self, line: &mut Line) {
        line.plain(&self.lead);
        if let Some(old) = &self.old {
            line.plain(old);
            if self.new.is_some() {
                line.plain(" → ");
            }
        }
        line.add(Role::Value, self.new.as_deref().unwrap_or_default()).plain(&self.tail);
    }

    /// The same after words that lead to it from further away.
    pub(super) fn after(&self, lead: &str) -> Self {
        Self { lead: format!("{lead}{}", self.lead), ..self.clone() }
    }
}

/// One thing that changed: how its own sentence says it, how a story of several does, and its row there.
#[derive(Debug, Clone)]
pub(super) struct Effect {
    pub(super) weight: Weight,
    pub(super) near: Phrase,
    pub(super) far: Phrase,
    pub(super) row: Row,
}

/// How much a change matters, most first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Weight {
    Switch,
    Share,
    Targeting,
    Other,
    Name,
    Text,
}

impl Effect {
    /// An effect whose row says the same as its phrases.
    pub(super) fn new(weight: Weight, label: &str, near: Phrase, far: Phrase) -> Self {
        let new = near.new.as_ref().map(|new| format!("{new}{}", near.tail));
        let row = Row { label: label.to_owned(), old: near.old.clone(), new, is_raw: false };
        Self { weight, near, far, row }
    }

    /// The same, whose row shows JSON if that is so.
    pub(super) fn with_raw(mut self, is_raw: bool) -> Self {
        self.row.is_raw = is_raw;
        self
    }

    /// The same with another row.
    pub(super) fn with_row(mut self, old: Option<String>, new: Option<String>) -> Self {
        (self.row.old, self.row.new) = (old, new);
        self
    }
}
