//! Flipt v1 has namespaces; people think in environments.

use std::sync::Arc;

use super::Pattern;
use crate::event::Namespace;

/// One environment and the namespaces that belong to it.
#[derive(Debug, Clone, PartialEq)]
pub struct EnvironmentRule {
    /// Its name.
    pub name: Arc<str>,
    /// Namespace keys, with `*` for any run of characters.
    pub namespaces: Vec<Pattern>,
}

/// Environments in the order they are written; the first that has the namespace wins.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Environments {
    /// The environment of everything that no rule names.
    pub fallback: Option<Arc<str>>,
    /// The rules, in order.
    pub rules: Vec<EnvironmentRule>,
}

impl Environments {
    /// The environment of a namespace; `None` where it is not known.
    #[must_use]
    pub fn of(&self, namespace: &Namespace) -> Option<&Arc<str>> {
        let key = namespace.known()?;
        self.rules
            .iter()
            .find(|rule| rule.namespaces.iter().any(|pattern| pattern.matches(key)))
            .map(|rule| &rule.name)
            .or(self.fallback.as_ref())
    }
}
