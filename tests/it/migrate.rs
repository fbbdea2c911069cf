//! From Flipt's own webhook sink to a relay.

use std::io::Write as _;
use std::process::Stdio;

use crate::support::{Receiver, Workplace, flag_line};

const FLIPT: &str = "
audit:
  sinks:
    webhook:
      enabled: true
      url: URL
      signing_secret: PLANTED-secret
      max_backoff_duration: 10s
  events: ['flag:*']
";

#[test]
fn what_it_prints_is_right_and_sends_what_flipt_sent() {
    let receiver = Receiver::start();
    let place = Workplace::new();
    place.write("flipt.yml", FLIPT.replace("URL", &receiver.url("/hook")));
    let output = place.command(&["migrate", "flipt.yml"]).output().unwrap();
    assert!(output.status.success());
    let yaml = String::from_utf8(output.stdout).unwrap();
    assert!(!yaml.contains("PLANTED"), "{yaml}");
    let here = place.directory().to_str().unwrap();
    let yaml = yaml.replace("/var/log/flipt", here).replace("  url: \"http://127.0.0.1:8080\"", "  {}");
    let more = format!(
        "data_dir: {here}/data\nhealth: {{listen: '127.0.0.1:0'}}\nadmin: {{listen: '127.0.0.1:0'}}\n"
    );
    place.write("relay.yaml", yaml + &more);
    let secret = ("FLIPT_AUDIT_SINKS_WEBHOOK_SIGNING_SECRET", "PLANTED-secret");
    let check = place.command(&["check", "-c", "relay.yaml"]).envs([secret]).output().unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
    place.append("audit.log", flag_line("checkout", "on") + "\n");
    let relay = place.start(&[secret]);
    let received = receiver.wait_for(1);
    assert!(received[0].header("x-flipt-webhook-signature").is_some_and(|signature| signature.len() == 64));
    assert_eq!(received[0].json()["payload"]["key"], "checkout");
    assert!(relay.stop().status.success());
}

#[test]
fn how_it_ends_tells_how_it_went() {
    let place = Workplace::new();
    let run = |text: &str| {
        let mut child = place.command(&["migrate", "-"]);
        let mut child =
            child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(run("version: '1.0'").0, 0);
    let (code, said) = run("audit: {events: ['flg:*']}");
    assert_eq!(code, 1);
    assert!(said.starts_with("by hand: audit.events names"), "{said}");
    let (code, said) = run("version: '2.0'");
    assert_eq!(code, 2);
    assert!(said.contains("Flipt v2"), "{said}");
    assert_eq!(place.command(&["migrate", "none.yml"]).output().unwrap().status.code(), Some(2));
}
