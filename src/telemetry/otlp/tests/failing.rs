//! Collectors that are dead, slow, or refuse: nothing is held up, nothing grows, and every span is counted.

use std::time::Instant;

use opentelemetry::KeyValue;

use super::receivers::{Collector, Reply};
use super::*;
use crate::telemetry::otlp::{channel, client};

#[tokio::test]
async fn nobody_is_there() {
    for protocol in BOTH {
        let telemetry = Telemetry::start(&traces(protocol, nobody()));
        end_spans(&telemetry, 7);
        let counts = telemetry.counts().clone();
        telemetry.shut_down().await;
        let expected = SpanCounts { export_failed: 7, ..SpanCounts::default() };
        assert_eq!(counts.spans(), Some(expected), "{protocol:?}");
    }
}

#[tokio::test]
async fn a_collector_that_never_answers_does_not_hold_up_the_end() {
    for protocol in BOTH {
        let collector = Collector::start(protocol, [Reply::Nothing]).await;
        let mut settings = traces(protocol, collector.address);
        settings.shutdown_timeout = Duration::from_millis(200);
        let telemetry = Telemetry::start(&settings);
        end_spans(&telemetry, 3);
        collector.wait_for(1).await;
        end_spans(&telemetry, 4);
        let counts = telemetry.counts().clone();
        let begun = Instant::now();
        telemetry.shut_down().await;
        // The request alone could take a minute.
        assert!(begun.elapsed() < LONG / 2, "{:?}", begun.elapsed());
        assert_eq!(counts.spans(), Some(SpanCounts { shutdown: 7, ..SpanCounts::default() }));
    }
}

#[tokio::test]
async fn what_is_dropped_without_a_shutdown_is_lost_at_once_and_counted() {
    let collector = Collector::start(OtlpProtocol::HttpProtobuf, [Reply::Nothing]).await;
    let telemetry = Telemetry::start(&traces(OtlpProtocol::HttpProtobuf, collector.address));
    end_spans(&telemetry, 2);
    collector.wait_for(1).await;
    let open = tracer(&telemetry).start("open");
    let (counts, tracer) = (telemetry.counts().clone(), tracer(&telemetry));
    let begun = Instant::now();
    drop(telemetry);
    assert!(begun.elapsed() < LONG / 2, "{:?}", begun.elapsed());
    // Neither what is ended later nor what is begun later is counted twice.
    drop(open);
    tracer.start("later").end();
    assert_eq!(counts.spans(), Some(SpanCounts { shutdown: 3, ..SpanCounts::default() }));
}

#[tokio::test]
async fn a_request_is_bounded_by_its_timeout() {
    for protocol in BOTH {
        let collector = Collector::start(protocol, vec![Reply::Nothing; 10]).await;
        let mut settings = traces(protocol, collector.address);
        settings.traces.as_mut().unwrap().timeout = Duration::from_millis(50);
        let telemetry = Telemetry::start(&settings);
        end_spans(&telemetry, 2);
        let counts = telemetry.counts().clone();
        telemetry.shut_down().await;
        assert_eq!(counts.spans(), Some(SpanCounts { export_failed: 2, ..SpanCounts::default() }));
    }
}

#[tokio::test]
async fn what_is_answered_by_503_is_sent_again_when_the_collector_says() {
    let script = [Reply::Status(503, &[("retry-after", "1")])];
    let collector = Collector::start(OtlpProtocol::HttpProtobuf, script).await;
    let telemetry = Telemetry::start(&traces(OtlpProtocol::HttpProtobuf, collector.address));
    end_spans(&telemetry, 2);
    let came = collector.wait_for(2).await;
    assert!(came[1].at.duration_since(came[0].at) >= Duration::from_secs(1));
    assert_eq!(came[0].traces, came[1].traces);
    let counts = telemetry.counts().clone();
    telemetry.shut_down().await;
    assert_eq!(counts.spans(), Some(SpanCounts { exported: 2, ..SpanCounts::default() }));

    let collector = Collector::start(OtlpProtocol::Grpc, [Reply::Status(503, &[])]).await;
    let telemetry = Telemetry::start(&traces(OtlpProtocol::Grpc, collector.address));
    end_spans(&telemetry, 2);
    let counts = telemetry.counts().clone();
    telemetry.shut_down().await;
    assert_eq!(counts.spans(), Some(SpanCounts { exported: 2, ..SpanCounts::default() }));
}

#[tokio::test]
async fn what_is_refused_for_good_is_sent_once_and_no_redirect_is_followed() {
    for (protocol, status) in [
        (OtlpProtocol::HttpProtobuf, 400),
        (OtlpProtocol::HttpProtobuf, 307),
        (OtlpProtocol::HttpProtobuf, 500),
        (OtlpProtocol::Grpc, 400),
    ] {
        let script = vec![Reply::Status(status, &[("location", "/elsewhere")]); 10];
        let collector = Collector::start(protocol, script).await;
        let telemetry = Telemetry::start(&traces(protocol, collector.address));
        end_spans(&telemetry, 3);
        let counts = telemetry.counts().clone();
        telemetry.shut_down().await;
        assert_eq!(counts.spans(), Some(SpanCounts { export_failed: 3, ..SpanCounts::default() }));
        let names = collector.span_names();
        assert_eq!(names.len(), 3, "{status}: {names:?}");
    }
}

#[tokio::test]
async fn an_answer_without_an_end_is_not_read_to_it() {
    let collector = Collector::start(OtlpProtocol::HttpProtobuf, [Reply::Endless]).await;
    let telemetry = Telemetry::start(&traces(OtlpProtocol::HttpProtobuf, collector.address));
    end_spans(&telemetry, 3);
    let counts = telemetry.counts().clone();
    telemetry.shut_down().await;
    assert_eq!(counts.spans(), Some(SpanCounts { exported: 3, ..SpanCounts::default() }));
}

