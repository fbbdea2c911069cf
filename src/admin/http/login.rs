//! Where people give the token: a form, and a cookie for what comes after, so that a browser's event streams, which
//! send no header of ours, are let in too.

use std::net::IpAddr;
use std::time::Duration;

use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use hmac::Mac;
use url::form_urlencoded;

use super::guard::{Guard, proof, too_many};
use crate::config::plan::AdminPlan;
use crate::config::secret::Secret;

/// Where the form is sent to.
pub(super) const PATH: &str = "/login";

/// The form is no larger than this, in bytes.
const MAX_FORM_BYTES: usize = 8 << 10;

/// How long it may take to come.
const PATIENCE: Duration = Duration::from_secs(5);

/// The cookie's name begins so; what follows tells the cookies of two relays on one host apart.
const COOKIE: &str = "audit_relay_";

/// Name and value of the cookie of those who know the token. It tells nothing of the token, and another token ends it.
fn cookie(token: &Secret) -> (String, Hash) {
    let proof: Hash = proof(token).finalize().into_bytes().into();
    (format!("{COOKIE}{}", hex::encode(&proof[..4])), proof)
}

type Hash = [u8; 32];

/// What of the proof is the cookie's value: the name has the rest.
const VALUE: std::ops::RangeFrom<usize> = 4..;

/// Whether one of the cookies is the one.
pub(super) fn has_session(headers: &HeaderMap, token: &Secret) -> bool {
    if token.expose().is_empty() {
        return false;
    }
    let (wanted, hash) = cookie(token);
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.filter(|(name, _)| *name == wanted).any(|(_, value)| {
        let Ok(value) = hex::decode(value) else { return false };
        let given: Vec<u8> = hash[..VALUE.start].iter().copied().chain(value).collect();
        proof(token).verify_slice(&given).is_ok()
    })
}

/// Whether a person with a browser asks for a page.
pub(super) fn wants_page(request: &Request) -> bool {
    let accept = request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok());
    *request.method() == Method::GET && accept.is_some_and(|accept| accept.contains("text/html"))
}

/// Asks for the token, in the place of the page that was asked for.
pub(super) fn ask(request: &Request) -> Response {
    let path = request.uri().path();
    let next = request.uri().path_and_query().map_or("/", |whole| whole.as_str());
    // A proxy may serve this under a longer path, which is not known here.
    let up = "../".repeat(path.matches('/').count().saturating_sub(1));
    form(StatusCode::UNAUTHORIZED, &format!("{up}login"), next, None)
}

/// Answers what is asked of [`PATH`].
pub(super) async fn answer(
    guard: &Guard,
    request: Request,
    peer: IpAddr,
    token: &Secret,
    plan: &AdminPlan,
) -> Response {
    if *request.method() != Method::POST {
        return form(StatusCode::OK, "login", "/", None);
    }
    let body = tokio::time::timeout(PATIENCE, to_bytes(request.into_body(), MAX_FORM_BYTES)).await;
    let Ok(Ok(body)) = body else {
        return (StatusCode::BAD_REQUEST, "the form did not come, or is too large\n").into_response();
    };
    let (mut given, mut next) = (String::new(), "/".to_owned());
    for (name, value) in form_urlencoded::parse(&body) {
        match &*name {
            "token" => given = value.into_owned(),
            "next" if value.starts_with('/') => next = value.into_owned(),
            _ => {}
        }
    }
    match guard.is_right(peer, token, given.trim()).await {
        Some(true) => welcome(token, &next, plan),
        Some(false) => form(StatusCode::UNAUTHORIZED, "login", &next, Some("That is not the token.")),
        None => too_many(),
    }
}

/// Gives the cookie, and leads to what was asked for. `./` before it keeps that on this host.
fn welcome(token: &Secret, next: &str, plan: &AdminPlan) -> Response {
    let (name, hash) = cookie(token);
    let is_https = plan.external_url.as_deref().is_some_and(|url| url.starts_with("https:"));
    let secure = if is_https { "; Secure" } else { "" };
    let value = hex::encode(&hash[VALUE]);
    let cookie = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax{secure}");
    let to = HeaderValue::try_from(format!(".{next}")).unwrap_or(HeaderValue::from_static("./"));
    let Ok(cookie) = HeaderValue::try_from(cookie) else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    (StatusCode::SEE_OTHER, [(header::LOCATION, to), (header::SET_COOKIE, cookie)]).into_response()
}

fn form(status: StatusCode, action: &str, next: &str, problem: Option<&str>) -> Response {
    let problem = problem.map(|problem| format!("<p role=\"alert\">{problem}</p>\n")).unwrap_or_default();
    let next = escaped(next);
    let page = format!(
        "<!doctype html>
<html lang=\"en\">
<head>
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">
<meta name=\"color-scheme\" content=\"light dark\">
<title>audit-relay: log in</title>
</head>
<body>
<main>
<h1>audit-relay</h1>
{problem}<form method=\"post\" action=\"{action}\">
<input type=\"hidden\" name=\"next\" value=\"{next}\">
<p><label for=\"token\">Token (<code>admin.token</code>)</label><br>
<input id=\"token\" name=\"token\" type=\"password\" autocomplete=\"current-password\" required autofocus></p>
<p><button>Log in</button></p>
</form>
</main>
</body>
</html>
"
    );
    (status, Html(page)).into_response()
}

fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}
