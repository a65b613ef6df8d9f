//! Whether the node takes a pod that was bound to it: decided by the pod, the Node and the pods that are here.

use super::local::{LocalContainer, LocalPod, Role};
use super::observed::Rejection;
use crate::container::security::{Refusal, isolation_refused};
use crate::node::modules::SecurityModules;
use crate::node::view::NodeFacts;
use crate::quantity::{Amounts, amount, milli, units};
use skiff_ports::NodePort;
use skiff_quantity::at_one_time;
use skiff_scheduler::{node_affinity_matches, tolerated};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// The operating system of this node, and the label that says so.
const OS: &str = "linux";
const OS_LABEL: &str = "kubernetes.io/os";

/// What a pod takes of the node.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Claims {
    /// Millicores.
    cpu: i64,
    /// Bytes.
    memory: i64,
    host_ports: Vec<HostPort>,
}

#[derive(Clone, Debug, PartialEq)]
struct HostPort {
    ip: String,
    protocol: String,
    port: NodePort,
}

impl Claims {
    /// Whether a port of the node is to be open at a loopback address of it.
    pub(super) fn at_loopback(&self) -> bool {
        let loopback = |ip: &str| ip.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback());
        self.host_ports.iter().any(|port| any_address(&port.ip) || loopback(&port.ip))
    }

    /// Whether these are more than `other` of anything that can change while a pod runs.
    pub(super) fn exceed(&self, other: &Self) -> bool {
        self.cpu > other.cpu || self.memory > other.memory
    }
}

impl HostPort {
    /// Two ports clash when they are the same on addresses that overlap.
    fn clashes(&self, other: &Self) -> bool {
        self.port == other.port
            && self.protocol == other.protocol
            && (self.ip == other.ip || any_address(&self.ip) || any_address(&other.ip))
    }
}

fn any_address(ip: &str) -> bool {
    ip.is_empty() || ip == "0.0.0.0" || ip == "::"
}

/// Kernel parameters that any pod may set.
const SAFE_SYSCTLS: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
];

/// What `pod` takes.
pub(crate) fn claims(pod: &LocalPod) -> Claims {
    let ports = pod.containers.iter().flat_map(|c| c.spec.ports.iter().flatten());
    let host_ports = ports.filter_map(|port| {
        Some(HostPort {
            ip: port.host_ip.clone().unwrap_or_default(),
            protocol: port.protocol.clone().unwrap_or_else(|| "TCP".into()),
            port: port.host_port.and_then(NodePort::of)?,
        })
    });
    Claims { cpu: requested(pod, "cpu"), memory: requested(pod, "memory"), host_ports: host_ports.collect() }
}

/// The request of the whole pod: its own, or what its containers need at the same time.
pub(crate) fn requested(pod: &LocalPod, resource: &str) -> i64 {
    let whole = pod.spec.resources.as_ref().and_then(|r| r.requests.as_ref());
    let overhead = amount(pod.spec.overhead.as_ref(), resource);
    if whole.is_some_and(|requests| requests.contains_key(resource)) {
        return amount(whole, resource).saturating_add(overhead);
    }
    let request =
        |c: &LocalContainer| amount(c.spec.resources.as_ref().and_then(|r| r.requests.as_ref()), resource);
    at_the_same_time(pod, request).saturating_add(overhead)
}

/// The most that the containers have at once, each with `amount`.
pub(crate) fn at_the_same_time(pod: &LocalPod, amount: impl Fn(&LocalContainer) -> i64) -> i64 {
    at_one_time(pod.containers.iter().filter_map(|container| {
        let role = match container.role {
            Role::Main => skiff_quantity::Role::Main,
            Role::Sidecar => skiff_quantity::Role::Sidecar,
            Role::Init => skiff_quantity::Role::Init,
            Role::Ephemeral => return None,
        };
        Some((role, amount(container)))
    }))
}

/// Refuses a pod that does not fit beside the pods that claim `others`. The rules, their order and their words are
/// those of the kubelet.
pub(super) fn admit<'a>(
    pod: &LocalPod,
    others: impl ExactSizeIterator<Item = &'a Claims> + Clone,
    node: &NodeFacts,
    modules: SecurityModules,
) -> Result<(), Rejection> {
    operating_system(pod, node)?;
    let own = claims(pod);
    fits(&own, others.clone(), &node.allocatable)
        .map_err(|Shortage { reason, message }| rejection(reason, message))?;
    placement(pod, node)?;
    if others
        .flat_map(|claims| &claims.host_ports)
        .any(|taken| own.host_ports.iter().any(|p| p.clashes(taken)))
    {
        let text = "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports";
        return Err(rejection("NodePorts", text.into()));
    }
    sysctls(pod)?;
    isolation_refused(pod, modules).map_or(Ok(()), |Refusal { reason, text }| Err(rejection(reason, text)))
}

