//! Runs a plan: start order, and shutdown order.
//!
//! Start: journal, lanes, sources (lanes first, so that what was left over goes out at once). Shutdown:
//! sources read to their end, lanes drain, the journal closes last.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::plan::{DestinationKind, DestinationPlan, Plan, SourceKind};
use crate::delivery::{Lane, LaneEnd, LaneSetup, LaneStatus, SendError, Sender, Stop};
use crate::destination::Destination;
use crate::destination::console::Console;
use crate::destination::file::NdjsonFile;
use crate::destination::webhook::{USER_AGENT, Webhook};
use crate::journal::{Journal, JournalError, OpenError, Options};
use crate::source::file::{FileSource, RunningSource, SourceStatus};

/// How long another process may hold the journal before the start is given up.
pub const LOCK_WAIT: Duration = Duration::from_secs(60);

/// As good as without end, and within what clocks can add.
const FOREVER: Duration = Duration::from_secs(10 * 366 * 86_400);

/// Why a relay could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The journal could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The journal failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// No client for sending could be made.
    #[error("sending cannot be set up: {0}")]
    Send(#[from] SendError),
}

/// How many records remained where, when the relay ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Farewell {
    /// Records that wait, by destination (an upper bound: those not decided on count too).
    pub waiting: BTreeMap<String, u64>,
    /// Bytes that were not read, by source.
    pub unread_bytes: BTreeMap<String, u64>,
}

/// Whether destinations are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// Every one that can work.
    On,
    /// None: records are journaled only.
    Off,
}

/// A running relay.
pub struct Relay {
    plan: Plan,
    journal: Journal,
    lanes: Vec<RunningLane>,
    /// Destinations that cannot work now, and how far they had come.
    blocked: Vec<(String, u64)>,
    sources: Vec<RunningSource>,
    stop: Stop,
}

struct RunningLane {
    name: String,
    task: JoinHandle<LaneEnd>,
    status: watch::Receiver<LaneStatus>,
}

impl Relay {
    /// Opens the journal and, where `delivery` is on, starts the lanes of `plan`; sources are started by [`Relay::start_sources`].
    ///
    /// # Errors
    /// When the journal cannot be opened or nothing can be sent at all. A single destination that cannot
    /// work is logged and left out.
    pub async fn start(plan: Plan, lock_wait: Duration, delivery: Delivery) -> Result<Self, RelayError> {
        let journal = open_journal(&plan, lock_wait).await?;
        let sender = Sender::new()?;
        let stop = Stop { drain: CancellationToken::new(), now: CancellationToken::new() };
        let routes = Arc::new(plan.routes.clone());
        let source_environments: Arc<BTreeMap<String, Arc<str>>> = Arc::new(
            plan.sources
                .iter()
                .filter_map(|(name, source)| Some((name.clone(), source.environment.clone()?)))
                .collect(),
        );
        let mut lanes = Vec::new();
        let mut blocked = Vec::new();
        for (name, destination_plan) in &plan.destinations {
            if delivery == Delivery::Off {
                break; // what they are owed is kept: the journal removes nothing that one has not passed
            }
            let destination = match build(destination_plan) {
                Ok(destination) => destination,
                Err(reason) => {
                    tracing::error!(destination = name, "blocked: {reason}");
                    // It keeps its place in the journal where it has one: what waits for it is not trimmed.
                    if destination_plan.keeps_place || journal.knows_destination(name).await? {
                        let row = journal.register_destination(name).await?;
                        blocked.push((name.clone(), row.cursor));
                    }
                    continue;
                }
            };
            let (lane, status) = Lane::new(LaneSetup {
                name: name.clone(),
                destination,
                row: journal.register_destination(name).await?,
                routes: Arc::clone(&routes),
                source_environments: Arc::clone(&source_environments),
                deliver_since: destination_plan.deliver_since,
                retry: destination_plan.retry,
                timeout: destination_plan.timeout,
                journal: journal.clone(),
                sender: sender.clone(),
                stop: stop.clone(),
            });
            lanes.push(RunningLane { name: name.clone(), task: tokio::spawn(lane.run()), status });
        }
        let latest = *journal.latest().borrow();
        for (name, cursor, _) in journal.destinations().await? {
            let owed = latest.saturating_sub(cursor);
            if !plan.destinations.contains_key(&name) && owed > 0 {
                tracing::warn!(
                    destination = name,
                    owed,
                    "no longer configured: what it is owed is kept, and takes room, until it is configured again"
                );
            }
        }
        Ok(Self { plan, journal, lanes, blocked, sources: Vec::new(), stop })
    }

    /// Starts every source of the plan, and returns once each has looked at its files or said why it cannot.
    ///
    /// # Errors
    /// When the journal fails.
    pub async fn start_sources(&mut self) -> Result<(), RelayError> {
        for name in self.plan.sources.keys() {
            let Some(source) = file_source(&self.plan, name, &self.journal) else {
                tracing::warn!(
                    source = name,
                    "sources of this type are not in this version; it is not started"
                );
                continue;
            };
            let running = tokio::task::spawn_blocking(move || source.start())
                .await
                .map_err(|error| JournalError::Io(error.to_string()))??;
            self.sources.push(running);
        }
        for source in &self.sources {
            let known = |status: &SourceStatus| status.looked || status.stalled.is_some();
            let _ = source.watch_status().wait_for(known).await;
        }
        Ok(())
    }

