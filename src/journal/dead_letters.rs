//! Dead letters: added by lanes, listed, purged, moved to a file.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::job::{Done, Proof, refused};
use super::ledger::Ledger;
use super::rows::{Names, STORED_COLUMNS, number};
use super::{
    Act, DeadLetter, DeadLetterPlace, DeadLetterRow, DeadLetterSelection, DestinationId, Journal,
    JournalError, OperatorError, ReadRow, acts, destinations,
};
use crate::event::{EventId, Sequence, StoredRecord, Timestamp};

/// What a dead letter takes beside its original, about. In bytes.
const LETTER_BYTES: i64 = 400;

/// So many ids are written into the act of a purge; of more, only their number.
const NAMED_IDS: usize = 100;

/// About how many bytes of originals are read at once.
const PAGE_BYTES: usize = 4 << 20;

impl Journal {
    /// Dead letters in the order of dying, at most `max_rows` after a place, and fewer where their originals
    /// take more than 4 MiB: only none at all means the end. A selection by ids finds what
    /// the journal still holds.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub async fn dead_letters(
        &self,
        selection: DeadLetterSelection,
        after: Option<DeadLetterPlace>,
        max_rows: usize,
    ) -> Result<Vec<DeadLetterRow>, JournalError> {
        self.read(move |conn, names| list(conn, names, &selection, after, max_rows)).await
    }

    /// Dead letters of the records after one sequence and up to another, at most `max_rows`, without their records.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub async fn dead_among(
        &self,
        after: Sequence,
        through: Sequence,
        max_rows: usize,
    ) -> Result<Vec<DeadLetterRow>, JournalError> {
        self.read(move |conn, _| among(conn, after, through, max_rows)).await
    }

    /// The bytes of all dead letters, originals counted.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub async fn dead_letter_bytes(&self) -> Result<u64, JournalError> {
        self.read(|conn, _| bytes(conn)).await
    }

    /// Dead letters that were written to a file: they count as purged now. Returns how many were there
    /// still.
    ///
    /// # Errors
    /// See [`JournalError`]; asking again after an error does no harm.
    pub async fn dead_letters_moved(
        &self,
        moved: Vec<(DestinationId, Sequence)>,
    ) -> Result<u64, JournalError> {
        self.carry_out(false, move |conn, ledger| {
            let mut gone = Vec::new();
            for (destination, sequence) in &moved {
                if remove(conn, *destination, *sequence)? {
                    gone.push((*destination, *sequence));
                }
            }
            Ok(Ok((count_as_purged(conn, ledger, gone)?, Proof::None)))
        })
        .await
    }

    /// A person's purge; returns how many. The act is kept with their number.
    ///
    /// # Errors
    /// See [`OperatorError`]; not carried out while the disk is full.
    pub async fn purge_dead_letters(
        &self,
        selection: DeadLetterSelection,
        act: Act,
    ) -> Result<u64, OperatorError> {
        self.carry_out(true, move |conn, ledger| purge(conn, ledger, &selection, act.clone())).await
    }
}

/// Adds one; whether it is new.
pub(super) fn add(
    conn: &Connection,
    destination: DestinationId,
    letter: &DeadLetter,
    now: i64,
) -> rusqlite::Result<bool> {
    let added = conn
        .prepare_cached(
            "INSERT INTO dead_letters (destination, sequence, code, message, attempts, died_at, size_bytes)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6,
                     ?7 + COALESCE((SELECT length(original) + COALESCE(length(previous), 0)
                       FROM records WHERE sequence = ?2), 0))
             ON CONFLICT (destination, sequence) DO NOTHING",
        )?
        .execute(params![
            destination.0,
            letter.sequence.cast_signed(),
            letter.code,
            letter.message,
            letter.attempts,
            now,
            LETTER_BYTES,
        ])?;
    Ok(added == 1)
}

