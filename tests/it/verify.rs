//! Whether what was accepted still is what was accepted: every way to alter it is found, and the first record that
//! does not fit is named.

use std::path::{Path, PathBuf};
use std::process::Output;

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::support::{Receiver, Seeded, Workplace, flag_line};

/// A journal of twelve records, one of them unreadable, and two exports of it.
struct Evidence {
    place: Workplace,
    /// Of everything, and of one flag alone.
    exports: [Vec<String>; 2],
    /// `SEQUENCE:LINK` of its end.
    noted: String,
}

impl Evidence {
    fn new() -> Self {
        let place = Workplace::new();
        place.configure(
            "
data_dir: DIR/data
sources: {flipt: {type: file, path: DIR/audit.log}}
destinations: {archive: {type: file, path: DIR/archive.ndjson}}
routes: {all: {to: [archive]}}
",
        );
        let line = |number: usize| match number {
            6 => "\u{1b}[31mno event\n".to_owned(),
            _ => format!("{}\n", flag_line(["checkout", "search"][number % 2], &format!("text {number}"))),
        };
        place.append("audit.log", (0..12).map(line).collect::<String>());
        let relay = place.run();
        place.wait_for_standing("archive", &json!({"accepted": 12, "waiting": 0}));
        // Beside a relay that runs.
        let beside = place.verify(&[]);
        assert!(beside.status.success(), "{beside:?}");
        let chained = ["changes", "--format", "ndjson", "--with-chain"];
        let all = place.ask(&chained);
        let some = place.ask(&[&chained[..], &["--flag", "search"]].concat());
        place.ask(&["backup", "backup.db"]);
        assert!(relay.stop().status.success());
        let told = String::from_utf8(place.verify(&[]).stdout).unwrap();
        assert!(told.contains("12 records, 1 to 12: each digest and every link fits"), "{told}");
        let noted = told.split_once("nobody who writes the journal can: ").unwrap().1.trim().to_owned();
        let lines = |text: String| text.lines().map(str::to_owned).collect();
        Self { exports: [lines(all), lines(some)], place, noted }
    }

    /// A copy of the journal that somebody has worked on.
    fn altered(&self, work: &str) -> PathBuf {
        let path = self.place.path("altered.db");
        std::fs::copy(self.place.path("data/journal.db"), &path).unwrap();
        let conn = Connection::open(&path).unwrap();
        conn.execute_batch("PRAGMA foreign_keys = OFF").unwrap();
        conn.execute_batch(work).unwrap();
        path
    }

    fn exported(&self, lines: &[String]) -> PathBuf {
        self.place.write("altered.ndjson", lines.join("\n") + "\n")
    }
}

impl Workplace {
    fn verify(&self, arguments: &[&str]) -> Output {
        self.command(&["verify"]).args(["-c", "relay.yaml"]).args(arguments).output().unwrap()
    }

    /// Fails unless this is found not to fit, at this record, for this reason.
    #[track_caller]
    fn misfit(&self, path: &Path, arguments: &[&str], sequence: u64, why: &str) {
        let path = path.to_str().unwrap();
        let output = self.verify(&[&[path, "--json"][..], arguments].concat());
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(told["is_what_was_accepted"], false);
        assert_eq!(told["misfit"]["sequence"].as_u64().unwrap_or(0), sequence, "{told:#}");
        assert!(told["misfit"]["why"].as_str().unwrap().contains(why), "{told:#}");
        let output = self.verify(&[&[path][..], arguments].concat());
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(
            text.contains("NOT what was accepted")
                && (sequence == 0 || text.contains(&format!("record {sequence}"))),
            "{text}"
        );
    }

