//! The kubelet API: what the API server asks of this node, over TLS with client certificates.

mod command;
mod forward;
mod identity;
mod logs;
mod pods;
mod respond;
mod routes;

use crate::pod::manager::Views;
use crate::shared::Shared;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use identity::Identity;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// How long a client may take for the TLS handshake and for the head of a request.
const CLIENT_LIMIT: Duration = Duration::from_secs(30);

/// What the handlers work with.
#[derive(Clone)]
pub(crate) struct Context {
    shared: Arc<Shared>,
    views: Views,
}

/// Serves the kubelet API until `shutdown`.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    views: Views,
    listener: TcpListener,
    shutdown: CancellationToken,
) {
    let context = Context { shared, views };
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, peer)) => {
                let (context, shutdown) = (context.clone(), shutdown.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        () = shutdown.cancelled() => {}
                        result = connection(context, socket) => if let Err(error) = result {
                            tracing::debug!(%peer, error, "a connection to the kubelet API ended");
                        },
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accepting a connection to the kubelet API");
                // Out of files: accepting again at once would fail again at once.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn connection(context: Context, socket: TcpStream) -> Result<(), String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    socket.set_nodelay(true).map_err(|error| text(&error))?;
    let acceptor = TlsAcceptor::from(context.shared.config.tls.server_config());
    let handshake = tokio::time::timeout(CLIENT_LIMIT, acceptor.accept(socket)).await;
    let stream = handshake.map_err(|error| text(&error))?.map_err(|error| text(&error))?;
    let identity = Identity::of(stream.get_ref().1.peer_certificates());
    let service = service_fn(move |request| {
        let (context, identity) = (context.clone(), identity.clone());
        async move { Ok::<_, std::convert::Infallible>(routes::answer(&context, &identity, request).await) }
    });
    let mut server = hyper::server::conn::http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(CLIENT_LIMIT);
    server.serve_connection(TokioIo::new(stream), service).with_upgrades().await.map_err(|error| text(&error))
}
