//! Who owns which flags, segments and namespaces.

use std::sync::Arc;

use super::Pattern;
use crate::event::{EntityKind, Namespace};

/// What one team owns. Of `flags` and `segments` the one of its own kind decides; `namespaces` beside them says
/// where, and alone means all that is in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Keys of flags.
    pub flags: Vec<Pattern>,
    /// Keys of segments.
    pub segments: Vec<Pattern>,
    /// Keys of namespaces.
    pub namespaces: Vec<Pattern>,
    /// The team.
    pub team: Arc<str>,
    /// Its Slack channel.
    pub slack: Option<Arc<str>>,
    /// Its services.
    pub services: Vec<Arc<str>>,
}

impl Owner {
    /// Whether it owns this flag, segment or namespace.
    fn owns(&self, kind: EntityKind, key: &str, namespace: Option<&str>) -> bool {
        let of_its_kind = match kind {
            EntityKind::Flag => &self.flags,
            EntityKind::Segment => &self.segments,
            EntityKind::Namespace => return self.is_of_namespaces() && self.is_in(Some(key)),
            _ => return false,
        };
        let is_named = of_its_kind.iter().any(|pattern| pattern.matches(key));
        (is_named || self.is_of_namespaces()) && (self.namespaces.is_empty() || self.is_in(namespace))
    }

    fn is_of_namespaces(&self) -> bool {
        self.flags.is_empty() && self.segments.is_empty() && !self.namespaces.is_empty()
    }

    fn is_in(&self, namespace: Option<&str>) -> bool {
        namespace.is_some_and(|namespace| self.namespaces.iter().any(|pattern| pattern.matches(namespace)))
    }
}

/// One table for all routes and destinations. Every entry that fits counts: a flag may have several teams.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Owners(pub Vec<Owner>);

impl Owners {
    /// The entries that own a flag, segment or namespace, in the order of writing.
    pub fn of<'a>(
        &'a self,
        kind: EntityKind,
        key: &'a str,
        namespace: &'a Namespace,
    ) -> impl Iterator<Item = &'a Owner> {
        self.0.iter().filter(move |owner| owner.owns(kind, key, namespace.known()))
    }

    /// The teams that own a flag, segment or namespace, each once.
    #[must_use]
    pub fn teams_of(&self, kind: EntityKind, key: &str, namespace: &Namespace) -> Vec<&str> {
        let mut teams: Vec<&str> = Vec::new();
        for owner in self.0.iter().filter(|owner| owner.owns(kind, key, namespace.known())) {
            if !teams.contains(&&*owner.team) {
                teams.push(&owner.team);
            }
        }
        teams
    }
}
