//! `changes`: what the journal tells of a time, to people and to auditors.

use serde_json::Value;

use crate::support::Workplace;

fn place() -> Workplace {
    let place = Workplace::new();
    place.configure(
        "
data_dir: DIR/data
environments: {production: [default, 'prod-*'], staging: [staging]}
sources:
  flipt: {type: file, path: DIR/audit.log}
destinations:
  archive: {type: file, path: DIR/archive.ndjson}
routes:
  all: {to: [archive], when: {record: [event, unparsed, oversized, gap]}}
",
    );
    place
}

/// An event of a flag, by somebody, at a time.
fn event(key: &str, namespace: &str, who: &str, time: &str) -> String {
    format!(
        r#"{{"version":"0.2","type":"flag","action":"updated","status":"success","metadata":{{"actor":{{"authentication":"oidc","ip":"10.1.2.3","email":"{who}@example.com","name":"{who}"}}}},"payload":{{"description":"","enabled":true,"key":"{key}","name":"{key}","namespace_key":"{namespace}"}},"timestamp":"{time}"}}"#
    ) + "\n"
}

fn denied(time: &str) -> String {
    format!(
        r#"{{"version":"0.2","type":"flag","action":"deleted","status":"denied","metadata":{{"actor":{{"authentication":"oidc","email":"eve@example.com","name":"Eve"}}}},"payload":null,"timestamp":"{time}"}}"#
    ) + "\n"
}

fn import(place: &Workplace, lines: &str) {
    place.write("import.log", lines);
    place.ask(&["import", "import.log", "--source", "flipt", "--journal-only"]);
}

/// What a command prints, and what it says beside that.
fn changes(place: &Workplace, arguments: &[&str]) -> (String, String) {
    let output = place.command(&["changes"]).args(arguments).args(["-c", "relay.yaml"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{arguments:?}: {said}");
    (String::from_utf8(output.stdout).unwrap(), said)
}

/// The records of a CSV text (RFC 4180).
fn csv(text: &str) -> Vec<Vec<String>> {
    let (mut records, mut record, mut cell, mut is_quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if is_quoted && characters.peek() == Some(&'"') => cell.extend(characters.next()),
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => record.push(std::mem::take(&mut cell)),
            '\r' if !is_quoted => {
                assert_eq!(characters.next(), Some('\n'));
                record.push(std::mem::take(&mut cell));
                records.push(std::mem::take(&mut record));
            }
            other => cell.push(other),
        }
    }
    assert!(record.is_empty() && cell.is_empty() && !is_quoted, "the last record has no end");
    records
}

/// One column of all records but the header.
fn column(records: &[Vec<String>], name: &str) -> Vec<String> {
    let place = records[0].iter().position(|head| head == name).unwrap();
    records[1..].iter().map(|record| record[place].clone()).collect()
}

#[test]
fn a_time_is_that_of_the_event_in_whatever_order_they_came() {
    let place = place();
    let lines = [
        event("alpha", "default", "ann", "2026-11-20T13:49:59Z"),
        event("bravo", "default", "ann", "2026-11-20T14:09:59Z"),
        event("charlie", "default", "ann", "2026-11-20T14:50:00+01:00"),
        event("delta", "default", "ann", "2026-11-20T14:10:00Z"),
    ];
    import(&place, &lines.concat());
    let range = ["--since", "2026-11-20T13:50:00Z", "--until", "2026-11-20T14:10:00Z"];
    let (text, _) = changes(&place, &range);
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("2026-11-20T14:09:59Z  ") && lines[0].contains("bravo"), "{text}");
    assert!(lines[1].starts_with("2026-11-20T13:50:00Z  ") && lines[1].contains("charlie"), "{text}");
    assert_eq!(lines[2], "2 changes from 2026-11-20T13:50:00Z to 2026-11-20T14:10:00Z");
    assert_eq!(lines.len(), 3);

    let (day, _) = changes(&place, &["--format", "csv", "--since", "2026-11-20", "--until", "2026-11-21"]);
    assert_eq!(column(&csv(&day), "key"), ["alpha", "bravo", "charlie", "delta"]);
    let (none, _) = changes(&place, &["--format", "csv", "--since", "2026-11-21", "--until", "2026-11-22"]);
    assert_eq!(csv(&none).len(), 1, "{none}");
    // A table tells the last day, where nothing is said.
    assert!(changes(&place, &[]).0.starts_with("0 changes from "));
}

