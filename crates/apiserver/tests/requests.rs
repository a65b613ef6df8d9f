//! Requests that ask for something else than they seem to, and what they may not do.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use std::future::poll_fn;
use std::pin::pin;

use common::{Answer, Api, config_map, pod};
use futures::poll;
use serde_json::{Value, json};
use skiff_apiserver::Limits;

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PODS: &str = "/api/v1/namespaces/default/pods";
const CONTROLLERS: &str = "/api/v1/namespaces/default/replicationcontrollers";
const HUGE: i64 = 99_999_999_999;

async fn api_with_pod() -> Api {
    let api = Api::start().await;
    api.make_default_account("default").await;
    api.post(PODS, pod("x")).await.expect(201);
    api
}

fn controller(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ReplicationController", "metadata": {"name": name},
        "spec": {"replicas": 0, "selector": {"app": "a"}, "template": {
            "metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": "i"}]},
        }},
    })
}

#[tokio::test]
async fn scale_takes_what_its_schema_takes() {
    let api = Api::start().await;
    api.post(CONTROLLERS, controller("x")).await.expect(201);
    let path = format!("{CONTROLLERS}/x/scale");
    let body = json!({"spec": {"replicas": HUGE}}).to_string();
    for content_type in ["application/merge-patch+json", "application/strategic-merge-patch+json"] {
        let refused = api.send("PATCH", &path, content_type, &body).await.expect(422);
        assert!(refused.message().contains("replicas of type int32"), "{}", refused.message());
    }
    let patch = json!([{"op": "replace", "path": "/spec/replicas", "value": HUGE}]).to_string();
    api.send("PATCH", &path, "application/json-patch+json", &patch).await.expect(422);
    api.merge(&path, json!({"spec": {"replicas": "x"}})).await.expect(422);
    let scale = |replicas: Value| json!({"metadata": {"name": "x"}, "spec": {"replicas": replicas}});
    api.put(&path, scale(HUGE.into())).await.expect(400);
    api.put(&path, scale((-1).into())).await.expect(422);
    api.put(&path, controller("x")).await.expect(400);
    api.put(&path, json!({"metadata": {"name": "y"}, "spec": {"replicas": 1}})).await.expect(400);
    let stored = api.get(&format!("{CONTROLLERS}/x")).await.expect(200);
    assert_eq!(stored.body["spec"]["replicas"], 0);
    api.merge(&path, json!({"spec": {"replicas": 3}})).await.expect(200);
    let stored = api.get(&format!("{CONTROLLERS}/x")).await.expect(200);
    assert_eq!(stored.body["spec"]["replicas"], 3);
}

#[tokio::test]
async fn a_dry_run_of_an_eviction_evicts_nothing() {
    let api = api_with_pod().await;
    let path = format!("{PODS}/x/eviction");
    let eviction = |options: Value| json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "x"}, "deleteOptions": options});
    api.post(&path, eviction(json!({"dryRun": ["All"]}))).await.expect(201);
    api.post(&format!("{path}?dryRun=All"), eviction(Value::Null)).await.expect(201);
    let untouched = api.get(&format!("{PODS}/x")).await.expect(200);
    assert_eq!(untouched.body["metadata"]["deletionTimestamp"], Value::Null);
    api.post(&path, eviction(json!({"propagationPolicy": "X"}))).await.expect(422);
    api.post(&path, eviction(json!({"preconditions": {"uid": "other"}}))).await.expect(409);
    api.post(&path, json!({"apiVersion": "policy/v1", "kind": "Pod", "metadata": {"name": "x"}}))
        .await
        .expect(400);
    api.get(&format!("{PODS}/x")).await.expect(200);
    api.post(&path, eviction(Value::Null)).await.expect(201);
    api.get(&format!("{PODS}/x")).await.expect(404);
}

