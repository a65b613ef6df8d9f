//! Where objects hold the description of their pods.

use serde_json::Value;

/// Path of the pod's specification in an object of the kind.
fn place(kind: &str) -> Option<&'static str> {
    match kind {
        "Pod" => Some("/spec"),
        "CronJob" => Some("/spec/jobTemplate/spec/template/spec"),
        "Deployment" | "DaemonSet" | "Job" | "ReplicaSet" | "ReplicationController" | "StatefulSet" => {
            Some("/spec/template/spec")
        }
        _ => None,
    }
}

/// The specification of the object's pods.
pub(crate) fn spec_mut(object: &mut Value) -> Result<&mut Value, String> {
    let kind = object["kind"].as_str().unwrap_or_default().to_owned();
    let version = object["apiVersion"].as_str().unwrap_or_default();
    let refused = format!(
        "the object is not a pod or does not have a pod template: *{}.{kind}",
        version.rsplit('/').next().unwrap_or_default()
    );
    let place = place(&kind).ok_or_else(|| refused.clone())?;
    object.pointer_mut(place).ok_or(refused)
}

/// Whether a name is meant by a pattern, in which `*` stands for anything.
pub(crate) fn matches(name: &str, pattern: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return name == pattern };
    let Some(mut name) = name.strip_prefix(start) else { return false };
    let parts: Vec<&str> = rest.split('*').collect();
    let Some((last, middle)) = parts.split_last() else { return true };
    for part in middle {
        let Some(at) = name.find(part) else { return false };
        name = &name[at + part.len()..];
    }
    name.ends_with(last)
}

/// The containers of a pod whose names match, those that run first at the end.
pub(crate) fn containers_mut<'a>(spec: &'a mut Value, pattern: &str) -> Vec<&'a mut Value> {
    let fields = spec.as_object_mut().into_iter().flatten();
    let lists = fields.filter(|(field, _)| *field == "containers" || *field == "initContainers");
    // Fields are in alphabetical order.
    lists
        .filter_map(|(_, list)| list.as_array_mut())
        .flatten()
        .filter(|container| container["name"].as_str().is_some_and(|name| matches(name, pattern)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn patterns_have_stars() {
        for (name, pattern, good) in [
            ("web", "*", true),
            ("web", "web", true),
            ("web", "w*", true),
            ("web", "*b", true),
            ("web", "*e*", true),
            ("web", "x*", false),
            ("web", "we", false),
        ] {
            assert_eq!(matches(name, pattern), good, "{name} {pattern}");
        }
    }

    #[test]
    fn finds_the_pods_of_each_kind() {
        let mut job = json!({"apiVersion": "batch/v1", "kind": "CronJob", "spec": {"jobTemplate": {"spec": {"template": {"spec": {
            "containers": [{"name": "a"}], "initContainers": [{"name": "b"}],
        }}}}}});
        let names: Vec<String> =
            containers_mut(spec_mut(&mut job).unwrap(), "*").iter().map(|c| c["name"].to_string()).collect();
        assert_eq!(names, ["\"a\"", "\"b\""]);
        let error = spec_mut(&mut json!({"apiVersion": "v1", "kind": "Service"})).unwrap_err();
        assert_eq!(error, "the object is not a pod or does not have a pod template: *v1.Service");
    }
}
