//! Datadog: change events over the graphs, for whoever asks what changed just before.

mod answer;
mod cut;
mod gist;
mod problem;
pub mod tags;
mod texts;
mod time;
mod v1;
mod v2;
mod values;

use std::sync::Arc;
use std::time::Duration;

use super::links::Links;
use super::telling::{Account, Nature, accounts, refused};
use super::webhook::USER_AGENT;
use super::{
    Company, Delivery, Destination, Grouping, HttpRequest, Limits, Notice, Outbound, Outcome, RenderContext,
    Rendered, Request, Response,
};
use crate::config::plan::{DatadogApi, DatadogPlan};
use crate::config::secret::Secret;
use crate::event::{RecordKind, Timestamp};
use gist::Gist;

/// Events of one change set in one request, at most.
const MAX_EVENTS: usize = 200;
/// Original bytes of one request's events, at most.
const MAX_BYTES: usize = 8 << 20;
/// Datadog takes nothing older than 18 hours; one hour is for what lies between.
const MAX_EVENT_AGE: Duration = Duration::from_secs(17 * 3_600);

/// Datadog's events.
#[derive(Debug)]
pub struct Datadog {
    plan: DatadogPlan,
    links: Links,
}

impl Datadog {
    /// As planned.
    #[must_use]
    pub fn new(plan: DatadogPlan) -> Self {
        let links = Links::around(&plan.around);
        Self { plan, links }
    }

    /// Whether this destination leaves it out: refused attempts that nobody asked for, and what operators of the
    /// relay do, which concerns no service.
    fn leaves_out(&self, account: &Account<'_>) -> bool {
        let mut members = account.deliveries.iter();
        account.nature != Nature::Change && members.all(|delivery| self.leaves_out_early(delivery))
    }

    /// Whether a record is left out whatever is told with it: it need hold up nobody.
    fn leaves_out_early(&self, delivery: &Delivery) -> bool {
        match delivery.record.kind {
            RecordKind::Act => true,
            RecordKind::Event => !self.plan.denied && refused(delivery).is_some(),
            _ => false,
        }
    }

    fn request(&self, account: &Account<'_>, context: &RenderContext) -> Request {
        let gist = Gist::of(account, &self.plan, &self.links, context);
        let body = match self.plan.api {
            DatadogApi::V1 => v1::body(&gist),
            DatadogApi::V2 => v2::body(&gist),
        };
        self.posted(body, context.replay)
    }

    /// The request that sends an event.
    fn posted(&self, body: serde_json::Value, is_replay: bool) -> Request {
        let header = |name: &str, value: Secret| (name.to_owned(), value);
        let mut headers = vec![
            header("content-type", Secret::new("application/json")),
            header("user-agent", Secret::new(USER_AGENT)),
            header("dd-api-key", self.plan.api_key.clone()),
        ];
        if is_replay {
            headers.push(header("audit-relay-replay", Secret::new("true")));
        }
        headers.extend(self.plan.app_key.iter().map(|key| header("dd-application-key", key.clone())));
        Request::Http(HttpRequest {
            url: Arc::clone(&self.plan.url),
            method: "POST",
            headers,
            body: body.to_string().into_bytes(),
            propagates: false,
        })
    }
}

impl Destination for Datadog {
    fn limits(&self) -> Limits {
        Limits {
            max_events: MAX_EVENTS,
            max_bytes: MAX_BYTES,
            wait: self.plan.group_wait,
            max_concurrency: usize::MAX,
            max_event_age: (!self.plan.send_with_current_time).then_some(MAX_EVENT_AGE),
            grouping: Grouping::ChangeSet,
            pause: Duration::ZERO,
        }
    }

    fn render(&self, deliveries: &[Delivery], context: &RenderContext) -> Rendered {
        let accounts = accounts(deliveries);
        let mut rendered = Rendered {
            left_out: accounts.empty.iter().map(|delivery| delivery.record.id).collect(),
            ..Rendered::default()
        };
        for account in &accounts.told {
            let members = account.deliveries.iter().map(|delivery| delivery.record.id);
            if self.leaves_out(account) {
                rendered.left_out.extend(members);
            } else {
                let request = self.request(account, context);
                rendered.requests.push(Outbound { members: members.collect(), request });
            }
        }
        rendered
    }

    fn company(&self, delivery: &Delivery) -> Company {
        Company { is_left_out: self.leaves_out_early(delivery), ..Company::default() }
    }

    fn notice(&self, notice: &Notice, _: &RenderContext) -> Option<Vec<Request>> {
        Some(vec![self.posted(problem::body(notice, &self.plan), false)])
    }

    fn classify(&self, response: &Response, now: Timestamp) -> Outcome {
        answer::classify(response, now, &self.plan)
    }

    fn excerpt(&self, body: &[u8]) -> String {
        answer::excerpt(body, &self.plan)
    }
}
