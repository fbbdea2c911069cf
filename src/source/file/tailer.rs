//! The thread of one source: which files it follows, in what order, and what becomes of each.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{oneshot, watch};

use super::directory::{self, expand, homes, is_compressed, is_rotated_name_of};
use super::follow::{Batch, Follow, Reading, Role, Step};
use super::identity::{self, Identity, IdentifyError, WINDOW_BYTES, identify, inode_of, read_at};
use super::watch::{Signal, Watch};
use super::{FileSource, FileStatus, SourceStatus};
use crate::config::plan::{ReadFrom, WatchMode};
use crate::event::{
    EventId, Framing, GapDetail, GapReason, Keys, Namespace, NewRecord, RecordKind, Timestamp,
};
use crate::journal::{
    Advance, Append, AppendError, Appended, IncarnationId, IncarnationRow, JournalError, NewIncarnation, SourceId,
};

/// How long to wait before trying again when the journal takes nothing.
const STALL_RETRY: Duration = Duration::from_secs(1);
/// How often to look at files that no notification may tell of (deleted ones, read through a descriptor).
const UNSEEN_INTERVAL: Duration = Duration::from_secs(1);
/// How often to look around in any case.
const SAFETY_INTERVAL: Duration = Duration::from_secs(30);
/// How long a last look waits for more, while files are kept open at shutdown.
const QUIET: Duration = Duration::from_millis(200);

/// Why work on the files stopped for now.
enum Pause {
    /// The journal takes nothing: try again after a while.
    Stalled(String),
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
            IdentifyError::Io(error) => Self::Stalled(format!("a file could not be read: {error}")),
        }
    }
}

impl From<std::io::Error> for Pause {
    fn from(error: std::io::Error) -> Self {
        Self::Stalled(format!("a file could not be read: {error}"))
    }
}

type Outcome<T> = Result<T, Pause>;

/// An append that was handed to the journal and is not answered yet.
struct InFlight {
    answer: oneshot::Receiver<Result<Appended, AppendError>>,
    advance: Advance,
}

pub(super) struct Tailer {
    source: FileSource,
    id: SourceId,
    reading: Reading,
    /// Whether an earlier run looked at the files.
    started: bool,
    /// All incarnations of this source, newest first.
    rows: Vec<IncarnationRow>,
    follows: Vec<Follow>,
    in_flight: Option<InFlight>,
    /// Whether a file turned out to be another than it was a moment ago.
    must_look_again: bool,
    /// Files beside a path that were looked at and are not to be read, by path: inode, size, change time.
    judged: HashMap<PathBuf, (u64, u64, i64)>,
    /// What was said already, so that it is said once.
    said: BTreeSet<String>,
    watch: Watch,
    status: watch::Sender<SourceStatus>,
}

impl Tailer {
    pub(super) fn new(
        source: FileSource,
        signals: Sender<Signal>,
        status: watch::Sender<SourceStatus>,
    ) -> Result<Self, JournalError> {
        let row = source.journal.register_source(&source.name, &source.instance)?;
        let rows = source.journal.incarnations(row.id)?;
        let poll = source.plan.watch == WatchMode::Poll;
        let watch = Watch::new(signals, source.data_dir.clone(), poll);
        let reading = Reading {
            instance: source.instance.clone(),
            framing: source.plan.framing,
            max_event_bytes: source.plan.max_event_bytes,
        };
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
                Err(Pause::Stalled(reason)) => Some(reason),
            };
            self.publish(paused.as_deref());
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

    fn interval(&self) -> Duration {
        let unseen = self.follows.iter().any(|follow| follow.role != Role::Current);
        match (&self.watch.polling, unseen) {
            (Some(_), _) => self.source.plan.poll_interval,
            (None, true) => UNSEEN_INTERVAL,
            (None, false) => SAFETY_INTERVAL,
        }
    }

