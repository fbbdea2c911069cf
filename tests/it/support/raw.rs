//! A receiver that speaks to the bare socket, so that it can do what no HTTP server would.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio_rustls::TlsAcceptor;

use super::receiver::Arrivals;
use super::{Received, eventually};

/// What to do once a request was read.
#[derive(Debug, Clone)]
pub enum Act {
    /// Answer with this status, and these further lines of the head.
    Answer(u16, &'static str),
    /// Answer 200 after a while.
    Late(Duration),
    /// Break the connection amid the answer, or before it.
    Reset {
        /// See above.
        amid: bool,
    },
    /// Hang up without a word.
    HangUp,
    /// Announce a longer body than is sent, and hang up. With this status.
    Half(u16),
    /// A head that never ends.
    EndlessHead,
    /// A body that never ends. With this status.
    EndlessBody(u16),
}

impl Act {
    /// What the receiver has made of the request, as far as anyone can tell.
    fn status(&self) -> u16 {
        match self {
            Self::Answer(status, _) | Self::Half(status) | Self::EndlessBody(status) => *status,
            Self::Late(_) => 200,
            Self::Reset { .. } | Self::HangUp | Self::EndlessHead => 0,
        }
    }
}

type Script = dyn Fn(usize, &Received) -> Act + Send + Sync;

struct Shared {
    arrivals: Arrivals,
    script: Box<Script>,
    tls: Mutex<Option<Arc<ServerConfig>>>,
    connections: AtomicUsize,
}

/// The receiver; ends with the test.
pub struct Raw {
    address: SocketAddr,
    shared: Arc<Shared>,
    closed: Mutex<Option<TcpSocket>>,
    runtime: Runtime,
}

/// What came to it.
impl std::ops::Deref for Raw {
    type Target = Arrivals;

    fn deref(&self) -> &Arrivals {
        &self.shared.arrivals
    }
}

impl Raw {
    /// Does as `script` says, which is given the number of the request (from 0) and the request.
    pub fn start(script: impl Fn(usize, &Received) -> Act + Send + Sync + 'static) -> Self {
        let raw = Self::closed(script);
        raw.open();
        raw
    }

    /// Refuses connections until opened; its address is its own from the beginning.
    pub fn closed(script: impl Fn(usize, &Received) -> Act + Send + Sync + 'static) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = socket.local_addr().unwrap();
        let shared = Shared {
            arrivals: Arrivals::default(),
            script: Box::new(script),
            tls: Mutex::default(),
            connections: AtomicUsize::new(0),
        };
        Self { address, shared: Arc::new(shared), closed: Mutex::new(Some(socket)), runtime }
    }

    /// Listens from now on.
    pub fn open(&self) {
        let socket = self.closed.lock().unwrap().take().unwrap();
        let shared = Arc::clone(&self.shared);
        let listener = self.runtime.block_on(async move { socket.listen(1024) }).unwrap();
        self.runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&shared);
                shared.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    serve(&shared, stream).await;
                    shared.connections.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
    }

    /// Speaks TLS with new connections from now on, or does not.
    pub fn set_tls(&self, tls: Option<Arc<ServerConfig>>) {
        *self.shared.tls.lock().unwrap() = tls;
    }

    /// Waits until everything was read that a sender sent which is no more.
    pub fn wait_for_silence(&self) {
        // Connections are accepted in turn: once this one has been, so have all before it.
        let mut last = std::net::TcpStream::connect(self.address).unwrap();
        last.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(last.read(&mut [0]).unwrap(), 0);
        eventually("all connections have ended", || {
            (self.shared.connections.load(Ordering::SeqCst) == 0).then_some(())
        });
    }

    pub fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}/", self.address)
    }
}

