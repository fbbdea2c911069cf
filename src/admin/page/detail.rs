//! One change with all there is to know.

use std::sync::Arc;

use serde::Serialize;

use super::desk::Desk;
use super::moment::Moment;
use super::newest;
use super::paint;
use super::question::Question;
use super::way::{Way, WayView, Ways};
use crate::admin::explain::{by_id, route_words};
use crate::admin::words::{brief, count, escaped};
use crate::admin::{ExplainedDestination, ExplainedRoute, Explainer, Explanation, Office, Refusal, nameless};
use crate::destination::Delivery;
use crate::destination::telling::{self, Account, Row};
use crate::event::{EventId, Sequence, Timestamp};
use crate::journal::ReadRow;

/// How many bytes of an original are shown.
const MAX_ORIGINAL: usize = 4_096;

/// Of how many records of a change.
const MAX_RECORDS: usize = 5;

/// How many records around it are looked at for others of the same change: so many after it, …
const AFTER: Sequence = 128;

/// … and so many altogether.
const AROUND: u64 = 512;

/// A value is shown up to here.
const MAX_VALUE: usize = 1_000;

/// What is shown of one change.
#[derive(Debug, Clone, Serialize)]
pub(super) struct DetailView {
    pub(super) rows: Vec<RowView>,
    pub(super) unknown_before: bool,
    pub(super) ways: Vec<WayDetail>,
    pub(super) routes: Vec<RouteView>,
    pub(super) facts: Vec<FactView>,
    pub(super) records: Vec<RecordView>,
    pub(super) more_records: usize,
}

/// What was, and what is.
#[derive(Debug, Clone, Serialize)]
pub(super) struct RowView {
    pub(super) label: String,
    pub(super) old: Option<String>,
    pub(super) new: Option<String>,
    pub(super) is_raw: bool,
}

/// How its last record stands at one destination, and why.
#[derive(Debug, Clone, Serialize)]
pub(super) struct WayDetail {
    pub(super) view: WayView,
    pub(super) notes: Vec<String>,
}

/// What a route makes of it.
#[derive(Debug, Clone, Serialize)]
pub(super) struct RouteView {
    pub(super) name: String,
    pub(super) words: String,
}

/// Something that is known of it.
#[derive(Debug, Clone, Serialize)]
pub(super) struct FactView {
    pub(super) name: &'static str,
    pub(super) value: String,
}

/// One of its records.
#[derive(Debug, Clone, Serialize)]
pub(super) struct RecordView {
    pub(super) id: String,
    pub(super) sequence: Sequence,
    pub(super) accepted: Moment,
    pub(super) size: String,
    pub(super) original: String,
    pub(super) is_cut: bool,
    pub(super) is_redacted: bool,
}

/// A page, or what a list unfolds.
pub(super) async fn page(
    desk: &Arc<Desk>,
    office: &Office,
    id: &str,
    is_part: bool,
    sees_names: bool,
) -> Result<String, Refusal> {
    let id: EventId = id.parse().map_err(|_| Refusal::usage("this is not the id of a record"))?;
    let ReadRow::Record(record) = by_id(office, id).await? else {
        return Err(Refusal::failure("the record was altered since it was accepted"));
    };
    let delivery = office.placed(*record);
    let sequence = delivery.record.sequence;
    let question = Question { before: Some(sequence + AFTER), ..Question::default() };
    let mut around = newest::read(office, &question, AROUND).await?.deliveries;
    if !around.iter().any(|other| other.record.sequence == sequence) {
        around = vec![delivery.clone()];
    }
    let ways = desk.ways(office, sequence - 1, sequence).await?;
    let painted = tokio::task::spawn_blocking(move || {
        let seen = Seen { delivery: &delivery, around: &around, ways: &ways, sees_names };
        let (title, view) = seen.view(Timestamp::now());
        let part = paint::detail(&view)?;
        if is_part { Ok(part) } else { paint::change(&title, &part) }
    });
    painted.await.map_err(|error| Refusal::failure(error.to_string()))?
}

/// A record, those around it, and what is known of its ways.
pub(super) struct Seen<'a> {
    pub(super) delivery: &'a Delivery,
    pub(super) around: &'a [Delivery],
    pub(super) ways: &'a Ways,
    pub(super) sees_names: bool,
}

