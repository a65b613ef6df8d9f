//! What several parts of the Service strategy ask of a Service.

use serde_json::Value;

use skiff_machinery::Object;
use skiff_machinery::cells::{int_of, items, strings};

/// `spec.type`.
pub(super) fn kind(service: &Object) -> &str {
    service.str(&["spec", "type"])
}

/// Whether it has an address of its own or is headless: every type but ExternalName.
pub(super) fn needs_cluster_ip(service: &Object) -> bool {
    kind(service) != "ExternalName"
}

/// Whether it may hold node ports.
pub(super) fn needs_node_port(service: &Object) -> bool {
    matches!(kind(service), "NodePort" | "LoadBalancer")
}

/// Whether node ports left open are chosen by the server.
pub(super) fn allocates_node_ports(service: &Object) -> bool {
    let wanted = service.get(&["spec", "allocateLoadBalancerNodePorts"]).and_then(Value::as_bool);
    match kind(service) {
        "NodePort" => true,
        "LoadBalancer" => wanted.unwrap_or(true),
        _ => false,
    }
}

/// Whether load balancers check nodes at a port of its own.
pub(super) fn needs_health_check_port(service: &Object) -> bool {
    kind(service) == "LoadBalancer" && service.str(&["spec", "externalTrafficPolicy"]) == "Local"
}

/// Whether traffic from outside can reach it.
pub(super) fn is_externally_accessible(service: &Object) -> bool {
    needs_node_port(service)
        || kind(service) == "ClusterIP" && !items(service, &["spec", "externalIPs"]).is_empty()
}

/// Whether it has no address on purpose.
pub(super) fn is_headless(service: &Object) -> bool {
    cluster_ips(service) == ["None"]
}

/// `spec.clusterIPs`.
pub(super) fn cluster_ips(service: &Object) -> Vec<&str> {
    strings(service, &["spec", "clusterIPs"])
}

/// `spec.ports[].nodePort`, 0 where unset.
pub(super) fn node_ports(service: &Object) -> Vec<i64> {
    items(service, &["spec", "ports"]).iter().map(|port| int_of(port, "nodePort")).collect()
}

/// A field of the spec; nothing when it is null or has its zero value, which Kubernetes does not tell
/// apart from absence.
pub(super) fn field<'a>(service: &'a Object, name: &str) -> Option<&'a Value> {
    service.get(&["spec", name]).filter(|value| match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Number(number) => number.as_i64() != Some(0),
        _ => true,
    })
}

/// Whether a field has the same value in both.
pub(super) fn same(new: &Object, old: &Object, name: &str) -> bool {
    field(new, name) == field(old, name)
}
