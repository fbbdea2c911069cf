//! Listeners that change while they run, and streams that have no end.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::admin::Standing;
use crate::config::secret::Secret;
use crate::config::{LoadOptions, References, load};
use crate::journal::{Journal, Options};

pub(super) struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    pub(super) fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    pub(super) fn plan(&self, health: SocketAddr, admin: SocketAddr) -> Plan {
        let config = self.directory.path().join("relay.yaml");
        let data_dir = self.directory.path().join("data");
        let text = format!(
            "data_dir: {}\nsources: {{flipt: {{type: file, path: /nowhere/audit.log}}}}\n\
             health: {{listen: '{health}'}}\nadmin: {{listen: '{admin}'}}\n",
            data_dir.display()
        );
        std::fs::write(&config, text).unwrap();
        let options = LoadOptions {
            config: Some(config),
            environment: Vec::new(),
            references: References::Ignore,
            allow_inline_secrets: false,
        };
        load(&options).unwrap().plan
    }
}

fn standing(plan: &Plan) -> Standing {
    let (lanes, sources) = Default::default();
    Standing { plan: Arc::new(plan.clone()), lanes, sources, configuration: Default::default() }
}

pub(super) fn office(plan: &Plan) -> Arc<Office> {
    let (journal, _) = Journal::open(Options {
        data_dir: plan.data_dir.clone(),
        keep: plan.journal.keep,
        max_size_bytes: plan.journal.max_size_bytes,
        lock_wait: Duration::ZERO,
        keeps_all: false,
    })
    .unwrap();
    Arc::new(Office::running(standing(plan), journal))
}

pub(super) fn free() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

async fn status(stream: &mut TcpStream, path: &str) -> u16 {
    let ask = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream.write_all(ask.as_bytes()).await.unwrap();
    let mut answer = vec![0; 64 << 10];
    let read = stream.read(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
    answer.split(' ').nth(1).unwrap_or_else(|| panic!("no answer: {answer:?}")).parse().unwrap()
}

async fn dial(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.unwrap()
}

#[tokio::test]
async fn what_is_the_same_goes_on_and_what_changed_moves() {
    let place = Place::new();
    let (health, admin, moved) = (free(), free(), free());
    let plan = place.plan(health, admin);
    let office = office(&plan);
    let mut listeners = Listeners::start(Arc::clone(&office), &plan, None).await;
    let mut kept = dial(health).await;
    assert_eq!(status(&mut kept, "/livez").await, 200);
    let mut old = dial(admin).await;
    assert_eq!(status(&mut old, "/status").await, 200);

    let next = place.plan(health, moved);
    office.change(standing(&next));
    listeners.apply(&next).await;
    assert_eq!(status(&mut kept, "/livez").await, 200, "the same connection goes on");
    assert_eq!(status(&mut dial(moved).await, "/status").await, 200);
    assert!(TcpStream::connect(admin).await.is_err(), "nobody listens there any more");
    assert_eq!(old.read(&mut [0]).await.unwrap(), 0, "its connections have ended");

    // Each takes the other's address.
    let swapped = place.plan(moved, health);
    office.change(standing(&swapped));
    listeners.apply(&swapped).await;
    assert_eq!(status(&mut dial(moved).await, "/livez").await, 200);
    assert_eq!(status(&mut dial(health).await, "/status").await, 200);

    // A token holds from the next request on, without anything being bound anew.
    let mut open = dial(health).await;
    assert_eq!(status(&mut open, "/status").await, 200);
    let mut guarded = swapped.clone();
    guarded.admin.token = Some(Secret::new("t"));
    office.change(standing(&guarded));
    listeners.apply(&guarded).await;
    assert_eq!(status(&mut open, "/status").await, 401);
    listeners.stop().await;
    assert!(TcpStream::connect(moved).await.is_err());
}

#[tokio::test]
async fn beyond_loopback_nothing_is_told_without_a_token() {
    let place = Place::new();
    let plan = place.plan(free(), free());
    let office = office(&plan);
    // As if the token were gone from a plan whose listener is bound already.
    let guard = guard::Guard::of(office);
    let routes = Router::new()
        .route("/", get(|| async { "told" }))
        .layer(axum::middleware::from_fn_with_state(guard, guard::admit));
    let mut request = axum::extract::Request::new(Body::empty());
    request.headers_mut().insert(header::HOST, "192.0.2.1:9465".parse().unwrap());
    let address = |text: &str| text.parse().unwrap();
    request
        .extensions_mut()
        .insert(serving::Called { peer: address("192.0.2.2:5"), local: address("192.0.2.1:9465") });
    let service = hyper_util::service::TowerToHyperService::new(routes);
    let answer = hyper::service::Service::call(&service, request).await.unwrap();
    assert_eq!(answer.status(), 403);
}

#[tokio::test]
async fn a_stream_ends_with_its_listener() {
    let address = free();
    let endless = || async {
        let (keep, taken) = tokio::sync::mpsc::channel::<Result<Bytes, std::io::Error>>(1);
        keep.send(Ok("data: one\n\n".into())).await.unwrap();
        // Nobody ever lets go of the sender.
        std::mem::forget(keep);
        let body = Body::from_stream(tokio_stream::wrappers::ReceiverStream::new(taken));
        ([(header::CONTENT_TYPE, "text/event-stream")], body).into_response()
    };
    let mut listener = Listener::start("test", address, Router::new().route("/events", get(endless)));
    let mut stream = dial(address).await;
    assert_eq!(status(&mut stream, "/events").await, 200);
    let begun = Instant::now();
    let reading = tokio::spawn(async move {
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        String::from_utf8(rest).unwrap()
    });
    listener.stop().await;
    assert!(begun.elapsed() < Duration::from_millis(900), "it did not wait: {:?}", begun.elapsed());
    assert!(reading.await.unwrap().ends_with("0\r\n\r\n"), "the stream has an orderly end");
}
