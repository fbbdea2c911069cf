//! What each outcome leads to: attempts, times, states, books.

use super::model::World;
use super::*;
use crate::delivery::engine::Notice;
use crate::journal::EndpointState;

fn state(world: &World) -> EndpointState {
    world.engine.endpoint().state()
}

fn accept(world: &mut World, keys: &[&str]) {
    keys.iter().for_each(|key| world.accept(key));
}

/// Answers the only request under way, and takes a turn.
fn answer(world: &mut World, outcome: Outcome) -> Vec<Vec<Sequence>> {
    assert_eq!(world.under_way.len(), 1);
    world.answer(0, outcome);
    members(world.turn())
}

fn members(sent: Vec<super::model::Sent>) -> Vec<Vec<Sequence>> {
    sent.into_iter().map(|sent| sent.members).collect()
}

#[test]
fn an_endpoint_that_fails_pauses_the_lane_and_is_asked_with_one_request() {
    let mut world = World::new(rules(4, 1));
    accept(&mut world, &["a", "b", "c", "d", "e"]);
    assert_eq!(world.turn().len(), 4);
    for _ in 0..4 {
        world.answer(0, retry());
    }
    assert!(world.turn().is_empty());
    assert_eq!(state(&world), EndpointState::Waiting);
    // Four failures of one moment are one.
    assert_eq!(world.disk.endpoint.attempts, 1);
    assert!(world.wake_at().unwrap() <= Duration::from_secs(1));
    assert_eq!(members(world.turn_when_due()), [[1]]);
    assert_eq!(answer(&mut world, Outcome::Delivered), [[2], [3], [4], [5]]);
    assert_eq!(state(&world), EndpointState::Running);
}

#[test]
fn every_third_probe_is_made_with_another_flag() {
    let mut world = World::new(rules(1, 1));
    accept(&mut world, &["a", "a", "b"]);
    world.turn();
    let mut probes = Vec::new();
    for _ in 0..6 {
        assert!(answer(&mut world, retry()).is_empty());
        probes.extend(world.turn_when_due().into_iter().flat_map(|sent| sent.members));
    }
    assert_eq!(probes, [1, 1, 3, 1, 1, 3]);
}

#[test]
fn a_record_that_fails_while_others_pass_waits_alone() {
    let mut world = World::new(rules(1, 1));
    accept(&mut world, &["a", "b", "c", "a"]);
    world.turn();
    answer(&mut world, retry());
    world.turn_when_due();
    answer(&mut world, retry());
    world.turn_when_due();
    answer(&mut world, retry());
    assert_eq!(members(world.turn_when_due()), [[2]], "the third probe");
    // Others pass: the first is asked once more, and then waits alone.
    assert_eq!(answer(&mut world, Outcome::Delivered), [[1]]);
    assert_eq!(answer(&mut world, retry()), [[3]]);
    assert_eq!(state(&world), EndpointState::Running);
    assert!(answer(&mut world, Outcome::Delivered).is_empty(), "the last is of the parked flag");
    assert_eq!(members(world.turn_when_due()), [[1]]);
    assert_eq!(answer(&mut world, Outcome::Delivered), [[4]]);
}

#[test]
fn one_poison_event_does_not_block_for_long_and_dies_alone() {
    let mut world = World::new(rules(1, 1));
    accept(&mut world, &["poison", "b", "c"]);
    world.turn();
    assert!(answer(&mut world, blocked()).is_empty());
    assert_eq!(state(&world), EndpointState::Blocked);
    for _ in 0..2 {
        assert_eq!(members(world.turn_when_due()), [[1]]);
        assert!(answer(&mut world, blocked()).is_empty());
    }
    assert_eq!(members(world.turn_when_due()), [[2]]);
    assert_eq!(answer(&mut world, Outcome::Delivered), [[1]]);
    assert_eq!(answer(&mut world, blocked()), [[3]]);
    assert_eq!(world.disk.dead.keys().copied().collect::<Vec<_>>(), [1]);
    assert_eq!(world.disk.dead[&1].code, "http_403");
    assert_eq!(state(&world), EndpointState::Running);
    let told = world.notices.iter().filter(|notice| matches!(notice, Notice::Blocked { .. })).count();
    assert_eq!(told, 1, "{:?}", world.notices);
}

