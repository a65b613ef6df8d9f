//! The one task that writes to a connection, and the queues in front of it.
//!
//! Output waits in a short queue, so that a slow client slows the command down. Answers that the reader owes (pings, stream replies)
//! have a queue of their own that goes first: the reader must never wait for the writer.

use futures::{Sink, SinkExt};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::StreamError;

/// Items that may wait for a slow client.
const OUTPUT_QUEUE: usize = 8;
/// Answers that may wait before the peer is considered hostile.
const URGENT_QUEUE: usize = 1024;

pub(crate) enum Outgoing<M> {
    Item(M),
    /// Answered when everything before it was handed to the transport.
    Flushed(oneshot::Sender<()>),
}

/// The way to the writer for those who produce output. When all are gone, the writer closes the connection.
pub(crate) struct Outbound<M>(pub(crate) mpsc::Sender<Outgoing<M>>);

impl<M> Clone for Outbound<M> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// The way to the writer for those who must not wait.
pub(crate) struct Urgent<M>(mpsc::WeakSender<M>);

impl<M> Clone for Urgent<M> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<M: Send> Outbound<M> {
    pub(crate) async fn send(&self, item: M) -> Result<(), StreamError> {
        self.0.send(Outgoing::Item(item)).await.map_err(|_closed| StreamError::Gone)
    }

    /// Waits until everything sent so far was handed to the transport.
    pub(crate) async fn flushed(&self) -> Result<(), StreamError> {
        let (done, flushed) = oneshot::channel();
        self.0.send(Outgoing::Flushed(done)).await.map_err(|_closed| StreamError::Gone)?;
        flushed.await.map_err(|_closed| StreamError::Gone)
    }
}

impl<M> Urgent<M> {
    /// False if the connection is gone or the peer does not take its answers.
    #[must_use]
    pub(crate) fn send(&self, item: M) -> bool {
        self.0.upgrade().is_some_and(|sender| sender.try_send(item).is_ok())
    }
}

/// Starts the writer on `sink`. It ends, and cancels `ended`, when all output handles are gone, when writing fails, or when
/// `stop` is cancelled.
pub(crate) fn start<M, S>(
    sink: S,
    stop: CancellationToken,
    ended: CancellationToken,
) -> (Outbound<M>, Urgent<M>)
where
    M: Send + 'static,
    S: Sink<M> + Send + Unpin + 'static,
    S::Error: std::fmt::Display + Send,
{
    let (output, output_queue) = mpsc::channel(OUTPUT_QUEUE);
    let (urgent, urgent_queue) = mpsc::channel(URGENT_QUEUE);
    let weak = Urgent(urgent.downgrade());
    tokio::spawn(async move {
        let _only_strong_sender = urgent;
        let _ended = ended.drop_guard();
        tokio::select! {
            () = stop.cancelled() => {}
            result = write(sink, urgent_queue, output_queue) => {
                if let Err(error) = result {
                    tracing::debug!(%error, "stream connection not writable");
                }
            }
        }
    });
    (Outbound(output), weak)
}

async fn write<M, S: Sink<M> + Unpin>(
    mut sink: S,
    mut urgent: mpsc::Receiver<M>,
    mut output: mpsc::Receiver<Outgoing<M>>,
) -> Result<(), S::Error> {
    loop {
        let next = tokio::select! {
            biased;
            Some(answer) = urgent.recv() => Some(Outgoing::Item(answer)),
            item = output.recv() => item,
        };
        match next {
            Some(Outgoing::Item(item)) => {
                sink.feed(item).await?;
                if urgent.is_empty() && output.is_empty() {
                    sink.flush().await?;
                }
            }
            Some(Outgoing::Flushed(done)) => {
                sink.flush().await?;
                if done.send(()).is_err() {
                    tracing::trace!("nobody waits for the flush");
                }
            }
            None => return sink.close().await,
        }
    }
}
