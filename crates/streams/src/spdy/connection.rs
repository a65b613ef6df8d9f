//! A server's SPDY/3.1 connection: the task that reads it, its streams and their ends.

use std::{
    collections::HashMap,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures::StreamExt;
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadHalf},
    sync::mpsc,
};
use tokio_util::{
    codec::{FramedRead, FramedWrite},
    sync::{CancellationToken, PollSender},
};

use super::{
    frame::{Frame, FrameDecoder, FrameEncoder, Headers, StreamId},
    window::SendWindows,
};
use crate::{
    LINGER, StreamError,
    input::{self, InputReader, InputSender, OnConsumed},
    outbound::{self, Outbound, Outgoing, Urgent},
};

/// Largest data frame we send, in bytes.
const CHUNK: usize = 32 * 1024;
/// Bytes a stream may hold unread before the connection waits for its consumer. kubectl keeps no windows, so this is all that
/// limits it; well above the window of peers that do.
const INPUT_LIMIT: usize = 256 * 1024;
/// Streams a connection may have open.
const MAX_STREAMS: usize = 4096;
/// Consumed bytes after which a window is opened again.
const CREDIT: u32 = 32 * 1024;

// RST_STREAM status codes.
const PROTOCOL_ERROR: u32 = 1;
const REFUSED: u32 = 3;

/// A connection whose client opens the streams.
pub(crate) struct Connection {
    streams: mpsc::Receiver<Stream>,
    outbound: Outbound<Frame>,
    core: Arc<Core>,
    gone: CancellationToken,
}

/// A stream that the client opened and we accepted.
pub(crate) struct Stream {
    pub(crate) id: StreamId,
    pub(crate) headers: Headers,
    pub(crate) read: StreamReader,
    pub(crate) write: StreamWriter,
}

/// What the client sends on a stream. Dropping it discards the rest.
pub(crate) type StreamReader = InputReader;

impl Connection {
    /// Serves `io`. Streams whose headers `admit` does not like are refused.
    pub(crate) fn start<T>(
        io: T,
        admit: impl Fn(&Headers) -> bool + Send + 'static,
    ) -> Result<Self, StreamError>
    where
        T: AsyncRead + AsyncWrite + Send + 'static,
    {
        let (read, write) = tokio::io::split(io);
        let encoder = FrameEncoder::new().map_err(|_| StreamError::Protocol("no header compression"))?;
        let (gone, ended) = (CancellationToken::new(), CancellationToken::new());
        let (outbound, urgent) =
            outbound::start(FramedWrite::new(write, encoder), gone.clone(), ended.clone());
        let core = Arc::new(Core { windows: SendWindows::new(), streams: Mutex::default(), urgent });
        let (accepted, streams) = mpsc::channel(16);
        let reader = Reader {
            frames: FramedRead::new(read, FrameDecoder::new()),
            core: core.clone(),
            accepted,
            outbound: outbound.0.downgrade(),
            admit,
            last: 0,
            uncredited: 0,
        };
        let (core_of_reader, guard) = (core.clone(), gone.clone().drop_guard());
        tokio::spawn(async move {
            let _gone = guard;
            tokio::select! {
                result = reader.run() => {
                    if let Err(error) = result {
                        tracing::debug!(%error, "SPDY connection ended");
                    }
                }
                () = async { ended.cancelled().await; tokio::time::sleep(LINGER).await } => {}
            }
            core_of_reader.close_all();
        });
        Ok(Self { streams, outbound, core, gone })
    }

    /// The next stream the client opens; none when it is gone.
    pub(crate) async fn accept(&mut self) -> Option<Stream> {
        self.streams.recv().await
    }

    /// Cancelled when nothing more can arrive.
    pub(crate) fn gone(&self) -> &CancellationToken {
        &self.gone
    }

    /// Sends `last` on `stream`, ends our side of it and of all `others`, says good-bye and returns when all that was
    /// handed to the transport. The connection closes when the last writer is dropped.
    pub(crate) async fn finish(
        self,
        stream: StreamId,
        last: Bytes,
        others: &[StreamId],
    ) -> Result<(), StreamError> {
        for other in others {
            if self.core.close_local(*other) {
                self.outbound.send(Frame::Data { stream: *other, fin: true, data: Bytes::new() }).await?;
            }
        }
        if self.core.close_local(stream) {
            self.outbound.send(Frame::Data { stream, fin: true, data: last }).await?;
        }
        self.outbound.send(Frame::GoAway { last_good: stream, status: 0 }).await?;
        self.outbound.flushed().await
    }
}

