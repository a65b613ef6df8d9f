//! Addresses and node ports of Services: unique, and freed with the Service.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use std::collections::BTreeSet;

use common::{Api, service};
use futures::future::join_all;
use serde_json::{Value, json};

const SERVICES: &str = "/api/v1/namespaces/default/services";
const ADDRESSES: &str = "/apis/networking.k8s.io/v1/ipaddresses";

fn node_port(name: &str) -> Value {
    let mut body = service(name);
    body["spec"]["type"] = json!("NodePort");
    body
}

#[tokio::test]
async fn an_address_is_claimed_with_the_service_and_freed_with_it() {
    let api = Api::start().await;
    let made = api.post(SERVICES, service("kubia")).await.expect(201).body;
    let ip = made["spec"]["clusterIP"].as_str().unwrap().to_owned();
    assert!(ip.starts_with("10."), "{ip}");
    let claim = api.get(&format!("{ADDRESSES}/{ip}")).await.expect(200).body;
    assert_eq!(
        claim["spec"]["parentRef"],
        json!({"group": "", "resource": "services", "namespace": "default", "name": "kubia"})
    );
    assert_eq!(claim["metadata"]["labels"]["ipaddress.kubernetes.io/managed-by"], "ipallocator.k8s.io");
    let mut other = service("other");
    other["spec"]["clusterIP"] = json!(ip);
    let refused = api.post(SERVICES, other.clone()).await.expect(422);
    assert!(refused.message().contains("spec.clusterIPs"), "{}", refused.message());
    assert!(refused.message().contains("already allocated"), "{}", refused.message());
    api.post("/api/v1/namespaces/default/endpoints", json!({"metadata": {"name": "kubia"}}))
        .await
        .expect(201);
    api.delete(&format!("{SERVICES}/kubia"), json!(null)).await.expect(200);
    api.get(&format!("{ADDRESSES}/{ip}")).await.expect(404);
    api.get("/api/v1/namespaces/default/endpoints/kubia").await.expect(404);
    let taken = api.post(SERVICES, other).await.expect(201).body;
    assert_eq!(taken["spec"]["clusterIP"], ip);
}

#[tokio::test]
async fn concurrent_creates_never_share() {
    let api = Api::start().await;
    let made = join_all((0..64).map(|i| {
        let api = &api;
        async move { api.post(SERVICES, node_port(&format!("s{i}"))).await.expect(201).body }
    }))
    .await;
    let addresses: BTreeSet<_> = made.iter().map(|s| s["spec"]["clusterIP"].as_str().unwrap()).collect();
    let ports: BTreeSet<_> =
        made.iter().map(|s| s["spec"]["ports"][0]["nodePort"].as_u64().unwrap()).collect();
    assert_eq!((addresses.len(), ports.len()), (64, 64));
    assert_eq!(api.get(ADDRESSES).await.names().len(), 64);
}

#[tokio::test]
async fn one_of_many_gets_the_address_that_all_want() {
    let api = Api::start().await;
    let made = join_all((0..16).map(|i| {
        let mut body = service(&format!("s{i}"));
        body["spec"]["clusterIP"] = json!("10.96.0.77");
        let api = &api;
        async move { api.post(SERVICES, body).await.status.as_u16() }
    }))
    .await;
    assert_eq!(made.iter().filter(|code| **code == 201).count(), 1);
    assert_eq!(made.iter().filter(|code| **code == 422).count(), 15);
}

#[tokio::test]
async fn type_changes_claim_and_free() {
    let api = Api::start().await;
    let made = api.post(SERVICES, node_port("s")).await.expect(201).body;
    let port = made["spec"]["ports"][0]["nodePort"].clone();
    let plain =
        api.merge(&format!("{SERVICES}/s"), json!({"spec": {"type": "ClusterIP"}})).await.expect(200).body;
    assert!(plain["spec"]["ports"][0].get("nodePort").is_none(), "{plain}");
    let mut other = node_port("t");
    other["spec"]["ports"][0]["nodePort"] = port;
    api.post(SERVICES, other).await.expect(201);
    let external = json!({"spec": {"type": "ExternalName", "externalName": "example.com"}});
    let changed = api.merge(&format!("{SERVICES}/s"), external).await.expect(200).body;
    assert!(changed["spec"].get("clusterIP").is_none(), "{changed}");
    assert_eq!(api.get(ADDRESSES).await.names().len(), 1);
}

#[tokio::test]
async fn applying_the_same_manifest_again_keeps_what_was_allocated() {
    let api = Api::start().await;
    let made = api.post(SERVICES, node_port("s")).await.expect(201).body;
    let put = api.put(&format!("{SERVICES}/s"), node_port("s")).await.expect(200).body;
    assert_eq!(put["spec"]["clusterIP"], made["spec"]["clusterIP"]);
    assert_eq!(put["spec"]["ports"], made["spec"]["ports"]);
    let fresh = api.put(&format!("{SERVICES}/new"), service("new")).await.expect(201).body;
    assert!(fresh["spec"]["clusterIP"].is_string());
}

#[tokio::test]
async fn a_dry_run_claims_nothing() {
    let api = Api::start().await;
    api.post(&format!("{SERVICES}?dryRun=All"), node_port("s")).await.expect(201);
    assert!(api.get(ADDRESSES).await.names().is_empty());
    assert!(api.get(SERVICES).await.names().is_empty());
}

#[tokio::test]
async fn external_ips_are_denied_where_the_plugin_is_on() {
    let mut external = service("a");
    external["spec"]["externalIPs"] = json!(["192.0.2.1"]);
    Api::start().await.post(SERVICES, external.clone()).await.expect(201);
    let api = Api::with_plugins("DenyServiceExternalIPs").await;
    let refused = api.post(SERVICES, external).await.expect(403);
    let why = r#"services "a" is forbidden: Use of external IPs is denied by admission control"#;
    assert_eq!(refused.message(), why);
    api.post(SERVICES, service("a")).await.expect(201);
    let patch = json!({"spec": {"externalIPs": ["192.0.2.1"]}});
    api.merge(&format!("{SERVICES}/a"), patch).await.expect(403);
    api.merge(&format!("{SERVICES}/a"), json!({"metadata": {"labels": {"a": "b"}}})).await.expect(200);
}