#[tokio::test]
async fn a_body_that_is_no_delete_options_deletes_nothing() {
    let api = Api::start().await;
    api.post(CONFIG_MAPS, config_map("x")).await.expect(201);
    let wrong = [
        (json!({"kind": "Pod", "apiVersion": "v1"}), 400),
        (json!({"propagationPolicy": "Orphan", "orphanDependents": true}), 422),
        (json!({"propagationPolicy": "Sideways"}), 422),
        (json!({"dryRun": ["Some"]}), 422),
        (json!({"gracePeriodSeconds": "x"}), 400),
        (json!({"preconditions": "x"}), 400),
    ];
    for (options, code) in wrong {
        for path in [format!("{CONFIG_MAPS}/x"), CONFIG_MAPS.to_owned()] {
            let refused = api.delete(&path, options.clone()).await;
            assert_eq!(refused.status.as_u16(), code, "{options} {}", refused.text);
        }
    }
    api.send("DELETE", CONFIG_MAPS, "application/json", "{").await.expect(400);
    api.send("DELETE", CONFIG_MAPS, "text/plain", "x").await.expect(415);
    api.delete(&format!("{CONFIG_MAPS}/x"), json!({"dryRun": ["All"]})).await.expect(200);
    api.get(&format!("{CONFIG_MAPS}/x")).await.expect(200);
    let refused = api.delete(&format!("{CONFIG_MAPS}/x"), json!({"kind": "Pod", "apiVersion": "v1"})).await;
    assert_eq!(
        refused.message(),
        r#"no kind "Pod" is registered for version "v1" in scheme "pkg/runtime/scheme.go:111""#
    );
    let options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"});
    api.delete(&format!("{CONFIG_MAPS}/x"), options).await.expect(200);
    api.get(&format!("{CONFIG_MAPS}/x")).await.expect(404);
}

#[tokio::test]
async fn there_is_no_way_to_delete_all_namespaces() {
    let api = Api::start().await;
    let before = api.get("/api/v1/namespaces").await.names().len();
    api.delete("/api/v1/namespaces", Value::Null).await.expect(405);
    assert_eq!(api.get("/api/v1/namespaces").await.names().len(), before);
    let discovery = api.get("/api/v1").await;
    let resources = discovery.body["resources"].as_array().unwrap();
    let namespaces = resources.iter().find(|resource| resource["name"] == "namespaces").unwrap();
    assert!(!namespaces["verbs"].as_array().unwrap().contains(&json!("deletecollection")));
}

#[tokio::test]
async fn gated_pods_are_not_bound() {
    let api = api_with_pod().await;
    let mut gated = pod("gated");
    gated["spec"]["schedulingGates"] = json!([{"name": "example.com/wait"}]);
    api.post(PODS, gated).await.expect(201);
    let bind = |name: &str| json!({"metadata": {"name": name}, "target": {"kind": "Node", "name": "n"}});
    let refused = api.post(&format!("{PODS}/gated/binding"), bind("gated")).await.expect(409);
    assert_eq!(
        refused.message(),
        r#"Operation cannot be fulfilled on pods/binding "gated": pod gated has non-empty .spec.schedulingGates"#
    );
    api.post(&format!("{PODS}/x/binding"), bind("gated")).await.expect(400);
    api.post(&format!("{PODS}/x/binding"), bind("x")).await.expect(201);
}

#[tokio::test]
async fn a_binding_says_itself_of_which_pod_it_is() {
    const BINDINGS: &str = "/api/v1/namespaces/default/bindings";
    let api = api_with_pod().await;
    let bind = |name: &str| json!({"metadata": {"name": name}, "target": {"kind": "Node", "name": "n"}});
    api.post(BINDINGS, bind("none")).await.expect(404);
    api.post(BINDINGS, bind("")).await.expect(400);
    api.post(&format!("{BINDINGS}?dryRun=All"), bind("x")).await.expect(201);
    let made = api.post(BINDINGS, bind("x")).await.expect(201);
    assert_eq!(made.body["status"], "Success");
    assert_eq!(api.get(&format!("{PODS}/x")).await.expect(200).body["spec"]["nodeName"], "n");
    api.post(BINDINGS, bind("x")).await.expect(409);
    api.get(BINDINGS).await.expect(405);
}

