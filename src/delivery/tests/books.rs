//! With the real journal: the books of every destination balance after every step, no record overtakes another
//! of its key, and none is lost, whatever is done to destinations and their dead letters, and whenever the
//! process ends (promises 2, 3 and 5).

use proptest::prelude::*;

use super::small_receiver::Answer;
use super::small_relay::{SmallRelay, act};
use super::*;
use crate::journal::{
    ActKind, DeadLetterSelection, NewReplay, OperatorError, Pause, Released, ReplaySelection,
};

const SLOTS: usize = 2;

#[derive(Debug, Clone)]
enum Step {
    Accept(Vec<u8>),
    Pass(u64),
    Turn(usize),
    Answer(usize, u8, Answer),
    AnswerReplay(usize, Answer),
    Restart { crash: bool },
    Retain,
    Purge { slot: Option<usize>, expired: bool },
    Move(usize, usize),
    Replay(usize, Which),
    Pause(usize, bool),
    Configure(usize, How),
    Release(usize),
}

#[derive(Debug, Clone, Copy)]
enum Which {
    DeadLetters,
    All,
    First,
}

/// Another configuration of a destination.
#[derive(Debug, Clone, Copy)]
enum How {
    Gone,
    Back,
    Renamed,
    Observed,
    Discarded,
    Plain,
}

