use rusqlite::ffi;

use super::*;
use crate::event::{Timestamp, TraceContext};

fn io_error() -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_IOERR_FSYNC), None)
}

/// Holds the writer until the returned sender is dropped, so that what follows shares a transaction.
pub(super) fn hold(journal: &Journal) -> std::sync::mpsc::Sender<()> {
    let (entered, held) = std::sync::mpsc::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let (reply, _) = oneshot::channel();
    journal.send_blocking(Call::new(
        move |_: &Connection, _: &mut Ledger| {
            let _ = entered.send(());
            let _ = released.recv();
            Ok(())
        },
        reply,
    ));
    held.recv().unwrap();
    release
}

pub(super) fn fail(journal: &Journal) -> oneshot::Receiver<Result<(), JournalError>> {
    let (reply, answer) = oneshot::channel();
    journal.send_blocking(Call::new(|_: &Connection, _: &mut Ledger| Err::<(), _>(io_error()), reply));
    answer
}

#[test]
fn after_an_io_error_nobody_is_told_of_success_and_the_rows_decide() {
    let mut bench = Bench::new();
    bench.append(&["one"]).unwrap();
    assert_eq!(bench.records().len(), 1);
    let lane = bench.lane("siem");
    let release = hold(&bench.journal);
    let (append, to) = bench.lines(&["two"]);
    let accepted = bench.journal.append(append);
    let failed = fail(&bench.journal);
    drop(release);
    assert!(matches!(accepted.blocking_recv().unwrap(), Err(AppendError::Io(_))));
    assert!(matches!(failed.blocking_recv().unwrap(), Err(JournalError::Io(_))));
    assert_eq!(*bench.journal.failed().borrow(), None);
    assert_eq!(bench.records().len(), 1);
    // What was read ahead of the failure is refused, and read again.
    bench.position = to;
    assert_eq!(bench.append(&["three"]), Err(AppendError::Moved { committed: 4 }));
    bench.position = 4;
    assert_eq!(bench.append(&["two"]).unwrap().last_sequence, 2);
    bench.settle(lane.id, 2);
    assert_eq!(bench.records().len(), 2);
    bench.journal.clone().close().unwrap();
    assert_chained(&bench.database());
}

#[test]
fn three_failures_in_a_row_end_the_relay() {
    let mut bench = Bench::new();
    let mut failed = bench.journal.failed();
    for _ in 0..2 {
        assert!(fail(&bench.journal).blocking_recv().unwrap().is_err());
    }
    bench.append(&["a success between starts the count anew"]).unwrap();
    for _ in 0..2 {
        assert!(fail(&bench.journal).blocking_recv().unwrap().is_err());
    }
    assert!(!failed.has_changed().unwrap());
    assert!(fail(&bench.journal).blocking_recv().unwrap().is_err());
    assert!(failed.borrow_and_update().is_some());
    assert!(matches!(bench.append(&["two"]), Err(AppendError::Io(_))));
    bench.journal.close().unwrap();
}

/// As a full disk shows itself to SQLite.
pub(super) fn fill_disk(bench: &Bench, full: bool) {
    bench
        .journal
        .call(move |conn, _| {
            let pages: i64 = conn.query_row("PRAGMA page_count", [], |row| row.get(0))?;
            let limit = if full { pages } else { 1 << 30 };
            conn.query_row(&format!("PRAGMA max_page_count = {limit}"), [], |_| Ok(()))
        })
        .unwrap();
}

#[test]
fn on_a_full_disk_nothing_is_accepted_and_acknowledgements_are_kept() {
    let mut bench = Bench::new();
    let lane = bench.lane("siem");
    bench.append(&["one"]).unwrap();
    let reserve = bench.dir.path().join("reserve");
    assert_eq!(std::fs::metadata(&reserve).unwrap().len(), 1 << 20);
    fill_disk(&bench, true);
    let large = "x".repeat(100_000);
    let (append, _) = bench.lines(&[&large]);
    let release = hold(&bench.journal);
    let appended = bench.journal.append(append);
    let journal = bench.journal.clone();
    let commit = LaneCommit { cursor: 1, counts: delivered(1), ..lane_commit(lane.id) };
    let settled = std::thread::spawn(move || wait(journal.commit_lane(commit)));
    drop(release);
    assert_eq!(appended.blocking_recv().unwrap(), Err(AppendError::DiskFull));
    assert_eq!(settled.join().unwrap(), Ok(()));
    assert_eq!(std::fs::metadata(&reserve).unwrap().len(), 0, "the reserve was released");
    assert!(bench.status().disk_full);
    assert_eq!(*bench.journal.failed().borrow(), None);
    assert_eq!(bench.destination("siem").books.delivered, 1);
    for _ in 0..5 {
        assert_eq!(bench.append(&[&large]), Err(AppendError::DiskFull), "never fatal");
    }
    fill_disk(&bench, false);
    assert_eq!(bench.append(&[&large]).unwrap().last_sequence, 2);
    assert!(!bench.status().disk_full);
    assert_eq!(std::fs::metadata(&reserve).unwrap().len(), 1 << 20, "and taken back");
    assert_eq!(bench.records().len(), 2);
}