fn operating_system(pod: &LocalPod, node: &NodeFacts) -> Result<(), Rejection> {
    let asked = pod.spec.node_selector.as_ref().and_then(|selector| selector.get(OS_LABEL));
    let own = node.labels.get(OS_LABEL).map_or(OS, String::as_str);
    if asked.is_some_and(|asked| asked != own) {
        let text = "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label";
        return Err(rejection("PodOSSelectorNodeLabelDoesNotMatch", text.into()));
    }
    if pod.spec.os.as_ref().is_some_and(|os| os.name != OS) {
        let text = "Failed to admit pod as the OS field doesn't match node OS";
        return Err(rejection("PodOSNotSupported", text.into()));
    }
    Ok(())
}

/// What the node has too little of.
pub(super) struct Shortage {
    /// The reason of a pod that is refused for it.
    pub(super) reason: &'static str,
    pub(super) message: String,
}

/// Whether the node has what a pod claims beside the pods that claim `others`.
pub(super) fn fits<'a>(
    own: &Claims,
    others: impl ExactSizeIterator<Item = &'a Claims> + Clone,
    allocatable: &Amounts,
) -> Result<(), Shortage> {
    let full = |resource: &str, requested: i64, used: i64, capacity: i64| {
        let reason = match resource {
            "cpu" => "OutOfcpu",
            "memory" => "OutOfmemory",
            _ => "OutOfpods",
        };
        let message = format!(
            "Node didn't have enough resource: {resource}, requested: {requested}, used: {used}, capacity: {capacity}"
        );
        Err(Shortage { reason, message })
    };
    let pods = allocatable.get("pods").and_then(units).unwrap_or(i64::MAX);
    let present = i64::try_from(others.len()).unwrap_or(i64::MAX);
    if present >= pods {
        return full("pods", 1, present, pods);
    }
    let cpu = allocatable.get("cpu").and_then(milli).unwrap_or(i64::MAX);
    let used = others.clone().fold(0i64, |sum, claims| sum.saturating_add(claims.cpu));
    if own.cpu > 0 && own.cpu > cpu.saturating_sub(used) {
        return full("cpu", own.cpu, used, cpu);
    }
    let memory = allocatable.get("memory").and_then(units).unwrap_or(i64::MAX);
    let used = others.fold(0i64, |sum, claims| sum.saturating_add(claims.memory));
    if own.memory > 0 && own.memory > memory.saturating_sub(used) {
        return full("memory", own.memory, used, memory);
    }
    Ok(())
}

/// Labels and taints: what the scheduler looked at too, unless the pod was bound by somebody else.
fn placement(pod: &LocalPod, node: &NodeFacts) -> Result<(), Rejection> {
    let none = BTreeMap::new();
    let selector = pod.spec.node_selector.as_ref().unwrap_or(&none);
    let affinity = pod.spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    if !node_affinity_matches(selector, affinity, &node.name, &node.labels) {
        let text = "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector";
        return Err(rejection("NodeAffinity", text.into()));
    }
    let tolerations = pod.spec.tolerations.as_deref().unwrap_or_default();
    let mut expelling = node.taints.iter().filter(|taint| taint.effect == "NoExecute");
    if expelling.any(|taint| !tolerated(tolerations, taint)) {
        let text = "Predicate TaintToleration failed: node(s) had taints that the pod didn't tolerate";
        return Err(rejection("TaintToleration", text.into()));
    }
    Ok(())
}

fn sysctls(pod: &LocalPod) -> Result<(), Rejection> {
    let sysctls = pod.spec.security_context.as_ref().and_then(|context| context.sysctls.as_ref());
    let unsafe_one =
        sysctls.into_iter().flatten().find(|s| !SAFE_SYSCTLS.contains(&s.name.replace('/', ".").as_str()));
    let text = |name: &str| format!("forbidden sysctl: \"{name}\" not allowlisted");
    unsafe_one.map_or(Ok(()), |sysctl| Err(rejection("SysctlForbidden", text(&sysctl.name))))
}

