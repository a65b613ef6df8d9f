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

use crate::listen::Listener;

/// How long an answer waits to become 200; shorter than any probe waits, so that the first probe of a server that
/// is starting is the last one it needs.
const PATIENCE: Duration = Duration::from_millis(800);

/// Connections at once, in all and from one address: probes come one at a time.
const CONNECTIONS: usize = 32;
const CONNECTIONS_OF_ONE: usize = 8;
/// How long one connection may last, its request and answer included.
const LONGEST: Duration = Duration::from_secs(5);

/// Answers `path` with 200 once `well`, with 503 when that does not come soon, and every other path with 404. One request
/// for each connection.
pub(crate) async fn serve(listener: TcpListener, path: &'static str, well: watch::Receiver<bool>) {
    let listener = Listener::new(listener, CONNECTIONS, CONNECTIONS_OF_ONE);
    loop {
        let (stream, _client, place) = listener.accept().await;
        let well = well.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let known = request.uri().path() == path;
                let well = well.clone();
                async move {
                    Ok::<_, Infallible>(reply(if known { state(well).await } else { StatusCode::NOT_FOUND }))
                }
            });
            let mut http = hyper::server::conn::http1::Builder::new();
            let connection = http.keep_alive(false).serve_connection(TokioIo::new(stream), service);
            match timeout(LONGEST, connection).await {
                Ok(Err(error)) => debug!(%error, "probe connection ended"),
                Err(_) => debug!("probe connection took too long"),
                Ok(Ok(())) => {}
            }
            drop(place);
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
