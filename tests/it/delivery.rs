//! What lanes do when receivers misbehave.

use std::collections::BTreeSet;

use crate::support::{Receiver, Reply, Workplace, flag_line};

fn place(destinations: &str, routes: &str) -> Workplace {
    let place = Workplace::new();
    place.configure(&format!(
        "
data_dir: DIR/data
sources:
  flipt: {{type: file, path: DIR/audit.log}}
environments:
  production: ['prod-*']
destinations: {{{destinations}}}
routes: {{{routes}}}
"
    ));
    place
}

fn webhook(receiver: &Receiver, more: &str) -> String {
    format!(
        "{{type: webhook, url: '{}', retry: {{initial_backoff: 1ms, max_backoff: 5ms}}{more}}}",
        receiver.url("/")
    )
}

#[test]
fn what_may_pass_is_tried_again_under_the_same_id_until_it_is_taken() {
    for status in [408, 425, 429, 500, 502, 503, 504] {
        let receiver =
            Receiver::scripted(move |number, _| Reply::status(if number < 3 { status } else { 200 }));
        let place = place(&format!("out: {}", webhook(&receiver, "")), "all: {to: [out]}");
        place.append("audit.log", flag_line("checkout", "a") + "\n");
        let relay = place.run();
        let received = receiver.wait_for(4);
        assert!(relay.stop().status.success());
        let ids: BTreeSet<_> = received.iter().map(|request| request.header("webhook-id").unwrap()).collect();
        assert_eq!(ids.len(), 1, "{status}");
    }
}

#[test]
fn what_is_refused_becomes_a_dead_letter_and_the_lane_goes_on() {
    let receiver = Receiver::scripted(|number, _| Reply::status(if number == 0 { 400 } else { 200 }));
    let place = place(&format!("out: {}", webhook(&receiver, "")), "all: {to: [out]}");
    place.append("audit.log", format!("{}\n{}\n", flag_line("checkout", "a"), flag_line("checkout", "b")));
    let relay = place.run();
    receiver.wait_for(2);
    let exit = relay.stop();
    assert!(exit.log.contains("dead letter"), "{}", exit.log);
    let journal = rusqlite::Connection::open(place.path("data/journal.db")).unwrap();
    let (code, books): (String, (i64, i64, i64)) = (
        journal.query_row("SELECT code FROM dead_letters", [], |row| row.get(0)).unwrap(),
        journal
            .query_row("SELECT delivered, dead, not_routed FROM destinations", [], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })
            .unwrap(),
    );
    assert_eq!((code.as_str(), books), ("rejected", (1, 1, 0)));
}

#[test]
fn a_group_keeps_its_members_and_its_id_over_a_kill() {
    let receiver = Receiver::scripted(|number, _| Reply::status(if number < 2 { 503 } else { 200 }));
    let place = place(
        &format!("out: {}", webhook(&receiver, ", batch: {max_events: 3}"))
            .replace("5ms", "1h")
            .replace("1ms", "1h"),
        "all: {to: [out]}",
    );
    let lines: String = (0..3).map(|index| flag_line("checkout", &format!("{index}")) + "\n").collect();
    place.append("audit.log", lines);
    let relay = place.run();
    receiver.wait_for(1);
    relay.wait_for_log("trying again");
    relay.kill();
    // More comes meanwhile: it does not join the group.
    place.append("audit.log", flag_line("checkout", "3") + "\n");
    let relay = place.run();
    // Told to stop, it cuts the wait short once.
    relay.signal("TERM");
    receiver.wait_for(2);
    relay.kill();
    let relay = place.run();
    relay.signal("TERM");
    receiver.wait_for(4);
    assert!(relay.wait().status.success());
    let received = receiver.received();
    let of = |index: usize| {
        (received[index].header("webhook-id").unwrap().to_owned(), received[index].envelopes().len())
    };
    assert_eq!(of(0), of(1));
    assert_eq!(of(1), of(2));
    assert_eq!((of(0).1, of(3).1), (3, 1));
    assert!(of(0).0.starts_with("bat_"));
}

#[test]
fn one_receiver_that_hangs_delays_no_other() {
    let stuck = Receiver::scripted(|_, _| Reply::Hang);
    let healthy = Receiver::start();
    let place = place(
        &format!("stuck: {}, healthy: {}", webhook(&stuck, ""), webhook(&healthy, "")),
        "all: {to: [stuck, healthy]}",
    );
    let _relay = place.run();
    for index in 0..5 {
        place.append("audit.log", flag_line("checkout", &format!("{index}")) + "\n");
        healthy.wait_for(index + 1);
    }
    assert_eq!(stuck.received().len(), 1);
}

#[test]
fn redirects_are_not_followed_and_long_answers_are_not_read() {
    let other = Receiver::start();
    let elsewhere = other.url("/elsewhere");
    let receiver = Receiver::scripted(move |number, _| match number {
        0 => Reply::Answer(302, vec![("location", elsewhere.clone())], String::new()),
        _ => Reply::Answer(200, Vec::new(), "x".repeat(4 << 20)),
    });
    let place = place(&format!("out: {}", webhook(&receiver, "")), "all: {to: [out]}");
    place.append("audit.log", format!("{}\n{}\n", flag_line("checkout", "a"), flag_line("checkout", "b")));
    let relay = place.run();
    receiver.wait_for(2);
    assert!(relay.stop().status.success());
    assert!(other.received().is_empty());
}

#[test]
fn routes_decide_and_the_books_say_what_they_left() {
    let receiver = Receiver::start();
    let place = place(
        &format!("out: {}", webhook(&receiver, "")),
        "live: {when: {environments: [production], types: [flag]}, unless: {actions: [deleted]}, to: [out]}",
    );
    let of = |namespace: &str, action: &str| {
        crate::support::line_with(
            "flag",
            action,
            &format!("{{\"key\":\"checkout\",\"namespace_key\":\"{namespace}\"}}"),
        ) + "\n"
    };
    place.append(
        "audit.log",
        [
            of("staging", "updated"),
            of("prod-eu", "updated"),
            of("prod-eu", "deleted"),
            of("prod-us", "created"),
        ]
        .concat(),
    );
    let relay = place.run();
    receiver.wait_for(2);
    assert!(relay.stop().status.success());
    let mut types: Vec<_> = receiver.envelopes().iter().map(|event| event["type"].to_string()).collect();
    types.sort(); // side by side
    assert_eq!(types, ["\"flipt.flag.created\"", "\"flipt.flag.updated\""]);
    assert_eq!(receiver.envelopes()[0]["environment"], "production");
    let journal = rusqlite::Connection::open(place.path("data/journal.db")).unwrap();
    let books: (i64, i64, i64) = journal
        .query_row("SELECT delivered, not_routed, cursor FROM destinations", [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .unwrap();
    assert_eq!(books, (2, 2, 4));
}

#[test]
fn the_file_destination_writes_a_file_a_day() {
    let place = place("archive: {type: file, path: DIR/archive/%Y/%m-%d.ndjson}", "all: {to: [archive]}");
    place.append("audit.log", format!("{}\n{}\n", flag_line("checkout", "a"), flag_line("checkout", "b")));
    let relay = place.run();
    relay.wait_for_log("waiting for more");
    assert!(relay.stop().status.success());
    let mut years = std::fs::read_dir(place.path("archive")).unwrap();
    let mut days = std::fs::read_dir(years.next().unwrap().unwrap().path()).unwrap();
    let text = std::fs::read_to_string(days.next().unwrap().unwrap().path()).unwrap();
    let marks: Vec<String> = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|envelope| envelope["data"]["payload"]["description"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(marks, ["a", "b"]);
}
