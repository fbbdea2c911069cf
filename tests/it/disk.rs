//! The disk under the journal: full, freed, bounded, and lying.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

use crate::support::{Receiver, Relay, Reply, Workplace, eventually, flag_line};

/// Set in the process that has mounts of its own.
const OWN_MOUNTS: &str = "AUDIT_RELAY_OWN_MOUNTS";

#[test]
#[ignore = "mounts a small file system in a mount namespace of its own; run by .ci/run"]
fn disk_that_fills_up_and_is_freed_loses_nothing() {
    if std::env::var_os(OWN_MOUNTS).is_none() {
        return in_own_mounts("disk::disk_that_fills_up_and_is_freed_loses_nothing");
    }
    const DISK_BYTES: u64 = 80 << 20;
    let place = Workplace::new();
    let disk = place.path("data");
    std::fs::create_dir(&disk).unwrap();
    let _mounted = Mounted::new(&disk, DISK_BYTES);

    let (receiver, is_open) = gated_receiver();
    configure(&place, &receiver, "batch: {max_events: 50}", "");
    let mut lines = Lines::default();
    place.write("audit.log", lines.next(10));
    let relay = place.run();
    let reserve = || std::fs::metadata(disk.join("reserve")).map_or(0, |metadata| metadata.len());
    eventually("the reserve is held", || (reserve() == 16 << 20).then_some(()));

    // Almost no room is left: less than the reserve gives back, so that the disk stays full.
    let filler = disk.join("filler");
    fill(&filler, available_bytes(&disk) - (2 << 20));
    while lines.bytes < 8 << 20 && !relay.log().contains("the disk is full") {
        place.append("audit.log", lines.next(100));
    }
    relay.wait_for_log("the disk is full");
    let accepted = eventually("the journal can be looked into", || count_records(&disk));
    assert!(accepted > 0);
    // More comes, and nobody stops writing because of it.
    place.append("audit.log", lines.next(1_000));

    // What was accepted is delivered, and each acknowledgement is kept, while the disk is full.
    is_open.store(true, Ordering::SeqCst);
    wait_for_events(&receiver, accepted);
    eventually("the acknowledgements are kept", || (cursor(&disk)? >= accepted).then_some(()));
    assert!(is_alive(&relay));
    assert_eq!(reserve(), 0, "the reserve was not released");
    assert!(!relay.log().contains("has room again"), "the disk was not full all the time");
    assert!((delivered(&receiver).len() as u64) < lines.written, "nothing was held back by a full disk");

    std::fs::remove_file(&filler).unwrap();
    place.append("audit.log", lines.next(100));
    relay.wait_for_log("has room again");
    wait_for_events(&receiver, lines.written);
    eventually("the reserve is held again", || (reserve() == 16 << 20).then_some(()));
    let exit = relay.stop();
    assert!(exit.status.success());
    assert_exactly(&receiver, &lines);
    assert_eq!(count_records(&disk), Some(lines.written));
    let sound: String =
        journal(&disk).unwrap().query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(sound, "ok");
}

#[test]
#[ignore = "mounts a small file system in a mount namespace of its own; run by .ci/run"]
fn disk_that_is_full_at_the_start_leaves_a_sidecar_alive() {
    if std::env::var_os(OWN_MOUNTS).is_none() {
        return in_own_mounts("disk::disk_that_is_full_at_the_start_leaves_a_sidecar_alive");
    }
    // Not even an empty journal; then one that can be opened, and hardly written.
    for spare_bytes in [4 << 10, 40 << 10, 120 << 10, 300 << 10] {
        let place = Workplace::new();
        let disk = place.path("data");
        std::fs::create_dir(&disk).unwrap();
        let _mounted = Mounted::new(&disk, 80 << 20);
        let (receiver, is_open) = gated_receiver();
        is_open.store(true, Ordering::SeqCst);
        configure(&place, &receiver, "", "");
        if spare_bytes > 4 << 10 {
            assert!(place.run().stop().status.success());
            std::fs::remove_file(disk.join("reserve")).unwrap();
        }
        let filler = disk.join("filler");
        fill(&filler, available_bytes(&disk) - spare_bytes);
        let mut lines = Lines::default();
        place.write("audit.log", lines.next(10));
        let relay = Relay::spawn(place.command(&["run", "--sidecar", "--config", "relay.yaml"]));
        let in_need = ["disk is full", "no room for the reserve"];
        eventually("it is in need of room", || {
            in_need.iter().any(|why| relay.log().contains(why)).then_some(())
        });
        let who = if relay.log().contains("nothing can be journaled") { "vigil" } else { "health" };
        let answered = crate::support::web::get(relay.listens(who), "/livez");
        assert_eq!(answered.status, 200);
        assert!(is_alive(&relay));
        // Flipt's file is on another disk, and goes on growing.
        place.append("audit.log", lines.next(10));
        std::fs::remove_file(&filler).unwrap();
        relay.wait_for_log("\"ready\"");
        wait_for_events(&receiver, lines.written);
        let exit = relay.stop();
        assert!(exit.status.success());
        assert!(!exit.log.contains("is in use by process"), "{}", exit.log);
        assert_exactly(&receiver, &lines);
    }
}

