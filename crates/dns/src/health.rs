//! `/health` and `/ready` over HTTP, for probes.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::debug;

/// How long an answer waits to become 200; shorter than any probe waits, so that the first probe of a server that
/// is starting is the last one it needs.
const PATIENCE: Duration = Duration::from_millis(800);

/// Answers `path` with 200 once `well`, with 503 when that does not come soon, and every other path with 404.
pub(crate) async fn serve(listener: TcpListener, path: &'static str, well: watch::Receiver<bool>) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                debug!(%error, "probe not accepted");
                continue;
            }
        };
        let well = well.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let known = request.uri().path() == path;
                let well = well.clone();
                async move {
                    Ok::<_, Infallible>(reply(if known { state(well).await } else { StatusCode::NOT_FOUND }))
                }
            });
            let connection =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                debug!(%error, "probe connection ended");
            }
        });
    }
}

async fn state(mut well: watch::Receiver<bool>) -> StatusCode {
    match timeout(PATIENCE, well.wait_for(|well| *well)).await {
        Ok(Ok(_)) => StatusCode::OK,
        Ok(Err(_)) | Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

fn reply(status: StatusCode) -> Response<Full<Bytes>> {
    let text = if status == StatusCode::OK { "OK" } else { status.canonical_reason().unwrap_or("") };
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response
}
