//! `audit-relay replay`: sends records once more, under the ids they have always had.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::desk::{Desk, Failure, at_desk};
use super::{ConfigArgs, EXIT_FAILURE, print};
use crate::admin::times;
use crate::admin::words::{count, moment, number};
use crate::admin::{Answer, Command, Preview};
use crate::event::{EventId, Timestamp};
use crate::journal::{NewReplay, ReplayRow, ReplaySelection};

/// The state of a destination that needs no mention.
const RUNNING: &str = "running";

/// Between two looks at how far it is.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// What `replay` takes.
#[derive(Debug, Clone, Args)]
pub(super) struct ReplayArgs {
    /// The records with these ids
    ids: Vec<EventId>,
    /// Where to
    #[arg(long, value_name = "NAME")]
    destination: String,
    /// Everything that is dead there
    #[arg(long)]
    dead_letters: bool,
    /// What was accepted at or after this: RFC 3339, `13:50` (today, UTC), `2026-11-22`, or how long ago, such as
    /// `2h`
    #[arg(long, value_name = "TIME", value_parser = times::time)]
    since: Option<Timestamp>,
    /// What was accepted before this
    #[arg(long, value_name = "TIME", value_parser = times::time)]
    until: Option<Timestamp>,
    /// Of that, events with these of Flipt's `noun:verb`, either of which may be `*`
    #[arg(long, value_name = "NOUN:VERB", value_parser = pattern, value_delimiter = ',', num_args = 1..)]
    events: Vec<String>,
    /// Records a second, at most, such as `10/s`
    #[arg(long, value_name = "N/s", value_parser = rate)]
    rate: Option<u32>,
    /// Send, where people are called to look (Slack, Datadog), instead of telling what would be sent
    #[arg(long)]
    yes: bool,
    /// Tell what would be sent, and send nothing
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Do not wait until it is done
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

fn pattern(text: &str) -> Result<String, String> {
    match text.split_once(':') {
        Some((noun, verb)) if !noun.is_empty() && !verb.is_empty() && !verb.contains(':') => {
            Ok(text.to_owned())
        }
        _ => Err("expected Flipt's `noun:verb`, such as `flag:updated`, `*:deleted` or `*:*`".to_owned()),
    }
}

fn rate(text: &str) -> Result<u32, String> {
    match text.strip_suffix("/s").unwrap_or(text).trim().parse() {
        Ok(rate) if rate > 0 => Ok(rate),
        _ => Err("expected records a second, such as `10/s`".to_owned()),
    }
}

impl ReplayArgs {
    /// Exactly one kind of selection.
    fn selection(&self) -> Result<ReplaySelection, Failure> {
        let is_range = self.since.is_some() || self.until.is_some() || !self.events.is_empty();
        match (self.ids.is_empty(), self.dead_letters, is_range) {
            (false, false, false) => Ok(ReplaySelection::Ids(self.ids.clone())),
            (true, true, false) => Ok(ReplaySelection::DeadLetters),
            (true, false, true) => Ok(ReplaySelection::Range {
                since: self.since,
                until: self.until,
                events: self.events.clone(),
            }),
            _ => Err(Failure::usage(
                "say which records, in exactly one way: ids, --dead-letters, or any of --since, --until and --events",
            )),
        }
    }
}

pub(super) fn run(args: &ReplayArgs) -> ExitCode {
    at_desk(&args.config, async |desk| {
        let replay = NewReplay {
            destination: args.destination.clone(),
            selection: args.selection()?,
            rate: args.rate,
        };
        let command = Command::Replay { replay, dry_run: args.dry_run, confirmed: args.yes };
        match desk.ask(command).await? {
            Answer::Preview(preview) => {
                print(&previewed(&preview));
                Ok(ExitCode::SUCCESS)
            }
            Answer::Replay { row, .. } if !desk.is_running() => {
                print(&format!(
                    "replay {} of {} to {} is recorded; no relay runs: it is carried out when one starts\n",
                    row.id.0,
                    how_many(&row),
                    row.destination
                ));
                Ok(ExitCode::SUCCESS)
            }
            Answer::Replay { row, .. } if args.no_wait => {
                print(&format!(
                    "replay {} of {} to {} has begun\n",
                    row.id.0,
                    how_many(&row),
                    row.destination
                ));
                Ok(ExitCode::SUCCESS)
            }
            Answer::Replay { row, state } => wait(desk, row, state).await,
            _ => Err(Failure::mixed_up()),
        }
    })
}

/// The number as counted when it was asked for; where routes and patterns decide, the most it can be.
fn how_many(row: &ReplayRow) -> String {
    let at_most = match &row.selection {
        ReplaySelection::Range { .. } => "at most ",
        _ => "",
    };
    format!("{at_most}{}", count(row.total, "record"))
}

fn previewed(preview: &Preview) -> String {
    let now = Timestamp::now();
    let mut text =
        format!("{} would be sent to {} once more", count(preview.records, "record"), preview.destination);
    text.push_str(if preview.first.is_empty() { "\n" } else { ":\n" });
    for glimpse in &preview.first {
        text.push_str(&format!("  {}  {}  {}\n", glimpse.id, moment(glimpse.time, now), glimpse.what));
    }
    let more = preview.records - preview.first.len() as u64;
    if more > 0 {
        text.push_str(&format!("  and {} more\n", number(more)));
    }
    text.push_str(match preview.unconfirmed {
        true => "nothing was sent: --yes sends it\n",
        false => "nothing was sent\n",
    });
    text
}

async fn wait(desk: &Desk, mut row: ReplayRow, mut state: String) -> Result<ExitCode, Failure> {
    let bar = Bar { is_shown: std::io::stderr().is_terminal() };
    bar.tell_change(&row, RUNNING, &state);
    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    loop {
        bar.show(&row, &state);
        if row.finished_at.is_some() {
            break;
        }
        tokio::select! {
            _ = &mut interrupted => {
                bar.end();
                print(&format!(
                    "replay {} goes on without being watched; `audit-relay status` tells how far it is\n",
                    row.id.0
                ));
                return Ok(ExitCode::SUCCESS);
            }
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
        match desk.ask(Command::ReplayProgress { id: row.id }).await {
            Ok(Answer::Replay { row: later, state: now }) => {
                bar.tell_change(&row, &state, &now);
                (row, state) = (later, now);
            }
            Ok(_) => return Err(Failure::mixed_up()),
            Err(failure) => {
                bar.end();
                return Err(Failure::failed(format!(
                    "replay {} is not done and cannot be watched any more, it goes on with the relay: {failure}",
                    row.id.0
                )));
            }
        }
    }
    bar.end();
    print(&format!(
        "replay {} to {}: {} taken, {} not taken\n",
        row.id.0,
        row.destination,
        count(row.replayed, "record"),
        number(row.failed)
    ));
    Ok(if row.failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILURE) })
}

/// One line that is written over again and again, on a terminal.
struct Bar {
    is_shown: bool,
}

impl Bar {
    const WIDTH: u64 = 30;

    fn show(&self, row: &ReplayRow, state: &str) {
        if !self.is_shown {
            return;
        }
        let done = row.replayed + row.failed;
        let full = match row.finished_at {
            Some(_) => Self::WIDTH,
            None => Self::WIDTH * done.min(row.total) / row.total.max(1),
        };
        let bar: String = (0..Self::WIDTH).map(|place| if place < full { '█' } else { '░' }).collect();
        let state =
            if state == RUNNING { String::new() } else { format!(", {} is {state}", row.destination) };
        let mut stderr = std::io::stderr().lock();
        let _ = write!(stderr, "\r{bar} {} of {}{state}\x1b[K", number(done), how_many(row));
        let _ = stderr.flush();
    }

    /// Where nobody sees the line: that the replay waits, or goes on.
    fn tell_change(&self, row: &ReplayRow, before: &str, now: &str) {
        if !self.is_shown && before != now && row.finished_at.is_none() {
            eprintln!("replay {}: {} is {now}", row.id.0, row.destination);
        }
    }

    fn end(&self) {
        if self.is_shown {
            eprintln!();
        }
    }
}