    /// Whether any destination is being delivered to.
    #[must_use]
    pub fn is_delivering(&self) -> bool {
        !self.lanes.is_empty()
    }

    /// The journal.
    #[must_use]
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// How each source stands, by name.
    #[must_use]
    pub fn source_statuses(&self) -> Vec<(String, SourceStatus)> {
        self.sources.iter().map(|source| (source.name().to_owned(), source.status())).collect()
    }

    /// How each lane stands, by name.
    #[must_use]
    pub fn lane_statuses(&self) -> Vec<(String, LaneStatus)> {
        self.lanes.iter().map(|lane| (lane.name.clone(), lane.status.borrow().clone())).collect()
    }

    /// Returns once every source has read what is there and every lane has settled it.
    pub async fn settled(&self) {
        for source in &self.sources {
            let _ = source.watch_status().wait_for(|status| status.caught_up).await;
        }
        let latest = *self.journal.latest().borrow();
        for lane in &self.lanes {
            let _ = lane.status.clone().wait_for(|status| status.cursor >= latest).await;
        }
    }

    /// Returns the reason when the journal has given up and the process must end.
    pub async fn failed(&self) -> String {
        let mut failed = self.journal.failed();
        let reason = failed.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
        match reason {
            Some(reason) => reason,
            None => std::future::pending().await,
        }
    }

    /// Reads the sources to their end, drains the lanes within `timeout` (for ever without one), closes the
    /// journal.
    ///
    /// # Errors
    /// When the journal cannot be closed in order; what it accepted is on disk all the same.
    pub async fn shut_down(self, timeout: Option<Duration>) -> Result<Farewell, RelayError> {
        let keep_reading = self.plan.shutdown_keep_reading;
        let timeout = timeout.unwrap_or(FOREVER);
        let begun = tokio::time::Instant::now();
        let deadline = begun + keep_reading + timeout;
        // A long way to the end of a file leaves the lanes half of the time for what is journaled.
        let reading_deadline = begun + keep_reading + timeout / 2;
        let mut farewell = Farewell::default();
        let stopping: Vec<_> = self
            .sources
            .into_iter()
            .map(|source| {
                let (name, status) = (source.name().to_owned(), source.watch_status());
                (name, status, tokio::task::spawn_blocking(move || source.stop(keep_reading)))
            })
            .collect();
        for (name, status, stopped) in stopping {
            let _ = tokio::time::timeout_at(reading_deadline, stopped).await;
            let unread_bytes = status.borrow().unread_bytes();
            if unread_bytes > 0 {
                farewell.unread_bytes.insert(name, unread_bytes);
            }
        }
        self.stop.drain.cancel();
        let latest = self.journal.latest();
        let mut cursors = self.blocked;
        for mut lane in self.lanes {
            if tokio::time::timeout_at(deadline, &mut lane.task).await.is_err() {
                self.stop.now.cancel();
                let _ = lane.task.await;
            }
            cursors.push((lane.name, lane.status.borrow().cursor));
        }
        for (name, cursor) in cursors {
            let waiting = latest.borrow().saturating_sub(cursor);
            if waiting > 0 {
                farewell.waiting.insert(name, waiting);
            }
        }
        let journal = self.journal;
        tokio::task::spawn_blocking(move || journal.close())
            .await
            .map_err(|error| JournalError::Io(error.to_string()))??;
        Ok(farewell)
    }
}

/// Opens the journal of a plan.
///
/// # Errors
/// When it cannot be opened.
pub async fn open_journal(plan: &Plan, lock_wait: Duration) -> Result<Journal, RelayError> {
    let options = Options {
        data_dir: plan.data_dir.clone(),
        keep: plan.journal.keep,
        max_size_bytes: plan.journal.max_size_bytes,
        lock_wait,
    };
    let (journal, report) = tokio::task::spawn_blocking(move || Journal::open(options))
        .await
        .map_err(|error| JournalError::Io(error.to_string()))??;
    if let Some((records, aside)) = &report.salvaged {
        tracing::error!(records, aside = %aside.display(), "the journal was damaged: what could be read was salvaged into a fresh one");
    }
    Ok(journal)
}

/// The file source called `name`, ready to start; `None` where it is no file source.
#[must_use]
pub fn file_source(plan: &Plan, name: &str, journal: &Journal) -> Option<FileSource> {
    let source = plan.sources.get(name)?;
    let SourceKind::File(file) = &source.kind else { return None };
    Some(FileSource {
        relay_name: plan.name.clone(),
        name: name.to_owned(),
        instance: source.instance.clone(),
        plan: file.clone(),
        data_dir: plan.data_dir.clone(),
        journal: journal.clone(),
    })
}

fn build(plan: &DestinationPlan) -> Result<Box<dyn Destination>, String> {
    Ok(match plan.kind.clone()? {
        DestinationKind::Webhook(webhook) => Box::new(Webhook::new(webhook, plan.batch, USER_AGENT)),
        DestinationKind::Console(console) => Box::new(Console::new(console, plan.batch)),
        DestinationKind::File(file) => Box::new(NdjsonFile::new(file, plan.batch)),
    })
}
