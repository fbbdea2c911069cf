//! What the writer, the readers and the handle all see.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use rusqlite::{Connection, ErrorCode, InterruptHandle};
use tokio::sync::watch;

use super::commits::Commits;
use super::reader::READERS;
use super::running::RunningClock;
use crate::event::Sequence;

/// The name of a journal in its directory.
pub const DATABASE: &str = "journal.db";

/// The files of one data directory.
#[derive(Debug, Clone)]
pub(super) struct Files {
    pub(super) data_dir: PathBuf,
    pub(super) database: PathBuf,
    pub(super) wal: PathBuf,
    /// Only there when a running relay has met damage: the next start salvages.
    pub(super) salvage_wanted: PathBuf,
}

impl Files {
    pub(super) fn new(data_dir: &Path) -> Self {
        Self {
            data_dir: data_dir.to_path_buf(),
            database: data_dir.join(DATABASE),
            wal: data_dir.join("journal.db-wal"),
            salvage_wanted: data_dir.join("journal.db.salvage-wanted"),
        }
    }

    /// The size of the WAL. `stat` alone: to open and close the file here would drop SQLite's locks.
    pub(super) fn wal_bytes(&self) -> u64 {
        std::fs::metadata(&self.wal).map_or(0, |metadata| metadata.len())
    }
}

pub(super) struct Shared {
    pub(super) files: Files,
    pub(super) epoch: String,
    pub(super) max_size_bytes: AtomicU64,
    pub(super) keep_micros: AtomicU64,
    /// Whether nothing may be removed.
    pub(super) keeps_all: AtomicBool,
    pub(super) clock: Arc<RunningClock>,
    pub(super) latest: watch::Sender<Sequence>,
    pub(super) failed: watch::Sender<Option<String>>,
    pub(super) readers: [Mutex<Option<Connection>>; READERS],
    pub(super) used_bytes: AtomicU64,
    pub(super) disk_full: AtomicBool,
    /// Whether appends are refused for the journal's own limit.
    pub(super) full: AtomicBool,
    pub(super) damaged: AtomicBool,
    pub(super) corrupt_records: AtomicU64,
    /// Ends the statement of a backup that is under way when the journal closes.
    pub(super) backup: Mutex<Option<InterruptHandle>>,
    pub(super) commits: Commits,
}

impl Shared {
    pub(super) fn max_size_bytes(&self) -> u64 {
        self.max_size_bytes.load(Ordering::Relaxed)
    }

    /// Remembers that SQLite called the file damaged, so that the next start salvages it. `fatal`: the
    /// relay cannot go on, and a restart is what helps.
    pub(super) fn note_damage(&self, error: &rusqlite::Error, fatal: bool) {
        let damaged =
            matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase));
        if damaged {
            self.set_damaged(&error.to_string(), fatal);
        }
    }

    pub(super) fn set_damaged(&self, what: &str, fatal: bool) {
        if !self.damaged.swap(true, Ordering::Relaxed) {
            tracing::error!(what, "the journal is damaged: it will be salvaged at the next start");
            if let Err(error) = std::fs::write(&self.files.salvage_wanted, what) {
                tracing::error!(%error, "the mark for the next start could not be written");
            }
        }
        if fatal {
            let message = format!("the journal is damaged ({what}): it will be salvaged at the next start");
            self.failed.send_if_modified(|failed| {
                let first = failed.is_none();
                failed.get_or_insert(message);
                first
            });
        }
    }
}
