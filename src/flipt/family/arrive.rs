//! An event comes to its family.

use std::time::Duration;

use serde_json::value::RawValue;

use super::{Arrival, Came, Family, Form, Member, fields};
use crate::event::{
    Closed, Deed, Entity, EntityKind, Known, Late, Place, RawText, Seen, SeenBy, Several, Without,
};
use crate::flipt::{MAX_STATE_BYTES, child_list};

/// The states of what is in a new order are told up to this size in all, in bytes.
const MAX_ORDER_BYTES: usize = 16 * 1024;

/// Events of one Flipt that are about as old as each other need not come in the order of their times.
const MOMENT: Duration = Duration::from_secs(2);

/// So many of what a deletion took along are named.
const MAX_CLOSED: usize = 20;

impl Family {
    /// Takes an event in: tells what was known around it, and follows what it says. A late one changes
    /// nothing.
    pub fn arrive(&mut self, arrival: &Arrival<'_>) -> Known {
        let mut known = Known::default();
        self.name(arrival, &mut known);
        if let Some(late) = self.lateness(arrival) {
            known.late = Some(late);
            known.without = Some(Without::Late);
            self.doubt(arrival);
            known.live = arrival.news.state.as_deref().and_then(|state| fields::boolean(state, "enabled"));
            known.live = known.live.filter(|on| *on && arrival.entity == Some(&self.owner));
            return known;
        }
        let was_on = self.was_on(arrival);
        let came = Came { at: arrival.at(), by: SeenBy::Event, sequence: arrival.sequence };
        match (arrival.news.deed, arrival.entity) {
            (Deed::Reordered, _) => self.reorder(arrival, came, &mut known),
            (_, None) => {
                known.without = Some(Without::NotKept);
                if arrival.news.kind == EntityKind::Rollout {
                    self.doubt_rollouts();
                }
            }
            (Deed::Created, Some(entity)) => {
                known.without = Some(Without::Created);
                if *entity == self.owner {
                    self.clear();
                }
                self.replace(entity, arrival, came);
                if *entity == self.owner {
                    self.members.update(entity, |owner| {
                        (owner.born, owner.is_whole) = (arrival.time(), true);
                    });
                }
            }
            (Deed::Updated, Some(entity)) => {
                self.remember(entity, arrival, &mut known);
                self.replace(entity, arrival, came);
            }
            (Deed::Deleted, Some(entity)) => {
                self.remember_deleted(entity, arrival, &mut known);
                // Of a flag that was met on its way, there may be more.
                let is_flag = *entity == self.owner && self.owner.kind == EntityKind::Flag;
                let is_whole = self.is_whole() || !is_flag && self.members.get(entity).is_some();
                let closed = self.close(entity, arrival, came);
                known.closed = closed.filter(|_| !arrival.shares_writers && is_whole);
            }
        }
        known.live = self.is_live(arrival, was_on);
        known
    }

    /// That something newer was seen already: of the entity itself or, by more than a moment, of the family;
    /// or that the family is another of that key by now.
    fn lateness(&self, arrival: &Arrival<'_>) -> Option<Late> {
        let time = arrival.time()?;
        let order = Entity { kind: arrival.news.kind, id: String::new() };
        let entity = arrival.entity.unwrap_or(&order);
        let events = || self.members.iter().filter(|(_, member)| member.by == SeenBy::Event);
        let own = self.members.get(entity).filter(|own| own.by == SeenBy::Event && own.at > time);
        let newest = events().map(|(_, member)| member.at).max().filter(|at| at.since(time) > MOMENT);
        let born = self.members.get(&self.owner).and_then(|owner| owner.born).max(self.floor);
        let newest = own.map(|own| own.at).max(newest).max(born.filter(|born| *born > time))?;
        let is_deleted = own.is_some_and(|own| own.form == Form::Deleted);
        let shown = own.filter(|_| !arrival.shares_writers).and(arrival.entity);
        let current = shown.and_then(|entity| self.whole(entity)).and_then(raw);
        Some(Late { newest, current, is_deleted: is_deleted && !arrival.shares_writers })
    }

