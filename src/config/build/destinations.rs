//! Destinations: what all kinds have, and the kinds that need little.

use std::collections::BTreeMap;
use std::time::Duration;

use super::sources::is_glob;
use super::{Judge, datadog, fingerprint, otlp, redact, relay, slack, webhook};
use crate::config::plan::{
    BatchPlan, ConsolePlan, DeliverSince, DestinationKind, DestinationPlan, FileDestinationPlan, RatePlan,
    RetryPlan, Surroundings, TlsPlan,
};
use crate::config::raw::Raw;
use crate::config::raw::common::{Tls, UrlText};
use crate::config::raw::destination::{
    Common, ConsoleWord, Destination, FileDestination, KIND_BATCHES, KIND_DEFAULTS,
};
use crate::config::raw::source::Source;
use crate::config::scalars::{Expiry, Scalar, Since};
use crate::config::secret::Secret;

pub(super) fn build(
    raw: &Raw,
    around: &Surroundings,
    judge: &mut Judge<'_>,
) -> BTreeMap<String, DestinationPlan> {
    let mut plans = BTreeMap::new();
    for (name, destination) in &raw.destinations {
        let path = format!("destinations.{name}");
        let common = destination.common();
        let (word, kind) = match destination {
            Destination::Webhook(webhook) => ("webhook", webhook::webhook(&path, webhook, judge)),
            Destination::Console(console) => {
                let json = console.format == ConsoleWord::Json;
                ("console", Ok(DestinationKind::Console(ConsolePlan { json })))
            }
            Destination::File(file) => ("file", self::file(&path, file, raw, judge)),
            Destination::Slack(slack) => ("slack", slack::slack(&path, slack, around, judge)),
            Destination::Datadog(datadog) => {
                ("datadog", Ok(datadog::datadog(&path, datadog, raw, around, judge)))
            }
            Destination::Relay(relay) => ("relay", relay::relay(&path, relay, raw, judge)),
            Destination::Otlp(otlp) => ("otlp", otlp::otlp(&path, otlp, raw, judge)),
        };
        let kind = match judge.context.blocked.get(name) {
            Some(reason) => Err(reason.clone()),
            None => kind,
        };
        let connection = match destination {
            Destination::Webhook(webhook) => connection(webhook.tls.as_ref(), webhook.proxy.as_ref()),
            Destination::Slack(slack) => connection(slack.tls.as_ref(), slack.proxy.as_ref()),
            Destination::Datadog(datadog) => connection(datadog.tls.as_ref(), datadog.proxy.as_ref()),
            Destination::Relay(relay) => connection(relay.tls.as_ref(), relay.proxy.as_ref()),
            Destination::Otlp(otlp) => connection(otlp.tls.as_ref(), otlp.proxy.as_ref()),
            Destination::Console(_) | Destination::File(_) => (TlsPlan::default(), None),
        };
        renamed_from(name, common, raw, judge);
        if !matches!(word, "slack" | "datadog") && judge.is_written(&format!("{path}.group_wait")) {
            let expected = Some("`batch.timeout`, or a `slack` or `datadog` destination");
            judge.problem(&format!("{path}.group_wait"), "only messages for people wait for more", expected);
        }
        let takes_any_age =
            matches!(destination, Destination::Datadog(datadog) if datadog.send_with_current_time);
        let plan = plan(&path, word, common, takes_any_age, raw, judge);
        let plan = DestinationPlan {
            type_word: word,
            kind,
            batch: batch(&path, word, plan.batch, judge),
            tls: connection.0,
            proxy: connection.1,
            ..plan
        };
        plans.insert(name.clone(), DestinationPlan { fingerprint: fingerprint::of(&plan), ..plan });
    }
    slack::twins(&plans, judge);
    plans
}

/// A lane holds a group in memory while it is sent.
const MAX_BATCH_BYTES: u64 = 8 << 20;

/// A destination that may lose what waits too long has this part of the journal for it.
const BACKLOG_PART: u64 = 4;

/// When events expire for a Datadog destination that sends old ones with the current time, where nothing is
/// written: Datadog's own limit is none for it.
const AT_CURRENT_TIME: &str = "7d";

/// How records are grouped where nothing is written: what another machine keeps travels in company.
fn batch(path: &str, word: &str, plan: BatchPlan, judge: &Judge<'_>) -> BatchPlan {
    let defaults = KIND_BATCHES.iter().find(|(kind, ..)| *kind == word);
    let Some((_, max_events, timeout_ms)) = defaults else { return plan };
    let is_written = |key: &str| judge.is_written(&format!("{path}.batch.{key}"));
    BatchPlan {
        max_events: if is_written("max_events") { plan.max_events } else { *max_events },
        timeout: if is_written("timeout") { plan.timeout } else { Duration::from_millis(*timeout_ms) },
        ..plan
    }
}

