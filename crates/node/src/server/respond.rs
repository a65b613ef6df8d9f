//! Answers of the kubelet API.

use crate::stats::exposition;
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use std::io;
use tokio::sync::mpsc;

/// The body of an answer.
pub(crate) type Body = BoxBody<Bytes, io::Error>;

/// A refusal: a status and a text for the user.
#[derive(Debug, PartialEq)]
pub(crate) struct Refusal(pub(crate) StatusCode, pub(crate) String);

impl Refusal {
    /// There is no such thing.
    pub(crate) fn not_found(text: impl Into<String>) -> Self {
        Self(StatusCode::NOT_FOUND, text.into())
    }

    /// The request makes no sense now.
    pub(crate) fn bad_request(text: impl Into<String>) -> Self {
        Self(StatusCode::BAD_REQUEST, text.into())
    }
}

impl From<Refusal> for Response<Body> {
    fn from(Refusal(status, message): Refusal) -> Self {
        text(status, message)
    }
}

/// A body that is known whole.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed()
}

/// A plain text.
pub(crate) fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    typed(status, "text/plain; charset=utf-8", text)
}

/// Pieces of an answer that may wait for a slow client.
pub(crate) const WAITING_PIECES: usize = 4;
/// Bytes of a piece.
pub(crate) const PIECE: usize = 32 * 1024;

/// An answer that comes in pieces.
pub(crate) fn streamed(receiver: mpsc::Receiver<io::Result<Bytes>>, kind: &'static str) -> Response<Body> {
    let pieces = futures::stream::unfold(receiver, |mut receiver| async move {
        let piece = receiver.recv().await?;
        Some((piece.map(Frame::data), receiver))
    });
    let mut response = Response::new(BodyExt::boxed(StreamBody::new(pieces)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// A page.
pub(crate) fn html(page: String) -> Response<Body> {
    typed(StatusCode::OK, "text/html; charset=utf-8", page)
}

/// A text in Prometheus' format.
pub(crate) fn metrics(text: String) -> Response<Body> {
    let mut response = Response::new(full(text));
    response.headers_mut().insert(header::CONTENT_TYPE, exposition::CONTENT_TYPE);
    response
}

/// Sends the client to another path, for good.
pub(crate) fn redirect(place: &str) -> Response<Body> {
    let mut response = Response::new(full(Bytes::new()));
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    response.headers_mut().extend(HeaderValue::from_str(place).ok().map(|place| (header::LOCATION, place)));
    response
}

/// A JSON document.
pub(crate) fn json(bytes: Vec<u8>) -> Response<Body> {
    typed(StatusCode::OK, "application/json", bytes)
}

fn typed(status: StatusCode, kind: &'static str, bytes: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(full(bytes));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
