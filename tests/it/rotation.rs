//! Random schedules of everything people do to a log file, with the relay running, stopped and killed.
//!
//! The oracle knows every line that was written and where it went. Each line must be delivered, or be
//! covered by exactly one `gap`; there is no gap where a copy or the inode still existed; nothing is
//! invented; a duplicate carries the id of its first delivery.
//!
//! Two things leave no trace that any reader could find, so no schedule does them: removing (or emptying
//! without a copy) a file that the relay has had no chance to see, and writing to a file that has no name
//! any more while the relay is stopped *unless* the relay knew that file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::PathBuf;

use audit_relay::event::{EventId, Incarnation};

use crate::support::{Receiver, Relay, Seeded, Workplace, eventually, flag_line};

/// Which schedules to run: `AUDIT_RELAY_SCHEDULES=first..last`, or this test's share of the first fifty.
fn schedules(share: u64) -> Vec<u64> {
    match std::env::var("AUDIT_RELAY_SCHEDULES") {
        Ok(range) => {
            let (first, last) = range.split_once("..").expect("AUDIT_RELAY_SCHEDULES=first..last");
            let (first, last): (u64, u64) = (first.parse().unwrap(), last.parse().unwrap());
            (first..last).filter(|seed| seed % 2 == share).collect()
        }
        Err(_) => (0..50).filter(|seed| seed % 2 == share).collect(),
    }
}

#[test]
fn every_line_is_delivered_or_covered_by_one_gap_even_seeds() {
    schedules(0).into_iter().for_each(run_schedule);
}

#[test]
fn every_line_is_delivered_or_covered_by_one_gap_odd_seeds() {
    schedules(1).into_iter().for_each(run_schedule);
}

fn run_schedule(seed: u64) {
    let begun = std::time::Instant::now();
    let mut world = World::new(seed);
    let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        world.play();
        world.judge();
    }));
    if let Err(panic) = told {
        eprintln!("=== schedule of seed {seed}:\n{}", world.story.join("\n"));
        eprintln!("=== what is in the directory: {:?}", world.directory());
        std::panic::resume_unwind(panic);
    }
    let moved = if world.volume.is_some() { ", the volume moved," } else { "" };
    println!("seed {seed}: {} steps{moved} in {:?}", world.story.len(), begun.elapsed());
}

/// One life of one file's content, as the oracle knows it.
#[derive(Debug, Default)]
struct Life {
    /// Its lines: number and offset.
    lines: Vec<(u64, u64)>,
    length: u64,
    first_line: Option<String>,
    /// Whether the content can still be found: under a name, or by the relay's own descriptor.
    reachable: bool,
    /// How many lines it had when its inode was changed: those before may have been read elsewhere.
    moved_at: usize,
    /// Up to here it was written, and rotated away, before the relay first came: none of its business.
    exempt: u64,
}

struct World {
    seed: u64,
    random: Seeded,
    place: Workplace,
    receiver: Receiver,
    relay: Option<Relay>,
    /// Every life that the path's file has had, in order.
    lives: Vec<Life>,
    /// The life that the writer writes to, and its descriptor.
    writer: Option<(usize, File)>,
    /// The life at the path, if any.
    at_path: Option<usize>,
    /// Lives with a name other than the path: their file.
    names: BTreeMap<usize, PathBuf>,
    /// Where the log directory lies since it was moved to another device.
    volume: Option<tempfile::TempDir>,
    next_line: u64,
    next_copy: u64,
    story: Vec<String>,
}

const CONFIG: &str = "
data_dir: DIR/data
sources:
  flipt: {type: file, path: DIR/log/audit.log}
destinations:
  out: {type: webhook, url: 'URL', batch: {max_events: 50}, retry: {initial_backoff: 10ms, max_backoff: 50ms}}
routes:
  all: {when: {record: [event, unparsed, oversized, gap]}, to: [out]}
";

