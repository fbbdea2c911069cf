//! Another audit-relay: records as they are, so that a hub can do with them what this relay could.

pub mod handover;

use super::webhook::{Content, NDJSON, USER_AGENT, Webhook};
use super::{Delivery, Destination, Limits, Outbound, Outcome, RenderContext, Rendered, Response};
use crate::config::plan::{BatchPlan, RelayPlan};
use crate::event::Timestamp;

/// What is added to an address without a path: where an `http` source takes pushes.
pub const PATH: &str = "/v1/events";

/// Another relay.
#[derive(Debug)]
pub struct Relay {
    /// This relay's own name.
    name: String,
    webhook: Webhook,
}

impl Relay {
    /// Another relay as planned.
    #[must_use]
    pub fn new(plan: RelayPlan, batch: BatchPlan) -> Self {
        Self { name: plan.name, webhook: Webhook::new(plan.webhook, batch, USER_AGENT) }
    }
}

impl Destination for Relay {
    fn limits(&self) -> Limits {
        self.webhook.limits()
    }

    fn render(&self, deliveries: &[Delivery], context: &RenderContext) -> Rendered {
        let mut body = Vec::new();
        for delivery in deliveries {
            handover::write(delivery, &self.name, &mut body);
            body.push(b'\n');
        }
        let request = self.webhook.request(Content::new(NDJSON, body), &context.batch_id, None, context);
        let members = deliveries.iter().map(|delivery| delivery.record.id).collect();
        Rendered { requests: vec![Outbound { members, request }], ..Rendered::default() }
    }

    /// As a webhook's: what a hub answers has the same meanings.
    fn classify(&self, response: &Response, now: Timestamp) -> Outcome {
        self.webhook.classify(response, now)
    }

    fn excerpt(&self, body: &[u8]) -> String {
        self.webhook.excerpt(body)
    }
}
