//! What operators ask, of a relay that runs and of one that does not.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Output;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use serde_json::Value;

use crate::support::{Receiver, Reply, Workplace, eventually, flag_line, line_with};

fn place(receiver: &Receiver) -> Workplace {
    configured("data", &format!("{{out: {}}}", webhook(receiver)), "{all: {to: [out]}}")
}

fn configured(data_dir: &str, destinations: &str, routes: &str) -> Workplace {
    let place = Workplace::new();
    place.configure(&format!(
        "
data_dir: DIR/{data_dir}
sources:
  flipt: {{type: file, path: DIR/audit.log}}
destinations: {destinations}
routes: {routes}
"
    ));
    place
}

fn webhook(receiver: &Receiver) -> String {
    format!(
        "{{type: webhook, concurrency: 1, url: '{}', retry: {{initial_backoff: 1ms, max_backoff: 5ms}}}}",
        receiver.url("/")
    )
}

/// What an operator's command did.
struct Told {
    code: i32,
    stdout: String,
    stderr: String,
}

impl From<Output> for Told {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Told {
    #[track_caller]
    fn done(self) -> String {
        assert_eq!(self.code, 0, "{}{}", self.stdout, self.stderr);
        self.stdout
    }

    #[track_caller]
    fn refused(self, code: i32, why: &str) {
        assert_eq!((self.code, self.stdout.as_str()), (code, ""), "{}", self.stderr);
        assert!(self.stderr.contains(why), "{}", self.stderr);
    }
}

fn ask(place: &Workplace, arguments: &[&str]) -> Told {
    let arguments: Vec<&str> = arguments.iter().copied().chain(["-c", "relay.yaml"]).collect();
    place.command(&arguments).env("USER", "ann").output().unwrap().into()
}

fn status(place: &Workplace) -> Value {
    serde_json::from_str(&ask(place, &["status", "--json"]).done()).unwrap()
}

/// Waits until this number of the first destination is as wanted.
fn wait_for_count(place: &Workplace, what: &str, wanted: u64) -> Value {
    eventually(&format!("{wanted} {what}"), || {
        let status = status(place);
        (status["destinations"][0][what] == wanted).then_some(status)
    })
}

#[test]
fn the_books_balance_of_a_relay_that_runs_and_of_one_that_does_not() {
    let receiver = Receiver::start();
    let place = place(&receiver);
    ask(&place, &["status"]).refused(1, "no relay ever ran");
    place.append("audit.log", format!("{}\n{}\n", flag_line("a", "1"), flag_line("b", "2")));
    let relay = place.run();
    receiver.wait_for(2);
    let running = wait_for_count(&place, "delivered", 2);
    assert_eq!(running["balanced"], true, "{running:#}");
    assert!(running["relay"]["running_since"].is_string());
    assert_eq!(running["destinations"][0]["accepted"], 2);
    let length = std::fs::metadata(place.path("audit.log")).unwrap().len();
    let file = &running["sources"][0]["files"][0];
    assert_eq!((file["position"].as_u64(), file["size_bytes"].as_u64()), (Some(length), Some(length)));
    assert!(relay.stop().status.success());

    place.append("audit.log", flag_line("c", "3") + "\n");
    let stopped = status(&place);
    assert_eq!((&stopped["balanced"], &stopped["relay"]["running_since"]), (&true.into(), &Value::Null));
    assert_eq!(stopped["destinations"][0]["delivered"], 2);
    assert_eq!(stopped["sources"][0]["behind_bytes"], flag_line("c", "3").len() + 1);
    let text = ask(&place, &["status"]).done();
    assert!(text.starts_with("the relay is stopped; nothing waits\n"), "{text}");
}

#[test]
fn a_destination_that_delivers_is_said_to_do_so() {
    let receiver = Receiver::start();
    let place = place(&receiver);
    let _relay = place.run();
    let text = ask(&place, &["status"]).done();
    assert!(text.starts_with("out delivers; nothing waits\n"), "{text}");
    assert_eq!(status(&place)["destinations"][0]["state"], "running");
}

#[test]
fn no_secret_is_needed_to_ask() {
    let place = configured(
        "data",
        "{out: {type: webhook, url: {env: URL}, signing: [{scheme: flipt, secrets: [{file: DIR/nowhere}]}]}}",
        "{all: {to: [out]}}",
    );
    let _relay = place.run();
    assert_eq!(status(&place)["destinations"][0]["name"], "out");
}

#[test]
fn a_data_directory_far_down_is_no_obstacle() {
    let receiver = Receiver::start();
    let deep = ["a-directory-with-a-long-name"; 6].join("/");
    let place = configured(&deep, &format!("{{out: {}}}", webhook(&receiver)), "{all: {to: [out]}}");
    let relay = place.run();
    assert!(status(&place)["relay"]["running_since"].is_string());
    let exit = relay.stop();
    assert!(exit.status.success() && !place.path(&deep).join("control.sock").exists());
}

#[test]
fn a_relay_that_was_killed_leaves_a_socket_that_harms_nobody() {
    let receiver = Receiver::start();
    let place = place(&receiver);
    place.run().kill();
    assert!(place.path("data/control.sock").exists());
    assert_eq!(status(&place)["relay"]["running_since"], Value::Null);
    let _relay = place.run();
    assert!(status(&place)["relay"]["running_since"].is_string());
}

#[test]
fn another_user_is_refused() {
    let receiver = Receiver::start();
    let place = place(&receiver);
    let as_nobody = || {
        let mut command = place.command(&["status", "-c", "relay.yaml"]);
        command.uid(65_534);
        command.output()
    };
    let open = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    open(place.directory(), 0o755);
    // Only root can be somebody else, and the program must be within reach of whoever that is.
    if !matches!(as_nobody(), Ok(output) if output.status.code() == Some(1)) {
        eprintln!("skipped: this cannot be tried here");
        return;
    }
    let relay = place.run();
    open(&place.path("data"), 0o755);
    Told::from(as_nobody().unwrap()).refused(1, "another user's");
    open(&place.path("data/control.sock"), 0o666);
    Told::from(as_nobody().unwrap()).refused(1, "listens to that user alone, not to uid 65534");
    assert!(relay.stop().status.success());
    Told::from(as_nobody().unwrap()).refused(1, "belongs to uid 0");
    assert_eq!(status(&place)["balanced"], true);
}

#[test]
fn wrong_names_and_wrong_words_are_the_callers_fault() {
    let receiver = Receiver::start();
    let place = configured(
        "data",
        &format!("{{siem: {0}, archive: {0}}}", webhook(&receiver)),
        "{all: {to: [siem, archive]}}",
    );
    let wrong = || {
        ask(&place, &["pause", "sime"]).refused(2, "did you mean `siem`?");
        ask(&place, &["resume", "xyz"]).refused(2, "there are: archive, siem");
        ask(&place, &["dead-letters", "list", "--destination", "archiv"]).refused(2, "`archive`?");
        ask(&place, &["replay", "--destination", "siem"]).refused(2, "exactly one way");
        ask(&place, &["replay", "--destination", "siem", "--dead-letters", "--since", "2h"])
            .refused(2, "exactly one way");
        ask(&place, &["replay", "--destination", "siem", "--since", "soon"]).refused(2, "such as `2h`");
        ask(&place, &["pause", "siem", "--for", "soon"]).refused(2, "length of time");
        ask(&place, &["dead-letters", "purge", "--yes"]).refused(2, "say which");
        ask(&place, &["dead-letters", "show", "evt_1"]).refused(2, "not an event id");
    };
    let relay = place.run();
    wrong();
    assert!(relay.stop().status.success());
    wrong();
}

/// A relay with two dead letters, of `odd` and `b`, and one record delivered.
fn with_dead_letters(receiver: &Receiver) -> Workplace {
    let place = place(receiver);
    let odd = r#"{"key":"odd\u009b2J\u202e","namespace_key":"default"}"#;
    place.append(
        "audit.log",
        format!("{}\n{}\n{}\n", line_with("flag", "updated", odd), flag_line("b", "2"), flag_line("c", "3")),
    );
    place
}

fn dead_ids(place: &Workplace) -> Vec<String> {
    let list: Value = serde_json::from_str(&ask(place, &["dlq", "list", "--json"]).done()).unwrap();
    let id = |letter: &Value| letter["id"].as_str().unwrap().to_owned();
    list["dead_letters"].as_array().unwrap().iter().map(id).collect()
}

#[test]
fn dead_letters_are_listed_shown_and_purged() {
    let receiver = Receiver::scripted(|number, _| Reply::status(if number < 2 { 400 } else { 200 }));
    let place = with_dead_letters(&receiver);
    let relay = place.run();
    receiver.wait_for(3);
    wait_for_count(&place, "delivered", 1);

    let list = ask(&place, &["dead-letters", "list", "--destination", "out", "--code", "rejected"]).done();
    assert!(list.lines().count() == 3 && list.contains("Ann saved b in namespace default"), "{list}");
    assert_eq!(ask(&place, &["dlq", "list", "--code", "expired"]).done(), "no dead letters\n");
    let one = ask(&place, &["dlq", "list", "--limit", "1"]);
    assert!(one.stderr.contains("may be more") && one.done().lines().count() == 2);
    let ids = dead_ids(&place);
    let shown = ask(&place, &["dead-letters", "show", &ids[0]]).done();
    for wanted in ["rejected: ", "400", "attempts", "\"type\":\"flipt.flag.updated\"", ids[0].as_str()] {
        assert!(shown.contains(wanted), "no {wanted} in {shown}");
    }
    for said in [&list, &shown] {
        assert!(!said.chars().any(|character| character != '\n' && character.is_control()), "{said:?}");
        assert!(!said.contains('\u{202e}'), "{said:?}");
    }
    let json: Value = serde_json::from_str(&ask(&place, &["dlq", "show", &ids[0], "--json"]).done()).unwrap();
    assert_eq!(json["envelope"]["data"]["payload"]["key"], "odd\u{9b}2J\u{202e}");

    ask(&place, &["dead-letters", "purge", &ids[0]]).refused(2, "Purge 1 dead letter for good?");
    assert_eq!(ask(&place, &["dead-letters", "purge", &ids[0], "--yes"]).done(), "1 dead letter purged\n");
    assert_eq!(dead_ids(&place), ids[1..]);
    assert!(relay.stop().status.success());
    assert_eq!(dead_ids(&place), ids[1..]);
    assert_eq!(ask(&place, &["dlq", "purge", "--all", "--yes"]).done(), "1 dead letter purged\n");
    let after = status(&place);
    let out = &after["destinations"][0];
    assert_eq!((&out["dead"], &out["purged"], &after["balanced"]), (&0.into(), &2.into(), &true.into()));
}

#[test]
fn a_dry_run_tells_what_would_be_sent_and_sends_nothing() {
    let receiver = Receiver::scripted(|number, _| Reply::status(if number < 2 { 400 } else { 200 }));
    let place = with_dead_letters(&receiver);
    let relay = place.run();
    receiver.wait_for(3);
    wait_for_count(&place, "delivered", 1);
    let dry = |selection: &[&str]| {
        let arguments = [&["replay", "--destination", "out", "--dry-run"], selection].concat();
        ask(&place, &arguments)
    };
    let ids = dead_ids(&place);
    for (selection, records) in [
        (vec!["--dead-letters"], 2),
        (vec!["--since", "1h"], 3),
        (vec!["--until", "1h"], 0),
        (vec!["--since", "1h", "--events", "*:updated"], 3),
        (vec!["--events", "flag:deleted"], 0),
        (vec![ids[0].as_str()], 1),
    ] {
        let said = dry(&selection).done();
        let head = format!("{records} record{} would be sent to out", if records == 1 { "" } else { "s" });
        assert!(said.starts_with(&head) && said.ends_with("nothing was sent\n"), "{selection:?}: {said}");
    }
    dry(&["evt_00000000000000000000000000"]).refused(1, "the journal does not have evt_0000");
    assert_eq!(receiver.received().len(), 3);
    assert!(relay.stop().status.success());
}

#[test]
fn where_people_are_called_to_look_a_replay_is_a_dry_run() {
    let place = configured(
        "data",
        "{team: {type: slack, webhook_url: {env: NOWHERE}}, out: {type: console}}",
        "{all: {to: [team, out]}}",
    );
    place.append("audit.log", flag_line("a", "1") + "\n");
    let relay = place.run();
    relay.wait_for_log("waiting for more");
    let said = ask(&place, &["replay", "--destination", "team", "--since", "1h"]).done();
    assert!(said.starts_with("1 record would be sent to team once more:\n  evt_"), "{said}");
    assert!(
        said.ends_with(
            "Ann saved a in namespace default · now ON · earlier state not known\nnothing was sent: --yes sends it\n"
        ),
        "{said}"
    );
}

#[test]
fn a_replay_that_is_asked_for_while_no_relay_runs_is_recorded() {
    let receiver = Receiver::scripted(|number, _| Reply::status(if number < 2 { 400 } else { 200 }));
    let place = with_dead_letters(&receiver);
    let relay = place.run();
    receiver.wait_for(3);
    assert!(relay.stop().status.success());
    let said = ask(&place, &["replay", "--destination", "out", "--dead-letters", "--rate", "5/s"]).done();
    assert!(said.contains("2 records to out is recorded; no relay runs"), "{said}");
    let replay = &status(&place)["destinations"][0]["replays"][0];
    assert_eq!((&replay["total"], &replay["rate"]), (&2.into(), &5.into()));
    assert!(replay["asked_by"].as_str().unwrap().starts_with("ann (uid "), "{replay}");
}

#[test]
fn dead_letters_are_replayed_under_their_old_ids() {
    let receiver = Receiver::scripted(|number, _| Reply::status(if number < 2 { 400 } else { 200 }));
    let place = with_dead_letters(&receiver);
    let relay = place.run();
    receiver.wait_for(3);
    wait_for_count(&place, "delivered", 1);
    let ids = dead_ids(&place);
    let said = ask(&place, &["replay", "--destination", "out", "--dead-letters"]).done();
    assert!(said.ends_with("2 records taken, 0 not taken\n"), "{said}");
    let received = receiver.wait_for(5);
    for (request, id) in received[3..].iter().zip(&ids) {
        assert_eq!(request.header("webhook-id"), Some(id.as_str()));
        assert_eq!(request.header("audit-relay-replay"), Some("true"));
    }
    let after = status(&place);
    let out = &after["destinations"][0];
    assert_eq!(
        (&out["delivered"], &out["dead"], &out["replayed"], &after["balanced"]),
        (&3.into(), &0.into(), &2.into(), &true.into())
    );
    assert!(dead_ids(&place).is_empty());
    assert!(relay.stop().status.success());
}

#[test]
fn acts_are_records_that_can_be_routed() {
    let (receiver, acts) = (Receiver::start(), Receiver::start());
    let place = configured(
        "data",
        &format!("{{out: {}, acts: {}}}", webhook(&receiver), webhook(&acts)),
        "{all: {to: [out]}, acts: {when: {record: [act]}, to: [acts]}}",
    );
    let relay = place.run();
    ask(&place, &["pause", "out", "--for", "2h", "--reason", "too\nloud"]).done();
    ask(&place, &["resume", "out"]).done();
    let received = acts.wait_for(2);
    let data: Vec<Value> = received.iter().map(|request| request.envelopes()[0].clone()).collect();
    assert_eq!(data[0]["type"], "audit_relay.act");
    assert_eq!((&data[0]["data"]["act"], &data[0]["data"]["destination"]), (&"pause".into(), &"out".into()));
    assert_eq!(data[0]["data"]["reason"], "too loud");
    assert!(data[0]["data"]["by"].as_str().unwrap().starts_with("ann (uid "), "{}", data[0]);
    assert_eq!(data[1]["data"]["act"], "resume");
    assert!(relay.stop().status.success());
    assert!(receiver.received().is_empty());

    assert!(ask(&place, &["pause", "out"]).done().contains("until it is resumed"));
    let paused = status(&place);
    let out = &paused["destinations"][1];
    assert_eq!((&out["name"], &out["state"]), (&"out".into(), &"paused".into()));
    assert!(ask(&place, &["resume", "out"]).done().starts_with("out was paused; it is tried when"));
}

#[test]
fn a_paused_destination_gets_nothing_until_it_is_resumed() {
    let (receiver, other) = (Receiver::start(), Receiver::start());
    let place = configured(
        "data",
        &format!("{{out: {}, other: {}}}", webhook(&receiver), webhook(&other)),
        "{all: {to: [out, other]}}",
    );
    let relay = place.run();
    ask(&place, &["pause", "out", "--reason", "maintenance"]).done();
    place.append("audit.log", flag_line("a", "1") + "\n");
    other.wait_for(1);
    let paused = eventually("it waits", || {
        let status = status(&place);
        (status["destinations"][1]["waiting"] == 1).then_some(status)
    });
    let out = &paused["destinations"][1];
    assert_eq!((&out["state"], &out["reason"]), (&"paused".into(), &"maintenance".into()));
    assert!(relay.stop().status.success());
    let relay = place.run();
    assert!(receiver.received().is_empty());
    assert!(ask(&place, &["resume", "out"]).done().starts_with("out was paused; it is tried at once"));
    receiver.wait_for(1);
    assert!(relay.stop().status.success());
}

#[test]
fn a_pause_holds_from_its_answer_on_however_busy_the_lane_is() {
    let receiver = Receiver::start();
    let place = configured(
        "data",
        &format!("{{out: {}}}", webhook(&receiver).replace("concurrency: 1", "concurrency: 8")),
        "{all: {to: [out]}}",
    );
    let relay = place.run();
    let (written, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(SeqCst) {
                let number = written.fetch_add(1, SeqCst);
                place
                    .append("audit.log", flag_line(&format!("f{}", number % 50), &number.to_string()) + "\n");
                // The lane is to be at work all the time, and not ever further behind.
                eventually("it comes nearer", || {
                    let is_near = number < receiver.received().len() + 100;
                    (is_near || place.destination("out")["state"] == "paused").then_some(())
                });
            }
        });
        let is_over = Over(&is_over);
        for _ in 0..20 {
            ask(&place, &["pause", "out"]).done();
            let first_after = written.load(SeqCst);
            eventually("more is written, and nothing under way", || {
                let out = place.destination("out");
                let is_far = written.load(SeqCst) >= first_after + 20;
                (is_far && out["in_flight"] == 0 && out["waiting"].as_u64() >= Some(10)).then_some(())
            });
            for request in receiver.received() {
                let event = request.json();
                let number: usize =
                    event["data"]["payload"]["description"].as_str().unwrap().parse().unwrap();
                assert!(number < first_after, "{number} was written when `out` was paused at {first_after}");
            }
            ask(&place, &["resume", "out"]).done();
            let sent = receiver.received().len();
            eventually("it goes on", || (receiver.received().len() > sent).then_some(()));
        }
        drop(is_over);
    });
    assert!(relay.stop().status.success());
}

