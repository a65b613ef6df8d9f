//! The controllers against the real API server.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use std::time::Instant;

use common::{Cluster, pod, replication_controller, service, until};
use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
use k8s_openapi::api::core::v1::{
    ConfigMap, Endpoints, Event, Node, ObjectReference, Pod, ReplicationController, ResourceQuota, Service,
    ServiceAccount,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::events::v1::Event as NewEvent;
use k8s_openapi::api::networking::v1::ServiceCIDR;
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;
use skiff_informer::{EventType, Happening, SeriesRecorder};

fn active(pods: &[Pod]) -> usize {
    pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).count()
}

async fn scale(cluster: &Cluster, name: &str, replicas: i32) {
    let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
    let api = cluster.in_default::<ReplicationController>();
    api.patch(name, &PatchParams::default(), &patch).await.unwrap();
}

#[tokio::test]
async fn a_cluster_gets_what_every_pod_needs() {
    let cluster = Cluster::start().await;
    cluster
        .until::<Service>("default", |all| all.iter().any(|service| service.name_any() == "kubernetes"))
        .await;
    let endpoints = cluster.until::<Endpoints>("default", |all| !all.is_empty()).await;
    let subset = &endpoints[0].subsets.as_ref().unwrap()[0];
    assert_eq!(subset.addresses.as_ref().unwrap()[0].ip, "192.0.2.1");
    let slices = cluster.until::<EndpointSlice>("default", |all| !all.is_empty()).await;
    assert_eq!(slices[0].name_any(), "kubernetes");
    assert_eq!(slices[0].endpoints.as_ref().unwrap()[0].addresses, ["192.0.2.1"]);
    let ready = |range: &ServiceCIDR| {
        let conditions = range.status.as_ref().and_then(|status| status.conditions.as_ref());
        !range.finalizers().is_empty() && conditions.into_iter().flatten().any(|c| c.status == "True")
    };
    until(cluster.all::<ServiceCIDR>(), |all| all.iter().any(ready)).await;
    for namespace in ["default", "kube-system"] {
        cluster.until::<ServiceAccount>(namespace, |all| all.iter().any(|a| a.name_any() == "default")).await;
        let maps = cluster
            .until::<ConfigMap>(namespace, |all| all.iter().any(|m| m.name_any() == "kube-root-ca.crt"));
        let maps = maps.await;
        let map = maps.iter().find(|map| map.name_any() == "kube-root-ca.crt").unwrap();
        assert_eq!(map.data.as_ref().unwrap()["ca.crt"], "the CA");
    }
}

#[tokio::test]
async fn nodes_get_ranges_and_taints() {
    let cluster = Cluster::start().await;
    cluster.add_node("n1").await;
    cluster.add_node("n2").await;
    let spec = |node: &Node| node.spec.clone().unwrap_or_default();
    let settled =
        |node: &Node| spec(node).pod_cidr.is_some() && spec(node).taints.unwrap_or_default().is_empty();
    let nodes = until(cluster.all::<Node>(), |all| all.len() == 2 && all.iter().all(settled)).await;
    let mut ranges: Vec<_> = nodes.iter().filter_map(|node| spec(node).pod_cidr).collect();
    ranges.sort();
    assert_eq!(ranges, ["10.244.0.0/24", "10.244.1.0/24"]);
    let cordon = Patch::Merge(json!({"spec": {"unschedulable": true}}));
    cluster.all::<Node>().patch("n1", &PatchParams::default(), &cordon).await.unwrap();
    let tainted =
        |node: &Node| spec(node).taints.iter().flatten().any(|t| t.key == "node.kubernetes.io/unschedulable");
    until(cluster.all::<Node>(), |all| all.iter().any(tainted)).await;
}