#[tokio::test]
async fn options_that_make_no_sense_are_refused() {
    let api = Api::start().await;
    for (query, code) in
        [("timeout=invalid", 400), ("timeoutSeconds=x", 400), ("timeout=5s", 200), ("timeoutSeconds=5", 200)]
    {
        let answer = api.get(&format!("{CONFIG_MAPS}?{query}")).await;
        assert_eq!(answer.status.as_u16(), code, "{query} {}", answer.text);
    }
    api.post(CONFIG_MAPS, config_map("x")).await.expect(201);
    for (query, code) in [("", 200), ("0", 200), ("1", 200), ("abc", 500), ("999999999", 504)] {
        let answer = api.get(&format!("{CONFIG_MAPS}/x?resourceVersion={query}")).await;
        assert_eq!(answer.status.as_u16(), code, "{query} {}", answer.text);
    }
    api.merge(&format!("{CONFIG_MAPS}/x?force=true"), json!({"data": {"a": "2"}})).await.expect(422);
    api.merge(&format!("{CONFIG_MAPS}/x?fieldManager=a%07"), json!({"data": {"a": "2"}})).await.expect(422);
    assert_eq!(api.get(&format!("{CONFIG_MAPS}/x")).await.body["data"]["a"], "1");
    let slis = api.get("/metrics/slis").await.expect(200).text;
    assert!(slis.contains("kubernetes_healthcheck{name=\"ping\",type=\"readyz\"} 1"), "{slis}");
}

#[tokio::test]
async fn logs_are_asked_for_in_numbers_that_make_sense() {
    let api = api_with_pod().await;
    for (query, code) in [
        ("tailLines=-1", 422),
        ("tailLines=x", 400),
        ("sinceSeconds=0", 422),
        ("limitBytes=0", 422),
        ("sinceSeconds=5&sinceTime=2020-01-01T00:00:00Z", 422),
        ("stream=Stdout", 422),
        // There is nothing to show of a pod that runs nowhere.
        ("tailLines=0", 204),
    ] {
        let answer = api.get(&format!("{PODS}/x/log?{query}")).await;
        assert_eq!(answer.status.as_u16(), code, "{query} {}", answer.text);
    }
}

