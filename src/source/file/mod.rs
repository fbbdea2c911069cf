//! Tails files: every line once, through every kind of rotation and restart.
//!
//! Flipt opens its audit log once, appends, never reopens and never rotates; people rotate it in every
//! way there is. A file is therefore known by its content (an *incarnation*, see `identity.rs`), followed
//! through its open descriptor when it is renamed, looked for among its siblings when it is truncated or
//! gone, and what cannot be found becomes a `gap` record. Each source is one thread; it sleeps until the
//! system tells of a change.

pub mod cri;
mod directory;
mod follow;
mod holes;
mod identity;
mod import;
pub mod lines;
mod reclaim;
mod survey;
mod tailer;
#[cfg(test)]
mod tests;
mod watch;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

pub use import::{ImportError, Imported, import};

use tokio::sync::watch as published;

use super::SourceStatus;
use crate::config::plan::FileSourcePlan;
use crate::journal::{Journal, JournalError, SourceRow};
use crate::telemetry::traces::Tracer;
use watch::Signal;

/// What a source needs to know of the relay around it.
#[derive(Clone)]
pub struct FileSource {
    /// The relay's name: part of every id.
    pub relay_name: String,
    /// The source's name: part of every id.
    pub name: String,
    /// The Flipt it belongs to.
    pub instance: String,
    /// Whether its files tell every change to that Flipt: only then is told what was before.
    pub single_writer: bool,
    /// What to read, and how.
    pub plan: FileSourcePlan,
    /// Where the journal lives: changes there are nobody's events.
    pub data_dir: PathBuf,
    /// Where records go.
    pub journal: Journal,
    /// Tells of each acceptance.
    pub tracer: Tracer,
}

/// A running source of files.
pub struct RunningFileSource {
    name: String,
    signals: Sender<Signal>,
    leaving: Arc<AtomicBool>,
    thread: JoinHandle<()>,
    status: published::Receiver<SourceStatus>,
}

impl FileSource {
    /// Blocking: its row in the journal.
    fn register(&self) -> Result<SourceRow, JournalError> {
        let row = self.journal.register_source(&self.name, &self.instance)?;
        self.journal.set_shared_writers(row.id, !self.single_writer)?;
        Ok(row)
    }

    /// What each of its lines is read with.
    fn reading(&self) -> follow::Reading {
        follow::Reading {
            instance: self.instance.clone(),
            framing: self.plan.framing,
            max_event_bytes: self.plan.max_event_bytes,
        }
    }

    /// Starts the thread that follows the files.
    ///
    /// # Errors
    /// When the journal cannot be asked.
    pub fn start(self) -> Result<RunningFileSource, JournalError> {
        let (signals, inbox) = mpsc::channel();
        let (publish, status) = published::channel(SourceStatus::default());
        let name = self.name.clone();
        let mut tailer = tailer::Tailer::new(self, signals.clone(), publish)?;
        let leaving = Arc::clone(&tailer.leaving);
        let thread = std::thread::Builder::new()
            .name(format!("source {name}"))
            .spawn(move || tailer.run(&inbox))
            .map_err(|error| JournalError::Io(error.to_string()))?;
        Ok(RunningFileSource { name, signals, leaving, thread, status })
    }
}

impl RunningFileSource {
    /// Its name in the configuration.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its status as it changes.
    #[must_use]
    pub fn watch_status(&self) -> published::Receiver<SourceStatus> {
        self.status.clone()
    }

    /// The configuration was applied once more: what was refused about its files is tried again.
    pub fn reconsider(&self) {
        let _ = self.signals.send(Signal::Reconsider);
    }

    /// Ends with what is being committed: another goes on from there. Only what nobody else could open any more is
    /// read to its end. Blocks until then.
    pub fn leave(self) {
        self.leaving.store(true, Ordering::Release);
        self.stop(Duration::ZERO);
    }

    /// Reads every file to its end, keeps on reading for `keep_reading`, then ends. Blocks until then.
    pub fn stop(self, keep_reading: Duration) {
        let _ = self.signals.send(Signal::Stop { keep_reading });
        if self.thread.join().is_err() {
            tracing::error!(source = self.name, "the thread of a source ended in a panic");
        }
    }
}
