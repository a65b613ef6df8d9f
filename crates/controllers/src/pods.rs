//! What controllers know of a pod, and keep of each.

pub(crate) mod members;
pub(crate) mod pace;
pub(crate) mod work;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, ObjectReference, Pod, PodSpec, PodStatus, Toleration};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::ResourceExt;
use skiff_informer::ObjectKey;

use crate::meta::{self, Labels};
use work::Work;

/// Annotation by which a user ranks pods for scale-down; lower goes first.
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// A pod as controllers see it: what they read, and nothing else.
///
/// It is copied out of the object into memory of its own, which it shares with nothing. An object cut down in place is several
/// times as large: the struct has room for all that a pod may have, and what is kept of its parts lies scattered between what
/// is not.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct KnownPod {
    key: ObjectKey,
    uid: Box<str>,
    generation: Option<i64>,
    labels: Labels,
    controller: Option<Box<OwnerReference>>,
    created: Option<Timestamp>,
    deleting: bool,
    deletion_cost: i32,
    /// Empty until it is bound.
    node: Box<str>,
    /// The only node that it may be bound to, empty if there are several.
    meant_for: Box<str>,
    /// Its volumes that are claims, with the names of these.
    claims: Box<[(Box<str>, Box<str>)]>,
    /// The names of the claims that live as long as it does.
    ephemeral_claims: Box<[Box<str>]>,
    hostname: Box<str>,
    subdomain: Box<str>,
    /// Those that keep it on a node.
    tolerations: Box<[Toleration]>,
    ports: Box<[NamedPort]>,
    phase: Phase,
    ready: Option<Ready>,
    changed: Option<Timestamp>,
    addresses: Box<[Box<str>]>,
    restarts: i32,
    /// Since when it is to be disrupted.
    disrupted: Option<Timestamp>,
    /// Of pods that Jobs made.
    work: Option<Box<Work>>,
}

/// `status.phase`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Also when nothing is said yet.
    Pending,
    Running,
    Succeeded,
    Failed,
    Unknown,
}

impl Phase {
    fn of(status: &PodStatus) -> Self {
        match status.phase.as_deref() {
            Some("Running") => Self::Running,
            Some("Succeeded") => Self::Succeeded,
            Some("Failed") => Self::Failed,
            Some("Unknown") => Self::Unknown,
            _ => Self::Pending,
        }
    }
}

/// A port that Services can name.
#[derive(Clone, Debug, PartialEq)]
struct NamedPort {
    name: Box<str>,
    protocol: Box<str>,
    number: i32,
}

/// The condition Ready.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Ready {
    is_true: bool,
    since: Option<Timestamp>,
}

impl KnownPod {
    /// Reads a pod.
    pub(crate) fn of(pod: &Pod) -> Self {
        let (no_spec, no_status) = (PodSpec::default(), PodStatus::default());
        let spec = pod.spec.as_ref().unwrap_or(&no_spec);
        let status = pod.status.as_ref().unwrap_or(&no_status);
        let conditions = || status.conditions.iter().flatten();
        let ready = conditions().find(|condition| condition.type_ == "Ready").map(|ready| Ready {
            is_true: ready.status == "True",
            since: ready.last_transition_time.as_ref().map(|time| time.0),
        });
        let changes = conditions().filter_map(|condition| condition.last_transition_time.as_ref());
        let restarts = status.container_statuses.iter().flatten().map(|status| status.restart_count);
        let cost = pod.annotations().get(DELETION_COST);
        Self {
            key: ObjectKey::of(&pod.metadata),
            uid: meta::uid(&pod.metadata).into(),
            generation: pod.metadata.generation,
            labels: Labels::of(pod.labels()),
            controller: meta::controller_of(&pod.metadata).cloned().map(Box::new),
            created: pod.metadata.creation_timestamp.as_ref().map(|time| time.0),
            deleting: pod.metadata.deletion_timestamp.is_some(),
            deletion_cost: cost.and_then(|cost| cost.parse().ok()).unwrap_or(0),
            node: text(spec.node_name.as_ref()),
            meant_for: meant_for(spec).into(),
            claims: claims(spec),
            ephemeral_claims: ephemeral_claims(&pod.name_any(), spec),
            hostname: text(spec.hostname.as_ref()),
            subdomain: text(spec.subdomain.as_ref()),
            tolerations: spec.tolerations.iter().flatten().filter(|kept| keeps(kept)).cloned().collect(),
            ports: named_ports(spec),
            phase: Phase::of(status),
            ready,
            changed: changes.map(|time| time.0).max(),
            addresses: addresses(status),
            restarts: restarts.max().unwrap_or(0),
            disrupted: disrupted(status),
            work: Work::of(pod, spec, status),
        }
    }

