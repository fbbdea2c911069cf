//! The full check, at leisure, and the tick of the minute.

use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, InterruptHandle};
use tokio::sync::mpsc;

use super::chain::Follower;
use super::open;
use super::rows::{RECORD_COLUMNS, digest_fits, link_fits, number};
use super::shared::Shared;
use super::writer::Command;
use crate::event::Sequence;

/// The start has other work first.
const DELAY: Duration = Duration::from_secs(5);

const TICK: Duration = Duration::from_secs(60);

/// Records in one slice of the walk.
const SLICE: i64 = 500;

/// Between two slices it rests so many times as long as the slice took.
const REST: u32 = 4;

/// One thread that checks once and then ticks, until `stop` is dropped.
pub(super) struct Keeper {
    pub(super) shared: Arc<Shared>,
    pub(super) writer: mpsc::WeakSender<Command>,
    /// Ends a long statement when the journal closes.
    pub(super) interrupt: Arc<Mutex<Option<InterruptHandle>>>,
    /// The last record that was there when the journal was opened: what has come since was just written.
    pub(super) through: Sequence,
}

impl Keeper {
    pub(super) fn run(self, stop: &Receiver<()>) {
        if pause(stop, DELAY) {
            return;
        }
        let rest = |worked: Duration| !pause(stop, worked * REST);
        match full_check(&self.shared, &self.interrupt, self.through, rest) {
            Ok(Some(checked)) => tracing::debug!(checked, "the full check of the journal is done"),
            Ok(None) => return,
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => return,
            Err(error) => {
                self.shared.note_damage(&error, false);
                tracing::warn!(%error, "the full check of the journal ended early");
            }
        }
        while !pause(stop, TICK) {
            let Some(writer) = self.writer.upgrade() else { return };
            // If the queue is full the writer has better things to do.
            let _ = writer.try_send(Command::Tick);
        }
    }
}

/// Whether it is time to end.
fn pause(stop: &Receiver<()>, length: Duration) -> bool {
    !matches!(stop.recv_timeout(length), Err(RecvTimeoutError::Timeout))
}

/// Checks the structure, then the digest of every record up to `through` and the chain over them; `rest` is
/// called after each slice and says whether to go on. Returns how many records were checked, or `None` if it
/// was told to end.
pub(super) fn full_check(
    shared: &Shared,
    interrupt: &Mutex<Option<InterruptHandle>>,
    through: Sequence,
    rest: impl Fn(Duration) -> bool,
) -> rusqlite::Result<Option<u64>> {
    if through == 0 {
        return Ok(Some(0));
    }
    let conn = open::read_only(&shared.files.database)?;
    *interrupt.lock().unwrap_or_else(PoisonError::into_inner) = Some(conn.get_interrupt_handle());
    if !rest(Duration::ZERO) {
        return Ok(None);
    }
    let structure: String = conn.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if structure != "ok" {
        shared.set_damaged(structure.lines().next().unwrap_or_default(), false);
    }
    let mut walk = Walk { follower: Follower::begin(&conn, 0)?, checked: 0, corrupt: 0, said: false };
    loop {
        let began = Instant::now();
        let more = walk.slice(&conn, through)?;
        // The start has counted the newest ones already.
        shared.corrupt_records.fetch_max(walk.corrupt, Ordering::Relaxed);
        if !more {
            return Ok(Some(walk.checked));
        }
        if !rest(began.elapsed()) {
            return Ok(None);
        }
    }
}

/// The walk over all records.
struct Walk {
    follower: Follower,
    checked: u64,
    corrupt: u64,
    /// Whether it was said that the chain is broken: what follows the first break tells nothing new.
    said: bool,
}

impl Walk {
    /// Verifies one slice; whether there was anything.
    fn slice(&mut self, conn: &Connection, through: Sequence) -> rusqlite::Result<bool> {
        let moment = conn.unchecked_transaction()?;
        self.follower.go_on(&moment)?;
        let mut statement = moment.prepare_cached(&format!(
            "SELECT {RECORD_COLUMNS} FROM records WHERE sequence > ?1 AND sequence <= ?2 ORDER BY sequence
             LIMIT ?3"
        ))?;
        let range = [self.follower.passed().cast_signed(), through.cast_signed(), SLICE];
        let mut rows = statement.query(range)?;
        let checked = self.checked;
        while let Some(row) = rows.next()? {
            let sequence = number(row, 0)?;
            let missing = self.follower.missing_before(sequence);
            if !missing.is_empty() {
                self.corrupt = self.corrupt.saturating_add(missing.end - missing.start);
                self.broken(missing.start, "records are missing from here on");
            }
            let link_fits = link_fits(&mut self.follower, row)?;
            let digest_fits = digest_fits(row).unwrap_or(false);
            self.corrupt = self.corrupt.saturating_add(u64::from(!digest_fits || !link_fits));
            if !digest_fits {
                tracing::error!(sequence, "a record was altered since it was accepted");
            } else if !link_fits {
                self.broken(sequence, "this record does not fit to the one before");
            }
            self.checked += 1;
        }
        Ok(self.checked > checked)
    }

    fn broken(&mut self, sequence: u64, what: &str) {
        if !std::mem::replace(&mut self.said, true) {
            tracing::error!(sequence, "the chain of records is broken: {what}");
        }
    }
}
