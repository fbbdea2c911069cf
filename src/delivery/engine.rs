//! The decisions of one lane: what to send when, what an outcome means, what to commit. Pure: no I/O, every
//! clock is handed in, so that the same code runs under test with time and receivers at will.
//!
//! Promises 2, 3 and 5 are kept here: members and id of a group are committed before its first attempt; a
//! settled record is committed before its slot is used again; no record overtakes another of its key.

mod bounds;
mod outcomes;
mod sending;

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use super::clock::Now;
use super::endpoint::{Endpoint, Permit};
use super::parcel::{Parcel, Part};
use super::rate::Bucket;
use super::resuming::Resuming;
use super::retry::retry_delay;
use super::window::{Moment, Pick, Window};
use crate::config::plan::{RatePlan, RetryPlan};
use crate::destination::{Company, Delivery, Grouping, Limits, Message, Outcome, Reason};
use crate::event::{BatchId, EventId, Sequence};
use crate::journal::{
    Counts, DeadLetter, DestinationId, DestinationRow, EndpointState, LaneCommit, OpenBatch,
};
use crate::telemetry::traces::Thread;

pub(super) use bounds::{is_too_old, too_old};

/// So many records in a row were rejected that it must be the endpoint.
const REJECT_LIMIT: &str = "reject_limit";

/// How a lane works.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    pub(super) destination: String,
    pub(super) retry: RetryPlan,
    pub(super) limits: Limits,
    pub(super) concurrency: usize,
    pub(super) rate_limit: Option<RatePlan>,
    pub(super) expire_after: Option<Duration>,
    pub(super) backlog_max_bytes: Option<u64>,
    pub(super) reject_limit: u32,
    pub(super) observe: bool,
    pub(super) discard: bool,
    pub(super) fingerprint: String,
}

/// One request to be made: render and send these, then [`Engine::report`].
#[derive(Debug)]
pub(super) struct Dispatch {
    pub(super) parcel: Sequence,
    pub(super) id: BatchId,
    /// 1 for the first.
    pub(super) attempt: u32,
    /// What holds it and earlier attempts together in traces.
    pub(super) thread: Option<Thread>,
}

/// What became of what was sent together: of a dispatch, or of a replay's group.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// Taken by the receiver.
    pub(super) delivered: Vec<EventId>,
    /// Rendered under `observe: true`.
    pub(super) observed: Vec<EventId>,
    /// Left out by the destination's own rules.
    pub(super) left_out: Vec<EventId>,
    /// Cannot be rendered.
    pub(super) unrenderable: Vec<(EventId, Reason)>,
    /// The request that ended it, if one did: its members, and the outcome, which is not `Delivered`.
    pub(super) failed: Option<(Vec<EventId>, Outcome)>,
    /// What holds it and later attempts together in traces.
    pub(super) thread: Option<Thread>,
    /// What the receiver warned of though it took everything.
    pub(super) remark: Option<Message>,
}

/// What was decided on a record.
#[derive(Debug)]
pub(super) enum Looked {
    /// For this destination; with how it waits there.
    Mine(Box<Delivery>, Company),
    /// No route.
    NotRouted { sequence: Sequence, size_bytes: u64 },
    /// Left out by the destination's own rules.
    LeftOut { sequence: Sequence, size_bytes: u64 },
    /// From before its `deliver_since`.
    BeforeSince { sequence: Sequence, size_bytes: u64 },
    /// Altered, or gone, since it was accepted.
    Corrupt(Sequence),
}

impl Looked {
    fn sequence(&self) -> Sequence {
        match self {
            Self::Mine(delivery, _) => delivery.record.sequence,
            Self::NotRouted { sequence, .. }
            | Self::LeftOut { sequence, .. }
            | Self::BeforeSince { sequence, .. }
            | Self::Corrupt(sequence) => *sequence,
        }
    }
}

#[derive(Debug, Default)]
struct Changes {
    counts: Counts,
    dead: Vec<DeadLetter>,
    /// Groups that the journal has to hear of: begun, tried, changed or ended.
    batches: HashSet<BatchId>,
}

