//! Another configuration while the relay runs: edits, swapped secrets, SIGHUP.

mod keeping;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::{
    Act, Raw, Received, Receiver, Relay, Reply, Seeded, Workplace, eventually, flag_line, memory_kib,
};

const REFUSED: &str = "the configuration is not applied";

fn configuration(top: &str, sources: &str, destinations: &str, to: &str) -> String {
    format!(
        "
data_dir: DIR/data
shutdown_timeout: 5s
{top}
sources:
  flipt: {{type: file, path: DIR/audit.log}}
{sources}
destinations:
{destinations}
routes:
  all: {{to: [{to}]}}
"
    )
}

fn webhook(name: &str, url: &str, more: &str) -> String {
    format!(
        "  {name}: {{type: webhook, url: '{url}', retry: {{initial_backoff: 10ms, max_backoff: 100ms}}{more}}}\n"
    )
}

fn lines(range: std::ops::Range<usize>) -> String {
    range.map(|index| flag_line(&format!("flag-{}", index % 20), &index.to_string()) + "\n").collect()
}

/// The numbers of what a receiver took, in the order of coming.
fn taken(received: &[Received]) -> Vec<usize> {
    let taken = received.iter().filter(|request| request.status == 200).flat_map(Received::envelopes);
    taken.map(|event| event["data"]["payload"]["description"].as_str().unwrap().parse().unwrap()).collect()
}

fn sorted(receiver: &Receiver) -> Vec<usize> {
    let mut taken = taken(&receiver.received());
    taken.sort_unstable();
    taken
}

/// What the status says of the configuration, once it is true.
fn wait_for_configuration(place: &Workplace, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    eventually(what, || Some(place.status()["configuration"].clone()).filter(&is_so))
}

/// SIGHUP, and what the status says of the reload that came of it.
fn hang_up(place: &Workplace, relay: &Relay) -> Value {
    let before = place.status()["configuration"]["last_reload"]["at"].clone();
    relay.signal("HUP");
    wait_for_configuration(place, "a reload", |found| {
        !found["last_reload"].is_null() && found["last_reload"]["at"] != before
    })
}

#[test]
fn a_destination_is_added_changed_and_removed_and_the_others_hear_nothing_of_it() {
    // The first holds its only request until the end: whoever disturbed it would break that off.
    let may_answer = Arc::new(AtomicBool::new(false));
    let answers = Arc::clone(&may_answer);
    let slow = Receiver::scripted(move |_, _| {
        while !answers.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(5));
        }
        Reply::status(200)
    });
    let (second, third) = (Receiver::start(), Receiver::start());
    let place = Workplace::new();
    let first = webhook("first", &slow.url("/"), ", concurrency: 1, timeout: 120s");
    place.configure(&configuration("", "", &first, "first"));
    place.append("audit.log", lines(0..10));
    let relay = place.run();
    eventually("the request is under way", || (place.destination("first")["in_flight"] == 1).then_some(()));

    let both = first.clone() + &webhook("second", &second.url("/old"), "");
    let path = place.configure(&configuration("", "", &both, "first, second"));
    let told = hang_up(&place, &relay);
    let sha256 = hex::encode(Sha256::digest(std::fs::read(path).unwrap()));
    assert_eq!(
        (&told["sha256"], &told["last_reload"]["successful"]),
        (&sha256.into(), &true.into()),
        "{told:#}"
    );
    // It begins by its `deliver_since`: with all that is kept.
    assert_eq!(place.wait_for_standing("second", &json!({"waiting": 0}))["delivered"], 10);
    relay.wait_for_log("destination added: second");

    let changed = first.clone() + &webhook("second", &third.url("/new"), "");
    place.configure(&configuration("", "", &changed, "first, second"));
    hang_up(&place, &relay);
    place.append("audit.log", lines(10..20));
    place.wait_for_standing("second", &json!({"delivered": 20, "waiting": 0}));
    assert_eq!(sorted(&second), (0..10).collect::<Vec<_>>());
    assert_eq!(sorted(&third), (10..20).collect::<Vec<_>>());

    place.configure(&configuration("", "", &first, "first"));
    hang_up(&place, &relay);
    assert_eq!(place.destination("second")["state"], "orphaned");
    place.append("audit.log", lines(20..25));
    // What comes meanwhile is kept for it, as long as it may come back; then it goes on where it was.
    eventually("it is owed what comes", || {
        let owed = place.destination("second")["waiting"].as_u64().unwrap();
        (owed >= 5).then_some(())
    });
    place.configure(&configuration("", "", &changed, "first, second"));
    hang_up(&place, &relay);
    place.wait_for_standing("second", &json!({"delivered": 25, "waiting": 0, "state": "running"}));
    assert_eq!(sorted(&third), (10..25).collect::<Vec<_>>());

    may_answer.store(true, Ordering::SeqCst);
    place.wait_for_standing("first", &json!({"delivered": 25, "waiting": 0}));
    assert!(relay.stop().status.success());
    let all: BTreeSet<usize> = taken(&slow.received()).into_iter().collect();
    assert_eq!(all, (0..25).collect());
}

