//! A lane with a journal and a receiver of memory: what the engine asks for is carried out as the real ones
//! would, and every promise is looked at on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::*;
use crate::delivery::engine::{Dispatch, Looked, Notice, Report};
use crate::journal::{DeadLetter, LaneCommit, MAX_WINDOW, OpenBatch};

/// A request on its way.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    pub(super) dispatch: Sequence,
    pub(super) id: String,
    pub(super) attempt: u32,
    pub(super) members: Vec<Sequence>,
    pub(super) ids: Vec<EventId>,
}

/// What is on the disk.
#[derive(Debug, Clone, Default)]
pub(super) struct Disk {
    pub(super) cursor: Sequence,
    pub(super) acked: BTreeSet<Sequence>,
    pub(super) delivered: u64,
    pub(super) not_routed: u64,
    pub(super) discarded: u64,
    pub(super) dead: BTreeMap<Sequence, DeadLetter>,
    pub(super) batches: BTreeMap<String, OpenBatch>,
    pub(super) endpoint: Endpoint,
}

impl Disk {
    pub(super) fn is_settled(&self, sequence: Sequence) -> bool {
        sequence <= self.cursor || self.acked.contains(&sequence)
    }
}

/// See the module.
pub(super) struct World {
    pub(super) rules: Rules,
    pub(super) engine: Engine,
    pub(super) disk: Disk,
    /// What was accepted: the key of each record, and when; `Err` is not routed.
    pub(super) accepted: Vec<(Result<Option<String>, ()>, Duration)>,
    pub(super) now: Duration,
    pub(super) under_way: Vec<Sent>,
    pub(super) notices: Vec<Notice>,
}

impl World {
    pub(super) fn new(rules: Rules) -> Self {
        let engine = Engine::new(rules.clone(), row(), seconds(0));
        Self {
            rules,
            engine,
            disk: Disk::default(),
            accepted: Vec::new(),
            now: Duration::ZERO,
            under_way: Vec::new(),
            notices: Vec::new(),
        }
    }

    pub(super) fn now(&self) -> Now {
        at(self.now)
    }

    /// Accepts a record of this flag.
    pub(super) fn accept(&mut self, key: &str) {
        self.accepted.push((Ok(Some(key.to_owned())), self.now));
    }

    pub(super) fn accept_barrier(&mut self) {
        self.accepted.push((Ok(None), self.now));
    }

    pub(super) fn accept_other(&mut self) {
        self.accepted.push((Err(()), self.now));
    }

    fn latest(&self) -> Sequence {
        self.accepted.len() as u64
    }

    fn bytes_ahead(&self) -> u64 {
        if self.rules.backlog_max_bytes.is_none() {
            return 0;
        }
        let unread = self.engine.window().read_to() + 1..=self.latest();
        unread.map(|sequence| delivery(sequence, Some("flag-000"), self.now).record.size_bytes() as u64).sum()
    }

    /// One turn of the lane: read, decide, commit, send. Returns what was sent.
    pub(super) fn turn(&mut self) -> Vec<Sent> {
        let mut sent = Vec::new();
        loop {
            self.read();
            let is_caught_up = self.engine.window().read_to() >= self.latest();
            let dispatches = self.engine.next(self.now(), is_caught_up, false);
            self.commit();
            if dispatches.is_empty() {
                return sent;
            }
            sent.extend(dispatches.into_iter().map(|dispatch| self.send(&dispatch)));
        }
    }

    fn read(&mut self) {
        let now = self.now();
        self.engine.expire(now);
        self.engine.bound_backlog(self.bytes_ahead(), now);
        while self.engine.wants_more() && self.engine.window().read_to() < self.latest() {
            let sequence = self.engine.window().read_to() + 1;
            let (key, running) = &self.accepted[sequence as usize - 1];
            let looked = match key {
                Ok(key) => Looked::Mine(Box::new(delivery(sequence, key.as_deref(), *running))),
                Err(()) => Looked::NotRouted { sequence, size_bytes: 10 },
            };
            self.engine.look(looked, now);
            self.engine.expire(now);
            self.engine.bound_backlog(self.bytes_ahead(), now);
        }
    }

