//! How far every destination has come with a file.

use super::*;

fn passed(bench: &Bench) -> Option<Passed> {
    bench.journal.passed(bench.source, bench.file.id).unwrap()
}

#[test]
fn a_file_is_passed_as_far_as_the_slowest_destination_is() {
    let mut bench = Bench::new();
    bench.append(&["one", "two", "three"]).unwrap();
    assert_eq!(passed(&bench), None, "nobody was ever registered");
    let (quick, slow) = (bench.lane("quick"), bench.lane("slow"));
    let told = |through, offset| Some(Passed { through, last: 3, offset, elsewhere: None });
    assert_eq!(passed(&bench), told(0, None));
    bench.settle(quick.id, 3);
    assert_eq!(passed(&bench), told(0, None));
    bench.settle(slow.id, 2);
    assert_eq!(passed(&bench), told(2, Some(4)), "`two` begins at byte 4");
    // One that is no longer configured is owed what it has not passed, until it is let go.
    wait(bench.journal.orphan_destination(slow.id)).unwrap();
    assert_eq!(passed(&bench), told(2, Some(4)));
    wait(bench.journal.release_destination(slow.id, Act::by_relay(ActKind::Release, "slow", "gone")))
        .unwrap();
    let known = passed(&bench).unwrap();
    assert_eq!((known.through, known.last, known.offset), (3, 4, Some(8)), "the act is one more record");
}

#[test]
fn records_of_others_do_not_tell_of_a_file() {
    let mut bench = Bench::new();
    bench.append(&["one"]).unwrap();
    let lane = bench.lane("siem");
    let file = bench.file.name;
    let others =
        |from: u64| (from..from + 600).map(|offset| record(file, 10_000 + offset, "pushed")).collect();
    bench.push(others(0)).unwrap();
    bench.settle(lane.id, 601);
    assert_eq!(passed(&bench).unwrap().offset, Some(0));
    bench.push(others(600)).unwrap();
    bench.settle(lane.id, 1_201);
    let known = passed(&bench).unwrap();
    assert_eq!((known.through, known.last, known.offset), (1_201, 1_201, None), "it is too far back");
}

#[test]
fn another_source_of_the_same_file_is_told_of_until_it_is_finished() {
    let mut bench = Bench::new();
    bench.lane("siem");
    bench.append(&["one", "two"]).unwrap();
    let other = bench.journal.register_source("other", "flipt").unwrap().id;
    let new = |first: &[u8], inode| NewIncarnation {
        source_name: "other".to_owned(),
        first_line: first.to_vec(),
        inode,
        ..new_incarnation(other)
    };
    bench.journal.create_incarnation(new(b"first", 8)).unwrap();
    bench.journal.create_incarnation(new(b"another", 7)).unwrap();
    assert_eq!(passed(&bench).unwrap().elsewhere, None, "another inode, another content");
    let same = bench.journal.create_incarnation(new(b"first", 7)).unwrap();
    assert_eq!(passed(&bench).unwrap().elsewhere, Some(("other".to_owned(), 0)));
    let finished = Advance { finished: true, ..advance(same.id, 0, 0) };
    let append = Append { source: other, advance: Some(finished), records: Vec::new(), ignored: 0 };
    bench.journal.append(append).blocking_recv().unwrap().unwrap();
    assert_eq!(passed(&bench).unwrap().elsewhere, None);
}

#[test]
fn nothing_is_passed_where_nobody_knows_to_whom_it_is_owed() {
    let mut bench = Bench::with(|options| options.keeps_all = true);
    let lane = bench.lane("siem");
    bench.append(&["one"]).unwrap();
    bench.settle(lane.id, 1);
    assert_eq!(passed(&bench), None);
}
