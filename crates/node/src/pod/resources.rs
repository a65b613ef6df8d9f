//! What a pod's status says of the resources of the pod as a whole, as the kubelet of 1.36 says it of every pod (KEP-2837,
//! KEP-5419): what the node has set aside for it, and what it enforces.

use super::admission::requested;
use super::local::{LocalPod, Role};
use super::observed::Observed;
use crate::container::limits::pod_limit;
use crate::quantity::{Amounts, binary, count, millicores};
use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use skiff_ordered::Ordered as _;
use std::collections::BTreeSet;

/// `status.allocatedResources`: the requests of the pod, or of its containers in sum, with its overhead.
pub(crate) fn allocated(pod: &LocalPod) -> Amounts {
    let containers = pod.containers.iter().filter(|c| c.role != Role::Ephemeral);
    let given = containers.filter_map(|c| c.spec.resources.as_ref()).chain(&pod.spec.resources);
    let names: BTreeSet<&String> = given.filter_map(|r| r.requests.as_ref()).flat_map(Amounts::keys).to_set();
    names.into_iter().map(|name| (name.clone(), shown(name, requested(pod, name)))).one_by_one()
}

/// `status.resources`: what the pod's own group has been made for.
pub(crate) fn in_force(pod: &LocalPod, observed: &Observed) -> ResourceRequirements {
    match observed.resizing.group.as_deref().filter(|group| !group.are_of(pod)) {
        Some(group) => enforced(&group.applied(pod.clone())),
        None => enforced(pod),
    }
}

/// The requests of a pod, and the limits that hold for it as a whole.
fn enforced(pod: &LocalPod) -> ResourceRequirements {
    let limits = ["cpu", "memory"].into_iter();
    let limits: Amounts =
        limits.filter_map(|name| Some((name.to_owned(), shown(name, pod_limit(pod, name)?)))).one_by_one();
    let filled = |amounts: Amounts| Some(amounts).filter(|amounts| !amounts.is_empty());
    ResourceRequirements { claims: None, limits: filled(limits), requests: filled(allocated(pod)) }
}

/// An amount of a resource as [`crate::quantity::amount`] counts it.
fn shown(name: &str, amount: i64) -> Quantity {
    let amount = u64::try_from(amount).unwrap_or(0);
    if name == "cpu" {
        millicores(amount)
    } else if matches!(name, "memory" | "ephemeral-storage") || name.starts_with("hugepages-") {
        binary(amount)
    } else {
        count(amount)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::testing::pod_of;
    use serde_json::{Value, json};

    fn check(spec: &Value, expected_allocated: Value, expected_enforced: Value) {
        let pod = pod_of(&spec.to_string());
        assert_eq!(json!(allocated(&pod)), expected_allocated, "{spec}");
        assert_eq!(json!(enforced(&pod)), expected_enforced, "{spec}");
    }

    #[test]
    fn the_pods_own_resources_come_first() {
        let whole =
            json!({"limits": {"cpu": "1", "memory": "100Mi"}, "requests": {"cpu": "500m", "memory": "50Mi"}});
        check(
            &json!({"resources": whole, "containers": [{"name": "c", "resources": {"requests": {"cpu": "100m"}}}]}),
            json!({"cpu": "500m", "memory": "50Mi"}),
            whole.clone(),
        );
        let overhead = json!({"cpu": "100m", "memory": "1Mi"});
        check(
            &json!({"resources": whole, "overhead": overhead, "containers": [{"name": "c"}]}),
            json!({"cpu": "600m", "memory": "51Mi"}),
            json!({"limits": {"cpu": "1100m", "memory": "101Mi"}, "requests": {"cpu": "600m", "memory": "51Mi"}}),
        );
    }

    #[test]
    fn else_those_of_the_containers_count() {
        let limited = json!({"limits": {"cpu": "500m", "memory": "64Mi"}, "requests": {"cpu": "250m", "memory": "64Mi"}});
        let asks = json!({"requests": {"cpu": "750m", "example.com/gpu": "2"}});
        check(
            &json!({"containers": [{"name": "a", "resources": limited}, {"name": "b", "resources": limited}]}),
            json!({"cpu": "500m", "memory": "128Mi"}),
            json!({"limits": {"cpu": "1", "memory": "128Mi"}, "requests": {"cpu": "500m", "memory": "128Mi"}}),
        );
        check(
            &json!({"containers": [{"name": "a", "resources": limited}, {"name": "b", "resources": asks}]}),
            json!({"cpu": "1", "memory": "64Mi", "example.com/gpu": "2"}),
            json!({"requests": {"cpu": "1", "memory": "64Mi", "example.com/gpu": "2"}}),
        );
        check(&json!({"containers": [{"name": "a"}]}), json!({}), json!({}));
    }
}
