use serde_json::Value;

use super::{FILES, act, batch, context, deliveries, fixture, gap, oversized, unparsed};
use crate::config::plan::ConsolePlan;
use crate::destination::console::Console;
use crate::destination::{Delivery, Destination, Outcome, Request, Response};
use crate::event::Timestamp;

fn written(json: bool, deliveries: &[Delivery]) -> String {
    let console = Console::new(ConsolePlan { json }, batch(100));
    let mut rendered = console.render(deliveries, &context(deliveries));
    assert_eq!(rendered.requests.len(), 1);
    let outbound = rendered.requests.remove(0);
    assert_eq!(outbound.members.len(), deliveries.len());
    let Request::Stdout(bytes) = outbound.request else { panic!("{outbound:?}") };
    let text = String::from_utf8(bytes).unwrap();
    assert_eq!(text.lines().count(), deliveries.len());
    text
}

fn line(event: &str) -> String {
    written(false, &deliveries(event))
}

/// `UPDATE_GOLDEN=1` writes the file anew; read the difference before you commit it.
#[test]
fn lines_about_every_captured_event() {
    let mut text = String::new();
    for file in FILES {
        text += &format!("# {file}\n{}", written(false, &deliveries(&fixture(file))));
    }
    let others = [gap(), unparsed(b"{\"type\":\"flag\""), oversized(), act()];
    text += &format!("# records that are no event\n{}", written(false, &others));

    for word in text.split_whitespace() {
        let is_id = word.len() == 36 && word.bytes().filter(|byte| *byte == b'-').count() == 4;
        assert!(!is_id && !word.contains("10.1.2.3") && !word.contains("127.0.0.1"), "{word}");
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/console.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(path).unwrap_or_default();
    for (number, (line, golden)) in text.lines().zip(golden.lines()).enumerate() {
        assert_eq!(line, golden, "line {} of {path}", number + 1);
    }
    assert_eq!(text.lines().count(), golden.lines().count(), "{path}");
}

#[test]
fn untrusted_text_does_no_harm() {
    let event = r#"{"type":"flag","action":"updated","metadata":{"actor":{"name":"\u001b[2JAnn\r\n00:00:00  Bob \u202e"}},"payload":{"key":"a\u0007b","namespace_key":"x\ny"},"timestamp":"2026-11-22T14:14:02Z"}"#;
    assert_eq!(
        line(event),
        "14:14:02  \u{fffd}[2JAnn 00:00:00 Bob \u{fffd} saved a\u{fffd}b in namespace x y · earlier state not known\n"
    );
    let long = format!(r#"{{"type":"flag","action":"updated","payload":{{"key":"{}"}}}}"#, "k".repeat(5000));
    assert!(line(&long).chars().count() < 200);
}

#[test]
fn the_actor_is_the_best_known_name() {
    for (actor, expected) in [
        (r#"{"name":"Ann","email":"ann@example.com"}"#, "Ann"),
        (r#"{"email":"ann@example.com","ip":"10.1.2.3"}"#, "ann@example.com"),
        (r#"{"authentication":"token","ip":"10.1.2.3"}"#, "An API token"),
        (r#"{"authentication":"none","ip":"10.1.2.3"}"#, "Someone"),
    ] {
        let event = format!(
            r#"{{"type":"flag","action":"deleted","metadata":{{"actor":{actor}}},"payload":{{"key":"a"}},"timestamp":"2026-11-22T14:14:02+01:00"}}"#
        );
        let expected = format!("13:14:02  {expected} deleted flag a in production (default)");
        assert_eq!(line(&event), format!("{expected} · earlier state not known\n"));
    }
}

#[test]
fn as_json_each_line_is_an_envelope() {
    let all = [gap(), act()];
    for (line, delivery) in written(true, &all).lines().zip(&all) {
        assert_eq!(serde_json::from_str::<Value>(line).unwrap()["id"], delivery.record.id.to_string());
    }
}

#[test]
fn what_is_written_is_delivered() {
    let console = Console::new(ConsolePlan { json: false }, batch(100));
    assert_eq!(console.limits().max_concurrency, 1);
    let now = Timestamp::from_unix_micros(0);
    assert_eq!(console.classify(&Response::Written, now), Outcome::Delivered);
}
