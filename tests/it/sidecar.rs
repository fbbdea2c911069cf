//! `run --sidecar`: in Flipt's own pod the relay never ends for its configuration, its secrets or its journal, and Flipt
//! notices nothing of it. Flipt is a process of its own here, which appends to its log and flushes its last lines when
//! it is told to end.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::web::get;
use crate::support::{Receiver, Relay, Workplace, binary, eventually, flag_line};

/// Writes a line now and then, and three more when it is told to end: what Flipt's buffer held.
const FLIPT: &str = r#"
exec 3>>audit.log
last() { sleep "$PAUSE"; for i in 1 2 3; do echo "${LINE%MARK*}last $i${LINE#*MARK}" >&3; done; exit 0; }
trap last TERM
number=0
while :; do
    number=$((number + 1))
    echo "${LINE%MARK*}$number${LINE#*MARK}" >&3
    echo $number >served
    sleep 0.05
done
"#;

/// A stand-in of Flipt.
struct Flipt(Child);

impl Flipt {
    /// It takes `pause_seconds` to flush its last lines when it is told to end.
    fn start(place: &Workplace, pause_seconds: u32) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", FLIPT]).current_dir(place.directory());
        command.env("LINE", flag_line("checkout", "MARK")).env("PAUSE", pause_seconds.to_string());
        Self(command.stdin(Stdio::null()).spawn().unwrap())
    }

    fn served(place: &Workplace) -> u64 {
        std::fs::read_to_string(place.path("served"))
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(0)
    }

    /// That it goes on serving, and lives.
    fn assert_untouched(&mut self, place: &Workplace) {
        let before = Self::served(place);
        eventually("Flipt serves", || (Self::served(place) > before + 3).then_some(()));
        assert!(self.0.try_wait().unwrap().is_none(), "Flipt has ended");
    }

    fn tell_to_end(&self) {
        let status = Command::new("kill").args(["-s", "TERM", &self.0.id().to_string()]).status();
        assert!(status.unwrap().success());
    }

    /// Every line that it wrote.
    fn end(mut self, place: &Workplace) -> usize {
        let status = eventually("Flipt ends", || self.0.try_wait().unwrap());
        assert!(status.success());
        lines(place)
    }
}

