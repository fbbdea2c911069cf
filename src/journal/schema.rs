//! The tables, and how a journal of one release is opened by another.
//!
//! Migrations only add, so an older release can go on with a newer journal (`readable_since` says how
//! old it may be): a rollback must not stop the audit.

use rusqlite::{Connection, OptionalExtension, params};

use super::OpenError;
use super::chain::{Hash, ORIGIN};
use crate::event::Timestamp;

/// `AuRe`, in SQLite's header.
pub(super) const APPLICATION_ID: i32 = 0x4175_5265;

/// The schema that this release writes.
pub(super) const SCHEMA: i64 = MIGRATIONS.len() as i64;

/// The oldest schema whose reader understands what this release writes.
const READABLE_SINCE: i64 = 1;

/// The same for a journal that holds records of other relays: their digests cover where they are from, and to an
/// older reader they would be altered.
const ORIGINS_READABLE_SINCE: i64 = 4;

/// Migration n leads from schema n to n + 1.
pub(super) const MIGRATIONS: [&str; 5] = [FIRST, SECOND, THIRD, FOURTH, FIFTH];

const FIRST: &str = r"
-- All times are microseconds since 1970 in UTC; all sequences are those of `records`.

CREATE TABLE meta (
  key TEXT PRIMARY KEY,
  value NOT NULL
) WITHOUT ROWID;

-- One life of this journal; a new one begins when it is lost, restored or salvaged.
CREATE TABLE epochs (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  began_at INTEGER NOT NULL,
  first_sequence INTEGER NOT NULL
);

-- A source that changes its instance gets a new row: what is recorded keeps its origin.
CREATE TABLE sources (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  instance TEXT NOT NULL,
  started INTEGER NOT NULL DEFAULT 0,
  ignored INTEGER NOT NULL DEFAULT 0,        -- lines read and not kept
  unparsed INTEGER NOT NULL DEFAULT 0,       -- inputs that could not be read, kept or not
  last_event_at INTEGER,                     -- when it last gave a record
  UNIQUE (name, instance)
);

