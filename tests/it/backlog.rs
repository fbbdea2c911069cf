//! A receiver that is down for a month of events, and destinations that are no longer configured.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::support::{Act, Raw, Received, Receiver, Reply, Workplace, eventually, flag_line};

/// `journal.max_size`.
const LIMIT: u64 = 16 << 20;

const QUICK: &str = "batch: {max_events: 500}, retry: {initial_backoff: 10ms, max_backoff: 100ms}";

fn configure(place: &Workplace, top: &str, destinations: &str, to: &str) {
    place.configure(&format!(
        "
data_dir: DIR/data
shutdown_timeout: 1s
{top}
sources:
  flipt: {{type: file, path: DIR/audit.log}}
destinations:
{destinations}
routes:
  all: {{to: [{to}]}}
"
    ));
}

fn webhook(name: &str, url: &str, more: &str) -> String {
    format!("  {name}: {{type: webhook, url: '{url}', {QUICK}{more}}}\n")
}

/// Updates described by these numbers.
fn lines(range: std::ops::Range<usize>) -> String {
    let padding = "x".repeat(1_500);
    let line = |index: usize| {
        flag_line(&format!("flag-{}", index % 50), &index.to_string()).replace("Ann", &padding) + "\n"
    };
    range.map(line).collect()
}

/// The numbers of what a receiver took.
fn taken(received: &[Received]) -> BTreeSet<usize> {
    let taken = received.iter().filter(|request| request.status == 200).flat_map(Received::envelopes);
    taken.map(|event| event["data"]["payload"]["description"].as_str().unwrap().parse().unwrap()).collect()
}

/// A receiver that answers 503 until it is well.
fn down() -> (Receiver, Arc<AtomicBool>) {
    let well = Arc::new(AtomicBool::new(false));
    let is_well = Arc::clone(&well);
    let says =
        move |_: usize, _: &Received| Reply::status(if is_well.load(Ordering::SeqCst) { 200 } else { 503 });
    (Receiver::scripted(says), well)
}

#[test]
fn a_month_without_a_best_effort_receiver_stops_nobody_and_fills_nothing() {
    const EVENTS: usize = 16_000;
    const MONTH: u64 = 24 << 20;
    let healthy = Receiver::start();
    let dead = Raw::closed(|_, _| Act::Answer(200, ""));
    let place = Workplace::new();
    configure(
        &place,
        "journal: {max_size: 24MiB}\ndead_letters: {max_size: 1MiB}",
        &(webhook("down", &dead.url("http"), ", expire_after: 1h, backlog: {max_size: 512KiB}")
            + &webhook("healthy", &healthy.url("/"), ", expire_after: never")),
        "down, healthy",
    );
    let relay = place.run();
    // The month goes by as fast as the healthy one takes it and the dead one's share moves away: at once
    // it would be more than so small a journal holds.
    for begin in (0..EVENTS).step_by(1_000) {
        place.append("audit.log", lines(begin..begin + 1_000));
        place.wait_for_standing("healthy", &json!({"delivered": begin + 1_000, "waiting": 0}));
        eventually("what is beyond the backlog of the dead one was given up", || {
            let down = place.destination("down");
            let number = |key: &str| down[key].as_u64().unwrap();
            (number("undecided") == 0 && number("waiting") < 1_000).then_some(())
        });
        let files = ["journal.db", "journal.db-wal"].map(|name| place.path("data").join(name));
        let size: u64 = files.iter().filter_map(|file| Some(file.metadata().ok()?.len())).sum();
        let used = place.status()["journal"]["used_bytes"].as_u64().unwrap();
        // The WAL keeps its file when it is empty.
        assert!(
            used <= MONTH && size <= MONTH + MONTH / 16,
            "the journal takes {used} bytes, {size} on disk"
        );
    }
    assert_eq!(taken(&healthy.received()).len(), EVENTS, "every single one");
    let down = eventually("what was too much has moved to a file", || {
        let down = place.destination("down");
        let number = |key: &str| down[key].as_u64().unwrap();
        (number("purged") > 9_000 && number("undecided") == 0).then_some(down)
    });
    let number = |key: &str| down[key].as_u64().unwrap();
    assert_eq!((number("accepted"), number("delivered")), (EVENTS as u64, 0), "{down:#}");
    assert!(number("dead") > 0 && (1..2_000).contains(&number("waiting")), "{down:#}");
    assert_eq!(down["state"], "waiting");

    // What was moved out of the journal is in the files, less what newer files replaced.
    let directory = place.path("data/dead-letters");
    let files = ["down.ndjson.1", "down.ndjson"].map(|name| directory.join(name));
    let texts = files.map(|file| std::fs::read_to_string(file).unwrap());
    let last: Value = serde_json::from_str(texts[1].lines().last().unwrap()).unwrap();
    assert_eq!((&last["destination"], &last["code"]), (&"down".into(), &"backlog_limit".into()));
    assert!(last["record"]["data"]["payload"]["description"].is_string(), "{last:#}");
    let bytes: usize = texts.iter().map(String::len).sum();
    assert!(bytes <= 3 << 20, "{bytes} bytes of files");

    // It comes back: what is left goes out, and the books balance.
    dead.open();
    let waiting = place.wait_for_standing("down", &json!({"state": "running", "waiting": 0}));
    assert_eq!(taken(&dead.received()).len() as u64, waiting["delivered"].as_u64().unwrap());
    assert!(taken(&dead.received()).contains(&(EVENTS - 1)));
    let exit = relay.stop();
    assert!(exit.log.contains("dead letters have moved to a file"), "told");
    assert!(!exit.log.contains("the journal is full"), "intake never stops");
}

