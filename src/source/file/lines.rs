//! Cuts the bytes of a file into lines, remembering where each began.
//!
//! Holds at most one line of the limit and one chunk in memory: of a longer line only the head is kept,
//! while length and hash go on.

use sha2::{Digest, Sha256};

pub use crate::source::records::OVERSIZED_KEPT_BYTES;

/// A whole line, without its newline.
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// Within the limit.
    Whole(&'a [u8]),
    /// Longer than the limit.
    Oversized {
        /// Its first bytes.
        head: &'a [u8],
        /// Its whole length in bytes.
        length_bytes: u64,
        /// SHA-256 of the whole of it.
        sha256: [u8; 32],
    },
    /// None that could be read: a hole, the line that it cut off, and what follows it up to the next newline.
    Hole {
        /// The first byte after it.
        end: u64,
    },
}

/// Bytes that were read and are not yet a line.
#[derive(Debug)]
pub struct LineBuffer {
    max_line_bytes: usize,
    /// How much of a long line is kept.
    kept_bytes: usize,
    /// The file offset of `bytes[0]` (of the line's first byte while a long line goes by).
    start: u64,
    bytes: Vec<u8>,
    /// Up to here `bytes` was handed out as lines.
    consumed: usize,
    /// Up to here `bytes` holds no newline.
    scanned: usize,
    long: Option<LongLine>,
    /// While what follows a hole goes by: where the line that the hole cut off begins.
    hole: Option<u64>,
}

#[derive(Debug)]
struct LongLine {
    hasher: Sha256,
    length: u64,
}

impl LineBuffer {
    /// An empty buffer for a file that is read from `start`.
    pub fn new(start: u64, max_line_bytes: usize) -> Self {
        let kept_bytes = OVERSIZED_KEPT_BYTES.min(max_line_bytes);
        Self {
            max_line_bytes,
            kept_bytes,
            start,
            bytes: Vec::new(),
            consumed: 0,
            scanned: 0,
            long: None,
            hole: None,
        }
    }

    /// The file offset at which the next unread byte lies.
    pub fn read_end(&self) -> u64 {
        match &self.long {
            Some(long) => self.start + long.length,
            None => self.start + self.bytes.len() as u64,
        }
    }

    /// The file offset of the first byte that was not handed out as part of a line.
    pub fn line_start(&self) -> u64 {
        self.hole.unwrap_or(self.start + self.consumed as u64)
    }

    /// Passes over a hole that begins where reading stands and ends at `end`. What it cut off begins at `since` where
    /// that is before the line.
    pub fn pass_hole(&mut self, since: Option<u64>, end: u64) {
        let line_start = self.line_start();
        let since = since.map_or(line_start, |since| since.min(line_start));
        *self = Self { hole: Some(since), ..Self::new(end, self.max_line_bytes) };
    }

    /// Takes bytes that follow what was taken before.
    pub fn extend(&mut self, chunk: &[u8]) {
        if self.consumed > 0 && self.long.is_none() {
            self.start += self.consumed as u64;
            self.bytes.drain(..self.consumed);
            self.scanned -= self.consumed;
            self.consumed = 0;
        }
        let Some(long) = &mut self.long else {
            self.bytes.extend_from_slice(chunk);
            return;
        };
        // The rest of a long line goes by: hashed and counted up to its newline, which ends it.
        let rest = chunk.iter().position(|byte| *byte == b'\n').unwrap_or(chunk.len());
        long.hasher.update(&chunk[..rest]);
        long.length += rest as u64;
        if rest < chunk.len() {
            self.bytes.truncate(self.kept_bytes);
            self.bytes.extend_from_slice(&chunk[rest..]);
            self.scanned = self.kept_bytes;
        }
    }

