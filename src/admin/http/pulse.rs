//! Whether the journal's thread answers.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::journal::Journal;

/// How long one who asks waits for it: a probe of Kubernetes gives up after a second.
const WAITS: Duration = Duration::from_millis(500);

/// A disk may be slow for so long. A restart would not make it faster.
const STUCK: Duration = Duration::from_secs(60);

/// Feels the pulse of a journal. One question is under way at a time, whoever asks.
pub(super) struct Pulse {
    journal: Journal,
    asked: Mutex<Option<Instant>>,
    answers: watch::Sender<Option<Result<(), String>>>,
}

impl Pulse {
    pub(super) fn of(journal: Journal) -> Arc<Self> {
        Arc::new(Self { journal, asked: Mutex::new(None), answers: watch::Sender::new(None) })
    }

    /// Nothing where it answers, or where it has not been silent for long; else what is wrong.
    pub(super) async fn feel(self: &Arc<Self>) -> Result<(), String> {
        let mut answers = self.answers.subscribe();
        answers.mark_unchanged();
        let since = self.ask();
        match tokio::time::timeout(WAITS, answers.changed()).await {
            Ok(_) => answers.borrow().clone().unwrap_or(Ok(())),
            Err(_) if since.elapsed() < STUCK => Ok(()),
            Err(_) => Err("its thread does not answer".to_owned()),
        }
    }

    /// Asks, unless that is under way; since when it is.
    fn ask(self: &Arc<Self>) -> Instant {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(since) = *asked {
            return since;
        }
        let now = Instant::now();
        *asked = Some(now);
        let pulse = Arc::clone(self);
        tokio::spawn(async move {
            let answer = pulse.journal.answers().await.map_err(|error| error.to_string());
            *pulse.asked.lock().unwrap_or_else(PoisonError::into_inner) = None;
            pulse.answers.send_replace(Some(answer));
        });
        now
    }
}
