//! Requests to the API server.

use http::{Method, Request};
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::Value;

use crate::args::Global;
use crate::error::Error;

/// A connection to one cluster, and the namespace to act in.
pub(crate) struct Api {
    pub(crate) client: Client,
    pub(crate) namespace: String,
}

/// Server-side printing, as kubectl asks for it.
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

impl Api {
    pub(crate) async fn connect(global: &Global) -> Result<Self, Error> {
        let options = KubeConfigOptions { context: global.context.clone(), ..KubeConfigOptions::default() };
        let config = match &global.kubeconfig {
            Some(path) => match Kubeconfig::read_from(path) {
                Ok(kubeconfig) => kube::Config::from_custom_kubeconfig(kubeconfig, &options).await,
                Err(error) => Err(error),
            },
            None => kube::Config::from_kubeconfig(&options).await,
        };
        let config = config.map_err(|error| Error::Usage(format!("no usable kubeconfig: {error}")))?;
        let namespace = global.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        Ok(Self { client: Client::try_from(config)?, namespace })
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Value, Error> {
        Ok(self.client.request(request(Method::GET, path, "application/json", Vec::new())?).await?)
    }

    pub(crate) async fn get_table(&self, path: &str) -> Result<Value, Error> {
        Ok(self.client.request(request(Method::GET, path, TABLE, Vec::new())?).await?)
    }

    /// The lines of a watch of tables.
    pub(crate) async fn watch_table(&self, path: &str) -> Result<impl futures::AsyncBufRead + use<>, Error> {
        Ok(self.client.request_stream(request(Method::GET, path, TABLE, Vec::new())?).await?)
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Value, Error> {
        self.send(Method::POST, path, "application/json", body).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Result<Value, Error> {
        self.send(Method::PUT, path, "application/json", body).await
    }

    pub(crate) async fn delete(&self, path: &str, options: &Value) -> Result<Value, Error> {
        self.send(Method::DELETE, path, "application/json", options).await
    }

    pub(crate) async fn merge(&self, path: &str, patch: &Value) -> Result<Value, Error> {
        self.send(Method::PATCH, path, "application/merge-patch+json", patch).await
    }

    pub(crate) async fn apply(&self, path: &str, object: &Value) -> Result<Value, Error> {
        self.send(Method::PATCH, path, "application/apply-patch+yaml", object).await
    }

    async fn send(&self, method: Method, path: &str, content: &str, body: &Value) -> Result<Value, Error> {
        let mut request = request(method, path, "application/json", serde_json::to_vec(body)?)?;
        let content = content.parse().map_err(|_| Error::Usage(format!("bad content type {content}")))?;
        request.headers_mut().insert(http::header::CONTENT_TYPE, content);
        Ok(self.client.request(request).await?)
    }
}

fn request(method: Method, path: &str, accept: &str, body: Vec<u8>) -> Result<Request<Vec<u8>>, Error> {
    let builder = Request::builder().method(method).uri(path).header(http::header::ACCEPT, accept);
    builder.body(body).map_err(|error| Error::Usage(format!("{path}: {error}")))
}
