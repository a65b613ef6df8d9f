//! TLS connections.

use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::client::{ApiService, Caller};
use crate::auth::PeerIdentity;
use crate::server::Shared;

/// A client that has not finished its TLS handshake by then is gone.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How long requests may go on after a shutdown began.
const DRAIN: Duration = Duration::from_secs(5);

/// Accepts connections until the shutdown, then lets requests under way finish.
pub(crate) async fn serve(
    server: Arc<Shared>,
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    shutdown: CancellationToken,
) {
    let acceptor = TlsAcceptor::from(tls);
    let connections = TaskTracker::new();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                // Out of descriptors or a connection that died in the queue: the next one may do better.
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::task::yield_now().await;
                    continue;
                }
            },
            () = shutdown.cancelled() => break,
        };
        let connection = connection(server.clone(), acceptor.clone(), stream, shutdown.clone());
        connections.spawn(connection);
    }
    connections.close();
    if tokio::time::timeout(DRAIN, connections.wait()).await.is_err() {
        tracing::info!(open = connections.len(), "closing connections whose requests did not end");
    }
}

async fn connection(
    server: Arc<Shared>,
    acceptor: TlsAcceptor,
    stream: TcpStream,
    shutdown: CancellationToken,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    let stream = match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%error, "TLS handshake failed"),
        Err(_) => return tracing::debug!("TLS handshake took too long"),
    };
    let service = ApiService::new(server, Caller::Network(identity(&stream)));
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(30));
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(1000);
    let connection =
        builder.serve_connection_with_upgrades(TokioIo::new(stream), TowerToHyperService::new(service));
    tokio::pin!(connection);
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(error = &*error, "connection ended");
    }
}

/// Who the client's certificate says it is; TLS has verified it.
fn identity(stream: &TlsStream<TcpStream>) -> Option<Arc<PeerIdentity>> {
    let certificate = stream.get_ref().1.peer_certificates()?.first()?;
    match PeerIdentity::from_certificate(certificate) {
        Ok(identity) => Some(Arc::new(identity)),
        Err(error) => {
            tracing::info!(
                error = &error as &dyn std::error::Error,
                "client certificate without an identity"
            );
            None
        }
    }
}
