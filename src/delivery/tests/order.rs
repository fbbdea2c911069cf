//! Whatever comes back, and whenever the process ends: no record overtakes another of its key, none is lost,
//! a group that was on its way keeps its id, and the books balance at every commit.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::model::{Place, Sent, World};
use super::*;

/// What happens next.
#[derive(Debug, Clone)]
enum Step {
    Accept(Vec<u8>),
    Pass(u64),
    Turn,
    Answer(u8, Answer),
    Crash,
}

#[derive(Debug, Clone, Copy)]
enum Answer {
    Delivered,
    Retry,
    RetryAfter(u16),
    Rejected,
    Blocked,
}

impl Answer {
    fn outcome(self) -> Outcome {
        match self {
            Self::Delivered => Outcome::Delivered,
            Self::Retry => retry(),
            Self::RetryAfter(wait) => Outcome::Retry {
                not_before: Some(Duration::from_secs(u64::from(wait))),
                reason: reason("http_429"),
            },
            Self::Rejected => rejected(),
            Self::Blocked => blocked(),
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    let answer = prop_oneof![
        6 => Just(Answer::Delivered),
        1 => Just(Answer::Retry),
        1 => (0_u16..5).prop_map(Answer::RetryAfter),
        1 => Just(Answer::Rejected),
        1 => Just(Answer::Blocked),
    ];
    prop_oneof![
        2 => proptest::collection::vec(0_u8..12, 1..40).prop_map(Step::Accept),
        2 => (0_u64..4_000).prop_map(Step::Pass),
        6 => Just(Step::Turn),
        10 => (any::<u8>(), answer).prop_map(|(which, answer)| Step::Answer(which, answer)),
        1 => Just(Step::Crash),
    ]
}

/// In digests some are urgent and some told seldom; where groups wait at all, there are change sets.
fn accept(world: &mut World, keys: &[u8], grouping: Grouping) {
    let (company, is_digest) = (grouping != Grouping::Any, grouping == Grouping::Digest);
    for (index, key) in keys.iter().enumerate() {
        match key {
            1 if company => world.accept_as(Place::LeftOut, None, false),
            2 | 3 if is_digest => world.accept_as(Place::Seldom(format!("word-{key}")), None, false),
            4.. if company => {
                let set = (key % 3 != 0).then_some((index / 5) as u8);
                world.accept_as(Place::Flag(format!("flag-{key}")), set, *key == 11 && index % 7 == 0);
            }
            0 => world.accept_barrier(),
            1 => world.accept_other(),
            key => world.accept(&format!("flag-{key}")),
        }
    }
}

/// Groups on their way when the process ended, by each of their members.
fn remember(known: &mut BTreeMap<Sequence, Sent>, under_way: &[Sent]) {
    for sent in under_way.iter().filter(|sent| sent.members.len() > 1) {
        for member in &sent.members {
            known.insert(*member, sent.clone());
        }
    }
}

fn check_ids(known: &mut BTreeMap<Sequence, Sent>, sent: &Sent) {
    for member in &sent.members {
        if let Some(before) = known.remove(member) {
            assert_eq!(
                (&before.id, &before.members),
                (&sent.id, &sent.members),
                "another group after a crash"
            );
            known.retain(|_, other| other.id != before.id);
        }
    }
}

proptest! {
    #![proptest_config(cases(192))]

    #[test]
    fn order_ids_and_books_hold(
        concurrency in prop_oneof![Just(1_usize), 2_usize..8, Just(64)],
        max_events in prop_oneof![Just(1_usize), Just(3), Just(50)],
        grouping in prop_oneof![2 => Just(Grouping::Any), 1 => Just(Grouping::Digest), 1 => Just(Grouping::ChangeSet)],
        wait in prop_oneof![Just(0_u64), Just(15)],
        pause in prop_oneof![Just(0_u64), Just(1)],
        steps in proptest::collection::vec(step(), 20..300),
    ) {
        let mut rules = rules(if pause > 0 { 1 } else { concurrency }, max_events);
        rules.limits.grouping = grouping;
        rules.limits.wait = Duration::from_secs(wait);
        rules.limits.pause = Duration::from_secs(pause);
        let mut world = World::new(rules);
        let mut known = BTreeMap::new();
        for step in steps {
            match step {
                Step::Accept(keys) => accept(&mut world, &keys, grouping),
                Step::Pass(millis) => world.now += Duration::from_millis(millis),
                Step::Turn => {
                    for sent in world.turn() {
                        check_ids(&mut known, &sent);
                    }
                }
                Step::Answer(which, answer) if !world.under_way.is_empty() => {
                    let which = usize::from(which) % world.under_way.len();
                    world.answer(which, answer.outcome());
                }
                Step::Answer(..) => {}
                Step::Crash => {
                    remember(&mut known, &world.under_way);
                    world.crash();
                }
            }
        }
        // From now on all is well: everything is settled, however long it takes.
        let mut turns = 0;
        while world.disk.cursor < world.accepted.len() as u64 {
            turns += 1;
            assert!(turns < 20_000, "the lane does not come to an end: {:?}", world.engine);
            for sent in world.turn() {
                check_ids(&mut known, &sent);
            }
            if !world.under_way.is_empty() {
                world.answer(0, Outcome::Delivered);
                continue;
            }
            world.commit();
            if let Some(due) = world.wake_at() {
                world.now = due;
            }
        }
        prop_assert!(world.disk.acked.is_empty() && world.disk.batches.is_empty());
        prop_assert_eq!(world.engine.in_flight(), 0);
    }
}

#[test]
fn what_waits_for_one_flag_does_not_keep_others() {
    let mut world = World::new(rules(4, 1));
    for key in ["a", "a", "b", "a", "c", "d", "e"] {
        world.accept(key);
    }
    let sent: Vec<_> = world.turn().into_iter().flat_map(|sent| sent.members).collect();
    assert_eq!(sent, [1, 3, 5, 6]);
    world.answer(1, Outcome::Delivered);
    let sent: Vec<_> = world.turn().into_iter().flat_map(|sent| sent.members).collect();
    assert_eq!(sent, [7]);
    assert_eq!((world.disk.cursor, world.disk.acked.iter().copied().collect::<Vec<_>>()), (0, vec![3]));
}

#[test]
fn nothing_passes_a_barrier() {
    let mut world = World::new(rules(8, 1));
    world.accept("a");
    world.accept("b");
    world.accept_barrier();
    world.accept("c");
    let members = |sent: Vec<Sent>| sent.into_iter().flat_map(|sent| sent.members).collect::<Vec<_>>();
    assert_eq!(members(world.turn()), [1, 2]);
    world.answer(0, Outcome::Delivered);
    assert!(world.turn().is_empty());
    world.answer(0, Outcome::Delivered);
    assert_eq!(members(world.turn()), [3]);
    world.answer(0, Outcome::Delivered);
    assert_eq!(members(world.turn()), [4]);
}

#[test]
fn a_lane_looks_no_further_than_its_window() {
    let mut world = World::new(rules(2, 1));
    world.accept("parked");
    for _ in 0..10_000 {
        world.accept("other");
    }
    let stuck = world.turn().remove(0);
    // The first is on its way for ever; the other flag goes on until the window is full.
    while let Some(index) = world.under_way.iter().position(|sent| sent.members != stuck.members) {
        world.answer(index, Outcome::Delivered);
        world.turn();
    }
    assert_eq!(world.engine.window().read_to(), crate::journal::MAX_WINDOW);
    assert_eq!((world.disk.cursor, world.disk.acked.len()), (0, 4_095));
}
