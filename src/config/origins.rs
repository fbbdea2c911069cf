//! Where each key is written, by its path.

use super::layers::Variable;
use super::problem::{Place, Problem};
use super::yaml::Node;

/// Finds the places of keys.
pub(super) struct Origins<'a> {
    pub(super) file: &'a Node,
    pub(super) variables: &'a [Variable],
}

impl Origins<'_> {
    /// A problem at a key, or at the nearest key above it that is written.
    pub(super) fn problem(&self, path: &str, message: &str, expected: Option<&str>) -> Problem {
        let mut problem = Problem::whole(path, message, expected);
        let covers = |variable: &&Variable| {
            path.strip_prefix(variable.path.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        if let Some(variable) = self.variables.iter().rev().find(covers) {
            problem.place = Place::Variable(variable.name.clone());
        } else {
            problem.mark = Some(self.nearest_node(path).0.key_mark());
        }
        problem
    }

    /// The same, at the value instead of at its key.
    pub(super) fn problem_at_value(&self, path: &str, message: &str, expected: Option<&str>) -> Problem {
        let problem = self.problem(path, message, expected);
        Problem { mark: problem.mark.map(|_| self.nearest_node(path).0.mark), ..problem }
    }

    /// Whether a person wrote this key, rightly or wrongly.
    pub(super) fn is_written(&self, path: &str) -> bool {
        let (node, whole) = self.nearest_node(path);
        (whole && !node.is_null())
            || self.variables.iter().any(|variable| {
                variable.path.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            })
    }

    /// The keys of a map in the order of writing; those of the environment come last.
    pub(super) fn position(&self, path: &str, key: &str) -> usize {
        let entries = self.nearest_node(path).0.entries();
        entries.iter().position(|(name, _)| name == key).unwrap_or(usize::MAX)
    }

    /// Whether a person wrote a map here that has other keys than `key`.
    pub(super) fn has_more_than(&self, path: &str, key: &str) -> bool {
        let (node, whole) = self.nearest_node(path);
        whole && node.entries().iter().any(|(name, _)| name != key)
    }

    /// The node at a path or the last one on the way to it, and whether it is the whole way.
    fn nearest_node(&self, path: &str) -> (&Node, bool) {
        let mut node = self.file;
        for step in path.split('.') {
            let (key, index) = match step.split_once('[') {
                Some((key, rest)) => (key, rest.trim_end_matches(']').parse().ok()),
                None => (step, None),
            };
            let Some(child) = node.child(key) else { return (node, false) };
            node = child;
            if let Some(index) = index {
                let Some(item) = node.item(index) else { return (node, false) };
                node = item;
            }
        }
        (node, true)
    }
}
