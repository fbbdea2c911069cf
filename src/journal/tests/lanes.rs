use super::*;
use crate::event::{BatchId, Timestamp};

fn register(bench: &Bench, name: &str, renamed_from: &str) -> DestinationRow {
    wait(bench.journal.register_destination(name, Some(renamed_from))).unwrap()
}

#[test]
fn a_lane_goes_on_where_it_was() {
    let mut bench = Bench::new();
    bench.append_some(12);
    let siem = bench.lane("siem");
    assert_eq!((siem.first_sequence, siem.cursor, siem.books), (1, 0, Books::default()));
    assert_eq!((&siem.acked, &siem.open_batches, &siem.endpoint), (&vec![], &vec![], &Endpoint::default()));
    assert_eq!((siem.paused.clone(), siem.orphaned), (None, None));
    let at = Timestamp::from_unix_micros(99);
    let endpoint = Endpoint {
        state: EndpointState::Waiting,
        reason: Some(("timeout".to_owned(), "it did not answer".to_owned())),
        since: Some(at),
        attempts: 3,
        not_before: Some(at),
        fingerprint: "f".to_owned(),
        last_success_at: None,
        last_error: Some((at, "timeout".to_owned())),
    };
    let tried = OpenBatch { attempts: 2, not_before: Some(at), ..batch("bat_2", &[7, 9]) };
    bench.commit(LaneCommit {
        cursor: 2,
        acked: vec![4, 6, 11, 12],
        counts: Counts {
            delivered: 1,
            not_routed: 1,
            before_since: 1,
            observed: 1,
            left_out: 1,
            discarded: 0,
        },
        dead: vec![letter(12)],
        opened: vec![tried.clone(), batch("bat_1", &[3, 5])],
        endpoint: Some(endpoint.clone()),
        ..lane_commit(siem.id)
    });
    let (bench, _) = bench.reopen();
    let again = bench.lane("siem");
    assert_eq!(again, bench.destination("siem"));
    assert_eq!((again.id, again.first_seen_at), (siem.id, siem.first_seen_at));
    assert_eq!((again.cursor, &again.acked[..]), (2, &[4, 6, 11, 12][..]));
    assert_eq!(again.open_batches, [batch("bat_1", &[3, 5]), tried]);
    assert!(again.endpoint.last_success_at.is_some(), "something was delivered");
    assert_eq!(Endpoint { last_success_at: None, ..again.endpoint }, endpoint);
    let books = Books {
        not_routed: 4,
        before_since: 1,
        observed: 1,
        left_out: 1,
        delivered: 1,
        dead: 1,
        ..Books::default()
    };
    assert_eq!(again.books, books);
    // The same letter twice is one; another attempt is the same batch; what is dropped counts as purged.
    let tried = OpenBatch { attempts: 3, ..batch("bat_2", &[7, 9]) };
    bench.commit(LaneCommit {
        cursor: 6,
        acked: vec![11, 12],
        counts: Counts { discarded: 2, ..Counts::default() },
        dead: vec![letter(12)],
        opened: vec![tried.clone()],
        closed: vec![BatchId::from_stored("bat_1".to_owned())],
        ..lane_commit(siem.id)
    });
    let again = bench.destination("siem");
    assert_eq!(again.books, Books { purged: 2, ..books });
    assert_eq!((again.open_batches, again.endpoint.state), (vec![tried], EndpointState::Waiting));
    // A cursor never goes back, and what is settled behind it no longer is a bit.
    bench.commit(LaneCommit {
        cursor: 3,
        acked: vec![5, 12],
        counts: delivered(0),
        closed: vec![BatchId::from_stored("bat_2".to_owned())],
        ..lane_commit(siem.id)
    });
    let rows = wait(bench.journal.destinations()).unwrap();
    assert_eq!((rows[0].cursor, &rows[0].acked[..], rows[0].open_batches.len()), (6, &[12][..], 0));
}