    /// What a late event tells of cannot be put in its place: what it may have changed is not known any more,
    /// but where something newer was seen of that itself.
    fn doubt(&mut self, arrival: &Arrival<'_>) {
        let (kind, at) = (arrival.news.kind, arrival.at());
        let is_older = |member: &Member| member.at <= at && member.form != Form::Deleted;
        if let Some(entity) = arrival.entity {
            let children = self.children(entity).into_iter().filter(|(_, child)| is_older(child));
            let mut doubtful: Vec<Entity> = children.map(|(child, _)| child.clone()).collect();
            doubtful.extend(self.members.get(entity).filter(|own| is_older(own)).map(|_| entity.clone()));
            for entity in doubtful {
                self.forget(&entity);
            }
        }
        match (kind, arrival.news.deed) {
            (EntityKind::Rule | EntityKind::Rollout, Deed::Deleted | Deed::Reordered) => {
                self.move_up(kind, None);
            }
            (EntityKind::Variant, Deed::Updated | Deed::Deleted) => {
                self.patch(&self.owner.clone(), "default_variant", Some(fields::UNKNOWN));
            }
            _ => {}
        }
        self.set_whole(false);
    }

    /// Rollouts of Flipt before 1.58.4 have no id when they are created or updated: which there are is not
    /// known any more.
    fn doubt_rollouts(&mut self) {
        let rollouts: Vec<Entity> = self.of_kind(EntityKind::Rollout).map(|(it, _)| it.clone()).collect();
        for rollout in rollouts {
            self.forget(&rollout);
        }
        self.set_whole(false);
    }

    /// The state of a member with its children.
    fn whole(&self, entity: &Entity) -> Option<String> {
        let state = self.members.get(entity)?.state()?;
        let Some((_, name)) = child_list(entity.kind) else { return Some(state.to_owned()) };
        let children: Option<Vec<&str>> =
            self.children(entity).into_iter().map(|(_, member)| member.state()).collect();
        let children = children?;
        let bytes = state.len() + children.iter().map(|child| child.len() + 1).sum::<usize>();
        (bytes <= MAX_STATE_BYTES).then(|| with_list(state, name, &children))
    }

    /// What the entity was before an update.
    fn remember(&self, entity: &Entity, arrival: &Arrival<'_>, known: &mut Known) {
        match self.former(entity, arrival) {
            Ok((before, seen)) => (known.before, known.seen) = (before, Some(seen)),
            Err(without) => known.without = Some(without),
        }
    }

    fn former(
        &self,
        entity: &Entity,
        arrival: &Arrival<'_>,
    ) -> Result<(Option<Box<RawValue>>, Seen), Without> {
        if arrival.shares_writers {
            return Err(Without::SharedWriters);
        }
        let member = self.members.get(entity).ok_or(Without::FirstSeen)?;
        if member.form == Form::Deleted {
            return Err(Without::Deleted);
        }
        let is_newer = |member: &Member| member.is_import_after(arrival.at());
        if is_newer(member) || self.children(entity).iter().any(|(_, child)| is_newer(child)) {
            return Err(Without::OlderThanImport);
        }
        let before = self.whole(entity).ok_or(Without::TooLarge)?;
        Ok((raw(before), member.seen()))
    }

    /// What was deleted: Flipt 1.59 and later tell it of rules and rollouts, and always did of tokens.
    fn remember_deleted(&self, entity: &Entity, arrival: &Arrival<'_>, known: &mut Known) {
        let told = arrival.news.state.as_deref().filter(|state| match entity.kind {
            EntityKind::Rule | EntityKind::Rollout => fields::field(state, "rank").is_some(),
            EntityKind::Token => true,
            _ => false,
        });
        let Some(told) = told else { return self.remember(entity, arrival, known) };
        let list: Vec<&str> = arrival.news.nested.iter().flatten().map(|(_, state)| &**state).collect();
        let whole = match child_list(entity.kind) {
            Some((_, name)) => with_list(told, name, &list),
            None => told.to_owned(),
        };
        known.before = raw(whole);
        known.seen = Some(Seen { at: arrival.at(), sequence: None, by: SeenBy::Flipt });
    }

    /// Keeps what a creation or an update tells.
    fn replace(&mut self, entity: &Entity, arrival: &Arrival<'_>, came: Came) {
        let news = arrival.news;
        if entity.kind == EntityKind::Variant && news.deed == Deed::Updated {
            self.rename_default(entity, news.state.as_deref());
        }
        self.keep(entity.clone(), news.state.clone(), came);
        let Some((kind, _)) = child_list(entity.kind) else { return };
        // What is too large came without its list.
        if news.state.is_none() || news.nested.is_some() {
            self.replace_children(entity, kind, news.nested.as_deref().unwrap_or_default(), came);
        }
    }

