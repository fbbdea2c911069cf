//! Tells people of what needs them, through a destination other than the sick one.
//!
//! `trouble.rs` reads off the report what is wrong, `silence.rs` listens to sources, `watch.rs` decides what is to
//! be told when, `tell.rs` tells it, `memory.rs` keeps what was told over a restart. What is told is no record of
//! the journal and in no books.

mod memory;
mod silence;
mod tell;
#[cfg(test)]
mod tests;
mod trouble;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use self::memory::Kept;
use self::silence::{Listened, Silence};
use self::trouble::{Look, ending, troubles};
use self::watch::{Case, Due};
use crate::admin::{Finding, Office, Report};
use crate::config::plan::{Plan, ProblemsPlan};
use crate::destination::NoticeKind;
use crate::event::Timestamp;
use crate::journal::{Gaps, JournalError};

/// By what name silent sources hang in the office.
const WHO: &str = "silence";
/// Between two looks, at most and at least.
const LONGEST: Duration = Duration::from_secs(10);
const SHORTEST: Duration = Duration::from_millis(250);
/// Lanes and sources take their places for so long: what was told before the start is not over meanwhile.
const SETTLING: Duration = Duration::from_secs(30);
/// Between two notices: receivers of messages allow one a second.
const APART: Duration = Duration::from_millis(1_100);
/// What is only heard is kept this often.
const KEEP_EVERY: Duration = Duration::from_secs(60);

/// Watches over a running relay.
pub struct Problems {
    task: JoinHandle<()>,
    stop: CancellationToken,
}

impl Problems {
    /// Watches; with a plan it tells, without one it only sets what the status shows.
    #[must_use]
    pub fn start(office: Arc<Office>, plan: Option<ProblemsPlan>) -> Self {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let watcher = Watcher::new(office, plan);
            watcher.go(&stopped).await;
        });
        Self { task, stop }
    }

    /// Ends.
    pub async fn stop(self) {
        self.stop.cancel();
        let _ = self.task.await;
    }
}

struct Watcher {
    office: Arc<Office>,
    plan: Option<ProblemsPlan>,
    kept: Kept,
    /// As it is on disk, and when it was written.
    saved: (Kept, Instant),
    begun: Instant,
    silent: Vec<(String, Finding)>,
}

impl Watcher {
    fn new(office: Arc<Office>, plan: Option<ProblemsPlan>) -> Self {
        let data_dir = office.plan().data_dir.clone();
        let mut kept = memory::load(&data_dir);
        let saved = (kept.clone(), Instant::now());
        if plan.is_none() {
            kept.watch = Default::default();
        }
        let last = *office.journal().latest().borrow();
        // What was there before anybody looked is no news; in a journal that begins anew nobody looked yet.
        let through = match kept.looked_through {
            None => last,
            Some(through) if through > last => 0,
            Some(through) => through,
        };
        kept.looked_through = Some(through);
        Self { office, plan, kept, saved, begun: Instant::now(), silent: Vec::new() }
    }

    async fn go(mut self, stop: &CancellationToken) {
        let pace = self.plan.as_ref().map_or(LONGEST, |plan| (plan.after / 4).clamp(SHORTEST, LONGEST));
        while stop.run_until_cancelled(sleep(pace)).await.is_some() {
            let plan = self.office.plan();
            let listens = plan.sources.values().any(|source| source.silent_after.is_some());
            if self.plan.is_none() && !listens && self.silent.is_empty() {
                continue;
            }
            match stop.run_until_cancelled(self.look(&plan)).await {
                Some(Ok(())) => self.save(&plan, false),
                Some(Err(error)) => tracing::debug!(%error, "problems cannot be looked for now"),
                None => break,
            }
        }
        let plan = self.office.plan();
        self.save(&plan, true);
        self.office.find(WHO, Vec::new());
    }

