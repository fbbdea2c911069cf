//! Destinations: how they are known, adopted, orphaned and let go.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::job::{Done, Proof, refused};
use super::ledger::Ledger;
use super::rows::number;
use super::schema::{key, next_id};
use super::{
    Act, ActKind, Books, DestinationId, DestinationRow, Endpoint, EndpointState, Journal, JournalError,
    MAX_WINDOW, Pause, Released, acked, acts, batches, memory, running,
};
use crate::event::{Sequence, Timestamp};

impl Journal {
    /// The row of a destination that is configured; a new one begins with the oldest record that is left. An
    /// orphan of that name is none any more. Where `renamed_from` names a row and `name` has none, that row
    /// is taken over under the new name, and an act says so; where both have one, nothing is taken over (a
    /// WARN says so, if the old one still holds something).
    ///
    /// From then on nothing is removed that it has not passed, in this run or a later one, whether or not it
    /// is registered again, until it is released. Carried out on a full disk too.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub async fn register_destination(
        &self,
        name: &str,
        renamed_from: Option<&str>,
    ) -> Result<DestinationRow, JournalError> {
        let name = name.to_owned();
        let renamed_from = renamed_from.map(str::to_owned).filter(|from| *from != name);
        self.carry_out(false, move |conn, ledger| register(conn, ledger, &name, renamed_from.as_deref()))
            .await
    }

    /// Every destination that the journal knows, by name.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub async fn destinations(&self) -> Result<Vec<DestinationRow>, JournalError> {
        self.read(|conn, _| all(conn)).await
    }

    /// Notes that a destination is no longer configured; the first time counts.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub async fn orphan_destination(&self, id: DestinationId) -> Result<DestinationRow, JournalError> {
        self.carry_out(false, move |conn, ledger| {
            conn.execute(
                "UPDATE destinations SET orphaned_at = ?2, orphaned_running_ms = ?3
                 WHERE id = ?1 AND orphaned_at IS NULL",
                params![id.0, Timestamp::now().unix_micros(), running::millis(ledger.clock.now())],
            )?;
            Ok(Ok((known(conn, id)?, Proof::None)))
        })
        .await
    }

    /// Lets go of a destination: its row, its groups, its dead letters, its replays, what it remembers. An
    /// act is kept, with what waited (`records`) and was dead. Where it is configured again it is new.
    /// Carried out on a full disk too: it may be what gives room back.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub async fn release_destination(&self, id: DestinationId, act: Act) -> Result<Released, JournalError> {
        self.carry_out(false, move |conn, ledger| release(conn, ledger, id, act.clone())).await
    }
}

/// Whether there is a destination of this name.
fn is_registered(conn: &Connection, name: &str) -> rusqlite::Result<bool> {
    conn.prepare_cached("SELECT EXISTS (SELECT 1 FROM destinations WHERE name = ?1)")?
        .query_row([name], |row| row.get(0))
}

/// The name of the destination that has passed the least, if that is not everything.
pub(super) fn pinned_by(conn: &Connection, last: Sequence) -> rusqlite::Result<Option<String>> {
    conn.prepare_cached("SELECT name FROM destinations WHERE cursor < ?1 ORDER BY cursor, id LIMIT 1")?
        .query_row([last.cast_signed()], |row| row.get(0))
        .optional()
}

fn register(
    conn: &Connection,
    ledger: &mut Ledger,
    name: &str,
    renamed_from: Option<&str>,
) -> Done<DestinationRow, JournalError> {
    let mut proof = Proof::None;
    let there = is_registered(conn, name)?;
    let old = renamed_from.map(|from| by_name(conn, from)).transpose()?.flatten();
    match old {
        Some(old) if there => warn_of_rest(&old, name, ledger.heads.last),
        Some(old) => {
            conn.execute("UPDATE destinations SET name = ?2 WHERE id = ?1", params![old.id.0, name])?;
            proof = acts::record(conn, ledger, &rename(&old.name, name))?;
            tracing::info!(
                from = old.name,
                to = name,
                "a destination's place was taken over under a new name"
            );
        }
        None if there => {}
        None => insert(conn, ledger, name)?,
    }
    conn.execute(
        "UPDATE destinations SET orphaned_at = NULL, orphaned_running_ms = NULL
         WHERE name = ?1 AND orphaned_at IS NOT NULL",
        [name],
    )?;
    let Some(mut row) = by_name(conn, name)? else { return Err(unknown()) };
    mend(conn, &mut row)?;
    batches::keep_only(conn, row.id, &row.open_batches)?;
    ledger.cursors.insert(row.id, row.cursor);
    Ok(Ok((row, proof)))
}

fn warn_of_rest(old: &DestinationRow, name: &str, last: Sequence) {
    let (waiting, dead) = (old.waiting(last), old.books.dead);
    if waiting > 0 || dead > 0 {
        tracing::warn!(
            destination = name,
            renamed_from = old.name,
            waiting,
            dead,
            "the journal knows both names: nothing is taken over from the old one"
        );
    }
}

