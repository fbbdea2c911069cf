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
use crate::client;
use crate::config::plan::{DestinationPlan, Plan, TlsPlan};
use crate::delivery::{
    Lane, LaneEnd, LaneHandle, LaneSetup, Memory, Meter, Overflow, Role, Sender, Stop, build, link,
};
use crate::destination::Destination;
use crate::journal::{Act, ActKind, DeadLetterSelection, DestinationRow, Journal, OperatorError};
use crate::routing::RouteTable;
use crate::telemetry::traces::Tracer;

/// How long a lane that another takes over from may still wait for answers. What is cut off then goes out twice.
const HANDING_OVER: Duration = Duration::from_secs(5);

/// The lanes of a relay.
pub(super) struct Lanes {
    common: Common,
    stop: Stop,
    lanes: BTreeMap<String, RunningLane>,
    orphans: BTreeMap<String, Orphan>,
    overflow: Option<(CancellationToken, JoinHandle<()>)>,
    /// What lanes that ended have counted, for those that go on for them.
    meters: BTreeMap<String, Meter>,
}

/// A lane and its task.
pub(super) struct RunningLane {
    pub(super) handle: LaneHandle,
    pub(super) task: JoinHandle<LaneEnd>,
    stop: Stop,
    basis: Option<Basis>,
    /// Whether there is a way to speak to its destination.
    is_linked: bool,
}

/// How to speak to a destination, or why that cannot be.
type Link = Result<(Arc<dyn Destination>, Sender), String>;

/// What the lanes of a plan are to be made of that are not as they were, by destination.
pub(super) type Links = BTreeMap<String, (Basis, Link)>;

/// All that a lane was made from: where it is the same, the lane would be.
#[derive(PartialEq)]
pub(super) struct Basis {
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
            certificates: client::certificates(&destination.tls),
        }
    }
}

/// What all lanes share.
struct Common {
    journal: Journal,
    memory: Memory,
    died: Arc<tokio::sync::Notify>,
    plain_sender: Result<Sender, String>,
    tracer: Tracer,
}

impl Common {
    /// How to speak to a destination. Those that trust alike share connections: the system's authorities take
    /// memory.
    fn link(&self, plan: &DestinationPlan) -> Link {
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
        let is_linked = matches!(&role, Role::Configured(_, Ok(_)));
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
            tracer: self.tracer.clone(),
            died: Arc::clone(&self.died),
            stop: stop.clone(),
        });
        RunningLane { handle, task: tokio::spawn(lane.run()), stop, basis, is_linked }
    }
}

impl Lanes {
    /// No lanes yet.
    pub(super) fn new(journal: &Journal, stop: &Stop, tracer: &Tracer) -> Self {
        let common = Common {
            journal: journal.clone(),
            memory: Memory::default(),
            died: Arc::default(),
            plain_sender: Sender::new(&TlsPlan::default(), None),
            tracer: tracer.clone(),
        };
        Self {
            common,
            stop: stop.clone(),
            lanes: BTreeMap::new(),
            orphans: BTreeMap::new(),
            overflow: None,
            meters: BTreeMap::new(),
        }
    }

    /// What a plan needs made: every lane that is not as it is already. Nothing is stopped for it.
    pub(super) fn link(&self, plan: &Plan) -> Links {
        let mut links = Links::new();
        for (name, destination) in &plan.destinations {
            // Read first: what changes while it is read differs the next time.
            let basis = Basis::of(name, plan, destination);
            if self.lanes.get(name).is_none_or(|lane| lane.basis.as_ref() != Some(&basis)) {
                links.insert(name.clone(), (basis, self.common.link(destination)));
            }
        }
        links
    }

    /// Which lanes that work would give way to some that do not, and why.
    pub(super) fn harms(&self, links: &Links) -> Vec<String> {
        let harm = |(name, (_, link)): (&String, &(Basis, Link))| {
            let works = self.lanes.get(name).is_some_and(|lane| lane.is_linked);
            let why = link.as_ref().err().filter(|_| works)?;
            Some(format!("destinations.{name}: {why}"))
        };
        links.iter().filter_map(harm).collect()
    }

    /// The destinations whose lanes others take over from.
    pub(super) fn replaced<'a>(&self, links: &'a Links) -> impl Iterator<Item = &'a String> {
        links.keys().filter(|name| self.lanes.contains_key(*name))
    }

    /// Takes on a plan: a lane for every destination of it, of `links` where it is not as before, and every
    /// orphan of the journal. What is the same as before goes on undisturbed; once `hurry` is cancelled, what
    /// is not is cut off.
    ///
    /// # Errors
    /// Which of them the journal refused, and why. All others are there then, and to take the plan on once more
    /// makes those that are missing.
    pub(super) async fn apply(
        &mut self,
        plan: &Plan,
        links: Links,
        hurry: &CancellationToken,
    ) -> Result<(), Vec<(String, RelayError)>> {
        self.hand_over(plan, &links, hurry).await;
        self.let_orphans_go(plan).await;
        let mut refused = Vec::new();
        for (name, (basis, link)) in links {
            if let Err(error) = self.start(&name, basis, link).await {
                refused.push((format!("destinations.{name}"), error));
            }
        }
        if let Err(error) = self.keep_orphans(plan).await {
            refused.push(("destinations".to_owned(), error));
        }
        // What is bounded how is not known either.
        if !plan.is_salvaged {
            self.bound_dead_letters(plan).await;
        }
        if refused.is_empty() { Ok(()) } else { Err(refused) }
    }

    /// Ends the lanes that the plan has no use for as they are; what each has counted is for its successor.
    async fn hand_over(&mut self, plan: &Plan, links: &Links, hurry: &CancellationToken) {
        let mut leaving = JoinSet::new();
        for (name, lane) in std::mem::take(&mut self.lanes) {
            if plan.destinations.contains_key(&name) && !links.contains_key(&name) {
                self.lanes.insert(name, lane);
            } else {
                leaving.spawn(lane.hand_over(hurry.clone()));
            }
        }
        self.meters.extend(leaving.join_all().await);
        self.meters.retain(|name, _| plan.destinations.contains_key(name));
    }

    /// Starts the lane of one destination. A single one that cannot work is blocked alone.
    async fn start(&mut self, name: &str, basis: Basis, link: Link) -> Result<(), RelayError> {
        let (journal, destination) = (&self.common.journal, &basis.plan);
        if let Err(reason) = &link {
            tracing::error!(destination = name, "blocked: {reason}");
        }
        let mut row = journal.register_destination(name, destination.renamed_from.as_deref()).await?;
        if destination.discard && row.books.dead > 0 {
            purge_all(journal, name).await?;
            row = journal.register_destination(name, None).await?;
        }
        let role = Role::Configured(Box::new(destination.clone()), link);
        let meter = self.meters.remove(name).unwrap_or_default();
        let lane = self.common.start(row, role, Some(basis), meter, self.stop.child());
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
        // Nobody knows which there are.
        if plan.is_salvaged {
            return Ok(());
        }
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
    async fn hand_over(mut self, hurry: CancellationToken) -> (String, Meter) {
        self.stop.leave.cancel();
        let is_over = tokio::select! {
            _ = &mut self.task => true,
            () = tokio::time::sleep(HANDING_OVER) => false,
            () = hurry.cancelled() => false,
        };
        if !is_over {
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