#[tokio::test]
async fn replicas_are_kept_scaled_adopted_and_released() {
    let cluster = Cluster::start().await;
    cluster.create::<Pod>(pod("orphan", "kubia")).await;
    cluster.create::<ReplicationController>(replication_controller("kubia", 3)).await;
    let owned = |pod: &Pod| !pod.owner_references().is_empty();
    let pods = cluster.until::<Pod>("default", |all| all.len() == 3 && all.iter().all(owned)).await;
    assert!(pods.iter().any(|pod| pod.name_any() == "orphan"), "adopted");

    cluster.in_default::<Pod>().delete(&pods[0].name_any(), &DeleteParams::default()).await.unwrap();
    let gone = pods[0].uid();
    cluster.until::<Pod>("default", |all| active(all) == 3 && all.iter().all(|pod| pod.uid() != gone)).await;

    let relabel = Patch::Merge(json!({"metadata": {"labels": {"app": "other"}}}));
    cluster.in_default::<Pod>().patch("orphan", &PatchParams::default(), &relabel).await.unwrap();
    let released = |pod: &Pod| pod.name_any() == "orphan" && pod.owner_references().is_empty();
    cluster.until::<Pod>("default", |all| active(all) == 4 && all.iter().any(released)).await;

    scale(&cluster, "kubia", 1).await;
    cluster.until::<Pod>("default", |all| active(all) == 2).await;
    let status = |rc: &ReplicationController| rc.status.clone().unwrap_or_default();
    let reported = |rc: &ReplicationController| {
        status(rc).replicas == 1 && status(rc).observed_generation == rc.metadata.generation
    };
    cluster.until::<ReplicationController>("default", |all| all.iter().all(reported)).await;
    let events = cluster.until::<Event>("default", |all| {
        all.iter().any(|event| event.reason.as_deref() == Some("SuccessfulDelete"))
    });
    let created = |event: &&Event| event.reason.as_deref() == Some("SuccessfulCreate");
    let events = events.await;
    let event = events.iter().find(created).unwrap();
    assert!(event.message.as_deref().unwrap().starts_with("Created pod: kubia-"));
}

#[tokio::test]
async fn exactly_as_many_pods_as_asked_for_are_created() {
    let cluster = Cluster::start().await;
    cluster.create::<ReplicationController>(replication_controller("kubia", 50)).await;
    for replicas in [53, 58, 60] {
        scale(&cluster, "kubia", replicas).await;
    }
    let started = Instant::now();
    cluster.until::<Pod>("default", |all| all.len() == 60).await;
    println!("60 pods after {:?}", started.elapsed());
    let reported =
        |rc: &ReplicationController| rc.status.as_ref().is_some_and(|status| status.replicas == 60);
    cluster.until::<ReplicationController>("default", |all| all.iter().all(reported)).await;
    let created = cluster.in_default::<Pod>().list(&Default::default()).await.unwrap();
    assert_eq!(created.items.len(), 60);
}

#[tokio::test]
async fn endpoints_follow_readiness_at_once() {
    let cluster = Cluster::start().await;
    cluster.add_node("n1").await;
    cluster.create::<Service>(service("kubia")).await;
    let of_kubia = |slice: &&EndpointSlice| slice.labels()["kubernetes.io/service-name"] == "kubia";
    let placeholder = |all: &[EndpointSlice]| all.iter().filter(of_kubia).count() == 1;
    cluster.until::<EndpointSlice>("default", placeholder).await;
    let mut bound = pod("p1", "kubia");
    bound["spec"]["nodeName"] = "n1".into();
    cluster.create::<Pod>(bound).await;
    let mut times = Vec::new();
    for ready in [false, true, false, true, false, true] {
        let started = Instant::now();
        cluster.run_pod("p1", "10.244.0.5", ready).await;
        let shows = |all: &[EndpointSlice]| {
            let endpoints = all.iter().filter(of_kubia).flat_map(|slice| slice.endpoints.iter().flatten());
            let ready_now: Vec<_> = endpoints.filter_map(|e| e.conditions.as_ref()?.ready).collect();
            ready_now == [ready]
        };
        cluster.until::<EndpointSlice>("default", shows).await;
        times.push(started.elapsed());
    }
    println!("readiness to slice: {times:?}");
    let ready = |endpoints: &Endpoints| {
        let subsets = endpoints.subsets.iter().flatten();
        endpoints.name_any() == "kubia" && subsets.flat_map(|s| s.addresses.iter().flatten()).count() == 1
    };
    cluster.until::<Endpoints>("default", |all| all.iter().any(ready)).await;
    cluster.in_default::<Service>().delete("kubia", &DeleteParams::default()).await.unwrap();
    cluster.until::<EndpointSlice>("default", |all| !all.iter().any(|slice| of_kubia(&slice))).await;
    cluster.until::<Endpoints>("default", |all| all.iter().all(|e| e.name_any() != "kubia")).await;
}

