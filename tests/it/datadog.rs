//! Datadog as its users wish it, from outside: the built program against a Datadog that keeps to its
//! specification.

mod fake;
mod sending;
mod sets;

use std::time::Duration;

use audit_relay::event::Timestamp;
use serde_json::{Value, json};

use crate::support::datadog::{API_KEY, APP_KEY, Mood, Version};
use crate::support::{FakeDatadog, Line, Workplace, ago, whole};

/// Where waiting is not the point.
const QUICK: &str =
    "group_wait: 100ms, deliver_since: beginning, retry: {initial_backoff: 5ms, max_backoff: 20ms}";

fn place(datadog: &FakeDatadog, more: &str) -> Workplace {
    let place = Workplace::new();
    place.write("api-key", API_KEY);
    place.configure(&format!(
        "
data_dir: DIR/data
environments: {{production: [default]}}
owners: [{{flags: ['checkout*'], team: payments, services: [checkout-api, storefront]}}]
sources:
  flipt: {{type: file, path: DIR/audit.log}}
destinations:
  datadog: {{type: datadog, endpoint: '{}', api_key: {{file: DIR/api-key}}, {more}}}
routes:
  all: {{to: [datadog]}}
",
        datadog.endpoint()
    ));
    place
}

/// The creation of a flag of its own, so many seconds ago.
fn creation(number: usize, seconds: i64) -> Line {
    Line::flag("created", &format!("flag-{number}"), true, "").at(ago(seconds))
}

fn creations(count: usize) -> String {
    (0..count).map(|number| creation(number, 60).text()).collect()
}

fn all_delivered(count: usize) -> Value {
    json!({"state": "running", "delivered": count, "dead": 0, "waiting": 0})
}

#[test]
fn one_change_is_one_event_with_the_time_of_the_change() {
    for (api, version) in [("v2", Version::V2), ("v1", Version::V1)] {
        let datadog = FakeDatadog::start();
        let place = place(&datadog, &format!("{QUICK}, api: {api}"));
        let at = ago(3_000);
        place.append("audit.log", Line::flag("created", "checkout", true, "").at(at).text());
        let relay = place.run();
        place.wait_for_standing("datadog", &all_delivered(1));
        let taken = datadog.taken();
        let [event] = taken.as_slice() else { panic!("{taken:#?}") };
        assert_eq!(event.version, version);
        assert!(event.title().contains("checkout"), "{event:#?}");
        assert_eq!(event.time(), Some(whole(at)), "{event:#?}");
        let tags = event.all("tags");
        for tag in
            ["env:production", "service:checkout-api", "service:storefront", "team:payments", "flag:checkout"]
        {
            assert!(tags.iter().any(|other| other == tag), "{tag} in {tags:?}");
        }
        if version == Version::V2 {
            assert_eq!(event.attribute("category"), "change");
            let resource = &event.attribute("attributes")["changed_resource"];
            assert_eq!(*resource, json!({"type": "feature_flag", "name": "checkout"}));
            assert!(
                event.attribute("attributes").get("prev_value").is_none(),
                "nothing was before: {event:#?}"
            );
        }
        assert_eq!(datadog.refused(), Vec::new());
        assert!(relay.stop().status.success());
    }
}

#[test]
fn of_a_backlog_of_twenty_hours_the_oldest_expire_and_the_others_keep_their_time() {
    let datadog = FakeDatadog::start();
    let place = place(&datadog, QUICK);
    // At half past, so that no clock decides.
    let age = |hour: usize| i64::try_from(hour).unwrap() * 3_600 + 1_800;
    let times: Vec<Timestamp> = (0..20).map(|hour| whole(ago(age(hour)))).collect();
    let lines = (0..20)
        .rev()
        .map(|hour| Line::flag("created", &format!("flag-{hour}"), true, "").at(times[hour]).text());
    place.append("audit.log", lines.collect::<String>());
    let relay = place.run();
    place.wait_for_standing("datadog", &json!({"delivered": 17, "dead": 3, "waiting": 0, "accepted": 20}));
    let letters = place.dead_letters();
    assert!(letters.len() == 3 && letters.iter().all(|letter| letter["code"] == "expired"), "{letters:#?}");
    let mut told: Vec<Timestamp> = datadog.taken().iter().filter_map(|event| event.time()).collect();
    told.sort_unstable_by(|one, other| other.cmp(one));
    assert_eq!(told, times[..17]);
    // Nothing was even tried that Datadog would refuse for its age.
    assert_eq!((datadog.refused(), datadog.received().len()), (Vec::new(), 17));
    assert!(relay.stop().status.success());
}

