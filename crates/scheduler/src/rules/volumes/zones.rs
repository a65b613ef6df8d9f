//! Zones and regions that a volume's labels name.

use std::collections::BTreeSet;

use skiff_ordered::Ordered as _;
use skiff_volumes::{Claim, Volume};

use super::missing;
use crate::model::{Labels, PodVolumes};
use crate::storage::Storage;

/// The labels that name zones and regions, those of old with what they are called today.
const LABELS: [(&str, &str); 4] = [
    ("failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone"),
    ("failure-domain.beta.kubernetes.io/region", "topology.kubernetes.io/region"),
    ("topology.kubernetes.io/zone", "topology.kubernetes.io/zone"),
    ("topology.kubernetes.io/region", "topology.kubernetes.io/region"),
];
/// What is between several values of a volume's label.
const BETWEEN: &str = "__";

/// What one label of a volume asks of nodes.
pub(super) struct Zone {
    label: &'static str,
    today: &'static str,
    values: BTreeSet<String>,
}

/// What the volumes of a pod's claims ask of nodes, but for those of claims that get one with a node.
pub(super) fn gather(volumes: &PodVolumes, storage: &Storage) -> Result<Vec<Zone>, String> {
    let mut zones = Vec::new();
    for named in volumes.claims.iter().filter(|named| !named.is_own) {
        let claim = storage.claim(&named.key).ok_or_else(|| missing(named))?;
        if claim.volume.is_empty() {
            check_waits(claim, storage)?;
            continue;
        }
        let volume = storage.volume(&claim.volume);
        zones.extend(of(volume.ok_or_else(|| format!("persistentvolume \"{}\" not found", claim.volume))?));
    }
    Ok(zones)
}

fn check_waits(claim: &Claim, storage: &Storage) -> Result<(), String> {
    if claim.class.is_empty() {
        return Err("PersistentVolumeClaim had no pv name and storageClass name".to_owned());
    }
    match storage.class(&claim.class) {
        None => Err(format!("storageclass.storage.k8s.io \"{}\" not found", claim.class)),
        Some(class) if class.waits => Ok(()),
        Some(_) => Err("PersistentVolume had no name".to_owned()),
    }
}

/// What a volume's labels ask of nodes. One that cannot be read asks nothing.
fn of(volume: &Volume) -> Vec<Zone> {
    let zones = LABELS.iter().filter_map(|(label, today)| {
        let values = volume.labels.get(*label)?.split(BETWEEN).map(|value| value.trim().to_owned());
        let values: BTreeSet<String> = values.to_set();
        (!values.contains("")).then_some(Zone { label, today, values })
    });
    zones.collect()
}

/// Whether a node with these labels is elsewhere; one that does not say where it is, is anywhere.
pub(super) fn outside(zones: &[Zone], labels: &Labels) -> bool {
    let says = LABELS.iter().any(|(label, _)| labels.contains_key(*label));
    says && zones.iter().any(|zone| {
        let here = labels.get(zone.label).or_else(|| labels.get(zone.today));
        here.is_none_or(|here| !zone.values.contains(here))
    })
}
