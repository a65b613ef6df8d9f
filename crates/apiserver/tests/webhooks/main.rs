//! Admission webhooks in the pipeline: what they are asked, and what becomes of what they say.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod collections;
#[path = "../common/mod.rs"]
mod common;
mod credentials;

use base64::Engine as _;
use common::hook::Hook;
use common::{Api, config_map};
use serde_json::{Value, json};
use tokio::net::TcpListener;

const VALIDATING: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
const MUTATING: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// A configuration of one webhook for ConfigMaps, with these fields besides.
fn configuration(kind: &str, client: &Value, fields: &Value) -> Value {
    let mut hook = json!({
        "name": "hook.example.com", "clientConfig": client, "sideEffects": "None", "admissionReviewVersions": ["v1"],
        "rules": [{"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}],
    });
    for (field, value) in fields.as_object().unwrap() {
        hook[field] = value.clone();
    }
    json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": "hook"}, "webhooks": [hook]})
}

async fn validate(api: &Api, client: &Value, fields: Value) {
    let configuration = configuration("ValidatingWebhookConfiguration", client, &fields);
    api.post(VALIDATING, configuration).await.expect(201);
}

async fn mutate(api: &Api, client: &Value, fields: Value) {
    api.post(MUTATING, configuration("MutatingWebhookConfiguration", client, &fields)).await.expect(201);
}

fn answer(review: &Value, mut response: Value) -> Value {
    response["uid"] = review["request"]["uid"].clone();
    json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "response": response})
}

fn patch(review: &Value, operations: &Value) -> Value {
    let patch = base64::engine::general_purpose::STANDARD.encode(operations.to_string());
    answer(review, json!({"allowed": true, "patch": patch, "patchType": "JSONPatch"}))
}

/// Refuses what has `bad`, and every deletion.
fn refuse_bad(review: &Value) -> Value {
    let request = &review["request"];
    let bad = request["operation"] == "DELETE" || request["object"]["data"]["bad"].is_string();
    let status = json!({"message": "not today", "code": 403, "reason": "Forbidden"});
    if bad {
        answer(review, json!({"allowed": false, "status": status}))
    } else {
        answer(review, json!({"allowed": true, "warnings": ["be careful"]}))
    }
}

