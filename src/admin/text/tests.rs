//! What people read, to the letter.

use super::*;
use crate::admin::report::{FileReport, ReclaimReport};
use crate::journal::{Books, ReplayId, ReplaySelection};

fn at(time: &str) -> Timestamp {
    Timestamp::parse_rfc3339(&format!("2026-11-22T{time}Z")).unwrap()
}

fn destination(name: &str, kind: &str, delivered: u64, waiting: u64) -> DestinationReport {
    DestinationReport {
        name: name.to_owned(),
        kind: Some(kind.to_owned()),
        state: "running".to_owned(),
        code: None,
        reason: None,
        since: None,
        until: None,
        paused_by: None,
        accepted: delivered + waiting,
        books: Books { delivered, ..Books::default() },
        waiting,
        undecided: Some(0),
        balanced: true,
        oldest_waiting_at: None,
        held: 0,
        held_until: None,
        in_flight: 0,
        failed_attempts: 0,
        next_attempt_at: None,
        last_success_at: Some(at("14:14:51")),
        last_error_at: None,
        last_error: None,
        replays: Vec::new(),
    }
}

fn report(destinations: Vec<DestinationReport>) -> Report {
    let mut report = Report {
        verdict: String::new(),
        at: at("14:21:07"),
        relay: RelayReport {
            name: "audit-relay".to_owned(),
            version: "1.2.3".to_owned(),
            running_since: Some(at("13:02:00")),
        },
        configuration: Default::default(),
        findings: Vec::new(),
        sources: vec![SourceReport {
            name: "flipt".to_owned(),
            kind: Some("file".to_owned()),
            instance: "flipt".to_owned(),
            last_event_at: Some(at("14:14:20.25")),
            behind_bytes: 0,
            unparsed: 1,
            ignored: 1_204,
            stalled: None,
            files: vec![FileReport {
                path: "/var/log/flipt/audit.log".into(),
                position: 1_234_567,
                size_bytes: Some(1_234_567),
                renamed: false,
                reclaim: None,
            }],
            absent: Vec::new(),
            unreadable: Vec::new(),
            listening: None,
            refused: 0,
            untaken: 0,
        }],
        journal: JournalReport {
            epoch: "9f3c2a".to_owned(),
            first_sequence: 1,
            last_sequence: 10_204,
            used_bytes: 38 << 20,
            max_size_bytes: 1 << 30,
            disk_full: false,
            damaged: false,
            corrupt_records: 0,
        },
        destinations,
        orphans: Vec::new(),
        balanced: true,
    };
    report.verdict = verdict(&report);
    report
}

fn blocked_siem() -> DestinationReport {
    DestinationReport {
        state: "blocked".to_owned(),
        code: Some("http_401".to_owned()),
        reason: Some("401 Unauthorized".to_owned()),
        since: Some(at("14:02:03")),
        oldest_waiting_at: Some(at("14:02:02")),
        failed_attempts: 7,
        next_attempt_at: Some(at("14:24:10")),
        last_success_at: Some(at("14:01:59")),
        last_error_at: Some(at("14:19:10")),
        last_error: Some("401 Unauthorized".to_owned()),
        ..destination("siem", "webhook", 10_086, 118)
    }
}

#[test]
fn all_well_is_said_in_few_words() {
    let text = report(vec![destination("siem", "webhook", 10_204, 0)]).to_string();
    assert_eq!(text, include_str!("golden/well.txt"), "\n{text}");
}

#[test]
fn trouble_comes_first() {
    let slack = DestinationReport {
        state: "paused".to_owned(),
        reason: Some("too loud".to_owned()),
        since: Some(at("14:20:00")),
        until: Some(at("16:20:00")),
        paused_by: Some("ann (uid 1000)".to_owned()),
        books: Books { not_routed: 10_000, before_since: 9_000, delivered: 201, ..Books::default() },
        accepted: 10_204,
        waiting: 3,
        last_success_at: None,
        replays: vec![ReplayRow {
            id: ReplayId(4),
            destination: "slack".to_owned(),
            selection: ReplaySelection::DeadLetters,
            through: 10_000,
            total: 12,
            position: 9_000,
            rate: None,
            replayed: 5,
            failed: 1,
            asked_by: Some("ann (uid 1000)".to_owned()),
            created_at: at("14:10:00"),
            finished_at: None,
        }],
        ..destination("slack", "slack", 0, 0)
    };
    let old = DestinationReport {
        kind: None,
        state: "orphaned".to_owned(),
        since: Some(at("09:00:00")),
        balanced: false,
        ..destination("old", "", 10_000, 203)
    };
    let mut report = report(vec![destination("archive", "file", 10_204, 0), blocked_siem(), slack]);
    report.orphans.push(old);
    report.sources[0].files[0].reclaim = Some(ReclaimReport {
        from: 65_536,
        to: 1_114_112,
        held_up: Some("Permission denied (os error 13)".to_owned()),
    });
    report.verdict = verdict(&report);
    let text = report.to_string();
    assert_eq!(text, include_str!("golden/trouble.txt"), "\n{text}");
}

