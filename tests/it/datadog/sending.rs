//! What a receiver in Datadog's place gets by `send-test`, and what its answers do.

use serde_json::json;

use crate::support::{Receiver, Reply, Workplace};

const API_KEY: &str = "0123456789abcdef0123456789abcdef";

fn place(receiver: &Receiver, keys: &str) -> Workplace {
    let place = Workplace::new();
    place.write("api-key", API_KEY);
    place.write("app-key", "fedcba9876543210fedcba9876543210");
    place.configure(&format!(
        "
data_dir: DIR/data
environments: {{production: ['*-test']}}
sources:
  flipt: {{type: file, path: DIR/audit.log}}
destinations:
  datadog: {{type: datadog, endpoint: '{}', api_key: {{file: DIR/api-key}}, services: [web-store], {keys}}}
routes:
  all: {{to: [datadog]}}
",
        receiver.url("").trim_end_matches('/')
    ));
    place
}

fn send_test(place: &Workplace) -> (bool, String) {
    let output = place.command(&["send-test", "datadog", "-c", "relay.yaml"]).output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    assert!(!told.contains(API_KEY), "{told}");
    (output.status.success(), told)
}

#[test]
fn both_versions_go_to_their_own_path_with_their_keys() {
    let receiver = Receiver::start();
    let (arrived, told) =
        send_test(&place(&receiver, "app_key: {file: DIR/app-key}, env: {production: prod}"));
    assert!(arrived, "{told}");
    let (arrived, told) = send_test(&place(&receiver, "api: v1"));
    assert!(arrived, "{told}");
    let [two, one] = &receiver.received()[..] else { panic!("{told}") };
    assert_eq!((two.method.as_str(), two.path.as_str(), two.query.as_str()), ("POST", "/api/v2/events", ""));
    assert_eq!(two.header("dd-api-key"), Some(API_KEY));
    assert_eq!(two.header("dd-application-key"), Some("fedcba9876543210fedcba9876543210"));
    assert_eq!(two.header("content-type"), Some("application/json"));
    assert!(two.header("user-agent").unwrap().starts_with("audit-relay/"));
    let event = &two.json()["data"]["attributes"];
    assert_eq!(
        event["attributes"]["changed_resource"],
        json!({"type": "feature_flag", "name": "audit-relay-test"})
    );
    assert_eq!(event["title"], "A test of audit-relay: nothing was changed");
    let tags = json!(["env:prod", "source:flipt", "test:true", "actor_kind:unknown", "service:web-store"]);
    assert_eq!(event["tags"], tags);
    assert_eq!(one.json()["title"], event["title"]);
    assert_eq!((one.path.as_str(), one.header("dd-application-key")), ("/api/v1/events", None));
    assert!(
        one.json()["date_happened"].is_i64() && one.json()["text"].as_str().unwrap().starts_with("%%% \n")
    );
}

#[test]
fn what_datadog_says_is_told_in_its_words_and_without_keys() {
    let receiver = Receiver::scripted(|number, _| match number {
        0 => Reply::Answer(400, vec![], r#"{"errors":["Event too far in the past"]}"#.to_owned()),
        1 => Reply::Answer(403, vec![], format!(r#"{{"errors":["key {API_KEY} is unknown"]}}"#)),
        _ => Reply::Answer(
            429,
            vec![("x-ratelimit-reset", "43".to_owned())],
            r#"{"errors":["Too many requests"]}"#.to_owned(),
        ),
    });
    let place = place(&receiver, "");
    for meaning in [
        "rejected: the receiver will not take this event: Datadog answered 400: Event too far in the past (rejected)",
        "Datadog answered 403: key [redacted] is unknown; `api_key` is wrong",
        "Datadog answered 429: Too many requests (http_429); a relay would try again not before 43s",
    ] {
        let (arrived, told) = send_test(&place);
        assert!(!arrived && told.contains(meaning), "{told}");
    }
}