#[test]
fn what_is_the_same_is_not_disturbed() {
    let may_answer = Arc::new(AtomicBool::new(false));
    let answers = Arc::clone(&may_answer);
    let slow = Receiver::scripted(move |_, _| {
        while !answers.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(5));
        }
        Reply::status(200)
    });
    let other = Receiver::start();
    let place = Workplace::new();
    let both = webhook("slow", &slow.url("/"), ", concurrency: 1, timeout: 120s")
        + &webhook("other", &other.url("/"), "");
    let routes = "routes:\n  one: {to: [slow]}\n  two: {to: [other]}\n";
    let text = |destinations: &str| {
        let whole = configuration("", "", destinations, "slow");
        format!("{}{routes}", whole.split("routes:").next().unwrap())
    };
    place.configure(&text(&both));
    place.append("audit.log", lines(0..1));
    let relay = place.run();
    eventually("the request is under way", || (place.destination("slow")["in_flight"] == 1).then_some(()));
    for round in 0..3 {
        let changed = webhook("slow", &slow.url("/"), ", concurrency: 1, timeout: 120s")
            + &webhook("other", &other.url(&format!("/{round}")), "");
        place.configure(&text(&changed));
        hang_up(&place, &relay);
        assert_eq!(place.destination("slow")["in_flight"], 1, "still the same request");
    }
    may_answer.store(true, Ordering::SeqCst);
    place.wait_for_standing("slow", &json!({"delivered": 1, "waiting": 0}));
    assert!(relay.stop().status.success());
    assert_eq!(slow.received().len(), 1, "sent once");
}

#[test]
fn without_changes_nothing_is_told_of_before_and_nothing_stale_comes_back() {
    let receiver = Receiver::start();
    let place = Workplace::new();
    let configure = |changes: bool| {
        let top = format!("journal: {{changes: {changes}}}");
        let batch = ", format: envelope";
        place.configure(&configuration(&top, "", &webhook("out", &receiver.url("/"), batch), "out"));
    };
    let mut count = 0;
    // What is told of before, once it came; the change set beside it.
    let mut change = |place: &Workplace| {
        count += 1;
        place.append("audit.log", flag_line("checkout", &count.to_string()) + "\n");
        let event = receiver.wait_for(count)[count - 1].json();
        let told = &event["change"];
        let before = told["before"]["description"].as_str().or(told["without_before"].as_str());
        (before.unwrap().to_owned(), event["change_set"].clone())
    };
    configure(true);
    let relay = place.run();
    let (before, set) = change(&place);
    assert_eq!(before, "first_seen");
    assert_eq!(change(&place).0, "1");
    configure(false);
    assert_eq!(hang_up(&place, &relay)["last_reload"]["successful"], true);
    assert_eq!(change(&place), ("not_kept".to_owned(), set.clone()));
    assert_eq!(change(&place), ("not_kept".to_owned(), set.clone()));
    configure(true);
    assert_eq!(hang_up(&place, &relay)["last_reload"]["successful"], true);
    assert_eq!(change(&place).0, "first_seen", "not the second, which is four behind");
    assert_eq!(change(&place).0, "5");
    // Across restarts, too.
    assert!(relay.stop().status.success());
    configure(false);
    let relay = place.run();
    assert_eq!(change(&place), ("not_kept".to_owned(), set.clone()));
    assert!(relay.stop().status.success());
    let relay = place.run();
    assert_eq!(change(&place), ("not_kept".to_owned(), set.clone()));
    assert!(relay.stop().status.success());
    configure(true);
    let relay = place.run();
    assert_eq!(change(&place), ("first_seen".to_owned(), set));
    assert_eq!(change(&place).0, "9");
    assert!(relay.stop().status.success());
    place.ask(&["verify"]);
}

