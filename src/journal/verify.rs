//! Whether a journal still holds what was accepted: every digest and the chain over all, from what retention left
//! on, without a relay.
//!
//! A chain proves that nothing in its midst was altered, left out, put in or moved. It cannot prove that nobody cut
//! off its end, or wrote all of it anew: for that a link has to be noted elsewhere, and compared.

pub mod export;

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::chain::{self, Follower, Hash};
use super::open;
use super::retention;
use super::rows::{RECORD_COLUMNS, accepted, is_alteration, link_fits, number};
use super::schema::{SCHEMA, key, read_meta};
use crate::event::{GapDetail, GapReason, RecordKind, Sequence, Timestamp};

/// Records in one slice of the walk: between two, a relay that runs may take its journal further.
const SLICE: i64 = 500;

/// A place in the chain that is known from elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Which record.
    pub sequence: Sequence,
    /// Its link.
    pub link: Hash,
}

impl std::fmt::Display for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.sequence, hex::encode(self.link))
    }
}

impl std::str::FromStr for Link {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "expected SEQUENCE:LINK, as `verify` prints it".to_owned();
        let (sequence, hash) = text.trim().split_once(':').ok_or_else(wrong)?;
        let mut link = Hash::default();
        hex::decode_to_slice(hash, &mut link).map_err(|_| wrong())?;
        Ok(Self { sequence: sequence.parse().map_err(|_| wrong())?, link })
    }
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verified {
    /// How many records were looked at, and fit.
    pub records: u64,
    /// Of these, records that nobody can compute a digest of: places in an export.
    pub places: u64,
    /// The first of them.
    pub first: Option<Sequence>,
    /// Where the chain ends.
    pub last: Option<Link>,
    /// Retention has removed what came before, up to here.
    pub removed_through: Sequence,
    /// Older records that retention left since something needs them; each alone, so that nothing is known of those
    /// around it.
    pub kept_from_before: u64,
    /// Records that were lost before a journal was salvaged; a gap record tells of them.
    pub lost: u64,
    /// What was expected and found.
    pub compared: Vec<Sequence>,
    /// What was expected and is not there to be compared: it was removed, or is no part of this.
    pub not_compared: Vec<Sequence>,
}

/// The first record that does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// Its sequence; 0 where none can be told.
    pub sequence: Sequence,
    /// Its id, where it can be read.
    pub id: Option<String>,
    /// When it was accepted, where that can be read.
    pub accepted_at: Option<Timestamp>,
    /// Which line of an export it stands in, from 1.
    pub line: Option<u64>,
    /// What does not fit.
    pub why: String,
}

impl Misfit {
    fn at(sequence: Sequence, why: impl Into<String>) -> Box<Self> {
        Box::new(Self { sequence, id: None, accepted_at: None, line: None, why: why.into() })
    }
}

/// Why there is no telling whether it holds.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// Something else does not fit: the first record that shows it.
    #[error("{}", .0.why)]
    Misfit(Box<Misfit>),
    /// It could not be judged.
    #[error("{0}")]
    Unreadable(String),
}

impl From<Box<Misfit>> for VerifyError {
    fn from(misfit: Box<Misfit>) -> Self {
        Self::Misfit(misfit)
    }
}

impl From<rusqlite::Error> for VerifyError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Unreadable(error.to_string())
    }
}

/// Opens a journal or a copy of one to be read, and leaves no trace beside it.
fn open_to_read(path: &Path) -> Result<Connection, VerifyError> {
    // Where a relay runs, or was killed, part of it lies in the write-ahead log.
    if open::beside(path, "-wal").exists() {
        return Ok(open::read_only(path)?);
    }
    let absolute = std::path::absolute(path).map_err(|error| VerifyError::Unreadable(error.to_string()))?;
    let Some(text) = absolute.to_str() else {
        return Err(VerifyError::Unreadable(format!("{} is no name that can be read", path.display())));
    };
    let text = text.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let conn = Connection::open_with_flags(format!("file:{text}?immutable=1"), flags)?;
    conn.execute_batch("PRAGMA temp_store = MEMORY; PRAGMA cache_size = -2048;")?;
    Ok(conn)
}

