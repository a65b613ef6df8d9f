//! Finds out what the claims of a pod are bound to: claim and volume are read from the API, what they come to is decided by
//! pure functions. The refusals are the kubelet's.

use super::image;
use super::{ClaimVolume, Claims, Source};
use crate::node::view::NodeFacts;
use crate::pod::local::LocalPod;
use crate::shared::Shared;
use k8s_openapi::api::core::v1::{
    NodeAffinity, PersistentVolume, PersistentVolumeClaim, PersistentVolumeSpec, Volume,
};
use kube::{Api, ResourceExt};
use skiff_informer::{ObjectKey, describe};
use skiff_scheduler::node_affinity_matches;
use std::collections::BTreeMap;
use std::path::Path;

/// Keeps a claim until no pod uses it.
const PROTECTED: &str = "kubernetes.io/pvc-protection";
/// Who provisioned a volume.
pub(crate) const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
/// The provisioner of local paths that each node agent is.
pub const PROVISIONER: &str = "skiff.internal/local-path";

/// Why a claim gives a pod no volume (yet).
#[derive(Debug, PartialEq, thiserror::Error)]
pub(crate) enum ClaimError {
    #[error("failed to fetch PVC from API server: {0}")]
    FetchClaim(String),
    #[error("PVC {namespace}/{claim} was not created for pod {namespace}/{pod} (pod is not owner)")]
    NotOwner { namespace: String, claim: String, pod: String },
    #[error("PVC is being deleted")]
    Deleted,
    #[error("PVC is not bound")]
    NotBound,
    #[error("PVC has empty pvc.Spec.VolumeName")]
    NoVolume,
    #[error("failed to fetch PV {volume} from API server: {reason}")]
    FetchVolume { volume: String, reason: String },
    #[error(
        "found PV object {0} but it has a nil pv.Spec.ClaimRef indicating it is not yet bound to the claim"
    )]
    NoReference(String),
    #[error(
        "found PV object {volume} but its pv.Spec.ClaimRef.UID {refers_to} does not point to claim.UID {claim}"
    )]
    OtherReference { volume: String, refers_to: String, claim: String },
    #[error("volume {volume} has volumeMode {mode}, but is specified in {list}")]
    Mode { volume: String, mode: &'static str, list: &'static str },
}

/// Why a pod's volumes cannot be mounted, as its event says.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(crate) enum Unresolved {
    /// Claims are not as they have to be; this may change.
    #[error(
        "Unable to attach or mount volumes: unmounted volumes=[{volumes}], unattached volumes=[], failed to process volumes=[{volumes}]: {reasons}"
    )]
    Claims { volumes: String, reasons: String },
    #[error("MountVolume.NodeAffinity check failed for volume \"{volume}\" : no matching NodeSelectorTerms")]
    Affinity { volume: String },
    #[error(
        "MountVolume.SetUp failed for volume \"{volume}\" : no volume plugin matched: this node has persistent volumes of the sources local and hostPath, not {kind}"
    )]
    Source { volume: String, kind: String },
}

/// The claim that a volume of a pod names, if it names one: its name, and whether it has to be the pod's own.
pub(crate) fn claim_of(pod: &LocalPod, volume: &Volume) -> Option<(String, bool)> {
    match (&volume.persistent_volume_claim, &volume.ephemeral) {
        (Some(source), _) => Some((source.claim_name.clone(), false)),
        (None, Some(_)) => Some((format!("{}-{}", pod.name, volume.name), true)),
        (None, None) => None,
    }
}

/// The claims that the pod's volumes name.
pub(crate) fn claims_of(pod: &LocalPod) -> Vec<ObjectKey> {
    let named = pod.spec.volumes.iter().flatten().filter_map(|volume| claim_of(pod, volume));
    named.map(|(name, _)| ObjectKey::new(&pod.namespace, &name)).collect()
}

