//! A WebSocket connection that carries channels, or the bytes of another protocol.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use futures::{Sink, Stream, StreamExt, stream::SplitStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message,
        protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
    },
};
use tokio_util::sync::{CancellationToken, PollSender};

use crate::{
    LINGER, StreamError,
    channel::{ChannelProtocol, Received},
    outbound::{self, Outbound, Outgoing},
};

/// Largest message we take, in bytes. Clients send 32 KiB.
const MAX_MESSAGE: usize = 4 * 1024 * 1024;
/// Largest payload we put into one message, in bytes.
const CHUNK: usize = 32 * 1024;

/// Our end of a connection whose handshake is done.
pub(crate) async fn server<T: AsyncRead + AsyncWrite + Unpin>(io: T) -> WebSocketStream<T> {
    let config =
        WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE)).max_frame_size(Some(MAX_MESSAGE));
    WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await
}

/// Takes what arrives on the channels; awaited, so that a consumer that does not keep up slows the client down.
pub(crate) trait Receiver: Send + 'static {
    /// Handles one message. An error ends the connection.
    fn receive(&mut self, message: Received) -> impl Future<Output = Result<(), StreamError>> + Send;
}

/// A connection of the channel protocols.
pub(crate) struct Channels {
    pub(crate) protocol: ChannelProtocol,
    outbound: Outbound<Message>,
    pub(crate) gone: CancellationToken,
}

impl Channels {
    /// Serves `io`: messages go to `receiver` until the connection ends.
    pub(crate) async fn start<T>(io: T, protocol: ChannelProtocol, receiver: impl Receiver) -> Self
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sink, stream) = server(io).await.split();
        let (gone, ended) = (CancellationToken::new(), CancellationToken::new());
        let (outbound, _urgent) = outbound::start(sink, gone.clone(), ended.clone());
        let guard = gone.clone().drop_guard();
        tokio::spawn(async move {
            let _gone = guard;
            tokio::select! {
                result = read(stream, protocol, receiver) => {
                    if let Err(error) = result {
                        tracing::debug!(%error, "WebSocket connection ended");
                    }
                }
                () = async { ended.cancelled().await; tokio::time::sleep(LINGER).await } => {}
            }
        });
        Self { protocol, outbound, gone }
    }

    pub(crate) fn writer(&self, channel: u8) -> ChannelWriter {
        ChannelWriter { channel, protocol: self.protocol, outbound: PollSender::new(self.outbound.0.clone()) }
    }

    pub(crate) async fn send(&self, channel: u8, data: &[u8]) -> Result<(), StreamError> {
        self.outbound.send(self.protocol.encode(channel, data)).await
    }

    /// Closes the connection in order, after everything sent so far, and returns when that was handed to the
    /// transport.
    pub(crate) async fn finish(self) -> Result<(), StreamError> {
        let normal = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        self.outbound.send(Message::Close(Some(normal))).await?;
        self.outbound.flushed().await
    }
}

/// Reads until the client closes. The library answers pings while it reads.
pub(crate) async fn read<T>(
    mut stream: SplitStream<WebSocketStream<T>>,
    protocol: ChannelProtocol,
    mut receiver: impl Receiver,
) -> Result<(), StreamError>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(message) = stream.next().await {
        let payload = match message {
            Ok(Message::Binary(payload)) => payload,
            Ok(Message::Text(text)) => text.into(),
            Ok(Message::Close(_)) => continue, // the stream ends when our answer was sent
            Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => continue,
            Err(error) => return Err(StreamError::Connection(into_io(error))),
        };
        if let Some(received) = protocol.decode(payload)? {
            receiver.receive(received).await?;
        }
    }
    Ok(())
}

pub(crate) fn into_io(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        other => io::Error::other(other),
    }
}

/// Our side of one channel.
pub(crate) struct ChannelWriter {
    channel: u8,
    protocol: ChannelProtocol,
    outbound: PollSender<Outgoing<Message>>,
}

impl AsyncWrite for ChannelWriter {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.outbound.poll_reserve(cx)).map_err(|_closed| io::ErrorKind::BrokenPipe)?;
        let length = buf.len().min(CHUNK);
        let message = self.protocol.encode(self.channel, &buf[..length]);
        self.outbound.send_item(Outgoing::Item(message)).map_err(|_closed| io::ErrorKind::BrokenPipe)?;
        Poll::Ready(Ok(length))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(())) // the connection's writer flushes whenever it has nothing else to do
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(())) // channels from the server end with the session
    }
}

/// The byte stream that a client tunnels in WebSocket messages; message boundaries mean nothing.
pub(crate) struct Tunnel<T> {
    socket: WebSocketStream<T>,
    received: Bytes,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Tunnel<T> {
    /// The server's end of a tunnel.
    pub(crate) async fn new(io: T) -> Self {
        Self::over(server(io).await)
    }

    pub(crate) fn over(socket: WebSocketStream<T>) -> Self {
        Self { socket, received: Bytes::new() }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for Tunnel<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.received.is_empty() {
            match ready!(Pin::new(&mut this.socket).poll_next(cx)) {
                Some(Ok(Message::Binary(payload))) => this.received = payload,
                Some(Ok(_control)) => {}
                Some(Err(error)) => return Poll::Ready(Err(into_io(error))),
                None => return Poll::Ready(Ok(())),
            }
        }
        let length = this.received.len().min(buf.remaining());
        buf.put_slice(&this.received[..length]);
        this.received.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Tunnel<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut socket = Pin::new(&mut self.socket);
        ready!(socket.as_mut().poll_ready(cx)).map_err(into_io)?;
        let length = buf.len().min(CHUNK);
        socket.start_send(Message::binary(Bytes::copy_from_slice(&buf[..length]))).map_err(into_io)?;
        Poll::Ready(Ok(length))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx).map_err(into_io)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_close(cx).map_err(into_io)
    }
}
