//! What the containers of a pod need together.

use serde_json::{Map, Value};

use skiff_machinery::quantity::{Quantity, Role, at_one_time};

/// Whether a resource can be asked for by a pod as a whole (KEP-2837).
pub(super) fn is_for_pods(name: &str) -> bool {
    matches!(name, "cpu" | "memory") || name.starts_with("hugepages-")
}

/// The most of a resource that the containers of a pod spec request at one time. `None` if none requests any.
pub(super) fn request(spec: &Map<String, Value>, name: &str) -> Option<Quantity> {
    let containers = |list: &str| spec.get(list).and_then(Value::as_array).into_iter().flatten();
    let amount = |container: &Value| {
        let text = container.get("resources")?.get("requests")?.get(name)?;
        text.as_str().map_or_else(|| text.to_string(), str::to_owned).parse::<Quantity>().ok()
    };
    let init = containers("initContainers");
    let init = init.map(|container| (Role::of_init(container["restartPolicy"].as_str()), amount(container)));
    at_one_time(init.chain(containers("containers").map(|container| (Role::Main, amount(container)))))
}
