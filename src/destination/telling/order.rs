//! New orders of rules and rollouts.

use std::collections::HashMap;

use super::phrase::{Effect, Phrase, Weight};
use super::reading::Reading;
use super::states::{Rollout, rule_segments};
use super::words::{list, ordinal};
use crate::event::{Deed, EntityKind, Place};
use crate::flipt::Fields;

/// More places are counted, not named.
const MOST_NAMED: usize = 3;

/// What became of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Moved {
    /// Nothing.
    Same,
    /// One changed its place.
    One { thing: String, from: u64, to: u64 },
    /// Several did.
    Many,
    /// The former order is not known.
    Unknown,
}

/// The order of one flag's rules or rollouts, from before a story to after it.
#[derive(Debug, Clone)]
pub(super) struct Order {
    pub(super) kind: EntityKind,
    pub(super) moved: Moved,
    /// `segment beta, segment staff and 2 more`: those in front now, where they are known.
    now: Option<String>,
    was: Option<String>,
}

impl Order {
    /// What the new orders among `readings` come to; rules and rollouts apart.
    pub(super) fn all(readings: &[Reading<'_>]) -> Vec<Self> {
        let of = |kind: EntityKind| {
            let orders = readings.iter();
            let orders =
                orders.filter(|reading| reading.kind == Some(kind) && reading.deed == Deed::Reordered);
            let orders: Vec<&[Place]> = orders.map(|reading| reading.known.order.as_slice()).collect();
            Some(Self::read(kind, orders.first()?, orders.last()?))
        };
        [EntityKind::Rule, EntityKind::Rollout].into_iter().filter_map(of).collect()
    }

    fn read(kind: EntityKind, first: &[Place], last: &[Place]) -> Self {
        let before: HashMap<&str, Option<u32>> = first.iter().map(|place| (&*place.id, place.was)).collect();
        let was = |place: &Place| before.get(&*place.id).copied().flatten().map(u64::from);
        let was: Option<Vec<u64>> = last.iter().map(was).collect();
        let names: Option<Vec<String>> = last.iter().map(|place| short(kind, place)).collect();
        let listed = |names: &[String]| list(names, names.len(), "and", MOST_NAMED);
        let old = names.as_ref().zip(was.as_ref()).map(|(names, was)| {
            let mut names: Vec<(u64, &String)> = was.iter().copied().zip(names).collect();
            names.sort();
            listed(&names.into_iter().map(|(_, name)| name.clone()).collect::<Vec<_>>())
        });
        let now = names.as_deref().map(listed).filter(|now| !now.is_empty());
        let moved = was.map_or(Moved::Unknown, |was| moved(kind, &was, last));
        Self { kind, moved, now, was: old }
    }

    /// What it means, where it means anything.
    pub(super) fn effect(&self, is_alone: bool) -> Option<Effect> {
        let noun = self.kind.as_str();
        let now = |lead: &str| self.now.as_ref().map(|now| Phrase::value(lead, now.as_str(), ""));
        let (near, far) = match &self.moved {
            Moved::Same => return None,
            // The verb tells it all.
            Moved::One { .. } if is_alone => (Phrase::default(), Phrase::default()),
            Moved::One { thing, from, to } => {
                let words = format!("{thing} moved from {} to {} place", ordinal(*from), ordinal(*to));
                (Phrase::words(&words), Phrase::words(words))
            }
            Moved::Many | Moved::Unknown => {
                let far = now(&format!("order of {noun}s now "));
                let far = far.unwrap_or_else(|| Phrase::words(format!("{noun}s reordered")));
                (now("now ").unwrap_or_default(), far)
            }
        };
        let effect = Effect::new(Weight::Targeting, &format!("Order of {noun}s"), near, far);
        Some(effect.with_row(self.was.clone(), self.now.clone()))
    }
}

fn moved(kind: EntityKind, was: &[u64], places: &[Place]) -> Moved {
    let is_order = {
        let mut sorted = was.to_vec();
        sorted.sort_unstable();
        (1..).zip(&sorted).all(|(place, was)| place == *was)
    };
    if !is_order || was.is_empty() {
        return Moved::Unknown;
    }
    let stays = |place: &usize| was[*place] == *place as u64 + 1;
    let (Some(first), Some(last)) =
        ((0..was.len()).find(|place| !stays(place)), (0..was.len()).rfind(|place| !stays(place)))
    else {
        return Moved::Same;
    };
    let one =
        |now: usize| Moved::One { thing: thing(kind, &places[now]), from: was[now], to: now as u64 + 1 };
    let went_up = was[first] == last as u64 + 1 && (first + 1..=last).all(|at| was[at] == at as u64);
    let went_down = was[last] == first as u64 + 1 && (first..last).all(|at| was[at] == at as u64 + 2);
    match (went_up, went_down) {
        (true, _) => one(first),
        (_, true) => one(last),
        _ => Moved::Many,
    }
}

/// `segment beta`, `10 % of everyone`.
fn short(kind: EntityKind, place: &Place) -> Option<String> {
    let state = Fields::read(&place.state.as_ref()?.0);
    match kind {
        EntityKind::Rule => rule_segments(&state),
        _ => Some(match Rollout::read(&state)? {
            Rollout::Segments(names, ..) => names,
            share @ Rollout::Share(..) => share.words().0 + " of everyone",
        }),
    }
}

fn thing(kind: EntityKind, place: &Place) -> String {
    match (kind, short(kind, place)) {
        (EntityKind::Rule, Some(segments)) => format!("the rule for {segments}"),
        (EntityKind::Rule, None) => "a rule".to_owned(),
        (_, Some(who)) => format!("the rollout to {who}"),
        (_, None) => "a rollout".to_owned(),
    }
}
