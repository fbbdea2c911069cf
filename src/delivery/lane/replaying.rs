//! The replays of a lane: they go beside what is new, by its slots and its rate.

use super::{Lane, Ready, Step, Ticket, report_of};
use crate::delivery::clock::Now;
use crate::delivery::replay;
use crate::destination::RenderContext;
use crate::journal::ReplayCommit;

impl Lane {
    /// The next request of a replay, where one may go now.
    pub(super) async fn prepare_replay(&mut self, now: Now) -> Step<Option<Ready>> {
        if self.replays.is_empty() || self.engine.rules().observe {
            return Ok(None);
        }
        let Some((destination, _)) = self.link.clone() else { return Ok(None) };
        let limits = destination.limits();
        loop {
            match self.replays.prepare(&self.journal, self.inbox.judge(), &limits).await {
                Ok(None) => break,
                Ok(commit) => self.commit_replay(commit).await?,
                Err(error) => self.journal_failed(error).await?,
            }
        }
        let is_due = self.replays.due_at().is_some_and(|at| now.steady >= at);
        if !is_due || !self.engine.begin_replay(now) {
            return Ok(None);
        }
        let thread = self.replays.thread();
        let (batch_id, attempt, deliveries) = self.replays.begin(&self.name, now.steady);
        let context = RenderContext { now: now.wall, attempt, batch_id, replay: true };
        let begun = self.spans.begin();
        let mut rendered = replay::render(destination.as_ref(), deliveries, &context, now);
        let outgoing = self.spans.rendered(begun, &context, deliveries, &rendered, thread);
        if !rendered.requests.is_empty() {
            return Ok(Some(Ready { ticket: Ticket::Replay, rendered, outgoing }));
        }
        self.engine.cancel_replay();
        let commit = self.replays.end(report_of(&mut rendered, Vec::new()));
        self.commit_replay(commit).await?;
        Ok(None)
    }

    pub(super) async fn look_for_replays(&mut self) -> Step<()> {
        while let Err(error) = self.replays.look(&self.journal, &self.name).await {
            self.journal_failed(error).await?;
        }
        Ok(())
    }

    pub(super) async fn commit_replay(&mut self, commit: Option<ReplayCommit>) -> Step<()> {
        let Some(commit) = commit else { return Ok(()) };
        let row = loop {
            match self.journal.commit_replay(commit.clone()).await {
                Ok(row) => break row,
                Err(error) => self.journal_failed(error).await?,
            }
        };
        if row.finished_at.is_some() {
            tracing::info!(
                destination = self.name,
                replayed = row.replayed,
                failed = row.failed,
                "replay finished"
            );
        }
        self.replays.committed(row);
        self.refresh_books().await
    }

    /// Somebody else has changed the books too.
    pub(super) async fn refresh_books(&mut self) -> Step<()> {
        loop {
            match self.journal.destinations().await {
                Ok(rows) => {
                    if let Some(row) = rows.into_iter().find(|row| row.name == self.name) {
                        self.standing.refresh(row.books);
                    }
                    return Ok(());
                }
                Err(error) => self.journal_failed(error).await?,
            }
        }
    }
}
