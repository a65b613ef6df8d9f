//! API Priority and Fairness, as clients see it.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use common::{Answer, Api, FLOW_CONTROL, read};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use http::{Request, Response};
use http_body_util::Full;
use serde_json::{Value, json};
use skiff_apiserver::{Body, Limits, UserInfo};

const REJECT: &str = "Reject";
/// What everybody with credentials may read.
const VERSION: &str = "/version";

fn user(name: &str) -> UserInfo {
    UserInfo::authenticated(name, [])
}

fn get(path: &str) -> Request<Full<Bytes>> {
    Request::get(path).body(Full::default()).unwrap()
}

fn queue() -> Value {
    json!({"type": "Queue", "queuing": {"queues": 64, "handSize": 6, "queueLengthLimit": 50}})
}

/// A server of so few seats that a level of one share has one.
async fn small() -> Api {
    Api::with_limits(Limits { reads: 10, writes: 0, ..Limits::default() }).await
}

/// An answer that is not read yet: its request goes on.
async fn held(api: &Api, name: &str) -> Response<Body> {
    let response = api.open(user(name), get(VERSION)).await;
    assert_eq!(response.status(), 200);
    response
}

async fn uid(api: &Api, path: &str) -> String {
    let answer = api.get(&format!("{FLOW_CONTROL}/{path}")).await.expect(200);
    answer.body["metadata"]["uid"].as_str().unwrap().to_owned()
}

fn told(answer: &Answer) -> (&str, &str) {
    let header = |name: &str| answer.headers[name].to_str().unwrap();
    (header("x-kubernetes-pf-flowschema-uid"), header("x-kubernetes-pf-prioritylevel-uid"))
}

#[tokio::test]
async fn a_level_of_one_seat_turns_the_second_request_away() {
    let api = small().await;
    api.make_level("one", json!({"type": REJECT})).await;
    api.lead("one", "alice", &["*"]).await;
    let uids = (uid(&api, "flowschemas/to-one").await, uid(&api, "prioritylevelconfigurations/one").await);
    let first = held(&api, "alice").await;
    let second = read(api.open(user("alice"), get(VERSION)).await).await.expect(429);
    assert_eq!(second.headers["retry-after"], "1");
    assert_eq!(second.message(), "Too many requests, please try again later.");
    assert_eq!(told(&second), (uids.0.as_str(), uids.1.as_str()));
    // Others are not concerned, and administrators and questions after health have no limit.
    let other = read(held(&api, "bob").await).await;
    assert_ne!(told(&other).0, uids.0);
    let admin = api.get(VERSION).await.expect(200);
    assert_eq!(told(&admin).0, uid(&api, "flowschemas/exempt").await);
    let health = read(api.open(user("alice"), get("/livez")).await).await.expect(200);
    assert_eq!(told(&health).0, uid(&api, "flowschemas/probes").await);
    drop(first);
    read(held(&api, "alice").await).await;
    let metrics = api.get("/metrics").await.expect(200).text;
    let labels = r#"flow_schema="to-one",priority_level="one""#;
    let line =
        format!(r#"apiserver_flowcontrol_rejected_requests_total{{{labels},reason="concurrency-limit"}} 1"#);
    assert!(metrics.lines().any(|other| other == line), "{line} in\n{metrics}");
    assert!(metrics.contains(r#"apiserver_flowcontrol_nominal_limit_seats{priority_level="one"} 1"#));
}

type Pending<'a> = Pin<Box<dyn Future<Output = String> + 'a>>;

/// A request that waits.
async fn waiting<'a>(api: &'a Api, name: &str) -> Pending<'a> {
    let name = name.to_owned();
    let mut request: Pending<'a> = Box::pin(async move {
        let answer = held(api, &name).await;
        // What is shared is time: it takes longer than it took to ask.
        tokio::time::sleep(Duration::from_millis(20)).await;
        drop(answer);
        name
    });
    assert!(futures::poll!(&mut request).is_pending(), "there is no seat");
    request
}

