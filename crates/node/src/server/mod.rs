//! The kubelet API: what the API server asks of this node.

use crate::pod::manager::Views;
use crate::shared::Shared;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Serves the kubelet API until `shutdown`.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    views: Views,
    listener: TcpListener,
    shutdown: CancellationToken,
) {
    let _unused = (shared, views, listener);
    shutdown.cancelled().await;
}
