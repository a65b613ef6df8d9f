//! Durable creates: every answered create has been synced to disk.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::bail;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use serde_json::json;
use tokio::task::JoinSet;

use crate::report::percentile;

/// Where they are created.
pub(super) const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

pub(crate) async fn run(clients: usize, seconds: u64) -> anyhow::Result<()> {
    let mut connections = Vec::new();
    for _ in 0..clients {
        connections.push(super::client().await?);
    }
    // What was created in other rounds is still there.
    let round = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    let started = Instant::now();
    let end = started + Duration::from_secs(seconds);
    let mut tasks = JoinSet::new();
    for (number, client) in connections.into_iter().enumerate() {
        tasks.spawn(create_until(client, format!("bench-{round}-{number}"), end));
    }
    let mut latencies = Vec::new();
    while let Some(result) = tasks.join_next().await {
        latencies.extend(result??);
    }
    let rate = latencies.len() as f64 / started.elapsed().as_secs_f64();
    super::print(
        &json!({"perSecond": rate, "p50": percentile(&mut latencies, 50), "p99": percentile(&mut latencies, 99)}),
    );
    Ok(())
}

/// Creates one object after the other; how long each took, in seconds. The answers are read and not parsed: the
/// machine's cores are meant for the server.
async fn create_until(client: Client, prefix: String, end: Instant) -> anyhow::Result<Vec<f64>> {
    let mut latencies = Vec::new();
    while Instant::now() < end {
        latencies.push(create(&client, &format!("{prefix}-{}", latencies.len())).await?);
    }
    Ok(latencies)
}

/// Creates one object; how long that took, in seconds.
pub(super) async fn create(client: &Client, name: &str) -> anyhow::Result<f64> {
    let object = json!({"metadata": {"name": name}, "data": {"value": "x".repeat(1000)}});
    let request = Request::post(CONFIG_MAPS)
        .header("content-type", "application/json")
        .body(Body::from(serde_json::to_vec(&object)?))?;
    let started = Instant::now();
    let response = client.send(request).await?;
    let status = response.status();
    let answer = response.into_body().collect().await?.to_bytes();
    if status != StatusCode::CREATED {
        bail!("create {name}: {status}: {}", String::from_utf8_lossy(&answer));
    }
    Ok(started.elapsed().as_secs_f64())
}
