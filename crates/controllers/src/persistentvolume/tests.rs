use std::sync::Arc;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;
use serde_json::{Value, json};

use super::binding::Plan;
use super::claims::{self, Facts};
use super::volumes;

/// Merges `change` into `base`.
fn merged(mut base: Value, change: Value) -> Value {
    match (&mut base, change) {
        (Value::Object(map), Value::Object(changes)) => {
            for (key, value) in changes {
                let before = map.remove(&key).unwrap_or(Value::Null);
                map.insert(key, merged(before, value));
            }
            base
        }
        (_, change) => change,
    }
}

fn claim(change: Value) -> Arc<PersistentVolumeClaim> {
    let claim = json!({
        "metadata": {"namespace": "ns", "name": "c", "uid": "1", "resourceVersion": "7"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        "status": {"phase": "Pending"},
    });
    Arc::new(serde_json::from_value(merged(claim, change)).unwrap())
}

fn volume(change: Value) -> Arc<PersistentVolume> {
    let volume = json!({
        "metadata": {"name": "v"},
        "spec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "2Gi"}, "hostPath": {"path": "/v"}},
        "status": {"phase": "Available"},
    });
    Arc::new(serde_json::from_value(merged(volume, change)).unwrap())
}

fn class(change: Value) -> Option<Arc<StorageClass>> {
    let class = json!({"metadata": {"name": "s"}, "provisioner": "x.io/p", "volumeBindingMode": "Immediate"});
    Some(Arc::new(serde_json::from_value(merged(class, change)).unwrap()))
}

fn waiting_class() -> Option<Arc<StorageClass>> {
    class(json!({"volumeBindingMode": "WaitForFirstConsumer"}))
}

/// The reference to the claim as the binder writes it.
fn to_claim() -> Value {
    json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": "ns", "name": "c", "uid": "1",
           "resourceVersion": "7"})
}

const BOUND: &str = "pv.kubernetes.io/bound-by-controller";
const COMPLETED: &str = "pv.kubernetes.io/bind-completed";
const SELECTED: &str = "volume.kubernetes.io/selected-node";

/// What of the volume changes.
fn volume_change(plan: &Plan) -> Option<(Value, Value)> {
    plan.volume.as_ref().map(|(old, new)| difference(&**old, new))
}

fn claim_change(plan: &Plan) -> Option<(Value, Value)> {
    plan.claim.as_ref().map(|(old, new)| difference(&**old, new))
}

/// The fields that differ, before and after.
fn difference<K: serde::Serialize>(old: &K, new: &K) -> (Value, Value) {
    fn parts(a: &Value, b: &Value) -> (Value, Value) {
        let (Value::Object(a), Value::Object(b)) = (a, b) else { return (a.clone(), b.clone()) };
        let (mut before, mut after) = (json!({}), json!({}));
        for key in a.keys().chain(b.keys()) {
            let (old, new) = (a.get(key).unwrap_or(&Value::Null), b.get(key).unwrap_or(&Value::Null));
            if old != new {
                let (old, new) = parts(old, new);
                before[key] = old;
                after[key] = new;
            }
        }
        (before, after)
    }
    parts(&serde_json::to_value(old).unwrap(), &serde_json::to_value(new).unwrap())
}

fn told(plan: &Plan) -> Vec<(&str, &str)> {
    plan.notes.iter().map(|(_, note)| (note.reason, note.message.as_str())).collect()
}

fn after(change: Option<(Value, Value)>) -> Value {
    change.map_or(Value::Null, |(_, after)| after)
}

#[test]
fn a_claim_gets_a_volume_that_suits() {
    let facts = Facts { offered: vec![volume(json!({}))], ..Facts::default() };
    let plan = claims::plan(&claim(json!({})), &facts);
    let of_volume = json!({
        "metadata": {"annotations": {BOUND: "yes"}}, "spec": {"claimRef": to_claim()}, "status": {"phase": "Bound"},
    });
    assert_eq!(after(volume_change(&plan)), of_volume);
    let of_claim = json!({
        "metadata": {"annotations": {BOUND: "yes", COMPLETED: "yes"}}, "spec": {"volumeName": "v"},
        "status": {"phase": "Bound", "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "2Gi"}},
    });
    assert_eq!(after(claim_change(&plan)), of_claim);
    assert!(plan.notes.is_empty());
}

#[test]
fn who_chose_the_other_side_is_not_marked() {
    let promised = volume(json!({"spec": {"claimRef": {"namespace": "ns", "name": "c"}}}));
    let facts = Facts { offered: vec![promised.clone()], ..Facts::default() };
    let plan = claims::plan(&claim(json!({})), &facts);
    let of_volume = json!({"spec": {"claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "uid": "1",
        "resourceVersion": "7"}}, "status": {"phase": "Bound"}});
    assert_eq!(after(volume_change(&plan)), of_volume);
    let facts = Facts { named: Some(promised), ..Facts::default() };
    let plan = claims::plan(&claim(json!({"spec": {"volumeName": "v"}})), &facts);
    assert_eq!(after(claim_change(&plan))["metadata"], json!({"annotations": {COMPLETED: "yes"}}));
}