impl Seen<'_> {
    /// What is shown, and the sentence that it is about.
    pub(super) fn view(&self, now: Timestamp) -> (String, DetailView) {
        let told = |delivery: &Delivery| match self.sees_names {
            true => delivery.clone(),
            false => nameless::delivery(delivery),
        };
        let sequence = self.delivery.record.sequence;
        let around: Vec<Delivery> = self.around.iter().map(told).collect();
        let accounts = telling::accounts(&around);
        let is_of = |account: &&Account<'_>| {
            account.deliveries.iter().any(|member| member.record.sequence == sequence)
        };
        let account = accounts.told.iter().find(is_of);
        let alone = told(self.delivery);
        let (headline, rows, members) = match account {
            Some(account) => (
                account.story.headline.to_string(),
                account.story.rows.as_slice(),
                account.deliveries.clone(),
            ),
            None => (telling::sentence(&alone).to_string(), [].as_slice(), vec![&alone]),
        };
        let unknown_before = account.is_some_and(|account| {
            account.facts.iter().any(|facts| facts.is_updated() && !facts.has_before && !facts.is_late)
        });
        let explanation = self.explanation(now);
        let view = DetailView {
            rows: rows.iter().map(row).collect(),
            unknown_before,
            ways: self.ways(&explanation, now),
            routes: explanation.routes.iter().map(|route| self.route(route)).collect(),
            facts: facts(&explanation, &alone, now),
            records: members.iter().rev().take(MAX_RECORDS).map(|member| self.record(member, now)).collect(),
            more_records: members.len().saturating_sub(MAX_RECORDS),
        };
        (escaped(&headline), view)
    }

    fn explanation(&self, now: Timestamp) -> Explanation {
        let first_seen = self.ways.rows.iter().map(|row| (row.name.clone(), row.first_seen_at)).collect();
        let explainer = Explainer::new(&self.ways.plan, Some(first_seen)).at(now);
        explainer.explain(self.delivery, Some(self.delivery.record.sequence))
    }

    fn ways(&self, explanation: &Explanation, now: Timestamp) -> Vec<WayDetail> {
        let ways = self.ways.of(self.delivery);
        let details = ways.into_iter().map(|(name, way)| {
            let explained = explanation.destinations.iter().find(|explained| explained.name == name);
            let mut notes = self.attempts(name, way, now);
            notes.extend(explained.map(|explained| self.notes(explained)).unwrap_or_default());
            WayDetail { view: way.view(name), notes }
        });
        details.collect()
    }

    /// What is known of its attempts.
    fn attempts(&self, name: &str, way: Way, now: Timestamp) -> Vec<String> {
        let sequence = self.delivery.record.sequence;
        if let Some(letter) = self.ways.dead.get(&(name.to_owned(), sequence)) {
            let attempts = count(letter.attempts.into(), "attempt");
            let died = Moment::of(letter.died_at, now).text;
            let message = brief(self.told(&letter.message), MAX_VALUE);
            return vec![format!("{}: {message} ({attempts}, given up {died})", escaped(&letter.code))];
        }
        let batch = self.ways.batch(name, sequence).filter(|_| matches!(way, Way::Tried(_)));
        let next = batch.and_then(|batch| batch.not_before).filter(|next| *next > now);
        let next = next.map(|next| format!("not again before {}", Moment::of(next, now).text));
        let settled = "delivered or purged: of purged dead letters only the number is kept".to_owned();
        next.into_iter().chain((way == Way::Settled).then_some(settled)).collect()
    }

    fn notes(&self, explained: &ExplainedDestination) -> Vec<String> {
        let mut notes = match explained.by.as_slice() {
            [] => vec!["no route leads there".to_owned()],
            by => vec![format!("by {}", by.join(", "))],
        };
        notes.extend(explained.cannot_work.iter().map(|why| format!("cannot work now: {why}")));
        notes.extend(explained.notes.iter().cloned());
        if explained.left_out {
            notes.push("left out by the rules of this destination".to_owned());
        }
        let unrenderable = explained.unrenderable.iter().map(|why| self.told(why));
        notes.extend(unrenderable.map(|why| format!("a dead letter at once: {why}")));
        notes
    }

    /// As much of a message as may be told: it may repeat what is in the event.
    fn told<'m>(&self, message: &'m str) -> &'m str {
        if self.sees_names { message } else { nameless::own_words(message) }
    }

    fn route(&self, route: &ExplainedRoute) -> RouteView {
        let asks_who = route.because.as_ref().is_some_and(|because| because.condition.starts_with("actor"));
        let words = match asks_who && !self.sees_names {
            true => "leaves it: it asks who did it".to_owned(),
            false => route_words(route),
        };
        RouteView { name: route.name.clone(), words }
    }

    fn record(&self, delivery: &Delivery, now: Timestamp) -> RecordView {
        let record = &delivery.record;
        let cut = record.original.len().min(MAX_ORIGINAL);
        let text = String::from_utf8_lossy(&record.original[..cut]);
        let lines: Vec<String> = text.lines().map(escaped).collect();
        RecordView {
            id: record.id.to_string(),
            sequence: record.sequence,
            accepted: Moment::of(record.accepted_at, now),
            size: count(record.original.len() as u64, "byte"),
            original: lines.join("\n"),
            is_cut: cut < record.original.len(),
            is_redacted: !self.sees_names,
        }
    }
}

fn row(row: &Row) -> RowView {
    let value = |value: &Option<String>| value.as_deref().map(|value| brief(value, MAX_VALUE));
    RowView { label: brief(&row.label, 200), old: value(&row.old), new: value(&row.new), is_raw: row.is_raw }
}

fn facts(explanation: &Explanation, told: &Delivery, now: Timestamp) -> Vec<FactView> {
    let facts = &explanation.facts;
    let record = &told.record;
    let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "unknown".to_owned());
    let mut found = vec![("source", facts.source.clone()), ("record", facts.record.clone())];
    if facts.record == "event" {
        let list = |values: &Option<Vec<String>>| values.as_ref().map(|values| values.join(", "));
        found.push(("type", format!("{}:{}", value(&facts.noun), value(&facts.action))));
        found.push(("status", value(&facts.status)));
        found.push(("key", value(&facts.key)));
        found.push(("changed", list(&facts.changed).unwrap_or_else(|| "unknown".to_owned())));
        found.push(("live", facts.live.map_or_else(|| "unknown".to_owned(), |live| live.to_string())));
        found.push(("actor kind", value(&facts.actor_kind)));
        found.extend(list(&facts.teams).filter(|teams| !teams.is_empty()).map(|teams| ("teams", teams)));
    }
    found.push(("environment", value(&facts.environment)));
    if facts.has_namespace {
        found.push(("namespace", value(&facts.namespace)));
    }
    found.push(("instance", record.instance.to_string()));
    found.extend(record.event_time.map(|time| ("its own time", Moment::of(time, now).text)));
    found.extend(record.change_set.as_ref().map(|set| ("change set", set.to_string())));
    found.push(("journal epoch", record.epoch.to_string()));
    let view = |(name, value): (&'static str, String)| FactView { name, value: brief(&value, MAX_VALUE) };
    found.into_iter().filter(|(_, value)| !value.is_empty()).map(view).collect()
}
