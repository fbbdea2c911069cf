//! What the writer carries out: requests that run in their savepoint, and are answered after the commit.

use rusqlite::{Connection, ErrorCode, ffi, params};
use tokio::sync::oneshot;

use super::ledger::Ledger;
use super::{AppendError, DestinationId, JournalError, sources};
use crate::event::EventId;

/// One request. It may run more than once: its transaction can fail for another's sake.
pub(super) trait Job: Send {
    /// Does its work; an error undoes it.
    fn run(&mut self, conn: &Connection, ledger: &mut Ledger) -> rusqlite::Result<()>;

    /// How many bytes it adds, for a request that is refused when there is no room.
    fn growth_bytes(&self) -> Option<u64> {
        None
    }

    /// Whether it is refused while the disk is full: the reserve is for what gives room back.
    fn waits_for_room(&self) -> bool {
        self.growth_bytes().is_some()
    }

    /// After a failed commit and a reopening: whether the commit was kept all the same.
    fn was_kept(&self, _conn: &Connection) -> bool {
        false
    }

    /// Answers.
    fn finish(self: Box<Self>, outcome: Result<(), Refusal>);
}

/// Why a request came to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    Full { used_bytes: u64, max_bytes: u64 },
    DiskFull,
    Io(String),
    Closed,
}

impl From<Refusal> for AppendError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Full { used_bytes, max_bytes } => Self::Full { used_bytes, max_bytes },
            Refusal::DiskFull => Self::DiskFull,
            Refusal::Io(message) => Self::Io(message),
            Refusal::Closed => Self::Closed,
        }
    }
}

impl From<Refusal> for JournalError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Full { .. } => Self::Io("it is full".to_owned()),
            Refusal::DiskFull => Self::Io("the disk is full".to_owned()),
            Refusal::Io(message) => Self::Io(message),
            Refusal::Closed => Self::Closed,
        }
    }
}

impl From<rusqlite::Error> for JournalError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Io(error.to_string())
    }
}

/// A request made of one function.
pub(super) struct Call<T, F> {
    work: F,
    result: Option<T>,
    reply: oneshot::Sender<Result<T, JournalError>>,
}

impl<T, F> Call<T, F>
where
    T: Send,
    F: FnMut(&Connection, &mut Ledger) -> rusqlite::Result<T> + Send,
{
    pub(super) fn new(work: F, reply: oneshot::Sender<Result<T, JournalError>>) -> Self {
        Self { work, result: None, reply }
    }
}

impl<T, F> Job for Call<T, F>
where
    T: Send,
    F: FnMut(&Connection, &mut Ledger) -> rusqlite::Result<T> + Send,
{
    fn run(&mut self, conn: &Connection, ledger: &mut Ledger) -> rusqlite::Result<()> {
        self.result = Some((self.work)(conn, ledger)?);
        Ok(())
    }

    fn finish(self: Box<Self>, outcome: Result<(), Refusal>) {
        let answer = match (outcome, self.result) {
            (Ok(()), Some(result)) => Ok(result),
            (Ok(()), None) => Err(JournalError::Io("the request was not carried out".to_owned())),
            (Err(refusal), _) => Err(refusal.into()),
        };
        // Whoever asked may have gone away.
        let _ = self.reply.send(answer);
    }
}

/// What tells, after a failed commit and a reopening, that it was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Proof {
    /// Nothing does; or it may be asked for again without harm.
    None,
    /// The destination has counted so many commits.
    Commits(DestinationId, i64),
    /// This record is there.
    Record(EventId),
}

impl Proof {
    pub(super) fn is_there(&self, conn: &Connection) -> bool {
        let found = match self {
            Self::None => return false,
            // Others may have followed in the same transaction.
            Self::Commits(destination, commits) => conn.query_row(
                "SELECT EXISTS (SELECT 1 FROM destinations WHERE id = ?1 AND commits >= ?2)",
                params![destination.0, commits],
                |row| row.get(0),
            ),
            Self::Record(id) => sources::knows(conn, &id.to_string()),
        };
        found.unwrap_or(false)
    }
}

/// A request that must not be carried out twice, or that can be refused.
pub(super) struct Deed<T, E, F> {
    work: F,
    result: Option<Result<T, E>>,
    proof: Proof,
    waits_for_room: bool,
    reply: oneshot::Sender<Result<T, E>>,
}

/// What a deed's work comes to; where it refuses, it must have changed nothing.
pub(super) type Done<T, E> = rusqlite::Result<Result<(T, Proof), E>>;

impl<T, E, F> Deed<T, E, F>
where
    T: Send,
    E: From<JournalError> + Send,
    F: FnMut(&Connection, &mut Ledger) -> Done<T, E> + Send,
{
    pub(super) fn new(work: F, waits_for_room: bool, reply: oneshot::Sender<Result<T, E>>) -> Self {
        Self { work, result: None, proof: Proof::None, waits_for_room, reply }
    }
}

impl<T, E, F> Job for Deed<T, E, F>
where
    T: Send,
    E: From<JournalError> + Send,
    F: FnMut(&Connection, &mut Ledger) -> Done<T, E> + Send,
{
    fn run(&mut self, conn: &Connection, ledger: &mut Ledger) -> rusqlite::Result<()> {
        self.result = None;
        self.proof = Proof::None;
        self.result = Some((self.work)(conn, ledger)?.map(|(value, proof)| {
            self.proof = proof;
            value
        }));
        Ok(())
    }

    fn waits_for_room(&self) -> bool {
        self.waits_for_room
    }

    fn was_kept(&self, conn: &Connection) -> bool {
        self.proof.is_there(conn)
    }

    fn finish(self: Box<Self>, outcome: Result<(), Refusal>) {
        let answer = match (outcome, self.result) {
            (Ok(()), Some(result)) => result,
            (Ok(()), None) => Err(JournalError::Io("the request was not carried out".to_owned()).into()),
            (Err(refusal), _) => Err(JournalError::from(refusal).into()),
        };
        // Whoever asked may have gone away.
        let _ = self.reply.send(answer);
    }
}

/// An error of the request alone, with our own words.
pub(super) fn refused(message: impl Into<String>) -> rusqlite::Error {
    rusqlite::Error::ToSqlConversionFailure(message.into().into())
}

/// What an error of SQLite means for the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// This request cannot be carried out; its neighbours can.
    Request,
    /// The disk is full.
    DiskFull,
    /// The file is damaged.
    Damaged,
    /// The disk, or something else beneath: nothing in memory can be trusted any more.
    Broken,
}

/// Tells what an error means; `has_room` says whether the disk has room, as far as is known.
pub(super) fn meaning(error: &rusqlite::Error, has_room: impl FnOnce() -> bool) -> Meaning {
    let rusqlite::Error::SqliteFailure(failure, _) = error else { return Meaning::Request };
    match failure.code {
        ErrorCode::ConstraintViolation
        | ErrorCode::TooBig
        | ErrorCode::TypeMismatch
        | ErrorCode::ParameterOutOfRange
        | ErrorCode::ApiMisuse
        | ErrorCode::Unknown => Meaning::Request,
        ErrorCode::DiskFull => Meaning::DiskFull,
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => Meaning::Damaged,
        // The index of the WAL could not grow, or blocks that were promised late are not there.
        ErrorCode::SystemIoFailure if failure.extended_code == ffi::SQLITE_IOERR_SHMSIZE || !has_room() => {
            Meaning::DiskFull
        }
        _ => Meaning::Broken,
    }
}
