//! A relay in small: the real journal, and for each destination the real engine, inbox and replays. Clocks and
//! receivers are of memory, and whatever a destination is sent is looked at on its way.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::small_receiver::{Answer, Receiver, binds, ids};
use super::*;
use crate::delivery::engine::{Dispatch, Report};
use crate::delivery::inbox::Inbox;
use crate::delivery::judge::{Decision, Judge};
use crate::delivery::replay::Replays;
use crate::event::{Entity, Keys, NewRecord, OrderRef};
use crate::journal::{
    Act, ActKind, Append, DeadLetterRow, DeadLetterSelection, Journal, MAX_WINDOW, Options, ReadLimit,
    ReadRow, ReplayCommit, SourceId,
};
use crate::routing::{Conditions, Pattern, Route, RouteTable};

/// A request on its way.
#[derive(Debug)]
pub(super) struct Sent {
    dispatch: Dispatch,
    deliveries: Vec<Delivery>,
}

/// The lane of one destination, without what makes it wait.
pub(super) struct SmallLane {
    pub(super) id: DestinationId,
    engine: Engine,
    inbox: Inbox,
    replays: Replays,
    pub(super) under_way: Vec<Sent>,
    /// The replay's request under way.
    pub(super) replaying: Vec<EventId>,
}

/// A destination of the configuration, or one that was there.
pub(super) struct Slot {
    pub(super) name: String,
    pub(super) renamed_from: Option<String>,
    pub(super) is_configured: bool,
    pub(super) rules: Rules,
    /// `None`: the journal does not know it.
    pub(super) lane: Option<SmallLane>,
}

/// See the module.
pub(super) struct SmallRelay {
    pub(super) dir: TempDir,
    pub(super) journal: Journal,
    runtime: Runtime,
    source: SourceId,
    pub(super) slots: Vec<Slot>,
    receivers: HashMap<DestinationId, Receiver>,
    /// Every record, by sequence, whatever retention removed.
    known: BTreeMap<Sequence, Delivery>,
    /// Since the beginning, and since the last start.
    elapsed: Duration,
    started: Duration,
    accepted: u64,
}

pub(super) fn open(dir: &Path) -> Journal {
    let options = Options {
        data_dir: dir.to_path_buf(),
        keep: Duration::ZERO,
        max_size_bytes: 1 << 30,
        lock_wait: Duration::from_secs(20),
        keeps_all: false,
    };
    Journal::open(options).unwrap().0
}

pub(super) fn act(act: ActKind) -> Act {
    let detail = serde_json::Value::Null;
    Act { act, destination: None, by: "ann (1000)".to_owned(), reason: None, records: None, detail }
}

impl SmallRelay {
    /// One with a destination for each of these rules.
    pub(super) fn new(rules: impl IntoIterator<Item = Rules>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let journal = open(dir.path());
        let slot = |(index, rules): (usize, Rules)| {
            let name = format!("siem_{index}");
            let rules = Rules { destination: name.clone(), ..rules };
            Slot { name, renamed_from: None, is_configured: true, rules, lane: None }
        };
        let mut relay = Self {
            dir,
            runtime: tokio::runtime::Builder::new_current_thread().build().unwrap(),
            source: journal.register_source("flipt", "flipt").unwrap().id,
            journal,
            slots: rules.into_iter().enumerate().map(slot).collect(),
            receivers: HashMap::new(),
            known: BTreeMap::new(),
            elapsed: Duration::ZERO,
            started: Duration::ZERO,
            accepted: 0,
        };
        relay.start();
        relay
    }

    pub(super) fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    fn now(&self) -> Now {
        Now {
            wall: Timestamp::from_unix_micros(START).plus(self.elapsed),
            steady: self.elapsed - self.started,
            running: self.journal.running(),
            is_wall_sure: true,
        }
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.elapsed += time;
        self.journal.advance_running(time);
    }

    pub(super) fn last(&self) -> Sequence {
        *self.journal.latest().borrow()
    }

