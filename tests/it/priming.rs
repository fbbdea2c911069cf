//! What Flipt's own API tells at start.

use std::time::Duration;

use audit_relay::event::Timestamp;
use serde_json::{Value, json};

use crate::support::{FakeFlipt, Received, Receiver, Relay, Reply, Workplace, flag_line, line_with};

const DONE: &str = "Flipt has told what there is";

/// Two namespaces; the lists of the first go over several pages.
fn truth() -> Value {
    let variant = |id: &str, key: &str| json!({"id": id, "flagKey": "checkout", "key": key, "name": "", "attachment": ""});
    let rule = |id: &str, rank: u32| {
        json!({"id": id, "flagKey": "checkout", "segmentKey": "beta", "segmentKeys": [], "rank": rank,
            "segmentOperator": "OR_SEGMENT_OPERATOR",
            "distributions": [{"id": format!("d-{id}"), "ruleId": id, "variantId": "v1", "rollout": 100}]})
    };
    let flag =
        |key: &str| json!({"key": key, "name": key, "description": "", "enabled": true, "variants": []});
    json!({"namespaces": [
        {"key": "default", "name": "Default", "description": "", "protected": true,
         "segments": [{"key": "beta", "name": "Beta", "matchType": "ANY_MATCH_TYPE", "constraints": [
             {"id": "c1", "type": "STRING_COMPARISON_TYPE", "property": "country", "operator": "eq", "value": "CA"}]}],
         "flags": [
             {"key": "checkout", "name": "Checkout", "enabled": true, "defaultVariant": null,
              "variants": [variant("v1", "on"), variant("v2", "off")],
              "rules": [rule("r1", 1), rule("r2", 2), rule("r3", 3)]},
             flag("second"),
             {"key": "third", "name": "Third", "enabled": false, "rollouts": [
                 {"id": "e1", "rank": 1, "threshold": {"percentage": 10, "value": true}}]},
         ]},
        {"key": "team-a", "name": "Team A", "flags": [flag("checkout")]},
    ]})
}

/// What [`truth`] holds: 2 namespaces, 1 segment, 1 constraint, 4 flags, 2 variants, 3 rules, 3 distributions,
/// 1 rollout.
const ENTITIES: u64 = 17;

fn place(flipt: &FakeFlipt) -> Workplace {
    let place = Workplace::new();
    place.configure(&format!(
        "
data_dir: DIR/data
log: {{level: trace}}
sources:
  flipt: {{type: file, path: DIR/audit.log}}
destinations:
  screen: {{type: console}}
routes:
  all: {{to: [screen]}}
{}
",
        flipt.config()
    ));
    place.append("audit.log", flag_line("elsewhere", "a") + "\n");
    place
}

/// The relay delivers, whatever Flipt does, and tells no secret.
fn works(relay: Relay) -> Vec<Value> {
    relay.wait_for_stdout("elsewhere");
    let exit = relay.stop();
    assert!(exit.status.success(), "{}", exit.log);
    assert!(!exit.log.contains("PLANTED"), "{}", exit.log);
    exit.log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// What was logged of priming at this level, as (message, line).
fn said<'a>(log: &'a [Value], level: &str) -> Vec<(&'a str, &'a Value)> {
    log.iter()
        .filter(|line| line["level"] == level)
        .filter(|line| {
            line["target"].as_str().is_some_and(|target| target.starts_with("audit_relay::priming"))
        })
        .map(|line| (message(line), line))
        .collect()
}

fn message(line: &Value) -> &str {
    [&line["message"], &line["fields"]["message"]].into_iter().find_map(Value::as_str).unwrap_or_default()
}

fn field<'a>(line: &'a Value, name: &str) -> &'a Value {
    if line["fields"][name].is_null() { &line[name] } else { &line["fields"][name] }
}

/// The counts of the last line.
#[track_caller]
fn told(log: &[Value]) -> (u64, u64) {
    let infos = said(log, "INFO");
    let (_, line) = infos.iter().find(|(message, _)| *message == DONE).expect("it says what it was told");
    (field(line, "namespaces").as_u64().unwrap(), field(line, "entities").as_u64().unwrap())
}

/// Its one warning.
#[track_caller]
fn warning(log: &[Value]) -> &str {
    let warnings = said(log, "WARN");
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    warnings[0].0
}

