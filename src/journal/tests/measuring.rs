//! What metrics are told of a journal.

use super::*;

#[test]
fn gaps_are_counted_by_source_and_from_where_one_left_off() {
    let mut bench = Bench::new();
    let gap = |offset: u64| {
        let mut gap = record(bench.file.name, offset, "gap");
        (gap.kind, gap.detail) = (RecordKind::Gap, Some("{}".to_owned()));
        gap.keys = Keys::barrier(Namespace::Unknown);
        gap
    };
    let (first, second) = (gap(98), gap(99));
    let gaps = |bench: &Bench, after| wait(bench.journal.gaps(after, bench.last())).unwrap();
    bench.append(&["one", "two"]).unwrap();
    assert_eq!(gaps(&bench, 0), []);
    bench.push(vec![first]).unwrap();
    let found = gaps(&bench, 0);
    assert_eq!((found.len(), found[0].source.as_str(), found[0].count), (1, "flipt", 1));
    assert!(found[0].last_at.unix_seconds() > 1_700_000_000);
    let seen = bench.last();
    bench.push(vec![second]).unwrap();
    assert_eq!(gaps(&bench, seen)[0].count, 1);
    assert_eq!(gaps(&bench, 0)[0].count, 2);
    assert_eq!(gaps(&bench, bench.last()), []);
}

#[test]
fn only_what_reaches_the_disk_counts_as_a_commit() {
    let mut bench = Bench::new();
    let commits = |bench: &Bench| bench.journal.commits().durations.iter().sum::<u64>();
    let before = commits(&bench);
    bench.append(&["one"]).unwrap();
    let after = commits(&bench);
    assert!(after > before, "{before} {after}");
    bench.journal.settle_down();
    let settled = commits(&bench);
    for _ in 0..5 {
        wait(bench.journal.answers()).unwrap();
    }
    assert_eq!(commits(&bench), settled, "a probe is no commit");
    assert!(bench.journal.commits().duration_sum > Duration::ZERO);
}
