//! What is told to those who have not said who they are: everything but the names of people.

use std::collections::BTreeMap;

use super::Report;
use super::text;
use crate::config::plan::{RedactPlan, Redaction};
use crate::destination::Delivery;
use crate::destination::redact::{MASK, redacted};
use crate::event::RecordKind;
use crate::journal::Act;

/// A record without the actor's name, addresses and pictures, or the operator's; of what cannot be read nobody
/// knows what it holds, so nothing of it is told.
pub(super) fn delivery(delivery: &Delivery) -> Delivery {
    let mask = Some(Redaction::Mask);
    let plan = RedactPlan { email: mask, ip: mask, name: mask, fields: BTreeMap::new() };
    let mut told = redacted(delivery, &plan);
    if told.record.kind == RecordKind::Act {
        let act = serde_json::from_slice::<Act>(&told.record.original).ok();
        let act = act.map(|act| Act { by: MASK.to_owned(), ..act });
        told.record.original = act.and_then(|act| serde_json::to_vec(&act).ok()).unwrap_or_default();
    }
    told
}

/// A sentence without what follows its first colon: there stands what somebody else said, who may have repeated
/// what is in an event.
pub(super) fn own_words(sentence: &str) -> &str {
    sentence.split(':').next().unwrap_or_default()
}

/// A report without the names of operators, and without what receivers said.
pub(super) fn report(mut report: Report) -> Report {
    for destination in report.destinations.iter_mut().chain(&mut report.orphans) {
        let replays = destination.replays.iter_mut().map(|replay| &mut replay.asked_by);
        for by in replays.chain([&mut destination.paused_by]).flatten() {
            MASK.clone_into(by);
        }
        // What is wrong with the configuration the relay says itself; why it is paused, an operator.
        let is_answer = destination.code.as_deref().is_some_and(|code| code != "configuration");
        let reason = destination.reason.as_mut().filter(|_| is_answer);
        for said in reason.into_iter().chain(&mut destination.last_error) {
            *said = own_words(said).to_owned();
        }
    }
    report.verdict = text::verdict(&report);
    report
}
