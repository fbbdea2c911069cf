//! The health listener while there is no relay yet: its journal is being opened, or cannot be.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::get;
use axum::{Json, Router, middleware};

use super::guard;
use super::health::{ALIVE, Readiness};
use super::serving::{Former, Listener};
use crate::admin::Unready;
use crate::telemetry::instruments::{self as of, Instrument, Reading, Value};
use crate::telemetry::prometheus::{self, Format};

/// Answers probes for a relay that is not there yet: alive, not ready.
pub struct Vigil {
    listener: Listener,
    why: Arc<Mutex<Unready>>,
}

impl Vigil {
    /// Listens where the relay will. To be called within a runtime.
    #[must_use]
    pub fn keep(listen: SocketAddr) -> Self {
        Self::keep_on(listen, Former::Nobody)
    }

    /// As [`Vigil::keep`], where a relay listened until now.
    pub(super) fn keep_on(listen: SocketAddr, former: Former) -> Self {
        let why = Arc::new(Mutex::new(Unready { what: "relay".to_owned(), why: "it is starting" }));
        let routes = Router::new()
            .route("/livez", get(|| async { (StatusCode::OK, ALIVE) }))
            .route("/readyz", get(ready))
            .route("/metrics", get(metrics))
            .with_state(Arc::clone(&why))
            .layer(middleware::from_fn(guard::only_reading));
        Self { listener: Listener::start_on("vigil", listen, former, routes), why }
    }

    /// Where it listens, as asked for.
    #[must_use]
    pub fn asked(&self) -> SocketAddr {
        self.listener.asked()
    }

    /// Says from now on what the relay waits for, such as `journal`, and why. No path, nothing of an event.
    pub fn tell(&self, what: &str, why: &'static str) {
        let told = Unready { what: what.to_owned(), why };
        *self.why.lock().unwrap_or_else(PoisonError::into_inner) = told;
    }

    /// Lets go of its address.
    pub async fn end(mut self) {
        self.listener.stop().await;
    }

    /// Ends, and leaves its place to the relay where that listens at the same address.
    pub(super) async fn hand_over(mut self, listen: SocketAddr) -> Former {
        if self.asked() == listen {
            return self.listener.hand_over().await;
        }
        self.end().await;
        Former::Nobody
    }
}

async fn ready(State(why): State<Arc<Mutex<Unready>>>) -> (StatusCode, Json<Readiness>) {
    let why = why.lock().unwrap_or_else(PoisonError::into_inner).clone();
    (StatusCode::SERVICE_UNAVAILABLE, Json(Readiness::not_yet(why)))
}

async fn metrics(headers: HeaderMap) -> ([(header::HeaderName, &'static str); 1], String) {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let format = Format::accepted(accept);
    let reading = |instrument: &'static Instrument, labels: Vec<String>, number| Reading {
        instrument,
        labels,
        value: Value::Number(number),
    };
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let readings = [reading(&of::BUILD_INFO, vec![version], 1.0), reading(&of::READY, Vec::new(), 0.0)];
    ([(header::CONTENT_TYPE, format.content_type())], prometheus::text(&readings, format))
}
