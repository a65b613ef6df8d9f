//! The controllers of volumes in use and of certificates against the real API server.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use common::{Cluster, until};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::VolumeAttributesClass;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;

#[tokio::test]
async fn a_claim_goes_when_its_pod_is_gone() {
    let cluster = Cluster::start().await;
    cluster.add_node("n").await;
    cluster
        .create::<PersistentVolumeClaim>(json!({"metadata": {"name": "data"}, "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
        }}))
        .await;
    cluster
        .create::<Pod>(json!({"metadata": {"name": "user"}, "spec": {
            "nodeName": "n", "containers": [{"name": "c", "image": "i"}],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
        }}))
        .await;
    let claims = cluster.in_default::<PersistentVolumeClaim>();
    claims.delete("data", &DeleteParams::default()).await.unwrap();
    let is_going = |claim: &PersistentVolumeClaim| claim.metadata.deletion_timestamp.is_some();
    let kept = cluster.until::<PersistentVolumeClaim>("default", |all| all.iter().all(is_going)).await;
    assert_eq!(kept.len(), 1);
    let pods = cluster.in_default::<Pod>();
    pods.delete("user", &DeleteParams::default().grace_period(0)).await.unwrap();
    cluster.until::<PersistentVolumeClaim>("default", |all| all.is_empty()).await;
}

#[tokio::test]
async fn volumes_and_classes_go_when_they_are_left() {
    let cluster = Cluster::start().await;
    let (volumes, classes) = (cluster.all::<PersistentVolume>(), cluster.all::<VolumeAttributesClass>());
    let class =
        json!({"metadata": {"name": "fast"}, "driverName": "d.example.com", "parameters": {"iops": "5"}});
    classes.create(&PostParams::default(), &serde_json::from_value(class).unwrap()).await.unwrap();
    let volume = json!({"metadata": {"name": "v"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "volumeAttributesClassName": "fast",
        "csi": {"driver": "d.example.com", "volumeHandle": "h"},
    }});
    volumes.create(&PostParams::default(), &serde_json::from_value(volume).unwrap()).await.unwrap();
    let claim = json!({"metadata": {"name": "c"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": "",
        "volumeAttributesClassName": "fast",
    }});
    cluster.create::<PersistentVolumeClaim>(claim).await;
    let is_bound =
        |v: &PersistentVolume| v.status.as_ref().is_some_and(|s| s.phase.as_deref() == Some("Bound"));
    until(volumes.clone(), |all: &[PersistentVolume]| all.iter().any(is_bound)).await;
    volumes.delete("v", &DeleteParams::default()).await.unwrap();
    classes.delete("fast", &DeleteParams::default()).await.unwrap();
    until(volumes.clone(), |all: &[PersistentVolume]| {
        all.iter().any(|v| v.metadata.deletion_timestamp.is_some())
    })
    .await;
    assert!(classes.get_opt("fast").await.unwrap().is_some());
    let claims = cluster.in_default::<PersistentVolumeClaim>();
    claims.delete("c", &DeleteParams::default()).await.unwrap();
    until(volumes, |all: &[PersistentVolume]| all.is_empty()).await;
    until(classes, |all: &[VolumeAttributesClass]| all.is_empty()).await;
}

#[tokio::test]
async fn approved_requests_get_their_certificate() {
    let cluster = Cluster::start().await;
    let requests = cluster.all::<CertificateSigningRequest>();
    let request = json!({"metadata": {"name": "r"}, "spec": {
        "request": REQUEST, "signerName": "kubernetes.io/kube-apiserver-client", "usages": ["client auth"],
        "expirationSeconds": 3600,
    }});
    requests.create(&PostParams::default(), &serde_json::from_value(request).unwrap()).await.unwrap();
    let approval =
        json!({"status": {"conditions": [{"type": "Approved", "status": "True", "reason": "ByHand"}]}});
    requests.patch_approval("r", &PatchParams::default(), &Patch::Merge(approval)).await.unwrap();
    let certificate = |request: &CertificateSigningRequest| request.status.clone()?.certificate;
    let signed =
        until(requests, |all: &[CertificateSigningRequest]| all.iter().any(|r| certificate(r).is_some()))
            .await;
    let text = String::from_utf8(certificate(&signed[0]).unwrap().0).unwrap();
    assert!(text.starts_with("-----BEGIN CERTIFICATE-----"), "{text}");
}

/// A request of O=people, CN=someone.example.com, in base64.
const REQUEST: &str = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlIcU1JR1JBZ0VBTUM4eER6QU5CZ05WQkFvTUJuQmxiM0JzWlRFY01Cb0dBMVVFQXd3VGMyOXRaVzl1WlM1bAplR0Z0Y0d4bExtTnZiVEJaTUJNR0J5cUdTTTQ5QWdFR0NDcUdTTTQ5QXdFSEEwSUFCRWZOdXpGQUY5NC9tZXA0CkRjRnZmM1VHVGRMQ1NQY3doMWFaeFJhQnl6NXlRVERQS1p6K2ZZcExxejIzMjROcFFnZWtWTURYWTJhQ2lhTWkKNjNjL3lwZWdBREFLQmdncWhrak9QUVFEQWdOSUFEQkZBaUVBbTFOSkgzUkRJR2tRTmxZc0VtRkU1UkhZNnBoSgo4ajdiK0x0ZDlBWWRxblFDSUNKa1hma1Q4cjhLVzF6Y2xxazQ1dXRucFFReGliOExBaGh2S0Naei9WRmEKLS0tLS1FTkQgQ0VSVElGSUNBVEUgUkVRVUVTVC0tLS0tCg==";
