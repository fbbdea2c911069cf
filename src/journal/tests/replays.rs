use super::*;
use crate::event::Timestamp;

fn replay(selection: ReplaySelection) -> NewReplay {
    NewReplay { destination: "siem".to_owned(), selection, rate: Some(7) }
}

fn create(bench: &Bench, selection: ReplaySelection) -> Result<ReplayRow, OperatorError> {
    wait(bench.journal.create_replay(replay(selection), act(ActKind::Replay)))
}

fn read(bench: &Bench, row: &ReplayRow, max_rows: usize) -> Vec<Sequence> {
    let limit = ReadLimit { max_rows, max_bytes: usize::MAX };
    wait(bench.journal.read_replay(row, limit)).unwrap().iter().map(ReadRow::sequence).collect()
}

fn commit(bench: &Bench, row: &ReplayRow, commit: ReplayCommit) -> ReplayRow {
    let row = wait(bench.journal.commit_replay(ReplayCommit { id: row.id, ..commit })).unwrap();
    assert!(wait(bench.journal.replays(false)).unwrap().contains(&row));
    row
}

fn done(position: Sequence) -> ReplayCommit {
    ReplayCommit {
        id: ReplayId(0),
        position,
        taken: Vec::new(),
        refused: Vec::new(),
        passed: 0,
        finished: false,
    }
}

/// Ten records, all settled; 3, 5, 8 are dead.
fn bench() -> (Bench, DestinationRow) {
    let mut bench = Bench::new();
    bench.append_some(10);
    let siem = bench.lane("siem");
    let dead = vec![letter(3), letter(8), letter(5)];
    bench.commit(LaneCommit { cursor: 10, counts: delivered(7), dead, ..lane_commit(siem.id) });
    (bench, siem)
}

#[test]
fn dead_letters_that_are_taken_are_delivered() {
    let (bench, siem) = bench();
    let row = create(&bench, ReplaySelection::DeadLetters).unwrap();
    assert_eq!(
        (row.total, row.through, row.rate, row.asked_by.as_deref()),
        (3, 8, Some(7), Some("ann (1000)"))
    );
    let kept = kept_act(bench.records().last().unwrap());
    assert_eq!(
        (kept.act, kept.destination.as_deref(), kept.records),
        (ActKind::Replay, Some("siem"), Some(3))
    );
    assert_eq!(kept.detail, serde_json::json!({"replay": row.id.0}));
    // What dies later is not meant.
    bench.execute("UPDATE dead_letters SET died_at = died_at - 5");
    bench.execute("UPDATE replays SET died_through = died_through - 5");
    bench.commit(LaneCommit { cursor: 11, dead: vec![letter(11)], ..lane_commit(siem.id) });
    assert_eq!((read(&bench, &row, 9), read(&bench, &row, 2)), (vec![3, 5, 8], vec![3, 5]));
    let refusal =
        DeadLetter { code: "expired".to_owned(), message: "still no".to_owned(), attempts: 2, ..letter(5) };
    let row = commit(&bench, &row, ReplayCommit { taken: vec![3], refused: vec![refusal], ..done(5) });
    assert_eq!((row.position, row.replayed, row.failed, row.finished_at), (5, 1, 1, None));
    let books = bench.destination("siem").books;
    assert_eq!((books.delivered, books.dead, books.replayed), (8, 3, 1));
    let letters = wait(bench.journal.dead_letters(DeadLetterSelection::default(), None, 9)).unwrap();
    let letters: Vec<_> =
        letters.iter().map(|letter| (letter.sequence, &*letter.code, letter.attempts)).collect();
    assert_eq!(letters, [(5, "expired", 2), (8, "rejected", 1), (11, "rejected", 1)], "5 keeps its place");
    // One that was purged meanwhile is passed over; the rest goes on over a restart.
    let (bench, _) = bench.reopen();
    let unfinished = wait(bench.journal.replays(true)).unwrap();
    assert_eq!(unfinished, [row]);
    assert_eq!(read(&bench, &unfinished[0], 9), [8]);
    wait(bench.journal.dead_letters_moved(vec![(siem.id, 8)])).unwrap();
    assert!(read(&bench, &unfinished[0], 9).is_empty());
    let row = commit(&bench, &unfinished[0], ReplayCommit { finished: true, ..done(8) });
    assert_eq!((row.replayed, row.failed, row.position), (1, 1, 8));
    assert!(row.finished_at.is_some());
    assert_eq!(wait(bench.journal.replays(true)).unwrap(), []);
    let books = bench.destination("siem").books;
    assert_eq!((books.delivered, books.dead, books.purged), (8, 2, 1));
}

