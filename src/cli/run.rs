//! `audit-relay run`: the main job.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{ConfigArgs, EXIT_FAILURE, EXIT_USAGE};
use crate::config::plan::{DestinationKind, Plan, SourceKind};
use crate::relay::{Delivery, Farewell, LOCK_WAIT, Relay, RelayError};
use crate::telemetry::logs;

/// Signals so shortly after one another are one.
const SAME_WISH: Duration = Duration::from_millis(200);

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
        let ended = runtime.block_on(relay(loaded.plan, begun)).map_err(|error| error.to_string());
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

async fn relay(plan: Plan, begun: Instant) -> Result<ExitCode, RelayError> {
    let mut signals = Signals::new();
    let starting = async {
        let mut relay = Relay::start(plan.clone(), LOCK_WAIT, Delivery::On).await?;
        relay.start_sources().await?;
        Ok::<_, RelayError>(relay)
    };
    let relay = tokio::select! {
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
    let failed = tokio::select! {
        () = watch(&relay, &plan, &mut signals) => None,
        reason = relay.failed() => Some(reason),
    };
    if let Some(reason) = failed {
        tracing::error!("the journal cannot be written, giving up: {reason}");
        return Ok(ExitCode::from(EXIT_FAILURE));
    }
    tracing::info!(timeout = ?plan.shutdown_timeout, "stopping: reading to the end, then delivering what waits");
    tokio::select! {
        farewell = relay.shut_down(Some(plan.shutdown_timeout)) => {
            say_farewell(&farewell?);
            Ok(ExitCode::SUCCESS)
        }
        () = signals.stop_again() => {
            tracing::warn!("a second signal: ending at once; what is journaled goes out after the next start");
            std::process::exit(i32::from(EXIT_FAILURE));
        }
    }
}

/// Tells where things stand once everything is settled, then waits to be stopped.
async fn watch(relay: &Relay, plan: &Plan, signals: &mut Signals) {
    tokio::select! {
        () = relay.settled() => {}
        () = signals.stop() => return,
    }
    say_where_it_stands(relay, plan);
    signals.stop().await;
}

fn say_where_it_stands(relay: &Relay, plan: &Plan) {
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
        SourceKind::Http => None,
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

/// Whether a future is ready at once.
async fn futures_now<T>(future: impl Future<Output = Option<T>>) -> bool {
    tokio::select! {
        biased;
        ready = future => ready.is_some(),
        () = std::future::ready(()) => false,
    }
}

/// SIGTERM and SIGINT stop; SIGHUP is heard and changes nothing yet.
struct Signals {
    terminate: Option<Signal>,
    interrupt: Option<Signal>,
    hang_up: Option<Signal>,
}

impl Signals {
    fn new() -> Self {
        let listen =
            |kind| signal(kind).map_err(|error| tracing::warn!(%error, "a signal cannot be heard")).ok();
        Self {
            terminate: listen(SignalKind::terminate()),
            interrupt: listen(SignalKind::interrupt()),
            hang_up: listen(SignalKind::hangup()),
        }
    }

    /// Returns when the process is asked to stop once more. What comes within a moment of the first is the
    /// same wish: `timeout` and shells signal the process and its group.
    async fn stop_again(&mut self) {
        tokio::time::sleep(SAME_WISH).await;
        for signal in [&mut self.terminate, &mut self.interrupt].into_iter().flatten() {
            while futures_now(signal.recv()).await {}
        }
        self.stop().await;
    }

    /// Returns when the process is asked to stop.
    async fn stop(&mut self) {
        async fn heard(signal: &mut Option<Signal>) {
            match signal {
                Some(signal) => {
                    signal.recv().await;
                }
                None => std::future::pending().await,
            }
        }
        loop {
            tokio::select! {
                () = heard(&mut self.terminate) => return,
                () = heard(&mut self.interrupt) => return,
                () = heard(&mut self.hang_up) => {
                    tracing::warn!("SIGHUP: this version does not reload its configuration; restart it");
                }
            }
        }
    }
}
