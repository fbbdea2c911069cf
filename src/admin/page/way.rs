//! How a record stands at each destination.
//!
//! The journal knows what is settled at a destination, what is dead there and what is on its way; which of the
//! settled records were for it is told by its routes as they are now.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use crate::admin::{Office, Refusal};
use crate::config::plan::{DeliverSince, Plan};
use crate::delivery::{is_journal_only, with_facts};
use crate::destination::{Delivery, Destination};
use crate::event::Sequence;
use crate::journal::{DeadLetterRow, DestinationRow, OpenBatch};

/// Destinations that a list shows for one change.
const SHOWN: usize = 6;

/// Dead letters that are asked for at once, at most.
const MAX_DEAD: usize = 20_000;

/// The destinations of a plan, ready to be asked what they leave out.
pub(super) type Built = BTreeMap<String, Arc<dyn Destination>>;

/// How a record stands, what matters most last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    /// No route takes it there.
    NotRouted,
    /// It is older than `deliver_since`.
    TooOld,
    /// The destination leaves it out by its own rules.
    LeftOut,
    /// `discard: true`.
    Dropped,
    /// `observe: true`.
    Observed,
    /// It was taken.
    Delivered,
    /// It is done with; whether it was delivered, the journal does not keep.
    Settled,
    /// It is to be sent.
    Waiting,
    /// It was tried so often, and will be again.
    Tried(u32),
    /// It will not be sent.
    Dead,
}

/// The same for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct WayView {
    pub(super) name: String,
    pub(super) mark: &'static str,
    pub(super) words: String,
    /// Whether the mark says it all to who sees it.
    pub(super) is_plain: bool,
    /// `ok`, `wait`, `bad` or `off`.
    pub(super) class: &'static str,
}

impl Way {
    pub(super) fn words(self) -> String {
        match self {
            Self::NotRouted => "not routed".to_owned(),
            Self::TooOld => "not routed (too old)".to_owned(),
            Self::LeftOut => "left out".to_owned(),
            Self::Dropped => "dropped".to_owned(),
            Self::Observed => "observed".to_owned(),
            Self::Delivered => "delivered".to_owned(),
            Self::Settled => "settled".to_owned(),
            Self::Waiting => "waiting".to_owned(),
            Self::Tried(times) => {
                format!("tried {times} times, waiting").replace("tried 1 times", "tried once")
            }
            Self::Dead => "dead letter".to_owned(),
        }
    }

    const fn mark(self) -> &'static str {
        match self {
            Self::NotRouted | Self::TooOld | Self::LeftOut | Self::Dropped => "–",
            Self::Observed => "○",
            Self::Delivered | Self::Settled => "✔",
            Self::Waiting | Self::Tried(_) => "…",
            Self::Dead => "✖",
        }
    }

    const fn class(self) -> &'static str {
        match self {
            Self::NotRouted | Self::TooOld | Self::LeftOut | Self::Dropped | Self::Observed => "off",
            Self::Delivered | Self::Settled => "ok",
            Self::Waiting | Self::Tried(_) => "wait",
            Self::Dead => "bad",
        }
    }

    pub(super) fn view(self, name: &str) -> WayView {
        WayView {
            name: name.to_owned(),
            mark: self.mark(),
            words: self.words(),
            is_plain: self == Self::Delivered,
            class: self.class(),
        }
    }
}

/// What is known of all ways in a stretch of the journal.
pub(super) struct Ways {
    pub(super) plan: Arc<Plan>,
    pub(super) built: Arc<Built>,
    pub(super) rows: Vec<DestinationRow>,
    pub(super) dead: BTreeMap<(String, Sequence), DeadLetterRow>,
}

impl Ways {
    /// Of the records after a sequence.
    pub(super) async fn read(
        office: &Office,
        built: Arc<Built>,
        plan: Arc<Plan>,
        after: Sequence,
        through: Sequence,
    ) -> Result<Self, Refusal> {
        // Rows first: what dies in between is told as waiting, and not as delivered.
        let rows = office.journal().destinations().await?;
        let dead = office.journal().dead_among(after, through, MAX_DEAD).await?;
        let dead = dead.into_iter().map(|row| ((row.destination_name.clone(), row.sequence), row));
        Ok(Self { plan, built, rows, dead: dead.collect() })
    }

    /// How records that are told as one stand at each destination: what matters most of any of them.
    pub(super) fn of_set<'a>(&self, members: impl Iterator<Item = &'a Delivery>) -> (Vec<WayView>, usize) {
        let mut worst: BTreeMap<&str, Way> = BTreeMap::new();
        for member in members {
            for (name, way) in self.of(member) {
                worst.entry(name).and_modify(|worst| *worst = (*worst).max(way)).or_insert(way);
            }
        }
        let more = worst.len().saturating_sub(SHOWN);
        (worst.into_iter().take(SHOWN).map(|(name, way)| way.view(name)).collect(), more)
    }

    /// How one record stands at each destination.
    pub(super) fn of(&self, delivery: &Delivery) -> Vec<(&str, Way)> {
        let record = &delivery.record;
        let routes = &self.plan.routes;
        let is_journal_only = is_journal_only(record.detail.as_deref());
        let names: Vec<&str> = self.plan.destinations.keys().map(String::as_str).collect();
        let is_routed: Vec<bool> =
            with_facts(record, delivery.environment.as_deref(), &routes.owners, |facts| {
                names.iter().map(|name| !is_journal_only && routes.goes_to(name, facts)).collect()
            });
        let ways = names.into_iter().zip(is_routed);
        ways.map(|(name, is_routed)| (name, self.at(name, is_routed, delivery))).collect()
    }

    /// The group that a record travels in, where it was tried.
    pub(super) fn batch(&self, name: &str, sequence: Sequence) -> Option<&OpenBatch> {
        let row = self.rows.iter().find(|row| row.name == name)?;
        let mut tried = row.open_batches.iter().filter(|batch| batch.attempts > 0);
        tried.find(|batch| batch.members.binary_search(&sequence).is_ok())
    }

    fn at(&self, name: &str, is_routed: bool, delivery: &Delivery) -> Way {
        let record = &delivery.record;
        let sequence = record.sequence;
        if self.dead.contains_key(&(name.to_owned(), sequence)) {
            return Way::Dead;
        }
        if !is_routed {
            return Way::NotRouted;
        }
        let (Some(plan), Some(row)) =
            (self.plan.destinations.get(name), self.rows.iter().find(|row| row.name == name))
        else {
            return Way::Waiting;
        };
        let since = match plan.deliver_since {
            DeliverSince::Beginning => None,
            DeliverSince::Now => Some(row.first_seen_at),
            DeliverSince::Time(time) => Some(time),
        };
        let time = record.event_time.unwrap_or(record.accepted_at);
        // In whole seconds, as Flipt tells them.
        if since.is_some_and(|since| time.unix_seconds() < since.unix_seconds()) {
            return Way::TooOld;
        }
        if self.built.get(name).is_some_and(|built| built.company(delivery).is_left_out) {
            return Way::LeftOut;
        }
        let is_settled = sequence <= row.cursor || row.acked.binary_search(&sequence).is_ok();
        match is_settled {
            _ if plan.discard => Way::Dropped,
            false => self.batch(name, sequence).map_or(Way::Waiting, |batch| Way::Tried(batch.attempts)),
            true if plan.observe => Way::Observed,
            // Of purged dead letters, only the number is kept.
            true if row.books.purged > 0 || row.books.delivered + row.books.replayed == 0 => Way::Settled,
            true => Way::Delivered,
        }
    }
}
