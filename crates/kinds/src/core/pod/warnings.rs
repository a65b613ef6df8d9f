//! What is legal in a pod but probably not what was meant, and what has no effect any more.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use skiff_machinery::cells::{int_of, str_of};
use skiff_machinery::names::Form;
use skiff_machinery::quantity::Quantity;
use skiff_machinery::{Object, go};

use super::warn_paths::overlaps;
use crate::shared::node_labels;

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
    let problems = Form::DnsLabel.problems(pod.name());
    if !problems.is_empty() {
        warnings.push(format!(
            "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended: [{}]",
            problems.join(" ")
        ));
    }
    let (metadata, spec) = (pod.get(&["metadata"]), pod.get(&["spec"]));
    warnings.extend(of("", metadata.unwrap_or(&Value::Null), spec.unwrap_or(&Value::Null)));
    warnings
}

/// Those for the template of pods at a path.
pub(crate) fn template_warnings(path: &str, template: &Value) -> Vec<String> {
    of(&format!("{path}."), &template["metadata"], &template["spec"])
}

/// The texts for a spec and its metadata below a path.
fn of(below: &str, metadata: &Value, spec: &Value) -> Vec<String> {
    let path = format!("{below}spec");
    let mut warnings = old_labels(&path, spec);
    let annotations = metadata["annotations"].as_object();
    let annotated = |key: &str, text: &str| {
        let is_there = annotations.is_some_and(|annotations| annotations.contains_key(key));
        is_there.then(|| format!("{below}metadata.annotations[{key}]: {text}"))
    };
    warnings.extend(ANNOTATIONS.into_iter().filter_map(|(key, text)| annotated(key, text)));
    for (index, volume) in list(spec, "volumes").enumerate() {
        let old =
            VOLUMES.into_iter().filter(|(kind, _)| volume.get(kind).is_some_and(|source| !source.is_null()));
        warnings.extend(old.map(|(kind, text)| format!("{path}.volumes[{index}].{kind}: {text}")));
    }
    warnings.extend(list(spec, "volumes").flat_map(overlaps));
    warnings.extend(twice(&path, spec, "hostAliases", "ip"));
    warnings.extend(twice(&path, spec, "imagePullSecrets", "name"));
    for (index, secret) in list(spec, "imagePullSecrets").enumerate() {
        if str_of(secret, "name").is_empty() {
            warnings.push(format!("{path}.imagePullSecrets[{index}].name: invalid empty name \"\""));
        }
    }
    warnings.extend(fractions(&format!("{path}.overhead"), &spec["overhead"]));
    if spec["securityContext"].get("seccompProfile").is_none() {
        warnings.extend(annotated("seccomp.security.alpha.kubernetes.io/pod", SECCOMP));
    }
    for (path, container) in containers(&path, spec) {
        let profile = |field: &str| container["securityContext"].get(field).is_some();
        let name = str_of(container, "name");
        if !profile("seccompProfile") {
            let key = format!("container.seccomp.security.alpha.kubernetes.io/{name}");
            warnings.extend(annotated(&key, SECCOMP));
        }
        warnings
            .extend(annotated(&format!("container.apparmor.security.beta.kubernetes.io/{name}"), APP_ARMOR));
        for kind in ["limits", "requests"] {
            warnings.extend(fractions(&format!("{path}.resources.{kind}"), &container["resources"][kind]));
        }
        warnings.extend(hidden_variables(&path, container));
    }
    warnings.extend(ports(&path, spec));
    warnings.extend(port_names(&path, spec));
    if int_of(spec, "terminationGracePeriodSeconds") < 0 {
        warnings.push(format!(
            "{path}.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1"
        ));
    }
    warnings.extend(no_selectors(&path, spec));
    warnings
}

fn list<'v>(value: &'v Value, field: &str) -> impl Iterator<Item = &'v Value> + use<'v> {
    value.get(field).and_then(Value::as_array).into_iter().flatten()
}