/// What all kinds have; what the kind itself decides is left empty.
fn plan(
    path: &str,
    word: &'static str,
    common: &Common,
    takes_any_age: bool,
    raw: &Raw,
    judge: &mut Judge<'_>,
) -> DestinationPlan {
    durations(path, common, judge);
    if common.batch.max_bytes.0 > MAX_BATCH_BYTES {
        judge.problem(&format!("{path}.batch.max_bytes"), "out of bounds", Some("at most `8MiB`"));
    }
    if common.observe && common.discard {
        judge.problem(&format!("{path}.observe"), "a destination that discards has nothing to observe", None);
    }
    let defaults = KIND_DEFAULTS.iter().find(|(kind, ..)| *kind == word);
    let (expiry, since) = defaults.map_or(("never", "beginning"), |(_, expiry, since)| (*expiry, *since));
    let expiry = if takes_any_age { AT_CURRENT_TIME } else { expiry };
    let expire_after =
        common.expire_after.or_else(|| Expiry::read(expiry).ok()).and_then(|Expiry(after)| after);
    let since = common.deliver_since.or_else(|| Since::read(since).ok()).unwrap_or(Since::Beginning);
    DestinationPlan {
        type_word: word,
        is_held: false,
        kind: Err(String::new()),
        batch: BatchPlan {
            max_events: common.batch.max_events,
            max_bytes: usize::try_from(common.batch.max_bytes.0).unwrap_or(usize::MAX),
            timeout: common.batch.timeout.0,
        },
        retry: RetryPlan {
            initial_backoff: common.retry.initial_backoff.0,
            max_backoff: common.retry.max_backoff.0,
        },
        deliver_since: match since {
            Since::Beginning => DeliverSince::Beginning,
            Since::Now => DeliverSince::Now,
            Since::Time(time) => DeliverSince::Time(time),
        },
        timeout: common.timeout.0,
        concurrency: common.concurrency as usize,
        rate_limit: common.rate_limit.map(|rate| RatePlan { requests: rate.requests, per: rate.per() }),
        expire_after,
        backlog_max_bytes: backlog(path, common, expire_after.is_some(), raw.journal.max_size.0, judge),
        reject_limit: common.reject_limit,
        redact: redact::build(path, &common.redact, judge),
        observe: common.observe,
        discard: common.discard,
        renamed_from: common.renamed_from.as_ref().map(|name| name.0.clone()),
        tls: TlsPlan::default(),
        proxy: None,
        fingerprint: String::new(),
    }
}

fn durations(path: &str, common: &Common, judge: &mut Judge<'_>) {
    let no_time = |key: &str, is_zero: bool, judge: &mut Judge<'_>| {
        let path = format!("{path}.{key}");
        let told = is_zero && judge.is_written(&path);
        if told {
            judge.problem(&path, "no time at all", Some("a longer duration"));
        }
        told
    };
    let retry = &common.retry;
    if !no_time("retry.initial_backoff", retry.initial_backoff.0.is_zero(), judge)
        && retry.initial_backoff.0 > retry.max_backoff.0
    {
        let path = format!("{path}.retry.initial_backoff");
        judge.problem(&path, "longer than `max_backoff`", Some("the shorter of the two"));
    }
    no_time("timeout", common.timeout.0.is_zero(), judge);
    let expiry = common.expire_after.and_then(|Expiry(after)| after);
    no_time("expire_after", expiry.is_some_and(|after| after.is_zero()), judge);
}

/// How many bytes may wait; none where nothing expires, since nothing is given up there.
fn backlog(path: &str, common: &Common, expires: bool, journal: u64, judge: &mut Judge<'_>) -> Option<u64> {
    let path = format!("{path}.backlog.max_size");
    let written = common.backlog.max_size.map(|size| size.0);
    if written.is_some() && !expires {
        let message = "not used where nothing expires (`expire_after: never`)";
        judge.problem(&path, message, Some("no such key, or a duration for `expire_after`"));
    } else if written.is_some_and(|size| size > journal) {
        judge.problem(&path, "larger than `journal.max_size`", Some("a part of it"));
    }
    expires.then(|| written.unwrap_or(journal / BACKLOG_PART))
}

fn renamed_from(name: &str, common: &Common, raw: &Raw, judge: &mut Judge<'_>) {
    let Some(former) = &common.renamed_from else { return };
    let former = former.0.as_str();
    let common_of = |other: &str| raw.destinations.get(other).map(Destination::common);
    let claimed_before = raw.destinations.keys().take_while(|other| *other != name).find(|other| {
        common_of(other).is_some_and(|other| other.renamed_from.as_ref().is_some_and(|from| from.0 == former))
    });
    let why = if former == name {
        "it has this very name".to_owned()
    } else if raw.destinations.contains_key(former) {
        format!("`{former}` is still configured")
    } else if let Some(other) = claimed_before {
        format!("`{other}` takes over from `{former}` already")
    } else {
        return;
    };
    let path = format!("destinations.{name}.renamed_from");
    judge.problem(&path, &why, Some("the name of a destination that is not configured any more"));
}

/// Certificates and proxy.
fn connection(tls: Option<&Tls>, proxy: Option<&UrlText>) -> (TlsPlan, Option<Secret>) {
    (tls.map(certificates).unwrap_or_default(), proxy.map(|proxy| proxy.0.clone()))
}

/// Where the certificates are.
pub(super) fn certificates(tls: &Tls) -> TlsPlan {
    let identity = tls.cert.as_ref().zip(tls.key.as_ref());
    TlsPlan {
        ca: tls.ca.as_ref().map(|path| path.0.clone().into()),
        identity: identity.map(|(cert, key)| (cert.0.clone().into(), key.0.clone().into())),
    }
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
