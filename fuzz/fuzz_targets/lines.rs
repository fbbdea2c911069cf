//! Whatever stands in a file, and in whatever pieces it is read: every byte is in one line or its newline, at the
//! offset that is told, whole or with its length and hash; and so are the joined pieces of container runtimes.
//! The first two bytes are the limit, the next says how much is read at once, the next where reading begins.
#![no_main]

use audit_relay::source::file::cri::CriJoiner;
use audit_relay::source::file::lines::{Line, LineBuffer, OVERSIZED_KEPT_BYTES};
use libfuzzer_sys::fuzz_target;
use sha2::{Digest, Sha256};

fuzz_target!(|bytes: &[u8]| {
    let Some((&[low, high, piece, start], file)) = bytes.split_first_chunk::<4>() else { return };
    let (limit, start) = (usize::from(u16::from_le_bytes([low, high])), u64::from(start));
    let mut buffer = LineBuffer::new(start, limit);
    let mut expected = expected(file, start);
    let mut joiner = CriJoiner::new(limit);
    let mut joined_to = 0;
    let mut joins = |offset: u64, line: Line<'_>| {
        let Line::Whole(line) = line else { return };
        if let Some(joined) = joiner.push(offset, line) {
            assert!(joined.offset <= offset);
            assert!(joined.raw.ends_with(line) || joined.oversized.is_some());
            joined_to = joined_to.max(joined.offset);
        }
        assert!(joiner.joining_since().is_none_or(|since| since <= offset));
    };
    for chunk in file.chunks(usize::from(piece) + 1) {
        buffer.extend(chunk);
        while let Some((offset, line)) = buffer.next_line() {
            check(limit, expected.next(), offset, &line);
            joins(offset, line);
        }
    }
    assert_eq!(buffer.read_end(), start + file.len() as u64);
    let ends_whole = file.is_empty() || file.ends_with(b"\n");
    assert_eq!(buffer.line_start() == buffer.read_end(), ends_whole);
    match buffer.take_rest() {
        Some((offset, line)) => check(limit, expected.next(), offset, &line),
        None => assert!(ends_whole),
    }
    assert_eq!(expected.next(), None);
    for rest in joiner.take_rest() {
        assert!(rest.raw.len() <= limit || rest.oversized.is_some());
    }
});

/// The lines of a file as anybody would cut them, and where they begin.
fn expected(file: &[u8], start: u64) -> impl Iterator<Item = (u64, &[u8])> {
    let mut offset = start;
    let last = if file.ends_with(b"\n") { &file[..file.len() - 1] } else { file };
    let lines = (!file.is_empty()).then(|| last.split(|byte| *byte == b'\n'));
    lines.into_iter().flatten().map(move |line| {
        let at = offset;
        offset += line.len() as u64 + 1;
        (at, line)
    })
}

fn check(limit: usize, expected: Option<(u64, &[u8])>, offset: u64, line: &Line<'_>) {
    let (at, whole) = expected.expect("a line that is not there");
    assert_eq!(offset, at);
    match line {
        Line::Hole { .. } => panic!("a hole that was not met"),
        Line::Whole(line) => {
            assert_eq!(*line, whole);
            assert!(line.len() <= limit);
        }
        Line::Oversized { head, length_bytes, sha256 } => {
            assert!(whole.len() > limit);
            assert_eq!(*length_bytes, whole.len() as u64);
            assert_eq!(*head, &whole[..OVERSIZED_KEPT_BYTES.min(limit)]);
            assert_eq!(sha256[..], Sha256::digest(whole)[..]);
        }
    }
}
