//! What an event changed: the entity before and after, and where they differ.

mod apply;
mod compare;

use std::borrow::Cow;

use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::AuditEvent;
use super::fields::Fields;
use super::payload::{Payload, strings};
use crate::event::{Deed, EntityKind, Known, Place, RawText, Without};

pub use apply::apply;
pub(crate) use compare::{Differences, MAX_DIFFERENCES, compare};

/// One place where before and after differ.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// A JSON pointer (RFC 6901); inside `attachment` it goes on into the JSON which that text holds. Of items
    /// that have ids, a removed or changed one has its place in the list before, a new one its place in the
    /// list after.
    pub pointer: String,
    /// What was there; `None`: nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<RawText>,
    /// What is there; `None`: nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<RawText>,
}

/// What an event changed.
#[derive(Debug, Clone)]
pub struct Change<'a> {
    /// What was done.
    pub deed: Deed,
    /// The entity before; `None`: see [`Known::without`]. Of a new order: the payload with the old one.
    pub before: Option<Cow<'a, RawValue>>,
    /// The entity after; `None`: it is deleted.
    pub after: Option<&'a RawValue>,
    /// Where they differ, at most 256 places. `None`: not known, for lack of a before.
    pub differences: Option<Vec<Difference>>,
    /// Whether there are more differences than are told.
    pub more: bool,
}

/// What kind of change it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// What people get may differ.
    Behaviour,
    /// Names and descriptions alone, or nothing that Flipt shows.
    Text,
    /// Who may do what: tokens, protection of namespaces, denied attempts.
    Access,
}

impl ChangeKind {
    /// As conditions and columns spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Behaviour => "behaviour",
            Self::Text => "text",
            Self::Access => "access",
        }
    }
}

/// What acted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ActorKind {
    /// Somebody who signed in.
    Person,
    /// An API token.
    Token,
    /// A machine that signed in as itself.
    Automation,
    /// Flipt does not say: it requires no login.
    Unknown,
}

impl ActorKind {
    /// As conditions and columns spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Token => "token",
            Self::Automation => "automation",
            Self::Unknown => "unknown",
        }
    }
}

/// What a route may ask about a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeFacts {
    /// Names of the fields that differ; `None`: not known.
    pub changed: Option<Vec<String>>,
    /// What kind of change; `None`: not known.
    pub kind: Option<ChangeKind>,
    /// Whether what people get is concerned; `None`: not known.
    pub live: Option<bool>,
    /// What acted.
    pub actor_kind: ActorKind,
    /// The actor's name and e-mail address, as far as known.
    pub actors: Vec<String>,
}

/// What an event changed and what kind of change it is, both from one comparison.
#[derive(Debug)]
pub(crate) struct Compared<'a> {
    /// As in [`Change`].
    pub(crate) deed: Deed,
    /// As in [`Change`].
    pub(crate) before: Option<Cow<'a, RawValue>>,
    /// As in [`Change`].
    pub(crate) after: Option<&'a RawValue>,
    /// Where they differ; `None`: not known, for lack of a before.
    pub(crate) differences: Option<Differences>,
    /// As in [`ChangeFacts`].
    pub(crate) kind: Option<ChangeKind>,
    /// As in [`ChangeFacts`].
    pub(crate) live: Option<bool>,
    withheld: &'a [String],
}

impl Compared<'_> {
    /// As in [`ChangeFacts`].
    pub(crate) fn changed(&self) -> Option<Cow<'_, [String]>> {
        let fields = &self.differences.as_ref()?.fields;
        Some(match self.withheld {
            [] => Cow::Borrowed(fields),
            withheld => Cow::Owned(with(fields.clone(), withheld)),
        })
    }
}

/// Tells what an event changed, from what was known when it was accepted; `fields` are those of its payload.
pub(crate) fn compared<'a>(event: &AuditEvent<'a>, fields: &Payload<'a>, known: &'a Known) -> Compared<'a> {
    let met = Met::new(event, fields, known);
    let before = met.before();
    let differences = met.differences(before.as_deref(), MAX_DIFFERENCES);
    let after = if met.deed == Deed::Deleted { None } else { met.payload };
    let (deed, live, withheld) = (met.deed, met.live(), &*known.withheld);
    let compared = Compared { deed, before, after, differences, kind: None, live, withheld };
    Compared { kind: met.kind_of(compared.changed().as_deref()), ..compared }
}

