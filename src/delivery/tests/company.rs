//! Who travels with whom, and when: digests, change sets, what is urgent, what is told seldom.

use super::model::{Place, SELDOM, World};
use super::*;

const WAIT: Duration = Duration::from_secs(15);

fn world(grouping: Grouping) -> World {
    let mut rules = rules(4, 1_000);
    rules.limits.grouping = grouping;
    rules.limits.wait = WAIT;
    World::new(rules)
}

fn digest() -> World {
    world(Grouping::Digest)
}

fn flag(world: &mut World, key: &str, set: u8) {
    world.accept_as(Place::Flag(key.to_owned()), Some(set), false);
}

fn off(world: &mut World, key: &str) {
    world.accept_as(Place::Flag(key.to_owned()), None, true);
}

fn denied(world: &mut World, who: &str) {
    world.accept_as(Place::Seldom(who.to_owned()), None, false);
}

fn turn(world: &mut World) -> Vec<Vec<Sequence>> {
    world.turn().into_iter().map(|sent| sent.members).collect()
}

fn pass(world: &mut World, seconds: u64) -> Vec<Vec<Sequence>> {
    world.now += Duration::from_secs(seconds);
    turn(world)
}

fn delivered(world: &mut World) -> Vec<Vec<Sequence>> {
    while !world.under_way.is_empty() {
        world.answer(0, Outcome::Delivered);
    }
    turn(world)
}

const NOTHING: [Vec<Sequence>; 0] = [];

#[test]
fn a_digest_takes_all_that_waits_when_its_first_has_waited() {
    let mut world = digest();
    flag(&mut world, "a", 1);
    assert_eq!(pass(&mut world, 10), NOTHING);
    flag(&mut world, "b", 2);
    flag(&mut world, "a", 1);
    assert_eq!(pass(&mut world, 4), NOTHING);
    assert_eq!(world.wake_at(), Some(WAIT));
    assert_eq!(pass(&mut world, 1), [[1, 2, 3]]);
    flag(&mut world, "a", 1);
    assert_eq!(delivered(&mut world), NOTHING);
    assert_eq!(world.wake_at(), Some(WAIT * 2));
}

#[test]
fn what_waited_before_it_was_read_waits_no_longer() {
    let mut world = digest();
    flag(&mut world, "a", 1);
    world.crash();
    assert_eq!(pass(&mut world, 15), [[1]]);
}

#[test]
fn what_is_urgent_goes_at_once_with_all_of_its_flag_and_nothing_else() {
    let mut world = digest();
    flag(&mut world, "a", 1);
    flag(&mut world, "b", 2);
    assert_eq!(pass(&mut world, 5), NOTHING);
    off(&mut world, "a");
    flag(&mut world, "a", 1);
    flag(&mut world, "c", 3);
    assert_eq!(turn(&mut world), [[1, 3, 4]]);
    assert_eq!(delivered(&mut world), NOTHING);
    // The others have waited from their own beginning on.
    assert_eq!(pass(&mut world, 10), [[2, 5]]);
}

#[test]
fn what_is_urgent_takes_along_what_it_must_not_overtake() {
    let mut world = digest();
    flag(&mut world, "a", 1);
    world.accept_barrier();
    off(&mut world, "b");
    assert_eq!(turn(&mut world), [[1, 2, 3]]);
}

#[test]
fn several_that_are_urgent_share_one_request_after_the_pause() {
    let mut world = digest();
    (world.rules.limits.pause, world.rules.concurrency) = (Duration::from_secs(1), 1);
    world.crash();
    off(&mut world, "a");
    assert_eq!(turn(&mut world), [[1]]);
    off(&mut world, "b");
    off(&mut world, "c");
    assert_eq!(delivered(&mut world), NOTHING);
    assert_eq!(world.wake_at(), Some(world.now + Duration::from_secs(1)));
    assert_eq!(pass(&mut world, 1), [[2, 3]]);
}

#[test]
fn a_pause_follows_a_failure_too() {
    let mut world = digest();
    world.rules.limits.pause = Duration::from_secs(20);
    world.crash();
    off(&mut world, "a");
    turn(&mut world);
    world.answer(0, retry());
    assert_eq!(turn(&mut world), NOTHING);
    world.now += Duration::from_secs(19);
    assert_eq!(turn(&mut world), NOTHING);
    assert_eq!(pass(&mut world, 1), [[1]]);
}

#[test]
fn each_change_set_waits_for_itself_and_goes_alone() {
    let mut world = world(Grouping::ChangeSet);
    flag(&mut world, "a", 1);
    assert_eq!(pass(&mut world, 5), NOTHING);
    flag(&mut world, "b", 2);
    flag(&mut world, "a", 1);
    world.accept("c");
    assert_eq!(pass(&mut world, 10), [[1, 3]]);
    // Later edits of the set make another request, once it is their time.
    flag(&mut world, "a", 1);
    assert_eq!(pass(&mut world, 5), [vec![2], vec![4]]);
    assert_eq!(delivered(&mut world), NOTHING);
    assert_eq!(pass(&mut world, 9), NOTHING);
    assert_eq!(pass(&mut world, 1), [[5]]);
}

