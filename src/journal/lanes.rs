//! What destinations are known by, and what their lanes commit.

use rusqlite::{Connection, OptionalExtension, Row, params};
use tokio::sync::oneshot;

use super::job::{Job, Refusal};
use super::ledger::Ledger;
use super::rows::number;
use super::{Books, DestinationId, DestinationRow, JournalError, LaneCommit, OpenBatch};
use crate::event::{BatchId, Sequence, Timestamp};

pub(super) struct LaneJob {
    commit: LaneCommit,
    /// The destination's count of commits after this one.
    commits: Option<i64>,
    reply: oneshot::Sender<Result<(), JournalError>>,
}

impl LaneJob {
    pub(super) fn new(commit: LaneCommit, reply: oneshot::Sender<Result<(), JournalError>>) -> Self {
        Self { commit, commits: None, reply }
    }
}

impl Job for LaneJob {
    fn run(&mut self, conn: &Connection, ledger: &mut Ledger) -> rusqlite::Result<()> {
        self.commits = Some(settle(conn, &self.commit)?);
        if let Some(cursor) = ledger.cursors.get_mut(&self.commit.destination) {
            *cursor = (*cursor).max(self.commit.cursor);
        }
        Ok(())
    }

    // A lane that is told of a failure asks for the same again, and would be counted twice.
    fn was_kept(&self, conn: &Connection) -> bool {
        let stored = conn
            .query_row("SELECT commits FROM destinations WHERE id = ?1", [self.commit.destination.0], |row| {
                row.get::<_, i64>(0)
            })
            .ok();
        stored.is_some() && stored == self.commits
    }

    fn finish(self: Box<Self>, outcome: Result<(), Refusal>) {
        // Whoever asked may have gone away.
        let _ = self.reply.send(outcome.map_err(Into::into));
    }
}

fn settle(conn: &Connection, commit: &LaneCommit) -> rusqlite::Result<i64> {
    let destination = commit.destination.0;
    let now = Timestamp::now().unix_micros();
    let mut dead = 0_i64;
    for letter in &commit.dead {
        let added = conn
            .prepare_cached(
                "INSERT INTO dead_letters (destination, sequence, code, message, attempts, died_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (destination, sequence) DO NOTHING",
            )?
            .execute(params![
                destination,
                letter.sequence.cast_signed(),
                letter.code,
                letter.message,
                letter.attempts,
                now,
            ])?;
        dead += i64::from(added == 1);
    }
    let open = commit.open_batch.as_ref();
    conn.prepare_cached("DELETE FROM batches WHERE destination = ?1 AND id IS NOT ?2")?
        .execute(params![destination, open.map(|batch| batch.id.as_str())])?;
    if let Some(batch) = open {
        let list = |sequences: &[Sequence]| {
            serde_json::to_string(sequences)
                .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
        };
        conn.prepare_cached(
            "INSERT INTO batches (destination, id, members, attempts, not_before, created_at, first_attempt_at,
               settled)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, CASE WHEN ?4 > 0 THEN ?6 END, ?7)
             ON CONFLICT (destination, id) DO UPDATE SET members = excluded.members, settled = excluded.settled,
               attempts = excluded.attempts, not_before = excluded.not_before,
               first_attempt_at = COALESCE(first_attempt_at, excluded.first_attempt_at)",
        )?
        .execute(params![
            destination,
            batch.id.as_str(),
            list(&batch.members)?,
            batch.attempts,
            batch.not_before.map(Timestamp::unix_micros),
            now,
            list(&batch.settled)?,
        ])?;
    }
    // Its count of commits tells whether this very commit was kept; an unknown destination is an error.
    conn.prepare_cached(
        "UPDATE destinations SET cursor = MAX(cursor, ?2), delivered = delivered + ?3,
           not_routed = not_routed + ?4, dead = dead + ?5, commits = commits + 1
         WHERE id = ?1 RETURNING commits",
    )?
    .query_row(
        params![
            destination,
            commit.cursor.cast_signed(),
            commit.delivered.cast_signed(),
            commit.not_routed.cast_signed(),
            dead,
        ],
        |row| row.get(0),
    )
}

/// Whether there is a destination of this name.
pub(super) fn is_registered(conn: &Connection, name: &str) -> rusqlite::Result<bool> {
    conn.prepare_cached("SELECT EXISTS (SELECT 1 FROM destinations WHERE name = ?1)")?
        .query_row([name], |row| row.get(0))
}

/// Every destination that was ever registered: name, cursor, books.
pub(super) fn all(conn: &Connection) -> rusqlite::Result<Vec<(String, Sequence, Books)>> {
    conn.prepare_cached(
        "SELECT name, cursor, delivered, not_routed, dead, purged FROM destinations ORDER BY name",
    )?
    .query_map([], |row| Ok((row.get(0)?, number(row, 1)?, books(row, 2)?)))?
    .collect()
}

/// Four columns: delivered, not_routed, dead, purged.
fn books(row: &Row<'_>, first: usize) -> rusqlite::Result<Books> {
    Ok(Books {
        delivered: number(row, first)?,
        not_routed: number(row, first + 1)?,
        dead: number(row, first + 2)?,
        purged: number(row, first + 3)?,
    })
}

/// The row of a destination, made if it is new. A new one begins with the oldest record that is left.
pub(super) fn register(
    conn: &Connection,
    ledger: &mut Ledger,
    name: &str,
) -> rusqlite::Result<DestinationRow> {
    let removed = ledger.heads.removed_through.cast_signed();
    conn.execute(
        "INSERT INTO destinations (name, first_seen_at, first_sequence, cursor) VALUES (?1, ?2, ?3 + 1, ?3)
         ON CONFLICT (name) DO UPDATE SET orphaned_at = NULL",
        params![name, Timestamp::now().unix_micros(), removed],
    )?;
    let mut row = conn.query_row(
        "SELECT id, first_seen_at, cursor, delivered, not_routed, dead, purged FROM destinations WHERE name = ?1",
        [name],
        |row| {
            Ok(DestinationRow {
                id: DestinationId(row.get(0)?),
                first_seen_at: Timestamp::from_unix_micros(row.get(1)?),
                cursor: number(row, 2)?,
                books: books(row, 3)?,
                open_batch: None,
            })
        },
    )?;
    row.open_batch = conn
        .query_row(
            "SELECT id, members, attempts, not_before, settled FROM batches WHERE destination = ?1 LIMIT 1",
            [row.id.0],
            |batch| {
                Ok(OpenBatch {
                    id: BatchId::from_stored(batch.get(0)?),
                    members: members(batch, 1)?,
                    settled: members(batch, 4)?,
                    attempts: batch.get(2)?,
                    not_before: batch.get::<_, Option<i64>>(3)?.map(Timestamp::from_unix_micros),
                })
            },
        )
        .optional()?
        .filter(|batch| !batch.members.is_empty());
    ledger.cursors.insert(row.id, row.cursor);
    Ok(row)
}

/// The members of a batch, as they are stored. A list that cannot be read stops nobody: it is an empty
/// one, and its records are sent in a new group.
pub(super) fn members(row: &Row<'_>, index: usize) -> rusqlite::Result<Vec<Sequence>> {
    let members = row.get_ref(index)?.as_str().ok().and_then(|text| serde_json::from_str(text).ok());
    if members.is_none() {
        tracing::error!("the members of a batch cannot be read");
    }
    Ok(members.unwrap_or_default())
}
