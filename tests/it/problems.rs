//! What needs a person is told through a destination that is well.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use serde_json::{Value, json};

use crate::support::{Receiver, Relay, Reply, Workplace, eventually, flag_line};

/// Answers with a status that can be changed.
fn switched(status: &Arc<AtomicU16>) -> Receiver {
    let status = Arc::clone(status);
    Receiver::scripted(move |_, _| Reply::status(status.load(Ordering::SeqCst)))
}

struct Scene {
    place: Workplace,
    siem: Receiver,
    siem_status: Arc<AtomicU16>,
    chat: Receiver,
    chat_status: Arc<AtomicU16>,
}

impl Scene {
    fn new(more: &str) -> Self {
        let (siem_status, chat_status) = (Arc::new(AtomicU16::new(200)), Arc::new(AtomicU16::new(200)));
        let (siem, chat) = (switched(&siem_status), switched(&chat_status));
        let place = Workplace::new();
        place.configure(&format!(
            "
data_dir: DIR/data
health: {{listen: '127.0.0.1:0'}}
admin: {{listen: '127.0.0.1:0', external_url: 'https://relay.example.com/'}}
sources:
  flipt: {{type: file, path: DIR/audit.log}}
destinations:
  siem: {{type: webhook, url: '{}', retry: {{initial_backoff: 100ms, max_backoff: 200ms}}}}
  chat: {{type: webhook, url: '{}', retry: {{initial_backoff: 100ms, max_backoff: 200ms}}}}
routes:
  all: {{to: [siem]}}
problems: {{to: [siem, chat], after: 1s, repeat: 4h}}
{more}
",
            siem.url("/?key=PLANTED"),
            chat.url("/?key=PLANTED"),
        ));
        Self { place, siem, siem_status, chat, chat_status }
    }

    fn change(&self, flag: &str) {
        self.place.append("audit.log", flag_line(flag, "on") + "\n");
    }

    /// The notices that arrived at the second destination.
    fn notices(&self) -> Vec<Value> {
        self.chat.envelopes()
    }

    fn wait_for_notices(&self, count: usize) -> Vec<Value> {
        eventually("notices", || {
            let all = self.notices();
            (all.len() >= count).then_some(all)
        })
    }
}

fn wait_for_delivery(scene: &Scene, flag: &str) {
    scene.siem.wait_until(flag, |all| {
        all.iter().any(|request| {
            request.status == 200 && String::from_utf8_lossy(&request.body).contains(&format!("\"{flag}\""))
        })
    });
}

fn well(relay: Relay) -> String {
    let exit = relay.stop();
    assert!(exit.status.success(), "{}", exit.log);
    assert!(!exit.log.contains("PLANTED"), "{}", exit.log);
    exit.log
}

#[test]
fn a_blocked_destination_is_told_through_the_other_and_so_is_its_recovery() {
    let scene = Scene::new("");
    scene.change("one");
    let relay = scene.place.run();
    wait_for_delivery(&scene, "one");
    scene.siem_status.store(401, Ordering::SeqCst);
    scene.change("two");
    let told = scene.wait_for_notices(1);
    assert_eq!(told[0]["type"], "audit_relay.problem", "{told:#?}");
    assert_eq!(told[0]["data"]["about"], "siem");
    assert_eq!(told[0]["data"]["severe"], true);
    assert_eq!(told[0]["data"]["status_url"], "https://relay.example.com");
    let summary = told[0]["summary"].as_str().unwrap();
    assert!(summary.starts_with("siem is blocked since "), "{summary}");
    assert!(!told[0].to_string().contains("PLANTED"));
    scene.siem_status.store(200, Ordering::SeqCst);
    scene.place.ask(&["resume", "siem"]);
    wait_for_delivery(&scene, "two");
    let recovered = |notice: &Value| notice["type"] == "audit_relay.recovery";
    let recovery = eventually("the recovery", || {
        let at_siem = scene.siem.envelopes().into_iter();
        scene.notices().into_iter().chain(at_siem).find(recovered)
    });
    assert!(recovery["summary"].as_str().unwrap().starts_with("siem delivers again"), "{recovery:#}");
    // It is in no books: there are two events and an operator's act.
    let siem = scene.place.destination("siem");
    assert_eq!((&siem["delivered"], &siem["accepted"]), (&json!(2), &json!(3)), "{siem:#}");
    let chat = scene.place.destination("chat");
    assert_eq!((&chat["delivered"], &chat["not_routed"]), (&json!(0), &json!(3)), "{chat:#}");
    let log = well(relay);
    assert!(log.contains("told of a problem") && log.contains("told of a recovery"), "{log}");
    assert_eq!(scene.notices().iter().filter(|notice| !recovered(notice)).count(), 1);
}

