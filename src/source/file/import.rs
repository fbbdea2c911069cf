//! Takes in one file to its end, with the ids that its lines would have had if the source had tailed it.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde_json::{Map, Value};

use super::FileSource;
use super::follow::{Batch, Follow, Role, Step};
use super::identity::{self, IdentifyError, Identity, WINDOW_BYTES, identify, read_at};
use crate::config::plan::{Plan, SourceKind};
use crate::event::{GapDetail, NewRecord, RecordKind};
use crate::journal::{Append, AppendError, IncarnationRow, Journal, JournalError, NewIncarnation};
use crate::telemetry::traces::Tracer;

/// What an import took in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Imported {
    /// Records that are new.
    pub accepted: u64,
    /// Records that the journal had already.
    pub known: u64,
    /// Of all of these, how many could not be read as events.
    pub unreadable: u64,
    /// Lines that are not kept: Flipt's application log.
    pub ignored: u64,
}

/// Why an import stopped. What was taken in until then stays, and is passed over the next time.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file could not be read.
    #[error("the file cannot be read: {0}")]
    Io(#[from] io::Error),
    /// The file changed while it was read.
    #[error("the file changed while it was read; run the import again")]
    Changed,
    /// The journal refused.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The journal failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl From<IdentifyError> for ImportError {
    fn from(error: IdentifyError) -> Self {
        match error {
            IdentifyError::Io(error) => Self::Io(error),
            IdentifyError::Journal(error) => Self::Journal(error),
        }
    }
}

impl FileSource {
    /// The file source called `name`, ready to start or to take in a file; `None` where the plan has none of
    /// that name.
    #[must_use]
    pub fn planned(plan: &Plan, name: &str, journal: &Journal) -> Option<Self> {
        let source = plan.sources.get(name)?;
        let SourceKind::File(file) = &source.kind else { return None };
        Some(Self {
            relay_name: plan.name.clone(),
            name: name.to_owned(),
            instance: source.instance.clone(),
            single_writer: source.single_writer,
            plan: file.clone(),
            data_dir: plan.data_dir.clone(),
            journal: journal.clone(),
            tracer: Tracer::default(),
        })
    }
}

/// Imports `path` as if `source` had tailed it. Lines that are journaled already, by id, are passed over.
/// With `journal_only` the records are kept and no destination ever gets them.
///
/// Blocking.
///
/// # Errors
/// When the file cannot be read or the journal refuses; everything up to there is kept.
pub fn import(source: &FileSource, path: &Path, journal_only: bool) -> Result<Imported, ImportError> {
    let journal = &source.journal;
    let source_row = source.register()?;
    let rows = journal.incarnations(source_row.id)?;
    let file = File::open(path)?;
    let head = read_at(&file, 0, WINDOW_BYTES)?;
    if head.is_empty() {
        return Ok(Imported::default());
    }
    let reading = source.reading();
    let (row, is_new) = match identify(&file, &rows, &reading, journal)? {
        Identity::Known(index) | Identity::Earlier(index) => (rows[index].clone(), false),
        Identity::New(_) | Identity::Unnamed => {
            let row = journal.create_incarnation(NewIncarnation {
                source: source_row.id,
                relay_name: source.relay_name.clone(),
                source_name: source.name.clone(),
                first_line: identity::first_line(&head).unwrap_or(&head).to_vec(),
                path: path.to_string_lossy().into_owned(),
                inode: file.metadata()?.ino(),
                position: 0,
                read_from: 0,
                fingerprint: identity::fingerprint(&head, &[], 0),
            })?;
            (row, true)
        }
    };
    let path_buf = path.to_path_buf();
    let mut follow = Follow::new(file, path_buf.clone(), path_buf, Role::Copy, &reading)?;
    // What of it was given back since is in the journal.
    let journaled_to = if is_new { 0 } else { row.position };
    // From the first byte, whatever was read of it before: ids decide what is new.
    let from_the_start = identity::fingerprint(&head, &[], 0);
    if !follow.adopt(IncarnationRow { position: 0, fingerprint: from_the_start, ..row }, &reading)? {
        return Err(ImportError::Changed);
    }
    let mut imported = Imported::default();
    let mut hand_over = |batch: Batch| -> Result<(), ImportError> {
        let Batch { mut records, advance, ignored } = batch;
        imported.ignored += ignored;
        records.retain(|record| !is_gap_before(record, journaled_to));
        imported.unreadable +=
            records.iter().filter(|record| record.kind != RecordKind::Event).count() as u64;
        if journal_only {
            records.iter_mut().for_each(mark_journal_only);
        }
        let append = Append { source: source_row.id, advance: is_new.then_some(advance), records, ignored };
        let appended = journal.append(append).blocking_recv().map_err(|_| JournalError::Closed)??;
        imported.accepted += appended.accepted;
        imported.known += appended.known;
        Ok(())
    };
    loop {
        match follow.step(&reading)? {
            Step::Batch(batch) => hand_over(batch)?,
            Step::AtEnd => break,
            Step::Rewritten => return Err(ImportError::Changed),
        }
    }
    if let Some(batch) = follow.finish(&reading) {
        hand_over(batch)?;
    }
    Ok(imported)
}

/// Whether a record tells of a gap in what the journal has.
fn is_gap_before(record: &NewRecord, journaled_to: u64) -> bool {
    let gap = || serde_json::from_slice::<GapDetail>(&record.original).ok();
    record.kind == RecordKind::Gap
        && gap().and_then(|gap| gap.to).is_some_and(|missing_to| missing_to <= journaled_to)
}

/// The word in a record's detail by which lanes pass it over.
const JOURNAL_ONLY: &str = "journal_only";

fn mark_journal_only(record: &mut NewRecord) {
    let detail = record.detail.take().and_then(|text| serde_json::from_str::<Map<String, Value>>(&text).ok());
    let mut detail = detail.unwrap_or_default();
    detail.insert(JOURNAL_ONLY.to_owned(), Value::Bool(true));
    record.detail = serde_json::to_string(&detail).ok();
}
