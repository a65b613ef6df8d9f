//! The whole proxy: from watch events of the API to the table in the kernel. Needs root.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../../podnet/tests/namespace/mod.rs"]
mod namespace;

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, StreamBody, combinators::BoxBody};
use namespace::Namespace;
use serde_json::{Value, json};
use skiff_proxy::{
    Health, ProxyConfig, examine,
    kernel::{State, inspect},
    run_reporting,
};
use tokio::sync::{mpsc, watch};
use tokio_stream::{StreamExt, wrappers::UnboundedReceiverStream};
use tokio_util::sync::CancellationToken;

/// An API server that knows fixed objects and sends the events it is told to send.
#[derive(Default)]
struct Api {
    objects: HashMap<&'static str, Vec<Value>>,
    watches: Mutex<HashMap<String, mpsc::UnboundedSender<Bytes>>>,
    revision: Mutex<u64>,
    /// Bodies of creates.
    created: Mutex<Vec<Value>>,
}

type Body = BoxBody<Bytes, Infallible>;

impl Api {
    fn client(self: &Arc<Self>) -> kube::Client {
        let api = self.clone();
        let answer = move |request: Request<kube::client::Body>| {
            let api = api.clone();
            async move {
                if request.method() == http::Method::POST {
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    api.created.lock().unwrap().push(serde_json::from_slice(&body).unwrap());
                    return Ok(Response::new(http_body_util::Full::new(body).boxed()));
                }
                Ok::<_, Infallible>(api.answer(request.uri()))
            }
        };
        kube::Client::new(tower::service_fn(answer), "default")
    }

    fn answer(&self, uri: &http::Uri) -> Response<Body> {
        let plural = uri.path().rsplit('/').next().unwrap().to_owned();
        if uri.query().is_some_and(|query| query.contains("watch=true")) {
            let (sender, events) = mpsc::unbounded_channel();
            self.watches.lock().unwrap().insert(plural, sender);
            let frames = UnboundedReceiverStream::new(events).map(|line| Ok(http_body::Frame::data(line)));
            return Response::new(BodyExt::boxed(StreamBody::new(frames)));
        }
        let items = self.objects.get(plural.as_str()).cloned().unwrap_or_default();
        let list = json!({ "metadata": { "resourceVersion": "1" }, "items": items });
        Response::new(http_body_util::Full::new(Bytes::from(list.to_string())).boxed())
    }

    fn send(&self, plural: &str, kind: &str, mut object: Value) {
        let mut revision = self.revision.lock().unwrap();
        *revision += 1;
        object["metadata"]["resourceVersion"] = json!((100 + *revision).to_string());
        // In the order in which API servers write it.
        let event = format!(r#"{{"type":"{kind}","object":{object}}}"#);
        let watches = self.watches.lock().unwrap();
        watches[plural].send(Bytes::from(format!("{event}\n"))).unwrap();
    }
}

fn metadata(name: &str) -> Value {
    json!({ "namespace": "default", "name": name, "resourceVersion": "1" })
}

fn service(name: &str, address: &str) -> Value {
    let spec = json!({ "clusterIP": address, "ports": [{ "port": 80 }] });
    json!({ "apiVersion": "v1", "kind": "Service", "metadata": metadata(name), "spec": spec })
}

fn slice(service: &str, addresses: &[&str]) -> Value {
    let mut metadata = metadata(&format!("{service}-1"));
    metadata["labels"] = json!({ "kubernetes.io/service-name": service });
    let endpoints: Vec<_> = addresses.iter().map(|address| json!({ "addresses": [address] })).collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata,
        "addressType": "IPv4", "ports": [{ "port": 8080, "protocol": "TCP" }], "endpoints": endpoints,
    })
}

fn pod_with_host_port(phase: &str) -> Value {
    let ports = json!([{ "containerPort": 8080, "hostPort": 80 }]);
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": metadata("web"),
        "spec": { "containers": [{ "name": "c", "ports": ports }] },
        "status": { "phase": phase, "podIP": "10.244.7.9" },
    })
}

fn node(pod_cidr: &str) -> Value {
    let metadata = json!({ "name": "node", "resourceVersion": "1" });
    json!({ "apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": { "podCIDR": pod_cidr } })
}

fn config() -> ProxyConfig {
    ProxyConfig {
        node_name: "node".into(),
        node_ips: vec!["192.0.2.1".parse().unwrap()],
        cluster_cidr: "10.244.0.0/16".parse().unwrap(),
        service_cidr: "10.96.0.0/12".parse().unwrap(),
    }
}

/// The table as text, without the addresses that are allocated.
fn table() -> Vec<String> {
    let elements = inspect().unwrap();
    elements.iter().map(ToString::to_string).filter(|line| !line.starts_with("address")).collect()
}

