//! Planted secrets show nowhere.

use crate::support::{Receiver, Reply, Workplace, flag_line};

#[test]
fn no_output_tells_a_secret() {
    // The receiver answers with what it was sent, as careless ones do.
    let receiver = Receiver::scripted(|number, request| match number {
        0 => Reply::Answer(500, Vec::new(), format!("{:?}", request.headers)),
        1 => Reply::Answer(400, Vec::new(), format!("{:?}", request.headers)),
        _ => Reply::status(200),
    });
    let place = Workplace::new();
    let url = receiver.url("/in?key=PLANTED-query").replace("http://", "http://user:PLANTED-password@");
    place.write("secret", "PLANTED-signing\n");
    place.configure(&format!(
        "
data_dir: DIR/data
log: {{level: trace}}
sources:
  flipt: {{type: file, path: DIR/audit.log}}
destinations:
  out:
    type: webhook
    url: {{env: HOOK_URL}}
    headers: {{x-api-key: {{env: API_KEY}}}}
    signing: [{{scheme: flipt, secrets: [{{file: DIR/secret}}]}}]
    retry: {{initial_backoff: 1ms, max_backoff: 1ms}}
  refused: {{type: webhook, url: 'http://user:PLANTED-refused@127.0.0.1:1/PLANTED-path?x=PLANTED-x', retry: {{initial_backoff: 1ms, max_backoff: 1ms}}}}
routes:
  all: {{to: [out, refused]}}
shutdown_timeout: 0s
"
    ));
    place.append("audit.log", format!("{}\n{}\n", flag_line("checkout", "a"), flag_line("checkout", "b")));
    let relay = place.start(&[("HOOK_URL", url.as_str()), ("API_KEY", "PLANTED-header")]);
    receiver.wait_for(3);
    relay.wait_for_log("\"destination\":\"refused\"");
    let exit = relay.stop();
    let mut outputs = vec![("log", exit.log), ("stdout", exit.stdout)];
    for arguments in [
        &["check", "-c", "relay.yaml"][..],
        &["check", "-c", "relay.yaml", "--show-defaults"],
        &["check", "-c", "relay.yaml", "--allow-inline-secrets"],
    ] {
        let output = place
            .command(arguments)
            .env("HOOK_URL", &url)
            .env("API_KEY", "PLANTED-header")
            .output()
            .unwrap();
        outputs.push(("check", String::from_utf8_lossy(&output.stdout).into_owned()));
        outputs.push(("check's errors", String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    for (what, text) in outputs {
        for (number, line) in text.lines().enumerate() {
            assert!(!line.contains("PLANTED"), "{what}, line {}: {line}", number + 1);
        }
    }
    let journal = std::fs::read(place.path("data/journal.db")).unwrap();
    assert!(!journal.windows(7).any(|window| window == b"PLANTED"), "the journal holds a secret");
}
