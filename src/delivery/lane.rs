//! The lane of one destination: it reads records, asks the [`Engine`] what to do, commits, and sends.
//!
//! All decisions are the engine's; all waiting, reading, committing and sending is here.

mod replaying;
mod setup;
mod spans;
mod telling;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::clock::{Clock, Now};
use super::courier::carry;
use super::engine::{Dispatch, Engine, Report};
use super::handle::{LaneHandle, LaneOrder};
use super::inbox::Inbox;
use super::judge::Judge;
use super::memory::Share;
use super::meter::Meter;
use super::replay::Replays;
use super::sender::Sender;
use super::standing::Standing;
use crate::config::plan::DeliverSince;
use crate::destination::{Destination, Outcome, RenderContext, Rendered};
use crate::event::{EventId, Sequence, Timestamp};
use crate::journal::{Act, ActKind, EndpointState, Journal, JournalError, Pause};
use crate::telemetry::traces::Outgoing;

use setup::rules;
pub use setup::{LaneEnd, LaneSetup, Role, Stop};

/// How many passed-over records may be unsettled before they are committed on their own.
const MAX_UNSETTLED: u64 = 4_096;
/// How long to wait after the journal failed before asking it again.
const JOURNAL_RETRY: Duration = Duration::from_secs(1);
/// How often a lane that works looks beyond its window: what lies there is counted, at little cost.
const LOOK_OUT_INTERVAL: Duration = Duration::from_secs(1);

/// The lane of one destination.
pub struct Lane {
    name: String,
    link: Option<(Arc<dyn Destination>, Sender)>,
    timeout: Duration,
    journal: Journal,
    engine: Engine,
    inbox: Inbox,
    replays: Replays,
    tasks: JoinSet<(Ticket, Report)>,
    clock: Clock,
    share: Share,
    meter: Meter,
    spans: spans::Spans,
    standing: Standing,
    deaths: telling::Deaths,
    remarks: telling::Remarks,
    history: telling::History,
    orders: mpsc::Receiver<LaneOrder>,
    died: Arc<tokio::sync::Notify>,
    stop: Stop,
    /// Whether draining has cut the waits short already.
    has_cut_short: bool,
    /// Whether the next request is a replay's, where one waits.
    is_replays_turn: bool,
    next_look_out: Duration,
}

/// What a task is about.
enum Ticket {
    Parcel(Sequence),
    Replay,
}

/// Something that is rendered and waits for the commit before it goes.
struct Ready {
    ticket: Ticket,
    rendered: Rendered,
    outgoing: Option<Outgoing>,
}

/// The lane has to end now.
struct Interrupted;

type Step<T> = Result<T, Interrupted>;

impl Lane {
    /// A lane that begins where the journal says.
    #[must_use]
    pub fn new(setup: LaneSetup) -> (Self, LaneHandle) {
        let LaneSetup { row, role, routes, source_environments, journal, memory, meter, tracer, died, stop } =
            setup;
        let mut clock = Clock::new(journal.clone());
        let name = row.name.clone();
        let (plan, link, problem, is_orphan) = match role {
            Role::Configured(plan, Ok(link)) => (Ok(plan), Some(link), None, false),
            Role::Configured(plan, Err(problem)) => (Ok(plan), None, Some(problem), false),
            Role::Orphaned { backlog_max_bytes } => (Err(backlog_max_bytes), None, None, true),
        };
        let since = match plan.as_ref().map(|plan| plan.deliver_since) {
            Ok(DeliverSince::Now) => Some(row.first_seen_at),
            Ok(DeliverSince::Time(time)) => Some(time),
            Ok(DeliverSince::Beginning) | Err(_) => None,
        };
        let spans = spans::Spans::new(tracer, &name, plan.as_ref().map_or("", |plan| plan.type_word));
        let timeout = plan.as_ref().map_or(Duration::ZERO, |plan| plan.timeout);
        let limits = link.as_ref().map(|(destination, _)| destination.limits());
        let rules = rules(&name, plan.as_deref().map_err(|bytes| *bytes), limits);
        let is_undecided = is_orphan || plan.as_ref().is_ok_and(|plan| plan.is_held);
        let judge = Judge::new(&name, (!is_undecided).then_some(routes), source_environments, since);
        let (send_order, orders) = mpsc::channel(16);
        let (standing, status) = Standing::new(&row, problem, is_orphan);
        let lane = Self {
            inbox: Inbox::new(judge, journal.clone(), row.cursor),
            engine: Engine::new(rules, row, clock.now()),
            name: name.clone(),
            link,
            timeout,
            journal,
            replays: Replays::default(),
            tasks: JoinSet::new(),
            clock,
            share: memory.share(),
            meter: meter.clone(),
            spans,
            standing,
            deaths: telling::Deaths::default(),
            remarks: telling::Remarks::default(),
            history: telling::History::default(),
            orders,
            died,
            stop,
            has_cut_short: false,
            is_replays_turn: false,
            next_look_out: Duration::ZERO,
        };
        (lane, LaneHandle { name, status, orders: send_order, meter })
    }

