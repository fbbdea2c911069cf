//! What an outcome means: for the records that a request carried, and for the endpoint.

use super::*;

/// It asks for fewer requests: that speaks of all of them.
const LIMIT: &str = "http_429";

impl Engine {
    /// Takes in what became of a dispatch.
    pub(in crate::delivery) fn report(&mut self, chosen: Sequence, report: Report, now: Now) {
        let Some(parcel) = self.parcels.get_mut(&chosen) else { return };
        let number = parcel.number.take().unwrap_or_default();
        self.in_flight -= 1;
        let Some(part) = parcel.parts.front_mut() else { return };
        part.attempts = part.attempts.saturating_add(1);
        let attempts = part.attempts;
        part.thread = report.thread.or(part.thread.take());
        self.thread.clone_from(&part.thread);
        let sequences: BTreeMap<EventId, Sequence> =
            part.deliveries.iter().map(|delivery| (delivery.record.id, sequence_of(delivery))).collect();
        let find = |ids: &[EventId]| -> Vec<Sequence> {
            ids.iter().filter_map(|id| sequences.get(id).copied()).collect()
        };
        let counts = &mut self.changes.counts;
        let delivered = find(&report.delivered);
        let observed = find(&report.observed);
        let left_out = find(&report.left_out);
        counts.delivered += delivered.len() as u64;
        counts.observed += observed.len() as u64;
        counts.left_out += left_out.len() as u64;
        delivered.iter().for_each(|sequence| self.window.told(*sequence, now));
        let mut aside = left_out;
        for (id, reason) in report.unrenderable {
            let Some(sequence) = sequences.get(&id) else { continue };
            self.changes.dead.push(letter(*sequence, &reason, attempts));
            self.notices.push(Notice::Dead { id, reason, thread: self.thread.clone() });
            aside.push(*sequence);
        }
        if !report.delivered.is_empty() || report.failed.is_some() {
            self.rest(now);
        }
        if !report.delivered.is_empty() {
            self.was_tried = true;
            self.passed = self.passed.max(number);
            self.rejected = 0;
            let was_blocked = self.endpoint.state() == EndpointState::Blocked;
            if self.endpoint.passed(number, now) && was_blocked {
                self.notices.push(Notice::Unblocked);
            }
        }
        // What was in no request leaves its id as it is.
        self.settle_members(chosen, &aside, true);
        self.settle_members(chosen, &[delivered, observed].concat(), false);
        match report.failed {
            Some((members, outcome)) => {
                self.was_tried = true;
                self.failed(chosen, &members, outcome, (number, now));
            }
            None => self.not_rendered(chosen, attempts),
        }
        self.thread = None;
    }

    /// A part that no request carried and nothing was said about must not be tried for ever.
    fn not_rendered(&mut self, chosen: Sequence, attempts: u32) {
        let Some(part) = self.parcels.get(&chosen).and_then(|parcel| parcel.parts.front()) else { return };
        if part.attempts == 0 {
            return; // the next part of a parcel that was split
        }
        let reason = Reason { code: "not_rendered", message: "the destination made no request of it".into() };
        self.kill_members(chosen, &part.sequences(), &reason, attempts);
    }

    fn failed(&mut self, chosen: Sequence, members: &[EventId], outcome: Outcome, sent: (u64, Now)) {
        let (number, now) = sent;
        let passed = self.passed;
        let Some(part) = self.parcels.get_mut(&chosen).and_then(|parcel| parcel.parts.front_mut()) else {
            return;
        };
        // Others were sent since it failed last, and passed: then it is not the endpoint.
        let is_alone = part.failed.as_ref().is_some_and(|(_, then)| passed > *then)
            && !self.endpoint.is_of_before(number);
        let issued = self.endpoint.issued();
        let attempts = part.attempts;
        match outcome {
            Outcome::Delivered => {}
            Outcome::Rejected(reason) => self.rejected(chosen, members, &reason, sent),
            Outcome::Blocked { gone, reason } => {
                if is_alone && !gone {
                    return self.rejected(chosen, members, &reason, sent);
                }
                part.failed = Some((reason.clone(), issued));
                self.endpoint_blocks(number, gone, reason, now);
                self.remember_attempt(chosen);
            }
            Outcome::Retry { not_before, reason } => {
                let is_limit = reason.code == LIMIT;
                part.failed = Some((reason.clone(), issued));
                if is_alone && !is_limit {
                    let wait = retry_delay(&self.rules.retry, attempts, not_before);
                    part.not_before = Some(now.after(wait));
                    let id = part.id.clone();
                    self.notices.push(Notice::Parked {
                        id,
                        attempts,
                        wait,
                        reason,
                        thread: self.thread.clone(),
                    });
                    self.endpoint_answers(number);
                } else {
                    self.endpoint_fails(number, not_before, reason, now);
                }
                self.remember_attempt(chosen);
            }
        }
    }

    fn endpoint_fails(&mut self, number: u64, asked: Option<Duration>, reason: Reason, now: Now) {
        if let Some(wait) = self.endpoint.failed(number, asked, &reason, now) {
            let attempts = self.endpoint.attempts();
            self.notices.push(Notice::Waits { attempts, wait, reason, thread: self.thread.clone() });
        }
    }

    fn endpoint_blocks(&mut self, number: u64, gone: bool, reason: Reason, now: Now) {
        if self.endpoint.block(number, gone, &reason, now) {
            self.notices.push(Notice::Blocked { gone, reason, thread: self.thread.clone() });
        }
    }

