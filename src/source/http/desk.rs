//! Takes one request after another: believed, read, journaled, answered.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use hyper::body::{Body as _, Incoming};
use tokio::sync::{Semaphore, watch};
use tokio_util::task::TaskTracker;

use super::answer::Answer;
use super::body::{self, NoBody, Whole};
use super::items::{self, BodyError};
use super::refusals::Refusals;
use super::room::Room;
use super::trace;
use crate::config::plan::{HttpSourcePlan, SigningPlan};
use crate::event::{NewRecord, Timestamp};
use crate::journal::{AppendError, Journal, Push, PushKey, Pushed, SourceId};
use crate::signing;
use crate::source::SourceStatus;
use crate::telemetry::logs::payload;
use crate::telemetry::traces::{Accepting, Tracer};

/// Where pushes go.
const PATH: &str = "/v1/events";

/// How long a push may take from its last byte to its commit: whoever waits longer is told to come again. Flipt
/// up to 1.44 waits for five seconds, and every version holds up its other sinks meanwhile.
const COMMIT_PATIENCE: Duration = Duration::from_secs(2);

/// So many requests are read and committed at the same time.
const MAX_REQUESTS: usize = 64;

/// The memory for bodies, in bodies of the largest size; and at least so many bytes.
const MAX_BODIES: usize = 2;
const LEAST_ROOM_BYTES: usize = 4 << 20;

/// A larger body is read beside the threads that serve connections, in bytes.
const SMALL_BYTES: usize = 64 * 1024;

/// So many records are a matter of microseconds.
const FEW_RECORDS: usize = 64;

/// How long it is said that the journal refused.
const REFUSAL_SHOWN: Duration = Duration::from_secs(10);

/// What every connection of a source shares.
pub(super) struct Desk {
    pub(super) name: String,
    pub(super) plan: HttpSourcePlan,
    instance: String,
    source: SourceId,
    journal: Journal,
    tracer: Tracer,
    status: watch::Sender<SourceStatus>,
    troubles: Mutex<Troubles>,
    refusals: Mutex<Refusals>,
    losses: Mutex<Refusals>,
    slots: Arc<Semaphore>,
    room: Room,
    dismissals: Mutex<Refusals>,
    stopping: AtomicBool,
    /// Requests under way.
    pub(super) under_way: TaskTracker,
}

/// Why it does not go on.
#[derive(Default)]
struct Troubles {
    listening: Option<String>,
    journal: Option<(String, Instant)>,
}

impl Desk {
    pub(super) fn new(source: super::HttpSource, id: SourceId, status: watch::Sender<SourceStatus>) -> Self {
        let room = source.plan.max_body_bytes.saturating_mul(MAX_BODIES).max(LEAST_ROOM_BYTES);
        Self {
            name: source.name,
            plan: source.plan,
            instance: source.instance,
            source: id,
            journal: source.journal,
            tracer: source.tracer,
            status,
            troubles: Mutex::default(),
            refusals: Mutex::default(),
            losses: Mutex::default(),
            slots: Arc::new(Semaphore::new(MAX_REQUESTS)),
            room: Room::new(room),
            dismissals: Mutex::default(),
            stopping: AtomicBool::new(false),
            under_way: TaskTracker::new(),
        }
    }

