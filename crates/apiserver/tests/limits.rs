//! LimitRanges and ResourceQuotas in the pipeline. What a controller writes into a quota's status, the tests write.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use common::{Api, config_map, pod, service};
use futures::future::join_all;
use serde_json::{Value, json};
use skiff_apiserver::{PluginConfiguration, PluginNames, Plugins};

const CORE: &str = "/api/v1/namespaces/default";

async fn limit(api: &Api, limit: Value) {
    let range = json!({"metadata": {"name": "r"}, "spec": {"limits": [limit]}});
    api.post(&format!("{CORE}/limitranges"), range).await.expect(201);
}

/// Makes a quota that was counted when there was nothing.
async fn quota(api: &Api, spec: Value) {
    let quotas = format!("{CORE}/resourcequotas");
    let made = api.post(&quotas, json!({"metadata": {"name": "q"}, "spec": spec})).await.expect(201);
    assert_eq!(made.body["status"], json!({}));
    let hard = made.body["spec"]["hard"].as_object().unwrap().clone();
    let used: serde_json::Map<String, Value> = hard.keys().map(|name| (name.clone(), "0".into())).collect();
    let status = json!({"status": {"hard": hard, "used": used}});
    api.merge(&format!("{quotas}/q/status"), status).await.expect(200);
}

async fn used(api: &Api) -> Value {
    api.get(&format!("{CORE}/resourcequotas/q")).await.expect(200).body["status"]["used"].clone()
}

async fn with_account() -> Api {
    let api = Api::start().await;
    api.make_default_account("default").await;
    api
}

#[tokio::test]
async fn limit_ranges_give_and_bound() {
    let api = with_account().await;
    let bounds =
        json!({"type": "Container", "default": {"cpu": "500m"}, "max": {"cpu": "1"}, "min": {"cpu": "100m"}});
    limit(&api, bounds).await;
    let pods = format!("{CORE}/pods");
    let made = api.post(&pods, pod("a")).await.expect(201).body;
    let given = json!({"limits": {"cpu": "500m"}, "requests": {"cpu": "500m"}});
    assert_eq!(made["spec"]["containers"][0]["resources"], given);
    assert_eq!(
        made["metadata"]["annotations"]["kubernetes.io/limit-ranger"],
        "LimitRanger plugin set: cpu request for container main; cpu limit for container main"
    );
    assert_eq!(made["status"]["qosClass"], "Burstable");
    let mut large = pod("b");
    large["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": "2"}, "requests": {"cpu": "50m"}});
    let refused = api.post(&pods, large).await.expect(403);
    assert_eq!(
        refused.message(),
        "pods \"b\" is forbidden: [minimum cpu usage per Container is 100m, but request is 50m, maximum cpu usage per Container is 1, but limit is 2]"
    );
    // Elsewhere there is none.
    api.post("/api/v1/namespaces", json!({"metadata": {"name": "free"}})).await.expect(201);
    api.make_default_account("free").await;
    let free = api.post("/api/v1/namespaces/free/pods", pod("a")).await.expect(201).body;
    assert_eq!(free["spec"]["containers"][0]["resources"], json!({}));
}

#[tokio::test]
async fn a_limit_range_needs_no_name_and_shows_when_it_was_made() {
    let api = Api::start().await;
    let ranges = format!("{CORE}/limitranges");
    let made = api.post(&ranges, json!({"spec": {"limits": []}})).await.expect(201).body;
    assert_eq!(made["metadata"]["name"].as_str().map(str::len), Some(36));
    let wrong = json!({"metadata": {"name": "x"}, "spec": {"limits": [{"type": "Thing"}]}});
    let refused = api.put(&format!("{ranges}/x"), wrong).await.expect(422);
    assert!(refused.message().contains("must be a standard limit type"), "{}", refused.message());
    let table = api.get_as(&ranges, "application/json;as=Table;v=v1;g=meta.k8s.io").await.expect(200).body;
    let cells = json!([made["metadata"]["name"], made["metadata"]["creationTimestamp"]]);
    assert_eq!(table["rows"][0]["cells"], cells);
}

