//! Reads records for a lane: whole ones for its window, and outlines of what lies beyond, so that the
//! numbers of a lane that stands still stay true.

use tokio::sync::watch;

use super::clock::Now;
use super::engine::{Engine, Looked};
use super::judge::{Decision, Judge};
use super::window::ROW_BYTES;
use crate::destination::{Delivery, Destination};
use crate::event::Sequence;
use crate::journal::{Journal, JournalError, ReadLimit, ReadRow};

/// How much is read at once.
const READ_LIMIT: ReadLimit = ReadLimit { max_rows: 512, max_bytes: 1024 * 1024 };
/// How many outlines are read at once.
const OUTLINES: usize = 1_024;

/// What was decided on beyond the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Outlook {
    /// Everything up to here is decided on.
    pub(super) read_to: Sequence,
    pub(super) not_routed: u64,
    pub(super) before_since: u64,
    /// About what the journal keeps of all of it, in bytes.
    pub(super) bytes: u64,
}

impl Outlook {
    /// The window has come to `read_to`, and decided alike on the way.
    fn follow(&mut self, read_to: Sequence) {
        if read_to >= self.read_to {
            *self = Self { read_to, ..Self::default() };
        }
    }

    fn leave(&mut self, sequence: Sequence, decision: &Decision, size_bytes: u64) {
        if sequence > self.read_to {
            return;
        }
        self.bytes = self.bytes.saturating_sub(size_bytes + ROW_BYTES);
        match decision {
            Decision::NotRouted => self.not_routed = self.not_routed.saturating_sub(1),
            Decision::BeforeSince => self.before_since = self.before_since.saturating_sub(1),
            Decision::Mine(_) => {}
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Inbox {
    judge: Judge,
    journal: Journal,
    latest: watch::Receiver<Sequence>,
    outlook: Outlook,
}

impl Inbox {
    /// Begins after `cursor`.
    pub(super) fn new(judge: Judge, journal: Journal, cursor: Sequence) -> Self {
        let latest = journal.latest();
        Self { judge, journal, latest, outlook: Outlook { read_to: cursor, ..Outlook::default() } }
    }

    pub(super) fn judge(&self) -> &Judge {
        &self.judge
    }

    pub(super) fn outlook(&self) -> Outlook {
        self.outlook
    }

    /// The last sequence of the journal.
    pub(super) fn latest(&self) -> Sequence {
        *self.latest.borrow()
    }

    /// Returns when the journal holds more than was last seen; false once it is closed.
    pub(super) async fn more(&mut self) -> bool {
        self.latest.changed().await.is_ok()
    }

    /// Reads on into the window; false where nothing new is there.
    pub(super) async fn read(
        &mut self,
        engine: &mut Engine,
        destination: Option<&dyn Destination>,
        now: Now,
    ) -> Result<bool, JournalError> {
        let latest = *self.latest.borrow_and_update();
        let after = engine.window().read_to();
        let max_rows = READ_LIMIT.max_rows.min(engine.room());
        if after >= latest || max_rows == 0 {
            return Ok(false);
        }
        let rows = self.journal.read_after(after, ReadLimit { max_rows, ..READ_LIMIT }).await?;
        if rows.is_empty() {
            engine.look_past(latest.min(engine.window().horizon()), now); // what was between is gone
        }
        for row in rows {
            let sequence = row.sequence();
            if sequence > engine.window().horizon() {
                engine.stop_before(sequence); // a hole lies between: first what is before it
                break;
            }
            let looked = match row {
                ReadRow::Corrupt { .. } => Looked::Corrupt(sequence),
                ReadRow::Record(record) => {
                    let decision = self.judge.decide(&record);
                    let size_bytes = record.size_bytes() as u64;
                    self.outlook.leave(sequence, &decision, size_bytes);
                    match decision {
                        Decision::Mine(environment) => {
                            let delivery = Delivery { record: *record, environment };
                            let company = destination.map(|destination| destination.company(&delivery));
                            match company.unwrap_or_default() {
                                company if company.is_left_out => Looked::LeftOut { sequence, size_bytes },
                                company => Looked::Mine(Box::new(delivery), company),
                            }
                        }
                        Decision::NotRouted => Looked::NotRouted { sequence, size_bytes },
                        Decision::BeforeSince => Looked::BeforeSince { sequence, size_bytes },
                    }
                }
            };
            engine.look(looked, now);
        }
        self.outlook.follow(engine.window().read_to());
        Ok(engine.window().read_to() > after)
    }

    /// Decides on some of what lies beyond the window; false where all is decided on.
    pub(super) async fn look_out(&mut self, window_read_to: Sequence) -> Result<bool, JournalError> {
        self.outlook.follow(window_read_to);
        let latest = *self.latest.borrow_and_update();
        if self.outlook.read_to >= latest {
            return Ok(false);
        }
        let after = self.outlook.read_to;
        let outlines = self.journal.read_outlines(after, OUTLINES, self.judge.asks_original()).await?;
        self.outlook.read_to = outlines.last().map_or(latest, |last| last.sequence);
        for outline in &outlines {
            self.outlook.bytes += outline.size_bytes + ROW_BYTES;
            match self.judge.decide_outline(outline) {
                Decision::NotRouted => self.outlook.not_routed += 1,
                Decision::BeforeSince => self.outlook.before_since += 1,
                Decision::Mine(_) => {}
            }
        }
        Ok(true)
    }
}
