//! What the writer does between groups: retention, giving space back, checkpoints, and what is due each
//! minute or hour. A turn is short, so that nobody waits for it.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::job::Meaning;
use super::retention::{self, Pages, Wanted};
use super::writer::Writer;
use super::{push, running, states};
use crate::event::Timestamp;

/// Between two looks at the age of records.
const AGE_INTERVAL: Duration = Duration::from_secs(3_600);

/// The wall clock may run ahead of the steady one, or behind it, by this much between two ticks.
const MAX_CLOCK_STEP: Duration = Duration::from_secs(60);

/// How long no record is judged by its age after the clock has jumped.
const CLOCK_FREEZE: Duration = Duration::from_secs(600);

/// A WAL that is larger is an alarm, in bytes.
const WAL_ALARM_BYTES: u64 = 64 << 20;

/// For how long one turn of making room for an append may last.
const TURN: Duration = Duration::from_millis(250);

#[derive(Debug)]
pub(super) struct Upkeep {
    max_size_bytes: u64,
    /// Remove until no more than this is used, in bytes.
    goal_bytes: Option<u64>,
    /// Remove what was accepted before this (microseconds).
    before: Option<i64>,
    vacuum: bool,
    /// About how much was written since the last checkpoint, in bytes.
    unchecked_bytes: u64,
    wal_alarm: bool,
    clocks: (Instant, Timestamp),
    frozen_until: Option<Instant>,
    aged_at: Option<Instant>,
    /// Where the sweep over all that retention has passed goes on.
    sweep_after: Option<u64>,
}

impl Upkeep {
    pub(super) fn new(max_size_bytes: u64) -> Self {
        Self {
            max_size_bytes,
            goal_bytes: None,
            before: None,
            vacuum: false,
            unchecked_bytes: 0,
            wal_alarm: false,
            clocks: (Instant::now(), Timestamp::now()),
            frozen_until: None,
            aged_at: None,
            sweep_after: None,
        }
    }

    fn is_due(&self) -> bool {
        self.goal_bytes.is_some() || self.before.is_some() || self.vacuum || self.sweep_after.is_some()
    }

    /// How large the WAL may become before it is copied into the database, in bytes.
    pub(super) fn wal_limit_bytes(&self) -> u64 {
        wal_limit_bytes(self.max_size_bytes)
    }

    /// About how much was written since the last checkpoint, in bytes.
    pub(super) fn unchecked_bytes(&self) -> u64 {
        self.unchecked_bytes
    }

    /// Notes that a group was committed which added about `growth_bytes`.
    pub(super) fn written(&mut self, growth_bytes: u64) {
        self.unchecked_bytes += growth_bytes + growth_bytes / 4 + 12 * 1024;
    }

    /// Whether the wall clock has jumped since the last tick.
    fn clock_jumped(&mut self) -> bool {
        let (now, wall) = (Instant::now(), Timestamp::now());
        let (then, wall_then) = std::mem::replace(&mut self.clocks, (now, wall));
        let steady = now.saturating_duration_since(then);
        let expected = wall_then.plus(steady);
        wall.since(expected).max(expected.since(wall)) > MAX_CLOCK_STEP
    }
}

pub(super) fn wal_limit_bytes(max_size_bytes: u64) -> u64 {
    (max_size_bytes / 16).clamp(256 << 10, 8 << 20)
}

impl Writer {
    /// Once a minute.
    pub(super) fn tick(&mut self) {
        let now = Instant::now();
        if self.upkeep.clock_jumped() {
            tracing::warn!("the clock has jumped: no record is removed for its age for ten minutes");
            self.upkeep.frozen_until = Some(now + CLOCK_FREEZE);
        }
        let frozen = self.upkeep.frozen_until.is_some_and(|until| now < until);
        let due = self.upkeep.aged_at.is_none_or(|then| now.duration_since(then) >= AGE_INTERVAL);
        if due && !frozen {
            self.upkeep.aged_at = Some(now);
            let keep = i64::try_from(self.shared.keep_micros.load(Ordering::Relaxed)).unwrap_or(i64::MAX);
            self.upkeep.before = Some(Timestamp::now().unix_micros().saturating_sub(keep));
            self.hourly();
        }
        if self.room_again()
            && !self.reserve.is_held()
            && let Err(error) = self.reserve.hold()
        {
            tracing::warn!(%error, "there is no room for the reserve");
        }
        if self.upkeep.unchecked_bytes > 0 {
            self.checkpoint(true);
        }
    }

