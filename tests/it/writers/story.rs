//! Edits of one truth that several replicas of Flipt share, and the order in which their lines arrive.

use std::collections::{BTreeMap, BTreeSet};

use audit_relay::event::Timestamp;
use serde_json::{Value, json};

use crate::support::Seeded;

/// 2026-11-22T08:00:00Z, in milliseconds.
const BEGIN: u64 = 1_795_334_400_000;
/// The longest that Flipt keeps an event back.
const LONGEST_DELAY: u64 = 120_000;

/// What an edit did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    Created,
    Updated,
    Deleted,
    Ordered,
}

/// One edit, and what was true around it.
#[derive(Debug)]
pub(super) struct Edit {
    /// The replica that made it, and writes of it.
    pub(super) replica: usize,
    pub(super) deed: Deed,
    /// What it is about: `flag/checkout`.
    pub(super) entity: String,
    /// The line that the replica writes.
    pub(super) line: String,
    /// What the entity was just before; `None`: it was not there. Of a new order: the order before.
    pub(super) before: Option<Value>,
    /// What may be told of it: the numbers of the states that it meets or makes.
    pub(super) marks: BTreeSet<u32>,
    /// When it was made, in milliseconds.
    at: u64,
}

/// The edits in the order in which they were made.
#[derive(Debug)]
pub(super) struct Story {
    pub(super) edits: Vec<Edit>,
    pub(super) replicas: usize,
    /// Numbers of edits in the order in which their lines arrive.
    pub(super) arrivals: Vec<usize>,
}

impl Story {
    pub(super) fn new(seed: u64, replicas: usize, length: usize) -> Self {
        let mut teller = Teller::new(seed);
        let mut edits: Vec<Edit> = Vec::with_capacity(length);
        for _ in 0..length {
            // Mostly several in one second.
            let longest = if teller.random.chance(70) { 400 } else { 40_000 };
            teller.at += 1 + teller.random.below(longest);
            let replica = usize::try_from(teller.random.below(replicas as u64)).unwrap();
            edits.push(Edit { replica, ..teller.edit() });
        }
        let arrivals = arrivals(&mut teller.random, &edits, replicas);
        Self { edits, replicas, arrivals }
    }

    /// The edits whose lines a replica writes, in its order.
    pub(super) fn of_replica(&self, replica: usize) -> Vec<&Edit> {
        self.arrivals.iter().map(|edit| &self.edits[*edit]).filter(|edit| edit.replica == replica).collect()
    }
}

/// Each replica writes in the order of its edits, each line up to two minutes after its edit.
fn arrivals(random: &mut Seeded, edits: &[Edit], replicas: usize) -> Vec<usize> {
    let mut last = vec![0; replicas];
    let mut arriving = Vec::with_capacity(edits.len());
    for (number, edit) in edits.iter().enumerate() {
        let longest = if random.chance(50) { 1_000 } else { LONGEST_DELAY };
        last[edit.replica] = last[edit.replica].max(edit.at + random.below(longest));
        arriving.push((last[edit.replica], number));
    }
    arriving.sort_unstable();
    arriving.into_iter().map(|(_, number)| number).collect()
}

struct Flag {
    state: Value,
    /// In the order of their ranks.
    rollouts: Vec<Value>,
}

struct Teller {
    random: Seeded,
    at: u64,
    flags: BTreeMap<&'static str, Flag>,
    mark: u32,
    rollouts: u32,
}

const KEYS: [&str; 3] = ["checkout", "search", "banner"];

impl Teller {
    /// Everything is there before the relay sees anything.
    fn new(seed: u64) -> Self {
        let random = Seeded::new(seed);
        let mut teller = Self { random, at: BEGIN, flags: BTreeMap::new(), mark: 0, rollouts: 0 };
        for key in KEYS {
            let state = teller.flag(key);
            let rollouts = vec![teller.rollout(key, 1), teller.rollout(key, 2)];
            teller.flags.insert(key, Flag { state, rollouts });
        }
        teller
    }

    /// A number that no other state has, as text: every state differs from every other one.
    fn description(&mut self) -> String {
        self.mark += 1;
        format!("edit {}", self.mark)
    }

    fn flag(&mut self, key: &str) -> Value {
        let enabled = self.random.chance(50);
        let description = self.description();
        json!({"description": description, "enabled": enabled, "key": key, "name": key, "namespace_key": "default"})
    }

    fn rollout(&mut self, flag: &str, rank: usize) -> Value {
        self.rollouts += 1;
        let id = format!("rollout-{}", self.rollouts);
        self.rollout_called(&id, flag, rank)
    }

    fn rollout_called(&mut self, id: &str, flag: &str, rank: usize) -> Value {
        let (percentage, description) = (self.random.below(101), self.description());
        json!({"description": description, "flag_key": flag, "id": id, "namespace_key": "default",
            "rank": rank, "threshold": {"percentage": percentage, "value": true}})
    }

