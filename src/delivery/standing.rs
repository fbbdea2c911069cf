//! How a lane stands, for those who watch it.

use tokio::sync::watch;

use super::clock::Now;
use super::engine::Engine;
use super::handle::{LaneState, LaneStatus};
use super::inbox::Inbox;
use super::replay::Replays;
use crate::event::Sequence;
use crate::journal::{Books, DestinationRow, EndpointState, LaneCommit, Pause};

/// See the module.
#[derive(Debug)]
pub(super) struct Standing {
    shown: watch::Sender<LaneStatus>,
    books: Books,
    cursor: Sequence,
    paused: Option<Pause>,
    /// Why nothing can be sent as the configuration is.
    problem: Option<String>,
    is_orphan: bool,
}

impl Standing {
    pub(super) fn new(
        row: &DestinationRow,
        problem: Option<String>,
        is_orphan: bool,
    ) -> (Self, watch::Receiver<LaneStatus>) {
        let (shown, watching) = watch::channel(LaneStatus {
            state: LaneState::Running,
            reason: None,
            since: None,
            cursor: row.cursor,
            books: row.books,
            waiting: 0,
            undecided: 0,
            oldest_waiting_at: None,
            held: (0, None),
            in_flight: 0,
            attempts: 0,
            next_attempt_at: None,
            last_success_at: row.endpoint.last_success_at,
            last_error: row.endpoint.last_error.clone(),
            replays: Vec::new(),
        });
        let standing = Self {
            shown,
            books: row.books,
            cursor: row.cursor,
            paused: row.paused.clone(),
            problem,
            is_orphan,
        };
        (standing, watching)
    }

    /// Everything up to here is settled, and committed.
    pub(super) fn cursor(&self) -> Sequence {
        self.cursor
    }

    pub(super) fn paused(&self) -> Option<&Pause> {
        self.paused.as_ref()
    }

    pub(super) fn pause(&mut self, pause: Option<Pause>) {
        self.paused = pause;
    }

    /// Counts what was committed.
    pub(super) fn committed(&mut self, commit: &LaneCommit) {
        let (books, counts) = (&mut self.books, &commit.counts);
        self.cursor = commit.cursor;
        books.delivered += counts.delivered;
        books.not_routed += counts.not_routed + counts.before_since + counts.observed + counts.left_out;
        books.before_since += counts.before_since;
        books.observed += counts.observed;
        books.left_out += counts.left_out;
        books.purged += counts.discarded;
        books.dead += commit.dead.len() as u64;
    }

    /// The books as the journal has them.
    pub(super) fn refresh(&mut self, books: Books) {
        self.books = books;
    }

    /// Shows how things are, after everything was committed.
    pub(super) fn show(&self, engine: &Engine, inbox: &Inbox, replays: &Replays, now: Now) {
        let (latest, read_to) = (inbox.latest(), engine.window().read_to());
        let outlook = inbox.outlook();
        let mut books = self.books;
        books.not_routed += outlook.not_routed + outlook.before_since;
        books.before_since += outlook.before_since;
        let beyond = latest.saturating_sub(read_to);
        let endpoint = engine.endpoint();
        let state = self.state(endpoint.state());
        let is_endpoint = matches!(state, LaneState::Waiting | LaneState::Blocked) && self.problem.is_none();
        let problem = self.problem.iter().map(|problem| ("configuration".to_owned(), problem.clone())).next();
        let (held, held_until) = engine.window().held(now.steady);
        let next = endpoint.due_at().filter(|(at, _)| is_endpoint && *at > now.steady);
        let status = LaneStatus {
            reason: if is_endpoint { endpoint.reason().cloned() } else { problem },
            since: endpoint.since().filter(|_| is_endpoint),
            state,
            cursor: self.cursor,
            books,
            waiting: (engine.window().unsettled() as u64 + beyond)
                .saturating_sub(outlook.not_routed + outlook.before_since + engine.settled_ahead()),
            undecided: latest.saturating_sub(read_to.max(outlook.read_to)),
            oldest_waiting_at: engine.window().oldest_accepted_at(),
            held: (held as u64, held_until.map(|(_, until)| until)),
            in_flight: engine.in_flight(),
            attempts: endpoint.attempts(),
            next_attempt_at: next.map(|(_, wall)| wall),
            last_success_at: endpoint.last_success_at(),
            last_error: endpoint.last_error().cloned(),
            replays: replays.rows(),
        };
        self.shown.send_if_modified(|shown| {
            let is_new = *shown != status;
            if is_new {
                *shown = status;
            }
            is_new
        });
    }

    fn state(&self, endpoint: EndpointState) -> LaneState {
        match (&self.paused, endpoint) {
            _ if self.is_orphan => LaneState::Orphaned,
            (Some(pause), _) => LaneState::Paused(pause.clone()),
            _ if self.problem.is_some() => LaneState::Blocked,
            (None, EndpointState::Running) => LaneState::Running,
            (None, EndpointState::Waiting) => LaneState::Waiting,
            (None, EndpointState::Blocked | EndpointState::Gone) => LaneState::Blocked,
        }
    }
}