/// What happened that a person should be told of.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Notice {
    /// The endpoint is blocked, as of now.
    Blocked { gone: bool, reason: Reason, thread: Option<Thread> },
    /// It answers well again after it was blocked.
    Unblocked,
    /// It does not take anything now.
    Waits { attempts: u32, wait: Duration, reason: Reason, thread: Option<Thread> },
    /// One group alone is tried again.
    Parked { id: BatchId, attempts: u32, wait: Duration, reason: Reason, thread: Option<Thread> },
    /// A record is dead.
    Dead { id: EventId, reason: Reason, thread: Option<Thread> },
    /// A record is not what was accepted.
    Corrupt { sequence: Sequence },
    /// So many records are dead, for a reason that many share.
    ManyDead { count: u64, code: &'static str },
}

/// See the module.
#[derive(Debug)]
pub(super) struct Engine {
    rules: Rules,
    row: DestinationId,
    window: Window,
    /// By the first sequence that they had.
    parcels: BTreeMap<Sequence, Parcel>,
    resuming: Resuming,
    endpoint: Endpoint,
    bucket: Option<Bucket>,
    is_paused: bool,
    /// Whether any attempt ended since the start: before, nothing expires.
    was_tried: bool,
    /// The last request that passed.
    passed: u64,
    /// Records rejected in a row.
    rejected: u32,
    in_flight: usize,
    /// Nothing is sent before, by the steady clock: the receiver is given a pause.
    rests_until: Duration,
    /// The number of the replay's request under way.
    replay: u64,
    committed: Sequence,
    changes: Changes,
    notices: Vec<Notice>,
    /// What holds the attempts together in traces whose report is taken in.
    thread: Option<Thread>,
}

impl Engine {
    pub(super) fn new(rules: Rules, row: DestinationRow, now: Now) -> Self {
        let endpoint = Endpoint::restore(row.endpoint, rules.retry, &rules.fingerprint, now);
        let was_rejecting = endpoint.reason().is_some_and(|(code, _)| code == REJECT_LIMIT);
        Self {
            row: row.id,
            window: Window::new(row.cursor, row.quiet, now),
            parcels: BTreeMap::new(),
            resuming: Resuming::new(row.acked, row.open_batches),
            endpoint,
            bucket: rules.rate_limit.map(Bucket::new),
            is_paused: row.paused.is_some(),
            was_tried: false,
            passed: 0,
            rejected: if was_rejecting { rules.reject_limit } else { 0 },
            in_flight: 0,
            rests_until: Duration::ZERO,
            replay: 0,
            committed: row.cursor,
            changes: Changes::default(),
            notices: Vec::new(),
            thread: None,
            rules,
        }
    }

    /// Takes in the next record.
    pub(super) fn look(&mut self, looked: Looked, now: Now) {
        self.skip_to(looked.sequence() - 1);
        let counts = &mut self.changes.counts;
        match looked {
            Looked::Mine(delivery, company) => {
                let is_digest = self.rules.limits.grouping == Grouping::Digest;
                self.take_in(*delivery, if is_digest { company } else { Company::default() }, now);
            }
            Looked::NotRouted { sequence, size_bytes } => {
                counts.not_routed += u64::from(!self.resuming.pass(sequence));
                self.window.pass(sequence, size_bytes);
            }
            Looked::LeftOut { sequence, size_bytes } => {
                counts.left_out += u64::from(!self.resuming.pass(sequence));
                self.window.pass(sequence, size_bytes);
            }
            Looked::BeforeSince { sequence, size_bytes } => {
                counts.before_since += u64::from(!self.resuming.pass(sequence));
                self.window.pass(sequence, size_bytes);
            }
            Looked::Corrupt(sequence) => {
                if !self.resuming.pass(sequence) {
                    let message = "the record was altered, or is gone, since it was accepted".to_owned();
                    self.changes.dead.push(letter(
                        sequence,
                        &Reason { code: "corrupt", message: message.into() },
                        0,
                    ));
                    self.notices.push(Notice::Corrupt { sequence });
                }
                self.window.pass(sequence, 0);
            }
        }
        self.resume(now);
    }

