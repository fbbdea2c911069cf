use std::os::unix::fs::PermissionsExt;

use super::*;

#[test]
fn files_are_for_the_owner_alone() {
    let parent = tempfile::tempdir().unwrap();
    let data_dir = parent.path().join("a/b");
    let (journal, report) = Journal::open(options(&data_dir)).unwrap();
    assert_eq!(report, OpenReport { created: true, ..OpenReport::default() });
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&data_dir), 0o700);
    let mut names: Vec<_> = std::fs::read_dir(&data_dir)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            assert_eq!(mode(&entry.path()), 0o600, "{entry:?}");
            entry.file_name().into_string().unwrap()
        })
        .collect();
    names.sort();
    assert_eq!(names, ["journal.db", "journal.db-shm", "journal.db-wal", "lock", "reserve"]);
    journal.close().unwrap();
}

#[test]
fn settings_that_cannot_be_changed_later_are_right_from_the_first_day() {
    let bench = Bench::new();
    let pragma = |name: &'static str| {
        bench
            .journal
            .call(move |conn, _| conn.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0)))
            .unwrap()
    };
    assert_eq!(pragma("auto_vacuum"), 2);
    assert_eq!(pragma("application_id"), i64::from(schema::APPLICATION_ID));
    assert_eq!(pragma("user_version"), schema::SCHEMA);
    assert_eq!(pragma("temp_store"), 2);
    let synchronous = if cfg!(feature = "journal-unsynced") { 0 } else { 2 };
    assert_eq!(pragma("synchronous"), synchronous);
}

#[test]
fn the_second_opener_waits_and_is_then_refused() {
    let bench = Bench::new();
    let refused = Journal::open(Options { lock_wait: Duration::ZERO, ..options(bench.dir.path()) });
    let message = refused.unwrap_err().to_string();
    assert!(message.contains(&format!("process {}", std::process::id())), "{message}");
    // One that waits gets it when the first lets go.
    let waiting = options(bench.dir.path());
    let second = std::thread::spawn(move || Journal::open(waiting));
    bench.journal.close().unwrap();
    assert!(!second.join().unwrap().unwrap().1.created);
}

#[test]
fn dropped_without_closing_nothing_is_lost() {
    let mut bench = Bench::new();
    let epoch = bench.journal.epoch().to_owned();
    bench.append(&["one", "two"]).unwrap();
    let Bench { dir, journal, source, file, position } = bench;
    drop(journal);
    let (journal, report) = Journal::open(options(dir.path())).unwrap();
    assert_eq!(report, OpenReport::default());
    assert_eq!(journal.epoch(), epoch);
    assert_eq!(*journal.latest().borrow(), 2);
    let mut bench = Bench { dir, journal, source, file, position };
    assert_eq!(bench.append(&["three"]).unwrap().last_sequence, 3);
    assert_eq!(bench.records().len(), 3);
    bench.journal.clone().close().unwrap();
    assert_chained(&bench.database());
}

#[test]
fn a_newer_journal_is_opened_only_if_it_says_that_this_release_can_read_it() {
    let mut bench = Bench::new();
    bench.append(&["one"]).unwrap();
    bench.journal.clone().close().unwrap();
    let newer = |readable_since: i64| {
        let conn = Connection::open(bench.database()).unwrap();
        conn.execute_batch(&format!("PRAGMA user_version = {}", schema::SCHEMA + 1)).unwrap();
        schema::write_meta(&conn, schema::key::READABLE_SINCE, readable_since).unwrap();
    };
    newer(schema::SCHEMA + 1);
    let refused = Journal::open(options(bench.dir.path())).map(drop);
    assert!(matches!(refused, Err(OpenError::Newer { .. })), "{refused:?}");
    newer(schema::SCHEMA);
    let (journal, report) = Journal::open(options(bench.dir.path())).unwrap();
    assert_eq!(report, OpenReport::default());
    bench.journal = journal;
    bench.append(&["two"]).unwrap();
    let version =
        bench.journal.call(|conn, _| conn.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0)));
    assert_eq!(version, Ok(schema::SCHEMA + 1));
}

#[test]
fn a_database_of_another_program_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.db");
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE theirs (x)").unwrap();
    let refused = Journal::open(options(dir.path())).map(drop);
    assert!(refused.unwrap_err().to_string().contains("another program"));
    let conn = Connection::open(&path).unwrap();
    conn.query_row("SELECT count(*) FROM theirs", [], |_| Ok(())).unwrap();
}