    /// Accepts records: of a flag, a barrier (0), or one that goes nowhere (1).
    pub(super) fn accept(&mut self, keys: &[u8]) {
        let record = |key: &u8| {
            self.accepted += 1;
            let line = format!("{{\"line\":{},\"key\":{key}}}", self.accepted);
            let namespace = if *key == 1 { "quiet" } else { "default" };
            let (flag, known) = (format!("flag-{key}"), Namespace::Known(namespace.to_owned()));
            let keys = Keys {
                entity: Some(Entity { kind: EntityKind::Flag, id: flag.clone() }),
                order: OrderRef::Known(OrderKey::new("flipt", namespace, EntityKind::Flag, &flag)),
                ..Keys::barrier(known.clone())
            };
            NewRecord {
                id: Some(EventId::of_sequence("small", self.accepted, line.as_bytes())),
                kind: RecordKind::Event,
                offset: 0,
                framing: Framing::Auto,
                original: line.into_bytes(),
                detail: None,
                event_time: Some(Timestamp::from_unix_micros(START).plus(self.elapsed)),
                keys: if *key == 0 { Keys::barrier(known) } else { keys },
                news: None,
                trace: None,
                origin: None,
            }
        };
        let records = keys.iter().map(record).collect();
        let append = Append { source: self.source, advance: None, records, ignored: 0 };
        self.journal.append(append).blocking_recv().unwrap().unwrap();
    }

    /// Ends, with whatever is under way; `crash`: the files are left as they are at this moment.
    pub(super) fn end(&mut self, crash: bool) {
        for slot in &mut self.slots {
            slot.lane = None;
        }
        if crash {
            self.journal.settle_down();
            let copy = tempfile::tempdir().unwrap();
            for name in ["journal.db", "journal.db-wal"] {
                std::fs::copy(self.dir.path().join(name), copy.path().join(name)).unwrap();
            }
            self.journal.clone().close().unwrap();
            self.dir = copy;
        } else {
            self.journal.clone().close().unwrap();
        }
        self.journal = open(self.dir.path());
        self.started = self.elapsed;
    }

    /// Starts a lane for each destination that is configured, and for each orphan.
    pub(super) fn start(&mut self) {
        let to = || self.slots.iter().map(|slot| slot.name.clone()).collect();
        let patterns = vec![Pattern::new("default")];
        let events = Conditions { namespaces: patterns, ..Conditions::default() };
        let acts = Conditions { record: vec![RecordKind::Act], ..Conditions::default() };
        let route = |name: &str, when, to| Route { name: name.to_owned(), when, unless: None, to };
        let routes =
            vec![route("events", events, to()), route("acts", acts, vec![self.slots[0].name.clone()])];
        let routes = Arc::new(RouteTable { routes, ..RouteTable::default() });
        let now = self.now();
        for index in 0..self.slots.len() {
            let slot = &self.slots[index];
            let row = if slot.is_configured {
                let registered = self.journal.register_destination(&slot.name, slot.renamed_from.as_deref());
                Some(self.wait(registered).unwrap())
            } else {
                let known = self.rows().into_iter().find(|row| row.name == slot.name);
                known.map(|row| self.wait(self.journal.orphan_destination(row.id)).unwrap())
            };
            let lane = row.map(|row| {
                let routes = slot.is_configured.then(|| Arc::clone(&routes));
                let judge = Judge::new(&slot.name, routes, Arc::default(), None);
                let orphaned = Rules { backlog_max_bytes: Some(2_000), concurrency: 1, ..rules(1, 1) };
                let rules = if slot.is_configured { slot.rules.clone() } else { orphaned };
                self.receivers.entry(row.id).or_default().discards |= rules.discard;
                let mut replays = Replays::default();
                self.runtime.block_on(replays.look(&self.journal, &slot.name)).unwrap();
                SmallLane {
                    id: row.id,
                    inbox: Inbox::new(judge, self.journal.clone(), row.cursor),
                    engine: Engine::new(rules, row, now),
                    replays,
                    under_way: Vec::new(),
                    replaying: Vec::new(),
                }
            });
            self.slots[index].lane = lane;
        }
        let names: Vec<_> =
            self.slots.iter().filter(|slot| slot.lane.is_some()).map(|slot| &slot.name).collect();
        assert!(self.rows().iter().all(|row| names.contains(&&row.name)));
    }

