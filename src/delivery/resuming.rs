//! What a lane had begun when the relay stopped: records settled beyond its cursor, and groups on their way.

use std::collections::{BTreeMap, BTreeSet};

use crate::destination::Delivery;
use crate::event::Sequence;
use crate::journal::OpenBatch;

#[derive(Debug)]
struct Group {
    batch: OpenBatch,
    deliveries: Vec<Delivery>,
}

/// See the module. Emptied while the records are read again.
#[derive(Debug)]
pub(super) struct Resuming {
    settled: BTreeSet<Sequence>,
    /// Groups by the sequence of their last member.
    groups: BTreeMap<Sequence, Group>,
    /// The group of each member that was not read yet, by its last member.
    members: BTreeMap<Sequence, Sequence>,
}

impl Resuming {
    pub(super) fn new(settled: Vec<Sequence>, batches: Vec<OpenBatch>) -> Self {
        let mut resuming = Self {
            settled: settled.into_iter().collect(),
            groups: BTreeMap::new(),
            members: BTreeMap::new(),
        };
        for batch in batches {
            let Some(last) = batch.members.iter().copied().max() else { continue };
            resuming.members.extend(batch.members.iter().map(|member| (*member, last)));
            resuming.groups.insert(last, Group { batch, deliveries: Vec::new() });
        }
        resuming
    }

    /// Whether a record was settled already.
    pub(super) fn is_settled(&self, sequence: Sequence) -> bool {
        self.settled.contains(&sequence)
    }

    /// What was settled, and is not read again yet.
    pub(super) fn settled(&self) -> Vec<Sequence> {
        self.settled.iter().copied().collect()
    }

    /// How many these are.
    pub(super) fn settled_count(&self) -> u64 {
        self.settled.len() as u64
    }

    /// Whether a record is part of a group that was on its way.
    pub(super) fn is_member(&self, sequence: Sequence) -> bool {
        self.members.contains_key(&sequence)
    }

    /// A record needs nothing from here; whether it was settled, and counted, already.
    pub(super) fn pass(&mut self, sequence: Sequence) -> bool {
        self.members.remove(&sequence);
        self.settled.remove(&sequence)
    }

    /// All records up to here are read, or gone. Returns how many of them were settled already.
    pub(super) fn pass_to(&mut self, sequence: Sequence) -> u64 {
        self.members = self.members.split_off(&(sequence + 1));
        let later = self.settled.split_off(&(sequence + 1));
        std::mem::replace(&mut self.settled, later).len() as u64
    }

    /// A member was read.
    pub(super) fn collect(&mut self, delivery: Delivery) {
        let Some(last) = self.members.remove(&delivery.record.sequence) else { return };
        if let Some(group) = self.groups.get_mut(&last) {
            group.deliveries.push(delivery);
        }
    }

    /// Whether some group is not whole yet.
    pub(super) fn is_open(&self) -> bool {
        !self.groups.is_empty()
    }

    /// Groups whose members all lie at or before `read_to`, with what was found of them, and whether that is
    /// all of them.
    pub(super) fn complete(&mut self, read_to: Sequence) -> Vec<(OpenBatch, Vec<Delivery>, bool)> {
        if self.groups.first_key_value().is_none_or(|(last, _)| *last > read_to) {
            return Vec::new();
        }
        let later = self.groups.split_off(&(read_to + 1));
        let complete = std::mem::replace(&mut self.groups, later);
        complete
            .into_values()
            .map(|Group { batch, deliveries }| {
                let is_whole = deliveries.len() == batch.members.len();
                (batch, deliveries, is_whole)
            })
            .collect()
    }
}
