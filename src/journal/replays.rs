//! Replays: jobs of their own beside the cursor. What retention removes meanwhile is passed over; only dead
//! letters keep their records.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::job::{Done, Proof, refused};
use super::ledger::Ledger;
use super::rows::{Names, STORED_COLUMNS, number};
use super::schema::{key, next_id};
use super::{
    Act, DestinationId, Journal, JournalError, NewReplay, OperatorError, ReadLimit, ReadRow, ReplayCommit,
    ReplayId, ReplayRow, ReplaySelection, acts, dead_letters, destinations, reader,
};
use crate::event::{EventId, Sequence, Timestamp};

/// So many missing ids are named in a refusal.
const NAMED_IDS: usize = 10;

impl Journal {
    /// Takes note of a replay; the lane carries it out. The act is kept with the number of records.
    ///
    /// # Errors
    /// See [`OperatorError`]; refused where it means no record at all, or ids that the journal has not. Not
    /// carried out while the disk is full.
    pub async fn create_replay(&self, mut replay: NewReplay, act: Act) -> Result<ReplayRow, OperatorError> {
        if let ReplaySelection::Ids(ids) = &mut replay.selection {
            ids.sort_unstable();
            ids.dedup();
        }
        // Counting may read all of the journal, and the writer has no time for that.
        let asked = replay.clone();
        let scope = self.read(move |conn, names| resolve(conn, names, &asked)).await??;
        self.carry_out(true, move |conn, ledger| create(conn, ledger, &replay, &scope, act.clone())).await
    }

    /// Replays, newest last; `unfinished`: those that are not done.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub async fn replays(&self, unfinished: bool) -> Result<Vec<ReplayRow>, JournalError> {
        self.read(move |conn, _| {
            select(conn, "WHERE ?1 = 0 OR finished_at IS NULL ORDER BY replays.id", [unfinished])
        })
        .await
    }

    /// The next records of a replay, after its position, in order of sequence; fewer than the limit allows
    /// only at its end. Events that its pattern does not fit are among them: whoever sends them looks. What
    /// was removed since, and what is no dead letter any more, is passed over.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub async fn read_replay(
        &self,
        replay: &ReplayRow,
        limit: ReadLimit,
    ) -> Result<Vec<ReadRow>, JournalError> {
        let replay = replay.clone();
        self.read(move |conn, names| next(conn, names, &replay, limit)).await
    }

    /// Commits what a replay has done. Carried out on a full disk too.
    ///
    /// # Errors
    /// See [`JournalError`]; after an error nothing of it was committed, and it may be asked for again.
    pub async fn commit_replay(&self, commit: ReplayCommit) -> Result<ReplayRow, JournalError> {
        self.carry_out(false, move |conn, ledger| settle(conn, ledger, &commit)).await
    }
}

/// What a replay means, as counted.
#[derive(Debug, Clone, Copy, Default)]
struct Scope {
    first: Sequence,
    through: Sequence,
    total: u64,
    /// When the last of its dead letters died (microseconds).
    died_through: Option<i64>,
}

fn resolve(
    conn: &Connection,
    names: &mut Names,
    replay: &NewReplay,
) -> rusqlite::Result<Result<Scope, OperatorError>> {
    let moment = conn.unchecked_transaction()?;
    let Some(destination) = destinations::id_of(&moment, &replay.destination)? else {
        return Ok(Err(OperatorError::NoSuchDestination(replay.destination.clone())));
    };
    let scope = match &replay.selection {
        ReplaySelection::DeadLetters => of_dead_letters(&moment, destination)?,
        ReplaySelection::Range { since, until, .. } => in_range(&moment, *since, *until)?,
        ReplaySelection::Ids(ids) => match of_ids(&moment, names, ids)? {
            Ok(scope) => scope,
            Err(refusal) => return Ok(Err(refusal)),
        },
    };
    if scope.total > 0 {
        return Ok(Ok(scope));
    }
    let message = match &replay.selection {
        ReplaySelection::DeadLetters => format!("`{}` has no dead letters", replay.destination),
        ReplaySelection::Range { .. } => {
            "nothing that the journal holds was accepted in that time".to_owned()
        }
        ReplaySelection::Ids(_) => "no id was given".to_owned(),
    };
    Ok(Err(OperatorError::Refused(message)))
}

fn scope(row: &Row<'_>) -> rusqlite::Result<Scope> {
    Ok(Scope {
        total: number(row, 0)?,
        first: number(row, 1)?,
        through: number(row, 2)?,
        died_through: row.get(3)?,
    })
}

fn of_dead_letters(conn: &Connection, destination: DestinationId) -> rusqlite::Result<Scope> {
    conn.query_row(
        "SELECT count(*), COALESCE(MIN(sequence), 0), COALESCE(MAX(sequence), 0), MAX(died_at)
         FROM dead_letters WHERE destination = ?1",
        [destination.0],
        scope,
    )
}