impl World {
    fn new(seed: u64) -> Self {
        let place = Workplace::new();
        let receiver = Receiver::start();
        std::fs::create_dir(place.path("log")).unwrap();
        place.configure(&CONFIG.replace("URL", &receiver.url("/")));
        Self {
            seed,
            random: Seeded::new(seed),
            place,
            receiver,
            relay: None,
            lives: Vec::new(),
            writer: None,
            at_path: None,
            names: BTreeMap::new(),
            volume: None,
            next_line: 0,
            next_copy: 0,
            story: Vec::new(),
        }
    }

    fn path(&self) -> PathBuf {
        self.place.path("log/audit.log")
    }

    fn directory(&self) -> Vec<(PathBuf, u64)> {
        let entries = std::fs::read_dir(self.place.path("log")).unwrap();
        entries
            .map(|entry| entry.unwrap())
            .map(|entry| (entry.path(), entry.metadata().unwrap().len()))
            .collect()
    }

    fn note(&mut self, what: impl Into<String>) {
        let running = if self.relay.is_some() { "running" } else { "stopped" };
        self.story.push(format!("{:>3} [{running}] {}", self.story.len(), what.into()));
    }

    fn play(&mut self) {
        if self.random.chance(70) {
            self.start();
        }
        self.open();
        for _ in 0..(6 + self.random.below(14)) {
            self.step();
            if self.relay.is_some() && self.random.chance(40) {
                self.wait_until_read();
            }
        }
        // The end: Flipt was restarted, writes on, and the relay runs.
        self.open();
        self.append(1);
        if self.relay.is_none() {
            self.start();
        }
    }

    fn step(&mut self) {
        match self.random.below(14) {
            0..=3 => {
                let count = 1 + self.random.below(5);
                self.append(count);
            }
            4 => self.append_in_halves(),
            5 => self.rename(),
            6 => {
                self.rename();
                self.open();
            }
            7 => self.copy_and_truncate(),
            8 => self.truncate(),
            9 => {
                self.delete();
                if self.random.chance(70) {
                    self.open();
                }
            }
            10 => self.change_inode(),
            11 => self.stop_or_start(),
            12 => self.change_device(),
            _ => {
                if self.relay.is_some() {
                    self.kill();
                }
                if self.random.chance(70) {
                    self.start();
                }
            }
        }
    }

    // === the relay ===

    fn start(&mut self) {
        if self.relay.is_none() {
            self.note("start the relay");
            if !self.place.path("data").exists() {
                for index in 0..self.lives.len() {
                    if self.at_path != Some(index) {
                        self.lives[index].exempt = self.lives[index].length;
                        self.lives[index].reachable = self.names.contains_key(&index);
                    }
                }
            }
            self.relay = Some(self.place.run());
        }
    }

    fn kill(&mut self) {
        self.note("kill -9 the relay");
        self.relay.take().unwrap().kill();
        self.forget_nameless();
    }

    fn stop_or_start(&mut self) {
        if self.relay.is_none() {
            return self.start();
        }
        self.note("stop the relay");
        let exit = self.relay.take().unwrap().stop();
        assert!(exit.status.success(), "{exit:?}");
        self.forget_nameless();
        if self.random.chance(50) {
            self.start();
        }
    }

    /// Without a relay that holds them open, files without a name are out of reach.
    fn forget_nameless(&mut self) {
        for index in 0..self.lives.len() {
            if self.at_path != Some(index) && !self.names.contains_key(&index) {
                self.lives[index].reachable = false;
            }
        }
    }

    /// Whether the relay has had the chance to know this life: its first line was delivered.
    fn is_known(&self, life: usize) -> bool {
        let delivered = self.delivered();
        self.lives[life].lines.first().is_none_or(|(line, _)| delivered.contains_key(line))
    }

    fn wait_until_read(&mut self) {
        self.note("wait until all is read");
        let wanted: BTreeSet<u64> = self
            .lives
            .iter()
            .filter(|life| life.reachable)
            .flat_map(|life| {
                life.lines.iter().filter(|(_, offset)| *offset >= life.exempt).map(|(line, _)| *line)
            })
            .collect();
        let expected = wanted.len();
        self.receiver.wait_until(&format!("{expected} reachable lines of seed {}", self.seed), |received| {
            let delivered: BTreeSet<u64> = received
                .iter()
                .flat_map(|request| request.envelopes())
                .filter_map(|event| number_of(&event))
                .collect();
            wanted.is_subset(&delivered) || self.receiver_gaps(received, &wanted, &delivered)
        });
    }

