//! Destinations.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Judge;
use super::sources::is_glob;
use crate::config::plan::{
    BatchEncoding, BatchPlan, ConsolePlan, DeliverSince, DestinationKind, DestinationPlan,
    FileDestinationPlan, RetryPlan, SigningPlan, SigningScheme, WebhookFormat, WebhookPlan,
};
use crate::config::raw::Raw;
use crate::config::raw::common::{Scheme, Signing};
use crate::config::raw::destination::{
    Common, ConsoleWord, Destination, EncodingWord, FileDestination, FormatWord, KIND_DEFAULTS, Slack,
    Webhook,
};
use crate::config::raw::source::Source;
use crate::config::scalars::{Scalar, Since};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::config::secret::Secret;
use crate::config::secrets::References;

pub(super) fn build(raw: &Raw, judge: &mut Judge<'_>) -> BTreeMap<String, DestinationPlan> {
    let mut plans = BTreeMap::new();
    for (name, destination) in &raw.destinations {
        let path = format!("destinations.{name}");
        let (word, common, kind) = match destination {
            Destination::Webhook(webhook) => {
                ("webhook", &webhook.common, self::webhook(&path, webhook, judge))
            }
            Destination::Console(console) => {
                let json = console.format == ConsoleWord::Json;
                ("console", &console.common, Ok(DestinationKind::Console(ConsolePlan { json })))
            }
            Destination::File(file) => ("file", &file.common, self::file(&path, file, raw, judge)),
            Destination::Slack(slack) => {
                self::slack(&path, slack, judge);
                ("slack", &slack.common, Err(later("slack")))
            }
            Destination::Datadog(datadog) => ("datadog", &datadog.common, Err(later("datadog"))),
            Destination::Relay(relay) => {
                signing(&path, &relay.signing.0, judge);
                ("relay", &relay.common, Err(later("relay")))
            }
            Destination::Otlp(otlp) => ("otlp", &otlp.common, Err(later("otlp"))),
        };
        let kind = kind.and_then(|kind| held_back(common).map_or(Ok(kind), Err));
        if let Err(why) = &kind
            && why.ends_with(NOT_YET)
            && !judge.context.blocked.contains_key(name)
        {
            judge.note(&path, &format!("{why}: it is not started; nothing is kept for it"));
        }
        let keeps_place = kind.is_ok();
        let kind = match judge.context.blocked.get(name) {
            Some(reason) => Err(reason.clone()),
            None => kind,
        };
        plans.insert(name.clone(), plan(&path, word, common, (kind, keeps_place), judge));
    }
    plans
}

/// A lane holds a group in memory while it is sent.
const MAX_BATCH_BYTES: u64 = 8 << 20;

const NOT_YET: &str = "is accepted, and not acted on yet in this version";

fn later(kind: &str) -> String {
    format!("a `{kind}` destination {NOT_YET}")
}

/// Keys that keep a destination from doing what it should not: without them it must not run.
fn held_back(common: &Common) -> Option<String> {
    let key = match common {
        Common { observe: true, .. } => "observe",
        Common { discard: true, .. } => "discard",
        Common { redact, .. } if !redact.0.is_empty() => "redact",
        _ => return None,
    };
    Some(format!("`{key}` {NOT_YET}"))
}

