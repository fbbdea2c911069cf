//! What was before, against a Flipt that knows the truth.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::event::{Known, SeenBy, Timestamp, Without};
use crate::flipt::mini::{Edit, MiniFlipt};
use crate::flipt::{self, LineKind, read_line};

/// An event of a line, as a source hands it on.
pub(super) fn event(file: Incarnation, offset: u64, line: &str) -> NewRecord {
    let LineKind::Event { time, keys, news } = read_line(line.as_bytes(), Framing::Auto, "flipt") else {
        panic!("no event: {line}")
    };
    NewRecord { event_time: time, keys, news, ..record(file, offset, line) }
}

fn time(seconds: i64) -> Timestamp {
    Timestamp::from_unix_micros((1_795_000_000 + seconds) * 1_000_000)
}

fn known(record: &StoredRecord) -> Known {
    Known::read(record.known.as_deref())
}

fn before(known: &Known) -> Option<Value> {
    known.before.as_ref().map(|json| serde_json::from_str(json.get()).unwrap())
}

/// Feeds lines, so many at once.
fn feed(bench: &mut Bench, lines: &[String]) {
    let mut offset = bench.position;
    let mut records = Vec::new();
    for line in lines {
        records.push(event(bench.file.name, offset, line));
        offset += line.len() as u64 + 1;
    }
    let append = Append {
        source: bench.source,
        advance: Some(advance(bench.file.id, bench.position, offset)),
        records,
        ignored: 0,
    };
    bench.journal.append(append).blocking_recv().unwrap().unwrap();
    bench.position = offset;
}

#[derive(Debug, Clone)]
enum Step {
    Edit(u32, usize, u32),
    Reopen,
    Import,
    Forget,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        40 => (0_u32..22, 0_usize..8, 0_u32..1000).prop_map(|(what, which, how)| Step::Edit(what, which, how)),
        1 => Just(Step::Reopen),
        1 => Just(Step::Import),
        1 => Just(Step::Forget),
    ]
}

/// What is empty may be absent; what Flipt changes without an event, and what has events of its own, is left out.
fn essence(state: &Value, is_followed: bool) -> Value {
    let mut state = state.clone();
    let unfollowed = ["rank", "default_variant", "distributions", "constraints"];
    if let Some(fields) = state.as_object_mut() {
        fields.retain(|name, value| {
            let is_empty = matches!(value, Value::Null | Value::Bool(false))
                || *value == ""
                || *value == 0.0
                || value.as_array().is_some_and(Vec::is_empty);
            !(is_empty || is_followed && unfollowed.contains(&name.as_str()))
        });
    }
    state
}

/// Each change leads from its before to its after, and all of them from the first known state to the last.
fn follow(
    record: &StoredRecord,
    known: &Known,
    edit: &Edit,
    followed: &mut BTreeMap<(EntityKind, String), Value>,
) {
    let Some(entity) = &record.entity else { return };
    let key = (entity.kind, entity.id.clone());
    if edit.verb == "deleted" {
        followed.remove(&key);
        return;
    }
    let event = flipt::AuditEvent::parse(std::str::from_utf8(&record.original).unwrap()).unwrap();
    let change = flipt::change(&event, known);
    if let (Some(before), Some(differences)) = (before(known), &change.differences) {
        let mut after = flipt::apply(&before, differences);
        for (name, value) in edit.after.as_object().unwrap() {
            if before.get(name) == Some(&Value::Null) {
                let pointer = format!("/{name}");
                assert!(differences.iter().all(|told| told.pointer != pointer), "not known before: {edit:?}");
                after[name] = value.clone();
            }
        }
        assert_eq!(essence(&after, false), essence(&edit.after, false), "{edit:?}");
    }
    let last = match (followed.get(&key), &change.differences) {
        (Some(former), Some(differences)) if edit.verb == "updated" => flipt::apply(former, differences),
        _ => edit.after.clone(),
    };
    assert_eq!(essence(&last, true), essence(&edit.after, true), "{edit:?}");
    followed.insert(key, last);
}

