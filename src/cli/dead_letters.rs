//! `audit-relay dead-letters`: what a destination would not take, or what expired for it.

use std::io::{BufRead as _, IsTerminal as _};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use super::desk::{Desk, Failure, at_desk};
use super::{ConfigArgs, EXIT_USAGE, print, print_json};
use crate::admin::words::{count, moment, table};
use crate::admin::{Answer, Command, Letter, WholeLetter};
use crate::event::{EventId, Timestamp};
use crate::journal::DeadLetterSelection;

/// What `dead-letters` takes.
#[derive(Debug, Clone, Args)]
pub(super) struct DeadLettersArgs {
    #[command(subcommand)]
    command: DeadLettersCommand,
}

#[derive(Debug, Clone, Subcommand)]
enum DeadLettersCommand {
    /// Tell which there are, in the order of dying.
    List(ListArgs),
    /// Tell all there is to know about one: why, attempts, when, and the record itself.
    Show(ShowArgs),
    /// Drop dead letters for good; they count as purged from then on.
    Purge(PurgeArgs),
}

/// Which dead letters.
#[derive(Debug, Clone, Args)]
struct Selection {
    /// Those of this destination alone
    #[arg(long, value_name = "NAME")]
    destination: Option<String>,
    /// Those with this code alone, such as `rejected` or `expired`
    #[arg(long, value_name = "WORD")]
    code: Option<String>,
}

#[derive(Debug, Clone, Args)]
struct ListArgs {
    #[command(flatten)]
    selection: Selection,
    /// How many, at most
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Debug, Clone, Args)]
struct ShowArgs {
    /// The id of its record
    id: EventId,
    /// At this destination alone
    #[arg(long, value_name = "NAME")]
    destination: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Debug, Clone, Args)]
struct PurgeArgs {
    /// Those of these records
    ids: Vec<EventId>,
    #[command(flatten)]
    selection: Selection,
    /// Every one of them
    #[arg(long, conflicts_with_all = ["ids", "destination", "code"])]
    all: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) fn run(args: &DeadLettersArgs) -> ExitCode {
    match &args.command {
        DeadLettersCommand::List(args) => list(args),
        DeadLettersCommand::Show(args) => show(args),
        DeadLettersCommand::Purge(args) => purge(args),
    }
}

fn list(args: &ListArgs) -> ExitCode {
    at_desk(&args.config, async |desk| {
        let Selection { destination, code } = args.selection.clone();
        let selection = DeadLetterSelection { destination, ids: Vec::new(), code };
        let (letters, more) = pages(desk, selection, args.limit).await?;
        if args.json {
            print_json(&json!({ "dead_letters": letters, "more": more }));
            return Ok(ExitCode::SUCCESS);
        }
        print(&listed(&letters, Timestamp::now()));
        if more {
            eprintln!("there may be more: see --limit");
        }
        Ok(ExitCode::SUCCESS)
    })
}

async fn pages(
    desk: &Desk,
    selection: DeadLetterSelection,
    limit: usize,
) -> Result<(Vec<Letter>, bool), Failure> {
    let (mut all, mut place) = (Vec::new(), None);
    loop {
        let command = Command::DeadLetters {
            selection: selection.clone(),
            after: place,
            limit: limit.saturating_sub(all.len()),
        };
        let Answer::DeadLetters { letters, after } = desk.ask(command).await? else {
            return Err(Failure::mixed_up());
        };
        let is_stuck = letters.is_empty();
        all.extend(letters);
        if after.is_none() || is_stuck || all.len() >= limit {
            return Ok((all, after.is_some()));
        }
        place = after;
    }
}

