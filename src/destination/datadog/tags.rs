//! Tags, as Datadog takes them (<https://docs.datadoghq.com/getting_started/tagging/>).

use super::gist::{Gist, record_word};
use crate::config::plan::DatadogPlan;
use crate::destination::telling::EventFacts;
use crate::destination::telling::{Nature, Row, Tone};
use crate::event::EntityKind;
use crate::flipt::ChangeKind;

/// Tags of one event, at most (API v2).
const MOST_TAGS: usize = 100;
/// Characters of one tag, at most.
const MAX_CHARACTERS: usize = 200;

/// Field names of one event that become tags, at most.
const MOST_FIELDS: usize = 40;

/// What the relay says itself: nobody else may.
pub const OWN: [&str; 17] = [
    "actor_kind",
    "change",
    "env",
    "flag",
    "flipt_status",
    "kind",
    "late",
    "live",
    "namespace",
    "record",
    "replay",
    "segment",
    "service",
    "source",
    "team",
    "test",
    "turned",
];

/// A tag as Datadog would store it: lower case, a letter first, every character but letters, digits and `_-:./`
/// an underscore, no colon at its end. `None` where nothing is left.
#[must_use]
pub fn normalised(written: &str) -> Option<String> {
    let lower = written.trim().chars().flat_map(char::to_lowercase);
    let safe = lower.map(|character| match character {
        '_' | '-' | ':' | '.' | '/' => character,
        other if other.is_alphanumeric() => other,
        _ => '_',
    });
    let from_letter = safe.skip_while(|character| !character.is_alphabetic());
    let tag: String = from_letter.take(MAX_CHARACTERS).collect();
    let tag = tag.trim_end_matches(':');
    (!tag.is_empty()).then(|| tag.to_owned())
}

/// The name of a service as Datadog knows it: its tag's value.
#[must_use]
pub fn service(written: &str) -> Option<String> {
    let value: String = tag("service", written)?.chars().skip("service:".len()).take(128).collect();
    (!value.trim_end_matches(':').is_empty()).then(|| value.trim_end_matches(':').to_owned())
}

/// `key:value`; `None` where no value is left.
pub(super) fn tag(key: &str, value: &str) -> Option<String> {
    let tag = normalised(&format!("{key}:{}", value.trim()))?;
    (tag.len() > key.len()).then_some(tag)
}

/// Collects tags, each once, as many as an event may have; the first ones win.
#[derive(Debug, Default)]
pub(super) struct Tags(Vec<String>);

impl Tags {
    pub(super) fn add(&mut self, key: &str, value: &str) {
        self.extend(tag(key, value));
    }

    /// Adds a tag as a person wrote it.
    pub(super) fn written(&mut self, tag: &str) {
        self.extend(normalised(tag));
    }

    fn extend(&mut self, tag: Option<String>) {
        if let Some(tag) = tag
            && self.0.len() < MOST_TAGS
            && !self.0.contains(&tag)
        {
            self.0.push(tag);
        }
    }

    pub(super) fn into_vec(self) -> Vec<String> {
        self.0
    }
}

/// What Flipt calls what happened, in tags: where it was, what changed, who is concerned.
pub(super) fn of(gist: &Gist<'_>, plan: &DatadogPlan, facts: &[EventFacts]) -> Vec<String> {
    let account = gist.account;
    let mut tags = Tags::default();
    if let Some(environment) = account.environment.as_deref() {
        tags.add("env", plan.env.get(environment).map_or(environment, String::as_str));
    }
    tags.add("source", "flipt");
    plan.tags.iter().for_each(|tag| tags.written(tag));
    if let Some(subject) = &account.subject {
        if let Some(namespace) = subject.namespace.known() {
            tags.add("namespace", namespace);
        }
        if let (EntityKind::Flag | EntityKind::Segment, Some(key)) = (subject.kind, &subject.key) {
            tags.add(subject.kind.as_str(), key);
        }
    }
    match account.nature {
        Nature::Change => changed(&mut tags, gist, facts),
        Nature::Denied => tags.add("flipt_status", "denied"),
        Nature::Record => {
            if let Some(first) = account.deliveries.first() {
                tags.add("record", record_word(first.record.kind));
            }
        }
    }
    if let Some(kind) = account.kind {
        tags.add("kind", kind.as_str());
    }
    if gist.is_late {
        tags.add("late", "true");
    }
    if gist.is_replay {
        tags.add("replay", "true");
    }
    concerned(&mut tags, gist);
    tags.into_vec()
}

