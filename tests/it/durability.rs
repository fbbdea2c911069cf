//! Nothing is delivered before it is on disk, and nothing is sent on before the last answer is: judged by
//! the order of system calls that strace saw, of a real process.
//!
//! Run by `.ci/run`, which installs strace.

mod judge;
mod trace;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use self::judge::{Examined, judge, judge_answers};
use crate::support::{Client, Receiver, Relay, Workplace, binary, flag_line};

/// Calls that move data in, out, or onto the disk.
const TRACED: &str = "trace=openat,read,readv,recvfrom,recvmsg,write,writev,pwrite64,pwritev,sendto,sendmsg,\
                      sendmmsg,fsync,fdatasync";
/// Lines that are there at the start, and lines that come while others are being delivered.
const BEFORE: usize = 10;
const DURING: usize = 30;
/// Pushes, by four clients.
const PUSHES: usize = 40;
/// Unlike anything else that a page of the journal holds.
const DESTINATION: &str = "the_traced_destination";

#[test]
#[ignore = "needs strace; run by .ci/run"]
fn durability_holds_by_the_order_of_system_calls() {
    let (examined, faults) = observe(Path::new(binary()));
    assert!(faults.is_empty(), "{faults:#?}");
    let all = BEFORE + DURING;
    assert_eq!(examined, Examined { requests: all, events: all, acknowledgements: all - 1 });
}

#[test]
#[ignore = "needs strace and builds the program once more; run by .ci/run"]
fn durability_is_found_wanting_without_syncs() {
    let (examined, faults) = observe(&unsynced_binary());
    let all = BEFORE + DURING;
    assert_eq!(examined, Examined { requests: all, events: all, acknowledgements: all - 1 });
    let of_events = faults.iter().filter(|fault| fault.contains("carries")).count();
    let of_acknowledgements = faults.iter().filter(|fault| fault.contains("the answer to")).count();
    assert_eq!((of_events, of_acknowledgements), (all, all - 1), "{faults:#?}");
}

#[test]
#[ignore = "needs strace; run by .ci/run"]
fn durability_of_pushes_comes_before_their_answers() {
    let (examined, faults) = observe_pushes(Path::new(binary()));
    assert!(faults.is_empty(), "{faults:#?}");
    assert_eq!(examined, Examined { requests: PUSHES, events: PUSHES, acknowledgements: PUSHES });
}

#[test]
#[ignore = "needs strace and builds the program once more; run by .ci/run"]
fn durability_of_pushes_is_found_wanting_without_syncs() {
    let (examined, faults) = observe_pushes(&unsynced_binary());
    assert_eq!(examined, Examined { requests: PUSHES, events: PUSHES, acknowledgements: PUSHES });
    assert_eq!(faults.len(), PUSHES, "{faults:#?}");
}

/// Pushes under strace, some of them at once, and judges what was seen.
fn observe_pushes(program: &Path) -> (Examined, Vec<String>) {
    let place = Workplace::new();
    place.configure(
        "
data_dir: DIR/data
sources: {push: {type: http, listen: '127.0.0.1:0', signing: none}}
",
    );
    let marks: Vec<String> = (0..PUSHES).map(|number| format!("mark-{number:04}")).collect();
    let relay = Relay::spawn(traced(program, &place));
    let address = relay.listens("push");
    let clients = marks.chunks(PUSHES / 4).map(|marks| {
        let marks = marks.to_vec();
        std::thread::spawn(move || {
            for mark in &marks {
                assert_eq!(Client::push(address, &[], flag_line(mark, mark)).ids().len(), 1);
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.join().unwrap();
    }
    let exit = relay.stop();
    assert!(exit.status.success(), "{}", exit.log);
    let text = std::fs::read_to_string(place.path("trace")).unwrap();
    assert!(text.contains("+++ exited with 0 +++"), "the trace ends early");
    judge_answers(&trace::parse(&text).unwrap(), &marks)
}

/// Relays some lines under strace, and judges what was seen.
fn observe(program: &Path) -> (Examined, Vec<String>) {
    let receiver = Receiver::start();
    let place = Workplace::new();
    let configuration = r"
data_dir: DIR/data
sources: {flipt: {type: file, path: DIR/audit.log}}
destinations: {NAME: {type: webhook, concurrency: 1, url: URL}}
routes: {all: {to: [NAME]}}
";
    place.configure(&configuration.replace("URL", &receiver.url("/")).replace("NAME", DESTINATION));
    let marks: Vec<String> = (0..BEFORE + DURING).map(|number| format!("mark-{number:04}")).collect();
    let line = |mark: &String| flag_line(mark, mark) + "\n";
    place.write("audit.log", marks[..BEFORE].iter().map(line).collect::<String>());

    let relay = Relay::spawn(traced(program, &place));
    relay.wait_for_log("\"ready\"");
    for (number, mark) in marks[BEFORE..].iter().enumerate() {
        // Some of them together, most of them while an earlier one is under way.
        place.append("audit.log", line(mark));
        if number % 3 == 0 {
            receiver.wait_for(number / 2 + 1);
        }
    }
    receiver.wait_for(marks.len());
    // strace holds the relay's standard error as well: when that has ended, the trace is whole.
    let exit = relay.stop();
    assert!(exit.status.success(), "{}", exit.log);

    let text = std::fs::read_to_string(place.path("trace")).unwrap();
    assert!(text.contains("+++ exited with 0 +++"), "the trace ends early");
    judge(&trace::parse(&text).unwrap(), &marks, DESTINATION)
}

/// `audit-relay run` under strace. `-D` makes strace the grandchild, so that the process that was started
/// is the relay itself and takes its signals.
fn traced(program: &Path, place: &Workplace) -> Command {
    let mut command = Command::new("strace");
    command
        .args(["-D", "-f", "-ttt", "-yy", "-v", "-s", "262144", "-e", TRACED, "-o"])
        .arg(place.path("trace"))
        .arg(program)
        .args(["run", "--config", "relay.yaml"])
        .current_dir(place.directory());
    command
}

/// The same program with `synchronous = OFF`: `AUDIT_RELAY_UNSYNCED`, or built beside the real one (which
/// takes minutes).
fn unsynced_binary() -> PathBuf {
    if let Some(path) = std::env::var_os("AUDIT_RELAY_UNSYNCED") {
        return path.into();
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("unsynced");
    let built = Command::new(env!("CARGO"))
        .args(["build", "--locked", "--bin", "audit-relay", "--features", "journal-unsynced", "--target-dir"])
        .arg(&target)
        .current_dir(root)
        .stdin(Stdio::null())
        .status()
        .unwrap();
    assert!(built.success());
    target.join("debug/audit-relay")
}
