//! The replays of one destination: jobs of their own beside the cursor, one group on its way at a time.

use std::collections::VecDeque;
use std::time::Duration;

use super::clock::Now;
use super::engine::{Report, is_too_old, letter, too_old};
use super::judge::{Judge, ReplayFilter};
use crate::destination::{Delivery, Destination, Grouping, Limits, Outcome, Reason, RenderContext, Rendered};
use crate::event::{BatchId, EventId, Sequence};
use crate::journal::{DeadLetter, Journal, JournalError, ReadLimit, ReadRow, ReplayCommit, ReplayRow};
use crate::telemetry::traces::Thread;

/// How much is read at once.
const READ_LIMIT: ReadLimit = ReadLimit { max_rows: 256, max_bytes: 1024 * 1024 };

/// Renders a group, without what the receiver would refuse for its age.
pub(super) fn render(
    destination: &dyn Destination,
    deliveries: &[Delivery],
    context: &RenderContext,
    now: Now,
) -> Rendered {
    let max_age = destination.limits().max_event_age;
    let Some(max_age) =
        max_age.filter(|age| deliveries.iter().any(|delivery| is_too_old(delivery, *age, now)))
    else {
        return destination.render(deliveries, context);
    };
    let (old, young): (Vec<_>, Vec<_>) =
        deliveries.iter().cloned().partition(|delivery| is_too_old(delivery, max_age, now));
    let mut rendered =
        if young.is_empty() { Rendered::default() } else { destination.render(&young, context) };
    rendered.unrenderable.extend(old.into_iter().map(|delivery| (delivery.record.id, too_old(max_age))));
    rendered
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Replays {
    rows: VecDeque<ReplayRow>,
    /// Records of the first that were read and not sent.
    queue: VecDeque<Delivery>,
    /// The group to be sent, or on its way.
    group: Vec<Delivery>,
    /// How often it was tried.
    attempts: u32,
    /// How many requests the lane had made when the group failed last.
    failed_at: Option<u64>,
    /// How many records go alone, because a group that held them was refused.
    alone: usize,
    /// Everything up to here was read.
    read_to: Sequence,
    has_read_all: bool,
    /// The earliest time of the next request, by the steady clock.
    not_before: Duration,
    pub(super) is_under_way: bool,
    /// What holds the attempts of the group together in traces.
    thread: Option<Thread>,
}

impl Replays {
    /// Looks which jobs there are.
    pub(super) async fn look(&mut self, journal: &Journal, destination: &str) -> Result<(), JournalError> {
        let unfinished = journal.replays(true).await?;
        let known = |id| self.rows.iter().any(|row| row.id == id);
        let new: Vec<_> =
            unfinished.into_iter().filter(|row| row.destination == destination && !known(row.id)).collect();
        if self.rows.is_empty()
            && let Some(first) = new.first()
        {
            self.read_to = first.position;
        }
        self.rows.extend(new);
        Ok(())
    }

    pub(super) fn rows(&self) -> Vec<ReplayRow> {
        self.rows.iter().cloned().collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Whether a group waits to be sent, and since when it may be.
    pub(super) fn due_at(&self) -> Option<Duration> {
        (!self.group.is_empty() && !self.is_under_way).then_some(self.not_before)
    }

    /// Makes the next group ready. Gives what to commit where nothing of the job is left to send.
    pub(super) async fn prepare(
        &mut self,
        journal: &Journal,
        judge: &Judge,
        limits: &Limits,
    ) -> Result<Option<ReplayCommit>, JournalError> {
        if self.is_under_way || !self.group.is_empty() {
            return Ok(None);
        }
        let Some(row) = self.rows.front().cloned() else { return Ok(None) };
        let (mut passed, mut dead) = (0, Vec::new());
        let filter = ReplayFilter::of(&row.selection);
        while self.queue.is_empty() && !self.has_read_all {
            let from = ReplayRow { position: self.read_to, ..row.clone() };
            let rows = journal.read_replay(&from, READ_LIMIT).await?;
            self.has_read_all = rows.is_empty();
            for read in rows {
                self.read_to = read.sequence();
                match read {
                    ReadRow::Corrupt { sequence } => {
                        let message = "the record was altered since it was accepted".to_owned();
                        dead.push(letter(sequence, &Reason { code: "corrupt", message: message.into() }, 0));
                    }
                    ReadRow::Record(record) if !filter.takes(judge, &record) => passed += 1,
                    ReadRow::Record(record) => {
                        let environment = judge.environment(&record.source, &record.namespace);
                        self.queue.push_back(Delivery { record: *record, environment });
                    }
                }
            }
        }
        self.fill(limits);
        let finished = self.group.is_empty();
        if !finished && passed == 0 && dead.is_empty() {
            return Ok(None);
        }
        let first = self.group.first().map(|delivery| delivery.record.sequence - 1);
        Ok(Some(ReplayCommit {
            id: row.id,
            position: first.unwrap_or(self.read_to).max(row.position),
            taken: Vec::new(),
            refused: dead,
            passed,
            finished,
        }))
    }

    fn fill(&mut self, limits: &Limits) {
        (self.attempts, self.failed_at, self.thread) = (0, None, None);
        let max_events = if self.alone > 0 { 1 } else { limits.max_events.max(1) };
        let mut bytes = 0;
        while self.group.len() < max_events {
            let Some(next) = self.queue.front() else { break };
            bytes += next.record.size_bytes();
            // Each change set is a request of its own, and costs one.
            let set = |delivery: &Delivery| delivery.record.change_set.clone();
            let belongs =
                self.group.first().is_none_or(|first| set(first).is_some() && set(first) == set(next));
            if limits.grouping == Grouping::ChangeSet && !belongs {
                break;
            }
            if !self.group.is_empty() && bytes > limits.max_bytes {
                break;
            }
            self.group.extend(self.queue.pop_front());
        }
        self.alone = self.alone.saturating_sub(1);
    }

    /// The group to send now: its id, its attempt, its records.
    pub(super) fn begin(&mut self, destination: &str, now: Duration) -> (BatchId, u32, &[Delivery]) {
        let ids: Vec<EventId> = self.group.iter().map(|delivery| delivery.record.id).collect();
        self.is_under_way = true;
        self.attempts += 1;
        if let Some(rate) = self.rows.front().and_then(|row| row.rate).filter(|rate| *rate > 0) {
            let count = u32::try_from(self.group.len()).unwrap_or(u32::MAX);
            self.not_before = now.max(self.not_before) + Duration::from_secs(1) / rate * count;
        }
        (BatchId::of(destination, &ids), self.attempts, &self.group)
    }

    /// What holds the next attempt of the group and those before together in traces.
    pub(super) fn thread(&self) -> Option<Thread> {
        self.thread.clone()
    }

    /// How many requests the lane had made when the group failed last, if it did.
    pub(super) fn failed_at(&self) -> Option<u64> {
        self.failed_at
    }

    /// The lane has made so many requests now that something came back; counts where the group failed.
    pub(super) fn note_failure(&mut self, issued: u64) {
        self.failed_at = Some(issued);
    }

    /// Takes in what became of the group. Gives what to commit.
    pub(super) fn end(&mut self, report: Report) -> Option<ReplayCommit> {
        self.is_under_way = false;
        self.thread = report.thread.clone();
        let row = self.rows.front()?;
        let attempts = self.attempts;
        let mut group = std::mem::take(&mut self.group);
        let find = |ids: &[EventId]| -> Vec<Sequence> {
            let is_named = |delivery: &&Delivery| ids.contains(&delivery.record.id);
            group.iter().filter(is_named).map(|delivery| delivery.record.sequence).collect()
        };
        let taken = find(&report.delivered);
        let left_out = find(&report.left_out);
        let mut refused: Vec<DeadLetter> = Vec::new();
        let mut refuse = |ids: &[EventId], reason: &Reason| {
            refused.extend(find(ids).into_iter().map(|sequence| letter(sequence, reason, attempts)));
        };
        for (id, reason) in &report.unrenderable {
            refuse(&[*id], reason);
        }
        if let Some((members, Outcome::Rejected(reason))) = &report.failed {
            match members.len() {
                1 => refuse(members, reason),
                several => self.alone = several,
            }
        }
        let is_done = |delivery: &Delivery| {
            let sequence = delivery.record.sequence;
            taken.contains(&sequence)
                || left_out.contains(&sequence)
                || refused.iter().any(|letter| letter.sequence == sequence)
        };
        let position = group.iter().take_while(|delivery| is_done(delivery)).last();
        let position = position.map_or(row.position, |delivery| delivery.record.sequence);
        group.retain(|delivery| !is_done(delivery));
        let is_refused = matches!(report.failed, Some((_, Outcome::Rejected(_))));
        if is_refused || report.failed.is_none() {
            // What is left goes out anew: one by one where a group of several was refused.
            group.into_iter().rev().for_each(|delivery| self.queue.push_front(delivery));
        } else {
            self.group = group;
        }
        let passed = left_out.len() as u64;
        Some(ReplayCommit { id: row.id, position, taken, refused, passed, finished: false })
    }

    /// What was committed.
    pub(super) fn committed(&mut self, row: ReplayRow) {
        if row.finished_at.is_none() {
            if let Some(first) = self.rows.front_mut() {
                *first = row;
            }
            return;
        }
        self.rows.pop_front();
        (self.has_read_all, self.alone) = (false, 0);
        self.queue.clear();
        self.read_to = self.rows.front().map_or(0, |row| row.position);
    }
}
