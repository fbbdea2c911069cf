//! Tails files: every line once, through every kind of rotation and restart.
//!
//! Flipt opens its audit log once, appends, never reopens and never rotates; people rotate it in every
//! way there is. A file is therefore known by its content (an *incarnation*, see `identity.rs`), followed
//! through its open descriptor when it is renamed, looked for among its siblings when it is truncated or
//! gone, and what cannot be found becomes a `gap` record. Each source is one thread; it sleeps until the
//! system tells of a change.

mod cri;
mod directory;
mod follow;
mod identity;
mod import;
mod lines;
mod survey;
mod tailer;
mod watch;

use std::path::PathBuf;
use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

pub use import::{ImportError, Imported, import};

use tokio::sync::watch as published;

use crate::config::plan::FileSourcePlan;
use crate::event::Timestamp;
use crate::journal::{Journal, JournalError, SourceRow};
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
}

/// How one file of a source stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileStatus {
    /// Where it was last seen.
    pub path: PathBuf,
    /// Everything before this byte is journaled.
    pub position: u64,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Whether it was renamed or deleted since, and is read through its descriptor.
    pub renamed: bool,
}

/// A configured path at which there is nothing to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Absent {
    /// The path.
    pub path: PathBuf,
    /// There is something, and it cannot be read; the log says why.
    pub is_unreadable: bool,
}

/// How a source stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SourceStatus {
    /// The files it follows.
    pub files: Vec<FileStatus>,
    /// Configured paths at which there is nothing to read now.
    pub absent: Vec<Absent>,
    /// Whether it has looked at its files for the first time.
    pub looked: bool,
    /// Whether everything that is there was read, at the last look.
    pub caught_up: bool,
    /// Why it does not go on, if it does not.
    pub stalled: Option<String>,
    /// How many records it has handed to the journal since it was started.
    pub records: u64,
    /// When it last handed a record to the journal.
    pub last_record_at: Option<Timestamp>,
}

impl SourceStatus {
    /// How many bytes of its files are not journaled, as far as is known.
    #[must_use]
    pub fn unread_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size_bytes.saturating_sub(file.position)).sum()
    }
}

/// A running source.
pub struct RunningSource {
    name: String,
    signals: Sender<Signal>,
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
    pub fn start(self) -> Result<RunningSource, JournalError> {
        let (signals, inbox) = mpsc::channel();
        let (publish, status) = published::channel(SourceStatus::default());
        let name = self.name.clone();
        let mut tailer = tailer::Tailer::new(self, signals.clone(), publish)?;
        let thread = std::thread::Builder::new()
            .name(format!("source {name}"))
            .spawn(move || tailer.run(&inbox))
            .map_err(|error| JournalError::Io(error.to_string()))?;
        Ok(RunningSource { name, signals, thread, status })
    }
}

impl RunningSource {
    /// Its name in the configuration.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it stands.
    #[must_use]
    pub fn status(&self) -> SourceStatus {
        self.status.borrow().clone()
    }

    /// Its status as it changes.
    #[must_use]
    pub fn watch_status(&self) -> published::Receiver<SourceStatus> {
        self.status.clone()
    }

    /// Reads every file to its end, keeps on reading for `keep_reading`, then ends. Blocks until then.
    pub fn stop(self, keep_reading: Duration) {
        let _ = self.signals.send(Signal::Stop { keep_reading });
        if self.thread.join().is_err() {
            tracing::error!(source = self.name, "the thread of a source ended in a panic");
        }
    }
}
