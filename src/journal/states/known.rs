//! What was known around an event, as its record keeps it: JSON, led by a hash over it and the record's id.
//! The digest of the record does not cover it: an older release would then take the record for altered.

use sha2::{Digest, Sha256};

use crate::event::{Known, Without};

const HASH_BYTES: usize = 16;

/// As the column holds it.
pub(in crate::journal) fn kept(id: &str, known: &Known) -> Vec<u8> {
    let mut bytes = vec![0; HASH_BYTES];
    // Text, numbers and JSON that was read before serialize.
    if serde_json::to_writer(&mut bytes, known).is_err() {
        bytes.truncate(HASH_BYTES);
        bytes.extend_from_slice(b"{}");
    }
    let hash = hash(id, &bytes[HASH_BYTES..]);
    bytes[..HASH_BYTES].copy_from_slice(&hash);
    bytes
}

/// What [`kept`] wrote for the record of this id. What is damaged says so, and nothing else.
pub(in crate::journal) fn read(id: &str, bytes: &[u8]) -> Box<str> {
    let whole = bytes.split_at_checked(HASH_BYTES).filter(|(stored, json)| *stored == hash(id, json));
    match whole.map(|(_, json)| std::str::from_utf8(json)) {
        Some(Ok(json)) => json.into(),
        _ => serde_json::to_string(&Known::nothing(Without::Damaged)).unwrap_or_default().into(),
    }
}

/// The same, whatever its hash says.
pub(in crate::journal) fn unverified(bytes: &[u8]) -> Option<Box<str>> {
    std::str::from_utf8(bytes.get(HASH_BYTES..)?).ok().map(Into::into)
}

fn hash(id: &str, json: &[u8]) -> [u8; HASH_BYTES] {
    let mut hasher = Sha256::new();
    hasher.update(id.as_bytes());
    hasher.update(json);
    let mut hash = [0; HASH_BYTES];
    hash.copy_from_slice(&hasher.finalize()[..HASH_BYTES]);
    hash
}
