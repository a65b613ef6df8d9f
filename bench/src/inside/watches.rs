//! Watches to which nothing ever happens, each of a client with a connection of its own.

use std::io::Read as _;

use anyhow::bail;
use futures::{StreamExt, TryStreamExt, stream};
use http::{Request, Response};
use kube::client::Body;
use serde_json::json;

use super::creates::CONFIG_MAPS;

/// How many begin at the same time.
const PARALLEL: usize = 16;

pub(crate) async fn run(watches: usize) -> anyhow::Result<()> {
    let open: Vec<Response<Body>> =
        stream::iter(0..watches).map(|_| watch()).buffer_unordered(PARALLEL).try_collect().await?;
    super::print(&json!({"open": open.len()}));
    // Until the other side has seen enough.
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    Ok(())
}

async fn watch() -> anyhow::Result<Response<Body>> {
    let path = format!("{CONFIG_MAPS}?watch=1&fieldSelector=metadata.name%3Dnone&timeoutSeconds=600");
    let response = super::client().await?.send(Request::get(path).body(Body::empty())?).await?;
    if !response.status().is_success() {
        bail!("watch: {}", response.status());
    }
    Ok(response)
}
