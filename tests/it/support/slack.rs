//! A Slack of our own: an incoming webhook and the few methods of the Web API that post messages, with Slack's
//! limits and Slack's words.
//!
//! Facts are from docs.slack.dev: the rate limits of messages, the errors of incoming webhooks, and
//! `chat.postMessage`. `.ci/judges/clients.py` has Slack's own library speak to it.

mod limits;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Received, Receiver, Reply};
pub use limits::{harm, malformed};

/// The path of the webhook: all of it is the credential.
pub const WEBHOOK: &str = "/services/T00000001/B00000002/PLANTED-webhook-path";
/// The token of the bot.
pub const TOKEN: &str = "xoxb-PLANTED-token";
/// The channel, by its id; it may be named `#flag-changes`, too.
pub const CHANNEL: &str = "C0000000003";
/// One message per second and channel (<https://docs.slack.dev/apis/web-api/rate-limits>).
const PAUSE: Duration = Duration::from_secs(1);

/// How it is disposed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mood {
    /// It takes what is right.
    Well,
    /// The channel is archived.
    Archived,
    /// The webhook is removed, the token revoked.
    Revoked,
    /// Status 200, and this body instead of what says that all is well.
    Odd(String),
    /// `"ok": false` with this error; a webhook says the word with status 400.
    Refuses(&'static str),
    /// The limit is hit, whatever came before; this many seconds are to be waited.
    Limited(u32),
    /// Status 500 for everything.
    Storm,
    /// Never an answer.
    Hangs,
}

/// A message that it took.
#[derive(Debug, Clone)]
pub struct Message {
    /// When it came.
    pub at: Instant,
    pub body: Value,
}

impl Message {
    /// All that it says to people: the notification, and the text of every block.
    pub fn said(&self) -> String {
        let mut all = Vec::new();
        limits::texts(&self.body, &mut all);
        all.join("\n")
    }

    /// The text of the notification.
    pub fn text(&self) -> &str {
        self.body["text"].as_str().unwrap_or_default()
    }
}

struct State {
    mood: Mood,
    /// Later answers are those of `mood`, once these are used up.
    next: Vec<Mood>,
    last: Option<Instant>,
    messages: Vec<Message>,
    limited: Vec<Instant>,
    harms: Vec<String>,
}

type Watch = dyn Fn(&Received) + Send + Sync;

/// The fake; ends with the test, and fails it if something came that could ping or spoof.
pub struct FakeSlack {
    receiver: Receiver,
    state: Arc<Mutex<State>>,
}

/// What came to it.
impl std::ops::Deref for FakeSlack {
    type Target = Receiver;

    fn deref(&self) -> &Receiver {
        &self.receiver
    }
}

impl FakeSlack {
    pub fn start() -> Self {
        Self::watched(|_| {})
    }

    /// Has every request seen by `watch` at the moment it arrives, before the answer.
    pub fn watched(watch: impl Fn(&Received) + Send + Sync + 'static) -> Self {
        let state = Arc::new(Mutex::new(State {
            mood: Mood::Well,
            next: Vec::new(),
            last: None,
            messages: Vec::new(),
            limited: Vec::new(),
            harms: Vec::new(),
        }));
        let shared = Arc::clone(&state);
        let watch: Box<Watch> = Box::new(watch);
        let receiver = Receiver::scripted(move |_, request| {
            watch(request);
            answer(&mut shared.lock().unwrap(), request)
        });
        Self { receiver, state }
    }

    /// The address of the incoming webhook.
    pub fn webhook_url(&self) -> String {
        self.url(WEBHOOK)
    }

    /// The address of the Web API.
    pub fn api_url(&self) -> String {
        self.url("/api/")
    }

    pub fn set(&self, mood: Mood) {
        self.state.lock().unwrap().mood = mood;
    }

    /// Has the next request answered so, once; called again, the one after it.
    pub fn next(&self, mood: Mood) {
        self.state.lock().unwrap().next.push(mood);
    }

    /// What it took, in order.
    pub fn messages(&self) -> Vec<Message> {
        self.state.lock().unwrap().messages.clone()
    }

    /// When it answered that there was too much.
    pub fn limited(&self) -> Vec<Instant> {
        self.state.lock().unwrap().limited.clone()
    }

    /// Waits for so many messages, and gives all there are then.
    pub fn wait_for_messages(&self, count: usize) -> Vec<Message> {
        self.wait_until(&format!("{count} messages"), |_| self.messages().len() >= count);
        self.messages()
    }

    /// What could have pinged or spoofed.
    pub fn harms(&self) -> Vec<String> {
        self.state.lock().unwrap().harms.clone()
    }
}

impl Drop for FakeSlack {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let harms = self.harms();
            assert!(harms.is_empty(), "Slack was sent what can ping or spoof: {harms:#?}");
        }
    }
}

/// The two ways in, which say the same differently.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Door {
    Webhook,
    WebApi,
}

fn answer(state: &mut State, request: &Received) -> Reply {
    let mood = if state.next.is_empty() { state.mood.clone() } else { state.next.remove(0) };
    let door = match request.path.as_str() {
        path if path.starts_with("/services/") => Door::Webhook,
        path if path.starts_with("/api/") => Door::WebApi,
        _ => return plain(404, "no_such_page"),
    };
    match mood {
        Mood::Hangs => return Reply::Hang,
        Mood::Storm => return plain(500, "server_error"),
        Mood::Odd(body) => return Reply::Answer(200, vec![("content-type", "text/html".to_owned())], body),
        Mood::Limited(seconds) => return limited(state, request, door, seconds),
        _ => {}
    }
    match door {
        Door::Webhook => webhook(state, request, &mood),
        Door::WebApi => web_api(state, request, &mood),
    }
}