#[test]
fn what_is_too_old_is_told_as_of_now_where_that_is_asked_for() {
    for api in ["v2", "v1"] {
        let datadog = FakeDatadog::start();
        let place = place(&datadog, &format!("{QUICK}, send_with_current_time: true, api: {api}"));
        let old = whole(ago(20 * 3_600));
        place.append("audit.log", Line::flag("created", "checkout", true, "").at(old).text());
        place.append("audit.log", Line::flag("created", "search", true, "").at(ago(3_600)).text());
        let relay = place.run();
        place.wait_for_standing("datadog", &all_delivered(2));
        let taken = datadog.taken();
        let event = taken.iter().find(|event| event.title().contains("checkout")).unwrap();
        let moved = event.time().is_none_or(|time| Timestamp::now().since(time) < Duration::from_secs(600));
        assert!(moved, "{event:#?}");
        let then = old.to_string();
        assert!(event.title().contains(&then[11..16]), "{then}: {}", event.title());
        // What Datadog takes keeps its time.
        let event = taken.iter().find(|event| event.title().contains("search")).unwrap();
        assert!(event.time().is_some_and(|time| Timestamp::now().since(time) > Duration::from_secs(3_000)));
        assert!(relay.stop().status.success());
    }
}

/// By name, or by the name of its setting.
fn hints_at_the_application_key(standing: &Value) -> bool {
    let reason = standing["reason"].as_str().unwrap().to_lowercase();
    reason.contains("application key") || reason.contains("app_key")
}

#[test]
fn a_wrong_key_blocks_loses_nothing_and_hints_at_the_application_key() {
    for api in ["v2", "v1"] {
        let datadog = FakeDatadog::start();
        datadog.set_api_key("another key");
        let place = place(&datadog, &format!("{QUICK}, api: {api}"));
        place.append("audit.log", creations(25));
        let relay = place.run();
        let standing =
            json!({"state": "blocked", "code": "http_403", "waiting": 25, "dead": 0, "delivered": 0});
        let blocked = place.wait_for_standing("datadog", &standing);
        assert!(api == "v1" || hints_at_the_application_key(&blocked), "{blocked:#}");
        datadog.set_api_key(API_KEY);
        place.wait_for_standing("datadog", &all_delivered(25));
        assert_eq!(datadog.taken().len(), 25);
        assert!(relay.stop().status.success());
    }
}

#[test]
fn an_application_key_is_sent_where_there_is_one() {
    let datadog = FakeDatadog::start();
    datadog.set_wants_app_key(true);
    let without = place(&datadog, QUICK);
    without.append("audit.log", creations(3));
    let relay = without.run();
    let blocked = without.wait_for_standing("datadog", &json!({"state": "blocked", "waiting": 3, "dead": 0}));
    assert!(hints_at_the_application_key(&blocked), "{blocked:#}");
    assert!(datadog.received().iter().all(|request| request.header("dd-application-key").is_none()));
    drop(relay);

    let with = place(&datadog, &format!("{QUICK}, app_key: {APP_KEY}"));
    with.append("audit.log", creations(3));
    let relay = with.run();
    with.wait_for_standing("datadog", &all_delivered(3));
    assert!(relay.stop().status.success());
}

#[test]
fn nothing_is_lost_in_a_storm_or_a_silence() {
    for mood in [Mood::Storm(500), Mood::Storm(503), Mood::Storm(408), Mood::Hangs] {
        let datadog = FakeDatadog::start();
        datadog.set(mood);
        let place = place(&datadog, &format!("{QUICK}, timeout: 200ms"));
        place.append("audit.log", creations(40));
        let relay = place.run();
        datadog.wait_for(10);
        let waits = place.destination("datadog");
        assert_eq!((&waits["waiting"], &waits["dead"]), (&40.into(), &0.into()), "{waits:#}");
        datadog.set(Mood::Well);
        place.wait_for_standing("datadog", &all_delivered(40));
        let mut titles: Vec<String> = datadog.taken().iter().map(|event| event.title().to_owned()).collect();
        titles.sort();
        titles.dedup();
        assert_eq!((titles.len(), datadog.taken().len()), (40, 40));
        assert!(relay.stop().status.success());
    }
}

#[test]
fn the_reset_of_the_limit_is_waited_for() {
    for api in ["v2", "v1"] {
        let datadog = FakeDatadog::start();
        datadog.set_limit(5, Duration::from_secs(3));
        let place = place(&datadog, &format!("{QUICK}, concurrency: 1, api: {api}"));
        place.append("audit.log", creations(8));
        let relay = place.run();
        place.wait_for_standing("datadog", &all_delivered(8));
        let received = datadog.received();
        let refused: Vec<usize> =
            (0..received.len()).filter(|index| received[*index].status == 429).collect();
        assert_eq!((refused.as_slice(), received.len()), (&[5][..], 9), "once, and then when it may");
        let waited = received[6].at - received[0].at;
        assert!(waited >= Duration::from_secs(3), "{waited:?}");
        assert!(relay.stop().status.success());
    }
}

