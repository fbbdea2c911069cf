//! Each thing that happens to a log file, one at a time.

use std::fs::{OpenOptions, rename};
use std::io::Write;
use std::os::unix::fs::symlink;

use serde_json::Value;

use crate::support::{Receiver, Workplace, flag_line};

const CONFIG: &str = "
data_dir: DIR/data
sources:
  flipt: {type: file, path: PATH OPTIONS}
destinations:
  out: {type: webhook, url: 'URL', retry: {initial_backoff: 10ms, max_backoff: 50ms}}
routes:
  all: {when: {record: [event, unparsed, oversized, gap]}, to: [out]}
";

fn place(receiver: &Receiver, path: &str, options: &str) -> Workplace {
    let place = Workplace::new();
    std::fs::create_dir(place.path("log")).unwrap();
    place.configure(
        &CONFIG.replace("PATH", path).replace("OPTIONS", options).replace("URL", &receiver.url("/")),
    );
    place
}

fn line(mark: &str) -> String {
    flag_line("checkout", mark) + "\n"
}

fn marks(receiver: &Receiver) -> Vec<String> {
    receiver.envelopes().iter().map(mark).collect()
}

/// What a line was marked with, or the type of a record that is no event.
fn mark(envelope: &Value) -> String {
    match envelope["data"]["payload"]["description"].as_str() {
        Some(mark) => mark.to_owned(),
        None => envelope["type"].as_str().unwrap_or_default().to_owned(),
    }
}

#[test]
fn a_renamed_file_is_read_on_while_its_writer_holds_it_and_across_a_restart() {
    let receiver = Receiver::start();
    let place = place(&receiver, "DIR/log/audit.log", "");
    place.append("log/audit.log", line("a"));
    let mut writer = OpenOptions::new().append(true).open(place.path("log/audit.log")).unwrap();
    let relay = place.run();
    receiver.wait_for(1);
    rename(place.path("log/audit.log"), place.path("log/audit.log.1")).unwrap();
    writer.write_all(line("b").as_bytes()).unwrap();
    receiver.wait_for(2);
    assert!(relay.stop().status.success());
    writer.write_all(line("c").as_bytes()).unwrap();
    rename(place.path("log/audit.log.1"), place.path("log/audit.log.2")).unwrap();
    let relay = place.run();
    receiver.wait_for(3);
    writer.write_all(line("d").as_bytes()).unwrap();
    receiver.wait_for(4);
    place.append("log/audit.log", line("e"));
    receiver.wait_for(5);
    assert!(relay.stop().status.success());
    assert_eq!(marks(&receiver), ["a", "b", "c", "d", "e"]);
}

#[test]
fn what_copytruncate_took_away_unread_is_found_in_the_copy() {
    let receiver = Receiver::start();
    let place = place(&receiver, "DIR/log/audit.log", "");
    place.append("log/audit.log", line("a"));
    let relay = place.run();
    relay.wait_for_log("waiting for more");
    relay.kill();
    place.append("log/audit.log", line("b"));
    std::fs::copy(place.path("log/audit.log"), place.path("log/audit.log.1")).unwrap();
    place.write("log/audit.log", line("c"));
    let relay = place.run();
    receiver.wait_for(3);
    assert!(relay.stop().status.success());
    assert_eq!(marks(&receiver), ["a", "b", "c"]);
}

#[test]
fn what_is_gone_without_a_copy_is_a_gap() {
    let receiver = Receiver::start();
    let place = place(&receiver, "DIR/log/audit.log", "");
    place.append("log/audit.log", line("a"));
    let relay = place.run();
    receiver.wait_for(1);
    assert!(relay.stop().status.success());
    let from = std::fs::metadata(place.path("log/audit.log")).unwrap().len();
    place.append("log/audit.log", line("lost"));
    std::fs::remove_file(place.path("log/audit.log")).unwrap();
    place.append("log/audit.log", line("b"));
    let relay = place.run();
    receiver.wait_for(3);
    let exit = relay.stop();
    assert!(exit.log.contains("\"level\":\"ERROR\"") && exit.log.contains("gap:"), "{}", exit.log);
    let mut told = marks(&receiver);
    told.sort();
    assert_eq!(told, ["a", "audit_relay.gap", "b"]);
    let gap = receiver.envelopes().into_iter().find(|event| event["type"] == "audit_relay.gap").unwrap();
    assert_eq!(gap["data"]["from"], from);
    assert_eq!(gap["data"]["reason"], "missing");
    assert_eq!(gap["data"]["to"], Value::Null);
}

#[test]
fn a_directory_that_is_not_there_yet_is_waited_for() {
    let receiver = Receiver::start();
    let place = place(&receiver, "DIR/log/later/deep/audit.log", "");
    let relay = place.run();
    relay.wait_for_log("no file there yet");
    std::fs::create_dir_all(place.path("log/later/deep")).unwrap();
    place.append("log/later/deep/audit.log", line("a"));
    receiver.wait_for(1);
}

