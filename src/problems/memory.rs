//! What is known of problems over a restart: a small file in the data directory.
//!
//! It stands beside the journal and not in it: what was told concerns no single destination, and it has to
//! outlive the journal, whose loss is a problem to tell. Without it, what lasts is told once more.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::silence::Silence;
use super::watch::Watch;
use crate::event::Sequence;

/// The name of the file.
const NAME: &str = "problems.json";

/// What is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Kept {
    /// Up to here gaps were looked for.
    pub(super) looked_through: Option<Sequence>,
    pub(super) watch: Watch,
    pub(super) silence: Silence,
}

fn path(data_dir: &Path) -> PathBuf {
    data_dir.join(NAME)
}

/// What was kept; nothing where there is no file, or none that can be read.
pub(super) fn load(data_dir: &Path) -> Kept {
    let read = std::fs::read(path(data_dir)).ok();
    read.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

/// Keeps it in place of what was kept before.
///
/// # Errors
/// When it cannot be written.
pub(super) fn save(data_dir: &Path, kept: &Kept) -> std::io::Result<()> {
    let path = path(data_dir);
    let new = path.with_extension("json.new");
    let mut file =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(&serde_json::to_vec(kept)?)?;
    std::fs::rename(new, path)
}
