//! The books of every destination balance after every step, whatever is done to them (promise 5).

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const NAMES: [&str; 3] = ["siem", "slack", "datadog"];

#[derive(Debug, Clone)]
enum Step {
    Append(usize),
    /// Settles some of what is near the cursor: for each of the next records whether, and how.
    Commit {
        lane: usize,
        fates: Vec<Option<Fate>>,
        fails: bool,
    },
    Purge {
        lane: Option<usize>,
        code: bool,
    },
    Move {
        lane: usize,
        count: usize,
    },
    /// All dead letters of a lane; for each whether it is taken.
    Replay {
        lane: usize,
        taken: Vec<bool>,
        fails: bool,
    },
    Orphan(usize),
    Release(usize),
    /// To a name that nobody has.
    Rename(usize),
    Pause(usize),
    Reopen {
        close: bool,
    },
}

#[derive(Debug, Clone, Copy)]
enum Fate {
    Delivered,
    NotRouted,
    BeforeSince,
    Observed,
    LeftOut,
    Discarded,
    Rejected,
    Expired,
}

fn fate() -> impl Strategy<Value = Fate> {
    use Fate::*;
    prop::sample::select(vec![
        Delivered,
        Delivered,
        NotRouted,
        BeforeSince,
        Observed,
        LeftOut,
        Discarded,
        Rejected,
        Expired,
    ])
}

fn step() -> impl Strategy<Value = Step> {
    let lane = 0..NAMES.len();
    prop_oneof![
        4 => (0_usize..12).prop_map(Step::Append),
        8 => (lane.clone(), prop::collection::vec(prop::option::of(fate()), 1..20), prop::bool::weighted(0.1))
            .prop_map(|(lane, fates, fails)| Step::Commit { lane, fates, fails }),
        1 => (prop::option::of(lane.clone()), any::<bool>()).prop_map(|(lane, code)| Step::Purge { lane, code }),
        1 => (lane.clone(), 0_usize..3).prop_map(|(lane, count)| Step::Move { lane, count }),
        2 => (lane.clone(), prop::collection::vec(any::<bool>(), 8), prop::bool::weighted(0.1))
            .prop_map(|(lane, taken, fails)| Step::Replay { lane, taken, fails }),
        1 => lane.clone().prop_map(Step::Orphan),
        1 => lane.clone().prop_map(Step::Release),
        1 => lane.clone().prop_map(Step::Rename),
        1 => lane.prop_map(Step::Pause),
        2 => any::<bool>().prop_map(|close| Step::Reopen { close }),
    ]
}

/// What a list would say of one destination.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Expected {
    cursor: Sequence,
    acked: Vec<Sequence>,
    books: Books,
    letters: BTreeMap<Sequence, &'static str>,
}

impl Expected {
    fn of(row: &DestinationRow) -> Self {
        Self { cursor: row.cursor, ..Self::default() }
    }

    /// Settles records in this order of fates behind the cursor; what a lane would commit.
    fn settle(&mut self, id: DestinationId, last: Sequence, fates: &[Option<Fate>]) -> LaneCommit {
        let (mut counts, mut dead) = (Counts::default(), Vec::new());
        let open =
            (self.cursor + 1..=last).filter(|sequence| !self.acked.contains(sequence)).collect::<Vec<_>>();
        for (sequence, fate) in open.into_iter().zip(fates) {
            let Some(fate) = fate else { continue };
            self.acked.push(sequence);
            match fate {
                Fate::Delivered => counts.delivered += 1,
                Fate::NotRouted => counts.not_routed += 1,
                Fate::BeforeSince => counts.before_since += 1,
                Fate::Observed => counts.observed += 1,
                Fate::LeftOut => counts.left_out += 1,
                Fate::Discarded => counts.discarded += 1,
                Fate::Rejected => self.die(sequence, "rejected", &mut dead),
                Fate::Expired => self.die(sequence, "expired", &mut dead),
            }
        }
        self.acked.sort_unstable();
        while self.acked.first() == Some(&(self.cursor + 1)) {
            self.cursor = self.acked.remove(0);
        }
        let books = &mut self.books;
        books.delivered += counts.delivered;
        books.not_routed += counts.not_routed + counts.before_since + counts.observed + counts.left_out;
        books.before_since += counts.before_since;
        books.observed += counts.observed;
        books.left_out += counts.left_out;
        books.purged += counts.discarded;
        books.dead += dead.len() as u64;
        LaneCommit { cursor: self.cursor, acked: self.acked.clone(), counts, dead, ..lane_commit(id) }
    }