/// What all claims of the pod are bound to.
pub(crate) async fn resolve(shared: &Shared, pod: &LocalPod) -> Result<Claims, Unresolved> {
    let mut found = Vec::new();
    let mut failed = BTreeMap::new();
    for volume in pod.spec.volumes.iter().flatten() {
        let Some((claim, own)) = claim_of(pod, volume) else { continue };
        match fetch(shared, pod, volume, &claim, own).await {
            Ok(pair) => found.push((volume, pair)),
            Err(error) => {
                let text = format!("error processing PVC {}/{claim}: {error}", pod.namespace);
                failed.insert(volume.name.as_str(), text);
            }
        }
    }
    if !failed.is_empty() {
        let volumes = failed.keys().copied().collect::<Vec<_>>().join(" ");
        let reasons = failed.into_values().collect::<Vec<_>>().join("; ");
        return Err(Unresolved::Claims { volumes, reasons });
    }
    let node = shared.node.current();
    let readonly = |volume: &Volume| {
        volume.persistent_volume_claim.as_ref().is_some_and(|source| source.read_only == Some(true))
    };
    let resolved = found.into_iter().map(|(volume, bound)| {
        let meant = meant(&bound, &node, &shared.config.data_dir)?;
        Ok((volume.name.clone(), ClaimVolume { readonly: readonly(volume), ..meant }))
    });
    resolved.collect()
}

async fn fetch(
    shared: &Shared,
    pod: &LocalPod,
    volume: &Volume,
    claim: &str,
    own: bool,
) -> Result<PersistentVolume, ClaimError> {
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(shared.client.clone(), &pod.namespace);
    let claim = claims.get(claim).await.map_err(|error| ClaimError::FetchClaim(describe(&error)))?;
    let name = bound_to(pod, &claim, own)?;
    let volumes: Api<PersistentVolume> = Api::all(shared.client.clone());
    let bound = volumes.get(&name).await;
    let bound = bound.map_err(|error| ClaimError::FetchVolume { volume: name, reason: describe(&error) })?;
    is_bound(&claim, &bound)?;
    fits_mode(pod, volume, &bound)?;
    Ok(bound)
}

/// The name of the volume that the claim is bound to.
fn bound_to(pod: &LocalPod, claim: &PersistentVolumeClaim, own: bool) -> Result<String, ClaimError> {
    let meta = &claim.metadata;
    let owned = || {
        let mut owners = meta.owner_references.iter().flatten();
        owners.any(|owner| owner.controller == Some(true) && owner.uid == pod.uid.as_str())
    };
    if own && !owned() {
        let (namespace, pod) = (pod.namespace.clone(), pod.name.clone());
        return Err(ClaimError::NotOwner { namespace, claim: claim.name_any(), pod });
    }
    let protected = || claim.finalizers().iter().any(|finalizer| finalizer == PROTECTED);
    if meta.deletion_timestamp.is_some() && !protected() {
        return Err(ClaimError::Deleted);
    }
    if claim.status.as_ref().and_then(|status| status.phase.as_deref()) != Some("Bound") {
        return Err(ClaimError::NotBound);
    }
    let name = claim.spec.as_ref().and_then(|spec| spec.volume_name.clone());
    name.filter(|name| !name.is_empty()).ok_or(ClaimError::NoVolume)
}

/// Whether the volume is bound to the claim, too.
fn is_bound(claim: &PersistentVolumeClaim, volume: &PersistentVolume) -> Result<(), ClaimError> {
    let reference = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
    let reference = reference.ok_or_else(|| ClaimError::NoReference(volume.name_any()))?;
    if reference.uid == claim.metadata.uid {
        return Ok(());
    }
    Err(ClaimError::OtherReference {
        volume: volume.name_any(),
        refers_to: reference.uid.clone().unwrap_or_default(),
        claim: claim.uid().unwrap_or_default(),
    })
}

fn is_block(spec: &PersistentVolumeSpec) -> bool {
    spec.volume_mode.as_deref() == Some("Block")
}

/// Whether the pod's containers want of the volume what it is.
fn fits_mode(pod: &LocalPod, volume: &Volume, bound: &PersistentVolume) -> Result<(), ClaimError> {
    let block = bound.spec.as_ref().is_some_and(is_block);
    let mounts = |name: &str| {
        let mut all =
            pod.containers.iter().flat_map(|container| container.spec.volume_mounts.iter().flatten());
        all.any(|mount| mount.name == name)
    };
    let devices = |name: &str| {
        let mut all =
            pod.containers.iter().flat_map(|container| container.spec.volume_devices.iter().flatten());
        all.any(|device| device.name == name)
    };
    let name = volume.name.clone();
    match block {
        true if mounts(&name) => Err(ClaimError::Mode { volume: name, mode: "Block", list: "volumeMounts" }),
        false if devices(&name) => {
            Err(ClaimError::Mode { volume: name, mode: "Filesystem", list: "volumeDevices" })
        }
        _ => Ok(()),
    }
}

