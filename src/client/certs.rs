//! Certificates: those of one's own, and what is wrong with those of others.

use std::error::Error;
use std::path::Path;

use rustls::AlertDescription as Alert;
use rustls::CertificateError;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// The authorities of a PEM file.
///
/// # Errors
/// When there are none that can be used.
pub(super) fn authorities(path: &Path) -> Result<Vec<reqwest::Certificate>, String> {
    let unusable = |why: &str| format!("tls.ca: the file `{}` {why}", path.display());
    let pem = std::fs::read(path).map_err(|error| unusable(&unreadable(&error)))?;
    let no_certificate = "does not hold certificates in PEM form";
    let found: Vec<CertificateDer<'_>> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|_| unusable(no_certificate))?;
    let mut store = rustls::RootCertStore::empty();
    if found.is_empty() || found.iter().any(|certificate| store.add(certificate.clone()).is_err()) {
        return Err(unusable(no_certificate));
    }
    found
        .iter()
        .map(|certificate| reqwest::Certificate::from_der(certificate).map_err(|_| unusable(no_certificate)))
        .collect()
}

/// The own certificate (with those between it and an authority) and its key, from PEM files.
///
/// # Errors
/// When one of them cannot be used.
pub(super) fn identity(cert: &Path, key: &Path) -> Result<reqwest::Identity, String> {
    let unusable =
        |what: &str, path: &Path, why: &str| format!("tls.{what}: the file `{}` {why}", path.display());
    let read = |what: &str, path: &Path| {
        std::fs::read(path).map_err(|error| unusable(what, path, &unreadable(&error)))
    };
    let (cert_pem, key_pem) = (read("cert", cert)?, read("key", key)?);
    if CertificateDer::from_pem_slice(&cert_pem).is_err() {
        return Err(unusable("cert", cert, "does not hold a certificate in PEM form"));
    }
    if PrivateKeyDer::from_pem_slice(&key_pem).is_err() {
        return Err(unusable("key", key, "does not hold a private key in PEM form"));
    }
    reqwest::Identity::from_pem(&[key_pem, b"\n".to_vec(), cert_pem].concat())
        .map_err(|_| unusable("cert", cert, "and its key cannot be used"))
}

fn unreadable(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "does not exist".to_owned(),
        std::io::ErrorKind::PermissionDenied => "is not readable for this user".to_owned(),
        kind => format!("cannot be read ({kind})"),
    }
}

/// Why a request failed, where it failed for want of trust: ours in the receiver's certificate, or the
/// receiver's in ours. Names of hosts are left out: they are part of an address.
pub(crate) fn distrust(error: &(dyn Error + 'static)) -> Option<String> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        match error.downcast_ref() {
            Some(rustls::Error::InvalidCertificate(why)) => {
                return Some(format!("the receiver's certificate {}", invalid(why)));
            }
            Some(rustls::Error::NoCertificatesPresented) => {
                return Some("the receiver shows no certificate".to_owned());
            }
            Some(rustls::Error::AlertReceived(alert)) => {
                return refused(*alert)
                    .map(|why| format!("the receiver refuses our side of the TLS connection: {why}"));
            }
            // The source of an I/O error is that of the error inside of it, which itself would be passed over.
            _ => match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
                Some(inner) => cause = Some(inner),
                None => cause = error.source(),
            },
        }
    }
    None
}

fn invalid(why: &CertificateError) -> &'static str {
    match why {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "is not valid yet",
        CertificateError::Revoked => "is revoked",
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "is not trusted: no authority that we trust has signed it"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "is for another name"
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "is not for servers"
        }
        _ => "is not valid",
    }
}

/// What a receiver says that does not like our certificate, or the lack of one (RFC 8446, 6.2). A handshake
/// failure is said by servers of TLS 1.2 that want one; it may mean other things, none of which passes by
/// itself.
fn refused(alert: Alert) -> Option<&'static str> {
    Some(match alert {
        Alert::CertificateRequired | Alert::NoCertificate => "it wants a client certificate (`tls.cert`)",
        Alert::BadCertificate | Alert::UnsupportedCertificate | Alert::DecryptError => {
            "our certificate is not accepted"
        }
        Alert::CertificateRevoked => "our certificate is revoked",
        Alert::CertificateExpired => "our certificate has expired",
        Alert::CertificateUnknown | Alert::UnknownCA => "our certificate is not trusted",
        Alert::AccessDenied => "access is denied",
        Alert::HandshakeFailure => "the handshake failed",
        Alert::UnrecognisedName => "it does not know the name",
        _ => return None,
    })
}
