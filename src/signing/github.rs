//! GitHub's scheme, which many receivers know
//! (<https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries>).

use super::{Distrust, Header, hmac_sha256, is_hex_hmac};
use crate::config::secret::Secret;

const HEADER: &str = "x-hub-signature-256";
const PREFIX: &str = "sha256=";

/// `sha256=` and lower-case hex HMAC-SHA256 of the body under the bytes of the secret. The header has room
/// for one signature, the newest secret's.
pub(super) fn sign(secrets: &[Secret], body: &[u8]) -> Vec<Header> {
    let signature = |secret: &Secret| {
        format!("{PREFIX}{}", hex::encode(hmac_sha256(secret.expose().as_bytes(), &[body])))
    };
    secrets.first().map(|newest| (HEADER, signature(newest))).into_iter().collect()
}

/// Checks it against each secret.
pub(super) fn verify<'h>(
    secrets: &[Secret],
    header: &dyn Fn(&str) -> Option<&'h [u8]>,
    body: &[u8],
) -> Result<(), Distrust> {
    let given = header(HEADER).ok_or(Distrust::Missing)?;
    is_hex_hmac(secrets, given.strip_prefix(PREFIX.as_bytes()).ok_or(Distrust::Wrong)?, body)
}

#[cfg(test)]
mod tests {
    use super::super::secrets;
    use super::*;

    #[test]
    fn signs_as_in_its_documentation() {
        let expected = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        let signed = [("x-hub-signature-256", expected.to_owned())];
        assert_eq!(sign(&secrets(&["It's a Secret to Everybody"]), b"Hello, World!"), signed);
        assert_eq!(sign(&secrets(&["It's a Secret to Everybody", "older"]), b"Hello, World!"), signed);
        assert!(sign(&[], b"").is_empty());
    }
}
