//! The Endpoints object a Service should have.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;

use crate::pods::KnownPod;
use crate::services::{self, Family, HEADLESS_LABEL, TRIGGER_TIME};

/// Says which controller keeps the object.
pub(super) const MANAGED_BY_LABEL: &str = "endpoints.kubernetes.io/managed-by";
/// Says that not all addresses are listed.
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
/// Most addresses in one object.
const CAPACITY: usize = 1000;

/// A port as a key; `None` stands for a headless Service without ports.
type PortKey = Option<(String, i32, String, Option<String>)>;
/// An address with its readiness; ordered as subsets list them.
type AddressKey = (bool, IpAddr, String);

/// The Endpoints of `service` made from `members`, over `current` (for its foreign annotations), or `None` if
/// `current` is as it should be.
pub(super) fn plan(
    service: &Service,
    members: &[Arc<KnownPod>],
    current: Option<&Endpoints>,
    trigger_time: Option<String>,
) -> Option<Endpoints> {
    let mut subsets = subsets(service, members);
    let truncated = truncate(&mut subsets);
    let mut labels = service.labels().clone();
    labels.remove(HEADLESS_LABEL);
    labels.insert(MANAGED_BY_LABEL.into(), "endpoint-controller".into());
    if services::is_headless(service) {
        labels.insert(HEADLESS_LABEL.into(), String::new());
    }
    let mut annotations = current.map(|current| current.annotations().clone()).unwrap_or_default();
    let was_truncated = annotations.get(OVER_CAPACITY).is_some_and(|value| value == "truncated");
    if let Some(current) = current
        && current.labels() == &labels
        && current.subsets.as_deref().unwrap_or(&[]) == subsets.as_slice()
        && was_truncated == truncated
    {
        return None;
    }
    annotations.remove(OVER_CAPACITY);
    annotations.remove(TRIGGER_TIME);
    annotations.extend(truncated.then(|| (OVER_CAPACITY.into(), "truncated".into())));
    annotations.extend(trigger_time.map(|time| (TRIGGER_TIME.into(), time)));
    let identity = current.map(|current| current.metadata.clone()).unwrap_or_else(|| ObjectMeta {
        name: Some(service.name_any()),
        namespace: service.namespace(),
        ..ObjectMeta::default()
    });
    let metadata = ObjectMeta {
        labels: Some(labels),
        annotations: Some(annotations).filter(|annotations| !annotations.is_empty()),
        ..identity
    };
    Some(Endpoints { metadata, subsets: Some(subsets) })
}

/// The addresses of the pods, ports with the same addresses together.
fn subsets(service: &Service, members: &[Arc<KnownPod>]) -> Vec<EndpointSubset> {
    let family = services::families(service)[0];
    let publish = services::publishes_not_ready(service);
    let (mut by_port, mut addresses) = (BTreeMap::<PortKey, Vec<AddressKey>>::new(), BTreeMap::new());
    for pod in members.iter().filter(|pod| !pod.is_terminal() && (publish || !pod.is_deleting())) {
        let Some(ip) = pod.addresses().find(|ip| Family::of(ip) == Some(family)) else { continue };
        let Ok(parsed) = ip.parse::<IpAddr>() else { continue };
        let key = (publish || pod.is_ready(), parsed, pod.uid().to_owned());
        addresses.insert(key.clone(), address(service, pod, ip));
        for port in port_keys(service, pod) {
            by_port.entry(port).or_default().push(key.clone());
        }
    }
    let mut by_addresses = BTreeMap::<Vec<AddressKey>, Vec<PortKey>>::new();
    for (port, mut keys) in by_port {
        keys.sort_unstable();
        by_addresses.entry(keys).or_default().push(port);
    }
    by_addresses.into_iter().map(|(keys, ports)| subset(&keys, ports, &addresses)).collect()
}

