//! Watches: many of them, and such to which nothing ever happens.

use std::io::Read as _;

use anyhow::ensure;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use http::{Request, StatusCode};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use kube::Config;
use serde_json::json;

use super::connection::{self, Connection};
use super::creates::CONFIG_MAPS;

/// How many connections are made at the same time.
const PARALLEL: usize = 16;

/// So many watches, of which some share each connection, until the input ends.
pub(crate) async fn run(watches: usize, of_connection: usize) -> anyhow::Result<()> {
    let path = format!("{CONFIG_MAPS}?watch=1&fieldSelector=metadata.name%3Dnone&timeoutSeconds=600");
    let held = open(&path, watches, of_connection).await?;
    super::print(&json!({"open": held.len()}));
    // Until the other side has seen enough.
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    Ok(())
}

/// Opens so many watches, of which some share each connection. They last as long as what they are read from.
pub(super) async fn open(path: &str, watches: usize, of_connection: usize) -> anyhow::Result<Vec<Incoming>> {
    let config = &Config::infer().await?;
    let connection = |_| async move {
        if of_connection == 1 {
            alone(config, path).await.map(|watch| vec![watch])
        } else {
            together(config, path, of_connection).await
        }
    };
    let connections = stream::iter(0..watches / of_connection).map(connection);
    let opened: Vec<Vec<Incoming>> = connections.buffer_unordered(PARALLEL).try_collect().await?;
    Ok(opened.into_iter().flatten().collect())
}

/// A watch with a connection of its own, by HTTP/1.1.
async fn alone(config: &Config, path: &str) -> anyhow::Result<Incoming> {
    let mut connection = Connection::new(config).await?;
    Ok(connection.begin(Request::get(path), Bytes::new(), StatusCode::OK).await?.into_body())
}

/// Watches that share a connection by HTTP/2, as those of a program in Go do.
async fn together(config: &Config, path: &str, watches: usize) -> anyhow::Result<Vec<Incoming>> {
    let server = config.cluster_url.to_string();
    let url = format!("{}{path}", server.trim_end_matches('/'));
    let stream = connection::open(config, b"h2").await?;
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let mut held = Vec::with_capacity(watches);
    for _ in 0..watches {
        let response = sender.send_request(Request::get(&url).body(Empty::<Bytes>::new())?).await?;
        ensure!(response.status().is_success(), "watch: {}", response.status());
        held.push(response.into_body());
    }
    Ok(held)
}
