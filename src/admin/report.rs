//! How everything stands: what `status --json` prints.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::event::{Sequence, Timestamp};
use crate::journal::{Books, ReplayRow};

/// How everything stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The one sentence to read.
    pub verdict: String,
    /// When it was so.
    pub at: Timestamp,
    /// The relay itself.
    pub relay: RelayReport,
    /// The configuration that is applied.
    #[serde(default)]
    pub configuration: ConfigurationReport,
    /// What is found wrong around the relay: with its Flipt, with a source that is silent.
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// Sources by name, configured or known to the journal.
    pub sources: Vec<SourceReport>,
    /// The journal.
    pub journal: JournalReport,
    /// Configured destinations by name.
    pub destinations: Vec<DestinationReport>,
    /// Destinations that the journal keeps and that are not configured any more.
    pub orphans: Vec<DestinationReport>,
    /// Whether the books of every destination balance.
    pub balanced: bool,
}

/// The relay itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayReport {
    /// Its name.
    pub name: String,
    /// The version of the program that answers.
    pub version: String,
    /// Since when it runs; absent where it does not.
    pub running_since: Option<Timestamp>,
}

/// The configuration that is applied.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ConfigurationReport {
    /// SHA-256 over its files, in hex; absent of a relay that does not run.
    pub sha256: Option<String>,
    /// When it was applied.
    pub applied_at: Option<Timestamp>,
    /// What became of the last reload; absent where there was none.
    pub last_reload: Option<ReloadReport>,
}

impl ConfigurationReport {
    /// Since when it is not right, of a relay that began with what could be used of it: it delivers nothing.
    #[must_use]
    pub fn salvaged_since(&self) -> Option<Timestamp> {
        let refused = self.last_reload.as_ref().filter(|reload| !reload.successful)?;
        self.applied_at.is_none().then_some(refused.at)
    }
}

/// What became of a reload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadReport {
    /// When.
    pub at: Timestamp,
    /// Whether it was applied.
    pub successful: bool,
    /// Why not: every problem, as `check` tells it.
    pub problems: Vec<String>,
}

/// Something that is wrong and that the relay cannot mend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// A stable word: `flipt_1_61_1_without_tracing`.
    pub code: String,
    /// Whether events do not come, or are lost, for it; what is not makes them poorer.
    pub severe: bool,
    /// What is wrong, in one sentence.
    pub sentence: String,
    /// What to do about it, in one sentence or as a line to paste.
    pub remedy: Option<String>,
}

/// A source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceReport {
    /// Its name.
    pub name: String,
    /// `file`, `http`; absent where it is not configured any more.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// The Flipt it belongs to.
    pub instance: String,
    /// When it last gave a record.
    pub last_event_at: Option<Timestamp>,
    /// Bytes of its files that are not journaled, as far as is known.
    pub behind_bytes: u64,
    /// Inputs that could not be read.
    pub unparsed: u64,
    /// Lines read and not kept.
    pub ignored: u64,
    /// Why it does not go on, if it does not.
    pub stalled: Option<String>,
    /// The files that it follows.
    pub files: Vec<FileReport>,
    /// Configured paths at which there is nothing to read.
    pub absent: Vec<PathBuf>,
    /// Configured paths at which there is something that cannot be read.
    pub unreadable: Vec<PathBuf>,
    /// Where it listens, where it takes pushes.
    #[serde(default)]
    pub listening: Option<std::net::SocketAddr>,
    /// Pushes that were refused since it was started: a wrong signature, or no token.
    #[serde(default)]
    pub refused: u64,
    /// Pushes that could not be taken since it was started, and will not be sent again: too large, unreadable, late.
    #[serde(default)]
    pub untaken: u64,
}

/// A file of a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileReport {
    /// Where it was last seen.
    pub path: PathBuf,
    /// Everything before this byte is journaled.
    pub position: u64,
    /// Its size; absent where it is not seen now.
    pub size_bytes: Option<u64>,
    /// Whether it was renamed or deleted since, and is read through its descriptor.
    pub renamed: bool,
    /// What of its space was given back; absent where that is not asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reclaim: Option<ReclaimReport>,
}

/// What of the space of a file was given back to the file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReclaimReport {
    /// The first byte of the hole.
    pub from: u64,
    /// The first byte after it; as `from` where nothing was given back.
    pub to: u64,
    /// Why no more is given back for now, beside destinations that are not as far.
    pub held_up: Option<String>,
}

/// The journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalReport {
    /// The name of this life of it.
    pub epoch: String,
    /// The first sequence that is still there (0: none).
    pub first_sequence: Sequence,
    /// The last sequence that was given.
    pub last_sequence: Sequence,
    /// What it uses.
    pub used_bytes: u64,
    /// Its limit.
    pub max_size_bytes: u64,
    /// Whether the disk is full: nothing is accepted.
    pub disk_full: bool,
    /// Whether it was found damaged: it is salvaged at the next start.
    pub damaged: bool,
    /// Records that were altered or are missing, as far as they were met.
    pub corrupt_records: u64,
}

/// A destination. Accepted = not routed + delivered + dead + purged + waiting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DestinationReport {
    /// Its name.
    pub name: String,
    /// The word of its `type`; absent where it is not configured any more.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// `running`, `waiting`, `blocked`, `paused`, `orphaned`; of a stopped relay, how it was left.
    pub state: String,
    /// A stable word for why it is not running.
    pub code: Option<String>,
    /// A sentence for why.
    pub reason: Option<String>,
    /// Since when.
    pub since: Option<Timestamp>,
    /// Until when a pause lasts.
    pub until: Option<Timestamp>,
    /// Who paused it.
    pub paused_by: Option<String>,
    /// Records that were accepted since it was first seen.
    pub accepted: u64,
    /// Its numbers.
    #[serde(flatten)]
    pub books: Books,
    /// Records that wait: decided to be for it, or not decided on yet.
    pub waiting: u64,
    /// Of these: not decided on yet; absent where no lane runs.
    pub undecided: Option<u64>,
    /// Whether the sum is right.
    pub balanced: bool,
    /// When the oldest that waits was accepted.
    pub oldest_waiting_at: Option<Timestamp>,
    /// Of those that wait: held back, since others like them were told of late (refused attempts in Slack).
    #[serde(default)]
    pub held: u64,
    /// Until when the first of these.
    #[serde(default)]
    pub held_until: Option<Timestamp>,
    /// Requests under way.
    pub in_flight: usize,
    /// Failed attempts since it last answered well.
    pub failed_attempts: u32,
    /// When it is tried next.
    pub next_attempt_at: Option<Timestamp>,
    /// When it last took something.
    pub last_success_at: Option<Timestamp>,
    /// When it last failed.
    pub last_error_at: Option<Timestamp>,
    /// With what.
    pub last_error: Option<String>,
    /// Replays under way.
    pub replays: Vec<ReplayRow>,
}
