//! Reads one namespace: itself, its segments and constraints, its flags with all that belongs to them.

use std::ops::ControlFlow;

use super::api::{Api, Listed, Trouble};
use super::shape;
use crate::event::{Imported, Timestamp};

/// What one namespace may bring, at most.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) entities: usize,
    pub(super) bytes: usize,
}

/// What was read of a namespace.
#[derive(Debug)]
pub(super) struct Reading {
    /// What there is, parents first.
    pub(super) imported: Vec<Imported>,
    /// When it was read, by Flipt's clock: events that are dated later came after it.
    pub(super) at: Timestamp,
    /// Whether this is all that the namespace holds.
    pub(super) is_whole: bool,
    /// Whether more was there than is taken in.
    pub(super) is_cut: bool,
    /// Why the rest was not read, where that is so.
    pub(super) trouble: Option<Trouble>,
}

impl Reading {
    /// Reads the namespace called `key`.
    ///
    /// # Errors
    /// When nothing of it was told. What comes later only makes the reading less than whole.
    pub(super) async fn of(api: &Api, key: &str, limits: Limits) -> Result<Self, Trouble> {
        let (namespace, at): (shape::Namespace, _) = api.one(&["namespaces", key]).await?;
        // What answers without the key that was asked for is no Flipt.
        let namespace = shape::namespace(&namespace).filter(|namespace| namespace.id == key);
        let namespace = namespace.ok_or_else(|| Trouble::Foreign("it tells of no namespace".to_owned()))?;
        let mut reading = Self { imported: Vec::new(), at, is_whole: true, is_cut: false, trouble: None };
        let mut room = Room { left: limits, is_full: false };
        let _ = room.take(vec![namespace], &mut reading.imported);
        if let Err(trouble) = reading.read(api, key, &mut room).await {
            reading.is_whole = false;
            reading.trouble = Some(trouble);
        }
        reading.is_cut = room.is_full;
        Ok(reading)
    }

    async fn read(&mut self, api: &Api, key: &str, room: &mut Room) -> Result<(), Trouble> {
        let take = |segment| room.take(shape::segment(key, &segment), &mut self.imported);
        let listed = api.list(&["namespaces", key, "segments"], take).await?;
        self.note(listed);
        let mut flags = Vec::new();
        let take = |flag: shape::Flag| {
            let mut imported = Vec::new();
            let flow = room.take(shape::flag(key, &flag), &mut imported);
            if !imported.is_empty() {
                flags.push((flag.key, imported));
            }
            flow
        };
        let listed = api.list(&["namespaces", key, "flags"], take).await;
        // Flags that were told are known even where more is not.
        let mut unread = listed.map(|listed| self.note(listed)).err();
        for (flag, imported) in flags {
            match (&unread, room.is_full) {
                (None, false) => unread = self.read_flag(api, (key, &flag), imported, room).await.err(),
                _ => self.imported.extend(imported),
            }
        }
        unread.map_or(Ok(()), Err)
    }

    /// Adds a flag, with its rules and rollouts; nothing of it, where it is gone meanwhile.
    async fn read_flag(
        &mut self,
        api: &Api,
        (namespace, flag): (&str, &str),
        imported: Vec<Imported>,
        room: &mut Room,
    ) -> Result<(), Trouble> {
        let path = |what| ["namespaces", namespace, "flags", flag, what];
        let (rules_path, rollouts_path) = (path("rules"), path("rollouts"));
        let (mut rules, mut rollouts) = (Vec::new(), Vec::new());
        let (mut rules_room, mut rollouts_room) = (*room, *room);
        let take_rule = |rule| rules_room.take(shape::rule(namespace, flag, &rule), &mut rules);
        let take_rollout = |rollout| {
            let imported = shape::rollout(namespace, flag, &rollout).into_iter().collect();
            rollouts_room.take(imported, &mut rollouts)
        };
        let (all_rules, all_rollouts) =
            tokio::join!(api.list(&rules_path, take_rule), api.list(&rollouts_path, take_rollout));
        if all_rules == Err(Trouble::Missing) {
            self.is_whole = false;
            return Ok(());
        }
        self.imported.extend(imported);
        let _ = room.take(rules, &mut self.imported);
        let _ = room.take(rollouts, &mut self.imported);
        room.is_full |= rules_room.is_full | rollouts_room.is_full;
        for listed in [all_rules, all_rollouts] {
            match listed {
                Ok(listed) => self.note(listed),
                // A Flipt before 1.24 has no rollouts.
                Err(Trouble::Missing) => {}
                Err(trouble) => return Err(trouble),
            }
        }
        Ok(())
    }

    fn note(&mut self, listed: Listed) {
        self.at = self.at.max(listed.at);
        self.is_whole &= listed.is_whole;
    }
}

/// How much more of a namespace is taken in.
#[derive(Debug, Clone, Copy)]
struct Room {
    left: Limits,
    is_full: bool,
}

impl Room {
    /// Adds all or none, and says whether there may be more.
    fn take(&mut self, imported: Vec<Imported>, into: &mut Vec<Imported>) -> ControlFlow<()> {
        let size = |one: &Imported| one.id.len() + one.owner.1.len() + one.state.len();
        let bytes = imported.iter().map(size).sum();
        let entities = self.left.entities.checked_sub(imported.len());
        match (entities, self.left.bytes.checked_sub(bytes)) {
            (Some(entities), Some(bytes)) if !self.is_full => {
                self.left = Limits { entities, bytes };
                into.extend(imported);
                ControlFlow::Continue(())
            }
            _ => {
                self.is_full = true;
                ControlFlow::Break(())
            }
        }
    }
}
