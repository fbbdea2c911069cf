//! The records of one lane between its cursor and what it has read: which of them may be sent next without
//! breaking the order of any key, and which are settled.
//!
//! Records with one order key stay in the order of acceptance. A record without one is a barrier: nothing of
//! its instance overtakes it, and it overtakes nothing of its instance.

mod aside;
mod taking;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::clock::Now;
use crate::destination::{Company, Delivery};
use crate::event::{OrderKey, Sequence, Timestamp};
use crate::journal::MAX_WINDOW;

use aside::Aside;
pub(super) use taking::{Moment, Pick};

/// Originals of records past the oldest unsettled one, at most, in bytes.
const MAX_WINDOW_BYTES: u64 = 8 << 20;

/// What the journal keeps of a record beside its original, about, in bytes.
pub(super) const ROW_BYTES: u64 = 400;

/// What a record takes in memory beside its original, about, in bytes.
const RECORD_BYTES: usize = 700;

/// Where a record stands in the order.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Place {
    /// Behind everything with this key.
    Key(OrderKey),
    /// Behind everything of its instance, and before all that follows.
    Barrier(Arc<str>),
}

impl Place {
    pub(super) fn of(delivery: &Delivery) -> Self {
        match &delivery.record.order_key {
            Some(key) => Self::Key(key.clone()),
            None => Self::Barrier(Arc::clone(&delivery.record.instance)),
        }
    }
}

/// A record that is not settled.
#[derive(Debug)]
struct Item {
    /// Taken out while it is part of a parcel.
    delivery: Option<Delivery>,
    instance: Arc<str>,
    running: Duration,
    accepted_at: Timestamp,
    /// When it has waited for company long enough, by the steady clock.
    due_at: Duration,
    size_bytes: usize,
}

#[derive(Debug, Default)]
struct Chain {
    pending: VecDeque<Sequence>,
    /// Whether a parcel holds the first of this key.
    is_busy: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Window {
    /// The last sequence that was looked at.
    read_to: Sequence,
    /// The highest sequence that is settled.
    settled_to: Sequence,
    /// Everything up to here is looked at, or gone: a hole may lie before the next record.
    gone_to: Sequence,
    items: BTreeMap<Sequence, Item>,
    chains: HashMap<OrderKey, Chain>,
    /// What may be first in a parcel: the first of each key that no parcel holds, and every waiting barrier.
    heads: BTreeSet<Sequence>,
    /// Unsettled barriers, by instance.
    barriers: HashMap<Arc<str>, BTreeSet<Sequence>>,
    /// Waiting records that are urgent.
    urgent: BTreeSet<Sequence>,
    /// Records that are told seldom.
    aside: Aside,
    pending: usize,
    pending_bytes: usize,
    unsettled_bytes: usize,
    /// The size of each record after the cursor, settled or not.
    sizes: VecDeque<u32>,
    /// Their sum.
    bytes: u64,
}

impl Window {
    /// Begins after `cursor`; `quiet` are the words under which nothing is told until then.
    pub(super) fn new(cursor: Sequence, quiet: Vec<(String, Timestamp)>, now: Now) -> Self {
        Self {
            urgent: BTreeSet::new(),
            aside: Aside::restore(quiet, now),
            read_to: cursor,
            settled_to: cursor,
            gone_to: cursor,
            items: BTreeMap::new(),
            chains: HashMap::new(),
            heads: BTreeSet::new(),
            barriers: HashMap::new(),
            pending: 0,
            pending_bytes: 0,
            unsettled_bytes: 0,
            sizes: VecDeque::new(),
            bytes: 0,
        }
    }

    /// Everything up to here is settled.
    pub(super) fn cursor(&self) -> Sequence {
        self.items.first_key_value().map_or(self.read_to, |(first, _)| first - 1)
    }

    /// The last sequence that was looked at.
    pub(super) fn read_to(&self) -> Sequence {
        self.read_to
    }

    /// What is settled beyond the cursor.
    pub(super) fn acked(&self) -> Vec<Sequence> {
        let cursor = self.cursor();
        if self.settled_to <= cursor {
            return Vec::new();
        }
        let mut items = self.items.range(cursor + 1..).map(|(sequence, _)| *sequence).peekable();
        let is_settled = |sequence: &Sequence| {
            let is_item = items.peek() == Some(sequence);
            if is_item {
                items.next();
            }
            !is_item
        };
        (cursor + 1..=self.settled_to).filter(is_settled).collect()
    }

    /// The last sequence that may be looked at while the oldest record is not settled.
    pub(super) fn horizon(&self) -> Sequence {
        if self.items.is_empty() { Sequence::MAX } else { self.cursor() + MAX_WINDOW }
    }

    /// The next record is this one, beyond the horizon: there is no room until what is before is settled.
    pub(super) fn stop_before(&mut self, sequence: Sequence) {
        self.gone_to = sequence - 1;
    }

