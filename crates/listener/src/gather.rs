//! The bytes of a connection whose streams share it: what they say at the same moment goes out together.
//!
//! An event that a hundred watchers wait for makes a hundred tasks ready, each of which wakes the connection's, which the runtime
//! then runs before the next of them: one TLS record and one system call for each. So what is written is kept until the
//! connection's task has been polled, and once more until those have run that were ready by then.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The most bytes that wait: four TLS records.
const MOST: usize = 64 * 1024;

/// What is as long as this is not copied to go out with others.
const LARGE: usize = 8 * 1024;

/// A connection's bytes, and the same for whoever polls the connection.
pub(crate) struct Gathered<T>(Arc<Mutex<Gathering<T>>>);

struct Gathering<T> {
    inner: T,
    /// Whether streams share the connection. Otherwise everything goes out when it is written.
    shared: bool,
    waiting: BytesMut,
    /// What went out last is not all on its way.
    unflushed: bool,
    /// Those that are ready go first; it has been waited for them once.
    put_off: bool,
    /// Why what waited cannot go out; not told yet.
    failed: Option<io::Error>,
}

impl<T> Clone for Gathered<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Gathered<T> {
    /// Those of `inner`, gathered if streams share it.
    pub(crate) fn new(inner: T, shared: bool) -> Self {
        Self(Arc::new(Mutex::new(Gathering {
            inner,
            shared,
            waiting: BytesMut::new(),
            unflushed: false,
            put_off: false,
            failed: None,
        })))
    }

    /// Runs the connection whose bytes these are, and lets them out; `several` says whether more than one of its streams is open.
    pub(crate) async fn drive<C: Future>(
        &self,
        mut connection: Pin<&mut C>,
        several: impl Fn() -> bool,
    ) -> C::Output {
        poll_fn(|context| {
            let outcome = connection.as_mut().poll(context);
            if outcome.is_pending() {
                self.0.lock().settle(context, &several);
            }
            outcome
        })
        .await
    }
}

impl<T: AsyncWrite + Unpin> Gathering<T> {
    /// The connection's task has been polled: lets out what waits, or asks to be polled again when others have run.
    fn settle(&mut self, context: &mut Context<'_>, several: impl Fn() -> bool) {
        if self.waiting.is_empty() && !self.unflushed {
            return;
        }
        self.put_off = !self.put_off && several();
        if self.put_off {
            context.waker().wake_by_ref();
        } else if let Poll::Ready(Err(error)) = self.let_out(context) {
            self.failed = Some(error);
            context.waker().wake_by_ref();
        }
    }

    /// Writes all that waits.
    fn let_out(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.waiting.is_empty() {
            self.unflushed = true;
            let written = ready!(Pin::new(&mut self.inner).poll_write(context, &self.waiting))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.waiting.advance(written);
        }
        // An idle connection holds no memory for it.
        self.waiting = BytesMut::new();
        ready!(Pin::new(&mut self.inner).poll_flush(context))?;
        self.unflushed = false;
        Poll::Ready(Ok(()))
    }

