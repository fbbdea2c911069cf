//! A relay from its start to its end; of a sidecar, once more wherever another would end.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::edits::Edits;
use super::signals::{Signals, Wish};
use super::{EXIT_FAILURE, EXIT_USAGE};
use crate::admin::Vigil;
use crate::config::plan::{DestinationKind, LogPlan, Plan, SourceKind};
use crate::config::{LoadOptions, Loaded, Problem, Problems, Watched, load_noting, salvage};
use crate::relay::{Delivery, Farewell, LOCK_WAIT, Relay, RelayError};
use crate::telemetry::logs;

/// When a sidecar tries again what could not be: its journal.
const AGAIN: Duration = Duration::from_secs(10);

/// How long a sidecar whose journal has failed sees to what is under way.
const GIVING_UP: Duration = Duration::from_secs(5);

/// A configuration, or what can be used of one that is not right.
struct Configured {
    loaded: Loaded,
    /// Why it is not right; then the plan is a salvaged one.
    problems: Vec<Problem>,
}

impl Configured {
    /// Reads it. A sidecar goes on with what can be used.
    ///
    /// # Errors
    /// Whatever is wrong with it, unless this is a sidecar.
    fn read(options: &LoadOptions, is_sidecar: bool) -> Result<Self, Problems> {
        let mut noted = Watched::default();
        match load_noting(options, &mut noted) {
            Ok(loaded) => Ok(Self { loaded, problems: Vec::new() }),
            Err(problems) if is_sidecar => Ok(Self { loaded: salvage(options, noted), problems: problems.0 }),
            Err(problems) => Err(problems),
        }
    }

    /// Says what is to be said of it; warnings only at the first time.
    fn tell(&self, is_first: bool) {
        for problem in &self.problems {
            tracing::error!("{problem}");
        }
        let (problems, sources) = (self.problems.len(), self.loaded.plan.sources.len());
        match (problems, sources) {
            (0, _) => {}
            (_, 0) => tracing::error!(
                problems,
                "the configuration is not right, and nothing can be taken in by what is right of it: waiting for an edit"
            ),
            _ => tracing::error!(
                problems,
                sources,
                "the configuration is not right: what its sources give is kept, and delivered once it is mended"
            ),
        }
        if !is_first {
            return;
        }
        for warning in &self.loaded.warnings {
            tracing::warn!("{warning}");
        }
        for note in &self.loaded.notes {
            tracing::info!("{note}");
        }
    }
}

/// Reads a configuration; the error is every problem of it.
async fn read(options: LoadOptions, is_sidecar: bool) -> Result<Configured, String> {
    let reading = tokio::task::spawn_blocking(move || Configured::read(&options, is_sidecar));
    let configured = reading.await.map_err(|error| error.to_string())?;
    configured.map_err(|problems| problems.to_string())
}

/// A sidecar that cannot log as it should logs as it can.
fn init_logs(plan: &LogPlan, is_sidecar: bool) -> Result<(), String> {
    let tried = logs::init(plan).map_err(|error| error.to_string());
    if !is_sidecar || tried.is_ok() {
        return tried;
    }
    let plain = LogPlan { level: "info".to_owned(), format: None, payloads: false };
    logs::init(&plain).map_err(|error| error.to_string())
}

/// What runs a relay.
pub(super) struct Service {
    options: LoadOptions,
    is_sidecar: bool,
    signals: Signals,
    vigil: Option<Vigil>,
    begun: Instant,
}

/// How a relay ended.
enum End {
    Process(ExitCode),
    /// Another begins in its place.
    Anew,
}

impl Service {
    /// To be called within a runtime; `begun` is when the process was.
    pub(super) fn new(options: LoadOptions, is_sidecar: bool, begun: Instant) -> Self {
        Self { options, is_sidecar, signals: Signals::new(), vigil: None, begun }
    }

    /// Runs until asked to stop. The error is the exit code where it cannot; why, was told.
    pub(super) async fn run(mut self) -> Result<ExitCode, ExitCode> {
        // Before there is a log there is standard error.
        let refused = |why: String| {
            eprintln!("{why}");
            ExitCode::from(EXIT_USAGE)
        };
        let mut is_first = true;
        loop {
            let reading = read(self.options.clone(), self.is_sidecar);
            let configured = tokio::select! {
                configured = reading => configured.map_err(refused)?,
                () = self.signals.stop() => return Ok(ExitCode::SUCCESS),
            };
            let log = &configured.loaded.plan.log;
            match is_first {
                true => init_logs(log, self.is_sidecar).map_err(refused)?,
                false => logs::apply(log).unwrap_or_else(|error| tracing::error!("{error}")),
            }
            configured.tell(is_first);
            if std::mem::take(&mut is_first) {
                super::end_on_panic();
            }
            match self.once(configured).await {
                Ok(End::Process(code)) => return Ok(code),
                Ok(End::Anew) => {}
                Err(error) => {
                    tracing::error!("{error}");
                    return Err(ExitCode::from(EXIT_FAILURE));
                }
            }
        }
    }

