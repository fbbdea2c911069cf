//! Are the fakes true? The genuine clients of Slack and Datadog speak to them.
//!
//! `.ci/run judges` runs this; `AUDIT_RELAY_JUDGES` names a Python that has these clients.

use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::support::datadog::{API_KEY, APP_KEY, Mood as Weather};
use crate::support::slack::{CHANNEL, Mood, TOKEN};
use crate::support::{FakeDatadog, FakeSlack};

/// Has the client act a scenario of `.ci/judges/clients.py`, and be content.
#[track_caller]
fn act(scenario: &str, slack: &FakeSlack, datadog: &FakeDatadog) {
    let python = std::env::var_os("AUDIT_RELAY_JUDGES").expect("AUDIT_RELAY_JUDGES names a Python");
    let places = json!({"webhook": slack.webhook_url(), "api": slack.api_url(), "token": TOKEN,
        "channel": CHANNEL, "datadog": datadog.endpoint(), "api_key": API_KEY, "app_key": APP_KEY});
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/.ci/judges/clients.py");
    let output = Command::new(python).args([script, scenario, &places.to_string()]).output().unwrap();
    assert!(output.status.success(), "{scenario}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
#[ignore = "needs others' libraries: .ci/run judges"]
fn fakes_are_true() {
    let datadog = FakeDatadog::start();
    for (scenario, mood, messages) in [
        ("slack_well", Mood::Well, 2),
        ("slack_limited", Mood::Well, 3),
        ("slack_archived", Mood::Archived, 0),
        ("slack_revoked", Mood::Revoked, 0),
        ("slack_refused", Mood::Well, 0),
        ("slack_storm", Mood::Storm, 0),
    ] {
        let slack = FakeSlack::start();
        slack.set(mood);
        act(scenario, &slack, &datadog);
        assert_eq!(slack.messages().len(), messages, "{scenario}");
        println!("slack_sdk is content: {scenario}");
    }
    let slack = FakeSlack::start();
    for (scenario, mood, events) in [
        ("datadog_well", Weather::Well, 2),
        ("datadog_keys", Weather::Well, 0),
        ("datadog_invalid", Weather::Well, 0),
        ("datadog_limited", Weather::Well, 6),
        ("datadog_storm", Weather::Storm(500), 0),
    ] {
        let datadog = FakeDatadog::start();
        datadog.set(mood);
        datadog.set_wants_app_key(scenario == "datadog_keys");
        if scenario == "datadog_limited" {
            datadog.set_limit(2, Duration::from_secs(2));
        }
        act(scenario, &slack, &datadog);
        assert_eq!(datadog.taken().len(), events, "{scenario}");
        println!("datadog-api-client is content: {scenario}");
    }
}
