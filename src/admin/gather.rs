//! Finds out how everything stands.

use std::collections::BTreeSet;

use super::report::{
    DestinationReport, FileReport, JournalReport, ReclaimReport, RelayReport, Report, SourceReport,
};
use super::{Office, Standing, text, words};
use crate::config::plan::{SourceKind, SourcePlan};
use crate::delivery::{LaneState, LaneStatus};
use crate::event::{Sequence, Timestamp};
use crate::journal::{Books, DestinationRow, EndpointState, JournalError, Pause, ReplayRow, SourceBooks};
use crate::source::SourceStatus;

/// How much of a reason or an error is shown.
const MAX_REASON: usize = 300;

/// The source of the records of acts.
const OWN_NAME: &str = "audit-relay";

/// The whole report.
pub(super) async fn report(office: &Office, now: Timestamp) -> Result<Report, JournalError> {
    let standing = &*office.standing();
    let rows = office.journal.destinations().await?;
    let replays = office.journal.replays(true).await?;
    let (mut destinations, mut orphans) = (Vec::new(), Vec::new());
    let names: BTreeSet<&str> = standing
        .plan
        .destinations
        .keys()
        .map(String::as_str)
        .chain(rows.iter().map(|row| row.name.as_str()))
        .collect();
    for name in names {
        let row = rows.iter().find(|row| row.name == name);
        let replays = replays.iter().filter(|replay| replay.destination == name).cloned().collect();
        let report = destination(office, standing, name, row, replays).await?;
        match report.kind {
            Some(_) => destinations.push(report),
            None => orphans.push(report),
        }
    }
    let mut report = Report {
        verdict: String::new(),
        at: now,
        relay: RelayReport {
            name: standing.plan.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            running_since: office.running_since,
        },
        configuration: standing.configuration.clone(),
        findings: office.findings(),
        sources: sources(office, standing).await?,
        journal: journal(office).await?,
        balanced: destinations.iter().chain(&orphans).all(|destination| destination.balanced),
        destinations,
        orphans,
    };
    report.verdict = text::verdict(&report);
    Ok(report)
}

/// The state of a destination, in one word.
pub(super) fn state(office: &Office, destination: &str) -> String {
    match office.standing().lanes.get(destination) {
        _ if office.running_since.is_none() => "stopped".to_owned(),
        Some(lane) => lane.status.borrow().state.as_str().to_owned(),
        None => "blocked".to_owned(),
    }
}

/// The same, as the journal knows it.
pub(super) fn state_of_row(row: &DestinationRow) -> &'static str {
    let is_over = |pause: &Pause| pause.until.is_some_and(|until| until <= Timestamp::now());
    match row.endpoint.state {
        _ if row.orphaned.is_some() => "orphaned",
        _ if row.paused.as_ref().is_some_and(|pause| !is_over(pause)) => "paused",
        EndpointState::Running => "running",
        EndpointState::Waiting => "waiting",
        EndpointState::Blocked | EndpointState::Gone => "blocked",
    }
}

async fn journal(office: &Office) -> Result<JournalReport, JournalError> {
    let status = office.journal.status().await?;
    Ok(JournalReport {
        epoch: office.journal.epoch().to_owned(),
        first_sequence: status.first_sequence,
        last_sequence: status.last_sequence,
        used_bytes: status.used_bytes,
        max_size_bytes: status.max_size_bytes,
        disk_full: status.disk_full,
        damaged: status.damaged,
        corrupt_records: status.corrupt_records,
    })
}

async fn destination(
    office: &Office,
    standing: &Standing,
    name: &str,
    row: Option<&DestinationRow>,
    replays: Vec<ReplayRow>,
) -> Result<DestinationReport, JournalError> {
    let plan = standing.plan.destinations.get(name);
    let mut report =
        DestinationReport { kind: plan.map(|plan| plan.type_word.to_owned()), replays, ..blank(name) };
    if let Some(row) = row {
        fill_from_row(&mut report, row, *office.journal.latest().borrow());
        if report.waiting > 0 {
            let oldest = office.journal.read_outlines(row.cursor, 1, false).await?;
            report.oldest_waiting_at = oldest.first().map(|outline| outline.accepted_at);
        }
    }
    if let Some(lane) = standing.lanes.get(name) {
        let status = lane.status.borrow().clone();
        // What has come since the lane last looked waits for it too.
        fill_from_lane(&mut report, status, row, *office.journal.latest().borrow());
    } else if office.running_since.is_some() && plan.is_some() {
        let why = plan.and_then(|plan| plan.kind.as_ref().err());
        "blocked".clone_into(&mut report.state);
        report.code = Some("not_started".to_owned());
        report.reason =
            Some(why.map_or_else(|| "it was not started".to_owned(), |why| words::brief(why, MAX_REASON)));
    }
    if plan.is_none() {
        "orphaned".clone_into(&mut report.state);
    }
    Ok(report)
}

