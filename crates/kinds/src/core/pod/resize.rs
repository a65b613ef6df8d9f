//! `pods/resize`: what containers of a running pod, and the pod as a whole, may use is changed, and nothing else.

use serde_json::{Map, Value};
use skiff_machinery::cells::{items, str_of};
use skiff_machinery::{FieldError, FieldErrors, Object};

use super::qos;
use super::validate::validate_whole;

const LISTS: [&str; 2] = ["containers", "initContainers"];
/// What containers may be given more or less of.
const RESIZABLE: [&str; 2] = ["cpu", "memory"];
const MIRROR: &str = "kubernetes.io/config.mirror";

/// The pod as it is with the resources of another. Where the other has other containers it is taken as it is: the checks
/// refuse it.
pub(super) fn resized(old: &Object, wanted: &Object) -> Object {
    let mut new = old.clone();
    let spec = match wanted.get(&["spec"]) {
        Some(spec) if LISTS.iter().all(|list| same_length(old, wanted, list)) => merged(old, spec),
        spec => spec.cloned(),
    };
    match spec {
        Some(spec) => new.set(&["spec"], spec),
        None => drop(new.remove(&["spec"])),
    }
    new
}

fn same_length(old: &Object, new: &Object, list: &str) -> bool {
    items(old, &["spec", list]).len() == items(new, &["spec", list]).len()
}

fn merged(old: &Object, wanted: &Value) -> Option<Value> {
    let mut spec = old.get(&["spec"])?.clone();
    take(&mut spec, wanted, "resources");
    for list in LISTS {
        let names = |spec: &Value| -> Vec<String> {
            let items = spec[list].as_array().into_iter().flatten();
            items.map(|container| str_of(container, "name").to_owned()).collect()
        };
        if names(&spec) != names(wanted) {
            take(&mut spec, wanted, list);
            continue;
        }
        let containers = spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten();
        for (container, wanted) in containers.zip(wanted[list].as_array().into_iter().flatten()) {
            take(container, wanted, "resources");
            take(container, wanted, "resizePolicy");
        }
    }
    Some(spec)
}

/// Puts the member of one object into the place of another's.
fn take(to: &mut Value, from: &Value, member: &str) {
    let Some(map) = to.as_object_mut() else { return };
    match from.get(member) {
        Some(value) => drop(map.insert(member.to_owned(), value.clone())),
        None => drop(map.remove(member)),
    }
}

/// Checks what became of a pod.
pub(super) fn validate_update(new: &Object, old: &Object) -> FieldErrors {
    if old.annotations().contains_key(MIRROR) {
        return [FieldError::forbidden("", "static pods cannot be resized")].into();
    }
    if old.str(&["spec", "os", "name"]) == "windows" {
        return [FieldError::forbidden("", "windows pods cannot be resized")].into();
    }
    let mut errors = validate_whole(new);
    let before = match old.str(&["status", "qosClass"]) {
        "" => qos::class(old),
        class => class,
    };
    if before != qos::class(new) {
        let detail = "Pod QOS Class may not change as a result of resizing";
        errors.push(FieldError::invalid("spec", new.str(&["status", "qosClass"]), detail));
    }
    if !runs_where_it_can_be_resized(old) {
        errors.push(FieldError::forbidden("spec", "Pod running on node without support for resize"));
    }
    errors.extend(whole_pod(new, old));
    let order = order(new, old);
    if !order.is_empty() {
        errors.extend(order);
        return errors;
    }
    for list in ["initContainers", "containers"] {
        for (index, (new, old)) in pairs(new, old, list).enumerate() {
            let (after, before) = (&new["resources"], &old["resources"]);
            errors.extend(removed(&format!("spec.{list}[{index}].resources"), "", after, before));
        }
    }
    let changed = pairs(new, old, "containers").filter(|(new, old)| changes_more(new, old));
    errors
        .extend(changed.map(|_| FieldError::forbidden("spec", "only cpu and memory resources are mutable")));
    for (index, (new, old)) in pairs(new, old, "initContainers").enumerate() {
        errors.extend(init_container(&format!("spec.initContainers[{index}]"), new, old));
    }
    errors
}

