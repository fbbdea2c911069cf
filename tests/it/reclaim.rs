//! Space that is given back to the file system: what of it, when, and what is left of the file for whoever reads it
//! next.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::{FallocateFlags, fallocate};
use serde_json::{Value, json};

use crate::support::{Receiver, Relay, Reply, Workplace, binary, eventually, flag_line, web};

const BLOCK: u64 = 64 * 1024;

const OUT: &str = "out: {type: webhook, url: 'URL', batch: {max_events: 200}, retry: {initial_backoff: 10ms, max_backoff: 50ms}}";

/// Set in the process that has mounts of its own.
const OWN_MOUNTS: &str = "AUDIT_RELAY_OWN_MOUNTS";

fn configure(place: &Workplace, source: &str, destinations: &str) {
    let names: Vec<&str> =
        destinations.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name).collect();
    let destinations: String = destinations.lines().map(|line| format!("  {line}\n")).collect();
    place.configure(&format!(
        "data_dir: DIR/data
sources:
  flipt: {{type: file, path: DIR/audit.log, {source}}}
destinations:
{destinations}routes:
  all: {{when: {{record: [event, unparsed, oversized, gap]}}, to: [{}]}}
",
        names.join(", ")
    ));
}

/// A place whose source gives space back, with one destination.
fn place(receiver: &Receiver) -> Workplace {
    let place = Workplace::new();
    configure(&place, "reclaim: punch_hole", &OUT.replace("URL", &receiver.url("/")));
    place
}

fn mark(number: usize) -> String {
    format!("mark-{number:07}")
}

/// Lines of about 1 KiB.
fn lines(numbers: std::ops::Range<usize>) -> String {
    let filler = "x".repeat(700);
    numbers.map(|number| flag_line("checkout", &format!("{} {filler}", mark(number))) + "\n").collect()
}

/// What a record is known by: the mark of a line, or its type.
fn known_by(envelope: &Value) -> String {
    match envelope["data"]["payload"]["description"].as_str() {
        Some(description) => description.split(' ').next().unwrap().to_owned(),
        None => envelope["type"].as_str().unwrap().to_owned(),
    }
}

fn marks(receiver: &Receiver) -> Vec<String> {
    receiver.envelopes().iter().map(known_by).collect()
}

fn gaps(receiver: &Receiver) -> Vec<Value> {
    let gaps = receiver.envelopes().into_iter().filter(|envelope| envelope["type"] == "audit_relay.gap");
    gaps.map(|envelope| envelope["data"].clone()).collect()
}

fn wait_for_marks(receiver: &Receiver, count: usize) {
    receiver.wait_until(&format!("{count} marks"), |received| {
        let taken = received.iter().filter(|request| request.status < 300);
        taken.map(|request| request.envelopes().len()).sum::<usize>() >= count
    });
}

/// What the status says of giving space back, of the file at `audit.log`.
fn reclaim(place: &Workplace) -> Value {
    let status = place.status();
    let files = status["sources"][0]["files"].as_array().unwrap();
    let at_path = files.iter().find(|file| file["path"].as_str().unwrap().ends_with("/audit.log"));
    at_path.map_or(Value::Null, |file| file["reclaim"].clone())
}

fn to(place: &Workplace) -> u64 {
    reclaim(place)["to"].as_u64().unwrap_or(0)
}

/// The most that may be given back of a file of this length, all of which is delivered.
fn most(length: u64) -> u64 {
    (length - BLOCK) / BLOCK * BLOCK
}

fn wait_for_hole(place: &Workplace, end: u64) {
    eventually(&format!("everything up to byte {end} is given back"), || (to(place) >= end).then_some(()));
    assert_eq!(reclaim(place), json!({"from": BLOCK, "to": end, "held_up": null}));
}

fn allocated_bytes(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().blocks() * 512
}

fn length(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().len()
}

/// Whether the file system of these tests can make holes. Where it cannot, the warning is looked at instead.
fn holes_work(place: &Workplace) -> bool {
    let path = place.write("hole", [b'x'; 3 * BLOCK as usize]);
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    let works = fallocate(&file, flags, BLOCK, BLOCK).is_ok();
    std::fs::remove_file(path).unwrap();
    if !works {
        eprintln!("{} cannot make holes in files: only the warning is tested", place.directory().display());
    }
    works
}

