//! Which configuration was applied when.

use rusqlite::{Connection, OptionalExtension, params};

use super::acts;
use super::job::Proof;
use super::{Act, Journal, OperatorError};
use crate::event::Timestamp;

impl Journal {
    /// Keeps that a configuration is applied from now on: `sha256` over its files, and `summary`, what it changed.
    /// One that differs from the last is an act, and so a record; the first of a journal is none. True where it
    /// differs.
    ///
    /// # Errors
    /// See [`OperatorError`]; not carried out while the disk is full.
    pub async fn note_configuration(
        &self,
        sha256: [u8; 32],
        summary: &str,
        act: Act,
    ) -> Result<bool, OperatorError> {
        let summary = summary.to_owned();
        self.carry_out(true, move |conn, ledger| {
            let last = last_applied(conn)?;
            if last == Some(sha256) {
                return Ok(Ok((false, Proof::None)));
            }
            conn.execute(
                "INSERT INTO configurations (applied_at, hash, summary) VALUES (?1, ?2, ?3)",
                params![Timestamp::now().unix_micros(), sha256, summary],
            )?;
            let proof = match last {
                Some(_) => acts::record(conn, ledger, &act)?,
                None => Proof::None,
            };
            Ok(Ok((true, proof)))
        })
        .await
    }
}

fn last_applied(conn: &Connection) -> rusqlite::Result<Option<[u8; 32]>> {
    conn.query_row("SELECT hash FROM configurations ORDER BY id DESC LIMIT 1", [], |row| row.get(0))
        .optional()
}
