//! Custom kinds whose versions differ: a webhook makes one of the other.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use common::Api;
use common::hook::Hook;
use serde_json::{Value, json};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const V1: &str = "/apis/example.com/v1/namespaces/default/doors";
const BETA: &str = "/apis/example.com/v1beta1/namespaces/default/doors";

/// In v1 a door has a host and a port, in v1beta1 both in one text.
fn definition(client: &Value, reviews: &[&str]) -> Value {
    let version = |name: &str, storage: bool, fields: Value| {
        let spec = json!({"type": "object", "properties": fields});
        let schema = json!({"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}});
        json!({"name": name, "served": true, "storage": storage, "schema": schema})
    };
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "doors.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": {"kind": "Door", "plural": "doors"},
            "versions": [
                version("v1", true, json!({"host": {"type": "string"}, "port": {"type": "string"}})),
                version("v1beta1", false, json!({"hostPort": {"type": "string"}}))],
            "conversion": {"strategy": "Webhook", "webhook": {
                "conversionReviewVersions": reviews, "clientConfig": client}}},
    })
}

async fn with_doors(client: &Value, reviews: &[&str]) -> Api {
    let api = Api::start().await;
    let created = api.post(DEFINITIONS, definition(client, reviews)).await.expect(201);
    let condition = |name: &str| json!({"type": name, "status": "True", "reason": "x", "message": "x", "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let status = json!({"status": {"acceptedNames": created.body["spec"]["names"],
        "conditions": [condition("NamesAccepted"), condition("Established")]}});
    api.merge(&format!("{DEFINITIONS}/doors.example.com/status"), status).await.expect(200);
    api
}

fn door(version: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": format!("example.com/{version}"), "kind": "Door", "metadata": {"name": name}, "spec": spec})
}

/// Converts, and leaves a label.
fn convert(review: &Value) -> Value {
    let wanted = &review["request"]["desiredAPIVersion"];
    let objects = review["request"]["objects"].as_array().unwrap().iter().map(|object| {
        let mut object = object.clone();
        let spec = &object["spec"];
        object["spec"] = if wanted == "example.com/v1" {
            let (host, port) = spec["hostPort"].as_str().unwrap().split_once(':').unwrap();
            json!({"host": host, "port": port})
        } else {
            json!({"hostPort": format!("{}:{}", spec["host"].as_str().unwrap(), spec["port"].as_str().unwrap())})
        };
        object["apiVersion"] = wanted.clone();
        object["metadata"]["labels"]["converted-to"] = wanted.as_str().unwrap().split_once('/').unwrap().1.into();
        object["metadata"]["generation"] = 99.into();
        object
    });
    let objects: Vec<Value> = objects.collect();
    json!({
        "kind": "ConversionReview", "apiVersion": review["apiVersion"],
        "response": {"uid": review["request"]["uid"], "result": {"status": "Success"}, "convertedObjects": objects},
    })
}

#[tokio::test]
async fn objects_are_stored_and_shown_as_the_webhook_converts_them() {
    let hook = Hook::start(convert).await;
    let api = with_doors(&hook.client(), &["v2", "v1", "v1beta1"]).await;
    let created = api.post(BETA, door("v1beta1", "a", json!({"hostPort": "here:80"}))).await.expect(201);
    assert_eq!(created.body["spec"], json!({"hostPort": "here:80"}));
    let asked = hook.asked();
    assert_eq!((asked.len(), &asked[0]["apiVersion"]), (1, &json!("apiextensions.k8s.io/v1")));

    let shown = api.get(&format!("{V1}/a")).await.expect(200).body;
    assert_eq!(shown["spec"], json!({"host": "here", "port": "80"}));
    assert_eq!(
        (&shown["metadata"]["labels"]["converted-to"], &shown["metadata"]["generation"]),
        (&json!("v1"), &json!(1))
    );
    assert!(hook.asked().is_empty(), "it is stored in v1");

    api.post(V1, door("v1", "b", json!({"host": "there", "port": "81"}))).await.expect(201);
    let list = api.get(BETA).await.expect(200);
    assert_eq!(list.names(), ["a", "b"]);
    assert_eq!(list.body["items"][1]["spec"], json!({"hostPort": "there:81"}));
    let asked = hook.asked();
    assert_eq!((asked.len(), asked[0]["request"]["objects"].as_array().unwrap().len()), (1, 2));

    let merged = api.merge(&format!("{BETA}/b"), json!({"spec": {"hostPort": "there:82"}})).await.expect(200);
    assert_eq!(merged.body["spec"], json!({"hostPort": "there:82"}));
    assert_eq!(api.get(&format!("{V1}/b")).await.expect(200).body["spec"]["port"], "82");
}