/// On a file system that makes no holes: it is said once, shown, and everything is delivered.
fn expect_the_warning(place: &Workplace, receiver: &Receiver) {
    place.append("audit.log", lines(0..500));
    let relay = place.run();
    relay.wait_for_log("cannot make holes in files");
    let held_up = reclaim(place)["held_up"].as_str().unwrap().to_owned();
    assert!(held_up.contains("cannot make holes"), "{held_up}");
    place.append("audit.log", lines(500..1_000));
    wait_for_marks(receiver, 1_000);
    let exit = relay.stop();
    assert!(exit.status.success());
    assert_eq!(exit.log.matches("is given back").count(), 1, "{}", exit.log);
    assert_eq!(marks(receiver), (0..1_000).map(mark).collect::<Vec<_>>());
    assert_eq!(
        allocated_bytes(&place.path("audit.log")) / 4096,
        length(&place.path("audit.log")).div_ceil(4096)
    );
}

#[test]
fn what_is_delivered_is_given_back_and_the_file_is_known_all_the_same() {
    let receiver = Receiver::start();
    let place = place(&receiver);
    if !holes_work(&place) {
        return expect_the_warning(&place, &receiver);
    }
    let log = place.path("audit.log");
    place.append("audit.log", lines(0..2_000));
    let mut writer = OpenOptions::new().append(true).open(&log).unwrap();
    let before = std::fs::read(&log).unwrap();
    let relay = place.run();
    wait_for_marks(&receiver, 2_000);
    let end = most(before.len() as u64);
    wait_for_hole(&place, end);
    // The writer notices nothing; what is left is as it was.
    assert_eq!(length(&log), before.len() as u64);
    assert!(allocated_bytes(&log) <= before.len() as u64 - (end - BLOCK) + 8_192);
    let after = std::fs::read(&log).unwrap();
    let (begin, end_at) = (BLOCK as usize, end as usize);
    assert_eq!(after[..begin], before[..begin]);
    assert_eq!(after[end_at..], before[end_at..]);
    assert!(after[begin..end_at].iter().all(|byte| *byte == 0));
    let metrics = web::get(relay.listens("health"), "/metrics").body;
    let counted = format!("audit_relay_source_reclaimed_bytes_total{{source=\"flipt\"}} {}\n", end - BLOCK);
    assert!(metrics.contains(&counted), "{metrics}");

    // Neither a restart nor a kill makes another file of it, and it goes on.
    assert!(relay.stop().status.success());
    writer.write_all(lines(2_000..2_500).as_bytes()).unwrap();
    let relay = place.run();
    wait_for_marks(&receiver, 2_500);
    wait_for_hole(&place, most(length(&log)));
    relay.kill();
    writer.write_all(lines(2_500..3_000).as_bytes()).unwrap();
    let relay = place.run();
    wait_for_marks(&receiver, 3_000);
    wait_for_hole(&place, most(length(&log)));
    assert!(relay.stop().status.success());
    assert!(allocated_bytes(&log) <= 3 * BLOCK + 8_192);
    assert_eq!(marks(&receiver), (0..3_000).map(mark).collect::<Vec<_>>());

    // It can be taken in again: all of it is known, and nothing is missing.
    let imported = place.ask(&["import", "audit.log", "--source", "flipt"]);
    assert!(imported.starts_with("0 new records"), "{imported}");
    // What was delivered is replayed from the journal.
    let relay = place.run();
    place.ask(&["replay", "--destination", "out", "--since", "1h"]);
    receiver.wait_until("everything comes once more", |received| {
        received.iter().flat_map(|request| request.envelopes()).count() == 6_000
    });
    assert!(relay.stop().status.success());
    assert_eq!(gaps(&receiver), [] as [Value; 0]);
}

