//! What a plan means in things: a destination, and the sender that speaks to it.

use std::sync::Arc;

use super::Sender;
use crate::config::plan::{DestinationKind, DestinationPlan};
use crate::destination::Destination;
use crate::destination::console::Console;
use crate::destination::datadog::Datadog;
use crate::destination::file::NdjsonFile;
use crate::destination::otlp::Otlp;
use crate::destination::redact::Redacted;
use crate::destination::relay::Relay;
use crate::destination::slack::Slack;
use crate::destination::webhook::{USER_AGENT, Webhook};

/// How to speak to one destination, with connections of its own, or why that cannot be.
pub(crate) fn link(plan: &DestinationPlan) -> Result<(Arc<dyn Destination>, Sender), String> {
    Ok((build(plan)?, Sender::new(&plan.tls, plan.proxy.as_ref())?))
}

/// A destination as planned, or why it cannot be.
pub(crate) fn build(plan: &DestinationPlan) -> Result<Arc<dyn Destination>, String> {
    let destination: Arc<dyn Destination> = match plan.kind.clone()? {
        DestinationKind::Webhook(webhook) => Arc::new(Webhook::new(webhook, plan.batch, USER_AGENT)),
        DestinationKind::Console(console) => Arc::new(Console::new(console, plan.batch)),
        DestinationKind::File(file) => Arc::new(NdjsonFile::new(file, plan.batch)),
        DestinationKind::Slack(slack) => Arc::new(Slack::new(*slack)),
        DestinationKind::Datadog(datadog) => Arc::new(Datadog::new(*datadog)),
        DestinationKind::Relay(relay) => Arc::new(Relay::new(*relay, plan.batch)),
        DestinationKind::Otlp(otlp) => Arc::new(Otlp::new(*otlp, plan.batch)),
    };
    Ok(match &plan.redact {
        Some(redact) => Arc::new(Redacted::new(destination, redact.clone())),
        None => destination,
    })
}
