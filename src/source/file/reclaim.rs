//! Gives the space of what was delivered back to the file system (`reclaim: punch_hole`), for a file whose writer
//! never rotates it.
//!
//! Nothing is copied or truncated, and the writer notices nothing: offsets and size stay, the bytes become a hole.
//! Whole blocks only, never the first one, by which the file is known, nor those that the position stands in and
//! before, by which it is found again; only what every destination has passed, and the journal therefore has on disk.
//! The descriptor that is read through stays read-only: another is opened for each round.

use std::collections::VecDeque;
use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FallocateFlags, SeekFrom, fallocate, seek};
use rustix::io::Errno;

use super::directory::looks_rotated;
use super::follow::{Follow, Role};
use super::identity::{WINDOW_BYTES, inode_of};
use super::tailer::{Outcome, Pause, Tailer};
use crate::config::plan::Reclaim;
use crate::event::{Framing, Sequence};
use crate::journal::{JournalError, Passed};
use crate::source::ReclaimStatus;

/// What is given back at once, in bytes; more where the blocks of the file system are larger.
const BLOCK_BYTES: u64 = 64 * 1024;

/// How long to wait between two rounds.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);

/// How long to wait where the file system has no room to note a hole in.
const ROOM_INTERVAL: Duration = Duration::from_secs(30);

/// How many marks a [`Passage`] keeps.
const MAX_MARKS: usize = 1_024;

/// What can be punched at once: a multiple of the file system's block, which is freed as a whole or not at all.
fn block_bytes(file_system_block: u64) -> u64 {
    let unit = file_system_block.max(1);
    BLOCK_BYTES.div_ceil(unit) * unit
}

/// The first byte that may be part of a hole, of a file that was read from `read_from` on: never of the first block.
fn begin(block: u64, read_from: u64) -> u64 {
    read_from.max(1).div_ceil(block).saturating_mul(block)
}

/// Up to where a hole that begins at `begin` may reach when everything before `passed` is delivered, and the file is
/// read up to `position`: whole blocks, and at least one before the position is left.
fn end(block: u64, begin: u64, passed: u64, position: u64) -> u64 {
    let end = passed.min(position.saturating_sub(block.max(WINDOW_BYTES as u64)));
    (end - end % block).max(begin)
}

/// Up to where every destination has passed a file: what was read of it by when, compared with how far they are.
#[derive(Debug)]
struct Passage {
    /// Every record from before this position had been accepted at this sequence. Both grow.
    marks: VecDeque<(Sequence, u64)>,
    /// How far marks are apart, in bytes, at least.
    spacing: u64,
    passed: u64,
}

impl Default for Passage {
    fn default() -> Self {
        Self { marks: VecDeque::new(), spacing: BLOCK_BYTES, passed: 0 }
    }
}

impl Passage {
    /// Up to where the file is passed once every destination has passed `through`; all records from before
    /// `position` have sequences up to `last`, the last one that was given.
    fn passed(&mut self, through: Sequence, last: Sequence, position: u64) -> u64 {
        if through >= last {
            *self = Self { passed: position, ..Self::default() };
            return position;
        }
        let known = self.marks.back().map_or(self.passed, |(_, position)| *position);
        if position >= known.saturating_add(self.spacing) {
            self.marks.push_back((last, position));
        }
        if self.marks.len() > MAX_MARKS {
            // What is passed is known a little later.
            self.marks = self.marks.iter().copied().skip(1).step_by(2).collect();
            self.spacing = self.spacing.saturating_mul(2);
        }
        while let Some((sequence, position)) = self.marks.front().copied()
            && sequence <= through
        {
            self.passed = position;
            self.marks.pop_front();
        }
        self.passed
    }
}

/// Why nothing is given back.
#[derive(Debug)]
struct Refusal {
    why: String,
    /// Owner and mode of the file when that was found: another may be the remedy.
    rights: (u32, u32, u32),
    /// When it is tried again in any case.
    again: Option<Instant>,
}

/// The space of one open file.
#[derive(Debug, Default)]
pub(super) struct Space {
    measured: Option<Measured>,
    passage: Passage,
    refusal: Option<Refusal>,
    /// Why it is left alone for now.
    left: Option<String>,
}

