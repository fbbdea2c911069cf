//! How far every destination has come with what one file gave: what before that only the journal is needed for.

use rusqlite::{Connection, OptionalExtension, params};

use super::ledger::Ledger;
use super::rows::number;
use super::{IncarnationId, Journal, JournalError, SourceId};
use crate::event::Sequence;

/// How many records are looked back for the last one of a file.
const LOOK_BACK: i64 = 1_000;

/// How far destinations have come with the records of one incarnation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    /// Every destination that the journal knows, configured or not, has passed everything up to this sequence.
    pub through: Sequence,
    /// The last sequence that was given.
    pub last: Sequence,
    /// Everything before this byte of the file is at `through` or earlier; `None` where that is not known without a
    /// long search.
    pub offset: Option<u64>,
    /// Another source that follows the same file, and how far it has read it; the one that has read the least.
    pub elsewhere: Option<(String, u64)>,
}

impl Journal {
    /// Blocking; from threads only. `None` where nobody knows to whom records are owed: no destination was ever
    /// registered, or nothing is to be removed. What it tells is on disk.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub fn passed(
        &self,
        source: SourceId,
        incarnation: IncarnationId,
    ) -> Result<Option<Passed>, JournalError> {
        if self.inner.shared.keeps_all.load(std::sync::atomic::Ordering::Relaxed) {
            return Ok(None);
        }
        self.call(move |conn, ledger| passed(conn, ledger, source, incarnation))
    }
}

fn passed(
    conn: &Connection,
    ledger: &Ledger,
    source: SourceId,
    incarnation: IncarnationId,
) -> rusqlite::Result<Option<Passed>> {
    let last = ledger.heads.last;
    let Some(through) = ledger.cursors.values().copied().min() else { return Ok(None) };
    let through = through.min(last);
    // Records of one file come in its order.
    let offset = conn
        .prepare_cached(
            "SELECT offset FROM
               (SELECT sequence, incarnation, offset FROM records WHERE sequence <= ?1 ORDER BY sequence DESC LIMIT ?3)
             WHERE incarnation = ?2 ORDER BY sequence DESC LIMIT 1",
        )?
        .query_row(params![through.cast_signed(), incarnation.0, LOOK_BACK], |row| number(row, 0))
        .optional()?;
    let elsewhere = conn
        .prepare_cached(
            "SELECT sources.name, other.position FROM incarnations AS own
             JOIN incarnations AS other ON other.inode = own.inode AND other.first_line_hash = own.first_line_hash
             JOIN sources ON sources.id = other.source
             WHERE own.id = ?1 AND other.source <> ?2 AND other.finished = 0 ORDER BY other.position LIMIT 1",
        )?
        .query_row(params![incarnation.0, source.0], |row| Ok((row.get(0)?, number(row, 1)?)))
        .optional()?;
    Ok(Some(Passed { through, last, offset, elsewhere }))
}