/// What was accepted in a time: between the bounds, in values for `?1` and `?2`.
const IN_TIME: &str = "accepted_at >= ?1 AND accepted_at < ?2";

fn bounds(since: Option<Timestamp>, until: Option<Timestamp>) -> (i64, i64) {
    (since.map_or(i64::MIN, Timestamp::unix_micros), until.map_or(i64::MAX, Timestamp::unix_micros))
}

fn in_range(
    conn: &Connection,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
) -> rusqlite::Result<Scope> {
    conn.query_row(
        &format!(
            "SELECT count(*), COALESCE(MIN(sequence), 0), COALESCE(MAX(sequence), 0), NULL FROM records
             WHERE {IN_TIME}"
        ),
        bounds(since, until),
        scope,
    )
}

fn of_ids(
    conn: &Connection,
    names: &mut Names,
    ids: &[EventId],
) -> rusqlite::Result<Result<Scope, OperatorError>> {
    let mut found = Scope { first: Sequence::MAX, ..Scope::default() };
    let mut missing = Vec::new();
    let mut statement =
        conn.prepare_cached(&format!("SELECT {STORED_COLUMNS} FROM records WHERE id = ?1"))?;
    for id in ids {
        let row = statement.query_row([id.to_string()], |row| names.record(conn, row)).optional()?;
        match row {
            Some(ReadRow::Record(record)) => {
                found.total += 1;
                found.first = found.first.min(record.sequence);
                found.through = found.through.max(record.sequence);
            }
            Some(ReadRow::Corrupt { .. }) | None => missing.push(id),
        }
    }
    if missing.is_empty() {
        return Ok(Ok(found));
    }
    let mut named: Vec<String> = missing.iter().take(NAMED_IDS).map(ToString::to_string).collect();
    if missing.len() > NAMED_IDS {
        named.push(format!("and {} more", missing.len() - NAMED_IDS));
    }
    Ok(Err(OperatorError::Refused(format!("the journal does not have {}", named.join(", ")))))
}

fn create(
    conn: &Connection,
    ledger: &mut Ledger,
    replay: &NewReplay,
    scope: &Scope,
    mut act: Act,
) -> Done<ReplayRow, OperatorError> {
    let Some(destination) = destinations::id_of(conn, &replay.destination)? else {
        return Ok(Err(OperatorError::NoSuchDestination(replay.destination.clone())));
    };
    let id = next_id(conn, "replays", key::LAST_REPLAY)?;
    let selection = serde_json::to_string(&replay.selection).map_err(|error| refused(error.to_string()))?;
    conn.execute(
        "INSERT INTO replays (id, destination, dead_letters, selection, position, rate, asked_by, created_at,
           through, total, died_through)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        params![
            id,
            destination.0,
            replay.selection == ReplaySelection::DeadLetters,
            selection,
            scope.first.saturating_sub(1).cast_signed(),
            replay.rate,
            act.by,
            Timestamp::now().unix_micros(),
            scope.through.cast_signed(),
            scope.total.cast_signed(),
            scope.died_through,
        ],
    )?;
    act.destination.get_or_insert_with(|| replay.destination.clone());
    act.records = Some(scope.total);
    acts::detail(&mut act, "replay", id);
    let proof = acts::record(conn, ledger, &act)?;
    Ok(Ok((known(conn, ReplayId(id))?, proof)))
}

/// The replay of this row, which must be there.
fn known(conn: &Connection, id: ReplayId) -> rusqlite::Result<ReplayRow> {
    select(conn, "WHERE replays.id = ?1", [id.0])?
        .pop()
        .ok_or_else(|| refused("it does not know this replay"))
}

fn select(conn: &Connection, which: &str, params: impl rusqlite::Params) -> rusqlite::Result<Vec<ReplayRow>> {
    conn.prepare_cached(&format!(
        "SELECT replays.id, destinations.name, selection, through, total, position, rate, replays.replayed, failed,
           asked_by, created_at, finished_at
         FROM replays JOIN destinations ON destinations.id = replays.destination {which}"
    ))?
    .query_map(params, |row| {
        let selection = serde_json::from_str(row.get_ref(2)?.as_str()?)
            .map_err(|error| refused(format!("a replay cannot be read: {error}")))?;
        Ok(ReplayRow {
            id: ReplayId(row.get(0)?),
            destination: row.get(1)?,
            selection,
            through: number(row, 3)?,
            total: number(row, 4)?,
            position: number(row, 5)?,
            rate: row.get(6)?,
            replayed: number(row, 7)?,
            failed: number(row, 8)?,
            asked_by: row.get(9)?,
            created_at: Timestamp::from_unix_micros(row.get(10)?),
            finished_at: row.get::<_, Option<i64>>(11)?.map(Timestamp::from_unix_micros),
        })
    })?
    .collect()
}

