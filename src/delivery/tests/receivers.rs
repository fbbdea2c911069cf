//! Scripted receivers, one for each answer there is: what a webhook makes of it, and what becomes of the
//! records, by the clock.

use std::cell::Cell;
use std::ops::RangeInclusive;

use super::model::{Sent, World};
use super::*;
use crate::config::plan::{BatchEncoding, WebhookFormat, WebhookPlan};
use crate::config::secret::Secret;
use crate::delivery::courier::outcome_of;
use crate::delivery::engine::Notice;
use crate::delivery::sender::SendError;
use crate::destination::webhook::{USER_AGENT, Webhook};
use crate::destination::{Destination, Response};
use crate::journal::EndpointState;

/// What a receiver does with a request.
#[derive(Debug, Clone, Copy)]
enum Said {
    /// It answers with this status,
    Status(u16),
    /// and with this `Retry-After`.
    After(u16, &'static str),
    /// The connection is refused or breaks, or time is up.
    Nothing,
    /// It shows a certificate that nobody trusts.
    Untrusted,
}
use Said::{After, Nothing, Status, Untrusted};

/// What an answer speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    /// All is well.
    Success,
    /// The endpoint: nothing dies, it is probed.
    Endpoint,
    /// The endpoint, for good: not even probed.
    Gone,
    /// The record.
    Record,
    /// The moment; the next attempt comes after the relay's own wait.
    Moment,
    /// The moment; the receiver said how long, in milliseconds, with up to a tenth on top.
    Limit(u64),
}
use Of::{Endpoint as OfEndpoint, Gone, Limit, Moment, Record, Success};

/// The classification, row by row. The clock stands at 2026-11-18 11:06:40 UTC with the first attempt.
const TABLE: &[(Said, Of, &str)] = &[
    (Status(200), Success, ""),
    (Status(201), Success, ""),
    (Status(202), Success, ""),
    (Status(204), Success, ""),
    (Status(299), Success, ""),
    // Of the endpoint.
    (Status(300), OfEndpoint, "http_3xx"),
    (Status(301), OfEndpoint, "http_3xx"),
    (Status(302), OfEndpoint, "http_3xx"),
    (Status(304), OfEndpoint, "http_3xx"),
    (Status(307), OfEndpoint, "http_3xx"),
    (Status(308), OfEndpoint, "http_3xx"),
    (Status(401), OfEndpoint, "http_401"),
    (Status(402), OfEndpoint, "http_402"),
    (Status(403), OfEndpoint, "http_403"),
    (Status(404), OfEndpoint, "http_404"),
    (Status(405), OfEndpoint, "http_405"),
    (Status(407), OfEndpoint, "http_407"),
    (Status(415), OfEndpoint, "http_415"),
    (Status(421), OfEndpoint, "http_421"),
    (Status(501), OfEndpoint, "http_501"),
    (Untrusted, OfEndpoint, "untrusted"),
    (Status(410), Gone, "http_410"),
    // Of the record.
    (Status(400), Record, "rejected"),
    (Status(406), Record, "rejected"),
    (Status(409), Record, "rejected"),
    (Status(411), Record, "rejected"),
    (Status(413), Record, "rejected"),
    (Status(414), Record, "rejected"),
    (Status(418), Record, "rejected"),
    (Status(422), Record, "rejected"),
    (Status(424), Record, "rejected"),
    (Status(431), Record, "rejected"),
    (Status(451), Record, "rejected"),
    (Status(499), Record, "rejected"),
    // Of the moment.
    (Status(408), Moment, "http_408"),
    (Status(425), Moment, "http_425"),
    (Status(429), Moment, "http_429"),
    (Status(500), Moment, "http_5xx"),
    (Status(502), Moment, "http_5xx"),
    (Status(503), Moment, "http_5xx"),
    (Status(504), Moment, "http_5xx"),
    (Status(505), Moment, "http_5xx"),
    (Status(507), Moment, "http_5xx"),
    (Status(520), Moment, "http_5xx"),
    (Status(530), Moment, "http_5xx"),
    (Status(599), Moment, "http_5xx"),
    (Nothing, Moment, "network"),
    // `Retry-After`: seconds, each form of a date, and what is neither.
    (After(429, "90"), Limit(90_000), "http_429"),
    (After(503, "90"), Limit(90_000), "http_5xx"),
    (After(408, "90"), Limit(90_000), "http_408"),
    (After(503, "Wed, 18 Nov 2026 11:08:10 GMT"), Limit(90_000), "http_5xx"),
    (After(503, "Wednesday, 18-Nov-26 11:08:10 GMT"), Limit(90_000), "http_5xx"),
    (After(503, "Wed Nov 18 11:08:10 2026"), Limit(90_000), "http_5xx"),
    (After(503, "0"), Limit(0), "http_5xx"),
    (After(429, "0"), Limit(0), "http_429"),
    (After(503, "Wed, 18 Nov 2026 11:05:10 GMT"), Limit(0), "http_5xx"),
    (After(503, "3600"), Limit(3_600_000), "http_5xx"),
    (After(503, "3601"), Limit(3_600_000), "http_5xx"),
    (After(503, "99999999999999999999999"), Limit(3_600_000), "http_5xx"),
    (After(503, "Tue, 18 Nov 2036 11:08:10 GMT"), Limit(3_600_000), "http_5xx"),
    (After(503, "-1"), Moment, "http_5xx"),
    (After(503, "1.5"), Moment, "http_5xx"),
    (After(503, "soon"), Moment, "http_5xx"),
    (After(503, ""), Moment, "http_5xx"),
    (After(503, "2026-11-18T11:08:10Z"), Moment, "http_5xx"),
    // It changes nothing about what is not tried again for its sake.
    (After(400, "90"), Record, "rejected"),
    (After(403, "90"), OfEndpoint, "http_403"),
    (After(410, "90"), Gone, "http_410"),
    (After(200, "90"), Success, ""),
];

