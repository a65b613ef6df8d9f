//! What every cluster runs for itself: the DNS pod, with the identity, rights and Service that it needs; the rights of those
//! who measure, of those who may look at it, and of the provisioner beside each node agent; and the class of claims that name none.
//!
//! They are ordinary objects, written through the API; users can see, change and delete them. The class is made once: what users
//! make of it stays.

use k8s_openapi::api::core::v1::{Namespace, ReplicationController, Service, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use skiff_node::PROVISIONER;

/// The image that holds this very program; kept in the content store like any other.
pub(crate) const IMAGE: &str = concat!("skiff.internal/skiff:v", env!("CARGO_PKG_VERSION"));

/// Namespace of the cluster's own pods.
pub(crate) const NAMESPACE: &str = "kube-system";

/// Name of the DNS pods' controller and Service, the one that Kubernetes users know.
pub(crate) const DNS: &str = "kube-dns";

/// Name of the ServiceAccount as which the use of nodes and pods is asked for, that of Kubernetes' metrics server.
pub(crate) const METRICS: &str = "metrics-server";

/// Name of the ServiceAccount as which node agents make and remove volumes.
pub(crate) const PROVISIONER_ACCOUNT: &str = "local-path-provisioner";

/// Name of the container in the DNS pods.
pub(crate) const CONTAINER: &str = "dns";

/// Name of the class of storage that claims get that name none, the one that users of other small clusters know.
pub(crate) const STORAGE_CLASS: &str = "local-path";

/// What is noted at the namespace [`NAMESPACE`] once [`STORAGE_CLASS`] has been made.
const CLASS_MADE: &str = "skiff.internal/storage-class-made";

/// Creates the objects, or brings them to this version's state.
pub(crate) async fn apply(client: &Client, dns_address: &str) -> kube::Result<()> {
    write::<ServiceAccount>(Api::namespaced(client.clone(), NAMESPACE), account()).await?;
    write::<ClusterRoleBinding>(Api::all(client.clone()), binding()).await?;
    write::<ClusterRole>(Api::all(client.clone()), metrics_reader()).await?;
    write::<ClusterRole>(Api::all(client.clone()), metrics_role()).await?;
    write::<ClusterRoleBinding>(Api::all(client.clone()), metrics_binding()).await?;
    make_class(client).await?;
    write::<Service>(Api::namespaced(client.clone(), NAMESPACE), service(dns_address)).await?;
    write::<ReplicationController>(Api::namespaced(client.clone(), NAMESPACE), controller()).await
}

/// Creates what the provisioner needs, or brings it to this version's state.
pub(crate) async fn apply_provisioner(client: &Client) -> kube::Result<()> {
    write::<ServiceAccount>(Api::namespaced(client.clone(), NAMESPACE), provisioner_account()).await?;
    write::<ClusterRole>(Api::all(client.clone()), provisioner_role()).await?;
    write::<ClusterRoleBinding>(Api::all(client.clone()), provisioner_binding()).await
}

async fn write<K>(api: Api<K>, object: Value) -> kube::Result<()>
where
    K: Resource + Clone + std::fmt::Debug + DeserializeOwned + Serialize,
{
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    // Looked for first: a second create would be refused for its cluster IP, not for its name.
    if api.get_opt(name).await?.is_some() {
        return api.patch(name, &PatchParams::default(), &Patch::Merge(&object)).await.map(drop);
    }
    let typed: K = serde_json::from_value(object).map_err(kube::Error::SerdeError)?;
    api.create(&PostParams::default(), &typed).await.map(drop)
}

/// Makes the class unless that was done before.
async fn make_class(client: &Client) -> kube::Result<()> {
    let namespaces = Api::<Namespace>::all(client.clone());
    if namespaces.get(NAMESPACE).await?.annotations().contains_key(CLASS_MADE) {
        return Ok(());
    }
    let class: StorageClass = serde_json::from_value(storage_class()).map_err(kube::Error::SerdeError)?;
    match Api::all(client.clone()).create(&PostParams::default(), &class).await {
        Err(error) if !skiff_informer::is_already_exists(&error) => return Err(error),
        _ => {}
    }
    let made = json!({"metadata": {"annotations": {CLASS_MADE: STORAGE_CLASS}}});
    namespaces.patch(NAMESPACE, &PatchParams::default(), &Patch::Merge(made)).await.map(drop)
}

/// Volumes are made on the node of the pod that is the first to use the claim.
fn storage_class() -> Value {
    json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
        "metadata": {
            "name": STORAGE_CLASS, "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": PROVISIONER, "reclaimPolicy": "Delete", "volumeBindingMode": "WaitForFirstConsumer",
        "allowVolumeExpansion": true,
    })
}

