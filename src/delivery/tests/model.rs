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

/// A record that was accepted.
#[derive(Debug, Clone)]
pub(super) struct Accepted {
    pub(super) place: Place,
    pub(super) at: Duration,
    pub(super) change_set: Option<u8>,
    pub(super) is_urgent: bool,
}

/// Where it belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// Not routed.
    Other,
    Barrier,
    Flag(String),
    /// Told seldom, under this word.
    Seldom(String),
    /// Left out by the destination's own rules.
    LeftOut,
}

impl Accepted {
    fn company(&self) -> Company {
        let seldom = match &self.place {
            Place::Seldom(word) => Some(Seldom { word: word.clone(), every: SELDOM }),
            _ => None,
        };
        Company { is_urgent: self.is_urgent, seldom, ..Company::default() }
    }
}

/// How long nothing more is told under a word.
pub(super) const SELDOM: Duration = Duration::from_secs(3_600);

/// What is on the disk.
#[derive(Debug, Clone, Default)]
pub(super) struct Disk {
    pub(super) cursor: Sequence,
    pub(super) acked: BTreeSet<Sequence>,
    pub(super) delivered: u64,
    pub(super) not_routed: u64,
    pub(super) left_out: u64,
    pub(super) discarded: u64,
    pub(super) dead: BTreeMap<Sequence, DeadLetter>,
    pub(super) batches: BTreeMap<String, OpenBatch>,
    pub(super) endpoint: Endpoint,
    pub(super) quiet: Vec<(String, Timestamp)>,
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
    pub(super) accepted: Vec<Accepted>,
    /// When the last request ended, and when each word was told last, in which group.
    ended: Option<Duration>,
    told: BTreeMap<String, (Duration, Sequence)>,
    /// The group of each record that was told seldom: the first member of the request it was in first.
    groups: BTreeMap<Sequence, Sequence>,
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
            ended: None,
            told: BTreeMap::new(),
            groups: BTreeMap::new(),
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
        self.accept_as(Place::Flag(key.to_owned()), None, false);
    }

    pub(super) fn accept_barrier(&mut self) {
        self.accept_as(Place::Barrier, None, false);
    }

    pub(super) fn accept_other(&mut self) {
        self.accept_as(Place::Other, None, false);
    }

    pub(super) fn accept_as(&mut self, place: Place, change_set: Option<u8>, is_urgent: bool) {
        self.accepted.push(Accepted { place, at: self.now, change_set, is_urgent });
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
            let accepted = &self.accepted[sequence as usize - 1];
            let key = match &accepted.place {
                Place::Other | Place::LeftOut => None,
                Place::Barrier | Place::Seldom(_) => Some(None),
                Place::Flag(key) => Some(Some(key.as_str())),
            };
            let looked = match key {
                Some(key) => {
                    let mut delivery = delivery(sequence, key, accepted.at);
                    delivery.record.change_set = accepted.change_set.map(|set| format!("cs_{set}").into());
                    Looked::Mine(Box::new(delivery), accepted.company())
                }
                None if accepted.place == Place::LeftOut => Looked::LeftOut { sequence, size_bytes: 10 },
                None => Looked::NotRouted { sequence, size_bytes: 10 },
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
        self.in_company(&members);
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
        let place = |sequence: Sequence| &self.accepted[sequence as usize - 1].place;
        assert_ne!(place(member), &Place::Other, "not routed, and sent");
        for earlier in 1..member {
            let binds = match (place(earlier), place(member)) {
                (Place::Other | Place::LeftOut | Place::Seldom(_), _) | (_, Place::Seldom(_)) => false,
                (Place::Barrier, _) | (_, Place::Barrier) => true,
                (earlier, later) => earlier == later,
            };
            let is_open = !self.disk.is_settled(earlier) && !with.contains(&earlier);
            assert!(!(binds && is_open), "{member} overtakes {earlier}");
        }
    }

    /// What may share a request does, and nothing is sent, or told under a word, too soon.
    fn in_company(&mut self, members: &[Sequence]) {
        let limits = &self.rules.limits;
        assert!(members.len() <= limits.max_events);
        let accepted = &self.accepted;
        let of = |sequence: &Sequence| &accepted[*sequence as usize - 1];
        if limits.grouping == Grouping::ChangeSet && members.len() > 1 {
            let set = |sequence| (of(sequence).change_set, &of(sequence).place);
            assert!(
                set(&members[0]).0.is_some() && members.iter().all(|member| set(member) == set(&members[0]))
            );
        }
        if let Some(ended) = self.ended {
            assert!(self.now >= ended + limits.pause, "the receiver was given no pause");
        }
        for member in members {
            let Place::Seldom(word) = &of(member).place else { continue };
            let group = *self.groups.entry(*member).or_insert(members[0]);
            // What was split is told in parts.
            let told = self.told.get(word).filter(|(_, with)| *with != group);
            let is_time = told.is_none_or(|(last, _)| self.now >= *last + SELDOM);
            assert!(is_time || self.engine.window().room() == 0, "{word} is told again");
            let under_way = self.under_way.iter().flat_map(|sent| &sent.members);
            assert!(under_way.into_iter().all(|other| of(other).place != of(member).place));
        }
    }

    /// What the journal would do.
    pub(super) fn commit(&mut self) {
        let Some(commit) = self.engine.take_commit() else { return };
        let LaneCommit { cursor, acked, counts, dead, opened, closed, endpoint, quiet, .. } = commit;
        let disk = &mut self.disk;
        assert!(cursor >= disk.cursor, "the cursor goes back");
        disk.cursor = cursor;
        assert!(acked.first().is_none_or(|first| *first > cursor), "the cursor lags behind");
        assert!(acked.last().is_none_or(|last| *last <= cursor + MAX_WINDOW));
        disk.acked = acked.into_iter().collect();
        disk.delivered += counts.delivered;
        disk.not_routed += counts.not_routed;
        disk.discarded += counts.discarded;
        disk.left_out += counts.left_out;
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
        if let Some(quiet) = quiet {
            disk.quiet = quiet;
        }
        let settled = disk.cursor + disk.acked.len() as u64;
        let books =
            disk.delivered + disk.not_routed + disk.left_out + disk.discarded + disk.dead.len() as u64;
        assert_eq!(settled, books, "the books balance: {disk:?}");
        self.notices.extend(self.engine.take_notices());
    }

    /// The receiver answers one request.
    pub(super) fn answer(&mut self, index: usize, outcome: Outcome) {
        let sent = self.under_way.remove(index);
        self.ended = Some(self.now);
        for member in sent.members.iter().filter(|_| outcome == Outcome::Delivered) {
            if let Place::Seldom(word) = &self.accepted[*member as usize - 1].place {
                self.told.insert(word.clone(), (self.now, self.groups[member]));
            }
        }
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
            quiet: self.disk.quiet.clone(),
            ..row()
        };
        self.engine = Engine::new(self.rules.clone(), row, self.now());
        self.under_way.clear();
        // What was told, and is not on the disk, is told again; so are pauses between requests.
        let kept = |word: &str, told: &Duration| {
            let until = Timestamp::from_unix_micros(START).plus(*told + SELDOM);
            self.disk.quiet.iter().any(|known| known == &(word.to_owned(), until))
        };
        self.told.retain(|word, (told, _)| kept(word, told));
        self.ended = None;
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