async fn next(health: &mut watch::Receiver<Health>) {
    tokio::time::timeout(Duration::from_secs(10), health.changed()).await.unwrap().unwrap();
}

async fn changes_reach_the_kernel() {
    let api = Arc::new(Api {
        objects: [
            ("nodes", vec![node("10.244.7.0/24")]),
            ("services", vec![service("web", "10.96.7.7")]),
            ("endpointslices", vec![slice("web", &["10.244.7.2"])]),
        ]
        .into(),
        ..Api::default()
    });
    let shutdown = CancellationToken::new();
    let (sender, mut health) = watch::channel(Health::default());
    let proxy = tokio::spawn(run_reporting(api.client(), config(), sender, shutdown.clone()));
    next(&mut health).await;
    assert!(health.borrow().synced);
    let first =
        ["service 10.96.7.7:80/tcp n1".to_owned(), "endpoint 10.96.7.7:80/tcp 0 10.244.7.2:8080".to_owned()];
    assert_eq!(table(), first);
    while api.watches.lock().unwrap().len() < 4 {
        tokio::task::yield_now().await;
    }
    api.send("pods", "ADDED", pod_with_host_port("Running"));
    next(&mut health).await;
    let port =
        ["service 192.0.2.1:80/tcp n1".to_owned(), "endpoint 192.0.2.1:80/tcp 0 10.244.7.9:8080".to_owned()];
    assert!(port.iter().all(|element| table().contains(element)), "{:?}", table());
    api.send("pods", "MODIFIED", pod_with_host_port("Succeeded"));
    next(&mut health).await;
    assert_eq!(table(), first);
    let mut times = Vec::new();
    for round in 0..100 {
        let begin = Instant::now();
        let address = format!("10.244.7.{}", 3 + round % 2);
        api.send("endpointslices", "MODIFIED", slice("web", &[&address]));
        next(&mut health).await;
        times.push(begin.elapsed());
        assert_eq!(table()[1], format!("endpoint 10.96.7.7:80/tcp 0 {address}:8080"));
    }
    times.sort_unstable();
    println!("watch event to kernel: median {:?}, p99 {:?}", times[50], times[98]);
    api.send("nodes", "MODIFIED", node("10.244.8.0/24"));
    next(&mut health).await;
    assert_eq!(table().len(), 2, "the table is replaced with all that was in it");
    api.send("services", "DELETED", service("web", "10.96.7.7"));
    next(&mut health).await;
    assert!(table().is_empty());
    shutdown.cancel();
    proxy.await.unwrap().unwrap();
}

/// Waits for the next state without failure.
async fn well(health: &mut watch::Receiver<Health>) {
    let well = health.wait_for(|health| health.synced && health.failing.is_none());
    drop(tokio::time::timeout(Duration::from_secs(10), well).await.expect("in time").unwrap());
}

async fn what_others_take_comes_back() {
    let api = Arc::new(Api {
        objects: [
            ("nodes", vec![node("10.244.7.0/24")]),
            ("services", vec![service("web", "10.96.7.7")]),
            ("endpointslices", vec![slice("web", &["10.244.7.2"])]),
        ]
        .into(),
        ..Api::default()
    });
    let shutdown = CancellationToken::new();
    let (sender, mut health) = watch::channel(Health::default());
    let proxy = tokio::spawn(run_reporting(api.client(), config(), sender, shutdown.clone()));
    well(&mut health).await;
    let whole = table();
    for damage in ["flush ruleset", "flush chain ip skiff prerouting", "flush map ip skiff services"] {
        health.mark_unchanged();
        let done = std::process::Command::new("nft").arg(damage).status().unwrap();
        assert!(done.success(), "{damage}");
        // First that it was heard of, then that it was made good.
        next(&mut health).await;
        well(&mut health).await;
        assert_eq!(table(), whole, "{damage}");
        let (state, frontends) = examine().unwrap();
        assert_eq!((state, frontends), (State::Complete, 1), "{damage}");
    }
    shutdown.cancel();
    proxy.await.unwrap().unwrap();
    let events = api.created.lock().unwrap().clone();
    let told = |event: &Value| {
        assert_eq!(event["reason"], "ServiceTableRestored");
        assert_eq!(event["involvedObject"]["kind"], "Node");
        event["message"].as_str().unwrap().to_owned()
    };
    let messages: Vec<String> = events.iter().map(told).collect();
    assert!(
        messages[0].contains("by nft (process") && messages[0].ends_with("it was deleted"),
        "{messages:?}"
    );
    assert!(messages[1].ends_with("rules of chain prerouting"), "{messages:?}");
}

#[test]
fn the_table_comes_back_with_an_event() {
    Namespace::new().block_on(what_others_take_comes_back);
}

#[test]
fn from_the_api_to_the_kernel() {
    Namespace::new().block_on(changes_reach_the_kernel);
}
