//! Sources, and the incarnations of their files.

use rusqlite::{Connection, Row, params};
use sha2::{Digest, Sha256};

use super::rows::number;
use super::{
    Fingerprint, IncarnationId, IncarnationRow, Journal, JournalError, NewIncarnation, SourceBooks, SourceId,
    SourceRow, acts,
};
use crate::event::{EventId, Incarnation, Timestamp};

impl Journal {
    /// Blocking; from threads only. One that changed its instance keeps its files.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub fn register_source(&self, name: &str, instance: &str) -> Result<SourceRow, JournalError> {
        let (name, instance) = (name.to_owned(), instance.to_owned());
        self.call(move |conn, _| register(conn, &name, &instance))
    }

    /// Blocking; from threads only. Says that the source has looked at its files once.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub fn mark_started(&self, source: SourceId) -> Result<(), JournalError> {
        self.call(move |conn, _| mark_started(conn, source))
    }

    /// Blocking; from threads only. All of them, finished ones too, newest first.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub fn incarnations(&self, source: SourceId) -> Result<Vec<IncarnationRow>, JournalError> {
        self.call(move |conn, _| incarnations(conn, source))
    }

    /// Blocking; from threads only. The ordinal counts earlier incarnations with the same first line.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub fn create_incarnation(&self, new: NewIncarnation) -> Result<IncarnationRow, JournalError> {
        self.call(move |conn, _| create_incarnation(conn, &new))
    }

    /// Blocking; from threads only. Whether a record with this id was accepted and is still kept.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub fn knows(&self, id: EventId) -> Result<bool, JournalError> {
        let id = id.to_string();
        self.call(move |conn, _| knows(conn, &id))
    }

    /// How each source stands, by name; what the relay itself records is none. One that changed its
    /// instance has a row for each.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub async fn source_books(&self) -> Result<Vec<SourceBooks>, JournalError> {
        self.read(|conn, _| books(conn)).await
    }
}

/// How much of a first line names an incarnation, in bytes.
const FIRST_LINE_BYTES: usize = 1024;

/// The row of a source, made if it is new. One that changed its instance takes its files along; what is
/// recorded already stays with the instance it was accepted from.
fn register(conn: &Connection, name: &str, instance: &str) -> rusqlite::Result<SourceRow> {
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

fn mark_started(conn: &Connection, source: SourceId) -> rusqlite::Result<()> {
    conn.execute("UPDATE sources SET started = 1 WHERE id = ?1", [source.0]).map(drop)
}

/// Whether a record with this id is there.
pub(super) fn knows(conn: &Connection, id: &str) -> rusqlite::Result<bool> {
    conn.prepare_cached("SELECT EXISTS (SELECT 1 FROM records WHERE id = ?1)")?
        .query_row([id], |row| row.get(0))
}

fn books(conn: &Connection) -> rusqlite::Result<Vec<SourceBooks>> {
    let moment = conn.unchecked_transaction()?;
    let mut files = moment.prepare_cached(
        "SELECT last_path, position FROM incarnations WHERE source = ?1 AND finished = 0 ORDER BY id",
    )?;
    moment
        .prepare_cached(
            "SELECT id, name, instance, ignored, unparsed, last_event_at FROM sources
             WHERE instance <> ?1 OR name NOT IN (?1, 'journal') ORDER BY name, id",
        )?
        .query_map([acts::SOURCE], |row| {
            let files = files
                .query_map([row.get::<_, i64>(0)?], |file| {
                    Ok((file.get::<_, String>(0)?.into(), number(file, 1)?))
                })?
                .collect::<rusqlite::Result<_>>()?;
            Ok(SourceBooks {
                name: row.get(1)?,
                instance: row.get(2)?,
                ignored: number(row, 3)?,
                unparsed: number(row, 4)?,
                last_event_at: row.get::<_, Option<i64>>(5)?.map(Timestamp::from_unix_micros),
                files,
            })
        })?
        .collect()
}

const INCARNATION_COLUMNS: &str = "id, name, first_line_hash, ordinal, path, last_path, inode, position, head_len, \
     head_hash, tail_len, tail_hash, grown_at, finished, read_from";

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
        read_from: number(row, 14)?,
    })
}

fn incarnations(conn: &Connection, source: SourceId) -> rusqlite::Result<Vec<IncarnationRow>> {
    conn.prepare_cached(&format!(
        "SELECT {INCARNATION_COLUMNS} FROM incarnations WHERE source = ?1 ORDER BY id DESC"
    ))?
    .query_map([source.0], incarnation)?
    .collect()
}

fn create_incarnation(conn: &Connection, new: &NewIncarnation) -> rusqlite::Result<IncarnationRow> {
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
               head_len, head_hash, tail_len, tail_hash, created_at, grown_at, read_from)
             VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?12, ?13) RETURNING {INCARNATION_COLUMNS}"
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
            new.read_from.cast_signed(),
        ],
        incarnation,
    )
}
