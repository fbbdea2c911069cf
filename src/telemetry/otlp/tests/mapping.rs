//! What metrics look like as OTLP.

use std::fmt::Write as _;

use opentelemetry::KeyValue;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{AggregationTemporality, NumberDataPoint};
use opentelemetry_sdk::Resource;

use crate::event::Timestamp;
use crate::telemetry::instruments::{self as of, ALL, Instrument, Kind, Reading, Since, Value};
use crate::telemetry::otlp::Gathered;
use crate::telemetry::otlp::metrics::{Beginnings, request};

/// Whole seconds after the year 1970.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix_micros(seconds * 1_000_000)
}

const JOURNAL_BEGAN: i64 = 100;
const STARTED: i64 = 1_000;

fn reading(instrument: &'static Instrument, labels: &[&str], value: f64) -> Reading {
    let labels = labels.iter().map(|label| (*label).to_owned()).collect();
    Reading { instrument, labels, value: Value::Number(value) }
}

fn durations(counts: [u64; 3], sum: f64) -> Reading {
    let value = Value::Buckets { bounds: &[0.25, 1.0], counts: counts.to_vec(), sum };
    Reading { instrument: &of::ATTEMPT_DURATION, labels: vec!["slack".into()], value }
}

fn requested(readings: Vec<Reading>, beginnings: &mut Beginnings, now: i64) -> ExportMetricsServiceRequest {
    let gathered = Gathered { readings, journal_began_at: at(JOURNAL_BEGAN) };
    let own =
        ["service.name", "deployment.environment.name"].map(|key| KeyValue::new(key, format!("a {key}")));
    let resource = Resource::builder_empty().with_attributes(own).build();
    request(&gathered, &resource, beginnings, at(now))
}

/// For people to read.
fn text(request: &ExportMetricsServiceRequest) -> String {
    let attributes = |all: &[opentelemetry_proto::tonic::common::v1::KeyValue]| {
        let shown = |one: &opentelemetry_proto::tonic::common::v1::KeyValue| {
            let Some(any_value::Value::StringValue(value)) = one.value.clone().unwrap().value else {
                panic!()
            };
            format!("{}={value:?}", one.key)
        };
        format!("{{{}}}", all.iter().map(shown).collect::<Vec<_>>().join(", "))
    };
    let seconds = |nanos: u64| nanos as f64 / 1e9;
    let point = |point: &NumberDataPoint| {
        let value = match point.value.unwrap() {
            Number::AsInt(value) => format!("{value}"),
            Number::AsDouble(value) => format!("{value:?}"),
        };
        let since = match point.start_time_unix_nano {
            0 => String::new(),
            nanos => format!(" since {}", seconds(nanos)),
        };
        format!("  {} {value} at {}{since}\n", attributes(&point.attributes), seconds(point.time_unix_nano))
    };
    let mut text = String::new();
    for of_one in &request.resource_metrics {
        writeln!(text, "resource {}", attributes(&of_one.resource.as_ref().unwrap().attributes)).unwrap();
        for scope in &of_one.scope_metrics {
            writeln!(text, "scope {}", scope.scope.as_ref().unwrap().name).unwrap();
            for metric in &scope.metrics {
                let (kind, points) = match metric.data.as_ref().unwrap() {
                    Data::Gauge(gauge) => ("gauge", gauge.data_points.iter().map(point).collect::<String>()),
                    Data::Sum(sum) => {
                        assert!(sum.is_monotonic);
                        assert_eq!(sum.aggregation_temporality(), AggregationTemporality::Cumulative);
                        ("cumulative monotonic sum", sum.data_points.iter().map(point).collect())
                    }
                    Data::Histogram(histogram) => {
                        assert_eq!(histogram.aggregation_temporality(), AggregationTemporality::Cumulative);
                        let point = |point: &opentelemetry_proto::tonic::metrics::v1::HistogramDataPoint| {
                            format!(
                                "  {} count {} sum {:?} buckets {:?} bounds {:?} at {} since {}\n",
                                attributes(&point.attributes),
                                point.count,
                                point.sum.unwrap(),
                                point.bucket_counts,
                                point.explicit_bounds,
                                seconds(point.time_unix_nano),
                                seconds(point.start_time_unix_nano),
                            )
                        };
                        ("cumulative histogram", histogram.data_points.iter().map(point).collect())
                    }
                    other => panic!("{other:?}"),
                };
                writeln!(text, "\n{} [{}], {kind}: {}", metric.name, metric.unit, metric.description)
                    .unwrap();
                text.push_str(&points);
            }
        }
    }
    text
}

