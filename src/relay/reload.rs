//! Another configuration while the relay runs: applied as a difference of plans, or refused as a whole.

use std::sync::Arc;

use super::Relay;
use crate::admin::ReloadReport;
use crate::config::plan::{Plan, SourceKind};
use crate::config::{Difference, Loaded};
use crate::doctor::Doctor;
use crate::event::Timestamp;
use crate::journal::{Act, ActKind};
use crate::priming::Priming;
use crate::problems::Problems;
use crate::source::RunningSource;
use crate::telemetry::logs;

impl Relay {
    /// Applies another configuration: what it does not change goes on undisturbed. One that the running relay
    /// cannot take on, or that would stop what works, is refused, and nothing changes.
    ///
    /// To be awaited to its end: what is handed over is in nobody's hands meanwhile.
    ///
    /// # Errors
    /// Why it is refused, a sentence each.
    pub async fn reload(&mut self, loaded: Loaded) -> Result<Difference, Vec<String>> {
        let difference = Difference::between(&self.plan, &loaded.plan);
        let problems = refusals(&self.plan, &loaded.plan, &difference);
        if !problems.is_empty() {
            return Err(problems);
        }
        let office = self.office.clone();
        // What an operator asks meanwhile is told to the lanes that will be there.
        let _acting = match &office {
            Some(office) => Some(office.pause_acts().await),
            None => None,
        };
        self.plan = loaded.plan;
        self.journal.retune(self.plan.journal.keep, self.plan.journal.max_size_bytes);
        if let Err(error) = logs::set_level(&self.plan.log) {
            tracing::error!("{error}");
        }
        self.change_sources(&difference).await;
        if let Err(error) = self.lanes.apply(&self.plan).await {
            tracing::error!(%error, "the lanes could not be changed; a restart does it");
        }
        self.start_missing_sources().await;
        self.note_configuration(loaded.sha256, &difference.to_string()).await;
        if let Some(office) = &office {
            office.change(self.standing());
        }
        self.change_surroundings(&difference).await;
        Ok(difference)
    }

    /// Keeps running as it is, and shows why.
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
        if self.configuration.sha256.is_some() {
            self.configuration.last_reload =
                Some(ReloadReport { at: now, successful: true, problems: Vec::new() });
        }
        self.configuration.sha256 = Some(shown);
        self.configuration.applied_at = Some(now);
    }

    /// Ends the sources that are not in the plan any more as they were.
    async fn change_sources(&mut self, difference: &Difference) {
        let (mut stays, mut stopping) = (Vec::new(), tokio::task::JoinSet::new());
        for source in std::mem::take(&mut self.sources) {
            let changes = &difference.sources;
            if changes.changed.contains(source.name()) || changes.removed.contains(source.name()) {
                stopping.spawn(source.stop(std::time::Duration::ZERO));
            } else {
                stays.push(source);
            }
        }
        self.sources = stays;
        stopping.join_all().await;
    }

    async fn start_missing_sources(&mut self) {
        for name in self.plan.sources.keys() {
            if self.sources.iter().any(|source| source.name() == name) {
                continue;
            }
            match RunningSource::start(&self.plan, name, &self.journal).await {
                Ok(source) => self.sources.extend(source),
                Err(error) => tracing::error!(source = name, %error, "the source could not be started"),
            }
        }
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
    let destinations = difference.destinations.changed.iter().filter_map(|name| {
        let (was, is) = (old.destinations.get(name)?, new.destinations.get(name)?);
        let why = is.kind.as_ref().err().filter(|_| was.kind.is_ok() && is.keeps_place)?;
        Some(format!("destinations.{name}: {why}"))
    });
    let sources = difference.sources.changed.iter().filter_map(|name| {
        let signing = |plan: &Plan| match &plan.sources.get(name)?.kind {
            SourceKind::Http(http) => Some(http.signing.clone()),
            SourceKind::File(_) => None,
        };
        let why = signing(new)?.err().filter(|_| signing(old).is_none_or(|was| was.is_ok()))?;
        Some(format!("sources.{name}: {why}"))
    });
    fixed.chain(destinations).chain(sources).collect()
}
