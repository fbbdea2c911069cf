//! Looking around: which files are there, which incarnation each of them is, and what became of those that
//! are not where they were.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::directory::{self, expand, homes, is_compressed, is_rotated_name_of, looks_rotated};
use super::follow::{Follow, Role};
use super::identity::{self, Identity, WINDOW_BYTES, identify, inode_of, read_at};
use super::tailer::{Outcome, Pause, Tailer};
use crate::config::plan::ReadFrom;
use crate::event::{GapReason, Timestamp};
use crate::flipt::{LineKind, read_line};
use crate::journal::{IncarnationId, IncarnationRow, NewIncarnation};
use crate::source::Absent;

impl Tailer {
    /// Brings what is followed in line with what is there.
    pub(super) fn look_around(&mut self) -> Outcome<()> {
        let slots = expand(&self.source.plan.paths, self.source.plan.include_rotated);
        let mut absent = Vec::new();
        let current: HashMap<PathBuf, (u64, u64)> = self
            .follows
            .iter()
            .filter(|follow| follow.role == Role::Current)
            .map(|follow| (follow.slot.clone(), follow.inode))
            .collect();
        for slot in &slots {
            let outcome = self.visit_slot(slot, current.get(slot).copied());
            match self.forgive(slot, outcome)? {
                Some(true) => {}
                Some(false) => absent.push(Absent { path: slot.clone(), is_unreadable: false }),
                None => absent.push(Absent { path: slot.clone(), is_unreadable: true }),
            }
        }
        let homes = self.homes_of(&slots);
        self.watch_homes(&homes);
        self.name_current()?;
        self.find_missing(&slots)?;
        self.read_siblings(&slots, &homes)?;
        self.trace_renames();
        self.forget_the_gone();
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

    /// Opens what is at a path now, if it is not followed yet. False where there is nothing.
    fn visit_slot(&mut self, slot: &Path, current: Option<(u64, u64)>) -> Outcome<bool> {
        let found = match std::fs::metadata(slot) {
            Ok(found) => Some(found),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error.into()),
        };
        let inode = found.as_ref().map(inode_of);
        if let Some(current) = current {
            if Some(current) == inode {
                return Ok(true);
            }
            if let Some(index) = self.index_of(current) {
                self.follows[index].role = Role::Renamed;
            }
        }
        let (Some(inode), Some(found)) = (inode, found) else { return Ok(false) };
        if let Some(index) = self.index_of(inode) {
            let known = &mut self.follows[index];
            known.role = Role::Current;
            known.slot = slot.to_path_buf();
            known.path = slot.to_path_buf();
            return Ok(true);
        }
        if !found.is_file() {
            return Err(Pause::File("it is no regular file".to_owned()));
        }
        let path = slot.to_path_buf();
        let file = File::open(slot)?;
        self.follows.push(Follow::new(file, path.clone(), path, Role::Current, &self.reading)?);
        Ok(true)
    }

