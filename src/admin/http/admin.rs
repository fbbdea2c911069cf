//! The admin listener: the status page, and the same as JSON.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json, Router, middleware};

use super::guard::{self, Guard, Viewer};
use super::listing;
use crate::admin::{Fault, Office, Refusal, nameless, page};
use crate::event::Timestamp;

/// What people and scripts ask for.
pub(super) fn routes(office: Arc<Office>) -> Router {
    let guard = Guard::of(Arc::clone(&office));
    Router::new()
        .route("/status", get(status))
        .route("/api/changes", get(listing::changes))
        .merge(page::routes())
        .with_state(office)
        .layer(middleware::from_fn_with_state(guard, guard::admit))
}

/// The same as `audit-relay status --json`.
async fn status(
    State(office): State<Arc<Office>>,
    Extension(viewer): Extension<Viewer>,
) -> Result<Response, Refusal> {
    let report = office.report(Timestamp::now()).await?;
    let report = if viewer.sees_names { report } else { nameless::report(report) };
    Ok(Json(report).into_response())
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = match self.fault {
            Fault::Usage => StatusCode::BAD_REQUEST,
            Fault::Failure => StatusCode::SERVICE_UNAVAILABLE,
        };
        (status, Json(serde_json::json!({"error": self.message}))).into_response()
    }
}
