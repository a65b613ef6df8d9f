//! Connections to webhooks. Who waits for an answer carries the connection on: no other task is woken, and none has to be scheduled
//! before the answer is read.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

type Connection = Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>;

/// A connection that requests are sent over, one after the other.
pub(super) struct Open {
    sender: SendRequest<Full<Bytes>>,
    /// None has ended.
    connection: Option<Connection>,
}

impl Open {
    /// Begins with HTTP.
    pub(super) async fn begin(
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    ) -> hyper::Result<Self> {
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        Ok(Self { sender, connection: Some(Box::pin(connection)) })
    }

    /// Sends a request, or gives it back if the connection was closed before that; waits for the head of the answer.
    pub(super) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Full<Bytes>>>> {
        carry(&mut self.connection, self.sender.try_send_request(request)).await
    }

    /// Waits for `reading`, of an answer's body.
    pub(super) async fn read<T>(&mut self, reading: impl Future<Output = T>) -> T {
        carry(&mut self.connection, reading).await
    }

    /// Whether another request can be sent: the last answer was read to its end, and the other side has not closed the connection.
    pub(super) fn is_ready(&mut self) -> bool {
        go_on(&mut self.connection, &mut Context::from_waker(Waker::noop()));
        self.connection.is_some() && self.sender.is_ready()
    }
}

/// Waits for `work`, and lets a connection go on meanwhile.
async fn carry<T>(connection: &mut Option<Connection>, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    poll_fn(|context| {
        // What is to be sent is handed over first; what has come is picked up last.
        if let Poll::Ready(done) = work.as_mut().poll(context) {
            return Poll::Ready(done);
        }
        go_on(connection, context);
        work.as_mut().poll(context)
    })
    .await
}

fn go_on(connection: &mut Option<Connection>, context: &mut Context<'_>) {
    let ended = connection.as_mut().map(|open| open.as_mut().poll(context));
    if let Some(Poll::Ready(ended)) = ended {
        *connection = None;
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection to a webhook ended");
        }
    }
}
