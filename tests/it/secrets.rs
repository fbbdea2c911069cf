//! Planted secrets show nowhere.

use crate::support::{Receiver, Reply, Workplace, flag_line};

/// What every planted secret holds: this word, also where Basic authentication encodes it, or what stands behind
/// `whsec_`.
const SECRETS: [&str; 3] = ["PLANTED", "dXNlcjpQTEFOVEVE", "YSBrZXkgb2YgU3RhbmRhcmQg"];

#[test]
fn no_output_tells_a_secret() {
    // The receiver answers with what it was sent, as careless ones do.
    let receiver = Receiver::scripted(|number, request| match number {
        0 => Reply::Answer(500, Vec::new(), format!("{:?}", request.headers)),
        1 => Reply::Answer(400, Vec::new(), format!("{:?}", request.headers)),
        _ => Reply::status(200),
    });
    let place = Workplace::new();
    let url = receiver.url("/in?key=PLANTED-query").replace("http://", "http://user:PLANTED-password@");
    place.write("secret", "PLANTED-signing\n");
    place.write("standard", "whsec_YSBrZXkgb2YgU3RhbmRhcmQgV2ViaG9va3MsIDMyIGJ5");
    place.configure(
        "
data_dir: DIR/data
log: {level: trace}
sources:
  flipt: {type: file, path: DIR/audit.log}
destinations:
  out:
    type: webhook
    url: {env: HOOK_URL}
    headers: {x-api-key: {env: API_KEY}}
    signing:
      - {scheme: flipt, secrets: [{file: DIR/secret}]}
      - {scheme: github, secrets: [{file: DIR/secret}]}
      - {scheme: standard_webhooks, secrets: [{file: DIR/standard}]}
    retry: {initial_backoff: 1ms, max_backoff: 1ms}
  proxied: {type: webhook, url: 'http://receiver.example.com/', bearer: PLANTED-bearer, proxy: 'http://user:PLANTED-proxy@127.0.0.1:1', retry: {initial_backoff: 1ms, max_backoff: 1ms}}
  templated:
    type: webhook
    url: {env: HOOK_URL}
    format: template
    basic: {username: ann, password: PLANTED-basic}
    template: {body: {file: DIR/secret}}
  refused: {type: webhook, url: 'http://user:PLANTED-refused@127.0.0.1:1/PLANTED-path?x=PLANTED-x', retry: {initial_backoff: 1ms, max_backoff: 1ms}}
routes:
  all: {to: [out, proxied, templated, refused]}
shutdown_timeout: 0s
"
    );
    place.append("audit.log", format!("{}\n{}\n", flag_line("checkout", "a"), flag_line("checkout", "b")));
    let relay = place.start(&[("HOOK_URL", url.as_str()), ("API_KEY", "PLANTED-header")]);
    receiver.wait_for(3);
    relay.wait_for_log("\"destination\":\"refused\"");
    let mut outputs = Vec::new();
    let mut asked = |what: &'static str, arguments: &[&str]| {
        let output = place.command(arguments).args(["-c", "relay.yaml"]).output().unwrap();
        assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
        outputs.push((what, String::from_utf8_lossy(&output.stdout).into_owned()));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    asked("status", &["status"]);
    asked("status as JSON", &["status", "--json"]);
    asked("dead letters", &["dead-letters", "list"]);
    let list = asked("dead letters as JSON", &["dead-letters", "list", "--json"]);
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    let letters = list["dead_letters"].as_array().unwrap();
    let rejected = letters.iter().find(|letter| letter["code"] == "rejected").unwrap();
    let id = rejected["id"].as_str().unwrap();
    assert!(asked("a dead letter", &["dead-letters", "show", id]).contains("[redacted]"));
    asked("backup", &["backup", "copy.db"]);
    asked("pause", &["pause", "out"]);
    asked("status of a paused destination", &["status"]);
    let exit = relay.stop();
    outputs.extend([("log", exit.log), ("stdout", exit.stdout)]);
    for arguments in [
        &["check", "-c", "relay.yaml"][..],
        &["check", "-c", "relay.yaml", "--show-defaults"],
        &["check", "-c", "relay.yaml", "--allow-inline-secrets"],
    ] {
        let output =
            place.command(arguments).env("HOOK_URL", &url).env("API_KEY", "PLANTED-header").output().unwrap();
        outputs.push(("check", String::from_utf8_lossy(&output.stdout).into_owned()));
        outputs.push(("check's errors", String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    for (what, text) in outputs {
        for (number, line) in text.lines().enumerate() {
            let shows = SECRETS.iter().any(|secret| line.contains(secret));
            assert!(!shows, "{what}, line {}: {line}", number + 1);
        }
    }
    for file in ["data/journal.db", "copy.db"] {
        let bytes = std::fs::read(place.path(file)).unwrap();
        for secret in SECRETS {
            let holds = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!holds, "{file} holds a secret");
        }
    }
}