    fn edit(&mut self) -> Edit {
        let key = KEYS[usize::try_from(self.random.below(3)).unwrap()];
        let Some(flag) = self.flags.get(key) else { return self.create_flag(key) };
        let count = flag.rollouts.len();
        match self.random.below(100) {
            0..35 => self.update_flag(key),
            35..40 => self.delete_flag(key),
            40..60 if count < 4 => self.create_rollout(key),
            60..70 if count > 0 => self.delete_rollout(key),
            70..80 if count > 1 => self.order_rollouts(key),
            80.. if count > 0 => self.update_rollout(key),
            _ => self.update_flag(key),
        }
    }

    fn create_flag(&mut self, key: &'static str) -> Edit {
        let state = self.flag(key);
        self.flags.insert(key, Flag { state: state.clone(), rollouts: Vec::new() });
        self.told(("flag", key), Deed::Created, None, &state)
    }

    fn update_flag(&mut self, key: &'static str) -> Edit {
        let state = self.flag(key);
        let before = std::mem::replace(&mut self.flags.get_mut(key).unwrap().state, state.clone());
        self.told(("flag", key), Deed::Updated, Some(before), &state)
    }

    fn delete_flag(&mut self, key: &'static str) -> Edit {
        let flag = self.flags.remove(key).unwrap();
        let closed = marks(&flag.rollouts);
        let payload = json!({"key": key, "namespace_key": "default"});
        let mut edit = self.told(("flag", key), Deed::Deleted, Some(flag.state), &payload);
        edit.marks.extend(closed);
        edit
    }

    fn create_rollout(&mut self, key: &'static str) -> Edit {
        let state = self.rollout(key, self.flags[key].rollouts.len() + 1);
        self.flags.get_mut(key).unwrap().rollouts.push(state.clone());
        let id = state["id"].as_str().unwrap().to_owned();
        self.told(("rollout", &id), Deed::Created, None, &state)
    }

    fn any_rollout(&mut self, key: &str) -> usize {
        usize::try_from(self.random.below(self.flags[key].rollouts.len() as u64)).unwrap()
    }

    fn update_rollout(&mut self, key: &'static str) -> Edit {
        let place = self.any_rollout(key);
        let id = self.flags[key].rollouts[place]["id"].as_str().unwrap().to_owned();
        let state = self.rollout_called(&id, key, place + 1);
        let before = std::mem::replace(&mut self.flags.get_mut(key).unwrap().rollouts[place], state.clone());
        self.told(("rollout", &id), Deed::Updated, Some(before), &state)
    }

    /// The event carries what was deleted, as Flipt 1.59 and later write it.
    fn delete_rollout(&mut self, key: &'static str) -> Edit {
        let place = self.any_rollout(key);
        let rollouts = &mut self.flags.get_mut(key).unwrap().rollouts;
        let before = rollouts.remove(place);
        rank(rollouts);
        let id = before["id"].as_str().unwrap().to_owned();
        self.told(("rollout", &id), Deed::Deleted, Some(before.clone()), &before)
    }

    fn order_rollouts(&mut self, key: &'static str) -> Edit {
        let place = self.any_rollout(key);
        let rollouts = &mut self.flags.get_mut(key).unwrap().rollouts;
        let order = |rollouts: &[Value]| {
            let ids: Vec<Value> = rollouts.iter().map(|rollout| rollout["id"].clone()).collect();
            json!({"flag_key": key, "namespace_key": "default", "rollout_ids": ids})
        };
        let before = order(rollouts);
        rollouts.rotate_left(1);
        rollouts.swap(0, place);
        rank(rollouts);
        let met = marks(&*rollouts);
        let payload = order(rollouts);
        let mut edit = self.told(("rollout", key), Deed::Ordered, Some(before), &payload);
        edit.marks = met;
        edit
    }

    fn told(&self, (noun, id): (&str, &str), deed: Deed, before: Option<Value>, payload: &Value) -> Edit {
        let action = match deed {
            Deed::Created => "created",
            Deed::Updated | Deed::Ordered => "updated",
            Deed::Deleted => "deleted",
        };
        let seconds = i64::try_from(self.at / 1_000).unwrap();
        let timestamp = Timestamp::from_unix_micros(seconds * 1_000_000);
        let line = json!({"version": "0.2", "type": noun, "action": action, "status": "success",
            "metadata": {"actor": {"authentication": "oidc", "email": "ann@example.com", "name": "Ann"}},
            "payload": payload, "timestamp": timestamp.to_string()});
        Edit {
            replica: 0,
            deed,
            entity: format!("{noun}/{id}"),
            line: line.to_string(),
            marks: marks(before.iter().chain([payload])),
            before,
            at: self.at,
        }
    }
}

/// Flipt numbers what is left anew, without an event of it (`DeleteRollout` in `internal/storage/sql/common`).
fn rank(rollouts: &mut [Value]) {
    for (place, rollout) in rollouts.iter_mut().enumerate() {
        rollout["rank"] = json!(place + 1);
    }
}

fn marks<'a>(states: impl IntoIterator<Item = &'a Value>) -> BTreeSet<u32> {
    states.into_iter().flat_map(|state| marks_in(&state.to_string())).collect()
}

/// The numbers of all states that a text tells of.
pub(super) fn marks_in(text: &str) -> Vec<u32> {
    let digits = |rest: &str| rest.chars().take_while(char::is_ascii_digit).collect::<String>();
    text.split("edit ").skip(1).filter_map(|rest| digits(rest).parse().ok()).collect()
}
