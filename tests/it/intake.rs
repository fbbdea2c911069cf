//! Pushes: what Flipt's webhook sink sends, believed, journaled and delivered.

mod clients;
mod kills;
mod tls;

use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::web::get;
use crate::support::{Answered, Client, Receiver, Relay, Workplace, eventually, flag_line, flipt_signature};

/// A relay that takes pushes by these keys and delivers every record.
fn configured(receiver: &Receiver, keys: &str) -> Workplace {
    let place = Workplace::new();
    place.configure(&format!(
        "
data_dir: DIR/data
sources:
  push: {{type: http, listen: '127.0.0.1:0', {keys}}}
destinations:
  out: {{type: webhook, url: '{}', concurrency: 1}}
routes:
  all: {{when: {{record: [event, unparsed, oversized]}}, to: [out]}}
",
        receiver.url("/hook")
    ));
    place
}

fn started(receiver: &Receiver, keys: &str) -> (Workplace, Relay, SocketAddr) {
    let place = configured(receiver, keys);
    let relay = place.run();
    let address = relay.listens("push");
    (place, relay, address)
}

fn source(place: &Workplace) -> Value {
    place.status()["sources"][0].clone()
}

fn ids(envelopes: &[Value]) -> Vec<&str> {
    envelopes.iter().map(|envelope| envelope["id"].as_str().unwrap()).collect()
}

struct Captured {
    path: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Captured {
    fn headers(&self) -> Vec<(&str, &str)> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    fn push(&self, address: SocketAddr) -> Answered {
        Client::push(address, &self.headers(), &self.body)
    }
}

/// What Flipt's own code sent, with every header but those that the client adds; a header of several lines has
/// them all.
fn captured() -> Vec<Captured> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/flipt/v0.2_webhook_requests.txt");
    let text = std::fs::read_to_string(path).unwrap();
    let requests = text.split("POST /").filter(|request| !request.trim().is_empty());
    requests
        .map(|request| {
            let (head, body) = request.split_once("\n\n").unwrap();
            let mut headers = Vec::new();
            for (name, values) in head.lines().filter_map(|line| line.split_once(": [")) {
                let values = values.strip_suffix(']').unwrap();
                match name {
                    "Content-Length" => {}
                    "Content-Type" => {
                        headers.extend(values.split(' ').map(|value| (name.to_owned(), value.to_owned())))
                    }
                    _ => headers.push((name.to_owned(), values.to_owned())),
                }
            }
            let path = request.split(' ').next().unwrap().to_owned();
            Captured { path, headers, body: body.trim_end_matches('\n').to_owned() }
        })
        .collect()
}

#[test]
fn what_flipt_signs_is_accepted_journaled_and_delivered() {
    let all = captured();
    let signed: Vec<&Captured> = all.iter().filter(|request| request.path == "hook").collect();
    assert_eq!(signed.len(), 34);
    let receiver = Receiver::start();
    let (place, relay, address) = started(&receiver, "signing: {scheme: flipt, secrets: [new, s3cr3t]}");
    let accepted: Vec<String> = signed
        .iter()
        .map(|request| {
            let ids = request.push(address).ids();
            assert_eq!(ids.len(), 1);
            ids[0].clone()
        })
        .collect();
    receiver.wait_for(34);
    let envelopes = receiver.envelopes();
    assert_eq!(ids(&envelopes), accepted);
    for (envelope, request) in envelopes.iter().zip(&signed) {
        assert!(envelope["type"].as_str().unwrap().starts_with("flipt."), "{envelope}");
        assert_eq!(
            envelope["data"].to_string().len(),
            serde_json::from_str::<Value>(&request.body).unwrap().to_string().len()
        );
        assert_eq!(envelope["source"], "push");
    }
    let source = source(&place);
    assert_eq!((&source["unparsed"], &source["refused"]), (&json!(0), &json!(0)), "{source:#}");
    assert_eq!(source["listening"], address.to_string());
    let said = place.ask(&["status"]);
    assert!(said.contains(&format!("push: listens on {address}\n")), "{said}");

    // Unsigned, as template mode sends: nothing of it is taken.
    for request in all.iter().filter(|request| request.path == "tmpl") {
        assert_eq!(request.push(address).status, 401);
    }
    assert_eq!(place.status()["journal"]["last_sequence"], 34);
    assert!(relay.stop().status.success());
}

