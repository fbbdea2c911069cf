use super::failing::{fail, fill_disk, hold};
use super::*;
use crate::event::Timestamp;

fn pause() -> Pause {
    Pause {
        at: Timestamp::from_unix_micros(5_000_000),
        until: Some(Timestamp::from_unix_micros(9_000_000)),
        by: Some("ann (1000)".to_owned()),
        reason: Some("maintenance".to_owned()),
    }
}

#[test]
fn a_pause_and_its_end_are_kept() {
    let mut bench = Bench::new();
    bench.append_some(3);
    let siem = bench.lane("siem");
    let at = Timestamp::from_unix_micros(7);
    let endpoint = Endpoint {
        state: EndpointState::Gone,
        reason: Some(("gone".to_owned(), "it answered 410".to_owned())),
        since: Some(at),
        attempts: 3,
        not_before: Some(at),
        fingerprint: "f".to_owned(),
        last_success_at: Some(at),
        last_error: Some((at, "410".to_owned())),
    };
    let waiting = OpenBatch { not_before: Some(at), attempts: 1, ..batch("bat_1", &[1]) };
    bench.commit(LaneCommit {
        endpoint: Some(endpoint.clone()),
        opened: vec![waiting.clone()],
        ..lane_commit(siem.id)
    });
    let unreasoned = Act { reason: None, ..act(ActKind::Pause) };
    wait(bench.journal.pause_destination("siem", pause(), unreasoned)).unwrap();
    let (bench, _) = bench.reopen();
    let paused = bench.destination("siem");
    assert_eq!((paused.paused.clone(), &paused.endpoint), (Some(pause()), &endpoint));
    let before = wait(bench.journal.resume_destination("siem", act(ActKind::Resume))).unwrap();
    assert_eq!(before, paused);
    let after = bench.destination("siem");
    assert_eq!(
        (after.paused, after.endpoint.state, after.endpoint.reason),
        (None, EndpointState::Running, None)
    );
    assert_eq!((after.endpoint.attempts, after.endpoint.not_before), (0, None));
    assert_eq!(after.endpoint.last_success_at, Some(at));
    assert_eq!(after.endpoint.last_error, endpoint.last_error);
    assert_eq!(after.open_batches, [OpenBatch { not_before: None, ..waiting }]);
    let records = bench.records();
    let acts: Vec<_> = records[3..].iter().map(kept_act).collect();
    assert_eq!(acts.len(), 2);
    assert_eq!((acts[0].act, acts[0].reason.as_deref()), (ActKind::Pause, Some("maintenance")));
    assert_eq!(acts[0].detail, serde_json::json!({"until": "1970-01-01T00:00:09Z"}));
    assert_eq!(
        (acts[1].act, acts[1].destination.as_deref(), &*acts[1].by),
        (ActKind::Resume, Some("siem"), "ann (1000)")
    );
    let id = EventId::of_sequence(bench.journal.epoch(), 4, &records[3].original);
    assert_eq!(records[3].id, id);
    let no_such = |answer: Result<(), OperatorError>| {
        assert_eq!(answer, Err(OperatorError::NoSuchDestination("slack".to_owned())));
    };
    no_such(wait(bench.journal.pause_destination("slack", pause(), act(ActKind::Pause))));
    no_such(wait(bench.journal.resume_destination("slack", act(ActKind::Resume))).map(drop));
    assert_eq!(bench.last(), 5, "what was not done is not kept");
    assert!(wait(bench.journal.source_books()).unwrap().iter().all(|source| source.name == "flipt"));
    bench.journal.clone().close().unwrap();
    assert_chained(&bench.database());
}

#[test]
fn acts_are_kept_in_a_full_journal_and_not_on_a_full_disk() {
    let mut bench = Bench::with(|options| options.max_size_bytes = 2 << 20);
    let siem = bench.lane("siem");
    let line = "x".repeat(10_000);
    while bench.append(&[&line, &line]).is_ok() {}
    let status = bench.status();
    assert!(status.full, "{status:?}");
    assert_eq!(status.pinned_by.as_deref(), Some("siem"));
    wait(bench.journal.pause_destination("siem", pause(), act(ActKind::Pause))).unwrap();
    let last = bench.last();
    fill_disk(&bench, true);
    let release = hold(&bench.journal);
    let (append, _) = bench.lines(&[&line]);
    let push = Append { advance: None, ..append };
    drop(bench.journal.append(push));
    drop(release);
    let large = Act { reason: Some("x".repeat(100_000)), ..act(ActKind::Resume) };
    for _ in 0..2 {
        let answer = wait(bench.journal.resume_destination("siem", large.clone()));
        assert!(matches!(&answer, Err(OperatorError::Journal(_))), "{answer:?}");
        assert!(bench.status().disk_full);
    }
    assert_eq!((bench.last(), bench.destination("siem").paused), (last, Some(pause())));
    // What may be the way out is carried out.
    wait(bench.journal.release_destination(siem.id, act(ActKind::Release))).unwrap();
    fill_disk(&bench, false);
    (0..100).find(|_| bench.append(&[&line]).is_ok()).expect("there is room again");
    assert!(!bench.status().full);
}

#[test]
fn what_a_failed_group_undid_can_be_asked_for_again() {
    let mut bench = Bench::new();
    bench.append_some(3);
    let siem = bench.lane("siem");
    let release = hold(&bench.journal);
    let asked = [0, 1].map(|which| {
        let journal = bench.journal.clone();
        std::thread::spawn(move || {
            let commit = LaneCommit { cursor: 2, counts: delivered(2), ..lane_commit(siem.id) };
            match which {
                0 => wait(journal.commit_lane(commit)).is_err(),
                _ => wait(journal.pause_destination("siem", pause(), act(ActKind::Pause))).is_err(),
            }
        })
    });
    // They are in the queue when there is room for that much less in it.
    while bench.journal.inner.writer.capacity() > writer::QUEUE - 2 {
        std::thread::yield_now();
    }
    let failed = fail(&bench.journal);
    drop(release);
    assert!(asked.map(|asked| asked.join().unwrap()).iter().all(|failed| *failed));
    assert!(failed.blocking_recv().unwrap().is_err());
    assert_eq!(bench.last(), 3);
    assert_eq!((bench.destination("siem").cursor, bench.destination("siem").paused), (0, None));
    bench.commit(LaneCommit { cursor: 2, counts: delivered(2), ..lane_commit(siem.id) });
    wait(bench.journal.pause_destination("siem", pause(), act(ActKind::Pause))).unwrap();
    let row = bench.destination("siem");
    assert_eq!((row.cursor, row.books.delivered, row.paused.is_some(), bench.last()), (2, 2, true, 4));
}

#[test]
fn a_commit_that_was_kept_is_known_to_be() {
    let mut bench = Bench::new();
    bench.append_some(3);
    let siem = bench.lane("siem");
    let (id, other) = (siem.id, EventId::of_sequence("other", 1, b""));
    bench.commit(lane_commit(siem.id));
    bench.commit(lane_commit(siem.id));
    let known = bench.records()[0].id;
    let there = |proof: job::Proof| bench.journal.call(move |conn, _| Ok(proof.is_there(conn))).unwrap();
    assert!(there(job::Proof::Commits(id, 1)) && there(job::Proof::Commits(id, 2)));
    assert!(!there(job::Proof::Commits(id, 3)) && !there(job::Proof::None));
    assert!(there(job::Proof::Record(known)) && !there(job::Proof::Record(other)));
}
