//! The lane of one destination: it decides, groups, sends and settles, in the order of acceptance.
//!
//! This first form has one request on its way at a time. What is on its way, and how often it was tried, is
//! journaled before it matters, so that a restart repeats a group under its old id.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::retry::retry_delay;
use super::sender::{SendError, Sender};
use super::status::{LaneState, LaneStatus};
use crate::config::plan::{DeliverSince, RetryPlan};
use crate::destination::{Delivery, Destination, Outcome, Reason, RenderContext};
use crate::event::{BatchId, EventId, RecordKind, Sequence, StoredRecord, Timestamp};
use crate::flipt;
use crate::journal::{
    DeadLetter, DestinationRow, Journal, JournalError, LaneCommit, OpenBatch, ReadLimit, ReadRow,
};
use crate::routing::{EventFacts, Facts, RouteTable};

/// How much is read ahead at once.
const READ_LIMIT: ReadLimit = ReadLimit { max_rows: 512, max_bytes: 1024 * 1024 };
/// How many passed-over records may be unsettled before they are committed on their own.
const MAX_UNSETTLED: u64 = 4_096;
/// How long to wait after the journal failed before asking it again.
const JOURNAL_RETRY: Duration = Duration::from_secs(1);

/// What ends a lane.
#[derive(Debug, Clone)]
pub struct Stop {
    /// Nothing new will come: deliver what is there, cut one wait short, end.
    pub drain: CancellationToken,
    /// End now.
    pub now: CancellationToken,
}

/// All that a lane works with.
pub struct LaneSetup {
    /// The destination's name.
    pub name: String,
    /// The destination.
    pub destination: Box<dyn Destination>,
    /// How it stands in the journal.
    pub row: DestinationRow,
    /// Which records it takes.
    pub routes: Arc<RouteTable>,
    /// Environments that sources fix, by source name.
    pub source_environments: Arc<BTreeMap<String, Arc<str>>>,
    /// Which records it takes by their age.
    pub deliver_since: DeliverSince,
    /// How attempts are repeated.
    pub retry: RetryPlan,
    /// How long an attempt may take.
    pub timeout: Duration,
    /// The journal.
    pub journal: Journal,
    /// The sender.
    pub sender: Sender,
    /// What ends it.
    pub stop: Stop,
}

/// How a lane ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LaneEnd {
    /// Nothing waits.
    Drained,
    /// Time was up, or the journal is closed.
    Interrupted,
}

/// The lane of one destination.
pub struct Lane {
    setup: LaneSetup,
    status: watch::Sender<LaneStatus>,
    latest: watch::Receiver<Sequence>,
    /// Records that were decided on and are not sent yet.
    queue: VecDeque<Queued>,
    /// The last sequence that was read.
    read_to: Sequence,
    /// Records passed over after the last of the queue.
    passed: u64,
    /// Whether the routes ask for what only the event itself tells.
    asks_event_words: bool,
    /// Whether draining has cut a wait short already.
    has_cut_short: bool,
}

/// A record that goes to the destination, or that is dead before it could.
struct Queued {
    sequence: Sequence,
    /// How many records were passed over between the one before and this one.
    passed_before: u64,
    item: Result<Delivery, Reason>,
    queued_at: Instant,
}

/// The lane has to end now.
struct Interrupted;

type Step<T> = Result<T, Interrupted>;

impl Lane {
    /// A lane that begins where the journal says.
    #[must_use]
    pub fn new(setup: LaneSetup) -> (Self, watch::Receiver<LaneStatus>) {
        let (status, watching) = watch::channel(LaneStatus {
            state: LaneState::Running,
            cursor: setup.row.cursor,
            books: setup.row.books,
            last_success_at: None,
        });
        let lane = Self {
            latest: setup.journal.latest(),
            queue: VecDeque::new(),
            read_to: setup.row.cursor,
            passed: 0,
            asks_event_words: setup.routes.asks_event_words(&setup.name),
            has_cut_short: false,
            status,
            setup,
        };
        (lane, watching)
    }

    /// Delivers until stopped.
    pub async fn run(mut self) -> LaneEnd {
        match self.work().await {
            Ok(()) => LaneEnd::Drained,
            Err(Interrupted) => LaneEnd::Interrupted,
        }
    }

    async fn work(&mut self) -> Step<()> {
        if let Some(open) = self.setup.row.open_batch.take() {
            self.resume(open).await?;
        }
        while let Some(group) = self.next_group().await? {
            self.deliver(group, None).await?;
        }
        Ok(())
    }

