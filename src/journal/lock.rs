//! One process at a time: an advisory lock beside the journal, and file systems that cannot keep one.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::OpenError;
use crate::event::Timestamp;

const POLL: Duration = Duration::from_millis(200);

/// Takes the lock of a data directory, waiting at most `wait` for whoever holds it. It is let go when
/// the file is closed, by a crash too.
pub(super) fn acquire(data_dir: &Path, wait: Duration) -> Result<File, OpenError> {
    let path = data_dir.join("lock");
    let failed = |error| OpenError::Other(format!("cannot lock {}: {error}", path.display()));
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(failed)?;
    let began = Instant::now();
    let mut said = false;
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) => {
                let waited = began.elapsed();
                if waited >= wait {
                    return Err(OpenError::Locked {
                        data_dir: data_dir.to_path_buf(),
                        holder: holder(&mut file),
                        waited_seconds: waited.as_secs(),
                    });
                }
                if !said {
                    said = true;
                    let (holder, wait_seconds) = (holder(&mut file), wait.as_secs());
                    tracing::warn!(data_dir = %data_dir.display(), holder, wait_seconds, "waiting for the lock");
                }
                std::thread::sleep(POLL.min(wait - waited));
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
    }
    // Who holds it, for the one that waits; nothing else reads it.
    let text = format!("process {} since {}\n", std::process::id(), Timestamp::now());
    file.set_len(0)
        .and_then(|()| file.seek(SeekFrom::Start(0)))
        .and_then(|_| file.write_all(text.as_bytes()))
        .map_or_else(
            |error| tracing::debug!(%error, "the lock file could not be written"),
            |()| tracing::trace!("locked"),
        );
    Ok(file)
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.seek(SeekFrom::Start(0)).and_then(|_| file.take(200).read_to_string(&mut text));
    match read {
        Ok(_) if !text.trim().is_empty() => text.trim().to_owned(),
        _ => "another process".to_owned(),
    }
}

/// Refuses file systems on which SQLite's write-ahead log is not safe.
#[cfg(target_os = "linux")]
pub(super) fn check_file_system(data_dir: &Path) -> Result<(), OpenError> {
    let found = rustix::fs::statfs(data_dir).map_err(|error| {
        OpenError::Other(format!("cannot tell the file system of {}: {error}", data_dir.display()))
    })?;
    // Numbers of linux/magic.h; the type of the field differs between platforms.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::unnecessary_cast)]
    let magic = found.f_type as u32;
    let name = match magic {
        0x6969 => "nfs".to_owned(),
        0x517B => "smb".to_owned(),
        0xFF53_4D42 | 0xFE53_4D42 => "cifs".to_owned(),
        0x0102_1997 => "9p".to_owned(),
        0x5346_414F | 0x6B41_4653 => "afs".to_owned(),
        0x6573_5546 => {
            let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
            let directory = std::fs::canonicalize(data_dir).unwrap_or_else(|_| data_dir.to_path_buf());
            match mount_type(&mounts, &directory) {
                // Local ones: a block device, or the layers of a rootless container.
                Some("fuseblk" | "fuse.fuse-overlayfs") => return Ok(()),
                Some(other) => other.to_owned(),
                None => "fuse".to_owned(),
            }
        }
        _ => return Ok(()),
    };
    Err(OpenError::FileSystem { data_dir: data_dir.to_path_buf(), file_system: name })
}

#[cfg(not(target_os = "linux"))]
pub(super) fn check_file_system(_data_dir: &Path) -> Result<(), OpenError> {
    Ok(())
}

/// The type of the mount that `directory` is on, out of `/proc/self/mountinfo` (proc(5)).
#[cfg_attr(not(target_os = "linux"), allow(dead_code))]
fn mount_type<'a>(mounts: &'a str, directory: &Path) -> Option<&'a str> {
    mounts
        .lines()
        .filter_map(|line| {
            let (mount, rest) = line.split_once(" - ")?;
            let point = Path::new(mount.split(' ').nth(4)?);
            directory.starts_with(point).then_some((point.as_os_str().len(), rest.split(' ').next()?))
        })
        // Of equal mount points the later one covers the earlier.
        .fold(None, |best: Option<(usize, &str)>, next| match best {
            Some(best) if best.0 > next.0 => Some(best),
            _ => Some(next),
        })
        .map(|(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_mount_names_the_file_system() {
        let mounts = "21 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
                      30 21 0:40 / /data rw,nosuid shared:7 - fuse.sshfs host:/x rw\n\
                      31 30 8:2 / /data/local rw - fuseblk /dev/sdb1 rw\n";
        assert_eq!(mount_type(mounts, Path::new("/data/relay")), Some("fuse.sshfs"));
        assert_eq!(mount_type(mounts, Path::new("/data/local/relay")), Some("fuseblk"));
        assert_eq!(mount_type(mounts, Path::new("/database")), Some("ext4"));
    }
}
