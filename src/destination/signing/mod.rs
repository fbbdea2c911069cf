//! Signatures: pure functions of secret, time, id and body, one file for each scheme.
//!
//! A scheme's file holds all that is known of it: its headers, what is signed, what its secrets look like.

mod flipt;
mod github;
pub mod standard_webhooks;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::config::plan::{SigningPlan, SigningScheme};
use crate::event::Timestamp;

/// A header: its name in lower case, and its value.
pub type Header = (&'static str, String);

/// The headers that sign `body` as `plan` says.
///
/// `now` is the time of this attempt and `id` the request's `webhook-id`, for the schemes that sign these too.
#[must_use]
pub fn sign(plan: &SigningPlan, now: Timestamp, id: &str, body: &[u8]) -> Vec<Header> {
    match plan.scheme {
        SigningScheme::Flipt => flipt::sign(&plan.secrets, body),
        SigningScheme::StandardWebhooks => standard_webhooks::sign(&plan.secrets, now, id, body),
        SigningScheme::Github => github::sign(&plan.secrets, body),
    }
}

/// HMAC-SHA256 of the concatenated parts.
fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
fn secrets(texts: &[&str]) -> Vec<crate::config::secret::Secret> {
    texts.iter().copied().map(crate::config::secret::Secret::new).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_scheme_has_headers_of_its_own() {
        let headers =
            [SigningScheme::Flipt, SigningScheme::StandardWebhooks, SigningScheme::Github].map(|scheme| {
                let secrets = secrets(&["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]);
                let plan = SigningPlan { scheme, secrets };
                sign(&plan, Timestamp::from_unix_micros(0), "evt_x", b"{}")
            });
        let names: Vec<_> = headers.iter().flatten().map(|(name, _)| *name).collect();
        let expected =
            ["x-flipt-webhook-signature", "webhook-signature", "webhook-timestamp", "x-hub-signature-256"];
        assert_eq!(names, expected);
    }
}
