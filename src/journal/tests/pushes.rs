//! What was pushed: ids, and repetitions.

use rusqlite::params;

use super::*;
use crate::event::{EventId, NewRecord, RecordKind, TraceContext};

fn pushed(line: &str) -> NewRecord {
    NewRecord { id: None, ..record(Incarnation::name("r", "s", b"x", 0), 0, line) }
}

fn push(bench: &Bench, lines: &[&str], key: Option<PushKey>) -> Result<Pushed, AppendError> {
    let records = lines.iter().map(|line| pushed(line)).collect();
    wait(bench.journal.push(Push { source: bench.source, records, key }))
}

fn key(name: &str, body: &str) -> Option<PushKey> {
    Some(PushKey::new(name.as_bytes(), body.as_bytes()))
}

#[test]
fn what_comes_without_an_id_gets_one_from_its_place() {
    let mut bench = Bench::new();
    bench.append(&["of a file"]).unwrap();
    let answer = push(&bench, &["a", "a"], None).unwrap();
    let epoch = bench.journal.epoch().to_owned();
    let expected = [2, 3].map(|sequence| EventId::of_sequence(&epoch, sequence, b"a"));
    assert_eq!(
        answer,
        Pushed { ids: expected.to_vec(), accepted: 2, is_repeated: false, placed: Vec::new() }
    );
    let found: Vec<_> = bench.records().into_iter().map(|record| record.id).collect();
    assert_eq!(found[1..], expected);
    bench.journal.clone().close().unwrap();
    assert_chained(&bench.database());
}

#[test]
fn what_comes_with_an_id_keeps_it_and_is_accepted_once() {
    let mut bench = Bench::new();
    bench.append(&["one"]).unwrap();
    let first = bench.records()[0].id;
    let records = vec![NewRecord { id: Some(first), ..pushed("one") }, pushed("two")];
    let answer = wait(bench.journal.push(Push { source: bench.source, records, key: None })).unwrap();
    assert_eq!((answer.accepted, answer.ids[0], answer.ids.len()), (1, first, 2));
    assert_eq!(bench.records().len(), 2);
}

#[test]
fn what_is_part_of_a_trace_is_told_one_by_one() {
    let mut bench = Bench::new();
    bench.append(&["one"]).unwrap();
    let first = bench.records()[0].id;
    let trace = Some(TraceContext { traceparent: "00-1-2-01".to_owned(), tracestate: None });
    let known = NewRecord { id: Some(first), trace: trace.clone(), ..pushed("one") };
    let records = vec![known, pushed("two"), NewRecord { trace, ..pushed("three") }];
    let answer = wait(bench.journal.push(Push { source: bench.source, records, key: None })).unwrap();
    let placed: Vec<_> = answer.placed.iter().flatten().map(|placed| (placed.id, placed.sequence)).collect();
    assert_eq!(placed, [(first, None), (answer.ids[2], Some(3))]);
}

#[test]
fn a_repetition_is_one_push_for_a_day() {
    let mut bench = Bench::new();
    let first = push(&bench, &["a", "b"], key("k", "a b")).unwrap();
    assert!(!first.is_repeated);
    // Others have come since, and the relay was started anew.
    bench.append(&["between"]).unwrap();
    bench = bench.reopen().0;
    let again = push(&bench, &["a", "b"], key("k", "a b")).unwrap();
    assert_eq!(again, Pushed { ids: first.ids.clone(), accepted: 0, is_repeated: true, placed: Vec::new() });
    // The same name for something else loses nothing.
    assert!(!push(&bench, &["c"], key("k", "c")).unwrap().is_repeated);
    assert!(!push(&bench, &["a", "b"], None).unwrap().is_repeated);
    assert_eq!(bench.records().len(), 6);

    let age = |hours: i64| {
        bench
            .journal
            .call(move |conn, _| {
                conn.execute(
                    "UPDATE push_keys SET seen_at = seen_at - ?1",
                    params![hours * 3_600 * 1_000_000],
                )
            })
            .unwrap()
    };
    let keys = || {
        bench
            .journal
            .call(|conn, _| conn.query_row("SELECT COUNT(*) FROM push_keys", [], |row| row.get::<_, i64>(0)))
            .unwrap()
    };
    age(23);
    bench.journal.tick();
    assert!(push(&bench, &["a", "b"], key("k", "a b")).unwrap().is_repeated);
    assert_eq!(keys(), 2);
    age(2);
    assert!(!push(&bench, &["a", "b"], key("k", "a b")).unwrap().is_repeated);
    assert_eq!(bench.records().len(), 8);
    assert_eq!(keys(), 2);
}