    /// A gap that the relay told explains what is missing; the judge decides whether it was right to.
    fn receiver_gaps(
        &self,
        received: &[crate::support::Received],
        wanted: &BTreeSet<u64>,
        delivered: &BTreeSet<u64>,
    ) -> bool {
        let gaps: Vec<_> = received.iter().flat_map(|r| r.envelopes()).filter(is_gap).collect();
        !gaps.is_empty() && wanted.difference(delivered).all(|line| self.covering(*line, &gaps) > 0)
    }

    // === the writer and whoever rotates ===

    /// Flipt (re)opens its file: the one at the path, or a new one.
    fn open(&mut self) {
        let life = match self.at_path {
            Some(life) => life,
            None => {
                self.lives.push(Life { reachable: true, ..Life::default() });
                self.at_path = Some(self.lives.len() - 1);
                self.lives.len() - 1
            }
        };
        self.note(format!("open the path: life {life}"));
        let file = OpenOptions::new().append(true).create(true).open(self.path()).unwrap();
        self.writer = Some((life, file));
    }

    fn append(&mut self, count: u64) {
        for _ in 0..count {
            let (line, text) = self.new_line();
            self.write(&format!("{text}\n"), Some((line, text)));
        }
    }

    fn append_in_halves(&mut self) {
        let (line, text) = self.new_line();
        let cut = 1 + self.random.below(text.len() as u64 - 2) as usize;
        self.write(&text[..cut], Some((line, text.clone())));
        if self.random.chance(50) {
            self.note("an unfinished line stands for a while");
            if self.relay.is_none() {
                self.start();
            } else if self.random.chance(50) {
                self.kill();
            }
        }
        self.write(&format!("{}\n", &text[cut..]), None);
    }

    fn new_line(&mut self) -> (u64, String) {
        let line = self.next_line;
        self.next_line += 1;
        let flag = self.random.below(5);
        (line, flag_line(&format!("flag-{flag}"), &format!("line {line}.")))
    }

    /// Writes to whatever the writer holds; a line begins where `line` says so.
    fn write(&mut self, text: &str, line: Option<(u64, String)>) {
        let Some((life, file)) = &mut self.writer else { return };
        let life = *life;
        let nameless = self.at_path != Some(life) && !self.names.contains_key(&life);
        if nameless && self.relay.is_none() && !self.lives[life].lines.is_empty() && line.is_some() {
            // Written to a file without a name, with nobody holding it: lost, and covered by the gap that
            // ends this life.
            self.lives[life].reachable = false;
        }
        file.write_all(text.as_bytes()).unwrap();
        let entry = &mut self.lives[life];
        if let Some((line, whole)) = line {
            entry.lines.push((line, entry.length));
            entry.first_line.get_or_insert(whole);
            self.story.push(format!("      line {line} to life {life}"));
        }
        self.lives[life].length += text.len() as u64;
    }

    /// `mv audit.log audit.log.1`, shifting what was there; the writer keeps its descriptor.
    fn rename(&mut self) {
        let Some(life) = self.at_path.take() else { return };
        let to = self.new_name();
        self.note(format!("rename life {life} to {}", to.display()));
        std::fs::rename(self.path(), &to).unwrap();
        self.names.insert(life, to);
    }

    fn new_name(&mut self) -> PathBuf {
        self.next_copy += 1;
        if self.random.chance(50) {
            // As logrotate does it: the newest is .1, older ones move up.
            let mut moves: Vec<(usize, PathBuf)> = self.names.clone().into_iter().collect();
            moves.sort_by_key(|(life, _)| *life);
            for (life, from) in moves {
                self.next_copy += 1;
                let to = self.place.path(&format!("log/audit.log.{}", self.next_copy));
                std::fs::rename(&from, &to).unwrap();
                self.names.insert(life, to);
            }
        }
        self.next_copy += 1;
        self.place.path(&format!("log/audit.log.{}", self.next_copy))
    }

