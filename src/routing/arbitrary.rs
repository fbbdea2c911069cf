//! Random facts, as records have them, and random conditions.

use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::{Conditions, EventFacts, EventPattern, Facts, Lazy, Owner, Owners, Pattern};
use crate::event::{EntityKind, Namespace, RecordKind};
use crate::flipt::{ActorKind, ChangeFacts, ChangeKind};

/// Facts that own what they say.
#[derive(Debug, Clone)]
pub(crate) struct Owned {
    pub(crate) record: RecordKind,
    pub(crate) source: &'static str,
    pub(crate) event: Option<(EntityKind, &'static str, &'static str)>,
    pub(crate) namespace: Namespace,
    pub(crate) environment: Option<&'static str>,
    pub(crate) owner: Option<(EntityKind, String)>,
    pub(crate) change: Option<ChangeFacts>,
    pub(crate) owners: Owners,
}

impl Owned {
    pub(crate) fn facts(&self) -> Facts<'_> {
        Facts {
            record: self.record,
            source: self.source,
            event: Lazy::There(self.event.map(|(kind, verb, status)| EventFacts {
                noun: kind.as_str(),
                verb,
                status,
            })),
            namespace: &self.namespace,
            environment: self.environment,
            owner: Lazy::There(self.owner.as_ref().map(|(kind, key)| (*kind, key.as_str()))),
            actor: Lazy::There(self.change.as_ref().map(Into::into)),
            live: Lazy::There(self.change.as_ref().and_then(|change| change.live)),
            change: Lazy::There(self.change.as_ref().map(Into::into)),
            owners: &self.owners,
        }
    }
}

fn patterns(words: &'static [&'static str]) -> BoxedStrategy<Vec<Pattern>> {
    let some = subsequence(words, 1..=words.len().min(3))
        .prop_map(|words| words.into_iter().map(Pattern::new).collect::<Vec<_>>());
    prop_oneof![3 => Just(Vec::new()), 1 => some].boxed()
}

fn events() -> BoxedStrategy<Vec<EventPattern>> {
    let noun = select(vec!["flag", "token", "segment", "namespace", "*"]);
    let verb = select(vec!["created", "updated", "*"]);
    let event = (noun, verb).prop_map(|(noun, verb)| EventPattern { noun: noun.into(), verb: verb.into() });
    prop_oneof![3 => Just(Vec::new()), 1 => prop::collection::vec(event, 1..3)].boxed()
}

pub(crate) fn conditions() -> impl Strategy<Value = Conditions> {
    let record = prop_oneof![
        3 => Just(Vec::new()),
        1 => subsequence(RecordKind::ALL.to_vec(), 1..=2),
    ];
    let words = (
        record,
        events(),
        patterns(&["flag", "token", "segment", "rule", "namespace", "*t"]),
        patterns(&["created", "updated", "deleted", "*ed"]),
        patterns(&["success", "denied"]),
        patterns(&["production", "prod*", "unknown", "*"]),
        patterns(&["prod", "dev", "unknown", "*"]),
        patterns(&["checkout", "b*", "unknown", "*"]),
    );
    let facts = (
        patterns(&["payments", "growth", "unknown", "*"]),
        patterns(&["Ann*", "*@EXAMPLE.com", "bob", "unknown"]),
        patterns(&["flipt", "other", "*"]),
        patterns(&["enabled", "constraints", "rollout", "unknown", "na*"]),
        proptest::option::weighted(0.25, any::<bool>()),
        patterns(&["behaviour", "text", "access", "unknown"]),
        patterns(&["person", "token", "automation", "unknown"]),
        proptest::bool::weighted(0.2),
    );
    (words, facts).prop_map(|(words, facts)| {
        let (record, events, types, actions, statuses, environments, namespaces, keys) = words;
        let (teams, actors, sources, changed, live, kind, actor_kind, unknown_matches) = facts;
        Conditions {
            record,
            events,
            types,
            actions,
            statuses,
            environments,
            namespaces,
            keys,
            teams,
            actors,
            sources,
            changed,
            live,
            kind,
            actor_kind,
            unknown_matches,
        }
    })
}

