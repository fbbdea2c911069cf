//! The newest changes: a stretch of the journal read from its end, told as Slack and the command line tell it.

use std::collections::HashMap;

use serde::Serialize;

use super::moment::Moment;
use super::question::Question;
use super::way::{WayView, Ways};
use crate::admin::changes::Fit;
use crate::admin::words::{brief, count, escaped};
use crate::admin::{Office, Refusal, nameless};
use crate::destination::Delivery;
use crate::destination::telling::{self, Account, Role, Sentence};
use crate::event::{Sequence, Timestamp};
use crate::journal::{Outline, ReadRow};

/// Changes on a page.
pub(super) const SHOWN: usize = 50;

/// Records that are looked at first; where these tell too few changes, four times as many, …
pub(super) const FIRST_LOOK: u64 = 256;

/// … and at most so many.
pub(super) const LAST_LOOK: u64 = 16_384;

/// Bytes of records that are read for one page, unless one alone is larger.
const MAX_BYTES: u64 = 8 << 20;

/// Bytes of records that are read at once, likewise.
const CHUNK_BYTES: u64 = 1 << 20;

/// A sentence is told up to here.
const MAX_SENTENCE: usize = 500;

/// A stretch of the journal.
pub(super) struct Stretch {
    /// The records that were asked for, in order.
    pub(super) deliveries: Vec<Delivery>,
    /// All records after this one were looked at, up to where the page begins.
    pub(super) after: Sequence,
    /// How many were looked at.
    pub(super) looked: u64,
    /// Whether that were all there are.
    pub(super) is_whole: bool,
    /// When the earliest of them was accepted.
    pub(super) since: Option<Timestamp>,
    /// Records that were altered since they were accepted.
    pub(super) corrupt: u64,
}

/// A change, as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct ChangeView {
    /// The id of its last record.
    pub(super) id: String,
    pub(super) time: Moment,
    pub(super) emoji: &'static str,
    pub(super) pieces: Vec<Piece>,
    /// How many events it is made of, where these are several.
    pub(super) events: Option<String>,
    pub(super) ways: Vec<WayView>,
    /// Destinations that are not shown.
    pub(super) more_ways: usize,
}

/// A piece of a sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Piece {
    pub(super) strong: bool,
    pub(super) text: String,
}

/// A page of changes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub(super) struct Told {
    pub(super) changes: Vec<ChangeView>,
    /// Where older ones begin.
    pub(super) before: Option<Sequence>,
    /// What must be known of this list.
    pub(super) notes: Vec<String>,
}

/// Reads `look` records from the end, or from where the page begins.
pub(super) async fn read(office: &Office, question: &Question, look: u64) -> Result<Stretch, Refusal> {
    let journal = office.journal();
    let latest = *journal.latest().borrow();
    let top = question.before.map_or(latest, |before| before.saturating_sub(1).min(latest));
    let begin = top.saturating_sub(look);
    let first = journal.read_outlines(0, 1, false).await?.first().map_or(0, |outline| outline.sequence);
    let rows = usize::try_from(look).unwrap_or(usize::MAX);
    let mut outlines = journal.read_outlines(begin, rows, false).await?;
    outlines.retain(|outline| outline.sequence <= top);
    let filter = question.filter();
    let mut stretch = Stretch {
        deliveries: Vec::new(),
        after: begin,
        looked: outlines.len() as u64,
        is_whole: begin == 0 || begin < first,
        since: outlines.first().map(|outline| outline.accepted_at),
        corrupt: 0,
    };
    let time = |outline: &Outline| outline.event_time.unwrap_or(outline.accepted_at);
    let mut bytes = 0;
    if let Some(cut) = outlines.iter().rposition(|outline| {
        bytes += if filter.is_in_time(time(outline)) { outline.size_bytes } else { 0 };
        bytes > MAX_BYTES
    }) && cut + 1 < outlines.len()
    {
        let rest = outlines.split_off(cut + 1);
        stretch.after = outlines[cut].sequence;
        (stretch.is_whole, stretch.looked) = (false, rest.len() as u64);
        outlines = rest;
    }
    outlines.retain(|outline| filter.is_in_time(time(outline)));
    for members in chunks(&outlines) {
        for row in journal.read_members(members).await? {
            let ReadRow::Record(record) = row else {
                stretch.corrupt += 1;
                continue;
            };
            let delivery = office.placed(*record);
            if filter.fits(&delivery) == Fit::Yes {
                stretch.deliveries.push(delivery);
            }
        }
    }
    Ok(stretch)
}

fn chunks(outlines: &[Outline]) -> Vec<Vec<Sequence>> {
    let mut chunks: Vec<Vec<Sequence>> = Vec::new();
    let mut bytes = u64::MAX;
    for outline in outlines {
        bytes = bytes.saturating_add(outline.size_bytes);
        if bytes > CHUNK_BYTES {
            chunks.push(Vec::new());
            bytes = outline.size_bytes;
        }
        chunks.last_mut().into_iter().for_each(|chunk| chunk.push(outline.sequence));
    }
    chunks
}