    /// One turn: look around if asked to, read everything to its end, until nothing changes any more.
    fn turn(&mut self, look: bool) -> Outcome<()> {
        let mut look = look || self.follows.iter().any(|follow| follow.row.is_none());
        loop {
            if look {
                self.look_around()?;
            }
            look = self.read_all()? | std::mem::take(&mut self.must_look_again);
            if !look {
                self.retire_idle()?;
                return Ok(());
            }
        }
    }

    // === finding files ===

    /// Brings what is followed in line with what is there.
    fn look_around(&mut self) -> Outcome<()> {
        let slots = expand(&self.source.plan.paths, self.source.plan.include_rotated);
        let mut absent = Vec::new();
        for slot in &slots {
            if !self.visit_slot(slot)? {
                absent.push(slot.clone());
            }
        }
        self.watch_homes(&slots);
        self.name_current()?;
        self.find_missing(&slots)?;
        self.read_missed_siblings(&slots)?;
        self.trace_renames();
        if !self.started {
            self.source.journal.mark_started(self.id)?;
            self.started = true;
        }
        self.status.send_modify(|status| {
            status.looked = true;
            status.absent = absent;
        });
        Ok(())
    }

    /// Opens what is at a path now, if it is not followed yet. False where there is no file.
    fn visit_slot(&mut self, slot: &Path) -> Outcome<bool> {
        let found = std::fs::metadata(slot).ok().filter(std::fs::Metadata::is_file);
        let inode = found.as_ref().map(inode_of);
        let is_current = |follow: &Follow| follow.role == Role::Current && follow.slot == slot;
        if let Some(current) = self.follows.iter_mut().find(|follow| is_current(follow)) {
            if Some(current.inode) == inode {
                return Ok(true);
            }
            current.role = Role::Renamed;
        }
        let Some(inode) = inode else { return Ok(false) };
        if let Some(known) = self.follows.iter_mut().find(|follow| follow.inode == inode) {
            known.role = Role::Current;
            known.slot = slot.to_path_buf();
            known.path = slot.to_path_buf();
            return Ok(true);
        }
        match File::open(slot) {
            Ok(file) => {
                let path = slot.to_path_buf();
                self.follows.push(Follow::new(file, path.clone(), path, Role::Current, &self.reading)?);
                Ok(true)
            }
            Err(error) => {
                self.say_once(format!("{} cannot be opened: {error}", slot.display()));
                Ok(false)
            }
        }
    }

    fn watch_homes(&mut self, slots: &BTreeSet<PathBuf>) {
        let rotated_dir = self.source.plan.rotated_dir.as_deref();
        let mut directories: Vec<PathBuf> =
            slots.iter().flat_map(|slot| homes(slot, rotated_dir)).collect();
        directories.extend(
            self.source
                .plan
                .paths
                .iter()
                .filter(|pattern| directory::is_glob(pattern))
                .filter_map(|pattern| Path::new(pattern).parent().map(Path::to_path_buf))
                .filter(|parent| !parent.to_str().is_some_and(directory::is_glob)),
        );
        self.watch.set(directories);
        if let Some(reason) = self.watch.polling.clone() {
            let interval = humantime::format_duration(self.source.plan.poll_interval);
            self.say_once(format!("looking for changes every {interval}: {reason}"));
        }
    }

    /// Identifies the files at the paths that are not identified yet.
    fn name_current(&mut self) -> Outcome<()> {
        let unnamed: Vec<_> =
            self.follows.iter().filter(|follow| follow.row.is_none()).map(|follow| follow.inode).collect();
        for inode in unnamed {
            if let Some(index) = self.index_of(inode) {
                self.name(index)?;
            }
        }
        Ok(())
    }

    /// Where the open file with this inode stands among the followed ones; reading may move it.
    fn index_of(&self, inode: (u64, u64)) -> Option<usize> {
        self.follows.iter().position(|follow| follow.inode == inode)
    }

