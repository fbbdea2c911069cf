//! From a data directory to a database that can be trusted: made, checked, or salvaged.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, ffi};

use super::rows::{RECORD_COLUMNS, digest_fits};
use super::schema::{self, APPLICATION_ID, MigrateError};
use super::shared::Files;
use super::{JournalError, OpenError, OpenReport, Options, lock, salvage, upkeep};
use crate::event::Timestamp;

/// How long a statement waits for another connection.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// So many of the newest records are verified before the journal is used.
const CHECKED_RECORDS: u32 = 1_000;

/// An opened database, and who may use it.
pub(super) struct Opened {
    pub(super) conn: Connection,
    pub(super) files: Files,
    pub(super) lock: File,
    pub(super) report: OpenReport,
}

/// Opens what is there; makes it if there is nothing; salvages it if it is damaged.
pub(super) fn open(options: &Options) -> Result<Opened, OpenError> {
    let data_dir = &options.data_dir;
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data_dir)
        .map_err(|error| OpenError::Other(format!("cannot create {}: {error}", data_dir.display())))?;
    lock::check_file_system(data_dir)?;
    let lock = lock::acquire(data_dir, options.lock_wait)?;
    let files = Files::new(data_dir);
    let mut report = OpenReport::default();
    let wal_limit = upkeep::wal_limit_bytes(options.max_size_bytes);

    report.salvaged = salvage::finish(&files)?;
    if !files.database.try_exists().map_err(|error| cannot(&files.database, &error))? {
        let building = files.data_dir.join("journal.db.building");
        create(&building).map_err(|error| OpenError::Other(error.to_string()))?;
        publish(&building, &files.database).map_err(|error| cannot(&files.database, &error))?;
        report.created = true;
    }
    let conn = match inspect(&files, wal_limit)? {
        Verdict::Sound(conn, corrupt_records) => {
            report.corrupt_records = corrupt_records;
            conn
        }
        Verdict::Damaged(what) => {
            tracing::error!(what, "the journal is damaged: salvaging what can be read");
            report.salvaged = Some(salvage::replace(&files)?);
            match inspect(&files, wal_limit)? {
                Verdict::Sound(conn, _) => conn,
                Verdict::Damaged(what) => {
                    return Err(OpenError::Other(format!("the salvaged journal is damaged too: {what}")));
                }
            }
        }
    };
    let mut conn = conn;
    leave_original(&mut conn)
        .map_err(|error| OpenError::Other(format!("cannot open {}: {error}", files.database.display())))?;
    Ok(Opened { conn, files, lock, report })
}

/// A copy goes on by itself: a new epoch, so that what it accepts has other ids than what the original
/// accepts under the same sequences.
fn leave_original(conn: &mut Connection) -> rusqlite::Result<()> {
    let Some(made_at) = schema::read_meta::<i64>(conn, schema::key::BACKUP)? else { return Ok(()) };
    let transaction = conn.transaction()?;
    let last = schema::Heads::load(&transaction)?.last;
    schema::begin_epoch(&transaction, last + 1)?;
    transaction.execute("DELETE FROM meta WHERE key = ?1", [schema::key::BACKUP])?;
    transaction.commit()?;
    let made_at = Timestamp::from_unix_micros(made_at);
    tracing::info!(%made_at, last_sequence = last, "the journal is a backup: a new epoch begins");
    Ok(())
}

fn cannot(path: &Path, error: &io::Error) -> OpenError {
    OpenError::Other(format!("cannot open {}: {error}", path.display()))
}

enum Verdict {
    /// It can be used; so many of its last records do not fit their digest.
    Sound(Connection, u64),
    Damaged(String),
}

fn inspect(files: &Files, wal_limit_bytes: u64) -> Result<Verdict, OpenError> {
    if let Ok(what) = std::fs::read_to_string(&files.salvage_wanted) {
        return Ok(Verdict::Damaged(what));
    }
    // Before SQLite has it open: closing a file drops all its locks of this process.
    if !has_header(&files.database).map_err(|error| cannot(&files.database, &error))? {
        return Ok(Verdict::Damaged("the file does not begin as a database".to_owned()));
    }
    let checked =
        read_write(&files.database, wal_limit_bytes).map_err(MigrateError::from).and_then(|mut conn| {
            let application: i32 = conn.query_row("PRAGMA application_id", [], |row| row.get(0))?;
            let tables: i64 = conn.query_row(
                "SELECT count(*) FROM sqlite_schema WHERE name IN ('records', 'meta')",
                [],
                |row| row.get(0),
            )?;
            if tables == 0 {
                return Ok(Err(application));
            }
            schema::migrate(&mut conn)?;
            schema::Heads::load(&conn)?;
            schema::read_meta::<i64>(&conn, schema::key::EPOCH)?
                .ok_or(rusqlite::Error::QueryReturnedNoRows)?;
            let corrupt_records = check_newest(&conn)?;
            Ok(Ok((conn, corrupt_records)))
        });
    match checked {
        Ok(Ok((conn, corrupt_records))) => {
            if corrupt_records > 0 {
                tracing::error!(corrupt_records, "records were altered since they were accepted");
            }
            Ok(Verdict::Sound(conn, corrupt_records))
        }
        Ok(Err(application)) if application != APPLICATION_ID => {
            Err(OpenError::Other(format!("{} is a database of another program", files.database.display())))
        }
        Ok(Err(_)) => Ok(Verdict::Damaged("its tables are gone".to_owned())),
        Err(MigrateError::Newer(error)) => Err(error),
        Err(MigrateError::Sqlite(error)) if means_damage(&error) => Ok(Verdict::Damaged(error.to_string())),
        Err(MigrateError::Sqlite(error)) => {
            Err(OpenError::Other(format!("cannot open {}: {error}", files.database.display())))
        }
    }
}