#[test]
fn what_datadog_will_not_take_is_a_dead_letter() {
    for (mood, word) in
        [(Mood::Refuses("an unknown field"), "an unknown field"), (Mood::TooLarge, "too large")]
    {
        for api in ["v2", "v1"] {
            let datadog = FakeDatadog::start();
            datadog.set(mood.clone());
            let place = place(&datadog, &format!("{QUICK}, api: {api}"));
            place.append("audit.log", creations(2));
            let relay = place.run();
            place.wait_for_standing("datadog", &json!({"state": "running", "dead": 2, "waiting": 0}));
            let letters = place.dead_letters();
            let shown = place.ask(&["dead-letters", "show", letters[0]["id"].as_str().unwrap()]);
            assert!(shown.contains(word), "{shown}");
            datadog.set(Mood::Well);
            place.append("audit.log", creation(7, 5).text());
            place.wait_for_standing("datadog", &json!({"delivered": 1, "dead": 2, "waiting": 0}));
            assert!(relay.stop().status.success());
        }
    }
}

#[test]
fn denied_attempts_are_told_only_if_asked_for() {
    let denied = Line::denied("flag", "updated").by("Ben").text();
    let datadog = FakeDatadog::start();
    let silent = place(&datadog, QUICK);
    silent.append("audit.log", format!("{denied}{}", creation(1, 5).text()));
    let relay = silent.run();
    silent
        .wait_for_standing("datadog", &json!({"delivered": 1, "not_routed": 1, "left_out": 1, "waiting": 0}));
    assert!(relay.stop().status.success());
    assert!(datadog.taken().iter().all(|event| !event.body.to_string().contains("Ben")));

    let datadog = FakeDatadog::start();
    let told = place(&datadog, &format!("{QUICK}, denied: true"));
    told.append("audit.log", &denied);
    let relay = told.run();
    told.wait_for_standing("datadog", &all_delivered(1));
    let taken = datadog.taken();
    assert_eq!((taken.len(), taken[0].attribute("category")), (1, &"alert".into()), "{taken:#?}");
    assert!(taken[0].body.to_string().contains("Ben"), "{taken:#?}");
    assert!(relay.stop().status.success());
}

#[test]
fn what_changed_nothing_is_left_out() {
    let datadog = FakeDatadog::start();
    let place = place(&datadog, QUICK);
    let same = |verb, seconds| Line::flag(verb, "checkout", true, "").at(ago(seconds)).text();
    place.append("audit.log", same("created", 800) + &same("updated", 400) + &same("updated", 3));
    let relay = place.run();
    let still = json!({"delivered": 1, "not_routed": 2, "left_out": 2, "waiting": 0, "dead": 0});
    place.wait_for_standing("datadog", &still);
    assert_eq!(datadog.taken().len(), 1);
    assert!(relay.stop().status.success());
}

#[test]
fn no_output_tells_a_key() {
    let datadog = FakeDatadog::start();
    datadog.set(Mood::Refuses("what was sent: DD-API-KEY: PLANTED0api0key0of0datadog000000"));
    let place = place(
        &datadog,
        &format!("{QUICK}, app_key: {APP_KEY}, retry: {{initial_backoff: 1ms, max_backoff: 1ms}}")
            .replace(", retry: {initial_backoff: 5ms, max_backoff: 20ms}", ""),
    );
    let text = std::fs::read_to_string(place.path("relay.yaml")).unwrap();
    place.write("relay.yaml", format!("log: {{level: trace}}\n{text}"));
    place.append("audit.log", creations(2));
    let relay = place.run();
    place.wait_for_standing("datadog", &json!({"dead": 2}));
    datadog.set(Mood::Storm(500));
    place.append("audit.log", creation(7, 5).text());
    datadog.wait_for(4);
    let mut outputs = Vec::new();
    let mut run = |arguments: &[&str], what: &'static str| {
        let output = place.command(arguments).args(["-c", "relay.yaml"]).output().unwrap();
        outputs.push((what, String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()));
    };
    run(&["status"], "status");
    run(&["status", "--json"], "status as JSON");
    run(&["explain", "audit.log", "--allow-inline-secrets"], "explain");
    run(&["explain", "audit.log", "--json", "--allow-inline-secrets"], "explain as JSON");
    run(&["send-test", "datadog", "--allow-inline-secrets"], "send-test");
    run(&["check"], "check");
    run(&["check", "--show-defaults", "--allow-inline-secrets"], "check with defaults");
    for letter in place.dead_letters() {
        let id = letter["id"].as_str().unwrap().to_owned();
        run(&["dead-letters", "show", &id], "a dead letter");
    }
    relay.signal("INT");
    relay.kill();
    for (what, text) in &outputs {
        assert_eq!(text.lines().find(|line| line.contains("PLANTED")), None, "{what}");
    }
    let journal = std::fs::read(place.path("data/journal.db")).unwrap();
    assert!(!journal.windows(7).any(|window| window == b"PLANTED"), "the journal holds a key");
}