#[test]
fn auditors_get_each_record_and_spreadsheets_no_formula() {
    let place = place();
    let long = event("=HYPERLINK(1)", "staging", "=cmd", "2026-11-20T10:00:01Z").replace("=cmd@", "+cmd@");
    let lines = [
        event("a", "default", "ann", "2026-11-20T10:00:00Z"),
        long,
        denied("2026-11-20T10:00:02Z"),
        "{\"version\":\"0.2\",\"type\":\"flag\",\"act\n".to_owned(),
        event("say \\\"on\\\", please\\u001b[2J", "default", "ann", "2026-11-20T10:00:03Z"),
    ];
    import(&place, &lines.concat());
    let (text, said) = changes(&place, &["--format", "csv"]);
    assert!(!text.contains('\u{1b}') && text.ends_with("\r\n"), "{text}");
    assert!(said.contains("1 unreadable line in that time"), "{said}");
    let records = csv(&text);
    assert_eq!(records.len(), 6);
    assert!(records.iter().all(|record| record.len() == 18), "{text}");
    assert_eq!(
        records[0].join(" "),
        "time received_at environment namespace type action status key actor actor_email actor_kind summary \
         changed change_set id sequence origin_relay origin_sequence"
    );
    assert_eq!(column(&records, "type"), ["flag", "flag", "flag", "unparsed", "flag"]);
    assert_eq!(column(&records, "status"), ["success", "success", "denied", "", "success"]);
    assert_eq!(column(&records, "environment"), ["production", "staging", "", "", "production"]);
    assert_eq!(column(&records, "key"), ["a", "'=HYPERLINK(1)", "", "", "say \"on\", please\\u001b[2J"]);
    assert_eq!(column(&records, "actor")[1], "'=cmd");
    assert_eq!(column(&records, "actor_email")[1], "'+cmd@example.com");
    assert_eq!(column(&records, "sequence"), ["1", "2", "3", "4", "5"]);
    for record in &records[1..] {
        for cell in record {
            assert!(!cell.starts_with(['=', '+', '-', '@', '\t', '\r']), "{cell}");
        }
    }

    let (text, _) = changes(&place, &["--format", "ndjson"]);
    let envelopes: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ids: Vec<&str> = envelopes.iter().map(|envelope| envelope["id"].as_str().unwrap()).collect();
    assert_eq!(ids, column(&records, "id"));
    assert_eq!(envelopes[2]["type"], "flipt.flag.delete_denied");
    assert_eq!(envelopes[3]["type"], "audit_relay.unparsed");
}

#[test]
fn what_is_asked_for_is_told_and_what_may_be_meant_is_counted() {
    let place = place();
    let time = "2026-11-20T10:00:00Z";
    let lines = [
        event("checkout", "default", "ann", time),
        event("checkout-eu", "prod-eu", "bob", time),
        event("search", "staging", "ann", time),
        event("search", "elsewhere", "ann", time),
        denied(time),
        "neither\n".to_owned(),
    ];
    import(&place, &lines.concat());
    let keys = |arguments: &[&str]| {
        let arguments: Vec<&str> = ["--format", "csv"].iter().chain(arguments).copied().collect();
        let (text, said) = changes(&place, &arguments);
        (column(&csv(&text), "key"), said)
    };
    let (found, said) = keys(&["--environment", "production"]);
    assert_eq!(found, ["checkout", "checkout-eu"]);
    assert!(said.contains("2 more events of that time may be among these"), "{said}");
    assert!(said.contains("1 unreadable line"), "{said}");
    assert_eq!(keys(&["--environment", "stag*", "--environment", "production"]).0.len(), 3);
    assert_eq!(keys(&["--flag", "checkout*", "--actor", "BOB@example"]).0, ["checkout-eu"]);
    assert_eq!(keys(&["--flag", "search", "--environment", "unknown"]).0, ["search"]);
    assert_eq!(keys(&["--segment", "*"]).0, Vec::<String>::new());
    // People are told of denied attempts too, and of nothing that is no event.
    let (text, _) = changes(&place, &["--since", "2026-11-20"]);
    assert!(text.lines().last().unwrap().starts_with("5 changes "), "{text}");
}

