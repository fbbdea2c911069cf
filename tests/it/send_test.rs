//! `send-test`: one marked event, what came back, and what it means.

use std::process::Output;

use serde_json::Value;

use crate::support::web::get;
use crate::support::{Act, Certificates, Raw, Receiver, Relay, Reply, Workplace};

/// What every planted secret holds, in one form or another.
const SECRETS: [&str; 3] = ["PLANTED", "YSBrZXkgb2Yg", "dXNlcjpQTEFOVEVE"];

fn place(receiver: &Receiver) -> Workplace {
    let place = Workplace::new();
    let url = receiver.url("/PLANTED-path?key=PLANTED-query").replace("http://", "http://user:PLANTED-word@");
    place.write("url", &url);
    place.write("standard", "whsec_YSBrZXkgb2YgU3RhbmRhcmQgV2ViaG9va3MsIDMyIGJ5");
    place.configure(&format!(
        "
data_dir: DIR/data
environments: {{production: ['*-test']}}
sources:
  flipt: {{type: file, path: DIR/audit.log}}
destinations:
  out:
    type: webhook
    url: {{file: DIR/url}}
    headers: {{x-api-key: PLANTED-header}}
    signing: [{{scheme: standard_webhooks, secrets: [{{file: DIR/standard}}]}}]
    retry: {{initial_backoff: 2s, max_backoff: 60s}}
  flipt: {{type: webhook, format: flipt, url: '{0}'}}
  events: {{type: webhook, format: cloudevents, url: '{0}'}}
  ndjson: {{type: webhook, encoding: ndjson, batch: {{max_events: 10}}, url: '{0}'}}
  page: {{type: webhook, format: template, template: '{{\"title\": \"{{{{ actor.name }}}}: {{{{ data.payload.description }}}}\"}}', url: '{0}'}}
  archive: {{type: file, path: 'DIR/archive/%Y.ndjson'}}
  screen: {{type: console, format: json}}
  sealed: {{type: webhook, url: {{file: DIR/nowhere}}}}
  nobody: {{type: webhook, url: 'http://user:PLANTED-word@127.0.0.1:1/PLANTED-path', timeout: 5s}}
  logs: {{type: otlp, endpoint: '{0}', headers: {{authorization: PLANTED-header}}}}
routes:
  all: {{to: [out, flipt, events, ndjson, page, archive, screen, sealed, nobody, logs]}}
",
        receiver.url("/")
    ));
    place
}

struct Told {
    code: i32,
    stdout: String,
    stderr: String,
}

fn send(place: &Workplace, destination: &str) -> Told {
    let output = place
        .command(&["send-test", destination, "-c", "relay.yaml", "--allow-inline-secrets"])
        .output()
        .unwrap();
    let told = Told {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    };
    for line in told.stdout.lines().chain(told.stderr.lines()) {
        assert!(!SECRETS.iter().any(|secret| line.contains(secret)), "{line}");
    }
    told
}

#[test]
fn every_format_carries_a_marked_event() {
    let receiver = Receiver::start();
    let place = place(&receiver);
    for (number, name) in ["out", "flipt", "events", "ndjson", "page"].into_iter().enumerate() {
        let told = send(&place, name);
        assert_eq!(told.code, 0, "{}{}", told.stdout, told.stderr);
        assert!(told.stdout.starts_with("evt_") && told.stdout.ends_with("delivered\n"), "{}", told.stdout);
        let request = &receiver.received()[number];
        assert_eq!(request.header("audit-relay-test"), Some("true"));
        assert!(told.stdout.contains(request.header("webhook-id").unwrap()));
        let text = String::from_utf8_lossy(&request.body);
        assert!(text.contains("audit-relay send-test") && text.contains("no flag was changed"), "{text}");
    }
    let received = receiver.received();
    assert!(received[0].header("webhook-signature").unwrap().starts_with("v1,"));
    let envelope = received[0].json();
    assert_eq!(
        [&envelope["type"], &envelope["namespace"], &envelope["environment"], &envelope["source"]],
        ["flipt.flag.updated", "audit-relay-test", "production", "send-test"]
    );
    assert_eq!(envelope["entity"]["key"], "audit-relay-test");
    let form = received[1].json();
    assert_eq!((&form["type"], &form["payload"]["key"]), (&"flag".into(), &"audit-relay-test".into()));
    assert_eq!(received[2].json()["specversion"], "1.0");
    // Two of them are two events.
    send(&place, "flipt");
    let received = receiver.received();
    assert_ne!(received[1].header("webhook-id"), received[5].header("webhook-id"));
    assert!(!place.path("data").exists());
}

