//! Deliveries: a span for each time that something goes out, linked to the contexts it carries, and below it one for
//! each HTTP request.
//!
//! A delivery is a trace of its own, since it may come long after what it carries was accepted and may carry many
//! (<https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/>). When it is tried again, the new span
//! is below the first one. Requests are <https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-client>.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{
    Link, Span as _, SpanContext, SpanKind, Status, TraceContextExt as _, Tracer as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::Span;
use url::Url;

use super::{Live, SYSTEM, Tracer, context};
use crate::config::secret::Secret;
use crate::event::{EventId, StoredRecord, Timestamp, TraceContext};

/// The `error.type` of what the end of the relay cut off.
const CUT_OFF: &str = "cancelled";

/// What holds the attempts of one delivery together: the context of the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thread(SpanContext);

impl Thread {
    /// The id of their trace, as logs tell it.
    #[must_use]
    pub fn trace_id(&self) -> String {
        self.0.trace_id().to_string()
    }
}

/// What goes out together.
#[derive(Debug)]
pub struct Outgoing {
    /// The destination.
    pub destination: String,
    /// Its type, as the configuration spells it.
    pub destination_type: &'static str,
    /// The id of the group.
    pub batch_id: String,
    /// 1 for the first attempt.
    pub attempt: u32,
    /// Whether an operator asked for it once more.
    pub is_replay: bool,
    /// What is carried.
    pub carried: Carried,
    /// The environment of the first record.
    pub environment: Option<Arc<str>>,
    /// When it was chosen to go, before it was rendered and committed.
    pub begun: SystemTime,
    /// How long it took to render.
    pub rendering: Duration,
    /// That of the attempt before, where there was one.
    pub thread: Option<Thread>,
}

/// What is told of the records that go out.
#[derive(Debug, Default)]
pub struct Carried {
    links: Vec<Link>,
    count: usize,
    bytes: usize,
    only: Option<EventId>,
    oldest: Option<Timestamp>,
}

impl Carried {
    /// Of these records.
    pub fn of<'a>(records: impl Iterator<Item = &'a StoredRecord>) -> Self {
        let mut carried = Self::default();
        for record in records {
            carried.link(record.trace.as_ref());
            carried.count += 1;
            carried.bytes += record.original.len();
            carried.only = (carried.count == 1).then_some(record.id);
            carried.oldest = carried.oldest.into_iter().chain([record.accepted_at]).min();
        }
        carried
    }

    fn link(&mut self, context: Option<&TraceContext>) {
        let context = context.and_then(context::read);
        self.links.extend(context.map(|context| Link::new(context, Vec::new(), 0)));
    }

    /// Nothing but these contexts.
    #[cfg(test)]
    pub(super) fn linked(contexts: &[TraceContext]) -> Self {
        let mut carried = Self::default();
        contexts.iter().for_each(|context| carried.link(Some(context)));
        carried
    }
}

/// A delivery that is under way; nothing, where no spans are made.
#[derive(Debug, Default)]
pub struct Sending {
    open: Option<(Live, Span)>,
    attempt: u32,
    thread: Option<Thread>,
}

/// Where a request goes.
#[derive(Debug)]
pub struct Target<'a> {
    /// `POST` and the like.
    pub method: &'static str,
    /// Of which scheme, host and port are told.
    pub url: &'a Secret,
    /// Of the body.
    pub size_bytes: usize,
}

/// One request that is under way.
#[derive(Debug, Default)]
pub struct Attempt(Option<Span>);

impl Tracer {
    /// Something goes out.
    #[must_use]
    pub fn send(&self, outgoing: Outgoing) -> Sending {
        let Some(live) = self.live() else { return Sending::default() };
        let (attempt, thread) = (outgoing.attempt, outgoing.thread.clone());
        let above = thread.as_ref().map_or_else(Context::new, |Thread(first)| {
            Context::new().with_remote_span_context(first.clone())
        });
        let told = outgoing.attributes();
        let builder = live
            .tracer
            .span_builder(format!("send {}", outgoing.destination))
            .with_kind(SpanKind::Client)
            .with_start_time(outgoing.begun)
            .with_links(outgoing.carried.links)
            .with_attributes(told);
        let span = live.tracer.build_with_context(builder, &above);
        Sending { open: Some((live, span)), attempt, thread }
    }
}

impl Outgoing {
    fn attributes(&self) -> Vec<KeyValue> {
        let carried = &self.carried;
        let seconds = |from: SystemTime| from.elapsed().unwrap_or_default().as_secs_f64();
        let whole = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        let mut told = Vec::with_capacity(16);
        told.extend([
            KeyValue::new("messaging.system", SYSTEM),
            KeyValue::new("messaging.operation.name", "send"),
            KeyValue::new("messaging.operation.type", "send"),
            KeyValue::new("messaging.destination.name", self.destination.clone()),
            KeyValue::new("messaging.message.body.size", whole(carried.bytes)),
            KeyValue::new("audit_relay.destination.type", self.destination_type),
            KeyValue::new("audit_relay.batch.id", self.batch_id.clone()),
            KeyValue::new("audit_relay.attempt", i64::from(self.attempt)),
            KeyValue::new("audit_relay.render_seconds", self.rendering.as_secs_f64()),
            KeyValue::new(
                "audit_relay.commit_seconds",
                (seconds(self.begun) - self.rendering.as_secs_f64()).max(0.0),
            ),
        ]);
        match carried.only {
            Some(id) => told.push(KeyValue::new("messaging.message.id", id.to_string())),
            None => told.push(KeyValue::new("messaging.batch.message_count", whole(carried.count))),
        }
        if let Some(oldest) = carried.oldest {
            let waited = Timestamp::now().since(oldest);
            told.push(KeyValue::new("audit_relay.wait_seconds", waited.as_secs_f64()));
        }
        if let Some(environment) = &self.environment {
            told.push(KeyValue::new("flipt.audit.environment", environment.to_string()));
        }
        if self.is_replay {
            told.push(KeyValue::new("audit_relay.replay", true));
        }
        told
    }
}

