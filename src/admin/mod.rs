//! What operators may ask of a relay, running or stopped.
//!
//! [`carry_out`] does what a [`Command`] says at an [`Office`]: the journal, and whatever runs beside it. A
//! running relay opens its office to the command line through [`Control`], a socket in its data directory;
//! of a stopped one the command line opens the journal itself, and carries out the same.

mod acts;
mod changes;
mod client;
mod command;
mod control;
pub(crate) mod csv;
mod explain;
mod gather;
mod http;
mod letters;
mod nameless;
mod page;
mod passage;
mod preview;
mod readiness;
mod readings;
mod remedies;
mod report;
mod text;
pub(crate) mod times;
mod trial;
pub mod words;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tokio::sync::watch;

use crate::config::plan::Plan;
use crate::delivery::{Judge, LaneHandle};
use crate::destination::Delivery;
use crate::event::{StoredRecord, Timestamp};
use crate::journal::{Journal, JournalError, JournalStatus};
use crate::source::SourceStatus;
use crate::telemetry::otlp::Counts;

pub use acts::carry_out;
pub use changes::{
    ChangeEntry, ChangeForm, ChangeNotes, ChangePlace, ChangeRow, ChangeSelection, ChangesAsked, ChangesPage,
    exported,
};
pub use client::{CallError, call, listens};
pub use command::{Answer, Command, Fault, Refusal};
pub use control::{Control, ControlError, signature};
pub use explain::{
    ExplainAsked, ExplainedBody, ExplainedDestination, ExplainedFacts, ExplainedRequest, ExplainedRoute,
    Explainer, Explanation, Specimens, explanation_text, specimens,
};
pub use http::{Listeners, Viewer, Vigil};
pub use letters::{Letter, WholeLetter};
pub use passage::{Fate, Passage, Through, send_through};
pub use preview::{Glimpse, Preview};
pub use readiness::Unready;
pub use readings::Readings;
pub use report::{
    ConfigurationReport, DestinationReport, FileReport, Finding, JournalReport, ReclaimReport, RelayReport,
    ReloadReport, Report, SourceReport,
};
pub use text::{findings_text, trouble};
pub use trial::{Trial, send_test};

/// What a relay runs now: another one after each reload.
#[derive(Clone)]
pub struct Standing {
    /// The plan.
    pub plan: Arc<Plan>,
    /// Its lanes, those of orphans among them.
    pub lanes: BTreeMap<String, LaneHandle>,
    /// How each source stands.
    pub sources: BTreeMap<String, watch::Receiver<SourceStatus>>,
    /// Which configuration was applied, and what became of the last one that was not.
    pub configuration: ConfigurationReport,
}

/// What there is to ask and to tell.
pub struct Office {
    journal: Journal,
    /// Since when a relay runs; none of a stopped one.
    running_since: Option<Timestamp>,
    standing: RwLock<Arc<Standing>>,
    findings: Mutex<BTreeMap<&'static str, Vec<Finding>>>,
    /// One act after the other: lanes hear of them in the order in which they were journaled.
    acting: tokio::sync::Mutex<()>,
    importing: Arc<tokio::sync::Mutex<()>>,
    telemetry: Counts,
    is_sidecar: bool,
}

impl Office {
    /// Of a relay that runs from now on.
    #[must_use]
    pub fn running(standing: Standing, journal: Journal) -> Self {
        Self { running_since: Some(Timestamp::now()), ..Self::new(standing, journal) }
    }

    /// Of a relay that does not run.
    #[must_use]
    pub fn stopped(plan: Arc<Plan>, journal: Journal) -> Self {
        let (lanes, sources) = (BTreeMap::new(), BTreeMap::new());
        Self::new(Standing { plan, lanes, sources, configuration: ConfigurationReport::default() }, journal)
    }

    fn new(standing: Standing, journal: Journal) -> Self {
        Self {
            journal,
            running_since: None,
            standing: RwLock::new(Arc::new(standing)),
            findings: Mutex::default(),
            acting: tokio::sync::Mutex::default(),
            importing: Arc::default(),
            telemetry: Counts::default(),
            is_sidecar: false,
        }
    }

    /// Tells as well what becomes of the relay's own telemetry.
    #[must_use]
    pub fn with_telemetry(self, telemetry: Counts) -> Self {
        Self { telemetry, ..self }
    }

    /// Of a relay that stands in the pod of another.
    #[must_use]
    pub fn with_sidecar(self, is_sidecar: bool) -> Self {
        Self { is_sidecar, ..self }
    }

    /// Whether it stands in the pod of another, which must not fall with it.
    #[must_use]
    pub fn is_sidecar(&self) -> bool {
        self.is_sidecar
    }