/// What a persistent volume means on this node.
pub(crate) fn meant(
    volume: &PersistentVolume,
    node: &NodeFacts,
    data_dir: &Path,
) -> Result<ClaimVolume, Unresolved> {
    let name = volume.name_any();
    let none = PersistentVolumeSpec::default();
    let spec = volume.spec.as_ref().unwrap_or(&none);
    let required = spec.node_affinity.as_ref().and_then(|affinity| affinity.required.clone());
    let affinity = NodeAffinity {
        required_during_scheduling_ignored_during_execution: required,
        ..NodeAffinity::default()
    };
    if !node_affinity_matches(&BTreeMap::new(), Some(&affinity), &node.name, &node.labels) {
        return Err(Unresolved::Affinity { volume: name });
    }
    let block = is_block(spec);
    let source = match (&spec.local, &spec.host_path) {
        (Some(local), _) if is_image(volume, &local.path, data_dir) => {
            Source::Image { path: local.path.clone().into() }
        }
        (Some(local), _) => Source::Local { path: local.path.clone(), fs_type: local.fs_type.clone() },
        (None, Some(host)) if !block => {
            Source::HostPath { path: host.path.clone(), kind: host.type_.clone() }
        }
        _ => return Err(Unresolved::Source { volume: name, kind: source_of(spec) }),
    };
    let options = spec.mount_options.clone().unwrap_or_default();
    Ok(ClaimVolume { volume: name, source, block, readonly: false, options })
}

/// Whether a path is the file that this node's provisioner keeps for the volume.
fn is_image(volume: &PersistentVolume, path: &str, data_dir: &Path) -> bool {
    let own = data_dir.join("volumes").join(volume.name_any()).join(image::FILE);
    let by = volume.annotations().get(PROVISIONED_BY).map(String::as_str);
    by == Some(PROVISIONER) && Path::new(path) == own
}

