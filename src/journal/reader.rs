//! Two threads that copy rows out and end their transaction; and rows in order.

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, OptionalExtension, params};
use tokio::sync::mpsc;

use super::chain::Follower;
use super::rows::{KNOWN_COLUMN, Names, STORED_COLUMNS, link_fits, number};
use super::shared::Shared;
use super::{Journal, JournalError, ReadLimit, ReadRow, open};
use crate::event::Sequence;

impl Journal {
    /// Rows after a sequence, in order. What should lie between them and does not is [`ReadRow::Corrupt`].
    ///
    /// # Errors
    /// See [`JournalError`].
    pub async fn read_after(&self, after: Sequence, limit: ReadLimit) -> Result<Vec<ReadRow>, JournalError> {
        self.read(move |conn, names| rows_after(conn, names, after, limit)).await
    }

    /// Exactly these rows, in the order asked for; those that are gone are left out.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub async fn read_members(&self, members: Vec<Sequence>) -> Result<Vec<ReadRow>, JournalError> {
        self.read(move |conn, names| rows_of(conn, names, &members)).await
    }
}

/// How many readers there are.
pub(super) const READERS: usize = 2;

/// How many jobs may wait for a reader.
pub(super) const QUEUE: usize = 64;

/// What a reader is asked to do.
pub(super) enum ReadJob {
    /// Read, and answer.
    Read(Box<dyn FnOnce(&mut Reader) + Send>),
    /// End.
    Stop,
}

/// One reader. Its connection lies where the writer can take it away: a database is only recovered when
/// no connection is left.
pub(super) struct Reader {
    shared: Arc<Shared>,
    index: usize,
    names: Names,
}

impl Reader {
    pub(super) fn new(shared: Arc<Shared>, index: usize) -> Self {
        Self { shared, index, names: Names::default() }
    }

    /// Serves until it is stopped. The queue is shared: whoever holds it waits for the next job.
    pub(super) fn run(mut self, queue: &Mutex<mpsc::Receiver<ReadJob>>) {
        loop {
            let job = queue.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
            match job {
                Some(ReadJob::Read(work)) => work(&mut self),
                Some(ReadJob::Stop) | None => break,
            }
        }
        *self.shared.readers[self.index].lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Reads with this reader's connection, opened if it has none.
    pub(super) fn read<T>(
        &mut self,
        work: impl FnOnce(&Connection, &mut Names) -> rusqlite::Result<T>,
    ) -> Result<T, JournalError> {
        let mut slot = self.shared.readers[self.index].lock().unwrap_or_else(PoisonError::into_inner);
        let conn = match slot.take() {
            Some(conn) => conn,
            None => open::read_only(&self.shared.files.database)?,
        };
        let result = work(&conn, &mut self.names);
        if let Err(error) = &result {
            self.shared.note_damage(error, true);
        }
        // After an error it is opened anew.
        *slot = result.is_ok().then_some(conn);
        result.map_err(Into::into)
    }
}

/// Rows after a sequence, one range scan. A row whose link does not fit to the one before is corrupt, and
/// so is a sequence that should be there and is not.
fn rows_after(
    conn: &Connection,
    names: &mut Names,
    after: Sequence,
    limit: ReadLimit,
) -> rusqlite::Result<Vec<ReadRow>> {
    // What was removed, and what is left, must be of one moment.
    let moment = conn.unchecked_transaction()?;
    let mut follower = Follower::begin(&moment, after)?;
    let mut statement = moment.prepare_cached(&format!(
        "SELECT {STORED_COLUMNS} FROM records WHERE sequence > ?1 ORDER BY sequence LIMIT ?2"
    ))?;
    let max_rows = i64::try_from(limit.max_rows).unwrap_or(i64::MAX);
    let mut rows = statement.query(params![after.cast_signed(), max_rows])?;
    let mut found = Vec::new();
    let mut bytes = 0_usize;
    while let Some(row) = rows.next()? {
        let sequence = number(row, 0)?;
        let room = limit.max_rows - found.len();
        found.extend(
            follower.missing_before(sequence).take(room).map(|sequence| ReadRow::Corrupt { sequence }),
        );
        if found.len() >= limit.max_rows {
            break;
        }
        for column in [5, KNOWN_COLUMN] {
            bytes = bytes.saturating_add(row.get_ref(column)?.as_blob().map_or(0, <[u8]>::len));
        }
        if bytes > limit.max_bytes && !found.is_empty() {
            break;
        }
        let fits = link_fits(&mut follower, row)?;
        found.push(if fits { names.record(&moment, row)? } else { ReadRow::Corrupt { sequence } });
    }
    Ok(found)
}

/// Exactly these rows, as far as they are there.
pub(super) fn rows_of(
    conn: &Connection,
    names: &mut Names,
    members: &[Sequence],
) -> rusqlite::Result<Vec<ReadRow>> {
    let mut statement =
        conn.prepare_cached(&format!("SELECT {STORED_COLUMNS} FROM records WHERE sequence = ?1"))?;
    let mut found = Vec::with_capacity(members.len());
    for member in members {
        let row = statement.query_row([member.cast_signed()], |row| names.record(conn, row)).optional()?;
        found.extend(row);
    }
    Ok(found)
}

/// The first sequence that is still there; 0 if there is none.
pub(super) fn first_sequence(conn: &Connection) -> rusqlite::Result<Sequence> {
    conn.prepare_cached("SELECT COALESCE(MIN(sequence), 0) FROM records")?.query_row([], |row| number(row, 0))
}