fn answer() -> impl Strategy<Value = Answer> {
    let outcome = prop_oneof![
        7 => Just(Outcome::Delivered),
        1 => Just(retry()),
        1 => (0_u64..5).prop_map(|wait| Outcome::Retry {
            not_before: Some(Duration::from_secs(wait)),
            reason: reason("http_429"),
        }),
        2 => Just(rejected()),
        1 => Just(blocked()),
        1 => Just(Outcome::Blocked { gone: true, reason: reason("http_410") }),
    ];
    let seldom = || prop::bool::weighted(0.1);
    (outcome, seldom(), seldom(), seldom(), seldom()).prop_map(
        |(outcome, was_taken, in_two, leaves_out, cannot_render)| Answer {
            outcome,
            was_taken,
            in_two,
            leaves_out,
            cannot_render,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    use How::*;
    let slot = || 0..SLOTS;
    let which = prop::sample::select(vec![Which::DeadLetters, Which::DeadLetters, Which::All, Which::First]);
    let how =
        prop::sample::select(vec![Gone, Gone, Back, Back, Renamed, Renamed, Observed, Discarded, Plain]);
    prop_oneof![
        8 => prop::collection::vec(0_u8..12, 1..30).prop_map(Step::Accept),
        4 => (0_u64..4_000).prop_map(Step::Pass),
        20 => slot().prop_map(Step::Turn),
        40 => (slot(), any::<u8>(), answer()).prop_map(|(slot, which, answer)| Step::Answer(slot, which, answer)),
        8 => (slot(), answer()).prop_map(|(slot, answer)| Step::AnswerReplay(slot, answer)),
        1 => any::<bool>().prop_map(|crash| Step::Restart { crash }),
        2 => Just(Step::Retain),
        1 => (prop::option::of(slot()), any::<bool>()).prop_map(|(slot, expired)| Step::Purge { slot, expired }),
        1 => (slot(), 1_usize..4).prop_map(|(slot, count)| Step::Move(slot, count)),
        3 => (slot(), which).prop_map(|(slot, which)| Step::Replay(slot, which)),
        2 => (slot(), prop::bool::weighted(0.3)).prop_map(|(slot, is_paused)| Step::Pause(slot, is_paused)),
        2 => (slot(), how).prop_map(|(slot, how)| Step::Configure(slot, how)),
        1 => slot().prop_map(Step::Release),
    ]
}

fn lane_rules() -> impl Strategy<Value = Rules> {
    let concurrency = prop_oneof![Just(1_usize), 2_usize..8, Just(64)];
    let max_events = prop_oneof![Just(1_usize), Just(3), Just(50)];
    let some = |of: Duration| prop::option::weighted(0.3, Just(of));
    (
        concurrency,
        max_events,
        some(Duration::from_secs(20)),
        some(Duration::from_secs(30)),
        prop::option::weighted(0.3, Just(1_500_u64)),
        prop_oneof![Just(2_u32), Just(20)],
    )
        .prop_map(
            |(concurrency, max_events, expire_after, max_event_age, backlog_max_bytes, reject_limit)| {
                let plain = rules(concurrency, max_events);
                let limits = Limits { max_event_age, ..plain.limits };
                Rules { limits, expire_after, backlog_max_bytes, reject_limit, ..plain }
            },
        )
}

impl SmallRelay {
    fn apply(&mut self, step: Step) {
        match step {
            Step::Accept(keys) => self.accept(&keys),
            Step::Pass(millis) => self.pass(Duration::from_millis(millis)),
            Step::Turn(slot) => self.turn(slot),
            Step::Answer(slot, which, answer) => self.answer(slot, usize::from(which), &answer),
            Step::AnswerReplay(slot, answer) => self.answer_replay(slot, &answer),
            Step::Restart { crash } => {
                self.end(crash);
                self.check();
                self.start();
            }
            Step::Retain => {
                self.end(false);
                self.start();
                self.journal.tick();
            }
            Step::Purge { slot, expired } => self.purge(slot, expired),
            Step::Move(slot, count) => {
                let letters = self.letters(Some(&self.slots[slot].name), count);
                let moved: Vec<_> =
                    letters.iter().map(|letter| (letter.destination, letter.sequence)).collect();
                let count = moved.len() as u64;
                assert_eq!(self.wait(self.journal.dead_letters_moved(moved)), Ok(count));
            }
            Step::Replay(slot, which) => self.replay(slot, which),
            Step::Pause(slot, is_paused) => self.decide_pause(slot, is_paused),
            Step::Configure(slot, how) => self.configure(slot, how),
            Step::Release(slot) => self.release(slot),
        }
        self.learn();
    }

    fn purge(&mut self, slot: Option<usize>, expired: bool) {
        let selection = DeadLetterSelection {
            destination: slot.map(|slot| self.slots[slot].name.clone()),
            code: expired.then(|| "expired".to_owned()),
            ids: Vec::new(),
        };
        let purged = self.wait(self.journal.purge_dead_letters(selection, act(ActKind::Purge)));
        assert!(purged.is_ok() || slot.is_some_and(|slot| self.slots[slot].lane.is_none()), "{purged:?}");
    }

    fn replay(&mut self, slot: usize, which: Which) {
        let selection = match which {
            Which::DeadLetters => ReplaySelection::DeadLetters,
            Which::All => ReplaySelection::Range { since: None, until: None, events: Vec::new() },
            Which::First => {
                let letters = self.letters(None, 2);
                ReplaySelection::Ids(
                    letters.into_iter().filter_map(|letter| Some(letter.record?.id)).collect(),
                )
            }
        };
        let replay = NewReplay { destination: self.slots[slot].name.clone(), selection, rate: None };
        match self.wait(self.journal.create_replay(replay, act(ActKind::Replay))) {
            Ok(_) => self.look_for_replays(slot),
            Err(OperatorError::Refused(_)) => {}
            Err(error) => assert!(self.slots[slot].lane.is_none(), "{error}"),
        }
    }

    fn decide_pause(&mut self, slot: usize, is_paused: bool) {
        let Some(lane) = &self.slots[slot].lane else { return };
        let name = self.slots[slot].name.clone();
        if is_paused {
            let pause = Pause { at: Timestamp::from_unix_micros(START), until: None, by: None, reason: None };
            self.wait(self.journal.pause_destination(&name, pause, act(ActKind::Pause))).unwrap();
        } else {
            let row = self.wait(self.journal.resume_destination(&name, act(ActKind::Resume))).unwrap();
            assert_eq!(row.id, lane.id);
        }
        self.pause(slot, is_paused);
    }

    fn configure(&mut self, slot: usize, how: How) {
        self.end(false);
        let slot = &mut self.slots[slot];
        slot.is_configured = !matches!(how, How::Gone);
        match how {
            How::Gone | How::Back => {}
            How::Renamed => {
                let name = format!("{}_", slot.name);
                slot.rules.destination = name.clone();
                slot.renamed_from = Some(std::mem::replace(&mut slot.name, name));
            }
            How::Observed => (slot.rules.observe, slot.rules.discard) = (true, false),
            How::Discarded => (slot.rules.observe, slot.rules.discard) = (false, true),
            How::Plain => (slot.rules.observe, slot.rules.discard) = (false, false),
        }
        self.start();
    }

    /// Its seven days are over.
    fn release(&mut self, slot: usize) {
        let last = self.last();
        let slot = &mut self.slots[slot];
        let Some(lane) = slot.lane.take_if(|_| !slot.is_configured) else { return };
        let row = self.rows().into_iter().find(|row| row.id == lane.id).unwrap();
        let released = self.wait(self.journal.release_destination(lane.id, act(ActKind::Release))).unwrap();
        assert_eq!(released, Released { waiting: row.waiting(last), dead: row.books.dead });
    }
}

proptest! {
    #![proptest_config(cases(24))]

    #[test]
    fn they_balance_after_every_step(
        rules in [lane_rules(), lane_rules()],
        steps in prop::collection::vec(step(), 20..120),
    ) {
        let mut relay = SmallRelay::new(rules);
        for step in steps {
            relay.apply(step);
            relay.check();
        }
        for slot in 0..SLOTS {
            relay.slots[slot].is_configured = true;
        }
        relay.end(true);
        relay.start();
        relay.finish();
    }
}

/// A salvaged journal has a hole where nothing could be read, and says so in a record behind it.
fn pass_a_hole(max_events: usize) {
    let mut relay = SmallRelay::new([rules(4, max_events)]);
    relay.accept(&[2; 6_000]);
    relay.end(false);
    relay.journal.clone().close().unwrap();
    let database = relay.dir.path().join("journal.db");
    let conn = rusqlite::Connection::open(&database).unwrap();
    conn.execute("DELETE FROM records WHERE sequence BETWEEN 10 AND 5990", []).unwrap();
    conn.close().unwrap();
    std::fs::write(database.with_extension("db.salvage-wanted"), "malformed").unwrap();
    relay.journal = super::small_relay::open(relay.dir.path());
    assert_eq!(relay.last(), 6_001, "a gap is told of");
    relay.start();
    relay.finish();
    let books = relay.rows()[0].books;
    assert_eq!((books.delivered, books.purged), (20, 5_981), "one is the act of the end");
}

#[test]
fn a_hole_that_is_larger_than_the_window_does_not_stop_a_lane() {
    pass_a_hole(1);
}

#[test]
fn a_hole_that_is_larger_than_the_window_does_not_stop_a_batch() {
    pass_a_hole(50);
}