    /// How many more sequences may be looked at now.
    pub(super) fn room(&self) -> usize {
        if self.bytes >= MAX_WINDOW_BYTES && !self.items.is_empty() { 0 } else { self.rows_left() }
    }

    /// How many more sequences the bitmap of the lane has room for.
    pub(super) fn rows_left(&self) -> usize {
        let looked = if self.items.is_empty() { 0 } else { self.read_to.max(self.gone_to) - self.cursor() };
        usize::try_from(MAX_WINDOW.saturating_sub(looked)).unwrap_or(0)
    }

    /// About what the journal keeps of all that was accepted since the oldest record that waits, as far as was
    /// read, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Records that wait and are part of no parcel.
    pub(super) fn pending(&self) -> usize {
        self.pending
    }

    /// The bytes of their originals.
    pub(super) fn pending_bytes(&self) -> usize {
        self.pending_bytes
    }

    /// Records that are not settled.
    pub(super) fn unsettled(&self) -> usize {
        self.items.len()
    }

    /// What they take in memory, about.
    pub(super) fn held_bytes(&self) -> u64 {
        (self.unsettled_bytes + self.items.len() * RECORD_BYTES) as u64
    }

    /// When the oldest of them was accepted.
    pub(super) fn oldest_accepted_at(&self) -> Option<Timestamp> {
        self.items.first_key_value().map(|(_, item)| item.accepted_at)
    }

    /// Whether something may begin a parcel, barriers aside.
    pub(super) fn has_heads(&self) -> bool {
        !self.heads.is_empty()
    }

    /// When the first waiting record of the window has waited long enough for company.
    pub(super) fn first_due_at(&self) -> Option<Duration> {
        let first = self.heads.first()?;
        self.items.get(first).map(|item| item.due_at)
    }

    /// How many records wait for nothing but that time passes, and until when the first of them.
    pub(super) fn held(&self, now: Duration) -> (usize, Option<(Duration, Timestamp)>) {
        self.aside.held(now)
    }

    /// A record was taken by the receiver; it is settled next.
    pub(super) fn told(&mut self, sequence: Sequence, now: Now) {
        self.aside.told(sequence, now);
    }

    /// Words under which nothing is told, and until when, where that has changed.
    pub(super) fn take_quiet(&mut self) -> Option<Vec<(String, Timestamp)>> {
        self.aside.take_changed()
    }

    /// Whether [`Window::take_quiet`] has news.
    pub(super) fn has_quiet_changed(&self) -> bool {
        self.aside.is_changed()
    }

    /// Looks at a record that is settled already, or not for this destination.
    pub(super) fn pass(&mut self, sequence: Sequence, size_bytes: u64) {
        self.look(sequence, size_bytes);
        self.settled_to = self.settled_to.max(sequence);
        self.trim();
    }

    /// Looks at up to `sequence`, where nothing more is.
    pub(super) fn pass_to(&mut self, sequence: Sequence) {
        if sequence > self.read_to {
            self.pass(sequence, 0);
        }
    }

    /// Looks at a record that waits, until `due_at` for company.
    pub(super) fn add(&mut self, delivery: Delivery, company: Company, due_at: Duration) {
        let sequence = delivery.record.sequence;
        let seldom = company.seldom.filter(|_| delivery.record.order_key.is_none());
        self.enter(&delivery, due_at, seldom.is_some());
        self.pending += 1;
        self.pending_bytes += size_of(&delivery);
        match (Place::of(&delivery), seldom) {
            (_, Some(seldom)) => self.aside.add(sequence, seldom),
            (Place::Key(key), None) => {
                if company.is_urgent {
                    self.urgent.insert(sequence);
                }
                let chain = self.chains.entry(key).or_default();
                if chain.pending.is_empty() && !chain.is_busy {
                    self.heads.insert(sequence);
                }
                chain.pending.push_back(sequence);
            }
            (Place::Barrier(_), None) => {
                self.heads.insert(sequence);
            }
        }
        if let Some(item) = self.items.get_mut(&sequence) {
            item.delivery = Some(delivery);
        }
    }

    /// Looks at a record that is part of a parcel already.
    pub(super) fn add_taken(&mut self, delivery: &Delivery, company: Company) {
        let seldom = company.seldom.filter(|_| delivery.record.order_key.is_none());
        self.enter(delivery, Duration::ZERO, seldom.is_some());
        match seldom {
            Some(seldom) => self.aside.add_taken(delivery.record.sequence, seldom),
            None => self.hold(&Place::of(delivery)),
        }
    }

    fn enter(&mut self, delivery: &Delivery, due_at: Duration, is_aside: bool) {
        let record = &delivery.record;
        self.look(record.sequence, record.size_bytes() as u64);
        if record.order_key.is_none() && !is_aside {
            self.barriers.entry(Arc::clone(&record.instance)).or_default().insert(record.sequence);
        }
        self.unsettled_bytes += record.size_bytes();
        self.items.insert(
            record.sequence,
            Item {
                delivery: None,
                instance: Arc::clone(&record.instance),
                running: record.running,
                accepted_at: record.accepted_at,
                size_bytes: record.size_bytes(),
                due_at,
            },
        );
    }