    fn replace_children(
        &mut self,
        entity: &Entity,
        kind: EntityKind,
        told: &[(Box<str>, Box<str>)],
        came: Came,
    ) {
        let gone: Vec<Entity> = self
            .children(entity)
            .into_iter()
            .filter(|(child, member)| member.at <= came.at && !told.iter().any(|(id, _)| **id == *child.id))
            .map(|(child, _)| child.clone())
            .collect();
        for child in gone {
            self.forget(&child);
        }
        for (position, (id, state)) in told.iter().enumerate() {
            let child = Entity { kind, id: id.to_string() };
            // A child's own event may be newer than what its parent lists.
            let is_newer = |member: &Member| member.by == SeenBy::Event && member.at > came.at;
            let is_same = |member: &Member| {
                is_newer(member) || member.form != Form::Deleted && member.state() == Some(&**state)
            };
            let position = u32::try_from(position).unwrap_or(u32::MAX);
            match self.members.get(&child).filter(|member| is_same(member)) {
                Some(member) if member.position == position => continue,
                Some(_) => {}
                None => self.keep(child.clone(), Some(state.clone()), came),
            }
            self.members.update(&child, |member| member.position = position);
            self.touched.insert(child);
        }
    }

    /// A flag names its default variant by key, and Flipt changes that along with the variant's, and takes it
    /// out with the variant.
    fn rename_default(&mut self, variant: &Entity, state: Option<&str>) {
        let key = |state: &str| fields::field(state, "key").map(|key| key.get().to_owned());
        let owner = self.owner.clone();
        let flag = self.state_of(owner.kind, &owner.id);
        let default = flag.and_then(|flag| fields::field(flag, "default_variant"));
        let Some(default) = default.map(|default| default.get().to_owned()) else { return };
        let new = state.and_then(key);
        let old = self.members.get(variant).and_then(Member::state).and_then(key);
        let is_default = |old: &str| old == default;
        let is_anothers = || {
            let mut others = self.of_kind(EntityKind::Variant).filter(|(other, _)| *other != variant);
            others.any(|(_, other)| other.state().and_then(key).is_some_and(|key| is_default(&key)))
        };
        match old.as_deref() {
            _ if new.as_deref().is_some_and(is_default) => {}
            Some(old) if is_default(old) => self.patch(&owner, "default_variant", new.as_deref()),
            Some(_) => {}
            None if is_anothers() => {}
            // It may have been this one.
            None => self.patch(&owner, "default_variant", Some(fields::UNKNOWN)),
        }
    }

    fn reorder(&mut self, arrival: &Arrival<'_>, came: Came, known: &mut Known) {
        let kind = arrival.news.kind;
        let (mut oldest, mut room) = (None, MAX_ORDER_BYTES);
        let mut is_imported = false;
        for (index, id) in arrival.news.order.iter().enumerate() {
            let entity = Entity { kind, id: id.to_string() };
            let member = self.members.get(&entity);
            is_imported |= member.is_some_and(|member| member.is_import_after(arrival.at()));
            // Where others write too, or where it was imported later, it need not have been so.
            let trusted = member.filter(|member| {
                !arrival.shares_writers && !member.is_import_after(arrival.at()) && member.state().is_some()
            });
            let state = trusted.and_then(Member::state);
            let told = state.filter(|state| state.len() <= room);
            room -= told.map_or(0, str::len);
            known.order.push(Place {
                id: entity.id.clone(),
                was: state.and_then(|state| fields::number(state, "rank")),
                state: told.and_then(|state| raw(state.to_owned())).map(|state| Box::new(RawText(state))),
            });
            let seen = trusted.map(Member::seen);
            oldest = oldest.into_iter().chain(seen).min_by_key(|seen: &Seen| seen.at);
            self.patch(&entity, "rank", Some(&(index + 1).to_string()));
        }
        let is_unknown = known.order.iter().any(|place| place.was.is_none());
        match () {
            () if arrival.shares_writers => known.without = Some(Without::SharedWriters),
            () if is_imported => known.without = Some(Without::OlderThanImport),
            () if is_unknown => known.without = Some(Without::FirstSeen),
            () => known.seen = oldest,
        }
        self.keep(Entity { kind, id: String::new() }, Some("{}".into()), came);
    }

