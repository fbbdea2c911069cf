//! An edit that would stop what works is refused before anything is stopped.

use std::io::Write;
use std::net::TcpListener;

use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};

use super::{REFUSED, configuration, hang_up, lines, wait_for_configuration, webhook};
use crate::support::{Client, PATIENCE, Receiver, Relay, Workplace, eventually, flag_line, request};

/// The problems of an edit that is refused.
#[track_caller]
fn refused(place: &Workplace, relay: &Relay) -> String {
    let told = hang_up(place, relay);
    assert_eq!(told["last_reload"]["successful"], false, "{told:#}");
    told["last_reload"]["problems"][0].as_str().unwrap().to_owned()
}

/// A new certificate and its key, as PEM.
fn certificate() -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

#[test]
fn a_listener_that_works_is_not_closed_for_one_that_would_not() {
    let receiver = Receiver::start();
    let place = Workplace::new();
    let text = |listen: &str, more: &str| {
        let push = format!("  push: {{type: http, listen: '{listen}', signing: none{more}}}");
        configuration("", &push, &webhook("out", &receiver.url("/"), ""), "out")
    };
    place.configure(&text("127.0.0.1:0", ""));
    let relay = place.run();
    let address = relay.listens("push");
    let still_takes = |mark: &str| {
        assert_eq!(Client::push(address, &[], flag_line("a", mark)).status, 200);
        assert_eq!(relay.listens("push"), address);
    };
    still_takes("1");

    place.configure(&text("127.0.0.1:0", ", tls: {cert: DIR/typo.pem, key: DIR/typo.pem}"));
    let why = refused(&place, &relay);
    assert!(why.contains("sources.push: tls.cert: the file") && why.contains("does not exist"), "{why}");
    still_takes("2");

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    place.configure(&text(&taken.local_addr().unwrap().to_string(), ""));
    let why = refused(&place, &relay);
    assert!(why.contains("sources.push: cannot listen on"), "{why}");
    still_takes("3");

    drop(taken);
    let told = hang_up(&place, &relay);
    assert_eq!(told["last_reload"]["successful"], true, "{told:#}");
    let moved =
        eventually("it listens elsewhere", || Some(relay.listens("push")).filter(|at| *at != address));
    assert_eq!(Client::push(moved, &[], flag_line("a", "4")).status, 200);
    // To an address that overlaps with the one it leaves, too.
    place.configure(&text(&format!("0.0.0.0:{}", moved.port()), ""));
    let told = hang_up(&place, &relay);
    assert_eq!(told["last_reload"]["successful"], true, "{told:#}");
    eventually("it listens everywhere", || relay.listens("push").ip().is_unspecified().then_some(()));
    assert_eq!(Client::push(moved, &[], flag_line("a", "5")).status, 200);
    place.wait_for_standing("out", &json!({"delivered": 5, "waiting": 0}));
}

#[test]
fn a_listener_that_changes_takes_pushes_all_the_while() {
    let receiver = Receiver::start();
    let place = Workplace::new();
    let text = |max_body: &str| {
        let push =
            format!("  push: {{type: http, listen: '127.0.0.1:0', signing: none, max_body: {max_body}}}");
        configuration("", &push, &webhook("out", &receiver.url("/"), ""), "out")
    };
    place.configure(&text("1MiB"));
    let relay = place.run();
    let address = relay.listens("push");
    // One that is under way: it must not be broken off, and hold up nobody.
    let body = flag_line("a", "1");
    let mut slow = Client::connect(address);
    let whole = request("POST", "/v1/events", &[("Expect", "100-continue")], body.as_bytes());
    slow.send(&whole[..whole.len() - 10]).unwrap();
    eventually("its body is read", || {
        let mut seen = [0; 12];
        slow.stream().peek(&mut seen).unwrap();
        seen.starts_with(b"HTTP/1.1 100").then_some(())
    });
    // One that the old one has accepted, and that has said nothing yet when it leaves.
    let mut silent = Client::connect(address);
    assert_eq!(Client::push(address, &[], flag_line("a", "2")).status, 200);
    place.configure(&text("2MiB"));
    relay.signal("HUP");
    eventually("the new one listens", || (relay.log().matches("\"listening\"").count() >= 4).then_some(()));
    assert_eq!(silent.post(&[], flag_line("a", "3").as_bytes()).expect("an answer").status, 200);
    for round in 4..6 {
        assert_eq!(Client::push(address, &[], flag_line("a", &round.to_string())).status, 200);
    }
    slow.send(&whole[whole.len() - 10..]).unwrap();
    assert_eq!(slow.answer().unwrap().status, 200);
    relay.wait_for_log("source changed: push");
    assert_eq!(Client::push(address, &[], flag_line("a", "6")).status, 200);
    place.wait_for_standing("out", &json!({"delivered": 6, "waiting": 0}));
    assert!(relay.stop().status.success());
}

