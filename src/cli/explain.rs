//! `audit-relay explain`: why an event goes where it goes, and what exactly would go out.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::desk::{Desk, Failure, at_desk};
use super::{ConfigArgs, print};
use crate::admin::words::{count, escaped};
use crate::admin::{Answer, Command, ExplainAsked, Explainer, Explanation, explanation_text, specimens};
use crate::event::EventId;

/// A file of events to look at is no longer than this.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// What `explain` takes.
#[derive(Debug, Clone, Args)]
pub(super) struct ExplainArgs {
    /// A file with events in any of Flipt's forms, `-` for standard input; without one, and without --id, the
    /// last record of the journal
    #[arg(value_name = "EVENT-FILE", conflicts_with_all = ["last", "id"])]
    file: Option<PathBuf>,
    /// The last records of the journal
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "id")]
    last: Option<u64>,
    /// The record of the journal with this id
    #[arg(long, value_name = "ID")]
    id: Option<EventId>,
    /// The source that the events of EVENT-FILE are read as [default: the only one]
    #[arg(long, value_name = "NAME", requires = "file")]
    source: Option<String>,
    /// Print one JSON text for each event
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) fn run(args: &ExplainArgs) -> ExitCode {
    match &args.file {
        Some(file) => from_file(args, file).unwrap_or_else(|failure| failure.tell()),
        None => at_desk(&args.config, async |desk| from_journal(args, desk).await),
    }
}

/// The configuration is all there is.
fn from_file(args: &ExplainArgs, file: &Path) -> Result<ExitCode, Failure> {
    let plan = match args.config.resolved() {
        Ok(plan) => plan,
        Err(code) => return Ok(code),
    };
    let bytes = read(file).map_err(|error| Failure::failed(format!("{}: {error}", file.display())))?;
    let found = specimens(&plan, args.source.as_deref(), &bytes).map_err(Failure::usage)?;
    if found.ignored > 0 {
        let lines = count(found.ignored, "line");
        eprintln!("{lines} passed over: blank, or of Flipt's application log");
    }
    if found.deliveries.is_empty() {
        return Err(Failure::failed(format!("{} holds no event", file.display())));
    }
    eprintln!(
        "read as source `{}`; no journal was asked: what was before is known from earlier lines alone, and \
         id, sequence and time of acceptance are samples",
        found.source
    );
    if found.is_other_framing {
        eprintln!("warning: that source expects another `framing`, and would not read these lines as events");
    }
    let explainer = Explainer::new(&plan, None);
    for (index, delivery) in found.deliveries.iter().enumerate() {
        tell(args, &explainer.explain(delivery, None), index == 0);
    }
    Ok(ExitCode::SUCCESS)
}

fn read(file: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = match file.to_str() {
        Some("-") => std::io::stdin().take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?,
        _ => std::fs::File::open(file)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?,
    };
    if read as u64 > MAX_FILE_BYTES {
        return Err(std::io::Error::other("larger than 64 MiB"));
    }
    Ok(bytes)
}

async fn from_journal(args: &ExplainArgs, desk: &Desk) -> Result<ExitCode, Failure> {
    // A desk makes do with less than what requests are made of.
    if !desk.is_running()
        && let Err(code) = args.config.resolved()
    {
        return Ok(code);
    }
    let mut next = Some(match args.id {
        Some(id) => ExplainAsked::Id(id),
        None => ExplainAsked::Last(args.last.unwrap_or(1)),
    });
    let mut is_first = true;
    while let Some(asked) = next {
        let Answer::Explained { explanations, altered, more } = desk.ask(Command::Explain(asked)).await?
        else {
            return Err(Failure::mixed_up());
        };
        for sequence in altered {
            eprintln!("warning: record {sequence} was altered or removed since it was accepted");
        }
        for explanation in &explanations {
            tell(args, explanation, is_first);
            is_first = false;
        }
        next = more;
    }
    if is_first {
        return Err(Failure::failed("the journal holds no such record"));
    }
    Ok(ExitCode::SUCCESS)
}

fn tell(args: &ExplainArgs, explanation: &Explanation, is_first: bool) {
    if args.json {
        // Inside of JSON the escaped form means the same.
        let json = serde_json::to_string(explanation).unwrap_or_default();
        print(&format!("{}\n", escaped(&json)));
        return;
    }
    let gap = if is_first { "" } else { "\n" };
    print(&format!("{gap}{}", explanation_text(explanation)));
}