    /// The next whole line and the offset of its first byte; `None` until more bytes come.
    pub fn next_line(&mut self) -> Option<(u64, Line<'_>)> {
        if let Some(since) = self.hole {
            return self.end_hole().map(|end| (since, Line::Hole { end }));
        }
        if self.long.is_some() {
            return self.end_long_line();
        }
        let Some(at) = self.bytes[self.scanned..].iter().position(|byte| *byte == b'\n') else {
            self.scanned = self.bytes.len();
            if self.bytes.len() - self.consumed > self.max_line_bytes {
                self.begin_long_line();
            }
            return None;
        };
        let (from, to) = (self.consumed, self.scanned + at);
        let offset = self.start + from as u64;
        self.consumed = to + 1;
        self.scanned = self.consumed;
        if to - from > self.max_line_bytes {
            let line = &self.bytes[from..to];
            let head = &line[..self.kept_bytes.min(line.len())];
            let sha256 = Sha256::digest(line).into();
            return Some((offset, Line::Oversized { head, length_bytes: line.len() as u64, sha256 }));
        }
        Some((offset, Line::Whole(&self.bytes[from..to])))
    }

    /// What is left without a newline, when no more is expected: the last line of a finished file.
    pub fn take_rest(&mut self) -> Option<(u64, Line<'_>)> {
        let length = self.read_end() - self.line_start();
        if length == 0 {
            return None;
        }
        if let Some(since) = self.hole {
            let end = self.read_end();
            *self = Self::new(end, self.max_line_bytes);
            return Some((since, Line::Hole { end }));
        }
        self.extend(b"\n");
        self.next_line()
    }

    /// After a hole: lets everything go by up to a newline. Gives the first byte after that, once it came.
    fn end_hole(&mut self) -> Option<u64> {
        let Some(at) = self.bytes.iter().position(|byte| *byte == b'\n') else {
            self.start += self.bytes.len() as u64;
            self.bytes.clear();
            return None;
        };
        self.hole = None;
        self.consumed = at + 1;
        self.scanned = self.consumed;
        Some(self.line_start())
    }

    fn begin_long_line(&mut self) {
        self.start += self.consumed as u64;
        self.bytes.drain(..self.consumed);
        self.consumed = 0;
        let mut hasher = Sha256::new();
        hasher.update(&self.bytes);
        self.long = Some(LongLine { hasher, length: self.bytes.len() as u64 });
        self.bytes.truncate(self.kept_bytes);
        self.bytes.shrink_to_fit();
        self.scanned = self.bytes.len();
    }