#[test]
fn template_posts_are_believed_by_their_token() {
    let all = captured();
    let templates: Vec<&Captured> = all.iter().filter(|request| request.path == "tmpl").collect();
    assert_eq!(templates.len(), 34);
    for request in &templates {
        let types: Vec<_> = request.headers.iter().filter(|(name, _)| name == "Content-Type").collect();
        assert_eq!(types.len(), 2, "two lines");
    }
    let receiver = Receiver::start();
    let (place, relay, address) = started(&receiver, "bearer: x");
    // Theirs was a template of its own making: JSON, and no audit event.
    let mut accepted: Vec<String> =
        templates.iter().flat_map(|request| request.push(address).ids()).collect();
    // The template of the documentation makes events.
    let lossless = |request: &Captured| {
        let made: Value = serde_json::from_str(&request.body).unwrap();
        let (noun, action) = made["event"].as_str().unwrap().split_once(' ').unwrap();
        format!(
            r#"{{"version":{},"type":"{noun}","action":"{action}","status":{},"metadata":{{"actor":{}}},"payload":{},"timestamp":{}}}"#,
            made["v"], made["status"], made["actor"], made["payload"], made["t"]
        )
    };
    for request in &templates {
        accepted.extend(Client::push(address, &request.headers(), lossless(request)).ids());
    }
    receiver.wait_for(68);
    let envelopes = receiver.envelopes();
    assert_eq!(ids(&envelopes), accepted);
    assert!(envelopes[..34].iter().all(|envelope| envelope["type"] == "audit_relay.unparsed"));
    assert!(envelopes[34..].iter().all(|envelope| envelope["type"].as_str().unwrap().starts_with("flipt.")));
    assert_eq!(source(&place)["unparsed"], 34);
    let wrong = [("Authorization", "Bearer y")];
    assert_eq!(Client::push(address, &wrong, lossless(templates[0])).status, 401);
    assert!(relay.stop().status.success());
}

#[test]
fn what_is_not_signed_right_is_refused_and_leaves_nothing() {
    let receiver = Receiver::start();
    let standard = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let keys = format!(
        "bearer: token, signing: [{{scheme: flipt, secrets: s3cr3t}}, {{scheme: standard_webhooks, secrets: {standard}}}]"
    );
    let (place, relay, address) = started(&receiver, &keys);
    let body = flag_line("checkout", "mark");
    let right = flipt_signature("s3cr3t", body.as_bytes());
    let wrong = flipt_signature("secret", body.as_bytes());
    let (upper, long) = (right.to_uppercase(), format!("{right}00"));
    let (token, signature) = ("Authorization", "X-Flipt-Webhook-Signature");
    let refused: &[&[(&str, &str)]] = &[
        &[],
        &[(token, "Bearer token")],
        &[(signature, &right)],
        &[(token, "Bearer tokem"), (signature, &right)],
        &[(token, "Bearer "), (signature, &right)],
        &[(token, "Basic token"), (signature, &right)],
        &[(token, "token"), (signature, &right)],
        &[(token, "Bearer token"), (signature, &wrong)],
        &[(token, "Bearer token"), (signature, &right[..63])],
        &[(token, "Bearer token"), (signature, &right[..62])],
        &[(token, "Bearer token"), (signature, &long)],
        &[(token, "Bearer token"), (signature, "")],
        &[
            (token, "Bearer token"),
            ("webhook-signature", "v1,AAAA"),
            ("webhook-id", "a"),
            ("webhook-timestamp", "1795338000"),
        ],
        &[(token, "Bearer token"), ("X-Hub-Signature-256", &format!("sha256={right}"))],
    ];
    for headers in refused {
        let answer = Client::push(address, headers, &body);
        assert_eq!(answer.status, 401, "{headers:?}");
        assert!(!answer.error().is_empty());
    }
    // The signature is that of the bytes, not of what they mean.
    let both = [(token, "Bearer token"), (signature, right.as_str())];
    assert_eq!(Client::push(address, &both, format!("{body} ")).status, 401);
    let count = refused.len() + 1;
    assert_eq!(source(&place)["refused"], count);
    assert_eq!(place.status()["journal"]["last_sequence"], 0);
    let log = relay.log();
    let errors: Vec<&str> = log.lines().filter(|line| line.contains("ERROR")).collect();
    assert_eq!(errors.len(), 1, "the first is told of at once, the others by the minute: {log}");
    assert!(errors[0].contains("pushes are refused"), "{log}");
    for secret in ["s3cr3t", "tokem", &right, standard] {
        assert!(!log.contains(secret), "{log}");
    }
    assert_eq!(Client::push(address, &[(token, "bearer token"), (signature, &upper)], &body).ids().len(), 1);
    receiver.wait_for(1);
    assert!(place.ask(&["status"]).contains(&format!("listens on {address}, {count} pushes refused")));
    assert!(relay.stop().status.success());
}