#[test]
fn old_keys_go() {
    let bench = Bench::new();
    push(&bench, &["a"], key("k", "a")).unwrap();
    let count =
        |conn: &Connection| conn.query_row("SELECT COUNT(*) FROM push_keys", [], |row| row.get::<_, i64>(0));
    let now = crate::event::Timestamp::now();
    let later = |hours: u64| now.plus(std::time::Duration::from_secs(hours * 3_600));
    let left = |hours: u64| {
        let at = later(hours);
        bench
            .journal
            .call(move |conn, _| {
                crate::journal::push::forget_old(conn, at)?;
                count(conn)
            })
            .unwrap()
    };
    assert_eq!((left(23), left(25)), (1, 0));
}

#[test]
fn keys_take_no_more_than_their_share_and_the_newest_stay() {
    let bench = Bench::with(|options| options.max_size_bytes = 16 << 20);
    let share_bytes = 1 << 20;
    let fill = || {
        let now = crate::event::Timestamp::now().unix_micros() - 3_600_000_000;
        let source = bench.source.0;
        let fill = move |conn: &Connection, _: &mut super::super::ledger::Ledger| {
            conn.execute(
                "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
                 INSERT OR REPLACE INTO push_keys (source, key, sequence, seen_at, ids)
                 SELECT ?1, 'old ' || i, 1, ?2 + i, printf('%.500c', 'x') FROM n",
                params![source, now],
            )
        };
        bench.journal.call(fill).unwrap();
    };
    let used = || {
        let sum = |conn: &Connection| {
            conn.query_row(
                "SELECT SUM(160 + length(ids)), MIN(seen_at), MAX(seen_at) FROM push_keys",
                [],
                |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)),
            )
        };
        bench.journal.call(move |conn, _| sum(conn)).unwrap()
    };
    fill();
    let (full, oldest) = used();
    assert!(full > 3 * share_bytes);
    // Once so much has come that it is worth looking.
    let lines = vec!["a"; 500];
    let first = push(&bench, &lines, key("k 0", "a")).unwrap();
    for number in 1..12 {
        push(&bench, &lines, key(&format!("k {number}"), "a")).unwrap();
    }
    let (kept, since) = used();
    assert!(kept <= share_bytes && kept > share_bytes / 2 && since > oldest, "{kept} of {full} bytes");
    assert_eq!(push(&bench, &lines, key("k 0", "a")).unwrap().ids, first.ids);
    // And in any case within the hour.
    fill();
    bench.journal.tick();
    assert!(used().0 <= share_bytes);
}

#[test]
fn a_key_belongs_to_its_source() {
    let bench = Bench::new();
    push(&bench, &["a"], key("k", "a")).unwrap();
    let other = bench.journal.register_source("other", "flipt").unwrap().id;
    let push = Push { source: other, records: vec![pushed("a")], key: key("k", "a") };
    assert!(!wait(bench.journal.push(push)).unwrap().is_repeated);
}

#[test]
fn what_could_not_be_read_counts_for_its_source() {
    let bench = Bench::new();
    let records = vec![NewRecord { kind: RecordKind::Unparsed, ..pushed("?") }, pushed("a")];
    let answer = wait(bench.journal.push(Push { source: bench.source, records, key: None })).unwrap();
    assert_eq!((answer.accepted, answer.ids.len()), (2, 2));
    let books = wait(bench.journal.source_books()).unwrap();
    assert_eq!((books[0].unparsed, books[0].last_event_at.is_some()), (1, true));
}

#[test]
fn a_closed_journal_takes_nothing() {
    let bench = Bench::new();
    bench.journal.clone().close().unwrap();
    assert_eq!(push(&bench, &["a"], None), Err(AppendError::Closed));
}
