//! Forwarders and a hub: three relays tail a file each and hand on, one takes all of it. Whatever is killed,
//! nothing is lost, nothing is double at the hub, ids are kept, and before and after are those of all files.

mod passage;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use self::passage::Passage;
use crate::support::{Line, Relay, Seeded, Workplace, ago, eventually, flag_line};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

const FORWARDERS: usize = 3;

#[test]
fn nothing_is_lost_between_forwarders_and_a_hub() {
    play(0, 12);
}

#[test]
fn nothing_is_lost_between_forwarders_and_a_hub_again() {
    play(1, 12);
}

/// `AUDIT_RELAY_KILLS=first..last` says which seeds.
#[test]
#[ignore = "takes minutes: .ci/nightly/hub"]
fn nothing_is_lost_between_forwarders_and_a_hub_by_many_kills() {
    let range = std::env::var("AUDIT_RELAY_KILLS").expect("AUDIT_RELAY_KILLS=first..last");
    let (first, last) = range.split_once("..").expect("AUDIT_RELAY_KILLS=first..last");
    for seed in first.parse().unwrap()..last.parse().unwrap() {
        play(seed, 60);
    }
}

/// A relay that may be down.
struct Post {
    place: Workplace,
    relay: Option<Relay>,
}

impl Post {
    fn new(configuration: &str) -> Self {
        let place = Workplace::new();
        place.configure(configuration);
        Self { place, relay: None }
    }

    fn run(&mut self) {
        if self.relay.is_none() {
            self.relay = Some(self.place.run());
        }
    }

    fn kill(&mut self) {
        if let Some(relay) = self.relay.take() {
            relay.kill();
        }
    }

    /// The envelopes in a file, as far as they are whole.
    fn envelopes(&self, file: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(self.place.path(file)).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
}

/// Three forwarders and a hub.
struct Fleet {
    forwarders: Vec<Post>,
    hub: Post,
    passage: Passage,
}

impl Fleet {
    fn new() -> Self {
        let passage = Passage::open();
        let forwarder = |number: usize| {
            Post::new(&format!(
                "
name: pod-{number}
data_dir: DIR/data
sources:
  flipt: {{type: file, path: DIR/audit.log, single_writer: false}}
destinations:
  hub:
    type: relay
    url: {}
    signing: [{{secrets: [{SECRET}]}}]
    bearer: t0ken-of-the-hub
    batch: {{max_events: 20}}
    retry: {{initial_backoff: 1ms, max_backoff: 20ms}}
  own: {{type: file, path: DIR/own.ndjson}}
routes:
  all: {{to: [hub]}}
  mine: {{when: {{record: [event, unparsed, oversized, gap, act]}}, to: [own]}}
",
                passage.url()
            ))
        };
        let hub = Post::new(&format!(
            "
name: hub
data_dir: DIR/data
sources:
  fleet:
    type: http
    listen: 127.0.0.1:0
    signing: [{{scheme: standard_webhooks, secrets: [{SECRET}]}}]
    bearer: t0ken-of-the-hub
destinations:
  archive: {{type: file, path: DIR/archive.ndjson}}
routes:
  all: {{when: {{record: [event, unparsed, oversized, gap, act]}}, to: [archive]}}
"
        ));
        Self { forwarders: (0..FORWARDERS).map(forwarder).collect(), hub, passage }
    }

    fn run_all(&mut self) {
        self.forwarders.iter_mut().for_each(Post::run);
        if self.hub.relay.is_none() {
            self.hub.run();
            let address = listening(self.hub.relay.as_ref().unwrap());
            self.passage.lead_to(Some(address));
        }
    }

    fn kill(&mut self, which: usize) {
        match self.forwarders.get_mut(which) {
            Some(forwarder) => forwarder.kill(),
            None => {
                self.passage.lead_to(None);
                self.hub.kill();
            }
        }
    }

    /// What the hub has told so far, by id; each id has one place there.
    fn at_hub(&self) -> BTreeMap<String, Value> {
        let mut told = BTreeMap::new();
        for envelope in self.hub.envelopes("archive.ndjson") {
            let id = envelope["id"].as_str().unwrap().to_owned();
            if let Some(before) = told.insert(id, envelope.clone()) {
                assert_eq!(before, envelope, "told again, it is the same");
            }
        }
        told
    }

