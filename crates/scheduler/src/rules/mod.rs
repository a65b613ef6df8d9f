//! What keeps a pod off a node: the filters of Kubernetes' scheduling framework, in its order and words.

pub(crate) mod nearness;
pub(crate) mod node;
pub(crate) mod spread;
pub(crate) mod volumes;

use std::borrow::Cow;

use crate::cluster::Picture;
use crate::model::{Namespaces, Pending, PodInfo};
use crate::nodes::NodeState;

/// Which kind of rule refused a node: it says which changes could help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Rule {
    /// What the node is: cordoned, tainted, labelled otherwise.
    Node,
    /// What is left of it.
    Room,
    /// Which other pods are near, and how many.
    Others,
    /// Which volumes the node can give.
    Volumes,
    /// Which volumes are left to it by other pods.
    Disks,
}

/// Why a pod cannot go to one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub reason: Cow<'static, str>,
    pub rule: Rule,
    /// Whether the removal of other pods could help.
    pub resolvable: bool,
}

impl Refusal {
    /// One that the removal of pods could lift.
    pub(crate) fn resolvable(rule: Rule, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { reason: reason.into(), rule, resolvable: true }
    }

    /// One that stays, whatever pods are removed.
    pub(crate) fn firm(rule: Rule, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { reason: reason.into(), rule, resolvable: false }
    }
}

/// One pod's way through the rules: what they need to know of all nodes is gathered once.
#[derive(Clone)]
pub(crate) struct Cycle<'a> {
    pub pod: &'a PodInfo,
    pub pending: &'a Pending,
    namespaces: &'a Namespaces,
    nearness: nearness::Facts<'a>,
    spread: spread::Facts<'a>,
    volumes: volumes::Facts<'a>,
}

impl<'a> Cycle<'a> {
    /// Fails, in Kubernetes' words, if no node will do.
    pub(crate) fn new(pod: &'a PodInfo, pending: &'a Pending, picture: &'a Picture) -> Result<Self, String> {
        let Picture { nodes, namespaces, storage, .. } = picture;
        let volumes = volumes::Facts::gather(pod, storage)?;
        let nearness = nearness::Facts::gather(pod, nodes, namespaces);
        let spread = spread::Facts::gather(pod, pending, nodes);
        Ok(Self { pod, pending, namespaces, nearness, spread, volumes })
    }

    /// The namespaces' labels, of which terms may speak.
    pub(crate) fn namespaces(&self) -> &'a Namespaces {
        self.namespaces
    }

    /// Counts a pod of `node` `times` more; negative takes it out.
    pub(crate) fn count(&mut self, other: &PodInfo, node: &NodeState, times: i64) {
        self.nearness.count(self.pod, other, node, self.namespaces, times);
        self.spread.count(self.pod, other, node, times);
        self.volumes.count(other, times);
    }

    /// The reasons of the first rule that the node breaks; none if the pod fits.
    pub(crate) fn refusals(&self, node: &NodeState) -> Vec<Refusal> {
        if let Some(refusal) = node::unsuitable(self.pending, &node.info) {
            return vec![refusal];
        }
        if let Some(refusal) = node::ports_taken(self.pod, node) {
            return vec![refusal];
        }
        let lacking = node::lacking(self.pod, node);
        if !lacking.is_empty() {
            return lacking;
        }
        let taken = self.volumes.restricted(node).or_else(|| self.volumes.over_limit(node));
        if let Some(refusal) = taken {
            return vec![refusal];
        }
        let unbindable = self.volumes.unbindable(node);
        if !unbindable.is_empty() {
            return unbindable;
        }
        self.volumes
            .outside(node)
            .or_else(|| self.spread.refusal(node))
            .or_else(|| self.nearness.refusal(self.pod, node, self.namespaces))
            .into_iter()
            .collect()
    }
}
