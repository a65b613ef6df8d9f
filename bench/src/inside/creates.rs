//! Durable creates: every answered create has been synced to disk.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::PostParams;
use serde_json::json;
use tokio::task::JoinSet;

use crate::report::percentile;

pub(crate) async fn run(clients: usize, seconds: u64) -> anyhow::Result<()> {
    let mut apis: Vec<Api<ConfigMap>> = Vec::new();
    for _ in 0..clients {
        apis.push(Api::default_namespaced(super::client().await?));
    }
    let started = Instant::now();
    let end = started + Duration::from_secs(seconds);
    let mut tasks = JoinSet::new();
    for (number, api) in apis.into_iter().enumerate() {
        tasks.spawn(create_until(api, number, end));
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

/// Creates one object after the other; how long each took, in seconds.
async fn create_until(api: Api<ConfigMap>, client: usize, end: Instant) -> anyhow::Result<Vec<f64>> {
    let mut latencies = Vec::new();
    while Instant::now() < end {
        let object: ConfigMap = serde_json::from_value(json!({
            "metadata": {"name": format!("bench-{client}-{}", latencies.len())},
            "data": {"value": "x".repeat(1000)},
        }))?;
        let started = Instant::now();
        api.create(&PostParams::default(), &object).await?;
        latencies.push(started.elapsed().as_secs_f64());
    }
    Ok(latencies)
}
