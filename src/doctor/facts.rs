//! What Flipt tells of itself: `/meta/info` and `/meta/config`.
//!
//! Both are Go structs as JSON: keys in camelCase, lengths of time in nanoseconds, and what is false, zero or
//! empty mostly left out (Flipt's `internal/info/flipt.go`, and the `json` tags in `internal/config`). Secrets
//! are left out too, but not all that may be one: an address of a webhook, headers of templates. Nothing of
//! these is kept here beyond what is asked of them.

use std::time::Duration;

use serde_json::Value;

use super::release::Release;
use crate::config::secret::address;

/// What is known of a Flipt.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Facts {
    /// The release.
    pub release: Option<Release>,
    /// Whether it is a Flipt v2.
    pub is_v2: bool,
    /// Whether callers must sign in.
    pub authentication_required: Option<bool>,
    /// Where flags are stored: `database`, `git`, `local`, `oci`, `object`.
    pub storage: Option<String>,
    /// Whether flags cannot be changed through Flipt.
    pub read_only: bool,
    /// Its configuration, where it was told.
    pub config: Option<ConfigFacts>,
}

/// What matters of its configuration.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ConfigFacts {
    /// Whether there is a section about audit events at all.
    pub has_audit: bool,
    /// Whether the log sink is on.
    pub log: bool,
    /// Its file; none is standard output.
    pub log_file: Option<String>,
    /// The webhook sink, where it is on.
    pub webhook: Option<WebhookFacts>,
    /// Whether the Kafka sink is on.
    pub kafka: bool,
    /// `audit.events`; empty where it is not told.
    pub events: Vec<String>,
    /// `audit.buffer.flush_period`.
    pub flush_period: Option<Duration>,
    /// `tracing.enabled`.
    pub tracing: bool,
    /// `tracing.sampling_ratio`; `None` where it is not told.
    pub sampling_ratio: Option<f64>,
    /// `authentication.exclude.management`.
    pub management_excluded: bool,
}

/// The webhook sink.
#[derive(Debug, Clone, PartialEq)]
pub struct WebhookFacts {
    /// Whether it uses templates.
    pub templates: bool,
    /// Where it sends to, as anybody may see it, and the path.
    pub targets: Vec<Target>,
    /// Whether it signs; known of Flipt up to 1.27 alone.
    pub signs: Option<bool>,
    /// Whether every template sets a header `authorization`.
    pub bears_token: bool,
}

/// Where a webhook goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Scheme, host and port.
    pub shown: String,
    /// Whether its path is the one that the relay takes pushes at.
    pub is_intake: bool,
}

/// Where the relay takes pushes.
pub(super) const INTAKE: &str = "/v1/events";

impl Facts {
    /// Reads both answers; of the configuration there may be none.
    #[must_use]
    pub fn read(info: &Value, config: Option<&Value>) -> Self {
        let version = text(info, "version").or_else(|| text(info, "build.version"));
        let release = version.as_deref().and_then(Release::parse);
        let config_version = config.and_then(|config| text(config, "version"));
        let is_v2 = release.is_some_and(|release| release.0 >= 2)
            || (release.is_none() && config_version.is_some_and(|version| version.starts_with('2')));
        let either = |of_info: &str, of_config: &str| {
            look(info, of_info).or_else(|| config.and_then(|config| look(config, of_config)))
        };
        let storage = either("storage.type", "storage.type").and_then(Value::as_str).map(str::to_owned);
        let read_only = either("storage.readOnly", "storage.readOnly").and_then(Value::as_bool);
        let is_declarative =
            storage.as_deref().is_some_and(|kind| matches!(kind, "git" | "local" | "oci" | "object"));
        Self {
            release,
            is_v2,
            authentication_required: either("authentication.required", "authentication.required")
                .and_then(Value::as_bool),
            storage,
            read_only: read_only.unwrap_or(false) || is_declarative,
            config: config.map(ConfigFacts::read),
        }
    }
}

impl ConfigFacts {
    fn read(config: &Value) -> Self {
        let audit = look(config, "audit");
        let webhook = look(config, "audit.sinks.webhook").filter(|sink| yes(sink, "enabled"));
        let events = look(config, "audit.events").and_then(Value::as_array);
        let events = events.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
        Self {
            has_audit: audit.is_some(),
            log: yes(config, "audit.sinks.log.enabled"),
            log_file: text(config, "audit.sinks.log.file").filter(|file| !file.is_empty()),
            webhook: webhook.map(WebhookFacts::read),
            kafka: yes(config, "audit.sinks.kafka.enabled"),
            events: events.collect(),
            flush_period: look(config, "audit.buffer.flushPeriod")
                .and_then(Value::as_u64)
                .map(Duration::from_nanos),
            tracing: yes(config, "tracing.enabled"),
            sampling_ratio: look(config, "tracing.samplingRatio").and_then(Value::as_f64),
            management_excluded: yes(config, "authentication.exclude.management"),
        }
    }
}

impl WebhookFacts {
    fn read(sink: &Value) -> Self {
        let templates: Vec<&Value> =
            look(sink, "templates").and_then(Value::as_array).into_iter().flatten().collect();
        let url = look(sink, "url").and_then(Value::as_str).filter(|url| !url.is_empty());
        let urls = templates.iter().filter_map(|template| look(template, "url")?.as_str());
        let bears_token = |template: &&Value| {
            let headers = look(template, "headers").and_then(Value::as_object);
            headers.is_some_and(|headers| headers.keys().any(|key| key.eq_ignore_ascii_case("authorization")))
        };
        Self {
            templates: !templates.is_empty(),
            targets: url.into_iter().chain(urls).map(Target::of).collect(),
            signs: text(sink, "signingSecret").map(|secret| !secret.is_empty()),
            bears_token: !templates.is_empty() && templates.iter().all(bears_token),
        }
    }
}

impl Target {
    fn of(url: &str) -> Self {
        let path = url::Url::parse(url).map(|url| url.path().trim_end_matches('/').to_owned());
        Self { shown: address(url), is_intake: path.is_ok_and(|path| path.ends_with(INTAKE)) }
    }
}

/// The value at a path of keys; capitals and underscores in keys make no difference.
fn look<'v>(value: &'v Value, path: &str) -> Option<&'v Value> {
    let plain = |key: &str| key.replace('_', "").to_ascii_lowercase();
    path.split('.').try_fold(value, |value, wanted| {
        let (_, found) = value.as_object()?.iter().find(|(key, _)| plain(key) == plain(wanted))?;
        (!found.is_null()).then_some(found)
    })
}

fn text(value: &Value, path: &str) -> Option<String> {
    look(value, path)?.as_str().map(str::to_owned)
}

fn yes(value: &Value, path: &str) -> bool {
    look(value, path).and_then(Value::as_bool).unwrap_or(false)
}
