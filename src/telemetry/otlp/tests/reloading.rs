//! Other settings while spans are made.

use super::receivers::Collector;
use super::*;

#[tokio::test]
async fn spans_that_are_open_go_where_they_were_begun_to_go() {
    let old = Collector::start(OtlpProtocol::HttpProtobuf, []).await;
    let new = Collector::start(OtlpProtocol::Grpc, []).await;
    let mut telemetry = Telemetry::start(&traces(OtlpProtocol::HttpProtobuf, old.address));
    end_spans(&telemetry, 1);
    let open = tracer(&telemetry).start("open");
    telemetry.apply(&traces(OtlpProtocol::Grpc, new.address));
    assert!(telemetry.tracer().is_on());
    end_spans(&telemetry, 2);
    new.wait_for(1).await;
    drop(open);
    let counts = telemetry.counts().clone();
    while counts.spans().map(all) != Some(4) {
        tokio::task::yield_now().await;
    }
    assert_eq!(old.span_names(), ["send 0", "open"]);
    telemetry.shut_down().await;
    assert_eq!(new.span_names(), ["send 0", "send 1"]);
    assert_eq!(counts.spans(), Some(SpanCounts { exported: 4, ..SpanCounts::default() }));
}

#[tokio::test]
async fn what_is_not_changed_goes_on() {
    let collector = Collector::start(OtlpProtocol::HttpProtobuf, []).await;
    let mut settings = traces(OtlpProtocol::HttpProtobuf, collector.address);
    settings.queue.delay = LONG;
    let mut telemetry = Telemetry::start(&settings);
    end_spans(&telemetry, 1);
    settings.metric_interval = LONG;
    settings.shutdown_timeout = LONG / 2;
    telemetry.apply(&settings);
    assert!(telemetry.retired.is_empty() && collector.came().is_empty());
    end_spans(&telemetry, 1);
    telemetry.shut_down().await;
    assert_eq!(collector.came().len(), 1);
    assert_eq!(collector.span_names().len(), 2);
}

#[tokio::test]
async fn what_was_switched_off_sends_what_it_has_and_then_makes_nothing() {
    let collector = Collector::start(OtlpProtocol::HttpProtobuf, []).await;
    let mut settings = traces(OtlpProtocol::HttpProtobuf, collector.address);
    settings.queue.delay = LONG;
    let mut telemetry = Telemetry::start(&settings);
    end_spans(&telemetry, 3);
    telemetry.apply(&off());
    assert!(!telemetry.tracer().is_on());
    // It does not wait for the shutdown.
    collector.wait_for(1).await;
    telemetry.apply(&settings);
    assert!(telemetry.tracer().is_on());
    let counts = telemetry.counts().clone();
    telemetry.shut_down().await;
    assert_eq!(counts.spans(), Some(SpanCounts { exported: 3, ..SpanCounts::default() }));
}

#[tokio::test]
async fn nothing_is_counted_where_nothing_is_on() {
    let mut telemetry = Telemetry::start(&off());
    telemetry.read_last().await;
    let counts = telemetry.counts().clone();
    telemetry.shut_down().await;
    assert_eq!((counts.spans(), counts.metrics()), (None, None));
}

#[tokio::test]
async fn a_certificate_that_was_swapped_is_read_anew() {
    let collector = Collector::start(OtlpProtocol::HttpProtobuf, []).await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ca.pem");
    let issue = || {
        let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(&path, issued.cert.pem()).unwrap();
    };
    issue();
    let mut settings = traces(OtlpProtocol::HttpProtobuf, collector.address);
    settings.traces.as_mut().unwrap().tls.ca = Some(path.clone());
    let mut telemetry = Telemetry::start(&settings);
    telemetry.apply(&settings);
    assert!(telemetry.retired.is_empty());
    issue();
    telemetry.apply(&settings);
    assert_eq!(telemetry.retired.len(), 1);
    telemetry.shut_down().await;
}
