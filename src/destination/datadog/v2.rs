//! Events API v2 (<https://docs.datadoghq.com/api/latest/events/#post-an-event>): category `change`, which Change
//! Tracking shows on services; what tells of no change is an `alert`.

use serde_json::{Map, Value, json};

use super::cut::{cut, fitted, name, quiet};
use super::gist::{Edit, Gist, Told, received_at};
use super::texts::{MAX_LINE, MAX_LINKS, aggregation_key, head, shown, sides};
use super::time::iso;
use crate::destination::links::Link;
use crate::destination::telling::{Account, Nature};
use crate::event::{EntityKind, RecordKind};
use crate::flipt::ActorKind;

/// Characters of a message, at most.
const MAX_MESSAGE: usize = 4_000;
/// Characters of the name of a resource, a service or an author.
const MAX_NAME: usize = 128;
/// Links of an alert, at most.
const MOST_LINKS: usize = 20;
/// Types, fields and flags that are listed; ids are, all of them.
const MOST_LISTED: usize = 50;

/// The body of a request.
pub(super) fn body(gist: &Gist<'_>) -> Value {
    let mut event = json!({
        "integration_id": "custom-events",
        "title": gist.title,
        "message": message(gist),
        "aggregation_key": aggregation_key(gist.account, &gist.types),
    });
    if let Some(at) = gist.when.told() {
        event["timestamp"] = iso(at).into();
    }
    if !gist.tags.is_empty() {
        event["tags"] = json!(gist.tags);
    }
    let (category, attributes) = match gist.account.nature {
        Nature::Change => ("change", change(gist)),
        Nature::Denied | Nature::Record => ("alert", alert(gist)),
    };
    event["category"] = category.into();
    event["attributes"] = attributes;
    json!({"data": {"type": "event", "attributes": event}})
}

fn change(gist: &Gist<'_>) -> Value {
    let (kind, resource) = resource(gist.account, &gist.types);
    let mut attributes = json!({
        "changed_resource": {"type": kind, "name": resource},
        "change_metadata": metadata(gist),
    });
    if let Some(author) = author(gist.account) {
        attributes["author"] = author;
    }
    let (before, after) = &gist.values;
    for (side, values) in [("prev_value", before), ("new_value", after)] {
        if !values.is_empty() {
            attributes[side] = values.clone().into();
        }
    }
    if !gist.services.is_empty() {
        let service = |service: &String| json!({"type": "service", "name": service});
        attributes["impacted_resources"] = gist.services.iter().map(service).collect();
    }
    attributes
}

fn alert(gist: &Gist<'_>) -> Value {
    let is_gap = gist.account.deliveries.iter().any(|delivery| delivery.record.kind == RecordKind::Gap);
    let (status, priority) = if is_gap { ("error", "3") } else { ("warn", "4") };
    let mut attributes = json!({"status": status, "priority": priority, "custom": metadata(gist)});
    let links = gist.links.iter().take(MOST_LINKS).map(alert_link);
    let links: Vec<Value> = links.collect();
    if !links.is_empty() {
        attributes["links"] = links.into();
    }
    attributes
}

fn alert_link(link: &Link) -> Value {
    let title = link.title.to_lowercase();
    let kinds = [("runbook", "runbook"), ("dashboard", "dashboard"), ("doc", "documentation")];
    let category = kinds.iter().find(|(word, _)| title.contains(word)).map_or("resource", |(_, kind)| kind);
    json!({"category": category, "url": link.url, "title": link.title})
}

/// What was changed: a flag by its bare key, or whatever else Flipt keeps.
fn resource(account: &Account<'_>, types: &[String]) -> (&'static str, String) {
    let named = account.subject.as_ref().and_then(|subject| {
        let key = name(subject.key.as_deref()?, MAX_NAME)?;
        Some((subject.kind, key))
    });
    match named {
        Some((EntityKind::Flag, key)) => ("feature_flag", key),
        Some((_, key)) => ("configuration", key),
        None => {
            let kind = types.first().and_then(|kind| name(kind, MAX_NAME));
            ("configuration", kind.unwrap_or_else(|| "flipt".to_owned()))
        }
    }
}

fn author(account: &Account<'_>) -> Option<Value> {
    let doer = account.doer.as_ref()?;
    let kind = match doer.kind {
        ActorKind::Person => "user",
        ActorKind::Token => "api",
        ActorKind::Automation => "automation",
        ActorKind::Unknown => "system",
    };
    let called = doer.email.as_ref().or(doer.name.as_ref()).unwrap_or(&doer.said);
    Some(json!({"type": kind, "name": name(called, MAX_NAME)?}))
}

