//! The journal: the ordered, durable log of records, one SQLite database.
//!
//! One thread owns the write connection and commits what has queued (group commit, a savepoint for each
//! request); two reader threads copy rows out and end their transaction, so that no statement lives
//! across an await. Nothing but this module ever opens `journal.db`.
//!
//! What is asked of it, and what it answers, is in `types.rs` and `destination_types.rs`. Behind that:
//!
//! | file | what it is for |
//! |---|---|
//! | `open.rs` | from a data directory to a database that can be trusted |
//! | `lock.rs` | one process at a time |
//! | `memory.rs` | what a destination remembers between requests |
//! | `schema.rs` | the tables, and migrations from older releases |
//! | `salvage.rs` | saving what can be read of a damaged journal |
//! | `backup.rs` | a copy while it is in use |
//! | `writer.rs` | the thread that writes, and what it does when the disk fails |
//! | `commits.rs`, `gaps.rs` | what metrics tell of it |
//! | `job.rs` | the requests that the writer carries out |
//! | `ledger.rs` | what the writer knows by heart |
//! | `upkeep.rs` | what it does between requests: checkpoints, retention, giving space back |
//! | `retention.rs` | removing what every destination has passed |
//! | `reserve.rs` | room that is kept back for a full disk |
//! | `reader.rs` | the threads that read, and rows in order |
//! | `outlines.rs` | the little of each record that routing needs |
//! | `rows.rs` | records as columns, and back |
//! | `chain.rs` | the digest of a record, and the chain over all |
//! | `check.rs` | the thread that verifies all of it at leisure, and tells the minutes |
//! | `running.rs` | how long the relay has run, summed over restarts |
//! | `shared.rs` | what all threads see |
//! | `append.rs` | acceptance: records, positions, order keys |
//! | `push.rs` | acceptance of what was pushed, and of its repetitions |
//! | `sources.rs` | sources, and the incarnations of their files |
//! | `destinations.rs` | destinations: registered, adopted, orphaned, released |
//! | `passed.rs` | how far all of them have come with a file |
//! | `settle.rs` | what a lane commits |
//! | `acked.rs` | what is settled beyond a cursor, as a bitmap |
//! | `batches.rs` | batches on their way, which keep their ids over a restart |
//! | `dead_letters.rs` | dead letters: listed, purged, moved to a file |
//! | `replays.rs` | replays: asked for, read, committed |
//! | `acts.rs` | acts of operators, each a record; pause and resume |
//! | `configurations.rs` | which configuration was applied when |

mod acked;
mod acts;
mod append;
mod backup;
mod batches;
mod chain;
mod change_sets;
mod check;
mod commits;
mod configurations;
mod dead_letters;
mod destination_types;
mod destinations;
mod gaps;
mod job;
mod ledger;
mod lock;
mod memory;
mod open;
mod outlines;
mod passed;
mod push;
mod reader;
mod replays;
mod reserve;
mod retention;
mod rows;
mod running;
mod salvage;
mod schema;
mod sealed;
mod settle;
mod shared;
mod sources;
mod states;
#[cfg(test)]
mod tests;
mod types;
mod upkeep;
pub mod verify;
mod writer;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::{Connection, InterruptHandle};
use tokio::sync::{mpsc, oneshot, watch};

use crate::event::{Sequence, Timestamp};

pub use commits::{COMMIT_BOUNDS_SECONDS, CommitReading};
pub use destination_types::{
    Books, Counts, DeadLetter, DeadLetterPlace, DeadLetterRow, DeadLetterSelection, DestinationId,
    DestinationRow, Endpoint, EndpointState, LaneCommit, MAX_WINDOW, NewReplay, OpenBatch, Pause, Released,
    ReplayCommit, ReplayId, ReplayRow, ReplaySelection,
};
pub use gaps::Gaps;
pub use passed::Passed;
pub use salvage::{Salvaged, salvage};
pub use sealed::{Columns, Sealed};
pub use shared::DATABASE;
pub use types::{
    Act, ActKind, Advance, Append, AppendError, Appended, Fingerprint, IncarnationId, IncarnationRow,
    JournalError, JournalStatus, NewIncarnation, OpenError, OpenReport, OperatorError, Options, Outline,
    Push, PushKey, Pushed, ReadLimit, ReadRow, SourceBooks, SourceId, SourceRow,
};