#[test]
fn only_what_every_destination_has_passed_is_given_back() {
    let receiver = Receiver::start();
    // The second one takes so many requests, and no more until it is told to.
    let room = Arc::new(AtomicUsize::new(3));
    let left = Arc::clone(&room);
    let slow = Receiver::scripted(move |_, _| {
        let taken = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        Reply::status(if taken.is_ok() { 200 } else { 503 })
    });
    let place = Workplace::new();
    if !holes_work(&place) {
        return;
    }
    let slow_one = OUT
        .replacen("out", "slow", 1)
        .replace("URL', batch: {max_events: 200}", "SLOW', concurrency: 1, batch: {max_events: 200}");
    let destinations =
        format!("{}\n{}", OUT.replace("URL", &receiver.url("/")), slow_one.replace("SLOW", &slow.url("/")));
    configure(&place, "reclaim: punch_hole", &destinations);
    place.append("audit.log", lines(0..2_000));
    let log = place.path("audit.log");
    let relay = place.run();
    wait_for_marks(&receiver, 2_000);
    // Three groups of the second one, and not a record more.
    let passed = |place: &Workplace| {
        let taken = slow.envelopes().len();
        (lines(0..taken).len() as u64).min(length(&place.path("audit.log")))
    };
    eventually("what both have passed is given back", || (to(&place) > BLOCK).then_some(()));
    let held = to(&place);
    assert!(held <= passed(&place), "{held} is beyond what the slow one has");
    // Nor after a restart, when nobody remembers which line was accepted when.
    relay.kill();
    let relay = place.run();
    place.append("audit.log", lines(2_000..2_010));
    wait_for_marks(&receiver, 2_010);
    eventually("the file was looked at", || (to(&place) > BLOCK).then_some(()));
    assert!(to(&place) <= passed(&place));
    // It moves on, and so does the hole.
    room.store(usize::MAX, Ordering::SeqCst);
    wait_for_marks(&slow, 2_010);
    wait_for_hole(&place, most(length(&log)));
    assert!(relay.stop().status.success());
    let told: BTreeSet<String> = marks(&slow).into_iter().collect();
    assert_eq!(told, (0..2_010).map(mark).collect());
}

#[test]
fn a_journal_that_is_lost_finds_a_gap_and_reads_on_behind_it() {
    let receiver = Receiver::start();
    let place = place(&receiver);
    if !holes_work(&place) {
        return;
    }
    let log = place.path("audit.log");
    place.append("audit.log", lines(0..2_000));
    let relay = place.run();
    wait_for_marks(&receiver, 2_000);
    wait_for_hole(&place, most(length(&log)));
    assert!(relay.stop().status.success());
    let ids = |envelopes: &[Value]| -> std::collections::BTreeMap<String, String> {
        envelopes
            .iter()
            .map(|envelope| (known_by(envelope), envelope["id"].as_str().unwrap().to_owned()))
            .collect()
    };
    let first = receiver.envelopes();
    std::fs::remove_dir_all(place.path("data")).unwrap();
    let relay = place.run();
    place.append("audit.log", lines(2_000..2_001));
    receiver.wait_until("the last line", |received| {
        received
            .iter()
            .flat_map(|request| request.envelopes())
            .any(|envelope| known_by(&envelope) == mark(2_000))
    });
    let exit = relay.stop();
    assert!(exit.log.contains("has a hole"), "{}", exit.log);
    let second = &receiver.envelopes()[first.len()..];
    let gap = gaps(&receiver);
    assert_eq!(gap.len(), 1, "{gap:?}");
    assert_eq!(gap[0]["reason"], "hole");
    let (from, to) = (gap[0]["from"].as_u64().unwrap() as usize, gap[0]["to"].as_u64().unwrap() as usize);
    assert!(from <= BLOCK as usize && to > from);
    // Each line is delivered again under its id, or lies in the gap.
    let text = lines(0..2_000);
    let mut at = 0;
    let mut expected = Vec::new();
    for (number, line) in text.split_inclusive('\n').enumerate() {
        if at == from {
            expected.push("audit_relay.gap".to_owned());
        }
        if at + line.len() <= from || at >= to {
            expected.push(mark(number));
        }
        at += line.len();
    }
    expected.push(mark(2_000));
    assert_eq!(second.iter().map(known_by).collect::<Vec<_>>(), expected);
    let (first, second) = (ids(&first), ids(second));
    assert!(second.iter().all(|(mark, id)| first.get(mark).is_none_or(|known| known == id)));
}

