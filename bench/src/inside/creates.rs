//! Durable creates: every answered create has been synced to disk.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{Method, StatusCode};
use kube::Config;
use serde_json::json;
use tokio::task::JoinSet;

use super::connection::Connection;
use crate::report::percentile;

/// Where they are created.
pub(super) const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

pub(crate) async fn run(clients: usize, seconds: u64) -> anyhow::Result<()> {
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
        tasks.spawn(create_until(connection, format!("bench-{round}-{number}"), end));
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
async fn create_until(mut connection: Connection, prefix: String, end: Instant) -> anyhow::Result<Vec<f64>> {
    let mut latencies = Vec::new();
    while Instant::now() < end {
        latencies.push(create(&mut connection, &format!("{prefix}-{}", latencies.len())).await?);
    }
    Ok(latencies)
}

/// Creates one object; how long that took, in seconds.
pub(super) async fn create(connection: &mut Connection, name: &str) -> anyhow::Result<f64> {
    let object = json!({"metadata": {"name": name}, "data": {"value": "x".repeat(1000)}});
    let body = Bytes::from(serde_json::to_vec(&object)?);
    let started = Instant::now();
    connection.send(Method::POST, CONFIG_MAPS, body, StatusCode::CREATED).await?;
    Ok(started.elapsed().as_secs_f64())
}
