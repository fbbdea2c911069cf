//! A client that pushes to a relay, byte by byte where that is wanted.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;

use super::{PATIENCE, Relay, eventually};

/// An answer, as it came.
#[derive(Debug, Clone)]
pub struct Answered {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Answered {
    #[track_caller]
    pub fn json(&self) -> Value {
        assert_eq!(
            self.headers.get("content-type").map(String::as_str),
            Some("application/json"),
            "{self:?}"
        );
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The ids of a push that was accepted.
    #[track_caller]
    pub fn ids(&self) -> Vec<String> {
        assert_eq!(self.status, 200, "{}", self.text());
        let json = self.json();
        json["ids"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect()
    }

    /// The reason of one that was not.
    #[track_caller]
    pub fn error(&self) -> String {
        assert_ne!(self.status, 200);
        self.json()["error"].as_str().unwrap().to_owned()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// One connection.
pub struct Client<S = TcpStream> {
    stream: S,
    unread: Vec<u8>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self::over(stream)
    }

    /// Pushes a body by a connection of its own.
    pub fn push(address: SocketAddr, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Answered {
        Self::connect(address).post(headers, body.as_ref()).unwrap()
    }

    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// How long it waits for an answer.
    pub fn set_patience(&self, patience: Duration) {
        self.stream.set_read_timeout(Some(patience)).unwrap();
    }
}

impl<S: Read + Write> Client<S> {
    pub fn over(stream: S) -> Self {
        Self { stream, unread: Vec::new() }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.stream.write_all(bytes.as_ref())?;
        self.stream.flush()
    }

    /// Posts a body; `None` where the connection ended without an answer.
    pub fn post(&mut self, headers: &[(&str, &str)], body: &[u8]) -> Option<Answered> {
        let request = request("POST", "/v1/events", headers, body);
        // The relay may hang up amid of it; what it said is still there.
        let _ = self.send(request);
        self.answer()
    }

    /// Reads one answer; `None` where the connection ends before it is whole.
    pub fn answer(&mut self) -> Option<Answered> {
        let head_ends = loop {
            if let Some(at) = self.unread.windows(4).position(|window| window == b"\r\n\r\n") {
                break at;
            }
            self.read_more()?;
        };
        let head = String::from_utf8(self.unread[..head_ends].to_vec()).unwrap();
        let mut lines = head.lines();
        let status = lines.next()?.split(' ').nth(1)?.parse().unwrap();
        let headers: BTreeMap<String, String> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        if status == 100 {
            self.unread.drain(..head_ends + 4);
            return self.answer();
        }
        let length: usize = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
        while self.unread.len() < head_ends + 4 + length {
            self.read_more()?;
        }
        let rest = self.unread.split_off(head_ends + 4 + length);
        let body = std::mem::replace(&mut self.unread, rest).split_off(head_ends + 4);
        Some(Answered { status, headers, body })
    }

    fn read_more(&mut self) -> Option<()> {
        let mut buffer = [0; 64 * 1024];
        let length = self.stream.read(&mut buffer).ok()?;
        self.unread.extend_from_slice(&buffer[..length]);
        (length > 0).then_some(())
    }
}

/// A request as it goes over the wire.
pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{method} {path} HTTP/1.1\r\nHost: relay\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        bytes += &format!("{name}: {value}\r\n");
    }
    [bytes.as_bytes(), b"\r\n", body].concat()
}

/// As Flipt signs.
pub fn flipt_signature(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body);
    hex::encode(mac.finalize().into_bytes())
}
