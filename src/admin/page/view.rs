//! What the page shows, in words and numbers; how it looks is for the templates.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::Serialize;

use super::chart::{Chart, chart};
use super::moment::Moment;
use super::newest::Told;
use super::question::Question;
use crate::admin::words::{brief, bytes, count, escaped, number};
use crate::admin::{DestinationReport, Report, SourceReport, remedies, text};
use crate::config::plan::Plan;
use crate::delivery::Minute;

/// A reason, a finding or a remedy is shown up to here.
const MAX_TEXT: usize = 1_000;

/// Problems of a refused configuration that are shown.
const MAX_PROBLEMS: usize = 20;

/// How far back a form offers to look: what is sent, and what it is called.
const SINCE: [(&str, &str); 5] = [
    ("", "any time"),
    ("1h", "last hour"),
    ("24h", "last 24 h"),
    ("7d", "last 7 days"),
    ("30d", "last 30 days"),
];

/// How everything stands.
#[derive(Debug, Clone, Serialize)]
pub(super) struct StatusView {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) at: Moment,
    pub(super) running_since: Option<Moment>,
    pub(super) sha: Option<String>,
    pub(super) applied_at: Option<Moment>,
    pub(super) refused: Option<RefusedView>,
    pub(super) mood: Mood,
    pub(super) verdict: String,
    pub(super) reassurance: Option<&'static str>,
    pub(super) causes: Vec<CauseView>,
    pub(super) findings: Vec<FindingView>,
    pub(super) empty: Option<EmptyView>,
    pub(super) sources: Vec<SourceView>,
    pub(super) destinations: Vec<DestinationView>,
    pub(super) is_balanced: bool,
    /// What was accepted, where it is the same for every destination.
    pub(super) accepted: Option<String>,
    pub(super) journal: String,
    pub(super) persons: Vec<PersonView>,
}

/// How it looks at first sight: a word for the style sheet, a mark and a word for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Mood {
    pub(super) class: &'static str,
    pub(super) mark: &'static str,
    pub(super) word: &'static str,
}

const WELL: Mood = Mood { class: "ok", mark: "✔", word: "well" };
const WARNING: Mood = Mood { class: "wait", mark: "⚠", word: "warning" };
const NOTHING: Mood = Mood { class: "off", mark: "○", word: "nothing yet" };
const STUCK: Mood = Mood { class: "bad", mark: "✖", word: "stuck" };

/// An edit of the configuration that was not applied.
#[derive(Debug, Clone, Serialize)]
pub(super) struct RefusedView {
    pub(super) at: Moment,
    pub(super) problems: Vec<String>,
    pub(super) more: usize,
    pub(super) fix: &'static str,
    pub(super) what: &'static str,
    pub(super) words: &'static str,
}

/// Why something does not go on, and what to do.
#[derive(Debug, Clone, Serialize)]
pub(super) struct CauseView {
    pub(super) name: String,
    pub(super) words: String,
    pub(super) next: Option<Moment>,
    pub(super) fix: Option<String>,
}

/// What was found around the relay.
#[derive(Debug, Clone, Serialize)]
pub(super) struct FindingView {
    pub(super) severe: bool,
    pub(super) sentence: String,
    pub(super) fix: Option<String>,
}

/// What is shown before the first event.
#[derive(Debug, Clone, Serialize)]
pub(super) struct EmptyView {
    pub(super) reading: Vec<String>,
    /// Whether the likeliest causes are to be named: nothing better is known.
    pub(super) guesses: bool,
    pub(super) has_file: bool,
    pub(super) has_http: bool,
    /// A destination to try.
    pub(super) destination: Option<String>,
}

/// A source.
#[derive(Debug, Clone, Serialize)]
pub(super) struct SourceView {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) mood: Mood,
    pub(super) last_event: Option<Moment>,
    pub(super) behind: String,
    pub(super) unparsed: String,
    pub(super) ignored: String,
    pub(super) refused: String,
    pub(super) notes: Vec<String>,
}

/// A destination.
#[derive(Debug, Clone, Serialize)]
pub(super) struct DestinationView {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) mood: Mood,
    /// Its state in words: `running`, `blocked since 14:09:12`.
    pub(super) state: String,
    pub(super) chart: Chart,
    pub(super) delivered: String,
    pub(super) waiting: String,
    pub(super) dead: String,
    pub(super) purged: String,
    pub(super) not_routed: String,
    pub(super) last: Option<Moment>,
    pub(super) next: Option<Moment>,
    pub(super) notes: Vec<String>,
}

/// What needs a person, and a command to begin with.
#[derive(Debug, Clone, Serialize)]
pub(super) struct PersonView {
    pub(super) what: String,
    pub(super) command: Option<String>,
}