/// Whether the file, not the disk or the moment, is to blame.
fn means_damage(error: &rusqlite::Error) -> bool {
    match error {
        rusqlite::Error::SqliteFailure(failure, _) => {
            // A table or column that is missing comes as `Unknown`.
            matches!(failure.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::Unknown)
        }
        _ => true,
    }
}

fn has_header(path: &Path) -> io::Result<bool> {
    let mut head = [0_u8; 16];
    match File::open(path)?.read_exact(&mut head) {
        Ok(()) => Ok(&head == b"SQLite format 3\0"),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn check_newest(conn: &Connection) -> rusqlite::Result<u64> {
    let mut statement =
        conn.prepare(&format!("SELECT {RECORD_COLUMNS} FROM records ORDER BY sequence DESC LIMIT ?1"))?;
    let mut rows = statement.query([CHECKED_RECORDS])?;
    let mut corrupt = 0;
    while let Some(row) = rows.next()? {
        corrupt += u64::from(!digest_fits(row).unwrap_or(false));
    }
    Ok(corrupt)
}

/// Makes an empty journal, all of it on disk before it has its name.
pub(super) fn create(path: &Path) -> Result<Connection, JournalError> {
    remove_database(path).map_err(|error| JournalError::Io(error.to_string()))?;
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| JournalError::Io(format!("cannot create {}: {error}", path.display())))?;
    let mut conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    // Giving space back is decided on the first day: set later it has no effect.
    conn.execute_batch(&format!(
        "PRAGMA auto_vacuum = INCREMENTAL; PRAGMA application_id = {APPLICATION_ID}; PRAGMA temp_store = MEMORY;"
    ))?;
    conn.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    conn.execute_batch("PRAGMA synchronous = FULL")?;
    match schema::migrate(&mut conn) {
        Ok(()) => {}
        Err(MigrateError::Sqlite(error)) => return Err(error.into()),
        Err(MigrateError::Newer(error)) => return Err(JournalError::Io(error.to_string())),
    }
    schema::begin_epoch(&conn, 1)?;
    Ok(conn)
}

/// Gives a finished database its name.
fn publish(building: &Path, name: &Path) -> io::Result<()> {
    File::open(building)?.sync_all()?;
    std::fs::rename(building, name)?;
    sync_directory(name)
}

pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

/// Removes a database that was never finished, with what SQLite keeps beside it.
pub(super) fn remove_database(path: &Path) -> io::Result<()> {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        match std::fs::remove_file(beside(path, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// `path` with something after it.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// The writer's connection.
pub(super) fn read_write(path: &Path, wal_limit_bytes: u64) -> rusqlite::Result<Connection> {
    // Nothing but SQLite touches the file from here on; `stat` and `chmod` do not open it.
    if std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0) {
        let _ = std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(BUSY_TIMEOUT)?;
    conn.set_prepared_statement_cache_capacity(64);
    let mode: String = conn.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        let error = ffi::Error::new(ffi::SQLITE_CANTOPEN);
        let message = format!("the file system does not allow write-ahead logging (journal mode {mode})");
        return Err(rusqlite::Error::SqliteFailure(error, Some(message)));
    }
    let synchronous = if cfg!(feature = "journal-unsynced") { "OFF" } else { "FULL" };
    // Checkpoints are the writer's own; SQLite's are a last resort. No /tmp is needed.
    conn.execute_batch(&format!(
        "PRAGMA synchronous = {synchronous};
         PRAGMA temp_store = MEMORY;
         PRAGMA cache_size = -4096;
         PRAGMA foreign_keys = OFF;
         PRAGMA wal_autocheckpoint = 8192;
         PRAGMA journal_size_limit = {wal_limit_bytes};"
    ))?;
    Ok(conn)
}

/// A reader's connection.
pub(super) fn read_only(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(BUSY_TIMEOUT)?;
    conn.execute_batch("PRAGMA temp_store = MEMORY; PRAGMA cache_size = -2048;")?;
    Ok(conn)
}

/// Closes a connection that is not trusted any more, without copying its WAL into the database.
pub(super) fn abandon(conn: Connection) {
    let _ = conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
    if let Err((_, error)) = conn.close() {
        tracing::debug!(%error, "a failed connection could not be closed");
    }
}
