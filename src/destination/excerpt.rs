//! The beginning of what a receiver said, fit for people, without the secrets that it repeats.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use url::Url;

use crate::event::text::one_line;

/// Longer answers are shown up to here.
const EXCERPT_CHARACTERS: usize = 200;
/// Shorter than this is no secret worth the name, and would redact ordinary words.
const SHORTEST_SECRET: usize = 6;

/// What must not be shown, in all the forms in which receivers repeat it: the path they do not know, the token
/// they do not trust.
#[derive(Default)]
pub(super) struct Secrets(Vec<String>);

impl Secrets {
    /// An address whose path may be secret, too.
    pub(super) fn url(&mut self, text: &str) {
        self.0.push(text.to_owned());
        self.parts_of(text);
        let Ok(url) = Url::parse(text) else { return };
        self.0.push(url.as_str().to_owned());
        self.0.push(url.path().to_owned());
        let segments = url.path_segments().into_iter().flatten();
        self.0.extend(segments.filter(|segment| looks_random(segment)).map(str::to_owned));
    }

    /// Password and query of an address whose path everybody knows.
    pub(super) fn parts_of(&mut self, text: &str) {
        let Ok(url) = Url::parse(text) else { return };
        self.0.extend(url.query().map(str::to_owned));
        self.0.extend(url.query_pairs().map(|(_, value)| value.into_owned()));
        self.0.extend(
            url.password().map(|password| credentials(url.username(), password)).into_iter().flatten(),
        );
    }

    /// The value of a header.
    pub(super) fn header(&mut self, value: &str) {
        self.0.extend(value.split_whitespace().map(str::to_owned));
        self.0.push(value.to_owned());
        self.0.extend(basic(value).into_iter().flatten());
    }

    /// A secret as it is.
    pub(super) fn value(&mut self, secret: &str) {
        self.0.push(secret.to_owned());
    }

    /// The beginning of a body, on one line.
    pub(super) fn excerpt(self, body: &[u8]) -> String {
        one_line(&self.redacted(&String::from_utf8_lossy(body)), EXCERPT_CHARACTERS)
    }

    fn redacted(self, text: &str) -> String {
        let Self(mut secrets) = self;
        secrets.retain(|secret| secret.len() >= SHORTEST_SECRET);
        // The longest first, so that no part of one is left beside a redacted shorter one.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        let redacted = secrets.iter().fold(text.to_owned(), |text, secret| without(&text, secret));
        // Encoded in yet another way: then nothing of it is shown.
        let decoded =
            percent_decode_str(&redacted.replace('\\', "")).decode_utf8_lossy().to_ascii_lowercase();
        match secrets.iter().any(|secret| decoded.contains(&secret.to_ascii_lowercase())) {
            true => "[redacted]".to_owned(),
            false => redacted,
        }
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