#[test]
fn a_restart_does_not_tell_it_again() {
    let other_status = Arc::new(AtomicU16::new(200));
    let other = switched(&other_status);
    let scene = Scene::new("");
    let yaml = std::fs::read_to_string(scene.place.path("relay.yaml")).unwrap();
    let destination = format!("destinations:\n  other: {{type: webhook, url: '{}'}}", other.url("/"));
    let yaml =
        yaml.replace("destinations:", &destination).replace("all: {to: [siem]}", "all: {to: [siem, other]}");
    scene.place.write("relay.yaml", yaml);
    scene.siem_status.store(401, Ordering::SeqCst);
    scene.change("one");
    let relay = scene.place.run();
    scene.wait_for_notices(1);
    well(relay);
    other_status.store(422, Ordering::SeqCst);
    let relay = scene.place.run();
    // Whoever tells of this one has looked at the other one too.
    scene.change("two");
    let told = scene.wait_for_notices(2);
    assert_eq!(told[1]["data"]["about"], "other", "{told:#?}");
    well(relay);
    assert_eq!(scene.notices().len(), 2);
}

#[test]
fn where_nobody_is_well_the_log_says_so_and_it_is_told_later() {
    let scene = Scene::new("");
    scene.siem_status.store(401, Ordering::SeqCst);
    scene.chat_status.store(500, Ordering::SeqCst);
    scene.change("one");
    let relay = scene.place.run();
    relay.wait_for_log("a problem, of which nobody could be told: siem is blocked");
    scene.chat_status.store(200, Ordering::SeqCst);
    let told = scene.wait_for_notices(1);
    assert_eq!(told[0]["data"]["about"], "siem");
    let log = well(relay);
    assert_eq!(log.matches("of which nobody could be told: siem").count(), 1, "{log}");
}

#[test]
fn a_first_dead_letter_is_told_at_once() {
    let scene = Scene::new("");
    scene.siem_status.store(422, Ordering::SeqCst);
    scene.change("one");
    scene.change("two");
    let relay = scene.place.run();
    let told = scene.wait_for_notices(1);
    assert_eq!(told[0]["data"]["code"], "dead_letters", "{told:#?}");
    assert!(told[0]["data"]["remedy"].as_str().unwrap().contains("dead-letters list"), "{told:#?}");
    well(relay);
    assert_eq!(scene.notices().len(), 1);
}

#[test]
fn a_gap_from_while_nobody_looked_is_told_once() {
    let scene = Scene::new("");
    scene.change("one");
    scene.change("two");
    let relay = scene.place.run();
    wait_for_delivery(&scene, "two");
    // What was looked at is kept when it ends.
    well(relay);
    scene.place.write("audit.log", flag_line("other", "on") + "\n");
    let relay = scene.place.run();
    let gaps =
        |all: Vec<Value>| all.into_iter().filter(|one| one["data"]["code"] == "gap").collect::<Vec<_>>();
    let told = eventually("the gap", || gaps(scene.siem.envelopes()).into_iter().next());
    assert_eq!(told["data"]["about"], "flipt", "{told:#}");
    assert!(told["summary"].as_str().unwrap().starts_with("1 gap in what source flipt read"), "{told:#}");
    well(relay);
    well(scene.place.run());
    assert_eq!(gaps(scene.siem.envelopes()).len(), 1);
}

#[test]
fn a_silent_source_is_found_and_told() {
    let scene = Scene::new("");
    let yaml = std::fs::read_to_string(scene.place.path("relay.yaml")).unwrap();
    let yaml = yaml.replace("audit.log}", "audit.log, silent_after: 1s}");
    scene.place.write("relay.yaml", yaml);
    let relay = scene.place.run();
    relay.wait_for_log("Source flipt is silent");
    let at_siem = eventually("the notice", || scene.siem.envelopes().into_iter().next());
    assert_eq!(at_siem["data"]["code"], "source_silent", "{at_siem:#}");
    let status = scene.place.status();
    assert_eq!(status["findings"][0]["code"], "source_silent", "{status:#}");
    // No longer than until it speaks; `silent_after` counts anew from there.
    scene.change("one");
    relay.wait_for_log("the source is not silent any more");
    well(relay);
}