/// What the webhook makes of it.
fn outcome(said: Said, now: Now) -> Outcome {
    let plan = WebhookPlan {
        url: Arc::new(Secret::new("https://hooks.example.com/in")),
        format: WebhookFormat::Envelope,
        encoding: BatchEncoding::Array,
        headers: Vec::new(),
        signing: Vec::new(),
    };
    let batch = BatchPlan { max_events: 1, max_bytes: 1 << 20, timeout: Duration::ZERO };
    let (status, retry_after) = match said {
        Status(status) => (status, None),
        After(status, value) => (status, Some(value.to_owned())),
        Nothing => {
            return outcome_of(SendError::Failed {
                message: "connection reset".to_owned(),
                kind: "connection_broken",
            });
        }
        Untrusted => return outcome_of(SendError::Untrusted("it is not trusted".to_owned())),
    };
    let response = Response::Http { status, retry_after, rate_limit_reset: None, body: b"because".to_vec() };
    Webhook::new(plan, batch, USER_AGENT).classify(&response, now.wall)
}

/// What came of a script.
struct Told {
    world: World,
    attempts: Vec<(Duration, Sent)>,
}

impl Told {
    /// When this record was sent.
    fn times(&self, sequence: Sequence) -> Vec<Duration> {
        let of = self.attempts.iter().filter(|(_, sent)| sent.members.contains(&sequence));
        of.map(|(at, _)| *at).collect()
    }

    fn dead(&self) -> Vec<(Sequence, &str, u32)> {
        let letters = self.world.disk.dead.values();
        letters.map(|letter| (letter.sequence, letter.code.as_str(), letter.attempts)).collect()
    }

    fn state(&self) -> EndpointState {
        self.world.engine.endpoint().state()
    }

    fn code(&self) -> Option<&str> {
        self.world.engine.endpoint().reason().map(|(code, _)| code.as_str())
    }

    fn blocked(&self) -> usize {
        self.world.notices.iter().filter(|notice| matches!(notice, Notice::Blocked { .. })).count()
    }
}

/// Plays for so long, or until nothing is to be done: `script` is given the number of the request and what
/// it carries.
fn play(rules: Rules, records: usize, long: Duration, script: impl Fn(usize, &Sent) -> Said) -> Told {
    let mut world = World::new(rules);
    (0..records).for_each(|index| world.accept(&format!("flag-{index}")));
    go_on(Told { world, attempts: Vec::new() }, long, script)
}

fn go_on(mut told: Told, long: Duration, script: impl Fn(usize, &Sent) -> Said) -> Told {
    let world = &mut told.world;
    let until = world.now + long;
    loop {
        for sent in world.turn() {
            told.attempts.push((world.now, sent));
        }
        assert!(told.attempts.len() < 20_000, "it hammers");
        if let Some(sent) = world.under_way.first() {
            let number = told.attempts.iter().rposition(|(_, other)| is_same(other, sent)).unwrap();
            world.answer(0, outcome(script(number, sent), world.now()));
            continue;
        }
        match world.wake_at() {
            Some(due) if due <= until => world.now = due,
            _ => return told,
        }
    }
}

fn is_same(one: &Sent, other: &Sent) -> bool {
    (one.attempt, &one.id) == (other.attempt, &other.id)
}

/// Never sooner than this, whatever a receiver asks for.
const FLOOR: u64 = 100;
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);