fn next(
    conn: &Connection,
    names: &mut Names,
    replay: &ReplayRow,
    limit: ReadLimit,
) -> rusqlite::Result<Vec<ReadRow>> {
    let moment = conn.unchecked_transaction()?;
    let mut found = Vec::new();
    let mut bytes = 0_usize;
    for sequence in sequences(&moment, replay, limit.max_rows)? {
        let row = match reader::rows_of(&moment, names, &[sequence])?.pop() {
            Some(row) => row,
            // A dead letter whose record is lost.
            None => ReadRow::Corrupt { sequence },
        };
        if let ReadRow::Record(record) = &row {
            bytes = bytes.saturating_add(record.size_bytes());
        }
        if bytes > limit.max_bytes && !found.is_empty() {
            break;
        }
        found.push(row);
    }
    Ok(found)
}

/// The sequences of a replay after its position.
fn sequences(conn: &Connection, replay: &ReplayRow, max_rows: usize) -> rusqlite::Result<Vec<Sequence>> {
    let max_rows = i64::try_from(max_rows).unwrap_or(i64::MAX);
    let range = (replay.position.cast_signed(), replay.through.cast_signed());
    let sequence = |row: &Row<'_>| number(row, 0);
    match &replay.selection {
        ReplaySelection::DeadLetters => conn
            .prepare_cached(
                "SELECT sequence FROM dead_letters
                 WHERE destination = (SELECT destination FROM replays WHERE id = ?1)
                   AND sequence > ?2 AND sequence <= ?3
                   AND died_at <= (SELECT died_through FROM replays WHERE id = ?1)
                 ORDER BY sequence LIMIT ?4",
            )?
            .query_map(params![replay.id.0, range.0, range.1, max_rows], sequence)?
            .collect(),
        ReplaySelection::Ids(ids) => conn
            .prepare_cached(
                "SELECT sequence FROM records WHERE id IN (SELECT value FROM json_each(?1))
                   AND sequence > ?2 AND sequence <= ?3 ORDER BY sequence LIMIT ?4",
            )?
            .query_map(params![dead_letters::json(ids)?, range.0, range.1, max_rows], sequence)?
            .collect(),
        ReplaySelection::Range { since, until, .. } => {
            let (since, until) = bounds(*since, *until);
            conn.prepare_cached(&format!(
                "SELECT sequence FROM records WHERE {IN_TIME} AND sequence > ?3 AND sequence <= ?4
                 ORDER BY sequence LIMIT ?5"
            ))?
            .query_map(params![since, until, range.0, range.1, max_rows], sequence)?
            .collect()
        }
    }
}

fn settle(conn: &Connection, ledger: &mut Ledger, commit: &ReplayCommit) -> Done<ReplayRow, JournalError> {
    let destination: DestinationId = conn
        .prepare_cached("SELECT destination FROM replays WHERE id = ?1")?
        .query_row([commit.id.0], |row| row.get(0).map(DestinationId))
        .optional()?
        .ok_or_else(|| refused("it does not know this replay"))?;
    let mut revived = Vec::new();
    for sequence in &commit.taken {
        if dead_letters::remove(conn, destination, *sequence)? {
            revived.push(*sequence);
        }
    }
    for letter in &commit.refused {
        conn.prepare_cached(
            "UPDATE dead_letters SET code = ?3, message = ?4, attempts = ?5
             WHERE destination = ?1 AND sequence = ?2",
        )?
        .execute(params![
            destination.0,
            letter.sequence.cast_signed(),
            letter.code,
            letter.message,
            letter.attempts,
        ])?;
    }
    let now = Timestamp::now().unix_micros();
    let taken = commit.taken.len() as i64;
    conn.prepare_cached(
        "UPDATE replays SET position = MAX(position, ?2), replayed = replayed + ?3, failed = failed + ?4,
           finished_at = CASE WHEN ?5 THEN COALESCE(finished_at, ?6) ELSE finished_at END
         WHERE id = ?1",
    )?
    .execute(params![
        commit.id.0,
        commit.position.cast_signed(),
        taken,
        commit.refused.len() as i64,
        commit.finished,
        now,
    ])?;
    let commits = conn
        .prepare_cached(
            "UPDATE destinations SET replayed = replayed + ?2, delivered = delivered + ?3, dead = dead - ?3,
               last_success_at = CASE WHEN ?2 > 0 THEN ?4 ELSE last_success_at END, commits = commits + 1
             WHERE id = ?1 RETURNING commits",
        )?
        .query_row(params![destination.0, taken, revived.len() as i64, now], |row| row.get(0))?;
    let row = known(conn, commit.id)?;
    ledger.loose.extend(revived);
    Ok(Ok((row, Proof::Commits(destination, commits))))
}
