//! What a receiver said, made fit for people.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use url::Url;

use crate::config::plan::{WebhookFormat, WebhookPlan};
use crate::event::text::one_line;

/// Longer answers are shown up to here.
const EXCERPT_CHARACTERS: usize = 200;
/// Shorter than this is no secret worth the name, and would redact ordinary words.
const SHORTEST_SECRET: usize = 6;

/// What came back, in a sentence without secrets.
pub(super) fn message(status: u16, body: &[u8], plan: &WebhookPlan) -> String {
    let redirect = if (300..400).contains(&status) { ", and redirects are not followed" } else { "" };
    let excerpt = excerpt(body, plan);
    let colon = if excerpt.is_empty() { "" } else { ": " };
    format!("the receiver answered {status}{redirect}{colon}{excerpt}")
}

/// The beginning of a body, without secrets.
pub(super) fn excerpt(body: &[u8], plan: &WebhookPlan) -> String {
    one_line(&redacted(&String::from_utf8_lossy(body), plan), EXCERPT_CHARACTERS)
}

/// Receivers like to repeat what they were sent: the path they do not know, the token they do not trust.
fn redacted(text: &str, plan: &WebhookPlan) -> String {
    let mut secrets: Vec<String> = vec![plan.url.expose().to_owned()];
    if let Ok(url) = Url::parse(plan.url.expose()) {
        secrets.push(url.as_str().to_owned());
        secrets.extend(url.query().map(str::to_owned));
        secrets.extend(url.query_pairs().map(|(_, value)| value.into_owned()));
        secrets.extend(
            url.password().map(|password| credentials(url.username(), password)).into_iter().flatten(),
        );
        secrets.push(url.path().to_owned());
        let segments = url.path_segments().into_iter().flatten();
        secrets.extend(segments.filter(|segment| looks_random(segment)).map(str::to_owned));
    }
    let template = match &plan.format {
        WebhookFormat::Template(template) => &template.headers[..],
        _ => &[],
    };
    for (_, value) in plan.headers.iter().chain(template) {
        secrets.extend(value.expose().split_whitespace().map(str::to_owned));
        secrets.push(value.expose().to_owned());
        secrets.extend(basic(value.expose()).into_iter().flatten());
    }
    let signing = plan.signing.iter().flat_map(|signing| &signing.secrets);
    secrets.extend(signing.map(|secret| secret.expose().to_owned()));
    secrets.retain(|secret| secret.len() >= SHORTEST_SECRET);
    // The longest first, so that no part of one is left beside a redacted shorter one.
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    let redacted = secrets.iter().fold(text.to_owned(), |text, secret| without(&text, secret));
    // Encoded in yet another way: then nothing of it is shown.
    let decoded = percent_decode_str(&redacted.replace('\\', "")).decode_utf8_lossy().to_ascii_lowercase();
    match secrets.iter().any(|secret| decoded.contains(&secret.to_ascii_lowercase())) {
        true => "[redacted]".to_owned(),
        false => redacted,
    }
}

/// All the forms in which a receiver may repeat a user name and a password, as they stand in a URL.
fn credentials(username: &str, password: &str) -> [String; 5] {
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let plain = decoded(password);
    let pair = format!("{}:{plain}", decoded(username));
    [
        BASE64_STANDARD.encode(&pair),
        pair,
        password.to_owned(),
        url::form_urlencoded::byte_serialize(plain.as_bytes()).collect(),
        plain,
    ]
}

/// The same of `Authorization: Basic …`.
fn basic(header: &str) -> Option<[String; 5]> {
    let pair = BASE64_STANDARD.decode(header.strip_prefix("Basic ")?).ok()?;
    let pair = String::from_utf8(pair).ok()?;
    let (username, password) = pair.split_once(':')?;
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    Some(credentials(&encoded(username), &encoded(password)))
}

/// A text without a secret, in whatever case it stands there.
fn without(text: &str, secret: &str) -> String {
    let (lower, needle) = (text.to_ascii_lowercase(), secret.to_ascii_lowercase());
    let mut kept = String::with_capacity(text.len());
    let mut from = 0;
    while let Some(at) = lower[from..].find(&needle) {
        kept.push_str(&text[from..from + at]);
        kept.push_str("[redacted]");
        from += at + needle.len();
    }
    kept.push_str(&text[from..]);
    kept
}

/// Tells tokens in a path from words such as `events`.
fn looks_random(segment: &str) -> bool {
    segment.len() >= 16 || segment.bytes().any(|byte| byte.is_ascii_digit())
}