fn labels() -> Value {
    json!({"k8s-app": DNS, "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "CoreDNS"})
}

fn account() -> Value {
    json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": DNS, "namespace": NAMESPACE}})
}

fn binding() -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": "kube-dns"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:coredns"},
        "subjects": [{"kind": "ServiceAccount", "name": DNS, "namespace": NAMESPACE}],
    })
}

/// Whoever may view a namespace may see what is used in it.
fn metrics_reader() -> Value {
    let part_of = |role: &str| format!("rbac.authorization.k8s.io/aggregate-to-{role}");
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {
            "name": "system:aggregated-metrics-reader",
            "labels": {part_of("view"): "true", part_of("edit"): "true", part_of("admin"): "true"},
        },
        "rules": [{"apiGroups": ["metrics.k8s.io"], "resources": ["pods", "nodes"], "verbs": ["get", "list", "watch"]}],
    })
}

fn metrics_role() -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": "system:metrics-server"},
        "rules": [
            {"apiGroups": [""], "resources": ["nodes/proxy"], "verbs": ["get"]},
            {"apiGroups": [""], "resources": ["pods", "nodes"], "verbs": ["get", "list", "watch"]},
        ],
    })
}

fn metrics_binding() -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": "system:metrics-server"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:metrics-server"},
        "subjects": [{"kind": "ServiceAccount", "name": METRICS, "namespace": NAMESPACE}],
    })
}

fn provisioner_account() -> Value {
    json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": PROVISIONER_ACCOUNT, "namespace": NAMESPACE}})
}

/// Name of the provisioner's role.
const PROVISIONER_ROLE: &str = "system:local-path-provisioner";

fn provisioner_role() -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": PROVISIONER_ROLE},
        "rules": [
            {"apiGroups": [""], "resources": ["persistentvolumes"], "verbs": ["get", "list", "watch", "create", "patch", "delete"]},
            {"apiGroups": [""], "resources": ["persistentvolumeclaims"], "verbs": ["get", "list", "watch"]},
            {"apiGroups": [""], "resources": ["persistentvolumeclaims/status"], "verbs": ["patch"]},
            {"apiGroups": ["storage.k8s.io"], "resources": ["storageclasses"], "verbs": ["get", "list", "watch"]},
            {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list"]},
            {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
        ],
    })
}

fn provisioner_binding() -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": PROVISIONER_ROLE},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": PROVISIONER_ROLE},
        "subjects": [{"kind": "ServiceAccount", "name": PROVISIONER_ACCOUNT, "namespace": NAMESPACE}],
    })
}

fn service(address: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": DNS, "namespace": NAMESPACE, "labels": labels()},
        "spec": {
            "selector": {"k8s-app": DNS}, "clusterIP": address,
            "ports": [{"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53, "protocol": "TCP"}],
        },
    })
}

fn controller() -> Value {
    json!({
        "apiVersion": "v1", "kind": "ReplicationController",
        "metadata": {"name": DNS, "namespace": NAMESPACE, "labels": {"k8s-app": DNS}},
        "spec": {
            "replicas": 1, "selector": {"k8s-app": DNS},
            "template": {"metadata": {"labels": {"k8s-app": DNS}}, "spec": pod()},
        },
    })
}

fn pod() -> Value {
    let probe = |path: &str, port: u16, period: u32, failures: u32| json!({"httpGet": {"path": path, "port": port}, "periodSeconds": period, "timeoutSeconds": 2, "failureThreshold": failures});
    json!({
        "serviceAccountName": DNS,
        // The node's resolvers answer what the cluster does not know.
        "dnsPolicy": "Default",
        "tolerations": [{"operator": "Exists"}],
        "containers": [{
            "name": CONTAINER, "image": IMAGE, "imagePullPolicy": "IfNotPresent", "args": ["dns"],
            "ports": [
                {"name": "dns", "containerPort": 53, "protocol": "UDP"},
                {"name": "dns-tcp", "containerPort": 53, "protocol": "TCP"},
            ],
            "startupProbe": probe("/ready", 8181, 1, 60),
            "readinessProbe": probe("/ready", 8181, 10, 3),
            "livenessProbe": probe("/health", 8080, 10, 5),
            "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "128Mi"}},
            "env": [{"name": "MALLOC_ARENA_MAX", "value": "1"}],
            "securityContext": {
                "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
                "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
            },
        }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_of_their_kinds() {
        assert!(serde_json::from_value::<ServiceAccount>(account()).is_ok());
        assert!(serde_json::from_value::<ClusterRoleBinding>(binding()).is_ok());
        assert!(serde_json::from_value::<StorageClass>(storage_class()).is_ok());
        assert!(serde_json::from_value::<Service>(service("10.96.0.10")).is_ok());
        let controller: ReplicationController = serde_json::from_value(controller()).unwrap_or_default();
        let pod = controller.spec.and_then(|spec| spec.template).and_then(|template| template.spec);
        assert_eq!(pod.map(|pod| pod.containers.len()), Some(1));
    }
}
