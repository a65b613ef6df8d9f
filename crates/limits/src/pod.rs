//! What a pod requests, and what it is limited to.

use serde_json::Value;
use skiff_quantity::{Needed, Role, at_one_time, while_resized};

use crate::amounts::{Amounts, items, text};

/// Requests or limits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    Requests,
    Limits,
}

impl Which {
    fn field(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Limits => "limits",
        }
    }
}

/// What the spec says, without overhead: what LimitRanger looks at.
pub(crate) fn in_spec(pod: &Value, which: Which) -> Amounts {
    let mut sums = of_containers(pod, &|container| Amounts::read(&container["resources"][which.field()]));
    let whole = Amounts::read(&pod["spec"]["resources"][which.field()]);
    for (name, amount) in whole.iter().filter(|(name, _)| matches!(*name, "cpu" | "memory")) {
        sums.set(name, amount);
    }
    sums
}

/// What is charged: while a container is resized the most of what is asked for, given and in use; with overhead.
pub(crate) fn charged(pod: &Value, which: Which) -> Amounts {
    let mut sums = of_containers(pod, &|container| effective(pod, container, which));
    let whole = Amounts::read(&pod["spec"]["resources"][which.field()]);
    for (name, amount) in whole.iter().filter(|(name, _)| is_for_whole_pods(name)) {
        sums.set(name, amount);
    }
    let overhead = Amounts::read(&pod["spec"]["overhead"]);
    let limited = |name: &str| sums.get(name).is_some_and(|amount| amount.nanos() != 0);
    let overhead = overhead.only(|name, _| which == Which::Requests || limited(name));
    sums.add(&overhead);
    sums
}

/// Whether requests or limits of the whole pod take the place of those of its containers.
pub(crate) fn has_whole_pod_resources(pod: &Value) -> bool {
    [Which::Requests, Which::Limits].into_iter().any(|which| {
        let whole = Amounts::read(&pod["spec"]["resources"][which.field()]);
        whole.names().any(is_for_whole_pods)
    })
}

fn is_for_whole_pods(name: &str) -> bool {
    matches!(name, "cpu" | "memory") || name.starts_with("hugepages-")
}

fn of_containers(pod: &Value, of: &dyn Fn(&Value) -> Amounts) -> Amounts {
    let init = items(&pod["spec"]["initContainers"]).iter();
    let init = init.map(|container| (Role::of_init(container["restartPolicy"].as_str()), of(container)));
    let main = items(&pod["spec"]["containers"]).iter().map(|container| (Role::Main, of(container)));
    at_one_time(init.chain(main))
}

fn is_sidecar(container: &Value) -> bool {
    container["restartPolicy"] == "Always"
}

/// What a container takes, or may take, while it is resized (KEP-1287).
fn effective(pod: &Value, container: &Value, which: Which) -> Amounts {
    let asked = Amounts::read(&container["resources"][which.field()]);
    let Some(status) = status_of(pod, container) else { return asked };
    let in_use = Amounts::read(&status["resources"][which.field()]);
    let granted = match which {
        Which::Requests => Amounts::read(&status["allocatedResources"]),
        Which::Limits => Amounts::default(),
    };
    while_resized(asked, is_resize_infeasible(pod), [&granted, &in_use])
}

/// The status of a container that can be resized, if it says what the container has.
fn status_of<'a>(pod: &'a Value, container: &Value) -> Option<&'a Value> {
    let is_init = items(&pod["spec"]["initContainers"]).iter().any(|init| init["name"] == container["name"]);
    if is_init && !is_sidecar(container) {
        return None;
    }
    let lists = ["containerStatuses", "initContainerStatuses"];
    let mut statuses = lists.iter().flat_map(|list| items(&pod["status"][*list]));
    let status = statuses.find(|status| status["name"] == container["name"])?;
    (!status["resources"].is_null()).then_some(status)
}

fn is_resize_infeasible(pod: &Value) -> bool {
    let mut conditions = items(&pod["status"]["conditions"]).iter();
    let pending = conditions.find(|condition| condition["type"] == "PodResizePending");
    pending.is_some_and(|condition| text(&condition["reason"]) == "Infeasible")
}
