//! Sources, and the incarnations of their files.

use rusqlite::{Connection, Row, params};
use sha2::{Digest, Sha256};

use super::rows::number;
use super::{Fingerprint, IncarnationId, IncarnationRow, NewIncarnation, SourceId, SourceRow};
use crate::event::{Incarnation, Timestamp};

/// How much of a first line names an incarnation, in bytes.
const FIRST_LINE_BYTES: usize = 1024;

/// The row of a source, made if it is new. One that changed its instance takes its files along; what is
/// recorded already stays with the instance it was accepted from.
pub(super) fn register(conn: &Connection, name: &str, instance: &str) -> rusqlite::Result<SourceRow> {
    conn.execute(
        "INSERT INTO sources (name, instance) VALUES (?1, ?2) ON CONFLICT (name, instance) DO NOTHING",
        [name, instance],
    )?;
    let id: i64 = conn.query_row(
        "SELECT id FROM sources WHERE name = ?1 AND instance = ?2",
        [name, instance],
        |row| row.get(0),
    )?;
    conn.execute(
        "UPDATE incarnations SET source = ?1 WHERE source IN (SELECT id FROM sources WHERE name = ?2 AND id <> ?1)",
        params![id, name],
    )?;
    let started =
        conn.query_row("SELECT MAX(started) FROM sources WHERE name = ?1", [name], |row| row.get(0))?;
    Ok(SourceRow { id: SourceId(id), started })
}

pub(super) fn mark_started(conn: &Connection, source: SourceId) -> rusqlite::Result<()> {
    conn.execute("UPDATE sources SET started = 1 WHERE id = ?1", [source.0]).map(drop)
}

/// Whether a record with this id is there.
pub(super) fn knows(conn: &Connection, id: &str) -> rusqlite::Result<bool> {
    conn.prepare_cached("SELECT EXISTS (SELECT 1 FROM records WHERE id = ?1)")?.query_row([id], |row| row.get(0))
}

const INCARNATION_COLUMNS: &str = "id, name, first_line_hash, ordinal, path, last_path, inode, position, head_len, \
     head_hash, tail_len, tail_hash, grown_at, finished";

fn incarnation(row: &Row<'_>) -> rusqlite::Result<IncarnationRow> {
    Ok(IncarnationRow {
        id: IncarnationId(row.get(0)?),
        name: Incarnation::from_bits(number(row, 1)?),
        first_line_hash: row.get(2)?,
        ordinal: row.get(3)?,
        path: row.get(4)?,
        last_path: row.get(5)?,
        inode: number(row, 6)?,
        position: number(row, 7)?,
        fingerprint: Fingerprint {
            head_len: number(row, 8)?,
            head_hash: row.get(9)?,
            tail_len: number(row, 10)?,
            tail_hash: row.get(11)?,
        },
        grown_at: Timestamp::from_unix_micros(row.get(12)?),
        finished: row.get(13)?,
    })
}

pub(super) fn incarnations(conn: &Connection, source: SourceId) -> rusqlite::Result<Vec<IncarnationRow>> {
    conn.prepare_cached(&format!(
        "SELECT {INCARNATION_COLUMNS} FROM incarnations WHERE source = ?1 ORDER BY id DESC"
    ))?
    .query_map([source.0], incarnation)?
    .collect()
}

pub(super) fn create_incarnation(
    conn: &Connection,
    new: &NewIncarnation,
) -> rusqlite::Result<IncarnationRow> {
    let head = &new.first_line[..new.first_line.len().min(FIRST_LINE_BYTES)];
    let first_line_hash: [u8; 32] = Sha256::digest(head).into();
    let ordinal: u32 = conn.query_row(
        "SELECT COALESCE(MAX(ordinal) + 1, 0) FROM incarnations WHERE source = ?1 AND first_line_hash = ?2",
        params![new.source.0, first_line_hash],
        |row| row.get(0),
    )?;
    let name = Incarnation::name(&new.relay_name, &new.source_name, head, ordinal);
    conn.query_row(
        &format!(
            "INSERT INTO incarnations (source, name, first_line_hash, ordinal, path, last_path, inode, position,
               head_len, head_hash, tail_len, tail_hash, created_at, grown_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?12) RETURNING {INCARNATION_COLUMNS}"
        ),
        params![
            new.source.0,
            name.bits().cast_signed(),
            first_line_hash,
            ordinal,
            new.path,
            new.inode.cast_signed(),
            new.position.cast_signed(),
            new.fingerprint.head_len.cast_signed(),
            new.fingerprint.head_hash,
            new.fingerprint.tail_len.cast_signed(),
            new.fingerprint.tail_hash,
            Timestamp::now().unix_micros(),
        ],
        incarnation,
    )
}