    /// The directories around the configured paths: the paths of each.
    fn homes_of<'a>(&self, slots: &'a BTreeSet<PathBuf>) -> BTreeMap<PathBuf, Vec<&'a PathBuf>> {
        let mut found: BTreeMap<PathBuf, Vec<&PathBuf>> = BTreeMap::new();
        for slot in slots {
            for home in homes(slot, self.source.plan.rotated_dir.as_deref()) {
                found.entry(home).or_default().push(slot);
            }
        }
        found
    }

    /// Keeps what is remembered about files from growing for ever.
    fn forget_the_gone(&mut self) {
        const MANY: usize = 10_000;
        if self.judged.len() > MANY {
            self.judged.retain(|path, _| path.exists());
        }
        if self.said.len() > MANY {
            self.said.clear();
        }
    }

    fn watch_homes(&mut self, homes: &BTreeMap<PathBuf, Vec<&PathBuf>>) {
        let mut directories: Vec<PathBuf> = homes.keys().cloned().collect();
        // A link on the way to a file may be swapped: that happens in the directory that holds the link.
        let links = homes.keys().flat_map(|home| home.ancestors()).filter(|part| part.is_symlink());
        directories.extend(links.filter_map(|link| link.parent().map(Path::to_path_buf)));
        directories.extend(
            self.source
                .plan
                .paths
                .iter()
                .filter(|pattern| directory::is_glob(pattern))
                .filter_map(|pattern| Path::new(pattern).parent().map(Path::to_path_buf))
                .filter(|parent| !parent.to_str().is_some_and(directory::is_glob)),
        );
        self.must_look_again |= self.watch.set(directories);
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
                let path = self.follows[index].path.clone();
                let outcome = self.name(index);
                self.forgive(&path, outcome)?;
            }
        }
        Ok(())
    }

    /// Where the open file with this inode stands among the followed ones; reading may move it.
    pub(super) fn index_of(&self, inode: (u64, u64)) -> Option<usize> {
        self.follows.iter().position(|follow| follow.inode == inode)
    }

    /// Which incarnation a file is. One that looks new may have been imported since the rows were read.
    fn identify(&mut self, file: &File) -> Outcome<Identity> {
        let found = identify(file, &self.rows, &self.reading, &self.source.journal)?;
        if !matches!(found, Identity::New(_)) {
            return Ok(found);
        }
        let mut imported = self.source.journal.incarnations(self.id)?;
        // An import that is under way is nothing that was lost.
        imported.retain(|row| row.finished && self.rows.iter().all(|known| known.id != row.id));
        if imported.is_empty() {
            return Ok(found);
        }
        self.rows.splice(0..0, imported);
        Ok(identify(file, &self.rows, &self.reading, &self.source.journal)?)
    }

    fn is_earlier_state(&self, file: &File, row: &IncarnationRow) -> Outcome<bool> {
        Ok(identity::is_earlier_state(file, row, &self.reading, &self.source.journal)?)
    }

    /// Finds out which incarnation a followed file is, and reads on from where that stands.
    fn name(&mut self, index: usize) -> Outcome<()> {
        let file = self.follows[index].file.try_clone()?;
        let size = file.metadata()?.len();
        match self.identify(&file)? {
            Identity::Unnamed => Ok(()),
            Identity::Known(known) => {
                let row = self.rows[known].clone();
                match self.follows.iter().position(|other| other.row.as_ref().is_some_and(|r| r.id == row.id))
                {
                    None => self.follow_row(index, row),
                    Some(other) => self.fork(index, other),
                }
            }
            Identity::Earlier(known) => {
                let row = self.rows[known].clone();
                self.begin_after_earlier(index, &row)
            }
            Identity::New(_) => {
                let skip = !self.started && self.source.plan.read_from == ReadFrom::End;
                let position = if skip { identity::last_line_end(&file, size)? } else { 0 };
                self.begin(index, position, position)
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
        let file = self.follows[index].file.try_clone()?;
        let size = file.metadata()?.len();
        if identity::holds(&file, size, &row)? {
            self.begin(index, row.position, 0)?;
        } else {
            self.begin_after_earlier(index, &row)?;
        }
        if self.follows[index].row.is_none() {
            return Ok(());
        }
        // Unless its writer goes on after all, what it held is looked for nowhere else. In this order: a
        // crash between the two leaves two rows to look for rather than none.
        self.close_row(&row, Vec::new())
    }

    /// The file at `index` holds an earlier state of `row`: it goes on after that, under a name of its own.
    /// Where it does not hold that any more, it is identified again.
    fn begin_after_earlier(&mut self, index: usize, row: &IncarnationRow) -> Outcome<()> {
        let file = self.follows[index].file.try_clone()?;
        let size = file.metadata()?.len();
        let end = identity::last_line_end(&file, size)?;
        if size < row.position && self.is_earlier_state(&file, row)? {
            return self.begin(index, end, 0);
        }
        self.must_look_again = true;
        Ok(())
    }

    /// Begins a new incarnation for a followed file, at `position`; what is before `read_from` is skipped, the rest
    /// was read under another name.
    fn begin(&mut self, index: usize, position: u64, read_from: u64) -> Outcome<()> {
        let row = self.create(&self.follows[index].file, &self.follows[index].slot, position, read_from)?;
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
    fn create(
        &self,
        file: &File,
        slot: &Path,
        position: u64,
        read_from: u64,
    ) -> Outcome<Option<IncarnationRow>> {
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
            read_from,
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
            let found = self.follow_rest(&row, None);
            let found = self.forgive(&slot, found)?.unwrap_or(true);
            if !found && (replaced || given_up) {
                self.lose(&row, GapReason::Missing)?;
            }
        }
        Ok(())
    }

    /// Looks among the files beside a path for the one that holds what `row` read, and follows it. True
    /// where one was found. Where files are renamed during the search, it begins anew.
    pub(super) fn follow_rest(&mut self, row: &IncarnationRow, except: Option<(u64, u64)>) -> Outcome<bool> {
        const MAX_SEARCHES: usize = 20;
        let homes = homes(Path::new(&row.path), self.source.plan.rotated_dir.as_deref());
        let mut before = directory::census(&homes);
        for _ in 0..MAX_SEARCHES {
            if self.search_rest(row, except)? {
                return Ok(true);
            }
            let after = directory::census(&homes);
            if after == before {
                break;
            }
            before = after;
        }
        Ok(false)
    }

    fn search_rest(&mut self, row: &IncarnationRow, except: Option<(u64, u64)>) -> Outcome<bool> {
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
            let begins_alike =
                identity::first_line(&head).is_some_and(|line| identity::hash(line) == row.first_line_hash);
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
                read_already |= self.is_earlier_state(&file, row)?;
            }
        }
        if let Some((_, _, path, file)) = best {
            // Of a truncated file there is a copy that nobody writes to; a file that was renamed may have a
            // writer, even under another inode.
            let role = if except.is_some() { Role::Copy } else { Role::Renamed };
            tracing::info!(source = self.source.name, path = %path.display(), "reading on in a renamed file or a copy");
            let mut follow = Follow::new(file, path, slot, role, &self.reading)?;
            if follow.adopt(row.clone(), &self.reading)? {
                self.follows.retain(|other| other.inode != follow.inode);
                self.follows.insert(0, follow);
            } else {
                self.must_look_again = true; // it changed in this moment
            }
            return Ok(true);
        }
        if read_already {
            // A copy that was made when less had been written, or one that is followed: all it holds is
            // read or being read.
            self.close_row(row, Vec::new())?;
        }
        Ok(read_already)
    }

    /// Files that are named like rotated copies: of files that came and went between two looks nothing was
    /// read, and others may have been written to after they were let go.
    fn read_siblings(
        &mut self,
        slots: &BTreeSet<PathBuf>,
        homes: &BTreeMap<PathBuf, Vec<&PathBuf>>,
    ) -> Outcome<()> {
        let mut missed = Vec::new();
        for (home, neighbours) in homes {
            for path in directory::files_in(std::slice::from_ref(home)) {
                if !looks_rotated(&path) || slots.contains(&path) {
                    continue;
                }
                let slot = neighbours.iter().find(|slot| is_rotated_name_of(&path, slot));
                let (Some(slot), Ok(metadata)) = (slot, std::fs::metadata(&path)) else { continue };
                let look = (metadata.ino(), metadata.len(), metadata.ctime());
                let is_followed = self.index_of(inode_of(&metadata)).is_some();
                if is_followed || self.judged.get(&path) == Some(&look) {
                    continue;
                }
                let outcome = self.judge_sibling(&path, slot);
                match self.forgive(&path, outcome)? {
                    Some(Some(file)) => {
                        let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                        missed.push((modified, path, (*slot).clone(), file));
                    }
                    Some(None) => {
                        self.judged.insert(path, look);
                    }
                    None => {}
                }
            }
        }
        missed.sort_by_key(|(modified, ..)| *modified);
        for (modified, path, slot, file) in missed {
            let outcome = self.read_missed(modified, &path, slot, file);
            self.forgive(&path, outcome)?;
        }
        Ok(())
    }

    /// What a file named like a rotated copy is: one of which nothing was read (given back), one to be
    /// followed again (and it is, after this), or one that is of no concern.
    fn judge_sibling(&mut self, path: &Path, slot: &Path) -> Outcome<Option<File>> {
        if is_compressed(path) {
            if self.started {
                self.say_once(format!(
                    "{} is compressed and is not read; if it holds events that are missing, decompress it and use `audit-relay import`",
                    path.display()
                ));
            }
            return Ok(None);
        }
        let file = File::open(path)?;
        match self.identify(&file)? {
            Identity::New(line) => {
                // Other programs leave files with such names too, this relay's own among them.
                let line_kind = read_line(&line, self.reading.framing, &self.reading.instance);
                let is_flipts = !matches!(line_kind, LineKind::Unparsed { .. });
                Ok((is_flipts || line.len() >= WINDOW_BYTES).then_some(file))
            }
            Identity::Known(index) => {
                let row = self.rows[index].clone();
                let follows = |follow: &Follow| follow.row.as_ref().is_some_and(|known| known.id == row.id);
                let goes_on = match self.follows.iter().any(follows) {
                    true => self.goes_beyond(&file, row.id)?,
                    false => file.metadata()?.len() > row.position,
                };
                if goes_on {
                    tracing::info!(source = self.source.name, path = %path.display(), "reading on in a rotated file");
                    let (path, slot) = (path.to_path_buf(), slot.to_path_buf());
                    let follow = Follow::new(file, path, slot, Role::Renamed, &self.reading)?;
                    let inode = follow.inode;
                    self.follows.push(follow);
                    if let Some(index) = self.index_of(inode) {
                        self.name(index)?;
                    }
                }
                Ok(None)
            }
            Identity::Unnamed | Identity::Earlier(_) => Ok(None),
        }
    }

    /// Reads a rotated file of which nothing was read.
    fn read_missed(&mut self, modified: SystemTime, path: &Path, slot: PathBuf, file: File) -> Outcome<()> {
        // What was rotated before the relay first came is left alone (`import` takes it in), but a writer
        // may still hold it: what is added from now on is read.
        let position = if self.started { 0 } else { identity::last_line_end(&file, file.metadata()?.len())? };
        let Some(row) = self.create(&file, &slot, position, position)? else { return Ok(()) };
        self.rows.insert(0, row.clone());
        if !self.started && modified.elapsed().is_ok_and(|age| age >= self.source.plan.rotated_idle) {
            return self.close_row(&row, Vec::new());
        }
        if self.started {
            tracing::info!(source = self.source.name, path = %path.display(), "reading a rotated file that came and went unseen");
        }
        let mut follow = Follow::new(file, path.to_path_buf(), slot, Role::Renamed, &self.reading)?;
        if !follow.adopt(row, &self.reading)? {
            self.must_look_again = true;
            return Ok(());
        }
        let before_current =
            self.follows.iter().position(|follow| follow.role == Role::Current).unwrap_or(self.follows.len());
        self.follows.insert(before_current, follow);
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
        Ok(!taken
            && size > other.position
            && other.row.as_ref().map_or(Ok(false), |row| identity::holds(file, size, row))?)
    }

    /// Finds the names that renamed files have now, for people to read.
    fn trace_renames(&mut self) {
        for index in 0..self.follows.len() {
            let follow = &self.follows[index];
            if follow.role != Role::Renamed {
                continue;
            }
            if std::fs::metadata(&follow.path).is_ok_and(|found| inode_of(&found) == follow.inode) {
                continue; // it still has that name
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
}
