//! Events that are older than what was known already.

use std::slice;

use super::Sentence;
use super::compose;
use super::phrase::Phrase;
use super::reading::Reading;
use super::states::{self, Rollout, rule_segments};
use super::words::{percent, switch};
use crate::event::{Deed, EntityKind};
use crate::flipt::Fields;

/// Tells what it did then, and what is now.
pub(super) fn tell(reading: &Reading<'_>) -> Sentence {
    compose::story(slice::from_ref(reading), 0).headline
}

/// Turns what the event says is so into what was so then, and says what is known to be so now.
pub(super) fn notes(reading: &Reading<'_>, parts: &mut [Phrase]) -> Vec<Phrase> {
    for phrase in parts.iter_mut().filter(|phrase| phrase.new.is_some() && !phrase.lead.starts_with("new ")) {
        for lead in ["now ", "it is "] {
            phrase.lead = phrase.lead.replacen(lead, "", 1);
        }
        let past = |text: &str| text.replace(" gets ", " got ").replace(" get ", " got ");
        phrase.new = phrase.new.as_deref().map(past);
        phrase.tail = past(&phrase.tail) + " then";
    }
    let Some(late) = &reading.known.late else { return Vec::new() };
    let words = match (&late.current, reading.deed) {
        (_, Deed::Reordered) | (None, Deed::Deleted) => return Vec::new(),
        (None, _) if late.is_deleted => "it is deleted now".to_owned(),
        // What is so now is not known, or not told.
        (None, _) => return Vec::new(),
        (Some(current), deed) => {
            let now = reading.kind.and_then(|kind| now(kind, &Fields::read(current)));
            match (now, deed) {
                (_, Deed::Deleted) if reading.kind == Some(EntityKind::Flag) => {
                    match Fields::read(current).truth("enabled") {
                        Some(is_on) => format!("it is there again, and {}", switch(is_on)),
                        None => "it is there again".to_owned(),
                    }
                }
                (_, Deed::Deleted) => "it is there again".to_owned(),
                (Some(now), _) => now,
                (None, _) => "it was changed again since".to_owned(),
            }
        }
    };
    vec![Phrase::words(words)]
}

fn now(kind: EntityKind, current: &Fields<'_>) -> Option<String> {
    Some(match kind {
        EntityKind::Flag => format!("it is {} now", switch(current.truth("enabled")?)),
        EntityKind::Rollout => format!("now {}", Rollout::read(current)?.said()),
        EntityKind::Rule => format!("now for {}", rule_segments(current)?),
        EntityKind::Constraint => format!("now {}", states::constraint(current)?),
        EntityKind::Segment => format!("now with {}", states::constraints(current)?),
        EntityKind::Distribution => format!("now {}", percent(current.number("rollout")?)),
        EntityKind::Variant | EntityKind::Namespace | EntityKind::Token => return None,
    })
}
