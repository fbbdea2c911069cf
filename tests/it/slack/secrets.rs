//! The webhook's address and the bot's token show nowhere, whatever Slack answers.

use super::{accesses, edits};
use crate::support::slack::{Mood, TOKEN, WEBHOOK};
use crate::support::{FakeSlack, Workplace};

#[test]
fn no_output_tells_the_webhook_or_the_token() {
    // What careless proxies answer: all that they were sent.
    let [by_webhook, by_bot] = [FakeSlack::start(), FakeSlack::start()];
    let ([webhook, _], [_, bot]) = (accesses(&by_webhook), accesses(&by_bot));
    by_webhook.next(Mood::Odd(format!("POST {} {WEBHOOK}", by_webhook.webhook_url())));
    by_bot.next(Mood::Odd(format!(
        "{{\"ok\":false,\"error\":\"no {TOKEN}\",\"authorization\":\"Bearer {TOKEN}\"}}"
    )));
    for slack in [&by_webhook, &by_bot] {
        slack.next(Mood::Refuses("invalid_blocks"));
    }
    let place = Workplace::new();
    let quick = "group_wait: 10ms, deliver_since: beginning, retry: {initial_backoff: 1ms, max_backoff: 1ms}";
    place.configure(&format!(
        "
data_dir: DIR/data
log: {{level: trace}}
sources:
  flipt: {{type: file, path: DIR/audit.log}}
destinations:
  webhook: {{type: slack, {webhook}, {quick}}}
  bot: {{type: slack, {bot}, {quick}}}
  refused: {{type: slack, webhook_url: 'http://127.0.0.1:1{WEBHOOK}', {quick}}}
routes:
  all: {{to: [webhook, bot, refused]}}
shutdown_timeout: 0s
"
    ));
    place.append("audit.log", edits(2));
    let relay = place.run();
    by_webhook.wait_for(2);
    by_bot.wait_for(2);
    relay.wait_for_log("\"destination\":\"refused\"");
    let mut outputs = Vec::new();
    let mut run = |arguments: &[&str], what: &'static str| {
        let output = place.command(arguments).args(["-c", "relay.yaml"]).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        outputs.push((what, String::from_utf8_lossy(&text).into_owned()));
    };
    run(&["status"], "status");
    run(&["status", "--json"], "status as JSON");
    run(&["dead-letters", "list", "--json"], "dead letters");
    run(&["explain", "audit.log", "--allow-inline-secrets"], "explain");
    run(&["explain", "audit.log", "--json", "--allow-inline-secrets"], "explain as JSON");
    run(&["send-test", "webhook", "--allow-inline-secrets"], "send-test");
    run(&["send-test", "bot", "--allow-inline-secrets"], "send-test");
    run(&["send-test", "refused", "--allow-inline-secrets"], "send-test");
    run(&["check"], "check");
    run(&["check", "--show-defaults", "--allow-inline-secrets"], "check with defaults");
    for letter in place.dead_letters() {
        let id = letter["id"].as_str().unwrap().to_owned();
        run(&["dead-letters", "show", &id], "a dead letter");
    }
    let exit = relay.stop();
    outputs.extend([("log", exit.log), ("stdout", exit.stdout)]);
    for (what, text) in &outputs {
        let line = text.lines().find(|line| line.contains("PLANTED"));
        assert_eq!(line, None, "{what}");
    }
    let journal = std::fs::read(place.path("data/journal.db")).unwrap();
    assert!(!journal.windows(7).any(|window| window == b"PLANTED"), "the journal holds a secret");
}
