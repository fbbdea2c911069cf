//! How many gaps there are, counted from the records themselves.

use rusqlite::{Connection, params};

use super::rows::number;
use super::{Journal, JournalError};
use crate::event::{RecordKind, Sequence, Timestamp};

/// Records that are looked at at once, so that other readers get their turn.
const CHUNK: u64 = 50_000;

/// Gaps of one source in a stretch of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gaps {
    /// The source.
    pub source: String,
    /// How many.
    pub count: u64,
    /// When the last of them was recorded.
    pub last_at: Timestamp,
}

impl Journal {
    /// The gaps among the records after one sequence and up to another, by source; one source may come several
    /// times.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub async fn gaps(&self, after: Sequence, through: Sequence) -> Result<Vec<Gaps>, JournalError> {
        let first = self.read(|conn, _| super::reader::first_sequence(conn)).await?;
        let mut after = after.max(first.saturating_sub(1));
        let mut gaps = Vec::new();
        while after < through {
            let end = through.min(after.saturating_add(CHUNK));
            gaps.extend(self.read(move |conn, _| among(conn, after, end)).await?);
            after = end;
        }
        Ok(gaps)
    }
}

fn among(conn: &Connection, after: Sequence, through: Sequence) -> rusqlite::Result<Vec<Gaps>> {
    conn.prepare_cached(
        "SELECT sources.name, COUNT(*), MAX(accepted_at) FROM records JOIN sources ON sources.id = source
         WHERE sequence > ?1 AND sequence <= ?2 AND kind = ?3 GROUP BY sources.name",
    )?
    .query_map(params![after.cast_signed(), through.cast_signed(), RecordKind::Gap as i64], |row| {
        Ok(Gaps {
            source: row.get(0)?,
            count: number(row, 1)?,
            last_at: Timestamp::from_unix_micros(row.get(2)?),
        })
    })?
    .collect()
}