use check::Keeper;
use job::{Call, Deed, Done, Job, Refusal};
use ledger::Ledger;
use reader::{ReadJob, Reader};
use rows::Names;
use running::RunningClock;
use shared::Shared;
use writer::{Command, Tuning, Writer};

/// The journal. Cheap to clone; the last clone does not close it, [`Journal::close`] does.
///
/// Dropped without closing it ends a moment later, and nothing that was accepted is lost.
#[derive(Clone)]
pub struct Journal {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    writer: mpsc::Sender<Command>,
    readers: mpsc::Sender<ReadJob>,
    interrupt: Arc<Mutex<Option<InterruptHandle>>>,
    threads: Mutex<Option<Threads>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.interrupt_check();
    }
}

impl Inner {
    /// Ends a long statement of the check, or of a backup.
    fn interrupt_check(&self) {
        for handle in [&*self.interrupt, &self.shared.backup] {
            if let Some(handle) = &*handle.lock().unwrap_or_else(PoisonError::into_inner) {
                handle.interrupt();
            }
        }
    }
}

struct Threads {
    writer: JoinHandle<()>,
    readers: Vec<JoinHandle<()>>,
    keeper: JoinHandle<()>,
    /// Dropped to end the keeper.
    stop_keeper: std::sync::mpsc::Sender<()>,
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal").field("data_dir", &self.inner.shared.files.data_dir).finish_non_exhaustive()
    }
}

