use super::*;
use crate::event::{OrderKey, Placed, Teaching, Timestamp, TraceContext};

#[test]
fn what_comes_back_is_what_was_accepted() {
    let mut bench = Bench::new();
    let (mut append, _) = bench.lines(&["one", "two"]);
    append.records[0].trace =
        Some(TraceContext { traceparent: "00-1-2-01".to_owned(), tracestate: Some("a=b".to_owned()) });
    append.records[0].event_time = Some(Timestamp::from_unix_micros(-5));
    append.records[0].detail = Some("{}".to_owned());
    append.records[1].keys = Keys::barrier(Namespace::Unknown);
    append.records[1].framing = Framing::Cri;
    let expected = append.records.clone();
    let answer = bench.journal.append(append).blocking_recv().unwrap().unwrap();
    // Only what is part of a trace is told one by one.
    let placed = Placed {
        id: expected[0].id.unwrap(),
        sequence: Some(1),
        order_key: Some(OrderKey::from_stored("flipt/default/flag/flag-1".to_owned())),
        change_set: None,
    };
    assert_eq!(answer, Appended { accepted: 2, known: 0, last_sequence: 2, placed: vec![Some(placed)] });
    assert_eq!(*bench.journal.latest().borrow(), 2);
    let found = bench.records();
    for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
        assert_eq!(found.sequence, index as u64 + 1);
        assert_eq!(
            (found.id, found.kind, &found.original),
            (expected.id.unwrap(), expected.kind, &expected.original)
        );
        assert_eq!(found.trace, expected.trace);
        assert_eq!((found.event_time, &found.detail), (expected.event_time, &expected.detail));
        assert_eq!((&found.namespace, &found.entity), (&expected.keys.namespace, &expected.keys.entity));
        assert_eq!((found.framing, &*found.source, &*found.instance), (expected.framing, "flipt", "flipt"));
        assert_eq!(&*found.epoch, bench.journal.epoch());
    }
    assert_eq!(found[0].order_key.as_ref().unwrap().as_str(), "flipt/default/flag/flag-1");
    assert_eq!(found[1].order_key, None);
    bench.position = 8;
    bench.append(&["three"]).unwrap();
    bench.journal.clone().close().unwrap();
    assert_chained(&bench.database());
}

#[test]
fn only_the_committed_position_is_moved_on_from() {
    let mut bench = Bench::new();
    bench.append(&["one"]).unwrap();
    bench.position = 2;
    assert_eq!(bench.append(&["two"]), Err(AppendError::Moved { committed: 4 }));
    bench.position = 4;
    assert_eq!(bench.append(&["two"]).unwrap().last_sequence, 2);
    // Its looks and its end may change without a record.
    let mut append = Append {
        source: bench.source,
        advance: Some(Advance { finished: true, inode: 9, ..advance(bench.file.id, 8, 8) }),
        records: Vec::new(),
        ignored: 3,
    };
    let before = bench.journal.incarnations(bench.source).unwrap()[0].grown_at;
    assert_eq!(bench.journal.append(append.clone()).blocking_recv().unwrap().unwrap().accepted, 0);
    let row = bench.journal.incarnations(bench.source).unwrap().remove(0);
    assert_eq!((row.position, row.finished, row.inode, row.grown_at), (8, true, 9, before));
    append.advance = Some(advance(bench.file.id, 8, 7));
    assert!(matches!(bench.journal.append(append.clone()).blocking_recv().unwrap(), Err(AppendError::Io(_))));
    append.advance = Some(advance(IncarnationId(99), 0, 7));
    assert!(matches!(bench.journal.append(append).blocking_recv().unwrap(), Err(AppendError::Io(_))));
}

