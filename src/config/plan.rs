//! What a configuration means: validated, every default filled in, nothing left to interpret.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::secret::Secret;
use crate::event::{Framing, Namespace, Timestamp};
use crate::routing::{Owners, RouteTable};

/// A validated configuration.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The relay's own name: part of every event id. Default `audit-relay`.
    pub name: String,
    /// Where journal, lock and reserve live.
    pub data_dir: PathBuf,
    /// The Flipt to ask at start for what no event has told yet.
    pub flipt: Option<FliptPlan>,
    /// The address of Flipt for people, for links; also where nothing is asked of it.
    pub external_url: Option<String>,
    /// Sources by name.
    pub sources: BTreeMap<String, SourcePlan>,
    /// Destinations by name.
    pub destinations: BTreeMap<String, DestinationPlan>,
    /// Which records go where, and what environment a namespace is.
    pub routes: RouteTable,
    /// How long and how much is kept.
    pub journal: JournalPlan,
    /// How many bytes of dead letters are kept in the journal; older ones move to a file. At most an eighth of
    /// the journal's size: they pin their records.
    pub dead_letters_max_bytes: u64,
    /// The listener for probes and metrics.
    pub health: HealthPlan,
    /// The listener for the status page.
    pub admin: AdminPlan,
    /// Who is told of what needs a person; `None`: nobody.
    pub problems: Option<ProblemsPlan>,
    /// What is logged, and how.
    pub log: LogPlan,
    /// Traces and metrics by OTLP, as far as the configuration says; the standard `OTEL_…` variables go before it.
    pub telemetry: TelemetryPlan,
    /// How long a shutdown may deliver what waits.
    pub shutdown_timeout: Duration,
    /// How long files are kept open after SIGTERM before lanes drain.
    pub shutdown_keep_reading: Duration,
    /// Whether it is what could be used of a configuration that is not right: it journals and delivers nothing.
    pub is_salvaged: bool,
}

impl Plan {
    /// The environments that sources fix for all their events, by source name.
    #[must_use]
    pub fn source_environments(&self) -> BTreeMap<String, Arc<str>> {
        let sources = self.sources.iter();
        sources.filter_map(|(name, source)| Some((name.clone(), source.environment.clone()?))).collect()
    }

    /// The environment of what enters by `source` and belongs to `namespace`.
    #[must_use]
    pub fn environment_of(&self, source: &str, namespace: &Namespace) -> Option<Arc<str>> {
        let fixed = self.sources.get(source).and_then(|source| source.environment.as_ref());
        fixed.or_else(|| self.routes.environments.of(namespace)).cloned()
    }
}

/// A Flipt that answers questions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FliptPlan {
    /// Its address for the relay.
    pub url: Arc<Secret>,
    /// A token that may read.
    pub token: Option<Secret>,
    /// Its address for people.
    pub external_url: Option<String>,
    /// The instance that it is, by the word that sources use.
    pub instance: String,
}

/// How long and how much the journal keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalPlan {
    /// Records older than this, and passed by every lane, are removed.
    pub keep: Duration,
    /// Used pages and WAL together stay below this.
    pub max_size_bytes: u64,
    /// Whether the states of entities are kept, so that a change tells what was before.
    pub changes: bool,
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPlan {
    /// The least severe level that shows, per module: `info` or `info,audit_relay::source=debug`. A level alone
    /// is meant for the relay's own modules.
    pub level: String,
    /// Text or JSON; `None` decides by whether standard error is a terminal.
    pub format: Option<LogFormat>,
    /// Whether lines at `DEBUG` may carry what events hold. Otherwise none does.
    pub payloads: bool,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum LogFormat {
    Text,
    Json,
}

/// Traces and metrics by OTLP. What is `None` is left to the standard variables and their defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TelemetryPlan {
    /// The base address of the collector (`http://127.0.0.1:4318`), as `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub endpoint: Option<Secret>,
    /// How to speak to it.
    pub protocol: Option<OtlpProtocol>,
    /// Further headers, names in lower case.
    pub headers: Vec<(String, Secret)>,
    /// Certificates: whom to trust, and what to show.
    pub tls: TlsPlan,
    /// Whether traces are sent.
    pub traces: bool,
    /// Whether metrics are sent.
    pub metrics: bool,
    /// The part of traces that is kept, in millionths.
    pub sampling_millionths: Option<u32>,
    /// Attributes of the relay as a resource.
    pub attributes: BTreeMap<String, String>,
    /// How often metrics are sent; never zero.
    pub metric_interval: Option<Duration>,
    /// How long a shutdown waits for what is still to be sent.
    pub shutdown_timeout: Duration,
}

