//! What a whole relay sends to a collector, and what a collector that does not work keeps it from: nothing.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use prost::Message as _;
use serde_json::json;

use crate::support::web::get;
use crate::support::{Receiver, Reply, Workplace, flag_line};

fn place(more: &str) -> Workplace {
    let place = Workplace::new();
    place.configure(&format!(
        "
data_dir: DIR/data
sources: {{flipt: {{type: file, path: DIR/audit.log}}}}
destinations: {{archive: {{type: file, path: DIR/archive.ndjson}}}}
routes: {{all: {{to: [archive]}}}}
{more}"
    ));
    place.append("audit.log", format!("{}\n{}\n", flag_line("checkout", "a"), flag_line("checkout", "b")));
    place
}

/// Whole numbers of sums without attributes by name, each with the moment since which it counts.
fn sums(body: &[u8]) -> BTreeMap<String, (i64, u64)> {
    let request = ExportMetricsServiceRequest::decode(body).unwrap();
    let metrics = request.resource_metrics.into_iter().flat_map(|of_one| of_one.scope_metrics);
    let mut sums = BTreeMap::new();
    for metric in metrics.flat_map(|scope| scope.metrics) {
        let Some(Data::Sum(sum)) = metric.data else { continue };
        if let [point] = &sum.data_points[..]
            && let Some(Number::AsInt(value)) = point.value
        {
            sums.insert(metric.name, (value, point.start_time_unix_nano));
        }
    }
    sums
}

#[test]
fn metrics_of_the_last_moment_arrive_and_count_on_after_a_restart() {
    let collector = Receiver::start();
    let place = place("");
    let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url(""))];
    let variables = variables.each_ref().map(|(name, value)| (*name, value.as_str()));
    let relay = place.start(&variables);
    relay.wait_for_log("\"ready\"");
    place.wait_for_standing("archive", &json!({"accepted": 2, "delivered": 2}));
    let metrics = get(relay.listens("health"), "/metrics").body;
    assert!(
        metrics.contains("audit_relay_telemetry_metric_exports_total{outcome=\"failed\"} 0"),
        "{metrics}"
    );
    assert!(relay.stop().status.success());
    place.append("audit.log", format!("{}\n", flag_line("checkout", "c")));
    let relay = place.start(&variables);
    relay.wait_for_log("waiting for more");
    assert!(relay.stop().status.success());

    let came: Vec<_> =
        collector.received().into_iter().filter(|request| request.path.ends_with("/v1/metrics")).collect();
    let [first, second] = &came[..] else { panic!("{} requests", came.len()) };
    assert_eq!(first.header("content-type"), Some("application/x-protobuf"));
    let (first, second) = (sums(&first.body), sums(&second.body));
    let accepted = "audit_relay_accepted_records";
    let delivered = "audit_relay_destination_delivered_records";
    for name in [accepted, delivered] {
        assert_eq!((first[name].0, second[name].0), (2, 3), "{name}");
        assert_eq!(first[name].1, second[name].1, "{name} counts since the journal was made");
    }
    let of_process = "audit_relay_source_records";
    assert_eq!((first[of_process].0, second[of_process].0), (2, 1));
    assert!(first[of_process].1 < second[of_process].1);
}

#[test]
fn without_a_collector_nothing_is_told_of_one() {
    let place = place("");
    let relay = place.run();
    let metrics = get(relay.listens("health"), "/metrics").body;
    assert!(!metrics.contains("audit_relay_telemetry"), "{metrics}");
    assert!(relay.stop().status.success());
}

#[test]
fn a_collector_that_never_answers_keeps_nothing_and_nobody() {
    let collector = Receiver::scripted(|_, _| Reply::Hang);
    let place = place("telemetry: {shutdown_timeout: 1s}");
    let relay = place.start(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url(""))]);
    relay.wait_for_log("\"ready\"");
    place.wait_for_standing("archive", &json!({"accepted": 2, "delivered": 2}));
    let exit = relay.stop();
    assert!(exit.status.success(), "{}", exit.log);
    assert!(exit.log.contains("stopped; nothing waits"), "{}", exit.log);
    assert!(!exit.log.contains("panicked") && !exit.log.contains("fault of this program"), "{}", exit.log);
}

#[test]
fn a_second_signal_ends_even_the_wait_for_a_collector() {
    let collector = Receiver::scripted(|_, _| Reply::Hang);
    let place = place("telemetry: {shutdown_timeout: 10m}");
    let relay = place.start(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url(""))]);
    relay.wait_for_log("waiting for more");
    relay.signal("TERM");
    collector.wait_for(1);
    let exit = relay.insist("TERM");
    assert_eq!(exit.status.code(), Some(1), "{}", exit.log);
    assert!(exit.log.contains("a second signal"), "{}", exit.log);
}

#[test]
fn what_cannot_be_used_keeps_no_relay_from_its_work() {
    let place = place("");
    let relay = place.start(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "PLANTED")]);
    relay.wait_for_log("\"ready\"");
    place.wait_for_standing("archive", &json!({"accepted": 2, "delivered": 2}));
    let exit = relay.stop();
    assert!(exit.status.success());
    assert!(!exit.log.contains("PLANTED"), "{}", exit.log);
}
