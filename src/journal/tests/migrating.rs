use super::*;

/// What the first schema had of the tables of today; `entities` was another, and empty.
const TABLES: [&str; 13] = [
    "meta",
    "epochs",
    "sources",
    "incarnations",
    "records",
    "parents",
    "destinations",
    "batches",
    "dead_letters",
    "replays",
    "push_keys",
    "destination_memory",
    "configurations",
];

/// What the first release's lane left of twenty records: ten are behind its cursor, and of a batch on its way
/// it noted which member was settled, and counted, already.
const FIRST_RELEASE: &str = "
  INSERT INTO destinations (name, first_seen_at, first_sequence, cursor) VALUES ('siem', 1, 1, 0);
  INSERT INTO dead_letters (destination, sequence, code, message, attempts, died_at)
    VALUES (1, 12, 'rejected', 'no', 1, 2);
  INSERT INTO batches (destination, id, members, attempts, not_before, created_at, first_attempt_at, settled)
    VALUES (1, 'bat_1', '[11,12,13]', 2, NULL, 2, 2, '[12]');
  UPDATE destinations SET cursor = 10, delivered = 9, not_routed = 1, dead = 1, commits = commits + 1";

/// Turns a closed journal into what the first schema would hold of it.
fn take_back(database: &Path) {
    let old = database.with_extension("old");
    let conn = Connection::open(&old).unwrap();
    conn.execute_batch(&format!(
        "PRAGMA auto_vacuum = INCREMENTAL; PRAGMA application_id = {}; PRAGMA foreign_keys = OFF;",
        schema::APPLICATION_ID
    ))
    .unwrap();
    conn.execute_batch(schema::MIGRATIONS[0]).unwrap();
    conn.execute("ATTACH ?1 AS new", [database.to_str().unwrap()]).unwrap();
    for table in TABLES {
        let columns: String = conn
            .query_row(
                &format!("SELECT group_concat(name) FROM pragma_table_info('{table}', 'main')"),
                [],
                |row| row.get(0),
            )
            .unwrap();
        conn.execute_batch(&format!(
            "INSERT INTO main.{table} ({columns}) SELECT {columns} FROM new.{table}"
        ))
        .unwrap();
    }
    conn.execute_batch(
        "DELETE FROM main.meta WHERE key LIKE 'unstamped%' OR key = 'running_ms'; PRAGMA main.user_version = 1;",
    )
    .unwrap();
    conn.close().unwrap();
    open::remove_database(database).unwrap();
    std::fs::rename(old, database).unwrap();
}

fn taken_back(bench: Bench) -> Bench {
    let database = bench.database();
    let Bench { dir, journal, source, file, position } = bench;
    journal.close().unwrap();
    take_back(&database);
    let (journal, report) = Journal::open_tuned(&options(dir.path()), tuning()).unwrap();
    assert_eq!(report, OpenReport::default());
    Bench { dir, journal, source, file, position }
}

fn meta(bench: &Bench, key: &'static str) -> Option<i64> {
    bench.journal.call(move |conn, _| schema::read_meta(conn, key)).unwrap()
}

#[test]
fn a_journal_of_the_first_schema_is_opened_and_nothing_is_lost() {
    let mut bench = Bench::new();
    bench.append_some(20);
    bench.execute(FIRST_RELEASE);
    bench.journal.advance_running(Duration::from_secs(1_234));
    let before = bench.records();
    let mut bench = taken_back(bench);
    let unstamped = Duration::from_millis(meta(&bench, schema::key::UNSTAMPED_RUNNING_MS).unwrap() as u64);
    assert!(unstamped >= Duration::from_secs(1_234) && unstamped <= bench.journal.running());
    for (old, new) in before.iter().zip(bench.records()) {
        assert_eq!((old.sequence, old.id, &old.original), (new.sequence, new.id, &new.original));
        assert_eq!(new.running, unstamped);
    }
    let siem = bench.lane("siem");
    assert_eq!((siem.id, siem.cursor, &siem.acked[..]), (DestinationId(1), 10, &[12][..]));
    assert_eq!(siem.open_batches, [OpenBatch { attempts: 2, ..batch("bat_1", &[11, 13]) }]);
    let books = Books { not_routed: 1, delivered: 9, dead: 1, ..Books::default() };
    assert_eq!((siem.books, &siem), (books, &bench.destination("siem")));
    let line = before[11].original.len() as u64;
    assert_eq!(wait(bench.journal.dead_letter_bytes()), Ok(400 + line), "the migration has filled it in");
    bench.append_some(1);
    assert!(bench.records()[20].running >= unstamped);
    let (bench, report) = bench.reopen();
    assert_eq!((report, bench.records().len()), (OpenReport::default(), 21));
    bench.journal.clone().close().unwrap();
    assert_chained(&bench.database());
}

