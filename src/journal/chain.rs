//! What proves that a record is still what was accepted: a digest of each, and a chain over all.

use std::ops::Range;

use rusqlite::{Connection, OptionalExtension};
use sha2::{Digest, Sha256};

use super::schema::{key, read_meta};
use crate::event::{Origin, Sequence, Timestamp};

/// A SHA-256.
pub(super) type Hash = [u8; 32];

/// What the first record of a journal is chained to.
pub(super) const ORIGIN: Hash = [0; 32];

/// What acceptance has fixed of a record, as its columns hold it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Accepted<'a> {
    pub(super) sequence: Sequence,
    pub(super) id: &'a str,
    pub(super) kind: i64,
    pub(super) source: i64,
    pub(super) incarnation: Option<i64>,
    pub(super) offset: i64,
    pub(super) epoch: i64,
    pub(super) framing: i64,
    pub(super) accepted_at: i64,
    pub(super) event_time: Option<i64>,
    pub(super) namespace_state: i64,
    pub(super) namespace: Option<&'a str>,
    pub(super) entity_kind: Option<&'a str>,
    pub(super) entity_id: Option<&'a str>,
    pub(super) order_key: Option<&'a str>,
    pub(super) detail: Option<&'a str>,
    pub(super) traceparent: Option<&'a str>,
    pub(super) tracestate: Option<&'a str>,
    pub(super) origin: OriginColumns<'a>,
    pub(super) original: &'a [u8],
}

/// Where a hub had a record from, as its columns hold it; all empty for what came without another relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct OriginColumns<'a> {
    pub(super) relay: Option<&'a str>,
    pub(super) epoch: Option<&'a str>,
    pub(super) sequence: Option<i64>,
    pub(super) accepted_at: Option<i64>,
}

impl<'a> OriginColumns<'a> {
    pub(super) fn of(origin: Option<&'a Origin>) -> Self {
        Self {
            relay: origin.map(|origin| origin.relay.as_str()),
            epoch: origin.map(|origin| origin.epoch.as_str()),
            sequence: origin.map(|origin| origin.sequence.cast_signed()),
            accepted_at: origin.map(|origin| origin.accepted_at.unix_micros()),
        }
    }

    pub(super) fn origin(&self) -> Option<Origin> {
        Some(Origin {
            relay: self.relay?.to_owned(),
            epoch: self.epoch?.to_owned(),
            sequence: self.sequence?.cast_unsigned(),
            accepted_at: Timestamp::from_unix_micros(self.accepted_at?),
        })
    }
}

/// What leads an origin in the hashed bytes. Where there is none, nothing stands there, as in all digests of
/// before there were any: what follows is a length, and none is so great as to begin alike.
const ORIGIN_MARK: u8 = 0xff;

/// The digest of one record. Every part has a fixed length or is led by its length, so no two records
/// share the hashed bytes.
pub(super) fn digest(accepted: &Accepted<'_>) -> Hash {
    let mut head = Vec::with_capacity(512);
    head.extend_from_slice(&accepted.sequence.to_be_bytes());
    for number in [
        accepted.kind,
        accepted.source,
        accepted.offset,
        accepted.epoch,
        accepted.framing,
        accepted.accepted_at,
        accepted.namespace_state,
    ] {
        head.extend_from_slice(&number.to_be_bytes());
    }
    for number in [accepted.incarnation, accepted.event_time] {
        put_number(&mut head, number);
    }
    for text in [
        Some(accepted.id),
        accepted.namespace,
        accepted.entity_kind,
        accepted.entity_id,
        accepted.order_key,
        accepted.detail,
        accepted.traceparent,
        accepted.tracestate,
    ] {
        put_text(&mut head, text);
    }
    if accepted.origin != OriginColumns::default() {
        head.push(ORIGIN_MARK);
        put_text(&mut head, accepted.origin.relay);
        put_text(&mut head, accepted.origin.epoch);
        put_number(&mut head, accepted.origin.sequence);
        put_number(&mut head, accepted.origin.accepted_at);
    }
    head.extend_from_slice(&(accepted.original.len() as u64).to_be_bytes());
    let mut hasher = Sha256::new();
    hasher.update(&head);
    hasher.update(accepted.original);
    hasher.finalize().into()
}

fn put_number(head: &mut Vec<u8>, number: Option<i64>) {
    head.push(u8::from(number.is_some()));
    head.extend_from_slice(&number.unwrap_or(0).to_be_bytes());
}

fn put_text(head: &mut Vec<u8>, text: Option<&str>) {
    head.push(u8::from(text.is_some()));
    let text = text.unwrap_or_default();
    head.extend_from_slice(&(text.len() as u64).to_be_bytes());
    head.extend_from_slice(text.as_bytes());
}

/// The next link of the chain.
pub(super) fn link(previous: &Hash, digest: &Hash) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update(previous);
    hasher.update(digest);
    hasher.finalize().into()
}

/// Follows the chain from row to row, and notices what is missing between them.
#[derive(Debug)]
pub(super) struct Follower {
    /// The last sequence that was passed, and its link if it was there.
    passed: Sequence,
    chain: Option<Hash>,
    bounds: Bounds,
}

