//! Notices that what a configuration was read from has changed: its files, what it includes, the files of its
//! secrets and certificates.
//!
//! By looking, not by notifications: ConfigMaps and Secrets are swapped as a whole by renaming a link two
//! directories up (<https://kubernetes.io/docs/concepts/configuration/configmap/#mounted-configmaps-are-updated-automatically>),
//! and may lie on file systems that tell of nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often to look.
const INTERVAL: Duration = Duration::from_secs(2);

/// Whoever writes may still be at it: it must look alike for so long.
const QUIET: Duration = Duration::from_millis(200);

/// Looks at the files of a configuration.
#[derive(Debug)]
pub struct Watcher {
    what: Watched,
    seen: BTreeMap<PathBuf, Stamp>,
}

/// What to look at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Watched {
    /// Files, there or not.
    pub files: BTreeSet<PathBuf>,
    /// Globs: whatever they match, and that they match something else.
    pub globs: BTreeSet<String>,
}

/// How a file looks from outside: where its links lead, and what the file system tells of it; `None` where there
/// is none.
type Stamp = Option<(PathBuf, u64, u64, i64, i64)>;

impl Watched {
    /// These, and others.
    #[must_use]
    pub fn and(&self, others: &Self) -> Self {
        Self { files: &self.files | &others.files, globs: &self.globs | &others.globs }
    }
}

impl Watcher {
    /// Looks at these from now on; as they are now they are known.
    #[must_use]
    pub fn new(what: Watched) -> Self {
        let seen = stamps(&what);
        Self { what, seen }
    }

    /// Looks at others from now on. What of them was looked at before is known as it was then: it may have changed
    /// while it was read.
    pub fn look_at(&mut self, what: Watched) {
        let before = std::mem::take(&mut self.seen);
        self.seen = stamps(&what);
        for (path, stamp) in &mut self.seen {
            if let Some(known) = before.get(path) {
                stamp.clone_from(known);
            }
        }
        self.what = what;
    }

    /// Whatever is there now is known: it is about to be read.
    pub fn know(&mut self) {
        self.seen = stamps(&self.what);
    }

    /// Returns once something is other than it was when it was last known, and has been left alone for a moment.
    pub async fn changed(&mut self) {
        loop {
            tokio::time::sleep(INTERVAL).await;
            let mut found = stamps(&self.what);
            if found == self.seen {
                continue;
            }
            loop {
                tokio::time::sleep(QUIET).await;
                let again = stamps(&self.what);
                if again == found {
                    break;
                }
                found = again;
            }
            self.seen = found;
            return;
        }
    }
}

fn stamps(what: &Watched) -> BTreeMap<PathBuf, Stamp> {
    let matched = what.globs.iter().filter_map(|pattern| glob::glob(pattern).ok()).flatten().flatten();
    what.files.iter().cloned().chain(matched).map(|path| (path.clone(), stamp(&path))).collect()
}

fn stamp(path: &Path) -> Stamp {
    let whole = path.canonicalize().ok()?;
    let found = whole.metadata().ok()?;
    Some((whole, found.ino(), found.len(), found.mtime(), found.mtime_nsec()))
}