    /// What runs now. Whoever asks more than one question of it asks them of one answer.
    #[must_use]
    pub fn standing(&self) -> Arc<Standing> {
        Arc::clone(&self.standing.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// About how much of the journal cannot be removed yet, since a destination has not passed it: by the share
    /// of records.
    ///
    /// # Errors
    /// When the journal cannot be asked.
    pub async fn owed_bytes(&self, journal: &JournalStatus) -> Result<u64, JournalError> {
        let rows = self.journal.destinations().await?;
        let Some(passed) = rows.iter().map(|row| row.cursor).min() else { return Ok(0) };
        let all = (journal.last_sequence + 1).saturating_sub(journal.first_sequence).max(1);
        let owed = journal.last_sequence.saturating_sub(passed).min(all);
        let bytes = u128::from(journal.used_bytes) * u128::from(owed) / u128::from(all);
        Ok(u64::try_from(bytes).unwrap_or(u64::MAX))
    }

    /// Something else runs from now on.
    pub fn change(&self, standing: Standing) {
        *self.standing.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(standing);
    }

    /// Holds back what operators ask to be done, until the guard is dropped.
    pub async fn pause_acts(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.acting.lock().await
    }

    /// The plan that runs now.
    #[must_use]
    pub fn plan(&self) -> Arc<Plan> {
        Arc::clone(&self.standing().plan)
    }

    /// The journal.
    #[must_use]
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// What becomes of the relay's own telemetry.
    #[must_use]
    pub fn telemetry(&self) -> &Counts {
        &self.telemetry
    }

    /// Says what somebody (`doctor`, `silence`, …) finds wrong, in place of what it found before.
    pub fn find(&self, who: &'static str, findings: Vec<Finding>) {
        self.findings.lock().unwrap_or_else(PoisonError::into_inner).insert(who, findings);
    }

    /// Nobody says any more what this one would find.
    pub fn forget(&self, who: &'static str) {
        self.findings.lock().unwrap_or_else(PoisonError::into_inner).remove(who);
    }

    /// Whether somebody has said yet what it finds, if only that all is well.
    #[must_use]
    pub fn has_found(&self, who: &'static str) -> bool {
        self.findings.lock().unwrap_or_else(PoisonError::into_inner).contains_key(who)
    }

    /// What is found wrong now.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        let findings = self.findings.lock().unwrap_or_else(PoisonError::into_inner);
        findings.values().flatten().cloned().collect()
    }

    /// How everything stands, at `now`.
    ///
    /// # Errors
    /// When the journal cannot be asked.
    pub async fn report(&self, now: Timestamp) -> Result<Report, JournalError> {
        gather::report(self, now).await
    }

    /// What keeps records from being accepted; a destination is none of it.
    pub async fn unready(&self) -> Vec<Unready> {
        readiness::unready(self).await
    }

    /// Blocking: closes the journal. For an office of a stopped relay.
    ///
    /// # Errors
    /// See [`Journal::close`].
    pub fn close(self) -> Result<(), JournalError> {
        self.journal.close()
    }

    /// A record with the environment that it belongs to.
    fn placed(&self, record: StoredRecord) -> Delivery {
        let environment = self.plan().environment_of(&record.source, &record.namespace);
        Delivery { record, environment }
    }

    /// Decides what is for a destination, as its lane does.
    fn judge(&self, destination: &str) -> Judge {
        let plan = self.plan();
        let environments = Arc::new(plan.source_environments());
        Judge::new(destination, Some(Arc::new(plan.routes.clone())), environments, None)
    }

    /// That there is a destination of this name, configured or still in the journal.
    async fn know(&self, destination: &str) -> Result<(), Refusal> {
        let rows = self.journal.destinations().await?;
        let known = rows.iter().map(|row| row.name.as_str());
        know(destination, self.plan().destinations.keys().map(String::as_str).chain(known))
    }

    /// That there is a configured destination of this name.
    fn know_configured(&self, destination: &str) -> Result<(), Refusal> {
        know(destination, self.plan().destinations.keys().map(String::as_str))
    }
}

fn know<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Result<(), Refusal> {
    know_of("destination", name, known)
}

/// That `name` is one of what is `known`, all of which is a `what`.
fn know_of<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str>) -> Result<(), Refusal> {
    let mut known: Vec<&str> = known.collect();
    known.sort_unstable();
    known.dedup();
    if known.contains(&name) {
        return Ok(());
    }
    let hint = match words::nearest(name, known.iter().copied()) {
        Some(near) => format!("; did you mean `{near}`?"),
        None if known.is_empty() => "; there are none".to_owned(),
        None => format!("; there are: {}", known.join(", ")),
    };
    Err(Refusal::usage(format!("there is no {what} `{}`{hint}", words::brief(name, 80))))
}

/// One line in plain words about a record.
fn sentence(delivery: &Delivery) -> String {
    words::escaped(&crate::destination::telling::sentence(delivery).to_string())
}
