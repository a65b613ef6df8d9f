//! Watches as bodies that go on.

use std::sync::Arc;

use futures::stream;
use http::Response;
use skiff_registry::{ApiError, Watching};
use tokio_util::sync::CancellationToken;

use super::asked::Asked;
use super::events::Events;
use super::{format, respond};
use crate::http::aside;
use crate::http::body::{self, Body};

/// The answer to a watch, which goes on until its end, or the server's. What there is at its beginning is looked for, and
/// made trees of, beside the threads that serve connections.
pub(crate) async fn watch(asked: Asked, shutdown: CancellationToken) -> Result<Response<Body>, ApiError> {
    let asked = Arc::new(asked);
    let (registry, call) = (asked.answers.registry.clone(), asked.call.clone());
    let work = skiff_registry::watch_work(&registry, &call);
    let start = Watching::start(registry, call, Events::new(asked.clone()));
    // A watch that lasts is not to carry what is needed where it begins.
    let watching = Box::pin(asked.answers.aside.run(work, start)).await?;
    format::include(&asked)?;
    let (encoding, answers) = (asked.encoding, asked.answers.clone());
    let state = (watching, shutdown, answers);
    let chunks = stream::unfold(state, |(mut watching, shutdown, answers)| async move {
        let work = watching.work();
        if work > aside::SMALL {
            let written = Box::pin(answers.aside.run(work, async move {
                let chunk = watching.next().await;
                (chunk, watching)
            }));
            let (chunk, watching) = shutdown.run_until_cancelled(written).await?;
            return Some((chunk?, (watching, shutdown, answers)));
        }
        let chunk = tokio::select! {
            biased;
            chunk = watching.next() => chunk?,
            () = shutdown.cancelled() => return None,
        };
        Some((chunk, (watching, shutdown, answers)))
    });
    Ok(respond::stream(encoding, body::stream(chunks)))
}
