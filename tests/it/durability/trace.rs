//! What `strace -f -ttt -yy -o FILE` wrote, read back into calls with their order.
//!
//! A call that another thread interrupted is written in two halves, `<unfinished ...>` and `resumed`: its
//! beginning has the order of the first, its return that of the second. strace holds a thread at both ends
//! of a call, so whatever a thread did because a call had returned comes after that call's return.

use std::collections::HashMap;

/// One system call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Call {
    /// The thread.
    pub(super) thread: u32,
    /// The line on which it began.
    pub(super) began: usize,
    /// The line on which it returned; `None` when the trace ends before.
    pub(super) returned: Option<usize>,
    /// Its name.
    pub(super) name: String,
    /// What the first argument, a descriptor, stands for: a path, or strace's words for a socket.
    pub(super) file: String,
    /// All bytes that it was given or gave, of every string among the arguments.
    pub(super) bytes: Vec<u8>,
    /// What it returned; `None` for an error or none.
    pub(super) result: Option<i64>,
}

impl Call {
    pub(super) fn holds(&self, what: &str) -> bool {
        holds(&self.bytes, what)
    }
}

pub(super) fn holds(bytes: &[u8], what: &str) -> bool {
    bytes.windows(what.len()).any(|window| window == what.as_bytes())
}

/// Reads a whole trace. Lines that are no calls (signals, exits) are passed over; a line that cannot be
/// understood is an error, since a judge that overlooks a call judges nothing.
pub(super) fn parse(text: &str) -> Result<Vec<Call>, String> {
    let mut calls = Vec::new();
    let mut halves: HashMap<u32, (usize, String)> = HashMap::new();
    for (order, line) in text.lines().enumerate() {
        let wrong = |what: &str| format!("line {}: {what}: {line}", order + 1);
        let (thread, rest) = line.split_once(' ').ok_or_else(|| wrong("no thread"))?;
        let thread: u32 = thread.parse().map_err(|_| wrong("no thread"))?;
        let (time, rest) = rest.trim_start().split_once(' ').ok_or_else(|| wrong("no time"))?;
        time.parse::<f64>().map_err(|_| wrong("no time"))?;
        if rest.starts_with("+++") || rest.starts_with("---") {
            continue;
        }
        if let Some(first) = rest.strip_suffix("<unfinished ...>") {
            if halves.insert(thread, (order, first.to_owned())).is_some() {
                return Err(wrong("a second call of one thread began before the first returned"));
            }
            continue;
        }
        if let Some(resumed) = rest.strip_prefix("<... ") {
            let (began, first) = halves.remove(&thread).ok_or_else(|| wrong("nothing to resume"))?;
            let (name, second) = resumed.split_once(" resumed>").ok_or_else(|| wrong("no call"))?;
            if !first.starts_with(name) {
                return Err(wrong("another call is resumed than the one that began"));
            }
            let whole = format!("{}{second}", first.trim_end());
            calls.push(call(thread, began, Some(order), &whole).map_err(|what| wrong(&what))?);
            continue;
        }
        calls.push(call(thread, order, Some(order), rest).map_err(|what| wrong(&what))?);
    }
    for (thread, (began, first)) in halves {
        calls.push(call(thread, began, None, &first).map_err(|what| format!("line {}: {what}", began + 1))?);
    }
    calls.sort_by_key(|call| call.began);
    Ok(calls)
}

fn call(thread: u32, began: usize, returned: Option<usize>, text: &str) -> Result<Call, String> {
    let (name, arguments) = text.split_once('(').ok_or("no call")?;
    let result = match returned {
        // The last ` = ` is strace's own: what strings hold has been closed by a quote and a parenthesis.
        Some(_) => {
            let (_, result) = text.rsplit_once(" = ").ok_or("no result")?;
            result
                .split([' ', '<'])
                .next()
                .and_then(|number| number.parse().ok())
                .filter(|number| *number >= 0)
        }
        None => None,
    };
    let file = descriptor(arguments).unwrap_or_default().to_owned();
    Ok(Call { thread, began, returned, name: name.to_owned(), file, bytes: strings(arguments)?, result })
}

/// What `7</a/b>` stands for. A path may hold `>`, as in `TCP:[127.0.0.1:1->127.0.0.1:2]`.
fn descriptor(arguments: &str) -> Option<&str> {
    let (number, rest) = arguments.split_once('<')?;
    number.parse::<u32>().ok()?;
    let end = rest.match_indices('>').find(|(at, _)| {
        let after = rest[at + 1..].chars().next();
        matches!(after, None | Some(',' | ')' | ' '))
    })?;
    Some(&rest[..end.0])
}

