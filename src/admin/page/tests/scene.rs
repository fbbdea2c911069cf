//! Scenes: a journal that was filled from lines of Flipt, and a report as a relay would give it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::super::detail::Seen;
use super::super::newest::{self, LAST_LOOK, Stretch};
use super::super::question::Question;
use super::super::way::{Built, Ways};
use super::super::{paint, view};
use crate::admin::{
    ConfigurationReport, DestinationReport, FileReport, JournalReport, Office, RelayReport, Report,
    SourceReport, Standing, nameless,
};
use crate::config::plan::Plan;
use crate::config::{LoadOptions, References, load};
use crate::delivery::{Minute, build};
use crate::event::{BatchId, Timestamp};
use crate::journal::{
    Books, DeadLetterRow, DestinationId, DestinationRow, Endpoint, Journal, OpenBatch, Options,
};
use crate::source::file::{FileSource, import};

const CONFIG: &str = "
name: production_hub
environments: {production: [default, production], staging: [staging]}
sources: {flipt: {type: file, path: /var/log/flipt/audit.log}}
destinations:
  archive: {type: file, path: /nowhere/archive.ndjson}
  datadog: {type: datadog, site: datadoghq.eu, deliver_since: beginning, api_key: {env: NONE}}
  slack: {type: slack, deliver_since: beginning, webhook_url: {env: NONE}}
routes:
  everything: {to: [archive], when: {record: [event, unparsed, gap, oversized, act]}}
  live_changes: {when: {environments: [production], kind: [behaviour, access]}, to: [slack, datadog]}
data_dir: ";

/// A moment of the day of the scenes.
pub(super) fn at(time: &str) -> Timestamp {
    Timestamp::parse_rfc3339(&format!("2026-11-22T{time}Z")).unwrap()
}

/// When the pages of the scenes are made.
fn now() -> Timestamp {
    at("14:21:07")
}

pub(super) struct Scene {
    office: Office,
    report: Report,
    minutes: BTreeMap<String, VecDeque<Minute>>,
    rows: Vec<DestinationRow>,
    /// Flags of which the last event is a dead letter of Datadog's.
    dead: Vec<&'static str>,
    _directory: tempfile::TempDir,
}

/// An event of Flipt's, of the environment that its namespace belongs to.
fn event(time: &str, who: &str, kind: &str, action: &str, payload: &str) -> String {
    let email = format!("{}@example.com", who.to_lowercase().replace(' ', "-"));
    format!(
        r#"{{"version":"0.2","type":"{kind}","action":"{action}","status":"success","metadata":{{"actor":{{"authentication":"oidc","ip":"10.1.2.3","email":"{email}","name":"{who}"}}}},"payload":{payload},"timestamp":"2026-11-22T{time}Z"}}"#
    ) + "\n"
}

fn flag(time: &str, who: &str, action: &str, key: &str, namespace: &str, more: &str) -> String {
    let payload = format!(
        r#"{{"key":"{key}","name":"{key}","namespace_key":"{namespace}","type":"BOOLEAN_FLAG_TYPE"{more}}}"#
    );
    event(time, who, "flag", action, &payload)
}

fn rollout(time: &str, action: &str, percentage: u32) -> String {
    let payload = format!(
        r#"{{"id":"0e1dbb2f-4b4a-4d45-9bb0-4a3ef59f3b0c","namespace_key":"default","flag_key":"checkout","rank":1,"threshold":{{"percentage":{percentage},"value":true}}}}"#
    );
    event(time, "Ann", "rollout", action, &payload)
}

fn denied(time: &str) -> String {
    format!(
        r#"{{"version":"0.2","type":"flag","action":"updated","status":"denied","metadata":{{"actor":{{"authentication":"oidc","email":"ben@example.com","name":"Ben"}}}},"payload":null,"timestamp":"2026-11-22T{time}Z"}}"#
    ) + "\n"
}

