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
use http::Request;
use identity::Identity;
use skiff_listener::{Limits, Listener, NoFiles, Peer, RequestBody};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// How much of what the API server may have open.
const SHARE: f64 = 0.25;

/// What the handlers work with.
#[derive(Clone)]
pub(crate) struct Context {
    shared: Arc<Shared>,
    views: Views,
}

/// Serves the kubelet API until `shutdown`. Its clients are the API server and administrators, all with certificates:
/// a small part of the process's descriptors is enough.
pub(crate) async fn serve(shared: Arc<Shared>, views: Views, tcp: TcpListener, shutdown: CancellationToken) {
    let limits = Limits::of(NoFiles::now(), SHARE);
    let tls = shared.clone();
    let context = Context { shared, views };
    let handler = move |peer: Peer, request: Request<RequestBody>| {
        let context = context.clone();
        async move { routes::answer(&context, &Identity::of(peer.certificate.as_ref()), request).await }
    };
    Listener::new(tcp, limits).serve(move || tls.config.tls.server_config(), handler, shutdown).await;
}
