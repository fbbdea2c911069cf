//! Paths, globs and the files beside them.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::fs::DirEntryExt;
use std::path::{Path, PathBuf};

/// Endings of files that were compressed after rotation: recognised, reported, not read.
const COMPRESSED: [&str; 5] = ["gz", "zst", "xz", "bz2", "lz4"];

/// Whether a name ends like a compressed file's.
pub(super) fn is_compressed(path: &Path) -> bool {
    path.extension().and_then(OsStr::to_str).is_some_and(|ending| COMPRESSED.contains(&ending))
}

/// Whether a name looks like that of a rotated copy: it ends in a number, a date, or a compressed
/// file's ending, before or after its extension (`audit.log.1`, `audit-20261122.log`, `audit.log.2.gz`).
pub(super) fn looks_rotated(path: &Path) -> bool {
    let Some(name) = path.file_name().and_then(OsStr::to_str) else { return false };
    let ends_in_digits = |text: &str| {
        let stem = text.trim_end_matches(|character: char| {
            character.is_ascii_digit() || matches!(character, '-' | 'T' | 'Z' | ':' | '_')
        });
        stem.len() < text.len()
            && text.ends_with(|last: char| last.is_ascii_digit() || last == 'Z')
            && stem.ends_with(['.', '-', '_']) | text[stem.len()..].starts_with(['-', '_'])
    };
    is_compressed(path)
        || ends_in_digits(name)
        || name.rsplit_once('.').is_some_and(|(stem, _)| ends_in_digits(stem))
}

/// Whether `candidate` is named like a rotated copy of `path`: `audit.log.1`, `audit.log-20261122`,
/// `audit-20261122.log` beside `audit.log`.
pub(super) fn is_rotated_name_of(candidate: &Path, path: &Path) -> bool {
    let names = (candidate.file_name().and_then(OsStr::to_str), path.file_name().and_then(OsStr::to_str));
    let (Some(candidate_name), Some(name)) = names else { return false };
    if candidate_name == name {
        return false;
    }
    let follows = |rest: &str| rest.starts_with(['.', '-', '_']);
    if candidate_name.strip_prefix(name).is_some_and(follows) {
        return true;
    }
    let (Some(stem), Some(ending)) =
        (path.file_stem().and_then(OsStr::to_str), path.extension().and_then(OsStr::to_str))
    else {
        return false;
    };
    candidate_name
        .strip_prefix(stem)
        .filter(|rest| follows(rest))
        .and_then(|rest| rest.strip_suffix(ending))
        .is_some_and(|middle| middle.ends_with('.') && looks_rotated(candidate))
}

/// The paths that `patterns` name now: plain paths always, globs what they find (rotated copies only
/// where `include_rotated`).
pub(super) fn expand(patterns: &[String], include_rotated: bool) -> BTreeSet<PathBuf> {
    let mut paths = BTreeSet::new();
    for pattern in patterns {
        if !is_glob(pattern) {
            paths.insert(PathBuf::from(pattern));
            continue;
        }
        let Ok(found) = glob::glob(pattern) else { continue };
        for path in found.filter_map(Result::ok) {
            let unwanted = is_compressed(&path) || (!include_rotated && looks_rotated(&path));
            if !unwanted && path.is_file() {
                paths.insert(path);
            }
        }
    }
    paths
}

/// Whether one of the configured paths or globs is meant to name `path`, existing or not.
pub(super) fn covers(patterns: &[String], path: &Path) -> bool {
    patterns.iter().any(|pattern| {
        Path::new(pattern) == path
            || (is_glob(pattern) && glob::Pattern::new(pattern).is_ok_and(|glob| glob.matches_path(path)))
    })
}

/// Whether a configured path has wild cards.
pub(super) fn is_glob(pattern: &str) -> bool {
    pattern.contains(['*', '?', '['])
}

/// The directories in which copies and renamed files of `path` may lie: its own, its target's where it
/// is a symbolic link, and `rotated_dir`.
pub(super) fn homes(path: &Path, rotated_dir: Option<&Path>) -> Vec<PathBuf> {
    let parent = |path: &Path| match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
        Some(parent) => parent.to_path_buf(),
        None => PathBuf::from("/"),
    };
    let mut homes = vec![parent(path)];
    homes.extend(path.canonicalize().ok().map(|target| parent(&target)));
    homes.extend(rotated_dir.map(Path::to_path_buf));
    let mut seen = BTreeSet::new();
    homes.retain(|home| seen.insert(home.canonicalize().unwrap_or_else(|_| home.clone())));
    homes
}

/// The names and inodes of some directories: two that are alike, with a search between them, say that
/// nothing was renamed meanwhile.
pub(super) fn census(homes: &[PathBuf]) -> BTreeSet<(PathBuf, u64)> {
    let entries = homes.iter().filter_map(|home| std::fs::read_dir(home).ok()).flatten();
    entries.filter_map(Result::ok).map(|entry| (entry.path(), entry.ino())).collect()
}

/// The regular files of some directories, in no order; unreadable directories are passed over.
pub(super) fn files_in(homes: &[PathBuf]) -> Vec<PathBuf> {
    homes
        .iter()
        .filter_map(|home| std::fs::read_dir(home).ok())
        .flatten()
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()))
        .map(|entry| entry.path())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotated_names_are_recognised() {
        for name in [
            "audit.log.1",
            "audit.log.12",
            "audit.log-20261122",
            "audit-20261122.log",
            "audit.log.2.gz",
            "audit.log-2026-11-22T10:00:00Z",
            "audit_1.log",
        ] {
            assert!(looks_rotated(Path::new(name)), "{name}");
            assert!(is_rotated_name_of(Path::new(name), Path::new("/var/log/audit.log")), "{name}");
        }
        for name in ["audit.log", "flipt0.log", "mine.log", "audit", "pod-a.log"] {
            assert!(!looks_rotated(Path::new(name)), "{name}");
        }
        assert!(!is_rotated_name_of(Path::new("audit.log"), Path::new("audit.log")));
        assert!(!is_rotated_name_of(Path::new("other.log.1"), Path::new("audit.log")));
    }
}
