//! Who owns what: one table for routes and destinations.

use std::sync::Arc;

use super::Judge;
use crate::config::raw::Raw;
use crate::config::raw::common::Many;
use crate::config::scalars::Wildcard;
use crate::routing::{Owner, Owners, Pattern, UNKNOWN};

pub(super) fn build(raw: &Raw, judge: &mut Judge<'_>) -> Owners {
    let mut owners = Vec::new();
    for (index, written) in raw.owners.iter().enumerate() {
        let path = format!("owners[{index}]");
        let team = written.team.0.as_str();
        if team.contains('*') || team == UNKNOWN {
            let message = "a team has a name, not a pattern, and `unknown` is none";
            judge.problem(&format!("{path}.team"), message, Some("the name of a team"));
        }
        let names_something =
            ["flags", "segments", "namespaces"].iter().any(|key| judge.is_written(&format!("{path}.{key}")));
        if !names_something {
            judge.problem(&path, "this team owns nothing", Some("`flags`, `segments` or `namespaces`"));
        }
        owners.push(Owner {
            flags: patterns(&written.flags),
            segments: patterns(&written.segments),
            namespaces: patterns(&written.namespaces),
            team: Arc::from(team),
            slack: written.slack.as_deref().map(Arc::from),
            services: written.services.0.iter().map(|service| Arc::from(service.0.as_str())).collect(),
        });
    }
    Owners(owners)
}

fn patterns(written: &Many<Wildcard>) -> Vec<Pattern> {
    written.0.iter().map(|pattern| Pattern::new(pattern.0.clone())).collect()
}