    pub(super) fn rows(&self) -> Vec<DestinationRow> {
        self.wait(self.journal.destinations()).unwrap()
    }

    pub(super) fn letters(&self, destination: Option<&str>, max_rows: usize) -> Vec<DeadLetterRow> {
        let destination = destination.map(str::to_owned);
        let selection = DeadLetterSelection { destination, ..DeadLetterSelection::default() };
        self.wait(self.journal.dead_letters(selection, None, max_rows)).unwrap()
    }

    pub(super) fn pause(&mut self, slot: usize, is_paused: bool) {
        let Some(lane) = &mut self.slots[slot].lane else { return };
        match is_paused {
            true => lane.engine.pause(true),
            false => lane.engine.resume_now(),
        }
    }

    /// The lane is told of a new replay.
    pub(super) fn look_for_replays(&mut self, slot: usize) {
        let slot = &mut self.slots[slot];
        let Some(lane) = &mut slot.lane else { return };
        self.runtime.block_on(lane.replays.look(&self.journal, &slot.name)).unwrap();
    }

    /// One turn of the lane: read, decide, commit, send.
    pub(super) fn turn(&mut self, slot: usize) {
        let now = self.now();
        let Slot { lane: Some(lane), is_configured, .. } = &mut self.slots[slot] else { return };
        let receiver = self.receivers.entry(lane.id).or_default();
        lane.fill(&self.runtime, now);
        let mut ready = Vec::new();
        if *is_configured {
            ready = lane.prepare(receiver, now);
            self.send_replay(slot);
        }
        self.commit(slot);
        self.learn();
        for sent in ready {
            self.send(slot, sent);
        }
        if let Some(lane) = &mut self.slots[slot].lane {
            let read_to = lane.engine.window().read_to();
            while self.runtime.block_on(lane.inbox.look_out(read_to)).unwrap() {}
        }
    }

    fn send_replay(&mut self, slot: usize) {
        let now = self.now();
        let Slot { lane: Some(lane), name, rules, .. } = &mut self.slots[slot] else { return };
        if lane.replays.is_empty() || rules.observe {
            return;
        }
        let prepared = lane.replays.prepare(&self.journal, lane.inbox.judge(), &rules.limits);
        let prepared = self.runtime.block_on(prepared).unwrap();
        lane.commit_replay(&self.journal, &self.runtime, prepared);
        let is_due = lane.replays.due_at().is_some_and(|at| now.steady >= at);
        if is_due && lane.engine.begin_replay(now) {
            let (_, _, deliveries) = lane.replays.begin(name, now.steady);
            lane.replaying = ids(deliveries);
        }
    }

    /// Commits what has changed.
    fn commit(&mut self, slot: usize) {
        let Some(lane) = &mut self.slots[slot].lane else { return };
        let Some(commit) = lane.engine.take_commit() else { return };
        assert!(
            commit.acked.is_sorted()
                && commit.acked.last().is_none_or(|last| *last <= commit.cursor + MAX_WINDOW)
        );
        let receiver = self.receivers.entry(lane.id).or_default();
        receiver.accounted.extend(commit.dead.iter().map(|letter| letter.sequence));
        lane.engine.take_notices();
        self.runtime.block_on(self.journal.commit_lane(commit)).unwrap();
    }

    fn send(&mut self, slot: usize, sent: Sent) {
        let Some(lane) = &self.slots[slot].lane else { return };
        let row = self.rows().into_iter().find(|row| row.id == lane.id).unwrap();
        let members: Vec<Sequence> =
            sent.deliveries.iter().map(|delivery| delivery.record.sequence).collect();
        let is_settled =
            |sequence: &Sequence| *sequence <= row.cursor || row.acked.binary_search(sequence).is_ok();
        assert!(!members.is_empty() && !members.iter().any(is_settled), "{members:?} of {row:?}");
        if members.len() > 1 {
            let batch = row.open_batches.iter().find(|batch| batch.id == sent.dispatch.id);
            assert_eq!(
                batch.map(|batch| &batch.members),
                Some(&members),
                "journaled before the first attempt"
            );
        }
        for (index, delivery) in sent.deliveries.iter().enumerate() {
            let member = delivery.record.sequence;
            for (earlier, other) in self.known.range(row.cursor + 1..member) {
                let is_open = !is_settled(earlier) && !members[..index].contains(earlier);
                let is_mine = || matches!(lane.inbox.judge().decide(&other.record), Decision::Mine(_));
                assert!(!(is_open && binds(other, delivery) && is_mine()), "{member} overtakes {earlier}");
            }
        }
        if let Some(lane) = &mut self.slots[slot].lane {
            lane.under_way.push(sent);
            assert!(
                lane.under_way.len() + usize::from(!lane.replaying.is_empty())
                    <= lane.engine.rules().concurrency
            );
        }
    }