    /// Finds out which incarnation a followed file is, and reads on from where that stands.
    fn name(&mut self, index: usize) -> Outcome<()> {
        let file = self.follows[index].file.try_clone()?;
        let size = file.metadata()?.len();
        match identify(&file, &self.rows, &self.source.journal)? {
            Identity::Unnamed => Ok(()),
            Identity::Known(known) => {
                let row = self.rows[known].clone();
                match self.follows.iter().position(|other| other.row.as_ref().is_some_and(|r| r.id == row.id)) {
                    None => self.follow_row(index, row),
                    Some(other) => self.fork(index, other),
                }
            }
            Identity::Earlier(_) => {
                let end = identity::last_line_end(&file, size)?;
                self.begin(index, end)
            }
            Identity::New(_) => {
                let skip = !self.started && self.source.plan.read_from == ReadFrom::End;
                let position = if skip { identity::last_line_end(&file, size)? } else { 0 };
                self.begin(index, position)
            }
        }
    }

    /// The file at `index` holds what `other` holds, which is read already: it goes on from there under a
    /// name of its own, so that nothing is read twice and neither writer is lost.
    fn fork(&mut self, index: usize, other: usize) -> Outcome<()> {
        let (inode, other_inode) = (self.follows[index].inode, self.follows[other].inode);
        self.read_to_end(other)?;
        let (Some(index), Some(other)) = (self.index_of(inode), self.index_of(other_inode)) else {
            return Ok(());
        };
        let Some(row) = self.follows[other].row.clone() else { return Ok(()) };
        // Unless its writer goes on after all, what it held is looked for nowhere else.
        self.close_row(&row, Vec::new())?;
        let file = self.follows[index].file.try_clone()?;
        let size = file.metadata()?.len();
        let position = if identity::holds(&file, size, &row)? {
            row.position
        } else {
            identity::last_line_end(&file, size)?.min(row.position)
        };
        self.begin(index, position)
    }

    /// Begins a new incarnation for a followed file, at `position`.
    fn begin(&mut self, index: usize, position: u64) -> Outcome<()> {
        let row = self.create(&self.follows[index].file, &self.follows[index].slot, position)?;
        match row {
            Some(row) => {
                self.rows.insert(0, row.clone());
                self.follow_row(index, row)
            }
            None => Ok(()),
        }
    }

    /// Reads on from `row` in a followed file, unless that was written anew since it was identified: then
    /// the row is looked for elsewhere, and the file identified again.
    fn follow_row(&mut self, index: usize, row: IncarnationRow) -> Outcome<()> {
        self.must_look_again |= !self.follows[index].adopt(row, &self.reading)?;
        Ok(())
    }

    /// The row of a new incarnation for a file; `None` while it has no whole line.
    fn create(&self, file: &File, slot: &Path, position: u64) -> Outcome<Option<IncarnationRow>> {
        let head = read_at(file, 0, WINDOW_BYTES)?;
        let Some(first_line) = identity::first_line(&head) else { return Ok(None) };
        let tail_from = position.saturating_sub(WINDOW_BYTES as u64);
        let tail = read_at(file, tail_from, usize::try_from(position - tail_from).unwrap_or(0))?;
        let row = self.source.journal.create_incarnation(NewIncarnation {
            source: self.id,
            relay_name: self.source.relay_name.clone(),
            source_name: self.source.name.clone(),
            first_line: first_line.to_vec(),
            path: slot.to_string_lossy().into_owned(),
            inode: file.metadata()?.ino(),
            position,
            fingerprint: identity::fingerprint(&head, &tail, position),
        })?;
        Ok(Some(row))
    }

