//! Sessions of port-forward.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use http::Request;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{Answer, StreamError};

/// One connected port-forward client; each local connection of the client is one [`Forwarded`].
pub struct PortForwardSession {}

impl PortForwardSession {
    /// The next connection to forward; `None` when the client is gone. Connections already handed out stay usable
    /// until then.
    pub async fn next(&mut self) -> Option<Forwarded> {
        todo!()
    }
}

/// One connection to forward into the pod.
pub struct Forwarded {
    /// The pod's port.
    pub port: u16,
    /// The bytes of the connection; shutting it down sends the end of the stream, dropping it closes both directions.
    pub data: DataStream,
    /// Reports that the connection failed. Dropping it reports nothing.
    pub error: ErrorSender,
}

/// The bytes of one forwarded connection.
pub struct DataStream {
    read: Pin<Box<dyn AsyncRead + Send + Sync>>,
    write: Pin<Box<dyn AsyncWrite + Send + Sync>>,
}

impl AsyncRead for DataStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.read.as_mut().poll_read(cx, buf)
    }
}

impl AsyncWrite for DataStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.write.as_mut().poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write.as_mut().poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write.as_mut().poll_shutdown(cx)
    }
}

/// Tells the client why a forwarded connection failed.
pub struct ErrorSender {}

impl ErrorSender {
    /// Sends `message` and closes the error stream.
    pub async fn fail(self, _message: &str) -> Result<(), StreamError> {
        todo!()
    }
}

/// An accepted request whose connection is about to be handed over.
pub struct PortForwardUpgrade {}

impl PortForwardUpgrade {
    /// Waits until the client is connected; the 101 answer must have been sent.
    pub async fn session(self) -> Result<PortForwardSession, StreamError> {
        todo!()
    }
}

/// Answers a port-forward request: `Ok` holds the 101 answer to send and the upgrade to await, `Err` the refusal.
pub fn accept_port_forward<B>(_request: &mut Request<B>) -> Result<(Answer, PortForwardUpgrade), Answer> {
    todo!()
}