#[test]
fn a_stopped_relay_is_said_to_be_stopped() {
    let mut report = report(vec![blocked_siem(), destination("slack", "slack", 10_201, 3)]);
    report.relay.running_since = None;
    report.destinations[0].next_attempt_at = None;
    report.sources[0].files[0].size_bytes = Some(1_300_000);
    report.sources[0].behind_bytes = 65_433;
    report.verdict = verdict(&report);
    let text = report.to_string();
    assert_eq!(text, include_str!("golden/stopped.txt"), "\n{text}");
}

#[test]
fn findings_stand_first_severe_ones_before_others() {
    let finding = |code: &str, severe, sentence: &str| Finding {
        code: code.to_owned(),
        severe,
        sentence: sentence.to_owned(),
        remedy: Some(format!("mend {code}")),
    };
    let mut report = report(vec![destination("siem", "webhook", 10_204, 0)]);
    report.findings = vec![
        finding("poorer", false, "Flipt says too little."),
        finding("first", true, "Flipt says nothing."),
        finding("second", true, "Flipt is \u{1b}[31mred."),
    ];
    report.verdict = verdict(&report);
    let text = report.to_string();
    assert!(
        text.starts_with("Flipt says nothing (and 1 finding more); siem delivers; nothing waits\n"),
        "{text}"
    );
    let told = "\nSEVERE   Flipt says nothing. [first]\n         fix: mend first\n\
                SEVERE   Flipt is \\u001b[31mred. [second]\n         fix: mend second\n\
                WARNING  Flipt says too little. [poorer]\n         fix: mend poorer\n\nSOURCE";
    assert!(text.contains(told), "{text}");
}

#[test]
fn a_verdict_for_every_number_of_destinations() {
    let of = |destinations| report(destinations).verdict;
    assert_eq!(of(Vec::new()), "no destination is configured; nothing waits");
    let fine = || destination("out", "webhook", 1, 0);
    let late = || destination("late", "webhook", 1, 1);
    assert_eq!(of(vec![fine(), late()]), "all 2 destinations deliver; 1 record waits for late");
    let two = vec![destination("a", "file", 1, 2_000), destination("b", "file", 1, 3)];
    assert_eq!(of(two), "all 2 destinations deliver; 2,000 records wait for a, 3 for b");
    let long_ago = Timestamp::parse_rfc3339("2026-11-20T14:02:03Z");
    let blocked = || DestinationReport { since: long_ago, reason: None, ..blocked_siem() };
    assert_eq!(of(vec![blocked()]), "no destination delivers; siem is blocked since 2026-11-20: 118 wait");
    let many = of((0..5).map(|_| blocked()).chain([fine()]).collect());
    assert!(many.starts_with("1 of 6 destinations delivers; ") && many.ends_with("; and 2 more"), "{many}");
}

#[test]
fn every_state_but_running_has_a_remedy() {
    let fix = |state: &str, code: Option<&str>| {
        let one = destination("out", "webhook", 1, 1);
        remedies::of_destination(&DestinationReport {
            state: state.to_owned(),
            code: code.map(str::to_owned),
            ..one
        })
    };
    assert_eq!(fix("running", None), None);
    for state in ["waiting", "blocked", "paused", "orphaned"] {
        for code in [None, Some("http_403"), Some("http_410"), Some("network"), Some("some_day")] {
            assert!(fix(state, code).is_some_and(|fix| !fix.ends_with('.')), "{state} {code:?}");
        }
    }
    let mut report = report(vec![blocked_siem()]);
    assert!(remedies::reassurance(&report).is_some());
    report.destinations[0].books.dead = 1;
    assert_eq!(remedies::reassurance(&report), None, "nobody is to be lulled");
    report.destinations[0].books.dead = 0;
    report.journal.disk_full = true;
    assert_eq!(remedies::reassurance(&report), None);
    assert!(headline(&report).contains("siem is blocked since 14:02 UTC: 118 wait"));
}
