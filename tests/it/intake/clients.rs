//! Clients of every kind: slow, large, wrong, many; none of them is in another's way.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::{ids, source, started};
use crate::support::{Client, Receiver, Seeded, eventually, flag_line, flipt_signature, memory_kib, request};

/// A push by somebody who behaves, and how long it took.
fn polite(address: SocketAddr, mark: &str) -> Duration {
    let begun = Instant::now();
    assert_eq!(Client::push(address, &[], flag_line(mark, mark)).ids().len(), 1);
    begun.elapsed()
}

#[test]
fn slow_clients_harm_nobody() {
    let receiver = Receiver::start();
    let (_place, relay, address) = started(&receiver, "signing: none");
    let begins = [
        "",
        "P",
        "POST /v1/events HTTP/1.1\r\nHost: a\r\nX-",
        "POST /v1/events HTTP/1.1\r\nHost: a\r\nContent-Length: 8000000\r\n\r\n[",
    ];
    // More than there are connections.
    let slow: Vec<TcpStream> = (0..400)
        .map(|number| {
            let mut stream = TcpStream::connect(address).unwrap();
            let _ = stream.write_all(begins[number % begins.len()].as_bytes());
            stream
        })
        .collect();
    for number in 0..20 {
        let took = polite(address, &number.to_string());
        assert!(took < Duration::from_secs(4), "a polite client waited {took:?}");
    }
    // Whoever is slow is told, or has to leave.
    let begun = Instant::now();
    for mut stream in slow {
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut said = Vec::new();
        let _ = stream.read_to_end(&mut said);
        let said = String::from_utf8_lossy(&said);
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 408 "), "{said}");
    }
    assert!(begun.elapsed() < Duration::from_secs(50));
    receiver.wait_for(20);
    assert!(relay.stop().status.success());
}

#[test]
fn who_sends_slowly_and_is_unknown_keeps_no_memory_from_others() {
    let receiver = Receiver::start();
    let keys = "max_body: 2MiB, signing: {scheme: flipt, secrets: [secret]}";
    let (_place, relay, address) = started(&receiver, keys);
    // As much as there is for all of them, and never the last byte.
    let mut slow: Vec<Client> = (0..2)
        .map(|_| {
            let mut client = Client::connect(address);
            let whole = request("POST", "/v1/events", &[], &vec![b' '; 2 << 20]);
            client.send(&whole[..whole.len() - 1]).unwrap();
            client
        })
        .collect();
    let body = flag_line("a", &"x".repeat(1 << 20));
    let signature = flipt_signature("secret", body.as_bytes());
    let dismissed = eventually("one of them has to make room", || {
        let pushed = Client::push(address, &[("X-Flipt-Webhook-Signature", &signature)], &body);
        assert_eq!(pushed.status, 200, "{}", pushed.text());
        slow.iter().position(|client| {
            client.stream().set_nonblocking(true).unwrap();
            let is_answered = client.stream().peek(&mut [0]).is_ok();
            client.stream().set_nonblocking(false).unwrap();
            is_answered
        })
    });
    assert_eq!(slow[dismissed].answer().unwrap().status, 503);
    relay.wait_for_log("others needed the memory");
    assert!(relay.stop().status.success());
}

#[test]
fn bodies_without_end_take_no_memory() {
    let receiver = Receiver::start();
    let (place, relay, address) = started(&receiver, "signing: none");
    polite(address, "before");
    let before = memory_kib(relay.id(), "VmRSS");
    let senders: Vec<_> = (0..8)
        .map(|number| {
            std::thread::spawn(move || {
                let mut client = Client::connect(address);
                let framing =
                    if number % 2 == 0 { "Content-Length: 4000000000" } else { "Transfer-Encoding: chunked" };
                let head = format!("POST /v1/events HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n");
                client.send(head).unwrap();
                let chunk = [&b"10000\r\n"[..], &[b' '; 65_536], b"\r\n"].concat();
                for _ in 0..2_000 {
                    if client.send(&chunk).is_err() {
                        break;
                    }
                }
                client.answer().map(|answer| answer.status)
            })
        })
        .collect();
    for sender in senders {
        let status = sender.join().unwrap();
        assert!(matches!(status, None | Some(413 | 503)), "{status:?}");
    }
    polite(address, "after");
    let grown = memory_kib(relay.id(), "VmHWM").saturating_sub(before);
    assert!(grown < 64 * 1024, "{grown} KiB");
    assert_eq!(source(&place)["refused"], 0);
    receiver.wait_for(2);
    assert!(relay.stop().status.success());
}

