//! Tells of a problem through the first destination that is well and is not the sick one.

use std::borrow::Cow;

use sha2::{Digest, Sha256};

use super::trouble::is_sick;
use super::watch::{Case, Due};
use crate::admin::Report;
use crate::admin::words::brief;
use crate::config::plan::{DestinationPlan, Plan};
use crate::delivery::{link, outcome_of};
use crate::destination::{Notice, NoticeKind, Outcome, RenderContext};
use crate::event::{BatchId, Timestamp};

/// How much of an answer is told.
const SHOWN: usize = 200;

/// Why nobody was told: each destination with its reason.
pub(super) type Refused = Vec<(String, String)>;

/// The notice about a case.
pub(super) fn notice(case: &Case, due: &Due, ended: String, plan: &Plan, now: Timestamp) -> Notice {
    let is_over = due.kind == NoticeKind::Recovery;
    let sentence = if is_over { ended } else { case.sentence.clone() };
    let mut hash = Sha256::new();
    for part in [&plan.name, &due.key, due.kind.as_str(), &case.since.to_string(), &now.to_string()] {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    Notice {
        id: format!("ntc_{}", hex::encode(&hash.finalize()[..13])),
        kind: due.kind,
        severe: case.severe,
        code: case.code.clone(),
        key: due.key.clone(),
        about: case.about.clone(),
        sentence,
        remedy: case.remedy.clone(),
        since: case.since,
        at: now,
        is_repeated: due.is_repeated,
        relay: plan.name.clone(),
        status_url: plan.admin.external_url.clone(),
    }
}

/// Its sentence for the log, which does not repeat what a receiver said: that may hold what it was sent.
pub(super) fn for_log(notice: &Notice) -> Cow<'_, str> {
    match (notice.code.as_str(), notice.kind, &notice.about) {
        ("destination", NoticeKind::Problem, Some(name)) => {
            let state = if notice.severe { "blocked" } else { "waiting" };
            format!("{name} is {state}; `audit-relay status` tells why.").into()
        }
        _ => Cow::Borrowed(&notice.sentence),
    }
}

/// Tells it; the name of the destination that took it.
///
/// # Errors
/// Why none did; quotes nobody, for the log.
pub(super) async fn tell(
    notice: &Notice,
    plan: &Plan,
    to: &[String],
    report: &Report,
) -> Result<String, Refused> {
    let mut refused = Refused::new();
    for name in to {
        let Some(destination) = plan.destinations.get(name) else { continue };
        let why = match unfit(name, destination, notice, report) {
            Some(why) => why,
            None => match attempt(name, destination, notice).await {
                Ok(()) => return Ok(name.clone()),
                Err(why) => why,
            },
        };
        refused.push((name.clone(), why));
    }
    Err(refused)
}

/// Why a destination is not asked at all.
fn unfit(name: &str, plan: &DestinationPlan, notice: &Notice, report: &Report) -> Option<String> {
    let standing = report.destinations.iter().find(|destination| destination.name == name);
    let is_recovery = notice.kind == NoticeKind::Recovery;
    match standing {
        // One that is well again may say so itself.
        _ if notice.about.as_deref() == Some(name) && !is_recovery => {
            Some("it is the one concerned".to_owned())
        }
        _ if plan.observe || plan.discard => Some("it sends nothing (observe, discard)".to_owned()),
        Some(standing) if is_sick(standing) || standing.state == "paused" => {
            Some(format!("it is {} itself", standing.state))
        }
        None => Some("it does not run".to_owned()),
        Some(_) => None,
    }
}

async fn attempt(name: &str, plan: &DestinationPlan, notice: &Notice) -> Result<(), String> {
    let (speaks, sender) = link(plan).map_err(|why| brief(&why, SHOWN))?;
    let batch_id = BatchId::from_stored(notice.id.clone());
    let context = RenderContext { now: notice.at, attempt: 1, batch_id, replay: false };
    let Some(requests) = speaks.notice(notice, &context) else {
        return Err("it has no form for problems of the relay".to_owned());
    };
    for request in requests {
        let outcome = match sender.send(request, plan.timeout).await {
            Ok(response) => speaks.classify(&response, Timestamp::now()),
            Err(error) => outcome_of(error),
        };
        match outcome {
            Outcome::Delivered => {}
            Outcome::Retry { reason, .. } | Outcome::Rejected(reason) | Outcome::Blocked { reason, .. } => {
                return Err(format!("{} ({})", brief(&reason.message.own_words(), SHOWN), reason.code));
            }
        }
    }
    tracing::debug!(destination = name, id = notice.id, "a notice was taken");
    Ok(())
}
