//! What is different between two plans: what a reload has to do, and what it says it did.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::plan::Plan;

/// What is different between two plans.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Difference {
    /// Keys that hold for the life of the process, and differ.
    pub fixed: Vec<&'static str>,
    /// Sources by name.
    pub sources: Changes,
    /// Destinations by name: their own settings, or the routes to them.
    pub destinations: Changes,
    /// Other sections that differ.
    pub sections: Vec<&'static str>,
}

/// Names of what was added, changed and removed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// Only in the new plan.
    pub added: BTreeSet<String>,
    /// In both, and not alike.
    pub changed: BTreeSet<String>,
    /// Only in the old plan.
    pub removed: BTreeSet<String>,
}

impl Difference {
    /// What leads from `old` to `new`.
    #[must_use]
    pub fn between(old: &Plan, new: &Plan) -> Self {
        let fixed = [("name", old.name != new.name), ("data_dir", old.data_dir != new.data_dir)];
        let sections = [
            ("flipt", old.flipt != new.flipt || old.external_url != new.external_url),
            ("journal", old.journal != new.journal),
            ("dead_letters", old.dead_letters_max_bytes != new.dead_letters_max_bytes),
            ("health", old.health != new.health),
            ("admin", old.admin != new.admin),
            ("problems", old.problems != new.problems),
            ("log", old.log != new.log),
            ("telemetry", old.telemetry != new.telemetry),
            ("shutdown_timeout", old.shutdown_timeout != new.shutdown_timeout),
            ("shutdown_keep_reading", old.shutdown_keep_reading != new.shutdown_keep_reading),
        ];
        let differing = |all: &[(&'static str, bool)]| {
            all.iter().filter(|(_, differs)| *differs).map(|(key, _)| *key).collect()
        };
        // The journal's rows of environments come with the source they entered by.
        let is_placed_alike = old.source_environments() == new.source_environments();
        Self {
            fixed: differing(&fixed),
            sources: Changes::between(&old.sources, &new.sources, |_, old, new| old == new),
            destinations: Changes::between(&old.destinations, &new.destinations, |name, was, is| {
                was == is
                    && is_placed_alike
                    && old.routes.for_destination(name) == new.routes.for_destination(name)
            }),
            sections: differing(&sections),
        }
    }

    /// Whether the plans are alike.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Changes {
    fn between<T>(
        old: &BTreeMap<String, T>,
        new: &BTreeMap<String, T>,
        is_alike: impl Fn(&str, &T, &T) -> bool,
    ) -> Self {
        let only_in = |one: &BTreeMap<String, T>, other: &BTreeMap<String, T>| {
            one.keys().filter(|name| !other.contains_key(*name)).cloned().collect()
        };
        let changed = |(name, was): (&String, &T)| {
            new.get(name).filter(|is| !is_alike(name, was, is)).map(|_| name.clone())
        };
        Self {
            added: only_in(new, old),
            changed: old.iter().filter_map(changed).collect(),
            removed: only_in(old, new),
        }
    }

    fn tell(&self, what: &str, parts: &mut Vec<String>) {
        let verbs = [("added", &self.added), ("changed", &self.changed), ("removed", &self.removed)];
        for (verb, names) in verbs.into_iter().filter(|(_, names)| !names.is_empty()) {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let plural = if names.len() == 1 { "" } else { "s" };
            parts.push(format!("{what}{plural} {verb}: {}", names.join(", ")));
        }
    }
}

/// `destination changed: slack; sections changed: log`.
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        self.sources.tell("source", &mut parts);
        self.destinations.tell("destination", &mut parts);
        if !self.sections.is_empty() {
            parts.push(format!("changed: {}", self.sections.join(", ")));
        }
        if parts.is_empty() {
            parts.push("nothing that counts".to_owned());
        }
        f.write_str(&parts.join("; "))
    }
}