    fn die(&mut self, sequence: Sequence, code: &'static str, dead: &mut Vec<DeadLetter>) {
        self.letters.insert(sequence, code);
        dead.push(DeadLetter { code: code.to_owned(), ..letter(sequence) });
    }

    fn purge(&mut self, which: impl Fn(Sequence, &str) -> bool) -> u64 {
        let before = self.letters.len();
        self.letters.retain(|sequence, code| !which(*sequence, code));
        let purged = (before - self.letters.len()) as u64;
        self.books.dead -= purged;
        self.books.purged += purged;
        purged
    }
}

struct Model {
    bench: Bench,
    rows: BTreeMap<&'static str, Expected>,
    renamed: u64,
}

impl Model {
    fn new() -> Self {
        let bench = Bench::with(|options| options.keep = Duration::ZERO);
        let mut model = Self { bench, rows: BTreeMap::new(), renamed: 0 };
        model.register();
        model
    }

    fn register(&mut self) {
        for name in NAMES {
            let row = self.bench.lane(name);
            self.rows.entry(name).or_insert_with(|| Expected::of(&row));
        }
    }

    fn id(&self, name: &str) -> DestinationId {
        self.bench.destination(name).id
    }

    /// Has a request fail with its group, and asks again.
    fn try_twice<T: Send>(&self, fails: bool, ask: impl Fn(&Journal) -> T + Sync) -> T {
        let journal = &self.bench.journal;
        if fails {
            let release = super::failing::hold(journal);
            std::thread::scope(|scope| {
                let asked = scope.spawn(|| ask(journal));
                while journal.inner.writer.capacity() == writer::QUEUE {
                    std::thread::yield_now();
                }
                let failed = super::failing::fail(journal);
                drop(release);
                drop(asked.join().unwrap());
                assert!(failed.blocking_recv().unwrap().is_err());
            });
            // Three failures in a row would end it.
            journal.call(|_, _| Ok(())).unwrap();
        }
        ask(journal)
    }

    fn apply(&mut self, step: Step) {
        match step {
            Step::Append(count) => self.bench.append_some(count),
            Step::Commit { lane, fates, fails } => {
                let id = self.id(NAMES[lane]);
                let last = self.bench.last();
                let commit = self.rows.get_mut(NAMES[lane]).unwrap().settle(id, last, &fates);
                self.try_twice(fails, |journal| wait(journal.commit_lane(commit.clone()))).unwrap();
            }
            Step::Purge { lane, code } => {
                let name = lane.map(|lane| NAMES[lane]);
                let selection = DeadLetterSelection {
                    destination: name.map(str::to_owned),
                    code: code.then(|| "expired".to_owned()),
                    ids: Vec::new(),
                };
                let purged =
                    wait(self.bench.journal.purge_dead_letters(selection, act(ActKind::Purge))).unwrap();
                let rows = self.rows.iter_mut().filter(|row| name.is_none_or(|name| name == *row.0));
                let expected: u64 = rows.map(|row| row.1.purge(|_, is| !code || is == "expired")).sum();
                assert_eq!(purged, expected);
            }
            Step::Move { lane, count } => {
                let id = self.id(NAMES[lane]);
                let row = self.rows.get_mut(NAMES[lane]).unwrap();
                let moved: Vec<_> = row.letters.keys().copied().take(count).collect();
                row.purge(|sequence, _| moved.contains(&sequence));
                let moved = moved.into_iter().map(|sequence| (id, sequence)).collect();
                wait(self.bench.journal.dead_letters_moved(moved)).unwrap();
            }
            Step::Replay { lane, taken, fails } => self.replay(NAMES[lane], &taken, fails),
            Step::Orphan(lane) => {
                let row = wait(self.bench.journal.orphan_destination(self.id(NAMES[lane]))).unwrap();
                assert!(row.orphaned.is_some());
            }
            Step::Release(lane) => {
                let row = self.bench.destination(NAMES[lane]);
                let waiting = row.waiting(self.bench.last());
                let released =
                    wait(self.bench.journal.release_destination(row.id, act(ActKind::Release))).unwrap();
                assert_eq!(released, Released { waiting, dead: row.books.dead });
                self.rows.remove(NAMES[lane]);
                self.register();
            }
            Step::Rename(lane) => {
                self.renamed += 1;
                let other = format!("renamed_{}", self.renamed);
                for (name, from) in [(&*other, NAMES[lane]), (NAMES[lane], &*other)] {
                    wait(self.bench.journal.register_destination(name, Some(from))).unwrap();
                }
            }
            Step::Pause(lane) => {
                let pause = Pause { at: crate::event::Timestamp::now(), until: None, by: None, reason: None };
                wait(self.bench.journal.pause_destination(NAMES[lane], pause, act(ActKind::Pause))).unwrap();
            }
            Step::Reopen { close } => self.reopen(close),
        }
    }