    /// Delivers until stopped.
    pub async fn run(mut self) -> LaneEnd {
        let end = match self.work().await {
            Ok(end) => end,
            Err(Interrupted) => LaneEnd::Interrupted,
        };
        self.tasks.abort_all();
        let now = self.clock.now();
        self.deaths.tell_all(&self.name, now.steady);
        self.history.tell(&self.name);
        end
    }

    async fn work(&mut self) -> Step<LaneEnd> {
        self.look_for_replays().await?;
        loop {
            if self.stop.leave.is_cancelled() {
                return self.leave().await;
            }
            self.obey().await?;
            self.gather().await?;
            let now = self.clock.now();
            self.fill(now).await?;
            // What came in meanwhile may be younger than an order: a pause holds for whatever comes after its answer.
            self.obey().await?;
            // They take turns where there are not slots, or requests by the rate, for both.
            let mut replay = if self.is_replays_turn { self.prepare_replay(now).await? } else { None };
            let ready = self.prepare(now);
            if replay.is_none() {
                replay = self.prepare_replay(now).await?;
            }
            self.is_replays_turn = replay.is_none() && self.replays.due_at().is_some();
            self.settle(now).await?;
            let has_sent = !ready.is_empty() || replay.is_some();
            self.send(ready.into_iter().chain(replay));
            if let Some(end) = self.may_end(!has_sent && self.tasks.is_empty(), now) {
                return Ok(end);
            }
            // What was sent may have left room for more.
            if !has_sent && !self.look_out(now).await? {
                self.wait(now).await?;
            }
        }
    }

    /// Sees what is under way to its end, and leaves the rest to whoever takes over.
    async fn leave(&mut self) -> Step<LaneEnd> {
        loop {
            let done = tokio::select! {
                biased;
                () = self.stop.now.cancelled() => return Err(Interrupted),
                done = self.tasks.join_next() => done,
            };
            let is_last = done.is_none();
            if let Some(done) = done {
                self.take_in(done).await?;
            }
            let now = self.clock.now();
            self.settle(now).await?;
            if is_last {
                return Ok(LaneEnd::Interrupted);
            }
        }
    }

    /// Carries out what the lane was told.
    async fn obey(&mut self) -> Step<()> {
        while let Ok(order) = self.orders.try_recv() {
            self.hear(order).await?;
        }
        if self.stop.drain.is_cancelled() && !self.has_cut_short {
            self.has_cut_short = true;
            let now = self.clock.now();
            self.engine.hurry(now);
        }
        let is_over = |pause: &Pause| pause.until.is_some_and(|until| Timestamp::now() >= until);
        if self.standing.paused().is_some_and(is_over) {
            self.end_pause().await?;
        }
        Ok(())
    }

    async fn hear(&mut self, order: LaneOrder) -> Step<()> {
        match order {
            LaneOrder::Pause(pause) => {
                self.engine.pause(true);
                self.standing.pause(Some(pause));
            }
            LaneOrder::Resume => {
                self.engine.resume_now();
                self.standing.pause(None);
            }
            LaneOrder::Replay => self.look_for_replays().await?,
            LaneOrder::Purged => self.refresh_books().await?,
        }
        Ok(())
    }

    /// The time that a person gave has passed.
    async fn end_pause(&mut self) -> Step<()> {
        let act = Act::by_relay(ActKind::Resume, &self.name, "the pause has ended");
        if let Err(error) = self.journal.resume_destination(&self.name, act).await {
            tracing::error!(destination = self.name, %error, "the end of the pause could not be kept");
        }
        tracing::info!(destination = self.name, "the pause has ended");
        self.engine.resume_now();
        self.standing.pause(None);
        Ok(())
    }

    /// Takes in what came back meanwhile.
    async fn gather(&mut self) -> Step<()> {
        while let Some(done) = self.tasks.try_join_next() {
            self.take_in(done).await?;
        }
        Ok(())
    }

