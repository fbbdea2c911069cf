//! The thread of one source: which files it follows, in what order, and what becomes of each.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{oneshot, watch};

use super::FileSource;
use super::follow::{Batch, Follow, Reading, Role, Step};
use super::identity::{self, IdentifyError, WINDOW_BYTES, read_at};
use super::reclaim;
use super::watch::{Signal, Watch};
use crate::config::plan::WatchMode;
use crate::event::{GapDetail, GapReason, NewRecord, RecordKind, Timestamp};
use crate::journal::{Advance, Append, AppendError, Appended, IncarnationRow, JournalError, SourceId};
use crate::source::{FileStatus, SourceStatus, records};
use crate::telemetry::logs::payload;
use crate::telemetry::traces::Accepting;

/// How long to wait before trying again when the journal takes nothing.
const STALL_RETRY: Duration = Duration::from_secs(1);
/// How often to look at files that no notification may tell of (deleted ones, read through a descriptor).
const UNSEEN_INTERVAL: Duration = Duration::from_secs(1);
/// How often to look around in any case.
const SAFETY_INTERVAL: Duration = Duration::from_secs(30);
/// How long a last look waits for more, while files are kept open at shutdown.
const QUIET: Duration = Duration::from_millis(200);

/// Why work on the files stopped for now.
pub(super) enum Pause {
    /// The journal takes nothing: try again after a while.
    Stalled(String),
    /// One file cannot be read: the others go on.
    File(String),
    /// The journal is closed: end.
    Closed,
}

impl From<JournalError> for Pause {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::Closed => Self::Closed,
            other @ JournalError::Io(_) => Self::Stalled(other.to_string()),
        }
    }
}

impl From<IdentifyError> for Pause {
    fn from(error: IdentifyError) -> Self {
        match error {
            IdentifyError::Journal(error) => error.into(),
            IdentifyError::Io(error) => error.into(),
        }
    }
}

impl From<std::io::Error> for Pause {
    fn from(error: std::io::Error) -> Self {
        Self::File(error.to_string())
    }
}

pub(super) type Outcome<T> = Result<T, Pause>;

/// An append that was handed to the journal and is not answered yet.
struct InFlight {
    answer: oneshot::Receiver<Result<Appended, AppendError>>,
    advance: Advance,
    accepting: Accepting,
}

pub(super) struct Tailer {
    pub(super) source: FileSource,
    pub(super) id: SourceId,
    pub(super) reading: Reading,
    /// Whether an earlier run looked at the files.
    pub(super) started: bool,
    /// All incarnations of this source, newest first.
    pub(super) rows: Vec<IncarnationRow>,
    pub(super) follows: Vec<Follow>,
    in_flight: Option<InFlight>,
    /// Whether a file turned out to be another than it was a moment ago.
    pub(super) must_look_again: bool,
    /// Files beside a path that were looked at and are not to be read, by path: inode, size, change time.
    pub(super) judged: HashMap<PathBuf, (u64, u64, i64)>,
    /// What was said already, so that it is said once.
    pub(super) said: BTreeSet<String>,
    pub(super) watch: Watch,
    pub(super) status: watch::Sender<SourceStatus>,
    /// No round of giving space back before this.
    pub(super) next_reclaim: Option<Instant>,
    /// Whether another is to take over.
    pub(super) leaving: Arc<AtomicBool>,
}

impl Tailer {
    pub(super) fn new(
        source: FileSource,
        signals: Sender<Signal>,
        status: watch::Sender<SourceStatus>,
    ) -> Result<Self, JournalError> {
        let row = source.register()?;
        let rows = source.journal.incarnations(row.id)?;
        let poll = source.plan.watch == WatchMode::Poll;
        let watch = Watch::new(signals, source.data_dir.clone(), poll);
        let reading = source.reading();
        Ok(Self {
            id: row.id,
            started: row.started,
            reading,
            rows,
            follows: Vec::new(),
            in_flight: None,
            must_look_again: false,
            judged: HashMap::new(),
            said: BTreeSet::new(),
            watch,
            status,
            next_reclaim: None,
            leaving: Arc::default(),
            source,
        })
    }

