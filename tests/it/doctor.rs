//! What keeps events from coming, told by `doctor`, by the log and by `status`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::support::{FakeFlipt, Received, Reply, Workplace, eventually, flag_line};

/// `/meta/info` and `/meta/config` of a Flipt 1.61.1 with its log sink on.
fn meta(path: &str, tracing: bool) -> Option<Value> {
    match path {
        "/meta/info" => Some(json!({"version": "v1.61.1", "authentication": {"required": true},
            "storage": {"type": "database"}})),
        "/meta/config" => Some(json!({"version": "1.0",
            "audit": {"sinks": {"log": {"enabled": true, "file": "/var/log/flipt/audit.log"},
                "webhook": {"enabled": false}}, "buffer": {"capacity": 2, "flushPeriod": 120_000_000_000_u64},
                "events": ["*:*"]},
            "authentication": {"required": true}, "tracing": {"enabled": tracing, "samplingRatio": 1}})),
        _ => None,
    }
}

fn told(value: &Value) -> Reply {
    Reply::Answer(200, vec![("content-type", "application/json".to_owned())], value.to_string())
}

fn has_token(request: &Received) -> bool {
    request.header("authorization") == Some("Bearer PLANTED-token")
}

/// A Flipt whose tracing can be switched.
fn flipt(tracing: Arc<AtomicBool>) -> FakeFlipt {
    FakeFlipt::with(json!({"namespaces": []}), move |_, request| {
        let value = meta(&request.path, tracing.load(Ordering::SeqCst))?;
        has_token(request).then(|| told(&value))
    })
}

fn place(flipt: &str) -> Workplace {
    let place = Workplace::new();
    place.configure(&format!(
        "
data_dir: DIR/data
health: {{listen: '127.0.0.1:0'}}
admin: {{listen: '127.0.0.1:0'}}
sources:
  flipt: {{type: file, path: DIR/audit.log}}
destinations:
  screen: {{type: console}}
routes:
  all: {{to: [screen]}}
{flipt}
"
    ));
    place.append("audit.log", flag_line("elsewhere", "a") + "\n");
    place
}

/// What `doctor` prints and how it ends.
fn doctor(place: &Workplace, arguments: &[&str], variables: &[(&str, &str)]) -> (i32, String, String) {
    let mut command = place.command(&["doctor", "-c", "relay.yaml"]);
    let output = command.args(arguments).envs(variables.iter().copied()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    assert!(!stdout.contains("PLANTED") && !stderr.contains("PLANTED"), "{stdout}{stderr}");
    (output.status.code().unwrap(), stdout, stderr)
}

#[test]
fn it_tells_what_is_wrong_and_what_is_not() {
    let tracing = Arc::new(AtomicBool::new(false));
    let flipt = flipt(Arc::clone(&tracing));
    let place = place(&flipt.config());
    let (code, said, _) = doctor(&place, &[], &[]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("for /meta/info and /meta/config\n"), "{said}");
    assert!(said.contains("SEVERE   Flipt 1.61.1 tells of no change"), "{said}");
    assert!(said.contains("fix: FLIPT_TRACING_ENABLED=true"), "{said}");
    let (code, said, _) = doctor(&place, &["--json"], &[]);
    let json: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &json["version"], &json["complete"]), (1, &json!("1.61.1"), &json!(true)));
    assert_eq!(json["findings"][0]["code"], "flipt_1_61_1_without_tracing");
    assert_eq!(json["findings"][0]["severe"], true);
    tracing.store(true, Ordering::SeqCst);
    let (code, said, _) = doctor(&place, &[], &[]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("nothing found wrong"), "{said}");
}

#[test]
fn whom_to_ask_and_with_which_token_may_be_said_by_hand() {
    let flipt = flipt(Arc::new(AtomicBool::new(true)));
    let place = place("");
    let (code, _, said) = doctor(&place, &[], &[]);
    assert_eq!(code, 2);
    assert!(said.contains("flipt: {url: http://127.0.0.1:8080}") && said.contains("--url"), "{said}");
    let url = flipt.url("/");
    let (code, said, _) = doctor(&place, &["--url", &url], &[]);
    assert_eq!(code, 1);
    assert!(said.contains("answers 401 to /meta/info") && said.contains("flipt: {token:"), "{said}");
    place.write("token", "PLANTED-token\n");
    assert_eq!(doctor(&place, &["--url", &url, "--token-file", "token"], &[]).0, 0);
    let variable = [("AUDIT_RELAY_FLIPT_TOKEN", "PLANTED-token")];
    assert_eq!(doctor(&place, &["--url", &url], &variable).0, 0);
    assert_eq!(doctor(&place, &["--url", "flipt:8080"], &[]).0, 2);
    assert_eq!(doctor(&place, &["--url", &url, "--token-file", "none"], &[]).0, 2);
}

