//! A Datadog of our own: both versions of the events API, with the limits of its specification and the answers
//! that Datadog was recorded to give (`tests/schemas/datadog`, from Datadog's own client).
//!
//! `.ci/judges/clients.py` has that client speak to it.

mod limits;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use audit_relay::event::Timestamp;
use serde_json::{Value, json};

use super::{Received, Receiver, Reply};
pub use limits::{Fault, Version, fault};

/// The API key.
pub const API_KEY: &str = "PLANTED0api0key0of0datadog000000";
/// The application key.
pub const APP_KEY: &str = "PLANTED0application0key0of0datadog000000";
/// Datadog says of its intake: 413 beyond 5 MB.
const MAX_BODY: usize = 5_000_000;
/// The recorded identity of an event.
const UID: &str = "AZsKLCxvAACrUQTfNDwMWwAA";

/// How it is disposed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mood {
    /// It takes what is right.
    Well,
    /// This status for everything, such as 500.
    Storm(u16),
    /// 413 for everything.
    TooLarge,
    /// 400 with this detail for everything.
    Refuses(&'static str),
    /// Never an answer.
    Hangs,
}

/// An event that it took.
#[derive(Debug, Clone)]
pub struct Taken {
    /// When it came.
    pub at: Instant,
    pub version: Version,
    pub body: Value,
}

impl Taken {
    /// What API v2 calls so: `title`, `tags`, `attributes`, …
    pub fn attribute(&self, name: &str) -> &Value {
        &self.body["data"]["attributes"][name]
    }

    /// The title, of either version.
    pub fn title(&self) -> &str {
        let title = match self.version {
            Version::V1 => &self.body["title"],
            Version::V2 => self.attribute("title"),
        };
        title.as_str().unwrap_or_default()
    }

    /// Its own time, of either version; `None`: that of its arrival.
    pub fn time(&self) -> Option<Timestamp> {
        limits::time(self.version, &self.body)
    }

    /// The strings under this name, wherever it stands.
    pub fn all(&self, name: &str) -> Vec<String> {
        let mut found = Vec::new();
        limits::strings(&self.body, name, &mut found);
        found
    }
}

struct State {
    mood: Mood,
    api_key: String,
    wants_app_key: bool,
    limit: Option<Limit>,
    taken: Vec<Taken>,
    refused: Vec<(Value, String)>,
}

/// So many events in a while.
struct Limit {
    events: u32,
    period: Duration,
    window: Option<(Instant, u32)>,
}

impl Limit {
    /// What is left of the window after this one, or how many seconds to wait.
    fn take(&mut self, now: Instant) -> Result<u32, u64> {
        let (begun, used) = match self.window {
            Some((begun, used)) if now.duration_since(begun) < self.period => (begun, used),
            _ => (now, 0),
        };
        if used == self.events {
            let left = self.period.saturating_sub(now.duration_since(begun));
            return Err(left.as_secs() + u64::from(left.subsec_nanos() > 0));
        }
        self.window = Some((begun, used + 1));
        Ok(self.events - used - 1)
    }
}

/// The fake; ends with the test.
pub struct FakeDatadog {
    receiver: Receiver,
    state: Arc<Mutex<State>>,
}

/// What came to it.
impl std::ops::Deref for FakeDatadog {
    type Target = Receiver;

    fn deref(&self) -> &Receiver {
        &self.receiver
    }
}

impl FakeDatadog {
    pub fn start() -> Self {
        let state = Arc::new(Mutex::new(State {
            mood: Mood::Well,
            api_key: API_KEY.to_owned(),
            wants_app_key: false,
            limit: None,
            taken: Vec::new(),
            refused: Vec::new(),
        }));
        let shared = Arc::clone(&state);
        let receiver = Receiver::scripted(move |_, request| answer(&mut shared.lock().unwrap(), request));
        Self { receiver, state }
    }

    /// What `endpoint` says in the configuration.
    pub fn endpoint(&self) -> String {
        self.url("/").trim_end_matches('/').to_owned()
    }

    pub fn set(&self, mood: Mood) {
        self.state.lock().unwrap().mood = mood;
    }

    /// Takes this API key from now on, and no other.
    pub fn set_api_key(&self, key: &str) {
        key.clone_into(&mut self.state.lock().unwrap().api_key);
    }

    /// Demands the application key with API v2, as its specification does, or does not.
    pub fn set_wants_app_key(&self, wants: bool) {
        self.state.lock().unwrap().wants_app_key = wants;
    }

    /// Takes so many events in a while from now on.
    pub fn set_limit(&self, events: u32, period: Duration) {
        self.state.lock().unwrap().limit = Some(Limit { events, period, window: None });
    }

    /// What it took, in order.
    pub fn taken(&self) -> Vec<Taken> {
        self.state.lock().unwrap().taken.clone()
    }

    /// What was wrong in itself, and how.
    pub fn refused(&self) -> Vec<(Value, String)> {
        self.state.lock().unwrap().refused.clone()
    }

