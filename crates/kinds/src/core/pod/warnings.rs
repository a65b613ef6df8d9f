//! What is legal in a pod but probably not what was meant, and what has no effect any more.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use skiff_machinery::Object;
use skiff_machinery::cells::{int_of, items, str_of};

/// Annotations that were fields once, and what became of them.
const ANNOTATIONS: [(&str, &str); 3] = [
    (
        "scheduler.alpha.kubernetes.io/critical-pod",
        "non-functional in v1.16+; use the \"priorityClassName\" field instead",
    ),
    ("security.alpha.kubernetes.io/sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"),
    (
        "security.alpha.kubernetes.io/unsafe-sysctls",
        "non-functional in v1.11+; use the \"sysctls\" field instead",
    ),
];

/// Kinds of volumes that nothing provides any more.
const VOLUMES: [(&str, &str); 9] = [
    ("photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    ("gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"),
    ("scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("flocker", "deprecated in v1.22, non-functional in v1.25+"),
    ("storageos", "deprecated in v1.22, non-functional in v1.25+"),
    ("quobyte", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("rbd", "deprecated in v1.28, non-functional in v1.31+"),
];

const SECCOMP: &str = "non-functional in v1.27+; use the \"seccompProfile\" field instead";
const APP_ARMOR: &str = "deprecated since v1.30; use the \"appArmorProfile\" field instead";

/// The texts for a pod.
pub(super) fn warnings(pod: &Object) -> Vec<String> {
    let mut warnings = Vec::new();
    let annotations = pod.annotations();
    let annotated = |key: &str, text: &str| {
        annotations.contains_key(key).then(|| format!("metadata.annotations[{key}]: {text}"))
    };
    warnings.extend(ANNOTATIONS.into_iter().filter_map(|(key, text)| annotated(key, text)));
    for (index, volume) in items(pod, &["spec", "volumes"]).iter().enumerate() {
        let old =
            VOLUMES.into_iter().filter(|(kind, _)| volume.get(kind).is_some_and(|source| !source.is_null()));
        warnings.extend(old.map(|(kind, text)| format!("spec.volumes[{index}].{kind}: {text}")));
    }
    warnings.extend(twice(pod, "hostAliases", "ip"));
    warnings.extend(twice(pod, "imagePullSecrets", "name"));
    for (index, secret) in items(pod, &["spec", "imagePullSecrets"]).iter().enumerate() {
        if str_of(secret, "name").is_empty() {
            warnings.push(format!("spec.imagePullSecrets[{index}].name: invalid empty name \"\""));
        }
    }
    if pod.get(&["spec", "securityContext", "seccompProfile"]).is_none() {
        warnings.extend(annotated("seccomp.security.alpha.kubernetes.io/pod", SECCOMP));
    }
    for (path, container) in containers(pod) {
        let profile = |field: &str| container["securityContext"].get(field).is_some();
        let name = str_of(container, "name");
        if !profile("seccompProfile") {
            let key = format!("container.seccomp.security.alpha.kubernetes.io/{name}");
            warnings.extend(annotated(&key, SECCOMP));
        }
        warnings
            .extend(annotated(&format!("container.apparmor.security.beta.kubernetes.io/{name}"), APP_ARMOR));
        warnings.extend(hidden_variables(&path, container));
    }
    warnings.extend(ports(pod));
    warnings
}

fn containers(pod: &Object) -> impl Iterator<Item = (String, &Value)> {
    ["initContainers", "containers", "ephemeralContainers"].into_iter().flat_map(move |list| {
        let containers = items(pod, &["spec", list]).iter().enumerate();
        containers.map(move |(index, container)| (format!("spec.{list}[{index}]"), container))
    })
}

/// Members of a list of the spec that say the same as one before.
fn twice(pod: &Object, list: &str, field: &str) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let members = items(pod, &["spec", list]).iter().enumerate();
    let again = members.filter(|&(_, member)| !seen.insert(str_of(member, field)));
    again
        .map(|(index, member)| {
            format!("spec.{list}[{index}].{field}: duplicate {field} {:?}", str_of(member, field))
        })
        .collect()
}

/// Environment variables that are defined again, without reference to what they were.
fn hidden_variables(path: &str, container: &Value) -> Vec<String> {
    let mut names = BTreeSet::new();
    let variables = container.get("env").and_then(Value::as_array).into_iter().flatten().enumerate();
    let hiding = variables.filter(|&(_, variable)| {
        let (name, value) = (str_of(variable, "name"), str_of(variable, "value"));
        let reference = format!("$({name})");
        let bad = variable.get("valueFrom").is_some() || value == reference || !value.contains(&reference);
        !names.insert(name) && bad
    });
    hiding
        .map(|(index, variable)| {
            format!(
                "{path}.env[{index}]: hides previous definition of {:?}, which may be dropped when using apply",
                str_of(variable, "name")
            )
        })
        .collect()
}

/// Ports that collide with others of the pod, or may.
fn ports(pod: &Object) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut known: BTreeMap<(i64, &str), Vec<(String, &Value)>> = BTreeMap::new();
    for (path, container) in containers(pod) {
        let ports = container.get("ports").and_then(Value::as_array).into_iter().flatten();
        for (index, port) in ports.enumerate() {
            let path = format!("{path}.ports[{index}]");
            let others = known.entry((int_of(port, "containerPort"), str_of(port, "protocol"))).or_default();
            for (other_path, other) in &*others {
                if let Some(how) = collision(port, other) {
                    warnings.push(format!("{path}: {how} port definition with {other_path}"));
                }
            }
            others.push((path, port));
        }
    }
    warnings
}

fn collision(port: &Value, other: &Value) -> Option<&'static str> {
    let (number, others_number) = (int_of(port, "hostPort"), int_of(other, "hostPort"));
    let (ip, others_ip) = (str_of(port, "hostIP"), str_of(other, "hostIP"));
    if number == others_number && ip == others_ip {
        Some("duplicate")
    } else if number == 0 || others_number == 0 {
        Some("overlapping")
    } else if number == others_number && ip.is_empty() != others_ip.is_empty() {
        Some("dangerously ambiguous")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::shared::testing::object;

    #[test]
    fn doubtful_pods_are_warned_of() {
        let check = |pod: Value, expected: &[&str]| assert_eq!(warnings(&object(pod)), expected);
        check(json!({"spec": {"containers": [{"name": "c"}]}}), &[]);
        check(
            json!({"metadata": {"annotations": {"seccomp.security.alpha.kubernetes.io/pod": "x"}}}),
            &[
                "metadata.annotations[seccomp.security.alpha.kubernetes.io/pod]: non-functional in v1.27+; use the \"seccompProfile\" field instead",
            ],
        );
        check(
            json!({"spec": {"volumes": [{"name": "a", "emptyDir": {}}, {"name": "b", "rbd": {}}]}}),
            &["spec.volumes[1].rbd: deprecated in v1.28, non-functional in v1.31+"],
        );
        let port = |port: i64, host: i64| json!({"containerPort": port, "protocol": "TCP", "hostPort": host});
        check(
            json!({"spec": {"containers": [{"ports": [port(80, 0), port(80, 0), port(80, 1)]}]}}),
            &[
                "spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]",
                "spec.containers[0].ports[2]: overlapping port definition with spec.containers[0].ports[0]",
                "spec.containers[0].ports[2]: overlapping port definition with spec.containers[0].ports[1]",
            ],
        );
        let variable = |value: &str| json!({"name": "A", "value": value});
        check(
            json!({"spec": {"containers": [{"env": [variable("1"), variable("$(A)2"), variable("3")]}]}}),
            &[
                "spec.containers[0].env[2]: hides previous definition of \"A\", which may be dropped when using apply",
            ],
        );
        check(
            json!({"spec": {"imagePullSecrets": [{"name": "a"}, {"name": "a"}, {}]}}),
            &[
                "spec.imagePullSecrets[1].name: duplicate name \"a\"",
                "spec.imagePullSecrets[2].name: invalid empty name \"\"",
            ],
        );
    }
}