/// What reader, writers and consumers share.
struct Core {
    windows: SendWindows,
    streams: Mutex<HashMap<StreamId, Entry>>,
    urgent: Urgent<Frame>,
}

struct Entry {
    input: InputSender,
    local_open: bool,
    remote_open: bool,
}

impl Core {
    fn input(&self, stream: StreamId) -> Option<InputSender> {
        self.streams.lock().get(&stream).filter(|entry| entry.remote_open).map(|entry| entry.input.clone())
    }

    fn is_open(&self, stream: StreamId) -> bool {
        self.streams.lock().get(&stream).is_some_and(|entry| entry.local_open)
    }

    /// Marks our side as ended; true if it was open.
    fn close_local(&self, stream: StreamId) -> bool {
        self.close(stream, |entry| std::mem::replace(&mut entry.local_open, false))
    }

    fn close_remote(&self, stream: StreamId) {
        let open = self.close(stream, |entry| {
            entry.input.end();
            std::mem::replace(&mut entry.remote_open, false)
        });
        tracing::trace!(stream, open, "the client ended its side");
    }

    /// Closes one side; a stream with both sides closed is forgotten.
    fn close(&self, stream: StreamId, side: impl FnOnce(&mut Entry) -> bool) -> bool {
        let mut streams = self.streams.lock();
        let Some(entry) = streams.get_mut(&stream) else { return false };
        let was_open = side(entry);
        if !entry.local_open && !entry.remote_open {
            streams.remove(&stream);
            drop(streams);
            self.windows.close(stream);
        }
        was_open
    }

    /// Forgets a stream at once; its consumer sees a broken connection.
    fn reset(&self, stream: StreamId) {
        self.streams.lock().remove(&stream);
        self.windows.close(stream);
    }

    fn close_all(&self) {
        self.streams.lock().clear();
        self.windows.update(0, 0); // wakes writers, which find their streams closed
    }
}

struct Reader<T, A> {
    frames: FramedRead<ReadHalf<T>, FrameDecoder>,
    core: Arc<Core>,
    accepted: mpsc::Sender<Stream>,
    outbound: mpsc::WeakSender<Outgoing<Frame>>,
    admit: A,
    /// The highest stream the client has opened.
    last: StreamId,
    /// Received bytes for which the connection's window was not opened again yet.
    uncredited: u32,
}

impl<T: AsyncRead, A: Fn(&Headers) -> bool> Reader<T, A> {
    /// Handles frames until the client closes the connection.
    async fn run(mut self) -> Result<(), StreamError> {
        while let Some(frame) = self.frames.next().await {
            let frame = frame.map_err(|error| StreamError::Connection(io::Error::other(error)))?;
            let answer = match frame {
                Frame::SynStream { stream, fin, headers } => self.open(stream, fin, headers).await,
                Frame::Data { stream, fin, data } => self.data(stream, fin, data).await,
                Frame::Headers { stream, fin: true, .. } | Frame::SynReply { stream, fin: true, .. } => {
                    self.core.close_remote(stream);
                    None
                }
                Frame::RstStream { stream, .. } => {
                    self.core.reset(stream);
                    None
                }
                Frame::Settings { initial_window } => {
                    initial_window.into_iter().for_each(|window| self.core.windows.set_initial(window));
                    None
                }
                Frame::WindowUpdate { stream, delta } => {
                    self.core.windows.update(stream, delta);
                    None
                }
                Frame::Ping(id) if id % 2 == 1 => Some(Frame::Ping(id)),
                Frame::Ping(_) | Frame::GoAway { .. } | Frame::Unknown(_) => None,
                Frame::Headers { .. } | Frame::SynReply { .. } => None,
            };
            if let Some(answer) = answer
                && !self.core.urgent.send(answer)
            {
                return Err(StreamError::Protocol("the peer does not take its answers"));
            }
        }
        Ok(())
    }

