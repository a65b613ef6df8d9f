//! Watches to which nothing ever happens.

use std::io::Read as _;

use anyhow::ensure;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use http::{Request, StatusCode};
use http_body_util::Empty;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use kube::Config;
use serde_json::json;

use super::connection::{self, Connection};
use super::creates::CONFIG_MAPS;

/// How many connections are made at the same time.
const PARALLEL: usize = 16;

/// What is held while watches last.
type Held = Box<dyn std::any::Any + Send>;

/// So many watches, of which some share each connection.
pub(crate) async fn run(watches: usize, of_connection: usize) -> anyhow::Result<()> {
    let connection = |_| async move {
        if of_connection == 1 {
            alone().await.map(|watch| vec![watch])
        } else {
            together(of_connection).await
        }
    };
    let connections = stream::iter(0..watches / of_connection).map(connection);
    let held: Vec<Vec<Held>> = connections.buffer_unordered(PARALLEL).try_collect().await?;
    super::print(&json!({"open": held.iter().map(Vec::len).sum::<usize>()}));
    // Until the other side has seen enough.
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    Ok(())
}

fn path() -> String {
    format!("{CONFIG_MAPS}?watch=1&fieldSelector=metadata.name%3Dnone&timeoutSeconds=600")
}

/// A watch with a connection of its own, by HTTP/1.1.
async fn alone() -> anyhow::Result<Held> {
    let mut connection = Connection::new(&Config::infer().await?).await?;
    let response = connection.begin(Request::get(path()), Bytes::new(), StatusCode::OK).await?;
    Ok(Box::new((connection, response)))
}

/// Watches that share a connection by HTTP/2, as those of a program in Go do.
async fn together(watches: usize) -> anyhow::Result<Vec<Held>> {
    let config = Config::infer().await?;
    let server = config.cluster_url.to_string();
    let url = format!("{}{}", server.trim_end_matches('/'), path());
    let stream = connection::open(&config, b"h2").await?;
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let mut held: Vec<Held> = Vec::with_capacity(watches);
    for _ in 0..watches {
        let response = sender.send_request(Request::get(&url).body(Empty::<Bytes>::new())?).await?;
        ensure!(response.status().is_success(), "watch: {}", response.status());
        held.push(Box::new(response));
    }
    Ok(held)
}