#[tokio::test]
async fn one_request_of_a_quiet_user_passes_many_of_a_loud_one() {
    let api = small().await;
    api.make_level("one", queue()).await;
    api.lead("one", "*", &["get"]).await;
    let first = held(&api, "loud").await;
    let requests = FuturesUnordered::new();
    for _ in 0..40 {
        requests.push(waiting(&api, "loud").await);
    }
    requests.push(waiting(&api, "quiet").await);
    let dump =
        api.get("/debug/api_priority_and_fairness/dump_requests?includeRequestDetails=1").await.expect(200);
    assert_eq!(dump.text.lines().filter(|line| line.starts_with("one,")).count(), 42, "{}", dump.text);
    assert!(dump.text.contains("/version"), "{}", dump.text);
    drop(first);
    let order: VecDeque<String> = requests.collect().await;
    let place = order.iter().position(|name| name == "quiet").unwrap();
    assert!(place < 15, "{place} of {}", order.len());
}

#[tokio::test]
async fn who_gives_up_waiting_is_forgotten_and_more_seats_serve_who_waits() {
    let api = small().await;
    api.make_level("one", queue()).await;
    api.lead("one", "alice", &["*"]).await;
    let first = held(&api, "alice").await;
    drop(waiting(&api, "alice").await);
    let queues = api.get("/debug/api_priority_and_fairness/dump_queues").await.expect(200).text;
    assert_eq!(queues.lines().filter(|line| line.starts_with("one,")).count(), 1, "{queues}");
    let third = waiting(&api, "alice").await;
    // The level gets more seats, at once.
    let more = json!({"spec": {"limited": {"nominalConcurrencyShares": 100}}});
    api.merge(&format!("{FLOW_CONTROL}/prioritylevelconfigurations/one"), more).await.expect(200);
    tokio::time::timeout(Duration::from_secs(10), third).await.unwrap();
    drop(first);
}

#[tokio::test]
async fn who_waits_too_long_is_turned_away() {
    let limits = Limits { reads: 10, writes: 0, queue_wait: Duration::from_millis(10), ..Limits::default() };
    let api = Api::with_limits(limits).await;
    api.make_level("one", queue()).await;
    api.lead("one", "alice", &["*"]).await;
    let first = held(&api, "alice").await;
    read(api.open(user("alice"), get(VERSION)).await).await.expect(429);
    drop(first);
    let levels = api.get("/debug/api_priority_and_fairness/dump_priority_levels").await.expect(200).text;
    let line = levels.lines().find(|line| line.starts_with("one,")).unwrap();
    let cells: Vec<&str> = line.split(',').map(str::trim).collect();
    assert_eq!(cells, ["one", "0", "true", "false", "0", "0", "1", "1", "1", "0"]);
    let other =
        read(api.open(user("alice"), get("/debug/api_priority_and_fairness/dump_queues")).await).await;
    other.expect(403);
}

