//! Requests that ask for something else than they seem to, and what they may not do.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use common::{Api, config_map, pod};
use serde_json::{Value, json};

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PODS: &str = "/api/v1/namespaces/default/pods";
const CONTROLLERS: &str = "/api/v1/namespaces/default/replicationcontrollers";
const HUGE: i64 = 99_999_999_999;

async fn api_with_pod() -> Api {
    let api = Api::start().await;
    api.make_default_account("default").await;
    api.post(PODS, pod("x")).await.expect(201);
    api
}

fn controller(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ReplicationController", "metadata": {"name": name},
        "spec": {"replicas": 0, "selector": {"app": "a"}, "template": {
            "metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": "i"}]},
        }},
    })
}

#[tokio::test]
async fn scale_takes_what_its_schema_takes() {
    let api = Api::start().await;
    api.post(CONTROLLERS, controller("x")).await.expect(201);
    let path = format!("{CONTROLLERS}/x/scale");
    let body = json!({"spec": {"replicas": HUGE}}).to_string();
    for content_type in ["application/merge-patch+json", "application/strategic-merge-patch+json"] {
        let refused = api.send("PATCH", &path, content_type, &body).await.expect(422);
        assert!(refused.message().contains("replicas of type int32"), "{}", refused.message());
    }
    let patch = json!([{"op": "replace", "path": "/spec/replicas", "value": HUGE}]).to_string();
    api.send("PATCH", &path, "application/json-patch+json", &patch).await.expect(422);
    api.merge(&path, json!({"spec": {"replicas": "x"}})).await.expect(422);
    let scale = |replicas: Value| json!({"metadata": {"name": "x"}, "spec": {"replicas": replicas}});
    api.put(&path, scale(HUGE.into())).await.expect(400);
    api.put(&path, scale((-1).into())).await.expect(422);
    api.put(&path, controller("x")).await.expect(400);
    api.put(&path, json!({"metadata": {"name": "y"}, "spec": {"replicas": 1}})).await.expect(400);
    let stored = api.get(&format!("{CONTROLLERS}/x")).await.expect(200);
    assert_eq!(stored.body["spec"]["replicas"], 0);
    api.merge(&path, json!({"spec": {"replicas": 3}})).await.expect(200);
    let stored = api.get(&format!("{CONTROLLERS}/x")).await.expect(200);
    assert_eq!(stored.body["spec"]["replicas"], 3);
}

#[tokio::test]
async fn a_dry_run_of_an_eviction_evicts_nothing() {
    let api = api_with_pod().await;
    let path = format!("{PODS}/x/eviction");
    let eviction = |options: Value| json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "x"}, "deleteOptions": options});
    api.post(&path, eviction(json!({"dryRun": ["All"]}))).await.expect(201);
    api.post(&format!("{path}?dryRun=All"), eviction(Value::Null)).await.expect(201);
    let untouched = api.get(&format!("{PODS}/x")).await.expect(200);
    assert_eq!(untouched.body["metadata"]["deletionTimestamp"], Value::Null);
    api.post(&path, eviction(json!({"propagationPolicy": "X"}))).await.expect(422);
    api.post(&path, eviction(json!({"preconditions": {"uid": "other"}}))).await.expect(409);
    api.post(&path, json!({"apiVersion": "policy/v1", "kind": "Pod", "metadata": {"name": "x"}}))
        .await
        .expect(400);
    api.get(&format!("{PODS}/x")).await.expect(200);
    api.post(&path, eviction(Value::Null)).await.expect(201);
    api.get(&format!("{PODS}/x")).await.expect(404);
}

#[tokio::test]
async fn a_body_that_is_no_delete_options_deletes_nothing() {
    let api = Api::start().await;
    api.post(CONFIG_MAPS, config_map("x")).await.expect(201);
    let wrong = [
        (json!({"kind": "Pod", "apiVersion": "v1"}), 400),
        (json!({"propagationPolicy": "Orphan", "orphanDependents": true}), 422),
        (json!({"propagationPolicy": "Sideways"}), 422),
        (json!({"dryRun": ["Some"]}), 422),
        (json!({"gracePeriodSeconds": "x"}), 400),
        (json!({"preconditions": "x"}), 400),
    ];
    for (options, code) in wrong {
        for path in [format!("{CONFIG_MAPS}/x"), CONFIG_MAPS.to_owned()] {
            let refused = api.delete(&path, options.clone()).await;
            assert_eq!(refused.status.as_u16(), code, "{options} {}", refused.text);
        }
    }
    api.send("DELETE", CONFIG_MAPS, "application/json", "{").await.expect(400);
    api.send("DELETE", CONFIG_MAPS, "text/plain", "x").await.expect(415);
    api.delete(&format!("{CONFIG_MAPS}/x"), json!({"dryRun": ["All"]})).await.expect(200);
    api.get(&format!("{CONFIG_MAPS}/x")).await.expect(200);
    let refused = api.delete(&format!("{CONFIG_MAPS}/x"), json!({"kind": "Pod", "apiVersion": "v1"})).await;
    assert_eq!(
        refused.message(),
        r#"no kind "Pod" is registered for version "v1" in scheme "pkg/runtime/scheme.go:111""#
    );
    let options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"});
    api.delete(&format!("{CONFIG_MAPS}/x"), options).await.expect(200);
    api.get(&format!("{CONFIG_MAPS}/x")).await.expect(404);
}

