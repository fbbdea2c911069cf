//! Parts of the page as they change, by server-sent events
//! (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).
//!
//! While somebody watches, one task looks once a second whether anything is other than before, and paints it once
//! for all who watch; while nobody does, there is no such task.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::{StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::WatchStream;

use super::desk::Desk;
use super::paint::{self, PARTS};
use super::question::Question;
use crate::admin::{ConfigurationReport, Finding, Office, Refusal};
use crate::delivery::LaneStatus;
use crate::event::Sequence;
use crate::source::SourceStatus;

/// Pages that watch at the same time.
const MAX_STREAMS: usize = 32;

/// How often it is looked at most.
const EVERY: Duration = Duration::from_secs(1);

/// Where nothing happens the clock goes on.
const AT_LEAST_EVERY: Duration = Duration::from_secs(15);

/// How soon a browser comes back.
const RETRY: Duration = Duration::from_secs(3);

/// The name of the list of changes among the parts.
const CHANGES: &str = "changes";

type Frames = watch::Sender<Option<Arc<Frame>>>;

/// What those see who watch.
pub(super) struct Live {
    /// For those who see no names of people, and for those who do.
    frames: [Mutex<Option<Frames>>; 2],
    room: Arc<Semaphore>,
}

impl Default for Live {
    fn default() -> Self {
        Self { frames: Default::default(), room: Arc::new(Semaphore::new(MAX_STREAMS)) }
    }
}

/// The page at one moment.
struct Frame {
    parts: Vec<(&'static str, Arc<str>)>,
}

/// What a page is made from, as far as it can be seen without asking the journal.
#[derive(PartialEq)]
struct Sight {
    latest: Sequence,
    lanes: Vec<(String, LaneStatus)>,
    sources: Vec<(String, SourceStatus)>,
    findings: Vec<Finding>,
    configuration: ConfigurationReport,
}

impl Sight {
    fn of(office: &Office) -> Self {
        let standing = office.standing();
        let lanes = standing.lanes.iter();
        let sources = standing.sources.iter();
        Self {
            latest: *office.journal().latest().borrow(),
            lanes: lanes.map(|(name, lane)| (name.clone(), lane.status.borrow().clone())).collect(),
            sources: sources.map(|(name, status)| (name.clone(), status.borrow().clone())).collect(),
            findings: office.findings(),
            configuration: standing.configuration.clone(),
        }
    }
}

/// The answer to one who watches; `with_changes`: the list of all changes is sent along, else only that it is
/// another.
pub(super) fn stream(
    desk: &Arc<Desk>,
    office: &Arc<Office>,
    sees_names: bool,
    with_changes: bool,
) -> Response {
    let Ok(room) = Arc::clone(&desk.live.room).try_acquire_owned() else {
        let later = [(header::RETRY_AFTER, "30")];
        return (StatusCode::SERVICE_UNAVAILABLE, later, "too many pages are watched\n").into_response();
    };
    let frames = WatchStream::new(watch(desk, office, sees_names));
    let admin = office.plan().admin.clone();
    let office = Arc::clone(office);
    // Who may look is asked anew under another configuration.
    let frames = frames.take_while(move |_| office.plan().admin == admin);
    let mut shown: Option<Arc<Frame>> = None;
    let events = frames.filter_map(move |frame| {
        let _ = &room;
        let frame = frame?;
        let data = frame.since(shown.as_deref(), with_changes);
        shown = Some(frame);
        Some(Ok::<_, Infallible>(Event::default().event("parts").retry(RETRY).data(data)))
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(AT_LEAST_EVERY)).into_response()
}

impl Frame {
    /// What is new in it, as JSON on one line.
    fn since(&self, before: Option<&Self>, with_changes: bool) -> String {
        let mut parts = serde_json::Map::new();
        for (index, (name, html)) in self.parts.iter().enumerate() {
            let is_same = |before: &Self| before.parts.get(index).is_some_and(|(_, shown)| shown == html);
            if before.is_some_and(is_same) {
                continue;
            }
            let value = if *name == CHANGES && !with_changes { true.into() } else { html.to_string().into() };
            parts.insert((*name).to_owned(), value);
        }
        serde_json::Value::Object(parts).to_string()
    }
}

/// Watches with all others, and begins to look where nobody did.
fn watch(desk: &Arc<Desk>, office: &Arc<Office>, sees_names: bool) -> watch::Receiver<Option<Arc<Frame>>> {
    let mut slot = desk.live.slot(sees_names).lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(frames) = &*slot {
        return frames.subscribe();
    }
    let (frames, watching) = watch::channel(None);
    *slot = Some(frames.clone());
    tokio::spawn(look(Arc::clone(desk), Arc::clone(office), sees_names, frames));
    watching
}

impl Live {
    fn slot(&self, sees_names: bool) -> &Mutex<Option<Frames>> {
        &self.frames[usize::from(sees_names)]
    }

    /// Whether nobody watches any more; then the next one begins anew.
    fn is_over(&self, sees_names: bool, frames: &Frames) -> bool {
        let mut slot = self.slot(sees_names).lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = frames.receiver_count() == 0;
        if is_over {
            *slot = None;
        }
        is_over
    }
}

async fn look(desk: Arc<Desk>, office: Arc<Office>, sees_names: bool, frames: Frames) {
    let mut seen: Option<(Sight, Instant)> = None;
    let mut listed: Arc<str> = Arc::from("");
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if desk.live.is_over(sees_names, &frames) {
            return;
        }
        let sight = Sight::of(&office);
        let is_other = seen.as_ref().is_none_or(|(seen, _)| *seen != sight);
        if !is_other && seen.as_ref().is_some_and(|(_, at)| at.elapsed() < AT_LEAST_EVERY) {
            continue;
        }
        match frame(&desk, &office, sees_names, is_other, &mut listed).await {
            Ok(frame) => {
                frames.send_replace(Some(Arc::new(frame)));
                seen = Some((sight, Instant::now()));
            }
            Err(refusal) => tracing::debug!(error = refusal.message, "the page could not be made anew"),
        }
    }
}

async fn frame(
    desk: &Desk,
    office: &Office,
    sees_names: bool,
    is_other: bool,
    listed: &mut Arc<str>,
) -> Result<Frame, Refusal> {
    if is_other {
        *listed = desk.changes(office, &Question::default(), sees_names).await?.into();
    }
    let status = desk.status(office, sees_names).await?;
    let mut parts = Vec::with_capacity(PARTS.len() + 1);
    for name in PARTS {
        parts.push((name, paint::part(name, &status)?.into()));
    }
    parts.push((CHANGES, Arc::clone(listed)));
    Ok(Frame { parts })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(head: &str, changes: &str) -> Frame {
        Frame { parts: vec![("head", head.into()), (CHANGES, changes.into())] }
    }

    #[test]
    fn only_what_is_new_is_sent() {
        let (first, second) = (of("a\r\n", "1"), of("a\r\n", "2"));
        assert_eq!(first.since(None, true), r#"{"changes":"1","head":"a\r\n"}"#, "all on one line");
        assert_eq!(second.since(Some(&first), true), r#"{"changes":"2"}"#);
        assert_eq!(second.since(Some(&first), false), r#"{"changes":true}"#);
        assert_eq!(second.since(Some(&second), true), "{}");
    }
}
