//! How lists, maps and structs merge: facts of the Kubernetes API that the JSON schemas do not carry.

/// What a strategic merge patch does with a field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PatchRule {
    /// Whether a list is merged (with [`PatchRule::key`], or as a set of scalars) and not replaced.
    pub merge: bool,
    /// The field that identifies an item of a merged list of objects.
    pub key: Option<&'static str>,
    /// Whether `$retainKeys` is meaningful.
    pub retain_keys: bool,
}

impl PatchRule {
    /// The text of `x-kubernetes-patch-strategy`, if there is a strategy.
    pub fn strategy(self) -> Option<&'static str> {
        match (self.merge, self.retain_keys) {
            (true, true) => Some("merge,retainKeys"),
            (true, false) => Some("merge"),
            (false, true) => Some("retainKeys"),
            (false, false) => None,
        }
    }
}

/// How server-side apply owns a list or a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListKind {
    /// As one value.
    Atomic,
    /// Scalars, each owned by itself.
    Set,
    /// Items identified by these fields, each owned by itself.
    Map(&'static [&'static str]),
    /// A map whose entries are owned one by one.
    Granular,
}

/// `(definition, field, strategic merge key, list-map keys)`; an empty merge key means that strategic
/// merge replaces the list, empty list-map keys that server-side apply owns it as one value.
const KEYED: &[(&str, &str, &str, &[&str])] = &[
    ("api.core.v1.Container", "env", "name", &["name"]),
    ("api.core.v1.Container", "ports", "containerPort", &["containerPort", "protocol"]),
    ("api.core.v1.Container", "volumeDevices", "devicePath", &["devicePath"]),
    ("api.core.v1.Container", "volumeMounts", "mountPath", &["mountPath"]),
    ("api.core.v1.ContainerStatus", "allocatedResourcesStatus", "", &["name"]),
    ("api.core.v1.ContainerStatus", "volumeMounts", "mountPath", &["mountPath"]),
    ("api.core.v1.EphemeralContainer", "env", "name", &["name"]),
    ("api.core.v1.EphemeralContainer", "ports", "containerPort", &["containerPort", "protocol"]),
    ("api.core.v1.EphemeralContainer", "volumeDevices", "devicePath", &["devicePath"]),
    ("api.core.v1.EphemeralContainer", "volumeMounts", "mountPath", &["mountPath"]),
    ("api.core.v1.NamespaceStatus", "conditions", "type", &["type"]),
    ("api.core.v1.NodeStatus", "addresses", "type", &["type"]),
    ("api.core.v1.NodeStatus", "conditions", "type", &["type"]),
    ("api.core.v1.PodSpec", "containers", "name", &["name"]),
    ("api.core.v1.PodSpec", "ephemeralContainers", "name", &["name"]),
    ("api.core.v1.PodSpec", "hostAliases", "ip", &["ip"]),
    ("api.core.v1.PodSpec", "imagePullSecrets", "name", &["name"]),
    ("api.core.v1.PodSpec", "initContainers", "name", &["name"]),
    ("api.core.v1.PodSpec", "resourceClaims", "name", &["name"]),
    ("api.core.v1.PodSpec", "schedulingGates", "name", &["name"]),
    (
        "api.core.v1.PodSpec",
        "topologySpreadConstraints",
        "topologyKey",
        &["topologyKey", "whenUnsatisfiable"],
    ),
    ("api.core.v1.PodSpec", "volumes", "name", &["name"]),
    ("api.core.v1.PodStatus", "conditions", "type", &["type"]),
    ("api.core.v1.PodStatus", "hostIPs", "ip", &[]),
    ("api.core.v1.PodStatus", "podIPs", "ip", &["ip"]),
    ("api.core.v1.PodStatus", "resourceClaimStatuses", "name", &["name"]),
    ("api.core.v1.ReplicationControllerStatus", "conditions", "type", &["type"]),
    ("api.core.v1.ResourceRequirements", "claims", "", &["name"]),
    ("api.core.v1.ResourceStatus", "resources", "", &["resourceID"]),
    ("api.core.v1.ServiceAccount", "secrets", "name", &["name"]),
    ("api.core.v1.ServiceSpec", "ports", "port", &["port", "protocol"]),
    ("api.core.v1.ServiceStatus", "conditions", "type", &["type"]),
    ("api.networking.v1.ServiceCIDRStatus", "conditions", "type", &["type"]),
    ("apimachinery.pkg.apis.meta.v1.ObjectMeta", "ownerReferences", "uid", &["uid"]),
];