fn listed(letters: &[Letter], now: Timestamp) -> String {
    if letters.is_empty() {
        return "no dead letters\n".to_owned();
    }
    let head = ["DIED", "DESTINATION", "CODE", "ATTEMPTS", "ID", "WHAT"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(letters.iter().map(|letter| {
        vec![
            moment(letter.died_at, now),
            letter.destination.clone(),
            letter.code.clone(),
            letter.attempts.to_string(),
            id(letter),
            letter.what.clone(),
        ]
    }));
    table(&rows, &[3])
}

fn id(letter: &Letter) -> String {
    letter.id.map_or_else(|| format!("(sequence {})", letter.sequence), |id| id.to_string())
}

fn show(args: &ShowArgs) -> ExitCode {
    at_desk(&args.config, async |desk| {
        let command = Command::DeadLetter { id: args.id, destination: args.destination.clone() };
        let Answer::DeadLetter(letters) = desk.ask(command).await? else { return Err(Failure::mixed_up()) };
        for (index, letter) in letters.iter().enumerate() {
            if args.json {
                print_json(&whole_json(letter));
                continue;
            }
            let gap = if index > 0 { "\n" } else { "" };
            print(&format!("{gap}{}", shown(letter, Timestamp::now())));
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn whole_json(whole: &WholeLetter) -> serde_json::Value {
    let envelope: Option<serde_json::Value> =
        whole.envelope.as_ref().and_then(|text| serde_json::from_str(text).ok());
    let mut json = json!(whole);
    json["envelope"] = json!(envelope);
    json
}

fn shown(whole: &WholeLetter, now: Timestamp) -> String {
    let letter = &whole.letter;
    let mut rows = vec![
        ["what", &letter.what].map(str::to_owned).to_vec(),
        vec!["id".to_owned(), id(letter)],
        vec!["sequence".to_owned(), letter.sequence.to_string()],
        vec!["destination".to_owned(), letter.destination.clone()],
        vec!["why".to_owned(), format!("{}: {}", letter.code, letter.message)],
        vec!["attempts".to_owned(), letter.attempts.to_string()],
        vec!["died".to_owned(), moment(letter.died_at, now)],
    ];
    if let Some(accepted_at) = whole.accepted_at {
        rows.push(vec!["accepted".to_owned(), moment(accepted_at, now)]);
    }
    let envelope = whole.envelope.as_deref().map(|json| format!("{json}\n")).unwrap_or_default();
    table(&rows, &[]) + &envelope
}

fn purge(args: &PurgeArgs) -> ExitCode {
    let Selection { destination, code } = args.selection.clone();
    if args.ids.is_empty() && destination.is_none() && code.is_none() && !args.all {
        eprintln!("say which: ids, --destination, --code, or --all");
        return ExitCode::from(EXIT_USAGE);
    }
    at_desk(&args.config, async |desk| {
        let selection = DeadLetterSelection { destination, ids: args.ids.clone(), code };
        if !args.yes {
            let records = ask_to_purge(desk, &selection, false).await?;
            if records == 0 {
                print("there are no such dead letters\n");
                return Ok(ExitCode::SUCCESS);
            }
            if !confirmed(&format!("Purge {} for good?", count(records, "dead letter")))? {
                print("nothing was purged\n");
                return Ok(ExitCode::SUCCESS);
            }
        }
        let records = ask_to_purge(desk, &selection, true).await?;
        print(&format!("{} purged\n", count(records, "dead letter")));
        Ok(ExitCode::SUCCESS)
    })
}

async fn ask_to_purge(desk: &Desk, selection: &DeadLetterSelection, confirmed: bool) -> Result<u64, Failure> {
    let command = Command::Purge { selection: selection.clone(), confirmed };
    match desk.ask(command).await? {
        Answer::Purged { records, .. } => Ok(records),
        _ => Err(Failure::mixed_up()),
    }
}

/// Asks whoever sits at the terminal; where nobody does, `--yes` is needed.
fn confirmed(question: &str) -> Result<bool, Failure> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(Failure::usage(format!("{question} Nothing was done: say so with --yes")));
    }
    eprint!("{question} [y/N] ");
    let mut said = String::new();
    stdin.lock().read_line(&mut said).map_err(|error| Failure::failed(error.to_string()))?;
    Ok(matches!(said.trim(), "y" | "Y" | "yes"))
}
