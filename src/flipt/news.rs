//! What an event brings to the state of things, read from its payload.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::value::RawValue;

use super::event::AuditEvent;
use super::payload::{MAX_LISTED, Payload, strings};
use super::tokens::{Escaping, compacted, copy, for_each_entry, for_each_item, key_name};
use crate::event::{Deed, EntityKind, News};

/// A state with its list of distributions or constraints is kept up to this size, in bytes. People write
/// states of some hundred bytes, and attachments of some thousand.
pub const MAX_STATE_BYTES: usize = 64 * 1024;

/// Reads it from an event of `kind` and its payload, which `fields` was read from.
pub(super) fn news(event: &AuditEvent<'_>, kind: EntityKind, fields: &Payload<'_>) -> Option<News> {
    let payload = event.payload.filter(|_| !event.is_denied())?;
    let deed = match &*event.action {
        "created" => Deed::Created,
        "updated" if fields.is_order() => Deed::Reordered,
        "updated" => Deed::Updated,
        "deleted" => Deed::Deleted,
        _ => return None,
    };
    let nothing = News { deed, kind, actor: actor(event), state: None, nested: None, order: Vec::new() };
    if deed == Deed::Reordered {
        let ids = strings(fields.rule_ids.or(fields.rollout_ids), MAX_LISTED);
        return Some(News { order: ids.into_iter().map(|id| id.into_owned().into()).collect(), ..nothing });
    }
    if payload.get().len() > MAX_STATE_BYTES {
        return Some(nothing);
    }
    let (name, list) = match kind {
        EntityKind::Rule => ("distributions", fields.distributions),
        EntityKind::Segment => ("constraints", fields.constraints),
        _ => ("", None),
    };
    let state = if list.is_some() { without(payload, name) } else { compacted(payload.get()).into() };
    Some(News { state: Some(state), nested: list.map(items), ..nothing })
}

/// Stands for whoever did it. Where Flipt requires no login, the address is all there is to tell people apart.
fn actor(event: &AuditEvent<'_>) -> u64 {
    let actor = event.actor();
    let mut hasher = DefaultHasher::new();
    (&actor.authentication, &actor.email, &actor.name).hash(&mut hasher);
    if actor.email.is_none() && actor.name.is_none() {
        actor.ip.hash(&mut hasher);
    }
    hasher.finish()
}

/// An object without its entries of one name.
fn without(json: &RawValue, name: &str) -> Box<str> {
    let mut bytes = vec![b'{'];
    let _ = for_each_entry(json.get(), |key, value| {
        if key_name(key) != name {
            if bytes.len() > 1 {
                bytes.push(b',');
            }
            bytes.extend_from_slice(key.get().as_bytes());
            bytes.push(b':');
            copy(value.get(), Escaping::Verbatim, &mut bytes);
        }
    });
    bytes.push(b'}');
    String::from_utf8(bytes).unwrap_or_default().into()
}

fn items(list: &RawValue) -> Vec<(Box<str>, Box<str>)> {
    let mut found = Vec::new();
    let _ = for_each_item(list.get(), |item| {
        if let Some(id) = Payload::read(item).id {
            found.push((id.into_owned().into(), compacted(item.get()).into()));
        }
    });
    found
}