/// What else is known: for queries, and for whoever looks up the event in the audit trail.
fn metadata(gist: &Gist<'_>) -> Value {
    let account = gist.account;
    let ids: Vec<String> = account.deliveries.iter().map(|delivery| delivery.record.id.to_string()).collect();
    let listed = |all: &[String]| all.iter().take(MOST_LISTED).map(|one| name(one, MAX_NAME)).collect();
    let mut flipt = Map::new();
    let mut set = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            flipt.insert(key.to_owned(), value);
        }
    };
    let texts = |all: &[String]| {
        let all: Vec<Option<String>> = listed(all);
        let all: Vec<String> = all.into_iter().flatten().collect();
        (!all.is_empty()).then(|| json!(all))
    };
    set("event_ids", Some(json!(ids)));
    set("events", Some(ids.len().into()));
    set("types", texts(&gist.types));
    set("actions", texts(&gist.actions));
    set("changed", texts(&account.changed));
    set("change_set", account.change_set.map(Value::from));
    set("environment", account.environment.as_deref().and_then(|it| name(it, MAX_NAME)).map(Value::from));
    set("happened_at", Some(iso(account.effect_at).into()));
    set("last_at", (account.last_at != account.first_at).then(|| iso(account.last_at).into()));
    set("received_at", Some(iso(received_at(account)).into()));
    set("replay", gist.is_replay.then(|| true.into()));
    set("late", gist.is_late.then(|| true.into()));
    set("live", account.live.map(Value::from));
    set("kind", account.kind.map(|kind| kind.as_str().into()));
    set("actor_kind", account.doer.as_ref().map(|doer| doer.kind.as_str().into()));
    if let Some(first) = account.deliveries.first() {
        set("instance", Some((&*first.record.instance).into()));
        set("source", Some((&*first.record.source).into()));
    }
    if let Some(subject) = &account.subject {
        let key = subject.key.as_deref().and_then(|key| name(key, MAX_NAME));
        set("namespace", subject.namespace.known().and_then(|it| name(it, MAX_NAME)).map(Value::from));
        set(subject.kind.as_str(), key.map(Value::from));
        set("name", subject.name.as_deref().map(Value::from));
    }
    set("used_by", texts(account.flags_of_segment()));
    set("teams", texts(&gist.teams.iter().map(|team| (*team).to_owned()).collect::<Vec<_>>()));
    let mut metadata = json!({"flipt": flipt});
    if let Some(doer) = &account.doer {
        let mut dd = Map::new();
        doer.email.iter().for_each(|email| _ = dd.insert("user_email".to_owned(), email.as_str().into()));
        doer.name.iter().for_each(|name| _ = dd.insert("user_name".to_owned(), name.as_str().into()));
        gist.teams.first().into_iter().for_each(|team| _ = dd.insert("team".to_owned(), (*team).into()));
        if !dd.is_empty() {
            metadata["dd"] = dd.into();
        }
    }
    if let Some(link) = &gist.flipt {
        metadata["resource_link"] = link.url.clone().into();
    }
    metadata
}

/// Who, then each edit with its time, then where to see more.
fn message(gist: &Gist<'_>) -> String {
    let head = head(gist).map(|head| cut(&quiet(&head), MAX_LINE).into_owned());
    let mut tail: Vec<String> =
        gist.notes.iter().map(|note| cut(&quiet(note), MAX_LINE).into_owned()).collect();
    let mut left = MAX_LINKS;
    for link in &gist.links {
        let line = format!("{}: {}", quiet(&link.title), shown(&link.url));
        if let Some(rest) = left.checked_sub(line.chars().count() + 1) {
            left = rest;
            tail.push(line);
        }
    }
    let around: usize = head.iter().chain(&tail).map(|line| line.chars().count() + 1).sum();
    let edits: Vec<String> = gist.edits.iter().map(line).collect();
    let edits = fitted(&edits, MAX_MESSAGE - around, |count| format!("… and {count} more"));
    head.into_iter().chain(edits).chain(tail).collect::<Vec<_>>().join("\n")
}

/// `14:14:02Z Enabled: off → on`.
fn line(edit: &Edit) -> String {
    let told = match &edit.told {
        Told::Sentence(sentence) => sentence.clone(),
        Told::Row(row) => match (&row.label, sides(edit, row)) {
            (label, (Some(old), Some(new))) => format!("{label}: {old} → {new}"),
            (label, (Some(old), None)) => format!("{label}: was {old}"),
            (label, (None, Some(new))) => format!("{label}: {new}"),
            (label, (None, None)) => label.clone(),
        },
    };
    cut(&quiet(&format!("{} {told}", edit.at)), MAX_LINE).into_owned()
}
