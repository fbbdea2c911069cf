//! Datadog: its sites, and what tells its events apart.

use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::Judge;
use super::messages::{group_wait, is_in_the_clear};
use crate::config::plan::{DatadogApi, DatadogPlan, DestinationKind, Surroundings};
use crate::config::problem::nearest;
use crate::config::raw::Raw;
use crate::config::raw::common::{SecretText, UrlText};
use crate::config::raw::destination::{ApiWord, Datadog, Site};
use crate::config::scalars::Expiry;
use crate::config::secret::Secret;
use crate::destination::datadog::tags;

/// What is older expires, whatever is written: it leaves room within the 18 hours that Datadog takes.
const LONGEST_EXPIRY: Duration = Duration::from_secs(17 * 3_600);

pub(super) fn datadog(
    path: &str,
    datadog: &Datadog,
    raw: &Raw,
    around: &Surroundings,
    judge: &mut Judge<'_>,
) -> DestinationKind {
    let site = name(datadog.site);
    let is_government = matches!(datadog.site, Site::Us1Fed | Site::Us2Fed);
    let api = match datadog.api {
        Some(ApiWord::V1) => DatadogApi::V1,
        Some(ApiWord::V2) => DatadogApi::V2,
        None if is_government => DatadogApi::V1,
        None => DatadogApi::V2,
    };
    if api == DatadogApi::V2 && is_government {
        judge.warn(
            &format!("{path}.api"),
            "Change Tracking, which `v2` is for, is not supported on this site",
        );
    }
    let base = match (&datadog.endpoint, api) {
        (Some(UrlText(endpoint)), _) => self::endpoint(path, endpoint.expose(), judge),
        (None, DatadogApi::V1) => format!("https://api.{site}"),
        (None, DatadogApi::V2) => format!("https://event-management-intake.{site}"),
    };
    let url = match api {
        DatadogApi::V1 => format!("{base}/api/v1/events"),
        DatadogApi::V2 => format!("{base}/api/v2/events"),
    };
    waits(path, datadog, judge);
    key(&format!("{path}.api_key"), datadog.api_key.as_ref(), judge);
    key(&format!("{path}.app_key"), datadog.app_key.as_ref(), judge);
    written_tags(path, datadog, judge);
    environments(path, datadog, raw, judge);
    services(path, api, datadog, around, judge);
    // Without one, it stands behind a reference that was not to be looked up, or its problem is told already.
    let api_key = datadog.api_key.as_ref().map_or_else(|| Secret::new(""), |key| key.0.clone());
    DestinationKind::Datadog(Box::new(DatadogPlan {
        site,
        api,
        url: Arc::new(Secret::new(url)),
        api_key,
        app_key: datadog.app_key.as_ref().map(|key| key.0.clone()),
        tags: datadog.tags.0.clone(),
        services: datadog.services.0.clone(),
        env: datadog.env.clone(),
        denied: datadog.denied,
        send_with_current_time: datadog.send_with_current_time,
        group_wait: group_wait(path, &datadog.common, Duration::ZERO, judge),
        around: around.clone(),
    }))
}

/// A base address, to which the path of the API is added.
fn endpoint(path: &str, written: &str, judge: &mut Judge<'_>) -> String {
    let path = format!("{path}.endpoint");
    let base = written.trim_end_matches('/');
    if let Ok(url) = Url::parse(base) {
        if url.query().is_some() {
            let expected = Some("a base address such as `https://events.example.com`");
            judge.problem(&path, "an address with a query", expected);
        } else if url.path().contains("/api/v") {
            let expected = Some("the address without it: it is added");
            judge.problem(&path, "an address with the path of the API", expected);
        }
        if is_in_the_clear(&url) {
            judge.warn(&path, "`http`: the keys, and who changed what, cross the network unencrypted");
        }
    }
    base.to_owned()
}

fn waits(path: &str, datadog: &Datadog, judge: &mut Judge<'_>) {
    let is_too_long = |Expiry(after): Expiry| after.is_none_or(|after| after > LONGEST_EXPIRY);
    if !datadog.send_with_current_time && datadog.common.expire_after.is_some_and(is_too_long) {
        let message = "Datadog takes nothing older than 18 h: what is older than 17 h expires anyway, without \
                       `send_with_current_time: true`";
        judge.warn(&format!("{path}.expire_after"), message);
    }
    let batch = format!("{path}.batch");
    if judge.is_written(&batch) {
        let expected = Some("`group_wait`, or no such key");
        judge.problem(&batch, "Datadog takes one event a request, of one change set", expected);
    }
}

