//! Dead letters, as operators see them.

use serde::{Deserialize, Serialize};

use super::{Office, Refusal, sentence, words};
use crate::destination::Delivery;
use crate::destination::envelope::envelope;
use crate::event::{EventId, Sequence, Timestamp};
use crate::journal::{DeadLetterPlace, DeadLetterRow, DeadLetterSelection};

/// Rows that are read at once: each brings its record along, which may be 4 MiB.
pub(super) const PAGE: usize = 16;

/// What a record says that is not there any more.
const GONE: &str = "(the record was altered, or is gone, since it was accepted)";

/// A dead letter in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// The record's id, where the record is still whole.
    pub id: Option<EventId>,
    /// Its place in the journal.
    pub sequence: Sequence,
    /// Where it is dead.
    pub destination: String,
    /// A stable word: `rejected`, `expired`, `backlog_limit`, ….
    pub code: String,
    /// Why, in a sentence.
    pub message: String,
    /// How often it was tried.
    pub attempts: u32,
    /// When it died.
    pub died_at: Timestamp,
    /// What the record tells, in a sentence.
    pub what: String,
}

/// A dead letter with its record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WholeLetter {
    /// What a list shows of it.
    #[serde(flatten)]
    pub letter: Letter,
    /// When it was accepted, where the record is still whole.
    pub accepted_at: Option<Timestamp>,
    /// The record, as `format: envelope` would send it: JSON.
    pub envelope: Option<String>,
}

/// A page of them, and after which place there may be more.
pub(super) async fn list(
    office: &Office,
    selection: DeadLetterSelection,
    mut after: Option<DeadLetterPlace>,
    limit: usize,
) -> Result<(Vec<Letter>, Option<DeadLetterPlace>), Refusal> {
    let mut letters = Vec::new();
    loop {
        let rows = PAGE.min(limit - letters.len());
        let page = office.journal.dead_letters(selection.clone(), after, rows).await?;
        let is_last = page.is_empty();
        after = page.last().map(place).or(after);
        letters.extend(page.into_iter().map(|row| letter(office, row).0));
        if is_last || letters.len() >= limit {
            return Ok((letters, after.filter(|_| !is_last)));
        }
    }
}

/// How many there are.
pub(super) async fn count(office: &Office, selection: &DeadLetterSelection) -> Result<u64, Refusal> {
    let mut after = None;
    let mut records = 0;
    loop {
        let page = office.journal.dead_letters(selection.clone(), after, PAGE).await?;
        records += page.len() as u64;
        match page.last() {
            Some(last) => after = Some(place(last)),
            None => return Ok(records),
        }
    }
}

/// Those of one record, with all there is to know.
pub(super) async fn show(
    office: &Office,
    id: EventId,
    destination: Option<String>,
) -> Result<Vec<WholeLetter>, Refusal> {
    let selection = DeadLetterSelection { destination, ids: vec![id], code: None };
    let rows = office.journal.dead_letters(selection, None, PAGE).await?;
    if rows.is_empty() {
        return Err(Refusal::usage(format!("there is no dead letter of {id}")));
    }
    let whole = |row| {
        let (letter, delivery) = letter(office, row);
        let accepted_at = delivery.as_ref().map(|delivery| delivery.record.accepted_at);
        WholeLetter { letter, accepted_at, envelope: delivery.as_ref().and_then(safe_envelope) }
    };
    Ok(rows.into_iter().map(whole).collect())
}

fn letter(office: &Office, row: DeadLetterRow) -> (Letter, Option<Delivery>) {
    let delivery = row.record.map(|record| office.placed(*record));
    let letter = Letter {
        id: delivery.as_ref().map(|delivery| delivery.record.id),
        sequence: row.sequence,
        destination: row.destination_name,
        code: words::escaped(&row.code),
        message: words::brief(&row.message, 1_000),
        attempts: row.attempts,
        died_at: row.died_at,
        what: delivery.as_ref().map_or_else(|| GONE.to_owned(), sentence),
    };
    (letter, delivery)
}

fn safe_envelope(delivery: &Delivery) -> Option<String> {
    let mut json = Vec::new();
    envelope(delivery, &mut json);
    // Inside of JSON the escaped form means the same.
    String::from_utf8(json).ok().map(|json| words::escaped(&json))
}

pub(super) fn place(row: &DeadLetterRow) -> DeadLetterPlace {
    DeadLetterPlace { died_at: row.died_at, destination: row.destination.0, sequence: row.sequence }
}
