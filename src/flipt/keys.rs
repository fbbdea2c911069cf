//! What an event is about, and what it must stay in order with.
//!
//! Which payload carries what: `internal/server/audit/types.go` and the requests in `rpc/flipt` of Flipt.

use std::borrow::Cow;

use super::event::AuditEvent;
use super::news::news;
use super::payload::{MAX_LISTED, Payload, nested_ids, strings};
use crate::event::{Entity, EntityKind, Keys, Namespace, News, OrderKey, OrderRef, Teaching};

/// Tells where `event` of the Flipt called `instance` belongs, as far as it says so itself.
#[must_use]
pub fn keys(event: &AuditEvent<'_>, instance: &str) -> Keys {
    keys_and_news(event, instance).0
}

/// The same, and what the event brings to the state of things.
#[must_use]
pub fn keys_and_news(event: &AuditEvent<'_>, instance: &str) -> (Keys, Option<News>) {
    let Some(kind) = EntityKind::parse(&event.noun) else {
        return (Keys::barrier(Namespace::Unknown), None);
    };
    let Some(payload) = event.payload.filter(|_| !event.is_denied()) else {
        return (Keys::barrier(Namespace::Unknown), None);
    };
    let payload = Payload::read(payload);
    let news = news(event, kind, &payload);
    (keys_of(kind, instance, payload), news)
}

fn keys_of(kind: EntityKind, instance: &str, payload: Payload<'_>) -> Keys {
    match kind {
        EntityKind::Namespace => of_namespace(instance, payload),
        EntityKind::Token => of_token(instance, payload),
        EntityKind::Flag | EntityKind::Segment => of_parent(kind, instance, payload),
        EntityKind::Rule | EntityKind::Rollout | EntityKind::Variant => {
            let flag_key = payload.flag_key.clone();
            of_child(kind, EntityKind::Flag, flag_key, instance, payload)
        }
        EntityKind::Constraint => {
            let segment_key = payload.segment_key.clone();
            of_child(kind, EntityKind::Segment, segment_key, instance, payload)
        }
        EntityKind::Distribution => of_distribution(instance, payload),
    }
}

fn entity(kind: EntityKind, id: Option<Cow<'_, str>>) -> Option<Entity> {
    id.map(|id| Entity { kind, id: id.into_owned() })
}

/// A missing key means `default` for the types whose payload has it by contract: Flipt's older paths leave
/// it out of deletions.
fn namespace_or_default(payload: &mut Payload<'_>) -> String {
    payload.namespace_key.take().map_or_else(|| "default".to_owned(), Cow::into_owned)
}

fn namespace_or_unknown(payload: &mut Payload<'_>) -> Namespace {
    payload.namespace_key.take().map_or(Namespace::Unknown, |key| Namespace::Known(key.into_owned()))
}

fn of_namespace(instance: &str, payload: Payload<'_>) -> Keys {
    let Some(key) = payload.key else { return Keys::barrier(Namespace::Unknown) };
    Keys {
        order: OrderRef::Known(OrderKey::new(instance, &key, EntityKind::Namespace, &key)),
        namespace: Namespace::Known(key.clone().into_owned()),
        entity: entity(EntityKind::Namespace, Some(key)),
        teaches: Vec::new(),
    }
}

fn of_token(instance: &str, payload: Payload<'_>) -> Keys {
    let Some(name) = payload.token_name else { return Keys::barrier(Namespace::None) };
    Keys {
        namespace: Namespace::None,
        order: OrderRef::Known(OrderKey::new(instance, "", EntityKind::Token, &name)),
        entity: entity(EntityKind::Token, Some(name)),
        teaches: Vec::new(),
    }
}

fn of_parent(kind: EntityKind, instance: &str, mut payload: Payload<'_>) -> Keys {
    let namespace = namespace_or_default(&mut payload);
    let Some(key) = payload.key else { return Keys::barrier(Namespace::Known(namespace)) };
    let order_key = OrderKey::new(instance, &namespace, kind, &key);
    let constraints = nested_ids(payload.constraints, MAX_LISTED);
    Keys {
        teaches: teach(EntityKind::Constraint, constraints, &namespace, &order_key),
        entity: entity(kind, Some(key)),
        namespace: Namespace::Known(namespace),
        order: OrderRef::Known(order_key),
    }
}

/// What belongs to the flag or segment called `parent_key`.
fn of_child(
    kind: EntityKind,
    parent: EntityKind,
    parent_key: Option<Cow<'_, str>>,
    instance: &str,
    mut payload: Payload<'_>,
) -> Keys {
    let mut named = Vec::new();
    match kind {
        EntityKind::Rule if payload.is_order() => named = strings(payload.rule_ids, MAX_LISTED),
        EntityKind::Rollout if payload.is_order() => named = strings(payload.rollout_ids, MAX_LISTED),
        _ => named.extend(payload.id.clone()),
    }
    let Some(parent_key) = parent_key else {
        return through(named.into_iter().filter_map(|id| entity(kind, Some(id))), kind, payload);
    };
    let namespace = namespace_or_default(&mut payload);
    let order_key = OrderKey::new(instance, &namespace, parent, &parent_key);
    let mut teaches = teach(kind, named, &namespace, &order_key);
    if kind == EntityKind::Rule {
        let distributions = nested_ids(payload.distributions, MAX_LISTED);
        teaches.extend(teach(EntityKind::Distribution, distributions, &namespace, &order_key));
    }
    Keys {
        namespace: Namespace::Known(namespace),
        entity: entity(kind, payload.id),
        order: OrderRef::Known(order_key),
        teaches,
    }
}

/// Only a deletion names the flag; a creation or update is found through what it connects.
fn of_distribution(instance: &str, payload: Payload<'_>) -> Keys {
    if payload.flag_key.is_some() {
        let flag_key = payload.flag_key.clone();
        return of_child(EntityKind::Distribution, EntityKind::Flag, flag_key, instance, payload);
    }
    let connected = [
        entity(EntityKind::Rule, payload.rule_id.clone()),
        entity(EntityKind::Variant, payload.variant_id.clone()),
        entity(EntityKind::Distribution, payload.id.clone()),
    ];
    through(connected.into_iter().flatten(), EntityKind::Distribution, payload)
}

fn through(connected: impl Iterator<Item = Entity>, kind: EntityKind, mut payload: Payload<'_>) -> Keys {
    let connected: Vec<_> = connected.collect();
    Keys {
        namespace: namespace_or_unknown(&mut payload),
        entity: entity(kind, payload.id),
        order: if connected.is_empty() { OrderRef::Barrier } else { OrderRef::Through(connected) },
        teaches: Vec::new(),
    }
}

fn teach(kind: EntityKind, ids: Vec<Cow<'_, str>>, namespace: &str, order_key: &OrderKey) -> Vec<Teaching> {
    let lesson = |id: Cow<'_, str>| Teaching {
        entity: Entity { kind, id: id.into_owned() },
        namespace: namespace.to_owned(),
        order_key: order_key.clone(),
    };
    ids.into_iter().map(lesson).collect()
}