#[test]
fn one_who_waits_to_be_asked_is_told_before_the_body() {
    let receiver = Receiver::start();
    let (_place, relay, address) = started(&receiver, "bearer: token, max_body: 1KiB");
    let mut client = Client::connect(address);
    let head = |length: usize, token: &str| {
        format!(
            "POST /v1/events HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n"
        )
    };
    client.send(head(4_096, "token")).unwrap();
    assert_eq!(client.answer().unwrap().status, 413);
    let mut client = Client::connect(address);
    client.send(head(100, "other")).unwrap();
    assert_eq!(client.answer().unwrap().status, 401);
    let mut client = Client::connect(address);
    let body = flag_line("a", "1");
    client.send(head(body.len(), "token")).unwrap();
    client.send(&body).unwrap();
    assert_eq!(client.answer().unwrap().ids().len(), 1);
    assert!(relay.stop().status.success());
}

#[test]
fn connections_are_kept_and_requests_may_queue_in_them() {
    let receiver = Receiver::start();
    let (_place, relay, address) = started(&receiver, "signing: none");
    let mut client = Client::connect(address);
    let mut accepted = Vec::new();
    for number in 0..10 {
        accepted.extend(client.post(&[], flag_line("kept", &number.to_string()).as_bytes()).unwrap().ids());
    }
    // A wrong one in between does not end it.
    assert_eq!(client.post(&[], b"?").unwrap().status, 400);
    let mut queued = Vec::new();
    for number in 10..30 {
        let body = flag_line("kept", &number.to_string());
        queued.extend(
            format!("POST /v1/events HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len())
                .bytes(),
        );
    }
    client.send(&queued).unwrap();
    for _ in 10..30 {
        accepted.extend(client.answer().unwrap().ids());
    }
    // In chunks, and by one who has nothing more to say.
    let body = flag_line("kept", "30");
    let (head, rest) = body.split_at(100);
    client.send("POST /v1/events HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
    client.send(format!("{:x}\r\n{head}\r\n{:x}\r\n{rest}\r\n0\r\n\r\n", head.len(), rest.len())).unwrap();
    client.stream().shutdown(Shutdown::Write).unwrap();
    accepted.extend(client.answer().unwrap().ids());
    receiver.wait_for(31);
    let envelopes = receiver.envelopes();
    assert_eq!(ids(&envelopes), accepted);
    for (number, envelope) in envelopes.iter().enumerate() {
        assert_eq!(envelope["data"]["payload"]["description"], number.to_string());
    }
    assert!(relay.stop().status.success());
}

#[test]
fn garbage_is_refused_and_ends_nothing() {
    let receiver = Receiver::start();
    let (place, relay, address) = started(&receiver, "signing: none");
    let mut random = Seeded::new(7);
    let event = flag_line("a", "1");
    let request =
        format!("POST /v1/events HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{event}", event.len());
    for round in 0..300 {
        let mut bytes = request.clone().into_bytes();
        match round % 3 {
            0 => bytes = (0..random.below(400)).map(|_| random.below(256) as u8).collect(),
            1 => {
                for _ in 0..1 + random.below(5) {
                    let at = random.below(bytes.len() as u64) as usize;
                    bytes[at] = random.below(256) as u8;
                }
            }
            _ => bytes.truncate(random.below(bytes.len() as u64) as usize),
        }
        let mut client = Client::connect(address);
        let _ = client.send(&bytes);
        let _ = client.stream().shutdown(Shutdown::Write);
        if let Some(answer) = client.answer() {
            assert!(
                matches!(answer.status, 200 | 400 | 404 | 405 | 408 | 413 | 415 | 431 | 501 | 505),
                "{answer:?}"
            );
        }
    }
    polite(address, "after");
    let log = relay.log();
    assert!(!log.contains("panicked"), "{log}");
    place.status();
    assert!(relay.stop().status.success());
}

#[test]
fn a_hundred_at_once_are_all_taken_once() {
    const CLIENTS: usize = 100;
    const EACH: usize = 5;
    let receiver = Receiver::start();
    let (place, relay, address) = started(&receiver, "signing: none");
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            std::thread::spawn(move || {
                let mut connection = Client::connect(address);
                let mut accepted = Vec::new();
                for number in 0..EACH {
                    // One who is told to come again does.
                    let body = flag_line(&format!("flag-{client}"), &number.to_string());
                    let name = format!("{client}-{number}");
                    loop {
                        let answer = connection.post(&[("webhook-id", &name)], body.as_bytes()).unwrap();
                        if answer.status == 503 {
                            assert_eq!(answer.headers["retry-after"], "1");
                            continue;
                        }
                        accepted.extend(answer.ids());
                        break;
                    }
                }
                accepted
            })
        })
        .collect();
    let mut accepted: Vec<String> = clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
    receiver.wait_for(CLIENTS * EACH);
    let envelopes = receiver.envelopes();
    let mut delivered = ids(&envelopes);
    delivered.sort_unstable();
    accepted.sort_unstable();
    assert_eq!(delivered, accepted);
    for client in 0..CLIENTS {
        let key = format!("flag-{client}");
        let of_flag = envelopes.iter().filter(|envelope| envelope["data"]["payload"]["key"] == key);
        let numbers: Vec<_> =
            of_flag.map(|envelope| envelope["data"]["payload"]["description"].clone()).collect();
        assert_eq!(numbers, (0..EACH).map(|number| number.to_string()).collect::<Vec<_>>(), "{key}");
    }
    assert_eq!(place.status()["journal"]["last_sequence"], CLIENTS * EACH);
    assert!(relay.stop().status.success());
}

