//! Runs a plan: start order, and shutdown order.
//!
//! Start: journal, telemetry, lanes, sources (lanes first, so that what was left over goes out at once), and then what
//! Flipt itself can tell is asked for, while all of them work. Shutdown:
//! sources read to their end, lanes drain, telemetry sends what it has while the journal closes.

mod lanes;
mod orphans;
mod reload;
mod sources;
mod telemetry;

pub use reload::NotApplied;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::admin::{ConfigurationReport, Control, Listeners, Office, Standing, Vigil};
use crate::config::plan::{DestinationPlan, Plan};
use crate::delivery::{LaneHandle, LaneState, LaneStatus, Stop};
use crate::doctor::Doctor;
use crate::journal::{Journal, JournalError, OpenError, Options};
use crate::priming::Priming;
use crate::problems::Problems;
use crate::source::{RunningSource, SourceStatus};
use crate::telemetry::otlp::Telemetry;

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
}

/// How many records remained where, when the relay ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Farewell {
    /// Records that wait, by destination (those not decided on count too).
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
    lanes: lanes::Lanes,
    sources: Vec<RunningSource>,
    priming: Option<Priming>,
    office: Option<Arc<Office>>,
    control: Option<Control>,
    listeners: Option<Listeners>,
    problems: Option<Problems>,
    doctor: Option<Doctor>,
    configuration: ConfigurationReport,
    telemetry: Telemetry,
    /// What reloads changed that are not done yet.
    unfinished: Vec<String>,
    stop: Stop,
}

impl Relay {
    /// Opens the journal and, where `delivery` is on, starts the lanes of `plan`; sources are started by [`Relay::start_sources`].
    ///
    /// # Errors
    /// When the journal cannot be opened or fails. A single destination that cannot work is blocked alone.
    pub async fn start(plan: Plan, lock_wait: Duration, delivery: Delivery) -> Result<Self, RelayError> {
        let mut plan = plan;
        let journal = open_journal(&plan, lock_wait).await?;
        let ready = match journal.keep_changes(plan.journal.changes).await {
            Ok(()) => hold_known(&mut plan, &journal).await,
            Err(error) => Err(error),
        };
        if let Err(error) = ready {
            let _ = tokio::task::spawn_blocking(move || journal.close()).await;
            return Err(error.into());
        }
        let telemetry = Telemetry::start(&telemetry::settings(&plan));
        let stop = Stop::default();
        let lanes = lanes::Lanes::new(&journal, &stop, telemetry.tracer());
        let mut relay = Self {
            plan,
            journal,
            lanes,
            sources: Vec::new(),
            priming: None,
            office: None,
            control: None,
            listeners: None,
            problems: None,
            doctor: None,
            configuration: ConfigurationReport::default(),
            telemetry,
            unfinished: Vec::new(),
            stop,
        };
        // Where there are none, what they are owed is kept: the journal removes nothing that one has not passed.
        if delivery == Delivery::On {
            let links = relay.lanes.link(&relay.plan);
            let refused = relay.lanes.apply(&relay.plan, links, &relay.stop.now).await.err();
            if let Some((_, error)) = refused.into_iter().flatten().next() {
                relay.abandon().await;
                return Err(error);
            }
        }
        Ok(relay)
    }

    /// Ends one that is not whole, so that nothing of it holds the journal.
    async fn abandon(self) {
        if let Err(error) = self.shut_down(Some(Duration::ZERO)).await {
            tracing::debug!(%error, "what was begun did not end in order");
        }
    }

    /// Starts every source of the plan, and returns once each has looked at its files, listens, or said why it
    /// cannot.
    ///
    /// # Errors
    /// When the journal fails: the relay has ended then, and who keeps vigil goes on.
    pub async fn start_sources(
        mut self,
        vigil: &mut Option<Vigil>,
        is_sidecar: bool,
    ) -> Result<Self, RelayError> {
        for name in self.plan.sources.keys() {
            match RunningSource::start(&self.plan, name, &self.journal, self.telemetry.tracer()).await {
                Ok(source) => self.sources.extend(source),
                Err(error) => {
                    self.abandon().await;
                    return Err(error.into());
                }
            }
        }
        // Nothing waits for it.
        self.priming = self.plan.flipt.clone().map(|flipt| Priming::start(flipt, self.journal.clone()));
        self.open_office(vigil.take(), is_sidecar).await;
        for source in &self.sources {
            let known = |status: &SourceStatus| status.looked || status.stalled.is_some();
            let _ = source.watch_status().wait_for(known).await;
        }
        Ok(self)
    }

    /// Opens the office to whoever asks: the control socket, the listeners. A relay works without them.
    async fn open_office(&mut self, vigil: Option<Vigil>, is_sidecar: bool) {
        let office = Office::running(self.standing(), self.journal.clone());
        let office = office.with_telemetry(self.telemetry.counts().clone());
        let office = Arc::new(office.with_sidecar(is_sidecar));
        match Control::start(Arc::clone(&office), &self.plan.data_dir) {
            Ok(control) => self.control = Some(control),
            Err(error) => {
                tracing::warn!(%error, "there is no control socket: the command line cannot ask this relay")
            }
        }
        self.listeners = Some(Listeners::start(Arc::clone(&office), &self.plan, vigil).await);
        self.problems = Some(Problems::start(Arc::clone(&office), self.plan.problems.clone()));
        let flipt = self.plan.flipt.clone();
        self.doctor = flipt.map(|flipt| Doctor::start(Arc::clone(&office), flipt));
        self.telemetry.gather_by(telemetry::gather(Arc::clone(&office)));
        self.office = Some(office);
    }

