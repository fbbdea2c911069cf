//! What is answered: JSON always, with an `error` where it is one.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use serde_json::json;

use crate::event::EventId;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// Why not, where it is an error.
    pub(super) why: String,
    body: String,
    /// Whether the connection ends with it.
    closes: bool,
}

impl Answer {
    /// All of it is on disk.
    pub(super) fn accepted(ids: &[EventId]) -> Self {
        let body = json!({ "ids": ids }).to_string();
        Self { status: StatusCode::OK, why: String::new(), body, closes: false }
    }

    /// Nothing of it was taken, for this reason.
    pub(super) fn error(status: StatusCode, why: &str) -> Self {
        Self { status, why: why.to_owned(), body: json!({ "error": why }).to_string(), closes: false }
    }

    /// Try again in a moment.
    pub(super) fn not_now(why: &str) -> Self {
        Self::error(StatusCode::SERVICE_UNAVAILABLE, why)
    }

    /// What the client still sends is not listened to.
    pub(super) fn closing(self) -> Self {
        Self { closes: true, ..self }
    }

    pub(super) fn into_response(self) -> Response<Body> {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = self.status;
        let mut set = |name, value| response.headers_mut().insert(name, HeaderValue::from_static(value));
        set(header::CONTENT_TYPE, "application/json");
        match self.status {
            // Flipt waits for as long as it is told, and all its other sinks with it: never more than a second.
            StatusCode::SERVICE_UNAVAILABLE => set(header::RETRY_AFTER, "1"),
            StatusCode::UNAUTHORIZED => set(header::WWW_AUTHENTICATE, "Bearer"),
            StatusCode::METHOD_NOT_ALLOWED => set(header::ALLOW, "POST"),
            _ => None,
        };
        if self.closes {
            set(header::CONNECTION, "close");
        }
        response
    }
}
