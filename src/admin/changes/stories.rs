//! Change sets on their way through the pages: gathered until nothing can join them any more, and told in the
//! order in which they began.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::destination::Delivery;
use crate::event::{Sequence, Timestamp};
use crate::journal::Outline;

/// How long after its first event, by the time of events, something may still join a change set: it is no longer than
/// five minutes, and Flipt writes what happened up to two minutes late.
const SPAN: Duration = Duration::from_secs(7 * 60);

/// How many records wait for the rest of their change sets, at most, …
const MAX_RECORDS: usize = 5_000;

/// … and how many bytes of them.
const MAX_BYTES: usize = 8 << 20;

#[derive(Default)]
pub(super) struct Stories {
    groups: VecDeque<Group>,
    /// The place of each open change set, counted from the first group that there ever was.
    places: HashMap<Box<str>, usize>,
    /// How many groups are gone.
    gone: usize,
    records: usize,
    bytes: usize,
}

struct Group {
    members: Vec<Delivery>,
    /// Its id; none of an event that is alone.
    change_set: Option<Box<str>>,
    source: Arc<str>,
    begun: Timestamp,
    last_accepted: Timestamp,
    is_over: bool,
}

impl Stories {
    /// Adds an event to its change set.
    pub(super) fn push(&mut self, delivery: Delivery) {
        let record = &delivery.record;
        self.records += 1;
        self.bytes += record.size_bytes();
        let open = record.change_set.as_ref().and_then(|id| self.places.get(id));
        if let Some(group) = open.and_then(|place| self.groups.get_mut(place - self.gone)) {
            group.last_accepted = record.accepted_at;
            group.members.push(delivery);
            return;
        }
        let group = Group {
            change_set: record.change_set.clone(),
            source: Arc::clone(&record.source),
            begun: record.event_time.unwrap_or(record.accepted_at),
            last_accepted: record.accepted_at,
            is_over: record.change_set.is_none(),
            members: vec![delivery],
        };
        if let Some(id) = &group.change_set {
            self.places.insert(id.clone(), self.gone + self.groups.len());
        }
        self.groups.push_back(group);
    }

    /// Passes a record, whether it is meant or not: time has gone on, where it belongs to another change set.
    pub(super) fn pass(&mut self, outline: &Outline) {
        let Some(first) = self.groups.front_mut() else { return };
        let time = outline.event_time.unwrap_or(outline.accepted_at);
        // What is imported was accepted all at once; what a clock of Flipt's says may be anything.
        first.is_over |= outline.source == first.source && time.since(first.begun) > SPAN
            || outline.accepted_at.since(first.last_accepted) > SPAN;
    }

    /// The first change set, where nothing can join it any more, or too much waits for it.
    pub(super) fn pop(&mut self) -> Option<Vec<Delivery>> {
        let is_too_much = self.records > MAX_RECORDS || self.bytes > MAX_BYTES;
        let is_over = self.groups.front().is_some_and(|first| first.is_over);
        if is_over || is_too_much { self.pop_any() } else { None }
    }

    /// The first change set.
    pub(super) fn pop_any(&mut self) -> Option<Vec<Delivery>> {
        let group = self.groups.pop_front()?;
        self.gone += 1;
        self.records -= group.members.len();
        self.bytes -= group.members.iter().map(|member| member.record.size_bytes()).sum::<usize>();
        if let Some(id) = &group.change_set {
            self.places.remove(id);
        }
        Some(group.members)
    }

    /// What waits, in order.
    pub(super) fn sequences(&self) -> Vec<Sequence> {
        let members = self.groups.iter().flat_map(|group| &group.members);
        let mut sequences: Vec<Sequence> = members.map(|delivery| delivery.record.sequence).collect();
        sequences.sort_unstable();
        sequences
    }
}
