//! Secrets with tokens: of ServiceAccounts, and for nodes that join.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use common::Cluster;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, ServiceAccount};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::{Value, json};

fn secret(name: &str, account: &str, uid: &str) -> Secret {
    let annotations = json!({
        "kubernetes.io/service-account.name": account, "kubernetes.io/service-account.uid": uid,
    });
    serde_json::from_value(json!({
        "metadata": {"name": name, "annotations": annotations}, "type": "kubernetes.io/service-account-token",
    }))
    .unwrap()
}

fn text(secret: &Secret, key: &str) -> String {
    let value = secret.data.as_ref().and_then(|data| data.get(key));
    value.map(|value| String::from_utf8(value.0.clone()).unwrap()).unwrap_or_default()
}

#[tokio::test]
async fn secrets_for_accounts_are_filled_and_go_with_them() {
    let cluster = Cluster::start().await;
    let accounts: Api<ServiceAccount> = Api::namespaced(cluster.client.clone(), "default");
    let secrets: Api<Secret> = Api::namespaced(cluster.client.clone(), "default");
    let params = PostParams::default();
    let robot: ServiceAccount = serde_json::from_value(
        json!({"metadata": {"name": "robot"}, "secrets": [{"name": "a"}, {"name": "other"}]}),
    )
    .unwrap();
    accounts.create(&params, &robot).await.unwrap();
    secrets.create(&params, &secret("a", "robot", "")).await.unwrap();
    secrets.create(&params, &secret("b", "robot", "another")).await.unwrap();
    secrets.create(&params, &secret("c", "nobody", "")).await.unwrap();
    let named = |secrets: &[Secret], name: &str| {
        secrets.iter().find(|secret| secret.metadata.name.as_deref() == Some(name)).cloned()
    };
    cluster
        .until::<Secret>("default", |all| {
            let filled = named(all, "a").is_some_and(|secret| !text(&secret, "token").is_empty());
            filled && named(all, "b").is_none() && named(all, "c").is_none()
        })
        .await;
    let filled = secrets.get("a").await.unwrap();
    assert_eq!((text(&filled, "namespace"), text(&filled, "ca.crt")), ("default".into(), "the CA".into()));
    assert_eq!(text(&filled, "token").split('.').count(), 3);

    secrets.delete("a", &DeleteParams::default()).await.unwrap();
    cluster
        .until::<ServiceAccount>("default", |all| {
            let robot = all.iter().find(|one| one.metadata.name.as_deref() == Some("robot"));
            let names = robot.and_then(|robot| robot.secrets.as_ref()).into_iter().flatten();
            names.filter_map(|one| one.name.as_deref()).collect::<Vec<_>>() == ["other"]
        })
        .await;
    secrets.create(&params, &secret("d", "robot", "")).await.unwrap();
    cluster
        .until::<Secret>("default", |all| named(all, "d").is_some_and(|one| !text(&one, "token").is_empty()))
        .await;
    accounts.delete("robot", &DeleteParams::default()).await.unwrap();
    cluster.until::<Secret>("default", |all| named(all, "d").is_none()).await;
}

fn bootstrap(id: &str, more: Value) -> Secret {
    let mut texts =
        json!({"token-id": id, "token-secret": "0123456789abcdef", "usage-bootstrap-signing": "true"});
    texts.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(json!({
        "metadata": {"name": format!("bootstrap-token-{id}")}, "type": "bootstrap.kubernetes.io/token", "stringData": texts,
    }))
    .unwrap()
}

#[tokio::test]
async fn what_the_cluster_says_of_itself_is_signed_by_tokens_until_their_time_is_over() {
    let cluster = Cluster::start().await;
    let secrets: Api<Secret> = Api::namespaced(cluster.client.clone(), "kube-system");
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), "kube-public");
    let params = PostParams::default();
    let map: ConfigMap =
        serde_json::from_value(json!({"metadata": {"name": "cluster-info"}, "data": {"kubeconfig": "k"}}))
            .unwrap();
    maps.create(&params, &map).await.unwrap();
    let signatures = |all: &[ConfigMap]| -> Vec<String> {
        let info = all.iter().find(|map| map.metadata.name.as_deref() == Some("cluster-info"));
        let keys = info.and_then(|map| map.data.as_ref()).into_iter().flatten().map(|(key, _)| key.clone());
        keys.filter(|key| key.starts_with("jws-")).collect()
    };
    secrets.create(&params, &bootstrap("aaaaaa", json!({}))).await.unwrap();
    secrets.create(&params, &bootstrap("bbbbbb", json!({"usage-bootstrap-signing": "false"}))).await.unwrap();
    let end = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(3);
    secrets.create(&params, &bootstrap("cccccc", json!({"expiration": end.to_string()}))).await.unwrap();
    cluster
        .until::<ConfigMap>("kube-public", |all| {
            signatures(all).contains(&"jws-kubeconfig-aaaaaa".to_owned())
        })
        .await;
    cluster
        .until::<Secret>("kube-system", |all| {
            all.iter().all(|one| one.metadata.name.as_deref() != Some("bootstrap-token-cccccc"))
        })
        .await;
    cluster.until::<ConfigMap>("kube-public", |all| signatures(all) == ["jws-kubeconfig-aaaaaa"]).await;
    secrets.delete("bootstrap-token-aaaaaa", &DeleteParams::default()).await.unwrap();
    cluster.until::<ConfigMap>("kube-public", |all| signatures(all).is_empty()).await;
}
