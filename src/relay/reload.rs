//! Another configuration while the relay runs: applied as a difference of plans, or refused as a whole.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::Relay;
use super::sources::Opened;
use crate::admin::ReloadReport;
use crate::config::plan::{Plan, SourceKind};
use crate::config::{Changes, Difference, Loaded};
use crate::doctor::Doctor;
use crate::event::Timestamp;
use crate::journal::{Act, ActKind};
use crate::priming::Priming;
use crate::problems::Problems;
use crate::telemetry::logs;

/// Why another configuration does not hold, a sentence for each reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotApplied {
    /// It is refused: nothing has changed.
    Refused(Vec<String>),
    /// The journal refused some of what it asks for. The rest holds; to apply it once more does what is missing.
    Unfinished(Vec<String>),
}

impl Relay {
    /// Applies another configuration: what it does not change goes on undisturbed. One that the running relay
    /// cannot take on, or that would stop what works, is refused, and nothing changes.
    ///
    /// To be awaited to its end: what is handed over is in nobody's hands meanwhile. Who cannot wait cancels
    /// `hurry`, and ends the relay then: what would still have to be waited for is cut off. Returns what changed.
    ///
    /// # Errors
    /// Why it is not applied, or only in part.
    pub async fn reload(&mut self, loaded: Loaded, hurry: &CancellationToken) -> Result<String, NotApplied> {
        let mut loaded = loaded;
        if let Err(error) = super::hold_known(&mut loaded.plan, &self.journal).await {
            return Err(NotApplied::Refused(vec![error.to_string()]));
        }
        let mut difference = Difference::between(&self.plan, &loaded.plan);
        let mut problems = refusals(&self.plan, &loaded.plan, &difference);
        // Everything that may fail is tried before anything is stopped.
        let links = self.lanes.link(&loaded.plan);
        problems.extend(self.lanes.harms(&links));
        let listening = self.open_sources(&loaded.plan).await.unwrap_or_else(|harms| {
            problems.extend(harms);
            Opened::new()
        });
        if !problems.is_empty() {
            return Err(NotApplied::Refused(problems));
        }
        // The files of its certificates are no part of a plan.
        difference.destinations.changed.extend(self.lanes.replaced(&links).cloned());
        let office = self.office.clone();
        // What an operator asks meanwhile is told to the lanes that will be there.
        let _acting = match &office {
            Some(office) => tokio::select! {
                acting = office.pause_acts() => Some(acting),
                () = hurry.cancelled() => return Err(NotApplied::Refused(Vec::new())),
            },
            None => None,
        };
        self.plan = loaded.plan;
        let keeping = &self.plan.journal;
        self.journal.retune(keeping.keep, keeping.max_size_bytes, self.plan.is_salvaged);
        if let Err(error) = logs::apply(&self.plan.log) {
            tracing::error!("{error}");
        }
        self.telemetry.apply(&super::telemetry::settings(&self.plan));
        let mut refused = Vec::new();
        if let Err(error) = self.journal.keep_changes(keeping.changes).await {
            refused.push(("journal.changes".to_owned(), super::RelayError::from(error)));
        }
        refused.extend(self.lanes.apply(&self.plan, links, hurry).await.err().unwrap_or_default());
        refused.extend(self.change_sources(listening, hurry).await);
        if self.unfinished.is_empty() || !difference.is_empty() {
            self.unfinished.push(difference.to_string());
        }
        let summary = self.unfinished.join("; ");
        if refused.is_empty() {
            self.unfinished.clear();
            // What was salvaged is nobody's configuration.
            if !self.plan.is_salvaged {
                self.note_configuration(loaded.sha256, &summary).await;
            }
        }
        if let Some(office) = &office {
            office.change(self.standing());
        }
        self.change_surroundings(&difference).await;
        if !refused.is_empty() {
            let told = refused.iter().map(|(what, error)| format!("{what}: {error}"));
            return Err(NotApplied::Unfinished(told.collect()));
        }
        Ok(summary)
    }

    /// Keeps running as it does, and shows why.
    pub fn refuse_configuration(&mut self, problems: Vec<String>) {
        self.configuration.last_reload =
            Some(ReloadReport { at: Timestamp::now(), successful: false, problems });
        if let Some(office) = &self.office {
            office.change(self.standing());
        }
    }

    /// Keeps which configuration is applied, by SHA-256 over its files, and `summary`, what it changed.
    pub async fn note_configuration(&mut self, sha256: [u8; 32], summary: &str) {
        let shown = hex::encode(sha256);
        let act = Act {
            act: ActKind::Configure,
            destination: None,
            by: Act::RELAY.to_owned(),
            reason: Some(summary.to_owned()),
            records: None,
            detail: serde_json::json!({ "sha256": shown }),
        };
        if let Err(error) = self.journal.note_configuration(sha256, summary, act).await {
            tracing::warn!(%error, "the journal does not know which configuration is applied");
        }
        let now = Timestamp::now();
        if self.configuration.sha256.is_some() || self.configuration.last_reload.is_some() {
            self.configuration.last_reload =
                Some(ReloadReport { at: now, successful: true, problems: Vec::new() });
        }
        self.configuration.sha256 = Some(shown);
        self.configuration.applied_at = Some(now);
    }

    /// What stands around sources and lanes.
    async fn change_surroundings(&mut self, difference: &Difference) {
        let Some(office) = self.office.clone() else { return };
        if difference.sections.contains(&"flipt") {
            if let Some(priming) = self.priming.take() {
                priming.stop().await;
            }
            if let Some(doctor) = self.doctor.take() {
                doctor.stop().await;
            }
            let flipt = self.plan.flipt.clone();
            self.priming = flipt.clone().map(|flipt| Priming::start(flipt, self.journal.clone()));
            self.doctor = flipt.map(|flipt| Doctor::start(Arc::clone(&office), flipt));
        } else if difference.sources != Changes::default() || difference.destinations != Changes::default() {
            self.doctor.iter().for_each(Doctor::look_again);
        }
        if difference.sections.contains(&"problems") {
            if let Some(problems) = self.problems.take() {
                problems.stop().await;
            }
            self.problems = Some(Problems::start(Arc::clone(&office), self.plan.problems.clone()));
        }
        if let Some(listeners) = &mut self.listeners {
            listeners.apply(&self.plan).await;
        }
    }
}

/// Why a running relay does not take on a plan that is right in itself.
fn refusals(old: &Plan, new: &Plan, difference: &Difference) -> Vec<String> {
    let fixed = difference
        .fixed
        .iter()
        .map(|key| format!("`{key}` holds while the relay runs: restart it to change it"));
    let sources = difference.sources.changed.iter().filter_map(|name| {
        let signing = |plan: &Plan| match &plan.sources.get(name)?.kind {
            SourceKind::Http(http) => Some(http.signing.clone()),
            SourceKind::File(_) => None,
        };
        // Next to what was salvaged, one that cannot check pushes yet is no loss.
        let harms = |_: &String| !old.is_salvaged && signing(old).is_none_or(|was| was.is_ok());
        let why = signing(new)?.err().filter(harms)?;
        Some(format!("sources.{name}: {why}"))
    });
    fixed.chain(sources).collect()
}
