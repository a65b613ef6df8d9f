//! What the scheduler remembers of pods and nodes: a fraction of the objects.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{
    Container, Node, NodeAffinity, Pod, PodCondition, PodSpec, Taint, Toleration,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::ResourceExt;
use skiff_quantity::{Needed, Role, at_one_time};

/// The name by which pods ask for this scheduler; also the default.
pub(crate) const SCHEDULER_NAME: &str = "default-scheduler";

/// Amounts by resource name: CPU in millicores, everything else in whole units (bytes, pods, devices).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources(BTreeMap<String, i64>);

impl Resources {
    fn parse(list: Option<&BTreeMap<String, Quantity>>) -> Self {
        let amount = |name: &str, text: &str| {
            let quantity: skiff_quantity::Quantity = text.parse().ok()?;
            Some(if name == "cpu" { quantity.millis() } else { quantity.units() })
        };
        let parsed = list
            .into_iter()
            .flatten()
            .filter_map(|(name, text)| Some((name.clone(), amount(name, &text.0)?)));
        Self(parsed.collect())
    }

    /// The amount of `name`, 0 if absent.
    pub fn get(&self, name: &str) -> i64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// Sets the amount of `name`.
    pub fn set(&mut self, name: &str, amount: i64) {
        self.0.insert(name.into(), amount);
    }

    /// Resource names and amounts, ordered by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, i64)> {
        self.0.iter().map(|(name, amount)| (name.as_str(), *amount))
    }

    pub(crate) fn subtract(&mut self, other: &Self) {
        for (name, amount) in &other.0 {
            let rest = self.0.entry(name.clone()).or_default();
            *rest = rest.saturating_sub(*amount);
        }
    }
}

impl Needed for Resources {
    fn add(&mut self, other: &Self) {
        for (name, amount) in &other.0 {
            self.0.entry(name.clone()).or_default().add(amount);
        }
    }

    fn raise_to(&mut self, other: &Self) {
        for (name, amount) in &other.0 {
            self.0.entry(name.clone()).or_default().raise_to(amount);
        }
    }
}

/// A port that a pod takes on its node. `None` is every address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// The node's address the port is taken on.
    pub address: Option<IpAddr>,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    /// The port on the node.
    pub port: i32,
}

impl HostPort {
    /// Whether both cannot be on one node.
    pub(crate) fn conflicts(&self, other: &Self) -> bool {
        let same_address = self.address.is_none() || other.address.is_none() || self.address == other.address;
        self.port == other.port && self.protocol == other.protocol && same_address
    }
}

/// What the scheduler knows of a pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodInfo {
    /// The node the pod is bound to.
    pub node: Option<String>,
    /// What the pod needs while it runs.
    pub requests: Resources,
    /// Ports it takes on its node.
    pub host_ports: Vec<HostPort>,
    /// What matters only until the pod is bound.
    pub pending: Option<Box<Pending>>,
}

/// What a pod that is not bound asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pending {
    /// The pod's UID.
    pub uid: String,
    /// Pods of higher priority are tried first.
    pub priority: i32,
    /// Labels the node must have.
    pub node_selector: BTreeMap<String, String>,
    /// Rules about the node's labels.
    pub affinity: NodeAffinity,
    /// Taints the pod accepts.
    pub tolerations: Vec<Toleration>,
    /// The pod's `metadata.generation`.
    pub generation: Option<i64>,
    /// The message of the present condition PodScheduled=False, reason Unschedulable.
    pub reported: Option<String>,
}

impl PodInfo {
    /// Reads a pod; `None` if the scheduler has no business with it: it has ended, waits for a gate, is being deleted
    /// before it was bound, or asks for another scheduler.
    pub(crate) fn of(pod: &Pod) -> Option<Self> {
        let spec = pod.spec.as_ref()?;
        let status = pod.status.as_ref();
        if matches!(status.and_then(|status| status.phase.as_deref()), Some("Succeeded" | "Failed")) {
            return None;
        }
        let node = spec.node_name.clone().filter(|name| !name.is_empty());
        let ours = spec.scheduler_name.as_deref().unwrap_or(SCHEDULER_NAME) == SCHEDULER_NAME;
        let gated = spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty());
        if node.is_none() && (!ours || gated || pod.metadata.deletion_timestamp.is_some()) {
            return None;
        }
        let pending = node.is_none().then(|| Box::new(Pending::of(pod, spec)));
        Some(Self { node, requests: requests(spec), host_ports: host_ports(spec), pending })
    }
}

impl Pending {
    fn of(pod: &Pod, spec: &PodSpec) -> Self {
        let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
        let scheduled = |condition: &&PodCondition| condition.type_ == "PodScheduled";
        let refused = conditions.into_iter().flatten().find(scheduled).filter(|condition| {
            condition.status == "False" && condition.reason.as_deref() == Some("Unschedulable")
        });
        Self {
            uid: pod.uid().unwrap_or_default(),
            priority: spec.priority.unwrap_or(0),
            node_selector: spec.node_selector.clone().unwrap_or_default(),
            affinity: spec
                .affinity
                .as_ref()
                .and_then(|affinity| affinity.node_affinity.clone())
                .unwrap_or_default(),
            tolerations: spec.tolerations.clone().unwrap_or_default(),
            generation: pod.metadata.generation,
            reported: refused.and_then(|condition| condition.message.clone()),
        }
    }
}

