//! Planted secrets show nowhere.

mod places;

use crate::support::web::get_with;
use crate::support::{Client, Receiver, Reply, Workplace, flag_line};

/// What every planted secret holds: this word, also where Basic authentication encodes it, or what stands behind
/// `whsec_`.
const SECRETS: [&str; 3] = ["PLANTED", "dXNlcjpQTEFOVEVE", "YSBrZXkgb2YgU3RhbmRhcmQg"];

/// Fails for a line of one of these texts that holds one.
#[track_caller]
fn searched(outputs: &[(String, String)], secrets: &[&str]) {
    for (what, text) in outputs {
        for (number, line) in text.lines().enumerate() {
            let shows = secrets.iter().any(|secret| line.contains(secret));
            assert!(!shows, "{what}, line {}: {line}", number + 1);
        }
    }
}

/// Answers with what it was sent, as careless ones do: first that it failed, then that it refuses.
fn careless() -> Receiver {
    Receiver::scripted(|number, request| {
        let all = format!("{} {}?{} {:?}", request.method, request.path, request.query, request.headers);
        match number {
            0 => Reply::Answer(500, Vec::new(), all),
            1 => Reply::Answer(400, Vec::new(), all),
            _ => Reply::status(200),
        }
    })
}

#[test]
fn no_output_tells_a_secret() {
    let [receiver, relay_hub, slack, datadog, logs, flipt] = std::array::from_fn(|_| careless());
    let collector = careless();
    let place = Workplace::new();
    let url = receiver.url("/in?key=PLANTED-query").replace("http://", "http://user:PLANTED-password@");
    place.write("secret", "PLANTED-signing\n");
    place.write("standard", "whsec_YSBrZXkgb2YgU3RhbmRhcmQgV2ViaG9va3MsIDMyIGJ5");
    place.configure(&format!(
        "
data_dir: DIR/data
log: {{level: trace}}
flipt: {{url: '{flipt_url}', token: PLANTED-flipt}}
admin: {{listen: '127.0.0.1:0', token: PLANTED-admin}}
telemetry: {{endpoint: '{telemetry}', headers: {{authorization: PLANTED-telemetry}}, metric_interval: 1s}}
problems: {{to: slack, after: 1s}}
sources:
  flipt: {{type: file, path: DIR/audit.log}}
  push:
    type: http
    listen: '127.0.0.1:0'
    bearer: PLANTED-push
    signing: [{{scheme: flipt, secrets: [{{file: DIR/secret}}, PLANTED-former]}}]
destinations:
  out:
    type: webhook
    url: {{env: HOOK_URL}}
    headers: {{x-api-key: {{env: API_KEY}}}}
    signing:
      - {{scheme: flipt, secrets: [{{file: DIR/secret}}]}}
      - {{scheme: github, secrets: [{{file: DIR/secret}}]}}
      - {{scheme: standard_webhooks, secrets: [{{file: DIR/standard}}]}}
    deliver_since: beginning
    retry: {{initial_backoff: 1ms, max_backoff: 1ms}}
  proxied: {{type: webhook, url: 'http://receiver.example.com/', bearer: PLANTED-bearer, proxy: 'http://user:PLANTED-proxy@127.0.0.1:1', {quick}}}
  templated:
    type: webhook
    url: {{env: HOOK_URL}}
    format: template
    basic: {{username: ann, password: PLANTED-basic}}
    template: {{body: {{file: DIR/secret}}}}
  refused: {{type: webhook, url: 'http://user:PLANTED-refused@127.0.0.1:1/PLANTED-path?x=PLANTED-x', {quick}}}
  slack: {{type: slack, token: xoxb-PLANTED, channel: '#flag-changes', endpoint: '{slack_url}', group_wait: 10ms, {quick}}}
  slack_webhook: {{type: slack, webhook_url: '{slack_url}services/T1/B1/PLANTED', group_wait: 10ms, {quick}}}
  datadog: {{type: datadog, api_key: PLANTED-api, app_key: PLANTED-app, send_with_current_time: true, endpoint: '{datadog_url}', {quick}}}
  hub: {{type: relay, url: '{hub_url}', bearer: PLANTED-hub, signing: {{scheme: flipt, secrets: PLANTED-hub}}, {quick}}}
  logs: {{type: otlp, endpoint: '{logs_url}', headers: {{authorization: PLANTED-logs}}, {quick}}}
routes:
  all: {{to: [out, proxied, templated, refused, slack, slack_webhook, datadog, hub, logs]}}
shutdown_timeout: 0s
",
        quick = "deliver_since: beginning, retry: {initial_backoff: 1ms, max_backoff: 1ms}",
        flipt_url = flipt.url(""),
        telemetry = collector.url(""),
        slack_url = slack.url("/"),
        datadog_url = datadog.url(""),
        hub_url = relay_hub.url("/v1/events"),
        logs_url = logs.url("/v1/logs"),
    ));
    place.append("audit.log", format!("{}\n{}\n", flag_line("checkout", "a"), flag_line("checkout", "b")));
    let variables = [("HOOK_URL", url.as_str()), ("API_KEY", "PLANTED-header")];
    let relay = place.start(&variables);
    receiver.wait_for(3);
    let asked = [
        ("Slack", &slack),
        ("Datadog", &datadog),
        ("OTLP", &logs),
        ("the hub", &relay_hub),
        ("Flipt", &flipt),
    ];
    for (name, one) in asked {
        one.wait_until(name, |all| !all.is_empty());
    }
    collector.wait_for(3);
    relay.wait_for_log("\"destination\":\"refused\"");

    let mut outputs: Vec<(String, String)> = Vec::new();
    // Who knocks with a secret that is not ours, or with one that is.
    for token in ["Bearer PLANTED-wrong", "Bearer PLANTED-push", "Basic dXNlcjpQTEFOVEVELXdyb25n"] {
        let headers = [("Authorization", token), ("X-Flipt-Webhook-Signature", "PLANTED-signature")];
        let answered = Client::push(relay.listens("push"), &headers, flag_line("checkout", "c"));
        assert_ne!(answered.status, 200);
        outputs.push(("a refused push".to_owned(), answered.text()));
    }
    for token in ["Bearer PLANTED-wrong", "Bearer PLANTED-admin"] {
        for path in ["/", "/?token=PLANTED-query", "/api/v1/status", "/PLANTED"] {
            let page = get_with(relay.listens("admin"), path, &[("Authorization", token)]);
            if path != "/PLANTED" {
                outputs.push((format!("the page at {path}"), page.body));
            }
        }
    }
    for path in ["/livez", "/readyz", "/metrics"] {
        outputs.push((path.to_owned(), get_with(relay.listens("health"), path, &[]).body));
    }
    let mut asked = |arguments: &[&str], may_fail: bool| {
        let mut command = place.command(arguments);
        let output = command.args(["-c", "relay.yaml"]).envs(variables).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(may_fail || output.status.success(), "{arguments:?}: {said}");
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        outputs.push((format!("{arguments:?}"), printed.clone()));
        outputs.push((format!("the errors of {arguments:?}"), said));
        printed
    };
    asked(&["status"], false);
    asked(&["status", "--json"], false);
    asked(&["changes"], false);
    asked(&["changes", "--format", "ndjson"], false);
    asked(&["dead-letters", "list"], false);
    let list: serde_json::Value =
        serde_json::from_str(&asked(&["dead-letters", "list", "--json"], false)).unwrap();
    let letters = list["dead_letters"].as_array().unwrap();
    let rejected = letters.iter().find(|letter| letter["code"] == "rejected").unwrap();
    let id = rejected["id"].as_str().unwrap();
    assert!(asked(&["dead-letters", "show", id], false).contains("[redacted]"));
    asked(&["backup", "copy.db"], false);
    asked(&["pause", "out"], false);
    asked(&["status"], false);
    let inline = "--allow-inline-secrets";
    for destination in
        ["out", "refused", "slack", "slack_webhook", "datadog", "hub", "logs", "proxied", "templated"]
    {
        asked(&["send-test", destination, inline], true);
        asked(&["replay", destination, "--since", "1h"], true);
    }
    asked(&["explain", "audit.log", "--source", "flipt", inline], false);
    asked(&["explain", "audit.log", "--source", "flipt"], true);
    asked(&["doctor", inline], true);
    asked(&["check", "--show-defaults"], true);
    asked(&["check", inline], true);
    let exit = relay.stop();
    outputs.extend([("log".to_owned(), exit.log), ("stdout".to_owned(), exit.stdout)]);

    // In every other form of log.
    for (level, format) in
        [("error", "json"), ("warn", "text"), ("info", "text"), ("debug", "json"), ("trace", "text")]
    {
        place.append("audit.log", format!("{}\n", flag_line("checkout", level)));
        let levels = [("AUDIT_RELAY__LOG__LEVEL", level), ("AUDIT_RELAY__LOG__FORMAT", format)];
        let relay = place.start(&[&variables[..], &levels].concat());
        place.wait_for_standing("templated", &serde_json::json!({"waiting": 0}));
        let exit = relay.stop();
        outputs.extend([(format!("log: {level} as {format}"), exit.log), (level.to_owned(), exit.stdout)]);
    }
    // What goes to others is only what is theirs: a template may hold a token, no other body does.
    for (name, one) in [
        ("slack", &slack),
        ("datadog", &datadog),
        ("hub", &relay_hub),
        ("logs", &logs),
        ("out", &receiver),
        ("the collector", &collector),
        ("flipt", &flipt),
    ] {
        for request in one.received() {
            let body = String::from_utf8_lossy(&request.body).into_owned();
            if body.trim_end() != "PLANTED-signing" {
                outputs.push((format!("a body for {name}"), body));
            }
        }
    }
    for file in ["data/journal.db", "copy.db"] {
        let bytes = std::fs::read(place.path(file)).unwrap();
        outputs.push((file.to_owned(), String::from_utf8_lossy(&bytes).into_owned()));
    }
    searched(&outputs, &SECRETS);
}
