//! Lines that are made to hurt: as large as may be, and nested as deep as fits.

use serde_json::json;

use crate::support::{FakeDatadog, FakeSlack, Receiver, Workplace, eventually, flag_line, memory_kib};

/// As much as the limit of a container that nobody gave a second thought.
const MEMORY_KIB: u64 = 64 << 10;
/// `max_event`, unless it says otherwise.
const LONGEST: usize = 4 << 20;

/// An event whose payload is `open` and `close` over and over, as long as a line may be.
fn nested(open: &str, inner: &str, close: &str) -> String {
    let (before, after) = (
        r#"{"version":"0.2","type":"flag","action":"updated","metadata":{"actor":{"authentication":"none","ip":"10.0.0.1"}},"payload":{"key":"deep","namespace_key":"default","attachment":"#,
        r#"},"timestamp":"2026-11-22T07:40:10Z"}"#,
    );
    let levels = (LONGEST - before.len() - inner.len() - after.len()) / (open.len() + close.len()).max(1);
    [before, &open.repeat(levels), inner, &close.repeat(levels), after].concat()
}

#[test]
fn a_line_of_4_mib_is_carried_in_64_mib_however_it_is_nested() {
    let (receiver, slack, datadog) = (Receiver::start(), FakeSlack::start(), FakeDatadog::start());
    let place = Workplace::new();
    let quick = "deliver_since: beginning, retry: {initial_backoff: 1ms, max_backoff: 10ms}";
    place.configure(&format!(
        "
data_dir: DIR/data
sources: {{flipt: {{type: file, path: DIR/audit.log}}}}
destinations:
  cloudevents: {{type: webhook, url: '{url}', {quick}}}
  flipt: {{type: webhook, url: '{url}', format: flipt, {quick}}}
  template: {{type: webhook, url: '{url}', format: template, template: '{{{{ data | tojson }}}}', {quick}}}
  slack: {{type: slack, webhook_url: '{slack_url}', group_wait: 10ms, {quick}}}
  datadog: {{type: datadog, api_key: {key}, endpoint: '{datadog_url}', send_with_current_time: true, {quick}}}
  logs: {{type: otlp, endpoint: '{url}v1/logs', {quick}}}
  archive: {{type: file, path: DIR/archive.ndjson}}
  shown: {{type: console}}
routes:
  all: {{to: [cloudevents, flipt, template, slack, datadog, logs, archive, shown]}}
",
        url = receiver.url("/"),
        slack_url = slack.webhook_url(),
        datadog_url = datadog.endpoint(),
        key = crate::support::datadog::API_KEY,
    ));
    let relay = place.run();
    let bombs = [
        nested("[", "", "]"),
        nested(r#"{"a":"#, "1", "}"),
        nested(r#"[{"":"#, "null", "}]"),
        nested("[[[", &format!("\"{}\"", "\\u0000".repeat(100_000)), "]]]"),
        // Never closed.
        nested("[", "", ""),
        nested("[", "", "]").replace("]}", "}"),
        // Wide, not deep.
        nested("", &format!("[{}0]", "0,".repeat(1_900_000)), "").replace("deep", "wide"),
    ];
    for bomb in &bombs {
        assert!(bomb.len() <= LONGEST, "{}", bomb.len());
        place.append("audit.log", format!("{bomb}\n{}\n", flag_line("checkout", "a")));
    }
    let total = 2 * bombs.len();
    for name in ["cloudevents", "flipt", "template", "slack", "datadog", "logs", "archive", "shown"] {
        eventually(&format!("{name} is done"), || {
            let standing = place.destination(name);
            let number = |key: &str| standing[key].as_u64().unwrap();
            (number("accepted") == total as u64 && number("waiting") == 0).then_some(())
        });
    }
    let peak = memory_kib(relay.id(), "VmHWM");
    assert!(peak < MEMORY_KIB, "{peak} KiB");
    // What is around them is told as ever, and what is no event is kept as it came.
    let archive = std::fs::read_to_string(place.path("archive.ndjson")).unwrap();
    assert_eq!(archive.lines().count(), total);
    assert!(archive.matches("\"checkout\"").count() >= bombs.len());
    place.wait_for_standing("archive", &json!({"delivered": total, "dead": 0}));
    assert!(relay.stop().status.success());
}
