//! What answers of Datadog mean.

use super::*;
use crate::destination::{Outcome, Reason, Response};

fn response(status: u16, body: &str) -> Response {
    Response::Http { status, retry_after: None, rate_limit_reset: None, body: body.into() }
}

fn classify(response: &Response) -> Outcome {
    classified(response, &plan(DatadogApi::V2))
}

fn classified(response: &Response, plan: &DatadogPlan) -> Outcome {
    Datadog::new(plan.clone()).classify(response, time("2026-11-22T14:15:00Z"))
}

fn reason(outcome: Outcome) -> (&'static str, Reason) {
    match outcome {
        Outcome::Delivered => panic!("delivered"),
        Outcome::Retry { reason, .. } => ("retry", reason),
        Outcome::Rejected(reason) => ("rejected", reason),
        Outcome::Blocked { gone, reason } => {
            assert!(!gone);
            ("blocked", reason)
        }
    }
}

/// The bodies are those that the cassettes of Datadog's own client recorded.
#[test]
fn both_shapes_of_errors_are_told_by_their_words() {
    let text = response(400, r#"{"errors":["Event too far in the past"]}"#);
    let (kind, said) = reason(classify(&text));
    assert_eq!((kind, said.code), ("rejected", "rejected"));
    assert_eq!(said.message, "Datadog answered 400: Event too far in the past");
    let object = response(
        400,
        r#"{"errors":[{"status":"400","title":"Bad Request","detail":"JSON validation failed at $.data.attributes.category"}]}"#,
    );
    let said = reason(classify(&object)).1.message;
    assert_eq!(
        said,
        "Datadog answered 400: Bad Request: JSON validation failed at $.data.attributes.category"
    );
    let two = response(400, r#"{"errors":["one",{"detail":"two"},{"title":"three"},{}]}"#);
    assert_eq!(reason(classify(&two)).1.message, "Datadog answered 400: one; two; three");
    let page = response(413, "<html>\n<h1>413 Too\u{1b}[31m Large</h1>");
    let (kind, said) = reason(classify(&page));
    assert_eq!(kind, "rejected");
    assert_eq!(said.message, "Datadog answered 413: <html> <h1>413 Too\u{fffd}[31m Large</h1>");
    assert_eq!(reason(classify(&response(500, ""))).1.message, "Datadog answered 500");
}

#[test]
fn each_status_has_its_meaning() {
    for (status, expected, code) in [
        (400, "rejected", "rejected"),
        (413, "rejected", "rejected"),
        (422, "rejected", "rejected"),
        (301, "blocked", "http_3xx"),
        (401, "blocked", "http_401"),
        (403, "blocked", "http_403"),
        (404, "blocked", "http_404"),
        (408, "retry", "http_408"),
        (429, "retry", "http_429"),
        (500, "retry", "http_5xx"),
        (502, "retry", "http_5xx"),
        (503, "retry", "http_5xx"),
    ] {
        let (kind, reason) = reason(classify(&response(status, "")));
        assert_eq!((kind, reason.code), (expected, code), "{status}");
    }
    for status in [200, 202] {
        assert_eq!(classify(&response(status, r#"{"status":"ok"}"#)), Outcome::Delivered);
    }
    assert_eq!(classify(&Response::Written), Outcome::Delivered);
}

#[test]
fn a_forbidden_request_without_an_application_key_hints_at_it() {
    let forbidden = response(403, r#"{"errors":["Forbidden"]}"#);
    let said = |plan: &DatadogPlan| reason(classified(&forbidden, plan)).1.message;
    let without = plan(DatadogApi::V2);
    assert!(
        said(&without).contains("403: Forbidden; `api_key` is wrong")
            && said(&without).contains("wants an `app_key`")
    );
    let with = DatadogPlan { app_key: Some(Secret::new("fedcba98")), ..without };
    assert!(said(&with).contains("`api_key` or `app_key` is wrong"));
}

#[test]
fn a_limit_says_when_its_window_ends() {
    let wait = |status, retry_after: Option<&str>, reset: Option<&str>| {
        let response = Response::Http {
            status,
            retry_after: retry_after.map(str::to_owned),
            rate_limit_reset: reset.map(str::to_owned),
            body: br#"{"errors":["Too many requests"]}"#.to_vec(),
        };
        match classify(&response) {
            Outcome::Retry { not_before, .. } => not_before.map(|wait| wait.as_secs()),
            other => panic!("{other:?}"),
        }
    };
    for (retry_after, reset, expected) in [
        (None, None, None),
        (None, Some("43"), Some(43)),
        (Some("7"), Some("43"), Some(43)),
        (Some("60"), Some("43"), Some(60)),
        (Some("60"), Some("soon"), Some(60)),
        (None, Some("1795356842"), Some(3_600)),
        (None, Some("99999999999999999999999"), Some(3_600)),
        (None, Some("1.5"), None),
        (None, Some("-1"), None),
        (None, Some(""), None),
        (None, Some("Sun, 22 Nov 2026 14:16:00 GMT"), None),
    ] {
        assert_eq!(wait(429, retry_after, reset), expected, "{retry_after:?} {reset:?}");
    }
    assert_eq!(wait(503, None, Some("43")), None, "the header stands on every answer");
    assert_eq!(wait(503, Some("7"), Some("43")), Some(7));
}

#[test]
fn no_key_shows() {
    let mut plan = plan(DatadogApi::V2);
    plan.app_key = Some(Secret::new("App/Key+0123456789"));
    plan.url = Arc::new(Secret::new("https://u:gateway-pass@events.example.com/api/v2/events"));
    let datadog = Datadog::new(plan.clone());
    for said in [
        "key 0123456789abcdef0123456789abcdef is unknown",
        r#"{"errors":["key 0123456789ABCDEF0123456789abcdef is unknown"]}"#,
        "app%2Fkey%2b0123456789 is unknown",
        r#"{"echo":"App\/Key+0123456789"}"#,
        "gateway-pass and so on",
    ] {
        let shown = datadog.excerpt(said.as_bytes());
        assert!(shown.contains("[redacted]"), "{shown}");
        let message = reason(classified(&response(403, said), &plan)).1.message;
        for secret in ["0123456789", "gateway-pass", "App"] {
            assert!(!shown.contains(secret) && !message.contains(secret), "{shown} {message}");
        }
    }
    assert_eq!(datadog.excerpt(&[0xff, 0xfe]), "\u{fffd}\u{fffd}");
    assert_eq!(datadog.excerpt("x".repeat(9_999).as_bytes()).chars().count(), 200);
}

#[test]
fn keys_travel_in_headers_alone() {
    let of = |plan: &DatadogPlan| {
        let mut rendered = render(plan, &[told("flag", "created", &flag(true), &created())]);
        match rendered.requests.remove(0).request {
            Request::Http(http) => http,
            other => panic!("{other:?}"),
        }
    };
    let names = |http: &crate::destination::HttpRequest| {
        http.headers.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>()
    };
    let mut plan = plan(DatadogApi::V2);
    let http = of(&plan);
    assert_eq!(http.method, "POST");
    assert_eq!(names(&http), ["content-type", "user-agent", "dd-api-key"]);
    assert_eq!(http.headers[0].1.expose(), "application/json");
    assert!(http.headers[1].1.expose().starts_with("audit-relay/"));
    plan.app_key = Some(Secret::new("fedcba98"));
    let http = of(&plan);
    assert_eq!(names(&http), ["content-type", "user-agent", "dd-api-key", "dd-application-key"]);
    assert_eq!(http.headers[3].1.expose(), "fedcba98");
    assert!(!http.url.expose().contains(plan.api_key.expose()));
    assert!(!String::from_utf8(http.body).unwrap().contains(plan.api_key.expose()));
}
