//! One open file that is read on: bytes to lines, lines to records, and whether the file is still the one
//! that was being read.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::cri::{CriJoiner, Joined};
use super::holes;
use super::identity::{self, WINDOW_BYTES, read_at};
use super::lines::{Line, LineBuffer};
use super::reclaim::Space;
use crate::event::{EventId, Framing, GapDetail, GapReason, Incarnation, NewRecord};
use crate::journal::{Advance, IncarnationRow};
use crate::source::records;

/// How much is read from a file at once.
const CHUNK_BYTES: usize = 128 * 1024;
/// How many records, and how many of their bytes, are handed to the journal at once.
const MAX_RECORDS: usize = 512;
const MAX_RECORD_BYTES: usize = 1024 * 1024;

/// What a followed file is to its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The file at the path.
    Current,
    /// It was at the path (or beside it) and its writer may still hold it.
    Renamed,
    /// A copy of what a truncated file held: nobody writes to it.
    Copy,
}

/// What every line is read with.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    pub(super) instance: String,
    pub(super) framing: Framing,
    pub(super) max_event_bytes: usize,
}

/// One open file.
pub(super) struct Follow {
    pub(super) file: File,
    pub(super) inode: (u64, u64),
    /// Where it was last seen.
    pub(super) path: PathBuf,
    /// The configured path it belongs to.
    pub(super) slot: PathBuf,
    pub(super) role: Role,
    /// Its incarnation as the journal has it; `None` until its first line is whole.
    pub(super) row: Option<IncarnationRow>,
    /// When it last grew, as far as was seen.
    pub(super) grown_at: Instant,
    /// Whether it grew after everything that was there had been read: somebody writes to it.
    pub(super) has_grown: bool,
    was_at_end: bool,
    /// Everything before this byte was handed to the journal.
    pub(super) position: u64,
    /// The bytes at its head and before `position`, at most 1 KiB each.
    head: Vec<u8>,
    tail: Vec<u8>,
    lines: LineBuffer,
    cri: CriJoiner,
    /// What of its space was given back.
    pub(super) space: Space,
}

/// What one step of reading gave.
pub(super) enum Step {
    /// Records to append (perhaps none) and the position that they bring the file to.
    Batch(Batch),
    /// Nothing new.
    AtEnd,
    /// The file is not the one that was being read: truncated, or written anew.
    Rewritten,
}

/// Records of one file.
pub(super) struct Batch {
    pub(super) records: Vec<NewRecord>,
    pub(super) advance: Advance,
    pub(super) ignored: u64,
}

impl Follow {
    /// Begins to follow an open file that is not identified yet.
    pub(super) fn new(
        file: File,
        path: PathBuf,
        slot: PathBuf,
        role: Role,
        reading: &Reading,
    ) -> io::Result<Self> {
        let inode = identity::inode_of(&file.metadata()?);
        Ok(Self {
            file,
            inode,
            path,
            slot,
            role,
            row: None,
            grown_at: Instant::now(),
            has_grown: false,
            was_at_end: false,
            position: 0,
            head: Vec::new(),
            tail: Vec::new(),
            lines: LineBuffer::new(0, reading.max_event_bytes),
            cri: CriJoiner::new(reading.max_event_bytes),
            space: Space::default(),
        })
    }

    /// Reads on from what the journal has committed for `row`. False, and nothing is followed, where the
    /// file does not hold that (any more).
    pub(super) fn adopt(&mut self, row: IncarnationRow, reading: &Reading) -> io::Result<bool> {
        self.forget(reading);
        let head = read_at(&self.file, 0, WINDOW_BYTES)?;
        let tail = self.window_before(row.position)?;
        // A line without an end is a first line too where nothing more is to come.
        let begins_alike =
            identity::hash(identity::first_line(&head).unwrap_or(&head)) == row.first_line_hash;
        let print = &row.fingerprint;
        let same = begins_alike
            && head.len() as u64 >= print.head_len
            && identity::hash(&head[..usize::try_from(print.head_len).unwrap_or(0)]) == print.head_hash
            && tail.len() as u64 >= print.tail_len
            && (identity::hash(&tail[tail.len() - usize::try_from(print.tail_len).unwrap_or(0)..])
                == print.tail_hash
                || identity::was_punched(&self.file, &row)?);
        if same {
            self.position = row.position;
            self.lines = LineBuffer::new(row.position, reading.max_event_bytes);
            self.head = head;
            self.tail = tail;
            self.row = Some(row);
        }
        Ok(same)
    }