#[test]
fn a_request_that_fails_does_not_hurt_its_neighbours() {
    let bench = Bench::new();
    // All three wait behind one that holds the writer, so that they share a transaction.
    let (entered, held) = std::sync::mpsc::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let journal = bench.journal.clone();
    let holder = std::thread::spawn(move || {
        journal.call(move |_, _| {
            entered.send(()).unwrap();
            let _ = released.recv();
            Ok(())
        })
    });
    held.recv().unwrap();
    let record = |offset, line| record(bench.file.name, offset, line);
    let append = |source, records| Append { source, advance: None, records, ignored: 0 };
    let first = bench.journal.append(append(bench.source, vec![record(0, "a")]));
    let mut teacher = record(1, "b");
    teacher.keys.teaches = vec![teaching("rule-1", "flag-1")];
    let second = bench.journal.append(append(SourceId(77), vec![teacher, record(2, "c")]));
    let third = bench.journal.append(append(bench.source, vec![through(&bench, 3, "rule-1")]));
    release.send(()).unwrap();
    holder.join().unwrap().unwrap();
    assert_eq!(first.blocking_recv().unwrap().unwrap().last_sequence, 1);
    assert!(matches!(second.blocking_recv().unwrap(), Err(AppendError::Io(_))));
    assert_eq!(third.blocking_recv().unwrap().unwrap().last_sequence, 2);
    let found = bench.records();
    assert_eq!(found.iter().map(|record| record.sequence).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(found[1].order_key, None, "nothing is learnt from what was not accepted");
}

#[test]
fn a_record_that_is_known_is_passed_over() {
    let mut bench = Bench::new();
    bench.append(&["one", "two"]).unwrap();
    let again = vec![record(bench.file.name, 0, "one"), record(bench.file.name, 99, "new")];
    assert_eq!(
        bench.push(again).unwrap(),
        Appended { accepted: 1, known: 1, last_sequence: 3, placed: Vec::new() }
    );
    bench.journal.clone().close().unwrap();
    assert_chained(&bench.database());
}

fn teaching(id: &str, flag: &str) -> Teaching {
    let kind = if id.starts_with("rule") { EntityKind::Rule } else { EntityKind::Variant };
    Teaching {
        entity: entity(kind, id),
        namespace: "prod".to_owned(),
        order_key: OrderKey::new("flipt", "prod", EntityKind::Flag, flag),
    }
}

fn through(bench: &Bench, offset: u64, rule: &str) -> NewRecord {
    let mut record = record(bench.file.name, offset, rule);
    record.keys = Keys {
        namespace: Namespace::Unknown,
        entity: Some(entity(EntityKind::Distribution, "distribution-1")),
        order: OrderRef::Through(vec![
            entity(EntityKind::Rule, rule),
            entity(EntityKind::Variant, "variant-1"),
        ]),
        teaches: Vec::new(),
    };
    record
}

#[test]
fn a_distribution_is_ordered_with_the_flag_of_its_rule() {
    let bench = Bench::new();
    let mut rule = record(bench.file.name, 0, "rule created");
    rule.keys.teaches = vec![teaching("rule-1", "flag-1"), teaching("variant-1", "flag-2")];
    let mut moved = record(bench.file.name, 30, "rule updated");
    moved.keys.teaches = vec![teaching("rule-1", "flag-3")];
    let records = vec![
        through(&bench, 1, "rule-9"),
        rule,
        through(&bench, 2, "rule-1"),
        through(&bench, 3, "rule-8"),
        moved,
        through(&bench, 4, "rule-1"),
    ];
    bench.push(records).unwrap();
    let (bench, _) = bench.reopen();
    bench.push(vec![through(&bench, 5, "rule-1"), through(&bench, 6, "rule-7")]).unwrap();
    let found: Vec<_> = bench
        .records()
        .into_iter()
        .filter(|record| record.entity.as_ref().unwrap().kind == EntityKind::Distribution)
        .map(|record| (record.namespace, record.order_key.map(|key| key.as_str().to_owned())))
        .collect();
    let prod = |flag: &str| (Namespace::Known("prod".to_owned()), Some(format!("flipt/prod/flag/{flag}")));
    let barrier = (Namespace::Unknown, None);
    // The first of the entities that is known decides; none known: a barrier.
    assert_eq!(
        found,
        [barrier, prod("flag-1"), prod("flag-2"), prod("flag-3"), prod("flag-3"), prod("flag-2")]
    );
}

#[test]
fn another_flipt_teaches_nothing_here() {
    let bench = Bench::new();
    let mut rule = record(bench.file.name, 0, "rule created");
    rule.keys.teaches = vec![teaching("rule-1", "flag-1")];
    bench.push(vec![rule]).unwrap();
    let other = bench.journal.register_source("other", "flipt-2").unwrap().id;
    let append =
        Append { source: other, advance: None, records: vec![through(&bench, 1, "rule-1")], ignored: 0 };
    bench.journal.append(append).blocking_recv().unwrap().unwrap();
    let found = bench.records().remove(1);
    assert_eq!((found.order_key, &*found.source, &*found.instance), (None, "other", "flipt-2"));
}

#[test]
fn unreadable_inputs_are_kept_up_to_a_limit_and_then_counted() {
    let dir = tempfile::tempdir().unwrap();
    let small = Tuning { unparsed_bytes: 10, ..tuning() };
    let (journal, _) = Journal::open_tuned(&options(dir.path()), small).unwrap();
    let source = journal.register_source("flipt", "flipt").unwrap().id;
    let name = Incarnation::from_bits(1);
    let records = (0..4)
        .map(|offset| NewRecord { kind: RecordKind::Unparsed, ..record(name, offset, "1234") })
        .chain([record(name, 4, "event")])
        .collect();
    let append = Append { source, advance: None, records, ignored: 5 };
    let answer = journal.append(append).blocking_recv().unwrap().unwrap();
    assert_eq!((answer.accepted, answer.known), (3, 0));
    let counted = journal
        .call(|conn, _| {
            conn.query_row("SELECT unparsed, ignored FROM sources", [], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
            })
        })
        .unwrap();
    assert_eq!(counted, (4, 5));
}