    fn look(&mut self, sequence: Sequence, size_bytes: u64) {
        debug_assert!(sequence > self.read_to, "records are looked at in order");
        // What lies between is gone for good: settled by being passed.
        let gone = usize::try_from(sequence - self.read_to - 1).unwrap_or(0);
        if self.items.is_empty() {
            self.sizes.clear();
            self.bytes = 0;
        } else {
            self.sizes.extend(std::iter::repeat_n(0, gone));
        }
        let kept = u32::try_from(size_bytes + ROW_BYTES).unwrap_or(u32::MAX);
        self.sizes.push_back(kept);
        self.bytes += u64::from(kept);
        self.read_to = sequence;
    }

    /// Forgets the sizes of what the cursor has passed.
    fn trim(&mut self) {
        let beyond = usize::try_from(self.read_to - self.cursor()).unwrap_or(usize::MAX);
        while self.sizes.len() > beyond {
            self.bytes -= self.sizes.pop_front().map_or(0, u64::from);
        }
    }

    /// Whether a head overtakes nothing but what is in the same parcel before it.
    fn may_go(&self, sequence: Sequence, taken: &[Delivery]) -> bool {
        let Some(item) = self.items.get(&sequence) else { return false };
        let Some(barriers) = self.barriers.get(&item.instance) else { return true };
        let is_taken =
            |other: &Sequence| taken.binary_search_by_key(other, |delivery| delivery.record.sequence).is_ok();
        if barriers.contains(&sequence) {
            let mut before =
                self.items.range(..sequence).filter(|(_, other)| other.instance == item.instance);
            return before.all(|(other, _)| self.aside.holds(*other) || is_taken(other));
        }
        barriers.range(..sequence).all(is_taken)
    }

    fn hold(&mut self, place: &Place) {
        if let Place::Key(key) = place {
            let chain = self.chains.entry(key.clone()).or_default();
            chain.is_busy = true;
            if let Some(first) = chain.pending.front() {
                self.heads.remove(first);
            }
        }
    }

    /// Lets go of keys that a finished parcel held.
    pub(super) fn release<'a>(&mut self, places: impl IntoIterator<Item = &'a Place>) {
        for place in places {
            let Place::Key(key) = place else { continue };
            let Some(chain) = self.chains.get_mut(key) else { continue };
            chain.is_busy = false;
            match chain.pending.front() {
                Some(next) => {
                    self.heads.insert(*next);
                }
                None => {
                    self.chains.remove(key);
                }
            }
        }
    }

    /// Settles a record, whatever became of it.
    pub(super) fn settle(&mut self, sequence: Sequence) {
        let Some(item) = self.items.remove(&sequence) else { return };
        self.unsettled_bytes -= item.size_bytes;
        self.settled_to = self.settled_to.max(sequence);
        if let Some(barriers) = self.barriers.get_mut(&item.instance) {
            barriers.remove(&sequence);
            if barriers.is_empty() {
                self.barriers.remove(&item.instance);
            }
        }
        let was_aside = self.aside.settle(sequence, item.delivery.is_some());
        if let Some(delivery) = item.delivery {
            self.pending -= 1;
            self.pending_bytes -= size_of(&delivery);
            if !was_aside {
                self.unchain(&delivery);
            }
        }
        self.trim();
    }

    /// Takes a waiting record out of its chain.
    fn unchain(&mut self, delivery: &Delivery) {
        let sequence = delivery.record.sequence;
        self.heads.remove(&sequence);
        self.urgent.remove(&sequence);
        let Some(key) = &delivery.record.order_key else { return };
        let Some(chain) = self.chains.get_mut(key) else { return };
        if chain.pending.front() == Some(&sequence) {
            chain.pending.pop_front();
        } else {
            chain.pending.retain(|pending| *pending != sequence);
        }
        match chain.pending.front() {
            _ if chain.is_busy => {}
            Some(next) => {
                self.heads.insert(*next);
            }
            None => {
                self.chains.remove(key);
            }
        }
    }

    /// The oldest record that is not settled: its sequence, the relay's running time when it was accepted,
    /// and whether it waits outside of any parcel.
    pub(super) fn oldest(&self) -> Option<(Sequence, Duration, bool)> {
        self.items
            .first_key_value()
            .map(|(sequence, item)| (*sequence, item.running, item.delivery.is_some()))
    }

    /// Unsettled records accepted before a running time, oldest first, with whether they wait outside of any
    /// parcel.
    pub(super) fn accepted_before(&self, running: Duration) -> Vec<(Sequence, bool)> {
        self.items
            .iter()
            .take_while(|(_, item)| item.running < running)
            .map(|(sequence, item)| (*sequence, item.delivery.is_some()))
            .collect()
    }
}

fn size_of(delivery: &Delivery) -> usize {
    delivery.record.size_bytes()
}