/// Up to where rows may be missing.
#[derive(Debug)]
struct Bounds {
    removed_through: Sequence,
    removed_chain: Option<Hash>,
    /// What is missing up to here was removed, or a gap record tells of it.
    known_through: Sequence,
}

impl Bounds {
    fn load(conn: &Connection) -> rusqlite::Result<Self> {
        let number = |key| read_meta::<i64>(conn, key).map(|found| found.unwrap_or(0).cast_unsigned());
        let removed_through = number(key::REMOVED_THROUGH)?;
        let removed_chain =
            if removed_through == 0 { Some(ORIGIN) } else { read_meta(conn, key::REMOVED_CHAIN)? };
        let known_through = removed_through.max(number(key::SALVAGED_THROUGH)?);
        Ok(Self { removed_through, removed_chain, known_through })
    }
}

impl Follower {
    /// Begins behind `after`. What is followed must be read in the same transaction.
    pub(super) fn begin(conn: &Connection, after: Sequence) -> rusqlite::Result<Self> {
        let chain = conn
            .prepare_cached("SELECT chain FROM records WHERE sequence = ?1")?
            .query_row([after.cast_signed()], |row| Ok(row.get(0).ok()))
            .optional()?
            .flatten();
        Ok(Self { passed: after, chain, bounds: Bounds::load(conn)? })
    }

    /// Goes on in another transaction: more may have been removed.
    pub(super) fn go_on(&mut self, conn: &Connection) -> rusqlite::Result<()> {
        self.bounds = Bounds::load(conn)?;
        Ok(())
    }

    /// The last sequence that was passed.
    pub(super) fn passed(&self) -> Sequence {
        self.passed
    }

    /// What should lie before `sequence`, the next row, and does not.
    pub(super) fn missing_before(&self, sequence: Sequence) -> Range<Sequence> {
        let expected = self.passed.max(self.bounds.known_through).saturating_add(1);
        expected.min(sequence)..sequence
    }

    /// Passes the next row. Whether its link fits to the one before, as far as that is known; `None`
    /// stands for what cannot be read.
    pub(super) fn pass(&mut self, sequence: Sequence, digest: Option<Hash>, chain: Option<Hash>) -> bool {
        let previous = if sequence == self.bounds.removed_through.saturating_add(1)
            && self.bounds.removed_chain.is_some()
        {
            self.bounds.removed_chain
        } else if sequence == self.passed.saturating_add(1) {
            self.chain
        } else {
            None
        };
        (self.passed, self.chain) = (sequence, chain);
        match (previous, digest, chain) {
            (_, None, _) | (_, _, None) => false,
            (None, ..) => true,
            (Some(previous), Some(digest), Some(chain)) => link(&previous, &digest) == chain,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: Accepted<'static> = Accepted {
        sequence: 1,
        id: "id",
        kind: 0,
        source: 1,
        incarnation: None,
        offset: 0,
        epoch: 1,
        framing: 0,
        accepted_at: 0,
        event_time: None,
        namespace_state: 0,
        namespace: None,
        entity_kind: None,
        entity_id: None,
        order_key: None,
        detail: None,
        traceparent: None,
        tracestate: None,
        origin: NO_ORIGIN,
        original: b"",
    };

    const NO_ORIGIN: OriginColumns<'static> =
        OriginColumns { relay: None, epoch: None, sequence: None, accepted_at: None };

    #[test]
    fn no_two_records_share_a_digest() {
        let others = [
            BASE,
            Accepted { namespace: Some(""), ..BASE },
            Accepted { entity_kind: Some(""), ..BASE },
            Accepted { namespace: Some("ab"), ..BASE },
            Accepted { namespace: Some("a"), entity_kind: Some("b"), ..BASE },
            Accepted { entity_kind: Some("ab"), ..BASE },
            Accepted { tracestate: Some("ab"), ..BASE },
            Accepted { original: b"ab", ..BASE },
            Accepted { incarnation: Some(0), ..BASE },
            Accepted { event_time: Some(0), ..BASE },
            Accepted { kind: 1 << 8, ..BASE },
            Accepted { origin: OriginColumns { relay: Some(""), ..NO_ORIGIN }, ..BASE },
            Accepted { origin: OriginColumns { relay: Some("ab"), ..NO_ORIGIN }, ..BASE },
            Accepted { origin: OriginColumns { epoch: Some("ab"), ..NO_ORIGIN }, ..BASE },
            Accepted { origin: OriginColumns { sequence: Some(0), ..NO_ORIGIN }, ..BASE },
            Accepted { origin: OriginColumns { accepted_at: Some(0), ..NO_ORIGIN }, ..BASE },
        ];
        let digests: std::collections::HashSet<_> = others.iter().map(digest).collect();
        assert_eq!(digests.len(), others.len());
    }
    /// A digest as releases wrote it before there were origins.
    #[test]
    fn what_has_no_origin_has_the_digest_it_always_had() {
        let row = Accepted {
            sequence: 7,
            source: 2,
            incarnation: Some(3),
            event_time: Some(-1),
            namespace: Some("default"),
            tracestate: Some("a=b"),
            original: b"{}",
            ..BASE
        };
        assert_eq!(
            hex::encode(digest(&row)),
            "273372bb543b0467d511a45b0045f525efd828ca978ffd40f08ee8fd7af6d7b2"
        );
    }
}
