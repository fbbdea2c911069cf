use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tracing_subscriber::fmt::MakeWriter;

use super::*;

/// What was written.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    /// The lines since the last call, without their times.
    fn take(&self) -> Vec<String> {
        let bytes = std::mem::take(&mut *self.0.lock().unwrap());
        let text = String::from_utf8(bytes).unwrap();
        let time = |line: &str| line.find("Z ").map(|end| line[end + 2..].trim_start().to_owned());
        text.lines().map(|line| time(line).unwrap_or_else(|| line.to_owned())).collect()
    }
}

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Written {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// A log for one test, with a clock that stands still until it is set forward.
struct Desk {
    written: Written,
    repeats: Repeats,
    clock: Arc<Mutex<Instant>>,
    started: tracing::Dispatch,
}

impl Desk {
    fn new(level: &str, format: LogFormat) -> Self {
        let clock = Arc::new(Mutex::new(Instant::now()));
        let now = Arc::clone(&clock);
        let repeats = Repeats::by_clock(move || *now.lock().unwrap());
        let written = Written::default();
        let layer = Limited::new(lines(format, false, written.clone()), repeats.clone());
        let layer = layer.with_filter(targets(level).unwrap());
        let started = tracing_subscriber::registry().with(layer).into();
        Self { written, repeats, clock, started }
    }

    fn text(level: &str) -> Self {
        Self::new(level, LogFormat::Text)
    }

    /// What is written meanwhile.
    fn says(&self, work: impl FnOnce()) -> Vec<String> {
        tracing::dispatcher::with_default(&self.started, work);
        self.written.take()
    }

    fn pass(&self, time: Duration) {
        *self.clock.lock().unwrap() += time;
    }
}

fn speak() {
    tracing::info!(target: "audit_relay::source::file", "source, info");
    tracing::debug!(target: "audit_relay::source::file", "source, debug");
    tracing::debug!(target: "audit_relay::delivery", "delivery, debug");
    tracing::error!(target: "hyper::client", "hyper, error");
    tracing::debug!(target: "h2", "h2, debug");
    tracing::trace!(target: "opentelemetry_sdk", "opentelemetry, trace");
}

#[test]
fn libraries_speak_only_where_they_are_named() {
    for (level, expected) in [
        ("off", &[][..]),
        ("info", &["source, info"]),
        ("debug", &["source, info", "source, debug", "delivery, debug"]),
        ("trace", &["source, info", "source, debug", "delivery, debug"]),
        ("info,audit_relay::source=debug", &["source, info", "source, debug"]),
        ("audit_relay::source=debug", &["source, info", "source, debug"]),
        ("audit_relay=debug", &["source, info", "source, debug", "delivery, debug"]),
        ("debug,audit_relay::source=warn", &["delivery, debug"]),
        ("info,hyper=debug", &["source, info", "hyper, error"]),
        ("error,h2=trace,opentelemetry=trace", &["h2, debug", "opentelemetry, trace"]),
    ] {
        let said: Vec<String> = Desk::text(level)
            .says(speak)
            .into_iter()
            .map(|line| line.split_once(' ').unwrap().1.trim_start().to_owned())
            .collect();
        assert_eq!(said, expected, "{level}");
    }
}

fn fails(destination: &str, attempts: u32, why: &str) {
    tracing::warn!(destination, attempts, wait = ?Duration::from_secs(attempts.into()), "not delivered: {why}");
}

#[test]
fn what_repeats_is_told_in_numbers() {
    let desk = Desk::text("info");
    let said = desk.says(|| {
        for attempt in 1..=47 {
            fails("siem", attempt, "connection refused");
        }
        fails("siem", 48, "timed out");
        fails("slack", 1, "connection refused");
    });
    let mut expected: Vec<String> = (1..=5)
        .map(|n| {
            format!("WARN not delivered: connection refused destination=\"siem\" attempts={n} wait={n}s")
        })
        .collect();
    expected.push("WARN not delivered: timed out destination=\"siem\" attempts=48 wait=48s".to_owned());
    expected
        .push("WARN not delivered: connection refused destination=\"slack\" attempts=1 wait=1s".to_owned());
    assert_eq!(said, expected);
    // The minute is not over, then it is, then all is told.
    desk.pass(Duration::from_secs(59));
    assert_eq!(desk.says(|| assert!(desk.repeats.tell_due().is_some())), [""; 0]);
    desk.pass(Duration::from_secs(1));
    let told = "WARN 42 more like this in the last minute were not shown: not delivered: connection refused \
                destination=\"siem\" not_shown=42";
    assert_eq!(desk.says(|| assert_eq!(desk.repeats.tell_due(), None)), [told]);
    assert_eq!(desk.says(|| assert_eq!(desk.repeats.tell_due(), None)), [""; 0]);
    // A new minute.
    let said = desk.says(|| (1..=6).for_each(|attempt| fails("siem", attempt, "connection refused")));
    assert_eq!(said.len(), 5);
    let said = desk.says(|| desk.repeats.tell_all());
    assert!(said[0].starts_with("WARN 1 more like this"), "{said:?}");
}

#[test]
fn a_slow_repetition_is_shown_whole() {
    let desk = Desk::text("info");
    for attempt in 1..=30 {
        assert_eq!(desk.says(|| fails("siem", attempt, "connection refused")).len(), 1, "{attempt}");
        desk.pass(Duration::from_secs(15));
    }
    assert_eq!(desk.says(|| desk.repeats.tell_all()), [""; 0]);
}

#[test]
fn every_error_is_shown_once_and_debug_always() {
    let desk = Desk::text("debug");
    let kinds = 1_000_u32;
    let said = desk.says(|| {
        for round in 0..7 {
            for kind in 0..kinds {
                tracing::error!(sequence = round, error = %kind, "the journal could not be written");
                desk.pass(Duration::from_millis(1));
            }
        }
    });
    let shown = |kind: u32| said.iter().filter(|line| line.ends_with(&format!(" error={kind}"))).count();
    assert!((0..kinds).all(|kind| shown(kind) >= 1));
    // More kinds than are remembered: then what was forgotten is shown, rather than lost.
    assert_eq!(said.len(), 7 * kinds as usize);
    let said = desk.says(|| (0..100).for_each(|_| tracing::debug!("a connection ended early")));
    assert_eq!(said.len(), 100);
}

#[test]
fn what_is_remembered_is_bounded_and_nothing_held_back_goes_untold() {
    let desk = Desk::text("info");
    let (kinds, each) = (300_u64, 8_u64);
    let said = desk.says(|| {
        for kind in 0..kinds {
            for _ in 0..each {
                tracing::info!(kind = %kind, "again");
            }
        }
    });
    assert_eq!(said.len() as u64, kinds * 5);
    let told = desk.says(|| desk.repeats.tell_all());
    let held: u64 =
        told.iter().map(|line| line.rsplit_once("not_shown=").unwrap().1.parse::<u64>().unwrap()).sum();
    assert_eq!(held, kinds * (each - 5));
    assert_eq!(told.len(), 257);
    assert_eq!(
        told.last().unwrap(),
        "WARN 132 more lines were not shown: too many kinds of lines repeat at once not_shown=132"
    );
}

#[test]
fn the_count_is_told_wherever_the_line_itself_would_show() {
    let desk = Desk::text("off,audit_relay::source=warn");
    let say = || tracing::warn!(target: "audit_relay::source", source = "flipt", "again");
    assert_eq!(desk.says(|| (0..6).for_each(|_| say())).len(), 5);
    assert_eq!(
        desk.says(|| desk.repeats.tell_all()),
        ["WARN 1 more like this in the last minute were not shown: again source=\"flipt\" not_shown=1"]
    );
}

#[test]
fn fields_stand_at_the_top_of_json_and_are_readable_in_text() {
    let (trace_id, span_id) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
    let say = |trace_id: Option<&str>| {
        let span_id = trace_id.map(|_| tracing::field::display(span_id));
        let trace_id = trace_id.map(tracing::field::display);
        tracing::warn!(target: "audit_relay::delivery", destination = "siem", trace_id, span_id, "not delivered");
    };
    let text = Desk::text("info").says(|| say(Some(trace_id)));
    let ids = format!("trace_id={trace_id} span_id={span_id}");
    assert_eq!(text, [format!("WARN not delivered destination=\"siem\" {ids}")]);
    assert_eq!(Desk::text("info").says(|| say(None)), ["WARN not delivered destination=\"siem\""]);
    let json = Desk::new("info", LogFormat::Json).says(|| say(Some(trace_id)));
    let mut json: serde_json::Value = serde_json::from_str(&json[0]).unwrap();
    assert!(json.as_object_mut().unwrap().remove("timestamp").is_some());
    let expected = serde_json::json!({
        "level": "WARN",
        "target": "audit_relay::delivery",
        "message": "not delivered",
        "destination": "siem",
        "trace_id": trace_id,
        "span_id": span_id,
    });
    assert_eq!(json, expected);
}

#[test]
fn without_payloads_nothing_is_said_of_them() {
    let desk = Desk::text("trace");
    assert!(!payloads());
    assert_eq!(desk.says(|| payload::refused("siem", &[], "http_5xx", "the receiver answered 500")), [""; 0]);
}
