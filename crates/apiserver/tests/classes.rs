//! Admission by classes, of volumes and of certificates.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use std::sync::LazyLock;

use common::{Api, pod};
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};
use skiff_apiserver::UserInfo;

const PODS: &str = "/api/v1/namespaces/default/pods";
const CLAIMS: &str = "/api/v1/namespaces/default/persistentvolumeclaims";
const INGRESSES: &str = "/apis/networking.k8s.io/v1/namespaces/default/ingresses";
const PRIORITIES: &str = "/apis/scheduling.k8s.io/v1/priorityclasses";
const RUNTIMES: &str = "/apis/node.k8s.io/v1/runtimeclasses";
const STORAGE: &str = "/apis/storage.k8s.io/v1";
const REQUESTS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";

/// A request of O=people, CN=someone.example.com.
const REQUEST: &str = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlIcU1JR1JBZ0VBTUM4eER6QU5CZ05WQkFvTUJuQmxiM0JzWlRFY01Cb0dBMVVFQXd3VGMyOXRaVzl1WlM1bAplR0Z0Y0d4bExtTnZiVEJaTUJNR0J5cUdTTTQ5QWdFR0NDcUdTTTQ5QXdFSEEwSUFCRWZOdXpGQUY5NC9tZXA0CkRjRnZmM1VHVGRMQ1NQY3doMWFaeFJhQnl6NXlRVERQS1p6K2ZZcExxejIzMjROcFFnZWtWTURYWTJhQ2lhTWkKNjNjL3lwZWdBREFLQmdncWhrak9QUVFEQWdOSUFEQkZBaUVBbTFOSkgzUkRJR2tRTmxZc0VtRkU1UkhZNnBoSgo4ajdiK0x0ZDlBWWRxblFDSUNKa1hma1Q4cjhLVzF6Y2xxazQ1dXRucFFReGliOExBaGh2S0Naei9WRmEKLS0tLS1FTkQgQ0VSVElGSUNBVEUgUkVRVUVTVC0tLS0tCg==";

async fn api_for_pods() -> Api {
    let api = Api::start().await;
    api.make_default_account("default").await;
    api
}

fn with(mut object: Value, field: &str, value: Value) -> Value {
    object["spec"][field] = value;
    object
}

#[tokio::test]
async fn pods_have_the_priority_of_their_class() {
    let api = api_for_pods().await;
    let plain = api.post(PODS, pod("plain")).await.expect(201);
    assert_eq!(
        (&plain.body["spec"]["priority"], &plain.body["spec"]["priorityClassName"]),
        (&json!(0), &Value::Null)
    );
    let class = |name: &str, value: u32, is_default: bool| json!({"metadata": {"name": name}, "value": value, "globalDefault": is_default, "preemptionPolicy": "Never"});
    api.post(PRIORITIES, class("high", 1000, false)).await.expect(201);
    api.post(PRIORITIES, class("usual", 10, true)).await.expect(201);
    let refused = api.post(PRIORITIES, class("other", 20, true)).await.expect(403);
    assert!(
        refused
            .message()
            .ends_with("PriorityClass usual is already marked as default. Only one default can exist")
    );
    let usual = api.post(PODS, pod("usual")).await.expect(201);
    assert_eq!(usual.body["spec"]["priorityClassName"], "usual");
    assert_eq!(
        (&usual.body["spec"]["priority"], &usual.body["spec"]["preemptionPolicy"]),
        (&json!(10), &json!("Never"))
    );
    let high = api.post(PODS, with(pod("high"), "priorityClassName", json!("high"))).await.expect(201);
    assert_eq!(high.body["spec"]["priority"], 1000);
    let none = api.post(PODS, with(pod("none"), "priorityClassName", json!("none"))).await.expect(403);
    assert_eq!(none.message(), r#"pods "none" is forbidden: no PriorityClass with name none was found"#);
    for name in ["system-cluster-critical", "system-node-critical"] {
        let kept = api.delete(&format!("{PRIORITIES}/{name}"), json!({})).await.expect(403);
        assert!(kept.message().ends_with("this is a system priority class and cannot be deleted"));
    }
}

#[tokio::test]
async fn pods_get_what_their_runtime_class_costs_and_where_it_is() {
    let api = api_for_pods().await;
    let named = |name: &str| with(pod(name), "runtimeClassName", json!("vm"));
    let missing = api.post(PODS, named("a")).await.expect(403);
    assert_eq!(missing.message(), r#"pods "a" is forbidden: pod rejected: RuntimeClass "vm" not found"#);
    let class = json!({
        "metadata": {"name": "vm"}, "handler": "vm", "overhead": {"podFixed": {"cpu": "100m"}},
        "scheduling": {"nodeSelector": {"vm": "yes"}},
    });
    api.post(RUNTIMES, class).await.expect(201);
    let made = api.post(PODS, named("a")).await.expect(201);
    assert_eq!(made.body["spec"]["overhead"], json!({"cpu": "100m"}));
    assert_eq!(made.body["spec"]["nodeSelector"], json!({"vm": "yes"}));
    let other = with(named("b"), "nodeSelector", json!({"vm": "no"}));
    let refused = api.post(PODS, other).await.expect(403);
    assert!(refused.message().contains("conflict: runtimeClass.scheduling.nodeSelector[vm] = yes"));
    let costs = api.post(PODS, with(pod("c"), "overhead", json!({"cpu": "1"}))).await.expect(403);
    assert!(
        costs.message().ends_with("Pod Overhead set without corresponding RuntimeClass defined Overhead")
    );
}

fn claim(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
    }})
}

