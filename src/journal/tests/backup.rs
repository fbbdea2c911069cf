use std::os::unix::fs::PermissionsExt;

use super::*;

fn restore(backup: &Path) -> (tempfile::TempDir, Journal) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(backup, dir.path().join("journal.db")).unwrap();
    let (journal, report) = Journal::open_tuned(&options(dir.path()), tuning()).unwrap();
    assert_eq!(report, OpenReport::default());
    (dir, journal)
}

fn pause(journal: &Journal) -> StoredRecord {
    let pause = Pause { at: crate::event::Timestamp::now(), until: None, by: None, reason: None };
    wait(journal.pause_destination("siem", pause, act(ActKind::Pause))).unwrap();
    whole(wait(journal.read_after(0, ALL)).unwrap().pop().unwrap())
}

#[test]
fn a_copy_is_whole_and_goes_on_under_a_new_epoch() {
    let mut bench = Bench::new();
    bench.append_some(50);
    let siem = bench.lane("siem");
    bench.commit(LaneCommit {
        cursor: 20,
        acked: vec![30],
        counts: delivered(20),
        dead: vec![letter(9)],
        ..lane_commit(siem.id)
    });
    let elsewhere = tempfile::tempdir().unwrap();
    let file = elsewhere.path().join("journal.backup");
    let bytes = wait(bench.journal.backup(file.clone())).unwrap();
    let metadata = std::fs::metadata(&file).unwrap();
    assert_eq!((metadata.len(), metadata.permissions().mode() & 0o777), (bytes, 0o600));
    let names: Vec<_> =
        std::fs::read_dir(elsewhere.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["journal.backup"], "nothing is left beside it");
    let refused = wait(bench.journal.backup(file.clone()));
    assert!(matches!(&refused, Err(OperatorError::Refused(why)) if why.contains("exists")), "{refused:?}");
    let nowhere = wait(bench.journal.backup(elsewhere.path().join("no/such/directory")));
    assert!(matches!(nowhere, Err(OperatorError::Refused(_))), "{nowhere:?}");
    let conn = Connection::open(&file).unwrap();
    for (pragma, expected) in [
        ("auto_vacuum", 2),
        ("application_id", i64::from(schema::APPLICATION_ID)),
        ("user_version", schema::SCHEMA),
    ] {
        let found: i64 = conn.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get(0)).unwrap();
        assert_eq!(found, expected, "{pragma}");
    }
    conn.close().unwrap();
    // The original goes on as it was; the copy counts on from its own last, under another name.
    bench.append_some(1);
    let original = pause(&bench.journal);
    let (_dir, restored) = restore(&file);
    assert_ne!(restored.epoch(), bench.journal.epoch());
    let row = wait(restored.destinations()).unwrap().remove(0);
    assert_eq!((row.cursor, &row.acked[..], row.books.dead), (20, &[30][..], 1));
    assert_balanced(&row, 50);
    let first = pause(&restored);
    let second = pause(&restored);
    assert_eq!((first.sequence, &*first.epoch), (51, restored.epoch()));
    assert_eq!((second.sequence, original.sequence), (52, 52));
    assert_ne!(second.id, original.id, "the same sequence, another epoch");
    let kept = wait(restored.read_members(vec![50])).unwrap();
    assert_eq!(&*whole(kept[0].clone()).epoch, bench.journal.epoch());
    // Only once.
    let epoch = restored.epoch().to_owned();
    let data_dir = restored.inner.shared.files.data_dir.clone();
    restored.close().unwrap();
    let (again, _) = Journal::open_tuned(&options(&data_dir), tuning()).unwrap();
    assert_eq!(again.epoch(), epoch);
    again.close().unwrap();
    assert_chained(&data_dir.join("journal.db"));
}

#[test]
fn a_copy_is_of_one_moment_while_others_write() {
    let mut bench = Bench::new();
    let siem = bench.lane("siem");
    bench.append_some(2_000);
    let journal = bench.journal.clone();
    let elsewhere = tempfile::tempdir().unwrap();
    let file = elsewhere.path().join("copy");
    let target = file.clone();
    let copying = std::thread::spawn(move || wait(journal.backup(target)));
    let mut settled = 0;
    while !copying.is_finished() {
        bench.append_some(20);
        settled += 20;
        bench.commit(LaneCommit { cursor: settled, counts: delivered(20), ..lane_commit(siem.id) });
    }
    copying.join().unwrap().unwrap();
    let (_dir, restored) = restore(&file);
    let last = *restored.latest().borrow();
    let found = wait(restored.read_after(0, ALL)).unwrap();
    assert_eq!(found.len() as u64, last);
    found.into_iter().for_each(|row| drop(whole(row)));
    assert_balanced(&wait(restored.destinations()).unwrap()[0], last);
}

#[test]
fn a_closed_journal_makes_no_copy() {
    let bench = Bench::new();
    bench.journal.clone().close().unwrap();
    let answer = wait(bench.journal.backup(bench.dir.path().join("copy")));
    assert_eq!(answer, Err(OperatorError::Journal(JournalError::Closed)));
}
