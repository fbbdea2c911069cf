//! Judges a trace: is everything on disk before anyone is told of it?

use super::trace::Call;

/// What was looked at, so that a judgement over nothing is not taken for a good one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Examined {
    /// Requests that were sent.
    pub(super) requests: usize,
    /// Events that were found in them.
    pub(super) events: usize,
    /// Acknowledgements: answers after which another request was sent.
    pub(super) acknowledgements: usize,
}

/// A request as it was sent, and its answer.
struct Request {
    began: usize,
    bytes: Vec<u8>,
    answered: Option<usize>,
}

/// Judges the lane of `destination`, which sends one request at a time.
///
/// - A request that carries one of `marks` begins only after a sync has returned that began after the write
///   of that mark to the same file of the journal.
/// - A request that follows another begins only after the answer to that one was journaled: a write to the
///   row of the destination, begun after the answer came, and a returned sync that began after that write.
pub(super) fn judge(calls: &[Call], marks: &[String], destination: &str) -> (Examined, Vec<String>) {
    let requests = requests(calls);
    let mut examined = Examined { requests: requests.len(), ..Examined::default() };
    let mut faults = Vec::new();
    for (number, request) in requests.iter().enumerate() {
        for mark in marks.iter().filter(|mark| super::trace::holds(&request.bytes, mark)) {
            examined.events += 1;
            if !is_durable(calls, mark, 0, request.began) {
                faults.push(format!("request {number} carries {mark}, which was not on disk yet"));
            }
        }
    }
    for (number, pair) in requests.windows(2).enumerate() {
        let [request, next] = pair else { continue };
        match request.answered.filter(|answered| *answered < next.began) {
            None => faults.push(format!("request {} was sent before {number} was answered", number + 1)),
            Some(answered) => {
                examined.acknowledgements += 1;
                if !is_durable(calls, destination, answered, next.began) {
                    faults.push(format!(
                        "request {} was sent before the answer to {number} was on disk",
                        number + 1
                    ));
                }
            }
        }
    }
    (examined, faults)
}

/// Judges a relay that takes pushes, each by a connection of its own and with one of `marks` in it: a `200` begins
/// to be sent only after a sync has returned that began after the write of the mark to the same file of the
/// journal.
pub(super) fn judge_answers(calls: &[Call], marks: &[String]) -> (Examined, Vec<String>) {
    let mut pushes: Vec<(String, Request)> = Vec::new();
    for call in calls.iter().filter(|call| call.file.starts_with("TCP")) {
        let push = pushes.iter_mut().rev().find(|(connection, _)| *connection == call.file);
        match call.name.as_str() {
            "read" | "readv" | "recvfrom" | "recvmsg" if !call.bytes.is_empty() => match push {
                Some((_, push)) => push.bytes.extend_from_slice(&call.bytes),
                None => {
                    let push = Request { began: call.began, bytes: call.bytes.clone(), answered: None };
                    pushes.push((call.file.clone(), push));
                }
            },
            "write" | "writev" | "sendto" | "sendmsg" | "sendmmsg"
                if call.bytes.starts_with(b"HTTP/1.1 200 ") =>
            {
                if let Some((_, push)) = push {
                    push.answered = push.answered.or(Some(call.began));
                }
            }
            _ => {}
        }
    }
    let mut examined = Examined { requests: pushes.len(), ..Examined::default() };
    let mut faults = Vec::new();
    for (number, (_, push)) in pushes.iter().enumerate() {
        examined.acknowledgements += usize::from(push.answered.is_some());
        for mark in marks.iter().filter(|mark| super::trace::holds(&push.bytes, mark)) {
            examined.events += 1;
            if push.answered.is_some_and(|answered| !is_durable(calls, mark, 0, answered)) {
                faults.push(format!("push {number} was answered 200, and {mark} was not on disk yet"));
            }
        }
    }
    (examined, faults)
}