/// Whether the node tells what running containers have; one that does not could not change it either.
fn runs_where_it_can_be_resized(pod: &Object) -> bool {
    let statuses = items(pod, &["status", "containerStatuses"]);
    let running = statuses.iter().find(|status| !status["state"]["running"].is_null());
    running.is_none_or(|status| !status["resources"].is_null())
}

/// Containers of the same name before and after.
fn pairs<'p>(new: &'p Object, old: &'p Object, list: &str) -> impl Iterator<Item = (&'p Value, &'p Value)> {
    items(new, &["spec", list]).iter().zip(items(old, &["spec", list]))
}

fn order(new: &Object, old: &Object) -> FieldErrors {
    let mut errors = FieldErrors::new();
    for list in LISTS {
        if !same_length(old, new, list) {
            let detail = format!("{list} may not be added or removed on resize");
            errors.push(FieldError::forbidden(format!("spec.{list}"), detail));
            continue;
        }
        let renamed = pairs(new, old, list)
            .enumerate()
            .filter(|(_, (new, old))| str_of(new, "name") != str_of(old, "name"));
        errors.extend(renamed.map(|(index, _)| {
            let detail = format!("{list} may not be renamed or reordered on resize");
            FieldError::forbidden(format!("spec.{list}[{index}].name"), detail)
        }));
    }
    errors
}

/// Checks the resources of the pod as a whole.
fn whole_pod(new: &Object, old: &Object) -> FieldErrors {
    const PATH: &[&str] = &["spec", "resources"];
    let (after, before) = (new.get(PATH), old.get(PATH));
    let mut errors = FieldErrors::new();
    match (after, before) {
        (None, None) => {}
        (None, Some(before)) => {
            if !amounts(before, "requests").is_empty() || !amounts(before, "limits").is_empty() {
                let detail = "pod-level resources cannot be removed";
                errors.push(FieldError::forbidden("spec.resources", detail));
            }
        }
        (Some(after), before) => {
            let before = before.unwrap_or(&Value::Null);
            errors.extend(removed("spec.resources", "pod-level ", after, before));
            let rest = |resources: &Value| {
                ["requests", "limits"].map(|list| {
                    let mut rest = amounts(resources, list);
                    rest.retain(|name, _| !RESIZABLE.contains(&name.as_str()));
                    rest
                })
            };
            if rest(after) != rest(before) || after["claims"] != before["claims"] {
                let detail = "only cpu and memory resources are mutable at pod-level";
                errors.push(FieldError::forbidden("spec", detail));
            }
        }
    }
    errors
}

/// Resources may become more or less, but not none.
fn removed(path: &str, level: &str, after: &Value, before: &Value) -> FieldErrors {
    let gone = |list: &&str| {
        let after = amounts(after, list);
        amounts(before, list).keys().any(|name| !after.contains_key(name))
    };
    let lists = ["requests", "limits"].into_iter().filter(gone);
    let refuse = |list: &str| {
        let detail = format!("{level}resource {list} cannot be removed");
        FieldError::forbidden(format!("{path}.{list}"), detail)
    };
    lists.map(refuse).collect()
}

fn amounts(resources: &Value, list: &str) -> Map<String, Value> {
    resources[list].as_object().cloned().unwrap_or_default()
}

/// Whether anything of a container changes but what may; what containers claim of devices counts as changed, as in Kubernetes.
fn changes_more(new: &Value, old: &Value) -> bool {
    let rest = |container: &Value| {
        let mut rest = container.as_object().cloned().unwrap_or_default();
        rest.remove("resources");
        rest.retain(|_, value| !value.as_array().is_some_and(Vec::is_empty));
        rest
    };
    let fixed = |container: &Value, list: &str| {
        let mut amounts = amounts(&container["resources"], list);
        amounts.retain(|name, _| !RESIZABLE.contains(&name.as_str()));
        amounts
    };
    let claims = old["resources"]["claims"].as_array().is_some_and(|claims| !claims.is_empty());
    claims
        || rest(new) != rest(old)
        || ["requests", "limits"].iter().any(|list| fixed(new, list) != fixed(old, list))
}