fn owners() -> Owners {
    let owner = |flags: &[&str], segments: &[&str], namespaces: &[&str], team: &str| {
        let patterns = |words: &[&str]| words.iter().map(|word| Pattern::new(*word)).collect();
        Owner {
            flags: patterns(flags),
            segments: patterns(segments),
            namespaces: patterns(namespaces),
            team: Arc::from(team),
            slack: None,
            services: Vec::new(),
        }
    };
    Owners(vec![
        owner(&["check*"], &[], &["prod"], "payments"),
        owner(&["*"], &["beta"], &[], "growth"),
        owner(&[], &[], &["dev"], "payments"),
    ])
}

/// The fields of the types that conditions of [`conditions`] name.
fn fields(kind: EntityKind) -> &'static [&'static str] {
    match kind {
        EntityKind::Flag => &["enabled", "name", "description"],
        EntityKind::Segment => &["constraints", "name"],
        EntityKind::Distribution => &["rollout"],
        EntityKind::Namespace => &["name", "protected"],
        _ => &[],
    }
}

fn change(kind: EntityKind, denied: bool) -> impl Strategy<Value = ChangeFacts> {
    let has_flags = !matches!(kind, EntityKind::Token | EntityKind::Namespace);
    let kinds = match kind {
        _ if denied => vec![Some(ChangeKind::Access)],
        EntityKind::Token => vec![Some(ChangeKind::Access)],
        EntityKind::Namespace => {
            vec![None, Some(ChangeKind::Access), Some(ChangeKind::Text), Some(ChangeKind::Behaviour)]
        }
        _ => vec![None, Some(ChangeKind::Text), Some(ChangeKind::Behaviour)],
    };
    let fields = fields(kind).iter().map(|field| (*field).to_owned()).collect::<Vec<_>>();
    let most = fields.len();
    let live = if denied || !has_flags { Just(None).boxed() } else { any::<Option<bool>>().boxed() };
    let changed =
        if denied { Just(None).boxed() } else { proptest::option::of(subsequence(fields, 0..=most)).boxed() };
    let actors = subsequence(vec!["Ann Example".to_owned(), "ann@example.com".to_owned()], 0..=2);
    let actor_kinds = vec![ActorKind::Person, ActorKind::Token, ActorKind::Automation, ActorKind::Unknown];
    (changed, select(kinds), live, select(actor_kinds), actors).prop_map(
        |(changed, kind, live, actor_kind, actors)| ChangeFacts { changed, kind, live, actor_kind, actors },
    )
}

fn event() -> impl Strategy<Value = Owned> {
    let words = (
        select(EntityKind::ALL.to_vec()),
        select(vec!["created", "updated", "deleted"]),
        select(vec!["success", "success", "denied"]),
    );
    words.prop_flat_map(|(kind, verb, status)| {
        let denied = status == "denied";
        (change(kind, denied), select(vec!["prod", "dev"]), select(vec!["checkout", "beta"]), any::<bool>())
            .prop_map(move |(change, namespace, key, resolved)| {
                let in_namespace = Namespace::Known(namespace.to_owned());
                let (namespace, owner) = match kind {
                    _ if denied => (Namespace::Unknown, None),
                    EntityKind::Token => (Namespace::None, Some((kind, "ci".to_owned()))),
                    EntityKind::Namespace => (in_namespace, Some((kind, namespace.to_owned()))),
                    EntityKind::Distribution if !resolved => (Namespace::Unknown, None),
                    EntityKind::Segment | EntityKind::Constraint => {
                        (in_namespace, Some((EntityKind::Segment, key.to_owned())))
                    }
                    _ => (in_namespace, Some((EntityKind::Flag, key.to_owned()))),
                };
                Owned {
                    record: RecordKind::Event,
                    source: "flipt",
                    event: Some((kind, verb, status)),
                    environment: environment(&namespace),
                    namespace,
                    owner,
                    change: Some(change),
                    owners: owners(),
                }
            })
    })
}

/// `prod` is production, and nothing is said of others.
fn environment(namespace: &Namespace) -> Option<&'static str> {
    (namespace.known() == Some("prod")).then_some("production")
}

/// Facts of a record such as there may be.
pub(crate) fn facts() -> impl Strategy<Value = Owned> {
    let other = select(RecordKind::ALL[1..].to_vec()).prop_map(|record| Owned {
        record,
        source: "other",
        event: None,
        namespace: Namespace::None,
        environment: None,
        owner: None,
        change: None,
        owners: owners(),
    });
    prop_oneof![4 => event(), 1 => other]
}