    fn hourly(&mut self) {
        self.upkeep.sweep_after = Some(0);
        let Some(conn) = &self.conn else { return };
        let states = &mut self.ledger.states;
        let done = running::save(conn, self.ledger.clock.now())
            .and_then(|()| match self.upkeep.before {
                Some(before) => states::prune_old(conn, states, before).map(drop),
                None => Ok(()),
            })
            .and_then(|()| push::forget_old(conn, Timestamp::now()));
        self.ledger.uncounted_key_bytes = u64::MAX;
        if let Err(error) = done {
            self.failed_upkeep(&error);
        }
    }

    /// Keeps states within their share of the journal.
    fn prune_states(&mut self) {
        let Some(conn) = &self.conn else { return };
        match states::prune(conn, &mut self.ledger.states, self.shared.max_size_bytes()) {
            Ok(0) => {}
            Ok(rows) => {
                tracing::warn!(
                    rows,
                    "states take too much of the journal: those heard of longest ago are forgotten"
                );
                self.upkeep.unchecked_bytes += rows * 512;
            }
            Err(error) => self.failed_upkeep(&error),
        }
    }

    /// Keeps the keys of pushes within their share of the journal: they must not displace its records.
    fn prune_keys(&mut self) {
        let Some(conn) = &self.conn else { return };
        match push::prune(conn, self.shared.max_size_bytes()) {
            Ok((0, _)) => self.ledger.uncounted_key_bytes = 0,
            Ok((keys, freed_bytes)) => {
                tracing::warn!(
                    keys,
                    "names of pushes take too much of the journal: a repetition of the oldest is not known any more"
                );
                self.upkeep.unchecked_bytes += freed_bytes + keys * 512;
            }
            Err(error) => {
                // Again within the hour.
                self.ledger.uncounted_key_bytes = 0;
                self.failed_upkeep(&error);
            }
        }
    }

    /// Whether there is work to go on with.
    pub(super) fn is_due(&self) -> bool {
        self.upkeep.is_due() || !self.ledger.loose.is_empty()
    }

    /// One turn between two groups.
    pub(super) fn maintain(&mut self) {
        if self.upkeep.unchecked_bytes >= self.upkeep.wal_limit_bytes() {
            self.checkpoint(false);
        }
        if self.ledger.states.is_worth_counting(self.shared.max_size_bytes()) {
            self.prune_states();
        }
        if push::is_worth_counting(self.ledger.uncounted_key_bytes, self.shared.max_size_bytes()) {
            self.prune_keys();
        }
        let high = self.shared.max_size_bytes() - self.shared.max_size_bytes() / 32;
        if self.upkeep.goal_bytes.is_none() && self.used_bytes() > high && self.worth_removing() {
            self.upkeep.goal_bytes = Some(self.low_mark());
        }
        if self.is_due() {
            self.turn();
        }
    }

    /// Where removing stops: a little room at once, so that it does not begin again with the next record.
    fn low_mark(&self) -> u64 {
        self.shared.max_size_bytes() - self.shared.max_size_bytes() / 16
    }

    /// A few rows at a time are not worth a transaction, unless nothing can be accepted without.
    fn worth_removing(&self) -> bool {
        let loose = self.removable_through().saturating_sub(self.ledger.heads.removed_through);
        loose >= 1_000 || (loose > 0 && self.used_bytes() > self.shared.max_size_bytes())
    }

    /// What every destination in the table has passed: one that is not configured now is still owed what
    /// it has not passed.
    fn removable_through(&self) -> u64 {
        if self.shared.keeps_all.load(Ordering::Relaxed) {
            return self.ledger.heads.removed_through;
        }
        let last = self.ledger.heads.last;
        self.ledger.cursors.values().copied().min().unwrap_or(last).min(last)
    }

    /// Removes until `needed_bytes` fit, for an append that waits; gives up after a moment.
    pub(super) fn make_room(&mut self, needed_bytes: u64) {
        let began = Instant::now();
        let goal = self.shared.max_size_bytes().saturating_sub(needed_bytes).min(self.low_mark());
        if self.shared.files.wal_bytes() > self.upkeep.wal_limit_bytes() {
            self.checkpoint(true);
        }
        self.upkeep.goal_bytes = Some(goal);
        while self.is_due() && self.used_bytes() > goal && began.elapsed() < TURN {
            self.turn();
        }
    }

    /// Removes what nothing needs any more of what retention had passed by: one slice.
    fn sweep(&mut self) -> rusqlite::Result<u64> {
        let Some(conn) = &self.conn else { return Ok(0) };
        let mut rows = retention::remove_loose(conn, &mut self.ledger)?;
        if let Some(after) = self.upkeep.sweep_after {
            let (swept, next) = retention::sweep(conn, &self.ledger, after)?;
            rows += swept;
            self.upkeep.sweep_after = next;
        }
        Ok(rows)
    }

