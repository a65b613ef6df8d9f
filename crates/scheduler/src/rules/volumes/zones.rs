//! Zones and regions that a volume's labels name.

use std::collections::BTreeSet;

use skiff_volumes::Volume;

use crate::model::Labels;

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

/// What a volume's labels ask of nodes. One that cannot be read asks nothing.
pub(super) fn of(volume: &Volume) -> Vec<Zone> {
    let zones = LABELS.iter().filter_map(|(label, today)| {
        let values = volume.labels.get(*label)?.split(BETWEEN).map(|value| value.trim().to_owned());
        let values: BTreeSet<String> = values.collect();
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