impl Drop for Flipt {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn lines(place: &Workplace) -> usize {
    std::fs::read_to_string(place.path("audit.log")).unwrap().lines().count()
}

const SOURCES: &str = "
sources:
  flipt: {type: file, path: DIR/audit.log}
";

fn rest(receiver: &Receiver) -> String {
    format!(
        "
destinations:
  out: {{type: webhook, url: '{}'}}
routes:
  all: {{to: [out]}}
",
        receiver.url("/")
    )
}

fn right(receiver: &Receiver) -> String {
    format!("data_dir: DIR/data{SOURCES}{}", rest(receiver))
}

fn start(place: &Workplace, variables: &[(&str, &str)]) -> Relay {
    let mut command = place.command(&["run", "--sidecar", "--config", "relay.yaml"]);
    command.envs(variables.iter().copied());
    Relay::spawn(command)
}

/// That it lives and says so, whoever answers.
fn assert_alive(relay: &Relay, who: &str) {
    let address = relay.listens(who);
    let page = get(address, "/livez");
    assert_eq!((page.status, page.body.as_str()), (200, "alive\n"));
}

/// What it says it is not ready for.
fn unready(relay: &Relay, who: &str) -> String {
    let page = get(relay.listens(who), "/readyz");
    assert_eq!(page.status, 503, "{}", page.body);
    page.json()["not_ready"].to_string()
}

fn wait_for_all(receiver: &Receiver, place: &Workplace) {
    eventually("all is delivered", || (receiver.envelopes().len() >= lines(place)).then_some(()));
}

#[test]
fn a_native_sidecar_is_stopped_after_flipt_and_delivers_its_last_lines() {
    let receiver = Receiver::start();
    let place = Workplace::new();
    place.configure(&right(&receiver));
    let relay = start(&place, &[]);
    let flipt = Flipt::start(&place, 0);
    receiver.wait_for(5);
    flipt.tell_to_end();
    let written = flipt.end(&place);
    let exit = relay.stop();
    assert!(exit.status.success(), "{}", exit.log);
    assert!(exit.log.contains("stopped; nothing waits"), "{}", exit.log);
    assert_eq!(receiver.envelopes().len(), written);
}

#[test]
fn a_plain_container_is_stopped_with_flipt_and_delivers_its_last_lines() {
    let receiver = Receiver::start();
    let place = Workplace::new();
    place.configure(&right(&receiver));
    // As the kit sets it; Flipt flushes for up to five seconds.
    let relay = start(&place, &[("AUDIT_RELAY__SHUTDOWN_KEEP_READING", "7s")]);
    let flipt = Flipt::start(&place, 2);
    receiver.wait_for(5);
    flipt.tell_to_end();
    relay.signal("TERM");
    let written = flipt.end(&place);
    let exit = relay.wait();
    assert!(exit.status.success(), "{}", exit.log);
    assert_eq!(receiver.envelopes().len(), written, "{}", exit.log);
}

#[test]
fn whatever_is_wrong_with_the_rest_what_its_sources_give_is_kept_and_goes_out_once_it_is_mended() {
    let wrong: [(&str, &str); 9] = [
        (
            "no YAML at the end",
            "data_dir: DIR/dataSOURCES\ndestinations:\n  out: {type: webhook\nroutes: [\n",
        ),
        ("no YAML before its sources", "destinations:\n  out: {type: webhook\ndata_dir: DIR/dataSOURCES"),
        ("an unknown key", "data_dir: DIR/dataSOURCES\nroute: {}\nREST"),
        ("an unknown type", "data_dir: DIR/dataSOURCES\ndestinations: {out: {type: webhok}}\n"),
        ("a destination that is not there", "data_dir: DIR/dataSOURCES\nroutes: {all: {to: [nobody]}}\n"),
        (
            "a secret in place",
            "data_dir: DIR/dataSOURCES\nadmin: {listen: '127.0.0.1:0', token: planted}\nREST",
        ),
        ("another source", "data_dir: DIR/dataSOURCES\n  second: {type: fil, path: x}\nREST"),
        ("numbers", "data_dir: DIR/dataSOURCES\njournal: {max_size: much}\nshutdown_timeout: soon\nREST"),
        ("a file that is not there", "data_dir: DIR/dataSOURCES\ninclude: nowhere.yaml\nREST"),
    ];
    for (what, text) in wrong {
        let receiver = Receiver::start();
        let place = Workplace::new();
        let rest = rest(&receiver);
        let text = text.replace("SOURCES", SOURCES).replace("REST", &rest);
        place.configure(&text);
        let mut flipt = Flipt::start(&place, 0);
        let relay = start(&place, &[]);
        relay.wait_for_log("\"ready\"");
        assert!(relay.log().contains("the configuration is not right"), "{what}: {}", relay.log());
        eventually(&format!("{what}: records are kept"), || {
            (place.status()["journal"]["last_sequence"].as_u64()? > 3).then_some(())
        });
        assert_alive(&relay, "health");
        assert!(unready(&relay, "health").contains("configuration"), "{what}");
        assert!(receiver.received().is_empty(), "{what}");
        let told = place.ask(&["status"]);
        assert!(told.contains("what comes is kept, and nothing delivered"), "{what}: {told}");
        flipt.assert_untouched(&place);
        place.configure(&right(&receiver));
        relay.wait_for_log("the configuration is applied");
        flipt.tell_to_end();
        let written = flipt.end(&place);
        wait_for_all(&receiver, &place);
        assert_eq!(get(relay.listens("health"), "/readyz").status, 200, "{what}");
        let told = place.ask(&["status"]);
        assert!(told.contains("out delivers") && !told.contains("refused"), "{what}: {told}");
        let exit = relay.stop();
        assert!(exit.status.success() && !exit.log.contains("planted"), "{what}: {}", exit.log);
        assert_eq!(receiver.envelopes().len(), written, "{what}: each once");
    }
}

#[test]
fn what_a_destination_is_owed_is_kept_while_nobody_can_say_what_is_routed_to_it() {
    let receiver = Receiver::start();
    let place = Workplace::new();
    place.configure(&right(&receiver));
    place.write("audit.log", flag_line("checkout", "before") + "\n");
    let relay = start(&place, &[]);
    receiver.wait_for(1);
    assert!(relay.stop().status.success());
    // No name of a destination can be read: it is not taken for one that is configured no longer.
    place.configure(&format!("data_dir: DIR/data{SOURCES}\ndestinations: [\n"));
    let relay = start(&place, &[]);
    relay.wait_for_log("\"ready\"");
    let accept = |mark: &str| {
        let before = place.status()["journal"]["last_sequence"].as_u64().unwrap();
        place.append("audit.log", flag_line("checkout", mark) + "\n");
        eventually("it is kept", || {
            (place.status()["journal"]["last_sequence"].as_u64()? > before).then_some(())
        });
    };
    accept("meanwhile");
    let held = place.destination("out");
    assert_eq!((&held["state"], &held["type"]), (&"blocked".into(), &"unknown".into()), "{held}");
    // Better, and not yet right: what it is can be told, and that another name is not right is not known yet.
    let better = "destinations: {out: {type: webhook, renamed_from: none}, typo: {type: slack}}";
    place.configure(&format!("data_dir: DIR/data{SOURCES}\n{better}\n"));
    eventually("it is known", || (place.destination("out")["type"] == "webhook").then_some(()));
    // Worse: neither the sources nor the place of the journal. What runs goes on.
    place.configure("sources: 5\ndata_dir: [1]\nroutes: {all: {to: [typo]}}\n");
    eventually("that is noticed", || relay.log().contains("relay.yaml:2:").then_some(()));
    let data = ("AUDIT_RELAY__DATA_DIR", place.path("data"));
    let sequence = || {
        let mut command = place.command(&["status", "--json", "--config", "relay.yaml"]);
        let status = command.env(data.0, &data.1).output().unwrap().stdout;
        serde_json::from_slice::<serde_json::Value>(&status).ok()?["journal"]["last_sequence"].as_u64()
    };
    let before = sequence().unwrap();
    place.append("audit.log", flag_line("checkout", "still") + "\n");
    eventually("it is kept", || (sequence()? > before).then_some(()));
    place.configure(&right(&receiver));
    receiver.wait_for(3);
    let status = place.status();
    assert_eq!(status["orphans"], serde_json::json!([]), "{status}");
    assert_eq!(status["destinations"].as_array().unwrap().len(), 1);
    let exit = relay.stop();
    assert!(exit.status.success() && !exit.log.contains("no longer configured"), "{}", exit.log);
    assert_eq!(receiver.envelopes().len(), 3, "each once");
}

#[test]
fn without_any_configuration_it_waits_for_one() {
    let receiver = Receiver::start();
    let place = Workplace::new();
    let data = place.path("elsewhere");
    let relay = start(
        &place,
        &[("AUDIT_RELAY__DATA_DIR", data.to_str().unwrap()), ("AUDIT_RELAY__LOG__LEVL", "info")],
    );
    relay.wait_for_log("waiting for an edit");
    assert_alive(&relay, "vigil");
    assert!(unready(&relay, "vigil").contains("configuration"));
    assert!(relay.log().contains("relay.yaml: no such file"), "{}", relay.log());
    assert!(!data.exists(), "there is nothing to keep yet");
    place.write("audit.log", flag_line("checkout", "a") + "\n");
    // The variable stays wrong.
    place.configure(&format!("{SOURCES}{}", rest(&receiver)));
    relay.wait_for_log("\"ready\"");
    eventually("what its source gives is kept", || {
        let mut command = place.command(&["status", "--json", "--config", "relay.yaml"]);
        let told = command.env("AUDIT_RELAY__DATA_DIR", &data).output();
        let status: serde_json::Value = serde_json::from_slice(&told.unwrap().stdout).ok()?;
        (status["journal"]["last_sequence"].as_u64()? == 1).then_some(())
    });
    assert!(receiver.received().is_empty());
    assert!(relay.stop().status.success());
}

#[test]
fn where_nobody_can_say_where_the_journal_is_nothing_is_taken_in() {
    let receiver = Receiver::start();
    let place = Workplace::new();
    place.write("audit.log", flag_line("checkout", "a") + "\n");
    place.configure(&right(&receiver).replace("DIR/data", "[DIR/data]"));
    let relay = start(&place, &[("AUDIT_RELAY__NAME", "flipt-6d5c9b7f4-abcde")]);
    relay.wait_for_log("waiting for an edit");
    assert_alive(&relay, "vigil");
    place.configure(&right(&receiver));
    receiver.wait_for(1);
    assert_alive(&relay, "health");
    assert!(place.path("data/journal.db").exists());
    let exit = relay.stop();
    assert!(exit.status.success());
    assert_eq!(exit.log.matches("\"ready\"").count(), 1, "{}", exit.log);
}

#[test]
fn a_missing_secret_stops_its_destination_alone() {
    let (receiver, other) = (Receiver::start(), Receiver::start());
    let place = Workplace::new();
    place.configure(&format!(
        "data_dir: DIR/data{SOURCES}
destinations:
  out: {{type: webhook, url: '{}'}}
  signed: {{type: webhook, url: '{}', signing: [{{scheme: flipt, secrets: [{{file: DIR/secret}}]}}]}}
routes:
  all: {{to: [out, signed]}}
",
        receiver.url("/"),
        other.url("/")
    ));
    let mut flipt = Flipt::start(&place, 0);
    let relay = start(&place, &[]);
    receiver.wait_for(3);
    flipt.assert_untouched(&place);
    assert_alive(&relay, "health");
    assert!(other.received().is_empty());
    place.write("secret", "s3cret");
    other.wait_for(3);
    flipt.tell_to_end();
    let written = flipt.end(&place);
    wait_for_all(&receiver, &place);
    wait_for_all(&other, &place);
    assert!(relay.stop().status.success());
    assert_eq!((receiver.envelopes().len(), other.envelopes().len()), (written, written));
}

/// Makes a journal that cannot be opened, and mends it.
fn journal_that_cannot_be_opened(why: &str, spoil: impl Fn(&Workplace), mend: impl Fn(&Workplace)) {
    let receiver = Receiver::start();
    let place = Workplace::new();
    place.configure(&right(&receiver));
    spoil(&place);
    let mut flipt = Flipt::start(&place, 0);
    let relay = start(&place, &[]);
    relay.wait_for_log("nothing can be journaled, which is tried again");
    assert!(relay.log().contains(why), "{}", relay.log());
    assert_alive(&relay, "vigil");
    assert!(unready(&relay, "vigil").contains("journal"));
    let metrics = get(relay.listens("vigil"), "/metrics").body;
    assert!(
        metrics.contains("\naudit_relay_ready 0") && metrics.contains("audit_relay_build_info{"),
        "{metrics}"
    );
    flipt.assert_untouched(&place);
    mend(&place);
    // At once: it does not have to wait for the next try.
    relay.signal("HUP");
    relay.wait_for_log("\"ready\"");
    flipt.tell_to_end();
    let written = flipt.end(&place);
    wait_for_all(&receiver, &place);
    assert_alive(&relay, "health");
    let exit = relay.stop();
    assert!(exit.status.success(), "{}", exit.log);
    assert_eq!(receiver.envelopes().len(), written);
}

#[test]
fn a_data_dir_that_is_none_is_waited_for() {
    let remove = |place: &Workplace| std::fs::remove_file(place.path("data")).unwrap();
    journal_that_cannot_be_opened("data", |place| drop(place.write("data", "a file")), remove);
}

#[test]
fn a_journal_of_a_newer_version_is_left_alone() {
    let database = |place: &Workplace| rusqlite::Connection::open(place.path("data/journal.db")).unwrap();
    let spoil = |place: &Workplace| {
        let relay = place.start(&[]);
        relay.wait_for_log("\"ready\"");
        assert!(relay.stop().status.success());
        let changed = database(place).execute_batch(
            "CREATE TABLE kept AS SELECT value FROM meta WHERE key = 'readable_since';
             CREATE TABLE version AS SELECT user_version FROM pragma_user_version;
             PRAGMA user_version = 1000;
             UPDATE meta SET value = 1000 WHERE key = 'readable_since';",
        );
        changed.unwrap();
    };
    let mend = |place: &Workplace| {
        let conn = database(place);
        let version: i64 = conn.query_row("SELECT user_version FROM version", [], |row| row.get(0)).unwrap();
        let mended = conn.execute_batch(&format!(
            "PRAGMA user_version = {version};
             UPDATE meta SET value = (SELECT value FROM kept) WHERE key = 'readable_since';
             DROP TABLE kept; DROP TABLE version;"
        ));
        mended.unwrap();
    };
    journal_that_cannot_be_opened("newer audit-relay", spoil, mend);
}

#[test]
fn a_journal_that_breaks_while_it_runs_is_salvaged_in_place() {
    let receiver = Receiver::start();
    let place = Workplace::new();
    place.configure(&right(&receiver));
    let mut flipt = Flipt::start(&place, 0);
    let relay = start(&place, &[]);
    receiver.wait_for(3);
    spoil(&place.path("data/journal.db"));
    spoil(&place.path("data/journal.db-wal"));
    relay.wait_for_log("it is opened anew");
    flipt.assert_untouched(&place);
    assert_alive(&relay, "vigil");
    relay.signal("HUP");
    eventually("it is ready again", || (relay.log().matches("\"ready\"").count() == 2).then_some(()));
    let received = receiver.received().len();
    receiver.wait_for(received + 3);
    flipt.assert_untouched(&place);
    assert!(relay.stop().status.success());
}

/// Writes over a file what it cannot have held.
fn spoil(path: &Path) {
    let length = std::fs::metadata(path).unwrap().len();
    let mut file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    std::io::Write::write_all(&mut file, &vec![0x5a; usize::try_from(length).unwrap()]).unwrap();
}

#[test]
fn it_can_be_told_to_end_whatever_it_waits_for() {
    let place = Workplace::new();
    place.configure(&right(&Receiver::start()));
    place.write("data", "a file");
    let relay = start(&place, &[]);
    relay.wait_for_log("nothing can be journaled");
    assert!(relay.stop().status.success());
    std::fs::remove_file(place.path("data")).unwrap();
    place.write("relay.yaml", ": no [ YAML");
    let relay = start(&place, &[]);
    relay.wait_for_log("waiting for an edit");
    // A pipe into which nobody writes.
    std::fs::remove_file(place.path("relay.yaml")).unwrap();
    assert!(Command::new("mkfifo").arg(place.path("relay.yaml")).status().unwrap().success());
    relay.wait_for_log("this is no regular file");
    assert!(relay.stop().status.success());
    std::fs::rename(place.path("relay.yaml"), place.path("pipe")).unwrap();
    let relay = Relay::spawn(place.command(&["run", "--sidecar", "--config", "pipe"]));
    relay.wait_for_log("this is no regular file");
    assert!(relay.stop().status.success());
}

#[test]
fn without_the_word_it_ends_for_a_configuration_that_is_not_right() {
    let place = Workplace::new();
    place.write("relay.yaml", "sources: 1\n");
    let output =
        Command::new(binary()).args(["run", "--config"]).arg(place.path("relay.yaml")).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}
