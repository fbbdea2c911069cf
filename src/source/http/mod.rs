//! Takes pushes: what Flipt's webhook sink sends, and what another relay hands on.
//!
//! `POST /v1/events` is answered with `200` once the events are on disk, and with nothing else before. The way
//! of a request: `listen.rs` (sockets, connections, `tls.rs`), `desk.rs` (is it believed, is there room),
//! `body.rs` (bytes), `items.rs` (bytes to records), the journal, `answer.rs`.

mod answer;
mod body;
mod desk;
mod envelope;
mod items;
mod listen;
mod refusals;
mod room;
#[cfg(test)]
mod tests;
mod tls;
mod trace;

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::SourceStatus;
use crate::config::plan::{HttpSourcePlan, Plan, SourceKind};
use crate::journal::{Journal, JournalError};
use crate::telemetry::traces::Tracer;
use desk::Desk;
use listen::Ending;

pub use items::{BodyError, MAX_ITEMS, read};
pub use listen::Listening;

/// What a source that takes pushes needs to know of the relay around it.
pub struct HttpSource {
    /// The source's name.
    pub name: String,
    /// The Flipt it belongs to.
    pub instance: String,
    /// Whether every change to that Flipt comes this way: only then is told what was before.
    pub single_writer: bool,
    /// Where to listen, and whom to believe.
    pub plan: HttpSourcePlan,
    /// Where records go.
    pub journal: Journal,
    /// Tells of each acceptance.
    pub tracer: Tracer,
}

/// A running source that takes pushes.
pub struct RunningHttpSource {
    name: String,
    status: watch::Receiver<SourceStatus>,
    listen: SocketAddr,
    /// Where it listens, once it does.
    socket: Arc<OnceLock<Arc<TcpListener>>>,
    ending: Ending,
    listener: JoinHandle<()>,
}

impl HttpSource {
    /// The `http` source of this name in a plan.
    #[must_use]
    pub fn planned(plan: &Plan, name: &str, journal: &Journal) -> Option<Self> {
        let source = plan.sources.get(name)?;
        let SourceKind::Http(http) = &source.kind else { return None };
        Some(Self {
            name: name.to_owned(),
            instance: source.instance.clone(),
            single_writer: source.single_writer,
            plan: http.clone(),
            journal: journal.clone(),
            tracer: Tracer::default(),
        })
    }

    /// Listens, where `listening` is given there. That it cannot is said in its status, and tried again.
    ///
    /// # Errors
    /// When the journal cannot be asked.
    pub async fn start(self, listening: Option<Listening>) -> Result<RunningHttpSource, JournalError> {
        let first = match listening {
            Some(listening) => Ok(listening),
            None => Listening::open(&self.name, &self.plan).await,
        };
        let (journal, name, instance) = (self.journal.clone(), self.name.clone(), self.instance.clone());
        let shares_writers = !self.single_writer;
        let registering = move || -> Result<_, JournalError> {
            let row = journal.register_source(&name, &instance)?;
            journal.set_shared_writers(row.id, shares_writers)?;
            journal.mark_started(row.id)?;
            Ok(row.id)
        };
        let id = tokio::task::spawn_blocking(registering)
            .await
            .map_err(|error| JournalError::Io(error.to_string()))??;
        if let Err(why) = &self.plan.signing {
            tracing::error!(source = self.name, "pushes are answered 503: {why}");
        }
        let (publish, status) = watch::channel(SourceStatus::default());
        let (name, listen) = (self.name.clone(), self.plan.listen);
        let (socket, ending) = (Arc::new(OnceLock::new()), Ending::default());
        let desk = Arc::new(Desk::new(self, id, publish));
        let listener = tokio::spawn(listen::run(desk, first, Arc::clone(&socket), ending.clone()));
        Ok(RunningHttpSource { name, status, listen, socket, ending, listener })
    }
}

impl RunningHttpSource {
    /// Its name in the configuration.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its status as it changes.
    #[must_use]
    pub fn watch_status(&self) -> watch::Receiver<SourceStatus> {
        self.status.clone()
    }

    /// Goes on for `keep_reading`, then takes nothing new, answers what is under way, and ends.
    pub async fn stop(self, keep_reading: Duration) {
        tokio::time::sleep(keep_reading).await;
        self.ending.stop.cancel();
        if self.listener.await.is_err() {
            tracing::error!(source = self.name, "a source ended in a panic");
        }
    }

    /// Its socket for another that is to listen at the same address.
    pub(super) fn socket(&self, listen: SocketAddr) -> Option<Arc<TcpListener>> {
        self.socket.get().filter(|_| listen == self.listen).cloned()
    }

    /// Lets go of its socket, and returns then. It takes no connection any more; what is under way ends in its
    /// own time.
    pub async fn leave(self) {
        drop(self.socket);
        self.ending.leave.cancel();
        self.ending.left.cancelled().await;
    }
}
