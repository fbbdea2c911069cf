//! What records die of without being refused: age, and too large a backlog.

use super::*;

/// A destination that takes what it gets is given this long to catch up with a burst before anything dies of
/// its backlog: until then the intake may have to wait for it.
const BURST: Duration = Duration::from_secs(60);

/// Whether a receiver that takes nothing older would refuse a record for its own time.
pub(in crate::delivery) fn is_too_old(delivery: &Delivery, max_age: Duration, now: Now) -> bool {
    let record = &delivery.record;
    now.is_wall_sure && now.wall.since(record.event_time.unwrap_or(record.accepted_at)) > max_age
}

/// Why it is not sent.
pub(in crate::delivery) fn too_old(max_age: Duration) -> Reason {
    let age = humantime::format_duration(max_age);
    Reason {
        code: "expired",
        message: format!("it happened more than {age} ago: the receiver would refuse it").into(),
    }
}

impl Engine {
    /// Lets records die that the receiver would refuse for their own time; whether nothing is left to send.
    pub(super) fn too_old(&mut self, chosen: Sequence, now: Now) -> bool {
        let Some(max_age) = self.rules.limits.max_event_age.filter(|_| now.is_wall_sure) else {
            return false;
        };
        let Some(parcel) = self.parcels.get_mut(&chosen) else { return true };
        let attempts = parcel.parts.front().map_or(0, |part| part.attempts);
        let is_old = |delivery: &Delivery| is_too_old(delivery, max_age, now);
        let old: Vec<Sequence> = parcel
            .parts
            .front()
            .map(|part| part.deliveries.iter().filter(|delivery| is_old(delivery)).map(sequence_of).collect())
            .unwrap_or_default();
        if old.is_empty() {
            return false;
        }
        let reason = too_old(max_age);
        self.kill_members(chosen, &old, &reason, attempts);
        self.notices.retain(|notice| !matches!(notice, Notice::Dead { reason: dead, .. } if *dead == reason));
        self.notices.push(Notice::ManyDead { count: old.len() as u64, code: reason.code });
        !self.parcels.contains_key(&chosen)
    }

    /// Lets records die that are older than `expire_after`; those on their way, and all before the first
    /// attempt since the start, are left.
    pub(in crate::delivery) fn expire(&mut self, now: Now) {
        let Some(after) = self.rules.expire_after.filter(|_| self.was_tried) else { return };
        let Some(limit) = now.running.checked_sub(after) else { return };
        if self.window.oldest().is_none_or(|(_, running, _)| running >= limit) {
            return;
        }
        let message = format!("not delivered within {}", humantime::format_duration(after));
        let old = self.window.accepted_before(limit);
        self.kill(&old, &Reason { code: "expired", message: message.into() });
    }

    /// When the oldest waiting record expires, by the steady clock.
    pub(in crate::delivery) fn expires_at(&self, now: Now) -> Option<Duration> {
        let after = self.rules.expire_after.filter(|_| self.was_tried)?;
        let (_, running, _) = self.window.oldest()?;
        let left = (running + after).checked_sub(now.running)?;
        Some(now.steady + left + Duration::from_millis(1))
    }

    /// Lets the oldest records die while more is kept for this destination than it may.
    /// `bytes_ahead`: what was accepted after all that was read.
    pub(in crate::delivery) fn bound_backlog(&mut self, bytes_ahead: u64, now: Now) {
        let Some(limit) = self.rules.backlog_max_bytes else { return };
        let is_well = self.endpoint.state() == EndpointState::Running && !self.is_paused;
        let mut killed = 0;
        while self.window.bytes() + bytes_ahead > limit {
            let Some((oldest, running, is_pending)) = self.window.oldest() else { break };
            if is_well && now.running < running + BURST {
                break;
            }
            let message = format!("the journal had to keep more than {limit} bytes for this destination");
            if self.kill_quietly(
                &[(oldest, is_pending)],
                &Reason { code: "backlog_limit", message: message.into() },
            ) == 0
            {
                break; // it is on its way
            }
            killed += 1;
        }
        if killed > 0 {
            self.notices.push(Notice::ManyDead { count: killed, code: "backlog_limit" });
        }
    }

    fn kill(&mut self, records: &[(Sequence, bool)], reason: &Reason) {
        let count = self.kill_quietly(records, reason);
        if count > 0 {
            self.notices.push(Notice::ManyDead { count, code: reason.code });
        }
    }

    /// Waiting records, and those in parcels that are not on their way. Returns how many died.
    fn kill_quietly(&mut self, records: &[(Sequence, bool)], reason: &Reason) -> u64 {
        let mut count = 0;
        for (sequence, is_pending) in records {
            if *is_pending {
                self.changes.dead.push(letter(*sequence, reason, 0));
                self.window.settle(*sequence);
                count += 1;
                continue;
            }
            let holder = self.parcels.iter().find_map(|(first, parcel)| {
                let part = parcel.parts.front().filter(|_| parcel.number.is_none())?;
                let holds = part.deliveries.iter().any(|delivery| sequence_of(delivery) == *sequence);
                holds.then_some((*first, part.attempts))
            });
            if let Some((holder, attempts)) = holder {
                self.changes.dead.push(letter(*sequence, reason, attempts));
                self.settle_members(holder, &[*sequence], false);
                count += 1;
            }
        }
        count
    }
}
