//! The body of an answer, watched over.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::serving::Busy;

/// A body that keeps its connection busy until it is sent or dropped; a stream, which has no end of its own, ends
/// with the listener.
pub(super) struct Watched {
    inner: Body,
    end: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    has_ended: bool,
    _busy: Busy,
}

impl Watched {
    pub(super) fn new(inner: Body, end: Option<CancellationToken>, busy: Busy) -> Self {
        let end = end.map(|end| Box::pin(end.cancelled_owned()));
        Self { inner, end, has_ended: false, _busy: busy }
    }
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Some(end) = &mut self.end
            && end.as_mut().poll(context).is_ready()
        {
            self.has_ended = true;
            self.end = None;
        }
        if self.has_ended {
            return Poll::Ready(None);
        }
        Pin::new(&mut self.inner).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