#[tokio::test]
async fn subresources_take_what_they_are_and_nothing_else() {
    let api = api_with_pod().await;
    api.post("/api/v1/namespaces", json!({"metadata": {"name": "n"}})).await.expect(201);
    let strict = "fieldValidation=Strict";
    let paths = [
        (format!("{PODS}/x/status"), "Pod"),
        (format!("{PODS}/x/ephemeralcontainers"), "Pod"),
        ("/api/v1/namespaces/n/finalize".to_owned(), "Namespace"),
        ("/api/v1/namespaces/n/status".to_owned(), "Namespace"),
    ];
    for (path, kind) in paths {
        let wrong = api.put(&path, json!({"apiVersion": "v1", "kind": "Nonsense"})).await.expect(400);
        let why =
            r#"no kind "Nonsense" is registered for version "v1" in scheme "pkg/runtime/scheme.go:111""#;
        let expected = format!(r#"Nonsense in version "v1" cannot be handled as a {kind}: {why}"#);
        assert_eq!(wrong.message(), expected, "{path}");
        let other = api.put(&path, json!({"apiVersion": "v1", "kind": "Secret"})).await.expect(400);
        assert!(other.message().ends_with("unknown conversion"), "{}", other.message());
        api.put(&path, json!({"apiVersion": "v9", "kind": kind})).await.expect(400);
        let unknown = json!({"metadata": {"name": path.split('/').nth_back(1)}, "none": 1});
        let refused = api.put(&format!("{path}?{strict}"), unknown).await.expect(400);
        assert!(refused.message().contains("unknown field \"none\""), "{}", refused.message());
    }
    for path in [format!("{PODS}/x/status"), format!("{PODS}/x/ephemeralcontainers")] {
        api.merge(&format!("{path}?{strict}"), json!({"none": 1})).await.expect(422);
        api.merge(&path, json!({"kind": "Nonsense"})).await.expect(422);
    }
    let finalizers = json!({"metadata": {"name": "n"}, "spec": {"finalizers": ["bad"]}});
    let refused = api.put("/api/v1/namespaces/n/finalize", finalizers).await.expect(422);
    assert_eq!(
        refused.message(),
        "Namespace \"n\" is invalid: spec.finalizers[0]: Invalid value: \"bad\": name is neither a standard finalizer name nor is it fully qualified"
    );
}

#[tokio::test]
async fn deletions_are_told_how_by_their_body_or_else_by_the_query() {
    let api = Api::start().await;
    api.post(CONFIG_MAPS, config_map("a")).await.expect(201);
    let path = format!("{CONFIG_MAPS}/a");
    api.delete(&format!("{path}?dryRun=All"), json!(null)).await.expect(200);
    api.delete(&path, json!({"dryRun": ["All"]})).await.expect(200);
    api.delete(&format!("{path}?dryRun=Some"), json!(null)).await.expect(422);
    api.get(&path).await.expect(200);
    // Beside a body the query means nothing, as in Kubernetes.
    api.delete(&format!("{path}?dryRun=All&propagationPolicy=Odd"), json!({})).await.expect(200);
    api.get(&path).await.expect(404);
}

#[tokio::test]
async fn a_deleted_pod_shows_its_end() {
    let api = api_with_pod().await;
    let gone = api.delete(&format!("{PODS}/x"), json!(null)).await.expect(200).body;
    assert!(gone["metadata"]["deletionTimestamp"].is_string(), "{gone}");
    assert_eq!(
        (&gone["metadata"]["deletionGracePeriodSeconds"], &gone["metadata"]["generation"]),
        (&json!(0), &json!(2))
    );
}

fn gated(name: &str, spec: Value) -> Value {
    let mut gated = pod(name);
    gated["spec"]["schedulingGates"] = json!([{"name": "example.com/g"}]);
    gated["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    gated
}

#[tokio::test]
async fn where_a_gated_pod_may_run_can_be_narrowed() {
    let api = api_with_pod().await;
    let required = |terms: Value| json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}});
    let has = |key: &str| json!({"key": key, "operator": "Exists"});
    let mut spec = required(json!([{"matchExpressions": [has("a")]}]));
    spec["nodeSelector"] = json!({"a": "1"});
    api.post(PODS, gated("g", spec)).await.expect(201);
    let path = format!("{PODS}/g");
    let check = async |spec: Value, code: u16, why: &str| {
        let answer = api.merge(&path, json!({"spec": spec})).await.expect(code);
        assert!(answer.message().contains(why), "{}", answer.message());
    };
    check(json!({"nodeSelector": {"b": "2"}}), 200, "").await;
    check(json!({"nodeSelector": {"a": "2"}}), 422, "only additions to spec.nodeSelector are allowed").await;
    check(json!({"nodeSelector": {"a": null}}), 422, "only additions to spec.nodeSelector are allowed").await;
    check(required(json!([{"matchExpressions": [has("a"), has("b")]}])), 200, "").await;
    let why = "nodeSelectorTerms[0]: Invalid value";
    check(required(json!([{"matchExpressions": [has("b")]}])), 422, why).await;
    let two = json!([{"matchExpressions": [has("a"), has("b")]}, {"matchExpressions": [has("c")]}]);
    check(required(two), 422, "no additions/deletions to non-empty NodeSelectorTerms list are allowed").await;
    check(json!({"schedulingGates": [{"name": "example.com/more"}]}), 422, "spec.schedulingGates[0].name")
        .await;
    check(json!({"hostname": "h"}), 422, "pod updates may not change fields other than").await;
    let free = api.merge(&format!("{PODS}/x"), json!({"spec": {"nodeSelector": {"a": "1"}}})).await;
    assert!(free.expect(422).message().contains("pod updates may not change fields other than"));
}

