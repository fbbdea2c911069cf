//! A flag or segment with all that belongs to it (or a namespace, or a token): what an event meets there,
//! and what it leaves behind. Pure: the journal loads and keeps it, in the accepting transaction.
//!
//! Every member holds the payload of the last event that told it, but lists of children: distributions and
//! constraints are members of their own. Where Flipt changes more than it tells (the ranks behind a deleted
//! rule, the distributions of a deleted variant), the members follow what its storage does
//! (`internal/storage/sql/common` of Flipt), so that no later event seems to have done it. Where that
//! cannot be told, for lack of what was never seen, the field becomes `null`: not known.

mod arrive;
mod fields;
mod links;
mod members;
mod surroundings;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::Duration;

use crate::event::{Entity, EntityKind, Imported, News, Seen, SeenBy, Sequence, Timestamp};

pub use links::Link;
use members::Members;
pub use surroundings::Users;

/// What is known of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// Its state, as compact JSON without lists of children.
    Known(Box<str>),
    /// It is there, and too large to keep.
    TooLarge,
    /// It was deleted.
    Deleted,
}

/// One entity of a family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// What is known of it.
    pub form: Form,
    /// The rule that a distribution belongs to.
    pub parent: Option<Box<str>>,
    /// Its place among its siblings, as Flipt lists them.
    pub position: u32,
    /// The time of what told it.
    pub at: Timestamp,
    /// What told it: an event, or an import.
    pub by: SeenBy,
    /// The record of that event; 0 for an import.
    pub sequence: Sequence,
    /// Of an owner: when it was created, where an event told that. What is older was another's of that key.
    pub born: Option<Timestamp>,
    /// Of an owner: whether all that belongs to it is known, since its creation or an import.
    pub is_whole: bool,
}

impl Member {
    /// What an event told to be deleted.
    #[must_use]
    pub fn gone(at: Timestamp, sequence: Sequence, position: u32) -> Self {
        let (form, parent, by) = (Form::Deleted, None, SeenBy::Event);
        Self { form, parent, position, at, by, sequence, born: None, is_whole: false }
    }

    fn state(&self) -> Option<&str> {
        match &self.form {
            Form::Known(state) => Some(state),
            Form::TooLarge | Form::Deleted => None,
        }
    }

    /// Whether it was imported after `time`, and so does not tell how it was then.
    fn is_import_after(&self, time: Timestamp) -> bool {
        self.by == SeenBy::Import && time <= self.at
    }

    fn seen(&self) -> Seen {
        let sequence = (self.by == SeenBy::Event).then_some(self.sequence);
        Seen { at: self.at, sequence, by: self.by }
    }
}

/// An event that comes to its family.
#[derive(Debug, Clone, Copy)]
pub struct Arrival<'a> {
    /// What it is about; `None` for a new order.
    pub entity: Option<&'a Entity>,
    /// What it brings.
    pub news: &'a News,
    /// The event's own time.
    pub event_time: Option<Timestamp>,
    /// When it is accepted.
    pub accepted_at: Timestamp,
    /// Its place in the journal.
    pub sequence: Sequence,
    /// Whether others write too, unseen (`single_writer: false`).
    pub shares_writers: bool,
    /// Of a segment: the flags that use it.
    pub users: Option<&'a Users>,
}

/// A time that is further ahead of the relay's clock than this is not believed.
const MAX_AHEAD: Duration = Duration::from_secs(300);

impl Arrival<'_> {
    /// The event's own time, as far as it can be believed.
    fn time(&self) -> Option<Timestamp> {
        self.event_time.filter(|time| time.since(self.accepted_at) <= MAX_AHEAD)
    }

    fn at(&self) -> Timestamp {
        self.time().unwrap_or(self.accepted_at)
    }
}

/// All that shares an order key.
#[derive(Debug, Clone)]
pub struct Family {
    owner: Entity,
    members: Members,
    touched: BTreeSet<Entity>,
    links: Vec<Link>,
    /// What is older was of a namespace of that key which is gone.
    floor: Option<Timestamp>,
}

impl Family {
    /// The family of what an order key names: its kind and key.
    #[must_use]
    pub fn new(kind: EntityKind, key: String) -> Self {
        Self {
            owner: Entity { kind, id: key },
            members: Members::default(),
            touched: BTreeSet::new(),
            links: Vec::new(),
            floor: None,
        }
    }

    /// Says when its namespace was created: what is older was of another namespace of that key.
    pub fn set_floor(&mut self, floor: Timestamp) {
        self.floor = Some(floor);
    }

    /// Takes in a member as it was kept.
    pub fn load(&mut self, entity: Entity, member: Member) {
        self.members.insert(entity, member);
    }

    /// What has changed since [`Family::settle`]: members to keep (`None`: to forget).
    pub fn changes(&self) -> impl Iterator<Item = (&Entity, Option<&Member>)> {
        self.touched.iter().map(|entity| (entity, self.members.get(entity)))
    }

    /// How rules and rollouts use segments now, where that has changed.
    #[must_use]
    pub fn links(&self) -> &[Link] {
        &self.links
    }

