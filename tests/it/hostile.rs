//! Lines that are made to hurt: as large as may be, and nested as deep as fits.

use serde_json::json;

use crate::support::{FakeDatadog, FakeSlack, Receiver, Workplace, flag_line, memory_kib};

/// As much as the limit of a container that nobody gave a second thought. What is built for debugging takes more, and
/// hides none of what would take a multiple.
const MEMORY_KIB: u64 = if cfg!(debug_assertions) { 96 << 10 } else { 64 << 10 };
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

/// Lines of that length.
fn bombs() -> Vec<String> {
    vec![
        nested("[", "", "]"),
        nested(r#"{"a":"#, "1", "}"),
        nested(r#"[{"":"#, "null", "}]"),
        nested("[[[", &format!("\"{}\"", "\\u0000".repeat(100_000)), "]]]"),
        // Never closed.
        nested("[", "", ""),
        nested("[", "", "]").replace("]}", "}"),
        // Wide, not deep.
        nested("", &format!("[{}0]", "0,".repeat(1_900_000)), "").replace("deep", "wide"),
    ]
}

#[test]
fn a_line_of_4_mib_is_carried_in_64_mib_however_it_is_nested() {
    let (receiver, slack, datadog) = (Receiver::start(), FakeSlack::start(), FakeDatadog::start());
    let url = receiver.url("/");
    let quick = "deliver_since: beginning, retry: {initial_backoff: 1ms, max_backoff: 10ms}";
    let key = crate::support::datadog::API_KEY;
    let destinations = [
        format!("{{type: webhook, url: '{url}', {quick}}}"),
        format!("{{type: webhook, url: '{url}', format: flipt, {quick}}}"),
        format!(
            "{{type: webhook, url: '{url}', format: template, template: '{{{{ data | tojson }}}}', {quick}}}"
        ),
        format!("{{type: slack, webhook_url: '{}', group_wait: 10ms, {quick}}}", slack.webhook_url()),
        format!(
            "{{type: datadog, api_key: {key}, endpoint: '{}', send_with_current_time: true, {quick}}}",
            datadog.endpoint()
        ),
        format!("{{type: otlp, endpoint: '{url}v1/logs', {quick}}}"),
        "{type: file, path: DIR/archive.ndjson}".to_owned(),
        "{type: console}".to_owned(),
    ];
    for (turn, destination) in destinations.iter().enumerate() {
        let place = Workplace::new();
        place.configure(&format!(
            "
data_dir: DIR/data
sources: {{flipt: {{type: file, path: DIR/audit.log}}}}
destinations: {{out: {destination}}}
routes: {{all: {{to: [out]}}}}
"
        ));
        let relay = place.run();
        // What is around them is told as ever, and what is no event is kept as it came.
        for (number, bomb) in (1_u64..).zip(bombs().iter().skip(turn % 2).step_by(2)) {
            assert!(bomb.len() <= LONGEST, "{}", bomb.len());
            place.append("audit.log", format!("{bomb}\n{}\n", flag_line("checkout", "a")));
            place.wait_for_standing("out", &json!({"accepted": 2 * number, "waiting": 0}));
        }
        let peak = memory_kib(relay.id(), "VmHWM");
        assert!(peak < MEMORY_KIB, "{peak} KiB for {destination}");
        assert!(relay.stop().status.success());
    }
}