/// Removes one; whether it was there.
pub(super) fn remove(
    conn: &Connection,
    destination: DestinationId,
    sequence: Sequence,
) -> rusqlite::Result<bool> {
    let removed = conn
        .prepare_cached("DELETE FROM dead_letters WHERE destination = ?1 AND sequence = ?2")?
        .execute(params![destination.0, sequence.cast_signed()])?;
    Ok(removed == 1)
}

fn bytes(conn: &Connection) -> rusqlite::Result<u64> {
    conn.prepare_cached(
        "SELECT COALESCE(SUM(COALESCE(size_bytes, ?1 + COALESCE(
           (SELECT length(original) + COALESCE(length(previous), 0)
              FROM records WHERE records.sequence = dead_letters.sequence), 0))), 0)
         FROM dead_letters",
    )?
    .query_row([LETTER_BYTES], |row| number(row, 0))
}

/// What a selection comes to, in values for `?1` to `?3`; `None`: no destination has this name.
struct Which<'a> {
    destination: Option<i64>,
    code: Option<&'a str>,
    ids: Option<String>,
}

/// What [`Which`] is compared with.
const WHICH: &str = "(?1 IS NULL OR destination = ?1) AND (?2 IS NULL OR code = ?2)
    AND (?3 IS NULL OR sequence IN (SELECT sequence FROM records
                                    WHERE id IN (SELECT value FROM json_each(?3))))";

impl<'a> Which<'a> {
    fn of(conn: &Connection, selection: &'a DeadLetterSelection) -> rusqlite::Result<Option<Self>> {
        let destination = match &selection.destination {
            Some(name) => match destinations::id_of(conn, name)? {
                Some(id) => Some(id.0),
                None => return Ok(None),
            },
            None => None,
        };
        let ids = (!selection.ids.is_empty()).then(|| json(&selection.ids)).transpose()?;
        Ok(Some(Self { destination, code: selection.code.as_deref(), ids }))
    }
}

/// Ids as `json_each` reads them.
pub(super) fn json(ids: &[EventId]) -> rusqlite::Result<String> {
    serde_json::to_string(ids).map_err(|error| refused(error.to_string()))
}

fn list(
    conn: &Connection,
    names: &mut Names,
    selection: &DeadLetterSelection,
    after: Option<DeadLetterPlace>,
    max_rows: usize,
) -> rusqlite::Result<Vec<DeadLetterRow>> {
    // A letter and its record must be of one moment.
    let moment = conn.unchecked_transaction()?;
    let Some(which) = Which::of(&moment, selection)? else { return Ok(Vec::new()) };
    let after = after.map_or((i64::MIN, 0, 0), |place| {
        (place.died_at.unix_micros(), place.destination, place.sequence.cast_signed())
    });
    let mut letters: Vec<DeadLetterRow> = moment
        .prepare_cached(&format!(
            "SELECT destination, (SELECT name FROM destinations WHERE id = destination), code, message, attempts,
               died_at, sequence
             FROM dead_letters WHERE (died_at, destination, sequence) > (?4, ?5, ?6) AND {WHICH}
             ORDER BY died_at, destination, sequence LIMIT ?7"
        ))?
        .query_map(
            params![
                which.destination,
                which.code,
                which.ids,
                after.0,
                after.1,
                after.2,
                i64::try_from(max_rows).unwrap_or(i64::MAX),
            ],
            letter,
        )?
        .collect::<rusqlite::Result<_>>()?;
    let (mut bytes, mut whole) = (0, 0);
    for letter in &mut letters {
        letter.record = record(&moment, names, letter.sequence)?;
        bytes += letter.record.as_ref().map_or(0, |record| record.size_bytes());
        whole += 1;
        if bytes >= PAGE_BYTES {
            break;
        }
    }
    letters.truncate(whole);
    Ok(letters)
}

