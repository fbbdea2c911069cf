//! What a lane commits: it runs for each acknowledgement, so it touches only what has changed.

use rusqlite::{Connection, params};

use super::job::{Done, Proof, refused};
use super::ledger::Ledger;
use super::{
    DestinationId, Endpoint, Journal, JournalError, LaneCommit, acked, batches, dead_letters, memory,
};
use crate::event::Timestamp;

impl Journal {
    /// Commits what a lane has settled; `Ok` means on disk. Carried out on a full disk too. A cursor never
    /// goes back.
    ///
    /// # Errors
    /// See [`JournalError`]; after an error nothing of it was committed, and it may be asked for again.
    pub async fn commit_lane(&self, commit: LaneCommit) -> Result<(), JournalError> {
        self.carry_out(false, move |conn, ledger| settle(conn, ledger, &commit)).await
    }
}

fn settle(conn: &Connection, ledger: &mut Ledger, commit: &LaneCommit) -> Done<(), JournalError> {
    let id = commit.destination;
    let Some(known) = ledger.cursors.get(&id).copied() else {
        return Err(refused("it does not know this destination"));
    };
    let cursor = known.max(commit.cursor);
    let furthest = commit.acked.last().copied().unwrap_or(0).max(cursor);
    if furthest > ledger.heads.last {
        return Err(refused(format!("there is no record {furthest} that could be settled")));
    }
    let bits = acked::encode(cursor, &commit.acked).map_err(|sequence| {
        refused(format!("record {sequence} is too far beyond the cursor to be settled"))
    })?;
    let now = Timestamp::now().unix_micros();
    let mut dead = 0_i64;
    for letter in &commit.dead {
        dead += i64::from(dead_letters::add(conn, id, letter, now)?);
    }
    for batch in &commit.closed {
        batches::forget(conn, id, batch)?;
    }
    for batch in &commit.opened {
        batches::keep(conn, id, batch, now)?;
    }
    if let Some(endpoint) = &commit.endpoint {
        write_endpoint(conn, id, endpoint)?;
    }
    if let Some(quiet) = &commit.quiet {
        memory::keep_quiet(conn, id, quiet, now)?;
    }
    let counts = &commit.counts;
    let not_for_it = counts.not_routed + counts.before_since + counts.observed + counts.left_out;
    let commits = conn
        .prepare_cached(
            "UPDATE destinations SET cursor = ?2, acked = ?3, acked_from = ?2, delivered = delivered + ?4,
               not_routed = not_routed + ?5, before_since = before_since + ?6, observed = observed + ?7,
               left_out = left_out + ?8, purged = purged + ?9, dead = dead + ?10,
               last_success_at = CASE WHEN ?4 > 0 THEN ?11 ELSE last_success_at END, commits = commits + 1
             WHERE id = ?1 RETURNING commits",
        )?
        .query_row(
            params![
                id.0,
                cursor.cast_signed(),
                bits,
                counts.delivered.cast_signed(),
                not_for_it.cast_signed(),
                counts.before_since.cast_signed(),
                counts.observed.cast_signed(),
                counts.left_out.cast_signed(),
                counts.discarded.cast_signed(),
                dead,
                now,
            ],
            |row| row.get(0),
        )?;
    ledger.cursors.insert(id, cursor);
    Ok(Ok(((), Proof::Commits(id, commits))))
}

pub(super) fn write_endpoint(
    conn: &Connection,
    destination: DestinationId,
    endpoint: &Endpoint,
) -> rusqlite::Result<()> {
    let micros = |moment: Option<Timestamp>| moment.map(Timestamp::unix_micros);
    let reason = endpoint.reason.as_ref();
    let error = endpoint.last_error.as_ref();
    conn.prepare_cached(
        "UPDATE destinations SET state = ?2, state_code = ?3, state_reason = ?4, state_since = ?5, attempts = ?6,
           not_before = ?7, fingerprint = ?8, last_success_at = COALESCE(?9, last_success_at),
           last_error_at = ?10, last_error = ?11
         WHERE id = ?1",
    )?
    .execute(params![
        destination.0,
        endpoint.state.as_str(),
        reason.map(|(code, _)| code),
        reason.map(|(_, sentence)| sentence),
        micros(endpoint.since),
        endpoint.attempts,
        micros(endpoint.not_before),
        endpoint.fingerprint,
        micros(endpoint.last_success_at),
        error.map(|(at, _)| at.unix_micros()),
        error.map(|(_, message)| message),
    ])
    .map(drop)
}
