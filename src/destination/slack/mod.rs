//! Slack: what happened, in one channel, after the rules of people's attention.

mod answer;
mod digest;
mod message;
mod mrkdwn;
mod problem;
mod ranks;
mod summary;

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::excerpt::Secrets;
use super::links::Links;
use super::telling::{accounts, is_urgent, refused};
use super::webhook::USER_AGENT;
use super::{
    Company, Delivery, Destination, Grouping, HttpRequest, Limits, Notice, Outbound, Outcome, RenderContext,
    Rendered, Request, Response, Seldom,
};
use crate::config::plan::{SlackAccess, SlackPlan};
use crate::config::secret::Secret;
use crate::event::Timestamp;
use message::{Message, Teller};

/// Records in one message, at most.
const MAX_EVENTS: usize = 1_000;
/// Original bytes of one message's records, at most.
const MAX_BYTES: usize = 8 << 20;
/// Slack allows one message per second and channel (<https://docs.slack.dev/apis/web-api/rate-limits>).
const PAUSE: Duration = Duration::from_secs(1);
/// Refused attempts of one actor are told once in this time.
const DENIED_EVERY: Duration = Duration::from_secs(3_600);

/// A Slack channel.
#[derive(Debug)]
pub struct Slack {
    plan: SlackPlan,
    links: Links,
}

impl Slack {
    /// A channel as planned.
    #[must_use]
    pub fn new(plan: SlackPlan) -> Self {
        let links = Links::around(&plan.around);
        Self { plan, links }
    }

    /// The request that posts a message.
    fn request(&self, message: Message) -> Request {
        // Nothing is made of addresses that stand in events.
        let mut body = json!({
            "text": message.text,
            "blocks": message.blocks,
            "unfurl_links": false,
            "unfurl_media": false,
        });
        let mut headers = vec![
            ("content-type".to_owned(), Secret::new("application/json; charset=utf-8")),
            ("user-agent".to_owned(), Secret::new(USER_AGENT)),
        ];
        let url = match &self.plan.access {
            SlackAccess::Webhook(url) => Arc::clone(url),
            SlackAccess::Bot { token, channel, endpoint } => {
                body["channel"] = channel.as_str().into();
                headers.push(("authorization".to_owned(), Secret::new(format!("Bearer {}", token.expose()))));
                Arc::new(Secret::new(format!("{}chat.postMessage", endpoint.expose())))
            }
        };
        Request::Http(HttpRequest {
            url,
            method: "POST",
            headers,
            body: body.to_string().into_bytes(),
            propagates: false,
        })
    }
}

impl Destination for Slack {
    fn limits(&self) -> Limits {
        Limits {
            max_events: MAX_EVENTS,
            max_bytes: MAX_BYTES,
            wait: self.plan.group_wait,
            max_concurrency: 1,
            max_event_age: None,
            grouping: Grouping::Digest,
            pause: PAUSE,
        }
    }

    fn company(&self, delivery: &Delivery) -> Company {
        let seldom =
            refused(delivery).map(|mark| Seldom { word: format!("denied:{mark:016x}"), every: DENIED_EVERY });
        Company { is_urgent: is_urgent(delivery), seldom, ..Company::default() }
    }

    /// One message of all; empty differences are left out.
    fn render(&self, deliveries: &[Delivery], context: &RenderContext) -> Rendered {
        let accounts = accounts(deliveries);
        let left_out: Vec<_> = accounts.empty.iter().map(|delivery| delivery.record.id).collect();
        let teller = Teller {
            owners: &self.plan.around.owners,
            links: &self.links,
            now: context.now,
            is_replay: context.replay,
        };
        let message = match accounts.told.as_slice() {
            [] => return Rendered { left_out, ..Rendered::default() },
            [only] => teller.one(only),
            several => teller.digest(several),
        };
        let ids = deliveries.iter().map(|delivery| delivery.record.id);
        let members = ids.filter(|id| !left_out.contains(id)).collect();
        let requests = vec![Outbound { members, request: self.request(message) }];
        Rendered { requests, left_out, ..Rendered::default() }
    }

    fn notice(&self, notice: &Notice, _: &RenderContext) -> Option<Vec<Request>> {
        Some(vec![self.request(problem::message(notice))])
    }

    fn classify(&self, response: &Response, now: Timestamp) -> Outcome {
        let is_webhook = matches!(self.plan.access, SlackAccess::Webhook(_));
        answer::classify(response, is_webhook, now, |body| self.excerpt(body))
    }

    fn excerpt(&self, body: &[u8]) -> String {
        let mut secrets = Secrets::default();
        match &self.plan.access {
            SlackAccess::Webhook(url) => secrets.url(url.expose()),
            SlackAccess::Bot { token, endpoint, .. } => {
                secrets.value(token.expose());
                secrets.url(endpoint.expose());
            }
        }
        secrets.excerpt(body)
    }
}
