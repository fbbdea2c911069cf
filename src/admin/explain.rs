//! Why a record goes where it goes, and what exactly would go out. Sends nothing, writes nothing.

mod hidden;
mod report;
mod specimen;
#[cfg(test)]
mod tests;
mod text;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::changes::said;
use super::{Answer, Office, Refusal, words};
use crate::config::plan::{DeliverSince, DestinationPlan, Plan};
use crate::delivery::{build, is_journal_only, link, with_facts};
use crate::destination::{Company, Delivery, Destination, Grouping, Limits, RenderContext};
use crate::event::{BatchId, EventId, Namespace, RecordKind, Sequence, Timestamp};
use crate::flipt::ChangeKind;
use crate::journal::{NewReplay, ReadLimit, ReadRow, ReplaySelection};
use crate::routing::{Failed, RouteDecision};

pub use report::{
    ExplainedBody, ExplainedDestination, ExplainedFacts, ExplainedRequest, ExplainedRoute, Explanation,
};
pub use specimen::{Specimens, specimens};
pub(in crate::admin) use text::route_words;
pub use text::text as explanation_text;

/// Records that are explained in one answer, at most, …
const MAX_RECORDS: usize = 50;

/// … and bytes of what is told of them, and one record.
const MAX_BYTES: usize = 1 << 20;

/// Which records are to be explained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExplainAsked {
    /// The last so many.
    Last(u64),
    /// The one with this id.
    Id(EventId),
    /// What follows after the first sequence, through the second: the next page.
    After(Sequence, Sequence),
}

/// Explains by one plan.
pub struct Explainer<'a> {
    plan: &'a Plan,
    destinations: BTreeMap<&'a str, Result<Arc<dyn Destination>, String>>,
    /// When the journal first saw each destination, where there is one.
    first_seen: Option<BTreeMap<String, Timestamp>>,
    now: Timestamp,
}

impl<'a> Explainer<'a> {
    /// Explains by `plan`; `first_seen`: when the journal first saw each destination, where there is one.
    #[must_use]
    pub fn new(plan: &'a Plan, first_seen: Option<BTreeMap<String, Timestamp>>) -> Self {
        // Certificates that cannot be used keep it from working as well; the system's are known to be there.
        let linked = |destination: &DestinationPlan| match destination.has_own_connection() {
            true => link(destination).map(|(destination, _)| destination),
            false => build(destination),
        };
        let destinations = plan.destinations.iter();
        Self {
            plan,
            destinations: destinations.map(|(name, plan)| (name.as_str(), linked(plan))).collect(),
            first_seen,
            now: Timestamp::now(),
        }
    }

    /// As it would be at another time than now.
    #[must_use]
    pub fn at(self, now: Timestamp) -> Self {
        Self { now, ..self }
    }

    /// Explains one record.
    #[must_use]
    pub fn explain(&self, delivery: &Delivery, sequence: Option<Sequence>) -> Explanation {
        let record = &delivery.record;
        let routes = &self.plan.routes;
        let environment = delivery.environment.as_deref();
        let (facts, decisions) =
            with_facts(record, environment, &routes.owners, |found| (facts(found), routes.decisions(found)));
        let is_journal_only = is_journal_only(record.detail.as_deref());
        let routes: Vec<ExplainedRoute> = decisions
            .into_iter()
            .map(|(route, decision)| explained_route(&route.name, &route.to, decision))
            .collect();
        let mut notes = Vec::new();
        if is_journal_only {
            notes.push(
                "imported for the journal alone: it is delivered nowhere, whatever the routes say".to_owned(),
            );
        }
        let destinations = self
            .plan
            .destinations
            .iter()
            .map(|(name, plan)| {
                let by: Vec<String> = routes
                    .iter()
                    .filter(|route| route.takes && !is_journal_only && route.to.contains(name))
                    .map(|route| route.name.clone())
                    .collect();
                self.destination(name, plan, by, delivery)
            })
            .collect();
        Explanation {
            id: record.id,
            sequence,
            origin: record.origin.clone(),
            time: record.event_time.unwrap_or(record.accepted_at),
            sentence: said(delivery),
            facts,
            notes,
            routes,
            destinations,
        }
    }