fn rename(from: &str, to: &str) -> Act {
    let detail = serde_json::json!({ "renamed_from": from });
    Act { detail, ..Act::new(ActKind::Rename, to, Act::RELAY) }
}

fn insert(conn: &Connection, ledger: &Ledger, name: &str) -> rusqlite::Result<()> {
    let id = next_id(conn, "destinations", key::LAST_DESTINATION)?;
    let removed = ledger.heads.removed_through.cast_signed();
    conn.execute(
        "INSERT INTO destinations (id, name, first_seen_at, first_sequence, cursor, acked_from)
         VALUES (?1, ?2, ?3, ?4 + 1, ?4, ?4)",
        params![id, name, Timestamp::now().unix_micros(), removed],
    )
    .map(drop)
}

/// An older release moves the cursor without looking beyond it: what it has counted twice is counted once
/// again, and the bitmap begins behind the cursor it left.
fn mend(conn: &Connection, row: &mut DestinationRow) -> rusqlite::Result<()> {
    let stored: (Option<i64>, Option<Vec<u8>>) =
        conn.query_row("SELECT acked_from, acked FROM destinations WHERE id = ?1", [row.id.0], |found| {
            Ok((found.get(0)?, found.get(1)?))
        })?;
    // What does not fit into the bitmap waits once more.
    let furthest = row.cursor.saturating_add(MAX_WINDOW);
    row.acked.retain(|sequence| *sequence <= furthest);
    let bits = acked::encode(row.cursor, &row.acked)
        .map_err(|sequence| refused(format!("record {sequence} is settled too far beyond the cursor")))?;
    if stored == (Some(row.cursor.cast_signed()), bits.clone()) {
        return Ok(());
    }
    let counted = row.books.sum();
    let passed = (row.cursor + 1).saturating_sub(row.first_sequence) + row.acked.len() as u64;
    let mut excess = counted.saturating_sub(passed);
    for count in [&mut row.books.delivered, &mut row.books.not_routed] {
        let less = excess.min(*count);
        *count -= less;
        excess -= less;
    }
    row.books.not_routed += passed.saturating_sub(counted);
    if counted != passed {
        tracing::warn!(
            destination = row.name,
            counted,
            passed,
            "an older release has kept the books of this destination: they were mended"
        );
    }
    conn.execute(
        "UPDATE destinations SET acked = ?2, acked_from = cursor, delivered = ?3, not_routed = ?4 WHERE id = ?1",
        params![row.id.0, bits, row.books.delivered.cast_signed(), row.books.not_routed.cast_signed()],
    )
    .map(drop)
}

fn release(
    conn: &Connection,
    ledger: &mut Ledger,
    id: DestinationId,
    mut act: Act,
) -> Done<Released, JournalError> {
    let row = known(conn, id)?;
    let released = Released { waiting: row.waiting(ledger.heads.last), dead: row.books.dead };
    let letters: Vec<u64> = conn
        .prepare("SELECT sequence FROM dead_letters WHERE destination = ?1")?
        .query_map([id.0], |letter| number(letter, 0))?
        .collect::<rusqlite::Result<_>>()?;
    for table in ["batches", "dead_letters", "replays", "destination_memory"] {
        conn.execute(&format!("DELETE FROM {table} WHERE destination = ?1"), [id.0])?;
    }
    conn.execute("DELETE FROM destinations WHERE id = ?1", [id.0])?;
    act.destination.get_or_insert(row.name);
    act.records = Some(released.waiting);
    acts::detail(&mut act, "dead", released.dead);
    acts::detail(&mut act, "books", serde_json::to_value(row.books).unwrap_or_default());
    let proof = acts::record(conn, ledger, &act)?;
    ledger.loose.extend(letters);
    ledger.cursors.remove(&id);
    Ok(Ok((released, proof)))
}

fn unknown() -> rusqlite::Error {
    refused("it does not know this destination")
}

/// Everything of one destination that must be there.
pub(super) fn known(conn: &Connection, id: DestinationId) -> rusqlite::Result<DestinationRow> {
    select(conn, "WHERE id = ?1", [id.0])?.pop().ok_or_else(unknown)
}

pub(super) fn by_name(conn: &Connection, name: &str) -> rusqlite::Result<Option<DestinationRow>> {
    Ok(select(conn, "WHERE name = ?1", [name])?.pop())
}

/// The row of a destination of this name.
pub(super) fn id_of(conn: &Connection, name: &str) -> rusqlite::Result<Option<DestinationId>> {
    conn.prepare_cached("SELECT id FROM destinations WHERE name = ?1")?
        .query_row([name], |row| row.get(0).map(DestinationId))
        .optional()
}

/// After a salvage: lets go of what belongs to a destination that is lost, so that no new one is taken for it; and books
/// dead letters that are lost as purged.
pub(super) fn tidy(conn: &Connection) -> rusqlite::Result<()> {
    for table in ["batches", "dead_letters", "replays", "destination_memory"] {
        conn.execute(
            &format!("DELETE FROM {table} WHERE destination NOT IN (SELECT id FROM destinations)"),
            [],
        )?;
    }
    let letters = "(SELECT count(*) FROM dead_letters WHERE destination = destinations.id)";
    conn.execute_batch(&format!(
        "UPDATE destinations SET purged = purged + dead - {letters}, dead = {letters} WHERE dead > {letters}"
    ))
}