    /// Its `metadata.generation`.
    pub(crate) fn generation(&self) -> Option<i64> {
        self.generation
    }

    /// Its namespace and name.
    pub(crate) fn key(&self) -> &ObjectKey {
        &self.key
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        self.key.name()
    }

    /// Its UID.
    pub(crate) fn uid(&self) -> &str {
        &self.uid
    }

    /// Its labels.
    pub(crate) fn labels(&self) -> &Labels {
        &self.labels
    }

    /// The owner that controls it.
    pub(crate) fn controller(&self) -> Option<&OwnerReference> {
        self.controller.as_deref()
    }

    /// When it was created.
    pub(crate) fn created(&self) -> Option<Timestamp> {
        self.created
    }

    /// What events about it refer to.
    pub(crate) fn reference(&self) -> ObjectReference {
        ObjectReference { api_version: Some("v1".to_owned()), ..self.target() }
    }

    /// What endpoints refer to.
    pub(crate) fn target(&self) -> ObjectReference {
        ObjectReference {
            kind: Some("Pod".to_owned()),
            namespace: Some(self.key.namespace().to_owned()),
            name: Some(self.name().to_owned()),
            uid: Some(self.uid().to_owned()),
            ..ObjectReference::default()
        }
    }

    /// How users rank it for scale-down; lower goes first.
    pub(crate) fn deletion_cost(&self) -> i32 {
        self.deletion_cost
    }

    /// The node it is bound to.
    pub(crate) fn node(&self) -> Option<&str> {
        Some(&*self.node).filter(|node| !node.is_empty())
    }

    /// The node it is bound to, or shall be: a DaemonSet names it in the pod's affinity.
    pub(crate) fn target_node(&self) -> Option<&str> {
        self.node().or_else(|| Some(&*self.meant_for).filter(|node| !node.is_empty()))
    }

    /// The claim that is its volume of that name.
    pub(crate) fn claim(&self, volume: &str) -> Option<&str> {
        self.claims.iter().find(|(name, _)| &**name == volume).map(|(_, claim)| &**claim)
    }

    /// The claims that live as long as it does.
    pub(crate) fn ephemeral_claims(&self) -> impl Iterator<Item = ObjectKey> {
        self.ephemeral_claims.iter().map(|name| ObjectKey::new(self.key.namespace(), name))
    }

    /// All claims that are volumes of it.
    pub(crate) fn claimed(&self) -> impl Iterator<Item = ObjectKey> {
        let named = self.claims.iter().map(|(_, claim)| ObjectKey::new(self.key.namespace(), claim));
        named.chain(self.ephemeral_claims())
    }

    /// The host name it asks for, empty if none.
    pub(crate) fn hostname(&self) -> &str {
        &self.hostname
    }

    /// The Service under which its host name is published, empty if none.
    pub(crate) fn subdomain(&self) -> &str {
        &self.subdomain
    }

    /// The tolerations that keep it on a node with a taint of effect NoExecute.
    pub(crate) fn tolerations(&self) -> &[Toleration] {
        &self.tolerations
    }

    /// The port of that name and protocol.
    pub(crate) fn port(&self, name: &str, protocol: &str) -> Option<i32> {
        let found = self.ports.iter().find(|port| &*port.name == name && &*port.protocol == protocol);
        found.map(|port| port.number)
    }

