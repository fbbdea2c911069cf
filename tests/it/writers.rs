//! Several replicas of Flipt with one shared truth: a "before" that is told was true, or it is not told.

mod story;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use self::story::{Deed, Edit, Story, marks_in};
use crate::support::{Receiver, Relay, Workplace};

/// What is wrong in what was told of edits, in words.
fn lies<'a>(told: impl IntoIterator<Item = (&'a Edit, &'a Value)>) -> Vec<String> {
    let mut lies = Vec::new();
    for (edit, envelope) in told {
        let change = &envelope["change"];
        let before = &change["before"];
        if !before.is_null() && Some(before) != edit.before.as_ref() {
            lies.push(format!("{}: before is {before}, and was {:?}", edit.line, edit.before));
        }
        let says_why = change["without_before"].as_str().is_some_and(|why| !why.is_empty());
        if before.is_null() && edit.deed != Deed::Ordered && !says_why {
            lies.push(format!("{}: no before, and no reason in {change}", edit.line));
        }
        // Not in the sentence either, nor anywhere else. What a late event met is told as newer, not as former.
        let mut elsewhere = envelope.clone();
        if let Some(change) = elsewhere["change"].as_object_mut() {
            change.remove("late");
        }
        let others: Vec<u32> =
            marks_in(&elsewhere.to_string()).into_iter().filter(|mark| !edit.marks.contains(mark)).collect();
        if !others.is_empty() {
            lies.push(format!("{}: tells of the states {others:?}: {elsewhere}", edit.line));
        }
    }
    lies
}

/// None of them is a lie.
#[track_caller]
fn all_true<'a>(told: impl IntoIterator<Item = (&'a Edit, &'a Value)>, whose: &str) {
    let lies = lies(told);
    assert!(lies.is_empty(), "{whose}: {} times, first {}", lies.len(), lies[0]);
}

/// Edits whose before is known to who has seen all that was written: those of entities that were seen.
fn known<'a>(edits: &[&'a Edit]) -> Vec<&'a str> {
    let mut seen = BTreeSet::new();
    let mut known = Vec::new();
    for edit in edits {
        let is_new = edit.deed != Deed::Ordered && seen.insert(&*edit.entity);
        if !is_new && edit.deed != Deed::Ordered && edit.before.is_some() {
            known.push(&*edit.line);
        }
    }
    known
}

/// Edits of which a before is told.
fn with_before<'a>(edits: &[&'a Edit], envelopes: &[Value]) -> Vec<&'a str> {
    let told = edits.iter().zip(envelopes).filter(|(_, envelope)| !envelope["change"]["before"].is_null());
    told.map(|(edit, _)| &*edit.line).collect()
}

/// A place with a source for each of these replicas, whose file is `NAME.log`, and where to.
fn place(receiver: &Receiver, replicas: impl IntoIterator<Item = usize>, more: &str) -> Workplace {
    let place = Workplace::new();
    let sources: String = replicas
        .into_iter()
        .map(|replica| {
            place.write(&format!("{replica}.log"), "");
            format!("  flipt_{replica}: {{type: file, path: DIR/{replica}.log{more}}}\n")
        })
        .collect();
    place.configure(&format!(
        "
data_dir: DIR/data
sources:
{sources}destinations:
  out: {{type: webhook, url: '{}', batch: {{max_events: 100, timeout: 1ms}}}}
routes:
  all: {{to: [out]}}
",
        receiver.url("/")
    ));
    place
}

/// Waits for this many envelopes; gives those of each source in its order.
fn envelopes(receiver: &Receiver, count: usize) -> BTreeMap<String, Vec<Value>> {
    receiver.wait_until(&format!("{count} envelopes"), |received| {
        received.iter().map(|request| request.envelopes().len()).sum::<usize>() >= count
    });
    let mut all = receiver.envelopes();
    assert_eq!(all.len(), count);
    all.sort_by_key(|envelope| envelope["sequence"].as_u64());
    let mut by_source = BTreeMap::<String, Vec<Value>>::new();
    for envelope in all {
        by_source.entry(envelope["source"].as_str().unwrap().to_owned()).or_default().push(envelope);
    }
    by_source
}

fn lines<'a>(edits: impl IntoIterator<Item = &'a &'a Edit>) -> String {
    edits.into_iter().map(|edit| format!("{}\n", edit.line)).collect()
}

/// By what it is judged what a relay tells.
#[derive(Debug, Clone, Copy)]
enum Witness {
    /// What goes out.
    Envelopes,
    /// What the journal keeps as known around each event, but for the places of a new order.
    Journal,
    /// All of that.
    WithPlaces,
}

