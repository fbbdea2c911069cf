//! What is sent when: the oldest first, as many side by side as may be, one alone to ask an endpoint that is unwell.

use super::*;

impl Engine {
    /// What is to be sent now. `is_caught_up`: nothing more can be read; `hurry`: groups do not wait for
    /// company. To be sent only after what [`Engine::take_commit`] then gives is committed.
    pub(in crate::delivery) fn next(&mut self, now: Now, is_caught_up: bool, hurry: bool) -> Vec<Dispatch> {
        let mut dispatches = Vec::new();
        if self.is_paused || self.resuming.is_open() && !is_caught_up {
            return dispatches;
        }
        while self.in_flight < self.concurrency() {
            if self.is_limited(now) {
                break;
            }
            let chosen = match self.endpoint.permit(now) {
                Permit::Nothing => None,
                Permit::Probe { .. } if self.in_flight > 0 => None,
                Permit::Probe { other_key } => self.choose_probe(other_key, now),
                Permit::All => self.choose(now, is_caught_up || self.window.room() == 0, hurry),
            };
            let Some(chosen) = chosen else { break };
            if self.too_old(chosen, now) {
                continue;
            }
            self.take_token(now);
            dispatches.extend(self.dispatch(chosen));
        }
        dispatches
    }

    /// Whether `rate_limit` allows no request now, or the receiver is given a pause.
    fn is_limited(&self, now: Now) -> bool {
        self.allowed_at().is_some_and(|at| at > now.steady)
    }

    /// When the next request is allowed, where that is limited.
    fn allowed_at(&self) -> Option<Duration> {
        self.bucket
            .as_ref()
            .map(Bucket::due_at)
            .max((!self.rests_until.is_zero()).then_some(self.rests_until))
    }

    /// A request has ended.
    pub(super) fn rest(&mut self, now: Now) {
        if !self.rules.limits.pause.is_zero() {
            self.rests_until = now.steady + self.rules.limits.pause;
        }
    }

    fn take_token(&mut self, now: Now) {
        if let Some(bucket) = &mut self.bucket {
            bucket.take(now.steady);
        }
    }

    /// The oldest parcel that is ready, or a new one.
    fn choose(&mut self, now: Now, is_caught_up: bool, hurry: bool) -> Option<Sequence> {
        let ready = self.parcels.iter().find(|(_, parcel)| is_ready(parcel, now)).map(|(first, _)| *first);
        if ready.is_some() {
            return ready;
        }
        let limits = &self.rules.limits;
        let moment = self.moment(now, hurry);
        let pick = match limits.grouping {
            Grouping::Any => {
                let is_full = self.window.pending() >= limits.max_events.max(1)
                    || self.window.pending_bytes() >= limits.max_bytes;
                let has_waited = self.window.first_due_at().is_some_and(|at| now.steady >= at);
                (is_full || is_caught_up && (hurry || has_waited)).then_some(Pick::Oldest)
            }
            // What belongs together is read before any of it goes.
            grouping if is_caught_up => self.window.ripe(grouping, limits.max_events, moment),
            _ => None,
        };
        self.take_new(pick?, moment)
    }

    fn moment(&self, now: Now, hurry: bool) -> Moment {
        Moment { now: now.steady, hurry, is_pressed: self.window.room() == 0 }
    }

    fn take_new(&mut self, pick: Pick, moment: Moment) -> Option<Sequence> {
        let deliveries = self.window.take(&self.rules.limits, pick, moment);
        if deliveries.is_empty() {
            return None;
        }
        self.add_parcel(Part::new(&self.rules.destination, deliveries))
    }

