//! What a claim or a volume asks of this node's provisioner: pure functions of the objects.

use super::class::{Backing, BadClass, backing};
use crate::quantity::units;
use crate::volumes::claims::resolve::{PROVISIONED_BY, PROVISIONER};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::ResourceExt;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The annotation in which the binder names the provisioner of a claim, and the one of old.
const PROVISIONER_OF_CLAIM: [&str; 2] =
    ["volume.kubernetes.io/storage-provisioner", "volume.beta.kubernetes.io/storage-provisioner"];
/// The annotation in which the scheduler names the node of a claim's first pod.
const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
const CLASS_OF_OLD: &str = "volume.beta.kubernetes.io/storage-class";
/// Keeps a volume until its data is removed.
pub(super) const FINALIZER: &str = "external-provisioner.volume.kubernetes.io/finalizer";
/// The resource that claims ask for.
pub(super) const STORAGE: &str = "storage";
const HOSTNAME: &str = "kubernetes.io/hostname";

/// The node that asks.
pub(super) struct Here<'a> {
    pub(super) name: &'a str,
    pub(super) labels: &'a BTreeMap<String, String>,
}

impl Here<'_> {
    /// What volumes of this node have as their node.
    pub(super) fn hostname(&self) -> &str {
        self.labels.get(HOSTNAME).map_or(self.name, String::as_str)
    }
}

/// What a claim asks of this node.
#[derive(Debug, PartialEq)]
pub(super) enum ClaimPlan {
    Nothing,
    /// It cannot have what it asks for, until it or its class is another.
    Refuse(String),
    Provision(Order),
    /// The same, for the node that is the first of all: nobody chose one.
    ProvisionIfFirst(Order),
    Grow(u64),
}

/// A volume to make.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Order {
    pub(super) bytes: u64,
    pub(super) backing: Backing,
    pub(super) block: bool,
}

/// What `claim` asks of this node; `volume` is the one that it is bound to.
pub(super) fn of_claim(
    claim: &PersistentVolumeClaim,
    class: Option<&StorageClass>,
    volume: Option<&PersistentVolume>,
    here: &Here<'_>,
) -> ClaimPlan {
    let Some(spec) = &claim.spec else { return ClaimPlan::Nothing };
    if claim.metadata.deletion_timestamp.is_some() {
        return ClaimPlan::Nothing;
    }
    if spec.volume_name.as_ref().is_some_and(|name| !name.is_empty()) {
        return volume.map_or(ClaimPlan::Nothing, |volume| growth(claim, volume, here));
    }
    let annotations = claim.annotations();
    let provisioner = PROVISIONER_OF_CLAIM.iter().find_map(|key| annotations.get(*key));
    let Some(class) = class.filter(|class| class.provisioner == PROVISIONER) else {
        return ClaimPlan::Nothing;
    };
    if provisioner.map(String::as_str) != Some(PROVISIONER) {
        return ClaimPlan::Nothing;
    }
    let waits = class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer");
    let chosen = annotations.get(SELECTED_NODE).filter(|node| !node.is_empty());
    match chosen {
        Some(node) if node != here.name => return ClaimPlan::Nothing,
        None if waits => return ClaimPlan::Nothing,
        _ => {}
    }
    let ordered = order(claim, class);
    match (ordered, chosen) {
        (Err(reason), _) => ClaimPlan::Refuse(reason),
        (Ok(order), Some(_)) => ClaimPlan::Provision(order),
        (Ok(order), None) => ClaimPlan::ProvisionIfFirst(order),
    }
}

/// The name of the volume that is made for a claim.
pub(super) fn name_for(claim: &PersistentVolumeClaim) -> String {
    format!("pvc-{}", claim.uid().unwrap_or_default())
}

/// What has become of a volume that an agent has begun to make.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Begun {
    /// The API knows it.
    Known,
    /// Its claim is there.
    Wanted,
    /// Nobody will ever ask for it.
    Abandoned,
}

/// What has become of a volume that was begun; `known` says whether the API knows it.
pub(super) fn begun(volume: &str, known: bool, claims: &[Arc<PersistentVolumeClaim>]) -> Begun {
    if known {
        return Begun::Known;
    }
    if claims.iter().any(|claim| name_for(claim) == volume) { Begun::Wanted } else { Begun::Abandoned }
}

/// The name of the claim's class.
pub(super) fn class_of(claim: &PersistentVolumeClaim) -> Option<&str> {
    let of_old = claim.annotations().get(CLASS_OF_OLD);
    of_old.or(claim.spec.as_ref()?.storage_class_name.as_ref()).map(String::as_str)
}

