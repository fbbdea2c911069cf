//! Where records go.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::common::{Basic, Headers, Many, Scheme, SecretText, Signing, TemplateText, Tls, UrlText};
use crate::config::scalars::{Expiry, Name, Period, Rate, Since, Size, TimedPath, Wildcard};

/// A destination.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(in crate::config) enum Destination {
    /// HTTP requests to an address of yours.
    Webhook(Box<Webhook>),
    /// Standard output.
    Console(Box<Console>),
    /// Files of one JSON text a line.
    File(Box<FileDestination>),
    /// Messages in a Slack channel.
    Slack(Box<Slack>),
    /// Change events in Datadog.
    Datadog(Box<Datadog>),
    /// Another audit-relay, which gets every record as it is.
    Relay(Box<Relay>),
    /// Log records by OTLP, for a collector or what else takes them.
    Otlp(Box<Otlp>),
}

impl Destination {
    /// What every destination has.
    pub(in crate::config) fn common(&self) -> &Common {
        match self {
            Self::Webhook(webhook) => &webhook.common,
            Self::Console(console) => &console.common,
            Self::File(file) => &file.common,
            Self::Slack(slack) => &slack.common,
            Self::Datadog(datadog) => &datadog.common,
            Self::Relay(relay) => &relay.common,
            Self::Otlp(otlp) => &otlp.common,
        }
    }
}

/// What every destination has.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(default)]
pub(in crate::config) struct Common {
    /// How failed attempts are repeated.
    pub(in crate::config) retry: Retry,
    /// How long one attempt may take.
    pub(in crate::config) timeout: Period,
    /// Requests under way at the same time, at most.
    #[schemars(range(min = 1, max = 64))]
    pub(in crate::config) concurrency: u32,
    /// How records are grouped into requests.
    pub(in crate::config) batch: Batch,
    /// How long the first event of a message waits for further edits (Slack and Datadog; 15s without it).
    pub(in crate::config) group_wait: Option<Period>,
    /// Requests in a length of time, at most.
    pub(in crate::config) rate_limit: Option<Rate>,
    /// Records older than this become dead letters; `never` may stop the intake rather than lose one.
    pub(in crate::config) expire_after: Option<Expiry>,
    /// How much may wait for this destination.
    pub(in crate::config) backlog: Backlog,
    /// So many refused records in a row block the destination, instead of becoming dead letters one by one.
    #[schemars(range(min = 1, max = 10000))]
    pub(in crate::config) reject_limit: u32,
    /// Which records it takes by their own time: all, those since the journal first saw it, or since a time.
    pub(in crate::config) deliver_since: Option<Since>,
    /// What it is not to see of events. Routes decide on whole events nevertheless.
    pub(in crate::config) redact: Redact,
    /// Renders and counts, sends nothing.
    pub(in crate::config) observe: bool,
    /// The former name of this destination, whose backlog it takes over.
    pub(in crate::config) renamed_from: Option<Name>,
    /// Drops what waits, and whatever comes.
    pub(in crate::config) discard: bool,
}

impl Default for Common {
    fn default() -> Self {
        Self {
            retry: Retry::default(),
            timeout: Period::secs(10),
            concurrency: 4,
            batch: Batch::default(),
            group_wait: None,
            rate_limit: None,
            expire_after: None,
            backlog: Backlog::default(),
            reject_limit: 20,
            deliver_since: None,
            redact: Redact::default(),
            observe: false,
            renamed_from: None,
            discard: false,
        }
    }
}

/// What a kind of destination does where nothing is written: the kind, `expire_after`, `deliver_since`.
pub(in crate::config) const KIND_DEFAULTS: [(&str, &str, &str); 7] = [
    ("webhook", "7d", "beginning"),
    ("console", "never", "beginning"),
    ("file", "never", "beginning"),
    ("slack", "24h", "now"),
    ("datadog", "17h", "now"),
    ("relay", "never", "beginning"),
    ("otlp", "7d", "beginning"),
];

/// What a destination is not to see: `actor.email`, `actor.ip`, `actor.name` (a picture and a login go with name
/// and address), and names of fields of the payload, such as `attachment`, wherever they stand in it. Of what
/// could not be read as an event it gets nothing then.
#[derive(Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct Redact {
    /// What is left out. That such a field changed is still told.
    pub(in crate::config) drop: Many<Wildcard>,
    /// What shows as `[redacted]`; within one event other values show as `[redacted 2]` and so on.
    pub(in crate::config) mask: Many<Wildcard>,
}

/// How failed attempts are repeated.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct Retry {
    /// The first wait, at most.
    pub(in crate::config) initial_backoff: Period,
    /// Every wait, at most.
    pub(in crate::config) max_backoff: Period,
}

impl Default for Retry {
    fn default() -> Self {
        Self { initial_backoff: Period::secs(1), max_backoff: Period::secs(300) }
    }
}

/// How records are grouped into requests.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct Batch {
    /// Records in one request, at most.
    #[schemars(range(min = 1, max = 4096))]
    pub(in crate::config) max_events: usize,
    /// Original bytes in one request, at most.
    #[schemars(extend("x-minimum-size" = "1KiB"))]
    pub(in crate::config) max_bytes: Size,
    /// How long the first record waits for company.
    pub(in crate::config) timeout: Period,
}