    /// Something comes back for one request.
    pub(super) fn answer(&mut self, slot: usize, which: usize, answer: &Answer) {
        let now = self.now();
        let Some(lane) = &mut self.slots[slot].lane else { return };
        let Some(which) = which.checked_rem(lane.under_way.len()) else { return };
        let Sent { dispatch, deliveries } = lane.under_way.remove(which);
        let receiver = self.receivers.entry(lane.id).or_default();
        let (report, taken) = answer.report(&deliveries);
        deliveries[..taken].iter().for_each(|delivery| receiver.take(delivery));
        let left_out = deliveries.iter().filter(|delivery| report.left_out.contains(&delivery.record.id));
        receiver.accounted.extend(left_out.map(|delivery| delivery.record.sequence));
        lane.engine.report(dispatch.parcel, report, now);
    }

    /// Something comes back for the replay's request.
    pub(super) fn answer_replay(&mut self, slot: usize, answer: &Answer) {
        let now = self.now();
        let Some(lane) = &mut self.slots[slot].lane else { return };
        if lane.replaying.is_empty() {
            return;
        }
        let replaying = std::mem::take(&mut lane.replaying);
        let deliveries: Vec<_> =
            self.known.values().filter(|known| replaying.contains(&known.record.id)).cloned().collect();
        let (report, _) = answer.report(&deliveries);
        let taken = deliveries.iter().filter(|delivery| report.delivered.contains(&delivery.record.id));
        let receiver = self.receivers.entry(lane.id).or_default();
        receiver.accounted.extend(taken.map(|delivery| delivery.record.sequence));
        let outcome = report.failed.as_ref().map_or(Outcome::Delivered, |(_, outcome)| outcome.clone());
        lane.engine.end_replay(&outcome, None, now);
        let commit = lane.replays.end(report);
        lane.commit_replay(&self.journal, &self.runtime, commit);
    }

    /// Reads what was accepted, and what the journal itself has recorded.
    pub(super) fn learn(&mut self) {
        let after = self.known.last_key_value().map_or(0, |(sequence, _)| *sequence);
        if after == self.last() {
            return;
        }
        let limit = ReadLimit { max_rows: usize::MAX, max_bytes: usize::MAX };
        for row in self.wait(self.journal.read_after(after, limit)).unwrap() {
            let ReadRow::Record(record) = row else { panic!("{row:?}") };
            self.known.insert(record.sequence, Delivery { record: *record, environment: None });
        }
    }

    /// The books of every destination balance.
    pub(super) fn check(&self) {
        let last = self.last();
        let mut dead: HashMap<DestinationId, u64> = HashMap::new();
        for letter in self.letters(None, usize::MAX) {
            assert!(letter.record.is_some(), "a dead letter keeps its record");
            *dead.entry(letter.destination).or_default() += 1;
        }
        for row in self.rows() {
            let books = row.books;
            let sum = books.not_routed + books.delivered + books.dead + books.purged + row.waiting(last);
            assert_eq!(last + 1 - row.first_sequence, sum, "{row:?}");
            assert_eq!(books.dead, dead.remove(&row.id).unwrap_or(0), "{row:?}");
            assert!(books.before_since + books.observed + books.left_out <= books.not_routed, "{row:?}");
        }
        assert!(dead.is_empty(), "dead letters of nobody: {dead:?}");
    }

