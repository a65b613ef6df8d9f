//! Services without pods: each with five made-up endpoints in the pod range.

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::api::PostParams;
use serde_json::json;

const PARALLEL: usize = 32;

pub(crate) async fn run(services: u32) -> anyhow::Result<()> {
    let client = super::client().await?;
    let started = std::time::Instant::now();
    stream::iter(0..services)
        .map(|number| create(client.clone(), number))
        .buffer_unordered(PARALLEL)
        .try_collect::<()>()
        .await?;
    super::print(&json!({"seconds": started.elapsed().as_secs_f64()}));
    Ok(())
}

async fn create(client: kube::Client, number: u32) -> anyhow::Result<()> {
    let name = format!("fill-{number}");
    let service: Service = serde_json::from_value(json!({
        "metadata": {"name": name}, "spec": {"ports": [{"port": 80, "targetPort": 8080}]},
    }))?;
    Api::default_namespaced(client.clone()).create(&PostParams::default(), &service).await?;
    let endpoints: Vec<_> = (0..5)
        .map(|i| {
            let host = number * 5 + i;
            json!({"addresses": [format!("10.244.{}.{}", 1 + host / 250 % 250, 2 + host % 250)]})
        })
        .collect();
    let slice: EndpointSlice = serde_json::from_value(json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4", "endpoints": endpoints, "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
    }))?;
    Api::default_namespaced(client).create(&PostParams::default(), &slice).await?;
    Ok(())
}
