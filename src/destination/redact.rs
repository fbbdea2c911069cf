//! What a destination is not to see: deliveries are written anew before it renders them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::value::RawValue;

use super::{
    Company, Delivery, Destination, Limits, Message, Notice, Outcome, RenderContext, Rendered, Request,
    Response,
};
use crate::config::plan::{RedactPlan, Redaction};
use crate::event::{Framing, Known, Late, Place, RawText, RecordKind, StoredRecord, Timestamp};
use crate::flipt::{self, Ahead, AuditEvent, Fate, rewrite_event, rewrite_fields};

/// What stands where something is masked.
pub const MASK: &str = "[redacted]";

/// A destination that sees no more than it should. Nothing that it renders, keeps or says of a failure can hold
/// what it never got.
pub struct Redacted {
    inner: Arc<dyn Destination>,
    plan: RedactPlan,
}

impl Redacted {
    /// Keeps from `inner` what `plan` says.
    #[must_use]
    pub fn new(inner: Arc<dyn Destination>, plan: RedactPlan) -> Self {
        Self { inner, plan }
    }
}

impl Destination for Redacted {
    fn limits(&self) -> Limits {
        self.inner.limits()
    }

    fn render(&self, deliveries: &[Delivery], context: &RenderContext) -> Rendered {
        let redacted: Vec<Delivery> =
            deliveries.iter().map(|delivery| redacted(delivery, &self.plan)).collect();
        self.inner.render(&redacted, context)
    }

    fn company(&self, delivery: &Delivery) -> Company {
        // Nothing of it goes anywhere.
        self.inner.company(delivery)
    }

    fn notice(&self, notice: &Notice, context: &RenderContext) -> Option<Vec<Request>> {
        // It holds nothing of events.
        self.inner.notice(notice, context)
    }

    fn classify(&self, response: &Response, now: Timestamp) -> Outcome {
        self.inner.classify(response, now)
    }

    fn remark(&self, response: &Response) -> Option<Message> {
        self.inner.remark(response)
    }

    fn excerpt(&self, body: &[u8]) -> String {
        self.inner.excerpt(body)
    }
}

/// A delivery without what `plan` keeps back.
///
/// Of what could not be read as an event nobody knows what it holds: nothing of it is passed on.
#[must_use]
pub fn redacted(delivery: &Delivery, plan: &RedactPlan) -> Delivery {
    let record = &delivery.record;
    let withheld = || (MASK.to_owned(), None);
    let record = match record.kind {
        RecordKind::Event => told_as(record, Rewriting::new(plan).event(record).unwrap_or_else(withheld)),
        RecordKind::Unparsed | RecordKind::Oversized => told_as(record, withheld()),
        RecordKind::Gap | RecordKind::Act => record.clone(),
    };
    Delivery { record, environment: delivery.environment.clone() }
}

/// A record with another text, and with something else known around it; its own are not even copied.
fn told_as(record: &StoredRecord, (original, known): (String, Option<Box<str>>)) -> StoredRecord {
    StoredRecord {
        original: original.into_bytes(),
        framing: Framing::Auto,
        known,
        sequence: record.sequence,
        id: record.id,
        kind: record.kind,
        source: record.source.clone(),
        instance: record.instance.clone(),
        epoch: record.epoch.clone(),
        accepted_at: record.accepted_at,
        event_time: record.event_time,
        namespace: record.namespace.clone(),
        entity: record.entity.clone(),
        order_key: record.order_key.clone(),
        detail: record.detail.clone(),
        trace: record.trace.clone(),
        origin: record.origin.clone(),
        change_set: record.change_set.clone(),
        running: record.running,
    }
}

/// One record, while it is written anew.
struct Rewriting<'p> {
    plan: &'p RedactPlan,
    /// What was masked, by field: equal values get equal masks and others another, so that a change still shows.
    masked: BTreeMap<String, Vec<String>>,
    /// Whether anything was taken out or masked that may have changed.
    hides: bool,
}

impl<'p> Rewriting<'p> {
    fn new(plan: &'p RedactPlan) -> Self {
        Self { plan, masked: BTreeMap::new(), hides: false }
    }

    /// The event and what was known around it; `None` where it cannot be read.
    fn event(&mut self, record: &StoredRecord) -> Option<(String, Option<Box<str>>)> {
        let json = flipt::unwrap(&record.original, record.framing).ok()?;
        let json = std::str::from_utf8(&json).ok()?;
        let plan = self.plan;
        let actor = |name: &str, _: Ahead<'_>| actor_fate(plan, name);
        let rewritten = rewrite_event(json, actor, |name, value| self.field(name, value))?;
        if plan.fields.is_empty() {
            return Some((rewritten, record.known.clone()));
        }
        let Some(kept) = record.known.as_deref() else { return Some((rewritten, None)) };
        let known = Known::read(Some(kept));
        let mut told = self.known(&known);
        told.withheld = match self.hides {
            true => withheld((json, &known), (&rewritten, &told)),
            false => Vec::new(),
        };
        let told = serde_json::to_string(&told).ok()?;
        Some((rewritten, Some(told.into())))
    }