#[derive(Debug, Clone, Copy)]
struct Measured {
    block: u64,
    /// Where the hole begins.
    from: u64,
    /// Where it ends; as `from` where there is none.
    to: u64,
}

impl Measured {
    /// What the file system says of a file that may have been punched in an earlier run.
    fn of(file: &File, read_from: u64) -> io::Result<Self> {
        let block = block_bytes(file.metadata()?.blksize());
        let from = begin(block, read_from);
        let is_hole = seek(file, SeekFrom::Hole(from)).is_ok_and(|hole| hole == from);
        let to = match is_hole.then(|| seek(file, SeekFrom::Data(from))) {
            Some(Ok(data)) => data - data % block,
            _ => from,
        };
        Ok(Self { block, from, to })
    }

    /// Where the hole may end.
    fn end(&self, passed: u64, position: u64) -> u64 {
        end(self.block, self.from, passed, position)
    }
}

impl Space {
    /// How it stands.
    pub(super) fn status(&self) -> ReclaimStatus {
        let (from, to) = self.measured.map_or((0, 0), |measured| (measured.from, measured.to));
        let why = self.refusal.as_ref().map(|refusal| &refusal.why).or(self.left.as_ref());
        ReclaimStatus { from, to, held_up: why.cloned() }
    }

    /// Forgets why it was refused.
    pub(super) fn reconsider(&mut self) {
        self.refusal = None;
    }

    /// Whether something could be given back of a file that is read up to `position`, once it is passed.
    fn is_due(&self, position: u64) -> bool {
        let refused = self.refusal.as_ref().is_some_and(|refusal| refusal.again.is_none());
        !refused && self.measured.is_none_or(|measured| measured.end(position, position) > measured.to)
    }

    /// What is to be given back now: nothing, or a range behind what was.
    fn wanted(&mut self, known: &Passed, position: u64) -> Range<u64> {
        let Some(measured) = self.measured else { return 0..0 };
        let passed = self.passage.passed(known.through, known.last, position).max(known.offset.unwrap_or(0));
        let elsewhere = known.elsewhere.as_ref().map_or(u64::MAX, |(_, position)| *position);
        measured.to..measured.end(passed, position.min(elsewhere)).max(measured.to)
    }

    /// Whether a refusal still stands.
    fn is_refused(&mut self, metadata: &Metadata) -> bool {
        let stands = self.refusal.as_ref().is_some_and(|refusal| {
            refusal.rights == rights(metadata) && refusal.again.is_none_or(|again| Instant::now() < again)
        });
        if !stands {
            self.refusal = None;
        }
        stands
    }
}

fn rights(metadata: &Metadata) -> (u32, u32, u32) {
    (metadata.uid(), metadata.gid(), metadata.mode())
}

impl Follow {
    /// Why this file is left as it is, whatever was read of it; `Ok(false)` where that needs no word.
    fn may_be_punched(&self, metadata: &Metadata) -> Result<bool, String> {
        match metadata.nlink() {
            // Nobody else can read it, and nobody else can free it while its writer holds it.
            0 => Ok(true),
            // A rotated file is somebody's archive.
            1 => Ok(self.role == Role::Current && !looks_rotated(&self.path)),
            _ => Err("the file has another name (a hard link), under which it may be kept".to_owned()),
        }
    }
}

/// Makes a hole, through a descriptor of its own that leads to the very file that is read.
fn punch(file: &File, hole: &Range<u64>) -> Result<(), (io::Error, String)> {
    // No path is walked: what is at the path now may be another file.
    let itself = format!("/proc/self/fd/{}", file.as_raw_fd());
    let refused = |error: io::Error| {
        let remedy = match error.kind() {
            io::ErrorKind::PermissionDenied => {
                ": it cannot be opened for writing; its owner can, who is Flipt's user as a rule"
            }
            io::ErrorKind::ReadOnlyFilesystem => ": it is mounted read-only",
            io::ErrorKind::NotFound => ": /proc is not mounted",
            _ => ": it cannot be opened for writing",
        };
        (error, remedy.to_owned())
    };
    let writing = OpenOptions::new().write(true).open(Path::new(&itself)).map_err(refused)?;
    let same = file.metadata().and_then(|read| Ok(inode_of(&read) == inode_of(&writing.metadata()?)));
    match same {
        Ok(true) => {}
        Ok(false) => return Err((io::Error::from(Errno::STALE), ": it is another file".to_owned())),
        Err(error) => return Err((error, String::new())),
    }
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    loop {
        return match fallocate(&writing, flags, hole.start, hole.end - hole.start) {
            Ok(()) => Ok(()),
            Err(Errno::INTR) => continue,
            Err(errno) => {
                let what = match errno {
                    Errno::OPNOTSUPP | Errno::NOSYS => ": this file system cannot make holes in files",
                    Errno::PERM => ": the file may only be appended to, or not be changed",
                    _ => "",
                };
                Err((errno.into(), what.to_owned()))
            }
        };
    }
}

