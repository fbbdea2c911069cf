//! Signatures, made and checked: pure functions of secret, time, id and body, one file for each scheme.
//!
//! A scheme's file holds all that is known of it: its headers, what is signed, what its secrets look like.
//! Signatures are compared in constant time.

mod flipt;
mod github;
pub mod standard_webhooks;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::config::plan::{SigningPlan, SigningScheme};
use crate::config::secret::Secret;
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

/// Why a request is not believed to be what it claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Distrust {
    /// It carries none of the signatures that are asked for.
    #[error("no signature")]
    Missing,
    /// It was signed too long ago, or in the future.
    #[error("signed at another time than now: more than five minutes off")]
    Late,
    /// Its signature fits none of the secrets.
    #[error("a wrong signature")]
    Wrong,
}

/// Checks that `body` carries a signature by one of `plans`, under one of its secrets.
///
/// `header` gives the value of a header by its name in lower case.
///
/// # Errors
/// Why it is not believed; of several reasons the one that came nearest.
pub fn verify<'h>(
    plans: &[SigningPlan],
    now: Timestamp,
    header: &dyn Fn(&str) -> Option<&'h [u8]>,
    body: &[u8],
) -> Result<(), Distrust> {
    let mut nearest = Distrust::Missing;
    for plan in plans {
        let verified = match plan.scheme {
            SigningScheme::Flipt => flipt::verify(&plan.secrets, header, body),
            SigningScheme::StandardWebhooks => standard_webhooks::verify(&plan.secrets, now, header, body),
            SigningScheme::Github => github::verify(&plan.secrets, header, body),
        };
        match verified {
            Ok(()) => return Ok(()),
            Err(why) => nearest = nearest.max(why),
        }
    }
    Err(nearest)
}

/// Whether two texts are the same, in a time that does not tell how far they agree.
#[must_use]
pub fn is_same(expected: &Secret, given: &[u8]) -> bool {
    // As hashes they are of one length, and nobody can steer at which byte they part.
    let given = hmac_sha256(b"compared", &[given]);
    is_hmac(b"compared", &[expected.expose().as_bytes()], &given)
}

/// HMAC-SHA256 of the concatenated parts.
fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    mac(key, parts).finalize().into_bytes().into()
}

/// Whether `given` is that, in constant time.
fn is_hmac(key: &[u8], parts: &[&[u8]], given: &[u8]) -> bool {
    mac(key, parts).verify_slice(given).is_ok()
}

fn mac(key: &[u8], parts: &[&[u8]]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    parts.iter().for_each(|part| mac.update(part));
    mac
}

/// Whether hex digits are the HMAC-SHA256 of the body under one of the secrets.
fn is_hex_hmac(secrets: &[Secret], digits: &[u8], body: &[u8]) -> Result<(), Distrust> {
    let mut given = [0; 32];
    hex::decode_to_slice(digits, &mut given).map_err(|_| Distrust::Wrong)?;
    let fits = |secret: &Secret| {
        let key = secret.expose().as_bytes();
        // A file that was emptied must not turn into a key that everybody knows.
        !key.is_empty() && is_hmac(key, &[body], &given)
    };
    if secrets.iter().any(fits) { Ok(()) } else { Err(Distrust::Wrong) }
}

#[cfg(test)]
fn secrets(texts: &[&str]) -> Vec<crate::config::secret::Secret> {
    texts.iter().copied().map(crate::config::secret::Secret::new).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given<'h>(headers: &'h [Header]) -> impl Fn(&str) -> Option<&'h [u8]> {
        move |name| headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_bytes())
    }

    const SCHEMES: [SigningScheme; 3] =
        [SigningScheme::Flipt, SigningScheme::StandardWebhooks, SigningScheme::Github];
    const SECRETS: [&str; 2] =
        ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"];
    const NOW: i64 = 1_795_338_000_000_000;

    /// Signed as `scheme` says, with the `webhook-id` that a sender adds itself.
    fn signed(scheme: SigningScheme, secret: &str, body: &[u8]) -> Vec<Header> {
        let plan = SigningPlan { scheme, secrets: secrets(&[secret]) };
        let mut headers = sign(&plan, Timestamp::from_unix_micros(NOW), "evt_1", body);
        headers.push(("webhook-id", "evt_1".to_owned()));
        headers
    }

    #[test]
    fn what_is_signed_is_believed_and_nothing_else() {
        let now = Timestamp::from_unix_micros(NOW);
        for scheme in SCHEMES {
            let plans = [SigningPlan { scheme, secrets: secrets(&SECRETS) }];
            for secret in SECRETS {
                let headers = signed(scheme, secret, b"body");
                assert_eq!(verify(&plans, now, &given(&headers), b"body"), Ok(()));
                assert_eq!(verify(&plans, now, &given(&headers), b"Body"), Err(Distrust::Wrong));
                assert_eq!(verify(&plans, now, &given(&headers), b"bod"), Err(Distrust::Wrong));
                assert_eq!(verify(&[], now, &given(&headers), b"body"), Err(Distrust::Missing));
                for (at, (name, value)) in headers.iter().enumerate() {
                    if !name.contains("signature") {
                        continue;
                    }
                    for wrong in [
                        &value[..value.len() - 1],
                        &value[..3],
                        "",
                        &value.replace(|c: char| c.is_ascii_digit(), "x"),
                    ] {
                        let mut cut = headers.clone();
                        cut[at].1 = wrong.to_owned();
                        assert_eq!(
                            verify(&plans, now, &given(&cut), b"body"),
                            Err(Distrust::Wrong),
                            "{wrong}"
                        );
                    }
                }
            }
            let others = signed(scheme, "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", b"body");
            assert_eq!(verify(&plans, now, &given(&others), b"body"), Err(Distrust::Wrong));
            assert_eq!(verify(&plans, now, &given(&[]), b"body"), Err(Distrust::Missing));
        }
    }

    #[test]
    fn any_scheme_of_several_suffices() {
        let now = Timestamp::from_unix_micros(NOW);
        let plans = SCHEMES.map(|scheme| SigningPlan { scheme, secrets: secrets(&SECRETS[..1]) });
        for scheme in SCHEMES {
            let headers = signed(scheme, SECRETS[0], b"body");
            assert_eq!(verify(&plans, now, &given(&headers), b"body"), Ok(()));
        }
    }

    #[test]
    fn an_empty_secret_opens_nothing() {
        let now = Timestamp::from_unix_micros(NOW);
        for scheme in [SigningScheme::Flipt, SigningScheme::Github] {
            let plans = [SigningPlan { scheme, secrets: secrets(&[""]) }];
            let headers = signed(scheme, "", b"body");
            assert_eq!(verify(&plans, now, &given(&headers), b"body"), Err(Distrust::Wrong));
        }
    }

    #[test]
    fn texts_are_compared_whole() {
        let token = Secret::new("token");
        assert!(is_same(&token, b"token"));
        for other in [&b""[..], b"toke", b"tokens", b"Token", b"\xff"] {
            assert!(!is_same(&token, other));
        }
    }

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
