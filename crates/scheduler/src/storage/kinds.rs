//! What the scheduler remembers of classes, and of CSI drivers.

use std::collections::BTreeMap;

use k8s_openapi::api::storage::v1::{CSIDriver, CSINode, CSIStorageCapacity, StorageClass, VolumeAttachment};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use skiff_machinery::selector::LabelSelector;
use skiff_ordered::Ordered as _;

use crate::model::Labels;

/// A class of storage.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Class {
    /// Who makes its volumes.
    pub provisioner: String,
    /// Whether claims of it wait until a pod uses them.
    pub waits: bool,
    /// Where volumes may be made: on nodes with all labels of one of these, each with one of the values. Nothing is anywhere.
    pub topologies: Vec<Vec<(String, Vec<String>)>>,
}

impl Class {
    pub(crate) fn of(class: &StorageClass) -> Self {
        let terms = class.allowed_topologies.iter().flatten();
        let topologies = terms.map(|term| {
            let expressions = term.match_label_expressions.iter().flatten();
            expressions.map(|one| (one.key.clone(), one.values.clone())).collect()
        });
        Self {
            provisioner: class.provisioner.clone(),
            waits: skiff_volumes::waits_for_consumer(class),
            topologies: topologies.collect(),
        }
    }

    /// Whether volumes may be made for a node with these labels.
    pub(crate) fn allows(&self, labels: &Labels) -> bool {
        let holds = |(key, values): &(String, Vec<String>)| {
            labels.get(key).is_some_and(|value| values.contains(value))
        };
        self.topologies.is_empty()
            || self.topologies.iter().any(|term| !term.is_empty() && term.iter().all(holds))
    }
}

/// A CSI driver.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Driver {
    /// Whether it tells how much room it has where.
    pub tells_capacity: bool,
}

impl Driver {
    pub(crate) fn of(driver: &CSIDriver) -> Self {
        Self { tells_capacity: driver.spec.storage_capacity.unwrap_or(false) }
    }
}

/// How much room there is for volumes of a class.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Capacity {
    class: String,
    /// The largest volume that there is room for, in 10⁻⁹ bytes; nothing if it is not known.
    pub largest: Option<i128>,
    /// On which nodes; none if it is not known.
    nodes: Option<LabelSelector>,
}

impl Capacity {
    pub(crate) fn of(capacity: &CSIStorageCapacity) -> Self {
        let amount = |amount: &Quantity| amount.0.parse::<skiff_quantity::Quantity>().ok();
        let largest = capacity.maximum_volume_size.as_ref().or(capacity.capacity.as_ref());
        let nodes = capacity.node_topology.as_ref();
        Self {
            class: capacity.storage_class_name.clone(),
            largest: largest.and_then(amount).map(skiff_quantity::Quantity::nanos),
            nodes: nodes.and_then(|selector| LabelSelector::try_from(selector).ok()),
        }
    }

    /// Whether there is room for a volume on a node with these labels.
    pub(crate) fn has_room(&self, class: &str, size: i128, labels: &Labels) -> bool {
        self.class == class
            && self.largest.is_some_and(|largest| largest >= size)
            && self.nodes.as_ref().is_some_and(|nodes| nodes.selects(labels))
    }
}

/// How many volumes of each driver can be on a node.
pub(crate) type Limits = BTreeMap<String, i64>;

/// Reads the limits of a node.
pub(crate) fn limits(node: &CSINode) -> Limits {
    let most = node
        .spec
        .drivers
        .iter()
        .filter_map(|driver| Some((driver.name.clone(), i64::from(driver.allocatable.as_ref()?.count?))));
    most.one_by_one()
}

/// A volume that is attached to a node.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Attachment {
    pub node: String,
    pub driver: String,
    pub volume: String,
}

impl Attachment {
    /// Reads an attachment; `None` if it is of no volume that is an object.
    pub(crate) fn of(attachment: &VolumeAttachment) -> Option<Self> {
        Some(Self {
            node: attachment.spec.node_name.clone(),
            driver: attachment.spec.attacher.clone(),
            volume: attachment.spec.source.persistent_volume_name.clone()?,
        })
    }
}
