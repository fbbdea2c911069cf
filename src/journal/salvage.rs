//! Saving what can be read of a damaged journal into a fresh one. The damaged file is never lost.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, params, params_from_iter};

use super::chain::{self, Accepted, OriginColumns};
use super::open::{beside, create, remove_database, sync_directory};
use super::rows::{RECORD_COLUMNS, digest_fits, number};
use super::schema::{self, Heads, key, write_meta};
use super::shared::Files;
use super::{OpenError, destinations};
use crate::event::{EventId, GapDetail, GapReason, RecordKind, Sequence, Timestamp};

/// What was saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Salvaged {
    /// Records that were readable and fit their digest.
    pub records: u64,
    /// Sequences that were given, and whose records are not there (what retention removed not counted).
    pub missing: u64,
    /// The sequence of the gap record that tells of it: the last one of the fresh journal.
    pub last_sequence: Sequence,
    /// The fresh journal's epoch.
    pub epoch: String,
}

/// Tables that are copied row by row; `records` has its own way. States are learned anew: half of a flag would
/// tell what is not so.
const TABLES: [&str; 13] = [
    "meta",
    "epochs",
    "sources",
    "incarnations",
    "parents",
    "destinations",
    "batches",
    "dead_letters",
    "replays",
    "push_keys",
    "destination_memory",
    "configurations",
    "records",
];

/// So many unreadable stretches are looked into; beyond that a file is mostly rubble.
const MAX_PROBES: u32 = 20_000;

/// Copies whatever is readable of the journal `from` into a fresh one, `into`, which must not exist: a
/// new epoch; sequences, ids, and the rows of sources and epochs kept, since digests cover them; and at its end a gap record that says what is missing. `from` is
/// only read. Nobody else may have it open.
///
/// # Errors
/// If `into` exists or cannot be written. However damaged `from` is, that is no error.
pub fn salvage(from: &Path, into: &Path) -> Result<Salvaged, OpenError> {
    if into.exists() {
        return Err(OpenError::Other(format!("{} exists already", into.display())));
    }
    let failed = |error: &dyn std::fmt::Display| {
        OpenError::Other(format!("cannot salvage {} into {}: {error}", from.display(), into.display()))
    };
    let fresh = create(into).map_err(|error| failed(&error))?;
    let salvaged = fill(from, &fresh).map_err(|error| failed(&error))?;
    fresh.close().map_err(|(_, error)| failed(&error))?;
    std::fs::File::open(into)
        .and_then(|file| file.sync_all())
        .and_then(|()| sync_directory(into))
        .map_err(|error| failed(&error))?;
    Ok(salvaged)
}

fn fill(from: &Path, fresh: &Connection) -> rusqlite::Result<Salvaged> {
    // Nobody uses it before it is whole, and it is synchronised at the end. What a migration has noted of
    // an empty journal must not stand in the way of what the old one knows.
    fresh.execute_batch(
        "PRAGMA foreign_keys = OFF; PRAGMA synchronous = OFF; BEGIN; DELETE FROM epochs;
         DELETE FROM meta WHERE key LIKE 'unstamped%'",
    )?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut floor = 0;
    match Connection::open_with_flags(from, flags) {
        Ok(old) => {
            // Without it a file that was cut short is refused as a whole.
            old.set_db_config(DbConfig::SQLITE_DBCONFIG_WRITABLE_SCHEMA, true)?;
            old.execute_batch("PRAGMA cell_size_check = ON")?;
            for table in TABLES {
                let copied = match table {
                    "records" => copy_records(&old, fresh).map(|highest| floor = highest),
                    _ => copy_table(&old, fresh, table),
                };
                if let Err(error) = copied {
                    tracing::warn!(table, %error, "part of the damaged journal could not be read");
                }
            }
            super::open::abandon(old);
        }
        Err(error) => tracing::warn!(%error, "nothing of the damaged journal could be read"),
    }
    // Rows that records refer to and that are lost; and what the migration would have noted.
    fresh.execute_batch(
        "INSERT OR IGNORE INTO meta (key, value) SELECT 'unstamped_running_ms', CAST(value AS INTEGER) * 1000
           FROM meta WHERE key = 'running_seconds';
         INSERT OR IGNORE INTO meta (key, value) SELECT 'unstamped_through', COALESCE(MAX(sequence), 0)
           FROM records;
         INSERT INTO sources (id, name, instance) SELECT DISTINCT source, 'salvaged-' || source, 'unknown'
           FROM records WHERE source NOT IN (SELECT id FROM sources);
         INSERT INTO epochs (id, name, began_at, first_sequence) SELECT DISTINCT epoch, 'unknown-' || epoch, 0, 0
           FROM records WHERE epoch NOT IN (SELECT id FROM epochs);",
    )?;
    destinations::tidy(fresh)?;
    let has_origins = "SELECT EXISTS (SELECT 1 FROM records WHERE origin_relay IS NOT NULL)";
    if fresh.query_row(has_origins, [], |row| row.get(0))? {
        schema::note_origins(fresh)?;
    }
    let salvaged = conclude(fresh, floor)?;
    fresh.execute_batch("COMMIT")?;
    Ok(salvaged)
}