    /// Waits for so many events, and gives all there are then.
    pub fn wait_for_events(&self, count: usize) -> Vec<Taken> {
        self.wait_until(&format!("{count} events"), |_| self.taken().len() >= count);
        self.taken()
    }
}

fn answer(state: &mut State, request: &Received) -> Reply {
    let version = match (request.method.as_str(), request.path.as_str()) {
        ("POST", "/api/v1/events") => Version::V1,
        ("POST", "/api/v2/events") => Version::V2,
        _ => return Reply::Answer(404, json_type(), json!({"errors": ["Not found"]}).to_string()),
    };
    match state.mood {
        Mood::Hangs => return Reply::Hang,
        Mood::Storm(status) => return refusal(version, status, "Internal Server Error", "try again later"),
        Mood::TooLarge => return too_large(version),
        Mood::Refuses(detail) => return refusal(version, 400, "Bad Request", detail),
        Mood::Well => {}
    }
    let is_right = |name: &str, right: &str| request.header(name) == Some(right);
    let has_app_key = request.header("dd-application-key").is_some();
    let app_key_fits = match (state.wants_app_key && version == Version::V2, has_app_key) {
        (false, false) => true,
        _ => is_right("dd-application-key", APP_KEY),
    };
    if !is_right("dd-api-key", &state.api_key) || !app_key_fits {
        return refusal(version, 403, "Forbidden", "Forbidden");
    }
    if request.body.len() > MAX_BODY {
        return too_large(version);
    }
    let limited = state.limit.as_mut().map(|limit| (limit.take(request.at), limit.events, limit.period));
    let mut headers = json_type();
    if let Some((left, events, period)) = limited {
        let reset = left.err().unwrap_or(period.as_secs());
        headers.extend([
            ("x-ratelimit-limit", events.to_string()),
            ("x-ratelimit-period", period.as_secs().to_string()),
            ("x-ratelimit-remaining", left.unwrap_or(0).to_string()),
            ("x-ratelimit-reset", reset.to_string()),
            ("x-ratelimit-name", "event_creation".to_owned()),
        ]);
        if left.is_err() {
            // Strings, of either version.
            let body = json!({"errors": ["Too many requests"]}).to_string();
            return Reply::Answer(429, headers, body);
        }
    }
    let body = match serde_json::from_slice::<Value>(&request.body) {
        Ok(body) if request.header("content-type").is_some_and(|kind| kind.contains("json")) => body,
        _ => return refusal(version, 400, "Bad Request", "Payload is not in the expected format"),
    };
    if let Some(Fault(detail)) = fault(version, &body, Some(Timestamp::now())) {
        state.refused.push((body, detail.clone()));
        return refusal(version, 400, "Bad Request", &detail);
    }
    let told = accepted(version, &body, state.taken.len());
    state.taken.push(Taken { at: request.at, version, body });
    Reply::Answer(202, headers, told.to_string())
}

/// As recorded.
fn accepted(version: Version, body: &Value, number: usize) -> Value {
    match version {
        Version::V1 => {
            let id = 6_327_818_702_635_911_562_u64 + number as u64;
            let url = format!("https://app.datadoghq.com/event/event?id={id}");
            // Whoever reads the number has lost its last digits.
            json!({"status": "ok", "event": {"id": id / 1_000 * 1_000, "id_str": id.to_string(),
                "title": body["title"], "text": body["text"], "date_happened": body["date_happened"].as_i64()
                    .unwrap_or_else(|| Timestamp::now().unix_micros() / 1_000_000),
                "handle": null, "priority": body["priority"], "related_event_id": null,
                "tags": body["tags"], "url": url}})
        }
        Version::V2 => {
            let url = format!("https://app.datadoghq.com/event/event?uid={UID}");
            let id = (8_407_723_285_051_133_019_u64 + number as u64).to_string();
            json!({"data": {"attributes": {"attributes": {"evt": {"id": id, "uid": UID}}}, "id": "_",
                "type": "event"}, "links": {"self": url}})
        }
    }
}

/// Version 1 says JSON with the content type of text, and bare strings; version 2 says objects of JSON:API.
fn refusal(version: Version, status: u16, title: &str, detail: &str) -> Reply {
    match version {
        Version::V1 => {
            let kind = vec![("content-type", "text/plain; charset=utf-8".to_owned())];
            Reply::Answer(status, kind, json!({"errors": [detail]}).to_string())
        }
        Version::V2 => {
            let errors =
                json!({"errors": [{"status": status.to_string(), "title": title, "detail": detail}]});
            Reply::Answer(status, json_type(), errors.to_string())
        }
    }
}

fn too_large(version: Version) -> Reply {
    refusal(version, 413, "Payload Too Large", "the payload is too large")
}

fn json_type() -> Vec<(&'static str, String)> {
    vec![("content-type", "application/json".to_owned())]
}