/// What the journal keeps, in the form of envelopes.
fn kept(place: &Workplace, with_places: bool) -> BTreeMap<String, Vec<Value>> {
    let journal = rusqlite::Connection::open(place.path("data/journal.db")).unwrap();
    let mut rows = journal
        .prepare(
            "SELECT sources.name, previous, original FROM records JOIN sources ON sources.id = records.source
             WHERE kind = 0 ORDER BY sequence",
        )
        .unwrap();
    let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    let mut by_source = BTreeMap::<String, Vec<Value>>::new();
    for row in rows.query_map([], row).unwrap() {
        let (source, previous, original): (String, Vec<u8>, Vec<u8>) = row.unwrap();
        // A hash leads it.
        let mut change: Value = serde_json::from_slice(&previous[16..]).unwrap();
        change["without_before"] = change["without"].take();
        if !with_places {
            change["order"].take();
        }
        let data: Value = serde_json::from_slice(&original).unwrap();
        by_source.entry(source).or_default().push(json!({ "change": change, "data": data }));
    }
    by_source
}

/// Stops the relay; what each source's events were told with, in their order.
fn told_at_last(
    relay: Relay,
    by: Witness,
    place: &Workplace,
    sent: BTreeMap<String, Vec<Value>>,
) -> BTreeMap<String, Vec<Value>> {
    assert!(relay.stop().status.success());
    match by {
        Witness::Envelopes => sent,
        Witness::Journal => kept(place, false),
        Witness::WithPlaces => kept(place, true),
    }
}

/// One relay for one replica, which has written everything.
fn told_of(story: &Story, replica: usize, more: &str, by: Witness) -> Vec<Value> {
    let receiver = Receiver::start();
    let place = place(&receiver, [replica], more);
    let edits = story.of_replica(replica);
    place.append(&format!("{replica}.log"), lines(&edits));
    let relay = place.run();
    let sent = envelopes(&receiver, edits.len());
    let told = told_at_last(relay, by, &place, sent).remove(&format!("flipt_{replica}")).unwrap();
    assert_eq!(told.len(), edits.len());
    told
}

/// One relay with three sources of one instance.
fn one_relay_for_three_replicas(by: Witness) {
    for seed in 0..3 {
        let story = Story::new(seed, 3, 120);
        let receiver = Receiver::start();
        let place = place(&receiver, 0..3, "");
        let relay = place.run();
        let (mut arrived, mut sent) = (0, BTreeMap::new());
        // What one replica writes in a row arrives together, and before anything of the next.
        let is_one_run = |one: &usize, next: &usize| story.edits[*one].replica == story.edits[*next].replica;
        for run in story.arrivals.chunk_by(is_one_run) {
            let edits: Vec<&Edit> = run.iter().map(|edit| &story.edits[*edit]).collect();
            place.append(&format!("{}.log", edits[0].replica), lines(&edits));
            arrived += edits.len();
            sent = envelopes(&receiver, arrived);
        }
        let told = told_at_last(relay, by, &place, sent);
        let all = (0..3).flat_map(|replica| {
            story.of_replica(replica).into_iter().zip(&told[&format!("flipt_{replica}")])
        });
        all_true(all, &format!("seed {seed}"));
    }
}

fn three_relays_for_three_replicas(by: Witness) {
    for seed in 0..3 {
        let story = Story::new(seed, 3, 150);
        for replica in 0..3 {
            let told = told_of(&story, replica, ", single_writer: false", by);
            let edits = story.of_replica(replica);
            all_true(edits.into_iter().zip(&told), &format!("seed {seed}, replica {replica}"));
        }
    }
}

fn one_relay_for_a_single_writer(by: Witness) {
    for seed in 0..6 {
        let story = Story::new(seed, 1, 250);
        let told = told_of(&story, 0, "", by);
        let edits = story.of_replica(0);
        all_true(edits.iter().copied().zip(&told), &format!("seed {seed}"));
        let with_before = with_before(&edits, &told);
        let missing: Vec<_> = known(&edits).into_iter().filter(|line| !with_before.contains(line)).collect();
        assert_eq!(missing, [""; 0], "seed {seed}");
    }
}

#[test]
fn one_relay_that_sees_three_replicas_knows_no_before_that_was_none() {
    one_relay_for_three_replicas(Witness::Journal);
}

#[test]
fn three_relays_that_see_a_part_each_know_no_before_that_was_none() {
    three_relays_for_three_replicas(Witness::Journal);
}

#[test]
fn of_a_single_writer_every_before_is_known_after_the_first_sight() {
    one_relay_for_a_single_writer(Witness::Journal);
}

