//! Who is told of what needs a person.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Judge, Raw};
use crate::config::plan::{DestinationKind, DestinationPlan, ProblemsPlan, WebhookFormat};

/// More often nobody wants to hear the same.
const OFTEN: Duration = Duration::from_secs(60);

pub(super) fn build(
    raw: &Raw,
    destinations: &BTreeMap<String, DestinationPlan>,
    judge: &mut Judge<'_>,
) -> Option<ProblemsPlan> {
    let section = &raw.problems;
    let to: Vec<String> = section.to.0.iter().map(|name| name.0.clone()).collect();
    if to.is_empty() {
        for key in ["problems.after", "problems.repeat"] {
            if judge.is_written(key) {
                judge.warn(key, "not used without `problems.to`");
            }
        }
        return None;
    }
    if section.repeat.0 < OFTEN {
        judge.problem("problems.repeat", "the same over and over", Some("`1m` or more, such as `4h`"));
    }
    for (index, name) in to.iter().enumerate() {
        if let Some(why) = destinations.get(name).and_then(mute) {
            let path = format!("problems.to[{index}]");
            judge.warn(&path, &format!("`{name}` cannot tell of problems: {why}"));
        }
    }
    if let [only] = to.as_slice() {
        let message = format!("where `{only}` itself is in trouble nobody is told of it: name a second one");
        judge.warn("problems.to", &message);
    }
    Some(ProblemsPlan { to, after: section.after.0, repeat: section.repeat.0 })
}

/// Why a destination tells of no problem.
fn mute(plan: &DestinationPlan) -> Option<&'static str> {
    match &plan.kind {
        _ if plan.observe || plan.discard => Some("it sends nothing"),
        Ok(DestinationKind::Webhook(webhook)) => match webhook.format {
            WebhookFormat::Flipt => Some("Flipt's own form has no room for them"),
            WebhookFormat::Template(_) => Some("its template is for events"),
            WebhookFormat::Envelope | WebhookFormat::CloudEvents => None,
        },
        _ if plan.type_word == "relay" => Some("it hands records on, and this is none"),
        _ => None,
    }
}
