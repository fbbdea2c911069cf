use std::io::{Seek, SeekFrom, Write};

use super::*;
use crate::event::{GapDetail, GapReason};

/// A closed journal with 2,000 records, a lane at 1,500 and a dead letter.
fn filled() -> (Bench, DestinationRow) {
    let mut bench = Bench::new();
    let lane = bench.lane("siem");
    for part in 0..20 {
        let lines: Vec<String> = (0..100).map(|line| format!("{part} {line} {}", "x".repeat(600))).collect();
        bench.append(&lines.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
    }
    let letter =
        DeadLetter { sequence: 7, code: "rejected".to_owned(), message: "no".to_owned(), attempts: 1 };
    let commit = LaneCommit { cursor: 1_500, delivered: 1_499, dead: vec![letter], ..lane_commit(lane.id) };
    wait(bench.journal.commit_lane(commit)).unwrap();
    bench.journal.clone().close().unwrap();
    (bench, lane)
}

fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    let mut file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(bytes).unwrap();
}

fn open_again(bench: &mut Bench) -> OpenReport {
    let (journal, report) = Journal::open_tuned(&options(bench.dir.path()), tuning()).unwrap();
    bench.journal = journal;
    report
}

fn gap(record: &StoredRecord) -> GapDetail {
    assert_eq!(record.kind, RecordKind::Gap);
    let detail: GapDetail = serde_json::from_slice(&record.original).unwrap();
    assert_eq!(detail.reason, GapReason::JournalDamaged);
    detail
}

#[test]
fn readable_rows_of_a_damaged_file_are_saved() {
    let (mut bench, lane) = filled();
    let epoch = bench.journal.epoch().to_owned();
    let database = bench.database();
    let length = std::fs::metadata(&database).unwrap().len();
    // Rubble in the middle, and the mark that a running relay leaves when it meets it.
    overwrite(&database, length / 2 / 4096 * 4096, &[0xA5; 8 * 4096]);
    std::fs::write(bench.dir.path().join("journal.db.salvage-wanted"), "malformed").unwrap();
    let report = open_again(&mut bench);
    let (saved, aside) = report.salvaged.unwrap();
    assert!((1_500..2_000).contains(&saved), "{saved} saved");
    assert_eq!(std::fs::metadata(&aside).unwrap().len(), length);
    assert_ne!(bench.journal.epoch(), epoch);
    let records = bench.records();
    assert_eq!(records.len() as u64, saved + 1);
    let last = records.last().unwrap();
    assert_eq!(last.sequence, 2_001);
    assert_eq!(&*last.epoch, bench.journal.epoch());
    let detail = gap(last);
    assert!(detail.from > 1 && detail.to.unwrap() < 2_001, "{detail:?}");
    // What was kept has its ids, its epoch, its position; what is known already is known again.
    assert_eq!(&*records[0].epoch, epoch);
    assert_eq!(bench.journal.incarnations(bench.source).unwrap()[0].position, bench.position);
    assert_eq!(bench.lane("siem").cursor, 1_500);
    assert_eq!(bench.lane("siem").id, lane.id);
    let first = &records[0];
    let again = NewRecord { id: first.id, ..record(bench.file.name, 0, "again") };
    assert_eq!(bench.push(vec![again]).unwrap().known, 1);
    assert_eq!(bench.append(&["next"]).unwrap().last_sequence, 2_002);
    let (bench, report) = bench.reopen();
    assert_eq!(report, OpenReport::default());
    assert_eq!(bench.records().len() as u64, saved + 2);
    // The gap record tells of what is missing before it; what is missing later nobody has told of.
    assert_eq!(bench.checked(), 0);
    bench.journal.call(|conn, _| conn.execute("DELETE FROM records WHERE sequence = 2001", [])).unwrap();
    assert_eq!((bench.corrupt(), bench.checked()), (vec![2_001], 1));
}

#[test]
fn a_truncated_file_is_salvaged_and_counts_on_behind_what_was_delivered() {
    let (mut bench, _) = filled();
    let database = bench.database();
    let length = std::fs::metadata(&database).unwrap().len();
    std::fs::OpenOptions::new().write(true).open(&database).unwrap().set_len(length / 3).unwrap();
    let report = open_again(&mut bench);
    let (saved, _) = report.salvaged.unwrap();
    assert!((300..1_500).contains(&saved), "{saved} saved");
    let records = bench.records();
    let last = records.last().unwrap();
    assert!(last.sequence > 1_500, "a lane at 1,500 must see what comes now");
    assert!(gap(last).message.contains(&format!("{saved} records were saved")));
}

#[test]
fn a_file_that_is_no_database_is_moved_aside() {
    for rubbish in [&b""[..], b"not a database", &[0; 40_960]] {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("journal.db"), rubbish).unwrap();
        let (journal, report) = Journal::open(options(dir.path())).unwrap();
        let (saved, aside) = report.salvaged.unwrap();
        assert_eq!((saved, std::fs::read(aside).unwrap()), (0, rubbish.to_vec()));
        let found = wait(journal.read_after(0, ALL)).unwrap();
        gap(&whole(found[0].clone()));
        journal.close().unwrap();
    }
}

#[test]
fn an_interrupted_exchange_is_finished() {
    let (mut bench, _) = filled();
    let salvaged = bench.dir.path().join("journal.db.salvaged");
    let outcome = salvage(&bench.database(), &salvaged).unwrap();
    assert_eq!((outcome.records, outcome.missing, outcome.last_sequence), (2_000, 0, 2_001));
    assert!(salvage(&bench.database(), &salvaged).is_err(), "it never overwrites");
    let report = open_again(&mut bench);
    assert_eq!(report.salvaged.unwrap().0, 2_000);
    assert_eq!(bench.journal.epoch(), outcome.epoch);
    assert!(!salvaged.exists());
    assert_eq!(bench.records().len(), 2_001);
}

#[test]
fn damage_that_is_met_while_running_is_salvaged_at_the_next_start() {
    let (mut bench, _) = filled();
    let database = bench.database();
    let length = std::fs::metadata(&database).unwrap().len();
    // Early pages: the check of the newest records does not see them.
    overwrite(&database, 200 * 4096, &[0xA5; 4 * 4096]);
    assert!(length > 1_000_000);
    assert_eq!(open_again(&mut bench).salvaged, None);
    let failed = bench.journal.failed();
    assert!(wait(bench.journal.read_after(0, ALL)).is_err());
    assert!(failed.borrow().is_some(), "a restart is what helps");
    assert!(bench.status().damaged);
    bench.journal.clone().close().unwrap();
    assert!(open_again(&mut bench).salvaged.is_some());
    assert!(bench.records().len() > 1_900);
}
