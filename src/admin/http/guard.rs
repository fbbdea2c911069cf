//! Who may ask.
//!
//! Without `admin.token` the admin listener answers on loopback alone, under names that a foreign page cannot have
//! had resolved to this machine (DNS rebinding), and keeps back the names of people: everything on this machine,
//! and every container of the pod, can reach it. With a token only those who give it are answered, and told all;
//! under whatever name, since nobody gets past without it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use url::Url;

use super::login;
use super::serving::Called;
use crate::admin::Office;
use crate::config::plan::AdminPlan;
use crate::config::secret::Secret;

/// How long a wrong token waits for its answer.
const SLOWED: Duration = Duration::from_secs(1);

/// So many wrong tokens of one address wait at the same time; more are not even looked at.
const MAX_WRONG: usize = 4;

/// What every answer says: nothing from elsewhere, in nobody's frame, kept by nobody. `same-origin` rather than
/// `no-referrer`: with that a browser would send the login form with `Origin: null`
/// (<https://fetch.spec.whatwg.org/#append-a-request-origin-header>).
const HEADERS: [(header::HeaderName, &str); 4] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'; object-src 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "same-origin"),
    (header::CACHE_CONTROL, "no-store"),
];

/// Who looks: an extension of every request that reaches a route of the admin listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Viewer {
    /// Whether the token was given. Names of people are for those only.
    pub sees_names: bool,
}

/// The guard of the admin listener.
pub(super) struct Guard {
    office: Arc<Office>,
    /// Wrong tokens that wait for their answer, by who sent them.
    wrong: Mutex<BTreeMap<IpAddr, usize>>,
}

impl Guard {
    pub(super) fn of(office: Arc<Office>) -> Arc<Self> {
        Arc::new(Self { office, wrong: Mutex::default() })
    }

    /// Whether this is the token. A wrong one is told so slowly; `None`: there were too many wrong ones just now.
    pub(super) async fn is_right(&self, peer: IpAddr, token: &Secret, given: &str) -> Option<bool> {
        let attempt = Attempt::begin(self, peer)?;
        let is_right = !token.expose().is_empty() && proof(token).verify_slice(&digest(given)).is_ok();
        if !is_right {
            tokio::time::sleep(SLOWED).await;
        }
        drop(attempt);
        Some(is_right)
    }
}

/// A token that is being looked at.
struct Attempt<'a> {
    guard: &'a Guard,
    peer: IpAddr,
}

impl<'a> Attempt<'a> {
    fn begin(guard: &'a Guard, peer: IpAddr) -> Option<Self> {
        let mut wrong = guard.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        let count = wrong.entry(peer).or_default();
        if *count >= MAX_WRONG {
            return None;
        }
        *count += 1;
        Some(Self { guard, peer })
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let mut wrong = self.guard.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = wrong.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                wrong.remove(&self.peer);
            }
        }
    }
}

/// What only those know who know the token, and what does not tell it. Another token has another.
pub(super) fn proof(token: &Secret) -> Hmac<Sha256> {
    keyed(token.expose())
}

fn keyed(token: &str) -> Hmac<Sha256> {
    let mac = Hmac::<Sha256>::new_from_slice(token.as_bytes()).expect("HMAC takes keys of any length");
    mac.chain_update(b"audit-relay: a session at the admin listener")
}

fn digest(given: &str) -> [u8; 32] {
    keyed(given).finalize().into_bytes().into()
}

/// Refuses what would change something, and says how answers are to be treated.
pub(super) async fn only_reading(request: Request, next: Next) -> Response {
    match is_reading(&request) {
        true => with_headers(next.run(request).await),
        false => with_headers(only_read()),
    }
}

fn is_reading(request: &Request) -> bool {
    matches!(*request.method(), Method::GET | Method::HEAD)
}

fn only_read() -> Response {
    let allow = [(header::ALLOW, "GET, HEAD")];
    (StatusCode::METHOD_NOT_ALLOWED, allow, "this listener is only read\n").into_response()
}

