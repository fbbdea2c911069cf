//! `audit-relay run`: the main job.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Args;

use super::edits::Edits;
use super::signals::{Signals, Wish};
use super::{ConfigArgs, EXIT_FAILURE, EXIT_USAGE};
use crate::config::plan::{DestinationKind, Plan, SourceKind};
use crate::config::{LoadOptions, Loaded};
use crate::relay::{Delivery, Farewell, LOCK_WAIT, Relay, RelayError};
use crate::telemetry::logs;

/// What `run` takes.
#[derive(Debug, Clone, Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) fn run(args: &RunArgs) -> ExitCode {
    let begun = Instant::now();
    let loaded = match args.config.load() {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    if let Err(error) = logs::init(&loaded.plan.log) {
        eprintln!("{error}");
        return ExitCode::from(EXIT_USAGE);
    }
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    for note in &loaded.notes {
        tracing::info!("{note}");
    }
    super::end_on_panic();
    super::raise_descriptor_limit();
    let ended = super::runtime().map_err(|error| error.to_string()).and_then(|runtime| {
        let ended =
            runtime.block_on(relay(loaded, &args.config.options(), begun)).map_err(|error| error.to_string());
        // Whatever still blocks (a terminal that nobody reads) does not keep the process.
        runtime.shutdown_background();
        ended
    });
    match ended {
        Ok(code) => code,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::from(EXIT_FAILURE)
        }
    }
}

async fn relay(loaded: Loaded, options: &LoadOptions, begun: Instant) -> Result<ExitCode, RelayError> {
    let mut signals = Signals::new();
    let plan = loaded.plan.clone();
    let mut edits = Edits::new(&loaded, options);
    let starting = async {
        let sha256 = loaded.sha256;
        let mut relay = Relay::start(loaded.plan, LOCK_WAIT, Delivery::On).await?;
        relay.note_configuration(sha256, "applied at a start").await;
        relay.start_sources().await?;
        Ok::<_, RelayError>(relay)
    };
    let mut relay = tokio::select! {
        started = starting => started?,
        () = signals.stop() => {
            tracing::info!("stopped before it was ready");
            return Ok(ExitCode::SUCCESS);
        }
    };
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        data_dir = %plan.data_dir.display(),
        journal = relay.journal().epoch(),
        ready_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        "ready"
    );
    let mut is_settled = false;
    loop {
        let wish = tokio::select! {
            () = relay.settled(), if !is_settled => {
                is_settled = true;
                say_where_it_stands(&relay);
                continue;
            }
            wish = signals.next() => wish,
            () = edits.noticed() => Wish::Reload,
            reason = relay.failed() => {
                tracing::error!("the journal cannot be written, giving up: {reason}");
                return Ok(ExitCode::from(EXIT_FAILURE));
            }
        };
        match wish {
            Wish::Reload => edits.apply(&mut relay).await,
            Wish::Stop => break,
        }
    }
    let timeout = relay.plan().shutdown_timeout;
    tracing::info!(?timeout, "stopping: reading to the end, then delivering what waits");
    tokio::select! {
        farewell = relay.shut_down(Some(timeout)) => {
            say_farewell(&farewell?);
            Ok(ExitCode::SUCCESS)
        }
        () = signals.stop_again() => {
            tracing::warn!("a second signal: ending at once; what is journaled goes out after the next start");
            std::process::exit(i32::from(EXIT_FAILURE));
        }
    }
}

fn say_where_it_stands(relay: &Relay) {
    let plan = relay.plan();
    let mut records = 0;
    let mut example = None;
    for (source, status) in relay.source_statuses() {
        records += status.records;
        for file in &status.files {
            tracing::info!(source, path = %file.path.display(), position = file.position, size = file.size_bytes, "following");
            if file.size_bytes > 0 {
                example.get_or_insert_with(|| file.path.clone());
            }
        }
        for absent in &status.absent {
            let path = absent.path.display();
            match absent.is_unreadable {
                true => tracing::error!(source, %path, "this cannot be read; waiting until it can"),
                false => tracing::info!(source, %path, "no file there yet; waiting for it"),
            }
        }
    }
    let new = match records {
        0 => "nothing new since the last run",
        _ => "up to date",
    };
    match example.and_then(|example| something_to_paste(plan, &example)) {
        Some(command) => tracing::info!(
            "{new}; waiting for more. To see an event arrive, paste in another terminal: {command}"
        ),
        None => tracing::info!("{new}; waiting for more"),
    }
}

/// For those who try the relay out on their screen: a command that writes a line of the followed file where
/// a glob in the data directory will find it. Never for a configuration that only delivers elsewhere.
fn something_to_paste(plan: &Plan, example: &Path) -> Option<String> {
    let on_screen = |kind: &DestinationKind| matches!(kind, DestinationKind::Console(_));
    if !plan.destinations.values().any(|destination| destination.kind.as_ref().is_ok_and(on_screen)) {
        return None;
    }
    let own_glob = plan.sources.values().find_map(|source| match &source.kind {
        SourceKind::File(file) => file.paths.iter().map(PathBuf::from).find(|path| {
            path.file_name().is_some_and(|name| name == "*.log")
                && path.parent().and_then(|parent| parent.canonicalize().ok())
                    == plan.data_dir.canonicalize().ok()
        }),
        SourceKind::Http(_) => None,
    })?;
    let target = own_glob.with_file_name("mine.log");
    Some(format!("tail -n 1 {} >> {}", example.display(), target.display()))
}

fn say_farewell(farewell: &Farewell) {
    if farewell.waiting.is_empty() && farewell.unread_bytes.is_empty() {
        tracing::info!("stopped; nothing waits");
        return;
    }
    let mut parts: Vec<String> = farewell
        .waiting
        .iter()
        .map(|(destination, count)| format!("{count} records wait for {destination}"))
        .collect();
    parts.extend(
        farewell.unread_bytes.iter().map(|(source, bytes)| format!("{bytes} bytes of {source} are unread")),
    );
    tracing::warn!("stopped; {}; they go out after the next start", parts.join(", "));
}
