//! What the chain holds of a record, fit to leave the journal: whoever has it can compute digest and link again.

use rusqlite::{Connection, OptionalExtension, Row};
use serde::{Deserialize, Serialize};

use super::chain::{self, Accepted, Hash, ORIGIN, OriginColumns};
use super::rows::{RECORD_COLUMNS, accepted, is_alteration, namespace, number};
use super::schema::{key, read_meta};
use super::{Journal, JournalError};
use crate::event::{
    Entity, EntityKind, EventId, Framing, OrderKey, RecordKind, Sequence, StoredRecord, Timestamp,
    TraceContext,
};

/// A place in the chain. All hashes are SHA-256, in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// Which record.
    pub sequence: Sequence,
    /// The link of the one before; zeros before the first. `None` where it is not known any more.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "hashes")]
    pub previous: Option<Hash>,
    /// The digest of what acceptance fixed of it.
    #[serde(with = "hex::serde")]
    pub digest: Hash,
    /// SHA-256 of the link before and the digest.
    #[serde(with = "hex::serde")]
    pub link: Hash,
    /// What the digest is made of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<Columns>,
}

/// What acceptance fixed of a record, column by column as the journal has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Columns {
    id: String,
    kind: i64,
    source: i64,
    incarnation: Option<i64>,
    offset: i64,
    epoch: i64,
    framing: i64,
    /// Microseconds since 1970, as all times here.
    accepted_at: i64,
    event_time: Option<i64>,
    namespace_state: i64,
    namespace: Option<String>,
    entity_kind: Option<String>,
    entity_id: Option<String>,
    order_key: Option<String>,
    detail: Option<String>,
    traceparent: Option<String>,
    tracestate: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    origin_relay: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    origin_epoch: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    origin_sequence: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    origin_accepted_at: Option<i64>,
    /// The bytes as they came, in hexadecimal where they are no UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    original: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "hex::serde")]
    original_hex: Vec<u8>,
}

mod hashes {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer, de::Error as _};

    use super::Hash;

    pub(super) fn serialize<S: Serializer>(hash: &Option<Hash>, serializer: S) -> Result<S::Ok, S::Error> {
        hash.map(hex::encode).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Hash>, D::Error> {
        let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
        let mut hash = Hash::default();
        hex::decode_to_slice(text, &mut hash).map_err(D::Error::custom)?;
        Ok(Some(hash))
    }
}

impl Columns {
    fn of(accepted: &Accepted<'_>) -> Self {
        let text = |text: Option<&str>| text.map(str::to_owned);
        let original = std::str::from_utf8(accepted.original).ok();
        Self {
            id: accepted.id.to_owned(),
            kind: accepted.kind,
            source: accepted.source,
            incarnation: accepted.incarnation,
            offset: accepted.offset,
            epoch: accepted.epoch,
            framing: accepted.framing,
            accepted_at: accepted.accepted_at,
            event_time: accepted.event_time,
            namespace_state: accepted.namespace_state,
            namespace: text(accepted.namespace),
            entity_kind: text(accepted.entity_kind),
            entity_id: text(accepted.entity_id),
            order_key: text(accepted.order_key),
            detail: text(accepted.detail),
            traceparent: text(accepted.traceparent),
            tracestate: text(accepted.tracestate),
            origin_relay: text(accepted.origin.relay),
            origin_epoch: text(accepted.origin.epoch),
            origin_sequence: accepted.origin.sequence,
            origin_accepted_at: accepted.origin.accepted_at,
            original: text(original),
            original_hex: original.map_or_else(|| accepted.original.to_vec(), |_| Vec::new()),
        }
    }