#[test]
fn what_cannot_be_asked_is_told_with_a_remedy() {
    // A Flipt whose configuration is not for us, one that is no Flipt, one that is not there.
    let half = FakeFlipt::with(json!({}), |_, request| match request.path.as_str() {
        "/meta/info" => Some(told(&meta("/meta/info", false).unwrap())),
        _ => Some(Reply::status(403)),
    });
    let other = FakeFlipt::with(json!({}), |_, _| Some(Reply::Answer(200, Vec::new(), "<html>".to_owned())));
    for (url, what) in [
        (half.url("/"), "answers 403 to /meta/config"),
        (half.url("/"), "unless tracing is on"),
        (other.url("/"), "does not answer to /meta/info as Flipt v1 does"),
        ("http://127.0.0.1:9/".to_owned(), "cannot be reached"),
    ] {
        let (code, said, _) =
            doctor(&place(&format!("flipt: {{url: '{url}', token: PLANTED-token}}")), &[], &[]);
        assert_eq!(code, 1, "{said}");
        assert!(said.contains(what) && said.contains("fix: "), "{what}: {said}");
    }
}

#[test]
fn a_relay_tells_it_once_in_its_log_and_in_its_status() {
    let flipt = flipt(Arc::new(AtomicBool::new(false)));
    let place = place(&flipt.config());
    let relay = place.run();
    relay.wait_for_log("flipt_1_61_1_without_tracing");
    let status = eventually("the finding in the status", || {
        let status = place.status();
        (!status["findings"].as_array().unwrap().is_empty()).then_some(status)
    });
    assert_eq!(status["findings"][0]["code"], "flipt_1_61_1_without_tracing");
    assert!(status["verdict"].as_str().unwrap().starts_with("Flipt 1.61.1 tells of no change"), "{status:#}");
    let text = place.ask(&["status"]);
    assert!(text.contains("SEVERE   Flipt 1.61.1") && text.contains("FLIPT_TRACING_ENABLED=true"), "{text}");
    let log = relay.stop().log;
    assert!(!log.contains("PLANTED"), "{log}");
    let told: Vec<&str> = log.lines().filter(|line| line.contains("flipt_1_61_1_without_tracing")).collect();
    assert_eq!(told.len(), 1, "{log}");
    assert!(told[0].contains("\"ERROR\""), "{log}");
}

#[test]
fn what_an_edit_cures_is_not_told_any_more() {
    let flipt = flipt(Arc::new(AtomicBool::new(true)));
    let place = place(&flipt.config());
    let right = std::fs::read_to_string(place.path("relay.yaml")).unwrap();
    place.configure(&right.replace("audit.log", "elsewhere.log"));
    let relay = place.run();
    let codes = || -> Vec<String> {
        let status = place.status();
        let findings = status["findings"].as_array().unwrap();
        findings.iter().map(|finding| finding["code"].as_str().unwrap().to_owned()).collect()
    };
    let elsewhere = || codes().iter().any(|code| code == "flipt_log_file_elsewhere");
    eventually("the finding in the status", || elsewhere().then_some(()));
    place.configure(&right);
    relay.signal("HUP");
    eventually("it is over", || (!elsewhere()).then_some(()));
}

#[test]
fn a_flipt_that_is_not_up_yet_is_asked_again_quietly() {
    let up = Arc::new(AtomicBool::new(false));
    let is_up = Arc::clone(&up);
    let flipt = FakeFlipt::with(json!({}), move |_, request| match is_up.load(Ordering::SeqCst) {
        true => Some(told(&meta(&request.path, false).unwrap_or(Value::Null))),
        false => Some(Reply::status(503)),
    });
    let place = place(&flipt.config());
    let relay = place.run();
    flipt.wait_until("the doctor asks", |all| all.iter().any(|request| request.path == "/meta/info"));
    relay.wait_for_stdout("elsewhere");
    up.store(true, Ordering::SeqCst);
    relay.wait_for_log("flipt_1_61_1_without_tracing");
    let log = relay.stop().log;
    assert!(!log.contains("flipt_unreachable"), "{log}");
}
