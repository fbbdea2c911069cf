//! The lane of one destination: it takes groups from its inbox, sends and settles them, in the order of
//! acceptance.
//!
//! This first form has one request on its way at a time. What is on its way, and how often it was tried, is
//! journaled before it matters, so that a restart repeats a group under its old id.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::inbox::{Inbox, Judge, Queued};
use super::retry::{longest_delay, retry_delay};
use super::sender::{SendError, Sender};
use super::status::{LaneState, LaneStatus};
use crate::config::plan::{DeliverSince, RetryPlan};
use crate::destination::{Delivery, Destination, Outcome, Reason, RenderContext};
use crate::event::{BatchId, EventId, Sequence, Timestamp};
use crate::journal::{DeadLetter, DestinationRow, Journal, JournalError, LaneCommit, OpenBatch};
use crate::routing::RouteTable;

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
    name: String,
    destination: Box<dyn Destination>,
    row: DestinationRow,
    retry: RetryPlan,
    timeout: Duration,
    journal: Journal,
    sender: Sender,
    stop: Stop,
    inbox: Inbox,
    status: watch::Sender<LaneStatus>,
    /// Whether draining has cut a wait short already.
    has_cut_short: bool,
}

/// What became of records, to be committed.
#[derive(Default)]
struct Settlement {
    /// Everything up to here is settled; 0 changes nothing.
    cursor: Sequence,
    delivered: u64,
    not_routed: u64,
    dead: Vec<DeadLetter>,
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
        let since = match setup.deliver_since {
            DeliverSince::Beginning => None,
            DeliverSince::Now => Some(setup.row.first_seen_at),
            DeliverSince::Time(time) => Some(time),
        };
        let judge = Judge::new(&setup.name, setup.routes, setup.source_environments, since);
        let limits = setup.destination.limits();
        let lane = Self {
            inbox: Inbox::new(judge, setup.journal.clone(), limits, setup.row.cursor),
            name: setup.name,
            destination: setup.destination,
            row: setup.row,
            retry: setup.retry,
            timeout: setup.timeout,
            journal: setup.journal,
            sender: setup.sender,
            stop: setup.stop,
            status,
            has_cut_short: false,
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

    /// The settlement of one group is committed together with the opening of the next, where that is ready;
    /// at the latest before the lane waits for anything.
    async fn work(&mut self) -> Step<()> {
        let mut done = match self.row.open_batch.take() {
            Some(open) => self.resume(open).await?,
            None => None,
        };
        loop {
            let draining = self.stop.drain.is_cancelled();
            if let Some(group) = self.inbox.take_group(draining) {
                done = Some(self.deliver(group, None, done.take()).await?);
                continue;
            }
            if self.read_more().await? {
                if self.inbox.is_empty() && self.inbox.passed() >= MAX_UNSETTLED {
                    self.settle(done.take()).await?;
                }
                continue;
            }
            self.settle(done.take()).await?;
            if draining && self.inbox.is_empty() && self.inbox.is_caught_up() {
                return Ok(());
            }
            let deadline = self.inbox.deadline();
            tokio::select! {
                biased;
                () = self.stop.now.cancelled() => return Err(Interrupted),
                () = self.stop.drain.cancelled(), if !draining => {}
                more = self.inbox.more() => if !more { return Err(Interrupted) },
                () = sleep_until(deadline) => {}
            }
        }
    }

    async fn read_more(&mut self) -> Step<bool> {
        loop {
            match self.inbox.read_more().await {
                Ok(more) => return Ok(more),
                Err(error) => self.journal_failed(error).await?,
            }
        }
    }

    /// Sends the group again that was on its way when the relay stopped, under its old id.
    async fn resume(&mut self, open: OpenBatch) -> Step<Option<Settlement>> {
        let Some(last) = open.members.iter().chain(&open.settled).copied().max() else { return Ok(None) };
        // What lies between the members was passed over before: read it again, to settle it alike.
        while self.inbox.read_to() < last && self.read_more().await? {}
        let group = self.inbox.take_members(&open.members, &open.settled);
        if group.is_empty() {
            return Ok(None);
        }
        self.deliver(group, Some(open), None).await.map(Some)
    }

    /// Sends one group until each of its records is delivered or dead. Commits `before`, what became of the
    /// group before it, first.
    async fn deliver(
        &mut self,
        group: Vec<Queued>,
        resumed: Option<OpenBatch>,
        before: Option<Settlement>,
    ) -> Step<Settlement> {
        let mut settlement = Settlement {
            cursor: group.last().map_or(0, |queued| queued.sequence),
            not_routed: group.iter().map(|queued| queued.passed_before).sum(),
            ..Settlement::default()
        };
        let mut remaining = Vec::with_capacity(group.len());
        let mut sequences = BTreeMap::new();
        for queued in group {
            match queued.item {
                Ok(delivery) => {
                    sequences.insert(delivery.record.id, queued.sequence);
                    remaining.push(delivery);
                }
                Err(reason) => settlement.dead.push(dead_letter(queued.sequence, &reason, 0)),
            }
        }
        let (id, mut attempts, mut not_before, mut settled) = match resumed {
            Some(open) => (open.id, open.attempts, open.not_before, open.settled),
            None => (self.open(&remaining, &sequences, before).await?, 0, None, Vec::new()),
        };
        while !remaining.is_empty() {
            if let Some(until) = not_before.take() {
                self.wait_until(until).await?;
            }
            attempts += 1;
            let context = RenderContext { now: Timestamp::now(), attempt: attempts, batch_id: id.clone() };
            let (attempted, retry) = self.attempt(&remaining, &context).await?;
            for (member, reason) in &attempted.dead {
                if let Some(sequence) = sequences.get(member) {
                    tracing::warn!(destination = self.name, event = %member, code = reason.code, "dead letter: {}", reason.message);
                    settlement.dead.push(dead_letter(*sequence, reason, attempts));
                }
            }
            settlement.delivered += attempted.delivered.len() as u64;
            match attempted.delivered.len() == remaining.len() {
                true => remaining.clear(),
                false => remaining.retain(|delivery| !attempted.settles(delivery.record.id)),
            }
            let Some((retry_after, reason)) = retry else { continue };
            let wait = retry_delay(&self.retry, attempts, retry_after);
            let until = Timestamp::now().plus(wait);
            tracing::warn!(destination = self.name, batch = id.as_str(), attempts, wait = ?wait, code = reason.code, "not delivered, trying again: {}", reason.message);
            self.status.send_modify(|status| status.wait(wait, &reason.message));
            // What is settled of this group is counted now; the cursor stays before it.
            let waits = |sequence: &Sequence| {
                remaining.iter().any(|delivery| sequences.get(&delivery.record.id) == Some(sequence))
            };
            settled.extend(sequences.values().copied().filter(|sequence| !waits(sequence)));
            settled.extend(settlement.dead.iter().map(|letter| letter.sequence));
            settled.sort_unstable();
            settled.dedup();
            let counted = Settlement {
                delivered: std::mem::take(&mut settlement.delivered),
                dead: std::mem::take(&mut settlement.dead),
                ..Settlement::default()
            };
            let mut open = open_batch(&id, &remaining, &sequences, attempts, Some(until));
            open.settled.clone_from(&settled);
            self.commit(counted, Some(open)).await?;
            not_before = Some(until);
        }
        Ok(settlement)
    }

    /// Fixes the id of a new group, and commits what became of the one before. A group of several is
    /// journaled, in the same commit, before its first attempt; one record is known by its own id.
    async fn open(
        &mut self,
        members: &[Delivery],
        sequences: &BTreeMap<EventId, Sequence>,
        before: Option<Settlement>,
    ) -> Step<BatchId> {
        let ids: Vec<EventId> = members.iter().map(|delivery| delivery.record.id).collect();
        let id = BatchId::of(&self.name, &ids);
        if ids.len() > 1 {
            let open = open_batch(&id, members, sequences, 0, None);
            self.commit(before.unwrap_or_default(), Some(open)).await?;
        } else if let Some(before) = before {
            self.commit(before, None).await?;
        }
        Ok(id)
    }

    /// Renders and sends once. Gives what is settled, and why the rest must be tried again.
    async fn attempt(
        &self,
        deliveries: &[Delivery],
        context: &RenderContext,
    ) -> Step<(Attempted, Option<(Option<Duration>, Reason)>)> {
        let rendered = self.destination.render(deliveries, context);
        let mut attempted = Attempted { delivered: Vec::new(), dead: rendered.unrenderable };
        for outbound in rendered.requests {
            let sent = tokio::select! {
                biased;
                () = self.stop.now.cancelled() => return Err(Interrupted),
                sent = self.sender.send(outbound.request, self.timeout) => sent,
            };
            let outcome = match sent {
                Ok(response) => self.destination.classify(&response, Timestamp::now()),
                Err(SendError::Failed(message)) => {
                    Outcome::Retry { not_before: None, reason: Reason { code: "network", message } }
                }
                Err(SendError::Impossible(message)) => {
                    Outcome::Rejected(Reason { code: "impossible", message })
                }
            };
            match outcome {
                Outcome::Delivered => attempted.delivered.extend(outbound.members),
                Outcome::Rejected(reason) => {
                    attempted
                        .dead
                        .extend(outbound.members.into_iter().map(|member| (member, reason.clone())));
                }
                Outcome::Retry { not_before, reason } => return Ok((attempted, Some((not_before, reason)))),
            }
        }
        Ok((attempted, None))
    }

    /// Waits until it is time; draining cuts one wait short.
    async fn wait_until(&mut self, until: Timestamp) -> Step<()> {
        // A wall clock that was set back meanwhile must not make this longer than any wait can be.
        let wait = until.since(Timestamp::now()).min(longest_delay(&self.retry));
        tokio::select! {
            biased;
            () = self.stop.now.cancelled() => Err(Interrupted),
            () = self.stop.drain.cancelled(), if !self.has_cut_short => {
                self.has_cut_short = true;
                Ok(())
            }
            () = tokio::time::sleep(wait) => Ok(()),
        }
    }

    /// Commits what became of the last group, and of what was passed over since.
    async fn settle(&mut self, done: Option<Settlement>) -> Step<()> {
        let committed = self.status.borrow().cursor;
        let mut settlement = done.unwrap_or_default();
        if let Some((read_to, passed)) = self.inbox.take_passed() {
            settlement.cursor = read_to;
            settlement.not_routed += passed;
        }
        if settlement.cursor <= committed {
            return Ok(());
        }
        self.commit(settlement, None).await
    }

    async fn commit(&self, settlement: Settlement, open_batch: Option<OpenBatch>) -> Step<()> {
        let Settlement { delivered, not_routed, dead, .. } = settlement;
        let cursor = settlement.cursor.max(self.status.borrow().cursor);
        let died = dead.len() as u64;
        let commit = LaneCommit { destination: self.row.id, cursor, delivered, not_routed, dead, open_batch };
        while let Err(error) = self.journal.commit_lane(commit.clone()).await {
            self.journal_failed(error).await?;
        }
        self.status.send_modify(|status| {
            if cursor > status.cursor {
                status.state = LaneState::Running;
            }
            status.cursor = cursor;
            status.books.delivered += delivered;
            status.books.not_routed += not_routed;
            status.books.dead += died;
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
        tracing::error!(destination = self.name, %error, "the journal cannot be used; trying again");
        tokio::select! {
            () = self.stop.now.cancelled() => Err(Interrupted),
            () = tokio::time::sleep(JOURNAL_RETRY) => Ok(()),
        }
    }
}

/// What one attempt settled.
struct Attempted {
    delivered: Vec<EventId>,
    dead: Vec<(EventId, Reason)>,
}

impl Attempted {
    fn settles(&self, id: EventId) -> bool {
        self.delivered.contains(&id) || self.dead.iter().any(|(member, _)| *member == id)
    }
}

fn dead_letter(sequence: Sequence, reason: &Reason, attempts: u32) -> DeadLetter {
    DeadLetter { sequence, code: reason.code.to_owned(), message: reason.message.clone(), attempts }
}

fn open_batch(
    id: &BatchId,
    members: &[Delivery],
    sequences: &BTreeMap<EventId, Sequence>,
    attempts: u32,
    not_before: Option<Timestamp>,
) -> OpenBatch {
    let members = members.iter().filter_map(|member| sequences.get(&member.record.id).copied()).collect();
    OpenBatch { id: id.clone(), members, settled: Vec::new(), attempts, not_before }
}

/// Sleeps until a moment, or for ever.
async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
