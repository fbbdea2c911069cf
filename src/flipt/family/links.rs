//! Which segments the rules and rollouts of a flag use.

use super::fields;
use super::{Family, Form};
use crate::event::{Entity, EntityKind};
use crate::flipt::tokens;

/// How a rule or rollout uses segments now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The rule or rollout.
    pub user: Entity,
    /// The keys of the segments; none: it uses none any more. `None`: Flipt does not say which (before 1.58.2
    /// it wrote an empty key for several).
    pub segments: Option<Vec<String>>,
}

impl Family {
    /// Notes how a member will use segments, if that differs from how it does.
    pub(super) fn link(&mut self, entity: &Entity, state: Option<&str>) {
        if !matches!(entity.kind, EntityKind::Rule | EntityKind::Rollout) {
            return;
        }
        let segments = state.map_or(Some(Vec::new()), |state| segments(entity.kind, state));
        let used = match self.members.get(entity).map(|member| &member.form) {
            Some(Form::Known(state)) => self::segments(entity.kind, state),
            _ => Some(Vec::new()),
        };
        if used != segments {
            self.links.push(Link { user: entity.clone(), segments });
        }
    }
}

/// The segments that a state names; `None` where it names them by an empty key. A comma parts them only where
/// an operator says that they are several: Flipt allows commas in keys.
pub(super) fn segments(kind: EntityKind, state: &str) -> Option<Vec<String>> {
    let (key, is_several) = match kind {
        EntityKind::Rule => {
            (fields::field(state, "segment_key"), fields::field(state, "segment_operator").is_some())
        }
        EntityKind::Rollout => match fields::field(state, "segment") {
            Some(segment) => {
                (fields::field(segment.get(), "key"), fields::field(segment.get(), "operator").is_some())
            }
            None => (None, false),
        },
        _ => (None, false),
    };
    match key.and_then(tokens::text) {
        Some(keys) if keys.is_empty() => None,
        Some(keys) if is_several => Some(keys.split(',').map(str::to_owned).collect()),
        Some(key) => Some(vec![key.into_owned()]),
        None => Some(Vec::new()),
    }
}
