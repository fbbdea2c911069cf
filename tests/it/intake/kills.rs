//! `kill -9` between a push and its answer: whatever was acknowledged is delivered, and what comes twice comes
//! for want of an answer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::json;

use super::configured;
use crate::support::{Client, Receiver, Seeded, flag_line};

/// How often the relay is killed in one schedule of `.ci/nightly/kills`.
const NIGHTLY_KILLS: usize = 25;
const CLIENTS: usize = 4;

#[test]
fn nothing_acknowledged_is_lost_by_kills() {
    play(0, 6);
}

/// `AUDIT_RELAY_KILLS=first..last` says which seeds.
#[test]
#[ignore = "takes minutes: .ci/nightly/kills"]
fn nothing_acknowledged_is_lost_by_many_kills() {
    let range = std::env::var("AUDIT_RELAY_KILLS").expect("AUDIT_RELAY_KILLS=first..last");
    let (first, last) = range.split_once("..").expect("AUDIT_RELAY_KILLS=first..last");
    for seed in first.parse().unwrap()..last.parse().unwrap() {
        play(seed, NIGHTLY_KILLS);
    }
}

/// Pushes by several clients until the relay is killed amid of it, again and again. Even clients name their
/// requests and repeat what was not answered under the same name; odd ones push anew.
fn play(seed: u64, kills: usize) {
    let mut random = Seeded::new(seed);
    let receiver = Receiver::start();
    let place = configured(&receiver, "signing: none");
    // By mark: the ids that were acknowledged.
    let acknowledged: Arc<Mutex<BTreeMap<String, Vec<String>>>> = Arc::default();
    let mut unanswered: Vec<Vec<String>> = vec![Vec::new(); CLIENTS];
    let mut sent = 0;
    for round in 0..=kills {
        let relay = place.run();
        let address = relay.listens("push");
        let is_last = round == kills;
        let over = Arc::new(AtomicBool::new(false));
        let answers = Arc::new(AtomicUsize::new(0));
        let clients: Vec<_> = unanswered
            .iter_mut()
            .enumerate()
            .map(|(client, unanswered)| {
                let (over, answers) = (Arc::clone(&over), Arc::clone(&answers));
                let acknowledged = Arc::clone(&acknowledged);
                let mut waiting = std::mem::take(unanswered);
                std::thread::spawn(move || {
                    let mut number = 0;
                    loop {
                        let mark = match waiting.first() {
                            Some(mark) => mark.clone(),
                            None if over.load(Ordering::SeqCst) || is_last => return waiting,
                            None => {
                                number += 1;
                                waiting.push(format!("{seed}-{client}-{round}-{number}"));
                                continue;
                            }
                        };
                        let Ok(stream) = std::net::TcpStream::connect(address) else { return waiting };
                        let mut connection = Client::over(stream);
                        let name = [("webhook-id", mark.as_str())];
                        let headers = if client.is_multiple_of(2) { &name[..] } else { &[] };
                        let body = format!("[{},{}]", flag_line("a", &mark), flag_line("b", &mark));
                        let Some(answer) = connection.post(headers, body.as_bytes()) else { return waiting };
                        if answer.status == 503 {
                            continue;
                        }
                        acknowledged.lock().unwrap().insert(mark, answer.ids());
                        answers.fetch_add(1, Ordering::SeqCst);
                        waiting.clear();
                    }
                })
            })
            .collect();
        if is_last {
            unanswered = clients.into_iter().map(|client| client.join().unwrap()).collect();
            assert!(unanswered.iter().all(Vec::is_empty));
            let accepted = place.status()["journal"]["last_sequence"].as_u64().unwrap();
            place.wait_for_standing("out", &json!({"delivered": accepted, "dead": 0, "waiting": 0}));
            assert!(relay.stop().status.success());
            continue;
        }
        let enough = 5 + random.below(60) as usize;
        while answers.load(Ordering::SeqCst) < enough {
            std::thread::yield_now();
        }
        relay.kill();
        over.store(true, Ordering::SeqCst);
        unanswered = clients.into_iter().map(|client| client.join().unwrap()).collect();
        sent += unanswered.iter().map(Vec::len).sum::<usize>();
    }

    let mut delivered: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for envelope in receiver.envelopes() {
        let mark = envelope["data"]["payload"]["description"].as_str().unwrap().to_owned();
        delivered.entry(mark).or_default().insert(envelope["id"].as_str().unwrap().to_owned());
    }
    let acknowledged = acknowledged.lock().unwrap();
    let mut again = 0;
    for (mark, ids) in acknowledged.iter() {
        let found = delivered.get(mark).unwrap_or_else(|| panic!("{mark} was acknowledged, and is lost"));
        assert!(
            ids.iter().all(|id| found.contains(id)),
            "{mark} was acknowledged as {ids:?}, and {found:?} came"
        );
        let client: usize = mark.split('-').nth(1).unwrap().parse().unwrap();
        if client.is_multiple_of(2) {
            assert_eq!(found.len(), 2, "{mark} was named, and is one push however often it came");
        } else {
            again += found.len() - 2;
        }
    }
    assert_eq!(delivered.len(), acknowledged.len(), "nothing is invented");
    assert!(again <= 2 * sent, "{again} came again, of {sent} pushes without an answer");
    println!(
        "seed {seed}: {kills} kills, {} pushes acknowledged, 0 lost, {sent} unanswered at a kill, of which {} came twice",
        acknowledged.len(),
        again / 2
    );
}
