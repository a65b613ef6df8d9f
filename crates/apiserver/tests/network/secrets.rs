//! What Secrets hold is in no line of the log, and in no refusal, whatever becomes of a request.

use std::io;
use std::sync::Mutex;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::watcher;
use skiff_apiserver::UserInfo;
use skiff_informer::{Tolerant, watch_objects};
use skiff_store::{Key, Op, Txn};
use tracing_subscriber::EnvFilter;

use super::*;

const SECRETS: &str = "/api/v1/namespaces/default/secrets";
const VALUE: &str = "hunter2-and-more";

/// Everything that is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn start() -> Self {
        let log = Self::default();
        let writer = log.clone();
        tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new(
                "debug,kube_client::client=off,skiff_apiserver=trace,skiff_informer=trace,skiff_store=trace",
            ))
            .with_writer(move || writer.clone())
            .init();
        log
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

/// Requests that are refused, each for a reason of its own: method, content type, body.
fn refused() -> Vec<(&'static str, &'static str, String)> {
    let json = "application/json";
    let merge = "application/merge-patch+json";
    let encoded = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, VALUE);
    vec![
        ("POST", json, format!(r#"{{"metadata": {{"name": "b"}}, "data": "{VALUE}"}}"#)),
        ("POST", json, format!(r#"{{"metadata": {{"name": "b"}}, "data": {{"a": "{VALUE}!"}}}}"#)),
        ("POST", json, format!(r#"{{"metadata": {{"name": "b"}}, "data": {{"a b": "{encoded}"}}}}"#)),
        ("POST", json, format!(r#"{{"metadata": {{"name": "b"}}, "stringData": {{"a": ["{VALUE}"]}}}}"#)),
        ("POST", json, format!(r#"{{"metadata": {{"name": "b"}}, "immutable": "{VALUE}"}}"#)),
        ("POST", json, format!(r#"{{"metadata": {{"name": "b"}}, "stringData": {{"a": "{VALUE}"#)),
        ("POST", "application/yaml", format!("metadata: {{name: b}}\nstringData: [a: {VALUE}")),
        ("POST", "text/plain", VALUE.to_owned()),
        ("PUT", json, format!(r#"{{"metadata": {{"name": "other"}}, "stringData": {{"a": "{VALUE}"}}}}"#)),
        ("PATCH", merge, format!(r#"{{"data": "{VALUE}"}}"#)),
        ("PATCH", merge, format!(r#"{{"data": {{"a": "{VALUE}!"}}}}"#)),
        ("PATCH", merge, format!(r#"{{"kind": "Other", "stringData": {{"a": "{VALUE}"}}}}"#)),
        ("PATCH", merge, format!(r#"{{"stringData": {{"a": "{VALUE}"#)),
        ("PATCH", "application/strategic-merge-patch+json", format!(r#"{{"data": {{"a": ["{VALUE}"]}}}}"#)),
        (
            "PATCH",
            "application/json-patch+json",
            format!(r#"[{{"op": "add", "path": "/data", "value": "{VALUE}"}}]"#),
        ),
        (
            "PATCH",
            "application/json-patch+json",
            format!(r#"[{{"op": "test", "path": "/data/a", "value": "{VALUE}"}}]"#),
        ),
        ("PATCH", "application/apply-patch+yaml", format!("apiVersion: v1\nkind: Secret\ndata: [{VALUE}")),
        ("PATCH", "application/apply-patch+yaml", format!("apiVersion: v1\nkind: Secret\ndata: {VALUE}")),
    ]
}

#[tokio::test]
async fn what_secrets_hold_is_not_told() {
    let log = Log::start();
    let api = Api::start().await;
    let secret = json!({"metadata": {"name": "a"}, "stringData": {"a": VALUE}});
    api.post(SECRETS, secret).await.expect(201);
    for (method, content_type, body) in refused() {
        for query in ["fieldManager=m", "fieldManager=m&fieldValidation=Strict&pretty=true"] {
            let path = if method == "POST" { SECRETS.to_owned() } else { format!("{SECRETS}/a") };
            let answer = api.send(method, &format!("{path}?{query}"), content_type, &body).await;
            assert!(
                answer.status.is_client_error() || answer.status.is_server_error(),
                "{body}: {}",
                answer.text
            );
            assert!(!answer.text.contains("hunter2"), "{body}: {}", answer.text);
            assert!(answer.text.len() < 4096, "{body}: {}", answer.text);
        }
    }

    // One that nobody can decode: by watch, by request, and as no JSON at all.
    let stored = format!(
        r#"{{"metadata":{{"name":"bad","namespace":"default","uid":"u"}},"data":"{VALUE}","apiVersion":"v1","kind":"Secret"}}"#
    );
    for (name, value) in [("bad", stored.clone()), ("worse", stored.replace('}', ""))] {
        let key = Key::from(format!("/registry/core/secrets/default/{name}"));
        let ops = vec![Op::Put { key, value: value.into() }];
        api.store.commit(Txn { expect: Vec::new(), ops }).await.unwrap();
    }
    api.get_as(SECRETS, "application/json;as=Table;v=v1;g=meta.k8s.io").await.expect(500);
    api.merge(&format!("{SECRETS}/bad"), json!({"metadata": {"labels": {"a": "b"}}})).await.expect(422);
    api.merge(&format!("{SECRETS}/worse"), json!({})).await.expect(500);
    let client = api.server.client(UserInfo::api_server(), "test");
    let config = watcher::Config::default().fields("metadata.name=bad");
    let secrets = kube::Api::<Secret>::namespaced(client.clone(), "default");
    let mut events = watch_objects::<Secret>(secrets, config).boxed();
    loop {
        match events.next().await.unwrap().unwrap() {
            watcher::Event::InitApply(Tolerant::Unreadable(_)) => break,
            watcher::Event::Init => {}
            other => panic!("{other:?}"),
        }
    }

    let text = log.text();
    assert!(text.contains("an object is left out: it cannot be decoded"), "the log is read: {text}");
    let told = text.lines().find(|line| line.contains("hunter2"));
    assert_eq!(told, None);
    let longest = text.lines().map(str::len).max();
    assert!(longest < Some(1024), "{:?}", text.lines().find(|line| Some(line.len()) == longest));
}
