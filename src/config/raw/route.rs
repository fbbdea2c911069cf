//! Which records go where.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::common::Many;
use crate::config::scalars::{EventWords, Name, Wildcard};

/// A route: every one that matches delivers, each record once per destination.
#[derive(Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields, inline, extend("required" = ["to"]))]
pub(in crate::config) struct Route {
    /// What it takes: keys hold together, the items of a list are alternatives. Without it every event.
    pub(in crate::config) when: Option<When>,
    /// What it leaves nevertheless.
    pub(in crate::config) unless: Option<When>,
    /// The destinations.
    pub(in crate::config) to: Many<Name>,
}

/// Conditions.
#[derive(Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct When {
    /// Flipt's `noun:verb`, either of which may be `*`.
    pub(in crate::config) events: Many<EventWords>,
    /// Types, such as `flag`; `*` stands for any run of characters, here and below.
    pub(in crate::config) types: Many<Wildcard>,
    /// `created`, `updated`, `deleted`.
    pub(in crate::config) actions: Many<Wildcard>,
    /// `success`, `denied`.
    pub(in crate::config) statuses: Many<Wildcard>,
    /// Keys of namespaces; `unknown` is one that the event does not tell (every denied attempt).
    pub(in crate::config) namespaces: Many<Wildcard>,
    /// Environments; `unknown` is one that is not known.
    pub(in crate::config) environments: Many<Wildcard>,
    /// Names of sources.
    pub(in crate::config) sources: Many<Wildcard>,
    /// Kinds of record; without it events alone.
    pub(in crate::config) record: Many<RecordWord>,
    /// Keys of flags and segments.
    #[schemars(extend("x-later" = true))]
    pub(in crate::config) keys: Many<Wildcard>,
    /// Teams that own what changed.
    #[schemars(extend("x-later" = true))]
    pub(in crate::config) teams: Many<Wildcard>,
    /// People, by e-mail address or name.
    #[schemars(extend("x-later" = true))]
    pub(in crate::config) actors: Many<Wildcard>,
    /// What acted: a person or a machine.
    #[schemars(extend("x-later" = true))]
    pub(in crate::config) actor_kind: Many<ActorWord>,
    /// Fields that changed, such as `enabled`.
    #[schemars(extend("x-later" = true))]
    pub(in crate::config) changed: Many<Wildcard>,
    /// Whether the change has an effect on what users get.
    #[schemars(extend("x-later" = true))]
    pub(in crate::config) live: Option<bool>,
    /// Kinds of change, such as `rollout`.
    #[schemars(extend("x-later" = true))]
    pub(in crate::config) kind: Many<Wildcard>,
    /// Whether a condition on what is not known counts as holding.
    pub(in crate::config) unknown: UnknownWord,
}

/// Who owns what.
#[derive(Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields, inline, extend("required" = ["team"]))]
pub(in crate::config) struct Owner {
    /// Keys of flags.
    pub(in crate::config) flags: Many<Wildcard>,
    /// Keys of segments.
    pub(in crate::config) segments: Many<Wildcard>,
    /// Keys of namespaces.
    pub(in crate::config) namespaces: Many<Wildcard>,
    /// The team.
    pub(in crate::config) team: Wildcard,
    /// Its Slack channel.
    pub(in crate::config) slack: Option<String>,
    /// Its services.
    pub(in crate::config) services: Many<Wildcard>,
}

/// A sample and where it must go.
#[derive(Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields, inline, extend("required" = ["event"]))]
pub(in crate::config) struct Test {
    /// What it shows.
    pub(in crate::config) name: Option<String>,
    /// The sample: an event of Flipt, or the parts of it that matter.
    pub(in crate::config) event: BTreeMap<String, serde_json::Value>,
    /// The source that it comes from.
    pub(in crate::config) source: Option<Name>,
    /// The destinations that get it; none where it is left out.
    pub(in crate::config) to: Many<Name>,
}

super::words! {
    RecordWord { Event, Unparsed, Oversized, Gap, Act }
    ActorWord { Person, Machine, Unknown }
    UnknownWord { NoMatch, Match }
}