impl Default for Batch {
    fn default() -> Self {
        Self { max_events: 1, max_bytes: Size(1 << 20), timeout: Period::secs(0) }
    }
}

/// How much may wait for a destination.
#[derive(Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct Backlog {
    /// How much the journal may have to keep for it, from its oldest waiting record on; without it a quarter of `journal.max_size`. Where nothing expires,
    /// nothing is given up either.
    #[schemars(extend("x-minimum-size" = "64KiB"))]
    pub(in crate::config) max_size: Option<Size>,
}

/// HTTP requests.
#[derive(Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields, extend("required" = ["url"]))]
pub(in crate::config) struct Webhook {
    #[serde(flatten)]
    pub(in crate::config) common: Common,
    /// Where to; a secret where it has a user, a password or a query.
    pub(in crate::config) url: Option<UrlText>,
    /// The body: `flipt` is the very request of Flipt's own webhook sink, one event each.
    pub(in crate::config) format: FormatWord,
    /// How records share a body: one JSON array, or one JSON text a line.
    pub(in crate::config) encoding: EncodingWord,
    /// Further headers.
    pub(in crate::config) headers: Headers,
    /// The signatures to add.
    pub(in crate::config) signing: Many<Signing>,
    /// A token to send (`Authorization: Bearer …`).
    pub(in crate::config) bearer: Option<SecretText>,
    /// User name and password to send (`Authorization: Basic …`).
    pub(in crate::config) basic: Option<Basic>,
    /// Certificates of one's own.
    pub(in crate::config) tls: Option<Tls>,
    /// The proxy to go through, a secret where it has a user and a password; without it the standard
    /// variables decide (`HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`).
    pub(in crate::config) proxy: Option<UrlText>,
    /// The template of the request (`format: template`); text alone is that of the body.
    pub(in crate::config) template: Option<Template>,
}

/// A request as minijinja templates.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields, extend("required" = ["body"], "x-short" = "body"))]
pub(in crate::config) struct Template {
    /// The body.
    pub(in crate::config) body: Option<TemplateText>,
    /// Further headers; values are templates too.
    pub(in crate::config) headers: Headers,
    /// The content type of the body; what is JSON by this name is written and checked as JSON.
    #[schemars(extend("minLength" = 1))]
    pub(in crate::config) content_type: String,
}

impl Default for Template {
    fn default() -> Self {
        Self { body: None, headers: Headers::default(), content_type: "application/json".into() }
    }
}

/// Standard output.
#[derive(Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct Console {
    #[serde(flatten)]
    pub(in crate::config) common: Common,
    /// One readable line for each record, or its envelope as JSON.
    pub(in crate::config) format: ConsoleWord,
}

/// NDJSON files.
#[derive(Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields, extend("required" = ["path"]))]
pub(in crate::config) struct FileDestination {
    #[serde(flatten)]
    pub(in crate::config) common: Common,
    /// The path, in which `%Y`, `%m`, `%d` and `%H` stand for the time of acceptance in UTC.
    pub(in crate::config) path: TimedPath,
}

/// A Slack channel.
#[derive(Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct Slack {
    #[serde(flatten)]
    pub(in crate::config) common: Common,
    /// The address of an incoming webhook: a secret. Either this, or `token` and `channel`.
    #[schemars(extend("x-scalar" = "url"))]
    pub(in crate::config) webhook_url: Option<SecretText>,
    /// The token of a bot (`xoxb-…`), which may `chat:write`.
    pub(in crate::config) token: Option<SecretText>,
    /// The channel that the bot writes to, by id or name: `C0123456789`, `#flag-changes`. An id stays when the
    /// channel is renamed.
    #[schemars(extend("minLength" = 1))]
    pub(in crate::config) channel: Option<String>,
    /// Another address of the Web API than `https://slack.com/api/`, such as that of GovSlack. For bots.
    pub(in crate::config) endpoint: Option<UrlText>,
    /// Certificates of one's own.
    pub(in crate::config) tls: Option<Tls>,
    /// The proxy to go through; a secret where it has a user or a password.
    pub(in crate::config) proxy: Option<UrlText>,
}