#[test]
fn a_damaged_journal_of_the_first_schema_is_salvaged() {
    let mut bench = Bench::new();
    bench.append_some(20);
    bench.journal.advance_running(Duration::from_secs(99));
    bench.journal.clone().close().unwrap();
    take_back(&bench.database());
    std::fs::write(bench.dir.path().join("journal.db.salvage-wanted"), "malformed").unwrap();
    let (journal, report) = Journal::open_tuned(&options(bench.dir.path()), tuning()).unwrap();
    assert_eq!(report.salvaged.unwrap().0, 20);
    assert!(journal.running() >= Duration::from_secs(99));
    let rows = wait(journal.read_after(0, ALL)).unwrap();
    for record in rows.into_iter().map(whole) {
        assert!(record.running >= Duration::from_secs(99), "{}", record.sequence);
    }
}

/// An older release leaves new columns of its rows empty, and moves cursors without their bitmap.
#[test]
fn what_an_older_release_did_between_is_understood() {
    let mut bench = Bench::new();
    bench.append_some(30);
    let siem = bench.lane("siem");
    bench.commit(LaneCommit {
        cursor: 5,
        acked: vec![8, 9, 20],
        counts: delivered(8),
        ..lane_commit(siem.id)
    });
    bench.journal.advance_running(Duration::from_secs(50));
    // It has seen 8 and 9 delivered once more, and does not know of 20.
    bench.execute(
        "INSERT INTO dead_letters (destination, sequence, code, message, attempts, died_at)
           VALUES (1, 11, 'rejected', 'no', 1, 3);
         DELETE FROM batches WHERE destination = 1;
         UPDATE destinations SET cursor = 12, delivered = delivered + 5, not_routed = not_routed + 1,
           dead = dead + 1, commits = commits + 1
         WHERE id = 1",
    );
    bench.append_some(2);
    bench.execute(
        "UPDATE records SET running_ms = NULL WHERE sequence > 30; UPDATE dead_letters SET size_bytes = NULL;
         UPDATE meta SET value = value + 3600 WHERE key = 'running_seconds'",
    );
    let Bench { dir, journal, source, file, position } = bench;
    // Not closed by this release: that would know better.
    let copy = tempfile::tempdir().unwrap();
    for name in ["journal.db", "journal.db-wal"] {
        std::fs::copy(dir.path().join(name), copy.path().join(name)).unwrap();
    }
    drop(journal);
    let (journal, _) = Journal::open_tuned(&options(copy.path()), tuning()).unwrap();
    let bench = Bench { dir: copy, journal, source, file, position };
    assert!(bench.journal.running() >= Duration::from_secs(3_600), "it counts in seconds");
    let records = bench.records();
    assert!(records[29].running < Duration::from_secs(60));
    assert!(records[30].running >= Duration::from_secs(3_600), "young, as far as can be told");
    let row = bench.lane("siem");
    assert_eq!((row.cursor, &row.acked[..]), (12, &[20][..]), "20 is where it was");
    assert_balanced(&row, 32);
    assert_eq!((row.books.dead, row.books.not_routed), (1, 1));
    assert_eq!(bench.destination("siem"), row);
    assert!(wait(bench.journal.dead_letter_bytes()).unwrap() > 400);
}
