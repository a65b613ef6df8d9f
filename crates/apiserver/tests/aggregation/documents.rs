//! What is told of versions that other servers serve: discovery and OpenAPI.

use serde_json::{Value, json};

use super::{GROUP, NAME, SERVICES, aggregated, ask_until, endpoint, no_endpoint, registration, until};

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

fn group(document: &Value) -> Option<Value> {
    document["items"].as_array()?.iter().find(|group| group["metadata"]["name"] == GROUP).cloned()
}

#[tokio::test]
async fn discovery_tells_of_both() {
    let (api, extension) = aggregated().await;
    let document = api.get_as("/apis", AGGREGATED).await.expect(200).body;
    let version = group(&document).unwrap()["versions"][0].clone();
    assert_eq!((&version["version"], &version["freshness"]), (&json!("v1alpha1"), &json!("Current")));
    assert_eq!(version["resources"][0]["resource"], "flunders");
    let kind = json!({"group": GROUP, "version": "v1alpha1", "kind": "Flunder"});
    assert_eq!(version["resources"][0]["responseKind"], kind);
    let names: Vec<Value> =
        document["items"].as_array().unwrap().iter().map(|g| g["metadata"]["name"].clone()).collect();
    assert_eq!((&names[0], names.last().unwrap()), (&json!("apiregistration.k8s.io"), &json!(GROUP)));

    // A higher priority of one version brings the group forward, and the version within the group.
    extension.serves("v1");
    let mut second = registration("v1", &extension);
    second["spec"]["groupPriorityMinimum"] = json!(17_650);
    second["spec"]["versionPriority"] = json!(100);
    api.post(SERVICES, second).await.expect(201);
    until(&api, "v1.wardle.example.com", "Passed").await;
    let groups = api.get("/apis").await.expect(200).body["groups"].clone();
    let names: Vec<&str> = groups.as_array().unwrap().iter().map(|g| g["name"].as_str().unwrap()).collect();
    let before = ["apiregistration.k8s.io", "apps", "events.k8s.io", "authentication.k8s.io"];
    assert_eq!((&names[..4], names[4]), (&before[..], GROUP));
    let of_group = api.get("/apis/wardle.example.com").await.expect(200).body;
    assert_eq!(of_group["preferredVersion"]["version"], "v1alpha1");
    assert_eq!(of_group["versions"][1]["version"], "v1");
    let paths = api.get("/").await.body["paths"].to_string();
    assert!(paths.contains("/apis/wardle.example.com/v1alpha1"), "{paths}");

    // What it said stays, and is told to be old.
    drop(extension);
    no_endpoint(&api).await;
    until(&api, NAME, "EndpointsNotFound").await;
    let document = api.get_as("/apis", AGGREGATED).await.expect(200).body;
    let version = group(&document).unwrap()["versions"][0].clone();
    assert_eq!((&version["freshness"], version["resources"].as_array().unwrap().len()), (&json!("Stale"), 1));
    api.delete(&format!("{SERVICES}/{NAME}"), json!(null)).await.expect(200);
    api.delete(&format!("{SERVICES}/v1.wardle.example.com"), json!(null)).await.expect(200);
    ask_until(&api, "/apis", AGGREGATED, |document| group(document).is_none()).await;
}

#[tokio::test]
async fn a_server_may_tell_of_all_its_versions_at_once() {
    let (api, extension) = aggregated().await;
    let kind = json!({"group": GROUP, "version": "v1alpha1", "kind": "Fischer"});
    let resource = json!({
        "resource": "fischers", "responseKind": kind, "scope": "Cluster", "singularResource": "fischer",
        "verbs": ["get"],
    });
    let versions = json!([{"version": "v1alpha1", "resources": [resource], "freshness": "Current"}]);
    let all = json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {},
        "items": [{"metadata": {"name": GROUP}, "versions": versions}],
    });
    extension.document("/apis", 200, all);
    endpoint(&api, extension.address.port(), 2).await;
    let is_new = |document: &Value| {
        group(document).is_some_and(|group| group["versions"][0]["resources"][0] == resource)
    };
    ask_until(&api, "/apis", AGGREGATED, is_new).await;
}

#[tokio::test]
async fn openapi_tells_of_both() {
    let (api, extension) = aggregated().await;
    let path = "/apis/wardle.example.com/v1alpha1/flunders";
    let of_meta = json!({"$ref": "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"});
    let v2 = json!({
        "swagger": "2.0",
        "paths": {path: {"get": {"operationId": "listFlunders", "responses": {"200": {
            "description": "OK", "schema": {"$ref": "#/definitions/Flunder"}}}}}},
        "definitions": {
            "Flunder": {"type": "object", "properties": {"metadata": of_meta}},
            "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta": {"type": "object", "description": "theirs"},
        },
    });
    let url = "/openapi/v3/apis/wardle.example.com/v1alpha1?hash=ABC";
    extension.document("/openapi/v2", 200, v2);
    let index = json!({"paths": {
        "apis/wardle.example.com/v1alpha1": {"serverRelativeURL": url},
        "api/v1": {"serverRelativeURL": "/openapi/v3/api/v1?hash=THEIRS"},
    }});
    extension.document("/openapi/v3", 200, index);
    extension.document("/openapi/v3/apis/wardle.example.com/v1alpha1", 200, json!({"openapi": "3.0.0"}));
    // It is asked when it can be used again.
    extension.breaks(Some(503));
    endpoint(&api, extension.address.port(), 3).await;
    until(&api, NAME, "FailedDiscoveryCheck").await;
    extension.breaks(None);
    until(&api, NAME, "Passed").await;

    let has_path = |document: &Value| document["paths"][path].is_object();
    let document = ask_until(&api, "/openapi/v2", "application/json", has_path).await;
    let meta = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
    let refers = &document["definitions"]["Flunder"]["properties"]["metadata"]["$ref"];
    assert_eq!(*refers, format!("#/definitions/{meta}_v2"));
    assert_eq!(document["definitions"][format!("{meta}_v2")]["description"], "theirs");
    assert_ne!(document["definitions"][meta]["description"], "theirs");
    assert!(document["paths"]["/api/v1/pods"].is_object());
    let index = api.get("/openapi/v3").await.expect(200).body;
    assert_eq!(index["paths"]["apis/wardle.example.com/v1alpha1"]["serverRelativeURL"], url);
    let core = index["paths"]["api/v1"]["serverRelativeURL"].as_str().unwrap();
    assert!(!core.ends_with("THEIRS"), "nobody speaks for versions that are not theirs");
    assert_eq!(api.get(url).await.expect(200).body, json!({"openapi": "3.0.0"}));
}

#[tokio::test]
async fn what_is_no_document_is_left_out() {
    let (api, extension) = aggregated().await;
    extension.document("/openapi/v2", 200, json!(["odd"]));
    extension.document(
        "/openapi/v3",
        200,
        json!({"paths": {
            "apis/wardle.example.com/v1alpha1": {"serverRelativeURL": "https://elsewhere/"},
        }}),
    );
    extension.document("/apis/wardle.example.com/v1alpha1", 200, json!([{"odd": 1}]));
    endpoint(&api, extension.address.port(), 4).await;
    let is_empty = |document: &Value| {
        group(document).is_some_and(|group| group["versions"][0].get("resources").is_none())
    };
    ask_until(&api, "/apis", AGGREGATED, is_empty).await;
    let index = api.get("/openapi/v3").await.expect(200).body;
    assert_eq!(index["paths"]["apis/wardle.example.com/v1alpha1"], json!(null));
    assert!(api.get("/openapi/v2").await.expect(200).body["paths"]["/api/v1/pods"].is_object());
}