/// Ends what runs beside, also where something is not as it should be.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

#[test]
fn a_backup_is_restored_and_what_came_since_is_delivered_again_under_its_ids() {
    let receiver = Receiver::start();
    let place = place(&receiver);
    let lines = |range: std::ops::Range<u32>| -> String {
        range.map(|index| flag_line("checkout", &index.to_string()) + "\n").collect()
    };
    place.append("audit.log", lines(0..3));
    let relay = place.run();
    receiver.wait_for(3);
    wait_for_count(&place, "delivered", 3);
    let backup = ask(&place, &["backup", "copy.db"]).done();
    assert!(backup.contains("copy.db holds the journal as it is now"), "{backup}");
    assert_eq!(place.path("copy.db").metadata().unwrap().permissions().mode() & 0o777, 0o600);
    ask(&place, &["backup", "copy.db"]).refused(1, "copy.db is there already");
    place.append("audit.log", lines(3..5));
    receiver.wait_for(5);
    assert!(relay.stop().status.success());
    let epoch = status(&place)["journal"]["epoch"].clone();

    // As docs/operations.md says.
    std::fs::rename(place.path("data"), place.path("data.old")).unwrap();
    std::fs::create_dir(place.path("data")).unwrap();
    std::fs::set_permissions(place.path("data"), std::fs::Permissions::from_mode(0o700)).unwrap();
    std::fs::copy(place.path("copy.db"), place.path("data/journal.db")).unwrap();
    std::fs::set_permissions(place.path("data/journal.db"), std::fs::Permissions::from_mode(0o600)).unwrap();
    let relay = place.run();
    let received = receiver.wait_for(7);
    let restored = wait_for_count(&place, "delivered", 5);
    assert!(relay.stop().status.success());
    let id = |index: usize| received[index].header("webhook-id").unwrap();
    assert_eq!((id(5), id(6)), (id(3), id(4)));
    assert_eq!(restored["balanced"], true, "{restored:#}");
    assert_ne!(restored["journal"]["epoch"], epoch);
    assert_eq!(receiver.received().len(), 7);

    // A stopped one can be copied too.
    ask(&place, &["backup", "second.db"]).done();
}