    async fn take_in(&mut self, done: Result<(Ticket, Report), tokio::task::JoinError>) -> Step<()> {
        // A task that panics ends the process; one that was cancelled has no successor.
        let Ok((ticket, mut report)) = done else { return Err(Interrupted) };
        let now = self.clock.now();
        telling::tell_payload(&self.name, &report);
        self.remarks.tell(&self.name, report.remark.take(), now.steady);
        match ticket {
            Ticket::Parcel(parcel) => self.engine.report(parcel, report, now),
            Ticket::Replay => {
                let outcome = report.failed.as_ref().map_or(&Outcome::Delivered, |(_, outcome)| outcome);
                let is_alone = self.engine.end_replay(outcome, self.replays.failed_at(), now);
                self.replays.note_failure(self.engine.endpoint().issued());
                // Live requests pass: then it is the record.
                report.failed = report.failed.map(|(members, outcome)| match outcome {
                    Outcome::Retry { reason, .. } | Outcome::Blocked { reason, .. } if is_alone => {
                        (members, Outcome::Rejected(reason))
                    }
                    outcome => (members, outcome),
                });
                let commit = self.replays.end(report);
                self.commit_replay(commit).await?;
            }
        }
        Ok(())
    }

    /// Reads what the engine has use for, and lets die what must.
    async fn fill(&mut self, now: Now) -> Step<()> {
        loop {
            self.engine.expire(now);
            self.engine.bound_backlog(self.inbox.outlook().bytes, now);
            self.share.hold(self.engine.held_bytes());
            let may_grow = self.share.may_grow() || self.engine.is_resuming();
            if !self.engine.wants_more() || !may_grow {
                return Ok(());
            }
            let destination = self.link.as_ref().map(|(destination, _)| &**destination);
            match self.inbox.read(&mut self.engine, destination, now).await {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(error) => self.journal_failed(error).await?,
            }
            let cursor = self.engine.window().cursor();
            if cursor.saturating_sub(self.standing.cursor()) >= MAX_UNSETTLED {
                self.settle(now).await?;
            }
        }
    }

    fn is_caught_up(&self) -> bool {
        self.engine.window().read_to() >= self.inbox.latest()
    }

    /// Renders what is to be sent now. It goes once that is committed.
    fn prepare(&mut self, now: Now) -> Vec<Ready> {
        let Some((destination, _)) = &self.link else { return Vec::new() };
        let mut ready = Vec::new();
        let hurry = self.stop.drain.is_cancelled();
        loop {
            // Where no more may be read, what is there does not wait for company.
            let is_all = self.is_caught_up() || !self.share.may_grow();
            let dispatches = self.engine.next(now, is_all, hurry);
            if dispatches.is_empty() {
                return ready;
            }
            for dispatch in dispatches {
                let Dispatch { parcel, id, attempt, thread } = &dispatch;
                let context =
                    RenderContext { now: now.wall, attempt: *attempt, batch_id: id.clone(), replay: false };
                let deliveries = self.engine.deliveries(&dispatch);
                let begun = self.spans.begin();
                let mut rendered = destination.render(deliveries, &context);
                let outgoing = self.spans.rendered(begun, &context, deliveries, &rendered, thread.clone());
                if self.engine.rules().observe {
                    let mut observed: Vec<EventId> =
                        rendered.requests.drain(..).flat_map(|outbound| outbound.members).collect();
                    for (event, reason) in rendered.unrenderable.drain(..) {
                        telling::tell_observed(&self.name, event, &reason);
                        observed.push(event);
                    }
                    let report = report_of(&mut rendered, observed);
                    self.engine.report(*parcel, report, now);
                } else if rendered.requests.is_empty() {
                    let report = report_of(&mut rendered, Vec::new());
                    self.engine.report(*parcel, report, now);
                } else {
                    ready.push(Ready { ticket: Ticket::Parcel(*parcel), rendered, outgoing });
                }
            }
        }
    }

    fn send(&mut self, ready: impl IntoIterator<Item = Ready>) {
        let Some((destination, sender)) = &self.link else { return };
        for Ready { ticket, rendered, outgoing } in ready {
            let (destination, sender, timeout) = (Arc::clone(destination), sender.clone(), self.timeout);
            let meter = self.meter.clone();
            let sending = self.spans.send(outgoing);
            let carrying = carry(destination, sender, rendered, timeout, meter, sending);
            self.tasks.spawn(async move { (ticket, carrying.await) });
        }
    }

