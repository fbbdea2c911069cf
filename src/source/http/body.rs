//! Reading the body of a request: within its bounds, and within the memory that all of them share.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use axum::body::Bytes;
use hyper::body::{Body as _, Incoming};
use tokio::sync::OwnedSemaphorePermit;

use super::room::Share;

/// How long a client may take to send its body.
const PATIENCE: Duration = Duration::from_secs(10);

/// So many bodies of the largest size are read past to their end, so that the client comes to read the answer.
const PASSED_BY: usize = 4;

/// A body in memory, and its share of the memory for bodies.
pub(super) struct Whole {
    pub(super) bytes: Vec<u8>,
    pub(super) room: Option<OwnedSemaphorePermit>,
}

/// Why there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoBody {
    /// It is larger than it may be.
    TooLarge,
    /// It did not come in time.
    Late,
    /// The client hung up, or sent what is no HTTP.
    Broken,
    /// Others fill the memory.
    NoRoom,
    /// Others needed the memory that it held.
    Dismissed,
}

/// Reads a body of at most `limit` bytes. Memory is taken as bytes come, not as they are announced.
pub(super) async fn read(mut body: Incoming, limit: usize, mut share: Share<'_>) -> Result<Whole, NoBody> {
    let dismissed = share.dismissed.clone();
    let reading = async {
        let mut bytes = Vec::new();
        while let Some(chunk) = next(&mut body).await? {
            if bytes.len() + chunk.len() > limit {
                drop((share, bytes));
                pass_by(&mut body, limit).await;
                return Err(NoBody::TooLarge);
            }
            if !share.take(chunk.len()).await {
                drop((share, bytes));
                pass_by(&mut body, limit).await;
                return Err(NoBody::NoRoom);
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(Whole { bytes, room: share.keep() })
    };
    tokio::select! {
        // What is whole is not given up.
        biased;
        read = tokio::time::timeout(PATIENCE, reading) => read.unwrap_or(Err(NoBody::Late)),
        () = dismissed.cancelled() => Err(NoBody::Dismissed),
    }
}

/// Reads past a body that nobody wants.
pub(super) async fn discard(mut body: Incoming, limit: usize) {
    let _ = tokio::time::timeout(PATIENCE, pass_by(&mut body, limit)).await;
}

async fn pass_by(body: &mut Incoming, limit: usize) {
    let mut left = limit.saturating_mul(PASSED_BY);
    while let Ok(Some(chunk)) = next(body).await {
        if chunk.len() > left {
            return;
        }
        left -= chunk.len();
    }
}

/// The next bytes; `None` at the end.
async fn next(body: &mut Incoming) -> Result<Option<Bytes>, NoBody> {
    loop {
        match poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await {
            None => return Ok(None),
            Some(Err(_)) => return Err(NoBody::Broken),
            Some(Ok(frame)) => {
                // Trailers are nothing to us.
                if let Ok(bytes) = frame.into_data() {
                    return Ok(Some(bytes));
                }
            }
        }
    }
}
