//! What else is worth knowing around an event: names, and whether it concerns what people get.

use std::collections::BTreeMap;

use super::{Arrival, Family, Form, Member, fields};
use crate::event::{Deed, Entity, EntityKind, Known, RuleLabel, Several};

/// So many names are kept with an event.
const MAX_NAMES: usize = 50;

/// The flags that use a segment, as far as is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Users {
    /// Their keys, and whether each is on.
    pub flags: Vec<(String, Option<bool>)>,
    /// How many there are, those that are not listed too.
    pub count: u32,
    /// Whether there are no others: all of the namespace was imported, and all of them are listed.
    pub is_complete: bool,
}

impl Family {
    /// Whether the flag decides for anybody: it is on, or it has rollouts, which Flipt asks before the
    /// flag's own value (`boolean` in `internal/server/evaluation/evaluation.go`). `None`: not known.
    #[must_use]
    pub fn is_on(&self) -> Option<bool> {
        if self.of_kind(EntityKind::Rollout).any(|(_, rollout)| rollout.form != Form::Deleted) {
            return Some(true);
        }
        let owner = self.members.get(&self.owner)?;
        match &owner.form {
            Form::Deleted => Some(false),
            Form::TooLarge => None,
            Form::Known(state) => match fields::boolean(state, "enabled") {
                Some(false) if !self.has_no_other_rollouts(owner) => None,
                is_on => is_on,
            },
        }
    }

    /// Whether there are no rollouts beside those that are known: a flag with variants or rules has none.
    fn has_no_other_rollouts(&self, owner: &Member) -> bool {
        let has = |kind| self.of_kind(kind).next().is_some();
        owner.is_whole || has(EntityKind::Variant) || has(EntityKind::Rule)
    }

    /// Whether the event concerns what people get; the flag was on before or not, as far as is known.
    pub(super) fn is_live(&self, arrival: &Arrival<'_>, was_on: Option<bool>) -> Option<bool> {
        let is_owner = arrival.entity == Some(&self.owner);
        match self.owner.kind {
            // Before or after it, the flag has rollouts.
            EntityKind::Flag if arrival.news.kind == EntityKind::Rollout => Some(true),
            EntityKind::Flag if arrival.shares_writers || self.is_imported_after(arrival) => {
                let own = arrival.news.state.as_deref().filter(|_| is_owner);
                let is_on = own.and_then(|state| fields::boolean(state, "enabled"));
                is_on.filter(|on| *on || arrival.news.deed == Deed::Created)
            }
            // What belongs to a flag does not turn it on or off.
            EntityKind::Flag if !is_owner => self.is_on(),
            EntityKind::Flag => match (was_on, self.is_on()) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            },
            EntityKind::Segment if is_owner && arrival.news.deed == Deed::Created => Some(false),
            EntityKind::Segment if !arrival.shares_writers => {
                let users = arrival.users?;
                let is_any_on = users.flags.iter().any(|(_, on)| *on == Some(true));
                let are_all_off = users.flags.iter().all(|(_, on)| *on == Some(false));
                if is_any_on { Some(true) } else { (users.is_complete && are_all_off).then_some(false) }
            }
            _ => None,
        }
    }

    /// Whether anything of the family was imported later than the event: then it does not tell how it was.
    fn is_imported_after(&self, arrival: &Arrival<'_>) -> bool {
        self.members.iter().any(|(_, member)| member.is_import_after(arrival.at()))
    }

    /// Whether the flag was on before an event.
    pub(super) fn was_on(&self, arrival: &Arrival<'_>) -> Option<bool> {
        match arrival.entity == Some(&self.owner) && arrival.news.deed == Deed::Created {
            true => Some(false),
            false => self.is_on(),
        }
    }

    /// Names of what the event, or what was before, refers to by id.
    pub(super) fn name(&self, arrival: &Arrival<'_>, known: &mut Known) {
        let own = arrival.news.state.as_deref().filter(|_| arrival.entity == Some(&self.owner));
        let owner = own.or_else(|| self.state_of(self.owner.kind, &self.owner.id));
        known.owner_name = owner.and_then(|state| fields::text(state, "name")).map(Into::into);
        match arrival.news.kind {
            EntityKind::Distribution => self.name_of_distribution(arrival, known),
            EntityKind::Rule => {
                let id = arrival.entity.map(|entity| entity.id.as_str()).unwrap_or_default();
                let entity = Entity { kind: EntityKind::Rule, id: id.to_owned() };
                let before = self.children(&entity).into_iter().filter_map(|(_, member)| member.state());
                let after = arrival.news.nested.iter().flatten().map(|(_, state)| &**state);
                known.variants = self.variants(before.chain(after));
            }
            EntityKind::Segment | EntityKind::Constraint if !arrival.shares_writers => {
                known.used_by = arrival.users.filter(|users| !users.flags.is_empty()).map(|users| Several {
                    count: users.count,
                    first: users.flags.iter().take(MAX_NAMES).map(|(key, _)| key.clone()).collect(),
                });
            }
            _ => {}
        }
    }

    fn name_of_distribution(&self, arrival: &Arrival<'_>, known: &mut Known) {
        let id = arrival.entity.map(|entity| entity.id.as_str()).unwrap_or_default();
        let before = self.state_of(EntityKind::Distribution, id);
        let after = arrival.news.state.as_deref();
        known.variants = self.variants(before.into_iter().chain(after));
        let rule_id = after.into_iter().chain(before).find_map(|state| fields::text(state, "rule_id"));
        let rule = rule_id.and_then(|id| self.members.find(EntityKind::Rule, &id));
        let rule = rule.filter(|rule| !arrival.shares_writers && !rule.is_import_after(arrival.at()));
        let rule = rule.and_then(Member::state);
        known.rule = rule.map(|rule| RuleLabel {
            rank: fields::number(rule, "rank"),
            segment_key: fields::text(rule, "segment_key").map(Into::into),
            segment_operator: fields::text(rule, "segment_operator").map(Into::into),
        });
    }

    fn variants<'a>(&self, distributions: impl Iterator<Item = &'a str>) -> BTreeMap<String, String> {
        let named = distributions.take(MAX_NAMES).filter_map(|state| {
            let id = fields::text(state, "variant_id")?;
            let key = fields::text(self.state_of(EntityKind::Variant, &id)?, "key")?.into_owned();
            Some((id.into_owned(), key))
        });
        named.collect()
    }
}
