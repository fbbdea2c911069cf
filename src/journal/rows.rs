//! How records are written in columns, and read back.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row};

use super::chain::{self, Accepted, Follower, Hash, OriginColumns};
use super::schema::{key, read_meta};
use super::{ReadRow, change_sets, running, states};
use crate::event::{
    Entity, EntityKind, EventId, Framing, Namespace, OrderKey, RecordKind, StoredRecord, Timestamp,
    TraceContext,
};

macro_rules! record_columns {
    () => {
        "sequence, id, kind, accepted_at, digest, original, source, epoch, framing, event_time, \
         namespace_state, namespace, entity_kind, entity_id, order_key, detail, traceparent, tracestate, \
         incarnation, offset, chain, origin_relay, origin_epoch, origin_sequence, origin_accepted_at"
    };
}

/// The columns that a record is verified by, in the order of [`accepted`]: every schema has them but the last,
/// which came with the fourth.
pub(super) const RECORD_COLUMNS: &str = record_columns!();

/// The columns that a record is read by: [`RECORD_COLUMNS`], and what is not verified.
pub(super) const STORED_COLUMNS: &str = concat!(record_columns!(), ", running_ms, previous, change_set");

/// Where [`STORED_COLUMNS`] has what was known around an event.
pub(super) const KNOWN_COLUMN: usize = 26;

/// SQLite's integers are signed; ours are stored bit for bit.
pub(super) fn number(row: &Row<'_>, index: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(index).map(i64::cast_unsigned)
}

pub(super) fn namespace_columns(namespace: &Namespace) -> (i64, Option<&str>) {
    match namespace {
        Namespace::None => (0, None),
        Namespace::Known(key) => (1, Some(key)),
        Namespace::Unknown => (2, None),
    }
}

/// What [`namespace_columns`] wrote.
pub(super) fn namespace(state: i64, key: Option<String>) -> Namespace {
    match (state, key) {
        (1, Some(key)) => Namespace::Known(key),
        (0, _) => Namespace::None,
        _ => Namespace::Unknown,
    }
}

/// Whether an error says that a column is of another type than it was written with.
pub(super) fn is_alteration(error: &rusqlite::Error) -> bool {
    matches!(
        error,
        rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::Utf8Error(..)
    )
}

/// Names that rows refer to, read once.
#[derive(Debug, Default)]
pub(super) struct Names {
    sources: HashMap<i64, (Arc<str>, Arc<str>)>,
    epochs: HashMap<i64, Arc<str>>,
    /// The running time of records that have none of their own; it never changes.
    unstamped: Option<Duration>,
}

impl Names {
    pub(super) fn source(&mut self, conn: &Connection, id: i64) -> rusqlite::Result<(Arc<str>, Arc<str>)> {
        if let Some((name, instance)) = self.sources.get(&id) {
            return Ok((Arc::clone(name), Arc::clone(instance)));
        }
        let found: Option<(String, String)> = conn
            .prepare_cached("SELECT name, instance FROM sources WHERE id = ?1")?
            .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let (name, instance) = found.unwrap_or_else(|| ("unknown".to_owned(), "unknown".to_owned()));
        let names: (Arc<str>, Arc<str>) = (name.into(), instance.into());
        self.sources.insert(id, (Arc::clone(&names.0), Arc::clone(&names.1)));
        Ok(names)
    }

    fn epoch(&mut self, conn: &Connection, id: i64) -> rusqlite::Result<Arc<str>> {
        if let Some(name) = self.epochs.get(&id) {
            return Ok(Arc::clone(name));
        }
        let found: Option<String> = conn
            .prepare_cached("SELECT name FROM epochs WHERE id = ?1")?
            .query_row([id], |row| row.get(0))
            .optional()?;
        let name: Arc<str> = found.unwrap_or_else(|| "unknown".to_owned()).into();
        self.epochs.insert(id, Arc::clone(&name));
        Ok(name)
    }

    fn unstamped(&mut self, conn: &Connection) -> rusqlite::Result<Duration> {
        if let Some(known) = self.unstamped {
            return Ok(known);
        }
        let millis = read_meta::<i64>(conn, key::UNSTAMPED_RUNNING_MS)?.unwrap_or(0);
        let running = running::from_millis(millis);
        self.unstamped = Some(running);
        Ok(running)
    }

    /// Reads a row of [`STORED_COLUMNS`], its digest verified.
    pub(super) fn record(&mut self, conn: &Connection, row: &Row<'_>) -> rusqlite::Result<ReadRow> {
        let sequence = number(row, 0)?;
        match self.whole_record(conn, row, sequence) {
            Ok(Some(record)) => Ok(ReadRow::Record(Box::new(record))),
            Ok(None) => Ok(ReadRow::Corrupt { sequence }),
            Err(error) if is_alteration(&error) => Ok(ReadRow::Corrupt { sequence }),
            Err(error) => Err(error),
        }
    }

