//! The health listener: probes and metrics, and nothing of events.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::get;
use axum::{Json, Router, middleware};
use serde::Serialize;

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
}

/// What probes and Prometheus ask for.
pub(super) fn routes(office: Arc<Office>) -> Router {
    let pulse = Pulse::of(office.journal().clone());
    let readings = Arc::new(Readings::of(Arc::clone(&office)));
    Router::new()
        .route("/livez", get(alive))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(Health { office, pulse, readings })
        .layer(middleware::from_fn(guard::only_reading))
}

/// What is not ready: names of sources and of conditions, no path, no text of an event.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Readiness {
    ready: bool,
    not_ready: Vec<Unready>,
}

/// The process and the journal's thread answer.
async fn alive(State(health): State<Health>) -> (StatusCode, &'static str) {
    match health.pulse.feel().await {
        Ok(()) => (StatusCode::OK, "alive\n"),
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
    let readings = health.readings.gather().await?;
    Ok(([(header::CONTENT_TYPE, format.content_type())], prometheus::text(&readings, format)))
}
