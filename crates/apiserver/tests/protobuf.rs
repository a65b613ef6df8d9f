//! Clients that speak protobuf, as Go's do.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use skiff_apiserver::UserInfo;
use skiff_machinery::protobuf;

use common::Api;

const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// The tree of a body of a core kind.
fn read(body: &[u8], definition: &str) -> Value {
    let catalogue = skiff_kinds::builtin();
    let any = &catalogue.iter().next().unwrap().root;
    let root = any.sibling(&format!("io.k8s.{definition}")).unwrap();
    protobuf::decode(body, &root).unwrap().into_value()
}

async fn with_a_map() -> (Api, Value) {
    let api = Api::start().await;
    let map = json!({"metadata": {"name": "a", "labels": {"l": "1"}}, "data": {"k": "v"}});
    let made = api.post(MAPS, map).await.expect(201).body;
    (api, made)
}

#[tokio::test]
async fn objects_lists_and_refusals() {
    let (api, made) = with_a_map().await;
    let one = api.get_as(&format!("{MAPS}/a"), PROTOBUF).await.expect(200);
    assert_eq!(one.headers["content-type"], PROTOBUF);
    let tree = read(&one.bytes, "api.core.v1.ConfigMap");
    assert_eq!((&tree["kind"], &tree["data"]), (&json!("ConfigMap"), &json!({"k": "v"})));
    for field in ["name", "uid", "resourceVersion", "creationTimestamp", "labels"] {
        assert_eq!(tree["metadata"][field], made["metadata"][field], "{field}");
    }
    let list = api.get_as(&format!("{MAPS}?limit=1"), PROTOBUF).await.expect(200);
    let list = read(&list.bytes, "api.core.v1.ConfigMapList");
    assert_eq!(
        (&list["kind"], &list["items"][0]["metadata"]["name"]),
        (&json!("ConfigMapList"), &json!("a"))
    );
    assert!(list["metadata"]["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap() > 0);
    let none = api.get_as(&format!("{MAPS}/none"), PROTOBUF).await.expect(404);
    let status = read(&none.bytes, "apimachinery.pkg.apis.meta.v1.Status");
    assert_eq!((&status["reason"], &status["code"]), (&json!("NotFound"), &json!(404)));
    assert_eq!(status["details"]["name"], "none");
}

#[tokio::test]
async fn what_clients_keep_as_text_is_written_as_go_writes_it() {
    let api = Api::start().await;
    let revisions = "/apis/apps/v1/namespaces/default/controllerrevisions";
    let data = json!({"spec": {"command": "a && b"}});
    api.post(revisions, json!({"metadata": {"name": "r"}, "revision": 1, "data": data})).await.expect(201);
    // Operators find their revision again by the bytes of what they wrote.
    let written = r#"{"spec":{"command":"a \u0026\u0026 b"}}"#;
    let text = api.get(&format!("{revisions}/r")).await.expect(200);
    assert!(text.text.contains(written), "{}", text.text);
    assert_eq!(text.body["data"], data);
    let message = api.get_as(&format!("{revisions}/r"), PROTOBUF).await.expect(200).bytes;
    assert!(message.windows(written.len()).any(|part| part == written.as_bytes()));
}

#[tokio::test]
async fn each_version_of_an_object_has_a_message_of_its_own() {
    let api = Api::start().await;
    let places = [
        ("/apis/events.k8s.io/v1/namespaces/default/events", "api.events.v1.Event", "note"),
        ("/api/v1/namespaces/default/events", "api.core.v1.Event", "message"),
    ];
    let event = json!({
        "metadata": {"name": "a"}, "eventTime": "2026-01-01T00:00:00.000000Z", "note": "text",
        "action": "Do", "reason": "Reason", "type": "Normal", "reportingController": "test", "reportingInstance": "here",
        "regarding": {"kind": "ConfigMap", "name": "a", "namespace": "default"},
    });
    api.post(places[0].0, event).await.expect(201);
    for (path, definition, field) in places {
        let one = api.get_as(&format!("{path}/a"), PROTOBUF).await.expect(200);
        assert_eq!(read(&one.bytes, definition)[field], "text", "{path}");
        let list = api.get_as(path, PROTOBUF).await.expect(200);
        let list = read(&list.bytes, &format!("{definition}List"));
        assert_eq!(list["items"][0][field], "text", "{path}");
    }
}

#[tokio::test]
async fn metadata_alone_but_no_tables() {
    let (api, _) = with_a_map().await;
    let view = |kind: &str| format!("{PROTOBUF};as={kind};g=meta.k8s.io;v=v1");
    let one = api.get_as(&format!("{MAPS}/a"), &view("PartialObjectMetadata")).await.expect(200);
    // Its definition is part of no published document; an object of which only the metadata is looked at does as well.
    let tree = read(&one.bytes, "api.core.v1.ConfigMap");
    assert_eq!((&tree["kind"], &tree["metadata"]["name"]), (&json!("PartialObjectMetadata"), &json!("a")));
    assert_eq!((&tree["apiVersion"], tree.get("data")), (&json!("meta.k8s.io/v1"), None));
    let list = api.get_as(MAPS, &view("PartialObjectMetadataList")).await.expect(200);
    let list = read(&list.bytes, "api.core.v1.ConfigMapList");
    assert_eq!(list["items"][0]["metadata"]["name"], "a");
    let table = api.get_as(MAPS, &view("Table")).await.expect(406);
    assert_eq!(table.headers["content-type"], "application/json");
}

#[tokio::test]
async fn watches_are_messages_after_their_length() {
    let (api, _) = with_a_map().await;
    let accept = format!("{PROTOBUF};stream=watch");
    let request = Request::builder().uri(format!("{MAPS}?watch=true")).header("accept", &accept);
    let response = api.open(UserInfo::api_server(), request.body(Full::default()).unwrap()).await;
    assert_eq!(response.headers()["content-type"], *accept);
    let mut body = response.into_body();
    let mut next = async || body.frame().await.unwrap().unwrap().into_data().unwrap();
    let check = |frame: &Bytes, kind: &str| {
        let length = u32::from_be_bytes(frame[..4].try_into().unwrap()) as usize;
        assert_eq!(frame.len(), length + 4);
        assert_eq!(frame[6..6 + kind.len()], *kind.as_bytes());
        let start = frame.windows(4).position(|four| four == b"k8s\0").unwrap();
        assert_eq!(read(&frame[start..], "api.core.v1.ConfigMap")["metadata"]["name"], "a");
    };
    check(&next().await, "ADDED");
    api.delete(&format!("{MAPS}/a"), Value::Null).await.expect(200);
    check(&next().await, "DELETED");
}

/// Who watches a selection is shown what has left it as it was, at the revision at which it left.
#[tokio::test]
async fn what_has_left_a_selection_is_not_taken_for_what_is_there() {
    let (api, _) = with_a_map().await;
    let request = Request::builder().uri(format!("{MAPS}?watch=true&labelSelector=l%3D1"));
    let request = request.header("accept", format!("{PROTOBUF};stream=watch"));
    let response = api.open(UserInfo::api_server(), request.body(Full::default()).unwrap()).await;
    let mut body = response.into_body();
    let mut next = async || body.frame().await.unwrap().unwrap().into_data().unwrap();
    let has = |frame: &Bytes, text: &str| frame.windows(text.len()).any(|part| part == text.as_bytes());
    assert!(has(&next().await, "ADDED"));
    let left = api.merge(&format!("{MAPS}/a"), json!({"metadata": {"labels": {"l": "2"}}})).await;
    assert!(has(&next().await, "DELETED"));
    let one = api.get_as(&format!("{MAPS}/a"), PROTOBUF).await.expect(200);
    let metadata = &read(&one.bytes, "api.core.v1.ConfigMap")["metadata"];
    assert_eq!(metadata["labels"], json!({"l": "2"}));
    assert_eq!(metadata["resourceVersion"], left.expect(200).body["metadata"]["resourceVersion"]);
}

#[tokio::test]
async fn bodies_of_writes() {
    let api = Api::start().await;
    // A Namespace `n` as kubectl 1.35 sends it.
    let body = b"k8s\0\x0a\x0f\x0a\x02v1\x12\x09Namespace\x12\x19\x0a\x13\x0a\x01n\x12\0\x1a\0\x22\0\x2a\0\x32\0\x38\0\x42\0\x12\0\x1a\0\x1a\0\x22\0";
    let request = |method: &str, uri: &str, body: &'static [u8]| {
        let request = Request::builder().method(method).uri(uri);
        let request =
            request.header("content-type", PROTOBUF).header("accept", format!("{PROTOBUF},application/json"));
        request.body(Full::from(body)).unwrap()
    };
    let made =
        api.request(request("POST", "/api/v1/namespaces?fieldValidation=Strict", body)).await.expect(201);
    let made = read(&made.bytes, "api.core.v1.Namespace");
    assert_eq!((&made["kind"], &made["metadata"]["name"]), (&json!("Namespace"), &json!("n")));
    assert!(made["metadata"].get("generateName").is_none());
    // DeleteOptions with dryRun=All.
    let options = b"k8s\0\x12\x05\x2a\x03All";
    api.request(request("DELETE", "/api/v1/namespaces/n", options)).await.expect(200);
    assert_eq!(api.get("/api/v1/namespaces/n").await.body["status"]["phase"], "Active");
    api.request(request("POST", "/api/v1/namespaces", b"{}")).await.expect(400);
}

/// Some of the messages are kept from when they were measured, others are made again.
#[tokio::test]
async fn large_lists_come_in_chunks() {
    let api = Api::start().await;
    let names: Vec<String> = (0..48).map(|number| format!("m-{number:02}")).collect();
    for name in &names {
        let map = json!({"metadata": {"name": name}, "data": {"k": name.repeat(4 * 1024)}});
        api.post(MAPS, map).await.expect(201);
    }
    let parts = api.parts_of(MAPS, PROTOBUF).await;
    assert!(parts.len() >= 10, "{} parts", parts.len());
    assert!(parts.iter().all(|part| part.len() < 96 * 1024));
    let list = read(&parts.concat(), "api.core.v1.ConfigMapList");
    let told: Vec<(&str, usize)> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| (item["metadata"]["name"].as_str().unwrap(), item["data"]["k"].as_str().unwrap().len()))
        .collect();
    let wanted: Vec<(&str, usize)> = names.iter().map(|name| (name.as_str(), 16 * 1024)).collect();
    assert_eq!(told, wanted);
}
