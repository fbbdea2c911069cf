//! What a source does when another takes over from it.

use super::*;
use crate::config::plan::{ReadFrom, Reclaim, WatchMode};
use crate::event::Framing;
use crate::journal::Options;

/// A source of one file, with a journal of its own.
fn source(dir: &std::path::Path) -> FileSource {
    let options = Options {
        data_dir: dir.join("data"),
        keep: Duration::from_secs(86_400),
        max_size_bytes: 64 << 20,
        lock_wait: Duration::ZERO,
        keeps_all: false,
    };
    FileSource {
        relay_name: "audit-relay".to_owned(),
        name: "flipt".to_owned(),
        instance: "flipt".to_owned(),
        single_writer: true,
        plan: FileSourcePlan {
            paths: vec![dir.join("audit.log").to_str().unwrap().to_owned()],
            framing: Framing::Auto,
            read_from: ReadFrom::Beginning,
            max_event_bytes: 1 << 20,
            rotated_dir: None,
            rotated_idle: Duration::from_secs(3_600),
            include_rotated: false,
            poll_interval: Duration::from_secs(1),
            watch: WatchMode::Auto,
            reclaim: Reclaim::Off,
        },
        tracer: crate::telemetry::traces::Tracer::default(),
        data_dir: options.data_dir.clone(),
        journal: Journal::open(options).unwrap().0,
    }
}

fn lines(count: usize) -> String {
    (0..count)
        .map(|number| format!("{{\"version\":\"0.1\",\"type\":\"flag\",\"number\":{number}}}\n"))
        .collect()
}

/// Waits until everything is read.
fn catch_up(source: &RunningFileSource) {
    let mut status = source.watch_status();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(status.wait_for(|status| status.caught_up)).unwrap();
}

#[test]
fn who_leaves_reads_no_further_than_it_must_and_the_next_goes_on_there() {
    const LINES: usize = 5_000;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.log");
    std::fs::write(&path, "").unwrap();
    let source = source(dir.path());
    let journal = source.journal.clone();
    let running = source.clone().start().unwrap();
    catch_up(&running);
    let held = journal.hold();
    std::fs::write(&path, lines(LINES)).unwrap();
    let is_told = Arc::clone(&running.leaving);
    let leaving = std::thread::spawn(move || running.leave());
    while !is_told.load(Ordering::Acquire) {
        std::thread::yield_now();
    }
    drop(held);
    leaving.join().unwrap();
    let left_at = *journal.latest().borrow();
    assert!(left_at < LINES as u64 / 2, "{left_at} were read");
    let running = source.start().unwrap();
    catch_up(&running);
    running.stop(Duration::ZERO);
    assert_eq!(*journal.latest().borrow(), LINES as u64, "each once");
}

#[test]
fn who_leaves_reads_what_nobody_else_could() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.log");
    std::fs::write(&path, lines(1)).unwrap();
    let source = source(dir.path());
    let journal = source.journal.clone();
    let running = source.start().unwrap();
    catch_up(&running);
    let mut held = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    std::io::Write::write_all(&mut held, lines(3_000).as_bytes()).unwrap();
    running.leave();
    assert_eq!(*journal.latest().borrow(), 3_001);
}
