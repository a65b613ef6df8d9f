//! Bodies of requests and answers.

use std::convert::Infallible;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited, StreamBody};
use thiserror::Error;

use skiff_registry::ApiError;

/// Any error.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The rest of a body did not arrive.
#[derive(Debug, Error)]
#[error("the body ended early")]
pub struct BodyError(#[source] BoxError);

/// A body of either direction: in memory, or arriving over time.
pub type Body = UnsyncBoxBody<Bytes, BodyError>;

/// Any body as ours.
pub(crate) fn wrap<B>(body: B) -> Body
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    body.map_err(|error| BodyError(error.into())).boxed_unsync()
}

/// A body that holds something until it has been sent or given up.
pub(crate) fn holding(body: Body, held: impl Send + 'static) -> Body {
    let keep = move |frame| {
        let _held = &held;
        frame
    };
    body.map_frame(keep).boxed_unsync()
}

/// A body of whose data `see` sees each part as it is sent.
pub(crate) fn seeing(body: Body, mut see: impl FnMut(&Bytes) + Send + 'static) -> Body {
    let look = move |frame: Frame<Bytes>| {
        frame.data_ref().into_iter().for_each(&mut see);
        frame
    };
    body.map_frame(look).boxed_unsync()
}

/// The largest request body that is read, in bytes.
pub(crate) const MAX_REQUEST: usize = 3 * 1024 * 1024;

/// A body in memory.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never: Infallible| match never {}).boxed_unsync()
}

/// A body that arrives over time; it ends where the stream does.
pub(crate) fn stream(chunks: impl Stream<Item = Bytes> + Send + 'static) -> Body {
    StreamBody::new(chunks.map(|chunk| Ok(Frame::data(chunk)))).boxed_unsync()
}

/// A body that arrives over time and may break off.
pub(crate) fn fallible<E: Into<BoxError>>(
    chunks: impl Stream<Item = Result<Bytes, E>> + Send + 'static,
) -> Body {
    let frames = chunks.map(|chunk| chunk.map(Frame::data).map_err(|error| BodyError(error.into())));
    StreamBody::new(frames).boxed_unsync()
}

/// Reads a request's body, up to [`MAX_REQUEST`].
pub(crate) async fn read(body: Body) -> Result<Bytes, ApiError> {
    match Limited::new(body, MAX_REQUEST).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(ApiError::TooLarge(MAX_REQUEST)),
        Err(error) => Err(ApiError::BadRequest(format!("the request body could not be read: {error}"))),
    }
}
