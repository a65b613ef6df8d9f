//! Durable creates: every answered create has been synced to disk.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{Method, StatusCode};
use kube::Config;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::connection::Connection;
use super::define::{WIDGETS, widget};
use crate::report::percentile;

/// Where they are created.
pub(super) const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// What is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Created {
    /// Of 1 KB.
    ConfigMap,
    /// A custom resource, whose definition [`super::define`] makes.
    Widget,
}

pub(crate) async fn run(clients: usize, seconds: u64, what: Created) -> anyhow::Result<()> {
    let config = Config::infer().await?;
    let mut connections = Vec::new();
    for _ in 0..clients {
        connections.push(Connection::new(&config).await?);
    }
    // What was created in other rounds is still there.
    let round = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    let (started, worked) = (Instant::now(), super::processor_time());
    let end = started + Duration::from_secs(seconds);
    let mut tasks = JoinSet::new();
    for (number, connection) in connections.into_iter().enumerate() {
        tasks.spawn(create_until(what, connection, format!("bench-{round}-{number}"), end));
    }
    let mut latencies = Vec::new();
    while let Some(result) = tasks.join_next().await {
        latencies.extend(result??);
    }
    let (count, seconds) = (latencies.len() as f64, started.elapsed().as_secs_f64());
    super::print(&json!({
        "count": count, "perSecond": count / seconds, "clients": super::processor_time() - worked,
        "p50": percentile(&mut latencies, 50), "p99": percentile(&mut latencies, 99),
    }));
    Ok(())
}

/// Creates one object after the other; how long each took, in seconds. The answers are read and not parsed: the
/// machine's cores are meant for the server.
async fn create_until(
    what: Created,
    mut connection: Connection,
    prefix: String,
    end: Instant,
) -> anyhow::Result<Vec<f64>> {
    let mut latencies = Vec::new();
    while Instant::now() < end {
        latencies.push(what.create(&mut connection, &format!("{prefix}-{}", latencies.len())).await?);
    }
    Ok(latencies)
}

impl Created {
    /// Creates one object; how long that took, in seconds.
    pub(super) async fn create(self, connection: &mut Connection, name: &str) -> anyhow::Result<f64> {
        match self {
            Self::ConfigMap => post(connection, CONFIG_MAPS, &config_map(name)).await,
            Self::Widget => post(connection, WIDGETS, &widget(name)).await,
        }
    }
}

/// Posts an object; how long that took, in seconds.
pub(super) async fn post(connection: &mut Connection, path: &str, object: &Value) -> anyhow::Result<f64> {
    let body = Bytes::from(serde_json::to_vec(object)?);
    let started = Instant::now();
    connection.send(Method::POST, path, body, StatusCode::CREATED).await?;
    Ok(started.elapsed().as_secs_f64())
}

pub(super) fn config_map(name: &str) -> Value {
    json!({"metadata": {"name": name}, "data": {"value": "x".repeat(1000)}})
}
