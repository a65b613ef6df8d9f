//! What the containers of a pod need together.

use serde_json::{Map, Value};

use skiff_machinery::quantity::Quantity;

/// Whether a resource can be asked for by a pod as a whole (KEP-2837).
pub(super) fn is_for_pods(name: &str) -> bool {
    matches!(name, "cpu" | "memory") || name.starts_with("hugepages-")
}

/// The most of a resource that the containers of a pod spec request at one time: all containers and sidecars together,
/// or an init container with the sidecars before it. `None` if none requests any.
pub(super) fn request(spec: &Map<String, Value>, name: &str) -> Option<Quantity> {
    let containers = |list: &str| spec.get(list).and_then(Value::as_array).into_iter().flatten();
    let amount = |container: &Value| {
        let text = container.get("resources")?.get("requests")?.get(name)?;
        text.as_str().map_or_else(|| text.to_string(), str::to_owned).parse::<Quantity>().ok()
    };
    let (mut sidecars, mut peak) = (None, None);
    for container in containers("initContainers") {
        if container["restartPolicy"] == "Always" {
            sidecars = sum(sidecars, amount(container));
            peak = most(peak, sidecars);
        } else {
            peak = most(peak, sum(amount(container), sidecars));
        }
    }
    let running = containers("containers").map(amount).fold(sidecars, sum);
    most(peak, running)
}

fn sum(a: Option<Quantity>, b: Option<Quantity>) -> Option<Quantity> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.plus(b)),
        (a, b) => a.or(b),
    }
}

fn most(a: Option<Quantity>, b: Option<Quantity>) -> Option<Quantity> {
    [a, b].into_iter().flatten().max_by_key(|amount| amount.nanos())
}
