use std::time::Instant;

use proptest::prelude::*;

use super::fixture;
use crate::event::Framing;
use crate::flipt::{CriLine, FramingError, LineKind, read_line, unwrap};

fn reason(line: &[u8]) -> String {
    match read_line(line, Framing::Auto, "f") {
        LineKind::Unparsed { reason } => reason,
        other => panic!("{}: {other:?}", String::from_utf8_lossy(line)),
    }
}

#[test]
fn the_application_log_is_ignored() {
    for line in [
        "",
        "  \t\r",
        "2026-11-22T07:40:09Z\tINFO\tflipt starting\t{\"version\": \"v1.61.0\"}",
        "2026-11-22T07:40:09Z\t\x1b[34mINFO\x1b[0m\taudit sinks enabled",
        "2026-11-22T07:40:09Z\t\x1b[35mDEBUG\x1b[0m\tAUDIT\t{\"type\":\"flag\"}",
        "INFO\tno time key",
        "2026-11-22T07:40:09Z\tfatal",
        r#"{"L":"INFO","T":"2026-11-22T07:40:09Z","M":"finished unary call with code OK","server":"grpc"}"#,
        r#"{"L":"ERROR","T":"2026-11-22T07:40:09Z","M":"x","type":"sqlite","action":"migrate"}"#,
        r#"{"level":"info","ts":1,"msg":"renamed keys"}"#,
        r#"{"L":"INFO","T":"2026-11-22T07:4"#,
    ] {
        assert_eq!(read_line(line.as_bytes(), Framing::Auto, "f"), LineKind::Ignored, "{line}");
    }
    let cri = b"2026-11-22T07:32:30.1Z stdout F 2026-11-22T07:40:09Z\tINFO\tflipt starting";
    assert_eq!(read_line(cri, Framing::Cri, "f"), LineKind::Ignored);
    let empty = b"2026-11-22T07:32:30.1Z stdout F ";
    assert_eq!(read_line(empty, Framing::Cri, "f"), LineKind::Ignored);
}

#[test]
fn an_event_with_a_key_of_the_application_log_is_an_event() {
    for line in [
        r#"{"type":"flag","action":"updated","payload":null,"level":"info"}"#,
        r#"{"L":"INFO","M":"AUDIT","type":"flag","action":"updated"}"#,
        r#"{"severity":"high","type":"flag","action":"updated"}"#,
    ] {
        let kind = read_line(line.as_bytes(), Framing::Auto, "f");
        assert!(matches!(kind, LineKind::Event { .. }), "{line}: {kind:?}");
    }
}

#[test]
fn what_cannot_be_read_is_kept_with_a_reason() {
    let secret = "hunter2".repeat(50);
    let cases: [(Vec<u8>, &str); 9] = [
        (b"{\"type\":\"fl\xffag\"}".to_vec(), "not valid UTF-8 at byte 12"),
        (b"{\"type\":\"flag\",\"act".to_vec(), "the JSON ends too early, after 19 bytes"),
        (b"{\"type\":\"flag\" \"action\"}".to_vec(), "not JSON at byte 16: expected `,` or `}`"),
        (b"{\"type\":\"flag\"}{".to_vec(), "not JSON at byte 16: trailing characters"),
        (b"{\"action\":\"updated\"}".to_vec(), "no audit event: \"type\" is missing, or is no string"),
        (
            b"{\"type\":5,\"action\":\"updated\"}".to_vec(),
            "no audit event: \"type\" is missing, or is no string",
        ),
        (b"[1]".to_vec(), "neither JSON nor a line of Flipt's log"),
        (b"2026-11-22T07:40:09Z\tAUDIT".to_vec(), "neither JSON nor a line of Flipt's log"),
        (secret.clone().into_bytes(), "neither JSON nor a line of Flipt's log"),
    ];
    for (line, expected) in cases {
        assert_eq!(reason(&line), expected, "{}", String::from_utf8_lossy(&line));
    }
    assert!(!reason(format!("{{\"{secret}\":\"{secret}\" x").as_bytes()).contains("hunter2"));
}

