//! Kinds that CustomResourceDefinitions define: from the definition to their objects. What a controller reports, the
//! tests report.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use common::{Answer, Api};
use serde_json::{Value, json};
use skiff_machinery::openapi::{Dialect, Encoding};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const WIDGETS: &str = "/apis/example.com/v1/namespaces/default/widgets";
const BETAS: &str = "/apis/example.com/v1beta1/namespaces/default/widgets";
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";

fn definition() -> Value {
    let schema = json!({"openAPIV3Schema": {"type": "object", "properties": {
        "spec": {"type": "object", "required": ["size"], "properties": {
            "size": {"type": "integer", "maximum": 9, "description": "How large it is."},
            "color": {"type": "string", "default": "red"},
            "parts": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                "items": {"type": "object", "required": ["name"], "properties": {
                    "name": {"type": "string"}, "count": {"type": "integer"}}}}}},
        "status": {"type": "object", "properties": {"ready": {"type": "integer"}}}}}});
    let mut older = schema.clone();
    older["openAPIV3Schema"]["description"] = "An older one.".into();
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced",
            "names": {"kind": "Widget", "plural": "widgets", "shortNames": ["wd"], "categories": ["all"]},
            "versions": [
                {"name": "v1", "served": true, "storage": true, "schema": schema,
                    "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.ready"}},
                    "selectableFields": [{"jsonPath": ".spec.color"}],
                    "additionalPrinterColumns": [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}]},
                {"name": "v1beta1", "served": true, "storage": false, "deprecated": true, "schema": older}]},
    })
}

fn widget(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}, "spec": spec})
}

/// Reports as the controller does that the names are accepted.
async fn establish(api: &Api, definition: &Value) -> Answer {
    let condition = |name: &str| json!({"type": name, "status": "True", "reason": "x", "message": "x", "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let status = json!({"status": {"acceptedNames": definition["spec"]["names"],
        "conditions": [condition("NamesAccepted"), condition("Established")]}});
    let name = definition["metadata"]["name"].as_str().unwrap();
    api.merge(&format!("{DEFINITIONS}/{name}/status"), status).await.expect(200)
}

async fn with_widgets() -> Api {
    let api = Api::start().await;
    let created = api.post(DEFINITIONS, definition()).await.expect(201);
    establish(&api, &created.body).await;
    api
}

#[tokio::test]
async fn a_definition_is_checked_and_served_once_it_is_established() {
    let api = Api::start().await;
    let mut wrong = definition();
    wrong["spec"]["versions"][1]["storage"] = true.into();
    let refused = api.post(DEFINITIONS, wrong).await.expect(422);
    assert!(
        refused.message().contains("must have exactly one version marked as storage version"),
        "{}",
        refused.message()
    );

    let created = api.post(DEFINITIONS, definition()).await.expect(201);
    assert_eq!(created.body["spec"]["names"]["singular"], "widget");
    assert_eq!(created.body["status"]["storedVersions"], json!(["v1"]));
    api.get(WIDGETS).await.expect(404);
    establish(&api, &created.body).await;
    assert!(api.get(WIDGETS).await.expect(200).names().is_empty());

    let list = api.get("/apis/example.com/v1").await.expect(200);
    let names: Vec<&str> =
        list.body["resources"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["widgets", "widgets/scale", "widgets/status"]);
    let document = api.get("/openapi/v3/apis/example.com/v1").await.expect(200);
    let schemas = &document.body["components"]["schemas"];
    let size = &schemas["com.example.v1.Widget"]["properties"]["spec"]["properties"]["size"];
    assert_eq!(size["description"], "How large it is.");
    assert_eq!(schemas["com.example.v1.WidgetList"]["required"], json!(["items"]));
    assert!(schemas["io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"].is_object());
}

