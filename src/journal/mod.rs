//! The journal: the ordered, durable log of records, one SQLite database.
//!
//! One thread owns the write connection and commits what has queued (group commit, a savepoint for each
//! request); two reader threads copy rows out and end their transaction, so that no statement lives
//! across an await. Nothing but this module ever opens `journal.db`.

mod append;
mod chain;
mod check;
mod job;
mod lanes;
mod ledger;
mod lock;
mod open;
mod reader;
mod reserve;
mod retention;
mod rows;
mod salvage;
mod schema;
mod shared;
mod sources;
#[cfg(test)]
mod tests;
mod types;
mod upkeep;
mod writer;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rusqlite::{Connection, InterruptHandle};
use tokio::sync::{mpsc, oneshot, watch};

use crate::event::{EventId, Sequence};

pub use salvage::{Salvaged, salvage};
pub use types::{
    Advance, Append, AppendError, Appended, Books, DeadLetter, DestinationId, DestinationRow, Fingerprint,
    IncarnationId, IncarnationRow, JournalError, JournalStatus, LaneCommit, NewIncarnation, OpenBatch,
    OpenError, OpenReport, Options, ReadLimit, ReadRow, SourceId, SourceRow,
};

use append::AppendJob;
use check::Keeper;
use job::{Call, Job, Refusal};
use lanes::LaneJob;
use ledger::Ledger;
use reader::{ReadJob, Reader};
use rows::Names;
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
    /// Ends a long statement of the check.
    fn interrupt_check(&self) {
        if let Some(handle) = &*self.interrupt.lock().unwrap_or_else(PoisonError::into_inner) {
            handle.interrupt();
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
        let ledger = Ledger::load(&opened.conn, tuning.unparsed_bytes).map_err(|error| failed(&error))?;
        let epoch = opened
            .conn
            .query_row("SELECT name FROM epochs WHERE id = ?1", [ledger.epoch], |row| row.get(0))
            .map_err(|error| failed(&error))?;
        let shared = Arc::new(Shared {
            files: opened.files.clone(),
            epoch,
            max_size_bytes: options.max_size_bytes,
            latest: watch::Sender::new(ledger.heads.last),
            failed: watch::Sender::new(None),
            readers: Default::default(),
            used_bytes: AtomicU64::new(0),
            disk_full: AtomicBool::new(false),
            damaged: AtomicBool::new(false),
            corrupt_records: AtomicU64::new(opened.report.corrupt_records),
        });
        let writer = Writer::new(opened.conn, ledger, Arc::clone(&shared), options.keep, tuning, opened.lock)
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

    /// Blocking; from threads only. Several appends may be under way at once: they are carried out in order.
    #[must_use]
    pub fn append(&self, append: Append) -> oneshot::Receiver<Result<Appended, AppendError>> {
        let (reply, answer) = oneshot::channel();
        self.send_blocking(AppendJob::new(append, reply));
        answer
    }

    /// Blocking; from threads only. One that changed its instance keeps its files.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub fn register_source(&self, name: &str, instance: &str) -> Result<SourceRow, JournalError> {
        let (name, instance) = (name.to_owned(), instance.to_owned());
        self.call(move |conn, _| sources::register(conn, &name, &instance))
    }

    /// Blocking; from threads only. Says that the source has looked at its files once.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub fn mark_started(&self, source: SourceId) -> Result<(), JournalError> {
        self.call(move |conn, _| sources::mark_started(conn, source))
    }

    /// Blocking; from threads only. All of them, finished ones too, newest first.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub fn incarnations(&self, source: SourceId) -> Result<Vec<IncarnationRow>, JournalError> {
        self.call(move |conn, _| sources::incarnations(conn, source))
    }

    /// Blocking; from threads only. The ordinal counts earlier incarnations with the same first line.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub fn create_incarnation(&self, new: NewIncarnation) -> Result<IncarnationRow, JournalError> {
        self.call(move |conn, _| sources::create_incarnation(conn, &new))
    }

    /// Blocking; from threads only. Whether a record with this id was accepted and is still kept.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub fn knows(&self, id: EventId) -> Result<bool, JournalError> {
        let id = id.to_string();
        self.call(move |conn, _| sources::knows(conn, &id))
    }

    /// Whether a destination of this name was ever registered.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub async fn knows_destination(&self, name: &str) -> Result<bool, JournalError> {
        let name = name.to_owned();
        self.read(move |conn, _| lanes::is_registered(conn, &name)).await
    }

    /// Every destination that was ever registered, configured still or not: its name, its cursor, its
    /// books. Each of them holds what it has not passed.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub async fn destinations(&self) -> Result<Vec<(String, Sequence, Books)>, JournalError> {
        self.read(|conn, _| lanes::all(conn)).await
    }

    /// The row of a destination; a new one begins with the oldest record that is left. From then on nothing
    /// is removed that it has not passed, in this run or a later one, whether or not it is registered again.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub async fn register_destination(&self, name: &str) -> Result<DestinationRow, JournalError> {
        let name = name.to_owned();
        let (reply, answer) = oneshot::channel();
        self.send(Call::new(
            move |conn: &Connection, ledger: &mut Ledger| lanes::register(conn, ledger, &name),
            reply,
        ))
        .await;
        answer.await.unwrap_or(Err(JournalError::Closed))
    }

    /// Commits what a lane has settled; `Ok` means on disk. Carried out on a full disk too.
    ///
    /// # Errors
    /// See [`JournalError`]; after an error nothing of it was committed, and it may be asked for again.
    pub async fn commit_lane(&self, commit: LaneCommit) -> Result<(), JournalError> {
        let (reply, answer) = oneshot::channel();
        self.send(LaneJob::new(commit, reply)).await;
        answer.await.unwrap_or(Err(JournalError::Closed))
    }

    /// Rows after a sequence, in order. What should lie between them and does not is [`ReadRow::Corrupt`].
    ///
    /// # Errors
    /// See [`JournalError`].
    pub async fn read_after(&self, after: Sequence, limit: ReadLimit) -> Result<Vec<ReadRow>, JournalError> {
        self.read(move |conn, names| reader::after(conn, names, after, limit)).await
    }

    /// Exactly these rows, in the order asked for; those that are gone are left out.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub async fn read_members(&self, members: Vec<Sequence>) -> Result<Vec<ReadRow>, JournalError> {
        self.read(move |conn, names| reader::members(conn, names, &members)).await
    }

    /// How the journal is.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub async fn status(&self) -> Result<JournalStatus, JournalError> {
        let first_sequence = self.read(|conn, _| reader::first_sequence(conn)).await?;
        let shared = &self.inner.shared;
        Ok(JournalStatus {
            first_sequence,
            last_sequence: *shared.latest.borrow(),
            used_bytes: shared.used_bytes.load(Ordering::Relaxed),
            max_size_bytes: shared.max_size_bytes,
            disk_full: shared.disk_full.load(Ordering::Relaxed),
            damaged: shared.damaged.load(Ordering::Relaxed),
            corrupt_records: shared.corrupt_records.load(Ordering::Relaxed),
        })
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