#[tokio::test]
async fn what_waits_is_bounded_by_number() {
    let collector = Collector::start(OtlpProtocol::HttpProtobuf, [Reply::Nothing]).await;
    let mut settings = traces(OtlpProtocol::HttpProtobuf, collector.address);
    settings.queue = Queue { max_spans: 10, max_batch: 4, delay: LONG };
    settings.shutdown_timeout = Duration::from_millis(100);
    let telemetry = Telemetry::start(&settings);
    end_spans(&telemetry, 4);
    collector.wait_for(1).await;
    // Those under way count, too.
    end_spans(&telemetry, 20);
    let ledger = telemetry.pipeline.as_ref().unwrap().ledger();
    assert_eq!(ledger.waiting().0, 10);
    let counts = telemetry.counts().clone();
    assert_eq!(counts.spans().unwrap().queue_full, 14);
    telemetry.shut_down().await;
    let expected = SpanCounts { queue_full: 14, shutdown: 10, ..SpanCounts::default() };
    assert_eq!(counts.spans(), Some(expected));
}

#[tokio::test]
async fn what_waits_is_bounded_by_bytes() {
    let collector = Collector::start(OtlpProtocol::HttpProtobuf, [Reply::Nothing]).await;
    let mut settings = traces(OtlpProtocol::HttpProtobuf, collector.address);
    settings.shutdown_timeout = Duration::from_millis(100);
    let telemetry = Telemetry::start(&settings);
    let tracer = tracer(&telemetry);
    for _ in 0..100 {
        let mut span = tracer.start("send");
        span.set_attribute(KeyValue::new("url.full", "x".repeat(200_000)));
        span.end();
    }
    let (spans, bytes) = telemetry.pipeline.as_ref().unwrap().ledger().waiting();
    assert!(bytes <= 8 << 20 && spans == 41, "{spans} spans of {bytes} bytes");
    let counts = telemetry.counts().clone();
    telemetry.shut_down().await;
    assert_eq!((counts.spans().unwrap().queue_full, all(counts.spans().unwrap())), (59, 100));
}

#[tokio::test]
async fn room_is_given_back_by_whatever_becomes_of_spans() {
    let script = [Reply::Status(400, &[]), Reply::Rejects(1), Reply::Taken];
    let collector = Collector::start(OtlpProtocol::HttpProtobuf, script).await;
    let mut settings = traces(OtlpProtocol::HttpProtobuf, collector.address);
    settings.queue = Queue { max_spans: 4, max_batch: 4, delay: LONG };
    let telemetry = Telemetry::start(&settings);
    let counts = telemetry.counts().clone();
    for round in 1..=3 {
        end_spans(&telemetry, 4);
        while all(counts.spans().unwrap()) < 4 * round {
            tokio::task::yield_now().await;
        }
        assert_eq!(telemetry.pipeline.as_ref().unwrap().ledger().waiting(), (0, 0));
    }
    telemetry.shut_down().await;
    let expected = SpanCounts { exported: 7, export_failed: 4, rejected: 1, ..SpanCounts::default() };
    assert_eq!(counts.spans(), Some(expected));
}

#[tokio::test]
async fn what_cannot_be_used_leaves_only_its_signal_off_and_is_told_without_secrets() {
    let address = nobody();
    let missing = "/nowhere/ca.pem";
    let of = |change: &dyn Fn(&mut Signal)| {
        let mut signal = signal(OtlpProtocol::Grpc, address, "");
        change(&mut signal);
        signal
    };
    let cases: [(&str, Signal); 5] = [
        ("endpoint", of(&|signal| signal.endpoint = Secret::new("PLANTED"))),
        ("endpoint", of(&|signal| signal.endpoint = Secret::new("unix:/PLANTED"))),
        ("x-bad", of(&|signal| signal.headers = vec![("x-bad".into(), Secret::new("PLANTED\n"))])),
        ("x bad", of(&|signal| signal.headers = vec![("x bad".into(), Secret::new("PLANTED"))])),
        (
            missing,
            of(&|signal| {
                signal.endpoint = Secret::new("https://PLANTED.example.com");
                signal.tls.ca = Some(missing.into());
            }),
        ),
    ];
    for (word, signal) in cases {
        let by_http = client::Client::new(&signal).unwrap_err();
        let by_grpc = channel::connect(&signal).unwrap_err();
        for error in [by_http, by_grpc] {
            assert!(error.contains(word) && !error.contains("PLANTED"), "{error}");
        }
        let traces = Some(Signal { protocol: OtlpProtocol::HttpProtobuf, ..signal.clone() });
        let telemetry = Telemetry::start(&Settings { traces, ..off() });
        assert!(!telemetry.tracer().is_on());
        let counts = telemetry.counts().clone();
        telemetry.shut_down().await;
        assert_eq!(counts.spans().map(all), Some(0));
    }
}

#[tokio::test]
async fn nothing_shows_the_address_or_a_header() {
    let mut signal = signal(OtlpProtocol::HttpProtobuf, nobody(), "PLANTED");
    signal.timeout = Duration::from_secs(5);
    let client = client::Client::new(&signal).unwrap();
    let error = client.post(Vec::new().into(), None).await.unwrap_err();
    assert!(error.contains("onnect"), "{error}");
    let shown = format!("{error} {client:?} {signal:?}");
    assert!(!shown.contains("PLANTED"), "{shown}");
}
