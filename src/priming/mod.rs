//! Asks Flipt's read-only API at start what there is, so that the first change that is seen of a thing can
//! be told with what was before.
//!
//! It is a help, never a need: nothing waits for it, and where it fails it says so once and the relay works
//! as without it. Flipt is asked gently: two requests at a time, fifty a second at most.
//!
//! `api.rs` asks, `shape.rs` turns answers into what events would carry, `reading.rs` reads a namespace.

mod api;
mod reading;
mod shape;
#[cfg(test)]
mod tests;

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::api::{Api, RETRY, Trouble};
use self::reading::{Limits, Reading};
use crate::config::plan::{FliptPlan, RetryPlan};
use crate::event::text::one_line;
use crate::journal::{Journal, JournalError};

/// What one namespace may bring: its states are in memory together.
const LIMITS: Limits = Limits { entities: 50_000, bytes: 32 * 1024 * 1024 };
/// Namespaces that are asked about.
const MAX_NAMESPACES: usize = 10_000;
/// How long a Flipt that does not answer is asked again.
const PATIENCE: Duration = Duration::from_secs(600);
/// How much of a namespace's key is logged.
const SHOWN_KEY: usize = 60;

/// How long, and how often, a question is asked again.
#[derive(Debug, Clone, Copy)]
struct Patience {
    longest: Duration,
    retry: RetryPlan,
}

impl Default for Patience {
    fn default() -> Self {
        Self { longest: PATIENCE, retry: RETRY }
    }
}

/// A priming under way, or done.
#[derive(Debug)]
pub struct Priming {
    task: JoinHandle<()>,
    stop: CancellationToken,
}

impl Priming {
    /// Begins to ask, in the background.
    #[must_use]
    pub fn start(plan: FliptPlan, journal: Journal) -> Self {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            stopped.run_until_cancelled(prime(&plan, &journal, Patience::default())).await;
        });
        Self { task, stop }
    }

    /// Ends it, wherever it is: the next start asks again.
    pub async fn stop(self) {
        self.stop.cancel();
        let _ = self.task.await;
    }
}

/// What came of it.
#[derive(Debug, Default)]
struct Tally {
    namespaces: u64,
    entities: u64,
    new: u64,
    /// Namespaces that were not read, or not wholly, and why.
    partial: Vec<(String, String)>,
}

/// Why it ended before its end.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("{0}")]
    Unusable(String),
    #[error(
        "it refuses to tell ({0}): give `flipt.token` a token that may read every namespace, or leave out `flipt.url`"
    )]
    Denied(u16),
    #[error(
        "there is no /api/v1/namespaces: is the address right? Flipt v1 has it, Flipt v2 (which writes no audit events) has not"
    )]
    NoFlipt,
    #[error(
        "{0}: is the address right? Flipt v2, which writes no audit events, does not answer as Flipt v1 does"
    )]
    Foreign(String),
    #[error("it did not answer: {0}; it is asked again at the next start")]
    Silent(String),
    #[error("the journal could not take it: {0}")]
    Journal(#[from] JournalError),
}

impl From<Trouble> for Ended {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Denied(status) => Self::Denied(status),
            Trouble::Missing => Self::NoFlipt,
            Trouble::Foreign(why) => Self::Foreign(why),
            Trouble::Silent(why) => Self::Silent(why),
        }
    }
}

/// Asks, and says how it went.
async fn prime(plan: &FliptPlan, journal: &Journal, patience: Patience) {
    let begun = Instant::now();
    let mut tally = Tally::default();
    let api = match Api::new(plan, patience) {
        Ok(api) => api,
        Err(why) => return warn("flipt.url", &Ended::Unusable(why)),
    };
    let ended = ask_all(&api, plan, journal, &mut tally).await;
    if let Err(ended) = &ended {
        warn(&api.shown(), ended);
    }
    if let Some((namespace, why)) = tally.partial.first() {
        tracing::warn!(
            count = tally.partial.len(),
            "Flipt did not tell all of some namespaces, first {}: {why}; what was not told is known from its first event on",
            one_line(namespace, SHOWN_KEY)
        );
    }
    if ended.is_ok() || tally.namespaces > 0 {
        tracing::info!(
            flipt = api.shown(),
            instance = plan.instance,
            namespaces = tally.namespaces,
            entities = tally.entities,
            new = tally.new,
            took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            "Flipt has told what there is"
        );
    }
}

fn warn(flipt: &str, ended: &Ended) {
    tracing::warn!(
        flipt,
        "Flipt does not tell what there is, so a first change is told without what was before: {ended}"
    );
}

async fn ask_all(api: &Api, plan: &FliptPlan, journal: &Journal, tally: &mut Tally) -> Result<(), Ended> {
    for key in namespaces(api).await? {
        let reading = match Reading::of(api, &key, LIMITS).await {
            Ok(reading) => reading,
            // It is gone since.
            Err(Trouble::Missing) => continue,
            Err(Trouble::Silent(why)) => return Err(Ended::Silent(why)),
            Err(trouble) => {
                tally.partial.push((key, trouble.to_string()));
                continue;
            }
        };
        tracing::debug!(
            namespace = one_line(&key, SHOWN_KEY),
            entities = reading.imported.len(),
            whole = reading.is_whole,
            at = %reading.at,
            "a namespace was read"
        );
        tally.namespaces += 1;
        tally.entities += reading.imported.len() as u64;
        if let Some(why) = shortfall(&reading) {
            tally.partial.push((key.clone(), why));
        }
        tally.new +=
            journal.prime(&plan.instance, &key, reading.imported, reading.is_whole, reading.at).await?;
        if let Some(Trouble::Silent(why)) = reading.trouble {
            return Err(Ended::Silent(why));
        }
    }
    Ok(())
}

/// What a person should know of a reading that is not whole. That something came or went meanwhile is no
/// matter: events tell of it.
fn shortfall(reading: &Reading) -> Option<String> {
    match &reading.trouble {
        Some(Trouble::Silent(_) | Trouble::Missing) => None,
        Some(trouble) => Some(trouble.to_string()),
        None if reading.is_cut => Some(format!("it holds more than {} things, or 32 MiB", LIMITS.entities)),
        None => None,
    }
}

/// The keys of all namespaces; there is at least `default`.
async fn namespaces(api: &Api) -> Result<Vec<String>, Ended> {
    let mut keys = Vec::new();
    let take = |namespace: shape::Namespace| {
        keys.push(namespace.key);
        if keys.len() < MAX_NAMESPACES { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    api.list(&["namespaces"], take).await?;
    keys.retain(|key| !key.is_empty());
    match keys.is_empty() {
        true => Err(Ended::Foreign("it tells of no namespace".to_owned())),
        false => Ok(keys),
    }
}
