//! What the endpoint controllers read from a Service and its pods: membership, ports, and which changes matter.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;
use skiff_informer::{Change, ObjectKey, Queue};

use crate::informers::Informers;
use crate::meta::Strings;
use crate::pods::KnownPod;

/// Label on endpoints of a Service without a cluster IP.
pub(crate) const HEADLESS_LABEL: &str = "service.kubernetes.io/headless";
/// Annotation: when the change happened that led to the newest write of the object.
pub(crate) const TRIGGER_TIME: &str = "endpoints.kubernetes.io/last-change-trigger-time";

/// An address family, spelled as in `spec.ipFamilies` and `addressType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }

    /// The family of an address in text form; `None` if it is not an address.
    pub(crate) fn of(address: &str) -> Option<Self> {
        match address.parse().ok()? {
            IpAddr::V4(_) => Some(Self::V4),
            IpAddr::V6(_) => Some(Self::V6),
        }
    }
}

/// The selector of a Service whose endpoints are made from pods; `None` for the others.
pub(crate) fn pod_selector(service: &Service) -> Option<&Strings> {
    let spec = service.spec.as_ref()?;
    let selector = spec.selector.as_ref().filter(|selector| !selector.is_empty())?;
    (spec.type_.as_deref() != Some("ExternalName")).then_some(selector)
}

/// Whether the Service has no cluster IP.
pub(crate) fn is_headless(service: &Service) -> bool {
    let cluster_ip = service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()).unwrap_or("");
    matches!(cluster_ip, "" | "None")
}

/// Whether pods count as ready whatever they say.
pub(crate) fn publishes_not_ready(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.publish_not_ready_addresses).unwrap_or(false)
}

/// The families of the Service, the primary one first; at least one.
pub(crate) fn families(service: &Service) -> Vec<Family> {
    let spec = service.spec.as_ref();
    let listed = spec.and_then(|spec| spec.ip_families.as_ref()).into_iter().flatten();
    let families: Vec<_> = listed.map(|name| if name == "IPv6" { Family::V6 } else { Family::V4 }).collect();
    if !families.is_empty() {
        return families;
    }
    let cluster_ip = spec.and_then(|spec| spec.cluster_ip.as_deref()).and_then(Family::of);
    vec![cluster_ip.unwrap_or(Family::V4)]
}

/// The Service's ports, none if the field is absent.
pub(crate) fn ports(service: &Service) -> &[ServicePort] {
    service.spec.as_ref().and_then(|spec| spec.ports.as_deref()).unwrap_or(&[])
}

/// The protocol of a port, TCP by default.
pub(crate) fn protocol(port: &ServicePort) -> &str {
    port.protocol.as_deref().unwrap_or("TCP")
}

/// The port of `pod` that `port` leads to; `None` if the pod has no port of that name and protocol.
pub(crate) fn target_port(pod: &KnownPod, port: &ServicePort) -> Option<i32> {
    let name = match &port.target_port {
        None | Some(IntOrString::Int(0)) => return Some(port.port),
        Some(IntOrString::Int(number)) => return Some(*number),
        Some(IntOrString::String(name)) if name.is_empty() => return Some(port.port),
        Some(IntOrString::String(name)) => name,
    };
    pod.port(name, protocol(port))
}

/// The host name under which DNS publishes the pod for this Service.
pub(crate) fn hostname(pod: &KnownPod, service: &Service) -> Option<String> {
    let in_service = Some(pod.subdomain()) == service.metadata.name.as_deref();
    Some(pod.hostname()).filter(|hostname| in_service && !hostname.is_empty()).map(str::to_owned)
}

/// The Services whose endpoints a change of a pod may alter; none if nothing that endpoints show has changed.
pub(crate) fn affected_services(informers: &Informers, change: &Change<'_, KnownPod>) -> BTreeSet<ObjectKey> {
    if let (Some(old), Some(new)) = (change.old, change.new)
        && old.is_same_for_endpoints(new)
    {
        return BTreeSet::new();
    }
    let namespace = change.key.namespace();
    let selecting = change.both().flat_map(|pod| informers.selectors.selecting(namespace, pod.labels()));
    selecting.map(|service| ObjectKey::of(&service.metadata)).collect()
}

/// Adds the Services to `queue` that a pod change affects, and those with pods on a node that appears, disappears or
/// changes its zone.
pub(crate) fn subscribe(informers: &Informers, queue: &Queue<ObjectKey>, zones_matter: bool) {
    let wake = queue.clone();
    informers.services.subscribe(move |change| wake.add(change.key.clone()));
    let (wake, caches) = (queue.clone(), informers.clone());
    informers.pods.subscribe(move |change| {
        affected_services(&caches, change).into_iter().for_each(|key| wake.add(key));
    });
    if zones_matter {
        let (wake, caches) = (queue.clone(), informers.clone());
        informers.nodes.subscribe(move |change| {
            if change.old.map(|node| zone(node)) == change.new.map(|node| zone(node)) {
                return;
            }
            for pod in caches.pods_by_node.get(&change.key.name().to_owned()) {
                let namespace = pod.key().namespace();
                let selecting: Vec<Arc<Service>> = caches.selectors.selecting(namespace, pod.labels());
                selecting.iter().for_each(|service| wake.add(ObjectKey::of(&service.metadata)));
            }
        });
    }
}

/// The zone a node says it is in.
pub(crate) fn zone(node: &k8s_openapi::api::core::v1::Node) -> Option<String> {
    node.labels().get("topology.kubernetes.io/zone").cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::tests::known;
    use serde_json::json;

    #[test]
    fn target_ports_are_found_by_number_or_by_name_and_protocol() {
        let pod = known(json!({"spec": {
            "containers": [{"name": "c", "ports": [
                {"name": "web", "containerPort": 8080}, {"name": "dns", "containerPort": 53, "protocol": "UDP"}]}],
            "initContainers": [
                {"name": "setup", "ports": [{"name": "setup", "containerPort": 1}]},
                {"name": "sidecar", "restartPolicy": "Always", "ports": [{"name": "proxy", "containerPort": 2}]}],
        }}));
        let check = |port: serde_json::Value| {
            let port: ServicePort = serde_json::from_value(port).unwrap();
            target_port(&pod, &port)
        };
        assert_eq!(check(json!({"port": 80})), Some(80));
        assert_eq!(check(json!({"port": 80, "targetPort": 0})), Some(80));
        assert_eq!(check(json!({"port": 80, "targetPort": 81})), Some(81));
        assert_eq!(check(json!({"port": 80, "targetPort": "web"})), Some(8080));
        assert_eq!(check(json!({"port": 53, "targetPort": "dns"})), None);
        assert_eq!(check(json!({"port": 53, "targetPort": "dns", "protocol": "UDP"})), Some(53));
        assert_eq!(check(json!({"port": 80, "targetPort": "proxy"})), Some(2));
        assert_eq!(check(json!({"port": 80, "targetPort": "setup"})), None);
    }

    #[test]
    fn families_fall_back_to_the_cluster_ip() {
        let check =
            |spec: serde_json::Value| families(&serde_json::from_value(json!({"spec": spec})).unwrap());
        assert_eq!(check(json!({"ipFamilies": ["IPv6", "IPv4"]})), [Family::V6, Family::V4]);
        assert_eq!(check(json!({"clusterIP": "fd00::1"})), [Family::V6]);
        assert_eq!(check(json!({"clusterIP": "None"})), [Family::V4]);
    }
}
