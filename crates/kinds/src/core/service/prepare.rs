//! What the server fills in and takes away before a Service is allocated and validated.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use skiff_ordered::Ordered as _;

use super::facts::{
    self, cluster_ips, field, is_externally_accessible, kind, needs_cluster_ip, needs_health_check_port,
    needs_node_port, same,
};
use crate::shared::defaults::{fill, fill_text, list_mut, object_mut};
use skiff_machinery::Object;
use skiff_machinery::cells::{int_of, items, str_of};

/// How long session affinity lasts unless told otherwise, in seconds.
const AFFINITY_SECONDS: i64 = 10_800;

/// Fills defaults.
pub(super) fn default(service: &mut Object) {
    let spec = object_mut(service.as_map_mut(), "spec");
    fill_text(spec, "sessionAffinity", "None");
    fill_text(spec, "type", "ClusterIP");
    for port in list_mut(spec, "ports") {
        fill_text(port, "protocol", "TCP");
        let target = port.get("targetPort");
        if target.is_none_or(|t| t.is_null() || t.as_i64() == Some(0) || t.as_str() == Some("")) {
            let number = port.get("port").cloned().unwrap_or(json!(0));
            port.insert("targetPort".to_owned(), number);
        }
    }
    match spec.get("sessionAffinity").and_then(Value::as_str) {
        Some("None") => {
            spec.remove("sessionAffinityConfig");
        }
        Some("ClientIP") => {
            let config = object_mut(spec, "sessionAffinityConfig");
            let client_ip = object_mut(config, "clientIP");
            fill(client_ip, "timeoutSeconds", AFFINITY_SECONDS);
        }
        _ => {}
    }
    default_policies(service);
}

fn default_policies(service: &mut Object) {
    let externally_accessible = is_externally_accessible(service);
    let kind = kind(service).to_owned();
    let spec = object_mut(service.as_map_mut(), "spec");
    if externally_accessible {
        fill_text(spec, "externalTrafficPolicy", "Cluster");
    }
    match kind.as_str() {
        "ClusterIP" | "NodePort" | "LoadBalancer" => fill_text(spec, "internalTrafficPolicy", "Cluster"),
        "ExternalName" => {
            spec.remove("internalTrafficPolicy");
        }
        _ => {}
    }
    if kind != "LoadBalancer" {
        return;
    }
    fill(spec, "allocateLoadBalancerNodePorts", true);
    let status = object_mut(service.as_map_mut(), "status");
    let balancer = object_mut(status, "loadBalancer");
    for point in list_mut(balancer, "ingress") {
        if point.get("ip").and_then(Value::as_str).is_some_and(|ip| !ip.is_empty()) {
            fill(point, "ipMode", "VIP");
        }
    }
}

/// Clears the status and brings `clusterIP` and `clusterIPs` together.
pub(super) fn for_create(service: &mut Object) {
    service.set(&["status"], json!({"loadBalancer": {}}));
    if let (Some(ip), None) = (field(service, "clusterIP"), field(service, "clusterIPs")) {
        let list = json!([ip]);
        service.set(&["spec", "clusterIPs"], list);
    }
}

/// Drops what a change of type made meaningless, then restores what was allocated earlier.
pub(super) fn for_update(new: &mut Object, old: &Object) {
    drop_meaningless(new, old);
    restore_allocated(new, old);
    align_cluster_ips(new, old);
    if kind(new) != "LoadBalancer" {
        new.set(&["status", "loadBalancer"], json!({}));
    }
}