    /// Forgets what was read: the file begins anew.
    pub(super) fn forget(&mut self, reading: &Reading) {
        self.row = None;
        self.position = 0;
        self.head.clear();
        self.tail.clear();
        self.lines = LineBuffer::new(0, reading.max_event_bytes);
        self.cri = CriJoiner::new(reading.max_event_bytes);
        self.space = Space::default();
    }

    /// Its size in bytes now.
    pub(super) fn size(&self) -> u64 {
        self.file.metadata().map_or(self.position, |metadata| metadata.len())
    }

    /// Whether no name leads to it any more.
    pub(super) fn is_unlinked(&self) -> bool {
        self.file.metadata().is_ok_and(|metadata| metadata.nlink() == 0)
    }

    /// Reads one chunk and turns its whole lines into records. Needs a row.
    pub(super) fn step(&mut self, reading: &Reading) -> io::Result<Step> {
        let Some(name) = self.row.as_ref().map(|row| row.name) else { return Ok(Step::AtEnd) };
        let from = self.position;
        let mut taken = Taken::default();
        self.take_lines(name, reading, &mut taken);
        if taken.lines == 0 {
            let chunk = read_at(&self.file, self.lines.read_end(), CHUNK_BYTES)?;
            let has_more = self.take_in(&chunk, reading)?;
            if has_more {
                self.grown_at = Instant::now();
                self.has_grown |= self.was_at_end;
            }
            self.take_lines(name, reading, &mut taken);
            if !has_more && taken.lines == 0 {
                self.was_at_end = true;
                return Ok(if self.is_unchanged()? { Step::AtEnd } else { Step::Rewritten });
            }
        }
        let position = self.cri.joining_since().unwrap_or_else(|| self.lines.line_start());
        let head = match self.head.len() {
            WINDOW_BYTES => None,
            _ => Some(read_at(&self.file, 0, WINDOW_BYTES)?),
        };
        let tail = if position == from { None } else { Some(self.window_before(position)?) };
        if !self.is_unchanged()? {
            return Ok(Step::Rewritten);
        }
        self.head = head.unwrap_or_else(|| std::mem::take(&mut self.head));
        self.tail = tail.unwrap_or_else(|| std::mem::take(&mut self.tail));
        self.position = position;
        Ok(match self.advance(from, false) {
            Some(advance) => Step::Batch(Batch { records: taken.records, advance, ignored: taken.ignored }),
            None => Step::AtEnd,
        })
    }

    /// Takes in what was read, up to the next hole, or passes over one. False where there is nothing yet but NUL
    /// bytes: what stands there may still come.
    fn take_in(&mut self, chunk: &[u8], reading: &Reading) -> io::Result<bool> {
        match holes::first_in(chunk) {
            None => self.lines.extend(chunk),
            Some(0) => {
                let Some(end) = holes::end(&self.file, self.lines.read_end())? else { return Ok(false) };
                self.take_nuls(end, reading);
            }
            Some(text) => self.lines.extend(&chunk[..text]),
        }
        Ok(!chunk.is_empty())
    }

    /// Takes in the NUL bytes up to `end`: as a hole, or as part of a line where they are few.
    fn take_nuls(&mut self, end: u64, reading: &Reading) {
        match usize::try_from(end - self.lines.read_end()) {
            Ok(few) if few < holes::MIN_HOLE_BYTES => self.lines.extend(&vec![0; few]),
            _ => {
                // What waits for its end is cut off like an unfinished line.
                self.lines.pass_hole(self.cri.joining_since(), end);
                self.cri = CriJoiner::new(reading.max_event_bytes);
            }
        }
    }

    /// What is left of a file to which nothing will be added: its last, unfinished line, and its end.
    ///
    /// The position stays before that line, so that, should more come after all, it is read as a whole.
    pub(super) fn finish(&mut self, reading: &Reading) -> Option<Batch> {
        let name = self.row.as_ref()?.name;
        let size = self.size();
        if size > self.lines.read_end() && matches!(holes::end(&self.file, self.lines.read_end()), Ok(None)) {
            self.take_nuls(size, reading);
        }
        let mut records = Vec::new();
        if let Some((offset, line)) = self.lines.take_rest() {
            match (reading.framing, line) {
                (_, Line::Hole { end }) => records.push(hole(name, &self.path, offset, end)),
                (Framing::Cri, Line::Whole(text)) => {
                    records.extend(
                        self.cri.push(offset, text).and_then(|joined| joined_record(name, &joined, reading)),
                    );
                }
                (_, line) => records.extend(record(name, offset, &line, reading)),
            }
        }
        records.extend(self.cri.take_rest().iter().filter_map(|joined| joined_record(name, joined, reading)));
        let advance = self.advance(self.position, true)?;
        Some(Batch { records, ignored: 0, advance })
    }

