//! Edits of the configuration while the relay runs.

use std::collections::BTreeSet;

use crate::config::{LoadOptions, Loaded, Problem, Watcher, load};
use crate::relay::Relay;

/// Notices edits, and has them applied.
pub(super) struct Edits {
    options: LoadOptions,
    watcher: Watcher,
    /// Warnings that were told already.
    told: BTreeSet<String>,
}

impl Edits {
    /// Of a configuration as it was loaded.
    pub(super) fn new(loaded: &Loaded, options: &LoadOptions) -> Self {
        Self {
            options: options.clone(),
            watcher: Watcher::new(loaded.watched.clone()),
            told: loaded.warnings.iter().chain(&loaded.notes).map(ToString::to_string).collect(),
        }
    }

    /// Returns when something that the configuration depends on has changed.
    pub(super) async fn noticed(&mut self) {
        self.watcher.changed().await;
    }

    /// Reads the configuration again, and applies it where it is right; where it is not, what runs goes on.
    pub(super) async fn apply(&mut self, relay: &mut Relay) {
        // What changes from here on is noticed later.
        self.watcher.know();
        let options = self.options.clone();
        let loaded = match tokio::task::spawn_blocking(move || load(&options)).await {
            Ok(Ok(loaded)) => loaded,
            Ok(Err(problems)) => return refuse(relay, problems.0.iter().map(ToString::to_string).collect()),
            Err(error) => return refuse(relay, vec![error.to_string()]),
        };
        self.watcher.look_at(loaded.watched.clone());
        self.tell(&loaded.warnings, |warning| tracing::warn!("{warning}"));
        self.tell(&loaded.notes, |note| tracing::info!("{note}"));
        let sha256 = hex::encode(loaded.sha256);
        match relay.reload(loaded).await {
            Ok(difference) => tracing::info!(sha256, %difference, "the configuration is applied"),
            Err(problems) => refuse(relay, problems),
        }
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
