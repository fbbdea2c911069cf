//! The report as people read it.

use std::fmt;

use super::gather::behind;
use super::remedies;
use super::report::{
    ConfigurationReport, DestinationReport, Finding, JournalReport, RelayReport, ReloadReport, Report,
    SourceReport,
};
use super::words::{about, age, brief, bytes, count, escaped, moment, number, table};
use crate::event::Timestamp;
use crate::journal::ReplayRow;

/// How much of a reason the verdict holds.
const VERDICT_REASON: usize = 100;

/// How much of a finding the verdict holds.
const VERDICT_FINDING: usize = 200;

/// How many troubled destinations the verdict tells of.
const VERDICT_TROUBLES: usize = 3;

/// The one sentence to read.
pub(super) fn verdict(report: &Report) -> String {
    sentence(report, true)
}

/// The same without reasons, for whoever tells these beside it.
pub(super) fn headline(report: &Report) -> String {
    sentence(report, false)
}

fn sentence(report: &Report, with_reasons: bool) -> String {
    let mut parts = Vec::new();
    if report.journal.disk_full {
        parts.push("nothing is accepted, the disk that holds the journal is full".to_owned());
    }
    for source in &report.sources {
        if let Some(why) = &source.stalled {
            let why = Some(why).filter(|_| with_reasons);
            let why = why.map(|why| format!(" ({})", brief(why, VERDICT_REASON))).unwrap_or_default();
            parts.push(format!("source {} does not go on{why}", source.name));
        }
    }
    parts.extend(severe(&report.findings));
    let salvaged_since = report.configuration.salvaged_since();
    match (report.relay.running_since, salvaged_since) {
        (Some(_), Some(since)) => parts.push(format!(
            "the configuration is not right since {}: what comes is kept, and nothing delivered until it is",
            about(since, report.at)
        )),
        (Some(_), None) => parts.push(deliver(&report.destinations)),
        (None, _) => parts.push("the relay is stopped".to_owned()),
    }
    let is_of_its_own =
        |destination: &&DestinationReport| is_troubled(destination) && salvaged_since.is_none();
    let troubled = report.destinations.iter().filter(is_of_its_own);
    let troubles: Vec<String> =
        troubled.map(|destination| trouble(destination, report.at, with_reasons)).collect();
    let more = troubles.len().saturating_sub(VERDICT_TROUBLES);
    parts.extend(troubles.into_iter().take(VERDICT_TROUBLES));
    if more > 0 {
        parts.push(format!("and {more} more"));
    }
    if salvaged_since.is_none() {
        parts.extend(waiting(report));
    }
    for orphan in report.orphans.iter().filter(|orphan| orphan.waiting > 0) {
        parts.push(format!(
            "{} is no longer configured: {} kept for it",
            orphan.name,
            number(orphan.waiting)
        ));
    }
    let dead = report.destinations.iter().chain(&report.orphans).map(|report| report.books.dead).sum();
    if dead > 0 {
        parts.push(count(dead, "dead letter"));
    }
    for wrong in report.destinations.iter().chain(&report.orphans).filter(|report| !report.balanced) {
        parts.push(format!("the books of {} do not balance", wrong.name));
    }
    if let Some(refused) = refused_reload(report).filter(|_| salvaged_since.is_none()) {
        let since = about(refused.at, report.at);
        parts.push(format!("the configuration as it is since {since} is refused, what ran before runs on"));
    }
    parts.join("; ")
}

/// The last reload, where it was refused.
fn refused_reload(report: &Report) -> Option<&ReloadReport> {
    report.configuration.last_reload.as_ref().filter(|reload| !reload.successful)
}

/// The first severe finding, and how many more there are.
fn severe(findings: &[Finding]) -> Option<String> {
    let severe: Vec<&Finding> = findings.iter().filter(|finding| finding.severe).collect();
    let first = brief(severe.first()?.sentence.trim_end_matches('.'), VERDICT_FINDING);
    Some(match severe.len() {
        1 => first,
        several => format!("{first} (and {} more)", count(several as u64 - 1, "finding")),
    })
}

pub(super) fn is_troubled(destination: &DestinationReport) -> bool {
    destination.state != "running"
}