#[test]
fn an_endpoint_mended_during_a_probe_costs_no_record() {
    let mut world = World::new(rules(1, 1));
    accept(&mut world, &["a", "b"]);
    world.turn();
    for _ in 0..3 {
        answer(&mut world, blocked());
        world.turn_when_due();
    }
    // The credentials are mended just before the probe with another flag.
    assert_eq!(answer(&mut world, Outcome::Delivered), [[1]]);
    answer(&mut world, Outcome::Delivered);
    assert!(world.disk.dead.is_empty());
}

#[test]
fn rejections_in_a_row_block_instead_of_burning_the_backlog() {
    let mut world = World::new(rules(1, 1));
    for index in 0..100 {
        world.accept(&format!("flag-{index}"));
    }
    world.turn();
    for expected in 2..=20_u64 {
        assert_eq!(answer(&mut world, rejected()), [[expected]]);
    }
    assert!(answer(&mut world, rejected()).is_empty());
    assert_eq!(state(&world), EndpointState::Blocked);
    assert_eq!(world.disk.dead.len(), 19);
    // Probes with the oldest that are rejected again change nothing.
    assert_eq!(members(world.turn_when_due()), [[20]]);
    assert!(answer(&mut world, rejected()).is_empty());
    assert_eq!(world.disk.dead.len(), 19);
    assert_eq!(members(world.turn_when_due()), [[20]]);
    // One that passes opens the lane.
    assert_eq!(answer(&mut world, Outcome::Delivered), [[21]]);
    assert_eq!(state(&world), EndpointState::Running);
    // A success between rejections begins the count anew.
    for index in 21..60_u64 {
        let outcome = if index % 10 == 0 { Outcome::Delivered } else { rejected() };
        assert_eq!(answer(&mut world, outcome), [[index + 1]]);
    }
}

#[test]
fn a_batch_that_is_rejected_is_split_until_only_the_poison_is_dead() {
    let mut world = World::new(rules(4, 64));
    for index in 0..64 {
        world.accept(&format!("flag-{}", index % 7));
    }
    let poison = [17, 40];
    let mut ids = std::collections::BTreeSet::new();
    let mut requests = 0;
    world.turn();
    while let Some(sent) = world.under_way.first() {
        requests += 1;
        let is_poisoned = sent.members.iter().any(|member| poison.contains(member));
        assert!(ids.insert(sent.id.clone()), "a split has new ids");
        world.answer(0, if is_poisoned { rejected() } else { Outcome::Delivered });
        world.turn();
    }
    assert_eq!(world.disk.dead.keys().copied().collect::<Vec<_>>(), poison);
    assert_eq!((world.disk.delivered, world.disk.cursor), (62, 64));
    assert!(requests <= 1 + 2 * 2 * 6, "{requests}");
    assert!(world.disk.batches.is_empty());
}

#[test]
fn a_batch_in_front_of_a_filter_is_split_too() {
    let mut world = World::new(rules(1, 8));
    for index in 0..12 {
        world.accept(&format!("flag-{index}"));
    }
    world.turn();
    let mut turns = 0;
    while world.disk.cursor < 12 {
        turns += 1;
        assert!(turns < 100);
        let Some(sent) = world.under_way.first() else {
            world.turn_when_due();
            continue;
        };
        let outcome = if sent.members.contains(&3) { blocked() } else { Outcome::Delivered };
        world.answer(0, outcome);
        world.turn();
    }
    assert_eq!(world.disk.dead.keys().copied().collect::<Vec<_>>(), [3]);
    assert_eq!(world.disk.delivered, 11);
}

