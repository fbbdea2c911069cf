//! Change sets: what one actor did to one flag or segment in one go.

use std::collections::HashMap;
use std::time::Duration;

use rusqlite::Connection;

use super::rows::is_alteration;
use super::states;
use crate::event::{Framing, Known, News, Timestamp};
use crate::flipt;

/// A longer pause begins another set.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// A set lasts no longer.
const MAX_LENGTH: Duration = Duration::from_secs(300);

/// So many sets are kept in mind; at the limit all are forgotten, and begin anew.
const MAX_SETS: usize = 4_096;

/// So many of the last records are looked at after a start, to go on with their sets.
const LOOK_BACK: i64 = 256;

/// What every id begins with.
const PREFIX: &str = "cs_";

#[derive(Debug, Clone)]
struct Set {
    actor: u64,
    first: Timestamp,
    last: Timestamp,
    id: Box<str>,
}

/// The sets that may go on, by order key.
#[derive(Debug, Default)]
pub(super) struct ChangeSets {
    sets: HashMap<Box<str>, Set>,
}

impl ChangeSets {
    /// The sets of the last records.
    pub(super) fn load(conn: &Connection) -> rusqlite::Result<Self> {
        let mut sets = Self::default();
        let mut statement = conn.prepare_cached(
            "SELECT * FROM (
               SELECT sequence, id, order_key, change_set, COALESCE(event_time, accepted_at), framing, original, previous
               FROM records WHERE kind = 0 AND order_key IS NOT NULL
               ORDER BY sequence DESC LIMIT ?1)
             ORDER BY sequence",
        )?;
        let mut rows = statement.query([LOOK_BACK])?;
        while let Some(row) = rows.next()? {
            let read = || -> rusqlite::Result<_> {
                let (id, order_key): (String, String) = (row.get(1)?, row.get(2)?);
                let (set, time): (Option<String>, i64) = (row.get(3)?, row.get(4)?);
                let framing = Framing::from_stored(row.get(5)?);
                let known = row.get_ref(7)?.as_blob_or_null()?.map(|bytes| states::read(&id, bytes));
                // What is late stands alone.
                let joins = known.is_none_or(|known| Known::read(Some(&known)).late.is_none());
                let actor = actor(framing, row.get_ref(6)?.as_blob()?).filter(|_| joins);
                Ok((id, order_key, set, time, actor))
            };
            match read() {
                Ok((id, order_key, set, time, Some(actor))) => {
                    let set = set.unwrap_or_else(|| own(&id));
                    sets.join_or_begin(&order_key, actor, Timestamp::from_unix_micros(time), &set);
                }
                Ok((.., None)) => {}
                Err(error) if is_alteration(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(sets)
    }

    /// The set of a record, by its order key, its news and its time; `own` is the one that it begins if it
    /// joins none.
    pub(super) fn of(&mut self, order_key: &str, news: &News, time: Timestamp, own: &str) -> Box<str> {
        self.join_or_begin(order_key, news.actor, time, own)
    }

    fn join_or_begin(&mut self, order_key: &str, actor: u64, time: Timestamp, own: &str) -> Box<str> {
        if let Some(set) = self.sets.get_mut(order_key)
            && set.actor == actor
            && time.since(set.last) < MAX_PAUSE
            && set.last.since(time) < MAX_PAUSE
            && time.max(set.last).since(time.min(set.first)) <= MAX_LENGTH
        {
            set.first = set.first.min(time);
            set.last = set.last.max(time);
            return set.id.clone();
        }
        if self.sets.len() >= MAX_SETS {
            self.sets.clear();
        }
        let id: Box<str> = own.into();
        self.sets.insert(order_key.into(), Set { actor, first: time, last: time, id: id.clone() });
        id
    }
}

/// The set that a record begins: named after it.
pub(super) fn own(id: &str) -> String {
    format!("{PREFIX}{}", id.strip_prefix("evt_").unwrap_or(id))
}

/// Whether a record begins a set: then its name need not be kept.
pub(super) fn is_own(set: &str, id: &str) -> bool {
    set.strip_prefix(PREFIX) == Some(id.strip_prefix("evt_").unwrap_or(id))
}

fn actor(framing: Framing, original: &[u8]) -> Option<u64> {
    let json = flipt::unwrap(original, framing).ok()?;
    flipt::AuditEvent::read(&json).map(|event| flipt::actor_mark(&event))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_micros(seconds * 1_000_000)
    }

    #[test]
    fn a_set_ends_with_a_pause_an_actor_and_five_minutes() {
        let mut sets = ChangeSets::default();
        let mut of = |actor, seconds, own: &str| sets.join_or_begin("k", actor, at(seconds), own).to_string();
        assert_eq!(of(1, 0, "a"), "a");
        assert_eq!(of(1, 59, "b"), "a");
        assert_eq!(of(1, 118, "c"), "a");
        assert_eq!(of(1, 178, "d"), "d", "a pause of 60 s");
        assert_eq!(of(2, 179, "e"), "e", "another actor");
        for step in 0..6 {
            assert_eq!(of(2, 179 + step * 50, "f"), "e");
        }
        assert_eq!(of(2, 480, "g"), "g", "more than five minutes");
        assert_eq!(of(2, 470, "h"), "g", "a little earlier");
        assert_eq!(of(2, 400, "i"), "i");
    }

    #[test]
    fn keys_have_sets_of_their_own() {
        let mut sets = ChangeSets::default();
        assert_eq!(&*sets.join_or_begin("k", 1, at(0), "a"), "a");
        assert_eq!(&*sets.join_or_begin("l", 1, at(0), "b"), "b");
    }
}
