//! The status page: rendered here, whole without a script, live with it. It shows, and does nothing.
//!
//! What is asked of the journal is asked by [`newest`] and [`way`]; [`view`] says what is shown in which words,
//! [`paint`] makes HTML of that, and [`live`] sends what has changed to whoever watches.

mod chart;
mod desk;
mod detail;
mod live;
mod moment;
mod newest;
mod paint;
mod question;
#[cfg(test)]
mod tests;
mod view;
mod way;

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};

use super::http::Viewer;
use super::{Office, Refusal};
use desk::Desk;
use question::Question;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("page.js");
const ICON: &str = include_str!("icon.svg");

/// What people look at, on the admin listener.
pub(in crate::admin) fn routes() -> Router<Arc<Office>> {
    Router::new()
        .route("/", get(page))
        .route("/change/{id}", get(change))
        .route("/page/changes", get(changes))
        .route("/page/live", get(watch))
        .route("/style.css", get(|| file("text/css; charset=utf-8", STYLE)))
        .route("/page.js", get(|| file("text/javascript; charset=utf-8", SCRIPT)))
        .route("/icon.svg", get(|| file("image/svg+xml", ICON)))
        .layer(Extension(Arc::<Desk>::default()))
}

async fn file(kind: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

/// The whole page.
async fn page(
    State(office): State<Arc<Office>>,
    Extension(desk): Extension<Arc<Desk>>,
    Extension(viewer): Extension<Viewer>,
    RawQuery(query): RawQuery,
) -> Response {
    let question = Question::read(query.as_deref().unwrap_or_default());
    answer(desk.page(&office, question, viewer.sees_names).await)
}

/// The list of changes alone, for the script of a page that shows a selection of them.
async fn changes(
    State(office): State<Arc<Office>>,
    Extension(desk): Extension<Arc<Desk>>,
    Extension(viewer): Extension<Viewer>,
    RawQuery(query): RawQuery,
) -> Response {
    let question = Question::read(query.as_deref().unwrap_or_default());
    answer(desk.changes(&office, &question, viewer.sees_names).await)
}

/// One change with all there is to know: a page, or with `?part=1` what a list unfolds.
async fn change(
    State(office): State<Arc<Office>>,
    Extension(desk): Extension<Arc<Desk>>,
    Extension(viewer): Extension<Viewer>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    let is_part = query.as_deref() == Some("part=1");
    answer(detail::page(&desk, &office, &id, is_part, viewer.sees_names).await)
}

/// Parts of the page as they change.
async fn watch(
    State(office): State<Arc<Office>>,
    Extension(desk): Extension<Arc<Desk>>,
    Extension(viewer): Extension<Viewer>,
    RawQuery(query): RawQuery,
) -> Response {
    let with_changes = query.as_deref() != Some("selection=1");
    live::stream(&desk, &office, viewer.sees_names, with_changes)
}

fn answer(painted: Result<String, Refusal>) -> Response {
    painted.map_or_else(|refusal| sorry(&refusal), |html| Html(html).into_response())
}

fn sorry(refusal: &Refusal) -> Response {
    let status = match refusal.fault {
        super::Fault::Usage => StatusCode::NOT_FOUND,
        super::Fault::Failure => StatusCode::SERVICE_UNAVAILABLE,
    };
    match paint::sorry(&refusal.message) {
        Ok(html) => (status, Html(html)).into_response(),
        Err(refusal) => (StatusCode::INTERNAL_SERVER_ERROR, refusal.message).into_response(),
    }
}
