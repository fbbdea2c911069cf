//! Events API v1 (<https://docs.datadoghq.com/api/latest/events/#post-an-event>, tab v1): plain events in
//! Markdown, for sites without Change Tracking. It takes no field that it does not know.

use serde_json::{Value, json};

use super::cut::{cut, fitted, paragraph, plain, quiet};
use super::gist::{Edit, Gist, Told};
use super::texts::{MAX_LINE, MAX_LINKS, aggregation_key, head, shown, sides};
use crate::destination::telling::Nature;
use crate::event::RecordKind;

/// Characters of a text, at most, with the marks of Markdown.
const MAX_TEXT: usize = 4_000;
const BEGIN: &str = "%%% \n";
const END: &str = "\n %%%";
/// Characters of a cell of the table.
const MAX_CELL: usize = 300;
const TABLE: &str = "| Time | What | Before | After |\n|---|---|---|---|";

/// The body of a request.
pub(super) fn body(gist: &Gist<'_>) -> Value {
    let kinds = || gist.account.deliveries.iter().map(|delivery| delivery.record.kind);
    let alert = match gist.account.nature {
        Nature::Change => "info",
        Nature::Record if kinds().any(|kind| kind == RecordKind::Gap) => "error",
        Nature::Denied | Nature::Record => "warning",
    };
    let mut event = json!({
        "title": gist.title,
        "text": text(gist),
        "alert_type": alert,
        "priority": "normal",
        "source_type_name": "flipt",
        "aggregation_key": aggregation_key(gist.account, &gist.types),
    });
    if let Some(at) = gist.when.told() {
        event["date_happened"] = at.unix_seconds().into();
    }
    if !gist.tags.is_empty() {
        event["tags"] = json!(gist.tags);
    }
    event
}

/// Paragraphs: who, what changed, what else is known, where to see more, which event it is.
fn text(gist: &Gist<'_>) -> String {
    let safe = |text: &str| quiet(&plain(&cut(text, MAX_LINE)));
    let head = head(gist).map(|head| paragraph(&safe(&head)));
    let mut tail: Vec<String> = gist.notes.iter().map(|note| safe(note)).collect();
    tail.extend(links(gist));
    tail.extend(ids(gist));
    let around: usize = head.iter().chain(&tail).map(|part| part.chars().count() + 2).sum();
    let room = MAX_TEXT - BEGIN.len() - END.len() - around;
    let inner = head.into_iter().chain([edits(gist, room)]).chain(tail).collect::<Vec<_>>().join("\n\n");
    format!("{BEGIN}{inner}{END}")
}

/// A table where rows are known, else a list.
fn edits(gist: &Gist<'_>, room: usize) -> String {
    let has_rows = gist.edits.iter().any(|edit| matches!(edit.told, Told::Row(_)));
    if !has_rows {
        let lines: Vec<String> = gist.edits.iter().map(item).collect();
        return fitted(&lines, room, |count| format!("- … and {count} more")).join("\n");
    }
    let rows: Vec<String> = gist.edits.iter().map(row).collect();
    let room = room - TABLE.chars().count() - 1;
    let rows = fitted(&rows, room, |count| format!("| | … and {count} more | | |"));
    format!("{TABLE}\n{}", rows.join("\n"))
}

fn item(edit: &Edit) -> String {
    let told = match &edit.told {
        Told::Sentence(sentence) => sentence,
        Told::Row(row) => &row.label,
    };
    format!("- {} {}", edit.at, cell(told))
}

fn row(edit: &Edit) -> String {
    let side = |side: Option<&str>| side.map_or_else(|| "–".to_owned(), cell);
    match &edit.told {
        Told::Row(row) => {
            let (old, new) = sides(edit, row);
            format!("| {} | {} | {} | {} |", edit.at, cell(&row.label), side(old), side(new))
        }
        Told::Sentence(sentence) => format!("| {} | {} | | |", edit.at, cell(sentence)),
    }
}

fn cell(text: &str) -> String {
    // What is left decides what its last characters mean.
    quiet(&plain(&cut(text, MAX_CELL)))
}

/// `[Open flag](https://…) · [RUM sessions](https://…)`: whole ones only.
fn links(gist: &Gist<'_>) -> Option<String> {
    let mut left = MAX_LINKS;
    let mut links = Vec::new();
    for link in &gist.links {
        let url = shown(&link.url).replace('(', "%28").replace(')', "%29");
        let link = format!("[{}]({url})", cell(&link.title));
        if let Some(rest) = left.checked_sub(link.chars().count() + 3) {
            left = rest;
            links.push(link);
        }
    }
    (!links.is_empty()).then(|| links.join(" · "))
}

/// What tells a repeated event from a new one, and finds it in the audit trail.
fn ids(gist: &Gist<'_>) -> Option<String> {
    let deliveries = &gist.account.deliveries;
    let first = deliveries.first()?.record.id;
    let more =
        if deliveries.len() > 1 { format!(" and {} more", deliveries.len() - 1) } else { String::new() };
    Some(format!("{first}{more}"))
}