/// Of an event that says that nothing was changed.
pub(super) fn of_test(gist: &Gist<'_>, plan: &DatadogPlan) -> Vec<String> {
    let mut tags = Tags::default();
    plan.env.values().take(1).for_each(|env| tags.add("env", env));
    tags.add("source", "flipt");
    plan.tags.iter().for_each(|tag| tags.written(tag));
    tags.add("test", "true");
    concerned(&mut tags, gist);
    tags.into_vec()
}

fn concerned(tags: &mut Tags, gist: &Gist<'_>) {
    if let Some(doer) = &gist.account.doer {
        tags.add("actor_kind", doer.kind.as_str());
    }
    gist.teams.iter().for_each(|team| tags.add("team", team));
    gist.services.iter().for_each(|service| tags.add("service", service));
}

/// What changed, and for whom. Monitors and overlays ask for `turned` and `live`: what is told once more has
/// neither.
fn changed(tags: &mut Tags, gist: &Gist<'_>, facts: &[EventFacts]) {
    what(tags, facts);
    if gist.is_replay {
        return;
    }
    let story = &gist.account.story;
    let (is_on, is_off) = turned(story.headline.tone, &story.rows, facts);
    if is_on {
        tags.add("turned", "on");
    }
    if is_off {
        tags.add("turned", "off");
    }
    if let Some(live) = gist.account.live {
        tags.add("live", if live { "true" } else { "false" });
    }
}

/// Whether the switch of the flag went on, and off: both, where it was moved more than once. One that is off while
/// the same story has a rollout that gives true is not turned off.
fn turned(tone: Tone, rows: &[Row], facts: &[EventFacts]) -> (bool, bool) {
    let is_switch = |fact: &&EventFacts| {
        let has_moved = |fields: &Vec<String>| fields.iter().any(|field| field == "enabled");
        let is_own = fact.entity() == Some(EntityKind::Flag) && fact.is_updated();
        is_own && fact.changed.as_ref().is_some_and(has_moved)
    };
    if facts.iter().filter(is_switch).count() > 1 {
        return (true, true);
    }
    (tone == Tone::On, tone == Tone::Off && !rows.iter().any(gives_true))
}

/// `50 % of everyone gets true`, `segments beta and staff get true`.
fn gives_true(row: &Row) -> bool {
    row.label.starts_with("Rollout")
        && row.new.as_deref().is_some_and(|new| {
            (new.ends_with(" gets true") || new.ends_with(" get true")) && !new.starts_with("0 % ")
        })
}

/// `change:created` and `change:deleted` of what has a page of its own; the type of a part where more than a text
/// of it may have changed; the fields of an update, as routes know them.
fn what(tags: &mut Tags, facts: &[EventFacts]) {
    for fact in facts {
        let entity = fact.entity();
        if fact.kind != Some(ChangeKind::Text) && entity.is_some_and(is_part) {
            tags.add("change", &fact.noun);
        }
        match &*fact.action {
            "created" | "deleted" if entity.is_some_and(|kind| !is_part(kind)) => {
                tags.add("change", &fact.action);
            }
            "created" | "deleted" => {}
            _ if fact.changed.is_none() => tags.add("change", "unknown"),
            _ => {}
        }
    }
    let updates = facts.iter().filter(|fact| !matches!(&*fact.action, "created" | "deleted"));
    let fields = updates.flat_map(|fact| fact.changed.iter().flatten());
    // What authentications keep is named for machines.
    let fields = fields.filter(|field| !field.starts_with("io.flipt."));
    fields.take(MOST_FIELDS).for_each(|field| tags.add("change", field));
}

/// Whether it belongs to a flag or segment: then its type says what changed of that.
const fn is_part(kind: EntityKind) -> bool {
    !matches!(kind, EntityKind::Flag | EntityKind::Segment | EntityKind::Namespace | EntityKind::Token)
}