/// The most a pod needs at one time, by its own request or by those of its containers, plus the overhead.
fn requests(spec: &PodSpec) -> Resources {
    let of = |container: &Container| {
        Resources::parse(container.resources.as_ref().and_then(|resources| resources.requests.as_ref()))
    };
    let init = spec.init_containers.iter().flatten();
    let init = init.map(|container| (Role::of_init(container.restart_policy.as_deref()), of(container)));
    let main = spec.containers.iter().map(|container| (Role::Main, of(container)));
    let mut most = at_one_time(init.chain(main));
    let whole_pod = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    Resources::parse(whole_pod).iter().for_each(|(name, amount)| most.set(name, amount));
    most.add(&Resources::parse(spec.overhead.as_ref()));
    most
}

fn host_ports(spec: &PodSpec) -> Vec<HostPort> {
    let ports = spec.containers.iter().flat_map(|container| container.ports.iter().flatten());
    let taken = ports.filter_map(|port| {
        let address = port.host_ip.as_deref().and_then(|ip| ip.parse::<IpAddr>().ok());
        Some(HostPort {
            address: address.filter(|address| !address.is_unspecified()),
            protocol: port.protocol.clone().unwrap_or_else(|| "TCP".into()),
            port: port.host_port.filter(|port| *port != 0)?,
        })
    });
    taken.collect()
}

/// What the scheduler knows of a node. Heartbeats do not change it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeInfo {
    /// The node's name.
    pub name: String,
    /// The node's labels.
    pub labels: BTreeMap<String, String>,
    /// Taints that keep pods away.
    pub taints: Vec<Taint>,
    /// Set by `kubectl cordon`.
    pub unschedulable: bool,
    /// What the node can give to pods.
    pub allocatable: Resources,
}

impl NodeInfo {
    pub(crate) fn of(node: &Node) -> Self {
        let spec = node.spec.as_ref();
        let status = node.status.as_ref();
        let allocatable = status.and_then(|status| status.allocatable.as_ref().or(status.capacity.as_ref()));
        Self {
            name: node.name_any(),
            labels: node.labels().clone(),
            taints: spec.and_then(|spec| spec.taints.clone()).unwrap_or_default(),
            unschedulable: spec.and_then(|spec| spec.unschedulable).unwrap_or(false),
            allocatable: Resources::parse(allocatable),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn check(spec: Value) -> Vec<(String, i64)> {
        let spec: PodSpec = serde_json::from_value(spec).unwrap();
        requests(&spec).iter().map(|(name, amount)| (name.to_owned(), amount)).collect()
    }

    fn container(cpu: &str) -> Value {
        json!({"name": "c", "resources": {"requests": {"cpu": cpu}}})
    }

    fn sidecar(cpu: &str) -> Value {
        let mut container = container(cpu);
        container["restartPolicy"] = "Always".into();
        container
    }

    #[test]
    fn requests_are_the_most_needed_at_one_time() {
        assert_eq!(
            check(json!({"containers": [container("100m"), container("0.2")]})),
            [("cpu".into(), 300)]
        );
        let init = json!({"containers": [container("100m")], "initContainers": [container("1")]});
        assert_eq!(check(init), [("cpu".into(), 1000)]);
        let sidecars = json!({"containers": [container("100m")],
                              "initContainers": [sidecar("50m"), container("200m"), sidecar("10m")]});
        assert_eq!(check(sidecars), [("cpu".into(), 250)]);
        let overhead = json!({"containers": [container("100m")], "overhead": {"memory": "1Mi"}});
        assert_eq!(check(overhead), [("cpu".into(), 100), ("memory".into(), 1 << 20)]);
    }

    #[test]
    fn only_pods_that_matter_are_kept() {
        let check = |pod: Value| {
            PodInfo::of(&serde_json::from_value(pod).unwrap()).map(|info| info.pending.is_some())
        };
        assert_eq!(check(json!({"spec": {"containers": []}})), Some(true));
        assert_eq!(check(json!({"spec": {"containers": [], "nodeName": "n"}})), Some(false));
        assert_eq!(check(json!({"spec": {"containers": [], "schedulerName": "mine"}})), None);
        assert_eq!(
            check(json!({"spec": {"containers": [], "schedulerName": "mine", "nodeName": "n"}})),
            Some(false)
        );
        assert_eq!(check(json!({"spec": {"containers": [], "schedulingGates": [{"name": "g"}]}})), None);
        assert_eq!(check(json!({"spec": {"containers": []}, "status": {"phase": "Failed"}})), None);
        let deleted =
            json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "spec": {"containers": []}});
        assert_eq!(check(deleted), None);
    }

    #[test]
    fn host_ports_conflict_on_the_same_address() {
        let port = |address: Option<&str>, protocol: &str| HostPort {
            address: address.map(|address| address.parse().unwrap()),
            protocol: protocol.into(),
            port: 80,
        };
        assert!(port(None, "TCP").conflicts(&port(Some("10.0.0.1"), "TCP")));
        assert!(!port(Some("10.0.0.2"), "TCP").conflicts(&port(Some("10.0.0.1"), "TCP")));
        assert!(!port(None, "TCP").conflicts(&port(None, "UDP")));
    }
}