#[test]
fn a_symbolic_link_that_is_swapped_is_followed_and_the_old_target_read_on() {
    let receiver = Receiver::start();
    let place = place(&receiver, "DIR/log/current", "");
    place.append("log/one.log", line("a"));
    symlink("one.log", place.path("log/current")).unwrap();
    let _relay = place.run();
    receiver.wait_for(1);
    place.append("log/two.log", line("b"));
    symlink("two.log", place.path("log/next")).unwrap();
    rename(place.path("log/next"), place.path("log/current")).unwrap();
    receiver.wait_for(2);
    place.append("log/one.log", line("c"));
    receiver.wait_for(3);
    assert_eq!(marks(&receiver), ["a", "b", "c"]);
}

#[test]
fn globs_take_new_files_and_leave_rotated_copies() {
    let receiver = Receiver::start();
    let place = place(&receiver, "'DIR/log/*.log*'", "");
    place.append("log/one.log", line("a"));
    place.append("log/one.log.1", line("old"));
    place.append("log/one.log-20261122", line("older"));
    place.append("log/one.log.2.gz", line("oldest"));
    let _relay = place.run();
    receiver.wait_for(1);
    place.append("log/two.log", line("b"));
    receiver.wait_for(2);
    assert_eq!(marks(&receiver), ["a", "b"]);
}

#[test]
fn an_unfinished_line_waits_for_its_end() {
    let receiver = Receiver::start();
    let place = place(&receiver, "DIR/log/audit.log", "");
    let whole = line("a");
    place.append("log/audit.log", &whole[..50]);
    let relay = place.run();
    place.append("log/audit.log", &whole[50..]);
    receiver.wait_for(1);
    place.append("log/audit.log", &line("b")[..70]);
    assert!(relay.stop().status.success());
    let relay = place.run();
    place.append("log/audit.log", &line("b")[70..]);
    receiver.wait_for(2);
    assert!(relay.stop().status.success());
    assert_eq!(marks(&receiver), ["a", "b"]);
}

#[test]
fn what_is_too_long_or_cannot_be_read_is_kept_and_told_and_the_stream_goes_on() {
    let receiver = Receiver::start();
    let place = place(&receiver, "DIR/log/audit.log", ", max_event: 100KiB");
    let mut content = line("a").into_bytes();
    content.extend_from_slice(line(&"x".repeat(200_000)).as_bytes());
    content.extend_from_slice(b"{\"version\":\"0.2\",\"type\":\"flag\xff\"}\n");
    content.extend_from_slice(b"{\"version\":\"0.2\",\"type\":\"fl\n");
    content.extend_from_slice(b"\n");
    content.extend_from_slice(line("b").as_bytes());
    place.append("log/audit.log", content);
    let _relay = place.run();
    receiver.wait_for(5);
    assert_eq!(
        marks(&receiver),
        ["a", "audit_relay.oversized", "audit_relay.unparsed", "audit_relay.unparsed", "b"]
    );
    let oversized = &receiver.envelopes()[1];
    assert_eq!(oversized["data"]["length_bytes"], line(&"x".repeat(200_000)).len() as u64 - 1);
}

#[test]
fn reading_can_begin_at_the_end_of_what_is_there_on_the_first_start_only() {
    let receiver = Receiver::start();
    let place = place(&receiver, "DIR/log/audit.log", ", read_from: end");
    place.append("log/audit.log", line("before"));
    let relay = place.run();
    relay.wait_for_log("waiting for more");
    place.append("log/audit.log", line("a"));
    receiver.wait_for(1);
    assert!(relay.stop().status.success());
    place.append("log/audit.log", line("b"));
    let _relay = place.run();
    receiver.wait_for(2);
    assert_eq!(marks(&receiver), ["a", "b"]);
}

#[test]
fn lines_of_a_container_runtime_are_unwrapped_and_joined() {
    let receiver = Receiver::start();
    let place = place(&receiver, "DIR/log/0.log", ", framing: cri");
    let time = "2026-11-22T07:32:30.123456789Z";
    let (a, b) = (flag_line("checkout", "a"), flag_line("checkout", "b"));
    place.append("log/0.log", format!("{time} stdout F {a}\n{time} stdout P {}\n", &b[..40]));
    let relay = place.run();
    receiver.wait_for(1);
    assert!(relay.stop().status.success());
    let request = "2026-11-22T07:32:30Z\\tINFO\\tfinished call";
    place.append("log/0.log", format!("{time} stderr F {request}\n{time} stdout F {}\n", &b[40..]));
    let _relay = place.run();
    receiver.wait_until("both parts joined", |received| {
        received.iter().flat_map(|request| request.envelopes()).any(|event| mark(&event) == "b")
    });
}

#[test]
fn the_application_log_is_counted_and_not_kept() {
    let receiver = Receiver::start();
    let place = place(&receiver, "DIR/log/stdout.log", "");
    let app = "2026-11-22T07:32:30Z\tINFO\tfinished unary call\t{\"grpc.code\": \"OK\"}\n";
    let json = "{\"L\":\"INFO\",\"T\":\"2026-11-22T07:32:30Z\",\"M\":\"finished unary call\"}\n";
    place.append("log/stdout.log", format!("{app}{json}{}{app}", line("a")));
    let relay = place.run();
    receiver.wait_for(1);
    assert!(relay.stop().status.success());
    assert_eq!(marks(&receiver), ["a"]);
}

