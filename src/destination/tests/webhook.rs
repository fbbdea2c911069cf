use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::{act, batch, context, deliveries, fixture, gap, oversized, time, unparsed};
use crate::config::plan::{
    BatchEncoding, SigningPlan, SigningScheme, TemplatePlan, WebhookFormat, WebhookPlan,
};
use crate::config::secret::Secret;
use crate::destination::webhook::{USER_AGENT, Webhook};
use crate::destination::{Delivery, Destination, HttpRequest, Outcome, RenderContext, Request, Response};
use crate::event::TraceContext;

fn plan(format: WebhookFormat) -> WebhookPlan {
    WebhookPlan {
        url: Arc::new(Secret::new("https://hooks.example.com/in/T0K3N?key=quiet-key")),
        format,
        encoding: BatchEncoding::Array,
        headers: vec![("authorization".into(), Secret::new("Bearer hunter2-and-more"))],
        signing: vec![SigningPlan { scheme: SigningScheme::Flipt, secrets: vec![Secret::new("s3cr3t")] }],
    }
}

fn webhook(plan: WebhookPlan, max_events: usize) -> Webhook {
    Webhook::new(plan, batch(max_events), USER_AGENT)
}

fn only_request(webhook: &Webhook, deliveries: &[Delivery]) -> HttpRequest {
    let mut rendered = webhook.render(deliveries, &context(deliveries));
    assert!(rendered.unrenderable.is_empty());
    assert_eq!(rendered.requests.len(), 1);
    let outbound = rendered.requests.remove(0);
    let members: Vec<_> = deliveries.iter().map(|delivery| delivery.record.id).collect();
    assert_eq!(outbound.members, members);
    match outbound.request {
        Request::Http(request) => request,
        other => panic!("{other:?}"),
    }
}

fn headers(request: &HttpRequest) -> BTreeMap<&str, &str> {
    let headers: BTreeMap<_, _> =
        request.headers.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
    assert_eq!(headers.len(), request.headers.len(), "no header twice");
    headers
}

/// Signature and body of each request that Flipt's webhook sink sent.
fn captured() -> Vec<(String, String)> {
    let text = fixture("v0.2_webhook_requests.txt");
    let mut requests = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line != "POST /hook HTTP/1.1" {
            continue;
        }
        let head: Vec<_> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
        let signature = head.iter().find_map(|line| line.strip_prefix("X-Flipt-Webhook-Signature: ["));
        let signature = signature.unwrap().trim_end_matches(']').to_owned();
        requests.push((signature, lines.next().unwrap().to_owned()));
    }
    requests
}

#[test]
fn log_lines_of_both_encodings_become_the_requests_that_flipt_sent() {
    let captured = captured();
    assert_eq!(captured.len(), 34);
    let webhook = webhook(plan(WebhookFormat::Flipt), 100);
    assert_eq!((webhook.limits().max_events, webhook.limits().wait), (1, Duration::ZERO));
    for file in ["v0.2_logfile_encoding-json.log", "v0.2_logfile_encoding-console_DEFAULT.log"] {
        let deliveries = deliveries(&fixture(file));
        assert_eq!(deliveries.len(), 34);
        for (delivery, (signature, body)) in deliveries.iter().zip(&captured) {
            let request = only_request(&webhook, std::slice::from_ref(delivery));
            assert_eq!(std::str::from_utf8(&request.body).unwrap(), body, "{file}");
            let headers = headers(&request);
            assert_eq!(headers["x-flipt-webhook-signature"], signature);
            assert_eq!(headers["content-type"], "application/json");
            assert_eq!(headers["user-agent"], concat!("audit-relay/", env!("CARGO_PKG_VERSION")));
            assert_eq!(headers["webhook-id"], delivery.record.id.to_string());
            assert_eq!(headers["authorization"], "Bearer hunter2-and-more");
            assert_eq!(headers.len(), 5);
            assert_eq!(request.method, "POST");
        }
    }
}

