//! Create, read, update, patch and delete, in Kubernetes' words.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{Answer, Api, config_map, pod, service};
use serde_json::json;
use skiff_apiserver::Concern;
use skiff_machinery::openapi::{Dialect, Encoding};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PODS: &str = "/api/v1/namespaces/default/pods";
const SERVICES: &str = "/api/v1/namespaces/default/services";

#[tokio::test]
async fn creates_reads_and_refuses_to_create_twice() {
    let api = Api::start().await;
    let made = api.post(MAPS, config_map("a")).await.expect(201);
    let metadata = &made.body["metadata"];
    assert_eq!(made.body["kind"], "ConfigMap");
    assert_eq!(metadata["namespace"], "default");
    assert!(!metadata["uid"].as_str().unwrap().is_empty());
    assert!(metadata["creationTimestamp"].as_str().unwrap().ends_with('Z'));
    assert_eq!(metadata["managedFields"][0]["operation"], "Update");
    let read = api.get(&format!("{MAPS}/a")).await.expect(200);
    assert_eq!(read.body, made.body);
    let again = api.post(MAPS, config_map("a")).await.expect(409);
    assert_eq!(again.message(), r#"configmaps "a" already exists"#);
    assert_eq!(again.body["reason"], "AlreadyExists");
    let missing = api.get(&format!("{MAPS}/b")).await.expect(404);
    assert_eq!(missing.message(), r#"configmaps "b" not found"#);
    assert_eq!(missing.body["details"], json!({"name": "b", "kind": "configmaps"}));
}

#[tokio::test]
async fn writers_do_not_own_what_the_server_adds() {
    let api = Api::start().await;
    api.make_default_account("default").await;
    let check = async |path: &str, body: serde_json::Value, owned: &str| {
        let made = api.post(path, body).await.expect(201);
        let managed = made.body["metadata"]["managedFields"].as_array().unwrap();
        assert_eq!(managed.len(), 1, "{managed:?}");
        let fields = managed[0]["fieldsV1"].as_object().unwrap();
        assert!(!fields.contains_key("f:status"));
        let spec: Vec<&String> = fields["f:spec"].as_object().unwrap().keys().collect();
        assert_eq!(spec, owned.split(' ').collect::<Vec<_>>());
    };
    let mut body = pod("a");
    body["status"] = json!({"phase": "Running"});
    // Neither the tolerations and the volume that admission adds...
    check(
        PODS,
        body,
        "f:containers f:dnsPolicy f:enableServiceLinks f:restartPolicy f:schedulerName f:securityContext \
         f:terminationGracePeriodSeconds",
    )
    .await;
    // ... nor the address that is allocated.
    let owned = "f:internalTrafficPolicy f:ports f:selector f:sessionAffinity f:type";
    check(SERVICES, service("s"), owned).await;
}

#[tokio::test]
async fn generates_names() {
    let api = Api::start().await;
    let body = json!({"metadata": {"generateName": "web-"}});
    let made = api.post(MAPS, body).await.expect(201);
    let name = made.body["metadata"]["name"].as_str().unwrap();
    assert!(name.starts_with("web-") && name.len() == 9, "{name}");
}

#[tokio::test]
async fn bodies_may_be_yaml() {
    let api = Api::start().await;
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: yam\ndata:\n  a: \"1\"\n";
    let made = api.send("POST", MAPS, "application/yaml", yaml).await.expect(201);
    assert_eq!(made.body["data"]["a"], "1");
    let refused = api.send("POST", MAPS, "text/csv", "a,b").await.expect(415);
    assert_eq!(refused.body["reason"], "UnsupportedMediaType");
}

#[tokio::test]
async fn keys_that_yaml_repeats_are_refused_warned_of_or_ignored() {
    let api = Api::start().await;
    let yaml = |name: &str| {
        format!(
            "\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata:\n  a: \"1\"\n  a: \"2\"\n"
        )
    };
    let problem = "yaml: unmarshal errors:\n  line 8: key \"a\" already set in map";
    let strict = format!("{MAPS}?fieldValidation=Strict");
    let refused = api.send("POST", &strict, "application/yaml", &yaml("a")).await.expect(400);
    let expected = format!(
        "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: {problem}"
    );
    assert_eq!(refused.message(), expected);
    let warned = api.send("POST", MAPS, "application/yaml", &yaml("b")).await.expect(201);
    assert_eq!(warned.body["data"]["a"], "2");
    let warning = r#"299 - "line 8: key \"a\" already set in map""#;
    assert_eq!(warned.warnings(), [warning]);
    let ignored = format!("{MAPS}?fieldValidation=Ignore");
    assert!(
        api.send("POST", &ignored, "application/yaml", &yaml("c")).await.expect(201).warnings().is_empty()
    );
    let apply = "application/apply-patch+yaml";
    let strict = format!("{MAPS}/d?fieldManager=m&fieldValidation=Strict");
    let refused = api.send("PATCH", &strict, apply, &yaml("d")).await.expect(400);
    let expected = format!("error strict decoding YAML: error converting YAML to JSON: {problem}");
    assert_eq!(refused.message(), expected);
    let warned = api.send("PATCH", &format!("{MAPS}/d?fieldManager=m"), apply, &yaml("d")).await.expect(201);
    assert_eq!(warned.body["data"]["a"], "2");
    assert_eq!(warned.warnings(), [warning]);
}

#[tokio::test]
async fn unknown_fields_are_refused_warned_of_or_ignored() {
    let api = Api::start().await;
    let body = |name: &str| {
        let mut body = service(name);
        body["spec"]["foo"] = json!(1);
        body
    };
    let strict = api.post(&format!("{SERVICES}?fieldValidation=Strict"), body("a")).await.expect(400);
    assert_eq!(
        strict.message(),
        r#"Service in version "v1" cannot be handled as a Service: strict decoding error: unknown field "spec.foo""#
    );
    let warned = api.post(SERVICES, body("b")).await.expect(201);
    assert_eq!(warned.warnings(), [r#"299 - "unknown field \"spec.foo\"""#]);
    assert!(warned.body["spec"].get("foo").is_none());
    let ignored = api.post(&format!("{SERVICES}?fieldValidation=Ignore"), body("c")).await.expect(201);
    assert!(ignored.warnings().is_empty());
}

#[tokio::test]
async fn bad_bodies_change_nothing() {
    let api = Api::start().await;
    let check = async |body: serde_json::Value, code: u16, part: &str| {
        let answer = api.post(SERVICES, body).await.expect(code);
        assert!(answer.message().contains(part), "{}", answer.message());
    };
    check(json!({"kind": "Pod", "metadata": {"name": "a"}}), 400, "cannot be handled as a Service").await;
    check(
        json!({"apiVersion": "v2", "metadata": {"name": "a"}}),
        400,
        "Service in version \"v2\" cannot be handled as a Service: no kind \"Service\" is registered for version \"v2\"",
    )
    .await;
    check(
        json!({"metadata": {"name": "a", "namespace": "x"}}),
        400,
        "the namespace of the provided object does not match",
    )
    .await;
    check(json!({"metadata": {}}), 422, "metadata.name: Required value: name or generateName is required")
        .await;
    check(json!({"metadata": {"name": "a"}, "spec": {}}), 422, "spec.ports: Required value").await;
    assert!(api.get(SERVICES).await.names().is_empty());
}

#[tokio::test]
async fn namespaces_must_exist_and_stay() {
    let api = Api::start().await;
    let missing = api.post("/api/v1/namespaces/none/configmaps", config_map("a")).await.expect(404);
    assert_eq!(missing.message(), r#"namespaces "none" not found"#);
    api.post("/api/v1/namespaces", json!({"metadata": {"name": "n"}})).await.expect(201);
    let ending = api.delete("/api/v1/namespaces/n", json!(null)).await.expect(200);
    assert_eq!(ending.body["status"]["phase"], "Terminating");
    let refused = api.post("/api/v1/namespaces/n/configmaps", config_map("a")).await.expect(403);
    assert_eq!(
        refused.message(),
        r#"configmaps "a" is forbidden: unable to create new content in namespace n because it is being terminated"#
    );
    assert_eq!(refused.body["details"]["causes"][0]["reason"], "NamespaceTerminating");
    let mut namespace = api.get("/api/v1/namespaces/n").await.body;
    namespace["spec"] = json!({});
    api.put("/api/v1/namespaces/n/finalize", namespace).await.expect(200);
    api.get("/api/v1/namespaces/n").await.expect(404);
    let kept = api.delete("/api/v1/namespaces/kube-system", json!(null)).await.expect(403);
    assert!(kept.message().ends_with("this namespace may not be deleted"), "{}", kept.message());
}

#[tokio::test]
async fn updates_respect_versions() {
    let api = Api::start().await;
    let mut object = api.post(MAPS, config_map("a")).await.expect(201).body;
    object["data"]["a"] = json!("2");
    let updated = api.put(&format!("{MAPS}/a"), object.clone()).await.expect(200).body;
    assert_ne!(updated["metadata"]["resourceVersion"], object["metadata"]["resourceVersion"]);
    object["data"]["a"] = json!("3");
    let refused = api.put(&format!("{MAPS}/a"), object.clone()).await.expect(409);
    assert_eq!(
        refused.message(),
        r#"Operation cannot be fulfilled on configmaps "a": the object has been modified; please apply your changes to the latest version and try again"#
    );
    object["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    let forced = api.put(&format!("{MAPS}/a"), object.clone()).await.expect(200).body;
    let same = api.put(&format!("{MAPS}/a"), object).await.expect(200).body;
    assert_eq!(
        same["metadata"]["resourceVersion"], forced["metadata"]["resourceVersion"],
        "no change, no write"
    );
    let named = api.put(&format!("{MAPS}/a"), config_map("b")).await.expect(400);
    assert_eq!(named.message(), "the name of the object (b) does not match the name on the URL (a)");
}

#[tokio::test]
async fn patches_in_three_formats() {
    let api = Api::start().await;
    let mut body = service("s");
    body["spec"]["ports"] = json!([{"name": "http", "port": 80}]);
    api.post(SERVICES, body).await.expect(201);
    let path = format!("{SERVICES}/s");
    let merged = api.merge(&path, json!({"metadata": {"labels": {"a": "b"}}})).await.expect(200);
    assert_eq!(merged.body["metadata"]["labels"]["a"], "b");
    let patch = json!({"spec": {"ports": [{"name": "dns", "port": 53}]}}).to_string();
    let strategic =
        api.send("PATCH", &path, "application/strategic-merge-patch+json", &patch).await.expect(200);
    assert_eq!(strategic.body["spec"]["ports"].as_array().unwrap().len(), 2);
    let patch = json!([{"op": "test", "path": "/metadata/labels/a", "value": "b"}, {"op": "remove", "path": "/metadata/labels/a"}]);
    let edited =
        api.send("PATCH", &path, "application/json-patch+json", &patch.to_string()).await.expect(200);
    assert!(edited.body["metadata"].get("labels").is_none());
    api.send("PATCH", &path, "application/json-patch+json", &patch.to_string()).await.expect(422);
    api.send("PATCH", &path, "text/plain", "x").await.expect(415);
    let stale = api.merge(&path, json!({"metadata": {"resourceVersion": "1"}})).await.expect(409);
    assert_eq!(stale.body["reason"], "Conflict");
}

#[tokio::test]
async fn applies_on_the_server() {
    let api = Api::start().await;
    let path = format!("{MAPS}/a?fieldManager=");
    let apply = "application/apply-patch+yaml";
    let body = config_map("a").to_string();
    api.send("PATCH", &format!("{path}one"), apply, &body).await.expect(201);
    api.send("PATCH", &format!("{path}one"), apply, &body).await.expect(200);
    let other = body.replace(r#""a":"1""#, r#""a":"2""#);
    let refused = api.send("PATCH", &format!("{path}two"), apply, &other).await.expect(409);
    assert_eq!(refused.body["details"]["causes"][0]["reason"], "FieldManagerConflict");
    let forced = api.send("PATCH", &format!("{path}two&force=true"), apply, &other).await.expect(200);
    assert_eq!(forced.body["data"]["a"], "2");
    api.send("PATCH", &format!("{MAPS}/a"), apply, &other).await.expect(422);
}

#[tokio::test]
async fn dry_runs_change_nothing() {
    let api = Api::start().await;
    let dry = api.post(&format!("{MAPS}?dryRun=All"), config_map("a")).await.expect(201);
    assert!(!dry.body["metadata"]["uid"].as_str().unwrap().is_empty());
    api.get(&format!("{MAPS}/a")).await.expect(404);
    let made = api.post(MAPS, config_map("a")).await.expect(201);
    let patched = api.merge(&format!("{MAPS}/a?dryRun=All"), json!({"data": {"b": "2"}})).await.expect(200);
    assert_eq!(patched.body["data"]["b"], "2");
    api.delete(&format!("{MAPS}/a"), json!({"dryRun": ["All"]})).await.expect(200);
    assert_eq!(api.get(&format!("{MAPS}/a")).await.expect(200).body, made.body);
    api.post(&format!("{MAPS}?dryRun=Some"), config_map("b")).await.expect(422);
}

#[tokio::test]
async fn deletion_waits_for_grace_and_finalizers() {
    let api = Api::start().await;
    api.make_default_account("default").await;
    api.post("/api/v1/nodes", json!({"metadata": {"name": "n"}})).await.expect(201);
    api.post(PODS, pod("p")).await.expect(201);
    let binding = json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}});
    api.post(&format!("{PODS}/p/binding"), binding.clone()).await.expect(201);
    let bound = api.get(&format!("{PODS}/p")).await.expect(200).body;
    assert_eq!((&bound["spec"]["nodeName"], &bound["metadata"]["generation"]), (&json!("n"), &json!(1)));
    let twice = api.post(&format!("{PODS}/p/binding"), binding).await.expect(409);
    assert_eq!(
        twice.message(),
        r#"Operation cannot be fulfilled on pods/binding "p": pod p is already assigned to node "n""#
    );
    let running = api.get(&format!("{PODS}/p")).await.body;
    assert_eq!(running["spec"]["nodeName"], "n");
    let uid = running["metadata"]["uid"].clone();
    let wrong = api.delete(&format!("{PODS}/p"), json!({"preconditions": {"uid": "x"}})).await.expect(409);
    assert!(
        wrong.message().contains("the UID in the precondition (x) does not match"),
        "{}",
        wrong.message()
    );
    let ending =
        api.delete(&format!("{PODS}/p"), json!({"propagationPolicy": "Background"})).await.expect(200);
    assert_eq!(ending.body["kind"], "Pod");
    assert_eq!(ending.body["metadata"]["deletionGracePeriodSeconds"], 30);
    api.get(&format!("{PODS}/p")).await.expect(200);
    let gone = api.delete(&format!("{PODS}/p?gracePeriodSeconds=0"), json!(null)).await.expect(200);
    assert_eq!(gone.body["metadata"]["uid"], uid);
    api.get(&format!("{PODS}/p")).await.expect(404);

    let mut held = config_map("f");
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    api.post(MAPS, held).await.expect(201);
    let marked = api.delete(&format!("{MAPS}/f"), json!(null)).await.expect(200);
    assert_eq!(marked.body["metadata"]["deletionGracePeriodSeconds"], 0);
    let more = json!({"metadata": {"finalizers": ["example.com/hold", "example.com/more"]}});
    let refused = api.merge(&format!("{MAPS}/f"), more).await.expect(422);
    assert!(refused.message().contains("no new finalizers can be added"), "{}", refused.message());
    api.merge(&format!("{MAPS}/f"), json!({"metadata": {"finalizers": null}})).await.expect(200);
    api.get(&format!("{MAPS}/f")).await.expect(404);
}

#[tokio::test]
async fn deletes_collections_by_selector() {
    let api = Api::start().await;
    for (name, app) in [("a", "x"), ("b", "y"), ("c", "x")] {
        let mut body = config_map(name);
        body["metadata"]["labels"] = json!({"app": app});
        api.post(MAPS, body).await.expect(201);
    }
    let deleted = api.delete(&format!("{MAPS}?labelSelector=app%3Dx"), json!(null)).await.expect(200);
    assert_eq!(deleted.names(), ["a", "c"]);
    assert_eq!(api.get(MAPS).await.names(), ["b"]);
}

#[tokio::test]
async fn status_is_written_through_its_subresource_only() {
    let api = Api::start().await;
    api.make_default_account("default").await;
    api.post(PODS, pod("p")).await.expect(201);
    let path = format!("{PODS}/p");
    let ignored = api.merge(&path, json!({"status": {"phase": "Running"}})).await.expect(200);
    assert_ne!(ignored.body["status"]["phase"], "Running");
    let status = json!({"status": {"phase": "Running"}, "spec": {"schedulerName": "x"}});
    let written = api.merge(&format!("{path}/status"), status).await.expect(200);
    assert_eq!(written.body["status"]["phase"], "Running");
    assert_eq!(written.body["spec"]["schedulerName"], "default-scheduler");
    let managers = written.body["metadata"]["managedFields"].as_array().unwrap();
    assert!(managers.iter().any(|entry| entry["subresource"] == "status"));
}

#[tokio::test]
async fn pods_run_as_a_service_account() {
    let api = Api::start().await;
    api.make_default_account("default").await;
    let made = api.post(PODS, pod("p")).await.expect(201).body;
    assert_eq!(made["spec"]["serviceAccountName"], "default");
    assert_eq!(made["spec"]["priority"], 0);
    let mount = &made["spec"]["containers"][0]["volumeMounts"][0];
    assert_eq!(mount["mountPath"], "/var/run/secrets/kubernetes.io/serviceaccount");
    assert_eq!(mount["name"], made["spec"]["volumes"][0]["name"]);
    let mut other = pod("q");
    other["spec"]["serviceAccountName"] = json!("foo");
    let refused = api.post(PODS, other).await.expect(403);
    assert_eq!(
        refused.message(),
        r#"pods "q" is forbidden: error looking up service account default/foo: serviceaccount "foo" not found"#
    );
}

/// A controller makes it a moment after the namespace.
#[tokio::test]
async fn pods_wait_for_the_default_service_account() {
    let api = Api::start().await;
    let (early, ()) = tokio::join!(api.post(PODS, pod("early")), api.make_default_account("default"));
    early.expect(201);
}

#[tokio::test]
async fn scales() {
    let api = Api::start().await;
    let path = "/api/v1/namespaces/default/replicationcontrollers";
    let controller = json!({
        "metadata": {"name": "kubia"},
        "spec": {"replicas": 3, "selector": {"app": "kubia"}, "template": {
            "metadata": {"labels": {"app": "kubia"}},
            "spec": {"containers": [{"name": "main", "image": "luksa/kubia"}]},
        }},
    });
    api.post(path, controller).await.expect(201);
    let mut scale = api.get(&format!("{path}/kubia/scale")).await.expect(200).body;
    assert_eq!(scale["kind"], "Scale");
    assert_eq!(scale["status"]["selector"], "app=kubia");
    scale["spec"]["replicas"] = json!(5);
    let scaled = api.put(&format!("{path}/kubia/scale"), scale.clone()).await.expect(200);
    assert_eq!(scaled.body["spec"]["replicas"], 5);
    let object = api.get(&format!("{path}/kubia")).await.body;
    assert_eq!((&object["spec"]["replicas"], &object["metadata"]["generation"]), (&json!(5), &json!(2)));
    api.put(&format!("{path}/kubia/scale"), scale).await.expect(409);
    api.merge(&format!("{path}/kubia/scale"), json!({"spec": {"replicas": 1}})).await.expect(200);
}

#[tokio::test]
async fn unknown_paths_and_methods() {
    let api = Api::start().await;
    let check = async |method: &str, path: &str, code: u16, message: &str| {
        let answer = api.send(method, path, "application/json", "").await.expect(code);
        assert_eq!(answer.message(), message, "{method} {path}");
    };
    for nowhere in ["/apis/none/v1/things", "/nothing"] {
        assert_eq!(api.get(nowhere).await.expect(404).text, "404 page not found\n");
    }
    let unknown = "the server could not find the requested resource";
    check("GET", "/api/v1/namespaces/default/things", 404, unknown).await;
    check("GET", "/api/v1/namespaces/default/configmaps/a/log", 404, unknown).await;
    let method = "the server does not allow this method on the requested resource";
    check("POST", "/api/v1/namespaces/default/configmaps/a", 405, method).await;
    check("GET", "/apis/authentication.k8s.io/v1/tokenreviews", 405, method).await;
}

#[tokio::test]
async fn answers_reviews_and_health() {
    let api = Api::start().await;
    let review = api.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", json!({})).await.expect(201);
    assert_eq!(review.body["status"]["userInfo"]["username"], "system:apiserver");
    assert_eq!(api.get("/readyz").await.expect(200).text, "ok");
    let verbose = api.get("/readyz?verbose").await.expect(200).text;
    assert!(verbose.contains("[+]ping ok\n") && verbose.ends_with("readyz check passed\n"), "{verbose}");
    let bad = Arc::new(AtomicBool::new(true));
    let check = |why: &'static str| {
        let bad = Arc::clone(&bad);
        move || if bad.load(Ordering::SeqCst) { Err(why.to_owned()) } else { Ok(()) }
    };
    api.checks.add("proxy", Concern::Readiness, check("the kernel refused"));
    assert_eq!(api.get("/livez").await.expect(200).text, "ok", "a restart would not help");
    api.checks.add("etcd", Concern::Life, check("no disk"));
    let failed = api.get("/readyz").await.expect(500).text;
    assert!(
        failed.contains("[-]proxy failed: reason withheld\n[-]etcd failed: reason withheld\n"),
        "{failed}"
    );
    assert!(failed.starts_with("[+]ping ok\n") && failed.ends_with("readyz check failed\n"), "{failed}");
    assert_eq!(api.get("/livez").await.expect(500).text.matches("[-]").count(), 1);
    assert_eq!(
        api.get("/readyz/proxy").await.expect(500).text,
        "internal server error: the kernel refused\n"
    );
    let excluded = api.get("/readyz?verbose&exclude=proxy&exclude=etcd&exclude=foo").await.expect(200).text;
    let warning =
        "warn: some health checks cannot be excluded: no matches for \"foo\"\nreadyz check passed\n";
    assert!(excluded.contains("[+]etcd excluded: ok\n") && excluded.ends_with(warning), "{excluded}");
    bad.store(false, Ordering::SeqCst);
    assert_eq!(api.get("/readyz/proxy").await.expect(200).text, "ok");
    assert_eq!(api.get("/healthz").await.expect(200).text, "ok");
    assert!(api.get("/version").await.expect(200).body["gitVersion"].as_str().unwrap().starts_with("v1.36."));
    let metrics = api.get("/metrics").await.expect(200).text;
    assert!(
        metrics.contains(
            r#"apiserver_request_total{verb="POST",dry_run="",group="authentication.k8s.io",version="v1",resource="selfsubjectreviews",subresource="",scope="resource",component="apiserver",code="201"} 1"#
        )
    );
    for name in [
        "apiserver_request_duration_seconds_bucket{",
        "apiserver_request_sli_duration_seconds_count{",
        "apiserver_current_inflight_requests{",
        "apiserver_flowcontrol_dispatched_requests_total{",
        r#"apiserver_resource_objects{group="rbac.authorization.k8s.io",resource="clusterroles"} "#,
        r#"apiserver_storage_objects{resource="namespaces"} 4"#,
        r#"apiserver_storage_size_bytes{storage_cluster_id="etcd-0"} "#,
        r#"etcd_request_duration_seconds_count{operation="create","#,
        r#"authorization_attempts_total{result="allowed"} "#,
        r#"rest_client_requests_total{code="200",method="GET",host="in-process"} "#,
        "process_resident_memory_bytes ",
        "kubernetes_build_info{",
        "skiff_store_revision ",
    ] {
        assert!(metrics.lines().any(|line| line.starts_with(name)), "{name} in\n{metrics}");
    }
}

#[tokio::test]
async fn others_may_not_do_everything() {
    let api = Api::start().await;
    let request = http::Request::builder().uri(PODS).body(Default::default()).unwrap();
    let user = skiff_apiserver::UserInfo::authenticated("bob", []);
    let answer = common::read(api.open(user, request).await).await.expect(403);
    assert_eq!(
        answer.message(),
        r#"pods is forbidden: User "bob" cannot list resource "pods" in API group "" in the namespace "default""#
    );
}

#[tokio::test]
async fn the_kube_client_works_in_process() {
    use k8s_openapi::api::core::v1::ConfigMap;
    let api = Api::start().await;
    let client = api.server.client(skiff_apiserver::UserInfo::api_server(), "test");
    let maps: kube::Api<ConfigMap> = kube::Api::namespaced(client, "default");
    let map: ConfigMap = serde_json::from_value(config_map("a")).unwrap();
    let made = maps.create(&Default::default(), &map).await.unwrap();
    let managers: Vec<_> =
        made.metadata.managed_fields.iter().flatten().map(|entry| &entry.manager).collect();
    assert_eq!(managers, [&Some("test".to_owned())], "it is known by what it calls itself");
    assert_eq!(maps.get("a").await.unwrap(), made);
    assert!(maps.get_opt("b").await.unwrap().is_none());
    maps.delete("a", &Default::default()).await.unwrap();
    assert!(maps.list(&Default::default()).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn discovery_and_schema_documents() {
    let api = Api::start().await;
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
    let aggregated = api.get_as("/apis", accept).await.expect(200);
    assert_eq!(aggregated.body["kind"], "APIGroupDiscoveryList");
    assert_eq!(
        aggregated.headers["content-type"],
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    );
    let check = async |path: &str, kind: &str| {
        assert_eq!(api.get(path).await.expect(200).body["kind"], kind, "{path}");
    };
    check("/api", "APIVersions").await;
    check("/apis", "APIGroupList").await;
    check("/api/v1", "APIResourceList").await;
    check("/apis/discovery.k8s.io", "APIGroup").await;
    check("/apis/discovery.k8s.io/v1", "APIResourceList").await;
    api.get("/apis/none").await.expect(404);
    let index = api.get("/openapi/v3").await.expect(200).body;
    let url = index["paths"]["api/v1"]["serverRelativeURL"].as_str().unwrap();
    let document = api.get(url).await.expect(200);
    assert!(document.body["paths"]["/api/v1/namespaces/{namespace}/services/{name}"]["patch"].is_object());
    let etag = document.headers["etag"].clone();
    let request = http::Request::builder().uri(url).header("if-none-match", etag);
    let unchanged = api.request(request.body(Default::default()).unwrap()).await.expect(304);
    assert!(unchanged.text.is_empty());
    let old = api.get("/openapi/v2").await.expect(200);
    assert_eq!(old.headers["content-type"], "application/json");
    assert_eq!(old.body["swagger"], "2.0");
    let [asked, answered] = Encoding::Protobuf.media_types(Dialect::V2) else { panic!("two types") };
    let old = api.get_as("/openapi/v2", asked).await.expect(200);
    assert_eq!(old.headers["content-type"], *answered);
}

#[tokio::test]
async fn descriptions_are_kept_by_their_hash() {
    let api = Api::start().await;
    let path = "/openapi/v3/apis/discovery.k8s.io/v1";
    let [asked, answered] = Encoding::Protobuf.media_types(Dialect::V3) else { panic!("two types") };
    let header = |answer: &Answer, name: &str| Some(answer.headers.get(name)?.to_str().unwrap().to_owned());
    let protobuf = api.get_as(path, asked).await.expect(200);
    assert_eq!(header(&protobuf, "content-type").as_deref(), Some(*answered));
    assert!(protobuf.bytes.starts_with(b"\x0a\x053.0.0"));
    assert_eq!(protobuf.bytes, api.get_as(path, answered).await.expect(200).bytes);
    let json = api.get_as(path, "*/*").await.expect(200);
    assert_eq!(json.body["openapi"], "3.0.0");
    assert_eq!(header(&json, "etag"), header(&protobuf, "etag"));
    // Only what is named by its hash may be kept.
    assert_eq!(header(&json, "cache-control").as_deref(), Some("no-cache, private"));
    assert!(api.get_as(path, "text/html").await.expect(406).text.is_empty());

    let index = api.get("/openapi/v3").await.expect(200).body;
    let url = index["paths"]["apis/discovery.k8s.io/v1"]["serverRelativeURL"].as_str().unwrap();
    let hash = url.strip_prefix(path).unwrap().strip_prefix("?hash=").unwrap();
    assert_eq!(header(&json, "etag"), Some(format!("\"{hash}\"")));
    let kept = api.get_as(url, asked).await.expect(200);
    assert_eq!(header(&kept, "cache-control").as_deref(), Some("public, immutable"));
    assert!(kept.headers.contains_key("expires") && kept.bytes == protobuf.bytes);
    let moved = api.get_as(&format!("{path}?hash=OLD"), asked).await.expect(301);
    assert_eq!(header(&moved, "location").as_deref(), Some(url));
    assert!(moved.text.is_empty());
}

#[tokio::test]
async fn events_go_by_themselves_some_time_after_they_were_last_written() {
    let api = Api::with_event_ttl("1s").await;
    let events = "/api/v1/namespaces/default/events";
    let object = json!({"kind": "Pod", "namespace": "default", "name": "p"});
    // What happened long ago, or is said to have, goes when it was written long ago.
    let event = json!({
        "metadata": {"name": "e"}, "involvedObject": object, "lastTimestamp": "2000-01-01T00:00:00Z",
    });
    let made = api.post(events, event).await.expect(201).body;
    let from = made["metadata"]["resourceVersion"].as_str().unwrap();
    let watch = format!("/apis/events.k8s.io/v1/namespaces/default/events?watch=1&resourceVersion={from}");
    let mut changes = api.watch(&watch, "application/json").await;
    let gone = tokio::time::timeout(std::time::Duration::from_secs(60), changes.next());
    let gone = gone.await.expect("it goes").expect("the watch goes on");
    assert_eq!((&gone["type"], &gone["object"]["metadata"]["name"]), (&json!("DELETED"), &json!("e")));
    api.get(&format!("{events}/e")).await.expect(404);
}