    /// Unfinished incarnations that nothing follows: found under another name, or lost.
    fn find_missing(&mut self, slots: &BTreeSet<PathBuf>) -> Outcome<()> {
        let followed: BTreeSet<i64> =
            self.follows.iter().filter_map(|follow| follow.row.as_ref().map(|row| row.id.0)).collect();
        let missing: Vec<IncarnationRow> = self
            .rows
            .iter()
            .rev()
            .filter(|row| !row.finished && !followed.contains(&row.id.0))
            .cloned()
            .collect();
        for row in missing {
            let slot = PathBuf::from(&row.path);
            if !slots.contains(&slot) && !directory::covers(&self.source.plan.paths, &slot) {
                continue; // no longer configured
            }
            let replaced =
                self.follows.iter().any(|follow| follow.role == Role::Current && follow.slot == slot);
            let given_up = Timestamp::now().since(row.grown_at) >= self.source.plan.rotated_idle;
            if !self.follow_rest(&row, None)? && (replaced || given_up) {
                self.lose(&row, GapReason::Missing)?;
            }
        }
        Ok(())
    }

    /// Looks among the files beside a path for the one that holds what `row` read, and follows it. True
    /// where one was found.
    fn follow_rest(&mut self, row: &IncarnationRow, except: Option<(u64, u64)>) -> Outcome<bool> {
        let slot = PathBuf::from(&row.path);
        let mut best: Option<(bool, u64, PathBuf, File)> = None;
        let mut read_already = false;
        for path in directory::files_in(&homes(&slot, self.source.plan.rotated_dir.as_deref())) {
            let Ok(file) = File::open(&path) else { continue };
            let metadata = file.metadata()?;
            let inode = inode_of(&metadata);
            if Some(inode) == except {
                continue;
            }
            let head = read_at(&file, 0, WINDOW_BYTES)?;
            let begins_alike = identity::first_line(&head)
                .is_some_and(|line| identity::hash(line) == row.first_line_hash);
            if !begins_alike {
                continue;
            }
            let followed = self.follows.iter().any(|follow| follow.inode == inode && follow.row.is_some());
            if identity::holds(&file, metadata.len(), row)? {
                if followed {
                    read_already = true; // under another name: the file went on there
                    continue;
                }
                let rank = (metadata.ino() == row.inode, metadata.len());
                if best.as_ref().is_none_or(|(same, size, ..)| rank > (*same, *size)) {
                    best = Some((rank.0, rank.1, path, file));
                }
            } else if metadata.len() < row.position {
                read_already |= identity::is_earlier_state(&file, metadata.len(), row, &self.source.journal)?;
            }
        }
        if let Some((_, _, path, file)) = best {
            // Of a truncated file there is a copy that nobody writes to; a file that was renamed may have a
            // writer, even under another inode.
            let role = if except.is_some() { Role::Copy } else { Role::Renamed };
            tracing::info!(source = self.source.name, path = %path.display(), "reading on in a renamed file or a copy");
            let mut follow = Follow::new(file, path, slot, role, &self.reading)?;
            self.follows.retain(|other| other.inode != follow.inode || other.row.is_some());
            if follow.adopt(row.clone(), &self.reading)? {
                self.follows.insert(0, follow);
                return Ok(true);
            }
        }
        if read_already {
            // A copy that was made when less had been written, or one that is followed: all it holds is
            // read or being read.
            self.close_row(row, Vec::new())?;
        }
        Ok(read_already)
    }

