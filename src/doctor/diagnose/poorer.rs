//! What makes events fewer, poorer or later.

use std::time::Duration;

use super::releases::listed;
use super::{Relayed, poorer, severe};
use crate::admin::Finding;
use crate::admin::words::age;
use crate::config::plan::DestinationPlan;
use crate::doctor::facts::Facts;
use crate::doctor::release::Release;

/// What Flipt waits at most where nobody says otherwise.
const DEFAULT_FLUSH_PERIOD: Duration = Duration::from_secs(120);

pub(super) fn findings(facts: &Facts, relayed: &Relayed<'_>) -> Vec<Finding> {
    let mut found: Vec<Finding> =
        [sampling(facts), filter(facts), actors(facts), delay(facts)].into_iter().flatten().collect();
    found.extend(part(relayed));
    found
}

/// The sampler decides about audit events too, whether tracing is on or off.
fn sampling(facts: &Facts) -> Option<Finding> {
    let ratio = facts.config.as_ref()?.sampling_ratio?;
    let counts = facts.release.is_none_or(|release| release >= Release(1, 41, 0));
    (counts && ratio < 1.0).then(|| {
        severe(
            "flipt_sampling",
            format!(
                "`tracing.sampling_ratio` is {ratio}: Flipt throws away about {} % of its audit events with the traces.",
                ((1.0 - ratio.clamp(0.0, 1.0)) * 100.0).round()
            ),
            "FLIPT_TRACING_SAMPLING_RATIO=1",
        )
    })
}

const VERBS: [&str; 3] = ["created", "updated", "deleted"];

/// Nouns, and since when.
const NOUNS: [(&str, Release); 9] = [
    ("constraint", Release(1, 21, 0)),
    ("distribution", Release(1, 21, 0)),
    ("flag", Release(1, 21, 0)),
    ("namespace", Release(1, 21, 0)),
    ("rollout", Release(1, 24, 0)),
    ("rule", Release(1, 21, 0)),
    ("segment", Release(1, 21, 0)),
    ("token", Release(1, 27, 1)),
    ("variant", Release(1, 21, 0)),
];

fn filter(facts: &Facts) -> Option<Finding> {
    let events = &facts.config.as_ref()?.events;
    if events.is_empty() {
        return None;
    }
    let takes = |noun: &str, verb: &str| {
        events.iter().filter_map(|event| event.split_once(':')).any(|(wanted_noun, wanted_verb)| {
            let wanted_verb = wanted_verb.split(':').next().unwrap_or_default();
            (wanted_noun == "*" || wanted_noun == noun) && (wanted_verb == "*" || wanted_verb == verb)
        })
    };
    let mut left_out = Vec::new();
    for (noun, since) in NOUNS {
        // Tokens are updated by nobody.
        let verbs = VERBS.iter().filter(|verb| (noun, **verb) != ("token", "updated"));
        let (kept, missing): (Vec<&str>, Vec<&str>) = verbs.partition(|verb| takes(noun, verb));
        if facts.release.is_some_and(|release| release < since) {
            continue;
        }
        match (kept.is_empty(), missing.is_empty()) {
            (_, true) => {}
            (true, false) => left_out.push(format!("{noun}:*")),
            (false, false) => left_out.extend(missing.iter().map(|verb| format!("{noun}:{verb}"))),
        }
    }
    (!left_out.is_empty()).then(|| {
        poorer(
            "flipt_events_filter",
            format!("Flipt's `audit.events` leaves out {}.", listed(&left_out)),
            "FLIPT_AUDIT_EVENTS=\"*:*\"   # choose by `routes` instead: what Flipt leaves out nobody ever sees",
        )
    })
}

fn actors(facts: &Facts) -> Option<Finding> {
    match facts.authentication_required {
        Some(false) => Some(poorer(
            "flipt_nobody_signs_in",
            "Flipt requires no authentication: every event says that nobody in particular did it (`authentication: none`).",
            "FLIPT_AUTHENTICATION_REQUIRED=true",
        )),
        Some(true) if facts.config.as_ref()?.management_excluded => Some(poorer(
            "flipt_management_excluded",
            "Flipt requires no authentication for changes (`authentication.exclude.management`): events do not say who did it.",
            "FLIPT_AUTHENTICATION_EXCLUDE_MANAGEMENT=false",
        )),
        _ => None,
    }
}

fn delay(facts: &Facts) -> Option<Finding> {
    let period = facts.config.as_ref()?.flush_period.filter(|period| *period > DEFAULT_FLUSH_PERIOD)?;
    Some(poorer(
        "flipt_flush_period",
        format!(
            "An event may wait {} in Flipt before it is sent (`audit.buffer.flush_period`).",
            age(period)
        ),
        "FLIPT_AUDIT_BUFFER_FLUSH_PERIOD=2m",
    ))
}

/// A relay that may see only a part of a Flipt's changes, and tells what was before all the same.
fn part(relayed: &Relayed<'_>) -> Option<Finding> {
    let plan = relayed.plan;
    let sources = plan.sources.iter().filter(|(_, source)| source.instance == relayed.instance);
    let trusting: Vec<&str> =
        sources.filter(|(_, source)| source.single_writer).map(|(name, _)| name.as_str()).collect();
    let first = *trusting.first()?;
    let telling = plan.destinations.iter().filter(|(_, destination)| tells(destination));
    let telling: Vec<&str> = telling.map(|(name, _)| name.as_str()).collect();
    if telling.is_empty() {
        return None;
    }
    let hub = plan.destinations.iter().find(|(_, destination)| destination.type_word == HUB);
    let several_files = relayed.files.iter().any(|(name, file)| {
        let directory =
            |path: &String| path.rsplit_once('/').is_some_and(|(parent, _)| parent.contains(GLOB));
        trusting.contains(name) && file.paths.iter().any(directory)
    });
    let why = match hub {
        Some((hub, _)) => format!("it hands on to {hub}, and so may be one of several relays"),
        None if trusting.len() > 1 => format!("sources {} are each said to see all of it", listed(&trusting)),
        None if several_files => format!("source {first} reads the files of several replicas"),
        None => return None,
    };
    Some(poorer(
        "relay_tells_a_part",
        format!(
            "This relay may see only a part of what changes in Flipt `{}`, since {why}: what it tells of before and after (to {}) may be wrong.",
            relayed.instance,
            listed(&telling)
        ),
        format!(
            "sources: {{{first}: {{single_writer: false}}}}   # or let one hub, which sees all of it, tell"
        ),
    ))
}

/// The word for a destination that is another relay.
const HUB: &str = "relay";
const GLOB: [char; 3] = ['*', '?', '['];

/// Whether people, or their machines, are told there of before and after.
fn tells(destination: &DestinationPlan) -> bool {
    destination.type_word != HUB && !destination.discard
}
