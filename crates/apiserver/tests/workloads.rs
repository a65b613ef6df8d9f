//! What belongs to workloads: evictions that budgets forbid, and objects that two kinds show.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use common::{Api, pod};
use serde_json::{Value, json};

const PODS: &str = "/api/v1/namespaces/default/pods";
const BUDGETS: &str = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";

fn eviction(name: &str) -> Value {
    json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}})
}

/// Running pods with a budget that allows so many disruptions.
async fn guarded(names: &[&str], allowed: i64) -> Api {
    let api = Api::start().await;
    api.make_default_account("default").await;
    for name in names {
        api.post(PODS, pod(name)).await.expect(201);
        let ready =
            json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
        api.merge(&format!("{PODS}/{name}/status"), ready).await.expect(200);
    }
    let spec = json!({"minAvailable": 1, "selector": {"matchLabels": {"app": "kubia"}}});
    api.post(BUDGETS, json!({"metadata": {"name": "b"}, "spec": spec})).await.expect(201);
    let status = json!({"status": {"observedGeneration": 1, "disruptionsAllowed": allowed,
        "currentHealthy": allowed + 1, "desiredHealthy": 1, "expectedPods": allowed + 1}});
    api.merge(&format!("{BUDGETS}/b/status"), status).await.expect(200);
    api
}

#[tokio::test]
async fn evictions_spend_a_budget_until_nothing_is_left() {
    let api = guarded(&["x", "y"], 1).await;
    let evict = |name: &'static str, query: &'static str| {
        let (api, path) = (&api, format!("{PODS}/{name}/eviction{query}"));
        async move { api.post(&path, eviction(name)).await }
    };
    evict("x", "?dryRun=All").await.expect(201);
    let budget = || async { api.get(&format!("{BUDGETS}/b")).await.expect(200).body["status"].clone() };
    assert_eq!(budget().await["disruptionsAllowed"], 1);
    evict("x", "").await.expect(201);
    api.get(&format!("{PODS}/x")).await.expect(404);
    let spent = budget().await;
    assert_eq!(spent["disruptionsAllowed"], 0);
    assert!(spent["disruptedPods"]["x"].is_string(), "{spent}");
    assert_eq!(spent["conditions"][0]["reason"], "InsufficientPods");
    let refused = evict("y", "").await.expect(429);
    assert_eq!(refused.message(), "Cannot evict pod as it would violate the pod's disruption budget.");
    let cause = "The disruption budget b does not allow evicting pods currently";
    let details = json!({"causes": [{"reason": "DisruptionBudget", "message": cause}]});
    assert_eq!(refused.body["details"], details);
    assert!(!refused.headers.contains_key("retry-after"));
    api.get(&format!("{PODS}/y")).await.expect(200);
    api.merge(&format!("{BUDGETS}/b"), json!({"spec": {"minAvailable": 2}})).await.expect(200);
    let refused = evict("y", "").await.expect(429);
    assert_eq!(refused.headers["retry-after"], "10");
}

#[tokio::test]
async fn of_many_evictions_at_once_as_many_succeed_as_the_budget_allows() {
    let api = guarded(&["a", "b", "c", "d"], 2).await;
    let all = ["a", "b", "c", "d"].map(|name| {
        let (api, path) = (&api, format!("{PODS}/{name}/eviction"));
        async move { api.post(&path, eviction(name)).await.status.as_u16() }
    });
    let mut codes = futures::future::join_all(all).await;
    codes.sort_unstable();
    assert_eq!(codes, [201, 201, 429, 429]);
    assert_eq!(api.get(PODS).await.expect(200).names().len(), 2);
}

#[tokio::test]
async fn pods_that_wait_to_go_say_that_they_were_evicted() {
    let api = Api::start().await;
    api.make_default_account("default").await;
    let mut held = pod("x");
    held["metadata"]["finalizers"] = json!(["example.com/f"]);
    api.post(PODS, held).await.expect(201);
    api.post(&format!("{PODS}/x/eviction"), eviction("x")).await.expect(201);
    let stored = api.get(&format!("{PODS}/x")).await.expect(200).body;
    assert!(stored["metadata"]["deletionTimestamp"].is_string());
    let target = &stored["status"]["conditions"][0];
    assert_eq!(
        (&target["type"], &target["reason"]),
        (&json!("DisruptionTarget"), &json!("EvictionByEvictionAPI"))
    );
}