fn with_headers(mut response: Response) -> Response {
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// Lets those through who may ask.
pub(super) async fn admit(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    with_headers(judge(&guard, request, next).await)
}

async fn judge(guard: &Guard, mut request: Request, next: Next) -> Response {
    let plan = guard.office.plan().admin.clone();
    let Some(called) = request.extensions().get::<Called>().copied() else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let is_login = request.uri().path() == login::PATH && plan.token.is_some();
    let may_be_asked = is_reading(&request) || (is_login && *request.method() == Method::POST);
    if !may_be_asked {
        return only_read();
    }
    let Some(host) = host(&request) else {
        return (StatusCode::BAD_REQUEST, "one Host header is needed\n").into_response();
    };
    if is_foreign(&request, &host, &plan) {
        return (StatusCode::FORBIDDEN, "another site may not ask for this\n").into_response();
    }
    let Some(token) = &plan.token else {
        if !called.local.ip().to_canonical().is_loopback() {
            return (StatusCode::FORBIDDEN, "beyond loopback `admin.token` is needed\n").into_response();
        }
        if !is_ours(&host, called.local.ip(), &plan) {
            return misdirected();
        }
        request.extensions_mut().insert(Viewer { sees_names: false });
        return next.run(request).await;
    };
    let peer = called.peer.ip();
    match (bearer(request.headers()), is_login) {
        (Some(given), _) => match guard.is_right(peer, token, given).await {
            Some(true) => {}
            Some(false) => return unauthorized(),
            None => return too_many(),
        },
        (None, true) => return login::answer(guard, request, peer, token, &plan).await,
        (None, false) if login::has_session(request.headers(), token) => {}
        (None, false) if login::wants_page(&request) => return login::ask(&request),
        (None, false) => return unauthorized(),
    }
    request.extensions_mut().insert(Viewer { sees_names: true });
    next.run(request).await
}

fn misdirected() -> Response {
    let words = "this is not served under that name: use localhost (kubectl port-forward), the address it \
                 listens on, or the host of `admin.external_url`\n";
    (StatusCode::MISDIRECTED_REQUEST, words).into_response()
}

fn unauthorized() -> Response {
    let ask = [(header::WWW_AUTHENTICATE, "Bearer realm=\"audit-relay\"")];
    (StatusCode::UNAUTHORIZED, ask, "the token is needed: `Authorization: Bearer TOKEN`\n").into_response()
}

pub(super) fn too_many() -> Response {
    let later = [(header::RETRY_AFTER, "1")];
    (StatusCode::TOO_MANY_REQUESTS, later, "too many wrong tokens: try again in a moment\n").into_response()
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Under which name it is asked; none where none or several are given.
fn host(request: &Request) -> Option<Authority> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = hosts.next().filter(|_| hosts.next().is_none())?;
    let host = Authority::try_from(host.as_bytes()).ok().filter(|host| !host.as_str().contains('@'))?;
    match request.uri().authority() {
        Some(other) if other != &host => None,
        _ => Some(host),
    }
}

/// Whether a page under this name can only be ours.
fn is_ours(host: &Authority, local: IpAddr, plan: &AdminPlan) -> bool {
    let name = host.host().trim_end_matches('.').to_ascii_lowercase();
    if name == "localhost" {
        return true;
    }
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(&name);
    if let Ok(address) = bare.parse::<IpAddr>() {
        let address = address.to_canonical();
        return address.is_loopback() || address == local.to_canonical();
    }
    external(plan).is_some_and(|url| url.host_str().is_some_and(|host| host.eq_ignore_ascii_case(&name)))
}

fn external(plan: &AdminPlan) -> Option<Url> {
    Url::parse(plan.external_url.as_deref()?).ok()
}

/// Whether a page of another origin asks, other than by a link that somebody follows
/// (<https://www.w3.org/TR/fetch-metadata/>).
fn is_foreign(request: &Request, host: &Authority, plan: &AdminPlan) -> bool {
    let text = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let is_visit = is_reading(request)
        && text("sec-fetch-mode") == Some("navigate")
        && text("sec-fetch-dest") == Some("document");
    if matches!(text("sec-fetch-site"), Some("cross-site" | "same-site")) && !is_visit {
        return true;
    }
    let Some(origin) = request.headers().get(header::ORIGIN) else { return false };
    let Some(origin) = origin.to_str().ok().and_then(|origin| Url::parse(origin).ok()) else { return true };
    let own = ["http", "https"].map(|scheme| Url::parse(&format!("{scheme}://{host}")).ok());
    let own = own.into_iter().flatten().chain(external(plan));
    let is_own = own.map(|own| own.origin()).any(|own| own == origin.origin());
    !is_own
}
