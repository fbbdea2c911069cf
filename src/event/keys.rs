//! What an event is about, and what it must stay in order with.

use std::fmt;

/// The kinds of thing that Flipt's events are about, as the `type` of an event spells them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum EntityKind {
    Constraint,
    Distribution,
    Flag,
    Namespace,
    Rollout,
    Rule,
    Segment,
    Token,
    Variant,
}

impl EntityKind {
    /// All of them, in alphabetical order.
    pub const ALL: [Self; 9] = [
        Self::Constraint,
        Self::Distribution,
        Self::Flag,
        Self::Namespace,
        Self::Rollout,
        Self::Rule,
        Self::Segment,
        Self::Token,
        Self::Variant,
    ];

    /// As Flipt writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Constraint => "constraint",
            Self::Distribution => "distribution",
            Self::Flag => "flag",
            Self::Namespace => "namespace",
            Self::Rollout => "rollout",
            Self::Rule => "rule",
            Self::Segment => "segment",
            Self::Token => "token",
            Self::Variant => "variant",
        }
    }

    /// Reads what Flipt writes; `None` for a type that no known Flipt emits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// The Flipt namespace that an event belongs to, as far as the event tells.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Namespace {
    /// Its key.
    Known(String),
    /// There is one, but the event does not say which (denied attempts; distributions of unseen rules).
    Unknown,
    /// There is none (tokens; records that are no event).
    None,
}

impl Namespace {
    /// The key, where it is known.
    #[must_use]
    pub fn known(&self) -> Option<&str> {
        match self {
            Self::Known(key) => Some(key),
            Self::Unknown | Self::None => None,
        }
    }
}

/// What one event is about: the unit of state.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entity {
    /// The kind of thing.
    pub kind: EntityKind,
    /// Its id where the kind has one (rule, rollout, variant, constraint, distribution), else its key.
    pub id: String,
}

/// What must stay in order: an instance of Flipt, a namespace, and the flag, segment, namespace or token
/// that an entity belongs to. Fixed at acceptance.
///
/// Written as `instance/namespace/kind/key`, where `%` and `/` inside a part are percent-encoded.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderKey(String);

impl OrderKey {
    /// Builds the key from its parts. `namespace` is empty for tokens.
    #[must_use]
    pub fn new(instance: &str, namespace: &str, kind: EntityKind, key: &str) -> Self {
        let mut text = String::with_capacity(instance.len() + namespace.len() + key.len() + 16);
        for part in [instance, namespace, kind.as_str(), key] {
            if !text.is_empty() {
                text.push('/');
            }
            for character in part.chars() {
                match character {
                    '%' => text.push_str("%25"),
                    '/' => text.push_str("%2F"),
                    other => text.push(other),
                }
            }
        }
        Self(text)
    }

    /// From what the journal stored.
    #[must_use]
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// As the journal stores it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The order key of another thing in the same namespace.
    #[must_use]
    pub fn sibling(&self, kind: EntityKind, key: &str) -> Self {
        let key = key.replace('%', "%25").replace('/', "%2F");
        Self(format!("{}{}/{key}", self.namespace_prefix(), kind.as_str()))
    }

    /// What the order keys of its namespace begin with: `instance/namespace/`.
    #[must_use]
    pub fn namespace_prefix(&self) -> String {
        let mut parts = self.0.splitn(3, '/');
        format!("{}/{}/", parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
    }

    /// The namespace; `None` where there is none.
    #[must_use]
    pub fn namespace(&self) -> Option<String> {
        let namespace = self.0.split('/').nth(1)?;
        (!namespace.is_empty()).then(|| unescaped(namespace))
    }

    /// The flag, segment, namespace or token that it names: kind and key.
    #[must_use]
    pub fn owner(&self) -> Option<(EntityKind, String)> {
        let mut parts = self.0.rsplit('/');
        let key = unescaped(parts.next()?);
        Some((EntityKind::parse(parts.next()?)?, key))
    }
}

fn unescaped(part: &str) -> String {
    part.replace("%2F", "/").replace("%25", "%")
}

impl fmt::Display for OrderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How the order key of a new record is found; the journal does it inside the accepting transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderRef {
    /// The event says it itself.
    Known(OrderKey),
    /// The event names only ids: the first of these entities that an earlier event taught decides (and
    /// gives the namespace too); if none is known the record is a barrier.
    Through(Vec<Entity>),
    /// It cannot be told (denied attempts, records that are no event): a barrier for its source. Nothing
    /// of that source may overtake it, and it overtakes nothing.
    Barrier,
}

/// What an event says about other entities: that `entity` belongs to what `order_key` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Teaching {
    /// A rule, rollout, variant, constraint or distribution.
    pub entity: Entity,
    /// The namespace of its flag or segment.
    pub namespace: String,
    /// The order key of its flag or segment.
    pub order_key: OrderKey,
}

/// All that acceptance needs to know about where a record belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    /// The namespace as the event itself tells it.
    pub namespace: Namespace,
    /// What it is about, where it says so.
    pub entity: Option<Entity>,
    /// How its order key is found.
    pub order: OrderRef,
    /// What later events may be resolved by.
    pub teaches: Vec<Teaching>,
}

impl Keys {
    /// For a record that belongs to nothing in particular.
    #[must_use]
    pub const fn barrier(namespace: Namespace) -> Self {
        Self { namespace, entity: None, order: OrderRef::Barrier, teaches: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_key_names_its_owner() {
        for key in ["checkout", "a/b", "100%", "%2F", ""] {
            let order_key = OrderKey::new("flipt", "n/1", EntityKind::Flag, key);
            assert_eq!(order_key.owner(), Some((EntityKind::Flag, key.to_owned())), "{order_key}");
        }
        assert_eq!(OrderKey::from_stored("odd".into()).owner(), None);
    }
}