#[test]
fn an_older_journal_that_is_put_back_finds_a_gap_where_it_would_read_on() {
    let receiver = Receiver::start();
    let place = place(&receiver);
    if !holes_work(&place) {
        return;
    }
    let log = place.path("audit.log");
    place.append("audit.log", lines(0..1_000));
    let relay = place.run();
    wait_for_marks(&receiver, 1_000);
    let position = length(&log);
    place.ask(&["backup", "copy.db"]);
    place.append("audit.log", lines(1_000..3_000));
    wait_for_marks(&receiver, 3_000);
    wait_for_hole(&place, most(length(&log)));
    assert!(relay.stop().status.success());
    std::fs::remove_dir_all(place.path("data")).unwrap();
    std::fs::create_dir(place.path("data")).unwrap();
    std::fs::set_permissions(place.path("data"), std::fs::Permissions::from_mode(0o700)).unwrap();
    std::fs::copy(place.path("copy.db"), place.path("data/journal.db")).unwrap();
    let before = receiver.envelopes().len();
    let relay = place.run();
    place.append("audit.log", lines(3_000..3_001));
    receiver.wait_until("the last line", |received| {
        received
            .iter()
            .flat_map(|request| request.envelopes())
            .any(|envelope| known_by(&envelope) == mark(3_000))
    });
    assert!(relay.stop().status.success());
    let gap = gaps(&receiver);
    assert_eq!(gap.len(), 1, "{gap:?}");
    assert_eq!((&gap[0]["reason"], gap[0]["from"].as_u64()), (&json!("hole"), Some(position)));
    // Whatever was delivered when the copy was made may come again; of the rest, what follows the hole.
    let told: Vec<String> = receiver.envelopes()[before..].iter().map(known_by).collect();
    let begin = told.iter().position(|known| known == "audit_relay.gap").unwrap();
    assert!(told[..begin].iter().all(|known| *known < mark(1_000)), "{told:?}");
    let behind = (3_001 - (told.len() - begin - 1)..3_001).map(mark).collect::<Vec<_>>();
    assert_eq!(told[begin + 1..], behind);
    assert!(behind.len() > 50, "{}", behind.len());
}

#[test]
fn what_copytruncate_took_away_is_found_in_a_copy_with_a_hole() {
    let receiver = Receiver::start();
    let place = place(&receiver);
    if !holes_work(&place) {
        return;
    }
    let log = place.path("audit.log");
    place.append("audit.log", lines(0..1_000));
    let relay = place.run();
    wait_for_marks(&receiver, 1_000);
    wait_for_hole(&place, most(length(&log)));
    relay.kill();
    place.append("audit.log", lines(1_000..1_200));
    // A copy need not be sparse.
    place.write("audit.log.1", std::fs::read(&log).unwrap());
    let kept = allocated_bytes(&place.path("audit.log.1"));
    place.write("audit.log", lines(1_200..2_000));
    let relay = place.run();
    wait_for_marks(&receiver, 2_000);
    wait_for_hole(&place, most(length(&log)));
    assert!(relay.stop().status.success());
    assert_eq!(marks(&receiver), (0..2_000).map(mark).collect::<Vec<_>>());
    assert_eq!(allocated_bytes(&place.path("audit.log.1")), kept, "a copy is left as it is");
}

#[test]
fn a_renamed_file_is_an_archive_and_one_without_a_name_is_nobodys() {
    let receiver = Receiver::start();
    let place = place(&receiver);
    if !holes_work(&place) {
        return;
    }
    let log = place.path("audit.log");
    place.append("audit.log", lines(0..500));
    let relay = place.run();
    wait_for_marks(&receiver, 500);
    wait_for_hole(&place, most(length(&log)));
    let mut renamed = OpenOptions::new().append(true).open(&log).unwrap();
    std::fs::rename(&log, place.path("audit.log.1")).unwrap();
    place.append("audit.log", lines(500..1_000));
    wait_for_marks(&receiver, 1_000);
    renamed.write_all(lines(1_000..1_500).as_bytes()).unwrap();
    wait_for_marks(&receiver, 1_500);
    // When the one at the path has had its turn, so has the other.
    wait_for_hole(&place, most(length(&log)));
    let added = (lines(1_000..1_500).len() as u64).next_multiple_of(4096);
    assert!(allocated_bytes(&place.path("audit.log.1")) >= added);

    // Once it has no name, only the space is left of it.
    std::fs::remove_file(place.path("audit.log.1")).unwrap();
    eventually("it is given back", || {
        let metadata = renamed.metadata().unwrap();
        (metadata.blocks() * 512 < metadata.len() / 2).then_some(())
    });
    renamed.write_all(lines(1_500..1_510).as_bytes()).unwrap();
    wait_for_marks(&receiver, 1_510);
    assert!(relay.stop().status.success());
    assert_eq!(gaps(&receiver), [] as [Value; 0]);
    assert_eq!(marks(&receiver).len(), 1_510);
}

