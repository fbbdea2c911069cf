//! Where records enter: each source turns what it meets into records and hands them to the journal.

pub mod file;
pub mod http;
mod records;
mod status;

use std::time::Duration;

use tokio::sync::watch;

use crate::config::plan::{Plan, SourceKind, SourcePlan};
use crate::journal::{Journal, JournalError};
use crate::telemetry::traces::Tracer;

pub use http::Listening;
pub use status::{Absent, FileStatus, ReclaimStatus, SourceStatus};

/// A running source of any kind.
pub struct RunningSource {
    /// As it runs.
    plan: SourcePlan,
    running: Running,
}

enum Running {
    File(file::RunningFileSource),
    Http(http::RunningHttpSource),
}

impl RunningSource {
    /// Starts the source of this name; `None` where the plan has none.
    ///
    /// # Errors
    /// When the journal cannot be asked.
    pub async fn start(
        plan: &Plan,
        name: &str,
        journal: &Journal,
        tracer: &Tracer,
    ) -> Result<Option<Self>, JournalError> {
        Self::start_on(plan, name, journal, tracer, None).await
    }

    /// As [`RunningSource::start`]; one that takes pushes does so at `listening`, where that is given.
    ///
    /// # Errors
    /// When the journal cannot be asked.
    pub async fn start_on(
        plan: &Plan,
        name: &str,
        journal: &Journal,
        tracer: &Tracer,
        listening: Option<Listening>,
    ) -> Result<Option<Self>, JournalError> {
        let Some(source) = plan.sources.get(name) else { return Ok(None) };
        let running = match &source.kind {
            SourceKind::File(_) => {
                let Some(source) = file::FileSource::planned(plan, name, journal) else { return Ok(None) };
                let source = file::FileSource { tracer: tracer.clone(), ..source };
                let running = tokio::task::spawn_blocking(move || source.start())
                    .await
                    .map_err(|error| JournalError::Io(error.to_string()))??;
                Running::File(running)
            }
            SourceKind::Http(_) => {
                let Some(source) = http::HttpSource::planned(plan, name, journal) else { return Ok(None) };
                let source = http::HttpSource { tracer: tracer.clone(), ..source };
                Running::Http(source.start(listening).await?)
            }
        };
        Ok(Some(Self { plan: source.clone(), running }))
    }

    /// As it runs.
    #[must_use]
    pub const fn plan(&self) -> &SourcePlan {
        &self.plan
    }

    /// Whether it would be the same by this plan: what else that says is for others, or is taken on by
    /// [`RunningSource::adopt`].
    #[must_use]
    pub fn is_as(&self, plan: &SourcePlan) -> bool {
        (&self.plan.instance, &self.plan.kind) == (&plan.instance, &plan.kind)
    }

    /// Takes on a plan by which it is the same.
    ///
    /// # Errors
    /// When the journal cannot be told; nothing is taken on then.
    pub async fn adopt(&mut self, plan: &SourcePlan, journal: &Journal) -> Result<(), JournalError> {
        if self.plan.single_writer != plan.single_writer {
            let (journal, name) = (journal.clone(), self.name().to_owned());
            let (instance, shares_writers) = (plan.instance.clone(), !plan.single_writer);
            let telling = move || {
                let row = journal.register_source(&name, &instance)?;
                journal.set_shared_writers(row.id, shares_writers)
            };
            tokio::task::spawn_blocking(telling)
                .await
                .map_err(|error| JournalError::Io(error.to_string()))??;
        }
        if let Running::File(source) = &self.running {
            source.reconsider();
        }
        self.plan = plan.clone();
        Ok(())
    }

    /// Its name in the configuration.
    #[must_use]
    pub fn name(&self) -> &str {
        match &self.running {
            Running::File(source) => source.name(),
            Running::Http(source) => source.name(),
        }
    }

    /// Its status as it changes.
    #[must_use]
    pub fn watch_status(&self) -> watch::Receiver<SourceStatus> {
        match &self.running {
            Running::File(source) => source.watch_status(),
            Running::Http(source) => source.watch_status(),
        }
    }

    /// What another of this name, that is to take over, would take pushes with: this one's socket where it
    /// stays at its address, or else a new one. `None` where it takes none, or where nothing is lost by trying
    /// later: this one does not listen either, or stands in the way itself by one of `freed`, ports that are let
    /// go of.
    ///
    /// # Errors
    /// Why it could not.
    pub async fn successor(&self, plan: &SourcePlan, freed: &[u16]) -> Result<Option<Listening>, String> {
        let SourceKind::Http(http) = &plan.kind else { return Ok(None) };
        let inherited = match &self.running {
            Running::File(_) => None,
            Running::Http(_) if self.watch_status().borrow().listening.is_none() => return Ok(None),
            Running::Http(source) => source.socket(http.listen),
        };
        Listening::succeeding(self.name(), http, inherited, freed).await
    }

    /// Takes in what is there, and what comes for `keep_reading` more, then ends.
    pub async fn stop(self, keep_reading: Duration) {
        match self.running {
            Running::File(source) => {
                let _ = tokio::task::spawn_blocking(move || source.stop(keep_reading)).await;
            }
            Running::Http(source) => source.stop(keep_reading).await,
        }
    }

    /// Makes room for another that takes over, and returns when it may begin. Requests under way are seen to
    /// their end behind it.
    pub async fn leave(self) {
        match self.running {
            Running::File(source) => {
                let _ = tokio::task::spawn_blocking(move || source.leave()).await;
            }
            Running::Http(source) => source.leave().await,
        }
    }
}
