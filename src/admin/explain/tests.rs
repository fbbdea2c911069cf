//! What becomes of an event at destinations of all kinds.

use super::*;
use crate::config::{LoadOptions, References, load};
use crate::destination::Delivery;

const LINE: &str = r#"{"version":"0.2","type":"flag","action":"updated","status":"success","metadata":{"actor":{"authentication":"oidc","email":"ann@example.com","name":"Ann"}},"payload":{"description":"","enabled":true,"key":"checkout","name":"Checkout","namespace_key":"default"},"timestamp":"2026-11-22T08:32:19Z"}"#;

const CONFIG: &str = "
sources: {flipt: {type: file, path: /nowhere/audit.log, max_event: 2KiB}}
owners: [{flags: ['check*'], team: payments}]
destinations:
  flipt: {type: webhook, url: 'https://a.example.com/', format: flipt}
  many: {type: webhook, url: 'https://a.example.com/', batch: {max_events: 50, max_bytes: 1KiB}}
  picky: {type: webhook, url: 'https://a.example.com/', format: template, template: '{% if type == \"flipt.flag.deleted\" %}{}{% endif %}'}
  watched: {type: console, observe: true}
  dropped: {type: console, discard: true}
  recent: {type: file, path: '/nowhere/%Y.ndjson', deliver_since: now}
  older: {type: file, path: '/nowhere/%Y.ndjson', deliver_since: '2026-11-22T08:32:20Z'}
  unasked: {type: console}
routes:
  all: {when: {record: [event, unparsed, oversized]}, to: [flipt, many, picky, watched, dropped, recent, older]}
  quiet: {when: {teams: [payments]}, unless: {environments: [unknown]}, to: [unasked]}
";

fn plan() -> Plan {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("relay.yaml");
    std::fs::write(&config, CONFIG).unwrap();
    let options = LoadOptions {
        config: Some(config),
        environment: Vec::new(),
        references: References::Resolve,
        allow_inline_secrets: true,
    };
    load(&options).unwrap_or_else(|problems| panic!("{problems}")).plan
}

fn read(plan: &Plan, lines: &str) -> Vec<Delivery> {
    specimens(plan, None, lines.as_bytes()).unwrap().deliveries
}

fn explained(lines: &str) -> Explanation {
    let plan = plan();
    Explainer::new(&plan, None).explain(&read(&plan, lines)[0], None)
}

fn at<'a>(explanation: &'a Explanation, name: &str) -> &'a ExplainedDestination {
    explanation.destinations.iter().find(|destination| destination.name == name).unwrap()
}