    /// Rotated copies of files that came and went between two looks: nothing of them was read.
    fn read_missed_siblings(&mut self, slots: &BTreeSet<PathBuf>) -> Outcome<()> {
        let mut missed: Vec<(SystemTime, PathBuf, PathBuf, File)> = Vec::new();
        let mut continued: Vec<(PathBuf, PathBuf, File)> = Vec::new();
        for slot in slots {
            for path in directory::files_in(&homes(slot, self.source.plan.rotated_dir.as_deref())) {
                if slots.contains(&path) || !is_rotated_name_of(&path, slot) {
                    continue;
                }
                let Ok(metadata) = std::fs::metadata(&path) else { continue };
                let look = (metadata.ino(), metadata.len(), metadata.ctime());
                let inode = inode_of(&metadata);
                if self.judged.get(&path) == Some(&look)
                    || self.follows.iter().any(|follow| follow.inode == inode)
                {
                    continue;
                }
                self.judged.insert(path.clone(), look);
                if is_compressed(&path) {
                    if self.started {
                        self.say_once(format!(
                            "{} is compressed and is not read; if it holds events that are missing, decompress it and use `audit-relay import`",
                            path.display()
                        ));
                    }
                    continue;
                }
                let Ok(file) = File::open(&path) else { continue };
                match identify(&file, &self.rows, &self.source.journal)? {
                    Identity::New(_) => {
                        let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                        missed.push((modified, path, slot.clone(), file));
                    }
                    Identity::Known(index) => {
                        let row = self.rows[index].id;
                        if self.goes_beyond(&file, row)? {
                            continued.push((path, slot.clone(), file));
                        }
                    }
                    Identity::Unnamed | Identity::Earlier(_) => {}
                }
            }
        }
        for (path, slot, file) in continued {
            tracing::info!(source = self.source.name, path = %path.display(), "reading on in a file that took another's place");
            let follow = Follow::new(file, path, slot, Role::Renamed, &self.reading)?;
            let inode = follow.inode;
            self.follows.push(follow);
            if let Some(index) = self.index_of(inode) {
                self.name(index)?;
            }
        }
        missed.sort_by_key(|(modified, ..)| *modified);
        for (modified, path, slot, file) in missed {
            // What was rotated before the relay first came is left alone (`import` takes it in), but a
            // writer may still hold it: what is added from now on is read.
            let position = if self.started { 0 } else { identity::last_line_end(&file, file.metadata()?.len())? };
            let Some(row) = self.create(&file, &slot, position)? else { continue };
            self.rows.insert(0, row.clone());
            if !self.started && modified.elapsed().is_ok_and(|age| age >= self.source.plan.rotated_idle) {
                self.close_row(&row, Vec::new())?;
                continue;
            }
            if self.started {
                tracing::info!(source = self.source.name, path = %path.display(), "reading a rotated file that came and went unseen");
            }
            let mut follow = Follow::new(file, path, slot, Role::Renamed, &self.reading)?;
            if !follow.adopt(row, &self.reading)? {
                self.must_look_again = true;
                continue;
            }
            let before_current = self
                .follows
                .iter()
                .position(|follow| follow.role == Role::Current)
                .unwrap_or(self.follows.len());
            self.follows.insert(before_current, follow);
        }
        Ok(())
    }

    /// Whether a file that holds what a followed one held has more than that one: its inode was changed
    /// (copied and moved into place) before it was rotated, and the writer went on in it.
    fn goes_beyond(&mut self, file: &File, row: IncarnationId) -> Outcome<bool> {
        let follows = |follow: &Follow| follow.row.as_ref().is_some_and(|known| known.id == row);
        let Some(other) = self.follows.iter().position(follows) else { return Ok(false) };
        let inode = inode_of(&file.metadata()?);
        self.read_to_end(other)?;
        let Some(other) = self.follows.iter().find(|follow| follows(follow)) else { return Ok(false) };
        let taken = self.follows.iter().any(|follow| follow.inode == inode);
        let size = file.metadata()?.len();
        Ok(!taken && size > other.position && other.row.as_ref().map_or(Ok(false), |row| identity::holds(file, size, row))?)
    }

    /// Finds the names that renamed files have now, for people to read.
    fn trace_renames(&mut self) {
        for index in 0..self.follows.len() {
            let follow = &self.follows[index];
            let still_there = std::fs::metadata(&follow.path).is_ok_and(|found| inode_of(&found) == follow.inode);
            if follow.role != Role::Renamed || still_there {
                continue;
            }
            let (slot, inode) = (follow.slot.clone(), follow.inode);
            let renamed = directory::files_in(&homes(&slot, self.source.plan.rotated_dir.as_deref()))
                .into_iter()
                .find(|path| std::fs::metadata(path).is_ok_and(|found| inode_of(&found) == inode));
            if let Some(path) = renamed {
                self.follows[index].path = path;
            }
        }
    }

    // === reading files ===