/// The last sequence that any destination has settled, as far as its row can be read.
pub(super) fn furthest(conn: &Connection) -> rusqlite::Result<Sequence> {
    let mut statement = conn.prepare("SELECT cursor, acked_from, acked FROM destinations")?;
    let mut rows = statement.query([])?;
    let mut furthest = 0;
    while let Some(row) = rows.next()? {
        let cursor = number(row, 0).unwrap_or(0);
        let bits = row.get::<_, Vec<u8>>(2).unwrap_or_default();
        let acked = acked::decode(number(row, 1).unwrap_or(cursor), &bits);
        furthest = furthest.max(cursor).max(acked.last().copied().unwrap_or(0));
    }
    Ok(furthest)
}

fn all(conn: &Connection) -> rusqlite::Result<Vec<DestinationRow>> {
    // Rows and groups must be of one moment.
    let moment = conn.unchecked_transaction()?;
    select(&moment, "ORDER BY name", [])
}

fn select(
    conn: &Connection,
    which: &str,
    params: impl rusqlite::Params,
) -> rusqlite::Result<Vec<DestinationRow>> {
    let mut rows: Vec<DestinationRow> = conn
        .prepare_cached(&format!("SELECT * FROM destinations {which}"))?
        .query_map(params, destination)?
        .collect::<rusqlite::Result<_>>()?;
    for row in &mut rows {
        let (open_batches, settled) = batches::load(conn, row.id)?;
        row.acked.extend(settled.into_iter().filter(|sequence| *sequence > row.cursor));
        row.acked.sort_unstable();
        row.acked.dedup();
        row.open_batches = open_batches;
        let (cursor, acked) = (row.cursor, &row.acked);
        for batch in &mut row.open_batches {
            batch.members.retain(|member| *member > cursor && acked.binary_search(member).is_err());
        }
        row.open_batches.retain(|batch| !batch.members.is_empty());
        row.open_batches.sort_by_key(|batch| batch.members[0]);
        row.quiet = memory::quiet(conn, row.id)?;
    }
    Ok(rows)
}

fn destination(row: &Row<'_>) -> rusqlite::Result<DestinationRow> {
    let number = |name| row.get::<_, i64>(name).map(i64::cast_unsigned);
    let moment = |name| -> rusqlite::Result<Option<Timestamp>> {
        Ok(row.get::<_, Option<i64>>(name)?.map(Timestamp::from_unix_micros))
    };
    let cursor = number("cursor")?;
    let bits: Option<Vec<u8>> = row.get("acked")?;
    let acked_from = row.get::<_, Option<i64>>("acked_from")?.map_or(cursor, i64::cast_unsigned);
    let mut acked = acked::decode(acked_from, &bits.unwrap_or_default());
    acked.retain(|sequence| *sequence > cursor);
    let running_ms = row.get::<_, Option<i64>>("orphaned_running_ms")?.unwrap_or(0);
    Ok(DestinationRow {
        id: DestinationId(row.get("id")?),
        name: row.get("name")?,
        first_seen_at: Timestamp::from_unix_micros(row.get("first_seen_at")?),
        first_sequence: number("first_sequence")?,
        cursor,
        acked,
        books: Books {
            not_routed: number("not_routed")?,
            before_since: number("before_since")?,
            observed: number("observed")?,
            left_out: number("left_out")?,
            delivered: number("delivered")?,
            dead: number("dead")?,
            purged: number("purged")?,
            replayed: number("replayed")?,
        },
        open_batches: Vec::new(),
        quiet: Vec::new(),
        endpoint: endpoint(row)?,
        paused: pause(row)?,
        orphaned: moment("orphaned_at")?.map(|at| (at, running::from_millis(running_ms))),
    })
}

fn endpoint(row: &Row<'_>) -> rusqlite::Result<Endpoint> {
    let moment = |name| -> rusqlite::Result<Option<Timestamp>> {
        Ok(row.get::<_, Option<i64>>(name)?.map(Timestamp::from_unix_micros))
    };
    let text = |name| row.get::<_, Option<String>>(name);
    Ok(Endpoint {
        state: EndpointState::from_stored(&row.get::<_, String>("state")?),
        reason: text("state_code")?.zip(text("state_reason")?),
        since: moment("state_since")?,
        attempts: row.get("attempts")?,
        not_before: moment("not_before")?,
        fingerprint: row.get("fingerprint")?,
        last_success_at: moment("last_success_at")?,
        last_error: moment("last_error_at")?.zip(text("last_error")?),
    })
}

fn pause(row: &Row<'_>) -> rusqlite::Result<Option<Pause>> {
    let Some(at) = row.get::<_, Option<i64>>("paused_at")? else { return Ok(None) };
    Ok(Some(Pause {
        at: Timestamp::from_unix_micros(at),
        until: row.get::<_, Option<i64>>("paused_until")?.map(Timestamp::from_unix_micros),
        by: row.get("paused_by")?,
        reason: row.get("paused_reason")?,
    }))
}