/// Whether a write that holds `what`, begun after `after`, was followed by a sync of the same file that had
/// returned before `before`.
fn is_durable(calls: &[Call], what: &str, after: usize, before: usize) -> bool {
    let is_write = |call: &&Call| {
        matches!(call.name.as_str(), "write" | "pwrite64" | "pwritev" | "writev")
            && (call.file.ends_with("/journal.db-wal") || call.file.ends_with("/journal.db"))
            && call.result.is_some_and(|written| written > 0)
            && (after..before).contains(&call.began)
            && call.holds(what)
    };
    calls.iter().filter(is_write).any(|write| {
        calls.iter().any(|sync| {
            matches!(sync.name.as_str(), "fsync" | "fdatasync")
                && sync.file == write.file
                && sync.result == Some(0)
                && write.returned.is_some_and(|returned| returned < sync.began)
                && sync.returned.is_some_and(|returned| returned < before)
        })
    })
}

fn requests(calls: &[Call]) -> Vec<Request> {
    let is_socket = |call: &&Call| call.file.starts_with("TCP") || call.file.starts_with("socket");
    let mut requests: Vec<(String, Request)> = Vec::new();
    for call in calls.iter().filter(is_socket) {
        let open = requests.iter_mut().rev().find(|(connection, _)| *connection == call.file);
        match call.name.as_str() {
            "write" | "writev" | "sendto" | "sendmsg" | "sendmmsg" if call.bytes.starts_with(b"POST ") => {
                let request = Request { began: call.began, bytes: call.bytes.clone(), answered: None };
                requests.push((call.file.clone(), request));
            }
            "write" | "writev" | "sendto" | "sendmsg" | "sendmmsg" => {
                if let Some((_, request)) = open {
                    request.bytes.extend_from_slice(&call.bytes);
                }
            }
            "read" | "readv" | "recvfrom" | "recvmsg" if call.bytes.starts_with(b"HTTP/1.1 ") => {
                if let Some((_, request)) = open {
                    request.answered = request.answered.or(call.returned);
                }
            }
            _ => {}
        }
    }
    requests.into_iter().map(|(_, request)| request).collect()
}

#[cfg(test)]
mod tests {
    use super::super::trace::parse;
    use super::*;

    const WAL: &str = "7</d/journal.db-wal>";
    const TCP: &str = "9<TCP:[127.0.0.1:1->127.0.0.1:2]>";

    /// A trace of these calls, one after another, each by thread and text.
    fn judged(lines: &[(u32, String)]) -> (Examined, Vec<String>) {
        let text: String = lines
            .iter()
            .enumerate()
            .map(|(at, (thread, line))| format!("{thread} 1.{at:06} {line}\n"))
            .collect();
        judge(&parse(&text).unwrap(), &["mark-1".to_owned(), "mark-2".to_owned()], "sink")
    }

    fn write(what: &str) -> (u32, String) {
        (1, format!("pwrite64({WAL}, \"\\0page {what} \\377\", 4096, 32) = 4096"))
    }

    fn sync() -> (u32, String) {
        (1, format!("fsync({WAL}) = 0"))
    }

    fn send(what: &str) -> (u32, String) {
        (2, format!("sendto({TCP}, \"POST / HTTP/1.1\\r\\n\\r\\n{what}\", 40, MSG_NOSIGNAL, NULL, 0) = 40"))
    }

    fn answer() -> (u32, String) {
        (2, format!("recvfrom({TCP}, \"HTTP/1.1 200 OK\\r\\n\\r\\n\", 8192, 0, NULL, NULL) = 19"))
    }

    #[test]
    fn what_is_in_order_passes() {
        let (examined, faults) = judged(&[
            write("mark-1"),
            write("mark-2"),
            sync(),
            send("mark-1"),
            answer(),
            write("sink"),
            sync(),
            send("mark-2"),
            answer(),
        ]);
        assert!(faults.is_empty(), "{faults:?}");
        assert_eq!(examined, Examined { requests: 2, events: 2, acknowledgements: 1 });
    }