/// Datadog's events.
#[derive(Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields, extend("required" = ["api_key"]))]
pub(in crate::config) struct Datadog {
    #[serde(flatten)]
    pub(in crate::config) common: Common,
    /// The Datadog site of the account.
    pub(in crate::config) site: Site,
    /// The version of the events API; without it the newest that the site has.
    pub(in crate::config) api: Option<ApiWord>,
    /// The API key.
    pub(in crate::config) api_key: Option<SecretText>,
    /// The application key, where the account wants one.
    pub(in crate::config) app_key: Option<SecretText>,
    /// Another base address than that of the site, such as that of a test; the path of the API is added.
    pub(in crate::config) endpoint: Option<UrlText>,
    /// Tags of every event, such as `region:eu`, as Datadog stores them: lower case, a letter first.
    pub(in crate::config) tags: Many<String>,
    /// The services that a change concerns where `owners` names none, as Datadog knows them.
    pub(in crate::config) services: Many<String>,
    /// What the `env` tag says for an environment, where services know it by another name: `{production: prod}`.
    #[schemars(extend("x-names" = true))]
    pub(in crate::config) env: BTreeMap<String, String>,
    /// Tells denied attempts too, as alerts.
    pub(in crate::config) denied: bool,
    /// Sends what Datadog would refuse for its age with the time of sending; its title says when it happened.
    /// Events expire after 7d then, where nothing else is written.
    pub(in crate::config) send_with_current_time: bool,
    /// Certificates of one's own.
    pub(in crate::config) tls: Option<Tls>,
    /// The proxy to go through; a secret where it has a user or a password.
    pub(in crate::config) proxy: Option<UrlText>,
}

/// Another relay.
#[derive(Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields, extend("required" = ["url"]))]
pub(in crate::config) struct Relay {
    #[serde(flatten)]
    pub(in crate::config) common: Common,
    /// The address of the other relay's http source; without a path, `/v1/events` is added.
    pub(in crate::config) url: Option<UrlText>,
    /// The signatures to add.
    pub(in crate::config) signing: Many<RelaySigning>,
    /// A token to send (`Authorization: Bearer …`).
    pub(in crate::config) bearer: Option<SecretText>,
    /// Certificates of one's own.
    pub(in crate::config) tls: Option<Tls>,
    /// The proxy to go through; a secret where it has a user or a password.
    pub(in crate::config) proxy: Option<UrlText>,
}

/// How requests to another relay are signed.
#[derive(Clone, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields, extend("required" = ["secrets"]))]
pub(in crate::config) struct RelaySigning {
    /// The scheme; `standard_webhooks` without it.
    #[serde(default)]
    pub(in crate::config) scheme: Option<Scheme>,
    /// The secrets, newest first: `standard_webhooks` signs with each of them, the others with the first.
    #[serde(default)]
    pub(in crate::config) secrets: Many<SecretText>,
}

/// How records are grouped where nothing is written, of kinds that have larger groups than others: the kind,
/// `batch.max_events`, and `batch.timeout` in milliseconds.
pub(in crate::config) const KIND_BATCHES: [(&str, usize, u64); 2] = [("relay", 200, 100), ("otlp", 100, 200)];

/// OTLP logs.
#[derive(Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields, extend("required" = ["endpoint"]))]
pub(in crate::config) struct Otlp {
    #[serde(flatten)]
    pub(in crate::config) common: Common,
    /// The address of the collector, for OTLP over HTTP (`http://otel-collector:4318`); without a path, `/v1/logs` is
    /// added.
    pub(in crate::config) endpoint: Option<UrlText>,
    /// Further headers.
    pub(in crate::config) headers: Headers,
    /// How bodies are compressed.
    pub(in crate::config) compression: CompressionWord,
    /// Attributes of the resource, beside those of the relay or in their place: `{deployment.environment.name: prod}`.
    pub(in crate::config) attributes: BTreeMap<String, String>,
    /// Certificates of one's own.
    pub(in crate::config) tls: Option<Tls>,
    /// The proxy to go through; a secret where it has a user or a password.
    pub(in crate::config) proxy: Option<UrlText>,
}

super::words! {
    FormatWord { Envelope, Flipt, Template, Cloudevents }
    EncodingWord { Array, Ndjson }
    ConsoleWord { Text, Json }
    ApiWord { V1, V2 }
    CompressionWord { Gzip, None }
}

/// The sites of Datadog; `x-near` has what people call them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, Deserialize, JsonSchema)]
#[schemars(inline, extend("x-near" = {
    "us": "datadoghq.com", "us1": "datadoghq.com", "app.datadoghq.com": "datadoghq.com",
    "us3": "us3.datadoghq.com", "us5": "us5.datadoghq.com",
    "ap1": "ap1.datadoghq.com", "ap2": "ap2.datadoghq.com", "uk1": "uk1.datadoghq.com",
    "eu": "datadoghq.eu", "eu1": "datadoghq.eu", "app.datadoghq.eu": "datadoghq.eu",
    "us1-fed": "ddog-gov.com", "app.ddog-gov.com": "ddog-gov.com", "us2-fed": "us2.ddog-gov.com"
}))]
pub(in crate::config) enum Site {
    #[default]
    #[serde(rename = "datadoghq.com")]
    Us1,
    #[serde(rename = "us3.datadoghq.com")]
    Us3,
    #[serde(rename = "us5.datadoghq.com")]
    Us5,
    #[serde(rename = "ap1.datadoghq.com")]
    Ap1,
    #[serde(rename = "ap2.datadoghq.com")]
    Ap2,
    #[serde(rename = "uk1.datadoghq.com")]
    Uk1,
    #[serde(rename = "datadoghq.eu")]
    Eu1,
    #[serde(rename = "ddog-gov.com")]
    Us1Fed,
    #[serde(rename = "us2.ddog-gov.com")]
    Us2Fed,
}