fn order(claim: &PersistentVolumeClaim, class: &StorageClass) -> Result<Order, String> {
    let none = Default::default();
    let spec = claim.spec.as_ref().unwrap_or(&none);
    let has_selector = spec.selector.as_ref().is_some_and(|selector| {
        selector.match_labels.as_ref().is_some_and(|labels| !labels.is_empty())
            || selector.match_expressions.as_ref().is_some_and(|terms| !terms.is_empty())
    });
    if has_selector {
        return Err("claim Selector is not supported".into());
    }
    if spec.data_source.is_some() || spec.data_source_ref.is_some() {
        return Err("claim dataSource is not supported: volumes of this class begin empty".into());
    }
    if spec.volume_attributes_class_name.as_ref().is_some_and(|name| !name.is_empty()) {
        return Err(
            "claim volumeAttributesClassName is not supported: volumes of this class have no attributes"
                .into(),
        );
    }
    let bytes = asked(claim).ok_or("the claim asks for no storage")?;
    let backing = backing(class.parameters.as_ref()).map_err(|error: BadClass| error.to_string())?;
    let block = spec.volume_mode.as_deref() == Some("Block");
    if block && backing == Backing::Directory {
        return Err(
            "a directory cannot be a volume of mode Block: the class has the parameter backing=directory"
                .into(),
        );
    }
    Ok(Order { bytes, backing, block })
}

/// Bytes that a claim asks for.
pub(super) fn asked(claim: &PersistentVolumeClaim) -> Option<u64> {
    let requests = claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?;
    u64::try_from(units(requests.get(STORAGE)?)?).ok()
}

/// How large a volume of this node is to be for its claim, if it is not.
fn growth(claim: &PersistentVolumeClaim, volume: &PersistentVolume, here: &Here<'_>) -> ClaimPlan {
    let bound = claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound");
    let refers = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
    let refers_back = refers.is_some_and(|reference| reference.uid == claim.metadata.uid);
    if !bound || !refers_back || !is_ours(volume, here) {
        return ClaimPlan::Nothing;
    }
    let bytes = |amounts: Option<&crate::quantity::Amounts>| {
        amounts.and_then(|amounts| units(amounts.get(STORAGE)?)).and_then(|bytes| u64::try_from(bytes).ok())
    };
    let has = bytes(volume.spec.as_ref().and_then(|spec| spec.capacity.as_ref()));
    let told = bytes(claim.status.as_ref().and_then(|status| status.capacity.as_ref()));
    match (asked(claim), has.min(told)) {
        (Some(asked), Some(least)) if asked > least => ClaimPlan::Grow(asked),
        _ => ClaimPlan::Nothing,
    }
}

/// Whether this node's provisioner made the volume.
fn is_ours(volume: &PersistentVolume, here: &Here<'_>) -> bool {
    let by = volume.annotations().get(PROVISIONED_BY).map(String::as_str);
    let affinity = volume.spec.as_ref().and_then(|spec| spec.node_affinity.as_ref());
    let terms = affinity
        .and_then(|affinity| affinity.required.as_ref())
        .map(|required| &required.node_selector_terms);
    let on_this =
        terms.into_iter().flatten().flat_map(|term| term.match_expressions.iter().flatten()).any(|term| {
            let values = term.values.as_deref().unwrap_or_default();
            term.key == HOSTNAME && values.iter().any(|value| value == here.hostname())
        });
    by == Some(PROVISIONER) && on_this
}

/// What a volume asks of this node.
#[derive(Debug, PartialEq)]
pub(super) enum VolumePlan {
    Nothing,
    /// Its claim is gone: data and object go, too.
    Delete,
    /// From now on its data is to be removed with it, or no longer.
    Finalizers(Vec<String>),
}

/// What `volume` asks of this node.
pub(super) fn of_volume(volume: &PersistentVolume, here: &Here<'_>) -> VolumePlan {
    if !is_ours(volume, here) {
        return VolumePlan::Nothing;
    }
    let spec = volume.spec.as_ref();
    let deletes = spec.and_then(|spec| spec.persistent_volume_reclaim_policy.as_deref()) == Some("Delete");
    let phase = volume.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default();
    let finalized = volume.finalizers().iter().any(|name| name == FINALIZER);
    let deleted = volume.metadata.deletion_timestamp.is_some();
    match (deletes, finalized, deleted) {
        (true, true, true) if phase != "Bound" => VolumePlan::Delete,
        (true, _, false) if phase == "Released" => VolumePlan::Delete,
        (true, false, false) => {
            let mut all = volume.finalizers().to_vec();
            all.push(FINALIZER.to_owned());
            VolumePlan::Finalizers(all)
        }
        (false, true, _) => VolumePlan::Finalizers(without_finalizer(volume)),
        _ => VolumePlan::Nothing,
    }
}

