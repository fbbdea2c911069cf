//! A parcel: records that were taken out of the window together, and what is left of them to send.

use std::collections::VecDeque;
use std::time::Duration;

use super::window::Place;
use crate::destination::{Delivery, Reason};
use crate::event::{BatchId, EventId, Sequence};
use crate::journal::OpenBatch;
use crate::telemetry::traces::Thread;

/// What one request carries.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) id: BatchId,
    pub(super) deliveries: Vec<Delivery>,
    pub(super) attempts: u32,
    /// Not before this, by the steady clock and by the wall clock: it failed where others passed.
    pub(super) not_before: Option<(Duration, crate::event::Timestamp)>,
    /// Whether the journal knows it.
    pub(super) is_journaled: bool,
    /// Why it failed last, and how many requests of the lane had been made until then.
    pub(super) failed: Option<(Reason, u64)>,
    /// What holds its attempts together in traces.
    pub(super) thread: Option<Thread>,
}

impl Part {
    pub(super) fn new(destination: &str, deliveries: Vec<Delivery>) -> Self {
        Self {
            id: id_of(destination, &deliveries),
            deliveries,
            attempts: 0,
            not_before: None,
            is_journaled: false,
            failed: None,
            thread: None,
        }
    }

    pub(super) fn sequences(&self) -> Vec<Sequence> {
        self.deliveries.iter().map(|delivery| delivery.record.sequence).collect()
    }

    pub(super) fn open_batch(&self) -> OpenBatch {
        OpenBatch {
            id: self.id.clone(),
            members: self.sequences(),
            attempts: self.attempts,
            not_before: self.not_before.map(|(_, wall)| wall),
        }
    }

    /// Two halves, the first at least as large, and each known to have failed as this one did.
    fn halves(mut self, destination: &str) -> [Self; 2] {
        let second = self.deliveries.split_off(self.deliveries.len().div_ceil(2));
        [self.deliveries, second].map(|deliveries| Self {
            failed: self.failed.clone(),
            thread: self.thread.clone(),
            ..Self::new(destination, deliveries)
        })
    }
}

fn id_of(destination: &str, deliveries: &[Delivery]) -> BatchId {
    let ids: Vec<EventId> = deliveries.iter().map(|delivery| delivery.record.id).collect();
    BatchId::of(destination, &ids)
}

/// See the module. Its parts go one after another, in order.
#[derive(Debug)]
pub(super) struct Parcel {
    pub(super) parts: VecDeque<Part>,
    pub(super) places: Vec<Place>,
    /// The number of the request that carries its first part, while it is on its way.
    pub(super) number: Option<u64>,
}

impl Parcel {
    pub(super) fn new(part: Part) -> Self {
        let mut places: Vec<Place> = Vec::with_capacity(part.deliveries.len());
        for place in part.deliveries.iter().map(Place::of) {
            // Usually a handful; beyond that a second release of the same key does no harm.
            if places.len() > 16 || !places.contains(&place) {
                places.push(place);
            }
        }
        Self { parts: VecDeque::from([part]), places, number: None }
    }

    /// The first record that is left.
    pub(super) fn first(&self) -> Option<Sequence> {
        self.parts.front()?.deliveries.first().map(|delivery| delivery.record.sequence)
    }

    /// Takes these records out of its first part, and gives the id that it had if there were any. The part is
    /// known by another id then, unless it `keeps_id`.
    pub(super) fn remove(
        &mut self,
        destination: &str,
        gone: impl Fn(&Delivery) -> bool,
        keeps_id: bool,
    ) -> Option<BatchId> {
        let part = self.parts.front_mut()?;
        let before = part.deliveries.len();
        part.deliveries.retain(|delivery| !gone(delivery));
        let old = (part.deliveries.len() < before).then(|| {
            let id = if keeps_id { part.id.clone() } else { id_of(destination, &part.deliveries) };
            std::mem::replace(&mut part.id, id)
        });
        if part.deliveries.is_empty() {
            self.parts.pop_front();
        }
        old
    }

    /// Splits its first part: what was refused in halves, what was not tried after them. The halves of one
    /// record are dead ends, so this asks for two at least.
    pub(super) fn split(&mut self, destination: &str, refused: &[EventId], issued: u64) {
        let Some(mut part) = self.parts.pop_front() else { return };
        let (tried, untried): (Vec<_>, Vec<_>) = std::mem::take(&mut part.deliveries)
            .into_iter()
            .partition(|delivery| refused.contains(&delivery.record.id));
        if !untried.is_empty() {
            self.parts.push_front(Part::new(destination, untried));
        }
        part.deliveries = tried;
        for mut half in part.halves(destination).into_iter().rev() {
            // A record alone dies only if something passes after this.
            if let (1, Some((_, then))) = (half.deliveries.len(), &mut half.failed) {
                *then = issued;
            }
            if !half.deliveries.is_empty() {
                self.parts.push_front(half);
            }
        }
    }
}