/// Whether an error passes by itself.
fn is_for_want_of_room(error: &io::Error) -> bool {
    let passing = [Errno::NOSPC, Errno::DQUOT, Errno::NOMEM, Errno::AGAIN, Errno::BUSY];
    error.raw_os_error().is_some_and(|code| passing.iter().any(|errno| errno.raw_os_error() == code))
}

impl Tailer {
    /// Whether this source gives space back at all.
    pub(super) fn reclaims(&self) -> bool {
        self.source.plan.reclaim == Reclaim::PunchHole
    }

    /// Whether something may soon be given back, without the file changing: destinations move on.
    pub(super) fn awaits_reclaim(&self) -> bool {
        self.reclaims()
            && self.follows.iter().any(|follow| {
                let may = follow
                    .file
                    .metadata()
                    .is_ok_and(|metadata| follow.may_be_punched(&metadata).unwrap_or(false));
                may && follow.row.as_ref().is_some_and(|row| follow.space.is_due(row.position))
            })
    }

    /// Tries again what was refused.
    pub(super) fn reconsider_reclaim(&mut self) {
        for follow in &mut self.follows {
            follow.space.reconsider();
        }
        self.said.retain(|said| !said.starts_with(HELD_UP));
    }

    /// A round, unless the last one is too recent: gives back what may be.
    pub(super) fn reclaim(&mut self) -> Outcome<()> {
        let now = Instant::now();
        if !self.reclaims() || self.next_reclaim.is_some_and(|next| now < next) {
            return Ok(());
        }
        self.next_reclaim = Some(now + INTERVAL);
        for inode in self.follows.iter().map(|follow| follow.inode).collect::<Vec<_>>() {
            if let Some(index) = self.index_of(inode) {
                let path = self.follows[index].path.clone();
                let outcome = self.reclaim_of(index);
                self.forgive(&path, outcome)?;
            }
        }
        Ok(())
    }

    fn reclaim_of(&mut self, index: usize) -> Outcome<()> {
        let follow = &mut self.follows[index];
        let Some(row) = &follow.row else { return Ok(()) };
        // What the journal has, not what was read.
        let (incarnation, position, read_from) = (row.id, row.position, row.read_from);
        let metadata = follow.file.metadata()?;
        follow.space.left = None;
        match follow.may_be_punched(&metadata) {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(why) => {
                follow.space.left = Some(why.clone());
                self.say_held_up(index, &why);
                return Ok(());
            }
        }
        if follow.space.measured.is_none() {
            follow.space.measured = Some(Measured::of(&follow.file, read_from)?);
        }
        if follow.space.is_refused(&metadata) || !follow.space.is_due(position) {
            return Ok(());
        }
        let mut known = match self.source.journal.passed(self.id, incarnation) {
            Ok(Some(known)) => known,
            Err(JournalError::Closed) => return Err(Pause::Closed),
            // No reason to stop reading.
            Ok(None) | Err(JournalError::Io(_)) => return Ok(()),
        };
        if self.reading.framing == Framing::Cri {
            // A line of two pieces may be accepted after one that begins behind it.
            known.offset = None;
        }
        let follow = &mut self.follows[index];
        let wanted = follow.space.wanted(&known, position);
        if let Some((source, read_to)) = known.elsewhere.filter(|(_, read_to)| *read_to < position) {
            follow.space.left =
                Some(format!("the source `{source}` reads the same file, and is at byte {read_to} of it"));
        }
        // As late as can be: what was truncated is another file from then on.
        if wanted.is_empty() || !follow.is_unchanged()? {
            return Ok(());
        }
        match punch(&follow.file, &wanted) {
            Ok(()) => {
                if let Some(measured) = &mut follow.space.measured {
                    measured.to = wanted.end;
                }
                let bytes = wanted.end - wanted.start;
                tracing::debug!(
                    source = self.source.name,
                    path = %follow.path.display(),
                    from = wanted.start,
                    to = wanted.end,
                    "space was given back"
                );
                self.status.send_modify(|status| status.reclaimed_bytes += bytes);
            }
            Err((error, what)) => {
                let again = is_for_want_of_room(&error).then(|| Instant::now() + ROOM_INTERVAL);
                let why = format!("{error}{what}");
                follow.space.refusal = Some(Refusal { why: why.clone(), rights: rights(&metadata), again });
                self.say_held_up(index, &why);
            }
        }
        Ok(())
    }

