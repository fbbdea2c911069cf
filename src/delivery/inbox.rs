//! What a lane has before it: records read ahead from the journal, decided on, and grouped.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::destination::{Delivery, Limits, Reason};
use crate::event::{RecordKind, Sequence, StoredRecord, Timestamp};
use crate::flipt;
use crate::journal::{Journal, JournalError, ReadLimit, ReadRow};
use crate::routing::{EventFacts, Facts, RouteTable};

/// How much is read ahead at once.
const READ_LIMIT: ReadLimit = ReadLimit { max_rows: 512, max_bytes: 1024 * 1024 };

/// A record that goes to the destination, or that is dead before it could.
pub(super) struct Queued {
    pub(super) sequence: Sequence,
    /// How many records were passed over between the one before and this one.
    pub(super) passed_before: u64,
    pub(super) item: Result<Delivery, Reason>,
    queued_at: Instant,
}

/// Decides which records go to one destination.
pub(super) struct Judge {
    destination: String,
    routes: Arc<RouteTable>,
    source_environments: Arc<BTreeMap<String, Arc<str>>>,
    /// Events older than this are not for it.
    since: Option<Timestamp>,
    /// Whether the routes ask for what only the event itself tells.
    asks_event_words: bool,
}

/// The records that a lane has before it.
pub(super) struct Inbox {
    judge: Judge,
    journal: Journal,
    latest: watch::Receiver<Sequence>,
    limits: Limits,
    /// Records that were decided on and are not sent yet.
    queue: VecDeque<Queued>,
    /// The last sequence that was read.
    read_to: Sequence,
    /// Records passed over after the last of the queue.
    passed: u64,
}

impl Inbox {
    /// Begins after `cursor`.
    pub(super) fn new(judge: Judge, journal: Journal, limits: Limits, cursor: Sequence) -> Self {
        let latest = journal.latest();
        Self { judge, journal, latest, limits, queue: VecDeque::new(), read_to: cursor, passed: 0 }
    }

    /// The next records to send together, where they are ripe: as many as fit, or whatever is there once
    /// nothing more is to be read and the first has waited long enough (`hurry`: at once).
    pub(super) fn take_group(&mut self, hurry: bool) -> Option<Vec<Queued>> {
        let (count, full) = self.group_size();
        let ripe = hurry || self.deadline().is_none_or(|deadline| Instant::now() >= deadline);
        (full || (count > 0 && ripe && self.is_caught_up())).then(|| self.queue.drain(..count).collect())
    }

