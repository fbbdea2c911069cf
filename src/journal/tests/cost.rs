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