fn containers<'v>(path: &str, spec: &'v Value) -> Vec<(String, &'v Value)> {
    let lists = ["initContainers", "containers", "ephemeralContainers"];
    let named = |field: &'static str| {
        list(spec, field).enumerate().map(move |(index, container)| (field, index, container))
    };
    let all = lists.into_iter().flat_map(named);
    all.map(|(field, index, container)| (format!("{path}.{field}[{index}]"), container)).collect()
}

/// Nodes that are chosen, or told apart, by labels of old.
fn old_labels(path: &str, spec: &Value) -> Vec<String> {
    let mut warnings = Vec::new();
    for key in spec["nodeSelector"].as_object().into_iter().flat_map(Map::keys) {
        warnings
            .extend(node_labels::deprecation(key).map(|text| format!("{path}.nodeSelector[{key}]: {text}")));
    }
    let affinity = &spec["affinity"]["nodeAffinity"];
    let required = "requiredDuringSchedulingIgnoredDuringExecution";
    for (index, term) in list(&affinity[required], "nodeSelectorTerms").enumerate() {
        let at = format!("{path}.affinity.nodeAffinity.{required}.nodeSelectorTerms[{index}]");
        warnings.extend(node_labels::in_expressions(&at, term));
    }
    let preferred = "preferredDuringSchedulingIgnoredDuringExecution";
    for (index, term) in list(affinity, preferred).enumerate() {
        let at = format!("{path}.affinity.nodeAffinity.{preferred}[{index}].preference");
        warnings.extend(node_labels::in_expressions(&at, &term["preference"]));
    }
    for (index, constraint) in list(spec, "topologySpreadConstraints").enumerate() {
        let (at, key) =
            (format!("{path}.topologySpreadConstraints[{index}]"), str_of(constraint, "topologyKey"));
        warnings
            .extend(node_labels::deprecation(key).map(|text| format!("{at}.topologyKey: {key} is {text}")));
        if constraint.get("labelSelector").is_none_or(Value::is_null) {
            warnings.push(format!("{at}.labelSelector: {NO_SELECTOR}"));
        }
    }
    warnings
}

const NO_SELECTOR: &str = "a null labelSelector results in matching no pod";

/// Terms about other pods that are about none.
fn no_selectors(path: &str, spec: &Value) -> Vec<String> {
    let mut warnings = Vec::new();
    let is_absent = |term: &Value| term.get("labelSelector").is_none_or(Value::is_null);
    for kind in ["podAffinity", "podAntiAffinity"] {
        let (at, terms) = (format!("{path}.affinity.{kind}"), &spec["affinity"][kind]);
        let required = "requiredDuringSchedulingIgnoredDuringExecution";
        let all = list(terms, required).enumerate().filter(|(_, term)| is_absent(term));
        warnings
            .extend(all.map(|(index, _)| format!("{at}.{required}[{index}].labelSelector: {NO_SELECTOR}")));
        let preferred = "preferredDuringSchedulingIgnoredDuringExecution";
        let all = list(terms, preferred).enumerate();
        let all = all.filter(|(_, term)| is_absent(&term["podAffinityTerm"]));
        warnings.extend(all.map(|(index, _)| {
            format!("{at}.{preferred}[{index}].podAffinityTerm.labelSelector: {NO_SELECTOR}")
        }));
    }
    warnings
}

/// Amounts of bytes that are not whole.
fn fractions(path: &str, amounts: &Value) -> Vec<String> {
    let amount = |name: &str| amounts.get(name)?.as_str()?.parse::<Quantity>().ok();
    let odd = ["memory", "ephemeral-storage"].into_iter().filter_map(|name| Some((name, amount(name)?)));
    odd.filter(|(_, amount)| amount.millis() % 1000 != 0)
        .map(|(name, amount)| {
            let shown = go::quoted(&amount.to_string());
            format!("{path}[{name}]: fractional byte value {shown} is invalid, must be an integer")
        })
        .collect()
}