fn columns(conn: &Connection, table: &str) -> rusqlite::Result<Vec<String>> {
    conn.prepare(&format!("SELECT name FROM pragma_table_info('{table}')"))?
        .query_map([], |row| row.get(0))?
        .collect()
}

fn shared_columns(old: &Connection, fresh: &Connection, table: &str) -> rusqlite::Result<Vec<String>> {
    let known = columns(fresh, table)?;
    Ok(columns(old, table)?.into_iter().filter(|column| known.contains(column)).collect())
}

fn insert_statement(table: &str, columns: &[String]) -> String {
    let marks = vec!["?"; columns.len()].join(", ");
    format!("INSERT OR IGNORE INTO {table} ({}) VALUES ({marks})", columns.join(", "))
}

/// Copies a small table from both of its ends, as far as it can be read.
fn copy_table(old: &Connection, fresh: &Connection, table: &str) -> rusqlite::Result<()> {
    let columns = shared_columns(old, fresh, table)?;
    let mut insert = fresh.prepare(&insert_statement(table, &columns))?;
    let mut copy = |direction: &str| -> rusqlite::Result<()> {
        let sql = format!("SELECT {} FROM {table} ORDER BY 1 {direction}", columns.join(", "));
        let mut statement = old.prepare(&sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let values: Vec<Value> =
                (0..columns.len()).map(|index| row.get(index)).collect::<rusqlite::Result<_>>()?;
            insert.execute(params_from_iter(values))?;
        }
        Ok(())
    };
    copy("ASC").or_else(|_| copy("DESC"))
}

/// Copies every record whose digest fits, around what cannot be read. Returns the highest sequence seen.
fn copy_records(old: &Connection, fresh: &Connection) -> rusqlite::Result<u64> {
    // First what a record is verified by.
    let mut columns: Vec<String> = RECORD_COLUMNS.split(", ").map(str::to_owned).collect();
    let others = shared_columns(old, fresh, "records")?;
    columns.extend(others.into_iter().filter(|column| !RECORD_COLUMNS.split(", ").any(|led| led == column)));
    let mut insert = fresh.prepare(&insert_statement("records", &columns))?;
    let select = format!(
        "SELECT {} FROM records WHERE sequence BETWEEN ?1 AND ?2 ORDER BY sequence",
        readable(old, &columns).join(", ")
    );
    let mut ascending = old.prepare(&select)?;
    let mut descending = old.prepare(&format!("{select} DESC"))?;
    let mut highest = 0;
    let mut scan = |statement: &mut rusqlite::Statement<'_>, from: u64, to: u64| -> (Option<u64>, bool) {
        let mut reached = None;
        let mut step = || -> rusqlite::Result<()> {
            let mut rows = statement.query([from.cast_signed(), to.cast_signed()])?;
            while let Some(row) = rows.next()? {
                let sequence = number(row, 0)?;
                reached = Some(sequence);
                highest = sequence.max(highest);
                if digest_fits(row).unwrap_or(false) {
                    let values: Vec<Value> =
                        (0..columns.len()).map(|index| row.get(index)).collect::<rusqlite::Result<_>>()?;
                    insert.execute(params_from_iter(values))?;
                }
            }
            Ok(())
        };
        let whole = step().is_ok();
        (reached, whole)
    };
    let end = old
        .query_row("SELECT MAX(sequence) FROM records", [], |row| row.get::<_, Option<i64>>(0))
        .map_or(1 << 40, |highest| highest.unwrap_or(0).cast_unsigned());
    // Each stretch is read from both ends; what is left between them is halved. The lower half first:
    // the end may only be guessed.
    let mut stretches = vec![(1, end)];
    let mut probes = 0;
    while let Some((from, to)) = stretches.pop() {
        if from > to || probes >= MAX_PROBES {
            continue;
        }
        probes += 1;
        let (reached, whole) = scan(&mut ascending, from, to);
        if whole {
            continue;
        }
        let from = reached.map_or(from, |reached| reached + 1);
        let (reached, whole) = scan(&mut descending, from, to);
        let to = reached.map_or(to, |reached| reached - 1);
        if whole || from >= to {
            continue;
        }
        let middle = from.midpoint(to);
        stretches.push((middle + 1, to));
        stretches.push((from, middle));
    }
    Ok(highest)
}