#[test]
fn a_change_set_does_not_overtake_what_another_did_to_the_same_flag() {
    let mut world = world(Grouping::ChangeSet);
    flag(&mut world, "a", 1);
    flag(&mut world, "a", 2);
    flag(&mut world, "a", 1);
    assert_eq!(pass(&mut world, 15), [[1]]);
    assert_eq!(delivered(&mut world), [[2]]);
    assert_eq!(delivered(&mut world), [[3]]);
}

#[test]
fn what_is_told_seldom_is_told_once_and_then_together() {
    let mut world = digest();
    denied(&mut world, "ben");
    assert_eq!(turn(&mut world), NOTHING);
    denied(&mut world, "ben");
    assert_eq!(pass(&mut world, 15), [[1, 2]]);
    denied(&mut world, "ben");
    assert_eq!(delivered(&mut world), NOTHING);
    let told = world.now;
    denied(&mut world, "cas");
    flag(&mut world, "a", 1);
    assert_eq!(pass(&mut world, 15), [[4, 5]], "others wait for nobody");
    assert_eq!(delivered(&mut world), NOTHING);
    denied(&mut world, "ben");
    assert_eq!(turn(&mut world), NOTHING);
    assert_eq!(world.wake_at(), Some(told + SELDOM));
    world.crash();
    turn(&mut world);
    assert_eq!(world.wake_at(), Some(told + SELDOM), "over a restart, too");
    world.now = told + SELDOM;
    assert_eq!(turn(&mut world), [[3, 6]]);
    delivered(&mut world);
    assert_eq!(world.disk.cursor, 6);
}

#[test]
fn what_is_told_seldom_comes_along_with_what_goes_anyway() {
    let mut world = digest();
    flag(&mut world, "a", 1);
    assert_eq!(pass(&mut world, 10), NOTHING);
    denied(&mut world, "ben");
    assert_eq!(pass(&mut world, 5), [[1, 2]]);
}

#[test]
fn a_failure_makes_nothing_quiet() {
    let mut world = digest();
    denied(&mut world, "ben");
    assert_eq!(pass(&mut world, 15), [[1]]);
    denied(&mut world, "ben");
    world.answer(0, rejected());
    turn(&mut world);
    assert!(world.disk.dead.contains_key(&1) && world.disk.quiet.is_empty());
    assert_eq!(pass(&mut world, 15), [[2]]);
}

#[test]
fn what_is_held_back_does_not_hold_up_the_end() {
    let mut world = digest();
    denied(&mut world, "ben");
    pass(&mut world, 15);
    denied(&mut world, "ben");
    delivered(&mut world);
    assert!(world.engine.is_done(world.now()));
    flag(&mut world, "a", 1);
    turn(&mut world);
    assert!(!world.engine.is_done(world.now()));
}

#[test]
fn a_full_window_tells_what_it_held_back() {
    let mut world = digest();
    denied(&mut world, "ben");
    pass(&mut world, 15);
    denied(&mut world, "ben");
    delivered(&mut world);
    for _ in 0..crate::journal::MAX_WINDOW {
        flag(&mut world, "a", 1);
    }
    let mut sent = pass(&mut world, 15);
    for _ in 0..10 {
        sent.extend(delivered(&mut world));
    }
    assert!(sent.iter().any(|members| members.contains(&2)), "{:?}", world.disk.cursor);
    world.now += WAIT;
    sent.extend(turn(&mut world));
    delivered(&mut world);
    assert_eq!(world.disk.cursor, world.accepted.len() as u64);
}

#[test]
fn what_is_held_back_keeps_no_replay_and_is_told_in_its_time_all_the_same() {
    let mut world = digest();
    denied(&mut world, "ben");
    pass(&mut world, 15);
    denied(&mut world, "ben");
    delivered(&mut world);
    let told = world.now;
    // A replay finds the endpoint unwell.
    assert!(world.engine.begin_replay(world.now()));
    let now = world.now();
    world.engine.end_replay(&retry(), None, now);
    assert_eq!(turn(&mut world), NOTHING);
    let due = world.engine.wake_at(world.now(), true, true).expect("the replay is tried again");
    assert!(due < told + SELDOM, "{due:?}");
    world.now = due;
    assert!(world.engine.begin_replay(world.now()), "there is nothing else to ask with");
    let now = world.now();
    world.engine.end_replay(&retry(), None, now);
    // Without a replay, the end of the silence wakes the lane.
    while world.now < told + SELDOM {
        world.now = world.wake_at().expect("it is told some time");
        assert!(world.now <= told + SELDOM, "{:?} {:?}", world.now, told);
    }
    assert_eq!(turn(&mut world), [[2]]);
}

#[test]
fn what_is_urgent_goes_before_a_backlog_that_has_waited_longer() {
    let mut world = digest();
    world.rules.limits.max_events = 10;
    world.crash();
    for index in 0..50 {
        flag(&mut world, &format!("flag-{index}"), index);
    }
    flag(&mut world, "a", 60);
    off(&mut world, "a");
    assert_eq!(pass(&mut world, 15)[0], [51, 52]);
}

#[test]
fn what_is_left_out_waits_for_nothing_and_holds_up_nothing() {
    let mut world = world(Grouping::ChangeSet);
    world.accept("parked");
    world.accept_as(Place::LeftOut, None, false);
    world.accept("b");
    assert_eq!(turn(&mut world), NOTHING);
    assert_eq!(world.disk.left_out, 1);
    assert_eq!(pass(&mut world, 15), [vec![1], vec![3]]);
}