#[test]
fn what_is_longer_than_flipt_writes_is_kept_as_its_head() {
    let receiver = Receiver::start();
    let (_place, relay, address) = started(&receiver, "signing: none");
    let long = flag_line("a", &"x".repeat(5 << 20));
    assert_eq!(Client::push(address, &[], &long).ids().len(), 1);
    receiver.wait_for(1);
    let envelope = receiver.envelopes().remove(0);
    assert_eq!(envelope["type"], "audit_relay.oversized");
    assert_eq!(envelope["data"]["length_bytes"], long.len(), "{}", envelope["data"]);
    assert!(relay.stop().status.success());
}

#[test]
fn whoever_is_under_way_at_the_end_is_answered() {
    let receiver = Receiver::start();
    let (place, relay, address) = started(&receiver, "signing: none");
    let text = std::fs::read_to_string(place.path("relay.yaml")).unwrap();
    assert!(relay.stop().status.success());
    place.write("relay.yaml", format!("shutdown_keep_reading: 2s\n{text}"));
    let relay = place.run();
    let address = {
        let _ = address;
        relay.listens("push")
    };
    let mut idle = Client::connect(address);
    assert_eq!(idle.post(&[], b"[]").unwrap().status, 200);
    let mut slow = Client::connect(address);
    let body = flag_line("a", "slow");
    slow.send(format!("POST /v1/events HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len()))
        .unwrap();
    relay.signal("TERM");
    // It goes on accepting for a while.
    let last = Client::push(address, &[], flag_line("a", "last")).ids();
    slow.send(&body).unwrap();
    let slow = slow.answer().unwrap().ids();
    assert_eq!(idle.answer().map(|answer| answer.status), None, "an idle connection is closed");
    let exit = relay.wait();
    assert!(exit.status.success(), "{}", exit.log);
    receiver.wait_for(2);
    let envelopes = receiver.envelopes();
    assert_eq!(ids(&envelopes), [&last[0], &slow[0]]);
}