    /// Sends the group again that was on its way when the relay stopped, under its old id.
    async fn resume(&mut self, open: OpenBatch) -> Step<()> {
        let Some(last) = open.members.last().copied() else { return Ok(()) };
        // What lies between the members was passed over before; read it again to settle it alike.
        while self.read_to < last {
            if !self.read_more().await? {
                break;
            }
        }
        let count = self.queue.iter().take_while(|queued| queued.sequence <= last).count();
        let mut group = Vec::new();
        let mut passed = 0;
        for mut queued in self.queue.drain(..count) {
            // A route that is new takes what comes, not what it would have taken had it been there before.
            if queued.item.is_ok() && !open.members.contains(&queued.sequence) {
                passed += queued.passed_before + 1;
                continue;
            }
            queued.passed_before += std::mem::take(&mut passed);
            group.push(queued);
        }
        match self.queue.front_mut() {
            Some(next) => next.passed_before += passed,
            None => self.passed += passed,
        }
        if group.is_empty() { Ok(()) } else { self.deliver(group, Some(open)).await }
    }

    /// The next records to send together; `None` once draining and nothing is left.
    async fn next_group(&mut self) -> Step<Option<Vec<Queued>>> {
        let limits = self.setup.destination.limits();
        loop {
            let (count, full) = self.group_size();
            let deadline = self.queue.front().map(|first| first.queued_at + limits.wait);
            let draining = self.setup.stop.drain.is_cancelled();
            let ripe = full || draining || deadline.is_none_or(|deadline| Instant::now() >= deadline);
            if full || (count > 0 && ripe && self.is_caught_up()) {
                return Ok(Some(self.queue.drain(..count).collect()));
            }
            if self.read_more().await? {
                continue;
            }
            if self.queue.is_empty() {
                self.settle_passed().await?;
                if draining && self.is_caught_up() {
                    return Ok(None);
                }
            }
            tokio::select! {
                biased;
                () = self.setup.stop.now.cancelled() => return Err(Interrupted),
                () = self.setup.stop.drain.cancelled(), if !draining => {}
                changed = self.latest.changed() => changed.map_err(|_| Interrupted)?,
                () = sleep_until(deadline) => {}
            }
        }
    }

    fn is_caught_up(&self) -> bool {
        self.read_to >= *self.latest.borrow()
    }

    /// How many of the queue's first records go together, and whether no more would fit.
    fn group_size(&self) -> (usize, bool) {
        let limits = self.setup.destination.limits();
        let mut bytes = 0;
        for (index, queued) in self.queue.iter().enumerate() {
            let size = queued.item.as_ref().map_or(0, |delivery| delivery.record.original.len());
            if index > 0 && (index >= limits.max_events || bytes + size > limits.max_bytes) {
                return (index, true);
            }
            bytes += size;
        }
        let count = self.queue.len();
        (count, count >= limits.max_events)
    }

    /// Reads on from the journal and decides; false where nothing new is there.
    async fn read_more(&mut self) -> Step<bool> {
        let latest = *self.latest.borrow_and_update();
        if self.read_to >= latest {
            return Ok(false);
        }
        let rows = loop {
            match self.setup.journal.read_after(self.read_to, READ_LIMIT).await {
                Ok(rows) => break rows,
                Err(error) => self.journal_failed(error).await?,
            }
        };
        let Some(last) = rows.last().map(ReadRow::sequence) else {
            self.read_to = latest; // trimmed
            return Ok(false);
        };
        let now = Instant::now();
        for row in rows {
            let sequence = row.sequence();
            let item = match row {
                ReadRow::Record(record) => match self.decide(&record) {
                    Some(environment) => Ok(Delivery { record: *record, environment }),
                    None => {
                        self.passed += 1;
                        continue;
                    }
                },
                ReadRow::Corrupt { .. } => {
                    tracing::error!(
                        destination = self.setup.name,
                        sequence,
                        "a record was altered on disk since it was accepted; it is not sent"
                    );
                    Err(Reason {
                        code: "corrupt",
                        message: "the record was altered on disk since it was accepted".to_owned(),
                    })
                }
            };
            let passed_before = std::mem::take(&mut self.passed);
            self.queue.push_back(Queued { sequence, passed_before, item, queued_at: now });
        }
        self.read_to = last;
        if self.queue.is_empty() && self.passed >= MAX_UNSETTLED {
            self.settle_passed().await?;
        }
        Ok(true)
    }

