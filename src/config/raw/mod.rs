//! What may be written: these types are the JSON Schema, and by it the walk knows what is wrong.
//!
//! Nothing is required of the types themselves, since the walk takes out what is wrong before they are
//! read; `required` is said to the schema alone. `x-…` keywords of the schema speak to the walk:
//! `x-scalar` names a form of text, `x-secret` what must not be written in place.

pub(in crate::config) mod common;
pub(in crate::config) mod destination;
pub(in crate::config) mod route;
pub(in crate::config) mod source;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::scalars::{Level, Listen, Name, PathGlob, PathText, Period, Size, Wildcard};
use common::{Headers, Many, SecretText, UrlText};

/// Enumerations of words, the first of which is the default. A word that is no name in Rust is written beside it.
macro_rules! words {
    ($($name:ident { $first:ident $(= $first_word:literal)? $(, $more:ident $(= $word:literal)?)* })*) => {$(
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
        #[derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        #[serde(rename_all = "snake_case")]
        #[schemars(inline)]
        pub(in crate::config) enum $name {
            #[default]
            $(#[serde(rename = $first_word)])?
            $first
            $(, $(#[serde(rename = $word)])? $more)*
        }
    )*};
}
use words;

/// The configuration of audit-relay.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(title = "audit-relay", deny_unknown_fields, extend("required" = ["sources"]))]
pub(in crate::config) struct Raw {
    /// The relay's own name: part of every event id, so keep it.
    pub(in crate::config) name: RelayName,
    /// Where journal, lock and reserve live.
    pub(in crate::config) data_dir: PathText,
    /// The Flipt that is relayed: for links, and for what there was before the first event.
    pub(in crate::config) flipt: Flipt,
    /// Environments and the namespaces that belong to each; the first that fits wins.
    #[schemars(extend("x-names" = true))]
    pub(in crate::config) environments: BTreeMap<String, Many<Wildcard>>,
    /// The environment of every namespace that `environments` does not name.
    pub(in crate::config) environment: Option<Name>,
    /// Where records enter, by name.
    #[schemars(extend("x-names" = true, "minProperties" = 1))]
    pub(in crate::config) sources: BTreeMap<String, source::Source>,
    /// Where records go, by name.
    #[schemars(extend("x-names" = true))]
    pub(in crate::config) destinations: BTreeMap<String, destination::Destination>,
    /// Which records go where, by name.
    #[schemars(extend("x-names" = true))]
    pub(in crate::config) routes: BTreeMap<String, route::Route>,
    /// Who owns what.
    pub(in crate::config) owners: Vec<route::Owner>,
    /// Links in messages for people, beside the one to the flag or segment in Flipt.
    #[schemars(extend("maxItems" = 10))]
    pub(in crate::config) links: Vec<Link>,
    /// Files or globs, relative to this file, with further `routes`, `owners` and `tests`.
    pub(in crate::config) include: Many<PathGlob>,
    /// What is kept, and how long.
    pub(in crate::config) journal: Journal,
    /// What destinations would not take.
    pub(in crate::config) dead_letters: DeadLetters,
    /// The listener for probes and metrics; it tells nothing of events.
    pub(in crate::config) health: Health,
    /// The listener for the status page.
    pub(in crate::config) admin: Admin,
    /// What is logged, and how.
    pub(in crate::config) log: Log,
    /// Traces and metrics of the relay itself by OTLP; the standard `OTEL_…` variables go before it.
    pub(in crate::config) telemetry: Telemetry,
    /// Who is told when something needs a person: a destination that is blocked, a gap, a journal that fills, a
    /// refused edit of this file, a first dead letter, a silent source.
    pub(in crate::config) problems: ProblemsSection,
    /// Samples and where they must go, for `check`.
    pub(in crate::config) tests: Vec<route::Test>,
    /// How long a shutdown may deliver what waits.
    pub(in crate::config) shutdown_timeout: Period,
    /// How long files are read on after SIGTERM before destinations finish.
    pub(in crate::config) shutdown_keep_reading: Period,
}

impl Default for Raw {
    fn default() -> Self {
        Self {
            name: RelayName("audit-relay".into()),
            data_dir: PathText("/var/lib/audit-relay".into()),
            flipt: Flipt::default(),
            environments: BTreeMap::new(),
            environment: None,
            sources: BTreeMap::new(),
            destinations: BTreeMap::new(),
            routes: BTreeMap::new(),
            owners: Vec::new(),
            links: Vec::new(),
            include: Many::default(),
            journal: Journal::default(),
            dead_letters: DeadLetters::default(),
            health: Health::default(),
            admin: Admin::default(),
            log: Log::default(),
            telemetry: Telemetry::default(),
            problems: ProblemsSection::default(),
            tests: Vec::new(),
            shutdown_timeout: Period::secs(20),
            shutdown_keep_reading: Period::secs(0),
        }
    }
}

/// The relay's name: a host name or pod name will do.
#[derive(Debug, Clone, Default, serde::Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline, extend("minLength" = 1, "maxLength" = 128))]
pub(in crate::config) struct RelayName(pub(in crate::config) String);

/// The Flipt that is relayed.
#[derive(Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct Flipt {
    /// Its address for the relay, which asks at start for what no event has told yet.
    pub(in crate::config) url: Option<UrlText>,
    /// Its address for people.
    pub(in crate::config) external_url: Option<UrlText>,
    /// A token that may read.
    pub(in crate::config) token: Option<SecretText>,
    /// The instance that it is, by the word that sources use; without it the only one that they name.
    pub(in crate::config) instance: Option<Name>,
}

/// A link in messages for people.
#[derive(Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields, inline, extend("required" = ["title", "url"]))]
pub(in crate::config) struct Link {
    /// What it is called: `Runbook`.
    #[schemars(extend("minLength" = 1, "maxLength" = 80))]
    pub(in crate::config) title: String,
    /// Its address, a minijinja template: `https://wiki.example.com/{{ key }}`. Values are percent-encoded. Of
    /// `kind`, `key`, `name`, `namespace`, `environment`, `instance`, `team`, `time`, `time_ms`, `event` and
    /// `change_set` whatever is known; a link that needs what is not known is left out.
    #[schemars(extend("minLength" = 1))]
    pub(in crate::config) url: String,
}

/// What is kept, and how long.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct Journal {
    /// Records older than this, and finished everywhere, are removed.
    pub(in crate::config) keep: Period,
    /// How large the journal may become.
    #[schemars(extend("x-minimum-size" = "16MiB"))]
    pub(in crate::config) max_size: Size,
    /// Whether the last known state of each flag, segment and what belongs to them is kept, so that each change
    /// tells what was before. `false` takes less CPU; events are kept and delivered all the same. What was known
    /// is then forgotten, and learned anew once it is `true` again.
    pub(in crate::config) changes: bool,
}

impl Default for Journal {
    fn default() -> Self {
        Self { keep: Period::days(400), max_size: Size(1 << 30), changes: true }
    }
}

/// What destinations would not take.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct DeadLetters {
    /// How large they may become before the oldest move to a file; never more than an eighth of
    /// `journal.max_size`.
    #[schemars(extend("x-minimum-size" = "64KiB"))]
    pub(in crate::config) max_size: Size,
}

