//! Waits for an API server that was just started.

use bytes::Bytes;
use http::{Method, StatusCode};
use kube::Config;
use serde_json::json;

use super::connection::Connection;

/// What says that objects can be created: kube-apiserver makes the namespace a little later than it is ready.
const PATHS: [&str; 2] = ["/readyz", "/api/v1/namespaces/default"];

pub(crate) async fn run() -> anyhow::Result<()> {
    let config = Config::infer().await?;
    let ready = || async {
        let mut connection = Connection::new(&config).await?;
        for path in PATHS {
            connection.send(Method::GET, path, Bytes::new(), StatusCode::OK).await?;
        }
        Ok(true)
    };
    super::until("the API server is ready", ready).await?;
    super::print(&json!({}));
    Ok(())
}
