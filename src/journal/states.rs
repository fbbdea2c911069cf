//! The last known state of each entity: replaced in the transaction that accepts an event. What it means is
//! [`crate::flipt::family`]'s; here it is loaded, kept in mind, and written.

mod import;
mod known;
mod prune;
mod store;

use std::collections::{BTreeSet, HashMap};

use rusqlite::Connection;

use super::change_sets::{self, ChangeSets};
use super::schema::{key, read_meta, write_meta};
use crate::event::{
    Closed, Deed, Entity, EntityKind, Known, NewRecord, News, OrderKey, Sequence, Several, Timestamp, Without,
};
use crate::flipt::family::{Arrival, Family, Users};

pub(super) use known::{kept, read, unverified};
pub(super) use prune::{prune, prune_old};

/// How much of the states is kept in mind, in bytes; at the limit all are forgotten, and read again as needed.
const MAX_CACHE_BYTES: usize = 4 << 20;

/// So many flags are looked at to tell who uses a segment.
const MAX_USERS: usize = 200;

/// So many of what went with a namespace are named.
const MAX_CLOSED: usize = 20;

const FORGET_ALL: &str = "DELETE FROM entities; DELETE FROM segment_uses; DELETE FROM imports;";

/// Forgets all states if events were accepted since by a release, or a configuration, that keeps none: what they say
/// is not so any more.
pub(super) fn forget_stale(conn: &Connection) -> rusqlite::Result<()> {
    let through = read_meta::<i64>(conn, key::STATES_THROUGH)?.unwrap_or(0);
    let is_stale: bool = conn.query_row(
        "SELECT EXISTS (SELECT 1 FROM records WHERE sequence > ?1 AND kind = 0 AND order_key IS NOT NULL
           AND previous IS NULL)
         AND EXISTS (SELECT 1 FROM entities)",
        [through],
        |row| row.get(0),
    )?;
    if is_stale {
        tracing::warn!(
            "events were accepted while no states were kept: what entities were before is learned anew"
        );
        conn.execute_batch(&format!("BEGIN; {FORGET_ALL} COMMIT;"))?;
    }
    Ok(())
}

/// What an event was found to be, in the state of things.
#[derive(Debug)]
pub(super) struct Placed {
    /// `None` where no states are kept.
    pub(super) known: Option<Known>,
    pub(super) change_set: Option<Box<str>>,
}

/// The states that are kept in mind.
#[derive(Debug, Default)]
pub(super) struct States {
    /// Whether none is kept (`journal.changes: false`).
    is_off: bool,
    families: HashMap<Box<str>, Family>,
    bytes: usize,
    touched: BTreeSet<Box<str>>,
    is_unsealed: bool,
    sets: Option<ChangeSets>,
    /// Sources beside which others write, unseen.
    pub(super) shared_writers: BTreeSet<i64>,
    /// About how much was written since states were counted last, in bytes.
    pub(super) unpruned_bytes: u64,
}

/// Where an event comes to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Coming<'a> {
    pub(super) record: &'a NewRecord,
    pub(super) news: &'a News,
    pub(super) order_key: &'a str,
    pub(super) id: &'a str,
    pub(super) source: i64,
    pub(super) sequence: Sequence,
    pub(super) accepted_at: Timestamp,
}

impl States {
    /// Keeps states from now on, or none. Those of before are forgotten when that changes, and where none are kept:
    /// they would not be true any more.
    pub(in crate::journal) fn keep(&mut self, conn: &Connection, keeps: bool) -> rusqlite::Result<()> {
        if keeps != self.is_off {
            return Ok(());
        }
        conn.execute_batch(FORGET_ALL)?;
        self.forget();
        self.is_off = !keeps;
        Ok(())
    }

    /// Whether states are kept.
    fn keeps(&self) -> bool {
        !self.is_off
    }

    /// Forgets what may have been rolled back.
    pub(super) fn forget(&mut self) {
        self.forget_families();
        self.sets = None;
    }

    /// Forgets what is kept in mind; what has changed must be written, or meant to be lost.
    fn forget_families(&mut self) {
        self.families.clear();
        self.bytes = 0;
        self.touched.clear();
    }

    /// Notes that an event was accepted that leaves no mark on any state.
    pub(super) fn pass(&mut self) {
        self.is_unsealed = true;
    }

