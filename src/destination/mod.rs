//! What a destination is: two pure functions and its limits, one folder for each kind.
//!
//! [`Destination::render`] turns records into requests, [`Destination::classify`] reads what came back.
//! Neither does any I/O and both get the clock handed in, so that a delivery, a dry run and a golden test
//! run the same code; the one sender in [`crate::delivery`] does all the sending.

pub mod cloudevents;
pub mod console;
pub mod datadog;
pub mod envelope;
mod excerpt;
pub mod file;
pub mod links;
mod message;
pub mod notice;
pub mod otlp;
pub mod redact;
pub mod relay;
pub mod retry_after;
pub mod slack;
pub mod telling;
pub mod template;
pub mod verdict;
pub mod webhook;

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::golden;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::config::plan::BatchPlan;
use crate::config::secret::Secret;
use crate::event::{BatchId, EventId, StoredRecord, Timestamp};

pub use message::Message;
pub use notice::{Notice, NoticeKind};

/// A record on its way to a destination, with what the plan says about it.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The record.
    pub record: StoredRecord,
    /// The environment that its namespace maps to, where one does.
    pub environment: Option<Arc<str>>,
}

/// What a destination may take at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Records in one request, at most; at least 1.
    pub max_events: usize,
    /// Original bytes in one request, at most (one record may exceed it alone).
    pub max_bytes: usize,
    /// How long the first record of a request waits for company; zero sends what is there.
    pub wait: Duration,
    /// Requests that may be under way at the same time, at most, whatever the plan allows; at least 1.
    pub max_concurrency: usize,
    /// The receiver takes nothing whose own time is further back than this: checked before each send, by the
    /// wall clock. `None` for receivers that do not care.
    pub max_event_age: Option<Duration>,
    /// What may share a request.
    pub grouping: Grouping,
    /// Between the end of one request and the next, at least: receivers that allow one a second see no more,
    /// however long either was on its way.
    pub pause: Duration,
}

/// What may share a request, and what it waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Grouping {
    /// Anything: a request goes when its first record has waited, or when it is full.
    #[default]
    Any,
    /// Anything that waits, once the first record has waited; what is urgent goes before, with what waits for the
    /// same flag alone: see [`Company`].
    Digest,
    /// The records of one change set, in a row; every other record alone. Each set waits for itself.
    ChangeSet,
}

/// How a record waits for company. What is urgent or told seldom counts where groups are digests.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Company {
    /// It is left out, by the destination's own documented rules: it waits for nothing and holds up nothing.
    pub is_left_out: bool,
    /// It ends the wait at once, for itself and for what stands before it in its order.
    pub is_urgent: bool,
    /// It is told seldom, apart from the order of others. Only what has no place in the order of a flag may be.
    pub seldom: Option<Seldom>,
}

/// Records under one word are told together, and then not again for a while (over restarts, too). They hold up
/// nothing that comes after them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seldom {
    /// What they have in common. It is kept in the journal: no personal data.
    pub word: String,
    /// How long nothing more is told under it.
    pub every: Duration,
}

impl From<BatchPlan> for Limits {
    fn from(batch: BatchPlan) -> Self {
        let max_events = batch.max_events.max(1);
        let wait = if max_events == 1 { Duration::ZERO } else { batch.timeout };
        Self {
            max_events,
            max_bytes: batch.max_bytes,
            wait,
            max_concurrency: usize::MAX,
            max_event_age: None,
            grouping: Grouping::Any,
            pause: Duration::ZERO,
        }
    }
}

/// What rendering may know beside the records.
#[derive(Debug, Clone)]
pub struct RenderContext {
    /// The time of this attempt.
    pub now: Timestamp,
    /// 1 for the first attempt.
    pub attempt: u32,
    /// The id of the group: fixed before its first attempt.
    pub batch_id: BatchId,
    /// Whether a person asked for these once more (`audit-relay-replay: true`).
    pub replay: bool,
}

/// Requests, and the records that this destination leaves out by its own documented rules.
#[derive(Debug, Default)]
pub struct Rendered {
    /// What to send, in order.
    pub requests: Vec<Outbound>,
    /// Records that cannot be rendered here: each becomes a dead letter with its reason.
    pub unrenderable: Vec<(EventId, Reason)>,
    /// Records that this destination leaves out by its own documented rules; they count as not routed.
    pub left_out: Vec<EventId>,
}

/// Why a record is not delivered: a stable word for machines and a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// A word such as `no_flipt_form`, `rejected`, `expired`.
    pub code: &'static str,
    /// What a person should know; carries no secret. A log line holds its [`Message::own_words`] only.
    pub message: Message,
}