/// The bytes of every quoted string, one after another.
fn strings(arguments: &str) -> Result<Vec<u8>, String> {
    let source = arguments.as_bytes();
    let mut bytes = Vec::new();
    let mut at = 0;
    while let Some(open) = source[at..].iter().position(|byte| *byte == b'"') {
        at += open + 1;
        loop {
            match source.get(at).ok_or("a string does not end")? {
                b'"' => break,
                b'\\' => at = escape(source, at + 1, &mut bytes)?,
                byte => {
                    bytes.push(*byte);
                    at += 1;
                }
            }
        }
        at += 1;
        if source[at..].starts_with(b"...") {
            return Err("a string was cut short: strace needs a larger -s".to_owned());
        }
    }
    Ok(bytes)
}

/// Reads what follows a backslash; returns where to go on.
fn escape(source: &[u8], at: usize, bytes: &mut Vec<u8>) -> Result<usize, String> {
    let first = *source.get(at).ok_or("a string does not end")?;
    let plain = match first {
        b'n' => b'\n',
        b't' => b'\t',
        b'r' => b'\r',
        b'v' => 0x0b,
        b'f' => 0x0c,
        b'0'..=b'7' => {
            let digits = source[at..].iter().take(3).take_while(|byte| matches!(byte, b'0'..=b'7')).count();
            let value =
                source[at..at + digits].iter().fold(0_u32, |value, byte| value * 8 + u32::from(byte - b'0'));
            bytes.push(u8::try_from(value).map_err(|_| "no byte")?);
            return Ok(at + digits);
        }
        other => other,
    };
    bytes.push(plain);
    Ok(at + 1)
}

#[test]
fn a_whole_call_is_read() {
    let calls = parse(
        "812 1795338000.123456 pwrite64(7</d/journal.db-wal>, \"\\0\\17a\\\"b\\n\\3774\", 8, 32) = 8\n\
         812 1795338000.123999 fsync(7</d/journal.db-wal>) = 0\n\
         812 1795338000.124001 write(9</d/x>, \"y\", 1) = -1 ENOSPC (No space left on device)\n\
         812 1795338000.125000 +++ exited with 0 +++\n",
    )
    .unwrap();
    assert_eq!(calls.len(), 3);
    assert_eq!(calls[0].bytes, b"\0\x0fa\"b\n\xff4");
    assert_eq!((calls[0].file.as_str(), calls[0].result), ("/d/journal.db-wal", Some(8)));
    assert_eq!((calls[1].name.as_str(), calls[1].result), ("fsync", Some(0)));
    assert_eq!(calls[2].result, None);
}

#[test]
fn halves_are_joined_in_their_order() {
    let calls = parse("1 1.000001 fsync(7</d/a b> <unfinished ...>\n").unwrap();
    assert_eq!((calls[0].file.as_str(), calls[0].returned), ("/d/a b", None));
    let calls = parse(
        "1 1.000001 fsync(7</d/journal.db-wal> <unfinished ...>\n\
         2 1.000002 recvfrom(9<TCP:[127.0.0.1:1->127.0.0.1:2]>,  <unfinished ...>\n\
         3 1.000003 --- SIGTERM {si_signo=SIGTERM} ---\n\
         1 1.000004 <... fsync resumed>)             = 0\n\
         2 1.000005 <... recvfrom resumed>\"HTTP/1.1 200 OK\\r\\n = 3\", 8192, 0, NULL, NULL) = 17\n",
    )
    .unwrap();
    assert_eq!((calls[0].began, calls[0].returned, calls[0].result), (0, Some(3), Some(0)));
    assert_eq!((calls[1].began, calls[1].returned, calls[1].result), (1, Some(4), Some(17)));
    assert_eq!(calls[1].file, "TCP:[127.0.0.1:1->127.0.0.1:2]");
    assert!(calls[1].holds("200 OK\r\n"));
}

#[test]
fn what_is_not_understood_is_not_passed_over() {
    for text in [
        "nonsense\n",
        "1 1.0 <... fsync resumed>) = 0\n",
        "1 1.0 fsync(7</d/a> <unfinished ...>\n1 1.1 fsync(7</d/a> <unfinished ...>\n",
        "1 1.0 write(7</d/a>, \"abc\"..., 900) = 900\n",
        "1 1.0 write(7</d/a>, \"abc\n",
    ] {
        assert!(parse(text).is_err(), "{text}");
    }
}
