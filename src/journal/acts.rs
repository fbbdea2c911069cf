//! Acts of operators: each is a record, committed with what it did.

use rusqlite::{Connection, params};

use super::append::Inserter;
use super::job::{Done, Proof, refused};
use super::ledger::Ledger;
use super::{Act, DestinationRow, Endpoint, Journal, OperatorError, Pause, SourceId, destinations, settle};
use crate::event::{EventId, Framing, Keys, Namespace, NewRecord, RecordKind, Timestamp};

/// The source of what the relay itself records, and the instance it belongs to. No configured source can
/// have this name.
pub(super) const SOURCE: &str = "audit-relay";

impl Journal {
    /// A person's pause.
    ///
    /// # Errors
    /// See [`OperatorError`]; not carried out while the disk is full.
    pub async fn pause_destination(&self, name: &str, pause: Pause, act: Act) -> Result<(), OperatorError> {
        let name = name.to_owned();
        self.carry_out(true, move |conn, ledger| set_pause(conn, ledger, &name, &pause, act.clone())).await
    }

    /// Ends a pause, and forgets what was found about the endpoint (waiting, blocked, gone): it is asked at
    /// once. Returns how it stood before.
    ///
    /// # Errors
    /// See [`OperatorError`]; not carried out while the disk is full.
    pub async fn resume_destination(&self, name: &str, act: Act) -> Result<DestinationRow, OperatorError> {
        let name = name.to_owned();
        self.carry_out(true, move |conn, ledger| resume(conn, ledger, &name, act.clone())).await
    }
}

fn set_pause(
    conn: &Connection,
    ledger: &mut Ledger,
    name: &str,
    pause: &Pause,
    mut act: Act,
) -> Done<(), OperatorError> {
    let paused = conn.execute(
        "UPDATE destinations SET paused_at = ?2, paused_until = ?3, paused_by = ?4, paused_reason = ?5
         WHERE name = ?1",
        params![
            name,
            pause.at.unix_micros(),
            pause.until.map(Timestamp::unix_micros),
            pause.by,
            pause.reason
        ],
    )?;
    if paused == 0 {
        return Ok(Err(OperatorError::NoSuchDestination(name.to_owned())));
    }
    act.destination.get_or_insert_with(|| name.to_owned());
    act.reason = act.reason.or_else(|| pause.reason.clone());
    if let Some(until) = pause.until {
        detail(&mut act, "until", until.to_string());
    }
    Ok(Ok(((), record(conn, ledger, &act)?)))
}

fn resume(
    conn: &Connection,
    ledger: &mut Ledger,
    name: &str,
    mut act: Act,
) -> Done<DestinationRow, OperatorError> {
    let Some(row) = destinations::by_name(conn, name)? else {
        return Ok(Err(OperatorError::NoSuchDestination(name.to_owned())));
    };
    conn.execute(
        "UPDATE destinations SET paused_at = NULL, paused_until = NULL, paused_by = NULL, paused_reason = NULL,
           first_failed_at = NULL
         WHERE id = ?1",
        [row.id.0],
    )?;
    let endpoint = Endpoint {
        since: Some(Timestamp::now()),
        fingerprint: row.endpoint.fingerprint.clone(),
        last_error: row.endpoint.last_error.clone(),
        ..Endpoint::default()
    };
    settle::write_endpoint(conn, row.id, &endpoint)?;
    conn.execute("UPDATE batches SET not_before = NULL WHERE destination = ?1", [row.id.0])?;
    act.destination.get_or_insert_with(|| name.to_owned());
    let proof = record(conn, ledger, &act)?;
    Ok(Ok((row, proof)))
}

/// Says one thing more about an act, unless whoever asked for it has said it.
pub(super) fn detail(act: &mut Act, key: &str, value: impl Into<serde_json::Value>) {
    if act.detail.is_null() {
        act.detail = serde_json::json!({});
    }
    if let Some(known) = act.detail.as_object_mut() {
        known.entry(key).or_insert_with(|| value.into());
    }
}

/// Keeps an act: the next record, in the savepoint of what it did.
pub(super) fn record(conn: &Connection, ledger: &mut Ledger, act: &Act) -> rusqlite::Result<Proof> {
    let original = serde_json::to_vec(act).map_err(|error| refused(error.to_string()))?;
    let id = EventId::of_sequence(&ledger.epoch_name, ledger.heads.last + 1, &original);
    let record = NewRecord {
        id: Some(id),
        kind: RecordKind::Act,
        offset: 0,
        framing: Framing::Auto,
        original,
        detail: None,
        event_time: None,
        keys: Keys::barrier(Namespace::None),
        news: None,
        trace: None,
        origin: None,
    };
    let source = source(conn)?;
    let now = Timestamp::now().unix_micros();
    if !Inserter::new(conn, ledger, source, None, now)?.insert(&record)?.is_new {
        return Err(refused(format!("there is a record {id} already")));
    }
    Ok(Proof::Record(id))
}

fn source(conn: &Connection) -> rusqlite::Result<SourceId> {
    conn.prepare_cached(
        "INSERT INTO sources (name, instance, started) VALUES (?1, ?1, 1) ON CONFLICT (name, instance) DO NOTHING",
    )?
    .execute([SOURCE])?;
    conn.prepare_cached("SELECT id FROM sources WHERE name = ?1 AND instance = ?1")?
        .query_row([SOURCE], |row| row.get(0).map(SourceId))
}