    async fn once(&mut self, configured: Configured) -> Result<End, RelayError> {
        let Configured { loaded, problems } = configured;
        let plan = loaded.plan.clone();
        let mut edits = Edits::new(&loaded, &self.options);
        self.keep_vigil(&plan).await;
        if plan.is_salvaged && plan.sources.is_empty() {
            return Ok(self.pause(&plan, &mut edits, ("configuration", "it is not right"), None).await);
        }
        let starting = async {
            // A sidecar tries again, and says meanwhile what it waits for.
            let lock_wait = if self.is_sidecar { Duration::ZERO } else { LOCK_WAIT };
            let mut relay = Relay::start(loaded.plan, lock_wait, Delivery::On).await?;
            if problems.is_empty() {
                relay.note_configuration(loaded.sha256, "applied at a start").await;
            } else {
                relay.refuse_configuration(problems.iter().map(ToString::to_string).collect());
            }
            relay.start_sources(&mut self.vigil, self.is_sidecar).await
        };
        let started = tokio::select! {
            started = starting => started,
            () = self.signals.stop() => {
                tracing::info!("stopped before it was ready");
                return Ok(End::Process(ExitCode::SUCCESS));
            }
        };
        let mut relay = match started {
            Ok(relay) => relay,
            Err(error) if self.is_sidecar => {
                tracing::error!("nothing can be journaled, which is tried again: {error}");
                return Ok(self
                    .pause(&plan, &mut edits, ("journal", "it cannot be opened"), Some(AGAIN))
                    .await);
            }
            Err(error) => return Err(error),
        };
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            data_dir = %plan.data_dir.display(),
            journal = relay.journal().epoch(),
            ready_ms = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            "ready"
        );
        match self.attend(&mut relay, &mut edits).await {
            Attended::Stop => self.stop(relay).await.map(End::Process),
            Attended::Failed(reason) if self.is_sidecar => {
                tracing::error!("the journal cannot be written; it is opened anew: {reason}");
                self.give_up(relay).await;
                Ok(self.pause(&plan, &mut edits, ("journal", "it cannot be opened"), Some(AGAIN)).await)
            }
            Attended::Failed(reason) => {
                tracing::error!("the journal cannot be written, giving up: {reason}");
                Ok(End::Process(ExitCode::from(EXIT_FAILURE)))
            }
        }
    }

    /// Has probes answered where the relay will answer them.
    async fn keep_vigil(&mut self, plan: &Plan) {
        let listen = plan.health.listen;
        let vigil = match self.vigil.take() {
            Some(vigil) if vigil.asked() == listen => vigil,
            Some(former) => {
                former.end().await;
                Vigil::keep(listen)
            }
            None => Vigil::keep(listen),
        };
        vigil.tell("relay", "it is starting");
        self.vigil = Some(vigil);
    }

    /// Waits until it may be otherwise with what is `missing`: until an edit, or until it is tried again.
    async fn pause(
        &mut self,
        plan: &Plan,
        edits: &mut Edits,
        missing: (&str, &'static str),
        again: Option<Duration>,
    ) -> End {
        self.keep_vigil(plan).await;
        if let Some(vigil) = &self.vigil {
            vigil.tell(missing.0, missing.1);
        }
        let again = async {
            match again {
                Some(again) => tokio::time::sleep(again).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            wish = self.signals.next() => match wish {
                Wish::Stop => End::Process(ExitCode::SUCCESS),
                Wish::Reload => End::Anew,
            },
            () = edits.noticed() => End::Anew,
            () = again => End::Anew,
        }
    }

    /// Has the relay run, with every edit of its configuration, for as long as it may.
    async fn attend(&mut self, relay: &mut Relay, edits: &mut Edits) -> Attended {
        let mut is_settled = false;
        loop {
            let wish = tokio::select! {
                () = relay.settled(), if !is_settled => {
                    is_settled = true;
                    say_where_it_stands(relay);
                    continue;
                }
                wish = self.signals.next() => wish,
                () = edits.noticed() => Wish::Reload,
                reason = relay.failed() => return Attended::Failed(reason),
            };
            match wish {
                Wish::Reload => {
                    if edits.apply(relay, self.signals.stop()).await.is_break() {
                        return Attended::Stop;
                    }
                }
                Wish::Stop => return Attended::Stop,
            }
        }
    }

    async fn stop(&mut self, relay: Relay) -> Result<ExitCode, RelayError> {
        let timeout = relay.plan().shutdown_timeout;
        tracing::info!(?timeout, "stopping: reading to the end, then delivering what waits");
        tokio::select! {
            farewell = relay.shut_down(Some(timeout)) => {
                say_farewell(&farewell?);
                Ok(ExitCode::SUCCESS)
            }
            () = self.signals.stop_again() => {
                tracing::warn!("a second signal: ending at once; what is journaled goes out after the next start");
                std::process::exit(i32::from(EXIT_FAILURE));
            }
        }
    }

    /// Ends a relay in whose place another begins; probes are answered all the while.
    async fn give_up(&mut self, mut relay: Relay) {
        self.vigil = relay.hand_over_probes().await;
        if let Err(error) = relay.shut_down(Some(GIVING_UP)).await {
            tracing::warn!("it did not end in order: {error}");
        }
    }
}

/// Why a relay is attended no longer.
enum Attended {
    Stop,
    /// The journal has failed.
    Failed(String),
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
