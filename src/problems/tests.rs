//! What is told when, with a clock of our own; and the words of it.

use std::time::Duration;

use serde_json::Value;

use super::silence::{Listened, Silence};
use super::trouble::{Manner, Trouble};
use super::watch::Watch;
use crate::admin::Finding;
use crate::config::plan::{BatchPlan, ConsolePlan, FileDestinationPlan};
use crate::config::{LoadOptions, References, load};
use crate::delivery::build;
use crate::destination::console::Console;
use crate::destination::file::NdjsonFile;
use crate::destination::{Destination, Notice, NoticeKind, RenderContext, Request};
use crate::event::{BatchId, Timestamp};

const AFTER: Duration = Duration::from_secs(300);
const REPEAT: Duration = Duration::from_secs(4 * 3_600);

fn at(minutes: u64) -> Timestamp {
    let begin = Timestamp::parse_rfc3339("2026-11-22T14:00:00Z").unwrap();
    begin.plus(Duration::from_secs(minutes * 60))
}

fn trouble(key: &str, manner: Manner) -> Trouble {
    Trouble {
        key: key.to_owned(),
        code: "destination",
        about: Some("siem".to_owned()),
        severe: true,
        sentence: format!("{key} is blocked."),
        remedy: None,
        since: None,
        manner,
    }
}

/// A watch that is looked at minute by minute, and whose notices arrive.
#[derive(Default)]
struct Story {
    watch: Watch,
    told: Vec<(u64, String)>,
    is_deaf: bool,
}

impl Story {
    fn minute(&mut self, minute: u64, troubles: &[Trouble]) {
        let now = at(minute);
        self.watch.look(now, troubles.to_vec(), |_| false);
        for due in self.watch.due(now, AFTER, REPEAT) {
            if self.is_deaf {
                self.watch.failed(&due.key, now);
                self.told.push((minute, format!("in vain {}", due.key)));
                continue;
            }
            let again = if due.is_repeated { "again " } else { "" };
            self.told.push((minute, format!("{again}{} {}", due.kind.as_str(), due.key)));
            self.watch.told(&due.key, due.kind, now);
        }
    }

    fn told(&self) -> Vec<(u64, &str)> {
        self.told.iter().map(|(minute, what)| (*minute, what.as_str())).collect()
    }
}

#[test]
fn what_lasts_is_told_then_repeated_and_its_end_once() {
    let mut story = Story::default();
    let siem = [trouble("siem", Manner::Lasting)];
    for minute in 0..600 {
        let is_on = (10..550).contains(&minute);
        story.minute(minute, if is_on { &siem } else { &[] });
    }
    assert_eq!(
        story.told(),
        [
            (15, "problem siem"),
            (255, "again problem siem"),
            (495, "again problem siem"),
            (550, "recovery siem")
        ]
    );
}

#[test]
fn what_is_short_is_not_told_and_neither_is_its_end() {
    let mut story = Story::default();
    let siem = [trouble("siem", Manner::Lasting)];
    for minute in 0..100 {
        let is_on = minute % 5 < 4;
        story.minute(minute, if is_on { &siem } else { &[] });
    }
    assert_eq!(story.told(), []);
    // Since when is believed where it is known: it has lasted longer than anybody looked.
    let known = Trouble { since: Some(at(90)), ..trouble("siem", Manner::Lasting) };
    story.minute(100, &[known]);
    assert_eq!(story.told(), [(100, "problem siem")]);
}

#[test]
fn each_is_told_in_its_manner() {
    let mut story = Story::default();
    let gap = trouble("gap", Manner::Event);
    let all = [trouble("reload", Manner::AtOnce), trouble("dead", Manner::First)];
    story.minute(0, &[all[0].clone(), all[1].clone(), gap]);
    for minute in 1..241 {
        story.minute(minute, &all);
    }
    story.minute(241, &[]);
    assert_eq!(
        story.told(),
        [
            (0, "problem dead"),
            (0, "problem gap"),
            (0, "problem reload"),
            (240, "again problem reload"),
            (241, "recovery dead"),
            (241, "recovery reload"),
        ]
    );
}

#[test]
fn what_nobody_took_is_tried_again_later_and_later() {
    let mut story = Story { is_deaf: true, ..Story::default() };
    let siem = [trouble("siem", Manner::AtOnce)];
    for minute in 0..40 {
        story.minute(minute, &siem);
    }
    let tries: Vec<u64> = story.told.iter().map(|(minute, _)| *minute).collect();
    assert_eq!(&tries[..6], [0, 1, 2, 3, 5, 8], "{tries:?}");
    assert!(tries[6..].windows(2).all(|pair| pair[1] - pair[0] == 5), "{tries:?}");
    story.is_deaf = false;
    story.told.clear();
    for minute in 40..46 {
        story.minute(minute, &siem);
    }
    assert_eq!(story.told.len(), 1);
    // Its end is tried as long, and what comes back before that goes on as one problem.
    story.is_deaf = true;
    story.told.clear();
    story.minute(50, &[]);
    story.is_deaf = false;
    story.minute(51, &siem);
    story.minute(52, &[]);
    assert_eq!(story.told(), [(50, "in vain siem"), (52, "recovery siem")]);
}