#[tokio::test]
async fn overhead_is_checked_before_its_class_is_missed() {
    let api = api_with_pod().await;
    let with = |amount: &str| {
        let mut pod = pod("o");
        pod["spec"]["overhead"] = json!({"cpu": amount});
        pod
    };
    let negative = api.post(PODS, with("-1")).await.expect(422);
    assert_eq!(
        negative.message(),
        "Pod \"o\" is invalid: spec.overhead.limits[cpu]: Invalid value: \"-1\": must be greater than or equal to 0"
    );
    let classless = api.post(PODS, with("1")).await.expect(403);
    assert!(classless.message().contains("Pod Overhead set without corresponding RuntimeClass"));
}

#[tokio::test]
async fn an_applied_object_may_name_a_revision_where_there_is_none() {
    let api = Api::start().await;
    let mut map = config_map("a");
    map["metadata"]["resourceVersion"] = json!("1");
    let apply = async |code: u16| {
        let path = format!("{CONFIG_MAPS}/a?fieldManager=m");
        api.send("PATCH", &path, "application/apply-patch+yaml", &map.to_string()).await.expect(code)
    };
    apply(201).await;
    apply(409).await;
    let post =
        api.post(CONFIG_MAPS, json!({"metadata": {"name": "b", "resourceVersion": "1"}})).await.expect(500);
    assert_eq!(post.message(), "resourceVersion should not be set on objects to be created");
}

#[tokio::test]
async fn what_is_always_there_is_there_when_nobody_wrote_it() {
    let api = Api::start().await;
    let node = api.post("/api/v1/nodes", json!({"metadata": {"name": "n"}})).await.expect(201).body;
    assert_eq!(
        node["spec"]["taints"],
        json!([{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}])
    );
    assert_eq!(node["status"]["daemonEndpoints"], json!({"kubeletEndpoint": {"Port": 0}}));
    assert_eq!(node["status"]["nodeInfo"]["kubeletVersion"], "");
    let slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
    let slice = json!({"metadata": {"name": "s"}, "addressType": "IPv4"});
    let slice = api.post(slices, slice).await.expect(201).body;
    assert_eq!((slice.get("endpoints"), slice.get("ports")), (Some(&json!(null)), Some(&json!(null))));
    let labelled = api.merge(&format!("{slices}/s"), json!({"metadata": {"labels": {"a": "b"}}})).await;
    assert_eq!(labelled.expect(200).body["metadata"]["generation"], 2);
    let event = json!({"metadata": {"name": "e"}, "involvedObject": {"namespace": "default"}});
    let event = api.post("/api/v1/namespaces/default/events", event).await.expect(201).body;
    assert_eq!((&event["source"], event.get("eventTime")), (&json!({}), Some(&json!(null))));
    let listed = api.get(slices).await.expect(200).body;
    assert_eq!((listed["items"][0].get("kind"), listed["kind"].as_str()), (None, Some("EndpointSliceList")));
}

#[tokio::test]
async fn json_is_indented_for_people() {
    let api = Api::start().await;
    let plain = api.get("/api/v1/namespaces/default").await.expect(200).text;
    assert_eq!(plain.trim().lines().count(), 1);
    let pretty = api.get("/api/v1/namespaces/default?pretty=true").await.expect(200);
    assert!(pretty.text.starts_with("{\n  \""), "{}", pretty.text);
    assert_eq!(pretty.body["metadata"]["name"], "default");
}

/// A pod whose containers have nothing that they need.
fn empty_containers(count: usize) -> Value {
    let mut pod = pod("x");
    pod["spec"]["containers"] = vec![json!({}); count].into();
    pod
}

#[tokio::test]
async fn of_many_errors_the_first_are_told() {
    let api = Api::start().await;
    api.make_default_account("default").await;
    let told = |answer: Answer| {
        let causes = answer.body["details"]["causes"].as_array().unwrap();
        let fields: Vec<&str> = causes.iter().map(|cause| cause["field"].as_str().unwrap()).collect();
        (causes.len(), fields[0].to_owned(), fields[causes.len() - 1].to_owned())
    };
    let few = told(api.post(PODS, empty_containers(2)).await.expect(422));
    // Of the second one it is also said that its empty name is that of the first.
    assert_eq!(few, (5, "spec.containers[0].name".to_owned(), "spec.containers[1].name".to_owned()));
    let many = told(api.post(PODS, empty_containers(40_000)).await.expect(422));
    assert_eq!(many, (1001, "spec.containers[0].name".to_owned(), "errors".to_owned()));
}

