//! Versions in which Kubernetes still reads an object, though it serves the kind in another one: what is sent in one of them is
//! refused for its version, and not as something that nobody knows.

use skiff_machinery::Kind;

/// The name of the kind's group and of the kind, and the versions.
const FORMER: &[(&str, &str, &[&str])] = &[
    ("", "Event", &["events.k8s.io/v1", "events.k8s.io/v1beta1"]),
    ("events.k8s.io", "Event", &["v1", "events.k8s.io/v1beta1"]),
    ("apiextensions.k8s.io", "CustomResourceDefinition", &["apiextensions.k8s.io/v1beta1"]),
    ("apiregistration.k8s.io", "APIService", &["apiregistration.k8s.io/v1beta1"]),
    ("apps", "ControllerRevision", &["apps/v1beta1", "apps/v1beta2"]),
    ("apps", "DaemonSet", &["apps/v1beta2", "extensions/v1beta1"]),
    ("apps", "Deployment", &["apps/v1beta1", "apps/v1beta2", "extensions/v1beta1"]),
    ("apps", "ReplicaSet", &["apps/v1beta2", "extensions/v1beta1"]),
    ("apps", "StatefulSet", &["apps/v1beta1", "apps/v1beta2"]),
    (
        "authentication.k8s.io",
        "SelfSubjectReview",
        &["authentication.k8s.io/v1alpha1", "authentication.k8s.io/v1beta1"],
    ),
    ("authentication.k8s.io", "TokenReview", &["authentication.k8s.io/v1beta1"]),
    ("autoscaling", "HorizontalPodAutoscaler", &["autoscaling/v1", "autoscaling/v2"]),
    ("batch", "CronJob", &["batch/v1beta1"]),
    ("networking.k8s.io", "Ingress", &["extensions/v1beta1", "networking.k8s.io/v1beta1"]),
    ("networking.k8s.io", "IngressClass", &["networking.k8s.io/v1beta1"]),
    ("networking.k8s.io", "IPAddress", &["networking.k8s.io/v1beta1"]),
    ("networking.k8s.io", "NetworkPolicy", &["extensions/v1beta1"]),
    ("networking.k8s.io", "ServiceCIDR", &["networking.k8s.io/v1beta1"]),
    ("policy", "PodDisruptionBudget", &["policy/v1beta1"]),
    ("scheduling.k8s.io", "PriorityClass", &["scheduling.k8s.io/v1beta1"]),
    ("admissionregistration.k8s.io", "MutatingAdmissionPolicy", ADMISSION),
    ("admissionregistration.k8s.io", "MutatingAdmissionPolicyBinding", ADMISSION),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy", ADMISSION),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding", ADMISSION),
    (
        "admissionregistration.k8s.io",
        "MutatingWebhookConfiguration",
        &["admissionregistration.k8s.io/v1beta1"],
    ),
    (
        "admissionregistration.k8s.io",
        "ValidatingWebhookConfiguration",
        &["admissionregistration.k8s.io/v1beta1"],
    ),
    ("storage.k8s.io", "CSIDriver", &["storage.k8s.io/v1beta1"]),
    ("storage.k8s.io", "CSINode", &["storage.k8s.io/v1beta1"]),
    ("storage.k8s.io", "CSIStorageCapacity", STORAGE),
    ("storage.k8s.io", "StorageClass", &["storage.k8s.io/v1beta1"]),
    ("storage.k8s.io", "VolumeAttachment", STORAGE),
    ("storage.k8s.io", "VolumeAttributesClass", STORAGE),
];

const ADMISSION: &[&str] = &["admissionregistration.k8s.io/v1alpha1", "admissionregistration.k8s.io/v1beta1"];
const STORAGE: &[&str] = &["storage.k8s.io/v1alpha1", "storage.k8s.io/v1beta1"];

/// Groups all of whose kinds have such versions.
const GROUPS: &[(&str, &[&str])] = &[
    ("authorization.k8s.io", &["v1beta1"]),
    ("certificates.k8s.io", &["v1beta1"]),
    ("coordination.k8s.io", &["v1beta1"]),
    ("discovery.k8s.io", &["v1beta1"]),
    ("flowcontrol.apiserver.k8s.io", &["v1beta1", "v1beta2", "v1beta3"]),
    ("node.k8s.io", &["v1alpha1", "v1beta1"]),
    ("rbac.authorization.k8s.io", &["v1alpha1", "v1beta1"]),
    ("resource.k8s.io", &["v1beta1", "v1beta2"]),
];

/// Whether an object of the kind may say that it is of this version, be it that none of its objects are served in it.
pub fn is_version_of(kind: &Kind, api_version: &str) -> bool {
    let (group, name) = (&*kind.gv.group, &*kind.names.kind);
    let of_kind = FORMER.iter().find(|(of, kind, _)| *of == group && *kind == name);
    let of_group = GROUPS.iter().find(|(of, _)| *of == group);
    let number = api_version.split_once('/').filter(|(of, _)| *of == group).map(|(_, number)| number);
    api_version != kind.gv.to_string()
        && (of_kind.is_some_and(|(_, _, versions)| versions.contains(&api_version))
            || of_group.zip(number).is_some_and(|((_, versions), number)| versions.contains(&number)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_the_past_are_known() {
        let kinds = crate::builtin();
        let check = |group: &str, name: &str, version: &str, known: bool| {
            let kind = kinds.iter().find(|kind| kind.gv.group == group && kind.names.kind == name).unwrap();
            assert_eq!(is_version_of(kind, version), known, "{name} {version}");
        };
        check("apps", "Deployment", "extensions/v1beta1", true);
        check("apps", "Deployment", "apps/v1", false);
        check("apps", "Deployment", "apps/v2", false);
        check("rbac.authorization.k8s.io", "Role", "rbac.authorization.k8s.io/v1beta1", true);
        check("rbac.authorization.k8s.io", "Role", "rbac.authorization.k8s.io/v1", false);
        check("events.k8s.io", "Event", "v1", true);
    }
}