#[test]
fn a_destination_that_loses_nothing_stops_the_intake_says_so_and_goes_on_by_itself() {
    const EVENTS: usize = 12_000;
    let (receiver, well) = down();
    let healthy = Receiver::start();
    let place = Workplace::new();
    configure(
        &place,
        "journal: {max_size: 16MiB}",
        &(webhook("siem", &receiver.url("/"), ", expire_after: never")
            + &webhook("healthy", &healthy.url("/"), ", expire_after: never")),
        "siem, healthy",
    );
    place.append("audit.log", lines(0..EVENTS));
    let relay = place.run();
    relay.wait_for_log("the journal is full: nothing is accepted until `siem` moves on");
    let stalled = eventually("the status says so", || {
        let status = place.status();
        status["sources"][0]["stalled"].is_string().then_some(status)
    });
    assert!(stalled["verdict"].as_str().unwrap().starts_with("source flipt does not go on"), "{stalled:#}");
    assert!(stalled["sources"][0]["behind_bytes"].as_u64().unwrap() > 0);
    let used = stalled["journal"]["used_bytes"].as_u64().unwrap();
    assert!(used <= LIMIT + LIMIT / 16, "the journal takes {used} bytes");
    let siem = place.destination("siem");
    assert_eq!((&siem["dead"], &siem["purged"], &siem["state"]), (&0.into(), &0.into(), &"waiting".into()));
    let accepted = siem["accepted"].as_u64().unwrap();
    assert!(accepted > 1_000 && accepted < EVENTS as u64, "{accepted}");
    // What was accepted goes to the other all the same.
    place.wait_for_standing("healthy", &json!({"waiting": 0}));

    well.store(true, Ordering::SeqCst);
    for name in ["siem", "healthy"] {
        place.wait_for_standing(
            name,
            &json!({"state": "running", "delivered": EVENTS, "dead": 0, "waiting": 0}),
        );
    }
    assert_eq!(taken(&receiver.received()).len(), EVENTS, "nothing is lost");
    let exit = relay.stop();
    assert!(exit.log.contains("the journal has room again"));
}

/// A place where `old` was owed 30 events, and is configured no longer; all that comes goes to `other`.
fn orphaned() -> (Workplace, Receiver, Arc<AtomicBool>, Receiver) {
    let (receiver, well) = down();
    let other = Receiver::start();
    let place = Workplace::new();
    let others = webhook("other", &other.url("/"), "");
    configure(&place, "", &(webhook("old", &receiver.url("/"), "") + &others), "old, other");
    place.append("audit.log", lines(0..30));
    let relay = place.run();
    place.wait_for_standing("old", &json!({"state": "waiting", "waiting": 30}));
    assert!(relay.stop().status.success());
    configure(&place, "", &others, "other");
    (place, receiver, well, other)
}

#[test]
fn what_an_orphan_is_owed_goes_to_whoever_adopts_it() {
    let (place, receiver, well, other) = orphaned();
    let relay = place.run();
    relay.wait_for_log("no longer configured: what it is owed is kept");
    place.append("audit.log", lines(30..40));
    place.wait_for_standing("other", &json!({"delivered": 40}));
    let old = place.wait_for_standing("old", &json!({"state": "orphaned", "delivered": 0, "dead": 0}));
    assert!(old["waiting"].as_u64().unwrap() >= 30, "{old:#}");
    let status = place.status();
    assert_eq!(status["orphans"][0]["name"], "old");
    assert!(status["verdict"].as_str().unwrap().contains("old is no longer configured"), "{status:#}");
    assert!(relay.stop().status.success());
    // Stopped, it says the same.
    assert_eq!(place.destination("old")["state"], "orphaned");

    well.store(true, Ordering::SeqCst);
    let destinations =
        webhook("new", &receiver.url("/"), ", renamed_from: old") + &webhook("other", &other.url("/"), "");
    configure(&place, "", &destinations, "new, other");
    let relay = place.run();
    let new = place.wait_for_standing("new", &json!({"state": "running", "waiting": 0, "dead": 0}));
    assert!(new["delivered"].as_u64().unwrap() >= 30, "{new:#}");
    assert!(taken(&receiver.received()).is_superset(&(0..30).collect()), "nothing it was owed is lost");
    assert_eq!(place.status()["orphans"], json!([]));
    assert!(relay.stop().status.success());
    assert_eq!(taken(&other.received()).len(), 40);
}

