//! Deployments, StatefulSets and DaemonSets against the real API server, with pods that run because the test says so.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use common::{Cluster, until};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{Event, Node, PersistentVolumeClaim, Pod};
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, Resource, ResourceExt};
use serde_json::{Value, json};

fn template(app: &str, image: &str) -> Value {
    json!({"metadata": {"labels": {"app": app}}, "spec": {"containers": [{"name": "main", "image": image}]}})
}

fn workload(name: &str, more: Value) -> Value {
    let mut spec = json!({"selector": {"matchLabels": {"app": name}}, "template": template(name, "one")});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"metadata": {"name": name}, "spec": spec})
}

async fn change<K>(cluster: &Cluster, name: &str, spec: Value)
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
{
    let patch = Patch::Strategic(json!({ "spec": spec }));
    cluster.in_default::<K>().patch(name, &PatchParams::default(), &patch).await.unwrap();
}

fn image_is(image: &str) -> Value {
    json!({"template": {"spec": {"containers": [{"name": "main", "image": image}]}}})
}

fn images(pods: &[Pod]) -> Vec<String> {
    let image = |pod: &Pod| pod.spec.as_ref().unwrap().containers[0].image.clone().unwrap();
    pods.iter().map(image).collect()
}

/// Whether a rollout is done, as `kubectl rollout status` sees it.
fn is_rolled_out(deployment: &Deployment) -> bool {
    let (wanted, status) =
        (deployment.spec.as_ref().unwrap().replicas, deployment.status.clone().unwrap_or_default());
    status.observed_generation == deployment.metadata.generation
        && [status.updated_replicas, status.replicas, status.available_replicas]
            .iter()
            .all(|number| *number == wanted)
}

async fn rolled_out(cluster: &Cluster, name: &str) -> Deployment {
    let done = |all: &[Deployment]| all.iter().any(|one| one.name_any() == name && is_rolled_out(one));
    let all = cluster.until::<Deployment>("default", done).await;
    all.into_iter().find(|one| one.name_any() == name).unwrap()
}

fn progress(deployment: &Deployment) -> (String, String) {
    let conditions = deployment.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let found = conditions.into_iter().find(|condition| condition.type_ == "Progressing").unwrap();
    (found.reason.clone().unwrap(), found.message.clone().unwrap())
}

#[tokio::test]
async fn a_deployment_is_rolled_out_updated_and_rolled_back() {
    let cluster = Cluster::start().await;
    cluster.agent();
    cluster.create::<Deployment>(workload("web", json!({"replicas": 10}))).await;
    let first = rolled_out(&cluster, "web").await;
    assert_eq!(first.annotations()["deployment.kubernetes.io/revision"], "1");
    assert_eq!(first.metadata.generation, Some(1), "what the controller writes makes no generation");
    let sets = cluster.until::<ReplicaSet>("default", |all| all.len() == 1).await;
    let message = format!("ReplicaSet {:?} has successfully progressed.", sets[0].name_any());
    assert_eq!(progress(&first), ("NewReplicaSetAvailable".into(), message));

    change::<Deployment>(&cluster, "web", image_is("two")).await;
    let second = rolled_out(&cluster, "web").await;
    assert_eq!(second.annotations()["deployment.kubernetes.io/revision"], "2");
    let active = |pod: &Pod| pod.metadata.deletion_timestamp.is_none();
    let pods =
        cluster.until::<Pod>("default", |all| all.iter().filter(|pod| active(pod)).count() == 10).await;
    assert!(images(&pods).iter().all(|image| image == "two"));

    // Back: the old ReplicaSet becomes the third revision.
    change::<Deployment>(&cluster, "web", image_is("one")).await;
    let third = rolled_out(&cluster, "web").await;
    assert_eq!(third.annotations()["deployment.kubernetes.io/revision"], "3");
    let sets = cluster.in_default::<ReplicaSet>().list(&Default::default()).await.unwrap().items;
    assert_eq!(sets.len(), 2);
    let back = sets.iter().find(|set| set.spec.as_ref().unwrap().replicas == Some(10)).unwrap();
    assert_eq!(back.annotations()["deployment.kubernetes.io/revision-history"], "1");
    let told = |events: &[Event], start: &str| {
        let scaling = events.iter().filter(|event| event.reason.as_deref() == Some("ScalingReplicaSet"));
        scaling.filter_map(|event| event.message.as_deref()).any(|message| message.starts_with(start))
    };
    let up = format!("Scaled up replica set {} from 0 to 10", back.name_any());
    cluster.until::<Event>("default", |all| told(all, &up) && told(all, "Scaled down replica set ")).await;
}

