//! The one thread that writes. It commits what has queued, and answers after the commit.

use std::cell::Cell;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::mpsc;

use super::job::{Job, Meaning, Refusal, meaning};
use super::ledger::Ledger;
use super::reserve::{self, Reserve};
use super::retention::Pages;
use super::shared::Shared;
use super::upkeep::Upkeep;
use super::{destinations, open, running};

/// How many requests may wait for the writer.
pub(super) const QUEUE: usize = 256;

/// How much one transaction takes on, in bytes; a larger request goes alone.
const GROUP_BYTES: u64 = 8 << 20;

/// So many failed groups in a row, and the relay gives up.
const MAX_FAILURES: u32 = 3;

/// What may differ in a test.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tuning {
    pub(super) reserve_bytes: u64,
    pub(super) unparsed_bytes: u64,
    /// How long appends are refused before the disk is looked at again.
    pub(super) full_pause: Duration,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            reserve_bytes: reserve::RESERVE_BYTES,
            unparsed_bytes: super::append::MAX_UNPARSED_BYTES,
            full_pause: Duration::from_secs(1),
        }
    }
}

/// What the writer is asked to do.
pub(super) enum Command {
    /// A request.
    Job(Box<dyn Job>),
    /// A minute has passed.
    Tick,
    /// Carry out what was asked before, then end.
    Close,
}

pub(super) struct Writer {
    pub(super) conn: Option<Connection>,
    pub(super) ledger: Ledger,
    pub(super) shared: Arc<Shared>,
    pub(super) reserve: Reserve,
    pub(super) upkeep: Upkeep,
    tuning: Tuning,
    /// The destination that was last named for a full journal.
    pinned_by: Option<String>,
    /// Since when the disk is full.
    disk_full: Option<Instant>,
    failures: u32,
    /// The running time that was last written.
    running_saved: Duration,
    pub(super) pages: Pages,
    /// The size of the WAL when it was last looked at, and what had been written then.
    wal_seen: Cell<(u64, u64)>,
    /// Held until the last.
    _lock: File,
}

impl Writer {
    pub(super) fn new(
        conn: Connection,
        ledger: Ledger,
        shared: Arc<Shared>,
        tuning: Tuning,
        lock: File,
    ) -> rusqlite::Result<Self> {
        let reserve = Reserve::new(&shared.files.data_dir, tuning.reserve_bytes);
        let upkeep = Upkeep::new(shared.max_size_bytes());
        let pages = Pages::measure(&conn)?;
        let writer = Self {
            conn: Some(conn),
            ledger,
            shared,
            reserve,
            upkeep,
            tuning,
            pinned_by: None,
            disk_full: None,
            failures: 0,
            running_saved: Duration::ZERO,
            pages,
            wal_seen: Cell::new((u64::MAX, 0)),
            _lock: lock,
        };
        writer.publish();
        Ok(writer)
    }