#[tokio::test]
async fn a_quota_is_charged_with_what_is_made() {
    let api = with_account().await;
    quota(&api, json!({"hard": {"count/configmaps": "2", "services": "1", "services.nodeports": "1"}})).await;
    let maps = format!("{CORE}/configmaps");
    api.post(&format!("{maps}?dryRun=All"), config_map("dry")).await.expect(201);
    assert_eq!(used(&api).await["count/configmaps"], "0");
    api.post(&maps, config_map("a")).await.expect(201);
    api.post(&maps, config_map("a")).await.expect(409);
    api.put(&format!("{maps}/a"), config_map("a")).await.expect(200);
    assert_eq!(used(&api).await["count/configmaps"], "1");
    api.post(&maps, config_map("b")).await.expect(201);
    let refused = api.post(&maps, config_map("c")).await.expect(403);
    assert_eq!(
        refused.message(),
        "configmaps \"c\" is forbidden: exceeded quota: q, requested: count/configmaps=1, used: count/configmaps=2, limited: count/configmaps=2"
    );
    assert_eq!(refused.body["reason"], "Forbidden");
    api.post(&format!("{maps}?dryRun=All"), config_map("dry")).await.expect(403);

    // A change costs, too.
    let services = format!("{CORE}/services");
    api.post(&services, service("a")).await.expect(201);
    api.merge(&format!("{services}/a"), json!({"spec": {"type": "NodePort"}})).await.expect(200);
    assert_eq!(
        used(&api).await,
        json!({"count/configmaps": "2", "services": "1", "services.nodeports": "1"})
    );
    let ports = json!([{"name": "a", "port": 80}, {"name": "b", "port": 81}]);
    let refused = api.merge(&format!("{services}/a"), json!({"spec": {"ports": ports}})).await.expect(403);
    assert_eq!(
        refused.message(),
        "services \"a\" is forbidden: exceeded quota: q, requested: services.nodeports=1, used: services.nodeports=1, limited: services.nodeports=1"
    );
    // What becomes free is a controller's to say.
    api.delete(&format!("{maps}/a"), Value::Null).await.expect(200);
    assert_eq!(used(&api).await["count/configmaps"], "2");
}

#[tokio::test]
async fn pods_say_what_a_quota_counts() {
    let api = with_account().await;
    quota(&api, json!({"hard": {"pods": "3", "requests.cpu": "1"}})).await;
    let pods = format!("{CORE}/pods");
    let refused = api.post(&pods, pod("a")).await.expect(403);
    assert_eq!(
        refused.message(),
        "pods \"a\" is forbidden: failed quota: q: must specify requests.cpu for: main"
    );
    // LimitRanger comes first.
    limit(&api, json!({"type": "Container", "defaultRequest": {"cpu": "600m"}})).await;
    api.post(&pods, pod("a")).await.expect(201);
    assert_eq!(used(&api).await, json!({"pods": "1", "requests.cpu": "600m"}));
    let refused = api.post(&pods, pod("b")).await.expect(403);
    assert_eq!(
        refused.message(),
        "pods \"b\" is forbidden: exceeded quota: q, requested: requests.cpu=600m, used: requests.cpu=600m, limited: requests.cpu=1"
    );
    api.merge(&format!("{pods}/a/status"), json!({"status": {"phase": "Running"}})).await.expect(200);
}

#[tokio::test]
async fn scopes_say_which_pods_count() {
    let api = with_account().await;
    quota(&api, json!({"hard": {"pods": "1"}, "scopes": ["Terminating"]})).await;
    let pods = format!("{CORE}/pods");
    let mut ends = pod("a");
    ends["spec"]["activeDeadlineSeconds"] = 60.into();
    api.post(&pods, pod("stays")).await.expect(201);
    api.post(&pods, ends.clone()).await.expect(201);
    ends["metadata"]["name"] = "b".into();
    api.post(&pods, ends).await.expect(403);
    // A pod that is given a deadline counts from then on.
    let deadline = json!({"spec": {"activeDeadlineSeconds": 60}});
    api.merge(&format!("{pods}/stays"), deadline).await.expect(403);
    assert_eq!(used(&api).await, json!({"pods": "1"}));
}

#[tokio::test]
async fn a_quota_that_nobody_counted_yet_lets_nothing_pass() {
    let api = Api::start().await;
    let quota = json!({"metadata": {"name": "q"}, "spec": {"hard": {"configmaps": "5"}}});
    api.post(&format!("{CORE}/resourcequotas"), quota).await.expect(201);
    // Until its status says what counts, nothing does.
    api.post(&format!("{CORE}/configmaps"), config_map("a")).await.expect(201);
    let status = json!({"status": {"hard": {"configmaps": "5"}}});
    api.merge(&format!("{CORE}/resourcequotas/q/status"), status).await.expect(200);
    let refused = api.post(&format!("{CORE}/configmaps"), config_map("b")).await.expect(403);
    assert_eq!(
        refused.message(),
        "configmaps \"b\" is forbidden: status unknown for quota: q, resources: configmaps"
    );
}

