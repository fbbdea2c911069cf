//! Keeps states bounded: families that nothing was heard of for longest go first, whole, so that none is
//! told without its children.

use rusqlite::Connection;

use super::States;
use crate::journal::rows::number;

/// States take this part of the journal's size, at most.
const SHARE: u64 = 8;

/// So many families go at once.
const SLICE: usize = 5_000;

impl States {
    /// Whether so much was written that it is worth counting.
    pub(in crate::journal) fn is_worth_counting(&self, max_size_bytes: u64) -> bool {
        self.unpruned_bytes > max_size_bytes / SHARE / 8
    }
}

/// Where states take more than their share, removes the families heard of least recently until they take
/// seven eighths of it; a slice of them. How many rows went.
pub(in crate::journal) fn prune(
    conn: &Connection,
    states: &mut States,
    max_size_bytes: u64,
) -> rusqlite::Result<u64> {
    let share = max_size_bytes / SHARE;
    let mut bytes = conn
        .prepare_cached(&format!("SELECT COALESCE(SUM({ROW}), 0) FROM entities"))?
        .query_row([], |row| number(row, 0))?;
    if bytes <= share {
        states.unpruned_bytes = 0;
        return Ok(0);
    }
    states.forget_families();
    let transaction = conn.unchecked_transaction()?;
    let mut forgotten: Vec<String> = Vec::new();
    {
        let mut families = transaction.prepare_cached(&format!(
            "SELECT family, SUM({ROW}) FROM entities GROUP BY family ORDER BY MAX(last_sequence)"
        ))?;
        let mut rows = families.query([])?;
        while let Some(row) = rows.next()? {
            if bytes <= share - share / 8 || forgotten.len() >= SLICE {
                break;
            }
            forgotten.push(row.get(0)?);
            bytes = bytes.saturating_sub(number(row, 1)?);
        }
    }
    let mut rows = 0;
    for family in forgotten {
        rows += transaction.prepare_cached("DELETE FROM entities WHERE family = ?1")?.execute([&family])?;
        transaction.prepare_cached("DELETE FROM segment_uses WHERE family = ?1")?.execute([&family])?;
    }
    // What was complete is not so any more.
    transaction.execute("DELETE FROM imports", [])?;
    transaction.commit()?;
    Ok(rows as u64)
}

/// Forgets what was deleted before `before` (microseconds): nothing older comes any more.
pub(in crate::journal) fn prune_old(
    conn: &Connection,
    states: &mut States,
    before: i64,
) -> rusqlite::Result<u64> {
    states.forget_families();
    let rows =
        conn.prepare_cached("DELETE FROM entities WHERE form = 2 AND told_at < ?1")?.execute([before])?;
    Ok(rows as u64)
}

/// About what a row takes, in bytes.
const ROW: &str = "length(family) + length(id) + COALESCE(length(state), 0) + 64";