    /// Commits whatever changed, tells what happened, and shows how the lane stands.
    async fn settle(&mut self, now: Now) -> Step<()> {
        let commit = self.engine.take_commit();
        if let Some(commit) = &commit {
            while let Err(error) = self.journal.commit_lane(commit.clone()).await {
                self.journal_failed(error).await?;
            }
            self.standing.committed(commit);
            self.history.add(commit.counts.before_since, now.steady);
            if !commit.dead.is_empty() {
                self.died.notify_one();
            }
        }
        if self.history.due_at().is_some_and(|at| now.steady >= at) {
            self.history.tell(&self.name);
        }
        let notices = self.engine.take_notices();
        self.deaths.tell(&self.name, notices, now.steady);
        self.standing.show(&self.engine, &self.inbox, &self.replays, now);
        Ok(())
    }

    /// Whether the lane has come to its end.
    fn may_end(&mut self, is_idle: bool, now: Now) -> Option<LaneEnd> {
        if !self.has_cut_short {
            return None; // not told to, or not heard yet
        }
        if self.engine.is_done(now) && self.is_caught_up() && is_idle {
            return Some(LaneEnd::Drained);
        }
        let cannot_send = self.link.is_none() || self.engine.is_paused();
        let state = self.engine.endpoint().state();
        if cannot_send || state == EndpointState::Gone {
            return is_idle.then_some(LaneEnd::Interrupted);
        }
        // It was asked once more, and there is nothing to hope for.
        let is_hopeless = state == EndpointState::Blocked
            && self.engine.endpoint().due_at().is_some_and(|(at, _)| at > now.steady);
        (is_hopeless && is_idle).then_some(LaneEnd::Interrupted)
    }

    /// Decides on some records beyond the window; false where there is no need, or not yet.
    async fn look_out(&mut self, now: Now) -> Step<bool> {
        let stands_still = self.engine.endpoint().state() != EndpointState::Running
            || self.engine.is_paused()
            || self.link.is_none();
        if self.is_caught_up() || !stands_still && now.steady < self.next_look_out {
            return Ok(false);
        }
        self.next_look_out = now.steady + LOOK_OUT_INTERVAL;
        match self.inbox.look_out(self.engine.window().read_to()).await {
            Ok(more) => Ok(more),
            Err(error) => self.journal_failed(error).await.map(|()| true),
        }
    }

    /// Waits until there may be something to do.
    async fn wait(&mut self, now: Now) -> Step<()> {
        let is_caught_up = self.is_caught_up();
        let has_replay = self.replays.due_at().is_some();
        let mut wake = self.engine.wake_at(now, is_caught_up, has_replay).filter(|_| self.link.is_some());
        let mut sooner = |at: Option<Duration>| wake = wake.into_iter().chain(at).min();
        sooner(self.replays.due_at().filter(|at| *at > now.steady));
        sooner(
            self.standing
                .paused()
                .and_then(|pause| pause.until)
                .map(|until| now.steady + until.since(now.wall)),
        );
        sooner((!is_caught_up).then_some(self.next_look_out).filter(|at| *at > now.steady));
        sooner(self.engine.expires_at(now));
        sooner(self.deaths.due_at().filter(|at| *at > now.steady));
        sooner(self.history.due_at());
        let delay = wake.map(|at| at.saturating_sub(now.steady));
        tokio::select! {
            biased;
            () = self.stop.now.cancelled() => return Err(Interrupted),
            () = self.stop.leave.cancelled() => {}
            // Heard once: it may come at any moment of a turn.
            () = self.stop.drain.cancelled(), if !self.has_cut_short => {}
            Some(done) = self.tasks.join_next() => self.take_in(done).await?,
            Some(order) = self.orders.recv() => self.hear(order).await?,
            more = self.inbox.more() => if !more { return Err(Interrupted) },
            () = sleep(delay) => {}
        }
        Ok(())
    }

    /// The journal said no: wait and ask again, unless it is closed.
    async fn journal_failed(&self, error: JournalError) -> Step<()> {
        if error == JournalError::Closed {
            return Err(Interrupted);
        }
        tracing::error!(destination = self.name, %error, "the journal cannot be used; trying again");
        tokio::select! {
            () = self.stop.now.cancelled() => Err(Interrupted),
            () = tokio::time::sleep(JOURNAL_RETRY) => Ok(()),
        }
    }
}

/// What was rendered and makes no request.
fn report_of(rendered: &mut Rendered, observed: Vec<EventId>) -> Report {
    Report {
        observed,
        left_out: std::mem::take(&mut rendered.left_out),
        unrenderable: std::mem::take(&mut rendered.unrenderable),
        ..Report::default()
    }
}

/// Sleeps for a while, or for ever.
async fn sleep(delay: Option<Duration>) {
    match delay {
        Some(delay) => tokio::time::sleep(delay).await,
        None => std::future::pending().await,
    }
}
