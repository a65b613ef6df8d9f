//! Defaults of pods and of pod templates.

use serde_json::{Map, Value, json};

use super::aggregate;
use crate::shared::defaults::{existing_mut, fill, fill_number, fill_text, list_mut, object_mut};

type Tree = Map<String, Value>;

/// Permission bits of files that come from the API: 0644.
const FILE_MODE: i64 = 0o644;

const GRACE: &str = "terminationGracePeriodSeconds";

/// What volumes of providers have where nothing is said.
const PROVIDERS: [(&str, &str, &str); 9] = [
    ("azureDisk", "cachingMode", "ReadWrite"),
    ("azureDisk", "kind", "Shared"),
    ("azureDisk", "fsType", "ext4"),
    ("iscsi", "iscsiInterface", "default"),
    ("rbd", "pool", "rbd"),
    ("rbd", "user", "admin"),
    ("rbd", "keyring", "/etc/ceph/keyring"),
    ("scaleIO", "storageMode", "ThinProvisioned"),
    ("scaleIO", "fsType", "xfs"),
];

/// The lists of containers in a pod spec.
pub(super) const CONTAINER_LISTS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// Defaults of a pod itself: those of every pod spec, and some that templates leave open.
pub(super) fn pod(pod: &mut Tree) {
    let spec = object_mut(pod, "spec");
    fill(spec, "enableServiceLinks", true);
    // Of a pod itself, not of a template.
    if spec.get(GRACE).and_then(Value::as_i64).is_some_and(|seconds| seconds < 0) {
        spec.insert(GRACE.to_owned(), 1.into());
    }
    let host_network = spec.get("hostNetwork").and_then(Value::as_bool).unwrap_or(false);
    for list in CONTAINER_LISTS {
        for container in list_mut(spec, list) {
            requests_from_limits(container);
            if host_network {
                host_ports(container);
            }
        }
    }
    whole_pod_requests(spec);
    pod_spec(spec);
}

/// Requests of the whole pod that are left open where it has limits (KEP-2837): what its containers request, else the
/// limit.
fn whole_pod_requests(spec: &mut Tree) {
    let limits =
        spec.get("resources").and_then(|resources| resources.get("limits")).and_then(Value::as_object);
    let Some(limits) = limits.filter(|limits| !limits.is_empty()).cloned() else { return };
    let of_containers = ["cpu", "memory"].map(|name| (name, aggregate::request(spec, name)));
    let requests = object_mut(object_mut(spec, "resources"), "requests");
    for (name, amount) in of_containers {
        if let Some(amount) = amount {
            requests.entry(name).or_insert_with(|| amount.to_string().into());
        }
    }
    for (name, limit) in limits.into_iter().filter(|(name, _)| aggregate::is_for_pods(name)) {
        requests.entry(name).or_insert(limit);
    }
}

/// Defaults of every pod spec, also in templates.
pub(crate) fn pod_spec(spec: &mut Tree) {
    service_account(spec);
    fill_text(spec, "dnsPolicy", "ClusterFirst");
    fill_text(spec, "restartPolicy", "Always");
    fill_text(spec, "schedulerName", "default-scheduler");
    fill(spec, "securityContext", json!({}));
    fill(spec, "terminationGracePeriodSeconds", 30);
    for list in CONTAINER_LISTS {
        list_mut(spec, list).for_each(container);
    }
    list_mut(spec, "volumes").for_each(volume);
}

/// Keeps the old name of `serviceAccountName` in step with it.
pub(super) fn service_account(spec: &mut Tree) {
    let text = |key: &str| spec.get(key).and_then(Value::as_str).filter(|name| !name.is_empty());
    if let Some(name) = text("serviceAccountName").or(text("serviceAccount")).map(str::to_owned) {
        spec.insert("serviceAccountName".to_owned(), name.clone().into());
        spec.insert("serviceAccount".to_owned(), name.into());
    }
}

/// A limit without a request is also the request.
fn requests_from_limits(container: &mut Tree) {
    let Some(resources) = existing_mut(container, "resources") else { return };
    let Some(limits) = resources.get("limits").and_then(Value::as_object).cloned() else { return };
    if limits.is_empty() {
        return;
    }
    let requests = object_mut(resources, "requests");
    for (name, limit) in limits {
        requests.entry(name).or_insert(limit);
    }
}