#[test]
fn what_flipt_would_never_send_is_left_out_with_the_reason() {
    let webhook = webhook(plan(WebhookFormat::Flipt), 1);
    let event = deliveries(&fixture("v0.2_logfile_encoding-json.log")).remove(0);
    let all = [gap(), event.clone(), unparsed(b"{"), oversized(), act()];
    let rendered = webhook.render(&all, &context(&all));
    assert_eq!(rendered.requests.len(), 1);
    assert_eq!(rendered.requests[0].members, [event.record.id]);
    assert_eq!(rendered.unrenderable.len(), 4);
    assert!(rendered.unrenderable.iter().all(|(_, reason)| reason.code == "no_flipt_form"));
}

#[test]
fn cloud_events_travel_alone() {
    let webhook = webhook(plan(WebhookFormat::CloudEvents), 100);
    assert_eq!(webhook.limits().max_events, 1);
    let mut all: Vec<_> = deliveries(&fixture("v0.2_webhook_bodies.ndjson")).into_iter().take(2).collect();
    all.push(gap());
    let rendered = webhook.render(&all, &context(&all));
    assert_eq!(rendered.requests.len(), 3);
    let request = only_request(&webhook, &all[..1]);
    let headers = headers(&request);
    assert_eq!(headers["content-type"], "application/cloudevents+json; charset=utf-8");
    assert_eq!(headers["webhook-id"], all[0].record.id.to_string());
    assert_eq!(headers["x-flipt-webhook-signature"].len(), 64);
}

