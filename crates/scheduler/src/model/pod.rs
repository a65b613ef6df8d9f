//! What the scheduler knows of a pod.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Affinity, Pod, PodAffinityTerm, PodCondition, PodSpec, PodStatus, Toleration, WeightedPodAffinityTerm,
};
use kube::ResourceExt;

use super::ports::host_ports;
use super::resources::requests;
use super::{HostPort, Labels, Owner, PodVolumes, Resources, Shares, Spread, Term};
use crate::affinity::NodeRules;
use crate::configuration::{Configuration, DEFAULT_SCHEDULER, Profile};

/// A pod that is on a node or wants to be.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct PodInfo {
    /// The namespace.
    pub namespace: String,
    /// The pod's UID.
    pub uid: String,
    /// The node the pod is bound to.
    pub node: Option<String>,
    /// The pod's labels: rules of other pods speak of them.
    pub labels: Labels,
    /// A pod of higher priority is tried first, and may take the place of this one.
    pub priority: i32,
    /// Whether the pod is being deleted.
    pub terminating: bool,
    /// Whether that is to make room for another.
    pub preempted: bool,
    /// When the node took the pod on.
    pub started: Option<Timestamp>,
    /// What the pod needs while it runs.
    pub requests: Resources,
    /// The same as scores weigh it, with a guess where nothing is said.
    pub weighed: Shares,
    /// Ports it takes on its node.
    pub host_ports: Vec<HostPort>,
    /// Its rules about other pods, which concern those as well.
    pub affinities: Option<Box<PodAffinities>>,
    /// Its volumes, if not every node can give it all of them.
    pub volumes: Option<Box<PodVolumes>>,
    /// What matters only until the pod is bound.
    pub pending: Option<Box<Pending>>,
}

/// A pod's rules about other pods.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct PodAffinities {
    /// Each must be satisfied.
    pub required: Vec<Term>,
    /// None may be satisfied.
    pub forbidden: Vec<Term>,
    /// Better if satisfied, by weight; of a negative weight, better if not.
    pub preferred: Vec<Weighted>,
}

/// A term with what it is worth.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Weighted {
    /// 1 to 100, negative for anti-affinity.
    pub weight: i64,
    /// The term.
    pub term: Term,
}

/// What a pod that is not bound asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Pending {
    /// By what the pod is decided about.
    pub profile: Arc<Profile>,
    /// The profile's name.
    pub scheduler: String,
    /// What makes pods like it, if that is known to spread them.
    pub owner: Option<Owner>,
    /// Labels the node must have.
    pub node_selector: Labels,
    /// Rules about the node's labels.
    pub affinity: NodeRules,
    /// Taints the pod accepts.
    pub tolerations: Vec<Toleration>,
    /// How it is to be spread.
    pub spread: Vec<Spread>,
    /// Names of its images, one for each container, as nodes write them.
    pub images: Vec<String>,
    /// Whether pods of lower priority may be removed for it.
    pub preempts: bool,
    /// The node on which room was made for it.
    pub nominated: Option<String>,
    /// The pod's `metadata.generation`.
    pub generation: Option<i64>,
    /// The message of the present condition PodScheduled=False, reason Unschedulable.
    pub reported: Option<String>,
}

impl PodInfo {
    /// The profile that decides about the pod, by its name; none of one that needs no decision.
    pub(crate) fn profile_name(&self) -> &str {
        self.pending.as_deref().map_or("", |pending| &pending.scheduler)
    }

    /// Reads a pod; `None` if the scheduler has no business with it: it has ended, waits for a gate, is being deleted
    /// before it was bound, or asks for a scheduler that has no profile.
    pub(crate) fn of(pod: &Pod, configuration: &Configuration) -> Option<Self> {
        let spec = pod.spec.as_ref()?;
        let status = pod.status.as_ref();
        if matches!(status.and_then(|status| status.phase.as_deref()), Some("Succeeded" | "Failed")) {
            return None;
        }
        let node = spec.node_name.clone().filter(|name| !name.is_empty());
        let gated = spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty());
        let terminating = pod.metadata.deletion_timestamp.is_some();
        let pending = match &node {
            Some(_) => None,
            None if gated || terminating => return None,
            None => {
                let profile = configuration.profile_of(spec.scheduler_name.as_deref())?;
                Some(Box::new(Pending::of(pod, spec, profile.clone())))
            }
        };
        let (requests, weighed) = requests(pod, spec);
        let namespace = pod.namespace().unwrap_or_default();
        Some(Self {
            uid: pod.uid().unwrap_or_default(),
            labels: pod.labels().clone(),
            priority: spec.priority.unwrap_or(0),
            terminating,
            started: status.and_then(|status| status.start_time.as_ref()).map(|time| time.0),
            preempted: terminating && status.is_some_and(is_preempted),
            requests,
            weighed,
            host_ports: host_ports(spec),
            affinities: PodAffinities::of(spec.affinity.as_ref(), &namespace),
            volumes: PodVolumes::of(&namespace, &pod.name_any(), spec),
            pending,
            namespace,
            node,
        })
    }

    /// Terms that must be satisfied.
    pub(crate) fn required(&self) -> &[Term] {
        self.affinities.as_ref().map_or(&[], |affinities| &affinities.required)
    }

    /// Terms that must not be.
    pub(crate) fn forbidden(&self) -> &[Term] {
        self.affinities.as_ref().map_or(&[], |affinities| &affinities.forbidden)
    }

    /// Terms that are wished for, or wished away.
    pub(crate) fn preferred(&self) -> &[Weighted] {
        self.affinities.as_ref().map_or(&[], |affinities| &affinities.preferred)
    }
}

