//! A bounded pipe of byte chunks from a connection's reader to the one who consumes a stream.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use tokio::{
    io::{AsyncRead, ReadBuf},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
};

/// Told how many bytes were consumed, for flow control.
pub(crate) type OnConsumed = Box<dyn FnMut(usize) + Send>;

/// Makes a pipe that holds up to `limit` bytes, and one chunk more.
pub(crate) fn pipe(limit: u32, on_consumed: Option<OnConsumed>) -> (InputSender, InputReader) {
    let room = Arc::new(Semaphore::new(limit as usize));
    let (sender, receiver) = mpsc::unbounded_channel();
    let reader = InputReader { receiver, room: room.clone(), state: State::Between, on_consumed };
    (InputSender { sender, room, limit }, reader)
}

enum Item {
    Chunk(Bytes, OwnedSemaphorePermit),
    End,
}

/// The connection's side. Dropped without [`InputSender::end`], the consumer sees a broken connection.
pub(crate) struct InputSender {
    sender: mpsc::UnboundedSender<Item>,
    room: Arc<Semaphore>,
    limit: u32,
}

impl Clone for InputSender {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), room: self.room.clone(), limit: self.limit }
    }
}

impl InputSender {
    /// Waits for room and hands over a chunk; nothing happens if nobody reads any more.
    pub(crate) async fn push(&self, chunk: Bytes) {
        if chunk.is_empty() {
            return;
        }
        let want = u32::try_from(chunk.len()).unwrap_or(u32::MAX).min(self.limit);
        if let Ok(permit) = self.room.clone().acquire_many_owned(want).await {
            self.deliver(Item::Chunk(chunk, permit));
        }
    }

    /// The stream ends in order.
    pub(crate) fn end(&self) {
        self.deliver(Item::End);
    }

    fn deliver(&self, item: Item) {
        if self.sender.send(item).is_err() {
            tracing::trace!("input for a stream that nobody reads");
        }
    }
}

enum State {
    Between,
    Within(Bytes, OwnedSemaphorePermit),
    Ended,
}

/// The consumer's side.
pub(crate) struct InputReader {
    receiver: mpsc::UnboundedReceiver<Item>,
    room: Arc<Semaphore>,
    state: State,
    on_consumed: Option<OnConsumed>,
}

impl Drop for InputReader {
    fn drop(&mut self) {
        self.room.close(); // so that the connection's reader does not wait for us
    }
}

impl AsyncRead for InputReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            match &mut this.state {
                State::Ended => return Poll::Ready(Ok(())),
                State::Between => {
                    this.state = match ready!(this.receiver.poll_recv(cx)) {
                        Some(Item::Chunk(chunk, permit)) => State::Within(chunk, permit),
                        Some(Item::End) => State::Ended,
                        None => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
                    };
                }
                State::Within(chunk, _permit) => {
                    let length = chunk.len().min(buf.remaining());
                    buf.put_slice(&chunk[..length]);
                    chunk.advance(length);
                    if chunk.is_empty() {
                        this.state = State::Between;
                    }
                    if let Some(on_consumed) = &mut this.on_consumed {
                        on_consumed(length);
                    }
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_full_pipe_makes_the_sender_wait_until_it_is_read_or_dropped() {
        let (sender, mut reader) = pipe(4, None);
        sender.push(Bytes::from_static(b"abcd")).await;
        let blocked =
            tokio::time::timeout(Duration::from_secs(1), sender.push(Bytes::from_static(b"e"))).await;
        assert!(blocked.is_err());
        assert_eq!(reader.read_u32().await.unwrap(), u32::from_be_bytes(*b"abcd"));
        sender.push(Bytes::from_static(b"larger than the pipe")).await;
        drop(reader);
        sender.push(Bytes::from_static(b"nobody cares")).await;
    }

    #[tokio::test]
    async fn an_end_differs_from_a_lost_connection() {
        let (sender, mut reader) = pipe(4, None);
        sender.push(Bytes::from_static(b"a")).await;
        sender.end();
        let mut text = String::new();
        reader.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "a");
        let (sender, mut reader) = pipe(4, None);
        drop(sender);
        assert_eq!(reader.read_u8().await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }
}