#[tokio::test]
async fn there_is_no_way_to_delete_all_namespaces() {
    let api = Api::start().await;
    let before = api.get("/api/v1/namespaces").await.names().len();
    api.delete("/api/v1/namespaces", Value::Null).await.expect(405);
    assert_eq!(api.get("/api/v1/namespaces").await.names().len(), before);
    let discovery = api.get("/api/v1").await;
    let resources = discovery.body["resources"].as_array().unwrap();
    let namespaces = resources.iter().find(|resource| resource["name"] == "namespaces").unwrap();
    assert!(!namespaces["verbs"].as_array().unwrap().contains(&json!("deletecollection")));
}

#[tokio::test]
async fn gated_pods_are_not_bound() {
    let api = api_with_pod().await;
    let mut gated = pod("gated");
    gated["spec"]["schedulingGates"] = json!([{"name": "example.com/wait"}]);
    api.post(PODS, gated).await.expect(201);
    let bind = |name: &str| json!({"metadata": {"name": name}, "target": {"kind": "Node", "name": "n"}});
    let refused = api.post(&format!("{PODS}/gated/binding"), bind("gated")).await.expect(409);
    assert_eq!(
        refused.message(),
        r#"Operation cannot be fulfilled on pods/binding "gated": pod gated has non-empty .spec.schedulingGates"#
    );
    api.post(&format!("{PODS}/x/binding"), bind("gated")).await.expect(400);
    api.post(&format!("{PODS}/x/binding"), bind("x")).await.expect(201);
}

#[tokio::test]
async fn options_that_make_no_sense_are_refused() {
    let api = Api::start().await;
    for (query, code) in
        [("timeout=invalid", 400), ("timeoutSeconds=x", 400), ("timeout=5s", 200), ("timeoutSeconds=5", 200)]
    {
        let answer = api.get(&format!("{CONFIG_MAPS}?{query}")).await;
        assert_eq!(answer.status.as_u16(), code, "{query} {}", answer.text);
    }
    api.post(CONFIG_MAPS, config_map("x")).await.expect(201);
    for (query, code) in [("", 200), ("0", 200), ("1", 200), ("abc", 500), ("999999999", 504)] {
        let answer = api.get(&format!("{CONFIG_MAPS}/x?resourceVersion={query}")).await;
        assert_eq!(answer.status.as_u16(), code, "{query} {}", answer.text);
    }
    api.merge(&format!("{CONFIG_MAPS}/x?force=true"), json!({"data": {"a": "2"}})).await.expect(422);
    api.merge(&format!("{CONFIG_MAPS}/x?fieldManager=a%07"), json!({"data": {"a": "2"}})).await.expect(422);
    assert_eq!(api.get(&format!("{CONFIG_MAPS}/x")).await.body["data"]["a"], "1");
    let slis = api.get("/metrics/slis").await.expect(200).text;
    assert!(slis.contains("kubernetes_healthcheck{name=\"ping\",type=\"readyz\"} 1"), "{slis}");
}

#[tokio::test]
async fn logs_are_asked_for_in_numbers_that_make_sense() {
    let api = api_with_pod().await;
    for (query, code) in [
        ("tailLines=-1", 422),
        ("tailLines=x", 400),
        ("sinceSeconds=0", 422),
        ("limitBytes=0", 422),
        ("sinceSeconds=5&sinceTime=2020-01-01T00:00:00Z", 422),
        ("tailLines=0", 200),
    ] {
        let answer = api.get(&format!("{PODS}/x/log?{query}")).await;
        assert_eq!(answer.status.as_u16(), code, "{query} {}", answer.text);
    }
}