#[test]
fn each_destination_says_what_becomes_of_it() {
    let explanation = explained(LINE);
    assert_eq!(explanation.facts.teams, Some(vec!["payments".to_owned()]));
    let flipt = at(&explanation, "flipt");
    assert_eq!((flipt.by.as_slice(), flipt.requests.len()), (&["all".to_owned()][..], 1));
    assert!(flipt.notes.is_empty());
    let many = at(&explanation, "many");
    assert!(many.notes[0].contains("up to 50 records may share a request"), "{:?}", many.notes);
    let ExplainedBody::Text(body) = &many.requests[0].body else { panic!("no text") };
    assert!(body.starts_with("[{\"spec\"") && body.len() == many.requests[0].size.body_bytes, "{body}");
    let picky = at(&explanation, "picky");
    assert!(picky.left_out && picky.is_reached && picky.requests.is_empty());
    let watched = at(&explanation, "watched");
    assert!(watched.notes[0].contains("`observe: true`") && watched.requests[0].to == "standard output");
    assert!(!at(&explanation, "dropped").is_reached);
    let recent = at(&explanation, "recent");
    assert!(recent.notes[0].starts_with("`deliver_since: now`"));
    assert_eq!(recent.requests[0].to, "append to /nowhere/2026.ndjson");
    let older = at(&explanation, "older");
    assert!(
        older.notes[0].contains("2026-11-22T08:32:20Z") && !older.is_reached && older.requests.is_empty()
    );
    assert!(!at(&explanation, "unasked").is_reached);
    let quiet = explanation.routes.iter().find(|route| route.name == "quiet").unwrap();
    assert_eq!((quiet.takes, &quiet.because), (false, &None));
    let text = explanation_text(&explanation);
    for part in [
        "  quiet  leaves it: all of `unless` holds\n",
        "  left out by the rules of this destination\n",
        "  no route leads to unasked\n",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn what_is_no_event_or_too_large_is_told_as_such() {
    let explanation = explained("{\"version\":\"0.2\",\"type\":\"fl");
    assert_eq!(explanation.facts.record, "unparsed");
    let why = at(&explanation, "flipt").unrenderable.as_ref().unwrap();
    assert!(why.starts_with("no_flipt_form: "), "{why}");
    let long = LINE.replace(r#""description":"""#, &format!(r#""description":"{}""#, "x".repeat(1_200)));
    let explanation = explained(&long);
    assert_eq!(explanation.facts.record, "event");
    assert!(explanation_text(&explanation).contains("to a request: it goes alone"));
    let explanation = explained(&long.replace("xxx", "xxxxxx"));
    assert_eq!(explanation.facts.record, "oversized");
    let ExplainedBody::Text(body) = &at(&explanation, "watched").requests[0].body else { panic!("no text") };
    assert!(body.ends_with('\n'));
}

#[test]
fn a_journal_decides_when_a_destination_was_first_seen_and_what_is_for_it_alone() {
    let plan = plan();
    let mut delivery = read(&plan, LINE).remove(0);
    let seen = |time: &str| {
        let time = Timestamp::parse_rfc3339(time).unwrap();
        Explainer::new(&plan, Some(BTreeMap::from([("recent".to_owned(), time)])))
    };
    for (first_seen, is_reached) in [("2026-11-22T08:32:19.9Z", true), ("2026-11-22T08:32:20Z", false)] {
        let explanation = seen(first_seen).explain(&delivery, Some(7));
        assert_eq!(at(&explanation, "recent").is_reached, is_reached, "{first_seen}");
    }
    delivery.record.detail = Some(r#"{"journal_only":true}"#.to_owned());
    let explanation = seen("2026-11-22T08:32:19Z").explain(&delivery, Some(7));
    assert!(explanation.destinations.iter().all(|destination| !destination.is_reached));
    assert!(explanation.notes[0].contains("for the journal alone"));
}

#[test]
fn a_file_is_read_in_whatever_form_it_has() {
    let plan = plan();
    let pretty: serde_json::Value = serde_json::from_str(LINE).unwrap();
    let pretty = serde_json::to_string_pretty(&pretty).unwrap();
    let (first, second) = LINE.split_at(100);
    let time = "2026-11-22T08:32:19.123456789Z";
    for (lines, kinds, ignored) in [
        (format!("{LINE}\n{LINE}\n"), vec![RecordKind::Event; 2], 0),
        (format!("{LINE}\n\n{LINE}"), vec![RecordKind::Event; 2], 1),
        (pretty, vec![RecordKind::Event], 0),
        (format!("{time} stdout P {first}\n{time} stdout F {second}\n"), vec![RecordKind::Event], 0),
        (format!("{time} stdout P {first}\n"), vec![RecordKind::Unparsed], 0),
        ("nothing\n".to_owned(), vec![RecordKind::Unparsed], 0),
        (format!("{time}\tINFO\tstarted\n"), Vec::new(), 1),
    ] {
        let found = specimens(&plan, None, lines.as_bytes()).unwrap();
        let read: Vec<RecordKind> = found.deliveries.iter().map(|delivery| delivery.record.kind).collect();
        assert_eq!((read, found.ignored), (kinds, ignored), "{lines}");
        assert_eq!(found.is_other_framing, lines.contains("stdout"), "{lines}");
    }
    assert!(specimens(&plan, Some("flip"), b"").unwrap_err().contains("there are: flipt"));
}