#[test]
fn gone_waits_for_a_person_or_another_configuration() {
    let mut world = World::new(rules(2, 1));
    accept(&mut world, &["a", "b"]);
    world.turn();
    world.answer(0, Outcome::Blocked { gone: true, reason: reason("http_410") });
    world.answer(0, Outcome::Delivered);
    assert!(world.turn().is_empty());
    assert_eq!((state(&world), world.wake_at()), (EndpointState::Gone, None));
    world.now += Duration::from_secs(1_000_000);
    assert!(world.turn().is_empty());
    world.crash();
    assert!(world.turn().is_empty());
    assert_eq!(state(&world), EndpointState::Gone, "a restart is no change of the configuration");
    world.rules.fingerprint = "another".to_owned();
    world.crash();
    assert_eq!(members(world.turn()), [[1]]);
    world.answer(0, Outcome::Blocked { gone: true, reason: reason("http_410") });
    assert!(world.turn().is_empty());
    world.engine.resume_now();
    assert_eq!(members(world.turn()), [[1]]);
}

#[test]
fn a_wait_and_the_count_of_attempts_survive_a_restart() {
    let mut world = World::new(rules(1, 1));
    accept(&mut world, &["a"]);
    world.turn();
    let asked = Outcome::Retry { not_before: Some(Duration::from_secs(600)), reason: reason("http_503") };
    answer(&mut world, asked);
    let due = world.wake_at().unwrap();
    assert!((600..=660).contains(&due.as_secs()), "{due:?}");
    world.now += Duration::from_secs(60);
    world.crash();
    assert!(world.turn().is_empty());
    let after = world.wake_at().unwrap();
    assert!(after.abs_diff(due) < Duration::from_millis(1), "{after:?} {due:?}");
    let sent = world.turn_when_due().remove(0);
    assert_eq!(sent.attempt, 2);
    assert_eq!(world.disk.endpoint.attempts, 1);
    answer(&mut world, retry());
    assert_eq!(world.disk.endpoint.attempts, 2);
}

#[test]
fn waits_grow_to_their_bound_and_never_below_the_floor() {
    let mut world = World::new(rules(1, 1));
    accept(&mut world, &["a"]);
    world.turn();
    for attempt in 1..40_u32 {
        let before = world.now;
        answer(&mut world, retry());
        world.turn_when_due();
        let waited = world.now - before;
        let bound = Duration::from_secs(1 << (attempt - 1).min(9)).min(Duration::from_secs(300));
        assert!(waited >= Duration::from_millis(100) && waited <= bound, "{attempt}: {waited:?}");
    }
}

#[test]
fn a_limit_pauses_all_even_where_others_passed() {
    let mut world = World::new(rules(2, 1));
    accept(&mut world, &["a", "b", "c"]);
    world.turn();
    let limit = || Outcome::Retry { not_before: Some(Duration::from_secs(30)), reason: reason("http_429") };
    world.answer(0, limit());
    world.answer(0, Outcome::Delivered);
    assert!(world.turn().is_empty());
    assert!((30..=33).contains(&world.wake_at().unwrap().as_secs()));
    world.turn_when_due();
    answer(&mut world, limit());
    assert_eq!(state(&world), EndpointState::Waiting);
}

#[test]
fn nothing_expires_before_the_first_attempt_since_the_start() {
    let day = Duration::from_secs(86_400);
    let mut world = World::new(Rules { expire_after: Some(day), ..rules(1, 1) });
    accept(&mut world, &["a", "b"]);
    world.turn();
    world.crash();
    world.now += day * 30;
    assert_eq!(members(world.turn()), [[1]], "tried, old as it is");
    assert!(world.disk.dead.is_empty());
    // Now both are known to be too old.
    assert!(answer(&mut world, retry()).is_empty());
    assert_eq!(world.disk.dead.len(), 2);
    assert!(world.disk.dead.values().all(|letter| letter.code == "expired"));
    assert!(world.notices.contains(&Notice::ManyDead { count: 2, code: "expired" }));
}