    /// What has changed is kept.
    pub fn settle(&mut self) {
        self.touched.clear();
        self.links.clear();
    }

    /// Whether all that belongs to its owner is known, since its creation or an import.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.members.get(&self.owner).is_some_and(|owner| owner.is_whole)
    }

    /// About what it takes in memory, in bytes.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        200 + self.members.size_bytes()
    }

    /// Fills in what an import told at `at` of this family, all of it, children in the order in which Flipt
    /// lists them. Where something is known already, that stays. How many members are new.
    pub fn import(&mut self, imported: &[Imported], at: Timestamp) -> u64 {
        if self.members.get(&self.owner).is_some_and(|owner| owner.form == Form::Deleted) {
            return 0;
        }
        let came = Came { at, by: SeenBy::Import, sequence: 0 };
        let mut new = 0;
        for state in imported {
            let entity = Entity { kind: state.kind, id: state.id.clone() };
            if self.members.get(&entity).is_none() {
                self.keep(entity, Some(state.state.clone()), came);
                new += 1;
            }
        }
        for kind in [EntityKind::Distribution, EntityKind::Constraint] {
            self.put_in_order(kind, imported);
        }
        self.set_whole(true);
        new
    }

    /// Says whether all that belongs to the owner is known, where the owner is.
    fn set_whole(&mut self, is_whole: bool) {
        if self.members.get(&self.owner).is_some_and(|owner| owner.is_whole != is_whole) {
            self.members.update(&self.owner, |owner| owner.is_whole = is_whole);
            self.touched.insert(self.owner.clone());
        }
    }

    /// Children that events told one by one have no place yet among those that were imported.
    fn put_in_order(&mut self, kind: EntityKind, imported: &[Imported]) {
        let listed: Vec<Entity> = imported
            .iter()
            .filter(|state| state.kind == kind)
            .map(|state| Entity { kind, id: state.id.clone() })
            .filter(|entity| self.members.get(entity).is_some_and(|member| member.form != Form::Deleted))
            .collect();
        let positions = listed.iter().filter_map(|entity| self.members.get(entity)).map(|it| it.position);
        if positions.is_sorted_by(|one, next| one < next) {
            return;
        }
        let last = self.last_position(kind);
        for (position, entity) in (last + 1..).zip(listed) {
            self.members.update(&entity, |member| member.position = position);
            self.touched.insert(entity);
        }
    }

    fn state_of(&self, kind: EntityKind, id: &str) -> Option<&str> {
        self.members.find(kind, id).and_then(Member::state)
    }

    fn of_kind(&self, kind: EntityKind) -> impl Iterator<Item = (&Entity, &Member)> {
        self.members.iter().filter(move |(entity, _)| entity.kind == kind && !entity.id.is_empty())
    }

    /// The list of children that a rule or segment is told with, as Flipt lists it.
    fn children(&self, entity: &Entity) -> Vec<(&Entity, &Member)> {
        let mut children: Vec<_> = match entity.kind {
            EntityKind::Rule => self
                .of_kind(EntityKind::Distribution)
                .filter(|(_, member)| member.parent.as_deref() == Some(&*entity.id))
                .collect(),
            EntityKind::Segment => self.of_kind(EntityKind::Constraint).collect(),
            _ => Vec::new(),
        };
        children.retain(|(_, member)| member.form != Form::Deleted);
        children.sort_by_key(|(_, member)| member.position);
        children
    }

    fn last_position(&self, kind: EntityKind) -> u32 {
        self.of_kind(kind).map(|(_, member)| member.position).max().unwrap_or(0)
    }

    /// Keeps a state (`None`: too large for it).
    fn keep(&mut self, entity: Entity, state: Option<Box<str>>, came: Came) {
        let parent = match (entity.kind, &state) {
            (EntityKind::Distribution, Some(state)) => fields::text(state, "rule_id").map(Into::into),
            _ => None,
        };
        let position = match self.members.get(&entity) {
            Some(member) if member.form != Form::Deleted => member.position,
            _ => self.last_position(entity.kind) + 1,
        };
        self.link(&entity, state.as_deref());
        let form = state.map_or(Form::TooLarge, Form::Known);
        let former = self.members.get(&entity).filter(|member| member.form != Form::Deleted);
        let (born, is_whole) = former.map_or((None, false), |member| (member.born, member.is_whole));
        let Came { at, by, sequence } = came;
        let member = Member { form, parent, position, at, by, sequence, born, is_whole };
        self.members.insert(entity.clone(), member);
        self.touched.insert(entity);
    }

    /// Changes a state without news of it.
    fn patch(&mut self, entity: &Entity, name: &str, value: Option<&str>) {
        self.members.update(entity, |member| {
            if let Form::Known(state) = &member.form {
                member.form = Form::Known(fields::with(state, name, value));
            }
        });
        self.touched.insert(entity.clone());
    }

    fn forget(&mut self, entity: &Entity) {
        self.link(entity, None);
        self.members.remove(entity);
        self.touched.insert(entity.clone());
    }
}

/// What told a state.
#[derive(Debug, Clone, Copy)]
struct Came {
    at: Timestamp,
    by: SeenBy,
    sequence: Sequence,
}
