use super::*;
use std::collections::BTreeSet;
use std::time::Duration;

fn answer(status: u16, body: &str, retry_after: Option<&str>) -> Response {
    Response::Http {
        status,
        retry_after: retry_after.map(str::to_owned),
        rate_limit_reset: None,
        body: body.as_bytes().to_vec(),
    }
}

fn of(response: &Response, is_webhook: bool) -> Outcome {
    let now = Timestamp::parse_rfc3339("2026-11-22T08:00:00Z").unwrap();
    classify(response, is_webhook, now, |body| String::from_utf8_lossy(body).trim().to_owned())
}

fn hook(status: u16, body: &str) -> Outcome {
    of(&answer(status, body, None), true)
}

fn api(status: u16, body: &str) -> Outcome {
    of(&answer(status, body, None), false)
}

fn said(outcome: &Outcome) -> (&'static str, &'static str, String) {
    match outcome {
        Outcome::Delivered => ("delivered", "", String::new()),
        Outcome::Retry { reason, .. } => ("retry", reason.code, reason.message.to_string()),
        Outcome::Rejected(reason) => ("rejected", reason.code, reason.message.to_string()),
        Outcome::Blocked { gone, reason } => {
            assert!(!gone, "a person may bring it back");
            ("blocked", reason.code, reason.message.to_string())
        }
    }
}