    /// Whether a record goes to this destination, and the environment it belongs to.
    fn decide(&self, record: &StoredRecord) -> Option<Option<Arc<str>>> {
        let setup = &self.setup;
        let environment = setup
            .source_environments
            .get(&*record.source)
            .or_else(|| setup.routes.environments.of(&record.namespace))
            .cloned();
        let since = match setup.deliver_since {
            DeliverSince::Beginning => None,
            DeliverSince::Now => Some(setup.row.first_seen_at),
            DeliverSince::Time(time) => Some(time),
        };
        let time = record.event_time.unwrap_or(record.accepted_at);
        // Flipt tells whole seconds: an event of the second in which counting began is not too old.
        if since.is_some_and(|since| time.unix_seconds() < since.unix_seconds()) || is_journal_only(record) {
            return None;
        }
        let is_asked = self.asks_event_words && record.kind == RecordKind::Event;
        let unwrapped = is_asked.then(|| flipt::unwrap(&record.original, record.framing).ok()).flatten();
        let event = match &unwrapped {
            Some(json) => std::str::from_utf8(json).ok().and_then(|json| flipt::AuditEvent::parse(json).ok()),
            _ => None,
        };
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
        setup.routes.goes_to(&setup.name, &facts).then_some(environment)
    }

    /// Sends one group until each of its records is delivered or dead, and settles it.
    async fn deliver(&mut self, group: Vec<Queued>, resumed: Option<OpenBatch>) -> Step<()> {
        let Some(cursor) = group.last().map(|queued| queued.sequence) else { return Ok(()) };
        let not_routed: u64 = group.iter().map(|queued| queued.passed_before).sum();
        let mut dead = Vec::new();
        let mut remaining = Vec::new();
        let mut sequences = BTreeMap::new();
        for queued in group {
            match queued.item {
                Ok(delivery) => {
                    sequences.insert(delivery.record.id, queued.sequence);
                    remaining.push(delivery);
                }
                Err(reason) => dead.push(dead_letter(queued.sequence, &reason, 0)),
            }
        }
        let (id, mut attempts, mut not_before) = match resumed {
            Some(open) => (open.id, open.attempts, open.not_before),
            None => (self.name_group(&remaining, &sequences).await?, 0, None),
        };
        let mut delivered = 0;
        while !remaining.is_empty() {
            if let Some(until) = not_before.take() {
                self.wait_until(until).await?;
            }
            attempts += 1;
            let context = RenderContext { now: Timestamp::now(), attempt: attempts, batch_id: id.clone() };
            let (settled, retry) = self.attempt(&remaining, &context).await?;
            for (member, reason) in &settled.dead {
                if let Some(sequence) = sequences.get(member) {
                    tracing::warn!(destination = self.setup.name, event = %member, code = reason.code, "dead letter: {}", reason.message);
                    dead.push(dead_letter(*sequence, reason, attempts));
                }
            }
            delivered += settled.delivered.len() as u64;
            remaining.retain(|delivery| {
                !settled.delivered.contains(&delivery.record.id)
                    && !settled.dead.iter().any(|(member, _)| *member == delivery.record.id)
            });
            let Some((retry_after, reason)) = retry else { continue };
            let wait = retry_delay(&self.setup.retry, attempts, retry_after);
            let until = Timestamp::now().plus(wait);
            tracing::warn!(destination = self.setup.name, batch = id.as_str(), attempts, wait = ?wait, code = reason.code, "not delivered, trying again: {}", reason.message);
            self.status.send_modify(|status| status.wait(wait, &reason.message));
            let members = remaining.iter().filter_map(|d| sequences.get(&d.record.id).copied()).collect();
            let open = OpenBatch { id: id.clone(), members, attempts, not_before: Some(until) };
            // What has been settled of this group so far waits for its end: the cursor stands before it.
            self.commit(self.committed_cursor(), 0, 0, Vec::new(), Some(open)).await?;
            not_before = Some(until);
        }
        self.commit(cursor, delivered, not_routed, dead, None).await
    }

    /// Fixes the id of a new group; one of several records is journaled before its first attempt.
    async fn name_group(
        &mut self,
        remaining: &[Delivery],
        sequences: &BTreeMap<EventId, Sequence>,
    ) -> Step<BatchId> {
        let members: Vec<EventId> = remaining.iter().map(|delivery| delivery.record.id).collect();
        let id = BatchId::of(&self.setup.name, &members);
        if members.len() > 1 {
            let members = members.iter().filter_map(|member| sequences.get(member).copied()).collect();
            let open = OpenBatch { id: id.clone(), members, attempts: 0, not_before: None };
            self.commit(self.committed_cursor(), 0, 0, Vec::new(), Some(open)).await?;
        }
        Ok(id)
    }