#[tokio::test]
async fn objects_are_defaulted_pruned_and_checked_by_their_schema() {
    let api = with_widgets().await;
    let created = api.post(WIDGETS, widget("a", json!({"size": 3, "odd": true}))).await.expect(201);
    assert_eq!(created.body["spec"], json!({"size": 3, "color": "red"}));
    assert_eq!(created.body["metadata"]["generation"], 1);
    let strict = format!("{WIDGETS}?fieldValidation=Strict");
    let refused = api.post(&strict, widget("b", json!({"size": 3, "odd": true}))).await.expect(400);
    assert!(refused.message().contains(r#"unknown field "spec.odd""#), "{}", refused.message());
    let twice = r#"{"apiVersion":"example.com/v1","kind":"Widget","metadata":{"name":"b"},"spec":{"size":1,"size":2}}"#;
    let refused = api.send("POST", &strict, "application/json", twice).await.expect(400);
    assert!(refused.message().ends_with(r#"duplicate field "spec.size""#), "{}", refused.message());
    let refused = api.post(WIDGETS, widget("b", json!({"size": 10}))).await.expect(422);
    assert_eq!(
        refused.message(),
        r#"Widget.example.com "b" is invalid: spec.size: Invalid value: 10: spec.size in body should be less than or equal to 9"#
    );
    let refused = api.post(WIDGETS, widget("b", json!({"size": "x"}))).await.expect(422);
    assert!(refused.message().contains("must be of type integer"), "{}", refused.message());
    let gadget = json!({"apiVersion": "example.com/v1", "kind": "Gadget", "metadata": {"name": "g"}});
    assert_eq!(
        api.post(WIDGETS, gadget).await.expect(422).message(),
        r#"Gadget.example.com "g" is invalid: kind: Invalid value: "Gadget": must be Widget"#
    );
}

#[tokio::test]
async fn objects_are_changed_as_those_of_other_kinds() {
    let api = with_widgets().await;
    api.post(WIDGETS, widget("a", json!({"size": 3}))).await.expect(201);
    let path = format!("{WIDGETS}/a");
    let merged = api.merge(&path, json!({"spec": {"size": 4}, "status": {"ready": 2}})).await.expect(200);
    assert_eq!((&merged.body["spec"]["size"], &merged.body["status"]), (&json!(4), &Value::Null));
    assert_eq!(merged.body["metadata"]["generation"], 2);
    let status = api.merge(&format!("{path}/status"), json!({"status": {"ready": 2}})).await.expect(200);
    assert_eq!(
        (&status.body["status"]["ready"], &status.body["metadata"]["generation"]),
        (&json!(2), &json!(2))
    );
    api.send("PATCH", &path, "application/strategic-merge-patch+json", "{}").await.expect(415);
    api.put(&path, widget("a", json!({"size": 5}))).await.expect(422);
    api.put(&format!("{WIDGETS}/none"), widget("none", json!({"size": 5}))).await.expect(404);
    let protobuf = "application/vnd.kubernetes.protobuf";
    api.get_as(&path, protobuf).await.expect(406);
    let list = api.get_as(WIDGETS, &format!("{protobuf},application/json")).await.expect(200);
    assert_eq!(
        (&list.body["items"][0]["kind"], &list.body["metadata"]["continue"]),
        (&json!("Widget"), &json!(""))
    );
    let relabelled = json!({"metadata": {"labels": {"a": "b"}}, "status": {"ready": 2}});
    let status = api.merge(&format!("{path}/status"), relabelled).await.expect(200);
    assert_eq!(status.body["metadata"]["labels"], Value::Null);

    let scale = api.get(&format!("{path}/scale")).await.expect(200);
    assert_eq!((&scale.body["spec"]["replicas"], &scale.body["status"]["replicas"]), (&json!(4), &json!(2)));
    api.merge(&format!("{path}/scale"), json!({"spec": {"replicas": 6}})).await.expect(200);
    assert_eq!(api.get(&path).await.expect(200).body["spec"]["size"], 6);
    let refused = api.merge(&format!("{path}/scale"), json!({"spec": {"replicas": 10}})).await.expect(422);
    assert!(refused.message().contains("spec.size"), "{}", refused.message());
}

#[tokio::test]
async fn apply_takes_fields_that_the_schema_preserves() {
    let api = Api::start().await;
    let mut open = definition();
    for version in open["spec"]["versions"].as_array_mut().unwrap() {
        version["schema"] =
            json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
        version.as_object_mut().unwrap().remove("selectableFields");
    }
    let created = api.post(DEFINITIONS, open).await.expect(201);
    establish(&api, &created.body).await;
    let apply = async |manager: &str, spec: Value| {
        let path = format!("{WIDGETS}/a?fieldManager={manager}&fieldValidation=Strict");
        api.send("PATCH", &path, "application/apply-patch+yaml", &widget("a", spec).to_string()).await
    };
    apply("one", json!({"any": {"a": 1}})).await.expect(201);
    let both = apply("two", json!({"any": {"b": [2]}})).await.expect(200);
    assert_eq!(both.body["spec"], json!({"any": {"a": 1, "b": [2]}}));
    apply("two", json!({"any": {"a": 2}})).await.expect(409);
}

#[tokio::test]
async fn apply_merges_lists_by_their_keys() {
    let api = with_widgets().await;
    let apply = async |manager: &str, spec: Value| {
        let path = format!("{WIDGETS}/a?fieldManager={manager}");
        api.send("PATCH", &path, "application/apply-patch+yaml", &widget("a", spec).to_string()).await
    };
    apply("one", json!({"size": 1, "parts": [{"name": "x", "count": 1}]})).await.expect(201);
    let both = apply("two", json!({"size": 1, "parts": [{"name": "y", "count": 2}]})).await.expect(200);
    assert_eq!(both.body["spec"]["parts"], json!([{"name": "x", "count": 1}, {"name": "y", "count": 2}]));
    apply("two", json!({"size": 2})).await.expect(409);
    let gone = apply("two", json!({"size": 1})).await.expect(200);
    assert_eq!(gone.body["spec"]["parts"], json!([{"name": "x", "count": 1}]));
}

#[tokio::test]
async fn each_version_shows_the_same_objects() {
    let api = with_widgets().await;
    let mut beta = widget("b", json!({"size": 2}));
    beta["apiVersion"] = "example.com/v1beta1".into();
    let created = api.post(BETAS, beta).await.expect(201);
    assert_eq!(created.body["apiVersion"], "example.com/v1beta1");
    assert_eq!(created.warnings().len(), 1, "{:?}", created.warnings());
    assert_eq!(api.get(&format!("{WIDGETS}/b")).await.expect(200).body["apiVersion"], "example.com/v1");
    let mut events = api.watch(&format!("{BETAS}?watch=true"), "application/json").await;
    let event = events.next().await.unwrap();
    assert_eq!(
        (&event["type"], &event["object"]["apiVersion"]),
        (&json!("ADDED"), &json!("example.com/v1beta1"))
    );
    let list = api.get(BETAS).await.expect(200);
    assert_eq!(
        (&list.body["kind"], &list.body["apiVersion"]),
        (&json!("WidgetList"), &json!("example.com/v1beta1"))
    );
    // A change of nothing writes nothing.
    let before = api.get(&format!("{BETAS}/b")).await.expect(200).body["metadata"]["resourceVersion"].clone();
    let same = api.merge(&format!("{BETAS}/b"), json!({"spec": {"size": 2}})).await.expect(200);
    assert_eq!(same.body["metadata"]["resourceVersion"], before);
}

#[tokio::test]
async fn columns_and_selectable_fields_are_those_of_the_definition() {
    let api = with_widgets().await;
    api.post(WIDGETS, widget("a", json!({"size": 3}))).await.expect(201);
    api.post(WIDGETS, widget("b", json!({"size": 4, "color": "blue"}))).await.expect(201);
    let table = api.get_as(WIDGETS, TABLE).await.expect(200);
    let columns: Vec<&str> = table.body["columnDefinitions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|column| column["name"].as_str().unwrap())
        .collect();
    assert_eq!(columns, ["Name", "Size"]);
    assert_eq!(table.body["rows"][1]["cells"], json!(["b", 4]));
    assert_eq!(
        api.get(&format!("{WIDGETS}?fieldSelector=spec.color%3Dblue")).await.expect(200).names(),
        ["b"]
    );
    api.get(&format!("{WIDGETS}?fieldSelector=spec.size%3D4")).await.expect(400);
}

#[tokio::test]
async fn a_changed_definition_counts_at_once_also_for_what_is_stored() {
    let api = with_widgets().await;
    api.post(WIDGETS, widget("a", json!({"size": 3}))).await.expect(201);
    let patch = json!([{"op": "add", "value": {"type": "string", "default": "oak"},
        "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/wood"}]);
    let path = format!("{DEFINITIONS}/widgets.example.com");
    let hash = async || {
        api.get("/openapi/v3").await.body["paths"]["apis/example.com/v1"]["serverRelativeURL"].clone()
    };
    let before = hash().await;
    let changed =
        api.send("PATCH", &path, "application/json-patch+json", &patch.to_string()).await.expect(200);
    assert_eq!(changed.body["metadata"]["generation"], 2);
    assert_ne!(hash().await, before);
    let protobuf = Encoding::Protobuf.media_types(Dialect::V3)[0];
    let document = api.get_as(hash().await.as_str().unwrap(), protobuf).await.expect(200);
    assert!(document.text.contains("wood") && document.text.contains("com.example.v1.WidgetList"));
    assert_eq!(api.get(&format!("{WIDGETS}/a")).await.expect(200).body["spec"]["wood"], "oak");
    assert_eq!(api.get(WIDGETS).await.expect(200).body["items"][0]["spec"]["wood"], "oak");
}

#[tokio::test]
async fn a_definition_goes_with_its_finalizer_and_takes_its_kind_along() {
    let api = with_widgets().await;
    api.post(WIDGETS, widget("a", json!({"size": 3}))).await.expect(201);
    let path = format!("{DEFINITIONS}/widgets.example.com");
    api.delete(&path, Value::Null).await.expect(200);
    let marked = api.get(&path).await.expect(200);
    assert_eq!(marked.body["metadata"]["finalizers"], json!(["customresourcecleanup.apiextensions.k8s.io"]));
    let conditions = marked.body["status"]["conditions"].as_array().unwrap();
    assert_eq!(conditions.last().unwrap()["reason"], "InstanceDeletionPending");
    // Discovery waits for the newest definitions.
    api.get("/apis/example.com/v1").await.expect(200);
    api.post(WIDGETS, widget("b", json!({"size": 3}))).await.expect(403);
    api.delete(&format!("{WIDGETS}/a"), Value::Null).await.expect(200);
    api.merge(&path, json!({"metadata": {"finalizers": null}})).await.expect(200);
    api.get(&path).await.expect(404);
    api.get("/apis/example.com/v1").await.expect(404);
    api.get(WIDGETS).await.expect(404);
}

/// The next event of a watch, or its end.
async fn event(events: &mut common::Events) -> Option<Value> {
    tokio::time::timeout(std::time::Duration::from_secs(10), events.next()).await.expect("something in time")
}

#[tokio::test]
async fn watches_end_when_their_definition_goes() {
    let api = with_widgets().await;
    api.post(WIDGETS, widget("a", json!({"size": 3}))).await.expect(201);
    let mut events = api.watch(&format!("{WIDGETS}?watch=true"), "application/json").await;
    assert_eq!(events.next_name().await, "ADDED a");
    let path = format!("{DEFINITIONS}/widgets.example.com");
    api.delete(&path, Value::Null).await.expect(200);
    api.delete(&format!("{WIDGETS}/a"), Value::Null).await.expect(200);
    // While the objects go, the kind is still watched.
    assert_eq!(events.next_name().await, "DELETED a");
    api.merge(&path, json!({"metadata": {"finalizers": null}})).await.expect(200);
    assert_eq!(event(&mut events).await, None);
    api.get(&format!("{WIDGETS}?watch=true")).await.expect(404);
}

#[tokio::test]
async fn watches_end_when_their_version_is_no_longer_served() {
    let api = with_widgets().await;
    api.post(WIDGETS, widget("a", json!({"size": 3}))).await.expect(201);
    let mut events = api.watch(&format!("{BETAS}?watch=true"), "application/json").await;
    assert_eq!(events.next_name().await, "ADDED a");
    let mut changed = definition()["spec"]["versions"].clone();
    changed[1]["served"] = false.into();
    let path = format!("{DEFINITIONS}/widgets.example.com");
    api.merge(&path, json!({"spec": {"versions": changed}})).await.expect(200);
    assert_eq!(event(&mut events).await, None);
    api.get(&format!("{BETAS}?watch=true")).await.expect(404);
    let mut events = api.watch(&format!("{WIDGETS}?watch=true"), "application/json").await;
    assert_eq!(events.next_name().await, "ADDED a");
}
