//! The health listener: probes and metrics, and nothing of events.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::get;
use axum::{Json, Router, middleware};
use serde::Serialize;
use tokio::sync::Semaphore;

use super::guard;
use super::pulse::Pulse;
use crate::admin::readings::Readings;
use crate::admin::{Office, Refusal, Unready};
use crate::telemetry::prometheus::{self, Format};

#[derive(Clone)]
struct Health {
    office: Arc<Office>,
    pulse: Arc<Pulse>,
    readings: Arc<Readings>,
    /// Of those who may wait for metrics.
    seats: Arc<Semaphore>,
}

/// So many may wait for metrics at the same time: one after the other is served, and probes need their
/// connections.
const SEATS: usize = 4;

/// What probes and Prometheus ask for.
pub(super) fn routes(office: Arc<Office>) -> Router {
    let pulse = Pulse::of(office.journal().clone());
    let readings = Arc::new(Readings::of(Arc::clone(&office)));
    Router::new()
        .route("/livez", get(alive))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(Health { office, pulse, readings, seats: Arc::new(Semaphore::new(SEATS)) })
        .layer(middleware::from_fn(guard::only_reading))
}

/// What is not ready: names of sources and of conditions, no path, no text of an event.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Readiness {
    ready: bool,
    not_ready: Vec<Unready>,
}

impl Readiness {
    /// Of one thing that is not ready.
    pub(super) fn not_yet(why: Unready) -> Self {
        Self { ready: false, not_ready: vec![why] }
    }
}

/// What `/livez` says where all is well.
pub(super) const ALIVE: &str = "alive\n";

/// The process and the journal's thread answer. Of a sidecar only the process is asked: to start it anew because of
/// its journal would help nobody, and stands in the events of Flipt's pod.
async fn alive(State(health): State<Health>) -> (StatusCode, &'static str) {
    if health.office.is_sidecar() {
        return (StatusCode::OK, ALIVE);
    }
    match health.pulse.feel().await {
        Ok(()) => (StatusCode::OK, ALIVE),
        Err(error) => {
            tracing::warn!(%error, "the journal does not answer");
            (StatusCode::SERVICE_UNAVAILABLE, "the journal does not answer\n")
        }
    }
}

async fn ready(State(health): State<Health>) -> (StatusCode, Json<Readiness>) {
    let not_ready = health.office.unready().await;
    let ready = not_ready.is_empty();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Readiness { ready, not_ready }))
}

async fn metrics(
    State(health): State<Health>,
    headers: HeaderMap,
) -> Result<([(header::HeaderName, &'static str); 1], String), Refusal> {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let format = Format::accepted(accept);
    let Ok(_seat) = health.seats.try_acquire() else {
        return Err(Refusal::failure("too many ask for metrics at once"));
    };
    let readings = health.readings.gather().await?;
    Ok(([(header::CONTENT_TYPE, format.content_type())], prometheus::text(&readings, format)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::http::tests::{Place, free, office};

    #[tokio::test]
    async fn few_may_wait_for_metrics_and_probes_are_answered_all_the_while() {
        let place = Place::new();
        let office = office(&place.plan(free(), free()));
        let health = Health {
            pulse: Pulse::of(office.journal().clone()),
            readings: Arc::new(Readings::of(Arc::clone(&office))),
            office,
            seats: Arc::new(Semaphore::new(SEATS)),
        };
        let ask = || metrics(State(health.clone()), HeaderMap::new());
        let taken = health.seats.acquire_many(4).await.unwrap();
        assert!(ask().await.is_err_and(|refusal| refusal.message.contains("too many")));
        assert_eq!(alive(State(health.clone())).await.0, StatusCode::OK);
        drop(taken);
        for _ in 0..SEATS + 1 {
            assert!(ask().await.is_ok(), "a seat is free again");
        }
    }
}