    fn committed_cursor(&self) -> Sequence {
        self.status.borrow().cursor
    }

    /// Renders and sends once. Gives what is settled, and why the rest must be tried again.
    async fn attempt(
        &self,
        deliveries: &[Delivery],
        context: &RenderContext,
    ) -> Step<(Settled, Option<(Option<Duration>, Reason)>)> {
        let rendered = self.setup.destination.render(deliveries, context);
        let mut settled = Settled { delivered: Vec::new(), dead: rendered.unrenderable };
        for outbound in rendered.requests {
            let sent = tokio::select! {
                biased;
                () = self.setup.stop.now.cancelled() => return Err(Interrupted),
                sent = self.setup.sender.send(outbound.request, self.setup.timeout) => sent,
            };
            let outcome = match sent {
                Ok(response) => self.setup.destination.classify(&response, Timestamp::now()),
                Err(SendError::Failed(message)) => {
                    Outcome::Retry { not_before: None, reason: Reason { code: "network", message } }
                }
                Err(SendError::Impossible(message)) => {
                    Outcome::Rejected(Reason { code: "impossible", message })
                }
            };
            match outcome {
                Outcome::Delivered => settled.delivered.extend(outbound.members),
                Outcome::Rejected(reason) => {
                    settled.dead.extend(outbound.members.into_iter().map(|member| (member, reason.clone())));
                }
                Outcome::Retry { not_before, reason } => return Ok((settled, Some((not_before, reason)))),
            }
        }
        Ok((settled, None))
    }

    /// Waits until it is time; draining cuts one wait short.
    async fn wait_until(&mut self, until: Timestamp) -> Step<()> {
        let wait = until.since(Timestamp::now());
        tokio::select! {
            biased;
            () = self.setup.stop.now.cancelled() => Err(Interrupted),
            () = self.setup.stop.drain.cancelled(), if !self.has_cut_short => {
                self.has_cut_short = true;
                Ok(())
            }
            () = tokio::time::sleep(wait) => Ok(()),
        }
    }

    /// Settles records that were passed over, when nothing else is on its way.
    async fn settle_passed(&mut self) -> Step<()> {
        if self.read_to == self.committed_cursor() {
            return Ok(());
        }
        let passed = std::mem::take(&mut self.passed);
        self.commit(self.read_to, 0, passed, Vec::new(), None).await
    }

    async fn commit(
        &self,
        cursor: Sequence,
        delivered: u64,
        not_routed: u64,
        dead: Vec<DeadLetter>,
        open_batch: Option<OpenBatch>,
    ) -> Step<()> {
        let died = dead.len() as u64;
        let is_end = open_batch.is_none();
        let commit =
            LaneCommit { destination: self.setup.row.id, cursor, delivered, not_routed, dead, open_batch };
        while let Err(error) = self.setup.journal.commit_lane(commit.clone()).await {
            self.journal_failed(error).await?;
        }
        self.status.send_modify(|status| {
            status.cursor = cursor;
            status.books.delivered += delivered;
            status.books.not_routed += not_routed;
            status.books.dead += died;
            if is_end {
                status.state = LaneState::Running;
            }
            if delivered > 0 {
                status.last_success_at = Some(Timestamp::now());
            }
        });
        Ok(())
    }

    /// The journal said no: wait and ask again, unless it is closed.
    async fn journal_failed(&self, error: JournalError) -> Step<()> {
        if error == JournalError::Closed {
            return Err(Interrupted);
        }
        tracing::error!(destination = self.setup.name, %error, "the journal cannot be used; trying again");
        tokio::select! {
            () = self.setup.stop.now.cancelled() => Err(Interrupted),
            () = tokio::time::sleep(JOURNAL_RETRY) => Ok(()),
        }
    }
}

/// What one attempt settled.
struct Settled {
    delivered: Vec<EventId>,
    dead: Vec<(EventId, Reason)>,
}

fn dead_letter(sequence: Sequence, reason: &Reason, attempts: u32) -> DeadLetter {
    DeadLetter { sequence, code: reason.code.to_owned(), message: reason.message.clone(), attempts }
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

/// Sleeps until a moment, or for ever.
async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
