//! The API as a `tower` service: over the network for one connection, or in process for one user.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::USER_AGENT;
use http::{Request, Response};
use tower::Service;

use super::body::{self, Body, BoxError};
use super::caller::Caller;
use super::handle;
use crate::shared::Shared;

/// The API for one caller.
#[derive(Clone)]
pub struct ApiService {
    server: Arc<Shared>,
    caller: Caller,
}

impl ApiService {
    pub(crate) fn new(server: Arc<Shared>, caller: Caller) -> Self {
        Self { server, caller }
    }

    /// What any request comes to, whatever body it has: compiled here, and not again with each kind of body where it is called.
    fn answer(&self, mut request: Request<Body>) -> Answering {
        let (server, caller) = (self.server.clone(), self.caller.clone());
        if let Caller::InProcess { agent, .. } = &caller
            && !agent.is_empty()
        {
            request.headers_mut().entry(USER_AGENT).or_insert_with(|| agent.clone());
        }
        Box::pin(async move { Ok(handle::handle(server, caller, request).await) })
    }
}

/// An answer on its way.
type Answering = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

impl<B> Service<Request<B>> for ApiService
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.answer(request.map(body::wrap))
    }
}
