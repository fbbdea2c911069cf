//! A copy of the journal while it is in use.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use rusqlite::{Connection, OpenFlags};
use tokio::sync::oneshot;

use super::open::{self, beside, remove_database, sync_directory};
use super::reader::ReadJob;
use super::schema::{key, write_meta};
use super::shared::Shared;
use super::{Journal, JournalError, OperatorError};
use crate::event::Timestamp;

impl Journal {
    /// Copies the journal, as it is at one moment, to a file that must not exist; mode 0600, durable when
    /// this returns. Returns its length in bytes. A relay that opens it begins a new epoch.
    ///
    /// # Errors
    /// See [`OperatorError`]; refused where the file exists, or while another backup is under way.
    pub async fn backup(&self, file: PathBuf) -> Result<u64, OperatorError> {
        let (reply, answer) = oneshot::channel();
        let shared = std::sync::Arc::clone(&self.inner.shared);
        let work = Box::new(move |_: &mut super::reader::Reader| {
            // Whoever asked may have gone away.
            let _ = reply.send(back_up(&shared, &file));
        });
        if self.inner.readers.send(ReadJob::Read(work)).await.is_err() {
            return Err(JournalError::Closed.into());
        }
        answer.await.unwrap_or(Err(JournalError::Closed.into()))
    }
}

fn back_up(shared: &Shared, file: &Path) -> Result<u64, OperatorError> {
    // An absolute path is never taken for a URI.
    let file = std::path::absolute(file).map_err(|error| cannot(file, &error))?;
    if file.symlink_metadata().is_ok() {
        return Err(OperatorError::Refused(format!("{} exists already", file.display())));
    }
    let building = beside(&file, ".building");
    let copied = copy(shared, &building).and_then(|()| {
        finish(&building, &file).map_err(|error| cannot(&file, &error))?;
        Ok(std::fs::metadata(&file).map_err(|error| cannot(&file, &error))?.len())
    });
    *shared.backup.lock().unwrap_or_else(PoisonError::into_inner) = None;
    if copied.is_err() {
        // What is left of it is of no use.
        let _ = remove_database(&building);
    }
    copied
}

fn cannot(file: &Path, error: &io::Error) -> OperatorError {
    OperatorError::Refused(format!("cannot write {}: {error}", file.display()))
}

/// Copies the journal as it is now, and marks the copy.
fn copy(shared: &Shared, building: &Path) -> Result<(), OperatorError> {
    let name = building.to_str().ok_or_else(|| {
        OperatorError::Refused(format!("{} is no name that can be written", building.display()))
    })?;
    // A connection of its own: the writer must not wait for a reader's that is busy for so long.
    let conn = open::read_only(&shared.files.database).map_err(JournalError::from)?;
    *shared.backup.lock().unwrap_or_else(PoisonError::into_inner) = Some(conn.get_interrupt_handle());
    remove_database(building).map_err(|error| cannot(building, &error))?;
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(building)
        .map_err(|error| cannot(building, &error))?;
    if let Err(error) = conn.execute("VACUUM INTO ?1", [name]) {
        shared.note_damage(&error, false);
        return Err(JournalError::from(error).into());
    }
    mark(building).map_err(|error| JournalError::from(error).into())
}

/// Makes the copy known as one: whoever opens it must give other ids than the original does.
fn mark(building: &Path) -> rusqlite::Result<()> {
    let conn = Connection::open_with_flags(building, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    write_meta(&conn, key::BACKUP, Timestamp::now().unix_micros())?;
    conn.close().map_err(|(_, error)| error)
}

fn finish(building: &Path, file: &Path) -> io::Result<()> {
    File::open(building)?.sync_all()?;
    rename_new(building, file)?;
    sync_directory(file)
}

/// Renames without taking another file's place.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {}
            done => return Ok(done?),
        }
    }
    std::fs::rename(from, to)
}