#[test]
#[ignore = "writes some 60 MB; run by .ci/run"]
fn disk_use_stays_within_the_limit_of_the_journal() {
    const LIMIT_BYTES: u64 = 16 << 20;
    let place = Workplace::new();
    let data = place.path("data");
    let (receiver, is_open) = gated_receiver();
    configure(&place, &receiver, "batch: {max_events: 500}", "journal: {max_size: 16MiB}");
    let mut lines = Lines::default();
    let relay = place.run();
    // Twice of what fits.
    while lines.bytes < 2 * LIMIT_BYTES {
        place.append("audit.log", lines.next(1_000));
    }
    relay.wait_for_log("the journal is full");
    let full = eventually("the journal can be looked into", || used_bytes(&data));
    assert!(delivered(&receiver).is_empty());
    assert!(is_alive(&relay));

    is_open.store(true, Ordering::SeqCst);
    relay.wait_for_log("the journal has room again");
    wait_for_events(&receiver, lines.written);
    let exit = relay.stop();
    assert!(exit.status.success());
    assert_exactly(&receiver, &lines);

    // The oldest went, the newest stayed, and the file gave back what it does not need.
    let used = used_bytes(&data).unwrap();
    let size = std::fs::metadata(data.join("journal.db")).unwrap().len();
    let kept = count_records(&data).unwrap();
    println!(
        "used {full} bytes when full, {used} after; the file has {size}; {kept} of {} kept",
        lines.written
    );
    assert!(full > LIMIT_BYTES / 2 && full <= LIMIT_BYTES, "{full} bytes were used when it was full");
    assert!(used < full, "{used} bytes are used, {full} were when it was full");
    assert!(size <= LIMIT_BYTES, "the file has {size} bytes");
    assert!(kept > 0 && kept < lines.written / 2, "{kept} of {} are kept", lines.written);
    let journal = journal(&data).unwrap();
    let first = ask(&journal, "SELECT MIN(sequence) FROM records").unwrap();
    let last = ask(&journal, "SELECT MAX(sequence) FROM records").unwrap();
    assert_eq!((first, last), (lines.written - kept + 1, lines.written));
}

#[test]
fn disk_that_flips_a_bit_is_found_and_the_record_not_sent() {
    let place = Workplace::new();
    let data = place.path("data");
    let (receiver, is_open) = gated_receiver();
    configure(&place, &receiver, "", "shutdown_timeout: 0s");
    let mut lines = Lines::default();
    place.write("audit.log", lines.next(5));
    let exit = place.run().stop();
    assert!(exit.status.success(), "{}", exit.log);
    assert_eq!(count_records(&data), Some(5));

    let database = journal(&data).unwrap();
    let query = "SELECT sequence, original FROM records ORDER BY sequence LIMIT 1 OFFSET 2";
    let (sequence, mut original): (i64, Vec<u8>) =
        database.query_row(query, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let at = original.windows(5).position(|window| window == b"mark-").unwrap();
    original[at + 5] ^= 1; // still JSON, still a mark, of no event that ever was
    database.execute("UPDATE records SET original = ?2 WHERE sequence = ?1", (sequence, original)).unwrap();
    drop(database);

    is_open.store(true, Ordering::SeqCst);
    let relay = place.run();
    wait_for_events(&receiver, 4);
    eventually("it is settled", || (cursor(&data)? >= 5).then_some(()));
    let exit = relay.stop();
    assert!(exit.status.success());
    let found = exit.log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).any(|line| {
        line["level"] == "ERROR" && line["sequence"] == sequence && line.to_string().contains("altered")
    });
    assert!(found, "no error tells of it:\n{}", exit.log);
    let expected: Vec<String> = [0, 1, 3, 4].map(mark).to_vec();
    let mut delivered = delivered(&receiver);
    delivered.sort(); // different flags, side by side
    assert_eq!(delivered, expected);
    let code: String =
        journal(&data).unwrap().query_row("SELECT code FROM dead_letters", [], |row| row.get(0)).unwrap();
    assert_eq!(code, "corrupt");
}

/// Runs one test of this program again, in a mount namespace of its own; what it mounts ends with it.
fn in_own_mounts(test: &str) {
    let mut command = Command::new("unshare");
    if !is_root() {
        command.arg("--map-root-user");
    }
    command.args(["--mount", "--propagation", "private"]).arg(std::env::current_exe().unwrap());
    run(command.args(["--ignored", "--exact", test, "--nocapture"]).env(OWN_MOUNTS, "1"));
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output().unwrap();
    output.stdout == b"0\n"
}

fn run(command: &mut Command) {
    let status = command.status().unwrap();
    assert!(status.success(), "{command:?}: {status}");
}

/// A receiver that is not to be had until the gate is opened.
fn gated_receiver() -> (Receiver, Arc<AtomicBool>) {
    let is_open = Arc::new(AtomicBool::new(false));
    let gate = Arc::clone(&is_open);
    let receiver =
        Receiver::scripted(move |_, _| Reply::status(if gate.load(Ordering::SeqCst) { 200 } else { 503 }));
    (receiver, is_open)
}