#[test]
fn all_is_asked_for_page_by_page() {
    let flipt = FakeFlipt::start(truth());
    let place = place(&flipt);
    let relay = place.run();
    relay.wait_for_log(DONE);
    let log = works(relay);
    assert_eq!(told(&log), (2, ENTITIES));
    assert!(said(&log, "WARN").is_empty());
    let mut asked = flipt.asked();
    // Rules and rollouts of a flag are asked for at the same time.
    asked[4..].sort();
    let default = "/api/v1/namespaces/default";
    let team = "/api/v1/namespaces/team-a";
    let mut expected = vec![
        "/api/v1/namespaces?limit=100".to_owned(),
        format!("{default}?"),
        format!("{default}/segments?limit=100"),
        format!("{default}/flags?limit=100"),
        format!("{default}/flags?limit=100&pageToken=%2B2%3D%3D"),
        format!("{default}/flags/checkout/rules?limit=100"),
        format!("{default}/flags/checkout/rules?limit=100&pageToken=%2B2%3D%3D"),
        format!("{default}/flags/checkout/rollouts?limit=100"),
        format!("{default}/flags/second/rules?limit=100"),
        format!("{default}/flags/second/rollouts?limit=100"),
        format!("{default}/flags/third/rules?limit=100"),
        format!("{default}/flags/third/rollouts?limit=100"),
        format!("{team}?"),
        format!("{team}/segments?limit=100"),
        format!("{team}/flags?limit=100"),
        format!("{team}/flags/checkout/rules?limit=100"),
        format!("{team}/flags/checkout/rollouts?limit=100"),
    ];
    expected[4..].sort();
    assert_eq!(asked, expected);
    for request in flipt.received() {
        assert_eq!(request.method, "GET");
        assert!(request.header("user-agent").is_some_and(|agent| agent.starts_with("audit-relay/")));
        assert_eq!(request.header("cookie"), None);
    }
}

/// How many were new, by the last line.
#[track_caller]
fn new(log: &[Value]) -> u64 {
    let infos = said(log, "INFO");
    let (_, line) = infos.iter().find(|(message, _)| *message == DONE).expect("it says what it was told");
    field(line, "new").as_u64().unwrap()
}

/// What the journal keeps as known around the event in which this stands.
fn known(place: &Workplace, mark: &str) -> Value {
    let journal = rusqlite::Connection::open(place.path("data/journal.db")).unwrap();
    let kept: Vec<u8> = journal
        .query_row(
            "SELECT previous FROM records WHERE instr(original, CAST(?1 AS BLOB)) > 0",
            [mark],
            |row| row.get(0),
        )
        .unwrap();
    // A hash leads it.
    serde_json::from_slice(&kept[16..]).unwrap()
}

#[test]
fn what_was_told_is_before_the_first_change() {
    let flipt = FakeFlipt::start(truth());
    let place = place(&flipt);
    let relay = place.run();
    relay.wait_for_log(DONE);
    let dated = |line: String, time: &str| {
        let (head, rest) = line.split_once("\"timestamp\":\"").unwrap();
        format!("{head}\"timestamp\":\"{time}{}", &rest[rest.find('"').unwrap()..])
    };
    // A time that is much further ahead would not be believed.
    let soon = Timestamp::now().plus(Duration::from_secs(120)).to_string();
    place.append(
        "audit.log",
        [
            dated(flag_line("checkout", "a change"), &soon),
            dated(flag_line("third", "an old change"), "1999-11-22T08:00:00Z"),
            dated(flag_line("new", "a new flag"), &soon),
            dated(
                line_with(
                    "distribution",
                    "updated",
                    r#"{"id":"d-r1","rollout":33.33,"rule_id":"r1","variant_id":"v1"}"#,
                ),
                &soon,
            ),
        ]
        .map(|line| line + "\n")
        .concat(),
    );
    assert_eq!(new(&works(relay)), ENTITIES);
    let changed = known(&place, "\"a change\"");
    assert_eq!(changed["seen"]["by"], "import", "{changed}");
    assert_eq!(
        changed["before"],
        json!({"description": "", "enabled": true, "key": "checkout", "name": "Checkout", "namespace_key": "default"})
    );
    let split = known(&place, "d-r1");
    assert_eq!(
        split["before"],
        json!({"id": "d-r1", "rollout": 100, "rule_id": "r1", "variant_id": "v1"}),
        "{split}"
    );
    assert_eq!(split["variants"]["v1"], "on", "{split}");
    let old = known(&place, "\"an old change\"");
    assert_eq!((&old["before"], &old["without"]), (&Value::Null, &json!("older_than_import")), "{old}");
    let unheard = known(&place, "\"a new flag\"");
    assert_eq!((&unheard["before"], &unheard["without"]), (&Value::Null, &json!("first_seen")), "{unheard}");
    // What is known stays as it is.
    let relay = place.run();
    relay.wait_for_log(DONE);
    let exit = relay.stop();
    let log: Vec<Value> = exit.log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    assert_eq!(new(&log), 0);
}

#[test]
fn a_flipt_that_starts_later_is_asked_again() {
    let flipt = FakeFlipt::with(truth(), |number, _| match number {
        0 | 1 | 4 => Some(Reply::status(503)),
        2 => Some(Reply::Answer(429, vec![("retry-after", "0".to_owned())], String::new())),
        _ => None,
    });
    let place = place(&flipt);
    let relay = place.run();
    relay.wait_for_log(DONE);
    let log = works(relay);
    assert_eq!(told(&log), (2, ENTITIES));
    assert!(said(&log, "WARN").is_empty());
}

