//! Real connections to receivers on this machine: TLS, proxies, IPv6, answers without end.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpListener;

use super::*;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
const PATIENCE: Duration = Duration::from_secs(10);

/// An authority, and a directory with its PEM file.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: tempfile::TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn trust(&self) -> TlsPlan {
        TlsPlan { ca: Some(self.path("ca.pem")), identity: None }
    }

    /// Certificate and key as PEM.
    fn issue(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    /// A client certificate in files.
    fn client(&self) -> Option<(PathBuf, PathBuf)> {
        let (cert, key) = self.issue("client", |_| ());
        let paths = (self.path("client.pem"), self.path("client.key"));
        std::fs::write(&paths.0, cert).unwrap();
        std::fs::write(&paths.1, key).unwrap();
        Some(paths)
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        roots
    }
}

fn tls_config((cert, key): &(String, String), clients: Option<&Authority>) -> Arc<ServerConfig> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = match clients {
        None => ServerConfig::builder().with_no_client_auth(),
        Some(authority) => ServerConfig::builder().with_client_cert_verifier(
            WebPkiClientVerifier::builder(Arc::new(authority.roots())).build().unwrap(),
        ),
    };
    let cert = CertificateDer::from_pem_slice(cert.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    Arc::new(builder.with_single_cert(vec![cert], key).unwrap())
}

async fn bind() -> (TcpListener, u16) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// Reads the head of one request.
async fn head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut read = Vec::new();
    let mut buffer = [0; 1024];
    while !read.windows(4).any(|window| window == b"\r\n\r\n") {
        match stream.read(&mut buffer).await {
            Ok(length) if length > 0 => read.extend_from_slice(&buffer[..length]),
            _ => break,
        }
    }
    String::from_utf8_lossy(&read).into_owned()
}

async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    head(&mut stream).await;
    let _ = stream.write_all(ANSWER).await;
    let _ = stream.shutdown().await;
}

/// A receiver with this certificate.
async fn tls_receiver(config: Arc<ServerConfig>) -> u16 {
    let (listener, port) = bind().await;
    let acceptor = tokio_rustls::TlsAcceptor::from(config);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(stream) = acceptor.accept(stream).await {
                answer(stream).await;
            }
        }
    });
    port
}

async fn post(sender: &Sender, url: &str) -> Result<Response, SendError> {
    post_within(sender, url, PATIENCE).await
}

async fn post_within(sender: &Sender, url: &str, timeout: Duration) -> Result<Response, SendError> {
    let url = Arc::new(Secret::new(url));
    let headers = vec![("x-secret".to_owned(), Secret::new("hunter2"))];
    let request = HttpRequest { url, method: "POST", headers, body: b"{}".to_vec(), propagates: false };
    sender.send(Request::Http(request), timeout).await
}

fn status(sent: Result<Response, SendError>) -> u16 {
    match sent.unwrap() {
        Response::Http { status, .. } => status,
        Response::Written => panic!(),
    }
}

#[track_caller]
fn untrusted(sent: Result<Response, SendError>, expected: &str) {
    let error = sent.unwrap_err();
    assert_eq!(error, SendError::Untrusted(expected.to_owned()));
}

const NO_TRUST: &str = "the receiver's certificate is not trusted: no authority that we trust has signed it";

#[tokio::test]
async fn an_authority_of_ones_own_is_trusted_instead_of_the_systems() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let url = |port: u16| format!("https://localhost:{port}/hunter2");
    let port = tls_receiver(tls_config(&ours.issue("localhost", |_| ()), None)).await;
    let sender = Sender::new(&ours.trust(), None).unwrap();
    assert_eq!(status(post(&sender, &url(port)).await), 200);
    untrusted(post(&Sender::plain().unwrap(), &url(port)).await, NO_TRUST);
    untrusted(post(&Sender::new(&theirs.trust(), None).unwrap(), &url(port)).await, NO_TRUST);

    let other = tls_receiver(tls_config(&ours.issue("other.example.com", |_| ()), None)).await;
    untrusted(post(&sender, &url(other)).await, "the receiver's certificate is for another name");
    let expired = |params: &mut CertificateParams| params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let expired = tls_receiver(tls_config(&ours.issue("localhost", expired), None)).await;
    untrusted(post(&sender, &url(expired)).await, "the receiver's certificate has expired");
    let early = |params: &mut CertificateParams| params.not_before = rcgen::date_time_ymd(2090, 1, 1);
    let early = tls_receiver(tls_config(&ours.issue("localhost", early), None)).await;
    untrusted(post(&sender, &url(early)).await, "the receiver's certificate is not valid yet");
}

#[tokio::test]
async fn a_client_certificate_is_shown_and_its_lack_is_told() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let port = tls_receiver(tls_config(&ours.issue("localhost", |_| ()), Some(&ours))).await;
    let url = format!("https://localhost:{port}/");
    let with = |identity| Sender::new(&TlsPlan { identity, ..ours.trust() }, None).unwrap();
    assert_eq!(status(post(&with(ours.client()), &url).await), 200);
    let refuses = "the receiver refuses our side of the TLS connection";
    untrusted(
        post(&with(None), &url).await,
        &format!("{refuses}: it wants a client certificate (`tls.cert`)"),
    );
    let sent = post(&with(theirs.client()), &url).await;
    assert!(matches!(&sent, Err(SendError::Untrusted(why)) if why.starts_with(refuses)), "{sent:?}");
}