fn run(steps: Vec<Step>, unseen: usize, tells_deleted: bool) {
    let mut flipt = MiniFlipt::new("default", tells_deleted);
    let mut bench = Bench::new();
    let mut edits: Vec<(Edit, bool)> = Vec::new();
    let mut imported = false;
    for (index, step) in steps.into_iter().enumerate() {
        match step {
            Step::Edit(what, which, how) => {
                let Some(edit) = flipt.edit(what, which, how) else { continue };
                if index < unseen {
                    continue;
                }
                let second = 10 * i64::try_from(index).unwrap();
                feed(&mut bench, &[edit.line("ann", &time(second).to_string())]);
                edits.push((edit, unseen == 0 && !imported));
            }
            Step::Reopen => bench = bench.reopen().0,
            Step::Import if index >= unseen => {
                imported = true;
                let at = time(10 * i64::try_from(index).unwrap() - 5);
                let all = flipt.snapshot();
                wait(bench.journal.prime("flipt", "default", all, true, at)).unwrap();
            }
            Step::Import => {}
            Step::Forget => {
                let forget = |_: &Connection, ledger: &mut ledger::Ledger| {
                    ledger.states.forget();
                    Ok(())
                };
                bench.journal.call(forget).unwrap();
            }
        }
    }
    let records = bench.records();
    assert_eq!(records.len(), edits.len());
    let mut followed = BTreeMap::new();
    for (record, (edit, saw_all)) in records.iter().zip(&edits) {
        let known = known(record);
        follow(record, &known, edit, &mut followed);
        let told = before(&known);
        let is_order = edit.before.is_null() && edit.verb == "updated";
        if is_order {
            continue;
        }
        let what = format!("{} {} {}\n{known:?}", edit.noun, edit.verb, edit.payload);
        match &told {
            Some(told) => {
                let mut truth = edit.before.clone();
                for (name, value) in truth.as_object_mut().unwrap().iter_mut() {
                    if !saw_all && told.get(name) == Some(&Value::Null) {
                        *value = Value::Null; // not known
                    }
                }
                if !saw_all && told.get("default_variant") == Some(&Value::Null) {
                    truth["default_variant"] = Value::Null;
                }
                assert_eq!(*told, truth, "{what}");
            }
            // What belongs to a rule that was never seen belongs nowhere.
            None if record.order_key.is_none() => assert!(!saw_all && edit.noun == "distribution", "{what}"),
            None if edit.verb == "created" => assert_eq!(known.without, Some(Without::Created), "{what}"),
            None => assert!(!saw_all, "known, and not told: {what}"),
        }
        assert!(known.late.is_none(), "{what}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn what_was_before_is_the_truth(
        steps in prop::collection::vec(step(), 0..160),
        unseen in prop_oneof![Just(0_usize), 1_usize..80],
        tells_deleted: bool,
    ) {
        run(steps, unseen, tells_deleted);
    }
}

fn flag(key: &str, enabled: bool, second: i64) -> String {
    let time = time(second);
    format!(
        r#"{{"version":"0.2","type":"flag","action":"updated","status":"success","metadata":{{"actor":{{"authentication":"none"}}}},"payload":{{"description":"","enabled":{enabled},"key":"{key}","name":"","namespace_key":"default"}},"timestamp":"{time}"}}"#
    )
}

#[test]
fn a_late_event_is_told_and_overwrites_nothing() {
    let mut bench = Bench::new();
    feed(&mut bench, &[flag("a", true, 100), flag("a", false, 50), flag("a", false, 200)]);
    let records = bench.records();
    let late = known(&records[1]);
    assert_eq!((late.without, late.before.is_none()), (Some(Without::Late), true));
    let now = late.late.unwrap();
    assert_eq!(now.newest, time(100));
    assert!(now.current.unwrap().get().contains("\"enabled\":true"));
    let last = known(&records[2]);
    assert!(last.before.unwrap().get().contains("\"enabled\":true"));
    assert_eq!(last.seen.unwrap().at, time(100));
    assert_eq!(last.seen.unwrap().sequence, Some(records[0].sequence));
}

#[test]
fn a_repeated_record_changes_no_state() {
    let mut bench = Bench::new();
    feed(&mut bench, &[flag("a", true, 100), flag("a", false, 101)]);
    let again = event(bench.file.name, 0, &flag("a", true, 100));
    assert_eq!(bench.push(vec![again]).unwrap().known, 1);
    feed(&mut bench, &[flag("a", true, 102)]);
    let last = known(bench.records().last().unwrap());
    assert!(last.before.unwrap().get().contains("\"enabled\":false"));
}

#[test]
fn several_flipts_do_not_mix() {
    let mut bench = Bench::new();
    feed(&mut bench, &[flag("a", true, 100)]);
    let other = bench.journal.register_source("other", "other").unwrap().id;
    let line = flag("a", false, 101);
    let LineKind::Event { time, keys, news } = read_line(line.as_bytes(), Framing::Auto, "other") else {
        panic!()
    };
    let record = NewRecord { event_time: time, keys, news, ..record(bench.file.name, 7, &line) };
    let append = Append { source: other, advance: None, records: vec![record], ignored: 0 };
    bench.journal.append(append).blocking_recv().unwrap().unwrap();
    assert_eq!(known(&bench.records()[1]).without, Some(Without::FirstSeen));
}

#[test]
fn beside_other_writers_no_before_is_told() {
    let mut bench = Bench::new();
    bench.journal.set_shared_writers(bench.source, true).unwrap();
    feed(&mut bench, &[flag("a", true, 100), flag("a", false, 101), flag("a", true, 102)]);
    for (record, live) in bench.records().iter().zip([Some(true), None, Some(true)]) {
        let known = known(record);
        assert_eq!((known.before.is_none(), known.without), (true, Some(Without::SharedWriters)));
        assert_eq!(known.live, live);
    }
}

#[test]
fn an_import_tells_nothing_to_older_events() {
    let mut bench = Bench::new();
    let state = |enabled: bool| {
        format!(r#"{{"description":"","enabled":{enabled},"key":"a","name":"","namespace_key":"default"}}"#)
    };
    let imported = |enabled| crate::event::Imported {
        kind: EntityKind::Flag,
        id: "a".into(),
        owner: (EntityKind::Flag, "a".into()),
        state: state(enabled).into(),
    };
    let prime = |bench: &Bench, enabled, at| {
        wait(bench.journal.prime("flipt", "default", vec![imported(enabled)], true, at)).unwrap()
    };
    assert_eq!(prime(&bench, true, time(100)), 1);
    feed(&mut bench, &[flag("a", false, 100), flag("a", true, 101)]);
    assert_eq!(prime(&bench, false, time(200)), 0, "an event is believed before an import");
    feed(&mut bench, &[flag("a", false, 201)]);
    let records = bench.records();
    assert_eq!(known(&records[0]).without, Some(Without::OlderThanImport));
    assert!(known(&records[1]).before.unwrap().get().contains("\"enabled\":false"));
    assert!(known(&records[2]).before.unwrap().get().contains("\"enabled\":true"));
    let other = Bench::new();
    assert_eq!(prime(&other, true, time(100)), 1);
    let mut other = other;
    feed(&mut other, &[flag("a", false, 101)]);
    let first = known(&other.records()[0]);
    assert_eq!((first.seen.unwrap().by, first.seen.unwrap().sequence), (SeenBy::Import, None));
    assert_eq!(first.live, Some(true));
}

#[test]
fn a_damaged_before_is_not_told() {
    let mut bench = Bench::new();
    feed(&mut bench, &[flag("a", true, 100), flag("a", false, 101)]);
    bench
        .journal
        .call(|conn, _| {
            conn.execute(
                "UPDATE records SET previous = CAST(replace(CAST(previous AS TEXT), 'true', 'fals') AS BLOB) WHERE sequence = 2",
                [],
            )
        })
        .unwrap();
    let record = &bench.records()[1];
    assert_eq!(known(record).without, Some(Without::Damaged));
}

#[test]
fn a_namespace_takes_everything_along() {
    let mut bench = Bench::new();
    let namespace = |action: &str, second| {
        let time = time(second);
        format!(
            r#"{{"version":"0.2","type":"namespace","action":"{action}","metadata":{{"actor":{{}}}},"payload":{{"key":"default"}},"timestamp":"{time}"}}"#
        )
    };
    feed(&mut bench, &[namespace("created", 99)]);
    feed(&mut bench, &[flag("a", true, 100), flag("b", true, 101), namespace("deleted", 102)]);
    feed(&mut bench, &[flag("a", false, 99), namespace("created", 103), flag("a", true, 104)]);
    feed(&mut bench, &[flag("c", true, 102)]);
    let records = &bench.records()[1..];
    let closed = known(&records[2]).closed.unwrap();
    let names: Vec<_> = closed.first.iter().map(|closed| closed.name.as_deref().unwrap()).collect();
    assert_eq!((closed.count, names), (2, vec!["a", "b"]));
    assert_eq!(known(&records[3]).without, Some(Without::Late));
    assert_eq!(known(&records[5]).without, Some(Without::Deleted));
    assert_eq!(known(&records[6]).without, Some(Without::Late), "of the namespace that is gone");
}

#[test]
fn change_sets_go_on_after_a_start() {
    let mut bench = Bench::new();
    feed(&mut bench, &[flag("a", true, 100), flag("a", false, 130)]);
    let mut bench = bench.reopen().0;
    feed(&mut bench, &[flag("a", true, 160), flag("b", true, 161), flag("a", true, 230)]);
    let records = bench.records();
    let sets: Vec<_> = records.iter().map(|record| record.change_set.as_deref().unwrap()).collect();
    assert_eq!(sets[0], format!("cs_{}", &records[0].id.to_string()[4..]));
    assert_eq!((sets[1], sets[2]), (sets[0], sets[0]));
    assert_ne!(sets[3], sets[0]);
    assert_ne!(sets[4], sets[0]);
}

#[test]
fn states_stay_within_their_share() {
    let mut bench = Bench::with(|options| options.max_size_bytes = 16 << 20);
    for round in 0..40 {
        let lines: Vec<String> =
            (0..500).map(|index| flag(&format!("flag-{round}-{index}"), true, i64::from(round))).collect();
        feed(&mut bench, &lines);
    }
    bench.journal.settle_down();
    let (bytes, oldest): (i64, bool) = bench
        .journal
        .call(|conn, _| {
            conn.query_row(
                "SELECT SUM(length(family) + length(id) + length(state) + 64),
                   EXISTS (SELECT 1 FROM entities WHERE id = 'flag-0-0') FROM entities",
                [],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
        })
        .unwrap();
    assert!(bytes <= (16 << 20) / 8 + (16 << 20) / 64, "{bytes}");
    assert!(bytes > (16 << 20) / 16, "{bytes}");
    assert!(!oldest);
}

#[test]
fn what_an_older_release_accepted_makes_states_stale() {
    let mut bench = Bench::new();
    feed(&mut bench, &[flag("a", true, 100)]);
    // It leaves these columns alone, and knows nothing of states.
    bench.append(&["{}"]).unwrap();
    let forget = "UPDATE meta SET value = 1 WHERE key = 'states_through'";
    bench.journal.call(|conn, _| conn.execute(forget, [])).unwrap();
    let mut bench = bench.reopen().0;
    feed(&mut bench, &[flag("a", false, 102)]);
    assert_eq!(known(bench.records().last().unwrap()).without, Some(Without::FirstSeen));
}

#[test]
fn an_outline_brings_what_was_known() {
    let mut bench = Bench::new();
    feed(&mut bench, &[flag("a", true, 100), flag("a", false, 101)]);
    let records = bench.records();
    let outlines = wait(bench.journal.read_outlines(0, 9, true)).unwrap();
    assert_eq!(outlines.len(), 2);
    for (outline, record) in outlines.iter().zip(&records) {
        assert_eq!(outline.original.as_ref().unwrap().1, record.original);
        assert_eq!((&outline.known, &outline.order_key), (&record.known, &record.order_key));
        assert_eq!(outline.size_bytes, record.size_bytes() as u64);
    }
    assert!(known(&records[1]).before.is_some());
}
