//! Which volumes a pod may have.

use serde_json::Value;

use super::Finding;
use crate::pod::{Pod, items, name};
use crate::text::{Values, named, plural, quoted, uses};

/// No directory of the node is a volume.
pub(super) fn host_path(pod: Pod<'_>) -> Option<Finding> {
    let volumes = items(&pod.spec()["volumes"]).iter();
    let bad: Vec<&str> = volumes.filter(|volume| !volume["hostPath"].is_null()).map(name).collect();
    (!bad.is_empty()).then(|| Finding::new("hostPath volumes", named("volume", &bad)))
}

/// Types that hold what the API gave, or storage that an administrator gave.
const ALLOWED: &[&str] = &[
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

/// All other types, in the order in which a volume is asked for them.
const FORBIDDEN: &[&str] = &[
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "gitRepo",
    "nfs",
    "iscsi",
    "glusterfs",
    "rbd",
    "flexVolume",
    "cinder",
    "cephfs",
    "flocker",
    "fc",
    "azureFile",
    "vsphereVolume",
    "quobyte",
    "azureDisk",
    "photonPersistentDisk",
    "portworxVolume",
    "scaleIO",
    "storageos",
];

/// Volumes are of the allowed types.
pub(super) fn restricted(pod: Pod<'_>) -> Option<Finding> {
    let is = |volume: &Value, types: &'static [&'static str]| {
        types.iter().copied().find(|source| !volume[*source].is_null())
    };
    let volumes = items(&pod.spec()["volumes"]).iter();
    let bad: Vec<&Value> = volumes.filter(|volume| is(volume, ALLOWED).is_none()).collect();
    if bad.is_empty() {
        return None;
    }
    let types: Values<'_> = bad.iter().map(|volume| is(volume, FORBIDDEN).unwrap_or("unknown")).collect();
    let names: Vec<&str> = bad.iter().map(|volume| name(volume)).collect();
    let (who, verb) = (named("volume", &names), uses(names.len()));
    let noun = plural("restricted volume type", types.len());
    Some(Finding::new("restricted volume types", format!("{who} {verb} {noun} {}", quoted(types))))
}
