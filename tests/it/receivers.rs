//! One receiver of each kind that answers there are, seen from outside: what arrives, how often, and what
//! the status and the dead letters say.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Received, Receiver, Reply, Workplace, flag_line};

const QUICK: &str = "retry: {initial_backoff: 5ms, max_backoff: 20ms}";

fn place(receiver: &Receiver, more: &str) -> Workplace {
    let place = Workplace::new();
    configure(&place, receiver, more);
    place
}

fn configure(place: &Workplace, receiver: &Receiver, more: &str) {
    place.configure(&format!(
        "
data_dir: DIR/data
sources:
  flipt: {{type: file, path: DIR/audit.log}}
destinations:
  out: {{type: webhook, url: '{}', {more}}}
routes:
  all: {{to: [out]}}
",
        receiver.url("/")
    ));
}

/// So many updates, each of another flag, described by its number.
fn lines(count: usize) -> String {
    (0..count).map(|index| flag_line(&format!("flag-{index}"), &format!("mark-{index}")) + "\n").collect()
}

fn marks<'a>(requests: impl IntoIterator<Item = &'a Received>) -> Vec<String> {
    let mark = |envelope: &Value| envelope["data"]["payload"]["description"].as_str().unwrap().to_owned();
    requests
        .into_iter()
        .flat_map(|request| request.envelopes().iter().map(mark).collect::<Vec<_>>())
        .collect()
}

fn taken(received: &[Received]) -> Vec<String> {
    marks(received.iter().filter(|request| request.status == 200))
}

fn ids(received: &[Received]) -> BTreeSet<&str> {
    received.iter().map(|request| request.header("webhook-id").unwrap()).collect()
}

/// Answers with a status that can be changed.
fn switched(status: u16) -> (Receiver, Arc<AtomicU16>) {
    let switch = Arc::new(AtomicU16::new(status));
    let says = Arc::clone(&switch);
    (Receiver::scripted(move |_, _| Reply::status(says.load(Ordering::SeqCst))), switch)
}

#[test]
fn a_firewall_that_refuses_one_payload_costs_that_event_alone() {
    let receiver = Receiver::scripted(|_, request| {
        let is_script = String::from_utf8_lossy(&request.body).contains("<script>");
        Reply::status(if is_script { 403 } else { 200 })
    });
    let place = place(&receiver, QUICK);
    place.append("audit.log", flag_line("odd", "<script>") + "\n" + &lines(30));
    let relay = place.run();
    let out = place.wait_for_standing("out", &json!({"delivered": 30, "dead": 1, "waiting": 0}));
    assert_eq!((&out["state"], &out["code"]), (&"running".into(), &Value::Null));
    assert_eq!(taken(&receiver.received()).len(), 30);
    let letters = place.dead_letters();
    assert_eq!((letters.len(), &letters[0]["code"]), (1, &"http_403".into()), "{letters:?}");
    let id = letters[0]["id"].as_str().unwrap();
    let shown = place.ask(&["dead-letters", "show", id]);
    assert!(shown.contains("<script>") && shown.contains("the receiver answered 403"), "{shown}");
    assert!(relay.stop().log.matches("ERROR").count() <= 1);
}

#[test]
fn a_receiver_that_rejects_everything_blocks_before_it_burns_the_backlog() {
    let (receiver, status) = switched(400);
    let place = place(&receiver, QUICK);
    place.append("audit.log", lines(100));
    let relay = place.run();
    let blocked = json!({"state": "blocked", "code": "reject_limit", "dead": 19, "waiting": 81});
    let out = place.wait_for_standing("out", &blocked);
    assert!(out["reason"].as_str().unwrap().contains("the receiver answered 400"), "{out:#}");
    // Probes go on, and cost nothing.
    receiver.wait_for(receiver.received().len() + 10);
    place.wait_for_standing("out", &blocked);
    status.store(200, Ordering::SeqCst);
    place.wait_for_standing("out", &json!({"state": "running", "delivered": 81, "dead": 19, "waiting": 0}));
    let received = receiver.received();
    assert_eq!(taken(&received).len(), 81);
    assert_eq!(ids(&received).len(), 100);
    assert!(place.dead_letters().iter().all(|letter| letter["code"] == "rejected"));
    let exit = relay.stop();
    assert_eq!(exit.log.matches("blocked, probing now and then").count(), 1, "{}", exit.log);
}

#[test]
fn nothing_is_lost_of_what_came_while_credentials_were_wrong() {
    for concurrency in [1, 4, 64] {
        let (receiver, status) = switched(401);
        let place = place(&receiver, &format!("{QUICK}, concurrency: {concurrency}"));
        place.append("audit.log", lines(50));
        let relay = place.run();
        let out = place.wait_for_standing("out", &json!({"state": "blocked", "code": "http_401"}));
        assert_eq!((&out["waiting"], &out["dead"], &out["delivered"]), (&50.into(), &0.into(), &0.into()));
        assert!(out["last_error"].as_str().unwrap().contains("401") && out["since"].is_string(), "{out:#}");
        receiver.wait_for(concurrency + 10);
        status.store(200, Ordering::SeqCst);
        place
            .wait_for_standing("out", &json!({"state": "running", "delivered": 50, "waiting": 0, "dead": 0}));
        let taken = taken(&receiver.received());
        assert_eq!((taken.len(), taken.iter().collect::<BTreeSet<_>>().len()), (50, 50));
        assert!(relay.stop().status.success());
    }
}

