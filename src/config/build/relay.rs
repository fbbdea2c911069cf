//! Another relay, and what it means to hand everything on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use url::Url;

use super::Judge;
use super::messages::{is_in_the_clear, is_this_machine};
use super::webhook::{self, UNFIT_HEADER, is_header_text, unfit};
use crate::config::plan::{
    BatchEncoding, DestinationKind, DestinationPlan, RelayPlan, SourcePlan, WebhookFormat, WebhookPlan,
};
use crate::config::raw::Raw;
use crate::config::raw::common::{Scheme, Signing};
use crate::config::raw::destination::{Destination, Relay};
use crate::config::raw::source::Source;
use crate::config::secret::Secret;
use crate::destination::relay::PATH;
use crate::event::RecordKind;
use crate::routing::{Conditions, Route};

/// The other relay; the error says why it cannot work now.
pub(super) fn relay(
    path: &str,
    relay: &Relay,
    raw: &Raw,
    judge: &mut Judge<'_>,
) -> Result<DestinationKind, String> {
    if let Some(tls) = &relay.tls {
        webhook::tls(path, tls, judge);
    }
    if judge.is_written(&format!("{path}.redact")) {
        let message = "another relay gets the record as it is, so that it can keep and tell it";
        judge.problem(
            &format!("{path}.redact"),
            message,
            Some("no such key here: `redact` where it tells it"),
        );
    }
    let url = relay.url.as_ref().map(|url| address(path, url.0.expose(), raw, judge));
    believed(path, relay, judge);
    let headers = authorization(path, relay, judge);
    let signing: Vec<Signing> = relay
        .signing
        .0
        .iter()
        .map(|item| Signing {
            scheme: Some(item.scheme.unwrap_or(Scheme::StandardWebhooks)),
            secrets: item.secrets.clone(),
        })
        .collect();
    let signing = webhook::signing(path, &signing, judge);
    Ok(DestinationKind::Relay(Box::new(RelayPlan {
        name: raw.name.0.clone(),
        webhook: WebhookPlan {
            // Without one, it stands behind a reference that was not to be looked up, or is told already.
            url: Arc::new(Secret::new(url.unwrap_or_default())),
            format: WebhookFormat::Envelope,
            encoding: BatchEncoding::Ndjson,
            headers: headers?,
            signing: signing?,
        },
    })))
}

/// Where the other relay takes pushes.
fn address(path: &str, written: &str, raw: &Raw, judge: &mut Judge<'_>) -> String {
    let Ok(mut url) = Url::parse(written) else { return written.to_owned() };
    let path = format!("{path}.url");
    if let Some(source) = own_source(&url, raw) {
        let message = format!("the address of `{source}`, a source of this very relay");
        judge.problem(&path, &message, Some("the address of another relay"));
    }
    if url.path().is_empty() || url.path() == "/" {
        url.set_path(PATH);
        return url.into();
    }
    written.to_owned()
}

/// The source of this configuration that listens there, as far as that can be told.
fn own_source<'a>(url: &Url, raw: &'a Raw) -> Option<&'a str> {
    if !is_this_machine(url) {
        return None;
    }
    let port = url.port_or_known_default()?;
    let mut sources = raw.sources.iter();
    sources.find_map(|(name, source)| match source {
        Source::Http(http) if http.listen.0.port() == port => Some(name.as_str()),
        _ => None,
    })
}

/// Whether the other relay can know who sends, and nobody else learns how.
fn believed(path: &str, relay: &Relay, judge: &mut Judge<'_>) {
    let Some(Ok(url)) = relay.url.as_ref().map(|url| Url::parse(url.0.expose())) else { return };
    let is_written = |key: &str| judge.is_written(&format!("{path}.{key}"));
    let (signing, bearer, cert) = (is_written("signing"), is_written("bearer"), is_written("tls.cert"));
    if !signing && !bearer && !cert && !is_this_machine(&url) {
        let message = "nothing shows the other relay who sends: neither `signing` nor `bearer` is set";
        judge.warn(path, message);
    }
    if bearer && is_in_the_clear(&url) {
        judge.warn(&format!("{path}.url"), "`http`: the token crosses the network unencrypted");
    }
}