    #[track_caller]
    fn fits(&self, path: &Path, arguments: &[&str]) -> Value {
        let output = self.verify(&[&[path.to_str().unwrap(), "--json"][..], arguments].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

#[test]
fn whatever_is_done_to_a_journal_or_a_backup_is_found() {
    let evidence = Evidence::new();
    let place = &evidence.place;
    let backup = place.path("backup.db");
    assert_eq!(place.fits(&backup, &["--expect", &evidence.noted])["compared"], json!([12]));
    for (work, sequence, why) in [
        ("UPDATE records SET original = replace(CAST(original AS TEXT), 'text 4', 'text X') WHERE sequence = 5", 5, "type"),
        ("UPDATE records SET original = CAST(replace(CAST(original AS TEXT), 'text 4', 'text X') AS BLOB) WHERE sequence = 5", 5, "digest"),
        ("UPDATE records SET accepted_at = accepted_at + 1 WHERE sequence = 3", 3, "digest"),
        ("UPDATE records SET event_time = NULL WHERE sequence = 3", 3, "digest"),
        ("UPDATE records SET source = source + 1 WHERE sequence = 4", 4, "digest"),
        ("UPDATE records SET namespace = 'other' WHERE sequence = 4", 4, "digest"),
        ("UPDATE records SET entity_id = 'other' WHERE sequence = 4", 4, "digest"),
        ("UPDATE records SET kind = 1, detail = '{}' WHERE sequence = 4", 4, "digest"),
        ("UPDATE records SET digest = zeroblob(32) WHERE sequence = 9", 9, "digest"),
        ("UPDATE records SET chain = zeroblob(32) WHERE sequence = 9", 9, "does not follow"),
        ("DELETE FROM records WHERE sequence = 7", 7, "missing"),
        ("DELETE FROM records WHERE sequence BETWEEN 1 AND 3", 1, "missing"),
        ("DELETE FROM records WHERE sequence >= 11", 11, "missing"),
        ("DELETE FROM records WHERE sequence = 8; UPDATE records SET sequence = sequence - 1 WHERE sequence > 8", 8, "digest"),
        ("UPDATE records SET sequence = 100 WHERE sequence = 2; UPDATE records SET sequence = 2 WHERE sequence = 4;
          UPDATE records SET sequence = 4 WHERE sequence = 100", 2, "digest"),
        ("UPDATE records SET sequence = 13 WHERE sequence = 12", 12, "missing"),
        ("UPDATE records SET sequence = 0 WHERE sequence = 1", 0, "before the first"),
        // As if a damaged journal had lost it, told by a gap record that was made up.
        ("DELETE FROM records WHERE sequence = 6; INSERT OR REPLACE INTO meta (key, value) VALUES ('salvaged_through', 6);
          UPDATE records SET kind = 3, incarnation = NULL, original = CAST('{\"reason\":\"journal_damaged\",\"path\":null,\"from\":6,\"to\":7,\"message\":\"\"}' AS BLOB) WHERE sequence = 7", 7, "digest"),
        // As if retention had removed them, and one put in their place.
        ("DELETE FROM records WHERE sequence <= 4 AND sequence <> 2;
          UPDATE meta SET value = 4 WHERE key = 'removed_through';
          INSERT OR IGNORE INTO meta (key, value) VALUES ('removed_through', 4);
          INSERT OR REPLACE INTO meta (key, value) SELECT 'removed_chain', zeroblob(32)", 2, "inserted"),
        ("DELETE FROM records WHERE sequence <= 4;
          INSERT OR REPLACE INTO meta (key, value) VALUES ('removed_through', 4), ('removed_chain', zeroblob(32))", 5, "does not follow"),
        // As if they had been lost with a damaged journal.
        ("DELETE FROM records WHERE sequence = 6; INSERT OR REPLACE INTO meta (key, value) VALUES ('salvaged_through', 7)", 6, "no gap record"),
    ] {
        place.misfit(&evidence.altered(work), &[], sequence, why);
    }
    // A table that would hold a place twice.
    let twice = evidence.altered(
        "CREATE TABLE other AS SELECT * FROM records; DROP TABLE records; ALTER TABLE other RENAME TO records;
         INSERT INTO records SELECT * FROM records WHERE sequence = 5",
    );
    let output = place.verify(&[twice.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    // A copy is a journal like any other.
    std::fs::copy(&backup, place.path("data/journal.db")).unwrap();
    place.misfit(&evidence.altered("DELETE FROM records WHERE sequence = 7"), &[], 7, "missing");
    // What no chain can tell of itself: its whole end is gone, and nothing refers to it any more.
    let cut = evidence.altered(
        "DELETE FROM records WHERE sequence > 10; UPDATE destinations SET cursor = 10; DELETE FROM parents;
          UPDATE meta SET value = 10 WHERE key = 'states_through'",
    );
    assert_eq!(place.fits(&cut, &[])["records"], 10);
    place.misfit(&cut, &["--expect", &evidence.noted], 12, "missing");
    let other = format!("5:{}", "0".repeat(64));
    place.misfit(&backup, &["--expect", &other], 5, "not the one that was expected");
    assert!(!place.path("altered.db-shm").exists(), "reading leaves no trace");
}

#[test]
fn whatever_is_done_to_an_export_is_found() {
    let evidence = Evidence::new();
    let place = &evidence.place;
    let [all, some] = &evidence.exports;
    assert_eq!(all.len(), 12);
    let found = place.fits(&evidence.exported(all), &["--expect", &evidence.noted]);
    assert_eq!(
        (&found["records"], &found["places"], &found["compared"]),
        (&12.into(), &0.into(), &json!([12]))
    );
    // Of one flag alone: the others are places.
    let found = place.fits(&evidence.exported(some), &["--expect", &evidence.noted]);
    assert_eq!((&found["first"], &found["records"]), (&2.into(), &11.into()), "{found:#}");
    assert_eq!(found["places"], 11 - some.iter().filter(|line| line.contains("\"data\"")).count());

    let with = |at: usize, from: &str, to: &str| {
        let mut lines = all.clone();
        assert!(lines[at].contains(from), "{from}: {}", lines[at]);
        lines[at] = lines[at].replace(from, to);
        lines
    };
    let once = |at: usize, from: &str, to: &str| {
        let mut lines = all.clone();
        assert!(lines[at].contains(from), "{from}: {}", lines[at]);
        lines[at] = lines[at].replacen(from, to, 1);
        lines
    };
    let without = |at: usize| [&all[..at], &all[at + 1..]].concat();
    let envelope: Value = serde_json::from_str(&all[4]).unwrap();
    let text = |pointer: &str| envelope.pointer(pointer).unwrap().as_str().unwrap().to_owned();
    let mut moved = all.clone();
    moved.swap(3, 4);
    let mut twice = all.clone();
    twice.insert(5, all[4].clone());
    let mut placed = all.clone();
    placed[4] = {
        let mut line = envelope.clone();
        line["chain"].as_object_mut().unwrap().remove("record");
        line.to_string()
    };
    let digest = text("/chain/digest");
    for (lines, sequence, why) in [
        (with(4, "text 4", "text X"), 5, "digest"),
        // Only where people look.
        (once(4, "text 4", "text X"), 5, "not what was accepted"),
        (once(4, &text("/id"), &text("/id").replace("evt_", "evt_0")), 5, "`id`"),
        (once(4, &text("/timestamp"), "2020-01-01T00:00:00Z"), 5, "`timestamp`"),
        (once(4, &text("/received_at"), "2020-01-01T00:00:00Z"), 5, "`received_at`"),
        (once(4, "\"namespace\":\"default\"", "\"namespace\":\"other\""), 5, "`namespace`"),
        (once(4, "\"sequence\":5", "\"sequence\":50"), 5, "`sequence`"),
        (once(4, "{", "{\"data\":null,"), 5, "twice"),
        (once(4, "{", "{\"approved_by\":\"ann@example.com\","), 5, "`approved_by`"),
        (once(4, &digest, &"0".repeat(64)), 5, "link"),
        (once(4, &text("/chain/link"), &"0".repeat(64)), 5, "link"),
        (once(4, &text("/chain/previous"), &"0".repeat(64)), 5, "does not follow"),
        (without(6), 8, "missing: 7"),
        (moved, 5, "missing: 4"),
        (twice, 5, "out of order"),
        (placed, 5, "taken out"),
        (with(6, "no event", "an event"), 7, "digest"),
    ] {
        place.misfit(&evidence.exported(&lines), &[], sequence, why);
    }
    // One that does not say what it follows is not believed.
    let mut loose: Vec<Value> = all[4..].iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    loose[0]["chain"].as_object_mut().unwrap().remove("previous");
    let loose: Vec<String> = loose.iter().map(Value::to_string).collect();
    let output = place.verify(&[evidence.exported(&loose[..1]).to_str().unwrap()]);
    assert_ne!(output.status.code(), Some(0), "{output:?}");
    place.misfit(&evidence.exported(&all[..10]), &["--expect", &evidence.noted], 12, "ends at 10");
    // Any byte of it that means something.
    let mut seeded = Seeded::new(9);
    let whole = all.join("\n") + "\n";
    let unsealed = ["journal", "source", "instance", "environment", "change", "summary", "change_set"];
    for round in 0..60 {
        let mut bytes = whole.clone().into_bytes();
        let at = usize::try_from(seeded.below(bytes.len() as u64)).unwrap();
        bytes[at] = b'0' + u8::try_from(seeded.below(10)).unwrap();
        let path = place.write("altered.ndjson", &bytes);
        let output = place.verify(&[path.to_str().unwrap()]);
        let sealed = |text: &[u8]| -> Option<Vec<Value>> {
            let lines = std::str::from_utf8(text).ok()?.lines();
            lines
                .map(|line| {
                    let mut line: Value = serde_json::from_str(line).ok()?;
                    unsealed.iter().for_each(|name| {
                        line.as_object_mut().unwrap().remove(*name);
                    });
                    Some(line)
                })
                .collect()
        };
        if sealed(&bytes) != sealed(whole.as_bytes()) {
            assert_ne!(output.status.code(), Some(0), "round {round}, byte {at}");
        }
    }
}

#[test]
fn what_retention_left_is_verified_from_the_link_that_it_kept() {
    let receiver = Receiver::start();
    let place = Workplace::new();
    place.configure(&format!(
        "
data_dir: DIR/data
journal: {{keep: 1s, max_size: 64MiB}}
sources: {{flipt: {{type: file, path: DIR/audit.log}}}}
destinations: {{out: {{type: webhook, url: '{}'}}}}
routes: {{all: {{to: [out]}}}}
",
        receiver.url("/")
    ));
    place.append(
        "audit.log",
        (0..30).map(|number| flag_line("a", &number.to_string()) + "\n").collect::<String>(),
    );
    let relay = place.run();
    place.wait_for_standing("out", &json!({"delivered": 30}));
    let removed = |found: &Value| found["removed_through"].as_u64().unwrap();
    crate::support::eventually("retention removes", || {
        let output = place.verify(&["--json"]);
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(output.status.success(), "{found:#}");
        (removed(&found) > 0).then_some(())
    });
    relay.kill();
    let relay = place.run();
    place.append(
        "audit.log",
        (30..40).map(|number| flag_line("a", &number.to_string()) + "\n").collect::<String>(),
    );
    place.wait_for_standing("out", &json!({"delivered": 40}));
    assert!(relay.stop().status.success());
    let journal = place.path("data/journal.db");
    let found = place.fits(&journal, &[]);
    assert!(removed(&found) > 0);
    let noted = found["last"].as_str().unwrap().to_owned();
    place.fits(&journal, &["--expect", &noted]);
}

#[test]
fn what_is_nothing_of_ours_cannot_be_judged() {
    let place = Workplace::new();
    place.configure("data_dir: DIR/data\nsources: {flipt: {type: file, path: DIR/audit.log}}\ndestinations: {c: {type: console}}\nroutes: {all: {to: [c]}}\n");
    place.write("empty", "");
    place.write("text", "hello\n");
    place.write("plain.ndjson", "{\"id\":\"evt_1\"}\n");
    Connection::open(place.path("other.db")).unwrap().execute_batch("CREATE TABLE t (a)").unwrap();
    for (arguments, why) in [
        (&["empty"][..], "it holds no record"),
        (&["text"], "line 1"),
        (&["plain.ndjson"], "--with-chain"),
        (&["other.db"], "schema"),
        (&["nowhere"], "No such file"),
        (&[], "No such file"),
        (&["text", "--expect", "5"], "SEQUENCE:LINK"),
    ] {
        let output = place.verify(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(why), "{arguments:?}: {said}");
    }
}