#[tokio::test]
async fn a_webhook_refuses_writes_and_deletions() {
    let (api, hook) = (Api::start().await, Hook::start(refuse_bad).await);
    validate(&api, &hook.client(), json!({})).await;
    let made = api.post(&format!("{MAPS}?fieldManager=me"), config_map("a")).await.expect(201);
    assert_eq!(made.warnings(), ["299 - \"be careful\""]);
    let asked = hook.asked();
    let request = &asked[0]["request"];
    assert_eq!(
        (&request["operation"], &request["name"], &request["namespace"]),
        (&json!("CREATE"), &json!("a"), &json!("default"))
    );
    assert_eq!(request["object"], made_object(&made.body));
    assert_eq!(
        request["options"],
        json!({"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1", "fieldManager": "me"})
    );
    assert_eq!(request["userInfo"]["username"], "system:apiserver");

    let refused = api.merge(&format!("{MAPS}/a"), json!({"data": {"bad": "1"}})).await.expect(403);
    assert_eq!(refused.message(), r#"admission webhook "hook.example.com" denied the request: not today"#);
    assert_eq!(refused.body["reason"], "Forbidden");
    let request = &hook.asked()[0]["request"];
    assert_eq!(
        (&request["operation"], &request["options"]["kind"]),
        (&json!("UPDATE"), &json!("UpdateOptions"))
    );
    assert_eq!(
        (&request["oldObject"]["data"], &request["object"]["data"]),
        (&json!({"a": "1"}), &json!({"a": "1", "bad": "1"}))
    );

    api.delete(&format!("{MAPS}/a"), json!({"gracePeriodSeconds": 5})).await.expect(403);
    let request = &hook.asked()[0]["request"];
    assert_eq!((&request["object"], &request["oldObject"]["data"]), (&Value::Null, &json!({"a": "1"})));
    assert_eq!(request["options"]["gracePeriodSeconds"], 5);

    api.delete(&format!("{VALIDATING}/hook"), Value::Null).await.expect(200);
    api.delete(&format!("{MAPS}/a"), Value::Null).await.expect(200);
    assert!(hook.asked().is_empty());
}

#[tokio::test]
async fn calls_one_after_the_other_share_a_connection() {
    let (api, hook) = (Api::start().await, Hook::start(refuse_bad).await);
    validate(&api, &hook.client(), json!({})).await;
    for call in 0..12 {
        api.post(MAPS, config_map(&format!("a{call}"))).await.expect(201);
    }
    assert_eq!(hook.asked().len(), 12);
    // One may not be back yet when the next call comes.
    assert!(hook.connections() <= 6, "{} connections", hook.connections());
}

/// As it was before it had a revision.
fn made_object(body: &Value) -> Value {
    let mut object = body.clone();
    object["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    object
}

#[tokio::test]
async fn a_webhook_changes_objects_by_json_patch() {
    let api = Api::start().await;
    let hook = Hook::start(|review| {
        let operations = json!([
            {"op": "add", "path": "/data/added", "value": "yes"},
            {"op": "replace", "path": "/metadata/uid", "value": "mine"},
            {"op": "add", "path": "/unknown", "value": "x"}]);
        patch(review, &operations)
    })
    .await;
    mutate(&api, &hook.client(), json!({})).await;
    let made = api.post(MAPS, config_map("a")).await.expect(201).body;
    assert_eq!((&made["data"], &made["unknown"]), (&json!({"a": "1", "added": "yes"}), &Value::Null));
    assert_ne!(made["metadata"]["uid"], "mine");
    let merged = api.merge(&format!("{MAPS}/a"), json!({"data": {"b": "2"}})).await.expect(200).body;
    assert_eq!(merged["data"], json!({"a": "1", "b": "2", "added": "yes"}));
    assert_eq!(merged["metadata"]["uid"], made["metadata"]["uid"]);
    // What a webhook made is validated as what a client sends.
    let wrong =
        Hook::start(|review| patch(review, &json!([{"op": "add", "path": "/data/a~1b", "value": "x"}])))
            .await;
    api.delete(&format!("{MUTATING}/hook"), Value::Null).await.expect(200);
    mutate(&api, &wrong.client(), json!({})).await;
    let refused = api.post(MAPS, config_map("b")).await.expect(422);
    assert!(refused.message().contains("data[a/b]"), "{}", refused.message());
}

#[tokio::test]
async fn a_sidecar_gets_what_other_plugins_give_containers() {
    let api = Api::start().await;
    api.make_default_account("default").await;
    let hook = Hook::start(|review| {
        let sidecar = json!({"name": "sidecar", "image": "x"});
        patch(review, &json!([{"op": "add", "path": "/spec/containers/-", "value": sidecar}]))
    })
    .await;
    let rules =
        json!([{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}]);
    mutate(&api, &hook.client(), json!({"rules": rules})).await;
    let made = api.post("/api/v1/namespaces/default/pods", common::pod("a")).await.expect(201).body;
    let sidecar = &made["spec"]["containers"][1];
    assert_eq!((&sidecar["name"], &sidecar["terminationMessagePolicy"]), (&json!("sidecar"), &json!("File")));
    assert_eq!(sidecar["volumeMounts"][0]["mountPath"], "/var/run/secrets/kubernetes.io/serviceaccount");
    assert_eq!(hook.asked().len(), 1);
}

#[tokio::test]
async fn who_cannot_be_asked_counts_as_the_failure_policy_says() {
    let api = Api::start().await;
    let service = json!({"service": {"namespace": "default", "name": "gone", "path": "/x"}});
    validate(&api, &service, json!({"failurePolicy": "Fail", "timeoutSeconds": 5})).await;
    let refused = api.post(MAPS, config_map("a")).await.expect(500);
    assert_eq!(
        refused.message(),
        "Internal error occurred: failed calling webhook \"hook.example.com\": failed to call webhook: Post \"https://gone.default.svc:443/x?timeout=5s\": service \"gone\" not found"
    );
    let ignore = json!({"webhooks": [{"name": "hook.example.com", "clientConfig": service, "failurePolicy": "Ignore"}]});
    api.send(
        "PATCH",
        &format!("{VALIDATING}/hook"),
        "application/strategic-merge-patch+json",
        &ignore.to_string(),
    )
    .await
    .expect(200);
    api.post(MAPS, config_map("a")).await.expect(201);
}

#[tokio::test]
async fn who_waits_no_longer_is_told_so() {
    let api = Api::start().await;
    // Accepted by the kernel, and answered by nobody: what asks it waits until it gives up itself.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = json!({"url": format!("https://{}/hook", silent.local_addr().unwrap())});
    validate(&api, &client, json!({"timeoutSeconds": 30})).await;
    let late = api.post(&format!("{MAPS}?timeout=100ms"), config_map("x")).await.expect(504);
    assert_eq!(late.message(), "Timeout: request did not complete within the allotted timeout");
    assert_eq!((&late.body["reason"], &late.body["details"]), (&json!("Timeout"), &json!({})));
    api.get(&format!("{MAPS}/x")).await.expect(404);
    api.delete(&format!("{VALIDATING}/hook"), json!({})).await.expect(200);
    api.post(&format!("{MAPS}?timeout=0"), config_map("x")).await.expect(201);
}

#[tokio::test]
async fn selectors_of_namespaces_and_dry_runs_count() {
    let (api, hook) = (Api::start().await, Hook::start(refuse_bad).await);
    let selector = json!({"matchLabels": {"watched": "yes"}});
    validate(&api, &hook.client(), json!({"namespaceSelector": selector})).await;
    api.post(MAPS, config_map("a")).await.expect(201);
    assert!(hook.asked().is_empty());
    let namespace = json!({"metadata": {"name": "watched", "labels": {"watched": "yes"}}});
    api.post("/api/v1/namespaces", namespace).await.expect(201);
    let watched = "/api/v1/namespaces/watched/configmaps";
    api.post(&format!("{watched}?dryRun=All"), config_map("a")).await.expect(201);
    let request = &hook.asked()[0]["request"];
    assert_eq!((&request["dryRun"], &request["options"]["dryRun"]), (&json!(true), &json!(["All"])));
    api.get(&format!("{watched}/a")).await.expect(404);
}

#[tokio::test]
async fn subresources_are_reviewed_as_what_they_exchange() {
    let (api, hook) =
        (Api::start().await, Hook::start(|review| answer(review, json!({"allowed": true}))).await);
    api.make_default_account("default").await;
    let rules = json!([{"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods/*", "replicationcontrollers/scale"]}]);
    validate(&api, &hook.client(), json!({"rules": rules})).await;
    let pods = "/api/v1/namespaces/default/pods";
    api.post(pods, common::pod("a")).await.expect(201);
    hook.asked();
    let binding = json!({"metadata": {"name": "a"}, "target": {"kind": "Node", "name": "n"}});
    api.post(&format!("{pods}/a/binding"), binding).await.expect(201);
    api.merge(&format!("{pods}/a/status"), json!({"status": {"message": "x"}})).await.expect(200);
    let template = json!({"metadata": {"labels": {"app": "kubia"}}, "spec": common::pod("x")["spec"]});
    let controllers = "/api/v1/namespaces/default/replicationcontrollers";
    api.post(controllers, json!({"metadata": {"name": "r"}, "spec": {"template": template}}))
        .await
        .expect(201);
    api.merge(&format!("{controllers}/r/scale"), json!({"spec": {"replicas": 3}})).await.expect(200);
    // The node is not there; webhooks are asked before.
    api.get(&format!("{pods}/a/exec?command=ls&command=-l&stdout=true")).await;
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "a"}});
    api.post(&format!("{pods}/a/eviction"), eviction).await.expect(201);
    let asked = hook.asked();
    let seen: Vec<_> = asked
        .iter()
        .map(|review| {
            let request = &review["request"];
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            (text(&request["operation"]), text(&request["subResource"]), text(&request["object"]["kind"]))
        })
        .collect();
    let expected = [
        ("CREATE", "binding", "Binding"),
        ("UPDATE", "status", "Pod"),
        ("UPDATE", "scale", "Scale"),
        ("CONNECT", "exec", "PodExecOptions"),
        ("CREATE", "eviction", "Eviction"),
    ];
    assert_eq!(asked[2]["request"]["object"]["spec"], json!({"replicas": 3}));
    let expected = expected.map(|(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned()));
    assert_eq!(seen, expected);
    assert_eq!(
        asked[3]["request"]["object"],
        json!({"apiVersion": "v1", "kind": "PodExecOptions", "stdout": true, "command": ["ls", "-l"]})
    );
}