    /// Reads every file to its end, those that are not at their path any more first. True where the
    /// files must be looked at again.
    fn read_all(&mut self) -> Outcome<bool> {
        let mut order: Vec<(u64, u64)> = self.follows.iter().map(|follow| follow.inode).collect();
        order.sort_by_key(|inode| {
            self.follows.iter().any(|f| f.inode == *inode && f.role == Role::Current)
        });
        let mut again = false;
        for inode in order {
            let Some(index) = self.index_of(inode) else { continue };
            again |= self.read_to_end(index)?;
        }
        self.settle()?;
        Ok(again)
    }

    /// Reads one file to its end. True where the files must be looked at again.
    fn read_to_end(&mut self, index: usize) -> Outcome<bool> {
        if self.follows[index].row.is_none() {
            // A first line may have become whole; naming it is for the next look.
            let head = read_at(&self.follows[index].file, 0, WINDOW_BYTES)?;
            return Ok(identity::first_line(&head).is_some());
        }
        loop {
            match self.follows[index].step(&self.reading)? {
                Step::AtEnd => break,
                Step::Batch(batch) => self.submit(batch)?,
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

    /// Files that were renamed and have been silent for long are finished.
    fn retire_idle(&mut self) -> Outcome<()> {
        let idle = self.source.plan.rotated_idle;
        while let Some(index) = self.follows.iter().position(|follow| {
            follow.role == Role::Renamed
                && follow.grown_at.elapsed() >= idle
                && (follow.is_unlinked()
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

    // === the journal ===

    /// Hands a batch to the journal; waits for the answer to the one before.
    fn submit(&mut self, batch: Batch) -> Outcome<()> {
        self.settle()?;
        let Batch { records, advance, ignored } = batch;
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
        let append = Append { source: self.id, advance: Some(advance.clone()), records, ignored };
        self.in_flight = Some(InFlight { answer: self.source.journal.append(append), advance });
        Ok(())
    }

    /// Waits for the answer to what was handed over last. Where that was refused, everything is read again
    /// from what is committed.
    fn settle(&mut self) -> Outcome<()> {
        let Some(InFlight { answer, advance }) = self.in_flight.take() else { return Ok(()) };
        let refused = match answer.blocking_recv() {
            Ok(Ok(_)) => {
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
        }
    }

    /// Ends an incarnation with these last records.
    fn close_row(&mut self, row: &IncarnationRow, records: Vec<NewRecord>) -> Outcome<()> {
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
    fn lose(&mut self, row: &IncarnationRow, reason: GapReason) -> Outcome<()> {
        let what = match reason {
            GapReason::Truncated => "was truncated and no copy of it was found",
            _ => "is gone and was not found under another name",
        };
        let message = format!(
            "{} {what}: lines written after byte {} of it may be missing",
            row.path, row.position
        );
        tracing::error!(source = self.source.name, path = row.path, from = row.position, "gap: {message}");
        let detail = GapDetail { reason, path: Some(row.path.clone()), from: row.position, to: None, message };
        let original = serde_json::to_vec(&detail).unwrap_or_default();
        let gap = NewRecord {
            id: EventId::of_line(row.name, row.position, &original),
            kind: RecordKind::Gap,
            offset: row.position,
            framing: Framing::Auto,
            original,
            detail: None,
            event_time: None,
            keys: Keys::barrier(Namespace::None),
            trace: None,
        };
        self.close_row(row, vec![gap])
    }

    // === telling ===

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
        let empty = |other: &Follow| other.role == Role::Current && other.slot == follow.slot && other.size() == 0;
        if grows && self.follows.iter().any(empty) {
            self.say_once(format!(
                "Flipt still writes to {} while {} stays empty: restart Flipt, or rotate with copytruncate",
                follow.path.display(),
                follow.slot.display()
            ));
        }
    }

    fn say_once(&mut self, message: String) {
        if self.said.insert(message.clone()) {
            tracing::warn!(source = self.source.name, "{message}");
        }
    }
}