    fn send(&mut self, dispatch: &Dispatch) -> Sent {
        let deliveries = self.engine.deliveries(dispatch);
        let members: Vec<Sequence> = deliveries.iter().map(|delivery| delivery.record.sequence).collect();
        let ids = deliveries.iter().map(|delivery| delivery.record.id).collect();
        let id = dispatch.id.as_str().to_owned();
        assert!(!members.is_empty());
        for (index, member) in members.iter().enumerate() {
            assert!(!self.disk.is_settled(*member), "{member} is settled already");
            assert!(self.under_way.iter().all(|sent| !sent.members.contains(member)), "{member} twice");
            self.in_order(*member, &members[..index]);
        }
        if members.len() > 1 {
            let batch = self.disk.batches.get(&id).expect("journaled before the first attempt");
            assert_eq!(batch.members, members);
        }
        let sent = Sent { dispatch: dispatch.parcel, id, attempt: dispatch.attempt, members, ids };
        self.under_way.push(sent.clone());
        assert!(self.under_way.len() <= self.rules.concurrency);
        sent
    }

    /// Nothing that comes before a record, and must arrive before it, is still open.
    fn in_order(&self, member: Sequence, with: &[Sequence]) {
        let key = &self.accepted[member as usize - 1].0;
        for earlier in 1..member {
            let binds = match (&self.accepted[earlier as usize - 1].0, key) {
                (Err(()), _) => false,
                (Ok(earlier), Ok(key)) => earlier.is_none() || key.is_none() || earlier == key,
                (_, Err(())) => unreachable!("not routed, and sent"),
            };
            let is_open = !self.disk.is_settled(earlier) && !with.contains(&earlier);
            assert!(!(binds && is_open), "{member} overtakes {earlier}");
        }
    }

    /// What the journal would do.
    pub(super) fn commit(&mut self) {
        let Some(commit) = self.engine.take_commit() else { return };
        let LaneCommit { cursor, acked, counts, dead, opened, closed, endpoint, .. } = commit;
        let disk = &mut self.disk;
        assert!(cursor >= disk.cursor, "the cursor goes back");
        disk.cursor = cursor;
        assert!(acked.first().is_none_or(|first| *first > cursor), "the cursor lags behind");
        assert!(acked.last().is_none_or(|last| *last <= cursor + MAX_WINDOW));
        disk.acked = acked.into_iter().collect();
        disk.delivered += counts.delivered;
        disk.not_routed += counts.not_routed;
        disk.discarded += counts.discarded;
        for letter in dead {
            assert!(disk.dead.insert(letter.sequence, letter).is_none(), "dead twice");
        }
        for id in closed {
            disk.batches.remove(id.as_str());
        }
        for batch in opened {
            disk.batches.insert(batch.id.as_str().to_owned(), batch);
        }
        if let Some(endpoint) = endpoint {
            disk.endpoint = endpoint;
        }
        let settled = disk.cursor + disk.acked.len() as u64;
        let books = disk.delivered + disk.not_routed + disk.discarded + disk.dead.len() as u64;
        assert_eq!(settled, books, "the books balance: {disk:?}");
        self.notices.extend(self.engine.take_notices());
    }

    /// The receiver answers one request.
    pub(super) fn answer(&mut self, index: usize, outcome: Outcome) {
        let sent = self.under_way.remove(index);
        let report = match outcome {
            Outcome::Delivered => Report { delivered: sent.ids, ..Report::default() },
            other => Report { failed: Some((sent.ids, other)), ..Report::default() },
        };
        let now = self.now();
        self.engine.report(sent.dispatch, report, now);
    }

    /// The process ends between two instructions, and is started again.
    pub(super) fn crash(&mut self) {
        let row = DestinationRow {
            cursor: self.disk.cursor,
            acked: self.disk.acked.iter().copied().collect(),
            open_batches: self.disk.batches.values().cloned().collect(),
            endpoint: self.disk.endpoint.clone(),
            ..row()
        };
        self.engine = Engine::new(self.rules.clone(), row, self.now());
        self.under_way.clear();
    }

    /// When something is to be done without anything happening.
    pub(super) fn wake_at(&self) -> Option<Duration> {
        let is_caught_up = self.engine.window().read_to() >= self.latest();
        self.engine.wake_at(self.now(), is_caught_up, false)
    }

    /// Lets time pass until the lane wants to act, and lets it.
    pub(super) fn turn_when_due(&mut self) -> Vec<Sent> {
        let due = self.wake_at().expect("the lane has something to wait for");
        assert!(due > self.now);
        self.now = due;
        self.turn()
    }
}