    /// The phase.
    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether the condition Ready is True.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready.is_some_and(|ready| ready.is_true)
    }

    /// When the pod became ready; `None` while it is not.
    pub(crate) fn ready_since(&self) -> Option<Timestamp> {
        self.ready.filter(|ready| ready.is_true)?.since
    }

    /// When the condition Ready last changed; `None` if it never did.
    pub(crate) fn ready_changed(&self) -> Option<Timestamp> {
        self.ready?.since
    }

    /// The last change of any condition.
    pub(crate) fn changed(&self) -> Option<Timestamp> {
        self.changed
    }

    /// Whether the pod has ended for good.
    pub(crate) fn is_terminal(&self) -> bool {
        matches!(self.phase, Phase::Succeeded | Phase::Failed)
    }

    /// Whether deletion of the pod has begun.
    pub(crate) fn is_deleting(&self) -> bool {
        self.deleting
    }

    /// Whether the pod counts as a replica: neither ended nor being deleted.
    pub(crate) fn is_active(&self) -> bool {
        !self.is_terminal() && !self.is_deleting()
    }

    /// Every address of the pod, the primary one first.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = &str> {
        self.addresses.iter().map(|address| &**address)
    }

    /// How often its most restless container was started again.
    pub(crate) fn restarts(&self) -> i32 {
        self.restarts
    }

    /// Since when the condition DisruptionTarget is True, unless its node agent ends it, which takes as long as it takes.
    pub(crate) fn disrupted(&self) -> Option<Timestamp> {
        self.disrupted
    }

    /// What it does for a Job; `None` if no Job has to do with it.
    pub(crate) fn work(&self) -> Option<&Work> {
        self.work.as_deref()
    }

    /// Whether endpoints show both alike.
    pub(crate) fn is_same_for_endpoints(&self, other: &Self) -> bool {
        let state = |pod: &Self| (pod.is_ready(), pod.is_terminal(), pod.is_deleting());
        state(self) == state(other)
            && self.addresses == other.addresses
            && self.uid == other.uid
            && self.labels == other.labels
            && (&self.node, &self.hostname, &self.subdomain, &self.ports)
                == (&other.node, &other.hostname, &other.subdomain, &other.ports)
    }
}

fn disrupted(status: &PodStatus) -> Option<Timestamp> {
    let mut conditions = status.conditions.iter().flatten();
    let condition = conditions.find(|one| one.type_ == "DisruptionTarget" && one.status == "True")?;
    let by_node = condition.reason.as_deref() == Some("TerminationByKubelet");
    condition.last_transition_time.as_ref().filter(|_| !by_node).map(|time| time.0)
}

fn text(field: Option<&String>) -> Box<str> {
    field.map(String::as_str).unwrap_or_default().into()
}

/// The node that the affinity names.
fn meant_for(spec: &PodSpec) -> &str {
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let required =
        affinity.and_then(|rules| rules.required_during_scheduling_ignored_during_execution.as_ref());
    let terms = required.iter().flat_map(|rules| &rules.node_selector_terms);
    let mut fields = terms.flat_map(|term| term.match_fields.iter().flatten());
    let name = fields.find(|field| field.key == "metadata.name" && field.operator == "In");
    match name.and_then(|field| field.values.as_deref()) {
        Some([node]) => node,
        _ => "",
    }
}

fn claims(spec: &PodSpec) -> Box<[(Box<str>, Box<str>)]> {
    let claims = spec.volumes.iter().flatten().filter_map(|volume| {
        let claim = volume.persistent_volume_claim.as_ref()?;
        Some((volume.name.as_str().into(), claim.claim_name.as_str().into()))
    });
    claims.collect()
}

fn ephemeral_claims(pod: &str, spec: &PodSpec) -> Box<[Box<str>]> {
    let volumes = spec.volumes.iter().flatten();
    let claims = volumes.filter_map(|volume| skiff_volumes::claim_of(pod, volume));
    claims.filter(|(_, is_own)| *is_own).map(|(claim, _)| (&*claim).into()).collect()
}

