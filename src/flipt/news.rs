//! What an event brings to the state of things, read from its payload.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::value::RawValue;

use super::change::deed;
use super::event::AuditEvent;
use super::payload::{MAX_LISTED, Payload, child_list, strings};
use super::tokens::{Escaping, compacted, copy, for_each_entry, for_each_item, key_name};
use crate::event::{Deed, EntityKind, News};

/// A state with its list of distributions or constraints is kept up to this size, in bytes. People write
/// states of some hundred bytes, and attachments of some thousand.
pub const MAX_STATE_BYTES: usize = 64 * 1024;

/// Reads it from an event of `kind` and its payload, which `fields` was read from.
pub(super) fn news(event: &AuditEvent<'_>, kind: EntityKind, fields: &Payload<'_>) -> Option<News> {
    let payload = event.payload.filter(|_| !event.is_denied())?;
    if !matches!(&*event.action, "created" | "updated" | "deleted") {
        return None;
    }
    let deed = deed(event, fields);
    let nothing = News { deed, kind, actor: actor_mark(event), state: None, nested: None, order: Vec::new() };
    if deed == Deed::Reordered {
        let ids = strings(fields.rule_ids.or(fields.rollout_ids), MAX_LISTED);
        return Some(News { order: ids.into_iter().map(|id| id.into_owned().into()).collect(), ..nothing });
    }
    if payload.get().len() > MAX_STATE_BYTES {
        return Some(nothing);
    }
    let list = child_list(kind).and_then(|(child, name)| {
        let list = if child == EntityKind::Distribution { fields.distributions } else { fields.constraints };
        list.map(|list| (name, list))
    });
    let state = list.map_or_else(|| compacted(payload.get()).into(), |(name, _)| without(payload, name));
    Some(News { state: Some(state), nested: list.map(|(_, list)| items(list)), ..nothing })
}

/// Stands for whoever did it. Where Flipt requires no login, the address is all there is to tell people apart.
pub(crate) fn actor_mark(event: &AuditEvent<'_>) -> u64 {
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