#[test]
fn of_a_single_writer_a_new_order_is_told_by_what_was_there() {
    one_relay_for_a_single_writer(Witness::WithPlaces);
}

/// What `single_writer: false` is for; and that these tests can fail.
#[test]
fn a_relay_that_believes_it_sees_all_tells_what_was_not() {
    let story = Story::new(0, 3, 150);
    let told = told_of(&story, 0, ", single_writer: true", Witness::Journal);
    assert!(!lies(story.of_replica(0).into_iter().zip(&told)).is_empty());
}

#[test]
fn a_new_order_is_not_told_by_what_was_there_once() {
    three_relays_for_three_replicas(Witness::WithPlaces);
    one_relay_for_three_replicas(Witness::WithPlaces);
}

#[test]

fn one_relay_that_sees_three_replicas_tells_no_before_that_was_none() {
    one_relay_for_three_replicas(Witness::Envelopes);
}

#[test]

fn three_relays_that_see_a_part_each_tell_no_before_that_was_none() {
    three_relays_for_three_replicas(Witness::Envelopes);
}

#[test]

fn of_a_single_writer_every_before_is_told_after_the_first_sight() {
    one_relay_for_a_single_writer(Witness::Envelopes);
}

/// What a relay tells that takes the last state it saw for what was before; and, where `minds_time`, says
/// nothing when an event is older than that.
fn naively(edits: &[&Edit], minds_time: bool) -> Vec<Value> {
    let mut last = BTreeMap::<&str, (String, Value)>::new();
    let mut told = Vec::with_capacity(edits.len());
    for edit in edits {
        let event: Value = serde_json::from_str(&edit.line).unwrap();
        let time = event["timestamp"].as_str().unwrap().to_owned();
        let met = last.get(&*edit.entity);
        let is_late = met.is_some_and(|(newest, _)| minds_time && time < *newest);
        let before = met.filter(|_| !is_late && edit.deed != Deed::Ordered).map(|(_, state)| state.clone());
        if !is_late {
            match edit.deed {
                Deed::Created | Deed::Updated => {
                    last.insert(&edit.entity, (time, event["payload"].clone()));
                }
                Deed::Deleted => _ = last.remove(&*edit.entity),
                Deed::Ordered => {}
            }
        }
        told.push(json!({"change": {"before": before, "without_before": "first_seen"}, "data": event}));
    }
    told
}

/// The stories are such that carelessness shows.
#[test]
fn a_careless_relay_would_be_found_out() {
    for seed in 0..6 {
        let story = Story::new(seed, 3, 120);
        for minds_time in [false, true] {
            let arrived: Vec<&Edit> = story.arrivals.iter().map(|edit| &story.edits[*edit]).collect();
            let told = naively(&arrived, minds_time);
            assert!(!lies(arrived.into_iter().zip(&told)).is_empty(), "one relay, seed {seed}, {minds_time}");
            let part = story.of_replica(0);
            let told = naively(&part, minds_time);
            assert!(!lies(part.into_iter().zip(&told)).is_empty(), "a part, seed {seed}, {minds_time}");
        }
        let alone = Story::new(seed, 1, 250);
        let edits = alone.of_replica(0);
        // It misses how Flipt ranks anew, and nothing else.
        let told = naively(&edits, true);
        assert!(!lies(edits.iter().copied().zip(&told)).is_empty());
        for (edit, envelope) in edits.iter().zip(told) {
            let (mut before, mut truth) = (envelope["change"]["before"].clone(), edit.before.clone());
            for state in [Some(&mut before), truth.as_mut()].into_iter().flatten() {
                if state["rank"].is_u64() {
                    state["rank"] = json!(0);
                }
            }
            assert!(before.is_null() || Some(before) == truth, "{}", edit.line);
        }
        assert!(known(&edits).len() > 150);
    }
}

/// Every edit is there once, each replica's in its order, and some overtake others.
#[test]
fn lines_arrive_in_the_order_of_each_replica_only() {
    let story = Story::new(7, 3, 200);
    let mut sorted = story.arrivals.clone();
    sorted.sort_unstable();
    assert!(sorted.iter().copied().eq(0..200) && sorted != story.arrivals);
    for replica in 0..story.replicas {
        let own: Vec<_> =
            story.arrivals.iter().filter(|edit| story.edits[**edit].replica == replica).collect();
        assert!(own.is_sorted() && !own.is_empty());
    }
    for deed in [Deed::Created, Deed::Updated, Deed::Deleted, Deed::Ordered] {
        assert!(story.edits.iter().any(|edit| edit.deed == deed), "{deed:?}");
    }
}