/// Whether a toleration concerns pods that run.
fn keeps(toleration: &Toleration) -> bool {
    toleration.effect.as_deref().is_none_or(|effect| effect.is_empty() || effect == "NoExecute")
}

/// The ports with names, of containers and of those init containers that go on running.
fn named_ports(spec: &PodSpec) -> Box<[NamedPort]> {
    let sidecars = spec.init_containers.iter().flatten();
    let sidecars = sidecars.filter(|container| container.restart_policy.as_deref() == Some("Always"));
    let ports = |container: &Container| {
        let ports = container.ports.clone().unwrap_or_default();
        ports.into_iter().filter_map(|port| {
            let protocol = port.protocol.unwrap_or_else(|| "TCP".to_owned()).into();
            Some(NamedPort { name: port.name?.into(), protocol, number: port.container_port })
        })
    };
    spec.containers.iter().chain(sidecars).flat_map(ports).collect()
}

fn addresses(status: &PodStatus) -> Box<[Box<str>]> {
    let listed: Vec<&str> = status.pod_ips.iter().flatten().map(|ip| ip.ip.as_str()).collect();
    let single = status.pod_ip.as_deref().filter(|_| listed.is_empty());
    listed.into_iter().chain(single).filter(|ip| !ip.is_empty()).map(Box::from).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// The pod that a text describes.
    pub(crate) fn known(pod: Value) -> KnownPod {
        KnownPod::of(&serde_json::from_value(pod).unwrap())
    }

    #[test]
    fn ports_are_those_that_services_can_name() {
        let pod = known(json!({"spec": {
            "containers": [{"name": "c", "ports": [
                {"name": "web", "containerPort": 8080}, {"containerPort": 81},
                {"name": "dns", "containerPort": 53, "protocol": "UDP"}]}],
            "initContainers": [
                {"name": "setup", "ports": [{"name": "setup", "containerPort": 1}]},
                {"name": "sidecar", "restartPolicy": "Always", "ports": [{"name": "proxy", "containerPort": 2}]}],
        }}));
        assert_eq!(pod.port("web", "TCP"), Some(8080));
        assert_eq!(pod.port("web", "UDP"), None);
        assert_eq!(pod.port("dns", "UDP"), Some(53));
        assert_eq!(pod.port("proxy", "TCP"), Some(2));
        assert_eq!(pod.port("setup", "TCP"), None);
    }

    #[test]
    fn the_list_of_addresses_goes_before_the_single_one() {
        let check = |status: Value, expected: &[&str]| {
            assert!(known(json!({"status": status})).addresses().eq(expected.iter().copied()));
        };
        check(json!({"podIP": "10.0.0.1"}), &["10.0.0.1"]);
        check(
            json!({"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.2"}, {"ip": "fd00::2"}]}),
            &["10.0.0.2", "fd00::2"],
        );
        check(json!({}), &[]);
    }

    #[test]
    fn what_endpoints_do_not_show_does_not_matter_to_them() {
        let pod = |restarts: i32, node: &str| {
            known(json!({
                "metadata": {"name": "p", "uid": "u", "labels": {"app": "a"}},
                "spec": {"nodeName": node, "containers": []},
                "status": {"phase": "Running", "containerStatuses": [
                    {"name": "a", "restartCount": restarts, "image": "", "imageID": "", "ready": false}]},
            }))
        };
        assert_ne!(pod(1, "n1"), pod(2, "n1"));
        assert!(pod(1, "n1").is_same_for_endpoints(&pod(2, "n1")));
        assert!(!pod(1, "n1").is_same_for_endpoints(&pod(1, "n2")));
        assert_eq!(pod(3, "n1").restarts(), 3);
    }

    #[test]
    fn a_pod_takes_little_memory() {
        assert!(size_of::<KnownPod>() < 512, "{}", size_of::<KnownPod>());
    }
}