    /// A step of the committed position from `from` to where reading stands.
    fn advance(&self, from: u64, finished: bool) -> Option<Advance> {
        Some(Advance {
            incarnation: self.row.as_ref()?.id,
            from,
            to: self.position,
            fingerprint: identity::fingerprint(&self.head, &self.tail, self.position),
            last_path: self.path.to_string_lossy().into_owned(),
            inode: self.inode.1,
            finished,
        })
    }

    fn window_before(&self, position: u64) -> io::Result<Vec<u8>> {
        let from = position.saturating_sub(WINDOW_BYTES as u64);
        read_at(&self.file, from, usize::try_from(position - from).unwrap_or(0))
    }

    /// Whether the file is as long as what was read of it, and still holds, at its head and before the
    /// position, what stood there. Asked *after* reading: a truncation cannot be undone, so what was read
    /// before a good answer is genuine.
    pub(super) fn is_unchanged(&self) -> io::Result<bool> {
        if self.file.metadata()?.len() < self.lines.read_end() {
            return Ok(false);
        }
        let known_head = usize::try_from(self.position).unwrap_or(usize::MAX).min(self.head.len());
        if known_head == 0 {
            // Nothing is journaled yet: the file is the one that was named if it has that first line.
            let head = read_at(&self.file, 0, WINDOW_BYTES)?;
            let first = identity::hash(identity::first_line(&head).unwrap_or(&head));
            return Ok(self.row.as_ref().is_none_or(|row| first == row.first_line_hash));
        }
        Ok(self.window_before(self.position)? == self.tail
            && read_at(&self.file, 0, known_head)? == self.head[..known_head])
    }

    fn take_lines(&mut self, name: Incarnation, reading: &Reading, taken: &mut Taken) {
        while taken.records.len() < MAX_RECORDS && taken.bytes < MAX_RECORD_BYTES {
            let Some((offset, line)) = self.lines.next_line() else { break };
            taken.lines += 1;
            let made = match (reading.framing, &line) {
                (_, Line::Hole { end }) => Some(hole(name, &self.path, offset, *end)),
                (Framing::Cri, Line::Whole(text)) => match self.cri.push(offset, text) {
                    Some(joined) => joined_record(name, &joined, reading),
                    None => continue,
                },
                _ => record(name, offset, &line, reading),
            };
            match made {
                Some(record) => {
                    taken.bytes += record.original.len();
                    taken.records.push(record);
                }
                None => taken.ignored += 1,
            }
        }
    }
}

#[derive(Default)]
struct Taken {
    lines: usize,
    bytes: usize,
    records: Vec<NewRecord>,
    ignored: u64,
}

/// The record that a line is; `None` where it is not kept.
fn record(name: Incarnation, offset: u64, line: &Line<'_>, reading: &Reading) -> Option<NewRecord> {
    match line {
        Line::Whole(text) => whole_record(name, offset, text, reading),
        Line::Oversized { head, length_bytes, sha256 } => {
            let id = EventId::of_line(name, offset, head);
            Some(records::oversized(Some(id), offset, head, *length_bytes, sha256, reading.framing))
        }
        Line::Hole { .. } => None, // its record is no line's
    }
}

/// The record of a hole, with the lines that it cut.
fn hole(name: Incarnation, path: &Path, from: u64, to: u64) -> NewRecord {
    let path = path.to_string_lossy().into_owned();
    let message = format!(
        "{path} has a hole: lines between byte {from} and byte {to} were given back to the file system, or never written"
    );
    records::gap(name, &GapDetail { reason: GapReason::Hole, path: Some(path), from, to: Some(to), message })
}

fn joined_record(name: Incarnation, joined: &Joined, reading: &Reading) -> Option<NewRecord> {
    match &joined.oversized {
        None => whole_record(name, joined.offset, &joined.raw, reading),
        Some((length_bytes, sha256)) => {
            let (offset, head) = (joined.offset, &joined.raw);
            let id = EventId::of_line(name, offset, head);
            Some(records::oversized(Some(id), offset, head, *length_bytes, sha256, reading.framing))
        }
    }
}

fn whole_record(name: Incarnation, offset: u64, text: &[u8], reading: &Reading) -> Option<NewRecord> {
    let id = EventId::of_line(name, offset, text);
    records::whole(Some(id), offset, text, reading.framing, &reading.instance)
}
