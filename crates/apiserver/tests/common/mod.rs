//! A server in process over a real store in a temporary directory.
#![allow(dead_code, reason = "each test program uses a part")]
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

pub(crate) mod hook;

use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use skiff_apiserver::testing::TestServer;
use skiff_apiserver::{
    ApiService, AuditConfig, Body, Extension, Limits, PluginConfiguration, PluginNames, Plugins, UserInfo,
};
use tower::ServiceExt as _;

/// Where the objects of priority and fairness are.
pub(crate) const FLOW_CONTROL: &str = "/apis/flowcontrol.apiserver.k8s.io/v1";

pub(crate) struct Api(TestServer);

impl Deref for Api {
    type Target = TestServer;

    fn deref(&self) -> &TestServer {
        &self.0
    }
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
    pub(crate) text: String,
    pub(crate) bytes: Bytes,
}

impl Answer {
    /// The `Warning` headers.
    pub(crate) fn warnings(&self) -> Vec<&str> {
        self.headers.get_all("warning").iter().map(|value| value.to_str().unwrap()).collect()
    }

    pub(crate) fn message(&self) -> &str {
        self.body["message"].as_str().unwrap_or_default()
    }

    pub(crate) fn names(&self) -> Vec<&str> {
        let items = self.body["items"].as_array().unwrap_or_else(|| panic!("no list: {}", self.text));
        items.iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect()
    }

    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        self
    }
}

impl Api {
    pub(crate) async fn start() -> Self {
        Self(TestServer::start([127, 0, 0, 1]).await)
    }

    /// With admission plugins that are off by default.
    pub(crate) async fn with_plugins(names: &str) -> Self {
        let (enabled, disabled) = (names.parse().unwrap(), PluginNames::default());
        Self::with(Plugins::new(&enabled, &disabled, PluginConfiguration::default()).unwrap()).await
    }

    pub(crate) async fn with(plugins: Plugins) -> Self {
        Self(TestServer::with([127, 0, 0, 1], Limits::default(), plugins).await)
    }

    /// With a version of the API that another part of the program serves.
    pub(crate) async fn with_extension(extension: Arc<dyn Extension>) -> Self {
        Self(TestServer::with_extension([127, 0, 0, 1], extension).await)
    }

    pub(crate) async fn with_event_ttl(ttl: &str) -> Self {
        Self(TestServer::with_event_ttl([127, 0, 0, 1], ttl.parse().unwrap()).await)
    }

    pub(crate) async fn with_audit(audit: AuditConfig) -> Self {
        Self(TestServer::with_audit([127, 0, 0, 1], audit).await)
    }

    pub(crate) async fn with_store(store: Arc<dyn skiff_store::Store>) -> Self {
        Self(TestServer::with_store([127, 0, 0, 1], store).await)
    }

    pub(crate) async fn with_limits(limits: Limits) -> Self {
        Self(TestServer::with_limits([127, 0, 0, 1], limits).await)
    }