/// The finalizers of others.
pub(super) fn without_finalizer(volume: &PersistentVolume) -> Vec<String> {
    volume.finalizers().iter().filter(|name| *name != FINALIZER).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn merge(into: &mut Value, change: Value) {
        match (into, change) {
            (Value::Object(into), Value::Object(change)) => {
                for (key, value) in change {
                    merge(into.entry(key).or_insert(Value::Null), value);
                }
            }
            (into, change) => *into = change,
        }
    }

    fn with<K: serde::de::DeserializeOwned>(mut object: Value, change: Value) -> K {
        merge(&mut object, change);
        serde_json::from_value(object).unwrap()
    }

    fn labels() -> BTreeMap<String, String> {
        [(HOSTNAME.to_owned(), "host".to_owned())].into()
    }

    fn claim(change: Value) -> PersistentVolumeClaim {
        let claim = json!({
            "metadata": {"name": "c", "namespace": "ns", "uid": "u", "annotations": {
                "volume.kubernetes.io/storage-provisioner": PROVISIONER, SELECTED_NODE: "n"}},
            "spec": {"storageClassName": "local-path", "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1Gi"}}},
            "status": {"phase": "Pending"},
        });
        with(claim, change)
    }

    fn class(change: Value) -> StorageClass {
        let class = json!({"metadata": {"name": "local-path"}, "provisioner": PROVISIONER,
            "volumeBindingMode": "WaitForFirstConsumer", "reclaimPolicy": "Delete"});
        with(class, change)
    }

    fn volume(change: Value) -> PersistentVolume {
        let volume = json!({
            "metadata": {"name": "pvc-u", "annotations": {PROVISIONED_BY: PROVISIONER}, "finalizers": ["other", FINALIZER]},
            "spec": {"capacity": {"storage": "1Gi"}, "claimRef": {"uid": "u"}, "persistentVolumeReclaimPolicy": "Delete",
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                    {"key": HOSTNAME, "operator": "In", "values": ["host"]}]}]}}},
            "status": {"phase": "Bound"},
        });
        with(volume, change)
    }

    #[test]
    fn claims_are_provisioned_where_their_first_pod_runs() {
        let labels = labels();
        let order = Order { bytes: 1 << 30, backing: Backing::FileIfPossible, block: false };
        let check = |change: Value, of_class: Value, expected: ClaimPlan| {
            let here = Here { name: "n", labels: &labels };
            let actual = of_claim(&claim(change.clone()), Some(&class(of_class)), None, &here);
            assert_eq!(actual, expected, "{change}");
        };
        let annotate = |name: &str, value: Value| json!({"metadata": {"annotations": {name: value}}});
        let chosen = |node: Value| annotate(SELECTED_NODE, node);
        check(json!({}), json!({}), ClaimPlan::Provision(order.clone()));
        check(chosen(json!("m")), json!({}), ClaimPlan::Nothing);
        let nobody = json!({"metadata": {"annotations": {SELECTED_NODE: ""}}});
        check(nobody.clone(), json!({}), ClaimPlan::Nothing);
        check(nobody, json!({"volumeBindingMode": "Immediate"}), ClaimPlan::ProvisionIfFirst(order.clone()));
        let others = annotate("volume.kubernetes.io/storage-provisioner", json!("other"));
        check(others, json!({}), ClaimPlan::Nothing);
        check(json!({}), json!({"provisioner": "other"}), ClaimPlan::Nothing);
        check(json!({"spec": {"volumeName": "pv"}}), json!({}), ClaimPlan::Nothing);
        let deleted = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}});
        check(deleted, json!({}), ClaimPlan::Nothing);
        let block = Order { block: true, ..order };
        check(json!({"spec": {"volumeMode": "Block"}}), json!({}), ClaimPlan::Provision(block));
    }

    #[test]
    fn what_cannot_be_had_is_refused() {
        let labels = labels();
        let check = |change: Value, of_class: Value, expected: &str| {
            let here = Here { name: "n", labels: &labels };
            match of_claim(&claim(change), Some(&class(of_class)), None, &here) {
                ClaimPlan::Refuse(reason) => assert!(reason.contains(expected), "{reason}"),
                other => panic!("{other:?}"),
            }
        };
        let selector = json!({"spec": {"selector": {"matchLabels": {"a": "b"}}}});
        check(selector, json!({}), "claim Selector is not supported");
        let source = json!({"spec": {"dataSource": {"kind": "PersistentVolumeClaim", "name": "x"}}});
        check(source, json!({}), "claim dataSource is not supported");
        let attributes = json!({"spec": {"volumeAttributesClassName": "fast"}});
        check(attributes, json!({}), "claim volumeAttributesClassName is not supported");
        check(json!({}), json!({"parameters": {"size": "1", "a": "b"}}), "unknown parameters a, size");
        check(json!({}), json!({"parameters": {"backing": "tape"}}), "backing=tape");
        check(
            json!({"spec": {"volumeMode": "Block"}}),
            json!({"parameters": {"backing": "directory"}}),
            "cannot be a volume of mode Block",
        );
    }

    #[test]
    fn what_was_begun_for_claims_that_are_gone_is_nobodys() {
        let claims = [Arc::new(claim(json!({})))];
        let check = |volume: &str, known: bool, claims: &[Arc<PersistentVolumeClaim>], expected: Begun| {
            assert_eq!(begun(volume, known, claims), expected, "{volume} {known}");
        };
        check("pvc-u", false, &claims, Begun::Wanted);
        check("pvc-u", true, &claims, Begun::Known);
        // The claim of the same name is another, or there is none.
        check("pvc-v", false, &claims, Begun::Abandoned);
        check("pvc-u", false, &[], Begun::Abandoned);
        // It may be retained.
        check("pvc-u", true, &[], Begun::Known);
    }

    #[test]
    fn claims_that_ask_for_more_grow() {
        let labels = labels();
        let check = |asked: &str, told: &str, of_volume: Value, expected: ClaimPlan| {
            let here = Here { name: "n", labels: &labels };
            let claim = claim(json!({
                "spec": {"volumeName": "pvc-u", "resources": {"requests": {"storage": asked}}},
                "status": {"phase": "Bound", "capacity": {"storage": told}},
            }));
            assert_eq!(of_claim(&claim, None, Some(&volume(of_volume)), &here), expected, "{asked} {told}");
        };
        check("1Gi", "1Gi", json!({}), ClaimPlan::Nothing);
        check("2Gi", "1Gi", json!({}), ClaimPlan::Grow(2 << 30));
        // The volume has grown, its claim was not told.
        check("2Gi", "1Gi", json!({"spec": {"capacity": {"storage": "2Gi"}}}), ClaimPlan::Grow(2 << 30));
        check("2Gi", "1Gi", json!({"spec": {"claimRef": {"uid": "other"}}}), ClaimPlan::Nothing);
        let others = json!({"metadata": {"annotations": {PROVISIONED_BY: "other"}}});
        check("2Gi", "1Gi", others, ClaimPlan::Nothing);
    }

    #[test]
    fn a_volume_ends_with_its_claim_unless_it_is_retained() {
        let labels = labels();
        let check = |change: Value, expected: VolumePlan| {
            let here = Here { name: "n", labels: &labels };
            assert_eq!(of_volume(&volume(change.clone()), &here), expected, "{change}");
        };
        let other = || vec!["other".to_owned()];
        let released = json!({"status": {"phase": "Released"}});
        check(json!({}), VolumePlan::Nothing);
        check(released.clone(), VolumePlan::Delete);
        let retained =
            json!({"spec": {"persistentVolumeReclaimPolicy": "Retain"}, "status": {"phase": "Released"}});
        check(retained, VolumePlan::Finalizers(other()));
        let bare = json!({"metadata": {"finalizers": ["other"]}});
        check(bare, VolumePlan::Finalizers(vec!["other".into(), FINALIZER.into()]));
        let deleted = |phase: &str| json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "status": {"phase": phase}});
        check(deleted("Bound"), VolumePlan::Nothing);
        check(deleted("Released"), VolumePlan::Delete);
        check(deleted("Available"), VolumePlan::Delete);
        let elsewhere = json!({"spec": {"nodeAffinity": {"required": {"nodeSelectorTerms": []}}}, "status": {"phase": "Released"}});
        check(elsewhere, VolumePlan::Nothing);
    }
}
