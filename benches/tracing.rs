//! What the relay's own traces cost, measured from outside on the release binary:
//!
//! ```sh
//! cargo bench --bench tracing
//! ```
//!
//! Lines of about 400 bytes come at a steady rate and are delivered in batches and one by one, while telemetry is off,
//! on, sampled one in ten, or on with a collector that is dead, silent, refusing or overloaded. The variants take
//! turns, round by round, so that a noisy machine is noisy for all of them; the table tells medians, and the smallest
//! and largest in brackets. CPU is that of the relay's process alone, from its start until two seconds after the last event.
//!
//! Smaller runs: `RATE` (1,000 events a second), `SECONDS` (10 in each round), `ROUNDS` (5), `ONLY=batches,one`.

// Each benchmark uses its part of it.
#[allow(dead_code)]
mod support {
    pub(super) mod collector;
    pub(super) mod place;
    pub(super) mod process;
    pub(super) mod receiver;
}

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use support::collector::{Collector, Mood};
use support::place::{Mode, Place, about_this_machine, lines, number};
use support::process::Usage;
use support::receiver::Receiver;

/// What stands behind the relay's telemetry.
#[derive(Debug, Clone, Copy)]
enum Behind {
    Nothing,
    Collector { mood: Mood, sampled: &'static str },
    ClosedPort,
}

const VARIANTS: [(&str, Behind); 7] = [
    ("off", Behind::Nothing),
    ("on", Behind::Collector { mood: Mood::Well, sampled: "1" }),
    ("on, one in ten", Behind::Collector { mood: Mood::Well, sampled: "0.1" }),
    ("on, collector is dead", Behind::ClosedPort),
    ("on, collector is silent", Behind::Collector { mood: Mood::Silent, sampled: "1" }),
    ("on, collector refuses", Behind::Collector { mood: Mood::Refuses, sampled: "1" }),
    ("on, collector is overloaded", Behind::Collector { mood: Mood::Overloaded, sampled: "1" }),
];

/// What one round showed.
struct Shown {
    cpu_micros: f64,
    peak_kib: f64,
    shutdown_seconds: f64,
    spans: f64,
}

fn main() {
    let only = std::env::var("ONLY").unwrap_or_default();
    let wanted = |part: &str| only.is_empty() || only.split(',').any(|word| word == part);
    let (rate, seconds, rounds) = (number("RATE", 1_000), number("SECONDS", 10), number("ROUNDS", 5).max(1));
    let mut report = about_this_machine();
    for (part, mode) in [("batches", Mode::Batches), ("one", Mode::OneByOne)] {
        if wanted(part) {
            report += &compared(mode, rate, seconds, rounds);
        }
    }
    println!("\n{report}");
}

fn compared(mode: Mode, rate: usize, seconds: usize, rounds: usize) -> String {
    let mut shown: Vec<Vec<Shown>> = VARIANTS.iter().map(|_| Vec::new()).collect();
    for turn in 0..rounds {
        for ((name, behind), shown) in VARIANTS.iter().zip(&mut shown) {
            eprintln!("{}, {name}: round {} of {rounds}", mode.name(), turn + 1);
            shown.push(round(mode, *behind, rate, seconds));
        }
    }
    let mut report = format!(
        "\n| {} at {rate}/s | CPU per event | peak memory | shutdown | spans taken per event |\n|---|---:|---:|---:|---:|\n",
        mode.name()
    );
    for ((name, _), shown) in VARIANTS.iter().zip(shown) {
        let median = |of: fn(&Shown) -> f64| {
            let mut all: Vec<f64> = shown.iter().map(of).collect();
            all.sort_by(f64::total_cmp);
            (all[all.len() / 2], all[0], all[all.len() - 1])
        };
        let (cpu, least, most) = median(|shown| shown.cpu_micros);
        let _ = writeln!(
            report,
            "| {name} | {cpu:.1} µs ({least:.1}, {most:.1}) | {:.1} MB | {:.2} s | {:.2} |",
            median(|shown| shown.peak_kib).0 / 1024.0,
            median(|shown| shown.shutdown_seconds).0,
            median(|shown| shown.spans).0 / (rate * seconds) as f64,
        );
    }
    report
}

fn round(mode: Mode, behind: Behind, rate: usize, seconds: usize) -> Shown {
    const TICK: Duration = Duration::from_millis(100);
    let events = rate * seconds;
    let receiver = Receiver::start(events);
    let place = Place::new(&receiver, mode);
    let collector = match behind {
        Behind::Collector { mood, .. } => Some(Collector::start(mood)),
        Behind::Nothing | Behind::ClosedPort => None,
    };
    let mut variables = vec![("OTEL_BSP_SCHEDULE_DELAY", "1000".to_owned())];
    match (&behind, &collector) {
        (Behind::Collector { sampled, .. }, Some(collector)) => {
            variables.push(("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint()));
            variables.push(("OTEL_TRACES_SAMPLER", "parentbased_traceidratio".to_owned()));
            variables.push(("OTEL_TRACES_SAMPLER_ARG", (*sampled).to_owned()));
        }
        (Behind::ClosedPort, _) => variables.push(("OTEL_EXPORTER_OTLP_ENDPOINT", closed_port())),
        _ => {}
    }
    let relay = place.run_with(&variables);
    let begun = Instant::now();
    let per_tick = (rate / 10).max(1);
    for (tick, from) in (0..events).step_by(per_tick).enumerate() {
        std::thread::sleep((TICK * tick as u32).saturating_sub(begun.elapsed()));
        place.append(&lines(from..(from + per_tick).min(events)));
    }
    receiver.wait_for(events, Duration::from_secs(60));
    // What waits for company goes out within a second.
    std::thread::sleep(Duration::from_secs(2));
    let Usage { user, system, peak_kib, .. } = relay.usage();
    let stopping = Instant::now();
    relay.stop();
    Shown {
        cpu_micros: (user + system).as_secs_f64() * 1e6 / events as f64,
        peak_kib: peak_kib as f64,
        shutdown_seconds: stopping.elapsed().as_secs_f64(),
        spans: collector.map_or(0, |collector| collector.spans()) as f64,
    }
}

/// An address at which nobody listens.
fn closed_port() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    format!("http://{}", listener.local_addr().expect("it is bound"))
}
