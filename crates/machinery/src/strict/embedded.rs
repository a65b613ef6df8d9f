//! Structs that Go's types of the API have inside others without a name of their own. Go's decoder names them on the way to a
//! field all the same.

/// Where the fields of a struct are.
enum Fields {
    /// These are in the embedded struct.
    Inside(&'static [&'static str]),
    /// All are but these.
    Outside(&'static [&'static str]),
}

use Fields::{Inside, Outside};

/// Definitions by their short names, with what they embed (`k8s.io/api`, `json:",inline"`).
const EMBEDDED: [(&str, &str, Fields); 17] = [
    ("ConfigMapEnvSource", "LocalObjectReference", Inside(&["name"])),
    ("ConfigMapKeySelector", "LocalObjectReference", Inside(&["name"])),
    ("ConfigMapProjection", "LocalObjectReference", Inside(&["name"])),
    ("ConfigMapVolumeSource", "LocalObjectReference", Inside(&["name"])),
    ("DeviceAllocationConfiguration", "DeviceConfiguration", Inside(&["opaque"])),
    ("DeviceClaimConfiguration", "DeviceConfiguration", Inside(&["opaque"])),
    ("DeviceClassConfiguration", "DeviceConfiguration", Inside(&["opaque"])),
    ("EphemeralContainer", "EphemeralContainerCommon", Outside(&["targetContainerName"])),
    ("IngressRule", "IngressRuleValue", Outside(&["host"])),
    ("NamedRuleWithOperations", "RuleWithOperations", Inside(&["operations"])),
    (
        "NamedRuleWithOperations",
        "RuleWithOperations.Rule",
        Inside(&["apiGroups", "apiVersions", "resources", "scope"]),
    ),
    (
        "PersistentVolumeSpec",
        "PersistentVolumeSource",
        Outside(&[
            "accessModes",
            "capacity",
            "claimRef",
            "mountOptions",
            "nodeAffinity",
            "persistentVolumeReclaimPolicy",
            "storageClassName",
            "volumeAttributesClassName",
            "volumeMode",
        ]),
    ),
    ("Probe", "ProbeHandler", Inside(&["exec", "grpc", "httpGet", "tcpSocket"])),
    ("RuleWithOperations", "Rule", Outside(&["operations"])),
    ("SecretEnvSource", "LocalObjectReference", Inside(&["name"])),
    ("SecretKeySelector", "LocalObjectReference", Inside(&["name"])),
    ("Volume", "VolumeSource", Outside(&["name"])),
];

/// What a field of a definition is embedded in, if in anything.
pub(super) fn embedded(definition: &str, field: &str) -> Option<&'static str> {
    let is_inside = |fields: &Fields| match fields {
        Inside(names) => names.contains(&field),
        Outside(names) => !names.contains(&field),
    };
    let mut found = EMBEDDED.iter().filter(|(name, _, fields)| *name == definition && is_inside(fields));
    found.next().map(|(_, embedded, _)| *embedded)
}