    fn say_held_up(&mut self, index: usize, why: &str) {
        let path = self.follows[index].path.display();
        let message = format!("{HELD_UP} of {path} is given back: {why}; it is read on");
        self.say_once(message);
    }
}

/// How what is said of it begins.
const HELD_UP: &str = "no space";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn only_whole_blocks_between_the_first_and_the_one_before_the_position(
            unit in prop_oneof![Just(0_u64), Just(512), Just(4_096), Just(65_536), Just(131_072), Just(4 << 20), 1..200_000_u64],
            read_from in prop_oneof![Just(0_u64), 0..1_000_000_u64, 0..u64::MAX / 2],
            passed in prop_oneof![0..1_000_000_u64, 0..u64::MAX / 2],
            position in prop_oneof![0..1_000_000_u64, 0..u64::MAX / 2],
        ) {
            let block = block_bytes(unit);
            prop_assert!(block >= BLOCK_BYTES && block.is_multiple_of(unit.max(1)));
            prop_assert!(block < BLOCK_BYTES + unit.max(1), "no more than is needed");
            let begin = begin(block, read_from);
            prop_assert!(begin >= block && begin >= read_from && begin.is_multiple_of(block));
            prop_assert!(begin == block || begin - block < read_from, "no block more is left");
            let end = end(block, begin, passed, position);
            prop_assert!(end >= begin && end.is_multiple_of(block));
            if end > begin {
                prop_assert!(end <= passed);
                prop_assert!(end + block <= position);
                prop_assert!(end + WINDOW_BYTES as u64 <= position, "the tail by which it is found");
            }
            let next = end + block;
            prop_assert!(next > passed || next + block > position, "no block more could have been taken");
        }

        /// A model: each record stands at a sequence and ends at a byte; some lines have no record.
        #[test]
        fn nothing_counts_as_passed_that_a_destination_has_not_passed(
            steps in prop::collection::vec((0..3_u64, 0..5_u64, 0..20_000_u64, 0..4_u64), 1..1_000),
        ) {
            let mut passage = Passage::default();
            let (mut last, mut position, mut through) = (0_u64, 0_u64, 0_u64);
            let mut records: Vec<(Sequence, u64)> = Vec::new();
            for (own, others, bytes, passes) in steps {
                for _ in 0..own {
                    last += 1;
                    position += 1 + bytes;
                    records.push((last, position));
                }
                last += others;
                position += bytes; // a line that is not kept
                through = (through + passes).min(last);
                let passed = passage.passed(through, last, position);
                prop_assert!(passage.marks.len() <= MAX_MARKS);
                let owed = records.iter().find(|(sequence, _)| *sequence > through);
                if let Some((_, end)) = owed {
                    prop_assert!(passed < *end, "{passed} of a record that ends at {end} and is owed");
                }
            }
            // Once all is passed, all is.
            prop_assert_eq!(passage.passed(last, last, position), position);
        }
    }

    #[test]
    fn marks_that_were_thinned_out_still_tell() {
        let mut passage = Passage::default();
        for number in 1..=100_000 {
            assert_eq!(passage.passed(0, number, number * 1_000), 0);
        }
        assert!(passage.marks.len() <= MAX_MARKS);
        let half = passage.passed(50_000, 100_000, 100_000_000);
        assert!((49_000_000..=50_000_000).contains(&half), "{half}");
        assert_eq!(passage.passed(100_000, 100_000, 100_000_000), 100_000_000);
    }
}
