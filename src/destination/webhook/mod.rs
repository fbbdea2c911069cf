//! Webhooks: the very request that Flipt's own webhook sink sends, or our envelope.

mod answer;

use super::envelope::envelope;
use super::signing::sign;
use super::{
    Delivery, Destination, HttpRequest, Limits, Outbound, Outcome, Reason, RenderContext, Rendered, Request,
    Response,
};
use crate::config::plan::{BatchEncoding, BatchPlan, WebhookFormat, WebhookPlan};
use crate::config::secret::Secret;
use crate::event::{BatchId, RecordKind, StoredRecord, Timestamp, TraceContext};
use crate::flipt::{unwrap, webhook_body};

/// What we call ourselves in `user-agent`, unless the configuration says otherwise.
pub const USER_AGENT: &str = concat!("audit-relay/", env!("CARGO_PKG_VERSION"));

/// The headers that a configuration may change; those that identify and sign a request it may not.
const REPLACEABLE: [&str; 2] = ["content-type", "user-agent"];

/// A webhook.
#[derive(Debug)]
pub struct Webhook {
    plan: WebhookPlan,
    limits: Limits,
    user_agent: String,
}

impl Webhook {
    /// A webhook as planned; `user_agent` is [`USER_AGENT`] but in tests.
    #[must_use]
    pub fn new(plan: WebhookPlan, batch: BatchPlan, user_agent: impl Into<String>) -> Self {
        // Flipt sends one event in each request, and so does its form.
        let max_events = if plan.format == WebhookFormat::Flipt { 1 } else { batch.max_events };
        Self { plan, limits: BatchPlan { max_events, ..batch }.into(), user_agent: user_agent.into() }
    }

    fn request(
        &self,
        content_type: &str,
        id: &BatchId,
        trace: Option<&TraceContext>,
        now: Timestamp,
        body: Vec<u8>,
    ) -> Request {
        let mut headers: Vec<(String, Secret)> = Vec::with_capacity(8);
        let mut add = |name: &str, value: &str| headers.push((name.to_owned(), Secret::new(value)));
        add("content-type", content_type);
        add("user-agent", &self.user_agent);
        add("webhook-id", id.as_str());
        if let Some(trace) = trace.filter(|trace| is_header_text(&trace.traceparent)) {
            add("traceparent", &trace.traceparent);
            if let Some(state) = trace.tracestate.as_deref().filter(|state| is_header_text(state)) {
                add("tracestate", state);
            }
        }
        for plan in &self.plan.signing {
            for (name, value) in sign(plan, now, id.as_str(), &body) {
                add(name, &value);
            }
        }
        let ours = headers.len();
        for (name, value) in &self.plan.headers {
            match headers[..ours].iter_mut().find(|(taken, _)| taken == name) {
                Some(taken) if REPLACEABLE.contains(&name.as_str()) => taken.1 = value.clone(),
                Some(_) => {}
                None => headers.push((name.clone(), value.clone())),
            }
        }
        Request::Http(HttpRequest { url: self.plan.url.clone(), method: "POST", headers, body })
    }

    fn single(&self, record: &StoredRecord, body: Vec<u8>, now: Timestamp) -> Outbound {
        // The id of a batch of one, whoever made it, is the record's own.
        let id = BatchId::of("", &[record.id]);
        let request = self.request("application/json", &id, record.trace.as_ref(), now, body);
        Outbound { members: vec![record.id], request }
    }

    fn render_flipt(&self, deliveries: &[Delivery], context: &RenderContext) -> Rendered {
        let mut rendered = Rendered::default();
        for Delivery { record, .. } in deliveries {
            match flipt_form(record) {
                Ok(body) => rendered.requests.push(self.single(record, body, context.now)),
                Err(message) => {
                    rendered.unrenderable.push((record.id, Reason { code: "no_flipt_form", message }));
                }
            }
        }
        rendered
    }

    fn render_envelopes(&self, deliveries: &[Delivery], context: &RenderContext) -> Rendered {
        if self.limits.max_events == 1 {
            let alone = |delivery: &Delivery| {
                let mut body = Vec::new();
                envelope(delivery, &mut body);
                self.single(&delivery.record, body, context.now)
            };
            return Rendered { requests: deliveries.iter().map(alone).collect(), unrenderable: Vec::new() };
        }
        let (content_type, body) = match self.plan.encoding {
            BatchEncoding::Array => ("application/json", joined(deliveries, b"[", b",", b"]")),
            BatchEncoding::Ndjson => ("application/x-ndjson", joined(deliveries, b"", b"\n", b"\n")),
        };
        // A request that carries several traces belongs to none of them.
        let trace = if let [only] = deliveries { only.record.trace.as_ref() } else { None };
        let request = self.request(content_type, &context.batch_id, trace, context.now, body);
        let members = deliveries.iter().map(|delivery| delivery.record.id).collect();
        Rendered { requests: vec![Outbound { members, request }], unrenderable: Vec::new() }
    }
}

impl Destination for Webhook {
    fn limits(&self) -> Limits {
        self.limits
    }

    fn render(&self, deliveries: &[Delivery], context: &RenderContext) -> Rendered {
        match self.plan.format {
            WebhookFormat::Flipt => self.render_flipt(deliveries, context),
            WebhookFormat::Envelope => self.render_envelopes(deliveries, context),
        }
    }

    fn classify(&self, response: &Response, now: Timestamp) -> Outcome {
        match response {
            Response::Written => Outcome::Delivered,
            Response::Http { status, retry_after, body } => {
                answer::classify(*status, retry_after.as_deref(), body, now, &self.plan)
            }
        }
    }
}

fn flipt_form(record: &StoredRecord) -> Result<Vec<u8>, String> {
    if record.kind != RecordKind::Event {
        let kind = record.kind.as_str();
        return Err(format!(
            "Flipt's own webhook form exists only for audit events; this record is {kind:?}"
        ));
    }
    let json = unwrap(&record.original, record.framing).map_err(|error| error.to_string())?;
    let mut body = Vec::new();
    webhook_body(&json, &mut body).map_err(|error| error.to_string())?;
    Ok(body)
}

fn joined(deliveries: &[Delivery], before: &[u8], between: &[u8], after: &[u8]) -> Vec<u8> {
    let mut body = before.to_vec();
    for (index, delivery) in deliveries.iter().enumerate() {
        if index > 0 {
            body.extend_from_slice(between);
        }
        envelope(delivery, &mut body);
    }
    body.extend_from_slice(after);
    body
}

/// What came in with a record may be anything; only visible ASCII goes out in a header.
fn is_header_text(value: &str) -> bool {
    !value.is_empty() && value.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}
