//! From a former state and what changed to the state after it.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::Difference;
use crate::event::RawText;

/// What is to be done at one place, and below it. One place of a list may stand for two items: one of the list
/// before, and one of the list after.
#[derive(Default)]
struct Step<'a> {
    removed: bool,
    replaced: Option<&'a RawText>,
    added: Option<&'a RawText>,
    below: BTreeMap<String, Step<'a>>,
}

/// The state after a change: values inside are replaced first, then items are removed (their places count in
/// the list before), then items are inserted (their places count in the list after).
///
/// It means the same as the payload of the event, though what is empty may be absent. Differences that were
/// not all told cannot give it, nor can values that nest deeper than 127 levels.
#[must_use]
pub fn apply(before: &Value, differences: &[Difference]) -> Value {
    let mut root = Step::default();
    for difference in differences {
        let mut step = &mut root;
        for name in difference.pointer.split('/').skip(1) {
            step = step.below.entry(name.replace("~1", "/").replace("~0", "~")).or_default();
        }
        match (&difference.old, &difference.new) {
            (Some(_), Some(new)) => step.replaced = Some(new),
            (None, Some(new)) => step.added = Some(new),
            (_, None) => step.removed = true,
        }
    }
    let mut state = before.clone();
    root.inside(&mut state);
    state
}

impl Step<'_> {
    fn inside(&self, state: &mut Value) {
        match state {
            Value::Object(entries) => self.entries(entries),
            Value::Array(items) => self.items(items),
            // An attachment: JSON as text.
            Value::String(text) if !self.below.is_empty() => {
                if let Ok(mut inner) = serde_json::from_str(text) {
                    self.inside(&mut inner);
                    *text = inner.to_string();
                }
            }
            _ => {}
        }
    }

    fn entries(&self, entries: &mut Map<String, Value>) {
        for (name, step) in &self.below {
            if let Some(new) = step.replaced.or(step.added) {
                entries.insert(name.clone(), read(new));
            } else if step.removed {
                entries.remove(name);
            } else if let Some(inner) = entries.get_mut(name) {
                step.inside(inner);
            }
        }
    }

    fn items(&self, items: &mut Vec<Value>) {
        let places: BTreeMap<usize, _> =
            self.below.iter().filter_map(|(name, step)| Some((name.parse().ok()?, step))).collect();
        for (place, step) in &places {
            match (items.get_mut(*place), step.replaced) {
                (Some(item), Some(new)) => *item = read(new),
                (Some(item), None) => step.inside(item),
                (None, _) => {}
            }
        }
        for (place, step) in places.iter().rev() {
            if step.removed && *place < items.len() {
                items.remove(*place);
            }
        }
        for (place, step) in &places {
            if let Some(new) = step.added {
                items.insert((*place).min(items.len()), read(new));
            }
        }
    }
}

fn read(text: &RawText) -> Value {
    serde_json::from_str(text.0.get()).unwrap_or_default()
}
