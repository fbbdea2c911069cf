//! A file that only takes up room. On a full disk SQLite can neither record an acknowledgement nor
//! remove a row; giving this room back lets it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// How much is kept back, in bytes.
pub(super) const RESERVE_BYTES: u64 = 16 << 20;

#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
    bytes: u64,
}

impl Reserve {
    pub(super) fn new(data_dir: &Path, bytes: u64) -> Self {
        Self { path: data_dir.join("reserve"), bytes }
    }

    /// How much it takes up when it is there.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether it takes up its room.
    pub(super) fn is_held(&self) -> bool {
        std::fs::metadata(&self.path).is_ok_and(|metadata| metadata.len() == self.bytes)
    }

    /// Takes up the room, really: a sparse file would promise what the disk does not have.
    pub(super) fn hold(&self) -> io::Result<()> {
        if self.is_held() {
            return Ok(());
        }
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&self.path)?;
        let held = allocate(&mut file, self.bytes).and_then(|()| file.sync_all());
        if held.is_err() {
            // Half of it would be taken for nothing.
            let _ = file.set_len(0);
        }
        held
    }

    /// Gives the room back; whether there was any.
    pub(super) fn release(&self) -> io::Result<bool> {
        let file = match OpenOptions::new().write(true).open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        if file.metadata()?.len() == 0 {
            return Ok(false);
        }
        file.set_len(0)?;
        // Some file systems free the blocks only when the change is on disk.
        file.sync_all()?;
        Ok(true)
    }
}

fn allocate(file: &mut File, bytes: u64) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    match rustix::fs::fallocate(&*file, rustix::fs::FallocateFlags::empty(), 0, bytes) {
        Ok(()) => return Ok(()),
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {}
        Err(error) => return Err(error.into()),
    }
    let zeros = vec![0_u8; 1 << 20];
    let mut left = bytes;
    while left > 0 {
        let part = usize::try_from(left).unwrap_or(usize::MAX).min(zeros.len());
        file.write_all(&zeros[..part])?;
        left -= part as u64;
    }
    Ok(())
}

/// What an unprivileged process may still write on the disk that holds `path`, in bytes.
pub(super) fn available_bytes(path: &Path) -> io::Result<u64> {
    let found = rustix::fs::statvfs(path)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}