    fn wait_for(&self, records: usize) -> BTreeMap<String, Value> {
        eventually("everything is at the hub", || {
            let told = self.at_hub();
            (told.len() >= records).then_some(told)
        })
    }
}

fn listening(hub: &Relay) -> std::net::SocketAddr {
    hub.wait_for_log("\"listening\"");
    let log = hub.log();
    let line = log.lines().find(|line| line.contains("\"listening\"") && line.contains("fleet")).unwrap();
    let line: Value = serde_json::from_str(line).unwrap();
    let address = line.pointer("/fields/address").or_else(|| line.get("address"));
    address.and_then(Value::as_str).unwrap().parse().unwrap()
}

fn play(seed: u64, kills: usize) {
    let begun = std::time::Instant::now();
    let mut random = Seeded::new(seed);
    let mut fleet = Fleet::new();
    let mut written = 0;
    for _ in 0..kills {
        for _ in 0..100 + random.below(200) {
            let forwarder = random.below(FORWARDERS as u64) as usize;
            let line = match random.below(50) {
                0 => format!("{{\"type\": \"no end {written}"),
                _ => flag_line(&format!("flag-{}", random.below(20)), &written.to_string()),
            };
            fleet.forwarders[forwarder].place.append("audit.log", line + "\n");
            written += 1;
        }
        fleet.run_all();
        let (bytes, rest) = (1 + random.below(200_000), written);
        fleet.passage.wait_for(bytes, || fleet.at_hub().len() >= rest);
        fleet.kill(random.below(FORWARDERS as u64 + 1) as usize);
        if random.chance(30) {
            fleet.kill(FORWARDERS);
        }
    }
    fleet.run_all();
    let told = fleet.wait_for(written);
    judge(seed, &fleet, &told, written);
    let doubles = fleet.hub.envelopes("archive.ndjson").len() - told.len();
    println!(
        "seed {seed}: {kills} kills, {written} records, {} requests repeated, {doubles} told again, {:?}",
        fleet.passage.repeated(),
        begun.elapsed()
    );
    tells_before_and_after_over_all_files(&mut fleet, written);
    hands_on_what_operators_did(&mut fleet);
    for post in fleet.forwarders.iter_mut().chain([&mut fleet.hub]) {
        assert!(post.relay.take().unwrap().stop().status.success());
    }
}

fn judge(seed: u64, fleet: &Fleet, told: &BTreeMap<String, Value>, written: usize) {
    assert_eq!(told.len(), written, "seed {seed}: nothing is invented");
    let sequences: BTreeSet<u64> = told.values().map(|told| told["sequence"].as_u64().unwrap()).collect();
    assert_eq!(sequences.len(), written, "seed {seed}: each has a place of its own at the hub");
    let books = json!({"delivered": written, "dead": 0, "waiting": 0});
    fleet.hub.place.wait_for_standing("archive", &books);
    assert_eq!(sequences.last(), Some(&(written as u64)), "seed {seed}: the hub holds nothing twice");

    let mut handed = 0;
    for (number, forwarder) in fleet.forwarders.iter().enumerate() {
        let mine: BTreeMap<String, Value> = eventually("a forwarder has told all of its own", || {
            let own = forwarder.envelopes("own.ndjson");
            let mine: BTreeMap<_, _> =
                own.into_iter().map(|own| (own["id"].as_str().unwrap().to_owned(), own)).collect();
            let standing = forwarder.place.destination("own");
            (standing["waiting"] == 0 && standing["delivered"] == mine.len()).then_some(mine)
        });
        handed += mine.len();
        for (id, own) in &mine {
            let there = &told[id];
            for same in ["type", "timestamp", "data", "namespace", "entity", "actor"] {
                assert_eq!(there[same], own[same], "seed {seed}: {same} of {id}");
            }
            let origin = json!({
                "relay": format!("pod-{number}"), "journal": own["journal"], "sequence": own["sequence"],
                "received_at": own["received_at"],
            });
            assert_eq!(there["origin"], origin, "seed {seed}: {id}");
            assert_eq!(own.get("origin"), None);
            assert_ne!(there["journal"], own["journal"]);
        }
    }
    assert_eq!(handed, written, "seed {seed}: nobody has anything of another");

    // What one forwarder saw of one flag is at the hub in that order.
    let mut by_place: Vec<&Value> = told.values().collect();
    by_place.sort_by_key(|told| told["sequence"].as_u64());
    let mut last: BTreeMap<(String, String), u64> = BTreeMap::new();
    for there in by_place.into_iter().filter(|there| there["entity"].is_object()) {
        let key = (there["origin"]["relay"].to_string(), there["entity"]["id"].to_string());
        let place = there["origin"]["sequence"].as_u64().unwrap();
        let before = last.insert(key, place);
        assert!(before < Some(place), "seed {seed}: {there} came after {before:?}");
    }
}

/// A flag that is saved through one replica of Flipt, and then through others.
fn tells_before_and_after_over_all_files(fleet: &mut Fleet, written: usize) {
    let mut before: Option<Value> = None;
    for number in 0..FORWARDERS {
        let line = Line::flag("updated", "everywhere", number % 2 == 0, "").at(ago(100 - number as i64));
        fleet.forwarders[number].place.append("audit.log", line.text());
        let told = fleet.wait_for(written + number + 1);
        let there = told.into_values().max_by_key(|told| told["sequence"].as_u64()).unwrap();
        assert_eq!(
            (&there["entity"]["id"], &there["origin"]["relay"]),
            (&json!("everywhere"), &json!(format!("pod-{number}")))
        );
        let change = &there["change"];
        match &before {
            None => assert_eq!(change["without_before"], "first_seen"),
            Some(before) => {
                assert_eq!(change["before"]["enabled"], json!(number % 2 == 1), "{change:#}");
                assert_eq!(change["before_sequence"], before["sequence"]);
                assert_eq!(change["changed"], json!(["enabled"]));
            }
        }
        before = Some(there);
    }
    // Alone, a forwarder would have told another story, or none.
    let own = fleet.forwarders[2].envelopes("own.ndjson");
    assert!(own.iter().all(|own| own["change"]["before"].is_null()));
}

fn hands_on_what_operators_did(fleet: &mut Fleet) {
    let forwarder = &fleet.forwarders[1];
    forwarder.place.ask(&["pause", "own", "--reason", "a test"]);
    forwarder.place.ask(&["resume", "own"]);
    let act = eventually("the acts are at the hub", || {
        let told = fleet.at_hub();
        let mut acts = told.into_values().filter(|told| told["type"] == "audit_relay.act");
        acts.find(|act| act["data"]["act"] == "pause")
    });
    assert_eq!(act["origin"]["relay"], "pod-1");
    let summary = act["summary"].as_str().unwrap();
    assert!(summary.contains("paused destination own of relay pod-1"), "{summary}");
    // It paused nothing here.
    assert_eq!(fleet.hub.place.destination("archive")["state"], "running");
}

/// Asked to send all of it again, under other names of requests, and with another journal altogether.
#[test]
fn what_is_handed_on_again_is_nothing_new() {
    let mut fleet = Fleet::new();
    for number in 0..90 {
        let line = flag_line(&format!("flag-{}", number % 7), &number.to_string());
        fleet.forwarders[number % FORWARDERS].place.append("audit.log", line + "\n");
    }
    fleet.run_all();
    let told = fleet.wait_for(90);
    fleet.forwarders[0].place.ask(&["replay", "--destination", "hub", "--since", "1h"]);
    // That this was asked for is a record, too.
    fleet.wait_for(91);
    fleet.forwarders[1].kill();
    std::fs::remove_dir_all(fleet.forwarders[1].place.path("data")).unwrap();
    fleet.run_all();
    // What is written afterwards comes after what is read again.
    for (number, forwarder) in fleet.forwarders.iter().enumerate() {
        forwarder.place.append("audit.log", flag_line("last", &format!("of {number}")) + "\n");
    }
    let last = fleet.wait_for(94);
    fleet.forwarders[1].place.wait_for_standing("hub", &json!({"delivered": 31, "waiting": 0}));
    assert_eq!(last.len(), 94);
    for (id, before) in &told {
        assert_eq!(last[id], *before, "it stays as it was first told, with its first origin");
    }
    fleet.hub.place.wait_for_standing("archive", &json!({"delivered": 94, "waiting": 0}));
}

/// A hub that is not there, or says no, holds up its forwarders, and loses nothing.
#[test]
fn a_forwarder_waits_for_its_hub() {
    let mut fleet = Fleet::new();
    fleet.forwarders[0].place.append("audit.log", flag_line("a", "1") + "\n");
    fleet.forwarders[0].run();
    let standing =
        fleet.forwarders[0].place.wait_for_standing("hub", &json!({"state": "waiting", "waiting": 1}));
    assert_eq!(standing["dead"], 0);
    fleet.hub.place.configure(
        "
name: hub
data_dir: DIR/data
sources:
  fleet: {type: http, listen: '127.0.0.1:0', bearer: another-t0ken}
destinations:
  archive: {type: file, path: DIR/archive.ndjson}
routes:
  all: {to: [archive]}
",
    );
    fleet.run_all();
    fleet.forwarders[0].place.wait_for_standing("hub", &json!({"state": "blocked", "waiting": 1}));
    assert_eq!(fleet.at_hub().len(), 0);
}
