//! LIST and WATCH: selectors, pages, revisions, bookmarks, Tables.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use common::{Api, config_map, pod};
use serde_json::{Value, json};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PODS: &str = "/api/v1/namespaces/default/pods";
const JSON: &str = "application/json";
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

fn labelled(name: &str, app: &str) -> Value {
    let mut body = config_map(name);
    body["metadata"]["labels"] = json!({"app": app});
    body
}

#[tokio::test]
async fn selects_by_labels_and_fields() {
    let api = Api::start().await;
    for (name, app) in [("a", "x"), ("b", "y"), ("c", "x")] {
        api.post(MAPS, labelled(name, app)).await.expect(201);
    }
    let check = async |query: &str, expected: &[&str]| {
        assert_eq!(api.get(&format!("{MAPS}?{query}")).await.expect(200).names(), expected, "{query}");
    };
    check("", &["a", "b", "c"]).await;
    check("labelSelector=app%3Dx", &["a", "c"]).await;
    check("labelSelector=app+in+(y),app", &["b"]).await;
    check("fieldSelector=metadata.name%3Db", &["b"]).await;
    check("fieldSelector=metadata.name!%3Db", &["a", "c"]).await;
    check("fieldSelector=metadata.name%3Db&labelSelector=app%3Dx", &[]).await;
    let all = api.get("/api/v1/configmaps?fieldSelector=metadata.namespace%3Ddefault").await.expect(200);
    assert_eq!(all.names(), ["a", "b", "c"]);
    assert_eq!(all.body["kind"], "ConfigMapList");
    api.get(&format!("{MAPS}?fieldSelector=spec.foo%3Db")).await.expect(400);
    api.get(&format!("{MAPS}?labelSelector=a+b+c")).await.expect(400);
}

/// Who watches a selection is shown what has left it as it was, at the revision at which it left.
#[tokio::test]
async fn what_has_left_a_selection_is_shown_as_it_was() {
    let api = Api::start().await;
    api.post(MAPS, labelled("a", "x")).await.expect(201);
    let mut watch = api.watch(&format!("{MAPS}?watch=1&labelSelector=app%3Dx"), TABLE).await;
    assert_eq!(watch.next().await.unwrap()["type"], "ADDED");
    let path = format!("{MAPS}/a");
    let left = api.merge(&path, json!({"metadata": {"labels": {"app": "y"}}})).await.expect(200).body;
    let event = watch.next().await.unwrap();
    let metadata = &event["object"]["rows"][0]["object"]["metadata"];
    assert_eq!((&event["type"], &metadata["labels"]), (&json!("DELETED"), &json!({"app": "x"})));
    assert_eq!(metadata["resourceVersion"], left["metadata"]["resourceVersion"]);
    let patched = api.merge(&path, json!({"data": {"a": "2"}})).await.expect(200).body;
    assert_eq!(
        (&patched["metadata"]["labels"], &patched["data"]),
        (&json!({"app": "y"}), &json!({"a": "2"}))
    );
}

#[tokio::test]
async fn pages_are_of_one_revision() {
    let api = Api::start().await;
    for name in ["a", "b", "c", "d", "e"] {
        api.post(MAPS, labelled(name, if name < "d" { "x" } else { "y" })).await.expect(201);
    }
    let first = api.get(&format!("{MAPS}?limit=2")).await.expect(200);
    assert_eq!(first.names(), ["a", "b"]);
    assert_eq!(first.body["metadata"]["remainingItemCount"], 3);
    api.delete(&format!("{MAPS}/c"), json!(null)).await.expect(200);
    let token = first.body["metadata"]["continue"].as_str().unwrap();
    let second = api.get(&format!("{MAPS}?limit=2&continue={token}")).await.expect(200);
    assert_eq!(second.names(), ["c", "d"], "the page shows the revision of the first one");
    assert_eq!(second.body["metadata"]["resourceVersion"], first.body["metadata"]["resourceVersion"]);
    let token = second.body["metadata"]["continue"].as_str().unwrap();
    let last = api.get(&format!("{MAPS}?limit=2&continue={token}")).await.expect(200);
    assert_eq!(last.names(), ["e"]);
    assert!(last.body["metadata"].get("continue").is_none());

    let selected = api.get(&format!("{MAPS}?limit=1&labelSelector=app%3Dx")).await.expect(200);
    assert_eq!(selected.names(), ["a"]);
    assert!(selected.body["metadata"].get("remainingItemCount").is_none());
    let nonsense = api.get(&format!("{MAPS}?limit=2&continue=a*b")).await.expect(400);
    let why = "invalid continue token: continue key is not valid: illegal base64 data at input byte 1";
    assert_eq!(nonsense.message(), why);
}

