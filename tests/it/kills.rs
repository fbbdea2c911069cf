//! `kill -9` under load, with a receiver that fails at random. Nothing is lost; what comes twice was under
//! way at a kill, or was answered with an error; it comes with its old id, a group with its old members; and
//! what belongs to one flag arrives in order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use serde_json::{Value, json};

use crate::support::{Act, Raw, Received, Seeded, Workplace, flag_line};

/// How often the relay is killed in one schedule of `.ci/nightly/kills`.
const NIGHTLY_KILLS: usize = 25;

/// Concurrency and events in a batch, by the seed.
const SHAPES: [(usize, usize); 4] = [(4, 1), (64, 1), (4, 20), (64, 20)];

#[test]
fn nothing_is_lost_by_kills_at_concurrency_4() {
    play(&Schedule::new(0, 3));
}

#[test]
fn nothing_is_lost_by_kills_at_concurrency_64() {
    play(&Schedule::new(1, 3));
}

#[test]
fn nothing_is_lost_by_kills_in_batches() {
    play(&Schedule::new(2, 3));
}

#[test]
fn nothing_is_lost_by_kills_in_batches_at_concurrency_64() {
    play(&Schedule::new(3, 3));
}

/// `AUDIT_RELAY_KILLS=first..last` says which seeds.
#[test]
#[ignore = "takes minutes: .ci/nightly/kills"]
fn nothing_is_lost_by_many_kills() {
    let range = std::env::var("AUDIT_RELAY_KILLS").expect("AUDIT_RELAY_KILLS=first..last");
    let (first, last) = range.split_once("..").expect("AUDIT_RELAY_KILLS=first..last");
    for seed in first.parse().unwrap()..last.parse().unwrap() {
        play(&Schedule::new(seed, NIGHTLY_KILLS));
    }
}

struct Schedule {
    seed: u64,
    kills: usize,
    concurrency: usize,
    batch: usize,
}

impl Schedule {
    fn new(seed: u64, kills: usize) -> Self {
        let (concurrency, batch) = SHAPES[seed as usize % SHAPES.len()];
        Self { seed, kills, concurrency, batch }
    }
}

/// What a receiver in a bad way does: two of three it takes, some it takes without saying so.
fn mood(random: &mut Seeded) -> Act {
    match random.below(100) {
        0..70 => Act::Answer(200, ""),
        70..75 => Act::Half(200),
        75..83 => Act::Answer(503, ""),
        83..87 => Act::Answer(429, ""),
        87..90 => Act::Answer(500, ""),
        90..94 => Act::Reset { amid: false },
        94..97 => Act::Reset { amid: true },
        _ => Act::HangUp,
    }
}

/// Whether the receiver has taken what the request carried, whatever it said: 503 and 429 it means.
fn is_processed(request: &Received) -> bool {
    !matches!(request.status, 503 | 429)
}

fn play(schedule: &Schedule) {
    let begun = std::time::Instant::now();
    let mut random = Seeded::new(schedule.seed);
    let moods = Mutex::new(Seeded::new(schedule.seed + 1_000_000));
    let receiver = Raw::start(move |_, _| mood(&mut moods.lock().unwrap()));
    let place = Workplace::new();
    place.configure(&format!(
        "
data_dir: DIR/data
sources:
  flipt: {{type: file, path: DIR/audit.log}}
destinations:
  out:
    type: webhook
    url: '{}'
    concurrency: {}
    batch: {{max_events: {}}}
    retry: {{initial_backoff: 1ms, max_backoff: 5ms}}
routes:
  all: {{to: [out]}}
",
        receiver.url("http"),
        schedule.concurrency,
        schedule.batch
    ));
    let mut flags: Vec<u64> = Vec::new();
    let mut kills: Vec<usize> = Vec::new();
    for _ in 0..schedule.kills {
        let requests = 1 + random.below(if schedule.batch > 1 { 12 } else { 60 }) as usize;
        let mut lines = String::new();
        for _ in 0..(requests + 5) * schedule.batch {
            let busy = random.chance(50);
            let flag = random.below(if busy { 4 } else { 400 });
            lines += &(flag_line(&format!("flag-{flag}"), &flags.len().to_string()) + "\n");
            flags.push(flag);
        }
        place.append("audit.log", lines);
        let so_far = receiver.received().len();
        let relay = place.start(&[]);
        receiver.wait_for(so_far + requests);
        relay.kill();
        receiver.wait_for_silence();
        kills.push(receiver.received().len());
    }
    let relay = place.run();
    place.wait_for_standing("out", &json!({"delivered": flags.len(), "dead": 0, "waiting": 0}));
    assert!(relay.stop().status.success());
    let told = judge(schedule, &receiver.received(), &flags, &kills);
    println!("seed {}: {told}, {:?}", schedule.seed, begun.elapsed());
}

