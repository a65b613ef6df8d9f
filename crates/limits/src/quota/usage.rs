//! How objects are counted.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use skiff_quantity::Quantity;

use super::Request;
use crate::Operation;
use crate::amounts::{Amounts, items, text};
use crate::pod::{Which, charged, has_whole_pod_resources};

/// How objects of a resource are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted<'a> {
    /// Pods: by number, and by what they request and are limited to.
    Pods,
    /// Services: by number, node ports and load balancers.
    Services,
    /// PersistentVolumeClaims: by number and storage, also for each StorageClass.
    Claims,
    /// All others: by number.
    Objects {
        /// The API group.
        group: &'a str,
        /// The resource's name.
        resource: &'a str,
    },
}

/// Requests, limits and numbers of pods that quotas count by these names.
const POD_RESOURCES: &[&str] = &[
    "count/pods",
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
];
/// What every container must state if a quota counts it.
const STATED: &[&str] = &["cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"];
const SERVICE_RESOURCES: &[&str] =
    &["count/services", "services", "services.nodeports", "services.loadbalancers"];
const CLAIM_RESOURCES: &[&str] = &["persistentvolumeclaims", "requests.storage"];
const STORAGE_CLASS: &str = ".storageclass.storage.k8s.io/";
const DEVICE_CLASS: &str = "deviceclass.resource.kubernetes.io/";

impl<'a> Counted<'a> {
    /// How objects of a resource are counted; `None` if they are not.
    pub fn of(group: &'a str, resource: &'a str) -> Option<Self> {
        match (group, resource) {
            ("", "pods") => Some(Self::Pods),
            ("", "services") => Some(Self::Services),
            ("", "persistentvolumeclaims") => Some(Self::Claims),
            ("", "bindings" | "componentstatuses") | ("" | "events.k8s.io", "events") => None,
            ("authentication.k8s.io", "tokenreviews" | "selfsubjectreviews") => None,
            (
                "authorization.k8s.io",
                "subjectaccessreviews"
                | "selfsubjectaccessreviews"
                | "localsubjectaccessreviews"
                | "selfsubjectrulesreviews",
            ) => None,
            _ => Some(Self::Objects { group, resource }),
        }
    }

    /// Whether these are the objects of a resource.
    pub(super) fn is_of(self, group: &str, resource: &str) -> bool {
        Counted::of(group, resource) == Some(self)
    }

    /// Whether a request can change what is used.
    pub(super) fn is_charged_by(self, request: &Request<'_>) -> bool {
        let old = match request.operation {
            Operation::Create => None,
            Operation::Update { old } => Some(old),
        };
        match (self, request.subresource) {
            (Self::Pods, None) => old.is_none_or(|old| has_deadline(old) != has_deadline(request.object)),
            (Self::Pods, Some("resize")) | (Self::Claims, Some("status")) => old.is_some(),
            (Self::Services | Self::Claims, None) => true,
            (Self::Objects { .. }, None) => old.is_none(),
            _ => false,
        }
    }

    /// Whether objects are counted by a name in a quota.
    pub fn counts(self, name: &str) -> bool {
        match self {
            Self::Pods => {
                POD_RESOURCES.contains(&name)
                    || name.starts_with("hugepages-")
                    || name.starts_with("requests.hugepages-")
                    || is_extended_request(name)
            }
            Self::Services => SERVICE_RESOURCES.contains(&name),
            Self::Claims => {
                let of_class = |resource| {
                    name.strip_suffix(resource).is_some_and(|class: &str| class.ends_with(STORAGE_CLASS))
                };
                name == "count/persistentvolumeclaims"
                    || CLAIM_RESOURCES.contains(&name)
                    || CLAIM_RESOURCES.iter().any(|resource| of_class(*resource))
            }
            Self::Objects { group, resource } => object_names(group, resource).iter().any(|n| n == name),
        }
    }

    /// What a pod's containers must state and do not: `limits.cpu for: a,b; limits.memory for: b`.
    pub(super) fn missing(self, counted: &Amounts, object: &Value) -> Option<String> {
        if self != Self::Pods || has_whole_pod_resources(object) {
            return None;
        }
        let mut missing: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for container in
            ["containers", "initContainers"].iter().flat_map(|list| items(&object["spec"][*list]))
        {
            let of = |field: &str| Amounts::read(&container["resources"][field]);
            let stated = compute(&of("requests"), &of("limits"));
            let needed = counted.names().filter(|name| STATED.contains(name));
            for name in needed.filter(|name| stated.get(name).is_none()) {
                missing.entry(name).or_default().insert(text(&container["name"]));
            }
        }
        let listed = |names: BTreeSet<&str>| names.into_iter().collect::<Vec<_>>().join(",");
        let parts: Vec<String> =
            missing.into_iter().map(|(name, who)| format!("{name} for: {}", listed(who))).collect();
        (!parts.is_empty()).then(|| parts.join("; "))
    }

