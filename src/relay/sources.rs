//! The sources of a relay when the plan becomes another: those that run as before go on, the others are replaced.

use std::collections::BTreeMap;

use tokio_util::sync::CancellationToken;

use super::{Relay, RelayError};
use crate::config::plan::{Plan, SourceKind};
use crate::journal::JournalError;
use crate::source::{Listening, RunningSource};

/// What sources that change will take pushes with, by name.
pub(super) type Opened = BTreeMap<String, Listening>;

impl Relay {
    /// Opens what the sources of a plan are to listen with that are not as they are already. Nothing is stopped
    /// for it.
    ///
    /// # Errors
    /// Which sources that work would give way to some that do not, and why.
    pub(super) async fn open_sources(&self, plan: &Plan) -> Result<Opened, Vec<String>> {
        let freed = self.ports_let_go(plan);
        let (mut opened, mut harms) = (Opened::new(), Vec::new());
        for source in &self.sources {
            let Some(wanted) = plan.sources.get(source.name()) else { continue };
            if source.is_as(wanted) {
                continue;
            }
            match source.successor(wanted, &freed).await {
                Ok(listening) => opened.extend(listening.map(|found| (source.name().to_owned(), found))),
                Err(why) => harms.push(format!("sources.{}: {why}", source.name())),
            }
        }
        if harms.is_empty() { Ok(opened) } else { Err(harms) }
    }

    /// The ports at which this relay listens itself, and will not where a plan is taken on.
    fn ports_let_go(&self, plan: &Plan) -> Vec<u16> {
        let stays = |source: &&RunningSource| {
            plan.sources.get(source.name()).is_some_and(|wanted| source.is_as(wanted))
        };
        self.sources
            .iter()
            .filter(|source| !stays(source))
            .filter_map(|source| match &source.plan().kind {
                SourceKind::Http(http) => {
                    let bound = source.watch_status().borrow().listening;
                    Some(bound.unwrap_or(http.listen).port())
                }
                SourceKind::File(_) => None,
            })
            .collect()
    }

    /// Has every source run as the plan says: one after another, so that each is away for no longer than it
    /// takes to begin. What the journal refused, and why: to ask once more does what is missing. Once `hurry` is
    /// cancelled none is waited for, or begins.
    pub(super) async fn change_sources(
        &mut self,
        mut opened: Opened,
        hurry: &CancellationToken,
    ) -> Vec<(String, RelayError)> {
        let mut refused = Vec::new();
        let mut refuse = |name: &str, error: JournalError| {
            refused.push((format!("sources.{name}"), RelayError::from(error)));
        };
        let mut leaving = Vec::new();
        for mut source in std::mem::take(&mut self.sources) {
            match self.plan.sources.get(source.name()).filter(|wanted| source.is_as(wanted)) {
                Some(wanted) => {
                    if let Err(error) = source.adopt(wanted, &self.journal).await {
                        refuse(source.name(), error);
                    }
                    self.sources.push(source);
                }
                None => leaving.push(source),
            }
        }
        // What is no more goes first: another may want its place.
        let (changed, removed): (Vec<_>, Vec<_>) =
            leaving.into_iter().partition(|source| self.plan.sources.contains_key(source.name()));
        for source in removed {
            leave(source, hurry).await;
        }
        let mut former: BTreeMap<String, RunningSource> =
            changed.into_iter().map(|source| (source.name().to_owned(), source)).collect();
        for name in self.plan.sources.keys() {
            if self.sources.iter().any(|source| source.name() == name) {
                continue;
            }
            let mut before = former.remove(name);
            let listening = opened.remove(name);
            // One that has its socket already begins before the other ends.
            if listening.is_none()
                && let Some(before) = before.take()
            {
                leave(before, hurry).await;
            }
            if hurry.is_cancelled() {
                return refused;
            }
            match RunningSource::start_on(&self.plan, name, &self.journal, self.telemetry.tracer(), listening)
                .await
            {
                Ok(source) => self.sources.extend(source),
                Err(error) => {
                    refuse(name, error);
                    // Better as it was than not at all.
                    self.sources.extend(before.take());
                }
            }
            if let Some(before) = before {
                leave(before, hurry).await;
            }
        }
        refused
    }
}

/// Has a source make room, as long as there is time for it.
async fn leave(source: RunningSource, hurry: &CancellationToken) {
    tokio::select! {
        () = source.leave() => {}
        () = hurry.cancelled() => {}
    }
}