#[test]
fn gone_stays_gone_over_a_restart_until_resumed_or_configured_anew() {
    let (receiver, status) = switched(410);
    let place = place(&receiver, QUICK);
    place.append("audit.log", lines(1));
    let gone = |waiting: u64| json!({"state": "blocked", "code": "http_410", "waiting": waiting});
    let relay = place.run();
    let out = place.wait_for_standing("out", &gone(1));
    assert_eq!(out["next_attempt_at"], Value::Null, "{out:#}");
    relay.wait_for_log("until the configuration changes or `audit-relay resume out`");
    assert_eq!(receiver.received().len(), 1);
    relay.kill();

    let relay = place.run();
    place.append("audit.log", lines(1));
    place.wait_for_standing("out", &gone(2));
    assert_eq!(receiver.received().len(), 1, "not asked");
    place.ask(&["resume", "out"]);
    receiver.wait_for(2);
    place.wait_for_standing("out", &gone(2));
    assert!(relay.stop().log.contains("ready"));

    let asked = receiver.received().len();
    configure(&place, &receiver, &format!("{QUICK}, headers: {{x-tenant: another}}"));
    let relay = place.run();
    receiver.wait_for(asked + 1);
    place.wait_for_standing("out", &gone(2));
    status.store(200, Ordering::SeqCst);
    place.ask(&["resume", "out"]);
    place.wait_for_standing("out", &json!({"state": "running", "delivered": 2, "waiting": 0, "dead": 0}));
    assert!(relay.stop().status.success());
}

#[test]
fn a_redirect_is_not_followed_and_not_taken_for_an_answer() {
    let elsewhere = Receiver::start();
    let to = elsewhere.url("/login");
    let healed = Arc::new(AtomicU16::new(301));
    let status = Arc::clone(&healed);
    let receiver = Receiver::scripted(move |_, _| {
        Reply::Answer(status.load(Ordering::SeqCst), vec![("location", to.clone())], String::new())
    });
    let place = place(&receiver, QUICK);
    place.append("audit.log", lines(5));
    let relay = place.run();
    let out = place.wait_for_standing("out", &json!({"state": "blocked", "code": "http_3xx", "waiting": 5}));
    assert!(out["reason"].as_str().unwrap().contains("redirects are not followed"), "{out:#}");
    healed.store(200, Ordering::SeqCst);
    place.wait_for_standing("out", &json!({"state": "running", "delivered": 5, "dead": 0}));
    assert!(relay.stop().status.success());
    assert!(elsewhere.received().is_empty());
}

#[test]
fn of_a_batch_with_one_poison_event_the_others_arrive() {
    let receiver = Receiver::scripted(|_, request| {
        let is_poisoned = String::from_utf8_lossy(&request.body).contains("\"mark-17\"");
        Reply::status(if is_poisoned { 422 } else { 200 })
    });
    let place = place(&receiver, &format!("{QUICK}, batch: {{max_events: 50, timeout: 10s}}"));
    place.append("audit.log", lines(50));
    let relay = place.run();
    place.wait_for_standing("out", &json!({"state": "running", "delivered": 49, "dead": 1, "waiting": 0}));
    let received = receiver.received();
    assert_eq!(received[0].envelopes().len(), 50);
    assert_eq!(ids(&received).len(), received.len(), "each part has an id of its own");
    let taken = taken(&received);
    assert_eq!((taken.len(), taken.iter().collect::<BTreeSet<_>>().len()), (49, 49));
    assert!(received.len() <= 1 + 2 * 6, "{} requests", received.len());
    let letters = place.dead_letters();
    assert_eq!((letters.len(), &letters[0]["code"]), (1, &"rejected".into()));
    let shown = place.ask(&["dlq", "show", letters[0]["id"].as_str().unwrap()]);
    assert!(shown.contains("mark-17"), "{shown}");
    assert!(relay.stop().status.success());
}

#[test]
fn a_limit_is_kept_by_all_and_costs_nothing() {
    let receiver = Receiver::scripted(|number, _| match number {
        0 => Reply::Answer(429, vec![("retry-after", "1".to_owned())], String::new()),
        _ => Reply::status(200),
    });
    let place = place(&receiver, &format!("{QUICK}, concurrency: 1"));
    place.append("audit.log", lines(10));
    let relay = place.run();
    let received = receiver.wait_for(11);
    let waited = received[1].at - received[0].at;
    assert!(waited >= Duration::from_secs(1), "{waited:?}");
    assert_eq!(received[0].header("webhook-id"), received[1].header("webhook-id"));
    place.wait_for_standing("out", &json!({"state": "running", "delivered": 10, "dead": 0}));
    assert!(relay.stop().status.success());
}

#[test]
fn the_status_tells_of_a_wait_and_until_when() {
    let receiver = Receiver::scripted(|_, _| {
        Reply::Answer(503, vec![("retry-after", "600".to_owned())], "under maintenance".to_owned())
    });
    let place = place(&receiver, QUICK);
    place.append("audit.log", lines(1));
    let relay = place.run();
    let waits = json!({"state": "waiting", "code": "http_5xx", "waiting": 1, "failed_attempts": 1});
    let before = place.wait_for_standing("out", &waits);
    assert!(before["reason"].as_str().unwrap().ends_with("under maintenance"), "{before:#}");
    assert!(before["next_attempt_at"].is_string());
    relay.kill();
    // It is kept over a restart.
    let relay = place.run();
    let after = place.wait_for_standing("out", &waits);
    assert_eq!(
        after["next_attempt_at"].as_str().unwrap()[..19],
        before["next_attempt_at"].as_str().unwrap()[..19]
    );
    assert_eq!(receiver.received().len(), 1);
    relay.kill();
}