#[tokio::test]
async fn others_are_answered_while_a_large_body_waits() {
    let api = Api::with_limits(Limits { large: 0, ..Limits::default() }).await;
    api.make_default_account("default").await;
    let mut large = Box::pin(api.post(PODS, empty_containers(50_000)));
    assert!(poll!(&mut large).is_pending());
    let status = format!("{PODS}/x/status");
    let mut patch = Box::pin(api.merge(&status, empty_containers(50_000)));
    assert!(poll!(&mut patch).is_pending());
    api.get("/livez").await.expect(200);
    api.post(PODS, pod("x")).await.expect(201);
    assert!(poll!(&mut large).is_pending(), "no thread was lent to it");
    assert!(poll!(&mut patch).is_pending());
}

/// Formats that are made of trees; of JSON, that is indented.
const LONG_WORK: [&str; 4] = [
    "application/json;as=Table;v=v1;g=meta.k8s.io",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
    "application/json",
];

async fn three_config_maps(limits: Limits) -> Api {
    let api = Api::with_limits(limits).await;
    for name in ["a", "b", "c"] {
        let mut large = config_map(name);
        large["data"] = json!({"text": "x".repeat(30_000)});
        api.post(CONFIG_MAPS, large).await.expect(201);
    }
    api
}

#[tokio::test]
async fn others_are_answered_while_a_large_list_is_written() {
    let api = three_config_maps(Limits { large: 0, ..Limits::default() }).await;
    let path = format!("{CONFIG_MAPS}?pretty=true");
    let mut all: Vec<_> = LONG_WORK.iter().map(|accept| Box::pin(api.get_as(&path, accept))).collect();
    // More often than a list waits for the store.
    for _ in 0..10 {
        for (large, accept) in all.iter_mut().zip(LONG_WORK) {
            assert!(poll!(large).is_pending(), "{accept}: no thread was lent to it");
        }
        api.get("/livez").await.expect(200);
    }
    // Neither what is small nor what is sent as it is stored takes a thread.
    for accept in LONG_WORK {
        api.get_as(&format!("{path}&limit=2"), accept).await.expect(200);
    }
    assert_eq!(api.get(CONFIG_MAPS).await.expect(200).names().len(), 3);
}

#[tokio::test]
async fn a_large_list_is_written_in_every_format() {
    let api = three_config_maps(Limits { large: 1, ..Limits::default() }).await;
    for accept in LONG_WORK {
        let answer = api.get_as(&format!("{CONFIG_MAPS}?pretty=true"), accept).await.expect(200);
        let told = answer.headers["content-type"].to_str().unwrap().to_owned();
        assert!(accept.starts_with(told.split(';').next().unwrap()), "{accept}: {told}");
    }
    let one = api.get_as(&format!("{CONFIG_MAPS}/a"), "application/yaml").await.expect(200);
    assert!(one.text.contains("kind: ConfigMap\n"), "{}", one.text);
}

/// How often a future is asked until it is done.
async fn turns(future: impl Future) -> usize {
    let mut turns = 0;
    let mut future = pin!(future);
    poll_fn(|context| {
        turns += 1;
        future.as_mut().poll(context).map(drop)
    })
    .await;
    turns
}

#[tokio::test]
async fn others_have_their_turn_while_a_large_collection_is_searched() {
    let api = three_config_maps(Limits::default()).await;
    let search = async |plural: &str| {
        let path = format!("/api/v1/namespaces/default/{plural}?labelSelector=a");
        turns(async { assert!(api.get(&path).await.expect(200).names().is_empty()) }).await
    };
    assert!(search("configmaps").await > search("secrets").await);
}