CREATE TABLE incarnations (
  id INTEGER PRIMARY KEY,
  source INTEGER NOT NULL REFERENCES sources (id),
  name INTEGER NOT NULL,                     -- 45 bits
  first_line_hash BLOB NOT NULL,
  ordinal INTEGER NOT NULL,
  path TEXT NOT NULL,
  last_path TEXT NOT NULL,
  inode INTEGER NOT NULL,
  position INTEGER NOT NULL,                 -- everything before this byte is in `records`
  head_len INTEGER NOT NULL,
  head_hash BLOB NOT NULL,
  tail_len INTEGER NOT NULL,
  tail_hash BLOB NOT NULL,
  created_at INTEGER NOT NULL,
  grown_at INTEGER NOT NULL,
  finished INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX incarnations_alike ON incarnations (source, first_line_hash, ordinal);

CREATE TABLE records (
  sequence INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  kind INTEGER NOT NULL,                     -- 0 event, 1 unparsed, 2 oversized, 3 gap, 4 act
  source INTEGER NOT NULL REFERENCES sources (id),
  incarnation INTEGER,                       -- NULL: came without a file
  offset INTEGER NOT NULL,
  epoch INTEGER NOT NULL REFERENCES epochs (id),
  framing INTEGER NOT NULL,
  accepted_at INTEGER NOT NULL,
  event_time INTEGER,
  namespace_state INTEGER NOT NULL,          -- 0 none, 1 known, 2 unknown
  namespace TEXT,
  entity_kind TEXT,
  entity_id TEXT,
  order_key TEXT,                            -- NULL: a barrier for its source
  digest BLOB NOT NULL,                      -- SHA-256 of what acceptance fixes: see chain.rs
  chain BLOB NOT NULL,                       -- SHA-256 of the previous chain and digest
  detail TEXT,                               -- JSON
  traceparent TEXT,
  tracestate TEXT,
  change_set TEXT,
  previous_sequence INTEGER,                 -- which record the entity's former state is from
  previous BLOB,                             -- the entity's former state
  origin_relay TEXT,                         -- where a hub had it from
  origin_epoch TEXT,
  origin_sequence INTEGER,
  original BLOB NOT NULL                     -- last: what reads the rest never touches its pages
);

-- What a rule, rollout, variant, constraint or distribution belongs to.
CREATE TABLE parents (
  instance TEXT NOT NULL,
  kind TEXT NOT NULL,
  id TEXT NOT NULL,
  namespace TEXT NOT NULL,
  order_key TEXT NOT NULL,
  last_sequence INTEGER NOT NULL,            -- the record that taught it
  PRIMARY KEY (instance, kind, id)
) WITHOUT ROWID;

-- Last known state of each entity.
CREATE TABLE entities (
  instance TEXT NOT NULL,
  namespace TEXT NOT NULL,
  kind TEXT NOT NULL,
  id TEXT NOT NULL,
  state BLOB,                                -- NULL: deleted
  event_time INTEGER,
  last_sequence INTEGER NOT NULL,
  imported_at INTEGER,
  PRIMARY KEY (instance, namespace, kind, id)
) WITHOUT ROWID;

CREATE TABLE destinations (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  first_seen_at INTEGER NOT NULL,
  first_sequence INTEGER NOT NULL,
  cursor INTEGER NOT NULL,                   -- everything up to it is settled
  acked BLOB,                                -- bitmap of what is settled beyond the cursor
  commits INTEGER NOT NULL DEFAULT 0,        -- tells after a failure whether a commit was kept
  delivered INTEGER NOT NULL DEFAULT 0,
  not_routed INTEGER NOT NULL DEFAULT 0,
  dead INTEGER NOT NULL DEFAULT 0,
  purged INTEGER NOT NULL DEFAULT 0,
  replayed INTEGER NOT NULL DEFAULT 0,
  state TEXT NOT NULL DEFAULT 'running',     -- running, waiting, blocked, paused, orphaned
  state_reason TEXT,
  state_since INTEGER,
  paused_at INTEGER,
  paused_by TEXT,
  paused_reason TEXT,
  orphaned_at INTEGER,
  attempts INTEGER NOT NULL DEFAULT 0,       -- of the endpoint, since it last answered well
  first_failed_at INTEGER,
  not_before INTEGER,
  last_success_at INTEGER,
  last_error TEXT
);

CREATE TABLE batches (
  destination INTEGER NOT NULL REFERENCES destinations (id),
  id TEXT NOT NULL,
  members TEXT NOT NULL,                     -- JSON array of sequences
  settled TEXT NOT NULL DEFAULT '[]',        -- likewise: those of its records that are counted already
  attempts INTEGER NOT NULL,
  not_before INTEGER,
  created_at INTEGER NOT NULL,
  first_attempt_at INTEGER,
  PRIMARY KEY (destination, id)
) WITHOUT ROWID;

CREATE TABLE dead_letters (
  destination INTEGER NOT NULL REFERENCES destinations (id),
  sequence INTEGER NOT NULL,
  code TEXT NOT NULL,
  message TEXT NOT NULL,
  attempts INTEGER NOT NULL,
  died_at INTEGER NOT NULL,
  PRIMARY KEY (destination, sequence)
) WITHOUT ROWID;
CREATE INDEX dead_letters_by_sequence ON dead_letters (sequence);

CREATE TABLE replays (
  id INTEGER PRIMARY KEY,
  destination INTEGER NOT NULL REFERENCES destinations (id),
  dead_letters INTEGER NOT NULL DEFAULT 0,   -- whether it replays dead letters only
  selection TEXT NOT NULL,                   -- JSON: ids or a range
  position INTEGER NOT NULL DEFAULT 0,
  rate INTEGER,                              -- records per second
  replayed INTEGER NOT NULL DEFAULT 0,
  asked_by TEXT,
  created_at INTEGER NOT NULL,
  finished_at INTEGER
);

-- What a pushing client named its request by, to answer a repetition alike.
CREATE TABLE push_keys (
  source INTEGER NOT NULL REFERENCES sources (id),
  key TEXT NOT NULL,
  sequence INTEGER NOT NULL,
  seen_at INTEGER NOT NULL,
  PRIMARY KEY (source, key)
) WITHOUT ROWID;

-- What a destination remembers between requests.
CREATE TABLE destination_memory (
  destination INTEGER NOT NULL REFERENCES destinations (id),
  key TEXT NOT NULL,
  value BLOB NOT NULL,
  remembered_at INTEGER NOT NULL,
  PRIMARY KEY (destination, key)
) WITHOUT ROWID;

CREATE TABLE configurations (
  id INTEGER PRIMARY KEY,
  applied_at INTEGER NOT NULL,
  hash BLOB NOT NULL,
  summary TEXT NOT NULL
);
";

// Whatever is added here must do without the release that does not know it: that one leaves the columns
// of its own rows at their default, and moves a cursor without looking at the bitmap beyond it.
const SECOND: &str = r"
-- The running time of the relay when the record was accepted; no part of the digest. NULL: an older
-- release accepted it, and meta's unstamped_running_ms stands for it.
ALTER TABLE records ADD COLUMN running_ms INTEGER;

ALTER TABLE destinations ADD COLUMN acked_from INTEGER;           -- the cursor that `acked` begins behind
ALTER TABLE destinations ADD COLUMN before_since INTEGER NOT NULL DEFAULT 0;  -- these three: of not_routed
ALTER TABLE destinations ADD COLUMN observed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE destinations ADD COLUMN left_out INTEGER NOT NULL DEFAULT 0;
ALTER TABLE destinations ADD COLUMN state_code TEXT;
ALTER TABLE destinations ADD COLUMN fingerprint TEXT NOT NULL DEFAULT '';
ALTER TABLE destinations ADD COLUMN last_error_at INTEGER;
ALTER TABLE destinations ADD COLUMN paused_until INTEGER;
ALTER TABLE destinations ADD COLUMN orphaned_running_ms INTEGER;  -- the running time at orphaned_at

ALTER TABLE dead_letters ADD COLUMN size_bytes INTEGER;           -- NULL: as computed from its record
UPDATE dead_letters SET size_bytes = 400 + COALESCE(
  (SELECT length(original) FROM records WHERE records.sequence = dead_letters.sequence), 0);
CREATE INDEX dead_letters_by_death ON dead_letters (died_at, destination, sequence, size_bytes);

ALTER TABLE replays ADD COLUMN through INTEGER NOT NULL DEFAULT 0;
ALTER TABLE replays ADD COLUMN total INTEGER NOT NULL DEFAULT 0;
ALTER TABLE replays ADD COLUMN failed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE replays ADD COLUMN died_through INTEGER;              -- dead letters that died later are not meant

INSERT OR REPLACE INTO meta (key, value) VALUES
  ('unstamped_through', (SELECT COALESCE(MAX(sequence), 0) FROM records)),
  ('unstamped_running_ms',
   1000 * COALESCE((SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'running_seconds'), 0));
";

// The first schema had another table of this name, which nothing was ever written to.
const THIRD: &str = r"
DROP TABLE entities;

-- Last known state of each entity; all that shares an order key lies together.
CREATE TABLE entities (
  family TEXT NOT NULL,                      -- the order key
  kind TEXT NOT NULL,
  id TEXT NOT NULL,                          -- '': when rules or rollouts were last put in order
  form INTEGER NOT NULL,                     -- 0 known, 1 too large to keep, 2 deleted
  state TEXT,                                -- JSON, without distributions or constraints
  parent TEXT,                               -- the rule of a distribution
  position INTEGER NOT NULL,                 -- among its siblings, as Flipt lists them
  told_at INTEGER NOT NULL,
  is_imported INTEGER NOT NULL,
  last_sequence INTEGER NOT NULL,
  born_at INTEGER,                           -- of an owner: when an event told of its creation
  is_whole INTEGER NOT NULL,                 -- of an owner: whether all that belongs to it is known
  PRIMARY KEY (family, kind, id)
) WITHOUT ROWID;

-- Which rules and rollouts use a segment.
CREATE TABLE segment_uses (
  segment TEXT NOT NULL,                     -- its order key
  family TEXT NOT NULL,                      -- the order key of the flag
  kind TEXT NOT NULL,
  id TEXT NOT NULL,
  PRIMARY KEY (segment, family, kind, id)
) WITHOUT ROWID;
CREATE INDEX segment_uses_by_user ON segment_uses (family, kind, id);

-- Namespaces (as order keys begin) of which all was imported.
CREATE TABLE imports (
  namespace TEXT PRIMARY KEY,
  imported_at INTEGER NOT NULL
) WITHOUT ROWID;
";

const FOURTH: &str = r"
ALTER TABLE records ADD COLUMN origin_accepted_at INTEGER;  -- when the relay of origin_relay accepted it
ALTER TABLE push_keys ADD COLUMN ids TEXT NOT NULL DEFAULT '';    -- of the records it gave, in order, by commas
";

const FIFTH: &str = r"
ALTER TABLE incarnations ADD COLUMN read_from INTEGER NOT NULL DEFAULT 0;  -- what is before this byte was never read
";

/// Keys of `meta`.
pub(super) mod key {
    /// Row of the epoch that is written now.
    pub(crate) const EPOCH: &str = "epoch";
    /// Every record up to this sequence was removed, or is pinned by a dead letter or a batch.
    pub(crate) const REMOVED_THROUGH: &str = "removed_through";
    /// The chain link of that record.
    pub(crate) const REMOVED_CHAIN: &str = "removed_chain";
    /// Bytes of `unparsed` originals that are kept.
    pub(crate) const UNPARSED_BYTES: &str = "unparsed_bytes";
    /// No sequence up to this one is ever given again, whatever rows are left.
    pub(crate) const SEQUENCE_FLOOR: &str = "sequence_floor";
    /// What is missing up to this sequence was lost before a salvage, and a gap record tells of it.
    pub(crate) const SALVAGED_THROUGH: &str = "salvaged_through";
    /// The least schema number a reader must know.
    pub(crate) const READABLE_SINCE: &str = "readable_since";
    /// How long the relay has run with this journal, in seconds: what an older release reads and adds to.
    pub(crate) const RUNNING_SECONDS: &str = "running_seconds";
    /// The same, in milliseconds.
    pub(crate) const RUNNING_MS: &str = "running_ms";
    /// The running time that stands for records without one of their own, in milliseconds.
    pub(crate) const UNSTAMPED_RUNNING_MS: &str = "unstamped_running_ms";
    /// The last record that was there when running times began to be kept.
    pub(crate) const UNSTAMPED_THROUGH: &str = "unstamped_through";
    /// The last row of `destinations` that was given: a row that is let go is never given to another.
    pub(crate) const LAST_DESTINATION: &str = "last_destination";
    /// Likewise of `replays`.
    pub(crate) const LAST_REPLAY: &str = "last_replay";
    /// Every event up to this sequence has left its mark on the states of entities.
    pub(crate) const STATES_THROUGH: &str = "states_through";
    /// Only in a copy: when it was made (microseconds). Whoever opens it begins a new epoch.
    pub(crate) const BACKUP: &str = "backup";
}

/// Adds what a journal of an older schema lacks. Refuses one of a newer schema that says this release
/// would misread it.
pub(super) fn migrate(conn: &mut Connection) -> Result<(), MigrateError> {
    let found: i64 = conn.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if found > SCHEMA {
        let readable_since = read_meta::<i64>(conn, key::READABLE_SINCE)?.unwrap_or(found);
        if readable_since > SCHEMA {
            return Err(MigrateError::Newer(OpenError::Newer { found, readable_since, known: SCHEMA }));
        }
        return Ok(());
    }
    if found == SCHEMA {
        return Ok(());
    }
    let transaction = conn.transaction()?;
    for migration in &MIGRATIONS[usize::try_from(found).unwrap_or(0)..] {
        transaction.execute_batch(migration)?;
    }
    let readable_since = read_meta::<i64>(&transaction, key::READABLE_SINCE)?.unwrap_or(READABLE_SINCE);
    write_meta(&transaction, key::READABLE_SINCE, readable_since.max(READABLE_SINCE))?;
    transaction.execute_batch(&format!("PRAGMA user_version = {SCHEMA}"))?;
    transaction.commit()?;
    Ok(())
}

/// Records of other relays are there, or about to be: no reader that would take them for altered may go on with
/// this journal.
pub(super) fn note_origins(conn: &Connection) -> rusqlite::Result<()> {
    conn.prepare_cached("UPDATE meta SET value = ?2 WHERE key = ?1 AND value < ?2")?
        .execute(params![key::READABLE_SINCE, ORIGINS_READABLE_SINCE])?;
    Ok(())
}

/// Why a journal was not brought to this release's schema.
#[derive(Debug)]
pub(super) enum MigrateError {
    /// It is of a newer release.
    Newer(OpenError),
    /// SQLite said no.
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for MigrateError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// Begins a new epoch under a random name and returns its row.
pub(super) fn begin_epoch(conn: &Connection, first_sequence: u64) -> rusqlite::Result<i64> {
    conn.execute(
        "INSERT INTO epochs (name, began_at, first_sequence) VALUES (lower(hex(randomblob(16))), ?1, ?2)",
        params![Timestamp::now().unix_micros(), first_sequence.cast_signed()],
    )?;
    let row = conn.last_insert_rowid();
    write_meta(conn, key::EPOCH, row)?;
    Ok(row)
}

pub(super) fn read_meta<T: rusqlite::types::FromSql>(
    conn: &Connection,
    key: &str,
) -> rusqlite::Result<Option<T>> {
    conn.prepare_cached("SELECT value FROM meta WHERE key = ?1")?
        .query_row([key], |row| row.get(0))
        .optional()
}

pub(super) fn write_meta(
    conn: &Connection,
    key: &str,
    value: impl rusqlite::ToSql,
) -> rusqlite::Result<usize> {
    conn.prepare_cached(
        "INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
    )?
    .execute(params![key, value])
}

/// A row id for `table` that was never given before, kept in `meta` under `key`.
pub(super) fn next_id(conn: &Connection, table: &str, key: &str) -> rusqlite::Result<i64> {
    let given = read_meta::<i64>(conn, key)?.unwrap_or(0);
    let highest: i64 =
        conn.query_row(&format!("SELECT COALESCE(MAX(id), 0) FROM {table}"), [], |row| row.get(0))?;
    let id = given.max(highest) + 1;
    write_meta(conn, key, id)?;
    Ok(id)
}

/// Where the sequence and the chain stand, as the rows tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Heads {
    /// The last sequence that was given.
    pub(super) last: u64,
    /// The last link of the chain.
    pub(super) chain: Hash,
    /// What retention has passed.
    pub(super) removed_through: u64,
    /// Bytes of `unparsed` originals that are kept.
    pub(super) unparsed_bytes: u64,
}

impl Heads {
    pub(super) fn load(conn: &Connection) -> rusqlite::Result<Self> {
        let number = |key| read_meta::<i64>(conn, key).map(|found| found.unwrap_or(0).cast_unsigned());
        let removed_through = number(key::REMOVED_THROUGH)?;
        let newest: Option<(i64, Hash)> = conn
            .query_row("SELECT sequence, chain FROM records ORDER BY sequence DESC LIMIT 1", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()?;
        let (newest, chain) = match newest {
            Some((sequence, chain)) if sequence.cast_unsigned() > removed_through => {
                (sequence.cast_unsigned(), chain)
            }
            _ => (removed_through, read_meta(conn, key::REMOVED_CHAIN)?.unwrap_or(ORIGIN)),
        };
        Ok(Self {
            last: newest.max(number(key::SEQUENCE_FLOOR)?),
            chain,
            removed_through,
            unparsed_bytes: number(key::UNPARSED_BYTES)?,
        })
    }
}
