//! Accepting connections.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use rustix::io::Errno;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::body::RequestBody;
use crate::book::Places;
use crate::connection::{self, Serving};
use crate::peer::{Board, Peer};
use crate::{BoxError, Limits};

/// How long accepting waits for a free descriptor. That one of our connections ends is heard of at once; of what the rest
/// of the process frees nothing is heard.
const SHORTAGE: Duration = Duration::from_millis(500);

/// Serves HTTP/1.1 and HTTP/2 over TLS within [`Limits`].
pub struct Listener {
    tcp: TcpListener,
    limits: Arc<Limits>,
    board: Arc<Board>,
    shortage: Shortage,
}

impl Listener {
    /// Nothing is accepted before [`Listener::serve`].
    pub fn new(tcp: TcpListener, limits: Limits) -> Self {
        let places = Places {
            connections: limits.connections,
            strangers: limits.strangers,
            strangers_per_address: limits.strangers_per_address,
        };
        Self {
            tcp,
            limits: Arc::new(limits),
            board: Arc::new(Board::new(places)),
            shortage: Shortage::default(),
        }
    }

    /// Answers the requests of a connection by the handler that `connected` makes of who is at its other end, until the
    /// shutdown, then lets requests under way finish. `tls` is asked for each connection, so that it may follow renewals.
    /// A handler that panics answers 500.
    pub async fn serve<C, H, F, B>(
        mut self,
        tls: impl Fn() -> Arc<ServerConfig>,
        connected: C,
        shutdown: CancellationToken,
    ) where
        C: Fn(Peer) -> H + Clone + Send + Sync + 'static,
        H: Fn(Request<RequestBody>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response<B>> + Send + 'static,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let connections = TaskTracker::new();
        while let Some(Some((stream, address))) = shutdown.run_until_cancelled(self.accept()).await {
            let Some(place) = self.board.enter(address.ip()) else {
                tracing::debug!(%address, "no place for a connection");
                continue;
            };
            let serving = Serving {
                limits: self.limits.clone(),
                tls: tls(),
                connected: connected.clone(),
                shutdown: shutdown.clone(),
            };
            connections.spawn(connection::serve(serving, stream, address, place));
        }
        connections.close();
        if tokio::time::timeout(self.limits.drain, connections.wait()).await.is_err() {
            tracing::info!(open = self.board.len(), "leaving connections whose requests did not end");
        }
    }

    /// The next connection. Waits while there is no descriptor for one.
    async fn accept(&mut self) -> Option<(TcpStream, SocketAddr)> {
        loop {
            match self.tcp.accept().await {
                Ok(accepted) => {
                    self.shortage.over();
                    return Some(accepted);
                }
                Err(error) if is_shortage(&error) => {
                    self.shortage.note(&error, self.board.len());
                    self.board.give_up_one();
                    // Either way the next attempt tells: a free descriptor, or none yet.
                    tokio::time::timeout(SHORTAGE, self.board.freed.notified()).await.ok();
                }
                // A connection that died in the queue: the next one may do better.
                Err(error) => tracing::debug!(%error, "cannot accept a connection"),
            }
        }
    }
}

/// Whether the machine or the process has no more of what a connection needs.
fn is_shortage(error: &io::Error) -> bool {
    let scarce = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    Errno::from_io_error(error).is_some_and(|errno| scarce.contains(&errno))
}

/// Says once that descriptors are short, and once that they are not any more.
#[derive(Debug, Default)]
struct Shortage {
    failures: u64,
}

impl Shortage {
    fn note(&mut self, error: &io::Error, open: usize) {
        if self.failures == 0 {
            tracing::warn!(%error, open, "cannot accept connections for now; waiting for a free descriptor");
        }
        self.failures += 1;
    }

    fn over(&mut self) {
        match std::mem::take(&mut self.failures) {
            0 => {}
            failures => tracing::info!(failures, "accepting connections again"),
        }
    }
}