#[tokio::test]
async fn a_rolling_update_keeps_its_promises_at_every_moment() {
    let cluster = Cluster::start().await;
    cluster.agent();
    let strategy = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 2, "maxUnavailable": 1}});
    cluster.create::<Deployment>(workload("web", json!({"replicas": 10, "strategy": strategy}))).await;
    rolled_out(&cluster, "web").await;
    let seen = std::sync::Mutex::new((usize::MAX, 0));
    let done = |all: &[Pod]| {
        let active: Vec<_> =
            all.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).cloned().collect();
        let ready = active.iter().filter(|pod| common::is_ready(pod)).count();
        let mut seen = seen.lock().unwrap();
        *seen = (seen.0.min(ready), seen.1.max(active.len()));
        images(&active).iter().all(|image| image == "two") && ready == 10
    };
    change::<Deployment>(&cluster, "web", image_is("two")).await;
    cluster.until::<Pod>("default", done).await;
    let (fewest, most) = *seen.lock().unwrap();
    assert!(fewest >= 9, "only {fewest} were ready at one time");
    assert!(most <= 12, "{most} pods at one time");
}

#[tokio::test]
async fn recreating_lets_all_old_pods_end_first() {
    let cluster = Cluster::start().await;
    cluster.agent();
    let strategy = json!({"type": "Recreate"});
    cluster.create::<Deployment>(workload("web", json!({"replicas": 3, "strategy": strategy}))).await;
    rolled_out(&cluster, "web").await;
    let mixed = std::sync::Mutex::new(false);
    let done = |all: &[Pod]| {
        let images = images(all);
        let old = images.iter().any(|image| image == "one");
        *mixed.lock().unwrap() |= old && images.iter().any(|image| image == "two");
        images.len() == 3 && !old
    };
    change::<Deployment>(&cluster, "web", image_is("two")).await;
    cluster.until::<Pod>("default", done).await;
    assert!(!*mixed.lock().unwrap());
    rolled_out(&cluster, "web").await;
}