/// Tells a stretch, newest first. Takes its time: not to be called where others wait.
pub(super) fn tell(
    stretch: &Stretch,
    question: &Question,
    ways: &Ways,
    sees_names: bool,
    now: Timestamp,
) -> Told {
    let nameless: Vec<Delivery>;
    let deliveries = if sees_names {
        &stretch.deliveries
    } else {
        nameless = stretch.deliveries.iter().map(nameless::delivery).collect();
        &nameless
    };
    let real: HashMap<Sequence, &Delivery> =
        stretch.deliveries.iter().map(|delivery| (delivery.record.sequence, delivery)).collect();
    let accounts = telling::accounts(deliveries);
    let mut found: Vec<Found<'_>> = accounts.told.iter().map(Found::of).collect();
    found.extend(accounts.empty.iter().map(|delivery| Found::empty(delivery)));
    found.retain(|found| {
        (!question.live || found.live == Some(true))
            && (question.q.is_empty() || question.finds(&found.text()))
    });
    found.sort_unstable_by_key(|found| std::cmp::Reverse(found.last().record.sequence));
    let rest = found.split_off(found.len().min(SHOWN));
    let before = match rest.first() {
        Some(next) => Some(next.last().record.sequence + 1),
        None => (!stretch.is_whole).then_some(stretch.after + 1),
    };
    let changes = found.iter().map(|found| {
        let members = found.members.iter().filter_map(|member| real.get(&member.record.sequence).copied());
        let (ways, more_ways) = ways.of_set(members);
        ChangeView {
            id: found.last().record.id.to_string(),
            time: Moment::of(found.time, now),
            emoji: found.emoji,
            pieces: pieces(&found.headline),
            events: (found.members.len() > 1).then(|| count(found.members.len() as u64, "event")),
            ways,
            more_ways,
        }
    });
    Told { changes: changes.collect(), before, notes: notes(stretch, question, rest.is_empty(), now) }
}

fn notes(stretch: &Stretch, question: &Question, is_all: bool, now: Timestamp) -> Vec<String> {
    let mut notes = Vec::new();
    notes.extend(question.problem.iter().map(|problem| escaped(problem)));
    if let Some(since) = stretch.since.filter(|_| is_all && !stretch.is_whole) {
        notes.push(format!(
            "Looked at {}, accepted since {}.",
            count(stretch.looked, "record"),
            Moment::of(since, now).text
        ));
    }
    if stretch.corrupt > 0 {
        notes.push(format!("{} altered since acceptance, and not shown.", count(stretch.corrupt, "record")));
    }
    notes
}

/// The pieces of a sentence, what matters set off.
pub(super) fn pieces(sentence: &Sentence) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    for (role, text) in &sentence.pieces {
        let (strong, text) = (*role != Role::Plain, escaped(text));
        match pieces.last_mut() {
            Some(last) if last.strong == strong => last.text.push_str(&text),
            _ => pieces.push(Piece { strong, text }),
        }
    }
    pieces
}

/// A change that was found.
struct Found<'a> {
    members: Vec<&'a Delivery>,
    headline: Sentence,
    emoji: &'static str,
    time: Timestamp,
    live: Option<bool>,
    account: Option<&'a Account<'a>>,
}

impl<'a> Found<'a> {
    fn of(account: &'a Account<'a>) -> Self {
        Self {
            members: account.deliveries.clone(),
            headline: account.story.headline.clone(),
            emoji: account.emoji(),
            time: account.effect_at,
            live: account.live,
            account: Some(account),
        }
    }

    /// An event that changed nothing.
    fn empty(delivery: &'a Delivery) -> Self {
        Self {
            members: vec![delivery],
            headline: telling::sentence(delivery),
            emoji: "⚙️",
            time: delivery.record.event_time.unwrap_or(delivery.record.accepted_at),
            live: Some(false),
            account: None,
        }
    }

    /// Its members are never none.
    fn last(&self) -> &'a Delivery {
        self.members[self.members.len() - 1]
    }

    /// What a search looks through.
    fn text(&self) -> String {
        let mut text = brief(&self.headline.to_string(), MAX_SENTENCE);
        let record = &self.last().record;
        let mut add = |more: &str| {
            text.push(' ');
            text.push_str(more);
        };
        add(&record.source);
        add(record.namespace.known().unwrap_or_default());
        add(self.last().environment.as_deref().unwrap_or_default());
        self.members.iter().for_each(|member| add(&member.record.id.to_string()));
        if let Some(account) = self.account {
            if let Some(subject) = &account.subject {
                add(subject.key.as_deref().unwrap_or_default());
                add(subject.name.as_deref().unwrap_or_default());
            }
            if let Some(doer) = &account.doer {
                add(doer.name.as_deref().unwrap_or_default());
                add(doer.email.as_deref().unwrap_or_default());
            }
        }
        text
    }
}
