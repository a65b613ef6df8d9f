//! Facts about a pod and its containers that can be shown inside them (`fieldRef`, `resourceFieldRef`).

use crate::pod::local::LocalPod;
use crate::quantity::{self, Amounts};
use k8s_openapi::api::core::v1::{Container, ResourceFieldSelector};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;

/// The value of `path` in `pod`, e.g. `metadata.labels['app']`; `None` when the path is not supported here.
pub(crate) fn metadata_field(pod: &LocalPod, path: &str) -> Option<String> {
    let meta = &pod.meta;
    if let Some(key) = subscript(path, "metadata.labels") {
        return Some(meta.labels.as_ref().and_then(|labels| labels.get(key)).cloned().unwrap_or_default());
    }
    if let Some(key) = subscript(path, "metadata.annotations") {
        return Some(meta.annotations.as_ref().and_then(|all| all.get(key)).cloned().unwrap_or_default());
    }
    Some(match path {
        "metadata.name" => pod.name.clone(),
        "metadata.namespace" => pod.namespace.clone(),
        "metadata.uid" => pod.uid.to_string(),
        "metadata.labels" => format_map(meta.labels.as_ref()),
        "metadata.annotations" => format_map(meta.annotations.as_ref()),
        _ => return None,
    })
}

/// Like [`metadata_field`], with the fields that only environment variables may use.
pub(crate) fn env_field(
    pod: &LocalPod,
    path: &str,
    pod_ips: &[IpAddr],
    host_ips: &[IpAddr],
) -> Option<String> {
    let list = |ips: &[IpAddr]| ips.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let first = |ips: &[IpAddr]| ips.first().map(ToString::to_string).unwrap_or_default();
    Some(match path {
        "spec.nodeName" => pod.spec.node_name.clone().unwrap_or_default(),
        "spec.serviceAccountName" => pod.spec.service_account_name.clone().unwrap_or_default(),
        "status.hostIP" => first(host_ips),
        "status.hostIPs" => list(host_ips),
        "status.podIP" => first(pod_ips),
        "status.podIPs" => list(pod_ips),
        _ => return metadata_field(pod, path),
    })
}

/// The key of `base['key']`.
fn subscript<'a>(path: &'a str, base: &str) -> Option<&'a str> {
    path.strip_prefix(base)?.strip_prefix("['")?.strip_suffix("']")
}

/// One `key="value"` line per entry, ordered by key.
fn format_map(map: Option<&BTreeMap<String, String>>) -> String {
    let lines = map.into_iter().flatten().map(|(key, value)| format!("{key}={}", quoted(value)));
    lines.collect::<Vec<_>>().join("\n")
}

/// The text in double quotes, with escapes.
fn quoted(text: &str) -> String {
    let mut output = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => output.push_str("\\\""),
            '\\' => output.push_str("\\\\"),
            '\n' => output.push_str("\\n"),
            '\r' => output.push_str("\\r"),
            '\t' => output.push_str("\\t"),
            c if c.is_control() => {
                // Writing to a String cannot fail.
                write!(output, "\\x{:02x}", u32::from(c)).unwrap_or_default();
            }
            c => output.push(c),
        }
    }
    output + "\""
}

/// The value a `resourceFieldRef` asks for, in units of its divisor, rounded up. A missing limit reads as what
/// the node can give.
pub(crate) fn resource_field(
    container: &Container,
    selector: &ResourceFieldSelector,
    allocatable: &Amounts,
) -> Option<String> {
    let (list, resource) = selector.resource.split_once('.')?;
    let resources = container.resources.as_ref();
    let limits = resources.and_then(|r| r.limits.as_ref());
    let amounts = match list {
        "limits" if limits.is_some_and(|limits| limits.contains_key(resource)) => limits,
        "limits" => Some(allocatable),
        "requests" => resources.and_then(|r| r.requests.as_ref()),
        _ => return None,
    };
    let value = quantity::amount(amounts, resource);
    let divisor = selector.divisor.as_ref().filter(|divisor| divisor.0 != "0");
    let divisor = match divisor {
        Some(divisor) if resource == "cpu" => quantity::milli(divisor)?,
        Some(divisor) => quantity::units(divisor)?,
        None if resource == "cpu" => 1000,
        None => 1,
    };
    if divisor <= 0 {
        return None;
    }
    Some(value.div_euclid(divisor).saturating_add(i64::from(value % divisor != 0)).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::testing::pod;
    use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

    #[test]
    fn metadata_reads_as_in_the_api() {
        let pod = pod(
            r#"{"metadata": {"name": "p", "namespace": "ns", "uid": "u", "labels": {"b": "2", "a": "x\"y\n"}},
                "spec": {"containers": []}}"#,
        );
        let check = |path: &str, expected: Option<&str>| {
            assert_eq!(metadata_field(&pod, path).as_deref(), expected, "{path}")
        };
        check("metadata.name", Some("p"));
        check("metadata.uid", Some("u"));
        check("metadata.labels['b']", Some("2"));
        check("metadata.labels['none']", Some(""));
        check("metadata.labels", Some("a=\"x\\\"y\\n\"\nb=\"2\""));
        check("metadata.annotations", Some(""));
        check("status.podIP", None);
        let ips: Vec<IpAddr> = vec!["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()];
        assert_eq!(env_field(&pod, "status.podIPs", &ips, &[]).as_deref(), Some("10.0.0.1,fd00::1"));
        assert_eq!(env_field(&pod, "status.podIP", &ips, &[]).as_deref(), Some("10.0.0.1"));
        assert_eq!(env_field(&pod, "spec.foo", &ips, &[]), None);
    }

    #[test]
    fn resources_are_divided_and_rounded_up() {
        let container: Container = serde_json::from_str(
            r#"{"name": "c", "resources": {"limits": {"cpu": "1200m"}, "requests": {"memory": "32Mi"}}}"#,
        )
        .unwrap();
        let allocatable =
            Amounts::from([("memory".into(), Quantity("1Gi".into())), ("cpu".into(), Quantity("4".into()))]);
        let check = |resource: &str, divisor: Option<&str>, expected: Option<&str>| {
            let selector = ResourceFieldSelector {
                resource: resource.into(),
                divisor: divisor.map(|text| Quantity(text.into())),
                container_name: None,
            };
            assert_eq!(
                resource_field(&container, &selector, &allocatable).as_deref(),
                expected,
                "{resource}"
            );
        };
        check("limits.cpu", None, Some("2"));
        check("limits.cpu", Some("1m"), Some("1200"));
        check("limits.memory", Some("1Mi"), Some("1024"));
        check("requests.memory", None, Some("33554432"));
        check("requests.cpu", None, Some("0"));
        check("bogus", None, None);
    }
}