fn blank(name: &str) -> DestinationReport {
    DestinationReport {
        name: name.to_owned(),
        kind: None,
        state: "running".to_owned(),
        code: None,
        reason: None,
        since: None,
        until: None,
        paused_by: None,
        accepted: 0,
        books: Books::default(),
        waiting: 0,
        undecided: None,
        balanced: true,
        oldest_waiting_at: None,
        held: 0,
        held_until: None,
        in_flight: 0,
        failed_attempts: 0,
        next_attempt_at: None,
        last_success_at: None,
        last_error_at: None,
        last_error: None,
        replays: Vec::new(),
    }
}

/// From what the journal keeps: how a stopped relay left it.
fn fill_from_row(report: &mut DestinationReport, row: &DestinationRow, last: Sequence) {
    state_of_row(row).clone_into(&mut report.state);
    report.accepted = (last + 1).saturating_sub(row.first_sequence);
    report.books = row.books;
    report.waiting = row.waiting(last);
    report.balanced = is_balanced(row) && report.books.sum() + report.waiting == report.accepted;
    let endpoint = &row.endpoint;
    report.failed_attempts = endpoint.attempts;
    report.last_success_at = endpoint.last_success_at;
    tell_error(report, endpoint.last_error.clone());
    match (report.state.as_str(), &row.paused, row.orphaned) {
        ("paused", Some(pause), _) => tell_pause(report, pause),
        ("orphaned", _, Some((since, _))) => report.since = Some(since),
        ("waiting" | "blocked", ..) => {
            report.since = endpoint.since;
            tell_reason(report, endpoint.reason.clone());
        }
        _ => {}
    }
}

/// From a lane that runs.
fn fill_from_lane(
    report: &mut DestinationReport,
    status: LaneStatus,
    row: Option<&DestinationRow>,
    last: Sequence,
) {
    let first_sequence = row.map_or(1, |row| row.first_sequence);
    report.accepted = (last + 1).saturating_sub(first_sequence);
    let seen = status.books.sum() + status.waiting;
    let unseen = report.accepted.saturating_sub(seen);
    report.balanced = row.is_none_or(is_balanced) && seen <= report.accepted;
    report.books = status.books;
    report.waiting = status.waiting + unseen;
    report.undecided = Some(status.undecided + unseen);
    status.state.as_str().clone_into(&mut report.state);
    (report.since, report.until, report.paused_by) = (status.since, None, None);
    (report.code, report.reason) = (None, None);
    tell_reason(report, status.reason);
    if let LaneState::Paused(pause) = &status.state {
        tell_pause(report, pause);
    }
    report.oldest_waiting_at =
        status.oldest_waiting_at.or(report.oldest_waiting_at.filter(|_| report.waiting > 0));
    (report.held, report.held_until) = status.held;
    report.in_flight = status.in_flight;
    report.failed_attempts = status.attempts;
    report.next_attempt_at = status.next_attempt_at;
    report.last_success_at = status.last_success_at;
    (report.last_error_at, report.last_error) = (None, None);
    tell_error(report, status.last_error);
    report.replays = status.replays;
}

/// Counters commit with the cursor: what is settled by its place is settled by number too.
fn is_balanced(row: &DestinationRow) -> bool {
    (row.cursor + 1).saturating_sub(row.first_sequence) + row.acked.len() as u64 == row.books.sum()
}

fn tell_reason(report: &mut DestinationReport, reason: Option<(String, String)>) {
    let Some((code, sentence)) = reason else { return };
    report.code = Some(words::brief(&code, MAX_REASON));
    report.reason = Some(words::brief(&sentence, MAX_REASON));
}