/// How OTLP is spoken (<https://opentelemetry.io/docs/specs/otlp/>).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OtlpProtocol {
    /// `http/protobuf`.
    HttpProtobuf,
    /// `grpc`.
    Grpc,
}

/// One source.
#[derive(Debug, Clone, PartialEq)]
pub struct SourcePlan {
    /// The Flipt it belongs to (`instance`, default `flipt`).
    pub instance: String,
    /// The environment of all its events, where the source fixes it.
    pub environment: Option<Arc<str>>,
    /// Whether it sees every change of its Flipt; where it does not, no state before a change is told.
    pub single_writer: bool,
    /// A silence longer than this is a problem.
    pub silent_after: Option<Duration>,
    /// What it is.
    pub kind: SourceKind,
}

/// What a source is.
#[derive(Debug, Clone, PartialEq)]
pub enum SourceKind {
    /// Tails files.
    File(FileSourcePlan),
    /// Takes pushes.
    Http(HttpSourcePlan),
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
    /// Whether the space of what was delivered is given back to the file system.
    pub reclaim: Reclaim,
}

/// A source that takes pushes.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpSourcePlan {
    /// Where to listen.
    pub listen: SocketAddr,
    /// The signatures of which a push must carry one; none: it need not carry any. `Err` says why none can be
    /// checked now (a missing secret): nothing is taken then.
    pub signing: Result<Vec<SigningPlan>, String>,
    /// The token that a push must carry.
    pub bearer: Option<Secret>,
    /// The certificate to serve TLS with, and where clients must show one, whom to trust.
    pub tls: TlsPlan,
    /// The largest body that is taken, in bytes.
    pub max_body_bytes: usize,
}

/// The listener for probes and metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthPlan {
    /// Where to listen.
    pub listen: SocketAddr,
}

/// The listener for the status page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminPlan {
    /// Where to listen.
    pub listen: SocketAddr,
    /// The token that readers must send; beyond loopback there is always one.
    pub token: Option<Secret>,
    /// Its address for people, without a slash at its end.
    pub external_url: Option<String>,
}

/// Who is told of what needs a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProblemsPlan {
    /// The destinations, in the order in which they are asked: the first that is well and not concerned itself
    /// tells.
    pub to: Vec<String>,
    /// How long a problem must last.
    pub after: Duration,
    /// How often it is told again while it lasts.
    pub repeat: Duration,
}