async fn serve(shared: &Shared, stream: TcpStream) {
    let tls = shared.tls.lock().unwrap().clone();
    match tls {
        None => {
            let mut stream = stream;
            if converse(shared, &mut stream).await == Some(true) {
                let _ = stream.set_zero_linger();
            }
        }
        Some(tls) => {
            if let Ok(mut stream) = TlsAcceptor::from(tls).accept(stream).await {
                converse(shared, &mut stream).await;
                let _ = stream.shutdown().await;
            }
        }
    }
}

/// Answers requests until the connection ends; whether it is to be broken.
async fn converse(shared: &Shared, stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Option<bool> {
    let mut buffer = Vec::new();
    loop {
        let mut request = read_request(stream, &mut buffer).await?;
        let act = shared.arrivals.arrive(|received| {
            let act = (shared.script)(received.len(), &request);
            request.status = act.status();
            (request, act)
        });
        let head = |status: u16, length: usize, more: &str| {
            format!("HTTP/1.1 {status} So\r\ncontent-length: {length}\r\n{more}\r\n")
        };
        match act {
            Act::Answer(status, more) => stream.write_all(head(status, 0, more).as_bytes()).await.ok()?,
            Act::Late(wait) => {
                tokio::time::sleep(wait).await;
                stream.write_all(head(200, 0, "").as_bytes()).await.ok()?;
            }
            Act::Reset { amid } => {
                if amid {
                    stream.write_all(b"HTTP/1.1 200 So\r\ncontent-le").await.ok()?;
                }
                return Some(true);
            }
            Act::HangUp => return Some(false),
            Act::Half(status) => {
                stream.write_all(format!("{}half", head(status, 4_000, "")).as_bytes()).await.ok()?;
                return Some(false);
            }
            Act::EndlessHead => {
                stream.write_all(b"HTTP/1.1 200 So\r\n").await.ok()?;
                endless(stream, "x-more: and more\r\n").await?;
            }
            Act::EndlessBody(status) => {
                stream.write_all(head(status, 1 << 40, "").as_bytes()).await.ok()?;
                endless(stream, "and more ").await?;
            }
        }
    }
}

/// Talks as fast as it is listened to, for ever.
async fn endless(stream: &mut (impl AsyncWrite + Unpin), what: &str) -> Option<()> {
    let what = what.repeat(500);
    loop {
        stream.write_all(what.as_bytes()).await.ok()?;
    }
}

async fn read_request(stream: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>) -> Option<Received> {
    let head_ends = loop {
        if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        read_more(stream, buffer).await?;
    };
    let head = String::from_utf8_lossy(&buffer[..head_ends]).into_owned();
    let mut lines = head.lines();
    let mut words = lines.next()?.split(' ');
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length: usize = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    while buffer.len() < head_ends + 4 + length {
        read_more(stream, buffer).await?;
    }
    let rest = buffer.split_off(head_ends + 4 + length);
    let body = std::mem::replace(buffer, rest).split_off(head_ends + 4);
    let (method, target) = (words.next()?.to_owned(), words.next()?);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let (path, query) = (path.to_owned(), query.to_owned());
    Some(Received { method, path, query, headers, body, status: 0, at: std::time::Instant::now() })
}

async fn read_more(stream: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>) -> Option<()> {
    let length = stream.read_buf(buffer).await.ok()?;
    (length > 0).then_some(())
}

/// Certificates for 127.0.0.1.
pub struct Certificates {
    /// The authority, as PEM.
    pub authority: String,
    /// Signed by it.
    pub trusted: Arc<ServerConfig>,
    /// Signed by nobody.
    pub self_signed: Arc<ServerConfig>,
}

impl Certificates {
    pub fn new() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let (one, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let params = || CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        let config = |certificate: rcgen::Certificate, key: &KeyPair| {
            let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
            let builder = ServerConfig::builder().with_no_client_auth();
            Arc::new(builder.with_single_cert(vec![certificate.der().clone()], key).unwrap())
        };
        Self {
            trusted: config(params().signed_by(&one, &authority).unwrap(), &one),
            self_signed: config(params().self_signed(&other).unwrap(), &other),
            authority: authority.pem(),
        }
    }
}