#[tokio::test]
async fn events_of_both_groups_are_the_same() {
    const CORE: &str = "/api/v1/namespaces/default/events";
    const NEW: &str = "/apis/events.k8s.io/v1/namespaces/default/events";
    let api = Api::start().await;
    let mut seen = api.watch(&format!("{NEW}?watch=1"), "application/json").await;
    let old = json!({"metadata": {"name": "a"}, "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"},
        "reason": "R", "message": "m", "count": 2, "source": {"component": "c"}});
    api.post(CORE, old).await.expect(201);
    let shown = api.get(&format!("{NEW}/a")).await.expect(200).body;
    assert_eq!((&shown["note"], &shown["deprecatedCount"]), (&json!("m"), &json!(2)));
    assert_eq!(shown["regarding"]["name"], "p");
    assert_eq!(seen.next().await.unwrap()["object"]["apiVersion"], "events.k8s.io/v1");
    let new = json!({"metadata": {"name": "b"}, "regarding": {"kind": "Pod", "name": "q", "namespace": "default"},
        "eventTime": "2026-01-01T00:00:00.000000Z", "action": "A", "reason": "R", "type": "Normal", "note": "n",
        "reportingController": "example.com/c", "reportingInstance": "i"});
    api.post(NEW, new).await.expect(201);
    let stored = api.get(&format!("{CORE}/b")).await.expect(200).body;
    assert_eq!((&stored["message"], &stored["involvedObject"]["name"]), (&json!("n"), &json!("q")));
    assert_eq!(stored["apiVersion"], "v1");
    assert_eq!(api.get(&format!("{NEW}?fieldSelector=regarding.name=p")).await.expect(200).names(), ["a"]);
    assert_eq!(
        api.get(&format!("{CORE}?fieldSelector=involvedObject.name=q")).await.expect(200).names(),
        ["b"]
    );
    api.delete(NEW, Value::Null).await.expect(200);
    assert!(api.get(CORE).await.expect(200).names().is_empty());
}

#[tokio::test]
async fn autoscalers_keep_in_annotations_what_the_first_version_has_no_fields_for() {
    const V1: &str = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers";
    const V2: &str = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";
    let api = Api::start().await;
    let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"});
    let memory = json!({"type": "Resource", "resource": {"name": "memory", "target": {"type": "Utilization", "averageUtilization": 7}}});
    let spec = json!({"maxReplicas": 3, "scaleTargetRef": target, "metrics": [memory]});
    api.post(V2, json!({"metadata": {"name": "a"}, "spec": spec})).await.expect(201);
    let first = api.get(&format!("{V1}/a")).await.expect(200).body;
    let metrics = &first["metadata"]["annotations"]["autoscaling.alpha.kubernetes.io/metrics"];
    assert_eq!(metrics, r#"[{"type":"Resource","resource":{"name":"memory","targetAverageUtilization":7}}]"#);
    // Whoever changes the one version changes the other.
    api.merge(&format!("{V1}/a"), json!({"spec": {"targetCPUUtilizationPercentage": 60}})).await.expect(200);
    let second = api.get(&format!("{V2}/a")).await.expect(200).body;
    assert_eq!(second["spec"]["metrics"][0], memory);
    assert_eq!(second["spec"]["metrics"][1]["resource"]["target"]["averageUtilization"], 60);
    assert_eq!(second["metadata"]["annotations"], Value::Null);
    // A status that is written in the first version takes nothing from the spec.
    let status = json!({"metadata": {"name": "a"}, "status": {"currentReplicas": 1, "desiredReplicas": 2}});
    api.put(&format!("{V1}/a/status"), status).await.expect(200);
    let second = api.get(&format!("{V2}/a")).await.expect(200).body;
    assert_eq!(second["spec"]["metrics"][0], memory);
    assert_eq!(second["status"]["desiredReplicas"], 2);
}

#[tokio::test]
async fn a_status_changes_no_labels_of_a_deployment() {
    const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
    let api = Api::start().await;
    let template = json!({"metadata": {"labels": {"app": "kubia"}}, "spec": pod("x")["spec"]});
    let spec = json!({"selector": {"matchLabels": {"app": "kubia"}}, "template": template});
    api.post(DEPLOYMENTS, json!({"metadata": {"name": "d"}, "spec": spec})).await.expect(201);
    let change = json!({"metadata": {"labels": {"a": "b"}}, "status": {"replicas": 1}});
    let changed = api.merge(&format!("{DEPLOYMENTS}/d/status"), change).await.expect(200).body;
    assert_eq!((&changed["metadata"]["labels"], &changed["status"]["replicas"]), (&Value::Null, &json!(1)));
    assert_eq!(changed["metadata"]["generation"], 1);
    let annotated = json!({"metadata": {"annotations": {"a": "b"}}});
    let annotated = api.merge(&format!("{DEPLOYMENTS}/d"), annotated).await.expect(200).body;
    assert_eq!(annotated["metadata"]["generation"], 2);
    let scaled =
        api.merge(&format!("{DEPLOYMENTS}/d/scale"), json!({"spec": {"replicas": 4}})).await.expect(200);
    assert_eq!(scaled.body["status"]["selector"], "app=kubia");
}
