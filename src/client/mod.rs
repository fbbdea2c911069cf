//! The one way in which HTTP clients are made: whom they trust, through which proxy they go, what they never do.
//!
//! No redirect is followed and no error tells a URL (it may be a secret).

mod certs;

use std::error::Error as _;
use std::time::Duration;

use crate::config::plan::TlsPlan;
use crate::config::secret::Secret;

pub(crate) use certs::distrust;

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an idle connection is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// How many of them for each receiver: as many as may be under way.
const MAX_IDLE_CONNECTIONS: usize = 64;

/// A client with its own connections, which trusts whom `tls` says and goes through `proxy`.
///
/// Without `tls.ca` the system's authorities are trusted, with it none but those in it. Without `proxy`
/// the standard variables decide (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`); with it nothing
/// goes past it.
///
/// # Errors
/// What cannot be used: the key of the configuration, the file, and why; no secret.
pub(crate) fn build(tls: &TlsPlan, proxy: Option<&Secret>) -> Result<reqwest::Client, String> {
    // A provider that is installed already serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let authorities = tls.ca.as_deref().map(certs::authorities).transpose()?;
    let identity = tls.identity.as_ref().map(|(cert, key)| certs::identity(cert, key)).transpose()?;
    let proxy = proxy.map(|proxy| reqwest::Proxy::all(proxy.expose())).transpose();
    let proxy = proxy.map_err(|_| "proxy: not the address of a proxy".to_owned())?;
    let client = |authorities: Option<Vec<reqwest::Certificate>>| {
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(MAX_IDLE_CONNECTIONS)
            .tcp_nodelay(true);
        if let Some(authorities) = authorities {
            builder = builder.tls_certs_only(authorities);
        }
        if let Some(identity) = identity.clone() {
            builder = builder.identity(identity);
        }
        if let Some(proxy) = proxy.clone() {
            builder = builder.proxy(proxy);
        }
        builder.build().map_err(|error| format!("TLS cannot be set up: {}", describe(error)))
    };
    match client(authorities) {
        // A system without authorities: all the same plain HTTP works, and HTTPS is refused as untrusted.
        Err(_) if tls.ca.is_none() => client(Some(Vec::new())),
        client => client,
    }
}

/// What the files hold that `tls` names, `None` for one that cannot be read: certificates are swapped under the same
/// names.
pub(crate) fn certificates(tls: &TlsPlan) -> Vec<Option<Vec<u8>>> {
    tls.files().map(|file| std::fs::read(file).ok()).collect()
}

/// What went wrong, from the outside in, without the URL (it may be a secret).
pub(crate) fn describe(error: reqwest::Error) -> String {
    let error = error.without_url();
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
