use super::*;
use crate::event::{BatchId, Timestamp};

#[test]
fn a_lane_goes_on_where_it_was() {
    let mut bench = Bench::new();
    bench.append(&["one", "two", "three", "four"]).unwrap();
    let siem = bench.lane("siem");
    assert_eq!((siem.cursor, siem.books, &siem.open_batch), (0, Books::default(), &None));
    let members = vec![2, 4];
    let batch = OpenBatch {
        id: BatchId::from_stored("bat_1".to_owned()),
        members,
        settled: Vec::new(),
        attempts: 2,
        not_before: Some(Timestamp::from_unix_micros(99)),
    };
    let letter =
        DeadLetter { sequence: 3, code: "rejected".to_owned(), message: "no".to_owned(), attempts: 1 };
    let commit = LaneCommit {
        cursor: 1,
        delivered: 1,
        not_routed: 0,
        dead: vec![letter.clone()],
        open_batch: Some(batch.clone()),
        ..lane_commit(siem.id)
    };
    wait(bench.journal.commit_lane(commit)).unwrap();
    let (bench, _) = bench.reopen();
    let again = bench.lane("siem");
    assert_eq!((again.id, again.cursor, again.first_seen_at), (siem.id, 1, siem.first_seen_at));
    assert_eq!(again.open_batch, Some(batch.clone()));
    assert_eq!(again.books, Books { delivered: 1, dead: 1, ..Books::default() });
    // The same letter twice is one; another attempt is the same batch.
    let tried = OpenBatch { attempts: 3, not_before: None, ..batch };
    let commit = LaneCommit {
        cursor: 1,
        not_routed: 2,
        dead: vec![letter],
        open_batch: Some(tried.clone()),
        ..lane_commit(siem.id)
    };
    wait(bench.journal.commit_lane(commit)).unwrap();
    let again = bench.lane("siem");
    assert_eq!(again.open_batch, Some(tried));
    assert_eq!(again.books, Books { delivered: 1, dead: 1, not_routed: 2, purged: 0 });
    // A cursor never goes back, and `None` closes the batch.
    bench.settle(siem.id, 4);
    bench.settle(siem.id, 2);
    let again = bench.lane("siem");
    assert_eq!((again.cursor, again.open_batch), (4, None));
}

#[test]
fn a_destination_the_journal_does_not_know_is_an_error() {
    let bench = Bench::new();
    let answer = wait(bench.journal.commit_lane(lane_commit(DestinationId(5))));
    assert!(matches!(answer, Err(JournalError::Io(_))), "{answer:?}");
}

#[test]
fn lanes_are_told_of_new_records() {
    let mut bench = Bench::new();
    let mut latest = bench.journal.latest();
    assert!(!latest.has_changed().unwrap());
    bench.append(&["one"]).unwrap();
    assert!(latest.has_changed().unwrap());
    assert_eq!(*latest.borrow_and_update(), 1);
    let destination = bench.lane("siem");
    bench.settle(destination.id, 1);
    assert!(!latest.has_changed().unwrap(), "an acknowledgement is no news to other lanes");
}
