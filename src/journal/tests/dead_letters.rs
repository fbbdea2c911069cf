use super::*;

/// Two destinations with dead letters: siem 2, 4 (rejected), 6 (expired), slack 4.
fn bench() -> (Bench, DestinationRow, DestinationRow) {
    let mut bench = Bench::with(|options| options.keep = Duration::ZERO);
    bench.append(&["one", "two", "three", "four", "five", "six"]).unwrap();
    let (siem, slack) = (bench.lane("siem"), bench.lane("slack"));
    let expired = DeadLetter { code: "expired".to_owned(), attempts: 9, ..letter(6) };
    let commit = |id, delivered_, dead| {
        bench.commit(LaneCommit { cursor: 6, counts: delivered(delivered_), dead, ..lane_commit(id) });
    };
    commit(siem.id, 3, vec![letter(4), letter(2), expired]);
    commit(slack.id, 5, vec![letter(4)]);
    (bench, siem, slack)
}

fn of(name: &str) -> DeadLetterSelection {
    DeadLetterSelection { destination: Some(name.to_owned()), ..DeadLetterSelection::default() }
}

fn list(bench: &Bench, selection: DeadLetterSelection) -> Vec<(String, Sequence)> {
    wait(bench.journal.dead_letters(selection, None, 99))
        .unwrap()
        .into_iter()
        .map(|letter| (letter.destination_name, letter.sequence))
        .collect()
}

fn pairs(expected: &[(&str, Sequence)]) -> Vec<(String, Sequence)> {
    expected.iter().map(|(name, sequence)| ((*name).to_owned(), *sequence)).collect()
}

#[test]
fn those_of_a_stretch_are_told_without_their_records() {
    let (bench, _, _) = bench();
    let among = |after, through, rows| {
        let found = wait(bench.journal.dead_among(after, through, rows)).unwrap();
        assert!(found.iter().all(|letter| letter.record.is_none()));
        found.into_iter().map(|letter| (letter.destination_name, letter.sequence)).collect::<Vec<_>>()
    };
    assert_eq!(among(2, 6, 99), pairs(&[("siem", 4), ("siem", 6), ("slack", 4)]));
    assert_eq!(among(1, 4, 99), pairs(&[("siem", 2), ("siem", 4), ("slack", 4)]));
    assert_eq!(among(0, u64::MAX >> 1, 1), pairs(&[("siem", 2)]));
    assert_eq!(among(6, 99, 99), []);
}

#[test]
fn they_are_listed_in_the_order_of_dying() {
    let (bench, siem, _) = bench();
    let everything = DeadLetterSelection::default();
    let expected = pairs(&[("siem", 2), ("siem", 4), ("siem", 6), ("slack", 4)]);
    assert_eq!(list(&bench, everything.clone()), expected);
    let expired = DeadLetterSelection { code: Some("expired".to_owned()), ..everything.clone() };
    assert_eq!(list(&bench, expired), pairs(&[("siem", 6)]));
    let ids = vec![bench.records()[3].id, EventId::of_sequence("none", 1, b"")];
    let by_id = DeadLetterSelection { ids, ..everything.clone() };
    assert_eq!(list(&bench, by_id.clone()), pairs(&[("siem", 4), ("slack", 4)]));
    assert_eq!(list(&bench, DeadLetterSelection { ids: by_id.ids, ..of("slack") }), pairs(&[("slack", 4)]));
    assert_eq!(list(&bench, of("nobody")), []);
    // Page by page the same comes out.
    let (mut place, mut paged) = (None, Vec::new());
    while let Some(letter) =
        wait(bench.journal.dead_letters(everything.clone(), place, 1)).unwrap().into_iter().next()
    {
        place = Some(DeadLetterPlace {
            died_at: letter.died_at,
            destination: letter.destination.0,
            sequence: letter.sequence,
        });
        paged.push((letter.destination_name, letter.sequence));
    }
    assert_eq!(paged, expected);
    let first = wait(bench.journal.dead_letters(of("siem"), None, 1)).unwrap().remove(0);
    assert_eq!(
        (first.destination, &*first.code, &*first.message, first.attempts),
        (siem.id, "rejected", "no", 1)
    );
    assert_eq!(first.record.unwrap().original, b"two");
    // What is altered or gone is not shown as genuine.
    bench.execute(
        "UPDATE records SET original = x'00' WHERE sequence = 2; DELETE FROM records WHERE sequence = 4",
    );
    let left = wait(bench.journal.dead_letters(of("siem"), None, 9)).unwrap();
    let whole: Vec<_> = left.iter().map(|letter| letter.record.is_some()).collect();
    assert_eq!(whole, [false, false, true]);
}

#[test]
fn their_bytes_are_known_also_of_those_an_older_release_added() {
    let (bench, ..) = bench();
    let expected = 4 * 400 + "two".len() + 2 * "four".len() + "six".len();
    assert_eq!(wait(bench.journal.dead_letter_bytes()).unwrap(), expected as u64);
    bench.execute("UPDATE dead_letters SET size_bytes = NULL WHERE sequence = 4");
    assert_eq!(wait(bench.journal.dead_letter_bytes()).unwrap(), expected as u64);
    let plan: String = bench
        .journal
        .call(|conn, _| {
            conn.query_row("EXPLAIN QUERY PLAN SELECT SUM(size_bytes) FROM dead_letters", [], |row| {
                row.get(3)
            })
        })
        .unwrap();
    assert!(plan.contains("COVERING INDEX dead_letters_by_death"), "{plan}");
    let plan: Vec<String> = bench
        .journal
        .call(|conn, _| {
            conn.prepare(
                "EXPLAIN QUERY PLAN SELECT message FROM dead_letters WHERE (died_at, destination, sequence) >
                 (1, 2, 3) ORDER BY died_at, destination, sequence LIMIT 5",
            )?
            .query_map([], |row| row.get(3))?
            .collect()
        })
        .unwrap();
    assert!(plan.iter().all(|step| !step.contains("TEMP B-TREE")), "{plan:?}");
}

