//! What changed, for scripts: the rows of `audit-relay changes`, with its filters as parameters of the query.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{RawQuery, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use url::form_urlencoded;

use super::Viewer;
use crate::admin::changes::{self, ChangeEntry, ChangeForm, ChangeNotes, ChangeRow, ChangesAsked};
use crate::admin::{Office, Refusal, csv, times, words};
use crate::event::Sequence;

/// How many rows a page of JSON has where nothing is said, …
const USUAL: usize = 200;

/// … and at most.
const MOST: usize = 2_000;

/// How long a parameter may be, in bytes.
const MAX_TEXT: usize = 1_024;

/// How many values all filters may have together.
const MAX_VALUES: usize = 100;

/// What may be asked.
const PARAMETERS: [&str; 10] =
    ["actor", "after", "environment", "flag", "format", "limit", "segment", "since", "through", "until"];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Format {
    #[default]
    Json,
    Ndjson,
    Csv,
}

/// A question, as it was understood.
#[derive(Debug, Default)]
struct Question {
    asked: ChangesAsked,
    format: Format,
}

/// A page of JSON.
#[derive(Serialize)]
struct Page {
    changes: Vec<ChangeRow>,
    notes: ChangeNotes,
    /// What to ask for next with the same filters: parameters of the query.
    next: Option<Next>,
}

#[derive(Serialize)]
struct Next {
    after: Sequence,
    through: Option<Sequence>,
}

pub(super) async fn changes(
    State(office): State<Arc<Office>>,
    Extension(viewer): Extension<Viewer>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let mut question = understood(query.as_deref().unwrap_or_default())?;
    question.asked.nameless = !viewer.sees_names;
    if question.asked.nameless && !question.asked.selection.actors.is_empty() {
        return Err(Refusal::usage(
            "actor: names are told, and looked for, only where `admin.token` is given",
        ));
    }
    match question.format {
        Format::Json => {
            question.asked.limit.get_or_insert(USUAL);
            page(&office, question.asked).await
        }
        Format::Ndjson => Ok(stream(office, question, "application/x-ndjson", "changes.ndjson")),
        Format::Csv => Ok(stream(office, question, "text/csv; charset=utf-8; header=present", "changes.csv")),
    }
}

async fn page(office: &Office, asked: ChangesAsked) -> Result<Response, Refusal> {
    let page = changes::page(office, asked).await?;
    let rows = page.entries.into_iter().filter_map(|entry| match entry {
        ChangeEntry::Row(row) => Some(*row),
        ChangeEntry::Story { .. } | ChangeEntry::Envelope(_) | ChangeEntry::Place(_) => None,
    });
    let next = page.next.map(|next| Next { after: next.after, through: next.through });
    Ok(Json(Page { changes: rows.collect(), notes: page.notes, next }).into_response())
}

/// Page after page, as fast as they are taken.
fn stream(office: Arc<Office>, question: Question, kind: &'static str, file: &'static str) -> Response {
    let (pages, taken) = mpsc::channel::<Result<Bytes, Refusal>>(1);
    tokio::spawn(async move {
        if question.format == Format::Csv
            && pages.send(Ok(csv::record(ChangeRow::HEADER).into())).await.is_err()
        {
            return;
        }
        let mut left = question.asked.limit;
        let mut place = Some(question.asked.place.clone());
        while let Some(next) = place {
            let asked = ChangesAsked { place: next, limit: left, ..question.asked.clone() };
            let told = match changes::page(&office, asked).await {
                Ok(page) => {
                    left = left.map(|left| left.saturating_sub(page.entries.len()));
                    place = page.next.filter(|_| left != Some(0));
                    Ok(page.entries.iter().map(line).collect::<String>().into())
                }
                Err(refusal) => {
                    place = None;
                    Err(refusal)
                }
            };
            if pages.send(told).await.is_err() {
                return;
            }
        }
    });
    let disposition = format!("attachment; filename=\"{file}\"");
    let headers = [(header::CONTENT_TYPE, kind.to_owned()), (header::CONTENT_DISPOSITION, disposition)];
    (headers, Body::from_stream(ReceiverStream::new(taken))).into_response()
}

fn line(entry: &ChangeEntry) -> String {
    match entry {
        ChangeEntry::Row(row) => csv::record(row.cells()),
        ChangeEntry::Envelope(json) | ChangeEntry::Place(json) => format!("{json}\n"),
        ChangeEntry::Story { .. } => String::new(),
    }
}