#[tokio::test]
async fn hand_made_endpoints_are_mirrored() {
    let cluster = Cluster::start().await;
    cluster.create::<Service>(json!({"metadata": {"name": "out"}, "spec": {"ports": [{"port": 80}]}})).await;
    cluster
        .create::<Endpoints>(json!({
            "metadata": {"name": "out"},
            "subsets": [{"addresses": [{"ip": "192.0.2.7"}], "ports": [{"port": 80}]}],
        }))
        .await;
    let addresses = |all: &[EndpointSlice]| -> Vec<String> {
        let ours = all.iter().filter(|slice| slice.labels()["kubernetes.io/service-name"] == "out");
        ours.flat_map(|slice| slice.endpoints.iter().flatten()).flat_map(|e| e.addresses.clone()).collect()
    };
    cluster.until::<EndpointSlice>("default", |all| addresses(all) == ["192.0.2.7"]).await;
    let moved = json!({"subsets": [{"addresses": [{"ip": "192.0.2.8"}], "ports": [{"port": 80}]}]});
    let api = cluster.in_default::<Endpoints>();
    api.patch("out", &PatchParams::default(), &Patch::Merge(moved)).await.unwrap();
    cluster.until::<EndpointSlice>("default", |all| addresses(all) == ["192.0.2.8"]).await;
    api.delete("out", &DeleteParams::default()).await.unwrap();
    cluster.until::<EndpointSlice>("default", |all| addresses(all).is_empty()).await;
}

/// An RC with two pods, deleted with `params`.
async fn delete_with(cluster: &Cluster, params: DeleteParams) {
    cluster.create::<ReplicationController>(replication_controller("kubia", 2)).await;
    cluster.until::<Pod>("default", |all| all.len() == 2).await;
    cluster.in_default::<ReplicationController>().delete("kubia", &params).await.unwrap();
    cluster.until::<ReplicationController>("default", |all| all.is_empty()).await;
}

#[tokio::test]
async fn dependents_go_with_their_owner() {
    let cluster = Cluster::start().await;
    delete_with(&cluster, DeleteParams::background()).await;
    cluster.until::<Pod>("default", |all| all.is_empty()).await;
    delete_with(&cluster, DeleteParams::foreground()).await;
    let left = cluster.in_default::<Pod>().list(&Default::default()).await.unwrap();
    assert!(left.items.is_empty(), "the owner waited for its pods");
    delete_with(&cluster, DeleteParams::orphan()).await;
    let detached = |pod: &Pod| pod.owner_references().is_empty();
    cluster.until::<Pod>("default", |all| all.len() == 2 && all.iter().all(detached)).await;
}

#[tokio::test]
async fn an_object_whose_owner_never_existed_goes() {
    let cluster = Cluster::start().await;
    let owner = json!([{"apiVersion": "v1", "kind": "Pod", "name": "never", "uid": "no-such-uid"}]);
    cluster.create::<ConfigMap>(json!({"metadata": {"name": "lost", "ownerReferences": owner}})).await;
    cluster.until::<ConfigMap>("default", |all| all.iter().all(|map| map.name_any() != "lost")).await;
}

#[tokio::test]
async fn each_pod_is_bound_by_one_request() {
    let cluster = Cluster::start().await;
    cluster.scheduler();
    cluster.add_node("n1").await;
    let bound = |pod: &Pod| pod.spec.as_ref().is_some_and(|spec| spec.node_name.as_deref() == Some("n1"));
    // The scheduler may see pods before it sees the node: only once it has bound one does it know of it for certain.
    let scout =
        json!({"metadata": {"name": "scout"}, "spec": {"containers": [{"name": "scout", "image": "scout"}]}});
    cluster.create::<Pod>(scout).await;
    cluster.until::<Pod>("default", |all| all.iter().any(bound)).await;
    let (posts, patches) = (cluster.requests("POST", "pods").await, cluster.requests("PATCH", "pods").await);
    cluster.create::<ReplicationController>(replication_controller("kubia", 30)).await;
    cluster.until::<Pod>("default", |all| all.len() == 31 && all.iter().all(bound)).await;
    // One to make each, and one to bind it; nothing is tried twice, nor told of in the pod's status.
    assert_eq!(cluster.requests("POST", "pods").await - posts, 60);
    assert_eq!(cluster.requests("PATCH", "pods").await - patches, 0);
    let scheduled =
        |event: &Event| event.message.as_deref().unwrap_or("").starts_with("Successfully assigned default/");
    let told = cluster.until::<Event>("default", |all| all.iter().any(scheduled)).await;
    let event = told.iter().find(|event| scheduled(event)).unwrap();
    assert_eq!((event.action.as_deref(), event.count), (Some("Binding"), None));
    assert_eq!(event.reporting_component.as_deref(), Some("default-scheduler"));
    assert!(event.reporting_instance.as_deref().unwrap().starts_with("default-scheduler-"));
}

