use super::*;

#[test]
fn the_running_time_never_goes_back() {
    let mut bench = Bench::new();
    assert!(bench.journal.running() < Duration::from_secs(60));
    bench.append(&["one"]).unwrap();
    bench.journal.advance_running(Duration::from_secs(1_000));
    let mut before = bench.journal.running();
    bench.append(&["two"]).unwrap();
    assert!(bench.records()[1].running + Duration::from_millis(1) > before);
    assert!(bench.records()[1].running - bench.records()[0].running >= Duration::from_secs(999));
    // Once by closing it, once by a kill: then the newest record tells, and what was saved with the group.
    for close in [true, false] {
        bench.journal.advance_running(Duration::from_secs(500));
        before = before.max(bench.journal.running());
        if !close {
            bench.append(&["three"]).unwrap();
        }
        let Bench { dir, journal, source, file, position } = bench;
        if close {
            journal.close().unwrap();
        } else {
            let copy = tempfile::tempdir().unwrap();
            for name in ["journal.db", "journal.db-wal"] {
                std::fs::copy(dir.path().join(name), copy.path().join(name)).unwrap();
            }
            drop(journal);
            let (killed, _) = Journal::open_tuned(&options(copy.path()), tuning()).unwrap();
            let lost = before.saturating_sub(killed.running());
            assert!(lost < Duration::from_millis(1), "{lost:?}");
            killed.close().unwrap();
        }
        let (journal, _) = Journal::open_tuned(&options(dir.path()), tuning()).unwrap();
        assert!(journal.running() + Duration::from_millis(1) >= before);
        bench = Bench { dir, journal, source, file, position };
    }
}

#[test]
fn the_running_time_is_saved_with_a_group_now_and_then() {
    let bench = Bench::new();
    let saved = || {
        bench
            .journal
            .call(|conn, _| schema::read_meta::<i64>(conn, schema::key::RUNNING_MS))
            .unwrap()
            .unwrap_or(0)
    };
    bench.journal.advance_running(Duration::from_secs(9));
    assert_eq!((saved(), saved()), (0, 0));
    bench.journal.advance_running(Duration::from_secs(2));
    saved();
    let first = saved();
    assert!(first >= 11_000);
    bench.journal.advance_running(Duration::from_secs(5));
    saved();
    assert_eq!(saved(), first);
}
