//! The examination of a Flipt while a relay runs.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{Examination, examine};
use crate::admin::{Finding, Office};
use crate::config::plan::{FliptPlan, RetryPlan};
use crate::delivery::retry_delay;

/// By what name the findings hang in the office.
const WHO: &str = "doctor";
/// The times of an examination.
#[derive(Debug, Clone, Copy)]
struct Times {
    /// Before the first one: what is started together comes up together.
    moment: Duration,
    /// Between two.
    interval: Duration,
    /// How long nobody may answer before that is told.
    patience: Duration,
    /// Between two questions while nobody answers.
    retry: RetryPlan,
}

const TIMES: Times = Times {
    moment: Duration::from_secs(1),
    interval: Duration::from_secs(3_600),
    patience: Duration::from_secs(600),
    retry: RetryPlan { initial_backoff: Duration::from_secs(2), max_backoff: Duration::from_secs(60) },
};

/// The examination of a Flipt while a relay runs: at its start, after a reload that changed it, or what the relay
/// reads or tells, and every hour.
pub struct Doctor {
    office: Arc<Office>,
    task: JoinHandle<()>,
    stop: CancellationToken,
    again: Arc<Notify>,
}

impl Doctor {
    /// Asks in the background, tells what it finds as warnings, and hangs it out in the office.
    ///
    /// A Flipt that is not up yet is asked again, quietly; nothing waits for it.
    #[must_use]
    pub fn start(office: Arc<Office>, flipt: FliptPlan) -> Self {
        Self::with(office, flipt, TIMES)
    }

    fn with(office: Arc<Office>, flipt: FliptPlan, times: Times) -> Self {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let again = Arc::<Notify>::default();
        let rounds =
            Rounds { office: Arc::clone(&office), flipt, times, told: Vec::new(), again: Arc::clone(&again) };
        let task = tokio::spawn(async move {
            stopped.run_until_cancelled(rounds.go()).await;
        });
        Self { office, task, stop, again }
    }

    /// Has it ask at once: the relay has changed, and with it perhaps what is wrong.
    pub fn look_again(&self) {
        self.again.notify_one();
    }

    /// Ends; what was found is not known any more.
    pub async fn stop(self) {
        self.stop.cancel();
        let _ = self.task.await;
        self.office.forget(WHO);
    }
}

struct Rounds {
    office: Arc<Office>,
    flipt: FliptPlan,
    times: Times,
    told: Vec<Finding>,
    again: Arc<Notify>,
}

impl Rounds {
    async fn go(mut self) {
        sleep(self.times.moment).await;
        loop {
            let examination = self.patiently().await;
            self.tell(&examination);
            let pause =
                if examination.is_silent { self.times.retry.max_backoff } else { self.times.interval };
            tokio::select! {
                () = sleep(pause) => {}
                () = self.again.notified() => {}
            }
        }
    }

    /// Asks until somebody answers, or patience ends.
    async fn patiently(&self) -> Examination {
        let begun = Instant::now();
        let mut attempt = 1;
        loop {
            let examination = self.examine().await;
            let is_told = self.told.iter().any(|finding| finding.code == "flipt_unreachable");
            if !examination.is_silent || is_told || begun.elapsed() >= self.times.patience {
                return examination;
            }
            tracing::debug!(attempt, flipt = examination.flipt, "Flipt does not answer the doctor yet");
            sleep(retry_delay(&self.times.retry, attempt, None)).await;
            attempt = attempt.saturating_add(1);
        }
    }

    async fn examine(&self) -> Examination {
        let standing = self.office.standing();
        let refused = |name: &str| {
            let status = standing.sources.get(name).map(|status| status.borrow().clone());
            status.filter(|status| status.records == 0).map_or(0, |status| status.refused)
        };
        examine(&standing.plan, &self.flipt, refused).await
    }

    /// What is new, and what is over.
    fn tell(&mut self, examination: &Examination) {
        let mut findings = examination.findings.clone();
        if examination.is_silent {
            // What was found before is as true as it was.
            let is_news = |old: &&Finding| !findings.iter().any(|finding| finding.code == old.code);
            let kept: Vec<Finding> = self.told.iter().filter(is_news).cloned().collect();
            findings.splice(0..0, kept);
        }
        let flipt = &examination.flipt;
        for new in findings.iter().filter(|finding| !self.told.contains(finding)) {
            let (code, remedy) = (&new.code, new.remedy.as_deref().unwrap_or_default());
            match new.severe {
                true => tracing::error!(code, flipt, remedy, "{}", new.sentence),
                false => tracing::warn!(code, flipt, remedy, "{}", new.sentence),
            }
        }
        let is_known = |code: &str| findings.iter().any(|finding| finding.code == code);
        for old in self.told.iter().filter(|old| !is_known(&old.code)) {
            tracing::info!(code = old.code, flipt, "not so any more: {}", old.sentence);
        }
        if findings.is_empty() && self.told.is_empty() {
            tracing::info!(flipt, "the doctor has found nothing wrong with Flipt");
        }
        self.told.clone_from(&findings);
        self.office.find(WHO, findings);
    }
}
