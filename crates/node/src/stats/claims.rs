//! `kubelet_volume_stats_…` of `/metrics`: what the file systems of claims' volumes hold.

use super::exposition::{Exposition, Family, Kind, Sample, float};
use super::readings::{PodReading, VolumeReading};
use crate::node::disk::Room;
use std::collections::BTreeMap;

use skiff_ordered::Ordered as _;

type Number = fn(&VolumeReading) -> Option<u64>;

/// A number of files, where their number is limited.
fn files(room: Room, number: u64) -> Option<u64> {
    Some(number).filter(|_| room.files > 0)
}

const FAMILIES: [(Family, Number); 6] = [
    (Family("kubelet_volume_stats_available_bytes", Kind::Gauge, "Bytes left for the volume."), |volume| {
        Some(volume.room.bytes_left)
    }),
    (
        Family("kubelet_volume_stats_capacity_bytes", Kind::Gauge, "Bytes of the volume's file system."),
        |volume| Some(volume.room.bytes),
    ),
    (Family("kubelet_volume_stats_inodes", Kind::Gauge, "Most files on the volume."), |volume| {
        files(volume.room, volume.room.files)
    }),
    (Family("kubelet_volume_stats_inodes_free", Kind::Gauge, "Files left for the volume."), |volume| {
        files(volume.room, volume.room.files_left)
    }),
    (Family("kubelet_volume_stats_inodes_used", Kind::Gauge, "Files on the volume."), |volume| {
        files(volume.room, volume.room.files.saturating_sub(volume.room.files_left)).filter(|_| volume.own)
    }),
    (Family("kubelet_volume_stats_used_bytes", Kind::Gauge, "Bytes that the volume holds."), |volume| {
        Some(volume.room.bytes_used).filter(|_| volume.own)
    }),
];

/// Adds the families, each with every claim once, however many pods have it. A volume that shares its file system has no
/// numbers of its own.
pub(crate) fn claim_metrics(text: &mut Exposition, pods: &[PodReading]) {
    let volumes = pods.iter().flat_map(|pod| pod.volumes.iter().map(move |volume| (&pod.namespace, volume)));
    let of_claims =
        volumes.filter_map(|(namespace, volume)| Some(((namespace, volume.claim.as_ref()?), volume)));
    let claims: BTreeMap<(&String, &String), &VolumeReading> = of_claims.to_map();
    for (family, number) in FAMILIES {
        let samples = claims.iter().filter_map(|((namespace, claim), volume)| {
            let labels = vec![("namespace", namespace.as_str()), ("persistentvolumeclaim", claim.as_str())];
            Some(Sample { labels, value: float(number(volume)?), at: None })
        });
        text.family(family, samples);
    }
}

#[cfg(test)]
mod tests {
    use super::super::summary::tests::readings;
    use super::*;

    #[test]
    fn each_claim_is_told_once() {
        let readings = readings();
        let mut text = Exposition::default();
        claim_metrics(&mut text, &[readings.pods.clone(), readings.pods].concat());
        let text = text.into_text();
        let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let of = |name: &str, value: u32| {
            format!("kubelet_volume_stats_{name}{{namespace=\"ns\",persistentvolumeclaim=\"c\"}} {value}")
        };
        // The volume on the node's disk is nobody's claim, and a file system without a limit has no number of files.
        assert_eq!(samples, [of("available_bytes", 60), of("capacity_bytes", 64), of("used_bytes", 4)]);
    }
}
