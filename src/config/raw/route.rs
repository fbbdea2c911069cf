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
    /// Keys of flags and segments: they match these, and all that belongs to them.
    pub(in crate::config) keys: Many<Wildcard>,
    /// Teams that own what changed, as `owners` names them.
    pub(in crate::config) teams: Many<Wildcard>,
    /// Who did it, by name or by e-mail address (in any case of letters).
    pub(in crate::config) actors: Many<Wildcard>,
    /// What acted: somebody who signed in, an API token, or a machine that signed in as itself; `unknown` where
    /// Flipt requires no login.
    pub(in crate::config) actor_kind: Many<ActorWord>,
    /// Fields, such as `enabled`, of which any has changed; `unknown` where that is not known, as at first sight.
    pub(in crate::config) changed: Many<Wildcard>,
    /// Whether what people get is concerned: the flag is on before or after, or the segment is used by such a
    /// flag. What is not known is neither; `unknown: match` takes it too.
    pub(in crate::config) live: Option<bool>,
    /// Kinds of change: `behaviour` is what people get, `text` names and descriptions alone, `access` who may
    /// do what (tokens, protection of namespaces, denied attempts).
    pub(in crate::config) kind: Many<KindWord>,
    /// Whether each condition of this map on what is not known counts as holding. Without it, such a condition
    /// holds only where its list has the word `unknown`; so an `unless` takes nothing back by accident.
    pub(in crate::config) unknown: UnknownWord,
}

/// What a team owns. An entry with `namespaces` alone owns all that is in them; beside `flags` and `segments` they
/// say where these are. Every entry that fits counts.
#[derive(Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields, inline, extend("required" = ["team"]))]
pub(in crate::config) struct Owner {
    /// Keys of flags; they stand for all that belongs to them.
    pub(in crate::config) flags: Many<Wildcard>,
    /// Keys of segments; they stand for their constraints, too.
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

/// A sample and the destinations that it must and must not reach. `check` tries it, `run` does not.
#[derive(Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields, inline, extend("required" = ["event"]))]
pub(in crate::config) struct Test {
    /// What it shows.
    pub(in crate::config) name: Option<String>,
    /// The sample: an event of Flipt, or the parts of it that matter, `type` and `action` at least. What is left
    /// out is that of a success whose actor Flipt does not know.
    pub(in crate::config) event: BTreeMap<String, serde_json::Value>,
    /// Those keys of the payload that had another value before. Without it the relay sees for the first time
    /// what is updated or deleted, and so knows nothing of what changed.
    pub(in crate::config) before: Option<BTreeMap<String, serde_json::Value>>,
    /// Whether what people get is concerned, where that is known.
    pub(in crate::config) live: Option<bool>,
    /// The flag that a distribution belongs to, which its event does not tell.
    pub(in crate::config) flag: Option<String>,
    /// The namespace of that flag.
    pub(in crate::config) namespace: Option<String>,
    /// The source that it comes from; without it the only one.
    pub(in crate::config) source: Option<Name>,
    /// The destinations that get it. Without `not_to` no other gets it, so without both none does.
    pub(in crate::config) to: Many<Name>,
    /// The destinations that do not get it; about others nothing is said then.
    pub(in crate::config) not_to: Many<Name>,
}

super::words! {
    RecordWord { Event, Unparsed, Oversized, Gap, Act }
    KindWord { Behaviour, Text, Access, Unknown }
    ActorWord { Person, Token, Automation, Unknown }
    UnknownWord { NoMatch, Match }
}