/// A list of changes, and the form that selects them.
#[derive(Debug, Clone, Serialize)]
pub(super) struct ChangesView {
    pub(super) told: Told,
    pub(super) question: Question,
    pub(super) is_all: bool,
    pub(super) subject: Option<String>,
    pub(super) environments: Vec<String>,
    pub(super) since: Vec<(String, String)>,
    pub(super) older: Option<String>,
    pub(super) csv: String,
    pub(super) ndjson: String,
    pub(super) narrows: bool,
}

/// All of it but the changes.
pub(super) fn status(
    report: &Report,
    minutes: &BTreeMap<String, VecDeque<Minute>>,
    gaps: &BTreeMap<String, u64>,
) -> StatusView {
    let now = report.at;
    let moment = |time| Moment::of(time, now);
    let configuration = &report.configuration;
    let refused = configuration.last_reload.as_ref().filter(|reload| !reload.successful);
    let is_salvaged = configuration.salvaged_since().is_some();
    let all = || report.destinations.iter().chain(&report.orphans);
    let mut accepted = all().map(|destination| destination.accepted);
    let first = accepted.next();
    let empty = report.sources.iter().all(|source| source.last_event_at.is_none()).then(|| empty(report));
    let (mut mood, mut verdict) = (mood(report), sentence(&text::headline(report)));
    if empty.is_some() {
        mood = if mood == WELL { NOTHING } else { mood };
        verdict.insert_str(0, "No event yet. ");
    }
    StatusView {
        name: escaped(&report.relay.name),
        version: report.relay.version.clone(),
        at: moment(now),
        running_since: report.relay.running_since.map(moment),
        sha: configuration.sha256.as_ref().map(|sha| sha.chars().take(8).collect()),
        applied_at: configuration.applied_at.map(moment),
        refused: refused.map(|reload| RefusedView {
            at: moment(reload.at),
            problems: reload
                .problems
                .iter()
                .take(MAX_PROBLEMS)
                .map(|problem| brief(problem, MAX_TEXT))
                .collect(),
            more: reload.problems.len().saturating_sub(MAX_PROBLEMS),
            what: if is_salvaged { "as it is since" } else { "the edit of" },
            words: match is_salvaged {
                true => "it is not right: what comes is kept, and nothing delivered",
                false => "was refused, and what ran before goes on",
            },
            fix: if is_salvaged { remedies::OF_SALVAGED } else { remedies::OF_RELOAD },
        }),
        mood,
        verdict,
        reassurance: remedies::reassurance(report),
        causes: causes(report),
        findings: report.findings.iter().map(finding).collect(),
        empty,
        sources: report.sources.iter().map(|source| self::source(source, report)).collect(),
        destinations: all()
            .map(|destination| {
                let minutes = minutes.get(&destination.name).into_iter().flatten();
                self::destination(destination, chart(minutes, now), report)
            })
            .collect(),
        is_balanced: report.balanced,
        accepted: first.filter(|first| accepted.all(|other| other == *first)).map(number),
        journal: journal(report),
        persons: persons(report, gaps),
    }
}

/// A capital at its beginning and a stop at its end.
fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", characters.as_str().trim_end_matches('.'))
}

fn mood(report: &Report) -> Mood {
    let journal = &report.journal;
    let stands = |state: &str| report.destinations.iter().any(|destination| destination.state == state);
    let stalled = report.sources.iter().any(|source| source.stalled.is_some());
    if journal.disk_full || journal.damaged || stalled || stands("blocked") || !report.balanced {
        return STUCK;
    }
    let all = || report.destinations.iter().chain(&report.orphans);
    let is_refused = report.configuration.last_reload.as_ref().is_some_and(|reload| !reload.successful);
    let needs_look = report.destinations.is_empty()
        || all().any(|destination| destination.books.dead > 0)
        || report.orphans.iter().any(|orphan| orphan.waiting > 0)
        || report.destinations.iter().any(text::is_troubled)
        || report.findings.iter().any(|finding| finding.severe)
        || report.sources.iter().any(|source| !source.unreadable.is_empty());
    if needs_look || is_refused || journal.corrupt_records > 0 { WARNING } else { WELL }
}

fn causes(report: &Report) -> Vec<CauseView> {
    let journal = remedies::of_journal(&report.journal).map(|fix| CauseView {
        name: "journal".to_owned(),
        words: journal_words(report),
        next: None,
        fix: Some(fix.to_owned()),
    });
    let sources = report.sources.iter().filter_map(|source| {
        let why = source.stalled.as_deref()?;
        let fix = remedies::of_source(source);
        Some(CauseView { name: source.name.clone(), words: sentence(&brief(why, MAX_TEXT)), next: None, fix })
    });
    let troubled = report.destinations.iter().filter(|destination| text::is_troubled(destination));
    let destinations = troubled.map(|destination| CauseView {
        name: destination.name.clone(),
        words: trouble(destination),
        next: destination.next_attempt_at.map(|next| Moment::of(next, report.at)),
        fix: remedies::of_destination(destination),
    });
    journal.into_iter().chain(sources).chain(destinations).collect()
}

