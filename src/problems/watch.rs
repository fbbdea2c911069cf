//! What was told, and what is to be told. Pure: the clock is handed in.
//!
//! begins → told once it has lasted for `after` (some at once) → told again every `repeat` while it lasts → that
//! it is over is told once, where it was told at all. What was not told is tried again, later and later.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::trouble::{Manner, Trouble};
use crate::destination::NoticeKind;
use crate::event::Timestamp;

/// The first wait after a telling that failed; it doubles, …
const FIRST_WAIT: Duration = Duration::from_secs(10);
/// … up to this.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// One problem, from its beginning until all of it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Case {
    pub(super) code: String,
    pub(super) about: Option<String>,
    pub(super) severe: bool,
    pub(super) sentence: String,
    pub(super) remedy: Option<String>,
    pub(super) since: Timestamp,
    manner: Manner,
    /// When it was told last; none: never.
    told_at: Option<Timestamp>,
    /// When it was over; none: it lasts.
    pub(super) over_at: Option<Timestamp>,
    /// How often in a row nobody could be told.
    tries: u32,
    next_try: Option<Timestamp>,
    /// Whether it is from before the start, and was not seen since.
    #[serde(skip, default = "kept")]
    pub(super) was_kept: bool,
}

fn kept() -> bool {
    true
}

/// Something to tell now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) key: String,
    pub(super) kind: NoticeKind,
    pub(super) is_repeated: bool,
    /// Whether it was tried in vain before.
    pub(super) is_retried: bool,
}

/// All problems that there are, by key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Watch {
    cases: BTreeMap<String, Case>,
}

impl Watch {
    /// Whether this is a problem now.
    pub(super) fn is_open(&self, key: &str) -> bool {
        self.cases.get(key).is_some_and(|case| case.over_at.is_none())
    }

    pub(super) fn case(&self, key: &str) -> Option<&Case> {
        self.cases.get(key)
    }

    /// What is wrong at `now`. What is not among it is over, unless `is_unknown` says that nobody can tell.
    pub(super) fn look(
        &mut self,
        now: Timestamp,
        troubles: Vec<Trouble>,
        is_unknown: impl Fn(&Case) -> bool,
    ) {
        let lasting: Vec<String> = troubles.iter().map(|trouble| trouble.key.clone()).collect();
        for trouble in troubles {
            self.note(now, trouble);
        }
        self.cases.retain(|key, case| {
            if lasting.contains(key) || case.manner == Manner::Event || is_unknown(case) {
                return true;
            }
            case.over_at.get_or_insert(now);
            // What nobody heard of need not be told to be over.
            case.told_at.is_some()
        });
    }

    fn note(&mut self, now: Timestamp, trouble: Trouble) {
        let Trouble { key, code, about, severe, sentence, remedy, since, manner } = trouble;
        let case = self.cases.entry(key).or_insert_with(|| Case {
            code: code.to_owned(),
            about: about.clone(),
            severe,
            sentence: String::new(),
            remedy: None,
            since: since.filter(|since| *since <= now).unwrap_or(now),
            manner,
            told_at: None,
            over_at: None,
            tries: 0,
            next_try: None,
            was_kept: false,
        });
        case.was_kept = false;
        // It was over, and before that could be told it is back: it goes on.
        if case.over_at.take().is_some() {
            (case.tries, case.next_try) = (0, None);
        }
        (case.about, case.severe, case.sentence, case.remedy) = (about, severe, sentence, remedy);
    }

    /// What is to be told at `now`.
    pub(super) fn due(&self, now: Timestamp, after: Duration, repeat: Duration) -> Vec<Due> {
        let due = |(key, case): (&String, &Case)| {
            let (kind, is_repeated) = case.due(now, after, repeat)?;
            let is_retried = case.tries > 0;
            Some(Due { key: key.clone(), kind, is_repeated, is_retried })
        };
        self.cases.iter().filter_map(due).collect()
    }

    /// Somebody was told.
    pub(super) fn told(&mut self, key: &str, kind: NoticeKind, now: Timestamp) {
        let Some(case) = self.cases.get_mut(key) else { return };
        if kind == NoticeKind::Recovery || case.manner == Manner::Event {
            self.cases.remove(key);
            return;
        }
        (case.told_at, case.tries, case.next_try) = (Some(now), 0, None);
    }

    /// Nobody could be told.
    pub(super) fn failed(&mut self, key: &str, now: Timestamp) {
        let Some(case) = self.cases.get_mut(key) else { return };
        let wait = FIRST_WAIT.saturating_mul(1 << case.tries.min(10)).min(LONGEST_WAIT);
        case.tries = case.tries.saturating_add(1);
        case.next_try = Some(now.plus(wait));
    }

    /// What is worth keeping over a restart: what was told.
    pub(super) fn told_cases(&self) -> Self {
        let told =
            self.cases.iter().filter(|(_, case)| case.told_at.is_some() || case.manner == Manner::Event);
        Self { cases: told.map(|(key, case)| (key.clone(), case.clone())).collect() }
    }
}

impl Case {
    fn due(&self, now: Timestamp, after: Duration, repeat: Duration) -> Option<(NoticeKind, bool)> {
        // A clock that was set back holds up nothing for longer than a wait.
        let waits = |next: Timestamp| next > now && next <= now.plus(LONGEST_WAIT);
        if self.next_try.is_some_and(waits) {
            return None;
        }
        match (self.told_at, self.over_at) {
            (Some(_), Some(_)) => Some((NoticeKind::Recovery, false)),
            (None, Some(_)) => None,
            (None, None) => {
                let has_lasted = self.manner != Manner::Lasting || now.since(self.since) >= after;
                has_lasted.then_some((NoticeKind::Problem, false))
            }
            (Some(told), None) => {
                let repeats = matches!(self.manner, Manner::Lasting | Manner::AtOnce);
                (repeats && now.since(told) >= repeat).then_some((NoticeKind::Problem, true))
            }
        }
    }
}