#[tokio::test]
async fn writers_at_the_same_time_never_use_more_than_there_is() {
    let api = Api::start().await;
    quota(&api, json!({"hard": {"configmaps": "8"}})).await;
    let maps = format!("{CORE}/configmaps");
    let writes = (0..24).map(|i| {
        let (api, maps) = (&api, &maps);
        async move { api.post(maps, config_map(&format!("m{i}"))).await.status.as_u16() }
    });
    let answers = join_all(writes).await;
    let count = |wanted: u16| answers.iter().filter(|status| **status == wanted).count();
    assert_eq!((count(201), count(403)), (8, 16), "{answers:?}");
    assert_eq!(used(&api).await, json!({"configmaps": "8"}));
    assert_eq!(api.get(&maps).await.names().len(), 8);
}

#[tokio::test]
async fn pods_use_the_secrets_of_strict_accounts_only() {
    let api = Api::start().await;
    let strict = json!({"metadata": {"name": "strict", "annotations": {"kubernetes.io/enforce-mountable-secrets": "true"}},
        "secrets": [{"name": "mine"}]});
    api.post(&format!("{CORE}/serviceaccounts"), strict).await.expect(201);
    let with = |name: &str, secret: &str| {
        let mut pod = pod(name);
        pod["spec"]["serviceAccountName"] = "strict".into();
        pod["spec"]["volumes"] = json!([{"name": "v", "secret": {"secretName": secret}}]);
        pod
    };
    let pods = format!("{CORE}/pods");
    api.post(&pods, with("a", "mine")).await.expect(201);
    let refused = api.post(&pods, with("b", "other")).await.expect(403);
    assert_eq!(
        refused.message(),
        "pods \"b\" is forbidden: volume with secret.secretName=\"other\" is not allowed because service account strict does not reference that secret"
    );
    let from = json!([{"secretRef": {"name": "other"}}]);
    let added = json!({"spec": {"ephemeralContainers": [{"name": "e", "image": "x", "envFrom": from}]}});
    let path = format!("{pods}/a/ephemeralcontainers");
    let refused = api
        .send("PATCH", &path, "application/strategic-merge-patch+json", &added.to_string())
        .await
        .expect(403);
    assert!(refused.message().contains("ephemeral container e with envFrom"), "{}", refused.message());

    let mut mirror = pod("m");
    mirror["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
    mirror["spec"]["nodeName"] = "n".into();
    mirror["spec"]["imagePullSecrets"] = json!([{"name": "mine"}]);
    let refused = api.post(&pods, mirror).await.expect(403);
    assert_eq!(refused.message(), "pods \"m\" is forbidden: a mirror pod may not reference secrets");
}

#[tokio::test]
async fn pods_have_the_labels_of_their_nodes_place() {
    let api = with_account().await;
    let labels =
        json!({"topology.kubernetes.io/zone": "z", "topology.kubernetes.io/region": "r", "other": "x"});
    api.post("/api/v1/nodes", json!({"metadata": {"name": "n", "labels": labels}})).await.expect(201);
    let pods = format!("{CORE}/pods");
    api.post(&pods, pod("bound")).await.expect(201);
    let binding = json!({"metadata": {"name": "bound"}, "target": {"kind": "Node", "name": "n"}});
    api.post(&format!("{pods}/bound/binding"), binding).await.expect(201);
    let mut placed = pod("placed");
    placed["spec"]["nodeName"] = "n".into();
    api.post(&pods, placed).await.expect(201);
    for name in ["bound", "placed"] {
        let labels = api.get(&format!("{pods}/{name}")).await.expect(200).body["metadata"]["labels"].clone();
        let expected =
            json!({"app": "kubia", "topology.kubernetes.io/zone": "z", "topology.kubernetes.io/region": "r"});
        assert_eq!(labels, expected, "{name}");
    }
}

const CONFIGURATION: &str = r#"
apiVersion: apiserver.config.k8s.io/v1
kind: AdmissionConfiguration
plugins:
- name: PodSecurity
  configuration:
    apiVersion: pod-security.admission.config.k8s.io/v1
    kind: PodSecurityConfiguration
    defaults: {enforce: baseline}
    exemptions: {namespaces: [free]}
- name: ResourceQuota
  configuration:
    apiVersion: apiserver.config.k8s.io/v1
    kind: ResourceQuotaConfiguration
    limitedResources:
    - resource: services
      matchContains: [services.loadbalancers]
"#;

#[tokio::test]
async fn plugins_are_configured_by_a_file_and_turned_off() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("admission.yaml");
    std::fs::write(&file, CONFIGURATION).unwrap();
    let configuration = PluginConfiguration::read(&file).unwrap();
    let off = "DefaultTolerationSeconds".parse().unwrap();
    let api = Api::with(Plugins::new(&PluginNames::default(), &off, configuration).unwrap()).await;
    api.make_default_account("default").await;
    api.post("/api/v1/namespaces", json!({"metadata": {"name": "free"}})).await.expect(201);
    api.make_default_account("free").await;

    let mut privileged = pod("p");
    privileged["spec"]["containers"][0]["securityContext"] = json!({"privileged": true});
    let refused = api.post(&format!("{CORE}/pods"), privileged.clone()).await.expect(403);
    assert!(
        refused.message().contains(r#"violates PodSecurity "baseline:latest": privileged"#),
        "{}",
        refused.message()
    );
    let made = api.post("/api/v1/namespaces/free/pods", privileged).await.expect(201);
    assert_eq!(made.body["spec"]["tolerations"], Value::Null);

    let mut balanced = service("s");
    balanced["spec"]["type"] = "LoadBalancer".into();
    let services = format!("{CORE}/services");
    let refused = api.post(&services, balanced.clone()).await.expect(403);
    let text = "services \"s\" is forbidden: insufficient quota to consume: services.loadbalancers";
    assert_eq!(refused.message(), text);
    quota(&api, json!({"hard": {"services.loadbalancers": "1"}})).await;
    api.post(&services, balanced).await.expect(201);
    assert_eq!(used(&api).await, json!({"services.loadbalancers": "1"}));

    // What was charged shows who wrote it.
    let quota = api.get(&format!("{CORE}/resourcequotas/q")).await.expect(200).body;
    let managers = quota["metadata"]["managedFields"].as_array().unwrap();
    let server = managers.iter().find(|entry| entry["manager"] == "kube-apiserver").unwrap();
    assert_eq!((&server["operation"], &server["subresource"]), (&json!("Update"), &json!("status")));
    assert_eq!(server["fieldsV1"], json!({"f:status": {"f:used": {"f:services.loadbalancers": {}}}}));
}

#[tokio::test]
async fn pods_are_resized_to_what_their_node_has() {
    let api = with_account().await;
    api.post("/api/v1/nodes", json!({"metadata": {"name": "n"}})).await.expect(201);
    let status = json!({"status": {"allocatable": {"cpu": "1", "memory": "1Gi", "pods": "9"}}});
    api.merge("/api/v1/nodes/n/status", status).await.expect(200);
    let mut bound = pod("p");
    bound["spec"]["nodeName"] = "n".into();
    bound["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "100m"}});
    api.post(&format!("{CORE}/pods"), bound).await.expect(201);
    let resize = async |resources: Value| {
        let patch =
            json!({"spec": {"containers": [{"name": "main", "image": "other", "resources": resources}]}});
        let path = format!("{CORE}/pods/p/resize");
        api.send("PATCH", &path, "application/strategic-merge-patch+json", &patch.to_string()).await
    };
    let resized = resize(json!({"requests": {"cpu": "900m"}})).await.expect(200).body;
    let container = &resized["spec"]["containers"][0];
    assert_eq!(
        (&container["resources"]["requests"]["cpu"], &container["image"]),
        (&json!("900m"), &json!("luksa/kubia"))
    );
    assert_eq!(resized["metadata"]["generation"], 2);
    let refused = resize(json!({"requests": {"cpu": "1100m"}})).await.expect(403);
    let text = "pods \"p\" is forbidden: node didn't have enough allocatable resources: cpu, requested: 1100, allocatable: 1000";
    assert_eq!(refused.message(), text);
    assert_eq!(refused.body["details"]["causes"][0]["reason"], "NodeCapacity");
    let whole = json!({"spec": {"resources": {"requests": {"cpu": "950m"}}}});
    let refused = api.merge(&format!("{CORE}/pods/p/resize"), whole).await.expect(403);
    assert!(
        refused
            .message()
            .contains("features InPlacePodLevelResourcesVerticalScaling which are not available"),
        "{}",
        refused.message()
    );
}
