//! The receivers of a relay in small: what they took, in which order, and what they answer.

use std::collections::{BTreeSet, HashMap};

use super::*;
use crate::delivery::engine::Report;
use crate::delivery::window::Place;

/// A receiver, and what became of the records that it was owed.
#[derive(Debug, Default)]
pub(super) struct Receiver {
    pub(super) taken: BTreeSet<Sequence>,
    newest: HashMap<Place, Sequence>,
    newest_of: HashMap<Arc<str>, Sequence>,
    /// Dead at some time, observed, left out, or taken in a replay.
    pub(super) accounted: BTreeSet<Sequence>,
    /// Whether records were dropped without a word.
    pub(super) discards: bool,
}

impl Receiver {
    /// Takes a record that came by way of the window: never after a later one of its key.
    pub(super) fn take(&mut self, delivery: &Delivery) {
        let record = &delivery.record;
        if !self.taken.insert(record.sequence) {
            return; // once more, after a crash or an answer that was lost
        }
        let newest = |place: &Place| self.newest.get(place).copied().unwrap_or(0);
        let place = Place::of(delivery);
        let before = match &place {
            Place::Key(_) => newest(&place).max(newest(&Place::Barrier(Arc::clone(&record.instance)))),
            Place::Barrier(instance) => self.newest_of.get(instance).copied().unwrap_or(0),
        };
        assert!(record.sequence > before, "{} arrives after {before}", record.sequence);
        self.newest.insert(place, record.sequence);
        let newest = self.newest_of.entry(Arc::clone(&record.instance)).or_default();
        *newest = record.sequence.max(*newest);
    }
}

/// What comes back for one request, or does not.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    /// What was left of the records when this came was delivered, or not.
    pub(super) outcome: Outcome,
    /// The receiver took them, whatever came back.
    pub(super) was_taken: bool,
    /// The first half went in a request of its own, and was delivered.
    pub(super) in_two: bool,
    /// The destination leaves the last one out.
    pub(super) leaves_out: bool,
    /// The destination cannot render the last one.
    pub(super) cannot_render: bool,
}

impl Answer {
    pub(super) fn of(outcome: Outcome) -> Self {
        Self { outcome, was_taken: false, in_two: false, leaves_out: false, cannot_render: false }
    }

    /// What is reported, and how many records the receiver took.
    pub(super) fn report(&self, deliveries: &[Delivery]) -> (Report, usize) {
        let mut left = ids(deliveries);
        let mut report = Report::default();
        if self.leaves_out {
            report.left_out.extend(left.pop());
        } else if self.cannot_render {
            report.unrenderable.extend(left.pop().map(|id| (id, reason("template"))));
        }
        let count = left.len();
        if self.in_two || self.outcome == Outcome::Delivered {
            let rest = left.split_off(if self.outcome == Outcome::Delivered { count } else { count / 2 });
            report.delivered = std::mem::replace(&mut left, rest);
        }
        let taken = if self.was_taken { count } else { report.delivered.len() };
        report.failed = (!left.is_empty()).then(|| (left, self.outcome.clone()));
        (report, taken)
    }
}

pub(super) fn ids(deliveries: &[Delivery]) -> Vec<EventId> {
    deliveries.iter().map(|delivery| delivery.record.id).collect()
}

/// Whether the earlier of two records must arrive first.
pub(super) fn binds(earlier: &Delivery, later: &Delivery) -> bool {
    match (Place::of(earlier), Place::of(later)) {
        (Place::Key(earlier), Place::Key(later)) => earlier == later,
        _ => earlier.record.instance == later.record.instance,
    }
}
