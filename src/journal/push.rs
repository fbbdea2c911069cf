//! Acceptance of what was pushed. A repetition of a request is known by its key, and answered alike.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

use super::append::{Inserter, growth_bytes};
use super::job::{Job, Refusal};
use super::ledger::Ledger;
use super::{AppendError, Journal, Push, PushKey, Pushed, SourceId, sources};
use crate::event::{EventId, Timestamp};

/// How long a repetition is known.
const KEPT: Duration = Duration::from_secs(24 * 3_600);

/// What the row of a key takes beside the ids, about, and an id in it. In bytes.
const KEY_BYTES: u64 = 160;
const ID_BYTES: u64 = 31;

impl PushKey {
    /// The key of a request that its client called `name`.
    #[must_use]
    pub fn new(name: &[u8], body: &[u8]) -> Self {
        let mut hasher = Sha256::new();
        hasher.update((name.len() as u64).to_be_bytes());
        hasher.update(name);
        hasher.update(body);
        Self(hex::encode(hasher.finalize()))
    }
}

impl Journal {
    /// Accepts what was pushed, and returns once it is on disk. Whoever stops waiting leaves it to its fate: it
    /// may be accepted all the same.
    ///
    /// # Errors
    /// See [`AppendError`]; nothing of it was accepted then.
    pub async fn push(&self, push: Push) -> Result<Pushed, AppendError> {
        let (reply, answer) = oneshot::channel();
        self.send(PushJob::new(push, reply)).await;
        answer.await.unwrap_or(Err(AppendError::Closed))
    }
}

struct PushJob {
    push: Push,
    growth_bytes: u64,
    result: Option<Pushed>,
    /// A record that is there if the push was kept.
    proof: Option<EventId>,
    reply: oneshot::Sender<Result<Pushed, AppendError>>,
}

impl PushJob {
    fn new(push: Push, reply: oneshot::Sender<Result<Pushed, AppendError>>) -> Self {
        let ids = push.records.len() as u64 * ID_BYTES;
        let growth_bytes = push.records.iter().map(growth_bytes).sum::<u64>()
            + push.key.as_ref().map_or(0, |_| KEY_BYTES + ids);
        Self { push, growth_bytes, result: None, proof: None, reply }
    }
}

impl Job for PushJob {
    fn run(&mut self, conn: &Connection, ledger: &mut Ledger) -> rusqlite::Result<()> {
        (self.result, self.proof) = (None, None);
        let Push { source, records, key } = &self.push;
        let now = Timestamp::now();
        if let Some(key) = key
            && let Some(ids) = repeated(conn, *source, key, now)?
        {
            self.result = Some(Pushed { ids, accepted: 0, is_repeated: true });
            return Ok(());
        }
        let taken = Inserter::new(conn, ledger, *source, None, now.unix_micros())?.take(records, 0)?;
        if let Some(key) = key {
            remember(conn, *source, key, &taken.ids, ledger.heads.last, now)?;
        }
        self.proof = taken.proof;
        self.result = Some(Pushed { ids: taken.ids, accepted: taken.accepted, is_repeated: false });
        Ok(())
    }

    fn growth_bytes(&self) -> Option<u64> {
        Some(self.growth_bytes)
    }

    fn was_kept(&self, conn: &Connection) -> bool {
        self.proof.is_some_and(|id| sources::knows(conn, &id.to_string()).unwrap_or(false))
    }

    fn finish(self: Box<Self>, outcome: Result<(), Refusal>) {
        let answer = match (outcome, self.result) {
            (Ok(()), Some(pushed)) => Ok(pushed),
            (Ok(()), None) => Err(AppendError::Io("the request was not carried out".to_owned())),
            (Err(refusal), _) => Err(refusal.into()),
        };
        // Whoever asked may have gone away.
        let _ = self.reply.send(answer);
    }
}

/// Before this (microseconds), a key is forgotten.
fn horizon(now: Timestamp) -> i64 {
    now.unix_micros().saturating_sub(i64::try_from(KEPT.as_micros()).unwrap_or(i64::MAX))
}

/// The ids that the request of this key was answered with.
fn repeated(
    conn: &Connection,
    source: SourceId,
    key: &PushKey,
    now: Timestamp,
) -> rusqlite::Result<Option<Vec<EventId>>> {
    let ids: Option<String> = conn
        .prepare_cached("SELECT ids FROM push_keys WHERE source = ?1 AND key = ?2 AND seen_at >= ?3")?
        .query_row(params![source.0, key.0, horizon(now)], |row| row.get(0))
        .optional()?;
    Ok(ids.map(|ids| ids.split(',').filter_map(|id| id.parse().ok()).collect()))
}

fn remember(
    conn: &Connection,
    source: SourceId,
    key: &PushKey,
    ids: &[EventId],
    last_sequence: u64,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let ids: Vec<String> = ids.iter().map(EventId::to_string).collect();
    conn.prepare_cached(
        "INSERT INTO push_keys (source, key, sequence, seen_at, ids) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (source, key) DO UPDATE SET sequence = excluded.sequence, seen_at = excluded.seen_at,
           ids = excluded.ids",
    )?
    .execute(params![source.0, key.0, last_sequence.cast_signed(), now.unix_micros(), ids.join(",")])
    .map(drop)
}

/// Removes the keys of requests that are not known any more.
pub(super) fn forget_old(conn: &Connection, now: Timestamp) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM push_keys WHERE seen_at < ?1")?.execute([horizon(now)]).map(drop)
}
