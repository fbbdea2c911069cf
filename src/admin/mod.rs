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
mod explain;
mod gather;
mod letters;
mod preview;
mod report;
mod text;
mod trial;
pub mod words;

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

use crate::config::plan::Plan;
use crate::delivery::{Judge, LaneHandle};
use crate::destination::Delivery;
use crate::event::{StoredRecord, Timestamp};
use crate::journal::Journal;
use crate::source::file::SourceStatus;

pub use acts::carry_out;
pub use changes::{
    ChangeEntry, ChangeForm, ChangeNotes, ChangePlace, ChangeRow, ChangeSelection, ChangesAsked, ChangesPage,
};
pub use client::{CallError, call, listens};
pub use command::{Answer, Command, Fault, Refusal};
pub use control::{Control, ControlError, signature};
pub use explain::{
    ExplainAsked, ExplainedBody, ExplainedDestination, ExplainedFacts, ExplainedRequest, ExplainedRoute,
    Explainer, Explanation, Specimens, explanation_text, specimens,
};
pub use letters::{Letter, WholeLetter};
pub use preview::{Glimpse, Preview};
pub use report::{DestinationReport, FileReport, JournalReport, RelayReport, Report, SourceReport};
pub use trial::{Trial, send_test};

/// What there is to ask and to tell.
pub struct Office {
    plan: Arc<Plan>,
    journal: Journal,
    /// Since when a relay runs; none of a stopped one.
    running_since: Option<Timestamp>,
    lanes: BTreeMap<String, LaneHandle>,
    sources: BTreeMap<String, watch::Receiver<SourceStatus>>,
    /// One act after the other: lanes hear of them in the order in which they were journaled.
    acting: tokio::sync::Mutex<()>,
    importing: Arc<tokio::sync::Mutex<()>>,
}

impl Office {
    /// Of a relay that runs from now on: its lanes, and how each of its sources stands.
    #[must_use]
    pub fn running(
        plan: Arc<Plan>,
        journal: Journal,
        lanes: Vec<LaneHandle>,
        sources: BTreeMap<String, watch::Receiver<SourceStatus>>,
    ) -> Self {
        let lanes = lanes.into_iter().map(|lane| (lane.name.clone(), lane)).collect();
        Self { running_since: Some(Timestamp::now()), lanes, sources, ..Self::stopped(plan, journal) }
    }

    /// Of a relay that does not run.
    #[must_use]
    pub fn stopped(plan: Arc<Plan>, journal: Journal) -> Self {
        Self {
            plan,
            journal,
            running_since: None,
            lanes: BTreeMap::new(),
            sources: BTreeMap::new(),
            acting: tokio::sync::Mutex::default(),
            importing: Arc::default(),
        }
    }

    /// Blocking: closes the journal. For an office of a stopped relay.
    ///
    /// # Errors
    /// See [`Journal::close`].
    pub fn close(self) -> Result<(), crate::journal::JournalError> {
        self.journal.close()
    }

    /// A record with the environment that it belongs to.
    fn placed(&self, record: StoredRecord) -> Delivery {
        let fixed = self.plan.sources.get(&*record.source).and_then(|source| source.environment.as_ref());
        let environment = fixed.or_else(|| self.plan.routes.environments.of(&record.namespace)).cloned();
        Delivery { record, environment }
    }

    /// Decides what is for a destination, as its lane does.
    fn judge(&self, destination: &str) -> Judge {
        let environments = Arc::new(self.plan.source_environments());
        Judge::new(destination, Some(Arc::new(self.plan.routes.clone())), environments, None)
    }

    /// That there is a destination of this name, configured or still in the journal.
    async fn know(&self, destination: &str) -> Result<(), Refusal> {
        let rows = self.journal.destinations().await?;
        let known = rows.iter().map(|row| row.name.as_str());
        know(destination, self.plan.destinations.keys().map(String::as_str).chain(known))
    }

    /// That there is a configured destination of this name.
    fn know_configured(&self, destination: &str) -> Result<(), Refusal> {
        know(destination, self.plan.destinations.keys().map(String::as_str))
    }
}

fn know<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Result<(), Refusal> {
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
    Err(Refusal::usage(format!("there is no destination `{}`{hint}", words::brief(name, 80))))
}

/// One line in plain words about a record.
fn sentence(delivery: &Delivery) -> String {
    words::escaped(&crate::destination::telling::sentence(delivery).to_string())
}