/// How long to look on: a date that was to come is soon in the past.
fn long(of: Of) -> Duration {
    if let Limit(..=90_000) = of { 600 * SECOND } else { 20 * HOUR }
}

/// When the second attempt comes, in milliseconds after the first.
fn second_attempt(of: Of) -> RangeInclusive<u64> {
    match of {
        Limit(asked) => asked.max(FLOOR)..=(asked + asked / 10).max(FLOOR),
        _ => FLOOR..=1_000,
    }
}

#[test]
fn an_answer_that_came_once_costs_what_it_speaks_of() {
    for (said, of, code) in TABLE.iter().copied() {
        let told = play(rules(1, 1), 3, 10 * HOUR, |number, _| if number == 0 { said } else { Status(200) });
        let disk = &told.world.disk;
        let times: Vec<u128> = told.times(1).iter().map(Duration::as_millis).collect();
        match of {
            Success => assert_eq!((told.attempts.len(), disk.delivered), (3, 3), "{said:?}"),
            Record => {
                assert_eq!((told.attempts.len(), disk.delivered), (3, 2), "{said:?}");
                assert_eq!(told.dead(), [(1, code, 1)], "{said:?}");
                assert_eq!(told.times(3), [Duration::ZERO], "{said:?}: others do not wait");
            }
            Gone => {
                assert_eq!((told.attempts.len(), disk.delivered), (1, 0), "{said:?}");
                assert_eq!((told.state(), told.code()), (EndpointState::Gone, Some(code)), "{said:?}");
            }
            OfEndpoint | Moment | Limit(_) => {
                assert_eq!((told.attempts.len(), disk.delivered), (4, 3), "{said:?}");
                assert!(second_attempt(of).contains(&(times[1] as u64)), "{said:?}: {times:?}");
                assert!(told.times(3)[0] >= told.times(1)[1], "{said:?}: all wait");
            }
        }
        let is_blocked = matches!(of, OfEndpoint | Gone);
        assert_eq!(told.blocked(), usize::from(is_blocked), "{said:?}");
        if of != Gone {
            assert_eq!(
                (told.state(), told.code(), disk.cursor),
                (EndpointState::Running, None, 3),
                "{said:?}"
            );
        }
        assert_eq!(disk.dead.len(), usize::from(of == Record), "{said:?}");
    }
}

#[test]
fn an_answer_that_comes_for_one_record_holds_up_no_other() {
    for (said, of, code) in TABLE.iter().copied() {
        let told = play(
            rules(1, 1),
            6,
            long(of),
            |_, sent| {
                if sent.members.contains(&1) { said } else { Status(200) }
            },
        );
        let delivered = told.world.disk.delivered;
        match of {
            Success => assert_eq!(delivered, 6),
            Gone => assert_eq!((delivered, told.dead().len()), (0, 0), "{said:?}"),
            Record => assert_eq!((delivered, told.dead()), (5, vec![(1, code, 1)]), "{said:?}"),
            // Twice alone, once with another between, once more.
            OfEndpoint => assert_eq!((delivered, told.dead()), (5, vec![(1, code, 4)]), "{said:?}"),
            Moment | Limit(_) => {
                // A limit is never one record's own.
                let least = if code == "http_429" { 1 } else { 5 };
                assert!((least..=5).contains(&delivered) && told.dead().is_empty(), "{said:?}");
                assert!(told.times(1).len() > 3, "{said:?}: it is tried on");
            }
        }
        assert!(told.blocked() <= 1, "{said:?}");
    }
}

#[test]
fn an_answer_that_comes_for_everything_burns_no_backlog() {
    for (said, of, code) in TABLE.iter().copied() {
        let healed = Cell::new(false);
        let script = |_: usize, _: &Sent| if healed.get() { Status(200) } else { said };
        let told = play(rules(4, 1), 100, long(of), script);
        let expected = match of {
            Success => (EndpointState::Running, None, 0),
            OfEndpoint => (EndpointState::Blocked, Some(code), 0),
            Gone => (EndpointState::Gone, Some(code), 0),
            Record => (EndpointState::Blocked, Some("reject_limit"), 19),
            Moment | Limit(_) => (EndpointState::Waiting, Some(code), 0),
        };
        assert_eq!((told.state(), told.code(), told.dead().len()), expected, "{said:?}");
        assert!(told.blocked() <= 1, "{said:?}: told once");
        let most = if let Limit(..=90_000) = of { 600_000 / FLOOR } else { 1_500 };
        assert!(told.attempts.len() as u64 <= most + 30, "{said:?}: {}", told.attempts.len());
        healed.set(true);
        let mut told = told;
        if of == Gone {
            told.world.engine.resume_now();
        }
        let dead = expected.2;
        let told = go_on(told, 2 * HOUR, script);
        assert_eq!(told.world.disk.delivered + told.dead().len() as u64, 100, "{said:?}");
        assert_eq!((told.dead().len(), told.world.disk.cursor), (dead, 100), "{said:?}");
    }
}

