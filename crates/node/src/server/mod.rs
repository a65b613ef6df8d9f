//! The kubelet API: what the API server and monitoring ask of this node, over TLS with client certificates or tokens.

mod access;
mod command;
mod configz;
mod forward;
mod identity;
mod logs;
mod numbers;
mod pods;
mod respond;
mod routes;
mod system_logs;
mod wanted;

use crate::pod::views::Views;
use crate::shared::Shared;
use crate::stats::gather::Gauges;
use access::Access;
use http::Request;
use skiff_listener::{Checks, Limits, Listener, NoFiles, Peer, RequestBody};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// How much of what the API server may have open.
const SHARE: f64 = 0.25;

/// What the handlers work with.
#[derive(Clone)]
pub(crate) struct Context {
    shared: Arc<Shared>,
    views: Arc<Views>,
    gauges: Arc<Gauges>,
    access: Arc<Access>,
    /// What `/healthz` tells.
    checks: Checks,
}

/// Serves the kubelet API until `shutdown`. Its clients are the API server, administrators and monitoring: a small part of the
/// process's descriptors is enough.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    views: Arc<Views>,
    checks: Checks,
    tcp: TcpListener,
    shutdown: CancellationToken,
) {
    let limits = Limits::of(NoFiles::now(), SHARE);
    let tls = shared.clone();
    let access = Arc::new(Access::new(shared.client.clone(), &shared.config.node_name));
    let context = Context { shared, views, gauges: Arc::new(Gauges::new()), access, checks };
    let connected = move |peer: Peer| {
        let (context, peer) = (context.clone(), Arc::new(peer));
        move |request: Request<RequestBody>| {
            let (context, peer) = (context.clone(), peer.clone());
            async move { routes::answer(&context, &peer, request).await }
        }
    };
    Listener::new(tcp, limits).serve(move || tls.config.tls.server_config(), connected, shutdown).await;
}