#[tokio::test]
async fn a_deployment_that_cannot_make_pods_says_so() {
    let cluster = Cluster::start().await;
    let quota = json!({"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}});
    cluster.create::<k8s_openapi::api::core::v1::ResourceQuota>(quota).await;
    let counted = |quota: &k8s_openapi::api::core::v1::ResourceQuota| {
        quota.status.as_ref().is_some_and(|status| status.used.is_some())
    };
    cluster.until("default", |all: &[_]| all.iter().all(counted)).await;
    cluster.create::<Deployment>(workload("web", json!({"replicas": 1}))).await;
    let fails = |deployment: &Deployment| {
        let conditions = deployment.status.iter().flat_map(|status| status.conditions.iter().flatten());
        conditions.into_iter().any(|condition| {
            condition.type_ == "ReplicaFailure"
                && condition.reason.as_deref() == Some("FailedCreate")
                && condition
                    .message
                    .as_deref()
                    .is_some_and(|message| message.contains("exceeded quota: none"))
        })
    };
    cluster.until::<Deployment>("default", |all| all.iter().any(fails)).await;
}

#[tokio::test]
async fn a_hundred_deployments_cost_what_changes() {
    let cluster = Cluster::start().await;
    cluster.agent();
    for number in 0..100 {
        cluster.create::<Deployment>(workload(&format!("web-{number}"), json!({"replicas": 10}))).await;
    }
    cluster.until::<Deployment>("default", |all| all.len() == 100 && all.iter().all(is_rolled_out)).await;
    assert_eq!(cluster.requests("POST", "replicasets").await, 100);
    let statuses =
        async || cluster.requests("PUT", "replicasets").await + cluster.requests("PUT", "deployments").await;
    let (before, pods) = (statuses().await, cluster.requests("POST", "pods").await);
    assert_eq!(pods, 1000, "no pod is made twice");
    // One of them changes: what is written does not depend on the others.
    let events = cluster.requests("POST", "events").await;
    change::<Deployment>(&cluster, "web-7", json!({"replicas": 11})).await;
    let grown = |all: &[Deployment]| {
        all.iter().all(is_rolled_out)
            && all
                .iter()
                .any(|one| one.status.as_ref().is_some_and(|status| status.available_replicas == Some(11)))
    };
    cluster.until::<Deployment>("default", grown).await;
    let (after, pods) = (statuses().await, cluster.requests("POST", "pods").await);
    println!(
        "for 1000 pods {before} writes of ReplicaSets and Deployments, {events} events; for one more {}",
        after - before
    );
    assert_eq!(pods, 1001);
    assert!(after - before <= 20, "{} writes for one pod", after - before);
}

#[tokio::test]
async fn a_stateful_set_makes_and_updates_its_pods_in_order() {
    let cluster = Cluster::start().await;
    cluster.agent();
    cluster.create::<StatefulSet>(workload("db", json!({"replicas": 3, "serviceName": "db"}))).await;
    let settled = |revisions: usize| {
        move |set: &StatefulSet| {
            let status = set.status.clone().unwrap_or_default();
            status.ready_replicas == Some(3)
                && status.observed_generation == set.metadata.generation
                && status.current_revision == status.update_revision
                && status.updated_replicas == Some(3)
                && revisions > 0
        }
    };
    let all = cluster.until::<StatefulSet>("default", |all| all.iter().all(settled(1))).await;
    let first = all[0].status.clone().unwrap().current_revision.unwrap();
    let pods = cluster.until::<Pod>("default", |all| all.len() == 3).await;
    let names: Vec<_> = pods.iter().map(ResourceExt::name_any).collect();
    assert_eq!(names, ["db-0", "db-1", "db-2"]);
    for pod in &pods {
        assert_eq!(pod.labels()["controller-revision-hash"], first);
        assert_eq!(pod.labels()["statefulset.kubernetes.io/pod-name"], pod.name_any());
    }
    let mut created: Vec<_> = pods.iter().map(|pod| pod.resource_version().unwrap()).collect();
    created.dedup();
    assert_eq!(created.len(), 3);

    let partition = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 2}});
    let mut update = image_is("two");
    update["updateStrategy"] = partition;
    change::<StatefulSet>(&cluster, "db", update).await;
    let of_image = |all: &[Pod], wanted: [&str; 3]| images(all) == wanted && all.iter().all(common::is_ready);
    cluster.until::<Pod>("default", |all| of_image(all, ["one", "one", "two"])).await;
    change::<StatefulSet>(&cluster, "db", json!({"updateStrategy": {"rollingUpdate": {"partition": 0}}}))
        .await;
    cluster.until::<Pod>("default", |all| of_image(all, ["two", "two", "two"])).await;
    cluster.until::<StatefulSet>("default", |all| all.iter().all(settled(2))).await;
    let revisions = cluster.until::<ControllerRevision>("default", |all| all.len() == 2).await;
    assert!(revisions.iter().all(|revision| revision.owner_references()[0].name == "db"));

    change::<StatefulSet>(&cluster, "db", json!({"replicas": 1})).await;
    cluster.until::<Pod>("default", |all| all.len() == 1 && all[0].name_any() == "db-0").await;
    let made =
        |event: &Event| event.message.as_deref() == Some("Create Pod db-0 in StatefulSet db successful");
    cluster.until::<Event>("default", |all| all.iter().any(made)).await;
}