fn plan(
    path: &str,
    word: &str,
    common: &Common,
    (kind, keeps_place): (Result<DestinationKind, String>, bool),
    judge: &mut Judge<'_>,
) -> DestinationPlan {
    let retry = &common.retry;
    if retry.initial_backoff.0.is_zero() && judge.is_written(&format!("{path}.retry.initial_backoff")) {
        judge.problem(&format!("{path}.retry.initial_backoff"), "no time at all", Some("a longer duration"));
    } else if retry.initial_backoff.0 > retry.max_backoff.0 {
        let message = "longer than `max_backoff`";
        judge.problem(&format!("{path}.retry.initial_backoff"), message, Some("the shorter of the two"));
    }
    if common.batch.max_bytes.0 > MAX_BATCH_BYTES {
        judge.problem(&format!("{path}.batch.max_bytes"), "out of bounds", Some("at most `8MiB`"));
    }
    if common.timeout.0.is_zero() && judge.is_written(&format!("{path}.timeout")) {
        judge.problem(&format!("{path}.timeout"), "no time at all", Some("a longer duration"));
    }
    let default =
        KIND_DEFAULTS.iter().find(|(kind, ..)| *kind == word).map_or("beginning", |(.., since)| since);
    let since = common.deliver_since.or_else(|| Since::read(default).ok()).unwrap_or(Since::Beginning);
    DestinationPlan {
        kind,
        keeps_place,
        batch: BatchPlan {
            max_events: common.batch.max_events,
            max_bytes: usize::try_from(common.batch.max_bytes.0).unwrap_or(usize::MAX),
            timeout: common.batch.timeout.0,
        },
        retry: RetryPlan { initial_backoff: retry.initial_backoff.0, max_backoff: retry.max_backoff.0 },
        deliver_since: match since {
            Since::Beginning => DeliverSince::Beginning,
            Since::Now => DeliverSince::Now,
            Since::Time(time) => DeliverSince::Time(time),
        },
        timeout: common.timeout.0,
    }
}

fn webhook(path: &str, webhook: &Webhook, judge: &mut Judge<'_>) -> Result<DestinationKind, String> {
    if webhook.format == FormatWord::Flipt {
        if webhook.common.batch.max_events > 1 {
            let message = "`format: flipt` sends one event a request";
            judge.problem(&format!("{path}.batch.max_events"), message, Some("1, or `format: envelope`"));
        }
        if !webhook.common.redact.0.is_empty() {
            let message = "`format: flipt` sends the event as it came";
            judge.problem(&format!("{path}.redact"), message, Some("no such key, or `format: envelope`"));
        }
    }
    match (webhook.format, &webhook.template) {
        (FormatWord::Template, None) if !judge.is_written(&format!("{path}.template")) => {
            judge.problem(&format!("{path}.format"), "`format: template` without a `template`", None);
        }
        (FormatWord::Template, _) | (_, None) => {}
        _ => {
            judge.problem(&format!("{path}.template"), "not used by this format", Some("`format: template`"))
        }
    }
    let headers = headers(path, webhook, judge)?;
    let stops = signing(path, &webhook.signing.0, judge);
    let not_yet = |what: &str| Err(format!("{what} {NOT_YET}"));
    if let Some(scheme) = stops {
        return not_yet(&format!("`scheme: {scheme}`"));
    }
    let format = match webhook.format {
        FormatWord::Envelope => WebhookFormat::Envelope,
        FormatWord::Flipt => WebhookFormat::Flipt,
        FormatWord::Template => return not_yet("`format: template`"),
        FormatWord::Cloudevents => return not_yet("`format: cloudevents`"),
    };
    // Without them a request would go where, or be trusted as, nobody wants.
    if webhook.tls.is_some() {
        return not_yet("`tls`");
    }
    if webhook.proxy.is_some() {
        return not_yet("`proxy`");
    }
    let url = match &webhook.url {
        Some(url) => url.0.clone(),
        // It stands behind a reference that was not to be looked up, or its problem is told already.
        None => Secret::new(""),
    };
    Ok(DestinationKind::Webhook(WebhookPlan {
        url: Arc::new(url),
        format,
        encoding: match webhook.encoding {
            EncodingWord::Array => BatchEncoding::Array,
            EncodingWord::Ndjson => BatchEncoding::Ndjson,
        },
        headers,
        signing: webhook
            .signing
            .0
            .iter()
            .map(|item| SigningPlan {
                scheme: SigningScheme::Flipt,
                secrets: item.secrets.0.iter().map(|secret| secret.0.clone()).collect(),
            })
            .collect(),
    }))
}

/// Headers that belong to the connection or to the body.
const RESERVED: [&str; 5] = ["connection", "content-length", "host", "transfer-encoding", "upgrade"];