    /// Nothing is there any more up to here.
    pub(super) fn look_past(&mut self, sequence: Sequence, now: Now) {
        self.skip_to(sequence);
        self.resume(now);
    }

    /// What lies before is gone: it was lost with a damaged journal, and a gap record tells of it.
    fn skip_to(&mut self, sequence: Sequence) {
        let skipped = sequence.saturating_sub(self.window.read_to());
        if skipped > 0 {
            self.window.pass_to(sequence);
            self.changes.counts.discarded += skipped - self.resuming.pass_to(sequence).min(skipped);
        }
    }

    fn take_in(&mut self, delivery: Delivery, company: Company, now: Now) {
        let sequence = delivery.record.sequence;
        let size_bytes = delivery.record.size_bytes() as u64;
        if self.resuming.is_settled(sequence) {
            self.resuming.pass(sequence);
            self.window.pass(sequence, size_bytes);
        } else if self.rules.discard {
            self.resuming.pass(sequence);
            self.changes.counts.discarded += 1;
            self.window.pass(sequence, size_bytes);
        } else if self.resuming.is_member(sequence) {
            self.window.add_taken(&delivery, company);
            self.resuming.collect(delivery);
        } else {
            // It began to wait when it was accepted, whenever it is read.
            let waited = now.running.saturating_sub(delivery.record.running);
            let due_at = now.steady + self.rules.limits.wait.saturating_sub(waited);
            self.window.add(delivery, company, due_at);
        }
    }

    /// Groups whose last member was read go on their way again, under their old id.
    fn resume(&mut self, now: Now) {
        for (batch, deliveries, is_whole) in self.resuming.complete(self.window.read_to()) {
            if deliveries.is_empty() {
                self.changes.batches.insert(batch.id);
                continue;
            }
            let mut part = Part::new(&self.rules.destination, deliveries);
            part.is_journaled = true;
            part.attempts = batch.attempts;
            part.not_before = batch.not_before.map(|until| now.due(until, &self.rules.retry));
            if is_whole {
                part.id = batch.id;
            } else {
                self.changes.batches.extend([batch.id, part.id.clone()]);
            }
            self.add_parcel(part);
        }
    }

    fn add_parcel(&mut self, part: Part) -> Option<Sequence> {
        let parcel = Parcel::new(part);
        let first = parcel.first()?;
        self.parcels.insert(first, parcel);
        Some(first)
    }

    /// Whether more records are to be read.
    pub(super) fn wants_more(&self) -> bool {
        if self.room() == 0 {
            return false;
        }
        // What was begun or settled before the start is read first; a lane that dropped all it held reads on.
        if self.resuming.is_open()
            || self.settled_ahead() > 0
            || self.window.unsettled() == 0
            || self.rules.discard
        {
            return true;
        }
        if self.is_paused {
            return false;
        }
        match self.endpoint.state() {
            // What belongs together is seen together.
            EndpointState::Running if self.rules.limits.grouping != Grouping::Any => true,
            EndpointState::Running => !self.window.has_heads() || self.is_short(),
            // There must be something of another key to ask with.
            EndpointState::Waiting | EndpointState::Blocked => !self.window.has_heads(),
            EndpointState::Gone => false,
        }
    }

    /// Whether less waits than there are slots for.
    fn is_short(&self) -> bool {
        let limits = &self.rules.limits;
        let slots = self.concurrency().saturating_sub(self.in_flight);
        slots > 0
            && self.window.pending() < limits.max_events.saturating_mul(slots)
            && self.window.pending_bytes() < limits.max_bytes.saturating_mul(slots)
    }

    /// The next record is this one, and may not be looked at yet.
    pub(super) fn stop_before(&mut self, sequence: Sequence) {
        self.window.stop_before(sequence);
    }

    /// How many more records may be read.
    pub(super) fn room(&self) -> usize {
        // Other edges of what is read at once must not keep a group from becoming whole.
        if self.resuming.is_open() { self.window.rows_left() } else { self.window.room() }
    }

    /// Whether groups that were on their way when the relay stopped are not whole yet.
    pub(super) fn is_resuming(&self) -> bool {
        self.resuming.is_open()
    }

