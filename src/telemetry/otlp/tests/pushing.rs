//! Metrics on their way.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::receivers::{Came, Collector, Reply};
use super::*;
use crate::event::Timestamp;
use crate::telemetry::instruments::{ACCEPTED, Reading, Value};
use crate::telemetry::otlp::{Gather, Gathered, MetricCounts};

/// Reads one, two, three … accepted records.
fn counting() -> Gather {
    let asked = AtomicU64::new(0);
    Arc::new(move || {
        let number = asked.fetch_add(1, Ordering::Relaxed) + 1;
        let value = Value::Number(number as f64);
        let readings = vec![Reading { instrument: &ACCEPTED, labels: Vec::new(), value }];
        let journal_began_at = Timestamp::from_unix_micros(1);
        Box::pin(async move { Some(Gathered { readings, journal_began_at }) })
    })
}

fn metrics(protocol: OtlpProtocol, address: SocketAddr) -> Settings {
    Settings { metrics: Some(signal(protocol, address, "v1/metrics")), ..off() }
}

fn value(came: &Came) -> i64 {
    use opentelemetry_proto::tonic::metrics::v1::{metric::Data, number_data_point::Value};
    let metric = &came.metrics.resource_metrics[0].scope_metrics[0].metrics[0];
    assert_eq!(metric.name, "audit_relay_accepted_records");
    let Some(Data::Sum(sum)) = &metric.data else { panic!("{metric:?}") };
    let Some(Value::AsInt(value)) = sum.data_points[0].value else { panic!("{metric:?}") };
    value
}

#[tokio::test]
async fn they_are_sent_every_so_often_and_once_at_the_end() {
    for protocol in BOTH {
        for gzip in [false, true] {
            let collector = Collector::start(protocol, []).await;
            let mut settings = metrics(protocol, collector.address);
            settings.metrics.as_mut().unwrap().gzip = gzip;
            let mut telemetry = Telemetry::start(&settings);
            telemetry.gather_by(counting());
            collector.wait_for(3).await;
            telemetry.read_last().await;
            let counts = telemetry.counts().clone();
            telemetry.shut_down().await;
            let came = collector.came();
            let values: Vec<_> = came.iter().map(value).collect();
            assert!(values.windows(2).all(|pair| pair[0] < pair[1]), "{values:?}");
            // The one that was under way at the end may have been given up.
            let counted = counts.metrics().unwrap();
            assert!([counted.exported, counted.exported + 1].contains(&(came.len() as u64)), "{counted:?}");
            assert_eq!((counted.failed, counts.spans()), (0, None));
            assert_eq!(came[0].headers.get_all("x-token").iter().collect::<Vec<_>>(), ["PLANTED 50%25"]);
            let encoding = came[0].headers.get("content-encoding").or(came[0].headers.get("grpc-encoding"));
            assert_eq!(encoding.is_some(), gzip, "{protocol:?}");
            if protocol == OtlpProtocol::HttpProtobuf {
                assert_eq!(came[0].path, "/v1/metrics");
                assert_eq!(came[0].headers["content-type"], "application/x-protobuf");
            }
        }
    }
}

#[tokio::test]
async fn the_last_reading_is_sent_where_an_interval_never_ends() {
    let collector = Collector::start(OtlpProtocol::HttpProtobuf, []).await;
    let mut settings = metrics(OtlpProtocol::HttpProtobuf, collector.address);
    settings.metric_interval = LONG;
    let mut telemetry = Telemetry::start(&settings);
    telemetry.gather_by(counting());
    telemetry.read_last().await;
    assert!(collector.came().is_empty());
    let counts = telemetry.counts().clone();
    telemetry.shut_down().await;
    assert_eq!(collector.came().iter().map(value).collect::<Vec<_>>(), [1]);
    assert_eq!(counts.metrics(), Some(MetricCounts { exported: 1, failed: 0 }));
}

#[tokio::test]
async fn what_is_not_taken_is_made_up_for_by_the_next() {
    for protocol in BOTH {
        let script =
            [Reply::Status(503, &[("retry-after", "1000")]), Reply::Status(400, &[]), Reply::Rejects(1)];
        let collector = Collector::start(protocol, script).await;
        let mut telemetry = Telemetry::start(&metrics(protocol, collector.address));
        telemetry.gather_by(counting());
        let counts = telemetry.counts().clone();
        while counts.metrics().is_none_or(|counts| counts.exported == 0) {
            tokio::task::yield_now().await;
        }
        telemetry.shut_down().await;
        assert_eq!(counts.metrics().unwrap().failed, 3, "{protocol:?}");
        assert_eq!(collector.came().iter().take(4).map(value).collect::<Vec<_>>(), [1, 2, 3, 4]);
    }
}

#[tokio::test]
async fn a_collector_that_never_answers_does_not_hold_up_the_end() {
    for protocol in BOTH {
        let collector = Collector::start(protocol, vec![Reply::Nothing; 10]).await;
        let mut settings = metrics(protocol, collector.address);
        settings.shutdown_timeout = Duration::from_millis(100);
        let mut telemetry = Telemetry::start(&settings);
        telemetry.gather_by(counting());
        collector.wait_for(1).await;
        let begun = std::time::Instant::now();
        telemetry.read_last().await;
        telemetry.shut_down().await;
        assert!(begun.elapsed() < LONG / 2, "{:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn another_address_is_used_from_the_next_request_on() {
    let old = Collector::start(OtlpProtocol::HttpProtobuf, []).await;
    let new = Collector::start(OtlpProtocol::HttpProtobuf, []).await;
    let mut telemetry = Telemetry::start(&metrics(OtlpProtocol::HttpProtobuf, old.address));
    telemetry.gather_by(counting());
    old.wait_for(1).await;
    telemetry.apply(&metrics(OtlpProtocol::HttpProtobuf, new.address));
    let came = old.came().len();
    new.wait_for(2).await;
    // One may have been on its way.
    assert!(old.came().len() <= came + 1);
    telemetry.shut_down().await;
}
