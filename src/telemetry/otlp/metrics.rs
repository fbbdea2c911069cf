//! What was read of the instruments, as OTLP (<https://opentelemetry.io/docs/specs/otel/metrics/data-model/>). Pure.
//!
//! Names are those of `/metrics` without `_total`, which whoever shows OTLP to Prometheus puts at the end again.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics,
    ScopeMetrics, Sum,
};
use opentelemetry_proto::tonic::resource::v1::Resource as SentResource;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_sdk::Resource;

use super::pipeline::SCOPE;
use super::push::Gathered;
use crate::event::Timestamp;
use crate::telemetry::instruments::{Instrument, Kind, Reading, Since, Value};

/// Since when each sum counts. A sum that went down (what it counts for was started anew) counts since it was last
/// seen: within one beginning a cumulative sum only grows.
#[derive(Debug)]
pub(super) struct Beginnings {
    started_at: Timestamp,
    series: BTreeMap<(&'static str, Vec<String>), Seen>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    value: f64,
    began_at: Timestamp,
    at: Timestamp,
}

impl Beginnings {
    /// In a process that was started then.
    pub(super) fn new(started_at: Timestamp) -> Self {
        Self { started_at, series: BTreeMap::new() }
    }

    /// Since when a series counts whose value is this at `now`.
    fn of(&mut self, reading: &Reading, value: f64, first: Timestamp, now: Timestamp) -> Timestamp {
        let key = (reading.instrument.name, reading.labels.clone());
        let began_at = match self.series.get(&key) {
            Some(seen) if value < seen.value => seen.at,
            Some(seen) => seen.began_at,
            None => first,
        };
        self.series.insert(key, Seen { value, began_at, at: now });
        began_at.min(now)
    }
}

/// Everything that was gathered at `now`, in one request.
pub(super) fn request(
    gathered: &Gathered,
    resource: &Resource,
    beginnings: &mut Beginnings,
    now: Timestamp,
) -> ExportMetricsServiceRequest {
    let mut metrics: Vec<Metric> = Vec::new();
    for reading in &gathered.readings {
        let instrument = reading.instrument;
        let began_at = match instrument.since() {
            Since::Process => beginnings.started_at,
            Since::Journal => gathered.journal_began_at,
            Since::FirstAsked => now,
        };
        let place = metrics.iter().position(|metric| metric.name == instrument.name);
        let place = place.unwrap_or_else(|| {
            metrics.push(empty(instrument));
            metrics.len() - 1
        });
        add(&mut metrics[place], reading, beginnings, began_at, now);
    }
    let mut attributes = ResourceAttributesWithSchema::from(resource).attributes.0;
    attributes.sort_by(|one, other| one.key.cmp(&other.key));
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(SentResource { attributes, ..SentResource::default() }),
            scope_metrics: vec![ScopeMetrics {
                scope: Some(InstrumentationScope {
                    name: SCOPE.to_owned(),
                    version: env!("CARGO_PKG_VERSION").to_owned(),
                    ..InstrumentationScope::default()
                }),
                metrics,
                schema_url: String::new(),
            }],
            schema_url: String::new(),
        }],
    }
}

fn empty(instrument: &Instrument) -> Metric {
    let aggregation_temporality = AggregationTemporality::Cumulative.into();
    let data_points = Vec::new();
    Metric {
        name: instrument.name.to_owned(),
        description: instrument.help.to_owned(),
        unit: unit(instrument).to_owned(),
        metadata: Vec::new(),
        data: Some(match instrument.kind {
            Kind::Counter => Data::Sum(Sum { data_points, aggregation_temporality, is_monotonic: true }),
            Kind::Gauge => Data::Gauge(Gauge { data_points }),
            Kind::Histogram => {
                Data::Histogram(Histogram { data_points: Vec::new(), aggregation_temporality })
            }
        }),
    }
}

/// By UCUM (<https://ucum.org/ucum>). A number of things has none: `1` would become `_ratio` in Prometheus.
fn unit(instrument: &Instrument) -> &'static str {
    match instrument.unit() {
        "seconds" => "s",
        "bytes" => "By",
        _ => "",
    }
}

fn add(
    metric: &mut Metric,
    reading: &Reading,
    beginnings: &mut Beginnings,
    began_at: Timestamp,
    now: Timestamp,
) {
    let attributes = attributes(reading);
    let time_unix_nano = nanos(now);
    match (&mut metric.data, &reading.value) {
        (Some(Data::Gauge(gauge)), Value::Number(value)) => gauge.data_points.push(NumberDataPoint {
            attributes,
            time_unix_nano,
            value: Some(number(reading.instrument, *value)),
            ..NumberDataPoint::default()
        }),
        (Some(Data::Sum(sum)), Value::Number(value)) => sum.data_points.push(NumberDataPoint {
            attributes,
            start_time_unix_nano: nanos(beginnings.of(reading, *value, began_at, now)),
            time_unix_nano,
            value: Some(number(reading.instrument, *value)),
            ..NumberDataPoint::default()
        }),
        (Some(Data::Histogram(histogram)), Value::Buckets { bounds, counts, sum }) => {
            let count: u64 = counts.iter().sum();
            histogram.data_points.push(HistogramDataPoint {
                attributes,
                start_time_unix_nano: nanos(beginnings.of(reading, count as f64, began_at, now)),
                time_unix_nano,
                count,
                sum: Some(*sum),
                bucket_counts: counts.clone(),
                explicit_bounds: bounds.to_vec(),
                ..HistogramDataPoint::default()
            });
        }
        // A value that is not of its instrument's kind: the list of instruments is tested for it.
        _ => {}
    }
}

/// Seconds may have a part; everything else is whole, and is not to change its type by its value.
fn number(instrument: &Instrument, value: f64) -> Number {
    match instrument.unit() {
        "seconds" => Number::AsDouble(value),
        _ => Number::AsInt(value as i64),
    }
}

fn attributes(reading: &Reading) -> Vec<KeyValue> {
    let pairs = reading.instrument.labels.iter().zip(&reading.labels);
    pairs
        .map(|(key, value)| KeyValue {
            key: (*key).to_owned(),
            value: Some(AnyValue { value: Some(any_value::Value::StringValue(value.clone())) }),
            ..KeyValue::default()
        })
        .collect()
}

fn nanos(moment: Timestamp) -> u64 {
    u64::try_from(moment.unix_micros()).unwrap_or_default().saturating_mul(1_000)
}