/// By the primary key, destination after destination.
fn among(
    conn: &Connection,
    after: Sequence,
    through: Sequence,
    max_rows: usize,
) -> rusqlite::Result<Vec<DeadLetterRow>> {
    conn.prepare_cached(
        "SELECT d.id, d.name, l.code, l.message, l.attempts, l.died_at, l.sequence
         FROM destinations d CROSS JOIN dead_letters l ON l.destination = d.id
         WHERE l.sequence > ?1 AND l.sequence <= ?2 LIMIT ?3",
    )?
    .query_map(
        params![after.cast_signed(), through.cast_signed(), i64::try_from(max_rows).unwrap_or(i64::MAX)],
        letter,
    )?
    .collect()
}

fn letter(row: &Row<'_>) -> rusqlite::Result<DeadLetterRow> {
    Ok(DeadLetterRow {
        destination: DestinationId(row.get(0)?),
        destination_name: row.get::<_, Option<String>>(1)?.unwrap_or_default(),
        code: row.get(2)?,
        message: row.get(3)?,
        attempts: row.get(4)?,
        died_at: Timestamp::from_unix_micros(row.get(5)?),
        sequence: number(row, 6)?,
        record: None,
    })
}

fn record(
    conn: &Connection,
    names: &mut Names,
    sequence: Sequence,
) -> rusqlite::Result<Option<Box<StoredRecord>>> {
    let found = conn
        .prepare_cached(&format!("SELECT {STORED_COLUMNS} FROM records WHERE sequence = ?1"))?
        .query_row([sequence.cast_signed()], |row| names.record(conn, row))
        .optional()?;
    Ok(match found {
        Some(ReadRow::Record(record)) => Some(record),
        Some(ReadRow::Corrupt { .. }) | None => None,
    })
}

fn purge(
    conn: &Connection,
    ledger: &mut Ledger,
    selection: &DeadLetterSelection,
    mut act: Act,
) -> Done<u64, OperatorError> {
    let Some(which) = Which::of(conn, selection)? else {
        let name = selection.destination.clone().unwrap_or_default();
        return Ok(Err(OperatorError::NoSuchDestination(name)));
    };
    let gone: Vec<(DestinationId, Sequence)> = conn
        .prepare_cached(&format!("DELETE FROM dead_letters WHERE {WHICH} RETURNING destination, sequence"))?
        .query_map(params![which.destination, which.code, which.ids], |row| {
            Ok((DestinationId(row.get(0)?), number(row, 1)?))
        })?
        .collect::<rusqlite::Result<_>>()?;
    let purged = count_as_purged(conn, ledger, gone)?;
    act.destination = act.destination.or_else(|| selection.destination.clone());
    act.records = Some(purged);
    if let Some(code) = &selection.code {
        acts::detail(&mut act, "code", code.as_str());
    }
    match selection.ids.len() {
        0 => {}
        1..=NAMED_IDS => {
            acts::detail(&mut act, "ids", serde_json::to_value(&selection.ids).unwrap_or_default());
        }
        many => acts::detail(&mut act, "ids", many),
    }
    let proof = acts::record(conn, ledger, &act)?;
    Ok(Ok((purged, proof)))
}

/// Books letters that are gone as purged, and lets their records be swept up. Returns their number.
fn count_as_purged(
    conn: &Connection,
    ledger: &mut Ledger,
    gone: Vec<(DestinationId, Sequence)>,
) -> rusqlite::Result<u64> {
    let mut counts = std::collections::BTreeMap::<i64, i64>::new();
    for (destination, _) in &gone {
        *counts.entry(destination.0).or_default() += 1;
    }
    for (destination, count) in counts {
        conn.prepare_cached("UPDATE destinations SET dead = dead - ?2, purged = purged + ?2 WHERE id = ?1")?
            .execute([destination, count])?;
    }
    ledger.loose.extend(gone.iter().map(|(_, sequence)| *sequence));
    Ok(gone.len() as u64)
}
