//! `explain` over events that are easily judged wrongly, by the example configuration: each "why not" was
//! written down by hand first.

use std::path::Path;

use serde_json::Value;

use crate::support::{Certificates, Receiver, Reply, Workplace, flag_line};

const FLAG: &str = r#"{"description":"","enabled":ON,"key":"KEY","name":"KEY","namespace_key":"SPACE"}"#;

/// A payload of a flag.
fn flag(key: &str, namespace: &str, enabled: bool) -> String {
    FLAG.replace("ON", &enabled.to_string()).replace("KEY", key).replace("SPACE", namespace)
}

/// A flag with another description.
fn described(key: &str, namespace: &str, enabled: bool) -> String {
    flag(key, namespace, enabled).replace(r#""description":"""#, r#""description":"says more""#)
}

/// An event as Flipt's log sink writes it, at a minute of an hour.
fn event(minute: u32, noun: &str, verb: &str, payload: &str) -> String {
    format!(
        r#"{{"version":"0.2","type":"{noun}","action":"{verb}","status":"success","metadata":{{"actor":{{"authentication":"oidc","ip":"10.1.2.3","email":"ann@example.com","name":"Ann"}}}},"payload":{payload},"timestamp":"2026-01-22T08:{minute:02}:00Z"}}"#
    )
}

fn token(minute: u32, verb: &str) -> String {
    event(
        minute,
        "token",
        verb,
        r#"{"io.flipt.auth.token.name":"ci","io.flipt.auth.token.namespace":"production"}"#,
    )
}

/// What a route does: it takes the event, its `unless` holds, or the first condition that fails and the value
/// that it saw (`?`: not known).
type Expected = [&'static str; 5];

/// The routes of the example, in the order of an [`Expected`].
const ROUTES: [&str; 5] = ["access", "denied", "everything", "live_changes", "payments"];

const TAKES: &str = "takes";

/// No event at all.
fn none(kind: &'static str) -> Expected {
    [kind; 5]
}

/// Name, line, and what each route makes of it.
#[rustfmt::skip]
fn cases() -> Vec<(&'static str, String, Expected)> {
    let success = "statuses: success";
    let behaviour = "kind: behaviour";
    vec![
        ("a flag is turned on in production, seen for the first time", event(0, "flag", "updated", &flag("checkout", "production", true)),
            ["kind: ?", success, TAKES, TAKES, TAKES]),
        ("it is turned off again", event(1, "flag", "updated", &flag("checkout", "production", false)),
            [behaviour, success, TAKES, TAKES, TAKES]),
        ("text alone, of a flag that is off", event(2, "flag", "updated", &described("checkout", "production", false)),
            // Nobody saw it begin: it may have rollouts.
            ["kind: text", success, TAKES, "kind: text", "kind: text"]),
        ("nothing that Flipt shows differs", event(3, "flag", "updated", &described("checkout", "production", false)),
            // Nobody saw it begin: it may have rollouts.
            ["kind: text", success, TAKES, "kind: text", "kind: text"]),
        ("a variant of a flag that is off", event(4, "variant", "created", r#"{"attachment":"{}","description":"","flag_key":"checkout","id":"v-1","key":"on","name":"On","namespace_key":"production"}"#),
            [behaviour, success, TAKES, "live: false", TAKES]),
        ("a rollout makes a flag decide that is off", event(5, "rollout", "created", r#"{"description":"","flag_key":"checkout","id":"o-1","namespace_key":"production","rank":1,"threshold":{"percentage":10,"value":true}}"#),
            [behaviour, success, TAKES, TAKES, TAKES]),
        ("an event that is older than what was seen", event(0, "flag", "updated", &flag("checkout", "production", true)).replace("08:00:00", "07:00:00"),
            ["kind: ?", success, TAKES, TAKES, TAKES]),
        ("a flag that is off, seen for the first time", event(6, "flag", "updated", &flag("search", "production", false)),
            ["kind: ?", success, TAKES, TAKES, "teams: no team"]),
        ("a new flag that is off", event(7, "flag", "created", &flag("new-flow", "production", false)),
            [behaviour, success, TAKES, "live: false", "teams: no team"]),
        ("a flag is deleted that nobody saw", event(8, "flag", "deleted", r#"{"key":"gone","namespace_key":"production"}"#),
            [behaviour, success, TAKES, TAKES, "teams: no team"]),
        ("a flag in staging", event(9, "flag", "updated", &flag("checkout", "staging", true)),
            ["kind: ?", success, TAKES, "environments: staging", TAKES]),
        ("a flag in a namespace that no environment names", event(10, "flag", "updated", &flag("checkout", "default", true)),
            ["kind: ?", success, TAKES, TAKES, TAKES]),
        ("a flag in a namespace that a glob takes", event(11, "flag", "updated", &flag("checkout", "prod-eu", true)),
            ["kind: ?", success, TAKES, TAKES, TAKES]),
        ("a denied attempt tells neither flag nor namespace", event(12, "flag", "updated", "null").replace("success", "denied"),
            [TAKES, TAKES, TAKES, TAKES, "teams: ?"]),
        ("`denied` that is not the status", event(13, "flag", "created", &flag("odd", "production", true).replace("{\"desc", "{\"status\":\"denied\",\"desc")),
            [behaviour, success, TAKES, TAKES, "teams: no team"]),
        ("a token is created", token(14, "created"),
            [TAKES, success, TAKES, "live: no flag or segment", "teams: no team"]),
        ("a token is deleted", token(15, "deleted"),
            [TAKES, success, TAKES, "live: no flag or segment", "teams: no team"]),
        ("a distribution of a rule that nobody saw", event(16, "distribution", "created", r#"{"id":"d-0","rollout":50,"rule_id":"r-0","variant_id":"v-0"}"#),
            [behaviour, success, TAKES, TAKES, "teams: ?"]),
        ("a rule", event(17, "rule", "created", r#"{"distributions":[],"flag_key":"pay-card","id":"r-1","namespace_key":"staging","rank":1,"segment_key":"beta"}"#),
            [behaviour, success, TAKES, "environments: staging", TAKES]),
        ("a distribution of that rule", event(18, "distribution", "created", r#"{"id":"d-1","rollout":50,"rule_id":"r-1","variant_id":"v-9"}"#),
            [behaviour, success, TAKES, "environments: staging", TAKES]),
        ("the order of rules", event(19, "rule", "updated", r#"{"flag_key":"pay-card","namespace_key":"staging","rule_ids":["r-2","r-1"]}"#),
            [behaviour, success, TAKES, "environments: staging", TAKES]),
        ("a new flag for payments", event(20, "flag", "created", &flag("pay-later", "production", true)),
            [behaviour, success, TAKES, TAKES, TAKES]),
        ("text alone, of a flag that is on", event(21, "flag", "updated", &described("pay-later", "production", true)),
            ["kind: text", success, TAKES, "kind: text", "kind: text"]),
        ("a machine that signed in as itself", event(21, "flag", "updated", &flag("pay-card", "staging", true)).replace("oidc", "kubernetes"),
            ["kind: ?", success, TAKES, "environments: staging", "unless"]),
        ("a segment, seen for the first time", event(22, "segment", "updated", r#"{"constraints":[],"description":"","key":"beta","match_type":"ANY_MATCH_TYPE","name":"Beta","namespace_key":"production"}"#),
            ["kind: ?", success, TAKES, TAKES, "teams: no team"]),
        ("a constraint of a segment that nobody owns", event(23, "constraint", "created", r#"{"id":"c-1","namespace_key":"staging","operator":"eq","property":"country","segment_key":"payers","type":"STRING_COMPARISON_TYPE","value":"CA"}"#),
            [behaviour, success, TAKES, "environments: staging", "teams: no team"]),
        ("a namespace is protected", event(24, "namespace", "updated", r#"{"description":"","key":"production","name":"Production","protected":true}"#),
            ["kind: ?", success, TAKES, "live: no flag or segment", "teams: no team"]),
        ("its protection ends", event(25, "namespace", "updated", r#"{"description":"","key":"production","name":"Production","protected":false}"#),
            [TAKES, success, TAKES, "live: no flag or segment", "teams: no team"]),
        ("a namespace is deleted", event(26, "namespace", "deleted", r#"{"key":"prod-eu"}"#),
            [behaviour, success, TAKES, TAKES, "teams: no team"]),
        ("a type that no Flipt emits", event(27, "widget", "created", r#"{"key":"pay"}"#),
            ["kind: ?", success, TAKES, TAKES, "teams: ?"]),
        ("Flipt 1.30", r#"{"version":"0.1","type":"flag","action":"created","metadata":{"actor":{"authentication":"oidc","io.flipt.auth.oidc.email":"ann@example.com","ip":"10.1.2.3"}},"payload":{"description":"","enabled":true,"key":"pay-now","name":"","namespace_key":"staging"},"timestamp":"2026-01-22T08:28:00Z"}"#.to_owned(),
            [behaviour, success, TAKES, "environments: staging", TAKES]),
        ("standard output, for people", format!("2026-01-22T08:29:00+01:00\tAUDIT\t{}", event(29, "flag", "updated", &flag("a", "staging", true))),
            ["kind: ?", success, TAKES, "environments: staging", "teams: no team"]),
        ("standard output, as JSON", event(30, "flag", "updated", &flag("b", "staging", true)).replacen('{', r#"{"L":"INFO","T":"2026-01-22T08:30:00Z","M":"AUDIT","#, 1),
            ["kind: ?", success, TAKES, "environments: staging", "teams: no team"]),
        ("a container's log", format!("2026-01-22T08:31:00.5Z stdout F {}", event(31, "flag", "updated", &flag("c", "staging", true))),
            ["kind: ?", success, TAKES, "environments: staging", "teams: no team"]),
        ("half a line", r#"{"version":"0.2","type":"flag","action":"upd"#.to_owned(), none("record: unparsed")),
        ("no event at all", r#"{"hello":"denied"}"#.to_owned(), none("record: unparsed")),
        ("a line that is too long", event(34, "flag", "updated", &flag("checkout", "production", true)).replace(r#""description":"""#, &format!(r#""description":"{}""#, "x".repeat(5 << 20))),
            none("record: oversized")),
    ]
}

/// The example configuration with secrets that are there, and the certificate that it names.
fn example() -> Workplace {
    let place = Workplace::new();
    let text =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/example.yaml")).unwrap();
    place.configure(&text.replace("/etc/audit-relay", "DIR"));
    let standard = "whsec_YSBrZXkgb2YgU3RhbmRhcmQgV2ViaG9va3MsIDMyIGJ5";
    for (name, secret) in [
        ("flipt", "PLANTED-flipt"),
        ("warehouse", standard),
        ("warehouse-old", "whsec_YW5vdGhlciBrZXkgb2YgU3RhbmRhcmQgV2ViaG9va3M="),
        ("oncall-url", "https://oncall.example.com/PLANTED/path?key=PLANTED"),
        ("slack", "https://hooks.example.com/services/PLANTED"),
        ("datadog", "PLANTED-datadog"),
    ] {
        place.write(&format!("secrets/{name}"), secret);
    }
    place.write("tls/ca.pem", Certificates::new().authority);
    place
}

fn explain(place: &Workplace, arguments: &[&str]) -> String {
    let output = place.command(&["explain"]).args(arguments).args(["-c", "relay.yaml"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn documents(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A route in the words of an [`Expected`].
fn word(explanation: &Value, name: &str) -> String {
    let routes = explanation["routes"].as_array().unwrap();
    let route = routes.iter().find(|route| route["name"] == name).unwrap();
    match (&route["takes"], &route["because"]) {
        (Value::Bool(true), _) => TAKES.to_owned(),
        (_, Value::Null) => "unless".to_owned(),
        (_, because) => {
            let saw = because["saw"].as_str().unwrap_or("?");
            format!("{}: {saw}", because["condition"].as_str().unwrap())
        }
    }
}

#[test]
fn each_route_is_explained_as_it_was_foretold() {
    let place = example();
    let cases = cases();
    assert!(cases.len() > 24);
    place.write("events.log", cases.iter().map(|(_, line, _)| format!("{line}\n")).collect::<String>());
    let explained = documents(&explain(&place, &["events.log", "--json"]));
    assert_eq!(explained.len(), cases.len());
    let mut wrong = String::new();
    for ((what, _, expected), explanation) in cases.iter().zip(&explained) {
        let mut names: Vec<&str> = explanation["routes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|route| route["name"].as_str().unwrap())
            .collect();
        names.sort_unstable();
        assert_eq!(names, ROUTES, "the table knows all routes of the example");
        for (name, expected) in ROUTES.iter().zip(expected) {
            let saw = word(explanation, name);
            if saw != **expected {
                wrong.push_str(&format!("{what}: {name}: foretold {expected:?}, explained {saw:?}\n"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// What every planted secret holds, in one form or another.
const SECRETS: [&str; 4] = ["PLANTED", "YSBrZXkgb2Yg", "YW5vdGhlciBrZXkg", "dXNlcjpQTEFOVEVE"];

#[track_caller]
fn is_clean(text: &str) {
    for line in text.lines() {
        assert!(!SECRETS.iter().any(|secret| line.contains(secret)), "{line}");
    }
}

/// Cases of which all that people read is kept, with what they build on.
const READ: [&str; 15] = [
    "a flag is turned on in production, seen for the first time",
    "it is turned off again",
    "text alone, of a flag that is off",
    "a flag in staging",
    "a flag in a namespace that no environment names",
    "a denied attempt tells neither flag nor namespace",
    "a token is created",
    "a distribution of a rule that nobody saw",
    "a rule",
    "a distribution of that rule",
    "the order of rules",
    "a namespace is deleted",
    "Flipt 1.30",
    "half a line",
    "a line that is too long",
];

/// The text with what differs each time left out: the version, when what has no time of its own was read, and how
/// late a message of today would be.
fn steady(text: &str) -> String {
    let version = format!("audit-relay/{}", env!("CARGO_PKG_VERSION"));
    let mut was_late = false;
    let line = |line: &str| match line.rsplit_once("  ") {
        _ if line.contains(" · told ") => {
            let (before, after) = line.split_once(" · told ").unwrap();
            was_late = true;
            format!("{before} · told LATE{}\n", after.split_once(" late").unwrap().1)
        }
        _ if was_late && line.contains(" bytes; the event") => {
            was_late = false;
            format!("    SOME bytes; {}\n", line.split_once("; ").unwrap().1)
        }
        Some((id, time)) if id.starts_with("  evt_") && !time.starts_with("2026-01-22T08:") => {
            format!("{id}  NOW\n")
        }
        _ => format!("{line}\n"),
    };
    text.replace(&version, "audit-relay/VERSION").lines().map(line).collect()
}

/// `UPDATE_GOLDEN=1` writes the file anew; read the difference before you commit it.
#[test]
fn what_people_read_is_kept_as_it_was_read() {
    let place = example();
    let lines = cases().into_iter().filter(|(what, ..)| READ.contains(what));
    let lines: Vec<String> = lines.map(|(_, line, _)| line + "\n").collect();
    assert_eq!(lines.len(), READ.len());
    place.write("events.log", lines.concat());
    let text = steady(&explain(&place, &["events.log"]));
    is_clean(&text);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/explain.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    for (number, (line, golden)) in text.lines().zip(golden.lines()).enumerate() {
        assert_eq!(line, golden, "line {} of {}", number + 1, path.display());
    }
    assert_eq!(text.lines().count(), golden.lines().count());
}

fn small(place: &Workplace, receiver: &Receiver) {
    place.configure(&format!(
        "
data_dir: DIR/data
environments: {{production: [default]}}
sources:
  flipt: {{type: file, path: DIR/audit.log}}
destinations:
  out: {{type: webhook, url: '{}', headers: {{x-api-key: PLANTED-header}}}}
  new: {{type: file, path: DIR/new.ndjson, deliver_since: now}}
  later: {{type: file, path: DIR/later.ndjson, deliver_since: 2027-01-01T00:00:00Z, observe: true}}
  sealed: {{type: webhook, url: {{file: DIR/nowhere}}}}
routes:
  all: {{to: [out, new, later, sealed]}}
",
        receiver.url("/in")
    ));
}

#[test]
fn the_request_is_the_one_that_goes_out() {
    let receiver = Receiver::scripted(|_, _| Reply::status(503));
    let place = Workplace::new();
    small(&place, &receiver);
    place.append("audit.log", flag_line("checkout", "a") + "\n");
    let relay = place.run();
    let received = receiver.wait_for(1)[0].clone();
    let explained = documents(&explain(&place, &["--last", "3", "--json"]));
    assert_eq!(explained.len(), 1);
    let id = received.header("webhook-id").unwrap();
    assert_eq!((&explained[0]["id"], &explained[0]["sequence"]), (&id.into(), &1.into()));
    let destination = |name: &str| {
        let all = explained[0]["destinations"].as_array().unwrap();
        all.iter().find(|destination| destination["name"] == name).unwrap().clone()
    };
    let request = destination("out")["requests"][0].clone();
    assert_eq!(request["body"]["text"].as_str().unwrap().as_bytes(), received.body);
    assert_eq!(request["size"]["body_bytes"], received.body.len());
    assert_eq!(request["to"], format!("POST {}…", receiver.url("/")));
    for header in request["headers"].as_array().unwrap() {
        let (name, value) = (header[0].as_str().unwrap(), header[1].as_str().unwrap());
        match name {
            "x-api-key" => assert_eq!(value, "[secret]"),
            name => assert_eq!(received.header(name), Some(value), "{name}"),
        }
    }
    assert!(destination("sealed")["cannot_work"].as_str().unwrap().contains("nowhere"));
    assert_eq!(destination("later")["is_reached"], false);
    assert!(destination("later")["notes"][0].as_str().unwrap().contains("2027-01-01"));
    // It happened before the journal first saw the destination.
    assert_eq!(destination("new")["is_reached"], false);
    let running = explain(&place, &["--id", id, "--json"]);
    assert_eq!(running, explain(&place, &["--json"]));
    assert!(relay.stop().status.success());
    assert_eq!(explain(&place, &["--id", id, "--json"]), running);
    is_clean(&running);
    assert!(
        !place.path("new.ndjson").exists() && receiver.received().iter().all(|request| request.status == 503)
    );
}

#[test]
fn what_a_template_hides_is_not_shown() {
    let place = Workplace::new();
    place.write("token", "PLANTED-token-0123456789");
    place.configure(
        "
data_dir: DIR/data
sources:
  flipt: {type: file, path: DIR/audit.log}
destinations:
  pager:
    type: webhook
    url: 'https://user:PLANTED@pager.example.com:8443/'
    format: template
    signing: [{scheme: github, secrets: [{file: DIR/token}]}]
    bearer: {file: DIR/token}
    basic: {username: user, password: PLANTED}
    template:
      body: '{\"routing_key\": \"PLANTED-token-0123456789\", \"other\": \"R0PLANTED1234567890\", \"what\": \"{{ type }}\"}'
      headers: {x-key: 'PLANTED {{ type }}'}
routes:
  all: {to: [pager]}
"
        .replace("    bearer: {file: DIR/token}\n", "")
        .as_str(),
    );
    place.write("events.log", flag_line("checkout", "a"));
    let text = explain(&place, &["events.log"]);
    is_clean(&text);
    for part in [
        "POST https://pager.example.com:8443/\n",
        "x-hub-signature-256: [signature]",
        "authorization: [secret]",
        "x-key: [secret]",
        r#"{"routing_key": "[secret]", "other": "[secret]", "what": "flipt.flag.updated"}"#,
    ] {
        assert!(text.contains(part), "no {part} in {text}");
    }
}

#[test]
fn a_file_needs_no_journal_and_leaves_nothing_behind() {
    let place = example();
    let event = flag_line("checkout", "a");
    let pretty = serde_json::to_string_pretty(&serde_json::from_str::<Value>(&event).unwrap()).unwrap();
    place.write("pretty.json", pretty + "\n");
    place.write("none.log", "\n2026-01-22T08:32:19+01:00\tINFO\tstarted\n");
    assert_eq!(documents(&explain(&place, &["pretty.json", "--json"])).len(), 1);
    for (arguments, code, why) in [
        (&["none.log"][..], 1, "holds no event"),
        (&["nowhere.log"], 1, "nowhere.log"),
        (&["pretty.json", "--source", "flip"], 2, "there is no source `flip`"),
        (&["pretty.json", "--last", "2"], 2, "cannot be used with"),
        (&["--id", "evt_x"], 2, "evt_"),
        (&["--last", "2"], 1, "no relay ever ran"),
    ] {
        let output = place.command(&["explain"]).args(arguments).args(["-c", "relay.yaml"]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(why), "{arguments:?}: {said}");
    }
    let mut command = place.command(&["explain", "-", "--json", "-c", "relay.yaml"]);
    let mut child =
        command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), event.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(documents(&String::from_utf8(output.stdout).unwrap()).len(), 1);
    let mut left: Vec<_> =
        std::fs::read_dir(place.directory()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["none.log", "pretty.json", "relay.yaml", "secrets", "tls"]);
}
