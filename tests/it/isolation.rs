//! A receiver in trouble beside one that is well: the well one gets everything at once, the other everything
//! in the end, and the memory of the relay does not grow.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;

use crate::support::{Act, Certificates, Raw, Received, Receiver, Relay, Workplace, flag_line, memory_kib};

/// How many events wait for the one in trouble.
const EVENTS: usize = 2_000;
/// What a relay may take in memory, with debug code.
const MEMORY_KIB: u64 = 64 << 10;

fn place(url: &str, sick: &str, healthy: &Receiver, authority: &str) -> Workplace {
    let place = Workplace::new();
    place.write("ca.pem", authority);
    let quick = "batch: {max_events: 100}, retry: {initial_backoff: 10ms, max_backoff: 50ms}";
    place.configure(&format!(
        "
data_dir: DIR/data
sources:
  flipt: {{type: file, path: DIR/audit.log}}
destinations:
  sick: {{type: webhook, url: '{url}', {quick}, {sick}}}
  healthy: {{type: webhook, url: '{}', {quick}}}
routes:
  all: {{to: [sick, healthy]}}
",
        healthy.url("/")
    ));
    place
}

/// The numbers of the events that came, as often as they came.
fn marks<'a>(requests: impl IntoIterator<Item = &'a Received>) -> Vec<usize> {
    let mark = |event: &serde_json::Value| event["data"]["payload"]["description"].as_str()?.parse().ok();
    let all = requests.into_iter().flat_map(Received::envelopes);
    all.map(|event| mark(&event).unwrap()).collect()
}

fn append(place: &Workplace, range: std::ops::Range<usize>) {
    let padding = "x".repeat(1_000);
    let line = |index: usize| {
        flag_line(&format!("flag-{}", index % 40), &index.to_string()).replace("Ann", &padding) + "\n"
    };
    place.append("audit.log", range.map(line).collect::<String>());
}

/// Lets everything come while `sick` is in trouble, then heals it. Returns the relay for a last look.
fn suffer_and_heal(place: &Workplace, sick: &Raw, healthy: &Receiver, heal: impl FnOnce()) -> Relay {
    append(place, 0..EVENTS - 10);
    let relay = place.run();
    place.wait_for_standing("healthy", &json!({"delivered": EVENTS - 10}));
    // While the other is stuck, what comes goes to the healthy one, one after the other.
    for index in EVENTS - 10..EVENTS {
        append(place, index..index + 1);
        healthy.wait_until("the next", |received| marks(received.last()) == [index]);
    }
    let well = place.wait_for_standing("healthy", &json!({"delivered": EVENTS, "waiting": 0}));
    assert_eq!(well["state"], "running");
    let stuck = place.destination("sick");
    assert_eq!((&stuck["delivered"], &stuck["dead"]), (&0.into(), &0.into()), "{stuck:#}");
    heal();
    place.wait_for_standing(
        "sick",
        &json!({"state": "running", "delivered": EVENTS, "dead": 0, "waiting": 0}),
    );
    let received = sick.received();
    let taken: BTreeSet<usize> =
        marks(received.iter().filter(|request| request.status == 200)).into_iter().collect();
    assert_eq!(taken.len(), EVENTS, "nothing is lost");
    assert_eq!(marks(&healthy.received()), (0..EVENTS).collect::<Vec<_>>(), "in order, once each");
    let peak = memory_kib(relay.id(), "VmHWM");
    assert!(peak < MEMORY_KIB, "{peak} KiB");
    relay
}

/// A receiver that acts so until it is well.
fn trouble(act: Act) -> (Raw, Arc<AtomicBool>) {
    let well = Arc::new(AtomicBool::new(false));
    let is_well = Arc::clone(&well);
    let script = move |_: usize, _: &Received| {
        if is_well.load(Ordering::SeqCst) { Act::Answer(200, "") } else { act.clone() }
    };
    (Raw::start(script), well)
}

/// A receiver acts so, and its destination is configured so.
fn survives(act: Act, more: &str) -> (Raw, Relay) {
    let healthy = Receiver::start();
    let (sick, well) = trouble(act);
    let place = place(&sick.url("http"), more, &healthy, "");
    let relay = suffer_and_heal(&place, &sick, &healthy, || well.store(true, Ordering::SeqCst));
    (sick, relay)
}

