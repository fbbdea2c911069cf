//! Random requests and restarts against what a list would say.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    /// Lines, the position they claim to begin at relative to the right one, whether they are old ones.
    Append {
        lines: usize,
        off_by: u64,
        repeat: bool,
    },
    Push {
        fresh: usize,
        known: bool,
    },
    Settle {
        lane: usize,
        by: u64,
        dead: bool,
    },
    Fail,
    Reopen {
        close: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_usize..5, 0_u64..2, any::<bool>())
            .prop_map(|(lines, off_by, repeat)| Step::Append { lines, off_by, repeat }),
        2 => (0_usize..3, any::<bool>()).prop_map(|(fresh, known)| Step::Push { fresh, known }),
        3 => (0_usize..2, 0_u64..4, any::<bool>())
            .prop_map(|(lane, by, dead)| Step::Settle { lane, by, dead }),
        1 => Just(Step::Fail),
        1 => any::<bool>().prop_map(|close| Step::Reopen { close }),
    ]
}

#[derive(Default, Clone, Copy)]
struct Lane {
    cursor: u64,
    books: Books,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_journal_is_the_list_of_what_was_accepted(steps in prop::collection::vec(step(), 1..40)) {
        let mut bench = Bench::new();
        let mut accepted: Vec<(EventId, Vec<u8>)> = Vec::new();
        let mut lanes = [Lane::default(); 2];
        let names = ["siem", "slack"];
        let ids = names.map(|name| bench.lane(name).id);
        let mut pushed = 1 << 30;
        for step in steps {
            match step {
                Step::Append { lines, off_by, repeat } => {
                    let position = bench.position;
                    let lines: Vec<_> = (0..lines).map(|line| format!("{position}-{line}")).collect();
                    let (mut append, to) = bench.lines(&lines.iter().map(String::as_str).collect::<Vec<_>>());
                    if let Some(advance) = &mut append.advance {
                        advance.from += off_by;
                        advance.to += off_by;
                    }
                    let mut fresh: Vec<_> =
                        append.records.iter().map(|record| (record.id.unwrap(), record.original.clone())).collect();
                    if let (true, Some((id, original))) = (repeat, accepted.first().cloned()) {
                        append.records.insert(0, NewRecord { id: Some(id), original, ..record(bench.file.name, 0, "") });
                    }
                    let known = (append.records.len() - fresh.len()) as u64;
                    let answer = bench.journal.append(append).blocking_recv().unwrap();
                    if off_by > 0 {
                        prop_assert_eq!(answer, Err(AppendError::Moved { committed: position }));
                    } else {
                        let added = fresh.len() as u64;
                        accepted.append(&mut fresh);
                        let last_sequence = accepted.len() as u64;
                        prop_assert_eq!(answer, Ok(Appended { accepted: added, known, last_sequence, placed: Vec::new() }));
                        bench.position = to;
                    }
                }
                Step::Push { fresh, known } => {
                    let mut records = Vec::new();
                    for _ in 0..fresh {
                        pushed += 1;
                        let record = record(bench.file.name, pushed, "pushed");
                        accepted.push((record.id.unwrap(), record.original.clone()));
                        records.push(record);
                    }
                    if let (true, Some((id, _))) = (known, accepted.last()) {
                        records.push(NewRecord { id: Some(*id), ..record(bench.file.name, 0, "other") });
                    }
                    let answer = bench.push(records).unwrap();
                    prop_assert_eq!(answer.accepted, fresh as u64);
                }
                Step::Settle { lane, by, dead } => {
                    let state = &mut lanes[lane];
                    let cursor = (state.cursor + by).min(accepted.len() as u64);
                    let passed = cursor - state.cursor;
                    let died = u64::from(dead && passed > 0);
                    bench.commit(LaneCommit {
                        cursor,
                        counts: delivered(passed - died),
                        dead: (died > 0).then(|| letter(cursor)).into_iter().collect(),
                        ..lane_commit(ids[lane])
                    });
                    state.cursor = cursor;
                    state.books.delivered += passed - died;
                    state.books.dead += died;
                }
                Step::Fail => {
                    let error = || {
                        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR_WRITE);
                        rusqlite::Error::SqliteFailure(code, None)
                    };
                    prop_assert!(bench.journal.call(move |_, _| Err::<(), _>(error())).is_err());
                    bench.journal.call(|_, _| Ok(())).unwrap();
                }
                Step::Reopen { close } => {
                    let Bench { dir, journal, source, file, position } = bench;
                    if close {
                        journal.close().unwrap();
                    } else {
                        drop(journal);
                    }
                    let (journal, report) = Journal::open_tuned(&options(dir.path()), tuning()).unwrap();
                    prop_assert_eq!(report, OpenReport::default());
                    bench = Bench { dir, journal, source, file, position };
                    for (index, name) in names.iter().enumerate() {
                        prop_assert_eq!(bench.lane(name).id, ids[index]);
                    }
                }
            }
        }
        let found: Vec<_> = bench.records().into_iter().map(|record| (record.id, record.original)).collect();
        prop_assert_eq!(found, accepted);
        for (name, state) in names.iter().zip(lanes) {
            let row = bench.lane(name);
            prop_assert_eq!((row.cursor, row.books), (state.cursor, state.books));
        }
        bench.journal.clone().close().unwrap();
        assert_chained(&bench.database());
    }
}
