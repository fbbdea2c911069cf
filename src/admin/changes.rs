//! What changed: a stretch of the journal, told as stories, as rows, or as envelopes, page by page.
//!
//! Sequence is the order of acceptance, and an event may be much older than that (late, imported). So all of
//! the journal is scanned by sequence, cheaply, by the outlines of its records; what lies in the time that was
//! asked for is then read whole, and verified.

mod chained;
mod row;
mod selection;
mod stories;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::{Office, Refusal, nameless, words};
use crate::destination::envelope::envelope;
use crate::destination::{Delivery, telling};
use crate::event::{RecordKind, Sequence, StoredRecord, Timestamp};
use crate::journal::{Outline, ReadRow};

pub use row::ChangeRow;
pub use selection::ChangeSelection;

pub(in crate::admin) use selection::{Filter, Fit};
use stories::Stories;

/// Outlines that are read at once.
const OUTLINES: usize = 2_048;

/// One page scans no more records than this, …
const MAX_SCANNED: usize = 32_768;

/// … tells no more than this many, …
const MAX_ENTRIES: usize = 2_000;

/// … and is no larger than this and one record, in bytes.
const MAX_BYTES: usize = 2 << 20;

/// Records that are read whole at once, …
const CHUNK_ROWS: usize = 256;

/// … and their bytes, unless one alone is larger.
const CHUNK_BYTES: u64 = 1 << 20;

/// So many gaps and unreadable lines are told one by one.
const TOLD: usize = 5;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ChangesAsked {
    /// Which records.
    pub selection: ChangeSelection,
    /// How they are told.
    pub form: ChangeForm,
    /// Where the page begins.
    pub place: ChangePlace,
    /// How many rows or envelopes the page holds, at most; none: as many as there is room for.
    #[serde(default)]
    pub limit: Option<usize>,
    /// Whether the names of people are kept back.
    #[serde(default)]
    pub nameless: bool,
}

/// How changes are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeForm {
    /// One sentence for each change set; events alone.
    Stories,
    /// One row for each record.
    #[default]
    Rows,
    /// One envelope for each record.
    Envelopes,
    /// The same, each with its place in the chain and what that is made of; what is left out, from the first that is
    /// told to the end of the journal, is a place alone.
    ChainedEnvelopes,
}

/// Where a page begins.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ChangePlace {
    /// After this record.
    pub after: Sequence,
    /// What was accepted after this is left out; chosen with the first page.
    pub through: Option<Sequence>,
    /// Records of change sets that go on in this page.
    pub held: Vec<Sequence>,
    /// Whether a chain has begun on a page before.
    #[serde(default)]
    pub is_chained: bool,
}

/// A page of changes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ChangesPage {
    /// What is told.
    pub entries: Vec<ChangeEntry>,
    /// What was met on the way.
    pub notes: ChangeNotes,
    /// Where the next page begins; none after the last.
    pub next: Option<ChangePlace>,
}

/// One thing that is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeEntry {
    /// A change set, or an event of none.
    Story {
        /// The time of its first event.
        time: Timestamp,
        /// How many events it is made of.
        events: u64,
        /// What happened, in a sentence that a terminal may have.
        what: String,
    },
    /// A record as a row.
    Row(Box<ChangeRow>),
    /// A record as an envelope: JSON.
    Envelope(String),
    /// The place of a record that is not told: JSON.
    Place(String),
}

impl ChangeEntry {
    fn size(&self) -> usize {
        match self {
            Self::Story { what, .. } => what.len() + 64,
            Self::Row(row) => row.size(),
            Self::Envelope(json) | Self::Place(json) => json.len(),
        }
    }
}

/// What was met on the way.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ChangeNotes {
    /// Events that were told.
    pub events: u64,
    /// Gaps in the time that was asked for, whatever else was asked for.
    pub gaps: u64,
    /// Inputs of that time that could not be read.
    pub unreadable: u64,
    /// The first of both: when, and what.
    pub first: Vec<(Timestamp, String)>,
    /// Records of that time that were altered or removed since they were accepted.
    pub corrupt: u64,
    /// Events that may be among those asked for, and do not say so.
    pub undecided: u64,
    /// From when on the journal has all that was accepted.
    pub whole_since: Option<Timestamp>,
}

