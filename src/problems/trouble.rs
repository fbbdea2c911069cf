//! What needs a person, read off the report.

use crate::admin::words::{self, brief, count};
use crate::admin::{DestinationReport, Finding, Report, trouble};
use crate::event::Timestamp;
use crate::journal::{Gaps, JournalStatus};

/// Something that needs a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    /// By what it is known again.
    pub(super) key: String,
    /// A stable word.
    pub(super) code: &'static str,
    /// The destination or source that it is about.
    pub(super) about: Option<String>,
    /// Whether events do not come, or are lost or kept up.
    pub(super) severe: bool,
    /// What is wrong, in the words of `status`.
    pub(super) sentence: String,
    /// What to do about it.
    pub(super) remedy: Option<String>,
    /// Since when, where that is known.
    pub(super) since: Option<Timestamp>,
    /// How it is told.
    pub(super) manner: Manner,
}

/// How something is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Manner {
    /// Once it has lasted for a while; again and again; and that it is over.
    Lasting,
    /// The same, but at once.
    AtOnce,
    /// At once, not again; and that it is over.
    First,
    /// At once, and never more: it has happened.
    Event,
}

/// The share of the journal from which it is filling, and below which it is not any more, in percent.
const FILLING: u64 = 80;
const NOT_FILLING: u64 = 75;
/// How much of what others say is told.
const SHOWN: usize = 200;

/// What is looked at.
pub(super) struct Look<'a> {
    pub(super) report: &'a Report,
    pub(super) journal: &'a JournalStatus,
    /// About how much of the journal is kept for destinations that have not passed it, in bytes.
    pub(super) owed_bytes: u64,
    /// Gaps since the last look.
    pub(super) gaps: &'a [Gaps],
    /// Sources that are silent.
    pub(super) silent: &'a [(String, Finding)],
}

/// Whether a destination is sick: a pause is a person's will.
pub(super) fn is_sick(destination: &DestinationReport) -> bool {
    matches!(destination.state.as_str(), "blocked" | "waiting")
}

/// All that needs a person now. `is_open` tells what is known as a problem already.
pub(super) fn troubles(look: &Look<'_>, is_open: impl Fn(&str) -> bool) -> Vec<Trouble> {
    let report = look.report;
    let mut all: Vec<Trouble> = journal(look, is_open).into_iter().collect();
    for destination in &report.destinations {
        all.extend(sick(destination, report.at));
        all.extend(dead(destination));
    }
    for source in &report.sources {
        all.extend(source.stalled.as_ref().map(|why| Trouble {
            about: Some(source.name.clone()),
            remedy: Some("audit-relay status".to_owned()),
            severe: true,
            ..lasting(
                "source_stalled",
                &source.name,
                format!("Source {} does not go on: {}.", source.name, brief(why, SHOWN)),
            )
        }));
    }
    all.extend(look.silent.iter().map(|(source, finding)| Trouble {
        about: Some(source.clone()),
        remedy: finding.remedy.clone(),
        severe: finding.severe,
        manner: Manner::AtOnce,
        ..lasting("source_silent", source, finding.sentence.clone())
    }));
    all.extend(look.gaps.iter().map(|gaps| gap(gaps, report.journal.last_sequence)));
    all.extend(reload(report));
    let found =
        report.findings.iter().filter(|finding| finding.severe && finding.code != super::silence::CODE);
    all.extend(found.map(|finding| Trouble {
        remedy: finding.remedy.clone(),
        severe: true,
        ..lasting("finding", &finding.code, finding.sentence.clone())
    }));
    all
}

fn lasting(code: &'static str, key: &str, sentence: String) -> Trouble {
    Trouble {
        key: format!("{code}:{key}"),
        code,
        about: None,
        severe: false,
        sentence,
        remedy: None,
        since: None,
        manner: Manner::Lasting,
    }
}