#[test]
fn what_was_told_is_known_over_a_restart() {
    let mut story = Story::default();
    let siem = [trouble("siem", Manner::AtOnce), trouble("young", Manner::Lasting)];
    story.minute(0, &siem);
    let kept = serde_json::to_string(&story.watch.told_cases()).unwrap();
    let mut story = Story { watch: serde_json::from_str(&kept).unwrap(), ..Story::default() };
    // Nobody can tell yet.
    story.watch.look(at(1), Vec::new(), |case| case.was_kept);
    assert_eq!(story.watch.due(at(1), AFTER, REPEAT), []);
    story.minute(2, &siem);
    assert_eq!(story.told(), []);
    story.minute(3, &[]);
    assert_eq!(story.told(), [(3, "recovery siem")]);
}

#[test]
fn a_clock_that_is_set_back_holds_up_nothing() {
    let mut watch = Watch::default();
    watch.look(at(100), vec![trouble("siem", Manner::AtOnce)], |_| false);
    watch.failed("siem", at(100));
    assert_eq!(watch.due(at(0), AFTER, REPEAT).len(), 1);
}

#[test]
fn silence_is_counted_in_running_time() {
    let hours = |hours: u64| Duration::from_secs(hours * 3_600);
    let mut silence = Silence::default();
    let look = |silence: &mut Silence, running: u64, last: Option<Timestamp>| {
        let source = Listened { name: "flipt", silent_after: hours(3), last_event_at: last };
        let silent = silence.look(hours(running), &[source]);
        silent.into_iter().next().map(|(_, finding)| finding.sentence)
    };
    assert_eq!(look(&mut silence, 10, None), None);
    assert_eq!(look(&mut silence, 13, None), None);
    let none_yet = look(&mut silence, 14, None).unwrap();
    assert!(none_yet.ends_with("it has given none yet."), "{none_yet}");
    assert_eq!(look(&mut silence, 15, Some(at(0))), None);
    // Days without the relay count nothing; what it ran before counts.
    let kept = serde_json::to_string(&silence).unwrap();
    let mut silence: Silence = serde_json::from_str(&kept).unwrap();
    assert_eq!(look(&mut silence, 17, Some(at(0))), None);
    assert_eq!(
        look(&mut silence, 19, Some(at(0))).unwrap(),
        "Source flipt is silent: no event for more than 3 h of running (`silent_after`); the last came at 2026-11-22T14:00:00Z."
    );
    // A new journal has run for less.
    assert_eq!(look(&mut silence, 0, Some(at(0))), None);
    assert!(look(&mut silence, 4, Some(at(0))).is_some());
    assert_eq!(silence.look(hours(20), &[]), Vec::<(String, Finding)>::new());
}

fn notice(kind: NoticeKind) -> Notice {
    Notice {
        id: "ntc_00112233445566778899aabbcc".to_owned(),
        kind,
        severe: true,
        code: "destination".to_owned(),
        key: "destination:siem".to_owned(),
        about: Some("siem".to_owned()),
        sentence: match kind {
            NoticeKind::Problem => {
                "siem is blocked since 14:02 UTC (401: <bad> *key* @all): 118 wait.".to_owned()
            }
            NoticeKind::Recovery => "siem delivers again: 118 records to go.".to_owned(),
        },
        remedy: Some("audit-relay send-test siem   # shows what it answers".to_owned()),
        since: at(2),
        at: at(9),
        is_repeated: false,
        relay: "audit-relay".to_owned(),
        status_url: Some("https://relay.example.com/status".to_owned()),
    }
}