    fn copy_and_truncate(&mut self) {
        let Some(life) = self.at_path else { return };
        let to = self.new_name();
        self.note(format!("copytruncate life {life} to {}", to.display()));
        std::fs::copy(self.path(), &to).unwrap();
        self.names.insert(life, to);
        self.empty_path(life);
    }

    /// `> audit.log`, without a copy.
    fn truncate(&mut self) {
        let Some(life) = self.at_path else { return };
        if !self.may_destroy(life) {
            return;
        }
        self.note(format!("truncate life {life} without a copy"));
        self.lives[life].reachable = false;
        self.empty_path(life);
    }

    fn empty_path(&mut self, life: usize) {
        OpenOptions::new().write(true).open(self.path()).unwrap().set_len(0).unwrap();
        self.lives.push(Life { reachable: true, ..Life::default() });
        let new = self.lives.len() - 1;
        self.at_path = Some(new);
        if let Some((written, _)) = &mut self.writer
            && *written == life
        {
            *written = new; // O_APPEND: the next write goes to the new end
        }
    }

    fn delete(&mut self) {
        let Some(life) = self.at_path else { return };
        if !self.may_destroy(life) {
            return;
        }
        self.note(format!("delete life {life}"));
        std::fs::remove_file(self.path()).unwrap();
        self.at_path = None;
        if self.relay.is_none() {
            self.lives[life].reachable = false;
        }
    }

    /// Whether removing this life leaves a trace: the relay knows it, or there is nothing to lose.
    fn may_destroy(&self, life: usize) -> bool {
        if self.lives[life].lines.is_empty() {
            // The writer may hold it and write to it later, which nobody would ever see.
            return self.writer.as_ref().is_none_or(|(written, _)| *written != life);
        }
        if self.relay.is_some() {
            self.wait_until_held();
        }
        self.is_known(life)
    }

    /// The volume was attached elsewhere, or an editor saved: same bytes, another inode, writer reopened.
    fn change_inode(&mut self) {
        let Some(life) = self.at_path else { return };
        if self.writer.as_ref().is_some_and(|(written, _)| *written != life) {
            return;
        }
        self.note(format!("change the inode of life {life}"));
        let other = self.place.path("log/moving");
        std::fs::copy(self.path(), &other).unwrap();
        std::fs::rename(&other, self.path()).unwrap();
        self.lives[life].moved_at = self.lives[life].lines.len();
        self.open();
    }

    /// Waits until the relay has the file at the path open and has told a line that only this inode has.
    fn wait_until_held(&self) {
        let inode = std::fs::metadata(self.path()).unwrap().ino();
        let descriptors = format!("/proc/{}/fd", self.relay.as_ref().unwrap().id());
        eventually("the relay opens the file at the path", || {
            let open = std::fs::read_dir(&descriptors).unwrap().filter_map(Result::ok);
            open.filter_map(|entry| entry.path().metadata().ok())
                .any(|file| file.ino() == inode)
                .then_some(())
        });
        let life = &self.lives[self.at_path.unwrap()];
        let Some((first, _)) = life.lines.get(life.moved_at).copied() else { return };
        self.receiver.wait_until("the relay knows the file", |received| {
            received
                .iter()
                .flat_map(|request| request.envelopes())
                .any(|event| number_of(&event) == Some(first))
        });
    }

    /// The volume was attached elsewhere while nobody used it: all files have another device and inode.
    fn change_device(&mut self) {
        if self.relay.is_some() {
            return;
        }
        let log = self.place.path("log");
        let Ok(elsewhere) = tempfile::tempdir_in("/dev/shm") else { return };
        let device = |path: &std::path::Path| std::fs::metadata(path).unwrap().dev();
        if self.volume.is_none() && device(elsewhere.path()) == device(&log) {
            return; // there is only one device here
        }
        self.note("attach the volume elsewhere");
        for (path, _) in self.directory() {
            std::fs::copy(&path, elsewhere.path().join(path.file_name().unwrap())).unwrap();
        }
        match self.volume.replace(elsewhere) {
            Some(_) => std::fs::remove_file(&log).unwrap(),
            None => std::fs::remove_dir_all(&log).unwrap(),
        }
        symlink(self.volume.as_ref().unwrap().path(), &log).unwrap();
        self.writer = None;
        self.forget_nameless();
        self.open();
    }

