//! Questions and their answers, with an API server that knows two pods on one node.

use std::convert::Infallible;

use http::{Method, Request, Response};
use http_body_util::Full;
use serde_json::json;

use super::*;

/// What the API answers to a path and its query.
fn api(path: &str, query: &str) -> (u16, Value) {
    let meta = |name: &str, uid: &str| json!({"metadata": {"name": name, "namespace": "ns", "uid": uid}, "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata"});
    let list = |items: &[Value]| json!({"metadata": {"resourceVersion": "1"}, "items": items});
    let told = json!({
        "name": "c", "startTime": "2026-01-01T00:00:00Z",
        "cpu": {"time": "2026-01-01T00:00:10Z", "usageCoreNanoSeconds": 1_000_000_000},
        "memory": {"workingSetBytes": 1024},
    });
    match path {
        "/api/v1/nodes" => (200, list(&[json!({"metadata": {"name": "n"}})])),
        "/api/v1/nodes/n/proxy/stats/summary" => {
            let pod = |uid: &str| json!({"podRef": {"uid": uid}, "containers": [told]});
            (200, json!({"node": told, "pods": [pod("u1"), pod("u2")]}))
        }
        "/api/v1/pods" | "/api/v1/namespaces/ns/pods" if query.contains("labelSelector=bad") => (
            400,
            json!({"kind": "Status", "status": "Failure", "message": "unable to parse", "reason": "BadRequest", "code": 400}),
        ),
        "/api/v1/pods" => (200, list(&[meta("one", "u1"), meta("two", "u2"), meta("pending", "u3")])),
        "/api/v1/namespaces/ns/pods" if query.contains("metadata.name%3Done") => {
            (200, list(&[meta("one", "u1")]))
        }
        _ => (200, list(&[])),
    }
}

fn metrics() -> Metrics {
    let metrics = Metrics::default();
    let answer = |request: Request<kube::client::Body>| async move {
        let (code, body) = api(request.uri().path(), request.uri().query().unwrap_or_default());
        let body = Full::new(body.to_string().into_bytes().into());
        Ok::<_, Infallible>(Response::builder().status(code).body(body).unwrap())
    };
    metrics.connect(Client::new(tower::service_fn(answer), "default"));
    metrics
}

async fn ask(metrics: &Metrics, path: &str, query: &str) -> Answer {
    let path = format!("/apis/metrics.k8s.io/v1beta1{path}");
    metrics.answer(&Question { method: &Method::GET, path: &path, query, accept: "application/json" }).await
}

#[tokio::test]
async fn nodes_and_pods_are_told_as_far_as_they_are_known() {
    let metrics = metrics();
    let (code, nodes) = ask(&metrics, "/nodes", "").await;
    assert_eq!(
        (code, nodes["items"][0]["usage"].clone()),
        (StatusCode::OK, json!({"cpu": "100m", "memory": "1Ki"}))
    );
    let (_, node) = ask(&metrics, "/nodes/n", "").await;
    assert_eq!((node["kind"].as_str(), node["window"].as_str()), (Some("NodeMetrics"), Some("10s")));
    let (_, pods) = ask(&metrics, "/pods", "").await;
    let names: Vec<_> =
        pods["items"].as_array().unwrap().iter().map(|pod| pod["metadata"]["name"].clone()).collect();
    assert_eq!(names, ["one", "two"], "the third has no numbers");
    let (_, pod) = ask(&metrics, "/namespaces/ns/pods/one", "").await;
    assert_eq!(pod["containers"][0]["name"], "c");
    assert_eq!(ask(&metrics, "/namespaces/ns/pods/none", "").await.0, StatusCode::NOT_FOUND);
    let (code, refusal) = ask(&metrics, "/pods", "labelSelector=bad").await;
    assert_eq!((code.as_u16(), refusal["message"].as_str()), (400, Some("unable to parse")));
    assert_eq!(ask(&Metrics::default(), "/nodes", "").await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(ask(&metrics, "", "").await.1["resources"][1]["name"], "pods");
}