    /// Takes nothing new from now on.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.under_way.close();
    }

    /// Answers a request; `believed` is called when its client has shown who it is.
    pub(super) async fn answer(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
        believed: impl FnOnce(),
    ) -> Answer {
        let begun = SystemTime::now();
        let (parts, body) = request.into_parts();
        let waits = parts.headers.contains_key(header::EXPECT);
        let refused = match self.admit(&parts, body.size_hint().lower()) {
            Ok(signing) => {
                let _under_way = self.under_way.token();
                return self.take(signing, &parts.headers, body, (peer, begun), believed).await;
            }
            Err(refused) => refused,
        };
        match refused.status {
            StatusCode::UNAUTHORIZED => self.refused(peer, "a wrong token, or none"),
            StatusCode::UNSUPPORTED_MEDIA_TYPE | StatusCode::PAYLOAD_TOO_LARGE => {
                self.lost(peer, &refused.why)
            }
            // What looks around asks by GET.
            StatusCode::NOT_FOUND if parts.method == Method::POST => self.lost(peer, &refused.why),
            _ => {}
        }
        if body.is_end_stream() {
            return refused;
        }
        // Who asks first sends no body then; anybody else reads the answer once the body is sent.
        if !waits {
            body::discard(body, self.plan.max_body_bytes).await;
        }
        refused.closing()
    }

    /// What can be said before a body was read; gives the signatures of which it must carry one.
    fn admit(&self, request: &Parts, announced_bytes: u64) -> Result<&[SigningPlan], Answer> {
        if request.uri.path() != PATH {
            return Err(Answer::error(
                StatusCode::NOT_FOUND,
                "there is nothing here; events go to POST /v1/events",
            ));
        }
        if request.method != Method::POST {
            return Err(Answer::error(StatusCode::METHOD_NOT_ALLOWED, "events are sent by POST"));
        }
        if self.stopping.load(Ordering::Acquire) {
            return Err(Answer::not_now("the relay is stopping").closing());
        }
        let Ok(signing) = &self.plan.signing else {
            return Err(Answer::not_now("the relay lacks the secret by which it would believe this"));
        };
        if let Some(token) = &self.plan.bearer
            && !bearer(&request.headers).is_some_and(|given| signing::is_same(token, given))
        {
            return Err(Answer::error(StatusCode::UNAUTHORIZED, "a wrong token, or none"));
        }
        let encoding = request.headers.get(header::CONTENT_ENCODING);
        if encoding.is_some_and(|encoding| encoding != "identity") {
            return Err(Answer::error(StatusCode::UNSUPPORTED_MEDIA_TYPE, "compressed bodies are not read"));
        }
        if announced_bytes > self.plan.max_body_bytes as u64 {
            return Err(self.too_large());
        }
        Ok(signing)
    }

    async fn take(
        &self,
        signing: &[SigningPlan],
        headers: &HeaderMap,
        body: Incoming,
        (peer, begun): (SocketAddr, SystemTime),
        believed: impl FnOnce(),
    ) -> Answer {
        // A token, or a certificate, is shown before the body; a signature is none before its end.
        let is_stranger = self.plan.bearer.is_none() && self.plan.tls.ca.is_none();
        let share = self.room.share(is_stranger);
        let whole = match body::read(body, self.plan.max_body_bytes, share).await {
            Ok(whole) => whole,
            Err(NoBody::TooLarge) => {
                let large = self.too_large();
                self.lost(peer, &large.why);
                return large.closing();
            }
            Err(NoBody::NoRoom) => {
                self.trouble("too many are sending at once");
                return Answer::not_now("too many others are sending").closing();
            }
            Err(NoBody::Dismissed) => {
                self.dismissed(peer);
                return Answer::not_now("others need the memory that this one held").closing();
            }
            Err(NoBody::Late) => {
                let why = "the body did not come in time";
                self.lost(peer, why);
                return Answer::error(StatusCode::REQUEST_TIMEOUT, why).closing();
            }
            Err(NoBody::Broken) => {
                return Answer::error(StatusCode::BAD_REQUEST, "the body did not come whole").closing();
            }
        };
        if !signing.is_empty() {
            let header = |name: &str| headers.get(name).map(|value| value.as_bytes());
            if let Err(why) = signing::verify(signing, Timestamp::now(), &header, &whole.bytes) {
                self.refused(peer, &why.to_string());
                return Answer::error(StatusCode::UNAUTHORIZED, &why.to_string());
            }
        }
        believed();
        let deadline = tokio::time::Instant::now() + COMMIT_PATIENCE;
        let Ok(Ok(slot)) = tokio::time::timeout_at(deadline, Arc::clone(&self.slots).acquire_owned()).await
        else {
            return Answer::not_now("too many others are being taken");
        };
        let key = request_name(headers).map(|name| PushKey::new(name, &whole.bytes));
        let Whole { bytes, room } = whole;
        let mut records = match self.read(bytes).await {
            Ok(records) => records,
            Err(error) => {
                let status = match error {
                    BodyError::TooMany => StatusCode::PAYLOAD_TOO_LARGE,
                    _ => StatusCode::BAD_REQUEST,
                };
                let why = error.to_string();
                self.lost(peer, &why);
                return Answer::error(status, &why);
            }
        };
        if records.is_empty() {
            return Answer::accepted(&[]);
        }
        if let Some(trace) = trace::read(headers) {
            for record in records.iter_mut().filter(|record| record.trace.is_none()) {
                record.trace = Some(trace.clone());
            }
        }
        let (accepting, records) = self.begin_traces(begun, records).await;
        payload::taken(&self.name, &records);
        let push = Push { source: self.source, records, key };
        let journal = self.journal.clone();
        // It goes on when nobody waits any more, and holds its share of memory until then.
        let pushed = tokio::spawn(async move {
            let mut pushed = journal.push(push).await;
            if let Ok(pushed) = &mut pushed
                && !pushed.is_repeated
            {
                let placed = std::mem::take(&mut pushed.placed);
                match placed.len() {
                    0..=FEW_RECORDS => accepting.placed(&placed),
                    // Nobody waits for it.
                    _ => drop(tokio::task::spawn_blocking(move || accepting.placed(&placed))),
                }
            }
            drop((slot, room));
            pushed
        });
        match tokio::time::timeout_at(deadline, pushed).await {
            Ok(Ok(Ok(pushed))) => self.pushed(&pushed),
            Ok(Ok(Err(error))) => self.not_pushed(&error),
            Ok(Err(_)) => Answer::not_now("it could not be taken"),
            Err(_) => {
                self.trouble("the journal takes more than 2 s to commit");
                Answer::not_now(
                    "it is not on disk within 2 s, and may still come there: do not be surprised to find it twice",
                )
            }
        }
    }

    /// Many records are read once more for this: not where everything else runs.
    async fn begin_traces(
        &self,
        begun: SystemTime,
        mut records: Vec<NewRecord>,
    ) -> (Accepting, Vec<NewRecord>) {
        if records.len() <= FEW_RECORDS || !self.tracer.is_on() {
            return (self.tracer.accept(&self.name, begun, &mut records), records);
        }
        let (tracer, name) = (self.tracer.clone(), self.name.clone());
        let accepted = tokio::task::spawn_blocking(move || {
            let accepting = tracer.accept(&name, begun, &mut records);
            (accepting, records)
        });
        accepted.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    }

    async fn read(&self, bytes: Vec<u8>) -> Result<Vec<NewRecord>, BodyError> {
        if bytes.len() <= SMALL_BYTES {
            return items::read(&bytes, &self.instance);
        }
        let instance = self.instance.clone();
        let read = tokio::task::spawn_blocking(move || items::read(&bytes, &instance)).await;
        read.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    }

    fn pushed(&self, pushed: &Pushed) -> Answer {
        self.troubles().journal = None;
        let stalled = self.stalled();
        self.status.send_modify(|status| {
            status.stalled = stalled;
            if pushed.accepted > 0 {
                status.records += pushed.accepted;
                status.last_record_at = Some(Timestamp::now());
            }
        });
        Answer::accepted(&pushed.ids)
    }

    fn not_pushed(&self, error: &AppendError) -> Answer {
        self.trouble(&error.to_string());
        Answer::not_now(&error.to_string())
    }

    fn too_large(&self) -> Answer {
        let why = format!("the body is larger than {} bytes (`max_body`)", self.plan.max_body_bytes);
        Answer::error(StatusCode::PAYLOAD_TOO_LARGE, &why)
    }

    // === telling ===

    /// Flipt takes a push that is refused for delivered: nobody else will tell.
    fn refused(&self, peer: SocketAddr, why: &str) {
        self.status.send_modify(|status| status.refused += 1);
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = refusals.count(Instant::now()) {
            tracing::error!(
                source = self.name,
                %peer,
                count,
                refused = self.status.borrow().refused,
                "pushes are refused and, where Flipt sent them, lost: {why}"
            );
        }
    }

    /// Flipt takes a push that is too large, or cannot be read, for delivered, too.
    fn lost(&self, peer: SocketAddr, why: &str) {
        self.status.send_modify(|status| status.untaken += 1);
        let mut losses = self.losses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = losses.count(Instant::now()) {
            tracing::error!(
                source = self.name,
                %peer,
                count,
                untaken = self.status.borrow().untaken,
                "pushes could not be taken and, where Flipt sent them, are lost: {why}"
            );
        }
    }

    /// One that is slow had to make room. It is told to come again.
    fn dismissed(&self, peer: SocketAddr) {
        let mut dismissals = self.dismissals.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = dismissals.count(Instant::now()) {
            tracing::warn!(
                source = self.name,
                %peer,
                count,
                "pushes that came slowly, by nobody known, were answered 503: others needed the memory"
            );
        }
    }

    fn troubles(&self) -> std::sync::MutexGuard<'_, Troubles> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stalled(&self) -> Option<String> {
        let troubles = self.troubles();
        let secret = self.plan.signing.as_ref().err().cloned();
        let journal = troubles.journal.as_ref().map(|(why, _)| why.clone());
        troubles.listening.clone().or(secret).or(journal)
    }

    fn trouble(&self, why: &str) {
        let before = self.troubles().journal.replace((why.to_owned(), Instant::now()));
        if before.is_none_or(|(before, _)| before != why) {
            tracing::error!(source = self.name, "pushes are answered 503: {why}");
        }
        self.publish();
    }

    /// Forgets what is not so any more: nobody pushes to a relay that seems not to go on.
    pub(super) fn look_again(&self) {
        let mut troubles = self.troubles();
        let is_over = troubles.journal.as_ref().is_some_and(|(_, since)| since.elapsed() >= REFUSAL_SHOWN);
        if is_over {
            troubles.journal = None;
            drop(troubles);
            self.publish();
        }
    }

    fn publish(&self) {
        let stalled = self.stalled();
        self.status.send_modify(|status| status.stalled = stalled);
    }

    /// It listens there, or does not for this reason.
    pub(super) fn listens(&self, at: Result<SocketAddr, String>) {
        self.troubles().listening = at.as_ref().err().cloned();
        let stalled = self.stalled();
        self.status.send_modify(|status| {
            status.listening = at.ok();
            status.stalled = stalled;
            (status.looked, status.caught_up) = (true, true);
        });
    }
}

/// The token of `Authorization: Bearer …`.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

/// What the client calls its request, the same in each repetition.
fn request_name(headers: &HeaderMap) -> Option<&[u8]> {
    let named = |name| headers.get(name).map(|value| value.as_bytes()).filter(|name| !name.is_empty());
    named("webhook-id").or_else(|| named("idempotency-key"))
}