/// The headers as written, and the one that `bearer` or `basic` makes; the error says why none can be sent.
fn headers(path: &str, webhook: &Webhook, judge: &mut Judge<'_>) -> Result<Vec<(String, Secret)>, String> {
    const UNFIT: &str = "a value that no header can carry";
    let mut headers: Vec<(String, Secret)> = Vec::new();
    let mut unfit = None;
    let mut add = |name: String, value: String, key: &str, judge: &mut Judge<'_>| {
        let path = format!("{path}.{key}");
        if RESERVED.contains(&name.as_str()) {
            judge.problem(&path, "this header is set by the connection", None);
        } else if headers.iter().any(|(earlier, _)| *earlier == name) {
            judge.problem(&path, &format!("a second `{name}` header"), Some("one of them"));
        } else if !value.bytes().all(|byte| byte == b'\t' || (0x20..0x7f).contains(&byte)) {
            // Like a reference that is missing: a secret that cannot be used stops its destination alone.
            unfit = Some(format!("{key}: {UNFIT}"));
            match judge.context.references {
                References::Resolve => judge.warn(&path, UNFIT),
                _ => judge.problem(&path, UNFIT, Some("printable ASCII in one line")),
            }
        } else {
            headers.push((name, Secret::new(value)));
        }
    };
    for (name, value) in &webhook.headers.0 {
        add(name.to_ascii_lowercase(), value.0.expose().to_owned(), &format!("headers.{name}"), judge);
    }
    if let Some(token) = &webhook.bearer {
        add("authorization".into(), format!("Bearer {}", token.0.expose()), "bearer", judge);
    }
    if let Some(basic) = &webhook.basic
        && let (Some(user), Some(password)) = (&basic.username, &basic.password)
    {
        if user.contains(':') {
            judge.problem(&format!("{path}.basic.username"), "a colon ends the user name", Some("no colon"));
        }
        let pair = format!("{user}:{}", password.0.expose());
        add("authorization".into(), format!("Basic {}", BASE64_STANDARD.encode(&pair)), "basic", judge);
    }
    unfit.map_or(Ok(headers), Err)
}

/// Checks signatures; returns the first scheme that is not acted on yet.
pub(super) fn signing(path: &str, items: &[Signing], judge: &mut Judge<'_>) -> Option<&'static str> {
    let mut seen = Vec::new();
    let mut stops = None;
    for (index, item) in items.iter().enumerate() {
        let Some(scheme) = item.scheme else { continue };
        if seen.contains(&scheme) {
            let path = format!("{path}.signing[{index}].scheme");
            judge.problem(&path, "the same scheme twice", Some("all its secrets in one list"));
        }
        seen.push(scheme);
        stops = stops.or(match scheme {
            Scheme::Flipt => None,
            Scheme::StandardWebhooks => Some("standard_webhooks"),
            Scheme::Github => Some("github"),
        });
    }
    stops
}

fn file(
    path: &str,
    file: &FileDestination,
    raw: &Raw,
    judge: &mut Judge<'_>,
) -> Result<DestinationKind, String> {
    let mut sample = file.path.0.clone();
    for (word, value) in [("%Y", "2026"), ("%m", "11"), ("%d", "22"), ("%H", "08")] {
        sample = sample.replace(word, value);
    }
    for (name, source) in &raw.sources {
        let Source::File(source) = source else { continue };
        let reads = |glob: &str| match is_glob(glob) {
            true => glob::Pattern::new(glob).is_ok_and(|glob| glob.matches(&sample)),
            false => glob == sample,
        };
        if source.path.0.iter().any(|glob| reads(&glob.0)) {
            let message = format!("source `{name}` would read what is written here");
            judge.problem(&format!("{path}.path"), &message, Some("another path"));
        }
    }
    Ok(DestinationKind::File(FileDestinationPlan { path: file.path.0.clone() }))
}

fn slack(path: &str, _: &Slack, judge: &mut Judge<'_>) {
    let has = |key: &str, judge: &Judge<'_>| judge.is_written(&format!("{path}.{key}"));
    let (webhook, token, channel) = (has("webhook_url", judge), has("token", judge), has("channel", judge));
    let expected = Some("either `webhook_url`, or `token` and `channel`");
    match (webhook, token, channel) {
        (true, false, false) | (false, true, true) => {}
        (true, ..) => judge.problem(path, "`webhook_url` beside `token` or `channel`", expected),
        (false, true, false) => judge.problem(path, "`channel` is missing", expected),
        (false, false, true) => judge.problem(path, "`token` is missing", expected),
        (false, false, false) => judge.problem(path, "`webhook_url` is missing", expected),
    }
}