#[test]
fn a_file_with_another_name_is_left_alone_until_that_is_gone() {
    let receiver = Receiver::start();
    let place = place(&receiver);
    if !holes_work(&place) {
        return;
    }
    let log = place.path("audit.log");
    place.append("audit.log", lines(0..500));
    std::fs::hard_link(&log, place.path("kept.log")).unwrap();
    let whole = allocated_bytes(&log);
    let relay = place.run();
    wait_for_marks(&receiver, 500);
    relay.wait_for_log("a hard link");
    let held_up = eventually("it is shown", || reclaim(&place)["held_up"].as_str().map(str::to_owned));
    assert!(held_up.contains("a hard link"), "{held_up}");
    assert_eq!(allocated_bytes(&log), whole);
    assert!(place.ask(&["status"]).contains("is given back: the file has another name"));
    std::fs::remove_file(place.path("kept.log")).unwrap();
    place.append("audit.log", lines(500..600));
    wait_for_hole(&place, most(length(&log)));
    assert!(relay.stop().status.success());
}

#[test]
fn who_may_not_write_says_so_once_and_reads_on_until_it_may() {
    let receiver = Receiver::start();
    let place = place(&receiver);
    if !holes_work(&place) {
        return;
    }
    let log = place.path("audit.log");
    let mode = |mode| std::fs::set_permissions(&log, std::fs::Permissions::from_mode(mode)).unwrap();
    place.append("audit.log", lines(0..500));
    let mut writer = OpenOptions::new().append(true).open(&log).unwrap();
    mode(0o444);
    let relay = without_override(&place);
    relay.wait_for_log("it cannot be opened for writing");
    wait_for_marks(&receiver, 500);
    let held_up = eventually("it is shown", || reclaim(&place)["held_up"].as_str().map(str::to_owned));
    assert!(held_up.starts_with("Permission denied"), "{held_up}");
    writer.write_all(lines(500..1_000).as_bytes()).unwrap();
    wait_for_marks(&receiver, 1_000);
    assert_eq!(allocated_bytes(&log) / 4096, length(&log).div_ceil(4096));
    assert_eq!(relay.log().matches("is given back").count(), 1, "{}", relay.log());
    // Other rights are tried at once.
    mode(0o644);
    wait_for_hole(&place, most(length(&log)));
    assert!(relay.stop().status.success());
    assert_eq!(marks(&receiver), (0..1_000).map(mark).collect::<Vec<_>>());
}

/// Starts a relay that no right to override modes helps, whoever runs these tests.
fn without_override(place: &Workplace) -> Relay {
    let plain = place.command(&["run", "--config", "relay.yaml", "--allow-inline-secrets"]);
    let is_root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    let relay = if is_root {
        let mut command = Command::new("setpriv");
        command.arg("--bounding-set=-dac_override").arg(binary()).args(plain.get_args());
        command.current_dir(place.directory()).env_clear();
        command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Relay::spawn(command)
    } else {
        Relay::spawn(plain)
    };
    relay.wait_for_log("\"ready\"");
    relay
}