#[test]
fn what_was_under_way_when_the_endpoint_failed_is_no_proof_that_it_is_well() {
    for first in [Status(401), Status(410), After(429, "90"), After(503, "90"), Nothing] {
        for second in [Status(200), Status(400), Status(500)] {
            let mut told = play(rules(2, 1), 0, SECOND, |_, _| Nothing);
            ["a", "b", "c", "d"].iter().for_each(|key| told.world.accept(key));
            let world = &mut told.world;
            world.turn();
            world.answer(0, outcome(first, world.now()));
            let state = (world.engine.endpoint().state(), world.wake_at());
            world.answer(0, outcome(second, world.now()));
            assert!(world.turn().is_empty(), "{first:?}, {second:?}");
            assert_eq!(world.engine.endpoint().state(), state.0, "{first:?}, {second:?}");
            if let After(..) = first {
                assert!(world.wake_at().unwrap() >= Duration::from_secs(90), "{first:?}, {second:?}");
            }
        }
    }
}

#[test]
fn a_success_from_before_does_not_make_a_refusal_the_records_own() {
    // Credentials end while two requests are under way: the slower answer is of before.
    let mut world = World::new(rules(2, 1));
    ["a", "b", "c", "d"].iter().for_each(|key| world.accept(key));
    world.turn();
    world.answer(0, outcome(Status(401), world.now()));
    world.answer(0, outcome(Status(200), world.now()));
    world.turn();
    for _ in 0..2 {
        world.turn_when_due();
        world.answer(0, outcome(Status(401), world.now()));
        world.turn();
    }
    assert!(world.disk.dead.is_empty(), "{:?}", world.disk.dead);
    assert_eq!(world.engine.endpoint().state(), EndpointState::Blocked);
}

#[test]
fn credentials_that_work_for_a_moment_burn_no_backlog() {
    let told = play(rules(64, 1), 400, HOUR, |number, _| Status(if number == 64 { 200 } else { 401 }));
    assert!(told.dead().len() < 20, "{} dead", told.dead().len());
    assert_eq!((told.state(), told.world.disk.delivered), (EndpointState::Blocked, 1));
}

#[test]
fn a_restart_burns_no_further_records_of_a_receiver_that_rejects_all() {
    let mut told = play(rules(1, 1), 100, HOUR, |_, _| Status(400));
    for _ in 0..5 {
        told.world.crash();
        told = go_on(told, HOUR, |_, _| Status(400));
        assert_eq!((told.dead().len(), told.state()), (19, EndpointState::Blocked));
    }
}

#[test]
fn batches_that_are_all_refused_block_once_and_are_probed_ever_more_rarely() {
    let healed = Cell::new(false);
    let script = |_: usize, _: &Sent| Status(if healed.get() { 200 } else { 400 });
    let told = play(rules(4, 8), 400, 24 * HOUR, script);
    assert_eq!((told.state(), told.code()), (EndpointState::Blocked, Some("reject_limit")));
    assert_eq!((told.blocked(), told.dead().len()), (1, 19));
    assert!(told.attempts.len() < 1_000, "{}", told.attempts.len());
    healed.set(true);
    let told = go_on(told, HOUR, script);
    assert_eq!((told.world.disk.delivered, told.world.disk.cursor), (381, 400));
}

#[test]
fn what_went_alone_where_batches_are_made_goes_alone_again_after_a_crash() {
    let mut world = World::new(rules(4, 20));
    world.accept("a");
    let first = world.turn().remove(0);
    world.crash();
    ["a", "b"].iter().for_each(|key| world.accept(key));
    let again = world.turn().remove(0);
    assert_eq!((again.id, again.members), (first.id, first.members));
}

#[test]
fn what_was_settled_before_a_restart_does_not_wait_though_the_endpoint_fails() {
    let mut world = World::new(rules(3, 1));
    ["a", "b", "c"].iter().for_each(|key| world.accept(key));
    world.turn();
    world.answer(0, outcome(Nothing, world.now()));
    world.answer(1, outcome(Status(200), world.now()));
    world.turn();
    world.crash(); // the second is on its way still
    assert_eq!(world.engine.settled_ahead(), 1, "known before it is read again");
    world.turn();
    assert_eq!(world.engine.endpoint().state(), EndpointState::Waiting);
    assert_eq!((world.engine.settled_ahead(), world.engine.window().unsettled()), (0, 2));
}
