//! Envelopes with their place in the chain, so that what left the journal can be verified without it.

use super::{ChangeEntry, Scan};
use crate::admin::{Refusal, words};
use crate::event::Sequence;

impl Scan<'_> {
    /// Tells what waits for its place in the chain, between the places of all others of `from` to `through`, beginning
    /// with the first that is told.
    pub(super) async fn chain(&mut self, from: Sequence, through: Sequence) -> Result<(), Refusal> {
        let from = match self.unchained.front() {
            Some((first, _)) if !self.is_chained => *first,
            None if !self.is_chained => return Ok(()),
            _ => from,
        };
        self.is_chained = true;
        let whole = self.unchained.iter().map(|(sequence, _)| *sequence).collect();
        for sealed in self.office.journal.read_chain(from, through, whole).await? {
            let chain =
                serde_json::to_string(&sealed).map_err(|error| Refusal::failure(error.to_string()))?;
            let chain = words::escaped(&chain);
            let entry = match self.unchained.front() {
                Some((sequence, _)) if *sequence == sealed.sequence => {
                    let (_, mut json) = self.unchained.pop_front().unwrap_or_default();
                    json.pop();
                    json.push_str(&format!(",\"chain\":{chain}}}"));
                    ChangeEntry::Envelope(json)
                }
                _ => ChangeEntry::Place(format!("{{\"chain\":{chain}}}")),
            };
            self.add(entry);
        }
        // What could not be read now is missing from the chain, and whoever verifies it is told.
        self.unchained.clear();
        Ok(())
    }
}
