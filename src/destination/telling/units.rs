//! What became of each entity from the first to the last event of a story.

use std::borrow::Cow;
use std::cell::OnceCell;

use serde_json::value::RawValue;

use super::reading::Reading;
use super::states::Variants;
use crate::event::{Deed, EntityKind, RuleLabel, Timestamp};
use crate::flipt::{Differences, Fields, MAX_DIFFERENCES, child_list, compare, identity};

/// What an entity was before the first event about it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Was<'a> {
    /// There was none.
    Nothing,
    /// Not known.
    Unknown,
    /// This.
    State(&'a RawValue),
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Net {
    Created,
    Deleted,
    /// Created and deleted again.
    Passed,
    Changed,
    /// Changed, and changed back.
    Back,
    /// Saved as it was.
    Same,
    /// It is as it is now; what it was is not known.
    Set,
}

/// One entity.
#[derive(Debug, Clone)]
pub(super) struct Unit<'a> {
    pub(super) kind: EntityKind,
    id: Cow<'a, str>,
    pub(super) was: Was<'a>,
    pub(super) is: Option<&'a RawValue>,
    /// When its former state was seen, where that is more than a moment before.
    pub(super) seen: Option<Timestamp>,
    /// The rule of a distribution.
    pub(super) rule_id: Option<Cow<'a, str>>,
    pub(super) rule: Option<&'a RuleLabel>,
    /// The fields that differed around any of its events.
    pub(super) moved: Vec<String>,
    /// Whether it was deleted, and created again.
    pub(super) was_recreated: bool,
    /// Whether its children are told as themselves.
    has_children: bool,
    differences: Cow<'a, Differences>,
    /// Its states, opened once.
    states: States<'a>,
}

#[derive(Debug, Clone, Default)]
struct States<'a> {
    before: OnceCell<Fields<'a>>,
    after: OnceCell<Fields<'a>>,
}

static NO_FIELDS: Fields<'static> = Fields::NONE;

impl<'a> Unit<'a> {
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn net(&self) -> Net {
        match (self.was, self.is) {
            (Was::Nothing, Some(_)) => Net::Created,
            (Was::Nothing, None) => Net::Passed,
            (Was::State(_) | Was::Unknown, None) => Net::Deleted,
            (Was::Unknown, Some(_)) => Net::Set,
            (Was::State(_), Some(_)) if !self.differences().fields.is_empty() => Net::Changed,
            (Was::State(_), Some(_)) if !self.moved.is_empty() => Net::Back,
            (Was::State(_), Some(_)) => Net::Same,
        }
    }

    /// Where before and after differ, children that are told as themselves left out.
    pub(super) fn differences(&self) -> &Differences {
        &self.differences
    }

    /// Finds that out; `told`: all that differs, where that is known.
    fn compared(&self, told: Option<&'a Differences>) -> Cow<'a, Differences> {
        let Was::State(before) = self.was else { return Cow::default() };
        let children: &[&str] = if self.has_children { &["distributions", "constraints"] } else { &[] };
        let mut but = [identity(Some(self.kind)), children].concat();
        if self.kind == EntityKind::Variant && self.is.is_some() {
            // It is known by its id, and may change its key.
            but.retain(|field| *field != "key");
        }
        match told.filter(|told| !told.fields.iter().any(|field| but.contains(&field.as_str()))) {
            Some(told) => Cow::Borrowed(told),
            None => Cow::Owned(compare(Some(before), self.is, &but, MAX_DIFFERENCES)),
        }
    }

    pub(super) fn before(&self) -> Option<&Fields<'a>> {
        match self.was {
            Was::State(state) => Some(self.states.before.get_or_init(|| Fields::read(state))),
            Was::Nothing | Was::Unknown => None,
        }
    }

    pub(super) fn after(&self) -> Option<&Fields<'a>> {
        self.is.map(|state| self.states.after.get_or_init(|| Fields::read(state)))
    }

    /// Whichever state is known, the newer first.
    pub(super) fn any(&self) -> &Fields<'a> {
        self.after().or_else(|| self.before()).unwrap_or(&NO_FIELDS)
    }
}

/// The entities of a story, in the order in which they were met.
#[derive(Debug, Default)]
pub(super) struct Units<'a> {
    pub(super) all: Vec<Unit<'a>>,
    pub(super) variants: Variants,
}