#[tokio::test]
async fn what_happens_again_goes_on_as_a_series() {
    let cluster = Cluster::bare().await;
    let recorder = SeriesRecorder::start(cluster.client.clone(), "tester");
    let object = |kind: &str| ObjectReference {
        kind: Some(kind.to_owned()),
        name: Some("a".to_owned()),
        ..ObjectReference::default()
    };
    for _ in 0..3 {
        recorder.event(Happening {
            regarding: object("Pod"),
            related: Some(object("Node")),
            kind: EventType::Warning,
            reason: "Tested",
            action: "Testing",
            note: "again".to_owned(),
        });
    }
    let told =
        cluster.until::<NewEvent>("default", |all| all.iter().any(|event| event.series.is_some())).await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].series.as_ref().map(|series| series.count), Some(2), "later ones are written later");
    assert_eq!((told[0].note.as_deref(), told[0].action.as_deref()), (Some("again"), Some("Testing")));
    assert_eq!(told[0].related.as_ref().and_then(|related| related.kind.as_deref()), Some("Node"));
}

#[tokio::test]
async fn a_pod_that_does_not_fit_says_why_and_waits_for_room() {
    let cluster = Cluster::start().await;
    cluster.scheduler();
    cluster.add_node("n1").await;
    let mut big = pod("big", "big");
    big["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "3"}});
    cluster.create::<Pod>(big.clone()).await;
    let bound = |all: &[Pod], name: &str| {
        let pod = all.iter().find(|pod| pod.name_any() == name);
        pod.is_some_and(|pod| pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some()))
    };
    cluster.until::<Pod>("default", |all| bound(all, "big")).await;
    big["metadata"]["name"] = "second".into();
    cluster.create::<Pod>(big).await;
    let refused = |pod: &Pod| {
        let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
        conditions.into_iter().any(|condition| {
            condition.reason.as_deref() == Some("Unschedulable")
                && condition
                    .message
                    .as_deref()
                    .unwrap_or("")
                    .starts_with("0/1 nodes are available: 1 Insufficient cpu.")
        })
    };
    cluster.until::<Pod>("default", |all| all.iter().any(refused)).await;
    let at_once = DeleteParams::default().grace_period(0);
    cluster.in_default::<Pod>().delete("big", &at_once).await.unwrap();
    cluster.until::<Pod>("default", |all| bound(all, "second")).await;
}

#[tokio::test]
async fn pods_that_fail_at_once_are_not_replaced_in_a_loop() {
    let cluster = Cluster::start().await;
    cluster.create::<ReplicationController>(replication_controller("doomed", 20)).await;
    let pods = cluster.in_default::<Pod>();
    // As a node that refuses every pod.
    let refuse = async |all: Vec<Pod>| {
        for pod in all {
            let failed = Patch::Merge(json!({"status": {"phase": "Failed", "reason": "NodeAffinity"}}));
            pods.patch_status(&pod.name_any(), &PatchParams::default(), &failed).await.unwrap();
        }
    };
    refuse(cluster.until::<Pod>("default", |all| all.len() == 20).await).await;
    let ended = |pod: &Pod| pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Failed");
    let second = cluster.until::<Pod>("default", |all| !all.iter().all(ended)).await;
    let alive: Vec<Pod> = second.into_iter().filter(|pod| !ended(pod)).collect();
    assert_eq!(alive.len(), 1, "one pod has to show that it lives");
    refuse(alive).await;
    let told = |event: &Event| event.reason.as_deref() == Some("BackOff");
    cluster.until::<Event>("default", |all| all.iter().any(told)).await;
    // Once one of them runs, the others follow.
    let third = cluster.until::<Pod>("default", |all| !all.iter().all(ended)).await;
    assert_eq!(third.len(), 22);
    let mut running = 0;
    while running < 20 {
        let all = cluster
            .until::<Pod>("default", |all| all.iter().filter(|pod| !ended(pod)).count() > running)
            .await;
        for pod in all.iter().filter(|pod| !ended(pod)) {
            cluster.run_pod(&pod.name_any(), "10.244.0.9", true).await;
        }
        running = all.iter().filter(|pod| !ended(pod)).count();
    }
    assert_eq!(running, 20);
}

