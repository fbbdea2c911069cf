//! Batches: groups of records on their way, remembered so that they keep their ids over a restart.

use std::collections::BTreeSet;

use rusqlite::{Connection, Row, params};

use super::job::refused;
use super::{DestinationId, OpenBatch};
use crate::event::{BatchId, Sequence, Timestamp};

/// A list of sequences, as it is stored. One that cannot be read stops nobody: it is an empty one, and its
/// records are sent in a new group.
pub(super) fn sequences(row: &Row<'_>, index: usize) -> rusqlite::Result<Vec<Sequence>> {
    let sequences = row.get_ref(index)?.as_str().ok().and_then(|text| serde_json::from_str(text).ok());
    if sequences.is_none() {
        tracing::error!("the members of a batch cannot be read");
    }
    Ok(sequences.unwrap_or_default())
}

/// The groups of one destination, and what an older release has noted as settled of them.
pub(super) fn load(
    conn: &Connection,
    destination: DestinationId,
) -> rusqlite::Result<(Vec<OpenBatch>, BTreeSet<Sequence>)> {
    let mut settled = BTreeSet::new();
    let batches = conn
        .prepare_cached(
            "SELECT id, members, settled, attempts, not_before FROM batches WHERE destination = ?1",
        )?
        .query_map([destination.0], |row| {
            let mut members = sequences(row, 1)?;
            members.sort_unstable();
            settled.extend(sequences(row, 2)?);
            Ok(OpenBatch {
                id: BatchId::from_stored(row.get(0)?),
                members,
                attempts: row.get(3)?,
                not_before: row.get::<_, Option<i64>>(4)?.map(Timestamp::from_unix_micros),
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    Ok((batches, settled))
}

/// Remembers one, new or changed.
pub(super) fn keep(
    conn: &Connection,
    destination: DestinationId,
    batch: &OpenBatch,
    now: i64,
) -> rusqlite::Result<()> {
    let members = serde_json::to_string(&batch.members).map_err(|error| refused(error.to_string()))?;
    conn.prepare_cached(
        "INSERT INTO batches (destination, id, members, attempts, not_before, created_at, first_attempt_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, CASE WHEN ?4 > 0 THEN ?6 END)
         ON CONFLICT (destination, id) DO UPDATE SET members = excluded.members, settled = '[]',
           attempts = excluded.attempts, not_before = excluded.not_before,
           first_attempt_at = COALESCE(first_attempt_at, excluded.first_attempt_at)",
    )?
    .execute(params![
        destination.0,
        batch.id.as_str(),
        members,
        batch.attempts,
        batch.not_before.map(Timestamp::unix_micros),
        now,
    ])
    .map(drop)
}

pub(super) fn forget(conn: &Connection, destination: DestinationId, batch: &BatchId) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM batches WHERE destination = ?1 AND id = ?2")?
        .execute(params![destination.0, batch.as_str()])
        .map(drop)
}

/// Forgets all of a destination but these.
pub(super) fn keep_only(
    conn: &Connection,
    destination: DestinationId,
    batches: &[OpenBatch],
) -> rusqlite::Result<()> {
    let stored: Vec<BatchId> = conn
        .prepare_cached("SELECT id FROM batches WHERE destination = ?1")?
        .query_map([destination.0], |row| row.get(0).map(BatchId::from_stored))?
        .collect::<rusqlite::Result<_>>()?;
    for id in stored.iter().filter(|id| !batches.iter().any(|batch| batch.id == **id)) {
        forget(conn, destination, id)?;
    }
    Ok(())
}