fn lines() -> String {
    let segment = |action: &str, name: &str| {
        let payload = format!(
            r#"{{"key":"beta","name":"{name}","namespace_key":"default","match_type":"ANY_MATCH_TYPE"}}"#
        );
        event(if action == "created" { "08:58:40" } else { "13:58:02" }, "Ben", "segment", action, &payload)
    };
    [
        segment("created", "Beta testers"),
        flag("08:59:10", "Ann", "created", "checkout", "default", ""),
        rollout("08:59:30", "created", 10),
        flag("09:31:02", "Terraform CI", "created", "pay-sepa", "default", r#","enabled":true"#),
        flag("10:12:44", "Ben", "created", "new-search", "staging", r#","enabled":true"#),
        denied("11:00:02"),
        denied("11:00:40"),
        denied("11:01:15"),
        denied("11:02:09"),
        flag(
            "13:40:11",
            "Terraform CI",
            "updated",
            "pay-sepa",
            "default",
            r#","enabled":true,"description":"SEPA direct debit""#,
        ),
        segment("updated", "Beta and staff"),
        flag("14:05:20", "Ben", "updated", "new-search", "staging", ""),
        "{\"version\":\"0.2\",\"type\":\"flag\",\"act\n".to_owned(),
        flag("14:14:02", "Ann", "updated", "checkout", "default", r#","enabled":true"#),
        rollout("14:14:20", "updated", 50),
    ]
    .concat()
}

fn destination(name: &str, kind: &str, books: Books, waiting: u64) -> DestinationReport {
    DestinationReport {
        name: name.to_owned(),
        kind: Some(kind.to_owned()),
        state: "running".to_owned(),
        code: None,
        reason: None,
        since: None,
        until: None,
        paused_by: None,
        accepted: books.sum() + waiting,
        books,
        waiting,
        undecided: Some(0),
        balanced: true,
        oldest_waiting_at: None,
        held: 0,
        held_until: None,
        in_flight: 0,
        failed_attempts: 0,
        next_attempt_at: None,
        last_success_at: Some(at("14:14:21")),
        last_error_at: None,
        last_error: None,
        replays: Vec::new(),
    }
}

fn source(name: &str, last: Option<&str>) -> SourceReport {
    SourceReport {
        name: name.to_owned(),
        kind: Some("file".to_owned()),
        instance: "flipt".to_owned(),
        last_event_at: last.map(at),
        behind_bytes: 0,
        unparsed: 0,
        ignored: 0,
        stalled: None,
        files: vec![FileReport {
            path: "/var/log/flipt/audit.log".into(),
            position: 0,
            size_bytes: Some(0),
            renamed: false,
            reclaim: None,
        }],
        absent: Vec::new(),
        unreadable: Vec::new(),
        listening: None,
        refused: 0,
        untaken: 0,
    }
}

fn row(name: &str, cursor: u64, books: Books) -> DestinationRow {
    DestinationRow {
        id: DestinationId(1),
        name: name.to_owned(),
        first_seen_at: at("08:00:00"),
        first_sequence: 1,
        cursor,
        acked: Vec::new(),
        books,
        open_batches: Vec::new(),
        endpoint: Endpoint::default(),
        quiet: Vec::new(),
        paused: None,
        orphaned: None,
    }
}

/// An hour with something to do now and then.
fn hour(failing_since: Option<i64>) -> VecDeque<Minute> {
    let last = now().unix_micros() / 60_000_000;
    let some = [(58, 1), (51, 3), (50, 2), (41, 6), (40, 1), (23, 2), (22, 4), (15, 1), (7, 9), (6, 2)];
    let mut minutes: Vec<Minute> = some
        .iter()
        .map(|(ago, delivered)| Minute { minute: last - ago, delivered: *delivered, failed: 0 })
        .filter(|minute| failing_since.is_none_or(|since| minute.minute < last - since))
        .collect();
    for ago in (0..=failing_since.unwrap_or(-1)).rev() {
        minutes.push(Minute { minute: last - ago, delivered: 0, failed: 1 });
    }
    minutes.into()
}

impl Scene {
    fn new(lines: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let data_dir = directory.path().join("data");
        std::fs::create_dir_all(&data_dir).unwrap();
        let config = directory.path().join("relay.yaml");
        std::fs::write(&config, format!("{CONFIG}{}\n", data_dir.display())).unwrap();
        let plan = plan(&config);
        let (journal, _) = Journal::open(Options {
            data_dir,
            keep: plan.journal.keep,
            max_size_bytes: plan.journal.max_size_bytes,
            lock_wait: Duration::ZERO,
            keeps_all: false,
        })
        .unwrap();
        let log = directory.path().join("audit.log");
        std::fs::write(&log, lines).unwrap();
        let source = FileSource::planned(&plan, "flipt", &journal).unwrap();
        import(&source, &log, false).unwrap();
        let (lanes, sources) = Default::default();
        let configuration = ConfigurationReport {
            sha256: Some("9f3c2a71d0b84e65".repeat(4)),
            applied_at: Some(at("13:02:11")),
            last_reload: None,
        };
        let plan = Arc::new(plan);
        let standing = Standing { plan, lanes, sources, configuration: configuration.clone() };
        let office = Office::running(standing, journal);
        let last = *office.journal().latest().borrow();
        let books = |delivered, not_routed| Books { delivered, not_routed, ..Books::default() };
        let report = Report {
            verdict: String::new(),
            at: now(),
            relay: RelayReport {
                name: "production_hub".to_owned(),
                version: "1.2.0".to_owned(),
                running_since: Some(at("08:00:00")),
            },
            configuration,
            findings: Vec::new(),
            sources: vec![source_of("flipt_0"), source_of("flipt_1"), source_of("flipt_2")],
            journal: JournalReport {
                epoch: "9f3c2a".to_owned(),
                first_sequence: 1,
                last_sequence: 100,
                used_bytes: 38 << 20,
                max_size_bytes: 1 << 30,
                disk_full: false,
                damaged: false,
                corrupt_records: 0,
            },
            destinations: vec![
                destination("archive", "file", books(100, 0), 0),
                destination("datadog", "datadog", books(96, 4), 0),
                destination("slack", "slack", books(96, 4), 0),
            ],
            orphans: Vec::new(),
            balanced: true,
        };
        let rows = ["archive", "datadog", "slack"].map(|name| row(name, last, books(96, 4))).to_vec();
        let names = ["archive", "datadog", "slack"];
        let minutes = names.map(|name| (name.to_owned(), hour(None))).into();
        Self { office, report, minutes, rows, dead: Vec::new(), _directory: directory }
    }

    /// All is well.
    pub(super) fn full() -> Self {
        let mut scene = Self::new(&lines());
        scene.report.sources[1].unparsed = 1;
        scene
    }

    /// One dead letter more.
    pub(super) fn with_dead(mut self, flag: &'static str) -> Self {
        self.dead.push(flag);
        self
    }

    /// One destination takes nothing any more.
    pub(super) fn stuck() -> Self {
        let mut scene = Self::full();
        scene.minutes.insert("datadog".to_owned(), hour(Some(11)));
        let books = Books { delivered: 84, not_routed: 4, ..Books::default() };
        let datadog = DestinationReport {
            state: "blocked".to_owned(),
            code: Some("http_403".to_owned()),
            reason: Some(
                "Datadog answered 403: API key invalid; `api_key` is wrong or belongs to another `site`, or the account wants an `app_key`, too"
                    .to_owned(),
            ),
            since: Some(at("14:09:12")),
            failed_attempts: 12,
            next_attempt_at: Some(at("14:24:00")),
            last_success_at: Some(at("14:08:59")),
            oldest_waiting_at: Some(at("14:09:11")),
            ..destination("datadog", "datadog", books, 12)
        };
        scene.report.destinations[1] = datadog;
        let last = scene.rows[1].cursor;
        scene.rows[1].cursor = last - 2;
        scene.rows[1].open_batches = vec![OpenBatch {
            id: BatchId::from_stored("bat_1".to_owned()),
            members: vec![last - 1, last],
            attempts: 12,
            not_before: Some(at("14:24:00")),
        }];
        scene
    }

    /// Nothing has come yet.
    pub(super) fn empty() -> Self {
        let mut scene = Self::new("");
        scene.report.sources = vec![source("flipt", None)];
        scene.report.journal = JournalReport {
            first_sequence: 0,
            last_sequence: 0,
            used_bytes: 96 << 10,
            ..scene.report.journal
        };
        scene.report.destinations.iter_mut().for_each(|one| {
            let kind = one.kind.clone().unwrap();
            *one = DestinationReport {
                last_success_at: None,
                ..destination(&one.name, &kind, Books::default(), 0)
            };
        });
        scene.minutes.clear();
        scene
    }

    /// So many changes of as many flags.
    pub(super) fn crowded(flags: usize) -> Self {
        let line = |number| {
            let time = format!("{:02}:{:02}:00", 10 + number / 60, number % 60);
            flag(&time, "Ann", "created", &format!("flag-{number:02}"), "default", r#","enabled":true"#)
        };
        Self::new(&(0..flags).map(line).collect::<String>())
    }

    /// Events that try to be more than text.
    pub(super) fn hostile() -> Self {
        let evil = r#"<script>alert(1)</script>\"'><img src=x onerror=x>\u202e\u200b\u001b[2J<b>x"#;
        let lines = [
            flag("10:00:00", evil, "created", evil, "default", r#","enabled":true"#),
            flag("10:00:30", evil, "updated", evil, "default", &format!(r#","description":"{evil}""#)),
            flag("10:05:00", "Ann", "updated", "<script>", evil, ""),
            "<script>alert(1)</script>\n".to_owned(),
        ];
        let mut scene = Self::new(&lines.concat());
        let evil = "<script>alert(1)</script> `<img src=x>`".to_owned();
        scene.report.sources[0].stalled = Some(evil.clone());
        scene.report.relay.name.clone_from(&evil);
        let datadog = &mut scene.report.destinations[1];
        "blocked".clone_into(&mut datadog.state);
        (datadog.reason, datadog.last_error, datadog.last_error_at) =
            (Some(evil.clone()), Some(evil.clone()), Some(now()));
        scene.report.findings = vec![crate::admin::Finding {
            code: "x".to_owned(),
            severe: true,
            sentence: evil.clone(),
            remedy: Some(evil),
        }];
        scene
    }

    fn stretch(&self, question: &Question) -> Stretch {
        let mut stretch = wait(newest::read(&self.office, question, LAST_LOOK)).unwrap();
        for delivery in &mut stretch.deliveries {
            let record = &mut delivery.record;
            record.accepted_at = record.event_time.unwrap_or(at("14:06:00")).plus(Duration::from_secs(1));
            record.epoch = "9f3c2a".into();
        }
        stretch
    }

    fn ways(&self, stretch: &Stretch) -> Ways {
        let plan = self.office.plan();
        let built: Built = plan
            .destinations
            .iter()
            .filter_map(|(name, plan)| Some((name.clone(), build(plan).ok()?)))
            .collect();
        let is_dead = |record: &crate::event::StoredRecord| {
            let owner = record.order_key.as_ref().and_then(crate::event::OrderKey::owner);
            owner.is_some_and(|(_, key)| self.dead.contains(&key.as_str()))
        };
        let dead =
            stretch.deliveries.iter().map(|delivery| &delivery.record).filter(|record| is_dead(record));
        let letter = |sequence| DeadLetterRow {
            destination: DestinationId(1),
            destination_name: "datadog".to_owned(),
            code: "rejected".to_owned(),
            message: "Datadog answered 400: too old".to_owned(),
            attempts: 1,
            died_at: at("14:00:00"),
            sequence,
            record: None,
        };
        let dead = dead.map(|record| (("datadog".to_owned(), record.sequence), letter(record.sequence)));
        Ways { built: Arc::new(built), rows: self.rows.clone(), dead: dead.collect(), plan }
    }

    /// The whole page.
    pub(super) fn page(&self, query: &str, sees_names: bool) -> String {
        let question = Question::read(query);
        let stretch = self.stretch(&question);
        let told = newest::tell(&stretch, &question, &self.ways(&stretch), sees_names, now());
        let report = if sees_names { self.report.clone() } else { nameless::report(self.report.clone()) };
        let status = view::status(&report, &self.minutes, &BTreeMap::new());
        paint::page(&status, &view::changes(&question, told, &self.office.plan()), sees_names).unwrap()
    }

    /// The page of the last change of a flag or segment.
    pub(super) fn change(&self, key: &str, sees_names: bool) -> String {
        let stretch = self.stretch(&Question::default());
        let ways = self.ways(&stretch);
        let is_of = |delivery: &&crate::destination::Delivery| {
            let owner = delivery.record.order_key.as_ref().and_then(crate::event::OrderKey::owner);
            owner.is_some_and(|(_, owner)| owner == key)
        };
        let delivery = stretch.deliveries.iter().rfind(is_of).unwrap();
        let seen = Seen { delivery, around: &stretch.deliveries, ways: &ways, sees_names };
        let (title, view) = seen.view(now());
        paint::change(&title, &paint::detail(&view).unwrap()).unwrap()
    }
}

fn source_of(name: &str) -> SourceReport {
    let last = match name {
        "flipt_0" => "14:14:20",
        "flipt_1" => "13:58:02",
        _ => "13:40:11",
    };
    source(name, Some(last))
}

fn plan(config: &std::path::Path) -> Plan {
    let secret = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let options = LoadOptions {
        config: Some(config.to_path_buf()),
        environment: vec![secret("NONE", "https://hooks.slack.com/services/T0/B0/notarealone")],
        references: References::Ignore,
        allow_inline_secrets: false,
    };
    load(&options).unwrap_or_else(|problems| panic!("{problems}")).plan
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}
