//! An event as telling needs it: opened, with what was known around it.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::words::{name, without_ids};
use crate::destination::Delivery;
use crate::destination::envelope::Opened;
use crate::destination::redact::MASK;
use crate::event::{Deed, EntityKind, Known};
use crate::flipt::{self, Actor, AuditEvent, Differences, Payload};

/// A record and what its texts hold.
pub(in crate::destination) struct Source<'a> {
    pub(super) delivery: &'a Delivery,
    /// Its bytes without their framing.
    pub(in crate::destination) json: Cow<'a, [u8]>,
    /// What was known around it.
    pub(in crate::destination) known: Known,
}

impl<'a> Source<'a> {
    pub(in crate::destination) fn open(delivery: &'a Delivery) -> Self {
        let known = Known::read(delivery.record.known.as_deref());
        Self { delivery, json: Opened::json(&delivery.record), known }
    }

    pub(in crate::destination) fn opened(&self) -> Opened<'_> {
        Opened::new(&self.delivery.record, &self.json)
    }
}

/// An event that can be read.
pub(in crate::destination) struct Reading<'a> {
    pub(super) delivery: &'a Delivery,
    pub(in crate::destination) event: &'a AuditEvent<'a>,
    pub(in crate::destination) actor: Actor<'a>,
    pub(super) kind: Option<EntityKind>,
    pub(super) deed: Deed,
    pub(in crate::destination) payload: Payload<'a>,
    pub(in crate::destination) known: &'a Known,
    /// Where it differs from what was, for whom that was found out already.
    pub(in crate::destination) differences: Option<&'a Differences>,
}

impl<'a> Reading<'a> {
    pub(in crate::destination) fn of(source: &'a Source<'_>, opened: &'a Opened<'_>) -> Option<Self> {
        let event = opened.event.as_ref()?;
        let payload = event.payload.map(Payload::read).unwrap_or_default();
        Some(Self {
            delivery: source.delivery,
            kind: EntityKind::parse(&event.noun),
            deed: flipt::deed(event, &payload),
            actor: event.actor(),
            event,
            payload,
            known: &source.known,
            differences: None,
        })
    }

    /// Whether it is of a known type, and says something.
    pub(super) fn is_known(&self) -> bool {
        let is_verb = matches!(&*self.event.action, "created" | "updated" | "deleted");
        self.kind.is_some() && is_verb && self.event.payload.is_some()
    }

    /// Whether it has its place in a story of several.
    pub(super) fn is_told_with_others(&self) -> bool {
        self.is_known() && !self.event.is_denied() && self.known.late.is_none()
    }

    /// Whether a namespace was deleted with all that was in it.
    pub(super) fn is_forced(&self) -> bool {
        let payload = self.event.payload.filter(|_| self.kind == Some(EntityKind::Namespace));
        payload.is_some_and(|payload| flipt::Fields::read(payload).truth("force") == Some(true))
    }

    /// The entity after it; `None` where it is deleted.
    pub(super) fn after(&self) -> Option<&'a RawValue> {
        self.event.payload.filter(|_| self.deed != Deed::Deleted)
    }

    /// What it belongs to, or is: the kind, and its key as far as known.
    pub(in crate::destination) fn owner(&self) -> (EntityKind, Option<String>) {
        let (owner, said) = match self.kind {
            Some(EntityKind::Constraint) => (EntityKind::Segment, self.payload.segment_key.as_deref()),
            Some(EntityKind::Variant | EntityKind::Rule | EntityKind::Rollout | EntityKind::Distribution)
            | None => (EntityKind::Flag, self.payload.flag_key.as_deref()),
            Some(EntityKind::Token) => (EntityKind::Token, self.payload.token_name.as_deref()),
            Some(own) => (own, self.payload.key.as_deref()),
        };
        let order_key = self.delivery.record.order_key.as_ref();
        let found = || order_key?.owner().filter(|(kind, _)| *kind == owner).map(|(_, key)| key);
        (owner, said.map(str::to_owned).or_else(found))
    }

    /// Who is told by nothing that tells one from another: not known, or not to be seen.
    pub(super) fn unnamed(&self) -> Option<&'static str> {
        let actor = &self.actor;
        let mut told = [&actor.name, &actor.email].into_iter().flatten();
        if told.any(|told| !told.is_empty() && **told != *MASK) {
            return None;
        }
        Some(match actor.authentication.as_deref() {
            Some("token") => "with API tokens not named here",
            Some("kubernetes") => "by Kubernetes service accounts not named here",
            _ => "by someone not named here",
        })
    }

    /// Who did it: by name, by address, or by what else is known.
    pub(super) fn who(&self) -> String {
        let actor = &self.actor;
        let said = actor.name.as_ref().or(actor.email.as_ref()).map(|said| without_ids(&name(said)));
        let said = said.filter(|said| !said.is_empty());
        match (said, actor.authentication.as_deref()) {
            (Some(said), Some("token")) => format!("API token {said}"),
            (Some(said), Some("kubernetes")) => format!("Service account {said}"),
            (Some(said), _) => said,
            (None, Some("token")) => "An API token".to_owned(),
            (None, Some("kubernetes")) => "A Kubernetes service account".to_owned(),
            (None, _) => "Someone".to_owned(),
        }
    }
}