fn journal_words(report: &Report) -> String {
    match &report.journal {
        journal if journal.disk_full => "The disk is full.".to_owned(),
        journal if journal.damaged => "It was found damaged.".to_owned(),
        journal => format!("{} altered or missing.", count(journal.corrupt_records, "record")),
    }
}

/// Why, and how often it was tried.
fn trouble(destination: &DestinationReport) -> String {
    let mut words = destination.reason.as_deref().map(sentence).unwrap_or_default();
    let mut add = |text: String| {
        words.push_str(if words.is_empty() { "" } else { " " });
        words.push_str(&text);
    };
    if let Some(by) = &destination.paused_by {
        add(format!("Paused by {by}."));
    }
    if destination.failed_attempts > 0 {
        add(format!("{} in a row.", count(destination.failed_attempts.into(), "failed attempt")));
    }
    words
}

fn finding(finding: &crate::admin::Finding) -> FindingView {
    FindingView {
        severe: finding.severe,
        sentence: brief(&finding.sentence, MAX_TEXT),
        fix: finding.remedy.as_deref().map(|remedy| brief(remedy, MAX_TEXT)),
    }
}

fn empty(report: &Report) -> EmptyView {
    let since =
        report.relay.running_since.map(|since| format!(" since {}", Moment::of(since, report.at).text));
    let since = since.unwrap_or_default();
    let mut reading = Vec::new();
    for source in &report.sources {
        let path = |path: &std::path::Path| escaped(&path.to_string_lossy());
        for file in &source.files {
            let size = file
                .size_bytes
                .map_or_else(|| "not there now".to_owned(), |size| format!("it has {}", bytes(size)));
            reading.push(format!("Reading {} ({size}){since}.", path(&file.path)));
        }
        let absent = source.absent.iter().map(|absent| format!("{} is not there yet.", path(absent)));
        reading.extend(absent);
        reading.extend(source.unreadable.iter().map(|absent| format!("{} cannot be read.", path(absent))));
        reading.extend(source.listening.map(|at| format!("Listening on {at} for what Flipt pushes{since}.")));
    }
    let is = |kind: &str| report.sources.iter().any(|source| source.kind.as_deref() == Some(kind));
    EmptyView {
        reading,
        guesses: report.findings.is_empty(),
        has_file: is("file"),
        has_http: is("http"),
        destination: report.destinations.first().map(|destination| destination.name.clone()),
    }
}

fn source(source: &SourceReport, report: &Report) -> SourceView {
    let moment = |time| Moment::of(time, report.at);
    let mut notes = Vec::new();
    notes.extend(source.stalled.iter().map(|why| format!("does not go on: {}", brief(why, MAX_TEXT))));
    for path in &source.unreadable {
        notes.push(format!("{} cannot be read", escaped(&path.to_string_lossy())));
    }
    for path in &source.absent {
        notes.push(format!("{} is not there yet", escaped(&path.to_string_lossy())));
    }
    for file in &source.files {
        let held_up = file.reclaim.as_ref().and_then(|reclaim| reclaim.held_up.as_deref());
        notes.extend(held_up.map(|why| {
            let path = escaped(&file.path.to_string_lossy());
            format!("no space of {path} is given back: {}", brief(why, MAX_TEXT))
        }));
    }
    notes.extend(remedies::of_source(source).map(|fix| format!("fix: {fix}")));
    notes.extend(source.listening.map(|at| format!("listening on {at}")));
    notes.extend((source.untaken > 0).then(|| format!("{} not taken", pushes(source.untaken))));
    SourceView {
        name: source.name.clone(),
        kind: source.kind.clone().unwrap_or_else(|| "not configured".to_owned()),
        mood: match source {
            source if source.stalled.is_some() => STUCK,
            source if !source.unreadable.is_empty() || source.refused + source.untaken > 0 => WARNING,
            _ => WELL,
        },
        last_event: source.last_event_at.map(moment),
        behind: bytes(source.behind_bytes),
        unparsed: number(source.unparsed),
        ignored: number(source.ignored),
        refused: number(source.refused),
        notes,
    }
}

