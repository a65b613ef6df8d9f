//! What a pod may be resized to on its node: what the plugin PodResizeValidator decides.

use serde_json::Value;
use skiff_quantity::{Needed as _, Quantity};

use crate::amounts::Amounts;
use crate::pod::{Which, in_spec};

/// Why a pod does not fit on a node alone: what follows `pods "name" is forbidden: `. `allocatable` is what the node's status
/// says.
pub fn exceeded(pod: &Value, allocatable: &Value) -> Option<String> {
    let mut requested = in_spec(pod, Which::Requests);
    requested.add(&Amounts::read(&pod["spec"]["overhead"]));
    let there = Amounts::read(allocatable);
    let compare = |name: &str, shown: fn(Quantity) -> i64| {
        let amount = |of: &Amounts| of.get(name).unwrap_or(Quantity::of_units(0));
        let (wanted, there) = (amount(&requested), amount(&there));
        let (wanted_shown, there_shown) = (shown(wanted), shown(there));
        (wanted.nanos() > there.nanos())
            .then(|| format!("{name}, requested: {wanted_shown}, allocatable: {there_shown}"))
    };
    let found = [compare("cpu", Quantity::millis), compare("memory", Quantity::units)];
    let found: Vec<String> = found.into_iter().flatten().collect();
    (!found.is_empty())
        .then(|| format!("node didn't have enough allocatable resources: {}", found.join("; ")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_has_to_fit_on_its_node_alone() {
        let check = |cpu: &str, memory: &str, expected: Option<&str>| {
            let resources = json!({"requests": {"cpu": cpu, "memory": memory}});
            let container = json!({"name": "c", "resources": resources});
            let pod = json!({"spec": {"containers": [container], "overhead": {"cpu": "100m"}}});
            let found = exceeded(&pod, &json!({"cpu": "2", "memory": "1Ki", "pods": "110"}));
            let text = |found: &str| format!("node didn't have enough allocatable resources: {found}");
            assert_eq!(found, expected.map(text), "{cpu} {memory}");
        };
        check("1900m", "1024", None);
        check("1901m", "1024", Some("cpu, requested: 2001, allocatable: 2000"));
        check("1", "2Ki", Some("memory, requested: 2048, allocatable: 1024"));
        let both = "cpu, requested: 3100, allocatable: 2000; memory, requested: 2048, allocatable: 1024";
        check("3", "2Ki", Some(both));
    }
}
