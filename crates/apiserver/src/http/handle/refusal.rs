//! What is answered to requests that fail, and why there is nothing at a path.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response};
use skiff_machinery::Kind;
use skiff_registry::{ApiError, Offer as _};

use super::exchange::Exchange;
use crate::answer::respond;
use crate::http::accept::Format;
use crate::http::body::{self, Body};
use crate::http::path::ResourcePath;
use crate::shared::Shared;

/// The answer to a request that failed.
pub(super) fn refuse(server: &Shared, error: &ApiError, format: Format, id: &str) -> Response<Body> {
    // A revision that is yet to come is the client's doing, and so is what Kubernetes calls an error of the server's without a
    // reason; its text may hold what was sent.
    let is_theirs = matches!(error, ApiError::FutureRevision { .. } | ApiError::Unclassified(_));
    if error.code().is_server_error() && !is_theirs {
        tracing::warn!(request = id, error = error as &dyn std::error::Error, "request failed");
    }
    answer(server, error, format)
}

/// As [`refuse`], where the reason has been told.
pub(super) fn answer(server: &Shared, error: &ApiError, format: Format) -> Response<Body> {
    if let ApiError::Silent(code) = error {
        let mut response = Response::new(body::full(Bytes::new()));
        *response.status_mut() = *code;
        return response;
    }
    let text = match error {
        ApiError::NoSuchPage => Some("404 page not found\n"),
        ApiError::MalformedPath => Some("400 Bad Request"),
        _ => None,
    };
    if let Some(text) = text {
        let mut response = Response::new(body::full(text));
        *response.status_mut() = error.code();
        let text = HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, text);
        return response;
    }
    let catalogue = server.offers.catalogue();
    let any = catalogue.iter().next().map(|kind| &kind.root);
    let mut response = respond::refusal(error, format, any);
    let headers = response.headers_mut();
    if let Some(seconds) = error.retry_after() {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

impl Exchange {
    /// Why there is no kind at a path.
    pub(super) fn unknown(&self, path: &ResourcePath) -> ApiError {
        self.nothing_in(&path.group)
    }

    /// Why there is nothing at a path below a group. What Kubernetes' own types are served by answers for their whole group; in
    /// groups of custom kinds there is nothing but these.
    fn nothing_in(&self, group: &str) -> ApiError {
        let is_own = |kind: &Arc<Kind>| kind.gv.group == group && kind.strategy.is_typed();
        if self.server.offers.catalogue().iter().any(is_own) {
            ApiError::UnknownPath
        } else {
            ApiError::NoSuchPage
        }
    }

    /// Why there is no document at a path.
    pub(super) fn no_document(&self, path: &str) -> ApiError {
        let mut segments = path.trim_matches('/').split('/');
        match (segments.next(), segments.next()) {
            (Some("api"), Some(_)) => ApiError::UnknownPath,
            (Some("apis"), Some(group)) if !group.is_empty() => self.nothing_in(group),
            _ => ApiError::NoSuchPage,
        }
    }
}
