//! What a pod may share with its node.

use serde_json::Value;

use super::Finding;
use crate::pod::{Pod, items, name, text};
use crate::text::{Values, named, plural, quoted, uses};

/// The host's network, process and IPC namespaces are not for pods.
pub(super) fn namespaces(pod: Pod<'_>) -> Option<Finding> {
    let fields = ["hostNetwork", "hostPID", "hostIPC"];
    let shared: Vec<String> =
        fields.iter().filter(|f| pod.spec()[**f] == true).map(|f| format!("{f}=true")).collect();
    (!shared.is_empty()).then(|| Finding::new("host namespaces", shared.join(", ")))
}

/// No container takes a port of the node.
pub(super) fn ports(pod: Pod<'_>) -> Option<Finding> {
    let mut numbers = std::collections::BTreeSet::new();
    let bad = pod.containers_with(|container| {
        let taken = items(&container["ports"]).iter().filter_map(|p| p["hostPort"].as_i64());
        let before: Vec<String> = taken.filter(|port| *port != 0).map(|port| port.to_string()).collect();
        let any = !before.is_empty();
        numbers.extend(before);
        any
    });
    if bad.is_empty() {
        return None;
    }
    let list = numbers.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let (who, verb, noun) = (named("container", &bad), uses(bad.len()), plural("hostPort", numbers.len()));
    Some(Finding::new("hostPort", format!("{who} {verb} {noun} {list}")))
}

/// Probes and lifecycle hooks do not make the kubelet speak to other hosts than the pod (from 1.34 on).
pub(super) fn probes_and_lifecycle(pod: Pod<'_>) -> Option<Finding> {
    let (mut bad, mut hosts) = (Values::new(), Values::new());
    for container in pod.containers() {
        for host in handlers(container).flat_map(named_hosts) {
            bad.insert(name(container));
            hosts.insert(host);
        }
    }
    if bad.is_empty() {
        return None;
    }
    let bad: Vec<&str> = bad.into_iter().collect();
    let noun = plural("probe or lifecycle host", hosts.len());
    let (who, verb) = (named("container", &bad), uses(bad.len()));
    Some(Finding::new("probe or lifecycle host", format!("{who} {verb} {noun} {}", quoted(hosts))))
}

fn handlers(container: &Value) -> impl Iterator<Item = &Value> {
    let probes = ["livenessProbe", "readinessProbe", "startupProbe"].into_iter().map(|p| &container[p]);
    let hooks = ["postStart", "preStop"].into_iter().map(|hook| &container["lifecycle"][hook]);
    probes.chain(hooks)
}

fn named_hosts(handler: &Value) -> impl Iterator<Item = &str> {
    let actions = ["httpGet", "tcpSocket"].into_iter();
    actions.map(|action| text(&handler[action]["host"])).filter(|host| !host.is_empty())
}

/// Containers for Windows are not processes of the host.
pub(super) fn windows_process(pod: Pod<'_>) -> Option<Finding> {
    let setters = pod.setters(|context| context["windowsOptions"]["hostProcess"] == true);
    let detail = "must not set securityContext.windowsOptions.hostProcess=true";
    (!setters.none()).then(|| Finding::new("hostProcess", format!("{} {detail}", setters.text())))
}

/// Kernel settings that concern nobody but the pod, with the version from which on they count as such.
const SAFE_SYSCTLS: &[(&str, u64)] = &[
    ("kernel.shm_rmid_forced", 0),
    ("net.ipv4.ip_local_port_range", 0),
    ("net.ipv4.tcp_syncookies", 0),
    ("net.ipv4.ping_group_range", 0),
    ("net.ipv4.ip_unprivileged_port_start", 0),
    ("net.ipv4.ip_local_reserved_ports", 27),
    ("net.ipv4.tcp_keepalive_time", 29),
    ("net.ipv4.tcp_fin_timeout", 29),
    ("net.ipv4.tcp_keepalive_intvl", 29),
    ("net.ipv4.tcp_keepalive_probes", 29),
    ("net.ipv4.tcp_rmem", 32),
    ("net.ipv4.tcp_wmem", 32),
];

pub(super) fn sysctls_1_0(pod: Pod<'_>) -> Option<Finding> {
    sysctls(pod, 0)
}

pub(super) fn sysctls_1_27(pod: Pod<'_>) -> Option<Finding> {
    sysctls(pod, 27)
}

pub(super) fn sysctls_1_29(pod: Pod<'_>) -> Option<Finding> {
    sysctls(pod, 29)
}

pub(super) fn sysctls_1_32(pod: Pod<'_>) -> Option<Finding> {
    sysctls(pod, 32)
}

fn sysctls(pod: Pod<'_>, version: u64) -> Option<Finding> {
    let safe = |name: &str| SAFE_SYSCTLS.iter().any(|(n, since)| *n == name && *since <= version);
    let names = items(&pod.security_context()["sysctls"]).iter().map(name);
    let bad: Vec<&str> = names.filter(|name| !safe(name)).collect();
    (!bad.is_empty()).then(|| Finding::new("forbidden sysctls", bad.join(", ")))
}
