//! Where the group versions of Kubernetes come in discovery.

use skiff_machinery::discovery::Priority;

/// Group, version, how far in front the group is, and how far in front the version is in it: as kube-apiserver of 1.36
/// registers them. The group of APIServices itself is none of them: it comes first, and nobody can take it over.
const TABLE: &[(&str, &str, i32, i32)] = &[
    ("", "v1", 18000, 1),
    ("apps", "v1", 17800, 15),
    ("events.k8s.io", "v1", 17750, 15),
    ("authentication.k8s.io", "v1", 17700, 15),
    ("authorization.k8s.io", "v1", 17600, 15),
    ("autoscaling", "v2", 17500, 30),
    ("autoscaling", "v1", 17500, 15),
    ("batch", "v1", 17400, 15),
    ("certificates.k8s.io", "v1", 17300, 15),
    ("networking.k8s.io", "v1", 17200, 15),
    ("policy", "v1", 17100, 15),
    ("rbac.authorization.k8s.io", "v1", 17000, 15),
    ("storage.k8s.io", "v1", 16800, 15),
    ("admissionregistration.k8s.io", "v1", 16700, 15),
    ("apiextensions.k8s.io", "v1", 16700, 15),
    ("scheduling.k8s.io", "v1", 16600, 15),
    ("coordination.k8s.io", "v1", 16500, 15),
    ("node.k8s.io", "v1", 16300, 15),
    ("discovery.k8s.io", "v1", 16200, 15),
    ("resource.k8s.io", "v1", 16200, 15),
    ("flowcontrol.apiserver.k8s.io", "v1", 16100, 21),
    // As the metrics server registers it.
    ("metrics.k8s.io", "v1beta1", 100, 100),
];

/// The priority of a group version of Kubernetes.
pub(super) fn built_in(group: &str, version: &str) -> Option<Priority> {
    let row = TABLE.iter().find(|(of, its, ..)| *of == group && *its == version);
    row.map(|(.., group, version)| Priority { group: *group, version: *version })
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_machinery::discovery::group_versions;

    #[test]
    fn every_built_in_version_has_a_priority_and_they_give_the_order_of_discovery() {
        let catalogue = crate::builtin();
        let versions = group_versions(&catalogue);
        let (own, others): (Vec<_>, Vec<_>) =
            versions.iter().partition(|gv| **gv == crate::groups::API_REGISTRATION);
        assert_eq!(own.len(), 1);
        let priorities: Vec<i32> = others
            .iter()
            .map(|gv| {
                built_in(&gv.group, &gv.version).unwrap_or_else(|| panic!("{gv} has no priority")).group
            })
            .collect();
        assert!(priorities.is_sorted_by(|a, b| a >= b), "{others:?} {priorities:?}");
    }
}