fn webhook(state: &mut State, request: &Received, mood: &Mood) -> Reply {
    let refusal = match (mood, request.path.as_str()) {
        (Mood::Revoked, _) => Some((404, "no_service")),
        (_, path) if path != WEBHOOK => Some((403, "invalid_token")),
        (Mood::Archived, _) => Some((410, "channel_is_archived")),
        (Mood::Refuses(word), _) => Some((400, *word)),
        _ if request.method != "POST" => Some((400, "invalid_payload")),
        _ => None,
    };
    if let Some((status, word)) = refusal {
        return plain(status, word);
    }
    match post(state, request, Door::Webhook) {
        Ok(_) => plain(200, "ok"),
        Err(reply) => reply,
    }
}

fn web_api(state: &mut State, request: &Received, mood: &Mood) -> Reply {
    let authorization = request.header("authorization").unwrap_or_default();
    let refusal = match (mood, authorization.strip_prefix("Bearer ")) {
        (_, None) => Some("not_authed"),
        (Mood::Revoked, Some(TOKEN)) => Some("token_revoked"),
        (_, Some(token)) if token != TOKEN => Some("invalid_auth"),
        (Mood::Refuses(word), _) => Some(*word),
        _ => None,
    };
    if let Some(word) = refusal {
        return not_ok(word);
    }
    let is_post = match request.path.as_str() {
        "/api/auth.test" => {
            return well(json!({"url": "https://example.slack.com/", "team": "Example", "user": "flipt",
                "team_id": "T00000001", "user_id": "U00000004", "bot_id": "B00000002"}));
        }
        "/api/chat.postMessage" => true,
        "/api/chat.update" => false,
        _ => return not_ok("unknown_method"),
    };
    let body = request.json();
    if !is_json(request) || !body.is_object() {
        return not_ok(if is_json(request) { "invalid_json" } else { "invalid_form_data" });
    }
    match body["channel"].as_str() {
        Some(CHANNEL | "#flag-changes" | "flag-changes") => {}
        Some(_) => return not_ok("channel_not_found"),
        None => return not_ok("invalid_arguments"),
    }
    if *mood == Mood::Archived {
        return not_ok("is_archived");
    }
    let known = body["ts"].as_str().and_then(|ts| state.messages.iter().position(|old| old.body["ts"] == ts));
    if !is_post && known.is_none() {
        return not_ok("message_not_found");
    }
    let mut ts = match post(state, request, Door::WebApi) {
        Ok(ts) => ts,
        Err(reply) => return reply,
    };
    // An update stands in the place of what it updates.
    if let Some(place) = known {
        let mut newest = state.messages.pop().unwrap();
        newest.body["ts"] = body["ts"].clone();
        ts = body["ts"].as_str().unwrap_or_default().to_owned();
        state.messages[place] = newest;
    }
    let mut told = json!({"channel": CHANNEL, "ts": ts, "message": {"type": "message", "subtype": "bot_message",
        "text": body["text"], "ts": ts, "bot_id": "B00000002", "blocks": body["blocks"]}});
    // Said of JSON whose character set is not named.
    if !request.header("content-type").unwrap_or_default().contains("charset") {
        told["warning"] = "missing_charset".into();
        told["response_metadata"] = json!({"warnings": ["missing_charset"]});
    }
    well(told)
}

/// Takes a message, or says why not; gives its `ts`.
fn post(state: &mut State, request: &Received, door: Door) -> Result<String, Reply> {
    let refuse = |word| match door {
        Door::Webhook => plain(400, word),
        Door::WebApi => not_ok(word),
    };
    let mut body: Value = serde_json::from_slice(&request.body).map_err(|_| refuse("invalid_payload"))?;
    if let Some(word) = malformed(&body) {
        return Err(refuse(word));
    }
    if state.last.is_some_and(|last| request.at.duration_since(last) < PAUSE) {
        return Err(limited(state, request, door, 1));
    }
    state.harms.extend(harm(&body));
    state.last = Some(request.at);
    let ts = format!("{}.{:06}", 1_795_356_842 + state.messages.len(), state.messages.len());
    body["ts"] = ts.clone().into();
    state.messages.push(Message { at: request.at, body });
    Ok(ts)
}

fn limited(state: &mut State, request: &Received, door: Door, seconds: u32) -> Reply {
    state.limited.push(request.at);
    let (kind, body) = match door {
        Door::Webhook => ("text/plain; charset=utf-8", "rate_limited".to_owned()),
        Door::WebApi => (JSON, json!({"ok": false, "error": "ratelimited"}).to_string()),
    };
    let headers = vec![("content-type", kind.to_owned()), ("retry-after", seconds.to_string())];
    Reply::Answer(429, headers, body)
}

const JSON: &str = "application/json; charset=utf-8";

fn is_json(request: &Received) -> bool {
    request.header("content-type").is_some_and(|kind| kind.starts_with("application/json"))
}

fn plain(status: u16, word: &str) -> Reply {
    Reply::Answer(status, vec![("content-type", "text/plain; charset=utf-8".to_owned())], word.to_owned())
}

fn well(mut told: Value) -> Reply {
    told["ok"] = true.into();
    Reply::Answer(200, vec![("content-type", JSON.to_owned())], told.to_string())
}

/// Failures of the Web API have status 200.
fn not_ok(word: &str) -> Reply {
    let body = json!({"ok": false, "error": word}).to_string();
    Reply::Answer(200, vec![("content-type", JSON.to_owned())], body)
}