#[test]
fn a_bad_edit_keeps_what_runs_and_says_every_problem() {
    let receiver = Receiver::start();
    let place = Workplace::new();
    let good = configuration("", "", &webhook("out", &receiver.url("/"), ""), "out");
    place.configure(&good);
    let relay = place.run();
    let applied = place.status()["configuration"]["sha256"].clone();

    // An edit is noticed without being told.
    place.configure(&good.replace("shutdown_timeout", "shutdown_timout").replace("[out]", "[outt]"));
    relay.wait_for_log(REFUSED);
    let told = wait_for_configuration(&place, "the problems", |found| !found["last_reload"].is_null());
    assert_eq!((&told["sha256"], &told["last_reload"]["successful"]), (&applied, &false.into()), "{told:#}");
    let problems = told["last_reload"]["problems"].as_array().unwrap();
    let all = problems.iter().map(|problem| problem.as_str().unwrap()).collect::<Vec<_>>().join("\n");
    assert_eq!(problems.len(), 2, "{all}");
    assert!(all.contains("`shutdown_timeout`") && all.contains("`out`"), "{all}");
    for problem in problems {
        let first = problem.as_str().unwrap().lines().next().unwrap();
        assert!(
            place.command(&["check", "-c", "relay.yaml"]).output().is_ok_and(|said| {
                String::from_utf8_lossy(&said.stdout).contains(first)
                    || String::from_utf8_lossy(&said.stderr).contains(first)
            }),
            "`check` says the same: {first}"
        );
    }
    let status = place.ask(&["status"]);
    assert!(
        status.contains("is refused, what ran before runs on") && status.contains("refused: "),
        "{status}"
    );
    place.append("audit.log", lines(0..5));
    place.wait_for_standing("out", &json!({"delivered": 5, "waiting": 0}));

    // What the running relay cannot take on is a bad edit, too.
    place.configure(&("name: another\n".to_owned() + &good));
    let told = hang_up(&place, &relay);
    let why = told["last_reload"]["problems"][0].as_str().unwrap();
    assert!(why.contains("`name` holds while the relay runs"), "{why}");

    place.configure(&good);
    let told = hang_up(&place, &relay);
    assert_eq!((&told["last_reload"]["successful"], &told["sha256"]), (&true.into(), &applied));
    assert!(relay.stop().status.success());
}

#[test]
fn a_secret_that_is_swapped_is_read_again() {
    let receiver = Receiver::start();
    let place = Workplace::new();
    // As Kubernetes mounts a Secret: a link to a directory that is replaced as a whole.
    let here = place.directory().to_owned();
    let put = |version: &str, secret: &str| {
        place.write(&format!("secrets/{version}/token"), secret);
        let link = here.join("secrets/..data_tmp");
        std::os::unix::fs::symlink(version, &link).unwrap();
        std::fs::rename(&link, here.join("secrets/..data")).unwrap();
    };
    put("v1", "first-token");
    std::os::unix::fs::symlink("..data/token", here.join("secrets/token")).unwrap();
    let bearer = ", headers: {x-token: {file: DIR/secrets/token}}";
    place.configure(&configuration("", "", &webhook("out", &receiver.url("/"), bearer), "out"));
    place.append("audit.log", lines(0..1));
    let relay = place.run();
    place.wait_for_standing("out", &json!({"delivered": 1}));
    put("v2", "second-token");
    relay.wait_for_log("destination changed: out");
    place.append("audit.log", lines(1..2));
    place.wait_for_standing("out", &json!({"delivered": 2}));
    let tokens: Vec<String> =
        receiver.received().iter().map(|request| request.header("x-token").unwrap().to_owned()).collect();
    assert_eq!(tokens, ["first-token", "second-token"]);

    // A secret that goes away takes nothing along that works.
    std::fs::remove_file(here.join("secrets/..data")).unwrap();
    relay.wait_for_log(REFUSED);
    place.append("audit.log", lines(2..3));
    place.wait_for_standing("out", &json!({"delivered": 3, "state": "running"}));
    put("v3", "third-token");
    let told =
        wait_for_configuration(&place, "it is back", |found| found["last_reload"]["successful"] == true);
    assert_eq!(told["last_reload"]["problems"], json!([]));
    let exit = relay.stop();
    assert!(["first", "second", "third"].iter().all(|secret| !exit.log.contains(&format!("{secret}-token"))));
}

