//! What an event costs. Run it with
//! `cargo test --release --lib journal::tests::cost -- --ignored --nocapture`.

use super::*;

/// CPU time of this process so far: `utime` and `stime` of proc(5), in ticks of 10 ms.
fn cpu_micros() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 2..].split(' ').collect();
    (fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()) * 10_000
}

#[test]
#[ignore = "a measurement"]
fn of_two_hundred_thousand_events() {
    const EVENTS: u64 = 200_000;
    const GROUP: u64 = 256;
    let bench = Bench::new();
    let file = bench.file.clone();
    let mut appends = Vec::new();
    let mut offset = 0;
    while offset < EVENTS * 400 {
        let from = offset;
        let mut records = Vec::new();
        for _ in 0..GROUP {
            let line = format!("{offset:0>399}");
            let mut record = record(file.name, offset, &line);
            record.keys = keys("default", &format!("flag-{}", offset / 400 % 1_000));
            records.push(record);
            offset += 400;
        }
        let advance = Some(advance(file.id, from, offset));
        appends.push(Append { source: bench.source, advance, records, ignored: 0 });
    }
    let (began, cpu) = (std::time::Instant::now(), cpu_micros());
    // Four under way, as a source reads ahead.
    let mut under_way = std::collections::VecDeque::new();
    for append in appends {
        under_way.push_back(bench.journal.append(append));
        if under_way.len() > 4 {
            under_way.pop_front().unwrap().blocking_recv().unwrap().unwrap();
        }
    }
    for answer in under_way {
        answer.blocking_recv().unwrap().unwrap();
    }
    let (took, cpu) = (began.elapsed(), cpu_micros() - cpu);
    println!(
        "append: {:.2} µs of CPU and {:.2} µs each",
        cpu as f64 / EVENTS as f64,
        took.as_micros() as f64 / EVENTS as f64
    );
    let (began, cpu) = (std::time::Instant::now(), cpu_micros());
    let mut after = 0;
    loop {
        let limit = ReadLimit { max_rows: 100, max_bytes: 1 << 20 };
        let rows = wait(bench.journal.read_after(after, limit)).unwrap();
        let Some(last) = rows.last() else { break };
        after = last.sequence();
    }
    let (took, cpu) = (began.elapsed(), cpu_micros() - cpu);
    println!(
        "read: {:.2} µs of CPU and {:.2} µs each",
        cpu as f64 / after as f64,
        took.as_micros() as f64 / after as f64
    );
    let began = std::time::Instant::now();
    let data_dir = bench.dir.path().to_path_buf();
    bench.journal.close().unwrap();
    println!("close: {:?}", began.elapsed());
    let began = std::time::Instant::now();
    Journal::open(options(&data_dir)).unwrap().0.close().unwrap();
    println!("open and close: {:?}", began.elapsed());
}

#[test]
#[ignore = "a measurement"]
fn of_acknowledgements_and_outlines() {
    const EVENTS: u64 = 100_000;
    let mut bench = Bench::new();
    let line = "x".repeat(600);
    let lines = vec![&*line; 250];
    for _ in 0..EVENTS / 250 {
        bench.append(&lines).unwrap();
    }
    let siem = bench.lane("siem");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let told = |what: &str, count: u64, began: std::time::Instant, cpu: u64| {
        let (took, cpu) = (began.elapsed(), cpu_micros() - cpu);
        let each = |micros: u64| micros as f64 / count as f64;
        println!("{what}: {:.2} µs of CPU and {:.2} µs each", each(cpu), each(took.as_micros() as u64));
    };
    // One by one, as one lane does; then 16 lanes side by side.
    for (what, lanes) in [("one lane", 1_u64), ("16 lanes", 16)] {
        let ids: Vec<_> = (0..lanes).map(|lane| bench.lane(&format!("{what}-{lane}")).id).collect();
        let (began, cpu) = (std::time::Instant::now(), cpu_micros());
        let rounds = 2_000;
        runtime.block_on(async {
            for round in 1..=rounds {
                let commits = ids.iter().map(|id| {
                    // Every other one leaves a hole, as parallel requests do.
                    let acked = (round + 2..round + 40).filter(|sequence| sequence % 2 == 0).collect();
                    let commit =
                        LaneCommit { cursor: round, acked, counts: delivered(1), ..lane_commit(*id) };
                    let journal = bench.journal.clone();
                    async move { journal.commit_lane(commit).await.unwrap() }
                });
                let tasks = tokio::task::LocalSet::new();
                let handles: Vec<_> = commits.map(|commit| tasks.spawn_local(commit)).collect();
                tasks
                    .run_until(async {
                        for handle in handles {
                            handle.await.unwrap()
                        }
                    })
                    .await;
            }
        });
        told(&format!("acknowledgement, {what}"), rounds * lanes, began, cpu);
    }
    for original in [false, true] {
        let (began, cpu) = (std::time::Instant::now(), cpu_micros());
        let (mut after, mut count) = (0, 0);
        loop {
            let found = runtime.block_on(bench.journal.read_outlines(after, 4_096, original)).unwrap();
            let Some(last) = found.last() else { break };
            (after, count) = (last.sequence, count + found.len() as u64);
        }
        told(&format!("outline, with original: {original}"), count, began, cpu);
    }
    let dead = (1..=4_000).map(letter).collect();
    bench.commit(LaneCommit { cursor: 4_000, dead, ..lane_commit(siem.id) });
    let began = std::time::Instant::now();
    runtime.block_on(bench.journal.dead_letter_bytes()).unwrap();
    println!("bytes of 4,000 dead letters: {:?}", began.elapsed());
    let resident = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        status.lines().find(|line| line.starts_with("VmHWM")).unwrap().to_owned()
    };
    let (before, began) = (resident(), std::time::Instant::now());
    let bytes = runtime.block_on(bench.journal.backup(bench.dir.path().join("copy"))).unwrap();
    println!("backup of {bytes} bytes: {:?}, {before} before, {} after", began.elapsed(), resident());
}
