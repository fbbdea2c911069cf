//! One event that says of itself that it is a test, sent to one destination as its lane would send it.

use super::Refusal;
use super::words::{self, brief};
use crate::config::plan::{DestinationPlan, Plan};
use crate::config::secret::address;
use crate::delivery::{link, outcome_of};
use crate::destination::telling;
use crate::destination::{Delivery, Destination, Outcome, Reason, RenderContext, Request, Response};
use crate::event::{
    BatchId, EventId, Framing, Incarnation, Keys, Known, OrderRef, RecordKind, StoredRecord, Timestamp,
    Without,
};
use crate::flipt::{LineKind, read_line};

/// The flag that a test is about, and the namespace that it is in: neither is there.
const NAME: &str = "audit-relay-test";

/// Who does it.
const ACTOR: &str = "audit-relay send-test";

/// The source that it is from.
const SOURCE: &str = telling::TEST;

/// What a test says of itself.
const DESCRIPTION: &str = "A test by `audit-relay send-test`: no flag was changed.";

/// The header that marks the request of a test.
const HEADER: &str = "audit-relay-test";

/// Characters of a header that are shown.
const MAX_SHOWN: usize = 200;

/// What became of a test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    /// The id of the event.
    pub id: EventId,
    /// Where it went, without secrets; none where nothing was sent.
    pub to: Option<String>,
    /// What came back, line by line.
    pub answer: Vec<String>,
    /// What that means.
    pub meaning: String,
    /// Whether it arrived.
    pub is_delivered: bool,
}

/// Sends a test to a destination of the plan, whatever its routes say.
///
/// # Errors
/// When there is no such destination, or it cannot work.
pub async fn send_test(plan: &Plan, name: &str) -> Result<Trial, Refusal> {
    super::know(name, plan.destinations.keys().map(String::as_str))?;
    let destination = &plan.destinations[name];
    let (speaks, sender) = link(destination)
        .map_err(|why| Refusal::failure(format!("{name} cannot work: {}", brief(&why, 1_000))))?;
    let now = Timestamp::now();
    let delivery = test_event(plan, now);
    let id = delivery.record.id;
    let context = RenderContext { now, attempt: 1, batch_id: BatchId::of(name, &[id]), replay: false };
    let rendered = speaks.render(std::slice::from_ref(&delivery), &context);
    let mut trial = Trial { id, to: None, answer: Vec::new(), meaning: String::new(), is_delivered: false };
    if let Some((_, reason)) = rendered.unrenderable.first() {
        trial.meaning = format!("it cannot be put into this destination's form: {}", told(reason));
    }
    if rendered.left_out.contains(&id) {
        trial.meaning = "nothing was sent: the destination leaves this event out by its own rules".to_owned();
    }
    for outbound in rendered.requests {
        let request = marked(outbound.request);
        trial.to = Some(target(&request));
        let outcome = match sender.send(request, destination.timeout).await {
            Ok(response) => {
                trial.answer = shown(&response, speaks.as_ref());
                speaks.classify(&response, Timestamp::now())
            }
            Err(error) => outcome_of(error),
        };
        trial.is_delivered = outcome == Outcome::Delivered;
        trial.meaning = meaning(&outcome, destination);
        if !trial.is_delivered {
            break;
        }
    }
    Ok(trial)
}

/// A test as Flipt would write it, by the second.
pub(super) fn original(now: Timestamp) -> Vec<u8> {
    let time = Timestamp::from_unix_micros(now.unix_seconds() * 1_000_000);
    // Its keys stand in Flipt's order.
    format!(
        r#"{{"version":"0.2","type":"flag","action":"updated","status":"success","metadata":{{"actor":{{"authentication":"none","name":"{ACTOR}"}}}},"payload":{{"description":"{DESCRIPTION}","enabled":false,"key":"{NAME}","name":"{NAME}","namespace_key":"{NAME}"}},"timestamp":"{time}"}}"#
    )
    .into_bytes()
}