/// Walks over a journal, or a copy of one, whether or not a relay runs with it. Holds a few hundred records in memory.
///
/// # Errors
/// [`VerifyError::Misfit`] for the first record that does not fit; otherwise why it cannot be judged.
pub fn journal(path: &Path, expected: &[Link]) -> Result<Verified, VerifyError> {
    let conn = open_to_read(path)?;
    let version: i64 = conn.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if version != SCHEMA {
        return Err(VerifyError::Unreadable(format!(
            "it is a journal of schema {version}, and this release reads {SCHEMA}: let the relay open it first"
        )));
    }
    if !is_of_our_form(&conn)? {
        return Err(VerifyError::Unreadable("its table of records is none that a relay makes".to_owned()));
    }
    let structure: String = conn.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if structure != "ok" {
        let first = structure.lines().next().unwrap_or_default();
        return Err(Misfit::at(0, format!("the file is damaged: {first}")).into());
    }
    let through: i64 =
        conn.query_row("SELECT COALESCE(MAX(sequence), 0) FROM records", [], |row| row.get(0))?;
    let before_all: i64 =
        conn.query_row("SELECT COUNT(*) FROM records WHERE sequence < 1", [], |row| row.get(0))?;
    if before_all > 0 {
        return Err(Misfit::at(0, "inserted: a record stands before the first").into());
    }
    let mut walk = Walk {
        follower: Follower::begin(&conn, 0)?,
        through: through.cast_unsigned(),
        told_losses: told_losses(&conn)?,
        removed_chain: None,
        expected,
        found: Verified::default(),
    };
    while walk.slice(&conn)? {}
    walk.conclude(&conn)
}

struct Walk<'a> {
    follower: Follower,
    through: Sequence,
    /// Where gap records tell that a damaged journal lost records.
    told_losses: Vec<Range<Sequence>>,
    /// The link that retention kept.
    removed_chain: Option<Hash>,
    expected: &'a [Link],
    found: Verified,
}

