//! A bounded pipe of byte chunks from a connection's reader to the one who consumes a stream.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::{Buf, Bytes};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, ReadBuf},
    sync::Notify,
};

/// Told how many bytes were consumed, for flow control.
pub(crate) type OnConsumed = Box<dyn FnMut(usize) + Send>;

/// What a chunk costs besides its bytes, so that very small ones are bounded as well.
const CHUNK_COST: usize = 64;

/// Makes a pipe that holds chunks of up to `limit` bytes in sum, each counted with its cost, or one chunk of any size.
pub(crate) fn pipe(limit: usize, on_consumed: Option<OnConsumed>) -> (InputSender, InputReader) {
    let shared = Arc::new(Shared { limit, state: Mutex::default(), room: Notify::new() });
    (InputSender(Arc::new(Senders(shared.clone()))), InputReader { shared, on_consumed })
}

struct Shared {
    /// Bytes.
    limit: usize,
    state: Mutex<State>,
    /// Told when there may be room, or nobody reads any more.
    room: Notify,
}

#[derive(Default)]
struct State {
    /// Chunks and what each costs, until it is read to its end.
    chunks: VecDeque<(Bytes, usize)>,
    held: usize,
    end: Option<End>,
    reader: Option<Waker>,
}

/// Why nothing more will come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// The stream ended in order.
    InOrder,
    /// The connection is gone.
    Broken,
    /// Nobody reads.
    Unread,
}

/// Whether a chunk was taken.
enum Taken {
    Yes,
    /// Not yet.
    NoRoom(Bytes),
    NeverWill,
}

impl State {
    fn take(&mut self, chunk: Bytes, limit: usize) -> Taken {
        let cost = chunk.len() + CHUNK_COST;
        if self.end.is_some() {
            return Taken::NeverWill;
        }
        if !self.chunks.is_empty() && self.held + cost > limit {
            return Taken::NoRoom(chunk);
        }
        self.held += cost;
        self.chunks.push_back((chunk, cost));
        self.wake();
        Taken::Yes
    }

    /// Copies what the first chunk has and `buf` can take; `None` when there is no chunk.
    fn copy(&mut self, buf: &mut ReadBuf<'_>) -> Option<usize> {
        let (chunk, cost) = self.chunks.front_mut()?;
        let length = chunk.len().min(buf.remaining());
        buf.put_slice(&chunk[..length]);
        chunk.advance(length);
        if chunk.is_empty() {
            self.held -= *cost;
            self.chunks.pop_front();
        }
        Some(length)
    }

    /// Only the first reason counts.
    fn end(&mut self, why: End) {
        self.end.get_or_insert(why);
        self.wake();
    }

    fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

/// The connection's side. Dropped without [`InputSender::end`], the consumer sees a broken connection.
#[derive(Clone)]
pub(crate) struct InputSender(Arc<Senders>);

/// All clones of a sender.
struct Senders(Arc<Shared>);

impl Drop for Senders {
    fn drop(&mut self) {
        self.0.state.lock().end(End::Broken);
    }
}

impl InputSender {
    /// Waits for room and hands over a chunk; nothing happens if nobody reads any more.
    pub(crate) async fn push(&self, mut chunk: Bytes) {
        let shared = &self.0.0;
        while !chunk.is_empty() {
            match shared.state.lock().take(chunk, shared.limit) {
                Taken::Yes => return,
                Taken::NeverWill => {
                    tracing::trace!("input for a stream that nobody reads");
                    return shared.room.notify_one(); // for others who wait
                }
                Taken::NoRoom(back) => chunk = back,
            }
            shared.room.notified().await;
        }
    }

    /// The stream ends in order, after what was handed over.
    pub(crate) fn end(&self) {
        self.0.0.state.lock().end(End::InOrder);
    }
}

/// The consumer's side.
pub(crate) struct InputReader {
    shared: Arc<Shared>,
    on_consumed: Option<OnConsumed>,
}

impl Drop for InputReader {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        state.end(End::Unread);
        state.chunks.clear();
        drop(state);
        self.shared.room.notify_one(); // so that the connection's reader does not wait for us
    }
}

impl AsyncRead for InputReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let mut state = this.shared.state.lock();
        let Some(length) = state.copy(buf) else {
            return match state.end {
                Some(End::InOrder) => Poll::Ready(Ok(())),
                Some(End::Broken | End::Unread) => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
                None => {
                    state.reader = Some(cx.waker().clone());
                    Poll::Pending
                }
            };
        };
        drop(state);
        this.shared.room.notify_one();
        if let Some(on_consumed) = &mut this.on_consumed {
            on_consumed(length);
        }
        Poll::Ready(Ok(()))
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

    #[tokio::test(start_paused = true)]
    async fn small_chunks_are_bounded_as_well() {
        let (sender, mut reader) = pipe(4 * (CHUNK_COST + 1), None);
        let mut taken = 0;
        let push = async || {
            let push = sender.push(Bytes::from_static(b"a"));
            tokio::time::timeout(Duration::from_secs(1), push).await.is_ok()
        };
        while push().await {
            taken += 1;
        }
        assert_eq!(taken, 4);
        reader.read_u8().await.unwrap();
        assert!(push().await, "there is room again");
        assert!(!push().await);
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
