//! Which incarnation a file is: told by its content, never by its name, inode or device.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};

use sha2::{Digest, Sha256};

use super::follow::Reading;
use super::holes;
use super::lines::OVERSIZED_KEPT_BYTES;
use crate::event::EventId;
use crate::flipt::{LineKind, read_line};
use crate::journal::{Fingerprint, IncarnationRow, Journal, JournalError};

/// How many bytes at the head, and how many before the position, identify a file.
pub(super) const WINDOW_BYTES: usize = 1024;

/// How far back the last lines of a file are looked for, beyond the longest line.
const LAST_LINE_WINDOW_BYTES: u64 = 64 * 1024;

/// How many of its last lines a file is recognised by, at most.
const MAX_LINES_ASKED: usize = 64;

/// What a file turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Identity {
    /// It holds no whole line yet.
    Unnamed,
    /// The incarnation at this index of the rows, and at least as long as it was read.
    Known(usize),
    /// An earlier, shorter state of the incarnation at this index: all of it was read already.
    Earlier(usize),
    /// None that is known: its first line, cut at 1 KiB.
    New(Vec<u8>),
}

/// Device and inode: what one open file is, while it is open.
pub(super) fn inode_of(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// Reads at most `length` bytes at `offset`; fewer where the file ends.
pub(super) fn read_at(file: &File, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0_u8; length];
    let mut filled = 0;
    while filled < length {
        match file.read_at(&mut bytes[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// The first line of a file that begins with `head`, cut at 1 KiB; `None` while it is not whole.
pub(super) fn first_line(head: &[u8]) -> Option<&[u8]> {
    let cut = &head[..head.len().min(WINDOW_BYTES)];
    match cut.iter().position(|byte| *byte == b'\n') {
        Some(at) => Some(&cut[..at]),
        None => (cut.len() == WINDOW_BYTES).then_some(cut),
    }
}

/// The fingerprint of a file that begins with `head`, read up to a position that `tail` ends at.
pub(super) fn fingerprint(head: &[u8], tail: &[u8], position: u64) -> Fingerprint {
    let head_len = (WINDOW_BYTES as u64).min(position).min(head.len() as u64);
    let tail = &tail[tail.len().saturating_sub(WINDOW_BYTES)..];
    Fingerprint {
        head_len,
        head_hash: Sha256::digest(&head[..usize::try_from(head_len).unwrap_or(0)]).into(),
        tail_len: tail.len() as u64,
        tail_hash: Sha256::digest(tail).into(),
    }
}

/// Whether the file holds what `row` read, and perhaps more.
pub(super) fn holds(file: &File, size: u64, row: &IncarnationRow) -> io::Result<bool> {
    let print = &row.fingerprint;
    if size < row.position {
        return Ok(false);
    }
    let part = |offset: u64, length: u64, hash: &[u8; 32]| -> io::Result<bool> {
        let bytes = read_at(file, offset, usize::try_from(length).unwrap_or(WINDOW_BYTES))?;
        Ok(bytes.len() as u64 == length && Sha256::digest(&bytes)[..] == hash[..])
    };
    Ok(part(0, print.head_len, &print.head_hash)?
        && (part(row.position.saturating_sub(print.tail_len), print.tail_len, &print.tail_hash)?
            || was_punched(file, row)?))
}

/// Whether what stood before the position of `row` was given back to the file system since: an older journal was put
/// back. The head, which never is, has to tell then.
pub(super) fn was_punched(file: &File, row: &IncarnationRow) -> io::Result<bool> {
    let print = &row.fingerprint;
    Ok(print.head_len == WINDOW_BYTES as u64
        && holes::touch(file, row.position.saturating_sub(print.tail_len), row.position)?)
}

/// Finds out which of `rows` (newest first) a file is.
pub(super) fn identify(
    file: &File,
    rows: &[IncarnationRow],
    reading: &Reading,
    journal: &Journal,
) -> Result<Identity, IdentifyError> {
    let head = read_at(file, 0, WINDOW_BYTES)?;
    let Some(line) = first_line(&head) else { return Ok(Identity::Unnamed) };
    let size = file.metadata()?.len();
    let first = hash(line);
    let alike = || rows.iter().enumerate().filter(|(_, row)| row.first_line_hash == first);
    let mut best: Option<(usize, u64)> = None;
    for (index, row) in alike() {
        if holds(file, size, row)? && best.is_none_or(|(_, position)| row.position > position) {
            best = Some((index, row.position));
        }
    }
    if let Some((index, _)) = best {
        return Ok(Identity::Known(index));
    }
    // A shorter file that begins like one that was read further: its last lines tell whether it is an
    // earlier state of it (a copy, a restored snapshot) or a new file that happens to begin alike.
    for (index, row) in alike().filter(|(_, row)| size < row.position) {
        if is_earlier_state(file, row, reading, journal)? {
            return Ok(Identity::Earlier(index));
        }
    }
    Ok(Identity::New(line.to_vec()))
}

/// Whether a file that is shorter than what was read of `row` is an earlier state of it: whether one of its
/// last lines was accepted, at its very place, as part of `row`.
///
/// Lines that are not kept (an application log) are passed over. Where there are no others in reach, the
/// file's head, which is that of `row`, decides.
pub(super) fn is_earlier_state(
    file: &File,
    row: &IncarnationRow,
    reading: &Reading,
    journal: &Journal,
) -> Result<bool, IdentifyError> {
    let size = file.metadata()?.len();
    let window = reading.max_event_bytes as u64 + LAST_LINE_WINDOW_BYTES;
    let from = size.saturating_sub(window);
    let bytes = read_at(file, from, usize::try_from(size - from).unwrap_or(0))?;
    let Some(mut end) = bytes.iter().rposition(|byte| *byte == b'\n') else { return Ok(false) };
    let mut asked = 0;
    loop {
        let begin = bytes[..end].iter().rposition(|byte| *byte == b'\n').map(|at| at + 1);
        if begin.is_none() && from > 0 {
            break; // cut off by the window
        }
        let begin = begin.unwrap_or(0);
        let line = &bytes[begin..end];
        if !matches!(read_line(line, reading.framing, &reading.instance), LineKind::Ignored) {
            let kept = &line[..line.len().min(OVERSIZED_KEPT_BYTES.min(reading.max_event_bytes))];
            let offset = from + begin as u64;
            for content in [line, kept] {
                if journal.knows(EventId::of_line(row.name, offset, content))? {
                    return Ok(true);
                }
            }
            asked += 1;
            if asked == MAX_LINES_ASKED {
                return Ok(false);
            }
        }
        match begin.checked_sub(1) {
            Some(before) => end = before,
            None => break,
        }
    }
    let length = row.fingerprint.head_len.min(size);
    let head = read_at(file, 0, usize::try_from(length).unwrap_or(0))?;
    Ok(asked == 0 && length == row.fingerprint.head_len && hash(&head) == row.fingerprint.head_hash)
}

/// What first lines are compared by.
pub(super) fn hash(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// The offset just after the last newline of a file: where reading begins that skips what is there.
pub(super) fn last_line_end(file: &File, size: u64) -> io::Result<u64> {
    let mut end = size;
    while end > 0 {
        let from = end.saturating_sub(LAST_LINE_WINDOW_BYTES);
        let bytes = read_at(file, from, usize::try_from(end - from).unwrap_or(0))?;
        if let Some(at) = bytes.iter().rposition(|byte| *byte == b'\n') {
            return Ok(from + at as u64 + 1);
        }
        end = from;
    }
    Ok(0)
}

/// Why a file could not be identified.
#[derive(Debug, thiserror::Error)]
pub(super) enum IdentifyError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Journal(#[from] JournalError),
}