    // === the judgement ===

    fn delivered(&self) -> BTreeMap<u64, BTreeSet<String>> {
        let mut delivered: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
        for event in self.receiver.envelopes() {
            if let Some(line) = number_of(&event) {
                delivered.entry(line).or_default().insert(event["id"].as_str().unwrap().to_owned());
            }
        }
        delivered
    }

    fn is_exempt(&self, line: u64) -> bool {
        self.lives.iter().any(|life| life.lines.iter().any(|(l, offset)| *l == line && *offset < life.exempt))
    }

    /// How many of these gaps cover a line.
    fn covering(&self, line: u64, gaps: &[serde_json::Value]) -> usize {
        let life = self.lives.iter().position(|life| life.lines.iter().any(|(l, _)| *l == line)).unwrap();
        let offset = self.lives[life].lines.iter().find(|(l, _)| *l == line).unwrap().1;
        let mut distinct = BTreeSet::new();
        for gap in gaps {
            let id = gap["id"].as_str().unwrap();
            let from = gap["data"]["from"].as_u64().unwrap();
            if self.is_of_life(id, life) && offset >= from {
                distinct.insert(id.to_owned());
            }
        }
        distinct.len()
    }

    /// Whether an id was made in this life: by its first 45 bits. A file whose inode changed may go on
    /// under the next ordinal.
    fn is_of_life(&self, id: &str, life: usize) -> bool {
        let Some(first_line) = &self.lives[life].first_line else { return false };
        (0..20).any(|ordinal| {
            let name = Incarnation::name("audit-relay", "flipt", first_line.as_bytes(), ordinal);
            EventId::of_line(name, 0, b"").to_string()[..13] == id[..13]
        })
    }

    fn judge(&mut self) {
        self.wait_for_everything();
        let exit = self.relay.take().unwrap().stop();
        assert!(exit.status.success(), "{exit:?}");
        let delivered = self.delivered();
        for (line, ids) in &delivered {
            assert!(*line < self.next_line, "line {line} was invented");
            assert_eq!(ids.len(), 1, "line {line} came under several ids: {ids:?}");
        }
        let events = self.receiver.envelopes();
        for event in &events {
            assert!(number_of(event).is_some() || is_gap(event), "neither a line nor a gap: {event}");
        }
        let gaps: Vec<_> = events.into_iter().filter(is_gap).collect();
        for line in 0..self.next_line {
            let covering = self.covering(line, &gaps);
            match delivered.contains_key(&line) {
                true => {}
                false if self.is_exempt(line) => {}
                false => assert_eq!(
                    covering, 1,
                    "line {line} is covered by {covering} gaps: {gaps:?}\n{}",
                    exit.log
                ),
            }
        }
        for gap in &gaps {
            let id = gap["id"].as_str().unwrap();
            let life = (0..self.lives.len()).find(|life| self.is_of_life(id, *life));
            let Some(life) = life else { panic!("a gap of no known file: {gap}") };
            assert!(!self.lives[life].reachable, "life {life} still existed, and yet: {gap}");
        }
    }

    fn wait_for_everything(&self) {
        self.receiver.wait_until(
            &format!("every line of seed {} is delivered or in a gap", self.seed),
            |received| {
                let events: Vec<_> = received.iter().flat_map(|request| request.envelopes()).collect();
                let delivered: BTreeSet<u64> = events.iter().filter_map(number_of).collect();
                let gaps: Vec<_> = events.into_iter().filter(is_gap).collect();
                (0..self.next_line).all(|line| {
                    delivered.contains(&line) || self.is_exempt(line) || self.covering(line, &gaps) > 0
                })
            },
        );
    }
}

fn is_gap(event: &serde_json::Value) -> bool {
    event["type"] == "audit_relay.gap"
}

/// The number that a line carries in its description.
fn number_of(event: &serde_json::Value) -> Option<u64> {
    event["data"]["payload"]["description"].as_str()?.strip_prefix("line ")?.strip_suffix('.')?.parse().ok()
}
