//! Versions that another part of this program serves.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response};
use serde_json::Value;
use skiff_machinery::discovery::legacy_resources;
use skiff_machinery::{GroupVersion, version_path};

use crate::extension::{Asked, Extension};
use crate::http::body::{self, Body};

/// The extensions, by what they serve.
#[derive(Clone, Default)]
pub(crate) struct Inside(Arc<HashMap<GroupVersion, Arc<dyn Extension>>>);

impl Inside {
    pub(crate) fn new(extensions: Vec<Arc<dyn Extension>>) -> Self {
        Self(Arc::new(extensions.into_iter().map(|one| (one.version(), one)).collect()))
    }

    /// What they serve.
    pub(crate) fn versions(&self) -> impl Iterator<Item = GroupVersion> {
        self.0.keys().cloned()
    }

    pub(super) fn serves(&self, gv: &GroupVersion) -> bool {
        self.0.contains_key(gv)
    }

    /// The resources of a version, as aggregated discovery tells them.
    pub(super) async fn resources(&self, gv: &GroupVersion) -> Vec<Value> {
        let Some(extension) = self.0.get(gv) else { return Vec::new() };
        let path = version_path(gv);
        let asked = Asked { method: &Method::GET, path: &path, query: "", accept: "application/json" };
        legacy_resources(&extension.answer(asked).await.1, gv)
    }

    /// The extension that serves a version.
    pub(super) fn extension(&self, gv: &GroupVersion) -> Option<Arc<dyn Extension>> {
        self.0.get(gv).cloned()
    }
}

/// The answer of an extension to a request.
pub(super) async fn answer(extension: &dyn Extension, request: Request<Body>) -> Response<Body> {
    let (head, _body) = request.into_parts();
    let accept = head.headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
    let asked = Asked {
        method: &head.method,
        path: head.uri.path(),
        query: head.uri.query().unwrap_or_default(),
        accept: accept.unwrap_or_default(),
    };
    let (status, document) = extension.answer(asked).await;
    let mut response = Response::new(body::full(Bytes::from(document.to_string())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
