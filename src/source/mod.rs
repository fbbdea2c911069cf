//! Where records enter: each source turns what it meets into records and hands them to the journal.

pub mod file;
pub mod http;
mod records;
mod status;

use std::time::Duration;

use tokio::sync::watch;

use crate::config::plan::{Plan, SourceKind};
use crate::journal::{Journal, JournalError};

pub use status::{Absent, FileStatus, SourceStatus};

/// A running source of any kind.
pub enum RunningSource {
    /// Tails files.
    File(file::RunningFileSource),
    /// Takes pushes.
    Http(http::RunningHttpSource),
}

impl RunningSource {
    /// Starts the source of this name; `None` where the plan has none.
    ///
    /// # Errors
    /// When the journal cannot be asked.
    pub async fn start(plan: &Plan, name: &str, journal: &Journal) -> Result<Option<Self>, JournalError> {
        let Some(source) = plan.sources.get(name) else { return Ok(None) };
        match &source.kind {
            SourceKind::File(_) => {
                let Some(source) = file::FileSource::planned(plan, name, journal) else { return Ok(None) };
                let running = tokio::task::spawn_blocking(move || source.start())
                    .await
                    .map_err(|error| JournalError::Io(error.to_string()))??;
                Ok(Some(Self::File(running)))
            }
            SourceKind::Http(_) => {
                let Some(source) = http::HttpSource::planned(plan, name, journal) else { return Ok(None) };
                Ok(Some(Self::Http(source.start().await?)))
            }
        }
    }

    /// Its name in the configuration.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::File(source) => source.name(),
            Self::Http(source) => source.name(),
        }
    }

    /// Its status as it changes.
    #[must_use]
    pub fn watch_status(&self) -> watch::Receiver<SourceStatus> {
        match self {
            Self::File(source) => source.watch_status(),
            Self::Http(source) => source.watch_status(),
        }
    }

    /// Takes in what is there, and what comes for `keep_reading` more, then ends.
    pub async fn stop(self, keep_reading: Duration) {
        match self {
            Self::File(source) => {
                let _ = tokio::task::spawn_blocking(move || source.stop(keep_reading)).await;
            }
            Self::Http(source) => source.stop(keep_reading).await,
        }
    }
}