    async fn open(&mut self, id: StreamId, fin: bool, headers: Headers) -> Option<Frame> {
        if id.is_multiple_of(2) || id <= self.last {
            return Some(Frame::RstStream { stream: id, status: PROTOCOL_ERROR });
        }
        self.last = id;
        let refusal = Some(Frame::RstStream { stream: id, status: REFUSED });
        let full = self.core.streams.lock().len() >= MAX_STREAMS;
        let Some(outbound) = self.outbound.upgrade() else { return refusal };
        if full || !(self.admit)(&headers) {
            return refusal;
        }
        let (input, read) = input::pipe(INPUT_LIMIT, Some(credit(id, self.core.urgent.clone())));
        let entry = Entry { input, local_open: true, remote_open: true };
        self.core.streams.lock().insert(id, entry);
        self.core.windows.open(id);
        if fin {
            self.core.close_remote(id);
        }
        if !self.core.urgent.send(Frame::SynReply { stream: id, fin: false, headers: Headers::default() }) {
            return refusal; // reported by the caller, whose own send fails as well
        }
        let write = StreamWriter { id, core: self.core.clone(), outbound: PollSender::new(outbound) };
        match self.accepted.send(Stream { id, headers, read, write }).await {
            Ok(()) => None,
            Err(_nobody_accepts) => {
                self.core.reset(id);
                refusal
            }
        }
    }

    async fn data(&mut self, stream: StreamId, fin: bool, data: Bytes) -> Option<Frame> {
        self.uncredited = self.uncredited.saturating_add(u32::try_from(data.len()).unwrap_or(u32::MAX));
        if let Some(input) = self.core.input(stream) {
            input.push(data).await;
            if fin {
                self.core.close_remote(stream);
            }
        }
        (self.uncredited >= CREDIT)
            .then(|| Frame::WindowUpdate { stream: 0, delta: std::mem::take(&mut self.uncredited) })
    }
}

/// Opens the window of a stream again as its bytes are consumed.
fn credit(stream: StreamId, urgent: Urgent<Frame>) -> OnConsumed {
    let mut consumed: u32 = 0;
    Box::new(move |length| {
        consumed = consumed.saturating_add(u32::try_from(length).unwrap_or(u32::MAX));
        if consumed >= CREDIT && urgent.send(Frame::WindowUpdate { stream, delta: consumed }) {
            consumed = 0;
        }
    })
}

/// Our side of a stream. Shutting it down or dropping it ends the stream in order.
pub(crate) struct StreamWriter {
    id: StreamId,
    core: Arc<Core>,
    outbound: PollSender<Outgoing<Frame>>,
}

impl StreamWriter {
    fn end(&self) -> Outgoing<Frame> {
        Outgoing::Item(Frame::Data { stream: self.id, fin: true, data: Bytes::new() })
    }
}

impl Drop for StreamWriter {
    fn drop(&mut self) {
        if !self.core.close_local(self.id) {
            return;
        }
        let (Some(sender), end) = (self.outbound.get_ref().cloned(), self.end()) else { return };
        // The queue may be full, and the end must come after what is in it.
        if let Err(mpsc::error::TrySendError::Full(end)) = sender.try_send(end)
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(async move { sender.send(end).await.is_ok() });
        }
    }
}

impl AsyncWrite for StreamWriter {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        ready!(this.outbound.poll_reserve(cx)).map_err(|_closed| io::ErrorKind::BrokenPipe)?;
        if !this.core.is_open(this.id) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let Poll::Ready(granted) = this.core.windows.poll_take(this.id, buf.len().min(CHUNK), cx) else {
            let _was_reserved: bool = this.outbound.abort_send(); // others may use the place meanwhile
            return Poll::Pending;
        };
        let data = Bytes::copy_from_slice(&buf[..granted]);
        let frame = Frame::Data { stream: this.id, fin: false, data };
        this.outbound.send_item(Outgoing::Item(frame)).map_err(|_closed| io::ErrorKind::BrokenPipe)?;
        Poll::Ready(Ok(granted))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(())) // the connection's writer flushes whenever it has nothing else to do
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.core.is_open(this.id) {
            return Poll::Ready(Ok(()));
        }
        ready!(this.outbound.poll_reserve(cx)).map_err(|_closed| io::ErrorKind::BrokenPipe)?;
        if this.core.close_local(this.id) {
            let end = this.end();
            this.outbound.send_item(end).map_err(|_closed| io::ErrorKind::BrokenPipe)?;
        }
        Poll::Ready(Ok(()))
    }
}
