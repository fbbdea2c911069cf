//! What an event brings to the state of things, and what was known around it when it was accepted.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{EntityKind, Sequence, Timestamp};

/// What was done to an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Deed {
    Created,
    Updated,
    Deleted,
    /// Flipt emits the new order of a flag's rules or rollouts as `updated`, with the ids alone.
    Reordered,
}

/// What an event of Flipt brings to the state of things. Denied attempts, and what cannot be told, bring none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    /// What was done.
    pub deed: Deed,
    /// To what kind of thing; of a new order: rules or rollouts.
    pub kind: EntityKind,
    /// Stands for whoever did it: equal for the same actor, as far as events tell.
    pub actor: u64,
    /// The payload as compact JSON, without its list of distributions or constraints. `None` for a new order,
    /// and for what is too large to keep.
    pub state: Option<Box<str>>,
    /// That list, where the payload has one: ids, and items as compact JSON.
    pub nested: Option<Vec<(Box<str>, Box<str>)>>,
    /// Ids in their new order.
    pub order: Vec<Box<str>>,
}

/// Where a former state is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SeenBy {
    /// An event that the relay accepted.
    Event,
    /// Flipt's API, when the relay started.
    Import,
    /// The event itself: Flipt 1.59 and later tell what was deleted.
    Flipt,
}

/// When, and how, a former state was last seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The time of the event that told it (or of the import).
    pub at: Timestamp,
    /// Its record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<Sequence>,
    /// How.
    pub by: SeenBy,
}

/// Why there is no before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Without {
    /// It was created: there was nothing.
    Created,
    /// The relay sees it for the first time.
    FirstSeen,
    /// It was deleted as far as the relay saw, so how it came back was missed.
    Deleted,
    /// Something newer was seen already: what was before this is not known any more.
    Late,
    /// Others write too, unseen by this relay (`single_writer: false`).
    SharedWriters,
    /// The event is older than what was imported.
    OlderThanImport,
    /// The former state was too large to keep.
    TooLarge,
    /// What the journal kept of it is damaged.
    Damaged,
    /// It was accepted while no states were kept (`journal.changes: false`, or an older release), or the event does
    /// not say what it is about.
    NotKept,
}

/// That an event is older than the state it met.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Late {
    /// The time of that state.
    pub newest: Timestamp,
    /// The entity as it is now; `None` where that is not known, or not told, or where it is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<Box<RawValue>>,
    /// Whether it is known to be deleted by now.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_deleted: bool,
}

/// One rule or rollout in a new order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Its id.
    pub id: String,
    /// Its former place, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<u32>,
    /// Its state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<Box<RawText>>,
}

/// JSON text that compares by its bytes.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RawText(pub Box<RawValue>);

impl PartialEq for RawText {
    fn eq(&self, other: &Self) -> bool {
        self.0.get() == other.0.get()
    }
}

impl Eq for RawText {}

/// Several things, of which only the first are named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Several<T> {
    /// How many there are.
    pub count: u32,
    /// The first of them.
    pub first: Vec<T>,
}

/// Something that went with what it belonged to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closed {
    /// Its type, as Flipt spells it.
    #[serde(rename = "type")]
    pub kind: String,
    /// What people call it, where it has a name (never an id).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// The rule that a distribution belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleLabel {
    /// Its place among the rules of its flag, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rank: Option<u32>,
    /// Its segments, as Flipt writes them: `beta`, or `beta,staff`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment_key: Option<String>,
    /// How several are meant, as Flipt writes it: `AND_SEGMENT_OPERATOR`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment_operator: Option<String>,
}

/// What the relay knew around an event in the moment of its acceptance. It is kept with the record, so that
/// the event is told alike for ever, whatever becomes known later.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Known {
    /// The entity as it was: the payload of its last event, lists of children included. Of a new order: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Box<RawValue>>,
    /// When that was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<Seen>,
    /// Why there is no before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub without: Option<Without>,
    /// That it is late.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late: Option<Late>,
    /// Whether the flag is on before or after (or decides by rollouts), or the segment is used by such a flag;
    /// `None`: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<bool>,
    /// The display name of the flag or segment that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner_name: Option<String>,
    /// Keys of the variants that the event, or its before, names by id.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variants: BTreeMap<String, String>,
    /// The rule of a distribution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<RuleLabel>,
    /// Of a new order: every rule or rollout in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub order: Vec<Place>,
    /// What a deletion took along.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<Several<Closed>>,
    /// Of a segment or constraint: the keys of the flags that use the segment, as far as is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_by: Option<Several<String>>,
    /// Fields that changed, and whose change is not to be seen where this goes: they are left out on both sides.
    /// Never kept; a destination that does not see everything gets it with its copy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub withheld: Vec<String>,
}

impl Known {
    /// Nothing, and why.
    #[must_use]
    pub fn nothing(without: Without) -> Self {
        Self { without: Some(without), ..Self::default() }
    }

    /// Reads what the journal kept.
    #[must_use]
    pub fn read(kept: Option<&str>) -> Self {
        match kept.map(serde_json::from_str) {
            Some(Ok(known)) => known,
            Some(Err(_)) => Self::nothing(Without::Damaged),
            None => Self::nothing(Without::NotKept),
        }
    }

    /// Reads [`Known::live`] alone from what the journal kept, and passes over the rest.
    #[must_use]
    pub fn read_live(kept: Option<&str>) -> Option<bool> {
        #[derive(Deserialize)]
        struct Live {
            #[serde(default)]
            live: Option<bool>,
        }
        kept.and_then(|kept| serde_json::from_str::<Live>(kept).ok())?.live
    }
}

/// A state that Flipt's API told, for an entity that no event was seen of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The kind of thing.
    pub kind: EntityKind,
    /// Its id where the kind has one, else its key.
    pub id: String,
    /// The flag or segment that it belongs to (or that it is): kind and key; a namespace belongs to itself.
    pub owner: (EntityKind, String),
    /// The state, as compact JSON in the shape of an event's payload of this kind, without `distributions` or
    /// `constraints`: those are entities of their own.
    pub state: Box<str>,
}
