//! Removing what every destination has passed, oldest first, in small transactions.

use std::collections::BTreeSet;

use rusqlite::{Connection, params};

use super::batches;
use super::chain::Hash;
use super::ledger::Ledger;
use super::rows::number;
use super::schema::{key, write_meta};
use crate::event::RecordKind;

/// Rows in one transaction, at most.
const SLICE_ROWS: i64 = 1_000;

/// Bytes of originals in one transaction, about: large rows are removed page by page.
const SLICE_BYTES: u64 = 8 << 20;

/// Free pages moved to the end of the file at once, at most.
const VACUUM_PAGES: u64 = 2_000;

/// What may be removed now.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    /// Nothing after this sequence.
    pub(super) through: u64,
    /// Whatever was accepted before this time (microseconds).
    pub(super) before: Option<i64>,
    /// About so many bytes in any case.
    pub(super) bytes: u64,
}

/// What one transaction did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Removed {
    /// How many rows are gone.
    pub(super) rows: u64,
    /// Whether more may be wanted: the transaction ended at its own limit.
    pub(super) more: bool,
}

/// Removes one slice. The caller gives space back.
pub(super) fn slice(conn: &Connection, ledger: &mut Ledger, wanted: Wanted) -> rusqlite::Result<Removed> {
    let removed_through = ledger.heads.removed_through;
    if wanted.through <= removed_through || (wanted.bytes == 0 && wanted.before.is_none()) {
        return Ok(Removed::default());
    }
    conn.execute_batch("BEGIN IMMEDIATE")?;
    let chosen = choose(conn, removed_through, wanted)?;
    let Some((last, chain)) = chosen.last else {
        conn.execute_batch("ROLLBACK")?;
        return Ok(Removed::default());
    };
    let pinned = pinned(conn, removed_through + 1, last)?;
    let mut rows = 0;
    let mut from = removed_through + 1;
    for stop in pinned.iter().copied().chain([last + 1]) {
        if from < stop {
            rows += conn
                .prepare_cached("DELETE FROM records WHERE sequence BETWEEN ?1 AND ?2")?
                .execute(params![from.cast_signed(), (stop - 1).cast_signed()])?;
        }
        from = stop + 1;
    }
    let unparsed_bytes = ledger.heads.unparsed_bytes.saturating_sub(chosen.unparsed_bytes);
    write_meta(conn, key::REMOVED_THROUGH, last.cast_signed())?;
    write_meta(conn, key::REMOVED_CHAIN, chain)?;
    write_meta(conn, key::UNPARSED_BYTES, unparsed_bytes.cast_signed())?;
    conn.execute_batch("COMMIT")?;
    ledger.heads.removed_through = last;
    ledger.heads.unparsed_bytes = unparsed_bytes;
    Ok(Removed { rows: rows as u64, more: chosen.more })
}

#[derive(Default)]
struct Chosen {
    last: Option<(u64, Hash)>,
    unparsed_bytes: u64,
    more: bool,
}

fn choose(conn: &Connection, removed_through: u64, wanted: Wanted) -> rusqlite::Result<Chosen> {
    let mut chosen = Chosen::default();
    let (mut bytes, mut count) = (0_u64, 0_i64);
    let mut statement = conn.prepare_cached(
        "SELECT sequence, accepted_at, kind, chain, length(original), COALESCE(length(previous), 0) FROM records
         WHERE sequence > ?1 AND sequence <= ?2 ORDER BY sequence LIMIT ?3",
    )?;
    let mut rows =
        statement.query(params![removed_through.cast_signed(), wanted.through.cast_signed(), SLICE_ROWS])?;
    while let Some(row) = rows.next()? {
        let accepted_at: i64 = row.get(1)?;
        let too_old = wanted.before.is_some_and(|before| accepted_at < before);
        if !too_old && bytes >= wanted.bytes {
            return Ok(chosen);
        }
        if bytes >= SLICE_BYTES {
            chosen.more = true;
            return Ok(chosen);
        }
        let length = number(row, 4)?;
        bytes += length + number(row, 5)? + 400;
        count += 1;
        if row.get::<_, i64>(2)? == RecordKind::Unparsed as i64 {
            chosen.unparsed_bytes += length;
        }
        chosen.last = Some((number(row, 0)?, row.get(3)?));
    }
    chosen.more = count == SLICE_ROWS;
    Ok(chosen)
}