#[test]
fn an_orphan_is_released_after_seven_days_of_running() {
    let (place, receiver, _, other) = orphaned();
    let relay = place.run();
    relay.wait_for_log("no longer configured: what it is owed is kept");
    assert!(relay.stop().status.success());
    // The relay has run for a week since; the journal knows how long, and its newest record too.
    let journal = rusqlite::Connection::open(place.path("data/journal.db")).unwrap();
    let week = 7 * 86_400_000;
    journal.execute("UPDATE meta SET value = value + ?1 WHERE key = 'running_ms'", [week]).unwrap();
    journal.close().unwrap();

    let relay = place.run();
    relay.wait_for_log("not configured for seven days: what it was owed is released");
    let status = place.status();
    assert_eq!(status["orphans"], json!([]), "{status:#}");
    assert!(relay.stop().status.success());
    let journal = rusqlite::Connection::open(place.path("data/journal.db")).unwrap();
    let act: String = journal
        .query_row("SELECT original FROM records WHERE kind = 4 ORDER BY sequence DESC LIMIT 1", [], |row| {
            row.get::<_, Vec<u8>>(0)
        })
        .map(|bytes| String::from_utf8(bytes).unwrap())
        .unwrap();
    let act: Value = serde_json::from_str(&act).unwrap();
    assert_eq!(
        (&act["act"], &act["destination"], &act["by"], &act["records"]),
        // The thirty, and that another configuration was applied.
        (&"release".into(), &"old".into(), &"audit-relay".into(), &31.into())
    );
    assert!(taken(&receiver.received()).is_empty());
    assert_eq!(taken(&other.received()).len(), 30);
}

#[test]
fn what_is_discarded_is_dropped_and_counted() {
    let (place, receiver, _, other) = orphaned();
    let destinations =
        webhook("old", &receiver.url("/"), ", discard: true") + &webhook("other", &other.url("/"), "");
    configure(&place, "", &destinations, "old, other");
    let asked = receiver.received().len();
    place.append("audit.log", lines(30..35));
    let relay = place.run();
    place.wait_for_standing("other", &json!({"delivered": 35}));
    place.wait_for_standing("old", &json!({"purged": 35, "delivered": 0, "dead": 0, "waiting": 0}));
    assert!(relay.stop().status.success());
    assert_eq!(receiver.received().len(), asked, "nothing was sent");
}

#[test]
fn discarding_drops_dead_letters_too() {
    let receiver = Receiver::scripted(|_, _| Reply::status(400));
    let place = Workplace::new();
    configure(&place, "", &webhook("old", &receiver.url("/"), "").replace("500", "1"), "old");
    place.append("audit.log", lines(0..3));
    let relay = place.run();
    place.wait_for_standing("old", &json!({"dead": 3, "waiting": 0}));
    assert!(relay.stop().status.success());
    configure(&place, "", &webhook("old", &receiver.url("/"), ", discard: true"), "old");
    let relay = place.run();
    let old = place.wait_for_standing("old", &json!({"dead": 0, "waiting": 0}));
    // The purge is an act, and a record itself, which no route takes.
    assert_eq!(old["purged"], 3, "{old:#}");
    assert!(relay.stop().status.success());
}

#[test]
fn who_only_observes_sends_nothing_and_counts_it_as_not_routed() {
    let (receiver, healthy) = (Receiver::start(), Receiver::start());
    let place = Workplace::new();
    // Most of what it would send cannot even be rendered: nothing dies of that.
    let observe =
        ", observe: true, format: template, template: '{\"metadata\": {{ data.payload.metadata }}}'";
    let destinations = webhook("trial", &receiver.url("/"), observe)
        .replace("max_events: 500", "max_events: 1")
        + &webhook("healthy", &healthy.url("/"), "");
    configure(&place, "", &destinations, "trial, healthy");
    place.append("audit.log", lines(0..1_200));
    let relay = place.run();
    place.wait_for_standing("healthy", &json!({"delivered": 1_200}));
    let trial = place.wait_for_standing(
        "trial",
        &json!({"not_routed": 1_200, "observed": 1_200, "dead": 0, "waiting": 0}),
    );
    assert_eq!((&trial["delivered"], &trial["state"]), (&0.into(), &"running".into()));
    assert!(relay.stop().status.success());
    assert!(receiver.received().is_empty());
}