    /// Serves until everybody has let go, or it is told to close.
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Command>) {
        loop {
            let first = if self.is_due() {
                match queue.try_recv() {
                    Ok(command) => Some(command),
                    Err(mpsc::error::TryRecvError::Empty) => None,
                    Err(mpsc::error::TryRecvError::Disconnected) => break,
                }
            } else {
                match queue.blocking_recv() {
                    Some(command) => Some(command),
                    None => break,
                }
            };
            let (jobs, last) = gather(first, &mut queue);
            if !jobs.is_empty() {
                self.group(jobs);
            }
            match last {
                Some(Command::Close) => break,
                Some(Command::Tick) => self.tick(),
                Some(Command::Job(_)) | None => {}
            }
            self.maintain();
        }
        self.end(queue);
    }

    fn end(mut self, mut queue: mpsc::Receiver<Command>) {
        queue.close();
        while let Some(command) = queue.blocking_recv() {
            if let Command::Job(job) = command {
                job.finish(Err(Refusal::Closed));
            }
        }
        self.close_database();
    }

    /// Carries out a group, answers, and publishes.
    fn group(&mut self, jobs: Vec<Box<dyn Job>>) {
        if self.failures >= MAX_FAILURES {
            return refuse(jobs, &Refusal::Io("it failed three times in a row".to_owned()));
        }
        let mut jobs = self.admit(jobs);
        if jobs.is_empty() {
            return;
        }
        let growth: u64 = jobs.iter().filter_map(|job| job.growth_bytes()).sum();
        match self.commit(&mut jobs) {
            Ok(refusals) => self.succeeded(jobs, refusals, growth),
            Err(error) if self.meaning(&error) == Meaning::DiskFull => self.without_room(jobs, &error),
            Err(error) => self.broken(jobs, &error),
        }
    }

    /// Answers those that there is no room for.
    fn admit(&mut self, jobs: Vec<Box<dyn Job>>) -> Vec<Box<dyn Job>> {
        let max_bytes = self.shared.max_size_bytes();
        let mut admitted = Vec::with_capacity(jobs.len());
        let mut growing = 0_u64;
        for job in jobs {
            if job.waits_for_room() && self.disk_full.is_some() && !self.room_again() {
                job.finish(Err(Refusal::DiskFull));
                continue;
            }
            let Some(growth) = job.growth_bytes() else {
                admitted.push(job);
                continue;
            };
            // Once it was full there must be some room before the first is let in again.
            let full = self.shared.full.load(Ordering::Relaxed);
            let gap = if full { max_bytes / 64 } else { 0 };
            let fits = |used: u64| used.saturating_add(growing + growth + gap) <= max_bytes;
            if growth > 0 && !fits(self.used_bytes()) {
                self.make_room(growing + growth + gap);
                let used_bytes = self.used_bytes();
                if !fits(used_bytes) {
                    self.tell_full(full, used_bytes);
                    job.finish(Err(Refusal::Full { used_bytes, max_bytes }));
                    continue;
                }
            }
            if growth > 0 && full {
                self.shared.full.store(false, Ordering::Relaxed);
                tracing::info!("the journal has room again");
            }
            growing += growth;
            admitted.push(job);
        }
        admitted
    }

    /// The journal is at its limit, and what it holds is still needed. Said at first, and again when it
    /// is somebody else who needs it: the first was behind for a moment, the second is down.
    fn tell_full(&mut self, was_full: bool, used_bytes: u64) {
        self.shared.full.store(true, Ordering::Relaxed);
        let last = self.ledger.heads.last;
        let pinned_by =
            self.conn.as_ref().and_then(|conn| destinations::pinned_by(conn, last).ok().flatten());
        if was_full && (pinned_by.is_none() || pinned_by == self.pinned_by) {
            return;
        }
        let who = pinned_by.as_ref().map_or_else(|| "a destination".to_owned(), |name| format!("`{name}`"));
        self.pinned_by = pinned_by;
        tracing::error!(
            used_bytes,
            max_bytes = self.shared.max_size_bytes(),
            "the journal is full: nothing is accepted until {who} moves on"
        );
    }

    /// One transaction, a savepoint for each request. `Err` means that nothing of it happened, or that
    /// nobody knows.
    fn commit(&mut self, jobs: &mut [Box<dyn Job>]) -> rusqlite::Result<Vec<Option<Refusal>>> {
        if self.conn.is_none() {
            self.reopen()?;
        }
        let Some(conn) = &self.conn else { return Err(rusqlite::Error::InvalidQuery) };
        let run = |sql| conn.prepare_cached(sql)?.execute([]).map(drop);
        let mut refusals = Vec::with_capacity(jobs.len());
        let changes = conn.total_changes();
        run("BEGIN IMMEDIATE")?;
        for job in jobs {
            run("SAVEPOINT request")?;
            let heads = self.ledger.heads;
            match job.run(conn, &mut self.ledger) {
                Ok(()) => refusals.push(None),
                Err(error) => {
                    let mine = meaning(&error, || true) == Meaning::Request && !conn.is_autocommit();
                    if !mine {
                        return Err(error);
                    }
                    run("ROLLBACK TO request")?;
                    self.ledger.heads = heads;
                    self.ledger.forget();
                    refusals.push(Some(Refusal::Io(error.to_string())));
                }
            }
            run("RELEASE request")?;
        }
        self.ledger.states.seal(conn, self.ledger.heads.last)?;
        let running = self.ledger.clock.now();
        let save = running.saturating_sub(self.running_saved) >= running::SAVE_INTERVAL;
        if save {
            running::save(conn, running)?;
        }
        let pages = Pages::measure(conn)?;
        let begun = Instant::now();
        run("COMMIT")?;
        if conn.total_changes() != changes {
            self.shared.commits.count(begun.elapsed());
        }
        self.pages = pages;
        if save {
            self.running_saved = running;
        }
        Ok(refusals)
    }

    fn succeeded(&mut self, jobs: Vec<Box<dyn Job>>, refusals: Vec<Option<Refusal>>, growth: u64) {
        self.failures = 0;
        self.upkeep.written(growth);
        self.publish();
        for (job, refusal) in jobs.into_iter().zip(refusals) {
            job.finish(refusal.map_or(Ok(()), Err));
        }
    }

    /// The disk is full: what cannot wait for room is tried again with the room that was kept back.
    fn without_room(&mut self, jobs: Vec<Box<dyn Job>>, error: &rusqlite::Error) {
        self.enter_disk_full(error);
        let (waiting, mut others): (Vec<_>, Vec<_>) = jobs.into_iter().partition(|job| job.waits_for_room());
        refuse(waiting, &Refusal::DiskFull);
        if let Err(error) = self.roll_back() {
            return self.broken(others, &error);
        }
        if others.is_empty() {
            return;
        }
        match self.commit(&mut others) {
            Ok(refusals) => self.succeeded(others, refusals, 0),
            Err(error) if self.meaning(&error) == Meaning::DiskFull => match self.roll_back() {
                Ok(()) => refuse(others, &Refusal::DiskFull),
                Err(error) => self.broken(others, &error),
            },
            Err(error) => self.broken(others, &error),
        }
    }

    /// Leaves a failed transaction behind and believes the rows again.
    pub(super) fn roll_back(&mut self) -> rusqlite::Result<()> {
        let Some(conn) = &self.conn else { return self.reopen() };
        if !conn.is_autocommit() {
            conn.execute_batch("ROLLBACK")?;
        }
        self.ledger.reload(conn)
    }

    /// After an error of the disk nothing in memory is trusted: pages that were not written count as
    /// clean, and a repetition would seem to succeed. The database is opened anew, from what is on disk.
    pub(super) fn broken(&mut self, jobs: Vec<Box<dyn Job>>, error: &rusqlite::Error) {
        self.failures += 1;
        tracing::error!(%error, failures = self.failures, "the journal could not be written: opening it anew");
        self.shared.note_damage(error, self.failures >= MAX_FAILURES);
        let reopened = self.reopen();
        if let Err(error) = &reopened {
            tracing::error!(%error, "the journal could not be opened anew");
        }
        if self.failures >= MAX_FAILURES {
            let message = format!("the journal could not be written {MAX_FAILURES} times in a row: {error}");
            self.shared.failed.send_if_modified(|failed| {
                let first = failed.is_none();
                failed.get_or_insert(message);
                first
            });
        }
        if reopened.is_ok() {
            // Otherwise what is in memory may never have been committed.
            self.publish();
        }
        for job in jobs {
            let kept = self.conn.as_ref().is_some_and(|conn| job.was_kept(conn));
            job.finish(if kept { Ok(()) } else { Err(Refusal::Io(error.to_string())) });
        }
    }

    fn reopen(&mut self) -> rusqlite::Result<()> {
        // SQLite recovers a database only when nobody has it open.
        for reader in &self.shared.readers {
            *reader.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = None;
        }
        if let Some(conn) = self.conn.take() {
            open::abandon(conn);
        }
        let conn = open::read_write(&self.shared.files.database, self.upkeep.wal_limit_bytes())?;
        self.ledger.reload(&conn)?;
        self.pages = Pages::measure(&conn)?;
        self.conn = Some(conn);
        Ok(())
    }

    /// Tells everybody where the journal stands.
    pub(super) fn publish(&self) {
        self.shared.used_bytes.store(self.used_bytes(), Ordering::Relaxed);
        let last = self.ledger.heads.last;
        self.shared.latest.send_if_modified(|latest| std::mem::replace(latest, last) != last);
    }

    pub(super) fn used_bytes(&self) -> u64 {
        self.pages.used_bytes() + self.wal_bytes()
    }

    /// The size of the WAL. While the journal is far from its limit it is looked at now and then only,
    /// since this is asked for with every group.
    fn wal_bytes(&self) -> u64 {
        let written = self.upkeep.unchecked_bytes();
        let (written_then, bytes) = self.wal_seen.get();
        let has_room =
            self.pages.used_bytes() + 2 * self.upkeep.wal_limit_bytes() < self.shared.max_size_bytes() / 2;
        if has_room && written >= written_then && written - written_then < self.upkeep.wal_limit_bytes() / 16
        {
            return bytes;
        }
        let bytes = self.shared.files.wal_bytes();
        self.wal_seen.set((written, bytes));
        bytes
    }

    pub(super) fn meaning(&self, error: &rusqlite::Error) -> Meaning {
        // Less than this, and an I/O error is taken for a full disk.
        const NEARLY_NOTHING: u64 = 1 << 20;
        let data_dir = &self.shared.files.data_dir;
        meaning(error, || reserve::available_bytes(data_dir).map_or(true, |bytes| bytes >= NEARLY_NOTHING))
    }

    pub(super) fn enter_disk_full(&mut self, error: &rusqlite::Error) {
        if self.disk_full.is_none() {
            tracing::error!(%error, "the disk is full: nothing is accepted until there is room again");
        }
        self.disk_full = Some(Instant::now());
        self.shared.disk_full.store(true, Ordering::Relaxed);
        match self.reserve.release() {
            Ok(true) => tracing::warn!(bytes = self.reserve.bytes(), "the reserve was released"),
            Ok(false) => {}
            Err(error) => tracing::error!(%error, "the reserve could not be released"),
        }
    }

    /// Whether records can be accepted again after the disk was full; takes the reserve back first.
    pub(super) fn room_again(&mut self) -> bool {
        // What SQLite needs beside the reserve for a transaction and a checkpoint.
        const MARGIN: u64 = 4 << 20;
        let Some(since) = self.disk_full else { return true };
        if since.elapsed() < self.tuning.full_pause {
            return false;
        }
        let available = reserve::available_bytes(&self.shared.files.data_dir).unwrap_or(0);
        let missing = if self.reserve.is_held() { 0 } else { self.reserve.bytes() };
        if available < missing + MARGIN || self.reserve.hold().is_err() {
            self.disk_full = Some(Instant::now());
            return false;
        }
        tracing::info!(available_bytes = available, "the disk has room again: the reserve was taken back");
        self.disk_full = None;
        self.shared.disk_full.store(false, Ordering::Relaxed);
        true
    }
}

/// What has queued, up to a bound; a command that is no request ends the group.
fn gather(
    first: Option<Command>,
    queue: &mut mpsc::Receiver<Command>,
) -> (Vec<Box<dyn Job>>, Option<Command>) {
    let mut jobs = Vec::new();
    let mut bytes = 0_u64;
    let mut next = first;
    loop {
        match next {
            Some(Command::Job(job)) => {
                bytes = bytes.saturating_add(job.growth_bytes().unwrap_or(0));
                jobs.push(job);
            }
            other => return (jobs, other),
        }
        if jobs.len() >= QUEUE || bytes >= GROUP_BYTES {
            return (jobs, None);
        }
        next = queue.try_recv().ok();
    }
}

fn refuse(jobs: Vec<Box<dyn Job>>, refusal: &Refusal) {
    for job in jobs {
        job.finish(Err(refusal.clone()));
    }
}
