//! Signatures: pure functions of secret, time, id and body, one for each scheme.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::config::plan::{SigningPlan, SigningScheme};
use crate::config::secret::Secret;
use crate::event::Timestamp;

/// The headers that sign `body` as `plan` says, names in lower case.
///
/// `now` is the time of this attempt and `id` the request's `webhook-id`, for the schemes that sign these too.
#[must_use]
pub fn sign(plan: &SigningPlan, now: Timestamp, id: &str, body: &[u8]) -> Vec<(&'static str, String)> {
    let _ = (now, id); // Flipt's scheme signs neither
    match plan.scheme {
        SigningScheme::Flipt => flipt(&plan.secrets, body),
    }
}

/// Flipt's own scheme: lower-case hex HMAC-SHA256 of the body under the bytes of the secret
/// (`internal/server/audit/webhook/client.go`). Its header has room for one signature, the newest secret's.
fn flipt(secrets: &[Secret], body: &[u8]) -> Vec<(&'static str, String)> {
    let newest = secrets.first();
    newest
        .map(|secret| {
            ("x-flipt-webhook-signature", hex::encode(hmac_sha256(secret.expose().as_bytes(), body)))
        })
        .into_iter()
        .collect()
}

fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flipt_signs_as_in_its_own_test() {
        let plan = |secrets: &[&str]| SigningPlan {
            scheme: SigningScheme::Flipt,
            secrets: secrets.iter().copied().map(Secret::new).collect(),
        };
        let body = br#"{"version":"","type":"flag","action":"create","metadata":{},"payload":null,"timestamp":"","status":""}"#;
        let sign = |secrets: &[&str]| sign(&plan(secrets), Timestamp::from_unix_micros(0), "evt_x", body);
        let expected = "6bc16d7434cbd746abfd25e3350a3f43fba04883b7f0b83f09bbc373116f84b0";
        assert_eq!(sign(&["s3crET"]), [("x-flipt-webhook-signature", expected.to_owned())]);
        assert_eq!(sign(&["s3crET", "older"]), sign(&["s3crET"]));
        assert!(sign(&[]).is_empty());
    }
}
