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
    let (counts, acked) = (delivered(1_500), vec![1_600]);
    bench.commit(LaneCommit {
        cursor: 1_500,
        acked,
        counts,
        dead: vec![letter(7)],
        opened: vec![batch("bat_1", &[1_501, 1_502])],
        ..lane_commit(lane.id)
    });
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
    let siem = bench.destination("siem");
    assert_eq!((siem.id, siem.cursor, &siem.acked[..]), (lane.id, 1_500, &[1_600][..]));
    assert_eq!(siem.open_batches, [batch("bat_1", &[1_501, 1_502])]);
    assert_eq!(bench.lane("siem"), siem);
    let first = &records[0];
    let again = NewRecord { id: Some(first.id), ..record(bench.file.name, 0, "again") };
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
    assert!(last.sequence > 1_600, "a lane that has settled 1,600 must see what comes now");
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

#[test]
fn what_is_lost_of_the_dead_letters_leaves_the_books_in_balance() {
    let (mut bench, siem) = filled();
    let conn = Connection::open(bench.database()).unwrap();
    conn.execute_batch(
        "PRAGMA foreign_keys = OFF; DELETE FROM dead_letters; INSERT INTO dead_letters VALUES (77, 5, 'rejected', '', 1, 0, 400);
         INSERT INTO batches (destination, id, members, attempts, created_at) VALUES (77, 'x', '[5]', 0, 0)",
    )
    .unwrap();
    conn.close().unwrap();
    std::fs::write(bench.dir.path().join("journal.db.salvage-wanted"), "malformed").unwrap();
    assert!(open_again(&mut bench).salvaged.is_some());
    let row = bench.destination("siem");
    assert_eq!((row.id, row.books.dead, row.books.purged), (siem.id, 0, 1));
    assert_eq!(wait(bench.journal.dead_letter_bytes()), Ok(0), "nobody's letters are nobody's");
}