#[test]
fn what_was_skipped_is_in_no_journal_and_stays() {
    let receiver = Receiver::start();
    let place = Workplace::new();
    if !holes_work(&place) {
        return;
    }
    configure(&place, "read_from: end, reclaim: punch_hole", &OUT.replace("URL", &receiver.url("/")));
    let log = place.path("audit.log");
    place.append("audit.log", lines(0..500));
    let skipped = std::fs::read(&log).unwrap();
    let relay = place.run();
    relay.wait_for_log("waiting for more");
    place.append("audit.log", lines(500..1_000));
    wait_for_marks(&receiver, 500);
    let end = most(length(&log));
    eventually("what was read is given back", || (to(&place) == end).then_some(()));
    let begin = (skipped.len() as u64).next_multiple_of(BLOCK);
    assert_eq!(reclaim(&place), json!({"from": begin, "to": end, "held_up": null}));
    assert!(relay.stop().status.success());
    // Nor does it when nobody remembers.
    let relay = place.run();
    place.append("audit.log", lines(1_000..1_500));
    wait_for_marks(&receiver, 1_000);
    eventually("more is given back", || (to(&place) == most(length(&log))).then_some(()));
    assert!(relay.stop().status.success());
    assert_eq!(std::fs::read(&log).unwrap()[..skipped.len()], skipped);
}

#[test]
fn a_hole_is_one_gap_and_the_next_whole_line_is_read() {
    let receiver = Receiver::start();
    let place = Workplace::new();
    configure(&place, "reclaim: off", &OUT.replace("URL", &receiver.url("/")));
    let (text, rest) = (lines(0..3), lines(3..6));
    let cut = text.len() - 10;
    // In the midst of a line, over two others, up to the midst of a fourth.
    let resumed = cut + 300_000;
    let file = File::create(place.path("audit.log")).unwrap();
    file.write_all_at(&text.as_bytes()[..cut], 0).unwrap();
    file.write_all_at(&rest.as_bytes()[20..], resumed as u64).unwrap();
    let relay = place.run();
    wait_for_marks(&receiver, 5);
    assert_eq!(marks(&receiver), [mark(0), mark(1), "audit_relay.gap".to_owned(), mark(4), mark(5)]);
    let gap = &gaps(&receiver)[0];
    let from = lines(0..2).len();
    let to = resumed + lines(3..4).len() - 20;
    assert_eq!((&gap["from"], &gap["to"], &gap["reason"]), (&json!(from), &json!(to), &json!("hole")));
    assert!(gap["message"].as_str().unwrap().contains("audit.log has a hole"), "{gap}");

    // What is not written yet is none.
    let end = length(&place.path("audit.log"));
    file.set_len(end + 100_000).unwrap();
    place.append("other", "");
    let position = || place.status()["sources"][0]["files"][0]["position"].as_u64();
    assert_eq!(position(), Some(end));
    file.write_all_at(lines(6..200).as_bytes(), end).unwrap();
    wait_for_marks(&receiver, 5 + 194);
    assert!(relay.stop().status.success());
    assert_eq!(gaps(&receiver).len(), 1);
    assert_eq!(marks(&receiver)[5..], (6..200).map(mark).collect::<Vec<_>>());
}

#[test]
fn a_finished_file_that_ends_in_a_hole_ends_in_a_gap() {
    let receiver = Receiver::start();
    let place = Workplace::new();
    configure(&place, "reclaim: off", &OUT.replace("URL", &receiver.url("/")));
    place.write("cut.log", lines(0..2) + "half a line" + &"\0".repeat(50_000));
    let said = place.ask(&["import", "cut.log", "--source", "flipt"]);
    assert!(
        said.starts_with("3 new records, 0 were journaled before; 1 of them could not be read"),
        "{said}"
    );
    // A few are none.
    place.write("few.log", lines(10..11) + "\0\0\0");
    place.ask(&["import", "few.log", "--source", "flipt"]);
    let relay = place.run();
    wait_for_marks(&receiver, 5);
    assert!(relay.stop().status.success());
    let gap = "audit_relay.gap".to_owned();
    let unparsed = "audit_relay.unparsed".to_owned();
    assert_eq!(marks(&receiver), [mark(0), mark(1), gap, mark(10), unparsed]);
    let told = &gaps(&receiver)[0];
    let from = lines(0..2).len();
    assert_eq!((&told["from"], &told["to"]), (&json!(from), &json!(from + 11 + 50_000)));
}