#[test]
fn only_ok_is_ok() {
    for body in ["ok", "ok\n", " ok "] {
        assert_eq!(hook(200, body), Outcome::Delivered, "{body}");
    }
    for body in ["", "OK", "okay", "<html>ok</html>", "{\"ok\":true}"] {
        assert_eq!(said(&hook(200, body)).0, "retry", "{body}");
    }
    for body in [
        r#"{"ok":true}"#,
        r#"{"ok": true, "ts": "1503435956.000247", "warning": "missing_charset"}"#,
        // The whole message comes back, of which not all is kept.
        "{ \"ok\" : true, \"channel\": \"C1\", \"message\": {\"text\": \"abc",
    ] {
        assert_eq!(api(200, body), Outcome::Delivered, "{body}");
    }
    for body in
        ["", "ok", "true", r#"{"ok":"true"}"#, r#"{"ok":false}"#, r#"{"ok":false,"x":"{\"ok\":true"}"#]
    {
        assert_eq!(said(&api(200, body)).0, "retry", "{body}");
    }
    assert_eq!(said(&hook(201, "ok")).1, "slack_odd");
    assert_eq!(said(&hook(302, "ok")).0, "blocked");
    assert_eq!(said(&hook(500, "ok")).0, "retry");
    assert_eq!(of(&Response::Written, true), Outcome::Delivered);
}

/// As in the reference of incoming webhooks.
#[test]
fn webhooks_answer_in_plain_text() {
    for (status, body, expected, code) in [
        (400, "invalid_payload", "rejected", "slack_payload"),
        (400, "no_text", "rejected", "slack_payload"),
        (400, "too_many_attachments", "rejected", "slack_payload"),
        (400, "user_not_found", "blocked", "slack_channel"),
        (403, "action_prohibited", "blocked", "slack_channel"),
        (403, "posting_to_general_channel_denied", "blocked", "slack_channel"),
        (403, "invalid_token", "blocked", "slack_webhook"),
        (404, "no_service\n", "blocked", "slack_webhook"),
        (404, "channel_not_found", "blocked", "slack_channel"),
        (410, "channel_is_archived", "blocked", "slack_channel"),
        (500, "rollup_error", "retry", "slack_unavailable"),
        (500, "no_service", "blocked", "slack_webhook"),
        (200, "no_service", "blocked", "slack_webhook"),
        (200, "invalid_blocks", "rejected", "slack_payload"),
        (429, "rate_limited", "retry", "http_429"),
        (200, "rate_limited", "retry", "http_429"),
        (429, "", "retry", "http_429"),
        (400, "something_new", "rejected", "rejected"),
        (403, "<html>blocked by policy</html>", "blocked", "http_403"),
        (404, "", "blocked", "http_404"),
        (410, "", "blocked", "http_410"),
        (503, "upstream connect error", "retry", "http_5xx"),
    ] {
        let (outcome, word, message) = said(&hook(status, body));
        assert_eq!((outcome, word), (expected, code), "{status} {body}");
        let is_said = message.starts_with(&format!("Slack answered {status}"))
            || message.ends_with(&format!(" ({status} `{}`)", body.trim()));
        assert!(is_said, "{message}");
    }
}

#[test]
fn the_web_api_says_why() {
    for (error, expected, code) in [
        ("ratelimited", "retry", "http_429"),
        ("message_limit_exceeded", "retry", "http_429"),
        ("service_unavailable", "retry", "slack_unavailable"),
        ("internal_error", "retry", "slack_unavailable"),
        ("fatal_error", "retry", "slack_unavailable"),
        ("msg_blocks_too_long", "rejected", "slack_payload"),
        ("invalid_blocks", "rejected", "slack_payload"),
        ("request_timeout", "rejected", "slack_payload"),
        ("invalid_auth", "blocked", "slack_auth"),
        ("token_revoked", "blocked", "slack_auth"),
        ("missing_scope", "blocked", "slack_auth"),
        ("not_in_channel", "blocked", "slack_channel"),
        ("is_archived", "blocked", "slack_channel"),
        ("restricted_action_read_only_channel", "blocked", "slack_channel"),
        ("something_new", "retry", "slack_unknown"),
    ] {
        let (outcome, word, message) = said(&api(200, &format!(r#"{{"ok":false,"error":"{error}"}}"#)));
        assert_eq!((outcome, word), (expected, code), "{error}");
        assert!(message.contains(error), "{message}");
    }
    let message = |body: &str| said(&api(200, body)).2;
    assert_eq!(
        message(r#"{"ok":false,"error":"is_archived"}"#),
        "the channel is archived; un-archive it, or configure another one (200 `is_archived`)"
    );
    assert_eq!(
        said(&hook(410, "channel_is_archived")).2,
        "the channel is archived; un-archive it, or configure another one (410 `channel_is_archived`)"
    );
    assert_eq!(
        message(r#"{"ok":false,"error":"brand_new_error"}"#),
        "Slack answered `brand_new_error`, which this version does not know"
    );
    assert_eq!(said(&api(200, r#"{"ok":false,"error":""}"#)).1, "slack_odd");
    let scope = message(r#"{"ok":false,"error":"missing_scope","needed":"chat:write","provided":"x"}"#);
    assert!(scope.ends_with("reinstall the app (needed: chat:write) (200 `missing_scope`)"), "{scope}");
}

#[test]
fn slack_names_the_wait() {
    for (status, body) in [(429, "rate_limited"), (429, r#"{"ok":false,"error":"ratelimited"}"#), (503, "")] {
        for is_webhook in [true, false] {
            let outcome = of(&answer(status, body, Some("30")), is_webhook);
            let Outcome::Retry { not_before, .. } = outcome else { panic!("{outcome:?}") };
            assert_eq!(not_before, Some(Duration::from_secs(30)));
        }
    }
}

#[test]
fn every_word_stands_once_and_says_what_to_do() {
    let words: BTreeSet<&str> = WORDS.iter().map(|(word, ..)| *word).collect();
    assert_eq!(words.len(), WORDS.len());
    let codes: BTreeSet<&str> = WORDS.iter().map(|(_, about, _)| about.code()).collect();
    assert_eq!(codes.len(), 6, "a bounded set of words: {codes:?}");
    for (word, ..) in WORDS {
        for outcome in [hook(400, word), api(200, &format!(r#"{{"ok":false,"error":"{word}"}}"#))] {
            let (_, _, message) = said(&outcome);
            assert!(message.contains(&format!("`{word}`")) && message.len() > word.len() + 30, "{message}");
        }
    }
}
