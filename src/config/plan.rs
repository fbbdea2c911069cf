//! What a configuration means: validated, every default filled in, nothing left to interpret.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::secret::Secret;
use crate::event::{Framing, Timestamp};
use crate::routing::RouteTable;

/// A validated configuration.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The relay's own name: part of every event id. Default `audit-relay`.
    pub name: String,
    /// Where journal, lock and reserve live.
    pub data_dir: PathBuf,
    /// Sources by name.
    pub sources: BTreeMap<String, SourcePlan>,
    /// Destinations by name.
    pub destinations: BTreeMap<String, DestinationPlan>,
    /// Which records go where, and what environment a namespace is.
    pub routes: RouteTable,
    /// How long and how much is kept.
    pub journal: JournalPlan,
    /// The health listener; its work comes with a later version.
    pub health_listen: SocketAddr,
    /// The admin listener; its work comes with a later version.
    pub admin_listen: SocketAddr,
    /// What is logged, and how.
    pub log: LogPlan,
    /// How long a shutdown may deliver what waits.
    pub shutdown_timeout: Duration,
    /// How long files are kept open after SIGTERM before lanes drain.
    pub shutdown_keep_reading: Duration,
}

/// How long and how much the journal keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalPlan {
    /// Records older than this, and passed by every lane, are removed.
    pub keep: Duration,
    /// Used pages and WAL together stay below this.
    pub max_size_bytes: u64,
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPlan {
    /// The least severe level that shows, per module: `info` or `info,audit_relay::source=debug`.
    pub level: String,
    /// Text or JSON; `None` decides by whether standard error is a terminal.
    pub format: Option<LogFormat>,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum LogFormat {
    Text,
    Json,
}

/// One source.
#[derive(Debug, Clone, PartialEq)]
pub struct SourcePlan {
    /// The Flipt it belongs to (`instance`, default `flipt`).
    pub instance: String,
    /// The environment of all its events, where the source fixes it.
    pub environment: Option<Arc<str>>,
    /// What it is.
    pub kind: SourceKind,
}

/// What a source is.
#[derive(Debug, Clone, PartialEq)]
pub enum SourceKind {
    /// Tails files.
    File(FileSourcePlan),
    /// Takes pushes; its work comes with a later version.
    Http,
}

/// A source that tails files.
#[derive(Debug, Clone, PartialEq)]
pub struct FileSourcePlan {
    /// Paths and globs, as written; at least one.
    pub paths: Vec<String>,
    /// How lines are wrapped.
    pub framing: Framing,
    /// Where to begin with files that this source meets on its very first start.
    pub read_from: ReadFrom,
    /// The longest line that is kept whole, in bytes (default and maximum 4 MiB).
    pub max_event_bytes: usize,
    /// Where rotated copies are moved to, if not beside the file.
    pub rotated_dir: Option<PathBuf>,
    /// How long a renamed file may be silent before it counts as finished.
    pub rotated_idle: Duration,
    /// Whether globs take rotated copies too.
    pub include_rotated: bool,
    /// How often to look where the system cannot tell of changes.
    pub poll_interval: Duration,
    /// Whether to ask the system for changes, or to look.
    pub watch: WatchMode,
}

/// How changes of files are noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchMode {
    /// By the system's notifications, by looking where these fail or cannot see.
    Auto,
    /// By looking every `poll_interval`.
    Poll,
}

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadFrom {
    /// With the first byte.
    Beginning,
    /// With the first line that is written after the first start.
    End,
}

/// One destination.
#[derive(Debug, Clone)]
pub struct DestinationPlan {
    /// What it is; `Err` says why it cannot work now (a missing secret, a kind of a later version), which
    /// blocks it alone.
    pub kind: Result<DestinationKind, String>,
    /// Whether, where it cannot work now, what is routed to it is kept until it can (a secret is missing);
    /// false for what this version does not have at all.
    pub keeps_place: bool,
    /// Grouping of records.
    pub batch: BatchPlan,
    /// How failed attempts are repeated.
    pub retry: RetryPlan,
    /// Which records it takes at all, by their age.
    pub deliver_since: DeliverSince,
    /// How long one attempt may take.
    pub timeout: Duration,
}

/// How records are grouped into requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchPlan {
    /// Records in one request, at most.
    pub max_events: usize,
    /// Original bytes in one request, at most.
    pub max_bytes: usize,
    /// How long the first record waits for company.
    pub timeout: Duration,
}

/// How failed attempts are repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPlan {
    /// The first wait's upper bound.
    pub initial_backoff: Duration,
    /// Every wait's upper bound.
    pub max_backoff: Duration,
}

/// Which records a destination takes, by the event's own time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliverSince {
    /// All that the journal holds.
    Beginning,
    /// Those not older than the moment the journal first saw the destination.
    Now,
    /// Those not older than this.
    Time(Timestamp),
}

/// What a destination is.
#[derive(Debug, Clone)]
pub enum DestinationKind {
    /// HTTP requests.
    Webhook(WebhookPlan),
    /// Standard output.
    Console(ConsolePlan),
    /// NDJSON files.
    File(FileDestinationPlan),
}

/// A webhook.
#[derive(Debug, Clone)]
pub struct WebhookPlan {
    /// Where to.
    pub url: Arc<Secret>,
    /// What the body looks like.
    pub format: WebhookFormat,
    /// One JSON array, or one JSON text a line, where more than one record may travel together.
    pub encoding: BatchEncoding,
    /// Further headers, names in lower case.
    pub headers: Vec<(String, Secret)>,
    /// The signatures to add, in order.
    pub signing: Vec<SigningPlan>,
}

/// What a webhook's body looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookFormat {
    /// The very request that Flipt's own webhook sink sends: one event each.
    Flipt,
    /// Our envelope.
    Envelope,
}

/// How several records share a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchEncoding {
    /// A JSON array.
    Array,
    /// Newline-delimited JSON.
    Ndjson,
}

/// One signature scheme with its secrets.
#[derive(Debug, Clone)]
pub struct SigningPlan {
    /// How to sign.
    pub scheme: SigningScheme,
    /// The secrets, newest first; at least one.
    pub secrets: Vec<Secret>,
}

/// How a request is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SigningScheme {
    /// `X-Flipt-Webhook-Signature`: hex HMAC-SHA256 over the body.
    Flipt,
}

/// The console.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConsolePlan {
    /// One readable line for each record, or the envelope as JSON.
    pub json: bool,
}

/// NDJSON files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileDestinationPlan {
    /// The path, in which `%Y`, `%m`, `%d` and `%H` stand for the UTC time of acceptance.
    pub path: String,
}