#[test]
fn what_cannot_be_settled_is_refused_and_changes_nothing() {
    let mut bench = Bench::new();
    bench.append_some(5_000);
    let siem = bench.lane("siem");
    let refused = |commit| {
        let answer = wait(bench.journal.commit_lane(LaneCommit { counts: delivered(1), ..commit }));
        assert!(matches!(answer, Err(JournalError::Io(_))), "{answer:?}");
        assert_eq!(bench.destination("siem"), siem);
    };
    refused(lane_commit(DestinationId(5)));
    refused(LaneCommit { cursor: 5_001, ..lane_commit(siem.id) });
    refused(LaneCommit { acked: vec![5_001], ..lane_commit(siem.id) });
    refused(LaneCommit { acked: vec![MAX_WINDOW + 1], ..lane_commit(siem.id) });
    let acked = vec![MAX_WINDOW];
    bench.commit(LaneCommit { acked: acked.clone(), counts: delivered(1), ..lane_commit(siem.id) });
    assert_eq!(bench.destination("siem").acked, acked);
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
    let pause = Pause { at: Timestamp::now(), until: None, by: None, reason: None };
    wait(bench.journal.pause_destination("siem", pause, act(ActKind::Pause))).unwrap();
    assert_eq!(*latest.borrow_and_update(), 2, "an act is");
}

#[test]
fn batches_that_are_settled_or_unreadable_are_forgotten() {
    let mut bench = Bench::new();
    bench.append_some(9);
    let siem = bench.lane("siem");
    bench.commit(LaneCommit {
        cursor: 2,
        acked: vec![4, 5],
        counts: delivered(4),
        opened: vec![
            batch("settled", &[1, 4, 5]),
            batch("partly", &[2, 6, 5]),
            batch("rubbish", &[7]),
            batch("whole", &[3, 8]),
        ],
        ..lane_commit(siem.id)
    });
    bench.execute("UPDATE batches SET members = '[7' WHERE id = 'rubbish'");
    let expected = [batch("whole", &[3, 8]), batch("partly", &[6])];
    assert_eq!(bench.destination("siem").open_batches, expected);
    assert_eq!(bench.lane("siem").open_batches, expected);
    let left = bench
        .journal
        .call(|conn, _| conn.query_row("SELECT count(*) FROM batches", [], |row| row.get::<_, i64>(0)));
    assert_eq!(left, Ok(2));
}

#[test]
fn what_is_quiet_is_known_after_a_restart() {
    let bench = Bench::new();
    let (slack, other) = (bench.lane("slack"), bench.lane("other"));
    let word = |word: &str, seconds: i64| (word.to_owned(), Timestamp::from_unix_micros(seconds * 1_000_000));
    let commit = |bench: &Bench, id, quiet| bench.commit(LaneCommit { quiet, ..lane_commit(id) });
    commit(&bench, slack.id, Some(vec![word("denied:1", 10), word("denied:2", 20)]));
    commit(&bench, other.id, Some(vec![word("denied:1", 30)]));
    commit(&bench, slack.id, None);
    let (bench, _) = bench.reopen();
    assert_eq!(bench.destination("slack").quiet, [word("denied:1", 10), word("denied:2", 20)]);
    commit(&bench, slack.id, Some(vec![word("denied:3", 40)]));
    assert_eq!(bench.lane("slack").quiet, [word("denied:3", 40)]);
    assert_eq!(bench.lane("other").quiet, [word("denied:1", 30)]);
    commit(&bench, slack.id, Some(Vec::new()));
    assert!(bench.destination("slack").quiet.is_empty());
}