#[test]
fn a_source_that_changes_its_instance_keeps_its_files() {
    let mut bench = Bench::new();
    bench.append(&["one"]).unwrap();
    bench.journal.mark_started(bench.source).unwrap();
    let moved = bench.journal.register_source("flipt", "other").unwrap();
    assert!(moved.started);
    assert_ne!(moved.id, bench.source);
    assert_eq!(bench.journal.incarnations(moved.id).unwrap()[0].position, 4);
    bench.source = moved.id;
    bench.append(&["two"]).unwrap();
    let instances: Vec<_> = bench.records().iter().map(|record| record.instance.to_string()).collect();
    assert_eq!(instances, ["flipt", "other"]);
}

#[test]
fn incarnations_that_begin_alike_are_told_apart() {
    let bench = Bench::new();
    let second = bench.journal.create_incarnation(new_incarnation(bench.source)).unwrap();
    assert_eq!((bench.file.ordinal, second.ordinal), (0, 1));
    assert_ne!(second.name, bench.file.name);
    let newest_first: Vec<_> =
        bench.journal.incarnations(bench.source).unwrap().iter().map(|row| row.id).collect();
    assert_eq!(newest_first, [second.id, bench.file.id]);
    assert_eq!(second.inode, u64::MAX);
}

#[test]
fn a_reader_keeps_to_its_limits() {
    let mut bench = Bench::new();
    bench.append(&["0123456789", "0123456789", "0123456789"]).unwrap();
    let read = |after, max_rows, max_bytes| {
        wait(bench.journal.read_after(after, ReadLimit { max_rows, max_bytes })).unwrap().len()
    };
    assert_eq!(read(0, 2, 1_000), 2);
    assert_eq!(read(0, 9, 25), 2);
    assert_eq!(read(0, 9, 1), 1);
    assert_eq!(read(2, 9, 1_000), 1);
    assert_eq!(read(3, 9, 1_000), 0);
    let members = wait(bench.journal.read_members(vec![3, 7, 1])).unwrap();
    assert_eq!(members.iter().map(ReadRow::sequence).collect::<Vec<_>>(), [3, 1]);
}