impl ChangeNotes {
    /// Adds those of the next page.
    pub fn add(&mut self, next: Self) {
        self.events += next.events;
        self.gaps += next.gaps;
        self.unreadable += next.unreadable;
        self.corrupt += next.corrupt;
        self.undecided += next.undecided;
        self.first.extend(next.first);
        self.first.truncate(TOLD);
        self.whole_since = next.whole_since.or(self.whole_since);
    }

    fn tell(&mut self, time: Timestamp, delivery: &Delivery) {
        match delivery.record.kind {
            RecordKind::Gap => self.gaps += 1,
            RecordKind::Unparsed | RecordKind::Oversized => self.unreadable += 1,
            RecordKind::Event | RecordKind::Act => return,
        }
        if self.first.len() < TOLD {
            self.first.push((time, said(delivery)));
        }
    }
}

/// The event's own time, else when it was accepted.
fn time_of(delivery: &Delivery) -> Timestamp {
    delivery.record.event_time.unwrap_or(delivery.record.accepted_at)
}

/// One record in a sentence that a terminal may have.
pub(super) fn said(delivery: &Delivery) -> String {
    words::escaped(&telling::sentence(delivery).to_string())
}

/// A record as an envelope that a terminal may have: inside of JSON the escaped form means the same.
fn escaped_envelope(delivery: &Delivery) -> String {
    let mut json = Vec::new();
    envelope(delivery, &mut json);
    words::escaped(&String::from_utf8_lossy(&json))
}

/// How a record looks in an export, as far as it can be told by what the chain holds of it: see
/// [`crate::journal::verify::export::UNSEALED`].
#[must_use]
pub fn exported(record: StoredRecord) -> String {
    escaped_envelope(&Delivery { record, environment: None })
}

/// Reads one page.
pub(super) async fn page(office: &Office, asked: ChangesAsked) -> Result<ChangesPage, Refusal> {
    let ChangesAsked { selection, form, place, limit, nameless } = asked;
    let through = place.through.unwrap_or_else(|| *office.journal.latest().borrow());
    let mut scan = Scan {
        office,
        filter: Filter::new(&selection),
        form,
        limit: limit.unwrap_or(MAX_ENTRIES).clamp(1, MAX_ENTRIES),
        nameless,
        page: ChangesPage::default(),
        stories: Stories::default(),
        bytes: 0,
        is_chained: place.is_chained,
        unchained: VecDeque::new(),
    };
    scan.hold(place.held).await?;
    let after = scan.run(place.after, through).await?;
    if after >= through {
        scan.tell_stories(|stories| stories.pop_any());
        return Ok(scan.page);
    }
    let held = scan.stories.sequences();
    scan.page.next = Some(ChangePlace { after, through: Some(through), held, is_chained: scan.is_chained });
    Ok(scan.page)
}

struct Scan<'a> {
    office: &'a Office,
    filter: Filter,
    form: ChangeForm,
    limit: usize,
    nameless: bool,
    page: ChangesPage,
    stories: Stories,
    bytes: usize,
    /// Whether the chain of what is told has begun.
    is_chained: bool,
    /// What is told and has no place in the chain yet.
    unchained: VecDeque<(Sequence, String)>,
}

