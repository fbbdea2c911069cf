//! Records that another relay took in first.

use super::*;
use crate::event::{Origin, Timestamp};

fn origin(sequence: Sequence) -> Origin {
    Origin {
        relay: "pod-1".to_owned(),
        epoch: "4f1c".to_owned(),
        sequence,
        accepted_at: Timestamp::from_unix_micros(1_795_332_739_000_001),
    }
}

fn handed(bench: &Bench, place: u64) -> NewRecord {
    NewRecord { origin: Some(origin(place + 1)), ..record(bench.file.name, place, "handed on") }
}

fn readable_since(bench: &Bench) -> Option<i64> {
    bench.journal.call(|conn, _| schema::read_meta(conn, schema::key::READABLE_SINCE)).unwrap()
}

#[test]
fn an_origin_is_kept_and_counts_in_the_digest() {
    let mut bench = Bench::new();
    bench.append(&["its own"]).unwrap();
    assert_eq!(readable_since(&bench), Some(1));
    bench.push(vec![handed(&bench, 100), handed(&bench, 101)]).unwrap();
    assert_eq!(readable_since(&bench), Some(4), "older readers would take these for altered");
    let (mut bench, report) = bench.reopen();
    assert_eq!(report, OpenReport::default());
    bench.append(&["its own again"]).unwrap();
    let origins: Vec<_> = bench.records().into_iter().map(|record| record.origin).collect();
    assert_eq!(origins, [None, Some(origin(101)), Some(origin(102)), None]);
    assert_eq!((bench.corrupt(), bench.checked()), (vec![], 0));
    for altered in [
        "origin_relay = 'pod-2'",
        "origin_epoch = 'x'",
        "origin_sequence = 7",
        "origin_accepted_at = NULL",
        "origin_relay = NULL, origin_epoch = NULL, origin_sequence = NULL, origin_accepted_at = NULL",
    ] {
        let (sequence, keep) = (2, "CREATE TEMP TABLE kept AS SELECT * FROM records WHERE sequence = 2");
        bench.execute(format!("{keep}; UPDATE records SET {altered} WHERE sequence = {sequence}"));
        assert_eq!((bench.corrupt(), bench.checked()), (vec![sequence], 1), "{altered}");
        bench.execute("REPLACE INTO records SELECT * FROM kept; DROP TABLE kept");
        assert!(bench.corrupt().is_empty(), "{altered}");
    }
    bench.execute("UPDATE records SET origin_relay = 'pod-1' WHERE sequence = 1");
    assert_eq!(bench.corrupt(), [1], "what has no origin gets none");
}

#[test]
fn what_is_handed_on_twice_is_one_record() {
    let bench = Bench::new();
    let both = vec![handed(&bench, 100), handed(&bench, 101)];
    let first = bench.push(both.clone()).unwrap();
    assert_eq!((first.accepted, first.known), (2, 0));
    // The relay before lost its journal, and has it under another sequence now.
    let again = NewRecord { origin: Some(origin(9)), ..handed(&bench, 101) };
    let second = bench.push(vec![again, handed(&bench, 102)]).unwrap();
    assert_eq!((second.accepted, second.known, second.last_sequence), (1, 1, 3));
    assert_eq!(bench.records()[1].origin, Some(origin(102)), "as it was first told");
}

#[test]
fn salvage_keeps_origins_and_who_may_read_them() {
    let bench = Bench::new();
    bench.push(vec![handed(&bench, 100)]).unwrap();
    std::fs::write(bench.dir.path().join("journal.db.salvage-wanted"), "malformed").unwrap();
    let (bench, report) = bench.reopen();
    assert_eq!(report.salvaged.map(|(records, _)| records), Some(1));
    assert_eq!(bench.records()[0].origin, Some(origin(101)));
    assert_eq!(readable_since(&bench), Some(4));
    assert_eq!(bench.checked(), 0);
}