/// `UPDATE_GOLDEN=1` writes the file anew; read it before you commit it.
#[test]
fn readings_become_metrics() {
    let readings = vec![
        reading(&of::BUILD_INFO, &["1.2.3"], 1.0),
        reading(&of::CONFIG_APPLIED_AT, &[], 1_795_332_739.5),
        reading(&of::ACCEPTED, &[], 12.0),
        reading(&of::SOURCE_GAPS, &["flipt"], 2.0),
        reading(&of::SOURCE_RECORDS, &["flipt"], 12.0),
        reading(&of::JOURNAL_USED, &[], 1_048_576.0),
        reading(&of::STATE, &["slack", "running"], 1.0),
        reading(&of::STATE, &["slack", "blocked"], 0.0),
        reading(&of::ATTEMPTS, &["slack", "delivered"], 11.0),
        durations([2, 0, 1], 61.5),
        // Another destination: one metric all the same.
        reading(&of::STATE, &["archive", "running"], 1.0),
        reading(&of::PROCESS_CPU, &[], 2.0),
    ];
    let shown = text(&requested(readings, &mut Beginnings::new(at(STARTED)), 1_060));
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/otlp/metrics.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(std::path::Path::new(path).parent().unwrap()).unwrap();
        std::fs::write(path, &shown).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), shown);
}

/// Since when the first point of the first metric counts.
fn began(request: &ExportMetricsServiceRequest) -> u64 {
    match request.resource_metrics[0].scope_metrics[0].metrics[0].data.as_ref().unwrap() {
        Data::Sum(sum) => sum.data_points[0].start_time_unix_nano / 1_000_000_000,
        Data::Histogram(histogram) => histogram.data_points[0].start_time_unix_nano / 1_000_000_000,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_sum_that_goes_down_begins_anew() {
    let mut beginnings = Beginnings::new(at(STARTED));
    for (now, value, expected) in [
        (1_060, 5.0, STARTED),
        (1_120, 5.0, STARTED),
        (1_180, 3.0, 1_120),
        (1_240, 9.0, 1_120),
        (1_300, 0.0, 1_240),
    ] {
        let request = requested(vec![reading(&of::SOURCE_RECORDS, &["flipt"], value)], &mut beginnings, now);
        assert_eq!(began(&request), expected.unsigned_abs(), "at {now}");
    }
    let mut beginnings = Beginnings::new(at(STARTED));
    for (now, counts, expected) in [(1_060, [1, 1, 0], STARTED), (1_120, [0, 0, 1], 1_060)] {
        let request = requested(vec![durations(counts, 1.0)], &mut beginnings, now);
        assert_eq!(began(&request), expected.unsigned_abs());
    }
}

#[test]
fn what_outlives_the_process_counts_since_the_journal_was_made_and_what_nobody_knows_since_it_was_asked_for()
{
    let mut beginnings = Beginnings::new(at(STARTED));
    for now in [1_060, 1_120] {
        let request = requested(vec![reading(&of::DELIVERED, &["slack"], 7.0)], &mut beginnings, now);
        assert_eq!(began(&request), JOURNAL_BEGAN.unsigned_abs());
        let request = requested(vec![reading(&of::SOURCE_GAPS, &["flipt"], 7.0)], &mut beginnings, now);
        assert_eq!(began(&request), 1_060);
    }
}

#[test]
fn only_sums_have_a_beginning_that_is_not_the_process() {
    for instrument in ALL {
        assert!(
            instrument.kind == Kind::Counter || instrument.since() == Since::Process,
            "{}",
            instrument.name
        );
    }
}

#[test]
fn nothing_begins_after_its_own_time() {
    // The clock was put back.
    let mut beginnings = Beginnings::new(at(STARTED));
    let request = requested(vec![reading(&of::SOURCE_RECORDS, &["flipt"], 1.0)], &mut beginnings, 900);
    assert_eq!(began(&request), 900);
}
