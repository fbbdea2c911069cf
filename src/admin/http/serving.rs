//! One listener: its address, its connections, and how long anybody may keep one busy.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response, StatusCode, header};
use axum::response::IntoResponse;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::body::Watched;
use super::patience::Patient;

/// How often an address that cannot be had is tried again.
const AGAIN: Duration = Duration::from_secs(3);

/// Connections that are open at the same time. When one more comes, the oldest that asks for nothing makes room.
const MAX_CONNECTIONS: usize = 128;

/// How long a client may take to say what it wants, and may be silent between two requests.
const HEAD: Duration = Duration::from_secs(5);

/// How long a client may take none of an answer.
const READING: Duration = Duration::from_secs(20);

/// How long an answer may take to begin.
const ANSWERING: Duration = Duration::from_secs(30);

/// The head of a request is no longer than this, in bytes.
const MAX_HEAD_BYTES: usize = 16 << 10;

/// How long a stop waits for answers that are under way.
const FAREWELL: Duration = Duration::from_secs(1);

/// Where a request came in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Called {
    /// From.
    pub(super) peer: SocketAddr,
    /// At.
    pub(super) local: SocketAddr,
}

/// Who had an address before.
pub(super) enum Former {
    /// Nobody of this process.
    Nobody,
    /// One who leaves its place, in which others may stand already.
    Listened(TcpListener),
    /// One who could not have it, and said so.
    Refused,
}

/// A listener, or one that tries to be.
pub(super) struct Listener {
    asked: SocketAddr,
    stop: CancellationToken,
    /// Whether it was said that the address cannot be had.
    is_told: Arc<AtomicBool>,
    /// Whether somebody else goes on at the address.
    keeps_address: Arc<AtomicBool>,
    serving: Option<JoinHandle<Option<TcpListener>>>,
}

impl Listener {
    /// Listens; where it cannot, that is told once and tried again.
    pub(super) fn start(what: &'static str, address: SocketAddr, routes: Router) -> Self {
        Self::start_on(what, address, Former::Nobody, routes)
    }

    /// As [`Listener::start`], where another listened at that address until now.
    pub(super) fn start_on(what: &'static str, address: SocketAddr, former: Former, routes: Router) -> Self {
        let (stop, keeps_address) = (CancellationToken::new(), Arc::<AtomicBool>::default());
        let is_told = Arc::new(AtomicBool::new(matches!(former, Former::Refused)));
        let first = match former {
            Former::Listened(listener) => Ok(listener),
            Former::Nobody | Former::Refused => bind(address),
        };
        let ends = (stop.clone(), Arc::clone(&keeps_address), Arc::clone(&is_told));
        let serving = tokio::spawn(async move {
            let (stop, keeps_address, is_told) = ends;
            let bound = bound(what, address, first, &is_told);
            let listener = stop.run_until_cancelled(bound).await?;
            let (listener, connections) = serve(what, listener, routes, stop).await;
            let kept = keeps_address.load(Ordering::Acquire).then_some(listener);
            finish(connections).await;
            kept
        });
        Self { asked: address, stop, is_told, keeps_address, serving: Some(serving) }
    }

    /// The address that was asked for.
    pub(super) fn asked(&self) -> SocketAddr {
        self.asked
    }

    /// Lets go of the address, ends streams, finishes other answers, or soon.
    pub(super) async fn stop(&mut self) {
        self.stop.cancel();
        if let Some(serving) = self.serving.take() {
            let _ = serving.await;
        }
    }

    /// As [`Listener::stop`], and another may go on at that address: whoever calls meanwhile waits.
    pub(super) async fn hand_over(&mut self) -> Former {
        self.keeps_address.store(true, Ordering::Release);
        self.stop.cancel();
        let Some(serving) = self.serving.take() else { return Former::Nobody };
        match serving.await {
            Ok(Some(listener)) => Former::Listened(listener),
            _ if self.is_told.load(Ordering::Acquire) => Former::Refused,
            _ => Former::Nobody,
        }
    }
}

