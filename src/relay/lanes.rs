//! The lanes of a plan: those of its destinations, those of orphans, and what is kept in order around them.
//!
//! Another plan is taken on as a difference: a lane whose destination and routes are the same goes on
//! undisturbed; every other sees what it sends to its end, and one that begins where the journal says takes over.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::RelayError;
use super::orphans::Orphan;
use crate::config::plan::{DestinationPlan, Plan, TlsPlan};
use crate::delivery::{
    Lane, LaneEnd, LaneHandle, LaneSetup, Memory, Meter, Overflow, Role, Sender, Stop, build, link,
};
use crate::destination::Destination;
use crate::journal::{Act, ActKind, DeadLetterSelection, DestinationRow, Journal, OperatorError};
use crate::routing::RouteTable;

/// How long a lane that another takes over from may still wait for answers. What is cut off then goes out twice.
const HANDING_OVER: Duration = Duration::from_secs(5);

/// The lanes of a relay.
pub(super) struct Lanes {
    common: Common,
    stop: Stop,
    lanes: BTreeMap<String, RunningLane>,
    orphans: BTreeMap<String, Orphan>,
    overflow: Option<(CancellationToken, JoinHandle<()>)>,
}

/// A lane and its task.
pub(super) struct RunningLane {
    pub(super) handle: LaneHandle,
    pub(super) task: JoinHandle<LaneEnd>,
    stop: Stop,
    basis: Option<Basis>,
}

/// All that a lane was made from: where it is the same, the lane would be.
#[derive(PartialEq)]
struct Basis {
    plan: DestinationPlan,
    routes: RouteTable,
    source_environments: BTreeMap<String, Arc<str>>,
    /// What the files of its certificates hold.
    certificates: Vec<Option<Vec<u8>>>,
}

impl Basis {
    fn of(name: &str, plan: &Plan, destination: &DestinationPlan) -> Self {
        Self {
            plan: destination.clone(),
            routes: plan.routes.for_destination(name),
            source_environments: plan.source_environments(),
            certificates: destination.tls.files().map(|file| std::fs::read(file).ok()).collect(),
        }
    }
}

/// What all lanes share.
struct Common {
    journal: Journal,
    memory: Memory,
    died: Arc<tokio::sync::Notify>,
    plain_sender: Result<Sender, String>,
}

impl Common {
    /// How to speak to a destination, or why that cannot be. Those that trust alike share connections: the
    /// system's authorities take memory.
    fn link(&self, plan: &DestinationPlan) -> Result<(Arc<dyn Destination>, Sender), String> {
        match plan.has_own_connection() {
            true => link(plan),
            false => Ok((build(plan)?, self.plain_sender.clone()?)),
        }
    }

    fn start(
        &self,
        row: DestinationRow,
        role: Role,
        basis: Option<Basis>,
        meter: Meter,
        stop: Stop,
    ) -> RunningLane {
        let (routes, source_environments) = match &basis {
            Some(basis) => (basis.routes.clone(), basis.source_environments.clone()),
            None => (RouteTable::default(), BTreeMap::new()),
        };
        let (lane, handle) = Lane::new(LaneSetup {
            row,
            role,
            routes: Arc::new(routes),
            source_environments: Arc::new(source_environments),
            journal: self.journal.clone(),
            memory: self.memory.clone(),
            meter,
            died: Arc::clone(&self.died),
            stop: stop.clone(),
        });
        RunningLane { handle, task: tokio::spawn(lane.run()), stop, basis }
    }
}

impl Lanes {
    /// No lanes yet.
    pub(super) fn new(journal: &Journal, stop: &Stop) -> Self {
        let common = Common {
            journal: journal.clone(),
            memory: Memory::default(),
            died: Arc::default(),
            plain_sender: Sender::new(&TlsPlan::default(), None),
        };
        Self { common, stop: stop.clone(), lanes: BTreeMap::new(), orphans: BTreeMap::new(), overflow: None }
    }

    /// Takes on a plan: a lane for every destination of it and every orphan of the journal. What is the same as
    /// before goes on undisturbed.
    pub(super) async fn apply(&mut self, plan: &Plan) -> Result<(), RelayError> {
        let meters = self.hand_over(plan).await;
        self.let_orphans_go(plan).await;
        for (name, destination) in &plan.destinations {
            if !self.lanes.contains_key(name) {
                let meter = meters.get(name).cloned().unwrap_or_default();
                self.start(name, plan, destination, meter).await?;
            }
        }
        self.keep_orphans(plan).await?;
        self.bound_dead_letters(plan).await;
        Ok(())
    }

    /// Ends the lanes that the plan has no use for as they are; what each has counted is for its successor.
    async fn hand_over(&mut self, plan: &Plan) -> BTreeMap<String, Meter> {
        let mut leaving = JoinSet::new();
        for (name, lane) in std::mem::take(&mut self.lanes) {
            let basis = plan.destinations.get(&name).map(|found| Basis::of(&name, plan, found));
            if basis.is_some() && lane.basis == basis {
                self.lanes.insert(name, lane);
            } else {
                leaving.spawn(lane.hand_over());
            }
        }
        leaving.join_all().await.into_iter().collect()
    }

