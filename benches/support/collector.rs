//! The least that can be called a collector: it answers in one way, and keeps what it was sent.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;

/// How it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    /// 200.
    Well,
    /// 400.
    Refuses,
    /// 503, to be asked again in a second.
    Overloaded,
    /// Never.
    Silent,
}

impl Mood {
    fn answer(self) -> Option<&'static [u8]> {
        match self {
            Self::Well => Some(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
            Self::Refuses => Some(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n"),
            Self::Overloaded => {
                Some(b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n")
            }
            Self::Silent => None,
        }
    }
}

/// A collector on a port of its own.
pub(crate) struct Collector {
    address: SocketAddr,
    taken: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Collector {
    pub(crate) fn start(mood: Mood) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let taken = Arc::<Mutex<Vec<Vec<u8>>>>::default();
        let shared = Arc::clone(&taken);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let taken = Arc::clone(&shared);
                std::thread::spawn(move || serve(stream, mood, &taken));
            }
        });
        Self { address, taken }
    }

    /// Where it listens.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many spans it took.
    pub(crate) fn spans(&self) -> usize {
        let taken = self.taken.lock().expect("nobody panics with it");
        let read = taken.iter().filter_map(|body| ExportTraceServiceRequest::decode(&**body).ok());
        read.flat_map(|request| request.resource_spans)
            .flat_map(|resource| resource.scope_spans)
            .map(|scope| scope.spans.len())
            .sum()
    }
}

fn serve(mut stream: TcpStream, mood: Mood, taken: &Mutex<Vec<Vec<u8>>>) -> Option<()> {
    let mut held = Vec::new();
    let mut chunk = [0; 64 * 1024];
    loop {
        while let Some(request) = whole(&mut held) {
            let answer = mood.answer()?;
            if mood == Mood::Well && request.0.starts_with("POST /v1/traces") {
                taken.lock().expect("nobody panics with it").push(request.1);
            }
            stream.write_all(answer).ok()?;
        }
        let read = stream.read(&mut chunk).ok().filter(|read| *read > 0)?;
        held.extend_from_slice(&chunk[..read]);
    }
}

/// Takes the first request out of what was read, once it is whole.
fn whole(held: &mut Vec<u8>) -> Option<(String, Vec<u8>)> {
    let end = held.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&held[..end]).into_owned();
    let length = head.to_ascii_lowercase();
    let length = length.lines().find_map(|line| line.strip_prefix("content-length:")).unwrap_or("0");
    let length: usize = length.trim().parse().ok()?;
    if held.len() < end + length {
        return None;
    }
    let body = held[end..end + length].to_vec();
    held.drain(..end + length);
    Some((head, body))
}