#[test]
fn an_answer_is_shown_without_secrets_and_with_its_meaning() {
    let answers = [
        (401, "", "blocked: the address or the credentials are wrong"),
        (410, "", "blocked: the receiver wants nothing any more"),
        (422, "", "rejected: the receiver will not take this event"),
        (302, "", "redirects are not followed"),
        (503, "", "would try again within 2s, then after longer and longer waits up to 60s"),
        (429, "7", "would try again not before 7s, as the receiver asks"),
        (200, "", "delivered"),
    ];
    let receiver = Receiver::scripted(move |number, request| {
        let (status, wait, _) = answers[number];
        let headers = if wait.is_empty() { Vec::new() } else { vec![("retry-after", wait.to_owned())] };
        Reply::Answer(status, headers, format!("\u{1b}[2J {}: {:?}", request.path, request.headers))
    });
    let place = place(&receiver);
    for (status, wait, meaning) in answers {
        let told = send(&place, "out");
        assert_eq!(told.code, i32::from(status != 200), "{}{}", told.stdout, told.stderr);
        assert!(told.stdout.contains(&format!("status {status}\n")), "{}", told.stdout);
        assert!(told.stdout.contains(meaning), "{}", told.stdout);
        assert!(told.stdout.contains("[redacted]") && !told.stdout.contains('\u{1b}'), "{}", told.stdout);
        assert_eq!(told.stdout.contains("retry-after: 7"), !wait.is_empty());
    }
}

#[test]
fn what_is_no_webhook_is_tried_too_and_what_cannot_work_says_why() {
    let receiver = Receiver::start();
    let place = place(&receiver);
    let told = send(&place, "archive");
    assert_eq!(told.code, 0, "{}", told.stderr);
    let directory = std::fs::read_dir(place.path("archive")).unwrap();
    let file = directory.map(|entry| entry.unwrap().path()).next().unwrap();
    assert!(told.stdout.contains(file.to_str().unwrap()) && told.stdout.ends_with("written\ndelivered\n"));
    let line: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    assert_eq!(line["actor"]["name"], "audit-relay send-test");
    let told = send(&place, "screen");
    let line: Value = serde_json::from_str(told.stdout.lines().next().unwrap()).unwrap();
    assert_eq!((told.code, &line["namespace"]), (0, &"audit-relay-test".into()));
    for (name, code, why) in
        [("sealed", 1, "sealed cannot work: url: the file"), ("archiv", 2, "did you mean `archive`?")]
    {
        let told = send(&place, name);
        assert_eq!((told.code, told.stdout.as_str()), (code, ""), "{}", told.stderr);
        assert!(told.stderr.contains(why), "{}", told.stderr);
    }
    let told = send(&place, "nobody");
    assert_eq!(told.code, 1);
    assert!(
        told.stdout.contains("POST http://127.0.0.1:1/…") && told.stdout.contains("(network)"),
        "{}",
        told.stdout
    );
    assert!(receiver.received().is_empty());
}

#[test]
fn it_works_beside_a_relay_and_leaves_no_trace_in_its_books() {
    let receiver = Receiver::start();
    let place = place(&receiver);
    let relay = place.run();
    assert_eq!(send(&place, "flipt").code, 0);
    let standing = place.destination("flipt");
    assert_eq!((&standing["accepted"], &standing["delivered"]), (&0.into(), &0.into()));
    assert!(relay.stop().status.success());
}

#[test]
fn certificates_are_judged_as_a_lane_judges_them() {
    let receiver = Receiver::start();
    let place = Workplace::new();
    place.write("ca.pem", Certificates::new().authority);
    let url = receiver.url("/").replace("http://", "https://");
    place.configure(&format!(
        "
data_dir: DIR/data
sources:
  flipt: {{type: file, path: DIR/audit.log}}
destinations:
  out: {{type: webhook, url: '{url}', tls: {{ca: DIR/ca.pem}}}}
  bad: {{type: webhook, url: '{url}', tls: {{ca: DIR/nowhere.pem}}}}
routes:
  all: {{to: [out, bad]}}
"
    ));
    let told = send(&place, "out");
    assert_eq!(told.code, 1);
    assert!(told.stdout.contains("not delivered, for now: "), "{}", told.stdout);
    let told = send(&place, "bad");
    assert_eq!((told.code, told.stdout.as_str()), (1, ""));
    assert!(told.stderr.contains("nowhere.pem"), "{}", told.stderr);
}

/// A relay that takes pushes, by both of what may be asked of them.
fn place_of_pushes(receiver: &Receiver, more: &str) -> Workplace {
    let place = Workplace::new();
    place.write("secret", "PLANTED-secret");
    place.write("token", "PLANTED-token");
    place.configure(&format!(
        "
data_dir: DIR/data
sources:
  flipt:
    type: http
    listen: '127.0.0.1:0'
    signing: [{{scheme: flipt, secrets: [{{file: DIR/secret}}]}}]
    bearer: {{file: DIR/token}}
  file: {{type: file, path: DIR/audit.log}}
destinations:
  out: {{type: webhook, url: '{}'}}
  other: {{type: file, path: 'DIR/other.ndjson'}}
{more}
routes:
  all: {{to: [out]}}
  deleted: {{when: {{actions: [deleted]}}, to: [other]}}
",
        receiver.url("/")
    ));
    place
}