    /// What to ask the endpoint with: the oldest record, or one that has no key in common with it.
    fn choose_probe(&mut self, other_key: bool, now: Now) -> Option<Sequence> {
        // Whoever asks does not wait for company.
        let moment = self.moment(now, true);
        let pick = match self.rules.limits.grouping {
            Grouping::ChangeSet => Pick::Set,
            Grouping::Any | Grouping::Digest => Pick::Oldest,
        };
        let idle = |parcel: &Parcel| parcel.number.is_none();
        let oldest = self.parcels.iter().find(|(_, parcel)| idle(parcel)).map(|(first, _)| *first);
        let Some(oldest) = oldest else { return self.take_new(pick, moment) };
        if !other_key {
            return Some(oldest);
        }
        // A fresh one first: those that were tried already have failed like the oldest.
        if let Some(fresh) = self.take_new(pick, moment) {
            return Some(fresh);
        }
        let others: Vec<Sequence> = self
            .parcels
            .iter()
            .filter(|(first, parcel)| **first != oldest && idle(parcel))
            .map(|(first, _)| *first)
            .collect();
        let turn = self.endpoint.other_key_probes();
        others.get(turn.checked_rem(others.len()).unwrap_or(0)).copied().or(Some(oldest))
    }

    fn dispatch(&mut self, chosen: Sequence) -> Option<Dispatch> {
        let parcel = self.parcels.get_mut(&chosen)?;
        let part = parcel.parts.front_mut()?;
        parcel.number = Some(self.endpoint.issue());
        part.not_before = None;
        // One that goes alone where others could join it must not be joined after a crash: that is another id.
        let is_group = part.deliveries.len() > 1 || self.rules.limits.max_events > 1;
        if is_group && !part.is_journaled && !self.rules.observe {
            part.is_journaled = true;
            self.changes.batches.insert(part.id.clone());
        }
        self.in_flight += 1;
        Some(Dispatch {
            parcel: chosen,
            id: part.id.clone(),
            attempt: part.attempts + 1,
            thread: part.thread.clone(),
        })
    }

    /// The records of a dispatch.
    pub(in crate::delivery) fn deliveries(&self, dispatch: &Dispatch) -> &[Delivery] {
        let part = self.parcels.get(&dispatch.parcel).and_then(|parcel| parcel.parts.front());
        part.map_or(&[], |part| &part.deliveries)
    }

    /// Whether a replay may use a slot and a token now, which are taken if so.
    pub(in crate::delivery) fn begin_replay(&mut self, now: Now) -> bool {
        let may = match self.endpoint.permit(now) {
            Permit::All => self.in_flight < self.concurrency(),
            // Only where nothing else is there to ask with.
            Permit::Probe { .. } => self.in_flight == 0 && !self.has_something_to_send(now),
            Permit::Nothing => false,
        };
        if self.is_paused || self.is_limited(now) || !may {
            return false;
        }
        self.take_token(now);
        self.replay = self.endpoint.issue();
        self.in_flight += 1;
        true
    }

    /// A replay's request was not made after all.
    pub(in crate::delivery) fn cancel_replay(&mut self) {
        self.in_flight -= 1;
    }

    /// When there is something to send again without anything else happening, by the steady clock; asked
    /// after [`Engine::next`] had nothing (more).
    pub(in crate::delivery) fn wake_at(
        &self,
        now: Now,
        is_caught_up: bool,
        has_replay: bool,
    ) -> Option<Duration> {
        if self.is_paused || self.endpoint.state() == EndpointState::Gone {
            return None;
        }
        let limited = self.allowed_at().filter(|at| *at > now.steady);
        let has_something = self.has_something_to_send(now) || has_replay;
        let mut soonest = limited.filter(|_| has_something);
        let mut consider = |at: Option<Duration>| {
            soonest = soonest.into_iter().chain(at.filter(|at| *at > now.steady)).min()
        };
        if let Some((at, _)) = self.endpoint.due_at() {
            consider(Some(at).filter(|_| self.in_flight == 0 && has_something));
            consider(self.window.held(now.steady).1.map(|(until, _)| until));
        } else if self.in_flight < self.concurrency() {
            let idle = self.parcels.values().filter(|parcel| parcel.number.is_none());
            consider(idle.filter_map(|parcel| parcel.parts.front()?.not_before.map(|(at, _)| at)).min());
            if is_caught_up || self.window.room() == 0 {
                consider(self.window.ripe_at(now.steady));
            }
        }
        soonest.filter(|at| *at > now.steady)
    }
}
