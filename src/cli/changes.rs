//! `audit-relay changes`: what changed, and who did it.

use std::io::{BufWriter, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::ConfigArgs;
use super::desk::{Desk, Failure, at_desk};
use crate::admin::words::{count, number};
use crate::admin::{
    Answer, ChangeEntry, ChangeForm, ChangeNotes, ChangePlace, ChangeRow, ChangeSelection, ChangesAsked,
    Command,
};
use crate::admin::{csv, times};
use crate::event::Timestamp;

/// How far a table reaches back where nothing is said.
const DAY: Duration = Duration::from_secs(86_400);

/// What `changes` takes.
#[derive(Debug, Clone, Args)]
pub(super) struct ChangesArgs {
    /// What happened at or after this, by the event's own time: RFC 3339, `13:50` (today, UTC), `2026-11-22`
    /// (its beginning, UTC), or how long ago, such as `2h` or `30d` [default: of a table `24h`, else all]
    #[arg(long, value_name = "TIME", value_parser = times::time)]
    since: Option<Timestamp>,
    /// What happened before this
    #[arg(long, value_name = "TIME", value_parser = times::time)]
    until: Option<Timestamp>,
    /// In one of these environments, with `*`; `unknown` for events that tell none, such as denied attempts
    #[arg(long, value_name = "NAME")]
    environment: Vec<String>,
    /// To one of these flags, with `*`, or to what belongs to it
    #[arg(long, value_name = "GLOB")]
    flag: Vec<String>,
    /// To one of these segments, with `*`, or to what belongs to it
    #[arg(long, value_name = "GLOB")]
    segment: Vec<String>,
    /// By somebody with this in the name or e-mail address
    #[arg(long, value_name = "TEXT")]
    actor: Vec<String>,
    /// `table`: a sentence for each change set; `csv` and `ndjson`: each record, denied attempts, gaps and what
    /// could not be read among them
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
    /// Add to each record its place in the chain, and what is left out as a place alone, up to the end of the journal:
    /// `audit-relay verify` tells of such an export whether it still is what was accepted. Only as `ndjson`
    #[arg(long)]
    with_chain: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Csv,
    Ndjson,
}

impl ChangesArgs {
    fn form(&self) -> Result<ChangeForm, Failure> {
        match (self.format, self.with_chain) {
            (Format::Table, false) => Ok(ChangeForm::Stories),
            (Format::Csv, false) => Ok(ChangeForm::Rows),
            (Format::Ndjson, false) => Ok(ChangeForm::Envelopes),
            (Format::Ndjson, true) => Ok(ChangeForm::ChainedEnvelopes),
            (_, true) => Err(Failure::usage("--with-chain needs --format ndjson")),
        }
    }

    fn selection(&self) -> Result<ChangeSelection, Failure> {
        let until = self.until;
        let day_before = || {
            Timestamp::from_unix_micros(
                until.unwrap_or_else(Timestamp::now).unix_micros().saturating_sub(DAY.as_micros() as i64),
            )
        };
        let since = self.since.or_else(|| (self.format == Format::Table).then(day_before));
        if let (Some(since), Some(until)) = (since, until)
            && since >= until
        {
            return Err(Failure::usage(format!("--since {since} is not before --until {until}")));
        }
        Ok(ChangeSelection {
            since,
            until,
            environments: self.environment.clone(),
            flags: self.flag.clone(),
            segments: self.segment.clone(),
            actors: self.actor.clone(),
        })
    }
}

pub(super) fn run(args: &ChangesArgs) -> ExitCode {
    at_desk(&args.config, async |desk| {
        let selection = args.selection()?;
        let form = args.form()?;
        let mut out = BufWriter::new(std::io::stdout().lock());
        let told = tell(desk, form, &selection, &mut out).await?;
        let Some(told) = told else { return Ok(ExitCode::SUCCESS) };
        if args.format == Format::Table {
            let _ = out.write_all(sum(&told, &selection).as_bytes());
        }
        let _ = out.flush();
        eprint!("{}", warnings(&told.notes, &selection));
        Ok(ExitCode::SUCCESS)
    })
}

/// What was told.
#[derive(Default)]
struct Told {
    lines: u64,
    notes: ChangeNotes,
}

/// Tells page after page. Nothing comes back where nobody reads any more.
async fn tell(
    desk: &Desk,
    form: ChangeForm,
    selection: &ChangeSelection,
    out: &mut impl Write,
) -> Result<Option<Told>, Failure> {
    let mut told = Told::default();
    let mut place = Some(ChangePlace::default());
    if form == ChangeForm::Rows && out.write_all(csv::record(ChangeRow::HEADER).as_bytes()).is_err() {
        return Ok(None);
    }
    while let Some(next) = place {
        let asked =
            ChangesAsked { selection: selection.clone(), form, place: next, ..ChangesAsked::default() };
        let Answer::Changes(page) = desk.ask(Command::Changes(asked)).await? else {
            return Err(Failure::mixed_up());
        };
        told.lines += page.entries.len() as u64;
        told.notes.add(page.notes);
        for entry in &page.entries {
            if out.write_all(line(entry).as_bytes()).is_err() {
                return Ok(None);
            }
        }
        place = page.next;
    }
    Ok(Some(told))
}

fn line(entry: &ChangeEntry) -> String {
    match entry {
        ChangeEntry::Story { time, what, .. } => format!("{}  {what}\n", whole_seconds(*time)),
        ChangeEntry::Row(row) => csv::record(row.cells()),
        ChangeEntry::Envelope(json) | ChangeEntry::Place(json) => format!("{json}\n"),
    }
}

fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_unix_micros(time.unix_seconds() * 1_000_000)
}