    /// Starts the lane of one destination. A single one that cannot work is blocked alone.
    async fn start(
        &mut self,
        name: &str,
        plan: &Plan,
        destination: &DestinationPlan,
        meter: Meter,
    ) -> Result<(), RelayError> {
        let journal = &self.common.journal;
        let link = self.common.link(destination);
        if let Err(reason) = &link {
            tracing::error!(destination = name, "blocked: {reason}");
            // It keeps its place in the journal where it has one: what waits for it is not trimmed.
            if !destination.keeps_place && !journal.knows_destination(name).await? {
                return Ok(());
            }
        }
        let mut row = journal.register_destination(name, destination.renamed_from.as_deref()).await?;
        if destination.discard && row.books.dead > 0 {
            purge_all(journal, name).await?;
            row = journal.register_destination(name, None).await?;
        }
        let role = Role::Configured(Box::new(destination.clone()), link);
        let basis = Some(Basis::of(name, plan, destination));
        let lane = self.common.start(row, role, basis, meter, self.stop.child());
        self.lanes.insert(name.to_owned(), lane);
        Ok(())
    }

    /// Ends the keeping of those that are configured again, or that another takes over.
    async fn let_orphans_go(&mut self, plan: &Plan) {
        let is_wanted = |name: &String| {
            let adopts = |found: &DestinationPlan| found.renamed_from.as_ref() == Some(name);
            plan.destinations.contains_key(name) || plan.destinations.values().any(adopts)
        };
        let wanted: Vec<String> = self.orphans.keys().filter(|name| is_wanted(name)).cloned().collect();
        for name in wanted {
            if let Some(orphan) = self.orphans.remove(&name) {
                orphan.stop().await;
            }
        }
    }

    /// Keeps what is owed to those that are configured no longer.
    async fn keep_orphans(&mut self, plan: &Plan) -> Result<(), RelayError> {
        let journal = self.common.journal.clone();
        for row in journal.destinations().await? {
            if plan.destinations.contains_key(&row.name) || self.orphans.contains_key(&row.name) {
                continue;
            }
            let row = journal.orphan_destination(row.id).await?;
            tracing::warn!(
                destination = row.name,
                owed = row.waiting(*journal.latest().borrow()),
                dead_letters = row.books.dead,
                "no longer configured: what it is owed is kept for seven days of running; `renamed_from` gives it to another"
            );
            let role = Role::Orphaned { backlog_max_bytes: plan.journal.max_size_bytes / 4 };
            let stop = self.stop.child();
            let lane = self.common.start(row.clone(), role, None, Meter::default(), stop.clone());
            self.orphans.insert(row.name.clone(), Orphan::keep(journal.clone(), row, stop, lane));
        }
        Ok(())
    }

    /// Has dead letters bounded as the plan says, and all lanes told of it.
    async fn bound_dead_letters(&mut self, plan: &Plan) {
        if let Some((stop, keeper)) = self.overflow.take() {
            stop.cancel();
            let _ = keeper.await;
        }
        let overflow = Overflow {
            journal: self.common.journal.clone(),
            data_dir: plan.data_dir.clone(),
            max_bytes: plan.dead_letters_max_bytes,
            died: Arc::clone(&self.common.died),
            lanes: self.handles(),
        };
        let stop = self.stop.now.child_token();
        self.overflow = Some((stop.clone(), tokio::spawn(overflow.run(stop))));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    pub(super) fn handles(&self) -> Vec<LaneHandle> {
        let configured = self.lanes.values().map(|lane| lane.handle.clone());
        configured.chain(self.orphans.values().map(|orphan| orphan.handle.clone())).collect()
    }

    /// Lets every lane drain until the deadline; returns what still waits, by destination.
    pub(super) async fn shut_down(self, deadline: Instant) -> BTreeMap<String, u64> {
        let mut waiting = BTreeMap::new();
        for (name, mut lane) in self.lanes {
            if tokio::time::timeout_at(deadline, &mut lane.task).await.is_err() {
                self.stop.now.cancel();
                let _ = lane.task.await;
            }
            let status = lane.handle.status.borrow();
            if status.waiting > 0 {
                waiting.insert(name, status.waiting);
            }
        }
        self.stop.now.cancel();
        for orphan in self.orphans.into_values() {
            orphan.stop().await;
        }
        if let Some((_, keeper)) = self.overflow {
            let _ = keeper.await;
        }
        waiting
    }
}

impl RunningLane {
    /// Ends it once it has seen what is under way to its end, or soon; its name and what it counted.
    async fn hand_over(mut self) -> (String, Meter) {
        self.stop.leave.cancel();
        if tokio::time::timeout(HANDING_OVER, &mut self.task).await.is_err() {
            self.stop.now.cancel();
            let _ = self.task.await;
        }
        (self.handle.name, self.handle.meter)
    }
}

/// `discard: true` drops dead letters too.
async fn purge_all(journal: &Journal, name: &str) -> Result<(), RelayError> {
    let selection =
        DeadLetterSelection { destination: Some(name.to_owned()), ..DeadLetterSelection::default() };
    let act = Act::by_relay(ActKind::Purge, name, "discard: true");
    match journal.purge_dead_letters(selection, act).await {
        Ok(purged) => tracing::warn!(destination = name, purged, "dead letters were discarded"),
        Err(OperatorError::Journal(error)) => return Err(error.into()),
        Err(error) => tracing::error!(destination = name, %error, "dead letters could not be discarded"),
    }
    Ok(())
}
