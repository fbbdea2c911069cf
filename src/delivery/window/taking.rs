//! What is taken out of the window together: see [`Grouping`].

use std::collections::HashSet;
use std::time::Duration;

use super::{Window, size_of};
use crate::destination::{Delivery, Grouping, Limits};
use crate::event::{OrderKey, Sequence};

/// What to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::delivery) enum Pick {
    /// The oldest records, whatever they are.
    Oldest,
    /// What is urgent, with all that waits in the same order.
    Urgent,
    /// One change set.
    Set,
}

/// When something is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::delivery) struct Moment {
    /// By the steady clock.
    pub(in crate::delivery) now: Duration,
    /// Nothing waits for company any more.
    pub(in crate::delivery) hurry: bool,
    /// There is no room for more: what is told seldom is told now.
    pub(in crate::delivery) is_pressed: bool,
}

impl Window {
    /// What may be taken where groups wait for their company, if anything may.
    pub(in crate::delivery) fn ripe(
        &self,
        grouping: Grouping,
        max_events: usize,
        moment: Moment,
    ) -> Option<Pick> {
        let is_due = |sequence: Sequence| {
            moment.hurry || self.items.get(&sequence).is_some_and(|item| item.due_at <= moment.now)
        };
        let is_first_due = self.heads.first().is_some_and(|first| is_due(*first));
        // Where all that waits goes together, what is urgent goes with it.
        if is_first_due && (grouping == Grouping::ChangeSet || self.pending <= max_events) {
            return Some(if grouping == Grouping::ChangeSet { Pick::Set } else { Pick::Oldest });
        }
        if let Some(urgent) = self.urgent_heads().next() {
            let is_free = self.may_go(urgent, &[]);
            return Some(if is_free { Pick::Urgent } else { Pick::Oldest });
        }
        if is_first_due {
            return Some(Pick::Oldest);
        }
        let aside = self.aside.ripe(moment.now, moment.is_pressed);
        aside.into_iter().any(is_due).then_some(Pick::Oldest)
    }

    /// The first waiting record of each order that holds an urgent one.
    fn urgent_heads(&self) -> impl Iterator<Item = Sequence> {
        self.urgent.iter().filter_map(|sequence| {
            let key = self.items.get(sequence)?.delivery.as_ref()?.record.order_key.as_ref()?;
            let chain = self.chains.get(key).filter(|chain| !chain.is_busy)?;
            chain.pending.front().copied()
        })
    }

    /// When something is ripe without anything else happening: the next time after `now`.
    pub(in crate::delivery) fn ripe_at(&self, now: Duration) -> Option<Duration> {
        let due = |sequence: &Sequence| self.items.get(sequence).map(|item| item.due_at);
        let heads = self.heads.iter().filter_map(due).find(|at| *at > now);
        let aside = self.aside.waits().filter_map(|(until, first)| Some(until.max(due(&first)?)));
        heads.into_iter().chain(aside.filter(|at| *at > now)).min()
    }

    /// Takes records that may travel together: at most `limits`, none that would overtake another.
    pub(in crate::delivery) fn take(&mut self, limits: &Limits, pick: Pick, moment: Moment) -> Vec<Delivery> {
        let mut taking = Taking::new(limits);
        match pick {
            Pick::Oldest => {
                self.take_all(&mut taking, |_| true);
                for sequence in self.aside.ripe(moment.now, moment.is_pressed) {
                    if self.take_one(sequence, &mut taking).is_none() {
                        break;
                    }
                    self.aside.take(sequence);
                }
                taking.taken.sort_by_key(|delivery| delivery.record.sequence);
            }
            Pick::Urgent => {
                let key =
                    |first: Sequence| self.items.get(&first)?.delivery.as_ref()?.record.order_key.clone();
                let keys: HashSet<OrderKey> = self.urgent_heads().filter_map(key).collect();
                self.take_all(&mut taking, |delivery| {
                    delivery.record.order_key.as_ref().is_some_and(|key| keys.contains(key))
                });
            }
            Pick::Set => self.take_set(&mut taking, moment),
        }
        for follower in taking.followers {
            self.heads.remove(&follower);
        }
        taking.taken
    }

    fn take_all(&mut self, taking: &mut Taking<'_>, is_wanted: impl Fn(&Delivery) -> bool) {
        let mut from = 0;
        while let Some(sequence) = self.heads.range(from..).next().copied() {
            from = sequence + 1;
            let delivery = self.items.get(&sequence).and_then(|item| item.delivery.as_ref());
            if !delivery.is_some_and(&is_wanted) || !self.may_go(sequence, &taking.taken) {
                continue;
            }
            if self.take_one(sequence, taking).is_none() {
                return;
            }
        }
    }

    /// The oldest record that is due, with those that follow it in its order and belong to its change set.
    fn take_set(&mut self, taking: &mut Taking<'_>, moment: Moment) {
        let is_due = |sequence: &Sequence| {
            moment.hurry || self.items.get(sequence).is_some_and(|item| item.due_at <= moment.now)
        };
        let mut due = self.heads.iter().copied().take_while(is_due);
        let Some(first) = due.find(|sequence| self.may_go(*sequence, &[])) else { return };
        let mut next = Some(first);
        while let Some(sequence) = next {
            let delivery = self.items.get(&sequence).and_then(|item| item.delivery.as_ref());
            let set = delivery.and_then(|delivery| delivery.record.change_set.as_deref());
            let begun = taking.taken.first().map(|delivery| delivery.record.change_set.as_deref());
            let belongs = begun.is_none_or(|begun| begun.is_some() && begun == set);
            if !belongs || !self.may_go(sequence, &taking.taken) {
                return;
            }
            next = self.take_one(sequence, taking).flatten();
        }
    }

    /// Takes one waiting record, where there is room; with what follows it in its order, if anything does.
    fn take_one(&mut self, sequence: Sequence, taking: &mut Taking<'_>) -> Option<Option<Sequence>> {
        let item = self.items.get_mut(&sequence)?;
        let size = item.delivery.as_ref().map(size_of)?;
        if !taking.has_room(size) {
            return None;
        }
        let delivery = item.delivery.take()?;
        self.heads.remove(&sequence);
        self.urgent.remove(&sequence);
        self.pending -= 1;
        self.pending_bytes -= size;
        let chain = delivery.record.order_key.as_ref().and_then(|key| self.chains.get_mut(key));
        let follower = chain.and_then(|chain| {
            chain.pending.pop_front();
            chain.is_busy = true;
            chain.pending.front().copied()
        });
        // The next of a key that is taken may follow in the same parcel.
        if let Some(follower) = follower {
            self.heads.insert(follower);
            taking.followers.push(follower);
        }
        taking.add(delivery, size);
        Some(follower)
    }
}

/// What is taken so far.
struct Taking<'a> {
    limits: &'a Limits,
    taken: Vec<Delivery>,
    bytes: usize,
    followers: Vec<Sequence>,
}

impl<'a> Taking<'a> {
    fn new(limits: &'a Limits) -> Self {
        Self { limits, taken: Vec::new(), bytes: 0, followers: Vec::new() }
    }

    fn has_room(&self, size: usize) -> bool {
        self.taken.len() < self.limits.max_events.max(1)
            && (self.taken.is_empty() || self.bytes + size <= self.limits.max_bytes)
    }

    fn add(&mut self, delivery: Delivery, size: usize) {
        self.taken.push(delivery);
        self.bytes += size;
    }
}
