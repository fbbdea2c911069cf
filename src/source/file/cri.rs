//! Joins the partial lines of container runtimes (`framing: cri`).
//!
//! A runtime cuts a long line into pieces, `time stream P text`, the last one marked `F`; pieces of the
//! two streams may alternate.

use sha2::{Digest, Sha256};

use super::lines::OVERSIZED_KEPT_BYTES;
use crate::flipt::CriLine;

/// A whole line of the program in the container.
#[derive(Debug, PartialEq, Eq)]
pub struct Joined {
    /// Where its first piece begins in the file.
    pub offset: u64,
    /// Its pieces as they stand in the file, joined by newlines (the head of them where oversized).
    pub raw: Vec<u8>,
    /// Whole length and SHA-256 of the pieces, where they are longer than the limit.
    pub oversized: Option<(u64, [u8; 32])>,
}

/// Pieces that wait for their end, one line for each stream.
#[derive(Debug)]
pub struct CriJoiner {
    max_bytes: usize,
    waiting: Vec<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    stream: Vec<u8>,
    offset: u64,
    raw: Vec<u8>,
    length: u64,
    hasher: Sha256,
    /// How many lines of other streams have gone by since.
    passed_by: u32,
}

/// After so many other lines a piece that waits for its end no longer holds the position back: the runtime
/// was restarted, and its end will not come.
const MAX_PASSED_BY: u32 = 1_000;

impl CriJoiner {
    /// Nothing waits yet; a joined line longer than this is oversized.
    pub fn new(max_bytes: usize) -> Self {
        Self { max_bytes, waiting: Vec::new() }
    }

    /// The offset of the earliest piece that waits: nothing from there on is settled.
    pub fn joining_since(&self) -> Option<u64> {
        let patient = self.waiting.iter().filter(|waiting| waiting.passed_by < MAX_PASSED_BY);
        patient.map(|waiting| waiting.offset).min()
    }

    /// Takes one line of the file; gives a whole line where this ends one. A line that is none of a
    /// container runtime's passes through as it is.
    pub fn push(&mut self, offset: u64, line: &[u8]) -> Option<Joined> {
        let Some(piece) = CriLine::parse(line) else {
            return Some(Joined { offset, raw: line.to_vec(), oversized: None });
        };
        let at = self.waiting.iter().position(|waiting| waiting.stream == piece.stream);
        for (index, waiting) in self.waiting.iter_mut().enumerate() {
            waiting.passed_by += u32::from(Some(index) != at);
        }
        match (at, piece.partial) {
            (None, false) => Some(Joined { offset, raw: line.to_vec(), oversized: None }),
            (None, true) => {
                let mut waiting = Waiting {
                    stream: piece.stream.to_vec(),
                    offset,
                    raw: Vec::new(),
                    length: 0,
                    hasher: Sha256::new(),
                    passed_by: 0,
                };
                waiting.add(line, self.max_bytes);
                self.waiting.push(waiting);
                None
            }
            (Some(at), true) => {
                self.waiting[at].add(line, self.max_bytes);
                None
            }
            (Some(at), false) => {
                let mut waiting = self.waiting.swap_remove(at);
                waiting.add(line, self.max_bytes);
                Some(waiting.end(self.max_bytes))
            }
        }
    }

    /// What waits for an end that will not come.
    pub fn take_rest(&mut self) -> Vec<Joined> {
        self.waiting.sort_by_key(|waiting| waiting.offset);
        self.waiting.drain(..).map(|waiting| waiting.end(self.max_bytes)).collect()
    }
}

impl Waiting {
    fn add(&mut self, line: &[u8], max_bytes: usize) {
        let separator: &[u8] = if self.length == 0 { b"" } else { b"\n" };
        for bytes in [separator, line] {
            self.length += bytes.len() as u64;
            self.hasher.update(bytes);
            if self.raw.len() + bytes.len() <= max_bytes {
                self.raw.extend_from_slice(bytes);
            }
        }
        if self.length > max_bytes as u64 {
            self.raw.truncate(OVERSIZED_KEPT_BYTES.min(max_bytes));
            self.raw.shrink_to_fit();
        }
    }

    fn end(self, max_bytes: usize) -> Joined {
        let oversized =
            (self.length > max_bytes as u64).then(|| (self.length, self.hasher.finalize().into()));
        Joined { offset: self.offset, raw: self.raw, oversized }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(joined: Option<Joined>) -> Option<(u64, String)> {
        joined.map(|joined| (joined.offset, String::from_utf8(joined.raw).unwrap()))
    }

    #[test]
    fn joins_each_stream_by_itself() {
        let mut joiner = CriJoiner::new(4096);
        let time = "2026-11-22T07:32:30.123456789Z";
        assert_eq!(joiner.push(0, format!("{time} stdout P {{\"a\"").as_bytes()), None);
        assert_eq!(joiner.joining_since(), Some(0));
        let other = format!("{time} stderr F oops");
        assert_eq!(text(joiner.push(50, other.as_bytes())), Some((50, other)));
        let end = joiner.push(90, format!("{time} stdout F :1}}").as_bytes());
        assert_eq!(text(end), Some((0, format!("{time} stdout P {{\"a\"\n{time} stdout F :1}}"))));
        assert_eq!(joiner.joining_since(), None);
    }

    #[test]
    fn keeps_the_head_of_what_is_too_long() {
        let mut joiner = CriJoiner::new(100);
        let piece = format!("2026-11-22T07:32:30Z stdout P {}", "x".repeat(60));
        assert_eq!(joiner.push(0, piece.as_bytes()), None);
        assert_eq!(joiner.push(91, piece.as_bytes()), None);
        let rest = joiner.take_rest();
        assert_eq!(rest.len(), 1);
        assert_eq!(rest[0].oversized.map(|(length, _)| length), Some(2 * piece.len() as u64 + 1));
        assert!(rest[0].raw.len() <= 100);
    }
}