#[tokio::test]
async fn others_are_answered_while_a_large_collection_is_looked_into() {
    let api = three_config_maps(Limits { large: 0, ..Limits::default() }).await;
    let selected = format!("{CONFIG_MAPS}?fieldSelector=metadata.name!%3Da");
    let watched = format!("{selected}&watch=1");
    let mut list = Box::pin(api.get(&selected));
    let mut watch = Box::pin(api.watch(&watched, "application/json"));
    let mut rows = api.watch(&format!("{CONFIG_MAPS}?watch=1"), LONG_WORK[0]).await;
    let mut row = Box::pin(rows.next());
    for _ in 0..10 {
        assert!(poll!(&mut list).is_pending(), "no thread was lent to it");
        assert!(poll!(&mut watch).is_pending(), "no thread was lent to it");
        assert!(poll!(&mut row).is_pending(), "no thread was lent to it");
        api.get("/livez").await.expect(200);
    }
    // What is told as it is stored, and what is to come, takes no thread.
    let mut plain = api.watch(&format!("{CONFIG_MAPS}?watch=1"), "application/json").await;
    assert_eq!(plain.next_name().await, "ADDED a");
    let revision =
        api.get(CONFIG_MAPS).await.body["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    let mut later = api.watch(&format!("{watched}&resourceVersion={revision}"), "application/json").await;
    api.merge(&format!("{CONFIG_MAPS}/b"), json!({"data": {"a": "2"}})).await.expect(200);
    assert_eq!(later.next_name().await, "MODIFIED b");
}

#[tokio::test]
async fn a_watch_begins_with_much_in_every_format() {
    let api = three_config_maps(Limits { large: 1, ..Limits::default() }).await;
    let mut selected = api
        .watch(&format!("{CONFIG_MAPS}?watch=1&fieldSelector=metadata.name!%3Da"), "application/json")
        .await;
    assert_eq!(selected.next_name().await, "ADDED b");
    assert_eq!(selected.next_name().await, "ADDED c");
    let mut rows = api.watch(&format!("{CONFIG_MAPS}?watch=1"), LONG_WORK[0]).await;
    for name in ["a", "b", "c"] {
        let event = rows.next().await.unwrap();
        assert_eq!(
            (&event["type"], &event["object"]["rows"][0]["cells"][0]),
            (&json!("ADDED"), &json!(name))
        );
    }
    api.merge(&format!("{CONFIG_MAPS}/b"), json!({"data": {"a": "2"}})).await.expect(200);
    assert_eq!(rows.next().await.unwrap()["object"]["rows"][0]["cells"][0], "b");
}

/// The Pod Security Standards: labels of a namespace refuse pods, warn of templates, and look at the pods that are there.
#[tokio::test]
async fn a_namespace_asks_its_pods_for_a_level() {
    let api = api_with_pod().await;
    let namespace = "/api/v1/namespaces/default";
    let labelled = |mode: &str, level: &str| {
        let label = format!("pod-security.kubernetes.io/{mode}");
        json!({"metadata": {"labels": {label: level}}})
    };
    api.merge(namespace, labelled("enforce", "strict")).await.expect(422);
    let tightened = api.merge(namespace, labelled("enforce", "restricted")).await.expect(200);
    let warnings = tightened.warnings();
    assert!(
        warnings[0]
            .contains(r#"existing pods in namespace \"default\" violate the new PodSecurity enforce level"#),
        "{warnings:?}"
    );
    assert!(warnings[1].contains("x: allowPrivilegeEscalation != false"), "{warnings:?}");
    let refused = api.post(PODS, pod("y")).await.expect(403);
    let start = r#"pods "y" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false (container "main""#;
    assert!(refused.message().starts_with(start), "{}", refused.message());
    api.post(&format!("{PODS}?dryRun=All"), pod("y")).await.expect(403);
    // What is there may go on changing in what is not asked about.
    api.merge(&format!("{PODS}/x"), json!({"metadata": {"labels": {"a": "b"}}})).await.expect(200);

    api.merge(namespace, labelled("warn", "baseline")).await.expect(200);
    let mut workload = controller("w");
    workload["spec"]["template"]["spec"]["hostNetwork"] = true.into();
    let made = api.post(CONTROLLERS, workload).await.expect(201);
    assert!(
        made.warnings()[0].contains(r#"would violate PodSecurity \"baseline:latest\": host namespaces"#),
        "{:?}",
        made.warnings()
    );
}