    async fn look(&mut self, plan: &Arc<Plan>) -> Result<(), JournalError> {
        let now = Timestamp::now();
        let report = self.office.report(now).await?;
        self.listen(plan, &report);
        let Some(problems) = self.plan.clone() else { return Ok(()) };
        let journal = self.office.journal().status().await?;
        let last = *self.office.journal().latest().borrow();
        let gaps = self.gaps(last).await?;
        let owed_bytes = self.office.owed_bytes(&journal).await?;
        let look = Look { report: &report, journal: &journal, owed_bytes, gaps: &gaps, silent: &self.silent };
        let watch = &self.kept.watch;
        let found = troubles(&look, |key| watch.is_open(key));
        let settling = self.begun.elapsed() < SETTLING;
        let knows_flipt = plan.flipt.is_none()
            || (self.office.has_found("doctor")
                && !report.findings.iter().any(|finding| finding.code == "flipt_unreachable"));
        // What is kept from before the start is over only once everything has taken its place.
        let is_unknown =
            |case: &Case| (settling && case.was_kept) || (case.code == "finding" && !knows_flipt);
        self.kept.watch.look(now, found, is_unknown);
        self.kept.looked_through = Some(last);
        for due in self.kept.watch.due(now, problems.after, problems.repeat) {
            self.tell(&due, plan, &problems, &report).await;
        }
        Ok(())
    }

    /// Looks for silent sources, and tells of them in log and office.
    fn listen(&mut self, plan: &Plan, report: &Report) {
        let listened: Vec<Listened<'_>> = report
            .sources
            .iter()
            .filter_map(|source| {
                let silent_after = plan.sources.get(&source.name)?.silent_after?;
                Some(Listened { name: &source.name, silent_after, last_event_at: source.last_event_at })
            })
            .collect();
        let silent = self.kept.silence.look(self.office.journal().running(), &listened);
        let is_among = |name: &str, all: &[(String, Finding)]| all.iter().any(|(other, _)| other == name);
        for (name, finding) in silent.iter().filter(|(name, _)| !is_among(name, &self.silent)) {
            tracing::warn!(source = name, remedy = finding.remedy, "{}", finding.sentence);
        }
        for (name, _) in self.silent.iter().filter(|(name, _)| !is_among(name, &silent)) {
            tracing::info!(source = name, "the source is not silent any more");
        }
        self.office.find(WHO, silent.iter().map(|(_, finding)| finding.clone()).collect());
        self.silent = silent;
    }

    async fn gaps(&self, last: u64) -> Result<Vec<Gaps>, JournalError> {
        match self.kept.looked_through {
            Some(after) if after < last => self.office.journal().gaps(after, last).await,
            _ => Ok(Vec::new()),
        }
    }

    async fn tell(&mut self, due: &Due, plan: &Plan, problems: &ProblemsPlan, report: &Report) {
        let now = Timestamp::now();
        let Some(case) = self.kept.watch.case(&due.key) else { return };
        let ended = ending(&case.code, case.about.as_deref(), &case.sentence, report);
        let notice = tell::notice(case, due, ended, plan, now);
        match tell::tell(&notice, plan, &problems.to, report).await {
            Ok(name) => {
                tracing::info!(
                    destination = name,
                    code = notice.code,
                    "told of a {}: {}",
                    due.kind.as_str(),
                    tell::for_log(&notice)
                );
                self.kept.watch.told(&due.key, due.kind, now);
                self.save(plan, true);
                sleep(APART).await;
            }
            Err(refused) => {
                self.kept.watch.failed(&due.key, now);
                let why: Vec<String> = refused.iter().map(|(name, why)| format!("{name}: {why}")).collect();
                let why = why.join("; ");
                match due.kind {
                    NoticeKind::Problem if !due.is_retried => tracing::error!(
                        code = notice.code,
                        remedy = notice.remedy,
                        why,
                        "a problem, of which nobody could be told: {}",
                        tell::for_log(&notice)
                    ),
                    _ => {
                        tracing::debug!(
                            code = notice.code,
                            why,
                            "nobody could be told: {}",
                            tell::for_log(&notice)
                        )
                    }
                }
            }
        }
    }

    /// Keeps what changed; what is only heard not each time.
    fn save(&mut self, plan: &Plan, at_once: bool) {
        let kept = Kept { watch: self.kept.watch.told_cases(), ..self.kept.clone() };
        let is_used = self.plan.is_some() || kept.silence != Silence::default();
        let is_urgent = at_once || kept.watch != self.saved.0.watch;
        if !is_used || kept == self.saved.0 || (!is_urgent && self.saved.1.elapsed() < KEEP_EVERY) {
            return;
        }
        if let Err(error) = memory::save(&plan.data_dir, &kept) {
            tracing::warn!(%error, "what was told of problems cannot be kept: after a restart it is told again");
        }
        self.saved = (kept, Instant::now());
    }
}