    /// Closes what was deleted and all that belonged to it, as Flipt's storage does; tells what that was.
    fn close(&mut self, entity: &Entity, arrival: &Arrival<'_>, came: Came) -> Option<Several<Closed>> {
        let told = arrival.news.state.as_deref();
        let kept = self.members.get(entity).and_then(Member::state);
        let rank = told.into_iter().chain(kept).find_map(|state| fields::number(state, "rank"));
        if entity.kind == EntityKind::Variant {
            self.rename_default(entity, None);
        }
        let dependents = self.dependents(entity);
        let closed = self.told_closed(&dependents, arrival);
        for dependent in &dependents {
            self.forget(dependent);
        }
        self.link(entity, None);
        let position = self.members.get(entity).map_or(0, |member| member.position);
        let member = Member::gone(came.at, came.sequence, position);
        self.members.insert(entity.clone(), member);
        self.touched.insert(entity.clone());
        if matches!(entity.kind, EntityKind::Rule | EntityKind::Rollout) {
            self.move_up(entity.kind, rank);
        }
        closed
    }

    /// Something new of this key: what is still known of another that had it went with that.
    fn clear(&mut self) {
        for entity in self.dependents(&self.owner.clone()) {
            self.forget(&entity);
        }
    }

    /// All that goes with an entity: everything with the owner, distributions with their rule or variant.
    fn dependents(&self, entity: &Entity) -> Vec<Entity> {
        let goes = |(other, member): &(&Entity, &Member)| match entity.kind {
            _ if *entity == self.owner => *other != entity,
            EntityKind::Rule => {
                other.kind == EntityKind::Distribution && member.parent.as_deref() == Some(&*entity.id)
            }
            EntityKind::Variant => {
                let of = member.state().and_then(|state| fields::text(state, "variant_id"));
                other.kind == EntityKind::Distribution && of.as_deref() == Some(&*entity.id)
            }
            _ => false,
        };
        self.members.iter().filter(goes).map(|(other, _)| other.clone()).collect()
    }

    fn told_closed(&self, dependents: &[Entity], arrival: &Arrival<'_>) -> Option<Several<Closed>> {
        let is_there = |entity: &&Entity| {
            let was_there =
                |member: &Member| member.form != Form::Deleted && !member.is_import_after(arrival.at());
            !entity.id.is_empty() && self.members.get(entity).is_some_and(was_there)
        };
        let there: Vec<&Entity> = dependents.iter().filter(is_there).collect();
        let first = there.iter().take(MAX_CLOSED).map(|entity| {
            let state = self.members.get(entity).and_then(Member::state);
            let name = state.and_then(|state| self.called(entity.kind, state));
            Closed { kind: entity.kind.as_str().to_owned(), name }
        });
        (!there.is_empty()).then(|| Several {
            count: u32::try_from(there.len()).unwrap_or(u32::MAX),
            first: first.collect(),
        })
    }

    /// What people call a member.
    fn called(&self, kind: EntityKind, state: &str) -> Option<String> {
        let name = match kind {
            EntityKind::Variant => fields::text(state, "key"),
            EntityKind::Constraint => fields::text(state, "property"),
            EntityKind::Rule => fields::text(state, "segment_key"),
            EntityKind::Distribution => fields::text(state, "variant_id")
                .and_then(|id| self.state_of(EntityKind::Variant, &id))
                .and_then(|variant| fields::text(variant, "key")),
            _ => None,
        };
        name.map(Into::into)
    }

    /// Ranks close up behind a rule or rollout that is gone. Where its own is not known, neither are those of
    /// the others any more.
    fn move_up(&mut self, kind: EntityKind, behind: Option<u32>) {
        let moved: Vec<(Entity, String)> = self
            .of_kind(kind)
            .filter_map(|(entity, member)| {
                let rank = member.state().and_then(|state| fields::number(state, "rank"))?;
                match behind {
                    Some(behind) if rank <= behind => None,
                    Some(_) => Some((entity.clone(), (rank - 1).to_string())),
                    None => Some((entity.clone(), fields::UNKNOWN.to_owned())),
                }
            })
            .collect();
        for (entity, rank) in moved {
            self.patch(&entity, "rank", Some(&rank));
        }
    }
}

/// An object with a list as its first field, where Flipt writes it too.
fn with_list(state: &str, name: &str, items: &[&str]) -> String {
    let rest = state.strip_prefix('{').unwrap_or("}");
    let comma = if rest == "}" { "" } else { "," };
    format!("{{\"{name}\":[{}]{comma}{rest}", items.join(","))
}

fn raw(json: String) -> Option<Box<RawValue>> {
    RawValue::from_string(json).ok()
}