fn deliver(destinations: &[DestinationReport]) -> String {
    let all = destinations.len();
    let well = all - destinations.iter().filter(|destination| is_troubled(destination)).count();
    match (destinations, well) {
        ([], _) => "no destination is configured".to_owned(),
        ([only], 1) => format!("{} delivers", only.name),
        (_, 0) => "no destination delivers".to_owned(),
        _ if well == all => format!("all {all} destinations deliver"),
        (_, 1) => format!("1 of {all} destinations delivers"),
        _ => format!("{well} of {all} destinations deliver"),
    }
}

/// `siem is blocked since 14:02 UTC (401 Unauthorized): 118 wait`.
#[must_use]
pub fn trouble(destination: &DestinationReport, now: Timestamp, with_reason: bool) -> String {
    let mut text = format!("{} is {}", destination.name, destination.state);
    if let Some(since) = destination.since {
        text.push_str(&format!(" since {}", about(since, now)));
    }
    if let Some(until) = destination.until {
        text.push_str(&format!(" until {}", about(until, now)));
    }
    if let Some(reason) = destination.reason.as_ref().filter(|_| with_reason) {
        text.push_str(&format!(" ({})", brief(reason, VERDICT_REASON)));
    }
    text + &match destination.waiting {
        0 => ": nothing waits".to_owned(),
        1 => ": 1 waits".to_owned(),
        waiting => format!(": {} wait", number(waiting)),
    }
}

