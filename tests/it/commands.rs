//! The command line: exit codes, what is said, and what a stranger's environment does to it.

use crate::support::{Receiver, Relay, Workplace, flag_line};

fn place(receiver: &Receiver) -> Workplace {
    let place = Workplace::new();
    place.configure(&format!(
        "
data_dir: DIR/data
sources:
  flipt: {{type: file, path: DIR/audit.log}}
destinations:
  out: {{type: webhook, url: '{}'}}
routes:
  all: {{to: [out]}}
",
        receiver.url("/")
    ));
    place
}

#[test]
fn service_variables_of_kubernetes_do_not_disturb_and_our_own_do_work() {
    let receiver = Receiver::start();
    let place = place(&receiver);
    place.append("audit.log", flag_line("checkout", "a") + "\n");
    let relay = place.start(&[
        ("AUDIT_RELAY_SERVICE_HOST", "10.96.0.12"),
        ("AUDIT_RELAY_SERVICE_PORT", "8787"),
        ("AUDIT_RELAY_SERVICE_PORT_INTAKE", "8787"),
        ("AUDIT_RELAY_PORT", "tcp://10.96.0.12:8787"),
        ("AUDIT_RELAY_PORT_8787_TCP", "tcp://10.96.0.12:8787"),
        ("AUDIT_RELAY_PORT_8787_TCP_PROTO", "tcp"),
        ("AUDIT_RELAY_PORT_8787_TCP_PORT", "8787"),
        ("AUDIT_RELAY_PORT_8787_TCP_ADDR", "10.96.0.12"),
        ("AUDIT_RELAY__LOG__LEVEL", "debug"),
    ]);
    receiver.wait_for(1);
    assert!(relay.stop().status.success());
}

