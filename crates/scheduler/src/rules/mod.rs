//! What keeps a pod off a node: the filters of Kubernetes' scheduling framework, in its words and in the order of the pod's profile.

pub(crate) mod nearness;
pub(crate) mod node;
mod places;
pub(crate) mod spread;
pub(crate) mod volumes;

use std::borrow::Cow;

use crate::cluster::Picture;
use crate::configuration::{Arguments, Plugin};
use crate::counts::Counts;
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
    /// The pods that its rules and wishes count.
    pub counts: &'a Counts,
    pub picture: &'a Picture,
    nearness: nearness::Facts<'a>,
    spreading: spread::Facts<'a>,
    volumes: volumes::Facts<'a>,
}

impl<'a> Cycle<'a> {
    pub(crate) fn new(
        pod: &'a PodInfo,
        pending: &'a Pending,
        counts: &'a Counts,
        volumes: volumes::Facts<'a>,
        picture: &'a Picture,
    ) -> Self {
        let on = |plugin| pending.profile.filters.contains(&plugin);
        let nearness = if on(Plugin::InterPodAffinity) {
            nearness::Facts::gather(pod, counts, &picture.nodes, &picture.namespaces)
        } else {
            nearness::Facts::default()
        };
        let spreading = if on(Plugin::PodTopologySpread) {
            spread::Facts::gather(pod, pending, counts, picture)
        } else {
            spread::Facts::none(pending)
        };
        Self { pod, pending, counts, picture, nearness, spreading, volumes }
    }

    /// The namespaces' labels, of which terms may speak.
    pub(crate) fn namespaces(&self) -> &'a Namespaces {
        &self.picture.namespaces
    }

    /// What the profile's plugins are told.
    pub(crate) fn arguments(&self) -> &'a Arguments {
        &self.pending.profile.arguments
    }

    /// Counts a pod of `node` `times` more; negative takes it out.
    pub(crate) fn count(&mut self, other: &PodInfo, node: &NodeState, times: i64) {
        if self.pending.profile.filters.contains(&Plugin::InterPodAffinity) {
            self.nearness.count(self.pod, other, node, self.namespaces(), times);
        }
        self.spreading.count(self.pod, other, node, times);
        self.volumes.count(other, times);
    }

    /// The reasons of the first rule that the node breaks; none if the pod fits.
    pub(crate) fn refusals(&self, node: &NodeState) -> Vec<Refusal> {
        for rule in &self.pending.profile.filters {
            let refusal = match rule {
                Plugin::NodeUnschedulable => node::cordoned(self.pending, &node.info),
                Plugin::TaintToleration => node::tainted(self.pending, &node.info),
                Plugin::NodeAffinity => node::unsuitable(self.pending, &node.info),
                Plugin::NodePorts => node::ports_taken(self.pod, node),
                Plugin::NodeResourcesFit => {
                    let lacking = node::lacking(self.pod, node, self.arguments());
                    if lacking.is_empty() {
                        continue;
                    }
                    return lacking;
                }
                Plugin::VolumeRestrictions => self.volumes.restricted(node),
                Plugin::NodeVolumeLimits => self.volumes.over_limit(node),
                Plugin::VolumeBinding => {
                    let unbindable = self.volumes.unbindable(node);
                    if unbindable.is_empty() {
                        continue;
                    }
                    return unbindable;
                }
                Plugin::VolumeZone => self.volumes.outside(node),
                Plugin::PodTopologySpread => self.spreading.refusal(node),
                Plugin::InterPodAffinity => self.nearness.refusal(self.pod, node, self.namespaces()),
                _ => None,
            };
            if let Some(refusal) = refusal {
                return vec![refusal];
            }
        }
        Vec::new()
    }
}