/// What waits for those that are not in trouble.
fn waiting(report: &Report) -> Option<String> {
    let well = report.destinations.iter().filter(|destination| !is_troubled(destination));
    let waiting: Vec<&DestinationReport> = well.filter(|destination| destination.waiting > 0).collect();
    match &waiting[..] {
        [] if report.destinations.iter().all(|destination| destination.waiting == 0) => {
            (!report.destinations.iter().any(is_troubled)).then(|| "nothing waits".to_owned())
        }
        [] => None,
        [first, others @ ..] => {
            let verb = if first.waiting == 1 { "waits" } else { "wait" };
            let first = format!("{} {verb} for {}", count(first.waiting, "record"), first.name);
            let others = others.iter().map(|other| format!("{} for {}", number(other.waiting), other.name));
            Some(std::iter::once(first).chain(others).collect::<Vec<_>>().join(", "))
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", self.verdict)?;
        let configuration = configuration(&self.configuration, self.at);
        let head = [Some(relay(&self.relay, self.at)), configuration, Some(journal(&self.journal))];
        f.write_str(&table(&head.into_iter().flatten().collect::<Vec<_>>(), &[]))?;
        for problem in refused_reload(self).iter().flat_map(|reload| &reload.problems) {
            writeln!(f, "  refused: {}", escaped(problem))?;
        }
        if !self.findings.is_empty() {
            write!(f, "\n{}", findings_text(&self.findings))?;
        }
        if !self.sources.is_empty() {
            writeln!(f, "\n{}", sources(&self.sources, self.at).trim_end())?;
        }
        let all: Vec<_> = self.destinations.iter().chain(&self.orphans).collect();
        if !all.is_empty() {
            let stopped = self.relay.running_since.is_none();
            writeln!(f, "\n{}", destinations(&all, self.at, stopped).trim_end())?;
        }
        for destination in all {
            notes(f, destination, self.at)?;
        }
        Ok(())
    }
}

/// What is found wrong, and what to do about it: severe things first. The same words wherever it is told.
#[must_use]
pub fn findings_text(findings: &[Finding]) -> String {
    let (severe, others): (Vec<&Finding>, Vec<&Finding>) =
        findings.iter().partition(|finding| finding.severe);
    let mut text = String::new();
    for finding in severe.into_iter().chain(others) {
        let mark = if finding.severe { "SEVERE " } else { "WARNING" };
        text.push_str(&format!("{mark}  {} [{}]\n", escaped(&finding.sentence), finding.code));
        if let Some(remedy) = &finding.remedy {
            text.push_str(&format!("         fix: {}\n", escaped(remedy)));
        }
    }
    text
}

fn relay(relay: &RelayReport, now: Timestamp) -> Vec<String> {
    let since = match relay.running_since {
        Some(since) => format!("running since {}", moment(since, now)),
        None => "stopped".to_owned(),
    };
    vec!["relay".to_owned(), format!("{} (version {}), {since}", escaped(&relay.name), relay.version)]
}

fn configuration(configuration: &ConfigurationReport, now: Timestamp) -> Option<Vec<String>> {
    let sha256 = configuration.sha256.as_deref()?;
    let applied =
        configuration.applied_at.map(|at| format!(", applied {}", moment(at, now))).unwrap_or_default();
    Some(vec!["configuration".to_owned(), format!("{}…{applied}", sha256.get(..12).unwrap_or(sha256))])
}

fn journal(journal: &JournalReport) -> Vec<String> {
    let records = match journal.first_sequence {
        0 => "no records".to_owned(),
        first => format!(
            "{} ({} to {})",
            count(journal.last_sequence - first + 1, "record"),
            number(first),
            number(journal.last_sequence)
        ),
    };
    let mut text = format!(
        "{records}, {} of {}, epoch {}",
        bytes(journal.used_bytes),
        bytes(journal.max_size_bytes),
        journal.epoch
    );
    if journal.disk_full {
        text.push_str(", THE DISK IS FULL");
    }
    if journal.damaged {
        text.push_str(", DAMAGED: it is salvaged at the next start");
    }
    if journal.corrupt_records > 0 {
        text.push_str(&format!(", {} altered or missing", count(journal.corrupt_records, "record")));
    }
    vec!["journal".to_owned(), text]
}

fn sources(sources: &[SourceReport], now: Timestamp) -> String {
    let mut rows = vec![cells(["SOURCE", "TYPE", "BEHIND", "UNPARSED", "IGNORED", "LAST EVENT"])];
    let mut files = String::new();
    for source in sources {
        rows.push(vec![
            source.name.clone(),
            source.kind.clone().unwrap_or_else(|| "(not configured)".to_owned()),
            bytes(source.behind_bytes),
            number(source.unparsed),
            number(source.ignored),
            source.last_event_at.map_or_else(|| "none yet".to_owned(), |time| moment(time, now)),
        ]);
        for file in &source.files {
            let path = escaped(&file.path.to_string_lossy());
            let mut line = format!("  {}: {path} read to byte {}", source.name, number(file.position));
            match file.size_bytes {
                None => line.push_str(", not there now"),
                Some(_) if behind(file) > 0 => line.push_str(&format!(", {} behind", bytes(behind(file)))),
                Some(_) => {}
            }
            if file.renamed {
                line.push_str(", renamed or deleted since");
            }
            if let Some(reclaim) = file.reclaim.as_ref().filter(|reclaim| reclaim.to > reclaim.from) {
                let (from, to) = (number(reclaim.from), number(reclaim.to));
                let given_back = bytes(reclaim.to - reclaim.from);
                line.push_str(&format!(", {given_back} given back (bytes {from} to {to})"));
            }
            files.push_str(&(line + "\n"));
            if let Some(why) = file.reclaim.as_ref().and_then(|reclaim| reclaim.held_up.as_ref()) {
                files.push_str(&format!("  {}: no space of {path} is given back: {why}\n", source.name));
            }
        }
        for path in &source.absent {
            files.push_str(&format!(
                "  {}: {} is not there yet\n",
                source.name,
                escaped(&path.to_string_lossy())
            ));
        }
        for path in &source.unreadable {
            files.push_str(&format!(
                "  {}: {} cannot be read\n",
                source.name,
                escaped(&path.to_string_lossy())
            ));
        }
        if let Some(address) = source.listening {
            let pushes = |count: u64, what: &str| match count {
                0 => String::new(),
                1 => format!(", 1 push {what}"),
                count => format!(", {} pushes {what}", number(count)),
            };
            let (refused, untaken) = (pushes(source.refused, "refused"), pushes(source.untaken, "not taken"));
            files.push_str(&format!("  {}: listens on {address}{refused}{untaken}\n", source.name));
        }
        if let Some(why) = &source.stalled {
            files.push_str(&format!("  {}: does not go on: {why}\n", source.name));
        }
        if let Some(remedy) = remedies::of_source(source) {
            files.push_str(&format!("  {}: fix: {remedy}\n", source.name));
        }
    }
    table(&rows, &[2, 3, 4]) + &files
}

fn destinations(all: &[&DestinationReport], now: Timestamp, stopped: bool) -> String {
    let head = [
        "DESTINATION",
        "TYPE",
        "STATE",
        "WAITING",
        "DELIVERED",
        "NOT ROUTED",
        "DEAD",
        "PURGED",
        "LAST SUCCESS",
    ];
    let mut rows = vec![cells(head)];
    for destination in all {
        let books = &destination.books;
        rows.push(vec![
            destination.name.clone(),
            destination.kind.clone().unwrap_or_else(|| "-".to_owned()),
            if stopped && !is_troubled(destination) {
                "stopped".to_owned()
            } else {
                destination.state.clone()
            },
            number(destination.waiting),
            number(books.delivered),
            number(books.not_routed),
            number(books.dead),
            number(books.purged),
            destination.last_success_at.map_or_else(|| "none yet".to_owned(), |time| moment(time, now)),
        ]);
    }
    table(&rows, &[3, 4, 5, 6, 7])
}

fn cells<const N: usize>(texts: [&str; N]) -> Vec<String> {
    texts.map(str::to_owned).to_vec()
}

/// What there is to say about a destination that stands in no column.
fn notes(f: &mut fmt::Formatter<'_>, destination: &DestinationReport, now: Timestamp) -> fmt::Result {
    let name = &destination.name;
    if is_troubled(destination) {
        writeln!(f, "  {name}: {}", standing(destination, now))?;
    }
    if let Some(remedy) = remedies::of_destination(destination) {
        writeln!(f, "  {name}: fix: {remedy}")?;
    }
    remarks(destination, now).iter().try_for_each(|remark| writeln!(f, "  {name}: {remark}"))
}

/// The same, without why it does not deliver.
pub(super) fn remarks(destination: &DestinationReport, now: Timestamp) -> Vec<String> {
    let mut remarks = Vec::new();
    let mut note = |text: String| remarks.push(text);
    if let Some(time) = destination.oldest_waiting_at.filter(|_| destination.waiting > destination.held) {
        note(format!("the oldest that waits was accepted {}", moment(time, now)));
    }
    if let Some(until) = destination.held_until.filter(|_| destination.held > 0) {
        note(format!(
            "{} held back until {}: the like was told already",
            count(destination.held, "record"),
            moment(until, now)
        ));
    }
    if let (Some(at), Some(error)) = (destination.last_error_at, &destination.last_error) {
        note(format!("last error {}: {error}", moment(at, now)));
    }
    let books = &destination.books;
    let kinds = [
        (books.before_since, "from before deliver_since"),
        (books.observed, "only observed"),
        (books.left_out, "left out by its own rules"),
    ];
    let kinds: Vec<String> =
        kinds.iter().filter(|(n, _)| *n > 0).map(|(n, why)| format!("{} {why}", number(*n))).collect();
    if !kinds.is_empty() {
        note(format!("of those not routed: {}", kinds.join(", ")));
    }
    if books.replayed > 0 {
        note(format!("{} delivered once more by replays", count(books.replayed, "record")));
    }
    for replay in &destination.replays {
        note(replay_line(replay, now));
    }
    if !destination.balanced {
        note(format!(
            "THE BOOKS DO NOT BALANCE: {} accepted, {} settled, {} waiting",
            number(destination.accepted),
            number(destination.books.sum()),
            number(destination.waiting)
        ));
    }
    remarks
}

/// `blocked since … : why; next try …`.
fn standing(destination: &DestinationReport, now: Timestamp) -> String {
    let mut text = destination.state.clone();
    if let Some(since) = destination.since {
        text.push_str(&format!(" since {}", moment(since, now)));
    }
    if let Some(until) = destination.until {
        text.push_str(&format!(" until {}", moment(until, now)));
    }
    if let Some(by) = &destination.paused_by {
        text.push_str(&format!(" by {by}"));
    }
    if let Some(reason) = &destination.reason {
        text.push_str(&format!(": {reason}"));
    }
    if destination.failed_attempts > 0 {
        text.push_str(&format!("; {} in a row", count(destination.failed_attempts.into(), "failed attempt")));
    }
    match destination.next_attempt_at {
        Some(next) if next > now => text.push_str(&format!("; next try in {}", age(next.since(now)))),
        Some(_) => text.push_str("; next try now"),
        None => {}
    }
    text
}

fn replay_line(replay: &ReplayRow, now: Timestamp) -> String {
    let mut text = format!(
        "replay {} of at most {}: {} taken, {} refused; asked for {}",
        replay.id.0,
        count(replay.total, "record"),
        number(replay.replayed),
        number(replay.failed),
        moment(replay.created_at, now)
    );
    if let Some(by) = &replay.asked_by {
        text.push_str(&format!(" by {}", brief(by, VERDICT_REASON)));
    }
    text
}

#[cfg(test)]
mod tests;