/// Tells what an event changed, from what was known when it was accepted.
#[must_use]
pub fn change<'a>(event: &AuditEvent<'a>, known: &'a Known) -> Change<'a> {
    let compared = compared(event, &fields_of(event), known);
    let more = compared.differences.as_ref().is_some_and(|differences| differences.more);
    let differences = compared.differences.map(|differences| differences.list);
    Change { deed: compared.deed, before: compared.before, after: compared.after, differences, more }
}

/// What a route may ask about it.
#[must_use]
pub fn facts(event: &AuditEvent<'_>, known: &Known) -> ChangeFacts {
    let fields = fields_of(event);
    let met = Met::new(event, &fields, known);
    // The names of fields are all that is asked for: no value is copied.
    let changed = met.differences(met.before().as_deref(), 0);
    let changed = changed.map(|differences| with(differences.fields, &known.withheld));
    let actor = event.actor();
    ChangeFacts {
        kind: met.kind_of(changed.as_deref()),
        changed,
        live: met.live(),
        actor_kind: actor_kind(&actor),
        actors: actor.name.into_iter().chain(actor.email).map(Cow::into_owned).collect(),
    }
}

fn fields_of<'a>(event: &AuditEvent<'a>) -> Payload<'a> {
    event.payload.filter(|_| !event.is_denied()).map(Payload::read).unwrap_or_default()
}

/// Fields that differ, and those whose change is not to be seen.
fn with(mut fields: Vec<String>, withheld: &[String]) -> Vec<String> {
    fields.extend(withheld.iter().cloned());
    fields.sort_unstable();
    fields
}

/// An event and the state that it met.
struct Met<'m, 'a> {
    kind: Option<EntityKind>,
    deed: Deed,
    is_denied: bool,
    payload: Option<&'a RawValue>,
    fields: &'m Payload<'a>,
    known: &'a Known,
}

impl<'m, 'a> Met<'m, 'a> {
    fn new(event: &AuditEvent<'a>, fields: &'m Payload<'a>, known: &'a Known) -> Self {
        let is_denied = event.is_denied();
        let payload = event.payload.filter(|_| !is_denied);
        let deed = deed(event, fields);
        Self { kind: EntityKind::parse(&event.noun), deed, is_denied, payload, fields, known }
    }

    fn is_access(&self) -> bool {
        self.is_denied || self.kind == Some(EntityKind::Token)
    }

    fn live(&self) -> Option<bool> {
        let has_flags = !self.is_access() && self.kind != Some(EntityKind::Namespace);
        self.known.live.filter(|_| has_flags)
    }