/// Members of a list of the spec that say the same as one before.
fn twice(path: &str, spec: &Value, field: &str, key: &str) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let again = list(spec, field).enumerate().filter(|&(_, member)| !seen.insert(str_of(member, key)));
    again
        .map(|(index, member)| {
            let shown = go::quoted(str_of(member, key));
            format!("{path}.{field}[{index}].{key}: duplicate {key} {shown}")
        })
        .collect()
}

/// Names of ports that another has, which is then meant by them.
fn port_names(path: &str, spec: &Value) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut known = BTreeMap::<&str, String>::new();
    for (path, container) in containers(path, spec) {
        for (index, port) in list(container, "ports").enumerate() {
            let (at, name) = (format!("{path}.ports[{index}]"), str_of(port, "name"));
            match known.get(name) {
                _ if name.is_empty() => {}
                Some(other) => warnings.push(format!(
                    "{at}: duplicate port name {} with {other}, services and probes that select ports by name will use {other}",
                    go::quoted(name)
                )),
                None => drop(known.insert(name, at)),
            }
        }
    }
    warnings
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
fn ports(path: &str, spec: &Value) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut known: BTreeMap<(i64, &str), Vec<(String, &Value)>> = BTreeMap::new();
    for (path, container) in containers(path, spec) {
        for (index, port) in list(container, "ports").enumerate() {
            let path = format!("{path}.ports[{index}]");
            if int_of(port, "hostPort") == 0 && !str_of(port, "hostIP").is_empty() {
                warnings.push(format!("{path}: hostIP set without hostPort: {}", printed_port(port)));
            }
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

/// A port as Go prints its struct.
fn printed_port(port: &Value) -> String {
    format!(
        "{{Name:{} HostPort:{} ContainerPort:{} Protocol:{} HostIP:{}}}",
        str_of(port, "name"),
        int_of(port, "hostPort"),
        int_of(port, "containerPort"),
        str_of(port, "protocol"),
        str_of(port, "hostIP")
    )
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
        let check = |mut pod: Value, expected: &[&str]| {
            pod["metadata"]["name"] = "x".into();
            assert_eq!(warnings(&object(pod)), expected);
        };
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

    #[test]
    fn what_matches_nothing_or_is_of_old_is_warned_of() {
        let check = |spec: Value, expected: &[&str]| {
            assert_eq!(template_warnings("template", &json!({"spec": spec})), expected);
        };
        check(
            json!({"nodeSelector": {"beta.kubernetes.io/os": "linux"}}),
            &[
                "template.spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \"kubernetes.io/os\" instead",
            ],
        );
        check(
            json!({"topologySpreadConstraints": [{"topologyKey": "x"}]}),
            &[
                "template.spec.topologySpreadConstraints[0].labelSelector: a null labelSelector results in matching no pod",
            ],
        );
        check(
            json!({"containers": [{"resources": {"limits": {"memory": "1500m"}}}]}),
            &[
                "template.spec.containers[0].resources.limits[memory]: fractional byte value \"1500m\" is invalid, must be an integer",
            ],
        );
        check(
            json!({"containers": [{"ports": [{"name": "a", "containerPort": 1}, {"name": "a", "containerPort": 2}]}]}),
            &[
                "template.spec.containers[0].ports[1]: duplicate port name \"a\" with template.spec.containers[0].ports[0], services and probes that select ports by name will use template.spec.containers[0].ports[0]",
            ],
        );
        check(
            json!({"terminationGracePeriodSeconds": -1}),
            &[
                "template.spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1",
            ],
        );
        let dotted = warnings(&object(json!({"metadata": {"name": "a.b"}})));
        assert!(dotted[0].starts_with("metadata.name: this is used in the Pod's hostname"), "{dotted:?}");
    }
}