#[test]
fn it_is_said_how_far_back_the_journal_reaches() {
    let place = place();
    assert_eq!(place.command(&["changes", "-c", "relay.yaml"]).output().unwrap().status.code(), Some(1));
    import(&place, &event("a", "default", "ann", "2026-11-20T10:00:00Z"));
    let (_, said) = changes(&place, &["--since", "30d"]);
    assert!(said.contains("warning: the journal has all that was accepted since 2"), "{said}");
    let (_, said) = changes(&place, &["--since", "0s"]);
    assert_eq!(said, "");
    let wrong = place
        .command(&["changes", "-c", "relay.yaml", "--since", "2026-11-21", "--until", "2026-11-20"])
        .output()
        .unwrap();
    assert_eq!(wrong.status.code(), Some(2));
}

#[test]
fn pages_of_a_relay_that_runs_hold_everything_once() {
    let place = place();
    let relay = place.run();
    let line = |n: u32| event(&format!("flag-{n}"), "default", "ann", "2026-11-20T10:00:00Z");
    place.append("audit.log", (0..5_000).map(line).collect::<String>());
    crate::support::eventually("all is accepted", || {
        (place.destination("archive")["accepted"] == 5_000).then_some(())
    });
    let (text, _) = changes(&place, &["--format", "csv"]);
    let sequences: Vec<String> = (1..=5_000).map(|n| n.to_string()).collect();
    assert_eq!(column(&csv(&text), "sequence"), sequences);
    let (text, _) = changes(&place, &["--format", "ndjson"]);
    assert_eq!(text.lines().count(), 5_000);
    let (text, _) = changes(&place, &["--since", "2026-11-20", "--flag", "flag-4999"]);
    assert_eq!(text.lines().count(), 2, "{text}");
    let running = changes(&place, &["--format", "csv"]).0;
    assert!(relay.stop().status.success());
    assert_eq!(changes(&place, &["--format", "csv"]).0, running);
}

#[test]
fn who_has_read_enough_may_go() {
    let place = place();
    let line = |n: u32| event(&format!("flag-{n}"), "default", "ann", "2026-11-20T10:00:00Z");
    import(&place, &(0..3_000).map(line).collect::<String>());
    let mut command = place.command(&["changes", "-c", "relay.yaml", "--format", "ndjson"]);
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
}

/// A page scans 32,768 records: one change set lies on both sides of that.
#[test]
fn a_change_set_that_reaches_over_a_page_is_one_change() {
    let place = place();
    let old = |n: u32| event(&format!("old-{}", n % 100), "default", "ann", "2026-11-19T10:00:00Z");
    let mut lines: String = (0..32_760).map(old).collect();
    lines += &event("checkout", "default", "ann", "2026-11-20T10:00:00Z");
    for n in 0..20 {
        lines += &event(&format!("other-{n}"), "default", "ann", "2026-11-20T10:00:10Z");
    }
    lines += &event("checkout", "default", "ann", "2026-11-20T10:00:20Z");
    lines += &event("checkout", "default", "bob", "2026-11-20T10:00:21Z");
    import(&place, &lines);
    let (text, _) = changes(&place, &["--since", "2026-11-20", "--until", "2026-11-21"]);
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[22].starts_with("22 changes (23 events) "), "{text}");
    assert!(lines[0].starts_with("2026-11-20T10:00:00Z") && lines[21].starts_with("2026-11-20T10:00:21Z"));
    let (text, _) = changes(&place, &["--since", "2026-11-20", "--flag", "checkout", "--format", "csv"]);
    let sets = column(&csv(&text), "change_set");
    assert!(sets[0] == sets[1] && sets[1] != sets[2] && sets[0].starts_with("cs_"), "{sets:?}");
}
