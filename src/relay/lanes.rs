//! The lanes of a plan: those of its destinations, those of orphans, and what is kept in order around them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::RelayError;
use crate::config::plan::{DestinationPlan, Plan, TlsPlan};
use crate::delivery::{
    Lane, LaneEnd, LaneHandle, LaneSetup, Memory, Overflow, Role, Sender, Stop, build, link,
};
use crate::destination::Destination;
use crate::journal::{Act, ActKind, DeadLetterSelection, DestinationRow, Journal, OperatorError};

/// How long what a destination is owed is kept after it left the configuration, in running time.
const ORPHANED_FOR: Duration = Duration::from_secs(7 * 86_400);
/// How often orphans are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);

/// The lanes of a relay.
#[derive(Default)]
pub(super) struct Lanes {
    lanes: Vec<RunningLane>,
    /// What asks and tells orphans.
    orphans: Vec<LaneHandle>,
    keepers: Vec<JoinHandle<()>>,
}

struct RunningLane {
    handle: LaneHandle,
    task: JoinHandle<LaneEnd>,
}

/// What all lanes share.
struct Common {
    journal: Journal,
    memory: Memory,
    died: Arc<tokio::sync::Notify>,
    routes: Arc<crate::routing::RouteTable>,
    source_environments: Arc<BTreeMap<String, Arc<str>>>,
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

    fn start(&self, row: DestinationRow, role: Role, stop: Stop) -> RunningLane {
        let (lane, handle) = Lane::new(LaneSetup {
            row,
            role,
            routes: Arc::clone(&self.routes),
            source_environments: Arc::clone(&self.source_environments),
            journal: self.journal.clone(),
            memory: self.memory.clone(),
            died: Arc::clone(&self.died),
            stop,
        });
        RunningLane { handle, task: tokio::spawn(lane.run()) }
    }
}

impl Lanes {
    /// Starts a lane for every destination of the plan and every orphan of the journal.
    pub(super) async fn start(plan: &Plan, journal: &Journal, stop: &Stop) -> Result<Self, RelayError> {
        let common = Common {
            journal: journal.clone(),
            memory: Memory::default(),
            died: Arc::default(),
            routes: Arc::new(plan.routes.clone()),
            source_environments: Arc::new(plan.source_environments()),
            plain_sender: Sender::new(&TlsPlan::default(), None),
        };
        let mut lanes = Vec::new();
        for (name, destination) in &plan.destinations {
            let link = common.link(destination);
            if let Err(reason) = &link {
                tracing::error!(destination = name, "blocked: {reason}");
                // It keeps its place in the journal where it has one: what waits for it is not trimmed.
                if !destination.keeps_place && !journal.knows_destination(name).await? {
                    continue;
                }
            }
            let mut row = journal.register_destination(name, destination.renamed_from.as_deref()).await?;
            if destination.discard && row.books.dead > 0 {
                purge_all(journal, name).await?;
                row = journal.register_destination(name, None).await?;
            }
            lanes.push(common.start(
                row,
                Role::Configured(Box::new(destination.clone()), link),
                stop.clone(),
            ));
        }
        let (mut keepers, mut orphans) = (Vec::new(), Vec::new());
        for row in journal.destinations().await? {
            if plan.destinations.contains_key(&row.name) {
                continue;
            }
            let orphan = journal.orphan_destination(row.id).await?;
            let stop = Stop { now: stop.now.child_token(), ..stop.clone() };
            tracing::warn!(
                destination = orphan.name,
                owed = orphan.waiting(*journal.latest().borrow()),
                dead_letters = orphan.books.dead,
                "no longer configured: what it is owed is kept for seven days of running; `renamed_from` gives it to another"
            );
            let backlog_max_bytes = plan.journal.max_size_bytes / 4;
            let lane = common.start(orphan.clone(), Role::Orphaned { backlog_max_bytes }, stop.clone());
            orphans.push(lane.handle.clone());
            keepers.push(tokio::spawn(release_in_time(journal.clone(), orphan, stop, lane)));
        }
        let overflow = Overflow {
            journal: journal.clone(),
            data_dir: plan.data_dir.clone(),
            max_bytes: plan.dead_letters_max_bytes,
            died: common.died,
            lanes: lanes.iter().map(|lane| lane.handle.clone()).chain(orphans.iter().cloned()).collect(),
        };
        keepers.push(tokio::spawn(overflow.run(stop.now.clone())));
        Ok(Self { lanes, orphans, keepers })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    pub(super) fn handles(&self) -> Vec<LaneHandle> {
        let configured = self.lanes.iter().map(|lane| lane.handle.clone());
        configured.chain(self.orphans.iter().cloned()).collect()
    }

    /// Lets every lane drain until the deadline; returns what still waits, by destination.
    pub(super) async fn shut_down(self, stop: &Stop, deadline: Instant) -> BTreeMap<String, u64> {
        let mut waiting = BTreeMap::new();
        for mut lane in self.lanes {
            if tokio::time::timeout_at(deadline, &mut lane.task).await.is_err() {
                stop.now.cancel();
                let _ = lane.task.await;
            }
            let status = lane.handle.status.borrow();
            if status.waiting > 0 {
                waiting.insert(lane.handle.name.clone(), status.waiting);
            }
        }
        stop.now.cancel();
        for keeper in self.keepers {
            let _ = keeper.await;
        }
        waiting
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

/// Lets go of an orphan when its time has come.
async fn release_in_time(journal: Journal, orphan: DestinationRow, stop: Stop, lane: RunningLane) {
    let Some((_, since)) = orphan.orphaned else { return };
    loop {
        if journal.running().saturating_sub(since) >= ORPHANED_FOR {
            break;
        }
        tokio::select! {
            () = stop.now.cancelled() => return drop(lane.task.await),
            () = stop.drain.cancelled() => return drop(lane.task.await),
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
        }
    }
    stop.now.cancel();
    let _ = lane.task.await;
    let name = orphan.name.as_str();
    let act = Act::by_relay(ActKind::Release, name, "seven days without configuration");
    match journal.release_destination(orphan.id, act).await {
        Ok(released) => tracing::error!(
            destination = name,
            waiting = released.waiting,
            dead_letters = released.dead,
            "not configured for seven days: what it was owed is released"
        ),
        Err(error) => tracing::error!(destination = name, %error, "it could not be released"),
    }
}
