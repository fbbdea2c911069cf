//! Listens, and serves connections: each within its bounds, so that no client stands in another's way.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::desk::Desk;
use super::tls::Tls;
use crate::config::plan::HttpSourcePlan;

/// So many connections at the same time; the one that has been of no use for longest makes room for another.
const MAX_CONNECTIONS: usize = 256;

/// How long a client may take for the head of a request, and be silent between two; and for a TLS handshake.
const HEAD_PATIENCE: Duration = Duration::from_secs(5);

/// How large the head of a request may be, in bytes.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// Between two attempts to listen.
const RETRY: Duration = Duration::from_secs(1);

/// How long requests under way may take when the source ends, and connections to close behind them.
const LAST_REQUESTS: Duration = Duration::from_secs(5);
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A socket that is listened on, and the certificate to show.
pub struct Listening {
    socket: Arc<TcpListener>,
    address: SocketAddr,
    tls: Option<Arc<Tls>>,
}

impl Listening {
    /// Binds; the error says why it cannot.
    pub(super) async fn open(source: &str, plan: &HttpSourcePlan) -> Result<Self, String> {
        Self::succeeding(source, plan, None, &[]).await?.ok_or_else(|| "it does not listen".to_owned())
    }

    /// As [`Listening::open`], or at the socket of another. `None` where it cannot for somebody listens at one of
    /// the ports in `freed`.
    pub(in crate::source) async fn succeeding(
        source: &str,
        plan: &HttpSourcePlan,
        inherited: Option<Arc<TcpListener>>,
        freed: &[u16],
    ) -> Result<Option<Self>, String> {
        let (name, tls) = (source.to_owned(), plan.tls.clone());
        let tls = tokio::task::spawn_blocking(move || Tls::load(&name, &tls)).await;
        let tls = tls.unwrap_or_else(|error| Err(error.to_string()))?.map(Arc::new);
        let cannot = |error: io::Error| format!("cannot listen on {}: {error}", plan.listen);
        let socket = match inherited {
            Some(socket) => socket,
            None => match TcpListener::bind(plan.listen).await {
                Ok(socket) => Arc::new(socket),
                Err(error)
                    if error.kind() == io::ErrorKind::AddrInUse && freed.contains(&plan.listen.port()) =>
                {
                    return Ok(None);
                }
                Err(error) => return Err(cannot(error)),
            },
        };
        let address = socket.local_addr().map_err(cannot)?;
        Ok(Some(Self { socket, address, tls }))
    }
}

/// What ends a source.
#[derive(Clone, Default)]
pub(super) struct Ending {
    /// The relay ends: whoever comes is told so, until what is under way is answered.
    pub(super) stop: CancellationToken,
    /// Another takes over: whoever comes is for that one.
    pub(super) leave: CancellationToken,
    /// Said, after `leave`, when the socket is let go of.
    pub(super) left: CancellationToken,
}

/// Listens until its end, however often that fails.
pub(super) async fn run(
    desk: Arc<Desk>,
    first: Result<Listening, String>,
    socket: Arc<OnceLock<Arc<TcpListener>>>,
    ending: Ending,
) {
    // However it ends.
    let _left = ending.left.clone().drop_guard();
    let mut attempt = first;
    let mut said = None;
    let listening = loop {
        let why = match attempt {
            Ok(listening) => break listening,
            Err(why) => why,
        };
        if said.as_ref() != Some(&why) {
            tracing::error!(source = desk.name, "not listening for pushes, trying again: {why}");
            said = Some(why.clone());
        }
        desk.listens(Err(why));
        tokio::select! {
            () = tokio::time::sleep(RETRY) => {}
            () = ending.stop.cancelled() => return,
            () = ending.leave.cancelled() => return,
        }
        attempt = Listening::open(&desk.name, &desk.plan).await;
    };
    tracing::info!(
        source = desk.name,
        address = %listening.address,
        tls = listening.tls.is_some(),
        "listening"
    );
    desk.listens(Ok(listening.address));
    let _ = socket.set(Arc::clone(&listening.socket));
    drop(socket);
    serve(&desk, listening, &ending).await;
}

