//! What the relay costs, measured from outside on the release binary:
//!
//! ```sh
//! cargo bench --bench relay
//! ```
//!
//! Lines of about 400 bytes over 1,000 flags (`FLAGS`), each an edit that turns one on or off, go to a receiver on 127.0.0.1 that answers 200, signed with
//! Flipt's scheme: in batches of 100 (`format: envelope`) and one by one (`format: flipt`). CPU is that of
//! the relay's process alone, from its start until the last answer is journaled; the receiver runs in this
//! process and competes for the same cores. Prints tables ready to paste.
//!
//! Smaller runs: `EVENTS` (500,000), `EVENTS_ONE_BY_ONE` (50,000; `EVENTS_ONE_BY_ONE=500000` for all of
//! them), `LATENCY_SECONDS` (20), `IDLE_SECONDS` (20), `STARTS` (9). `WAITING` (500,000 records that
//! wait behind a stalled receiver), `ONLY=batches,one,latency,idle,start,stalled` chooses parts. `BENCH_DIR` is where files and journals are made (under the build's directory unless told
//! otherwise): a directory in memory shows what is left when syncs cost nothing.

mod support {
    pub(super) mod place;
    pub(super) mod process;
    pub(super) mod receiver;
}

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::{Duration, Instant};

use support::place::{Mode, Place, about_this_machine, line, lines, number, sync_times};
use support::process::Usage;
use support::receiver::Receiver;

fn main() {
    let only = std::env::var("ONLY").unwrap_or_default();
    let wanted = |part: &str| only.is_empty() || only.split(',').any(|word| word == part);
    let events = number("EVENTS", 500_000);
    let one_by_one = number("EVENTS_ONE_BY_ONE", 50_000);
    let seconds = number("LATENCY_SECONDS", 20);

    let mut report = about_this_machine();
    if wanted("batches") || wanted("one") {
        report += "\n| load | events | events/s | CPU per event | user / system | peak memory | journal on disk |\n";
        report += "|---|---:|---:|---:|---:|---:|---:|\n";
        if wanted("batches") {
            report += &throughput(Mode::Batches, events);
        }
        if wanted("one") {
            report += &throughput(Mode::OneByOne, one_by_one);
        }
    }
    if wanted("latency") {
        report += "\n| append to receipt | rate | p50 | p99 | longest | CPU | a sync just before |\n|---|---:|---:|---:|---:|---:|---|\n";
        for mode in [Mode::OneByOne, Mode::Batches] {
            for rate in [100, 1_000] {
                report += &latency(mode, rate, seconds);
            }
        }
    }
    if wanted("stalled") {
        report += &stalled(number("WAITING", 500_000), number("ROUND", 50_000));
    }
    if wanted("idle") || wanted("start") {
        report += "\n| | |\n|---|---:|\n";
        if wanted("idle") {
            report += &idle(number("IDLE_SECONDS", 20));
        }
        if wanted("start") {
            report += &starts(number("STARTS", 9));
        }
    }
    println!("\n{report}");
}

/// How fast a file that is there already is journaled and delivered, and what it costs.
fn throughput(mode: Mode, events: usize) -> String {
    eprintln!("{}: {events} events", mode.name());
    let receiver = Receiver::start(events);
    let place = Place::new(&receiver, mode);
    place.append(&lines(0..events));
    let begun = Instant::now();
    let relay = place.run();
    eprintln!("  process {}", relay.id());
    receiver.wait_for(events, Duration::from_secs(3_600));
    let took = begun.elapsed();
    relay.wait_for_log("up to date", Duration::from_secs(60));
    let Usage { user, system, peak_kib, .. } = relay.usage();
    let journal = place.journal_bytes();
    relay.stop();
    assert_eq!(receiver.events(), events, "events came more than once");
    let per_event = |time: Duration| time.as_secs_f64() * 1e6 / events as f64;
    format!(
        "| {} | {events} | {:.0} | {:.1} µs | {:.1} / {:.1} µs | {:.1} MB | {:.0} MB |\n",
        mode.name(),
        events as f64 / took.as_secs_f64(),
        per_event(user + system),
        per_event(user),
        per_event(system),
        peak_kib as f64 / 1024.0,
        journal as f64 / 1e6,
    )
}

