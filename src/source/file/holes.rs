//! Holes met when reading: stretches of NUL bytes where lines stood before their space was given back to the file
//! system (`reclaim.rs`), or that were never written. A copy has the same bytes without being sparse.

use std::fs::File;
use std::io;

use rustix::fs::{SeekFrom, seek};

use super::identity::read_at;

/// The shortest run of NUL bytes that is a hole: the block of most file systems. No event holds so many, since JSON
/// has to escape them.
pub(super) const MIN_HOLE_BYTES: usize = 4096;

/// How much is looked at at once where the file system cannot tell data from holes.
const LOOK_BYTES: usize = 64 * 1024;

/// Where in `chunk` a run of NUL bytes begins that is a hole, or may be one since it reaches to the end.
pub(super) fn first_in(chunk: &[u8]) -> Option<usize> {
    // As a rule there is none, and this is quick.
    if !chunk.contains(&0) {
        return None;
    }
    let mut looked = 0;
    while let Some(begin) = chunk[looked..].iter().position(|byte| *byte == 0).map(|at| looked + at) {
        match chunk[begin..].iter().position(|byte| *byte != 0) {
            Some(length) if length < MIN_HOLE_BYTES => looked = begin + length,
            _ => return Some(begin),
        }
    }
    None
}

/// The first byte from `from` on that is not NUL; `None` where there is no such up to the end. Moves the offset of
/// the descriptor, which nothing here reads by.
pub(super) fn end(file: &File, from: u64) -> io::Result<Option<u64>> {
    let mut at = from;
    loop {
        at = match seek(file, SeekFrom::Data(at)) {
            Ok(data) => data,
            Err(rustix::io::Errno::NXIO) => return Ok(None),
            Err(_) => at, // the file system cannot tell
        };
        let bytes = read_at(file, at, LOOK_BYTES)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        match bytes.iter().position(|byte| *byte != 0) {
            Some(found) => return Ok(Some(at + found as u64)),
            None => at += bytes.len() as u64,
        }
    }
}

/// Whether some of the bytes from `from` to `to`, a small window, lie in a hole.
pub(super) fn touch(file: &File, from: u64, to: u64) -> io::Result<bool> {
    let begin = from.saturating_sub(MIN_HOLE_BYTES as u64);
    let length = usize::try_from(to - begin).unwrap_or(0) + MIN_HOLE_BYTES;
    let bytes = read_at(file, begin, length)?;
    let (window_from, window_to) = (from - begin, to - begin);
    let mut at = 0;
    for run in bytes.chunk_by(|a, b| (*a == 0) == (*b == 0)) {
        let (run_from, run_to) = (at, at + run.len() as u64);
        at = run_to;
        let is_hole = run[0] == 0 && run.len() >= MIN_HOLE_BYTES;
        if is_hole && run_from < window_to && window_from < run_to {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file_of(parts: &[(u8, usize)]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        for (byte, count) in parts {
            file.write_all(&vec![*byte; *count]).unwrap();
        }
        file
    }

    #[test]
    fn only_long_runs_are_holes_and_those_that_may_go_on() {
        let chunk = |parts: &[(u8, usize)]| -> Vec<u8> {
            parts.iter().flat_map(|(byte, count)| std::iter::repeat_n(*byte, *count)).collect()
        };
        assert_eq!(first_in(&chunk(&[(b'a', 9_000)])), None);
        assert_eq!(first_in(&chunk(&[(b'a', 5), (0, 4_095), (b'b', 1)])), None);
        assert_eq!(first_in(&chunk(&[(b'a', 5), (0, 4_096), (b'b', 1)])), Some(5));
        assert_eq!(first_in(&chunk(&[(b'a', 5), (0, 2), (b'b', 1), (0, 1)])), Some(8));
        assert_eq!(first_in(&[]), None);
    }

    #[test]
    fn the_end_of_a_hole_is_found_in_sparse_files_and_in_copies_of_them() {
        let written = file_of(&[(b'a', 10), (0, 200_000), (b'b', 10)]);
        assert_eq!(end(&written, 10).unwrap(), Some(200_010));
        assert_eq!(end(&written, 5).unwrap(), Some(5));
        let sparse = file_of(&[(b'a', 10)]);
        sparse.set_len(1 << 40).unwrap();
        assert_eq!(end(&sparse, 10).unwrap(), None);
    }

    #[test]
    fn a_window_touches_a_hole_at_either_end_or_lies_in_it() {
        let file = file_of(&[(b'a', 20_000), (0, 20_000), (b'b', 20_000)]);
        for (from, to, expected) in [
            (18_000, 19_000, false),
            (19_500, 20_001, true),
            (25_000, 26_000, true),
            (39_999, 40_500, true),
            (40_000, 41_000, false),
        ] {
            assert_eq!(touch(&file, from, to).unwrap(), expected, "{from} to {to}");
        }
        assert!(!touch(&file_of(&[(b'a', 50), (0, 50)]), 10, 100).unwrap());
    }
}