#[test]
fn a_running_relay_takes_in_files() {
    let receiver = Receiver::start();
    let place = place(&receiver);
    place.append("old.log", flag_line("a", "1") + "\n" + &flag_line("b", "2") + "\n");
    place.append("quiet.log", flag_line("c", "3") + "\n");
    let relay = place.run();
    let import = |file: &str, more: &[&str]| {
        ask(&place, &[&["import", file, "--source", "flipt"], more].concat()).done()
    };
    assert!(import("old.log", &[]).starts_with("2 new records, 0 were journaled before"));
    assert!(import("old.log", &[]).starts_with("0 new records, 2 were journaled before"));
    assert!(import("quiet.log", &["--journal-only"]).starts_with("1 new records"));
    receiver.wait_for(2);
    wait_for_count(&place, "not_routed", 1);
    ask(&place, &["import", "nowhere.log", "--source", "flipt"]).refused(1, "cannot be read");
    ask(&place, &["import", "old.log", "--source", "flip"]).refused(2, "did you mean `flipt`?");
    assert!(relay.stop().status.success());
    assert_eq!(receiver.received().len(), 2);
}

#[test]
fn what_was_imported_is_known_where_it_is_found_later() {
    let receiver = Receiver::start();
    let place = place(&receiver);
    let config = std::fs::read_to_string(place.path("relay.yaml")).unwrap();
    place.write("relay.yaml", config.replace("/audit.log", "/logs/*.log"));
    place.write("logs/current.log", flag_line("a", "1") + "\n");
    place.append("old.log", flag_line("b", "2") + "\n");
    let relay = place.run();
    receiver.wait_for(1);
    ask(&place, &["import", "old.log", "--source", "flipt"]).done();
    receiver.wait_for(2);
    std::fs::rename(place.path("old.log"), place.path("logs/old.log")).unwrap();
    place.append("logs/old.log", flag_line("c", "3") + "\n");
    receiver.wait_for(3);
    assert!(relay.stop().status.success());
    let keys: Vec<_> = receiver.envelopes().iter().map(|event| event["entity"]["id"].clone()).collect();
    assert_eq!(keys, ["a", "b", "c"]);
}