impl Default for DeadLetters {
    fn default() -> Self {
        Self { max_size: Size(64 << 20) }
    }
}

/// The listener for probes and metrics.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct Health {
    /// Where to listen. Where it cannot, the relay works without, and tries again.
    pub(in crate::config) listen: Listen,
}

impl Default for Health {
    fn default() -> Self {
        Self { listen: Listen(([0, 0, 0, 0], 9464).into()) }
    }
}

/// The listener for the status page.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct Admin {
    /// Where to listen; beyond loopback only with a token. Where it cannot, the relay works without, and tries again.
    pub(in crate::config) listen: Listen,
    /// The token that readers must give: `Authorization: Bearer`, or a login form. Without it the names of people are
    /// kept back.
    pub(in crate::config) token: Option<SecretText>,
    /// Its address for people; without a token its host is one of those under which it may be asked.
    pub(in crate::config) external_url: Option<UrlText>,
}

impl Default for Admin {
    fn default() -> Self {
        Self { listen: Listen(([127, 0, 0, 1], 9465).into()), token: None, external_url: None }
    }
}

/// What is logged, and how.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct Log {
    /// The least severe level of the relay's own lines that shows, also per module: `info,audit_relay::source=debug`.
    /// What libraries say shows only where their module is named.
    pub(in crate::config) level: Level,
    /// Text, JSON, or text on a terminal and JSON elsewhere.
    pub(in crate::config) format: LogWord,
    /// Whether lines at `debug` may carry what events hold: personal data. Otherwise none does, at any level.
    pub(in crate::config) payloads: bool,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: Level("info".into()), format: LogWord::Auto, payloads: false }
    }
}

/// Traces and metrics of the relay itself by OTLP. A standard variable that is set goes before the key that says the
/// same.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct Telemetry {
    /// The base address of the collector: `http://127.0.0.1:4318`; for `http/protobuf` the path of each signal is added.
    /// Nothing is sent where neither this nor a standard variable says where to.
    pub(in crate::config) endpoint: Option<UrlText>,
    /// The protocol of OTLP.
    pub(in crate::config) protocol: ProtocolWord,
    /// Further headers of requests, or metadata of gRPC.
    pub(in crate::config) headers: Headers,
    /// Certificates of one's own.
    pub(in crate::config) tls: Option<common::Tls>,
    /// Whether traces are sent.
    pub(in crate::config) traces: bool,
    /// Whether metrics are sent.
    pub(in crate::config) metrics: bool,
    /// The part of traces that is kept, where no sender has decided.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub(in crate::config) sampling_ratio: f64,
    /// Attributes of the relay as a resource, such as `deployment.environment.name`.
    pub(in crate::config) attributes: BTreeMap<String, String>,
    /// How often metrics are sent.
    pub(in crate::config) metric_interval: Period,
    /// How long a shutdown waits for what is still to be sent.
    pub(in crate::config) shutdown_timeout: Period,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self {
            endpoint: None,
            protocol: ProtocolWord::HttpProtobuf,
            headers: Headers::default(),
            tls: None,
            traces: true,
            metrics: true,
            sampling_ratio: 1.0,
            attributes: BTreeMap::new(),
            metric_interval: Period::secs(60),
            shutdown_timeout: Period::secs(5),
        }
    }
}

/// Who is told when something needs a person.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct ProblemsSection {
    /// The destinations, in this order: the first that is well, and not the one concerned, tells.
    pub(in crate::config) to: Many<Name>,
    /// How long a problem must last.
    pub(in crate::config) after: Period,
    /// How often it is told again while it lasts.
    pub(in crate::config) repeat: Period,
}

impl Default for ProblemsSection {
    fn default() -> Self {
        Self { to: Many::default(), after: Period::secs(300), repeat: Period::hours(4) }
    }
}

words! {
    LogWord { Auto, Text, Json }
    ProtocolWord { HttpProtobuf = "http/protobuf", Grpc }
}
