//! The bytes of one connection: holds its place, and closes so that the last answer arrives.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;
use tokio_rustls::server::TlsStream;

use crate::peer::Place;

/// How long a client may go on sending after we have closed our side. Bytes that arrive at a closed socket make the
/// kernel reset the connection, and the client may then never see the answer that was on its way.
const LINGER: Duration = Duration::from_secs(1);

/// A connection and its place. However it ends, the client is told that this is the end and not a lost connection.
pub(crate) struct Held {
    tls: TlsStream<TcpStream>,
    place: Arc<Place>,
    closing: Closing,
}

enum Closing {
    /// Not closed, or our closing alert is on its way.
    Open,
    /// Our side is closed; what still comes is thrown away.
    Lingering(Pin<Box<Sleep>>),
}

impl Held {
    pub(crate) fn new(tls: TlsStream<TcpStream>, place: Arc<Place>) -> Self {
        Self { tls, place, closing: Closing::Open }
    }
}

impl Drop for Held {
    /// Sends the closing alert where nobody did: a connection that was idle from its beginning, or is given up in the middle.
    /// It goes out at once or not at all.
    fn drop(&mut self) {
        if matches!(self.closing, Closing::Lingering(_)) || self.place.is_stream() {
            return;
        }
        let (tcp, tls) = self.tls.get_mut();
        tls.send_close_notify();
        let mut alert = Vec::new();
        if let Err(error) = tls.write_tls(&mut alert).and_then(|_| tcp.try_write(&alert)) {
            tracing::trace!(%error, "a connection ends without a closing alert");
        }
    }
}

impl AsyncRead for Held {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_read(context, buffer)
    }
}

impl AsyncWrite for Held {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tls).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tls).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.tls.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if matches!(this.closing, Closing::Open) {
            futures::ready!(Pin::new(&mut this.tls).poll_shutdown(context))?;
            // A stream's other direction goes on by itself: its bytes are not ours to throw away.
            if this.place.is_stream() {
                return Poll::Ready(Ok(()));
            }
            this.closing = Closing::Lingering(Box::pin(tokio::time::sleep(LINGER)));
        }
        let Closing::Lingering(end) = &mut this.closing else { return Poll::Ready(Ok(())) };
        if end.as_mut().poll(context).is_ready() {
            return Poll::Ready(Ok(()));
        }
        let mut space = [0; 4096];
        loop {
            let mut buffer = ReadBuf::new(&mut space);
            match Pin::new(this.tls.get_mut().0).poll_read(context, &mut buffer) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
                // The other side has closed, too, in whatever way.
                Poll::Ready(_) => return Poll::Ready(Ok(())),
            }
        }
    }
}