/// No header could carry others; what it is stays unsaid.
fn key(path: &str, key: Option<&SecretText>, judge: &mut Judge<'_>) {
    if key.is_some_and(|key| !key.0.expose().bytes().all(|byte| byte.is_ascii_graphic())) {
        let expected = Some("the key alone: letters and digits, without spaces and line ends");
        judge.problem(path, "characters that no key has", expected);
    }
}

/// Tags are told as Datadog would store them.
fn written_tags(path: &str, datadog: &Datadog, judge: &mut Judge<'_>) {
    for (index, tag) in datadog.tags.0.iter().enumerate() {
        let path = format!("{path}.tags[{index}]");
        if let Some(own) = own(tag) {
            judge.problem(&path, "a tag that the relay sets itself", Some(own));
        } else {
            fits(&path, tag, tags::normalised(tag), "a tag", judge);
        }
    }
    for (index, service) in datadog.services.0.iter().enumerate() {
        let path = format!("{path}.services[{index}]");
        fits(&path, service, tags::service(service), "the name of a service", judge);
    }
    for (environment, tag) in &datadog.env {
        let path = format!("{path}.env.{environment}");
        let whole = tags::normalised(&format!("env:{tag}"));
        let value = whole.and_then(|tag| tag.strip_prefix("env:").map(str::to_owned));
        fits(&path, tag, value, "a tag's value", judge);
    }
}

/// Where what a tag of the relay's own says is written instead.
fn own(tag: &str) -> Option<&'static str> {
    let whole = tags::normalised(tag)?;
    let (key, _) = whole.split_once(':')?;
    tags::OWN.contains(&key).then_some(match key {
        "env" => "`env: {environment: name}` of this destination",
        "service" => "`services` of this destination or of `owners`",
        "team" => "the `team` of `owners`",
        _ => "a key of your own",
    })
}

fn fits(path: &str, written: &str, normalised: Option<String>, what: &str, judge: &mut Judge<'_>) {
    if normalised.as_deref() != Some(written) {
        let expected = match normalised {
            Some(normalised) => format!("`{normalised}`"),
            None => "a letter first, then letters, digits and `_-:./`".to_owned(),
        };
        judge.problem(path, &format!("{what} that Datadog would store otherwise"), Some(&expected));
    }
}

/// The keys of `env` are environments.
fn environments(path: &str, datadog: &Datadog, raw: &Raw, judge: &mut Judge<'_>) {
    let mut known: Vec<&str> = raw.environments.keys().map(String::as_str).collect();
    known.extend(raw.environment.iter().map(|name| name.0.as_str()));
    let fixed = raw.sources.values().filter_map(|source| source.common().environment.as_ref());
    known.extend(fixed.map(|name| name.0.as_str()));
    for written in datadog.env.keys().filter(|written| !known.contains(&written.as_str())) {
        let near = nearest(written, known.iter().copied());
        let near = near.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
        judge.warn(&format!("{path}.env.{written}"), &format!("no such environment{near}"));
    }
}

/// Change Tracking shows a change on services, and nowhere without one.
fn services(path: &str, api: DatadogApi, datadog: &Datadog, around: &Surroundings, judge: &mut Judge<'_>) {
    let knows_some =
        !datadog.services.0.is_empty() || around.owners.0.iter().any(|owner| !owner.services.is_empty());
    if api == DatadogApi::V2 && !knows_some {
        let message = "no service is known, and Change Tracking shows changes on services alone: \
                       name them in `services` here, or with the teams in `owners`";
        judge.warn(path, message);
    }
    owned_services(around, judge);
}

/// The names of services as `owners` has them.
fn owned_services(around: &Surroundings, judge: &mut Judge<'_>) {
    for (index, owner) in around.owners.0.iter().enumerate() {
        for (place, service) in owner.services.iter().enumerate() {
            let stored = tags::service(service);
            let path = format!("owners[{index}].services[{place}]");
            let is_told = judge.warnings.iter().any(|warning| warning.key == path);
            if stored.as_deref() != Some(&**service) && !is_told {
                let stored = stored.map(|it| format!(" `{it}`")).unwrap_or_default();
                judge.warn(&path, &format!("Datadog knows this service as{stored}, and is told so"));
            }
        }
    }
}

/// A site as Datadog names it.
fn name(site: Site) -> &'static str {
    match site {
        Site::Us1 => "datadoghq.com",
        Site::Us3 => "us3.datadoghq.com",
        Site::Us5 => "us5.datadoghq.com",
        Site::Ap1 => "ap1.datadoghq.com",
        Site::Ap2 => "ap2.datadoghq.com",
        Site::Uk1 => "uk1.datadoghq.com",
        Site::Eu1 => "datadoghq.eu",
        Site::Us1Fed => "ddog-gov.com",
        Site::Us2Fed => "us2.ddog-gov.com",
    }
}
