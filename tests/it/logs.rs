//! What the log tells, and what it never does.

use serde_json::Value;

use crate::support::{Receiver, Reply, Workplace, flag_line, line_with};

/// The lines of a log, as JSON.
fn lines(log: &str) -> Vec<Value> {
    log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"))).collect()
}

/// A receiver that takes nothing and repeats what it was sent.
fn echoing(status: u16) -> Receiver {
    Receiver::scripted(move |_, request| {
        Reply::Answer(status, Vec::new(), String::from_utf8_lossy(&request.body).into_owned())
    })
}

#[test]
fn no_line_holds_anything_of_an_event() {
    let (busy, picky, closed) = (echoing(500), echoing(422), echoing(401));
    let place = Workplace::new();
    place.configure(&format!(
        "
data_dir: DIR/data
log: {{level: trace}}
sources:
  flipt: {{type: file, path: DIR/audit.log}}
  push: {{type: http, listen: '127.0.0.1:0', signing: none}}
destinations:
  busy: {{type: webhook, url: '{}', format: flipt, retry: {{initial_backoff: 1ms, max_backoff: 1ms}}}}
  picky: {{type: webhook, url: '{}', format: flipt}}
  closed: {{type: webhook, url: '{}', format: flipt}}
  looking: {{type: webhook, url: '{}', observe: true, format: flipt}}
  templated: {{type: webhook, url: '{}', format: template, template: '{{{{ data.payload.rank ** 1000 if data.payload.rank else 1 }}}}'}}
problems: {{to: [closed, busy], after: 1s}}
routes:
  all: {{to: [busy, picky, closed, looking, templated]}}
shutdown_timeout: 0s
",
        busy.url("/"),
        picky.url("/"),
        closed.url("/"),
        closed.url("/"),
        closed.url("/"),
    ));
    let planted = line_with(
        "flag",
        "updated",
        r#"{"key":"PLANTED-key","name":"PLANTED-name","namespace_key":"PLANTED-namespace","rank":70707}"#,
    );
    let planted = planted.replace("ann@example.com", "PLANTED@example.com").replace("Ann", "PLANTED-actor");
    place.append(
        "audit.log",
        format!("{planted}\n{{\"PLANTED-broken\n{{\"version\":\"0.2\",\"PLANTED\":1}}\n"),
    );
    let relay = place.run();
    let address = relay.listens("push");
    let pushed = planted.replace("updated", "created").replace("32:19Z", "32:20Z");
    assert_eq!(crate::support::Client::push(address, &[], &pushed).status, 200);
    assert_eq!(crate::support::Client::push(address, &[], "[\"PLANTED").status, 400);
    busy.wait_for(10);
    for said in [
        "dead letter: ",
        "not delivered, trying again: ",
        "blocked, probing",
        "of which nobody could be told: ",
    ] {
        relay.wait_for_log(said);
    }
    let dead = place.ask(&["dead-letters", "list", "--json"]);
    let status = place.ask(&["status"]);
    let log = relay.stop().log;
    // Whoever may see events sees what was said of them.
    assert!(dead.contains("PLANTED") && dead.contains("70707"), "{dead}");
    assert!(status.contains("PLANTED"), "{status}");
    for line in log.lines() {
        assert!(!line.contains("PLANTED") && !line.contains("70707"), "{line}");
    }
    assert!(log.contains("the receiver answered 422: …"), "{log}");
    assert!(log.contains("line 1: invalid operation: …"), "{log}");
    // Neither does a library say anything, at any level.
    let foreign = |line: &Value| !line["target"].as_str().unwrap().starts_with("audit_relay");
    assert_eq!(lines(&log).into_iter().find(foreign), None);
}

