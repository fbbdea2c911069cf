//! `audit-relay import`: back-fills from a file.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::{ConfigArgs, EXIT_FAILURE, EXIT_USAGE};
use crate::config::plan::{Plan, SourceKind};
use crate::relay::{Delivery, Relay, RelayError, file_source};
use crate::source::file::{ImportError, Imported, import};
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
    let plan = match args.config.load() {
        Ok(loaded) => loaded.plan,
        Err(code) => return code,
    };
    let is_file =
        |name: &str| plan.sources.get(name).is_some_and(|source| matches!(source.kind, SourceKind::File(_)));
    if !is_file(&args.source) {
        let known: Vec<&str> = plan.sources.keys().map(String::as_str).filter(|name| is_file(name)).collect();
        eprintln!(
            "--source {}: the configuration has no file source of that name; it has: {}",
            args.source,
            known.join(", ")
        );
        return ExitCode::from(EXIT_USAGE);
    }
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
            let Imported { accepted, known, unreadable, ignored } = imported;
            println!(
                "{accepted} new records, {known} were journaled before; {unreadable} of them could not be read as events; {ignored} lines of other kinds were passed over"
            );
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("import failed: {failure}");
            ExitCode::from(EXIT_FAILURE)
        }
    }
}

async fn take_in(plan: Plan, args: &ImportArgs) -> Result<Imported, Failure> {
    let delivery = if args.journal_only { Delivery::Off } else { Delivery::On };
    let (source_name, path, journal_only) = (args.source.clone(), args.file.clone(), args.journal_only);
    // The journal is opened where no relay holds it; one that runs keeps it to itself.
    let relay = Relay::start(plan.clone(), Duration::ZERO, delivery).await?;
    let source = file_source(&plan, &source_name, relay.journal())
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
