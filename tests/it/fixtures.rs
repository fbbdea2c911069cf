//! What Flipt really wrote, through a real process to a real receiver.

use std::collections::BTreeMap;
use std::path::Path;

use crate::support::{Received, Receiver, Workplace};

const FIXTURES: &str = "tests/fixtures/flipt";

fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(FIXTURES).join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Relays the content of a captured file with these destination settings.
fn relay(content: &str, destination: &str) -> Vec<Received> {
    let receiver = Receiver::start();
    let place = Workplace::new();
    place.write("audit.log", content);
    place.configure(&format!(
        "
data_dir: DIR/data
sources:
  flipt: {{type: file, path: DIR/audit.log}}
destinations:
  out: {{type: webhook, url: '{}', concurrency: 1, {destination}}}
routes:
  all: {{when: {{record: [event, unparsed, oversized, gap]}}, to: [out]}}
",
        receiver.url("/hook")
    ));
    let relay = place.run();
    let received = receiver.wait_for(content.lines().count());
    assert!(relay.stop().status.success());
    assert_eq!(receiver.received().len(), received.len());
    received
}

/// The requests of Flipt's own webhook sink, as they were captured: headers in lower case, and body.
fn captured_requests() -> Vec<(BTreeMap<String, String>, String)> {
    let text = fixture("v0.2_webhook_requests.txt");
    let requests = text.split("\nPOST ").map(|request| request.trim_start_matches("POST "));
    requests
        .filter(|request| request.starts_with("/hook "))
        .map(|request| {
            let (head, body) = request.split_once("\n\n").unwrap();
            let header = |line: &str| {
                let (name, value) = line.split_once(": [")?;
                Some((name.to_ascii_lowercase(), value.strip_suffix(']')?.to_owned()))
            };
            (head.lines().filter_map(header).collect(), body.trim_end_matches('\n').to_owned())
        })
        .collect()
}

#[test]
fn a_receiver_written_for_flipt_works_unchanged() {
    let captured = captured_requests();
    assert_eq!(captured.len(), 34);
    for name in ["v0.2_logfile_encoding-json.log", "v0.2_logfile_encoding-console_DEFAULT.log"] {
        let received = relay(&fixture(name), "format: flipt, signing: [{scheme: flipt, secrets: [s3cr3t]}]");
        assert_eq!(received.len(), 34);
        for (request, (headers, body)) in received.iter().zip(&captured) {
            assert_eq!(request.method, "POST");
            assert_eq!(String::from_utf8_lossy(&request.body), *body, "{name}");
            for header in ["content-type", "content-length", "x-flipt-webhook-signature"] {
                assert_eq!(
                    request.header(header),
                    headers.get(header).map(String::as_str),
                    "{header} of {name}"
                );
            }
            assert!(request.header("user-agent").unwrap().starts_with("audit-relay/"));
            assert!(request.header("webhook-id").unwrap().starts_with("evt_"));
        }
    }
}

#[test]
fn every_captured_line_of_every_version_and_framing_arrives() {
    for (name, lines) in [
        ("v0.2_logfile_encoding-json.log", 34),
        ("v0.2_logfile_encoding-console_DEFAULT.log", 34),
        ("v0.2_stdout_json.txt", 34),
        ("v0.2_stdout_console.txt", 34),
        ("v0.1_logfile_flipt-v1.21.0.log", 4),
        ("v0.1_logfile_flipt-v1.30.0.log", 4),
        ("v0.1_logfile_flipt-v1.42.1.log", 4),
    ] {
        let received = relay(&fixture(name), "format: envelope");
        assert_eq!(received.len(), lines, "{name}");
        for request in &received {
            let envelope = request.json();
            assert!(envelope["type"].as_str().unwrap().starts_with("flipt."), "{name}: {envelope}");
            assert!(envelope["data"].get("T").is_none() && envelope["data"].get("M").is_none());
            assert_eq!(request.header("webhook-id"), envelope["id"].as_str());
        }
    }
}

#[test]
fn denied_is_told_apart_and_its_namespace_stays_unknown() {
    let denied: String = fixture("v0.2_logfile_encoding-json.log")
        .lines()
        .filter(|line| line.contains("\"status\":\"denied\""))
        .map(|line| format!("{line}\n"))
        .collect();
    let received = relay(&denied, "format: envelope");
    assert!(!received.is_empty());
    for request in received {
        let envelope = request.json();
        assert!(envelope["type"].as_str().unwrap().ends_with("_denied"), "{envelope}");
        assert!(envelope["namespace"].is_null() && envelope["environment"].is_null(), "{envelope}");
    }
}