#[test]
fn a_lane_that_works_is_not_given_up_for_certificates_that_do_not() {
    let receiver = Receiver::start();
    let place = Workplace::new();
    let text = |tls: &str| {
        configuration("", "", &webhook("out", &receiver.url("/"), &format!(", tls: {tls}")), "out")
    };
    let own = "{cert: DIR/cert.pem, key: DIR/key.pem}";
    let (cert, key) = certificate();
    place.write("cert.pem", cert);
    place.write("key.pem", key);
    place.configure(&text(own));
    place.append("audit.log", lines(0..1));
    let relay = place.run();
    place.wait_for_standing("out", &json!({"delivered": 1, "state": "running"}));

    for typo in ["{ca: DIR/typo.pem}", "{cert: DIR/typo.pem, key: DIR/key.pem}"] {
        place.configure(&text(typo));
        let why = refused(&place, &relay);
        assert!(why.contains("destinations.out: ") && why.contains("typo.pem"), "{why}");
    }
    place.append("audit.log", lines(1..2));
    place.wait_for_standing("out", &json!({"delivered": 2, "state": "running"}));
    place.configure(&text(own));
    assert_eq!(hang_up(&place, &relay)["last_reload"]["successful"], true);

    // A certificate is there before its key: the former pair goes on until both are.
    let (cert, key) = certificate();
    place.write("cert.pem", cert);
    relay.wait_for_log(REFUSED);
    wait_for_configuration(&place, "the half", |found| found["last_reload"]["successful"] == false);
    place.append("audit.log", lines(2..3));
    place.wait_for_standing("out", &json!({"delivered": 3, "state": "running"}));
    place.write("key.pem", key);
    wait_for_configuration(&place, "both", |found| found["last_reload"]["successful"] == true);
    relay.wait_for_log("destination changed: out");
    place.append("audit.log", lines(3..4));
    place.wait_for_standing("out", &json!({"delivered": 4, "state": "running"}));
    assert!(relay.stop().status.success());
}

#[test]
fn what_the_journal_refuses_for_once_is_done_later_and_the_rest_at_once() {
    let receiver = Receiver::start();
    let place = Workplace::new();
    let out = |name: &str| webhook(name, &receiver.url("/"), "");
    place.configure(&configuration("", "", &out("first"), "first"));
    place.append("audit.log", lines(0..1));
    let relay = place.run();
    place.wait_for_standing("first", &json!({"delivered": 1}));
    let journal = rusqlite::Connection::open(place.path("data/journal.db")).unwrap();
    journal.busy_timeout(PATIENCE).unwrap();
    let refuse = |table: &str, name: &str| {
        let trigger = format!(
            "CREATE TRIGGER refuse_{table} BEFORE INSERT ON {table} WHEN NEW.name = '{name}'
             BEGIN SELECT RAISE(ABORT, 'for once'); END"
        );
        journal.execute_batch(&trigger).unwrap();
    };
    refuse("destinations", "second");
    place.configure(&configuration(
        "",
        "  other: {type: file, path: DIR/other.log}",
        &(out("first") + &out("second") + &out("third")),
        "first, second, third",
    ));
    let told = hang_up(&place, &relay);
    journal.execute_batch("DROP TRIGGER refuse_destinations").unwrap();
    assert_eq!(told["last_reload"]["successful"], false, "{told:#}");
    let why = told["last_reload"]["problems"][0].as_str().unwrap();
    assert!(why.contains("destinations.second: ") && why.contains("for once"), "{why}");
    wait_for_configuration(&place, "the rest", |found| found["last_reload"]["successful"] == true);
    relay.wait_for_log("source added: other; source changed: flipt; destinations added: second, third");
    place.append("other.log", lines(1..2));
    for name in ["first", "second", "third"] {
        place.wait_for_standing(name, &json!({"delivered": 2, "waiting": 0}));
    }
    refuse("sources", "more");
    place.configure(&configuration("", "  more: {type: file, path: DIR/more.log}", &out("first"), "first"));
    let told = hang_up(&place, &relay);
    journal.execute_batch("DROP TRIGGER refuse_sources").unwrap();
    let why = told["last_reload"]["problems"][0].as_str().unwrap();
    assert!(why.contains("sources.more: ") && why.contains("for once"), "{why}");
    wait_for_configuration(&place, "the rest", |found| found["last_reload"]["successful"] == true);
    place.append("more.log", lines(2..3));
    place.wait_for_standing("first", &json!({"delivered": 3, "waiting": 0}));
    assert!(relay.stop().status.success());
}

