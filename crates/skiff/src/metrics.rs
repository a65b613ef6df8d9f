//! `metrics.k8s.io`, served by this program through its API server.

use futures::future::{BoxFuture, FutureExt as _};
use http::StatusCode;
use kube::Client;
use serde_json::Value;
use skiff_apiserver::{Asked, Extension};
use skiff_machinery::GroupVersion;
use skiff_metrics::{GROUP, Metrics, Question, VERSION};

/// What the API server passes questions of use on to.
#[derive(Default)]
pub(crate) struct MetricsApi(Metrics);

impl MetricsApi {
    /// Begins to answer, out of what `client` is told.
    pub(crate) fn connect(&self, client: Client) {
        self.0.connect(client);
    }
}

impl Extension for MetricsApi {
    fn version(&self) -> GroupVersion {
        GroupVersion::fixed(GROUP, VERSION)
    }

    fn answer<'a>(&'a self, asked: Asked<'a>) -> BoxFuture<'a, (StatusCode, Value)> {
        let Asked { method, path, query, accept } = asked;
        async move { self.0.answer(&Question { method, path, query, accept }).await }.boxed()
    }
}