fn authorization(path: &str, relay: &Relay, judge: &mut Judge<'_>) -> Result<Vec<(String, Secret)>, String> {
    let Some(token) = &relay.bearer else { return Ok(Vec::new()) };
    let value = format!("Bearer {}", token.0.expose());
    if !is_header_text(&value) {
        return Err(unfit(path, "bearer", UNFIT_HEADER, "printable ASCII in one line", judge));
    }
    Ok(vec![("authorization".to_owned(), Secret::new(value))])
}

/// What no route need say: wherever events are handed on, so is what is no event, or the other relay could not
/// tell what is missing.
pub(super) fn further_routes(raw: &Raw, used: &BTreeSet<&str>) -> Vec<Route> {
    let relays = raw.destinations.iter().filter(|(name, destination)| {
        matches!(destination, Destination::Relay(_)) && used.contains(name.as_str())
    });
    relays
        .map(|(name, _)| Route {
            name: format!("what is no event, for {name}"),
            when: Conditions {
                record: RecordKind::ALL.into_iter().filter(|kind| *kind != RecordKind::Event).collect(),
                ..Conditions::default()
            },
            unless: None,
            to: vec![name.clone()],
        })
        .collect()
}

/// What only the whole configuration shows of a relay that hands on.
pub(super) fn forwards(
    raw: &Raw,
    sources: &BTreeMap<String, SourcePlan>,
    destinations: &BTreeMap<String, DestinationPlan>,
    judge: &mut Judge<'_>,
) {
    let is_relay = |plan: &DestinationPlan| plan.type_word == "relay" && !plan.discard;
    let Some((hub, _)) = destinations.iter().find(|(_, plan)| is_relay(plan)) else { return };
    if !judge.is_written("name") {
        let message = "this relay has no `name` of its own: events of two relays of one name could get the same \
                       id, and the other relay would take them for one (such as `name: {env: HOSTNAME}`)";
        judge.warn(&format!("destinations.{hub}"), message);
    }
    told_here(hub, raw, sources, destinations, judge);
}

/// A relay that hands on is likely one of several, of which each sees a part: then what was before is not what
/// it saw before. Whoever says `single_writer` has thought of it.
fn told_here(
    hub: &str,
    raw: &Raw,
    sources: &BTreeMap<String, SourcePlan>,
    destinations: &BTreeMap<String, DestinationPlan>,
    judge: &mut Judge<'_>,
) {
    let is_assumed = |name: &&String| {
        let written = raw.sources.get(*name).and_then(|source| source.common().single_writer);
        sources[*name].single_writer && written.is_none()
    };
    let Some(source) = sources.keys().find(is_assumed) else { return };
    let told: Vec<String> = destinations
        .iter()
        .filter(|(_, plan)| !plan.discard && tells_before(plan))
        .map(|(name, _)| format!("`{name}`"))
        .collect();
    if told.is_empty() {
        return;
    }
    let message = format!(
        "records are handed on to `{hub}`, and {} here what was before a change: if this Flipt has several \
         replicas, this relay sees a part of the changes and that is not so. Tell it at `{hub}` alone, or write \
         `single_writer: false` here (`true` where this source sees every change)",
        match &told[..] {
            [only] => format!("{only} tells"),
            several => format!("{} tell", several.join(", ")),
        }
    );
    judge.warn(&format!("sources.{source}"), &message);
}

fn tells_before(plan: &DestinationPlan) -> bool {
    match &plan.kind {
        Ok(DestinationKind::Webhook(webhook)) => webhook.format != WebhookFormat::Flipt,
        Ok(
            DestinationKind::Slack(_)
            | DestinationKind::Datadog(_)
            | DestinationKind::File(_)
            | DestinationKind::Otlp(_),
        ) => true,
        Ok(DestinationKind::Console(_) | DestinationKind::Relay(_)) => false,
        Err(_) => matches!(plan.type_word, "slack" | "datadog" | "otlp"),
    }
}