impl Sending {
    /// What holds this and later attempts together; nothing, where no spans are made.
    #[must_use]
    pub fn thread(&self) -> Option<Thread> {
        let own = |(_, span): &(Live, Span)| Thread(span.span_context().clone());
        self.thread.clone().or_else(|| self.open.as_ref().map(own)).filter(|Thread(first)| first.is_valid())
    }

    /// Whether spans are made of it.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.open.is_some()
    }

    /// A request goes out.
    #[must_use]
    pub fn attempt(&self, target: &Target<'_>) -> Attempt {
        let Some((live, span)) = &self.open else { return Attempt::default() };
        let above = Context::new().with_remote_span_context(span.span_context().clone());
        let told = if span.is_recording() { target.attributes(self.attempt) } else { Vec::new() };
        let builder =
            live.tracer.span_builder(target.method).with_kind(SpanKind::Client).with_attributes(told);
        Attempt(Some(live.tracer.build_with_context(builder, &above)))
    }

    /// What the headers of a request may carry; nothing, where that is switched off.
    #[must_use]
    pub fn header(&self, attempt: &Attempt) -> Option<TraceContext> {
        let (live, _) = self.open.as_ref()?;
        let span = attempt.0.as_ref().filter(|_| live.propagates)?;
        span.span_context().is_valid().then(|| context::write(span.span_context()))
    }

    /// It has ended: `outcome` in one word, and the reason where it was not `delivered`. What an event may hold must
    /// not be in either.
    pub fn ended(mut self, outcome: &'static str, error: Option<&'static str>) {
        let Some((_, mut span)) = self.open.take() else { return };
        span.set_attribute(KeyValue::new("audit_relay.outcome", outcome));
        fail(&mut span, error.map(Cow::Borrowed));
        span.end();
    }
}

/// One that nobody sees to its end was cut off.
impl Drop for Sending {
    fn drop(&mut self) {
        if let Some((_, mut span)) = self.open.take() {
            span.set_attribute(KeyValue::new("audit_relay.outcome", "interrupted"));
            fail(&mut span, Some(CUT_OFF.into()));
            span.end();
        }
    }
}

impl Target<'_> {
    fn attributes(&self, attempt: u32) -> Vec<KeyValue> {
        let mut told = Vec::with_capacity(12);
        told.extend([
            KeyValue::new("http.request.method", self.method),
            KeyValue::new("http.request.body.size", i64::try_from(self.size_bytes).unwrap_or(i64::MAX)),
        ]);
        if attempt > 1 {
            told.push(KeyValue::new("http.request.resend_count", i64::from(attempt - 1)));
        }
        let Ok(url) = Url::parse(self.url.expose()) else { return told };
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        told.push(KeyValue::new("url.full", redacted(&url)));
        told.push(KeyValue::new("url.scheme", url.scheme().to_owned()));
        told.push(KeyValue::new("server.address", host.to_owned()));
        told.extend(url.port_or_known_default().map(|port| KeyValue::new("server.port", i64::from(port))));
        told
    }
}

/// Scheme, host and port: of what follows, any part may be a secret.
fn redacted(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let has_more = !matches!(url.path(), "" | "/") || url.query().is_some();
    let rest = if has_more { "REDACTED" } else { "" };
    format!("{}://{}{port}/{rest}", url.scheme(), url.host_str().unwrap_or_default())
}

impl Attempt {
    /// It was answered by this status.
    pub fn answered(mut self, status: u16) {
        let Some(mut span) = self.0.take() else { return };
        span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status)));
        span.set_attribute(KeyValue::new("network.protocol.name", "http"));
        fail(&mut span, (status >= 400).then(|| Cow::Owned(status.to_string())));
        span.end();
    }

    /// Nothing came back, for this kind of reason.
    pub fn failed(mut self, error: &'static str) {
        let Some(mut span) = self.0.take() else { return };
        fail(&mut span, Some(Cow::Borrowed(error)));
        span.end();
    }
}

/// As that of [`Sending`].
impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some(mut span) = self.0.take() {
            fail(&mut span, Some(CUT_OFF.into()));
            span.end();
        }
    }
}

fn fail(span: &mut Span, error: Option<Cow<'static, str>>) {
    if let Some(error) = error {
        span.set_attribute(KeyValue::new("error.type", error));
        span.set_status(Status::error(""));
    }
}