impl Walk<'_> {
    /// Verifies one slice; whether there was anything.
    fn slice(&mut self, conn: &Connection) -> Result<bool, VerifyError> {
        let moment = conn.unchecked_transaction()?;
        self.follower.go_on(&moment)?;
        let removed = number_of(&moment, key::REMOVED_THROUGH)?;
        let salvaged = number_of(&moment, key::SALVAGED_THROUGH)?;
        let pinned = retention::pinned(&moment, 1, removed)?;
        self.removed_chain = read_meta(&moment, key::REMOVED_CHAIN)?;
        let mut statement = moment.prepare_cached(&format!(
            "SELECT {RECORD_COLUMNS} FROM records WHERE sequence > ?1 AND sequence <= ?2 ORDER BY sequence LIMIT ?3"
        ))?;
        let range = [self.follower.passed().cast_signed(), self.through.cast_signed(), SLICE];
        let mut rows = statement.query(range)?;
        let before = self.found.records;
        while let Some(row) = rows.next()? {
            let sequence = number(row, 0)?;
            if sequence <= self.follower.passed() {
                return Err(Misfit::at(sequence, "inserted: its place is taken").into());
            }
            let missing = self.follower.missing_before(sequence);
            if !missing.is_empty() {
                let last = missing.end - 1;
                let which =
                    if missing.start == last { "it is".to_owned() } else { format!("up to {last} they are") };
                return Err(Misfit::at(missing.start, format!("missing: {which} not there")).into());
            }
            self.lost_before(sequence, removed, salvaged)?;
            self.judge(row, sequence, removed, &pinned)?;
        }
        self.found.removed_through = removed;
        Ok(self.found.records > before)
    }

    /// Counts what a salvage could not save; each place is in a gap record's range.
    fn lost_before(
        &mut self,
        sequence: Sequence,
        removed: Sequence,
        salvaged: Sequence,
    ) -> Result<(), Box<Misfit>> {
        let from = self.follower.passed().max(removed) + 1;
        let to = sequence.min(salvaged + 1);
        if from >= to {
            return Ok(());
        }
        if !self.told_losses.iter().any(|told| told.start <= from && to <= told.end) {
            return Err(Misfit::at(from, "missing: it is not there, and no gap record tells of it"));
        }
        self.found.lost += to - from;
        Ok(())
    }

    fn judge(
        &mut self,
        row: &rusqlite::Row<'_>,
        sequence: Sequence,
        removed: Sequence,
        pinned: &BTreeSet<Sequence>,
    ) -> Result<(), VerifyError> {
        let misfit = |why: &str| -> VerifyError {
            let accepted_at = row.get(3).ok().map(Timestamp::from_unix_micros);
            Box::new(Misfit { id: row.get(1).ok(), accepted_at, ..*Misfit::at(sequence, why) }).into()
        };
        if sequence <= removed && !pinned.contains(&sequence) {
            return Err(misfit("inserted: what had this place was removed, and nothing needs it"));
        }
        let digest = match accepted(row) {
            Ok(accepted) => chain::digest(&accepted),
            Err(error) if is_alteration(&error) => {
                return Err(misfit("altered: a column is of another type"));
            }
            Err(error) => return Err(error.into()),
        };
        if row.get(4).ok() != Some(digest) {
            return Err(misfit("altered: its digest is not that of what was accepted"));
        }
        if !link_fits(&mut self.follower, row)? {
            return Err(misfit(
                "inserted, moved, or put in the place of another: it does not follow the one before",
            ));
        }
        if is_told_loss(row) && !self.follows_the_last(row, digest, removed)? {
            return Err(misfit(
                "inserted: a gap record of a damaged journal that does not follow what was saved",
            ));
        }
        if let Ok(link) = row.get(20) {
            self.found.last = Some(Link { sequence, link });
            self.found.compare(self.expected, Link { sequence, link }).map_err(|why| misfit(&why))?;
        }
        self.found.first.get_or_insert(sequence);
        self.found.records += 1;
        self.found.kept_from_before += u64::from(sequence <= removed);
        Ok(())
    }

    /// Whether a record is linked to the last one that is there, however many are missing between: so begins what is
    /// written behind a salvage.
    fn follows_the_last(
        &self,
        row: &rusqlite::Row<'_>,
        digest: Hash,
        removed: Sequence,
    ) -> rusqlite::Result<bool> {
        let last = self.found.last.filter(|last| last.sequence > removed).map(|last| last.link);
        let previous = match last {
            Some(link) => Some(link),
            None if removed == 0 => Some(chain::ORIGIN),
            None => self.removed_chain,
        };
        Ok(previous.is_some_and(|previous| row.get(20).ok() == Some(chain::link(&previous, &digest))))
    }

    /// What only the end tells.
    fn conclude(mut self, conn: &Connection) -> Result<Verified, VerifyError> {
        let moment = conn.unchecked_transaction()?;
        let removed = number_of(&moment, key::REMOVED_THROUGH)?;
        let removed_chain: Option<Hash> = read_meta(&moment, key::REMOVED_CHAIN)?;
        if let Some(link) = removed_chain.filter(|_| removed > 0) {
            let left = Link { sequence: removed, link };
            self.found
                .compare(self.expected, left)
                .map_err(|why| Misfit::at(removed, format!("the link that was kept of it {why}")))?;
            if self.found.last.is_none_or(|last| last.sequence <= removed) {
                self.found.last = Some(left);
            }
        }
        let end = self.found.last.map_or(0, |last| last.sequence);
        let (newest, given) = moment.query_row(GIVEN, [], |row| Ok((number(row, 0)?, number(row, 1)?)))?;
        let newest = newest.max(removed);
        let given = given.max(number_of(&moment, key::SEQUENCE_FLOOR)?);
        if newest < given.max(number_of(&moment, key::STATES_THROUGH)?) {
            let why = "missing: the journal has given this place, and the chain ends before it";
            return Err(Misfit::at(newest + 1, why).into());
        }
        let unkept =
            "SELECT MIN(sequence) FROM dead_letters WHERE sequence NOT IN (SELECT sequence FROM records)";
        if let Some(sequence) = moment.query_row(unkept, [], |row| row.get::<_, Option<i64>>(0))? {
            let why = "missing: a dead letter is kept of it, and it is not there";
            return Err(Misfit::at(sequence.cast_unsigned(), why).into());
        }
        self.found.miss(self.expected, removed, end)?;
        Ok(self.found)
    }
}