#[tokio::test]
async fn a_watch_takes_a_seat_only_while_it_begins() {
    let api = small().await;
    api.make_level("one", json!({"type": REJECT})).await;
    api.lead("one", "alice", &["*"]).await;
    let binding = json!({
        "metadata": {"name": "alice"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [{"kind": "User", "name": "alice", "apiGroup": "rbac.authorization.k8s.io"}],
    });
    api.post("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding).await.expect(201);
    let watch = "/api/v1/namespaces/default/configmaps?watch=1";
    let (newest, initial) = (format!("{watch}&resourceVersion=1"), watch);
    let first = api.open(user("alice"), get(&newest)).await;
    assert_eq!(first.status(), 200);
    // Nothing of the other was read: it has not sent what there is.
    let second = api.open(user("alice"), get(initial)).await;
    assert_eq!(second.status(), 200);
    assert_eq!(api.open(user("alice"), get(VERSION)).await.status(), 429);
    drop(second);
    assert_eq!(api.open(user("alice"), get(VERSION)).await.status(), 200);
    drop(first);
}

#[tokio::test]
async fn flow_schemas_say_whether_their_level_is_there() {
    let api = Api::start().await;
    let schema = json!({
        "metadata": {"name": "s"},
        "spec": {"priorityLevelConfiguration": {"name": "one"}, "matchingPrecedence": 50},
    });
    let made = api.post(&format!("{FLOW_CONTROL}/flowschemas"), schema).await.expect(201);
    assert_eq!(made.body["status"], json!({}));
    let condition = api.until_dangling("s", "True").await;
    assert_eq!((&condition["type"], &condition["reason"]), (&json!("Dangling"), &json!("NotFound")));
    assert_eq!(
        condition["message"],
        "This FlowSchema references the PriorityLevelConfiguration object named \"one\" but there is no such object"
    );
    api.make_level("one", json!({"type": REJECT})).await;
    let condition = api.until_dangling("s", "False").await;
    assert_eq!(condition["reason"], "Found");
    // Who says otherwise is put right.
    let wrong = json!({"status": {"conditions": [{"type": "Dangling", "status": "True"}]}});
    api.merge(&format!("{FLOW_CONTROL}/flowschemas/s/status"), wrong).await.expect(200);
    api.until_dangling("s", "False").await;
    let stored = api.get(&format!("{FLOW_CONTROL}/flowschemas/s")).await;
    let managers = stored.body["metadata"]["managedFields"].as_array().unwrap();
    let is_ours = |entry: &&Value| entry["manager"] == "api-priority-and-fairness-config-consumer-v1";
    assert_eq!(managers.iter().filter(is_ours).count(), 1, "{managers:?}");
    let given = api.get(&format!("{FLOW_CONTROL}/flowschemas")).await.expect(200);
    let items = given.body["items"].as_array().unwrap();
    assert_eq!(items.len(), 12);
    assert!(items.iter().all(|item| item["status"]["conditions"][0]["status"] == "False"), "{items:?}");
}

#[tokio::test]
async fn mandatory_objects_come_back_and_keep_their_specs() {
    let api = Api::start().await;
    let list = api.get(&format!("{FLOW_CONTROL}/prioritylevelconfigurations")).await.expect(200);
    let version = list.body["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    assert_eq!(list.names().len(), 8);
    let path = format!("{FLOW_CONTROL}/prioritylevelconfigurations?watch=1&resourceVersion={version}");
    let mut events = api.watch(&path, "application/json").await;
    let delete = async |name: &str| {
        let path = format!("{FLOW_CONTROL}/prioritylevelconfigurations/{name}");
        api.delete(&path, Value::Null).await.expect(200);
    };
    delete("exempt").await;
    assert_eq!(events.next_name().await, "DELETED exempt");
    assert_eq!(events.next_name().await, "ADDED exempt");
    // Suggested ones stay away.
    delete("workload-low").await;
    assert_eq!(events.next_name().await, "DELETED workload-low");
    api.until_dangling("service-accounts", "True").await;
    delete("catch-all").await;
    assert_eq!(events.next_name().await, "DELETED catch-all");
    assert_eq!(events.next_name().await, "ADDED catch-all");
    // Nobody turns their updates off, or changes them.
    let off = json!({"metadata": {"annotations": {"apf.kubernetes.io/autoupdate-spec": "false"}}});
    api.merge(&format!("{FLOW_CONTROL}/prioritylevelconfigurations/catch-all"), off).await.expect(200);
    assert_eq!(events.next_name().await, "MODIFIED catch-all");
    assert_eq!(events.next_name().await, "MODIFIED catch-all");
    let restored = api.get(&format!("{FLOW_CONTROL}/prioritylevelconfigurations/catch-all")).await;
    assert_eq!(restored.body["metadata"]["annotations"]["apf.kubernetes.io/autoupdate-spec"], "true");
    let other = json!({"spec": {"limited": {"nominalConcurrencyShares": 6}}});
    let refused = api.merge(&format!("{FLOW_CONTROL}/prioritylevelconfigurations/catch-all"), other).await;
    assert!(refused.expect(422).message().ends_with("spec of 'catch-all' must equal the fixed value"));
}

#[tokio::test]
async fn parts_of_the_process_are_classified_as_in_kubernetes() {
    let api = Api::start().await;
    let check = async |user: UserInfo, path: &str, schema: &str, level: &str| {
        let answer = read(api.open(user, get(path)).await).await;
        let uids = (
            uid(&api, &format!("flowschemas/{schema}")).await,
            uid(&api, &format!("prioritylevelconfigurations/{level}")).await,
        );
        assert_eq!(told(&answer), (uids.0.as_str(), uids.1.as_str()), "{schema}");
    };
    let lease = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n";
    check(UserInfo::api_server(), VERSION, "exempt", "exempt").await;
    check(UserInfo::anonymous(), "/healthz", "probes", "exempt").await;
    check(UserInfo::node("n"), lease, "system-node-high", "node-high").await;
    check(UserInfo::node("n"), "/api/v1/nodes/n", "system-node-high", "node-high").await;
    check(UserInfo::node("n"), "/api/v1/pods", "system-nodes", "system").await;
    check(UserInfo::controller("c"), lease, "system-leader-election", "leader-election").await;
    check(UserInfo::controller("c"), "/api/v1/pods", "kube-system-service-accounts", "workload-high").await;
    check(UserInfo::scheduler(), "/api/v1/pods", "kube-scheduler", "workload-high").await;
    check(UserInfo::service_account("a", "b"), "/api/v1/pods", "service-accounts", "workload-low").await;
    check(user("u"), "/api/v1/pods", "global-default", "global-default").await;
    check(UserInfo::anonymous(), "/api/v1/pods", "global-default", "global-default").await;
}

/// What Kubernetes' conformance tests of sig-api-machinery "API priority and fairness" do with either kind.
#[tokio::test]
async fn both_kinds_have_every_operation() {
    let api = Api::start().await;
    let rules = json!([{
        "subjects": [{"kind": "User", "user": {"name": "nobody"}}],
        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
    }]);
    let schema = json!({
        "matchingPrecedence": 10000, "priorityLevelConfiguration": {"name": "global-default"},
        "distinguisherMethod": {"type": "ByUser"}, "rules": rules,
    });
    let level = json!({
        "type": "Limited", "limited": {"nominalConcurrencyShares": 2, "limitResponse": {"type": REJECT}},
    });
    let fewer = json!({"limited": {"nominalConcurrencyShares": 4}});
    every_operation(&api, "flowschemas", schema, json!({"matchingPrecedence": 9999})).await;
    every_operation(&api, "prioritylevelconfigurations", level, fewer).await;
}

async fn every_operation(api: &Api, plural: &str, spec: Value, change: Value) {
    let all = format!("{FLOW_CONTROL}/{plural}");
    let labelled = format!("{all}?labelSelector=test%3Dyes");
    let mut names = Vec::new();
    for _ in 0..3 {
        let object = json!({"metadata": {"generateName": "e2e-", "labels": {"test": "yes"}}, "spec": spec});
        let made = api.post(&all, object).await.expect(201);
        names.push(made.body["metadata"]["name"].as_str().unwrap().to_owned());
    }
    let one = format!("{all}/{}", names[2]);
    let list = api.get(&labelled).await.expect(200);
    assert_eq!(list.names().len(), 3);
    let version = list.body["metadata"]["resourceVersion"].as_str().unwrap();
    let mut events = api.watch(&format!("{labelled}&watch=1&resourceVersion={version}"), "").await;
    let patch = json!({"metadata": {"annotations": {"patched": "true"}}, "spec": change});
    let patched = api.merge(&one, patch).await.expect(200);
    assert_eq!(patched.body["metadata"]["annotations"]["patched"], "true");
    loop {
        let event = events.next().await.unwrap();
        assert_eq!(event["type"], "MODIFIED");
        if event["object"]["metadata"]["annotations"]["patched"] == "true" {
            break;
        }
    }
    let condition =
        json!({"status": {"conditions": [{"type": "Failed", "status": "False", "reason": "e2e"}]}});
    let status = api.merge(&format!("{one}/status"), condition).await.expect(200);
    let conditions = status.body["status"]["conditions"].as_array().unwrap();
    assert!(conditions.iter().any(|condition| condition["type"] == "Failed"), "{conditions:?}");
    api.get(&format!("{one}/status")).await.expect(200);
    api.delete(&one, Value::Null).await.expect(200);
    api.get(&one).await.expect(404);
    assert_eq!(api.get(&labelled).await.names().len(), 2);
    api.delete(&labelled, Value::Null).await.expect(200);
    assert_eq!(api.get(&labelled).await.names().len(), 0);
}