fn destinations() -> Vec<(&'static str, std::sync::Arc<dyn Destination>)> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("relay.yaml");
    std::fs::write(
        &path,
        "
sources: {flipt: {type: file, path: /a}}
destinations:
  slack: {type: slack, webhook_url: {env: S}, redact: {mask: actor.email}}
  bot: {type: slack, token: {env: T}, channel: '#flags'}
  datadog: {type: datadog, site: datadoghq.eu, api_key: {env: T}, tags: ['region:eu']}
  datadog_v1: {type: datadog, site: datadoghq.eu, api: v1, api_key: {env: T}}
  envelope: {type: webhook, url: 'https://x.example.com/', signing: [{scheme: github, secrets: [{env: T}]}]}
  batched: {type: webhook, url: 'https://x.example.com/', batch: {max_events: 10}, encoding: ndjson}
  cloudevents: {type: webhook, url: 'https://x.example.com/', format: cloudevents}
  flipt: {type: webhook, url: 'https://x.example.com/', format: flipt}
  template: {type: webhook, url: 'https://x.example.com/', format: template, template: '{}'}
  otlp: {type: otlp, endpoint: 'https://x.example.com/', headers: {authorization: {env: T}}}
routes: {all: {to: [slack, bot, datadog, datadog_v1, envelope, batched, cloudevents, flipt, template, otlp]}}",
    )
    .unwrap();
    let options = LoadOptions {
        config: Some(path),
        environment: vec![
            ("S".to_owned(), "https://hooks.slack.com/services/T0/B0/PLANTED".to_owned()),
            ("T".to_owned(), "PLANTED".to_owned()),
        ],
        references: References::Require,
        allow_inline_secrets: false,
    };
    let plan = load(&options).unwrap_or_else(|problems| panic!("{problems}")).plan;
    let names = [
        "slack",
        "bot",
        "datadog",
        "datadog_v1",
        "envelope",
        "batched",
        "cloudevents",
        "flipt",
        "template",
        "otlp",
    ];
    let mut all: Vec<(&'static str, std::sync::Arc<dyn Destination>)> =
        names.map(|name| (name, build(&plan.destinations[name]).unwrap())).to_vec();
    let batch = plan.destinations["slack"].batch;
    let console = |json| std::sync::Arc::new(Console::new(ConsolePlan { json }, BatchPlan { ..batch }));
    all.push(("console", console(false)));
    all.push(("console_json", console(true)));
    let path = "/events/%Y-%m-%d.ndjson".to_owned();
    all.push(("file", std::sync::Arc::new(NdjsonFile::new(FileDestinationPlan { path }, batch))));
    all
}

fn shown(request: Request) -> (Option<Value>, String) {
    match request {
        Request::Http(request) => {
            let json: Option<Value> = serde_json::from_slice(&request.body).ok();
            let of_otlp = crate::destination::otlp::readable(&request.body).map(|text| text + "\n");
            let body = json.as_ref().map_or_else(
                || of_otlp.unwrap_or_else(|| String::from_utf8(request.body).unwrap()),
                |json| serde_json::to_string_pretty(json).unwrap() + "\n",
            );
            let secret = ["authorization", "dd-api-key", "x-hub-signature-256"];
            let headers = request.headers.iter().filter(|(name, _)| !secret.contains(&name.as_str()));
            let headers: Vec<String> =
                headers.map(|(name, value)| format!("{name}: {}\n", value.expose())).collect();
            (json, (headers.concat() + &body).replace(env!("CARGO_PKG_VERSION"), "VERSION"))
        }
        Request::Stdout(bytes) => (None, String::from_utf8(bytes).unwrap()),
        Request::AppendFile { path, bytes } => {
            (None, format!("{}\n{}", path.display(), String::from_utf8(bytes).unwrap()))
        }
    }
}

/// `UPDATE_GOLDEN=1` writes the file anew; read it aloud before you commit it.
#[test]
fn notices_read_well_everywhere() {
    let mut text = String::new();
    let schema = |file: &str| {
        let path = format!("{}/tests/schemas/{file}", env!("CARGO_MANIFEST_DIR"));
        let schema: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        jsonschema::validator_for(&schema).unwrap()
    };
    let validators = [
        ("slack", schema("slack/incoming-webhook.schema.json")),
        ("datadog", schema("datadog/dd-v2-event-create-request.strict.schema.json")),
        ("datadog_v1", schema("datadog/dd-v1-event-create-request.strict.schema.json")),
    ];
    for (name, destination) in destinations() {
        for kind in [NoticeKind::Problem, NoticeKind::Recovery] {
            let notice = notice(kind);
            let batch_id = BatchId::from_stored(notice.id.clone());
            let context = RenderContext { now: notice.at, attempt: 1, batch_id, replay: false };
            text.push_str(&format!("# {name}: {}\n", kind.as_str()));
            match destination.notice(&notice, &context) {
                None => text.push_str("(has no form for it)\n"),
                Some(requests) => {
                    for request in requests {
                        let (json, shown) = shown(request);
                        if let Some((_, validator)) = validators.iter().find(|(known, _)| *known == name) {
                            let errors: Vec<String> = validator
                                .iter_errors(&json.unwrap())
                                .map(|error| error.to_string())
                                .collect();
                            assert_eq!(errors, Vec::<String>::new(), "{name}");
                        }
                        text.push_str(&shown);
                    }
                }
            }
            text.push('\n');
        }
    }
    assert!(!text.contains("PLANTED"));
    crate::destination::golden("notices.txt", &text);
}