    fn destination(
        &self,
        name: &str,
        plan: &DestinationPlan,
        by: Vec<String>,
        delivery: &Delivery,
    ) -> ExplainedDestination {
        let mut explained = ExplainedDestination {
            name: name.to_owned(),
            kind: plan.type_word.to_owned(),
            is_reached: !by.is_empty(),
            by,
            ..ExplainedDestination::default()
        };
        match self.destinations.get(name) {
            Some(Ok(destination)) if explained.is_reached => {
                explained.notes =
                    self.notes(name, plan, destination.as_ref(), delivery, &mut explained.is_reached);
                if explained.is_reached {
                    self.render(name, plan, destination.as_ref(), delivery, &mut explained);
                }
            }
            Some(Err(why)) => explained.cannot_work = Some(words::brief(why, 1_000)),
            _ => {}
        }
        explained
    }

    /// What keeps a record from being sent though a route takes it there, or is worth knowing about it.
    fn notes(
        &self,
        name: &str,
        plan: &DestinationPlan,
        destination: &dyn Destination,
        delivery: &Delivery,
        is_reached: &mut bool,
    ) -> Vec<String> {
        let mut notes = Vec::new();
        let time = delivery.record.event_time.unwrap_or(delivery.record.accepted_at);
        let first_seen = self.first_seen.as_ref().map(|rows| rows.get(name).copied());
        let since = match (plan.deliver_since, first_seen) {
            (DeliverSince::Beginning, _) => None,
            (DeliverSince::Time(time), _) => Some(time),
            (DeliverSince::Now, Some(Some(seen))) => Some(seen),
            (DeliverSince::Now, _) => {
                notes.push(
                    "`deliver_since: now`: nothing older than the relay's first start with it".to_owned(),
                );
                None
            }
        };
        // In whole seconds, as Flipt tells them.
        if let Some(since) = since.filter(|since| time.unix_seconds() < since.unix_seconds()) {
            notes.push(format!("not sent: older than `deliver_since` ({since})"));
            *is_reached = false;
        }
        if plan.discard {
            notes.push("`discard: true`: it is dropped".to_owned());
            *is_reached = false;
        }
        if plan.observe {
            notes.push("`observe: true`: it is rendered and counted, and not sent".to_owned());
        }
        let limits = destination.limits();
        if limits.max_event_age.is_some_and(|age| self.now.since(time) > age) {
            notes.push(
                "the receiver takes nothing as old as this: a dead letter, without being sent".to_owned(),
            );
        }
        let is_event = delivery.record.kind == RecordKind::Event;
        notes.extend(company(&limits, &destination.company(delivery), is_event));
        notes
    }

    fn render(
        &self,
        name: &str,
        plan: &DestinationPlan,
        destination: &dyn Destination,
        delivery: &Delivery,
        explained: &mut ExplainedDestination,
    ) {
        let id = delivery.record.id;
        let batch_id = BatchId::of(name, &[id]);
        let context = RenderContext { now: self.now, attempt: 1, batch_id, replay: false };
        let rendered = destination.render(std::slice::from_ref(delivery), &context);
        explained.left_out = rendered.left_out.contains(&id);
        explained.unrenderable = rendered
            .unrenderable
            .into_iter()
            .map(|(_, reason)| format!("{}: {}", reason.code, words::brief(&reason.message, 1_000)))
            .next();
        let size = report::Size {
            event_bytes: delivery.record.original.len(),
            max_bytes: destination.limits().max_bytes,
            body_bytes: 0,
        };
        explained.requests = rendered
            .requests
            .into_iter()
            .map(|outbound| hidden::shown(outbound.request, plan, size))
            .collect();
    }
}

/// What it waits for, and what it would travel with.
fn company(limits: &Limits, company: &Company, is_event: bool) -> Vec<String> {
    if company.is_left_out {
        return Vec::new();
    }
    let wait = humantime::format_duration(limits.wait);
    let most = words::number(limits.max_events as u64);
    let mut notes = Vec::new();
    match limits.grouping {
        Grouping::Any if limits.max_events > 1 => {
            notes.push(format!("up to {most} records may share a request; this is one that goes alone"));
        }
        Grouping::Any => {}
        Grouping::ChangeSet if !is_event => {}
        Grouping::ChangeSet => notes.push(format!(
            "`group_wait: {wait}`: further edits of its change set are told with it; this is how it is told alone"
        )),
        Grouping::Digest => {
            notes.push(if company.is_urgent {
                "sent at once, without `group_wait`, with all that waits for the same flag: it turns a live flag \
                 off or deletes it"
                    .to_owned()
            } else {
                format!(
                    "`group_wait: {wait}`: up to {most} records that wait share a message; this is how it is told \
                     alone"
                )
            });
            notes.extend(company.seldom.as_ref().map(|seldom| {
                let every = humantime::format_duration(seldom.every);
                format!("refused attempts of one actor share a message; within {every} there is no second one")
            }));
        }
    }
    notes
}

