//! Versions of the API that another part of this program serves.

use futures::future::BoxFuture;
use http::{Method, StatusCode};
use serde_json::Value;
use skiff_machinery::GroupVersion;

/// Serves one version of the API in this process, with an APIService that says so ("Local"). Users may register a server of
/// their own for it. Who asks may ask: that was decided before.
pub trait Extension: Send + Sync {
    /// What it serves.
    fn version(&self) -> GroupVersion;

    /// Answers a request with a status and a JSON document. The path of the version itself stands for its `APIResourceList`.
    fn answer<'a>(&'a self, asked: Asked<'a>) -> BoxFuture<'a, (StatusCode, Value)>;
}

/// A request for an extension. It has no body: extensions tell, and store nothing.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The method.
    pub method: &'a Method,
    /// The whole path, still encoded.
    pub path: &'a str,
    /// What follows the question mark.
    pub query: &'a str,
    /// The header `Accept`.
    pub accept: &'a str,
}