impl PodAffinities {
    fn of(affinity: Option<&Affinity>, namespace: &str) -> Option<Box<Self>> {
        let affinity = affinity?;
        let (near, apart) = (affinity.pod_affinity.as_ref(), affinity.pod_anti_affinity.as_ref());
        let terms = |terms: Option<&Vec<PodAffinityTerm>>| {
            terms.into_iter().flatten().map(|term| Term::of(term, namespace)).collect::<Vec<_>>()
        };
        let weighted = |terms: Option<&Vec<WeightedPodAffinityTerm>>, sign: i64| {
            let weigh = |term: &WeightedPodAffinityTerm| Weighted {
                weight: sign * i64::from(term.weight),
                term: Term::of(&term.pod_affinity_term, namespace),
            };
            terms.into_iter().flatten().map(weigh).collect::<Vec<_>>()
        };
        let near_preferred =
            near.and_then(|rules| rules.preferred_during_scheduling_ignored_during_execution.as_ref());
        let apart_preferred =
            apart.and_then(|rules| rules.preferred_during_scheduling_ignored_during_execution.as_ref());
        let all = Self {
            required: terms(
                near.and_then(|rules| rules.required_during_scheduling_ignored_during_execution.as_ref()),
            ),
            forbidden: terms(
                apart.and_then(|rules| rules.required_during_scheduling_ignored_during_execution.as_ref()),
            ),
            preferred: [weighted(near_preferred, 1), weighted(apart_preferred, -1)].concat(),
        };
        (all != Self::default()).then(|| Box::new(all))
    }
}

/// Whether the pod's conditions say that it ends for another's sake.
fn is_preempted(status: &PodStatus) -> bool {
    let mut conditions = status.conditions.iter().flatten();
    conditions.find(|condition| condition.type_ == "DisruptionTarget").is_some_and(|condition| {
        condition.status == "True" && condition.reason.as_deref() == Some("PreemptionByScheduler")
    })
}

impl Pending {
    fn of(pod: &Pod, spec: &PodSpec, profile: Arc<Profile>) -> Self {
        let status = pod.status.as_ref();
        let conditions = status.and_then(|status| status.conditions.as_ref());
        let scheduled = |condition: &&PodCondition| condition.type_ == "PodScheduled";
        let refused = conditions.into_iter().flatten().find(scheduled).filter(|condition| {
            condition.status == "False" && condition.reason.as_deref() == Some("Unschedulable")
        });
        let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
        let containers = spec.init_containers.iter().flatten().chain(&spec.containers);
        let scheduler = spec.scheduler_name.as_deref().unwrap_or(DEFAULT_SCHEDULER).to_owned();
        Self {
            profile,
            scheduler,
            owner: Owner::of(pod),
            node_selector: spec.node_selector.clone().unwrap_or_default(),
            affinity: affinity.map(NodeRules::of).unwrap_or_default(),
            tolerations: spec.tolerations.clone().unwrap_or_default(),
            spread: spec.topology_spread_constraints.iter().flatten().map(Spread::of).collect(),
            images: containers.filter_map(|container| container.image.as_deref()).map(full_name).collect(),
            preempts: spec.preemption_policy.as_deref() != Some("Never"),
            nominated: status.and_then(|status| status.nominated_node_name.clone()).filter(|n| !n.is_empty()),
            generation: pod.metadata.generation,
            reported: refused.and_then(|condition| condition.message.clone()),
        }
    }
}

/// The name of an image with its tag, `latest` unless it says one.
fn full_name(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    if last.contains(':') || last.contains('@') { image.to_owned() } else { format!("{image}:latest") }
}
