//! Many pods that nobody runs: loading them, reading them, and taking them away.

use std::time::Instant;

use anyhow::{Context, bail};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

use crate::report::percentile;

/// A node without an agent, and how many of the pods are its own.
const NODE: &str = "far";
const ON_NODE: u32 = 30;

/// A page, as kubectl asks for.
const PAGE: usize = 500;

const PARALLEL: usize = 32;
const ROUNDS: usize = 15;
const PODS: &str = "/api/v1/namespaces/default/pods";

/// Creates them, each of about 4.5 KB when it is stored.
pub(crate) async fn load(pods: u32) -> anyhow::Result<()> {
    let client = super::client().await?;
    post(&client, "/api/v1/nodes", &json!({"metadata": {"name": NODE}})).await?;
    let started = Instant::now();
    stream::iter(0..pods)
        .map(|number| {
            let client = client.clone();
            async move { post(&client, PODS, &pod(number)).await }
        })
        .buffer_unordered(PARALLEL)
        .try_collect::<()>()
        .await?;
    super::print(&json!({"seconds": started.elapsed().as_secs_f64()}));
    Ok(())
}

/// How long it takes to read a node's pods, those with a label, the first page of all, a page with nothing behind it, and all;
/// milliseconds. And of how many bytes the last two are.
pub(crate) async fn read() -> anyhow::Result<()> {
    let client = super::client().await?;
    let path = format!("/api/v1/pods?fieldSelector=spec.nodeName%3D{NODE}");
    let Timed { took: of_node, .. } = timed(&client, &path, ROUNDS).await?;
    let Timed { took: labelled, .. } =
        timed(&client, &format!("{PODS}?labelSelector=node%3D{NODE}"), ROUNDS).await?;
    let Timed { took: first, .. } = timed(&client, &format!("{PODS}?limit={PAGE}"), ROUNDS).await?;
    let last = timed(&client, &last_page(&client).await?, ROUNDS).await?;
    let all = timed(&client, PODS, 3).await?;
    super::print(&json!({
        "node": of_node, "label": labelled, "first": first, "last": last.took, "lastBytes": last.bytes,
        "all": all.took, "allBytes": all.bytes,
    }));
    Ok(())
}

/// What some rounds of a request showed.
struct Timed {
    /// The median, in milliseconds.
    took: f64,
    bytes: usize,
}

/// Deletes them.
pub(crate) async fn clear() -> anyhow::Result<()> {
    let client = super::client().await?;
    let started = Instant::now();
    for path in [&*format!("{PODS}?gracePeriodSeconds=0"), &format!("/api/v1/nodes/{NODE}")] {
        answer(&client, Request::delete(path).body(Body::empty())?).await?;
    }
    super::print(&json!({"seconds": started.elapsed().as_secs_f64()}));
    Ok(())
}

/// The path of a page of that many pods that no others follow: two before the last, which may be shorter.
async fn last_page(client: &Client) -> anyhow::Result<String> {
    let list: Value = serde_json::from_slice(&get(client, PODS).await?)?;
    let names: Vec<&str> = list["items"]
        .as_array()
        .context("items")?
        .iter()
        .filter_map(|pod| pod["metadata"]["name"].as_str())
        .collect();
    let Some(before) = names.len().checked_sub(PAGE + 1) else {
        bail!("there are only {} pods", names.len())
    };
    // A first page that ends there gives the token.
    let short: Value = serde_json::from_slice(&get(client, &format!("{PODS}?limit={}", before + 1)).await?)?;
    let token = short["metadata"]["continue"].as_str().context("a token")?;
    Ok(format!("{PODS}?limit={PAGE}&continue={token}"))
}

async fn timed(client: &Client, path: &str, rounds: usize) -> anyhow::Result<Timed> {
    let (mut samples, mut bytes) = (Vec::new(), 0);
    for _ in 0..rounds {
        let started = Instant::now();
        let response = respond(client, Request::get(path).body(Body::empty())?).await?;
        // Read and let go: a program that keeps it all would take the time that is measured.
        let mut body = response.into_body();
        bytes = 0;
        while let Some(frame) = body.frame().await {
            bytes += frame?.data_ref().map_or(0, Bytes::len);
        }
        samples.push(started.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(Timed { took: percentile(&mut samples, 50), bytes })
}

async fn get(client: &Client, path: &str) -> anyhow::Result<Vec<u8>> {
    answer(client, Request::get(path).body(Body::empty())?).await
}

async fn post(client: &Client, path: &str, object: &Value) -> anyhow::Result<()> {
    let request = Request::post(path).header("content-type", "application/json");
    answer(client, request.body(Body::from(serde_json::to_vec(object)?))?).await?;
    Ok(())
}

async fn answer(client: &Client, request: Request<Body>) -> anyhow::Result<Vec<u8>> {
    Ok(respond(client, request).await?.into_body().collect().await?.to_bytes().to_vec())
}

async fn respond(client: &Client, request: Request<Body>) -> anyhow::Result<Response<Body>> {
    let asked = format!("{} {}", request.method(), request.uri());
    let response = client.send(request).await?;
    match response.status() {
        StatusCode::OK | StatusCode::CREATED => Ok(response),
        status => {
            let text = response.into_body().collect().await?.to_bytes();
            bail!("{asked}: {status}: {}", String::from_utf8_lossy(&text))
        }
    }
}

/// A pod as Deployments make them. No scheduler takes it.
fn pod(number: u32) -> Value {
    let variable = |n: u32| json!({"name": format!("VARIABLE_{n}"), "value": format!("http://service-{n}.default.svc.cluster.local:8080/path")});
    let probe = |path: &str| json!({"httpGet": {"path": path, "port": 8080}});
    let main = json!({
        "name": "main", "image": "registry.example.com/team/application:v1.2.3", "env": (0..10).map(variable).collect::<Vec<_>>(),
        "ports": [{"containerPort": 8080}], "livenessProbe": probe("/healthz"), "readinessProbe": probe("/ready"),
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
    });
    let node = (number < ON_NODE).then_some(NODE);
    let mut labels =
        json!({"app": format!("app-{}", number % 100), "pod-template-hash": format!("{number:08x}")});
    if let Some(node) = node {
        labels["node"] = node.into();
    }
    json!({
        "metadata": {
            "name": format!("pod-{number:05}"), "annotations": {"example.com/revision": number.to_string()},
            "labels": labels,
        },
        "spec": {
            "schedulerName": "nobody", "nodeName": node,
            "containers": [main, {"name": "sidecar", "image": "registry.example.com/team/sidecar:v1", "args": ["--quiet"]}],
        },
    })
}