    /// After the newline of a long line came: `bytes` is its head, then the newline and what follows.
    fn end_long_line(&mut self) -> Option<(u64, Line<'_>)> {
        if self.bytes.len() <= self.kept_bytes {
            return None;
        }
        let long = self.long.take()?;
        let offset = self.start;
        // From here on `bytes[consumed]` is the byte after the newline, wherever the head ended.
        self.consumed = self.kept_bytes + 1;
        self.scanned = self.consumed;
        self.start = offset + long.length + 1 - self.consumed as u64;
        let line = Line::Oversized {
            head: &self.bytes[..self.kept_bytes],
            length_bytes: long.length,
            sha256: long.hasher.finalize().into(),
        };
        Some((offset, line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Offset, length and hash of every line, however the bytes are cut into chunks.
    fn cut(content: &[u8], chunks: &[usize], limit: usize) -> Vec<(u64, u64, [u8; 32])> {
        let mut buffer = LineBuffer::new(7, limit);
        let mut lines = Vec::new();
        let mut rest = content;
        let mut sizes = chunks.iter().copied().cycle();
        while !rest.is_empty() {
            let size = sizes.next().unwrap_or(1).clamp(1, rest.len());
            let (chunk, after) = rest.split_at(size);
            rest = after;
            buffer.extend(chunk);
            while let Some((offset, line)) = buffer.next_line() {
                lines.push(describe(offset, &line));
            }
            assert_eq!(buffer.read_end(), 7 + (content.len() - rest.len()) as u64);
        }
        if let Some((offset, line)) = buffer.take_rest() {
            lines.push(describe(offset, &line));
        }
        lines
    }

    fn describe(offset: u64, line: &Line<'_>) -> (u64, u64, [u8; 32]) {
        match line {
            Line::Whole(bytes) => (offset, bytes.len() as u64, Sha256::digest(bytes).into()),
            Line::Oversized { head, length_bytes, sha256 } => {
                assert!(head.len() <= OVERSIZED_KEPT_BYTES);
                (offset, *length_bytes, *sha256)
            }
            Line::Hole { end } => (offset, end - offset, [0; 32]),
        }
    }

    fn expected(content: &[u8]) -> Vec<(u64, u64, [u8; 32])> {
        let mut offset = 7;
        let mut lines: Vec<_> = content
            .split(|byte| *byte == b'\n')
            .map(|line| {
                let described = (offset, line.len() as u64, Sha256::digest(line).into());
                offset += line.len() as u64 + 1;
                described
            })
            .collect();
        if lines.last().is_some_and(|(_, length, _)| *length == 0) {
            lines.pop();
        }
        lines
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn lines_do_not_depend_on_how_they_are_read(
            lengths in prop::collection::vec(prop_oneof![0_usize..30, 65_000_usize..70_000, 130_000_usize..200_000], 0..12),
            chunks in prop::collection::vec(1_usize..90_000, 1..5),
            ends in any::<bool>(),
        ) {
            let mut content = Vec::new();
            for (index, length) in lengths.iter().enumerate() {
                content.extend(std::iter::repeat_n(b'a' + (index % 26) as u8, *length));
                content.push(b'\n');
            }
            if !ends {
                content.extend_from_slice(b"rest");
            }
            prop_assert_eq!(cut(&content, &chunks, 128 * 1024), expected(&content));
        }
    }

    #[test]
    fn a_hole_takes_the_line_that_it_cut_and_the_rest_of_the_one_it_ends_in() {
        let mut buffer = LineBuffer::new(0, 128 * 1024);
        buffer.extend(b"one\ntw");
        assert_eq!(buffer.next_line(), Some((0, Line::Whole(b"one"))));
        assert_eq!(buffer.next_line(), None);
        buffer.pass_hole(None, 10_000);
        assert_eq!((buffer.line_start(), buffer.read_end()), (4, 10_000));
        for _ in 0..3 {
            buffer.extend(&[b'x'; 100_000]);
            assert_eq!(buffer.next_line(), None);
            assert!(buffer.bytes.is_empty());
        }
        // A second hole before the first whole line is the same one.
        buffer.pass_hole(Some(3), 400_000);
        buffer.extend(b"rest\nnext\nlast");
        assert_eq!(buffer.next_line(), Some((3, Line::Hole { end: 400_005 })));
        assert_eq!(buffer.next_line(), Some((400_005, Line::Whole(b"next"))));
        assert_eq!(buffer.next_line(), None);
        buffer.pass_hole(None, 500_000);
        buffer.extend(b"no newline");
        assert_eq!(buffer.take_rest(), Some((400_010, Line::Hole { end: 500_010 })));
        assert_eq!(buffer.take_rest(), None);
    }

    #[test]
    fn a_long_line_that_a_hole_cuts_is_part_of_it() {
        let mut buffer = LineBuffer::new(0, 1_000);
        buffer.extend(&[b'x'; 5_000]);
        assert_eq!(buffer.next_line(), None);
        buffer.pass_hole(None, 70_000);
        buffer.extend(b"\nnext\n");
        assert_eq!(buffer.next_line(), Some((0, Line::Hole { end: 70_001 })));
        assert_eq!(buffer.next_line(), Some((70_001, Line::Whole(b"next"))));
    }

    #[test]
    fn a_long_line_is_not_held_in_memory() {
        let mut buffer = LineBuffer::new(0, 128 * 1024);
        for _ in 0..100 {
            buffer.extend(&[b'x'; 64 * 1024]);
            assert_eq!(buffer.next_line(), None);
            assert!(buffer.bytes.capacity() < 512 * 1024);
        }
        buffer.extend(b"\nnext\n");
        let Some((0, Line::Oversized { length_bytes, .. })) = buffer.next_line() else {
            panic!("no long line")
        };
        assert_eq!(length_bytes, 100 * 64 * 1024);
        assert_eq!(buffer.next_line(), Some((length_bytes + 1, Line::Whole(b"next"))));
    }
}