/// How long a line takes from its append until its request has been received, at a steady rate.
fn latency(mode: Mode, rate: usize, seconds: usize) -> String {
    eprintln!("{}: {rate}/s for {seconds} s", mode.name());
    let events = rate * seconds;
    let sync = sync_times();
    let receiver = Receiver::start(events);
    let place = Place::new(&receiver, mode);
    let relay = place.run();
    let mut file = place.open_log();
    let mut appended = Vec::with_capacity(events);
    let before = relay.usage();
    let begun = Instant::now();
    for number in 0..events {
        let due = begun + Duration::from_secs_f64(number as f64 / rate as f64);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let line = line(number);
        appended.push(Instant::now());
        file.write_all(line.as_bytes()).expect("the log can be written");
    }
    receiver.wait_for(events, Duration::from_secs(60));
    let after = relay.usage();
    relay.stop();
    let mut took: Vec<Duration> = receiver
        .receipts()
        .iter()
        .zip(&appended)
        .map(|(receipt, appended)| receipt.expect("every event came").saturating_duration_since(*appended))
        .collect();
    took.sort_unstable();
    let at = |part: f64| took[((took.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e3;
    let cpu = (after.user + after.system).saturating_sub(before.user + before.system);
    format!(
        "| {} | {rate}/s | {:.2} ms | {:.2} ms | {:.2} ms | {:.1} % of a core | {sync} |\n",
        mode.name(),
        at(0.5),
        at(0.99),
        at(1.0),
        cpu.as_secs_f64() / seconds as f64 * 100.0,
    )
}

/// What one destination costs while as many records wait for another whose receiver never answers, beside
/// what it costs alone: CPU per event in five rounds each, the journal filled alike.
fn stalled(waiting: usize, round: usize) -> String {
    const ROUNDS: usize = 5;
    let mut report =
        String::from("\n| | CPU per event: median (from, to) | resident | peak |\n|---|---:|---:|---:|\n");
    for is_stalled in [false, true] {
        let name = if is_stalled { "beside a stalled destination" } else { "alone" };
        eprintln!("{name}: {waiting} events, then {ROUNDS} times {round}");
        let total = waiting + ROUNDS * round;
        let receiver = Receiver::start(total);
        let hole = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let place = Place::new(&receiver, Mode::Batches);
        if is_stalled {
            let address = hole.local_addr().expect("it is bound");
            place.add_destination(&format!("stalled: {{type: webhook, url: 'http://{address}/'}}"));
        }
        place.append(&lines(0..waiting));
        let relay = place.run();
        receiver.wait_for(waiting, Duration::from_secs(3_600));
        // The lane that stands still decides on all that waits for it.
        let mut before = relay.usage();
        loop {
            std::thread::sleep(Duration::from_secs(1));
            let now = relay.usage();
            if (now.user + now.system).saturating_sub(before.user + before.system) < Duration::from_millis(20)
            {
                break;
            }
            before = now;
        }
        let mut costs: Vec<f64> = (0..ROUNDS)
            .map(|turn| {
                let from = waiting + turn * round;
                let before = relay.usage();
                place.append(&lines(from..from + round));
                receiver.wait_for(from + round, Duration::from_secs(600));
                std::thread::sleep(Duration::from_millis(500));
                let after = relay.usage();
                let cpu = (after.user + after.system).saturating_sub(before.user + before.system);
                cpu.as_secs_f64() * 1e6 / round as f64
            })
            .collect();
        costs.sort_by(f64::total_cmp);
        let usage = relay.usage();
        relay.stop();
        let _ = writeln!(
            report,
            "| {name} | {:.1} µs ({:.1}, {:.1}) | {:.1} MB | {:.1} MB |",
            costs[ROUNDS / 2],
            costs[0],
            costs[ROUNDS - 1],
            usage.resident_kib as f64 / 1024.0,
            usage.peak_kib as f64 / 1024.0,
        );
    }
    report
}

/// What it takes when nothing happens, after it has relayed something.
fn idle(seconds: usize) -> String {
    eprintln!("idle for {seconds} s");
    let receiver = Receiver::start(1_000);
    let place = Place::new(&receiver, Mode::OneByOne);
    place.append(&lines(0..1_000));
    let relay = place.run();
    receiver.wait_for(1_000, Duration::from_secs(60));
    relay.wait_for_log("up to date", Duration::from_secs(60));
    // Once a minute something is looked after; the first seconds may still settle.
    std::thread::sleep(Duration::from_secs(2));
    let before = relay.usage();
    std::thread::sleep(Duration::from_secs(seconds as u64));
    let after = relay.usage();
    relay.stop();
    let wake_ups = after.switches_since(&before);
    let cpu = (after.user + after.system).saturating_sub(before.user + before.system);
    format!(
        "| idle memory (resident; of it anonymous) | {:.1} MB; {:.1} MB |\n\
         | idle wake-ups | {:.2}/s |\n| idle CPU | {:.3} % |\n| threads | {} |\n",
        after.resident_kib as f64 / 1024.0,
        after.anonymous_kib as f64 / 1024.0,
        wake_ups as f64 / seconds as f64,
        cpu.as_secs_f64() / seconds as f64 * 100.0,
        after.switches.len(),
    )
}

/// From the start of the process until its log says `ready`.
fn starts(count: usize) -> String {
    eprintln!("{count} starts");
    let receiver = Receiver::start(1_000);
    let median = |mut times: Vec<Duration>| {
        times.sort_unstable();
        let at = |index: usize| times[index].as_secs_f64() * 1e3;
        format!("{:.0} ms ({:.0} to {:.0})", at(times.len() / 2), at(0), at(times.len() - 1))
    };
    let start = |place: &Place| {
        let begun = Instant::now();
        let relay = place.run();
        let took = begun.elapsed();
        relay.stop();
        took
    };
    let fresh = (0..count).map(|_| start(&Place::new(&receiver, Mode::OneByOne))).collect();
    let place = Place::new(&receiver, Mode::OneByOne);
    place.append(&lines(0..1_000));
    let relay = place.run();
    relay.wait_for_log("up to date", Duration::from_secs(60));
    relay.stop();
    let again = (0..count).map(|_| start(&place)).collect();
    format!(
        "| time to ready, journal of 1,000 records (median of {count}; from, to) | {} |\n\
         | time to ready, first start | {} |\n",
        median(again),
        median(fresh),
    )
}
