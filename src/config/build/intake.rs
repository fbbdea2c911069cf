//! Sources that take pushes: where they listen, and whom they believe.

use std::collections::BTreeMap;

use super::{Judge, destinations, webhook};
use crate::config::plan::{HttpSourcePlan, SourceKind, SourcePlan};
use crate::config::raw::common::Demanded;
use crate::config::raw::source::HttpSource;

pub(super) fn http(name: &str, path: &str, source: &HttpSource, judge: &mut Judge<'_>) -> HttpSourcePlan {
    let signing_path = format!("{path}.signing");
    let has_bearer = judge.is_written(&format!("{path}.bearer"));
    let tls = source.tls.as_ref().map(|tls| {
        webhook::tls(path, tls, judge);
        let plan = destinations::certificates(tls);
        let written = |key: &str| judge.is_written(&format!("{path}.tls.{key}"));
        if !written("cert") && !written("key") {
            let expected = Some("`cert` and `key`, the files of the certificate to show");
            judge.problem(&format!("{path}.tls"), "TLS without a certificate", expected);
        }
        plan
    });
    let tls = tls.unwrap_or_default();
    let items = match &source.signing {
        Demanded::AnyOf(items) => &items[..],
        Demanded::Unsaid | Demanded::Nothing => &[],
    };
    match &source.signing {
        _ if has_bearer => {}
        Demanded::Unsaid if !judge.is_written(&signing_path) => judge.problem(
            path,
            "anybody who reaches this address could push: neither `signing` nor `bearer` is written",
            Some("`signing`, `bearer`, or `signing: none` where that is meant"),
        ),
        Demanded::Nothing if !source.listen.0.ip().is_loopback() && tls.ca.is_none() => judge.warn(
            &signing_path,
            "anybody who reaches this address may push, from beyond this machine too: `listen` says where",
        ),
        _ => {}
    }
    let signing = webhook::signing(path, items, judge);
    HttpSourcePlan {
        listen: source.listen.0,
        signing: match judge.context.blocked_sources.get(name) {
            Some(reason) => Err(reason.clone()),
            None => signing,
        },
        bearer: source.bearer.as_ref().map(|token| token.0.clone()),
        tls,
        max_body_bytes: usize::try_from(source.max_body.0).unwrap_or(usize::MAX),
    }
}

/// Two sources cannot listen at one address.
pub(super) fn addresses(plans: &BTreeMap<String, SourcePlan>, judge: &mut Judge<'_>) {
    let listening: Vec<_> = plans
        .iter()
        .filter_map(|(name, plan)| match &plan.kind {
            SourceKind::Http(http) if http.listen.port() != 0 => Some((name, http.listen)),
            _ => None,
        })
        .collect();
    for (index, (first, one)) in listening.iter().enumerate() {
        for (second, other) in &listening[index + 1..] {
            let meet = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
            if one.port() == other.port() && meet {
                let message = format!("the same port as that of `{first}`");
                judge.problem(&format!("sources.{second}.listen"), &message, Some("another port"));
            }
        }
    }
}
