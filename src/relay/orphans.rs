//! What is owed to destinations that are configured no longer is kept, for a while.

use std::time::Duration;

use tokio::task::JoinHandle;

use super::lanes::RunningLane;
use crate::delivery::{LaneHandle, Stop};
use crate::journal::{Act, ActKind, DestinationRow, Journal};

/// How long what a destination is owed is kept after it left the configuration, in running time.
const ORPHANED_FOR: Duration = Duration::from_secs(7 * 86_400);
/// How often orphans are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);

/// An orphan: its lane, and what releases it when its time has come.
pub(super) struct Orphan {
    pub(super) handle: LaneHandle,
    stop: Stop,
    keeper: JoinHandle<()>,
}

impl Orphan {
    /// Keeps it until its time has come, or it is stopped.
    pub(super) fn keep(journal: Journal, row: DestinationRow, stop: Stop, lane: RunningLane) -> Self {
        let handle = lane.handle.clone();
        let keeper = tokio::spawn(release_in_time(journal, row, stop.clone(), lane));
        Self { handle, stop, keeper }
    }

    /// Keeps it no longer; nothing of what it is owed is given up.
    pub(super) async fn stop(self) {
        self.stop.now.cancel();
        let _ = self.keeper.await;
    }
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