#[test]
fn a_template_makes_leaves_out_and_fails_by_record() {
    let body = "{% if data.payload is defined %}{\"key\": {{ payload.key }}}{% endif %}";
    let template = TemplatePlan {
        body: Secret::new(body),
        headers: vec![
            ("x-kind".into(), Secret::new("{{ type }}")),
            ("webhook-id".into(), Secret::new("mine")),
        ],
        content_type: "application/vnd.example+json".into(),
    };
    let webhook = webhook(plan(WebhookFormat::Template(Arc::new(template))), 100);
    let events = deliveries(&fixture("v0.2_webhook_bodies.ndjson"));
    let (flag, denied) = (&events[5], &events[32]);
    let all = [gap(), denied.clone(), flag.clone()];
    let rendered = webhook.render(&all, &context(&all));
    assert_eq!(rendered.left_out, [all[0].record.id]);
    let (dead, reason) = &rendered.unrenderable[0];
    assert_eq!((*dead, reason.code), (denied.record.id, "template_failed"));
    assert_eq!(reason.message, "line 1: `payload.key` is undefined");
    assert_eq!(rendered.requests.len(), 1);
    let request = only_request(&webhook, std::slice::from_ref(flag));
    assert_eq!(request.body, br#"{"key": "checkout"}"#);
    let headers = headers(&request);
    assert_eq!(headers["content-type"], "application/vnd.example+json");
    assert_eq!(
        (headers["x-kind"], headers["webhook-id"]),
        ("flipt.flag.updated", &*flag.record.id.to_string())
    );
}

#[test]
fn any_number_of_signatures_goes_with_a_request() {
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let scheme = |scheme| SigningPlan { scheme, secrets: vec![Secret::new(secret)] };
    let schemes = [SigningScheme::StandardWebhooks, SigningScheme::Github, SigningScheme::Flipt];
    let plan = WebhookPlan { signing: schemes.map(scheme).to_vec(), ..plan(WebhookFormat::Envelope) };
    let all = deliveries(&fixture("v0.2_webhook_bodies.ndjson"));
    let webhook = webhook(plan, 1);
    let request = only_request(&webhook, &all[..1]);
    let first = headers(&request);
    assert_eq!(first["webhook-timestamp"], "1795334400", "the time of the attempt");
    assert!(
        first["webhook-signature"].starts_with("v1,") && first["x-hub-signature-256"].starts_with("sha256=")
    );
    let later = RenderContext { now: time("2026-11-22T08:10:00Z"), attempt: 2, ..context(&all[..1]) };
    let Request::Http(again) = &webhook.render(&all[..1], &later).requests[0].request else { panic!() };
    let again = headers(again);
    assert_eq!(again["webhook-timestamp"], "1795335000");
    assert_ne!(again["webhook-signature"], first["webhook-signature"]);
    for same in ["webhook-id", "x-hub-signature-256", "x-flipt-webhook-signature"] {
        assert_eq!(again[same], first[same]);
    }
}

#[test]
fn envelopes_travel_alone_or_together() {
    let all: Vec<_> = deliveries(&fixture("v0.2_webhook_bodies.ndjson")).into_iter().take(3).collect();
    let parse = |body: &[u8]| serde_json::from_slice::<Value>(body).unwrap();

    let alone = webhook(plan(WebhookFormat::Envelope), 1);
    let request = only_request(&alone, &all[..1]);
    assert_eq!(parse(&request.body)["id"], all[0].record.id.to_string());
    assert_eq!(alone.render(&all, &context(&all)).requests.len(), 3);

    let together = webhook(plan(WebhookFormat::Envelope), 3);
    assert_eq!(together.limits().wait, Duration::from_secs(1));
    let request = only_request(&together, &all);
    assert_eq!(parse(&request.body).as_array().unwrap().len(), 3);
    let id = headers(&request)["webhook-id"].to_owned();
    assert!(id.starts_with("bat_"), "{id}");
    let request = only_request(&together, &all[..1]);
    assert_eq!(parse(&request.body).as_array().unwrap().len(), 1);
    assert_eq!(headers(&request)["webhook-id"], all[0].record.id.to_string());

    let lines = webhook(WebhookPlan { encoding: BatchEncoding::Ndjson, ..plan(WebhookFormat::Envelope) }, 3);
    let request = only_request(&lines, &all);
    assert_eq!(headers(&request)["content-type"], "application/x-ndjson");
    let body = std::str::from_utf8(&request.body).unwrap();
    assert!(body.ends_with("}\n"));
    assert!(
        body.lines().zip(&all).all(|(line, one)| parse(line.as_bytes())["id"] == one.record.id.to_string())
    );
}

#[test]
fn a_trace_goes_with_a_record_that_travels_alone() {
    let mut all: Vec<_> = deliveries(&fixture("v0.2_webhook_bodies.ndjson")).into_iter().take(2).collect();
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let mut trace = |traceparent: &str, tracestate: Option<&str>| {
        all[0].record.trace =
            Some(TraceContext { traceparent: traceparent.into(), tracestate: tracestate.map(Into::into) });
        let together = webhook(plan(WebhookFormat::Envelope), 3);
        let request = only_request(&together, &all);
        assert!(!headers(&request).contains_key("traceparent"));
        let request = only_request(&together, &all[..1]);
        let headers = headers(&request);
        (
            headers.get("traceparent").map(ToString::to_string),
            headers.get("tracestate").map(ToString::to_string),
        )
    };
    assert_eq!(trace(parent, Some("a=b")), (Some(parent.into()), Some("a=b".into())));
    assert_eq!(trace(parent, Some("")), (Some(parent.into()), None));
    assert_eq!(trace(parent, Some("a\r\nb: c")), (Some(parent.into()), None));
    assert_eq!(trace("", Some("a=b")), (None, None));
}

#[test]
fn configured_headers_change_what_they_may() {
    let header = |name: &str| (name.to_owned(), Secret::new("mine"));
    let names = ["user-agent", "content-type", "webhook-id", "x-flipt-webhook-signature", "x-team"];
    let plan = WebhookPlan { headers: names.map(header).to_vec(), ..plan(WebhookFormat::Flipt) };
    let all = deliveries(&fixture("v0.2_webhook_bodies.ndjson"));
    let request = only_request(&webhook(plan, 1), &all[..1]);
    let headers = headers(&request);
    assert_eq!((headers["user-agent"], headers["content-type"], headers["x-team"]), ("mine", "mine", "mine"));
    assert_eq!(headers["webhook-id"], all[0].record.id.to_string());
    assert_eq!(headers["x-flipt-webhook-signature"].len(), 64);
    assert!(!format!("{request:?}").contains("mine"));
}

#[test]
fn answers_mean_what_they_say() {
    let webhook = webhook(plan(WebhookFormat::Flipt), 1);
    let now = time("2026-11-22T08:00:00Z");
    let answer = |status: u16, retry_after: Option<&str>, body: &str| {
        let retry_after = retry_after.map(str::to_owned);
        webhook
            .classify(&Response::Http { status, retry_after, rate_limit_reset: None, body: body.into() }, now)
    };
    assert_eq!(answer(204, None, "ignored"), Outcome::Delivered);
    let Outcome::Retry { not_before, reason } = answer(503, Some("7"), "later") else { panic!() };
    assert_eq!((not_before, reason.code), (Some(Duration::from_secs(7)), "http_5xx"));
    assert_eq!(reason.message, "the receiver answered 503: later");
    let Outcome::Blocked { gone: false, reason } = answer(302, None, "") else { panic!() };
    assert_eq!(reason.message, "the receiver answered 302, and redirects are not followed");
    assert!(matches!(answer(410, None, ""), Outcome::Blocked { gone: true, .. }));
    assert!(matches!(answer(400, None, ""), Outcome::Rejected(reason) if reason.code == "rejected"));
    assert_eq!(webhook.classify(&Response::Written, now), Outcome::Delivered);
}

#[test]
fn what_a_receiver_says_is_shown_short_harmless_and_without_secrets() {
    let webhook = webhook(plan(WebhookFormat::Flipt), 1);
    let said = |body: &[u8]| match webhook.classify(
        &Response::Http { status: 422, retry_after: None, rate_limit_reset: None, body: body.to_vec() },
        time("2026-11-22T08:00:00Z"),
    ) {
        Outcome::Rejected(reason) => reason.message,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        said(b"no\x1b[31m such\r\n\r\nfield \xff"),
        "the receiver answered 422: no\u{fffd}[31m such field \u{fffd}"
    );
    let long = said("x".repeat(1000).as_bytes());
    assert_eq!(long.chars().count(), "the receiver answered 422: ".len() + 200);
    let echo =
        said(b"POST /in/T0K3N?key=quiet-key: bearer hunter2-and-more is unknown; s3cr3t; T0K3N1; quiet-key");
    for secret in ["quiet-key", "hunter2", "s3cr3t", "/in/T0K3N"] {
        assert!(!echo.contains(secret), "{echo}");
    }
}

#[test]
fn user_names_and_passwords_do_not_show_in_whatever_spelling_they_come_back() {
    let pair = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, "ann-user:pass/w+rd 55");
    let by_header = WebhookPlan {
        headers: vec![("authorization".into(), Secret::new(format!("Basic {pair}")))],
        ..plan(WebhookFormat::Envelope)
    };
    let url = Arc::new(Secret::new("https://ann-user:pass%2Fw%2Brd%2055@audit.example.com/"));
    let by_url = WebhookPlan { url, headers: Vec::new(), ..plan(WebhookFormat::Envelope) };
    for plan in [by_header, by_url] {
        let webhook = webhook(plan, 1);
        for echo in [
            "login failed for ann-user:pass/w+rd 55",
            "PASS/W+RD 55 is wrong",
            "ann-user%3Apass/w%2Brd%2055",
            "pass%2Fw%2Brd+55 and pass%2fw%2brd%2055",
            r"ann-user:pass\/w+rd 55",
            &format!("authorization: basic {pair}"),
        ] {
            let answer = Response::Http {
                status: 400,
                retry_after: None,
                rate_limit_reset: None,
                body: echo.as_bytes().to_vec(),
            };
            let Outcome::Rejected(reason) = webhook.classify(&answer, time("2026-11-22T08:00:00Z")) else {
                panic!("rejected");
            };
            let shown = reason.message.to_ascii_lowercase();
            for part in ["w+rd", "w%2brd", &pair.to_ascii_lowercase()] {
                assert!(!shown.contains(part), "{echo:?} shows as {shown:?}");
            }
        }
    }
}