#[test]
fn container_lines_are_unwrapped_and_joined() {
    let partial =
        b"2026-11-22T07:32:30.123456789Z stdout P {\"type\":\"fl\n2026-11-22T07:32:30.2Z stdout F ag\"}";
    assert_eq!(&*unwrap(partial, Framing::Cri).unwrap(), b"{\"type\":\"flag\"}");
    let tagged = b"2026-11-22T07:32:30+01:00 stderr F:x:y {}";
    assert_eq!(&*unwrap(tagged, Framing::Cri).unwrap(), b"{}");
    let line = CriLine::parse(tagged).unwrap();
    assert_eq!((line.stream, line.partial, line.content), (&b"stderr"[..], false, &b"{}"[..]));

    let fails = |original: &[u8]| unwrap(original, Framing::Cri).unwrap_err();
    assert_eq!(fails(b"{}"), FramingError::NoCriPrefix { line: 1 });
    assert_eq!(fails(b"2026-11-22T07:32:30Z stdout P {}"), FramingError::Unfinished);
    assert_eq!(fails(b"2026-11-22T07:32:30Z stdout P {\n}"), FramingError::NoCriPrefix { line: 2 });
    assert_eq!(fails(b"2026-11-22T07:32:30Z stdout X {}"), FramingError::NoCriPrefix { line: 1 });
    assert_eq!(fails(b"2026-11-22T07:32:30Z stdout F hello"), FramingError::NoJson);
}

proptest! {
    #[test]
    fn container_lines_of_any_cut_join_to_what_was_written(cuts in proptest::collection::vec(0_usize..300, 0..6), index in 0_usize..34) {
        let text = fixture("v0.2_stdout_console.txt");
        let line = text.lines().nth(index).unwrap();
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(line.len())).collect();
        cuts.extend([0, line.len()]);
        cuts.sort_unstable();
        let last = cuts.len() - 2;
        let mut original = Vec::new();
        for (place, pair) in cuts.windows(2).enumerate() {
            if place > 0 {
                original.push(b'\n');
            }
            let tag = if place == last { "F" } else { "P" };
            original.extend_from_slice(format!("2026-11-22T07:32:30.12345678{place}Z stdout {tag} ").as_bytes());
            original.extend_from_slice(&line.as_bytes()[pair[0]..pair[1]]);
        }
        let direct = unwrap(line.as_bytes(), Framing::Auto).unwrap();
        let joined = unwrap(&original, Framing::Cri).unwrap();
        prop_assert_eq!(&*joined, &*direct);
        prop_assert_eq!(read_line(&original, Framing::Cri, "f"), read_line(line.as_bytes(), Framing::Auto, "f"));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>, prefix in "(|\\{|\\{\"L\":|\\{\"type\":\"flag\",\"action\":\"x\",|[^\t]{0,9}\tAUDIT\t\\{|2026-11-22T07:32:30Z stdout [PF] )") {
        let mut line = prefix.into_bytes();
        line.extend(bytes);
        for framing in [Framing::Auto, Framing::Cri] {
            let _ = read_line(&line, framing, "f");
            let _ = unwrap(&line, framing);
        }
    }
}

/// `cargo test --release --lib flipt -- --ignored --nocapture cost`
#[test]
#[ignore = "measures; says nothing in a debug build"]
fn cost_of_reading_a_line() {
    let text = fixture("v0.2_logfile_encoding-json.log");
    let flag = r#"{"version":"0.2","type":"flag","action":"updated","status":"success","metadata":{"actor":{"authentication":"oidc","ip":"10.1.2.3","email":"ann@example.com","name":"Ann","picture":"https://example.com/a.png"}},"payload":{"default_variant":"on","description":"the new checkout, step by step, for everybody","enabled":true,"key":"checkout","name":"Checkout","namespace_key":"default"},"timestamp":"2026-11-22T08:32:19+01:00"}"#;
    let segment = text.lines().nth(11).unwrap();
    for (name, line) in [("flag", flag), ("segment with a constraint", segment)] {
        let mut best = f64::MAX;
        for _ in 0..20 {
            let start = Instant::now();
            for _ in 0..20_000 {
                std::hint::black_box(read_line(
                    std::hint::black_box(line.as_bytes()),
                    Framing::Auto,
                    "flipt",
                ));
            }
            best = best.min(start.elapsed().as_secs_f64() / 20_000.0);
        }
        println!("read_line, {name}, {} bytes: {:.2} µs", line.len(), best * 1e6);
    }
}