#[test]
fn a_purge_counts_and_lets_the_records_go() {
    let (bench, ..) = bench();
    bench.journal.tick();
    assert_eq!(bench.read().iter().map(ReadRow::sequence).collect::<Vec<_>>(), [2, 4, 6]);
    let refused = wait(bench.journal.purge_dead_letters(of("nobody"), act(ActKind::Purge)));
    assert_eq!(refused, Err(OperatorError::NoSuchDestination("nobody".to_owned())));
    let ids = vec![bench.records()[1].id];
    let selection = DeadLetterSelection { ids: ids.clone(), ..of("siem") };
    assert_eq!(wait(bench.journal.purge_dead_letters(selection, act(ActKind::Purge))), Ok(1));
    bench.journal.settle_down();
    let books = bench.destination("siem").books;
    assert_eq!((books.dead, books.purged, books.delivered), (2, 1, 3));
    assert_eq!(bench.destination("slack").books.dead, 1);
    let left: Vec<_> = bench.read().iter().map(ReadRow::sequence).collect();
    assert_eq!(left, [2, 4, 6, 7], "slack has 4 still, 7 is the act");
    let kept = kept_act(&whole(bench.read().pop().unwrap()));
    assert_eq!(
        (kept.act, kept.destination.as_deref(), kept.records),
        (ActKind::Purge, Some("siem"), Some(1))
    );
    assert_eq!(kept.detail["ids"][0], ids[0].to_string());
    // The code alone, of all destinations; and all of them at once.
    let rejected =
        DeadLetterSelection { code: Some("rejected".to_owned()), ..DeadLetterSelection::default() };
    assert_eq!(wait(bench.journal.purge_dead_letters(rejected, act(ActKind::Purge))), Ok(2));
    assert_eq!(wait(bench.journal.purge_dead_letters(of("siem"), act(ActKind::Purge))), Ok(1));
    bench.journal.settle_down();
    assert_eq!(bench.status().first_sequence, 7);
    assert_eq!((bench.destination("siem").books.purged, bench.destination("slack").books.purged), (3, 1));
    assert_eq!(wait(bench.journal.dead_letter_bytes()), Ok(0));
}

#[test]
fn what_moved_to_a_file_counts_as_purged_once() {
    let (bench, siem, slack) = bench();
    let moved = vec![(siem.id, 2), (siem.id, 4), (slack.id, 4), (slack.id, 5)];
    assert_eq!(wait(bench.journal.dead_letters_moved(moved.clone())), Ok(3));
    assert_eq!(wait(bench.journal.dead_letters_moved(moved)), Ok(0));
    assert_eq!((bench.destination("siem").books.purged, bench.destination("slack").books.purged), (2, 1));
    bench.journal.tick();
    assert_eq!(bench.read().iter().map(ReadRow::sequence).collect::<Vec<_>>(), [6]);
}

#[test]
fn many_that_go_at_once_are_swept_up_in_slices() {
    let mut bench = Bench::with(|options| options.keep = Duration::ZERO);
    let siem = bench.lane("siem");
    for _ in 0..5 {
        bench.append_some(700);
    }
    let dead = (1..=3_500).map(letter).collect();
    bench.commit(LaneCommit { cursor: 3_500, dead, ..lane_commit(siem.id) });
    bench.journal.tick();
    assert_eq!(bench.read().len(), 3_500);
    assert_eq!(wait(bench.journal.purge_dead_letters(of("siem"), act(ActKind::Purge))), Ok(3_500));
    bench.journal.settle_down();
    assert_eq!(bench.status().first_sequence, 3_501);
    // What a run left loose, the next one finds.
    bench.append_some(2_500);
    let dead = (3_501..=6_001).map(letter).collect();
    bench.commit(LaneCommit { cursor: 6_001, dead, ..lane_commit(siem.id) });
    let (bench, _) = {
        let Bench { dir, journal, source, file, position } = bench;
        journal.close().unwrap();
        let options = Options { keep: Duration::ZERO, ..options(dir.path()) };
        let (journal, report) = Journal::open_tuned(&options, tuning()).unwrap();
        (Bench { dir, journal, source, file, position }, report)
    };
    bench.journal.tick();
    bench.execute("DELETE FROM dead_letters");
    assert_eq!(bench.read().len(), 2_501);
    let Bench { dir, journal, .. } = bench;
    journal.close().unwrap();
    let (journal, _) = Journal::open_tuned(&options(dir.path()), tuning()).unwrap();
    journal.inner.writer.blocking_send(Command::Tick).unwrap();
    for _ in 0..50 {
        journal.call(|_, _| Ok(())).unwrap();
    }
    assert_eq!(wait(journal.status()).unwrap().first_sequence, 0);
}
