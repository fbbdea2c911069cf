//! What answers of receivers of OTLP mean.

use std::time::Duration;

use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsPartialSuccess, ExportLogsServiceResponse};

use super::*;
use crate::destination::{Outcome, Reason, Response};

fn response(status: u16, body: impl Into<Vec<u8>>) -> Response {
    Response::Http { status, retry_after: None, rate_limit_reset: None, body: body.into() }
}

fn classify(response: &Response) -> Outcome {
    Otlp::new(plan(), batch(100)).classify(response, time("2026-11-22T08:00:00Z"))
}

fn remark(response: &Response) -> Option<String> {
    Otlp::new(plan(), batch(100)).remark(response).map(|remark| remark.to_string())
}

fn partial(rejected_log_records: i64, error_message: &str) -> Vec<u8> {
    let partial_success =
        Some(ExportLogsPartialSuccess { rejected_log_records, error_message: error_message.to_owned() });
    ExportLogsServiceResponse { partial_success }.encode_to_vec()
}

/// `google.rpc.Status`, written by hand: a code and a message.
fn status(message: &str) -> Vec<u8> {
    let length = u8::try_from(message.len()).unwrap();
    [&[0x08, 0x03, 0x12, length], message.as_bytes()].concat()
}

fn rejected(outcome: Outcome) -> Reason {
    match outcome {
        Outcome::Rejected(reason) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_request_is_delivered_where_the_receiver_says_no_more() {
    let bodies: [&[u8]; 8] = [
        b"",
        &partial(0, ""),
        b"{}",
        br#"{"partialSuccess":{}}"#,
        br#"{"partialSuccess":null}"#,
        b"ok",
        b"<html>welcome</html>",
        b"\x00\xff\xfe",
    ];
    for status in [200, 202, 204] {
        for body in bodies {
            let response = response(status, body);
            assert_eq!(classify(&response), Outcome::Delivered, "{status} {body:?}");
            assert_eq!(remark(&response), None, "{status} {body:?}");
        }
    }
}

/// Which records were rejected nobody says: a request of several is split by this outcome, one alone is dead.
#[test]
fn a_part_that_was_rejected_is_not_delivered() {
    for (body, message) in [
        (partial(1, "too old"), "the receiver rejected 1 log record: too old"),
        (partial(7, "no\nroom \u{1b}"), "the receiver rejected 7 log records: no room \u{fffd}"),
        (partial(2, ""), "the receiver rejected 2 log records, and does not say why"),
        (
            partial(2, "the key PLANTED is odd"),
            "the receiver rejected 2 log records: the key [redacted] is odd",
        ),
        (
            br#"{"partialSuccess":{"rejectedLogRecords":"3","errorMessage":"too long"}}"#.to_vec(),
            "the receiver rejected 3 log records: too long",
        ),
        (
            br#"{"partialSuccess":{"rejectedLogRecords":1}}"#.to_vec(),
            "the receiver rejected 1 log record, and does not say why",
        ),
    ] {
        let response = response(200, body);
        let reason = rejected(classify(&response));
        assert_eq!((reason.code, reason.message.as_str()), ("partial_success", message));
        assert_eq!(remark(&response), None);
    }
}

/// No more than 64 KiB of an answer are read.
#[test]
fn a_part_is_rejected_also_where_its_message_never_ends() {
    let mut body = partial(3, &"too old, ".repeat(20_000));
    body.truncate(64 * 1024);
    let message = rejected(classify(&response(200, body.clone()))).message;
    assert!(message.starts_with("the receiver rejected 3 log records: too old, too old"), "{message}");
    body.truncate(6);
    assert_eq!(
        rejected(classify(&response(200, body))).message,
        "the receiver rejected 3 log records, and does not say why"
    );
}

#[test]
fn a_warning_of_a_receiver_that_took_all_is_told() {
    for body in
        [partial(0, "use v2, PLANTED"), br#"{"partialSuccess":{"errorMessage":"use v2, PLANTED"}}"#.to_vec()]
    {
        let response = response(200, body.clone());
        assert_eq!(classify(&response), Outcome::Delivered);
        assert_eq!(
            remark(&response).as_deref(),
            Some("delivered, and the receiver warns: use v2, [redacted]")
        );
        assert_eq!(Otlp::new(plan(), batch(1)).excerpt(&body), "use v2, [redacted]");
    }
    // Nonsense rejects nothing.
    assert_eq!(classify(&response(200, partial(-1, "odd"))), Outcome::Delivered);
    assert_eq!(
        remark(&response(200, partial(-1, "odd"))).as_deref(),
        Some("delivered, and the receiver warns: odd")
    );
    assert_eq!(remark(&response(503, partial(0, "odd"))), None);
    assert_eq!(remark(&Response::Written), None);
}

#[test]
fn each_status_has_its_meaning() {
    for code in [429, 500, 502, 503, 504, 408] {
        let answer = Response::Http {
            status: code,
            retry_after: Some("7".to_owned()),
            rate_limit_reset: None,
            body: status("try later"),
        };
        let Outcome::Retry { not_before, reason } = classify(&answer) else { panic!("{code}") };
        assert_eq!(not_before, Some(Duration::from_secs(7)));
        assert_eq!(reason.message, format!("the receiver answered {code}: try later"));
    }
    for code in [401, 403, 404, 405, 415, 301, 501] {
        assert!(matches!(classify(&response(code, "")), Outcome::Blocked { gone: false, .. }), "{code}");
    }
    for code in [400, 413, 422] {
        let reason = rejected(classify(&response(code, status("entry too far behind"))));
        assert_eq!(reason.code, "rejected");
        assert_eq!(reason.message, format!("the receiver answered {code}: entry too far behind"));
    }
}

#[test]
fn errors_are_told_by_their_words_whatever_they_are_written_in() {
    let said = |body: &[u8]| rejected(classify(&response(400, body))).message;
    for (body, words) in [
        (status("wrong, PLANTED"), "wrong, [redacted]"),
        (b"\x12\x05wrong".to_vec(), "wrong"),
        (br#"{"code":3,"message":"wrong"}"#.to_vec(), "wrong"),
        (br#"{"error":"wrong"}"#.to_vec(), r#"{"error":"wrong"}"#),
        (b"wrong\r\n".to_vec(), "wrong"),
    ] {
        assert_eq!(said(&body), format!("the receiver answered 400: {words}"));
    }
    assert_eq!(said(b""), "the receiver answered 400");
    assert_eq!(said(b"\x00\xff"), "the receiver answered 400: \u{fffd}\u{fffd}");
}

#[test]
fn a_wrong_path_says_what_may_be_missing() {
    let of = |url: &str| {
        let plan = OtlpPlan { url: Arc::new(Secret::new(url)), ..plan() };
        let Outcome::Blocked { reason, .. } = Otlp::new(plan, batch(1))
            .classify(&response(404, "404 page not found"), time("2026-11-22T08:00:00Z"))
        else {
            panic!()
        };
        reason.message
    };
    let hint = "; `endpoint` has a path, and is used as it is: does it lack `/v1/logs` at its end?";
    assert_eq!(
        of("https://loki.example.com/otlp"),
        format!("the receiver answered 404: 404 page not found{hint}")
    );
    assert_eq!(of("https://loki.example.com/otlp/v1/logs"), "the receiver answered 404: 404 page not found");
}

proptest! {
    #[test]
    fn any_answer_has_a_meaning(status: u16, body: Vec<u8>) {
        let response = response(status, body);
        let _ = (classify(&response), remark(&response));
    }

    /// A whole answer that breaks off anywhere after the number still rejects.
    #[test]
    fn what_is_rejected_stays_so_wherever_the_answer_ends(number in 1..i64::MAX, message in ".{1,40}", kept in 0.0..1.0_f64) {
        let whole = partial(number, &message);
        let shortest = 3 + prost::length_delimiter_len(usize::try_from(number).unwrap());
        let end = shortest + ((whole.len() - shortest) as f64 * kept) as usize;
        let reason = rejected(classify(&response(200, &whole[..end])));
        let beginning = format!("the receiver rejected {number} log record");
        prop_assert!(reason.message.starts_with(&beginning), "{}", reason.message);
    }
}