#[test]
fn an_altered_record_is_never_given_out_as_genuine() {
    let mut bench = Bench::new();
    bench.append(&["enabled: true", "two"]).unwrap();
    let database = bench.database();
    bench.journal.clone().close().unwrap();
    let conn = Connection::open(&database).unwrap();
    conn.execute("UPDATE records SET original = CAST('enabled: evil' AS BLOB) WHERE sequence = 1", [])
        .unwrap();
    conn.close().unwrap();
    let (journal, report) = Journal::open_tuned(&options(bench.dir.path()), tuning()).unwrap();
    assert_eq!((report.corrupt_records, &report.salvaged), (1, &None));
    bench.journal = journal;
    let rows = bench.read();
    assert!(matches!(rows[0], ReadRow::Corrupt { sequence: 1 }));
    assert_eq!(whole(rows[1].clone()).original, b"two");
    assert!(matches!(wait(bench.journal.read_members(vec![1])).unwrap()[..], [ReadRow::Corrupt { .. }]));
    let shared = &bench.journal.inner.shared;
    shared.corrupt_records.store(0, Ordering::Relaxed);
    assert_eq!(
        check::full_check(shared, &Mutex::new(None), i64::MAX.cast_unsigned(), |_| true).unwrap(),
        Some(2)
    );
    assert_eq!((bench.status().corrupt_records, bench.status().damaged), (1, false));
}

#[test]
fn a_record_is_altered_whatever_of_it_is() {
    let bench = Bench::new();
    let (mut append, _) = bench.lines(&["one"]);
    append.records[0].trace =
        Some(TraceContext { traceparent: "00-1-2-01".to_owned(), tracestate: Some("a=b".to_owned()) });
    append.records[0].event_time = Some(Timestamp::from_unix_micros(5));
    append.records[0].detail = Some("{}".to_owned());
    append.records[0].offset = 9;
    bench.journal.append(append).blocking_recv().unwrap().unwrap();
    let keep =
        |conn: &Connection, _: &mut Ledger| conn.execute_batch("CREATE TABLE kept AS SELECT * FROM records");
    bench.journal.call(keep).unwrap();
    for column in [
        "id",
        "kind",
        "source",
        "incarnation",
        "offset",
        "epoch",
        "framing",
        "accepted_at",
        "event_time",
        "namespace_state",
        "namespace",
        "entity_kind",
        "entity_id",
        "order_key",
        "detail",
        "traceparent",
        "tracestate",
        "original",
    ] {
        let altered = match column {
            "id" | "namespace" | "entity_kind" | "entity_id" | "order_key" | "detail" | "traceparent"
            | "tracestate" => format!("{column} || 'x'"),
            "original" => "CAST('evil' AS BLOB)".to_owned(),
            _ => format!("{column} + 1"),
        };
        let nothing = if matches!(column, "incarnation" | "detail" | "event_time" | "order_key") {
            "NULL"
        } else {
            "7"
        };
        for value in [&altered, nothing] {
            let set = format!("UPDATE records SET {column} = {value}");
            bench.journal.call(move |conn, _| conn.execute_batch(&set)).unwrap();
            assert_eq!(bench.corrupt(), [1], "{column} = {value}");
            let restore = format!("UPDATE records SET {column} = (SELECT {column} FROM kept)");
            bench.journal.call(move |conn, _| conn.execute_batch(&restore)).unwrap();
            assert!(bench.corrupt().is_empty(), "{column}");
        }
    }
}