    /// From now on all is well: everything is settled, however long it takes, and nothing was lost.
    pub(super) fn finish(&mut self) {
        let well = Answer::of(Outcome::Delivered);
        for slot in 0..self.slots.len() {
            let name = self.slots[slot].name.clone();
            self.wait(self.journal.resume_destination(&name, act(ActKind::Resume))).unwrap();
            self.pause(slot, false);
        }
        for slot in 0..self.slots.len() {
            let mut turns = 0;
            while !self.is_done(slot) {
                turns += 1;
                assert!(
                    turns < 5_000,
                    "the lane comes to no end: {:?}",
                    self.slots[slot].lane.as_ref().unwrap().engine
                );
                self.turn(slot);
                self.answer(slot, 0, &well);
                self.answer_replay(slot, &well);
                self.commit(slot);
                self.pass_until_due(slot);
            }
        }
        self.learn();
        self.check();
        self.rows().iter().for_each(|row| self.check_whole(row));
    }

    fn is_done(&self, slot: usize) -> bool {
        let Some(lane) = &self.slots[slot].lane else { return true };
        let is_caught_up = lane.engine.window().read_to() >= lane.inbox.latest();
        let replays = lane.replays.is_empty() || lane.engine.rules().observe;
        is_caught_up && lane.engine.is_done(self.now()) && lane.engine.in_flight() == 0 && replays
    }

    fn pass_until_due(&mut self, slot: usize) {
        let Some(lane) = &self.slots[slot].lane else { return };
        if lane.engine.in_flight() > 0 {
            return;
        }
        let now = self.now();
        let is_caught_up = lane.engine.window().read_to() >= lane.inbox.latest();
        let due = lane.engine.wake_at(now, is_caught_up, lane.replays.due_at().is_some());
        let due = due.into_iter().chain(lane.replays.due_at()).filter(|at| *at > now.steady).min();
        if let Some(due) = due {
            self.pass(due - now.steady);
        }
    }

    fn check_whole(&self, row: &DestinationRow) {
        let slot = self.slots.iter().find(|slot| slot.name == row.name).unwrap();
        assert_eq!((row.waiting(self.last()), &row.acked[..], &row.open_batches[..]), (0, &[][..], &[][..]));
        let (receiver, judge) = (&self.receivers[&row.id], slot.lane.as_ref().unwrap().inbox.judge());
        for (sequence, known) in self.known.range(row.first_sequence..) {
            let is_mine = matches!(judge.decide(&known.record), Decision::Mine(_));
            let has_end = receiver.taken.contains(sequence) || receiver.accounted.contains(sequence);
            assert!(!is_mine || has_end || receiver.discards, "{sequence} is lost: {row:?}");
        }
    }
}

impl SmallLane {
    fn fill(&mut self, runtime: &Runtime, now: Now) {
        loop {
            self.engine.expire(now);
            self.engine.bound_backlog(self.inbox.outlook().bytes, now);
            if !self.engine.wants_more() {
                return;
            }
            if !runtime.block_on(self.inbox.read(&mut self.engine, None, now)).unwrap() {
                return;
            }
        }
    }

    /// What is to be sent after a commit.
    fn prepare(&mut self, receiver: &mut Receiver, now: Now) -> Vec<Sent> {
        let mut ready = Vec::new();
        loop {
            let is_caught_up = self.engine.window().read_to() >= self.inbox.latest();
            let dispatches = self.engine.next(now, is_caught_up, false);
            if dispatches.is_empty() {
                return ready;
            }
            for dispatch in dispatches {
                let deliveries = self.engine.deliveries(&dispatch).to_vec();
                if self.engine.rules().observe {
                    receiver.accounted.extend(deliveries.iter().map(|delivery| delivery.record.sequence));
                    let report = Report { observed: ids(&deliveries), ..Report::default() };
                    self.engine.report(dispatch.parcel, report, now);
                } else {
                    ready.push(Sent { dispatch, deliveries });
                }
            }
        }
    }

    fn commit_replay(&mut self, journal: &Journal, runtime: &Runtime, commit: Option<ReplayCommit>) {
        let Some(commit) = commit else { return };
        self.replays.committed(runtime.block_on(journal.commit_replay(commit)).unwrap());
    }
}