    fn known(&mut self, known: &Known) -> Known {
        let hides = |name: &str| self.plan.fields.contains_key(name);
        let (hides_rank, hides_operator) = (hides("rank"), hides("segment_operator"));
        // What people call something may be its name, its property or its description.
        let hides_label = ["name", "property", "description"].into_iter().any(hides);
        self.hides |= hides_rank && !known.order.is_empty();
        let before = known.before.as_deref().map(|state| self.state(state));
        let late = known.late.as_ref().map(|late| Late {
            newest: late.newest,
            is_deleted: late.is_deleted,
            current: late.current.as_deref().map(|state| self.state(state)),
        });
        let order = known.order.iter().map(|place| Place {
            id: place.id.clone(),
            was: place.was.filter(|_| !hides_rank),
            state: place.state.as_ref().map(|state| Box::new(RawText(self.state(&state.0)))),
        });
        let order = order.collect();
        let mut rule = known.rule.clone();
        if let Some(rule) = &mut rule {
            rule.rank = rule.rank.filter(|_| !hides_rank);
            rule.segment_operator = rule.segment_operator.take().filter(|_| !hides_operator);
        }
        let mut closed = known.closed.clone();
        for closed in closed.iter_mut().flat_map(|closed| &mut closed.first) {
            closed.name = closed.name.take().filter(|_| !hides_label);
        }
        Known {
            before,
            seen: known.seen,
            without: known.without,
            late,
            live: known.live,
            owner_name: known.owner_name.clone().filter(|_| !hides("name")),
            variants: known.variants.clone(),
            rule,
            order,
            closed,
            used_by: known.used_by.clone(),
            withheld: known.withheld.clone(),
        }
    }

    fn state(&mut self, state: &RawValue) -> Box<RawValue> {
        let rewritten = rewrite_fields(state.get(), &mut |name, value| self.field(name, value));
        if rewritten == state.get() {
            return state.to_owned();
        }
        RawValue::from_string(rewritten).unwrap_or_else(|_| RawValue::NULL.to_owned())
    }

    fn field(&mut self, name: &str, value: Ahead<'_>) -> Fate {
        let Some(redaction) = self.plan.fields.get(name) else { return Fate::Keep };
        let fate = match redaction {
            Redaction::Drop => Fate::Drop,
            Redaction::Mask => match value.text() {
                "null" => return Fate::Keep,
                value => Fate::Mask(self.mask(name, value)),
            },
        };
        self.hides = true;
        fate
    }

    fn mask(&mut self, name: &str, value: &str) -> String {
        let seen = self.masked.entry(name.to_owned()).or_default();
        let place = seen.iter().position(|earlier| earlier == value).unwrap_or_else(|| {
            seen.push(value.to_owned());
            seen.len() - 1
        });
        match place {
            0 => format!("\"{MASK}\""),
            place => format!("\"{} {}]\"", MASK.trim_end_matches(']'), place + 1),
        }
    }
}

/// What becomes of an entry of the actor, in either of its shapes: the fixed keys of Flipt v1.39 and later, and
/// `io.flipt.auth.<method>.<claim>` before. A picture, a profile or a login tells who it is as well as the
/// name does, and as the address does.
fn actor_fate(plan: &RedactPlan, key: &str) -> Fate {
    let claim =
        key.strip_prefix("io.flipt.auth.").map_or(key, |rest| rest.rsplit('.').next().unwrap_or(rest));
    let redaction = match claim {
        "ip" => plan.ip,
        "email" => plan.email,
        "name" | "description" | "uid" => plan.name,
        "picture" | "profile" | "preferred_username" | "sub" => plan.name.max(plan.email),
        _ => None,
    };
    match redaction {
        None => Fate::Keep,
        Some(Redaction::Drop) => Fate::Drop,
        Some(Redaction::Mask) => Fate::Mask(format!("\"{MASK}\"")),
    }
}

/// Fields that changed, and do not seem to any more: an event and what was known around it, as they are and as
/// they are told. What is created or deleted says so by itself.
fn withheld((event, known): (&str, &Known), (told, told_known): (&str, &Known)) -> Vec<String> {
    let changed = |event: &str, known: &Known| {
        let event = AuditEvent::parse(event).ok().filter(|event| event.action == "updated")?;
        flipt::facts(&event, known).changed
    };
    let all = changed(event, known).unwrap_or_default();
    if all.is_empty() {
        return all;
    }
    let seen = changed(told, told_known).unwrap_or_default();
    all.into_iter().filter(|field| !seen.contains(field)).collect()
}
