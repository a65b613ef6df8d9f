//! Claims, volumes, and pods that wait for them, against the real API server.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use common::{Cluster, until};
use futures::StreamExt as _;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Event, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

const SELECTED: &str = "volume.kubernetes.io/selected-node";
const PROVISIONER: &str = "volume.kubernetes.io/storage-provisioner";

fn claim(name: &str, class: Option<&str>) -> Value {
    json!({"metadata": {"name": name}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": class,
    }})
}

async fn make_volume(cluster: &Cluster, name: &str, spec: Value) -> PersistentVolume {
    let mut volume = json!({"metadata": {"name": name}, "spec": {
        "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "2Gi"}, "storageClassName": "",
        "hostPath": {"path": "/data"},
    }});
    volume["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let volume = serde_json::from_value(volume).unwrap();
    cluster.all().create(&PostParams::default(), &volume).await.unwrap()
}

async fn make_class(cluster: &Cluster, name: &str, provisioner: &str, mode: &str, is_default: bool) {
    let class = json!({
        "metadata": {"name": name, "annotations": {"storageclass.kubernetes.io/is-default-class": is_default.to_string()}},
        "provisioner": provisioner, "volumeBindingMode": mode,
    });
    let class: StorageClass = serde_json::from_value(class).unwrap();
    cluster.all::<StorageClass>().create(&PostParams::default(), &class).await.unwrap();
}

fn phase_of(volume: &PersistentVolume) -> &str {
    volume.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("")
}

fn is_claim_in(claim: &PersistentVolumeClaim, name: &str, phase: &str) -> bool {
    claim.name_any() == name
        && claim.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some(phase))
}

async fn until_volume(cluster: &Cluster, name: &str, phase: &str) {
    let is_it = |volume: &PersistentVolume| volume.name_any() == name && phase_of(volume) == phase;
    until(cluster.all(), |all: &[PersistentVolume]| all.iter().any(is_it)).await;
}

async fn until_claim(cluster: &Cluster, name: &str, phase: &str) -> PersistentVolumeClaim {
    let all = cluster
        .until::<PersistentVolumeClaim>("default", |all| {
            all.iter().any(|claim| is_claim_in(claim, name, phase))
        })
        .await;
    all.into_iter().find(|claim| claim.name_any() == name).unwrap()
}

fn volume_of(claim: &PersistentVolumeClaim) -> &str {
    claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref()).unwrap_or("")
}

async fn until_told(cluster: &Cluster, reason: &str, message: &str) {
    let is_it = |event: &Event| {
        event.reason.as_deref() == Some(reason)
            && event.message.as_deref().is_some_and(|m| m.contains(message))
    };
    cluster.until::<Event>("default", |all| all.iter().any(is_it)).await;
}

fn pod_with(name: &str, volume: Value) -> Value {
    let mut pod = common::pod(name, "app");
    pod["spec"]["volumes"] = json!([volume]);
    pod
}

fn claiming(name: &str, claim: &str) -> Value {
    pod_with(name, json!({"name": "data", "persistentVolumeClaim": {"claimName": claim}}))
}

async fn until_on_node(cluster: &Cluster, pod: &str) -> String {
    let node = |one: &Pod| one.spec.as_ref().and_then(|spec| spec.node_name.clone());
    let pods = cluster
        .until::<Pod>("default", |all| all.iter().any(|one| one.name_any() == pod && node(one).is_some()))
        .await;
    node(pods.iter().find(|one| one.name_any() == pod).unwrap()).unwrap()
}

/// Makes volumes of the provisioner `x.io/p` as soon as they are asked for, as a node agent would.
fn provision(cluster: &Cluster) {
    let client = cluster.client.clone();
    tokio::spawn(async move {
        let claims = Api::<PersistentVolumeClaim>::all(client.clone());
        let mut events = watcher(claims, watcher::Config::default()).applied_objects().boxed();
        while let Some(Ok(claim)) = events.next().await {
            let asked = claim.annotations().get(PROVISIONER).is_some_and(|by| by == "x.io/p");
            let Some(node) = claim.annotations().get(SELECTED).filter(|_| asked) else { continue };
            let volume = json!({
                "metadata": {"name": format!("pvc-{}", claim.uid().unwrap()),
                             "annotations": {"pv.kubernetes.io/provisioned-by": "x.io/p"}},
                "spec": {
                    "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/made"},
                    "storageClassName": claim.spec.as_ref().unwrap().storage_class_name,
                    "persistentVolumeReclaimPolicy": "Delete",
                    "claimRef": {"namespace": claim.namespace(), "name": claim.name_any(), "uid": claim.uid()},
                    "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                        {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}]}},
                },
            });
            let volume: PersistentVolume = serde_json::from_value(volume).unwrap();
            // The claim may be seen again before it is bound.
            drop(Api::all(client.clone()).create(&PostParams::default(), &volume).await);
        }
    });
}

