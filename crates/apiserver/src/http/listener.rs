//! The API over the network: who is at the other end of a connection, and what serves it.

use std::sync::Arc;

use http::Request;
use rustls::ServerConfig;
use skiff_identity::PeerIdentity;
use skiff_listener::{Listener, Peer, RequestBody};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::Service as _;

use super::caller::Caller;
use super::client::ApiService;
use crate::shared::Shared;

/// Serves connections until the shutdown, then lets requests under way finish.
pub(crate) async fn serve(
    server: Arc<Shared>,
    tcp: TcpListener,
    tls: Arc<ServerConfig>,
    shutdown: CancellationToken,
) {
    let listener = Listener::new(tcp, server.limits.connections.clone());
    // Who shows a certificate is found out once for a connection: that takes as long as all the rest of a small request.
    let connected = move |peer: Peer| {
        let caller = Caller::Network { identity: identity(&server, &peer), peer: Arc::new(peer) };
        let service = ApiService::new(server.clone(), caller);
        move |request: Request<RequestBody>| {
            let answer = service.clone().call(request);
            async move { answer.await.unwrap_or_else(|never| match never {}) }
        }
    };
    listener.serve(move || tls.clone(), connected, shutdown).await;
}

/// Who the client's certificate says it is; TLS has verified it.
fn identity(server: &Shared, peer: &Peer) -> Option<Arc<PeerIdentity>> {
    let certificate = peer.certificate.as_ref()?;
    match PeerIdentity::from_certificate(certificate) {
        Ok(identity) => {
            super::metrics::connected(identity.end);
            Some(Arc::new(identity.of_front_proxy(server.pki.is_front_proxy(certificate))))
        }
        Err(error) => {
            tracing::info!(
                error = &error as &dyn std::error::Error,
                "client certificate without an identity"
            );
            None
        }
    }
}
