//! Sources that say nothing for longer than they should. Pure: the clocks are handed in.
//!
//! Silence is measured in running time, over restarts: a relay that was switched off heard nothing, and that says
//! nothing about its Flipt.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::admin::Finding;
use crate::admin::words::age;
use crate::event::Timestamp;

/// The code of the finding.
pub(super) const CODE: &str = "source_silent";

/// When a source was last heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Heard {
    /// Its last event, by the wall clock.
    last_event_at: Option<Timestamp>,
    /// How long the relay had run when that was seen first.
    running: Duration,
}

/// What is known of the silence of sources.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Silence {
    heard: BTreeMap<String, Heard>,
}

/// A source, as it is now.
pub(super) struct Listened<'a> {
    pub(super) name: &'a str,
    pub(super) silent_after: Duration,
    pub(super) last_event_at: Option<Timestamp>,
}

impl Silence {
    /// The sources that are silent, when the relay has run for `running` in all.
    pub(super) fn look(&mut self, running: Duration, sources: &[Listened<'_>]) -> Vec<(String, Finding)> {
        self.heard.retain(|name, _| sources.iter().any(|source| source.name == name));
        let mut silent = Vec::new();
        for source in sources {
            let now = Heard { last_event_at: source.last_event_at, running };
            let heard = self.heard.entry(source.name.to_owned()).or_insert(now);
            // Another journal has run for less.
            if heard.last_event_at != source.last_event_at || heard.running > running {
                *heard = now;
            }
            if running - heard.running > source.silent_after {
                silent.push((source.name.to_owned(), finding(source)));
            }
        }
        silent
    }
}

fn finding(source: &Listened<'_>) -> Finding {
    let since = source
        .last_event_at
        .map_or_else(|| "it has given none yet".to_owned(), |at| format!("the last came at {at}"));
    Finding {
        code: CODE.to_owned(),
        severe: true,
        sentence: format!(
            "Source {} is silent: no event for more than {} of running (`silent_after`); {since}.",
            source.name,
            age(source.silent_after)
        ),
        remedy: Some("audit-relay doctor   # tells what keeps Flipt's events from coming".to_owned()),
    }
}