impl Journal {
    /// Opens the journal of a data directory: makes it if there is none, salvages it if it is damaged.
    /// Blocking; waits up to `lock_wait` for another process to end.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(options: Options) -> Result<(Self, OpenReport), OpenError> {
        Self::open_tuned(&options, Tuning::default())
    }

    fn open_tuned(options: &Options, tuning: Tuning) -> Result<(Self, OpenReport), OpenError> {
        let opened = open::open(options)?;
        let failed = |error: &dyn std::fmt::Display| {
            OpenError::Other(format!("cannot open {}: {error}", opened.files.database.display()))
        };
        let running = running::base(&opened.conn).map_err(|error| failed(&error))?;
        states::forget_stale(&opened.conn).map_err(|error| failed(&error))?;
        if let Err(error) = running::stamp(&opened.conn, running) {
            tracing::warn!(%error, "records of an older release keep no running time");
        }
        let clock = Arc::new(RunningClock::new(running));
        let ledger = Ledger::load(&opened.conn, tuning.unparsed_bytes, Arc::clone(&clock))
            .map_err(|error| failed(&error))?;
        let shared = Arc::new(Shared {
            files: opened.files.clone(),
            epoch: ledger.epoch_name.clone(),
            clock,
            max_size_bytes: AtomicU64::new(options.max_size_bytes),
            keep_micros: AtomicU64::new(micros(options.keep)),
            keeps_all: AtomicBool::new(options.keeps_all),
            latest: watch::Sender::new(ledger.heads.last),
            failed: watch::Sender::new(None),
            readers: Default::default(),
            used_bytes: AtomicU64::new(0),
            full: AtomicBool::new(false),
            disk_full: AtomicBool::new(false),
            damaged: AtomicBool::new(false),
            corrupt_records: AtomicU64::new(opened.report.corrupt_records),
            backup: Mutex::new(None),
            commits: commits::Commits::default(),
        });
        let writer = Writer::new(opened.conn, ledger, Arc::clone(&shared), tuning, opened.lock)
            .map_err(|error| failed(&error))?;
        if let Err(error) = writer.reserve.hold() {
            tracing::warn!(%error, "there is no room for the reserve: on a full disk less can be done");
        }
        let inner = start(shared, writer).map_err(|error| failed(&error))?;
        Ok((Self { inner: Arc::new(inner) }, opened.report))
    }

    /// The random name of this life of the journal; another one after it was lost, restored or salvaged.
    #[must_use]
    pub fn epoch(&self) -> &str {
        &self.inner.shared.epoch
    }

    /// Keeps records for another time, and up to another size in bytes, from now on.
    pub fn retune(&self, keep: Duration, max_size_bytes: u64, keeps_all: bool) {
        let shared = &self.inner.shared;
        shared.keeps_all.store(keeps_all, Ordering::Relaxed);
        shared.keep_micros.store(micros(keep), Ordering::Relaxed);
        shared.max_size_bytes.store(max_size_bytes, Ordering::Relaxed);
    }

    /// The last committed sequence: lanes wait on it.
    #[must_use]
    pub fn latest(&self) -> watch::Receiver<Sequence> {
        self.inner.shared.latest.subscribe()
    }

    /// Becomes `Some` when the journal gave up (three failures in a row): the process must end.
    #[must_use]
    pub fn failed(&self) -> watch::Receiver<Option<String>> {
        self.inner.shared.failed.subscribe()
    }

    /// How the journal is.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub async fn status(&self) -> Result<JournalStatus, JournalError> {
        let shared = &self.inner.shared;
        let last = *shared.latest.borrow();
        let (first_sequence, pinned_by) = self
            .read(move |conn, _| Ok((reader::first_sequence(conn)?, destinations::pinned_by(conn, last)?)))
            .await?;
        Ok(JournalStatus {
            first_sequence,
            last_sequence: *shared.latest.borrow(),
            used_bytes: shared.used_bytes.load(Ordering::Relaxed),
            max_size_bytes: shared.max_size_bytes(),
            full: shared.full.load(Ordering::Relaxed),
            pinned_by,
            disk_full: shared.disk_full.load(Ordering::Relaxed),
            damaged: shared.damaged.load(Ordering::Relaxed),
            corrupt_records: shared.corrupt_records.load(Ordering::Relaxed),
        })
    }

    /// When the journal was made; a copy was made when its original was.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub async fn began_at(&self) -> Result<Timestamp, JournalError> {
        let micros = "SELECT MIN(began_at) FROM epochs";
        let began_at = self.read(move |conn, _| conn.query_row(micros, [], |row| row.get(0))).await?;
        Ok(Timestamp::from_unix_micros(began_at))
    }

    /// Returns when the thread that writes has turned to it: whether it answers.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub async fn answers(&self) -> Result<(), JournalError> {
        self.ask(|_, _| Ok(())).await
    }

    /// Blocking: carries out what was asked, checkpoints, lets go of the lock.
    ///
    /// # Errors
    /// [`JournalError::Closed`] if another clone was closed before.
    pub fn close(self) -> Result<(), JournalError> {
        let threads = self.inner.threads.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(threads) = threads else { return Err(JournalError::Closed) };
        drop(threads.stop_keeper);
        self.inner.interrupt_check();
        let mut ended = threads.keeper.join().is_ok();
        for _ in &threads.readers {
            // It fails only if they have ended.
            let _ = self.inner.readers.blocking_send(ReadJob::Stop);
        }
        for reader in threads.readers {
            ended &= reader.join().is_ok();
        }
        let _ = self.inner.writer.blocking_send(Command::Close);
        ended &= threads.writer.join().is_ok();
        if ended { Ok(()) } else { Err(JournalError::Io("one of its threads panicked".to_owned())) }
    }

    /// How long the relay has run with this journal, summed over restarts. It never goes back while the
    /// journal is open; a kill loses at most what passed since the last commit, and ten seconds.
    #[must_use]
    pub fn running(&self) -> Duration {
        self.inner.shared.clock.now()
    }

    /// Lets the running time pass, in a test.
    #[cfg(test)]
    pub(crate) fn advance_running(&self, by: Duration) {
        self.inner.shared.clock.advance(by);
    }

    /// Has the writer look at the age of records (it does so once after it was opened, and then once an
    /// hour), and waits until it has nothing left to do, in a test.
    #[cfg(test)]
    pub(crate) fn tick(&self) {
        let told = self.inner.writer.blocking_send(Command::Tick).is_ok();
        assert!(told, "the journal is closed");
        self.settle_down();
    }

    /// Waits until the writer has nothing left to do, by asking it for so many turns, in a test.
    #[cfg(test)]
    pub(crate) fn settle_down(&self) {
        for _ in 0..50 {
            assert_eq!(self.call(|_, _| Ok(())), Ok(()));
        }
    }

    /// Keeps the writer from everything else until what it returns is dropped, in a test.
    #[cfg(test)]
    pub(crate) fn hold(&self) -> std::sync::mpsc::Sender<()> {
        let (entered, held) = std::sync::mpsc::channel();
        let (release, released) = std::sync::mpsc::channel::<()>();
        let journal = self.clone();
        std::thread::spawn(move || {
            let _ = journal.call(move |_, _| {
                let _ = entered.send(());
                let _ = released.recv();
                Ok(())
            });
        });
        held.recv().unwrap();
        release
    }

    /// Has the writer do something that must not be done twice, or that may be refused.
    async fn carry_out<T, E>(
        &self,
        waits_for_room: bool,
        work: impl FnMut(&Connection, &mut Ledger) -> Done<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<JournalError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        self.send(Deed::new(work, waits_for_room, reply)).await;
        answer.await.unwrap_or_else(|_| Err(JournalError::Closed.into()))
    }

    /// Has the writer do something that may be done twice without harm.
    async fn ask<T: Send + 'static>(
        &self,
        work: impl FnMut(&Connection, &mut Ledger) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, JournalError> {
        let (reply, answer) = oneshot::channel();
        self.send(Call::new(work, reply)).await;
        answer.await.unwrap_or(Err(JournalError::Closed))
    }

    fn call<T: Send + 'static>(
        &self,
        work: impl FnMut(&Connection, &mut Ledger) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, JournalError> {
        let (reply, answer) = oneshot::channel();
        self.send_blocking(Call::new(work, reply));
        answer.blocking_recv().unwrap_or(Err(JournalError::Closed))
    }

    fn send_blocking(&self, job: impl Job + 'static) {
        if let Err(refused) = self.inner.writer.blocking_send(Command::Job(Box::new(job))) {
            answer_closed(refused.0);
        }
    }

    async fn send(&self, job: impl Job + 'static) {
        if let Err(refused) = self.inner.writer.send(Command::Job(Box::new(job))).await {
            answer_closed(refused.0);
        }
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection, &mut Names) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, JournalError> {
        let (reply, answer) = oneshot::channel();
        let work = Box::new(move |reader: &mut Reader| {
            // Whoever asked may have gone away.
            let _ = reply.send(reader.read(work));
        });
        if self.inner.readers.send(ReadJob::Read(work)).await.is_err() {
            return Err(JournalError::Closed);
        }
        answer.await.unwrap_or(Err(JournalError::Closed))
    }
}

