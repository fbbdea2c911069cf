//! Records that are told seldom ([`crate::destination::Seldom`]): they wait under their word, apart from the
//! order of all others, and hold up nothing.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use super::super::clock::Now;
use crate::destination::Seldom;
use crate::event::{Sequence, Timestamp};

/// No word is silent for longer after a restart, whatever the journal says: the wall clock may have been set back.
const LONGEST: Duration = Duration::from_secs(24 * 3_600);

/// Records with one word.
#[derive(Debug, Default)]
struct Word {
    pending: VecDeque<Sequence>,
    /// How many of them are part of parcels.
    taken: usize,
}

/// See the module.
#[derive(Debug, Default)]
pub(in crate::delivery) struct Aside {
    words: BTreeMap<String, Word>,
    /// The words of records that are not settled.
    records: HashMap<Sequence, Seldom>,
    /// Until when nothing is told under a word, by the steady clock and by the wall clock.
    quiet: BTreeMap<String, (Duration, Timestamp)>,
    /// Whether what is quiet is another than what was taken last.
    is_changed: bool,
}

impl Aside {
    /// What was quiet when the relay stopped.
    pub(super) fn restore(stored: Vec<(String, Timestamp)>, now: Now) -> Self {
        let due = |until: Timestamp| (now.steady + until.since(now.wall).min(LONGEST), until);
        let quiet = stored.into_iter().map(|(word, until)| (word, due(until))).collect();
        Self { quiet, ..Self::default() }
    }

    /// A record that waits.
    pub(super) fn add(&mut self, sequence: Sequence, seldom: Seldom) {
        self.words.entry(seldom.word.clone()).or_default().pending.push_back(sequence);
        self.records.insert(sequence, seldom);
    }

    /// A record that is part of a parcel already.
    pub(super) fn add_taken(&mut self, sequence: Sequence, seldom: Seldom) {
        self.words.entry(seldom.word.clone()).or_default().taken += 1;
        self.records.insert(sequence, seldom);
    }

    /// When the first of them may be told, if `is_pressed` at once; and all that may then.
    pub(super) fn ripe(&self, now: Duration, is_pressed: bool) -> Vec<Sequence> {
        let words = self.words.iter().filter(|(name, word)| {
            word.taken == 0 && (is_pressed || self.quiet_until(name).is_none_or(|until| until <= now))
        });
        let mut ripe: Vec<Sequence> = words.flat_map(|(_, word)| word.pending.iter().copied()).collect();
        ripe.sort_unstable();
        ripe
    }

    /// When words with waiting records may be told, with the first record of each.
    pub(super) fn waits(&self) -> impl Iterator<Item = (Duration, Sequence)> {
        let waiting = self.words.iter().filter(|(_, word)| word.taken == 0);
        waiting.filter_map(|(name, word)| {
            Some((self.quiet_until(name).unwrap_or_default(), *word.pending.front()?))
        })
    }

    /// How many wait for nothing but that time passes, and until when the first of them.
    pub(super) fn held(&self, now: Duration) -> (usize, Option<(Duration, Timestamp)>) {
        let mut held: (usize, Option<(Duration, Timestamp)>) = (0, None);
        for (name, word) in self.words.iter().filter(|(_, word)| !word.pending.is_empty()) {
            if let Some(until) = self.quiet.get(name).filter(|(until, _)| *until > now) {
                let sooner = held.1.is_none_or(|sooner| *until < sooner);
                held = (held.0 + word.pending.len(), if sooner { Some(*until) } else { held.1 });
            }
        }
        held
    }

    fn quiet_until(&self, word: &str) -> Option<Duration> {
        self.quiet.get(word).map(|(until, _)| *until)
    }

    /// A waiting record becomes part of a parcel.
    pub(super) fn take(&mut self, sequence: Sequence) {
        let Some(seldom) = self.records.get(&sequence) else { return };
        if let Some(word) = self.words.get_mut(&seldom.word) {
            word.pending.retain(|pending| *pending != sequence);
            word.taken += 1;
        }
    }

    /// A record is settled; whether it was one of these.
    pub(super) fn settle(&mut self, sequence: Sequence, was_pending: bool) -> bool {
        let Some(seldom) = self.records.remove(&sequence) else { return false };
        if let Some(word) = self.words.get_mut(&seldom.word) {
            match was_pending {
                true => word.pending.retain(|pending| *pending != sequence),
                false => word.taken = word.taken.saturating_sub(1),
            }
            if word.pending.is_empty() && word.taken == 0 {
                self.words.remove(&seldom.word);
            }
        }
        true
    }

    /// Whether a record is one of these.
    pub(super) fn holds(&self, sequence: Sequence) -> bool {
        self.records.contains_key(&sequence)
    }

    /// A record was told: nothing more is, under its word, for a while.
    pub(super) fn told(&mut self, sequence: Sequence, now: Now) {
        let Some(seldom) = self.records.get(&sequence) else { return };
        self.quiet.insert(seldom.word.clone(), now.after(seldom.every));
        self.quiet.retain(|_, (until, _)| *until > now.steady);
        self.is_changed = true;
    }

    /// What is quiet, and until when, where that is another than when it was asked last.
    pub(super) fn take_changed(&mut self) -> Option<Vec<(String, Timestamp)>> {
        let all = || self.quiet.iter().map(|(word, (_, until))| (word.clone(), *until)).collect();
        let changed = self.is_changed.then(all);
        self.is_changed = false;
        changed
    }

    pub(super) fn is_changed(&self) -> bool {
        self.is_changed
    }
}
