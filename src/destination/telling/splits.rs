//! Splits: the distributions of a rule, told as one.

use super::phrase::{Effect, Phrase, Weight};
use super::states::{self, label_segments, rule_segments};
use super::units::{Net, Unit, Units};
use super::words::{bare, list, ordinal, percent};
use crate::event::EntityKind;
use crate::flipt::Fields;

/// Shares of one split that are told.
const MOST_SHARES: usize = 6;

/// What one variant gets.
struct Share {
    /// Its key, or `a variant`.
    variant: String,
    was: Option<f64>,
    is: Option<f64>,
    /// Whether it is known what it was.
    is_known: bool,
}

/// The splits of rules, each as one: `on 90 → 50 %, off 10 → 50 % of segment beta`. No sum is told, nor what was
/// in between: other shares of the rule may be unknown.
pub(super) fn splits(units: &Units<'_>) -> Vec<Effect> {
    let mut rules: Vec<(&str, Vec<&Unit<'_>>)> = Vec::new();
    for unit in units.all.iter().filter(|unit| unit.kind == EntityKind::Distribution) {
        if matches!(unit.net(), Net::Passed | Net::Back | Net::Same) {
            continue;
        }
        let id = unit.rule_id.as_deref().unwrap_or_default();
        match rules.iter_mut().find(|(known, _)| *known == id) {
            Some((_, shares)) => shares.push(unit),
            None => rules.push((id, vec![unit])),
        }
    }
    rules.into_iter().map(|(rule, shares)| split(units, rule, &shares)).collect()
}

fn split(units: &Units<'_>, rule: &str, parts: &[&Unit<'_>]) -> Effect {
    let of = population(units, rule, parts).map(|of| format!(" of {of}")).unwrap_or_default();
    let shares: Vec<Share> = parts.iter().map(|unit| Share::read(unit, units)).collect();
    let are_new = shares.iter().all(|share| share.is_known && share.was.is_none());
    let near = match shares.as_slice() {
        [share] => share.alone(&of),
        several => {
            let each: Vec<String> =
                several.iter().take(MOST_SHARES).map(|share| share.among(are_new)).collect();
            let each = match several.len() > each.len() {
                true => list(&each, several.len(), "and", each.len()),
                false => each.join(", "),
            };
            let lead = if are_new { format!("split: {each}") } else { each };
            Phrase { lead, tail: of.clone(), ..Phrase::default() }
        }
    };
    let side = |pick: fn(&Share) -> Option<f64>| {
        let shares = shares.iter().take(MOST_SHARES);
        let shares = shares.filter_map(|share| Some(format!("{} {}", share.variant, percent(pick(share)?))));
        let shares: Vec<String> = shares.collect();
        (!shares.is_empty()).then(|| shares.join(", "))
    };
    let rows = (side(|share| share.was), side(|share| share.is).map(|is| format!("{is}{of}")));
    let far = if near.lead.starts_with("split") { near.clone() } else { near.after("split ") };
    Effect::new(Weight::Share, "Split", near, far).with_row(rows.0, rows.1)
}

/// Who is split: `segment beta`, or `the 2nd rule` where its segments are not known.
fn population(units: &Units<'_>, rule: &str, parts: &[&Unit<'_>]) -> Option<String> {
    let labels = || parts.iter().filter_map(|unit| unit.rule);
    let told = units.rule(rule).and_then(|rule| rule_segments(rule.any()));
    let kept = || labels().find_map(label_segments);
    let place = || labels().find_map(|rule| Some(format!("the {} rule", ordinal(rule.rank?.into()))));
    told.or_else(kept).or_else(place)
}

impl Share {
    fn read(unit: &Unit<'_>, units: &Units<'_>) -> Self {
        let share = |state: Option<&Fields<'_>>| state.and_then(|state| state.number("rollout"));
        let (was, is) = (share(unit.before()), share(unit.after()));
        let is_known = unit.net() == Net::Created || was.is_some();
        Self { variant: states::variant(unit.any(), &units.variants), was, is, is_known }
    }

    /// `variant on 90 % → 50 % of segment beta`.
    fn alone(&self, of: &str) -> Phrase {
        let variant = match &*self.variant {
            "a variant" => "a variant".to_owned(),
            key => format!("variant {key}"),
        };
        let none = || "none".to_owned();
        match (self.is_known, self.is) {
            (true, is) => {
                let was = self.was.map_or_else(none, percent);
                Phrase::arrow(&format!("{variant} "), was, is.map_or_else(none, percent), of)
            }
            (false, Some(is)) => Phrase::value(&format!("{variant} now "), percent(is), of),
            (false, None) => Phrase::words(format!("{variant} no longer has a share{of}")),
        }
    }

    /// `on 90 → 50 %`.
    fn among(&self, is_new: bool) -> String {
        let variant = &self.variant;
        match (self.is_known, self.was, self.is) {
            (true, Some(was), Some(is)) => format!("{variant} {} → {}", bare(was), percent(is)),
            (true, Some(was), None) => format!("{variant} {} → none", percent(was)),
            (true, None, Some(is)) if is_new => format!("{variant} {}", percent(is)),
            (true, None, Some(is)) => format!("{variant} none → {}", percent(is)),
            (false, _, Some(is)) => format!("{variant} now {}", percent(is)),
            (_, None, None) | (false, _, None) => format!("{variant} no longer"),
        }
    }
}