#[test]
fn every_answer_says_what_it_means() {
    let receiver = Receiver::start();
    let (place, relay, address) = started(&receiver, "signing: none, max_body: 64KiB");
    let event = flag_line("checkout", "mark");
    let push = |body: &str| Client::push(address, &[], body);
    assert_eq!(push(&event).ids().len(), 1);
    assert_eq!(push(&format!("[{event},{event}]")).ids().len(), 2);
    assert_eq!(push(&format!("{event}\n{event}\n")).ids().len(), 2);
    assert_eq!(push("[]").json(), json!({"ids": []}));
    assert_eq!(push(r#"{"hello":"world"}"#).ids().len(), 1);
    let before = place.status()["journal"]["last_sequence"].clone();
    assert_eq!(before, 6);

    let refusals = [
        (push("hello"), 400, "not JSON at line 1, column 1: expected value"),
        (push(&event[..event.len() - 1]), 400, "not JSON"),
        (push(&format!("{event}\n{}", &event[..30])), 400, "not JSON at line 2"),
        (push(""), 400, "the body is empty"),
        (push(&" ".repeat(64 * 1024 + 1)), 413, "larger than 65536 bytes"),
        (push(&format!("[{}]", vec!["1"; 10_001].join(","))), 413, "more than 10000 events"),
        (Client::push(address, &[("Content-Encoding", "gzip")], &event), 415, "compressed"),
    ];
    for (answer, status, why) in refusals {
        assert_eq!(answer.status, status, "{}", answer.text());
        assert!(answer.error().contains(why), "{}", answer.text());
    }
    let mut client = Client::connect(address);
    for (method, path, status) in [
        ("GET", "/v1/events", 405),
        ("PUT", "/v1/events", 405),
        ("DELETE", "/v1/events", 405),
        ("GET", "/", 404),
        ("POST", "/v1/events/", 404),
        ("GET", "/metrics", 404),
        ("POST", "/v1/events?x=1", 200),
    ] {
        client.send(format!("{method} {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n[]")).unwrap();
        let answer = client.answer().unwrap();
        assert_eq!(answer.status, status, "{method} {path}");
        assert_eq!(answer.json().get("error").is_some(), status != 200);
        if status != 200 {
            // It closes where it has not read the body.
            client = Client::connect(address);
        }
        assert_eq!(answer.headers.get("allow").map(String::as_str), (status == 405).then_some("POST"));
    }
    assert_eq!(place.status()["journal"]["last_sequence"], before);
    // What Flipt would take for delivered is counted, and told once.
    let found = source(&place);
    assert_eq!((&found["untaken"], &found["refused"]), (&json!(8), &json!(0)), "{found:#}");
    assert!(place.ask(&["status"]).contains(&format!("listens on {address}, 8 pushes not taken")));
    let metrics = get(relay.listens("health"), "/metrics").body;
    assert!(metrics.contains("audit_relay_source_untaken_pushes_total{source=\"push\"} 8\n"), "{metrics}");
    receiver.wait_for(6);
    let log = relay.stop().log;
    let told: Vec<&str> = log.lines().filter(|line| line.contains("are lost: ")).collect();
    assert_eq!(told.len(), 1, "{log}");
    assert!(told[0].contains("\"ERROR\"") && told[0].contains("are lost: not JSON at line 1"), "{}", told[0]);
}

#[test]
fn a_repetition_is_one_event_also_after_a_restart() {
    let receiver = Receiver::start();
    let (place, relay, address) = started(&receiver, "signing: none");
    let (one, many) = (flag_line("a", "1"), format!("[{},{}]", flag_line("b", "2"), flag_line("c", "3")));
    let first = Client::push(address, &[("webhook-id", "msg_1")], &one).ids();
    let second = Client::push(address, &[("Idempotency-Key", "k")], &many).ids();
    assert_eq!(Client::push(address, &[("webhook-id", "msg_1")], &one).ids(), first);
    assert!(relay.stop().status.success());
    let relay = place.run();
    let address = relay.listens("push");
    assert_eq!(Client::push(address, &[("Webhook-Id", "msg_1")], &one).ids(), first);
    assert_eq!(Client::push(address, &[("idempotency-key", "k")], &many).ids(), second);
    // Without a name, or with another, it is another; Flipt's own events can be alike to the byte.
    assert_ne!(Client::push(address, &[("webhook-id", "msg_2")], &one).ids(), first);
    assert_ne!(Client::push(address, &[], &one).ids(), first);
    receiver.wait_for(5);
    assert_eq!(place.status()["journal"]["last_sequence"], 5);
    assert!(relay.stop().status.success());
}

#[test]
fn a_push_tells_changes_as_a_file_does() {
    let receiver = Receiver::start();
    let (_place, relay, address) = started(&receiver, "signing: none");
    let flag = |enabled: bool| {
        flag_line("checkout", "d").replace("\"enabled\":true", &format!("\"enabled\":{enabled}"))
    };
    Client::push(address, &[], flag(false)).ids();
    Client::push(address, &[], flag(true)).ids();
    receiver.wait_for(2);
    let change = &receiver.envelopes()[1]["change"];
    assert_eq!(
        change["differences"],
        json!([{"pointer": "/enabled", "old": false, "new": true}]),
        "{change:#}"
    );
    assert!(relay.stop().status.success());
}

#[test]
fn a_missing_secret_or_a_taken_port_ends_nothing() {
    let receiver = Receiver::start();
    let place = configured(&receiver, "signing: {scheme: flipt, secrets: {file: DIR/secret}}");
    let relay = place.run();
    let address = relay.listens("push");
    let answer = Client::push(address, &[], flag_line("a", "1"));
    assert_eq!((answer.status, answer.headers["retry-after"].as_str()), (503, "1"));
    assert!(answer.error().contains("secret"));
    let stalled = source(&place)["stalled"].as_str().unwrap().to_owned();
    assert!(
        stalled.contains("DIR/secret".replace("DIR", place.directory().to_str().unwrap()).as_str()),
        "{stalled}"
    );
    assert!(relay.stop().status.success());

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap();
    let text = std::fs::read_to_string(place.path("relay.yaml")).unwrap();
    let text =
        text.replace("127.0.0.1:0", &port.to_string()).replace("secrets: {file", "secrets: {env: S} #");
    let text = text.lines().map(|line| match line.split_once("signing:") {
        Some((before, _)) => format!("{before}signing: none}}\n"),
        None => format!("{line}\n"),
    });
    place.write("relay.yaml", text.collect::<String>());
    let relay = place.run();
    relay.wait_for_log("not listening for pushes, trying again");
    let stalled = source(&place)["stalled"].as_str().unwrap().to_owned();
    assert!(stalled.contains(&format!("cannot listen on {port}")), "{stalled}");
    drop(taken);
    assert_eq!(relay.listens("push"), port);
    eventually("it goes on", || source(&place)["stalled"].is_null().then_some(()));
    assert_eq!(Client::push(port, &[], flag_line("a", "1")).ids().len(), 1);
    receiver.wait_for(1);
    assert!(relay.stop().status.success());
}
