//! Edits of the configuration while the relay runs.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::{LoadOptions, Loaded, Problem, Watched, Watcher, load_noting, salvage};
use crate::relay::{NotApplied, Relay};

/// When what the journal refused for once is asked of it again.
const RETRY: Duration = Duration::from_secs(2);

/// Notices edits, and has them applied.
pub(super) struct Edits {
    options: LoadOptions,
    watcher: Watcher,
    /// What the configuration depends on that runs.
    running: Watched,
    /// Warnings that were told already.
    told: BTreeSet<String>,
    /// Why a configuration is applied in part only, and when it is tried again.
    unfinished: Option<(Vec<String>, Instant)>,
}

impl Edits {
    /// Of a configuration as it was loaded.
    pub(super) fn new(loaded: &Loaded, options: &LoadOptions) -> Self {
        Self {
            options: options.clone(),
            watcher: Watcher::new(loaded.watched.clone()),
            running: loaded.watched.clone(),
            told: loaded.warnings.iter().chain(&loaded.notes).map(ToString::to_string).collect(),
            unfinished: None,
        }
    }

    /// Returns when something that the configuration depends on has changed, or it is to be tried again.
    pub(super) async fn noticed(&mut self) {
        let again_at = self.unfinished.as_ref().map(|(_, at)| *at);
        let again = async {
            match again_at {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.watcher.changed() => {}
            () = again => {}
        }
    }

    /// Reads the configuration again, and applies it where it is right; where it is not, what runs goes on.
    /// `Break` where `stop` comes meanwhile: what was begun is brought to an end without waiting for anybody.
    pub(super) async fn apply(
        &mut self,
        relay: &mut Relay,
        stop: impl Future<Output = ()>,
    ) -> ControlFlow<()> {
        let hurry = CancellationToken::new();
        let applying = self.apply_until(relay, &hurry);
        tokio::pin!(applying);
        tokio::select! {
            () = &mut applying => return ControlFlow::Continue(()),
            () = stop => hurry.cancel(),
        }
        applying.await;
        ControlFlow::Break(())
    }

    async fn apply_until(&mut self, relay: &mut Relay, hurry: &CancellationToken) {
        // What changes from here on is noticed later.
        self.watcher.know();
        let options = self.options.clone();
        let loading = tokio::task::spawn_blocking(move || {
            let mut noted = Watched::default();
            (load_noting(&options, &mut noted), noted)
        });
        let loaded = tokio::select! {
            loaded = loading => loaded,
            () = hurry.cancelled() => return,
        };
        let before = self.unfinished.take();
        let (loaded, noted) = match loaded {
            Ok(loaded) => loaded,
            Err(error) => return refuse(relay, vec![error.to_string()]),
        };
        // What is refused may be mended at any place that it names; what runs may change at any of its own.
        self.watcher.look_at(self.running.and(&noted));
        let loaded = match loaded {
            Ok(loaded) => loaded,
            Err(problems) => {
                let problems = problems.0.iter().map(ToString::to_string).collect();
                return self.refuse(relay, problems, noted, hurry).await;
            }
        };
        self.tell(&loaded.warnings, |warning| tracing::warn!("{warning}"));
        self.tell(&loaded.notes, |note| tracing::info!("{note}"));
        let sha256 = hex::encode(loaded.sha256);
        match relay.reload(loaded, hurry).await {
            Ok(difference) => {
                self.watcher.look_at(noted.clone());
                self.running = noted;
                tracing::info!(sha256, difference, "the configuration is applied");
            }
            _ if hurry.is_cancelled() => {}
            Err(NotApplied::Refused(problems)) => refuse(relay, problems),
            Err(NotApplied::Unfinished(problems)) => {
                if before.is_none_or(|(before, _)| before != problems) {
                    problems.iter().for_each(|problem| tracing::error!("{problem}"));
                    tracing::error!(
                        "the configuration is applied in part only: what is missing is tried again"
                    );
                }
                relay.refuse_configuration(problems.clone());
                self.unfinished = Some((problems, Instant::now() + RETRY));
            }
        }
    }

    /// Keeps what runs; where that is salvaged already, what can be used of the configuration as it is now.
    async fn refuse(
        &mut self,
        relay: &mut Relay,
        problems: Vec<String>,
        noted: Watched,
        hurry: &CancellationToken,
    ) {
        if relay.plan().is_salvaged {
            let options = self.options.clone();
            let salvaging = tokio::task::spawn_blocking(move || salvage(&options, noted));
            let salvaged = tokio::select! {
                salvaged = salvaging => salvaged,
                () = hurry.cancelled() => return,
            };
            let Ok(mut salvaged) = salvaged else { return };
            // What was accepted here is delivered from here, and what gives records goes on giving them.
            let running = relay.plan();
            salvaged.plan.name.clone_from(&running.name);
            salvaged.plan.data_dir.clone_from(&running.data_dir);
            for (name, source) in &running.sources {
                salvaged.plan.sources.entry(name.clone()).or_insert_with(|| source.clone());
            }
            if let Err(NotApplied::Refused(more) | NotApplied::Unfinished(more)) =
                relay.reload(salvaged, hurry).await
            {
                more.iter().for_each(|problem| tracing::error!("{problem}"));
            }
        }
        refuse(relay, problems);
    }

    fn tell(&mut self, problems: &[Problem], say: impl Fn(&Problem)) {
        let all: BTreeSet<String> = problems.iter().map(ToString::to_string).collect();
        for problem in problems.iter().filter(|problem| !self.told.contains(&problem.to_string())) {
            say(problem);
        }
        self.told.extend(all);
    }
}

fn refuse(relay: &mut Relay, problems: Vec<String>) {
    for problem in &problems {
        tracing::error!("{problem}");
    }
    tracing::error!(
        problems = problems.len(),
        "the configuration is not applied: what runs goes on as it is"
    );
    relay.refuse_configuration(problems);
}