fn answer_closed(command: Command) {
    if let Command::Job(job) = command {
        job.finish(Err(Refusal::Closed));
    }
}

fn start(shared: Arc<Shared>, writer: Writer) -> std::io::Result<Inner> {
    let named = |name: &str| std::thread::Builder::new().name(format!("journal-{name}"));
    let through = *shared.latest.borrow();
    let (commands, queue) = mpsc::channel(writer::QUEUE);
    let (reads, read_queue) = mpsc::channel(reader::QUEUE);
    let writer = named("writer").spawn(move || writer.run(queue))?;
    let read_queue = Arc::new(Mutex::new(read_queue));
    let mut readers = Vec::with_capacity(reader::READERS);
    for index in 0..reader::READERS {
        let reader = Reader::new(Arc::clone(&shared), index);
        let read_queue = Arc::clone(&read_queue);
        readers.push(named(&format!("reader-{index}")).spawn(move || reader.run(&read_queue))?);
    }
    let interrupt = Arc::new(Mutex::new(None));
    let keeper = Keeper {
        shared: Arc::clone(&shared),
        writer: commands.downgrade(),
        interrupt: Arc::clone(&interrupt),
        through,
    };
    let (stop_keeper, stop) = std::sync::mpsc::channel();
    let keeper = named("keeper").spawn(move || keeper.run(&stop))?;
    let threads = Mutex::new(Some(Threads { writer, readers, keeper, stop_keeper }));
    Ok(Inner { shared, writer: commands, readers: reads, interrupt, threads })
}
