//! The little of each record that a lane decides on, read in bulk.

use rusqlite::{Connection, Row, params};

use super::rows::{Names, is_alteration, namespace, number};
use super::{Journal, JournalError, Outline, states};
use crate::event::{Framing, OrderKey, RecordKind, Sequence, Timestamp};

/// So many bytes of originals are copied at once, at most; the first row is returned whatever its size.
const MAX_BYTES: usize = 8 << 20;

impl Journal {
    /// Outlines of the records after a sequence, in order, up to `max_rows`; what is gone or cannot be read
    /// is left out. Nothing is verified. Reads the originals only `with_original`, and then ends after
    /// 8 MiB of them, too.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub async fn read_outlines(
        &self,
        after: Sequence,
        max_rows: usize,
        with_original: bool,
    ) -> Result<Vec<Outline>, JournalError> {
        self.read(move |conn, names| after_sequence(conn, names, after, max_rows, with_original)).await
    }
}

/// The columns of an outline, in the order of [`outline`].
const COLUMNS: &str = "sequence, kind, source, accepted_at, event_time, namespace_state, namespace, detail, \
     length(original) + COALESCE(MAX(length(previous) - 16, 0), 0), order_key";

fn after_sequence(
    conn: &Connection,
    names: &mut Names,
    after: Sequence,
    max_rows: usize,
    with_original: bool,
) -> rusqlite::Result<Vec<Outline>> {
    let further = if with_original { ", framing, original, previous" } else { "" };
    let mut statement = conn.prepare_cached(&format!(
        "SELECT {COLUMNS}{further} FROM records WHERE sequence > ?1 ORDER BY sequence LIMIT ?2"
    ))?;
    let limit = i64::try_from(max_rows).unwrap_or(i64::MAX);
    let mut rows = statement.query(params![after.cast_signed(), limit])?;
    let mut found: Vec<Outline> = Vec::new();
    let mut bytes = 0_usize;
    while let Some(row) = rows.next()? {
        let Some(mut outline) = readable(outline(conn, names, row))?.flatten() else { continue };
        if with_original {
            bytes = bytes.saturating_add(usize::try_from(outline.size_bytes).unwrap_or(usize::MAX));
            if bytes > MAX_BYTES && !found.is_empty() {
                break;
            }
            let Some(original) = readable(row.get(11))? else { continue };
            outline.original = Some((Framing::from_stored(row.get(10).unwrap_or(0)), original));
            outline.known = readable(known(row))?.flatten();
        }
        found.push(outline);
    }
    Ok(found)
}

/// Nothing, where a column is of another type than it was written with.
fn readable<T>(read: rusqlite::Result<T>) -> rusqlite::Result<Option<T>> {
    match read {
        Ok(found) => Ok(Some(found)),
        Err(error) if is_alteration(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn known(row: &Row<'_>) -> rusqlite::Result<Option<Box<str>>> {
    Ok(row.get_ref(12)?.as_blob_or_null()?.and_then(states::unverified))
}

fn outline(conn: &Connection, names: &mut Names, row: &Row<'_>) -> rusqlite::Result<Option<Outline>> {
    let Some(kind) = RecordKind::from_stored(row.get(1)?) else { return Ok(None) };
    Ok(Some(Outline {
        sequence: number(row, 0)?,
        kind,
        source: names.source(conn, row.get(2)?)?.0,
        accepted_at: Timestamp::from_unix_micros(row.get(3)?),
        event_time: row.get::<_, Option<i64>>(4)?.map(Timestamp::from_unix_micros),
        namespace: namespace(row.get(5)?, row.get(6)?),
        detail: row.get(7)?,
        size_bytes: number(row, 8)?,
        order_key: row.get::<_, Option<String>>(9)?.map(OrderKey::from_stored),
        original: None,
        known: None,
    }))
}
