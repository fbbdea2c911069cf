//! An HTTP receiver on 127.0.0.1 that misbehaves on command.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::PATIENCE;

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Received {
    pub method: String,
    pub path: String,
    /// What stands behind the question mark.
    pub query: String,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
    /// What it was answered with; 0 for nothing.
    pub status: u16,
    /// When it was read.
    pub at: Instant,
}

impl Received {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The envelopes it carries: the object itself, or each of an array.
    pub fn envelopes(&self) -> Vec<Value> {
        match self.json() {
            Value::Array(all) => all,
            one => vec![one],
        }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// How to answer.
#[derive(Debug, Clone)]
pub enum Reply {
    /// With this status, these headers and this body.
    Answer(u16, Vec<(&'static str, String)>, String),
    /// Never.
    Hang,
}

impl Reply {
    pub fn status(status: u16) -> Self {
        Self::Answer(status, Vec::new(), String::new())
    }
}

type Script = dyn Fn(usize, &Received) -> Reply + Send + Sync;

/// What came, and who waits for it.
#[derive(Default)]
pub struct Arrivals {
    received: Mutex<Vec<Received>>,
    came: Condvar,
}

impl Arrivals {
    /// Everything that came until now.
    pub fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// Takes a request in, which is made with a look at those before it.
    pub(super) fn arrive<T>(&self, make: impl FnOnce(&[Received]) -> (Received, T)) -> T {
        let mut received = self.received.lock().unwrap();
        let (request, told) = make(&received);
        received.push(request);
        drop(received);
        self.came.notify_all();
        told
    }

    /// Waits until what came satisfies `enough`, and gives it.
    pub fn wait_until(&self, what: &str, mut enough: impl FnMut(&[Received]) -> bool) -> Vec<Received> {
        let begun = Instant::now();
        let mut received = self.received.lock().unwrap();
        while !enough(&received) {
            let left = PATIENCE.saturating_sub(begun.elapsed());
            assert!(!left.is_zero(), "in vain: {what}; {} requests came", received.len());
            received = self.came.wait_timeout(received, left.min(Duration::from_secs(1))).unwrap().0;
        }
        received.clone()
    }

    /// Waits for this many requests.
    pub fn wait_for(&self, count: usize) -> Vec<Received> {
        self.wait_until(&format!("{count} requests"), |received| received.len() >= count)
    }
}

struct Shared {
    arrivals: Arrivals,
    script: Box<Script>,
}

/// The receiver; ends with the test.
pub struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    _runtime: tokio::runtime::Runtime,
}

/// What came to it.
impl std::ops::Deref for Receiver {
    type Target = Arrivals;

    fn deref(&self) -> &Arrivals {
        &self.shared.arrivals
    }
}

impl Receiver {
    /// Answers 200 to everything.
    pub fn start() -> Self {
        Self::scripted(|_, _| Reply::status(200))
    }

    /// Answers as `script` says, which is given the number of the request (from 0) and the request.
    pub fn scripted(script: impl Fn(usize, &Received) -> Reply + Send + Sync + 'static) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let shared = Arc::new(Shared { arrivals: Arrivals::default(), script: Box::new(script) });
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new()
            .fallback(take)
            .layer(axum::extract::DefaultBodyLimit::disable())
            .with_state(Arc::clone(&shared));
        runtime.spawn(async move { axum::serve(listener, app).await });
        Self { address, shared, _runtime: runtime }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The envelopes of all requests that were answered with success.
    pub fn envelopes(&self) -> Vec<Value> {
        let taken = self.received();
        taken.iter().filter(|request| request.status < 300).flat_map(Received::envelopes).collect()
    }
}

async fn take(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let headers = headers
        .iter()
        .map(|(name, value)| {
            (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        })
        .collect();
    let mut request = Received {
        method: method.to_string(),
        path: uri.path().to_owned(),
        query: uri.query().unwrap_or_default().to_owned(),
        headers,
        body: body.to_vec(),
        status: 0,
        at: Instant::now(),
    };
    let reply = shared.arrivals.arrive(|received| {
        let reply = (shared.script)(received.len(), &request);
        if let Reply::Answer(status, ..) = &reply {
            request.status = *status;
        }
        (request, reply)
    });
    match reply {
        Reply::Answer(status, headers, body) => {
            let mut response = (StatusCode::from_u16(status).unwrap(), body).into_response();
            for (name, value) in headers {
                response.headers_mut().insert(name, value.parse().unwrap());
            }
            response
        }
        Reply::Hang => std::future::pending().await,
    }
}
