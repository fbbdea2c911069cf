//! How a source learns that files changed: by the system's notifications where these work, by looking
//! where they do not.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::time::Duration;

use notify::event::ModifyKind;
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use rustix::fs::statfs;

use super::directory::looks_rotated;
use super::identity::inode_of;

/// What wakes a source up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signal {
    /// Some bytes changed.
    Written,
    /// Files came, went or were renamed.
    Moved,
    /// Try again what was refused.
    Reconsider,
    /// Read to the end, keep on for a while, and stop.
    Stop {
        /// How long to keep on.
        keep_reading: Duration,
    },
}

/// Watches directories; says so when it cannot.
pub(super) struct Watch {
    watcher: Option<RecommendedWatcher>,
    /// What is watched under which name: a name may come to mean another directory.
    watched: BTreeMap<PathBuf, (u64, u64)>,
    /// Why changes are looked for instead of waited for.
    pub(super) polling: Option<String>,
}

impl Watch {
    /// Watches nothing yet. Events about files in `quiet_dir` that are the journal's own are passed
    /// over.
    pub(super) fn new(signals: Sender<Signal>, quiet_dir: PathBuf, poll: bool) -> Self {
        if poll {
            return Self::polling("watch: poll is configured".to_owned());
        }
        let quiet_dir = quiet_dir.canonicalize().unwrap_or(quiet_dir);
        let handler = move |event: notify::Result<notify::Event>| {
            let signal = match event {
                Ok(event) => match event.kind {
                    EventKind::Access(_) => return,
                    EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Metadata(_) | ModifyKind::Any)
                        if event.paths.iter().all(|path| is_journal_file(path, &quiet_dir)) =>
                    {
                        return;
                    }
                    EventKind::Modify(ModifyKind::Name(_)) | EventKind::Create(_) | EventKind::Remove(_) => {
                        Signal::Moved
                    }
                    // A rotated file that grows may be one that nobody follows yet.
                    EventKind::Modify(_) if event.paths.iter().any(|path| looks_rotated(path)) => {
                        Signal::Moved
                    }
                    EventKind::Modify(_) => Signal::Written,
                    EventKind::Any | EventKind::Other => Signal::Moved,
                },
                // The kernel dropped events: look at everything.
                Err(_) => Signal::Moved,
            };
            let _ = signals.send(signal);
        };
        match notify::recommended_watcher(handler) {
            Ok(watcher) => Self { watcher: Some(watcher), watched: BTreeMap::new(), polling: None },
            Err(error) => Self::polling(format!("the system gives no notifications: {error}")),
        }
    }

    fn polling(reason: String) -> Self {
        Self { watcher: None, watched: BTreeMap::new(), polling: Some(reason) }
    }

    /// Watches exactly these directories, or their nearest parent that exists. True where one is new: what
    /// happened in it until now was not seen.
    pub(super) fn set(&mut self, directories: impl IntoIterator<Item = PathBuf>) -> bool {
        let wanted: BTreeMap<PathBuf, (u64, u64)> = directories
            .into_iter()
            .filter_map(|directory| nearest_existing(&directory))
            .filter_map(|directory| {
                let inode = inode_of(&std::fs::metadata(&directory).ok()?);
                Some((directory, inode))
            })
            .collect();
        let Some(watcher) = &mut self.watcher else { return false };
        let mut is_new = false;
        for (path, inode) in &self.watched {
            if wanted.get(path) != Some(inode) {
                let _ = watcher.unwatch(path);
            }
        }
        self.watched.retain(|path, inode| wanted.get(path) == Some(inode));
        for (path, inode) in wanted {
            if self.watched.contains_key(&path) {
                continue;
            }
            if let Some(kind) = blind_file_system(&path) {
                *self = Self::polling(format!("notifications do not reach {kind} file systems"));
                return true;
            }
            match watcher.watch(&path, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.watched.insert(path, inode);
                    is_new = true;
                }
                Err(_) if !path.exists() => {} // gone again: the next look finds what is there then
                Err(error) => {
                    *self = Self::polling(format!("a directory cannot be watched: {error}"));
                    return true;
                }
            }
        }
        is_new
    }
}

fn is_journal_file(path: &Path, quiet_dir: &Path) -> bool {
    let named = path.file_name().and_then(|name| name.to_str()).is_some_and(|name| {
        name.starts_with("journal.db")
            || name.starts_with("problems.json")
            || name == "lock"
            || name == "reserve"
    });
    named
        && path.parent().is_some_and(|parent| {
            parent == quiet_dir || parent.canonicalize().is_ok_and(|parent| parent == quiet_dir)
        })
}

fn nearest_existing(directory: &Path) -> Option<PathBuf> {
    directory
        .ancestors()
        .map(|ancestor| if ancestor.as_os_str().is_empty() { Path::new(".") } else { ancestor })
        .find(|ancestor| ancestor.is_dir())
        .map(Path::to_path_buf)
}

/// File systems on which another machine may write without this kernel knowing
/// (magic numbers: `linux/magic.h`).
fn blind_file_system(directory: &Path) -> Option<&'static str> {
    let kind = statfs(directory).ok()?.f_type;
    match u32::try_from(kind as u64 & 0xffff_ffff).unwrap_or(0) {
        0x6969 => Some("nfs"),
        0xff53_4d42 | 0xfe53_4d42 | 0x517b => Some("smb"),
        0x6573_5546 => Some("fuse"),
        0x0102_1997 => Some("9p"),
        0x00c3_6400 => Some("ceph"),
        _ => None,
    }
}
