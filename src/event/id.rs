//! Event ids: the same for ever, ordered, and never equal for different lines.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz"; // Crockford's, in ASCII order
/// The value of each character of the alphabet; 32 for every other byte.
const DIGITS: [u8; 256] = {
    let mut digits = [32; 256];
    let mut value = 0;
    while value < 32 {
        digits[ALPHABET[value] as usize] = value as u8;
        value += 1;
    }
    digits
};
const BITS_45: u64 = (1 << 45) - 1;
const BITS_40: u64 = (1 << 40) - 1;
const ENCODED_LEN: usize = 26;

/// The name of one life of one file: the first 45 bits of a SHA-256 over the relay's name, the source,
/// the file's first line cut at 1 KiB, and an ordinal among files that begin alike.
///
/// It does not depend on paths, inodes or device numbers, so it is the same after a lost journal or a
/// volume that was attached elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(u64);

impl Incarnation {
    /// Names the incarnation of `source` (of the relay called `relay`) whose first line begins with
    /// `head` (at most 1 KiB, without the newline); `ordinal` counts earlier incarnations with that head.
    #[must_use]
    pub fn name(relay: &str, source: &str, head: &[u8], ordinal: u32) -> Self {
        let mut hasher = Sha256::new();
        for part in [relay.as_bytes(), source.as_bytes(), head] {
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
        hasher.update(ordinal.to_be_bytes());
        Self(top_45_bits(&hasher.finalize()))
    }

    /// From the 45 bits that [`Incarnation::bits`] gave.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits & BITS_45)
    }

    /// The 45 bits of the name.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }
}

/// The id of one record, for ever: in every attempt, restart, replay and hop.
///
/// 45 bits say where it came from (the file's [`Incarnation`], or the journal's epoch for what was
/// pushed), 40 bits its place there (byte offset, or sequence), 45 bits are a hash of its bytes.
/// Written as `evt_` and 26 characters of Crockford's base32, lower case, so that ids of one stream
/// sort as they were written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId {
    stream: u64,
    place: u64,
    content: u64,
}

impl EventId {
    /// The id of the bytes at `offset` of a file's incarnation.
    #[must_use]
    pub fn of_line(incarnation: Incarnation, offset: u64, line: &[u8]) -> Self {
        Self {
            stream: incarnation.bits(),
            place: offset & BITS_40,
            content: top_45_bits(&Sha256::digest(line)),
        }
    }

    /// The id of a record that has no place in a file: the journal's epoch and the record's sequence
    /// stand in for incarnation and offset.
    #[must_use]
    pub fn of_sequence(epoch: &str, sequence: u64, bytes: &[u8]) -> Self {
        Self {
            stream: top_45_bits(&Sha256::digest(epoch.as_bytes())),
            place: sequence & BITS_40,
            content: top_45_bits(&Sha256::digest(bytes)),
        }
    }

    /// Whether it can be the id of these bytes, wherever they stand.
    #[must_use]
    pub fn fits(&self, bytes: &[u8]) -> bool {
        self.fits_digest(&Sha256::digest(bytes).into())
    }

    /// Whether it can be the id of the bytes whose SHA-256 this is.
    #[must_use]
    pub fn fits_digest(&self, sha256: &[u8; 32]) -> bool {
        self.content == top_45_bits(sha256)
    }
}

fn top_45_bits(digest: &[u8]) -> u64 {
    let mut first = [0_u8; 8];
    first.copy_from_slice(&digest[..8]);
    u64::from_be_bytes(first) >> 19
}

/// Appends the low `bits` bits of `value` in base32, most significant first (`bits` is a multiple of 5).
fn encode(value: u64, bits: u32, out: &mut [u8]) {
    for (index, slot) in out.iter_mut().enumerate() {
        let shift = bits - 5 * (index as u32 + 1);
        *slot = ALPHABET[((value >> shift) & 31) as usize];
    }
}

fn decode(text: &[u8]) -> Option<u64> {
    text.iter().try_fold(0_u64, |value, character| {
        let digit = DIGITS[usize::from(*character)];
        (digit < 32).then(|| (value << 5) | u64::from(digit))
    })
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0_u8; ENCODED_LEN];
        encode(self.stream, 45, &mut text[..9]);
        encode(self.place, 40, &mut text[9..17]);
        encode(self.content, 45, &mut text[17..]);
        f.write_str("evt_")?;
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

/// The text is no event id: `evt_` and 26 characters of lower-case Crockford base32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an event id: expected \"evt_\" and 26 characters of lower-case base32")]
pub struct ParseIdError;

impl FromStr for EventId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let encoded = text.strip_prefix("evt_").ok_or(ParseIdError)?.as_bytes();
        if encoded.len() != ENCODED_LEN {
            return Err(ParseIdError);
        }
        let part = |range: std::ops::Range<usize>| decode(&encoded[range]).ok_or(ParseIdError);
        Ok(Self { stream: part(0..9)?, place: part(9..17)?, content: part(17..26)? })
    }
}

impl Serialize for EventId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EventId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// The id of a group of records that travels in one request: `bat_` and 26 characters, fixed before the
/// first attempt and kept over restarts. A group of one is known by its record's own id instead.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BatchId(String);

impl BatchId {
    /// The id of the batch that holds `members` at the destination called `destination`.
    #[must_use]
    pub fn of(destination: &str, members: &[EventId]) -> Self {
        if let [only] = members {
            return Self(only.to_string());
        }
        let mut hasher = Sha256::new();
        hasher.update(destination.as_bytes());
        for member in members {
            hasher.update(member.stream.to_be_bytes());
            hasher.update(member.place.to_be_bytes());
            hasher.update(member.content.to_be_bytes());
        }
        let digest = hasher.finalize();
        let mut text = [0_u8; ENCODED_LEN];
        for (index, slot) in text.iter_mut().enumerate() {
            *slot = ALPHABET[(digest[index] & 31) as usize];
        }
        Self(format!("bat_{}", String::from_utf8_lossy(&text)))
    }

    /// From what the journal stored.
    #[must_use]
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// As it goes out in `webhook-id`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ids_survive_writing_and_sort_by_offset(a in 0_u64..1 << 40, b in 0_u64..1 << 40, line in ".{0,40}") {
            let incarnation = Incarnation::name("relay", "flipt", b"first line", 0);
            let first = EventId::of_line(incarnation, a, line.as_bytes());
            let second = EventId::of_line(incarnation, b, line.as_bytes());
            prop_assert_eq!(first.to_string().parse::<EventId>(), Ok(first));
            prop_assert_eq!(first.to_string().len(), 30);
            prop_assert_eq!(a.cmp(&b), first.to_string().cmp(&second.to_string()));
            let longer = line.clone() + " ";
            prop_assert!(first.fits(line.as_bytes()) && !first.fits(longer.as_bytes()));
        }
    }

    #[test]
    fn an_incarnation_is_named_by_all_its_parts() {
        let name = |relay, source, head: &[u8], ordinal| Incarnation::name(relay, source, head, ordinal);
        let base = name("r", "s", b"x", 0);
        assert_eq!(base, name("r", "s", b"x", 0));
        assert_ne!(base, name("rs", "", b"x", 0));
        assert_ne!(base, name("r", "s", b"y", 0));
        assert_ne!(base, name("r", "s", b"x", 1));
    }

    #[test]
    fn refuses_what_is_no_id() {
        for text in
            ["", "evt_", "evt_0123", "bat_00000000000000000000000000", "evt_0000000000000000000000000u"]
        {
            assert_eq!(text.parse::<EventId>(), Err(ParseIdError), "{text}");
        }
    }
}
