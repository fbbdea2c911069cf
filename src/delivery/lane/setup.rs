//! What a lane is made of.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::config::plan::{BatchPlan, DestinationPlan, RetryPlan};
use crate::delivery::engine::Rules;
use crate::delivery::sender::Sender;
use crate::delivery::{Memory, Meter};
use crate::destination::{Destination, Limits};
use crate::journal::{DestinationRow, Journal};
use crate::routing::RouteTable;
use crate::telemetry::traces::Tracer;

/// What ends a lane.
#[derive(Debug, Clone)]
pub struct Stop {
    /// Nothing new will come: deliver what is there, cut one wait short, end.
    pub drain: CancellationToken,
    /// Another takes over: begin nothing, see what is under way to its end.
    pub leave: CancellationToken,
    /// End now.
    pub now: CancellationToken,
}

impl Stop {
    /// For one of those that `self` stops: it ends with them, and can be stopped alone.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { drain: self.drain.child_token(), leave: self.leave.child_token(), now: self.now.child_token() }
    }
}

impl Default for Stop {
    fn default() -> Self {
        Self {
            drain: CancellationToken::new(),
            leave: CancellationToken::new(),
            now: CancellationToken::new(),
        }
    }
}

/// What a lane is there for.
pub enum Role {
    /// A destination of the configuration: its plan, and how to speak to it, or why that cannot be.
    Configured(Box<DestinationPlan>, Result<(Arc<dyn Destination>, Sender), String>),
    /// One that is configured no longer: what it is owed is kept, up to so many bytes.
    Orphaned {
        /// See above.
        backlog_max_bytes: u64,
    },
}

/// All that a lane works with.
pub struct LaneSetup {
    /// How it stands in the journal.
    pub row: DestinationRow,
    /// What it is there for.
    pub role: Role,
    /// Which records it takes.
    pub routes: Arc<RouteTable>,
    /// Environments that sources fix, by source name.
    pub source_environments: Arc<BTreeMap<String, Arc<str>>>,
    /// The journal.
    pub journal: Journal,
    /// The budget that all lanes share.
    pub memory: Memory,
    /// Counts its requests; one that takes over from another counts on.
    pub meter: Meter,
    /// Tells of each delivery.
    pub tracer: Tracer,
    /// Told whenever records died.
    pub died: Arc<tokio::sync::Notify>,
    /// What ends it.
    pub stop: Stop,
}

/// How a lane ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LaneEnd {
    /// Nothing waits.
    Drained,
    /// Time was up, nothing could be sent as things are, or the journal is closed.
    Interrupted,
}

/// How the engine works for a destination as planned, or for an orphan that may be owed so many bytes.
pub(super) fn rules(name: &str, plan: Result<&DestinationPlan, u64>, limits: Option<Limits>) -> Rules {
    const ALONE: BatchPlan = BatchPlan { max_events: 1, max_bytes: 1, timeout: Duration::ZERO };
    const UNUSED: RetryPlan =
        RetryPlan { initial_backoff: Duration::from_secs(1), max_backoff: Duration::from_secs(300) };
    let destination = name.to_owned();
    let Ok(plan) = plan else {
        return Rules {
            destination,
            retry: UNUSED,
            limits: ALONE.into(),
            concurrency: 1,
            rate_limit: None,
            expire_after: None,
            backlog_max_bytes: plan.err(),
            reject_limit: u32::MAX,
            observe: false,
            discard: false,
            fingerprint: String::new(),
        };
    };
    Rules {
        destination,
        retry: plan.retry,
        limits: limits.unwrap_or_else(|| plan.batch.into()),
        concurrency: plan.concurrency,
        rate_limit: plan.rate_limit,
        expire_after: plan.expire_after,
        backlog_max_bytes: plan.backlog_max_bytes,
        reject_limit: plan.reject_limit,
        observe: plan.observe,
        discard: plan.discard,
        fingerprint: plan.fingerprint.clone(),
    }
}
