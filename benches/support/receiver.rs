//! The least that can be called an HTTP receiver: it shares the cores with what is measured.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

#[derive(Default)]
struct Taken {
    events: usize,
    /// When each event came first, by its number.
    receipts: Vec<Option<Instant>>,
}

/// Answers 200 to everything, and notes when each event came.
pub(crate) struct Receiver {
    address: SocketAddr,
    taken: Arc<(Mutex<Taken>, Condvar)>,
}

impl Receiver {
    /// A receiver of events with numbers below `events`.
    pub(crate) fn start(events: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let taken = Taken { events: 0, receipts: vec![None; events] };
        let taken = Arc::new((Mutex::new(taken), Condvar::new()));
        let shared = Arc::clone(&taken);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let taken = Arc::clone(&shared);
                // A connection that breaks is the sender's to open again.
                std::thread::spawn(move || serve(stream, &taken));
            }
        });
        Self { address, taken }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many events came, repetitions included.
    pub(crate) fn events(&self) -> usize {
        self.taken.0.lock().expect("nobody panics with it").events
    }

    /// When each event came first.
    pub(crate) fn receipts(&self) -> Vec<Option<Instant>> {
        self.taken.0.lock().expect("nobody panics with it").receipts.clone()
    }

    /// Waits for so many events.
    pub(crate) fn wait_for(&self, count: usize, patience: Duration) {
        let begun = Instant::now();
        let mut taken = self.taken.0.lock().expect("nobody panics with it");
        while taken.events < count {
            assert!(begun.elapsed() < patience, "only {} of {count} events came", taken.events);
            taken =
                self.taken.1.wait_timeout(taken, Duration::from_secs(1)).expect("nobody panics with it").0;
        }
    }
}

fn serve(mut stream: TcpStream, taken: &(Mutex<Taken>, Condvar)) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; 1 << 20];
    let mut filled = 0;
    loop {
        let count = stream.read(&mut buffer[filled..])?;
        if count == 0 {
            return Ok(());
        }
        filled += count;
        while let Some(length) = request_length(&buffer[..filled]) {
            if buffer.len() < length {
                buffer.resize(length, 0);
            }
            if filled < length {
                break;
            }
            note(&buffer[..length], taken);
            stream.write_all(ANSWER)?;
            buffer.copy_within(length..filled, 0);
            filled -= length;
        }
        if filled == buffer.len() {
            buffer.resize(2 * filled, 0);
        }
    }
}

/// Head and body together, once the head is there.
fn request_length(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&bytes[..head]).expect("heads are text");
    let body = text
        .lines()
        .find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>())
        })
        .expect("every request tells its length")
        .expect("a length is a number");
    Some(head + body)
}

const DATA: &[u8] = b"\"data\":{\"version\"";

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn next_mark(bytes: &[u8], is_envelope: bool) -> Option<usize> {
    let from = if is_envelope { find(bytes, DATA)? } else { 0 };
    bytes[from..].iter().position(|byte| *byte == b'#').map(|at| from + at)
}

fn note(request: &[u8], taken: &(Mutex<Taken>, Condvar)) {
    let now = Instant::now();
    let mut noted = taken.0.lock().expect("nobody panics with it");
    let mut rest = request;
    // An envelope tells what changed before what Flipt wrote; the number of the event itself stands there.
    let is_envelope = find(rest, DATA).is_some();
    while let Some(at) = next_mark(rest, is_envelope) {
        rest = &rest[at + 1..];
        let number = rest[..9].iter().fold(0, |number, digit| number * 10 + usize::from(digit - b'0'));
        noted.receipts[number].get_or_insert(now);
        noted.events += 1;
    }
    taken.1.notify_all();
}