/// An event in Flipt's own shape.
fn test_event(plan: &Plan, now: Timestamp) -> Delivery {
    let time = Timestamp::from_unix_micros(now.unix_seconds() * 1_000_000);
    let original = original(now);
    let first = plan.sources.values().next();
    let instance = first.map_or("flipt", |source| source.instance.as_str());
    // Two tests of one second are two events.
    let incarnation = Incarnation::name(&plan.name, SOURCE, now.to_string().as_bytes(), 0);
    let keys = match read_line(&original, Framing::Auto, instance) {
        LineKind::Event { keys, .. } => keys,
        LineKind::Ignored | LineKind::Unparsed { .. } => Keys::barrier(crate::event::Namespace::Unknown),
    };
    let order_key = match keys.order {
        OrderRef::Known(key) => Some(key),
        OrderRef::Through(_) | OrderRef::Barrier => None,
    };
    let known = serde_json::to_string(&Known::nothing(Without::FirstSeen)).ok().map(String::into_boxed_str);
    let record = StoredRecord {
        sequence: 0,
        id: EventId::of_line(incarnation, 0, &original),
        kind: RecordKind::Event,
        source: SOURCE.into(),
        instance: instance.into(),
        epoch: SOURCE.into(),
        accepted_at: now,
        event_time: Some(time),
        namespace: keys.namespace,
        entity: keys.entity,
        order_key,
        framing: Framing::Auto,
        original,
        detail: None,
        trace: None,
        origin: None,
        known,
        change_set: None,
        running: std::time::Duration::ZERO,
    };
    let environment = plan.routes.environments.of(&record.namespace).cloned();
    Delivery { record, environment }
}

fn marked(mut request: Request) -> Request {
    if let Request::Http(http) = &mut request {
        http.headers.push((HEADER.to_owned(), crate::config::secret::Secret::new("true")));
    }
    request
}

fn target(request: &Request) -> String {
    match request {
        Request::Http(http) => format!("{} {}", http.method, address(http.url.expose())),
        Request::Stdout(_) => "standard output".to_owned(),
        Request::AppendFile { path, .. } => words::escaped(&path.display().to_string()),
    }
}

fn shown(response: &Response, destination: &dyn Destination) -> Vec<String> {
    let Response::Http { status, retry_after, body, .. } = response else {
        return vec!["written".to_owned()];
    };
    let mut lines = vec![format!("status {status}")];
    lines.extend(retry_after.as_ref().map(|wait| format!("retry-after: {}", brief(wait, MAX_SHOWN))));
    let excerpt = words::escaped(&destination.excerpt(body));
    if !excerpt.is_empty() {
        lines.push(excerpt);
    }
    lines
}

fn meaning(outcome: &Outcome, plan: &DestinationPlan) -> String {
    match outcome {
        Outcome::Delivered => "delivered".to_owned(),
        Outcome::Retry { not_before, reason } => {
            let wait = match not_before {
                Some(wait) => format!("not before {wait:?}, as the receiver asks"),
                None => format!(
                    "within {:?}, then after longer and longer waits up to {:?}",
                    plan.retry.initial_backoff, plan.retry.max_backoff
                ),
            };
            format!("not delivered, for now: {}; a relay would try again {wait}", told(reason))
        }
        Outcome::Rejected(reason) => format!(
            "rejected: the receiver will not take this event: {}; with a relay it would be a dead letter",
            told(reason)
        ),
        Outcome::Blocked { gone: true, reason } => format!(
            "blocked: the receiver wants nothing any more: {}; a relay would send nothing until the \
             configuration changes, or `resume`",
            told(reason)
        ),
        Outcome::Blocked { gone: false, reason } => format!(
            "blocked: the address or the credentials are wrong, not this event: {}; a relay would keep what \
             is for it, and probe",
            told(reason)
        ),
    }
}

fn told(reason: &Reason) -> String {
    format!("{} ({})", brief(&reason.message, 1_000), reason.code)
}