/// What an envelope tells: the event's id, its flag, and the number that it was written with.
fn read(envelope: &Value) -> (String, usize) {
    let number = envelope["data"]["payload"]["description"].as_str().unwrap().parse().unwrap();
    (envelope["id"].as_str().unwrap().to_owned(), number)
}

fn judge(schedule: &Schedule, received: &[Received], flags: &[u64], kills: &[usize]) -> String {
    let seed = schedule.seed;
    let mut carried: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    let mut names: BTreeMap<usize, (String, &str)> = BTreeMap::new();
    let mut processed: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    let mut last_of_flag: BTreeMap<u64, usize> = BTreeMap::new();
    for (at, request) in received.iter().enumerate() {
        let webhook_id = request.header("webhook-id").unwrap();
        let events: Vec<_> = request.envelopes().iter().map(read).collect();
        let members: Vec<usize> = events.iter().map(|(_, number)| *number).collect();
        let before = carried.entry(webhook_id).or_insert_with(|| members.clone());
        assert_eq!(*before, members, "seed {seed}: {webhook_id} has its old members");
        for (id, number) in events {
            let name = names.entry(number).or_insert_with(|| (id.clone(), webhook_id));
            assert_eq!(*name, (id, webhook_id), "seed {seed}: {number} has its old ids");
            if !is_processed(request) {
                continue;
            }
            let times = processed.entry(number).or_default();
            if times.is_empty() {
                let last = last_of_flag.insert(flags[number], number);
                assert!(last < Some(number), "seed {seed}: {number} came after {last:?} of its flag");
            }
            times.push(at);
        }
    }
    assert_eq!(processed.len(), flags.len(), "seed {seed}: nothing is lost, nothing invented");
    let ids: BTreeSet<&String> = names.values().map(|(id, _)| id).collect();
    assert_eq!(ids.len(), flags.len(), "seed {seed}: each event has an id of its own");

    // What the receiver said yes to and was sent again must have been under way at a kill.
    let mut by_kill: BTreeMap<usize, usize> = BTreeMap::new();
    let mut after_errors = 0;
    for (number, times) in &processed {
        for pair in times.windows(2) {
            if received[pair[0]].status != 200 {
                after_errors += 1;
                continue;
            }
            let kill = kills.iter().find(|kill| pair[0] < **kill && **kill <= pair[1]);
            let kill = kill.unwrap_or_else(|| panic!("seed {seed}: {number} came again without a kill"));
            *by_kill.entry(*kill).or_default() += 1;
        }
    }
    let most = by_kill.values().copied().max().unwrap_or(0);
    assert!(most <= schedule.concurrency * schedule.batch, "seed {seed}: {most} again after one kill");
    format!(
        "{} kills, concurrency {}, batches of {}: {} events in {} requests, 0 lost, {} again after a kill \
         (at most {most} at once), {after_errors} after an error",
        kills.len(),
        schedule.concurrency,
        schedule.batch,
        flags.len(),
        received.len(),
        by_kill.values().sum::<usize>(),
    )
}