#[tokio::test]
async fn revisions_that_are_gone_or_to_come() {
    let api = Api::start().await;
    api.post(MAPS, config_map("a")).await.expect(201);
    let future = api.get(&format!("{MAPS}?resourceVersion=99999")).await.expect(504);
    assert_eq!(future.body["details"]["causes"][0]["reason"], "ResourceVersionTooLarge");
    let then = api.get(MAPS).await.body["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    api.post(MAPS, config_map("b")).await.expect(201);
    api.delete(&format!("{MAPS}/a"), json!(null)).await.expect(200);
    let exact = format!("{MAPS}?resourceVersion={then}&resourceVersionMatch=Exact");
    let list = api.get(&exact).await.expect(200);
    assert_eq!((list.names(), &list.body["metadata"]["resourceVersion"]), (vec!["a"], &json!(then)));
    api.store.compact(api.store.revision()).await.unwrap();
    assert_eq!(api.get(&exact).await.expect(410).body["reason"], "Expired");
    api.get(&format!("{MAPS}?sendInitialEvents=true")).await.expect(422);
    api.get(&format!("{MAPS}?resourceVersion=1&resourceVersionMatch=NotOlderThan")).await.expect(200);
    api.get(&format!("{MAPS}?resourceVersionMatch=Exact")).await.expect(422);
    api.get(&format!("{MAPS}?resourceVersion=x")).await.expect(400);
}

/// What was listed in part goes on without its revision, when that is gone and the client agrees.
#[tokio::test]
async fn a_list_goes_on_inconsistently_when_told_so() {
    let api = Api::start().await;
    for name in ["a", "b", "c"] {
        api.post(MAPS, config_map(name)).await.expect(201);
    }
    let revision = api.store.revision();
    api.delete(&format!("{MAPS}/b"), json!(null)).await.expect(200);
    let first = api.get(&format!("{MAPS}?limit=1&resourceVersion={revision}")).await.expect(200);
    assert_eq!(first.names(), ["a"]);
    let token = first.body["metadata"]["continue"].as_str().unwrap();
    let rest = api.get(&format!("{MAPS}?continue={token}")).await.expect(200);
    assert_eq!(rest.names(), ["b", "c"], "of the revision that was asked for");
    api.store.compact(api.store.revision()).await.unwrap();
    let gone = api.get(&format!("{MAPS}?continue={token}")).await.expect(410);
    let token = gone.body["metadata"]["continue"].as_str().unwrap();
    assert_eq!(api.get(&format!("{MAPS}?continue={token}")).await.expect(200).names(), ["c"]);
}

#[tokio::test]
async fn a_nodes_pods_are_listed_and_watched() {
    let api = Api::start().await;
    api.make_default_account("default").await;
    let on = |name: &str, node: Option<&str>, app: &str| {
        let mut pod = pod(name);
        pod["spec"]["nodeName"] = json!(node);
        pod["metadata"]["labels"] = json!({"app": app});
        pod
    };
    let all = "/api/v1/pods?watch=1&fieldSelector=spec.nodeName%3Dn1";
    let mut watch = api.watch(all, JSON).await;
    for (name, node, app) in [
        ("a", Some("n1"), "x"),
        ("b", Some("n2"), "x"),
        ("c", Some("n1"), "y"),
        ("d", None, "x"),
        ("e", Some("n1"), "x"),
    ] {
        api.post(PODS, on(name, node, app)).await.expect(201);
    }
    let check = async |query: &str, expected: &[&str]| {
        let list = api.get(&format!("{PODS}?{query}")).await.expect(200);
        assert_eq!(list.names(), expected, "{query}");
        assert!(list.body["metadata"].get("remainingItemCount").is_none(), "{query}");
        list.body["metadata"]["continue"].as_str().unwrap_or_default().to_owned()
    };
    check("fieldSelector=spec.nodeName%3Dn1", &["a", "c", "e"]).await;
    check("fieldSelector=spec.nodeName%3D", &["d"]).await;
    check("fieldSelector=spec.nodeName%3Dnone", &[]).await;
    check("fieldSelector=spec.nodeName!%3Dn1", &["b", "d"]).await;
    check("fieldSelector=spec.nodeName%3Dn1,spec.nodeName%3Dn2", &[]).await;
    check("fieldSelector=spec.nodeName%3Dn1&labelSelector=app%3Dx", &["a", "e"]).await;
    check("fieldSelector=spec.nodeName%3Dn1,metadata.name%3Dc", &["c"]).await;
    check("fieldSelector=spec.nodeName%3Dn1,metadata.namespace%3Dother", &[]).await;
    let token = check("fieldSelector=spec.nodeName%3Dn1&limit=2", &["a", "c"]).await;
    check(&format!("fieldSelector=spec.nodeName%3Dn1&limit=2&continue={token}"), &["e"]).await;

    let binding = json!({"metadata": {"name": "d"}, "target": {"kind": "Node", "name": "n1"}});
    api.post(&format!("{PODS}/d/binding"), binding).await.expect(201);
    api.delete(&format!("{PODS}/b?gracePeriodSeconds=0"), json!(null)).await.expect(200);
    api.delete(&format!("{PODS}/c?gracePeriodSeconds=0"), json!(null)).await.expect(200);
    for expected in ["ADDED a", "ADDED c", "ADDED e", "ADDED d", "DELETED c"] {
        assert_eq!(watch.next_name().await, expected);
    }
    check("fieldSelector=spec.nodeName%3Dn1", &["a", "d", "e"]).await;
}

/// A list that is larger than a chunk is the same, however it is sent.
#[tokio::test]
async fn large_lists_are_whole() {
    let api = Api::start().await;
    let names: Vec<String> = (0..40).map(|number| format!("m-{number:02}")).collect();
    for name in &names {
        let mut map = labelled(name, "x");
        map["data"] = json!({"a": name.repeat(1500)});
        api.post(MAPS, map).await.expect(201);
    }
    let metadata = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
    let table = api.get_as(&format!("{MAPS}?labelSelector=app%3Dx&includeObject=Object"), TABLE).await;
    let rows = table.expect(200).body["rows"].as_array().unwrap().clone();
    let told: Vec<&str> = rows.iter().map(|row| row["cells"][0].as_str().unwrap()).collect();
    assert_eq!(told, names);
    for accept in [JSON, metadata, "application/yaml"] {
        let list = api.get_as(&format!("{MAPS}?labelSelector=app%3Dx"), accept).await.expect(200);
        let found: Vec<bool> = names.iter().map(|name| list.text.contains(&name.repeat(1500))).collect();
        assert!(found.iter().all(|whole| *whole == (accept != metadata)), "{accept}");
        if accept != "application/yaml" {
            assert_eq!(list.names(), names);
        }
    }
}

#[tokio::test]
async fn watches_from_the_lists_revision() {
    let api = Api::start().await;
    api.post(MAPS, config_map("a")).await.expect(201);
    let list = api.get(MAPS).await;
    let revision = list.body["metadata"]["resourceVersion"].as_str().unwrap();
    let mut events = api.watch(&format!("{MAPS}?watch=true&resourceVersion={revision}"), JSON).await;
    api.post(MAPS, config_map("b")).await.expect(201);
    api.merge(&format!("{MAPS}/a"), json!({"data": {"a": "2"}})).await.expect(200);
    api.delete(&format!("{MAPS}/b"), json!(null)).await.expect(200);
    assert_eq!(events.next_name().await, "ADDED b");
    assert_eq!(events.next_name().await, "MODIFIED a");
    assert_eq!(events.next_name().await, "DELETED b");
}

#[tokio::test]
async fn watches_from_nowhere_begin_with_what_is_there() {
    let api = Api::start().await;
    api.post(MAPS, config_map("a")).await.expect(201);
    for query in ["watch=1", "watch=1&resourceVersion=0"] {
        let mut events = api.watch(&format!("{MAPS}?{query}"), JSON).await;
        assert_eq!(events.next_name().await, "ADDED a", "{query}");
    }
    let query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut events = api.watch(&format!("{MAPS}?{query}"), JSON).await;
    assert_eq!(events.next_name().await, "ADDED a");
    let bookmark = events.next().await.unwrap();
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert_eq!(bookmark["object"]["kind"], "ConfigMap");
    assert_eq!(bookmark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    api.post(MAPS, config_map("b")).await.expect(201);
    assert_eq!(events.next_name().await, "ADDED b");
    api.get(&format!("{MAPS}?watch=1&sendInitialEvents=true")).await.expect(422);
}

#[tokio::test]
async fn selectors_turn_changes_into_additions_and_deletions() {
    let api = Api::start().await;
    let mut events = api.watch(&format!("{MAPS}?watch=1&labelSelector=app%3Dx"), JSON).await;
    let mut named = api.watch(&format!("{MAPS}?watch=1&fieldSelector=metadata.name%3Db"), JSON).await;
    api.post(MAPS, labelled("a", "y")).await.expect(201);
    api.post(MAPS, labelled("b", "x")).await.expect(201);
    api.merge(&format!("{MAPS}/a"), json!({"metadata": {"labels": {"app": "x"}}})).await.expect(200);
    api.merge(&format!("{MAPS}/b"), json!({"metadata": {"labels": {"app": "y"}}})).await.expect(200);
    assert_eq!(events.next_name().await, "ADDED b");
    assert_eq!(events.next_name().await, "ADDED a");
    let deleted = events.next().await.unwrap();
    assert_eq!((&deleted["type"], &deleted["object"]["metadata"]["name"]), (&json!("DELETED"), &json!("b")));
    assert_eq!(deleted["object"]["metadata"]["labels"]["app"], "x", "as it last matched");
    let current = api.get(&format!("{MAPS}/b")).await.body;
    assert_eq!(deleted["object"]["metadata"]["resourceVersion"], current["metadata"]["resourceVersion"]);
    assert_eq!(named.next_name().await, "ADDED b");
    assert_eq!(named.next_name().await, "MODIFIED b");
}

#[tokio::test]
async fn watches_end_in_time_and_say_when_they_are_too_late() {
    let api = Api::start().await;
    api.post(MAPS, config_map("a")).await.expect(201);
    let mut events = api.watch(&format!("{MAPS}?watch=1&timeoutSeconds=1"), JSON).await;
    assert_eq!(events.next_name().await, "ADDED a");
    assert!(events.next().await.is_none());
    let query = "watch=1&timeoutSeconds=3&allowWatchBookmarks=true&sendInitialEvents=false";
    let mut marked = api.watch(&format!("{MAPS}?{query}&resourceVersionMatch=NotOlderThan"), JSON).await;
    let bookmark = marked.next().await.unwrap();
    assert_eq!(bookmark["type"], "BOOKMARK", "a watch that is about to end says how far it was");
    assert_eq!(bookmark["object"]["metadata"]["resourceVersion"], api.store.revision().to_string());
    assert!(marked.next().await.is_none());
    api.store.compact(api.store.revision()).await.unwrap();
    let mut late = api.watch(&format!("{MAPS}?watch=1&resourceVersion=1"), JSON).await;
    let error = late.next().await.unwrap();
    assert_eq!((&error["type"], &error["object"]["code"]), (&json!("ERROR"), &json!(410)));
    assert_eq!(error["object"]["reason"], "Expired");
    assert!(late.next().await.is_none());
}

#[tokio::test]
async fn tables_for_people() {
    let api = Api::start().await;
    api.make_default_account("default").await;
    api.post(PODS, pod("p")).await.expect(201);
    let table = api.get_as(&format!("{PODS}?limit=500"), TABLE).await.expect(200).body;
    assert_eq!((&table["kind"], &table["apiVersion"]), (&json!("Table"), &json!("meta.k8s.io/v1")));
    assert_eq!(table["columnDefinitions"][0]["name"], "Name");
    assert_eq!(table["rows"][0]["cells"][0], "p");
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    let revision = table["metadata"]["resourceVersion"].as_str().unwrap();
    let one = api.get_as(&format!("{PODS}/p"), TABLE).await.expect(200).body;
    assert_eq!(one["rows"][0]["cells"][0], "p");
    let full = api.get_as(&format!("{PODS}?includeObject=Object"), TABLE).await.expect(200).body;
    assert_eq!(full["rows"][0]["object"]["kind"], "Pod");

    let mut events = api.watch(&format!("{PODS}?watch=true&resourceVersion={revision}"), TABLE).await;
    api.post(PODS, pod("q")).await.expect(201);
    api.delete(&format!("{PODS}/q?gracePeriodSeconds=0"), json!(null)).await.expect(200);
    let added = events.next().await.unwrap();
    assert_eq!((&added["type"], &added["object"]["kind"]), (&json!("ADDED"), &json!("Table")));
    assert!(!added["object"]["columnDefinitions"].as_array().unwrap().is_empty());
    let deleted = events.next().await.unwrap();
    assert_eq!(
        (&deleted["type"], &deleted["object"]["rows"][0]["cells"][0]),
        (&json!("DELETED"), &json!("q"))
    );
}

#[tokio::test]
async fn metadata_only() {
    let api = Api::start().await;
    api.post(MAPS, config_map("a")).await.expect(201);
    let accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";
    let list = api.get_as(MAPS, accept).await.expect(200);
    assert_eq!(list.body["kind"], "PartialObjectMetadataList");
    assert_eq!(list.names(), ["a"]);
    assert!(list.body["items"][0].get("data").is_none());
    let accept = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
    let one = api.get_as(&format!("{MAPS}/a"), accept).await.expect(200);
    assert_eq!(one.body["kind"], "PartialObjectMetadata");
}

#[tokio::test]
async fn what_has_no_such_view_is_refused() {
    let api = Api::start().await;
    api.post(MAPS, config_map("a")).await.expect(201);
    let partial = |kind: &str| format!("application/json;as={kind};g=meta.k8s.io;v=v1");
    let list = api.get_as(MAPS, &partial("PartialObjectMetadata")).await.expect(406);
    assert_eq!(
        list.message(),
        "you requested PartialObjectMetadata, but the requested object is a list (*core.ConfigMapList)"
    );
    assert_eq!(list.body["reason"], "NotAcceptable");
    let one = api.get_as(&format!("{MAPS}/a"), &partial("PartialObjectMetadataList")).await.expect(406);
    assert_eq!(
        one.message(),
        "you requested PartialObjectMetadataList, but the requested object is not a list (*core.ConfigMap)"
    );
    api.get_as(MAPS, &partial("Odd")).await.expect(406);
    let review = json!({"spec": {"nonResourceAttributes": {"path": "/", "verb": "get"}}}).to_string();
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let table_alone = TABLE.split(',').next().unwrap();
    for (accept, code) in [(table_alone, 406), (TABLE, 201)] {
        let request = http::Request::post(path).header("accept", accept);
        api.request(request.body(review.clone().into()).unwrap()).await.expect(code);
    }
}

#[tokio::test]
async fn scales_have_a_table_of_their_own() {
    let api = Api::start().await;
    let controllers = "/api/v1/namespaces/default/replicationcontrollers";
    let controller = json!({"metadata": {"name": "r"}, "spec": {"replicas": 3, "selector": {"app": "kubia"}, "template": {
        "metadata": {"labels": {"app": "kubia"}}, "spec": {"containers": [{"name": "main", "image": "i"}]}}}});
    api.post(controllers, controller).await.expect(201);
    let table = api.get_as(&format!("{controllers}/r/scale"), TABLE).await.expect(200).body;
    let names: Vec<_> = table["columnDefinitions"].as_array().unwrap().iter().map(|c| &c["name"]).collect();
    assert_eq!(names, ["Name", "Desired", "Available", "Age"]);
    assert_eq!(table["rows"][0]["cells"].as_array().unwrap()[..3], [json!("r"), json!(3), json!(0)]);
    let yaml = api.get_as(&format!("{controllers}/r/scale"), "application/yaml").await.expect(200);
    assert!(yaml.text.contains("kind: Scale"), "{}", yaml.text);
}

#[tokio::test]
async fn a_watch_is_not_sent_as_yaml() {
    let api = Api::start().await;
    let path = "/api/v1/namespaces/default/configmaps?watch=1";
    let refused = api.get_as(path, "application/yaml").await.expect(406);
    // Written as Kubernetes' YAML is: in lines of 80 columns.
    let lines = "only the following media types are accepted: application/json;stream=watch,\n  \
                 application/vnd.kubernetes.protobuf;stream=watch";
    assert!(refused.text.contains(lines), "{}", refused.text);
    let in_time = "/api/v1/namespaces/default/configmaps?watch=1&timeoutSeconds=1";
    api.get_as(in_time, "application/json, application/yaml").await.expect(200);
}

/// However large a list is, it takes the memory of a chunk, and of the objects of which that is made.
#[tokio::test]
async fn large_tables_come_in_chunks() {
    let api = Api::start().await;
    for number in 0..12 {
        let mut map = labelled(&format!("m-{number:02}"), "x");
        map["data"] = json!({"a": "x".repeat(16 * 1024)});
        api.post(MAPS, map).await.expect(201);
    }
    for (include, least) in [("Object", 3), ("None", 2)] {
        let parts = api.parts_of(&format!("{MAPS}?includeObject={include}"), TABLE).await;
        assert!(parts.len() >= least, "{include}: {} parts", parts.len());
        assert!(parts.iter().all(|part| part.len() < 96 * 1024), "{include}");
        let table: Value = serde_json::from_slice(&parts.concat()).unwrap();
        assert_eq!(table["rows"].as_array().unwrap().len(), 12);
    }
}