/// Whether the space of a file is given back (`reclaim`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reclaim {
    /// Never: the file is only read.
    Off,
    /// By punching holes into it.
    PunchHole,
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DestinationPlan {
    /// The word of its `type`, also where it cannot work.
    pub type_word: &'static str,
    /// Whether nobody knows what is routed to it: all is kept for it, and nothing decided.
    pub is_held: bool,
    /// What it is; `Err` says why it cannot work now (a missing secret), which blocks it alone: what is routed
    /// to it is kept until it can.
    pub kind: Result<DestinationKind, String>,
    /// Grouping of records.
    pub batch: BatchPlan,
    /// How failed attempts are repeated.
    pub retry: RetryPlan,
    /// Which records it takes at all, by their age.
    pub deliver_since: DeliverSince,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// Requests under way at the same time, at most; 1 to 64.
    pub concurrency: usize,
    /// Requests in a length of time, at most.
    pub rate_limit: Option<RatePlan>,
    /// Records whose age (running time since acceptance) is beyond it become dead letters; `None`: never.
    pub expire_after: Option<Duration>,
    /// Bytes of the journal that all takes which was accepted since its oldest waiting record, at most; beyond it the oldest
    /// become dead letters. `None` where nothing ever expires: such a destination may stop the intake.
    pub backlog_max_bytes: Option<u64>,
    /// So many rejected records in a row block the endpoint instead of dead-lettering on.
    pub reject_limit: u32,
    /// What it is not to see; `None`: it sees everything.
    pub redact: Option<RedactPlan>,
    /// Renders and counts, sends nothing.
    pub observe: bool,
    /// Drops what waits, and whatever comes.
    pub discard: bool,
    /// The former name, whose place in the journal it takes over.
    pub renamed_from: Option<String>,
    /// Certificates of one's own.
    pub tls: TlsPlan,
    /// The proxy to go through; without it the standard environment variables decide.
    pub proxy: Option<Secret>,
    /// Differs, as good as surely, where anything that decides about an answer differs: address, headers,
    /// credentials. Tells of no secret: of these it holds two bytes of a hash.
    pub fingerprint: String,
}

impl DestinationPlan {
    /// Whether it trusts, or goes through, what others do not.
    #[must_use]
    pub fn has_own_connection(&self) -> bool {
        self.tls != TlsPlan::default() || self.proxy.is_some()
    }
}

/// What a destination is not to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedactPlan {
    /// The e-mail address of who did it.
    pub email: Option<Redaction>,
    /// Where from.
    pub ip: Option<Redaction>,
    /// The name.
    pub name: Option<Redaction>,
    /// Fields of the payload by their names, wherever they stand in it.
    pub fields: BTreeMap<String, Redaction>,
}

/// What becomes of something that a destination is not to see; the later one hides more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Redaction {
    /// Something else stands there.
    Mask,
    /// It is not there.
    Drop,
}

/// How many requests in how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RatePlan {
    /// Requests; at least 1.
    pub requests: u32,
    /// In this time.
    pub per: Duration,
}

/// TLS with certificates of one's own.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsPlan {
    /// PEM file of the authorities to trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// PEM file of the own certificate, and of its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl TlsPlan {
    /// The files that it names.
    pub fn files(&self) -> impl Iterator<Item = PathBuf> + use<> {
        let identity = self.identity.clone().map(|(cert, key)| [cert, key]);
        self.ca.clone().into_iter().chain(identity.into_iter().flatten())
    }
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DestinationKind {
    /// HTTP requests.
    Webhook(WebhookPlan),
    /// Standard output.
    Console(ConsolePlan),
    /// NDJSON files.
    File(FileDestinationPlan),
    /// Messages in a Slack channel.
    Slack(Box<SlackPlan>),
    /// Events in Datadog.
    Datadog(Box<DatadogPlan>),
    /// Another relay.
    Relay(Box<RelayPlan>),
    /// OTLP log records.
    Otlp(Box<OtlpPlan>),
}

/// What messages for people say beside the event itself.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Surroundings {
    /// Who owns what.
    pub owners: Arc<Owners>,
    /// Where more can be seen.
    pub links: Arc<LinksPlan>,
}

/// Shows nothing: no answer of a receiver depends on it, so that a fingerprint must not.
impl std::fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Surroundings")
    }
}

/// Where more can be seen of what changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LinksPlan {
    /// Flipt's address for people; no slash at its end.
    pub flipt: Option<String>,
    /// The instance that this Flipt is; `None`: the only one there is.
    pub instance: Option<String>,
    /// The status page's address for people; no slash at its end.
    pub history: Option<String>,
    /// Further links, in order.
    pub templates: Vec<LinkPlan>,
}