/// Lists of scalars that server-side apply owns item by item.
const SETS: &[(&str, &str)] = &[
    ("api.core.v1.ContainerRestartRuleOnExitCodes", "values"),
    ("api.core.v1.NodeSpec", "podCIDRs"),
    ("api.discovery.v1.Endpoint", "addresses"),
    ("apimachinery.pkg.apis.meta.v1.ObjectMeta", "finalizers"),
];

/// Lists of scalars that a strategic merge patch merges.
const MERGED_SCALARS: &[(&str, &str)] =
    &[("api.core.v1.NodeSpec", "podCIDRs"), ("apimachinery.pkg.apis.meta.v1.ObjectMeta", "finalizers")];

/// Fields for which `$retainKeys` is meaningful.
const RETAIN_KEYS: &[(&str, &str)] = &[
    ("api.core.v1.PodSpec", "resourceClaims"),
    ("api.core.v1.PodSpec", "volumes"),
    ("api.core.v1.PodStatus", "resourceClaimStatuses"),
];

/// Maps that server-side apply owns as one value.
const ATOMIC_MAPS: &[(&str, &str)] = &[
    ("api.core.v1.PodSpec", "nodeSelector"),
    ("api.core.v1.ReplicationControllerSpec", "selector"),
    ("api.core.v1.ServiceSpec", "selector"),
];

/// Structs that server-side apply owns as one value.
const ATOMIC_STRUCTS: &[&str] = &[
    "api.core.v1.ConfigMapKeySelector",
    "api.core.v1.EndpointAddress",
    "api.core.v1.EndpointPort",
    "api.core.v1.FileKeySelector",
    "api.core.v1.LocalObjectReference",
    "api.core.v1.NodeSelector",
    "api.core.v1.NodeSelectorTerm",
    "api.core.v1.ObjectFieldSelector",
    "api.core.v1.ObjectReference",
    "api.core.v1.ResourceFieldSelector",
    "api.core.v1.SecretKeySelector",
    "api.core.v1.SecretReference",
    "api.core.v1.TypedLocalObjectReference",
    "api.discovery.v1.EndpointPort",
    "api.rbac.v1.RoleRef",
    "api.rbac.v1.Subject",
    "apimachinery.pkg.apis.meta.v1.LabelSelector",
    "apimachinery.pkg.apis.meta.v1.OwnerReference",
];

/// What a strategic merge patch does with a field.
pub(super) fn patch_rule(definition: &str, field: &str) -> PatchRule {
    let place = (short(definition), field);
    let key = keyed(place).map(|(key, _)| key).filter(|key| !key.is_empty());
    PatchRule {
        merge: key.is_some() || MERGED_SCALARS.contains(&place),
        key,
        retain_keys: RETAIN_KEYS.contains(&place),
    }
}

/// How server-side apply owns a list or map.
pub(super) fn list_kind(definition: &str, field: &str, is_map: bool) -> ListKind {
    let place = (short(definition), field);
    match keyed(place) {
        Some((_, keys)) if !keys.is_empty() => ListKind::Map(keys),
        _ if SETS.contains(&place) => ListKind::Set,
        _ if is_map && !ATOMIC_MAPS.contains(&place) => ListKind::Granular,
        _ => ListKind::Atomic,
    }
}

/// Whether server-side apply owns a struct as one value.
pub(super) fn is_atomic(definition: &str) -> bool {
    ATOMIC_STRUCTS.contains(&short(definition))
}

fn keyed(place: (&str, &str)) -> Option<(&'static str, &'static [&'static str])> {
    KEYED.iter().find(|row| (row.0, row.1) == place).map(|row| (row.2, row.3))
}

fn short(definition: &str) -> &str {
    definition.strip_prefix("io.k8s.").unwrap_or(definition)
}

/// Every field that a table names, with its full definition name.
#[cfg(test)]
pub(super) fn named_fields() -> Vec<(&'static str, &'static str)> {
    let keyed = KEYED.iter().map(|row| (row.0, row.1));
    let rest = [SETS, MERGED_SCALARS, RETAIN_KEYS, ATOMIC_MAPS].concat();
    let full = |(definition, field): (&'static str, &'static str)| {
        (&*Box::leak(format!("io.k8s.{definition}").into_boxed_str()), field)
    };
    keyed.chain(rest).map(full).collect()
}