#[tokio::test]
async fn a_webhook_may_speak_the_older_review() {
    let hook = Hook::start(|review| {
        let mut answer = convert(review);
        answer["response"]["uid"] = "another".into();
        answer
    })
    .await;
    let api = with_doors(&hook.client(), &["v1beta1"]).await;
    api.post(BETA, door("v1beta1", "a", json!({"hostPort": "here:80"}))).await.expect(201);
    assert_eq!(hook.asked()[0]["apiVersion"], "apiextensions.k8s.io/v1beta1");
}

/// What is answered to whom creates a door of the version that is not stored.
async fn refused(api: &Api) -> String {
    let refused = api.post(BETA, door("v1beta1", "a", json!({"hostPort": "here:80"}))).await.expect(500);
    api.get(&format!("{V1}/a")).await.expect(404);
    refused.message().to_owned()
}

const WHO: &str = "conversion webhook for example.com/v1beta1, Kind=Door";

#[tokio::test]
async fn what_a_webhook_may_not_answer_is_told_in_kubernetes_words() {
    let check = async |answer: fn(&Value) -> Value, expected: &str| {
        let hook = Hook::start(answer).await;
        let api = with_doors(&hook.client(), &["v1"]).await;
        assert_eq!(refused(&api).await, format!("{WHO} {expected}"));
    };
    check(
        |review| {
            let mut answer = convert(review);
            answer["response"]["result"] = json!({"status": "Failure", "message": "no doors today"});
            answer
        },
        "failed: no doors today",
    )
    .await;
    check(
        |review| {
            let mut answer = convert(review);
            answer["response"]["convertedObjects"] = json!([]);
            answer
        },
        "returned 0 objects, expected 1",
    )
    .await;
    check(
        |review| {
            let mut answer = convert(review);
            answer["response"]["convertedObjects"][0]["metadata"]["name"] = "b".into();
            answer
        },
        "returned invalid object: must have the same name: a != b",
    )
    .await;
    check(
        |_| json!({"httpCode": 500, "text": "broken\n"}),
        "failed: an error on the server (\"broken\") has prevented the request from succeeding",
    )
    .await;
    check(
        |_| json!({"httpCode": 302}),
        "failed: the server responded with the status code 302 but did not return more information",
    )
    .await;
}

#[tokio::test]
async fn a_webhook_behind_a_service_is_found_and_its_name_checked() {
    let hook = Hook::start(convert).await;
    let port = hook.address.port();
    let client = |name: &str, ca: &str| {
        let service = json!({"namespace": "default", "name": name, "port": port, "path": "/convert"});
        json!({"service": service, "caBundle": ca})
    };
    let url = |name: &str| format!("failed: Post \"https://{name}.default.svc:{port}/convert?timeout=30s\"");
    let external = |name: &str| {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"type": "ExternalName", "externalName": "localhost"}})
    };
    let services = "/api/v1/namespaces/default/services";

    let api = with_doors(&client("hook", &hook.ca), &["v1"]).await;
    assert_eq!(refused(&api).await, format!("{WHO} {}: service \"hook\" not found", url("hook")));
    api.post(services, external("hook")).await.expect(201);
    api.post(BETA, door("v1beta1", "a", json!({"hostPort": "here:80"}))).await.expect(201);

    let api = with_doors(&client("other", &hook.ca), &["v1"]).await;
    api.post(services, external("other")).await.expect(201);
    let why = "tls: failed to verify certificate: x509: certificate is valid for 127.0.0.1, hook.default.svc, not other.default.svc";
    assert_eq!(refused(&api).await, format!("{WHO} {}: {why}", url("other")));

    let stranger = Hook::start(convert).await;
    let api = with_doors(&client("hook", &stranger.ca), &["v1"]).await;
    api.post(services, external("hook")).await.expect(201);
    let why = "tls: failed to verify certificate: x509: certificate signed by unknown authority";
    assert_eq!(refused(&api).await, format!("{WHO} {}: {why}", url("hook")));
    assert_eq!(hook.asked().len(), 1);

    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "plain"},
        "spec": {"ports": [{"port": 80}]}});
    let api = with_doors(&client("plain", &hook.ca), &["v1"]).await;
    api.post(services, service).await.expect(201);
    let why = format!("no service port {port} found for service \"plain\"");
    assert_eq!(refused(&api).await, format!("{WHO} {}: {why}", url("plain")));
}

#[tokio::test]
async fn nobody_listens() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let api = with_doors(&json!({"url": format!("https://{address}/x")}), &["v1"]).await;
    let expected = format!(
        "{WHO} failed: Post \"https://{address}/x?timeout=30s\": dial tcp {address}: connect: connection refused"
    );
    assert_eq!(refused(&api).await, expected);
}
