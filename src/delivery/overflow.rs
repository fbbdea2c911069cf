//! Dead letters are bounded: the oldest move to a file, and count as purged.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::handle::{LaneHandle, LaneOrder};
use super::sender::append_durably;
use crate::destination::Delivery;
use crate::destination::envelope::envelope;
use crate::journal::{DeadLetterRow, DeadLetterSelection, Journal, JournalError};

/// How many move at once.
const AT_ONCE: usize = 512;

/// What a letter takes beside its record's original, about, in bytes.
const LETTER_BYTES: u64 = 400;

/// Moves dead letters out of the journal when they take more room than they may.
///
/// Each destination has its file, `data_dir/dead-letters/DESTINATION.ndjson`: a line for each letter, its
/// reason and the record's envelope. A file that has grown beyond the bound is renamed to `….ndjson.1`, in
/// place of an older one, so that a destination's files stay below twice the bound.
pub struct Overflow {
    /// The journal.
    pub journal: Journal,
    /// Where the files are.
    pub data_dir: PathBuf,
    /// How many bytes of dead letters the journal keeps, and a file holds.
    pub max_bytes: u64,
    /// Told when records died.
    pub died: Arc<tokio::sync::Notify>,
    /// Whose books change.
    pub lanes: Vec<LaneHandle>,
}

impl Overflow {
    /// Keeps the bound until stopped.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            if let Err(error) = self.keep_bound().await {
                if error == JournalError::Closed {
                    return;
                }
                tracing::error!(%error, "dead letters could not be moved to their file");
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.died.notified() => {}
            }
        }
    }

    async fn keep_bound(&self) -> Result<(), JournalError> {
        let bytes = self.journal.dead_letter_bytes().await?;
        if bytes <= self.max_bytes {
            return Ok(());
        }
        // Some room at once, so that it does not begin again with the next.
        let mut excess = bytes - (self.max_bytes - self.max_bytes / 8);
        let mut moved = BTreeMap::new();
        while excess > 0 {
            let mut letters =
                self.journal.dead_letters(DeadLetterSelection::default(), None, AT_ONCE).await?;
            let mut taken = 0;
            letters.retain(|letter| {
                let is_wanted = taken < excess;
                taken += u64::from(is_wanted) * size_of(letter);
                is_wanted
            });
            if letters.is_empty() {
                break;
            }
            excess = excess.saturating_sub(taken);
            self.move_out(letters, &mut moved).await?;
        }
        for (destination, count) in moved {
            tracing::error!(
                destination,
                count,
                "dead letters have moved to a file: they took more room than `dead_letters.max_size`"
            );
        }
        Ok(())
    }

    async fn move_out(
        &self,
        letters: Vec<DeadLetterRow>,
        moved: &mut BTreeMap<String, u64>,
    ) -> Result<(), JournalError> {
        let which = letters.iter().map(|letter| (letter.destination, letter.sequence)).collect();
        let mut files: BTreeMap<String, (u64, Vec<u8>)> = BTreeMap::new();
        for letter in letters {
            let (count, lines) = files.entry(letter.destination_name.clone()).or_default();
            *count += 1;
            write_line(letter, lines);
        }
        let counts: Vec<_> = files.iter().map(|(name, (count, _))| (name.clone(), *count)).collect();
        let (data_dir, max_bytes) = (self.data_dir.clone(), self.max_bytes);
        tokio::task::spawn_blocking(move || write_files(&data_dir, max_bytes, files))
            .await
            .map_err(|error| JournalError::Io(error.to_string()))?
            .map_err(|error| JournalError::Io(error.to_string()))?;
        // On disk first: a crash between the two repeats lines, and loses none.
        self.journal.dead_letters_moved(which).await?;
        for (name, count) in counts {
            if let Some(lane) = self.lanes.iter().find(|lane| lane.name == name) {
                // A lane that has ended hears nothing.
                let _ = lane.orders.send(LaneOrder::Purged).await;
            }
            *moved.entry(name).or_insert(0) += count;
        }
        Ok(())
    }
}

fn size_of(letter: &DeadLetterRow) -> u64 {
    letter.record.as_ref().map_or(0, |record| record.size_bytes() as u64) + LETTER_BYTES
}

fn write_line(letter: DeadLetterRow, lines: &mut Vec<u8>) {
    let mut record = Vec::new();
    match letter.record {
        Some(found) => envelope(&Delivery { record: *found, environment: None }, &mut record),
        None => record.extend_from_slice(b"null"),
    }
    let head = json!({
        "dead_letter": "1",
        "destination": letter.destination_name,
        "sequence": letter.sequence,
        "code": letter.code,
        "message": letter.message,
        "attempts": letter.attempts,
        "died_at": letter.died_at.to_string(),
    });
    let head = head.to_string();
    lines.extend_from_slice(head.trim_end_matches('}').as_bytes());
    lines.extend_from_slice(b",\"record\":");
    lines.extend_from_slice(&record);
    lines.extend_from_slice(b"}\n");
}

fn write_files(
    data_dir: &Path,
    max_bytes: u64,
    files: BTreeMap<String, (u64, Vec<u8>)>,
) -> std::io::Result<()> {
    for (name, (_, lines)) in files {
        let path = data_dir.join("dead-letters").join(format!("{name}.ndjson"));
        let mut size_bytes = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
        let mut pending: Vec<u8> = Vec::new();
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            let written = size_bytes + pending.len() as u64;
            if written > 0 && written + line.len() as u64 > max_bytes {
                append_durably(&path, &std::mem::take(&mut pending))?;
                turn_over(&path)?;
                size_bytes = 0;
            }
            pending.extend_from_slice(line);
        }
        append_durably(&path, &pending)?;
    }
    Ok(())
}

/// A full file takes the place of the older one.
fn turn_over(path: &Path) -> std::io::Result<()> {
    let older = path.with_extension("ndjson.1");
    if older.exists() {
        tracing::warn!(path = %older.display(), "the older file of dead letters is replaced");
    }
    std::fs::rename(path, &older)
}