#[tokio::test]
async fn quotas_are_counted_and_counted_again() {
    let cluster = Cluster::start().await;
    let used = |quota: &ResourceQuota, name: &str| {
        let used = quota.status.as_ref().and_then(|status| status.used.as_ref());
        used.and_then(|used| used.get(name)).map(|amount| amount.0.clone())
    };
    let until_used = |name: &'static str, amount: &'static str| {
        cluster.until::<ResourceQuota>("default", move |all| {
            all.first().is_some_and(|quota| used(quota, name).as_deref() == Some(amount))
        })
    };
    cluster.create::<ConfigMap>(json!({"metadata": {"name": "early"}})).await;
    let hard = json!({"pods": "1", "requests.cpu": "1", "count/configmaps": "9"});
    let quota = json!({"metadata": {"name": "q"}, "spec": {"hard": hard}});
    cluster.create::<ResourceQuota>(quota).await;
    // The CA's map and the one from before.
    let counted = until_used("count/configmaps", "2").await;
    assert_eq!(used(&counted[0], "pods").as_deref(), Some("0"));

    let worker = |name: &str| {
        let mut worker = pod(name, "a");
        worker["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "600m"}});
        worker
    };
    cluster.create::<Pod>(worker("a")).await;
    let charged = until_used("requests.cpu", "600m").await;
    assert_eq!(used(&charged[0], "pods").as_deref(), Some("1"));
    let pods = cluster.in_default::<Pod>();
    let second: Pod = serde_json::from_value(worker("b")).unwrap();
    let refused = pods.create(&PostParams::default(), &second).await.unwrap_err();
    assert!(refused.to_string().contains("exceeded quota: q"), "{refused}");

    // A pod that has ended uses nothing, and neither does one that is gone.
    let ended = Patch::Merge(json!({"status": {"phase": "Succeeded"}}));
    pods.patch_status("a", &PatchParams::default(), &ended).await.unwrap();
    until_used("requests.cpu", "0").await;
    pods.create(&PostParams::default(), &second).await.unwrap();
    until_used("requests.cpu", "600m").await;
    pods.delete("b", &DeleteParams::default().grace_period(0)).await.unwrap();
    until_used("requests.cpu", "0").await;
    cluster.in_default::<ConfigMap>().delete("early", &DeleteParams::default()).await.unwrap();
    until_used("count/configmaps", "1").await;

    // What the spec asks for is taken over.
    let more = Patch::Merge(json!({"spec": {"hard": {"pods": null, "services": "9"}}}));
    cluster.in_default::<ResourceQuota>().patch("q", &PatchParams::default(), &more).await.unwrap();
    let changed = until_used("services", "1").await;
    assert_eq!(used(&changed[0], "pods"), None);
}

#[tokio::test]
async fn policies_are_told_what_is_wrong_with_their_types() {
    let cluster = Cluster::start().await;
    let rule =
        json!({"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]});
    let policy = |name: &str, expression: &str| {
        serde_json::from_value::<ValidatingAdmissionPolicy>(json!({
            "metadata": {"name": name},
            "spec": {"matchConstraints": {"resourceRules": [rule]}, "validations": [{"expression": expression}]},
        }))
        .unwrap()
    };
    let policies = cluster.all::<ValidatingAdmissionPolicy>();
    let checked = |policy: &ValidatingAdmissionPolicy| {
        let status = policy.status.as_ref();
        status.and_then(|status| status.observed_generation) == policy.metadata.generation
    };
    for (name, expression) in [("right", "object.data.size() < 3"), ("wrong", "object.spec.replicas < 3")] {
        policies.create(&PostParams::default(), &policy(name, expression)).await.unwrap();
    }
    let all = until(policies, |all| all.len() == 2 && all.iter().all(checked)).await;
    let warnings = |policy: &ValidatingAdmissionPolicy| {
        let checking = policy.status.as_ref().unwrap().type_checking.clone().unwrap();
        checking.expression_warnings.unwrap_or_default()
    };
    assert!(warnings(&all[0]).is_empty());
    let warning = &warnings(&all[1])[0];
    assert_eq!(warning.field_ref, "spec.validations[0].expression");
    assert!(warning.warning.contains("v1, Kind=ConfigMap: ERROR"), "{}", warning.warning);
    assert!(warning.warning.contains("undefined field 'spec'"), "{}", warning.warning);
}