fn configure(place: &Workplace, receiver: &Receiver, of_destination: &str, more: &str) {
    let url = receiver.url("/");
    place.configure(&format!(
        "data_dir: DIR/data
sources: {{flipt: {{type: file, path: DIR/audit.log}}}}
destinations:
  hook:
    type: webhook
    url: {url}
    concurrency: 1                # one after another, so that the order of all can be told
    expire_after: never
    retry: {{initial_backoff: 50ms, max_backoff: 200ms}}
    {of_destination}
routes: {{all: {{to: [hook]}}}}
{more}
"
    ));
}

fn mark(number: u64) -> String {
    format!("mark-{number:07}")
}

/// Numbered lines of about 1 KiB.
#[derive(Default)]
struct Lines {
    written: u64,
    bytes: u64,
}

impl Lines {
    fn next(&mut self, count: u64) -> String {
        let mut text = String::new();
        for number in self.written..self.written + count {
            let padding = "x".repeat(700);
            text += &flag_line(&format!("flag_{}", number % 100), &format!("{} {padding}", mark(number)));
            text.push('\n');
        }
        self.written += count;
        self.bytes += text.len() as u64;
        text
    }
}

/// Waits until so many events were taken.
fn wait_for_events(receiver: &Receiver, count: u64) {
    let (mut looked, mut taken) = (0, 0);
    receiver.wait_until(&format!("{count} events"), |received| {
        for request in received[looked..].iter().filter(|request| request.status < 300) {
            // One in each envelope; marks stand in what was before as well.
            let begin = b"\"spec\":\"1\"";
            taken += request.body.windows(begin.len()).filter(|window| window == begin).count() as u64;
        }
        looked = received.len();
        taken >= count
    });
}

/// The marks of all that was taken, in the order in which it came.
fn delivered(receiver: &Receiver) -> Vec<String> {
    let mark_of = |envelope: &Value| {
        let description = envelope["data"]["payload"]["description"].as_str().unwrap();
        description.split(' ').next().unwrap().to_owned()
    };
    receiver.envelopes().iter().map(mark_of).collect()
}

/// A small file system in memory, for as long as this lives.
struct Mounted<'a>(&'a Path);

impl<'a> Mounted<'a> {
    fn new(path: &'a Path, bytes: u64) -> Self {
        run(Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"]).arg(path));
        Self(path)
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0).status();
    }
}

/// Each line once, in order.
fn assert_exactly(receiver: &Receiver, lines: &Lines) {
    let delivered = delivered(receiver);
    let expected: Vec<String> = (0..lines.written).map(mark).collect();
    let missing: Vec<_> =
        expected.iter().collect::<BTreeSet<_>>().difference(&delivered.iter().collect()).copied().collect();
    assert!(missing.is_empty(), "{} are missing, the first: {:?}", missing.len(), missing[0]);
    assert_eq!(delivered.len(), expected.len(), "each once");
    // Requests go side by side: only those of one flag stay in order.
    for flag in 0..100 {
        let of_flag = |marks: &[String]| -> Vec<String> {
            let wanted: BTreeSet<String> = (flag..lines.written).step_by(100).map(mark).collect();
            marks.iter().filter(|mark| wanted.contains(*mark)).cloned().collect()
        };
        assert_eq!(of_flag(&delivered), of_flag(&expected), "in order");
    }
}

fn is_alive(relay: &Relay) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", relay.id())).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z")
}

/// The journal, looked into from another process; `None` while it cannot be.
fn journal(data: &Path) -> Option<Connection> {
    let connection =
        Connection::open_with_flags(data.join("journal.db"), OpenFlags::SQLITE_OPEN_READ_WRITE).ok()?;
    connection.busy_timeout(std::time::Duration::from_secs(5)).ok()?;
    Some(connection)
}

/// The one number that a query gives.
fn ask(journal: &Connection, query: &str) -> Option<u64> {
    journal.query_row(query, [], |row| row.get::<_, i64>(0)).ok().map(i64::cast_unsigned)
}

fn count_records(data: &Path) -> Option<u64> {
    ask(&journal(data)?, "SELECT count(*) FROM records")
}

fn cursor(data: &Path) -> Option<u64> {
    ask(&journal(data)?, "SELECT cursor FROM destinations WHERE name = 'hook'")
}

/// Pages that hold something.
fn used_bytes(data: &Path) -> Option<u64> {
    let journal = journal(data)?;
    let pages = ask(&journal, "PRAGMA page_count")? - ask(&journal, "PRAGMA freelist_count")?;
    Some(pages * ask(&journal, "PRAGMA page_size")?)
}

fn available_bytes(path: &Path) -> u64 {
    let output = Command::new("df").args(["--output=avail", "-B1"]).arg(path).output().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().last().unwrap().trim().parse().unwrap()
}

fn fill(path: &Path, bytes: u64) {
    std::fs::write(path, vec![0; usize::try_from(bytes).unwrap()]).unwrap();
}
