//! What to do about it: one sentence for each thing that can be wrong, the same wherever it is told.

use super::report::{DestinationReport, JournalReport, Report, SourceReport};
use super::text::is_troubled;
use super::words::escaped;

/// What brings a destination back.
pub(super) fn of_destination(destination: &DestinationReport) -> Option<String> {
    let name = &destination.name;
    let told = match (destination.state.as_str(), destination.code.as_deref().unwrap_or_default()) {
        ("running", _) => return None,
        ("paused", _) => format!("`audit-relay resume {name}`, when it is to go on"),
        ("orphaned", _) => format!(
            "configure {name} again, or let go of what is kept for it: with `discard: true`, else after seven days"
        ),
        (_, "http_401" | "http_403" | "http_407" | "slack_auth") => format!(
            "give {name} a key, token or secret that the receiver takes; a file is read again when it changes"
        ),
        (_, "http_402") => "settle it with the receiver: it asks for payment".to_owned(),
        (_, "http_410" | "slack_webhook") => {
            format!("the address is no longer served: give {name} another, then `audit-relay resume {name}`")
        }
        (_, "http_415") => format!("choose a `format` for {name} that the receiver takes"),
        (_, "http_3xx" | "http_404" | "http_405" | "http_421" | "http_501") => {
            format!("correct the address of {name}: what answers there is not the receiver")
        }
        (_, "slack_channel") => "correct `channel`, or let the bot into it".to_owned(),
        (_, "http_429") => {
            "none needed: it is tried again; a lower `rate_limit` keeps below the receiver's".to_owned()
        }
        (_, "network") => {
            "see that the address can be reached from here: name, port, network policy, proxy".to_owned()
        }
        (_, "untrusted") => {
            "give `tls.ca` the authority that signed the receiver's certificate, or have that renewed"
                .to_owned()
        }
        (_, "reject_limit") => {
            format!("see what is refused, and why: `audit-relay dead-letters list --destination {name}`")
        }
        (_, "configuration" | "not_started") => {
            "`audit-relay check` tells what is wrong; a corrected file is applied when it changes".to_owned()
        }
        (_, "not_written") => "make room on the disk, and let the relay write there".to_owned(),
        ("waiting", _) => "none needed: it is tried again; if it lasts, look at the receiver".to_owned(),
        _ => format!("look at the receiver; `audit-relay resume {name}` tries it at once"),
    };
    Some(told)
}

/// What makes a source go on.
pub(super) fn of_source(source: &SourceReport) -> Option<String> {
    if let Some(path) = source.unreadable.first() {
        let path = escaped(&path.to_string_lossy());
        return Some(format!("let the user that the relay runs as read {path}"));
    }
    let stalled = source.stalled.as_deref()?;
    if stalled.contains("journal is full") {
        return Some(
            "bring back the destination that has passed least, or raise `journal.max_size`".to_owned(),
        );
    }
    match source.kind.as_deref() {
        Some("http") => {
            Some("see that its address is free and its secrets are there; it tries again".to_owned())
        }
        _ => Some("see the reason and the log; it tries again by itself".to_owned()),
    }
}

/// What gets the journal well.
pub(super) fn of_journal(journal: &JournalReport) -> Option<&'static str> {
    if journal.disk_full {
        return Some("make room on the disk of `data_dir`: the relay goes on by itself");
    }
    if journal.damaged {
        return Some("restart the relay: it salvages what can be read, and says what could not");
    }
    (journal.corrupt_records > 0)
        .then_some("keep a copy (`audit-relay backup`), and find out who else writes to `data_dir`")
}

/// What to do about an edit of the configuration that was refused.
pub(super) const OF_RELOAD: &str = "correct it: what ran before goes on, and the next edit is tried at once";

/// What to do about a configuration that was not right from the beginning.
pub(super) const OF_SALVAGED: &str = "correct it: that is noticed, and what was kept goes out";

/// That what waits is safe, where something does not work and that can be said.
pub(super) fn reassurance(report: &Report) -> Option<&'static str> {
    let all = || report.destinations.iter().chain(&report.orphans);
    let is_safe = !report.journal.disk_full && !report.journal.damaged && report.journal.corrupt_records == 0;
    let waits = all().any(|destination| is_troubled(destination) && destination.waiting > 0);
    let dead = all().any(|destination| destination.books.dead > 0);
    (is_safe && waits && !dead).then_some("Nothing is lost: what waits is in the journal.")
}
