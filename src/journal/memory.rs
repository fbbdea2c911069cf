//! What a destination remembers between requests: words under which it tells nothing for a while.

use rusqlite::{Connection, params};

use super::DestinationId;
use crate::event::Timestamp;

/// Before each word.
const QUIET: &str = "quiet:";

/// The words of a destination, and until when.
pub(super) fn quiet(
    conn: &Connection,
    destination: DestinationId,
) -> rusqlite::Result<Vec<(String, Timestamp)>> {
    conn.prepare_cached(
        "SELECT substr(key, length(?2) + 1), value FROM destination_memory
         WHERE destination = ?1 AND substr(key, 1, length(?2)) = ?2 AND typeof(value) = 'integer'",
    )?
    .query_map(params![destination.0, QUIET], |row| {
        Ok((row.get(0)?, Timestamp::from_unix_micros(row.get(1)?)))
    })?
    .collect()
}

/// Remembers these words and no others.
pub(super) fn keep_quiet(
    conn: &Connection,
    destination: DestinationId,
    words: &[(String, Timestamp)],
    now: i64,
) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "DELETE FROM destination_memory WHERE destination = ?1 AND substr(key, 1, length(?2)) = ?2",
    )?
    .execute(params![destination.0, QUIET])?;
    let mut insert = conn.prepare_cached(
        "INSERT INTO destination_memory (destination, key, value, remembered_at) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for (word, until) in words {
        insert.execute(params![destination.0, format!("{QUIET}{word}"), until.unix_micros(), now])?;
    }
    Ok(())
}