    fn accepted(&self, sequence: Sequence) -> Accepted<'_> {
        Accepted {
            sequence,
            id: &self.id,
            kind: self.kind,
            source: self.source,
            incarnation: self.incarnation,
            offset: self.offset,
            epoch: self.epoch,
            framing: self.framing,
            accepted_at: self.accepted_at,
            event_time: self.event_time,
            namespace_state: self.namespace_state,
            namespace: self.namespace.as_deref(),
            entity_kind: self.entity_kind.as_deref(),
            entity_id: self.entity_id.as_deref(),
            order_key: self.order_key.as_deref(),
            detail: self.detail.as_deref(),
            traceparent: self.traceparent.as_deref(),
            tracestate: self.tracestate.as_deref(),
            origin: OriginColumns {
                relay: self.origin_relay.as_deref(),
                epoch: self.origin_epoch.as_deref(),
                sequence: self.origin_sequence,
                accepted_at: self.origin_accepted_at,
            },
            original: self.original(),
        }
    }

    fn original(&self) -> &[u8] {
        self.original.as_deref().map_or(&self.original_hex, str::as_bytes)
    }

    /// Its digest, computed anew.
    #[must_use]
    pub fn digest(&self, sequence: Sequence) -> Hash {
        chain::digest(&self.accepted(sequence))
    }

    /// The record, without what is not sealed: the names of source, instance and epoch are empty, and what was known
    /// when it was accepted is not there. `None` where no relay could have written these columns.
    #[must_use]
    pub fn record(&self, sequence: Sequence) -> Option<StoredRecord> {
        let nameless = || std::sync::Arc::from("");
        let entity_kind = self.entity_kind.as_deref().and_then(EntityKind::parse);
        let entity = entity_kind.zip(self.entity_id.clone()).map(|(kind, id)| Entity { kind, id });
        Some(StoredRecord {
            sequence,
            id: self.id.parse::<EventId>().ok()?,
            kind: RecordKind::from_stored(self.kind)?,
            source: nameless(),
            instance: nameless(),
            epoch: nameless(),
            accepted_at: Timestamp::from_unix_micros(self.accepted_at),
            event_time: self.event_time.map(Timestamp::from_unix_micros),
            namespace: namespace(self.namespace_state, self.namespace.clone()),
            entity,
            order_key: self.order_key.clone().map(OrderKey::from_stored),
            framing: Framing::from_stored(self.framing),
            original: self.original().to_vec(),
            detail: self.detail.clone(),
            trace: self
                .traceparent
                .clone()
                .map(|traceparent| TraceContext { traceparent, tracestate: self.tracestate.clone() }),
            origin: self.accepted(sequence).origin.origin(),
            known: None,
            change_set: None,
            running: std::time::Duration::ZERO,
        })
    }
}

impl Sealed {
    /// Of a row that begins with [`RECORD_COLUMNS`]; `None` for one that cannot be read.
    fn of(row: &Row<'_>, previous: Option<Hash>, is_whole: bool) -> rusqlite::Result<Option<Self>> {
        let read = || -> rusqlite::Result<Self> {
            let record = if is_whole { Some(Columns::of(&accepted(row)?)) } else { None };
            Ok(Self { sequence: number(row, 0)?, previous, digest: row.get(4)?, link: row.get(20)?, record })
        };
        match read() {
            Ok(sealed) => Ok(Some(sealed)),
            Err(error) if is_alteration(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Journal {
    /// The chain from one record to another, in order; `whole` says of which what the digest is made of is wanted,
    /// too. What is not there, or cannot be read, is left out.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub async fn read_chain(
        &self,
        from: Sequence,
        through: Sequence,
        whole: Vec<Sequence>,
    ) -> Result<Vec<Sealed>, JournalError> {
        self.read(move |conn, _| chain_of(conn, from, through, &whole)).await
    }
}

fn chain_of(
    conn: &Connection,
    from: Sequence,
    through: Sequence,
    whole: &[Sequence],
) -> rusqlite::Result<Vec<Sealed>> {
    let removed = read_meta::<i64>(conn, key::REMOVED_THROUGH)?.unwrap_or(0).cast_unsigned();
    let mut before = link_before(conn, from)?;
    let mut statement = conn.prepare_cached(&format!(
        "SELECT {RECORD_COLUMNS} FROM records WHERE sequence BETWEEN ?1 AND ?2 ORDER BY sequence"
    ))?;
    let mut rows = statement.query([from.cast_signed(), through.cast_signed()])?;
    let mut sealed = Vec::new();
    let mut expected = from;
    while let Some(row) = rows.next()? {
        let sequence = number(row, 0)?;
        let previous = match sequence {
            // Kept though those around it are gone.
            kept if kept <= removed => None,
            next if next == expected => before,
            other => link_before(conn, other)?,
        };
        let one = Sealed::of(row, previous, whole.contains(&sequence))?;
        (before, expected) = (one.as_ref().map(|one| one.link), sequence + 1);
        sealed.extend(one);
    }
    Ok(sealed)
}

/// The link of the record before `sequence`, whether it is there or was the last that was removed.
fn link_before(conn: &Connection, sequence: Sequence) -> rusqlite::Result<Option<Hash>> {
    if sequence <= 1 {
        return Ok(Some(ORIGIN));
    }
    let before = sequence - 1;
    let link = conn
        .prepare_cached("SELECT chain FROM records WHERE sequence = ?1")?
        .query_row([before.cast_signed()], |row| Ok(row.get(0).ok()))
        .optional()?
        .flatten();
    if link.is_some() {
        return Ok(link);
    }
    let removed_through = read_meta::<i64>(conn, key::REMOVED_THROUGH)?.unwrap_or(0).cast_unsigned();
    if removed_through == before { read_meta(conn, key::REMOVED_CHAIN) } else { Ok(None) }
}
