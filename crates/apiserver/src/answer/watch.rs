//! Watches as bodies that go on.

use std::sync::Arc;

use futures::stream;
use http::Response;
use skiff_registry::{ApiError, Watching};
use tokio_util::sync::CancellationToken;

use super::asked::Asked;
use super::events::Events;
use super::{format, respond};
use crate::http::body::{self, Body};
use crate::http::metrics::Metrics;

/// The answer to a watch, which goes on until its end, or the server's.
pub(crate) async fn watch(
    asked: Asked,
    metrics: &Metrics,
    shutdown: CancellationToken,
) -> Result<Response<Body>, ApiError> {
    let asked = Arc::new(asked);
    let (registry, call) = (asked.answers.registry.clone(), asked.call.clone());
    let watching = Watching::start(registry, call, Events::new(asked.clone())).await?;
    format::include(&asked)?;
    let guard = metrics.watcher(&asked.call.kind.names.plural);
    let chunks = stream::unfold((watching, guard, shutdown), |(mut watching, guard, shutdown)| async move {
        let chunk = tokio::select! {
            biased;
            chunk = watching.next() => chunk?,
            () = shutdown.cancelled() => return None,
        };
        Some((chunk, (watching, guard, shutdown)))
    });
    Ok(respond::stream(asked.encoding, body::stream(chunks)))
}