    fn whole_record(
        &mut self,
        conn: &Connection,
        row: &Row<'_>,
        sequence: u64,
    ) -> rusqlite::Result<Option<StoredRecord>> {
        if !digest_fits(row)? {
            return Ok(None);
        }
        let id = row.get_ref(1)?.as_str()?.parse::<EventId>();
        let (Ok(id), Some(kind)) = (id, RecordKind::from_stored(row.get(2)?)) else { return Ok(None) };
        let (source, instance) = self.source(conn, row.get(6)?)?;
        let namespace = namespace(row.get(10)?, row.get(11)?);
        let entity_kind = row.get_ref(12)?.as_str_or_null()?.and_then(EntityKind::parse);
        let entity = match (entity_kind, row.get::<_, Option<String>>(13)?) {
            (Some(kind), Some(id)) => Some(Entity { kind, id }),
            _ => None,
        };
        let trace = match row.get::<_, Option<String>>(16)? {
            Some(traceparent) => Some(TraceContext { traceparent, tracestate: row.get(17)? }),
            None => None,
        };
        let id_text = row.get_ref(1)?.as_str()?;
        let known = row.get_ref(KNOWN_COLUMN)?.as_blob_or_null()?.map(|kept| states::read(id_text, kept));
        let order_key = row.get::<_, Option<String>>(14)?.map(OrderKey::from_stored);
        let change_set = match row.get::<_, Option<String>>(27)? {
            None if known.is_some() && order_key.is_some() => Some(change_sets::own(id_text)),
            set => set,
        };
        let running = match row.get::<_, Option<i64>>(25)? {
            Some(millis) => running::from_millis(millis),
            None => self.unstamped(conn)?,
        };
        Ok(Some(StoredRecord {
            sequence,
            id,
            kind,
            source,
            instance,
            epoch: self.epoch(conn, row.get(7)?)?,
            accepted_at: Timestamp::from_unix_micros(row.get(3)?),
            event_time: row.get::<_, Option<i64>>(9)?.map(Timestamp::from_unix_micros),
            namespace,
            entity,
            order_key,
            framing: Framing::from_stored(row.get(8)?),
            original: row.get(5)?,
            detail: row.get(15)?,
            trace,
            origin: origin(row)?.origin(),
            known,
            change_set: change_set.map(Into::into),
            running,
        }))
    }
}

/// What acceptance has fixed, of a row that begins with [`RECORD_COLUMNS`].
pub(super) fn accepted<'a>(row: &'a Row<'_>) -> rusqlite::Result<Accepted<'a>> {
    let text = |index| -> rusqlite::Result<Option<&'a str>> { Ok(row.get_ref(index)?.as_str_or_null()?) };
    Ok(Accepted {
        sequence: number(row, 0)?,
        id: row.get_ref(1)?.as_str()?,
        kind: row.get(2)?,
        accepted_at: row.get(3)?,
        original: row.get_ref(5)?.as_blob()?,
        source: row.get(6)?,
        epoch: row.get(7)?,
        framing: row.get(8)?,
        event_time: row.get(9)?,
        namespace_state: row.get(10)?,
        namespace: text(11)?,
        entity_kind: text(12)?,
        entity_id: text(13)?,
        order_key: text(14)?,
        detail: text(15)?,
        traceparent: text(16)?,
        tracestate: text(17)?,
        incarnation: row.get(18)?,
        offset: row.get(19)?,
        origin: origin(row)?,
    })
}

fn origin<'a>(row: &'a Row<'_>) -> rusqlite::Result<OriginColumns<'a>> {
    Ok(OriginColumns {
        relay: row.get_ref(21)?.as_str_or_null()?,
        epoch: row.get_ref(22)?.as_str_or_null()?,
        sequence: row.get(23)?,
        accepted_at: row.get(24)?,
    })
}

/// Whether a row that begins with [`RECORD_COLUMNS`] is what was accepted.
pub(super) fn digest_fits(row: &Row<'_>) -> rusqlite::Result<bool> {
    let stored: Hash = row.get(4)?;
    Ok(stored == chain::digest(&accepted(row)?))
}

/// Passes a row that begins with [`RECORD_COLUMNS`]; whether its link fits.
pub(super) fn link_fits(follower: &mut Follower, row: &Row<'_>) -> rusqlite::Result<bool> {
    Ok(follower.pass(number(row, 0)?, row.get(4).ok(), row.get(20).ok()))
}
