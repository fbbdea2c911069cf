//! How a source stands, whatever its kind.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::event::Timestamp;

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
    /// What of its space was given back; `None` where that is not asked for.
    pub reclaim: Option<ReclaimStatus>,
}

/// What of the space of a file was given back to the file system.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReclaimStatus {
    /// The first byte of the hole; never 0 once something was given back.
    pub from: u64,
    /// The first byte after it; as `from` where nothing was given back.
    pub to: u64,
    /// Why no more is given back for now, if that has a reason other than destinations that are not as far.
    pub held_up: Option<String>,
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
    /// Where it listens, where it takes pushes.
    pub listening: Option<SocketAddr>,
    /// Pushes that were refused since it was started: a wrong signature, or no token.
    pub refused: u64,
    /// Pushes that could not be taken since it was started, and will not be sent again: too large, unreadable, late.
    pub untaken: u64,
    /// Whether it has looked at its files for the first time; whether it has tried to listen.
    pub looked: bool,
    /// Whether everything that is there was read, at the last look.
    pub caught_up: bool,
    /// Why it does not go on, if it does not.
    pub stalled: Option<String>,
    /// How many records it has handed to the journal since it was started.
    pub records: u64,
    /// How many bytes of its files it has given back to the file system since it was started.
    pub reclaimed_bytes: u64,
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