#[test]
fn wrong_configuration_and_usage_end_with_2_and_say_everything_at_once() {
    let place = Workplace::new();
    place.write(
        "bad.yaml",
        "sources:\n  flipt: {type: file, pth: /var/log/flipt/audit.log}\ndestinations:\n  out: {type: webhok, url: x}\nroutes:\n  all: {to: [outt]}\nshutdown_timeout: soon\n",
    );
    for command in ["run", "check"] {
        let output = place.command(&[command, "-c", "bad.yaml"]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{command}");
        let said =
            String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        for wanted in ["bad.yaml:2", "pth", "bad.yaml:4", "webhook", "bad.yaml:7", "shutdown_timeout"] {
            assert!(said.contains(wanted), "{command} does not say {wanted}:\n{said}");
        }
    }
    assert_eq!(place.command(&["fly"]).output().unwrap().status.code(), Some(2));
    assert_eq!(place.command(&["run", "-c", "nowhere.yaml"]).output().unwrap().status.code(), Some(2));
}

#[test]
fn a_sample_that_goes_elsewhere_fails_the_check_and_stops_no_relay() {
    let receiver = Receiver::start();
    let place = Workplace::new();
    let configuration = |to: &str| {
        format!(
            "
data_dir: DIR/data
sources:
  flipt: {{type: file, path: DIR/audit.log}}
destinations:
  out: {{type: webhook, url: '{}', redact: {{drop: [actor.ip], mask: [description]}}}}
  screen: {{type: console}}
routes:
  flags: {{when: {{types: flag}}, to: [out]}}
  tokens: {{when: {{types: token}}, to: [screen]}}
tests:
  - {{name: flags, event: {{type: flag, action: updated, payload: {{key: a}}}}, to: {to}}}
",
            receiver.url("/")
        )
    };
    place.configure(&configuration("screen"));
    let output = place.command(&["check", "-c", "relay.yaml"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    for wanted in [
        "relay.yaml:12:76: tests[0].to: `flags`: `out` gets it: route `flags` takes it",
        "`flags`: `screen` does not get it: route `tokens`: `types` asks for token, and this is flag",
        "2 problems",
    ] {
        assert!(said.contains(wanted), "{said}");
    }
    place.append("audit.log", flag_line("checkout", "a secret plan") + "\n");
    let relay = place.run();
    receiver.wait_for(1);
    assert!(relay.stop().status.success());
    let body = String::from_utf8(receiver.received()[0].body.clone()).unwrap();
    assert!(body.contains("\"description\":\"[redacted]\"") && !body.contains("a secret plan"), "{body}");
    assert!(!body.contains("\"ip\""), "{body}");

    place.configure(&configuration("out"));
    let output = place.command(&["check", "-c", "relay.yaml"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).ends_with("2 routes, 1 test\n"));
}

#[test]
fn a_missing_secret_blocks_only_its_destination() {
    let receiver = Receiver::start();
    let place = Workplace::new();
    place.configure(&format!(
        "
data_dir: DIR/data
sources:
  flipt: {{type: file, path: DIR/audit.log}}
destinations:
  out: {{type: webhook, url: '{0}'}}
  sealed: {{type: webhook, url: '{0}', signing: [{{scheme: flipt, secrets: [{{file: DIR/nowhere}}]}}]}}
routes:
  all: {{to: [out, sealed]}}
",
        receiver.url("/")
    ));
    place.append("audit.log", flag_line("checkout", "a") + "\n");
    let relay = place.run();
    receiver.wait_for(1);
    let exit = relay.stop();
    assert!(exit.log.contains("sealed") && exit.log.contains("nowhere"), "{}", exit.log);
    assert_eq!(receiver.received().len(), 1);
}

#[test]
fn import_takes_in_what_was_missed_and_passes_over_what_is_known() {
    let receiver = Receiver::start();
    let place = place(&receiver);
    let lines = |range: std::ops::Range<u32>| -> String {
        range.map(|index| flag_line("checkout", &index.to_string()) + "\n").collect()
    };
    place.append("audit.log", lines(0..3));
    place.append("old.log", lines(10..14));
    let relay = place.run();
    receiver.wait_for(3);

    assert!(relay.stop().status.success());

    let import = |file: &str, more: &[&str]| {
        let mut arguments = vec!["import", file, "--source", "flipt", "-c", "relay.yaml"];
        arguments.extend(more);
        let output = place.command(&arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(import("audit.log", &[]).starts_with("0 new records, 3 were journaled before"));
    assert!(import("old.log", &[]).starts_with("4 new records, 0 were journaled before"));
    assert!(import("old.log", &[]).starts_with("0 new records, 4 were journaled before"));
    assert_eq!(receiver.received().len(), 7);

    // Ids are those that tailing would have given.
    let copy = self::place(&receiver);
    copy.append("audit.log", lines(10..14));
    let relay = copy.run();
    let received = receiver.wait_for(11);
    assert!(relay.stop().status.success());
    let id = |index: usize| received[index].header("webhook-id").unwrap();
    assert_eq!((3..7).map(id).collect::<Vec<_>>(), (7..11).map(id).collect::<Vec<_>>());

    place.append("older.log", lines(20..22));
    assert!(import("older.log", &["--journal-only"]).starts_with("2 new records"));
    let relay = place.run();
    relay.wait_for_log("waiting for more");
    assert!(relay.stop().status.success());
    assert_eq!(receiver.received().len(), 11);

    let unknown =
        place.command(&["import", "old.log", "--source", "flip", "-c", "relay.yaml"]).output().unwrap();
    assert_eq!(unknown.status.code(), Some(2));
}

#[test]
fn a_second_relay_waits_for_the_first_to_end() {
    let receiver = Receiver::start();
    let place = place(&receiver);
    let first = place.run();
    let second: Relay = place.start(&[]);
    second.wait_for_log("waiting");
    assert!(first.stop().status.success());
    second.wait_for_log("\"ready\"");
    place.append("audit.log", flag_line("checkout", "a") + "\n");
    receiver.wait_for(1);
    assert!(second.stop().status.success());
}

#[test]
fn a_file_of_one_line_without_an_end_can_be_imported() {
    let receiver = Receiver::start();
    let place = place(&receiver);
    place.append("one.log", flag_line("checkout", "a"));
    let output =
        place.command(&["import", "one.log", "--source", "flipt", "-c", "relay.yaml"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.starts_with("1 new records"), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(receiver.received().len(), 1);
}

#[test]
fn standard_variables_that_are_not_understood_are_told_and_stop_nothing() {
    let receiver = Receiver::start();
    let place = place(&receiver);
    place.append("audit.log", flag_line("checkout", "a") + "\n");
    // Nothing listens there: port 9 is that of `discard`.
    let variables = [
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:9/s3cret"),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "no address at all, s3cret"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization Bearer s3cret"),
        ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
    ];
    let told = [
        "environment variable OTEL_EXPORTER_OTLP_METRICS_ENDPOINT: not an http or https address; metrics are not sent",
        "environment variable OTEL_EXPORTER_OTLP_HEADERS: an entry is not `name=value`; it is left out",
        "environment variable OTEL_TRACES_SAMPLER: `jaeger_remote` is not a sampler that there is here; it is ignored",
    ];
    let check = place.command(&["check", "-c", "relay.yaml"]).envs(variables).output().unwrap();
    let said = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(check.status.success(), "{said}");
    let mut alone = place.command(&["check", "-c", "relay.yaml", "--no-environment"]);
    let said_alone = String::from_utf8_lossy(&alone.envs(variables).output().unwrap().stdout).into_owned();
    let relay = place.start(&variables);
    receiver.wait_for(1);
    let ended = relay.stop();
    assert!(ended.status.success());
    for wanted in told {
        assert!(said.contains(&format!("warning: {wanted}\n")), "{wanted}:\n{said}");
        assert!(ended.log.contains(wanted), "{wanted}:\n{}", ended.log);
    }
    assert!(!said_alone.contains("OTEL_"), "{said_alone}");
    assert!(!said.contains("s3cret") && !ended.log.contains("s3cret"), "{said}{}", ended.log);
}