#[tokio::test]
async fn claims_and_ingresses_get_the_default_class() {
    let api = Api::start().await;
    let marked = |annotation: &str, rest: Value| {
        let mut class = json!({"metadata": {"name": "usual", "annotations": {annotation: "true"}}});
        class.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        class
    };
    let before = api.post(CLAIMS, claim("before")).await.expect(201);
    assert_eq!(before.body["spec"]["storageClassName"], Value::Null);
    assert_eq!(before.body["metadata"]["finalizers"], json!(["kubernetes.io/pvc-protection"]));
    let class =
        marked("storageclass.kubernetes.io/is-default-class", json!({"provisioner": "example.com/p"}));
    api.post(&format!("{STORAGE}/storageclasses"), class).await.expect(201);
    let after = api.post(CLAIMS, claim("after")).await.expect(201);
    assert_eq!(after.body["spec"]["storageClassName"], "usual");
    let none = api.post(CLAIMS, with(claim("none"), "storageClassName", json!(""))).await.expect(201);
    assert_eq!(none.body["spec"]["storageClassName"], "");
    let spec = json!({"spec": {"controller": "example.com/c"}});
    let class = marked("ingressclass.kubernetes.io/is-default-class", spec);
    api.post("/apis/networking.k8s.io/v1/ingressclasses", class).await.expect(201);
    let backend = json!({"service": {"name": "s", "port": {"number": 80}}});
    let ingress = json!({"metadata": {"name": "a"}, "spec": {"defaultBackend": backend}});
    let made = api.post(INGRESSES, ingress).await.expect(201);
    assert_eq!(made.body["spec"]["ingressClassName"], "usual");
}

#[tokio::test]
async fn bound_claims_grow_if_their_class_allows_it() {
    let api = Api::start().await;
    let class = |name: &str, grows: bool| json!({"metadata": {"name": name}, "provisioner": "example.com/p", "allowVolumeExpansion": grows});
    let bigger = json!({"spec": {"resources": {"requests": {"storage": "2Gi"}}}});
    for (name, grows) in [("fixed", false), ("elastic", true)] {
        api.post(&format!("{STORAGE}/storageclasses"), class(name, grows)).await.expect(201);
        api.post(CLAIMS, with(claim(name), "storageClassName", json!(name))).await.expect(201);
        let bound = json!({"status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}});
        api.merge(&format!("{CLAIMS}/{name}/status"), bound).await.expect(200);
        let answer = api.merge(&format!("{CLAIMS}/{name}"), bigger.clone()).await;
        if grows {
            answer.expect(200);
        } else {
            assert!(answer.expect(403).message().contains("only dynamically provisioned pvc can be resized"));
        }
    }
}

static BODY: LazyLock<Value> = LazyLock::new(|| {
    json!({"metadata": {"name": "r"}, "spec": {
        "request": REQUEST, "signerName": "example.com/s", "usages": ["client auth"],
    }})
});

#[tokio::test]
async fn requests_are_decided_about_by_those_who_may() {
    let api = Api::start().await;
    let made = api.post(REQUESTS, BODY.clone()).await.expect(201);
    assert!(made.body["spec"]["username"].is_string());
    let role = json!({"metadata": {"name": "approver"}, "rules": [
        {"apiGroups": ["certificates.k8s.io"], "resources": ["*"], "verbs": ["get", "update", "patch"]},
    ]});
    const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
    api.post(&format!("{RBAC}/clusterroles"), role).await.expect(201);
    let binding = json!({
        "metadata": {"name": "approver"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "approver"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "alice"}],
    });
    api.post(&format!("{RBAC}/clusterrolebindings"), binding).await.expect(201);
    let approval =
        json!({"status": {"conditions": [{"type": "Approved", "status": "True", "reason": "ByHand"}]}});
    let by_alice = || {
        let request = Request::patch(format!("{REQUESTS}/r/approval"))
            .header("content-type", "application/merge-patch+json")
            .body(Full::from(approval.to_string()))
            .unwrap();
        api.open(UserInfo::authenticated("alice", []), request)
    };
    let refused = common::read(by_alice().await).await.expect(403);
    assert!(
        refused
            .message()
            .ends_with(r#"user not permitted to approve requests with signerName "example.com/s""#),
        "{}",
        refused.message()
    );
    let signers = json!({"rules": [
        {"apiGroups": ["certificates.k8s.io"], "resources": ["*"], "verbs": ["get", "update", "patch"]},
        {"apiGroups": ["certificates.k8s.io"], "resources": ["signers"], "resourceNames": ["example.com/*"],
         "verbs": ["approve"]},
    ]});
    api.merge(&format!("{RBAC}/clusterroles/approver"), signers).await.expect(200);
    // What a right says is known a moment after it is written.
    let mut approved = common::read(by_alice().await).await;
    for _ in 0..100 {
        if approved.status == 200 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        approved = common::read(by_alice().await).await;
    }
    let approved = approved.expect(200);
    assert_eq!(approved.body["status"]["conditions"][0]["type"], "Approved");
    let whole = api.merge(&format!("{REQUESTS}/r"), json!({"status": {"conditions": []}})).await.expect(200);
    assert_eq!(whole.body["status"]["conditions"][0]["type"], "Approved");
}
