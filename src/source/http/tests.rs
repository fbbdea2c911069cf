//! What is answered while the journal, or the end of the relay, is in the way.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;
use crate::config::plan::TlsPlan;
use crate::journal::Options;

struct Place {
    _dir: tempfile::TempDir,
    journal: Journal,
    source: RunningHttpSource,
    address: SocketAddr,
}

impl Place {
    async fn new(max_size_bytes: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = Options {
            data_dir: dir.path().into(),
            keep: Duration::from_secs(86_400),
            max_size_bytes,
            lock_wait: Duration::ZERO,
            keeps_all: false,
        };
        let (journal, _) =
            tokio::task::spawn_blocking(move || Journal::open(options).unwrap()).await.unwrap();
        let source = HttpSource {
            tracer: crate::telemetry::traces::Tracer::default(),
            name: "push".to_owned(),
            instance: "flipt".to_owned(),
            single_writer: true,
            plan: HttpSourcePlan {
                listen: ([127, 0, 0, 1], 0).into(),
                signing: Ok(Vec::new()),
                bearer: None,
                tls: TlsPlan::default(),
                max_body_bytes: 1 << 20,
            },
            journal: journal.clone(),
        };
        let source = source.start(None).await.unwrap();
        let status = source.watch_status().wait_for(|status| status.looked).await.unwrap().clone();
        Self { _dir: dir, journal, source, address: status.listening.unwrap() }
    }

    /// What stands in the way now.
    fn stalled(&self) -> Option<String> {
        self.source.watch_status().borrow().stalled.clone()
    }
}

/// Status, headers and body of the answer to one push.
async fn push(
    address: SocketAddr,
    headers: &str,
    body: &str,
) -> (u16, BTreeMap<String, String>, serde_json::Value) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "POST /v1/events HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    (status, headers, serde_json::from_str(body).unwrap())
}

fn event(key: &str) -> String {
    format!(
        r#"{{"version":"0.2","type":"flag","action":"updated","metadata":{{}},"payload":{{"key":"{key}","namespace_key":"default"}},"timestamp":"2026-11-22T08:32:19Z","status":"success"}}"#
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_that_is_not_on_disk_in_time_is_to_come_again_and_may_be_there_twice() {
    let place = Place::new(64 << 20).await;
    let held = place.journal.hold();
    let named = "webhook-id: a\r\n";
    let (status, headers, answer) = push(place.address, named, &event("a")).await;
    assert_eq!((status, headers["retry-after"].as_str()), (503, "1"));
    assert!(answer["error"].as_str().unwrap().contains("2 s"), "{answer}");
    assert!(place.stalled().is_some());
    drop(held);
    // It was accepted after all: whoever names it gets its id, whoever does not gives it once more.
    let (status, _, first) = push(place.address, named, &event("a")).await;
    let (_, _, again) = push(place.address, named, &event("a")).await;
    assert_eq!((status, &first), (200, &again));
    assert_eq!(*place.journal.latest().borrow(), 1);
    assert_eq!(place.stalled(), None, "it goes on");
    let (_, _, anew) = push(place.address, "", &event("a")).await;
    assert_ne!(first, anew);
    assert_eq!(*place.journal.latest().borrow(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_trace_of_a_push_is_kept_with_each_of_its_events() {
    let place = Place::new(64 << 20).await;
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let body = format!("[{},{}]", event("a"), event("b"));
    push(place.address, &format!("traceparent: {parent}\r\ntracestate: a=1\r\n"), &body).await;
    push(place.address, "traceparent: 00-0-0-00\r\ntracestate: a=1\r\n", &event("c")).await;
    let limit = crate::journal::ReadLimit { max_rows: 10, max_bytes: 1 << 20 };
    let rows = place.journal.read_after(0, limit).await.unwrap();
    let traces = rows.into_iter().map(|row| match row {
        crate::journal::ReadRow::Record(record) => {
            record.trace.map(|trace| (trace.traceparent, trace.tracestate))
        }
        crate::journal::ReadRow::Corrupt { .. } => panic!(),
    });
    let kept = Some((parent.to_owned(), Some("a=1".to_owned())));
    assert_eq!(traces.collect::<Vec<_>>(), [kept.clone(), kept, None]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_that_wait_are_answered_and_all_are_there() {
    let place = Place::new(64 << 20).await;
    let held = place.journal.hold();
    let pushes: Vec<_> = (0..80)
        .map(|number| {
            let address = place.address;
            tokio::spawn(async move { push(address, "", &event(&number.to_string())).await.0 })
        })
        .collect();
    tokio::task::yield_now().await;
    drop(held);
    for push in pushes {
        assert_eq!(push.await.unwrap(), 200);
    }
    assert_eq!(*place.journal.latest().borrow(), 80);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_journal_is_said() {
    let place = Place::new(2 << 20).await;
    // Somebody who takes nothing needs all of it.
    place.journal.register_destination("siem", None).await.unwrap();
    let large = event(&"k".repeat(200_000));
    let mut taken = 0;
    let (headers, answer) = loop {
        let (status, headers, answer) = push(place.address, "", &large).await;
        match status {
            200 => taken += 1,
            _ => {
                assert_eq!(status, 503);
                break (headers, answer);
            }
        }
        assert!(taken < 100, "it never fills");
    };
    assert_eq!(headers["retry-after"], "1");
    assert!(answer["error"].as_str().unwrap().contains("full"), "{answer}");
    assert!(place.stalled().unwrap().contains("full"));
    assert_eq!(*place.journal.latest().borrow(), taken);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_under_way_when_it_stops_is_answered_and_who_comes_then_is_not_taken() {
    let place = Place::new(64 << 20).await;
    let address = place.address;
    let held = place.journal.hold();
    let mut idle = TcpStream::connect(address).await.unwrap();
    idle.write_all(b"POST /v1/events HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n[]").await.unwrap();
    let mut buffer = [0; 4096];
    assert!(idle.read(&mut buffer).await.unwrap() > 0);
    // One who is asked for the body has been let in.
    let mut under_way = TcpStream::connect(address).await.unwrap();
    let body = event("a");
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    under_way.write_all(head.as_bytes()).await.unwrap();
    let length = under_way.read(&mut buffer).await.unwrap();
    assert!(buffer[..length].starts_with(b"HTTP/1.1 100 "));
    let stopping = tokio::spawn(place.source.stop(Duration::ZERO));
    loop {
        let (status, headers, answer) = push(address, "", "[]").await;
        if status == 503 {
            assert_eq!(
                (headers["retry-after"].as_str(), answer["error"].as_str()),
                ("1", Some("the relay is stopping"))
            );
            break;
        }
        assert_eq!(status, 200);
    }
    under_way.write_all(body.as_bytes()).await.unwrap();
    drop(held);
    let length = under_way.read(&mut buffer).await.unwrap();
    assert!(buffer[..length].starts_with(b"HTTP/1.1 200 "));
    stopping.await.unwrap();
    assert_eq!(idle.read(&mut buffer).await.unwrap(), 0, "idle connections are closed");
    assert!(TcpStream::connect(address).await.is_err());
    assert_eq!(*place.journal.latest().borrow(), 1);
}