    fn write(&mut self, context: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Err(error));
        }
        let length = slices.iter().map(|slice| slice.len()).sum();
        if self.waiting.len() + length > MOST {
            ready!(self.let_out(context))?;
        }
        if !self.shared || self.waiting.is_empty() && length >= LARGE {
            return Pin::new(&mut self.inner).poll_write_vectored(context, slices);
        }
        slices.iter().for_each(|slice| self.waiting.extend_from_slice(slice));
        Poll::Ready(Ok(length))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Gathered<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.lock().inner).poll_read(context, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Gathered<T> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.lock().write(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.lock().write(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.lock().inner.is_write_vectored()
    }

    /// What waits goes out with what others say, by [`Gathered::drive`].
    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut this = self.0.lock();
        match this.failed.take() {
            Some(error) => Poll::Ready(Err(error)),
            None if this.waiting.is_empty() => Pin::new(&mut this.inner).poll_flush(context),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut this = self.0.lock();
        if !this.waiting.is_empty() {
            ready!(this.let_out(context))?;
        }
        Pin::new(&mut this.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
    use tokio::sync::mpsc;

    use super::*;

    /// Where bytes go, write by write.
    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<Vec<u8>>>>);

    impl AsyncRead for Sink {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    impl AsyncWrite for Sink {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            if bytes == b"fail" {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            self.0.lock().push(bytes.to_owned());
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// A connection that writes what streams say, until all of them are gone.
    async fn connection<T: AsyncRead + AsyncWrite + Unpin>(
        mut io: Gathered<T>,
        mut streams: mpsc::UnboundedReceiver<Vec<u8>>,
    ) -> io::Result<()> {
        while let Some(said) = streams.recv().await {
            io.write_all(&said).await?;
            io.flush().await?;
        }
        io.shutdown().await
    }

    #[tokio::test]
    async fn what_streams_say_at_the_same_moment_goes_out_at_once() {
        let (sink, (say, said)) = (Sink::default(), mpsc::unbounded_channel());
        let io = Gathered::new(sink.clone(), true);
        let connection = connection(io.clone(), said);
        let served = tokio::spawn(async move { io.drive(std::pin::pin!(connection), || true).await });
        let streams = (0..50).map(|_| {
            let say = say.clone();
            tokio::spawn(async move { say.send(b"event".to_vec()) })
        });
        for stream in streams.collect::<Vec<_>>() {
            stream.await.unwrap().unwrap();
        }
        drop(say);
        served.await.unwrap().unwrap();
        assert_eq!(*sink.0.lock(), [b"event".repeat(50)]);
    }

    #[tokio::test]
    async fn the_only_stream_waits_for_nobody() {
        let (sink, (say, said)) = (Sink::default(), mpsc::unbounded_channel());
        let io = Gathered::new(sink.clone(), true);
        let mut connection = Box::pin(connection(io.clone(), said));
        say.send(b"answer".to_vec()).unwrap();
        let mut driven = Box::pin(io.drive(connection.as_mut(), || false));
        assert!(futures::poll!(driven.as_mut()).is_pending());
        assert_eq!(*sink.0.lock(), [b"answer"]);
    }

    #[tokio::test]
    async fn what_is_large_is_not_copied_and_keeps_its_place() {
        let (sink, (say, said)) = (Sink::default(), mpsc::unbounded_channel());
        let io = Gathered::new(sink.clone(), true);
        let large = vec![b'x'; LARGE];
        for said in [large.clone(), b"a".to_vec(), large.clone(), vec![b'y'; MOST]] {
            say.send(said).unwrap();
        }
        drop(say);
        io.drive(std::pin::pin!(connection(io.clone(), said)), || true).await.unwrap();
        let lengths: Vec<usize> = sink.0.lock().iter().map(Vec::len).collect();
        assert_eq!(lengths, [LARGE, 1 + LARGE, MOST]);
    }

    #[tokio::test]
    async fn a_slow_client_gets_everything_in_order() {
        let ((say, said), (near, mut far)) = (mpsc::unbounded_channel(), duplex(100));
        let io = Gathered::new(near, true);
        let connection = connection(io.clone(), said);
        let served = tokio::spawn(async move { io.drive(std::pin::pin!(connection), || true).await });
        let sent: Vec<u8> = (0..200_000_u32).flat_map(u32::to_be_bytes).collect();
        for (at, piece) in sent.chunks(777).enumerate() {
            say.send(piece.to_owned()).unwrap();
            if at % 10 == 0 {
                tokio::task::yield_now().await;
            }
        }
        drop(say);
        let mut got = Vec::new();
        far.read_to_end(&mut got).await.unwrap();
        assert!(got == sent, "{} of {} bytes", got.len(), sent.len());
        served.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn that_nothing_goes_out_any_more_is_told() {
        let mut io = Gathered::new(Sink::default(), true);
        io.write_all(b"fail").await.unwrap();
        let mut nothing = Box::pin(pending::<()>());
        let driver = io.clone();
        let mut driven = Box::pin(driver.drive(nothing.as_mut(), || false));
        assert!(futures::poll!(driven.as_mut()).is_pending());
        assert_eq!(io.flush().await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
