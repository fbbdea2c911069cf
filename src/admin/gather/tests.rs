//! The sum, from the journal and from a lane.

use super::*;
use crate::journal::{DestinationId, Endpoint};

fn row(cursor: Sequence, acked: &[Sequence], delivered: u64) -> DestinationRow {
    DestinationRow {
        id: DestinationId(1),
        name: "out".to_owned(),
        first_seen_at: Timestamp::now(),
        first_sequence: 3,
        cursor,
        acked: acked.to_vec(),
        books: Books { delivered, ..Books::default() },
        open_batches: Vec::new(),
        quiet: Vec::new(),
        endpoint: Endpoint::default(),
        paused: None,
        orphaned: None,
    }
}

fn lane(delivered: u64, waiting: u64) -> LaneStatus {
    LaneStatus {
        state: LaneState::Running,
        reason: None,
        since: None,
        cursor: 0,
        books: Books { delivered, ..Books::default() },
        waiting,
        undecided: 0,
        oldest_waiting_at: None,
        held: (0, None),
        in_flight: 0,
        attempts: 0,
        next_attempt_at: None,
        last_success_at: None,
        last_error: None,
        replays: Vec::new(),
    }
}

#[test]
fn a_row_balances_where_its_numbers_fit_its_place() {
    for (row, last, wanted) in [
        (row(6, &[8], 5), 9, (7, 2, true)),
        (row(2, &[], 0), 9, (7, 7, true)),
        (row(2, &[], 0), 0, (0, 0, true)),
        (row(6, &[8], 4), 9, (7, 2, false)),
    ] {
        let mut report = blank("out");
        fill_from_row(&mut report, &row, last);
        assert_eq!((report.accepted, report.waiting, report.balanced), wanted);
    }
}

#[test]
fn what_a_lane_has_not_seen_yet_waits_for_it() {
    // The lane has decided further than it has committed.
    let row = row(6, &[8], 5);
    for (status, last, wanted) in [
        (lane(5, 2), 9, (7, 2, 0, true)),
        (lane(6, 1), 9, (7, 1, 0, true)),
        (lane(5, 2), 12, (10, 5, 3, true)),
        (lane(8, 0), 9, (7, 0, 0, false)),
    ] {
        let mut report = blank("out");
        fill_from_lane(&mut report, status, Some(&row), last);
        let undecided = report.undecided.unwrap();
        assert_eq!((report.accepted, report.waiting, undecided, report.balanced), wanted);
        assert!(!report.balanced || report.accepted == report.books.sum() + report.waiting);
    }
}

#[test]
fn a_pause_that_is_over_is_none() {
    let now = Timestamp::now().unix_micros();
    let pause = |until: Option<i64>| Pause {
        at: Timestamp::from_unix_micros(0),
        until: until.map(Timestamp::from_unix_micros),
        by: None,
        reason: None,
    };
    let state = |until| state_of_row(&DestinationRow { paused: Some(pause(until)), ..row(2, &[], 0) });
    assert_eq!(state(None), "paused");
    assert_eq!(state(Some(now + 3_600_000_000)), "paused");
    assert_eq!(state(Some(now - 1)), "running");
}