#[tokio::test]
async fn the_claims_of_a_stateful_set_are_made_and_go_by_its_policy() {
    let cluster = Cluster::start().await;
    cluster.agent();
    let data = json!({"metadata": {"name": "data"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    let spec = json!({
        "replicas": 2, "serviceName": "db", "volumeClaimTemplates": [data],
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete", "whenScaled": "Delete"},
    });
    cluster.create::<StatefulSet>(workload("db", spec)).await;
    let owners = |claim: &PersistentVolumeClaim| -> Vec<String> {
        claim.owner_references().iter().map(|owner| format!("{}/{}", owner.kind, owner.name)).collect()
    };
    let made = |all: &[PersistentVolumeClaim]| {
        all.len() == 2 && all.iter().all(|claim| owners(claim) == ["StatefulSet/db"])
    };
    let claims = cluster.until::<PersistentVolumeClaim>("default", made).await;
    let names: Vec<_> = claims.iter().map(ResourceExt::name_any).collect();
    assert_eq!(names, ["data-db-0", "data-db-1"]);
    assert_eq!(claims[0].labels()["app"], "db");
    let pods = cluster.until::<Pod>("default", |all| all.len() == 2).await;
    let volume = &pods[1].spec.as_ref().unwrap().volumes.as_ref().unwrap()[0];
    assert_eq!(volume.persistent_volume_claim.as_ref().unwrap().claim_name, "data-db-1");
    let told = |event: &Event| {
        event.message.as_deref() == Some("Create Claim data-db-0 Pod db-0 in StatefulSet db success")
    };
    cluster.until::<Event>("default", |all| all.iter().any(told)).await;

    change::<StatefulSet>(&cluster, "db", json!({"replicas": 1})).await;
    let goes = |claim: &PersistentVolumeClaim| owners(claim) == ["Pod/db-1"];
    cluster
        .until::<PersistentVolumeClaim>("default", |all| {
            all.iter().all(|claim| claim.name_any() != "data-db-1" || goes(claim))
                && all.iter().any(|claim| owners(claim) == ["StatefulSet/db"])
        })
        .await;
}

#[tokio::test]
async fn a_daemon_set_has_a_pod_on_every_node() {
    let cluster = Cluster::start().await;
    cluster.scheduler();
    cluster.agent();
    for node in ["n1", "n2", "n3"] {
        cluster.add_node(node).await;
    }
    cluster.create::<DaemonSet>(workload("logs", json!({}))).await;
    let ready = |wanted: i32| {
        move |set: &DaemonSet| {
            let status = set.status.clone().unwrap_or_default();
            (status.desired_number_scheduled, status.number_available, status.updated_number_scheduled)
                == (wanted, Some(wanted), Some(wanted))
                && status.observed_generation == set.metadata.generation
        }
    };
    cluster.until::<DaemonSet>("default", |all| all.iter().all(ready(3))).await;
    let nodes = |all: &[Pod]| {
        let alive = all.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
        let mut nodes: Vec<String> = alive.filter_map(|pod| pod.spec.as_ref()?.node_name.clone()).collect();
        nodes.sort();
        nodes
    };
    cluster.until::<Pod>("default", |all| nodes(all) == ["n1", "n2", "n3"]).await;

    cluster.add_node("n4").await;
    cluster.until::<DaemonSet>("default", |all| all.iter().all(ready(4))).await;
    let taint = Patch::Strategic(json!({"spec": {"taints": [{"key": "gone", "effect": "NoExecute"}]}}));
    cluster.all::<Node>().patch("n1", &PatchParams::default(), &taint).await.unwrap();
    cluster.until::<Pod>("default", |all| nodes(all) == ["n2", "n3", "n4"]).await;
    cluster.until::<DaemonSet>("default", |all| all.iter().all(ready(3))).await;

    change::<DaemonSet>(&cluster, "logs", image_is("two")).await;
    let updated = |all: &[Pod]| nodes(all).len() == 3 && images(all).iter().all(|image| image == "two");
    cluster.until::<Pod>("default", updated).await;
    cluster.until::<DaemonSet>("default", |all| all.iter().all(ready(3))).await;
    let surge = json!({"updateStrategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}});
    let mut update = image_is("three");
    update["updateStrategy"] = surge["updateStrategy"].clone();
    change::<DaemonSet>(&cluster, "logs", update).await;
    cluster.until::<DaemonSet>("default", |all| all.iter().all(ready(3))).await;
    until(cluster.in_default::<Pod>(), |all: &[Pod]| {
        nodes(all).len() == 3 && images(all).iter().all(|image| image == "three")
    })
    .await;
    cluster.until::<ControllerRevision>("default", |all| all.len() == 3).await;
}

#[tokio::test]
async fn replica_sets_go_with_their_deployment() {
    let cluster = Cluster::start().await;
    cluster.agent();
    cluster.create::<Deployment>(workload("web", json!({"replicas": 2}))).await;
    rolled_out(&cluster, "web").await;
    let deployments: Api<Deployment> = cluster.in_default();
    deployments.delete("web", &DeleteParams::background()).await.unwrap();
    cluster.until::<ReplicaSet>("default", |all| all.is_empty()).await;
    cluster.until::<Pod>("default", |all| all.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_rolls_out_back_and_again() {
    let cluster = Cluster::start().await;
    cluster.scheduler();
    cluster.agent();
    cluster.add_node("n1").await;
    let kubectl = cluster.kubectl().await;
    let manifests = [
        ("deployment/web", json!({"apiVersion": "apps/v1", "kind": "Deployment"}), json!({"replicas": 3})),
        (
            "statefulset/db",
            json!({"apiVersion": "apps/v1", "kind": "StatefulSet"}),
            json!({"replicas": 2, "serviceName": "db"}),
        ),
        ("daemonset/logs", json!({"apiVersion": "apps/v1", "kind": "DaemonSet"}), json!({})),
    ];
    for (target, mut manifest, spec) in manifests {
        let name = target.split('/').nth(1).unwrap();
        manifest.as_object_mut().unwrap().extend(workload(name, spec).as_object().unwrap().clone());
        kubectl.create(&manifest).await;
        let done =
            |text: &str| text.contains("successfully rolled out") || text.contains("rolling update complete");
        let status = format!("rollout status {target} --timeout=20s");
        assert!(done(&kubectl.run(&status).await) || target.starts_with("statefulset"), "{target}");
        kubectl.run(&format!("set image {target} main=two")).await;
        kubectl.run(&status).await;
        let history = kubectl.run(&format!("rollout history {target}")).await;
        assert!(history.lines().any(|line| line.starts_with("2 ")), "{history}");
        let first = kubectl.run(&format!("rollout history {target} --revision=1")).await;
        assert!(first.contains("one"), "{first}");
        let back = kubectl.run(&format!("rollout undo {target}")).await;
        assert!(back.contains("rolled back"), "{back}");
        kubectl.run(&status).await;
        let image = "jsonpath={.spec.template.spec.containers[0].image}";
        assert_eq!(kubectl.run(&format!("get {target} -o {image}")).await, "one");
        let history = kubectl.run(&format!("rollout history {target}")).await;
        assert!(history.lines().any(|line| line.starts_with("3 ")), "{history}");
        let again = kubectl.run(&format!("rollout restart {target}")).await;
        assert!(again.contains("restarted"), "{again}");
        kubectl.run(&status).await;
    }
    assert!(kubectl.run("rollout pause deployment/web").await.contains("paused"));
    kubectl.run("set image deployment/web main=three").await;
    kubectl.run("scale deployment/web --replicas=4").await;
    cluster
        .until::<Pod>("default", |all| {
            let web = all.iter().filter(|pod| pod.labels()["app"] == "web").cloned().collect::<Vec<_>>();
            web.len() == 4 && images(&web).iter().all(|image| image == "one")
        })
        .await;
    assert!(kubectl.run("rollout resume deployment/web").await.contains("resumed"));
    assert!(
        kubectl.run("rollout status deployment/web --timeout=20s").await.contains("successfully rolled out")
    );
}