#[test]
fn age_is_running_time_attempted_or_not() {
    let hour = Duration::from_secs(3_600);
    let mut world = World::new(Rules { expire_after: Some(hour), ..rules(1, 1) });
    accept(&mut world, &["a"]);
    world.turn();
    answer(&mut world, retry());
    // The relay stands still for a week: no running time passes.
    let week = Duration::from_secs(7 * 86_400);
    let later = Now { wall: world.now().wall.plus(week), ..world.now() };
    world.engine.expire(later);
    world.commit();
    assert!(world.disk.dead.is_empty());
    world.accept("a"); // never attempted: it is behind the first
    world.now += hour + Duration::from_secs(1);
    world.turn();
    world.now += hour + Duration::from_secs(1);
    assert!(world.under_way.is_empty() || world.under_way.len() == 1);
    if !world.under_way.is_empty() {
        answer(&mut world, retry());
    }
    world.turn();
    assert_eq!(world.disk.dead.len(), 2);
}

#[test]
fn the_backlog_bound_lets_the_oldest_die() {
    let mut world = World::new(Rules { backlog_max_bytes: Some(2_000), ..rules(1, 1) });
    world.accept("a");
    world.turn();
    world.answer(0, retry());
    world.turn();
    for index in 0..500 {
        world.accept(&format!("flag-{index}"));
    }
    // It waits; what lies beyond its window counts as well.
    world.engine.bound_backlog(5_000, world.now());
    world.commit();
    assert_eq!(world.disk.dead.keys().copied().collect::<Vec<_>>(), [1]);
    world.turn();
    let waiting = 501 - world.disk.dead.len() as u64 - world.disk.delivered;
    assert!(waiting < 100, "{waiting}");
    assert!(world.disk.dead.values().all(|letter| letter.code == "backlog_limit"));
    assert!(world.engine.window().bytes() <= 2_000);
}

#[test]
fn a_receiver_that_takes_nothing_old_is_not_asked_and_a_doubtful_clock_gives_no_verdict() {
    let hours = |hours: u64| Duration::from_secs(hours * 3_600);
    let mut rules = rules(1, 3);
    rules.limits.max_event_age = Some(hours(17));
    let mut world = World::new(rules);
    accept(&mut world, &["a", "b"]);
    world.now += hours(16);
    accept(&mut world, &["c"]);
    world.now += hours(2);
    let doubtful = Now { is_wall_sure: false, ..world.now() };
    for sequence in 1..=3 {
        let looked = delivery(sequence, Some("x"), world.accepted[sequence as usize - 1].at);
        world
            .engine
            .look(crate::delivery::engine::Looked::Mine(Box::new(looked), Company::default()), doubtful);
    }
    let dispatches = world.engine.next(doubtful, true, false);
    assert_eq!(world.engine.deliveries(&dispatches[0]).len(), 3, "no verdict");
    world.crash();
    assert_eq!(members(world.turn()), [[3]]);
    assert_eq!(world.disk.dead.keys().copied().collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn a_rate_is_kept_and_probes_count() {
    let rate = crate::config::plan::RatePlan { requests: 60, per: Duration::from_secs(60) };
    let mut world = World::new(Rules { rate_limit: Some(rate), ..rules(4, 1) });
    for index in 0..30 {
        world.accept(&format!("flag-{index}"));
    }
    world.turn();
    let mut times = vec![world.now];
    while world.disk.delivered < 29 {
        if world.under_way.is_empty() {
            world.turn_when_due();
            times.push(world.now);
        } else {
            world.answer(0, Outcome::Delivered);
            world.turn();
        }
    }
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= Duration::from_millis(999)), "{times:?}");
}

#[test]
fn a_rate_that_allows_a_request_again_hides_no_later_time() {
    let rate = crate::config::plan::RatePlan { requests: 1, per: Duration::from_secs(1) };
    let mut world = World::new(Rules { rate_limit: Some(rate), ..rules(1, 1) });
    world.accept("a");
    world.turn();
    let not_before = Some(Duration::from_secs(60));
    let reason = reason("http_5xx");
    assert!(answer(&mut world, Outcome::Retry { not_before, reason }).is_empty());
    world.now += Duration::from_secs(2);
    assert!(world.turn().is_empty());
    assert!(world.wake_at().unwrap() >= Duration::from_secs(60));
}

