//! What a replay would send, without sending it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Office, Refusal, letters, sentence};
use crate::delivery::ReplayFilter;
use crate::event::{EventId, StoredRecord, Timestamp};
use crate::journal::{
    DeadLetterSelection, NewReplay, ReadLimit, ReadRow, ReplayId, ReplayRow, ReplaySelection,
};

/// How much is read at once.
const PAGE: ReadLimit = ReadLimit { max_rows: 256, max_bytes: 1 << 20 };

/// How many records are told.
const GLIMPSES: usize = 5;

/// What a replay would send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preview {
    /// Where to.
    pub destination: String,
    /// How many records.
    pub records: u64,
    /// The first of them.
    pub first: Vec<Glimpse>,
    /// Whether it stopped here because nobody confirmed, at a destination where people are called to look.
    pub unconfirmed: bool,
}

/// One record of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Glimpse {
    /// Its id.
    pub id: EventId,
    /// The event's own time, else when it was accepted.
    pub time: Timestamp,
    /// What it tells, in a sentence.
    pub what: String,
}

/// Reads what the replay would send.
pub(super) async fn preview(
    office: &Office,
    replay: NewReplay,
    unconfirmed: bool,
) -> Result<Preview, Refusal> {
    let mut preview =
        Preview { destination: replay.destination.clone(), records: 0, first: Vec::new(), unconfirmed };
    match &replay.selection {
        ReplaySelection::DeadLetters => look_at_letters(office, &replay.destination, &mut preview).await?,
        _ => look_at_records(office, replay, &mut preview).await?,
    }
    Ok(preview)
}

async fn look_at_letters(office: &Office, destination: &str, preview: &mut Preview) -> Result<(), Refusal> {
    let selection = DeadLetterSelection { destination: Some(destination.to_owned()), ..Default::default() };
    let mut place = None;
    loop {
        let page = office.journal.dead_letters(selection.clone(), place, letters::PAGE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        place = Some(letters::place(last));
        for record in page.into_iter().filter_map(|letter| letter.record) {
            preview.count(office, *record);
        }
    }
}

async fn look_at_records(office: &Office, replay: NewReplay, preview: &mut Preview) -> Result<(), Refusal> {
    let (filter, judge) = (ReplayFilter::of(&replay.selection), office.judge(&replay.destination));
    let mut missing: BTreeSet<EventId> = match &replay.selection {
        ReplaySelection::Ids(ids) => ids.iter().copied().collect(),
        _ => BTreeSet::new(),
    };
    let mut row = as_if_asked(office, replay);
    while let Some(page) = Some(office.journal.read_replay(&row, PAGE).await?).filter(|page| !page.is_empty())
    {
        for read in page {
            row.position = read.sequence();
            let ReadRow::Record(record) = read else { continue };
            missing.remove(&record.id);
            if filter.takes(&judge, &record) {
                preview.count(office, *record);
            }
        }
    }
    match missing.first() {
        None => Ok(()),
        Some(id) => {
            let more = missing.len() - 1;
            let more = if more > 0 { format!(", nor {more} more of these") } else { String::new() };
            Err(Refusal::failure(format!("the journal does not have {id}{more}")))
        }
    }
}

impl Preview {
    fn count(&mut self, office: &Office, record: StoredRecord) {
        self.records += 1;
        if self.first.len() < GLIMPSES {
            let delivery = office.placed(record);
            let record = &delivery.record;
            let time = record.event_time.unwrap_or(record.accepted_at);
            self.first.push(Glimpse { id: record.id, time, what: sentence(&delivery) });
        }
    }
}

/// The row that the journal would make of it.
pub(super) fn as_if_asked(office: &Office, replay: NewReplay) -> ReplayRow {
    ReplayRow {
        id: ReplayId(0),
        destination: replay.destination,
        selection: replay.selection,
        through: *office.journal.latest().borrow(),
        total: 0,
        position: 0,
        rate: replay.rate,
        replayed: 0,
        failed: 0,
        asked_by: None,
        created_at: Timestamp::now(),
        finished_at: None,
    }
}