#[test]
fn a_letter_without_its_record_fails_and_does_not_stop_the_rest() {
    let (bench, _) = bench();
    bench.execute(
        "DELETE FROM records WHERE sequence = 3; UPDATE records SET original = x'' WHERE sequence = 5",
    );
    let row = create(&bench, ReplaySelection::DeadLetters).unwrap();
    let rows = wait(bench.journal.read_replay(&row, ALL)).unwrap();
    let corrupt =
        |sequence| move |row: &ReadRow| matches!(row, ReadRow::Corrupt { sequence: s } if *s == sequence);
    assert!(corrupt(3)(&rows[0]) && corrupt(5)(&rows[1]), "{rows:?}");
    assert!(matches!(&rows[2], ReadRow::Record(record) if record.sequence == 8));
}

#[test]
fn ids_are_replayed_in_order_and_all_or_none() {
    let (bench, _) = bench();
    let records = bench.records();
    let ids = [8, 1, 3, 8].map(|sequence: usize| records[sequence - 1].id).to_vec();
    let row = create(&bench, ReplaySelection::Ids(ids.clone())).unwrap();
    assert_eq!((row.total, row.through), (3, 8));
    assert_eq!((read(&bench, &row, 9), read(&bench, &row, 1)), (vec![1, 3, 8], vec![1]));
    let row = commit(&bench, &row, ReplayCommit { taken: vec![1, 3], ..done(3) });
    assert_eq!(read(&bench, &row, 9), [8]);
    let books = bench.destination("siem").books;
    assert_eq!((books.delivered, books.dead, books.replayed), (8, 2, 2), "1 was no dead letter");
    let none = EventId::of_sequence("none", 1, b"");
    bench.execute("UPDATE records SET original = x'' WHERE sequence = 1");
    let refused = create(&bench, ReplaySelection::Ids(vec![ids[0], none, ids[1]])).unwrap_err().to_string();
    assert!(refused.contains(&none.to_string()) && refused.contains(&ids[1].to_string()), "{refused}");
    assert!(!refused.contains(&ids[0].to_string()), "{refused}");
    let many = (0..30).map(|place| EventId::of_sequence("none", place, b"")).collect();
    assert!(create(&bench, ReplaySelection::Ids(many)).unwrap_err().to_string().ends_with("and 20 more"));
}

#[test]
fn a_time_is_replayed_and_what_was_removed_is_passed_over() {
    let (mut bench, siem) = bench();
    bench.execute("UPDATE records SET accepted_at = 1000 * sequence");
    // A digest covers the time.
    bench
        .journal
        .call(|conn, _| {
            for sequence in 1..=10 {
                let digest = conn.query_row(
                    &format!("SELECT {} FROM records WHERE sequence = ?1", rows::RECORD_COLUMNS),
                    [sequence],
                    |row| Ok(chain::digest(&rows::accepted(row)?)),
                )?;
                conn.execute(
                    "UPDATE records SET digest = ?2 WHERE sequence = ?1",
                    rusqlite::params![sequence, digest],
                )?;
            }
            Ok(())
        })
        .unwrap();
    let at = |sequence: i64| Some(Timestamp::from_unix_micros(1_000 * sequence));
    let range = |since, until| ReplaySelection::Range { since, until, events: vec!["flag:*".to_owned()] };
    let row = create(&bench, range(at(3), at(7))).unwrap();
    assert_eq!((row.total, row.position, row.through), (4, 2, 6));
    assert_eq!((read(&bench, &row, 9), read(&bench, &row, 3)), (vec![3, 4, 5, 6], vec![3, 4, 5]));
    assert_eq!(row.selection, range(at(3), at(7)));
    let all = create(&bench, range(None, None)).unwrap();
    assert_eq!((all.total, all.through), (11, 11), "the act of the first one is there too");
    bench.append_some(1);
    assert_eq!(read(&bench, &all, 99).len(), 11, "what comes later is not");
    bench.settle(siem.id, 13);
    bench.execute("DELETE FROM records WHERE sequence < 5");
    assert_eq!(read(&bench, &row, 9), [5, 6]);
    let limit = ReadLimit { max_rows: 9, max_bytes: 1 };
    assert_eq!(wait(bench.journal.read_replay(&row, limit)).unwrap().len(), 1);
    let row = commit(&bench, &row, ReplayCommit { passed: 2, finished: true, ..done(6) });
    assert!(read(&bench, &row, 9).is_empty());
}

