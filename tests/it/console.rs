//! The newcomer's first minute: the quick start, as README tells it.

use std::path::Path;

use crate::support::{Relay, Workplace};

/// A workplace that looks like a fresh clone, as far as the quick start goes.
fn clone() -> Workplace {
    let place = Workplace::new();
    for name in ["quickstart.yaml", "sample-audit.log"] {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name);
        place.write(&format!("config/{name}"), std::fs::read(from).unwrap());
    }
    place
}

fn run(place: &Workplace) -> Relay {
    Relay::spawn(place.command(&["run", "--config", "config/quickstart.yaml"]))
}

#[test]
fn the_sample_shows_and_an_appended_line_follows() {
    let place = clone();
    let relay = run(&place);
    relay.wait_for_log("paste in another terminal");
    let log = relay.log();
    let command = log.split("another terminal: ").nth(1).unwrap().split('"').next().unwrap().to_owned();
    relay.wait_for_stdout("deleted flag old-banner");
    let shown = relay.stdout().lines().count();
    let sample = std::fs::read_to_string(place.path("config/sample-audit.log")).unwrap();
    assert_eq!(shown, sample.lines().count());
    for noun in
        ["constraint", "distribution", "flag", "namespace", "rollout", "rule", "segment", "token", "variant"]
    {
        assert!(sample.contains(&format!("\"type\":\"{noun}\"")), "the sample has no {noun}");
    }
    let status = std::process::Command::new("sh")
        .args(["-c", &command])
        .current_dir(place.directory())
        .status()
        .unwrap();
    assert!(status.success(), "{command}");
    crate::support::eventually("the appended line shows", || {
        (relay.stdout().lines().count() == shown + 1).then_some(())
    });
    assert!(relay.stop().status.success());

    let relay = run(&place);
    relay.wait_for_log("nothing new since the last run");
    assert_eq!(relay.stop().stdout, "");
}
