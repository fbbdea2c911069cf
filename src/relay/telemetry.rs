//! What the relay's own telemetry is told by, and where it reads metrics.

use std::sync::Arc;

use crate::admin::{Office, Readings};
use crate::config::plan::Plan;
use crate::telemetry::otlp::{Gather, Gathered};
use crate::telemetry::settings::Settings;

/// The settings of a plan and of the environment. What was not understood of them is told with the configuration.
pub(super) fn settings(plan: &Plan) -> Settings {
    Settings::resolve(&plan.telemetry, &plan.name, &|name| std::env::var(name).ok()).0
}

/// Reads all instruments of a running relay.
pub(super) fn gather(office: Arc<Office>) -> Gather {
    let readings = Arc::new(Readings::of(Arc::clone(&office)));
    Arc::new(move || {
        let (office, readings) = (Arc::clone(&office), Arc::clone(&readings));
        Box::pin(async move {
            let gathered = async {
                let journal_began_at = office.journal().began_at().await?;
                Ok(Gathered { readings: readings.gather().await?, journal_began_at })
            };
            let failed = |error: crate::journal::JournalError| {
                tracing::debug!(%error, "there are no metrics to send: the journal cannot be asked");
            };
            gathered.await.map_err(failed).ok()
        })
    })
}