    fn replay(&mut self, name: &'static str, taken: &[bool], fails: bool) {
        let replay =
            NewReplay { destination: name.to_owned(), selection: ReplaySelection::DeadLetters, rate: None };
        let created = wait(self.bench.journal.create_replay(replay, act(ActKind::Replay)));
        let row = self.rows.get_mut(name).unwrap();
        if row.letters.is_empty() {
            return assert!(matches!(created, Err(OperatorError::Refused(_))));
        }
        let created = created.unwrap();
        let limit = ReadLimit { max_rows: taken.len(), max_bytes: usize::MAX };
        let read = wait(self.bench.journal.read_replay(&created, limit)).unwrap();
        let read: Vec<_> = read.into_iter().map(|row| whole(row).sequence).collect();
        assert_eq!(read, row.letters.keys().copied().take(taken.len()).collect::<Vec<_>>());
        let (mut good, mut refused) = (Vec::new(), Vec::new());
        for (sequence, taken) in read.iter().copied().zip(taken) {
            if *taken {
                row.letters.remove(&sequence);
                good.push(sequence);
            } else {
                row.letters.insert(sequence, "rejected");
                refused.push(letter(sequence));
            }
        }
        row.books.dead -= good.len() as u64;
        row.books.delivered += good.len() as u64;
        row.books.replayed += good.len() as u64;
        let (replayed, failed) = (good.len() as u64, refused.len() as u64);
        let commit = ReplayCommit {
            id: created.id,
            position: *read.last().unwrap(),
            taken: good,
            refused,
            passed: 0,
            finished: true,
        };
        let after = self.try_twice(fails, |journal| wait(journal.commit_replay(commit.clone()))).unwrap();
        assert_eq!((after.replayed, after.failed), (replayed, failed));
    }

    /// Ends it, well or not, opens it again, and has what is old removed.
    fn reopen(&mut self, close: bool) {
        let dir = std::mem::replace(&mut self.bench.dir, tempfile::tempdir().unwrap());
        let journal = self.bench.journal.clone();
        if close {
            journal.close().unwrap();
        } else {
            // As a kill leaves it: what is on disk at this moment, while nobody writes.
            self.bench.journal.settle_down();
            let copy = tempfile::tempdir().unwrap();
            for name in ["journal.db", "journal.db-wal"] {
                std::fs::copy(dir.path().join(name), copy.path().join(name)).unwrap();
            }
            self.bench.dir = copy;
            journal.close().unwrap();
        }
        let data_dir = if close { dir.path() } else { self.bench.dir.path() };
        let options = Options { keep: Duration::ZERO, ..options(data_dir) };
        let (journal, report) = Journal::open_tuned(&options, tuning()).unwrap();
        assert_eq!(report, OpenReport::default());
        self.bench.journal = journal;
        if close {
            self.bench.dir = dir;
        }
        self.check();
        self.bench.journal.tick();
        self.register();
    }

    fn check(&self) {
        let rows = wait(self.bench.journal.destinations()).unwrap();
        assert_eq!(rows.iter().map(|row| &*row.name).collect::<Vec<_>>().len(), self.rows.len());
        for row in &rows {
            assert_balanced(row, self.bench.last());
            let expected = &self.rows[&*row.name];
            let found = Expected {
                cursor: row.cursor,
                acked: row.acked.clone(),
                books: row.books,
                letters: expected.letters.clone(),
            };
            assert_eq!(&found, expected);
        }
        let letters =
            wait(self.bench.journal.dead_letters(DeadLetterSelection::default(), None, 9_999)).unwrap();
        assert!(letters.iter().all(|letter| letter.record.is_some()), "dead letters keep their records");
        let mut found: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
        for letter in &letters {
            found.entry(&*letter.destination_name).or_default().insert(letter.sequence, &*letter.code);
        }
        for (name, expected) in &self.rows {
            assert_eq!(found.remove(name).unwrap_or_default(), expected.letters, "{name}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn they_balance_at_every_moment(steps in prop::collection::vec(step(), 1..40)) {
        let mut model = Model::new();
        for step in steps {
            model.apply(step);
            model.check();
        }
        // What retention could remove is gone but for what is pinned; what is left is as it was accepted.
        let bench = &model.bench;
        prop_assert_eq!(bench.corrupt(), Vec::<Sequence>::new());
        prop_assert_eq!(bench.checked(), 0);
    }
}