    fn standing(&self) -> Standing {
        let sources = self.sources.iter();
        Standing {
            plan: Arc::new(self.plan.clone()),
            lanes: self.lanes.handles().into_iter().map(|lane| (lane.name.clone(), lane)).collect(),
            sources: sources.map(|source| (source.name().to_owned(), source.watch_status())).collect(),
            configuration: self.configuration.clone(),
        }
    }

    /// Whether any destination is being delivered to.
    #[must_use]
    pub fn is_delivering(&self) -> bool {
        !self.lanes.is_empty()
    }

    /// The plan that it runs.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The journal.
    #[must_use]
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// How each source stands, by name.
    #[must_use]
    pub fn source_statuses(&self) -> Vec<(String, SourceStatus)> {
        self.sources
            .iter()
            .map(|source| (source.name().to_owned(), source.watch_status().borrow().clone()))
            .collect()
    }

    /// Every lane, for those who ask or tell.
    #[must_use]
    pub fn lane_handles(&self) -> Vec<LaneHandle> {
        self.lanes.handles()
    }

    /// Returns once every source has read what is there and every lane has settled it.
    pub async fn settled(&self) {
        for source in &self.sources {
            let _ = source.watch_status().wait_for(|status| status.caught_up).await;
        }
        let latest = *self.journal.latest().borrow();
        for mut lane in self.lanes.handles() {
            // One that cannot deliver now settles nothing.
            let is_settled =
                |status: &LaneStatus| status.cursor >= latest || status.state != LaneState::Running;
            let _ = lane.status.wait_for(is_settled).await;
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

    /// Has somebody keep vigil in its place, who answers probes from now on.
    pub async fn hand_over_probes(&mut self) -> Option<Vigil> {
        Some(self.listeners.take()?.into_vigil().await)
    }

    /// Reads the sources to their end, drains the lanes within `timeout` (for ever without one), closes the
    /// journal; meanwhile, and within its own timeout, telemetry sends what it has.
    ///
    /// # Errors
    /// When the journal cannot be closed in order; what it accepted is on disk all the same.
    pub async fn shut_down(mut self, timeout: Option<Duration>) -> Result<Farewell, RelayError> {
        let keep_reading = self.plan.shutdown_keep_reading;
        let timeout = timeout.unwrap_or(FOREVER);
        let begun = tokio::time::Instant::now();
        let deadline = begun + keep_reading + timeout;
        // A long way to the end of a file leaves the lanes half of the time for what is journaled.
        let reading_deadline = begun + keep_reading + timeout / 2;
        let mut farewell = Farewell::default();
        if let Some(priming) = self.priming {
            priming.stop().await;
        }
        if let Some(doctor) = self.doctor {
            doctor.stop().await;
        }
        if let Some(problems) = self.problems {
            problems.stop().await;
        }
        let stopping: Vec<_> = self
            .sources
            .into_iter()
            .map(|source| {
                let (name, status) = (source.name().to_owned(), source.watch_status());
                (name, status, tokio::spawn(source.stop(keep_reading)))
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
        farewell.waiting = self.lanes.shut_down(deadline).await;
        if let Some(listeners) = self.listeners {
            listeners.stop().await;
        }
        if let Some(control) = self.control {
            control.stop().await;
        }
        self.telemetry.read_last().await;
        let journal = self.journal;
        let closing = tokio::task::spawn_blocking(move || journal.close());
        let ((), closed) = tokio::join!(self.telemetry.shut_down(), closing);
        closed.map_err(|error| JournalError::Io(error.to_string()))??;
        Ok(farewell)
    }
}

/// Where nobody can say which destinations there are, those that the journal knows are held; what a file that is not
/// right calls a destination is not taken for one.
async fn hold_known(plan: &mut Plan, journal: &Journal) -> Result<(), JournalError> {
    if !plan.is_salvaged {
        return Ok(());
    }
    let rows = journal.destinations().await?;
    let known: BTreeSet<String> =
        rows.into_iter().filter(|row| row.orphaned.is_none()).map(|row| row.name).collect();
    plan.destinations.retain(|name, _| known.contains(name));
    for name in known {
        plan.destinations.entry(name).or_insert_with(|| DestinationPlan::held(None));
    }
    Ok(())
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
        keeps_all: plan.is_salvaged,
    };
    let (journal, report) = tokio::task::spawn_blocking(move || Journal::open(options))
        .await
        .map_err(|error| JournalError::Io(error.to_string()))??;
    if let Some((records, aside)) = &report.salvaged {
        tracing::error!(records, aside = %aside.display(), "the journal was damaged: what could be read was salvaged into a fresh one");
    }
    Ok(journal)
}