    #[test]
    fn an_event_that_was_not_synced_is_found() {
        for lines in [
            vec![write("mark-1"), send("mark-1")],
            vec![sync(), write("mark-1"), send("mark-1"), sync()],
            vec![send("mark-1"), write("mark-1"), sync()],
            vec![write("mark-2"), sync(), send("mark-1")],
            // Of another file.
            vec![write("mark-1"), (1, "fsync(8</d/journal.db>) = 0".to_owned()), send("mark-1")],
            // Failed.
            vec![write("mark-1"), (1, format!("fsync({WAL}) = -1 EIO (Input/output error)")), send("mark-1")],
        ] {
            let (examined, faults) = judged(&lines);
            assert_eq!((examined.events, faults.len()), (1, 1), "{lines:?}: {faults:?}");
        }
    }

    #[test]
    fn a_sync_that_has_not_returned_does_not_count() {
        let begun = (1, format!("fsync({WAL} <unfinished ...>"));
        let returned = (1, "<... fsync resumed>)             = 0".to_owned());
        let early = [write("mark-1"), begun.clone(), send("mark-1"), returned.clone()];
        assert_eq!(judged(&early).1.len(), 1);
        let late = [write("mark-1"), begun, returned, send("mark-1")];
        assert_eq!(judged(&late).1.len(), 0);
    }

    #[test]
    fn a_sync_under_way_during_the_write_does_not_count() {
        let begun = (3, format!("fsync({WAL} <unfinished ...>"));
        let returned = (3, "<... fsync resumed>)             = 0".to_owned());
        assert_eq!(judged(&[begun, write("mark-1"), returned, send("mark-1")]).1.len(), 1);
    }

    #[test]
    fn an_answer_before_the_sync_is_found() {
        let come =
            (2, format!("recvfrom({TCP}, \"POST / HTTP/1.1\\r\\n\\r\\nmark-1\", 8192, 0, NULL, NULL) = 25"));
        let said =
            (2, format!("sendto({TCP}, \"HTTP/1.1 200 OK\\r\\n\\r\\n\", 19, MSG_NOSIGNAL, NULL, 0) = 19"));
        for (lines, is_right) in [
            (vec![come.clone(), write("mark-1"), sync(), said.clone()], true),
            (vec![come.clone(), write("mark-1"), said.clone(), sync()], false),
            (vec![come.clone(), sync(), write("mark-1"), said.clone()], false),
            (vec![come.clone(), write("mark-2"), sync(), said.clone()], false),
        ] {
            let text: String = lines
                .iter()
                .enumerate()
                .map(|(at, (thread, line))| format!("{thread} 1.{at:06} {line}\n"))
                .collect();
            let (examined, faults) = judge_answers(&parse(&text).unwrap(), &["mark-1".to_owned()]);
            assert_eq!(examined, Examined { requests: 1, events: 1, acknowledgements: 1 });
            assert_eq!(faults.is_empty(), is_right, "{lines:?}: {faults:?}");
        }
    }

    #[test]
    fn an_acknowledgement_that_was_not_synced_is_found() {
        let accepted = [write("mark-1"), write("mark-2"), sync()];
        for between in [
            vec![answer()],
            vec![answer(), write("sink")],
            vec![answer(), sync()],
            vec![write("sink"), sync(), answer()],
            vec![write("sink"), answer(), sync()],
            vec![answer(), write("other"), sync()],
            vec![write("sink"), sync()],
        ] {
            let lines: Vec<_> = accepted
                .iter()
                .cloned()
                .chain([send("mark-1")])
                .chain(between.iter().cloned())
                .chain([send("mark-2")])
                .collect();
            assert_eq!(judged(&lines).1.len(), 1, "{between:?}");
        }
    }
}