#[test]
fn what_will_not_do_is_said_once_and_not_asked_again() {
    type Answer = fn() -> Reply;
    let cases: [(&str, Answer, &str); 7] = [
        ("no token", || Reply::status(401), "`flipt.token`"),
        ("a token for less", || Reply::status(403), "`flipt.token`"),
        (
            "Flipt v2",
            || Reply::Answer(404, Vec::new(), r#"{"code":5,"message":"Not Found"}"#.into()),
            "Flipt v2",
        ),
        ("a web page", || Reply::Answer(200, Vec::new(), "<!doctype html>".into()), "is the address right?"),
        (
            "other JSON",
            || Reply::Answer(200, Vec::new(), r#"{"status":"ok"}"#.into()),
            "is the address right?",
        ),
        (
            "garbage",
            || Reply::Answer(200, Vec::new(), r#"{"namespaces":[{"key":"default""#.into()),
            "Flipt v1",
        ),
        ("no API", || Reply::status(400), "it answers 400"),
    ];
    for (what, answer, expected) in cases {
        let flipt = FakeFlipt::with(truth(), move |_, _| Some(answer()));
        let place = place(&flipt);
        let relay = place.run();
        relay.wait_for_log("Flipt does not tell what there is");
        let log = works(relay);
        assert!(warning(&log).contains(expected), "{what}: {}", warning(&log));
        assert_eq!(flipt.received().len(), 1, "{what}");
    }
}

#[test]
fn no_other_host_gets_the_token() {
    let other = Receiver::start();
    let elsewhere = other.url("/api/v1/namespaces");
    let flipt = FakeFlipt::with(truth(), move |_, _| {
        Some(Reply::Answer(302, vec![("location", elsewhere.clone())], String::new()))
    });
    let place = place(&flipt);
    let relay = place.run();
    relay.wait_for_log("it leads elsewhere (302)");
    works(relay);
    assert!(other.received().is_empty());
}

#[test]
fn neither_start_nor_delivery_nor_end_waits_for_it() {
    let flipt = FakeFlipt::with(truth(), |_, _| Some(Reply::Hang));
    let place = place(&flipt);
    let relay = place.run();
    flipt.wait_for(1);
    let log = works(relay);
    assert!(said(&log, "WARN").is_empty() && said(&log, "INFO").is_empty());
}

/// Whether it is about this list of this flag or namespace.
fn is_of(request: &Received, owner: &str, list: &str) -> bool {
    request.path.ends_with(&format!("/{owner}/{list}"))
}

#[test]
fn a_flag_that_goes_meanwhile_is_passed_over() {
    let flipt = FakeFlipt::with(truth(), |_, request| {
        (is_of(request, "second", "rules") || is_of(request, "second", "rollouts"))
            .then(|| Reply::status(404))
    });
    let place = place(&flipt);
    let relay = place.run();
    relay.wait_for_log(DONE);
    let log = works(relay);
    assert_eq!(told(&log), (2, ENTITIES - 1));
    assert!(said(&log, "WARN").is_empty());
}

#[test]
fn a_namespace_that_goes_meanwhile_is_passed_over() {
    let flipt =
        FakeFlipt::with(truth(), |_, request| request.path.contains("/team-a").then(|| Reply::status(404)));
    let place = place(&flipt);
    let relay = place.run();
    relay.wait_for_log(DONE);
    let log = works(relay);
    assert_eq!(told(&log), (1, ENTITIES - 2));
    assert!(said(&log, "WARN").is_empty());
}

#[test]
fn a_flipt_without_rollouts_tells_the_rest() {
    let flipt = FakeFlipt::with(truth(), |_, request| {
        request.path.ends_with("/rollouts").then(|| Reply::status(404))
    });
    let place = place(&flipt);
    let relay = place.run();
    relay.wait_for_log(DONE);
    assert_eq!(told(&works(relay)), (2, ENTITIES - 1));
}

#[test]
fn a_namespace_that_may_not_be_read_does_not_hide_the_others() {
    let flipt =
        FakeFlipt::with(truth(), |_, request| request.path.contains("/default").then(|| Reply::status(403)));
    let place = place(&flipt);
    let relay = place.run();
    relay.wait_for_log(DONE);
    let log = works(relay);
    assert_eq!(told(&log), (1, 2));
    assert!(warning(&log).contains("first default: it answers 403"), "{}", warning(&log));
}

#[test]
fn one_that_is_half_read_is_taken_as_far_as_it_goes() {
    // The first page of flags is told, the second is not JSON; one item of a list is none.
    let flipt = FakeFlipt::with(truth(), |_, request| {
        if is_of(request, "default", "flags") && request.query.contains("pageToken") {
            return Some(Reply::Answer(200, Vec::new(), "oops".into()));
        }
        let odd = r#"{"segments":[7,{"key":"beta"},{"key":["x"]}],"nextPageToken":"","totalCount":3}"#;
        is_of(request, "team-a", "segments").then(|| Reply::Answer(200, Vec::new(), odd.into()))
    });
    let place = place(&flipt);
    let relay = place.run();
    relay.wait_for_log(DONE);
    let log = works(relay);
    // default, beta, c1, checkout, v1, v2, second; team-a, beta, checkout.
    assert_eq!(told(&log), (2, 10));
    assert!(warning(&log).contains("first default: what answers does not answer as Flipt v1 does"));
}