impl Scan<'_> {
    /// Takes up what the last page left open; it was counted there.
    async fn hold(&mut self, held: Vec<Sequence>) -> Result<(), Refusal> {
        for row in self.office.journal.read_members(held).await? {
            if let ReadRow::Record(record) = row {
                let delivery = self.office.placed(*record);
                self.stories.push(self.told(delivery));
            }
        }
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.page.entries.len() >= self.limit || self.bytes >= MAX_BYTES
    }

    /// Scans on until the end, or the page is full; gives the last sequence that was scanned.
    async fn run(&mut self, mut after: Sequence, through: Sequence) -> Result<Sequence, Refusal> {
        let mut scanned = 0;
        while after < through && scanned < MAX_SCANNED && !self.is_full() {
            let outlines = self.office.journal.read_outlines(after, OUTLINES, false).await?;
            scanned += outlines.len();
            let mut outlines: VecDeque<Outline> =
                outlines.into_iter().take_while(|outline| outline.sequence <= through).collect();
            if outlines.is_empty() {
                return Ok(through);
            }
            while !outlines.is_empty() && !self.is_full() {
                after = self.take_chunk(&mut outlines, after).await?;
            }
        }
        Ok(after)
    }

    /// Takes outlines up to as many records as may be read at once, and what they stand for.
    async fn take_chunk(
        &mut self,
        outlines: &mut VecDeque<Outline>,
        mut after: Sequence,
    ) -> Result<Sequence, Refusal> {
        let from = after;
        let most = self.limit.saturating_sub(self.page.entries.len()).clamp(1, CHUNK_ROWS);
        let (mut wanted, mut bytes) = (Vec::new(), 0);
        while let Some(outline) = outlines.front() {
            if !wanted.is_empty() && (wanted.len() >= most || bytes + outline.size_bytes > CHUNK_BYTES) {
                break;
            }
            let Some(outline) = outlines.pop_front() else { break };
            if outline.sequence != after + 1 || after == 0 {
                self.page.notes.whole_since = Some(outline.accepted_at);
            }
            after = outline.sequence;
            if self.filter.is_in_time(outline.event_time.unwrap_or(outline.accepted_at)) {
                bytes += outline.size_bytes;
                wanted.push(outline);
            } else {
                self.stories.pass(&outline);
            }
        }
        let members: Vec<Sequence> = wanted.iter().map(|outline| outline.sequence).collect();
        let rows = self.office.journal.read_members(members).await?;
        self.page.notes.corrupt += wanted.len().saturating_sub(rows.len()) as u64;
        let mut passed = wanted.iter();
        for row in rows {
            if let Some(outline) = passed.find(|outline| outline.sequence == row.sequence()) {
                self.stories.pass(outline);
            }
            match row {
                ReadRow::Record(record) => self.take(self.office.placed(*record)),
                ReadRow::Corrupt { .. } => self.page.notes.corrupt += 1,
            }
            self.tell_stories(Stories::pop);
        }
        if self.form == ChangeForm::ChainedEnvelopes {
            self.chain(from + 1, after).await?;
        }
        Ok(after)
    }

    /// Takes a record of the time that was asked for.
    fn take(&mut self, delivery: Delivery) {
        let is_event = delivery.record.kind == RecordKind::Event;
        let fit = self.filter.fits(&delivery);
        let delivery = self.told(delivery);
        self.page.notes.tell(time_of(&delivery), &delivery);
        match fit {
            Fit::No => return,
            Fit::Unknown => {
                self.page.notes.undecided += u64::from(is_event);
                return;
            }
            Fit::Yes => self.page.notes.events += u64::from(is_event),
        }
        match self.form {
            ChangeForm::Stories if is_event => self.stories.push(delivery),
            ChangeForm::Stories => {}
            ChangeForm::Rows => self.add(ChangeEntry::Row(Box::new(ChangeRow::of(&delivery)))),
            ChangeForm::Envelopes => self.add(ChangeEntry::Envelope(escaped_envelope(&delivery))),
            ChangeForm::ChainedEnvelopes => {
                self.unchained.push_back((delivery.record.sequence, escaped_envelope(&delivery)));
            }
        }
    }

    /// A record as it may be told.
    fn told(&self, delivery: Delivery) -> Delivery {
        if self.nameless { nameless::delivery(&delivery) } else { delivery }
    }

    /// Tells the stories that `next` gives.
    fn tell_stories(&mut self, next: impl Fn(&mut Stories) -> Option<Vec<Delivery>>) {
        while let Some(members) = next(&mut self.stories) {
            let Some(first) = members.first() else { continue };
            let entry = ChangeEntry::Story {
                time: time_of(first),
                events: members.len() as u64,
                what: words::escaped(&telling::story(&members).headline.to_string()),
            };
            self.add(entry);
        }
    }

    fn add(&mut self, entry: ChangeEntry) {
        self.bytes += entry.size();
        self.page.entries.push(entry);
    }
}