    /// Takes an event in. [`States::flush`] must follow in the same savepoint.
    pub(super) fn place(&mut self, conn: &Connection, coming: &Coming<'_>) -> rusqlite::Result<Placed> {
        if self.is_off {
            return Ok(Placed { known: None, change_set: Some(self.change_set(conn, coming)?) });
        }
        let order_key = OrderKey::from_stored(coming.order_key.to_owned());
        let Some((kind, _)) = order_key.owner() else {
            let known = Some(Known::nothing(Without::NotKept));
            return Ok(Placed { known, change_set: None });
        };
        let users = match kind {
            EntityKind::Segment => Some(self.users(conn, &order_key)?),
            _ => None,
        };
        let shares_writers = self.shared_writers.contains(&coming.source);
        let family = self.family(conn, &order_key)?;
        let (before, was_whole) = (family.size_bytes(), family.is_whole());
        let mut known = family.arrive(&Arrival {
            entity: coming.record.keys.entity.as_ref(),
            news: coming.news,
            event_time: coming.record.event_time,
            accepted_at: coming.accepted_at,
            sequence: coming.sequence,
            shares_writers,
            users: users.as_ref(),
        });
        let after = family.size_bytes();
        self.bytes = (self.bytes + after).saturating_sub(before);
        self.touched.insert(coming.order_key.into());
        self.is_unsealed = true;
        let time = coming.record.event_time.unwrap_or(coming.accepted_at);
        let is_gone = kind == EntityKind::Namespace && coming.news.deed == Deed::Deleted;
        if is_gone && known.late.is_none() {
            let closed = self.close_namespace(conn, &order_key, was_whole, time)?;
            known.closed = closed.filter(|_| !shares_writers);
        }
        let change_set = match &known.late {
            Some(_) => change_sets::own(coming.id).into(),
            None => self.change_set(conn, coming)?,
        };
        Ok(Placed { known: Some(known), change_set: Some(change_set) })
    }

    /// The change set that an event belongs to, or begins.
    fn change_set(&mut self, conn: &Connection, coming: &Coming<'_>) -> rusqlite::Result<Box<str>> {
        let sets = match &mut self.sets {
            Some(sets) => sets,
            None => self.sets.insert(ChangeSets::load(conn)?),
        };
        let time = coming.record.event_time.unwrap_or(coming.accepted_at);
        Ok(sets.of(coming.order_key, coming.news, time, &change_sets::own(coming.id)))
    }

    /// Once in a transaction: notes that states are those of `last`.
    pub(super) fn seal(&mut self, conn: &Connection, last: Sequence) -> rusqlite::Result<()> {
        if std::mem::take(&mut self.is_unsealed) {
            write_meta(conn, key::STATES_THROUGH, last.cast_signed())?;
        }
        Ok(())
    }

    /// Writes what has changed.
    pub(super) fn flush(&mut self, conn: &Connection) -> rusqlite::Result<()> {
        for order_key in std::mem::take(&mut self.touched) {
            let Some(family) = self.families.get_mut(&order_key) else { continue };
            self.unpruned_bytes += store::write(conn, &order_key, family)?;
        }
        if self.bytes > MAX_CACHE_BYTES {
            self.forget_families();
        }
        Ok(())
    }

    /// The family of an order key, read where it is not in mind.
    fn family(&mut self, conn: &Connection, order_key: &OrderKey) -> rusqlite::Result<&mut Family> {
        // A look-up and an insertion: the borrow checker would not let one `entry` return early.
        if !self.families.contains_key(order_key.as_str()) {
            // What is read may depend on what is not written yet: how the namespace is.
            let namespace = order_key.namespace().map(|key| order_key.sibling(EntityKind::Namespace, &key));
            let is_touched = namespace.is_some_and(|namespace| self.touched.contains(namespace.as_str()));
            if is_touched || self.bytes > 2 * MAX_CACHE_BYTES {
                self.flush(conn)?;
            }
            let family = store::load(conn, order_key)?;
            self.bytes += family.size_bytes();
            self.families.insert(order_key.as_str().into(), family);
        }
        self.families.get_mut(order_key.as_str()).ok_or(rusqlite::Error::QueryReturnedNoRows)
    }

    /// The flags whose rules and rollouts use a segment.
    fn users(&mut self, conn: &Connection, segment: &OrderKey) -> rusqlite::Result<Users> {
        self.flush(conn)?;
        let count = store::count_users(conn, segment)?;
        let is_complete = count as usize <= MAX_USERS && store::is_imported(conn, segment)?;
        let mut users = Users { flags: Vec::new(), count, is_complete };
        let mut is_any_on = false;
        for flag in store::users(conn, segment, MAX_USERS)? {
            // One that is on is enough.
            let is_on = if is_any_on { None } else { self.family(conn, &flag)?.is_on() };
            is_any_on |= is_on == Some(true);
            users.flags.extend(flag.owner().map(|(_, key)| (key, is_on)));
        }
        Ok(users)
    }

    /// All that belonged to a namespace is gone with it.
    fn close_namespace(
        &mut self,
        conn: &Connection,
        namespace: &OrderKey,
        is_whole: bool,
        time: Timestamp,
    ) -> rusqlite::Result<Option<Several<Closed>>> {
        self.flush(conn)?;
        let is_whole = is_whole || store::is_imported(conn, namespace)?;
        let is_certain = is_whole && !store::has_newer(conn, namespace, time)?;
        let (count, first) = store::members_of_namespace(conn, namespace, MAX_CLOSED)?;
        if count == 0 {
            return Ok(None);
        }
        store::forget_namespace(conn, namespace)?;
        self.forget_families();
        let closed = |(family, entity): (OrderKey, Entity)| Closed {
            kind: entity.kind.as_str().to_owned(),
            name: family.owner().filter(|(kind, _)| *kind == entity.kind).map(|(_, key)| key),
        };
        // Of a namespace that was met on its way, there may be more; of what is newer, nobody knows.
        Ok(is_certain.then(|| Several { count, first: first.into_iter().map(closed).collect() }))
    }
}
