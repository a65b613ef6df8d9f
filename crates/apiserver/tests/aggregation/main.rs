//! Versions of the API that other servers serve: who asks them what, and what is told of them.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

#[path = "../common/mod.rs"]
mod common;
mod documents;
mod extension;
mod inside;
mod local;
mod requests;
mod vouching;

use std::time::Duration;

use common::Api;
use extension::Extension;
use serde_json::{Value, json};
use skiff_store::{Key, Op, Txn};

const SERVICES: &str = "/apis/apiregistration.k8s.io/v1/apiservices";
const GROUP: &str = "wardle.example.com";
const NAME: &str = "v1alpha1.wardle.example.com";
const SLICE: &str = "/registry/discovery.k8s.io/endpointslices/default/ext";
const FLUNDERS: &str = "/apis/wardle.example.com/v1alpha1/namespaces/default/flunders";

/// A Service of the extension server's, whose one endpoint is on this machine.
async fn lead_to(api: &Api, extension: &Extension) {
    let service = json!({
        "metadata": {"name": "ext"}, "spec": {"clusterIP": "None", "ports": [{"port": 443}]},
    });
    api.post("/api/v1/namespaces/default/services", service).await.expect(201);
    endpoint(api, extension.address.port(), 1).await;
}

/// Writes the Service's EndpointSlice, past the API: it allows no endpoint on this machine. Every version of it is a change.
async fn endpoint(api: &Api, port: u16, version: u32) {
    let metadata = json!({
        "name": "ext", "namespace": "default", "labels": {"kubernetes.io/service-name": "ext"},
        "annotations": {"version": version.to_string()},
    });
    let endpoints = json!([{"addresses": ["127.0.0.1"], "conditions": {"ready": true}}]);
    let value = format!(
        r#"{{"metadata":{metadata},"addressType":"IPv4","endpoints":{endpoints},"ports":[{{"name":"","port":{port}}}],"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice"}}"#
    );
    let op = Op::Put { key: Key::from(SLICE), value: value.into() };
    api.store.commit(Txn { expect: Vec::new(), ops: vec![op] }).await.unwrap();
}

/// Takes the endpoint away.
async fn no_endpoint(api: &Api) {
    let ops = vec![Op::Delete { key: Key::from(SLICE) }];
    api.store.commit(Txn { expect: Vec::new(), ops }).await.unwrap();
}

fn registration(version: &str, extension: &Extension) -> Value {
    json!({
        "metadata": {"name": format!("{version}.{GROUP}")},
        "spec": {
            "group": GROUP, "version": version, "groupPriorityMinimum": 2000, "versionPriority": 200,
            "service": {"name": "ext", "namespace": "default"}, "caBundle": extension.ca,
        },
    })
}

/// Waits until the condition of an APIService has this reason; its message.
async fn until(api: &Api, name: &str, reason: &str) -> String {
    let selected = format!("{SERVICES}?watch=1&fieldSelector=metadata.name={name}");
    let mut events = api.watch(&selected, "application/json").await;
    let looking = async {
        loop {
            let event = events.next().await.expect("the watch goes on");
            let conditions = event["object"]["status"]["conditions"].as_array().cloned().unwrap_or_default();
            let condition = conditions.into_iter().find(|condition| condition["type"] == "Available");
            if let Some(condition) = condition.filter(|condition| condition["reason"] == reason) {
                return condition["message"].as_str().unwrap().to_owned();
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), looking).await.unwrap_or_else(|_| panic!("no {reason}"))
}

/// Asks until the answer is as it should be: what is gathered later than an APIService is available.
async fn ask_until(api: &Api, path: &str, accept: &str, mut is_right: impl FnMut(&Value) -> bool) -> Value {
    for _ in 0..200 {
        let answer = api.get_as(path, accept).await;
        if is_right(&answer.body) {
            return answer.body;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{path} stays {}", api.get_as(path, accept).await.text);
}

/// A server and an extension server that is available.
async fn aggregated() -> (Api, Extension) {
    let api = Api::start().await;
    let extension = aggregate(&api).await;
    (api, extension)
}

/// An extension server that is available.
async fn aggregate(api: &Api) -> Extension {
    let extension = Extension::start(api.pki.front_proxy_ca_pem()).await;
    lead_to(api, &extension).await;
    api.post(SERVICES, registration("v1alpha1", &extension)).await.expect(201);
    assert_eq!(until(api, NAME, "Passed").await, "all checks passed");
    extension
}
