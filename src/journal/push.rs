//! Acceptance of what was pushed. A repetition of a request is known by its key, and answered alike.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

use super::append::{Inserter, growth_bytes};
use super::job::{Job, Refusal};
use super::ledger::Ledger;
use super::rows::number;
use super::{AppendError, Journal, Push, PushKey, Pushed, SourceId, sources};
use crate::event::{EventId, Timestamp};

/// How long a repetition is known.
const KEPT: Duration = Duration::from_secs(24 * 3_600);

/// Keys take this part of the journal's size, at most.
const SHARE: u64 = 16;

/// So many keys, and about so many bytes of them, go at once.
const SLICE: usize = 10_000;
const SLICE_BYTES: u64 = 8 << 20;

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
            self.result = Some(Pushed { ids, accepted: 0, is_repeated: true, placed: Vec::new() });
            return Ok(());
        }
        let taken = Inserter::new(conn, ledger, *source, None, now.unix_micros())?.take(records, 0)?;
        if let Some(key) = key {
            remember(conn, *source, key, &taken.ids, ledger.heads.last, now)?;
            let written = KEY_BYTES + taken.ids.len() as u64 * ID_BYTES;
            ledger.uncounted_key_bytes = ledger.uncounted_key_bytes.saturating_add(written);
        }
        self.proof = taken.proof;
        self.result = Some(Pushed {
            ids: taken.ids,
            accepted: taken.accepted,
            is_repeated: false,
            placed: taken.placed,
        });
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

/// Whether so much was written, in bytes, that it is worth counting.
pub(super) fn is_worth_counting(uncounted_bytes: u64, max_size_bytes: u64) -> bool {
    uncounted_bytes > max_size_bytes / SHARE / 8
}

/// Where keys take more than their share, removes the oldest until they take seven eighths of it; a slice of
/// them. How many went, and about how many bytes; none where they are within their share.
pub(super) fn prune(conn: &Connection, max_size_bytes: u64) -> rusqlite::Result<(u64, u64)> {
    let share = max_size_bytes / SHARE;
    let mut bytes = conn
        .prepare_cached(&format!("SELECT COALESCE(SUM({KEY_BYTES} + length(ids)), 0) FROM push_keys"))?
        .query_row([], |row| number(row, 0))?;
    if bytes <= share {
        return Ok((0, 0));
    }
    let transaction = conn.unchecked_transaction()?;
    let mut forgotten: Vec<(i64, String)> = Vec::new();
    let mut freed = 0;
    {
        let mut oldest = transaction.prepare_cached(&format!(
            "SELECT source, key, {KEY_BYTES} + length(ids) FROM push_keys ORDER BY seen_at LIMIT {SLICE}"
        ))?;
        let mut rows = oldest.query([])?;
        while let Some(row) = rows.next()? {
            if bytes <= share - share / 8 || freed >= SLICE_BYTES {
                break;
            }
            forgotten.push((row.get(0)?, row.get(1)?));
            let length = number(row, 2)?;
            (bytes, freed) = (bytes.saturating_sub(length), freed + length);
        }
    }
    for (source, key) in &forgotten {
        transaction
            .prepare_cached("DELETE FROM push_keys WHERE source = ?1 AND key = ?2")?
            .execute(params![source, key])?;
    }
    transaction.commit()?;
    Ok((forgotten.len() as u64, freed))
}
