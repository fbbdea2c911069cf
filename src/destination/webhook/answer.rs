//! What a receiver's answer means.

use url::Url;

use crate::config::plan::WebhookPlan;
use crate::destination::retry_after::retry_after;
use crate::destination::text::one_line;
use crate::destination::{Outcome, Reason};
use crate::event::Timestamp;

/// Longer answers are shown up to here.
const EXCERPT_CHARACTERS: usize = 200;
/// Shorter than this is no secret worth the name, and would redact ordinary words.
const SHORTEST_SECRET: usize = 6;

pub(super) fn classify(
    status: u16,
    retry_header: Option<&str>,
    body: &[u8],
    now: Timestamp,
    plan: &WebhookPlan,
) -> Outcome {
    let code = match status {
        200..=299 => return Outcome::Delivered,
        408 => "http_408",
        425 => "http_425",
        429 => "http_429",
        500..=599 => "http_5xx",
        _ => return Outcome::Rejected(Reason { code: "rejected", message: message(status, body, plan) }),
    };
    Outcome::Retry {
        not_before: retry_header.and_then(|value| retry_after(value, now)),
        reason: Reason { code, message: message(status, body, plan) },
    }
}

fn message(status: u16, body: &[u8], plan: &WebhookPlan) -> String {
    let redirect = if (300..400).contains(&status) { ", and redirects are not followed" } else { "" };
    let excerpt = one_line(&redacted(&String::from_utf8_lossy(body), plan), EXCERPT_CHARACTERS);
    let colon = if excerpt.is_empty() { "" } else { ": " };
    format!("the receiver answered {status}{redirect}{colon}{excerpt}")
}

/// Receivers like to repeat what they were sent: the path they do not know, the token they do not trust.
fn redacted(text: &str, plan: &WebhookPlan) -> String {
    let mut secrets: Vec<String> = vec![plan.url.expose().to_owned()];
    if let Ok(url) = Url::parse(plan.url.expose()) {
        secrets.push(url.as_str().to_owned());
        secrets.extend(url.query().map(str::to_owned));
        secrets.extend(url.query_pairs().map(|(_, value)| value.into_owned()));
        secrets.extend(url.password().map(str::to_owned));
        secrets.push(url.path().to_owned());
        let segments = url.path_segments().into_iter().flatten();
        secrets.extend(segments.filter(|segment| looks_random(segment)).map(str::to_owned));
    }
    for (_, value) in &plan.headers {
        secrets.extend(value.expose().split_whitespace().map(str::to_owned));
        secrets.push(value.expose().to_owned());
    }
    let signing = plan.signing.iter().flat_map(|signing| &signing.secrets);
    secrets.extend(signing.map(|secret| secret.expose().to_owned()));
    secrets.retain(|secret| secret.len() >= SHORTEST_SECRET);
    // The longest first, so that no part of one is left beside a redacted shorter one.
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret, "[redacted]"))
}

/// Tells tokens in a path from words such as `events`.
fn looks_random(segment: &str) -> bool {
    segment.len() >= 16 || segment.bytes().any(|byte| byte.is_ascii_digit())
}