#[test]
fn replays_follow_one_another_on_a_quiet_destination_and_run_beside_a_backlog() {
    let receiver = Receiver::start();
    let place = place(&receiver);
    place.append(
        "audit.log",
        (0..10).map(|index| flag_line("a", &index.to_string()) + "\n").collect::<String>(),
    );
    let relay = place.run();
    wait_for_count(&place, "delivered", 10);
    for _ in 0..2 {
        ask(&place, &["replay", "--destination", "out", "--since", "1h", "--no-wait"]).done();
    }
    wait_for_count(&place, "replayed", 20);
    assert_eq!(receiver.received().len(), 30);
    // With one slot, and some thousand that wait, they take turns.
    let lines: String = (0..3_000).map(|index| flag_line("b", &index.to_string()) + "\n").collect();
    place.append("audit.log", lines);
    let said = ask(&place, &["replay", "--destination", "out", "--since", "1h", "--events", "flag:updated"]);
    assert!(said.done().contains(" taken, 0 not taken"));
    wait_for_count(&place, "delivered", 3_010);
    assert!(relay.stop().status.success());
}

#[test]
fn what_sends_nothing_is_not_replayed_to() {
    let receiver = Receiver::start();
    let destinations = format!("{{out: {}}}", webhook(&receiver).replace("concurrency: 1", "observe: true"));
    let place = configured("data", &destinations, "{all: {to: [out]}}");
    place.append("audit.log", flag_line("a", "1") + "\n");
    let relay = place.run();
    wait_for_count(&place, "observed", 1);
    ask(&place, &["replay", "--destination", "out", "--since", "1h"]).refused(2, "has `observe: true`");
    assert!(relay.stop().status.success());
    assert!(receiver.received().is_empty());
}