/// Nobody listens on where nobody can say that it ends.
impl Drop for Listener {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

async fn serve(
    what: &'static str,
    listener: TcpListener,
    routes: Router,
    stop: CancellationToken,
) -> (TcpListener, JoinSet<()>) {
    match listener.local_addr() {
        Ok(address) => tracing::info!(what, %address, "listening"),
        Err(error) => tracing::warn!(what, %error, "listening, and nobody knows where"),
    }
    let open = Arc::new(Open::default());
    let mut connections = JoinSet::new();
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, peer)) => {
                if let Some(connection) = open.admit() {
                    let open = Arc::clone(&open);
                    let (routes, stop) = (routes.clone(), stop.clone());
                    connections.spawn(async move {
                        attend(stream, peer, routes, &connection, stop).await;
                        open.forget(&connection);
                    });
                }
            }
            Err(error) => {
                tracing::debug!(what, %error, "a connection could not be taken");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
    (listener, connections)
}

/// Waits for answers that are under way.
async fn finish(mut connections: JoinSet<()>) {
    let all = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(FAREWELL, all).await;
}

async fn bound(
    what: &str,
    address: SocketAddr,
    first: io::Result<TcpListener>,
    is_told: &AtomicBool,
) -> TcpListener {
    let mut tried = first;
    loop {
        match tried {
            Ok(listener) => return listener,
            Err(error) if !is_told.swap(true, Ordering::AcqRel) => {
                tracing::warn!(what, %address, %error, "cannot listen: the relay works without, and tries again");
            }
            Err(_) => {}
        }
        tokio::time::sleep(AGAIN).await;
        tried = bind(address);
    }
}

/// The connections that are open, oldest first.
#[derive(Default)]
struct Open(Mutex<Vec<Arc<Connection>>>);

/// One of them.
#[derive(Default)]
struct Connection {
    /// Requests that are being answered.
    busy: Arc<AtomicUsize>,
    leave: CancellationToken,
}

impl Open {
    /// Takes one more; `None` where all others are being answered.
    fn admit(&self) -> Option<Arc<Connection>> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() >= MAX_CONNECTIONS {
            let idle = open.iter().position(|other| other.busy.load(Ordering::Acquire) == 0)?;
            open.remove(idle).leave.cancel();
        }
        let connection = Arc::new(Connection::default());
        open.push(Arc::clone(&connection));
        Some(connection)
    }

    fn forget(&self, connection: &Arc<Connection>) {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|other| !Arc::ptr_eq(other, connection));
    }
}

/// A request that is being answered, until dropped.
pub(super) struct Busy(Arc<AtomicUsize>);

impl Busy {
    fn with(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(count))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Serves one connection. That the client has gone away is no news to anybody.
async fn attend(
    stream: TcpStream,
    peer: SocketAddr,
    routes: Router,
    connection: &Connection,
    stop: CancellationToken,
) {
    let Ok(local) = stream.local_addr() else { return };
    let called = Called { peer, local };
    let _ = stream.set_nodelay(true);
    let routes = TowerToHyperService::new(routes);
    let service = service_fn(|mut request: Request<Incoming>| {
        let busy = Busy::with(&connection.busy);
        request.extensions_mut().insert(called);
        let answer = routes.call(request);
        let stop = stop.clone();
        async move {
            let answer = tokio::time::timeout(ANSWERING, answer).await;
            let answer: Response<Body> = match answer {
                Ok(Ok(answer)) => answer,
                Ok(Err(never)) => match never {},
                Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "this takes too long\n").into_response(),
            };
            let is_stream = answer
                .headers()
                .get(header::CONTENT_TYPE)
                .is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
            Ok::<_, Infallible>(answer.map(|body| Watched::new(body, is_stream.then_some(stop), busy)))
        }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(Patient::new(stream, READING)), service);
    tokio::pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
        () = connection.leave.cancelled() => return,
    };
    if let Err(error) = ended {
        tracing::trace!(%peer, %error, "a connection ended early");
    }
}