fn explained_route(name: &str, to: &[String], decision: RouteDecision) -> ExplainedRoute {
    let (takes, failed) = match decision {
        RouteDecision::Takes => (true, None),
        RouteDecision::When(failed) => (false, Some(failed)),
        RouteDecision::Unless => (false, None),
    };
    let because = |failed: Failed| report::Because {
        condition: failed.condition.to_owned(),
        wants: words::brief(&failed.wants, 500),
        saw: failed.saw.map(|saw| words::brief(&saw, 500)),
    };
    ExplainedRoute { name: name.to_owned(), to: to.to_vec(), takes, because: failed.map(because) }
}

fn facts(facts: &crate::routing::Facts<'_>) -> ExplainedFacts {
    let safe = |text: &str| words::brief(text, 500);
    let change = facts.change.get();
    let event = |word: fn(crate::routing::EventFacts<'_>) -> String| facts.event.get().map(word);
    let owner = facts.owner.get();
    ExplainedFacts {
        record: facts.record.as_str().to_owned(),
        source: facts.source.to_owned(),
        noun: event(|event| words::brief(event.noun, 80)),
        action: event(|event| words::brief(event.verb, 80)),
        status: event(|event| words::brief(event.status, 80)),
        environment: facts.environment.map(safe),
        namespace: facts.namespace.known().map(safe),
        has_namespace: !(*facts.namespace == Namespace::None && facts.record == RecordKind::Event),
        key: owner.map(|(_, key)| safe(key)),
        key_of: owner.map(|(kind, _)| kind.as_str().to_owned()),
        teams: owner.map(|(kind, key)| {
            facts.owners.teams_of(kind, key, facts.namespace).into_iter().map(str::to_owned).collect()
        }),
        live: facts.live.get(),
        kind: change.and_then(|change| change.kind).map(ChangeKind::as_str).map(str::to_owned),
        changed: change
            .and_then(|change| change.changed)
            .map(|fields| fields.iter().map(|field| safe(field)).collect()),
        actor_kind: facts.actor.get().map(|actor| actor.kind.as_str().to_owned()),
    }
}

/// Explains a page of records of the journal.
pub(super) async fn explain(office: &Office, asked: ExplainAsked) -> Result<Answer, Refusal> {
    let rows = office.journal.destinations().await?;
    let first_seen = rows.into_iter().map(|row| (row.name, row.first_seen_at)).collect();
    let latest = *office.journal.latest().borrow();
    let (rows, through) = match asked {
        ExplainAsked::Id(id) => (vec![by_id(office, id).await?], 0),
        ExplainAsked::Last(count) => (read(office, latest.saturating_sub(count), latest).await?, latest),
        ExplainAsked::After(after, through) => (read(office, after, through).await?, through),
    };
    let plan = office.plan();
    let explainer = Explainer::new(&plan, Some(first_seen));
    let (mut explanations, mut altered, mut bytes, mut last) = (Vec::new(), Vec::new(), 0, through);
    for row in rows {
        last = row.sequence();
        match row {
            ReadRow::Record(record) => {
                let explanation = explainer.explain(&office.placed(*record), Some(last));
                bytes += explanation.size();
                explanations.push(explanation);
            }
            // What was altered is never shown as if it were genuine.
            ReadRow::Corrupt { sequence } => altered.push(sequence),
        }
        if bytes >= MAX_BYTES {
            break;
        }
    }
    let more = (last < through).then_some(ExplainAsked::After(last, through));
    Ok(Answer::Explained { explanations, altered, more })
}

async fn read(office: &Office, after: Sequence, through: Sequence) -> Result<Vec<ReadRow>, Refusal> {
    let limit = ReadLimit { max_rows: MAX_RECORDS, max_bytes: MAX_BYTES };
    let mut rows = office.journal.read_after(after, limit).await?;
    rows.retain(|row| row.sequence() <= through);
    Ok(rows)
}

pub(super) async fn by_id(office: &Office, id: EventId) -> Result<ReadRow, Refusal> {
    let replay =
        NewReplay { destination: String::new(), selection: ReplaySelection::Ids(vec![id]), rate: None };
    let row = super::preview::as_if_asked(office, replay);
    let limit = ReadLimit { max_rows: 1, max_bytes: MAX_BYTES };
    match office.journal.read_replay(&row, limit).await?.pop() {
        Some(row @ ReadRow::Record(_)) => Ok(row),
        Some(ReadRow::Corrupt { .. }) => {
            Err(Refusal::failure(format!("{id} was altered since it was accepted")))
        }
        None => Err(Refusal::usage(format!("the journal does not have {id}"))),
    }
}
