//! What Datadog said.

use std::time::Duration;

use serde::Deserialize;

use crate::config::plan::DatadogPlan;
use crate::destination::excerpt::Secrets;
use crate::destination::retry_after::retry_after;
use crate::destination::verdict::verdict;
use crate::destination::{Message, Outcome, Response};
use crate::event::Timestamp;

/// Errors of one answer that are told.
const MOST_ERRORS: usize = 5;

/// What an answer means: as [`verdict`] says of any receiver; 429 says when its window ends, too.
pub(super) fn classify(response: &Response, now: Timestamp, plan: &DatadogPlan) -> Outcome {
    let Response::Http { status, retry_after, rate_limit_reset, body } = response else {
        return Outcome::Delivered;
    };
    match verdict(*status, retry_after.as_deref(), now, || message(*status, body, plan)) {
        Outcome::Retry { not_before, reason } if *status == 429 => {
            let reset = rate_limit_reset.as_deref().and_then(|value| reset(value, now));
            Outcome::Retry { not_before: not_before.max(reset), reason }
        }
        outcome => outcome,
    }
}

/// `X-RateLimit-Reset` of Datadog: whole seconds until the window ends, not a time
/// (<https://docs.datadoghq.com/api/latest/rate-limits/>); at most an hour.
fn reset(value: &str, now: Timestamp) -> Option<Duration> {
    let is_number = value.trim().bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| retry_after(value, now)).flatten()
}

fn message(status: u16, body: &[u8], plan: &DatadogPlan) -> Message {
    let hint = match status {
        300..=399 => "; redirects are not followed",
        401 | 403 if plan.app_key.is_none() => {
            "; `api_key` is wrong or belongs to another `site`, or the account wants an `app_key`, too"
        }
        401 | 403 => "; `api_key` or `app_key` is wrong, or belongs to another `site`",
        404 => "; `site` or `endpoint` is wrong, or a proxy stands before it",
        _ => "",
    };
    Message::quoting(&format!("Datadog answered {status}"), &excerpt(body, plan), hint)
}

/// The beginning of what it said, without keys.
pub(super) fn excerpt(body: &[u8], plan: &DatadogPlan) -> String {
    let said = errors(body).unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
    let mut secrets = Secrets::default();
    secrets.value(plan.api_key.expose());
    plan.app_key.iter().for_each(|key| secrets.value(key.expose()));
    secrets.parts_of(plan.url.expose());
    secrets.excerpt(said.as_bytes())
}

/// The errors of an answer, whatever it calls its content: texts (API v1, and every 429), or objects (API v2).
fn errors(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Answer {
        errors: Vec<Error>,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Error {
        Text(String),
        Object { title: Option<String>, detail: Option<String> },
    }
    let answer: Answer = serde_json::from_slice(body).ok()?;
    let said = answer.errors.into_iter().take(MOST_ERRORS).filter_map(|error| match error {
        Error::Text(text) => Some(text),
        Error::Object { title: Some(title), detail: Some(detail) } => Some(format!("{title}: {detail}")),
        Error::Object { title, detail } => title.or(detail),
    });
    let said: Vec<String> = said.collect();
    (!said.is_empty()).then(|| said.join("; "))
}