/// What to ask for to get these columns of `records`: older schemas lack some. Where nobody can tell, all of them.
fn readable(old: &Connection, wanted: &[String]) -> Vec<String> {
    let there = columns(old, "records").unwrap_or_default();
    let lacks = |column: &String| !there.is_empty() && !there.contains(column);
    let ask = |column: &String| if lacks(column) { format!("NULL AS {column}") } else { column.clone() };
    wanted.iter().map(ask).collect()
}

/// Begins the new epoch, with a record that says what is missing.
fn conclude(fresh: &Connection, seen: u64) -> rusqlite::Result<Salvaged> {
    let known: i64 = fresh.query_row(
        "SELECT MAX(COALESCE((SELECT MAX(cursor) FROM destinations), 0),
                    COALESCE((SELECT MAX(sequence) FROM dead_letters), 0),
                    COALESCE((SELECT MAX(last_sequence) FROM parents), 0))",
        [],
        |row| row.get(0),
    )?;
    let settled = destinations::furthest(fresh)?;
    let heads = Heads::load(fresh)?;
    let floor = heads.last.max(seen).max(known.cast_unsigned()).max(settled);
    let (mut expected, mut missing, mut records) = (heads.removed_through + 1, 0_u64, 0_u64);
    let mut hole: Option<(u64, u64)> = None;
    {
        let mut note = |from: u64, to: u64| {
            if from < to {
                missing += to - from;
                hole = Some((hole.map_or(from, |hole| hole.0), to));
            }
        };
        let mut statement = fresh.prepare("SELECT sequence FROM records ORDER BY sequence")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let sequence = number(row, 0)?;
            records += 1;
            if sequence >= expected {
                note(expected, sequence);
                expected = sequence + 1;
            }
        }
        note(expected, floor + 1);
    }
    let sequence = floor + 1;
    let epoch = schema::begin_epoch(fresh, sequence)?;
    let name: String = fresh.query_row("SELECT name FROM epochs WHERE id = ?1", [epoch], |row| row.get(0))?;
    let detail = GapDetail {
        reason: GapReason::JournalDamaged,
        path: None,
        from: hole.map_or(sequence, |hole| hole.0),
        to: hole.map(|hole| hole.1),
        message: if missing > 0 {
            format!(
                "the journal was damaged: {records} records were saved, {missing} of those before sequence \
                 {sequence} could not be read, and later ones may be missing; the damaged file was kept"
            )
        } else {
            format!(
                "the journal was damaged: {records} records were saved and none is known to be missing, but \
                 the newest may be; the damaged file was kept"
            )
        },
    };
    append_gap(fresh, &heads, sequence, (epoch, &name), &detail)?;
    Ok(Salvaged { records, missing, last_sequence: sequence, epoch: name })
}