/// What a dead letter or a batch on its way still needs.
pub(super) fn pinned(conn: &Connection, from: u64, to: u64) -> rusqlite::Result<BTreeSet<u64>> {
    let mut pinned = in_batches(conn)?;
    pinned.retain(|sequence| (from..=to).contains(sequence));
    let mut statement =
        conn.prepare_cached("SELECT sequence FROM dead_letters WHERE sequence BETWEEN ?1 AND ?2")?;
    for sequence in
        statement.query_map(params![from.cast_signed(), to.cast_signed()], |row| number(row, 0))?
    {
        pinned.insert(sequence?);
    }
    Ok(pinned)
}

fn in_batches(conn: &Connection) -> rusqlite::Result<BTreeSet<u64>> {
    let mut found = BTreeSet::new();
    let mut statement = conn.prepare_cached("SELECT members FROM batches")?;
    for members in statement.query_map([], |row| batches::sequences(row, 0))? {
        found.extend(members?);
    }
    Ok(found)
}

/// Removes rows that retention passed by because something needed them, and nothing does any more: one
/// slice of all of them, behind `after`. Returns how many are gone, and where the next slice begins.
pub(super) fn sweep(conn: &Connection, ledger: &Ledger, after: u64) -> rusqlite::Result<(u64, Option<u64>)> {
    let through = ledger.heads.removed_through.cast_signed();
    let passed: Vec<u64> = conn
        .prepare_cached(
            "SELECT sequence FROM records WHERE sequence > ?1 AND sequence <= ?2 ORDER BY sequence LIMIT ?3",
        )?
        .query_map([after.cast_signed(), through, SLICE_ROWS], |row| number(row, 0))?
        .collect::<rusqlite::Result<_>>()?;
    let next = passed.last().copied().filter(|_| passed.len() as i64 == SLICE_ROWS);
    Ok((remove_unpinned(conn, &passed)?, next))
}

/// Likewise of records whose dead letters have just gone.
pub(super) fn remove_loose(conn: &Connection, ledger: &mut Ledger) -> rusqlite::Result<u64> {
    let through = ledger.heads.removed_through;
    // What retention has not passed yet it will find by itself.
    ledger.loose.retain(|sequence| *sequence <= through);
    let rest = ledger.loose.len().saturating_sub(SLICE_ROWS as usize);
    let slice = ledger.loose.split_off(rest);
    remove_unpinned(conn, &slice)
}

fn remove_unpinned(conn: &Connection, sequences: &[u64]) -> rusqlite::Result<u64> {
    if sequences.is_empty() {
        return Ok(0);
    }
    let in_batches = in_batches(conn)?;
    conn.execute_batch("BEGIN IMMEDIATE")?;
    let mut delete = conn.prepare_cached(
        "DELETE FROM records WHERE sequence = ?1
           AND NOT EXISTS (SELECT 1 FROM dead_letters WHERE dead_letters.sequence = ?1)",
    )?;
    let mut rows = 0;
    for sequence in sequences.iter().filter(|sequence| !in_batches.contains(sequence)) {
        rows += delete.execute([sequence.cast_signed()])?;
    }
    conn.execute_batch("COMMIT")?;
    Ok(rows as u64)
}

/// How the file's pages are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Pages {
    pub(super) total: u64,
    pub(super) free: u64,
    pub(super) size_bytes: u64,
}

impl Pages {
    pub(super) fn measure(conn: &Connection) -> rusqlite::Result<Self> {
        let pragma = |sql| conn.prepare_cached(sql)?.query_row([], |row| number(row, 0));
        Ok(Self {
            total: pragma("PRAGMA page_count")?,
            free: pragma("PRAGMA freelist_count")?,
            size_bytes: pragma("PRAGMA page_size")?,
        })
    }

    /// Pages that hold something, in bytes.
    pub(super) fn used_bytes(&self) -> u64 {
        self.total.saturating_sub(self.free) * self.size_bytes
    }

    /// Free pages beyond the few that the next records will take again.
    pub(super) fn excess(&self) -> u64 {
        self.free.saturating_sub(self.total / 32)
    }
}

/// Gives free pages back to the file system; whether there are more.
pub(super) fn vacuum(conn: &Connection, pages: Pages) -> rusqlite::Result<bool> {
    let excess = pages.excess();
    if excess > 0 {
        // Each step moves one page.
        let mut statement =
            conn.prepare(&format!("PRAGMA incremental_vacuum({})", excess.min(VACUUM_PAGES)))?;
        let mut steps = statement.query([])?;
        while steps.next()?.is_some() {}
    }
    Ok(excess > VACUUM_PAGES)
}