/// On the host's network every port is a host port.
fn host_ports(container: &mut Tree) {
    for port in list_mut(container, "ports") {
        if let Some(number) = port.get("containerPort").and_then(Value::as_i64) {
            fill_number(port, "hostPort", number);
        }
    }
}

fn container(container: &mut Tree) {
    let image = container.get("image").and_then(Value::as_str).unwrap_or("");
    let policy = pull_policy(image);
    fill_text(container, "imagePullPolicy", policy);
    fill(container, "resources", json!({}));
    fill_text(container, "terminationMessagePath", "/dev/termination-log");
    fill_text(container, "terminationMessagePolicy", "File");
    for port in list_mut(container, "ports") {
        fill_text(port, "protocol", "TCP");
    }
    for env in list_mut(container, "env") {
        if let Some(source) = existing_mut(env, "valueFrom") {
            field_ref(source);
        }
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = existing_mut(container, name) {
            fill_number(probe, "timeoutSeconds", 1);
            fill_number(probe, "periodSeconds", 10);
            fill_number(probe, "successThreshold", 1);
            fill_number(probe, "failureThreshold", 3);
            http_get(probe);
            if let Some(grpc) = existing_mut(probe, "grpc") {
                fill(grpc, "service", "");
            }
        }
    }
    if let Some(lifecycle) = existing_mut(container, "lifecycle") {
        for name in ["postStart", "preStop"] {
            if let Some(handler) = existing_mut(lifecycle, name) {
                http_get(handler);
            }
        }
    }
}

/// What may be another image tomorrow is pulled each time; what is no reference is not.
fn pull_policy(image: &str) -> &'static str {
    if super::image::tag(image) == Some("latest") { "Always" } else { "IfNotPresent" }
}

fn http_get(handler: &mut Tree) {
    if let Some(http) = existing_mut(handler, "httpGet") {
        fill_text(http, "path", "/");
        fill_text(http, "scheme", "HTTP");
    }
}

fn field_ref(source: &mut Tree) {
    if let Some(field) = existing_mut(source, "fieldRef") {
        fill_text(field, "apiVersion", "v1");
    }
}