impl<'a> Units<'a> {
    /// Takes one event in; new orders are told elsewhere.
    pub(super) fn take(&mut self, reading: &Reading<'a>) {
        let (Some(kind), Some(payload)) = (reading.kind, reading.event.payload) else { return };
        let known = reading.known;
        self.variants.extend(known.variants.iter().map(|(id, key)| (id.clone(), key.clone())));
        if kind == EntityKind::Variant
            && let (Some(id), Some(key)) = (&reading.payload.id, &reading.payload.key)
        {
            self.variants.entry(id.to_string()).or_insert_with(|| key.to_string());
        }
        if reading.deed == Deed::Reordered {
            return;
        }
        let state = known.before.as_deref().filter(|_| known.late.is_none());
        let was = match (reading.deed, state) {
            (Deed::Created, _) => Was::Nothing,
            (_, Some(state)) => Was::State(state),
            (_, None) => Was::Unknown,
        };
        let own = reading.payload.id.clone().or_else(|| reading.payload.key.clone());
        let unit = Unit {
            kind,
            id: own.or_else(|| reading.payload.token_name.clone()).unwrap_or_default(),
            was,
            is: reading.after(),
            seen: known.seen.map(|seen| seen.at).filter(|_| state.is_some()),
            rule_id: reading.payload.rule_id.clone(),
            rule: known.rule.as_ref(),
            moved: Vec::new(),
            was_recreated: false,
            has_children: false,
            differences: Cow::default(),
            states: States::default(),
        };
        let has_children = child_list(kind).is_some_and(|(child, list)| {
            let before = state.filter(|_| reading.deed == Deed::Updated);
            before.is_some_and(|before| self.children(&unit, child, list, before, payload))
        });
        let mut unit = Unit { has_children, ..unit };
        unit.differences = unit.compared(reading.differences);
        self.meet(unit);
        if reading.deed == Deed::Deleted {
            let id = reading.payload.id.clone().unwrap_or_default();
            self.leave(kind, &id);
        }
    }

    /// What went with something that was deleted is not told of any more.
    fn leave(&mut self, kind: EntityKind, id: &str) {
        let is_share_of = |unit: &Unit<'_>, name: &str| {
            unit.kind == EntityKind::Distribution && unit.any().text(name).as_deref() == Some(id)
        };
        match kind {
            EntityKind::Flag | EntityKind::Segment => self.all.retain(|unit| unit.kind == kind),
            EntityKind::Rule => self.all.retain(|unit| !is_share_of(unit, "rule_id")),
            EntityKind::Variant => self.all.retain(|unit| !is_share_of(unit, "variant_id")),
            _ => {}
        }
    }

    /// Tells the children of a rule or segment as themselves; `false` where they cannot be told apart.
    fn children(
        &mut self,
        parent: &Unit<'a>,
        kind: EntityKind,
        list: &str,
        before: &'a RawValue,
        after: &'a RawValue,
    ) -> bool {
        let (Some(olds), Some(news)) = (with_ids(before, list), with_ids(after, list)) else { return false };
        let old_of = |id: &str| olds.iter().find(|(old, _)| old == id).map(|(_, state)| *state);
        // Lists of people's making are short; of others only so much is told.
        let gone = olds.iter().filter(|(id, _)| news.iter().all(|(new, _)| new != id));
        let gone = gone.map(|(id, state)| (id.clone(), Was::State(state), None));
        let new = news
            .iter()
            .map(|(id, state)| (id.clone(), old_of(id).map_or(Was::Nothing, Was::State), Some(*state)));
        let units: Vec<Unit<'a>> = gone
            .chain(new)
            .map(|(id, was, is)| Unit {
                kind,
                id,
                was,
                is,
                rule_id: Some(parent.id.clone()),
                rule: None,
                moved: Vec::new(),
                was_recreated: false,
                has_children: false,
                states: States::default(),
                ..parent.clone()
            })
            .collect();
        for mut unit in units {
            unit.differences = unit.compared(None);
            // One that stays as it is was not touched.
            if unit.net() != Net::Same {
                self.meet(unit);
            }
        }
        true
    }

    fn meet(&mut self, unit: Unit<'a>) {
        let moved = unit.differences.fields.clone();
        let same = |known: &&mut Unit<'a>| known.kind == unit.kind && known.id == unit.id;
        let Some(known) = self.all.iter_mut().find(same) else {
            return self.all.push(Unit { moved, ..unit });
        };
        known.moved.extend(moved);
        known.was_recreated |= known.is.is_none() && unit.is.is_some() && !matches!(known.was, Was::Nothing);
        if known.was_recreated {
            known.moved.clear();
        }
        known.is = unit.is;
        known.states.after = unit.states.after;
        known.has_children |= unit.has_children;
        known.rule = known.rule.or(unit.rule);
        known.differences = known.compared(None);
    }

    /// The rule of that id, where the story has it.
    pub(super) fn rule(&self, id: &str) -> Option<&Unit<'a>> {
        self.all.iter().find(|unit| unit.kind == EntityKind::Rule && unit.id == id)
    }
}

/// More children of one event are not told one by one.
const MAX_CHILDREN: usize = 64;

fn with_ids<'a>(state: &'a RawValue, list: &str) -> Option<Vec<(Cow<'a, str>, &'a RawValue)>> {
    let items = Fields::read(state).items(list);
    if items.len() > MAX_CHILDREN {
        return None;
    }
    items.into_iter().map(|item| Some((Fields::try_read(item)?.text("id")?, item))).collect()
}