#[test]
fn payloads_are_shown_on_request_and_secrets_never() {
    // It answers with what it was sent, as careless ones do.
    let receiver = Receiver::scripted(|number, request| match number {
        1 => Reply::Answer(
            500,
            Vec::new(),
            format!("{:?} {}", request.headers.get("x-api-key"), String::from_utf8_lossy(&request.body)),
        ),
        _ => Reply::status(200),
    });
    let place = Workplace::new();
    place.write("secret", "SECRET-signing\n");
    let url = receiver.url("/in?key=SECRET-query").replace("http://", "http://user:SECRET-password@");
    let configure = |level: &str, payloads: bool| {
        place.configure(&format!(
            "
data_dir: DIR/data
log: {{level: '{level}', payloads: {payloads}}}
sources:
  flipt: {{type: file, path: DIR/audit.log}}
destinations:
  out:
    type: webhook
    url: '{url}'
    format: flipt
    headers: {{x-api-key: SECRET-header}}
    signing: [{{scheme: flipt, secrets: [{{file: DIR/secret}}]}}]
    retry: {{initial_backoff: 1ms, max_backoff: 1ms}}
routes:
  all: {{to: [out]}}
"
        ))
    };
    configure("info", false);
    let relay = place.run();
    place.append("audit.log", flag_line("checkout", "before") + "\n");
    receiver.wait_for(1);
    configure("info,audit_relay::payload=debug", true);
    relay.signal("HUP");
    relay.wait_for_log("the configuration is applied");
    let line = flag_line("checkout", &format!("after {}", "x".repeat(5_000)));
    place.append("audit.log", format!("{line}\n"));
    receiver.wait_for(3);
    let log = relay.stop().log;
    let said: Vec<Value> =
        lines(&log).into_iter().filter(|line| line["target"] == "audit_relay::payload").collect();
    let [record, refused] = &said[..] else { panic!("{said:#?}") };
    let original = record["original"].as_str().unwrap();
    assert_eq!(original, format!("{}…", &line[..4_096]));
    assert_eq!((&record["source"], &record["bytes"]), (&"flipt".into(), &line.len().into()));
    assert_eq!((&record["level"], &record["kind"]), (&"DEBUG".into(), &"event".into()));
    assert_eq!((&refused["destination"], &refused["events"]), (&"out".into(), &record["event"]));
    let message = refused["message"].as_str().unwrap();
    assert!(message.starts_with("not taken: the receiver answered 500: Some(\"[redacted]\") {"), "{message}");
    assert!(!log.contains("before") && !log.contains("SECRET"), "{log}");
}

#[test]
fn what_repeats_is_told_in_numbers_at_the_end_too() {
    let receiver = Receiver::scripted(|_, _| Reply::status(503));
    let place = Workplace::new();
    place.configure(&format!(
        "
data_dir: DIR/data
sources:
  flipt: {{type: file, path: DIR/audit.log}}
destinations:
  out: {{type: webhook, url: '{}', retry: {{initial_backoff: 1ms, max_backoff: 1ms}}}}
routes:
  all: {{to: [out]}}
shutdown_timeout: 0s
",
        receiver.url("/")
    ));
    place.append("audit.log", flag_line("checkout", "a") + "\n");
    let relay = place.run();
    receiver.wait_for(30);
    let log = lines(&relay.stop().log);
    let shown = log
        .iter()
        .filter(|line| line["message"].as_str().unwrap().starts_with("not delivered, trying again"));
    assert_eq!(shown.count(), 5, "{log:#?}");
    let told: Vec<_> = log.iter().filter(|line| line["target"] == "audit_relay::repeats").collect();
    let [told] = &told[..] else { panic!("{log:#?}") };
    let count = told["not_shown"].as_u64().unwrap();
    // The answer to the last request may not have been read.
    assert!(count >= 24, "{told}");
    assert_eq!((&told["level"], &told["destination"]), (&"WARN".into(), &"out".into()));
    let expected = format!(
        "{count} more like this in the last minute were not shown: not delivered, trying again: the receiver answered 503"
    );
    assert_eq!(told["message"], expected);
}
