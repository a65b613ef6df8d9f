//! Requests that are passed on to other servers, and their answers. An upgraded connection is copied byte for byte both
//! ways; whoever is asked speaks the protocol.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderName, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, Version};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use skiff_registry::ApiError;

use crate::audit::trail::Trail;
use crate::http::body::{self, Body};
use crate::http::gate::Pass;

/// The request to send on: method and headers as received, without what concerns only us and the caller.
pub(crate) fn forward(
    method: &Method,
    headers: &HeaderMap,
    target: &str,
    host: &str,
    body: Body,
) -> Result<Request<Body>, ApiError> {
    let bad = |error: http::Error| ApiError::Internal(format!("cannot make a request for {host}: {error}"));
    let uri: Uri = target.parse().map_err(|error: http::uri::InvalidUri| bad(error.into()))?;
    let mut outgoing =
        Request::builder().method(method).uri(uri).version(Version::HTTP_11).body(body).map_err(bad)?;
    *outgoing.headers_mut() = forwarded(headers);
    let host = HeaderValue::from_str(host).map_err(|error| bad(error.into()))?;
    outgoing.headers_mut().insert(HOST, host);
    Ok(outgoing)
}

fn forwarded(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    skiff_auth::strip_credentials(&mut headers);
    for name in [HOST, CONTENT_LENGTH, TRANSFER_ENCODING] {
        headers.remove(name);
    }
    headers
}

/// What a stream keeps of its request: a place among those that last, what is written down of it, and that it is counted.
pub(crate) type Held = Arc<(Arc<Pass>, Option<Arc<Trail>>, Option<Arc<skiff_exposition::Held>>)>;

/// What the request's stream keeps.
pub(crate) fn held(request: &Request<Body>) -> Option<Held> {
    request.extensions().get().cloned()
}

/// Joins the two upgraded connections.
pub(crate) fn switch(
    mut response: Response<Incoming>,
    client: OnUpgrade,
    held: Option<Held>,
) -> Response<Body> {
    let node = hyper::upgrade::on(&mut response);
    tokio::spawn(async move {
        let _held = held;
        let (client, node) = match tokio::try_join!(client, node) {
            Ok(both) => both,
            Err(error) => return tracing::debug!(%error, "a stream's upgrade failed"),
        };
        let (mut client, mut node) = (TokioIo::new(client), TokioIo::new(node));
        if let Err(error) = tokio::io::copy_bidirectional(&mut client, &mut node).await {
            tracing::debug!(%error, "a stream ended");
        }
    });
    let (parts, _) = response.into_parts();
    let mut answer = Response::new(body::full(Bytes::new()));
    *answer.status_mut() = parts.status;
    for (name, value) in &parts.headers {
        let relevant = *name == CONNECTION || *name == UPGRADE || !is_hop_by_hop(name);
        if relevant {
            answer.headers_mut().append(name.clone(), value.clone());
        }
    }
    answer
}

/// An answer that is not upgraded: its body flows on as it comes.
pub(crate) fn pass(response: Response<Incoming>) -> Response<Body> {
    let (parts, incoming) = response.into_parts();
    let mut answer = Response::new(body::wrap(incoming));
    *answer.status_mut() = parts.status;
    for (name, value) in parts.headers.iter().filter(|(name, _)| !is_hop_by_hop(name)) {
        answer.headers_mut().append(name.clone(), value.clone());
    }
    answer
}

fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection" | "upgrade" | "transfer-encoding" | "content-length" | "keep-alive" | "te" | "trailer"
    )
}
