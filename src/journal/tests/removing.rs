use super::*;

const MIB: u64 = 1 << 20;

/// Lines of about 1 KiB.
fn lines(count: usize) -> Vec<String> {
    (0..count).map(|index| format!("{index:0>1023}")).collect()
}

fn append_many(bench: &mut Bench, count: usize) -> Result<Appended, AppendError> {
    let lines = lines(count);
    let mut last = None;
    for part in lines.chunks(100) {
        last = Some(bench.append(&part.iter().map(String::as_str).collect::<Vec<_>>())?);
    }
    Ok(last.unwrap())
}

/// As a source does: asks again while the journal makes room.
fn append_patiently(bench: &mut Bench, count: usize) -> Appended {
    (0..100).find_map(|_| append_many(bench, count).ok()).expect("there is room again")
}

#[test]
fn what_every_destination_has_passed_makes_room_and_the_file_shrinks() {
    let mut bench = Bench::with(|options| options.max_size_bytes = 4 * MIB);
    let (fast, slow) = (bench.lane("fast"), bench.lane("slow"));
    let full = loop {
        if let Err(error) = append_many(&mut bench, 100) {
            break error;
        }
    };
    assert!(matches!(full, AppendError::Full { max_bytes, .. } if max_bytes == 4 * MIB), "{full:?}");
    let before = bench.status();
    assert!(before.used_bytes <= 4 * MIB, "{before:?}");
    // One destination alone does not decide.
    bench.settle(fast.id, before.last_sequence);
    bench.journal.settle_down();
    assert_eq!(bench.status().first_sequence, 1);
    assert!(matches!(append_many(&mut bench, 100), Err(AppendError::Full { .. })));
    bench.settle(slow.id, 1_500);
    append_patiently(&mut bench, 100);
    bench.journal.settle_down();
    let after = bench.status();
    assert!((2..=1_501).contains(&after.first_sequence), "{after:?}");
    assert!(after.used_bytes <= 4 * MIB, "{after:?}");
    // And so on, for ever, as long as the lanes keep up.
    for _ in 0..60 {
        let last = append_patiently(&mut bench, 100).last_sequence;
        bench.settle(fast.id, last);
        bench.settle(slow.id, last);
    }
    bench.journal.settle_down();
    let files: u64 = ["journal.db", "journal.db-wal"]
        .iter()
        .filter_map(|name| std::fs::metadata(bench.dir.path().join(name)).ok())
        .map(|metadata| metadata.len())
        .sum();
    assert!(files < 5 * MIB, "{files} bytes of files");
    let last = bench.status().last_sequence;
    assert_eq!(bench.read().last().unwrap().sequence(), last);
}

#[test]
fn old_records_go_and_space_is_given_back() {
    let mut bench = Bench::with(|options| options.keep = Duration::ZERO);
    let lane = bench.lane("siem");
    append_many(&mut bench, 6_000).unwrap();
    let before = bench.status().used_bytes;
    let counts = delivered(4_999);
    bench.commit(LaneCommit { cursor: 5_000, counts, dead: vec![letter(10)], ..lane_commit(lane.id) });
    bench.journal.tick();
    let left: Vec<_> = bench.read().iter().map(ReadRow::sequence).collect();
    assert_eq!(left.len(), 1_001);
    assert_eq!(left[..2], [10, 5_001], "a dead letter keeps its record");
    assert_eq!((bench.corrupt(), bench.checked()), (vec![], 0), "what was removed is not missing");
    let used = bench.status().used_bytes;
    assert!(used < before / 3, "{used} of {before} bytes");
    let file = std::fs::metadata(bench.database()).unwrap().len();
    assert!(file < before / 2, "{file} of {before} bytes");
    // A destination that is new begins with what is left; nothing is given a sequence twice.
    assert_eq!(bench.lane("late").cursor, 5_000);
    bench.settle(lane.id, 6_000);
    let late = bench.lane("late").id;
    bench.settle(late, 6_000);
    let (mut bench, _) = bench.reopen();
    assert_eq!(bench.append(&["next"]).unwrap().last_sequence, 6_001);
}

