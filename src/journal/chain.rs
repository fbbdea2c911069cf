//! What proves that a record is still what was accepted: a digest of each, and a chain over all.

use sha2::{Digest, Sha256};

use crate::event::Sequence;

/// A SHA-256.
pub(super) type Hash = [u8; 32];

/// What the first record of a journal is chained to.
pub(super) const ORIGIN: Hash = [0; 32];

/// The digest of one record. All parts but the last have a fixed length, so no two records share the
/// hashed bytes.
pub(super) fn digest(sequence: Sequence, id: &str, kind: i64, accepted_at: i64, original: &[u8]) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update(sequence.to_be_bytes());
    hasher.update(id.as_bytes());
    hasher.update([kind.to_be_bytes()[7]]);
    hasher.update(accepted_at.to_be_bytes());
    hasher.update(original);
    hasher.finalize().into()
}

/// The next link of the chain.
pub(super) fn link(previous: &Hash, digest: &Hash) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update(previous);
    hasher.update(digest);
    hasher.finalize().into()
}
