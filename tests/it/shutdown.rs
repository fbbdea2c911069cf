//! How the relay ends.

use crate::support::{Receiver, Reply, Workplace, flag_line};

fn place(receiver: &Receiver, more: &str) -> Workplace {
    let place = Workplace::new();
    place.configure(&format!(
        "
data_dir: DIR/data
{more}
sources:
  flipt: {{type: file, path: DIR/audit.log, watch: poll, poll_interval: 1h}}
destinations:
  out: {{type: webhook, url: '{}', retry: {{initial_backoff: 1h, max_backoff: 1h}}}}
routes:
  all: {{to: [out]}}
",
        receiver.url("/")
    ));
    place
}

#[test]
fn the_last_lines_go_out_before_the_end() {
    let receiver = Receiver::start();
    let place = place(&receiver, "");
    let relay = place.run();
    relay.wait_for_log("waiting for more");
    // It looks once an hour: only the last look at shutdown can find these.
    place.append("audit.log", format!("{}\n{}\n", flag_line("checkout", "a"), flag_line("checkout", "b")));
    let exit = relay.stop();
    assert!(exit.status.success());
    assert_eq!(receiver.received().len(), 2);
    assert!(exit.log.contains("stopped; nothing waits"), "{}", exit.log);
}

#[test]
fn files_are_kept_open_longer_where_flipt_ends_at_the_same_moment() {
    let receiver = Receiver::start();
    let place = place(&receiver, "shutdown_keep_reading: 2s");
    let relay = place.run();
    relay.wait_for_log("waiting for more");
    relay.signal("TERM");
    relay.wait_for_log("stopping");
    place.append("audit.log", flag_line("checkout", "a") + "\n");
    assert!(relay.wait().status.success());
    assert_eq!(receiver.received().len(), 1);
}

#[test]
fn what_cannot_be_delivered_in_time_is_said_and_goes_out_after_the_next_start() {
    let receiver = Receiver::scripted(|number, _| Reply::status(if number < 2 { 503 } else { 200 }));
    let place = place(&receiver, "shutdown_timeout: 1s");
    place.append("audit.log", format!("{}\n{}\n", flag_line("checkout", "a"), flag_line("checkout", "b")));
    let relay = place.run();
    relay.wait_for_log("trying again");
    let exit = relay.stop();
    assert!(exit.status.success());
    assert!(exit.log.contains("2 records wait for out"), "{}", exit.log);
    let relay = place.run();
    // Draining cuts its wait of an hour short.
    let exit = relay.stop();
    assert!(exit.log.contains("stopped; nothing waits"), "{}", exit.log);
    assert_eq!(receiver.envelopes().len(), 2);
}

#[test]
fn an_output_that_nobody_reads_does_not_keep_the_process() {
    let place = Workplace::new();
    place.configure(
        "
data_dir: DIR/data
shutdown_timeout: 1s
sources:
  flipt: {type: file, path: DIR/audit.log}
destinations:
  screen: {type: console}
routes:
  all: {to: [screen]}
",
    );
    let lines: String = (0..2_000).map(|index| flag_line("checkout", &index.to_string()) + "\n").collect();
    place.append("audit.log", lines);
    let mut command = place.command(&["run", "--config", "relay.yaml"]);
    let (_unread, stdout) = std::io::pipe().unwrap();
    let mut child = command.stdout(stdout).stderr(std::process::Stdio::null()).spawn().unwrap();
    crate::support::eventually("it blocks on its output", || {
        let journal = std::fs::metadata(place.path("data/journal.db-wal")).ok()?;
        (journal.len() > 100_000).then_some(())
    });
    let status = std::process::Command::new("kill").args(["-s", "TERM", &child.id().to_string()]).status();
    assert!(status.unwrap().success());
    let status = crate::support::eventually("it ends", || child.try_wait().unwrap());
    assert!(status.success());
}

#[test]
fn a_second_signal_ends_at_once() {
    let receiver = Receiver::scripted(|_, _| Reply::Hang);
    let place = place(&receiver, "");
    place.append("audit.log", flag_line("checkout", "a") + "\n");
    let relay = place.run();
    receiver.wait_for(1);
    relay.signal("TERM");
    relay.wait_for_log("stopping");
    let exit = relay.insist("TERM");
    assert_eq!(exit.status.code(), Some(1));
    assert!(exit.log.contains("a second signal"), "{}", exit.log);
}
