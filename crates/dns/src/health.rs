//! `/health` and `/ready` over HTTP, for probes.

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tracing::debug;

/// Answers `path` with 200 while `check` holds and 503 otherwise, every other path with 404.
pub(crate) async fn serve(
    listener: TcpListener,
    path: &'static str,
    check: impl Fn() -> bool + Clone + Send + 'static,
) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                debug!(%error, "probe not accepted");
                continue;
            }
        };
        let check = check.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let status = match request.uri().path() == path {
                    false => StatusCode::NOT_FOUND,
                    true if check() => StatusCode::OK,
                    true => StatusCode::SERVICE_UNAVAILABLE,
                };
                async move { Ok::<_, Infallible>(reply(status)) }
            });
            let connection =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                debug!(%error, "probe connection ended");
            }
        });
    }
}

fn reply(status: StatusCode) -> Response<Full<Bytes>> {
    let text = if status == StatusCode::OK { "OK" } else { status.canonical_reason().unwrap_or("") };
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response
}
