//! `audit-relay import`: back-fills from a file.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::{ConfigArgs, EXIT_FAILURE, EXIT_USAGE, desk};
use crate::admin::{Answer, Command, words};
use crate::config::plan::{Plan, SourceKind, SourcePlan};
use crate::relay::{Delivery, Relay, RelayError};
use crate::source::file::{FileSource, ImportError, Imported, import};
use crate::telemetry::logs;

/// What `import` takes.
#[derive(Debug, Clone, Args)]
pub(super) struct ImportArgs {
    /// The file to take in, to its end; decompress it first
    file: PathBuf,
    /// The file source of the configuration that it belongs to: ids are the same as if that source had
    /// tailed the file, so what is journaled already is passed over
    #[arg(long, value_name = "NAME")]
    source: String,
    /// Keep the events in the journal and deliver none of them, now or later
    #[arg(long)]
    journal_only: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Relay(#[from] RelayError),
    #[error(transparent)]
    Import(#[from] ImportError),
    #[error("{0}")]
    Other(String),
}

pub(super) fn run(args: &ImportArgs) -> ExitCode {
    match args.config.plan() {
        Err(problems) => {
            eprintln!("{problems}");
            ExitCode::from(EXIT_USAGE)
        }
        Ok(plan) => match know_source(&plan, &args.source) {
            Err(why) => {
                eprintln!("{why}");
                ExitCode::from(EXIT_USAGE)
            }
            Ok(()) => match is_running(&plan) {
                Ok(true) => through_the_relay(args),
                Ok(false) => alone(args),
                Err(failure) => failure.tell(),
            },
        },
    }
}

fn know_source(plan: &Plan, name: &str) -> Result<(), String> {
    let is_file = |source: &&SourcePlan| matches!(source.kind, SourceKind::File(_));
    if plan.sources.get(name).as_ref().is_some_and(is_file) {
        return Ok(());
    }
    let known = plan.sources.iter().filter(|(_, source)| is_file(source)).map(|(name, _)| name.as_str());
    let known: Vec<&str> = known.collect();
    let near = words::nearest(name, known.iter().copied());
    let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    let known = known.join(", ");
    Err(format!("--source {name}: the configuration has no file source of that name; it has: {known}{near}"))
}

fn is_running(plan: &Plan) -> Result<bool, desk::Failure> {
    let runtime = super::runtime().map_err(|error| desk::Failure::failed(error.to_string()))?;
    runtime.block_on(desk::listens(plan))
}

/// By the relay that runs: it delivers what is new like anything else.
fn through_the_relay(args: &ImportArgs) -> ExitCode {
    desk::at_desk(&args.config, async |desk| {
        let file =
            std::path::absolute(&args.file).map_err(|error| desk::Failure::usage(error.to_string()))?;
        let command = Command::Import { file, source: args.source.clone(), journal_only: args.journal_only };
        let Answer::Imported { accepted, known, unreadable, ignored } = desk.ask(command).await? else {
            return Err(desk::Failure::mixed_up());
        };
        tell(&Imported { accepted, known, unreadable, ignored });
        Ok(ExitCode::SUCCESS)
    })
}

/// Where no relay runs: opens the journal, takes in the file, delivers.
fn alone(args: &ImportArgs) -> ExitCode {
    let plan = match args.config.load() {
        Ok(loaded) => loaded.plan,
        Err(code) => return code,
    };
    if let Err(error) = logs::init(&plan.log) {
        eprintln!("{error}");
        return ExitCode::from(EXIT_USAGE);
    }
    let done = super::runtime().map_err(|error| Failure::Other(error.to_string())).and_then(|runtime| {
        let done = runtime.block_on(take_in(plan, args));
        runtime.shutdown_background();
        done
    });
    match done {
        Ok(imported) => {
            tell(&imported);
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("import failed: {failure}");
            ExitCode::from(EXIT_FAILURE)
        }
    }
}

fn tell(imported: &Imported) {
    let Imported { accepted, known, unreadable, ignored } = imported;
    super::print(&format!(
        "{accepted} new records, {known} were journaled before; {unreadable} of them could not be read as events; {ignored} lines of other kinds were passed over\n"
    ));
}

async fn take_in(plan: Plan, args: &ImportArgs) -> Result<Imported, Failure> {
    let delivery = if args.journal_only { Delivery::Off } else { Delivery::On };
    let (source_name, path, journal_only) = (args.source.clone(), args.file.clone(), args.journal_only);
    // The journal is opened where no relay holds it; one that runs keeps it to itself.
    let relay = Relay::start(plan.clone(), Duration::ZERO, delivery).await?;
    let source = FileSource::planned(&plan, &source_name, relay.journal())
        .ok_or_else(|| Failure::Other(format!("{source_name} is no file source")))?;
    let imported = tokio::task::spawn_blocking(move || import(&source, &path, journal_only))
        .await
        .map_err(|error| Failure::Other(error.to_string()))?;
    if relay.is_delivering() {
        tracing::info!("delivering what waits; ctrl-c leaves the rest to the next run");
    }
    let mut failed = relay.journal().failed();
    tokio::select! {
        Ok(reason) = failed.wait_for(Option::is_some) => {
            return Err(Failure::Other(reason.clone().unwrap_or_default()));
        }
        farewell = relay.shut_down(None) => {
            farewell?;
        }
        _ = tokio::signal::ctrl_c() => tracing::warn!("stopped; the rest goes out with the next run"),
    }
    Ok(imported?)
}