fn journal(look: &Look<'_>, is_open: impl Fn(&str) -> bool) -> Option<Trouble> {
    let status = look.journal;
    let pinned = status.pinned_by.as_ref();
    let keeper = pinned.map_or_else(String::new, |name| format!(": {name} has passed the least of it"));
    let remedy = |name: &String| {
        format!("audit-relay status   # repair {name}, or: destinations: {{{name}: {{discard: true}}}}")
    };
    if status.disk_full {
        return Some(Trouble {
            severe: true,
            remedy: Some("df -h   # make room on the disk of data_dir".to_owned()),
            manner: Manner::AtOnce,
            ..lasting(
                "disk_full",
                "journal",
                "Nothing is accepted: the disk that holds the journal is full.".to_owned(),
            )
        });
    }
    if status.full {
        return Some(Trouble {
            severe: true,
            remedy: pinned.map(remedy),
            manner: Manner::AtOnce,
            ..lasting(
                "journal_full",
                "journal",
                format!("Nothing is accepted: the journal is at its limit{keeper}."),
            )
        });
    }
    let bound = if is_open("journal_filling:journal") { NOT_FILLING } else { FILLING };
    let percent = look.owed_bytes.saturating_mul(100) / status.max_size_bytes.max(1);
    (percent >= bound).then(|| Trouble {
        remedy: pinned.map(remedy),
        ..lasting(
            "journal_filling",
            "journal",
            format!(
                "The journal is {percent} % full with what is still owed ({} of {}){keeper}.",
                words::bytes(look.owed_bytes),
                words::bytes(status.max_size_bytes)
            ),
        )
    })
}

fn sick(destination: &DestinationReport, now: Timestamp) -> Option<Trouble> {
    let name = &destination.name;
    is_sick(destination).then(|| Trouble {
        about: Some(name.clone()),
        severe: destination.state == "blocked",
        remedy: Some(format!("audit-relay send-test {name}   # shows what it answers; once it is repaired: audit-relay resume {name}")),
        since: destination.since,
        ..lasting("destination", name, format!("{}.", trouble(destination, now, true)))
    })
}

fn dead(destination: &DestinationReport) -> Option<Trouble> {
    let name = &destination.name;
    let letters = destination.books.dead;
    (letters > 0).then(|| Trouble {
        about: Some(name.clone()),
        remedy: Some(format!("audit-relay dead-letters list --destination {name}")),
        manner: Manner::First,
        ..lasting(
            "dead_letters",
            name,
            format!(
                "{name} has its first {}: it would not take what is in it.",
                if letters == 1 { "dead letter".to_owned() } else { count(letters, "dead letter") }
            ),
        )
    })
}

fn gap(gaps: &Gaps, last: u64) -> Trouble {
    let source = &gaps.source;
    Trouble {
        about: Some(source.clone()),
        severe: true,
        since: Some(gaps.last_at),
        remedy: Some(
            "rotate by copytruncate, or keep rotated copies where the source looks for them (rotated_dir)"
                .to_owned(),
        ),
        manner: Manner::Event,
        ..lasting(
            "gap",
            &format!("{source}:{last}"),
            format!(
                "{} in what source {source} read: events are known, or feared, to be missing.",
                count(gaps.count, "gap")
            ),
        )
    }
}

fn reload(report: &Report) -> Option<Trouble> {
    let reload = report.configuration.last_reload.as_ref().filter(|reload| !reload.successful)?;
    let more = match reload.problems.len() {
        0 | 1 => String::new(),
        several => format!(" (and {})", count(several as u64 - 1, "more problem")),
    };
    let why = reload.problems.first().map_or_else(String::new, |why| format!(": {}", brief(why, SHOWN)));
    Some(Trouble {
        since: Some(reload.at),
        remedy: Some("audit-relay check".to_owned()),
        manner: Manner::AtOnce,
        ..lasting(
            "reload_refused",
            "configuration",
            match report.configuration.salvaged_since() {
                Some(_) => format!("The configuration is not right, and nothing is delivered{why}{more}."),
                None => format!(
                    "An edit of the configuration was refused, and the one before goes on{why}{more}."
                ),
            },
        )
    })
}

/// How something ended, in one sentence.
pub(super) fn ending(code: &str, about: Option<&str>, sentence: &str, report: &Report) -> String {
    let name = about.unwrap_or_default();
    match code {
        "destination" => match report.destinations.iter().find(|destination| destination.name == name) {
            None => format!("{name} is not configured any more."),
            Some(destination) if destination.state == "running" => match destination.waiting {
                0 => format!("{name} delivers again: nothing waits."),
                waiting => format!("{name} delivers again: {} to go.", count(waiting, "record")),
            },
            Some(destination) => format!("{name} is {}.", destination.state),
        },
        "dead_letters" => format!("{name} has no dead letters any more."),
        "source_stalled" => format!("Source {name} goes on."),
        "source_silent" => format!("Source {name} is not silent any more."),
        "journal_filling" => "The journal has room again.".to_owned(),
        "journal_full" | "disk_full" => "The journal accepts again.".to_owned(),
        "reload_refused" => "The configuration is applied.".to_owned(),
        _ => format!("Not so any more: {sentence}"),
    }
}