fn destination(destination: &DestinationReport, chart: Chart, report: &Report) -> DestinationView {
    let moment = |time| Moment::of(time, report.at);
    let mut state = destination.state.clone();
    if let Some(since) = destination.since {
        state.push_str(&format!(" since {}", moment(since).text));
    }
    if let Some(until) = destination.until {
        state.push_str(&format!(" until {}", moment(until).text));
    }
    let books = &destination.books;
    DestinationView {
        name: destination.name.clone(),
        kind: destination.kind.clone().unwrap_or_else(|| "not configured".to_owned()),
        mood: match destination.state.as_str() {
            "running" => WELL,
            "blocked" => STUCK,
            _ => WARNING,
        },
        state,
        chart,
        delivered: number(books.delivered),
        waiting: number(destination.waiting),
        dead: number(books.dead),
        purged: number(books.purged),
        not_routed: number(books.not_routed),
        last: destination.last_success_at.map(moment),
        next: destination.next_attempt_at.map(moment),
        notes: text::remarks(destination, report.at),
    }
}

fn journal(report: &Report) -> String {
    let journal = &report.journal;
    let records = match journal.first_sequence {
        0 => "no records".to_owned(),
        first => count(journal.last_sequence - first + 1, "record"),
    };
    format!("{records}, {} of {}", bytes(journal.used_bytes), bytes(journal.max_size_bytes))
}

fn pushes(number: u64) -> String {
    count(number, "push").replace("pushs", "pushes")
}

fn persons(report: &Report, gaps: &BTreeMap<String, u64>) -> Vec<PersonView> {
    let mut persons = Vec::new();
    let mut add = |what: String, command: Option<String>| persons.push(PersonView { what, command });
    if remedies::of_journal(&report.journal).is_some() {
        add(format!("journal: {}", journal_words(report)), Some("audit-relay status".to_owned()));
    }
    if report.configuration.last_reload.as_ref().is_some_and(|reload| !reload.successful) {
        add(
            match report.configuration.salvaged_since() {
                Some(_) => "the configuration is not right".to_owned(),
                None => "the last edit of the configuration was refused".to_owned(),
            },
            Some("audit-relay check".to_owned()),
        );
    }
    for source in &report.sources {
        if source.stalled.is_some() || !source.unreadable.is_empty() {
            add(format!("source {} does not go on", source.name), Some("audit-relay status".to_owned()));
        }
        if source.refused > 0 {
            let pushes = pushes(source.refused);
            add(format!("{pushes} refused by {}: a wrong signature, or no token", source.name), None);
        }
        if source.untaken > 0 {
            let pushes = pushes(source.untaken);
            add(
                format!("{pushes} not taken by {}: too large, unreadable or late; its log says", source.name),
                None,
            );
        }
        if source.unparsed > 0 {
            let lines = count(source.unparsed, "unreadable line");
            add(format!("{lines} ({})", source.name), Some("audit-relay changes --since 30d".to_owned()));
        }
    }
    for (source, gaps) in gaps {
        let gaps = count(*gaps, "gap");
        add(
            format!("{gaps} ({source}): events may be missing"),
            Some("audit-relay changes --since 30d".to_owned()),
        );
    }
    for destination in report.destinations.iter().chain(&report.orphans) {
        let name = &destination.name;
        if destination.state == "blocked" {
            add(format!("{name} is blocked"), Some(format!("audit-relay resume {name}")));
        }
        if destination.state == "orphaned" && destination.waiting > 0 {
            add(format!("{} kept for {name}, which is not configured", number(destination.waiting)), None);
        }
        if destination.books.dead > 0 {
            let letters = count(destination.books.dead, "dead letter");
            add(
                format!("{letters} of {name}"),
                Some(format!("audit-relay dead-letters list --destination {name}")),
            );
        }
        if !destination.balanced {
            add(format!("the books of {name} do not balance"), Some("audit-relay status --json".to_owned()));
        }
    }
    persons
}

/// The list of changes with its form.
pub(super) fn changes(question: &Question, told: Told, plan: &Plan) -> ChangesView {
    let environments = &plan.routes.environments;
    let named = environments.rules.iter().map(|rule| &rule.name).chain(&environments.fallback);
    let fixed = plan.sources.values().filter_map(|source| source.environment.as_ref());
    let mut names: BTreeSet<String> = named.chain(fixed).map(|name| escaped(name)).collect();
    names.insert(escaped(&question.environment));
    names.remove("");
    let mut since: Vec<(String, String)> =
        SINCE.iter().map(|(value, name)| ((*value).to_owned(), (*name).to_owned())).collect();
    if !since.iter().any(|(value, _)| *value == question.since) {
        since.push((question.since.clone(), escaped(&question.since)));
    }
    let older = told.before.map(|before| question.query(Some(before)));
    ChangesView {
        is_all: question.is_all(),
        subject: question.subject(),
        environments: names.into_iter().collect(),
        since,
        older,
        csv: question.export("csv"),
        ndjson: question.export("ndjson"),
        narrows: question.narrows_beyond_export(),
        question: question.clone(),
        told,
    }
}
