//! TLS with the certificate of the configuration, which is read again when its files change.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use crate::config::plan::TlsPlan;

/// Between two looks at the files.
const INTERVAL: Duration = Duration::from_secs(1);

/// What tells that a file is another: time of change, length, inode.
type Stamp = Vec<Option<(i64, i64, u64, u64)>>;

/// The certificate that is shown now.
pub(super) struct Tls {
    source: String,
    plan: TlsPlan,
    state: Mutex<State>,
}

struct State {
    config: Arc<ServerConfig>,
    stamp: Stamp,
    /// What was found wrong with files that were changed since.
    refused: Option<Stamp>,
    looked_at: Instant,
}

impl Tls {
    /// Blocking; reads the files. `None` where the plan has no certificate.
    ///
    /// # Errors
    /// What is wrong with which file.
    pub(super) fn load(source: &str, plan: &TlsPlan) -> Result<Option<Self>, String> {
        if plan.identity.is_none() {
            return Ok(None);
        }
        let stamp = stamp(plan);
        let state = State { config: config(plan)?, stamp, refused: None, looked_at: Instant::now() };
        Ok(Some(Self { source: source.to_owned(), plan: plan.clone(), state: Mutex::new(state) }))
    }

    /// What the next connection is accepted with. Blocks for as long as small files take to be read.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.looked_at.elapsed() >= INTERVAL {
            state.looked_at = Instant::now();
            self.look_again(&mut state);
        }
        TlsAcceptor::from(Arc::clone(&state.config))
    }

    fn look_again(&self, state: &mut State) {
        let now = stamp(&self.plan);
        if now == state.stamp || state.refused.as_ref() == Some(&now) {
            return;
        }
        match config(&self.plan) {
            Ok(config) => {
                tracing::info!(source = self.source, "the certificate was read anew");
                (state.config, state.stamp, state.refused) = (config, now, None);
            }
            // Certificate and key may be written one after the other: the next look finds both.
            Err(why) => {
                tracing::error!(
                    source = self.source,
                    "the new certificate is not used, but the former one: {why}"
                );
                state.refused = Some(now);
            }
        }
    }
}

fn stamp(plan: &TlsPlan) -> Stamp {
    let identity = plan.identity.iter().flat_map(|(cert, key)| [cert, key]);
    let of = |path| {
        let found = std::fs::metadata(path).ok()?;
        Some((found.mtime(), found.mtime_nsec(), found.len(), found.ino()))
    };
    identity.chain(&plan.ca).map(of).collect()
}

fn config(plan: &TlsPlan) -> Result<Arc<ServerConfig>, String> {
    let Some((cert, key)) = &plan.identity else { return Err("there is no certificate".to_owned()) };
    let chain = certificates("cert", cert)?;
    let key = PrivateKeyDer::from_pem_slice(&read("key", key)?)
        .map_err(|_| unusable("key", key, "does not hold a private key in PEM form"))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = match &plan.ca {
        None => builder.with_no_client_auth(),
        Some(ca) => {
            let mut trusted = RootCertStore::empty();
            for certificate in certificates("ca", ca)? {
                let added = trusted.add(certificate);
                added.map_err(|_| unusable("ca", ca, "holds a certificate that cannot be trusted"))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(trusted), provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|_| unusable("ca", ca, "cannot be used"))?)
        }
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|_| unusable("cert", cert, "and its key cannot be used together"))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn certificates(what: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let no_certificate = || unusable(what, path, "does not hold certificates in PEM form");
    let found: Vec<_> = CertificateDer::pem_slice_iter(&read(what, path)?)
        .map(|certificate| certificate.map(CertificateDer::into_owned))
        .collect::<Result<_, _>>()
        .map_err(|_| no_certificate())?;
    if found.is_empty() { Err(no_certificate()) } else { Ok(found) }
}

fn read(what: &str, path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => unusable(what, path, "does not exist"),
        std::io::ErrorKind::PermissionDenied => unusable(what, path, "is not readable for this user"),
        kind => unusable(what, path, &format!("cannot be read ({kind})")),
    })
}

fn unusable(what: &str, path: &Path, why: &str) -> String {
    format!("tls.{what}: the file `{}` {why}", path.display())
}