fn rejection(reason: &'static str, text: String) -> Rejection {
    Rejection { reason, message: format!("Pod was rejected: {text}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::testing;
    use k8s_openapi::api::core::v1::{Taint, Toleration};
    use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

    /// A pod that tolerates the node's taint.
    fn pod_of(spec: &str) -> LocalPod {
        let mut pod = testing::pod_of(spec);
        pod.spec.tolerations.get_or_insert_with(|| {
            vec![Toleration { operator: Some("Exists".into()), ..Default::default() }]
        });
        pod
    }

    fn container(extra: &str) -> LocalPod {
        pod_of(&format!(r#"{{"containers": [{{"name": "c", {extra}}}]}}"#))
    }

    fn check(pod: &LocalPod, others: &[LocalPod], expected: Result<(), &str>) {
        let quantity = |text: &str| Quantity(text.into());
        let allocatable = [
            ("cpu".into(), quantity("1")),
            ("memory".into(), quantity("1Gi")),
            ("pods".into(), quantity("3")),
        ]
        .into();
        let labels = [("zone".to_owned(), "a".to_owned())].into();
        let taint =
            |key: &str, effect: &str| Taint { key: key.into(), effect: effect.into(), ..Taint::default() };
        let taints = vec![taint("soft", "NoSchedule"), taint("going", "NoExecute")];
        let node = NodeFacts { name: "n".into(), labels, taints, allocatable };
        let others: Vec<Claims> = others.iter().map(claims).collect();
        let actual = admit(pod, others.iter(), &node, SecurityModules::default());
        match expected {
            Ok(()) => assert_eq!(actual, Ok(())),
            Err(reason) => assert_eq!(actual.unwrap_err().reason, reason),
        }
    }

    #[test]
    fn resources_and_ports_are_counted() {
        let cpu = |amount: &str| container(&format!(r#""resources": {{"requests": {{"cpu": "{amount}"}}}}"#));
        check(&cpu("600m"), &[cpu("400m")], Ok(()));
        check(&cpu("601m"), &[cpu("400m")], Err("OutOfcpu"));
        check(&container(r#""resources": {"requests": {"memory": "2Gi"}}"#), &[], Err("OutOfmemory"));
        let free = || cpu("0");
        check(&free(), &[free(), free()], Ok(()));
        check(&free(), &[free(), free(), free()], Err("OutOfpods"));
        let port = |ip: &str| {
            container(&format!(r#""ports": [{{"containerPort": 1, "hostPort": 80, "hostIP": "{ip}"}}]"#))
        };
        check(&port("10.0.0.1"), &[port("10.0.0.2")], Ok(()));
        check(&port(""), &[port("10.0.0.2")], Err("NodePorts"));
    }

    #[test]
    fn ports_at_loopback_addresses_are_known() {
        for (ip, expected) in [("", true), ("0.0.0.0", true), ("127.0.0.9", true), ("10.0.0.1", false)] {
            let port = format!(r#""ports": [{{"containerPort": 1, "hostPort": 80, "hostIP": "{ip}"}}]"#);
            assert_eq!(claims(&container(&port)).at_loopback(), expected, "{ip:?}");
        }
        let inside = container(r#""ports": [{"containerPort": 1}]"#);
        assert!(!claims(&inside).at_loopback());
    }

    #[test]
    fn labels_and_sysctls_are_checked() {
        check(&pod_of(r#"{"containers": [], "nodeSelector": {"zone": "a"}}"#), &[], Ok(()));
        check(&pod_of(r#"{"containers": [], "nodeSelector": {"zone": "b"}}"#), &[], Err("NodeAffinity"));
        let sysctl = |name: &str| {
            pod_of(&format!(
                r#"{{"containers": [], "securityContext": {{"sysctls": [{{"name": "{name}", "value": "1"}}]}}}}"#
            ))
        };
        check(&sysctl("kernel.shm_rmid_forced"), &[], Ok(()));
        check(&sysctl("kernel.msgmax"), &[], Err("SysctlForbidden"));
    }

    #[test]
    fn a_pod_for_another_node_is_refused() {
        let affinity = |zone: &str| {
            pod_of(&format!(
                r#"{{"containers": [], "affinity": {{"nodeAffinity": {{"requiredDuringSchedulingIgnoredDuringExecution":
                    {{"nodeSelectorTerms": [{{"matchExpressions":
                        [{{"key": "zone", "operator": "In", "values": ["{zone}"]}}]}}]}}}}}}}}"#
            ))
        };
        check(&affinity("a"), &[], Ok(()));
        check(&affinity("b"), &[], Err("NodeAffinity"));
        let tolerating = |key: &str| {
            pod_of(&format!(
                r#"{{"containers": [], "tolerations": [{{"key": "{key}", "operator": "Exists"}}]}}"#
            ))
        };
        check(&tolerating("going"), &[], Ok(()));
        check(&tolerating("soft"), &[], Err("TaintToleration"));
        let os = |name: &str| pod_of(&format!(r#"{{"containers": [], "os": {{"name": "{name}"}}}}"#));
        check(&os("linux"), &[], Ok(()));
        check(&os("windows"), &[], Err("PodOSNotSupported"));
        let selecting = r#"{"containers": [], "nodeSelector": {"kubernetes.io/os": "windows"}}"#;
        check(&pod_of(selecting), &[], Err("PodOSSelectorNodeLabelDoesNotMatch"));
    }

    #[test]
    fn init_containers_count_when_they_need_more() {
        let pod = pod_of(
            r#"{"containers": [{"name": "c", "resources": {"requests": {"cpu": "100m"}}}],
                "initContainers": [
                    {"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": "50m"}}},
                    {"name": "i", "resources": {"requests": {"cpu": "200m"}}}]}"#,
        );
        assert_eq!(claims(&pod).cpu, 250);
    }
}