    fn concurrency(&self) -> usize {
        self.rules.concurrency.min(self.rules.limits.max_concurrency).max(1)
    }

    /// A person's decision to send nothing, or its end.
    pub(super) fn pause(&mut self, is_paused: bool) {
        self.is_paused = is_paused;
    }

    /// A person asks to go on: what was found about the endpoint is forgotten.
    pub(super) fn resume_now(&mut self) {
        self.is_paused = false;
        // One rejection more, and it is blocked again.
        self.rejected = self.rejected.min(self.rules.reject_limit.saturating_sub(1));
        self.endpoint.recover();
        self.hurry_parcels();
    }

    /// Every wait ends now, once: the relay is about to end.
    pub(super) fn hurry(&mut self, now: Now) {
        self.endpoint.hurry(now);
        self.hurry_parcels();
    }

    fn hurry_parcels(&mut self) {
        for part in self.parcels.values_mut().flat_map(|parcel| &mut parcel.parts) {
            part.not_before = None;
        }
    }

    /// What is to be committed before anything else is done; `None` where there is nothing.
    pub(super) fn take_commit(&mut self) -> Option<LaneCommit> {
        let cursor = self.window.cursor();
        let changes = &self.changes;
        let is_same = cursor == self.committed
            && changes.counts == Counts::default()
            && changes.dead.is_empty()
            && changes.batches.is_empty()
            && !self.window.has_quiet_changed()
            && !self.endpoint.is_changed();
        if is_same {
            return None;
        }
        self.committed = cursor;
        let Changes { counts, dead, batches } = std::mem::take(&mut self.changes);
        let (opened, closed) = self.stand_of(batches);
        Some(LaneCommit {
            destination: self.row,
            cursor,
            // What was settled before the start and is not read again yet is settled still.
            acked: [self.window.acked(), self.resuming.settled()].concat(),
            counts,
            dead,
            opened,
            closed,
            endpoint: self.endpoint.take_changed(),
            quiet: self.window.take_quiet(),
        })
    }

    /// How groups stand now: those that are left to send, and the ids of those that are not.
    fn stand_of(&self, mut batches: HashSet<BatchId>) -> (Vec<OpenBatch>, Vec<BatchId>) {
        let mut opened = Vec::with_capacity(batches.len());
        if !batches.is_empty() {
            let parts = self.parcels.values().flat_map(|parcel| &parcel.parts);
            opened.extend(parts.filter(|part| batches.remove(&part.id)).map(Part::open_batch));
        }
        (opened, batches.into_iter().collect())
    }

    /// What the records of the lane take in memory, about.
    pub(super) fn held_bytes(&self) -> u64 {
        self.window.held_bytes()
    }

    /// Records that were settled before the start, and are not read again yet: they wait for nothing.
    pub(super) fn settled_ahead(&self) -> u64 {
        self.resuming.settled_count()
    }

    /// Whether nothing waits, but for what is to wait beyond the end of the relay.
    pub(super) fn is_done(&self, now: Now) -> bool {
        !self.has_something_to_send(now) && !self.resuming.is_open()
    }

    /// Whether anything waits that is not held back.
    fn has_something_to_send(&self, now: Now) -> bool {
        self.window.unsettled() > self.window.held(now.steady).0
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    pub(super) fn window(&self) -> &Window {
        &self.window
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub(super) fn is_paused(&self) -> bool {
        self.is_paused
    }

    pub(super) fn rules(&self) -> &Rules {
        &self.rules
    }

    /// What happened since the last call.
    pub(super) fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }
}

fn is_ready(parcel: &Parcel, now: Now) -> bool {
    let part = parcel.parts.front();
    parcel.number.is_none() && part.is_some_and(|part| part.not_before.is_none_or(|(at, _)| now.steady >= at))
}

fn sequence_of(delivery: &Delivery) -> Sequence {
    delivery.record.sequence
}

/// The dead letter of a record.
pub(super) fn letter(sequence: Sequence, reason: &Reason, attempts: u32) -> DeadLetter {
    DeadLetter { sequence, code: reason.code.to_owned(), message: reason.message.to_string(), attempts }
}
