//! Webhooks: the very request that Flipt's own webhook sink sends, our envelope, CloudEvents, or what a
//! template makes.

mod answer;

use super::cloudevents::{self, cloud_event};
use super::envelope::envelope;
use super::template::{Made, Template, TemplateError};
use super::verdict::verdict;
use super::{
    Delivery, Destination, HttpRequest, Limits, Notice, Outbound, Outcome, Reason, RenderContext, Rendered,
    Request, Response,
};
use crate::config::plan::{BatchEncoding, BatchPlan, WebhookFormat, WebhookPlan};
use crate::config::secret::Secret;
use crate::event::{BatchId, RecordKind, StoredRecord, Timestamp, TraceContext};
use crate::flipt::{unwrap, webhook_body};
use crate::signing::sign;

/// What we call ourselves in `user-agent`, unless the configuration says otherwise.
pub const USER_AGENT: &str = concat!("audit-relay/", env!("CARGO_PKG_VERSION"));

/// The content type of most bodies.
const JSON: &str = "application/json";

/// The content type of one JSON text a line.
pub(super) const NDJSON: &str = "application/x-ndjson";

/// The headers that a configuration may change; those that identify and sign a request it may not.
const REPLACEABLE: [&str; 2] = ["content-type", "user-agent"];

/// A webhook.
#[derive(Debug)]
pub struct Webhook {
    plan: WebhookPlan,
    limits: Limits,
    user_agent: String,
    /// Compiled, where the format is one; what is wrong with it was told with the configuration.
    template: Option<Result<Template, TemplateError>>,
}

/// What a request carries.
pub(super) struct Content<'a> {
    content_type: &'a str,
    /// Beside those of the plan.
    headers: Vec<(String, Secret)>,
    body: Vec<u8>,
}

impl<'a> Content<'a> {
    pub(super) fn new(content_type: &'a str, body: Vec<u8>) -> Self {
        Self { content_type, headers: Vec::new(), body }
    }
}

impl Webhook {
    /// A webhook as planned; `user_agent` is [`USER_AGENT`] but in tests.
    #[must_use]
    pub fn new(plan: WebhookPlan, batch: BatchPlan, user_agent: impl Into<String>) -> Self {
        let max_events = if plan.format.is_single() { 1 } else { batch.max_events };
        let template = match &plan.format {
            WebhookFormat::Template(template) => Some(Template::new(template)),
            _ => None,
        };
        Self {
            plan,
            template,
            limits: BatchPlan { max_events, ..batch }.into(),
            user_agent: user_agent.into(),
        }
    }

    /// The request that carries `content` under `id`, with all that says who sends it.
    pub(super) fn request(
        &self,
        content: Content<'_>,
        id: &BatchId,
        trace: Option<&TraceContext>,
        context: &RenderContext,
    ) -> Request {
        let mut headers: Vec<(String, Secret)> = Vec::with_capacity(8);
        let mut add = |name: &str, value: &str| headers.push((name.to_owned(), Secret::new(value)));
        add("content-type", content.content_type);
        add("user-agent", &self.user_agent);
        add("webhook-id", id.as_str());
        if context.replay {
            add("audit-relay-replay", "true");
        }
        if let Some(trace) = trace.filter(|trace| is_header_text(&trace.traceparent)) {
            add("traceparent", &trace.traceparent);
            if let Some(state) = trace.tracestate.as_deref().filter(|state| is_header_text(state)) {
                add("tracestate", state);
            }
        }
        for plan in &self.plan.signing {
            for (name, value) in sign(plan, context.now, id.as_str(), &content.body) {
                add(name, &value);
            }
        }
        let ours = headers.len();
        for (name, value) in self.plan.headers.iter().chain(&content.headers) {
            match headers[..ours].iter_mut().find(|(taken, _)| taken == name) {
                Some(taken) if REPLACEABLE.contains(&name.as_str()) => taken.1 = value.clone(),
                Some(_) => {}
                None => headers.push((name.clone(), value.clone())),
            }
        }
        let (url, body) = (self.plan.url.clone(), content.body);
        Request::Http(HttpRequest { url, method: "POST", headers, body, propagates: true })
    }

    fn single(&self, record: &StoredRecord, content: Content<'_>, context: &RenderContext) -> Outbound {
        // The id of a batch of one, whoever made it, is the record's own.
        let id = BatchId::of("", &[record.id]);
        let request = self.request(content, &id, record.trace.as_ref(), context);
        Outbound { members: vec![record.id], request }
    }

