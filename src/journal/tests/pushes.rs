//! What was pushed: ids, and repetitions.

use rusqlite::params;

use super::*;
use crate::event::{EventId, NewRecord, RecordKind};

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
    assert_eq!(answer, Pushed { ids: expected.to_vec(), accepted: 2, is_repeated: false });
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
fn a_repetition_is_one_push_for_a_day() {
    let mut bench = Bench::new();
    let first = push(&bench, &["a", "b"], key("k", "a b")).unwrap();
    assert!(!first.is_repeated);
    // Others have come since, and the relay was started anew.
    bench.append(&["between"]).unwrap();
    bench = bench.reopen().0;
    let again = push(&bench, &["a", "b"], key("k", "a b")).unwrap();
    assert_eq!(again, Pushed { ids: first.ids.clone(), accepted: 0, is_repeated: true });
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
