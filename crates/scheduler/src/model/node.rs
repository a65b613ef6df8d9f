//! What the scheduler knows of a node.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::{Node, Taint};
use kube::ResourceExt;

use super::{Labels, Resources};

/// A node. Heartbeats do not change it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct NodeInfo {
    /// The node's name.
    pub name: String,
    /// The node's labels.
    pub labels: Labels,
    /// Taints that keep pods away.
    pub taints: Vec<Taint>,
    /// Set by `kubectl cordon`.
    pub unschedulable: bool,
    /// What the node can give to pods.
    pub allocatable: Resources,
    /// Images that are there, by each of their names, with their sizes in bytes.
    pub images: HashMap<String, i64>,
}

impl NodeInfo {
    pub(crate) fn of(node: &Node) -> Self {
        let spec = node.spec.as_ref();
        let status = node.status.as_ref();
        let allocatable = status.and_then(|status| status.allocatable.as_ref().or(status.capacity.as_ref()));
        let images = status.and_then(|status| status.images.as_ref()).into_iter().flatten();
        let named = images.flat_map(|image| {
            let size = image.size_bytes.unwrap_or(0);
            image.names.iter().flatten().map(move |name| (name.clone(), size))
        });
        Self {
            name: node.name_any(),
            labels: node.labels().clone(),
            taints: spec.and_then(|spec| spec.taints.clone()).unwrap_or_default(),
            unschedulable: spec.and_then(|spec| spec.unschedulable).unwrap_or(false),
            allocatable: Resources::parse(allocatable),
            images: named.collect(),
        }
    }
}