    /// A token of the ServiceAccount `default` in the namespace `default`, which may edit there.
    pub(crate) async fn editor_token(&self) -> String {
        self.make_default_account("default").await;
        let binding = json!({
            "metadata": {"name": "edit"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
            "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": "default"}],
        });
        let bindings = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings";
        self.post(bindings, binding).await.expect(201);
        let path = "/api/v1/namespaces/default/serviceaccounts/default/token";
        let token = self.post(path, json!({"spec": {"audiences": []}})).await.expect(201);
        token.body["status"]["token"].as_str().unwrap().to_owned()
    }

    pub(crate) fn service(&self) -> ApiService {
        self.server.service(UserInfo::api_server())
    }

    pub(crate) async fn open(&self, user: UserInfo, request: Request<Full<Bytes>>) -> http::Response<Body> {
        let service = self.server.service(user);
        service.oneshot(request).await.unwrap()
    }

    pub(crate) async fn request(&self, request: Request<Full<Bytes>>) -> Answer {
        let response = self.open(UserInfo::api_server(), request).await;
        read(response).await
    }

    pub(crate) async fn send(&self, method: &str, path: &str, content_type: &str, body: &str) -> Answer {
        let request = Request::builder().method(method).uri(path).header("content-type", content_type);
        self.request(request.body(Full::from(body.to_owned())).unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, "", "").await
    }

    pub(crate) async fn get_as(&self, path: &str, accept: &str) -> Answer {
        let request = Request::builder().uri(path).header("accept", accept).body(Full::default()).unwrap();
        self.request(request).await
    }

    /// The parts in which an answer comes.
    pub(crate) async fn parts_of(&self, path: &str, accept: &str) -> Vec<Bytes> {
        let request = Request::builder().uri(path).header("accept", accept).body(Full::default()).unwrap();
        let mut body = self.open(UserInfo::api_server(), request).await.into_body();
        let mut parts = Vec::new();
        while let Some(frame) = body.frame().await {
            parts.extend(frame.unwrap().into_data());
        }
        parts
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.send("POST", path, "application/json", &body.to_string()).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Answer {
        self.send("PUT", path, "application/json", &body.to_string()).await
    }

    pub(crate) async fn merge(&self, path: &str, body: Value) -> Answer {
        self.send("PATCH", path, "application/merge-patch+json", &body.to_string()).await
    }

    pub(crate) async fn delete(&self, path: &str, options: Value) -> Answer {
        let body = if options.is_null() { String::new() } else { options.to_string() };
        self.send("DELETE", path, "application/json", &body).await
    }

    /// Makes what a controller makes in every namespace.
    pub(crate) async fn make_default_account(&self, namespace: &str) {
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts");
        self.post(&path, json!({"metadata": {"name": "default"}})).await.expect(201);
    }

    /// Makes a priority level of a single seat.
    pub(crate) async fn make_level(&self, name: &str, response: Value) {
        let limited = json!({
            "nominalConcurrencyShares": 1, "borrowingLimitPercent": 0, "limitResponse": response,
        });
        let level = json!({"metadata": {"name": name}, "spec": {"type": "Limited", "limited": limited}});
        self.post(&format!("{FLOW_CONTROL}/prioritylevelconfigurations"), level).await.expect(201);
    }

    /// Leads a user's requests to a level, and returns when they go there.
    pub(crate) async fn lead(&self, level: &str, user: &str, verbs: &[&str]) {
        let name = format!("to-{level}");
        let everything = json!({
            "verbs": verbs, "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": true,
        });
        let rule = json!({
            "subjects": [{"kind": "User", "user": {"name": user}}],
            "resourceRules": [everything], "nonResourceRules": [{"verbs": verbs, "nonResourceURLs": ["*"]}],
        });
        let spec = json!({
            "priorityLevelConfiguration": {"name": level}, "matchingPrecedence": 50, "rules": [rule],
            "distinguisherMethod": {"type": "ByUser"},
        });
        let schema = json!({"metadata": {"name": name}, "spec": spec});
        self.post(&format!("{FLOW_CONTROL}/flowschemas"), schema).await.expect(201);
        self.until_dangling(&name, "False").await;
    }

    /// Waits until a FlowSchema says whether its level is missing; the condition.
    pub(crate) async fn until_dangling(&self, name: &str, status: &str) -> Value {
        let path = format!("{FLOW_CONTROL}/flowschemas?watch=1&fieldSelector=metadata.name%3D{name}");
        let mut events = self.watch(&path, "application/json").await;
        let said = async {
            loop {
                let event = events.next().await.expect("the watch goes on");
                let condition = &event["object"]["status"]["conditions"][0];
                if condition["status"] == status {
                    return condition.clone();
                }
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(10), said).await.expect("a condition in time")
    }

    pub(crate) async fn watch(&self, path: &str, accept: &str) -> Events {
        let request = Request::builder().uri(path).header("accept", accept).body(Full::default()).unwrap();
        let response = self.open(UserInfo::api_server(), request).await;
        assert_eq!(response.status(), 200);
        Events { body: response.into_body(), buffer: Vec::new() }
    }
}

pub(crate) async fn read(response: http::Response<Body>) -> Answer {
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    Answer { status: parts.status, headers: parts.headers, body, text, bytes }
}

/// The events of a watch.
pub(crate) struct Events {
    body: Body,
    buffer: Vec<u8>,
}

impl Events {
    /// The next event; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame = self.body.frame().await?.unwrap();
            if let Ok(data) = frame.into_data() {
                self.buffer.extend_from_slice(&data);
            }
        }
    }

    /// `TYPE name` of the next event.
    pub(crate) async fn next_name(&mut self) -> String {
        let wait = tokio::time::timeout(std::time::Duration::from_secs(10), self.next());
        let event = wait.await.expect("an event in time").expect("an event");
        let kind = event["type"].as_str().unwrap();
        format!("{kind} {}", event["object"]["metadata"]["name"].as_str().unwrap_or_default())
    }
}

pub(crate) fn config_map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "1"}})
}

pub(crate) fn service(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"selector": {"app": "kubia"}, "ports": [{"port": 80, "targetPort": 8080}]},
    })
}

pub(crate) fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": "kubia"}},
        "spec": {"containers": [{"name": "main", "image": "luksa/kubia"}]},
    })
}