fn append_gap(
    fresh: &Connection,
    heads: &Heads,
    sequence: u64,
    (epoch, epoch_name): (i64, &str),
    detail: &GapDetail,
) -> rusqlite::Result<()> {
    let original =
        serde_json::to_vec(detail).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    fresh.execute(
        "INSERT INTO sources (name, instance, started) VALUES ('journal', 'audit-relay', 1)
         ON CONFLICT (name, instance) DO NOTHING",
        [],
    )?;
    let source = fresh.query_row(
        "SELECT id FROM sources WHERE name = 'journal' AND instance = 'audit-relay'",
        [],
        |row| row.get(0),
    )?;
    let row = Accepted {
        sequence,
        id: &EventId::of_sequence(epoch_name, sequence, &original).to_string(),
        kind: RecordKind::Gap as i64,
        source,
        incarnation: None,
        offset: 0,
        epoch,
        framing: 0,
        accepted_at: Timestamp::now().unix_micros(),
        event_time: None,
        namespace_state: 0,
        namespace: None,
        entity_kind: None,
        entity_id: None,
        order_key: None,
        detail: None,
        traceparent: None,
        tracestate: None,
        origin: OriginColumns::default(),
        original: &original,
    };
    let digest = chain::digest(&row);
    fresh.execute(
        "INSERT INTO records (sequence, id, kind, source, offset, epoch, framing, accepted_at, namespace_state,
           digest, chain, original) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        params![
            row.sequence.cast_signed(),
            row.id,
            row.kind,
            row.source,
            row.offset,
            row.epoch,
            row.framing,
            row.accepted_at,
            row.namespace_state,
            digest,
            chain::link(&heads.chain, &digest),
            row.original,
        ],
    )?;
    write_meta(fresh, key::SEQUENCE_FLOOR, sequence.cast_signed())?;
    // What is missing before it is told of by this record.
    write_meta(fresh, key::SALVAGED_THROUGH, (sequence - 1).cast_signed())?;
    Ok(())
}

/// Puts a salvaged journal in the place of the damaged one. Returns how much was saved, and where the
/// damaged one lies.
pub(super) fn replace(files: &Files) -> Result<(u64, PathBuf), OpenError> {
    let building = files.data_dir.join("journal.db.building");
    let failed = |error| failed(files, &error);
    remove_database(&building).map_err(failed)?;
    let salvaged = salvage(&files.database, &building)?;
    std::fs::rename(&building, whole(files)).map_err(failed)?;
    sync_directory(&files.database).map_err(failed)?;
    let aside = exchange(files).map_err(failed)?;
    let (records, missing) = (salvaged.records, salvaged.missing);
    tracing::error!(records, missing, aside = %aside.display(), "the damaged journal was salvaged and moved aside");
    Ok((salvaged.records, aside))
}

/// Finishes an exchange that a crash interrupted.
pub(super) fn finish(files: &Files) -> Result<Option<(u64, PathBuf)>, OpenError> {
    let whole = whole(files);
    if !whole.exists() {
        return Ok(None);
    }
    let records: i64 = Connection::open_with_flags(&whole, OpenFlags::SQLITE_OPEN_READ_WRITE)
        .and_then(|conn| conn.query_row("SELECT count(*) - 1 FROM records", [], |row| row.get(0)))
        .map_err(|error| OpenError::Other(format!("cannot read {}: {error}", whole.display())))?;
    let aside = exchange(files).map_err(|error| failed(files, &error))?;
    Ok(Some((records.cast_unsigned(), aside)))
}

/// A salvaged journal has this name from when it is whole until it takes the damaged one's place.
fn whole(files: &Files) -> PathBuf {
    files.data_dir.join("journal.db.salvaged")
}

fn failed(files: &Files, error: &io::Error) -> OpenError {
    OpenError::Other(format!("cannot replace {}: {error}", files.database.display()))
}

fn exchange(files: &Files) -> io::Result<PathBuf> {
    let now = Timestamp::now().to_utc();
    let time = format!(
        "{:04}{:02}{:02}T{:02}{:02}{:02}Z",
        now.year(),
        u8::from(now.month()),
        now.day(),
        now.hour(),
        now.minute(),
        now.second()
    );
    let mut aside = beside(&files.database, &format!(".damaged-{time}"));
    let mut attempt = 1;
    while aside.exists() {
        attempt += 1;
        aside = beside(&files.database, &format!(".damaged-{time}-{attempt}"));
    }
    // The old WAL goes first: beside the fresh database it would be taken for its own.
    if files.database.exists() && std::fs::hard_link(&files.database, &aside).is_err() {
        std::fs::rename(&files.database, &aside)?;
    }
    match std::fs::metadata(&files.wal) {
        Ok(wal) if wal.len() > 0 => std::fs::rename(&files.wal, beside(&aside, "-wal"))?,
        Ok(_) => std::fs::remove_file(&files.wal)?,
        Err(_) => {}
    }
    for left_over in [beside(&files.database, "-shm"), beside(&files.database, "-journal")] {
        let _ = std::fs::remove_file(left_over);
    }
    sync_directory(&files.database)?;
    std::fs::rename(whole(files), &files.database)?;
    sync_directory(&files.database)?;
    let _ = std::fs::remove_file(&files.salvage_wanted);
    Ok(aside)
}
