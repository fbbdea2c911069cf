//! Standard Webhooks 1.0.0, symmetric (<https://github.com/standard-webhooks/standard-webhooks>).

use std::ops::RangeInclusive;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::{Distrust, Header, hmac_sha256, is_hmac};
use crate::config::secret::Secret;
use crate::event::Timestamp;

/// What a secret looks like, for people.
pub const SECRET_FORM: &str = "`whsec_` and 24 to 64 random bytes in base64";

/// How far the time of signing may be from now.
const TOLERANCE_SECONDS: u64 = 300;
/// So many signatures of one request are looked at.
const MAX_SIGNATURES: usize = 16;

const PREFIX: &str = "whsec_";
/// How long a key may be, in bytes.
const KEY_BYTES: RangeInclusive<usize> = 24..=64;

/// The time of this attempt in seconds, and one `v1,<base64>` for each secret, so that receivers that know
/// only one of them can be moved to another. Signed is `{id}.{timestamp}.{body}`; receivers refuse
/// timestamps that are more than five minutes off, so every attempt is signed anew.
///
/// A secret that [`key`] refuses adds nothing; configurations with one are refused.
pub(super) fn sign(secrets: &[Secret], now: Timestamp, id: &str, body: &[u8]) -> Vec<Header> {
    let timestamp = now.unix_seconds().to_string();
    let signature = |secret: &Secret| {
        let parts: [&[u8]; 5] = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body];
        key(secret).ok().map(|key| format!("v1,{}", BASE64_STANDARD.encode(hmac_sha256(&key, &parts))))
    };
    let signatures: Vec<String> = secrets.iter().filter_map(signature).collect();
    if signatures.is_empty() {
        return Vec::new();
    }
    vec![("webhook-signature", signatures.join(" ")), ("webhook-timestamp", timestamp)]
}

/// Checks that one of the `v1` signatures fits one of the secrets, and that the time of signing is near: the
/// specification asks for a tolerance, and its libraries have five minutes.
pub(super) fn verify<'h>(
    secrets: &[Secret],
    now: Timestamp,
    header: &dyn Fn(&str) -> Option<&'h [u8]>,
    body: &[u8],
) -> Result<(), Distrust> {
    let header = |name| header(name).ok_or(Distrust::Missing);
    let signatures = header("webhook-signature")?;
    let (id, written) = (header("webhook-id")?, header("webhook-timestamp")?);
    let seconds: i64 =
        std::str::from_utf8(written).ok().and_then(|text| text.parse().ok()).ok_or(Distrust::Wrong)?;
    let keys: Vec<Vec<u8>> = secrets.iter().filter_map(|secret| key(secret).ok()).collect();
    let parts: [&[u8]; 5] = [id, b".", written, b".", body];
    let fits = |signature: &[u8]| {
        let decoded = signature.strip_prefix(b"v1,").and_then(|text| BASE64_STANDARD.decode(text).ok());
        decoded.is_some_and(|given| keys.iter().any(|key| is_hmac(key, &parts, &given)))
    };
    if !signatures.split(|byte| *byte == b' ').take(MAX_SIGNATURES).any(fits) {
        return Err(Distrust::Wrong);
    }
    // Only of what was signed: the time that a stranger writes says nothing.
    if now.unix_seconds().abs_diff(seconds) > TOLERANCE_SECONDS {
        return Err(Distrust::Late);
    }
    Ok(())
}

/// The key that a secret stands for.
///
/// # Errors
/// What is wrong with its form; never what it says.
pub fn key(secret: &Secret) -> Result<Vec<u8>, &'static str> {
    let text = secret.expose().strip_prefix(PREFIX).ok_or("a secret that does not begin with `whsec_`")?;
    let key = BASE64_STANDARD.decode(text).map_err(|_| "a secret that is not base64 after `whsec_`")?;
    if !KEY_BYTES.contains(&key.len()) {
        return Err("a secret that is not 24 to 64 bytes long");
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::super::secrets;
    use super::*;

    fn signature(texts: &[&str], id: &str, seconds: i64, body: &str) -> String {
        let now = Timestamp::from_unix_micros(seconds * 1_000_000 + 999_999);
        let headers = sign(&secrets(texts), now, id, body.as_bytes());
        assert_eq!(headers[1], ("webhook-timestamp", seconds.to_string()));
        assert_eq!(headers[0].0, "webhook-signature");
        headers[0].1.clone()
    }

    /// The vectors of its libraries: that of Python and JavaScript, and that of Rust.
    const VECTORS: [(&str, &str, i64, &str, &str); 2] = [
        (
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            r#"{"test": 2432232314}"#,
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        ),
        (
            "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
            "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
            1_649_367_553,
            r#"{"email":"test@example.com","username":"test_user"}"#,
            "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
        ),
    ];

    #[test]
    fn signs_as_its_libraries_do() {
        for (secret, id, seconds, body, expected) in VECTORS {
            assert_eq!(signature(&[secret], id, seconds, body), expected);
        }
    }

    #[test]
    fn verifies_what_its_libraries_sign_for_five_minutes() {
        for (secret, id, seconds, body, signature) in VECTORS {
            let timestamp = seconds.to_string();
            let several = format!("v1a,AAAA v2,xyz {signature}");
            let at = |seconds: i64, id: &str| {
                let header = |name: &str| match name {
                    "webhook-id" => Some(id.as_bytes()),
                    "webhook-timestamp" => Some(timestamp.as_bytes()),
                    "webhook-signature" => Some(several.as_bytes()),
                    _ => None,
                };
                let now = Timestamp::from_unix_micros(seconds * 1_000_000);
                verify(&secrets(&[secret]), now, &header, body.as_bytes())
            };
            for off in [-300, 0, 300] {
                assert_eq!(at(seconds + off, id), Ok(()));
            }
            for off in [-301, 301, 1 << 40] {
                assert_eq!(at(seconds + off, id), Err(Distrust::Late));
            }
            assert_eq!(at(seconds, "msg_other"), Err(Distrust::Wrong));
        }
    }

    #[test]
    fn every_secret_signs() {
        let (newest, id, seconds, body, expected) = VECTORS[0];
        let both = signature(&[newest, VECTORS[1].0], id, seconds, body);
        let each: Vec<&str> = both.split(' ').collect();
        assert_eq!(each, [expected, &signature(&[VECTORS[1].0], id, seconds, body)]);
        assert!(sign(&secrets(&["whsec_!"]), Timestamp::from_unix_micros(0), id, b"").is_empty());
    }

    #[test]
    fn secrets_have_a_form() {
        let of = |bytes: usize| format!("whsec_{}", BASE64_STANDARD.encode(vec![7; bytes]));
        for right in [24, 32, 64] {
            assert_eq!(key(&Secret::new(of(right))).unwrap().len(), right);
        }
        for wrong in
            [of(23), of(65), "whsec_".into(), "whsec_#".into(), of(24)[6..].into(), "whsk_AAAA".into()]
        {
            let why = key(&Secret::new(wrong.clone())).unwrap_err();
            assert!(why.starts_with("a secret that "), "{wrong}: {why}");
        }
    }
}