#[test]
fn what_two_sources_read_is_given_back_when_both_have() {
    let receiver = Receiver::start();
    let place = place(&receiver);
    if !holes_work(&place) {
        return;
    }
    let two = std::fs::read_to_string(place.path("relay.yaml"))
        .unwrap()
        .replace("destinations:", "  other: {type: file, path: DIR/other/audit.log}\ndestinations:");
    let alike = two.replace("DIR/other", "DIR");
    place.configure(&alike);
    let refused = place.command(&["check", "-c", "relay.yaml"]).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stdout) + String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("could read the same file"), "{said}");

    // By another name that is no name of its own nobody can tell: then the journal does.
    std::fs::create_dir(place.path("other")).unwrap();
    std::os::unix::fs::symlink("../audit.log", place.path("other/audit.log")).unwrap();
    place.configure(&two);
    place.append("audit.log", lines(0..1_000));
    let relay = place.run();
    wait_for_marks(&receiver, 2_000);
    let log = place.path("audit.log");
    eventually("both have read it", || {
        let status = place.status();
        let file = &status["sources"][0]["files"][0];
        (file["reclaim"]["to"].as_u64() == Some(most(length(&log)))).then_some(())
    });
    assert!(relay.stop().status.success());
    assert_eq!(gaps(&receiver), [] as [Value; 0]);
}

#[test]
#[ignore = "mounts file systems in a mount namespace of its own; run by .ci/run"]
fn reclaim_says_what_a_file_system_cannot_do() {
    if std::env::var_os(OWN_MOUNTS).is_none() {
        let mut command = Command::new("unshare");
        let is_root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
        if !is_root {
            command.arg("--map-root-user");
        }
        command.args(["--mount", "--propagation", "private"]).arg(std::env::current_exe().unwrap());
        command.args([
            "--ignored",
            "--exact",
            "reclaim::reclaim_says_what_a_file_system_cannot_do",
            "--nocapture",
        ]);
        let status = command.env(OWN_MOUNTS, "1").status().unwrap();
        assert!(status.success(), "{status}");
        return;
    }
    let mount = |arguments: &[&str], at: &Path| {
        let status = Command::new("mount").args(arguments).arg(at).status().unwrap();
        assert!(status.success(), "{arguments:?}: {status}");
    };
    // A file system in memory that knows no holes.
    let receiver = Receiver::start();
    let place = Workplace::new();
    mount(&["-t", "ramfs", "none"], place.directory());
    assert!(!holes_work(&place));
    configure(&place, "reclaim: punch_hole", &OUT.replace("URL", &receiver.url("/")));
    place.append("audit.log", lines(0..500));
    let relay = place.run();
    relay.wait_for_log("this file system cannot make holes in files");
    place.append("audit.log", lines(500..1_000));
    wait_for_marks(&receiver, 1_000);
    assert!(reclaim(&place)["held_up"].as_str().unwrap().contains("cannot make holes"));
    let exit = relay.stop();
    assert!(exit.status.success());
    assert_eq!(exit.log.matches("is given back").count(), 1, "{}", exit.log);

    // A log that is mounted read-only, as the sidecar has it.
    let receiver = Receiver::start();
    let place = Workplace::new();
    let config = "reclaim: punch_hole, rotated_dir: DIR/flipt";
    configure(&place, config, &OUT.replace("URL", &receiver.url("/")));
    let text = std::fs::read_to_string(place.path("relay.yaml")).unwrap();
    place.write("relay.yaml", text.replace("/audit.log,", "/log/audit.log,"));
    std::fs::create_dir(place.path("flipt")).unwrap();
    std::fs::create_dir(place.path("log")).unwrap();
    place.append("flipt/audit.log", lines(0..500));
    let flipt = place.path("flipt");
    mount(&["--bind", flipt.to_str().unwrap()], &place.path("log"));
    mount(&["-o", "remount,bind,ro"], &place.path("log"));
    let relay = place.run();
    relay.wait_for_log("it is mounted read-only");
    place.append("flipt/audit.log", lines(500..1_000));
    wait_for_marks(&receiver, 1_000);
    assert!(reclaim(&place)["held_up"].as_str().unwrap().contains("mounted read-only"));
    // Nothing tells of another mount: a reload has it tried again.
    mount(&["-o", "remount,bind,rw"], &place.path("log"));
    relay.signal("HUP");
    wait_for_hole(&place, most(length(&place.path("flipt/audit.log"))));
    let exit = relay.stop();
    assert!(exit.status.success());
    assert_eq!(exit.log.matches("is given back").count(), 1, "{}", exit.log);
}