#[test]
fn a_dead_receiver_delays_nobody() {
    let healthy = Receiver::start();
    let sick = Raw::closed(|_, _| Act::Answer(200, ""));
    let place = place(&sick.url("http"), "concurrency: 4", &healthy, "");
    let relay = suffer_and_heal(&place, &sick, &healthy, || sick.open());
    assert_eq!(marks(&sick.received()).len(), EVENTS, "nothing came twice");
    assert!(relay.log().contains("refused"), "{}", relay.log());
}

#[test]
fn a_slow_receiver_delays_nobody() {
    let (sick, _) = survives(Act::Late(Duration::from_secs(600)), "timeout: 500ms");
    let received = sick.received();
    assert_eq!(received[0].header("webhook-id"), received[1].header("webhook-id"));
}

#[test]
fn a_receiver_that_resets_delays_nobody() {
    survives(Act::Reset { amid: false }, "concurrency: 4");
}

#[test]
fn a_receiver_that_resets_amid_its_answer_delays_nobody() {
    survives(Act::Reset { amid: true }, "concurrency: 4");
}

#[test]
fn a_receiver_that_hangs_up_delays_nobody() {
    survives(Act::HangUp, "concurrency: 64");
}

#[test]
fn a_receiver_that_answers_half_delays_nobody() {
    survives(Act::Half(503), "concurrency: 4");
}

#[test]
fn a_receiver_that_redirects_delays_nobody() {
    let (_, relay) = survives(Act::Answer(302, "location: http://127.0.0.1:1/\r\n"), "concurrency: 4");
    assert!(relay.log().contains("redirects are not followed"));
}

#[test]
fn a_receiver_whose_head_never_ends_delays_nobody() {
    survives(Act::EndlessHead, "timeout: 500ms, concurrency: 4");
}

#[test]
fn a_receiver_whose_body_never_ends_delays_nobody() {
    survives(Act::EndlessBody(500), "timeout: 10s, concurrency: 4");
}

#[test]
fn a_receiver_that_says_yes_and_then_talks_on_or_breaks_off_has_said_yes() {
    for act in [Act::EndlessBody(200), Act::Half(200)] {
        let (sick, _) = trouble(act);
        let healthy = Receiver::start();
        let place = place(&sick.url("http"), "concurrency: 4", &healthy, "");
        append(&place, 0..500);
        let relay = place.run();
        place.wait_for_standing("sick", &json!({"delivered": 500, "dead": 0, "waiting": 0}));
        assert_eq!(marks(&sick.received()).len(), 500, "once each");
        assert!(memory_kib(relay.id(), "VmHWM") < MEMORY_KIB);
    }
}

#[test]
fn a_receiver_that_speaks_no_tls_delays_nobody() {
    let (healthy, certificates) = (Receiver::start(), Certificates::new());
    let sick = Raw::start(|_, _| Act::Answer(200, ""));
    let tls = "timeout: 500ms, tls: {ca: DIR/ca.pem}";
    let place = place(&sick.url("https"), tls, &healthy, &certificates.authority);
    // What a client says first is no HTTP: it would wait for the end of the head for ever.
    suffer_and_heal(&place, &sick, &healthy, || sick.set_tls(Some(Arc::clone(&certificates.trusted))));
}

#[test]
fn a_receiver_that_nobody_trusts_delays_nobody() {
    let (healthy, certificates) = (Receiver::start(), Certificates::new());
    let sick = Raw::start(|_, _| Act::Answer(200, ""));
    sick.set_tls(Some(Arc::clone(&certificates.self_signed)));
    let place = place(&sick.url("https"), "tls: {ca: DIR/ca.pem}", &healthy, &certificates.authority);
    let relay = suffer_and_heal(&place, &sick, &healthy, || {
        let stuck = place.wait_for_standing("sick", &json!({"state": "blocked", "code": "untrusted"}));
        assert!(stuck["reason"].as_str().unwrap().contains("not trusted"), "{stuck:#}");
        assert!(sick.received().is_empty());
        sick.set_tls(Some(Arc::clone(&certificates.trusted)));
    });
    assert_eq!(relay.log().matches("blocked, probing").count(), 1);
}
