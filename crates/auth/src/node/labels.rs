//! Which labels an agent may set on its Node: those that describe the machine, not those that attract
//! workloads.

use std::collections::BTreeMap;

/// Labels of the kubernetes.io and k8s.io domains that agents report.
const REPORTED: &[&str] = &[
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/instance-type",
    "beta.kubernetes.io/os",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.kubernetes.io/region",
    "failure-domain.kubernetes.io/zone",
    "kubernetes.io/arch",
    "kubernetes.io/hostname",
    "kubernetes.io/instance-type",
    "kubernetes.io/os",
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
];

/// Domains (and their subdomains) in which agents may set any label.
const OPEN: &[&str] = &["kubelet.kubernetes.io", "node.kubernetes.io"];

/// Domains (and their subdomains) that are not the agents' but for the above.
const RESERVED: &[&str] = &["kubernetes.io", "k8s.io"];

/// The labels that were added, changed or removed and are not the agent's to set, sorted.
pub(super) fn forbidden<'a>(
    new: &BTreeMap<&'a str, &'a str>,
    old: &BTreeMap<&'a str, &'a str>,
) -> Vec<&'a str> {
    let changed = new.keys().chain(old.keys()).filter(|key| new.get(*key) != old.get(*key));
    let mut found: Vec<&str> = changed.copied().filter(|key| !is_open(key)).collect();
    found.sort_unstable();
    found.dedup();
    found
}

fn is_open(label: &str) -> bool {
    let Some((domain, _)) = label.split_once('/') else { return true };
    let under = |parent: &&str| {
        domain == *parent || domain.strip_suffix(*parent).is_some_and(|rest| rest.ends_with('.'))
    };
    if under(&"node-restriction.kubernetes.io") {
        return false;
    }
    REPORTED.contains(&label) || OPEN.iter().any(under) || !RESERVED.iter().any(under)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_labels_are_not_the_agents() {
        let check = |label: &str, open: bool| assert_eq!(is_open(label), open, "{label}");
        check("disk", true);
        check("example.com/disk", true);
        check("kubernetes.io/hostname", true);
        check("topology.kubernetes.io/zone", true);
        check("node.kubernetes.io/anything", true);
        check("x.node.kubernetes.io/anything", true);
        check("node-role.kubernetes.io/control-plane", false);
        check("node-restriction.kubernetes.io/a", false);
        check("team.node-restriction.kubernetes.io/a", false);
        check("kubernetes.io/other", false);
        check("x.k8s.io/y", false);
        check("notkubernetes.io/y", true);
    }
}