/// One request and the records it carries.
#[derive(Debug)]
pub struct Outbound {
    /// The ids of the records that this request delivers.
    pub members: Vec<EventId>,
    /// What to do.
    pub request: Request,
}

/// What the sender can do for a destination.
#[derive(Debug)]
pub enum Request {
    /// One HTTP request.
    Http(HttpRequest),
    /// Write these bytes to standard output.
    Stdout(Vec<u8>),
    /// Append these bytes to a file (created with mode 0600, directories too) and fsync it.
    AppendFile {
        /// Where.
        path: PathBuf,
        /// What: whole lines.
        bytes: Vec<u8>,
    },
}

/// One HTTP request, ready to be sent.
#[derive(Debug)]
pub struct HttpRequest {
    /// Always a whole URL; may hold a secret.
    pub url: Arc<Secret>,
    /// `POST` nearly always.
    pub method: &'static str,
    /// Names in lower case; values may hold secrets.
    pub headers: Vec<(String, Secret)>,
    /// The body.
    pub body: Vec<u8>,
    /// Whether the receiver may learn of the trace that this is part of: not where it is somebody else's service.
    pub propagates: bool,
}

/// What came back from a request that was carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    /// Bytes were written, and are durable where that was asked for.
    Written,
    /// An HTTP answer.
    Http {
        /// Its status code.
        status: u16,
        /// The `Retry-After` header, as it came.
        retry_after: Option<String>,
        /// The `X-RateLimit-Reset` header, as it came; what it counts differs between receivers.
        rate_limit_reset: Option<String>,
        /// At most the first 64 KiB of its body.
        body: Vec<u8>,
    },
}

impl Response {
    /// The status code of an HTTP answer.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Written => None,
            Self::Http { status, .. } => Some(*status),
        }
    }
}

/// What an answer means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The members are delivered.
    Delivered,
    /// Try again, not before the given wait where the receiver named one.
    Retry {
        /// The receiver's `Retry-After`, as a wait from now.
        not_before: Option<Duration>,
        /// What came back.
        reason: Reason,
    },
    /// The receiver will not take these records, whatever else it takes: a request of several is split, one
    /// alone is a dead letter.
    Rejected(Reason),
    /// The answer speaks of the endpoint, not of these records: wrong address, wrong credentials. The lane
    /// is blocked and probes.
    Blocked {
        /// Whether the receiver said that it wants nothing any more (410): not even probes.
        gone: bool,
        /// What came back.
        reason: Reason,
    },
}

impl Outcome {
    /// In one stable word: `delivered`, `retry`, `rejected`, `blocked`.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Retry { .. } => "retry",
            Self::Rejected(_) => "rejected",
            Self::Blocked { .. } => "blocked",
        }
    }

    /// Why it is not delivered.
    #[must_use]
    pub const fn reason(&self) -> Option<&Reason> {
        match self {
            Self::Delivered => None,
            Self::Retry { reason, .. } | Self::Rejected(reason) | Self::Blocked { reason, .. } => {
                Some(reason)
            }
        }
    }
}

/// A destination: two pure functions and its limits.
pub trait Destination: Send + Sync {
    /// What it takes at once.
    fn limits(&self) -> Limits;

    /// Turns `deliveries` (in order, never empty, within [`Destination::limits`]) into requests.
    fn render(&self, deliveries: &[Delivery], context: &RenderContext) -> Rendered;

    /// How a record waits for company here.
    fn company(&self, _delivery: &Delivery) -> Company {
        Company::default()
    }

    /// Turns a problem of the relay into requests; `None` where this destination has no form for one. Pure, like
    /// [`Destination::render`]; what comes back is read by [`Destination::classify`].
    fn notice(&self, _notice: &Notice, _context: &RenderContext) -> Option<Vec<Request>> {
        None
    }

    /// Reads what came back at `now`.
    fn classify(&self, response: &Response, now: Timestamp) -> Outcome;

    /// What a receiver that took everything says nevertheless, on one line without secrets: a person should know.
    fn remark(&self, _response: &Response) -> Option<Message> {
        None
    }

    /// The beginning of what a receiver said, on one line, without what it repeats of this destination's
    /// secrets; nothing, unless the destination knows how.
    fn excerpt(&self, _body: &[u8]) -> String {
        String::new()
    }
}

/// Reads what came back from a write on this machine; an HTTP answer to one means a mix-up, and is tried again.
fn classify_local(response: &Response) -> Outcome {
    match response {
        Response::Written => Outcome::Delivered,
        Response::Http { status, .. } => Outcome::Retry {
            not_before: None,
            reason: Reason {
                code: "not_written",
                message: format!("expected a write, got HTTP status {status}").into(),
            },
        },
    }
}