/// Accepts connections until its end, and then until the last request is answered.
async fn serve(desk: &Arc<Desk>, listening: Listening, ending: &Ending) {
    let connections = TaskTracker::new();
    let closing = CancellationToken::new();
    let guests = Arc::new(Guests::default());
    let mut ticks = tokio::time::interval(RETRY);
    let ended = async {
        ending.stop.cancelled().await;
        desk.stop();
        let _ = tokio::time::timeout(LAST_REQUESTS, desk.under_way.wait()).await;
    };
    tokio::pin!(ended);
    loop {
        tokio::select! {
            () = &mut ended => break,
            () = ending.leave.cancelled() => {
                drop(listening);
                ending.left.cancel();
                // Connections end with the request that they are at, and each of these is answered as ever.
                closing.cancel();
                connections.close();
                let _ = tokio::time::timeout(LAST_REQUESTS, connections.wait()).await;
                desk.stop();
                break;
            }
            _ = ticks.tick() => desk.look_again(),
            accepted = listening.socket.accept() => match accepted {
                Ok((stream, peer)) => {
                    let Some(guest) = guests.enter() else { continue };
                    let connection = Connection {
                        desk: Arc::clone(desk),
                        guest,
                        peer,
                        tls: listening.tls.clone(),
                        closing: closing.clone(),
                    };
                    connections.spawn(connection.serve(stream));
                }
                Err(error) => {
                    tracing::warn!(source = desk.name, %error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
        }
    }
    closing.cancel();
    connections.close();
    let _ = tokio::time::timeout(LAST_WORDS, connections.wait()).await;
    guests.dismiss_all();
}

struct Connection {
    desk: Arc<Desk>,
    guest: Guest,
    peer: SocketAddr,
    tls: Option<Arc<Tls>>,
    closing: CancellationToken,
}

impl Connection {
    async fn serve(self, stream: TcpStream) {
        let dismissed = self.guest.seat.dismissed.clone();
        tokio::select! {
            () = self.converse(stream) => {}
            () = dismissed.cancelled() => {}
        }
    }

    async fn converse(&self, stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        let Some(tls) = self.tls.clone() else { return self.speak_http(stream).await };
        let acceptor = tokio::task::spawn_blocking(move || tls.acceptor()).await;
        let Ok(acceptor) = acceptor else { return };
        match tokio::time::timeout(HEAD_PATIENCE, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => self.speak_http(stream).await,
            Ok(Err(error)) => {
                tracing::debug!(source = self.desk.name, peer = %self.peer, %error, "no TLS connection");
            }
            Err(_) => {}
        }
    }

    async fn speak_http(&self, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let spoken = CancellationToken::new();
        let service = service_fn(|request| async {
            spoken.cancel();
            let answer = self.desk.answer(request, self.peer, || self.guest.seat.is_busy()).await;
            self.guest.seat.is_idle();
            Ok::<_, Infallible>(answer.into_response())
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_PATIENCE)
            .max_buf_size(MAX_HEAD_BYTES)
            // One who has said everything may still listen.
            .half_close(true)
            .serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        // Who came just before is about to say something, and would take an end without an answer for a failure.
        let closing = async {
            self.closing.cancelled().await;
            spoken.cancelled().await;
        };
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = closing => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(source = self.desk.name, peer = %self.peer, %error, "a connection ended early");
        }
    }
}

/// Who is connected.
#[derive(Default)]
struct Guests {
    seats: Mutex<(u64, HashMap<u64, Arc<Seat>>)>,
}

/// One who is connected, until dropped.
struct Guest {
    guests: Arc<Guests>,
    number: u64,
    seat: Arc<Seat>,
}

struct Seat {
    dismissed: CancellationToken,
    came_at: Instant,
    /// Since when nothing of use came, in milliseconds after it came; the largest number while a push of its is
    /// being taken.
    idle_since: AtomicU64,
}

impl Seat {
    fn is_busy(&self) {
        self.idle_since.store(u64::MAX, Ordering::Relaxed);
    }

    fn is_idle(&self) {
        let since = u64::try_from(self.came_at.elapsed().as_millis()).unwrap_or(u64::MAX - 1);
        self.idle_since.store(since, Ordering::Relaxed);
    }

    /// Since when it is of no use.
    fn waits_since(&self) -> Option<Instant> {
        let since = self.idle_since.load(Ordering::Relaxed);
        (since != u64::MAX).then(|| self.came_at + Duration::from_millis(since))
    }
}

impl Guests {
    /// A seat for one more. Where all are taken, whoever has been of no use for longest has to leave; `None`
    /// where all are.
    fn enter(self: &Arc<Self>) -> Option<Guest> {
        let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        if seats.1.len() >= MAX_CONNECTIONS {
            let waiting = seats.1.iter().filter_map(|(number, seat)| Some((seat.waits_since()?, *number)));
            let (_, number) = waiting.min()?;
            if let Some(seat) = seats.1.remove(&number) {
                seat.dismissed.cancel();
            }
        }
        let number = seats.0;
        seats.0 += 1;
        let seat = Arc::new(Seat {
            dismissed: CancellationToken::new(),
            came_at: Instant::now(),
            idle_since: AtomicU64::new(0),
        });
        seats.1.insert(number, Arc::clone(&seat));
        Some(Guest { guests: Arc::clone(self), number, seat })
    }

    fn dismiss_all(&self) {
        let seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        seats.1.values().for_each(|seat| seat.dismissed.cancel());
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.guests.seats.lock().unwrap_or_else(PoisonError::into_inner).1.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_of_no_use_makes_room() {
        let guests = Arc::new(Guests::default());
        let all: Vec<Guest> = (0..MAX_CONNECTIONS).map(|_| guests.enter().unwrap()).collect();
        all.iter().for_each(|guest| guest.seat.is_busy());
        assert!(guests.enter().is_none(), "nobody whose push is being taken has to leave");
        std::thread::sleep(Duration::from_millis(2));
        all[7].seat.is_idle();
        std::thread::sleep(Duration::from_millis(5));
        all[3].seat.is_idle();
        let new = guests.enter().unwrap();
        assert!(all[7].seat.dismissed.is_cancelled() && !all[3].seat.dismissed.is_cancelled());
        drop((all, new));
        assert!(guests.seats.lock().unwrap().1.is_empty());
    }
}