/// Blanks fields that the new type does not have, if the user left them as they were: they were filled in
/// by the server. A field that was changed at the same time stays, and validation refuses it.
fn drop_meaningless(new: &mut Object, old: &Object) {
    if needs_cluster_ip(old) && !needs_cluster_ip(new) {
        if same(new, old, "clusterIPs") && same(new, old, "clusterIP") {
            remove(new, &["clusterIP", "clusterIPs"]);
        }
        for name in ["ipFamilies", "ipFamilyPolicy"] {
            remove_if_same(new, old, name);
        }
    }
    let kept = facts::node_ports(new) == facts::node_ports(old);
    if needs_node_port(old) && !needs_node_port(new) && kept {
        let spec = object_mut(new.as_map_mut(), "spec");
        for port in list_mut(spec, "ports") {
            port.remove("nodePort");
        }
    }
    if needs_health_check_port(old) && !needs_health_check_port(new) {
        remove_if_same(new, old, "healthCheckNodePort");
    }
    if kind(old) == "LoadBalancer" && kind(new) != "LoadBalancer" {
        remove_if_same(new, old, "allocateLoadBalancerNodePorts");
        remove_if_same(new, old, "loadBalancerClass");
    }
    if is_externally_accessible(old) && !is_externally_accessible(new) {
        remove_if_same(new, old, "externalTrafficPolicy");
    }
}

/// Copies allocated values that the client did not repeat, so that applying the same manifest again
/// changes nothing.
fn restore_allocated(new: &mut Object, old: &Object) {
    if needs_cluster_ip(old) && needs_cluster_ip(new) {
        if field(new, "clusterIP").is_none() {
            copy(new, old, "clusterIP");
        }
        if field(new, "clusterIPs").is_none() && same(new, old, "clusterIP") {
            copy(new, old, "clusterIPs");
        }
    }
    if facts::allocates_node_ports(old) && facts::allocates_node_ports(new) {
        restore_node_ports(new, old);
    }
    if needs_health_check_port(old)
        && needs_health_check_port(new)
        && field(new, "healthCheckNodePort").is_none()
    {
        copy(new, old, "healthCheckNodePort");
    }
}

/// Gives ports without a node port the one that the old port of the same name had, unless another port of
/// the new spec names it.
fn restore_node_ports(new: &mut Object, old: &Object) {
    let named: BTreeSet<i64> = facts::node_ports(new).into_iter().to_set();
    let before: BTreeMap<&str, i64> = items(old, &["spec", "ports"])
        .iter()
        .map(|port| (str_of(port, "name"), int_of(port, "nodePort")))
        .filter(|(_, node_port)| *node_port != 0 && !named.contains(node_port))
        .to_map();
    let spec = object_mut(new.as_map_mut(), "spec");
    for port in list_mut(spec, "ports") {
        let unset = port.get("nodePort").and_then(Value::as_i64).unwrap_or(0) == 0;
        let name = port.get("name").and_then(Value::as_str).unwrap_or("");
        if let (true, Some(node_port)) = (unset, before.get(name)) {
            port.insert("nodePort".to_owned(), (*node_port).into());
        }
    }
}

/// Follows a change of only one of `clusterIP` and `clusterIPs` in the other.
fn align_cluster_ips(new: &mut Object, old: &Object) {
    let singular = field(new, "clusterIP").cloned();
    let first = cluster_ips(new).first().map(|ip| Value::from(*ip));
    if singular == first {
        return;
    }
    match (singular, same(new, old, "clusterIPs"), same(new, old, "clusterIP")) {
        (Some(ip), true, false) => new.set(&["spec", "clusterIPs"], json!([ip])),
        (None, true, false) => remove(new, &["clusterIPs"]),
        (Some(ip), _, _) if first.is_none() => new.set(&["spec", "clusterIPs"], json!([ip])),
        _ => {}
    }
}

fn copy(new: &mut Object, old: &Object, name: &str) {
    if let Some(value) = field(old, name) {
        new.set(&["spec", name], value.clone());
    }
}

fn remove_if_same(new: &mut Object, old: &Object, name: &str) {
    if same(new, old, name) {
        remove(new, &[name]);
    }
}

fn remove(service: &mut Object, names: &[&str]) {
    for name in names {
        service.remove(&["spec", name]);
    }
}
