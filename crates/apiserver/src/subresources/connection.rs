//! HTTP/1.1 connections to nodes and to what proxy subresources name.

use std::future::Future;
use std::io;
use std::time::Duration;

use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use skiff_registry::ApiError;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::http::body::Body;

/// A backend that does not answer by then is taken for dead.
const CONNECT: Duration = Duration::from_secs(10);

/// A fresh connection over the stream that `opening` gives, which upgrades need. `failed` makes the error of a reason.
pub(super) async fn open<S>(
    opening: impl Future<Output = io::Result<S>>,
    failed: impl Fn(String) -> ApiError,
) -> Result<SendRequest<Body>, ApiError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let stream = match tokio::time::timeout(CONNECT, opening).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(failed(error.to_string())),
        Err(_) => return Err(failed("i/o timeout".to_owned())),
    };
    let (sender, connection) =
        handshake(TokioIo::new(stream)).await.map_err(|error| failed(error.to_string()))?;
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "connection to a backend ended");
        }
    });
    Ok(sender)
}