#[test]
fn observed_and_discarded_records_are_counted_and_not_sent() {
    let mut world = World::new(Rules { discard: true, ..rules(1, 1) });
    accept(&mut world, &["a", "b"]);
    world.accept_other();
    assert!(world.turn().is_empty());
    assert_eq!((world.disk.discarded, world.disk.not_routed, world.disk.cursor), (2, 1, 3));
}

#[test]
fn a_pause_sends_nothing_and_decides_on() {
    let mut world = World::new(rules(1, 1));
    world.engine.pause(true);
    world.accept_other();
    accept(&mut world, &["a"]);
    assert!(world.turn().is_empty());
    assert_eq!((world.disk.cursor, world.disk.not_routed, world.wake_at()), (1, 1, None));
    world.engine.resume_now();
    assert_eq!(members(world.turn()), [[2]]);
}

#[test]
fn a_late_success_is_no_evidence_against_those_that_failed_meanwhile() {
    let mut world = World::new(rules(4, 4));
    for index in 0..40 {
        world.accept(&format!("flag-{index}"));
    }
    // One request is slow, and was sent before the credentials were revoked.
    world.turn();
    while world.under_way.len() > 1 {
        world.answer(1, blocked());
    }
    world.turn();
    world.answer(0, Outcome::Delivered);
    for _ in 0..30 {
        if world.under_way.is_empty() {
            world.turn_when_due();
        }
        while !world.under_way.is_empty() {
            world.answer(0, blocked());
        }
        world.turn();
    }
    assert!(world.disk.dead.is_empty());
    let told = world.notices.iter().filter(|notice| matches!(notice, Notice::Blocked { .. })).count();
    assert_eq!(told, 1);
}

#[test]
fn a_record_that_is_alone_after_a_split_dies_only_if_something_passes_after_that() {
    let mut world = World::new(rules(1, 2));
    for index in 0..4 {
        world.accept(&format!("flag-{index}"));
    }
    world.turn();
    for _ in 0..3 {
        answer(&mut world, blocked());
        world.turn_when_due();
    }
    // The other group passes, and then the credentials are revoked for good.
    assert_eq!(answer(&mut world, Outcome::Delivered), [[1, 2]]);
    assert_eq!(answer(&mut world, blocked()), [[1]], "split");
    for _ in 0..10 {
        assert!(answer(&mut world, blocked()).is_empty());
        world.turn_when_due();
    }
    assert!(world.disk.dead.is_empty());
}

#[test]
fn a_replay_that_fails_while_others_pass_is_given_up_and_one_that_fails_first_is_not() {
    let mut world = World::new(rules(2, 1));
    assert!(world.engine.begin_replay(world.now()));
    assert!(!world.engine.end_replay(&blocked(), None, world.now()), "it may be the endpoint");
    assert_eq!(state(&world), EndpointState::Blocked);
    let failed_at = Some(world.engine.endpoint().issued());
    world.accept("a");
    world.turn();
    world.now += Duration::from_secs(2);
    world.turn();
    world.answer(0, Outcome::Delivered);
    world.turn();
    assert!(world.engine.begin_replay(world.now()));
    assert!(world.engine.end_replay(&blocked(), failed_at, world.now()), "others pass");
    assert_eq!(state(&world), EndpointState::Running);
}

#[test]
fn a_burst_is_no_backlog_where_the_receiver_is_well() {
    let mut world = World::new(Rules { backlog_max_bytes: Some(2_000), ..rules(1, 1) });
    for index in 0..500 {
        world.accept(&format!("flag-{index}"));
    }
    world.turn();
    assert!(world.disk.dead.is_empty());
    world.now += Duration::from_secs(59);
    world.answer(0, Outcome::Delivered);
    world.turn();
    assert!(world.disk.dead.is_empty());
    world.now += Duration::from_secs(2);
    world.answer(0, Outcome::Delivered);
    world.turn();
    assert!(world.disk.dead.len() > 400, "it cannot keep up: {}", world.disk.dead.len());
}