    /// One request for each record, none of which can fail.
    fn render_alone(
        &self,
        deliveries: &[Delivery],
        context: &RenderContext,
        content_type: &str,
        write: fn(&Delivery, &mut Vec<u8>),
    ) -> Rendered {
        let alone = |delivery: &Delivery| {
            let mut body = Vec::new();
            write(delivery, &mut body);
            self.single(&delivery.record, Content::new(content_type, body), context)
        };
        Rendered { requests: deliveries.iter().map(alone).collect(), ..Rendered::default() }
    }

    fn render_flipt(&self, deliveries: &[Delivery], context: &RenderContext) -> Rendered {
        let mut rendered = Rendered::default();
        for Delivery { record, .. } in deliveries {
            match flipt_form(record) {
                Ok(body) => rendered.requests.push(self.single(record, Content::new(JSON, body), context)),
                Err(message) => {
                    rendered
                        .unrenderable
                        .push((record.id, Reason { code: "no_flipt_form", message: message.into() }));
                }
            }
        }
        rendered
    }

    fn render_template(
        &self,
        deliveries: &[Delivery],
        context: &RenderContext,
        content_type: &str,
    ) -> Rendered {
        let mut rendered = Rendered::default();
        for delivery in deliveries {
            let record = &delivery.record;
            let made = match &self.template {
                Some(Ok(template)) => template.render(delivery).map_err(|error| error.message),
                Some(Err(error)) => Err(error.message.clone()),
                None => Err("there is no template".into()),
            };
            match made {
                Ok(Some(Made { body, headers })) => {
                    let content = Content { content_type, headers, body };
                    rendered.requests.push(self.single(record, content, context));
                }
                Ok(None) => rendered.left_out.push(record.id),
                Err(message) => {
                    rendered.unrenderable.push((record.id, Reason { code: "template_failed", message }));
                }
            }
        }
        rendered
    }

    fn render_envelopes(&self, deliveries: &[Delivery], context: &RenderContext) -> Rendered {
        if self.limits.max_events == 1 {
            return self.render_alone(deliveries, context, JSON, envelope);
        }
        let (content_type, body) = match self.plan.encoding {
            BatchEncoding::Array => (JSON, joined(deliveries, b"[", b",", b"]")),
            BatchEncoding::Ndjson => (NDJSON, joined(deliveries, b"", b"\n", b"\n")),
        };
        // A request that carries several traces belongs to none of them.
        let trace = if let [only] = deliveries { only.record.trace.as_ref() } else { None };
        let request = self.request(Content::new(content_type, body), &context.batch_id, trace, context);
        let members = deliveries.iter().map(|delivery| delivery.record.id).collect();
        Rendered { requests: vec![Outbound { members, request }], ..Rendered::default() }
    }
}

impl Destination for Webhook {
    fn limits(&self) -> Limits {
        self.limits
    }

    fn render(&self, deliveries: &[Delivery], context: &RenderContext) -> Rendered {
        match &self.plan.format {
            WebhookFormat::Flipt => self.render_flipt(deliveries, context),
            WebhookFormat::Envelope => self.render_envelopes(deliveries, context),
            WebhookFormat::CloudEvents => {
                self.render_alone(deliveries, context, cloudevents::CONTENT_TYPE, cloud_event)
            }
            WebhookFormat::Template(plan) => self.render_template(deliveries, context, &plan.content_type),
        }
    }

    /// Flipt's own form has no room for it, and a template is for what it was written for.
    fn notice(&self, notice: &Notice, context: &RenderContext) -> Option<Vec<Request>> {
        let content = match self.plan.format {
            WebhookFormat::Flipt | WebhookFormat::Template(_) => return None,
            WebhookFormat::CloudEvents => Content::new(cloudevents::CONTENT_TYPE, notice.cloud_event()),
            WebhookFormat::Envelope if self.limits.max_events == 1 => Content::new(JSON, notice.envelope()),
            WebhookFormat::Envelope => match self.plan.encoding {
                BatchEncoding::Array => Content::new(JSON, [b"[", &notice.envelope()[..], b"]"].concat()),
                BatchEncoding::Ndjson => {
                    Content::new("application/x-ndjson", [&notice.envelope()[..], b"\n"].concat())
                }
            },
        };
        Some(vec![self.request(content, &BatchId::from_stored(notice.id.clone()), None, context)])
    }

    fn classify(&self, response: &Response, now: Timestamp) -> Outcome {
        match response {
            Response::Written => Outcome::Delivered,
            Response::Http { status, retry_after, body, .. } => {
                verdict(*status, retry_after.as_deref(), now, || answer::message(*status, body, &self.plan))
            }
        }
    }

    fn excerpt(&self, body: &[u8]) -> String {
        answer::excerpt(body, &self.plan)
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
