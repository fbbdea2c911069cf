//! Readings in the words of Prometheus: its text format, and OpenMetrics.

use std::fmt::Write as _;

use super::instruments::{ALL, Instrument, Kind, Reading, Value};

/// How readings are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>
    Text,
    /// <https://prometheus.io/docs/specs/om/open_metrics_spec/>
    OpenMetrics,
}

impl Format {
    /// The one that an `Accept` header prefers; the text format where it does not say.
    #[must_use]
    pub fn accepted(accept: Option<&str>) -> Self {
        let mut best = (Self::Text, -1.0_f32);
        for part in accept.unwrap_or_default().split(',') {
            let mut pieces = part.split(';').map(str::trim);
            let format = match pieces.next() {
                Some("application/openmetrics-text") => Self::OpenMetrics,
                Some("text/plain" | "text/*" | "*/*") => Self::Text,
                _ => continue,
            };
            let pieces: Vec<&str> = pieces.collect();
            let is_known = |version: &&str| !version.starts_with("version=") || *version == "version=1.0.0";
            if format == Self::OpenMetrics && !pieces.iter().all(is_known) {
                continue;
            }
            let quality =
                pieces.iter().find_map(|piece| piece.strip_prefix("q=")?.parse().ok()).unwrap_or(1.0);
            if quality > best.1 && quality > 0.0 {
                best = (format, quality);
            }
        }
        best.0
    }

    /// Its `Content-Type`.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// All readings, those of one instrument together. An instrument of which nothing was read is not told.
#[must_use]
pub fn text(readings: &[Reading], format: Format) -> String {
    let mut text = String::new();
    for instrument in ALL {
        let mut found = readings.iter().filter(|reading| reading.instrument == *instrument).peekable();
        if found.peek().is_some() {
            head(&mut text, instrument, format);
        }
        for reading in found {
            tell(&mut text, reading);
        }
    }
    if format == Format::OpenMetrics {
        text.push_str("# EOF\n");
    }
    text
}

fn head(text: &mut String, instrument: &Instrument, format: Format) {
    let family = match format {
        Format::Text => instrument.series(),
        Format::OpenMetrics => instrument.name.to_owned(),
    };
    let help = escaped(instrument.help, format == Format::OpenMetrics);
    let _ = writeln!(text, "# HELP {family} {help}\n# TYPE {family} {}", instrument.kind.as_str());
    if format == Format::OpenMetrics && !instrument.unit().is_empty() {
        let _ = writeln!(text, "# UNIT {family} {}", instrument.unit());
    }
}

fn tell(text: &mut String, reading: &Reading) {
    let series = reading.instrument.series();
    let names = reading.instrument.labels.iter().copied();
    let labels: Vec<(&str, &str)> = names.zip(reading.labels.iter().map(String::as_str)).collect();
    match &reading.value {
        Value::Number(number) => line(text, &series, &labels, None, *number),
        Value::Buckets { bounds, counts, sum } => {
            debug_assert_eq!(reading.instrument.kind, Kind::Histogram);
            let bucket = format!("{series}_bucket");
            let mut seen = 0_u64;
            let bounds = bounds.iter().map(|bound| open_metrics_bound(*bound)).chain(["+Inf".to_owned()]);
            for (bound, count) in bounds.zip(counts) {
                seen += count;
                line(text, &bucket, &labels, Some(&bound), seen as f64);
            }
            line(text, &format!("{series}_sum"), &labels, None, *sum);
            line(text, &format!("{series}_count"), &labels, None, seen as f64);
        }
    }
}

/// OpenMetrics wants `1.0`, and the text format does not mind.
fn open_metrics_bound(bound: f64) -> String {
    format!("{bound:?}")
}

fn line(text: &mut String, name: &str, labels: &[(&str, &str)], bound: Option<&str>, value: f64) {
    let labels = labels.iter().copied().chain(bound.map(|bound| ("le", bound)));
    let labels: Vec<String> =
        labels.map(|(name, value)| format!("{name}=\"{}\"", escaped(value, true))).collect();
    let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
    let _ = writeln!(text, "{name}{labels} {value}");
}

fn escaped(text: &str, quotes: bool) -> String {
    let text = text.replace('\\', "\\\\").replace('\n', "\\n");
    if quotes { text.replace('"', "\\\"") } else { text }
}

#[cfg(test)]
mod tests {
    use super::super::instruments::{ACCEPTED, ATTEMPT_DURATION, SOURCE_LAST_EVENT};
    use super::*;

    fn readings() -> Vec<Reading> {
        let buckets = Value::Buckets { bounds: &[0.25, 1.0], counts: vec![2, 0, 1], sum: 61.5 };
        vec![
            Reading { instrument: &ATTEMPT_DURATION, labels: vec!["si\"e\\m\n".into()], value: buckets },
            Reading { instrument: &ACCEPTED, labels: Vec::new(), value: Value::Number(12.0) },
            Reading {
                instrument: &SOURCE_LAST_EVENT,
                labels: vec!["flipt".into()],
                value: Value::Number(1_795_332_739.5),
            },
        ]
    }

    #[test]
    fn readings_are_written_as_prometheus_reads_them() {
        let text = text(&readings(), Format::Text);
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("# HELP")).collect();
        let expected = [
            "# TYPE audit_relay_accepted_records_total counter",
            "audit_relay_accepted_records_total 12",
            "# TYPE audit_relay_source_last_event_timestamp_seconds gauge",
            "audit_relay_source_last_event_timestamp_seconds{source=\"flipt\"} 1795332739.5",
            "# TYPE audit_relay_destination_attempt_duration_seconds histogram",
            "audit_relay_destination_attempt_duration_seconds_bucket{destination=\"si\\\"e\\\\m\\n\",le=\"0.25\"} 2",
            "audit_relay_destination_attempt_duration_seconds_bucket{destination=\"si\\\"e\\\\m\\n\",le=\"1.0\"} 2",
            "audit_relay_destination_attempt_duration_seconds_bucket{destination=\"si\\\"e\\\\m\\n\",le=\"+Inf\"} 3",
            "audit_relay_destination_attempt_duration_seconds_sum{destination=\"si\\\"e\\\\m\\n\"} 61.5",
            "audit_relay_destination_attempt_duration_seconds_count{destination=\"si\\\"e\\\\m\\n\"} 3",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn open_metrics_names_families_without_their_suffix_and_has_an_end() {
        let text = text(&readings(), Format::OpenMetrics);
        assert!(text.contains(
            "# TYPE audit_relay_accepted_records counter\naudit_relay_accepted_records_total 12\n"
        ));
        assert!(text.contains("# UNIT audit_relay_source_last_event_timestamp_seconds seconds\n"));
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn the_format_is_the_one_that_is_asked_for() {
        let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        for (accept, format) in [
            (None, Format::Text),
            (Some(""), Format::Text),
            (Some("*/*"), Format::Text),
            (Some("text/html,*/*;q=0.1"), Format::Text),
            (Some("application/openmetrics-text; version=0.0.1"), Format::Text),
            (Some("application/openmetrics-text"), Format::OpenMetrics),
            (Some("application/openmetrics-text;q=0"), Format::Text),
            (Some("text/plain;version=0.0.4,application/openmetrics-text;version=1.0.0;q=0.5"), Format::Text),
            (Some(prometheus), Format::OpenMetrics),
        ] {
            assert_eq!(Format::accepted(accept), format, "{accept:?}");
        }
    }
}
