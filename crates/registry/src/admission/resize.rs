//! NodeDeclaredFeatureValidator and PodResizeValidator: a pod is resized only to what its node has, and in ways that the node says
//! it knows.

use serde_json::Value;
use skiff_limits::node;
use skiff_machinery::{Namespace, Object, Subresource, cells, keys};

use super::review::{Review, Write, tree};
use crate::errors::{ApiError, Cause};
use crate::plugins::Plugin;

/// Whether a pod is resized.
pub(super) fn is_concerned(review: &Review<'_>) -> bool {
    review.write == Write::Update && review.subresource == Subresource::Resize.as_str()
}

pub(super) async fn confirm(review: &Review<'_>) -> Result<(), ApiError> {
    let (Some(pod), Some(old)) = (review.object.as_deref(), review.old) else { return Ok(()) };
    let name = pod.str(&["spec", "nodeName"]);
    if name.is_empty() || pod.get(&["spec"]) == old.get(&["spec"]) {
        return Ok(());
    }
    let call = review.call;
    let refuse = |why: &str| ApiError::forbidden(call.subject(pod.name()), why);
    let found = review.registry.store.get(&keys::core("nodes", Namespace::NONE, name)).await?;
    let found = found.ok_or_else(|| refuse(&format!("node {name:?} not found")))?;
    let node = review.registry.decoded(call, &found)?;
    let plugins = &review.registry.plugins;
    if plugins.has(Plugin::NodeDeclaredFeatureValidator) {
        let missing = missing(pod, old, &node);
        if !missing.is_empty() {
            let missing = missing.join(", ");
            let why =
                format!("pod update requires features {missing} which are not available on node {name:?}");
            return Err(refuse(&why));
        }
    }
    if plugins.has(Plugin::PodResizeValidator)
        && let Some((reason, why)) = unfit(pod, &node)
    {
        return Err(with_reason(refuse(&why), reason));
    }
    Ok(())
}

/// What the node does not say it can do and the change needs.
fn missing(pod: &Object, old: &Object, node: &Object) -> Vec<&'static str> {
    let resources = |pod: &Object| pod.get(&["spec", "resources"]).cloned();
    let run_once = |pod: &Object| -> Vec<Value> {
        let init = cells::items(pod, &["spec", "initContainers"]).iter();
        let once = init.filter(|container| container["restartPolicy"] != "Always");
        once.map(|container| container["resources"].clone()).collect()
    };
    let needed = [
        ("InPlacePodLevelResourcesVerticalScaling", resources(pod) != resources(old)),
        ("InPlacePodVerticalScalingInitContainers", run_once(pod) != run_once(old)),
    ];
    let declared = cells::items(node, &["status", "declaredFeatures"]);
    let needed = needed.into_iter().filter(|(_, needed)| *needed).map(|(feature, _)| feature);
    needed.filter(|feature| !declared.iter().any(|known| known == feature)).collect()
}

/// Why the pod cannot be on the node, and what Kubernetes calls that.
fn unfit(pod: &Object, node: &Object) -> Option<(&'static str, String)> {
    let labels = node.labels();
    if let Some(os) = labels.get("kubernetes.io/os").filter(|os| **os != "linux") {
        let name = node.name();
        let why = format!("pod resize is only supported on linux nodes, node {name:?} is {os:?}");
        return Some(("UnsupportedPlatform", why));
    }
    let allocatable = node.get(&["status", "allocatable"]).unwrap_or(&Value::Null);
    node::exceeded(&tree(pod), allocatable).map(|why| ("NodeCapacity", why))
}

fn with_reason(mut error: ApiError, reason: &str) -> ApiError {
    if let ApiError::Forbidden { causes, .. } = &mut error {
        causes.push(Cause { reason: reason.to_owned(), message: String::new(), field: String::new() });
    }
    error
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Object {
        Object::from_value(value).unwrap()
    }

    #[test]
    fn a_node_has_to_say_what_it_can_do() {
        let pod = |whole: Value, init: &str, policy: Value| {
            let init =
                json!({"name": "i", "restartPolicy": policy, "resources": {"requests": {"cpu": init}}});
            object(json!({"spec": {"resources": whole, "initContainers": [init]}}))
        };
        let plain = object(json!({}));
        let check = |new: &Object, old: &Object, node: &Object, expected: &[&str]| {
            assert_eq!(missing(new, old, node), expected);
        };
        let old = pod(Value::Null, "1", Value::Null);
        let changed = pod(json!({"requests": {"cpu": "2"}}), "2", Value::Null);
        let both = ["InPlacePodLevelResourcesVerticalScaling", "InPlacePodVerticalScalingInitContainers"];
        check(&changed, &old, &plain, &both);
        check(&changed, &old, &object(json!({"status": {"declaredFeatures": both}})), &[]);
        check(&old, &old, &plain, &[]);
        let (sidecar, larger) =
            (pod(Value::Null, "1", "Always".into()), pod(Value::Null, "2", "Always".into()));
        check(&larger, &sidecar, &plain, &[]);
    }

    #[test]
    fn a_node_has_to_have_what_is_asked_for() {
        let container = json!({"name": "c", "resources": {"requests": {"cpu": "2"}}});
        let pod = object(json!({"spec": {"containers": [container]}}));
        let node = |os: &str, cpu: &str| {
            let metadata = json!({"name": "n", "labels": {"kubernetes.io/os": os}});
            object(json!({"metadata": metadata, "status": {"allocatable": {"cpu": cpu, "memory": "1Gi"}}}))
        };
        assert_eq!(unfit(&pod, &node("linux", "2")), None);
        assert_eq!(unfit(&pod, &node("linux", "1")).unwrap().0, "NodeCapacity");
        let (reason, why) = unfit(&pod, &node("windows", "2")).unwrap();
        assert_eq!(reason, "UnsupportedPlatform");
        assert_eq!(why, r#"pod resize is only supported on linux nodes, node "n" is "windows""#);
    }
}