#[test]
fn a_record_that_is_missing_is_told_of() {
    let mut bench = Bench::new();
    bench.append(&["one", "two", "three", "four", "five", "six"]).unwrap();
    assert_eq!((bench.corrupt().len(), bench.checked()), (0, 0));
    bench
        .journal
        .call(|conn, _| conn.execute("DELETE FROM records WHERE sequence IN (1, 3, 4)", []))
        .unwrap();
    assert_eq!(bench.read().iter().map(ReadRow::sequence).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    assert_eq!(bench.corrupt(), [1, 3, 4]);
    assert_eq!(bench.checked(), 3);
    // In small steps the same comes out, and never more than was asked for.
    let mut after = 0;
    for expected in 1..=6 {
        let rows = wait(bench.journal.read_after(after, ReadLimit { max_rows: 1, max_bytes: 1 })).unwrap();
        assert_eq!(rows.iter().map(ReadRow::sequence).collect::<Vec<_>>(), [expected]);
        after = expected;
    }
}

#[test]
fn a_forged_record_does_not_fit_to_the_one_before() {
    let mut bench = Bench::new();
    bench.append(&["one", "two", "three", "four"]).unwrap();
    bench.forge(1);
    bench.forge(3);
    assert_eq!((bench.corrupt(), bench.checked()), (vec![1, 3], 2));
    let rows = wait(bench.journal.read_after(2, ALL)).unwrap();
    assert!(matches!(rows[..], [ReadRow::Corrupt { sequence: 3 }, ReadRow::Record(_)]), "{rows:?}");
    let rows = wait(bench.journal.read_after(3, ALL)).unwrap();
    assert!(matches!(rows[..], [ReadRow::Record(_)]), "what comes after it is genuine: {rows:?}");
}

#[test]
fn a_closed_journal_says_so() {
    let mut bench = Bench::new();
    bench.append(&["one"]).unwrap();
    bench.journal.clone().close().unwrap();
    assert_eq!(bench.append(&["two"]), Err(AppendError::Closed));
    assert_eq!(bench.journal.mark_started(bench.source), Err(JournalError::Closed));
    assert!(matches!(wait(bench.journal.read_after(0, ALL)), Err(JournalError::Closed)));
    assert_eq!(bench.journal.clone().close(), Err(JournalError::Closed));
    let wal = bench.dir.path().join("journal.db-wal");
    assert!(!wal.exists(), "closing leaves one file");
}

/// Needs a file system of about 40 MiB of its own:
/// `unshare -rm sh -c 'mount -t tmpfs -o size=40m none /mnt && SMALL_DISK=/mnt TEST_BINARY small_disk --ignored'`
#[test]
#[ignore = "needs a small disk"]
fn a_small_disk_that_is_really_full() {
    let dir = std::path::PathBuf::from(std::env::var_os("SMALL_DISK").expect("SMALL_DISK is set"));
    let quick = Tuning { full_pause: Duration::ZERO, ..Tuning::default() };
    let options = Options { keep: Duration::ZERO, ..options(&dir) };
    let (journal, _) = Journal::open_tuned(&options, quick).unwrap();
    let source = journal.register_source("flipt", "flipt").unwrap().id;
    let lane = wait(journal.register_destination("siem", None)).unwrap();
    let name = Incarnation::from_bits(1);
    let mut offset = 0;
    let mut append = || {
        let records = (0..50)
            .map(|_| {
                offset += 1;
                record(name, offset, &"x".repeat(1_000))
            })
            .collect();
        journal.append(Append { source, advance: None, records, ignored: 0 }).blocking_recv().unwrap()
    };
    let error = (0..2_000).find_map(|_| append().err());
    assert_eq!(error, Some(AppendError::DiskFull));
    let last = *journal.latest().borrow();
    for cursor in 1..200 {
        assert_eq!(append(), Err(AppendError::DiskFull));
        let commit = LaneCommit { cursor, counts: delivered(1), ..lane_commit(lane.id) };
        assert_eq!(wait(journal.commit_lane(commit)), Ok(()));
    }
    assert_eq!(*journal.failed().borrow(), None);
    assert_eq!(*journal.latest().borrow(), last);
    // What every destination has passed makes the room.
    wait(journal.commit_lane(LaneCommit { cursor: last, ..lane_commit(lane.id) })).unwrap();
    journal.inner.writer.blocking_send(Command::Tick).unwrap();
    for _ in 0..100 {
        journal.call(|_, _| Ok(())).unwrap();
    }
    assert_eq!(wait(journal.read_after(0, ALL)).unwrap().len(), 0);
    assert_eq!(append().map(|answer| answer.last_sequence), Ok(last + 50));
    assert!(!wait(journal.status()).unwrap().disk_full);
    journal.close().unwrap();
}