fn through(place: &Workplace, relay: &Relay, more: &[&str]) -> Output {
    let url = format!("http://{}", relay.listens("flipt"));
    let health = format!("http://{}/metrics", relay.listens("health"));
    let mut command = place.command(&["send-test", "--through", "flipt", "-c", "relay.yaml"]);
    command.args(["--url", &url, "--health", &health]).args(more).output().unwrap()
}

fn text(output: &Output) -> String {
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(!text.contains("PLANTED"), "{text}");
    text
}

#[test]
fn it_goes_through_a_running_relay_to_every_destination() {
    let receiver = Receiver::start();
    let place = place_of_pushes(&receiver, "");
    let relay = place.run();
    let output = through(&place, &relay, &[]);
    let told = text(&output);
    assert!(output.status.success(), "{told}");
    let envelope = receiver.wait_for(1)[0].json();
    assert_eq!(envelope["actor"]["name"], "audit-relay send-test");
    let id = envelope["id"].as_str().unwrap();
    assert_eq!(told, format!("{id} by flipt: accepted\n  other: not routed there\n  out: delivered\n"));
    // Where it listens is known from the configuration, too.
    let port = relay.listens("flipt").port();
    let written = std::fs::read_to_string(place.path("relay.yaml")).unwrap();
    place.write("relay.yaml", written.replace("127.0.0.1:0", &format!("0.0.0.0:{port}")));
    let health = format!("http://{}", relay.listens("health"));
    let output =
        place.command(&["send-test", "--through", "flipt", "--health", &health, "-c", "relay.yaml"]).output();
    assert!(text(&output.unwrap()).contains("out: delivered"));
    assert!(relay.stop().status.success());
}

#[test]
fn what_does_not_go_through_is_told() {
    let receiver = Receiver::scripted(|number, _| Reply::status(if number == 0 { 422 } else { 503 }));
    let place = place_of_pushes(&receiver, "");
    let relay = place.run();
    let output = through(&place, &relay, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("  out: refused: it is a dead letter\n"), "{}", text(&output));
    let output = through(&place, &relay, &["--timeout", "1s"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("  out: not settled in time: waiting, 1 wait\n"), "{}", text(&output));
    // What the relay runs by is not what is asked by.
    let written = std::fs::read_to_string(place.path("relay.yaml")).unwrap();
    place.write("more.yaml", written.replace("  other:", "  unheard: {type: console}\n  other:"));
    let url = format!("http://{}", relay.listens("flipt"));
    let health = format!("http://{}", relay.listens("health"));
    let more = ["--url", &url, "--health", &health, "-c", "more.yaml", "--timeout", "1s"];
    let output = place.command(&["send-test", "--through", "flipt"]).args(more).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("  unheard: unknown to the relay"), "{}", text(&output));
    place.write("token", "another");
    // The relay will have read the new one soon: this one was never right.
    place.write("secret", "another");
    place.write("third", "a third");
    place.write("other.yaml", written.replace("/token", "/third"));
    let output = place
        .command(&["send-test", "--through", "flipt", "--url", &url, "--health", &health, "-c", "other.yaml"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("answers 401 Unauthorized"), "{}", text(&output));
    for (source, code, why) in
        [("flpt", 2, "did you mean `flipt`?"), ("file", 2, "there is no http source `file`")]
    {
        let output = place.command(&["send-test", "--through", source, "-c", "relay.yaml"]).output().unwrap();
        assert_eq!(output.status.code(), Some(code));
        assert!(text(&output).contains(why), "{}", text(&output));
    }
    assert_eq!(get(relay.listens("health"), "/livez").status, 200);
    assert!(relay.stop().status.success());
    let output =
        place.command(&["send-test", "--through", "flipt", "--health", &health, "-c", "relay.yaml"]).output();
    assert!(text(&output.unwrap()).contains("cannot be reached"));
}

#[test]
fn somebody_else_at_that_address_is_no_relay() {
    let place = place_of_pushes(&Receiver::start(), "");
    let relay = place.run();
    let somebody = Raw::start(|_, _| Act::Answer(200, ""));
    let url = somebody.url("http");
    let health = format!("http://{}", relay.listens("health"));
    let output = place
        .command(&["send-test", "--through", "flipt", "--url", &url, "--health", &health, "-c", "relay.yaml"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("answers as no audit-relay does"), "{}", text(&output));
    let output = place
        .command(&["send-test", "--through", "flipt", "--url", &url, "--health", &url, "-c", "relay.yaml"])
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert!(relay.stop().status.success());
}