    /// Removes one slice, and gives back the space of one.
    fn turn(&mut self) {
        let swept = match self.sweep() {
            Ok(swept) => swept,
            Err(error) => return self.failed_upkeep(&error),
        };
        let used = self.used_bytes();
        let excess = self.upkeep.goal_bytes.map_or(0, |goal| used.saturating_sub(goal));
        let wanted = Wanted { through: self.removable_through(), before: self.upkeep.before, bytes: excess };
        let Some(conn) = &self.conn else {
            return self.give_up();
        };
        let done = retention::slice(conn, &mut self.ledger, wanted).and_then(|removed| {
            let vacuum = retention::vacuum(conn, Pages::measure(conn)?)?;
            Ok((removed, vacuum, Pages::measure(conn)?))
        });
        let (removed, vacuum, pages) = match done {
            Ok(done) => done,
            Err(error) => return self.failed_upkeep(&error),
        };
        let rows = removed.rows + swept;
        let moved = self.pages != pages || rows > 0;
        self.pages = pages;
        if moved {
            tracing::debug!(rows, used_bytes = self.used_bytes(), "retention");
            // Removing rewrites pages of every row: all of that is in the WAL now.
            self.upkeep.unchecked_bytes += 64 * 1024 + rows * 512;
            self.checkpoint(false);
        }
        self.upkeep.vacuum = vacuum;
        if !removed.more {
            self.upkeep.before = None;
        }
        let reached = self.upkeep.goal_bytes.is_some_and(|goal| self.used_bytes() <= goal);
        if reached || rows == 0 && !removed.more && !self.is_sweeping() {
            self.upkeep.goal_bytes = None;
        }
        self.publish();
    }

    fn is_sweeping(&self) -> bool {
        self.upkeep.sweep_after.is_some() || !self.ledger.loose.is_empty()
    }

    /// Leaves everything for another time.
    fn give_up(&mut self) {
        (self.upkeep.goal_bytes, self.upkeep.before, self.upkeep.vacuum) = (None, None, false);
        self.upkeep.sweep_after = None;
        self.ledger.loose.clear();
    }

    /// Copies the WAL into the database; `truncate` empties its file too, if no reader is in the way.
    pub(super) fn checkpoint(&mut self, truncate: bool) {
        let Some(conn) = &self.conn else { return };
        let done = checkpoint(conn, truncate);
        let wal_bytes = self.shared.files.wal_bytes();
        let done = match done {
            Ok(_) if !truncate && wal_bytes > 2 * self.upkeep.wal_limit_bytes() => checkpoint(conn, true),
            done => done,
        };
        match done {
            Ok(whole) => {
                // If a reader was in the way, it is tried again a little later.
                self.upkeep.unchecked_bytes = if whole { 0 } else { self.upkeep.wal_limit_bytes() / 2 };
            }
            Err(error) => return self.failed_upkeep(&error),
        }
        let wal_bytes = self.shared.files.wal_bytes();
        let alarm = wal_bytes > WAL_ALARM_BYTES;
        if alarm && !self.upkeep.wal_alarm {
            tracing::warn!(wal_bytes, "the WAL of the journal grows: something reads it for long");
        }
        self.upkeep.wal_alarm = alarm;
    }

    fn failed_upkeep(&mut self, error: &rusqlite::Error) {
        self.give_up();
        if self.meaning(error) == Meaning::DiskFull {
            self.enter_disk_full(error);
            if let Err(error) = self.roll_back() {
                self.broken(Vec::new(), &error);
            }
        } else {
            self.broken(Vec::new(), error);
        }
    }

    /// The last thing: everything into the database, nothing left in the WAL.
    pub(super) fn close_database(&mut self) {
        let Some(conn) = self.conn.take() else { return };
        let done = running::save(&conn, self.ledger.clock.now()).and_then(|()| checkpoint(&conn, true));
        if let Err(error) = done {
            tracing::warn!(%error, "the WAL could not be emptied: it is read at the next start");
        }
        if let Err((_, error)) = conn.close() {
            tracing::warn!(%error, "the journal could not be closed");
        }
        self.shared.used_bytes.store(0, Ordering::Relaxed);
    }
}

/// Whether all of the WAL is in the database now.
fn checkpoint(conn: &Connection, truncate: bool) -> rusqlite::Result<bool> {
    if truncate {
        // It waits for readers; it must not wait for long.
        conn.busy_timeout(Duration::from_millis(20))?;
    }
    let sql = if truncate { "PRAGMA wal_checkpoint(TRUNCATE)" } else { "PRAGMA wal_checkpoint(PASSIVE)" };
    let done = conn.query_row(sql, [], |row| {
        Ok(row.get::<_, i64>(0)? == 0 && row.get::<_, i64>(1)? == row.get::<_, i64>(2)?)
    });
    if truncate {
        conn.busy_timeout(super::open::BUSY_TIMEOUT)?;
    }
    done
}