    fn endpoint_answers(&mut self, number: u64) {
        if self.endpoint.answered(number) {
            self.notices.push(Notice::Unblocked);
        }
    }

    /// How often a group was tried survives a restart.
    fn remember_attempt(&mut self, chosen: Sequence) {
        let Some(part) = self.parcels.get_mut(&chosen).and_then(|parcel| parcel.parts.front_mut()) else {
            return;
        };
        part.is_journaled = true;
        self.changes.batches.insert(part.id.clone());
    }

    /// The receiver will not take what this request carried, and has said nothing of the endpoint.
    fn rejected(&mut self, chosen: Sequence, members: &[EventId], reason: &Reason, sent: (u64, Now)) {
        let (number, now) = sent;
        let is_single = members.len() == 1;
        if is_single {
            self.rejected = self.rejected.saturating_add(1);
        }
        if self.rejected >= self.rules.reject_limit {
            let so_many = format!("{} records in a row were rejected; the last time ", self.rejected);
            let message = reason.message.behind(&so_many);
            let limit = Reason { code: REJECT_LIMIT, message };
            let issued = self.endpoint.issued();
            if let Some(part) = self.parcels.get_mut(&chosen).and_then(|parcel| parcel.parts.front_mut()) {
                part.failed = Some((limit.clone(), issued));
            }
            self.endpoint_blocks(number, false, limit, now);
            // Halves of a group are asked with in its place.
            return if is_single {
                self.remember_attempt(chosen)
            } else {
                self.refuse(chosen, members, reason)
            };
        }
        self.endpoint_answers(number);
        self.refuse(chosen, members, reason);
    }

    /// One record alone dies; several are tried in halves.
    fn refuse(&mut self, chosen: Sequence, members: &[EventId], reason: &Reason) {
        let Some(parcel) = self.parcels.get_mut(&chosen) else { return };
        if let [only] = members {
            let Some(part) = parcel.parts.front() else { return };
            let attempts = part.attempts;
            let found = part.deliveries.iter().find(|delivery| delivery.record.id == *only).map(sequence_of);
            return self.kill_members(chosen, found.as_slice(), reason, attempts);
        }
        if let Some(part) = parcel.parts.front()
            && part.is_journaled
        {
            self.changes.batches.insert(part.id.clone());
        }
        parcel.split(&self.rules.destination, members, self.endpoint.issued());
    }

    /// Records of a parcel's first part are dead.
    pub(super) fn kill_members(
        &mut self,
        chosen: Sequence,
        gone: &[Sequence],
        reason: &Reason,
        attempts: u32,
    ) {
        let Some(part) = self.parcels.get(&chosen).and_then(|parcel| parcel.parts.front()) else { return };
        for delivery in part.deliveries.iter().filter(|delivery| gone.contains(&sequence_of(delivery))) {
            self.changes.dead.push(letter(sequence_of(delivery), reason, attempts));
            let (id, reason) = (delivery.record.id, reason.clone());
            self.notices.push(Notice::Dead { id, reason, thread: self.thread.clone() });
        }
        self.settle_members(chosen, gone, false);
    }

    /// Takes settled records out of a parcel's first part, and lets go of what the parcel held when nothing
    /// is left of it.
    pub(super) fn settle_members(&mut self, chosen: Sequence, gone: &[Sequence], keeps_id: bool) {
        if gone.is_empty() {
            return;
        }
        let Some(parcel) = self.parcels.get_mut(&chosen) else { return };
        let was_journaled = parcel.parts.front().is_some_and(|part| part.is_journaled);
        let parts = parcel.parts.len();
        let is_gone = |delivery: &Delivery| gone.contains(&sequence_of(delivery));
        if let Some(old) = parcel.remove(&self.rules.destination, is_gone, keeps_id)
            && was_journaled
        {
            self.changes.batches.insert(old);
            if parcel.parts.len() == parts {
                self.changes.batches.extend(parcel.parts.front().map(|part| part.id.clone()));
            }
        }
        for sequence in gone {
            self.window.settle(*sequence);
        }
        if parcel.parts.is_empty()
            && let Some(parcel) = self.parcels.remove(&chosen)
        {
            self.window.release(&parcel.places);
        }
    }

    /// What a replay's request says of the endpoint; it frees its slot. `failed_at`: how many requests had been
    /// made when it failed before. Whether others passed since, so that it speaks of the records alone.
    pub(in crate::delivery) fn end_replay(
        &mut self,
        outcome: &Outcome,
        failed_at: Option<u64>,
        now: Now,
    ) -> bool {
        let number = self.replay;
        self.in_flight -= 1;
        self.rest(now);
        self.was_tried = true;
        let is_limit = matches!(outcome, Outcome::Retry { reason, .. } if reason.code == LIMIT);
        let is_alone = failed_at.is_some_and(|then| self.passed > then) && !is_limit;
        match outcome {
            Outcome::Delivered => {
                self.passed = self.passed.max(number);
                self.endpoint.passed(number, now);
            }
            Outcome::Rejected(_) => {
                self.endpoint.answered(number);
            }
            Outcome::Retry { .. } | Outcome::Blocked { .. } if is_alone => {}
            Outcome::Retry { not_before, reason } => {
                self.endpoint_fails(number, *not_before, reason.clone(), now);
            }
            // Whether it is gone, what is new has to tell.
            Outcome::Blocked { reason, .. } => self.endpoint_blocks(number, false, reason.clone(), now),
        }
        is_alone
    }
}