/// Reads a query.
fn understood(query: &str) -> Result<Question, Refusal> {
    let mut question = Question::default();
    let mut seen: Vec<String> = Vec::new();
    let mut values = 0;
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let wrong = |why: &str| Refusal::usage(format!("{name}: {why}"));
        if value.len() > MAX_TEXT {
            return Err(wrong("too long"));
        }
        let selection = &mut question.asked.selection;
        let list = match &*name {
            "environment" => Some(&mut selection.environments),
            "flag" => Some(&mut selection.flags),
            "segment" => Some(&mut selection.segments),
            "actor" => Some(&mut selection.actors),
            _ => None,
        };
        // An empty field of a form asks for nothing.
        if value.is_empty() && PARAMETERS.contains(&&*name) {
            continue;
        }
        if let Some(list) = list {
            list.push(value.into_owned());
            values += 1;
            if values > MAX_VALUES {
                return Err(wrong("too many"));
            }
            continue;
        }
        if seen.iter().any(|earlier| *earlier == name) {
            return Err(wrong("given twice"));
        }
        seen.push(name.clone().into_owned());
        let number = || value.parse::<u64>().map_err(|_| wrong("expected a number"));
        match &*name {
            "since" => selection.since = Some(times::time(&value).map_err(|why| wrong(&why))?),
            "until" => selection.until = Some(times::time(&value).map_err(|why| wrong(&why))?),
            "after" => question.asked.place.after = number()?,
            "through" => question.asked.place.through = Some(number()?),
            "limit" => match usize::try_from(number()?) {
                Ok(limit @ 1..=MOST) => question.asked.limit = Some(limit),
                _ => return Err(wrong(&format!("expected 1 to {}", words::number(MOST as u64)))),
            },
            "format" => {
                question.format = format(&value).ok_or_else(|| wrong("expected `json`, `ndjson` or `csv`"))?
            }
            other => return Err(unknown(other)),
        }
    }
    let selection = &question.asked.selection;
    if let (Some(since), Some(until)) = (selection.since, selection.until)
        && since >= until
    {
        return Err(Refusal::usage(format!("since {since} is not before until {until}")));
    }
    question.asked.form = match question.format {
        Format::Ndjson => ChangeForm::Envelopes,
        Format::Json | Format::Csv => ChangeForm::Rows,
    };
    Ok(question)
}

fn format(word: &str) -> Option<Format> {
    match word {
        "json" => Some(Format::Json),
        "ndjson" => Some(Format::Ndjson),
        "csv" => Some(Format::Csv),
        _ => None,
    }
}

fn unknown(name: &str) -> Refusal {
    let hint = match words::nearest(name, PARAMETERS) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("there are: {}", PARAMETERS.join(", ")),
    };
    Refusal::usage(format!("there is no parameter `{}`; {hint}", words::brief(name, 80)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_like_a_command_line() {
        let question = understood(
            "flag=checkout*&flag=cart&environment=production&since=2026-11-22&until=2026-11-23&format=csv&limit=7&after=3&through=9&actor=",
        )
        .unwrap();
        let selection = &question.asked.selection;
        assert_eq!(selection.flags, ["checkout*", "cart"]);
        assert_eq!(selection.environments, ["production"]);
        assert_eq!(selection.actors, Vec::<String>::new());
        assert_eq!(selection.since.unwrap().to_string(), "2026-11-22T00:00:00Z");
        assert_eq!((question.format, question.asked.form), (Format::Csv, ChangeForm::Rows));
        assert_eq!((question.asked.limit, question.asked.place.after), (Some(7), 3));
        assert_eq!(question.asked.place.through, Some(9));
        assert_eq!(understood("").unwrap().format, Format::Json);
    }

    #[test]
    fn what_is_wrong_with_a_query_is_said() {
        for (query, words) in [
            ("flagg=x", "there is no parameter `flagg`; did you mean `flag`?"),
            ("zzzzzzzz=x", "there is no parameter `zzzzzzzz`; there are: actor, after, "),
            ("since=yesterday", "since: expected a time such as"),
            ("since=2h&since=3h", "since: given twice"),
            (
                "since=2026-11-23&until=2026-11-22",
                "since 2026-11-23T00:00:00Z is not before until 2026-11-22",
            ),
            ("limit=0", "limit: expected 1 to 2,000"),
            ("limit=2001", "limit: expected 1 to 2,000"),
            ("limit=-1", "limit: expected a number"),
            ("after=x", "after: expected a number"),
            ("format=xml", "format: expected `json`, `ndjson` or `csv`"),
        ] {
            let refusal = understood(query).unwrap_err();
            assert!(refusal.message.starts_with(words), "{query}: {}", refusal.message);
        }
        assert_eq!(understood(&format!("flag={}", "x".repeat(2_000))).unwrap_err().message, "flag: too long");
        assert_eq!(understood(&"flag=x&".repeat(101)).unwrap_err().message, "flag: too many");
    }
}