fn port_keys(service: &Service, pod: &KnownPod) -> Vec<PortKey> {
    let ports = services::ports(service);
    if ports.is_empty() && services::is_headless(service) {
        return vec![None];
    }
    let key = |port: &k8s_openapi::api::core::v1::ServicePort| {
        let number = services::target_port(pod, port)?;
        let name = port.name.clone().unwrap_or_default();
        Some(Some((name, number, services::protocol(port).to_owned(), port.app_protocol.clone())))
    };
    ports.iter().filter_map(key).collect()
}

fn address(service: &Service, pod: &KnownPod, ip: &str) -> EndpointAddress {
    EndpointAddress {
        ip: ip.to_owned(),
        hostname: services::hostname(pod, service),
        node_name: pod.node().map(String::from),
        target_ref: Some(pod.target()),
    }
}

fn subset(
    keys: &[AddressKey],
    ports: Vec<PortKey>,
    addresses: &BTreeMap<AddressKey, EndpointAddress>,
) -> EndpointSubset {
    let select = |ready: bool| {
        let wanted = keys.iter().filter(|key| key.0 == ready);
        let found: Vec<_> = wanted.filter_map(|key| addresses.get(key).cloned()).collect();
        Some(found).filter(|found| !found.is_empty())
    };
    let port = |(name, port, protocol, app_protocol): (String, i32, String, Option<String>)| EndpointPort {
        name: Some(name).filter(|name| !name.is_empty()),
        port,
        protocol: Some(protocol),
        app_protocol,
    };
    let ports: Vec<_> = ports.into_iter().flatten().map(port).collect();
    EndpointSubset {
        addresses: select(true),
        not_ready_addresses: select(false),
        ports: Some(ports).filter(|ports| !ports.is_empty()),
    }
}

