//! How many volumes of each CSI driver can be on a node.

use std::collections::BTreeSet;

use skiff_volumes::Csi;

use super::PodVolumes;
use crate::nodes::NodeState;
use crate::storage::Storage;

/// Volumes by what makes each the same wherever it is mounted: driver and handle.
pub(super) type Attached = BTreeSet<(String, String)>;

/// The volumes of a pod that CSI drivers mount, those of Kubernetes' former plugins included. A claim that has no volume yet counts
/// as one of its class's driver.
pub(super) fn of(volumes: &PodVolumes, storage: &Storage) -> Attached {
    let handles = volumes.claims.iter().filter_map(|named| {
        let claim = storage.claim(&named.key)?;
        if let Some(volume) = storage.volume(&claim.volume) {
            return volume.csi.as_ref().and_then(counted);
        }
        let driver = Csi::driver_of(&storage.class(&claim.class)?.provisioner)?;
        // No handle begins so.
        Some((driver.to_owned(), format!("\0{}", named.key)))
    });
    handles.chain(volumes.inline.iter().filter_map(counted)).collect()
}

fn counted(csi: &Csi) -> Option<(String, String)> {
    let is_named = !csi.driver.is_empty() && !csi.handle.is_empty();
    is_named.then(|| (csi.driver.to_string(), csi.handle.to_string()))
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
        let volume = storage.volume(&attachment.volume);
        // Of a volume of a former plugin an attachment does not tell, its pod does.
        if let Some(csi) = volume.and_then(|volume| volume.csi.as_ref()).filter(|csi| !csi.is_migrated) {
            there.insert((attachment.driver.clone(), csi.handle.to_string()));
        }
    }
    limits.iter().any(|(driver, most)| {
        let of_driver = |(one, _): &&(String, String)| one == driver;
        let added = new.iter().filter(of_driver).filter(|volume| !there.contains(*volume)).count();
        let all = there.iter().filter(of_driver).count() + added;
        added > 0 && i64::try_from(all).unwrap_or(i64::MAX) > *most
    })
}
