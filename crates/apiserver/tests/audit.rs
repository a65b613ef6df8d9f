//! What is written down of requests.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use std::time::Duration;

use common::hook::Hook;
use common::{Api, config_map};
use http::Request;
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use skiff_apiserver::{AuditOptions, UserInfo};
use tempfile::TempDir;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// A server that writes down what a policy says.
struct Audited {
    api: Api,
    dir: TempDir,
}

impl Audited {
    async fn start(rules: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let policy = dir.path().join("policy.yaml");
        let text = format!("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n{rules}");
        std::fs::write(&policy, text).unwrap();
        let options = AuditOptions {
            policy: Some(policy),
            log: Some(dir.path().join("audit.log")),
            megabytes: 100,
            ..AuditOptions::default()
        };
        Self { api: Api::with_audit(options.read().unwrap().unwrap()).await, dir }
    }

    /// The events about ConfigMaps so far; all others are the server's own.
    async fn events(&self) -> Vec<Value> {
        self.api.server.flush().await;
        let text = std::fs::read_to_string(self.dir.path().join("audit.log")).unwrap();
        let events = text.lines().map(|line| serde_json::from_str(line).unwrap());
        events.filter(|event: &Value| event["objectRef"]["resource"] == "configmaps").collect()
    }
}

fn stages(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["stage"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_request_is_written_down_when_it_comes_and_when_it_is_answered() {
    let audited = Audited::start("- level: RequestResponse\n").await;
    let made = audited.api.post(MAPS, config_map("a")).await.expect(201);
    let events = audited.events().await;
    assert_eq!(stages(&events), ["RequestReceived", "ResponseComplete"]);
    let id = made.headers["audit-id"].to_str().unwrap();
    assert!(events.iter().all(|event| event["auditID"] == id), "{events:?}");
    let event = &events[1];
    assert_eq!((&event["verb"], &event["requestURI"]), (&json!("create"), &json!(MAPS)));
    assert_eq!(event["user"]["username"], "system:apiserver");
    let object = json!({"resource": "configmaps", "namespace": "default", "name": "a", "apiVersion": "v1"});
    assert_eq!(event["objectRef"], object);
    assert_eq!(event["responseStatus"], json!({"metadata": {}, "code": 201}));
    assert_eq!(event["requestObject"]["data"]["a"], "1");
    assert_eq!(event["responseObject"], made.body);
    assert_eq!(event["annotations"]["authorization.k8s.io/decision"], "allow");
}

#[tokio::test]
async fn what_is_in_a_secret_is_written_only_where_that_is_asked_for() {
    let audited = Audited::start("- level: Metadata\n  omitStages: [RequestReceived]\n").await;
    audited.api.post(MAPS, config_map("a")).await.expect(201);
    audited.api.merge(&format!("{MAPS}/a"), json!({"data": {"a": "2"}})).await.expect(200);
    audited.api.delete(&format!("{MAPS}/a"), json!({"gracePeriodSeconds": 0})).await.expect(200);
    audited.api.get(&format!("{MAPS}/a")).await.expect(404);
    let events = audited.events().await;
    assert_eq!(stages(&events), ["ResponseComplete"; 4]);
    for event in &events {
        assert!(event.get("requestObject").is_none() && event.get("responseObject").is_none(), "{event}");
    }
    let verbs: Vec<&Value> = events.iter().map(|event| &event["verb"]).collect();
    assert_eq!(verbs, ["create", "patch", "delete", "get"]);
    assert_eq!(events[2]["responseStatus"]["status"], "Success");
    assert_eq!(events[2]["responseStatus"]["code"], 200);
    assert_eq!(events[3]["responseStatus"]["reason"], "NotFound");
    assert_eq!(events[3]["responseStatus"]["details"]["name"], "a");
}

#[tokio::test]
async fn patches_and_options_are_written_as_they_were_sent() {
    let audited = Audited::start("- level: Request\n  omitStages: [RequestReceived]\n").await;
    audited.api.post(MAPS, config_map("a")).await.expect(201);
    audited.api.merge(&format!("{MAPS}/a"), json!({"data": {"a": "2"}})).await.expect(200);
    let apply = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n";
    let path = format!("{MAPS}/b?fieldManager=me");
    audited.api.send("PATCH", &path, "application/apply-patch+yaml", apply).await.expect(201);
    audited.api.delete(&format!("{MAPS}/a"), json!({"gracePeriodSeconds": 0})).await.expect(200);
    let events = audited.events().await;
    assert_eq!(events[1]["requestObject"], json!({"data": {"a": "2"}}));
    assert_eq!(events[2]["requestObject"]["metadata"]["name"], "b");
    assert_eq!(events[3]["requestObject"]["gracePeriodSeconds"], 0);
    assert!(events.iter().all(|event| event.get("responseObject").is_none()));
}

#[tokio::test]
async fn who_acts_as_another_is_named_and_so_is_who_may_not() {
    let rules = "- level: Metadata\n  omitStages: [RequestReceived]\n";
    let audited = Audited::start(rules).await;
    let get = |user: &str| {
        let request = Request::builder().uri(MAPS).header("audit-id", "mine").body(Full::default()).unwrap();
        audited.api.open(UserInfo::authenticated(user, []), request)
    };
    let answer = common::read(get("ann").await).await.expect(403);
    assert_eq!(answer.headers["audit-id"], "mine");
    let event = &audited.events().await[0];
    assert_eq!((&event["auditID"], &event["user"]["username"]), (&json!("mine"), &json!("ann")));
    assert_eq!(event["annotations"]["authorization.k8s.io/decision"], "forbid");
    assert_eq!(event["responseStatus"]["code"], 403);
}

#[tokio::test]
async fn a_watch_is_written_down_when_it_starts_and_when_it_ends() {
    let audited = Audited::start("- level: Metadata\n").await;
    let request = Request::builder().uri(format!("{MAPS}?watch=1")).body(Full::default()).unwrap();
    let mut watch = audited.api.open(UserInfo::api_server(), request).await.into_body();
    audited.api.post(MAPS, config_map("a")).await.expect(201);
    watch.frame().await.unwrap().unwrap();
    let of_watch = |events: Vec<Value>| -> Vec<String> {
        let watches = events.into_iter().filter(|event| event["verb"] == "watch");
        watches.map(|event| event["stage"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(of_watch(audited.events().await), ["RequestReceived", "ResponseStarted"]);
    drop(watch);
    assert_eq!(of_watch(audited.events().await), ["RequestReceived", "ResponseStarted", "ResponseComplete"]);
}

#[tokio::test]
async fn what_webhooks_annotate_is_in_the_event() {
    let audited = Audited::start("- level: Metadata\n  omitStages: [RequestReceived]\n").await;
    let hook = Hook::start(|review| {
        let response =
            json!({"uid": review["request"]["uid"], "allowed": true, "auditAnnotations": {"seen": "yes"}});
        json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "response": response})
    })
    .await;
    let rules =
        json!([{"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}]);
    let webhook = json!({"name": "hook.example.com", "clientConfig": hook.client(), "sideEffects": "None",
        "admissionReviewVersions": ["v1"], "rules": rules});
    let configuration = json!({"metadata": {"name": "hook"}, "webhooks": [webhook]});
    let path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
    audited.api.post(path, configuration).await.expect(201);
    audited.api.post(MAPS, config_map("a")).await.expect(201);
    let event = &audited.events().await[0];
    assert_eq!(event["annotations"]["hook.example.com/seen"], "yes");
}

#[tokio::test]
async fn events_are_sent_to_a_webhook() {
    let hook = Hook::start(|_| json!({})).await;
    let dir = tempfile::tempdir().unwrap();
    let (policy, kubeconfig) = (dir.path().join("policy.yaml"), dir.path().join("webhook.kubeconfig"));
    std::fs::write(&policy, "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata, resources: [{resources: [configmaps]}]}]").unwrap();
    let cluster =
        json!({"server": format!("https://{}/hook", hook.address), "certificate-authority-data": hook.ca});
    let context = json!({"name": "c", "context": {"cluster": "c", "user": "u"}});
    let config = json!({"apiVersion": "v1", "kind": "Config", "current-context": "c", "contexts": [context],
        "clusters": [{"name": "c", "cluster": cluster}], "users": [{"name": "u", "user": {"token": "secret"}}]});
    std::fs::write(&kubeconfig, config.to_string()).unwrap();
    let options = AuditOptions {
        policy: Some(policy),
        webhook: Some(kubeconfig),
        wait: Duration::from_millis(10),
        ..AuditOptions::default()
    };
    let api = Api::with_audit(options.read().unwrap().unwrap()).await;
    api.post(MAPS, config_map("a")).await.expect(201);
    api.server.flush().await;
    let lists = hook.asked();
    let items: Vec<&Value> = lists.iter().flat_map(|list| list["items"].as_array().unwrap()).collect();
    assert!(lists.iter().all(|list| list["kind"] == "EventList"), "{lists:?}");
    let stages: Vec<&Value> = items.iter().map(|event| &event["stage"]).collect();
    assert_eq!(stages, ["RequestReceived", "ResponseComplete"]);
}