    /// Until when the first record waits for company.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.queue.front().map(|first| first.queued_at + self.limits.wait)
    }

    /// Whether nothing waits to be sent.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether everything that the journal holds was read.
    pub(super) fn is_caught_up(&self) -> bool {
        self.read_to >= *self.latest.borrow()
    }

    /// Returns when the journal holds more than was last seen; false once it is closed.
    pub(super) async fn more(&mut self) -> bool {
        self.latest.changed().await.is_ok()
    }

    /// How many records were passed over since the last that is in the queue.
    pub(super) fn passed(&self) -> u64 {
        self.passed
    }

    /// What was passed over when nothing waits: up to which sequence, and how many since the last call.
    pub(super) fn take_passed(&mut self) -> Option<(Sequence, u64)> {
        self.queue.is_empty().then(|| (self.read_to, std::mem::take(&mut self.passed)))
    }

    /// The records of a group that was on its way before, and what now lies between them: `settled` ones are
    /// counted already.
    ///
    /// A route that is new takes what comes, not what it would have taken had it been there before.
    pub(super) fn take_members(&mut self, members: &[Sequence], settled: &[Sequence]) -> Vec<Queued> {
        let last = members.iter().chain(settled).copied().max().unwrap_or_default();
        let count = self.queue.iter().take_while(|queued| queued.sequence <= last).count();
        let mut group = Vec::new();
        let mut passed = 0;
        for mut queued in self.queue.drain(..count) {
            if !members.contains(&queued.sequence) {
                let is_counted = settled.contains(&queued.sequence);
                if queued.item.is_ok() || is_counted {
                    passed += queued.passed_before + u64::from(!is_counted);
                    continue;
                }
            }
            queued.passed_before += std::mem::take(&mut passed);
            group.push(queued);
        }
        match self.queue.front_mut() {
            Some(next) => next.passed_before += passed,
            None => self.passed += passed,
        }
        group
    }

    /// The last sequence that was read.
    pub(super) fn read_to(&self) -> Sequence {
        self.read_to
    }

    /// Reads on from the journal and decides; false where nothing new is there.
    pub(super) async fn read_more(&mut self) -> Result<bool, JournalError> {
        let latest = *self.latest.borrow_and_update();
        if self.read_to >= latest {
            return Ok(false);
        }
        let rows = self.journal.read_after(self.read_to, READ_LIMIT).await?;
        let Some(last) = rows.last().map(ReadRow::sequence) else {
            self.read_to = latest; // what was between is gone
            return Ok(false);
        };
        let now = Instant::now();
        for row in rows {
            let sequence = row.sequence();
            let item = match row {
                ReadRow::Record(record) => match self.judge.decide(&record) {
                    Some(environment) => Ok(Delivery { record: *record, environment }),
                    None => {
                        self.passed += 1;
                        continue;
                    }
                },
                ReadRow::Corrupt { .. } => {
                    let message = "the record was altered, or is gone, since it was accepted";
                    tracing::error!(destination = self.judge.destination, sequence, "not sent: {message}");
                    Err(Reason { code: "corrupt", message: message.to_owned() })
                }
            };
            let passed_before = std::mem::take(&mut self.passed);
            self.queue.push_back(Queued { sequence, passed_before, item, queued_at: now });
        }
        self.read_to = last;
        Ok(true)
    }

    /// How many of the queue's first records go together, and whether no more would fit.
    fn group_size(&self) -> (usize, bool) {
        let mut bytes = 0;
        for (index, queued) in self.queue.iter().enumerate() {
            let size = queued.item.as_ref().map_or(0, |delivery| delivery.record.original.len());
            if index > 0 && (index >= self.limits.max_events || bytes + size > self.limits.max_bytes) {
                return (index, true);
            }
            bytes += size;
        }
        let count = self.queue.len();
        (count, count >= self.limits.max_events)
    }
}

impl Judge {
    /// Decides for `destination`, which takes nothing that happened before `since`.
    pub(super) fn new(
        destination: &str,
        routes: Arc<RouteTable>,
        source_environments: Arc<BTreeMap<String, Arc<str>>>,
        since: Option<Timestamp>,
    ) -> Self {
        let asks_event_words = routes.asks_event_words(destination);
        Self { destination: destination.to_owned(), routes, source_environments, since, asks_event_words }
    }

    /// Whether a record goes to this destination, and the environment it belongs to.
    fn decide(&self, record: &StoredRecord) -> Option<Option<Arc<str>>> {
        let environment = self
            .source_environments
            .get(&*record.source)
            .or_else(|| self.routes.environments.of(&record.namespace))
            .cloned();
        let time = record.event_time.unwrap_or(record.accepted_at);
        // Flipt tells whole seconds: an event of the second in which counting began is not too old.
        if self.since.is_some_and(|since| time.unix_seconds() < since.unix_seconds())
            || is_journal_only(record)
        {
            return None;
        }
        let is_asked = self.asks_event_words && record.kind == RecordKind::Event;
        let json = is_asked.then(|| flipt::unwrap(&record.original, record.framing).ok()).flatten();
        let text = json.as_deref().and_then(|json| std::str::from_utf8(json).ok());
        let event = text.and_then(|text| flipt::AuditEvent::parse(text).ok());
        let facts = Facts {
            record: record.kind,
            source: &record.source,
            event: event.as_ref().map(|event| EventFacts {
                noun: &event.noun,
                verb: &event.action,
                status: &event.status,
            }),
            namespace: &record.namespace,
            environment: environment.as_deref(),
        };
        self.routes.goes_to(&self.destination, &facts).then_some(environment)
    }
}

/// Whether a record was imported for the journal alone.
fn is_journal_only(record: &StoredRecord) -> bool {
    #[derive(Deserialize, Default)]
    struct Detail {
        #[serde(default)]
        journal_only: bool,
    }
    record
        .detail
        .as_deref()
        .is_some_and(|detail| serde_json::from_str::<Detail>(detail).unwrap_or_default().journal_only)
}
