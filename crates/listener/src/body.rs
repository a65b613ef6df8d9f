//! Bodies of both directions, as the bounds need them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use parking_lot::Mutex;

use crate::BoxError;
use crate::contain::Panicked;
use crate::exchange::Running;

/// How long the rest of an unread body is waited for.
const REST: Duration = Duration::from_secs(2);

/// A request's body. What its handler leaves unread is taken by the listener, so that an HTTP/1 connection can go on.
#[derive(Debug)]
pub struct RequestBody(Arc<Mutex<Incoming>>);

/// The listener's hold on a request's body.
pub(crate) struct Rest(Arc<Mutex<Incoming>>);

impl RequestBody {
    pub(crate) fn new(incoming: Incoming) -> (Self, Rest) {
        let shared = Arc::new(Mutex::new(incoming));
        (Self(shared.clone()), Rest(shared))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut *self.0.lock()).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.0.lock().is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.lock().size_hint()
    }
}

impl Rest {
    /// Takes what nobody has read, up to `most` bytes. False: there is more, and the connection cannot be used again.
    /// A body that somebody still reads (it is passed on) is left alone.
    pub(crate) async fn take(self, most: usize) -> bool {
        let Some(body) = Arc::into_inner(self.0) else { return true };
        let mut body = body.into_inner();
        if body.is_end_stream() {
            return true;
        }
        let taking = async {
            let mut taken = 0;
            while let Some(frame) = body.frame().await {
                let Ok(frame) = frame else { return false };
                taken += frame.data_ref().map_or(0, Bytes::len);
                if taken > most {
                    return false;
                }
            }
            true
        };
        tokio::time::timeout(REST, taking).await.unwrap_or(false)
    }
}

/// Answers go out in pieces of this size, in bytes.
const PIECE: usize = 64 * 1024;

/// An answer's body: tells its exchange how the client takes it, and ends it.
pub(crate) struct Answer {
    inner: UnsyncBoxBody<Bytes, BoxError>,
    /// The rest of a piece that was too large.
    rest: Bytes,
    running: Running,
}

impl Answer {
    pub(crate) fn new<B>(inner: B, running: Running) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Self { inner: inner.map_err(Into::into).boxed_unsync(), rest: Bytes::new(), running }
    }

    fn next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.rest.is_empty() {
            // A panic in an answer that is made while it is sent ends this answer and no other.
            let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(&mut self.inner).poll_frame(context)));
            let polled = polled.unwrap_or_else(|payload| {
                let Panicked { message } = Panicked::new(&*payload);
                tracing::error!(message, "an answer was broken off: its body panicked");
                Poll::Ready(Some(Err("the answer was broken off".into())))
            });
            match futures::ready!(polled) {
                Some(Ok(frame)) if frame.data_ref().is_some_and(|data| data.len() > PIECE) => {
                    self.rest = frame.into_data().unwrap_or_default();
                }
                other => return Poll::Ready(other),
            }
        }
        // A copy, so that a piece that waits in a buffer does not keep the whole.
        let piece = Bytes::copy_from_slice(&self.rest[..self.rest.len().min(PIECE)]);
        self.rest.advance(piece.len());
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.running.exchange().wanted();
        let next = self.next(context);
        if matches!(next, Poll::Ready(Some(Ok(_)))) {
            self.running.exchange().given();
        }
        next
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (mut hint, rest) = (self.inner.size_hint(), self.rest.len() as u64);
        if rest > 0 {
            let upper = hint.upper().map(|upper| upper + rest);
            hint.set_lower(hint.lower() + rest);
            upper.into_iter().for_each(|upper| hint.set_upper(upper));
        }
        hint
    }
}