fn volume(volume: &mut Tree) {
    if volume.iter().all(|(key, value)| key == "name" || value.is_null()) {
        volume.insert("emptyDir".to_owned(), json!({}));
    }
    for name in ["secret", "configMap", "downwardAPI", "projected"] {
        if let Some(source) = existing_mut(volume, name) {
            fill(source, "defaultMode", FILE_MODE);
        }
    }
    if let Some(path) = existing_mut(volume, "hostPath") {
        fill(path, "type", "");
    }
    for (name, field, value) in PROVIDERS {
        if let Some(source) = existing_mut(volume, name) {
            fill_text(source, field, value);
        }
    }
    if let Some(disk) = existing_mut(volume, "azureDisk") {
        fill(disk, "readOnly", false);
    }
    let template =
        existing_mut(volume, "ephemeral").and_then(|source| existing_mut(source, "volumeClaimTemplate"));
    if let Some(claim) = template.and_then(|template| existing_mut(template, "spec")) {
        fill_text(claim, "volumeMode", "Filesystem");
    }
    if let Some(image) = existing_mut(volume, "image") {
        let policy = pull_policy(image.get("reference").and_then(Value::as_str).unwrap_or(""));
        fill_text(image, "pullPolicy", policy);
    }
    if let Some(downward) = existing_mut(volume, "downwardAPI") {
        list_mut(downward, "items").for_each(field_ref);
    }
    let Some(projected) = existing_mut(volume, "projected") else { return };
    for source in list_mut(projected, "sources") {
        if let Some(token) = existing_mut(source, "serviceAccountToken") {
            fill(token, "expirationSeconds", 3600);
        }
        if let Some(downward) = existing_mut(source, "downwardAPI") {
            list_mut(downward, "items").for_each(field_ref);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(value: Value) -> Tree {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn pull_policy_depends_on_the_tag() {
        let check = |image: &str, policy: &str| assert_eq!(pull_policy(image), policy, "{image}");
        check("kubia", "Always");
        check("kubia:latest", "Always");
        check("kubia:v1", "IfNotPresent");
        check("localhost:5000/kubia", "Always");
        check("localhost:5000/kubia:v1", "IfNotPresent");
        let digest = "abcdef0123456789".repeat(4);
        check(&format!("kubia@sha256:{digest}"), "IfNotPresent");
        check(&format!("kubia:latest@sha256:{digest}"), "Always");
        check("kubia:latest@sha256:abc", "IfNotPresent");
        check("Kubia", "IfNotPresent");
    }

    #[test]
    fn fills_a_minimal_pod() {
        let mut object = tree(
            json!({"spec": {"containers": [{"name": "a", "image": "a:1", "ports": [{"containerPort": 80}]}]}}),
        );
        pod(&mut object);
        let expected = json!({
            "containers": [{
                "name": "a", "image": "a:1", "imagePullPolicy": "IfNotPresent", "resources": {},
                "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
                "ports": [{"containerPort": 80, "protocol": "TCP"}],
            }],
            "dnsPolicy": "ClusterFirst", "enableServiceLinks": true, "restartPolicy": "Always",
            "schedulerName": "default-scheduler", "securityContext": {}, "terminationGracePeriodSeconds": 30,
        });
        assert_eq!(object["spec"], expected);
        let once = object.clone();
        pod(&mut object);
        assert_eq!(object, once);
    }

    #[test]
    fn requests_of_the_whole_pod_follow_its_containers_or_its_limits() {
        let check = |whole: Value, containers: Value, requests: Value| {
            let mut object = tree(json!({"spec": {"resources": whole, "containers": containers}}));
            pod(&mut object);
            assert_eq!(object["spec"]["resources"].get("requests"), Some(&requests).filter(|r| !r.is_null()));
        };
        let requesting = |cpu: &str| json!({"name": "c", "resources": {"requests": {"cpu": cpu}}});
        let limits = json!({"limits": {"cpu": "2", "memory": "1Gi"}});
        check(limits.clone(), json!([{"name": "c"}]), json!({"cpu": "2", "memory": "1Gi"}));
        check(
            limits.clone(),
            json!([requesting("500m"), requesting("1")]),
            json!({"cpu": "1500m", "memory": "1Gi"}),
        );
        let given = json!({"limits": {"cpu": "2"}, "requests": {"cpu": "1"}});
        check(given, json!([requesting("500m")]), json!({"cpu": "1"}));
        check(json!({"requests": {"cpu": "1"}}), json!([{"name": "c"}]), json!({"cpu": "1"}));
        check(json!({}), json!([requesting("1")]), Value::Null);
    }

    #[test]
    fn fills_what_is_inside_containers() {
        let check = |field: &str, given: Value, expected: Value| {
            let mut object = tree(json!({"spec": {"containers": [{ field: given }]}}));
            pod(&mut object);
            assert_eq!(object["spec"]["containers"][0][field], expected);
        };
        check(
            "livenessProbe",
            json!({"httpGet": {"port": 80}, "timeoutSeconds": 5}),
            json!({
                "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"}, "timeoutSeconds": 5,
                "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3,
            }),
        );
        check(
            "resources",
            json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}),
            json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m", "memory": "1Gi"}}),
        );
        check(
            "env",
            json!([{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]),
            json!([{"name": "IP", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.podIP"}}}]),
        );
    }

    #[test]
    fn a_negative_grace_is_the_least_one() {
        let mut object = tree(json!({"spec": {"containers": [], GRACE: -5}}));
        pod(&mut object);
        assert_eq!(object["spec"][GRACE], 1);
        let mut template = tree(json!({"containers": [], GRACE: -5}));
        pod_spec(&mut template);
        assert_eq!(template[GRACE], -5);
    }

    #[test]
    fn fills_volumes() {
        let check = |given: Value, expected: Value| {
            let mut map = tree(given);
            volume(&mut map);
            assert_eq!(Value::Object(map), expected);
        };
        check(json!({"name": "v"}), json!({"name": "v", "emptyDir": {}}));
        check(
            json!({"secret": {"secretName": "s"}}),
            json!({"secret": {"secretName": "s", "defaultMode": 420}}),
        );
        check(json!({"hostPath": {"path": "/"}}), json!({"hostPath": {"path": "/", "type": ""}}));
        check(
            json!({"projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}),
            json!({"projected": {"defaultMode": 420, "sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 3600}}]}}),
        );
    }
}