#[test]
fn what_is_written_already_is_not_written_again() {
    let bound = volume(json!({"spec": {"claimRef": to_claim()}, "status": {"phase": "Bound"}}));
    let facts = Facts { named: Some(bound), ..Facts::default() };
    let plan = claims::plan(
        &claim(json!({
            "metadata": {"annotations": {COMPLETED: "yes"}}, "spec": {"volumeName": "v"},
            "status": {"phase": "Bound", "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}},
        })),
        &facts,
    );
    assert_eq!((volume_change(&plan), claim_change(&plan)), (None, None));
    // Of a claim that is bound the capacity is told by whoever resizes it.
}

#[test]
fn the_size_before_a_file_system_grows_is_the_claims() {
    let grown = volume(
        json!({"metadata": {"annotations": {"volume.alpha.kubernetes.io/pre-resize-capacity": "1Gi"}}}),
    );
    let plan = claims::plan(&claim(json!({})), &Facts { offered: vec![grown], ..Facts::default() });
    assert_eq!(after(claim_change(&plan))["status"]["capacity"], json!({"storage": "1Gi"}));
}

#[test]
fn the_class_of_attributes_is_told_when_it_is_bound() {
    let spec = json!({"spec": {"volumeAttributesClassName": "fast"}});
    let facts = Facts { offered: vec![volume(spec.clone())], ..Facts::default() };
    let plan = claims::plan(&claim(spec), &facts);
    assert_eq!(after(claim_change(&plan))["status"]["currentVolumeAttributesClassName"], "fast");
}

#[test]
fn a_named_volume_has_to_be_free_and_to_suit() {
    let check = |of_volume: Value, of_claim: Value, expected: &[(&str, &str)]| {
        let named = Some(volume(of_volume));
        let wanted = claim(merged(json!({"spec": {"volumeName": "v"}}), of_claim));
        let plan = claims::plan(&wanted, &Facts { named, ..Facts::default() });
        assert_eq!(told(&plan), expected);
        assert_eq!(plan.volume.is_none(), !expected.is_empty());
    };
    check(json!({}), json!({}), &[]);
    check(
        json!({"spec": {"claimRef": {"namespace": "ns", "name": "other"}}}),
        json!({}),
        &[("FailedBinding", r#"volume "v" already bound to a different claim."#)],
    );
    check(
        json!({}),
        json!({"spec": {"resources": {"requests": {"storage": "3Gi"}}}}),
        &[("VolumeMismatch", r#"Cannot bind to requested volume "v": requested PV is too small"#)],
    );
    check(
        json!({}),
        json!({"spec": {"storageClassName": "s"}}),
        &[("VolumeMismatch", r#"Cannot bind to requested volume "v": storageClassName does not match"#)],
    );
}

#[test]
fn a_volume_is_asked_for_where_none_suits() {
    let of_class = json!({"spec": {"storageClassName": "s"}});
    let check = |of_claim: Value, facts: Facts, reason: &str, message: &str| {
        let plan = claims::plan(&claim(of_claim), &facts);
        assert_eq!(told(&plan), [(reason, message)]);
        after(claim_change(&plan))
    };
    let nothing = "no persistent volumes available for this claim and no storage class is set";
    assert_eq!(check(json!({}), Facts::default(), "FailedBinding", nothing), Value::Null);
    let waiting = "Waiting for a volume to be created either by the external provisioner 'x.io/p' or manually by the \
                   system administrator. If volume creation is delayed, please verify that the provisioner is running and \
                   correctly registered.";
    let facts = || Facts { class: class(json!({})), ..Facts::default() };
    let asked = check(of_class.clone(), facts(), "ExternalProvisioning", waiting);
    let by = json!({"volume.kubernetes.io/storage-provisioner": "x.io/p",
        "volume.beta.kubernetes.io/storage-provisioner": "x.io/p"});
    assert_eq!(asked, json!({"metadata": {"annotations": by}}));
    let unknown = r#"storageclass.storage.k8s.io "s" not found"#;
    assert_eq!(check(of_class.clone(), Facts::default(), "ProvisioningFailed", unknown), Value::Null);
    let by_hand =
        Facts { class: class(json!({"provisioner": "kubernetes.io/no-provisioner"})), ..Facts::default() };
    let no_plugin = "no volume plugin matched name: kubernetes.io/no-provisioner";
    assert_eq!(check(of_class.clone(), by_hand, "ProvisioningFailed", no_plugin), Value::Null);
    let migrated =
        Facts { class: class(json!({"provisioner": "kubernetes.io/aws-ebs"})), ..Facts::default() };
    let waiting = waiting.replace("x.io/p", "ebs.csi.aws.com");
    check(of_class, migrated, "ExternalProvisioning", &waiting);
}

#[test]
fn a_claim_without_a_class_is_given_the_default_if_no_volume_suits() {
    let facts = |offered| Facts { offered, default: class(json!({})), ..Facts::default() };
    let plan = claims::plan(&claim(json!({})), &facts(vec![]));
    assert_eq!(after(claim_change(&plan)), json!({"spec": {"storageClassName": "s"}}));
    assert!(claims::plan(&claim(json!({})), &facts(vec![volume(json!({}))])).volume.is_some());
    let none = claims::plan(&claim(json!({"spec": {"storageClassName": ""}})), &facts(vec![]));
    assert_eq!(claim_change(&none), None);
}

#[test]
fn a_claim_of_a_class_that_waits_is_bound_when_the_scheduler_has_chosen() {
    let of_class =
        |notes: Value| json!({"metadata": {"annotations": notes}, "spec": {"storageClassName": "s"}});
    let check = |notes: Value, offered: Value, pods: &[&str], expected: Option<(&str, &str)>| {
        let offered = merged(json!({"spec": {"storageClassName": "s"}}), offered);
        let facts = Facts {
            offered: vec![volume(offered)],
            class: waiting_class(),
            waiting: pods.iter().map(|pod| (*pod).to_owned()).collect(),
            ..Facts::default()
        };
        let plan = claims::plan(&claim(of_class(notes)), &facts);
        assert_eq!(told(&plan).first().map(|(reason, message)| (*reason, &message[..35])), expected);
        plan.volume.is_some()
    };
    let first = ("WaitForFirstConsumer", "waiting for first consumer to be cr");
    assert!(!check(json!({}), json!({}), &[], Some(first)));
    let pod = ("WaitForPodScheduled", "waiting for pod p-with-a-longer-nam");
    assert!(!check(json!({}), json!({}), &["p-with-a-longer-name"], Some(pod)));
    let pods = ("WaitForPodScheduled", "waiting for pods pod-1,pod-2 to be ");
    assert!(!check(json!({}), json!({}), &["pod-1", "pod-2"], Some(pods)));
    let asked = ("ExternalProvisioning", "Waiting for a volume to be created ");
    assert!(!check(json!({SELECTED: "n"}), json!({}), &["p"], Some(asked)));
    assert!(check(json!({}), json!({"spec": {"claimRef": to_claim()}}), &["p"], None));
}

#[test]
fn a_bound_claim_whose_volume_goes_is_lost() {
    let bound = |volume: &str| {
        claim(json!({"metadata": {"annotations": {COMPLETED: "yes"}}, "spec": {"volumeName": volume},
            "status": {"phase": "Bound", "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "2Gi"}}}))
    };
    let check = |name: &str, named: Option<Arc<PersistentVolume>>, reason: &str| {
        let plan = claims::plan(&bound(name), &Facts { named, ..Facts::default() });
        assert_eq!(told(&plan)[0].0, reason);
        let lost = json!({"status": {"phase": "Lost", "accessModes": null, "capacity": null}});
        assert_eq!(after(claim_change(&plan)), lost);
    };
    check("", None, "ClaimLost");
    check("v", None, "ClaimLost");
    let others = json!({"spec": {"claimRef": merged(to_claim(), json!({"uid": "2"}))}});
    check("v", Some(volume(others)), "ClaimMisbound");
    let back = claims::plan(&bound("v"), &Facts { named: Some(volume(json!({}))), ..Facts::default() });
    assert_eq!(after(volume_change(&back))["status"], json!({"phase": "Bound"}));
}

/// What becomes of the phase, and what is told, of a volume that was bound to the claim.
fn left(change: Value) -> (Value, Vec<(String, String)>) {
    let bound = json!({"metadata": {"annotations": {BOUND: "yes"}}, "spec": {"claimRef": to_claim()},
        "status": {"phase": "Bound"}});
    let plan = volumes::plan(&volume(merged(bound, change)), None);
    let told = told(&plan).into_iter().map(|(a, b)| (a.to_owned(), b.to_owned())).collect();
    (after(volume_change(&plan))["status"].clone(), told)
}

#[test]
fn a_volume_that_its_claim_leaves_is_kept_or_taken_away() {
    let policy = |policy: &str| json!({"spec": {"persistentVolumeReclaimPolicy": policy}});
    let released = (json!({"phase": "Released"}), vec![]);
    assert_eq!(left(policy("Retain")), released);
    let made_by =
        |name: &str| json!({"metadata": {"annotations": {"pv.kubernetes.io/provisioned-by": name}}});
    assert_eq!(left(merged(policy("Delete"), made_by("x.io/p"))), released);
    let csi = json!({"spec": {"hostPath": null, "csi": {"driver": "d", "volumeHandle": "h"}}});
    assert_eq!(left(merged(policy("Delete"), csi)), released);
    let failed = |change: Value, reason: &str, why: &str| {
        let expected =
            (json!({"phase": "Failed", "message": why}), vec![(reason.to_owned(), why.to_owned())]);
        assert_eq!(left(change), expected);
    };
    let no_plugin =
        r#"error getting deleter volume plugin for volume "v": no deletable volume plugin matched"#;
    failed(policy("Delete"), "VolumeFailedDelete", no_plugin);
    let by_plugin = merged(policy("Delete"), made_by("kubernetes.io/host-path"));
    failed(by_plugin, "VolumeFailedDelete", "no volume plugin matched name: kubernetes.io/host-path");
    failed(policy("Recycle"), "VolumeFailedRecycle", "No recycler plugin found for the volume!");
    let why = "Volume has unrecognized PersistentVolumeReclaimPolicy";
    failed(policy("Burn"), "VolumeUnknownReclaimPolicy", why);
    let told_before = merged(policy("Recycle"), json!({"status": {"phase": "Failed"}}));
    assert_eq!(left(told_before), (Value::Null, vec![]));
}

#[test]
fn a_volume_follows_its_claim() {
    let check = |of_volume: Value, of_claim: Option<Value>, expected: Value| {
        let claim = of_claim.map(claim);
        let plan = volumes::plan(&volume(of_volume), claim.as_ref());
        assert_eq!(after(volume_change(&plan)), expected);
        plan.wakes.len()
    };
    let new = json!({"status": {"phase": "Pending"}});
    let available = json!({"status": {"phase": "Available"}});
    check(new.clone(), None, available.clone());
    let by_name = json!({"spec": {"claimRef": {"namespace": "ns", "name": "c"}}});
    check(merged(new, by_name), None, available);
    let bound = json!({"spec": {"claimRef": to_claim()}});
    check(bound.clone(), Some(json!({"spec": {"volumeName": "v"}})), json!({"status": {"phase": "Bound"}}));
    assert_eq!(check(bound.clone(), Some(json!({})), Value::Null), 1);
    let elsewhere = Some(json!({"spec": {"volumeName": "w"}}));
    check(bound.clone(), elsewhere.clone(), json!({"spec": {"claimRef": {"uid": null}}}));
    let ours = merged(
        bound.clone(),
        json!({"metadata": {"annotations": {BOUND: "yes"}}, "status": {"phase": "Bound"}}),
    );
    let freed = json!({"metadata": {"annotations": null}, "spec": {"claimRef": null}, "status": {"phase": "Available"}});
    check(ours, elsewhere.clone(), freed);
    let made = json!({"metadata": {"annotations": {"pv.kubernetes.io/provisioned-by": "x.io/p"}},
        "spec": {"persistentVolumeReclaimPolicy": "Delete"}});
    check(merged(bound, made), elsewhere, json!({"status": {"phase": "Released"}}));
}

#[test]
fn volumes_of_another_mode_are_told_of_on_both_sides() {
    let block = volume(json!({"spec": {"claimRef": to_claim(), "volumeMode": "Block"}}));
    let plan = volumes::plan(&block, Some(&claim(json!({}))));
    assert_eq!(
        told(&plan),
        [
            (
                "VolumeMismatch",
                r#"Cannot bind PersistentVolume to requested PersistentVolumeClaim "c" due to incompatible volumeMode."#
            ),
            (
                "VolumeMismatch",
                r#"Cannot bind PersistentVolume "v" to requested PersistentVolumeClaim due to incompatible volumeMode."#
            ),
        ]
    );
    assert!(plan.wakes.is_empty());
}