/// The last line of a table.
fn sum(told: &Told, selection: &ChangeSelection) -> String {
    let events = match told.notes.events {
        events if events == told.lines => String::new(),
        events => format!(" ({})", count(events, "event")),
    };
    let since = selection.since.map(|since| format!(" from {}", whole_seconds(since))).unwrap_or_default();
    let until = selection.until.map_or_else(|| "now".to_owned(), |until| whole_seconds(until).to_string());
    format!("{}{events}{since} to {until}\n", count(told.lines, "change"))
}

/// What must be known beside what was told.
fn warnings(notes: &ChangeNotes, selection: &ChangeSelection) -> String {
    let mut text = String::new();
    match (selection.since, notes.whole_since) {
        (Some(since), Some(whole)) if since < whole => text.push_str(&format!(
            "warning: the journal has all that was accepted since {}, and not all of what was before\n",
            whole_seconds(whole)
        )),
        (_, None) => text.push_str("warning: the journal holds no records\n"),
        _ => {}
    }
    let lost = [(notes.gaps, "gap"), (notes.unreadable, "unreadable line")];
    let lost: Vec<String> =
        lost.iter().filter(|(many, _)| *many > 0).map(|(many, what)| count(*many, what)).collect();
    if !lost.is_empty() {
        text.push_str(&format!(
            "warning: {} in that time: what was changed there is not known\n",
            lost.join(" and ")
        ));
        for (time, what) in &notes.first {
            text.push_str(&format!("  {}  {what}\n", whole_seconds(*time)));
        }
        let more = (notes.gaps + notes.unreadable).saturating_sub(notes.first.len() as u64);
        if more > 0 {
            text.push_str(&format!("  and {} more\n", number(more)));
        }
    }
    if notes.corrupt > 0 {
        let records = count(notes.corrupt, "record");
        text.push_str(&format!("warning: {records} of that time altered or removed since acceptance\n"));
    }
    if notes.undecided > 0 {
        let events = count(notes.undecided, "more event");
        text.push_str(&format!(
            "note: {events} of that time may be among these, but do not tell (environment, flag or actor)\n"
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).unwrap()
    }

    #[test]
    fn the_last_line_counts_what_was_told() {
        let selection = ChangeSelection {
            since: Some(at("2026-11-22T13:50:00Z")),
            until: Some(at("2026-11-22T14:10:00Z")),
            ..ChangeSelection::default()
        };
        let told = |lines, events| Told { lines, notes: ChangeNotes { events, ..ChangeNotes::default() } };
        let range = "from 2026-11-22T13:50:00Z to 2026-11-22T14:10:00Z\n";
        assert_eq!(sum(&told(1, 1), &selection), format!("1 change {range}"));
        assert_eq!(sum(&told(2, 1_004), &selection), format!("2 changes (1,004 events) {range}"));
        assert_eq!(sum(&told(0, 0), &ChangeSelection::default()), "0 changes to now\n");
    }

    #[test]
    fn what_is_not_known_is_said() {
        let since = |text| ChangeSelection { since: Some(at(text)), ..ChangeSelection::default() };
        let whole = ChangeNotes { whole_since: Some(at("2026-11-22T13:50:00Z")), ..ChangeNotes::default() };
        assert_eq!(warnings(&whole, &since("2026-11-22T13:50:00Z")), "");
        let early = warnings(&whole, &since("2026-11-22T13:49:59Z"));
        assert!(
            early.starts_with("warning: the journal has all that was accepted since 2026-11-22T13:50:00Z")
        );
        let notes = ChangeNotes {
            gaps: 1,
            unreadable: 2,
            first: vec![(at("2026-11-22T13:51:00Z"), "gap".to_owned())],
            corrupt: 1,
            undecided: 3,
            ..whole
        };
        let text = warnings(&notes, &since("2026-11-22T13:50:00Z"));
        for part in
            ["1 gap and 2 unreadable lines", "13:51:00Z  gap\n  and 2 more\n", "1 record of", "3 more events"]
        {
            assert!(text.contains(part), "{text}");
        }
    }
}