/// Cuts the lists to [`CAPACITY`] addresses, ready ones first, each subset in proportion. Returns whether it had to.
fn truncate(subsets: &mut Vec<EndpointSubset>) -> bool {
    let count = |list: &Option<Vec<EndpointAddress>>| list.as_ref().map_or(0, Vec::len);
    let ready: usize = subsets.iter().map(|subset| count(&subset.addresses)).sum();
    let not_ready: usize = subsets.iter().map(|subset| count(&subset.not_ready_addresses)).sum();
    if ready + not_ready <= CAPACITY {
        return false;
    }
    let ready_room = ready.min(CAPACITY);
    let not_ready_room = CAPACITY - ready_room;
    for subset in subsets.iter_mut() {
        let share = |list: &mut Option<Vec<EndpointAddress>>, room: usize, all: usize| {
            if let Some(list) = list {
                list.truncate(list.len() * room / all.max(1));
            }
            list.take_if(|list| list.is_empty());
        };
        share(&mut subset.addresses, ready_room, ready);
        share(&mut subset.not_ready_addresses, not_ready_room, not_ready);
    }
    subsets.retain(|subset| subset.addresses.is_some() || subset.not_ready_addresses.is_some());
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::tests::known;
    use serde_json::{Value, json};

    fn service(spec: Value) -> Service {
        serde_json::from_value(
            json!({"metadata": {"name": "s", "namespace": "ns", "labels": {"a": "b"}}, "spec": spec}),
        )
        .unwrap()
    }

    /// A pod with a port `web` if it is given one.
    fn pod(number: usize, ready: bool, web: Option<i32>) -> Arc<KnownPod> {
        Arc::new(known(text(number, ready, web)))
    }

    fn text(number: usize, ready: bool, web: Option<i32>) -> serde_json::Value {
        let ports: Vec<_> =
            web.into_iter().map(|port| json!({"name": "web", "containerPort": port})).collect();
        let status = if ready { "True" } else { "False" };
        json!({
            "metadata": {"name": format!("p{number}"), "namespace": "ns", "uid": format!("u{number}")},
            "spec": {"containers": [{"name": "c", "ports": ports}]},
            "status": {"podIP": format!("10.0.{}.{}", number / 200, number % 200 + 1),
                       "conditions": [{"type": "Ready", "status": status}]},
        })
    }

    /// Subsets as `ready|not ready:ports` in short.
    fn check(service: &Service, members: &[Arc<KnownPod>]) -> Vec<String> {
        let endpoints = plan(service, members, None, None).unwrap();
        let names = |list: Option<Vec<EndpointAddress>>| {
            let names = list.into_iter().flatten().map(|address| address.target_ref.unwrap().name.unwrap());
            names.collect::<Vec<_>>().join(",")
        };
        let ports = |list: Option<Vec<EndpointPort>>| {
            list.into_iter().flatten().map(|port| port.port.to_string()).collect::<Vec<_>>().join(",")
        };
        let show = |subset: EndpointSubset| {
            format!(
                "{}|{}:{}",
                names(subset.addresses),
                names(subset.not_ready_addresses),
                ports(subset.ports)
            )
        };
        endpoints.subsets.unwrap().into_iter().map(show).collect()
    }

    #[test]
    fn ready_and_not_ready_are_apart() {
        let service = service(json!({"clusterIP": "10.96.0.9", "ports": [{"port": 80, "targetPort": 8080}]}));
        assert_eq!(check(&service, &[]), Vec::<String>::new());
        let members = [pod(2, true, None), pod(1, true, None), pod(3, false, None)];
        assert_eq!(check(&service, &members), ["p1,p2|p3:8080"]);
    }

    #[test]
    fn named_ports_split_subsets_by_pod() {
        let ports = json!([{"name": "a", "port": 80, "targetPort": "web"}, {"name": "b", "port": 81}]);
        let service = service(json!({"clusterIP": "10.96.0.9", "ports": ports}));
        let members = [pod(1, true, Some(8080)), pod(2, true, Some(9090)), pod(3, true, None)];
        assert_eq!(check(&service, &members), ["p1|:8080", "p1,p2,p3|:81", "p2|:9090"]);
    }

    #[test]
    fn headless_without_ports_lists_addresses_only() {
        let service = service(json!({"clusterIP": "None"}));
        assert_eq!(check(&service, &[pod(1, true, None)]), ["p1|:"]);
        let endpoints = plan(&service, &[], None, None).unwrap();
        assert_eq!(endpoints.labels()[HEADLESS_LABEL], "");
        assert_eq!(endpoints.labels()["a"], "b");
    }

    #[test]
    fn deleted_pods_leave_unless_not_ready_ones_are_published() {
        let mut leaving = text(1, false, None);
        leaving["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        let members = [Arc::new(known(leaving))];
        let ports = json!([{"port": 80}]);
        assert!(check(&service(json!({"ports": ports})), &members).is_empty());
        let publishing = service(json!({"ports": ports, "publishNotReadyAddresses": true}));
        assert_eq!(check(&publishing, &members), ["p1|:80"]);
    }

    #[test]
    fn nothing_is_written_twice_and_foreign_annotations_stay() {
        let service = service(json!({"clusterIP": "10.96.0.9", "ports": [{"port": 80}]}));
        let members = [pod(1, true, None)];
        let mut current = plan(&service, &members, None, Some("t1".into())).unwrap();
        assert_eq!(current.annotations()[TRIGGER_TIME], "t1");
        current.annotations_mut().insert("mine".into(), "x".into());
        assert!(plan(&service, &members, Some(&current), Some("t2".into())).is_none());
        let next = plan(&service, &[], Some(&current), None).unwrap();
        assert_eq!(next.annotations().keys().collect::<Vec<_>>(), ["mine"]);
    }

    #[test]
    fn more_than_a_thousand_addresses_are_cut() {
        let service = service(json!({"clusterIP": "10.96.0.9", "ports": [{"port": 80}]}));
        let members: Vec<_> = (0..1100).map(|number| pod(number, number >= 200, None)).collect();
        let endpoints = plan(&service, &members, None, None).unwrap();
        assert_eq!(endpoints.annotations()[OVER_CAPACITY], "truncated");
        let subset = &endpoints.subsets.unwrap()[0];
        assert_eq!(subset.addresses.as_ref().unwrap().len(), 900);
        assert_eq!(subset.not_ready_addresses.as_ref().unwrap().len(), 100);
    }
}
