//! Whether the node takes a pod that was bound to it; a pure function of the pod and of those already here.

use super::local::{LocalPod, Role};
use super::observed::Rejection;
use crate::quantity::{Amounts, amount, milli, units};
use std::collections::BTreeMap;

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
    port: i32,
}

impl HostPort {
    /// Two ports clash when they are the same on addresses that overlap.
    fn clashes(&self, other: &Self) -> bool {
        let any = |ip: &str| ip.is_empty() || ip == "0.0.0.0" || ip == "::";
        self.port == other.port
            && self.protocol == other.protocol
            && (self.ip == other.ip || any(&self.ip) || any(&other.ip))
    }
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
            port: port.host_port.filter(|port| *port > 0)?,
        })
    });
    Claims { cpu: requested(pod, "cpu"), memory: requested(pod, "memory"), host_ports: host_ports.collect() }
}

/// The request of the whole pod: its own, or what its containers need at the same time.
fn requested(pod: &LocalPod, resource: &str) -> i64 {
    let whole = pod.spec.resources.as_ref().and_then(|r| r.requests.as_ref());
    let overhead = amount(pod.spec.overhead.as_ref(), resource);
    if whole.is_some_and(|requests| requests.contains_key(resource)) {
        return amount(whole, resource).saturating_add(overhead);
    }
    let (mut mains, mut sidecars, mut peak) = (0i64, 0i64, 0i64);
    for container in &pod.containers {
        let own = amount(container.spec.resources.as_ref().and_then(|r| r.requests.as_ref()), resource);
        match container.role {
            Role::Main => mains = mains.saturating_add(own),
            Role::Sidecar => {
                sidecars = sidecars.saturating_add(own);
                peak = peak.max(sidecars);
            }
            Role::Init => peak = peak.max(sidecars.saturating_add(own)),
            Role::Ephemeral => {}
        }
    }
    mains.saturating_add(sidecars).max(peak).saturating_add(overhead)
}

/// Refuses a pod that does not fit beside `others` on a node with these labels and this much to give.
pub(crate) fn admit(
    pod: &LocalPod,
    others: &[Claims],
    allocatable: &Amounts,
    node_labels: &BTreeMap<String, String>,
) -> Result<(), Rejection> {
    let own = claims(pod);
    let full = |resource: &str, requested: i64, used: i64, capacity: i64| {
        let reason = format!("OutOf{resource}");
        let text = format!(
            "Node didn't have enough resource: {resource}, requested: {requested}, used: {used}, capacity: {capacity}"
        );
        Err(rejection(reason, text))
    };
    let pods = allocatable.get("pods").and_then(units).unwrap_or(i64::MAX);
    let present = i64::try_from(others.len()).unwrap_or(i64::MAX);
    if present >= pods {
        return full("pods", 1, present, pods);
    }
    let cpu = allocatable.get("cpu").and_then(milli).unwrap_or(i64::MAX);
    let used = others.iter().fold(0i64, |sum, claims| sum.saturating_add(claims.cpu));
    if own.cpu > 0 && own.cpu > cpu.saturating_sub(used) {
        return full("cpu", own.cpu, used, cpu);
    }
    let memory = allocatable.get("memory").and_then(units).unwrap_or(i64::MAX);
    let used = others.iter().fold(0i64, |sum, claims| sum.saturating_add(claims.memory));
    if own.memory > 0 && own.memory > memory.saturating_sub(used) {
        return full("memory", own.memory, used, memory);
    }
    let selector = pod.spec.node_selector.iter().flatten();
    if selector.into_iter().any(|(key, value)| node_labels.get(key) != Some(value)) {
        let text = "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector";
        return Err(rejection("NodeAffinity".into(), text.into()));
    }
    let taken = others.iter().flat_map(|claims| &claims.host_ports);
    if taken.into_iter().any(|taken| own.host_ports.iter().any(|port| port.clashes(taken))) {
        let text = "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports";
        return Err(rejection("NodePorts".into(), text.into()));
    }
    let sysctls = pod.spec.security_context.as_ref().and_then(|context| context.sysctls.as_ref());
    if let Some(sysctl) =
        sysctls.into_iter().flatten().find(|s| !SAFE_SYSCTLS.contains(&s.name.replace('/', ".").as_str()))
    {
        return Err(rejection(
            "SysctlForbidden".into(),
            format!("forbidden sysctl: \"{}\" not allowlisted", sysctl.name),
        ));
    }
    Ok(())
}

fn rejection(reason: String, text: String) -> Rejection {
    Rejection { reason, message: format!("Pod was rejected: {text}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::testing::pod_of;
    use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

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
        let others: Vec<Claims> = others.iter().map(claims).collect();
        let actual = admit(pod, &others, &allocatable, &labels);
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