#[test]
fn a_destination_is_adopted_under_its_new_name() {
    let mut bench = Bench::new();
    bench.append_some(4);
    let old = bench.lane("old");
    bench.commit(LaneCommit {
        cursor: 1,
        acked: vec![3],
        counts: delivered(1),
        dead: vec![letter(3)],
        ..lane_commit(old.id)
    });
    let old = wait(bench.journal.orphan_destination(old.id)).unwrap();
    assert!(old.orphaned.is_some());
    let new = register(&bench, "new", "old");
    assert_eq!(new, DestinationRow { name: "new".to_owned(), orphaned: None, ..old });
    assert!(wait(bench.journal.destinations()).unwrap().iter().all(|row| row.name != "old"));
    let kept = kept_act(bench.records().last().unwrap());
    assert_eq!(
        (kept.act, kept.destination.as_deref(), &*kept.by),
        (ActKind::Rename, Some("new"), "audit-relay")
    );
    assert_eq!(kept.detail, serde_json::json!({"renamed_from": "old"}));
    // Once is enough; a name that is there takes nothing over; one that is not there is new.
    assert_eq!(register(&bench, "new", "old"), bench.destination("new"));
    let third = bench.lane("third");
    assert_eq!(register(&bench, "third", "new"), third);
    assert_eq!(bench.destination("new").cursor, 1);
    assert_eq!(register(&bench, "fourth", "fourth").books, Books::default());
    assert_eq!(bench.last(), 5, "one act for one adoption");
    bench.journal.clone().close().unwrap();
    assert_chained(&bench.database());
}

#[test]
fn an_orphan_is_one_since_the_first_time_and_until_it_is_registered() {
    let bench = Bench::new();
    let siem = bench.lane("siem");
    bench.journal.advance_running(Duration::from_secs(100));
    let first = wait(bench.journal.orphan_destination(siem.id)).unwrap().orphaned.unwrap();
    assert!(first.1 >= Duration::from_secs(100));
    bench.journal.advance_running(Duration::from_secs(100));
    let (bench, _) = bench.reopen();
    assert_eq!(wait(bench.journal.orphan_destination(siem.id)).unwrap().orphaned, Some(first));
    assert!(bench.journal.running() >= Duration::from_secs(200));
    assert_eq!(bench.lane("siem").orphaned, None);
    assert!(matches!(wait(bench.journal.orphan_destination(DestinationId(9))), Err(JournalError::Io(_))));
}

#[test]
fn a_destination_that_is_let_go_holds_nothing_and_comes_back_as_a_new_one() {
    let mut bench = Bench::with(|options| options.keep = Duration::ZERO);
    bench.append_some(6);
    let (siem, slack) = (bench.lane("siem"), bench.lane("slack"));
    bench.commit(LaneCommit { cursor: 6, counts: delivered(6), ..lane_commit(siem.id) });
    bench.commit(LaneCommit {
        cursor: 1,
        acked: vec![3],
        counts: delivered(1),
        dead: vec![letter(3)],
        opened: vec![batch("bat_1", &[2, 4])],
        ..lane_commit(slack.id)
    });
    let replay =
        NewReplay { destination: "slack".to_owned(), selection: ReplaySelection::DeadLetters, rate: None };
    wait(bench.journal.create_replay(replay, act(ActKind::Replay))).unwrap();
    assert_eq!(bench.status().pinned_by.as_deref(), Some("slack"));
    let released = wait(bench.journal.release_destination(slack.id, act(ActKind::Release))).unwrap();
    assert_eq!(released, Released { waiting: 5, dead: 1 }, "the act of the replay waited too");
    let kept = kept_act(bench.records().last().unwrap());
    assert_eq!(
        (kept.act, kept.destination.as_deref(), kept.records),
        (ActKind::Release, Some("slack"), Some(5))
    );
    assert_eq!((&kept.detail["dead"], &kept.detail["books"]["delivered"]), (&1.into(), &1.into()));
    for table in ["batches", "dead_letters", "replays"] {
        let rows = bench.journal.call(move |conn, _| {
            conn.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get::<_, i64>(0))
        });
        assert_eq!(rows, Ok(0), "{table}");
    }
    assert!(wait(bench.journal.commit_lane(lane_commit(slack.id))).is_err());
    assert_eq!(bench.status().pinned_by.as_deref(), Some("siem"));
    bench.settle(siem.id, 8);
    assert_eq!(bench.status().pinned_by, None);
    bench.journal.tick();
    assert_eq!(bench.status().first_sequence, 0, "nothing holds anything any more");
    let again = bench.lane("slack");
    assert_eq!((again.first_sequence, again.cursor, again.books), (9, 8, Books::default()));
    assert!(again.id.0 > slack.id.0, "a late commit of the old one must not be taken for its");
}