fn init_container(path: &str, new: &Value, old: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    if changes_more(new, old) {
        let detail = "only cpu and memory resources for init or sidecar containers are mutable";
        errors.push(FieldError::forbidden(path, detail));
    }
    let restarts = new["resizePolicy"].as_array().into_iter().flatten();
    let restarts = restarts.filter(|policy| policy["restartPolicy"] == "RestartContainer");
    if new != old && new["restartPolicy"] != "Always" {
        let detail = "non-sidecar init containers with a resize policy of RestartContainer cannot be resized";
        errors.extend(restarts.map(|_| FieldError::forbidden(path, detail)));
    }
    errors
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::shared::testing::{object, texts};

    fn pod() -> Value {
        let resources = json!({"requests": {"cpu": "100m", "memory": "10Mi"}, "limits": {"cpu": "200m", "memory": "20Mi"}});
        json!({
            "metadata": {"name": "x"},
            "spec": {
                "restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "terminationGracePeriodSeconds": 30,
                "containers": [{"name": "c", "image": "i", "imagePullPolicy": "Always",
                    "terminationMessagePolicy": "File", "resources": resources}],
                "initContainers": [{"name": "i", "image": "i", "imagePullPolicy": "Always",
                    "terminationMessagePolicy": "File", "resources": resources}],
            },
            "status": {"qosClass": "Burstable"},
        })
    }

    /// What is said to a pod that becomes another, after its other fields were put back.
    fn check(change: impl Fn(&mut Value), expected: &[&str]) -> Object {
        let mut wanted = pod();
        change(&mut wanted);
        let old = object(pod());
        let new = resized(&old, &object(wanted));
        assert_eq!(texts(validate_update(&new, &old)), expected);
        new
    }

    #[test]
    fn only_resources_are_taken() {
        let new = check(
            |pod| {
                pod["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "150m".into();
                pod["spec"]["containers"][0]["image"] = "other".into();
                pod["spec"]["nodeName"] = "n".into();
                pod["metadata"]["labels"] = json!({"a": "b"});
            },
            &[],
        );
        let mut expected = pod();
        expected["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "150m".into();
        assert_eq!(new, object(expected));
    }

    #[test]
    fn what_may_not_be_resized_is_told() {
        const CONTAINER: &str = "/spec/containers/0/resources";
        let set = |path: &'static str, value: Value| {
            move |pod: &mut Value| {
                let (parent, name) = path.rsplit_once('/').unwrap();
                pod.pointer_mut(parent).unwrap()[name] = value.clone();
            }
        };
        check(
            set("/spec/containers/0/resources/requests", json!({"cpu": "100m"})),
            &["spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed"],
        );
        check(
            |pod| pod.pointer_mut(CONTAINER).unwrap()["requests"]["ephemeral-storage"] = "1Gi".into(),
            &["spec: Forbidden: only cpu and memory resources are mutable"],
        );
        check(
            set(
                "/spec/containers/0/resizePolicy",
                json!([{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]),
            ),
            &["spec: Forbidden: only cpu and memory resources are mutable"],
        );
        check(set("/spec/initContainers/0/resources/limits/memory", "30Mi".into()), &[]);
        check(
            set("/spec/containers/0/name", "other".into()),
            &["spec.containers[0].name: Forbidden: containers may not be renamed or reordered on resize"],
        );
        check(
            |pod| {
                pod["spec"]["containers"].as_array_mut().unwrap().push(json!({
                "name": "d", "image": "i", "imagePullPolicy": "Always", "terminationMessagePolicy": "File"}));
            },
            &["spec.containers: Forbidden: containers may not be added or removed on resize"],
        );
        check(set("/spec/resources", json!({"requests": {"cpu": "1", "memory": "1Gi"}})), &[]);
    }

    #[test]
    fn some_pods_cannot_be_resized() {
        let check = |change: fn(&mut Value), expected: &[&str]| {
            let mut old = pod();
            change(&mut old);
            let old = object(old);
            assert_eq!(texts(validate_update(&old, &old)), expected);
        };
        check(
            |pod| pod["metadata"]["annotations"] = json!({MIRROR: "x"}),
            &[": Forbidden: static pods cannot be resized"],
        );
        let running = |pod: &mut Value| {
            pod["status"]["containerStatuses"] = json!([{"name": "c", "state": {"running": {}}}]);
        };
        check(running, &["spec: Forbidden: Pod running on node without support for resize"]);
        check(
            |pod| {
                let resources = json!({"requests": {"cpu": "100m"}});
                pod["status"]["containerStatuses"] =
                    json!([{"name": "c", "state": {"running": {}}, "resources": resources}]);
            },
            &[],
        );
    }
}
