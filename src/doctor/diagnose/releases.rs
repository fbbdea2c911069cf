//! Releases of Flipt that lose events, or tell less. Flipt's own issues and pull requests are named where they
//! say so.

use super::{GOOD, Relayed, poorer, severe};
use crate::admin::Finding;
use crate::doctor::facts::Facts;
use crate::doctor::release::Release;

/// Audit events were born.
pub(super) const FIRST: Release = Release(1, 21, 0);

pub(super) fn findings(facts: &Facts, relayed: &Relayed<'_>) -> Vec<Finding> {
    let Some(release) = facts.release else { return Vec::new() };
    if release < FIRST {
        return vec![severe(
            "flipt_before_audit",
            format!("Flipt {release} has no audit events: they came with {FIRST}."),
            image(GOOD),
        )];
    }
    [lossy(release, facts), panics(release, facts), pushes(release, facts, relayed), old(release)]
        .into_iter()
        .flatten()
        .collect()
}

fn image(tag: &str) -> String {
    format!("image: docker.flipt.io/flipt/flipt:{tag}")
}

/// <https://github.com/flipt-io/flipt/issues/6279>, <https://github.com/flipt-io/flipt/issues/3972>.
fn lossy(release: Release, facts: &Facts) -> Option<Finding> {
    match release {
        Release(1, 61, 1) => match facts.config.as_ref().map(|config| config.tracing) {
            Some(true) => None,
            Some(false) => Some(severe(
                "flipt_1_61_1_without_tracing",
                "Flipt 1.61.1 tells of no change that is made in its UI or by REST while tracing is off (its issue #6279).",
                format!("FLIPT_TRACING_ENABLED=true   # or run {GOOD}"),
            )),
            None => Some(severe(
                "flipt_1_61_1",
                "Flipt 1.61.1 tells of no change that is made in its UI or by REST, unless tracing is on (its issue #6279), which it does not tell us.",
                format!("FLIPT_TRACING_ENABLED=true   # or run {GOOD}"),
            )),
        },
        Release(1, 55, 0) => Some(severe(
            "flipt_1_55_0",
            "Flipt 1.55.0 loses every audit event but the deletion of tokens (its issue #3972).",
            image(GOOD),
        )),
        _ => None,
    }
}

/// <https://github.com/flipt-io/flipt/issues/3283>.
fn panics(release: Release, facts: &Facts) -> Option<Finding> {
    let webhook = facts.config.as_ref()?.webhook.as_ref()?;
    let last = if webhook.templates { Release(1, 48, 0) } else { Release(1, 46, 0) };
    (Release(1, 45, 0)..=last).contains(&release).then(|| {
        let mode = if webhook.templates { "templates" } else { "a URL" };
        severe(
            "flipt_webhook_panics",
            format!("Flipt {release} crashes as a whole at the first event that its webhook sink sends with {mode} (its issue #3283)."),
            format!("FLIPT_AUDIT_SINKS_WEBHOOK_ENABLED=false   # at once; then run {GOOD}"),
        )
    })
}

/// What early webhook sinks do with an answer (<https://github.com/flipt-io/flipt/issues/2127>).
fn pushes(release: Release, facts: &Facts, relayed: &Relayed<'_>) -> Option<Finding> {
    facts.config.as_ref()?.webhook.as_ref()?;
    if release == Release(1, 27, 0) {
        return Some(severe(
            "flipt_1_27_0_empty_retries",
            "Flipt 1.27.0 repeats a push with an empty body: what does not arrive at once is lost (its issue #2127).",
            image(GOOD),
        ));
    }
    (release <= Release(1, 44, 1) && !relayed.pushes.is_empty()).then(|| {
        poorer(
            "flipt_short_patience",
            format!("Flipt {release} takes nothing but a `200` for success, and gives a push up after `max_backoff_duration`, 15 s in all: nothing between it and the relay may answer otherwise, and a longer absence loses events."),
            "FLIPT_AUDIT_SINKS_LOG_ENABLED=true FLIPT_AUDIT_SINKS_LOG_FILE=/var/log/flipt/audit.log   # a file waits",
        )
    })
}

/// What an older release does not tell, by the release that began to.
const LACKS: [(Release, &str); 7] = [
    (Release(1, 24, 0), "changes of rollouts"),
    (Release(1, 27, 1), "tokens"),
    (Release(1, 37, 0), "new orders of rules and rollouts"),
    (Release(1, 44, 0), "refused attempts"),
    (Release(1, 50, 0), "default variants"),
    (Release(1, 58, 2), "the segments of rules with several"),
    (Release(1, 59, 0), "what deleted rules and rollouts were"),
];

fn old(release: Release) -> Option<Finding> {
    let lacks: Vec<&str> =
        LACKS.iter().filter(|(since, _)| release < *since).map(|(_, what)| *what).collect();
    (!lacks.is_empty()).then(|| {
        poorer("flipt_is_old", format!("Flipt {release} does not tell of {}.", listed(&lacks)), image(GOOD))
    })
}

/// `a`, `a and b`, `a, b and c`.
pub(super) fn listed(items: &[impl AsRef<str>]) -> String {
    let items: Vec<&str> = items.iter().map(AsRef::as_ref).collect();
    match items.split_last() {
        None => String::new(),
        Some((only, [])) => (*only).to_owned(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
    }
}