/// One link by a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkPlan {
    /// What it is called: `Runbook`.
    pub title: String,
    /// Its address, a minijinja template; every value in it is percent-encoded.
    pub url: String,
}

/// A Slack channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlackPlan {
    /// How it is reached.
    pub access: SlackAccess,
    /// How long the first event of a message waits for company.
    pub group_wait: Duration,
    /// Who owns what, and links.
    pub around: Surroundings,
}

/// How a Slack channel is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SlackAccess {
    /// An incoming webhook: its address says the channel, and is the credential.
    Webhook(Arc<Secret>),
    /// A bot of a Slack app, by `chat.postMessage`.
    Bot {
        /// Its token (`xoxb-…`).
        token: Secret,
        /// The channel, by id or name.
        channel: String,
        /// The address of the Web API, with a slash at its end: `https://slack.com/api/`.
        endpoint: Arc<Secret>,
    },
}

/// Datadog's events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatadogPlan {
    /// The site: `datadoghq.eu`.
    pub site: &'static str,
    /// The version of the events API.
    pub api: DatadogApi,
    /// The whole URL that events are sent to.
    pub url: Arc<Secret>,
    /// The API key.
    pub api_key: Secret,
    /// The application key.
    pub app_key: Option<Secret>,
    /// Tags of every event, as written.
    pub tags: Vec<String>,
    /// The services that a change concerns of which `owners` names none.
    pub services: Vec<String>,
    /// What the `env` tag says in place of an environment's name.
    pub env: BTreeMap<String, String>,
    /// Whether denied attempts are told, as alerts.
    pub denied: bool,
    /// Whether what is too old is told with the time of its sending.
    pub send_with_current_time: bool,
    /// How long the first event of a change set waits for the others.
    pub group_wait: Duration,
    /// Who owns what, and links.
    pub around: Surroundings,
}

/// The versions of Datadog's events API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatadogApi {
    /// Plain events, on every site.
    V1,
    /// Change events, for Change Tracking.
    V2,
}

/// Another relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayPlan {
    /// This relay's own name, by which the other knows where records are from.
    pub name: String,
    /// Address, credentials and signatures, as those of a webhook.
    pub webhook: WebhookPlan,
}

/// A receiver of OTLP log records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtlpPlan {
    /// This relay's own name.
    pub name: String,
    /// The whole address that requests are sent to.
    pub url: Arc<Secret>,
    /// Further headers, names in lower case.
    pub headers: Vec<(String, Secret)>,
    /// How bodies are compressed.
    pub compression: OtlpCompression,
    /// Attributes of the resource, beside those of the relay or in their place.
    pub attributes: BTreeMap<String, String>,
}

/// How the body of a request is compressed. Every receiver of OTLP must take both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OtlpCompression {
    /// Not at all.
    None,
    /// gzip (RFC 1952).
    Gzip,
}

/// A webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebhookFormat {
    /// The very request that Flipt's own webhook sink sends: one event each.
    Flipt,
    /// Our envelope.
    Envelope,
    /// CloudEvents 1.0, structured: one event each.
    CloudEvents,
    /// What a template makes of it: one record each.
    Template(Arc<TemplatePlan>),
}

impl WebhookFormat {
    /// Whether a request of this format holds one record, never more.
    #[must_use]
    pub const fn is_single(&self) -> bool {
        !matches!(self, Self::Envelope)
    }
}

/// A request as minijinja templates; all of them parse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplatePlan {
    /// The template of the body. Not shown: people write tokens into bodies.
    pub body: Secret,
    /// The templates of further headers, names in lower case.
    pub headers: Vec<(String, Secret)>,
    /// The content type of the body.
    pub content_type: String,
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
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// `webhook-signature` over id, time and body (<https://www.standardwebhooks.com>).
    StandardWebhooks,
    /// `X-Hub-Signature-256`: `sha256=` and hex HMAC-SHA256 over the body.
    Github,
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
