//! An address that stays while what stands behind it goes and comes: bytes pass through it, and are counted.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::eventually;

#[derive(Default)]
struct Shared {
    behind: Mutex<Option<SocketAddr>>,
    passed: AtomicU64,
    /// The `webhook-id` of each request that was begun.
    requests: Mutex<Vec<String>>,
}

/// The passage; its threads end with the test process.
pub(super) struct Passage {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Passage {
    pub(super) fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::<Shared>::default();
        let of_listener = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&of_listener);
                std::thread::spawn(move || pass(client, &shared));
            }
        });
        Self { address, shared }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What stands behind it from now on; nothing: whoever comes is turned away.
    pub(super) fn lead_to(&self, behind: Option<SocketAddr>) {
        *self.shared.behind.lock().unwrap() = behind;
    }

    /// Bytes that went in so far.
    pub(super) fn passed(&self) -> u64 {
        self.shared.passed.load(Ordering::Acquire)
    }

    /// How many requests went in that had gone in before.
    pub(super) fn repeated(&self) -> usize {
        let requests = self.shared.requests.lock().unwrap();
        requests.len() - requests.iter().collect::<BTreeSet<_>>().len()
    }

    /// Waits until so many bytes more have gone in, or nothing more is to come.
    pub(super) fn wait_for(&self, bytes: u64, is_over: impl Fn() -> bool) {
        let until = self.passed() + bytes;
        eventually("bytes pass", || (self.passed() >= until || is_over()).then_some(()));
    }
}

fn pass(client: TcpStream, shared: &Arc<Shared>) {
    let Some(behind) = *shared.behind.lock().unwrap() else { return };
    let Ok(server) = TcpStream::connect_timeout(&behind, Duration::from_secs(5)) else { return };
    let (Ok(client_out), Ok(server_in)) = (client.try_clone(), server.try_clone()) else { return };
    let back = std::thread::spawn(move || copy(server_in, client_out, |_| {}));
    let mut seen = Vec::new();
    copy(client, server, |bytes| {
        shared.passed.fetch_add(bytes.len() as u64, Ordering::AcqRel);
        seen.extend_from_slice(bytes);
    });
    let seen = String::from_utf8_lossy(&seen);
    let ids = seen.lines().filter_map(|line| line.strip_prefix("webhook-id: ")).map(str::to_owned);
    shared.requests.lock().unwrap().extend(ids);
    let _ = back.join();
}

fn copy(mut from: TcpStream, mut to: TcpStream, mut look: impl FnMut(&[u8])) {
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
        look(&buffer[..read]);
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