#[test]
fn where_notifications_are_not_wanted_the_relay_looks_for_changes() {
    let receiver = Receiver::start();
    let place = place(&receiver, "DIR/log/audit.log", ", watch: poll, poll_interval: 20ms");
    let relay = place.run();
    place.append("log/audit.log", line("a"));
    receiver.wait_for(1);
    rename(place.path("log/audit.log"), place.path("log/audit.log.1")).unwrap();
    place.append("log/audit.log", line("b"));
    receiver.wait_for(2);
    assert!(relay.log().contains("looking for changes every 20ms"));
}

#[test]
fn a_copy_that_was_made_when_less_had_been_written_is_no_gap_and_no_news() {
    let receiver = Receiver::start();
    let place = place(&receiver, "DIR/log/audit.log", "");
    let app = "{\"L\":\"INFO\",\"T\":\"2026-11-22T07:32:30Z\",\"M\":\"finished unary call\"}\n";
    place.append("log/audit.log", line("a") + &line("b") + app);
    let relay = place.run();
    relay.wait_for_log("waiting for more");
    std::fs::copy(place.path("log/audit.log"), place.path("log/audit.log.1")).unwrap();
    place.append("log/audit.log", line("c"));
    receiver.wait_for(3);
    let file = OpenOptions::new().write(true).open(place.path("log/audit.log")).unwrap();
    file.set_len(0).unwrap();
    place.append("log/audit.log", line("d"));
    receiver.wait_for(4);
    assert!(relay.stop().status.success());
    let relay = place.run();
    relay.wait_for_log("waiting for more");
    assert!(relay.stop().status.success());
    assert_eq!(marks(&receiver), ["a", "b", "c", "d"]);
}

#[test]
fn files_of_other_programs_beside_the_log_are_left_alone() {
    let receiver = Receiver::start();
    let place = place(&receiver, "DIR/log/audit.log", "");
    place.append("log/audit.log", line("a"));
    let relay = place.run();
    relay.wait_for_log("waiting for more");
    place.append("log/audit.log.pos", "/var/log/audit.log 00000010\n");
    place.append("log/audit.log.2", "{\"not\":\"of Flipt\"}\n");
    place.append("log/audit.log", line("b"));
    receiver.wait_for(2);
    assert!(relay.stop().status.success());
    assert_eq!(marks(&receiver), ["a", "b"]);
}

#[test]
fn a_rotated_file_that_was_let_go_is_read_on_when_it_grows_again() {
    let receiver = Receiver::start();
    let place = place(&receiver, "DIR/log/audit.log", ", rotated_idle: 10ms");
    place.append("log/audit.log", line("a"));
    let relay = place.run();
    relay.wait_for_log("waiting for more");
    rename(place.path("log/audit.log"), place.path("log/audit.log.1")).unwrap();
    place.append("log/audit.log", line("b"));
    receiver.wait_for(2);
    let held = || {
        let open = std::fs::read_dir(format!("/proc/{}/fd", relay.id())).unwrap().filter_map(Result::ok);
        open.filter_map(|entry| std::fs::read_link(entry.path()).ok())
            .any(|path| path.ends_with("audit.log.1"))
    };
    crate::support::eventually("the rotated file is let go", || (!held()).then_some(()));
    place.append("log/audit.log.1", line("c"));
    receiver.wait_for(3);
    assert_eq!(marks(&receiver), ["a", "b", "c"]);
}

#[test]
fn one_file_that_cannot_be_read_stalls_no_other() {
    let receiver = Receiver::start();
    let place = place(&receiver, "'DIR/log/*.log'", "");
    symlink("/proc/self/mem", place.path("log/a.log")).unwrap();
    std::fs::create_dir(place.path("log/c.log")).unwrap();
    place.append("log/b.log", line("b"));
    let relay = place.run();
    receiver.wait_for(1);
    place.append("log/b.log", line("c"));
    receiver.wait_for(2);
    let exit = relay.stop();
    assert!(exit.status.success());
    assert!(exit.log.contains("a.log cannot be read"), "{}", exit.log);
}

#[test]
fn a_directory_that_is_swapped_behind_a_link_is_seen() {
    let receiver = Receiver::start();
    let place = place(&receiver, "DIR/log/current/audit.log", "");
    place.write("log/one/audit.log", line("a"));
    symlink("one", place.path("log/current")).unwrap();
    let relay = place.run();
    relay.wait_for_log("waiting for more");
    place.write("log/two/audit.log", line("b"));
    symlink("two", place.path("log/next")).unwrap();
    rename(place.path("log/next"), place.path("log/current")).unwrap();
    place.append("log/two/audit.log", line("c"));
    receiver.wait_for(3);
    assert_eq!(marks(&receiver), ["a", "b", "c"]);
}
