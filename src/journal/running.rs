//! How long the relay has run with its journal, summed over restarts: the clock that ages are counted by.

use std::time::{Duration, Instant};

use rusqlite::{Connection, params};

use super::schema::{key, read_meta, write_meta};

/// The running time is written with a group when it was last written so long ago.
pub(super) const SAVE_INTERVAL: Duration = Duration::from_secs(10);

/// The steady clock, and what earlier runs have summed up.
#[derive(Debug)]
pub(super) struct RunningClock {
    base: Duration,
    opened: Instant,
    #[cfg(test)]
    ahead_ms: std::sync::atomic::AtomicU64,
}

impl RunningClock {
    pub(super) fn new(base: Duration) -> Self {
        Self {
            base,
            opened: Instant::now(),
            #[cfg(test)]
            ahead_ms: std::sync::atomic::AtomicU64::new(0),
        }
    }

    pub(super) fn now(&self) -> Duration {
        let running = self.base.saturating_add(self.opened.elapsed());
        #[cfg(test)]
        let running = running
            .saturating_add(Duration::from_millis(self.ahead_ms.load(std::sync::atomic::Ordering::SeqCst)));
        running
    }

    /// Lets time pass, in a test.
    #[cfg(test)]
    pub(super) fn advance(&self, by: Duration) {
        let by = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.ahead_ms.fetch_add(by, std::sync::atomic::Ordering::SeqCst);
    }
}

/// As it is stored.
pub(super) fn millis(running: Duration) -> i64 {
    i64::try_from(running.as_millis()).unwrap_or(i64::MAX)
}

/// From what is stored.
pub(super) fn from_millis(millis: i64) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

pub(super) fn save(conn: &Connection, running: Duration) -> rusqlite::Result<()> {
    write_meta(conn, key::RUNNING_MS, millis(running))?;
    write_meta(conn, key::RUNNING_SECONDS, millis(running) / 1_000).map(drop)
}

/// Where the clock goes on: nothing that was written has a later time.
pub(super) fn base(conn: &Connection) -> rusqlite::Result<Duration> {
    conn.query_row(
        "SELECT MAX(COALESCE((SELECT CAST(value AS INTEGER) FROM meta WHERE key = ?1), 0),
                    COALESCE((SELECT CAST(value AS INTEGER) * 1000 FROM meta WHERE key = ?2), 0),
                    COALESCE((SELECT running_ms FROM records ORDER BY sequence DESC LIMIT 1), 0),
                    COALESCE((SELECT MAX(orphaned_running_ms) FROM destinations), 0))",
        [key::RUNNING_MS, key::RUNNING_SECONDS],
        |row| row.get(0).map(from_millis),
    )
}

/// Gives the running time of now to what an older release has accepted since this one was last here: it
/// keeps none, and what is young must not look as old as the migration.
pub(super) fn stamp(conn: &Connection, running: Duration) -> rusqlite::Result<usize> {
    let unstamped: i64 = read_meta(conn, key::UNSTAMPED_THROUGH)?.unwrap_or(0);
    let after: i64 = conn.query_row(
        "SELECT MAX(?1, COALESCE((SELECT sequence FROM records WHERE sequence > ?1 AND running_ms IS NOT NULL
                                  ORDER BY sequence DESC LIMIT 1), 0))",
        [unstamped],
        |row| row.get(0),
    )?;
    conn.execute(
        "UPDATE records SET running_ms = ?2 WHERE sequence > ?1 AND running_ms IS NULL",
        params![after, millis(running)],
    )
}