fn tell_error(report: &mut DestinationReport, error: Option<(Timestamp, String)>) {
    let Some((at, sentence)) = error else { return };
    report.last_error_at = Some(at);
    report.last_error = Some(words::brief(&sentence, MAX_REASON));
}

fn tell_pause(report: &mut DestinationReport, pause: &Pause) {
    report.since = Some(pause.at);
    report.until = pause.until;
    report.paused_by = pause.by.as_deref().map(|by| words::brief(by, MAX_REASON));
    report.reason = pause.reason.as_deref().map(|reason| words::brief(reason, MAX_REASON));
}

async fn sources(office: &Office, standing: &Standing) -> Result<Vec<SourceReport>, JournalError> {
    let mut books = office.journal.source_books().await?;
    // Under its own name, which no source can have, the relay keeps what operators did.
    books.retain(|book| book.name != OWN_NAME);
    let names: BTreeSet<&str> = standing
        .plan
        .sources
        .keys()
        .map(String::as_str)
        .chain(books.iter().map(|book| book.name.as_str()))
        .collect();
    let report = |name: &str| {
        let status = standing.sources.get(name).map(|status| status.borrow().clone());
        let book = books.iter().find(|book| book.name == name);
        source(name, standing.plan.sources.get(name), book, status)
    };
    Ok(names.into_iter().map(report).collect())
}

fn source(
    name: &str,
    plan: Option<&SourcePlan>,
    book: Option<&SourceBooks>,
    status: Option<SourceStatus>,
) -> SourceReport {
    let kind = plan.map(|plan| match plan.kind {
        SourceKind::File(_) => "file".to_owned(),
        SourceKind::Http(_) => "http".to_owned(),
    });
    let instance = plan.map(|plan| plan.instance.clone()).or_else(|| book.map(|book| book.instance.clone()));
    let status_last = status.as_ref().and_then(|status| status.last_record_at);
    let (absent, unreadable) = status
        .iter()
        .flat_map(|status| &status.absent)
        .partition::<Vec<_>, _>(|absent| !absent.is_unreadable);
    let stalled = status.as_ref().and_then(|status| status.stalled.as_deref());
    let stalled = stalled.map(|why| words::brief(why, MAX_REASON));
    let files = match &status {
        Some(status) => followed(status),
        None => book.map(left).unwrap_or_default(),
    };
    SourceReport {
        name: name.to_owned(),
        kind,
        instance: instance.unwrap_or_default(),
        last_event_at: book.and_then(|book| book.last_event_at).max(status_last),
        behind_bytes: files.iter().map(behind).sum(),
        unparsed: book.map_or(0, |book| book.unparsed),
        ignored: book.map_or(0, |book| book.ignored),
        stalled,
        files,
        absent: absent.into_iter().map(|absent| absent.path.clone()).collect(),
        unreadable: unreadable.into_iter().map(|absent| absent.path.clone()).collect(),
        listening: status.as_ref().and_then(|status| status.listening),
        refused: status.as_ref().map_or(0, |status| status.refused),
        untaken: status.as_ref().map_or(0, |status| status.untaken),
    }
}

/// Bytes that are not journaled, as far as is known.
pub(super) fn behind(file: &FileReport) -> u64 {
    file.size_bytes.unwrap_or(0).saturating_sub(file.position)
}

fn followed(status: &SourceStatus) -> Vec<FileReport> {
    let file = |file: &crate::source::FileStatus| FileReport {
        path: file.path.clone(),
        position: file.position,
        size_bytes: Some(file.size_bytes),
        renamed: file.renamed,
        reclaim: file.reclaim.as_ref().map(|reclaim| ReclaimReport {
            from: reclaim.from,
            to: reclaim.to,
            held_up: reclaim.held_up.as_deref().map(|why| words::brief(why, MAX_REASON)),
        }),
    };
    status.files.iter().map(file).collect()
}

/// The files that a stopped relay left, as they are now where they were.
fn left(book: &SourceBooks) -> Vec<FileReport> {
    let file = |(path, position): &(std::path::PathBuf, u64)| FileReport {
        size_bytes: std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file).map(|found| found.len()),
        path: path.clone(),
        position: *position,
        renamed: false,
        reclaim: None,
    };
    book.files.iter().map(file).collect()
}

#[cfg(test)]
mod tests;