    /// Follows the files until told to stop.
    pub(super) fn run(&mut self, inbox: &Receiver<Signal>) {
        let mut stopping: Option<Instant> = None;
        let mut look = true;
        loop {
            let paused = match self.turn(look) {
                Ok(()) => None,
                Err(Pause::Closed) => return,
                Err(Pause::Stalled(reason) | Pause::File(reason)) => Some(reason),
            };
            self.publish(paused.as_deref());
            // Also where it is leaving, only a turn that began after that was said is the last: what nobody else
            // can open may have grown since the one before.
            if stopping.is_some_and(|until| Instant::now() >= until) {
                return;
            }
            let wait = match &paused {
                _ if stopping.is_some() => QUIET,
                Some(_) => STALL_RETRY,
                None => self.interval(),
            };
            look = paused.is_some();
            let mut signal = inbox.recv_timeout(wait);
            loop {
                match signal {
                    Ok(Signal::Stop { keep_reading }) => {
                        stopping = Some(Instant::now() + keep_reading);
                        look = true;
                    }
                    Ok(Signal::Moved) => look = true,
                    Ok(Signal::Written) => {}
                    Ok(Signal::Reconsider) => self.reconsider_reclaim(),
                    Err(RecvTimeoutError::Timeout) => look = true,
                    Err(RecvTimeoutError::Disconnected) => return,
                }
                match inbox.try_recv() {
                    Ok(next) => signal = Ok(next),
                    Err(_) => break,
                }
            }
        }
    }

    fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Acquire)
    }

    fn interval(&self) -> Duration {
        let unseen = self.follows.iter().any(|follow| follow.role != Role::Current);
        let interval = match (&self.watch.polling, unseen) {
            (Some(_), _) => self.source.plan.poll_interval,
            (None, true) => UNSEEN_INTERVAL,
            (None, false) => SAFETY_INTERVAL,
        };
        if self.awaits_reclaim() { interval.min(reclaim::INTERVAL) } else { interval }
    }

    /// One turn: look around if asked to, read everything to its end, until nothing changes any more.
    fn turn(&mut self, look: bool) -> Outcome<()> {
        let mut look = look || self.follows.iter().any(|follow| follow.row.is_none());
        loop {
            if look {
                self.look_around()?;
            }
            look = self.read_all()? | std::mem::take(&mut self.must_look_again);
            if self.is_leaving() {
                return Ok(());
            }
            if !look {
                self.retire_idle()?;
                return self.reclaim();
            }
        }
    }

    // === reading files ===

    /// Reads every file to its end, those that are not at their path any more first. True where the
    /// files must be looked at again.
    fn read_all(&mut self) -> Outcome<bool> {
        let mut order: Vec<(u64, u64)> = self.follows.iter().map(|follow| follow.inode).collect();
        order.sort_by_key(|inode| self.follows.iter().any(|f| f.inode == *inode && f.role == Role::Current));
        let mut again = false;
        for inode in order {
            let Some(index) = self.index_of(inode) else { continue };
            let path = self.follows[index].path.clone();
            let outcome = self.read(index, true);
            again |= self.forgive(&path, outcome)?.unwrap_or_default();
        }
        self.settle()?;
        Ok(again)
    }

    /// Reads one file to its end. True where the files must be looked at again.
    pub(super) fn read_to_end(&mut self, index: usize) -> Outcome<bool> {
        self.read(index, false)
    }

    /// As [`Tailer::read_to_end`]. Where it may leave, what another can read on is left to that one.
    fn read(&mut self, index: usize, may_leave: bool) -> Outcome<bool> {
        if self.follows[index].row.is_none() {
            // A first line may have become whole; naming it is for the next look.
            let head = read_at(&self.follows[index].file, 0, WINDOW_BYTES)?;
            return Ok(identity::first_line(&head).is_some());
        }
        loop {
            if may_leave && self.is_leaving() && !self.follows[index].is_unlinked() {
                self.settle()?;
                return Ok(false);
            }
            match self.follows[index].step(&self.reading)? {
                Step::AtEnd => break,
                Step::Batch(batch) => {
                    self.tell_gaps(&batch.records);
                    self.submit(batch)?;
                    // A file may grow faster than it is read, and its end never come.
                    self.reclaim()?;
                }
                Step::Rewritten => {
                    self.settle()?;
                    self.rewritten(index)?;
                    return Ok(true);
                }
            }
        }
        self.settle()?;
        if self.follows[index].role == Role::Copy {
            self.retire(index)?;
            return Ok(true);
        }
        self.warn_of_writer(index);
        Ok(false)
    }

    /// The file was truncated, or written anew: the rest of what it held is in a copy, or missing.
    fn rewritten(&mut self, index: usize) -> Outcome<()> {
        let inode = self.follows[index].inode;
        let row = self.follows[index].row.clone();
        if self.follows[index].role == Role::Copy {
            self.follows.remove(index);
        } else {
            self.follows[index].forget(&self.reading);
        }
        let Some(row) = row else { return Ok(()) };
        if !self.follow_rest(&row, Some(inode))? {
            self.lose(&row, GapReason::Truncated)?;
        }
        Ok(())
    }

    /// Whether a path is configured as such, so that a file is expected to come back to it.
    fn is_plain_path(&self, slot: &Path) -> bool {
        self.source.plan.paths.iter().any(|path| Path::new(path) == slot)
    }

    /// Files that were renamed and have been silent for long are finished, once the file at their path has
    /// data; those that a glob found and that were deleted, without waiting for another.
    fn retire_idle(&mut self) -> Outcome<()> {
        let idle = self.source.plan.rotated_idle;
        while let Some(index) = self.follows.iter().position(|follow| {
            follow.role == Role::Renamed
                && follow.grown_at.elapsed() >= idle
                && (follow.is_unlinked() && !self.is_plain_path(&follow.slot)
                    || self.follows.iter().any(|other| {
                        other.role == Role::Current && other.slot == follow.slot && other.size() > 0
                    }))
        }) {
            self.retire(index)?;
        }
        Ok(())
    }

    /// Nothing more is expected of a file: its unfinished last line, if any, is a record too.
    fn retire(&mut self, index: usize) -> Outcome<()> {
        if let Some(batch) = self.follows[index].finish(&self.reading) {
            self.submit(batch)?;
            self.settle()?;
        }
        self.follows.remove(index);
        Ok(())
    }

    /// What cannot be read of one file is told once, and tried again at the next look: it is no reason to
    /// leave the others.
    pub(super) fn forgive<T>(&mut self, path: &Path, outcome: Outcome<T>) -> Outcome<Option<T>> {
        match outcome {
            Ok(value) => Ok(Some(value)),
            Err(Pause::File(reason)) => {
                self.say_error_once(format!("{} cannot be read: {reason}", path.display()));
                Ok(None)
            }
            Err(other) => Err(other),
        }
    }

    // === the journal ===

    /// Hands a batch to the journal; waits for the answer to the one before.
    fn submit(&mut self, batch: Batch) -> Outcome<()> {
        self.settle()?;
        let begun = SystemTime::now();
        let Batch { mut records, advance, ignored } = batch;
        let nothing = records.is_empty() && ignored == 0 && advance.from == advance.to && !advance.finished;
        if nothing {
            return Ok(());
        }
        if !records.is_empty() {
            self.status.send_modify(|status| {
                status.records += records.len() as u64;
                status.last_record_at = Some(Timestamp::now());
            });
        }
        let accepting = self.source.tracer.accept(&self.source.name, begun, &mut records);
        payload::taken(&self.source.name, &records);
        let append = Append { source: self.id, advance: Some(advance.clone()), records, ignored };
        self.in_flight = Some(InFlight { answer: self.source.journal.append(append), advance, accepting });
        Ok(())
    }

    /// Waits for the answer to what was handed over last. Where that was refused, everything is read again
    /// from what is committed.
    fn settle(&mut self) -> Outcome<()> {
        let Some(InFlight { answer, advance, accepting }) = self.in_flight.take() else { return Ok(()) };
        let refused = match answer.blocking_recv() {
            Ok(Ok(appended)) => {
                accepting.placed(&appended.placed);
                self.note(&advance);
                return Ok(());
            }
            Ok(Err(AppendError::Closed)) | Err(_) => return Err(Pause::Closed),
            Ok(Err(refused)) => refused,
        };
        self.rows = self.source.journal.incarnations(self.id)?;
        for follow in &mut self.follows {
            let known = follow.row.as_ref().map(|row| row.id);
            let Some(row) = self.rows.iter().find(|row| Some(row.id) == known) else { continue };
            self.must_look_again |= !follow.adopt(row.clone(), &self.reading)?;
        }
        match refused {
            AppendError::Moved { .. } => {
                tracing::warn!(source = self.source.name, %refused, "reading again from the committed position");
                Err(Pause::Stalled(refused.to_string()))
            }
            other => Err(Pause::Stalled(other.to_string())),
        }
    }

    /// Notes a committed step in what is known of the files.
    fn note(&mut self, advance: &Advance) {
        let follows = self.follows.iter_mut().filter_map(|follow| follow.row.as_mut());
        for row in self.rows.iter_mut().chain(follows).filter(|row| row.id == advance.incarnation) {
            row.position = advance.to;
            row.fingerprint = advance.fingerprint.clone();
            row.finished = advance.finished;
            row.inode = advance.inode;
            row.last_path.clone_from(&advance.last_path);
        }
    }

    /// Ends an incarnation with these last records.
    pub(super) fn close_row(&mut self, row: &IncarnationRow, records: Vec<NewRecord>) -> Outcome<()> {
        self.submit(Batch {
            records,
            ignored: 0,
            advance: Advance {
                incarnation: row.id,
                from: row.position,
                to: row.position,
                fingerprint: row.fingerprint.clone(),
                last_path: row.last_path.clone(),
                inode: row.inode,
                finished: true,
            },
        })?;
        self.settle()
    }

    /// The rest of an incarnation cannot be found: that is a record too.
    pub(super) fn lose(&mut self, row: &IncarnationRow, reason: GapReason) -> Outcome<()> {
        let what = match reason {
            GapReason::Truncated => "was truncated and no copy of it was found",
            _ => "is gone and was not found under another name",
        };
        let message = format!(
            "{} {what}: lines written after byte {} of it may be missing",
            row.last_path, row.position
        );
        tracing::error!(
            source = self.source.name,
            path = row.last_path,
            from = row.position,
            "gap: {message}"
        );
        let path = Some(row.last_path.clone());
        let detail = GapDetail { reason, path, from: row.position, to: None, message };
        let gap = records::gap(row.name, &detail);
        self.close_row(row, vec![gap])
    }

    // === telling ===

    /// Tells of what a batch says is missing; once, however often it is handed over.
    fn tell_gaps(&mut self, records: &[NewRecord]) {
        for record in records.iter().filter(|record| record.kind == RecordKind::Gap) {
            if let Ok(gap) = serde_json::from_slice::<GapDetail>(&record.original) {
                self.say_error_once(format!("gap: {}", gap.message));
            }
        }
    }

    fn publish(&mut self, stalled: Option<&str>) {
        if let Some(reason) = stalled {
            self.say_once(format!("not going on: {reason}"));
        } else {
            self.said.retain(|said| !said.starts_with("not going on"));
        }
        let files = self
            .follows
            .iter()
            .map(|follow| FileStatus {
                path: follow.path.clone(),
                position: follow.row.as_ref().map_or(0, |row| row.position),
                size_bytes: follow.size(),
                renamed: follow.role != Role::Current,
                reclaim: self.reclaims().then(|| follow.space.status()),
            })
            .collect();
        self.status.send_modify(|status| {
            status.files = files;
            status.caught_up = stalled.is_none();
            status.stalled = stalled.map(str::to_owned);
        });
    }

    /// Says that a writer still holds a renamed file while the file at its path stays empty.
    fn warn_of_writer(&mut self, index: usize) {
        let follow = &self.follows[index];
        let grows = follow.role == Role::Renamed && follow.has_grown && !follow.is_unlinked();
        let empty =
            |other: &Follow| other.role == Role::Current && other.slot == follow.slot && other.size() == 0;
        if grows && self.follows.iter().any(empty) {
            self.say_once(format!(
                "Flipt still writes to {} while {} stays empty: restart Flipt, or rotate with copytruncate",
                follow.path.display(),
                follow.slot.display()
            ));
        }
    }

    pub(super) fn say_error_once(&mut self, message: String) {
        if self.said.insert(message.clone()) {
            tracing::error!(source = self.source.name, "{message}");
        }
    }

    pub(super) fn say_once(&mut self, message: String) {
        if self.said.insert(message.clone()) {
            tracing::warn!(source = self.source.name, "{message}");
        }
    }
}