#[test]
fn an_edit_that_is_refused_is_mended_wherever_it_is_wrong() {
    let receiver = Receiver::start();
    let place = Workplace::new();
    let text =
        |top: &str, more: &str| configuration(top, "", &webhook("out", &receiver.url("/"), more), "out");
    place.configure(&text("", ""));
    let relay = place.run();
    // No file of these was looked at before.
    let edits = [
        ("include: [more.yaml]", "", "more.yaml", "routes: [".to_owned(), "routes: {}".to_owned()),
        ("", ", headers: {x-token: {file: DIR/token}}", "token", "a\nb".to_owned(), "good".to_owned()),
        ("", ", tls: {ca: DIR/ca.pem}", "ca.pem", "bad".to_owned(), certificate().0),
    ];
    for (top, more, file, bad, good) in edits {
        place.write(file, bad);
        place.configure(&text(top, more));
        refused(&place, &relay);
        place.write(file, good);
        wait_for_configuration(&place, file, |found| found["last_reload"]["successful"] == true);
    }
    assert!(relay.stop().status.success());
}

#[test]
fn whoever_ends_the_relay_is_heard_while_a_configuration_is_read() {
    let receiver = Receiver::start();
    let place = Workplace::new();
    place.configure(&configuration("", "", &webhook("out", &receiver.url("/"), ""), "out"));
    // Pipes are read below /dev alone.
    let path = format!("/dev/..{}", place.path("relay.yaml").display());
    let relay = Relay::spawn(place.command(&["run", "--config", &path, "--allow-inline-secrets"]));
    relay.wait_for_log("\"ready\"");
    // As a file system that does not answer: it is opened, and nothing comes.
    let made = std::process::Command::new("mkfifo").arg(place.path("pipe")).status().unwrap();
    assert!(made.success());
    std::fs::rename(place.path("pipe"), place.path("relay.yaml")).unwrap();
    relay.signal("HUP");
    let held = std::fs::OpenOptions::new().write(true).open(place.path("relay.yaml")).unwrap();
    assert!(relay.stop().status.success());
    drop(held);
}

#[test]
fn a_source_reads_on_whatever_is_edited_around_it() {
    let receiver = Receiver::start();
    let place = Workplace::new();
    let text = |more: &str, others: &str| {
        let out = webhook("out", &receiver.url("/"), "");
        configuration("", others, &out, "out")
            .replace("path: DIR/audit.log", &format!("path: DIR/audit.log{more}"))
    };
    place.configure(&text("", ""));
    place.append("audit.log", flag_line("a", "1") + "\n");
    let relay = place.run();
    place.wait_for_standing("out", &json!({"delivered": 1}));
    // Flipt holds on to a file that is gone: only who has it open can read it.
    let mut held = std::fs::OpenOptions::new().append(true).open(place.path("audit.log")).unwrap();
    std::fs::remove_file(place.path("audit.log")).unwrap();
    eventually("it is read through its descriptor", || {
        (place.status()["sources"][0]["files"][0]["renamed"] == true).then_some(())
    });
    let edits = [
        (", silent_after: 3d", ""),
        (", silent_after: 3d, environment: production", ""),
        (", environment: production", "  second: {type: file, path: DIR/second.log}"),
    ];
    for (index, (more, others)) in edits.iter().enumerate() {
        place.configure(&text(more, others));
        assert_eq!(hang_up(&place, &relay)["last_reload"]["successful"], true);
        writeln!(held, "{}", flag_line("a", &(index + 2).to_string())).unwrap();
        place.wait_for_standing("out", &json!({"delivered": index + 2, "waiting": 0}));
    }
    let told = receiver.envelopes();
    let before: Vec<bool> = told.iter().map(|event| !event["change"]["before"].is_null()).collect();
    // Another source of the same Flipt: from then on nobody knows what was before.
    assert_eq!(before, [false, true, true, false], "{told:#?}");
    let environments: Vec<&Value> = told.iter().map(|event| &event["environment"]).collect();
    assert_eq!(environments[1..], [&Value::Null, &"production".into(), &"production".into()]);
}
