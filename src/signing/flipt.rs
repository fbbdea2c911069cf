//! Flipt's own scheme (`internal/server/audit/webhook/client.go` of v1.21 to v1.61).

use super::{Distrust, Header, hmac_sha256, is_hex_hmac};
use crate::config::secret::Secret;

const HEADER: &str = "x-flipt-webhook-signature";

/// Lower-case hex HMAC-SHA256 of the body under the bytes of the secret. The header has room for one
/// signature, the newest secret's.
pub(super) fn sign(secrets: &[Secret], body: &[u8]) -> Vec<Header> {
    let signature = |secret: &Secret| hex::encode(hmac_sha256(secret.expose().as_bytes(), &[body]));
    secrets.first().map(|newest| (HEADER, signature(newest))).into_iter().collect()
}

/// Checks it against each secret.
pub(super) fn verify<'h>(
    secrets: &[Secret],
    header: &dyn Fn(&str) -> Option<&'h [u8]>,
    body: &[u8],
) -> Result<(), Distrust> {
    is_hex_hmac(secrets, header(HEADER).ok_or(Distrust::Missing)?, body)
}

#[cfg(test)]
mod tests {
    use super::super::secrets;
    use super::*;

    #[test]
    fn signs_as_in_its_own_test() {
        let body = br#"{"version":"","type":"flag","action":"create","metadata":{},"payload":null,"timestamp":"","status":""}"#;
        let expected = "6bc16d7434cbd746abfd25e3350a3f43fba04883b7f0b83f09bbc373116f84b0";
        let signed = [("x-flipt-webhook-signature", expected.to_owned())];
        assert_eq!(sign(&secrets(&["s3crET"]), body), signed);
        assert_eq!(sign(&secrets(&["s3crET", "older"]), body), signed);
        assert!(sign(&[], body).is_empty());
    }
}