/// Two nodes with the labels that tell them apart, and a scheduler.
async fn with_nodes() -> Cluster {
    let cluster = Cluster::start().await;
    cluster.scheduler();
    for name in ["n1", "n2"] {
        cluster.add_node(name).await;
        let labels = Patch::Merge(json!({"metadata": {"labels": {"kubernetes.io/hostname": name}}}));
        let nodes = cluster.all::<k8s_openapi::api::core::v1::Node>();
        nodes.patch(name, &PatchParams::default(), &labels).await.unwrap();
    }
    cluster
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_is_bound_to_the_volume_that_suits_and_leaves_it() {
    let cluster = Cluster::start().await;
    let claims = cluster.in_default::<PersistentVolumeClaim>();
    cluster.create::<PersistentVolumeClaim>(claim("c", Some(""))).await;
    until_told(&cluster, "FailedBinding", "no persistent volumes available for this claim").await;
    make_volume(&cluster, "v", json!({})).await;
    let bound = until_claim(&cluster, "c", "Bound").await;
    assert_eq!(volume_of(&bound), "v");
    let status = bound.status.unwrap();
    assert_eq!(status.capacity.unwrap()["storage"].0, "2Gi");
    until_volume(&cluster, "v", "Bound").await;
    claims.delete("c", &DeleteParams::default()).await.unwrap();
    until_volume(&cluster, "v", "Released").await;
    make_volume(&cluster, "w", json!({"persistentVolumeReclaimPolicy": "Delete"})).await;
    cluster.create::<PersistentVolumeClaim>(claim("d", Some(""))).await;
    until_claim(&cluster, "d", "Bound").await;
    claims.delete("d", &DeleteParams::default()).await.unwrap();
    until_volume(&cluster, "w", "Failed").await;
    let failed = cluster.all::<PersistentVolume>().get("w").await.unwrap();
    assert_eq!(
        failed.status.unwrap().message.as_deref(),
        Some(r#"error getting deleter volume plugin for volume "w": no deletable volume plugin matched"#)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn each_side_may_name_the_other_and_a_lost_volume_is_told_of() {
    let cluster = Cluster::start().await;
    make_volume(&cluster, "other", json!({})).await;
    make_volume(&cluster, "meant", json!({"claimRef": {"namespace": "default", "name": "c"}})).await;
    let mut named = claim("d", Some(""));
    named["spec"]["volumeName"] = "other".into();
    until_volume(&cluster, "meant", "Available").await;
    cluster.create::<PersistentVolumeClaim>(claim("c", Some(""))).await;
    cluster.create::<PersistentVolumeClaim>(named).await;
    assert_eq!(volume_of(&until_claim(&cluster, "c", "Bound").await), "meant");
    let bound = until_claim(&cluster, "d", "Bound").await;
    assert!(!bound.annotations().contains_key("pv.kubernetes.io/bound-by-controller"));
    let volumes = cluster.all::<PersistentVolume>();
    volumes.delete("meant", &DeleteParams::default()).await.unwrap();
    let unprotected = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    volumes.patch("meant", &PatchParams::default(), &unprotected).await.unwrap();
    until_claim(&cluster, "c", "Lost").await;
    until_told(&cluster, "ClaimLost", "Bound claim has lost its PersistentVolume").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_without_a_class_is_given_the_default_later() {
    let cluster = Cluster::start().await;
    cluster.create::<PersistentVolumeClaim>(claim("c", None)).await;
    until_told(&cluster, "FailedBinding", "no storage class is set").await;
    make_class(&cluster, "s", "x.io/p", "Immediate", true).await;
    let given = |claim: &PersistentVolumeClaim| {
        claim.annotations().get(PROVISIONER).map(String::as_str) == Some("x.io/p")
    };
    let claims = cluster.until::<PersistentVolumeClaim>("default", |all| all.iter().any(given)).await;
    assert_eq!(claims[0].spec.as_ref().unwrap().storage_class_name.as_deref(), Some("s"));
    until_told(&cluster, "ExternalProvisioning", "the external provisioner 'x.io/p'").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_goes_where_its_volume_is() {
    let cluster = with_nodes().await;
    make_class(&cluster, "s", "kubernetes.io/no-provisioner", "WaitForFirstConsumer", false).await;
    cluster.create::<Pod>(claiming("p", "c")).await;
    until_told(&cluster, "FailedScheduling", r#"persistentvolumeclaim "c" not found. not found"#).await;
    cluster.create::<PersistentVolumeClaim>(claim("c", Some("s"))).await;
    until_told(&cluster, "FailedScheduling", "2 node(s) didn't find available persistent volumes to bind.")
        .await;
    until_told(&cluster, "WaitForPodScheduled", "waiting for pod p to be scheduled").await;
    let on_n2 = json!({"required": {"nodeSelectorTerms": [{"matchExpressions": [
        {"key": "kubernetes.io/hostname", "operator": "In", "values": ["n2"]}]}]}});
    make_volume(&cluster, "v", json!({"storageClassName": "s", "nodeAffinity": on_n2})).await;
    assert_eq!(until_on_node(&cluster, "p").await, "n2");
    assert_eq!(volume_of(&until_claim(&cluster, "c", "Bound").await), "v");
    cluster.create::<Pod>(claiming("q", "c")).await;
    assert_eq!(until_on_node(&cluster, "q").await, "n2", "the volume is bound by now");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_is_made_on_the_node_of_the_pod() {
    let cluster = with_nodes().await;
    make_class(&cluster, "s", "x.io/p", "WaitForFirstConsumer", true).await;
    provision(&cluster);
    cluster.create::<PersistentVolumeClaim>(claim("c", None)).await;
    until_told(&cluster, "WaitForFirstConsumer", "waiting for first consumer to be created before binding")
        .await;
    cluster.create::<Pod>(claiming("p", "c")).await;
    let node = until_on_node(&cluster, "p").await;
    let bound = until_claim(&cluster, "c", "Bound").await;
    assert_eq!(bound.annotations()[SELECTED], node);
    assert_eq!(volume_of(&bound), format!("pvc-{}", bound.uid().unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_with_a_volume_of_its_own_gets_a_claim() {
    let cluster = with_nodes().await;
    make_class(&cluster, "s", "x.io/p", "WaitForFirstConsumer", true).await;
    provision(&cluster);
    let template = json!({"metadata": {"labels": {"of": "p"}}, "spec": claim("", None)["spec"]});
    let own = json!({"name": "own", "ephemeral": {"volumeClaimTemplate": template}});
    cluster.create::<PersistentVolumeClaim>(claim("q-own", None)).await;
    cluster.create::<Pod>(pod_with("p", own.clone())).await;
    let bound = until_claim(&cluster, "p-own", "Bound").await;
    assert_eq!((bound.labels()["of"].as_str(), bound.owner_references().len()), ("p", 1));
    until_on_node(&cluster, "p").await;
    cluster.create::<Pod>(pod_with("q", own)).await;
    let why = "PVC default/q-own was not created for pod default/q (pod is not owner)";
    until_told(&cluster, "FailedBinding", &format!("ephemeral volume own: {why}")).await;
    until_told(&cluster, "FailedScheduling", why).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pods_of_a_stateful_set_have_volumes_that_go_as_the_policy_says() {
    let cluster = with_nodes().await;
    make_class(&cluster, "s", "x.io/p", "WaitForFirstConsumer", true).await;
    provision(&cluster);
    cluster.agent();
    let set = json!({"metadata": {"name": "db"}, "spec": {
        "serviceName": "db", "replicas": 2, "selector": {"matchLabels": {"app": "db"}},
        "persistentVolumeClaimRetentionPolicy": {"whenScaled": "Delete", "whenDeleted": "Retain"},
        "template": {"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
        "volumeClaimTemplates": [claim("data", None)],
    }});
    cluster.create::<StatefulSet>(set).await;
    until_claim(&cluster, "data-db-0", "Bound").await;
    until_claim(&cluster, "data-db-1", "Bound").await;
    until_on_node(&cluster, "db-1").await;
    let sets = cluster.in_default::<StatefulSet>();
    let scale = Patch::Merge(json!({"spec": {"replicas": 1}}));
    sets.patch("db", &PatchParams::default(), &scale).await.unwrap();
    let volumes =
        |all: &[PersistentVolume]| all.iter().filter(|one| phase_of(one) == "Released").count() == 1;
    until(cluster.all(), volumes).await;
    let claims = cluster.until::<PersistentVolumeClaim>("default", |all| all.len() == 1).await;
    assert_eq!(claims[0].name_any(), "data-db-0");
}
