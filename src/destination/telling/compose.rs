//! A sentence from its opening, its place and its parts.

use std::time::Duration;

use super::effects::effects;
use super::opening::{Opening, Said, Scene};
use super::order::{Moved, Order};
use super::phrase::{Effect, Line, Phrase, Weight};
use super::reading::Reading;
use super::splits::splits;
use super::units::{Net, Unit, Units, Was};
use super::words::{count, field, list, name, span};
use super::{Role, Row, Sentence, Story, late, records};
use crate::event::{Closed, EntityKind, Several, Without};

/// Parts of a sentence; more are counted.
const MOST_PARTS: usize = 4;
/// Flags of a segment that are named.
const MOST_FLAGS: usize = 2;
/// From then on a former state is told with its age.
const FRESH: Duration = Duration::from_secs(24 * 3_600);

/// Tells events of one owner as one; `untold` more of the same change set are not among them.
pub(super) fn story(readings: &[Reading<'_>], untold: usize) -> Story {
    let [first, ..] = readings else {
        return Story {
            headline: Sentence { tone: super::Tone::Other, pieces: Vec::new() },
            rows: Vec::new(),
        };
    };
    let mut units = Units::default();
    readings.iter().for_each(|reading| units.take(reading));
    let orders = Order::all(readings);
    let owner = first.owner();
    let scene = Scene { owner: &owner, units: &units, orders: &orders };
    let opening = scene.open();
    let is_alone = scene.is_alone();
    let mut effects: Vec<Effect> = units.all.iter().flat_map(|unit| effects(unit, &units)).collect();
    effects.extend(splits(&units));
    effects.extend(orders.iter().filter_map(|order| order.effect(is_alone)));
    effects.sort_by_key(|effect| effect.weight);
    let mut parts = parts(&scene, &opening, &effects, is_alone, readings.len() > 1);
    let is_late = first.known.late.is_some();
    let notes = match is_late {
        true => late::notes(first, &mut parts),
        false => notes(&scene, readings, &opening, &mut parts),
    };

    let mut line = Line::new();
    if is_late {
        line.plain("Earlier change, arrived late: ");
    }
    line.add(Role::Actor, &first.who()).plain(" ");
    opening.write(&mut line);
    records::place(&mut line, first);
    line.plain(&opening.with);
    for phrase in parts.iter().take(MOST_PARTS) {
        line.part(phrase);
    }
    let more = parts.len().saturating_sub(MOST_PARTS) + untold;
    if more > 0 {
        line.plain(&format!(" · and {}", count(more as u64, "more change").replace("1 more", "one more")));
    }
    for note in &notes {
        line.part(note);
    }
    let tone = if is_late { super::Tone::Late } else { opening.tone };
    Story { headline: line.end(tone), rows: rows(effects) }
}

fn rows(effects: Vec<Effect>) -> Vec<Row> {
    let rows = effects.into_iter().map(|effect| effect.row);
    rows.filter(|row| row.old.is_some() || row.new.is_some()).collect()
}

/// What is left to say after the opening.
fn parts(
    scene: &Scene<'_, '_>,
    opening: &Opening,
    effects: &[Effect],
    is_alone: bool,
    is_story: bool,
) -> Vec<Phrase> {
    // Of what was created or deleted as a whole, only what it is itself is told.
    let own;
    let effects = match opening.said {
        Said::All => return Vec::new(),
        Said::Parts => {
            own = scene.own().map(|unit| super::effects::effects(unit, scene.units)).unwrap_or_default();
            own.as_slice()
        }
        _ => effects,
    };
    let stays_true = !scene.true_while_off().is_empty();
    let left = |effect: &&Effect| opening.said != Said::Switch || effect.weight != Weight::Switch;
    let phrase = |effect: &Effect| {
        let mut phrase = if is_alone { effect.near.clone() } else { effect.far.clone() };
        if let Said::Text(text) = opening.said {
            match phrase.lead.strip_prefix(text) {
                Some(" changed") => return Phrase::default(),
                Some(_) if text == "protected" => return Phrase::default(),
                Some(rest) => phrase.lead = rest.trim_start().to_owned(),
                None => {}
            }
        }
        // In a story of several, everyone is meant where nobody else is named.
        // Of a flag that is OFF nobody would think so.
        if is_story && !is_alone && phrase.tail == " of everyone gets true" {
            match (stays_true, phrase.old.is_some()) {
                (true, true) => phrase.tail = " of everyone still gets true".to_owned(),
                (true, false) => {}
                (false, _) => phrase.tail.clear(),
            }
        }
        phrase
    };
    let parts = effects.iter().filter(left).map(phrase);
    parts.filter(|phrase| *phrase != Phrase::default()).collect()
}

/// What changed, and is kept from where this goes.
fn withheld(readings: &[Reading<'_>]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for name in readings.iter().flat_map(|reading| &reading.known.withheld).map(|name| field(name)) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// What is known, or not, around a change.
fn notes(
    scene: &Scene<'_, '_>,
    readings: &[Reading<'_>],
    opening: &Opening,
    parts: &mut [Phrase],
) -> Vec<Phrase> {
    let mut notes = Vec::new();
    // Its parts are not told of what was created, nor those that are as they were.
    let still = scene.true_while_off().into_iter();
    let still =
        still.filter(|(unit, _)| opening.said == Said::Parts || matches!(unit.net(), Net::Same | Net::Back));
    notes.extend(still.take(MOST_FLAGS).map(|(_, rollout)| Phrase::words(rollout.said())));
    let changed = scene.changed();
    let moved = scene.orders.iter().any(|order| order.moved != Moved::Same);
    let age = age(scene, readings);
    let is_same = changed.is_empty() && !moved && opening.with.is_empty();
    let withheld = withheld(readings);
    if !withheld.is_empty() {
        let fields = list(&withheld, withheld.len(), "and", MOST_PARTS);
        notes.push(Phrase::words(format!("{fields} changed, which is not shown here")));
    }
    let hides_segments =
        |reading: &Reading<'_>| reading.event.payload.is_some_and(crate::flipt::hides_segments);
    if is_same && withheld.is_empty() && readings.iter().any(hides_segments) {
        notes.push(Phrase::words("this Flipt does not say which segments it has"));
    } else if is_same && withheld.is_empty() {
        let shown = if scene.own().is_some_and(|own| own.kind == EntityKind::Flag) {
            "that Flipt shows "
        } else {
            ""
        };
        let since = age.as_ref().map(|age| format!(" since it was last seen {age} ago")).unwrap_or_default();
        notes.push(Phrase::words(format!("nothing {shown}changed{since}")));
    } else if let Some(age) = age {
        notes.extend(aged(scene, opening, parts, &age));
    }
    if let Some(reading) = readings.iter().rfind(|reading| reading.known.closed.is_some())
        && let Some(closed) = &reading.known.closed
        && let Some(own) = scene.own().or(changed.first().copied())
        && (own.net() == Net::Deleted || own.was_recreated)
    {
        notes.extend(with(closed, own.kind).map(Phrase::words));
    }
    if readings.iter().any(Reading::is_forced) {
        notes.push(Phrase::words("by force, with all that was in it"));
    }
    if let Some(used_by) = readings.iter().rev().find_map(|reading| reading.known.used_by.as_ref())
        && scene.owner.0 == EntityKind::Segment
        && used_by.count > 0
    {
        let flags: Vec<_> = used_by.first.iter().map(|flag| name(flag)).collect();
        let flags = list(&flags, used_by.count as usize, "and", MOST_FLAGS);
        notes.push(Phrase::words(format!("used by {flags}")));
    }
    // The deletion of a token says all there was.
    let is_unknown = |unit: &&Unit<'_>| matches!(unit.was, Was::Unknown) && unit.kind != EntityKind::Token;
    if opening.said != Said::All && !changed.is_empty() && changed.iter().all(is_unknown) {
        let was_deleted = readings[0].known.without == Some(Without::Deleted);
        let words =
            if was_deleted { "it was deleted before, as far as is known" } else { "earlier state not known" };
        notes.push(Phrase::words(words));
    } else if changed.is_empty() && scene.orders.iter().any(|order| order.moved == Moved::Unknown) {
        notes.push(Phrase::words("earlier order not known"));
    }
    notes
}

/// How long ago the state before a single event was seen, where that is long.
fn age(scene: &Scene<'_, '_>, readings: &[Reading<'_>]) -> Option<String> {
    let [reading] = readings else { return None };
    let record = &reading.delivery.record;
    let seen = scene.units.all.iter().find_map(|unit| unit.seen)?;
    // What Flipt itself told with the event is as new as the event.
    if reading.known.seen.is_some_and(|seen| seen.by == crate::event::SeenBy::Flipt) {
        return None;
    }
    let age = record.event_time.unwrap_or(record.accepted_at).since(seen);
    (age > FRESH).then(|| span(age))
}

/// Says the age of what was: with it where one thing was something, else apart.
fn aged(scene: &Scene<'_, '_>, opening: &Opening, parts: &mut [Phrase], age: &str) -> Option<Phrase> {
    let seen = format!("when last seen {age} ago");
    let own = scene.changed().first().map(|unit| (unit.kind, unit.net()));
    match (opening.said, own, parts) {
        (Said::Switch, _, []) => {
            let was = match opening.tone {
                super::Tone::On => "OFF",
                _ => "ON",
            };
            Some(Phrase::words(format!("was {was} {seen}")))
        }
        (
            _,
            Some((
                EntityKind::Flag | EntityKind::Rollout | EntityKind::Rule | EntityKind::Segment,
                Net::Deleted,
            )),
            [only],
        ) => {
            only.tail = format!("{} {seen}", only.tail);
            None
        }
        (_, _, [only]) if only.old.is_some() && only.new.is_some() => {
            only.old.take().map(|old| Phrase::words(format!("was {old} {seen}")))
        }
        _ => Some(Phrase::words(format!("earlier state last seen {age} ago"))),
    }
}

/// `with 2 variants and 1 rule`: what a deletion took along.
fn with(closed: &Several<Closed>, owner: EntityKind) -> Option<String> {
    if closed.count as usize > closed.first.len() {
        return Some(format!("with {} that belonged to it", count(closed.count.into(), "thing")));
    }
    let kinds = [
        EntityKind::Flag,
        EntityKind::Segment,
        EntityKind::Variant,
        EntityKind::Rule,
        EntityKind::Rollout,
        EntityKind::Constraint,
    ];
    let of = |kind: EntityKind| {
        let number = closed.first.iter().filter(|closed| closed.kind == kind.as_str()).count();
        (number > 0).then(|| count(number as u64, kind.as_str()))
    };
    // The constraints of a segment are told as what it had.
    let kinds =
        kinds.into_iter().filter(|kind| owner != EntityKind::Segment || *kind != EntityKind::Constraint);
    let said: Vec<String> = kinds.filter_map(of).collect();
    (!said.is_empty()).then(|| format!("with {}", list(&said, said.len(), "and", said.len())))
}