#[test]
fn what_means_nothing_is_refused() {
    let bench = Bench::new();
    let nobody = create(&bench, ReplaySelection::DeadLetters);
    assert_eq!(nobody, Err(OperatorError::NoSuchDestination("siem".to_owned())));
    bench.lane("siem");
    let range = ReplaySelection::Range { since: None, until: None, events: Vec::new() };
    for selection in [ReplaySelection::DeadLetters, range, ReplaySelection::Ids(Vec::new())] {
        let refused = create(&bench, selection);
        assert!(matches!(refused, Err(OperatorError::Refused(_))), "{refused:?}");
    }
    assert_eq!(bench.last(), 0, "and nothing is kept");
    assert!(matches!(wait(bench.journal.commit_replay(done(1))), Err(JournalError::Io(_))));
}

#[test]
fn outlines_tell_the_little_that_is_needed() {
    let mut bench = Bench::new();
    bench.append(&["one", "three"]).unwrap();
    let mut gap = record(bench.file.name, 99, "gap");
    (gap.kind, gap.detail) = (RecordKind::Gap, Some("{}".to_owned()));
    (gap.keys, gap.event_time) = (Keys::barrier(Namespace::Unknown), Some(Timestamp::from_unix_micros(7)));
    bench.push(vec![gap]).unwrap();
    let outlines =
        |after, max_rows, original| wait(bench.journal.read_outlines(after, max_rows, original)).unwrap();
    let found = outlines(0, 99, false);
    for (outline, record) in found.iter().zip(bench.records()) {
        assert_eq!(
            (outline.sequence, outline.kind, &outline.source),
            (record.sequence, record.kind, &record.source)
        );
        assert_eq!((outline.accepted_at, outline.event_time), (record.accepted_at, record.event_time));
        assert_eq!((&outline.namespace, &outline.detail), (&record.namespace, &record.detail));
        assert_eq!((outline.size_bytes, outline.original.is_none()), (record.original.len() as u64, true));
    }
    assert_eq!(found.len(), 3);
    let found = outlines(1, 1, true);
    assert_eq!(found[0].original, Some((Framing::Auto, b"three".to_vec())));
    assert_eq!(found.len(), 1);
    // What is altered beyond reading, or gone, is left out.
    bench.execute("UPDATE records SET kind = 'x' WHERE sequence = 1; DELETE FROM records WHERE sequence = 2");
    for original in [false, true] {
        assert_eq!(outlines(0, 99, original).iter().map(|outline| outline.sequence).collect::<Vec<_>>(), [3]);
    }
    // Originals are not copied without end.
    let large = "x".repeat(3 << 20);
    bench.append(&[&large, &large, &large]).unwrap();
    let outlines = |after| wait(bench.journal.read_outlines(after, 99, true)).unwrap().len();
    assert_eq!((outlines(0), outlines(5)), (3, 1));
    assert_eq!(wait(bench.journal.read_outlines(0, 99, false)).unwrap().len(), 4);
}