#[test]
fn what_a_batch_on_its_way_needs_stays_and_an_empty_journal_counts_on() {
    let mut bench = Bench::with(|options| options.keep = Duration::ZERO);
    let lane = bench.lane("siem");
    bench.append(&["one", "two", "three"]).unwrap();
    bench.commit(LaneCommit { cursor: 3, opened: vec![batch("bat_1", &[2])], ..lane_commit(lane.id) });
    bench.journal.tick();
    assert_eq!(bench.read().iter().map(ReadRow::sequence).collect::<Vec<_>>(), [2]);
    let closed = vec![crate::event::BatchId::from_stored("bat_1".to_owned())];
    bench.commit(LaneCommit { cursor: 3, closed, ..lane_commit(lane.id) });
    let (mut bench, _) = bench.reopen();
    assert_eq!(bench.append(&["four"]).unwrap().last_sequence, 4);
    let found = whole(bench.read().pop().unwrap());
    assert_eq!((found.sequence, found.original), (4, b"four".to_vec()));
    // The chain goes on from the last link that was removed.
    bench.journal.clone().close().unwrap();
    let conn = Connection::open(bench.database()).unwrap();
    let removed: chain::Hash = schema::read_meta(&conn, schema::key::REMOVED_CHAIN).unwrap().unwrap();
    let (digest, link): (chain::Hash, chain::Hash) = conn
        .query_row("SELECT digest, chain FROM records WHERE sequence = 4", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap();
    assert_eq!(link, chain::link(&removed, &digest));
}

#[test]
fn rows_that_nothing_pins_any_more_are_swept_up() {
    let mut bench = Bench::new();
    bench.append(&["one", "two"]).unwrap();
    bench.journal.clone().close().unwrap();
    let conn = Connection::open(bench.database()).unwrap();
    schema::write_meta(&conn, schema::key::REMOVED_THROUGH, 1).unwrap();
    let clock = Arc::new(running::RunningClock::new(Duration::ZERO));
    let ledger = Ledger::load(&conn, 0, clock).unwrap();
    conn.execute_batch(
        "INSERT INTO destinations (id, name, first_seen_at, first_sequence, cursor) VALUES (1, 'siem', 0, 1, 2);
         INSERT INTO dead_letters VALUES (1, 1, 'rejected', '', 1, 0, NULL)",
    )
    .unwrap();
    assert_eq!(retention::sweep(&conn, &ledger, 0).unwrap(), (0, None));
    conn.execute("DELETE FROM dead_letters", []).unwrap();
    assert_eq!(retention::sweep(&conn, &ledger, 0).unwrap(), (1, None));
}

#[test]
fn a_destination_that_is_not_registered_in_this_run_pins_what_it_is_owed() {
    let mut bench = Bench::with(|options| options.max_size_bytes = 2 * MIB);
    let (siem, slack) = (bench.lane("siem"), bench.lane("slack"));
    while append_many(&mut bench, 100).is_ok() {}
    let last = bench.status().last_sequence;
    let counts = Counts { not_routed: 1, ..delivered(99) };
    bench.commit(LaneCommit { cursor: 100, counts, ..lane_commit(siem.id) });
    let Bench { dir, journal, source, file, position } = bench;
    journal.close().unwrap();
    let options = Options { max_size_bytes: 2 * MIB, keep: Duration::ZERO, ..options(dir.path()) };
    let (journal, _) = Journal::open_tuned(&options, tuning()).unwrap();
    let mut bench = Bench { dir, journal, source, file, position };
    assert_eq!(bench.destination("siem").cursor, 100);
    assert_eq!(bench.destination("slack").cursor, 0);
    // Neither for their age nor for room, however long it does not come.
    bench.lane("slack");
    bench.settle(slack.id, last);
    for _ in 0..3 {
        bench.journal.tick();
        let _ = append_many(&mut bench, 1);
    }
    let first = bench.status().first_sequence;
    assert_eq!(first, 101, "siem has passed 100");
    let full = (0..50).find_map(|_| append_many(&mut bench, 100).err());
    assert!(matches!(full, Some(AppendError::Full { .. })), "{full:?}");
    // A failed group changes nothing of that.
    let error = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR_WRITE);
    let failing =
        move |_: &Connection, _: &mut Ledger| Err::<(), _>(rusqlite::Error::SqliteFailure(error, None));
    assert!(bench.journal.call(failing).is_err());
    bench.journal.inner.writer.blocking_send(Command::Tick).unwrap();
    assert!(append_many(&mut bench, 100).is_err());
    assert_eq!(bench.status().first_sequence, 101);
    bench.settle(siem.id, last);
    append_patiently(&mut bench, 100);
}

#[test]
fn where_nobody_knows_what_is_owed_nothing_is_removed() {
    let mut bench = Bench::with(|options| {
        (options.max_size_bytes, options.keep, options.keeps_all) = (2 * MIB, Duration::ZERO, true);
    });
    // No destination is registered at all.
    while append_many(&mut bench, 100).is_ok() {
        bench.journal.tick();
    }
    let status = bench.status();
    assert_eq!((status.first_sequence, status.full), (1, true));
    bench.journal.retune(Duration::ZERO, 2 * MIB, false);
    append_patiently(&mut bench, 100);
    assert!(bench.status().first_sequence > 1);
}

#[test]
fn the_first_record_that_is_left_fits_to_the_last_that_was_removed() {
    let mut bench = Bench::with(|options| options.keep = Duration::ZERO);
    let lane = bench.lane("siem");
    bench.append(&["one", "two", "three", "four"]).unwrap();
    bench.settle(lane.id, 2);
    bench.journal.tick();
    assert_eq!(bench.records().len(), 2);
    bench.forge(3);
    for after in [0, 2] {
        let rows = wait(bench.journal.read_after(after, ALL)).unwrap();
        assert!(matches!(rows[..], [ReadRow::Corrupt { sequence: 3 }, ReadRow::Record(_)]), "{rows:?}");
    }
    bench.journal.call(|conn, _| conn.execute("DELETE FROM records WHERE sequence = 3", [])).unwrap();
    assert!(matches!(bench.read()[0], ReadRow::Corrupt { sequence: 3 }));
}
