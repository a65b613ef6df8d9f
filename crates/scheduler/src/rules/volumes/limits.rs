//! How many volumes of each CSI driver can be on a node.

use std::collections::BTreeSet;

use super::PodVolumes;
use crate::nodes::NodeState;
use crate::storage::Storage;

/// Volumes by what makes each the same wherever it is mounted: driver and handle.
pub(super) type Attached = BTreeSet<(String, String)>;

/// The volumes of a pod that CSI drivers mount. A claim that has no volume yet counts as one of its class's driver.
pub(super) fn of(volumes: &PodVolumes, storage: &Storage) -> Attached {
    let handles = volumes.claims.iter().filter_map(|named| {
        let claim = storage.claim(&named.key)?;
        if let Some(volume) = storage.volume(&claim.volume) {
            let is_csi = !volume.driver.is_empty() && !volume.handle.is_empty();
            return is_csi.then(|| (volume.driver.to_string(), volume.handle.to_string()));
        }
        let class = storage.class(&claim.class)?;
        // No handle begins so.
        Some((class.provisioner.clone(), format!("\0{}", named.key)))
    });
    handles.collect()
}

/// Whether with the volumes `new` there would be more of a driver on the node than can be.
pub(super) fn exceeded(storage: &Storage, new: &Attached, node: &NodeState) -> bool {
    let Some(limits) = storage.limits(&node.info.name).filter(|limits| !limits.is_empty()) else {
        return false;
    };
    if !new.iter().any(|(driver, _)| limits.contains_key(driver)) {
        return false;
    }
    let pods = node.pods.values().filter_map(|pod| pod.volumes.as_deref());
    let mut there: Attached = pods.flat_map(|volumes| of(volumes, storage)).collect();
    for attachment in storage.attached(&node.info.name) {
        if let Some(volume) = storage.volume(&attachment.volume).filter(|volume| !volume.driver.is_empty()) {
            there.insert((attachment.driver.clone(), volume.handle.to_string()));
        }
    }
    limits.iter().any(|(driver, most)| {
        let of_driver = |(one, _): &&(String, String)| one == driver;
        let added = new.iter().filter(of_driver).filter(|volume| !there.contains(*volume)).count();
        let all = there.iter().filter(of_driver).count() + added;
        added > 0 && i64::try_from(all).unwrap_or(i64::MAX) > *most
    })
}
