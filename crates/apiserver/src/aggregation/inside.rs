//! Versions that another part of this program serves.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response};
use serde_json::Value;
use skiff_machinery::discovery::{Elsewhere, legacy_resources};
use skiff_machinery::{GroupVersion, version_path};

use crate::extension::{Asked, Extension};
use crate::http::body::{self, Body};

/// The extensions, by what they serve.
#[derive(Clone, Default)]
pub(crate) struct Inside(Arc<HashMap<GroupVersion, One>>);

struct One {
    extension: Arc<dyn Extension>,
    /// Its resources, as aggregated discovery tells them: they do not change.
    resources: Arc<Vec<Value>>,
}

impl Inside {
    /// Asks each once what it serves, so that discovery knows it from its first answer on: clients keep that one.
    pub(crate) async fn new(extensions: Vec<Arc<dyn Extension>>) -> Self {
        let mut all = HashMap::new();
        for extension in extensions {
            let gv = extension.version();
            let path = version_path(&gv);
            let asked = Asked { method: &Method::GET, path: &path, query: "", accept: "application/json" };
            let resources = Arc::new(legacy_resources(&extension.answer(asked).await.1, &gv));
            all.insert(gv, One { extension, resources });
        }
        Self(Arc::new(all))
    }

    /// What they serve.
    pub(crate) fn versions(&self) -> impl Iterator<Item = GroupVersion> {
        self.0.keys().cloned()
    }

    pub(super) fn serves(&self, gv: &GroupVersion) -> bool {
        self.0.contains_key(gv)
    }

    /// What discovery tells of a version.
    pub(super) fn told(&self, gv: &GroupVersion) -> Option<Elsewhere> {
        let resources = self.0.get(gv)?.resources.clone();
        Some(Elsewhere { resources, fresh: true, ..Elsewhere::default() })
    }

    /// The extension that serves a version.
    pub(super) fn extension(&self, gv: &GroupVersion) -> Option<Arc<dyn Extension>> {
        self.0.get(gv).map(|one| one.extension.clone())
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