/// The name of the field that says what a volume is.
fn source_of(spec: &PersistentVolumeSpec) -> String {
    // Not a source, though it is an object.
    const OTHERS: [&str; 3] = ["capacity", "claimRef", "nodeAffinity"];
    let object = serde_json::to_value(spec).unwrap_or_default();
    let fields = object.as_object().into_iter().flatten();
    let mut sources = fields.filter(|(name, value)| value.is_object() && !OTHERS.contains(&name.as_str()));
    sources.next().map_or_else(|| "(none)".to_owned(), |(name, _)| name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::testing::pod_of;
    use serde_json::{Value, json};

    fn claim(change: Value) -> PersistentVolumeClaim {
        let mut claim = json!({
            "metadata": {"name": "p-v", "namespace": "ns", "uid": "c"},
            "spec": {"volumeName": "pv"}, "status": {"phase": "Bound"},
        });
        merge(&mut claim, change);
        serde_json::from_value(claim).unwrap()
    }

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

    fn volume(spec: Value) -> PersistentVolume {
        let by = json!({PROVISIONED_BY: PROVISIONER});
        serde_json::from_value(json!({"metadata": {"name": "pv", "annotations": by}, "spec": spec})).unwrap()
    }

    #[test]
    fn a_claim_has_to_be_bound() {
        let pod = pod_of(r#"{"containers": []}"#);
        let check = |change: Value, own: bool, expected: Result<&str, &str>| {
            let actual = bound_to(&pod, &claim(change.clone()), own).map_err(|error| error.to_string());
            assert_eq!(actual, expected.map(str::to_owned).map_err(str::to_owned), "{change}");
        };
        check(json!({}), false, Ok("pv"));
        check(json!({"status": {"phase": "Pending"}}), false, Err("PVC is not bound"));
        check(json!({"spec": {"volumeName": ""}}), false, Err("PVC has empty pvc.Spec.VolumeName"));
        let deleted = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}});
        check(deleted, false, Err("PVC is being deleted"));
        let protected =
            json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": [PROTECTED]}});
        check(protected, false, Ok("pv"));
        let refused = "PVC ns/p-v was not created for pod ns/p (pod is not owner)";
        check(json!({}), true, Err(refused));
        let owned = |uid: &str| json!({"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": uid, "controller": true}]}});
        check(owned("u"), true, Ok("pv"));
        check(owned("another"), true, Err(refused));
    }

    #[test]
    fn the_volume_has_to_be_the_claims() {
        let check = |spec: Value, expected: Result<(), &str>| {
            let actual = is_bound(&claim(json!({})), &volume(spec)).map_err(|error| error.to_string());
            assert_eq!(actual, expected.map_err(str::to_owned));
        };
        check(json!({"claimRef": {"uid": "c"}}), Ok(()));
        check(
            json!({}),
            Err(
                "found PV object pv but it has a nil pv.Spec.ClaimRef indicating it is not yet bound to the claim",
            ),
        );
        check(
            json!({"claimRef": {"uid": "d"}}),
            Err("found PV object pv but its pv.Spec.ClaimRef.UID d does not point to claim.UID c"),
        );
    }

    #[test]
    fn mounts_want_files_and_devices_blocks() {
        let check = |list: &str, mode: &str, expected: Result<(), &str>| {
            let pod = pod_of(&format!(
                r#"{{"volumes": [{{"name": "v"}}], "containers": [{{"name": "c", "{list}": [{{"name": "v", "mountPath": "/m", "devicePath": "/d"}}]}}]}}"#
            ));
            let of = &pod.spec.volumes.as_ref().unwrap()[0];
            let actual = fits_mode(&pod, of, &volume(json!({"volumeMode": mode})));
            assert_eq!(actual.map_err(|error| error.to_string()), expected.map_err(str::to_owned));
        };
        check("volumeMounts", "Filesystem", Ok(()));
        check("volumeDevices", "Block", Ok(()));
        check(
            "volumeMounts",
            "Block",
            Err("volume v has volumeMode Block, but is specified in volumeMounts"),
        );
        check(
            "volumeDevices",
            "Filesystem",
            Err("volume v has volumeMode Filesystem, but is specified in volumeDevices"),
        );
    }

    #[test]
    fn sources_of_this_node_are_known() {
        let labels = [("kubernetes.io/hostname".to_owned(), "n".to_owned())].into();
        let node = NodeFacts { name: "n".into(), labels, ..NodeFacts::default() };
        let check = |spec: Value, expected: Result<Source, &str>| {
            let actual = meant(&volume(spec), &node, Path::new("/data"));
            let actual = actual.map(|meant| meant.source).map_err(|error| error.to_string());
            match (actual, expected) {
                (Ok(actual), Ok(expected)) => assert_eq!(actual, expected),
                (Err(actual), Err(expected)) => assert!(actual.contains(expected), "{actual}"),
                (actual, expected) => panic!("{actual:?} is not {expected:?}"),
            }
        };
        let local = |path: &str| Source::Local { path: path.into(), fs_type: None };
        let on = |host: &str| {
            json!({"required": {"nodeSelectorTerms": [{"matchExpressions": [
                {"key": "kubernetes.io/hostname", "operator": "In", "values": [host]}]}]}})
        };
        check(json!({"local": {"path": "/d"}, "nodeAffinity": on("n")}), Ok(local("/d")));
        check(
            json!({"local": {"path": "/d"}, "nodeAffinity": on("m")}),
            Err("no matching NodeSelectorTerms"),
        );
        let own = "/data/volumes/pv/disk";
        check(json!({"local": {"path": own}}), Ok(Source::Image { path: own.into() }));
        check(json!({"local": {"path": "/data/volumes/other/disk"}}), Ok(local("/data/volumes/other/disk")));
        check(json!({"hostPath": {"path": "/h"}}), Ok(Source::HostPath { path: "/h".into(), kind: None }));
        check(json!({"hostPath": {"path": "/h"}, "volumeMode": "Block"}), Err("not hostPath"));
        let nfs =
            json!({"nfs": {"server": "s", "path": "/"}, "capacity": {"storage": "1Gi"}, "claimRef": {}});
        check(nfs, Err("MountVolume.SetUp failed for volume \"pv\" : no volume plugin matched"));
        check(json!({"csi": {"driver": "d", "volumeHandle": "h"}}), Err("not csi"));
    }
}
