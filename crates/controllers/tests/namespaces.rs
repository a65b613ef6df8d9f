//! Namespaces that are deleted, against the real API server.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use std::fmt::Debug;

use common::{Cluster, PATIENCE, pod, until};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Secret, ServiceAccount};
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::{Api, Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

#[tokio::test]
async fn a_namespace_goes_with_its_content() {
    let cluster = Cluster::start().await;
    let namespaces = cluster.all::<Namespace>();
    let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": "shop"}})).unwrap();
    namespaces.create(&PostParams::default(), &namespace).await.unwrap();
    cluster.until::<ServiceAccount>("shop", |all| !all.is_empty()).await;
    let maps = Api::<ConfigMap>::namespaced(cluster.client.clone(), "shop");
    let map: ConfigMap =
        serde_json::from_value(json!({"metadata": {"name": "held", "finalizers": ["example.com/hold"]}}))
            .unwrap();
    maps.create(&PostParams::default(), &map).await.unwrap();
    namespaces.delete("shop", &DeleteParams::default()).await.unwrap();
    let says = |namespace: &Namespace, text: &str| {
        let conditions = namespace.status.iter().flat_map(|status| status.conditions.iter().flatten());
        conditions.into_iter().any(|condition| condition.message.as_deref().is_some_and(|m| m.contains(text)))
    };
    let held = "example.com/hold in 1 resource instances";
    until(namespaces.clone(), |all| all.iter().any(|namespace| says(namespace, held))).await;
    let release = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    maps.patch("held", &PatchParams::default(), &release).await.unwrap();
    until(namespaces, |all| all.iter().all(|namespace| namespace.name_any() != "shop")).await;
}

#[tokio::test]
async fn a_namespace_waits_for_kinds_that_another_server_cannot_tell_of() {
    let cluster = Cluster::start().await;
    let services = cluster.all::<APIService>();
    let service: APIService = serde_json::from_value(json!({
        "metadata": {"name": "v1.example.com"},
        "spec": {
            "group": "example.com", "version": "v1", "groupPriorityMinimum": 100, "versionPriority": 10,
            "service": {"name": "none", "namespace": "default"}, "insecureSkipTLSVerify": true,
        },
    }))
    .unwrap();
    services.create(&PostParams::default(), &service).await.unwrap();
    let namespaces = cluster.all::<Namespace>();
    let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": "shop"}})).unwrap();
    namespaces.create(&PostParams::default(), &namespace).await.unwrap();
    cluster.until::<ServiceAccount>("shop", |all| !all.is_empty()).await;
    namespaces.delete("shop", &DeleteParams::default()).await.unwrap();
    let failure = "Discovery failed for some groups, 1 failing: unable to retrieve the complete list of server APIs: \
                   example.com/v1: stale GroupVersion discovery: example.com/v1";
    let says = |namespace: &Namespace| {
        let conditions = namespace.status.iter().flat_map(|status| status.conditions.iter().flatten());
        conditions.into_iter().any(|condition| {
            condition.type_ == "NamespaceDeletionDiscoveryFailure"
                && condition.status == "True"
                && condition.message.as_deref() == Some(failure)
        })
    };
    until(namespaces.clone(), |all| all.iter().any(says)).await;
    // What is known is gone all the same.
    cluster.until::<ServiceAccount>("shop", |all| all.is_empty()).await;
    services.delete("v1.example.com", &DeleteParams::default()).await.unwrap();
    until(namespaces, |all| all.iter().all(|namespace| namespace.name_any() != "shop")).await;
}

#[tokio::test]
async fn a_namespace_keeps_what_pods_need_until_they_are_gone() {
    let cluster = Cluster::start().await;
    let namespaces = cluster.all::<Namespace>();
    let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": "shop"}})).unwrap();
    namespaces.create(&PostParams::default(), &namespace).await.unwrap();
    cluster.until::<ServiceAccount>("shop", |all| !all.is_empty()).await;
    let pods = Api::<Pod>::namespaced(cluster.client.clone(), "shop");
    let mut held = pod("held", "shop");
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    pods.create(&PostParams::default(), &serde_json::from_value(held).unwrap()).await.unwrap();
    let maps = Api::<ConfigMap>::namespaced(cluster.client.clone(), "shop");
    let map: ConfigMap = serde_json::from_value(json!({"metadata": {"name": "needed"}})).unwrap();
    maps.create(&PostParams::default(), &map).await.unwrap();
    namespaces.delete("shop", &DeleteParams::default()).await.unwrap();
    let remaining = |namespace: &Namespace| {
        let conditions = namespace.status.iter().flat_map(|status| status.conditions.iter().flatten());
        conditions.into_iter().any(|condition| {
            condition.message.as_deref()
                == Some("Some resources are remaining: pods. has 1 resource instances")
        })
    };
    until(namespaces.clone(), |all| all.iter().any(remaining)).await;
    maps.get("needed").await.unwrap();
    let release = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    pods.patch("held", &PatchParams::default(), &release).await.unwrap();
    until(namespaces, |all| all.iter().all(|namespace| namespace.name_any() != "shop")).await;
}

/// Makes so many objects of a kind in a namespace, many at a time.
async fn make_many<K>(cluster: &Cluster, namespace: &str, count: usize, make: fn(String) -> Value)
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned,
{
    let api = Api::<K>::namespaced(cluster.client.clone(), namespace);
    let made = futures::stream::iter(0..count).map(|number| {
        let api = api.clone();
        let object: K = serde_json::from_value(make(format!("o{number}"))).unwrap();
        async move { api.create(&PostParams::default(), &object).await.map(drop) }
    });
    made.buffer_unordered(64).try_collect::<()>().await.unwrap();
}

#[tokio::test]
async fn a_namespace_of_two_thousand_objects_goes_pods_first() {
    let cluster = Cluster::start().await;
    let namespaces = cluster.all::<Namespace>();
    let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": "shop"}})).unwrap();
    namespaces.create(&PostParams::default(), &namespace).await.unwrap();
    cluster.until::<ServiceAccount>("shop", |all| !all.is_empty()).await;
    let plain = |name: String| json!({"metadata": {"name": name}});
    make_many::<ConfigMap>(&cluster, "shop", 900, plain).await;
    make_many::<Secret>(&cluster, "shop", 600, plain).await;
    make_many::<Pod>(&cluster, "shop", 500, |name| pod(&name, "shop")).await;
    let pods = Api::<Pod>::namespaced(cluster.client.clone(), "shop");
    let maps = Api::<ConfigMap>::namespaced(cluster.client.clone(), "shop");
    let params = ListParams::default();
    let from = maps.list_metadata(&params).await.unwrap().metadata.resource_version.unwrap();
    let started = std::time::Instant::now();
    namespaces.delete("shop", &DeleteParams::default()).await.unwrap();
    // When the first of what pods may need goes, no pod is left.
    let mut changes = Box::pin(maps.watch_metadata(&WatchParams::default(), &from).await.unwrap());
    let first = async {
        while let Some(change) = changes.try_next().await.unwrap() {
            if let WatchEvent::Deleted(_) = change {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, first).await.expect("the content goes");
    assert!(pods.list_metadata(&params).await.unwrap().items.is_empty());
    until(namespaces, |all| all.iter().all(|namespace| namespace.name_any() != "shop")).await;
    println!("gone in {:?}", started.elapsed());
    assert!(maps.list_metadata(&params).await.unwrap().items.is_empty());
}
