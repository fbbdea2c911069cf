//! A story of edits, of all types and actions, told by the real process: sentences and changes as people and
//! machines get them.
//!
//! `UPDATE_GOLDEN=1 cargo test --test it story` writes the golden file; then it is to be read, aloud.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;

use crate::support::{Relay, Workplace, eventually};

const STORY: &str = include_str!("../fixtures/story.log");

fn place() -> Workplace {
    let place = Workplace::new();
    place.write("audit.log", STORY);
    place.configure(
        "
data_dir: DIR/data
environments:
  production: [production, 'prod-*']
  staging: [staging]
sources:
  flipt: {type: file, path: DIR/audit.log}
destinations:
  screen: {type: console}
  archive: {type: file, path: DIR/archive.ndjson}
routes:
  all: {to: [screen, archive]}
",
    );
    place
}

/// Runs until the archive holds so many lines.
fn told(place: &Workplace, relay: &Relay, lines: usize) -> Vec<Value> {
    let archive = eventually("the archive is written", || {
        let text = std::fs::read_to_string(place.path("archive.ndjson")).unwrap_or_default();
        (text.ends_with('\n') && text.lines().count() == lines).then_some(text)
    });
    eventually("the screen shows it all", || (relay.stdout().lines().count() == lines).then_some(()));
    archive.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// One envelope as the golden file shows it: the sentence as the console has it, then what machines get.
fn shown(line: &str, envelope: &Value, text: &mut String) {
    let change = &envelope["change"];
    let _ = writeln!(text, "{line}");
    assert!(line.ends_with(envelope["summary"].as_str().unwrap()), "{line}");
    let _ = write!(text, "    {}", envelope["type"].as_str().unwrap().trim_start_matches("flipt."));
    for name in ["kind", "live", "changed"] {
        let _ = write!(text, " {name}={}", change[name]);
    }
    let _ = writeln!(text);
    for name in ["without_before", "before_seen_at", "before_from", "late", "closed", "moved"] {
        if !change[name].is_null() {
            let _ = writeln!(text, "    {name}: {}", change[name]);
        }
    }
    for difference in change["differences"].as_array().into_iter().flatten() {
        let side = |name: &str| difference.get(name).map_or("nothing".to_owned(), ToString::to_string);
        let _ = writeln!(
            text,
            "    {}: {} -> {}",
            difference["pointer"].as_str().unwrap(),
            side("old"),
            side("new")
        );
    }
}

#[test]
fn a_story_is_told_fit_to_be_said_aloud() {
    let place = place();
    let relay = place.run();
    let lines = STORY.lines().count();
    let envelopes = told(&place, &relay, lines);
    let screen = relay.stop().stdout;
    let mut text = String::new();
    let mut set = String::new();
    for (line, envelope) in screen.lines().zip(&envelopes) {
        let own = envelope["change_set"].as_str().unwrap_or_default();
        if own != set || own.is_empty() {
            text.push('\n');
        }
        own.clone_into(&mut set);
        shown(line, envelope, &mut text);
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/story.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    for (number, (line, golden)) in text.lines().zip(golden.lines()).enumerate() {
        assert_eq!(line, golden, "line {} of {}", number + 1, path.display());
    }
    assert_eq!(text.lines().count(), golden.lines().count());
    for line in screen.lines() {
        assert!(!line.contains("-0000-4000-8000-"), "an id: {line}");
        assert!(!line.contains("10.1.2.") && !line.contains("127.0.0.1"), "an address: {line}");
    }
}

#[test]
fn a_replay_tells_the_very_same() {
    let place = place();
    let relay = place.run();
    let lines = STORY.lines().count();
    told(&place, &relay, lines);
    let output = place
        .command(&[
            "replay",
            "--destination",
            "archive",
            "--since",
            "2026-11-01T00:00:00Z",
            "--config",
            "relay.yaml",
        ])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let archive = eventually("the replay is written", || {
        let text = std::fs::read_to_string(place.path("archive.ndjson")).unwrap();
        (text.ends_with('\n') && text.lines().count() == 2 * lines).then_some(text)
    });
    let all: Vec<&str> = archive.lines().collect();
    let by_sequence = |half: &[&str]| {
        let mut half: Vec<String> = half.iter().map(ToString::to_string).collect();
        half.sort_by_key(|line| serde_json::from_str::<Value>(line).unwrap()["sequence"].as_u64());
        half
    };
    assert_eq!(by_sequence(&all[..lines]), by_sequence(&all[lines..]));
    relay.stop();
}