    fn before(&self) -> Option<Cow<'a, RawValue>> {
        self.payload.filter(|_| self.known.late.is_none())?;
        match self.deed {
            Deed::Reordered => self.former_order().map(Cow::Owned),
            _ => self.known.before.as_deref().map(Cow::Borrowed),
        }
    }

    /// The payload as it would have been with the order before; `None` where not every place is known.
    fn former_order(&self) -> Option<Box<RawValue>> {
        let mut former: Vec<&Place> = self.known.order.iter().collect();
        former.sort_by_key(|place| place.was);
        let is_whole = !former.is_empty()
            && (1..).zip(&former).all(|(place, found)| found.was == Some(place))
            && former.len() == strings(self.ids(), usize::MAX).len();
        let ids: Vec<&str> = former.iter().map(|place| place.id.as_str()).collect();
        let (flag, namespace) = (&self.fields.flag_key, &self.fields.namespace_key);
        let order = json!({"flag_key": flag, "namespace_key": namespace, self.list_name(): ids});
        is_whole.then(|| serde_json::value::to_raw_value(&order).ok()).flatten()
    }

    fn ids(&self) -> Option<&'a RawValue> {
        self.fields.rule_ids.or(self.fields.rollout_ids)
    }

    fn list_name(&self) -> &'static str {
        if self.fields.rule_ids.is_some() { "rule_ids" } else { "rollout_ids" }
    }

    fn differences(&self, before: Option<&RawValue>, limit: usize) -> Option<Differences> {
        let payload = self.payload.filter(|_| self.known.late.is_none())?;
        match (self.deed, before) {
            (Deed::Reordered, before) => {
                let name = self.list_name();
                let list = |order: &RawValue| Fields::read(order).raw(name).map(ToOwned::to_owned);
                let (old, new) = (list(before?)?, list(payload)?);
                let ids = |list: &RawValue| {
                    strings(Some(list), usize::MAX).into_iter().map(Cow::into_owned).collect::<Vec<_>>()
                };
                if ids(&old) == ids(&new) {
                    return Some(Differences::default());
                }
                let (old, new) = (Some(RawText(old)), Some(RawText(new)));
                let told = Difference { pointer: format!("/{name}"), old, new };
                let list = if limit > 0 { vec![told] } else { Vec::new() };
                Some(Differences { list, fields: vec!["rank".to_owned()], more: limit == 0 })
            }
            (Deed::Deleted, Some(before)) => Some(compare(Some(before), None, self.identity(), limit)),
            (_, Some(before)) => {
                let differences = compare(Some(before), Some(payload), &[], limit);
                (!differences.fields.is_empty() || !hides_segments(payload)).then_some(differences)
            }
            (Deed::Created, None) if self.known.without == Some(Without::Created) => {
                Some(compare(None, Some(payload), self.identity(), limit))
            }
            _ => None,
        }
    }

    /// The fields that say which one it is: they come and go with it, and are no news then.
    fn identity(&self) -> &'static [&'static str] {
        identity(self.kind)
    }

    fn kind_of(&self, changed: Option<&[String]>) -> Option<ChangeKind> {
        if self.is_access() {
            return Some(ChangeKind::Access);
        }
        let kind = self.kind?;
        let is_protected =
            || self.payload.is_some_and(|now| Fields::read(now).truth("protected") == Some(true));
        let of_text =
            |fields: &[String]| fields.iter().all(|field| matches!(&**field, "name" | "description"));
        match (kind, self.deed, changed) {
            (EntityKind::Namespace, Deed::Created, _) if is_protected() => Some(ChangeKind::Access),
            (EntityKind::Namespace, Deed::Created, _) => Some(ChangeKind::Text),
            (_, Deed::Created | Deed::Deleted, _) => Some(ChangeKind::Behaviour),
            (_, _, Some(fields)) if of_text(fields) => Some(ChangeKind::Text),
            (EntityKind::Namespace, _, Some(fields)) if fields.iter().any(|field| field == "protected") => {
                Some(ChangeKind::Access)
            }
            (_, _, Some(_)) | (_, Deed::Reordered, _) => Some(ChangeKind::Behaviour),
            // Without texts, whatever changed is behaviour.
            (EntityKind::Rule | EntityKind::Constraint | EntityKind::Distribution, _, None) => {
                Some(ChangeKind::Behaviour)
            }
            (_, _, None) => None,
        }
    }
}

/// Whether a rule or rollout has several segments, and does not say which: Flipt before 1.58.2 wrote an empty
/// key then.
pub(crate) fn hides_segments(state: &RawValue) -> bool {
    let fields = Fields::read(state);
    let is_empty = |fields: &Fields<'_>, name| fields.raw(name).is_some_and(|key| key.get() == "\"\"");
    let segment = fields.raw("segment").map(Fields::read);
    is_empty(&fields, "segment_key") || segment.is_some_and(|segment| is_empty(&segment, "key"))
}

/// What an event says was done.
pub(crate) fn deed(event: &AuditEvent<'_>, payload: &Payload<'_>) -> Deed {
    match &*event.action {
        "created" => Deed::Created,
        "deleted" => Deed::Deleted,
        _ if payload.is_order() => Deed::Reordered,
        _ => Deed::Updated,
    }
}

/// See [`Met::identity`].
pub(crate) fn identity(kind: Option<EntityKind>) -> &'static [&'static str] {
    match kind {
        Some(EntityKind::Constraint) => &["id", "key", "namespace_key", "segment_key"],
        Some(EntityKind::Token) => &["io.flipt.auth.token.name"],
        _ => &["id", "key", "namespace_key", "flag_key", "rule_id", "variant_id"],
    }
}

fn actor_kind(actor: &super::Actor<'_>) -> ActorKind {
    let is_named = actor.name.is_some() || actor.email.is_some();
    match actor.authentication.as_deref() {
        Some("oidc" | "github") => ActorKind::Person,
        Some("jwt" | "cloud") if is_named => ActorKind::Person,
        Some("token") => ActorKind::Token,
        Some("jwt" | "kubernetes") => ActorKind::Automation,
        _ => ActorKind::Unknown,
    }
}