impl Verified {
    /// Compares a link with what is expected of it.
    fn compare(&mut self, expected: &[Link], found: Link) -> Result<(), String> {
        for wanted in expected.iter().filter(|wanted| wanted.sequence == found.sequence) {
            if wanted.link != found.link {
                return Err("is not the one that was expected: it, or something before it, was written anew"
                    .to_owned());
            }
            if !self.compared.contains(&wanted.sequence) {
                self.compared.push(wanted.sequence);
            }
        }
        Ok(())
    }

    /// What was expected and not met: behind the end it is missing, before the beginning it cannot be told.
    fn miss(&mut self, expected: &[Link], removed: Sequence, end: Sequence) -> Result<(), Box<Misfit>> {
        for wanted in expected.iter().filter(|wanted| !self.compared.contains(&wanted.sequence)) {
            if wanted.sequence > end {
                return Err(Misfit::at(
                    wanted.sequence,
                    format!("missing: it was expected, and the chain ends at {end}"),
                ));
            }
            if wanted.sequence > removed && self.lost == 0 {
                return Err(Misfit::at(wanted.sequence, "missing: it was expected"));
            }
            self.not_compared.push(wanted.sequence);
        }
        Ok(())
    }
}

/// Whether each place in the table of records is there once, by the form of the table.
fn is_of_our_form(conn: &Connection) -> rusqlite::Result<bool> {
    conn.query_row(
        "SELECT EXISTS (SELECT 1 FROM pragma_table_list('records') WHERE schema = 'main' AND type = 'table' AND wr = 0)
            AND (SELECT group_concat(name || ' ' || type) FROM pragma_table_info('records') WHERE pk > 0)
                = 'sequence INTEGER'",
        [],
        |row| row.get::<_, Option<bool>>(0),
    )
    .map(|is| is == Some(true))
}

fn number_of(conn: &Connection, key: &str) -> rusqlite::Result<u64> {
    Ok(read_meta::<i64>(conn, key)?.unwrap_or(0).cast_unsigned())
}

/// The last record that is there, and the last that anything refers to.
const GIVEN: &str = "SELECT COALESCE((SELECT MAX(sequence) FROM records), 0),
    MAX(COALESCE((SELECT MAX(cursor) FROM destinations), 0), COALESCE((SELECT MAX(sequence) FROM dead_letters), 0),
        COALESCE((SELECT MAX(last_sequence) FROM parents), 0))";

/// The ranges of which gap records tell that a damaged journal lost them. The walk verifies these records, too.
fn told_losses(conn: &Connection) -> rusqlite::Result<Vec<Range<Sequence>>> {
    let mut statement = conn.prepare("SELECT original FROM records WHERE kind = ?1")?;
    let mut rows = statement.query([RecordKind::Gap as i64])?;
    let mut told = Vec::new();
    while let Some(row) = rows.next()? {
        let Ok(original) = row.get_ref(0)?.as_blob() else { continue };
        told.extend(loss_in(original));
    }
    Ok(told)
}

/// Whether a row of the walk is such a record.
fn is_told_loss(row: &rusqlite::Row<'_>) -> bool {
    let is_gap = row.get::<_, i64>(2).is_ok_and(|kind| kind == RecordKind::Gap as i64);
    is_gap && accepted(row).is_ok_and(|record| loss_in(record.original).is_some())
}

fn loss_in(original: &[u8]) -> Option<Range<Sequence>> {
    match serde_json::from_slice(original) {
        Ok(GapDetail { reason: GapReason::JournalDamaged, from, to: Some(to), .. }) => Some(from..to),
        _ => None,
    }
}