#[test]
fn sources_come_and_go() {
    let receiver = Receiver::start();
    let place = Workplace::new();
    let out = webhook("out", &receiver.url("/"), "");
    let second = "  second: {type: file, path: DIR/second.log, single_writer: true}";
    place.configure(&configuration("", "", &out, "out"));
    let relay = place.run();
    place.append("second.log", lines(0..5));
    place.append("audit.log", lines(5..10));
    place.wait_for_standing("out", &json!({"delivered": 5, "waiting": 0}));
    place.configure(&configuration("", second, &out, "out"));
    hang_up(&place, &relay);
    place.wait_for_standing("out", &json!({"delivered": 10, "waiting": 0}));
    place.configure(&configuration("", "", &out, "out"));
    hang_up(&place, &relay);
    place.append("second.log", lines(10..15));
    place.append("audit.log", lines(15..20));
    place.wait_for_standing("out", &json!({"delivered": 15, "waiting": 0}));
    // Back again, it goes on where it was.
    place.configure(&configuration("", second, &out, "out"));
    hang_up(&place, &relay);
    place.wait_for_standing("out", &json!({"delivered": 20, "waiting": 0}));
    assert!(relay.stop().status.success());
    let taken = taken(&receiver.received());
    assert_eq!(
        (taken.len(), taken.into_iter().collect::<BTreeSet<_>>()),
        (20, (0..20).collect()),
        "each once"
    );
}

#[test]
fn which_configuration_was_applied_is_in_the_journal() {
    let receiver = Receiver::start();
    let place = Workplace::new();
    let text = configuration("", "", &webhook("out", &receiver.url("/"), ""), "out");
    let acts = text.replace("all: {to: [out]}", "all: {when: {record: [event, act]}, to: [out]}");
    let first = Sha256::digest(std::fs::read(place.configure(&acts)).unwrap());
    let relay = place.run();
    let second =
        Sha256::digest(std::fs::read(place.configure(&(acts.clone() + "log: {level: error}\n"))).unwrap());
    hang_up(&place, &relay);
    relay.signal("HUP");
    let received = receiver.wait_for(1);
    let act = &received[0].envelopes()[0];
    assert_eq!(act["type"], "audit_relay.act", "{act:#}");
    assert_eq!(act["data"]["act"], "configure");
    assert_eq!(act["data"]["reason"], "changed: log");
    assert_eq!(act["data"]["detail"]["sha256"], hex::encode(second));
    let exit = relay.stop();
    assert!(exit.log.contains("\"ready\""), "{}", exit.log);
    assert!(!exit.log.contains("the configuration is applied"), "the new level holds: {}", exit.log);
    let journal = rusqlite::Connection::open(place.path("data/journal.db")).unwrap();
    let hashes: Vec<Vec<u8>> = journal
        .prepare("SELECT hash FROM configurations ORDER BY id")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(hashes, [first.to_vec(), second.to_vec()], "a reload of the same is none");
}

/// Reloads under load, a third of them bad: nothing is lost, order is kept, memory stays flat.
fn reload_under_load(reloads: usize) {
    let receiver = Receiver::start();
    let other =
        Raw::start(|index, _| if index % 7 == 3 { Act::Answer(503, "") } else { Act::Answer(200, "") });
    let place = Workplace::new();
    let text = |variant: usize| {
        let steady = webhook("steady", &receiver.url("/"), "");
        let changing = webhook("changing", &other.url("http"), &format!(", timeout: {}s", 10 + variant % 5));
        configuration("", "", &(steady + &changing), "steady, changing")
    };
    place.configure(&text(0));
    let relay = place.run();
    let mut random = Seeded::new(7);
    let mut written = 0;
    let mut settled_kib = 0;
    for reload in 0..reloads {
        let more = 1 + random.below(20) as usize;
        place.append("audit.log", lines(written..written + more));
        written += more;
        let is_bad = reload % 3 == 2;
        place.configure(&if is_bad { text(reload) + "nonsense: [" } else { text(reload) });
        let told = hang_up(&place, &relay);
        assert_eq!(told["last_reload"]["successful"], !is_bad, "{told:#}");
        if reload == reloads / 4 {
            settled_kib = memory_kib(relay.id(), "VmRSS");
        }
    }
    let grown_kib = memory_kib(relay.id(), "VmRSS").saturating_sub(settled_kib);
    for name in ["steady", "changing"] {
        place.wait_for_standing(name, &json!({"delivered": written, "dead": 0, "waiting": 0}));
    }
    assert!(grown_kib <= 8 << 10, "memory grew by {grown_kib} KiB from the first quarter on");
    assert!(relay.stop().status.success());
    for received in [receiver.received(), other.received()] {
        let taken = taken(&received);
        let mut of_flag: BTreeMap<usize, usize> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for number in taken {
            if seen.insert(number) {
                let last = of_flag.insert(number % 20, number);
                assert!(last.is_none_or(|last| last < number), "{number} came after {last:?}");
            }
        }
        assert_eq!(seen.len(), written, "nothing is lost");
    }
}

#[test]
fn reloads_under_load_lose_nothing() {
    reload_under_load(30);
}

#[test]
#[ignore = "takes minutes: .ci/nightly/reloads"]
fn a_thousand_reloads_under_load_lose_nothing() {
    reload_under_load(1_000);
}