    /// What an object uses.
    pub(super) fn usage(self, object: &Value, now: Timestamp) -> Amounts {
        match self {
            Self::Pods => pod(object, now),
            Self::Services => service(object),
            Self::Claims => claim(object),
            Self::Objects { group, resource } => {
                let mut usage = Amounts::default();
                object_names(group, resource).into_iter().for_each(|name| usage.set(name, 1));
                usage
            }
        }
    }
}

/// The names by which objects without a way of their own are counted; some had one before there was `count/`.
fn object_names(group: &str, resource: &str) -> Vec<String> {
    let dot = if group.is_empty() { "" } else { "." };
    let old = ["configmaps", "resourcequotas", "replicationcontrollers", "secrets"];
    let old = (group.is_empty() && old.contains(&resource)).then(|| resource.to_owned());
    [format!("count/{resource}{dot}{group}")].into_iter().chain(old).collect()
}

/// `requests.` and a resource that is not Kubernetes' own, or a class of devices.
fn is_extended_request(name: &str) -> bool {
    let resource = name.strip_prefix("requests.");
    resource.is_some_and(|resource| !is_native(name) || resource.starts_with(DEVICE_CLASS))
}

fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

/// Whether a pod ends after some time by itself.
pub(super) fn has_deadline(pod: &Value) -> bool {
    pod["spec"]["activeDeadlineSeconds"].as_i64().is_some_and(|seconds| seconds >= 0)
}

fn pod(pod: &Value, now: Timestamp) -> Amounts {
    let mut usage = Amounts::default();
    if !is_over(pod, now) {
        usage = compute(&charged(pod, Which::Requests), &charged(pod, Which::Limits));
    }
    usage.set("count/pods", 1);
    usage
}

/// Whether a pod has ended, or should have been gone by now and is stuck.
fn is_over(pod: &Value, now: Timestamp) -> bool {
    let metadata = &pod["metadata"];
    let deleted = text(&metadata["deletionTimestamp"]).parse::<Timestamp>().ok();
    let grace = metadata["deletionGracePeriodSeconds"].as_i64().map(SignedDuration::from_secs);
    let stuck = deleted.zip(grace).and_then(|(time, grace)| time.checked_add(grace).ok());
    matches!(text(&pod["status"]["phase"]), "Failed" | "Succeeded") || stuck.is_some_and(|end| now > end)
}

/// What requests and limits count as, and one pod.
fn compute(requests: &Amounts, limits: &Amounts) -> Amounts {
    let mut usage = Amounts::default();
    usage.set("pods", 1);
    for (name, amount) in requests.iter() {
        let has_plain_name =
            matches!(name, "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-");
        let is_extended =
            name.starts_with(DEVICE_CLASS) || (!is_native(name) && !name.starts_with("requests."));
        if has_plain_name {
            usage.set(name, amount);
        }
        if has_plain_name || is_extended {
            usage.set(format!("requests.{name}"), amount);
        }
    }
    for (name, amount) in limits.iter() {
        if matches!(name, "cpu" | "memory" | "ephemeral-storage") {
            usage.set(format!("limits.{name}"), amount);
        }
    }
    usage
}

fn service(service: &Value) -> Amounts {
    let spec = &service["spec"];
    let ports = items(&spec["ports"]);
    let is_balanced = spec["type"] == "LoadBalancer";
    let given = ports.iter().filter(|port| port["nodePort"].as_i64().is_some_and(|number| number != 0));
    let node_ports = match text(&spec["type"]) {
        "LoadBalancer" if spec["allocateLoadBalancerNodePorts"] == false => given.count(),
        "NodePort" | "LoadBalancer" => ports.len(),
        _ => 0,
    };
    let mut usage = Amounts::default();
    usage.set("count/services", 1);
    usage.set("services", 1);
    usage.set("services.loadbalancers", u32::from(is_balanced));
    usage.set("services.nodeports", u32::try_from(node_ports).unwrap_or(u32::MAX));
    usage
}

fn claim(claim: &Value) -> Amounts {
    let storage = |list: &Value| Amounts::read(list).get("storage").map(Quantity::whole);
    let requested = storage(&claim["spec"]["resources"]["requests"]);
    let allocated = storage(&claim["status"]["allocatedResources"]);
    // A claim that grew and was asked to shrink again still has what it has.
    let storage = requested.map(|requested| match allocated {
        Some(allocated) if allocated.nanos() > requested.nanos() => allocated,
        _ => requested,
    });
    let annotated = &claim["metadata"]["annotations"]["volume.beta.kubernetes.io/storage-class"];
    let class = text(if annotated.is_null() { &claim["spec"]["storageClassName"] } else { annotated });

    let mut usage = Amounts::default();
    usage.set("count/persistentvolumeclaims", 1);
    let prefixes = [String::new(), format!("{class}{STORAGE_CLASS}")];
    let used = if class.is_empty() { 1 } else { 2 };
    for prefix in prefixes.iter().take(used) {
        usage.set(format!("{prefix}persistentvolumeclaims"), 1);
        if let Some(storage) = storage {
            usage.set(format!("{prefix}requests.storage"), storage);
        }
    }
    usage
}