#[test]
fn files_that_cannot_be_used_are_told_by_key_and_name() {
    let authority = Authority::new();
    let (cert, key) = authority.client().unwrap();
    std::fs::write(authority.path("empty"), "").unwrap();
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    std::fs::write(authority.path("broken"), broken).unwrap();
    let told = |ca: Option<&str>, identity: Option<(PathBuf, PathBuf)>| {
        let plan = TlsPlan { ca: ca.map(|name| authority.path(name)), identity };
        let why = Sender::new(&plan, None).unwrap_err();
        why.replace(authority.directory.path().to_str().unwrap(), "")
    };
    let empty = authority.path("empty");
    assert_eq!(told(Some("none"), None), "tls.ca: the file `/none` does not exist");
    let no_certificates = "does not hold certificates in PEM form";
    assert_eq!(told(Some("empty"), None), format!("tls.ca: the file `/empty` {no_certificates}"));
    assert_eq!(told(Some("broken"), None), format!("tls.ca: the file `/broken` {no_certificates}"));
    assert_eq!(told(Some("client.key"), None), format!("tls.ca: the file `/client.key` {no_certificates}"));
    let told = |cert: &PathBuf, key: &PathBuf| told(None, Some((cert.clone(), key.clone())));
    assert_eq!(told(&empty, &key), "tls.cert: the file `/empty` does not hold a certificate in PEM form");
    assert_eq!(told(&cert, &empty), "tls.key: the file `/empty` does not hold a private key in PEM form");
    let other = authority.issue("other", |_| ()).1;
    std::fs::write(authority.path("other.key"), other).unwrap();
    let mismatch = told(&cert, &authority.path("other.key"));
    assert!(mismatch.starts_with("TLS cannot be set up: "), "{mismatch}");
    let proxy = Secret::new("http://hunter2:x@[");
    let told = Sender::new(&TlsPlan::default(), Some(&proxy)).unwrap_err();
    assert_eq!(told, "proxy: not the address of a proxy");
}

#[tokio::test]
async fn a_proxy_is_gone_through_with_its_credentials() {
    let (listener, port) = bind().await;
    let proxy = Secret::new(format!("http://Aladdin:open%20sesame@127.0.0.1:{port}"));
    let sender = Sender::new(&TlsPlan::default(), Some(&proxy)).unwrap();
    let asked = tokio::spawn(async move {
        let mut heads = Vec::new();
        for answer in [ANSWER, b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"] {
            let (mut stream, _) = listener.accept().await.unwrap();
            heads.push(head(&mut stream).await);
            stream.write_all(answer).await.unwrap();
        }
        heads
    });
    assert_eq!(status(post(&sender, "http://audit.example.com/in").await), 200);
    let error = post(&sender, "https://audit.example.com/in").await.unwrap_err();
    assert!(matches!(error, SendError::Failed { .. }), "{error:?}");
    let shown = format!("{error} {error:?}");
    assert!(!["Aladdin", "sesame", "/in", "hunter2"].iter().any(|secret| shown.contains(secret)), "{shown}");
    let heads = asked.await.unwrap();
    let credentials = "proxy-authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==";
    assert!(heads[0].starts_with("POST http://audit.example.com/in HTTP/1.1\r\n"), "{}", heads[0]);
    assert!(heads[0].to_lowercase().contains(&credentials.to_lowercase()), "{}", heads[0]);
    assert!(heads[1].starts_with("CONNECT audit.example.com:443 HTTP/1.1\r\n"), "{}", heads[1]);
    assert!(heads[1].to_lowercase().contains(&credentials.to_lowercase()), "{}", heads[1]);
}

#[tokio::test]
async fn addresses_of_ipv6_are_understood() {
    // Not every machine that tests has IPv6.
    let Ok(listener) = TcpListener::bind(SocketAddr::from((Ipv6Addr::LOCALHOST, 0))).await else { return };
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { answer(listener.accept().await.unwrap().0).await });
    assert_eq!(status(post(&Sender::plain().unwrap(), &format!("http://[::1]:{port}/")).await), 200);
}

#[tokio::test]
async fn an_answer_without_end_ends_with_the_timeout_and_counts() {
    let sender = Sender::plain().unwrap();
    let (listener, port) = bind().await;
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 202 Accepted\r\ncontent-length: 99999999\r\n\r\n").await;
        while stream.write_all(b".").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let begun = Instant::now();
    let url = format!("http://127.0.0.1:{port}/");
    assert_eq!(status(post_within(&sender, &url, Duration::from_millis(400)).await), 202);
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_head_without_end_is_no_answer() {
    let sender = Sender::plain().unwrap();
    let (listener, port) = bind().await;
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n").await;
        while stream.write_all(b"x-a: b\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let url = format!("http://127.0.0.1:{port}/");
    let error = post_within(&sender, &url, Duration::from_millis(400)).await.unwrap_err();
    assert_eq!(error, SendError::Failed { message: "no answer in time".into(), kind: "timeout" });
}

#[tokio::test]
async fn a_large_answer_is_read_in_part() {
    let sender = Sender::plain().unwrap();
    let (listener, port) = bind().await;
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 500 No\r\ncontent-length: 99999999\r\n\r\n").await;
        while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
    });
    let Response::Http { status, body, .. } =
        post(&sender, &format!("http://127.0.0.1:{port}/")).await.unwrap()
    else {
        panic!()
    };
    assert_eq!((status, body.len()), (500, MAX_ANSWER_BYTES));
}
